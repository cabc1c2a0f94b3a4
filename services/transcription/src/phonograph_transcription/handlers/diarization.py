"""Takes what the diarization found."""

from phonograph_events import DiarizationCompleted
from phonograph_runtime.database import Transaction
from phonograph_transcription.factory import transcription_service


async def diarization_completed(event: DiarizationCompleted, transaction: Transaction) -> None:
    """The speakers of a file are known."""
    await transcription_service(transaction).diarized(event)
