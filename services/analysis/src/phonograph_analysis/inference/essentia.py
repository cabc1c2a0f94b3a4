"""Music analysis with essentia (AGPL-3). No other module imports it."""

import importlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_analysis import constants
from phonograph_analysis.constants import SAMPLE_RATE_HZ
from phonograph_analysis.domain.bars import find_bars
from phonograph_analysis.domain.loudness import (
    find_audible_extent,
    integrated_loudness,
    loudness_range,
    true_peak,
)
from phonograph_analysis.domain.ports import MusicAnalyzer
from phonograph_analysis.domain.results import (
    BAR_FIELDS,
    DANCEABILITY_FIELD,
    KEY_FIELDS,
    LOUDNESS_FIELDS,
    SOUND_FIELDS,
    TEMPO_FIELDS,
    TUNING_FIELD,
    Bars,
    Key,
    MusicAnalysis,
    Reason,
    Tempo,
)
from phonograph_analysis.domain.tempo import Pulse, combine_tempi, estimate_tempo
from phonograph_analysis.domain.tonality import (
    CONCERT_PITCH_HZ,
    KeyEstimate,
    Texture,
    choose_key,
    combine_keys,
    detect_non_music,
    join_keys,
    to_tuning_hz,
)
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
ENERGY_LUFS = (-30.0, -6.0)
ENERGY_ONSETS = (0.0, 8.0)
MIN_LENGTH_S = 3.0
"""Parts are padded with silence to this length, which all algorithms accept."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The loudness of a file, and where it is audible."""

    loudness_lufs: float | None
    range_lu: float | None
    true_peak: float
    """Linear; 1 is full scale."""
    start_s: float
    """First audible moment."""
    end_s: float
    """Last audible moment."""
    audible_s: float
    """Audible seconds of the whole file."""


@dataclass(frozen=True, slots=True)
class Part:
    """Five minutes at most of the audible audio of a file."""

    start_s: float
    """Start in the file."""
    end_s: float
    """End in the file."""
    samples: NDArray[np.float32]
    """44.1 kHz mono at about -20 dBFS, shape (samples,)."""


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """The contribution of a part to the whole."""

    length_s: float
    reason: Reason | None
    """Reason if it contains no music."""
    tempo: Tempo | None = None
    accents: NDArray[np.float64] | None = None
    """Of the beats of the tempo."""
    key: Key | Reason = Reason.NOT_TONAL
    key_windows: tuple[tuple[float, float, Key | Reason], ...] = ()
    tuning: complex = 0j
    onsets: int = 0
    danceability: float | None = None


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

        Loudness is measured on the whole file, the rest from the first to the last audible moment, in parts
        of five minutes at most.
        """
        self.load()
        try:
            return self._predict(path, progress, track)
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

    def _predict(self, path: Path, progress: Progress, track: Track) -> MusicAnalysis:
        levels, kept = self._measure_levels(path, progress, track)
        empty = MusicAnalysis(
            engine=self.name,
            algorithm_build=self.model,
            excerpt_start_s=round(levels.start_s, 3),
            excerpt_end_s=round(levels.end_s, 3),
        )
        if levels.loudness_lufs is None or not levels.audible_s:
            return empty.without_music(Reason.SILENCE, *LOUDNESS_FIELDS, *SOUND_FIELDS)
        timbre, spectrum = spectra.FeatureSums(), spectra.FeatureSums()
        parts: list[MeasuredPart] = []
        for part in _read_parts(path, track, levels, kept):

            def report(
                fraction: float, stage: str, start_s: float = part.start_s, end_s: float = part.end_s
            ) -> None:
                done_s = start_s - levels.start_s + fraction * (end_s - start_s)
                progress(0.5 + 0.5 * min(done_s / (levels.end_s - levels.start_s), 1.0), stage)

            parts.append(self._measure_part(part, levels.audible_s, report))
            if parts[-1].reason not in {Reason.NOISE, Reason.SPEECH}:
                self._add_features(part.samples, timbre, spectrum)
        music = [part for part in parts if part.reason is None]
        measured = replace(
            empty,
            loudness_lufs=round(levels.loudness_lufs, 2),
            loudness_range_lu=None if levels.range_lu is None else round(levels.range_lu, 2),
            true_peak_dbtp=round(20 * math.log10(levels.true_peak), 2),
        )
        if not music:
            reason = max(parts, key=lambda part: part.length_s).reason or Reason.NOISE
            if reason is Reason.NOISE:
                return empty.without_music(reason, *LOUDNESS_FIELDS, *SOUND_FIELDS)
            if reason is Reason.SPEECH:
                return measured.without_music(reason, *SOUND_FIELDS)
            return replace(
                measured, timbre=timbre.statistics(), spectrum=spectrum.statistics()
            ).without_music(reason, "onset_rate", "energy")
        return _combine(
            replace(measured, timbre=timbre.statistics(), spectrum=spectrum.statistics()),
            music,
            levels,
        )

    def _measure_part(self, part: Part, audible_s: float, progress: Progress) -> MeasuredPart:
        """Measure a part; `audible_s` is of the whole file."""
        length_s = part.end_s - part.start_s
        progress(0.0, "texture")
        texture = spectra.measure_texture(part.samples)
        pulse = spectra.measure_pulse(part.samples)
        # Only noise is recognized in a few seconds: pulse and pitch may be chance.
        is_short = audible_s < constants.MIN_AUDIBLE_S
        if is_short and (pulse.is_periodic or not texture.is_noisy):
            return MeasuredPart(length_s, Reason.TOO_SHORT)
        progress(0.2, "tempo")
        tempo = None if is_short else self._estimate_tempo(part, pulse)
        reason = detect_non_music(texture, has_tempo=tempo is not None)
        if reason is not None:
            return MeasuredPart(length_s, reason)
        progress(0.6, "key")
        tuning = spectra.measure_tuning(part.samples)
        key, windows = self._estimate_keys(part, texture, to_tuning_hz(tuning) or CONCERT_PITCH_HZ)
        progress(0.8, "timbre")
        onsets, _ = self._standard.OnsetRate()(part.samples)
        beats_s = np.array(tempo.beats) - part.start_s if tempo else None
        return MeasuredPart(
            length_s,
            None,
            tempo=tempo,
            accents=None if beats_s is None else spectra.measure_accents(part.samples, beats_s),
            key=key,
            key_windows=windows,
            tuning=tuning,
            onsets=len(onsets),
            danceability=None if tempo is None else self._measure_danceability(part.samples),
        )

    def _measure_levels(
        self, path: Path, progress: Progress, track: Track
    ) -> tuple[Levels, list[NDArray[np.float32]]]:
        """Decode the whole file; return its levels, and the first five minutes mixed to mono, in blocks."""
        probed = probe(path)
        channels = probed.audio.channels if probed.audio else 0
        momentary: list[NDArray[np.float64]] = []
        complete_windows: list[NDArray[np.float64]] = []
        starts_s: list[NDArray[np.float64]] = []
        kept: list[NDArray[np.float32]] = []
        read_s = kept_s = peak = 0.0
        for block in _read_blocks(path, track):
            if probed.duration_s:
                progress(min(0.5 * read_s / probed.duration_s, 0.5), "decoding")
            windows = self._measure_momentary_loudness(block if channels > 1 else block[:, :1])
            momentary.append(windows)
            complete_windows.append(windows[EDGE_WINDOWS:-EDGE_WINDOWS])
            starts_s.append(read_s + LOUDNESS_HOP_S * np.arange(windows.size, dtype=np.float64))
            peak = true_peak(block, peak)
            read_s += len(block) / SAMPLE_RATE_HZ
            # Most files are shorter than one part: keeping it saves a second decoding.
            if kept_s < constants.PART_S:
                kept.append(mix_down(block, SAMPLE_RATE_HZ))
                kept_s = read_s
        windows_lufs = np.concatenate(momentary)
        start_s, end_s, audible_s = find_audible_extent(
            windows_lufs,
            np.concatenate(starts_s),
            LOUDNESS_HOP_S,
            floor_lufs=constants.SILENCE_LUFS,
        )
        levels = Levels(
            # Audio of less than half a second has no complete window.
            loudness_lufs=integrated_loudness(np.concatenate(complete_windows))
            or integrated_loudness(windows_lufs),
            range_lu=loudness_range(np.concatenate(complete_windows)),
            true_peak=peak,
            start_s=start_s,
            end_s=end_s,
            audible_s=audible_s,
        )
        return levels, kept if end_s <= kept_s else []

    def _measure_momentary_loudness(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return LUFS every 0.1 s. The one channel of a mono source counts once, as in ITU-R BS.1770."""
        silent = np.zeros((len(block), 2 - block.shape[1]), dtype=np.float32)
        stereo = np.ascontiguousarray(np.hstack([block, silent]))
        loudness = self._standard.LoudnessEBUR128(
            sampleRate=SAMPLE_RATE_HZ, hopSize=LOUDNESS_HOP_S, startAtZero=True
        )
        windows = np.asarray(loudness(stereo)[0], dtype=np.float64)
        return windows[: math.ceil(len(block) / (LOUDNESS_HOP_S * SAMPLE_RATE_HZ))]

    def _estimate_tempo(self, part: Part, pulse: Pulse) -> Tempo | None:
        tracker = self._standard.RhythmExtractor2013(method="multifeature")
        _, beats, confidence, _, _ = tracker(part.samples)
        return estimate_tempo(
            np.asarray(beats, dtype=np.float64),
            float(confidence),
            is_periodic=pulse.is_periodic,
            duration_s=part.end_s - part.start_s,
            offset_s=part.start_s,
        )

    def _estimate_keys(
        self, part: Part, texture: Texture, tuning_hz: float
    ) -> tuple[Key | Reason, tuple[tuple[float, float, Key | Reason], ...]]:
        """Return the key of a part, and that of each window of it."""
        key = self._choose_key(part.samples, texture, tuning_hz)
        length_s = part.end_s - part.start_s
        count = int(length_s // constants.KEY_WINDOW_S)
        if count < 2:
            return key, ((round(part.start_s, 3), round(part.end_s, 3), key),)
        bounds_s = np.linspace(0.0, length_s, count + 1)
        windows = []
        for first_s, last_s in itertools.pairwise(bounds_s):
            window = part.samples[round(first_s * SAMPLE_RATE_HZ) : round(last_s * SAMPLE_RATE_HZ)]
            start_s, end_s = (round(part.start_s + float(at_s), 3) for at_s in (first_s, last_s))
            windows.append((start_s, end_s, self._choose_key(window, texture, tuning_hz)))
        return key, tuple(windows)

    def _choose_key(self, samples: NDArray[np.float32], texture: Texture, tuning_hz: float) -> Key | Reason:
        first, second = (self._estimate_key(samples, profile, tuning_hz) for profile in KEY_PROFILES)
        return choose_key(first, second, texture)

    def _estimate_key(self, samples: NDArray[np.float32], profile: str, tuning_hz: float) -> KeyEstimate:
        extractor = self._standard.KeyExtractor(
            profileType=profile, sampleRate=SAMPLE_RATE_HZ, tuningFrequency=tuning_hz
        )
        key, scale, strength = extractor(samples)
        return KeyEstimate(profile, key, scale, float(strength))

    def _measure_danceability(self, samples: NDArray[np.float32]) -> float:
        value, _ = self._standard.Danceability(sampleRate=SAMPLE_RATE_HZ)(samples)
        return round(float(value), 3)

    def _add_features(
        self, samples: NDArray[np.float32], timbre: spectra.FeatureSums, spectrum: spectra.FeatureSums
    ) -> None:
        mfcc = self._standard.MFCC(inputSize=spectra.FRAME // 2 + 1, sampleRate=SAMPLE_RATE_HZ)
        for block in spectra.active_spectra(samples):
            if len(block):
                timbre.add(np.array([mfcc(frame)[1] for frame in block], dtype=np.float64))
                spectrum.add(spectra.describe_spectra(block))


def _combine(analysis: MusicAnalysis, parts: list[MeasuredPart], levels: Levels) -> MusicAnalysis:
    """Return the analysis with what the parts with music have in common."""
    tempo = combine_tempi([part.tempo for part in parts if part.tempo is not None])
    key = combine_keys((part.length_s, part.key) for part in parts)
    tuning = sum(part.tuning * part.length_s for part in parts) / sum(part.length_s for part in parts)
    bars = _find_bars(parts) if tempo else None
    reasons: dict[str, str] = {}
    if tempo is None:
        reasons |= dict.fromkeys((*TEMPO_FIELDS, DANCEABILITY_FIELD), Reason.NO_STEADY_BEAT)
    if bars is None:
        reasons |= dict.fromkeys(BAR_FIELDS, Reason.NO_CLEAR_BARS if tempo else Reason.NO_STEADY_BEAT)
    if not isinstance(key, Key):
        reasons |= dict.fromkeys((*KEY_FIELDS, TUNING_FIELD), key)
    elif to_tuning_hz(tuning) is None:
        reasons[TUNING_FIELD] = Reason.AMBIGUOUS_TUNING
    onset_rate = sum(part.onsets for part in parts) / sum(part.length_s for part in parts)
    return replace(
        analysis,
        tempo=tempo,
        bars=bars,
        key=replace(key, sections=join_keys([window for part in parts for window in part.key_windows]))
        if isinstance(key, Key)
        else None,
        tuning_hz=to_tuning_hz(tuning) if isinstance(key, Key) else None,
        onset_rate=round(onset_rate, 3),
        energy=_rate_energy(levels.loudness_lufs or 0.0, onset_rate),
        danceability=_mean_danceability(parts) if tempo else None,
        reasons=reasons,
    )


def _find_bars(parts: list[MeasuredPart]) -> Bars | None:
    """Return the bars of the parts together; None if they are not clear or differ between parts."""
    found = [
        find_bars(part.tempo.beats, part.accents)
        for part in parts
        if part.tempo is not None and part.accents is not None
    ]
    bars = [each for each in found if each is not None]
    if not bars or 2 * len(bars) < len(found) or len({each.beats_per_bar for each in bars}) > 1:
        return None
    return Bars(bars[0].beats_per_bar, tuple(beat for each in bars for beat in each.downbeats))


def _mean_danceability(parts: list[MeasuredPart]) -> float:
    """Return the mean of the parts with a tempo, of which there is at least one, weighted by their length."""
    known = [(part.danceability, part.length_s) for part in parts if part.danceability is not None]
    total = math.fsum(value * length_s for value, length_s in known)
    return round(total / math.fsum(length_s for _, length_s in known), 3)


def _rate_energy(loudness_lufs: float, onset_rate: float) -> float:
    loudness = np.interp(loudness_lufs, ENERGY_LUFS, (0.0, 1.0))
    return round(float(loudness + np.interp(onset_rate, ENERGY_ONSETS, (0.0, 1.0))) / 2, 3)


def _read_parts(path: Path, track: Track, levels: Levels, kept: list[NDArray[np.float32]]) -> Iterator[Part]:
    """Yield the audible audio in parts of about equal length, at most five minutes.

    Args:
        path: File to read.
        track: Audio track to read.
        levels: Where the file is audible.
        kept: Decoded blocks from the start of the file, mixed to mono, if they contain all that is audible.
    """
    count = math.ceil((levels.end_s - levels.start_s) / constants.PART_S)
    bounds_s = np.linspace(levels.start_s, levels.end_s, max(count, 1) + 1)
    blocks = iter(kept) if kept else (mix_down(block, SAMPLE_RATE_HZ) for block in _read_blocks(path, track))
    rest, at = np.zeros(0, np.float32), 0
    for start_s, end_s in itertools.pairwise(bounds_s):
        first, last = round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
        collected = [rest]
        length = len(rest)
        while at + length < last and (block := next(blocks, None)) is not None:
            collected.append(block)
            length += len(block)
        joined = np.concatenate(collected)
        yield Part(float(start_s), float(end_s), _normalize_level(joined[max(first - at, 0) : last - at]))
        rest, at = joined[last - at :], min(last, at + len(joined))


def _read_blocks(path: Path, track: Track) -> Iterator[NDArray[np.float32]]:
    """Yield the audio in blocks of about a minute, shape (samples, 2).

    Samples that are not finite, as in a damaged float WAV, become 0.
    """
    for block in decode_blocks(path, sample_rate_hz=SAMPLE_RATE_HZ, block_s=constants.BLOCK_S, track=track):
        yield np.nan_to_num(block, posinf=0.0, neginf=0.0)


def _normalize_level(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return samples at -20 dBFS, padded: key, onsets and the first MFCC depend on the level."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if samples.size else 0.0
    level = samples * np.float32(TARGET_RMS / rms) if rms else samples
    missing = int(MIN_LENGTH_S * SAMPLE_RATE_HZ) - level.size
    return np.pad(level, (0, max(missing, 0))).astype(np.float32)
