"""What is known about a recording: rows of a key, a text and the type of the text (K-03, C-45, C-48)."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias, assert_never

from phonograph_tracklist.constants import MAX_KEY_CHARS, MAX_VALUE_CHARS
from phonograph_tracklist.domain.printable import printable
from phonograph_tracklist.domain.tracklist import is_cue_tag
from phonograph_tracklist.exceptions import BadMetadataError

MetadataValue: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any]

_WHOLE_NUMBER_TAGS: Final = frozenset({"disc", "disc_total", "track", "track_total", "year"})
_SEVERAL_IN_ONE: Final = frozenset({"albumartist", "artist", "composer", "genre"})
"""Tags in which taggers write several values with semicolons; no name has one."""


class ValueType(StrEnum):
    """How a value's text is to be read."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    JSON = "json"


class ExtractionMethod(StrEnum):
    """Where a fact comes from."""

    TAG = "tag"
    ANALYSIS = "analysis"


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """One fact. Several values of one key are one row with a JSON list."""

    key: str
    value: str
    value_type: ValueType
    extraction_method: ExtractionMethod
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class MusicFeatures:
    """What the analysis measured; null where there is nothing to measure."""

    bpm: float | None = None
    bpm_confidence: float | None = None
    bpm_candidates: tuple[float, ...] = ()
    key: str | None = None
    scale: str | None = None
    key_strength: float | None = None
    loudness_lufs: float | None = None
    danceability: float | None = None


FEATURE_KEYS: Final = frozenset(MusicFeatures.__slots__)


def encode_value(value: MetadataValue) -> tuple[str, ValueType]:
    """A value as text with its type.

    Raises:
        BadMetadataError: a number that is not finite, or something that JSON has no word for.
    """
    if isinstance(value, str):
        return value, ValueType.STRING
    if isinstance(value, bool):
        return str(value).lower(), ValueType.BOOL
    if isinstance(value, int):
        return str(value), ValueType.INT
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadMetadataError(f"{value} is no value of a recording: it is not finite.")
        return repr(value), ValueType.FLOAT
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")), ValueType.JSON
    except (TypeError, ValueError) as error:
        raise BadMetadataError(f"{type(value).__name__} cannot be written as JSON: {error}.") from error


def decode_value(text: str, value_type: str) -> MetadataValue:
    """Back from `encode_value`.

    Raises:
        BadMetadataError: the type is unknown, or the text does not fit it.
    """
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
        raise BadMetadataError(f"{text[:40]!r} is no value of type {value_type!r}.") from error


def rows_from_tags(tags: Mapping[str, Sequence[str]]) -> list[MetadataRow]:
    """One row per tag, sorted by key.

    A cue sheet in a tag is a tracklist and no fact, so it has no row. A tag named as a measured feature is
    kept as `tag_bpm` and so on: what somebody wrote and what was measured are two facts.

    Args:
        tags: by name, each with its values in order.
    """
    values_of: dict[str, list[str]] = {}
    for name, values in tags.items():
        key = printable(name).casefold()
        key = (f"tag_{key}" if key in FEATURE_KEYS else key)[:MAX_KEY_CHARS]
        if key and not is_cue_tag(name):
            earlier = values_of.get(key, [])
            values_of[key] = list(dict.fromkeys(earlier + tag_values(key, values)))
    rows = []
    for key, texts in sorted(values_of.items()):
        if texts:
            value: MetadataValue = _typed(key, texts[0]) if len(texts) == 1 else list(texts)
            encoded, value_type = encode_value(value)
            rows.append(MetadataRow(key, encoded, value_type, ExtractionMethod.TAG))
    return rows


def tag_values(key: str, values: Sequence[str]) -> list[str]:
    """The values of a tag, cleaned, the empty ones left out; names joined with semicolons are taken apart."""
    separator = r"[;\0]" if key in _SEVERAL_IN_ONE else r"\0"
    parts = (printable(part)[:MAX_VALUE_CHARS] for value in values for part in re.split(separator, value))
    return [part for part in parts if part]


def rows_from_music(features: MusicFeatures) -> list[MetadataRow]:
    """One row per measured feature; what could not be measured has none."""
    confidence_of = {
        "bpm": features.bpm_confidence,
        "key": features.key_strength,
        "scale": features.key_strength,
    }
    rows = []
    for key in sorted(FEATURE_KEYS):
        value = getattr(features, key)
        if value is None or value == ():
            continue
        encoded, value_type = encode_value(list(value) if isinstance(value, tuple) else value)
        confidence = confidence_of.get(key)
        rows.append(
            MetadataRow(
                key, encoded, value_type, ExtractionMethod.ANALYSIS, 1.0 if confidence is None else confidence
            )
        )
    return rows


def _typed(key: str, text: str) -> MetadataValue:
    if key in _WHOLE_NUMBER_TAGS and re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    return text
