"""Files that are odd without being damaged, and files that only look like recordings."""

from fractions import Fraction

import av
import pytest
from libs.media.tests.recordings import beeps, noise, write_sound

from phonograph_media import MediaError, decode_mono, decode_stereo, make_rendition, probe

WEB_PAGE = b"<!DOCTYPE html><html><body>" + b"<p>Not found: it may have moved.</p>\n" * 2_000


def chapter(number):
    times = {"start": number, "end": number + 1, "time_base": Fraction(1)}
    return {"id": number, **times, "metadata": {"title": f"Part {number}"}}


@pytest.mark.parametrize("content", [WEB_PAGE, "Не найдено. ".encode("cp1251") * 3_000])
@pytest.mark.parametrize("name", ["talk.mp3", "talk.amr", "talk.m4a"])
def test_text_that_was_saved_as_a_recording_is_none(tmp_path, name, content):
    """FFmpeg takes a web page for half a minute of AMR."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError) as caught:
        make_rendition(path, tmp_path / "rendition.wav")
    assert caught.value.reason == "not_media"


@pytest.mark.parametrize("behind", [b"", bytes(2_000), b"TAG" + bytes(125)])
def test_tag_without_sound_has_no_audio(tmp_path, behind):
    path = tmp_path / "cover.mp3"
    picture = b"\0image/jpeg\0\3\0\xff\xd8" + bytes(1_000)
    frame = b"APIC" + len(picture).to_bytes(4) + b"\0\0" + picture
    path.write_bytes(b"ID3\3\0\0\0\0" + bytes([len(frame) >> 7, len(frame) & 127]) + frame + behind)
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.reason == "no_audio"


def test_cut_tag_is_truncated(tmp_path):
    path = tmp_path / "cover.mp3"
    path.write_bytes(b"ID3\3\0\0\0\1\0\0" + bytes(3_000))
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.reason == "truncated"


def test_sound_next_to_a_track_of_data_is_decoded(tmp_path):
    """Audiobooks have their chapters in a track of text."""
    plain = write_sound(tmp_path / "plain.m4a", beeps(3), codec="aac", frame_size=1024)
    book = tmp_path / "book.m4b"
    with av.open(str(plain)) as old, av.open(str(book), "w", format="mp4") as new:
        sound = new.add_stream_from_template(old.streams.audio[0])
        new.set_chapters([chapter(number) for number in range(3)])
        for packet in old.demux(old.streams.audio[0]):
            if packet.size:
                packet.stream = sound
                new.mux(packet)
    with av.open(str(book)) as file:
        assert [stream.type for stream in file.streams] == ["audio", "data"]
    assert [chapter.title for chapter in probe(book).chapters] == ["Part 0", "Part 1", "Part 2"]
    assert decode_mono(book).size == decode_mono(plain).size
    assert make_rendition(book, tmp_path / "rendition.wav").warnings == ()


def test_joined_flac_lacks_nothing(tmp_path):
    part = write_sound(tmp_path / "part.flac", noise(6), codec="flac", frame_size=4096).read_bytes()
    joined = tmp_path / "joined.flac"
    joined.write_bytes(part + part)
    rendition = make_rendition(joined, tmp_path / "rendition.wav")
    assert (rendition.duration_s, rendition.warnings) == (12.0, ())


def test_damaged_frame_of_flac_is_a_gap_of_its_length(tmp_path):
    path = write_sound(tmp_path / "noise.flac", noise(6), codec="flac", frame_size=4096)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = bytes(3_000)
    path.write_bytes(content)
    rendition = make_rendition(path, tmp_path / "rendition.wav")
    assert rendition.duration_s == pytest.approx(6.0, abs=0.001)
    assert len(rendition.warnings) == 1
    assert rendition.warnings[0].startswith("gaps_filled: 0.1 s of 6.0 s (2%) have no sound in the file")


def test_padding_behind_the_sound_of_an_mp3_is_no_damage(tmp_path):
    path = write_sound(tmp_path / "noise.mp3", noise(5), codec="libmp3lame", frame_size=1152)
    path.write_bytes(path.read_bytes() + bytes(50_000))
    assert make_rendition(path, tmp_path / "rendition.wav").warnings == ()


def test_sound_of_one_sample_is_decoded(tmp_path):
    path = write_sound(tmp_path / "click.wav", noise(1 / 16_000, 16_000), codec="pcm_s16le", rate=16_000)
    assert decode_mono(path).shape == (1,)
    assert decode_stereo(path).shape == (1, 2)
    assert make_rendition(path, tmp_path / "rendition.wav").sample_count == 1
