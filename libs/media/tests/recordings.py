"""Recordings that the tests of this package write."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def noise(seconds: float, rate: int = 44_100, channels: int = 2, seed: int = 1) -> NDArray[np.int16]:
    """Return white noise, shape (channels, samples)."""
    samples = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate))) * 4_000
    return samples.clip(-32_768, 32_767).astype(np.int16)


def beeps(seconds: int, rate: int = 44_100, quiet: tuple[float, float] = (0, 0)) -> NDArray[np.int16]:
    """Return a beep of 0.1 s at every full second except in `quiet`, shape (2, samples)."""
    t = np.arange(seconds * rate) / rate
    is_on = (t % 1 < 0.1) & ~((t >= quiet[0]) & (t < quiet[1]))
    return np.tile((16_000 * np.sin(2 * np.pi * 1_000 * t) * is_on).astype(np.int16), (2, 1))


def write_sound(
    path: Path,
    samples: NDArray[np.int16],
    *,
    codec: str,
    rate: int = 44_100,
    container: str | None = None,
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    frame_size: int = 777,
) -> Path:
    """Encode `samples`, shape (channels, samples), to `path`."""
    with av.open(str(path), "w", format=container, options=muxing or {}) as file:
        file.metadata.update(tags or {})
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.layout = "stereo" if len(samples) == 2 else "mono"
        for frame in _encoder_frames(samples, rate, stream, frame_size):
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def write_film(
    path: Path,
    seconds: int,
    *,
    fps: int = 10,
    sound_delay_s: float = 0.0,
    blank: tuple[float, float] = (3.0, 5.5),
    quiet: tuple[float, float] = (8.0, 11.0),
    has_sound: bool = True,
    size: tuple[int, int] = (320, 180),
) -> Path:
    """Write a film with a white frame and a beep at every full second, a black and a quiet part."""
    with av.open(str(path), "w") as file:
        picture = file.add_stream("libx264", rate=fps)
        picture.width, picture.height = size
        picture.pix_fmt = "yuv420p"
        track = file.add_stream("aac", rate=44_100, layout="stereo") if has_sound else None
        delay = round(sound_delay_s * 44_100)
        frames = (
            iter(())
            if track is None
            else _encoder_frames(beeps(seconds, quiet=quiet), 44_100, track, 1024, delay)
        )
        pending = next(frames, None)
        for number in range(seconds * fps):
            at_s = number / fps
            while track is not None and pending is not None and pending.time <= at_s:
                file.mux(track.encode(pending))
                pending = next(frames, None)
            light = 255 if number % fps == 0 else 80
            light = 0 if blank[0] <= at_s < blank[1] else light
            image = av.VideoFrame.from_ndarray(
                np.full((size[1], size[0], 3), light, np.uint8), format="rgb24"
            )
            image.pts, image.time_base = number, Fraction(1, fps)
            file.mux(picture.encode(image))
        file.mux(picture.encode(None))
        if track is not None:
            for frame in chain([pending] if pending is not None else [], frames):
                file.mux(track.encode(frame))
            file.mux(track.encode(None))
    return path


def remux(source: Path, target: Path, container: str | None = None) -> Path:
    """Copy the packets of the first audio stream into another container."""
    with av.open(str(source)) as old, av.open(str(target), "w", format=container) as new:
        stream = old.streams.audio[0]
        copy = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                new.mux(packet)
    return target


def truncate(source: Path, target: Path, share: float) -> Path:
    """Copy the first `share` of the bytes of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def flash_times(path: Path) -> list[float]:
    """Return the times, in seconds, at which a white frame follows a frame that is not white."""
    times, was_white = [], False
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            white = frame.to_ndarray(format="gray").mean() > 200
            if white and not was_white:
                times.append(round(frame.time, 3))
            was_white = white
    return times


def beep_times(samples: NDArray[np.float32], rate: int = 44_100) -> list[float]:
    """Return the times, in seconds, at which a beep starts."""
    loud = np.flatnonzero(np.abs(samples) > 0.1)
    first = np.concatenate([[True], np.diff(loud) > rate // 10]) if len(loud) else np.array([], dtype=bool)
    return [round(float(at) / rate, 2) for at in loud[first]]


def _encoder_frames(
    samples: NDArray[np.int16],
    rate: int,
    stream: av.AudioStream,
    frame_size: int,
    first_pts: int = 0,
) -> Iterator[av.AudioFrame]:
    layout = stream.layout.name
    whole = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(samples.T).reshape(1, -1), format="s16", layout=layout
    )
    whole.sample_rate, whole.pts, whole.time_base = rate, first_pts, Fraction(1, rate)
    resampler = av.AudioResampler(
        format=stream.format.name,
        layout=layout,
        rate=rate,
        frame_size=stream.codec_context.frame_size or frame_size,
    )
    yield from resampler.resample(whole)
    yield from resampler.resample(None)
