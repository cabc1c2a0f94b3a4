"""Conversion of transcripts to and from their public documents."""

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
    """Return the public document of a transcript."""
    return public.TranscriptDocument(
        pipeline_version=pipeline_version,
        engine=transcript.engine,
        model=transcript.model,
        language=transcript.language,
        languages=list(transcript.languages),
        text=transcript.text,
        warnings=[
            public.TranscriptWarning(code=warning.code, message=warning.message, segment=warning.segment)
            for warning in transcript.warnings
        ],
        segments=[_to_document_segment(segment) for segment in transcript.segments],
    )


def from_document(
    document: public.TranscriptDocument, *, language_probability: float | None = None
) -> Transcript:
    """Return the transcript of a document; only the probability of the language is not part of it."""
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
                    Word(word.word, word.start, word.end, word.confidence, word.speaker, word.is_spaced)
                    for word in segment.words
                ),
                confidence=segment.confidence,
                speaker=segment.speaker,
                language=segment.language,
            )
            for segment in document.segments
        ),
        warnings=tuple(
            TranscriptWarning(WarningCode(w.code), w.message, w.segment) for w in document.warnings
        ),
    )


def turns_from_document(document: public.SpeakersDocument) -> tuple[Turn, ...]:
    """Return the turns of a diarization."""
    return tuple(Turn(turn.start, turn.end, turn.speaker) for turn in document.turns)


def _to_document_segment(segment: Segment) -> public.TranscriptSegment:
    return public.TranscriptSegment(
        start=segment.start_s,
        end=segment.end_s,
        text=segment.text,
        speaker=segment.speaker,
        confidence=segment.confidence,
        language=segment.language,
        words=[
            public.Word(
                word=word.text,
                start=word.start_s,
                end=word.end_s,
                confidence=word.confidence,
                speaker=word.speaker,
                is_spaced=word.is_spaced,
            )
            for word in segment.words
        ],
    )
