"""Voiceprints by GE2E, a recurrent network that maps 1.6 s of speech to a unit vector for its voice.

Source: Wan, Wang, Papir and Lopez Moreno, Generalized end-to-end loss for speaker verification, 2018; with
the features and weights of Resemblyzer (Apache-2.0).
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.inference.torch_weights import read_torch_weights
from phonograph_media import SAMPLE_RATE_HZ
from phonograph_runtime.errors import EngineUnavailableError

Array = NDArray[np.float32]

HOP = SAMPLE_RATE_HZ // 100
"""Samples from frame to frame: 10 ms."""
WINDOW_FRAMES = 160
"""Frames that make a vector: 1.6 s, the length that the network was trained with."""
MEL_BANDS = 40

_FFT = SAMPLE_RATE_HZ * 25 // 1000
_LAYERS = 3
_HIDDEN = 256
_BATCH = 32
_TINY = np.float32(1e-9)


def mel_spectrogram(samples: Array) -> Array:
    """Return the power in 40 mel bands, shape (frames, 40), a frame centered on every 160th sample.

    Args:
        samples: Shape (samples,), 16 kHz mono.
    """
    padded = np.pad(samples, _FFT // 2)
    if padded.size < _FFT:
        return np.zeros((0, MEL_BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::HOP]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)
    spectrum = np.fft.rfft(frames * window)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return power @ _mel_filters().T


class Ge2eEncoder:
    """The network, computed with numpy: three LSTM layers, a linear layer, a unit vector."""

    def __init__(self, weights: Mapping[str, Array], *, threads: int = 1) -> None:
        """Create the network.

        Args:
            weights: Tensors by torch's names.
            threads: Batches that are computed at the same time.
        """
        self._layers = [
            (
                np.ascontiguousarray(weights[f"lstm.weight_ih_l{layer}"].T),
                np.ascontiguousarray(weights[f"lstm.weight_hh_l{layer}"].T),
                weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"],
            )
            for layer in range(_LAYERS)
        ]
        self._linear = np.ascontiguousarray(weights["linear.weight"].T), weights["linear.bias"]
        self._threads = threads

    @classmethod
    def from_file(cls, path: Path, *, threads: int = 1) -> "Ge2eEncoder":
        """Load the network.

        Args:
            path: Checkpoint with the entry `model_state`.
            threads: Batches that are computed at the same time.

        Raises:
            EngineUnavailableError: If the file is not a checkpoint of this network.
        """
        weights = read_torch_weights(path, "model_state")
        try:
            encoder = cls(weights, threads=threads)
            encoder.embed(np.zeros((1, 2, MEL_BANDS), np.float32))
        except (KeyError, ValueError) as error:
            raise EngineUnavailableError(f"{path} is no checkpoint of GE2E: {error}.") from error
        return encoder

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self._linear[1].size

    def embed(self, windows: Array) -> Array:
        """Return a unit vector for each window, shape (windows, dim).

        Args:
            windows: Mel spectrograms, shape (windows, frames, 40).
        """
        from threadpoolctl import threadpool_limits

        batches = [windows[begin : begin + _BATCH] for begin in range(0, len(windows), _BATCH)]
        # The threads of a product of small matrices wait for each other longer than they compute.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(self._threads) as pool:
            vectors = list(pool.map(self._embed_batch, batches))
        return np.concatenate([np.zeros((0, self.dim), np.float32), *vectors])

    def _embed_batch(self, windows: Array) -> Array:
        sequence = np.ascontiguousarray(windows.transpose(1, 0, 2))
        for to_gates, recurrent, bias in self._layers:
            gates = sequence @ to_gates
            gates += bias
            sequence = _lstm(gates, recurrent)
        weight, bias = self._linear
        raw = np.maximum(sequence[-1] @ weight + bias, 0)
        vectors: Array = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), _TINY)
        return vectors


def _lstm(gates: Array, recurrent: Array) -> Array:
    """Return the outputs of one layer, shape (frames, windows, 256).

    Args:
        gates: Contribution of the inputs to the four gates, shape (frames, windows, 1024).
        recurrent: Weights from the output of the frame before, shape (256, 1024).
    """
    frames, windows, _ = gates.shape
    outputs = np.empty((frames, windows, _HIDDEN), np.float32)
    hidden = np.zeros((windows, _HIDDEN), np.float32)
    cell = np.zeros((windows, _HIDDEN), np.float32)
    for frame in range(frames):
        gate = gates[frame]
        gate += hidden @ recurrent
        candidate = np.tanh(gate[:, 2 * _HIDDEN : 3 * _HIDDEN])
        # The logistic function by tanh, which does not overflow.
        gate = 0.5 + 0.5 * np.tanh(0.5 * gate)
        cell = gate[:, _HIDDEN : 2 * _HIDDEN] * cell + gate[:, :_HIDDEN] * candidate
        hidden = gate[:, 3 * _HIDDEN :] * np.tanh(cell)
        outputs[frame] = hidden
    return outputs


@cache
def _mel_filters() -> Array:
    """Return triangles of equal area on Slaney's mel scale, shape (bands, bins)."""
    edges_hz = _to_hz(np.linspace(0, _to_mel(SAMPLE_RATE_HZ / 2), MEL_BANDS + 2))
    low, middle, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, _FFT // 2 + 1)[None, :]
    triangles = np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle))
    return (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)


def _to_mel(hz: float) -> float:
    return float(15 + 27 * np.log(hz / 1000) / np.log(6.4))


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, 200 / 3 * mel, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
