"""Local speech activity by segmentation-3.0: up to three speakers in each window of ten seconds.

Source: Plaquet and Bredin, Powerset multi-class cross entropy loss for neural speaker diarization, 2023; with
the weights by CNRS (MIT).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_media.speech import measure_gain
from phonograph_runtime.errors import EngineUnavailableError

Activity = NDArray[np.bool_]
"""Whether a local speaker talks, shape (windows, `FRAMES`, `LOCAL_SPEAKERS`)."""
Model = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Takes windows of shape (batch, 1, `WINDOW`), returns scores of shape (batch, `FRAMES`, 7)."""

WINDOW = 10 * SAMPLE_RATE_HZ
"""Samples of a window."""
STEP = SAMPLE_RATE_HZ
"""Samples from window to window: each moment is judged by ten windows, whose errors differ."""
FRAME = 270
"""Samples from frame to frame: 16.9 ms."""
FRAMES = 589
"""Frames of a window."""
FIRST_CENTER = 495
"""Sample in the middle of the first frame."""
LOCAL_SPEAKERS = 3

_SPEAKERS_OF_CLASS = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.bool_
)
_BATCH = 4
"""Windows at once; more take 70 MB each and gain no speed."""


class SpeechSegmenter:
    """Finds the local speakers of each window."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @classmethod
    def from_file(cls, path: Path, *, threads: int) -> "SpeechSegmenter":
        """Load the network.

        Args:
            path: Its ONNX graph.
            threads: Threads of onnxruntime.

        Raises:
            EngineUnavailableError: If the file cannot be loaded.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle threads that spin take the cores from the other engines.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions have no common public class
            raise EngineUnavailableError(f"The model {path} does not load: {error}") from error

        def run(windows: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.asarray(session.run(None, {"input": windows})[0], np.float32)

        return cls(run)

    def segment(self, samples: NDArray[np.float32], progress: Callable[[float], None]) -> Activity:
        """Return who of a window's speakers talks; the same place in two windows may be two people.

        Args:
            samples: Shape (samples,), 16 kHz mono.
            progress: Called with the fraction done.
        """
        if not samples.any():
            return np.zeros((0, FRAMES, LOCAL_SPEAKERS), np.bool_)
        level = measure_gain(samples)
        starts = range(0, max(samples.size - WINDOW + STEP, 1), STEP)
        activity = np.zeros((len(starts), FRAMES, LOCAL_SPEAKERS), np.bool_)
        for begin in range(0, len(starts), _BATCH):
            progress(begin / len(starts))
            windows = np.zeros((len(starts[begin : begin + _BATCH]), 1, WINDOW), np.float32)
            for window, start in zip(windows, starts[begin : begin + _BATCH], strict=True):
                part = samples[start : start + WINDOW]
                window[0, : part.size] = part * level
            classes = self._model(windows).argmax(axis=-1)
            activity[begin : begin + len(windows)] = _SPEAKERS_OF_CLASS[classes]
        return activity


def count_windows_per_frame(windows: int) -> NDArray[np.int32]:
    """Return how many windows judge each frame of a recording, shape (frames,)."""
    counts = np.zeros(frame_of_window(windows - 1) + FRAMES if windows else 0, np.int32)
    for window in range(windows):
        first = frame_of_window(window)
        counts[first : first + FRAMES] += 1
    return counts


def frame_of_window(window: int) -> int:
    """Return the frame of the recording at which a window starts; exact to half a frame."""
    return round(window * STEP / FRAME)
