"""Proposed names: the decision table of `domain/rename.py`, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_tracklist.domain.rename import name_key, propose_rename

FULL = {"album": ["Album"], "year": ["2019"], "genre": ["House"], "track": ["3"]}


def name(artist: str, title: str, current: str = "x.mp3") -> str | None:
    proposal = propose_rename(current, {"artist": [artist], "title": [title]})
    return proposal.proposed_filename if proposal else None


@pytest.mark.parametrize(
    ("artist", "title", "proposed"),
    [
        ("Daft Punk", "One More Time", "Daft Punk - One More Time.mp3"),
        ("Fergie", "Don’t Stop", "Fergie - Don't Stop.mp3"),
        ("A", "Song [Extended] (Live)!", "A - Song [Extended] (Live)!.mp3"),
        ("A", 'The "Big" One', "A - The 'Big' One.mp3"),
        ("A", "Why? *Because*", "A - Why Because.mp3"),
        ("A", "<3", "A - (3.mp3"),
        ("AC/DC", "Back|In\\Black", "AC-DC - Back-In-Black.mp3"),
        ("A", "Part 2: 12:30", "A - Part 2 - 12-30.mp3"),
        ("Björk", "Jo\u0301ga", "Björk - Jóga.mp3"),
        ("坂本龍一", "戦場のメリークリスマス", "坂本龍一 - 戦場のメリークリスマス.mp3"),
        ("...And You", "Will Know...", "And You - Will Know.mp3"),
        ("-M-", "Je dis aime.", "M- - Je dis aime.mp3"),
        ("NUL.x", "y", "NUL_.x - y.mp3"),
        ("con", "y", "con - y.mp3"),
        ("a\u202eb\0c", "t\nu", "ab, c - t u.mp3"),
        ("../../etc", "passwd", "etc - passwd.mp3"),
        ("..\\..\\Windows", "..", None),
        ("???", "y", None),
    ],
)
def test_name_follows_the_table(artist: str, title: str, proposed: str | None) -> None:
    assert name(artist, title) == proposed


@pytest.mark.parametrize(
    ("artists", "proposed"),
    [
        (["A", "B", "C"], "A, B, C - T.mp3"),
        (["A; B"], "A, B - T.mp3"),
        (["A", "B", "C", "D"], "A, B, C and others - T.mp3"),
    ],
)
def test_artists_are_joined(artists: list[str], proposed: str) -> None:
    proposal = propose_rename("x.mp3", {"artist": artists, "title": ["T"]})
    assert proposal is not None
    assert proposal.proposed_filename == proposed


@pytest.mark.parametrize(
    "current",
    [
        "daft punk - one more time.mp3",
        "Daft_Punk-One_More_Time.MP3",
        "07. Daft Punk – One  More Time!.mp3",
        "Dáft Punk - One More Time",
    ],
)
def test_no_proposal_if_the_current_name_differs_in_form_only(current: str) -> None:
    assert name("Daft Punk", "One More Time", current) is None


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"artist": ["A"]},
        {"title": ["T"]},
        {"artist": [" "], "title": ["T"]},
        {"artist": ["Unknown Artist"], "title": ["T"]},
        {"artist": ["<unknown>"], "title": ["T"]},
        {"artist": ["A"], "title": ["Track 01"]},
    ],
)
def test_no_proposal_without_artist_and_title(tags: dict[str, list[str]]) -> None:
    assert propose_rename("x.mp3", tags) is None


@pytest.mark.parametrize(
    ("current", "extension"),
    [("x.MP3", ".mp3"), ("x.y.Flac", ".flac"), ("x", ""), ("Vol.2", ""), ("x.", "")],
)
def test_extension_is_kept_in_lower_case(current: str, extension: str) -> None:
    assert name("A", "T", current) == f"A - T{extension}"


def test_confidence_grows_with_the_completeness_of_the_tags() -> None:
    """A proposal has its confidence and the tags that were used (K-05)."""
    full = propose_rename("x.mp3", {"artist": ["A"], "title": ["T"], **FULL})
    short = propose_rename("x.mp3", {"artist": ["A"], "title": ["T"]})
    album = propose_rename("x.mp3", {"albumartist": ["A"], "title": ["T"]})
    assert [p and p.confidence for p in (full, short, album)] == [1.0, 0.7, 0.55]
    assert full is not None
    assert full.metadata_used == {
        "artist": "A",
        "title": "T",
        "album": "Album",
        "year": "2019",
        "genre": "House",
        "track": "3",
    }


@pytest.mark.parametrize(
    ("current", "sentence"),
    [
        ("One More Time - Daft Punk.mp3", "in another order"),
        ("Daft Punk One More Time live.mp3", "more words than"),
        ("One More Time.mp3", "only a part"),
        ("recording 7.mp3", "another artist or title"),
    ],
)
def test_reason_is_a_sentence(current: str, sentence: str) -> None:
    proposal = propose_rename(current, {"artist": ["Daft Punk"], "title": ["One More Time"]})
    assert proposal is not None
    assert sentence in proposal.reason
    assert proposal.reason.endswith(".")


def test_long_cyrillic_name_is_romanized() -> None:
    """A name has at most 255 bytes, not only characters (C-50)."""
    proposal = propose_rename("x.mp3", {"artist": ["Тату " * 12], "title": ["Нас не догонят " * 6]})
    assert proposal is not None
    assert proposal.proposed_filename.isascii()
    assert proposal.proposed_filename.startswith("Tatu Tatu")
    assert proposal.proposed_filename.endswith("Nas ne dogonyat.mp3")
    assert proposal.confidence == 0.56


def test_long_japanese_name_is_cut() -> None:
    """Kanji have no single romanization, so the name is cut (C-50)."""
    proposal = propose_rename("x.mp3", {"artist": ["坂本龍一"], "title": ["戦" * 90]})
    assert proposal is not None
    assert proposal.proposed_filename == f"坂本龍一 - {'戦' * 78}.mp3"
    assert len(proposal.proposed_filename.encode()) == 253


def test_folder_and_name_together_stay_within_255() -> None:
    """The limit applies to both names together (C-50)."""
    folder = "f" * 150
    proposal = propose_rename("x.mp3", {"artist": ["a" * 200], "title": ["t" * 200]}, folder_name=folder)
    assert proposal is not None
    assert len(folder) + len(proposal.proposed_filename) == 255
    assert (
        propose_rename("x.mp3", {"artist": ["a" * 200], "title": ["t" * 200]}, folder_name="f" * 230) is None
    )


@given(st.text(max_size=300), st.text(max_size=300), st.sampled_from(["x.mp3", "x", ".hidden", "a.b.FLAC"]))
def test_any_proposal_is_a_safe_name(artist: str, title: str, current: str) -> None:
    proposal = propose_rename(current, {"artist": [artist], "title": [title]})
    if proposal is None:
        return
    proposed = proposal.proposed_filename
    assert 0 < len(proposed) <= len(proposed.encode()) <= 255
    assert not set(proposed) & set('/\\:*?"<>|\0')
    assert all(char.isprintable() or char in "\u200c\u200d" for char in proposed)
    assert not proposed.startswith((".", " ", "-"))
    assert not proposed.endswith((".", " "))
    assert proposed != current
    assert 0 <= proposal.confidence <= 1


def proposed(taken: set[str], current: str = "x.mp3", title: str = "T") -> str | None:
    found = propose_rename(current, {"artist": ["A"], "title": [title]}, taken=set(map(name_key, taken)))
    return found and found.proposed_filename


def test_name_of_another_file_gets_a_number() -> None:
    assert proposed({"other.mp3", "A - T.flac"}) == "A - T.mp3"
    assert proposed({"A - T.mp3"}) == "A - T (2).mp3"
    assert proposed({"a - t.MP3", "A - T (2).mp3"}) == "A - T (3).mp3"
    assert proposed({"A - E\u0301.mp3"}, title="É") == "A - É (2).mp3"


def test_file_with_the_number_keeps_its_name() -> None:
    assert proposed({"A - T.mp3"}, current="A - T (2).mp3") is None
    assert proposed({f"A - T ({n}).mp3" for n in range(200)} | {"A - T.mp3"}) is None


def test_numbered_name_fits_and_says_why_it_has_a_number() -> None:
    tags = {"artist": ["坂本"], "title": ["あ" * 100]}
    first = propose_rename("x.mp3", tags)
    assert first is not None
    second = propose_rename("x.mp3", tags, taken={name_key(first.proposed_filename)})
    assert second is not None
    assert second.proposed_filename.endswith(" (2).mp3")
    assert len(second.proposed_filename.encode()) <= 255
    assert second.reason.endswith("has or gets the name without the number.")
