"""Files of a clip: media, subtitles and thumbnail."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from phonograph_events import MediaKind, MediaRef, require_path
from phonograph_highlights.domain.clips import choose_thumbnail_s
from phonograph_highlights.domain.highlights import (
    Clip,
    ContentSegment,
    StoredObject,
    derive_id,
    recording_job_id,
)
from phonograph_highlights.domain.regions import Span
from phonograph_highlights.domain.subtitles import Cue, SubtitleFormat, render_cues
from phonograph_media import cut, write_thumbnail
from phonograph_runtime.objects import ObjectStore

Cutter = Callable[[Path, Path, float, float], None]
"""Takes the source, the target, and start and end in seconds."""
ThumbnailWriter = Callable[[Path, Path, float], None]
"""Takes the source, the target, and a time in seconds."""


class ClipWriter:
    """Writes the files of clips to the object store."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        cutter: Cutter = cut,
        thumbnail_writer: ThumbnailWriter = write_thumbnail,
    ) -> None:
        """Create the writer.

        Args:
            objects: Where the files are stored.
            cutter: Writes a span of a recording to a file.
            thumbnail_writer: Writes a frame of a video to a file.
        """
        self._objects = objects
        self._cutter = cutter
        self._thumbnail_writer = thumbnail_writer

    def write(
        self,
        media: MediaRef,
        segment: ContentSegment,
        span: Span,
        cues: Sequence[Cue],
        blanks: Sequence[Span],
    ) -> Clip:
        """Cut a span of a recording and store its files.

        Args:
            media: The recording.
            segment: The segment that the clip shows.
            span: The span to cut, in seconds of the recording.
            cues: Its subtitles, timed from the start of the clip.
            blanks: Spans of the recording without picture.

        Raises:
            MediaError: If the recording cannot be decoded or cut.
            PermanentError: With reason `unsupported_scheme` if the recording is not a local file.
            StorageError: If the object store fails.
            StorageFullError: If no space is left.
        """
        source = require_path(media.uri)
        is_video = media.kind == MediaKind.VIDEO
        clip_id = derive_id("clip", segment.segment_id)
        key = f"results/{recording_job_id(media.media_id)}/{clip_id}"
        with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
            file = Path(folder) / ("clip.mp4" if is_video else "clip.m4a")
            self._cutter(source, file, span.start_s, span.end_s)
            stored = self._put(f"{key}{file.suffix}", file)
        thumbnail_s = choose_thumbnail_s(span, blanks) if is_video else None
        return Clip(
            clip_id=clip_id,
            segment_id=segment.segment_id,
            start_s=span.start_s,
            end_s=span.end_s,
            title=segment.topic.title,
            importance=segment.topic.importance,
            media=stored,
            srt=self._put_subtitles(key, cues, "srt"),
            vtt=self._put_subtitles(key, cues, "vtt"),
            thumbnail=None if thumbnail_s is None else self._put_thumbnail(key, source, thumbnail_s),
        )

    def _put_subtitles(self, key: str, cues: Sequence[Cue], subtitle_format: SubtitleFormat) -> StoredObject:
        return self._put(f"{key}.{subtitle_format}", render_cues(cues, subtitle_format).encode())

    def _put_thumbnail(self, key: str, source: Path, at_s: float) -> StoredObject:
        with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
            file = Path(folder) / "thumbnail.jpg"
            self._thumbnail_writer(source, file, at_s)
            return self._put(f"{key}.jpg", file)

    def _put(self, key: str, content: bytes | Path) -> StoredObject:
        return StoredObject(key, self._objects.put(key, content))
