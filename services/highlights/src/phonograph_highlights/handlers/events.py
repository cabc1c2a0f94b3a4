"""Handlers of the events that the service consumes."""

from uuid import UUID

from phonograph_events import MediaReady, RerunRequested, TranscriptionCompleted
from phonograph_highlights.factory import highlights_service
from phonograph_runtime.database import Transaction


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Request the silence detection of a new recording."""
    await highlights_service(transaction).request_silence_detection(event)


async def rerun_requested(event: RerunRequested, request_id: UUID, transaction: Transaction) -> None:
    """Request the highlights of a recording again."""
    await highlights_service(transaction).request_rerun(event, request_id)


async def transcription_completed(event: TranscriptionCompleted, transaction: Transaction) -> None:
    """Request the segmentation of a transcribed recording, or the speakers of its segments."""
    await highlights_service(transaction).add_transcript(event)
