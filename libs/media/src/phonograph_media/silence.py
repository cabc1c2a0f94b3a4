"""Detection of silence and of black pictures.

Source: FFmpeg's filters silencedetect and blackdetect, whose results are read from frame metadata.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.filter import Graph
from av.video.frame import VideoFrame

from phonograph_media.decode import decode_sound, drain_audio
from phonograph_media.rendition import SAMPLE_RATE_HZ
from phonograph_media.source import open_media, select_streams, time_zero_s
from phonograph_media.video_frames import decode_video, drain_video, fit_frame

_DETECTION_BOX = (320, 320)


@dataclass(frozen=True, slots=True)
class Region:
    """A time range of a file, in seconds from its first sample of sound."""

    start_s: float
    end_s: float


def find_silences(path: Path, *, noise_db: float = -35.0, min_duration_s: float = 0.5) -> list[Region]:
    """Return the regions in which the sound, mixed down to 16 kHz mono, is silent.

    A file and its rendition have the same regions. A silence that lasts to the end of the file ends there.

    Args:
        path: File to examine.
        noise_db: Level below which sound counts as silence, in dB relative to full scale.
        min_duration_s: Shortest silence to report, in seconds.

    Raises:
        MediaError: With any reason except `not_video`.
    """
    with open_media(path) as container:
        sound = decode_sound(
            container, path, sample_rate_hz=SAMPLE_RATE_HZ, layout="mono", sample_format="s16"
        )
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
            marks.extend(frame_out.metadata for frame_out in drain_audio(graph))
        graph.push(None)
        marks.extend(frame_out.metadata for frame_out in drain_audio(graph))
        return list(_parse_regions(marks, "silence", samples / SAMPLE_RATE_HZ))


def find_blank_frames(path: Path, *, min_duration_s: float = 1.0) -> list[Region]:
    """Return the regions in which the picture is black: 98 % of it is below 10 % of the brightness range.

    A file without video has no such regions. A black region that lasts to the end of the file ends there.

    Args:
        path: File to examine.
        min_duration_s: Shortest region to report, in seconds.

    Raises:
        MediaError: If the file cannot be opened.
    """
    with open_media(path) as container:
        video = select_streams(container).video
        if video is None:
            return []
        zero_s = time_zero_s(container)
        graph: Graph | None = None
        marks: list[dict[str, str]] = []
        end_s = 0.0
        for frame in decode_video(container, video):
            small = fit_frame(frame, _DETECTION_BOX)
            if graph is None:
                graph = _black_detector(small)
            end_s = frame.time + float(frame.duration * (frame.time_base or 0))
            graph.vpush(small)
            marks.extend(frame_out.metadata for frame_out in drain_video(graph))
        return [
            Region(max(0.0, region.start_s - zero_s), region.end_s - zero_s)
            for region in _parse_regions(marks, "black", end_s)
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


def _parse_regions(marks: Iterable[dict[str, str]], kind: str, end_s: float) -> Iterator[Region]:
    started_s: float | None = None
    for mark in marks:
        if (start := mark.get(f"lavfi.{kind}_start")) is not None:
            started_s = max(0.0, float(start))
        if (end := mark.get(f"lavfi.{kind}_end")) is not None and started_s is not None:
            yield Region(started_s, float(end))
            started_s = None
    if started_s is not None and end_s > started_s:
        yield Region(started_s, end_s)
