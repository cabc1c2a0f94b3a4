"""Music analysis with essentia (AGPL-3). No other module imports it."""

import importlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_analysis import constants
from phonograph_analysis.domain.loudness import find_audible_extent, integrated_loudness
from phonograph_analysis.domain.ports import MusicAnalyzer
from phonograph_analysis.domain.results import (
    DANCEABILITY_FIELD,
    KEY_FIELDS,
    LOUDNESS_FIELD,
    TEMPO_FIELDS,
    TIMBRE_FIELDS,
    Key,
    MusicAnalysis,
    Reason,
    Tempo,
    Timbre,
)
from phonograph_analysis.domain.tempo import Pulse, estimate_tempo
from phonograph_analysis.domain.tonality import KeyEstimate, choose_key, detect_non_music
from phonograph_analysis.exceptions import EngineFailedError
from phonograph_analysis.inference import spectra
from phonograph_media import Track, decode_blocks, mix_down, probe
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_runtime.ports import Progress

KEY_PROFILES = ("bgate", "temperley")
"""Key profiles: essentia's default, made for popular music, and one from classical music to compare with."""
LOUDNESS_HOP_S = 0.1
EDGE_WINDOWS = 2
"""Momentary windows at each end of a block that extend beyond it."""
TARGET_RMS = 0.1
MIN_LENGTH_S = 3.0
"""Excerpts are padded with silence to this length, which all algorithms accept."""


@dataclass(frozen=True, slots=True)
class PreparedAudio:
    """The loudness of a file, and the excerpt on which the rest is measured."""

    loudness_lufs: float | None
    start_s: float
    """Start of the excerpt in the file."""
    end_s: float
    """End of the excerpt in the file."""
    audible_s: float
    """Audible seconds of the whole file."""
    samples: NDArray[np.float32]
    """The excerpt: 44.1 kHz mono at about -20 dBFS, shape (samples,)."""


class EssentiaAnalyzer(MusicAnalyzer):
    """Measures music with essentia, with new algorithm objects for each file.

    In essentia 2.1b6 several of them return the results of the first file again when they are used twice.
    """

    def __init__(self) -> None:
        self._standard: Any = None

    @property
    @override
    def name(self) -> str:
        return constants.ENGINE

    @property
    @override
    def model(self) -> str:
        """Version of essentia, and revision of the measurements in this package."""
        return f"{metadata.version('essentia')}-r{constants.REVISION}"

    @override
    def load(self) -> None:
        """Import essentia, which takes about a second, and disable its console output."""
        if self._standard is None:
            self._standard = self._load()

    @override
    def predict(self, path: Path, progress: Progress, track: Track = None) -> MusicAnalysis:
        """See `MusicAnalyzer.predict`.

        Loudness is measured on the whole file, the rest on the excerpt from the first to the last audible
        moment; if that is longer than ten minutes, on the ten minutes around the middle of the audible audio.
        """
        self.load()
        try:
            return self._predict(self._prepare(path, progress, track), progress)
        except RuntimeError as error:
            raise EngineFailedError(f"essentia failed on the audio of {path.name}: {error}") from error

    def _load(self) -> Any:
        try:
            log = importlib.import_module("essentia").log
            log.infoActive = False
            log.warningActive = False
            return importlib.import_module("essentia.standard")
        except ImportError as error:
            raise EngineUnavailableError(
                f"essentia cannot be loaded: {error}. Install the service again."
            ) from error

    def _predict(self, audio: PreparedAudio, progress: Progress) -> MusicAnalysis:
        empty = MusicAnalysis(
            engine=self.name,
            algorithm_build=self.model,
            excerpt_start_s=round(audio.start_s, 3),
            excerpt_end_s=round(audio.end_s, 3),
        )
        if audio.loudness_lufs is None or not audio.audible_s:
            return empty.without_music(Reason.SILENCE, LOUDNESS_FIELD, *TIMBRE_FIELDS)
        measured = replace(empty, loudness_lufs=round(audio.loudness_lufs, 2))
        progress(0.5, "texture")
        texture = spectra.measure_texture(audio.samples)
        pulse = spectra.measure_pulse(audio.samples)
        # Only noise is recognized in a few seconds: pulse and pitch may be chance.
        is_short = audio.audible_s < constants.MIN_AUDIBLE_S
        if is_short and (pulse.is_periodic or not texture.is_noisy):
            return replace(measured, timbre=self._measure_timbre(audio.samples)).without_music(
                Reason.TOO_SHORT
            )
        progress(0.6, "tempo")
        tempo = None if is_short else self._estimate_tempo(audio, pulse)
        reason = detect_non_music(texture, has_tempo=tempo is not None)
        if reason is Reason.NOISE:
            return empty.without_music(reason, LOUDNESS_FIELD, *TIMBRE_FIELDS)
        if reason is not None:
            return measured.without_music(reason, *TIMBRE_FIELDS)
        progress(0.8, "key")
        first, second = (self._estimate_key(audio.samples, profile) for profile in KEY_PROFILES)
        key = choose_key(first, second, texture)
        progress(0.9, "timbre")
        reasons: dict[str, str] = {}
        if tempo is None:
            reasons |= dict.fromkeys((*TEMPO_FIELDS, DANCEABILITY_FIELD), Reason.NO_STEADY_BEAT)
        if not isinstance(key, Key):
            reasons |= dict.fromkeys(KEY_FIELDS, key)
        return replace(
            measured,
            tempo=tempo,
            key=key if isinstance(key, Key) else None,
            danceability=None if tempo is None else self._measure_danceability(audio.samples),
            timbre=self._measure_timbre(audio.samples),
            reasons=reasons,
        )

    def _prepare(self, path: Path, progress: Progress, track: Track) -> PreparedAudio:
        probed = probe(path)
        channels = probed.audio.channels if probed.audio else 0
        momentary: list[NDArray[np.float64]] = []
        complete_windows: list[NDArray[np.float64]] = []
        starts_s: list[NDArray[np.float64]] = []
        kept: list[NDArray[np.float32]] = []
        read_s = kept_s = 0.0
        for block in _read_blocks(path, track):
            if probed.duration_s:
                progress(min(0.4 * read_s / probed.duration_s, 0.4), "decoding")
            windows = self._measure_momentary_loudness(block if channels > 1 else block[:, :1])
            momentary.append(windows)
            complete_windows.append(windows[EDGE_WINDOWS:-EDGE_WINDOWS])
            starts_s.append(read_s + LOUDNESS_HOP_S * np.arange(windows.size, dtype=np.float64))
            read_s += len(block) / constants.SAMPLE_RATE_HZ
            # Most excerpts are in the first ten minutes: keeping these saves a second decoding.
            if kept_s < constants.EXCERPT_S:
                kept.append(mix_down(block, constants.SAMPLE_RATE_HZ))
                kept_s = read_s
        windows_lufs = np.concatenate(momentary)
        start_s, end_s, audible_s = find_audible_extent(
            windows_lufs,
            np.concatenate(starts_s),
            LOUDNESS_HOP_S,
            floor_lufs=constants.SILENCE_LUFS,
            max_s=constants.EXCERPT_S,
        )
        if end_s > kept_s:
            progress(0.4, "decoding")
            kept = [
                mix_down(block, constants.SAMPLE_RATE_HZ)
                for block in _read_blocks(path, track, start_s, end_s)
            ]
        else:
            kept = list(_cut_blocks(kept, start_s, end_s))
        return PreparedAudio(
            # Audio of less than half a second has no complete window.
            loudness_lufs=integrated_loudness(np.concatenate(complete_windows))
            or integrated_loudness(windows_lufs),
            start_s=start_s,
            end_s=end_s,
            audible_s=audible_s,
            samples=_normalize_level(np.concatenate([np.zeros(0, np.float32), *kept])),
        )

    def _measure_momentary_loudness(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return LUFS every 0.1 s. The one channel of a mono source counts once, as in ITU-R BS.1770."""
        silent = np.zeros((len(block), 2 - block.shape[1]), dtype=np.float32)
        stereo = np.ascontiguousarray(np.hstack([block, silent]))
        loudness = self._standard.LoudnessEBUR128(
            sampleRate=constants.SAMPLE_RATE_HZ, hopSize=LOUDNESS_HOP_S, startAtZero=True
        )
        windows = np.asarray(loudness(stereo)[0], dtype=np.float64)
        return windows[: math.ceil(len(block) / (LOUDNESS_HOP_S * constants.SAMPLE_RATE_HZ))]

    def _estimate_tempo(self, audio: PreparedAudio, pulse: Pulse) -> Tempo | None:
        tracker = self._standard.RhythmExtractor2013(method="multifeature")
        _, beats, confidence, _, _ = tracker(audio.samples)
        return estimate_tempo(
            np.asarray(beats, dtype=np.float64),
            float(confidence),
            is_periodic=pulse.is_periodic,
            duration_s=audio.end_s - audio.start_s,
            offset_s=audio.start_s,
        )

    def _estimate_key(self, samples: NDArray[np.float32], profile: str) -> KeyEstimate:
        extractor = self._standard.KeyExtractor(profileType=profile, sampleRate=constants.SAMPLE_RATE_HZ)
        key, scale, strength = extractor(samples)
        return KeyEstimate(profile, key, scale, float(strength))

    def _measure_danceability(self, samples: NDArray[np.float32]) -> float:
        value, _ = self._standard.Danceability(sampleRate=constants.SAMPLE_RATE_HZ)(samples)
        return round(float(value), 3)

    def _measure_timbre(self, samples: NDArray[np.float32]) -> Timbre:
        mfcc = self._standard.MFCC(inputSize=spectra.FRAME // 2 + 1, sampleRate=constants.SAMPLE_RATE_HZ)
        coefficients = np.array([mfcc(spectrum)[1] for spectrum in spectra.active_spectra(samples)])
        return Timbre(
            mean=tuple(np.round(coefficients.mean(axis=0), 4).tolist()),
            variance=tuple(np.round(coefficients.var(axis=0), 4).tolist()),
        )


def _read_blocks(
    path: Path, track: Track, start_s: float = 0.0, end_s: float = math.inf
) -> Iterator[NDArray[np.float32]]:
    """Yield the audio between two times in blocks of about a minute, shape (samples, 2).

    Samples that are not finite, as in a damaged float WAV, become 0.
    """
    decoded = decode_blocks(
        path, sample_rate_hz=constants.SAMPLE_RATE_HZ, block_s=constants.BLOCK_S, track=track
    )
    for block in _cut_blocks(decoded, start_s, end_s):
        yield np.nan_to_num(block, posinf=0.0, neginf=0.0)


def _cut_blocks(
    blocks: Iterable[NDArray[np.float32]], start_s: float, end_s: float
) -> Iterator[NDArray[np.float32]]:
    """Yield the parts of consecutive blocks between two times; empty blocks are possible."""
    begin = 0
    for block in blocks:
        if begin >= end_s * constants.SAMPLE_RATE_HZ:
            return
        first = max(round(start_s * constants.SAMPLE_RATE_HZ) - begin, 0)
        last = len(block) if end_s == math.inf else round(end_s * constants.SAMPLE_RATE_HZ) - begin
        yield block[first:last]
        begin += len(block)


def _normalize_level(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return samples at -20 dBFS, padded: key, onsets and the first MFCC depend on the level."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
    level = samples * np.float32(TARGET_RMS / rms) if rms else samples
    missing = int(MIN_LENGTH_S * constants.SAMPLE_RATE_HZ) - level.size
    return np.pad(level, (0, max(missing, 0))).astype(np.float32)
