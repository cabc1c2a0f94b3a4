"""`phonograph rerun`: which recordings are selected, what it would take, and the progress of a request."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tests.support.stack import Stack
from tests.support.system import run_command

from phonograph_cli.errors import BadFilterError
from phonograph_cli.progress import FileProgress
from phonograph_cli.reruns import Term
from phonograph_events import (
    DiarizationCompleted,
    HighlightsCompleted,
    HighlightsStage,
    JobFailed,
    PipelineVersion,
    RerunRequested,
    Service,
)

from .test_cli_history import write_transcript
from .test_cli_progress import apply, example, failed, states, transcribed
from .test_cli_recordings import TALK, Archive, archive, named, ready

__all__ = ["archive"]

OTHER = UUID("0198bbbb-1111-7000-8000-000000000001")


@pytest.fixture
async def library(archive: Archive) -> Archive:
    """Two recordings of 61.5 s: one recognized by pocketsphinx, the other not at all."""
    await archive.write(ready())
    await write_transcript(archive, "first", 1, "words", engine="pocketsphinx", seconds=12.3)
    await archive.write(
        ready(OTHER).model_copy(
            update={"media": ready(OTHER).media.model_copy(update={"uri": "file:///music/other.mp4"})}
        )
    )
    return archive


async def requests_of(stack: Stack, correlation_ids: list[str]) -> list[RerunRequested]:
    found = []
    for correlation_id in correlation_ids:
        (sent,) = await stack.collect(lambda events: len(events) == 1, correlation_id=correlation_id)
        assert isinstance(sent.data, RerunRequested)
        found.append(sent.data)
    return found


async def test_dry_run_tells_what_it_would_take_and_requests_nothing(library: Archive, stack: Stack) -> None:
    command = ("rerun", "--service", "transcription", "--dry-run")
    plain = await run_command(stack.project, *command, str(TALK), "/music/other.mp4")
    assert plain.code == 0, plain.err
    assert "2 recordings, 0.03 hours, transcription. Nothing was requested." in plain.out
    assert "Estimated time: 0:25 of one worker, from 1 earlier job with pocketsphinx m." in plain.out

    other = await run_command(stack.project, *command, str(TALK), "--model", "small", "--json")
    assert (other.json["estimated_s"], other.json["measured_jobs"]) == (None, 0)
    assert [each["media_id"] for each in other.json["recordings"]] == [str(TALK)]
    same = await run_command(stack.project, *command, str(TALK), "--engine", "pocketsphinx", "--json")
    assert same.json["estimated_s"] == 12.3
    unknown = await run_command(stack.project, *command, str(TALK), "--preset", "accurate")
    assert "Estimated time: unknown" in unknown.out


@pytest.mark.parametrize(
    ("conditions", "selected"),
    [
        (["engine=pocketsphinx"], True),
        (["model!=base"], True),
        (["model!=m"], False),
        (["warning=engine_fallback"], False),
        (["warning!=engine_fallback", "kind=video", "profile=auto"], True),
        (["kind=audio"], False),
        (["before=2000-01-01"], False),
        (["after=2000-01-01T12:00"], True),
        (["owner=anna"], False),
    ],
)
async def test_filter_selects_by_the_newest_result(
    library: Archive, stack: Stack, conditions: list[str], *, selected: bool
) -> None:
    options = [text for condition in conditions for text in ("--where", condition)]
    found = await run_command(
        stack.project, "rerun", "--service", "transcription", "--dry-run", "--json", *options
    )
    assert [each["media_id"] for each in found.json["recordings"]] == ([str(TALK)] if selected else [])


async def test_request_names_every_recording_that_is_known(library: Archive, stack: Stack) -> None:
    sent = await run_command(
        stack.project, "rerun", "--service", "diarization", "--speakers", "2", "--reason", "Two people.",
        "--json", str(TALK), "0198bbbb", "/music/nothing.mp3",
    )  # fmt: skip
    assert (sent.code, "/music/nothing.mp3 is unknown" in sent.err) == (1, True)
    requests = await requests_of(stack, [each["correlation_id"] for each in sent.json])
    assert [(each.media_id, each.service, each.speakers) for each in requests] == [
        (TALK, "diarization", 2),
        (OTHER, "diarization", 2),
    ]
    assert requests[0].reason == "Two people."
    assert requests[0].requested_by is not None
    assert requests[0].requested_by.startswith("cli:")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--service", "ingest", "x"], "There is no service with results 'ingest'"),
        (["--service", "analysis"], "Name the recordings, or select them with --where."),
        (["--service", "analysis", "x", "--where", "kind=audio"], "Name the recordings, or select"),
        (["--service", "analysis", "--where", "size>3"], "is no condition"),
    ],
)
async def test_wrong_usage_is_one_sentence(stack: Stack, arguments: list[str], sentence: str) -> None:
    answer = await run_command(stack.project, "rerun", *arguments)
    assert (answer.code, sentence in answer.err, answer.out) == (2, True, "")


@pytest.mark.parametrize(
    "text",
    ["", "engine", "engine=", "colour=red", "kind=film", "profile=noise", "before!=2026-01-01", "after=x"],
)
def test_condition_that_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(BadFilterError):
        Term.parse(text)


def test_dates_without_an_offset_are_in_utc() -> None:
    assert Term.parse("before=2026-11-25").value == datetime(2026, 11, 25, tzinfo=UTC)


def rerun_of(service: Service, **facts: bool) -> FileProgress:
    known = {"is_segmented": False, "has_speakers": False, "is_transcribed": False}
    return FileProgress.of_rerun("talk", "c1", str(named("talk")), service, **known | facts)


def segments(stage: HighlightsStage = HighlightsStage.SEGMENTS) -> HighlightsCompleted:
    return example(HighlightsCompleted, stage=stage)


def test_transcription_ends_with_its_speakers_and_highlights() -> None:
    file = rerun_of(Service.TRANSCRIPTION, has_speakers=True, is_segmented=True)
    for event in (transcribed(), segments(), transcribed(PipelineVersion.V4)):
        apply(file, event)
        assert not file.is_ended
    apply(file, segments(HighlightsStage.SPEAKERS))
    assert states(file) == {"transcription": "done", "highlights": "done"}
    assert file.has_succeeded


def test_diarization_ends_with_its_transcript() -> None:
    file = rerun_of(Service.DIARIZATION, is_transcribed=True)
    apply(file, example(DiarizationCompleted))
    assert not file.is_ended
    apply(file, transcribed(PipelineVersion.V4))
    assert file.has_succeeded


@pytest.mark.parametrize(
    ("service", "facts"),
    [
        (Service.TRANSCRIPTION, {"has_speakers": True, "is_segmented": True}),
        (Service.DIARIZATION, {"is_transcribed": True}),
        (Service.HIGHLIGHTS, {}),
        (Service.ANALYSIS, {}),
    ],
)
def test_nothing_follows_from_a_failure(service: Service, facts: dict[str, Any]) -> None:
    file = rerun_of(service, **facts)
    apply(file, failed(service, kind="rerun"))
    assert file.is_ended
    assert file.failed_services == [service]
    message = example(JobFailed).message
    assert file.services[service].message == message
