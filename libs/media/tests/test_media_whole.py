"""Files that play are taken whole, and what is missing is stated in seconds."""

import random
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from libs.media.tests.recordings import beep_times, beeps, noise, truncate, write_film, write_sound

from phonograph_media import MediaError, cut, decode_mono, make_rendition, read_rendition

FIELD = Path(__file__).parents[4] / "shared" / "field"


def tone(seconds, hz, rate=44_100, channels=2):
    at_s = np.arange(round(seconds * rate)) / rate
    return np.tile((9_000 * np.sin(2 * np.pi * hz * at_s)).astype(np.int16), (channels, 1))


def pitch(samples, rate=16_000):
    return np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples)


def render(path, tmp_path):
    rendition = make_rendition(path, tmp_path / "rendition.wav")
    return rendition, read_rendition(tmp_path / "rendition.wav")


def mp3(path, seconds, hz, kbits):
    return write_sound(path, tone(seconds, hz), codec="libmp3lame", options={"b": f"{kbits}k"}).read_bytes()


def mpeg_like(size, seed=1):
    """Return bytes that contain many headers of MPEG frames, like a picture in a tag may."""
    return (b"\xff\xfb\x90\x64" + random.Random(seed).randbytes(60)) * (size // 64)


def id3_with_picture(size=60_000):
    body = b"\0image/jpeg\0\3\0" + mpeg_like(size)
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    sizes = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + sizes + frame


def ape_tag(size, *, has_header=True):
    item = struct.pack("<II", size, 2) + b"Cover Art (Front)\0" + mpeg_like(size)[:size].ljust(size, b"\0")

    def frame(flags):
        return b"APETAGEX" + struct.pack("<IIII", 2_000, len(item) + 32, 1, flags) + bytes(8)

    return (frame(0xA000_0000) if has_header else b"") + item + frame(0x8000_0000 if has_header else 0)


LYRICS = b"LYRICSBEGIN" + b"LYR03000" + b"a" * 3_000 + b"003019" + b"LYRICS200"
ID3V1 = b"TAG" + b"x" * 125


@pytest.mark.parametrize(
    "tail",
    [
        ape_tag(100_000),
        ape_tag(100_000, has_header=False),
        ape_tag(30_000) + ID3V1,
        LYRICS + ID3V1,
        b"LYRICSBEGIN" + mpeg_like(4_000) + b"LYRICSEND" + ID3V1,
        ape_tag(5_000) + LYRICS + ID3V1,
    ],
    ids=["ape", "ape without header", "ape, id3v1", "lyrics3v2", "lyrics3v1", "all"],
)
@pytest.mark.parametrize("kbits", [32, 320])
def test_tags_after_the_sound_are_neither_sound_nor_missing(tmp_path, tail, kbits):
    plain = mp3(tmp_path / "plain.mp3", 3, 440, kbits)
    (tmp_path / "tagged.mp3").write_bytes(plain + tail)
    expected, _ = render(tmp_path / "plain.mp3", tmp_path)
    found, _ = render(tmp_path / "tagged.mp3", tmp_path)
    # FFmpeg removes the padding of the encoder only if the sound lasts to the end of the file.
    assert found.duration_s == pytest.approx(expected.duration_s, abs=0.03)
    assert found.warnings == expected.warnings == ()


@pytest.mark.parametrize("kbits", [(32, 128), (320, 32), (128, 320)])
@pytest.mark.parametrize("head", [b"", id3_with_picture()], ids=["plain", "with pictures"])
def test_joined_parts_of_any_bit_rate_are_whole(tmp_path, kbits, head):
    parts = [mp3(tmp_path / f"{hz}.mp3", 4, hz, rate) for hz, rate in zip((440, 880), kbits, strict=True)]
    (tmp_path / "joined.mp3").write_bytes(b"".join(head + part for part in parts) + ID3V1)
    rendition, samples = render(tmp_path / "joined.mp3", tmp_path)
    assert rendition.duration_s == pytest.approx(8, abs=0.15)
    assert rendition.warnings == ()
    assert pitch(samples[16_000:48_000]) == pytest.approx(440, abs=2)
    assert pitch(samples[80_000:112_000]) == pytest.approx(880, abs=2)
    cut(tmp_path / "joined.mp3", tmp_path / "clip.m4a", 5, 7)
    assert pitch(decode_mono(tmp_path / "clip.m4a", 16_000)) == pytest.approx(880, abs=2)


def test_mp3_that_was_cut_between_frames_is_taken_although_its_header_states_more(tmp_path):
    mp3(tmp_path / "whole.mp3", 8, 440, 128)
    with av.open(str(tmp_path / "whole.mp3")) as file:
        places = [packet.pos for packet in file.demux() if packet.size]
    data = (tmp_path / "whole.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(data[: places[len(places) // 4]])
    rendition, _ = render(tmp_path / "cut.mp3", tmp_path)
    assert rendition.duration_s == pytest.approx(2, abs=0.1)
    (warning,) = rendition.warnings
    assert warning.startswith("sound_missing: the file states 8.0 s of sound; 6.")
    assert "(75%)" in warning or "(76%)" in warning


CHAINS = {
    "opus of other channels": [("libopus", 48_000, 2), ("libopus", 48_000, 1), ("libopus", 48_000, 2)],
    "opus alike": [("libopus", 48_000, 2)] * 3,
    "flac of other rates": [("flac", 44_100, 2), ("flac", 16_000, 1)],
    "other codecs": [("flac", 44_100, 2), ("libopus", 48_000, 1), ("flac", 48_000, 2)],
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_chained_ogg_is_whole_and_on_time(tmp_path, chain):
    data = b""
    for codec, rate, channels in chain:
        sound = beeps(3, rate)[:channels]
        write_sound(tmp_path / "part.ogg", sound, codec=codec, rate=rate, container="ogg")
        data += (tmp_path / "part.ogg").read_bytes()
    (tmp_path / "chain.ogg").write_bytes(data)
    rendition, samples = render(tmp_path / "chain.ogg", tmp_path)
    length = 3 * len(chain)
    assert rendition.duration_s == pytest.approx(length, abs=0.05)
    assert rendition.warnings == ()
    assert beep_times(samples, 16_000) == pytest.approx(np.arange(length), abs=0.05)
    cut(tmp_path / "chain.ogg", tmp_path / "clip.m4a", length - 2.5, length - 0.5)
    assert beep_times(decode_mono(tmp_path / "clip.m4a")) == pytest.approx([0.5, 1.5], abs=0.05)


def damage(path, target, begin, end):
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * begin), int(len(data) * end)
    data[first:last] = random.Random(7).randbytes(last - first)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44_100),
        ("a.flac", "flac", 44_100),
        ("a.m4a", "aac", 44_100),
        ("a.aac", "aac", 44_100),
        ("a.ogg", "libopus", 48_000),
        ("a.mka", "libopus", 48_000),
        ("a.ts", "aac", 44_100),
    ],
)
def test_error_in_the_middle_costs_the_middle_and_is_stated_in_seconds(tmp_path, name, codec, rate):
    whole = write_sound(tmp_path / name, noise(12, rate), codec=codec, rate=rate)
    damaged = damage(whole, tmp_path / f"damaged-{name}", 0.4, 0.6)
    rendition, samples = render(damaged, tmp_path)
    missing_s = 12 - np.count_nonzero(samples) / 16_000
    assert missing_s < 8
    assert " s of " in " ".join(rendition.warnings)
    lost = [warning.split(" s of sound; ")[-1].split(" s of ")[0] for warning in rendition.warnings]
    stated = [float(text.split()[-1]) for text in lost]
    assert sum(stated) == pytest.approx(missing_s, abs=1.3)
    assert make_rendition(whole, tmp_path / "o.wav").warnings == ()


def test_recording_without_its_end_is_taken_with_a_warning_where_nothing_states_its_length(tmp_path):
    ogg = write_sound(tmp_path / "a.ogg", noise(6, 48_000), codec="libopus", rate=48_000)
    fragmented = write_sound(
        tmp_path / "a.mp4",
        noise(6),
        codec="aac",
        muxing={"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"},
    )
    for whole in (ogg, fragmented):
        assert make_rendition(whole, tmp_path / "o.wav").warnings == ()
        rendition, _ = render(truncate(whole, tmp_path / f"half{whole.suffix}", 0.5), tmp_path)
        assert 1 < rendition.duration_s < 4
        assert rendition.warnings[-1].startswith("ends_abruptly: the file breaks off at ")


@pytest.mark.parametrize(
    ("name", "codec", "muxing"),
    [
        ("a.avi", "libmp3lame", {}),
        ("a.caf", "pcm_s16le", {}),
        ("a.wav", "pcm_s16le", {"rf64": "always"}),
        ("a.asf", "wmav2", {}),
        ("a.mka", "flac", {}),
    ],
)
def test_incomplete_copy_is_refused_by_what_the_file_states(tmp_path, name, codec, muxing):
    options = {"b": "128k"} if codec == "wmav2" else {}
    whole = write_sound(tmp_path / name, noise(6), codec=codec, muxing=muxing, options=options)
    assert make_rendition(whole, tmp_path / "o.wav").warnings == ()
    with pytest.raises(MediaError) as caught:
        make_rendition(truncate(whole, tmp_path / f"half-{name}", 0.5), tmp_path / "o.wav")
    assert caught.value.reason == "truncated"
    assert "is an incomplete copy" in caught.value.message
    assert "%" in caught.value.message


def test_film_whose_sound_ends_long_before_the_picture_is_whole(tmp_path):
    film = write_film(tmp_path / "a.mkv", 6)
    with av.open(str(film)) as old, av.open(str(tmp_path / "b.mkv"), "w") as new:
        copies = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            is_early = packet.dts is not None and packet.dts * packet.time_base < 2
            if packet.dts is not None and (is_early or packet.stream.type == "video"):
                packet.stream = copies[packet.stream.index]
                new.mux(packet)
    rendition, _ = render(tmp_path / "b.mkv", tmp_path)
    assert rendition.duration_s == pytest.approx(2, abs=0.1)
    assert rendition.warnings == ()


def test_sound_that_begins_long_after_the_picture_of_a_stream_is_found(tmp_path):
    path = write_film(tmp_path / "a.ts", 14, sound_delay_s=12.0, quiet=(0, 0))
    _, samples = render(path, tmp_path)
    assert beep_times(samples, 16_000)[:2] == pytest.approx([12.0, 13.0], abs=0.05)


@pytest.mark.parametrize("head", [b"RIFX\0\0\1\0WAVEfmt ", b"MThd\0\0\0\6\0\1\0\1"])
def test_recording_that_no_decoder_reads_is_unsupported(tmp_path, head):
    (tmp_path / "a.wav").write_bytes(head + bytes(200))
    with pytest.raises(MediaError) as caught:
        make_rendition(tmp_path / "a.wav", tmp_path / "o.wav")
    assert caught.value.reason == "unsupported"


def test_wav_of_an_unknown_codec_is_unsupported(tmp_path):
    data = bytearray(write_sound(tmp_path / "a.wav", noise(1), codec="pcm_s16le").read_bytes())
    place = data.index(b"fmt ") + 8
    data[place : place + 2] = (0x7F3A).to_bytes(2, "little")
    (tmp_path / "b.wav").write_bytes(data)
    with pytest.raises(MediaError) as caught:
        make_rendition(tmp_path / "b.wav", tmp_path / "o.wav")
    assert caught.value.reason == "unsupported"


def test_damaged_header_is_not_called_a_fault_of_the_disk(tmp_path):
    whole = write_film(tmp_path / "a.mkv", 2).read_bytes()
    reasons = set()
    for seed in range(150):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(20):
            data[rng.randrange(600)] = rng.randrange(256)
        (tmp_path / "b.mkv").write_bytes(data)
        try:
            make_rendition(tmp_path / "b.mkv", tmp_path / "o.wav")
        except MediaError as error:
            reasons.add(error.reason)
    assert reasons
    assert "unreadable" not in reasons


FIELD_LENGTHS = {
    "F09-mp3-with-apev2-only/APE.mp3": 3.84,
    "F17-mp3-put-together-with-cat/joined.mp3": 18.1,
    "F17-mp3-put-together-with-cat/garbage_before_header.mp3": 6.14,
    "F18-browser-recording-without-duration/no-duration.webm": 25.5,
    "F18-browser-recording-without-duration/no_info_duration.webm": 7.12,
    "F20-wav-sizes/ffmpeg-missing-chunksize.wav": 0.627,
    "F20-wav-sizes/issue-819.wav": 0.155,
    "F20-wav-sizes/size-zero.wav": 11.0,
    "F20-wav-sizes/arecord-killed.wav": 11.0,
    "F20-wav-sizes/sox-pipe.wav": 11.0,
    "F33-variable-frame-rate/vfr.mp4": 60.0,
}


@pytest.mark.skipif(not FIELD.exists(), reason="../shared/field is not on this machine")
@pytest.mark.parametrize("name", FIELD_LENGTHS)
def test_field_recording_is_whole(tmp_path, name):
    rendition = make_rendition(FIELD / name, tmp_path / "o.wav")
    assert rendition.duration_s == pytest.approx(FIELD_LENGTHS[name], abs=0.15)
    assert rendition.warnings == ()
