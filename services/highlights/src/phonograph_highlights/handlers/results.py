"""Takes new files and new transcripts."""

from phonograph_events import MediaReady, TranscriptionCompleted
from phonograph_highlights.factory import highlights_service
from phonograph_runtime.database import Transaction


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """A file is ready for work."""
    await highlights_service(transaction).media_ready(event)


async def transcription_completed(event: TranscriptionCompleted, transaction: Transaction) -> None:
    """The words of a file are known."""
    await highlights_service(transaction).transcription_completed(event)
