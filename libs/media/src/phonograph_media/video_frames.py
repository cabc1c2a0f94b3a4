"""Video frames: decoding, rotating, scaling and saving as a JPEG."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from phonograph_media.atomic_write import atomic_write
from phonograph_media.errors import MediaError, display_name
from phonograph_media.source import open_media, read_packets, seek_before, select_streams

_THUMBNAIL_BOX = (640, 640)
_DEFAULT_RATE = 25


def write_thumbnail(source: Path, target: Path, at_s: float) -> None:
    """Write the frame that is visible at a time, or the last frame of a shorter file, as a JPEG.

    The picture is upright and at most 640 pixels wide and high.

    Args:
        source: File to read.
        target: File to write; its name must end in `.jpg`.
        at_s: Time in seconds, as a player shows it.

    Raises:
        MediaError: If the file has no video (`not_video`), or cannot be opened or decoded.
        OSError: If `target` cannot be written.
    """
    with open_media(source) as container:
        video = select_streams(container).video
        if video is None:
            raise MediaError(
                f"{display_name(source)} has no video, so it has no thumbnail. Choose a video file.",
                reason="not_video",
            )
        seek_before(container, at_s)
        visible: VideoFrame | None = None
        for frame in decode_video(container, video):
            if visible is not None and frame.time > at_s:
                break
            visible = frame
    if visible is None:
        raise MediaError(
            f"No picture of {display_name(source)} can be decoded. Copy it again.", reason="not_media"
        )
    with atomic_write(target) as part:
        try:
            fit_frame(visible, _THUMBNAIL_BOX).save(part)
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(target)) from error


def fitted_video_size(path: Path, box: tuple[int, int]) -> tuple[int, int] | None:
    """Return the width and height of the video of `path` after `fit_frame`, or None if it has no video."""
    with open_media(path) as container:
        video = select_streams(container).video
        first = next(decode_video(container, video), None) if video is not None else None
    if first is None:
        return None
    image = fit_frame(first, box)
    return image.width, image.height


def decode_video(container: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
    """Decode the video from the current position of the container; damaged packets are skipped."""
    decoder = VideoDecoder(video)
    for packet in read_packets(container):
        if packet.stream.index == video.index:
            yield from decoder.decode(packet)


class VideoDecoder:
    """Decodes packets of a video stream to frames, each with its time."""

    def __init__(self, video: VideoStream) -> None:
        video.thread_type = "AUTO"
        self._video = video
        self._next_s: float | None = None

    def decode(self, packet: "Packet[Stream]") -> Iterator[VideoFrame]:
        """Yield the frames of a packet; a damaged packet is skipped."""
        try:
            frames = self._video.decode(packet)
        except av.FFmpegError:
            return
        for frame in frames:
            if frame.pts is None and self._next_s is not None and frame.time_base:
                # MPEG program streams store the times of some frames; the others follow at the frame rate.
                frame.pts = round(self._next_s / float(frame.time_base))
            if frame.pts is not None:
                self._next_s = frame.time + 1 / float(self._video.average_rate or _DEFAULT_RATE)
                yield frame


def fit_frame(frame: VideoFrame, box: tuple[int, int]) -> VideoFrame:
    """Return a frame rotated upright and scaled down, never up, into `box` (width, height): even yuv420p."""
    rotations = frame.rotation // 90 % 4
    width, height = (frame.height, frame.width) if rotations % 2 else (frame.width, frame.height)
    scale = min(1.0, box[0] / width, box[1] / height)
    width, height = (max(2, round(side * scale / 2) * 2) for side in (width, height))
    if not rotations:
        return frame.reformat(width=width, height=height, format="yuv420p")
    pixels = frame.reformat(format="rgb24").to_ndarray()
    upright = VideoFrame.from_ndarray(np.rot90(pixels, rotations).astype(np.uint8, order="C"), format="rgb24")
    upright.pts, upright.time_base = frame.pts, frame.time_base
    return upright.reformat(width=width, height=height, format="yuv420p")
