"""Progress of one requested file, derived from the events that the request caused."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from phonograph_events import (
    RESULT_SERVICES,
    DiarizationCompleted,
    Event,
    HighlightsCompleted,
    HighlightsStage,
    JobFailed,
    JobProgressed,
    JobStatus,
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
    from phonograph_cli.kafka import ReceivedEvent


class State(StrEnum):
    """State of a service with respect to a file."""

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
"""Service that publishes each kind of result."""


@dataclass(slots=True)
class ServiceProgress:
    """Progress of one service with a file."""

    state: State = State.WAITING
    progress: float = 0.0
    """Fraction from 0 to 1 of the current attempt."""
    stage: str = ""
    reason: str | None = None
    message: str | None = None
    """Why the service has failed, as a sentence."""
    engine: str | None = None
    seconds: float | None = None

    @property
    def is_ended(self) -> bool:
        """True if the service will do no more for the file."""
        return self.state in {State.DONE, State.FAILED}


@dataclass(slots=True)
class FileProgress:
    """Progress of a requested file: it is updated with each event of its correlation, in any order."""

    path: str
    correlation_id: str
    media_id: str | None = None
    outcome: str | None = None
    """`ready`, `duplicate` or `rejected`; None until it is known."""
    reason: str | None = None
    message: str | None = None
    services: dict[Service, ServiceProgress] = field(
        default_factory=lambda: {Service.INGEST: ServiceProgress()}
    )
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    """Last offset received by topic and partition: the graph holds the file once it has read these."""
    expects_speakers: bool = False
    """True if the speakers of the recording are known, so that each transcript is joined with them."""
    _event_ids: set[str] = field(default_factory=set)
    _is_transcribed: bool = False
    _has_speakers: bool = False
    """True once the transcript that is joined with the speakers has arrived."""
    _highlights_stage: str | None = None
    _silence_failed: bool = False
    _speakers_failed: bool = False
    """True if the segments will not get speakers."""

    @classmethod
    def of_rerun(
        cls,
        path: str,
        correlation_id: str,
        media_id: str,
        service: Service,
        *,
        is_segmented: bool,
        has_speakers: bool,
        is_transcribed: bool,
    ) -> Self:
        """Return the progress of a recording that a service processes again, and of what follows from it.

        Args:
            path: Name of the recording.
            correlation_id: That of the request.
            media_id: Its media ID.
            service: Service of the request.
            is_segmented: Whether each transcript leads to highlights.
            has_speakers: Whether a diarization exists.
            is_transcribed: Whether a transcript exists.
        """
        services = {service: ServiceProgress()}
        if service is Service.TRANSCRIPTION and is_segmented:
            services[Service.HIGHLIGHTS] = ServiceProgress()
        if service is Service.DIARIZATION and is_transcribed:
            services[Service.TRANSCRIPTION] = ServiceProgress()
        return cls(
            path,
            correlation_id,
            media_id,
            outcome="ready",
            services=services,
            expects_speakers=has_speakers,
            _is_transcribed=service is Service.DIARIZATION,
            # If the transcription fails, nothing follows from it.
            _highlights_stage=HighlightsStage.SILENCE if service is Service.TRANSCRIPTION else None,
        )

    def apply(self, received: "ReceivedEvent") -> None:
        """Apply one event of this request; a repeated event changes nothing."""
        self.offsets[received.topic, received.partition] = received.offset
        if received.envelope.id in self._event_ids:
            return
        self._event_ids.add(received.envelope.id)
        match received.envelope.data:
            case MediaReady() as event:
                self._apply_ready(event)
            case MediaRejected() as event:
                self._end_ingest("rejected", event.media_id, event.reason, event.message)
            case MediaDuplicated() as event:
                first = f"The first one is {event.media.uri}."
                self._end_ingest("duplicate", event.media_id, str(event.duplicate), first)
            case JobProgressed() as event:
                self._apply_progress(event)
            case JobFailed() as event:
                self._apply_failure(event)
            case Result() as event:
                self._apply_result(event)
            case _:
                pass
        if self.outcome == "ready":
            # Events of different topics arrive in any order, so that each may complete these two.
            self._complete_transcription()
            self._complete_highlights()

    @property
    def is_ended(self) -> bool:
        """True if no more events are to be expected."""
        return self.outcome is not None and all(each.is_ended for each in self.services.values())

    @property
    def has_succeeded(self) -> bool:
        """True if the file was accepted or is a duplicate, and no service has failed."""
        return self.outcome in {"ready", "duplicate"} and not self.failed_services

    @property
    def failed_services(self) -> list[Service]:
        """The services that have failed."""
        return [service for service, each in self.services.items() if each.state is State.FAILED]

    def to_json(self) -> dict[str, Any]:
        """Return the progress for `--json`."""
        is_failed = self.outcome == "ready" and not self.has_succeeded
        return {
            "path": self.path,
            "media_id": self.media_id,
            "status": "failed" if is_failed else self.outcome,
            "reason": self.reason,
            "message": self.message,
            "services": {
                service.value: {
                    "status": each.state.value,
                    "reason": each.reason,
                    "message": each.message,
                    "engine": each.engine,
                    "seconds": each.seconds,
                }
                for service, each in self.services.items()
            },
        }

    def _service(self, name: str) -> ServiceProgress | None:
        """Return the progress of a service, or None for a service that this release does not know."""
        if name not in set(Service):
            return None
        return self.services.setdefault(Service(name), ServiceProgress())

    def _apply_ready(self, event: MediaReady) -> None:
        self.media_id, self.outcome = str(event.media_id), "ready"
        ingest = self.services[Service.INGEST]
        ingest.state, ingest.engine, ingest.seconds = State.DONE, event.job.engine, event.job.seconds
        is_known = event.media.profile in set(Profile)
        for service in sorted(RESULT_SERVICES[Profile(event.media.profile) if is_known else Profile.AUTO]):
            self._service(service)

    def _end_ingest(self, outcome: str, media_id: UUID, reason: str, message: str) -> None:
        self.media_id = str(media_id)
        self.outcome, self.reason, self.message = outcome, reason, message
        ingest = self.services[Service.INGEST]
        ingest.state = State.FAILED if outcome == "rejected" else State.DONE
        ingest.reason = reason

    def _apply_progress(self, event: JobProgressed) -> None:
        service = self._service(event.service)
        if service is not None and not service.is_ended:
            # A job that completes without a result was overtaken by a newer one.
            is_completed = event.status == JobStatus.COMPLETED
            service.state = State.DONE if is_completed else State.WORKING
            service.progress, service.stage = event.progress, event.stage

    def _apply_failure(self, event: JobFailed) -> None:
        service = self._service(event.service)
        if service is None:
            return
        if event.service == Service.HIGHLIGHTS and event.kind == HighlightsStage.SPEAKERS:
            self._speakers_failed |= event.final  # the segments are there all the same
            return
        service.reason, service.message = event.reason, event.message
        if event.service == Service.HIGHLIGHTS and event.kind == HighlightsStage.SILENCE:
            self._silence_failed |= event.final
        elif event.final:
            service.state = State.FAILED

    def _apply_result(self, event: Result) -> None:
        service = self.services.setdefault(RESULTS[type(event)], ServiceProgress())
        service.seconds = (service.seconds or 0.0) + (event.job.seconds or 0.0)
        if isinstance(event, HighlightsCompleted) and _rank(event.stage) < _rank(self._highlights_stage):
            return  # an earlier stage arrived late, and the later one includes it
        service.engine, service.reason = event.job.engine or service.engine, event.job.reason
        match event:
            case TranscriptionCompleted():
                self._has_speakers |= event.pipeline_version == PipelineVersion.V4
                self._is_transcribed = True
            case HighlightsCompleted():
                self._highlights_stage = event.stage
            case _:
                service.state = State.DONE

    def _complete_transcription(self) -> None:
        """End the transcription once the transcript has speakers, or will not get any."""
        transcription = self.services.get(Service.TRANSCRIPTION)
        if transcription is None or transcription.is_ended or not self._is_transcribed:
            return
        if self._has_speakers or not self._awaits_speakers:
            transcription.state = State.DONE

    def _complete_highlights(self) -> None:
        """End the highlights at the segments, or at the silence if no transcript will lead to segments."""
        highlights = self.services.get(Service.HIGHLIGHTS)
        if highlights is None or highlights.is_ended:
            return
        if self._highlights_stage == HighlightsStage.SPEAKERS:
            highlights.state = State.DONE
        elif self._highlights_stage == HighlightsStage.SEGMENTS:
            if self._speakers_failed or not self._may_have_speakers:
                highlights.state = State.DONE
        elif not self._may_be_transcribed:
            if self._silence_failed:
                highlights.state = State.FAILED
            elif self._highlights_stage is not None:
                highlights.state = State.DONE

    @property
    def _may_have_speakers(self) -> bool:
        """True if there is a transcript with speakers, or one may still come."""
        transcription = self.services.get(Service.TRANSCRIPTION)
        if self._has_speakers or transcription is None or transcription.state is State.FAILED:
            return self._has_speakers
        return self._awaits_speakers

    @property
    def _awaits_speakers(self) -> bool:
        """True if a diarization exists, or one may still come."""
        diarization = self.services.get(Service.DIARIZATION)
        return self.expects_speakers if diarization is None else diarization.state is not State.FAILED

    @property
    def _may_be_transcribed(self) -> bool:
        """True if there is a transcript, or one may still come."""
        transcription = self.services.get(Service.TRANSCRIPTION)
        has_failed = transcription is None or transcription.state is State.FAILED
        return self._is_transcribed or not has_failed


def _rank(stage: str | None) -> int:
    """Return the place of a stage of the highlights, each of which includes the ones before."""
    return [None, *HighlightsStage].index(stage) if stage in set(HighlightsStage) else 0
