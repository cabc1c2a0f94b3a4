"""Choice of the source of a tracklist, and the tracks made from it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pytest

from phonograph_events import Chapter
from phonograph_tracklist.domain.cue import parse_cue_text
from phonograph_tracklist.domain.tags import is_cue_tag
from phonograph_tracklist.domain.tracklist import (
    Sidecar,
    SourceType,
    TracklistSearch,
    from_chapters,
    from_cue,
    order_sidecars,
    search_for_tracklist,
)

CUE = """\
FILE "mix.mp3" MP3
TRACK 01 AUDIO
TITLE A
INDEX 01 00:00:00
TRACK 02 AUDIO
TITLE B
INDEX 01 75:00:00
"""
RIP = (
    'PERFORMER "Band"\nFILE "01 One.wav" WAVE\nTRACK 01 AUDIO\nTITLE One\nINDEX 01 00:00:00\n'
    'FILE "02 Two.wav" WAVE\nTRACK 02 AUDIO\nTITLE Two\nINDEX 01 00:00:00\n'
)


def chapter(start: float, title: str) -> Chapter:
    return Chapter(start=start, end=start + 1, title=title)


CHAPTERS = [chapter(0, "Intro"), chapter(60, "Outro")]


def find(
    *,
    sidecars: Sequence[Sidecar] = (),
    tags: Mapping[str, Sequence[str]] = MappingProxyType({}),
    chapters: Sequence[Chapter] = (),
) -> TracklistSearch:
    return search_for_tracklist(
        file_name="mix.mp3", duration_s=7200.0, sidecars=sidecars, tags=tags, chapters=chapters
    )


def test_end_is_the_next_start_and_the_last_end_is_the_duration() -> None:
    """Entries have position, times, artist and title (C-47)."""
    tracklist = from_cue(parse_cue_text(CUE), SourceType.CUE_FILE, file_name="mix.mp3", duration_s=7200)
    assert tracklist is not None
    assert [(t.position, t.start_time, t.end_time, t.title) for t in tracklist.tracks] == [
        (1, 0, 4500, "A"),
        (2, 4500, 7200, "B"),
    ]
    assert tracklist.warnings == ()


def test_track_after_the_end_of_the_file() -> None:
    tracklist = from_cue(parse_cue_text(CUE), SourceType.CUE_FILE, file_name="mix.mp3", duration_s=600)
    assert tracklist is not None
    assert [(t.start_time, t.end_time) for t in tracklist.tracks] == [(0, 600), (4500, None)]
    assert tracklist.warnings == ("Track 2 starts at 4500.00 s, but the file ends at 600.00 s.",)


def test_tracks_out_of_order_are_sorted() -> None:
    text = CUE.replace("00:00:00", "80:00:00")
    tracklist = from_cue(parse_cue_text(text), SourceType.CUE_FILE, file_name="a", duration_s=4900)
    assert tracklist is not None
    assert [(t.position, t.title, t.end_time) for t in tracklist.tracks] == [
        (1, "B", 4800),
        (2, "A", 4900),
    ]
    assert "not in order" in tracklist.warnings[0]


def test_tracks_of_other_files_are_left_out() -> None:
    sheet = parse_cue_text(RIP)
    tracklist = from_cue(sheet, SourceType.CUE_FILE, file_name="02 two.flac", duration_s=200)
    assert tracklist is not None
    assert [(t.position, t.title, t.artist, t.end_time) for t in tracklist.tracks] == [
        (1, "Two", "Band", 200)
    ]
    assert from_cue(sheet, SourceType.CUE_FILE, file_name="other.flac", duration_s=200) is None


def test_single_file_of_a_sheet_is_the_media_file_under_any_name() -> None:
    sheet = parse_cue_text(CUE.replace("mix.mp3", "CDImage.wav"))
    tracklist = from_cue(sheet, SourceType.CUE_FILE, file_name="Live 2019.flac", duration_s=7200)
    assert tracklist is not None
    assert len(tracklist.tracks) == 2


def test_file_named_again_before_each_track_is_one_file() -> None:
    text = "".join(f'FILE "set.mp3" MP3\nTRACK {n:02d} AUDIO\nINDEX 01 {n}:00:00\n' for n in range(3))
    tracklist = from_cue(parse_cue_text(text), SourceType.CUE_FILE, file_name="other.mp3", duration_s=300)
    assert tracklist is not None
    assert len(tracklist.tracks) == 3


def test_data_track_is_left_out() -> None:
    text = CUE + "TRACK 03 MODE1/2352\nTITLE Data\nINDEX 01 100:00:00\n"
    tracklist = from_cue(parse_cue_text(text), SourceType.CUE_FILE, file_name="mix.mp3", duration_s=7200)
    assert tracklist is not None
    assert [track.title for track in tracklist.tracks] == ["A", "B"]


def test_sidecars_are_ordered_by_how_well_they_match() -> None:
    names = ["zz.cue", "Mix.mp3.cue", "MIX.CUE", "mix.cue"]
    assert list(order_sidecars("mix.mp3", names)) == [
        ("mix.cue", True),
        ("MIX.CUE", True),
        ("Mix.mp3.cue", True),
        ("zz.cue", False),
    ]
    assert list(order_sidecars("Be\u0301la.mp3", ["Béla.cue"])) == [("Béla.cue", True)]


def test_first_source_wins() -> None:
    sidecar = Sidecar("mix.cue", CUE.replace("TITLE A", "TITLE Sidecar").encode(), matches_media=True)
    tags = {"artist": ["x"], "cuesheet": [CUE.replace("TITLE A", "TITLE Inside")]}
    found = [
        find(sidecars=[sidecar], tags=tags, chapters=CHAPTERS),
        find(tags=tags, chapters=CHAPTERS),
        find(chapters=CHAPTERS),
        find(),
    ]
    assert [
        (f.tracklist and f.tracklist.source_type, f.tracklist and f.tracklist.tracks[0].title) for f in found
    ] == [
        ("cue_file", "Sidecar"),
        ("embedded_cue", "Inside"),
        ("chapters", "Intro"),
        (None, None),
    ]
    assert [f.reason for f in found] == [None, None, None, "no_tracklist"]


def test_bad_cue_file_is_skipped_with_a_warning() -> None:
    bad = Sidecar("mix.cue", b"garbage", matches_media=True)
    found = find(sidecars=[bad], chapters=CHAPTERS)
    assert found.tracklist.source_type is SourceType.CHAPTERS
    assert found.warnings == ("mix.cue: This is not a cue sheet: it has no TRACK line.",)
    alone = find(sidecars=[bad])
    assert (alone.tracklist, alone.reason) == (None, "bad_cue")


def test_cue_file_of_another_name_is_used_if_it_names_the_media_file() -> None:
    named = Sidecar("set list.cue", CUE.encode(), matches_media=False)
    assert find(sidecars=[named]).tracklist.source_type is SourceType.CUE_FILE
    foreign = Sidecar("other.cue", CUE.replace("mix.mp3", "other.mp3").encode(), matches_media=False)
    broken = Sidecar("broken.cue", b"garbage", matches_media=False)
    found = find(sidecars=[foreign, broken])
    assert (found.tracklist, found.reason, found.warnings) == (None, "no_tracklist", ())


def test_sheet_of_other_files_causes_a_warning() -> None:
    found = find(sidecars=[Sidecar("mix.cue", RIP.encode(), matches_media=True)])
    assert found.tracklist is None
    assert found.warnings == ("mix.cue: no track is in 'mix.mp3'.",)


@pytest.mark.parametrize("name", ["cuesheet", "CUESHEET", "----:com.apple.iTunes:CUESHEET", "txxx:cuesheet"])
def test_tag_holds_a_cue_sheet_by_its_name(name: str) -> None:
    assert is_cue_tag(name)
    assert find(tags={name: [CUE]}).tracklist.source_type is SourceType.EMBEDDED_CUE


def test_other_tags_hold_no_cue_sheet() -> None:
    assert not is_cue_tag("comment")
    assert not is_cue_tag("cuesheet_version")


def test_chapter_titles_are_split() -> None:
    tracks = from_chapters(
        [
            chapter(600, "03. Artist C – Title - Dub"),
            chapter(0, "01 - Artist A - Title (Someone's Remix)"),
            chapter(300, "[05:00] ID - ID"),
            chapter(900, "Crowd"),
        ],
        duration_s=1000,
    ).tracks
    assert [(t.artist, t.title, t.remix, t.is_id) for t in tracks] == [
        ("Artist A", "Title (Someone's Remix)", "Someone's Remix", False),
        ("ID", "ID", None, True),
        ("Artist C", "Title - Dub", None, False),
        (None, "Crowd", None, False),
    ]
    assert [t.end_time for t in tracks] == [300, 600, 900, 1000]


def test_chapters_of_a_talk_name_no_artists() -> None:
    tracks = from_chapters(
        [chapter(n * 9, title) for n, title in enumerate(["Welcome", "Part 1 - Basics", "", "End"])],
        duration_s=40,
    ).tracks
    assert [(t.artist, t.title) for t in tracks] == [
        (None, "Welcome"),
        (None, "Part 1 - Basics"),
        (None, None),
        (None, "End"),
    ]


def test_single_chapter_is_not_a_tracklist() -> None:
    assert find(chapters=CHAPTERS[:1]).tracklist is None


def test_titles_of_tracks_without_performer_contain_the_artist() -> None:
    text = 'PERFORMER "DJ"\nFILE a WAVE\n' + "".join(
        f"TRACK {n} AUDIO\nTITLE {title}\nINDEX 01 {n}:00:00\n"
        for n, title in enumerate(["A - One", "B - Two", "ID"])
    )
    tracklist = from_cue(parse_cue_text(text), SourceType.CUE_FILE, file_name="a", duration_s=600)
    assert tracklist is not None
    assert [(t.artist, t.title) for t in tracklist.tracks] == [("A", "One"), ("B", "Two"), ("DJ", "ID")]


def test_performer_of_an_album_applies_to_titles_with_dashes() -> None:
    text = 'PERFORMER "Band"\nFILE a WAVE\n' + "".join(
        f"TRACK {n} AUDIO\nTITLE {title}\nINDEX 01 {n}:00:00\n"
        for n, title in enumerate(["One", "Two - Live", "Three"])
    )
    tracklist = from_cue(parse_cue_text(text), SourceType.CUE_FILE, file_name="a", duration_s=600)
    assert tracklist is not None
    assert [(t.artist, t.title) for t in tracklist.tracks] == [
        ("Band", "One"),
        ("Band", "Two - Live"),
        ("Band", "Three"),
    ]


def test_data_tracks_are_named_in_a_warning() -> None:
    text = CUE + "TRACK 03 MODE2/2336\nINDEX 01 100:00:00\nTRACK 04 CDI/2352\nINDEX 01 110:00:00\n"
    found = find(tags={"cuesheet": [text]})
    assert found.tracklist is not None
    assert (len(found.tracklist.tracks), found.tracklist.warnings) == (
        2,
        ("Data tracks are left out: 3, 4.",),
    )


def test_guessed_encoding_of_a_cue_file_is_a_warning() -> None:
    data = CUE.replace("TITLE A", "TITLE Город золотой").encode("cp1251")
    found = find(sidecars=[Sidecar("mix.cue", data, matches_media=True)])
    assert found.tracklist is not None
    assert found.tracklist.tracks[0].title == "Город золотой"
    assert found.tracklist.warnings[0].endswith("it is read as cp1251.")


@pytest.mark.parametrize(
    "title", ["GBAYE0601498", "GB-AYE-06-01498", "ISRC GBAYE0601498", "123456789012", "a\ufffd"]
)
def test_chapter_title_that_is_no_title_is_left_out(title: str) -> None:
    tracks = from_chapters([chapter(0, title), chapter(60, "Outro")], duration_s=100).tracks
    assert [track.title for track in tracks] == [None, "Outro"]
