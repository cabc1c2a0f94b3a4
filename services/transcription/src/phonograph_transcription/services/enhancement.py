"""The use cases from a request for an enhancement to the enhanced transcript."""

from dataclasses import asdict

import structlog

from phonograph_events import EnhancementRequested, Fillers, JobFailed, Service, uuid7
from phonograph_runtime.ports import JobRequests, Publisher
from phonograph_transcription.constants import ENHANCE, MERGE_PRIORITY
from phonograph_transcription.domain.enhancement import EnhancementRules
from phonograph_transcription.domain.ports import EnhancementStore
from phonograph_transcription.domain.tasks import EnhanceTask

logger = structlog.get_logger()


class EnhancementService:
    """Requests enhancements; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, store: EnhancementStore) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._store = store

    async def request_enhancement(self, event: EnhancementRequested) -> None:
        """Request the enhancement of the newest recognition of a recording, or publish why it is refused."""
        if event.fillers not in set(Fillers):
            degrees = ", ".join(Fillers)
            await self._refuse(
                event,
                "bad_options",
                f"There is no degree {event.fillers!r} of fillers; there are: {degrees}.",
            )
            return
        source = await self._store.find_recognition(event.media_id)
        if source is None:
            await self._refuse(event, "no_transcript", f"The recording {event.media_id} has no transcript.")
            return
        task = EnhanceTask(
            media=source.media,
            result_id=source.result_id,
            transcript_uri=source.document_uri,
            language_probability=source.language_probability,
            rules=EnhancementRules(
                fillers=Fillers(event.fillers),
                repetitions=event.repetitions,
                numbers=event.numbers,
                casing=event.casing,
            ),
            used=source.used,
        )
        await self._jobs.enqueue(
            ENHANCE,
            task,
            media=source.media,
            dedupe_key=f"{ENHANCE}|{uuid7()}",
            extra_priority=MERGE_PRIORITY,
            requested=asdict(task.rules),
        )

    async def _refuse(self, event: EnhancementRequested, reason: str, message: str) -> None:
        logger.warning("enhancement refused", reason=reason, error=message)
        await self._publisher.publish(
            JobFailed(
                media_id=event.media_id,
                job_id=uuid7(),
                service=Service.TRANSCRIPTION,
                kind=ENHANCE,
                reason=reason,
                message=message,
                attempt=1,
                final=True,
            )
        )
