"""What the use cases need from outside, in the words of the domain."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.domain.diarization import Diarization, SpeakerBounds
from phonograph_diarization.domain.meeting import Speaker
from phonograph_diarization.domain.task import Diarized
from phonograph_diarization.domain.voices import KnownVoice
from phonograph_events import MediaRef
from phonograph_runtime.ports import Progress


class Diarizer(Protocol):
    """Tells the speakers of a recording apart."""

    @property
    def engine(self) -> str:
        """Name of the engine, as results carry it."""

    @property
    def model(self) -> str:
        """Name of its model, as results carry it."""

    def load(self) -> None:
        """Bring the model into memory; a second call does nothing.

        Raises:
            EngineUnavailableError: it cannot be loaded; the message says what is missing.
        """

    def predict(self, samples: NDArray[np.float32], bounds: SpeakerBounds, progress: Progress) -> Diarization:
        """Who speaks when.

        Args:
            samples: shape (samples,), [-1, 1], 16 kHz mono; may be empty.
            bounds: how many speakers there may be.
            progress: told the fraction done and the stage.
        """


class Meetings(Protocol):
    """Keeps files, meetings and their speakers."""

    async def plan(self, meeting_id: UUID, media: MediaRef) -> None:
        """Keep the file and a pending meeting of it."""

    async def complete(
        self,
        meeting_id: UUID,
        diarized: Diarized,
        speakers: Sequence[Speaker],
        *,
        seconds: float | None,
    ) -> int:
        """Keep what was found; gives the meeting's version among those of its file, from 1.

        `seconds` is the time in the engine.
        """

    async def fail(self, meeting_id: UUID, reason: str) -> None:
        """Keep that nothing could be found, and why."""


class KnownVoices(Protocol):
    """The voices of people who have a profile."""

    async def of(self, owner: str | None, model_id: str, dim: int) -> list[KnownVoice]:
        """Voices that an owner keeps, made by one model."""
