"""Recordings and jobs as the graph and the object store hold them."""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from phonograph_cli.errors import UnknownVersionError
from phonograph_cli.locations import local_path, to_uri
from phonograph_events import RESULT_SERVICES, IdentityState, JobStatus, Profile, Service
from phonograph_events.documents import (
    Document,
    HighlightsDocument,
    MusicDocument,
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

_MEDIA: Final = (
    "file_name",
    "kind",
    "mime_type",
    "duration_s",
    "file_hash",
    "content_fp",
    "status",
    "message",
)
_MUSIC: Final = (
    "bpm",
    "bpm_confidence",
    "bpm_candidates",
    "key",
    "scale",
    "key_strength",
    "loudness_lufs",
    "danceability",
    "tempo_needs_review",
    "beats_per_bar",
    "camelot",
    "open_key",
    "tuning_hz",
    "loudness_range_lu",
    "true_peak_dbtp",
    "onset_rate",
    "energy",
)
_MUSIC_SECTIONS: Final = ("tempo_sections", "key_sections")
_RENAME: Final = ("proposed_filename", "reason", "confidence")
_TRACK: Final = {"position", "start_time", "end_time", "artist", "title"}
_SPEAKER: Final = ("label", "speaker_id", "seconds", "state", "person_id", "name", "score")
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
    "version",
    "requested",
    "used",
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
        OPTIONAL MATCH (n)-[:DERIVED_FROM*1..]->(root) WHERE NOT EXISTS { (root)-[:DERIVED_FROM]->() }
        RETURN [n.document_uri, n.meeting_id]
        ORDER BY coalesce(root.version, n.version) DESC, n.pipeline_version DESC, n.version DESC,
            n.created_at DESC
        LIMIT 1
    } AS transcript,
    COLLECT {
        MATCH (r)-[:HAS_DIARIZATION]->(n)
        RETURN [n.document_uri, n.id] ORDER BY n.version DESC, n.created_at DESC LIMIT 1
    } AS speakers,
    COLLECT {
        MATCH (r)-[:HAS_DIARIZATION]->(d)-[:HAS_SPEAKER]->(s:Speaker)
        OPTIONAL MATCH (s)-[:IDENTIFIED_AS]->(p:Person)
        RETURN {
            speaker_id: s.id, label: s.label, seconds: s.seconds, meeting_id: d.id,
            state: coalesce(s.identity, 'unknown'), score: s.score, person_id: p.id, name: p.name
        } ORDER BY size(s.label), s.label
    } AS people,
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
_ACCURACY: Final = """
MATCH (:Recording {id: $id})-[:HAS_TRANSCRIPT]->(n {document_uri: $document_uri})
RETURN n.accuracy AS accuracy, n.accuracy_source AS accuracy_source, n.accuracy_estimate AS accuracy_estimate
LIMIT 1
"""
_JOBS: Final = """
MATCH (j:Job)
RETURN properties(j) AS job,
    head(COLLECT { MATCH (r:Recording {id: j.media_id}) RETURN properties(r) }) AS recording
ORDER BY j.created_at, j.id
"""
_HISTORY: Final = """
MATCH (:Recording {id: $id})<-[:WORKS_ON]-(j:Job) WHERE j.version IS NOT NULL
RETURN properties(j) AS job ORDER BY j.version, j.created_at
"""
_MEETING: Final = "MATCH (n:Transcript {id: $id}) RETURN n.meeting_id AS meeting_id"
_VERSIONS: Final = {
    "media": "MATCH (n:Recording {status: 'ready'}) RETURN n.id AS id, 1 AS version",
    "music": "MATCH (n:Analysis {kind: 'music'}) RETURN n.media_id AS id, n.version AS version",
    "transcript": "MATCH (n:Transcript) WHERE n.version IS NOT NULL RETURN n.id AS id, n.version AS version",
    "speakers": "MATCH (n:Speaker) RETURN n.id AS id, 1 AS version",
    "person": "MATCH (n:Person {status: 'active'}) RETURN n.id AS id, n.version AS version",
    "recording": "MATCH (n:Recording) WHERE n.recording_id IS NOT NULL RETURN n.id AS id, 1 AS version",
    "tracklist": "MATCH (n:Tracklist) RETURN n.id AS id, 1 AS version",
    "segment": "MATCH (n:Segment) RETURN n.id AS id, 1 AS version",
    "clip": "MATCH (n:Clip) RETURN n.id AS id, 1 AS version",
}
_ORDER: Final = {service.value: position for position, service in enumerate(Service)}


@dataclass(frozen=True, slots=True)
class WantedVersion:
    """A version of the result of a service, which need not be the current one."""

    service: Service
    number: int


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

    async def show(self, media_id: str, wanted: WantedVersion | None = None) -> dict[str, Any] | None:
        """Return everything that the services found; each key is present, with None where nothing was found.

        Args:
            media_id: Its media ID.
            wanted: A version to show in place of the current one of its service.

        Returns:
            The recording as `phonograph show --json` prints it, or None if it is unknown.

        Raises:
            PermanentError: With reason `missing_object` if a document is no longer in the object store.
            UnknownVersionError: There is no such version.
        """
        found = await self._rows(_RECORDING, id=media_id)
        if not found:
            return None
        (row,) = found
        if wanted is not None:
            row |= await self._row_of_version(media_id, wanted)
        recording = row["recording"]
        media = {"media_id": media_id} | {name: recording.get(name) for name in _MEDIA}
        media["tags"] = json.loads(recording["tags"]) if "tags" in recording else None
        media["warnings"] = recording.get("warnings") or []
        jobs = sorted(row["jobs"], key=_order_of)
        listed = [{name: job.get(name) for name in _JOB} | {"status": _status(job)} for job in jobs]
        speakers, people = row["speakers"], row["people"]
        newest_meeting = speakers[0][1] if speakers else None
        return {
            "media": media,
            "music": _music(row["music"]),
            "transcript": await self._transcript(row["transcript"], people, newest_meeting),
            "accuracy": await self._accuracy(media_id, row["transcript"]),
            "speakers": await self._speakers(speakers, people),
            "tracklist": await self._tracklist(row["tracklist"]),
            "rename": _first(row["rename"], _RENAME),
            "highlights": await self._highlights(row["highlights"], people),
            "jobs": listed,
            "places": row["places"],
            "in_progress": in_progress(recording.get("profile"), jobs) if media["status"] == "ready" else [],
        }

    async def history(self, media_id: str) -> list[dict[str, Any]]:
        """Return every version of every result of a recording, by service and version.

        `current` is true for the one that `show` shows; `parent` is the version from which it was derived.
        """
        jobs = [row["job"] for row in await self._rows(_HISTORY, id=media_id)]
        by_result = {job["result_id"]: job for job in jobs if job.get("result_id")}
        current = {job["service"]: job for job in sorted(jobs, key=lambda job: _currency(job, by_result))}
        # What follows from a request, such as the speakers of another transcript, has its correlation id.
        facts = {
            job["correlation_id"]: parse_facts(job.get("requested")) or {} for job in jobs if _is_asked(job)
        }
        return [
            {
                "service": job["service"],
                "version": job["version"],
                "level": job.get("level"),
                "parent": by_result.get(job.get("parent_result_id"), {}).get("version"),
                "current": current[job["service"]] is job,
                "engine": job.get("engine"),
                "model": job.get("model"),
                "made_at": job["updated_at"].iso_format(),
                "seconds": job.get("seconds"),
                "correlation_id": job.get("correlation_id"),
                **{
                    name: facts.get(job.get("correlation_id"), {}).get(name)
                    for name in ("requested_by", "request_reason")
                },
                "requested": parse_facts(job.get("requested")),
                "used": parse_facts(job.get("used")),
                "job_id": job["id"],
                "result_id": job.get("result_id"),
                "document_uri": job.get("document_uri"),
            }
            for job in sorted(jobs, key=lambda job: (_order_of(job), job["version"]))
        ]

    async def _row_of_version(self, media_id: str, wanted: WantedVersion) -> dict[str, Any]:
        """Return the part of the row of a recording that refers to a version of a result."""
        found = [
            entry
            for entry in await self.history(media_id)
            if (entry["service"], entry["version"]) == (wanted.service, wanted.number)
        ]
        if not found:
            raise UnknownVersionError(
                f"There is no version {wanted.number} of the {wanted.service} of {media_id}. "
                f"See: phonograph history {media_id}"
            )
        uri, result_id = found[0]["document_uri"], found[0]["result_id"]
        match wanted.service:
            case Service.ANALYSIS:
                return {"music": await self._measured(uri)}
            case Service.TRANSCRIPTION:
                meetings = await self._rows(_MEETING, id=result_id)
                return {"transcript": [[uri, meetings[0]["meeting_id"] if meetings else None]]}
            case Service.DIARIZATION:
                return {"speakers": [[uri, result_id]]}
            case service:
                return {str(service): [uri]}

    async def _measured(self, uri: str | None) -> list[dict[str, Any]]:
        """Return the music of a document as the graph holds it, with sections as JSON."""
        document = await self._document(MusicDocument, [uri])
        if document is None:
            return []
        music = document.model_dump(mode="json")
        return [music | {name: json.dumps(music[name]) for name in _MUSIC_SECTIONS}]

    async def jobs(self, *, status: str | None = None) -> list[dict[str, Any]]:
        """Return every job, or those with a status, oldest first; times are in ISO 8601.

        The status of an ingest that has ended with a rejection is `rejected`. The `file_name` of the ingest
        of a copy is that of the copy, and `duplicate_of` the path of the file that was ingested first.
        """
        listed = []
        for row in await self._rows(_JOBS):
            job = {name: row["job"].get(name) for name in _LISTED_JOB} | {"status": _status(row["job"])}
            job |= {name: parse_facts(job[name]) for name in ("requested", "used")}
            if status not in {None, job["status"]}:
                continue
            times = {name: row["job"][name].iso_format() for name in ("created_at", "updated_at")}
            recording, own_name = row["recording"] or {}, row["job"].get("file_name")
            job["file_name"] = own_name or recording.get("file_name")
            job["duplicate_of"] = recording.get("file_path") if own_name else None
            listed.append(job | times)
        return listed

    async def versions(self) -> dict[str, dict[str, int]]:
        """Return the versions that the graph holds, by kind and ID."""
        return {
            kind: {row["id"]: row["version"] for row in await self._rows(query)}
            for kind, query in _VERSIONS.items()
        }

    async def _transcript(
        self, found: list[list[str | None]], people: list[dict[str, Any]], newest_meeting: str | None
    ) -> dict[str, Any] | None:
        """Return the transcript with the names of confirmed people in place of the labels of speakers.

        Args:
            found: Document and meeting of the transcript.
            people: Speakers of all meetings of the recording.
            newest_meeting: Meeting of a transcript that does not name its own.
        """
        document = await self._document(TranscriptDocument, [uri for uri, _ in found])
        if document is None:
            return None
        meeting = found[0][1] or newest_meeting
        names = {each["label"]: _name(each) for each in people if each["meeting_id"] == meeting}
        transcript = document.model_dump(mode="json")
        for segment in transcript["segments"]:
            segment["speaker_label"] = segment["speaker"]
            for spoken in (segment, *segment["words"]):
                spoken["speaker"] = names.get(spoken["speaker"], spoken["speaker"])
        return transcript

    async def _accuracy(self, media_id: str, found: list[list[str | None]]) -> dict[str, Any] | None:
        """Return the accuracy of the transcript against a reference text, and the estimate of its engine."""
        rows = await self._rows(_ACCURACY, id=media_id, document_uri=found[0][0]) if found else []
        return rows[0] if rows else None

    async def _speakers(
        self, found: list[list[str | None]], people: list[dict[str, Any]]
    ) -> dict[str, Any] | None:
        document = await self._document(SpeakersDocument, [uri for uri, _ in found])
        if document is None:
            return None
        meeting = found[0][1]
        own = [{name: each[name] for name in _SPEAKER} for each in people if each["meeting_id"] == meeting]
        return document.model_dump(mode="json") | {"people": own}

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

    async def _highlights(
        self, uris: list[str | None], people: list[dict[str, Any]]
    ) -> dict[str, Any] | None:
        document = await self._document(HighlightsDocument, uris)
        if document is None:
            return None
        names = {each["speaker_id"]: _name(each) for each in people}
        return {
            "silence_regions": [region.model_dump(mode="json") for region in document.silence_regions],
            "segments": [
                segment.model_dump(mode="json", include=_SEGMENT)
                | {"speakers": [names[str(each)] for each in segment.speaker_ids if str(each) in names]}
                for segment in document.segments
            ],
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


def expected_services(profile: str | None) -> frozenset[Service]:
    """Return the services that process a recording of a profile; an unknown one counts as `auto`."""
    return RESULT_SERVICES[next((each for each in Profile if each == profile), Profile.AUTO)]


def in_progress(profile: str | None, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the services that have not finished with a recording.

    Args:
        profile: Profile of the recording; it selects the services.
        jobs: Jobs of the recording as the graph holds them.

    Returns:
        Service, status, progress (0 to 1) and stage of each; the status of a service that has not started
        is `waiting`.
    """
    expected = expected_services(profile)
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


def _order_of(job: dict[str, Any]) -> int:
    return _ORDER.get(job.get("service", ""), len(_ORDER))


def _currency(job: dict[str, Any], by_result: dict[str, dict[str, Any]]) -> tuple[int, str, int]:
    """Return the sort key of a version: the one with the highest key of a service is current.

    A transcript is as new as the one that it was derived from: speakers that are added to an old one do not
    make it newer than another recognition.
    """
    root, seen = job, set()
    while root["id"] not in seen and root.get("parent_result_id") in by_result:
        seen.add(root["id"])
        root = by_result[root["parent_result_id"]]
    return root["version"], job.get("level") or "", job["version"]


def _is_asked(job: dict[str, Any]) -> bool:
    """Return whether a job states who requested it or why."""
    return not {"requested_by", "request_reason"}.isdisjoint(parse_facts(job.get("requested")) or {})


def parse_facts(text: str | None) -> dict[str, Any] | None:
    """Return the options or properties of a job, as the graph holds them."""
    return None if text is None else dict(json.loads(text))


def _status(job: dict[str, Any]) -> str | None:
    """Return the status of a job; the ingest of a file that was rejected is not called completed."""
    is_rejection = job.get("service") == Service.INGEST and job.get("message") is not None
    status: str | None = job.get("status")
    return REJECTED if is_rejection and status == JobStatus.COMPLETED else status


def _name(speaker: dict[str, Any]) -> str:
    """Return the name of a speaker who is confirmed to be a person, else the label."""
    is_confirmed = speaker["state"] == IdentityState.CONFIRMED and speaker["name"] is not None
    return str(speaker["name"] if is_confirmed else speaker["label"])


def _music(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the newest analysis of the music; its sections are stored as JSON."""
    music = _first(found, _MUSIC)
    if music is None:
        return None
    return music | {name: json.loads(found[0].get(name) or "[]") for name in _MUSIC_SECTIONS}


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
