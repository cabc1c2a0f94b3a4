"""Parsing of cue sheets as mixes and rips have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_tracklist.constants import MAX_CUE_BYTES, MAX_WARNINGS
from phonograph_tracklist.domain.cue import CueFile, parse_cue, parse_cue_text
from phonograph_tracklist.domain.cue_text import decode_cue
from phonograph_tracklist.exceptions import BadCueError

MIX = """\
REM GENRE "Deep House"
REM DATE 2019
REM COMMENT "first"
REM COMMENT second one
CATALOG 1234567890123
PERFORMER "DJ Example"
TITLE "Ten Hours"
SONGWRITER Someone
FILE "mix.mp3" MP3
  TRACK 01 AUDIO
    TITLE "Opening"
    PERFORMER "First"
    ISRC GBAYE0601498
    FLAGS DCP PRE
    PREGAP 00:02:00
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    TITLE "Middle"
    PERFORMER "Second"
    INDEX 00 59:58:00
    INDEX 01 60:00:01
    POSTGAP 00:01:10
  TRACK 03 AUDIO
    TITLE "Long after"
    PERFORMER "Third"
    INDEX 01 134:22:73
  TRACK 04 AUDIO
    TITLE "Tenth hour"
    PERFORMER "Fourth"
    INDEX 01 599:59:74
"""


def starts(text: str) -> list[float | None]:
    return [track.start.start_s if track.start else None for track in parse_cue_text(text).tracks]


def test_sheet_with_all_keywords() -> None:
    sheet = parse_cue_text(MIX)
    assert (sheet.title, sheet.performer, sheet.songwriter) == ("Ten Hours", "DJ Example", "Someone")
    assert sheet.catalog_number == "1234567890123"
    assert sheet.remarks == (
        ("GENRE", "Deep House"),
        ("DATE", "2019"),
        ("COMMENT", "first"),
        ("COMMENT", "second one"),
    )
    assert sheet.files == (CueFile("mix.mp3", "MP3"),)
    first, second = sheet.tracks[:2]
    assert (first.number, first.title, first.performer, first.isrc) == (1, "Opening", "First", "GBAYE0601498")
    assert (first.flags, first.pregap_frames, first.line) == (("DCP", "PRE"), 150, 10)
    assert [(index.number, index.frames) for index in second.indexes] == [(0, 269_850), (1, 270_001)]
    assert second.postgap_frames == 85
    assert sheet.warnings == ()


def test_minutes_are_not_limited() -> None:
    assert starts(MIX) == pytest.approx([0, 3600 + 1 / 75, 134 * 60 + 22 + 73 / 75, 36_000 - 1 / 75])


def test_more_than_99_tracks_with_three_digits() -> None:
    lines = ['FILE "mix.mp3" MP3']
    lines += [f"TRACK {n:03d} AUDIO\nINDEX 01 {n}:00:00" for n in range(1, 151)]
    sheet = parse_cue_text("\n".join(lines))
    assert [track.number for track in sheet.tracks] == list(range(1, 151))
    assert sheet.warnings == ()


def test_file_between_the_indexes_of_a_track() -> None:
    """In the noncompliant layout of EAC the gap is at the end of the previous file."""
    sheet = parse_cue_text(
        'FILE "01.wav" WAVE\n TRACK 01 AUDIO\n  INDEX 01 00:00:00\n TRACK 02 AUDIO\n  INDEX 00 03:00:00\n'
        'FILE "02.wav" WAVE\n  INDEX 01 00:00:00\n TRACK 03 AUDIO\n  INDEX 00 04:00:00\n'
        'FILE "03.wav" WAVE\n  TITLE "Third"\n  INDEX 01 00:00:00\n'
    )
    assert [file.name for file in sheet.files] == ["01.wav", "02.wav", "03.wav"]
    assert [[(index.number, index.file) for index in track.indexes] for track in sheet.tracks] == [
        [(1, 0)],
        [(0, 0), (1, 1)],
        [(0, 1), (1, 2)],
    ]
    assert [track.start and track.start.file for track in sheet.tracks] == [0, 1, 2]
    assert sheet.tracks[2].title == "Third"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_any_line_end_is_accepted(line_end: str) -> None:
    assert parse_cue_text(MIX.replace("\n", line_end)) == parse_cue_text(MIX)


def test_only_line_ends_end_lines() -> None:
    """Titles may contain the other line ends of Unicode."""
    sheet = parse_cue_text('TRACK 01 AUDIO\nTITLE "a\u2028b\x85c"\nINDEX 01 00:00:00')
    assert sheet.tracks[0].title == "a b c"


def test_lower_case_tabs_and_blank_lines_are_accepted() -> None:
    sheet = parse_cue_text(
        '\n\tfile\t"m.flac"\twave\n\n\ttrack\t1\taudio\n\t\ttitle\tNo quotes\n\t\tindex 1  0:01:00 \n'
    )
    assert sheet.files == (CueFile("m.flac", "WAVE"),)
    assert sheet.tracks[0].title == "No quotes"
    assert sheet.tracks[0].start is not None
    assert sheet.tracks[0].start.start_s == 1


@pytest.mark.parametrize(
    ("written", "title", "has_warning"),
    [
        ('"Closed"', "Closed", False),
        ('"Not closed', "Not closed", True),
        ("Bare words", "Bare words", False),
        ('"With "inner" quotes"', 'With "inner" quotes', False),
        ('Ends with a quote"', 'Ends with a quote"', False),
        ('"', None, True),
        ('""', None, False),
        ("“Heroes”", "“Heroes”", False),
    ],
)
def test_quotes_are_removed(written: str, title: str | None, *, has_warning: bool) -> None:
    sheet = parse_cue_text(f"TRACK 01 AUDIO\nTITLE {written}\nFILE a WAVE\nINDEX 01 00:00:00")
    assert sheet.tracks[0].title == title
    assert any("Line 2" in warning for warning in sheet.warnings) is has_warning


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ('"a b.wav" WAVE', CueFile("a b.wav", "WAVE")),
        ("a b.wav wave", CueFile("a b.wav", "WAVE")),
        ("a b.wav", CueFile("a b.wav", "")),
        ('"a b.wav', CueFile("a b.wav", "")),
        ('"a b.wav MP3', CueFile("a b.wav", "MP3")),
        ('"a "b".wav" FLAC', CueFile('a "b".wav', "FLAC")),
    ],
)
def test_file_line_has_a_name_and_a_type(written: str, file: CueFile) -> None:
    sheet = parse_cue_text(f"FILE {written}\nTRACK 01 AUDIO\nINDEX 01 00:00:00")
    assert sheet.files == (file,)


def test_unknown_line_causes_a_warning_with_its_number() -> None:
    sheet = parse_cue_text("FILE a WAVE\nTRACK 01 AUDIO\nHELLO there\n; what\nINDEX 01 00:00:00\n")
    assert len(sheet.tracks) == 1
    assert [warning.split(":")[0] for warning in sheet.warnings] == ["Line 3", "Line 4"]
    assert "'HELLO'" in sheet.warnings[0]


def test_warnings_are_limited() -> None:
    sheet = parse_cue_text("FILE a WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n" + "garbage\n" * 5_000)
    assert len(sheet.warnings) == MAX_WARNINGS + 1
    assert sheet.warnings[-1] == "4900 more warnings are left out."


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("INDEX 01 00:00:75", "Frames go from 0 to 74"),
        ("INDEX 01 00:60:00", "Seconds go from 0 to 59"),
        ("INDEX 01 00", "minutes:seconds:frames"),
        ("INDEX 01 -1:00:00", "minutes:seconds:frames"),
        ("INDEX 01 ١٢:00:00", "minutes:seconds:frames"),
        ("INDEX 01 " + "9" * 5000 + ":00:00", "minutes:seconds:frames"),
        ("INDEX 01", "minutes:seconds:frames"),
        ("INDEX x 00:00:00", "INDEX needs a number"),
        ("INDEX", "INDEX needs a number"),
        ("TRACK AUDIO", "TRACK needs a number"),
        ("PREGAP soon", "minutes:seconds:frames"),
    ],
)
def test_error_names_the_line(line: str, message: str) -> None:
    with pytest.raises(BadCueError, match=message) as caught:
        parse_cue_text(f"FILE a WAVE\nTRACK 01 AUDIO\n{line}\n")
    assert caught.value.line == 3
    assert caught.value.message.startswith("Line 3: ")
    assert caught.value.reason == "bad_cue"


def test_index_before_any_track_is_an_error() -> None:
    with pytest.raises(BadCueError, match="Line 2: INDEX comes before the first TRACK"):
        parse_cue_text("FILE a WAVE\nINDEX 01 00:00:00")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \r\n ",
        b"\x00" * 300,
        b"\xff\xfe\x00",
        b"\xef\xbb\xbf\xff",
        b"This is not a cue sheet at all.\nNor is this.",
        bytes(range(256)) * 20,
        b"TRACK 01 AUDIO\nTITLE no index\n",
        b" " * (MAX_CUE_BYTES + 1),
    ],
)
def test_bytes_that_are_not_a_sheet_are_an_error_with_a_sentence(data: bytes) -> None:
    with pytest.raises(BadCueError) as caught:
        parse_cue(data)
    assert caught.value.reason == "bad_cue"
    assert caught.value.message.endswith((".", "!"))


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        sheet = parse_cue(data)
    except BadCueError:
        return
    assert sheet.tracks


@given(
    st.lists(
        st.sampled_from(
            ["FILE", "TRACK", "INDEX", "REM", "TITLE", '"', "01", "00:00:00", "AUDIO", "\n", " ", "\0", "x"]
        ),
        max_size=60,
    )
)
def test_shuffled_keywords_are_parsed_or_refused(words: list[str]) -> None:
    try:
        sheet = parse_cue_text(" ".join(words))
    except BadCueError:
        return
    assert any(track.start for track in sheet.tracks)


RUSSIAN = 'PERFORMER "Тату"\nTITLE "Нас не догонят"\nFILE "mix.mp3" MP3\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n'
FRENCH = (
    'PERFORMER "Beyoncé"\nTITLE "Déjà Vu – naïve"\nFILE "mix.mp3" MP3\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n'
)
GERMAN = 'PERFORMER "Die Ärzte"\nTITLE "Grüße"\nFILE "mix.mp3" MP3\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n'
POLISH = 'PERFORMER "Zażółć"\nTITLE "gęślą jaźń"\nFILE "mix.mp3" MP3\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n'
JAPANESE = (
    'PERFORMER "坂本龍一"\nTITLE "メリークリスマス"\nFILE m.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n'
)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "utf-8"),
        (RUSSIAN, "utf-8-sig"),
        (RUSSIAN, "utf-16"),
        (RUSSIAN, "utf-16-le"),
        (RUSSIAN, "utf-16-be"),
        (RUSSIAN, "utf-32"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN.upper(), "cp1251"),
        (RUSSIAN.replace("Нас не догонят", "Hits").replace("Тату", "Кино"), "cp1251"),
        (RUSSIAN, "koi8_r"),
        (FRENCH, "cp1252"),
        (GERMAN, "cp1252"),
        (GERMAN.replace("Grüße", "Live"), "cp1252"),
        (POLISH, "cp1250"),
        (JAPANESE, "shift_jis"),
    ],
)
def test_encoding_is_detected(text: str, encoding: str) -> None:
    sheet = parse_cue(text.encode(encoding))
    assert sheet == parse_cue_text(text)
    assert sheet.warnings == ()


def test_text_can_be_stored_in_postgresql() -> None:
    sheet = parse_cue_text('TRACK 01 AUDIO\nTITLE "a\0b\u202ec\ud800"\nINDEX 01 00:00:00')
    assert sheet.tracks[0].title == "abc"


@pytest.mark.parametrize(
    ("written", "media", "is_match"),
    [
        ("mix.wav", "mix.flac", True),
        ("C:\\Rips\\Mix.WAV", "mix.mp3", True),
        ("../a/Béla.wav", "Be\u0301la.flac", True),
        ("mix 1.wav", "mix 2.wav", False),
        ("", "mix.mp3", False),
        ("???.wav", "!!!.mp3", False),
    ],
)
def test_file_line_matches_the_media_file(written: str, media: str, *, is_match: bool) -> None:
    assert CueFile(written, "WAVE").matches(media) is is_match


def sheet_of(times: list[str], *, head: str = "") -> str:
    return f"{head}FILE m.wav WAVE\n" + "".join(
        f"TRACK {n:02d} AUDIO\nTITLE T{n}\nINDEX 01 {time}\n" for n, time in enumerate(times, start=1)
    )


def start_times(text: str, duration_s: float | None = None) -> list[float]:
    return [
        track.start.start_s for track in parse_cue_text(text, duration_s=duration_s).tracks if track.start
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("INDEX 01 00:00:75", "Frames go from 0 to 74; '00:00:75' has 75."),
        ("INDEX 01 00:61:00", "Seconds go from 0 to 59; '00:61:00' has 61."),
        ("INDEX 01 soon", "A time is minutes:seconds:frames, as in 134:22:73; this is 'soon'."),
        ("INDEX 00:00:00", "INDEX needs a number and a time, as in `INDEX 01 04:22:73`; it has '00:00:00'."),
        ("PREGAP x", "A time is minutes:seconds:frames, as in 134:22:73; this is 'x'."),
        ('TITLE "Caf\ufffd"', "The line has characters that cannot be read; it is ignored."),
    ],
)
def test_odd_line_costs_that_line(line: str, message: str) -> None:
    text = sheet_of(["00:00:00"]) + f"TRACK 02 AUDIO\n{line}\nTRACK 03 AUDIO\nTITLE T3\nINDEX 01 09:00:00\n"
    sheet = parse_cue_text(text)
    assert [(track.number, track.title, bool(track.start)) for track in sheet.tracks] == [
        (1, "T1", True),
        (2, None, False),
        (3, "T3", True),
    ]
    assert f"Line 6: {message}" in sheet.warnings


def test_track_without_a_number_is_the_next_one() -> None:
    text = sheet_of(["00:00:00"]) + "TRACK AUDIO\nTITLE Second\nINDEX 01 05:00:00\n"
    sheet = parse_cue_text(text)
    assert [(track.number, track.title) for track in sheet.tracks] == [(1, "T1"), (2, "Second")]
    assert sheet.warnings[0].startswith("Line 5: TRACK needs a number")


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["00:00", "04:30", "71:05"], [0, 270, 4265]),
        (["0:00", "58:10", "1:02:33", "1:10:00"], [0, 3490, 3753, 4200]),
        (["00:00:00:00", "01:02:03:15"], [0, 3723.2]),
        (["00:00.000", "01:02:03.500"], [0, 3723.507]),
        (["00:00:00", "04:30:74", "61:00:00"], [0, 270.987, 3660]),
        (["00:00:00", "05:00", "07:30:10"], [0, 300, 450.133]),
    ],
)
def test_times_as_programs_write_them(times: list[str], seconds: list[float]) -> None:
    assert start_times(sheet_of(times)) == pytest.approx(seconds, abs=0.01)


def test_times_have_hours_if_the_tracks_then_cover_the_recording() -> None:
    text = sheet_of(["00:00:00", "00:20:30", "00:58:10", "01:40:59"])
    assert start_times(text, 7200.0) == [0, 1230, 3490, 6059]
    assert start_times(text, 120.0) == pytest.approx([0, 20.4, 58.13, 100.79], abs=0.01)
    assert "hours:minutes:seconds" in parse_cue_text(text, duration_s=7200.0).warnings[0]


def test_times_with_frames_stay_whatever_the_duration_is() -> None:
    text = sheet_of(["00:00:00", "20:30:60", "58:10:74"])
    assert start_times(text, 7200.0) == pytest.approx([0, 1230.8, 3490.99], abs=0.01)


@pytest.mark.parametrize("has_recording", [True, False])
def test_files_of_played_tracks_are_not_media(*, has_recording: bool) -> None:
    text = 'REM RECORDED_BY "rekordbox-dj"\n' + ("FILE set.wav WAVE\n" if has_recording else "")
    for number, time in enumerate(["00:00:02", "00:03:06", "01:07:49"], start=1):
        text += f'TRACK {number:02d} AUDIO\nFILE "/Beats/played {number}.mp3" MP3\nINDEX 01 {time}\n'
    sheet = parse_cue_text(text)
    assert start_times(text) == [2, 186, 4069]
    names = {sheet.files[track.start.file].name for track in sheet.tracks if track.start}
    assert names == ({"set.wav"} if has_recording else {""})


def test_files_of_an_album_stay_media() -> None:
    text = "".join(
        f"FILE {n}.wav WAVE\nTRACK {n:02d} AUDIO\nINDEX 00 00:00:00\nINDEX 01 00:0{n}:00\n"
        for n in range(1, 5)
    )
    sheet = parse_cue_text(text)
    assert [track.start.file for track in sheet.tracks if track.start] == [0, 1, 2, 3]


def test_isrc_is_no_title() -> None:
    sheet = parse_cue_text(
        "FILE a WAVE\nTRACK 1 AUDIO\nTITLE GBAYE0601498\nISRC GBAYE0601498\nINDEX 01 00:00:00"
    )
    assert (sheet.tracks[0].title, sheet.tracks[0].isrc) == (None, "GBAYE0601498")


@pytest.mark.parametrize(
    ("encoding", "performer", "title"),
    [
        ("gb18030", "黄家驹", "海阔天空"),
        ("big5", "蔡琴", "被遺忘的時光"),
        ("cp932", "スピッツ", "ロビンソン"),
        ("cp932", "ﾐｽﾀｰ･ﾁﾙﾄﾞﾚﾝ", "ｲﾉｾﾝﾄ ﾜｰﾙﾄﾞ"),
        ("euc_jp", "尾崎豊", "卒業のうた"),
        ("cp949", "신해철", "그대에게"),
        ("cp1253", "Μελίνα Μερκούρη", "Τα παιδιά του Πειραιά"),
        ("cp1251", "ДДТ", "ДДТ"),
        ("cp866", "Чайф", "Поплачь о нём"),
        ("cp1252", "Sigur Rós", "Ágætis byrjun"),
    ],
)
def test_more_encodings_are_detected(encoding: str, performer: str, title: str) -> None:
    text = f"PERFORMER {performer}\nTITLE {title}\nFILE m.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\n"
    sheet = parse_cue(text.encode(encoding))
    assert (sheet.performer, sheet.title) == (performer, title)
    assert decode_cue(text.encode(encoding)).guessed is not None


def test_damaged_character_in_utf_8_costs_its_line() -> None:
    text = sheet_of(["00:00:00", "05:00:00"]).replace("T1", "Первая").replace("T2", "Вторая")
    data = text.encode().replace("Вторая".encode(), "Втора".encode() + b"\xd1")
    sheet = parse_cue(data)
    assert [track.title for track in sheet.tracks] == ["Первая", None]
    assert sheet.warnings == ("Line 6: The line has characters that cannot be read; it is ignored.",)
