"""Speech recognition: word errors, speed and memory against faster-whisper without the service.

Both sides use the same model, threads and batch, on recordings whose words are known. The speed does not
include loading the model, the memory does.
"""

import asyncio
import json
import resource
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Goal
from tests.support.stack import ROOT, Stack
from tests.support.system import SAMPLES
from tests.support.word_errors import word_error_rate

from phonograph_media import SAMPLE_RATE_HZ, make_rendition, open_rendition, read_rendition
from phonograph_models import ModelCache
from phonograph_transcription.config import default_threads

RECORDINGS = ROOT.parent / "shared" / "data"
MODEL = "base"
COMPUTE_TYPE = "int8"
BATCH_SIZE = 8
BEAM_SIZE = 5
GOALS = {"jfk.flac": 0.0, "sample.wav": 12.0, "talk.ogg": 0.0, "lecture.mp4": 1.0}
"""Largest word error rate of each recording, in percent."""
JFK = (
    "And so my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)

Recognize = Callable[[Path], str]


def references() -> dict[Path, str]:
    """Return what is said in each recording that is on this machine."""
    truth = json.loads((SAMPLES / "truth.json").read_text())
    texts = {SAMPLES / name: truth[name]["text"] for name in ("talk.ogg", "lecture.mp4")}
    if RECORDINGS.is_dir():
        utterances = (RECORDINGS / "sample.stm").read_text().splitlines()
        texts |= {
            RECORDINGS / "jfk.flac": JFK,
            RECORDINGS / "sample.wav": " ".join(line.split(maxsplit=5)[5] for line in utterances),
        }
    return texts


def measure(bench: Bench) -> list[Figure]:
    """Measure both sides; with `PHONOGRAPH_BENCH_SPEECH_HOURS`, also the memory of a long recording."""
    rounds = bench.compare(__name__, "ours", "bare")
    against = f"faster-whisper, {MODEL} {COMPUTE_TYPE}, batch {BATCH_SIZE}"
    figures = [
        Figure(
            f"speech_errors_{path.stem}",
            f"word error rate, {path.name}",
            rounds.median("ours", path.name) or 0.0,
            "%",
            rounds.median("bare", path.name),
            against,
            Goal("value", at_most=GOALS[path.name]),
            rounds.median("base", path.name),
        )
        for path in references()
    ]
    figures += [
        Figure(
            "speech_speed",
            "speech recognized per second",
            rounds.median("ours", "per_s") or 0.0,
            "s/s",
            rounds.median("bare", "per_s"),
            against,
            Goal("ratio", at_least=0.95),
            rounds.median("base", "per_s"),
            rounds.spread("per_s"),
        ),
        Figure(
            "speech_memory",
            "peak memory of the process",
            rounds.median("ours", "peak_mb") or 0.0,
            "MB",
            rounds.median("bare", "peak_mb"),
            against,
            base=rounds.median("base", "peak_mb"),
        ),
    ]
    if hours := bench.number("SPEECH_HOURS", 0):
        bench.side(__name__, "write", hours=hours)
        result = bench.side(__name__, "long", hours=hours)
        figures += [
            Figure(
                "speech_long_memory",
                f"peak memory, {hours} h",
                result["peak_mb"],
                "MB",
                goal=Goal("value", at_most=1500),
            ),
            Figure("speech_long_speed", f"speech recognized per second, {hours} h", result["per_s"], "s/s"),
        ]
    return figures


async def ours(stack: Stack) -> dict[str, float]:
    """Recognize each recording as the engine of the service does: a side of `measure`."""
    return await asyncio.to_thread(_measure_side, _load_ours(), stack.project.home)


async def bare(stack: Stack) -> dict[str, float]:
    """Recognize each recording with the batched pipeline of faster-whisper: a side of `measure`."""
    return await asyncio.to_thread(_measure_side, _load_bare(), stack.project.home)


async def write(stack: Stack, *, hours: int) -> dict[str, int]:
    """Write the recording of `long`, in a process whose memory does not count.

    Args:
        stack: unused servers, whose folder keeps the recording.
        hours: its length.
    """
    path = stack.project.home / "long.wav"
    await asyncio.to_thread(write_long, path, hours * 3600)
    return {"bytes": path.stat().st_size}


async def long(stack: Stack, *, hours: int) -> dict[str, float]:
    """Recognize a long recording, which is removed: a side of `measure`.

    Args:
        stack: unused servers, whose folder has the recording.
        hours: its length.
    """
    path = stack.project.home / "long.wav"
    recognize = _load_ours()
    started = time.perf_counter()
    # In the main thread, as in the child process of the service.
    text = recognize(path)
    seconds = time.perf_counter() - started
    path.unlink()
    return {
        "per_s": hours * 3600 / seconds,
        "seconds": seconds,
        "peak_mb": _peak_mb(),
        "words": len(text.split()),
    }


def write_long(path: Path, seconds: int) -> None:
    """Write a rendition of all recordings in turn, with room noise of different lengths between them.

    Args:
        path: the file.
        seconds: its length.
    """
    parts = []
    for number, source in enumerate(references()):
        part = path.with_name(f"part{number}.wav")
        make_rendition(source, part)
        parts.append((read_rendition(part) * 32_767).astype("<i2"))
        part.unlink()
    rng = np.random.default_rng(5)
    missing = seconds * SAMPLE_RATE_HZ
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        while missing > 0:
            for part in parts:
                pause = rng.normal(0, 30, int(rng.uniform(0.5, 20) * SAMPLE_RATE_HZ)).astype("<i2")
                samples = np.concatenate([part, pause])[: max(missing, 0)]
                file.writeframes(samples.tobytes())
                missing -= samples.size


def _measure_side(recognize: Recognize, folder: Path) -> dict[str, float]:
    result: dict[str, float] = {}
    spoken_s = seconds = 0.0
    for path, reference in references().items():
        rendition = folder / "rendition.wav"
        spoken_s += make_rendition(path, rendition).duration_s
        started = time.perf_counter()
        text = recognize(rendition)
        seconds += time.perf_counter() - started
        result[path.name] = 100 * word_error_rate(reference, text)
        rendition.unlink()
    return result | {"per_s": spoken_s / seconds, "peak_mb": _peak_mb()}


def _load_ours() -> Recognize:
    from phonograph_transcription.inference.whisper import WhisperTranscriber

    transcriber = WhisperTranscriber(
        _model_folder(),
        model_name=MODEL,
        device="cpu",
        compute_type=COMPUTE_TYPE,
        batch_size=BATCH_SIZE,
        beam_size=BEAM_SIZE,
        threads=default_threads(),
    )
    transcriber.load()

    def recognize(path: Path) -> str:
        with open_rendition(path) as samples:
            return transcriber.predict(samples, language=None, progress=lambda *_: None).text

    return recognize


def _load_bare() -> Recognize:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        str(_model_folder()), device="cpu", compute_type=COMPUTE_TYPE, cpu_threads=default_threads()
    )
    pipeline = BatchedInferencePipeline(model)

    def texts(path: Path) -> Iterator[Any]:
        segments, _ = pipeline.transcribe(
            read_rendition(path), batch_size=BATCH_SIZE, beam_size=BEAM_SIZE, word_timestamps=True
        )
        for segment in segments:
            yield segment.text

    return lambda path: " ".join(texts(path))


def _model_folder() -> Path:
    return ModelCache().fetch(MODEL, lambda _: None)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
