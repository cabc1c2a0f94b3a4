"""Recordings and jobs as the graph and the object store hold them."""

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from phonograph_cli.locations import local_path, to_uri
from phonograph_events import RESULT_SERVICES, JobStatus, Profile, Service
from phonograph_events.documents import (
    Document,
    HighlightsDocument,
    SpeakersDocument,
    TracklistDocument,
    TranscriptDocument,
)
from phonograph_runtime.objects import ObjectStore

if TYPE_CHECKING:
    from neo4j import AsyncDriver

D = TypeVar("D", bound=Document)

REJECTED: Final = "rejected"
"""Status of the ingest of a file that was rejected."""
MIN_PREFIX_LENGTH = 8
"""Fewest characters of a media ID that are looked up as a prefix."""

_MEDIA: Final = ("file_name", "kind", "mime_type", "duration_s", "file_hash", "content_fp", "status")
_MUSIC: Final = (
    "bpm",
    "bpm_confidence",
    "bpm_candidates",
    "key",
    "scale",
    "key_strength",
    "loudness_lufs",
    "danceability",
)
_RENAME: Final = ("proposed_filename", "reason", "confidence")
_TRACK: Final = {"position", "start_time", "end_time", "artist", "title"}
_SEGMENT: Final = {"start", "end", "title", "keywords", "importance_score"}
_CLIP: Final = {"start", "end", "title", "uri", "subtitle_uri", "thumbnail_uri"}
_JOB: Final = ("service", "status", "reason", "engine", "seconds")
_LISTED_JOB: Final = (
    "id",
    "service",
    "kind",
    "status",
    "reason",
    "message",
    "attempt",
    "progress",
    "stage",
    "engine",
    "model",
    "seconds",
    "media_id",
)

_OPEN: Final = {JobStatus.PENDING, JobStatus.PROCESSING, JobStatus.RETRYING}

_BY_PREFIX: Final = "MATCH (r:Recording) WHERE r.id STARTS WITH $prefix RETURN r.id AS id LIMIT 2"
_BY_PLACE: Final = """
UNWIND $places AS place
CALL (place) {
    MATCH (:Location {uri: place})-[e:LOCATION_OF]->(r:Recording)
    RETURN r, e.gone_at IS NOT NULL AS gone, e.last_seen AS seen
    UNION
    MATCH (r:Recording {file_path: place})
    RETURN r, r.status <> 'ready' AS gone, r.updated_at AS seen
}
RETURN r.id AS id ORDER BY gone, seen DESC LIMIT 1
"""
_RECORDING: Final = """
MATCH (r:Recording {id: $id})
RETURN properties(r) AS recording,
    COLLECT { MATCH (r)-[:HAS_ANALYSIS]->(n {kind: 'music'}) RETURN properties(n) } AS music,
    COLLECT {
        MATCH (r)-[:HAS_TRANSCRIPT]->(n) WHERE n.document_uri IS NOT NULL
        RETURN n.document_uri ORDER BY n.pipeline_version DESC, n.version DESC, n.created_at DESC LIMIT 1
    } AS transcript,
    COLLECT {
        MATCH (r)-[:HAS_DIARIZATION]->(n)
        RETURN n.document_uri ORDER BY n.version DESC, n.created_at DESC LIMIT 1
    } AS speakers,
    COLLECT { MATCH (n:Tracklist {id: r.tracklist_id}) RETURN n.document_uri } AS tracklist,
    COLLECT {
        MATCH (r)-[:HAS_RENAME_PROPOSAL]->(n)
        RETURN properties(n) ORDER BY n.version DESC, n.created_at DESC LIMIT 1
    } AS rename,
    COLLECT { MATCH (r)-[:HAS_HIGHLIGHTS]->(n) RETURN n.document_uri } AS highlights,
    COLLECT {
        MATCH (r)<-[e:LOCATION_OF]-(n:Location) WHERE e.gone_at IS NULL
        RETURN n.uri ORDER BY n.uri
    } AS places,
    COLLECT {
        MATCH (r)<-[:WORKS_ON]-(n:Job) WHERE n.duplicate IS NULL
        RETURN properties(n) ORDER BY n.created_at, n.id
    } AS jobs
"""
_JOBS: Final = """
MATCH (j:Job)
RETURN properties(j) AS job,
    head(COLLECT { MATCH (j)-[:WORKS_ON]->(r) RETURN r.file_name }) AS file_name
ORDER BY j.created_at, j.id
"""
_VERSIONS: Final = {
    "media": "MATCH (n:Recording {status: 'ready'}) RETURN n.id AS id, 1 AS version",
    "music": "MATCH (n:Analysis {kind: 'music'}) RETURN n.media_id AS id, n.version AS version",
    "transcript": "MATCH (n:Transcript) WHERE n.version IS NOT NULL RETURN n.id AS id, n.version AS version",
    "speakers": "MATCH (n:Speaker) RETURN n.id AS id, 1 AS version",
    "recording": "MATCH (n:Recording) WHERE n.recording_id IS NOT NULL RETURN n.id AS id, 1 AS version",
    "tracklist": "MATCH (n:Tracklist) RETURN n.id AS id, 1 AS version",
    "segment": "MATCH (n:Segment) RETURN n.id AS id, 1 AS version",
    "clip": "MATCH (n:Clip) RETURN n.id AS id, 1 AS version",
}
_ORDER: Final = {service.value: position for position, service in enumerate(Service)}


class RecordingReader:
    """Reads the graph, and the documents to which it refers."""

    def __init__(self, driver: "AsyncDriver", objects: ObjectStore) -> None:
        self._driver = driver
        self._objects = objects

    async def find(self, wanted: str) -> str | None:
        """Return the media ID of a recording, or None if there is none or if a prefix is ambiguous.

        Args:
            wanted: A media ID or at least its first eight characters, or a path or URI at which the
                recording, a duplicate of it or a rejected file was seen. The newest recording at a place
                counts.
        """
        prefix = wanted.strip().lower()
        if len(prefix) >= MIN_PREFIX_LENGTH and re.fullmatch(r"[0-9a-f-]+", prefix):
            found = await self._rows(_BY_PREFIX, prefix=prefix)
            if len(found) == 1:
                return str(found[0]["id"])
        found = await self._rows(_BY_PLACE, places=_places(wanted))
        return str(found[0]["id"]) if found else None

    async def show(self, media_id: str) -> dict[str, Any] | None:
        """Return everything that the services found; each key is present, with None where nothing was found.

        Returns:
            The recording as `phonograph show --json` prints it, or None if it is unknown.

        Raises:
            PermanentError: With reason `missing_object` if a document is no longer in the object store.
        """
        found = await self._rows(_RECORDING, id=media_id)
        if not found:
            return None
        (row,) = found
        recording = row["recording"]
        media = {"media_id": media_id} | {name: recording.get(name) for name in _MEDIA}
        media["tags"] = json.loads(recording["tags"]) if "tags" in recording else None
        media["warnings"] = recording.get("warnings") or []
        jobs = sorted(row["jobs"], key=lambda job: _ORDER.get(job.get("service", ""), len(_ORDER)))
        listed = [{name: job.get(name) for name in _JOB} | {"status": _status(job)} for job in jobs]
        return {
            "media": media,
            "music": _first(row["music"], _MUSIC),
            "transcript": await self._transcript(row["transcript"]),
            "speakers": await self._speakers(row["speakers"]),
            "tracklist": await self._tracklist(row["tracklist"]),
            "rename": _first(row["rename"], _RENAME),
            "highlights": await self._highlights(row["highlights"]),
            "jobs": listed,
            "places": row["places"],
            "in_progress": in_progress(recording.get("profile"), jobs) if media["status"] == "ready" else [],
        }

    async def jobs(self, *, status: str | None = None) -> list[dict[str, Any]]:
        """Return every job, or those with a status, oldest first; times are in ISO 8601.

        The status of an ingest that has ended with a rejection is `rejected`.
        """
        listed = []
        for row in await self._rows(_JOBS):
            job = {name: row["job"].get(name) for name in _LISTED_JOB} | {"status": _status(row["job"])}
            if status not in {None, job["status"]}:
                continue
            times = {name: row["job"][name].iso_format() for name in ("created_at", "updated_at")}
            listed.append(job | {"file_name": row["file_name"]} | times)
        return listed

    async def versions(self) -> dict[str, dict[str, int]]:
        """Return the versions that the graph holds, by kind and ID."""
        return {
            kind: {row["id"]: row["version"] for row in await self._rows(query)}
            for kind, query in _VERSIONS.items()
        }

    async def _transcript(self, uris: list[str | None]) -> dict[str, Any] | None:
        document = await self._document(TranscriptDocument, uris)
        return None if document is None else document.model_dump(mode="json")

    async def _speakers(self, uris: list[str | None]) -> dict[str, Any] | None:
        document = await self._document(SpeakersDocument, uris)
        return None if document is None else document.model_dump(mode="json")

    async def _tracklist(self, uris: list[str | None]) -> dict[str, Any] | None:
        document = await self._document(TracklistDocument, uris)
        if document is None:
            return None
        tracks = [track.model_dump(mode="json", include=_TRACK) for track in document.tracks]
        return {
            "source_type": document.source_type,
            "tracks": tracks,
            "warnings": document.warnings,
        }

    async def _highlights(self, uris: list[str | None]) -> dict[str, Any] | None:
        document = await self._document(HighlightsDocument, uris)
        if document is None:
            return None
        return {
            "silence_regions": [region.model_dump(mode="json") for region in document.silence_regions],
            "segments": [segment.model_dump(mode="json", include=_SEGMENT) for segment in document.segments],
            "clips": [clip.model_dump(mode="json", include=_CLIP) for clip in document.clips],
        }

    async def _document(self, model: type[D], uris: list[str | None]) -> D | None:
        if not uris or uris[0] is None:
            return None
        return model.model_validate_json(await self._objects.get_async(uris[0]))

    async def _rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self._driver.session(notifications_min_severity="OFF") as session:
            result = await session.run(query, parameters)
            return [dict(record) async for record in result]


def in_progress(profile: str | None, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the services that have not finished with a recording.

    Args:
        profile: Profile of the recording; it selects the services.
        jobs: Jobs of the recording as the graph holds them.

    Returns:
        Service, status, progress (0 to 1) and stage of each; the status of a service that has not started
        is `waiting`.
    """
    known = next((each for each in Profile if each == profile), Profile.AUTO)
    expected = RESULT_SERVICES[known]
    open_jobs = {job["service"]: job for job in jobs if job["status"] in _OPEN}
    ended = {job["service"] for job in jobs} - set(open_jobs)
    if Service.TRANSCRIPTION in expected and Service.TRANSCRIPTION not in ended:
        # Highlights ends with the silence at first, and continues with the segments of the transcript.
        ended.discard(Service.HIGHLIGHTS)
    unfinished = []
    for service in sorted({*expected, *open_jobs} - ended, key=lambda name: _ORDER.get(name, len(_ORDER))):
        job = open_jobs.get(service, {})
        entry = {"service": str(service), "status": job.get("status", "waiting")}
        unfinished.append(entry | {name: job.get(name) for name in ("progress", "stage")})
    return unfinished


def _status(job: dict[str, Any]) -> str | None:
    """Return the status of a job; the ingest of a file that was rejected is not called completed."""
    is_rejection = job.get("service") == Service.INGEST and job.get("message") is not None
    status: str | None = job.get("status")
    return REJECTED if is_rejection and status == JobStatus.COMPLETED else status


def _first(found: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any] | None:
    return {name: found[0].get(name) for name in names} if found else None


def _places(location: str) -> list[str]:
    """Return the forms in which the graph may hold a place: as typed, and as a URI.

    A name that is not UTF-8 is only held as a URI, in which its bytes are percent-encoded.
    """
    # A file that was found in a folder is known by its own name, whatever links lead to it.
    own = [] if "://" in location else [local_path(location).resolve().as_uri()]
    places = dict.fromkeys([location, to_uri(location), *own])
    return [place for place in places if place.encode(errors="ignore").decode() == place]
