"""Builds the objects of the service: use cases per transaction, the engine per child process."""

from phonograph_highlights.config import Settings
from phonograph_highlights.constants import ATTRIBUTE, DETECT_SILENCE, SEGMENT
from phonograph_highlights.services.highlights import HighlightsService
from phonograph_highlights.storage.highlights import SqlHighlightsStore
from phonograph_runtime.child import EngineTasks
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore


def highlights_service(transaction: Transaction) -> HighlightsService:
    """Return the use cases on one transaction."""
    event_id = transaction.cause.event_id if transaction.cause else None
    return HighlightsService(
        jobs=transaction,
        publisher=transaction,
        store=SqlHighlightsStore(transaction.session, event_id=event_id),
    )


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Return the ids of all segments and clips with their versions."""
    return await SqlHighlightsStore(transaction.session).versions()


def create_engine(settings_json: str) -> EngineTasks:
    """Return the tasks of the engine. Called in the child process."""
    from phonograph_highlights.inference.clip_writer import ClipWriter
    from phonograph_highlights.inference.engine import HighlightsEngine
    from phonograph_highlights.inference.silence import SilenceDetector
    from phonograph_highlights.inference.tfidf import TfidfSegmenter

    objects = ObjectStore(Settings.model_validate_json(settings_json).object_store_url)
    engine = HighlightsEngine(
        objects, detector=SilenceDetector(objects), segmenter=TfidfSegmenter(), clips=ClipWriter(objects)
    )
    return {DETECT_SILENCE: engine.detect_silence, SEGMENT: engine.segment, ATTRIBUTE: engine.attribute}
