"""Use cases from a new recording to its speakers."""

from uuid import uuid5

import structlog

from phonograph_diarization.constants import DIARIZE, MATCH_THRESHOLDS
from phonograph_diarization.domain.diarization import Diarization
from phonograph_diarization.domain.meeting import Speaker
from phonograph_diarization.domain.ports import KnownVoiceStore, MeetingStore
from phonograph_diarization.domain.results import StoredDiarization
from phonograph_diarization.domain.tasks import DiarizeTask
from phonograph_diarization.domain.voices import match_voices
from phonograph_events import DiarizationCompleted, MediaReady, Service, SpeakerSummary, uuid7
from phonograph_runtime.ports import Job, JobFailure, JobRequests, Publisher

logger = structlog.get_logger()


class DiarizationService:
    """Requests, stores and publishes diarizations; lives as long as one transaction."""

    def __init__(
        self,
        *,
        jobs: JobRequests,
        publisher: Publisher,
        meetings: MeetingStore,
        known_voices: KnownVoiceStore,
    ) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._meetings = meetings
        self._known_voices = known_voices

    async def request_diarization(self, event: MediaReady) -> None:
        """Request one meeting for a recording whose profile asks for speakers; repeating it does nothing."""
        media = event.media
        if not media.wants(Service.DIARIZATION):
            return
        # The id follows from the recording: a repeated event finds the meeting that exists already.
        task = DiarizeTask(media=media, meeting_id=uuid5(media.media_id, "meeting"))
        await self._jobs.enqueue(DIARIZE, task, media=media)
        await self._meetings.add_pending(task.meeting_id, media)

    async def complete_diarization(self, job: Job, task: DiarizeTask, stored: StoredDiarization) -> None:
        """Recognize known voices, then store and publish the speakers of a recording.

        Args:
            job: The job that has ended.
            task: Its task.
            stored: The diarization and its documents.
        """
        diarization = stored.diarization
        speakers = await self._identify(task.media.owner, diarization)
        version = await self._meetings.complete(task.meeting_id, stored, speakers, processing_s=job.seconds)
        await self._publisher.publish(
            DiarizationCompleted(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(
                    engine=diarization.engine, model=diarization.model, reason=diarization.reason
                ),
                document_uri=stored.document.uri,
                meeting_id=task.meeting_id,
                speaker_count=len(diarization.voices),
                turn_count=len(diarization.turns),
                speakers=[_summarize(speaker) for speaker in speakers],
                rttm_uri=None if stored.rttm is None else stored.rttm.uri,
            ),
            version=version,
        )
        logger.info(
            "diarization stored",
            version=version,
            engine=diarization.engine,
            speakers=len(speakers),
            known_speakers=sum(speaker.match is not None for speaker in speakers),
            turns=len(diarization.turns),
            reason=diarization.reason,
        )

    async def fail_diarization(self, task: DiarizeTask, failure: JobFailure) -> None:
        """Mark the meeting of a recording failed."""
        await self._meetings.fail(task.meeting_id, failure.reason)
        logger.info("diarization failed", reason=failure.reason)

    async def _identify(self, owner: str | None, diarization: Diarization) -> list[Speaker]:
        """Return the speakers of a meeting, each with the known person whose voice it is, if there is one."""
        voices = diarization.voices
        voiceprints = [voice.voiceprint for voice in voices if voice.voiceprint is not None]
        known = (
            await self._known_voices.find(owner, voiceprints[0].model_id, voiceprints[0].dim)
            if voiceprints
            else []
        )
        matches = match_voices(voices, known, threshold=MATCH_THRESHOLDS[diarization.engine])
        return [Speaker(uuid7(), voice, matches.get(voice.label)) for voice in voices]


def _summarize(speaker: Speaker) -> SpeakerSummary:
    match = speaker.match
    return SpeakerSummary(
        speaker_id=speaker.speaker_id,
        label=speaker.voice.label,
        seconds=speaker.voice.speech_s,
        user_profile_id=None if match is None else match.user_profile_id,
        confidence=None if match is None else max(match.confidence, 0.0),
    )
