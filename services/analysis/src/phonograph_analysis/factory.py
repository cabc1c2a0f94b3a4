"""Builds the objects of the service: use cases per transaction, the engine per child process."""

from phonograph_analysis.config import Settings
from phonograph_analysis.constants import ANALYZE
from phonograph_analysis.services.analysis import AnalysisService
from phonograph_analysis.storage.analyses import SqlAnalysisStore
from phonograph_runtime.child import EngineTasks
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore


def analysis_service(transaction: Transaction) -> AnalysisService:
    """Return the use cases on one transaction."""
    return AnalysisService(
        jobs=transaction, publisher=transaction, store=SqlAnalysisStore(transaction.session)
    )


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Return the ids of all analyzed files with their newest versions."""
    return {"music": await SqlAnalysisStore(transaction.session).versions()}


def create_engine(settings_json: str) -> EngineTasks:
    """Return the tasks of the engine. Called in the child process."""
    from phonograph_analysis.inference.engine import AnalysisEngine
    from phonograph_analysis.inference.essentia import EssentiaAnalyzer

    settings = Settings.model_validate_json(settings_json)
    engine = AnalysisEngine(ObjectStore(settings.object_store_url), EssentiaAnalyzer())
    return {ANALYZE: engine.analyze}
