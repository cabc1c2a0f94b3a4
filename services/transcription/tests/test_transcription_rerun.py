"""Running the transcription again on real servers: new versions, requested engines and models, refusals."""

import os
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.scratch import wait_until_consumed
from tests.support.stack import Stack, running

from phonograph_events import (
    Envelope,
    Facts,
    JobFailed,
    JobProgressed,
    MediaReady,
    Options,
    RerunRequested,
    TranscriptionCompleted,
)
from phonograph_events.documents import TranscriptDocument
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.engines import EngineChoice, EnginePlan, WhisperOptions
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.tasks import TranscribeTask
from phonograph_transcription.domain.transcript import Transcript
from phonograph_transcription.exceptions import BadOptionsError
from phonograph_transcription.inference.engine import TranscriptionEngine
from phonograph_transcription.main import create_app

from .support.tiny_whisper import make_tiny_whisper
from .test_transcription_service import Scenario, sample_of_talk, transcripts, wav


class SilentTranscriber(Transcriber):
    """A transcriber that recognizes nothing."""

    name, model = "silent", "none"

    @property
    def settings(self) -> Facts:
        return {"device": "cpu"}

    def load(self) -> None:
        """Load nothing."""

    def predict(
        self, samples: NDArray[np.float32], *, language: str | None, progress: Progress
    ) -> Transcript:
        return Transcript("silent", "none", language, None)


SETTINGS = EnginePlan(EngineChoice.AUTO, WhisperOptions(model="base", beam_size=4))


@pytest.fixture
def scenario(stack: Stack, tmp_path: Path, correlation_id: str) -> Scenario:
    return Scenario(stack, tmp_path, correlation_id, tmp_path / "models")


@pytest.fixture
async def spoken(scenario: Scenario, tmp_path: Path) -> AsyncIterator[MediaReady]:
    """A recording that has a transcript and speakers, while the service runs."""
    ready = scenario.ready(wav(tmp_path / "talk.wav", sample_of_talk(tmp_path)), options={"language": "en"})
    async with scenario.service():
        await scenario.publish(ready)
        await scenario.publish(scenario.diarized(ready.media, (0.4, 5.0, "S1"), (5.2, 8.9, "S2")))
        await scenario.results((ready, "v4"))
        yield ready


def rerun(ready: MediaReady, **options: Any) -> RerunRequested:
    return RerunRequested(media_id=ready.media_id, service="transcription", **options)


async def collect(scenario: Scenario, *, transcripts_in_all: int = 0, failures: int = 0) -> list[Envelope]:
    return await scenario.stack.collect(
        lambda found: len(transcripts(found)) >= transcripts_in_all and len(failed(found)) >= failures,
        correlation_id=scenario.correlation_id,
        timeout_s=120,
    )


def failed(events: list[Envelope]) -> list[JobFailed]:
    return [event.data for event in events if isinstance(event.data, JobFailed) and event.data.final]


async def test_another_model_makes_a_new_version_and_the_old_one_stays(
    scenario: Scenario, spoken: MediaReady
) -> None:
    """A request that is sent twice makes one version, with its speakers; rows state what was asked and ran.

    Shows T1-07, T1-09 and T1-14.
    """
    make_tiny_whisper(scenario.folder / "models" / "tiny")
    request = await scenario.publish(
        rerun(spoken, model="tiny", language="de", reason="A better one.", requested_by="anna")
    )
    await scenario.stack.send(request.to_record())
    await collect(scenario, transcripts_in_all=4)
    # Another request shows that nothing else follows from the first.
    await scenario.publish(rerun(spoken, engine="pocketsphinx", preset="fast"))
    events = transcripts(await collect(scenario, transcripts_in_all=6))

    results: list[TranscriptionCompleted] = sorted(
        (e.data for e in events), key=lambda result: result.version
    )
    ids = [result.result_id for result in results]
    assert [(r.pipeline_version, r.version, r.parent_result_id, r.job.model) for r in results] == [
        ("v1", 1, None, "en-us"),
        ("v4", 2, ids[0], "en-us"),
        ("v1", 3, None, "tiny"),
        ("v4", 4, ids[2], "tiny"),
        ("v1", 5, None, "en-us"),
        ("v4", 6, ids[4], "en-us"),
    ]
    assert [result.warnings for result in results[:3]] == [["engine_fallback"], ["engine_fallback"], []]
    assert {event.causationid for event in events if event.data.version in {3, 4}} == {request.id}
    documents = [
        TranscriptDocument.model_validate_json(scenario.objects.get(result.document_uri))
        for result in results
    ]
    assert [(each.engine, each.language) for each in documents] == [
        *[("pocketsphinx", "en")] * 2,
        *[("faster-whisper", "de")] * 2,
        *[("pocketsphinx", "en")] * 2,
    ]

    rows = await scenario.rows(
        "SELECT kind, processing_options, model_config FROM transcription_jobs WHERE media_file_id = :id"
        " AND kind = 'transcribe' ORDER BY id",
        id=spoken.media_id,
    )
    plain, other, third = [(row.processing_options, row.model_config) for row in rows]
    sphinx = {
        "engine": "pocketsphinx",
        "model": "en-us",
        "language": "en",
        "device": "cpu",
        "beam": 1e-60,
        "response_format": "verbose_json",
    }
    assert plain == ({"language": "en"}, sphinx)
    asked = {"language": "de", "model": "tiny", "requested_by": "anna", "request_reason": "A better one."}
    assert other[0] == asked
    assert other[1] == {
        "engine": "faster-whisper",
        "model": "tiny",
        "language": "de",
        "response_format": "verbose_json",
        "device": "cpu",
        "compute_type": "int8_float32",
        "beam_size": 5,
        "batch_size": 8,
        "temperature": 0.0,
    }
    assert third == ({"language": "en", "engine": "pocketsphinx", "preset": "fast"}, sphinx)
    assert (results[2].job.requested, results[2].job.used) == other
    stored = await scenario.rows(
        "SELECT version, model_config ->> 'engine' AS engine, model_config ->> 'model' AS model"
        " FROM transcription_results WHERE media_file_id = :id AND pipeline_version = 'v1' ORDER BY version",
        id=spoken.media_id,
    )
    assert [tuple(row) for row in stored] == [
        (1, "pocketsphinx", "en-us"),
        (3, "faster-whisper", "tiny"),
        (5, "pocketsphinx", "en-us"),
    ]


async def test_request_that_cannot_be_met_fails_with_a_reason_and_the_service_goes_on(
    scenario: Scenario, spoken: MediaReady
) -> None:
    stranger = spoken.model_copy(update={"media_id": scenario.ready(None).media_id})
    requests = {
        "unknown_recording": rerun(stranger),
        "bad_options": rerun(spoken, speakers=2),
        "no such engine": rerun(spoken, engine="kaldi"),
        "no such model": rerun(spoken, model="small"),
        "another folder": rerun(spoken, model="../models/tiny"),
        "no such preset": rerun(spoken, preset="perfect"),
    }
    sent = {name: await scenario.publish(event) for name, event in requests.items()}
    await scenario.publish(rerun(spoken))
    events = await collect(scenario, transcripts_in_all=4, failures=len(requests))
    by_cause = {event.causationid: event.data for event in events if isinstance(event.data, JobFailed)}
    failures = {name: by_cause[request.id] for name, request in sent.items()}
    assert {name: (failure.reason, failure.attempt) for name, failure in failures.items()} == {
        "unknown_recording": ("unknown_recording", 1),
        "bad_options": ("bad_options", 1),
        "no such engine": ("bad_options", 1),
        "no such model": ("model_missing", 1),
        "another folder": ("bad_options", 1),
        "no such preset": ("bad_options", 1),
    }
    assert "phonograph models fetch small" in failures["no such model"].message
    assert failures["no such model"].requested == {"language": "en", "model": "small"}
    assert len(transcripts(events)) == 4


@contextmanager
def own_process(scenario: Scenario) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service as a process, whose jobs another one may take three seconds after its death."""
    values = scenario.settings.model_dump(mode="json", exclude_none=True)
    values |= {"lease": "PT3S", "database_url": scenario.settings.database_url.get_secret_value()}
    environment = {f"TRANSCRIPTION_{name.upper()}": str(value) for name, value in values.items()}
    command = Path(sys.executable).parent / "phonograph-transcription"
    with subprocess.Popen([command], env=dict(os.environ) | environment) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_rerun_whose_service_is_killed_makes_one_version(scenario: Scenario, tmp_path: Path) -> None:
    """The job goes on elsewhere: one version for a request, however often it was sent (T1-14)."""
    samples = np.tile(sample_of_talk(tmp_path), 5)
    ready = scenario.ready(wav(tmp_path / "long.wav", samples), options={"preset": "fast"})
    async with scenario.service():
        await scenario.publish(ready)
        await scenario.results((ready, "v1"))
    with own_process(scenario):
        request = await scenario.publish(rerun(ready, preset="accurate"))
        await scenario.stack.send(request.to_record())
        await scenario.stack.collect(
            lambda found: any(
                isinstance(event.data, JobProgressed) and event.causationid == request.id for event in found
            ),
            correlation_id=scenario.correlation_id,
        )
    before = transcripts(await collect(scenario, transcripts_in_all=1))
    async with running(create_app(scenario.settings), backlog=True):
        await scenario.stack.send(request.to_record())
        events = transcripts(await collect(scenario, transcripts_in_all=2))
    jobs = await scenario.rows(
        "SELECT status, retry_count, processing_options ->> 'preset' FROM transcription_jobs"
        " WHERE media_file_id = :id ORDER BY id",
        id=ready.media_id,
    )
    assert len(before) == 1
    assert [event.data.version for event in events] == [1, 2]
    assert events[1].data.job.attempt == 2
    assert [tuple(job) for job in jobs] == [("completed", 0, "fast"), ("completed", 1, "accurate")]


async def test_recording_of_another_profile_can_be_transcribed_on_request(
    scenario: Scenario, tmp_path: Path
) -> None:
    music = scenario.ready(wav(tmp_path / "talk.wav", sample_of_talk(tmp_path)), profile="music")
    async with scenario.service() as app:
        await wait_until_consumed(app.database, await scenario.publish(music))
        await scenario.publish(rerun(music))
        (result,) = await scenario.results((music, "v1"))
    assert result.data.version == 1


def test_one_model_is_in_memory_and_stays_while_it_is_wanted(scenario: Scenario, tmp_path: Path) -> None:
    media = scenario.ready(wav(tmp_path / "quiet.wav", np.zeros(16_000))).media
    loaded: list[str] = []

    def select(plan: EnginePlan) -> tuple[Transcriber, tuple[()]]:
        assert gone is None or gone() is None, "the other model is still in memory"
        loaded.append(plan.whisper.model)
        transcriber = SilentTranscriber()
        remember(transcriber)
        return transcriber, ()

    gone: weakref.ref[SilentTranscriber] | None = None

    def remember(transcriber: SilentTranscriber) -> None:
        nonlocal gone
        gone = weakref.ref(transcriber)

    engine = TranscriptionEngine(
        scenario.objects, plan=SETTINGS, select=select, is_present=lambda _name: True
    )
    for model in ("base", "base", "tiny", "tiny", None):
        options = Options(engine="faster-whisper", model=model) if model else None
        engine.transcribe(TranscribeTask(media=media, changed_options=options), lambda _done, _stage: None)
    assert loaded == ["base", "tiny", "base"]


@pytest.mark.parametrize(
    ("options", "present", "expected"),
    [
        ({}, "", (EngineChoice.AUTO, "base", 4)),
        ({"preset": "balanced"}, "small", (EngineChoice.AUTO, "base", 4)),
        ({"preset": "fast"}, "small", (EngineChoice.AUTO, "base", 1)),
        ({"preset": "accurate"}, "tiny base small", (EngineChoice.AUTO, "small", 10)),
        ({"preset": "accurate"}, "tiny", (EngineChoice.AUTO, "base", 10)),
        (
            {"preset": "accurate", "language": "en"},
            "base distil-large-v3",
            (EngineChoice.AUTO, "distil-large-v3", 10),
        ),
        ({"preset": "accurate", "language": "de"}, "base distil-large-v3", (EngineChoice.AUTO, "base", 10)),
        ({"preset": "accurate", "model": "tiny"}, "small", (EngineChoice.FASTER_WHISPER, "tiny", 10)),
        ({"model": "owner/repository"}, "", (EngineChoice.FASTER_WHISPER, "owner/repository", 4)),
        ({"engine": "pocketsphinx"}, "", (EngineChoice.POCKETSPHINX, "base", 4)),
    ],
)
def test_plan_follows_from_the_options_and_the_models_on_the_machine(
    options: dict[str, str], present: str, expected: tuple[EngineChoice, str, int]
) -> None:
    plan = SETTINGS.adapt(Options(**options), lambda name: name in present.split())
    assert (plan.choice, plan.whisper.model, plan.whisper.beam_size) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "kaldi"},
        {"preset": "perfect"},
        {"model": "/etc"},
        {"model": ".."},
        {"model": "a/b/c"},
        {"engine": "pocketsphinx", "model": "base"},
    ],
)
def test_plan_is_refused_if_options_name_nothing_that_exists(options: dict[str, str]) -> None:
    with pytest.raises(BadOptionsError):
        SETTINGS.adapt(Options(**options), lambda _name: True)
