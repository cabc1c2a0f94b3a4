"""Video frames: decoding, turning upright, fitting into a box, one as a JPEG."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from phonograph_media.atomic_write import atomic_write
from phonograph_media.errors import MediaError, shown
from phonograph_media.source import opened, packets_of, seek_before, streams_of, time_zero_s

_THUMBNAIL_BOX = (640, 640)


def thumbnail(source: Path, target: Path, at_s: float) -> None:
    """Write the frame that shows at `at_s` (the last one where that is past the end) as a JPEG.

    The picture is upright and at most 640 pixels wide and high. `target` must end in `.jpg`.

    Raises:
        MediaError: `not_video`, or the file cannot be opened.
    """
    with opened(source) as container:
        video = streams_of(container).video
        if video is None:
            raise MediaError(
                f"{shown(source)} has no video, so no picture can be taken from it.", reason="not_video"
            )
        until_s = time_zero_s(container) + at_s
        seek_before(container, until_s)
        showing: VideoFrame | None = None
        for frame in frames_of(container, video):
            if showing is not None and frame.time > until_s:
                break
            showing = frame
    if showing is None:
        raise MediaError(f"No picture of {shown(source)} can be decoded. Copy it again.", reason="not_media")
    with atomic_write(target) as part:
        try:
            fitted(showing, _THUMBNAIL_BOX).save(part)
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(target)) from error


def fitted_size(path: Path, box: tuple[int, int]) -> tuple[int, int] | None:
    """Width and height that `fitted` gives the video of `path`; None where there is none to decode."""
    with opened(path) as container:
        video = streams_of(container).video
        first = next(frames_of(container, video), None) if video is not None else None
    if first is None:
        return None
    image = fitted(first, box)
    return image.width, image.height


def frames_of(container: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
    """Decode the video from where the container stands; damaged packets are left out."""
    video.thread_type = "AUTO"
    for packet in packets_of(container):
        if packet.stream_index == video.index:
            yield from frames_in(video, packet)


def frames_in(video: VideoStream, packet: "Packet[Stream]") -> Iterator[VideoFrame]:
    """Decode one packet, leaving out what is damaged and frames that have no time."""
    try:
        frames = video.decode(packet)
    except av.FFmpegError:
        return
    yield from (frame for frame in frames if frame.pts is not None)


def fitted(frame: VideoFrame, box: tuple[int, int]) -> VideoFrame:
    """Turn a frame upright and scale it down, never up, into `box` (width, height): even sides, yuv420p."""
    turns = frame.rotation // 90 % 4
    width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    shrink = min(1.0, box[0] / width, box[1] / height)
    width, height = (max(2, round(side * shrink / 2) * 2) for side in (width, height))
    if not turns:
        return frame.reformat(width=width, height=height, format="yuv420p")
    pixels = frame.reformat(format="rgb24").to_ndarray()
    turned = VideoFrame.from_ndarray(np.rot90(pixels, turns).astype(np.uint8, order="C"), format="rgb24")
    turned.pts, turned.time_base = frame.pts, frame.time_base
    return turned.reformat(width=width, height=height, format="yuv420p")


def pulled_pictures(graph: Graph) -> Iterator[VideoFrame]:
    """Frames that a video filter graph has ready."""
    while True:
        try:
            yield graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
