"""Sound out of a file, in blocks of constant memory: decoded, mixed down and resampled by FFmpeg.

Blocks do not depend on how the container cuts its packets: FFmpeg's resampler keeps its state over them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Discard, Stream
from numpy.typing import NDArray

from phonograph_media.errors import MediaError, shown
from phonograph_media.source import audio_of, opened, packets_of, start_s

Layout = Literal["mono", "stereo"]
SampleFormat = Literal["s16", "flt"]

_ENOUGH = 0.95
_NOTICEABLE_S = 0.25
# Formats whose header states a length. Others guess it from the bit rate, which proves nothing.
_STATES_LENGTH = {
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "flac",
    "aiff",
    "avi",
    "asf",
    "caf",
    "w64",
    "flv",
}


@dataclass(slots=True)
class Tally:
    """What was met on the way through a file."""

    packets: int = 0
    damaged: int = 0
    decoded_s: float = 0.0
    reached_s: float = 0.0
    """End of the last packet, counted from the first sample."""

    def count_damage(self) -> None:
        """One more packet could not be read or decoded."""
        self.damaged += 1

    def warnings(self, promised_s: float | None) -> tuple[str, ...]:
        """Sentences on what is missing from sound that is otherwise whole."""
        said = []
        if self.damaged:
            said.append(f"{self.damaged} of {self.packets} packets are damaged and were left out.")
        if promised_s is not None and promised_s - self.decoded_s > _NOTICEABLE_S:
            said.append(
                f"The file promises {promised_s:.1f} s of sound; {self.decoded_s:.1f} s could be decoded."
            )
        return tuple(said)


@dataclass(frozen=True, slots=True)
class Sound:
    """Sound of one file, to be read once."""

    frames: Iterator[AudioFrame]
    """Packed frames at the rate, layout and format asked for, their `pts` counting samples from 0."""
    tally: Tally
    promised_s: float | None
    """Length that the container states, where it states one."""


def decode_mono(path: Path, sample_rate_hz: int = 44_100) -> NDArray[np.float32]:
    """Decode all of `path` into memory, its channels mixed down.

    Returns:
        Shape (samples,), about [-1, 1] (lossy codecs may exceed it).

    Raises:
        MediaError: any of its reasons but `not_video`.
    """
    return np.concatenate(list(decode_blocks(path, sample_rate_hz=sample_rate_hz, channels=1)))[:, 0]


def decode_stereo(path: Path, sample_rate_hz: int = 44_100) -> NDArray[np.float32]:
    """Decode all of `path` into memory as two channels; a mono source is duplicated.

    Returns:
        Shape (samples, 2), about [-1, 1] (lossy codecs may exceed it).

    Raises:
        MediaError: any of its reasons but `not_video`.
    """
    return np.concatenate(list(decode_blocks(path, sample_rate_hz=sample_rate_hz)))


def decode_blocks(
    path: Path, *, sample_rate_hz: int = 44_100, channels: int = 2, block_s: float = 60.0
) -> Iterator[NDArray[np.float32]]:
    """Decode `path` in blocks, so that memory does not grow with its length.

    Yields:
        Shape (frames, channels), about `block_s` seconds each; a mono source is duplicated.

    Raises:
        MediaError: as `decode_stereo`, when the first or the last block is asked for.
    """
    with opened(path) as container:
        mono = channels == 1 or audio_of(container, path).channels == 1
        layout: Layout = "mono" if mono else "stereo"
        sound = sound_of(container, path, sample_rate_hz=sample_rate_hz, layout=layout, sample_format="flt")
        width = 1 if mono else 2
        held: list[NDArray[np.float32]] = []
        count = 0
        for frame in sound.frames:
            held.append(frame.to_ndarray()[0].astype(np.float32).reshape(-1, width))
            count += frame.samples
            if count >= block_s * sample_rate_hz:
                yield _joined(held, channels)
                held, count = [], 0
        if held:
            yield _joined(held, channels)


def _joined(frames: list[NDArray[np.float32]], channels: int) -> NDArray[np.float32]:
    block = np.concatenate(frames)
    return np.repeat(block, 2, axis=1) if block.shape[1] < channels else block


def sound_of(
    container: InputContainer,
    path: Path,
    *,
    sample_rate_hz: int,
    layout: Layout,
    sample_format: SampleFormat,
) -> Sound:
    """Prepare to decode the sound of an opened container; nothing is read until `frames` are.

    After the last frame, the iterator raises MediaError `truncated`, `no_audio` or `not_media` where the file
    held substantially less than it promises, nothing, or little but damage.
    """
    stream = audio_of(container, path)
    promised_s = _promised_s(container, stream, path)
    tally = Tally()
    frames = _checked(
        _converted(_decoded(container, stream, tally), sample_rate_hz, layout, sample_format),
        tally,
        promised_s,
        path,
    )
    return Sound(frames=frames, tally=tally, promised_s=promised_s)


def _decoded(container: InputContainer, stream: AudioStream, tally: Tally) -> Iterator[AudioFrame]:
    # Only where the stream states no length of its own must the other streams tell how far the file goes.
    if stream.duration is not None:
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
    zero_s = start_s(stream)
    for packet in packets_of(container, on_damage=tally.count_damage):
        if not packet.size:
            continue
        if packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            tally.reached_s = max(tally.reached_s, float(end * packet.time_base) - zero_s)
        if packet.stream_index == stream.index:
            tally.packets += 1
            yield from _frames(stream, packet, tally)
    yield from _frames(stream, None, tally)


def _frames(stream: AudioStream, packet: "Packet[Stream] | None", tally: Tally) -> Iterator[AudioFrame]:
    try:
        frames = stream.decode(packet)
    except av.EOFError:
        return
    except av.FFmpegError:
        tally.count_damage()
        return
    for frame in frames:
        tally.decoded_s += frame.samples / frame.sample_rate
        yield frame


def _converted(
    frames: Iterator[AudioFrame],
    sample_rate_hz: int,
    layout: Layout,
    sample_format: SampleFormat,
) -> Iterator[AudioFrame]:
    graph: Graph | None = None
    form: tuple[int, str, str] | None = None
    samples_in = samples_out = 0

    def ready(graph: Graph) -> Iterator[AudioFrame]:
        nonlocal samples_out
        for frame in pulled(graph):
            frame.pts = samples_out
            samples_out += frame.samples
            yield frame

    for frame in frames:
        now = (frame.sample_rate, frame.format.name, frame.layout.name)
        if graph is None or form != now:
            if graph is not None:
                graph.push(None)
                yield from ready(graph)
            graph, form, samples_in = _converter(frame, sample_rate_hz, layout, sample_format), now, 0
        frame.pts, frame.time_base = samples_in, Fraction(1, frame.sample_rate)
        samples_in += frame.samples
        graph.push(frame)
        yield from ready(graph)
    if graph is not None:
        graph.push(None)
        yield from ready(graph)


def _converter(frame: AudioFrame, sample_rate_hz: int, layout: Layout, sample_format: SampleFormat) -> Graph:
    graph = Graph()
    channels = len(frame.layout.channels)
    nodes = [
        graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        )
    ]
    if channels > 2 and " channels" in frame.layout.name:
        # Without speaker positions FFmpeg refuses to mix down: take every channel alike.
        mix = "+".join(f"c{channel}" for channel in range(channels))
        nodes.append(graph.add("pan", f"mono|c0<{mix}"))
    # Integer arithmetic gives the same bits on every processor; rematrix_maxval keeps a mix from clipping.
    nodes.append(
        graph.add(
            "aresample",
            f"{sample_rate_hz}:out_chlayout={layout}:out_sample_fmt={sample_format}:"
            f"internal_sample_fmt={'s16p' if sample_format == 's16' else 'fltp'}:rematrix_maxval=1.0",
        )
    )
    nodes.append(graph.add("abuffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def pulled(graph: Graph) -> Iterator[AudioFrame]:
    """Frames that an audio filter graph has ready."""
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, AudioFrame):
            yield frame


def _checked(
    frames: Iterator[AudioFrame], tally: Tally, promised_s: float | None, path: Path
) -> Iterator[AudioFrame]:
    yield from frames
    reached_s = max(tally.reached_s, tally.decoded_s)
    if promised_s is not None and reached_s < _ENOUGH * promised_s:
        raise MediaError(
            f"{shown(path)} ends early: {reached_s:.1f} s of {promised_s:.1f} s are there. "
            "Copy or download it again.",
            reason="truncated",
        )
    if tally.damaged * 2 > tally.packets or (tally.packets and not tally.decoded_s):
        raise MediaError(
            f"{shown(path)} has no sound that can be decoded: {tally.damaged} of {tally.packets} packets are "
            "damaged. Copy or download it again.",
            reason="not_media",
        )
    if not tally.decoded_s:
        raise MediaError(
            f"{shown(path)} has room for sound but no sound in it. Record it again.", reason="no_audio"
        )


def _promised_s(container: InputContainer, stream: AudioStream, path: Path) -> float | None:
    stated_s = (
        float(stream.duration * stream.time_base)
        if stream.duration and stream.time_base
        else (container.duration or 0) / av.time_base
    )
    name = container.format.name
    if name in _STATES_LENGTH or (name == "mp3" and _has_mp3_length(path)):
        return stated_s or None
    if name == "wav":
        return stated_s * _wav_stated_share(path) or None
    return None


def _has_mp3_length(path: Path) -> bool:
    """Whether a Xing, Info or VBRI header counts the frames; without one FFmpeg guesses from the bit rate."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            size = 0
            for byte in head[6:]:
                size = size << 7 | byte & 0x7F
            file.seek(10 + size)
        first_frame = file.read(4096)
    return any(magic in first_frame for magic in (b"Xing", b"Info", b"VBRI"))


def _wav_stated_share(path: Path) -> float:
    """Size that a RIFF header states, over the size of the file; 1 where a stream's writer left it open."""
    with path.open("rb") as file:
        magic, stated = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
    size = path.stat().st_size
    return (stated + 8) / size if magic == b"RIFF" and size - 8 < stated < 0x7FFF_F000 else 1.0
