"""Clips: a stretch of a file encoded anew, sound and picture in step."""

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
from phonograph_media.decode import pulled
from phonograph_media.errors import MediaError, shown
from phonograph_media.source import audio_of, opened, packets_of, seek_before, streams_of, time_zero_s
from phonograph_media.video_frames import fitted, fitted_size, frames_in

_BOX = (1280, 720)
_VIDEO_CLOCK = Fraction(1, 90_000)
_SOUND_RATE_HZ = 48_000
_BIT_RATE_PER_CHANNEL = 64_000


def cut(source: Path, target: Path, start_s: float, end_s: float) -> None:
    """Write the stretch of `source` between two times, counted from its first sample of sound, to `target`.

    With video: an MP4 of H.264 (at most 1280 x 720, frame times kept) and AAC. Sound alone: an M4A of AAC.
    Exact to a sample and a frame: the picture that shows at `start_s` opens the clip. A stretch that reaches
    past the end gives a shorter clip. `target` appears only when it is whole.

    Raises:
        ValueError: the stretch is empty or begins before 0.
        MediaError: the file cannot be opened or decoded, or ends before `start_s` (`truncated`).
        OSError: `target` cannot be written.
    """
    if not 0 <= start_s < end_s:
        raise ValueError(f"A clip needs 0 <= start < end; got {start_s} to {end_s} s.")
    size = fitted_size(source, _BOX)
    with opened(source) as container, atomic_write(target) as part, part.open("wb") as file:
        found = streams_of(container)
        zero_s = time_zero_s(container)
        from_s, to_s = zero_s + start_s, zero_s + end_s
        with av.open(file, "w", format="mp4", options={"movflags": "+faststart"}) as clip:
            tracks: list[_Track] = []
            if found.video is not None and size is not None:
                tracks.append(_PictureTrack(clip, found.video, size, from_s, to_s))
            if found.audio is not None:
                tracks.append(_SoundTrack(clip, audio_of(container, source), from_s, to_s))
            seek_before(container, from_s)
            _copy(container, tracks)
            if not any(track.packets for track in tracks):
                raise MediaError(
                    f"{shown(source)} ends before {start_s:.1f} s: there is nothing to cut.",
                    reason="truncated",
                )


class _Track(Protocol):
    """One stream on its way from the source into the clip."""

    index: int
    """Which stream of the source."""
    packets: int
    """Packets written so far."""
    done: bool
    """Whether the end of the stretch was reached."""

    def take(self, packet: "Packet[Any]") -> None:
        """Decode and encode one packet of the source."""

    def finish(self) -> None:
        """Encode what is still held back."""


class _PictureTrack:
    def __init__(
        self, clip: OutputContainer, source: VideoStream, size: tuple[int, int], from_s: float, to_s: float
    ) -> None:
        self.index = source.index
        self.packets = 0
        self.done = False
        self._clip = clip
        self._to_s = to_s
        source.thread_type = "AUTO"
        self._source = source
        self._size = size
        self._from_s = from_s
        self._showing: VideoFrame | None = None
        self._last_pts = -1
        rate = source.average_rate or Fraction(25)
        self._stream = clip.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "23"})
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = _VIDEO_CLOCK

    def take(self, packet: "Packet[Any]") -> None:
        for frame in frames_in(self._source, packet):
            if frame.time >= self._to_s:
                self.done = True
                return
            if frame.time <= self._from_s:
                self._showing = frame
                continue
            self._open()
            self._encode(frame, frame.time - self._from_s)

    def finish(self) -> None:
        self._open()
        if self._last_pts >= 0:
            self._mux(None)

    def _open(self) -> None:
        if self._showing is not None:
            self._encode(self._showing, 0.0)
            self._showing = None

    def _encode(self, frame: VideoFrame, at_s: float) -> None:
        width, height = self._size
        image = fitted(frame, _BOX).reformat(width=width, height=height)
        image.time_base = _VIDEO_CLOCK
        image.pts = self._last_pts = max(self._last_pts + 1, round(at_s / _VIDEO_CLOCK))
        self._mux(image)

    def _mux(self, image: VideoFrame | None) -> None:
        packets = self._stream.encode(image)
        self.packets += len(packets)
        self._clip.mux(packets)


class _SoundTrack:
    def __init__(self, clip: OutputContainer, source: AudioStream, from_s: float, to_s: float) -> None:
        self.index = source.index
        self.packets = 0
        self.done = False
        self._clip = clip
        self._to_s = to_s
        self._source = source
        self._from_s = from_s
        self._graph: Graph | None = None
        self._layout = "mono" if source.channels == 1 else "stereo"
        self._stream = clip.add_stream("aac", rate=_SOUND_RATE_HZ)
        self._stream.layout = self._layout
        self._stream.bit_rate = _BIT_RATE_PER_CHANNEL * min(2, source.channels)

    def take(self, packet: "Packet[Any]") -> None:
        try:
            frames = self._source.decode(packet)
        except av.FFmpegError:
            # A damaged packet leaves a gap, which the graph fills with silence.
            return
        for frame in frames:
            if frame.pts is None or frame.time is None:
                continue
            if frame.time >= self._to_s:
                self.done = True
                return
            if self._graph is None:
                self._graph = self._trimmer(frame)
            self._graph.push(frame)
            self._encode_ready(self._graph)

    def finish(self) -> None:
        if self._graph is not None:
            self._graph.push(None)
            self._encode_ready(self._graph)
            self._mux(None)

    def _trimmer(self, frame: AudioFrame) -> Graph:
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
                f"{_SOUND_RATE_HZ}:async=1:first_pts=0:out_chlayout={self._layout}:out_sample_fmt=fltp"
                ":rematrix_maxval=1.0",
            ),
            graph.add("abuffersink"),
        ).configure()
        graph.set_audio_frame_size(self._stream.codec_context.frame_size or 1024)
        return graph

    def _encode_ready(self, graph: Graph) -> None:
        for frame in pulled(graph):
            self._mux(frame)

    def _mux(self, frame: AudioFrame | None) -> None:
        packets = self._stream.encode(frame)
        self.packets += len(packets)
        self._clip.mux(packets)


def _copy(container: InputContainer, tracks: list[_Track]) -> None:
    by_index = {track.index: track for track in tracks}
    for packet in packets_of(container):
        track = by_index.get(packet.stream_index)
        if track is not None and not track.done:
            track.take(packet)
        if all(track.done for track in tracks):
            break
    for track in tracks:
        track.finish()
