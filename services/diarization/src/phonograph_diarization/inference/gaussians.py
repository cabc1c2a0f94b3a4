"""Voices as full-covariance Gaussians over MFCC frames: how far apart two are, and which frame is whose."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

_REGULARISATION = 1e-2
_BIC_WEIGHT = 2.2
_RATIO_PER_FRAME = 2.3
_SURE_FRAMES = 200.0
"""Two seconds: what is heard for less counts less as a person of its own."""
_VITERBI_STEP = 10
_SWITCH_PENALTY = 500.0


@dataclass(frozen=True, slots=True, eq=False)
class Gaussians:
    """What is known of several voices: count, sum and sum of squares of their frames."""

    count: Array
    """Shape (voices,)."""
    total: Array
    """Shape (voices, features)."""
    square: Array
    """Shape (voices, features, features)."""

    @classmethod
    def of(cls, frames: NDArray[np.float32], labels: Labels, voices: int) -> "Gaussians":
        """Voices 0 … `voices` - 1 from frames of shape (frames, features) and the voice of each."""
        groups = [frames[labels == voice].astype(np.float64) for voice in range(voices)]
        return cls(
            np.array([float(len(group)) for group in groups]),
            np.array([group.sum(axis=0) for group in groups]),
            np.array([group.T @ group for group in groups]),
        )

    @classmethod
    def stacked(cls, parts: "list[Gaussians]") -> "Gaussians":
        """The voices of all parts, in order."""
        return cls(
            np.concatenate([part.count for part in parts]),
            np.concatenate([part.total for part in parts]),
            np.concatenate([part.square for part in parts]),
        )

    def __add__(self, other: "Gaussians") -> "Gaussians":
        """Each voice heard in two places."""
        return Gaussians(self.count + other.count, self.total + other.total, self.square + other.square)

    def __len__(self) -> int:
        return len(self.count)

    def means(self) -> Array:
        """Shape (voices, features)."""
        return self.total / np.maximum(self.count, 1)[:, None]

    def covariances(self) -> Array:
        """Shape (voices, features, features)."""
        means = self.means()
        covariance = self.square / np.maximum(self.count, 1)[:, None, None]
        covariance = covariance - means[:, :, None] * means[:, None, :]
        return covariance + _REGULARISATION * np.eye(means.shape[1])

    def merged(self, one: int, other: int) -> "Gaussians":
        """The same voices with `other` put to `one` and taken out."""
        count, total, square = self.count.copy(), self.total.copy(), self.square.copy()
        for values in (count, total, square):
            values[one] += values[other]
        return Gaussians(
            np.delete(count, other), np.delete(total, other, axis=0), np.delete(square, other, axis=0)
        )


def nearest(voices: Gaussians) -> tuple[float, int, int]:
    """The two voices most alike, and how different they are: above 1 they are two people.

    The likelihood ratio G of two Gaussians against one has to pass two marks, of which the one farther
    away counts: the Bayesian information criterion, weighted (Chen and Gopalakrishnan, 1998), which guards
    short recordings, and a floor for each frame, which guards long ones: there G grows with the length
    even for one person, whose frames are not independent.

    Returns:
        The smallest value, and the indices of the pair, the smaller first.
    """
    one, other = np.triu_indices(len(voices), k=1)
    single = _log_determinants(voices)
    pair = Gaussians(
        voices.count[one] + voices.count[other],
        voices.total[one] + voices.total[other],
        voices.square[one] + voices.square[other],
    )
    n_one, n_other, n_pair = voices.count[one], voices.count[other], pair.count
    gain = 0.5 * (n_pair * _log_determinants(pair) - n_one * single[one] - n_other * single[other])
    features = voices.total.shape[1]
    parameters = features + features * (features + 1) / 2
    by_criterion = gain / (_BIC_WEIGHT * 0.5 * parameters * np.log(np.maximum(n_pair, 2)))
    by_frame = gain / (_RATIO_PER_FRAME * np.maximum(n_one * n_other, 1) / np.maximum(n_pair, 1))
    heard = np.minimum(np.minimum(n_one, n_other) / _SURE_FRAMES, 1)
    differences = np.minimum(by_criterion, by_frame) * heard
    best = int(differences.argmin())
    return float(differences[best]), int(one[best]), int(other[best])


def assign(frames: NDArray[np.float32], voices: Gaussians) -> Labels:
    """The voice of each frame along the best path, on which a change of voice has its price.

    Shape (frames,), from `frames` of shape (frames, features).
    """
    starts = np.arange(0, len(frames), _VITERBI_STEP)
    scores = np.empty((len(starts), len(voices)))
    means = voices.means()
    for voice, covariance in enumerate(voices.covariances()):
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        distances = ((frames - means[voice]) @ whiten.T) ** 2
        likelihood = np.log(np.diag(whiten)).sum() - 0.5 * distances.sum(axis=1)
        scores[:, voice] = np.add.reduceat(likelihood, starts)
    return np.repeat(_best_path(scores), _VITERBI_STEP)[: len(frames)]


def _best_path(scores: Array) -> Labels:
    """Viterbi with one price for every change; shape (steps,), from scores of shape (steps, voices)."""
    steps, voices = scores.shape
    came_from = np.empty((steps, voices), np.intp)
    stay = np.arange(voices)
    value = scores[0].copy()
    for step in range(1, steps):
        best = int(value.argmax())
        changed = value[best] - _SWITCH_PENALTY
        came_from[step] = np.where(value >= changed, stay, best)
        value = np.maximum(value, changed) + scores[step]
    path = np.empty(steps, np.intp)
    path[-1] = value.argmax()
    for step in range(steps - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return path


def _log_determinants(voices: Gaussians) -> Array:
    result: Array = np.linalg.slogdet(voices.covariances())[1]
    return result
