"""Clustering of local voices into the voices of a recording, with an unknown number of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.domain.diarization import SpeakerBounds
from phonograph_diarization.inference.local_voices import LocalVoices
from phonograph_diarization.inference.segmentation import STEP
from phonograph_media import SAMPLE_RATE_HZ

Array = NDArray[np.float32]
Labels = NDArray[np.intp]

SAME_VOICE = 0.25
"""Mean cosine distance up to which two groups of vectors are one voice; measured on meetings."""
MIN_VOICE_S = 1.5
"""A voice with less speech than that is an error of the segmentation, or too little for a voiceprint."""

_TOGETHER = 0.1
"""Added to the distance of two groups that are always two speakers of the same windows."""
_CLEARLY_SAME_VOICE = 0.15
"""Distance up to which groups are formed within a block."""
_MIN_CLEAN_S = 0.6
"""Local voices with less speech than that found no voice."""
_BLOCK = 600 * SAMPLE_RATE_HZ // STEP
"""Windows of ten minutes: about 1,200 local voices, whose distances take 6 MB."""
_MAX_ALIKE_DISTANCE = 0.15
_MAX_ALIKE_SHARE = 0.5
"""Two groups are one voice through two microphones if equalization removes that share of their distance.

It removes a third at most between voices of different people, 60 % or more between a voice and its far copy.
"""
_CHANNEL_SAMPLES = 12
"""Local voices that represent a group when channels are compared."""

Describe = Callable[[Labels], tuple[Array, Array]]
"""Takes indices of local voices; returns their vector, and the one through a typical microphone."""


@dataclass(frozen=True, slots=True, eq=False)
class VoiceGroups:
    """Groups of similar vectors; a voice has several if it was recorded in several ways."""

    directions: Array
    """Mean direction of each group, shape (groups, dim)."""
    voices: Labels
    """The voice of each group, 0 … voices - 1."""
    voiceprints: Array
    """Unit vector of each voice, shape (voices, dim)."""


def group_voices(local: LocalVoices, bounds: SpeakerBounds, describe: Describe) -> VoiceGroups:
    """Find the voices of a recording.

    Local voices are grouped by average linkage on the cosine distance, in each block of ten minutes and then
    across the blocks; for one block this equals linkage of the whole.

    Args:
        local: The local voices, at least one.
        bounds: Limits of the number of voices; a recording with too little speech may have fewer.
        describe: Compares groups without the influence of the microphone.
    """
    usable = np.flatnonzero(local.clean_s >= _MIN_CLEAN_S)
    if not len(usable):
        usable = np.arange(len(local.windows))
    labels = _group_blocks(local.vectors[usable], local.windows[usable] // _BLOCK, 2 * bounds.minimum)
    labels = _link(local, usable, labels, bounds.minimum)
    groups = [usable[labels == label] for label in range(labels.max() + 1)]
    voices = _join_channels(groups, local, bounds.minimum, describe)
    voices = _reduce(groups, voices, local, bounds.maximum)
    return VoiceGroups(
        np.array([_direction(local, group) for group in groups]),
        voices,
        np.array([_direction(local, _members(groups, voices, voice)) for voice in range(voices.max() + 1)]),
    )


def _group_blocks(vectors: Array, blocks: Labels, minimum: int) -> Labels:
    """Return the group of each vector; no group has vectors of two blocks.

    Args:
        vectors: Unit vectors, shape (vectors, dim).
        blocks: The block of each.
        minimum: Least number of groups of a block, if it has as many vectors.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    labels = np.zeros(len(vectors), np.intp)
    count = 0
    for block in np.unique(blocks):
        members = np.flatnonzero(blocks == block)
        groups = np.ones(1, np.intp)
        if len(members) > 1:
            tree = np.maximum(linkage(vectors[members], "average", metric="cosine"), 0)
            groups = fcluster(tree, _CLEARLY_SAME_VOICE, "distance")
            if groups.max() < minimum:
                groups = fcluster(tree, minimum, "maxclust")
        labels[members] = groups - 1 + count
        count += int(groups.max())
    return labels


def _link(local: LocalVoices, usable: Labels, labels: Labels, minimum: int) -> Labels:
    """Return the voice of each usable local voice, -1 if that voice has too little speech.

    Args:
        local: The local voices.
        usable: Indices of those that found a voice.
        labels: The group of each of these.
        minimum: Least number of voices.
    """
    speech_s = local.share_s[usable]
    best, best_long = labels, np.zeros(0, np.intp)
    for height, voice_of_group in _link_groups(local, usable, labels):
        if height > SAME_VOICE:
            break
        voices = np.unique(voice_of_group, return_inverse=True)[1][labels]
        long = np.flatnonzero(np.bincount(voices, speech_s) >= MIN_VOICE_S)
        if len(long) >= min(minimum, len(best_long)):
            best, best_long = voices, long
    if not len(best_long):
        best_long = np.array([np.bincount(best, speech_s).argmax()])
    numbers = np.full(int(best.max()) + 1, -1, np.intp)
    numbers[best_long] = np.arange(len(best_long))
    return numbers[best]


def _link_groups(local: LocalVoices, usable: Labels, labels: Labels) -> Iterator[tuple[float, Labels]]:
    """Yield the steps of average linkage: its distance, and the first group that each group is joined with.

    Groups that talk in the same windows are farther apart, for the segmentation distinguishes them there.

    Args:
        local: The local voices.
        usable: Indices of those that found a voice.
        labels: The group of each of these; the first step leaves the groups as they are, at distance 0.
    """
    counts = np.bincount(labels).astype(np.float64)
    means = np.zeros((len(counts), local.vectors.shape[1]))
    np.add.at(means, labels, local.vectors[usable])
    means /= counts[:, None]
    # The mean distance of two groups of unit vectors follows from the means of the groups.
    distances = 1 - means @ means.T
    present = np.zeros((len(counts), int(local.windows.max()) + 1), np.float32)
    present[labels, local.windows[usable]] = 1
    together = _TOGETHER * _share_of_windows(present, present)
    np.fill_diagonal(distances, np.inf)
    joined = np.arange(len(counts))
    yield 0.0, joined.copy()
    for _ in range(len(counts) - 1):
        total = distances + together
        one, other = sorted(divmod(int(total.argmin()), len(counts)))
        weights = counts[[one, other]] / (counts[one] + counts[other])
        row = weights @ distances[[one, other]]
        distances[one], distances[:, one] = row, row
        distances[other], distances[:, other] = np.inf, np.inf
        distances[one, one] = np.inf
        counts[one] += counts[other]
        present[one] = np.maximum(present[one], present[other])
        shares = _TOGETHER * _share_of_windows(present[one : one + 1], present)[0]
        together[one], together[:, one] = shares, shares
        joined[joined == other] = one
        yield float(total[one, other]), joined.copy()


def _share_of_windows(present: Array, others: Array) -> Array:
    """Return the share of windows that two groups have in common, of those of the rarer one.

    Args:
        present: Which windows each group talks in, shape (groups, windows).
        others: The same of other groups.
    """
    rarer = np.minimum.outer(present.sum(axis=1), others.sum(axis=1))
    shares: Array = present @ others.T / rarer
    return shares


def _join_channels(groups: list[Labels], local: LocalVoices, minimum: int, describe: Describe) -> Labels:
    """Return the voice of each group: groups that differ by the microphone's distance alone share one.

    Args:
        groups: Local voices of each group.
        local: The local voices.
        minimum: Least number of voices.
        describe: Compares groups without the influence of the microphone.
    """
    voices = np.arange(len(groups))
    if len(groups) <= minimum:
        return voices
    described = [describe(_longest(group, local)) for group in groups]
    plain, alike = (np.array(vectors) for vectors in zip(*described, strict=True))
    plain_distances, alike_distances = 1 - plain @ plain.T, 1 - alike @ alike.T
    one, other = np.triu_indices(len(groups), k=1)
    for pair in alike_distances[one, other].argsort():
        first, second = one[pair], other[pair]
        distance = alike_distances[first, second]
        is_same = distance <= min(_MAX_ALIKE_DISTANCE, _MAX_ALIKE_SHARE * plain_distances[first, second])
        if is_same and len(np.unique(voices)) > minimum:
            voices[voices == voices[second]] = voices[first]
    numbers: Labels = np.unique(voices, return_inverse=True)[1]
    return numbers


def _reduce(groups: list[Labels], voices: Labels, local: LocalVoices, maximum: int | None) -> Labels:
    """Join the most similar voices until there are no more than `maximum`.

    Args:
        groups: Local voices of each group.
        voices: The voice of each group.
        local: The local voices.
        maximum: Largest number of voices; None for no limit.
    """
    while maximum is not None and voices.max() + 1 > maximum:
        means = np.array(
            [local.vectors[_members(groups, voices, voice)].mean(axis=0) for voice in range(voices.max() + 1)]
        )
        similarities = np.triu(means @ means.T, k=1)
        one, other = divmod(int(similarities.argmax()), len(means))
        voices = np.where(voices == other, one, voices)
        voices = np.unique(voices, return_inverse=True)[1]
    return voices


def _members(groups: list[Labels], voices: Labels, voice: int) -> Labels:
    return np.concatenate([groups[number] for number in np.flatnonzero(voices == voice)])


def _longest(group: Labels, local: LocalVoices) -> Labels:
    return group[np.argsort(-local.clean_s[group], kind="stable")[:_CHANNEL_SAMPLES]]


def _direction(local: LocalVoices, members: Labels) -> Array:
    """Return the unit vector of several local voices, each counted by its speech."""
    weights = np.maximum(local.share_s[members], 1e-3)
    total: Array = weights @ local.vectors[members]
    return total / max(float(np.linalg.norm(total)), 1e-9)
