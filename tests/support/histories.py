"""Generated events of many recordings; the same seed yields the same events.

`generate_events(seed, files)` returns them in the order in which services would publish them. Files share
artists, albums, genres, keys and topics; some are processed again, rejected, duplicates, moved or deleted.
"""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

from phonograph_events import (
    DiarizationCompleted,
    Envelope,
    Event,
    HighlightsCompleted,
    HighlightsStage,
    JobFailed,
    JobProgressed,
    JobStatus,
    JobSummary,
    MediaDuplicated,
    MediaKind,
    MediaReady,
    MediaRef,
    MediaRejected,
    MetadataEntry,
    MusicAnalyzed,
    PipelineVersion,
    RenameProposed,
    Service,
    SpeakerSummary,
    Stream,
    TracklistCompleted,
    TranscriptionCompleted,
)
from phonograph_events.documents import Clip, ContentSegment
from phonograph_events.payloads import MediaDeleted, MediaMoved

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STORE = "file:///var/lib/phonograph/objects"
WORDS = [
    "night", "drive", "river", "stone", "signal", "paper", "window", "echo", "garden", "matter", "field",
    "letter", "number", "engine", "market", "story", "winter", "ocean", "cable", "mirror", "copper",
    "harbour", "orbit", "lantern", "summit", "meadow", "thunder", "velvet", "desert", "crystal",
]  # fmt: skip
KEYS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
GENRES = tuple(
    f"{first} {second}" for first in ("Deep", "Hard", "Acid") for second in ("House", "Techno", "Jazz")
)


def generate_events(seed: int, files: int) -> list[Envelope]:
    """Return the events of many files, interleaved as if several files were processed at once."""
    timeline: list[tuple[float, int, tuple[Event, int, str]]] = []
    for file in range(files):
        chance = random.Random(f"{seed}/{file}")
        at_s = chance.uniform(0, files / 4)
        for each in _MediaHistory(chance, file).events():
            at_s += chance.uniform(0.1, 2)
            timeline.append((at_s, file, each))
    timeline.sort(key=lambda entry: entry[:2])
    return [_wrap(number, *each) for number, (_, _, each) in enumerate(timeline)]


def _wrap(number: int, event: Event, version: int, source: str) -> Envelope:
    return Envelope(
        id=f"event-{number:06d}",
        source=source,
        type=event.event_type(),
        subject=event.subject,
        time=START + timedelta(milliseconds=40 * number),
        correlationid=event.subject,
        aggregateversion=version,
        data=event,
    )


class _MediaHistory:
    """The life of one file, in events."""

    def __init__(self, chance: random.Random, number: int) -> None:
        self._chance = chance
        self._number = number
        self._id = self._uuid()
        name = f"{self._title()} {number}.flac"
        self._media = MediaRef(
            media_id=self._id,
            uri=f"file:///music/{self._chance.choice(WORDS)}/{quote(name)}",
            file_name=name,
            file_size=self._chance.randrange(10_000, 90_000_000),
            kind=MediaKind.AUDIO,
            mime_type="audio/flac",
            duration_s=round(self._chance.uniform(5, 7200), 3),
            file_hash=f"{self._chance.getrandbits(256):064x}",
            secondary_hash=f"{self._chance.getrandbits(128):032x}",
            content_fp=f"pcm16k1:{self._chance.getrandbits(256):064x}",
            rendition_uri=f"{STORE}/renditions/{self._chance.getrandbits(256):064x}.wav",
            owner=self._chance.choice(("radio-one", "archive", None)),
        )

    def events(self) -> Iterator[tuple[Event, int, str]]:
        """Yield the events in order, each with the version of its aggregate and its source."""
        yield from self._ingest()
        if self._chance.random() < 0.9:
            runs = [self._analysis(), self._transcription(), self._catalog(), self._highlights()]
            while runs:
                run = self._chance.choice(runs)
                try:
                    yield next(run)
                except StopIteration:
                    runs.remove(run)
            yield from self._later_changes()

    def _ingest(self) -> Iterator[tuple[Event, int, str]]:
        job = self._uuid()
        yield self._progress(Service.INGEST, job, 0.0)
        tags = {"artist": [self._artist()], "title": [self._title()], "comment": [self._title()]}
        ready = MediaReady(
            media_id=self._id,
            media=self._media,
            container="flac",
            audio=Stream(codec="flac", sample_rate_hz=44_100, channels=2, bit_rate=900_000),
            tags=tags,
            warnings=self._chance.choice(([], ["clipped"])),
            job=self._summary(Service.INGEST, job),
        )
        yield ready, 1, Service.INGEST

    def _analysis(self) -> Iterator[tuple[Event, int, str]]:
        for version in range(1, self._chance.choice((2, 2, 2, 3))):
            job = self._uuid()
            yield from self._work(Service.ANALYSIS, job, "music")
            musical = self._chance.random() < 0.8
            yield (
                MusicAnalyzed(
                    **self._result(Service.ANALYSIS, job),
                    result_id=self._uuid(),
                    algorithm_build="2.1",
                    bpm=round(self._chance.uniform(60, 180), 1) if musical else None,
                    bpm_confidence=0.7 if musical else None,
                    bpm_candidates=[60.0, 120.0] if musical else [],
                    key=self._chance.choice(KEYS) if musical else None,
                    scale=self._chance.choice(("major", "minor")) if musical else None,
                    key_strength=round(self._chance.random(), 2) if musical else None,
                    loudness_lufs=-9.5,
                    danceability=1.1,
                    reasons={} if musical else {"bpm": "no_beat"},
                ),
                version,
                Service.ANALYSIS,
            )

    def _transcription(self) -> Iterator[tuple[Event, int, str]]:
        job, first = self._uuid(), self._uuid()
        yield from self._work(Service.TRANSCRIPTION, job, "transcribe")
        words = " ".join(self._chance.choices(WORDS, k=self._chance.randrange(0, 200)))[:2000]
        fields = {
            "language": "en",
            "language_probability": 0.98,
            "word_count": len(words.split()),
            "segment_count": 1 + len(words.split()) // 12,
            "preview": words,
        }
        yield self._transcript(job, first, None, PipelineVersion.V1, **fields), 1, Service.TRANSCRIPTION
        diarize = self._uuid()
        yield from self._work(Service.DIARIZATION, diarize, "diarize")
        speakers = [
            SpeakerSummary(
                speaker_id=self._uuid(), label=f"S{n}", seconds=round(self._chance.random() * 100, 1)
            )
            for n in range(self._chance.randrange(0, 5))
        ]
        diarization = DiarizationCompleted(
            **self._result(Service.DIARIZATION, diarize),
            meeting_id=self._uuid(),
            speaker_count=len(speakers),
            turn_count=3 * len(speakers),
            speakers=speakers,
            rttm_uri=f"{STORE}/{diarize}.rttm",
        )
        yield diarization, 1, Service.DIARIZATION
        merge = self._uuid()
        yield from self._work(Service.TRANSCRIPTION, merge, "merge")
        fields["speaker_count"] = len(speakers)
        merged = self._transcript(merge, self._uuid(), first, PipelineVersion.V4, **fields)
        yield merged, 1, Service.TRANSCRIPTION

    def _transcript(
        self, job: UUID, result: UUID, parent: UUID | None, pipeline: PipelineVersion, **fields: Any
    ) -> TranscriptionCompleted:
        return TranscriptionCompleted(
            **self._result(Service.TRANSCRIPTION, job),
            result_id=result,
            parent_result_id=parent,
            pipeline_version=pipeline,
            version=1,
            **fields,
        )

    def _catalog(self) -> Iterator[tuple[Event, int, str]]:
        recording = self._uuid()
        tracklist = self._uuid() if self._chance.random() < 0.5 else None
        for version in range(1, self._chance.choice((2, 2, 3))):
            job = self._uuid()
            yield from self._work(Service.TRACKLIST, job, "tracklist")
            yield (
                TracklistCompleted(
                    **self._result(Service.TRACKLIST, job),
                    recording_id=recording,
                    tracklist_id=tracklist,
                    source_type="cue_file" if tracklist else None,
                    metadata=list(self._metadata()),
                ),
                version,
                Service.TRACKLIST,
            )
        if self._chance.random() < 0.4:
            proposal = RenameProposed(
                media_id=self._id,
                media=self._media,
                proposal_id=self._uuid(),
                recording_id=recording,
                current_filename=self._media.file_name,
                proposed_filename=f"{self._artist()} - {self._title()}.flac",
                reason="tags",
                confidence=0.8,
            )
            yield proposal, 1, Service.TRACKLIST

    def _metadata(self) -> Iterator[MetadataEntry]:
        texts = {
            "title": self._title(),
            "album": f"Album {self._chance.randrange(60)}",
            "date": str(self._chance.randrange(1960, 2026)),
            "track": f"{self._chance.randrange(1, 13)}/12",
            "initial_key": self._chance.choice(KEYS) + self._chance.choice(("", "m")),
            "publisher": f"Label {self._chance.randrange(20)}",
        }
        lists = {"artist": [self._artist(), self._artist()], "genre": self._chance.sample(GENRES, 2)}
        for key, text in texts.items():
            if self._chance.random() < 0.8:
                confidence = round(self._chance.uniform(0.5, 1), 2)
                yield MetadataEntry(key=key, value=text, confidence=confidence)
        for key, names in lists.items():
            yield MetadataEntry(key=key, value=json.dumps(names), value_type="json", confidence=0.9)

    def _highlights(self) -> Iterator[tuple[Event, int, str]]:
        version = 0
        for _ in range(self._chance.choice((1, 1, 2))):
            for stage in (HighlightsStage.SILENCE, HighlightsStage.SEGMENTS):
                version += 1
                job = self._uuid()
                yield from self._work(Service.HIGHLIGHTS, job, stage)
                count = self._chance.randrange(2, 9) if stage == HighlightsStage.SEGMENTS else 0
                yield (
                    HighlightsCompleted(
                        **self._result(Service.HIGHLIGHTS, job),
                        stage=stage,
                        silence_region_count=self._chance.randrange(9),
                        segments=[self._segment(n) for n in range(count)],
                        clips=[self._clip(n) for n in range(count)],
                    ),
                    version,
                    Service.HIGHLIGHTS,
                )

    def _segment(self, number: int) -> ContentSegment:
        return ContentSegment(
            start=60.0 * number,
            end=60.0 * (number + 1),
            title=self._title(),
            keywords=self._chance.sample(WORDS, 3),
            importance_score=round(self._chance.random(), 2),
        )

    def _clip(self, number: int) -> Clip:
        clip_id = f"clip_{self._uuid().hex}"
        return Clip(
            clip_id=clip_id,
            start=60.0 * number,
            end=60.0 * number + 30,
            title=self._title(),
            uri=f"{STORE}/results/{self._id}/highlights/{clip_id}.mp4",
            vtt_uri=f"{STORE}/results/{self._id}/highlights/{clip_id}.vtt",
        )

    def _later_changes(self) -> Iterator[tuple[Event, int, str]]:
        if self._chance.random() < 0.2:
            job = self._uuid()
            yield self._progress(Service.INGEST, job, 0.0)
            duplicate = MediaDuplicated(
                media_id=self._id,
                media=self._media,
                duplicate="same_sound",
                uri=f"file:///copies/{self._number}.mp3",
                file_name=f"{self._number}.mp3",
                file_hash=f"{self._chance.getrandbits(256):064x}",
                job=self._summary(Service.INGEST, job, reason="same_sound"),
            )
            yield duplicate, 1, Service.INGEST
        if self._chance.random() < 0.1:
            rejected = MediaRejected(
                media_id=self._uuid(),
                uri=f"file:///music/broken {self._number}.mp3",
                file_name=f"broken {self._number}.mp3",
                reason="truncated",
                message="The file ends too early.",
                job=self._summary(Service.INGEST, self._uuid(), reason="truncated"),
            )
            yield rejected, 1, Service.INGEST
        uri, version = self._media.uri, 2
        for move in range(self._chance.choice((0, 0, 1, 2))):
            to_uri = f"file:///archive/{move}/{self._number}.flac"
            yield MediaMoved(media_id=self._id, from_uri=uri, to_uri=to_uri), version, Service.INGEST
            uri, version = to_uri, version + 1
        if self._chance.random() < 0.15:
            deleted = MediaDeleted(media_id=self._id, uri=uri, deleted_at=START + timedelta(days=1))
            yield deleted, version, Service.INGEST

    def _work(self, service: Service, job: UUID, kind: str) -> Iterator[tuple[Event, int, str]]:
        """Yield the events of a job before its result; 10 % fail once, 2 % have a second job that fails."""
        attempt, is_retried = 1, self._chance.random() < 0.1
        yield self._progress(service, job, 0.0)
        if is_retried:
            yield self._failure(service, job, kind, final=False), 1, service
            attempt = 2
            yield self._progress(service, job, 0.0, attempt=attempt)
        for _ in range(self._chance.randrange(3)):
            yield self._progress(service, job, round(self._chance.random(), 3), attempt=attempt)
        if self._chance.random() < 0.02:
            failed_job = self._uuid()
            yield self._progress(service, failed_job, 0.0)
            yield self._failure(service, failed_job, kind, final=True), 1, service

    def _failure(self, service: Service, job: UUID, kind: str, *, final: bool) -> JobFailed:
        return JobFailed(
            media_id=self._id,
            job_id=job,
            service=service,
            kind=kind,
            reason="engine_died",
            message="The engine's process ended with status -9.",
            attempt=1,
            final=final,
        )

    def _progress(
        self, service: Service, job: UUID, progress: float, *, attempt: int = 1
    ) -> tuple[Event, int, str]:
        event = JobProgressed(
            media_id=self._id,
            job_id=job,
            service=service,
            status=JobStatus.PROCESSING,
            progress=progress,
            stage="working",
            attempt=attempt,
        )
        return event, 1, service

    def _result(self, service: Service, job: UUID) -> dict[str, Any]:
        return {
            "media_id": self._id,
            "media": self._media,
            "job": self._summary(service, job),
            "document_uri": f"{STORE}/results/{self._id}/{service}/{job}.json",
        }

    def _summary(self, service: Service, job: UUID, **fields: Any) -> JobSummary:
        seconds, waited_s = (round(self._chance.uniform(0, 30), 3) for _ in range(2))
        return JobSummary(
            job_id=job,
            service=service,
            engine=f"{service} engine",
            seconds=seconds,
            waited_s=waited_s,
            **fields,
        )

    def _artist(self) -> str:
        """Return an artist; a few of them occur in half of all files."""
        name = f"Artist {int(80 * self._chance.random() ** 2)}"
        return f"{name} feat. Artist {self._chance.randrange(80)}" if self._chance.random() < 0.2 else name

    def _title(self) -> str:
        return " ".join(self._chance.choices(WORDS, k=self._chance.randrange(1, 4))).title()

    def _uuid(self) -> UUID:
        return UUID(int=self._chance.getrandbits(128), version=4)
