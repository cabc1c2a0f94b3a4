"""Handlers of the events that the service consumes."""

from phonograph_events import DiarizationCompleted, MediaReady
from phonograph_runtime.database import Transaction
from phonograph_transcription.factory import transcription_service


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Request the transcript of a new recording."""
    await transcription_service(transaction).request_transcript(event)


async def diarization_completed(event: DiarizationCompleted, transaction: Transaction) -> None:
    """Store a diarization, and request the merge with the transcript."""
    await transcription_service(transaction).add_diarization(event)
