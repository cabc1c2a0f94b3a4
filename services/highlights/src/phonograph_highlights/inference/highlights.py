"""Finds the topics of a talk and cuts a clip for each."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from phonograph_events import MediaKind
from phonograph_events.documents import HighlightsDocument, TranscriptDocument
from phonograph_highlights.constants import MIN_SPEECH_S, NO_SPEECH, TOO_SHORT
from phonograph_highlights.domain.clips import clip_span, thumbnail_s
from phonograph_highlights.domain.documents import clip_document, region_document, segment_document
from phonograph_highlights.domain.highlights import (
    Clip,
    ContentSegment,
    HighlightsFound,
    Stored,
    Topic,
    job_id,
    public_id,
)
from phonograph_highlights.domain.ports import TopicSegmenter
from phonograph_highlights.domain.regions import SilenceRegion, Span, blanks, silences
from phonograph_highlights.domain.speech import Utterance, span, speech_s, utterances
from phonograph_highlights.domain.subtitles import cues, render
from phonograph_highlights.domain.tasks import SegmentsTask
from phonograph_highlights.exceptions import HighlightsError
from phonograph_highlights.inference.objects import document_key, original
from phonograph_highlights.inference.silence import SilenceFinder
from phonograph_media import MediaError, cut, write_thumbnail
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress

MAX_SEGMENTS = 200

Cutter = Callable[[Path, Path, float, float], None]
Photographer = Callable[[Path, Path, float], None]


class HighlightsMaker:
    """The second stage; cutting is a parameter so that it can be replaced."""

    def __init__(
        self,
        objects: ObjectStore,
        silence: SilenceFinder,
        segmenter: TopicSegmenter,
        *,
        cutter: Cutter = cut,
        photographer: Photographer = write_thumbnail,
    ) -> None:
        self._objects = objects
        self._silence = silence
        self._segmenter = segmenter
        self._cutter = cutter
        self._photographer = photographer

    def make(self, task: SegmentsTask, progress: Progress) -> HighlightsFound:
        """Find segments, cut their clips and keep everything as a document.

        A clip that cannot be cut is left out, with a warning: the segments are worth having without it.

        Raises:
            HighlightsError: the recording cannot be decoded.
            PermanentError: the transcript or the rendition is gone from the object store, or damaged.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "silence_detection"):
            known = task.silence_uri
            regions = self._silence.read(known) if known else self._silence.regions(task.media, progress)
        with _timed(seconds, "segmentation"):
            progress(0.4, "topics")
            transcript = self._transcript(task.transcript_uri)
            spoken = utterances(transcript)
            short = speech_s(spoken) < MIN_SPEECH_S
            topics = self._segmenter.segment(
                spoken, language=transcript.language, limit=1 if short else MAX_SEGMENTS
            )
            segments = [_segment(task, spoken, topic) for topic in topics]
        with _timed(seconds, "compilation"):
            clips, failures = self._clips(
                task=task,
                spoken=spoken,
                topics=topics,
                segments=segments,
                regions=regions,
                progress=progress,
            )
        reason = NO_SPEECH if not spoken else TOO_SHORT if short else None
        document = HighlightsDocument(
            silence_regions=[region_document(region) for region in regions],
            segments=[segment_document(segment) for segment in segments],
            clips=[clip_document(clip) for clip in clips],
        )
        uri = self._objects.put(document_key(task.media.media_id), document.model_dump_json().encode())
        return HighlightsFound(
            transcript=tuple(transcript.segments),
            regions=tuple(regions),
            segments=tuple(segments),
            clips=tuple(clips),
            reason=reason or (failures[0].reason if failures else None),
            warnings=tuple(error.message for error in failures),
            stage_seconds=seconds,
            document_uri=uri,
        )

    def _transcript(self, uri: str | None) -> TranscriptDocument:
        if uri is None:
            return TranscriptDocument(pipeline_version="v1", engine="", model="", language=None, text="")
        return self._objects.document(uri, TranscriptDocument)

    def _clips(
        self,
        *,
        task: SegmentsTask,
        spoken: Sequence[Utterance],
        topics: Sequence[Topic],
        segments: Sequence[ContentSegment],
        regions: Sequence[SilenceRegion],
        progress: Progress,
    ) -> tuple[list[Clip], list[MediaError | HighlightsError]]:
        silent, blank = silences(regions), blanks(regions)
        clips: list[Clip] = []
        failures: list[MediaError | HighlightsError] = []
        for number, (topic, segment) in enumerate(zip(topics, segments, strict=True)):
            progress(0.5 + 0.5 * number / len(topics), "clips")
            stretch = clip_span(spoken, topic.first, topic.last, silent, task.media.duration_s)
            if stretch is None:
                continue
            try:
                clips.append(self._clip(task, spoken, segment, stretch, blank))
            except (MediaError, HighlightsError) as error:
                failures.append(error)
        return clips, failures

    def _clip(
        self,
        task: SegmentsTask,
        spoken: Sequence[Utterance],
        segment: ContentSegment,
        stretch: Span,
        blank: Sequence[Span],
    ) -> Clip:
        media = task.media
        clip_id = public_id("clip", segment.segment_id)
        key = f"results/{job_id(media.media_id)}/{clip_id}"
        video = media.kind == MediaKind.VIDEO
        shown = cues(spoken, stretch)
        source = original(media)
        with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
            file = Path(folder) / ("clip.mp4" if video else "clip.m4a")
            self._cutter(source, file, stretch.start_s, stretch.end_s)
            stored = self._put(f"{key}{file.suffix}", file)
            at_s = thumbnail_s(stretch, blank) if video else None
            picture = None
            if at_s is not None:
                photo = Path(folder) / "thumbnail.jpg"
                self._photographer(source, photo, at_s)
                picture = self._put(f"{key}.jpg", photo)
        return Clip(
            clip_id=clip_id,
            segment_id=segment.segment_id,
            start_s=stretch.start_s,
            end_s=stretch.end_s,
            title=segment.title,
            importance=segment.importance,
            media=stored,
            srt=self._put(f"{key}.srt", render(shown, "srt").encode()),
            vtt=self._put(f"{key}.vtt", render(shown, "vtt").encode()),
            thumbnail=picture,
        )

    def _put(self, key: str, content: bytes | Path) -> Stored:
        return Stored(key, self._objects.put(key, content))


def _segment(task: SegmentsTask, spoken: Sequence[Utterance], topic: Topic) -> ContentSegment:
    stretch = span(spoken[topic.first : topic.last + 1])
    end_s = min(stretch.end_s, task.media.duration_s)
    return ContentSegment(
        segment_id=public_id("seg", task.media.media_id, task.result_id, topic.first),
        start_s=min(stretch.start_s, end_s),
        end_s=end_s,
        title=topic.title,
        keywords=topic.keywords,
        importance=topic.importance,
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - started
