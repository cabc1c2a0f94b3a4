"""Requests of users: names for speakers, answers to suggestions, and changes of people."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import structlog

from phonograph_diarization.domain.people import IdentifiedVoice, Person, clean_name
from phonograph_diarization.domain.person_export import PersonExport, build_export
from phonograph_diarization.domain.ports import PeopleStore, PersonExports
from phonograph_diarization.exceptions import RequestRefusedError
from phonograph_diarization.services.identification import IdentificationService
from phonograph_events import (
    IdentityDecision,
    IdentityState,
    PersonChange,
    PersonChanged,
    PersonChangeRequested,
    PersonRequestAnswered,
    SpeakerDecision,
    SpeakerNamingRequested,
    uuid7,
)
from phonograph_runtime.ports import Publisher

UNKNOWN_SPEAKER, UNKNOWN_PERSON = "unknown_speaker", "unknown_person"

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a request that was fulfilled."""

    person_id: UUID
    message: str = ""
    document_uri: str | None = None


class PeopleService:
    """Fulfills the requests of users about speakers and people; lives as long as one request."""

    def __init__(
        self,
        *,
        store: PeopleStore,
        publisher: Publisher,
        identification: IdentificationService,
        exports: PersonExports,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._identification = identification
        self._exports = exports

    async def name_speaker(self, event: SpeakerNamingRequested, request_id: str) -> None:
        """Fulfill or refuse a request about a speaker, and publish the answer.

        Args:
            event: The request.
            request_id: Id of its event.
        """
        decide: Mapping[str, Callable[[SpeakerNamingRequested, IdentifiedVoice], Awaitable[Outcome]]] = {
            SpeakerDecision.NAME: self._name,
            SpeakerDecision.CONFIRM: self._confirm,
            SpeakerDecision.REFUSE: self._refuse,
        }

        async def fulfill() -> Outcome:
            known = await self._store.find_speaker(event.speaker_id)
            if known is None or known.media_id != event.media_id:
                raise RequestRefusedError("The recording has no such speaker.", reason=UNKNOWN_SPEAKER)
            if event.decision not in decide:
                raise RequestRefusedError(f"There is no decision {event.decision!r}.", reason="unsupported")
            await self._store.lock_owner(known.owner)
            # Read again under the lock: another request may have changed the speaker.
            speaker = await self._require_speaker(event.speaker_id)
            return await decide[event.decision](event, speaker)

        await self._answer(request_id, fulfill, by=event.requested_by, what=str(event.decision))

    async def change_person(self, event: PersonChangeRequested, request_id: str) -> None:
        """Fulfill or refuse a request about a person, and publish the answer.

        Args:
            event: The request.
            request_id: Id of its event.
        """
        changes: Mapping[str, Callable[[PersonChangeRequested, Person], Awaitable[Outcome]]] = {
            PersonChange.RENAME: self._rename,
            PersonChange.CONSENT: self._set_consent,
            PersonChange.MERGE: self._merge,
            PersonChange.SPLIT: self._split,
            PersonChange.FORGET: self._forget,
            PersonChange.EXPORT: self._export,
        }

        async def fulfill() -> Outcome:
            if event.change not in changes:
                raise RequestRefusedError(f"There is no change {event.change!r}.", reason="unsupported")
            await self._store.lock_owner(event.owner)
            person = await self._store.find_person(event.person_id)
            if person is not None and person.owner == event.owner:
                return await changes[event.change](event, person)
            if event.change == PersonChange.FORGET and await self._is_forgotten(event.person_id):
                return Outcome(event.person_id, "The person was forgotten before.")
            raise RequestRefusedError("There is no such person.", reason=UNKNOWN_PERSON)

        await self._answer(request_id, fulfill, by=event.requested_by, what=str(event.change))

    async def _answer(
        self, request_id: str, fulfill: Callable[[], Awaitable[Outcome]], *, by: str, what: str
    ) -> None:
        """Publish the changes of a request and its answer; a refusal comes before any change."""
        try:
            outcome = await fulfill()
        except RequestRefusedError as error:
            logger.info("request about a person refused", request=what, reason=error.reason)
            await self._publisher.publish(
                PersonRequestAnswered(
                    request_id=request_id, ok=False, reason=error.reason, message=error.message
                )
            )
            return
        recordings = await self._identification.publish(by)
        logger.info("person changed", request=what, person_id=str(outcome.person_id))
        await self._publisher.publish(
            PersonRequestAnswered(
                request_id=request_id,
                ok=True,
                message=outcome.message,
                person_id=outcome.person_id,
                recording_count=recordings,
                document_uri=outcome.document_uri,
            )
        )

    async def _name(self, event: SpeakerNamingRequested, speaker: IdentifiedVoice) -> Outcome:
        name = clean_name(event.name)
        person = await self._store.find_person_by_name(speaker.owner, name)
        if person is not None:
            await self._require_absent(person, speaker)
        else:
            person = await self._add_person(speaker.owner, name, consent=event.consent, by=event.requested_by)
        if event.consent not in {None, person.consent}:
            person = await self._store_consent(person, consent=bool(event.consent), by=event.requested_by)
        elif speaker.is_confirmed_as(person.person_id):
            return Outcome(person.person_id, "The speaker has this name already.")
        await self._confirm_as(person, speaker, IdentityDecision.NAMED, by=event.requested_by)
        return Outcome(person.person_id)

    async def _confirm(self, event: SpeakerNamingRequested, speaker: IdentifiedVoice) -> Outcome:
        person = await self._require_suggestion(event, speaker)
        if speaker.state is not IdentityState.CONFIRMED:
            await self._confirm_as(person, speaker, IdentityDecision.CONFIRMED, by=event.requested_by)
        return Outcome(person.person_id)

    async def _refuse(self, event: SpeakerNamingRequested, speaker: IdentifiedVoice) -> Outcome:
        refused = await self._store.refusals([speaker.speaker_id])
        asked = event.person_id
        if asked is not None and asked != speaker.person_id and (speaker.speaker_id, asked) in refused:
            return Outcome(asked, "The suggestion was refused before.")
        person = await self._require_suggestion(event, speaker)
        await self._store.add_refusal(speaker.speaker_id, person.person_id, by=event.requested_by)
        await self._identification.clear(speaker, IdentityDecision.REFUSED)
        await self._identification.record(
            IdentityDecision.REFUSED, person, by=event.requested_by, speaker=speaker
        )
        if speaker.state is IdentityState.CONFIRMED:
            await self._identification.learn([person])
        elif speaker.voiceprint is not None:
            await self._identification.refresh(speaker.owner, {speaker.voiceprint.model_id})
        return Outcome(person.person_id)

    async def _rename(self, event: PersonChangeRequested, person: Person) -> Outcome:
        name = clean_name(event.name)
        if name == person.name:
            return Outcome(person.person_id, "The person has this name already.")
        if await self._store.find_person_by_name(person.owner, name) is not None:
            raise RequestRefusedError(
                "Another person has this name: merge the two, or choose another name.", reason="name_taken"
            )
        await self._store.erase_deliveries(person)
        renamed = replace(person, name=name)
        await self._store.update_person(renamed, by=event.requested_by)
        await self._identification.record(IdentityDecision.RENAMED, renamed, by=event.requested_by)
        self._identification.mark(person.person_id, IdentityDecision.RENAMED)
        return Outcome(person.person_id)

    async def _set_consent(self, event: PersonChangeRequested, person: Person) -> Outcome:
        if event.consent is None:
            raise RequestRefusedError(
                "The request does not say whether there is consent.", reason="bad_request"
            )
        if event.consent != person.consent:
            changed = await self._store_consent(person, consent=event.consent, by=event.requested_by)
            await self._identification.learn([changed])
        return Outcome(person.person_id)

    async def _merge(self, event: PersonChangeRequested, person: Person) -> Outcome:
        into = await self._store.find_person(event.into_person_id) if event.into_person_id else None
        if into is None or into.owner != person.owner:
            raise RequestRefusedError("There is no such person to merge into.", reason=UNKNOWN_PERSON)
        if into.person_id == person.person_id:
            raise RequestRefusedError("A person cannot be merged with itself.", reason="same_person")
        own = await self._store.speakers_of_person(person.person_id)
        theirs = await self._store.speakers_of_person(into.person_id)
        await self._require_apart(person, own, into, theirs)
        await self._identification.withdraw([*own, *theirs])
        # Whoever is refused as one of them is neither; the voices that are confirmed are both.
        await self._store.move_refusals(person.person_id, into.person_id)
        for speaker in own:
            if speaker.is_confirmed_as(person.person_id):
                await self._move(speaker, into, IdentityDecision.MERGED)
        # Consent was given for one of two profiles only: the stricter of both applies.
        if into.consent and not person.consent:
            into = await self._store_consent(into, consent=False, by=event.requested_by)
        await self._remove(person, IdentityDecision.MERGED, by=event.requested_by, merged_into=into.person_id)
        await self._identification.record(IdentityDecision.MERGED, into, by=event.requested_by, other=person)
        self._identification.mark(into.person_id, IdentityDecision.MERGED)
        await self._identification.learn([into])
        return Outcome(into.person_id)

    async def _split(self, event: PersonChangeRequested, person: Person) -> Outcome:
        name = clean_name(event.name)
        moved = [await self._require_speaker(speaker_id) for speaker_id in dict.fromkeys(event.speaker_ids)]
        if not moved or not all(speaker.is_confirmed_as(person.person_id) for speaker in moved):
            raise RequestRefusedError(
                "Only speakers who are confirmed as the person can be split off.", reason="not_confirmed"
            )
        other = await self._store.find_person_by_name(person.owner, name)
        if other is None:
            other = await self._add_person(person.owner, name, consent=person.consent, by=event.requested_by)
        elif other.person_id == person.person_id:
            raise RequestRefusedError("The other person needs another name.", reason="same_person")
        else:
            theirs = await self._store.speakers_of_person(other.person_id)
            await self._require_apart(person, moved, other, theirs)
            await self._identification.withdraw(theirs)
        for speaker in moved:
            await self._move(speaker, other, IdentityDecision.SPLIT)
            await self._store.add_refusal(speaker.speaker_id, person.person_id, by=event.requested_by)
        await self._identification.record(IdentityDecision.SPLIT, person, by=event.requested_by, other=other)
        self._identification.mark(person.person_id, IdentityDecision.SPLIT)
        await self._identification.learn([person, other])
        return Outcome(other.person_id)

    async def _forget(self, event: PersonChangeRequested, person: Person) -> Outcome:
        speakers = await self._store.speakers_of_person(person.person_id)
        models = await self._identification.models_of(person)
        for speaker in speakers:
            await self._identification.clear(speaker, IdentityDecision.FORGOTTEN)
        # Suggested voices as well: most of them are the person's, though no user has said so.
        await self._store.erase_voiceprints([speaker.speaker_id for speaker in speakers])
        await self._exports.erase(person.person_id)
        await self._remove(person, IdentityDecision.FORGOTTEN, by=event.requested_by)
        await self._identification.refresh(person.owner, models)
        return Outcome(person.person_id)

    async def _export(self, event: PersonChangeRequested, person: Person) -> Outcome:
        await self._identification.record(IdentityDecision.EXPORTED, person, by=event.requested_by)
        speakers = await self._store.speakers_of_person(person.person_id)
        export: PersonExport = build_export(
            person,
            speakers,
            await self._store.prototypes(person.person_id),
            await self._store.decisions(person.person_id),
        )
        uri = await self._exports.put(person.person_id, export.model_dump_json(indent=2).encode())
        return Outcome(person.person_id, document_uri=uri)

    async def _confirm_as(
        self, person: Person, speaker: IdentifiedVoice, decision: IdentityDecision, *, by: str
    ) -> None:
        """Let a speaker be a person, and learn from it.

        Args:
            person: The person.
            speaker: The speaker, who may have been another person until now.
            decision: `NAMED` or `CONFIRMED`.
            by: The user who says so.
        """
        earlier = None
        if speaker.state is IdentityState.CONFIRMED and not speaker.is_confirmed_as(person.person_id):
            earlier = await self._store.find_person(speaker.person_id) if speaker.person_id else None
        await self._identification.withdraw(
            each
            for each in await self._store.speakers_of_meeting(speaker.meeting_id)
            if each.person_id == person.person_id and each.speaker_id != speaker.speaker_id
        )
        await self._store.remove_refusal(speaker.speaker_id, person.person_id)
        named = replace(
            speaker,
            state=IdentityState.CONFIRMED,
            person_id=person.person_id,
            score=speaker.score if speaker.person_id == person.person_id else None,
            decided_by=by,
            decided_at=datetime.now(UTC),
        )
        await self._identification.save(named, decision)
        await self._identification.record(decision, person, by=by, speaker=named)
        await self._identification.learn([person] if earlier is None else [person, earlier])

    async def _move(self, speaker: IdentifiedVoice, person: Person, decision: IdentityDecision) -> None:
        await self._store.remove_refusal(speaker.speaker_id, person.person_id)
        await self._identification.save(replace(speaker, person_id=person.person_id), decision)

    async def _add_person(self, owner: str | None, name: str, *, consent: bool | None, by: str) -> Person:
        """Add a person; consent counts as given unless the user who names the person denies it."""
        person = Person(uuid7(), owner, name, consent is not False, version=0)
        await self._store.add_person(person, by=by)
        await self._identification.record(IdentityDecision.CREATED, person, by=by)
        self._identification.mark(person.person_id, IdentityDecision.CREATED)
        return person

    async def _store_consent(self, person: Person, *, consent: bool, by: str) -> Person:
        changed = replace(person, consent=consent)
        await self._store.update_person(changed, by=by)
        await self._identification.record(IdentityDecision.CONSENT_CHANGED, changed, by=by)
        self._identification.mark(person.person_id, IdentityDecision.CONSENT_CHANGED)
        return changed

    async def _remove(
        self, person: Person, decision: IdentityDecision, *, by: str, merged_into: UUID | None = None
    ) -> None:
        """Delete a person and publish it, without the name.

        Args:
            person: The person, to whom no speaker refers any more.
            decision: `MERGED` or `FORGOTTEN`.
            by: The user who asked for it.
            merged_into: The person who remains.
        """
        await self._identification.record(decision, person, by=by)
        await self._store.erase_deliveries(person)
        await self._store.remove_person(person.person_id)
        await self._publisher.publish(
            PersonChanged(
                person_id=person.person_id,
                owner=person.owner,
                decision=decision,
                merged_into=merged_into,
                changed_by=by,
            ),
            version=person.version + 1,
        )

    async def _is_forgotten(self, person_id: UUID) -> bool:
        decisions = await self._store.decisions(person_id)
        return any(each.decision is IdentityDecision.FORGOTTEN for each in decisions)

    async def _require_speaker(self, speaker_id: UUID) -> IdentifiedVoice:
        speaker = await self._store.find_speaker(speaker_id)
        if speaker is None:
            raise RequestRefusedError("There is no such speaker.", reason=UNKNOWN_SPEAKER)
        return speaker

    async def _require_suggestion(self, event: SpeakerNamingRequested, speaker: IdentifiedVoice) -> Person:
        """Return the person of the suggestion that the user saw.

        Raises:
            RequestRefusedError: If it has changed since, or there is none.
        """
        person = await self._store.find_person(speaker.person_id) if speaker.person_id else None
        if person is None or person.person_id != event.person_id:
            raise RequestRefusedError(
                f"This person is not suggested for {speaker.label}: the suggestion has changed, or there is "
                "none.",
                reason="not_suggested",
            )
        return person

    async def _require_absent(self, person: Person, speaker: IdentifiedVoice) -> None:
        """Raise `RequestRefusedError` if another speaker of the meeting is the person."""
        for other in await self._store.speakers_of_meeting(speaker.meeting_id):
            if other.speaker_id != speaker.speaker_id and other.is_confirmed_as(person.person_id):
                raise RequestRefusedError(
                    f"{other.label} of this recording is this person already, and no person speaks with "
                    f"two voices: name {other.label} otherwise first.",
                    reason="already_in_meeting",
                )

    async def _require_apart(
        self,
        person: Person,
        own: Iterable[IdentifiedVoice],
        other: Person,
        theirs: Iterable[IdentifiedVoice],
    ) -> None:
        """Raise `RequestRefusedError` if two people are different speakers of one meeting.

        Args:
            person: One person.
            own: Speakers of that person.
            other: The other person.
            theirs: Speakers of the other one.
        """
        meetings = {speaker.meeting_id for speaker in own if speaker.is_confirmed_as(person.person_id)}
        shared = [
            speaker
            for speaker in theirs
            if speaker.is_confirmed_as(other.person_id) and speaker.meeting_id in meetings
        ]
        if shared:
            raise RequestRefusedError(
                f"Both people speak in {len(shared)} recordings, for example {shared[0].media_id}: "
                "name one of the speakers there otherwise first.",
                reason="already_in_meeting",
            )
