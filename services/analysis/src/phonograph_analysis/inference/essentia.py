"""Music analysis with essentia (AGPL-3), the only place that imports it."""

import importlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonograph_analysis import constants
from phonograph_analysis.domain.loudness import integrated_loudness, sounding_extent
from phonograph_analysis.domain.result import (
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
from phonograph_analysis.domain.tempo import Pulse, steady_tempo
from phonograph_analysis.domain.tonality import KeyOpinion, choose_key, not_music
from phonograph_analysis.exceptions import EngineFailedError, UnreadableMediaError
from phonograph_analysis.inference import spectra
from phonograph_media import MediaError, decode_blocks, probe
from phonograph_runtime.ports import Progress

PROFILES = ("bgate", "temperley")
"""Key profiles: essentia's default, made for popular music; as second opinion one from classical music."""
LOUDNESS_HOP_S = 0.1
WINDOW_EDGE = 2
"""Momentary windows at either end of a block that reach beyond it."""
LEVEL_RMS = 0.1
LEAST_S = 3.0
"""Excerpts are padded with silence to this length, which every algorithm can take."""


@dataclass(frozen=True, slots=True)
class Sound:
    """What reading the file gave."""

    loudness_lufs: float | None
    start_s: float
    """Where the excerpt begins in the file."""
    end_s: float
    sounding_s: float
    """How much of the file is louder than silence."""
    samples: NDArray[np.float32]
    """The excerpt: 44.1 kHz mono at about -20 dBFS, shape (samples,)."""


class EssentiaAnalyzer:
    """Measures music with essentia; every file has algorithm objects of its own.

    In essentia 2.1b6 several of them answer for the first file again when they are used a second time.
    """

    engine = constants.ENGINE

    def __init__(self) -> None:
        self._standard: Any = None

    @property
    def algorithm_build(self) -> str:
        """Version of essentia and the revision of what is built on it."""
        return f"{metadata.version('essentia')}-r{constants.REVISION}"

    def load(self) -> None:
        """Import essentia, silenced; it takes about a second."""
        if self._standard is None:
            self._standard = self._load()

    def predict(self, path: Path, progress: Progress) -> MusicAnalysis:
        """Measure the music of a media file.

        Loudness is measured on all of it, the rest on the stretch from its first to its last sound; where
        that is longer than ten minutes, on the ten minutes around the middle of what sounds.

        Args:
            path: anything that FFmpeg decodes.
            progress: told after each minute read and before each step.

        Raises:
            UnreadableMediaError: the file cannot be decoded; the reason is that of `MediaError`.
            EngineFailedError: essentia failed on its sound.
        """
        self.load()
        try:
            return self._predict(self._listen(path, progress), progress)
        except MediaError as error:
            raise UnreadableMediaError(error.message, reason=error.reason) from error
        except RuntimeError as error:
            raise EngineFailedError(f"essentia failed on the sound of {path.name}: {error}") from error

    def _load(self) -> Any:
        log = importlib.import_module("essentia").log
        log.infoActive = False
        log.warningActive = False
        return importlib.import_module("essentia.standard")

    def _predict(self, sound: Sound, progress: Progress) -> MusicAnalysis:
        nothing = MusicAnalysis(
            engine=self.engine,
            algorithm_build=self.algorithm_build,
            excerpt_start_s=round(sound.start_s, 3),
            excerpt_end_s=round(sound.end_s, 3),
        )
        if sound.loudness_lufs is None or not sound.sounding_s:
            return nothing.without_music(Reason.SILENCE, LOUDNESS_FIELD, *TIMBRE_FIELDS)
        heard = replace(nothing, loudness_lufs=round(sound.loudness_lufs, 2))
        progress(0.5, "texture")
        texture = spectra.texture(sound.samples)
        pulse = spectra.pulse(sound.samples)
        short = sound.sounding_s < constants.MIN_SOUNDING_S
        if short and (pulse.repeats or not texture.noisy):
            return replace(heard, timbre=self._timbre(sound.samples)).without_music(Reason.TOO_SHORT)
        progress(0.6, "tempo")
        tempo = None if short else self._tempo(sound, pulse)
        reason = not_music(texture, has_tempo=tempo is not None)
        if reason is Reason.NOISE:
            return nothing.without_music(reason, LOUDNESS_FIELD, *TIMBRE_FIELDS)
        if reason is not None:
            return heard.without_music(reason, *TIMBRE_FIELDS)
        progress(0.8, "key")
        first, second = (self._key(sound.samples, profile) for profile in PROFILES)
        key = choose_key(first, second, texture)
        progress(0.9, "timbre")
        reasons: dict[str, str] = {}
        if tempo is None:
            reasons |= dict.fromkeys((*TEMPO_FIELDS, DANCEABILITY_FIELD), Reason.NO_STEADY_BEAT)
        if not isinstance(key, Key):
            reasons |= dict.fromkeys(KEY_FIELDS, key)
        return replace(
            heard,
            tempo=tempo,
            key=key if isinstance(key, Key) else None,
            danceability=None if tempo is None else self._danceability(sound.samples),
            timbre=self._timbre(sound.samples),
            reasons=reasons,
        )

    def _listen(self, path: Path, progress: Progress) -> Sound:
        found = probe(path)
        channels = found.audio.channels if found.audio else 0
        momentary: list[NDArray[np.float64]] = []
        whole_windows: list[NDArray[np.float64]] = []
        begins_s: list[NDArray[np.float64]] = []
        kept: list[NDArray[np.float32]] = []
        read_s = kept_s = 0.0
        for block in _blocks(path):
            if found.duration_s:
                progress(min(0.4 * read_s / found.duration_s, 0.4), "decoding")
            windows = self._momentary_loudness(block if channels > 1 else block[:, :1])
            momentary.append(windows)
            whole_windows.append(windows[WINDOW_EDGE:-WINDOW_EDGE])
            begins_s.append(read_s + LOUDNESS_HOP_S * np.arange(windows.size, dtype=np.float64))
            read_s += len(block) / constants.SAMPLE_RATE_HZ
            if kept_s < constants.EXCERPT_S:
                kept.append(block.mean(axis=1))
                kept_s = read_s
        all_windows = np.concatenate(momentary)
        start_s, end_s, sounding_s = sounding_extent(
            all_windows,
            np.concatenate(begins_s),
            LOUDNESS_HOP_S,
            floor_lufs=constants.SILENCE_LUFS,
            longest_s=constants.EXCERPT_S,
        )
        if end_s > kept_s:
            progress(0.4, "decoding")
            kept = [block.mean(axis=1) for block in _blocks(path, start_s, end_s)]
        else:
            kept = list(_between(kept, start_s, end_s))
        return Sound(
            # Less than half a second has no whole window.
            loudness_lufs=integrated_loudness(np.concatenate(whole_windows))
            or integrated_loudness(all_windows),
            start_s=start_s,
            end_s=end_s,
            sounding_s=sounding_s,
            samples=_levelled(np.concatenate([np.zeros(0, np.float32), *kept])),
        )

    def _momentary_loudness(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """LUFS every 0.1 s. The one channel of a mono source is weighed once, as ITU-R BS.1770 has it."""
        silent = np.zeros((len(block), 2 - block.shape[1]), dtype=np.float32)
        stereo = np.ascontiguousarray(np.hstack([block, silent]))
        loudness = self._standard.LoudnessEBUR128(
            sampleRate=constants.SAMPLE_RATE_HZ, hopSize=LOUDNESS_HOP_S, startAtZero=True
        )
        windows = np.asarray(loudness(stereo)[0], dtype=np.float64)
        return windows[: math.ceil(len(block) / (LOUDNESS_HOP_S * constants.SAMPLE_RATE_HZ))]

    def _tempo(self, sound: Sound, pulse: Pulse) -> Tempo | None:
        tracker = self._standard.RhythmExtractor2013(method="multifeature")
        _, beats, confidence, _, _ = tracker(sound.samples)
        return steady_tempo(
            np.asarray(beats, dtype=np.float64),
            float(confidence),
            repeats=pulse.repeats,
            duration_s=sound.end_s - sound.start_s,
            offset_s=sound.start_s,
        )

    def _key(self, samples: NDArray[np.float32], profile: str) -> KeyOpinion:
        extractor = self._standard.KeyExtractor(profileType=profile, sampleRate=constants.SAMPLE_RATE_HZ)
        key, scale, strength = extractor(samples)
        return KeyOpinion(profile, key, scale, float(strength))

    def _danceability(self, samples: NDArray[np.float32]) -> float:
        value, _ = self._standard.Danceability(sampleRate=constants.SAMPLE_RATE_HZ)(samples)
        return round(float(value), 3)

    def _timbre(self, samples: NDArray[np.float32]) -> Timbre:
        mfcc = self._standard.MFCC(inputSize=spectra.FRAME // 2 + 1, sampleRate=constants.SAMPLE_RATE_HZ)
        coefficients = np.array([mfcc(spectrum)[1] for spectrum in spectra.active_spectra(samples)])
        return Timbre(
            mean=tuple(np.round(coefficients.mean(axis=0), 4).tolist()),
            variance=tuple(np.round(coefficients.var(axis=0), 4).tolist()),
        )


def _blocks(path: Path, start_s: float = 0.0, end_s: float = math.inf) -> Iterator[NDArray[np.float32]]:
    """About a minute each of the sound between two times, shape (samples, 2).

    Samples that are no numbers, as a damaged float WAV has them, are 0.
    """
    decoded = decode_blocks(path, sample_rate_hz=constants.SAMPLE_RATE_HZ, block_s=constants.BLOCK_S)
    for block in _between(decoded, start_s, end_s):
        yield np.nan_to_num(block, posinf=0.0, neginf=0.0)


def _between(
    blocks: Iterable[NDArray[np.float32]], start_s: float, end_s: float
) -> Iterator[NDArray[np.float32]]:
    begin = 0
    for block in blocks:
        if begin >= end_s * constants.SAMPLE_RATE_HZ:
            return
        first = max(round(start_s * constants.SAMPLE_RATE_HZ) - begin, 0)
        last = len(block) if end_s == math.inf else round(end_s * constants.SAMPLE_RATE_HZ) - begin
        yield block[first:last]
        begin += len(block)


def _levelled(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples at -20 dBFS: key, onsets and the first MFCC depend on the level."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
    level = samples * np.float32(LEVEL_RMS / rms) if rms else samples
    missing = int(LEAST_S * constants.SAMPLE_RATE_HZ) - level.size
    return np.pad(level, (0, max(missing, 0))).astype(np.float32)
