"""Handlers of the events that the service consumes."""

from uuid import UUID

from phonograph_events import (
    DiarizationCompleted,
    EnhancementRequested,
    ExportRequested,
    MediaReady,
    RerunRequested,
    ScoreRequested,
)
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore
from phonograph_transcription.factory import (
    enhancement_service,
    export_service,
    scoring_service,
    transcription_service,
)


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Request the transcript of a new recording."""
    await transcription_service(transaction).request_transcript(event)


async def rerun_requested(event: RerunRequested, request_id: UUID, transaction: Transaction) -> None:
    """Request another transcript of a recording."""
    await transcription_service(transaction).request_rerun(event, request_id)


async def diarization_completed(event: DiarizationCompleted, transaction: Transaction) -> None:
    """Store a diarization, and request the merge with the transcript."""
    await transcription_service(transaction).add_diarization(event)


async def enhancement_requested(event: EnhancementRequested, transaction: Transaction) -> None:
    """Request the enhancement of a transcript."""
    await enhancement_service(transaction).request_enhancement(event)


async def score_requested(event: ScoreRequested, transaction: Transaction) -> None:
    """Compare a transcript with a reference text."""
    await scoring_service(transaction).score(event)


class ExportHandler:
    """Makes files from transcripts, which it writes into the object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def export_requested(self, event: ExportRequested, transaction: Transaction) -> None:
        """Make the file, or answer why there is none."""
        await export_service(transaction, self._objects).export(event)
