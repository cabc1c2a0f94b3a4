"""What has become of one requested file, told by the events that its request led to."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from phonograph_events import (
    RESULT_SERVICES,
    DiarizationCompleted,
    Event,
    HighlightsCompleted,
    HighlightsStage,
    JobFailed,
    JobProgressed,
    MediaDuplicated,
    MediaReady,
    MediaRejected,
    MusicAnalyzed,
    PipelineVersion,
    Profile,
    Result,
    Service,
    TracklistCompleted,
    TranscriptionCompleted,
)

if TYPE_CHECKING:
    from phonograph_cli.kafka import Seen


class State(StrEnum):
    """How far a service is with a file."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"


RESULTS: dict[type[Event], Service] = {
    MusicAnalyzed: Service.ANALYSIS,
    TranscriptionCompleted: Service.TRANSCRIPTION,
    DiarizationCompleted: Service.DIARIZATION,
    TracklistCompleted: Service.TRACKLIST,
    HighlightsCompleted: Service.HIGHLIGHTS,
}


@dataclass(slots=True)
class Mark:
    """One service's part."""

    state: State = State.WAITING
    progress: float = 0.0
    stage: str = ""
    reason: str | None = None
    engine: str | None = None
    seconds: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in {State.DONE, State.FAILED}


@dataclass(slots=True)
class FileProgress:
    """A requested file. `apply` each event of its correlation; `ended` tells when all is over."""

    path: str
    correlation_id: str
    media_id: str | None = None
    outcome: str | None = None
    """ready, duplicate, rejected or failed."""
    reason: str | None = None
    message: str | None = None
    marks: dict[Service, Mark] = field(default_factory=lambda: {Service.INGEST: Mark()})
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """Last offset seen by topic and partition: the graph must hold these before it is asked."""
    _known: set[str] = field(default_factory=set)
    _transcribed: bool = False
    _with_speakers: bool = False
    _highlights: str | None = None
    _silence_failed: bool = False

    def apply(self, seen: "Seen") -> None:
        """Take one event of this request; a repetition changes nothing."""
        self.offsets[seen.topic, seen.partition] = seen.offset
        if seen.envelope.id in self._known:
            return
        self._known.add(seen.envelope.id)
        match seen.envelope.data:
            case MediaReady() as event:
                self._ready(event)
            case MediaRejected() as event:
                self.media_id = str(event.media_id)
                self._end_ingest("rejected", event.reason, event.message)
            case MediaDuplicated() as event:
                self.media_id = str(event.media_id)
                first = event.media.uri
                self._end_ingest("duplicate", str(event.duplicate), f"The first one is {first}.")
            case JobProgressed() as event:
                mark = self._mark(event.service)
                if mark is not None and not mark.ended:
                    mark.state, mark.progress, mark.stage = State.WORKING, event.progress, event.stage
            case JobFailed() as event:
                self._failed(event)
            case Result() as event:
                self._result(event)
            case _:
                pass
        self._settle()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        if self.outcome is None:
            return False
        return all(mark.ended for mark in self.marks.values())

    @property
    def ok(self) -> bool:
        """Whether the file ended well."""
        failed = any(mark.state is State.FAILED for mark in self.marks.values())
        return self.outcome in {"ready", "duplicate"} and not failed

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "path": self.path,
            "media_id": self.media_id,
            "status": "failed" if self.outcome == "ready" and not self.ok else self.outcome,
            "reason": self.reason,
            "message": self.message,
            "services": {
                service.value: {
                    "status": mark.state.value,
                    "reason": mark.reason,
                    "engine": mark.engine,
                    "seconds": mark.seconds,
                }
                for service, mark in self.marks.items()
            },
        }

    def _mark(self, service: str) -> Mark | None:
        """The mark of a service; null for one that this command does not know yet."""
        return self.marks.setdefault(Service(service), Mark()) if service in set(Service) else None

    def _ready(self, event: MediaReady) -> None:
        self.media_id, self.outcome = str(event.media_id), "ready"
        ingest = self.marks[Service.INGEST]
        ingest.state, ingest.engine, ingest.seconds = State.DONE, event.job.engine, event.job.seconds
        known = event.media.profile in set(Profile)
        for service in sorted(RESULT_SERVICES[Profile(event.media.profile) if known else Profile.AUTO]):
            self._mark(service)

    def _end_ingest(self, outcome: str, reason: str, message: str) -> None:
        self.outcome, self.reason, self.message = outcome, reason, message
        mark = self.marks[Service.INGEST]
        mark.state, mark.reason = (State.FAILED if outcome == "rejected" else State.DONE), reason

    def _failed(self, event: JobFailed) -> None:
        mark = self._mark(event.service)
        if mark is None:
            return
        mark.reason = event.reason
        if event.service == Service.HIGHLIGHTS and event.kind == HighlightsStage.SILENCE:
            self._silence_failed |= event.final
        elif event.final:
            mark.state = State.FAILED

    def _result(self, event: Result) -> None:
        mark = self.marks.setdefault(RESULTS[type(event)], Mark())
        mark.seconds = (mark.seconds or 0.0) + (event.job.seconds or 0.0)
        late = isinstance(event, HighlightsCompleted) and self._highlights == HighlightsStage.SEGMENTS
        if not late:
            mark.engine, mark.reason = event.job.engine or mark.engine, event.job.reason
        match event:
            case TranscriptionCompleted():
                self._with_speakers |= event.pipeline_version == PipelineVersion.V4
                self._transcribed = True
            case HighlightsCompleted():
                if self._highlights != HighlightsStage.SEGMENTS:
                    self._highlights = event.stage
            case _:
                mark.state = State.DONE

    def _settle(self) -> None:
        """Decide on the services whose end depends on another one's."""
        if self.outcome != "ready":
            return
        transcription = self.marks.get(Service.TRANSCRIPTION)
        diarization = self.marks.get(Service.DIARIZATION)
        if transcription and not transcription.ended and self._transcribed:
            speakers_to_come = diarization is not None and diarization.state is not State.FAILED
            if self._with_speakers or not speakers_to_come:
                transcription.state = State.DONE
        highlights = self.marks.get(Service.HIGHLIGHTS)
        if highlights and not highlights.ended:
            no_words = transcription is None or transcription.state is State.FAILED
            if self._highlights == HighlightsStage.SEGMENTS:
                highlights.state = State.DONE
            elif no_words and not self._transcribed:
                if self._silence_failed:
                    highlights.state = State.FAILED
                elif self._highlights is not None:
                    highlights.state = State.DONE
