"""A file that cannot be used raises an error with a reason code and a plain sentence."""

import contextlib
import os
import random

import av
import numpy as np
import pytest
from libs.media.tests.recordings import noise, truncate, write_film, write_sound

from phonograph_media import (
    MediaError,
    cut,
    decode_mono,
    decode_stereo,
    find_blank_frames,
    find_silences,
    make_rendition,
    probe,
    read_rendition,
    write_thumbnail,
)


def refusal_reason(path, tmp_path):
    target = tmp_path / "rendition.wav"
    with pytest.raises(MediaError) as caught:
        make_rendition(path, target)
    assert not target.exists()
    assert not list(tmp_path.glob("*.part*"))
    assert caught.value.message == str(caught.value)
    assert caught.value.message.endswith(".")
    caught.value.message.encode()
    return caught.value.reason


def test_missing_file_empty_file_and_directory_have_separate_reasons(tmp_path):
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "folder.mp3").mkdir()
    assert refusal_reason(tmp_path / "nowhere.mp3", tmp_path) == "missing"
    assert refusal_reason(tmp_path / "empty.mp3" / "below.mp3", tmp_path) == "missing"
    assert refusal_reason(tmp_path / "empty.mp3", tmp_path) == "empty"
    assert refusal_reason(tmp_path / "folder.mp3", tmp_path) == "directory"


def test_every_function_refuses_a_file_with_the_same_reason(tmp_path):
    path = tmp_path / "noise.mp3"
    path.write_bytes(random.Random(5).randbytes(50_000))
    calls = [
        probe,
        decode_mono,
        decode_stereo,
        find_silences,
        find_blank_frames,
        lambda path: make_rendition(path, tmp_path / "o.wav"),
        lambda path: cut(path, tmp_path / "o.mp4", 0, 1),
        lambda path: write_thumbnail(path, tmp_path / "o.jpg", 0),
    ]
    for call in calls:
        with pytest.raises(MediaError) as caught:
            call(path)
        assert caught.value.reason == "not_media"
        assert "noise.mp3" in caught.value.message


@pytest.mark.parametrize(
    "name", ["a.mp3", "a.wav", "a.flac", "a.m4a", "a.aac", "a.ogg", "a.mp4", "a.mkv", "a.bin"]
)
def test_random_bytes_are_not_media(tmp_path, name):
    for seed in range(12):
        path = tmp_path / name
        path.write_bytes(random.Random(seed).randbytes(1_000 + 9_000 * seed))
        assert refusal_reason(path, tmp_path) == "not_media", seed


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("notes.txt", "One two three.\n" * 50),
        ("song.mp3", "One two three.\n" * 50),
        ("lines.srt", "1\n00:00:01,000 --> 00:00:02,000\nHello\n\n"),
        (
            "list.m3u8",
            "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        ),
        ("list.ffconcat", "ffconcat version 1.0\nfile 'a.wav'\n"),
    ],
)
def test_text_is_not_media(tmp_path, name, text):
    write_sound(tmp_path / "a.wav", noise(1), codec="pcm_s16le")
    (tmp_path / name).write_text(text)
    assert refusal_reason(tmp_path / name, tmp_path) == "not_media"


def test_picture_and_silent_film_have_no_audio(tmp_path):
    film = write_film(tmp_path / "mute.mp4", 2, has_sound=False)
    write_thumbnail(film, tmp_path / "picture.jpg", 0.5)
    assert probe(film).audio is None
    assert refusal_reason(film, tmp_path) == "no_audio"
    assert refusal_reason(tmp_path / "picture.jpg", tmp_path) == "no_audio"


def test_wav_without_samples_has_no_audio(tmp_path):
    whole = write_sound(tmp_path / "whole.wav", noise(1), codec="pcm_s16le").read_bytes()
    header = bytearray(whole[: whole.index(b"data") + 8])
    header[4:8] = (len(header) - 8).to_bytes(4, "little")
    header[-4:] = bytes(4)
    (tmp_path / "header.wav").write_bytes(header)
    assert refusal_reason(tmp_path / "header.wav", tmp_path) == "no_audio"


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp3", "libmp3lame", {}),
        ("a.mp3", "libmp3lame", {"compression_level": "2", "qscale": "4"}),
        ("a.flac", "flac", {}),
        ("a.wav", "pcm_s16le", {}),
        ("a.m4a", "aac", {}),
        ("a.mka", "pcm_s16le", {}),
        ("a.aiff", "pcm_s16be", {}),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_truncated_sound_is_refused(tmp_path, name, codec, options, share):
    whole = write_sound(tmp_path / name, noise(6), codec=codec, options=options)
    assert refusal_reason(truncate(whole, tmp_path / f"short-{name}", share), tmp_path) == "truncated"


@pytest.mark.parametrize(("name", "share"), [("a.mp4", 0.5), ("a.mkv", 0.5), ("a.mp4", 0.9)])
def test_truncated_film_is_refused(tmp_path, name, share):
    whole = write_film(tmp_path / name, 8)
    assert refusal_reason(truncate(whole, tmp_path / f"short-{name}", share), tmp_path) == "truncated"


def test_truncated_mp4_with_a_leading_index_is_refused(tmp_path):
    whole = write_sound(tmp_path / "a.m4a", noise(6), codec="aac", muxing={"movflags": "+faststart"})
    assert whole.read_bytes().index(b"moov") < whole.read_bytes().index(b"mdat")
    assert refusal_reason(truncate(whole, tmp_path / "short.m4a", 0.6), tmp_path) == "truncated"


def test_mp3_without_a_stated_length_is_never_truncated(tmp_path):
    whole = write_sound(tmp_path / "a.mp3", noise(6), codec="libmp3lame", muxing={"write_xing": "0"})
    data = (tmp_path / "a.mp3").read_bytes()
    assert b"Info" not in data
    assert b"Xing" not in data
    short = truncate(whole, tmp_path / "b.mp3", 0.5)
    assert make_rendition(short, tmp_path / "o.wav").duration_s == pytest.approx(3, abs=0.1)


def test_film_longer_than_its_sound_is_complete(tmp_path):
    for name in ("a.mkv", "a.mp4"):
        path = tmp_path / name
        with av.open(str(path), "w") as file:
            sound = file.add_stream("aac", rate=44_100, layout="mono")
            picture = file.add_stream("libx264", rate=5)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            frame = av.AudioFrame.from_ndarray(noise(2, channels=1), format="s16", layout="mono")
            frame.sample_rate = 44_100
            file.mux(sound.encode(frame))
            file.mux(sound.encode(None))
            for _ in range(50):
                file.mux(
                    picture.encode(
                        av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
                    )
                )
            file.mux(picture.encode(None))
        assert make_rendition(path, tmp_path / "o.wav").duration_s == pytest.approx(2, abs=0.1), name


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.mp3", "libmp3lame")])
def test_damaged_end_is_skipped_with_a_warning(tmp_path, name, codec):
    whole = write_sound(tmp_path / name, noise(10), codec=codec)
    data = bytearray(whole.read_bytes())
    start = len(data) * 97 // 100
    data[start:] = random.Random(1).randbytes(len(data) - start)
    (tmp_path / f"damaged-{name}").write_bytes(data)
    rendition = make_rendition(tmp_path / f"damaged-{name}", tmp_path / "o.wav")
    assert 9 < rendition.duration_s < 10
    assert rendition.warnings
    assert make_rendition(whole, tmp_path / "o.wav").warnings == ()


def test_completely_damaged_sound_is_not_media(tmp_path):
    whole = write_sound(tmp_path / "a.m4a", noise(4), codec="aac")
    data = bytearray(whole.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = random.Random(2).randbytes(end - start)
    (tmp_path / "b.m4a").write_bytes(data)
    assert refusal_reason(tmp_path / "b.m4a", tmp_path) == "not_media"


def test_file_name_that_is_not_utf8_is_accepted(tmp_path):
    whole = write_sound(tmp_path / "a.mp3", noise(2), codec="libmp3lame")
    odd = tmp_path / os.fsdecode(b"caf\xe9 \xff.mp3")
    odd.write_bytes(whole.read_bytes())
    assert probe(odd) == probe(whole)
    assert make_rendition(odd, tmp_path / "1.wav") == make_rendition(whole, tmp_path / "2.wav")
    cut(odd, tmp_path / os.fsdecode(b"clip\xff.m4a"), 0.5, 1.0)
    odd.write_bytes(b"")
    assert refusal_reason(odd, tmp_path) == "empty"
    with pytest.raises(MediaError) as caught:
        probe(tmp_path / "a\0b.mp3")
    assert caught.value.reason == "bad_name"
    with pytest.raises(MediaError) as caught:
        probe(tmp_path / "\ud800.mp3")
    assert caught.value.reason == "bad_name"
    caught.value.message.encode()


def test_names_that_look_like_urls_or_patterns_are_plain_files(tmp_path, monkeypatch):
    whole = write_sound(tmp_path / "a.mp3", noise(1), codec="libmp3lame")
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a.mp3", "http:a.mp3", "take%03d.mp3", "-i.mp3"):
        (tmp_path / name).write_bytes(whole.read_bytes())
        assert probe(type(tmp_path)(name)).duration_s == pytest.approx(1, abs=0.1)


def test_tags_that_are_not_utf8_are_read(tmp_path):
    path = write_sound(tmp_path / "a.flac", noise(1), codec="flac", tags={"title": "Cafexyz"})
    path.write_bytes(path.read_bytes().replace(b"Cafexyz", b"Caf\xe9xyz"))
    assert probe(path).tags["title"] == "Caf\ufffdxyz"


def test_unreadable_file_is_refused(tmp_path):
    path = write_sound(tmp_path / "a.wav", noise(1), codec="pcm_s16le")
    path.chmod(0)
    if os.geteuid() != 0:
        assert refusal_reason(path, tmp_path) == "unreadable"
        return
    path.parent.chmod(0o755)
    child = os.fork()
    if child == 0:
        # Permissions do not apply to root: open the file as another user.
        code = 1
        try:
            os.setuid(65_534)
            probe(path)
        except MediaError as error:
            code = 0 if error.reason == "unreadable" else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert refusal_reason(tmp_path / "pipe.wav", tmp_path) == "unreadable"


def test_read_rendition_refuses_other_files(tmp_path):
    with pytest.raises(MediaError) as caught:
        read_rendition(tmp_path / "none.wav")
    assert caught.value.reason == "missing"
    other = write_sound(tmp_path / "a.wav", noise(1), codec="pcm_s16le")
    for path in (other, write_sound(tmp_path / "a.mp3", noise(1), codec="libmp3lame")):
        with pytest.raises(MediaError) as caught:
            read_rendition(path)
        assert caught.value.reason == "unsupported"


def test_random_damage_raises_only_media_errors(tmp_path):
    rng = random.Random(11)
    sources = [
        write_film(tmp_path / "a.ts", 3),
        write_film(tmp_path / "a.mkv", 3),
        write_film(tmp_path / "a.mp4", 3),
        write_sound(tmp_path / "a.flac", noise(2), codec="flac"),
        write_sound(tmp_path / "a.mp3", noise(2), codec="libmp3lame"),
        write_sound(tmp_path / "a.ogg", noise(2, 48_000), codec="libopus", rate=48_000),
    ]
    for round_number in range(60):
        source = sources[round_number % len(sources)]
        data = bytearray(source.read_bytes())
        for _ in range(rng.choice([1, 20, 200])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        damaged = tmp_path / f"damaged{source.suffix}"
        damaged.write_bytes(data)
        for call in (
            probe,
            find_silences,
            find_blank_frames,
            lambda path: cut(path, tmp_path / "c.mp4", 0.5, 1),
            lambda path: write_thumbnail(path, tmp_path / "t.jpg", 1),
        ):
            with contextlib.suppress(MediaError):
                call(damaged)


def test_truncated_rendition_is_refused(tmp_path):
    make_rendition(write_sound(tmp_path / "a.wav", noise(2), codec="pcm_s16le"), tmp_path / "whole.wav")
    with pytest.raises(MediaError, match="ends early") as caught:
        read_rendition(truncate(tmp_path / "whole.wav", tmp_path / "half.wav", 0.5))
    assert caught.value.reason == "truncated"
