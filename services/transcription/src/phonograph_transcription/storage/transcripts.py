"""Versions of transcripts and the inputs of their merges in PostgreSQL."""

from collections import Counter
from dataclasses import asdict
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import MediaRef, PipelineVersion
from phonograph_events.documents import TranscriptDocument, Turn
from phonograph_transcription.domain.documents import to_document
from phonograph_transcription.domain.results import (
    Diarization,
    LatestTranscript,
    Meeting,
    MergeInputs,
    TranscriptionResult,
)
from phonograph_transcription.domain.transcript import Transcript
from phonograph_transcription.storage.tables import SqlMergeInputs, SqlTranscriptionResult


class ContentSegment(BaseModel):
    """A segment without its words."""

    id: int
    start: float
    end: float
    text: str
    confidence: float | None
    speaker: str | None
    language: str | None


class Content(BaseModel):
    """Shape of `transcription_results.content` (T1-12) and, with speakers, of `merged_content`."""

    text: str
    language: str | None
    languages: list[str]
    segments: list[ContentSegment]


class ConfidenceScores(BaseModel):
    """Shape of `transcription_results.confidence_scores`."""

    overall: float | None
    segments: list[float | None]


class SpeakerInfo(BaseModel):
    """Shape of `transcription_results.speaker_info`: number of words of each speaker."""

    words: dict[str, int]


class DiarizationContent(BaseModel):
    """Shape of `transcription_results.diarization_content`."""

    turns: list[Turn]
    meeting: Meeting | None = None
    """The meeting, whose speakers lead to people (T0-31)."""


class EnhancedContentV2(BaseModel):
    """Shape of `transcription_results.enhanced_content_v2` (T0-08, T0-09)."""

    enhanced_text: str
    improvements: list[dict[str, Any]]
    enhancement_metadata: dict[str, Any]


class ProcessingMetadata(BaseModel):
    """Shape of `transcription_results.processing_metadata`."""

    language_probability: float | None


class SqlTranscriptStore:
    """See `TranscriptStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, result: TranscriptionResult) -> MergeInputs:
        """See `TranscriptStore.add`."""
        # The count comes first: it locks the recording, so that two results cannot have one version.
        counted = await self._upsert(result.media_id, {"version": 1}, {"version": SqlMergeInputs.version + 1})
        await self._session.execute(insert(SqlTranscriptionResult).values(_values(result, counted.version)))
        if result.pipeline_version is not PipelineVersion.V1:
            return _to_domain(counted)
        latest = {
            "result_id": result.id,
            "transcript_uri": result.stored.document_uri,
            "language_probability": result.stored.transcript.language_probability,
        }
        return _to_domain(await self._upsert(result.media_id, latest, latest))

    async def save_diarization(self, diarization: Diarization) -> MergeInputs:
        """See `TranscriptStore.save_diarization`."""
        values = {
            "diarization_job_id": diarization.job_id,
            "diarization_engine": diarization.engine,
            "turns_uri": diarization.document_uri,
            "media": diarization.media.model_dump(mode="json"),
            "meeting": None if diarization.meeting is None else _json(diarization.meeting),
        }
        # Locks the row before it is compared: a newer diarization may arrive at the same time.
        inputs = _to_domain(await self._upsert(diarization.media.media_id, {}, {}))
        if inputs.diarization is not None and inputs.diarization.job_id >= diarization.job_id:
            return inputs
        return _to_domain(await self._upsert(diarization.media.media_id, values, values))

    async def versions(self) -> dict[str, int]:
        """See `TranscriptStore.versions`."""
        rows = await self._session.execute(select(SqlTranscriptionResult.id, SqlTranscriptionResult.version))
        return {str(result_id): version for result_id, version in rows}

    async def _upsert(
        self, media_id: UUID, inserted: dict[str, Any], updated: dict[str, Any]
    ) -> SqlMergeInputs:
        """Insert or update the row of a recording, and lock it until the end of the transaction."""
        statement = (
            upsert(SqlMergeInputs)
            .values(media_file_id=media_id, **inserted)
            .on_conflict_do_update(
                index_elements=["media_file_id"], set_=updated | {"updated_at": func.now()}
            )
            .returning(SqlMergeInputs)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one()


def _values(result: TranscriptionResult, version: int) -> dict[str, Any]:
    stored, transcript = result.stored, result.stored.transcript
    document = to_document(transcript, result.pipeline_version)
    content = _json(_content(document))
    has_speakers = result.pipeline_version is PipelineVersion.V4
    turns = [Turn(start=turn.start_s, end=turn.end_s, speaker=turn.speaker) for turn in stored.turns]
    values: dict[str, Any] = {
        "id": result.id,
        "job_id": result.job_id,
        "media_file_id": result.media_id,
        "parent_result_id": result.parent_id,
        "pipeline_version": result.pipeline_version.value,
        "version": version,
        "document_uri": stored.document_uri,
        "content": content,
        "segments": [_json(segment) for segment in document.segments],
        "confidence_scores": _json(
            ConfidenceScores(
                overall=transcript.confidence,
                segments=[segment.confidence for segment in transcript.segments],
            )
        ),
        "accuracy_estimate": transcript.confidence,
        "word_count": transcript.word_count,
        "processing_time": result.processing_s,
        "engine": transcript.engine,
        "model_used": transcript.model[:100],
        "model_config": stored.used,
        "quality_warnings_v2": [_json(warning) for warning in document.warnings],
        "processing_metadata": _json(
            ProcessingMetadata(language_probability=transcript.language_probability)
        ),
    }
    if stored.enhanced is not None:
        enhanced = EnhancedContentV2(
            enhanced_text=transcript.text,
            improvements=[asdict(improvement) for improvement in stored.enhanced.improvements],
            enhancement_metadata=stored.enhanced.metadata,
        )
        values |= {"enhanced_content_v2": _json(enhanced)}
    if has_speakers:
        values |= {
            "speaker_info": _json(SpeakerInfo(words=_words_by_speaker(transcript))),
            "diarization_content": _json(DiarizationContent(turns=turns, meeting=result.meeting)),
            "merged_content": content,
            "speaker_count": len(transcript.speakers),
        }
    return values


def _content(document: TranscriptDocument) -> Content:
    return Content(
        text=document.text,
        language=document.language,
        languages=document.languages,
        segments=[
            ContentSegment(
                id=number,
                start=segment.start,
                end=segment.end,
                text=segment.text,
                confidence=segment.confidence,
                speaker=segment.speaker,
                language=segment.language,
            )
            for number, segment in enumerate(document.segments)
        ],
    )


def _words_by_speaker(transcript: Transcript) -> dict[str, int]:
    words = [word for segment in transcript.segments for word in segment.words]
    return dict(Counter(word.speaker for word in words if word.speaker is not None))


def _json(value: BaseModel) -> dict[str, Any]:
    return value.model_dump(mode="json")


def _to_domain(row: SqlMergeInputs) -> MergeInputs:
    return MergeInputs(
        version=row.version,
        transcript=None
        if row.result_id is None or row.transcript_uri is None
        else LatestTranscript(row.result_id, row.transcript_uri, row.language_probability),
        diarization=None
        if row.diarization_job_id is None
        else Diarization(
            MediaRef.model_validate(row.media),
            row.diarization_job_id,
            row.diarization_engine,
            row.turns_uri,
            None if row.meeting is None else Meeting.model_validate(row.meeting),
        ),
    )
