"""From a new recording to its catalog entry, its tracklist and a better file name."""

from collections.abc import Iterable, Iterator
from typing import TypeVar
from uuid import UUID

import structlog
from pydantic import BaseModel

from phonograph_events import (
    MediaReady,
    MetadataEntry,
    MusicAnalyzed,
    RenameProposed,
    RerunRequested,
    Service,
    TracklistCompleted,
)
from phonograph_runtime.errors import RefusedRerunError
from phonograph_runtime.ports import RERUN_PRIORITY, Job, JobFailure, JobRequests, Publisher
from phonograph_tracklist.constants import (
    MAX_EVENT_METADATA_BYTES,
    MAX_EVENT_TRACKS,
    MAX_EVENT_TRACKS_BYTES,
    MAX_EVENT_WARNINGS,
    TRACKLIST,
)
from phonograph_tracklist.domain.metadata import (
    ExtractionMethod,
    MetadataRow,
    MusicFeatures,
    rows_from_music,
    rows_from_tags,
)
from phonograph_tracklist.domain.ports import Catalog
from phonograph_tracklist.domain.rename import RenameProposal, folder_name, name_key, propose_rename
from phonograph_tracklist.domain.results import CatalogResult
from phonograph_tracklist.domain.tasks import TracklistTask

M = TypeVar("M", bound=BaseModel)

logger = structlog.get_logger()


class TracklistService:
    """Keeps the catalog and publishes what is added to it; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, catalog: Catalog) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._catalog = catalog

    async def request_tracklist(self, event: MediaReady) -> None:
        """Add a recording to the catalog, and request its tracklist once."""
        media = event.media
        task = TracklistTask(media=media, tags=event.tags, chapters=event.chapters)
        await self._jobs.remember(task, media.media_id)
        if not media.wants(Service.TRACKLIST):
            return
        await self._catalog.add(media)
        await self._jobs.enqueue(TRACKLIST, task, media=media)

    async def request_rerun(self, event: RerunRequested, request_id: UUID) -> None:
        """Request another search for the tracklist of a recording, once for each request.

        Args:
            event: The recording.
            request_id: Id of the request.

        Raises:
            RefusedRerunError: If the recording is unknown.
        """
        task = await self._jobs.recall(TracklistTask, event.media_id)
        if task is None:
            raise RefusedRerunError.unknown_recording(Service.TRACKLIST)
        await self._catalog.add(task.media)
        await self._jobs.enqueue(
            TRACKLIST,
            task,
            media=task.media,
            dedupe_key=f"{TRACKLIST}|{task.media.media_id}|{request_id}",
            extra_priority=RERUN_PRIORITY,
            requested=event.to_facts(),
        )

    async def add_music_features(self, event: MusicAnalyzed) -> None:
        """Store measured features as metadata, unless those of a newer analysis are stored."""
        media = event.media
        if not media.wants(Service.TRACKLIST):
            return
        # The analysis may arrive before `media-ready`, and metadata rows need their recording.
        await self._catalog.add(media)
        if not await self._catalog.claim_newest_analysis(media.media_id, event.result_id):
            logger.info("music features ignored, a newer analysis is stored")
            return
        rows = rows_from_music(_features(event))
        await self._catalog.replace_metadata(media.media_id, ExtractionMethod.ANALYSIS, rows)
        logger.info("music features stored", features=len(rows))

    async def complete_tracklist(self, job: Job, task: TracklistTask, result: CatalogResult) -> None:
        """Store and publish the tracklist, the tags and the rename proposal of a recording.

        Args:
            job: The job that has ended.
            task: Its task.
            result: The tracklist, or why there is none, and the proposal.
        """
        media, search = task.media, result.search
        rows = rows_from_tags(task.tags)
        document = search.to_document()
        # The recording comes first: it stays locked, so that two results cannot have one version.
        version = await self._catalog.complete(media.media_id, result.modified_at)
        await self._catalog.replace_metadata(media.media_id, ExtractionMethod.TAG, rows)
        tracklist_id = await self._catalog.replace_tracklist(
            media, search.tracklist, document.warnings, version=version
        )
        await self._publisher.publish(
            TracklistCompleted(
                media_id=media.media_id,
                media=media,
                job=job.summary(reason=search.reason),
                document_uri=result.document_uri,
                recording_id=media.media_id,
                tracklist_id=tracklist_id,
                source_type=document.source_type,
                track_count=len(document.tracks),
                tracks=list(_take_bytes(MAX_EVENT_TRACKS_BYTES, document.tracks[:MAX_EVENT_TRACKS])),
                warnings=document.warnings[:MAX_EVENT_WARNINGS],
                metadata=list(_take_bytes(MAX_EVENT_METADATA_BYTES, map(_to_entry, rows))),
            ),
            version=version,
        )
        proposal = await self._with_free_name(task, result)
        if proposal is not None:
            await self._propose_rename(task, proposal)
        logger.info(
            "tracklist stored",
            version=version,
            source_type=document.source_type,
            tracks=len(document.tracks),
            warnings=len(document.warnings),
            reason=search.reason,
            is_rename_proposed=proposal is not None,
        )

    async def fail_tracklist(self, task: TracklistTask, failure: JobFailure) -> None:
        """Mark a recording as failed."""
        await self._catalog.fail(task.media.media_id)
        logger.info("tracklist failed", reason=failure.reason)

    async def refresh_stats(self) -> None:
        """Recompute the monthly counts of recordings."""
        await self._catalog.refresh_stats()
        logger.info("recording statistics refreshed")

    async def _with_free_name(self, task: TracklistTask, result: CatalogResult) -> RenameProposal | None:
        """Return the proposal under a name that no other recording of the folder has or is to get."""
        media, proposal, taken = task.media, result.proposal, set(result.taken_names)
        while proposal is not None and await self._catalog.is_name_taken(media, proposal.proposed_filename):
            taken.add(name_key(proposal.proposed_filename))
            proposal = propose_rename(
                media.file_name, task.tags, folder_name=folder_name(media.uri), taken=taken
            )
        return proposal

    async def _propose_rename(self, task: TracklistTask, proposal: RenameProposal) -> None:
        media_id = task.media.media_id
        proposal_id = await self._catalog.add_proposal(media_id, proposal)
        await self._publisher.publish(
            RenameProposed(
                media_id=media_id,
                media=task.media,
                proposal_id=proposal_id,
                recording_id=media_id,
                current_filename=proposal.current_filename,
                proposed_filename=proposal.proposed_filename,
                reason=proposal.reason,
                confidence=proposal.confidence,
            )
        )


def _features(event: MusicAnalyzed) -> MusicFeatures:
    return MusicFeatures(
        bpm=event.bpm,
        bpm_confidence=event.bpm_confidence,
        bpm_candidates=tuple(event.bpm_candidates),
        key=event.key,
        scale=event.scale,
        key_strength=event.key_strength,
        loudness_lufs=event.loudness_lufs,
        danceability=event.danceability,
    )


def _to_entry(row: MetadataRow) -> MetadataEntry:
    return MetadataEntry(
        key=row.key,
        value=row.value,
        value_type=row.value_type,
        extraction_method=row.extraction_method,
        confidence=row.confidence,
    )


def _take_bytes(max_bytes: int, models: Iterable[M]) -> Iterator[M]:
    """Yield models from the first on, as long as their JSON together stays within a number of bytes."""
    for model in models:
        max_bytes -= len(model.model_dump_json().encode()) + 1
        if max_bytes < 0:
            return
        yield model
