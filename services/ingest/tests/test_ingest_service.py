"""New, duplicate and unusable files through the running service, on real servers."""

import asyncio
import os
import shutil
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import av
import numpy as np
import pytest
from libs.media.tests.recordings import noise, write_sound, write_timed, write_tracks
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
    """Write noise that no other file contains, or digital silence."""
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
    """The servers, with the service running until the module ends."""
    folder = tmp_path_factory.mktemp("ingest")
    async with running(create_app(Settings(**stack.settings(Service.INGEST, folder)))):
        yield stack


async def ingest(stack: Stack, uri: str | Path, **request: Any) -> Any:
    """Request a file; return the event that reports the outcome."""
    return (await ingest_envelope(stack, uri, **request)).data


async def ingest_envelope(stack: Stack, uri: str | Path, **request: Any) -> Envelope:
    """Request a file; return the outcome with its envelope."""
    correlation_id = str(uuid7())
    await stack.publish(IngestRequested(uri=str(uri), **request), correlation_id=correlation_id)
    events = await stack.collect(
        lambda collected: isinstance(collected[-1].data, OUTCOMES), correlation_id=correlation_id
    )
    return events[-1]


async def fetch_count(stack: Stack, query: str, *arguments: Any) -> int:
    connection = await asyncpg.connect(stack.database_url(Service.INGEST).replace("+asyncpg", ""))
    try:
        rows: int = await connection.fetchval(query, *arguments)
        return rows
    finally:
        await connection.close()


async def test_new_file_is_described_and_its_rendition_stored(service: Stack, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "Ein Lied.wav", seconds=2.5)
    envelope = await ingest_envelope(
        service, path, profile=Profile.SPEECH, owner="me", priority=7, options=Options(language="de")
    )
    ready = envelope.data
    assert isinstance(ready, MediaReady)
    media = ready.media
    assert envelope.subject == str(media.media_id)
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
    assert await fetch_count(service, rows, media.media_id) == 1


async def test_copy_of_a_file_is_a_duplicate_of_the_first(service: Stack, tmp_path: Path) -> None:
    first = await ingest(service, write_wav(tmp_path / "first.wav"))
    copy = Path(shutil.copy(tmp_path / "first.wav", tmp_path / "second.wav"))
    duplicate = await ingest(service, copy)
    assert isinstance(duplicate, MediaDuplicated)
    assert (duplicate.duplicate, duplicate.media_id) == ("same_bytes", first.media_id)
    assert (duplicate.uri, duplicate.media.uri) == (copy.as_uri(), first.media.uri)
    where = "SELECT count(*) FROM media_locations WHERE media_file_id = $1"
    assert await fetch_count(service, where, first.media_id) == 2


async def test_one_file_of_two_owners_is_registered_for_each(service: Stack, tmp_path: Path) -> None:
    """C-13: one row per hash and owner."""
    path = write_wav(tmp_path / "shared.wav")
    mine, yours = await ingest(service, path, owner="me"), await ingest(service, path, owner="you")
    assert isinstance(mine, MediaReady)
    assert isinstance(yours, MediaReady)
    assert mine.media_id != yours.media_id


async def test_two_silent_files_are_not_duplicates(service: Stack, tmp_path: Path) -> None:
    first = await ingest(service, write_wav(tmp_path / "a.wav", silent=True, rate=16_000))
    second = await ingest(service, write_wav(tmp_path / "b.wav", silent=True, rate=8_000))
    assert isinstance(first, MediaReady)
    assert isinstance(second, MediaReady)
    assert first.media.content_fp == second.media.content_fp


async def test_request_id_makes_a_repeated_request_do_nothing(service: Stack, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "once.wav")
    first = await ingest(service, path, request_id="playout-1")
    again = str(uuid7())
    await service.publish(IngestRequested(uri=str(path), request_id="playout-1"), correlation_id=again)
    await ingest(service, write_wav(tmp_path / "later.wav"))
    jobs = "SELECT count(*) FROM ingest_jobs WHERE cause->>'correlation_id' = $1"
    assert isinstance(first, MediaReady)
    assert await fetch_count(service, jobs, again) == 0
    keyed = "SELECT count(*) FROM ingest_jobs WHERE dedupe_key = $1"
    assert await fetch_count(service, keyed, "|playout-1") == 1


async def test_twenty_concurrent_requests_for_one_file_register_it_once(
    service: Stack, tmp_path: Path
) -> None:
    path = write_wav(tmp_path / "popular.wav")
    outcomes = await asyncio.gather(*(ingest(service, path) for _ in range(20)))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["MediaDuplicated"] * 19 + ["MediaReady"]
    assert len({outcome.media_id for outcome in outcomes}) == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.mp3", None, "missing"),
        ("empty.mp3", b"", "empty"),
        ("text.mp3", b"Dear reader, this is no music.\n" * 100, "not_media"),
    ],
)
async def test_unusable_file_is_rejected_and_the_next_one_is_ingested(
    service: Stack, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    rejected = await ingest(service, tmp_path / name)
    assert isinstance(rejected, MediaRejected)
    assert (rejected.reason, rejected.file_name) == (reason, name)
    assert rejected.uri == (tmp_path / name).as_uri()
    again = await ingest(service, tmp_path / name)
    assert again.media_id == rejected.media_id, "one rejection per URI"
    good = await ingest(service, write_wav(tmp_path / "good.wav"))
    assert isinstance(good, MediaReady)


@pytest.mark.parametrize(
    ("uri", "request_fields", "reason"),
    [
        ("https://example.org/a.mp3", {}, "unsupported_scheme"),
        ("file:///music/%FF.mp3", {}, "bad_name"),
        ("/", {}, "directory"),
        ("relative.mp3", {}, "relative_path"),
        ("/music/a.mp3", {"profile": "podcast"}, "unknown_profile"),
    ],
)
async def test_impossible_request_is_rejected_with_a_reason(
    service: Stack, uri: str, request_fields: dict[str, Any], reason: str
) -> None:
    rejected = await ingest(service, uri, **request_fields)
    assert isinstance(rejected, MediaRejected)
    assert rejected.reason == reason


async def test_rejected_file_is_ingested_once_it_exists(service: Stack, tmp_path: Path) -> None:
    path = tmp_path / "late.wav"
    assert isinstance(await ingest(service, path), MediaRejected)
    write_wav(path)
    assert isinstance(await ingest(service, path), MediaReady)


async def test_file_with_huge_tags_is_ingested_with_a_warning(service: Stack, tmp_path: Path) -> None:
    """Lyrics and a picture of 5 MB each cost themselves; the event stays within the limit of its topic."""
    path = tmp_path / "huge.flac"
    with av.open(str(path), "w", format="flac") as file:
        file.metadata.update(
            title="Title", artist="Artist", lyrics="la " * 1_700_000, coverart="A" * 5_600_000
        )
        stream = file.add_stream("flac", rate=16_000, layout="mono")
        samples = np.random.default_rng().integers(-3_000, 3_000, (1, 16_000), dtype="int16")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16_000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    envelope = await ingest_envelope(service, path)
    ready = envelope.data
    assert isinstance(ready, MediaReady)
    assert (ready.tags["title"], ready.tags["artist"]) == (["Title"], ["Artist"])
    assert len(envelope.model_dump_json()) < 100_000
    assert ["lyrics" in said or "coverart" in said for said in ready.warnings] == [True, True]


async def test_track_is_chosen_by_the_request_and_the_others_are_named(
    service: Stack, tmp_path: Path
) -> None:
    rng = np.random.default_rng(uuid7().int)
    sounds = [rng.uniform(-0.5, 0.5, 16_000 * seconds) for seconds in (2, 3, 4)]
    path = write_tracks(tmp_path / "three.mkv", *sounds, titles=["desk", "room", "guest"])
    unknown = await ingest(service, path, options=Options(track=4))
    assert isinstance(unknown, MediaRejected)
    assert unknown.reason == "unknown_track"
    ready = await ingest(service, path, options=Options(track=2))
    assert isinstance(ready, MediaReady)
    assert ready.media.duration_s == pytest.approx(3, abs=0.1)
    (warning,) = ready.warnings
    assert "track 2 (room) was taken" in warning
    assert "left out: track 1 (desk), track 3 (guest)" in warning
    mixed = await ingest(service, path, options=Options(track="all"), owner="another")
    assert isinstance(mixed, MediaReady)
    assert mixed.media.duration_s == pytest.approx(4, abs=0.1)


async def test_swapped_poles_and_missing_sound_are_warnings_of_the_event(
    service: Stack, tmp_path: Path
) -> None:
    sound = noise(4, channels=1, seed=uuid7().int)
    swapped = write_sound(tmp_path / "swapped.flac", np.concatenate([sound, -sound]), codec="flac")
    ready = await ingest(service, swapped)
    assert isinstance(ready, MediaReady)
    assert ready.warnings[0].startswith("channels_cancel: in 4.0 s of 4.0 s (100%)")
    late = write_timed(
        tmp_path / "late.mkv", sound, lambda at_s: 3.0 + at_s + (2 if at_s > 1 else 0), codec="flac"
    )
    ready = await ingest(service, late)
    assert isinstance(ready, MediaReady)
    assert ready.media.duration_s == pytest.approx(9, abs=0.05)
    assert ready.warnings[0].startswith("gaps_filled: 2.0 s of 9.0 s (22%)")
