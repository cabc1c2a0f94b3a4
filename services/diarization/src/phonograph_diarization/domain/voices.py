"""Comparison of voices with those of known people, and voiceprints as text."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.domain.diarization import Voiceprint

MAX_VOICEPRINTS: Final = 5
"""Voiceprints of a person by one model: those of different microphones, rooms and moods."""
MAX_SAMPLES: Final = 50
"""Speakers from whose voices the voiceprints of a person are made: the newest."""

_FLOAT32 = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class MatchRule:
    """The similarity of a voice to that of a person from which on the person is suggested."""

    threshold: float
    """Least cosine similarity."""
    margin: float
    """Least difference from the similarity to any other person: below it, either might be speaking."""


MATCH_RULES: Final[Mapping[str, MatchRule]] = {
    # In halves of recordings and between them, different people reach 0.6; one person has 0.8 to 0.99, but
    # also 0.46 in five seconds of a noisy recording, for which nothing is suggested.
    "mfcc19-statistics-v1": MatchRule(threshold=0.8, margin=0.05),
    # Different people reach 0.77; of one person's voiceprints of 5 and 8 s, 86 to 93 % exceed 0.8.
    "ge2e-v1": MatchRule(threshold=0.8, margin=0.05),
    "pyannote": MatchRule(threshold=0.5, margin=0.05),
}
"""Rules by the model of the voiceprints, or by the part of its id before a colon."""


@dataclass(frozen=True, slots=True)
class Voice:
    """The voice of a speaker who is not confirmed to be a person."""

    speaker_id: UUID
    meeting_id: UUID
    voiceprint: Voiceprint


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """A voiceprint of a person; a person may have several."""

    person_id: UUID
    voiceprint: Voiceprint


@dataclass(frozen=True, slots=True)
class VoiceMatch:
    """The person that a speaker is taken for."""

    person_id: UUID
    score: float
    """Cosine similarity of the voice to the most similar voiceprint of the person, at most 1."""


@dataclass(frozen=True, slots=True)
class VoiceSample:
    """The voice of a person in one meeting."""

    voiceprint: Voiceprint
    speech_s: float


@dataclass(frozen=True, slots=True)
class Prototype:
    """A voiceprint of a person with what it was made from."""

    voiceprint: Voiceprint
    sample_count: int
    speech_s: float


def find_rule(model_id: str) -> MatchRule | None:
    """Return the rule for the voiceprints of a model; None if there is none, and so no suggestion."""
    return MATCH_RULES.get(model_id) or MATCH_RULES.get(model_id.partition(":")[0])


def suggest_people(
    voices: Sequence[Voice],
    known: Sequence[KnownVoice],
    *,
    taken: Mapping[UUID, Collection[UUID]],
    refused: Collection[tuple[UUID, UUID]],
) -> dict[UUID, VoiceMatch]:
    """Suggest a person for each voice that is similar enough to one person, and to no other.

    A person is suggested once in a meeting: for the most similar voice. The others get no second choice,
    since that would be a guess.

    Args:
        voices: Voices of any meetings.
        known: Voiceprints of people; only those of equal model and length are compared.
        taken: People who are confirmed as other speakers, by meeting.
        refused: Pairs of speaker and person that a user has refused.

    Returns:
        The suggestion for each speaker that has one.
    """
    best: dict[tuple[UUID, UUID], tuple[float, UUID]] = {}
    for voice, scores in _compare(voices, known):
        rule = find_rule(voice.voiceprint.model_id)
        if rule is None:
            continue
        candidates = sorted(
            (
                (score, person)
                for person, score in scores.items()
                if person not in taken.get(voice.meeting_id, ()) and (voice.speaker_id, person) not in refused
            ),
            reverse=True,
        )
        if not candidates or candidates[0][0] < rule.threshold:
            continue
        score, person = candidates[0]
        if len(candidates) > 1 and score - candidates[1][0] < rule.margin:
            continue
        place = (voice.meeting_id, person)
        best[place] = max(best.get(place, (-1.0, voice.speaker_id)), (score, voice.speaker_id))
    return {speaker: VoiceMatch(person, score) for (_, person), (score, speaker) in best.items()}


def build_prototypes(samples: Iterable[VoiceSample]) -> list[Prototype]:
    """Return the voiceprints of a person: one per sample; too many of a model are joined by similarity."""
    by_model: dict[tuple[str, int], list[Prototype]] = defaultdict(list)
    for sample in samples:
        key = (sample.voiceprint.model_id, sample.voiceprint.dim)
        by_model[key].append(Prototype(sample.voiceprint, 1, sample.speech_s))
    return [prototype for own in by_model.values() for prototype in _reduce(own[:MAX_SAMPLES])]


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


def similarities(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosines of the angles between vectors, in [-1, 1]; 0 where one of the two is zero.

    Args:
        one: Shape (n, dim).
        other: Shape (m, dim).

    Returns:
        Shape (n, m).
    """
    cosines: NDArray[np.float64] = np.clip(_normalize(one) @ _normalize(other).T, -1, 1)
    return cosines


def _compare(
    voices: Sequence[Voice], known: Sequence[KnownVoice]
) -> Iterator[tuple[Voice, dict[UUID, float]]]:
    """Yield each voice with its similarity to the most similar voiceprint of each person."""
    by_model: dict[tuple[str, int], list[KnownVoice]] = defaultdict(list)
    for other in known:
        by_model[other.voiceprint.model_id, other.voiceprint.dim].append(other)
    comparable: dict[tuple[str, int], list[Voice]] = defaultdict(list)
    for voice in voices:
        comparable[voice.voiceprint.model_id, voice.voiceprint.dim].append(voice)
    for key, own in comparable.items():
        others = by_model.get(key)
        if not others:
            continue
        matrix = similarities(
            np.stack([voice.voiceprint.vector for voice in own]),
            np.stack([other.voiceprint.vector for other in others]),
        )
        for voice, row in zip(own, matrix, strict=True):
            scores: dict[UUID, float] = {}
            for other, score in zip(others, row.tolist(), strict=True):
                scores[other.person_id] = max(score, scores.get(other.person_id, -1.0))
            yield voice, scores


def _reduce(prototypes: list[Prototype]) -> list[Prototype]:
    while len(prototypes) > MAX_VOICEPRINTS:
        vectors = np.stack([each.voiceprint.vector for each in prototypes])
        matrix = np.triu(similarities(vectors, vectors), 1) + np.tril(np.full((len(vectors),) * 2, -2.0))
        first, second = divmod(int(matrix.argmax()), len(vectors))
        joined = _join(prototypes[first], prototypes[second])
        prototypes = [each for n, each in enumerate(prototypes) if n not in {first, second}] + [joined]
    return prototypes


def _join(one: Prototype, other: Prototype) -> Prototype:
    weights = (one.sample_count, other.sample_count)
    vectors = _normalize(np.stack([one.voiceprint.vector, other.voiceprint.vector]))
    mean = np.average(vectors, axis=0, weights=weights).astype(np.float32)
    return Prototype(Voiceprint(one.voiceprint.model_id, mean), sum(weights), one.speech_s + other.speech_s)


def _normalize(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    normalized: NDArray[np.float64] = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return normalized
