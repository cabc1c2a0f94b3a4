"""Metadata of a recording: rows of a key, a text and the type of the text (K-03, C-45, C-48)."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias

from phonograph_tracklist.constants import MAX_KEY_CHARS
from phonograph_tracklist.domain.printable import printable
from phonograph_tracklist.domain.tags import is_cue_tag, tag_values
from phonograph_tracklist.exceptions import BadMetadataError

MetadataValue: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any]

_WHOLE_NUMBER_TAGS: Final = frozenset({"disc", "disc_total", "track", "track_total", "year"})


class ValueType(StrEnum):
    """Type of a value that is stored as text."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    JSON = "json"


class ExtractionMethod(StrEnum):
    """Origin of a fact."""

    TAG = "tag"
    ANALYSIS = "analysis"


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """One fact; several values of one key are one row with a JSON list."""

    key: str
    value: str
    value_type: ValueType
    extraction_method: ExtractionMethod
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class MusicFeatures:
    """Features that the analysis measured; None where nothing could be measured."""

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
    """Return a value as text, with its type.

    Raises:
        BadMetadataError: If the value is or contains a number that is not finite, or cannot be JSON.
    """
    if isinstance(value, str):
        return value, ValueType.STRING
    if isinstance(value, bool):
        return str(value).lower(), ValueType.BOOL
    if isinstance(value, int):
        return str(value), ValueType.INT
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadMetadataError(f"{value} cannot be stored as metadata: it is not a finite number.")
        return repr(value), ValueType.FLOAT
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")), ValueType.JSON
    except (TypeError, ValueError) as error:
        raise BadMetadataError(f"A {type(value).__name__} cannot be stored as JSON: {error}.") from error


def rows_from_tags(tags: Mapping[str, Sequence[str]]) -> list[MetadataRow]:
    """Return one row per tag, sorted by key.

    A cue sheet in a tag is a tracklist and not a fact, so it has no row. A tag named like a measured feature
    gets the prefix `tag_`, as in `tag_bpm`: a value that was typed and one that was measured are two facts.

    Args:
        tags: By name, each with its values in order.
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
            value: MetadataValue = _parse_value(key, texts[0]) if len(texts) == 1 else list(texts)
            encoded, value_type = encode_value(value)
            rows.append(MetadataRow(key, encoded, value_type, ExtractionMethod.TAG))
    return rows


def rows_from_music(features: MusicFeatures) -> list[MetadataRow]:
    """Return one row per measured feature; a feature that could not be measured has none."""
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


def _parse_value(key: str, text: str) -> MetadataValue:
    if key in _WHOLE_NUMBER_TAGS and re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    return text
