"""Comparison of voices with known ones, and voiceprints as text."""

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
class VoiceMatch:
    """The known person that a speaker is taken for."""

    user_profile_id: UUID
    confidence: float
    """Cosine similarity of the two voices, at most 1."""


def cosine_similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the cosine of the angle between two vectors of shape (dim,), in [-1, 1]; 0 if one is zero."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 0.0 if norm == 0 else float(np.clip(a @ b / norm, -1, 1))


def match_voices(
    voices: Sequence[SpeakerVoice], known: Sequence[KnownVoice], *, threshold: float
) -> Mapping[str, VoiceMatch]:
    """Match speakers with known people, the most similar pairs first; a person matches one speaker at most.

    Args:
        voices: Speakers of one recording; those without a voiceprint match no person.
        known: Voices of known people; only voiceprints of equal model and length are compared.
        threshold: Least cosine similarity of a match.

    Returns:
        The match of each speaker's label; speakers without a match are missing.
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
    matches: dict[str, VoiceMatch] = {}
    taken: set[UUID] = set()
    for similarity, label, person in sorted(pairs, key=lambda pair: -pair[0]):
        if similarity >= threshold and label not in matches and person not in taken:
            matches[label] = VoiceMatch(person, min(similarity, 1.0))
            taken.add(person)
    return matches


def encode_vector(vector: NDArray[np.float32]) -> str:
    """Return the vector of a voiceprint as base64 of little-endian float32 (C-24)."""
    return base64.b64encode(vector.astype(_FLOAT32).tobytes()).decode()


def decode_vector(text: str) -> NDArray[np.float32]:
    """Return the vector, of shape (dim,), that `encode_vector` encoded.

    Raises:
        ValueError: If the text is not base64 of whole float32 numbers.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("An embedding is base64 of little-endian float32 numbers.") from error
    return np.frombuffer(content, _FLOAT32).astype(np.float32)
