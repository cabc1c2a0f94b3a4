"""The work of the child process: reads sound and documents, writes transcripts."""

from collections.abc import Callable

from phonograph_events import PipelineVersion, uuid7
from phonograph_events.documents import SpeakersDocument, TranscriptDocument
from phonograph_media import MediaError, read_rendition
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.documents import from_document, to_document, turns_of
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.results import Written
from phonograph_transcription.domain.speakers import Turn, Turns, with_speakers
from phonograph_transcription.domain.tasks import MergeTask, TranscribeTask
from phonograph_transcription.domain.transcript import Transcript, Warned
from phonograph_transcription.exceptions import RenditionError

Choice = tuple[Transcriber, tuple[Warned, ...]]


class TranscriptWriter:
    """Recognises and merges; keeps the chosen engine between tasks."""

    def __init__(
        self, objects: ObjectStore, choose: Callable[[], Choice], settings: dict[str, str | int]
    ) -> None:
        self._objects = objects
        self._choose = choose
        self._settings = settings
        self._choice: Choice | None = None

    def transcribe(self, task: TranscribeTask, progress: Progress) -> Written:
        """Recognise the speech of a rendition.

        Raises:
            RenditionError: the rendition cannot be read.
            EngineUnavailableError: the engine that was asked for cannot be used here.
        """
        if self._choice is None:
            progress(0.0, "loading")
            self._choice = self._choose()
        transcriber, warnings = self._choice
        with self._objects.as_file(task.media.rendition_uri) as path:
            try:
                samples = read_rendition(path)
            except MediaError as error:
                raise RenditionError(error.message, reason=error.reason) from error
        heard = transcriber.predict(samples, language=task.media.options.language, progress=progress)
        return self._write(task, heard.warned(*warnings), PipelineVersion.V1)

    def merge(self, task: MergeTask, progress: Progress) -> Written:
        """Give the words of a transcript their speakers."""
        progress(0.0, "merging")
        transcript = from_document(
            self._objects.document(task.transcript_uri, TranscriptDocument),
            language_probability=task.language_probability,
        )
        turns: tuple[Turn, ...] = ()
        if task.turns_uri is not None:
            turns = turns_of(self._objects.document(task.turns_uri, SpeakersDocument))
        return self._write(task, with_speakers(transcript, Turns(turns)), PipelineVersion.V4, turns)

    def _write(
        self,
        task: TranscribeTask | MergeTask,
        transcript: Transcript,
        pipeline_version: PipelineVersion,
        turns: tuple[Turn, ...] = (),
    ) -> Written:
        document = to_document(transcript, pipeline_version)
        key = f"results/{task.media.media_id}/transcription/{uuid7()}.json"
        uri = self._objects.put(key, document.model_dump_json().encode())
        return Written(transcript, uri, self._settings, turns)
