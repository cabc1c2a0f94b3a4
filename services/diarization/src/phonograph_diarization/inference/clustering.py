"""Groups frames of speech by voice when nobody says how many voices there are."""

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.domain.diarization import SpeakerBounds
from phonograph_diarization.inference.gaussians import Gaussians, Labels, assign, nearest
from phonograph_diarization.inference.mfcc import FRAMES_PER_S
from phonograph_runtime.ports import Progress

Frames = NDArray[np.float32]

_WINDOW = 3 * FRAMES_PER_S // 2
_WINDOW_HOP = FRAMES_PER_S // 2
_BLOCK = 600 * FRAMES_PER_S
"""Ten minutes of speech: 1,200 windows, so that their distances take 12 MB."""
_FIRST_VOICES = 20
_FRAMES_PER_FIRST_VOICE = 5 * FRAMES_PER_S // 2
_PASSES = 2
_SAME = 1.0
_SURELY_SAME = 0.6
"""Across blocks voices below this are put together without hearing the whole recording again."""


def cluster(frames: Frames, bounds: SpeakerBounds, progress: Progress) -> Labels:
    """The voice of each frame, 0 … voices - 1; shape (frames,), from MFCC of shape (frames, features).

    Each block of ten minutes is cut into many groups by agglomerative clustering of window statistics
    (cosine, average linkage). Then the two most alike voices are put together, and every frame goes to the
    voice that fits it best, until the voices left are different people. Fewer voices than
    `bounds.minimum` come out only where the recording is too short for more.
    """
    if len(frames) == 0:
        return np.empty(0, np.intp)
    blocks = np.array_split(frames, -(-len(frames) // _BLOCK))
    floor = bounds.minimum if len(blocks) == 1 else 1
    labels: list[Labels] = []
    for number, block in enumerate(blocks):
        progress(number / len(blocks) * 0.7, "speakers")
        first = _first_groups(block, bounds.minimum)
        whole = _realign([block], [first], floor)
        labels.extend(_merge([block], whole, SpeakerBounds(floor, None)))
    if len(blocks) > 1:
        labels = _link(blocks, labels, bounds)
    progress(0.8, "speakers")
    return np.concatenate(_merge(blocks, labels, bounds))


def _first_groups(block: Frames, minimum: int) -> Labels:
    """Many groups of windows, so that hardly any holds two people."""
    from sklearn.cluster import AgglomerativeClustering

    starts = np.arange(0, max(1, len(block) - _WINDOW + 1), _WINDOW_HOP)
    wanted = max(min(_FIRST_VOICES, len(block) // _FRAMES_PER_FIRST_VOICE), min(2 * minimum, len(starts)))
    if wanted < 2 or len(starts) < 2:
        return np.zeros(len(block), np.intp)
    windows = [block[start : start + _WINDOW] for start in starts]
    statistics = np.array([np.r_[window.mean(axis=0), window.std(axis=0)] for window in windows])
    statistics = (statistics - statistics.mean(axis=0)) / (statistics.std(axis=0) + 1e-6)
    groups = AgglomerativeClustering(
        n_clusters=min(wanted, len(starts)), metric="cosine", linkage="average"
    ).fit_predict(statistics)
    middle = (np.arange(len(block)) - (_WINDOW - _WINDOW_HOP) // 2) // _WINDOW_HOP
    result: Labels = groups[np.clip(middle, 0, len(starts) - 1)].astype(np.intp)
    return result


def _merge(blocks: list[Frames], labels: list[Labels], bounds: SpeakerBounds) -> list[Labels]:
    """Put the most alike voices together until those left are different people, within the bounds."""
    while True:
        voices = _voices(blocks, labels)
        if len(voices) <= bounds.minimum:
            return labels
        difference, one, other = nearest(voices)
        if difference > _SAME and (bounds.maximum is None or len(voices) <= bounds.maximum):
            return labels
        labels = _realign(blocks, _joined(labels, one, other), bounds.minimum)


def _link(blocks: list[Frames], labels: list[Labels], bounds: SpeakerBounds) -> list[Labels]:
    """Give the voices of all blocks common numbers; the surely same ones become one."""
    offsets = np.cumsum([0, *(int(block.max()) + 1 for block in labels)])
    labels = [block + offset for block, offset in zip(labels, offsets[:-1], strict=True)]
    voices = Gaussians.stacked(
        [
            Gaussians.of(block, label - offset, int(end - offset))
            for block, label, offset, end in zip(blocks, labels, offsets[:-1], offsets[1:], strict=True)
        ]
    )
    while len(voices) > bounds.minimum:
        difference, one, other = nearest(voices)
        if difference > _SURELY_SAME:
            break
        voices = voices.merged(one, other)
        labels = _joined(labels, one, other)
    return _realign(blocks, labels, bounds.minimum)


def _realign(blocks: list[Frames], labels: list[Labels], floor: int) -> list[Labels]:
    """Give every frame to the voice that fits it; keep the labels where that would lose a needed voice."""
    for _ in range(_PASSES):
        voices = _voices(blocks, labels)
        if len(voices) == 1:
            return labels
        moved = [assign(block, voices) for block in blocks]
        left = np.unique(np.concatenate(moved))
        if len(left) < min(floor, len(voices)):
            return labels
        labels = [np.searchsorted(left, block) for block in moved]
    return labels


def _joined(labels: list[Labels], one: int, other: int) -> list[Labels]:
    """The same labels with `other` given to `one` and its number closed."""
    merged = [np.where(block == other, one, block) for block in labels]
    return [np.where(block > other, block - 1, block) for block in merged]


def _voices(blocks: list[Frames], labels: list[Labels]) -> Gaussians:
    count = max(int(block.max()) for block in labels) + 1
    heard = [Gaussians.of(block, label, count) for block, label in zip(blocks, labels, strict=True)]
    total = heard[0]
    for more in heard[1:]:
        total = total + more
    return total
