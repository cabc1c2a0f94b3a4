"""The use case from a request for a file to the file in the object store."""

import asyncio
import hashlib

import structlog

from phonograph_events import ExportCompleted, ExportFormat, ExportRequested, PermanentError, uuid7
from phonograph_events.documents import SpeakersDocument, TranscriptDocument
from phonograph_events.transcript_files import SUFFIXES, SpokenContent, render
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Publisher
from phonograph_transcription.domain.exports import Export, ExportSource
from phonograph_transcription.domain.ports import ExportStore
from phonograph_transcription.exceptions import ExportRefusedError

logger = structlog.get_logger()


class ExportService:
    """Answers requests for files; lives as long as one transaction."""

    def __init__(self, *, publisher: Publisher, store: ExportStore, objects: ObjectStore) -> None:
        self._publisher = publisher
        self._store = store
        self._objects = objects

    async def export(self, event: ExportRequested) -> None:
        """Store and publish a file, or publish the reason why there is none.

        Raises:
            StorageError: If the object store fails; the request is tried again.
        """
        request = {"media_id": event.media_id, "format": event.format, "request_id": event.request_id}
        try:
            source = await self._find_source(event)
            export = await asyncio.to_thread(self._write, source, ExportFormat(event.format))
        except PermanentError as error:
            logger.warning("export refused", **error.to_logging_context())
            answer = ExportCompleted(**request, reason=error.reason, message=error.message)
        else:
            await self._store.add(export)
            answer = ExportCompleted(
                **request,
                export_id=export.id,
                uri=export.uri,
                size=export.size,
                sha256=export.sha256,
                result_id=source.result_id,
                version=source.version,
            )
            logger.info("transcript exported", format=event.format, size=export.size)
        await self._publisher.publish(answer)

    async def _find_source(self, event: ExportRequested) -> ExportSource:
        if event.format not in set(ExportFormat):
            raise ExportRefusedError(
                f"There is no format {event.format!r}; there are: {', '.join(ExportFormat)}.",
                reason="unknown_format",
            )
        source = await self._store.find_source(event.media_id, event.result_id)
        if source is None:
            wanted = "transcript" if event.result_id is None else f"transcript {event.result_id}"
            raise ExportRefusedError(
                f"The recording {event.media_id} has no {wanted}.", reason="no_transcript"
            )
        return source

    def _write(self, source: ExportSource, export_format: ExportFormat) -> Export:
        turns = None
        if source.turns_uri is not None:
            turns = self._objects.document(source.turns_uri, SpeakersDocument)
        content = SpokenContent(
            source.media.file_name,
            source.media.duration_s,
            self._objects.document(source.document_uri, TranscriptDocument),
            turns.turns if turns else (),
        )
        data = render(content, export_format).encode()
        if not data:
            raise ExportRefusedError(
                f"The transcript of {source.media.file_name} has nothing for a file in {export_format}.",
                reason="nothing_to_export",
            )
        sha256 = hashlib.sha256(data).hexdigest()
        # The name is that of the content: a file that a row describes is never replaced by another one.
        key = f"exports/{source.media.media_id}/{sha256}.{SUFFIXES[export_format]}"
        uri = self._objects.put(key, data)
        return Export(uuid7(), source.result_id, export_format, uri, len(data), sha256)
