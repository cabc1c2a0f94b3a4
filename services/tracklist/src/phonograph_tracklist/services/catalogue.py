"""From a new file to its entry in the catalogue, its tracklist and a better name."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from pydantic import BaseModel

from phonograph_events import (
    MediaReady,
    MetadataEntry,
    MusicAnalyzed,
    RenameProposed,
    Service,
    TracklistCompleted,
)
from phonograph_runtime.jobs import Job
from phonograph_runtime.ports import JobRequests, Publisher
from phonograph_tracklist.constants import (
    MAX_EVENT_METADATA_BYTES,
    MAX_EVENT_TRACKS,
    MAX_EVENT_TRACKS_BYTES,
    MAX_EVENT_WARNINGS,
    TRACKLIST,
)
from phonograph_tracklist.domain.catalogue import Catalogued, CatalogueTask
from phonograph_tracklist.domain.metadata import (
    ExtractionMethod,
    MetadataRow,
    MusicFeatures,
    rows_from_music,
    rows_from_tags,
)
from phonograph_tracklist.domain.ports import Catalogue

Part = TypeVar("Part", bound=BaseModel)


class CatalogueService:
    """Keeps the catalogue; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, catalogue: Catalogue) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._catalogue = catalogue

    async def request(self, event: MediaReady) -> None:
        """Enter a file and plan a look at it."""
        media = event.media
        if not media.wants(Service.TRACKLIST):
            return
        await self._catalogue.add(media)
        task = CatalogueTask(media=media, tags=event.tags, chapters=event.chapters)
        key = f"{TRACKLIST}|{media.media_id}"
        await self._jobs.enqueue(
            TRACKLIST,
            task,
            media_id=media.media_id,
            owner=media.owner,
            priority=media.priority,
            dedupe_key=key,
        )

    async def describe(self, event: MusicAnalyzed) -> None:
        """Keep what was measured as metadata; it may come before the file itself."""
        media = event.media
        if not media.wants(Service.TRACKLIST):
            return
        await self._catalogue.add(media)
        if await self._catalogue.take_music(media.media_id, event.result_id):
            rows = rows_from_music(_features(event))
            await self._catalogue.replace_metadata(media.media_id, ExtractionMethod.ANALYSIS, rows)

    async def finish(self, job: Job, task: CatalogueTask, found: Catalogued) -> None:
        """Keep what was found and tell everybody."""
        media, finding = task.media, found.finding
        rows = rows_from_tags(task.tags)
        document = finding.as_document()
        await self._catalogue.replace_metadata(media.media_id, ExtractionMethod.TAG, rows)
        tracklist_id = None
        if finding.tracklist is not None:
            tracklist_id = await self._catalogue.add_tracklist(media, finding.tracklist, document.warnings)
        await self._catalogue.complete(media.media_id, found.modified_at)
        await self._publisher.publish(
            TracklistCompleted(
                media_id=media.media_id,
                media=media,
                job=job.summary(reason=finding.reason),
                document_uri=found.document_uri,
                recording_id=media.media_id,
                tracklist_id=tracklist_id,
                source_type=document.source_type,
                track_count=len(document.tracks),
                tracks=list(_within(MAX_EVENT_TRACKS_BYTES, document.tracks[:MAX_EVENT_TRACKS])),
                warnings=document.warnings[:MAX_EVENT_WARNINGS],
                metadata=list(_within(MAX_EVENT_METADATA_BYTES, map(_entry, rows))),
            )
        )
        await self._propose(task, found)

    async def fail(self, task: CatalogueTask) -> None:
        """Remember that a recording could not be looked at."""
        await self._catalogue.fail(task.media.media_id)

    async def _propose(self, task: CatalogueTask, found: Catalogued) -> None:
        proposal, media_id = found.proposal, task.media.media_id
        if proposal is None:
            return
        proposal_id = await self._catalogue.add_proposal(media_id, proposal)
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


def _entry(row: MetadataRow) -> MetadataEntry:
    return MetadataEntry(
        key=row.key,
        value=row.value,
        value_type=row.value_type,
        extraction_method=row.extraction_method,
        confidence=row.confidence,
    )


def _within(size: int, parts: Iterable[Part]) -> Iterator[Part]:
    """The first parts that together stay within so many bytes of JSON."""
    for part in parts:
        size -= len(part.model_dump_json().encode()) + 1
        if size < 0:
            return
        yield part
