"""Decoding, mixing and resampling of sound by FFmpeg, in blocks and with constant memory.

Blocks do not depend on the packets of the container: FFmpeg's resampler keeps its state between them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Discard, Stream
from numpy.typing import NDArray

from phonograph_media.clock import STREAM_FORMATS, has_time_stamps, time_zero
from phonograph_media.errors import MediaError, display_name
from phonograph_media.follow import ClockFollower, Corrections
from phonograph_media.mix import CancellationGuard, Samples
from phonograph_media.promise import FORMATS_OF_FRAMES, Promise, read_promise, tag_ranges
from phonograph_media.source import open_media, read_packets
from phonograph_media.tracks import Track, choose_tracks

Layout = Literal["mono", "stereo"]
SampleFormat = Literal["s16", "flt"]

_MIN_COMPLETE_SHARE = 0.95
_MIN_REPORTED_LOSS_S = 0.25
_MIN_REPORTED_CANCELLATION_S = 1.0
_MAX_CHANNELS = 8
_MIXED_FRAMES = 20
_MAX_TRACK_LAG_S = 60
"""Tracks are interleaved in files; the mix does not wait longer for a track without packets."""


@dataclass(frozen=True, slots=True)
class SoundFormat:
    """Format of decoded sound."""

    sample_rate_hz: int
    layout: Layout
    sample_format: SampleFormat

    @property
    def channels(self) -> int:
        """Number of channels."""
        return 1 if self.layout == "mono" else 2

    @property
    def full_scale(self) -> float:
        """Value of the largest sample."""
        return 32_768.0 if self.sample_format == "s16" else 1.0


@dataclass(slots=True)
class DecodeStatistics:
    """Counts of packets and times while a file is decoded."""

    packets: int = 0
    damaged: int = 0
    damaged_at_end: int = 0
    """Damaged packets after the last one that could be decoded."""
    unsupported: int = 0
    """Damaged packets that need something that FFmpeg's decoder lacks."""
    decoded_s: float = 0.0
    lost_s: float = 0.0
    """Length of the damaged packets."""
    reached_s: float = 0.0
    """End of the last packet, on the clock of the recording."""
    end_s: float = 0.0
    """End of the sound, on the clock of the recording."""
    cancelled_s: float = 0.0
    read_bytes: int = 0
    """Offset after the last packet of sound."""
    sound_bytes: int = 0
    """Size of the packets of sound."""
    skipped_bytes: int = 0
    """Bytes between packets, in formats that consist of packets only."""
    has_time_stamps: bool = False
    """The file stores times, so that bytes that are skipped show as gaps."""
    breaks: int = 0
    """Places where the container is damaged."""
    corrections: Corrections = field(default_factory=Corrections)

    def count_break(self) -> None:
        """Count a place where the container is damaged."""
        self.breaks += 1

    def warnings(self, promise: Promise, file_size: int) -> tuple[str, ...]:
        """Return a sentence, with a code before it, about each part that is missing or was repaired."""
        total_s = max(promise.end_s or 0.0, self.end_s)
        # If nothing is missing that the file states, what follows its sound is none.
        is_whole = promise.end_s is not None and self.end_s > promise.end_s - _MIN_REPORTED_LOSS_S
        damaged = self.damaged - (self.damaged_at_end if is_whole else 0)
        lost_s = self._estimate_lost_s()
        sentences = []
        if damaged:
            sentences.append(
                f"sound_damaged: {_of_total(lost_s, total_s)} cannot be decoded, because the file is "
                f"damaged there ({damaged} of {self.packets} packets)."
            )
        skipped_s = self._estimate_skipped_s()
        is_stated = promise.end_s is not None and promise.end_s > self.end_s - _MIN_REPORTED_LOSS_S
        if not self.has_time_stamps and not is_stated and skipped_s > _MIN_REPORTED_LOSS_S:
            sentences.append(
                f"sound_missing: {self.skipped_bytes} bytes in the file cannot be decoded; about "
                f"{_of_total(skipped_s, total_s + skipped_s)} are missing."
            )
        gaps_s = self.corrections.filled_s - lost_s
        # Frames follow each other in formats that consist of them: any gap is damage.
        if gaps_s > (0 if self.skipped_bytes else _MIN_REPORTED_LOSS_S):
            sentences.append(
                f"gaps_filled: {_of_total(gaps_s, total_s)} have no sound in the file, in "
                f"{self.corrections.gaps} gaps; they are silent here."
            )
        sentences += self._describe_end(promise, total_s, file_size)
        if self.corrections.is_ignored:
            sentences.append(
                "time_stamps_ignored: the time stamps contradict the length of the sound and were not "
                "followed; times may differ from those of a player."
            )
        elif self.corrections.removed_s > _MIN_REPORTED_LOSS_S:
            sentences.append(
                f"overlaps_removed: {_of_total(self.corrections.removed_s, total_s)} overlap with the sound "
                "before and were left out."
            )
        if self.cancelled_s >= _MIN_REPORTED_CANCELLATION_S:
            sentences.append(
                f"channels_cancel: in {_of_total(self.cancelled_s, total_s)} the channels cancel each "
                "other (one has its poles swapped); there, their difference is used."
            )
        return tuple(sentences)

    def _estimate_lost_s(self) -> float:
        """Return the length of the damaged packets, by that of the others if the file does not state it."""
        return self.lost_s or self.damaged * self.decoded_s / max(1, self.packets - self.damaged)

    def _estimate_skipped_s(self) -> float:
        return self.decoded_s * self.skipped_bytes / self.sound_bytes if self.sound_bytes else 0.0

    def _describe_end(self, promise: Promise, total_s: float, file_size: int) -> Iterator[str]:
        reached_s = max(self.reached_s, self.end_s) if promise.covers_all_streams else self.end_s
        if promise.end_s is not None:
            # Packets at the end that cannot be decoded are reported as damaged.
            damaged_s = self._estimate_lost_s() * self.damaged_at_end / max(1, self.damaged)
            missing_s = promise.end_s - reached_s - damaged_s
            if missing_s > _MIN_REPORTED_LOSS_S:
                yield (
                    f"sound_missing: the file states {promise.end_s:.1f} s of sound; "
                    f"{_of_total(missing_s, total_s)} are missing."
                )
        elif self.breaks and 0 < self.read_bytes < file_size:
            share = 1 - self.read_bytes / file_size
            about_s = self.end_s * share / (1 - share)
            if about_s > _MIN_REPORTED_LOSS_S:
                yield (
                    f"sound_missing: the file is damaged at {self.end_s:.1f} s and cannot be read further; "
                    f"about {_of_total(about_s, self.end_s + about_s)} are missing."
                )
        elif promise.is_cut_off:
            yield (
                f"ends_abruptly: the file breaks off at {self.end_s:.1f} s without its end mark; it does not "
                "state how much is missing."
            )


def _of_total(part_s: float, total_s: float) -> str:
    share = f" ({min(1.0, part_s / total_s):.0%})" if total_s else ""
    digits = 1 if part_s >= 0.1 else 2
    return f"{part_s:.{digits}f} s of {total_s:.1f} s{share}"


@dataclass(frozen=True, slots=True)
class DecodedSound:
    """The decoded sound of a file; its frames can be iterated once."""

    frames: Iterator[AudioFrame]
    """Packed frames in the requested rate, layout and format; `pts` counts samples from time 0."""
    statistics: DecodeStatistics
    promise: Promise
    track_warnings: tuple[str, ...]
    file_size: int

    def warnings(self) -> tuple[str, ...]:
        """Return sentences about what was left out, guessed or repaired; complete after the last frame."""
        return (*self.track_warnings, *self.statistics.warnings(self.promise, self.file_size))


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
    path: Path,
    *,
    sample_rate_hz: int = 44_100,
    channels: int = 2,
    block_s: float = 60.0,
    track: Track = None,
) -> Iterator[NDArray[np.float32]]:
    """Decode `path` in blocks, so that the memory used does not depend on its length.

    Args:
        path: File to decode.
        sample_rate_hz: Sample rate of the blocks.
        channels: 1 to mix all channels down, 2 for stereo; a mono source is duplicated.
        block_s: Approximate length of a block, in seconds.
        track: Number of the audio track, `all` to mix all tracks, or None for the one with speech.

    Yields:
        Shape (frames, channels), about [-1, 1].

    Raises:
        MediaError: With any reason except `not_video`, when the first or the last block is requested.
    """
    with open_media(path) as container:
        mono = channels == 1 or all(
            stream.channels == 1 for stream in choose_tracks(container, path, track).streams
        )
        layout: Layout = "mono" if mono else "stereo"
        sound = decode_sound(
            container,
            path,
            sample_rate_hz=sample_rate_hz,
            layout=layout,
            sample_format="flt",
            track=track,
        )
        width = 1 if mono else 2
        pending: list[NDArray[np.float32]] = []
        count, has_yielded = 0, False
        for frame in sound.frames:
            pending.append(frame.to_ndarray()[0].astype(np.float32).reshape(-1, width))
            count += frame.samples
            if count >= block_s * sample_rate_hz:
                yield _join(pending, channels)
                pending, count, has_yielded = [], 0, True
        if not pending and not has_yielded:
            # The resampler returns nothing for a sound of a few samples, which is no error.
            pending = [np.zeros((1, width), np.float32)]
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
    track: Track = None,
) -> DecodedSound:
    """Prepare to decode the sound of an open container; reading starts with the iteration of `frames`.

    The first sample is at time 0 of the recording, where a player starts. Sound that begins later is
    preceded by silence, and gaps between time stamps are filled with silence.

    After the last frame, the iterator raises `MediaError` if the file is an incomplete copy (`truncated`), or
    contains no sound (`no_audio`) or mostly damaged packets (`not_media`, `unsupported`).

    Args:
        container: Open container, at its start.
        path: File of the container, for error messages.
        sample_rate_hz: Sample rate of the frames.
        layout: Channel layout of the frames.
        sample_format: Sample format of the frames.
        track: Number of the audio track, `all` to mix all tracks, or None for the one with speech.

    Raises:
        MediaError: `no_audio`, `unknown_track` or `unsupported`, as `require_audio`.
    """
    chosen = choose_tracks(container, path, track)
    promise = read_promise(container, chosen.streams[0], path, float(time_zero(container)))
    statistics = DecodeStatistics()
    decoder = SoundDecoder(chosen.streams, SoundFormat(sample_rate_hz, layout, sample_format), statistics)
    # In a stream format, the other streams show whether the sound paused or the clock changed.
    if not promise.covers_all_streams and container.format.name not in STREAM_FORMATS:
        discard_other_streams(container, chosen.streams)
    frames = _verify_completeness(_decode_all(container, decoder), statistics, promise, path)
    return DecodedSound(frames, statistics, promise, chosen.warnings, path.stat().st_size)


def discard_other_streams(container: InputContainer, kept: Sequence[Stream]) -> None:
    """Let the demuxer skip the packets of all streams but some."""
    indexes = {stream.index for stream in kept}
    for stream in container.streams:
        if stream.index not in indexes:
            stream.discard = Discard.all


def _decode_all(container: InputContainer, decoder: "SoundDecoder") -> Iterator[AudioFrame]:
    statistics = decoder.statistics
    for packet in read_packets(container, on_damage=statistics.count_break):
        if packet.size and packet.pts is not None and packet.time_base:
            end_s = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
            statistics.reached_s = max(statistics.reached_s, end_s)
        yield from decoder.take(packet)
    yield from decoder.finish()


class SoundDecoder:
    """Decodes packets of one or more audio tracks to one sound, on the clock of the recording."""

    def __init__(
        self,
        streams: Sequence[AudioStream],
        target: SoundFormat,
        statistics: DecodeStatistics | None = None,
        *,
        from_s: float = 0.0,
    ) -> None:
        """Create the decoder.

        Args:
            streams: The tracks; several are mixed with equal weights.
            target: Format of the frames.
            statistics: Where counts and times are recorded.
            from_s: Time of the recording at which the sound begins.
        """
        self.statistics = statistics if statistics is not None else DecodeStatistics()
        self._tracks = {
            stream.index: _TrackDecoder(stream, target, self.statistics, from_s) for stream in streams
        }
        self._target = target
        self._mixer = _TrackMixer([*self._tracks], target) if len(streams) > 1 else None
        self._samples = 0

    def take(self, packet: "Packet[Stream]") -> Iterator[AudioFrame]:
        """Decode a packet and yield the frames that are ready; packets of other streams are ignored."""
        track = self._tracks.get(packet.stream.index)
        if track is not None:
            for frame in track.take(packet):
                yield from self._mix(packet.stream.index, frame)

    def finish(self) -> Iterator[AudioFrame]:
        """Yield the frames that are still buffered."""
        for index, track in self._tracks.items():
            for frame in track.finish():
                yield from self._mix(index, frame)
        if self._mixer is not None:
            yield from self._number(self._mixer.flush())

    def _mix(self, index: int, frame: AudioFrame) -> Iterator[AudioFrame]:
        yield from self._number([frame] if self._mixer is None else self._mixer.push(index, frame))

    def _number(self, frames: Sequence[AudioFrame]) -> Iterator[AudioFrame]:
        for frame in frames:
            frame.pts, frame.time_base = self._samples, Fraction(1, self._target.sample_rate_hz)
            self._samples += frame.samples
            yield frame


class _TrackDecoder:
    def __init__(
        self, stream: AudioStream, target: SoundFormat, statistics: DecodeStatistics, from_s: float
    ) -> None:
        self._stream = stream
        self._target = target
        self._statistics = statistics
        statistics.has_time_stamps = has_time_stamps(stream)
        self._follower = ClockFollower(
            statistics.corrections,
            from_s=from_s,
            has_time_stamps=statistics.has_time_stamps,
            may_overlap=stream.container.format.name != "flac",
        )
        self._resampler: _Resampler | None = None
        container = cast("InputContainer", stream.container)
        is_plain = container.format.name in FORMATS_OF_FRAMES
        self._tags = tag_ranges(container, Path(container.name)) if is_plain else None
        self._max_channels = max(_MAX_CHANNELS, stream.channels)

    def take(self, packet: "Packet[Stream]") -> Iterator[AudioFrame]:
        if packet.size:
            self._count_bytes(packet)
        for frame in self._decode(packet):
            yield from self._take_frame(frame)

    def _count_bytes(self, packet: "Packet[Stream]") -> None:
        statistics = self._statistics
        statistics.packets += 1
        statistics.sound_bytes += packet.size
        if packet.pos is not None:
            if statistics.read_bytes and self._tags is not None and packet.pos > statistics.read_bytes:
                skipped = range(statistics.read_bytes, packet.pos)
                statistics.skipped_bytes += len(skipped) - sum(_overlap(skipped, tag) for tag in self._tags)
            statistics.read_bytes = max(statistics.read_bytes, packet.pos + packet.size)

    def finish(self) -> Iterator[AudioFrame]:
        try:
            frames = self._stream.decode(None)
        except av.FFmpegError:
            # The packets at the end of the streams have emptied the decoder already.
            frames = []
        for frame in frames:
            yield from self._take_frame(frame)
        yield from self._empty_resampler()

    def _decode(self, packet: "Packet[Stream]") -> list[AudioFrame]:
        try:
            frames = packet.decode()
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            self._statistics.damaged += 1
            self._statistics.damaged_at_end += 1
            self._statistics.unsupported += isinstance(error, av.PatchWelcomeError)
            lost_s = float((packet.duration or 0) * (packet.time_base or 0))
            self._statistics.lost_s += lost_s
            self._follower.miss(lost_s)
            if self._tags is not None:
                # FFmpeg takes what follows a packet in such a format for a part of it, however long that is.
                self._statistics.skipped_bytes += packet.size
                self._statistics.sound_bytes -= packet.size
            return []
        if frames:
            self._statistics.damaged_at_end = 0
        return [frame for frame in frames if isinstance(frame, AudioFrame) and frame.samples]

    def _take_frame(self, decoded: AudioFrame) -> Iterator[AudioFrame]:
        if len(decoded.layout.channels) > self._max_channels:
            # Only a damaged packet changes to so many channels, and FFmpeg may fail on their mix.
            self._statistics.damaged += 1
            self._follower.miss(decoded.samples / decoded.sample_rate)
            return
        self._statistics.decoded_s += decoded.samples / decoded.sample_rate
        silence_s, frame = self._follower.follow(decoded)
        if silence_s:
            yield from self._empty_resampler()
            yield from self._be_silent(silence_s)
        if frame is not None:
            frame_format = (frame.sample_rate, frame.format.name, frame.layout.name)
            if self._resampler is None or self._resampler.source_format != frame_format:
                # The sample rate or layout may change within a file; the old resampler is emptied first.
                yield from self._empty_resampler()
                self._resampler = _Resampler(frame, self._target, self._statistics)
            yield from self._resampler.push(frame)
        self._statistics.end_s = max(self._statistics.end_s, self._follower.position)

    def _empty_resampler(self) -> Iterator[AudioFrame]:
        if self._resampler is not None:
            yield from self._resampler.flush()
            self._resampler = None

    def _be_silent(self, seconds: float) -> Iterator[AudioFrame]:
        rate = self._target.sample_rate_hz
        left = round(seconds * rate)
        while left:
            count = min(left, rate)
            yield to_frame(np.zeros((1, count * self._target.channels)), self._target)
            left -= count


class _Resampler:
    """Converts frames of one format to the target; channels that cancel are noticed when they are mixed."""

    def __init__(self, frame: AudioFrame, target: SoundFormat, statistics: DecodeStatistics) -> None:
        self.source_format = (frame.sample_rate, frame.format.name, frame.layout.name)
        self._samples = self._waiting = 0
        self._target = target
        self._statistics = statistics
        self._graph = _build_resampler(frame, target, target.layout)
        self._channels: Graph | None = None
        if target.layout == "mono" and len(frame.layout.channels) > 1:
            # Channels with positions are mixed to two, whose sum is the same mix but for its weights.
            layout = frame.layout.name if _lacks_positions(frame) else "stereo"
            self._channels = _build_resampler(frame, target, layout)
            self._guard = CancellationGuard(target.sample_rate_hz, target.full_scale)

    def push(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        frame.pts, frame.time_base = self._samples, Fraction(1, frame.sample_rate)
        self._samples += frame.samples
        self._graph.push(frame)
        if self._channels is not None:
            self._channels.push(frame)
            self._waiting += 1
            # The guard decides on half a second at once, so that it need not be asked after each frame.
            if self._waiting < _MIXED_FRAMES:
                return
        self._waiting = 0
        yield from self._drain()

    def flush(self) -> Iterator[AudioFrame]:
        for graph in filter(None, (self._graph, self._channels)):
            graph.push(None)
        yield from self._drain()
        if self._channels is not None:
            yield from self._to_frames(self._guard.flush())
            self._statistics.cancelled_s += self._guard.cancelled_samples / self._target.sample_rate_hz

    def _drain(self) -> Iterator[AudioFrame]:
        if self._channels is None:
            yield from drain_audio(self._graph)
            return
        mix = [frame.to_ndarray()[0] for frame in drain_audio(self._graph)]
        channels = [
            frame.to_ndarray().reshape(-1, len(frame.layout.channels))
            for frame in drain_audio(self._channels)
        ]
        yield from self._to_frames(self._guard.push(mix, channels))

    def _to_frames(self, samples: Samples) -> Iterator[AudioFrame]:
        if len(samples):
            yield to_frame(samples.reshape(1, -1), self._target)


class _TrackMixer:
    """Adds several tracks, which arrive in turns."""

    def __init__(self, indexes: Sequence[int], target: SoundFormat) -> None:
        self._target = target
        self._pending: dict[int, NDArray[np.float32]] = {
            index: np.zeros((0, target.channels), np.float32) for index in indexes
        }
        self._surplus = dict.fromkeys(indexes, 0)
        """Samples of a track that are in the mix as silence already, because they arrive too late."""

    def push(self, index: int, frame: AudioFrame) -> list[AudioFrame]:
        samples = frame.to_ndarray().reshape(-1, self._target.channels)
        late = min(self._surplus[index], len(samples))
        self._surplus[index] -= late
        self._pending[index] = np.concatenate([self._pending[index], samples[late:].astype(np.float32)])
        lengths = [len(samples) for samples in self._pending.values()]
        return self._take(max(min(lengths), max(lengths) - _MAX_TRACK_LAG_S * self._target.sample_rate_hz))

    def flush(self) -> list[AudioFrame]:
        return self._take(max(map(len, self._pending.values())))

    def _take(self, count: int) -> list[AudioFrame]:
        if count <= 0:
            return []
        mix = np.zeros((count, self._target.channels))
        for index, samples in self._pending.items():
            present = min(count, len(samples))
            mix[:present] += samples[:present]
            self._surplus[index] += count - present
            self._pending[index] = samples[present:]
        mix /= len(self._pending)
        if self._target.sample_format == "s16":
            mix = np.rint(mix).clip(-32_768, 32_767)
        return [to_frame(mix.reshape(1, -1), self._target)]


def to_frame(samples: Samples, target: SoundFormat) -> AudioFrame:
    """Return a packed frame of samples of shape (1, samples * channels)."""
    dtype = np.int16 if target.sample_format == "s16" else np.float32
    frame = AudioFrame.from_ndarray(
        np.ascontiguousarray(samples.astype(dtype)), format=target.sample_format, layout=target.layout
    )
    frame.sample_rate = target.sample_rate_hz
    return frame


def _overlap(first: range, second: range) -> int:
    return max(0, min(first.stop, second.stop) - max(first.start, second.start))


def _lacks_positions(frame: AudioFrame) -> bool:
    """Return whether FFmpeg knows no speaker positions of more than two channels, and refuses to mix them."""
    return len(frame.layout.channels) > 2 and " channels" in frame.layout.name


def _build_resampler(frame: AudioFrame, target: SoundFormat, layout: str) -> Graph:
    graph = Graph()
    nodes = [
        graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        )
    ]
    if _lacks_positions(frame) and layout != frame.layout.name:
        # All channels get the same weight.
        mix = "+".join(f"c{channel}" for channel in range(len(frame.layout.channels)))
        nodes.append(graph.add("pan", f"mono|c0<{mix}"))
    # Integer arithmetic is bit-identical on every processor; rematrix_maxval prevents clipping of the mix.
    nodes.append(
        graph.add(
            "aresample",
            f"{target.sample_rate_hz}:out_chlayout={layout}:out_sample_fmt={target.sample_format}:"
            f"internal_sample_fmt={'s16p' if target.sample_format == 's16' else 'fltp'}:rematrix_maxval=1.0",
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
    frames: Iterator[AudioFrame], statistics: DecodeStatistics, promise: Promise, path: Path
) -> Iterator[AudioFrame]:
    yield from frames
    reached_s = max(statistics.reached_s, statistics.end_s)
    present = path.stat().st_size / promise.stated_bytes if promise.stated_bytes else 1.0
    if present < _MIN_COMPLETE_SHARE:
        raise MediaError(
            f"{display_name(path)} is an incomplete copy: it states a size of {promise.stated_bytes} "
            f"bytes, and {present:.0%} of them are present. Copy or download it again.",
            reason="truncated",
        )
    if promise.is_cut_off and promise.end_s is not None and reached_s < _MIN_COMPLETE_SHARE * promise.end_s:
        raise MediaError(
            f"{display_name(path)} is an incomplete copy: {_of_total(reached_s, promise.end_s)} are present. "
            "Copy or download it again.",
            reason="truncated",
        )
    if statistics.damaged * 2 > statistics.packets or (statistics.packets and not statistics.decoded_s):
        if statistics.unsupported * 2 > statistics.damaged:
            raise MediaError(
                f"The sound of {display_name(path)} uses a variant of its format that cannot be decoded "
                "here. Convert it first.",
                reason="unsupported",
            )
        raise MediaError(
            f"{display_name(path)} has no sound that can be decoded: {statistics.damaged} of "
            f"{statistics.packets} packets are damaged. Copy or download it again.",
            reason="not_media",
        )
    if not statistics.decoded_s:
        raise MediaError(
            f"{display_name(path)} has an audio stream without any sound. Record it again.", reason="no_audio"
        )
