"""Speaker diarization: errors, speakers, speed and memory of the default engine, beside silero-mfcc.

The number of speakers is open, overlap counts and nothing is ignored. Speed does not include loading.
"""

import asyncio
import json
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Goal
from tests.support.stack import ROOT, Stack
from tests.support.system import SAMPLES

from phonograph_diarization.config import default_threads
from phonograph_diarization.domain.diarization import SpeakerBounds
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.inference.segmentation_ge2e import SegmentationGe2eDiarizer
from phonograph_diarization.inference.silero_mfcc import SileroMfccDiarizer
from phonograph_media import SAMPLE_RATE_HZ, make_rendition, read_rendition
from phonograph_models import ModelCache

RECORDINGS = ROOT.parent / "shared" / "data"
GOALS = {"sample.wav": 8.0, "talk.ogg": 2.0}
"""Largest diarization error rate of each recording, in percent."""
AGAINST = "silero-mfcc"

Turns = list[tuple[float, float, str]]


def references() -> dict[Path, Turns]:
    """Return who speaks when in each recording that is on this machine."""
    talk = json.loads((SAMPLES / "truth.json").read_text())["talk.ogg"]["turns"]
    truth = {SAMPLES / "talk.ogg": [(turn["start"], turn["end"], turn["speaker"]) for turn in talk]}
    if RECORDINGS.is_dir():
        fields = [line.split() for line in (RECORDINGS / "sample.rttm").read_text().splitlines()]
        truth[RECORDINGS / "sample.wav"] = [
            (float(each[3]), float(each[3]) + float(each[4]), each[7]) for each in fields
        ]
    return truth


def measure(bench: Bench) -> list[Figure]:
    """Measure both engines; with `PHONOGRAPH_BENCH_SPEECH_HOURS`, also a long recording."""
    rounds = bench.compare(__name__, "ours", "bare")

    def figure(name: str, what: str, unit: str, goal: Goal | None = None) -> Figure:
        value, baseline, base = (rounds.median(side, name) for side in ("ours", "bare", "base"))
        return Figure(f"speakers_{name}", what, value or 0.0, unit, baseline, AGAINST, goal, base)

    figures = []
    for path, turns in references().items():
        most = Goal("value", at_most=GOALS[path.name])
        count = len({speaker for *_, speaker in turns})
        exactly = Goal("value", at_least=count, at_most=count)
        figures += [
            figure(f"errors_{path.stem}", f"diarization error rate, {path.name}", "%", most),
            figure(f"count_{path.stem}", f"speakers found, {path.name}", f"of {count}", exactly),
        ]
    figures += [
        figure("real_time_factor", "seconds of work per second of sound", "s/s"),
        figure("peak_mb", "peak memory of the process", "MB"),
    ]
    if hours := bench.number("SPEECH_HOURS", 0):
        result = bench.side(__name__, "long", hours=hours)
        most = Goal("value", at_most=1500)
        figures += [
            Figure("speakers_long_memory", f"peak memory, {hours} h", result["peak_mb"], "MB", goal=most),
            Figure("speakers_long_speed", f"work per second, {hours} h", result["real_time_factor"], "s/s"),
        ]
    return figures


async def ours(stack: Stack) -> dict[str, float]:
    """Diarize each recording with the default engine: a side of `measure`."""
    return await asyncio.to_thread(_measure_side, _default_engine(), stack.project.home)


async def bare(stack: Stack) -> dict[str, float]:
    """Diarize each recording without models: a side of `measure`."""
    return await asyncio.to_thread(_measure_side, SileroMfccDiarizer(), stack.project.home)


async def long(stack: Stack, *, hours: float) -> dict[str, float]:
    """Diarize a long recording made of the short ones: a side of `measure`.

    Args:
        stack: unused servers, whose folder keeps the renditions.
        hours: its length.
    """
    parts = [_read(path, stack.project.home) for path in references()]
    samples = np.resize(np.concatenate(parts), int(hours * 3600 * SAMPLE_RATE_HZ))
    diarizer = _default_engine()
    diarizer.load()
    started = time.perf_counter()
    found = await asyncio.to_thread(_predict, diarizer, samples)
    seconds = time.perf_counter() - started
    return {
        "real_time_factor": seconds / (hours * 3600),
        "peak_mb": _peak_mb(),
        "speakers": len(found.voices),
    }


def _default_engine() -> Diarizer:
    return SegmentationGe2eDiarizer(ModelCache(), threads=default_threads())


def _measure_side(diarizer: Diarizer, folder: Path) -> dict[str, float]:
    diarizer.load()
    result: dict[str, float] = {}
    sound_s = seconds = 0.0
    for path, truth in references().items():
        samples = _read(path, folder)
        started = time.perf_counter()
        found = _predict(diarizer, samples)
        seconds += time.perf_counter() - started
        sound_s += samples.size / SAMPLE_RATE_HZ
        turns = [(turn.start_s, turn.end_s, turn.speaker) for turn in found.turns]
        result[f"errors_{path.stem}"] = 100 * diarization_error_rate(truth, turns)
        result[f"count_{path.stem}"] = len(found.voices)
    return result | {"real_time_factor": seconds / sound_s, "peak_mb": _peak_mb()}


def diarization_error_rate(truth: Turns, found: Turns) -> float:
    """Return the share of missed, false and confused time, as pyannote.metrics counts it.

    Args:
        truth: start, end and speaker of the true turns.
        found: the same of those found.
    """

    def annotation(turns: Turns) -> Annotation:
        result = Annotation()
        for number, (start, end, speaker) in enumerate(turns):
            result[Segment(start, end), number] = speaker
        return result

    whole = Timeline([Segment(0, max(end for _, end, _ in [*truth, *found]))])
    return float(DiarizationErrorRate()(annotation(truth), annotation(found), uem=whole))


def _predict(diarizer: Diarizer, samples: NDArray[np.float32]) -> Any:
    return diarizer.predict(samples, bounds=SpeakerBounds(), progress=lambda *_: None)


def _read(path: Path, folder: Path) -> NDArray[np.float32]:
    rendition = folder / "rendition.wav"
    make_rendition(path, rendition)
    try:
        return read_rendition(rendition)
    finally:
        rendition.unlink()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
