"""Ports of the use cases and of the engine, in terms of the domain."""

from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from phonograph_runtime.ports import InferenceEngine, Progress
from phonograph_transcription.domain.results import Diarization, MergeInputs, TranscriptionResult
from phonograph_transcription.domain.transcript import Transcript

if TYPE_CHECKING:
    # The service's own process needs no numpy; only its child does.
    import numpy as np
    from numpy.typing import NDArray


class Transcriber(InferenceEngine, Protocol):
    """An engine that recognizes speech."""

    @override
    def predict(
        self, samples: "NDArray[np.float32]", *, language: str | None, progress: Progress
    ) -> Transcript:
        """Recognize speech. Called by `TranscriptionEngine` in the child process; blocks until it is done.

        Args:
            samples: Shape (samples,), 16 kHz mono, [-1, 1].
            language: ISO 639-1 code; None to detect it.
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
