"""Choice of the audio track of a file that has several, such as a film or a screen recording."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from phonograph_media.errors import MediaError, display_name
from phonograph_media.source import audio_tracks, has_decoder, open_media, read_packets, require_audio

Track = int | str | None
"""Number of an audio track from 1, `all` to mix all of them, or None for the one with speech."""

_RATE_HZ = 8_000
_FRAME = 160
_BLOCK_FRAMES = 200
"""4 s."""
_SPEECH_HZ = (300, 3_400)
_SYLLABLES_HZ = (2.0, 9.0)
_MIN_LEVEL = 10 ** (-55 / 20)
_MIN_DEPTH = 0.45
_VOICE_HZ = (70, 400)
_MIN_PITCH = 0.6
_MIN_COLOR_HZ = 150
"""Sounds of speech differ in color: the standard deviation of the center of their spectra."""
# Of a long file, this much of every minute is examined.
_EXAMINED_S, _PERIOD_S, _WHOLE_S, _MAX_PARTS = 10, 60, 180, 60
_MAX_BLOCKS = 40_000
"""Frames of about 20 ms: more than the parts have, unless the file does not state its length."""
# The track that players choose is kept unless another one has clearly more speech.
_CLEARLY_MORE = (1.5, 0.1)
_MAX_NAME_CHARS = 60


@dataclass(frozen=True, slots=True)
class ChosenTracks:
    """The tracks to decode; several are mixed."""

    streams: Sequence[AudioStream]
    warnings: tuple[str, ...] = ()


def choose_tracks(container: InputContainer, path: Path, track: Track) -> ChosenTracks:
    """Return the audio tracks to decode, and a sentence that names the others.

    Args:
        container: Open container.
        path: File of the container.
        track: The track that was requested.

    Raises:
        MediaError: As `require_audio`.
    """
    tracks = audio_tracks(container)
    number = _parse_number(track, path)
    preferred = require_audio(container, path, number)
    usable = [stream for stream in tracks if has_decoder(stream) and stream.sample_rate and stream.channels]
    if len(tracks) < 2:
        return ChosenTracks([preferred])
    if track == "all" and usable:
        left_out = [stream for stream in tracks if stream not in usable]
        return ChosenTracks(usable, _warn(tracks, usable, left_out, "all were requested"))
    reason = "it was requested"
    if number is None:
        preferred, reason = _find_speech(path, usable, preferred)
    left_out = [stream for stream in tracks if stream.index != preferred.index]
    return ChosenTracks([preferred], _warn(tracks, [preferred], left_out, reason))


def _parse_number(track: Track, path: Path) -> int | None:
    if track is None or track == "all":
        return None
    # Of any other text, only a number has a meaning.
    if isinstance(track, str) and not (track.isascii() and track.isdecimal()):
        raise MediaError(
            f"{display_name(path)} has no audio track {track[:20]!r}. Give the number of a track, "
            "from 1, or all.",
            reason="unknown_track",
        )
    return int(track)


def measure_speech(samples: NDArray[np.float32]) -> float:
    """Return how much of a sound is like speech, from 0 to 1: loud in its band, and modulated like syllables.

    Args:
        samples: Shape (samples,), 8 kHz mono, [-1, 1].
    """
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    if len(frames) < _BLOCK_FRAMES // 2:
        return 0.0
    starts = range(0, max(1, len(frames) - _BLOCK_FRAMES // 2), _BLOCK_FRAMES)
    return float(np.mean([_score_block(frames[start : start + _BLOCK_FRAMES]) for start in starts]))


def _measure_pitch(frames: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return, for each frame and the one after it, how much of its energy repeats at the pitch of a voice."""
    pairs = np.hstack([frames, np.vstack([frames[1:], frames[-1:]])])
    pairs = (pairs - pairs.mean(axis=1, keepdims=True)) * np.hanning(2 * _FRAME).astype(np.float32)
    repetition = np.fft.irfft(np.abs(np.fft.rfft(pairs, 4 * _FRAME, axis=1)) ** 2, axis=1)
    lags = slice(round(_RATE_HZ / _VOICE_HZ[1]), round(_RATE_HZ / _VOICE_HZ[0]))
    # The window makes repetitions at longer lags weaker.
    window = np.hanning(2 * _FRAME)
    weights = np.fft.irfft(np.abs(np.fft.rfft(window, 4 * _FRAME)) ** 2)
    relative = repetition[:, lags] / (weights[lags] / weights[0])
    strength: NDArray[np.floating] = relative.max(axis=1) / (repetition[:, 0] + 1e-9)
    return strength


def _score_block(frames: NDArray[np.float32]) -> float:
    spectra = np.abs(np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32), axis=1)) ** 2
    hz = np.fft.rfftfreq(_FRAME, 1 / _RATE_HZ)
    in_band = (hz >= _SPEECH_HZ[0]) & (hz <= _SPEECH_HZ[1])
    energy = spectra[:, in_band].sum(axis=1)
    colors = (spectra[:, in_band] @ hz[in_band]) / (energy + 1e-12)
    envelope = np.sqrt(energy) / _FRAME
    level = float(envelope.mean())
    if level < _MIN_LEVEL / 4 or float(envelope.std()) < _MIN_DEPTH * level:
        return 0.0
    is_active = envelope > level / 2
    if float(colors[is_active].std()) < _MIN_COLOR_HZ:
        return 0.0
    voiced = float((_measure_pitch(frames)[is_active] > _MIN_PITCH).mean())
    power = np.abs(np.fft.rfft((envelope - level) * np.hanning(len(envelope)))) ** 2
    hz = np.fft.rfftfreq(len(envelope), _FRAME / _RATE_HZ)
    syllables = power[(hz >= _SYLLABLES_HZ[0]) & (hz <= _SYLLABLES_HZ[1])]
    if not syllables.sum():
        return 0.0
    # The syllables of speech are irregular; the beats of music are a few lines in this spectrum.
    shares = syllables / syllables.sum()
    spread = -float((shares * np.log(shares + 1e-12)).sum()) / np.log(len(shares))
    return float(spread * voiced * syllables.sum() / power.sum())


def _find_speech(
    path: Path, usable: Sequence[AudioStream], preferred: AudioStream
) -> tuple[AudioStream, str]:
    sounds = _examine(path, [stream.index for stream in usable])
    speech = {index: measure_speech(sound) for index, sound in sounds.items()}
    best = max(usable, key=lambda stream: speech[stream.index])
    factor, margin = _CLEARLY_MORE
    if speech[best.index] > max(factor * speech[preferred.index], speech[preferred.index] + margin):
        return best, "it has the most speech"
    levels = {index: float(np.square(sound).mean()) if len(sound) else 0.0 for index, sound in sounds.items()}
    loudest = max(usable, key=lambda stream: levels[stream.index])
    if levels[preferred.index] < _MIN_LEVEL**2 < levels[loudest.index]:
        return loudest, "the first one is silent"
    return preferred, "it is the one that players choose"


def _examine(path: Path, indexes: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    """Return parts of the tracks, by the index of their streams, as 8 kHz mono."""
    parts: dict[int, list[NDArray[np.float32]]] = {index: [] for index in indexes}
    resamplers = {index: AudioResampler(format="flt", layout="mono", rate=_RATE_HZ) for index in indexes}
    with open_media(path) as container:
        length_s = (container.duration or 0) / av.time_base
        period_s = max(_PERIOD_S, length_s / _MAX_PARTS)
        for packet in read_packets(container):
            index = packet.stream.index
            if index not in parts or not packet.size:
                continue
            at_s = float((packet.pts or 0) * (packet.time_base or 0))
            if (length_s > _WHOLE_S or at_s > _WHOLE_S) and at_s % period_s > _EXAMINED_S:
                continue
            if len(parts[index]) > _MAX_BLOCKS:
                continue
            try:
                frames = [frame for frame in packet.decode() if isinstance(frame, AudioFrame)]
                for frame in frames:
                    frame.pts = None
                    parts[index] += [each.to_ndarray()[0] for each in resamplers[index].resample(frame)]
            except (av.FFmpegError, ValueError):
                # A damaged packet, or a change of the format within the track.
                resamplers[index] = AudioResampler(format="flt", layout="mono", rate=_RATE_HZ)
    return {
        index: np.nan_to_num(np.concatenate(part)) if part else np.zeros(0, np.float32)
        for index, part in parts.items()
    }


def _warn(
    tracks: Sequence[AudioStream], chosen: Sequence[AudioStream], left_out: Sequence[AudioStream], reason: str
) -> tuple[str, ...]:
    taken = ", ".join(_describe(tracks, stream) for stream in chosen)
    if not left_out:
        return (f"tracks_mixed: {taken} were mixed ({reason}).",)
    others = ", ".join(_describe(tracks, stream) for stream in left_out)
    sentence = (
        f"tracks_left_out: of {len(tracks)} audio tracks, {taken} was taken ({reason}); left out: {others}. "
        "Choose another by the option track (a number, or all)."
    )
    return (sentence,)


def _describe(tracks: Sequence[AudioStream], stream: AudioStream) -> str:
    number = next(number for number, each in enumerate(tracks, start=1) if each.index == stream.index)
    names = [stream.metadata.get(key, "") for key in ("title", "handler_name", "language")]
    known = [name for name in names if name and name not in {"SoundHandler", "und"}]
    return f"track {number}" + (f" ({', '.join(known)[:_MAX_NAME_CHARS]})" if known else "")
