"""Ports of the use cases and of the engine, in terms of the domain."""

from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from typing_extensions import override

from phonograph_events import Facts
from phonograph_runtime.ports import InferenceEngine, Progress
from phonograph_transcription.domain.exports import Export, ExportSource
from phonograph_transcription.domain.results import (
    Diarization,
    MergeInputs,
    Recognition,
    StoredText,
    TranscriptionResult,
)
from phonograph_transcription.domain.transcript import Transcript

if TYPE_CHECKING:
    # The service's own process needs no numpy; only its child does.
    from phonograph_media import Samples


class Transcriber(InferenceEngine, Protocol):
    """An engine that recognizes speech."""

    @property
    def settings(self) -> Facts:
        """Device and settings of the loaded engine. Called by `TranscriptionEngine` in the child process."""

    @override
    def predict(self, samples: "Samples", *, language: str | None, progress: Progress) -> Transcript:
        """Recognize speech. Called by `TranscriptionEngine` in the child process; blocks until it is done.

        Args:
            samples: 16 kHz mono, [-1, 1]; read by parts, since a recording may be longer than memory.
            language: ISO 639-1 code; None to detect it, which may find several.
            progress: Called with the fraction done and the stage.

        Returns:
            Without speech: no segments and the warning `no_speech`.

        Raises:
            EngineUnavailableError: If the model is not loaded yet and cannot be loaded.
        """


class TranscriptStore(Protocol):
    """Stores every version of every transcript, and the inputs of the next merge.

    Called by `TranscriptionService` within its transaction. Methods wait for the database without blocking
    the event loop; its errors end the transaction. Methods that return `MergeInputs` lock the recording until
    the end of the transaction: if a transcript and a diarization arrive at the same time, the second sees the
    first.
    """

    async def add(self, result: TranscriptionResult) -> MergeInputs:
        """Add a result as the newest version of its recording; `MergeInputs.version` is its number."""

    async def save_diarization(self, diarization: Diarization) -> MergeInputs:
        """Store a diarization, unless a newer one is stored."""

    async def versions(self) -> dict[str, int]:
        """Return the ids of all results with their versions."""


class ExportStore(Protocol):
    """Records the files that are made from transcripts.

    Called by `ExportService` within its transaction. Methods wait for the database without blocking the event
    loop; its errors end the transaction.
    """

    async def find_source(self, media_id: UUID, result_id: UUID | None) -> ExportSource | None:
        """Return a version of the transcript of a recording, the current one if `result_id` is None.

        Returns:
            None if the recording has no such version.
        """

    async def add(self, export: Export) -> None:
        """Add a row for a file."""


class ScoreStore(Protocol):
    """Stores how accurate transcripts are.

    Called by `ScoringService` within its transaction. Methods wait for the database without blocking the
    event loop; its errors end the transaction.
    """

    async def find_text(self, media_id: UUID, result_id: UUID | None) -> StoredText | None:
        """Return the text of a version, the current one if `result_id` is None.

        Returns:
            None if the recording has no such version.
        """

    async def set_accuracy(self, result_id: UUID, accuracy: float, source: str) -> None:
        """Store the accuracy of a version.

        Args:
            result_id: The version.
            accuracy: From 0 to 1.
            source: Name of the reference text.
        """


class EnhancementStore(Protocol):
    """Finds what can be enhanced, and stores what became of it.

    Called by `EnhancementService` and at the end of its jobs, within their transaction. Methods wait for the
    database without blocking the event loop; its errors end the transaction.
    """

    async def find_recognition(self, media_id: UUID) -> Recognition | None:
        """Return the newest v1 transcript of a recording, or None if it has none."""

    async def set_result(self, job_id: UUID, result: dict[str, Any]) -> None:
        """Store what a job of enhancement has found."""
