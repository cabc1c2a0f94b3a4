"""An empty graph, a story of events, and functions that apply events and dump the graph."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest
from neo4j import AsyncDriver
from tests.support import graph
from tests.support.stack import Stack

from phonograph_events import (
    DiarizationCompleted,
    Envelope,
    Event,
    HighlightsCompleted,
    IdentifiedSpeaker,
    JobFailed,
    JobProgressed,
    JobSummary,
    MediaDuplicated,
    MediaReady,
    MediaRef,
    MediaRejected,
    MetadataEntry,
    MusicAnalyzed,
    PersonChanged,
    RenameProposed,
    SpeakersIdentified,
    SpeakerSummary,
    Stream,
    TracklistCompleted,
    TranscriptionCompleted,
)
from phonograph_events.documents import Clip, ContentSegment
from phonograph_events.payloads import MediaDeleted, MediaMoved
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.factory import ProcessContext
from phonograph_graph_sync.handlers.events import GraphSink

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def named(name: str) -> UUID:
    """Return an id that is always the same for a name."""
    return uuid5(UUID(int=0), name)


def media(name: str = "talk", **changes: Any) -> MediaRef:
    return MediaRef.model_validate(
        {
            "media_id": named(name),
            "uri": f"file:///music/{name}%20one.flac",
            "file_name": f"{name} one.flac",
            "file_size": 100,
            "kind": "audio",
            "mime_type": "audio/flac",
            "duration_s": 120.5,
            "file_hash": f"hash of {name}",
            "secondary_hash": "x",
            "content_fp": f"pcm16k1:{name}",
            "rendition_uri": f"file:///objects/{name}.wav",
        }
        | changes
    )


def job(service: str, name: str = "talk", **changes: Any) -> JobSummary:
    fields = {
        "job_id": named(f"{service} {name}"),
        "service": service,
        "engine": f"{service} engine",
        "seconds": 1.5,
    }
    return JobSummary.model_validate(fields | changes)


@dataclass
class Story:
    """Events in the order in which they happened, a second apart."""

    events: list[Envelope] = field(default_factory=list)

    def add(self, event: Event, version: int = 1, *, source: str = "test") -> Envelope:
        """Add an event."""
        number = len(self.events)
        envelope = Envelope(
            id=f"event-{number:04d}",
            source=source,
            type=event.event_type(),
            subject=event.subject,
            time=START + timedelta(seconds=number),
            correlationid="story",
            aggregateversion=version,
            data=event,
        )
        self.events.append(envelope)
        return envelope


def ready(name: str = "talk", **changes: Any) -> MediaReady:
    return MediaReady(
        media_id=named(name),
        media=media(name, **changes),
        container="flac",
        audio=Stream(codec="flac", sample_rate_hz=44100, channels=2),
        tags={"artist": ["A feat. B"], "title": ["Ünïcode 名"]},
        job=job("ingest", name),
    )


def progressed(
    service: str, progress: float, *, status: str = "processing", attempt: int = 1
) -> JobProgressed:
    return JobProgressed(
        media_id=named("talk"),
        job_id=named(f"{service} talk"),
        service=service,
        status=status,
        progress=progress,
        attempt=attempt,
    )


def music(version: int, **changes: Any) -> MusicAnalyzed:
    fields = {
        "media_id": named("talk"),
        "media": media(),
        "job": job("analysis"),
        "result_id": named(f"music {version}"),
        "algorithm_build": "b1",
        "bpm": 120.0 + version,
        "bpm_candidates": [60.0, 120.0],
        "key": "A",
        "scale": "minor",
        "key_strength": 0.9,
        "document_uri": "file:///objects/music.json",
    }
    return MusicAnalyzed.model_validate(fields | changes)


def transcript(name: str, pipeline_version: str, parent: str | None = None) -> TranscriptionCompleted:
    return TranscriptionCompleted(
        media_id=named("talk"),
        media=media(),
        job=job("transcription", name),
        result_id=named(name),
        parent_result_id=None if parent is None else named(parent),
        pipeline_version=pipeline_version,
        version=1,
        language="en",
        word_count=3,
        segment_count=1,
        preview="one two three",
        document_uri=f"file:///objects/{name}.json",
    )


def identified(**people: str) -> SpeakersIdentified:
    """Return who the speakers are: the first one is confirmed, the other one suggested."""
    states = {"SPEAKER_00": "confirmed", "SPEAKER_01": "suggested"}
    return SpeakersIdentified(
        media_id=named("talk"),
        meeting_id=named("meeting"),
        decision="named",
        speakers=[
            IdentifiedSpeaker(
                speaker_id=named(label),
                label=label,
                state=state if label in people else "unknown",
                person_id=named(people[label]) if label in people else None,
            )
            for label, state in states.items()
        ],
        people=[named(people["SPEAKER_00"])],
    )


def person(known_as: str, **changes: Any) -> PersonChanged:
    fields = {"person_id": named(known_as), "decision": "created", "name": known_as, "changed_by": "editor"}
    return PersonChanged.model_validate(fields | changes)


def cataloged(*entries: MetadataEntry, tracklist: str | None = "tracks") -> TracklistCompleted:
    return TracklistCompleted(
        media_id=named("talk"),
        media=media(),
        job=job("tracklist"),
        recording_id=named("recording"),
        tracklist_id=None if tracklist is None else named(tracklist),
        source_type="cue" if tracklist else None,
        metadata=list(entries),
        document_uri="file:///objects/tracklist.json",
    )


def highlights(stage: str, *titles: str) -> HighlightsCompleted:
    return HighlightsCompleted(
        media_id=named("talk"),
        media=media(),
        job=job("highlights", stage),
        stage=stage,
        silence_region_count=2,
        segments=[
            ContentSegment(start=n, end=n + 1, title=title, keywords=[title, "All"], importance_score=0.5)
            for n, title in enumerate(titles)
        ],
        clips=[
            Clip(clip_id=f"clip {title}", start=n, end=n + 1, title=title, uri=f"file:///{title}.m4a")
            for n, title in enumerate(titles)
        ],
        document_uri=f"file:///objects/{stage}.json",
    )


def entry(key: str, value: Any, **changes: Any) -> MetadataEntry:
    text, kind = (value, "string") if isinstance(value, str) else (json.dumps(value), "json")
    return MetadataEntry.model_validate({"key": key, "value": text, "value_type": kind} | changes)


@pytest.fixture
def story() -> list[Envelope]:
    """Return every mirrored event, with reruns, failures, a duplicate, a move and a deletion."""
    story = Story()
    story.add(progressed("ingest", 0.5))
    story.add(ready())
    story.add(progressed("analysis", 0.0))
    story.add(progressed("analysis", 0.5))
    failed = JobFailed(
        media_id=named("talk"),
        job_id=named("analysis talk"),
        service="analysis",
        kind="music",
        reason="engine_died",
        message="It died.",
        attempt=1,
        final=False,
    )
    story.add(failed)
    story.add(progressed("analysis", 0.0, attempt=2))
    story.add(music(1))
    story.add(progressed("analysis", 0.9, attempt=2))
    story.add(highlights("silence"))
    story.add(transcript("v1", "v1"))
    story.add(
        DiarizationCompleted(
            media_id=named("talk"),
            media=media(),
            job=job("diarization"),
            meeting_id=named("meeting"),
            speaker_count=2,
            turn_count=4,
            speakers=[
                SpeakerSummary(speaker_id=named(label), label=label, seconds=10.0)
                for label in ("SPEAKER_00", "SPEAKER_01")
            ],
            document_uri="file:///objects/speakers.json",
            rttm_uri="file:///objects/speakers.rttm",
        )
    )
    story.add(identified(SPEAKER_00="Ann", SPEAKER_01="Bob"))
    story.add(person("Ann"))
    story.add(person("Bob"))
    story.add(transcript("v4", "v4", parent="v1"))
    story.add(identified(SPEAKER_00="Bob"), 2)
    story.add(person("Ann", name=None, decision="forgotten"), 2)
    story.add(person("Bob", name="Robert", decision="renamed"), 2)
    story.add(
        cataloged(
            entry("artist", ["A feat. B", "C"]),
            entry("album", "Al"),
            entry("genre", ["House", "Techno"], confidence=0.5),
            entry("track", "3/12"),
            entry("year", "1999"),
        )
    )
    story.add(
        cataloged(entry("artist", "A"), entry("genre", "House", confidence=0.7), entry("tag_key", "Am")), 2
    )
    story.add(music(2, key="C", scale="major"), 2)
    story.add(
        RenameProposed(
            media_id=named("talk"),
            media=media(),
            proposal_id=named("proposal"),
            recording_id=named("recording"),
            current_filename="talk one.flac",
            proposed_filename="A - B.flac",
            reason="tags",
            confidence=0.8,
        )
    )
    story.add(highlights("segments", "Alpha", "Beta", "Gamma"), 2)
    story.add(highlights("segments", "Alpha", "Delta"), 3)
    story.add(
        MediaDuplicated(
            media_id=named("talk"),
            media=media(),
            duplicate="same_sound",
            uri="file:///music/copy.mp3",
            file_name="copy.mp3",
            file_hash="hash of copy",
            job=job("ingest", "copy", reason="same_sound"),
        )
    )
    story.add(
        MediaRejected(
            media_id=named("rotten"),
            uri="file:///music/rotten.mp3",
            file_name="rotten.mp3",
            reason="truncated",
            message="The file ends too early.",
            job=job("ingest", "rotten", reason="truncated"),
        )
    )
    story.add(ready("other", file_hash="hash of other"))
    story.add(failed.model_copy(update={"job_id": named("lost"), "media_id": named("other"), "final": True}))
    story.add(
        MediaMoved(media_id=named("talk"), from_uri=media().uri, to_uri="file:///archive/talk%20one.flac"),
        2,
    )
    story.add(
        MediaDeleted(media_id=named("other"), uri=media("other").uri, deleted_at=START + timedelta(days=1)), 2
    )
    return story.events


Dump = Callable[[], Awaitable[list[str]]]
Apply = Callable[..., Awaitable[None]]


@pytest.fixture
async def driver(stack: Stack) -> AsyncIterator[AsyncDriver]:
    """Yield a driver for an empty graph."""
    async with graph.empty_graph(stack) as opened:
        yield opened


@pytest.fixture
def settings(stack: Stack, tmp_path: Path) -> Settings:
    """Return settings of the service on the stack."""
    return graph.settings(stack, tmp_path)


@pytest.fixture
async def context(settings: Settings, driver: AsyncDriver) -> AsyncIterator[ProcessContext]:
    """Yield the connections of a process; no offsets are stored."""
    opened = ProcessContext.create(settings)
    await opened.clear_offsets()
    yield opened
    await opened.clear_offsets()
    await opened.aclose()


@pytest.fixture
def apply(context: ProcessContext) -> Apply:
    """Return a function that applies events in batches; offsets count up from `first`."""
    sink = GraphSink(context)

    async def apply_events(events: Iterable[Envelope], *, size: int = 500, first: int = 0) -> None:
        for batch in graph.batches(events, size=size, first=first):
            await sink.apply(batch)

    return apply_events


@pytest.fixture
def dump(driver: AsyncDriver) -> Dump:
    """Return a function that dumps the whole graph as sorted lines."""
    return lambda: graph.dump(driver)
