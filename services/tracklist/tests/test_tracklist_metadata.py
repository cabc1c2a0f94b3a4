"""Tags and measured features as typed rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_tracklist.constants import MAX_KEY_CHARS, MAX_VALUE_CHARS
from phonograph_tracklist.domain.metadata import (
    MusicFeatures,
    ValueType,
    decode_value,
    encode_value,
    rows_from_music,
    rows_from_tags,
)
from phonograph_tracklist.exceptions import BadMetadataError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    st.text()
    | st.integers()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(json_values)
    | st.dictionaries(st.text(), json_values)
)
def test_codec_both_ways(value: object) -> None:
    """C-45: what is written is read back, with its type."""
    text, value_type = encode_value(value)
    again = decode_value(text, value_type)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("value", "text", "value_type"),
    [
        ("a", "a", "string"),
        (7, "7", "int"),
        (124.5, "124.5", "float"),
        (True, "true", "bool"),
        (["Тату", "b"], '["Тату","b"]', "json"),
    ],
)
def test_texts(value: object, text: str, value_type: str) -> None:
    assert encode_value(value) == (text, value_type)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("nan")], {"a": object()}])
def test_values_that_cannot_be_written(value: object) -> None:
    with pytest.raises(BadMetadataError):
        encode_value(value)


@pytest.mark.parametrize(
    ("text", "value_type"), [("x", "int"), ("", "float"), ("yes", "bool"), ("{", "json"), ("x", "colour")]
)
def test_texts_that_do_not_fit(text: str, value_type: str) -> None:
    with pytest.raises(BadMetadataError, match=value_type):
        decode_value(text, value_type)


def test_one_row_per_tag_with_lists_for_several_values() -> None:
    """C-48: several artists or genres of one file are one row of type json."""
    rows = rows_from_tags(
        {
            "title": [" Song\0"],
            "artist": ["A", "B; C", "A"],
            "genre": ["House"],
            "year": ["2019"],
            "track": ["3/12"],
            "comment": ["a; b"],
            "empty": ["", " "],
            "cuesheet": ["TRACK 01 AUDIO"],
        }
    )
    assert [(row.key, row.value, row.value_type) for row in rows] == [
        ("artist", '["A","B","C"]', "json"),
        ("comment", "a; b", "string"),
        ("genre", "House", "string"),
        ("title", "Song", "string"),
        ("track", "3/12", "string"),
        ("year", "2019", "int"),
    ]
    assert {row.extraction_method for row in rows} == {"tag"}


def test_tags_never_take_the_place_of_measurements() -> None:
    assert [row.key for row in rows_from_tags({"bpm": ["128"], "KEY": ["Am"]})] == ["tag_bpm", "tag_key"]


def test_keys_that_fall_together_are_one_row() -> None:
    """K-03: UNIQUE(recording_id, key)."""
    long = "k" * (MAX_KEY_CHARS + 5)
    rows = rows_from_tags({"Mood": ["dark"], "mood": ["slow"], long: ["1"], long + "x": ["2"]})
    assert [(row.key, decode_value(row.value, row.value_type)) for row in rows] == [
        (long[:MAX_KEY_CHARS], ["1", "2"]),
        ("mood", ["dark", "slow"]),
    ]


def test_long_values_are_cut() -> None:
    (row,) = rows_from_tags({"lyrics": ["la " * MAX_VALUE_CHARS]})
    assert len(row.value) == MAX_VALUE_CHARS


def test_one_row_per_measured_feature() -> None:
    rows = rows_from_music(
        MusicFeatures(
            bpm=124.38,
            bpm_confidence=0.8,
            bpm_candidates=(62.19, 124.38),
            key="A",
            scale="minor",
            key_strength=0.7,
        )
    )
    found = {
        row.key: (decode_value(row.value, row.value_type), row.value_type, row.confidence) for row in rows
    }
    assert found == {
        "bpm": (124.38, ValueType.FLOAT, 0.8),
        "bpm_candidates": ([62.19, 124.38], ValueType.JSON, 1.0),
        "bpm_confidence": (0.8, ValueType.FLOAT, 1.0),
        "key": ("A", ValueType.STRING, 0.7),
        "key_strength": (0.7, ValueType.FLOAT, 1.0),
        "scale": ("minor", ValueType.STRING, 0.7),
    }


def test_nothing_measured_gives_no_row() -> None:
    assert rows_from_music(MusicFeatures()) == []
