"""Decoding, mixing and resampling of sound by FFmpeg, in blocks and with constant memory.

Blocks do not depend on the packets of the container: FFmpeg's resampler keeps its state between them.
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

from phonograph_media.errors import MediaError, display_name
from phonograph_media.source import open_media, read_packets, require_audio, stream_start_s

Layout = Literal["mono", "stereo"]
SampleFormat = Literal["s16", "flt"]

_MIN_COMPLETE_SHARE = 0.95
_MIN_REPORTED_LOSS_S = 0.25
# Formats whose header states a length. FFmpeg only estimates the length of others from the bit rate.
_FORMATS_WITH_LENGTH = {
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
class DecodeStatistics:
    """Counts of packets and times while a file is decoded."""

    packets: int = 0
    damaged: int = 0
    decoded_s: float = 0.0
    reached_s: float = 0.0
    """End of the last packet, counted from the first sample."""

    def count_damage(self) -> None:
        """Count a packet that could not be read or decoded."""
        self.damaged += 1

    def warnings(self, stated_duration_s: float | None) -> tuple[str, ...]:
        """Return sentences about the parts that are missing from an otherwise complete file."""
        sentences = []
        if self.damaged:
            sentences.append(f"{self.damaged} of {self.packets} packets are damaged and were left out.")
        if stated_duration_s is not None and stated_duration_s - self.decoded_s > _MIN_REPORTED_LOSS_S:
            sentences.append(
                f"The file states {stated_duration_s:.1f} s of sound; "
                f"{self.decoded_s:.1f} s could be decoded."
            )
        return tuple(sentences)


@dataclass(frozen=True, slots=True)
class DecodedSound:
    """The decoded sound of a file; its frames can be iterated once."""

    frames: Iterator[AudioFrame]
    """Packed frames in the requested rate, layout and format; `pts` counts samples from 0."""
    statistics: DecodeStatistics
    stated_duration_s: float | None
    """Length that the container states, or None if it states none."""


def decode_mono(path: Path, sample_rate_hz: int = 44_100) -> NDArray[np.float32]:
    """Decode all of `path` into memory, its channels mixed down.

    Returns:
        Shape (samples,), about [-1, 1] (lossy codecs may exceed it).

    Raises:
        MediaError: With any reason except `not_video`.
    """
    return np.concatenate(list(decode_blocks(path, sample_rate_hz=sample_rate_hz, channels=1)))[:, 0]


def decode_stereo(path: Path, sample_rate_hz: int = 44_100) -> NDArray[np.float32]:
    """Decode all of `path` into memory as two channels; a mono source is duplicated.

    Returns:
        Shape (samples, 2), about [-1, 1] (lossy codecs may exceed it).

    Raises:
        MediaError: With any reason except `not_video`.
    """
    return np.concatenate(list(decode_blocks(path, sample_rate_hz=sample_rate_hz)))


def decode_blocks(
    path: Path, *, sample_rate_hz: int = 44_100, channels: int = 2, block_s: float = 60.0
) -> Iterator[NDArray[np.float32]]:
    """Decode `path` in blocks, so that the memory used does not depend on its length.

    Args:
        path: File to decode.
        sample_rate_hz: Sample rate of the blocks.
        channels: 1 to mix all channels down, 2 for stereo; a mono source is duplicated.
        block_s: Approximate length of a block, in seconds.

    Yields:
        Shape (frames, channels), about [-1, 1].

    Raises:
        MediaError: With any reason except `not_video`, when the first or the last block is requested.
    """
    with open_media(path) as container:
        mono = channels == 1 or require_audio(container, path).channels == 1
        layout: Layout = "mono" if mono else "stereo"
        sound = decode_sound(
            container, path, sample_rate_hz=sample_rate_hz, layout=layout, sample_format="flt"
        )
        width = 1 if mono else 2
        pending: list[NDArray[np.float32]] = []
        count = 0
        for frame in sound.frames:
            pending.append(frame.to_ndarray()[0].astype(np.float32).reshape(-1, width))
            count += frame.samples
            if count >= block_s * sample_rate_hz:
                yield _join(pending, channels)
                pending, count = [], 0
        if pending:
            yield _join(pending, channels)


def _join(frames: list[NDArray[np.float32]], channels: int) -> NDArray[np.float32]:
    block = np.concatenate(frames)
    return np.repeat(block, 2, axis=1) if block.shape[1] < channels else block


def decode_sound(
    container: InputContainer,
    path: Path,
    *,
    sample_rate_hz: int,
    layout: Layout,
    sample_format: SampleFormat,
) -> DecodedSound:
    """Prepare to decode the sound of an open container; reading starts with the iteration of `frames`.

    After the last frame, the iterator raises `MediaError` if the file contains substantially less sound than
    it states (`truncated`), none (`no_audio`) or mostly damaged packets (`not_media`).

    Args:
        container: Open container, at its start.
        path: File of the container, for error messages.
        sample_rate_hz: Sample rate of the frames.
        layout: Channel layout of the frames.
        sample_format: Sample format of the frames.

    Raises:
        MediaError: `no_audio` or `unsupported`, as `require_audio`.
    """
    stream = require_audio(container, path)
    stated_duration_s = _stated_duration_s(container, stream, path)
    statistics = DecodeStatistics()
    frames = _verify_completeness(
        _resample(_decode_packets(container, stream, statistics), sample_rate_hz, layout, sample_format),
        statistics,
        stated_duration_s,
        path,
    )
    return DecodedSound(frames=frames, statistics=statistics, stated_duration_s=stated_duration_s)


def _decode_packets(
    container: InputContainer, stream: AudioStream, statistics: DecodeStatistics
) -> Iterator[AudioFrame]:
    # The other streams are needed only to find the end of the file if the audio stream states no length.
    if stream.duration is not None:
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
    zero_s = stream_start_s(stream)
    for packet in read_packets(container, on_damage=statistics.count_damage):
        if not packet.size:
            continue
        if packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            statistics.reached_s = max(statistics.reached_s, float(end * packet.time_base) - zero_s)
        if packet.stream_index == stream.index:
            statistics.packets += 1
            yield from _decode_packet(stream, packet, statistics)
    yield from _decode_packet(stream, None, statistics)


def _decode_packet(
    stream: AudioStream, packet: "Packet[Stream] | None", statistics: DecodeStatistics
) -> Iterator[AudioFrame]:
    try:
        frames = stream.decode(packet)
    except av.EOFError:
        return
    except av.FFmpegError:
        statistics.count_damage()
        return
    for frame in frames:
        statistics.decoded_s += frame.samples / frame.sample_rate
        yield frame


def _resample(
    frames: Iterator[AudioFrame],
    sample_rate_hz: int,
    layout: Layout,
    sample_format: SampleFormat,
) -> Iterator[AudioFrame]:
    graph: Graph | None = None
    current_format: tuple[int, str, str] | None = None
    samples_in = samples_out = 0

    def drain(graph: Graph) -> Iterator[AudioFrame]:
        nonlocal samples_out
        for frame in drain_audio(graph):
            frame.pts = samples_out
            samples_out += frame.samples
            yield frame

    for frame in frames:
        frame_format = (frame.sample_rate, frame.format.name, frame.layout.name)
        if graph is None or current_format != frame_format:
            # The sample rate or layout may change within a file; the old graph is drained first.
            if graph is not None:
                graph.push(None)
                yield from drain(graph)
            graph = _build_resampler(frame, sample_rate_hz, layout, sample_format)
            current_format, samples_in = frame_format, 0
        frame.pts, frame.time_base = samples_in, Fraction(1, frame.sample_rate)
        samples_in += frame.samples
        graph.push(frame)
        yield from drain(graph)
    if graph is not None:
        graph.push(None)
        yield from drain(graph)


def _build_resampler(
    frame: AudioFrame, sample_rate_hz: int, layout: Layout, sample_format: SampleFormat
) -> Graph:
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
        # FFmpeg refuses to mix down channels without speaker positions; all channels get the same weight.
        mix = "+".join(f"c{channel}" for channel in range(channels))
        nodes.append(graph.add("pan", f"mono|c0<{mix}"))
    # Integer arithmetic is bit-identical on every processor; rematrix_maxval prevents clipping of the mix.
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


def drain_audio(graph: Graph) -> Iterator[AudioFrame]:
    """Yield the frames that are ready in an audio filter graph."""
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, AudioFrame):
            yield frame


def _verify_completeness(
    frames: Iterator[AudioFrame], statistics: DecodeStatistics, stated_duration_s: float | None, path: Path
) -> Iterator[AudioFrame]:
    yield from frames
    reached_s = max(statistics.reached_s, statistics.decoded_s)
    if stated_duration_s is not None and reached_s < _MIN_COMPLETE_SHARE * stated_duration_s:
        raise MediaError(
            f"{display_name(path)} ends early: {reached_s:.1f} s of {stated_duration_s:.1f} s are present. "
            "Copy or download it again.",
            reason="truncated",
        )
    if statistics.damaged * 2 > statistics.packets or (statistics.packets and not statistics.decoded_s):
        raise MediaError(
            f"{display_name(path)} has no sound that can be decoded: {statistics.damaged} of "
            f"{statistics.packets} packets are damaged. Copy or download it again.",
            reason="not_media",
        )
    if not statistics.decoded_s:
        raise MediaError(
            f"{display_name(path)} has an audio stream without any sound. Record it again.", reason="no_audio"
        )


def _stated_duration_s(container: InputContainer, stream: AudioStream, path: Path) -> float | None:
    stated_s = (
        float(stream.duration * stream.time_base)
        if stream.duration and stream.time_base
        else (container.duration or 0) / av.time_base
    )
    name = container.format.name
    if name in _FORMATS_WITH_LENGTH or (name == "mp3" and _states_mp3_length(path)):
        return stated_s or None
    if name == "wav":
        return stated_s * _wav_stated_size_ratio(path) or None
    return None


def _states_mp3_length(path: Path) -> bool:
    """Return whether a Xing, Info or VBRI header counts the frames; FFmpeg otherwise uses the bit rate."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            size = 0
            for byte in head[6:]:
                size = size << 7 | byte & 0x7F
            file.seek(10 + size)
        first_frame = file.read(4096)
    return any(magic in first_frame for magic in (b"Xing", b"Info", b"VBRI"))


def _wav_stated_size_ratio(path: Path) -> float:
    """Return the size in the RIFF header divided by the file size; 1 if a live stream left it unset."""
    with path.open("rb") as file:
        magic, stated = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
    size = path.stat().st_size
    return (stated + 8) / size if magic == b"RIFF" and size - 8 < stated < 0x7FFF_F000 else 1.0
