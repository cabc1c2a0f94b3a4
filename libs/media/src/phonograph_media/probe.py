"""Reading of container, streams, chapters and tags from the headers of a file, without decoding it."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream as AvAudioStream
from av.container import InputContainer
from av.video.stream import VideoStream as AvVideoStream

from phonograph_media.source import open_media, select_streams

_TECHNICAL_TAGS = {"major_brand", "minor_version", "compatible_brands", "handler_name", "vendor_id"}


@dataclass(frozen=True, slots=True)
class AudioStream:
    """The audio stream of a file, as its header describes it."""

    codec: str
    """FFmpeg's name of the codec, or `unknown` if no decoder is available."""
    sample_rate_hz: int
    channels: int
    bit_rate: int | None
    """Bits per second."""


@dataclass(frozen=True, slots=True)
class VideoStream:
    """The video stream of a file; attached pictures are not video."""

    codec: str
    width: int
    height: int
    frame_rate: float | None
    """Frames per second on average."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One chapter mark of the container."""

    start_s: float
    end_s: float
    title: str


@dataclass(frozen=True, slots=True)
class Probe:
    """The description in the file's headers; `Rendition.duration_s` is the length actually decoded."""

    container: str
    """FFmpeg's name of the format, such as `mov,mp4,m4a,3gp,3g2,mj2`."""
    duration_s: float | None
    bit_rate: int | None
    """Bits per second over all streams."""
    audio: AudioStream | None
    video: VideoStream | None
    chapters: tuple[Chapter, ...]
    tags: dict[str, str]
    """Keys in lower case, without technical ones; the container's tags override the audio stream's."""
    has_cover: bool


def probe(path: Path) -> Probe:
    """Read the headers of `path`.

    Raises:
        MediaError: `missing`, `empty`, `directory`, `unreadable`, `bad_name`, `not_media` or `truncated`.
    """
    with open_media(path) as container:
        streams = select_streams(container)
        return Probe(
            container=container.format.name,
            duration_s=container.duration / av.time_base if container.duration else None,
            bit_rate=container.bit_rate or None,
            audio=_describe_audio(streams.audio) if streams.audio is not None else None,
            video=_describe_video(streams.video) if streams.video is not None else None,
            chapters=_read_chapters(container),
            tags=_merge_tags(container, streams.audio),
            has_cover=streams.has_cover,
        )


def _describe_audio(stream: AvAudioStream) -> AudioStream:
    context = getattr(stream, "codec_context", None)
    if context is None:
        return AudioStream(codec="unknown", sample_rate_hz=0, channels=0, bit_rate=None)
    return AudioStream(
        codec=context.codec.canonical_name,
        sample_rate_hz=context.sample_rate,
        channels=context.channels,
        bit_rate=stream.bit_rate or None,
    )


def _describe_video(stream: AvVideoStream) -> VideoStream:
    context = getattr(stream, "codec_context", None)
    rate = stream.average_rate
    return VideoStream(
        codec=context.codec.canonical_name if context is not None else "unknown",
        width=context.width if context is not None else 0,
        height=context.height if context is not None else 0,
        frame_rate=float(rate) if rate else None,
    )


def _read_chapters(container: InputContainer) -> tuple[Chapter, ...]:
    return tuple(
        Chapter(
            start_s=float(mark["start"] * mark["time_base"]),
            end_s=float(mark["end"] * mark["time_base"]),
            title=mark["metadata"].get("title", ""),
        )
        for mark in container.chapters()
        if mark["time_base"] is not None
    )


def _merge_tags(container: InputContainer, audio: AvAudioStream | None) -> dict[str, str]:
    stream_tags = audio.metadata if audio is not None else {}
    merged = {key.lower(): value for tags in (stream_tags, container.metadata) for key, value in tags.items()}
    return {key: value for key, value in merged.items() if key not in _TECHNICAL_TAGS}
