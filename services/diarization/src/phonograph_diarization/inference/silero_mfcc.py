"""The diarizer that works everywhere: Silero VAD, MFCC and clustering, on a CPU, without a download."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_diarization.domain.diarization import (
    Diarization,
    SpeakerBounds,
    Turn,
    Voiceprint,
    build_diarization,
    close_gaps,
)
from phonograph_diarization.domain.engines import EngineChoice
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.inference.clustering import cluster
from phonograph_diarization.inference.gaussians import Labels
from phonograph_diarization.inference.mfcc import FRAMES_PER_S, HOP, mfcc
from phonograph_media import SAMPLE_RATE_HZ
from phonograph_media.speech import SpeechDetector, SpeechOptions, SpeechRegion, amplify
from phonograph_runtime.ports import Progress

VOICEPRINT_MODEL = "mfcc19-statistics-v1"

_SPEECH = SpeechOptions(min_speech_s=0.09, min_silence_s=0.15, pad_s=0.06)
_MAX_GAP_S = 0.3
_SLIVER_FRAMES = FRAMES_PER_S // 5
_MIN_VOICEPRINT_FRAMES = FRAMES_PER_S
_POPULATION_MEAN = (
    1.6, -1.1, 1.9, -1.7, -1.2, -1.6, -0.5, -0.4, -0.1, -0.9,
    -0.1, -0.8, -0.3, -0.6, -0.6, -0.4, -0.2, -0.4, -0.1,
    7.2, 4.3, 3.4, 2.6, 2.4, 2.0, 1.8, 1.6, 1.6, 1.4, 1.4, 1.2, 1.2, 1.2, 1.1, 1.1, 1.1, 1.0, 1.0,
)  # fmt: skip
"""Mean and deviation of each coefficient, averaged over 19 recorded speakers (AMI, telephone, readings)."""
_POPULATION_SPREAD = (
    4.0, 5.7, 2.3, 1.6, 2.1, 0.8, 1.4, 0.6, 0.8, 0.8, 0.8, 0.5, 0.6, 0.5, 0.6, 0.4, 0.5, 0.2, 0.3,
    1.6, 0.8, 0.5, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2, 0.1, 0.2, 0.2, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2,
)  # fmt: skip
"""Spread of the same values among those 19 speakers."""


class SileroMfccDiarizer(Diarizer):
    """Distinguishes voices by their spectrum alone; speakers who talk at once become one turn.

    Works best with a few voices that talk for seconds at a time; turns below a second are often assigned to
    the speaker before or after.
    """

    def __init__(self, detector: SpeechDetector | None = None) -> None:
        self._detector = detector or SpeechDetector(_SPEECH)

    @property
    @override
    def name(self) -> str:
        return EngineChoice.SILERO_MFCC.value

    @property
    @override
    def model(self) -> str:
        return "silero-vad-v6+mfcc19"

    @override
    def load(self) -> None:
        self._detector.load()

    @override
    def predict(
        self, samples: NDArray[np.float32], *, bounds: SpeakerBounds, progress: Progress
    ) -> Diarization:
        samples = amplify(samples)
        regions = self._detector.detect(samples, lambda done: progress(0.4 * done, "speech"))
        progress(0.4, "features")
        frames, positions = _speech_frames(samples, regions)
        labels = cluster(frames, bounds, lambda done, stage: progress(0.5 + 0.5 * done, stage))
        return build_diarization(
            _build_turns(positions, labels, samples.size / SAMPLE_RATE_HZ),
            _compute_voiceprints(frames, labels),
            engine=self.name,
            model=self.model,
        )


def _speech_frames(
    samples: NDArray[np.float32], regions: list[SpeechRegion]
) -> tuple[NDArray[np.float32], Labels]:
    """Return the MFCC of the frames that contain speech, and the number of each frame in the recording."""
    if not regions:
        return np.empty((0, 0), np.float32), np.empty(0, np.intp)
    frames = mfcc(samples)
    positions = np.concatenate(
        [
            np.arange(start // HOP, min(max(end // HOP, start // HOP + 1), len(frames)))
            for start, end in regions
        ]
    )
    return frames[positions], positions


def _build_turns(positions: Labels, labels: Labels, duration_s: float) -> list[Turn]:
    """Return the turns of the voices; the number of a voice is the name of the speaker.

    Args:
        positions: Number of each speech frame in the recording.
        labels: Voice of each speech frame.
        duration_s: Length of the recording, in seconds.
    """
    if len(positions) == 0:
        return []
    regions = np.split(labels, np.flatnonzero(np.diff(positions) > 1) + 1)
    labels = np.concatenate([_absorb_slivers(region) for region in regions])
    cuts = np.flatnonzero((np.diff(labels) != 0) | (np.diff(positions) > 1)) + 1
    turns = [
        Turn(
            int(positions[run[0]]) / FRAMES_PER_S,
            min((int(positions[run[-1]]) + 1) / FRAMES_PER_S, round(duration_s, 3)),
            str(int(labels[run[0]])),
        )
        for run in np.split(np.arange(len(positions)), cuts)
    ]
    return close_gaps(turns, max_gap_s=_MAX_GAP_S)


def _absorb_slivers(labels: Labels) -> Labels:
    """Assign runs shorter than a syllable at either end of a speech region to the adjacent voice."""
    labels = labels.copy()
    cuts = np.flatnonzero(np.diff(labels) != 0) + 1
    if len(cuts) and cuts[0] < _SLIVER_FRAMES:
        labels[: cuts[0]] = labels[cuts[0]]
    if len(cuts) and len(labels) - cuts[-1] < _SLIVER_FRAMES:
        labels[cuts[-1] :] = labels[cuts[-1] - 1]
    return labels


def _compute_voiceprints(frames: NDArray[np.float32], labels: Labels) -> dict[str, Voiceprint]:
    """Return a vector for each voice that talks for a second or more.

    It is the difference of its MFCC statistics from the population mean, in units of the spread.
    """
    voiceprints: dict[str, Voiceprint] = {}
    for voice in np.unique(labels):
        voice_frames = frames[labels == voice].astype(np.float64)
        if len(voice_frames) < _MIN_VOICEPRINT_FRAMES:
            continue
        statistics = np.r_[voice_frames.mean(axis=0), voice_frames.std(axis=0)]
        vector = (statistics - np.array(_POPULATION_MEAN)) / np.array(_POPULATION_SPREAD)
        voiceprints[str(int(voice))] = Voiceprint(VOICEPRINT_MODEL, vector.astype(np.float32))
    return voiceprints
