"""Languages of a recording: detected every few seconds, changed only for good reasons."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FULL_WEIGHT_S = 5.0
"""Speech of this length counts fully; a shorter window says less about its language."""
CHANGE_COST = 4.0
"""Evidence, in nats, that each change of the language needs: noise and names mislead a model for seconds."""
MIN_PROBABILITY = 0.005
"""Limits the evidence of one window: a passage needs two windows to interrupt another language."""


@dataclass(frozen=True, slots=True)
class LanguageWindow:
    """A few seconds of speech with the probability of each language."""

    start_s: float
    end_s: float
    probabilities: Mapping[str, float]
    """By ISO 639-1 code."""

    @property
    def likeliest(self) -> str:
        """The language with the highest probability."""
        return max(self.probabilities, key=lambda language: self.probabilities[language])

    def evidence(self, language: str) -> float:
        """Return the logarithm of the probability of a language, weighted by the length."""
        weight = min((self.end_s - self.start_s) / FULL_WEIGHT_S, 1.0)
        return weight * math.log(max(self.probabilities.get(language, 0.0), MIN_PROBABILITY))


def decide_languages(windows: Sequence[LanguageWindow], *, previous: str | None) -> list[str]:
    """Return the language of each window: the most probable sequence in which a change is expensive.

    The last window must agree with the language before the first, or pay for another change: what follows is
    unknown, and a short passage must not change the language only because it comes last.

    Args:
        windows: Consecutive windows.
        previous: Language before the first window; None at the start of the recording.
    """
    if not windows:
        return []
    found = {window.likeliest for window in windows}
    candidates = sorted(found if previous is None else found | {previous})
    scores = {language: 0.0 if previous in {None, language} else -CHANGE_COST for language in candidates}
    origins: list[dict[str, str]] = []
    for window in windows:
        best = max(scores, key=lambda language: scores[language])
        origin = {
            language: language if scores[language] >= scores[best] - CHANGE_COST else best
            for language in candidates
        }
        scores = {
            language: scores[origin[language]]
            - (CHANGE_COST if origin[language] != language else 0.0)
            + window.evidence(language)
            for language in candidates
        }
        origins.append(origin)
    if previous is not None:
        scores = {
            language: score - (CHANGE_COST if language != previous else 0.0)
            for language, score in scores.items()
        }
    language = max(scores, key=lambda candidate: scores[candidate])
    decided = []
    for origin in reversed(origins):
        decided.append(language)
        language = origin[language]
    return decided[::-1]
