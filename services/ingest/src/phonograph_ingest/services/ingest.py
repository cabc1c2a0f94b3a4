"""From a request to a registered file, or to the reason why there is none."""

from phonograph_events import (
    IngestRequested,
    MediaDuplicated,
    MediaReady,
    MediaRejected,
    uuid7,
)
from phonograph_ingest.constants import INGEST
from phonograph_ingest.domain.media import Intake, Registered, Rejection, rejected_id
from phonograph_ingest.domain.ports import MediaRegistry
from phonograph_ingest.domain.request import IngestTask
from phonograph_runtime.jobs import Job
from phonograph_runtime.ports import JobRequests, Publisher


class IngestService:
    """Takes files in; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, registry: MediaRegistry) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._registry = registry

    async def request(self, event: IngestRequested) -> None:
        """Plan the reading of a file. A second request with the same owner and request id does nothing."""
        task = IngestTask(
            uri=event.uri,
            profile=event.profile,
            owner=event.owner,
            priority=event.priority,
            options=event.options,
        )
        key = None if event.request_id is None else f"{event.owner or ''}|{event.request_id}"
        await self._jobs.enqueue(
            INGEST, task, media_id=uuid7(), owner=event.owner, priority=event.priority, dedupe_key=key
        )

    async def finish(self, job: Job, task: IngestTask, outcome: Intake | Rejection) -> None:
        """Register what was read, or keep why it was not, and tell everybody."""
        if isinstance(outcome, Rejection):
            await self.reject(job, task, outcome)
            return
        registered = await self._registry.register(job.media_id, outcome, task)
        if registered.duplicate is None:
            await self._publisher.publish(_ready(job, outcome, registered))
        else:
            await self._publisher.publish(
                MediaDuplicated(
                    media_id=registered.media.media_id,
                    media=registered.media,
                    duplicate=registered.duplicate,
                    uri=outcome.uri,
                    file_name=outcome.file_name,
                    file_hash=outcome.file_hash,
                    job=job.summary(reason=registered.duplicate),
                )
            )

    async def reject(self, job: Job, task: IngestTask, rejection: Rejection) -> None:
        """Keep a rejection and publish it."""
        media_id = rejected_id(task.owner, rejection.uri)
        await self._registry.reject(media_id, rejection, task)
        await self._publisher.publish(
            MediaRejected(
                media_id=media_id,
                uri=rejection.uri,
                file_name=rejection.file_name,
                reason=rejection.reason,
                message=rejection.message,
                job=job.summary(reason=rejection.reason),
            )
        )


def _ready(job: Job, intake: Intake, registered: Registered) -> MediaReady:
    return MediaReady(
        media_id=registered.media.media_id,
        media=registered.media,
        container=intake.container,
        audio=intake.audio,
        video=intake.video,
        chapters=list(intake.chapters),
        tags=intake.tags,
        warnings=list(intake.warnings),
        job=job.summary(engine="pyav"),
    )
