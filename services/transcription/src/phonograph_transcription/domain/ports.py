"""What the service needs from outside, in the words of the domain."""

from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from phonograph_runtime.ports import InferenceEngine, Progress
from phonograph_transcription.domain.results import Diarization, MergeInputs, Result
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
        """Recognise speech.

        Args:
            samples: shape (n,), 16 kHz mono, [-1, 1].
            language: ISO 639-1 code; null to detect it.
            progress: called with the fraction done.

        Returns:
            Without speech: no segments and the warning `no_speech`.
        """


class TranscriptStore(Protocol):
    """Keeps every version of every transcript, and knows which halves wait for each other.

    Methods that give `MergeInputs` hold the file until the end of the transaction, so that of two halves that come
    at the same time the second one sees the first.
    """

    async def add(self, result: Result) -> MergeInputs:
        """Add a result as the newest version of its file; `MergeInputs.version` is its number."""

    async def save_diarization(self, diarization: Diarization) -> MergeInputs:
        """Keep a diarization, unless a newer one is known."""

    async def versions(self) -> dict[str, int]:
        """Ids of all results with their versions."""
