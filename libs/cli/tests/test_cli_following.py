"""What `ingest --follow` makes of the events that one request leads to."""

import io
import os
import random
from typing import Any, TypeVar

import pytest
from rich.console import Console

from phonograph_cli.following import FileProgress, State
from phonograph_cli.ingesting import PlainPrinter
from phonograph_cli.kafka import Seen
from phonograph_cli.rendering import live_table
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
    make_envelope,
)
from phonograph_events.examples import EXAMPLES

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


WELL: list[Event] = [
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
]


def followed(*events: Event) -> FileProgress:
    file = FileProgress("/music/Night Drive.mp3", "c1")
    for event in events:
        see(file, event)
    return file


def see(file: FileProgress, event: Event, *, partition: int = 0, offset: int = 0) -> None:
    file.apply(Seen(event.TOPIC, partition, offset, make_envelope(event, source="test")))


def states(file: FileProgress) -> dict[str, str]:
    return {service.value: mark.state.value for service, mark in file.marks.items()}


def test_all_is_well_when_every_service_has_answered() -> None:
    file = FileProgress("/music/Night Drive.mp3", "c1")
    assert states(file) == {"ingest": "waiting"}
    for number, event in enumerate(WELL):
        assert not file.ended, f"ended before {WELL[number:]}"
        see(file, event)
    assert file.ended
    assert file.ok
    told = file.to_json()
    assert (told["status"], told["media_id"]) == ("ready", str(WELL[0].media_id))
    assert set(told["services"]) == set(Service) - {Service.GRAPH_SYNC}
    assert {service["status"] for service in told["services"].values()} == {"done"}
    assert told["services"]["analysis"] == {
        "status": "done",
        "reason": None,
        "engine": "essentia",
        "seconds": 4.2,
    }
    assert told["services"]["transcription"]["seconds"] == 8.4, "v1 and v4 together"


@pytest.mark.parametrize("seed", range(20))
def test_order_of_events_does_not_matter(seed: int) -> None:
    """Topics are read side by side: media-ready may be the last event that is seen."""
    rest = WELL[1:]
    random.Random(seed).shuffle(rest)
    file = followed(*rest)
    assert file.outcome is None
    assert not file.ended
    see(file, WELL[0])
    assert file.ended
    assert file.ok
    assert set(states(file).values()) == {"done"}


def test_rejected_file_ends_at_once_and_says_why() -> None:
    file = followed(example(MediaRejected))
    assert file.ended
    assert not file.ok
    told = file.to_json()
    assert (told["status"], told["reason"]) == ("rejected", "empty")
    assert told["message"] == "empty.mp3 holds no bytes."
    assert told["services"]["ingest"]["status"] == "failed"


def test_duplicate_ends_well_and_names_the_first_one() -> None:
    file = followed(example(MediaDuplicated))
    assert file.ended
    assert file.ok
    told = file.to_json()
    assert (told["status"], told["reason"]) == ("duplicate", DuplicateKind.SAME_SOUND)
    assert "file:///music/Night%20Drive.mp3" in told["message"]
    assert list(told["services"]) == ["ingest"]


def test_ingest_that_gives_up_says_so_with_a_rejection() -> None:
    file = followed(failed(Service.INGEST, final=False), failed(Service.INGEST))
    assert not file.ended, "the rejection is to come"
    see(file, example(MediaRejected, reason="engine_died"))
    assert file.ended
    assert (file.outcome, file.reason) == ("rejected", "engine_died")


@pytest.mark.parametrize("silence_first", [True, False])
def test_without_a_transcript_silence_is_all_that_highlights_give(*, silence_first: bool) -> None:
    events = [silence(), failed(Service.TRANSCRIPTION)]
    file = followed(ready(Profile.LECTURE), *(events if silence_first else reversed(events)))
    assert file.ended
    assert not file.ok
    assert states(file) == {"ingest": "done", "transcription": "failed", "highlights": "done"}
    assert file.to_json()["status"] == "failed"


def test_silence_is_not_the_end_while_words_may_come() -> None:
    file = followed(ready(Profile.LECTURE), silence(), failed(Service.TRANSCRIPTION, final=False))
    assert not file.ended
    see(file, transcribed())
    assert file.marks[Service.TRANSCRIPTION].state is State.DONE
    assert not file.ended
    see(file, example(HighlightsCompleted))
    assert file.ended
    assert file.ok


def test_silence_seen_before_the_file_is_not_the_end_either() -> None:
    file = followed(silence(), transcribed(), ready(Profile.LECTURE))
    assert not file.ended
    see(file, example(HighlightsCompleted))
    assert file.ended


def test_segments_are_awaited_though_the_join_failed() -> None:
    """The words are there: what becomes of the speakers is nothing to the highlights."""
    file = followed(ready(Profile.MEETING), silence(), transcribed(), example(DiarizationCompleted))
    see(file, failed(Service.TRANSCRIPTION))
    assert not file.ended
    see(file, example(HighlightsCompleted))
    assert file.ended
    assert not file.ok


def test_silence_that_fails_does_not_fail_the_highlights() -> None:
    file = followed(ready(Profile.LECTURE), transcribed(), failed(Service.HIGHLIGHTS, kind=SILENCE))
    assert not file.ended
    see(file, example(HighlightsCompleted))
    assert file.ended
    assert file.ok


def test_segments_that_fail_fail_the_highlights() -> None:
    file = followed(
        ready(Profile.LECTURE), silence(), transcribed(), failed(Service.HIGHLIGHTS, kind=SEGMENTS)
    )
    assert file.ended
    assert states(file)["highlights"] == "failed"


@pytest.mark.parametrize(("words", "turns"), [(22, 7), (0, 7), (22, 0), (0, 0)])
@pytest.mark.parametrize("diarization_first", [True, False])
def test_every_diarization_is_joined_with_the_words(
    *, words: int, turns: int, diarization_first: bool
) -> None:
    """The transcription service writes v4 even where there is nothing to join."""
    events: list[Event] = [transcribed(words=words), example(DiarizationCompleted, turn_count=turns)]
    file = followed(ready(Profile.SPEECH), *(reversed(events) if diarization_first else events))
    assert not file.ended, "v4 is to come"
    see(file, transcribed(PipelineVersion.V4, words=words))
    assert file.ended
    assert file.ok


@pytest.mark.parametrize("diarization_first", [True, False])
def test_diarization_that_fails_is_not_waited_for(*, diarization_first: bool) -> None:
    events = [transcribed(), failed(Service.DIARIZATION)]
    file = followed(ready(Profile.SPEECH), *(reversed(events) if diarization_first else events))
    assert file.ended
    assert not file.ok
    assert states(file) == {"ingest": "done", "transcription": "done", "diarization": "failed"}


def test_profile_without_diarization_has_no_join() -> None:
    file = followed(ready(Profile.LECTURE), transcribed())
    assert file.marks[Service.TRANSCRIPTION].state is State.DONE


def test_join_that_fails_fails_the_transcription() -> None:
    file = followed(ready(Profile.SPEECH), transcribed(), example(DiarizationCompleted))
    see(file, failed(Service.TRANSCRIPTION))
    assert file.ended
    assert not file.ok


def test_profile_starts_only_what_it_needs() -> None:
    file = followed(ready(Profile.MUSIC), example(MusicAnalyzed), example(TracklistCompleted))
    assert file.ended
    assert set(states(file)) == {"ingest", "analysis", "tracklist"}


def test_unknown_profile_counts_as_auto() -> None:
    assert states(followed(ready("podcast"))) == states(followed(ready()))


def test_progress_is_shown_until_the_end_and_ignored_after_it() -> None:
    file = followed(ready(Profile.MUSIC), progressed(Service.ANALYSIS, 0.4))
    mark = file.marks[Service.ANALYSIS]
    assert (mark.state, mark.progress, mark.stage) == (State.WORKING, 0.4, "recognising")
    see(file, example(MusicAnalyzed))
    see(file, progressed(Service.ANALYSIS, 0.9))
    assert (mark.state, mark.progress) == (State.DONE, 0.4)
    see(file, failed(Service.TRACKLIST))
    see(file, progressed(Service.TRACKLIST))
    assert file.marks[Service.TRACKLIST].state is State.FAILED
    assert file.ended


def test_attempt_that_failed_is_forgotten_when_the_next_one_works() -> None:
    file = followed(ready(Profile.MUSIC), failed(Service.ANALYSIS, final=False))
    assert file.marks[Service.ANALYSIS].reason == "engine_died"
    see(file, example(MusicAnalyzed))
    see(file, example(TracklistCompleted))
    assert file.ok
    assert file.marks[Service.ANALYSIS].reason is None


def test_reason_of_an_empty_result_is_told() -> None:
    job = JobSummary(job_id=example(MusicAnalyzed).job.job_id, service=Service.ANALYSIS, reason="silence")
    file = followed(ready(Profile.MUSIC), example(MusicAnalyzed, job=job, bpm=None))
    assert file.to_json()["services"]["analysis"]["reason"] == "silence"
    assert file.marks[Service.ANALYSIS].state is State.DONE


def test_every_event_moves_the_offset_that_the_graph_must_reach() -> None:
    file = followed()
    for partition, offset in [(0, 7), (1, 3), (0, 8)]:
        see(file, example(MediaMoved), partition=partition, offset=offset)
    assert file.offsets == {("media-moved", 0): 8, ("media-moved", 1): 3}


def test_pipe_gets_one_line_per_change(capsys: pytest.CaptureFixture[str]) -> None:
    printer, file = PlainPrinter(), followed(ready(Profile.MUSIC))
    printer([file])
    for progress in (0.1, 0.2):
        see(file, progressed(Service.ANALYSIS, progress))
        printer([file])
    see(file, example(MusicAnalyzed))
    printer([file])
    printer([file])
    assert capsys.readouterr().out.splitlines() == [
        "/music/Night Drive.mp3: ingest done 4.2 s",
        "/music/Night Drive.mp3: analysis working",
        "/music/Night Drive.mp3: analysis done 4.2 s",
    ]


def test_event_of_a_service_that_this_command_does_not_know_is_passed_over() -> None:
    file = followed(
        ready(Profile.MUSIC), progressed("lyrics"), example(MusicAnalyzed), example(TracklistCompleted)
    )
    assert file.ended


def test_silence_and_words_that_both_failed_are_the_end() -> None:
    file = followed(
        ready(Profile.LECTURE), failed(Service.HIGHLIGHTS, kind=SILENCE), failed(Service.TRANSCRIPTION)
    )
    assert file.ended
    assert not file.ok


def test_late_silence_does_not_hide_what_is_known_of_the_segments() -> None:
    job = example(HighlightsCompleted).job
    segments = example(HighlightsCompleted, job=job.model_copy(update={"reason": "too_short"}))
    late = example(HighlightsCompleted, stage=SILENCE, job=job.model_copy(update={"engine": "ffmpeg"}))
    mark = followed(ready(Profile.LECTURE), transcribed(), segments, late).marks[Service.HIGHLIGHTS]
    assert (mark.engine, mark.reason) == ("tfidf", "too_short")


def test_event_that_comes_twice_counts_once() -> None:
    file = followed()
    seen = Seen("music-analyzed", 0, 5, make_envelope(example(MusicAnalyzed), source="analysis"))
    file.apply(seen)
    file.apply(seen)
    assert file.marks[Service.ANALYSIS].seconds == 4.2


def test_name_that_is_not_utf_8_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    file = FileProgress(os.fsdecode(b"/music/caf\xe9.mp3"), "c1")
    see(file, ready(Profile.MUSIC))
    PlainPrinter()([file])
    assert "caf\ufffd.mp3: ingest done" in capsys.readouterr().out
    Console(file=io.TextIOWrapper(io.BytesIO(), "utf-8")).print(live_table([file], 1.0))
