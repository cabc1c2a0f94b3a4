"""Clips: re-encoding of a time range of a file, with sound and picture in sync."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from phonograph_media.atomic_write import atomic_write
from phonograph_media.decode import Layout, SoundDecoder, SoundFormat, to_frame
from phonograph_media.errors import MediaError, display_name
from phonograph_media.source import PREROLL_S, open_media, read_packets, seek_before, select_streams
from phonograph_media.tracks import Track, choose_tracks
from phonograph_media.video_frames import VideoDecoder, fit_frame, fitted_video_size

_BOX = (1280, 720)
_VIDEO_TIME_BASE = Fraction(1, 90_000)
_SAMPLE_RATE_HZ = 48_000
_BIT_RATE_PER_CHANNEL = 64_000
# Packets of sound that are decoded after the end of a range, because times of packets may not be in order.
_MAX_REORDERING_S = 1.0


def cut(source: Path, target: Path, start_s: float, end_s: float, track: Track = None) -> None:
    """Write a time range of `source` to `target`, which appears only when it is complete.

    A clip with video is an MP4 of H.264 (at most 1280 x 720, frame times kept) and AAC; a clip of sound alone
    is an M4A of AAC. Both are exact to a sample and a frame: the clip opens with the picture that is visible
    at `start_s`. A range that ends after the file yields a shorter clip.

    Args:
        source: File to read.
        target: File to write.
        start_s: Start of the range, in seconds as a player shows them.
        end_s: End of the range.
        track: Number of the audio track, `all` to mix all tracks, or None for the one with speech.

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
        with av.open(file, "w", format="mp4", options={"movflags": "+faststart"}) as clip:
            tracks: list[_Track] = []
            if streams.video is not None and size is not None:
                tracks.append(_VideoTrack(clip, streams.video, size, start_s, end_s))
            if streams.audio is not None:
                chosen = choose_tracks(container, source, track).streams
                tracks.append(_AudioTrack(clip, chosen, start_s, end_s, is_film=bool(tracks)))
            seek_before(container, start_s)
            _transcode(container, tracks)
            if not any(track.has_content for track in tracks):
                raise MediaError(
                    f"{display_name(source)} ends before {start_s:.1f} s, so nothing can be cut. "
                    "Choose an earlier start.",
                    reason="truncated",
                )


class _Track(Protocol):
    """A stream that is copied from the source into the clip."""

    indexes: frozenset[int]
    """Indexes of the streams in the source."""
    has_content: bool
    """Something of the source was written."""
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
        self.indexes = frozenset({source.index})
        self.has_content = False
        self.is_done = False
        self._clip = clip
        self._to_s = to_s
        self._decoder = VideoDecoder(source)
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
        for frame in self._decoder.decode(packet):
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
        self.has_content = self.has_content or bool(packets)
        self._clip.mux(packets)


class _AudioTrack:
    def __init__(
        self,
        clip: OutputContainer,
        sources: Sequence[AudioStream],
        from_s: float,
        to_s: float,
        *,
        is_film: bool,
    ) -> None:
        self.indexes = frozenset(source.index for source in sources)
        self.has_content = False
        self.is_done = False
        self._clip = clip
        self._to_s = to_s
        self._from_s = from_s
        layout: Layout = "mono" if all(source.channels == 1 for source in sources) else "stereo"
        self._target = SoundFormat(_SAMPLE_RATE_HZ, layout, "flt")
        self._decoder = SoundDecoder(sources, self._target, from_s=from_s)
        self._is_film = is_film
        self._samples = self._samples_left = round((to_s - from_s) * _SAMPLE_RATE_HZ)
        self._stream = clip.add_stream("aac", rate=_SAMPLE_RATE_HZ)
        self._stream.layout = layout
        self._stream.bit_rate = _BIT_RATE_PER_CHANNEL * self._target.channels
        self._framer = AudioResampler(
            format="fltp", layout=layout, rate=_SAMPLE_RATE_HZ, frame_size=self._stream.frame_size or 1024
        )

    def take(self, packet: "Packet[Any]") -> None:
        if packet.pts is not None and packet.time_base:
            at_s = float(packet.pts * packet.time_base)
            if at_s > self._to_s + _MAX_REORDERING_S:
                self.is_done = True
                return
            if at_s < self._from_s - PREROLL_S:
                return
        self._encode(self._decoder.take(packet))

    def finish(self) -> None:
        self._encode(self._decoder.finish())
        if self._is_film and self._samples_left == self._samples:
            # A part of a film without sound is silent; players refuse a track without packets.
            self._mux(self._framer.resample(self._silence()))
        self._mux(self._framer.resample(None))
        self._mux([None])

    def _encode(self, frames: Iterable[AudioFrame]) -> None:
        for frame in frames:
            if self._samples_left <= 0:
                self.is_done = True
                return
            kept = self._without_end(frame)
            self.has_content = True
            self._samples_left -= kept.samples
            self._mux(self._framer.resample(kept))

    def _silence(self) -> AudioFrame:
        frame = to_frame(np.zeros((1, self._samples * self._target.channels)), self._target)
        frame.pts, frame.time_base = 0, Fraction(1, _SAMPLE_RATE_HZ)
        return frame

    def _without_end(self, frame: AudioFrame) -> AudioFrame:
        if frame.samples <= self._samples_left:
            return frame
        values = frame.to_ndarray()[:, : self._samples_left * self._target.channels]
        last = to_frame(values, self._target)
        last.pts, last.time_base = frame.pts, frame.time_base
        return last

    def _mux(self, frames: Iterable[AudioFrame | None]) -> None:
        for frame in frames:
            self._clip.mux(self._stream.encode(frame))


def _transcode(container: InputContainer, tracks: list[_Track]) -> None:
    by_index = {index: track for track in tracks for index in track.indexes}
    for packet in read_packets(container):
        track = by_index.get(packet.stream.index)
        if track is not None and not track.is_done:
            track.take(packet)
        if all(track.is_done for track in tracks):
            break
    for track in tracks:
        track.finish()
