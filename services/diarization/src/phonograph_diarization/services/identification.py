"""Identification of speakers: what users have decided, what is learned from it, and suggestions."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from phonograph_diarization.constants import MAX_SEARCHED_VOICES
from phonograph_diarization.domain.people import DecisionRecord, IdentifiedVoice, Person
from phonograph_diarization.domain.ports import PeopleStore
from phonograph_diarization.domain.times import match_by_time
from phonograph_diarization.domain.voices import (
    Voice,
    VoiceMatch,
    VoiceSample,
    build_prototypes,
    suggest_people,
)
from phonograph_events import (
    IdentifiedSpeaker,
    IdentityDecision,
    IdentityState,
    MediaRef,
    PersonChanged,
    Service,
    SpeakersIdentified,
)
from phonograph_runtime.ports import Publisher

SERVICE = Service.DIARIZATION.value
"""Stands for a user where the service applies what users have decided before."""


class IdentificationService:
    """Stores who speakers are, learns voices and suggests people; lives as long as one request.

    What changes is collected, and published once at the end.
    """

    def __init__(self, *, store: PeopleStore, publisher: Publisher) -> None:
        self._store = store
        self._publisher = publisher
        self._changed_meetings: dict[UUID, tuple[UUID, IdentityDecision]] = {}
        self._changed_people: dict[UUID, IdentityDecision] = {}

    async def identify(self, meeting_id: UUID, media: MediaRef) -> Mapping[UUID, VoiceMatch]:
        """Identify the speakers of a new meeting, and publish it.

        Names and refusals of an earlier meeting of the recording apply to the speakers who speak at the same
        times. For the others people of the same owner are suggested.

        Args:
            meeting_id: The meeting, whose speakers are stored.
            media: The recording.

        Returns:
            The suggestion for each speaker that has one.
        """
        await self._store.lock_owner(media.owner)
        await self._carry_over(meeting_id, media.media_id)
        speakers = await self._store.speakers_of_meeting(meeting_id)
        voices = _voices(speakers)
        known = [
            each
            for model_id in sorted({voice.voiceprint.model_id for voice in voices})
            for each in await self._store.known_voices(media.owner, model_id)
        ]
        taken = await self._store.confirmed_people({meeting_id})
        refused = await self._store.refusals([voice.speaker_id for voice in voices])
        matches = suggest_people(voices, known, taken=taken, refused=refused)
        undecided = [speaker for speaker in speakers if speaker.state is not IdentityState.CONFIRMED]
        await self._apply(undecided, matches)
        await self.publish(SERVICE)
        return matches

    async def learn(self, people: Sequence[Person]) -> None:
        """Make the voiceprints of people from their confirmed speakers, and suggest them elsewhere."""
        models: dict[str | None, set[str]] = defaultdict(set)
        for person in people:
            before = await self.models_of(person)
            samples = [
                VoiceSample(speaker.voiceprint, speaker.speech_s)
                for speaker in await self._store.speakers_of_person(person.person_id)
                if speaker.voiceprint is not None and speaker.is_confirmed_as(person.person_id)
            ]
            prototypes = build_prototypes(samples) if person.consent else []
            await self._store.replace_prototypes(person, prototypes)
            models[person.owner] |= before | {each.voiceprint.model_id for each in prototypes}
            self._changed_people.setdefault(person.person_id, IdentityDecision.LEARNED)
        for owner, names in models.items():
            await self.refresh(owner, names)

    async def refresh(self, owner: str | None, model_ids: Collection[str]) -> None:
        """Compare the undecided voices of an owner with all known ones again, and store what differs."""
        for model_id in sorted(model_ids):
            speakers = await self._store.undecided_voices(owner, model_id, most=MAX_SEARCHED_VOICES)
            known = await self._store.known_voices(owner, model_id)
            taken = await self._store.confirmed_people({speaker.meeting_id for speaker in speakers})
            refused = await self._store.refusals([speaker.speaker_id for speaker in speakers])
            await self._apply(
                speakers, suggest_people(_voices(speakers), known, taken=taken, refused=refused)
            )

    async def save(self, speaker: IdentifiedVoice, decision: IdentityDecision) -> None:
        """Store who a speaker is.

        Args:
            speaker: The speaker, with the person.
            decision: What was decided; decisions of users take precedence over suggestions in the event.
        """
        await self._store.save_identity(speaker)
        is_minor = decision in {IdentityDecision.SUGGESTED, IdentityDecision.WITHDRAWN}
        if not is_minor or speaker.meeting_id not in self._changed_meetings:
            self._changed_meetings[speaker.meeting_id] = (speaker.media_id, decision)

    async def clear(self, speaker: IdentifiedVoice, decision: IdentityDecision) -> None:
        """Store that it is unknown who a speaker is.

        Args:
            speaker: The speaker.
            decision: What was decided.
        """
        cleared = replace(
            speaker,
            state=IdentityState.UNKNOWN,
            person_id=None,
            score=None,
            decided_by=None,
            decided_at=None,
        )
        await self.save(cleared, decision)

    async def withdraw(self, speakers: Iterable[IdentifiedVoice]) -> None:
        """Withdraw the suggestions of speakers whose person is needed elsewhere, or ceases to exist."""
        for speaker in speakers:
            if speaker.state is IdentityState.SUGGESTED:
                await self.clear(speaker, IdentityDecision.WITHDRAWN)

    async def record(
        self,
        decision: IdentityDecision,
        person: Person,
        *,
        by: str,
        speaker: IdentifiedVoice | None = None,
        other: Person | None = None,
    ) -> None:
        """Store who decided what.

        Args:
            decision: What was decided.
            person: The person.
            by: The user.
            speaker: The speaker that it is about, if it is about one.
            other: The other person of a merge or split.
        """
        await self._store.add_decision(
            DecisionRecord(
                decision,
                person.person_id,
                by,
                speaker_id=None if speaker is None else speaker.speaker_id,
                other_person_id=None if other is None else other.person_id,
                score=None if speaker is None else speaker.score,
            )
        )

    async def models_of(self, person: Person) -> set[str]:
        """Return the models that made the voiceprints of a person."""
        return {each.voiceprint.model_id for each in await self._store.prototypes(person.person_id)}

    def mark(self, person_id: UUID, decision: IdentityDecision) -> None:
        """Remember that a person has changed, so that it is published.

        Args:
            person_id: The person.
            decision: The change.
        """
        self._changed_people[person_id] = decision

    async def publish(self, by: str) -> int:
        """Publish what has changed.

        Args:
            by: The user who asked for it.

        Returns:
            Number of recordings whose speakers changed.
        """
        await self._publish_people(by)
        return await self._publish_meetings()

    async def _carry_over(self, meeting_id: UUID, media_id: UUID) -> None:
        """Let what users have decided about an earlier meeting apply to a new one of the same recording."""
        earlier_meeting = await self._store.find_earlier_meeting(media_id, meeting_id)
        if earlier_meeting is None:
            return
        same = match_by_time(await self._store.times(earlier_meeting), await self._store.times(meeting_id))
        earlier = {each.speaker_id: each for each in await self._store.speakers_of_meeting(earlier_meeting)}
        refused = await self._store.refusals(list(earlier))
        people: list[Person] = []
        for speaker in await self._store.speakers_of_meeting(meeting_id):
            old = earlier.get(same.get(speaker.speaker_id, speaker.speaker_id))
            if old is None:
                continue
            for speaker_id, person_id in refused:
                if speaker_id == old.speaker_id:
                    await self._store.add_refusal(speaker.speaker_id, person_id, by=SERVICE)
            person = await self._store.find_person(old.person_id) if old.person_id else None
            if person is not None and old.is_confirmed_as(person.person_id):
                named = replace(
                    speaker,
                    state=IdentityState.CONFIRMED,
                    person_id=person.person_id,
                    decided_by=old.decided_by,
                    decided_at=old.decided_at,
                )
                await self.save(named, IdentityDecision.CARRIED_OVER)
                await self.record(IdentityDecision.CARRIED_OVER, person, by=SERVICE, speaker=named)
                people.append(person)
        await self.learn(people)

    async def _apply(self, speakers: Sequence[IdentifiedVoice], matches: Mapping[UUID, VoiceMatch]) -> None:
        """Store the suggestions for undecided speakers; one whose person stays the same keeps its score."""
        changed = [
            (speaker, match)
            for speaker in speakers
            if (match := matches.get(speaker.speaker_id)) is None or match.person_id != speaker.person_id
            if match is not None or speaker.person_id is not None
        ]
        # Withdrawn first: a person may move from one speaker of a meeting to another.
        for speaker, _ in changed:
            if speaker.person_id is not None:
                await self.clear(speaker, IdentityDecision.WITHDRAWN)
        for speaker, match in changed:
            if match is not None:
                suggested = replace(
                    speaker, state=IdentityState.SUGGESTED, person_id=match.person_id, score=match.score
                )
                await self.save(suggested, IdentityDecision.SUGGESTED)

    async def _publish_people(self, by: str) -> None:
        for person_id, decision in self._changed_people.items():
            person = await self._store.find_person(person_id)
            if person is None:
                continue
            person = replace(person, version=person.version + 1)
            await self._store.update_person(person, by=by)
            await self._publisher.publish(
                PersonChanged(
                    person_id=person_id,
                    owner=person.owner,
                    decision=decision,
                    name=person.name,
                    consent=person.consent,
                    voiceprint_count=len(await self._store.prototypes(person_id)),
                    changed_by=by,
                ),
                version=person.version,
            )

    async def _publish_meetings(self) -> int:
        for meeting_id, (media_id, decision) in self._changed_meetings.items():
            version = await self._store.next_identity_version(media_id)
            await self._publisher.publish(
                SpeakersIdentified(
                    media_id=media_id,
                    meeting_id=meeting_id,
                    decision=decision,
                    speakers=[
                        _to_event(speaker) for speaker in await self._store.speakers_of_meeting(meeting_id)
                    ],
                    people=await self._store.people_of_recording(media_id),
                ),
                version=version,
            )
        return len({media_id for media_id, _ in self._changed_meetings.values()})


def _voices(speakers: Iterable[IdentifiedVoice]) -> list[Voice]:
    return [
        Voice(speaker.speaker_id, speaker.meeting_id, speaker.voiceprint)
        for speaker in speakers
        if speaker.voiceprint is not None and speaker.state is not IdentityState.CONFIRMED
    ]


def _to_event(speaker: IdentifiedVoice) -> IdentifiedSpeaker:
    return IdentifiedSpeaker(
        speaker_id=speaker.speaker_id,
        label=speaker.label,
        state=speaker.state,
        person_id=speaker.person_id,
        score=None if speaker.score is None else max(speaker.score, 0.0),
        decided_by=speaker.decided_by,
        decided_at=speaker.decided_at,
    )
