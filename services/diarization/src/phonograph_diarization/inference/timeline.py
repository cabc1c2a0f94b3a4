"""From the local speakers of overlapping windows to the turns of the voices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.domain.diarization import Turn
from phonograph_diarization.inference.local_voices import LocalVoices
from phonograph_diarization.inference.segmentation import (
    FIRST_CENTER,
    FRAME,
    FRAMES,
    LOCAL_SPEAKERS,
    Activity,
    count_windows_per_frame,
    frame_of_window,
)
from phonograph_diarization.inference.voice_clustering import VoiceGroups
from phonograph_media import SAMPLE_RATE_HZ

MAX_GAP_S = 0.3
"""A pause of one speaker up to that length, in which no other speaks, is part of the turn."""
_FADE_FRAMES = 4
"""70 ms by which a turn is longer, unless another follows: the network misses how its last sound fades."""
_MIN_TURN_S = 0.1

Talking = NDArray[np.bool_]
"""Whether a voice talks, shape (frames, voices)."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """The voices that talk in each frame of a recording."""

    talking: Talking
    """Several voices may talk at once."""
    loudest: Talking
    """At most one voice talks in a frame."""


def build_timeline(activity: Activity, local: LocalVoices, groups: VoiceGroups) -> Timeline:
    """Return who talks when, by the majority of the windows that judge a frame.

    Args:
        activity: The local speakers of each window.
        local: Those of them that have a vector.
        groups: The voices of the recording.
    """
    coverage = np.maximum(count_windows_per_frame(len(activity)), 1)
    voices = len(groups.voiceprints)
    votes = np.zeros((len(coverage), voices), np.float32)
    speakers = np.zeros(len(coverage), np.float32)
    bounds = np.searchsorted(local.windows, np.arange(len(activity) + 1))
    for window, talking in enumerate(activity):
        members = slice(bounds[window], bounds[window + 1])
        slots, vectors = local.slots[members], local.vectors[members]
        first = frame_of_window(window)
        frames = slice(first, first + FRAMES)
        named = np.zeros((FRAMES, voices), np.bool_)
        for slot, voice in zip(slots, _assign(vectors, groups), strict=True):
            named[:, voice] |= talking[:, slot]
        unnamed = [slot for slot in range(LOCAL_SPEAKERS) if slot not in slots]
        votes[frames] += named
        speakers[frames] += named.sum(axis=1) + talking[:, unnamed].sum(axis=1)
    return _vote(votes, np.round(speakers / coverage).astype(np.intp))


def _assign(vectors: NDArray[np.float32], groups: VoiceGroups) -> NDArray[np.intp]:
    """Return the voices of the local speakers of one window.

    They are different groups, since the segmentation distinguishes them, unless there are too few.

    Args:
        vectors: Their unit vectors, shape (speakers, dim).
        groups: The voices of the recording.
    """
    from scipy.optimize import linear_sum_assignment

    similarities = vectors @ groups.directions.T
    chosen = similarities.argmax(axis=1) if len(vectors) else np.zeros(0, np.intp)
    if len(np.unique(chosen)) < len(chosen):
        rows, columns = linear_sum_assignment(-similarities)
        chosen[rows] = columns
    assigned: NDArray[np.intp] = groups.voices[chosen]
    return assigned


def _vote(votes: NDArray[np.float32], counts: NDArray[np.intp]) -> Timeline:
    """Return the voices with most votes in each frame, as many as speak there.

    Args:
        votes: Shape (frames, voices).
        counts: Number of speakers in each frame.
    """
    talking = np.zeros(votes.shape, np.bool_)
    loudest = talking.copy()
    remaining = votes.copy()
    for rank in range(min(votes.shape[1], LOCAL_SPEAKERS)):
        best = remaining.argmax(axis=1)
        frames = np.flatnonzero((counts > rank) & (remaining.max(axis=1) > 0))
        talking[frames, best[frames]] = True
        remaining[frames, best[frames]] = 0
        if rank == 0:
            loudest = talking.copy()
    return Timeline(talking, loudest)


def build_turns(talking: Talking, duration_s: float) -> list[Turn]:
    """Return the turns of the voices, in order of time; the number of a voice is the name of the speaker.

    Args:
        talking: Who talks in each frame.
        duration_s: Length of the recording, in seconds.
    """
    turns = []
    anyone = np.concatenate([[0], np.cumsum(talking.any(axis=1))])
    for voice in range(talking.shape[1]):
        edges = np.flatnonzero(np.diff(talking[:, voice].astype(np.int8), prepend=0, append=0))
        runs: list[list[int]] = []
        for start, end in edges.reshape(-1, 2):
            is_pause = runs and start - runs[-1][1] <= MAX_GAP_S * SAMPLE_RATE_HZ / FRAME
            if is_pause and anyone[start] == anyone[runs[-1][1]]:
                runs[-1][1] = int(end)
            else:
                runs.append([int(start), int(end)])
        for start, end in runs:
            faded = min(end + _FADE_FRAMES, len(talking))
            last = faded if anyone[end] == anyone[faded] else end
            start_s, end_s = (_second(frame, duration_s) for frame in (start, last))
            if end_s - start_s >= _MIN_TURN_S:
                turns.append(Turn(start_s, end_s, str(voice)))
    return sorted(turns, key=lambda turn: (turn.start_s, turn.end_s))


def _second(frame: int, duration_s: float) -> float:
    """Return the start of a frame, within the recording."""
    sample = frame * FRAME + FIRST_CENTER - FRAME // 2
    return round(min(max(sample / SAMPLE_RATE_HZ, 0.0), duration_s), 3)
