"""Detection of silence and of blank pictures."""

from collections.abc import Callable, Iterable
from pathlib import Path

from phonograph_events import MediaKind, MediaRef, require_path
from phonograph_highlights.constants import MIN_BLANK_S, MIN_SILENCE_S, NOISE_DB
from phonograph_highlights.domain.regions import SilenceRegion, Span, merge_silence
from phonograph_media import Region, find_blank_frames, find_silences
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress

Detector = Callable[[Path], list[Region]]


class SilenceDetector:
    """Finds the silence regions of recordings."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        find_silences: Detector = lambda path: find_silences(
            path, noise_db=NOISE_DB, min_duration_s=MIN_SILENCE_S
        ),
        find_blanks: Detector = lambda path: find_blank_frames(path, min_duration_s=MIN_BLANK_S),
    ) -> None:
        """Create the detector.

        Args:
            objects: Where renditions are read.
            find_silences: Finds silence in a rendition.
            find_blanks: Finds blank pictures in a video.
        """
        self._objects = objects
        self._find_silences = find_silences
        self._find_blanks = find_blanks

    def detect(self, media: MediaRef, progress: Progress) -> list[SilenceRegion]:
        """Return the silence regions of a recording, in the order of time.

        Raises:
            MediaError: If the recording cannot be decoded.
            PermanentError: With reason `missing_object` if the rendition is not in the object store, or
                `unsupported_scheme` if the recording is not a local file.
        """
        progress(0.0, "silence")
        with self._objects.as_file(media.rendition_uri) as path:
            silences = self._find_silences(path)
        progress(0.3, "blank")
        # Renditions contain no picture: blank pictures are found in the original.
        blanks = self._find_blanks(require_path(media.uri)) if media.kind == MediaKind.VIDEO else []
        return merge_silence(_to_spans(silences), _to_spans(blanks))


def _to_spans(regions: Iterable[Region]) -> list[Span]:
    return [Span(region.start_s, region.end_s) for region in regions]
