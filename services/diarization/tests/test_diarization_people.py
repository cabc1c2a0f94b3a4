"""People on real servers: requests as events, decisions as events, and what the tables hold afterwards."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.support import voices
from tests.support.stack import Stack, running

from phonograph_cli import kafka
from phonograph_diarization import factory
from phonograph_diarization.config import Settings
from phonograph_diarization.constants import DIARIZE
from phonograph_diarization.domain.tasks import DiarizeTask
from phonograph_diarization.main import create_app
from phonograph_diarization.storage.meetings import SqlMeetingStore
from phonograph_events import (
    Cause,
    DiarizationCompleted,
    Envelope,
    Event,
    PersonChanged,
    PersonChangeRequested,
    PersonRequestAnswered,
    Service,
    SpeakerNamingRequested,
    SpeakersIdentified,
    parse,
    uuid7,
)
from phonograph_runtime.app import ServiceApp

ANN, BOB, CAL = 1, 2, 3
"""Voices."""


@dataclass
class People:
    """The service with an owner of its own, and the events of one test."""

    app: ServiceApp
    stack: Stack
    folder: Path
    correlation_id: str
    owner: str

    async def record(self, *speakers: int, owner: str | None = None) -> DiarizationCompleted:
        """Diarize a recording in which the voices speak in this order."""
        media = voices.record(self.folder, speakers, owner=owner or self.owner)
        await self.stack.publish(voices.ready(media), correlation_id=self.correlation_id)
        done = await self.wait(
            lambda event: isinstance(event, DiarizationCompleted) and event.media_id == media.media_id
        )
        assert isinstance(done, DiarizationCompleted)
        return done

    async def diarize_again(self, done: DiarizationCompleted) -> DiarizationCompleted:
        """Diarize a recording another time, as a new meeting."""
        task = DiarizeTask(media=done.media, meeting_id=uuid7())
        cause = Cause("", self.correlation_id)
        async with self.app.database.transaction(cause) as transaction:
            await SqlMeetingStore(transaction.session).add_pending(task.meeting_id, done.media)
            await transaction.enqueue(DIARIZE, task, media=done.media, dedupe_key=str(task.meeting_id))
        again = await self.wait(
            lambda event: isinstance(event, DiarizationCompleted) and event.meeting_id == task.meeting_id
        )
        assert isinstance(again, DiarizationCompleted)
        return again

    async def ask(self, request: Event, *, refused: str | None = None) -> PersonRequestAnswered:
        """Send a request and return its answer, which must be a refusal with the reason, or none."""
        sent = await self.stack.publish(request, correlation_id=self.correlation_id)
        answer = await self.wait(
            lambda event: isinstance(event, PersonRequestAnswered) and event.request_id == sent.id
        )
        assert isinstance(answer, PersonRequestAnswered)
        assert (answer.ok, answer.reason) == (refused is None, refused), answer.message
        return answer

    async def decide(
        self,
        done: DiarizationCompleted,
        label: str,
        decision: str,
        *,
        refused: str | None = None,
        **fields: Any,
    ) -> PersonRequestAnswered:
        """Name a speaker, or confirm or refuse a suggestion."""
        (speaker_id,) = (speaker.speaker_id for speaker in done.speakers if speaker.label == label)
        request = SpeakerNamingRequested(
            media_id=done.media_id, speaker_id=speaker_id, decision=decision, requested_by="editor", **fields
        )
        return await self.ask(request, refused=refused)

    async def name(self, done: DiarizationCompleted, label: str, name: str, **fields: Any) -> UUID:
        """Name a speaker, and return the person."""
        answer = await self.decide(done, label, "name", name=name, **fields)
        assert answer.person_id is not None
        return answer.person_id

    async def change(
        self, person: UUID, change: str, *, refused: str | None = None, **fields: Any
    ) -> PersonRequestAnswered:
        """Change a person."""
        fields = {"owner": self.owner, "requested_by": "editor"} | fields
        return await self.ask(
            PersonChangeRequested(person_id=person, change=change, **fields), refused=refused
        )

    async def wait(self, is_wanted: Any) -> Event:
        found = await self.stack.collect(
            lambda events: any(is_wanted(event.data) for event in events), correlation_id=self.correlation_id
        )
        return next(event.data for event in found if is_wanted(event.data))

    async def speakers(self, done: DiarizationCompleted) -> dict[str, tuple[str, UUID | None]]:
        """Return state and person of each speaker by its label."""
        rows = await self.select(
            "SELECT cluster_id, state, user_profile_id FROM speakers WHERE meeting_id = :id "
            "ORDER BY cluster_id",
            id=done.meeting_id,
        )
        return {label: (state, person) for label, state, person in rows}

    async def prototypes(self, person: UUID) -> list[tuple[Any, ...]]:
        return await self.select(
            "SELECT name, model_id, sample_count, user_id, characteristics ->> 'speech_s', "
            "octet_length(decode(embedding, 'base64')) FROM speaker_profiles WHERE user_profile_id = :id",
            id=person,
        )

    async def select(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        async with self.app.database.transaction() as transaction:
            return [tuple(row) for row in await transaction.session.execute(text(query), values)]

    async def events(self) -> list[Envelope]:
        """Return all decisions so far: those of a request are on Kafka before its answer."""
        servers = self.stack.addresses.kafka_bootstrap_servers
        async with kafka.connect(servers) as client:
            records = await client.read_all([SpeakersIdentified.TOPIC, PersonChanged.TOPIC])
        found = [parse(record.value, record.headers) for record in records]
        return [event for event in found if event.correlationid == self.correlation_id]


def unknown(*labels: str) -> dict[str, tuple[str, UUID | None]]:
    return dict.fromkeys(labels, ("unknown", None))


@asynccontextmanager
async def service(
    stack: Stack, folder: Path, monkeypatch: pytest.MonkeyPatch, correlation_id: str
) -> AsyncIterator[People]:
    monkeypatch.setattr(factory, "create_engine", voices.create_engine)
    async with running(create_app(Settings(**stack.settings(Service.DIARIZATION, folder)))) as app:
        yield People(app, stack, folder, correlation_id, f"owner-{uuid4()}")


@pytest.fixture
async def people(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, correlation_id: str
) -> AsyncIterator[People]:
    async with service(stack, tmp_path, monkeypatch, correlation_id) as opened:
        yield opened


async def test_a_name_is_learned_and_suggested_in_earlier_and_later_recordings(people: People) -> None:
    """A confirmed suggestion is learned as well; nothing is suggested to another owner (M-05, M-06, M-13)."""
    earlier, first = await people.record(ANN, BOB), await people.record(ANN, CAL)
    ann = await people.name(first, "S1", "  Ann   Lee ")
    assert await people.speakers(first) == {"S1": ("confirmed", ann), **unknown("S2")}
    assert await people.speakers(earlier) == {"S1": ("suggested", ann), **unknown("S2")}

    later, foreign = await people.record(BOB, ANN), await people.record(ANN, owner=f"other-{uuid4()}")
    assert [speaker.user_profile_id for speaker in later.speakers] == [None, ann]
    assert later.speakers[1].confidence is not None
    assert 0.9 < later.speakers[1].confidence <= 1
    assert await people.speakers(foreign) == unknown("S1")

    assert len(await people.prototypes(ann)) == 1
    await people.decide(later, "S2", "confirm", person_id=ann)
    await people.decide(later, "S2", "confirm", person_id=ann)
    assert await people.speakers(later) == {**unknown("S1"), "S2": ("confirmed", ann)}
    assert (
        await people.prototypes(ann)
        == [("Ann Lee", voices.MODEL_ID, 1, people.owner, "1.0", 4 * voices.DIM)] * 2
    )
    assert await people.select(
        "SELECT display_name, consent, owner FROM user_profiles WHERE id = :id", id=ann
    ) == [("Ann Lee", True, people.owner)]
    assert await people.select(
        "SELECT decision, decided_by, score IS NULL, event_id IS NULL FROM identity_decisions "
        "WHERE user_profile_id = :id ORDER BY id",
        id=ann,
    ) == [
        ("created", "editor", True, False),
        ("named", "editor", True, False),
        ("confirmed", "editor", False, False),
    ]

    events = await people.events()
    identified = [each for each in events if isinstance(each.data, SpeakersIdentified)]
    assert {
        done.media_id: [
            (each.data.decision, each.aggregateversion)
            for each in identified
            if each.data.media_id == done.media_id
        ]
        for done in (first, earlier, later, foreign)
    } == {
        first.media_id: [("named", 1)],
        earlier.media_id: [("suggested", 1)],
        later.media_id: [("suggested", 1), ("confirmed", 2)],
        foreign.media_id: [],
    }
    (last,) = (each.data for each in identified if each.data.decision == "confirmed")
    assert last.people == [ann]
    assert [(s.label, s.state, s.person_id, s.decided_by) for s in last.speakers] == [
        ("S1", "unknown", None, None),
        ("S2", "confirmed", ann, "editor"),
    ]
    changed = [each for each in events if isinstance(each.data, PersonChanged)]
    assert [
        (each.data.decision, each.data.name, each.data.voiceprint_count, each.aggregateversion)
        for each in changed
    ] == [("created", "Ann Lee", 1, 1), ("learned", "Ann Lee", 2, 2)]


async def test_a_refused_suggestion_is_never_made_again_for_that_voice(people: People) -> None:
    first, second = await people.record(ANN), await people.record(ANN)
    ann = await people.name(first, "S1", "Ann")
    await people.decide(second, "S1", "refuse", person_id=ann)
    await people.decide(second, "S1", "refuse", person_id=ann)
    third = await people.record(ANN)
    await people.decide(third, "S1", "confirm", person_id=ann)
    assert await people.speakers(second) == unknown("S1")
    await people.decide(second, "S1", "confirm", person_id=ann, refused="not_suggested")
    # A user may change their mind.
    assert await people.name(second, "S1", "Ann") == ann
    assert await people.speakers(second) == {"S1": ("confirmed", ann)}


async def test_a_correction_is_unlearned(people: People) -> None:
    first, second = await people.record(ANN), await people.record(ANN)
    ann = await people.name(first, "S1", "Ann")
    bob = await people.name(first, "S1", "Bob")
    assert (await people.prototypes(ann), len(await people.prototypes(bob))) == ([], 1)
    assert await people.speakers(second) == {"S1": ("suggested", bob)}
    await people.decide(first, "S1", "refuse", person_id=bob)
    assert await people.prototypes(bob) == []
    assert await people.speakers(second) == unknown("S1")


async def test_no_person_is_twice_in_a_meeting(people: People) -> None:
    """One-to-one: by suggestion, by name and by merge; what is refused changes nothing."""
    first = await people.record(ANN, BOB)
    ann = await people.name(first, "S1", "Ann")
    await people.decide(first, "S2", "name", name="Ann", refused="already_in_meeting")
    bob = await people.name(first, "S2", "Bob")
    await people.change(bob, "merge", into_person_id=ann, refused="already_in_meeting")
    assert await people.speakers(first) == {"S1": ("confirmed", ann), "S2": ("confirmed", bob)}
    second = await people.record(ANN, BOB)
    assert await people.speakers(second) == {"S1": ("suggested", ann), "S2": ("suggested", bob)}
    # The name is given to the other voice: the suggestion for the first has to give way.
    await people.name(second, "S2", "Ann")
    assert await people.speakers(second) == {**unknown("S1"), "S2": ("confirmed", ann)}


async def test_without_consent_a_name_is_kept_and_no_voiceprint(people: People) -> None:
    first, second = await people.record(ANN), await people.record(ANN)
    ann = await people.name(first, "S1", "Ann", consent=False)
    assert (await people.prototypes(ann), await people.speakers(second)) == ([], unknown("S1"))
    await people.change(ann, "consent", consent=True)
    assert len(await people.prototypes(ann)) == 1
    assert await people.speakers(second) == {"S1": ("suggested", ann)}
    await people.change(ann, "consent", consent=False)
    assert (await people.prototypes(ann), await people.speakers(second)) == ([], unknown("S1"))
    assert await people.speakers(first) == {"S1": ("confirmed", ann)}


async def test_people_are_renamed_merged_and_split(people: People) -> None:
    """Names are unique per owner (T0-42); all speakers follow."""
    first, second, third = [await people.record(voice) for voice in (ANN, BOB, BOB)]
    ann, anna = await people.name(first, "S1", "Ann"), await people.name(second, "S1", "Anna")
    await people.change(anna, "rename", name="Ann", refused="name_taken")
    await people.change(anna, "rename", name=" ", refused="bad_name")
    await people.change(anna, "rename", name="Anne")
    assert [row[0] for row in await people.prototypes(anna)] == ["Anne"]

    await people.change(anna, "merge", into_person_id=ann)
    assert await people.select("SELECT 1 FROM user_profiles WHERE id = :id", id=anna) == []
    assert await people.speakers(second) == {"S1": ("confirmed", ann)}
    assert await people.speakers(third) == {"S1": ("suggested", ann)}
    assert len(await people.prototypes(ann)) == 2
    await people.change(anna, "rename", name="Other", refused="unknown_person")

    speaker = second.speakers[0].speaker_id
    await people.change(
        ann, "split", name="Bob", speaker_ids=[third.speakers[0].speaker_id], refused="not_confirmed"
    )
    answer = await people.change(ann, "split", name="Bob", speaker_ids=[speaker])
    bob = answer.person_id
    assert bob is not None
    assert await people.speakers(second) == {"S1": ("confirmed", bob)}
    assert await people.speakers(third) == {"S1": ("suggested", bob)}
    assert [len(await people.prototypes(person)) for person in (ann, bob)] == [1, 1]
    events = [each.data for each in await people.events() if isinstance(each.data, PersonChanged)]
    merged = next(event for event in events if event.person_id == anna and event.merged_into)
    assert (merged.decision, merged.name, merged.merged_into) == ("merged", None, ann)


async def test_names_and_refusals_are_kept_when_a_recording_is_diarized_again(people: People) -> None:
    """They apply to the speakers who speak at the same times, also without a voiceprint in the profile."""
    first, other = await people.record(ANN, BOB, CAL), await people.record(BOB)
    ann = await people.name(first, "S1", "Ann", consent=False)
    bob = await people.name(other, "S1", "Bob")
    await people.decide(first, "S2", "refuse", person_id=bob)
    again = await people.diarize_again(first)
    assert again.meeting_id != first.meeting_id
    assert await people.speakers(again) == {"S1": ("confirmed", ann), **unknown("S2", "S3")}
    assert await people.prototypes(ann) == []
    own = [each.data for each in await people.events() if each.data.media_id == first.media_id]
    last = own[-1]
    assert (last.decision, last.meeting_id, last.people) == ("carried_over", again.meeting_id, [ann])
    assert [speaker.decided_by for speaker in last.speakers] == ["editor", None, None]
    # The newest names count for the recording.
    cal = await people.name(again, "S1", "Cal")
    identified = [each for each in await people.events() if isinstance(each.data, SpeakersIdentified)]
    newest = max((each for each in identified if each.data.media_id == first.media_id), key=version_of)
    assert newest.data.people == [cal]


def version_of(event: Envelope) -> int:
    return event.aggregateversion


async def test_owners_never_see_each_others_people(people: People) -> None:
    """The same name is another person (T0-21), and another owner can change nothing."""
    foreign_owner = f"other-{uuid4()}"
    own, foreign = await people.record(ANN), await people.record(ANN, owner=foreign_owner)
    ann = await people.name(own, "S1", "Ann")
    stranger = await people.name(foreign, "S1", "Ann")
    assert ann != stranger
    for change in ("rename", "forget", "export", "consent"):
        await people.change(
            ann, change, owner=foreign_owner, name="X", consent=False, refused="unknown_person"
        )
    await people.change(ann, "merge", into_person_id=stranger, refused="unknown_person")
    await people.decide(foreign, "S1", "confirm", person_id=ann, refused="not_suggested")


async def test_invalid_requests_are_answered_and_cost_nothing_else(people: People) -> None:
    done = await people.record(ANN)
    await people.decide(done, "S1", "praise", refused="unsupported")
    await people.decide(done, "S1", "name", name="\x07", refused="bad_name")
    await people.decide(done, "S1", "name", refused="bad_name")
    await people.ask(
        SpeakerNamingRequested(
            media_id=uuid4(),
            speaker_id=done.speakers[0].speaker_id,
            decision="name",
            name="Ann",
            requested_by="editor",
        ),
        refused="unknown_speaker",
    )
    ann = await people.name(done, "S1", "Ann")
    await people.change(ann, "promote", refused="unsupported")
    await people.change(ann, "merge", into_person_id=ann, refused="same_person")
    await people.change(ann, "split", name="Bob", refused="not_confirmed")
    assert await people.select("SELECT 1 FROM dead_letters WHERE topic LIKE '%requested'") == []


async def test_a_request_that_is_delivered_twice_takes_effect_once(people: People) -> None:
    done = await people.record(ANN)
    request = SpeakerNamingRequested(
        media_id=done.media_id,
        speaker_id=done.speakers[0].speaker_id,
        decision="name",
        name="Ann",
        requested_by="editor",
    )
    sent = await people.stack.publish(request, correlation_id=people.correlation_id)
    await people.stack.send(sent.to_record())
    await people.ask(request)
    events = await people.events()
    assert sum(isinstance(each.data, SpeakersIdentified) for each in events) == 1
    assert sum(isinstance(each.data, PersonChanged) for each in events) == 1


async def test_requests_for_one_owner_at_the_same_time_do_not_disturb_each_other(people: People) -> None:
    """Two copies of the service could take them: the second waits for the first."""
    recordings: Sequence[DiarizationCompleted] = [await people.record(ANN, BOB) for _ in range(2)]
    names = await asyncio.gather(
        *(people.name(done, label, "Ann") for done, label in zip(recordings, ("S1", "S1"), strict=True))
    )
    assert len(set(names)) == 1
    assert len(await people.prototypes(names[0])) == 2


async def test_the_database_keeps_names_unique_and_speakers_of_deleted_people(people: People) -> None:
    """Names are unique per owner (T0-42); a speaker outlives a person who is deleted (C-25)."""
    done = await people.record(ANN)
    ann = await people.name(done, "S1", "Ann")
    with pytest.raises(IntegrityError, match="uq_user_profiles_owner_display_name"):
        await people.select(
            "INSERT INTO user_profiles (id, owner, display_name) VALUES (gen_random_uuid(), :owner, 'Ann') "
            "RETURNING id",
            owner=people.owner,
        )
    await people.select("DELETE FROM user_profiles WHERE id = :id RETURNING id", id=ann)
    assert await people.select(
        "SELECT count(*), count(user_profile_id) FROM speakers WHERE meeting_id = :id", id=done.meeting_id
    ) == [(1, 0)]
    assert await people.prototypes(ann) == []
    assert await people.name(done, "S1", "Ann") != ann
