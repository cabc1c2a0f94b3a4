"""Where a file is silent and where its picture is blank.

Sources: FFmpeg's silencedetect and blackdetect filters, read from frame metadata.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.filter import Graph
from av.video.frame import VideoFrame

from phonograph_media.decode import pulled, sound_of
from phonograph_media.rendition import SAMPLE_RATE_HZ
from phonograph_media.source import opened, streams_of, time_zero_s
from phonograph_media.video_frames import fitted, frames_of, pulled_pictures

_LOOK_AT = (320, 320)


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a file, in seconds from its first sample of sound."""

    start_s: float
    end_s: float


def audio_silences(path: Path, *, noise_db: float = -35.0, min_duration_s: float = 0.5) -> list[Region]:
    """Find where the sound, mixed down to 16 kHz mono, stays below `noise_db` (dB full scale).

    The same regions are found in a file and in its rendition. A silence that lasts to the end ends there.

    Raises:
        MediaError: any of its reasons but `not_video`.
    """
    with opened(path) as container:
        sound = sound_of(container, path, sample_rate_hz=SAMPLE_RATE_HZ, layout="mono", sample_format="s16")
        graph = Graph()
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=SAMPLE_RATE_HZ, format="s16", layout="mono", time_base=Fraction(1, SAMPLE_RATE_HZ)
            ),
            graph.add("silencedetect", f"noise={noise_db}dB:duration={min_duration_s}"),
            graph.add("abuffersink"),
        ).configure()
        marks: list[dict[str, str]] = []
        samples = 0
        for frame in sound.frames:
            samples += frame.samples
            graph.push(frame)
            marks.extend(done.metadata for done in pulled(graph))
        graph.push(None)
        marks.extend(done.metadata for done in pulled(graph))
        return list(_regions(marks, "silence", samples / SAMPLE_RATE_HZ))


def blank_frames(path: Path, *, min_duration_s: float = 1.0) -> list[Region]:
    """Find where the picture is black (98 % of it below 10 % of the range of brightness).

    A file without video has no blank frames. A blank stretch that lasts to the end ends there.

    Raises:
        MediaError: the file cannot be opened.
    """
    with opened(path) as container:
        video = streams_of(container).video
        if video is None:
            return []
        zero_s = time_zero_s(container)
        graph: Graph | None = None
        marks: list[dict[str, str]] = []
        end_s = 0.0
        for frame in frames_of(container, video):
            small = fitted(frame, _LOOK_AT)
            if graph is None:
                graph = _black_detector(small)
            end_s = frame.time + float(frame.duration * (frame.time_base or 0))
            graph.vpush(small)
            marks.extend(done.metadata for done in pulled_pictures(graph))
        return [
            Region(max(0.0, region.start_s - zero_s), region.end_s - zero_s)
            for region in _regions(marks, "black", end_s)
            if region.end_s - region.start_s >= min_duration_s
        ]


def _black_detector(frame: VideoFrame) -> Graph:
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        ),
        graph.add("blackdetect"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _regions(marks: Iterable[dict[str, str]], what: str, end_s: float) -> Iterator[Region]:
    started_s: float | None = None
    for mark in marks:
        if (start := mark.get(f"lavfi.{what}_start")) is not None:
            started_s = max(0.0, float(start))
        if (end := mark.get(f"lavfi.{what}_end")) is not None and started_s is not None:
            yield Region(started_s, float(end))
            started_s = None
    if started_s is not None and end_s > started_s:
        yield Region(started_s, end_s)
