"""Transcripts as the documents that everybody reads, and back."""

from phonograph_events import PipelineVersion
from phonograph_events import documents as public
from phonograph_transcription.domain.speakers import Turn
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
)


def to_document(transcript: Transcript, pipeline_version: PipelineVersion) -> public.TranscriptDocument:
    """The public shape of a transcript."""
    return public.TranscriptDocument(
        pipeline_version=pipeline_version,
        engine=transcript.engine,
        model=transcript.model,
        language=transcript.language,
        text=transcript.text,
        warnings=[
            public.TranscriptWarning(code=warned.code, message=warned.message, segment=warned.segment)
            for warned in transcript.warnings
        ],
        segments=[_segment(segment) for segment in transcript.segments],
    )


def from_document(
    document: public.TranscriptDocument, *, language_probability: float | None = None
) -> Transcript:
    """Back from `to_document`; only the probability of the language is not in the document."""
    return Transcript(
        engine=document.engine,
        model=document.model,
        language=document.language,
        language_probability=language_probability,
        segments=tuple(
            Segment(
                start_s=segment.start,
                end_s=segment.end,
                text=segment.text,
                words=tuple(
                    Word(word.word, word.start, word.end, word.confidence, word.speaker)
                    for word in segment.words
                ),
                confidence=segment.confidence,
                speaker=segment.speaker,
            )
            for segment in document.segments
        ),
        warnings=tuple(
            TranscriptWarning(WarningCode(w.code), w.message, w.segment) for w in document.warnings
        ),
    )


def turns_of(document: public.SpeakersDocument) -> tuple[Turn, ...]:
    """The turns of a diarization."""
    return tuple(Turn(turn.start, turn.end, turn.speaker) for turn in document.turns)


def _segment(segment: Segment) -> public.TranscriptSegment:
    return public.TranscriptSegment(
        start=segment.start_s,
        end=segment.end_s,
        text=segment.text,
        speaker=segment.speaker,
        confidence=segment.confidence,
        words=[
            public.Word(
                word=word.text,
                start=word.start_s,
                end=word.end_s,
                confidence=word.confidence,
                speaker=word.speaker,
            )
            for word in segment.words
        ],
    )
