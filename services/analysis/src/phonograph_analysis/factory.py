"""Builds everything: the service's own objects per transaction, the engine per child process."""

from phonograph_analysis.config import Settings
from phonograph_analysis.constants import ANALYSIS
from phonograph_analysis.domain.request import AnalysisTask
from phonograph_analysis.domain.result import Measured
from phonograph_analysis.services.analysis import AnalysisService
from phonograph_analysis.storage.results import SqlAnalysisResults
from phonograph_runtime.child import Engines
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import Job
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.worker import JobKind


def analysis_service(transaction: Transaction) -> AnalysisService:
    """The use cases, on one transaction."""
    return AnalysisService(
        jobs=transaction, publisher=transaction, results=SqlAnalysisResults(transaction.session)
    )


def analysis_job() -> JobKind:
    """What becomes of a file that was measured."""

    async def finish(transaction: Transaction, job: Job, measured: Measured) -> None:
        await analysis_service(transaction).finish(job, AnalysisTask.model_validate(job.task), measured)

    return JobKind(AnalysisTask, finish)


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """What the service holds."""
    return {"music": await SqlAnalysisResults(transaction.session).versions()}


def create_engines(settings_json: str) -> Engines:
    """The engines of the child process."""
    from phonograph_analysis.inference.documents import DocumentedAnalysis
    from phonograph_analysis.inference.essentia_analyzer import EssentiaAnalyzer

    settings = Settings.model_validate_json(settings_json)
    engine = DocumentedAnalysis(EssentiaAnalyzer(), ObjectStore(settings.object_store_url))
    return {ANALYSIS: engine.run}
