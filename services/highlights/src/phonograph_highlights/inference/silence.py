"""Finds where a recording has no sound and no picture."""

from collections.abc import Callable
from pathlib import Path

from phonograph_events import MediaKind, MediaRef
from phonograph_events.documents import HighlightsDocument
from phonograph_highlights.constants import MIN_BLANK_S, MIN_SILENCE_S, NOISE_DB
from phonograph_highlights.domain.documents import region_document
from phonograph_highlights.domain.highlights import SilenceFound
from phonograph_highlights.domain.regions import SilenceRegion, SilenceType, Span, merge_silence
from phonograph_highlights.domain.tasks import SilenceTask
from phonograph_highlights.exceptions import HighlightsError
from phonograph_highlights.inference.objects import document_key, original
from phonograph_media import MediaError, Region, find_blank_frames, find_silences
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress

Detector = Callable[[Path], list[Region]]


class SilenceFinder:
    """The first stage; the detectors are parameters so that they can be replaced."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        silences: Detector = lambda path: find_silences(
            path, noise_db=NOISE_DB, min_duration_s=MIN_SILENCE_S
        ),
        blanks: Detector = lambda path: find_blank_frames(path, min_duration_s=MIN_BLANK_S),
    ) -> None:
        self._objects = objects
        self._silences = silences
        self._blanks = blanks

    def find(self, task: SilenceTask, progress: Progress) -> SilenceFound:
        """Find the regions and keep them as a document.

        Raises:
            HighlightsError: the recording cannot be decoded.
            PermanentError: its rendition is gone from the object store.
        """
        regions = self.regions(task.media, progress)
        document = HighlightsDocument(silence_regions=[region_document(region) for region in regions])
        uri = self._objects.put(document_key(task.media.media_id), document.model_dump_json().encode())
        return SilenceFound(tuple(regions), uri)

    def regions(self, media: MediaRef, progress: Progress) -> list[SilenceRegion]:
        """Find the regions. Raises as `find`."""
        try:
            progress(0.0, "silence")
            with self._objects.as_file(media.rendition_uri) as path:
                silent = self._silences(path)
            progress(0.3, "blank")
            blank = self._blanks(original(media)) if media.kind == MediaKind.VIDEO else []
        except MediaError as error:
            raise HighlightsError(error.message, reason=error.reason) from error
        return merge_silence(_spans(silent), _spans(blank))

    def read(self, uri: str) -> list[SilenceRegion]:
        """The regions of a document of the first stage."""
        document = self._objects.document(uri, HighlightsDocument)
        return [
            SilenceRegion(region.start, region.end, SilenceType(region.type))
            for region in document.silence_regions
        ]


def _spans(regions: list[Region]) -> list[Span]:
    return [Span(region.start_s, region.end_s) for region in regions]
