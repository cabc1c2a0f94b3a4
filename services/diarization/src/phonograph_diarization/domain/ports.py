"""Ports of the use cases and of the engine, in terms of the domain."""

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_diarization.domain.diarization import Diarization, SpeakerBounds
from phonograph_diarization.domain.meeting import Speaker
from phonograph_diarization.domain.people import DecisionRecord, IdentifiedVoice, Person
from phonograph_diarization.domain.results import StoredDiarization
from phonograph_diarization.domain.times import Times
from phonograph_diarization.domain.voices import KnownVoice, Prototype
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

    async def add_pending(self, meeting_id: UUID, media: MediaRef) -> bool:
        """Add the recording and a pending meeting of it, unless they exist.

        Args:
            meeting_id: Id of the meeting.
            media: The recording.

        Returns:
            Whether the meeting is new; a recording has at most one that is pending.
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


class PeopleStore(Protocol):
    """Stores people, their voiceprints, and who the speakers of meetings are.

    Called by `PeopleService` within its transaction, as `MeetingStore` is. `lock_owner` comes before
    any other method that reads what the transaction changes.
    """

    async def lock_owner(self, owner: str | None) -> None:
        """Make other transactions about the people of an owner wait until this one has ended."""

    async def find_speaker(self, speaker_id: UUID) -> IdentifiedVoice | None:
        """Return a speaker, or None if there is none with this id."""

    async def speakers_of_meeting(self, meeting_id: UUID) -> list[IdentifiedVoice]:
        """Return the speakers of a meeting in the order of their labels."""

    async def speakers_of_person(self, person_id: UUID) -> list[IdentifiedVoice]:
        """Return the speakers who are the person, or may be, those of the newest meetings first."""

    async def undecided_voices(self, owner: str | None, model_id: str, *, most: int) -> list[IdentifiedVoice]:
        """Return the speakers with a voiceprint who are not confirmed, those of the newest meetings first.

        Args:
            owner: Owner of the recordings.
            model_id: Model that made the voiceprints.
            most: Number of speakers at most.
        """

    async def confirmed_people(self, meeting_ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
        """Return the people who are confirmed as speakers of meetings, by meeting."""

    async def people_of_recording(self, media_id: UUID) -> list[UUID]:
        """Return the people who are confirmed as speakers in the newest meeting of a recording with names."""

    async def save_identity(self, speaker: IdentifiedVoice) -> None:
        """Store who a speaker is, or may be: state, person, score, and who decided it when."""

    async def next_identity_version(self, media_id: UUID) -> int:
        """Count a change of who the speakers of a recording are, and return the new number, from 1."""

    async def find_person(self, person_id: UUID) -> Person | None:
        """Return a person, or None if there is none with this id."""

    async def find_person_by_name(self, owner: str | None, name: str) -> Person | None:
        """Return the person of this name among those of an owner, or None."""

    async def add_person(self, person: Person, *, by: str) -> None:
        """Add a person.

        Args:
            person: The person.
            by: The user who named the person.
        """

    async def update_person(self, person: Person, *, by: str) -> None:
        """Store name, consent and version of a person.

        Args:
            person: The person.
            by: The user who changed it.
        """

    async def remove_person(self, person_id: UUID) -> None:
        """Delete a person with all voiceprints and refusals."""

    async def known_voices(self, owner: str | None, model_id: str) -> list[KnownVoice]:
        """Return the voiceprints by a model of the people of one owner.

        Args:
            owner: Owner of the people; None for those without an owner.
            model_id: Model that made the voiceprints.
        """

    async def prototypes(self, person_id: UUID) -> list[Prototype]:
        """Return the voiceprints of a person."""

    async def replace_prototypes(self, person: Person, prototypes: Sequence[Prototype]) -> None:
        """Store the voiceprints of a person in place of the earlier ones.

        Args:
            person: The person.
            prototypes: All voiceprints.
        """

    async def erase_voiceprints(self, speaker_ids: Collection[UUID]) -> None:
        """Delete the voiceprints of speakers."""

    async def refusals(self, speaker_ids: Collection[UUID]) -> set[tuple[UUID, UUID]]:
        """Return the pairs of speaker and person that users have refused."""

    async def find_earlier_meeting(self, media_id: UUID, meeting_id: UUID) -> UUID | None:
        """Return the newest other meeting of a recording in which users have made decisions, or None.

        Args:
            media_id: The recording.
            meeting_id: Its new meeting.
        """

    async def times(self, meeting_id: UUID) -> dict[UUID, Times]:
        """Return when each speaker of a meeting speaks."""

    async def add_refusal(self, speaker_id: UUID, person_id: UUID, *, by: str) -> None:
        """Store that a speaker is not a person.

        Args:
            speaker_id: The speaker.
            person_id: The person.
            by: The user who said so.
        """

    async def remove_refusal(self, speaker_id: UUID, person_id: UUID) -> None:
        """Delete a refusal, if there is one."""

    async def move_refusals(self, from_person_id: UUID, to_person_id: UUID) -> None:
        """Let the refusals of one person apply to another."""

    async def add_decision(self, decision: DecisionRecord) -> None:
        """Store who decided what, and when."""

    async def decisions(self, person_id: UUID) -> list[DecisionRecord]:
        """Return the decisions about a person, oldest first."""

    async def erase_deliveries(self, person: Person) -> None:
        """Delete events with the name of a person from outbox and dead letters; the name ceases to apply."""


class PersonExports(Protocol):
    """Stores documents for people in the object store. Called by `PeopleService`; methods wait for the store.

    Methods raise `StorageError` if it does not work.
    """

    async def put(self, person_id: UUID, content: bytes) -> str:
        """Store everything about a person, in place of what was stored before, and return its URI.

        Args:
            person_id: The person.
            content: The document.
        """

    async def erase(self, person_id: UUID) -> None:
        """Delete what is stored about a person."""
