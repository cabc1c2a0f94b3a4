"""Handlers of the events that the service consumes."""

from phonograph_events import MediaReady, TranscriptionCompleted
from phonograph_highlights.factory import highlights_service
from phonograph_runtime.database import Transaction


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Request the silence detection of a new recording."""
    await highlights_service(transaction).request_silence_detection(event)


async def transcription_completed(event: TranscriptionCompleted, transaction: Transaction) -> None:
    """Request the segmentation of a transcribed recording."""
    await highlights_service(transaction).request_segmentation(event)
