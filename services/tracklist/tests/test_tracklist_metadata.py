"""Tags and measured features as typed rows."""

import json
from typing import assert_never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_tracklist.constants import MAX_KEY_CHARS, MAX_VALUE_CHARS
from phonograph_tracklist.domain.metadata import (
    MetadataValue,
    MusicFeatures,
    ValueType,
    encode_value,
    rows_from_music,
    rows_from_tags,
)
from phonograph_tracklist.domain.tags import describe_cuts
from phonograph_tracklist.exceptions import BadMetadataError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def decode_value(text: str, value_type: str) -> MetadataValue:
    """Return the value that `encode_value` has encoded."""
    try:
        known = ValueType(value_type)
        match known:
            case ValueType.STRING:
                return text
            case ValueType.INT:
                return int(text)
            case ValueType.FLOAT:
                return float(text)
            case ValueType.BOOL:
                return {"true": True, "false": False}[text]
            case ValueType.JSON:
                parsed: MetadataValue = json.loads(text)
                return parsed
            case _:
                assert_never(known)
    except (KeyError, ValueError) as error:
        raise BadMetadataError(f"{text[:40]!r} is not a value of type {value_type!r}.") from error


@given(
    st.text()
    | st.integers()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(json_values)
    | st.dictionaries(st.text(), json_values)
)
def test_decoded_value_equals_the_encoded_one(value: object) -> None:
    """A decoded value equals the encoded one and has the same type (C-45)."""
    text, value_type = encode_value(value)
    decoded = decode_value(text, value_type)
    assert decoded == value
    assert type(decoded) is type(value)


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
def test_text_and_type_of_values(value: object, text: str, value_type: str) -> None:
    assert encode_value(value) == (text, value_type)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("nan")], {"a": object()}])
def test_value_without_text_form_is_refused(value: object) -> None:
    with pytest.raises(BadMetadataError):
        encode_value(value)


@pytest.mark.parametrize(
    ("text", "value_type"), [("x", "int"), ("", "float"), ("yes", "bool"), ("{", "json"), ("x", "color")]
)
def test_text_that_does_not_fit_its_type_is_refused(text: str, value_type: str) -> None:
    with pytest.raises(BadMetadataError, match=value_type):
        decode_value(text, value_type)


def test_one_row_per_tag_with_lists_for_several_values() -> None:
    """Several artists or genres of one file are one row of type json (C-48)."""
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


def test_tag_named_like_a_feature_gets_a_prefix() -> None:
    assert [row.key for row in rows_from_tags({"bpm": ["128"], "KEY": ["Am"]})] == ["tag_bpm", "tag_key"]


def test_equal_keys_are_merged_into_one_row() -> None:
    """Keys that are equal after folding and cutting share a row, as the table requires (K-03)."""
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


def test_feature_without_measurement_has_no_row() -> None:
    assert rows_from_music(MusicFeatures()) == []


def test_cut_values_are_named_in_a_warning() -> None:
    assert describe_cuts({"lyrics": ["x" * 5_000], "cuesheet": ["x" * 5_000], "title": ["T"]}) == [
        "The tag 'lyrics' is cut to 4000 characters."
    ]


def test_value_with_a_replacement_character_has_no_row() -> None:
    assert rows_from_tags({"artist": ["Mor\ufffdska"]}) == []
