"""Files through the running service: new, known, rotten; on real servers."""

import asyncio
import os
import shutil
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.support.stack import Stack, running

from phonograph_events import (
    Envelope,
    IngestRequested,
    MediaDuplicated,
    MediaReady,
    MediaRejected,
    Options,
    Profile,
    Service,
    uuid7,
)
from phonograph_ingest.config import Settings
from phonograph_ingest.main import create_app
from phonograph_runtime.objects import ObjectStore

OUTCOMES = (MediaReady, MediaDuplicated, MediaRejected)


def write_wav(path: Path, *, silent: bool = False, seconds: float = 1.0, rate: int = 16_000) -> Path:
    """Noise that no other file has, or digital silence."""
    count = int(seconds * rate)
    samples = bytes(2 * count) if silent else os.urandom(2 * count)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return path


@pytest.fixture(scope="module")
async def service(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The service at work until the module ends."""
    folder = tmp_path_factory.mktemp("ingest")
    async with running(create_app(Settings(**stack.settings(Service.INGEST, folder)))):
        yield stack


async def take_in(stack: Stack, uri: str | Path, **about: Any) -> Any:
    """Ask for a file; the event that tells what became of it."""
    return (await take_in_whole(stack, uri, **about)).data


async def take_in_whole(stack: Stack, uri: str | Path, **about: Any) -> Envelope:
    correlation_id = str(uuid7())
    await stack.publish(IngestRequested(uri=str(uri), **about), correlation_id=correlation_id)
    events = await stack.collect(
        lambda found: isinstance(found[-1].data, OUTCOMES), correlation_id=correlation_id
    )
    return events[-1]


async def count(stack: Stack, query: str, *arguments: Any) -> int:
    connection = await asyncpg.connect(stack.database_url(Service.INGEST).replace("+asyncpg", ""))
    try:
        found: int = await connection.fetchval(query, *arguments)
        return found
    finally:
        await connection.close()


async def test_new_file_is_measured_and_its_rendition_kept(service: Stack, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "Ein Lied.wav", seconds=2.5)
    whole = await take_in_whole(
        service, path, profile=Profile.SPEECH, owner="me", priority=7, options=Options(language="de")
    )
    ready = whole.data
    assert isinstance(ready, MediaReady)
    media = ready.media
    assert whole.subject == str(media.media_id)
    assert (media.file_name, media.uri, media.kind) == ("Ein Lied.wav", path.as_uri(), "audio")
    assert (media.file_size, media.duration_s) == (path.stat().st_size, 2.5)
    assert media.mime_type in {"audio/wav", "audio/x-wav", "audio/wave"}
    assert (media.profile, media.owner, media.priority, media.options.language) == ("speech", "me", 7, "de")
    assert media.content_fp.startswith("pcm16k1:")
    assert (ready.audio.sample_rate_hz, ready.audio.channels, ready.video) == (16_000, 1, None)
    store = ObjectStore(media.rendition_uri.partition("/renditions/")[0])
    rendition = store.local_path(media.rendition_uri)
    assert rendition is not None
    with wave.open(str(rendition), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16_000, 1, 40_000)
    rows = "SELECT count(*) FROM audio_processing_metadata WHERE media_file_id = $1"
    assert await count(service, rows, media.media_id) == 1


async def test_same_bytes_elsewhere_name_the_first(service: Stack, tmp_path: Path) -> None:
    first = await take_in(service, write_wav(tmp_path / "first.wav"))
    copy = Path(shutil.copy(tmp_path / "first.wav", tmp_path / "second.wav"))
    known = await take_in(service, copy)
    assert isinstance(known, MediaDuplicated)
    assert (known.duplicate, known.media_id) == ("same_bytes", first.media_id)
    assert (known.uri, known.media.uri) == (copy.as_uri(), first.media.uri)
    where = "SELECT count(*) FROM media_locations WHERE media_file_id = $1"
    assert await count(service, where, first.media_id) == 2


async def test_two_owners_have_a_file_each(service: Stack, tmp_path: Path) -> None:
    """C-13: one row per hash and owner."""
    path = write_wav(tmp_path / "shared.wav")
    mine, yours = await take_in(service, path, owner="me"), await take_in(service, path, owner="you")
    assert isinstance(mine, MediaReady)
    assert isinstance(yours, MediaReady)
    assert mine.media_id != yours.media_id


async def test_silence_does_not_make_two_files_one(service: Stack, tmp_path: Path) -> None:
    first = await take_in(service, write_wav(tmp_path / "a.wav", silent=True, rate=16_000))
    second = await take_in(service, write_wav(tmp_path / "b.wav", silent=True, rate=8_000))
    assert isinstance(first, MediaReady)
    assert isinstance(second, MediaReady)
    assert first.media.content_fp == second.media.content_fp


async def test_request_with_the_producers_own_id_is_done_once(service: Stack, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "once.wav")
    first = await take_in(service, path, request_id="playout-1")
    again = str(uuid7())
    await service.publish(IngestRequested(uri=str(path), request_id="playout-1"), correlation_id=again)
    await take_in(service, write_wav(tmp_path / "later.wav"))
    jobs = "SELECT count(*) FROM ingest_jobs WHERE cause->>'correlation_id' = $1"
    assert isinstance(first, MediaReady)
    assert await count(service, jobs, again) == 0


async def test_twenty_requests_for_one_file_at_once_make_one(service: Stack, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "popular.wav")
    outcomes = await asyncio.gather(*(take_in(service, path) for _ in range(20)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["MediaDuplicated"] * 19 + ["MediaReady"]
    assert len({outcome.media_id for outcome in outcomes}) == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.mp3", None, "missing"),
        ("empty.mp3", b"", "empty"),
        ("letter.mp3", b"Dear reader, this is no music.\n" * 100, "not_media"),
    ],
)
async def test_rotten_file_is_rejected_and_the_next_is_taken(
    service: Stack, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    rejected = await take_in(service, tmp_path / name)
    assert isinstance(rejected, MediaRejected)
    assert (rejected.reason, rejected.file_name) == (reason, name)
    assert rejected.uri == (tmp_path / name).as_uri()
    again = await take_in(service, tmp_path / name)
    assert again.media_id == rejected.media_id, "one rejection per address"
    good = await take_in(service, write_wav(tmp_path / "good.wav"))
    assert isinstance(good, MediaReady)


@pytest.mark.parametrize(
    ("uri", "about", "reason"),
    [
        ("https://example.org/a.mp3", {}, "unsupported_scheme"),
        ("file:///music/%FF.mp3", {}, "bad_name"),
        ("/", {}, "directory"),
        ("relative.mp3", {}, "relative_path"),
        ("/music/a.mp3", {"profile": "podcast"}, "unknown_profile"),
    ],
)
async def test_request_that_cannot_be_met_says_why(
    service: Stack, uri: str, about: dict[str, Any], reason: str
) -> None:
    rejected = await take_in(service, uri, **about)
    assert isinstance(rejected, MediaRejected)
    assert rejected.reason == reason


async def test_rejected_file_is_taken_once_it_is_mended(service: Stack, tmp_path: Path) -> None:
    path = tmp_path / "late.wav"
    assert isinstance(await take_in(service, path), MediaRejected)
    write_wav(path)
    assert isinstance(await take_in(service, path), MediaReady)
