"""Compares voices with known ones, and writes voiceprints as text."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.domain.diarization import SpeakerVoice, Voiceprint

_FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """A voice of a person who has a profile; a person may have several."""

    user_profile_id: UUID
    voiceprint: Voiceprint


@dataclass(frozen=True, slots=True)
class Match:
    """A speaker taken for a known person."""

    user_profile_id: UUID
    confidence: float
    """Cosine of the two voices, at most 1."""


def cosine_similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Cosine of the angle between two vectors of shape (dim,), from -1 to 1; 0 where one is zero."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 0.0 if norm == 0 else float(np.clip(a @ b / norm, -1, 1))


def match_voices(
    voices: Sequence[SpeakerVoice], known: Sequence[KnownVoice], *, threshold: float
) -> Mapping[str, Match]:
    """The known person behind each speaker's label, best pairs first; nobody is taken twice.

    Voices of another model or size are never compared. A speaker without a match at or above
    `threshold` is left out.
    """
    pairs = [
        (
            cosine_similarity(voice.voiceprint.vector, other.voiceprint.vector),
            voice.label,
            other.user_profile_id,
        )
        for voice in voices
        for other in known
        if voice.voiceprint is not None
        and voice.voiceprint.model_id == other.voiceprint.model_id
        and voice.voiceprint.dim == other.voiceprint.dim
    ]
    matches: dict[str, Match] = {}
    taken: set[UUID] = set()
    for similarity, label, person in sorted(pairs, key=lambda pair: -pair[0]):
        if similarity >= threshold and label not in matches and person not in taken:
            matches[label] = Match(person, min(similarity, 1.0))
            taken.add(person)
    return matches


def encode_vector(vector: NDArray[np.float32]) -> str:
    """A voiceprint's vector as base64 of little-endian float32 (C-24)."""
    return base64.b64encode(vector.astype(_FLOAT32).tobytes()).decode()


def decode_vector(text: str) -> NDArray[np.float32]:
    """Back from `encode_vector`.

    Raises:
        ValueError: the text is not base64 of whole float32 numbers.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("An embedding is base64 of little-endian float32 numbers.") from error
    return np.frombuffer(content, _FLOAT32).astype(np.float32)
