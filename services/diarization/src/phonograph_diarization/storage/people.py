"""People, their voiceprints, and who the speakers are, in PostgreSQL."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Row, Select, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_diarization.domain.diarization import Voiceprint
from phonograph_diarization.domain.people import DecisionRecord, IdentifiedVoice, Person
from phonograph_diarization.domain.times import Times
from phonograph_diarization.domain.voices import (
    KnownVoice,
    Prototype,
    decode_vector,
    encode_vector,
)
from phonograph_diarization.storage.meetings import TurnTimes
from phonograph_diarization.storage.tables import (
    SqlFile,
    SqlIdentityDecision,
    SqlMeeting,
    SqlRefusedMatch,
    SqlSpeaker,
    SqlSpeakerProfile,
    SqlUserProfile,
)
from phonograph_events import (
    IdentityDecision,
    IdentityState,
    PersonChanged,
    PersonChangeRequested,
    SpeakerNamingRequested,
    uuid7,
)
from phonograph_runtime.dead_letters import erase_records


class VoiceCharacteristics(BaseModel):
    """Shape of `speaker_profiles.characteristics`: what the voiceprint was made from."""

    speech_s: float


class SqlPeopleStore:
    """See `PeopleStore`."""

    def __init__(self, session: AsyncSession, *, event_id: str | None = None) -> None:
        """Create the store.

        Args:
            session: Session of the transaction.
            event_id: Id of the request whose decisions are stored.
        """
        self._session = session
        self._event_id = event_id

    async def lock_owner(self, owner: str | None) -> None:
        """See `PeopleStore.lock_owner`."""
        name = "people" if owner is None else f"people of {owner}"
        await self._session.execute(_LOCK, {"name": name})

    async def find_speaker(self, speaker_id: UUID) -> IdentifiedVoice | None:
        """See `PeopleStore.find_speaker`."""
        found = await self._speakers(_speakers_where(SqlSpeaker.id == speaker_id))
        return found[0] if found else None

    async def speakers_of_meeting(self, meeting_id: UUID) -> list[IdentifiedVoice]:
        """See `PeopleStore.speakers_of_meeting`."""
        statement = _speakers_where(SqlSpeaker.meeting_id == meeting_id)
        return await self._speakers(
            statement.order_by(func.length(SqlSpeaker.cluster_id), SqlSpeaker.cluster_id)
        )

    async def speakers_of_person(self, person_id: UUID) -> list[IdentifiedVoice]:
        """See `PeopleStore.speakers_of_person`."""
        statement = _speakers_where(SqlSpeaker.user_profile_id == person_id)
        return await self._speakers(statement.order_by(SqlMeeting.created_at.desc(), SqlSpeaker.id.desc()))

    async def undecided_voices(self, owner: str | None, model_id: str, *, most: int) -> list[IdentifiedVoice]:
        """See `PeopleStore.undecided_voices`."""
        statement = _speakers_where(
            SqlFile.owner.is_not_distinct_from(owner),
            SqlSpeaker.model_id == model_id,
            SqlSpeaker.embedding.is_not(None),
            SqlSpeaker.state != IdentityState.CONFIRMED,
        )
        newest = statement.order_by(SqlMeeting.created_at.desc(), SqlSpeaker.id.desc()).limit(most)
        return await self._speakers(newest)

    async def confirmed_people(self, meeting_ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
        """See `PeopleStore.confirmed_people`."""
        found: dict[UUID, set[UUID]] = defaultdict(set)
        if meeting_ids:
            rows = await self._session.execute(
                select(SqlSpeaker.meeting_id, SqlSpeaker.user_profile_id).where(
                    SqlSpeaker.meeting_id.in_(meeting_ids), SqlSpeaker.state == IdentityState.CONFIRMED
                )
            )
            for meeting_id, person_id in rows:
                if person_id is not None:
                    found[meeting_id].add(person_id)
        return found

    async def people_of_recording(self, media_id: UUID) -> list[UUID]:
        """See `PeopleStore.people_of_recording`."""
        confirmed = (
            select(SqlSpeaker.meeting_id, SqlMeeting.version, SqlSpeaker.user_profile_id)
            .join(SqlMeeting, SqlMeeting.id == SqlSpeaker.meeting_id)
            .where(
                SqlMeeting.file_id == media_id,
                SqlSpeaker.state == IdentityState.CONFIRMED,
                SqlSpeaker.user_profile_id.is_not(None),
            )
        ).subquery()
        newest = select(func.max(confirmed.c.version)).scalar_subquery()
        statement = select(confirmed.c.user_profile_id).where(confirmed.c.version == newest)
        return sorted(await self._session.scalars(statement))

    async def save_identity(self, speaker: IdentifiedVoice) -> None:
        """See `PeopleStore.save_identity`."""
        await self._session.execute(
            update(SqlSpeaker)
            .where(SqlSpeaker.id == speaker.speaker_id)
            .values(
                state=speaker.state,
                user_profile_id=speaker.person_id,
                confidence=speaker.score,
                decided_by=speaker.decided_by,
                decided_at=speaker.decided_at,
            )
        )

    async def next_identity_version(self, media_id: UUID) -> int:
        """See `PeopleStore.next_identity_version`."""
        statement = (
            update(SqlFile)
            .where(SqlFile.id == media_id)
            .values(identity_version=SqlFile.identity_version + 1)
            .returning(SqlFile.identity_version)
        )
        return (await self._session.scalars(statement)).one()

    async def find_person(self, person_id: UUID) -> Person | None:
        """See `PeopleStore.find_person`."""
        return await self._person(SqlUserProfile.id == person_id)

    async def find_person_by_name(self, owner: str | None, name: str) -> Person | None:
        """See `PeopleStore.find_person_by_name`."""
        return await self._person(
            SqlUserProfile.owner.is_not_distinct_from(owner), SqlUserProfile.display_name == name
        )

    async def add_person(self, person: Person, *, by: str) -> None:
        """See `PeopleStore.add_person`."""
        await self._session.execute(
            insert(SqlUserProfile).values(
                id=person.person_id,
                owner=person.owner,
                display_name=person.name,
                consent=person.consent,
                version=person.version,
                updated_by=by,
            )
        )

    async def update_person(self, person: Person, *, by: str) -> None:
        """See `PeopleStore.update_person`."""
        await self._session.execute(
            update(SqlUserProfile)
            .where(SqlUserProfile.id == person.person_id)
            .values(display_name=person.name, consent=person.consent, version=person.version, updated_by=by)
        )
        await self._session.execute(
            update(SqlSpeakerProfile)
            .where(
                SqlSpeakerProfile.user_profile_id == person.person_id, SqlSpeakerProfile.name != person.name
            )
            .values(name=person.name)
        )

    async def remove_person(self, person_id: UUID) -> None:
        """See `PeopleStore.remove_person`."""
        await self._session.execute(delete(SqlUserProfile).where(SqlUserProfile.id == person_id))

    async def known_voices(self, owner: str | None, model_id: str) -> list[KnownVoice]:
        """See `PeopleStore.known_voices`."""
        rows = await self._session.execute(
            select(SqlSpeakerProfile.user_profile_id, SqlSpeakerProfile.embedding)
            .where(
                SqlSpeakerProfile.user_profile_id.is_not(None),
                SqlSpeakerProfile.user_id.is_not_distinct_from(owner),
                SqlSpeakerProfile.model_id == model_id,
            )
            .order_by(SqlSpeakerProfile.id)
        )
        return [
            KnownVoice(person_id, Voiceprint(model_id, decode_vector(embedding)))
            for person_id, embedding in rows
            if person_id is not None
        ]

    async def prototypes(self, person_id: UUID) -> list[Prototype]:
        """See `PeopleStore.prototypes`."""
        rows = await self._session.execute(
            select(
                SqlSpeakerProfile.model_id,
                SqlSpeakerProfile.embedding,
                SqlSpeakerProfile.sample_count,
                SqlSpeakerProfile.characteristics,
            )
            .where(SqlSpeakerProfile.user_profile_id == person_id)
            .order_by(SqlSpeakerProfile.id)
        )
        return [
            Prototype(
                Voiceprint(model_id, decode_vector(embedding)),
                sample_count,
                VoiceCharacteristics.model_validate(characteristics).speech_s,
            )
            for model_id, embedding, sample_count, characteristics in rows
        ]

    async def replace_prototypes(self, person: Person, prototypes: Sequence[Prototype]) -> None:
        """See `PeopleStore.replace_prototypes`."""
        await self._session.execute(
            delete(SqlSpeakerProfile).where(SqlSpeakerProfile.user_profile_id == person.person_id)
        )
        if prototypes:
            await self._session.execute(
                insert(SqlSpeakerProfile), [_prototype_row(person, prototype) for prototype in prototypes]
            )

    async def erase_voiceprints(self, speaker_ids: Collection[UUID]) -> None:
        """See `PeopleStore.erase_voiceprints`."""
        await self._session.execute(
            update(SqlSpeaker)
            .where(SqlSpeaker.id.in_(speaker_ids))
            .values(embedding=None, model_id=None, dim=None)
        )

    async def refusals(self, speaker_ids: Collection[UUID]) -> set[tuple[UUID, UUID]]:
        """See `PeopleStore.refusals`."""
        if not speaker_ids:
            return set()
        rows = await self._session.execute(
            select(SqlRefusedMatch.speaker_id, SqlRefusedMatch.user_profile_id).where(
                SqlRefusedMatch.speaker_id.in_(speaker_ids)
            )
        )
        return {(speaker_id, person_id) for speaker_id, person_id in rows}

    async def find_earlier_meeting(self, media_id: UUID, meeting_id: UUID) -> UUID | None:
        """See `PeopleStore.find_earlier_meeting`."""
        refused = select(SqlRefusedMatch.speaker_id).where(SqlRefusedMatch.speaker_id == SqlSpeaker.id)
        statement = (
            select(SqlMeeting.id)
            .where(
                SqlMeeting.file_id == media_id,
                SqlMeeting.id != meeting_id,
                select(SqlSpeaker.id)
                .where(
                    SqlSpeaker.meeting_id == SqlMeeting.id,
                    or_(SqlSpeaker.state == IdentityState.CONFIRMED, refused.exists()),
                )
                .exists(),
            )
            .order_by(SqlMeeting.version.desc())
            .limit(1)
        )
        return await self._session.scalar(statement)

    async def times(self, meeting_id: UUID) -> dict[UUID, Times]:
        """See `PeopleStore.times`."""
        rows = await self._session.execute(
            select(SqlSpeaker.id, SqlSpeaker.turns).where(SqlSpeaker.meeting_id == meeting_id)
        )
        return {speaker_id: TurnTimes.model_validate(turns).root for speaker_id, turns in rows}

    async def add_refusal(self, speaker_id: UUID, person_id: UUID, *, by: str) -> None:
        """See `PeopleStore.add_refusal`."""
        await self._session.execute(
            insert(SqlRefusedMatch)
            .values(speaker_id=speaker_id, user_profile_id=person_id, refused_by=by)
            .on_conflict_do_nothing()
        )

    async def remove_refusal(self, speaker_id: UUID, person_id: UUID) -> None:
        """See `PeopleStore.remove_refusal`."""
        await self._session.execute(
            delete(SqlRefusedMatch).where(
                SqlRefusedMatch.speaker_id == speaker_id, SqlRefusedMatch.user_profile_id == person_id
            )
        )

    async def move_refusals(self, from_person_id: UUID, to_person_id: UUID) -> None:
        """See `PeopleStore.move_refusals`."""
        await self._session.execute(_COPY_REFUSALS, {"one": from_person_id, "other": to_person_id})
        await self._session.execute(
            delete(SqlRefusedMatch).where(SqlRefusedMatch.user_profile_id == from_person_id)
        )

    async def add_decision(self, decision: DecisionRecord) -> None:
        """See `PeopleStore.add_decision`."""
        await self._session.execute(
            insert(SqlIdentityDecision).values(
                id=uuid7(),
                decision=decision.decision,
                user_profile_id=decision.person_id,
                speaker_id=decision.speaker_id,
                other_profile_id=decision.other_person_id,
                score=decision.score,
                decided_by=decision.decided_by,
                event_id=self._event_id,
            )
        )

    async def decisions(self, person_id: UUID) -> list[DecisionRecord]:
        """See `PeopleStore.decisions`."""
        row = SqlIdentityDecision
        rows = await self._session.execute(
            select(
                row.decision,
                row.user_profile_id,
                row.decided_by,
                row.decided_at,
                row.speaker_id,
                row.other_profile_id,
                row.score,
            )
            .where(row.user_profile_id == person_id)
            .order_by(row.id)
        )
        return [
            DecisionRecord(
                IdentityDecision(each.decision),
                each.user_profile_id,
                each.decided_by,
                each.decided_at,
                each.speaker_id,
                each.other_profile_id,
                each.score,
            )
            for each in rows
        ]

    async def erase_deliveries(self, person: Person) -> None:
        """See `PeopleStore.erase_deliveries`."""
        requests = (SpeakerNamingRequested.TOPIC, PersonChangeRequested.TOPIC)
        await erase_records(self._session, PersonChanged.TOPIC, key=str(person.person_id))
        for topic in requests:
            await erase_records(self._session, topic, value=person.name)

    async def person_versions(self) -> dict[str, int]:
        """Return the ids of all people with their versions."""
        rows = await self._session.execute(select(SqlUserProfile.id, SqlUserProfile.version))
        return {str(person_id): version for person_id, version in rows}

    async def _person(self, *conditions: ColumnElement[bool]) -> Person | None:
        row = SqlUserProfile
        statement = select(row.id, row.owner, row.display_name, row.consent, row.version).where(*conditions)
        found = (await self._session.execute(statement)).one_or_none()
        return None if found is None else Person(*found)

    async def _speakers(self, statement: Select[*tuple[Any, ...]]) -> list[IdentifiedVoice]:
        return [_to_domain(row) for row in await self._session.execute(statement)]


_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_COPY_REFUSALS = text("""
    INSERT INTO refused_matches (speaker_id, user_profile_id, refused_by, refused_at)
    SELECT speaker_id, :other, refused_by, refused_at FROM refused_matches WHERE user_profile_id = :one
    ON CONFLICT DO NOTHING
""")


def _speakers_where(*conditions: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """Return the statement for speakers with owner and recording; columns, not entities: rows change."""
    return (
        select(
            SqlSpeaker.id,
            SqlSpeaker.meeting_id,
            SqlMeeting.file_id,
            SqlFile.owner,
            SqlSpeaker.cluster_id,
            SqlSpeaker.seconds,
            SqlSpeaker.model_id,
            SqlSpeaker.embedding,
            SqlSpeaker.state,
            SqlSpeaker.user_profile_id,
            SqlSpeaker.confidence,
            SqlSpeaker.decided_by,
            SqlSpeaker.decided_at,
        )
        .join(SqlMeeting, SqlMeeting.id == SqlSpeaker.meeting_id)
        .join(SqlFile, SqlFile.id == SqlMeeting.file_id)
        .where(*conditions)
    )


def _to_domain(row: Row[Any]) -> IdentifiedVoice:
    voiceprint = None
    if row.embedding is not None and row.model_id is not None:
        voiceprint = Voiceprint(row.model_id, decode_vector(row.embedding))
    return IdentifiedVoice(
        speaker_id=row.id,
        meeting_id=row.meeting_id,
        media_id=row.file_id,
        owner=row.owner,
        label=row.cluster_id,
        speech_s=row.seconds,
        voiceprint=voiceprint,
        # A person who was deleted otherwise leaves no name behind.
        state=IdentityState(row.state) if row.user_profile_id is not None else IdentityState.UNKNOWN,
        person_id=row.user_profile_id,
        score=row.confidence,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
    )


def _prototype_row(person: Person, prototype: Prototype) -> dict[str, object]:
    voiceprint = prototype.voiceprint
    return {
        "id": uuid7(),
        "user_id": person.owner,
        "user_profile_id": person.person_id,
        "name": person.name,
        "characteristics": VoiceCharacteristics(speech_s=prototype.speech_s).model_dump(mode="json"),
        "embedding": encode_vector(voiceprint.vector),
        "model_id": voiceprint.model_id,
        "dim": voiceprint.dim,
        "sample_count": prototype.sample_count,
    }
