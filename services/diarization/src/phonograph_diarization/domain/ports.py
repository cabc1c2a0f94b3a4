"""Ports of the use cases and of the engine, in terms of the domain."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_diarization.domain.diarization import Diarization, SpeakerBounds
from phonograph_diarization.domain.meeting import Speaker
from phonograph_diarization.domain.results import StoredDiarization
from phonograph_diarization.domain.voices import KnownVoice
from phonograph_events import MediaRef
from phonograph_runtime.ports import InferenceEngine, Progress


class Diarizer(InferenceEngine, Protocol):
    """An engine that finds who speaks when."""

    @override
    def predict(
        self, samples: NDArray[np.float32], *, bounds: SpeakerBounds, progress: Progress
    ) -> Diarization:
        """Find who speaks when. Called by `DiarizationEngine` in the child process; blocks until it is done.

        Args:
            samples: Shape (samples,), [-1, 1], 16 kHz mono; may be empty.
            bounds: Limits of the number of speakers.
            progress: Called with the fraction done and the stage.

        Returns:
            Without speech: no turns and the reason `no_speech`.

        Raises:
            EngineUnavailableError: If the model is not loaded yet and cannot be loaded.
        """


class MeetingStore(Protocol):
    """Stores recordings, their meetings and the speakers of these.

    Called by `DiarizationService` within its transaction. Methods wait for the database without blocking the
    event loop; its errors end the transaction.
    """

    async def add_pending(self, meeting_id: UUID, media: MediaRef) -> None:
        """Add the recording and a pending meeting of it, unless they exist.

        Args:
            meeting_id: Id of the meeting.
            media: The recording.
        """

    async def complete(
        self,
        meeting_id: UUID,
        stored: StoredDiarization,
        speakers: Sequence[Speaker],
        *,
        processing_s: float | None,
    ) -> int:
        """Complete a meeting with its speakers and documents.

        Args:
            meeting_id: Id of a meeting that was added.
            stored: The diarization and its documents.
            speakers: One for each voice of the diarization.
            processing_s: Time in the engine, in seconds.

        Returns:
            Version of the meeting among those of its recording, from 1.
        """

    async def fail(self, meeting_id: UUID, reason: str) -> None:
        """Mark a meeting failed.

        Args:
            meeting_id: Id of a meeting that was added.
            reason: Reason code.
        """


class KnownVoiceStore(Protocol):
    """Finds voices of people who have a profile. Called as `MeetingStore` is."""

    async def find(self, owner: str | None, model_id: str, dim: int) -> list[KnownVoice]:
        """Return the voices in the profiles of one owner that can be compared with those of a model.

        Args:
            owner: Owner of the profiles; None for those without an owner.
            model_id: Model that made the voiceprints.
            dim: Length of their vectors.
        """
