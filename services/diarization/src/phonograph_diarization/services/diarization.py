"""Use cases from a new recording to its speakers."""

from uuid import UUID, uuid5

import structlog

from phonograph_diarization.constants import DIARIZE, OPTIONS
from phonograph_diarization.domain.meeting import Speaker
from phonograph_diarization.domain.ports import MeetingStore
from phonograph_diarization.domain.results import StoredDiarization
from phonograph_diarization.domain.tasks import DiarizeTask
from phonograph_diarization.domain.voices import VoiceMatch
from phonograph_diarization.services.identification import IdentificationService
from phonograph_events import (
    DiarizationCompleted,
    MediaReady,
    RerunRequested,
    Service,
    SpeakerSummary,
    uuid7,
)
from phonograph_runtime.errors import RefusedRerunError
from phonograph_runtime.ports import RERUN_PRIORITY, Job, JobFailure, JobRequests, Publisher

logger = structlog.get_logger()


class DiarizationService:
    """Requests, stores and publishes diarizations; lives as long as one transaction."""

    def __init__(
        self,
        *,
        jobs: JobRequests,
        publisher: Publisher,
        meetings: MeetingStore,
        identification: IdentificationService,
    ) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._meetings = meetings
        self._identification = identification

    async def request_diarization(self, event: MediaReady) -> None:
        """Request one meeting for a recording whose profile asks for speakers; repeating it does nothing."""
        media = event.media
        # The id follows from the recording: a repeated event finds the meeting that exists already.
        task = DiarizeTask(media=media, meeting_id=uuid5(media.media_id, "meeting"))
        await self._jobs.remember(task, media.media_id)
        if not media.wants(Service.DIARIZATION):
            return
        await self._jobs.enqueue(DIARIZE, task, media=media, requested=task.options.to_facts(*OPTIONS))
        await self._meetings.add_pending(task.meeting_id, media)

    async def request_rerun(self, event: RerunRequested, request_id: UUID) -> None:
        """Request another meeting for a recording, once for each request.

        Args:
            event: The recording and the options.
            request_id: Id of the request.

        Raises:
            RefusedRerunError: If the recording is unknown, or its previous meeting is not finished.
        """
        known = await self._jobs.recall(DiarizeTask, event.media_id)
        if known is None:
            raise RefusedRerunError.unknown_recording(Service.DIARIZATION)
        media = known.media
        task = DiarizeTask(
            media=media,
            meeting_id=uuid5(media.media_id, f"meeting|{request_id}"),
            changed_options=event.apply_to(media.options),
            engine=event.engine,
        )
        if not await self._meetings.add_pending(task.meeting_id, media):
            raise RefusedRerunError(
                "The recording is being diarized: wait for the result, or cancel the job first.",
                reason="in_progress",
            )
        requested = task.options.to_facts(*OPTIONS) | event.to_facts()
        await self._jobs.enqueue(
            DIARIZE,
            task,
            media=media,
            dedupe_key=f"{DIARIZE}|{media.media_id}|{request_id}",
            extra_priority=RERUN_PRIORITY,
            requested=requested if event.engine is None else requested | {"engine": event.engine},
        )

    async def complete_diarization(self, job: Job, task: DiarizeTask, stored: StoredDiarization) -> None:
        """Store and publish the speakers of a recording, with suggestions of who they are.

        Args:
            job: The job that has ended.
            task: Its task.
            stored: The diarization and its documents.
        """
        diarization = stored.diarization
        speakers = [Speaker(uuid7(), voice) for voice in diarization.voices]
        version = await self._meetings.complete(task.meeting_id, stored, speakers, processing_s=job.seconds)
        matches = await self._identification.identify(task.meeting_id, task.media)
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
                speakers=[_summarize(speaker, matches.get(speaker.speaker_id)) for speaker in speakers],
                warnings=[warning.code.value for warning in diarization.warnings],
                rttm_uri=None if stored.rttm is None else stored.rttm.uri,
            ),
            version=version,
        )
        logger.info(
            "diarization stored",
            version=version,
            engine=diarization.engine,
            speakers=len(speakers),
            suggestions=len(matches),
            turns=len(diarization.turns),
            reason=diarization.reason,
        )

    async def fail_diarization(self, task: DiarizeTask, failure: JobFailure) -> None:
        """Mark the meeting of a recording failed."""
        await self._meetings.fail(task.meeting_id, failure.reason)
        logger.info("diarization failed", reason=failure.reason)


def _summarize(speaker: Speaker, match: VoiceMatch | None) -> SpeakerSummary:
    return SpeakerSummary(
        speaker_id=speaker.speaker_id,
        label=speaker.voice.label,
        seconds=speaker.voice.speech_s,
        user_profile_id=None if match is None else match.person_id,
        confidence=None if match is None else max(match.score, 0.0),
    )
