"""The probe reads streams, chapters and tags from the headers of a file."""

from fractions import Fraction

import av
import numpy as np
import pytest
from libs.media.tests.recordings import noise, write_film, write_sound

from phonograph_media import AudioStream, Chapter, VideoStream, probe


def test_sound_file_has_an_audio_stream_and_tags(tmp_path):
    path = write_sound(
        tmp_path / "a.mp3", noise(3), codec="libmp3lame", tags={"TITLE": "Grüße", "artist": "Nova Lights"}
    )
    found = probe(path)
    assert found.container == "mp3"
    assert found.duration_s == pytest.approx(3, abs=0.06)
    assert found.audio == AudioStream(codec="mp3", sample_rate_hz=44_100, channels=2, bit_rate=128_000)
    assert found.video is None
    assert found.tags["title"] == "Grüße"
    assert found.tags["artist"] == "Nova Lights"
    assert not found.has_cover
    assert found.chapters == ()


def test_tags_of_the_audio_stream_are_read(tmp_path):
    path = write_sound(
        tmp_path / "a.ogg", noise(1, 48_000), codec="libopus", rate=48_000, tags={"title": "Sea"}
    )
    assert probe(path).tags["title"] == "Sea"
    assert probe(path).audio == AudioStream(codec="opus", sample_rate_hz=48_000, channels=2, bit_rate=None)


def test_attached_picture_is_not_video(tmp_path):
    path = write_with_cover(tmp_path / "a.mp3")
    found = probe(path)
    assert found.has_cover
    assert found.video is None
    assert found.audio is not None


def test_film_has_a_video_and_an_audio_stream(tmp_path):
    found = probe(write_film(tmp_path / "a.mp4", 2))
    assert found.video == VideoStream(codec="h264", width=320, height=180, frame_rate=10.0)
    assert found.audio is not None
    assert found.duration_s == pytest.approx(2, abs=0.05)
    assert "major_brand" not in found.tags


def test_chapter_marks_are_read(tmp_path):
    path = tmp_path / "a.mka"
    with av.open(str(path), "w", format="matroska") as file:
        stream = file.add_stream("pcm_s16le", rate=8_000, layout="mono")
        tick = Fraction(1, 1_000)
        file.set_chapters(
            [
                {"id": 1, "start": 0, "end": 1_500, "time_base": tick, "metadata": {"title": "One"}},
                {"id": 2, "start": 1_500, "end": 3_000, "time_base": tick, "metadata": {}},
            ]
        )
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 24_000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8_000
        file.mux(stream.encode(frame))
    assert probe(path).chapters == (Chapter(0.0, 1.5, "One"), Chapter(1.5, 3.0, ""))


def write_with_cover(path):
    picture = av.CodecContext.create("png", "w")
    picture.width, picture.height, picture.pix_fmt, picture.time_base = 16, 16, "rgb24", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 90, np.uint8), format="rgb24")
    frame.pts = 0
    with av.open(str(path), "w") as file:
        sound = file.add_stream("libmp3lame", rate=44_100, layout="mono")
        cover = file.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in picture.encode(frame) + picture.encode(None):
            packet.stream = cover
            file.mux(packet)
        samples = av.AudioFrame.from_ndarray(noise(1, channels=1), format="s16", layout="mono")
        samples.sample_rate = 44_100
        file.mux(sound.encode(samples))
        file.mux(sound.encode(None))
    return path
