"""Tags and chapters of files as programs write them: encodings, sizes, pictures, formats."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from phonograph_events import Chapter, MediaKind
from phonograph_ingest.constants import MAX_CHAPTERS_BYTES, MAX_TAG_BYTES, MAX_TAGS_BYTES
from phonograph_ingest.domain.media import MediaFile
from phonograph_ingest.domain.tags import Description, tidy
from phonograph_ingest.domain.tasks import IngestTask
from phonograph_ingest.inference.engine import IngestEngine
from phonograph_runtime.objects import ObjectStore

FIELD = Path(__file__).parents[4] / "shared" / "field"
"""Inputs from the field; a checkout of the project alone has none."""
SAMPLE_RATE_HZ = 44_100
PICTURE = "iVBORw0KGgo" + "A" * 2_000


def write_sound(path: Path, container: str, codec: str, **tags: str) -> Path:
    """Write 1.4 s of noise that no other file contains."""
    noise = np.random.default_rng().integers(-3_000, 3_000, (60, 1, 1024), dtype="int16")
    with av.open(
        str(path), "w", format=container, options={"id3v2_version": "0"} if codec == "mp3" else {}
    ) as file:
        file.metadata.update(tags)
        stream = file.add_stream(codec, rate=48_000 if codec == "libopus" else SAMPLE_RATE_HZ, layout="mono")
        for number, samples in enumerate(noise):
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = stream.rate, number * 1024
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def ingest(path: Path) -> MediaFile:
    engine = IngestEngine(ObjectStore((path.parent / "objects").as_uri()))
    file = engine.ingest(IngestTask(uri=str(path)), lambda *_: None)
    assert isinstance(file, MediaFile), file
    return file


def id3v1(*, title: bytes, artist: bytes, album: bytes = b"") -> bytes:
    return (
        b"TAG"
        + title[:30].ljust(30, b"\0")
        + artist[:30].ljust(30, b"\0")
        + album[:30].ljust(30, b"\0")
        + (b"1997" + bytes(30) + b"\xff")
    )


def id3v2(frames: dict[str, bytes]) -> bytes:
    """Return an ID3v2.3 tag of frames with their first byte, the encoding."""
    body = b"".join(name.encode() + struct.pack(">IH", len(data), 0) + data for name, data in frames.items())
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + body


def ape(items: dict[str, bytes], *, version: int = 2_000) -> bytes:
    body = b"".join(
        struct.pack("<II", len(data), 0) + key.encode() + b"\0" + data for key, data in items.items()
    )
    return body + b"APETAGEX" + struct.pack("<IIII", version, len(body) + 32, len(items), 0) + bytes(8)


def chapter_frame(element: bytes, start_ms: int, end_ms: int, title: bytes | None) -> bytes:
    frames = b"" if title is None else b"TIT2" + struct.pack(">IH", len(title) + 1, 0) + b"\0" + title
    return element + b"\0" + struct.pack(">IIII", start_ms, end_ms, 2**32 - 1, 2**32 - 1) + frames


def cue_block(tracks: list[tuple[int, int, bool, bytes]]) -> bytes:
    """Return a FLAC block of tracks with offset, INDEX 01, whether it is audio, and ISRC."""
    body = bytes(128 + 8 + 259) + bytes([len(tracks) + 1])
    for number, (offset, index, has_audio, isrc) in enumerate(tracks, start=1):
        flags = 0 if has_audio else 0x80
        body += struct.pack(">QB12sB13xB", offset, number, isrc, flags, 2)
        body += struct.pack(">QB3x", 0, 0) + struct.pack(">QB3x", index, 1)
    return body + struct.pack(">QB12sB13xB", 60 * 1024, 170, b"", 0, 0)


@pytest.fixture
def mp3(tmp_path: Path) -> Callable[..., Path]:
    def write(*, head: bytes = b"", tail: bytes = b"") -> Path:
        path = write_sound(tmp_path / "recording.mp3", "mp3", "mp3")
        path.write_bytes(head + path.read_bytes() + tail)
        return path

    return write


@pytest.mark.parametrize(
    ("encoding", "title", "artist"),
    [
        ("cp1251", "Скажи", "Земфира"),
        ("koi8_r", "Лето", "Зоопарк"),
        ("gb18030", "海阔天空", "黄家驹"),
        ("big5", "我的未來不是夢", "張雨生"),
        ("cp932", "ロビンソン", "スピッツ"),
        ("cp949", "그대에게", "신해철"),
        ("cp1253", "Τα παιδιά του Πειραιά", "Μελίνα Μερκούρη"),
        ("utf-8", "Été à Besançon", "Françoise Hardy"),
    ],
)
@pytest.mark.parametrize("kind", ["id3v1", "id3v2", "ape"])
def test_tags_in_an_old_code_page_are_repaired(
    mp3: Callable[..., Path], kind: str, encoding: str, title: str, artist: str
) -> None:
    raw_title, raw_artist = title.encode(encoding), artist.encode(encoding)
    match kind:
        case "id3v1":
            path = mp3(tail=id3v1(title=raw_title, artist=raw_artist))
        case "id3v2":
            path = mp3(head=id3v2({"TIT2": b"\0" + raw_title, "TPE1": b"\0" + raw_artist}))
        case _:
            path = mp3(tail=ape({"Title": raw_title, "Artist": raw_artist}))
    file = ingest(path)
    kept = title.encode(encoding)[:30].decode(encoding, errors="ignore") if kind == "id3v1" else title
    assert (file.tags["title"], file.tags["artist"]) == ([kept], [artist])
    if not (kind == "ape" and encoding == "utf-8"):
        assert sum(warning.startswith("tags_reencoded: ") for warning in file.warnings) == 1


@pytest.mark.parametrize(
    ("title", "artist"),
    [("Été à Besançon", "Françoise Hardy"), ("Ágætis byrjun", "Sigur Rós"), ("Jóga", "Björk"), ("Ø", "Mø")],
)
def test_western_tags_stay(mp3: Callable[..., Path], title: str, artist: str) -> None:
    raw_title, raw_artist = title.encode("latin-1"), artist.encode("latin-1")
    file = ingest(mp3(tail=id3v1(title=raw_title, artist=raw_artist)))
    assert (file.tags["title"], file.tags["artist"], file.warnings) == ([title], [artist], ())


def test_typographic_characters_of_windows_are_repaired(mp3: Callable[..., Path]) -> None:
    file = ingest(mp3(head=id3v2({"TIT2": b"\0Don\x92t Stop"})))
    assert file.tags["title"] == ["Don’t Stop"]
    assert "cp1252" in file.warnings[0]


def test_frames_in_unicode_are_left_alone_next_to_a_wrong_one(mp3: Callable[..., Path]) -> None:
    frames = {
        "TIT2": b"\x01" + "Морская".encode("utf-16"),
        "TPE1": b"\0" + "Мумий Тролль".encode("cp1251"),
        "TALB": b"\0" + "Björk".encode("latin-1"),
    }
    file = ingest(mp3(head=id3v2(frames)))
    assert [file.tags[key] for key in ("title", "artist", "album")] == [
        ["Морская"],
        ["Мумий Тролль"],
        ["Björk"],
    ]


def test_comments_that_are_not_utf_8_are_repaired(tmp_path: Path) -> None:
    """A Vorbis comment is UTF-8 by its standard, and a RIFF tag has no standard."""
    flac = write_sound(tmp_path / "a.flac", "flac", "flac", title="TITLE-TITLE", artist="ARTISTNAME")
    replaced = flac.read_bytes().replace(b"TITLE-TITLE", "Морская №7!".encode("cp1251"))
    flac.write_bytes(replaced.replace(b"ARTISTNAME", "Аквариум Б".encode("cp1251")))
    wav = write_sound(tmp_path / "a.wav", "wav", "pcm_s16le", title="TITLE-TITLE", artist="ARTISTNAME")
    replaced = wav.read_bytes().replace(b"TITLE-TITLE", "Морская №7!".encode("cp1251"))
    wav.write_bytes(replaced.replace(b"ARTISTNAME", "Аквариум Б".encode("cp1251")))
    for path in (flac, wav):
        tags = ingest(path).tags
        assert (tags["title"], tags["artist"]) == (["Морская №7!"], ["Аквариум Б"]), path.name


def test_unreadable_tag_is_left_out_with_a_warning(mp3: Callable[..., Path]) -> None:
    """Other programs have replaced characters, and one word may be Greek or Russian."""
    frames = {"TIT2": b"\x01" + "Mor\ufffdska".encode("utf-16"), "TPE1": b"\0" + "ΑΛΕΞΙΟΥ".encode("cp1253")}
    file = ingest(mp3(head=id3v2(frames | {"TALB": b"\0Album"})))
    assert (file.tags.get("title"), file.tags.get("artist"), file.tags["album"]) == (None, None, ["Album"])
    assert "'title', 'artist'" in file.warnings[0]
    assert "tags_unreadable" in file.warnings[0]


def test_replacement_characters_never_pass() -> None:
    tags = {
        "title": ["caf\ufffd"],
        "artist": ["\udcffx\udcfe \ufffdy"],
        "album\udcff": ["a\0b"],
        "\ufffdgenre": ["c"],
        "note": ["\ud800"],
    }
    tidied = tidy(Description(tags, (Chapter(start=0, end=1, title="a\ufffdb"),)), file_name="x.mp3")
    assert tidied.tags == {"album": ["a b"], "genre": ["c"]}
    assert tidied.chapters[0].title == ""


def test_ape_tag_has_values_counts_and_no_pictures(mp3: Callable[..., Path]) -> None:
    items = {
        "Title": "Τ父".encode(),
        "Artist": b"One\0Two",
        "Album Artist": b"Both",
        "Track": b"03/12",
        "Disc": b"1",
        "Cover Art (Front)": b"front.jpg\0" + bytes(300),
    }
    path = mp3(tail=ape(items) + id3v1(title=b"Short", artist=b"One"))
    tags = ingest(path).tags
    expected = {
        "title": ["Τ父"],
        "artist": ["One", "Two"],
        "albumartist": ["Both"],
        "track": ["3"],
        "track_total": ["12"],
        "disc": ["1"],
    }
    assert expected.items() <= tags.items()
    assert not any("cover" in key for key in tags)


@pytest.mark.parametrize("damage", [b"", b"APETAGEX", b"APETAGEX" + bytes(24), b"APETAGEX" + b"\xff" * 24])
def test_damaged_ape_tag_costs_itself(mp3: Callable[..., Path], damage: bytes) -> None:
    assert ingest(mp3(head=id3v2({"TIT2": b"\0Title"}), tail=damage)).tags["title"] == ["Title"]


def test_large_tag_costs_that_tag(tmp_path: Path) -> None:
    path = write_sound(
        tmp_path / "a.flac",
        "flac",
        "flac",
        title="Title",
        artist="Artist",
        lyrics="la " * 1_800_000,
        coverart="A" * 5_600_000,
        comment=PICTURE,
        note="x" * MAX_TAG_BYTES,
    )
    file = ingest(path)
    assert file.tags["title"] == ["Title"]
    assert not file.tags.keys() & {"lyrics", "coverart", "comment", "note"}
    said = " ".join(file.warnings)
    assert all(key in said for key in ("lyrics", "coverart", "comment", "note"))


def test_all_tags_and_chapters_together_stay_within_an_event() -> None:
    tags = {f"key{number}": ["x" * 60_000] for number in range(50)} | {"title": ["Title"]}
    chapters = tuple(Chapter(start=n, end=n + 1, title="я" * 900) for n in range(5_000))
    tidied = tidy(Description(tags, chapters), file_name="x.mp3")
    assert tidied.tags["title"] == ["Title"]
    assert sum(len(value) for values in tidied.tags.values() for value in values) <= MAX_TAGS_BYTES
    assert 0 < sum(len(each.title.encode()) for each in tidied.chapters) <= MAX_CHAPTERS_BYTES
    assert "of 5000 chapters" in tidied.warnings[-1]


def test_cue_block_gives_chapters_of_its_audio_without_titles(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.flac", "flac", "flac")
    data = path.read_bytes()
    rate = SAMPLE_RATE_HZ
    block = cue_block(
        [(0, rate // 10, True, b"GBAYE0601498"), (rate // 2, 0, False, b""), (rate, 0, True, b"123456789012")]
    )
    # After the stream information, which is the first block of 34 bytes.
    head, rest = data[:42], data[42:]
    path.write_bytes(head + b"\x05" + len(block).to_bytes(3, "big") + block + rest)
    file = ingest(path)
    assert [(round(each.start, 3), each.title) for each in file.chapters] == [(0.1, ""), (1.0, "")]
    assert file.warnings == ("chapters_left_out: tracks of the cue sheet block that are no audio: 2.",)


def test_ids_of_chapters_are_not_titles(mp3: Callable[..., Path]) -> None:
    frames = chapter_frame(b"ch0", 0, 500, None), chapter_frame(b"ch1", 500, 1_000, "Финал".encode("cp1251"))
    head = id3v2({"TIT2": b"\0" + "Песня о друге".encode("cp1251")})
    body = head[10:] + b"".join(b"CHAP" + struct.pack(">IH", len(frame), 0) + frame for frame in frames)
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    chapters = ingest(mp3(head=b"ID3\x03\x00\x00" + size + body)).chapters
    assert [(each.start, each.title) for each in chapters] == [(0.0, ""), (0.5, "Финал")]


@pytest.mark.parametrize(
    ("name", "container", "codec", "mime_type"),
    [
        ("a.mp3", "mp3", "mp3", "audio/mpeg"),
        ("no extension", "mp3", "mp3", "audio/mpeg"),
        ("a.mp2", "mp2", "mp2", "audio/mpeg"),
        ("a.m4b", "ipod", "aac", "audio/mp4"),
        ("a.mp4", "mp4", "aac", "audio/mp4"),
        ("a.3gp", "3gp", "aac", "audio/3gpp"),
        ("a.webm", "webm", "libopus", "audio/webm"),
        ("a.mka", "matroska", "aac", "audio/x-matroska"),
        ("a.ts", "mpegts", "aac", "video/mp2t"),
        ("a.aac", "adts", "aac", "audio/aac"),
        ("a.opus", "opus", "libopus", "audio/ogg"),
        ("a.w64", "w64", "pcm_s16le", "audio/x-w64"),
        ("a.wav", "wav", "pcm_s16le", "audio/wave"),
        ("a.aiff", "aiff", "pcm_s16be", "audio/x-aiff"),
    ],
)
def test_mime_type_is_named(tmp_path: Path, name: str, container: str, codec: str, mime_type: str) -> None:
    file = ingest(write_sound(tmp_path / name, container, codec))
    assert (file.mime_type, file.kind) == (mime_type, MediaKind.AUDIO)


@pytest.mark.skipif(not FIELD.exists(), reason="the field inputs are not part of the project")
@pytest.mark.parametrize(
    ("name", "title", "artist"),
    [
        ("track v1.mp3", 'Танцевальный рай 7 "Русский"', "Мумий Тролль"),
        ("track v2.mp3", 'Танцевальный рай 7 "Русский"', "Мумий Тролль"),
        ("control latin1.mp3", "Été à Besançon", "Françoise Hardy"),
    ],
)
def test_field_files_have_their_tags(tmp_path: Path, name: str, title: str, artist: str) -> None:
    path = tmp_path / name
    path.write_bytes((FIELD / "F08-cyrillic-in-latin1-tags" / name).read_bytes())
    tags = ingest(path).tags
    assert (tags["title"], tags["artist"]) == ([title], [artist])
