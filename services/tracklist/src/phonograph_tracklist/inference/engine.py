"""The engine of the service: finds tracklists and better file names, in the child process."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from phonograph_events import Service, file_uri_to_path
from phonograph_runtime.objects import ObjectStore, result_key
from phonograph_runtime.ports import Progress
from phonograph_tracklist.constants import MAX_CUE_BYTES, MAX_SIDECARS
from phonograph_tracklist.domain.rename import RenameProposal, folder_name, name_key, propose_rename
from phonograph_tracklist.domain.results import CatalogResult
from phonograph_tracklist.domain.tags import describe_cuts
from phonograph_tracklist.domain.tasks import TracklistTask
from phonograph_tracklist.domain.tracklist import (
    Sidecar,
    TracklistSearch,
    order_sidecars,
    search_for_tracklist,
)

_NUMBER: Final = re.compile(r"(?: \([0-9]+\))?(?:\.[a-z0-9]+)?$")
"""The number and the extension of a proposed name."""
_COMMON_START_CHARS: Final = 12
"""A name that is cut for its number keeps at least these."""

logger = structlog.get_logger()


class TracklistEngine:
    """Executes the jobs of the service; it has no model to load."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def find_tracklist(self, task: TracklistTask, progress: Progress) -> CatalogResult:
        """Find the tracklist of a recording and a better name for its file.

        A folder or cue file that cannot be read is skipped with a line in the log. A recording that is not
        a local file is described by its tags and chapters only.

        Args:
            task: The recording with its tags and chapters.
            progress: Called with the fraction done and the stage.

        Raises:
            StorageFullError: If no space is left for the document.
            StorageError: If the object store cannot be written.
        """
        media = task.media
        path = file_uri_to_path(media.uri)
        progress(0.1, "tracklist")
        search = search_for_tracklist(
            file_name=media.file_name,
            duration_s=media.duration_s,
            sidecars=_read_sidecars(path) if path else (),
            tags=task.tags,
            chapters=task.chapters,
        )
        search = replace(search, warnings=(*search.warnings, *describe_cuts(task.tags)))
        progress(0.8, "name")
        taken = _read_name_keys(path) if path else frozenset()
        proposal = propose_rename(media.file_name, task.tags, folder_name=folder_name(media.uri), taken=taken)
        return CatalogResult(
            search=search,
            proposal=proposal,
            taken_names=_similar(taken, proposal),
            document_uri=self._store(task, search),
            modified_at=_modified_at(path) if path else None,
        )

    def _store(self, task: TracklistTask, search: TracklistSearch) -> str | None:
        if search.tracklist is None:
            return None
        key = f"{result_key(task.media.media_id, Service.TRACKLIST)}.json"
        return self._objects.put(key, search.to_document().model_dump_json().encode())


def _read_sidecars(path: Path) -> Iterator[Sidecar]:
    """Yield the cue files in the folder of a media file, the likeliest first; read each when it is needed."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.name.casefold().endswith(".cue")]
    except OSError as error:
        logger.warning("folder not readable", folder=str(path.parent), error=str(error))
        return
    for name, matches_media in islice(order_sidecars(path.name, names), MAX_SIDECARS):
        try:
            with (path.parent / name).open("rb") as file:
                # One byte more than allowed, so that the parser sees that the file is too large.
                data = file.read(MAX_CUE_BYTES + 1)
        except OSError as error:
            logger.warning("cue file not readable", cue_file=name, error=str(error))
            continue
        yield Sidecar(name, data, matches_media)


def _read_name_keys(path: Path) -> frozenset[str]:
    """Return the keys of the names of the other files in the folder of a media file."""
    try:
        return frozenset(name_key(entry.name) for entry in path.parent.iterdir() if entry.name != path.name)
    except OSError as error:
        logger.warning("folder not readable", folder=str(path.parent), error=str(error))
        return frozenset()


def _similar(taken: frozenset[str], proposal: RenameProposal | None) -> frozenset[str]:
    """Return the keys that a numbered form of the proposed name may have."""
    if proposal is None:
        return frozenset()
    start = _NUMBER.sub("", name_key(proposal.proposed_filename))[:_COMMON_START_CHARS]
    return frozenset(key for key in taken if key.startswith(start))


def _modified_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
