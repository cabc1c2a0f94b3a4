"""Transcripts stored as the transcription service stores them, and the service that answers about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import text
from tests.support.stack import Stack, running

from phonograph_events import Event, MediaRef, PipelineVersion, Service, uuid7
from phonograph_events.documents import SpeakersDocument, Turn
from phonograph_runtime.database import Database
from phonograph_runtime.objects import ObjectStore
from phonograph_transcription.config import Settings
from phonograph_transcription.domain.documents import to_document
from phonograph_transcription.domain.results import Diarization, StoredTranscript, TranscriptionResult
from phonograph_transcription.domain.tasks import TranscribeTask
from phonograph_transcription.domain.transcript import Segment, Transcript
from phonograph_transcription.main import create_app
from phonograph_transcription.storage.tables import SqlTranscriptionJob
from phonograph_transcription.storage.transcripts import SqlTranscriptStore

E = TypeVar("E", bound=Event)

_COMPLETE = """
    UPDATE transcription_jobs SET status = 'completed'
    WHERE media_file_id = :id AND status = 'pending' RETURNING id
"""


def media_ref(file_name: str = "a talk.wav", owner: str | None = None) -> MediaRef:
    """Return a new recording of 60 s, of which there is no file."""
    return MediaRef(
        media_id=uuid7(),
        uri=f"file:///{file_name}",
        file_name=file_name,
        file_size=1,
        kind="audio",
        mime_type="audio/wav",
        duration_s=60,
        file_hash="0",
        secondary_hash="0",
        content_fp="0",
        rendition_uri="file:///r.wav",
        owner=owner,
    )


@dataclass(frozen=True)
class Archive:
    """The database and the object store of the transcription service."""

    stack: Stack
    folder: Path
    correlation_id: str

    @property
    def settings(self) -> Settings:
        """Settings of the service."""
        return Settings(**self.stack.settings(Service.TRANSCRIPTION, self.folder))

    @property
    def objects(self) -> ObjectStore:
        """Its object store."""
        return ObjectStore(self.settings.object_store_url)

    async def add(
        self,
        media: MediaRef,
        *segments: Segment,
        language: str | None = "en",
        parent: UUID | None = None,
        turns: tuple[Turn, ...] = (),
    ) -> UUID:
        """Store a transcript and return the id of the result.

        Args:
            media: the recording.
            segments: what is said.
            language: ISO 639-1 code.
            parent: the v1 from which it is derived as v4; it is a v1 without one.
            turns: a diarization that is stored as well.
        """
        level = PipelineVersion.V4 if parent else PipelineVersion.V1
        transcript = Transcript("e", "m", language, 0.9, segments)
        document = to_document(transcript, level).model_dump_json().encode()
        stored = StoredTranscript(transcript, self.objects.put(f"{uuid4()}.json", document), {})
        database = Database(self.settings, source="transcription", job_table=SqlTranscriptionJob)
        try:
            async with database.transaction() as transaction:
                task = TranscribeTask(media=media)
                await transaction.enqueue("test", task, media=media, dedupe_key=str(uuid4()))
                await transaction.flush()
                job_id = await transaction.session.scalar(text(_COMPLETE), {"id": media.media_id})
                assert job_id is not None
                result = TranscriptionResult(uuid7(), media.media_id, job_id, level, parent, stored, 1.0)
                store = SqlTranscriptStore(transaction.session)
                await store.add(result)
                if turns:
                    speakers = SpeakersDocument(engine="e", count=2, turns=list(turns))
                    uri = self.objects.put(f"{uuid4()}.json", speakers.model_dump_json().encode())
                    await store.save_diarization(Diarization(media, uuid7(), "e", uri))
        finally:
            await database.aclose()
        return result.id

    async def ask(self, answer: type[E], *requests: Event) -> list[E]:
        """Publish requests to the running service; return as many answers, in their order."""
        async with running(create_app(self.settings)):
            for request in requests:
                await self.stack.publish(request, correlation_id=self.correlation_id)
            events = await self.stack.collect(
                lambda found: sum(isinstance(each.data, answer) for each in found) == len(requests),
                correlation_id=self.correlation_id,
            )
        return [each.data for each in events if isinstance(each.data, answer)]

    async def execute(self, statement: str, **values: Any) -> list[Any]:
        """Execute SQL with the role of the service and return the rows, if it has any."""
        database = Database(self.settings, source="transcription")
        try:
            async with database.engine.begin() as connection:
                result = await connection.execute(text(statement), values)
                return list(result.all()) if result.returns_rows else []
        finally:
            await database.aclose()
