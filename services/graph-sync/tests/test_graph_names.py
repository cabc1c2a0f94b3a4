"""Spellings of names, and facts from metadata."""

from datetime import UTC, datetime

import pytest

from phonograph_events import MetadataEntry
from phonograph_graph_sync.domain.facts import extract_facts, typed_values
from phonograph_graph_sync.domain.graph import Label, Ref
from phonograph_graph_sync.domain.names import (
    MAX_INDEXED_BYTES,
    clean_name,
    normalize_name,
    parse_musical_key,
    readable_path,
    shorten_for_index,
    split_credit,
)

TIME = datetime(2026, 1, 1, tzinfo=UTC)
RECORDING = Ref(Label.RECORDING, ("r",))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Am", ("A", "minor")),
        ("A minor", ("A", "minor")),
        ("F#", ("F#", "major")),
        ("B♭m", ("Bb", "minor")),
        ("A#", ("Bb", "major")),
        ("Db major", ("C#", "major")),
        ("8A", None),
        ("H", None),
        ("", None),
    ],
)
def test_keys_of_tags_have_one_spelling(text: str, key: tuple[str, str] | None) -> None:
    assert parse_musical_key(text) == key


@pytest.mark.parametrize(
    ("credit", "main", "featured"),
    [
        ("A", "A", []),
        ("A feat. B", "A", ["B"]),
        ("A (ft. B)", "A", ["B"]),
        ("Featuring X", "Featuring X", []),
        ("Daft Punk", "Daft Punk", []),
    ],
)
def test_credits_name_the_main_artist_and_the_featured_ones(
    credit: str, main: str, featured: list[str]
) -> None:
    assert split_credit(credit) == (main, featured)


def test_names_are_compared_without_case_width_and_spaces() -> None:
    assert normalize_name("  ＢＪÖRK  Guð ") == normalize_name("björk guð")
    assert clean_name("  a\t b ") == "a b"


def test_a_long_text_stays_distinct_and_can_be_indexed() -> None:
    one, other = shorten_for_index("é" * 9000 + "1"), shorten_for_index("é" * 9000 + "2")
    assert one != other
    assert max(len(one.encode()), len(other.encode())) <= MAX_INDEXED_BYTES
    assert shorten_for_index("short") == "short"


def test_paths_are_decoded() -> None:
    assert readable_path("file:///a%20b/%C3%A9.mp3") == "/a b/é.mp3"
    assert readable_path("file:///bad%FF") == "/bad\ufffd"
    assert readable_path("FILE://localhost/a%20b") == "/a b"
    assert readable_path("https://host/a%20b") == "https://host/a%20b"


def test_lists_fan_out_and_anything_else_stays() -> None:
    """A JSON list has one typed value per entry; any other text stays one value (C-48)."""

    def read(value: str, value_type: str) -> list[tuple[str, str]]:
        return typed_values(MetadataEntry(key="k", value=value, value_type=value_type))

    assert read('["a", 1, 1.5, true, null]', "json") == [
        ("a", "string"),
        ("1", "int"),
        ("1.5", "float"),
        ("true", "bool"),
        ("null", "json"),
    ]
    assert read("7", "int") == [("7", "int")]
    assert read("{broken", "json") == [("{broken", "string")]


def test_an_album_without_artist_has_an_empty_one() -> None:
    """C-30: Neo4j neither merges on `null` nor constrains a node that lacks a property."""
    found = extract_facts(RECORDING, [MetadataEntry(key="album", value="X")], TIME)
    assert Ref(Label.ALBUM, ("X", "")) in {fact.node.ref for fact in found}
