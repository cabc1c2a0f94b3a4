"""Handlers of the jobs that have ended."""

from phonograph_analysis.constants import ANALYZE
from phonograph_analysis.domain.results import StoredAnalysis
from phonograph_analysis.domain.tasks import AnalyzeTask
from phonograph_analysis.factory import analysis_service
from phonograph_events import Facts
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import JobKind
from phonograph_runtime.ports import Job


async def analyze_completed(
    task: AnalyzeTask, stored: StoredAnalysis, job: Job, transaction: Transaction
) -> None:
    """Store and publish the features of a recording."""
    await analysis_service(transaction).complete_analysis(job, task, stored)


def _used(stored: StoredAnalysis) -> Facts:
    return {"engine": stored.analysis.engine, "model": stored.analysis.algorithm_build}


ANALYZE_JOB = JobKind(ANALYZE, AnalyzeTask, analyze_completed, used=_used)
