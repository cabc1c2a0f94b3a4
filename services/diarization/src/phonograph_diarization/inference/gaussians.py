"""Voices as full-covariance Gaussians over MFCC frames: their differences, and the voice of each frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.intp]
"""The voice of each frame, shape (frames,)."""

_REGULARIZATION = 1e-2
_BIC_WEIGHT = 2.2
_RATIO_PER_FRAME = 2.3
_RELIABLE_FRAMES = 200.0
"""Two seconds: voices with less speech than that differ less, in proportion."""
_VITERBI_STEP = 10
_SWITCH_PENALTY = 500.0


@dataclass(frozen=True, slots=True, eq=False)
class Gaussians:
    """Sufficient statistics of several voices: count, sum and sum of squares of their frames."""

    count: Array
    """Shape (voices,)."""
    total: Array
    """Shape (voices, features)."""
    square: Array
    """Shape (voices, features, features)."""

    @classmethod
    def from_frames(cls, frames: NDArray[np.float32], labels: Labels, voices: int) -> "Gaussians":
        """Return the voices 0 … `voices` - 1.

        Args:
            frames: MFCC, shape (frames, features).
            labels: The voice of each frame.
            voices: Number of voices; some may have no frame.
        """
        groups = [frames[labels == voice].astype(np.float64) for voice in range(voices)]
        return cls(
            np.array([float(len(group)) for group in groups]),
            np.array([group.sum(axis=0) for group in groups]),
            np.array([group.T @ group for group in groups]),
        )

    @classmethod
    def concatenate(cls, blocks: "list[Gaussians]") -> "Gaussians":
        """Return the voices of all blocks, in order."""
        return cls(
            np.concatenate([block.count for block in blocks]),
            np.concatenate([block.total for block in blocks]),
            np.concatenate([block.square for block in blocks]),
        )

    def __add__(self, other: "Gaussians") -> "Gaussians":
        """Return the same voices with the frames of both."""
        return Gaussians(self.count + other.count, self.total + other.total, self.square + other.square)

    def __len__(self) -> int:
        return len(self.count)

    def means(self) -> Array:
        """Return the means, shape (voices, features)."""
        return self.total / np.maximum(self.count, 1)[:, None]

    def covariances(self) -> Array:
        """Return the regularized covariances, shape (voices, features, features)."""
        means = self.means()
        covariance = self.square / np.maximum(self.count, 1)[:, None, None]
        covariance = covariance - means[:, :, None] * means[:, None, :]
        return covariance + _REGULARIZATION * np.eye(means.shape[1])

    def with_merged(self, one: int, other: int) -> "Gaussians":
        """Return the voices with the frames of `other` added to `one`, and `other` removed."""
        count, total, square = self.count.copy(), self.total.copy(), self.square.copy()
        for values in (count, total, square):
            values[one] += values[other]
        return Gaussians(
            np.delete(count, other), np.delete(total, other, axis=0), np.delete(square, other, axis=0)
        )


def find_most_similar(voices: Gaussians) -> tuple[float, int, int]:
    """Find the two most similar voices and their difference; above 1 they are two people.

    The likelihood ratio G of two Gaussians against one is compared with two thresholds, and the smaller of
    the two quotients counts: the Bayesian information criterion, weighted (Chen and Gopalakrishnan, 1998),
    which guards short recordings, and a minimum for each frame, which guards long ones: there G grows with
    the length even for one person, whose frames are not independent.

    Returns:
        The smallest difference, and the indices of the pair, the smaller first.
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
    reliability = np.minimum(np.minimum(n_one, n_other) / _RELIABLE_FRAMES, 1)
    differences = np.minimum(by_criterion, by_frame) * reliability
    best = int(differences.argmin())
    return float(differences[best]), int(one[best]), int(other[best])


def assign_frames(frames: NDArray[np.float32], voices: Gaussians) -> Labels:
    """Return the voice of each frame along the most likely path, on which each change has a penalty.

    Args:
        frames: MFCC, shape (frames, features).
        voices: The voices to choose from.
    """
    starts = np.arange(0, len(frames), _VITERBI_STEP)
    scores = np.empty((len(starts), len(voices)))
    means = voices.means()
    for voice, covariance in enumerate(voices.covariances()):
        whiten = np.linalg.inv(np.linalg.cholesky(covariance))
        distances = ((frames - means[voice]) @ whiten.T) ** 2
        likelihood = np.log(np.diag(whiten)).sum() - 0.5 * distances.sum(axis=1)
        scores[:, voice] = np.add.reduceat(likelihood, starts)
    return np.repeat(_find_best_path(scores), _VITERBI_STEP)[: len(frames)]


def _find_best_path(scores: Array) -> Labels:
    """Return the Viterbi path, with one penalty for every change.

    Args:
        scores: Log-likelihoods, shape (steps, voices).

    Returns:
        Shape (steps,).
    """
    steps, voices = scores.shape
    came_from = np.empty((steps, voices), np.intp)
    stay = np.arange(voices)
    value = scores[0].copy()
    for step in range(1, steps):
        # With equal penalties only the best voice can be worth changing from.
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
    determinants: Array = np.linalg.slogdet(voices.covariances())[1]
    return determinants
