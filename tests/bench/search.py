"""Text search in the transcripts of 1,000 hours, compared with a plain ILIKE scan of the same segments.

Speech is imitated by words whose frequencies follow Zipf's law, 15 to a segment and 700 segments to an hour.
One segment of each hour contains a phrase and one a name, for which the search then looks.
"""

import json
import random
import time
from collections.abc import Iterator
from itertools import accumulate, product
from statistics import median
from typing import Any

import asyncpg
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Goal
from tests.support.stack import Stack

from phonograph_cli import transcript_search
from phonograph_cli.transcript_search import Filters
from phonograph_events import Service, uuid7

SEGMENTS = 700
"""Segments of one hour."""
WORDS = 15
"""Words of one segment."""
BATCH = 25
RUNS = 10
"""Searches of each kind in a round."""
MAX_MS = 100
QUERIES = {
    "a name": "Kowalczyk",
    "a phrase": '"minutes of the meeting"',
    "two words": "minutes Kowalczyk",
    "the most frequent word": "baba",
    "a mistyped name": "Kowalczik",
}


def measure(bench: Bench) -> list[Figure]:
    """Measure the milliseconds of a search."""
    bench.side(__name__, "fill", hours=bench.number("SEARCH_HOURS", 1000))
    rounds = bench.compare(__name__, "ours", "bare")
    return [
        Figure(
            f"search_{name.replace(' ', '_')}",
            f"search for {name}",
            rounds.median("ours", name) or 0,
            "ms",
            rounds.median("bare", name),
            "a plain ILIKE scan",
            Goal("value", at_most=MAX_MS),
            rounds.median("base", name),
            rounds.spread(name),
        )
        for name in QUERIES
    ]


async def fill(stack: Stack, *, hours: int) -> dict[str, float]:
    """Store one recording per hour, in English and German; return the seconds that it took."""
    started = time.perf_counter()
    chance = random.Random(18)
    connection = await _connect(stack)
    try:
        for first in range(0, hours, BATCH):
            jobs, results = [], []
            for hour in range(first, min(first + BATCH, hours)):
                job_id, media_id = uuid7(), uuid7()
                segments = json.dumps(list(_segments(chance)))
                content = json.dumps({"text": "", "language": ("en", "de")[hour % 2]})
                task = json.dumps({"media": {"file_name": f"meeting {hour}.wav"}})
                jobs.append((job_id, media_id, "transcribe", "completed", task))
                results.append((uuid7(), job_id, media_id, "x", content, segments, "bench"))
            await connection.copy_records_to_table(
                "transcription_jobs", records=jobs, columns=["id", "media_file_id", "kind", "status", "task"]
            )
            await connection.copy_records_to_table(
                "transcription_results",
                records=results,
                columns=[
                    "id", "job_id", "media_file_id", "document_uri", "content", "segments", "engine",
                ],
            )  # fmt: skip
        await connection.execute(
            "VACUUM ANALYZE transcript_segments, transcript_words, transcription_results"
        )
        assert await connection.fetchval("SELECT count(*) FROM transcript_segments") >= hours * SEGMENTS
    finally:
        await connection.close()
    return {"seconds": time.perf_counter() - started}


async def ours(stack: Stack) -> dict[str, float]:
    """Return the milliseconds of each search as the command line does it, without the connection."""
    async with transcript_search.connect(stack.database_url(Service.TRANSCRIPTION)) as connection:
        figures = {}
        for name, words in QUERIES.items():
            times_ms = []
            for _ in range(RUNS):
                started = time.perf_counter()
                passages = await transcript_search.search(connection, words, Filters(), 20)
                times_ms.append((time.perf_counter() - started) * 1000)
                assert passages.matches, name
                assert passages.are_similar == ("mistyped" in name)
            figures[name] = median(times_ms)
        return figures


async def bare(stack: Stack) -> dict[str, float]:
    """Return the milliseconds of a scan for the same words."""
    connection = await _connect(stack)
    try:
        figures = {}
        for name, words in QUERIES.items():
            pattern = "%{}%".format("%".join(words.strip('"').split()))
            started = time.perf_counter()
            await connection.fetch(
                "SELECT result_id, start_time, text FROM transcript_segments WHERE text ILIKE $1"
                " ORDER BY start_time, result_id LIMIT 20",
                pattern,
            )
            figures[name] = (time.perf_counter() - started) * 1000
        return figures
    finally:
        await connection.close()


async def _connect(stack: Stack) -> "asyncpg.Connection[Any]":
    url = stack.database_url(Service.TRANSCRIPTION).replace("+asyncpg", "")
    return await asyncpg.connect(url)


SYLLABLES = [a + b for a, b in product("bdfgklmnprst", "aeiou")]
VOCABULARY = ["".join(parts) for length in (2, 3) for parts in product(SYLLABLES[:40], repeat=length)]
WEIGHTS = list(accumulate(1 / rank for rank in range(1, len(VOCABULARY) + 1)))


def _segments(chance: random.Random) -> Iterator[dict[str, Any]]:
    words = iter(chance.choices(VOCABULARY, cum_weights=WEIGHTS, k=SEGMENTS * WORDS))
    for number in range(SEGMENTS):
        said = [next(words) for _ in range(WORDS)]
        if number == 7:
            said[5:8] = ["minutes", "of", "the", "meeting"]
        if number == 8:
            said[12:] = ["Kowalczyk", "minutes"]
        yield {
            "start": number * 5.0,
            "end": number * 5.0 + 4.5,
            "speaker": f"S{number % 3}",
            "confidence": 0.9,
            "text": " ".join(said),
        }
