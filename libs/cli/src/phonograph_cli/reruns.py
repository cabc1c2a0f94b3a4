"""Requests to process recordings again: which ones, how long it takes, and their progress."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from phonograph_cli.errors import BadFilterError
from phonograph_cli.progress import FileProgress
from phonograph_cli.recordings import expected_services, parse_facts
from phonograph_events import MediaKind, Preset, Profile, RerunRequested, Service

if TYPE_CHECKING:
    from neo4j import AsyncDriver

    from phonograph_cli.kafka import KafkaClient

KINDS: Final[Mapping[Service, tuple[str, ...]]] = {
    Service.ANALYSIS: ("analysis",),
    Service.TRANSCRIPTION: ("transcribe",),
    Service.DIARIZATION: ("diarize",),
    Service.TRACKLIST: ("tracklist",),
    Service.HIGHLIGHTS: ("silence", "segments"),
}
"""Kinds of jobs whose work a rerun of each service does."""
MEASURED_JOBS: Final = 1000
"""The newest jobs from which the time of others is estimated."""

_DATES: Final = {"before", "after"}
_TEXTS: Final = {"engine", "model", "language", "warning", "kind", "profile", "owner"}
_TERM: Final = re.compile(r"(?P<field>[a-z]+)\s*(?P<operator>!=|=)\s*(?P<value>.+)")

_RECORDINGS: Final = """
MATCH (r:Recording {status: 'ready'}) WHERE $ids IS NULL OR r.id IN $ids
RETURN r.id AS media_id, r.file_name AS file_name, coalesce(r.duration_s, 0.0) AS duration_s,
    r.kind AS kind, r.profile AS profile, r.owner AS owner,
    EXISTS { (r)-[:HAS_TRANSCRIPT]->() } AS is_transcribed,
    EXISTS { (r)-[:HAS_DIARIZATION]->() } AS has_speakers,
    head(COLLECT {
        MATCH (r)<-[:WORKS_ON]-(j:Job {service: $service})
        WHERE j.version IS NOT NULL AND coalesce(j.kind, $kind) = $kind
        OPTIONAL MATCH (t:Transcript {id: j.result_id})
        RETURN {engine: j.engine, model: j.model, made_at: j.updated_at, language: t.language,
            warnings: t.warnings}
        ORDER BY j.version DESC LIMIT 1
    }) AS result
ORDER BY r.created_at, r.id
"""
_MEASURED: Final = """
MATCH (j:Job {service: $service, status: 'completed'})-[:WORKS_ON]->(r:Recording)
WHERE j.kind IN $kinds AND j.seconds IS NOT NULL AND r.duration_s > 0
RETURN j.kind AS kind, j.seconds AS seconds, j.engine AS engine, j.model AS model,
    j.requested AS requested, r.duration_s AS duration_s
ORDER BY j.updated_at DESC LIMIT $limit
"""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording with the newest result that a service has made of it."""

    media_id: str
    file_name: str
    duration_s: float
    properties: Mapping[str, Any]
    """What a filter compares: of the recording, and of the result if there is one."""
    has_result: bool
    is_transcribed: bool
    has_speakers: bool


@dataclass(frozen=True, slots=True)
class Term:
    """A condition of `--where`."""

    field: str
    value: str | datetime
    is_equal: bool = True

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the condition that a text states.

        Raises:
            BadFilterError: It is none, or its field or its value does not exist.
        """
        found = _TERM.fullmatch(text.strip())
        if found is None or found["field"] not in _TEXTS | _DATES:
            raise BadFilterError(
                f"{text!r} is no condition. Write field=value or field!=value with one of the fields "
                f"{', '.join(sorted(_TEXTS))}, or before=DATE, after=DATE."
            )
        field, value, is_equal = found["field"], found["value"], found["operator"] == "="
        if field in _DATES:
            return cls(field, _parse_date(text, value, is_equal=is_equal))
        known = {"kind": MediaKind, "profile": Profile}.get(field)
        if known is not None and value not in set(known):
            raise BadFilterError(f"There is no {field} {value!r}; there are: {', '.join(known)}.")
        return cls(field, value, is_equal)

    def holds(self, recording: Recording) -> bool:
        """Return whether the condition holds for a recording that has a result."""
        if isinstance(self.value, datetime):
            made_at = recording.properties["made_at"]
            return bool(made_at < self.value if self.field == "before" else made_at >= self.value)
        if self.field == "warning":
            return (self.value in (recording.properties["warnings"] or ())) is self.is_equal
        return (recording.properties[self.field] == self.value) is self.is_equal


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected time in the engine, from earlier jobs of the service."""

    seconds: float | None
    """None if no comparable job was measured."""
    jobs: int
    """Number of jobs from which it follows."""
    engine: str | None = None
    model: str | None = None


async def read_recordings(
    driver: "AsyncDriver", service: Service, media_ids: Sequence[str] | None = None
) -> list[Recording]:
    """Return ready recordings, oldest first, with the newest result of a service.

    Args:
        driver: Connection to the graph.
        service: The service.
        media_ids: Only these recordings; all if None.
    """
    # The other kinds of a service derive from this one, such as the speakers of a transcript.
    parameters = {"ids": media_ids, "service": service.value, "kind": KINDS[service][-1]}
    found = await driver.execute_query(_RECORDINGS, parameters)
    return [_to_recording(row.data()) for row in found.records]


def select(recordings: Iterable[Recording], terms: Sequence[Term]) -> list[Recording]:
    """Return the recordings that have a result for which all conditions hold."""
    return [each for each in recordings if each.has_result and all(term.holds(each) for term in terms)]


async def estimate(
    driver: "AsyncDriver", request: RerunRequested, recordings: Sequence[Recording]
) -> Estimate:
    """Return how long the engine of a service is expected to work.

    Only jobs with the engine, model and preset that are requested are compared; if none are, those of the
    engine and model that the newest such job used.

    Args:
        driver: Connection to the graph.
        request: Service and options.
        recordings: The recordings to process.
    """
    service = Service(request.service)
    kinds = KINDS[service]
    parameters = {"service": service.value, "kinds": list(kinds), "limit": MEASURED_JOBS}
    found = await driver.execute_query(_MEASURED, parameters)
    rows = [row for row in (record.data() for record in found.records) if _is_comparable(row, request)]
    newest = next((row for row in rows if row["kind"] == kinds[-1]), None)
    if newest is None:
        return Estimate(None, 0)
    engine, model = newest["engine"], newest["model"]
    rate = 0.0
    used = 0
    for kind in kinds:
        alike = [row for row in rows if row["kind"] == kind]
        if kind == kinds[-1]:
            alike = [row for row in alike if (row["engine"], row["model"]) == (engine, model)]
        if not alike:
            return Estimate(None, 0)
        rate += sum(row["seconds"] for row in alike) / sum(row["duration_s"] for row in alike)
        used += len(alike)
    return Estimate(rate * sum(each.duration_s for each in recordings), used, engine, model)


async def request(
    client: "KafkaClient", wanted: RerunRequested, recordings: Sequence[Recording]
) -> list[FileProgress]:
    """Publish a request for each recording, and return the initial progress of each.

    Args:
        client: Connection to Kafka.
        wanted: Service and options.
        recordings: The recordings to process.
    """
    options = wanted.model_dump()
    envelopes = await client.publish(
        RerunRequested.model_validate(options | {"media_id": each.media_id}) for each in recordings
    )
    return [
        FileProgress.of_rerun(
            each.file_name,
            envelope.correlationid,
            each.media_id,
            Service(wanted.service),
            is_segmented=Service.HIGHLIGHTS in expected_services(each.properties["profile"]),
            has_speakers=each.has_speakers,
            is_transcribed=each.is_transcribed,
        )
        for each, envelope in zip(recordings, envelopes, strict=True)
    ]


def _to_recording(row: dict[str, Any]) -> Recording:
    result = row["result"] or {"engine": None, "model": None, "language": None, "warnings": None}
    made_at = result.get("made_at")
    return Recording(
        media_id=row["media_id"],
        file_name=row["file_name"] or row["media_id"],
        duration_s=row["duration_s"],
        properties={name: row[name] for name in ("kind", "profile", "owner")}
        | result
        | {"made_at": None if made_at is None else made_at.to_native()},
        has_result=row["result"] is not None,
        is_transcribed=row["is_transcribed"],
        has_speakers=row["has_speakers"],
    )


def _is_comparable(row: Mapping[str, Any], request: RerunRequested) -> bool:
    """Return whether a job worked as a request asks for."""
    if request.engine not in {None, row["engine"]} or request.model not in {None, row["model"]}:
        return False
    requested = parse_facts(row["requested"]) or {}
    is_plain = request.engine is None and request.model is None
    if is_plain and {"engine", "model"} & requested.keys():
        return False
    return (requested.get("preset") or Preset.BALANCED) == (request.preset or Preset.BALANCED)


def _parse_date(term: str, text: str, *, is_equal: bool) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or not is_equal:
        raise BadFilterError(f"{term!r} is no condition. Write before=2026-11-25 or after=2026-11-25T12:00.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
