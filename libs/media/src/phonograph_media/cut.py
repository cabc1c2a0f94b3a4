"""Clips: re-encoding of a time range of a file, with sound and picture in sync."""

from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from phonograph_media.atomic_write import atomic_write
from phonograph_media.decode import drain_audio
from phonograph_media.errors import MediaError, display_name
from phonograph_media.source import (
    open_media,
    read_packets,
    require_audio,
    seek_before,
    select_streams,
    time_zero_s,
)
from phonograph_media.video_frames import decode_video_packet, fit_frame, fitted_video_size

_BOX = (1280, 720)
_VIDEO_TIME_BASE = Fraction(1, 90_000)
_SAMPLE_RATE_HZ = 48_000
_BIT_RATE_PER_CHANNEL = 64_000


def cut(source: Path, target: Path, start_s: float, end_s: float) -> None:
    """Write a time range of `source` to `target`, which appears only when it is complete.

    A clip with video is an MP4 of H.264 (at most 1280 x 720, frame times kept) and AAC; a clip of sound alone
    is an M4A of AAC. Both are exact to a sample and a frame: the clip opens with the picture that is visible
    at `start_s`. A range that ends after the file yields a shorter clip.

    Args:
        source: File to read.
        target: File to write.
        start_s: Start of the range, in seconds from the first sample of sound.
        end_s: End of the range, in seconds from the first sample of sound.

    Raises:
        ValueError: If the range is empty or starts before 0.
        MediaError: If the file cannot be opened or decoded, or ends before `start_s` (`truncated`).
        OSError: If `target` cannot be written.
    """
    if not 0 <= start_s < end_s:
        raise ValueError(f"A clip needs 0 <= start < end; got {start_s} to {end_s} s.")
    size = fitted_video_size(source, _BOX)
    with open_media(source) as container, atomic_write(target) as part, part.open("wb") as file:
        streams = select_streams(container)
        zero_s = time_zero_s(container)
        from_s, to_s = zero_s + start_s, zero_s + end_s
        with av.open(file, "w", format="mp4", options={"movflags": "+faststart"}) as clip:
            tracks: list[_Track] = []
            if streams.video is not None and size is not None:
                tracks.append(_VideoTrack(clip, streams.video, size, from_s, to_s))
            if streams.audio is not None:
                tracks.append(_AudioTrack(clip, require_audio(container, source), from_s, to_s))
            seek_before(container, from_s)
            _transcode(container, tracks)
            if not any(track.packets for track in tracks):
                raise MediaError(
                    f"{display_name(source)} ends before {start_s:.1f} s, so nothing can be cut. "
                    "Choose an earlier start.",
                    reason="truncated",
                )


class _Track(Protocol):
    """A stream that is copied from the source into the clip."""

    index: int
    """Index of the stream in the source."""
    packets: int
    """Packets written so far."""
    is_done: bool
    """The end of the range was reached."""

    def take(self, packet: "Packet[Any]") -> None:
        """Decode a packet of the source and encode its frames. Raises nothing for a damaged packet."""

    def finish(self) -> None:
        """Encode the frames that are still buffered."""


class _VideoTrack:
    def __init__(
        self, clip: OutputContainer, source: VideoStream, size: tuple[int, int], from_s: float, to_s: float
    ) -> None:
        self.index = source.index
        self.packets = 0
        self.is_done = False
        self._clip = clip
        self._to_s = to_s
        source.thread_type = "AUTO"
        self._source = source
        self._size = size
        self._from_s = from_s
        self._first_frame: VideoFrame | None = None
        self._last_pts = -1
        rate = source.average_rate or Fraction(25)
        self._stream = clip.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23"})
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _VIDEO_TIME_BASE

    def take(self, packet: "Packet[Any]") -> None:
        for frame in decode_video_packet(self._source, packet):
            if frame.time >= self._to_s:
                self.is_done = True
                return
            if frame.time <= self._from_s:
                # Visible at the start of the clip unless a later frame replaces it before that.
                self._first_frame = frame
                continue
            self._encode_first_frame()
            self._encode(frame, frame.time - self._from_s)

    def finish(self) -> None:
        self._encode_first_frame()
        if self._last_pts >= 0:
            self._mux(None)

    def _encode_first_frame(self) -> None:
        if self._first_frame is not None:
            self._encode(self._first_frame, 0.0)
            self._first_frame = None

    def _encode(self, frame: VideoFrame, at_s: float) -> None:
        width, height = self._size
        image = fit_frame(frame, _BOX).reformat(width=width, height=height)
        image.time_base = _VIDEO_TIME_BASE
        # Rounding may map two frames to one tick; the encoder requires increasing times.
        image.pts = self._last_pts = max(self._last_pts + 1, round(at_s / _VIDEO_TIME_BASE))
        self._mux(image)

    def _mux(self, image: VideoFrame | None) -> None:
        packets = self._stream.encode(image)
        self.packets += len(packets)
        self._clip.mux(packets)


class _AudioTrack:
    def __init__(self, clip: OutputContainer, source: AudioStream, from_s: float, to_s: float) -> None:
        self.index = source.index
        self.packets = 0
        self.is_done = False
        self._clip = clip
        self._to_s = to_s
        self._source = source
        self._from_s = from_s
        self._graph: Graph | None = None
        self._layout = "mono" if source.channels == 1 else "stereo"
        self._stream = clip.add_stream("aac", rate=_SAMPLE_RATE_HZ)
        self._stream.layout = self._layout
        self._stream.bit_rate = _BIT_RATE_PER_CHANNEL * min(2, source.channels)

    def take(self, packet: "Packet[Any]") -> None:
        try:
            frames = self._source.decode(packet)
        except av.FFmpegError:
            # A damaged packet leaves a gap, which the filter graph fills with silence.
            return
        for frame in frames:
            if frame.pts is None or frame.time is None:
                continue
            if frame.time >= self._to_s:
                self.is_done = True
                return
            if self._graph is None:
                self._graph = self._build_trimmer(frame)
            self._graph.push(frame)
            self._encode_ready(self._graph)

    def finish(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._encode_ready(self._graph)
            self._mux(None)

    def _build_trimmer(self, frame: AudioFrame) -> Graph:
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            ),
            graph.add("atrim", f"start={self._from_s:.6f}:end={self._to_s:.6f}"),
            graph.add("asetpts", f"PTS-{self._from_s:.6f}/TB"),
            graph.add(
                "aresample",
                f"{_SAMPLE_RATE_HZ}:async=1:first_pts=0:out_chlayout={self._layout}:out_sample_fmt=fltp"
                ":rematrix_maxval=1.0",
            ),
            graph.add("abuffersink"),
        ).configure()
        graph.set_audio_frame_size(self._stream.codec_context.frame_size or 1024)
        return graph

    def _encode_ready(self, graph: Graph) -> None:
        for frame in drain_audio(graph):
            self._mux(frame)

    def _mux(self, frame: AudioFrame | None) -> None:
        packets = self._stream.encode(frame)
        self.packets += len(packets)
        self._clip.mux(packets)


def _transcode(container: InputContainer, tracks: list[_Track]) -> None:
    by_index = {track.index: track for track in tracks}
    for packet in read_packets(container):
        track = by_index.get(packet.stream_index)
        if track is not None and not track.is_done:
            track.take(packet)
        if all(track.is_done for track in tracks):
            break
    for track in tracks:
        track.finish()
