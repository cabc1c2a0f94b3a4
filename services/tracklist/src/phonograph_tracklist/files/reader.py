"""Looks for cue sheets beside the file, and writes down what was found."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import structlog

from phonograph_events import uuid7
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress
from phonograph_tracklist.constants import MAX_CUE_BYTES, MAX_SIDECARS
from phonograph_tracklist.domain.catalogue import Catalogued, CatalogueTask
from phonograph_tracklist.domain.rename import propose_rename
from phonograph_tracklist.domain.tracklist import Finding, Sidecar, find_tracklist, order_sidecars

logger = structlog.get_logger()


class LocalCatalogueReader:
    """Reads local folders and puts tracklists into the object store."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def read(self, task: CatalogueTask, progress: Progress) -> Catalogued:
        """See `phonograph_tracklist.domain.ports.CatalogueReader`."""
        media = task.media
        path = local_path(media.uri)
        progress(0.1, "tracklist")
        finding = find_tracklist(
            file_name=media.file_name,
            duration_s=media.duration_s,
            sidecars=_sidecars(path) if path else (),
            tags=task.tags,
            chapters=task.chapters,
        )
        progress(0.8, "name")
        return Catalogued(
            finding=finding,
            proposal=propose_rename(media.file_name, task.tags, folder_name=path.parent.name if path else ""),
            document_uri=self._keep(task, finding),
            modified_at=_modified_at(path) if path else None,
        )

    def _keep(self, task: CatalogueTask, finding: Finding) -> str | None:
        if finding.tracklist is None:
            return None
        key = f"results/{task.media.media_id}/tracklist/{uuid7()}.json"
        return self._objects.put(key, finding.as_document().model_dump_json().encode())


def local_path(uri: str) -> Path | None:
    """The file behind an address; null when it is not a local one."""
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _sidecars(path: Path) -> Iterator[Sidecar]:
    """Cue files of the folder, the likeliest first; each is opened only when it is asked for."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.name.casefold().endswith(".cue")]
    except OSError as error:
        logger.warning("folder cannot be read", folder=str(path.parent), error=str(error))
        return
    for name, beside in islice(order_sidecars(path.name, names), MAX_SIDECARS):
        try:
            with (path.parent / name).open("rb") as file:
                data = file.read(MAX_CUE_BYTES + 1)
        except OSError as error:
            logger.warning("cue file cannot be read", cue=name, error=str(error))
            continue
        yield Sidecar(name, data, beside)


def _modified_at(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
