"""The progress that `ingest --follow` derives from the events of one request."""

import io
import os
import random
from pathlib import Path
from typing import Any, TypeVar

import pytest
from rich.console import Console
from tests.support.golden import Golden

from phonograph_cli.kafka import ReceivedEvent
from phonograph_cli.progress import FileProgress, State
from phonograph_cli.progress_display import LinePrinter
from phonograph_cli.rendering import progress_table
from phonograph_events import (
    DiarizationCompleted,
    DuplicateKind,
    Event,
    HighlightsCompleted,
    HighlightsStage,
    JobFailed,
    JobProgressed,
    JobSummary,
    MediaDuplicated,
    MediaMoved,
    MediaReady,
    MediaRejected,
    MusicAnalyzed,
    PipelineVersion,
    Profile,
    RenameProposed,
    Service,
    TracklistCompleted,
    TranscriptionCompleted,
    envelope,
)
from phonograph_events.examples import EXAMPLES

DATA = Path(__file__).parent / "data"

E = TypeVar("E", bound=Event)

SILENCE, SEGMENTS = HighlightsStage.SILENCE, HighlightsStage.SEGMENTS


def example(kind: type[E], /, **changes: Any) -> E:
    """The contract's example of an event, with other values in some fields."""
    (found,) = (event for event in EXAMPLES if isinstance(event, kind))
    return found.model_copy(update=changes)


def ready(profile: str = Profile.AUTO) -> MediaReady:
    media = example(MediaReady).media
    return example(MediaReady, media=media.model_copy(update={"profile": profile}))


def failed(service: Service, *, kind: str = "work", final: bool = True) -> JobFailed:
    return example(JobFailed, service=service, kind=kind, final=final, reason="engine_died")


def progressed(service: Service, progress: float = 0.4) -> JobProgressed:
    return example(JobProgressed, service=service, progress=progress)


def transcribed(version: PipelineVersion = PipelineVersion.V1, *, words: int = 22) -> TranscriptionCompleted:
    return example(TranscriptionCompleted, pipeline_version=version, word_count=words)


def silence() -> HighlightsCompleted:
    return example(HighlightsCompleted, stage=SILENCE, segments=[], clips=[])


SUCCESSFUL: list[Event] = [
    ready(),
    progressed(Service.ANALYSIS),
    example(MusicAnalyzed),
    silence(),
    example(TracklistCompleted),
    example(RenameProposed),
    progressed(Service.TRANSCRIPTION),
    transcribed(),
    example(DiarizationCompleted),
    transcribed(PipelineVersion.V4),
    example(HighlightsCompleted),
    example(HighlightsCompleted, stage=HighlightsStage.SPEAKERS),
]


def progress_of(*events: Event) -> FileProgress:
    file = FileProgress("/music/Night Drive.mp3", "c1")
    for event in events:
        apply(file, event)
    return file


def apply(file: FileProgress, event: Event, *, partition: int = 0, offset: int = 0) -> None:
    file.apply(ReceivedEvent(event.TOPIC, partition, offset, envelope(event, source="test")))


def states(file: FileProgress) -> dict[str, str]:
    return {service.value: progress.state.value for service, progress in file.services.items()}


def test_file_succeeds_when_every_service_has_answered(golden: Golden) -> None:
    file = FileProgress("/music/Night Drive.mp3", "c1")
    assert states(file) == {"ingest": "waiting"}
    for number, event in enumerate(SUCCESSFUL):
        assert not file.is_ended, f"ended before {SUCCESSFUL[number:]}"
        apply(file, event)
    assert file.is_ended
    assert file.has_succeeded
    assert set(states(file)) == set(Service) - {Service.GRAPH_SYNC}
    golden.check(DATA / "file_progress.json", file.to_json())


@pytest.mark.parametrize("seed", range(20))
def test_order_of_events_does_not_matter(seed: int) -> None:
    """Topics are read concurrently: media-ready may be the last event that is received."""
    rest = SUCCESSFUL[1:]
    random.Random(seed).shuffle(rest)
    file = progress_of(*rest)
    assert file.outcome is None
    assert not file.is_ended
    apply(file, SUCCESSFUL[0])
    assert file.is_ended
    assert file.has_succeeded
    assert set(states(file).values()) == {"done"}


def test_rejected_file_ends_at_once_with_its_reason() -> None:
    file = progress_of(example(MediaRejected))
    assert file.is_ended
    assert not file.has_succeeded
    document = file.to_json()
    assert (document["status"], document["reason"]) == ("rejected", "empty")
    assert document["message"] == "empty.mp3 holds no bytes."
    assert document["services"]["ingest"]["status"] == "failed"


def test_duplicate_succeeds_and_names_the_first_file() -> None:
    file = progress_of(example(MediaDuplicated))
    assert file.is_ended
    assert file.has_succeeded
    document = file.to_json()
    assert (document["status"], document["reason"]) == ("duplicate", DuplicateKind.SAME_SOUND)
    assert "file:///music/Night%20Drive.mp3" in document["message"]
    assert list(document["services"]) == ["ingest"]


def test_failed_ingest_job_ends_with_a_rejection() -> None:
    file = progress_of(failed(Service.INGEST, final=False), failed(Service.INGEST))
    assert not file.is_ended, "the rejection is to come"
    apply(file, example(MediaRejected, reason="engine_died"))
    assert file.is_ended
    assert (file.outcome, file.reason) == ("rejected", "engine_died")


@pytest.mark.parametrize("silence_first", [True, False])
def test_highlights_without_a_transcript_end_at_the_silence(*, silence_first: bool) -> None:
    events = [silence(), failed(Service.TRANSCRIPTION)]
    file = progress_of(ready(Profile.LECTURE), *(events if silence_first else reversed(events)))
    assert file.is_ended
    assert not file.has_succeeded
    assert states(file) == {"ingest": "done", "transcription": "failed", "highlights": "done"}
    assert file.to_json()["status"] == "failed"


def test_silence_is_not_the_end_while_a_transcript_may_come() -> None:
    file = progress_of(ready(Profile.LECTURE), silence(), failed(Service.TRANSCRIPTION, final=False))
    assert not file.is_ended
    apply(file, transcribed())
    assert file.services[Service.TRANSCRIPTION].state is State.DONE
    assert not file.is_ended
    apply(file, example(HighlightsCompleted))
    assert file.is_ended
    assert file.has_succeeded


def test_silence_received_before_media_ready_is_not_the_end_either() -> None:
    file = progress_of(silence(), transcribed(), ready(Profile.LECTURE))
    assert not file.is_ended
    apply(file, example(HighlightsCompleted))
    assert file.is_ended


def test_segments_are_awaited_although_the_join_failed() -> None:
    """The highlights need the transcript but not the speakers."""
    file = progress_of(ready(Profile.MEETING), silence(), transcribed(), example(DiarizationCompleted))
    apply(file, failed(Service.TRANSCRIPTION))
    assert not file.is_ended
    apply(file, example(HighlightsCompleted))
    assert file.is_ended
    assert not file.has_succeeded


@pytest.mark.parametrize("last", ["speakers", "failure"])
def test_speakers_of_the_segments_are_awaited_and_may_fail(last: str) -> None:
    """Segments without speakers are no failure of the highlights."""
    file = progress_of(ready(Profile.MEETING), example(HighlightsCompleted), example(DiarizationCompleted))
    apply(file, transcribed(PipelineVersion.V4))
    assert states(file) == {
        "ingest": "done",
        "transcription": "done",
        "diarization": "done",
        "highlights": "waiting",
    }
    if last == "speakers":
        apply(file, example(HighlightsCompleted, stage=HighlightsStage.SPEAKERS))
    else:
        apply(file, failed(Service.HIGHLIGHTS, kind=HighlightsStage.SPEAKERS))
    assert (file.is_ended, file.has_succeeded) == (True, True)


def test_failed_silence_does_not_fail_the_highlights() -> None:
    file = progress_of(ready(Profile.LECTURE), transcribed(), failed(Service.HIGHLIGHTS, kind=SILENCE))
    assert not file.is_ended
    apply(file, example(HighlightsCompleted))
    assert file.is_ended
    assert file.has_succeeded


def test_failed_segments_fail_the_highlights() -> None:
    file = progress_of(
        ready(Profile.LECTURE), silence(), transcribed(), failed(Service.HIGHLIGHTS, kind=SEGMENTS)
    )
    assert file.is_ended
    assert states(file)["highlights"] == "failed"


@pytest.mark.parametrize(("words", "turns"), [(22, 7), (0, 7), (22, 0), (0, 0)])
@pytest.mark.parametrize("diarization_first", [True, False])
def test_every_diarization_is_joined_with_the_transcript(
    *, words: int, turns: int, diarization_first: bool
) -> None:
    """The transcription service writes v4 even if there is nothing to join."""
    events: list[Event] = [transcribed(words=words), example(DiarizationCompleted, turn_count=turns)]
    file = progress_of(ready(Profile.SPEECH), *(reversed(events) if diarization_first else events))
    assert not file.is_ended, "v4 is to come"
    apply(file, transcribed(PipelineVersion.V4, words=words))
    assert file.is_ended
    assert file.has_succeeded


@pytest.mark.parametrize("diarization_first", [True, False])
def test_failed_diarization_is_not_waited_for(*, diarization_first: bool) -> None:
    events = [transcribed(), failed(Service.DIARIZATION)]
    file = progress_of(ready(Profile.SPEECH), *(reversed(events) if diarization_first else events))
    assert file.is_ended
    assert not file.has_succeeded
    assert states(file) == {"ingest": "done", "transcription": "done", "diarization": "failed"}


def test_profile_without_diarization_has_no_join() -> None:
    file = progress_of(ready(Profile.LECTURE), transcribed())
    assert file.services[Service.TRANSCRIPTION].state is State.DONE


def test_failed_join_fails_the_transcription() -> None:
    file = progress_of(ready(Profile.SPEECH), transcribed(), example(DiarizationCompleted))
    apply(file, failed(Service.TRANSCRIPTION))
    assert file.is_ended
    assert not file.has_succeeded


def test_profile_starts_only_the_services_that_it_needs() -> None:
    file = progress_of(ready(Profile.MUSIC), example(MusicAnalyzed), example(TracklistCompleted))
    assert file.is_ended
    assert set(states(file)) == {"ingest", "analysis", "tracklist"}


def test_unknown_profile_counts_as_auto() -> None:
    assert states(progress_of(ready("podcast"))) == states(progress_of(ready()))


def test_progress_is_shown_until_the_end_and_ignored_after_it() -> None:
    file = progress_of(ready(Profile.MUSIC), progressed(Service.ANALYSIS, 0.4))
    analysis = file.services[Service.ANALYSIS]
    assert (analysis.state, analysis.progress, analysis.stage) == (State.WORKING, 0.4, "recognising")
    apply(file, example(MusicAnalyzed))
    apply(file, progressed(Service.ANALYSIS, 0.9))
    assert (analysis.state, analysis.progress) == (State.DONE, 0.4)
    apply(file, failed(Service.TRACKLIST))
    apply(file, progressed(Service.TRACKLIST))
    assert file.services[Service.TRACKLIST].state is State.FAILED
    assert file.is_ended


def test_reason_of_a_failed_attempt_is_cleared_when_the_next_one_succeeds() -> None:
    file = progress_of(ready(Profile.MUSIC), failed(Service.ANALYSIS, final=False))
    assert file.services[Service.ANALYSIS].reason == "engine_died"
    apply(file, example(MusicAnalyzed))
    apply(file, example(TracklistCompleted))
    assert file.has_succeeded
    assert file.services[Service.ANALYSIS].reason is None


def test_reason_of_an_empty_result_is_reported() -> None:
    job = JobSummary(job_id=example(MusicAnalyzed).job.job_id, service=Service.ANALYSIS, reason="silence")
    file = progress_of(ready(Profile.MUSIC), example(MusicAnalyzed, job=job, bpm=None))
    assert file.to_json()["services"]["analysis"]["reason"] == "silence"
    assert file.services[Service.ANALYSIS].state is State.DONE


def test_every_event_raises_the_offset_that_the_graph_must_reach() -> None:
    file = progress_of()
    for partition, offset in [(0, 7), (1, 3), (0, 8)]:
        apply(file, example(MediaMoved), partition=partition, offset=offset)
    assert file.offsets == {("media-moved", 0): 8, ("media-moved", 1): 3}


def test_one_line_per_change_is_printed_on_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    printer, file = LinePrinter(), progress_of(ready(Profile.MUSIC))
    printer([file])
    for progress in (0.1, 0.2):
        apply(file, progressed(Service.ANALYSIS, progress))
        printer([file])
    apply(file, example(MusicAnalyzed))
    printer([file])
    printer([file])
    assert capsys.readouterr().out.splitlines() == [
        "/music/Night Drive.mp3: ingest done 4.2 s",
        "/music/Night Drive.mp3: analysis working",
        "/music/Night Drive.mp3: analysis done 4.2 s",
    ]


def test_event_of_an_unknown_service_is_ignored() -> None:
    file = progress_of(
        ready(Profile.MUSIC), progressed("lyrics"), example(MusicAnalyzed), example(TracklistCompleted)
    )
    assert file.is_ended


def test_file_ends_when_silence_and_transcription_both_failed() -> None:
    file = progress_of(
        ready(Profile.LECTURE), failed(Service.HIGHLIGHTS, kind=SILENCE), failed(Service.TRANSCRIPTION)
    )
    assert file.is_ended
    assert not file.has_succeeded


def test_late_silence_does_not_replace_engine_and_reason_of_the_segments() -> None:
    job = example(HighlightsCompleted).job
    segments = example(HighlightsCompleted, job=job.model_copy(update={"reason": "too_short"}))
    late = example(HighlightsCompleted, stage=SILENCE, job=job.model_copy(update={"engine": "ffmpeg"}))
    file = progress_of(ready(Profile.LECTURE), transcribed(), segments, late)
    highlights = file.services[Service.HIGHLIGHTS]
    assert (highlights.engine, highlights.reason) == ("tfidf", "too_short")


def test_repeated_event_counts_once() -> None:
    file = progress_of()
    received = ReceivedEvent("music-analyzed", 0, 5, envelope(example(MusicAnalyzed), source="analysis"))
    file.apply(received)
    file.apply(received)
    assert file.services[Service.ANALYSIS].seconds == 4.2


def test_name_that_is_not_utf_8_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    file = FileProgress(os.fsdecode(b"/music/caf\xe9.mp3"), "c1")
    apply(file, ready(Profile.MUSIC))
    LinePrinter()([file])
    assert "caf\ufffd.mp3: ingest done" in capsys.readouterr().out
    Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8")).print(progress_table([file], 1.0))
