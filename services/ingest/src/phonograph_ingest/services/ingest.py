"""From a request to a registered file, or to the reason for its rejection."""

import structlog

from phonograph_events import (
    DuplicateKind,
    IngestRequested,
    MediaDuplicated,
    MediaReady,
    MediaRejected,
    Options,
    uuid7,
)
from phonograph_ingest.constants import ENGINE, INGEST
from phonograph_ingest.domain.media import (
    MediaFile,
    RegisteredMedia,
    RejectedFile,
    RequestedMedia,
    canonical_uri,
    display_name,
    rejected_id,
)
from phonograph_ingest.domain.ports import MediaRegistry
from phonograph_ingest.domain.tasks import IngestTask
from phonograph_runtime.ports import Job, JobFailure, JobRequests, Publisher

logger = structlog.get_logger()


class IngestService:
    """Requests, registers and publishes files; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, registry: MediaRegistry) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._registry = registry

    async def request_ingest(self, event: IngestRequested) -> None:
        """Request the ingest of a file, once per owner and request id if the event has a request id."""
        task = IngestTask(
            uri=event.uri,
            profile=event.profile,
            owner=event.owner,
            priority=event.priority,
            options=event.options,
        )
        dedupe_key = None if event.request_id is None else f"{event.owner or ''}|{event.request_id}"
        media = RequestedMedia(uuid7(), event.owner, event.priority)
        requested = event.options.to_facts(*Options.model_fields) | {"profile": str(event.profile)}
        await self._jobs.enqueue(INGEST, task, media=media, dedupe_key=dedupe_key, requested=requested)

    async def complete_ingest(self, job: Job, task: IngestTask, outcome: MediaFile | RejectedFile) -> None:
        """Register a file and publish it as new or as a duplicate; or store and publish its rejection.

        Args:
            job: The job that has ended.
            task: Its task.
            outcome: The file as it was read, or the reason why it is not accepted.
        """
        if isinstance(outcome, RejectedFile):
            await self._reject(job, task, outcome)
            return
        registered = await self._registry.register(job.media_id, outcome, task)
        if registered.duplicate is None:
            await self._publisher.publish(_media_ready(job, outcome, registered))
            logger.info(
                "media registered",
                engine=ENGINE,
                media_kind=outcome.kind.value,
                duration_s=outcome.duration_s,
                warnings=list(outcome.warnings),
            )
        else:
            await self._publisher.publish(_media_duplicated(job, outcome, registered, registered.duplicate))
            logger.info(
                "media duplicated",
                duplicate=registered.duplicate.value,
                original_media_id=str(registered.media.media_id),
            )

    async def fail_ingest(self, job: Job, task: IngestTask, failure: JobFailure) -> None:
        """Store and publish the rejection of a file whose job has failed.

        Args:
            job: The job that has ended.
            task: Its task.
            failure: Why it has no result.
        """
        rejected = RejectedFile(
            canonical_uri(task.uri), display_name(task.uri), failure.reason, failure.message
        )
        await self._reject(job, task, rejected)

    async def _reject(self, job: Job, task: IngestTask, rejected: RejectedFile) -> None:
        media_id = rejected_id(task.owner, rejected.uri)
        await self._registry.reject(media_id, rejected, task)
        await self._publisher.publish(
            MediaRejected(
                media_id=media_id,
                uri=rejected.uri,
                file_name=rejected.file_name,
                reason=rejected.reason,
                message=rejected.message,
                job=job.summary(reason=rejected.reason),
            )
        )
        logger.info("media rejected", reason=rejected.reason, rejected_media_id=str(media_id))


def _media_ready(job: Job, file: MediaFile, registered: RegisteredMedia) -> MediaReady:
    return MediaReady(
        media_id=registered.media.media_id,
        media=registered.media,
        container=file.container,
        audio=file.audio,
        video=file.video,
        chapters=list(file.chapters),
        tags=file.tags,
        warnings=list(file.warnings),
        job=job.summary(engine=ENGINE),
    )


def _media_duplicated(
    job: Job, file: MediaFile, registered: RegisteredMedia, duplicate: DuplicateKind
) -> MediaDuplicated:
    return MediaDuplicated(
        media_id=registered.media.media_id,
        media=registered.media,
        duplicate=duplicate,
        uri=file.uri,
        file_name=file.file_name,
        file_hash=file.file_hash,
        job=job.summary(reason=duplicate),
    )
