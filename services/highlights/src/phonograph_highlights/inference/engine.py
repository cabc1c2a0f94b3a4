"""The engine of the service: detects silence, finds topics and writes clips, in the child process."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog

from phonograph_events import MediaRef, PermanentError, Service
from phonograph_events.documents import HighlightsDocument, TranscriptDocument
from phonograph_events.subtitles import Phrase, build_cues
from phonograph_highlights.constants import MAX_SEGMENTS, MIN_SPEECH_S, NO_SPEECH, TOO_SHORT
from phonograph_highlights.domain.clips import choose_clip_span
from phonograph_highlights.domain.documents import (
    clip_to_document,
    region_from_document,
    region_to_document,
    segment_to_document,
)
from phonograph_highlights.domain.highlights import (
    AttributedHighlights,
    Clip,
    ContentSegment,
    HighlightsResult,
    SilenceResult,
    TopicSegment,
    derive_id,
)
from phonograph_highlights.domain.ports import TopicSegmenter
from phonograph_highlights.domain.regions import SilenceRegion, blank_spans, silent_spans
from phonograph_highlights.domain.speakers import attribute_segments, name_speaker
from phonograph_highlights.domain.speech import Utterance, span_of, speech_duration_s, split_into_utterances
from phonograph_highlights.domain.status import ProcessingStage
from phonograph_highlights.domain.tasks import AttributeTask, DetectSilenceTask, SegmentTask
from phonograph_highlights.inference.clip_writer import ClipWriter
from phonograph_highlights.inference.silence import SilenceDetector
from phonograph_runtime.objects import ObjectStore, result_key
from phonograph_runtime.ports import Progress

logger = structlog.get_logger()


class HighlightsEngine:
    """Executes the jobs of the service."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        detector: SilenceDetector,
        segmenter: TopicSegmenter,
        clips: ClipWriter,
    ) -> None:
        """Create the engine.

        Args:
            objects: Where transcripts are read and documents are stored.
            detector: Detects silence and blank pictures.
            segmenter: Splits talks into topics.
            clips: Writes the files of clips.
        """
        self._objects = objects
        self._detector = detector
        self._segmenter = segmenter
        self._clips = clips

    def detect_silence(self, task: DetectSilenceTask, progress: Progress) -> SilenceResult:
        """Find the silence regions of a recording and store them as a document.

        Raises:
            MediaError: If the recording cannot be decoded.
            PermanentError: With reason `missing_object` if the rendition is not in the object store, or
                `unsupported_scheme` if the recording is not a local file.
        """
        regions = self._detector.detect(task.media, progress)
        document = HighlightsDocument(silence_regions=[region_to_document(region) for region in regions])
        return SilenceResult(tuple(regions), self._put_document(task.media.media_id, document))

    def segment(self, task: SegmentTask, progress: Progress) -> HighlightsResult:
        """Find the topics of a recording, write their clips, and store everything as a document.

        A clip that cannot be written is left out with a warning: the segments are useful without it.

        Raises:
            MediaError: If the recording cannot be decoded.
            PermanentError: With reason `missing_object` or `damaged_object` if the transcript, the document
                of the first stage or the rendition cannot be read; `unsupported_scheme` as in
                `detect_silence`.
        """
        seconds: dict[str, float] = {}
        with _measure(seconds, ProcessingStage.SILENCE_DETECTION):
            regions = self._read_or_detect_regions(task, progress)
        with _measure(seconds, ProcessingStage.SEGMENTATION):
            progress(0.4, "topics")
            transcript = self._read_transcript(task.transcript_uri)
            utterances = split_into_utterances(transcript)
            segments = self._find_segments(task, utterances, transcript.language)
        with _measure(seconds, ProcessingStage.COMPILATION):
            clips, failures = self._write_clips(task.media, utterances, segments, regions, progress)
        document = HighlightsDocument(
            silence_regions=[region_to_document(region) for region in regions],
            segments=[segment_to_document(segment) for segment in segments],
            clips=[clip_to_document(clip) for clip in clips],
        )
        return HighlightsResult(
            engine=self._segmenter.name,
            transcript=tuple(transcript.segments),
            regions=tuple(regions),
            segments=tuple(segments),
            clips=tuple(clips),
            reason=_choose_reason(utterances, failures),
            warnings=tuple(error.message for error in failures),
            stage_seconds=seconds,
            document_uri=self._put_document(task.media.media_id, document),
        )

    def attribute(self, task: AttributeTask, progress: Progress) -> AttributedHighlights:
        """Find who speaks in each segment of the highlights, and store them as a document.

        Args:
            task: The highlights, and the transcript with speakers.
            progress: Called with the fraction done and the stage.

        Raises:
            PermanentError: With reason `missing_object` or `damaged_object` if the transcript or the document
                of the highlights cannot be read.
        """
        progress(0.0, "speakers")
        transcript = self._objects.document(task.transcript.transcript_uri, TranscriptDocument)
        highlights = self._objects.document(task.highlights_uri, HighlightsDocument)
        spoken = attribute_segments(highlights.segments, transcript.segments, task.transcript.speaker_ids)
        document = highlights.model_copy(update={"segments": spoken})
        return AttributedHighlights(
            transcript=tuple(
                name_speaker(segment, task.transcript.speaker_ids) for segment in transcript.segments
            ),
            document=document,
            document_uri=self._put_document(task.media.media_id, document),
        )

    def _read_or_detect_regions(self, task: SegmentTask, progress: Progress) -> list[SilenceRegion]:
        if task.silence_uri is None:
            return self._detector.detect(task.media, progress)
        document = self._objects.document(task.silence_uri, HighlightsDocument)
        return [region_from_document(region) for region in document.silence_regions]

    def _read_transcript(self, uri: str | None) -> TranscriptDocument:
        if uri is None:
            return TranscriptDocument(pipeline_version="v1", engine="", model="", language=None, text="")
        return self._objects.document(uri, TranscriptDocument)

    def _find_segments(
        self, task: SegmentTask, utterances: Sequence[Utterance], language: str | None
    ) -> list[ContentSegment]:
        self._segmenter.load()
        limit = 1 if _is_short(utterances) else MAX_SEGMENTS
        topics = self._segmenter.predict(utterances, language=language, limit=limit)
        return [_to_segment(task, utterances, topic) for topic in topics]

    def _write_clips(
        self,
        media: MediaRef,
        utterances: Sequence[Utterance],
        segments: Sequence[ContentSegment],
        regions: Sequence[SilenceRegion],
        progress: Progress,
    ) -> tuple[list[Clip], list[PermanentError]]:
        silences, blanks = silent_spans(regions), blank_spans(regions)
        phrases = [Phrase(utterance.words) for utterance in utterances]
        clips: list[Clip] = []
        failures: list[PermanentError] = []
        for number, segment in enumerate(segments):
            progress(0.5 + 0.5 * number / len(segments), "clips")
            topic = segment.topic
            span = choose_clip_span(utterances, topic.first, topic.last, silences, media.duration_s)
            if span is None:
                continue
            try:
                cues = build_cues(phrases, start_s=span.start_s, end_s=span.end_s)
                clips.append(self._clips.write(media, segment, span, cues, blanks))
            except PermanentError as error:
                logger.warning("clip left out", segment_id=segment.segment_id, **error.to_logging_context())
                failures.append(error)
        return clips, failures

    def _put_document(self, media_id: UUID, document: HighlightsDocument) -> str:
        key = f"{result_key(media_id, Service.HIGHLIGHTS)}.json"
        return self._objects.put(key, document.model_dump_json().encode())


def _to_segment(task: SegmentTask, utterances: Sequence[Utterance], topic: TopicSegment) -> ContentSegment:
    span = span_of(utterances[topic.first : topic.last + 1])
    end_s = min(span.end_s, task.media.duration_s)
    # Objects of a rerun have other ids than those of the older version, which stays readable.
    run = () if task.request_id is None else (task.request_id,)
    return ContentSegment(
        segment_id=derive_id("seg", task.media.media_id, task.result_id, topic.first, *run),
        start_s=min(span.start_s, end_s),
        end_s=end_s,
        topic=topic,
    )


def _is_short(utterances: Sequence[Utterance]) -> bool:
    return speech_duration_s(utterances) < MIN_SPEECH_S


def _choose_reason(utterances: Sequence[Utterance], failures: Sequence[PermanentError]) -> str | None:
    """Return the reason code for missing segments, else the one for the first missing clip."""
    if not utterances:
        return NO_SPEECH
    if _is_short(utterances):
        return TOO_SHORT
    return failures[0].reason if failures else None


@contextmanager
def _measure(seconds: dict[str, float], stage: ProcessingStage) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[stage.value] = time.perf_counter() - started
