"""The engine that works everywhere: Silero VAD, MFCC and clustering, on a CPU and without any download."""

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_diarization.constants import NO_SPEECH, SAMPLE_RATE_HZ, SILERO_MFCC
from phonograph_diarization.domain.diarization import (
    Diarization,
    SpeakerBounds,
    Turn,
    Voiceprint,
    diarization,
    joined,
)
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.inference.clustering import cluster
from phonograph_diarization.inference.gaussians import Labels
from phonograph_diarization.inference.mfcc import FRAMES_PER_S, HOP, mfcc
from phonograph_diarization.inference.speech import SileroSpeechDetector, Span
from phonograph_runtime.ports import Progress

VOICEPRINT_MODEL = "mfcc19-statistics-v1"

_GAP_S = 0.3
_SLIVER_FRAMES = FRAMES_PER_S // 5
_MIN_VOICEPRINT_FRAMES = FRAMES_PER_S
_USUAL_MEAN = (
    1.6, -1.1, 1.9, -1.7, -1.2, -1.6, -0.5, -0.4, -0.1, -0.9,
    -0.1, -0.8, -0.3, -0.6, -0.6, -0.4, -0.2, -0.4, -0.1,
    7.2, 4.3, 3.4, 2.6, 2.4, 2.0, 1.8, 1.6, 1.6, 1.4, 1.4, 1.2, 1.2, 1.2, 1.1, 1.1, 1.1, 1.0, 1.0,
)  # fmt: skip
"""Mean and deviation of each coefficient, averaged over 19 recorded speakers (AMI, telephone, readings)."""
_USUAL_SPREAD = (
    4.0, 5.7, 2.3, 1.6, 2.1, 0.8, 1.4, 0.6, 0.8, 0.8, 0.8, 0.5, 0.6, 0.5, 0.6, 0.4, 0.5, 0.2, 0.3,
    1.6, 0.8, 0.5, 0.4, 0.3, 0.2, 0.2, 0.2, 0.2, 0.1, 0.2, 0.2, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2,
)  # fmt: skip
"""How far those 19 speakers lie apart."""


class SileroMfccDiarizer(Diarizer):
    """Tells voices apart by their spectrum alone; speakers talking at once become one turn.

    Best with a few voices that talk for seconds at a time; turns below a second are often given to the
    neighbour.
    """

    def __init__(self, detector: SileroSpeechDetector | None = None) -> None:
        self._detector = detector or SileroSpeechDetector()

    @property
    @override
    def engine(self) -> str:
        return SILERO_MFCC

    @property
    @override
    def model(self) -> str:
        return "silero-vad-v6+mfcc19"

    @override
    def load(self) -> None:
        self._detector.load()

    @override
    def predict(self, samples: NDArray[np.float32], bounds: SpeakerBounds, progress: Progress) -> Diarization:
        spans = self._detector.predict(samples, lambda done, stage: progress(0.4 * done, stage))
        progress(0.4, "features")
        frames, positions = _speech_frames(samples, spans)
        labels = cluster(frames, bounds, lambda done, stage: progress(0.5 + 0.5 * done, stage))
        return diarization(
            _turns(positions, labels, samples.size / SAMPLE_RATE_HZ),
            _voiceprints(frames, labels),
            engine=self.engine,
            model=self.model,
            no_turns_reason=NO_SPEECH,
        )


def _speech_frames(samples: NDArray[np.float32], spans: list[Span]) -> tuple[NDArray[np.float32], Labels]:
    """MFCC of the frames that hold speech, and the number of each frame in the recording."""
    if not spans:
        return np.empty((0, 0), np.float32), np.empty(0, np.intp)
    frames = mfcc(samples)
    positions = np.concatenate(
        [np.arange(start // HOP, min(max(end // HOP, start // HOP + 1), len(frames))) for start, end in spans]
    )
    return frames[positions], positions


def _turns(positions: Labels, labels: Labels, duration_s: float) -> list[Turn]:
    """Turns from the voice of each frame, by the number of the voice."""
    if len(positions) == 0:
        return []
    spans = np.split(labels, np.flatnonzero(np.diff(positions) > 1) + 1)
    labels = np.concatenate([_without_slivers(span) for span in spans])
    cuts = np.flatnonzero((np.diff(labels) != 0) | (np.diff(positions) > 1)) + 1
    turns = [
        Turn(
            int(positions[run[0]]) / FRAMES_PER_S,
            min((int(positions[run[-1]]) + 1) / FRAMES_PER_S, round(duration_s, 3)),
            str(int(labels[run[0]])),
        )
        for run in np.split(np.arange(len(positions)), cuts)
    ]
    return joined(turns, gap_s=_GAP_S)


def _without_slivers(labels: Labels) -> Labels:
    """Give what is shorter than a syllable at either end of a stretch of speech to the voice beside it."""
    labels = labels.copy()
    cuts = np.flatnonzero(np.diff(labels) != 0) + 1
    if len(cuts) and cuts[0] < _SLIVER_FRAMES:
        labels[: cuts[0]] = labels[cuts[0]]
    if len(cuts) and len(labels) - cuts[-1] < _SLIVER_FRAMES:
        labels[cuts[-1] :] = labels[cuts[-1] - 1]
    return labels


def _voiceprints(frames: NDArray[np.float32], labels: Labels) -> dict[str, Voiceprint]:
    """A vector for each voice heard for a second or more: how far its MFCC statistics are from the usual."""
    voiceprints: dict[str, Voiceprint] = {}
    for voice in np.unique(labels):
        heard = frames[labels == voice].astype(np.float64)
        if len(heard) < _MIN_VOICEPRINT_FRAMES:
            continue
        statistics = np.r_[heard.mean(axis=0), heard.std(axis=0)]
        vector = (statistics - np.array(_USUAL_MEAN)) / np.array(_USUAL_SPREAD)
        voiceprints[str(int(voice))] = Voiceprint(VOICEPRINT_MODEL, vector.astype(np.float32))
    return voiceprints
