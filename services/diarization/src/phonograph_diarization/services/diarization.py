"""From a new file to its speakers."""

from uuid import uuid5

from phonograph_diarization.constants import DIARIZE, MATCH_THRESHOLDS
from phonograph_diarization.domain.diarization import Diarization
from phonograph_diarization.domain.meeting import Speaker
from phonograph_diarization.domain.ports import KnownVoices, Meetings
from phonograph_diarization.domain.task import Diarized, DiarizeTask
from phonograph_diarization.domain.voices import match_voices
from phonograph_events import DiarizationCompleted, MediaReady, Service, SpeakerSummary, uuid7
from phonograph_runtime.jobs import Job
from phonograph_runtime.ports import JobRequests, Publisher


class DiarizationService:
    """Tells who speaks when; lives as long as one transaction."""

    def __init__(
        self,
        *,
        jobs: JobRequests,
        publisher: Publisher,
        meetings: Meetings,
        known_voices: KnownVoices,
    ) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._meetings = meetings
        self._known_voices = known_voices

    async def request(self, event: MediaReady) -> None:
        """Plan one meeting for a file whose profile wants speakers; a second request does nothing."""
        media = event.media
        if not media.wants(Service.DIARIZATION):
            return
        task = DiarizeTask(media=media, meeting_id=uuid5(media.media_id, "meeting"))
        await self._jobs.enqueue(
            DIARIZE,
            task,
            media_id=media.media_id,
            owner=media.owner,
            priority=media.priority,
            dedupe_key=f"{DIARIZE}|{media.media_id}",
        )
        await self._meetings.plan(task.meeting_id, media)

    async def finish(self, job: Job, task: DiarizeTask, diarized: Diarized) -> None:
        """Keep the speakers, recognise known voices and tell everybody."""
        found = diarized.diarization
        speakers = await self._speakers(task.media.owner, found)
        version = await self._meetings.complete(task.meeting_id, diarized, speakers, seconds=job.seconds)
        await self._publisher.publish(
            DiarizationCompleted(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(engine=found.engine, model=found.model, reason=found.reason),
                document_uri=diarized.document.uri,
                meeting_id=task.meeting_id,
                speaker_count=len(found.voices),
                turn_count=len(found.turns),
                speakers=[_summary(speaker) for speaker in speakers],
                rttm_uri=None if diarized.rttm is None else diarized.rttm.uri,
            ),
            version=version,
        )

    async def fail(self, task: DiarizeTask, reason: str) -> None:
        """Keep that the speakers could not be told apart."""
        await self._meetings.fail(task.meeting_id, reason)

    async def _speakers(self, owner: str | None, found: Diarization) -> list[Speaker]:
        """The meeting's speakers, each with the known person behind the voice, if there is one."""
        voices = found.voices
        voiceprints = [voice.voiceprint for voice in voices if voice.voiceprint is not None]
        known = (
            await self._known_voices.of(owner, voiceprints[0].model_id, voiceprints[0].dim)
            if voiceprints
            else []
        )
        matches = match_voices(voices, known, threshold=MATCH_THRESHOLDS[found.engine])
        return [Speaker(uuid7(), voice, matches.get(voice.label)) for voice in voices]


def _summary(speaker: Speaker) -> SpeakerSummary:
    match = speaker.match
    return SpeakerSummary(
        speaker_id=speaker.speaker_id,
        label=speaker.voice.label,
        seconds=speaker.voice.seconds,
        user_profile_id=None if match is None else match.user_profile_id,
        confidence=None if match is None else max(match.confidence, 0.0),
    )
