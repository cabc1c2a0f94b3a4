"""The engine of the service: recognizes speech and merges it with speakers, in the child process."""

from collections.abc import Callable

from phonograph_events import PipelineVersion, Service
from phonograph_events.documents import SpeakersDocument, TranscriptDocument
from phonograph_media import read_rendition
from phonograph_runtime.child import LOADING
from phonograph_runtime.objects import ObjectStore, result_key
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.documents import from_document, to_document, turns_from_document
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.results import StoredTranscript
from phonograph_transcription.domain.speakers import Turn, TurnIndex, assign_speakers
from phonograph_transcription.domain.tasks import MergeTask, TranscribeTask
from phonograph_transcription.domain.transcript import Transcript, TranscriptWarning

Selection = tuple[Transcriber, tuple[TranscriptWarning, ...]]
"""A loaded transcriber, and the warnings that its selection adds to each transcript."""


class TranscriptionEngine:
    """Executes the jobs of the service; keeps the transcriber loaded between them."""

    def __init__(
        self, objects: ObjectStore, select: Callable[[], Selection], settings: dict[str, str | int]
    ) -> None:
        """Create the engine; the transcriber is loaded by the first task that needs it.

        Args:
            objects: Where renditions are read and documents are stored.
            select: Loads the transcriber.
            settings: Settings of the transcriber, stored with each result.
        """
        self._objects = objects
        self._select = select
        self._settings = settings
        self._selection: Selection | None = None

    def transcribe(self, task: TranscribeTask, progress: Progress) -> StoredTranscript:
        """Recognize the speech of a recording.

        Args:
            task: The recording.
            progress: Called with the fraction done and the stage.

        Raises:
            MediaError: If the rendition cannot be read.
            EngineUnavailableError: If the engine that the settings name cannot be used.
            PermanentError: With reason `missing_object` if the object store has no such rendition.
        """
        if self._selection is None:
            progress(0.0, LOADING)
            self._selection = self._select()
        transcriber, warnings = self._selection
        with self._objects.as_file(task.media.rendition_uri) as path:
            samples = read_rendition(path)
        transcript = transcriber.predict(samples, language=task.media.options.language, progress=progress)
        return self._store(task, transcript.with_warnings(*warnings), PipelineVersion.V1)

    def merge(self, task: MergeTask, progress: Progress) -> StoredTranscript:
        """Assign speakers to the words of a transcript.

        Args:
            task: Where the transcript and the speaker turns are stored.
            progress: Called with the fraction done and the stage.

        Raises:
            PermanentError: With reason `missing_object` or `damaged_object` if an input cannot be read.
        """
        progress(0.0, "merging")
        transcript = from_document(
            self._objects.document(task.transcript_uri, TranscriptDocument),
            language_probability=task.language_probability,
        )
        turns: tuple[Turn, ...] = ()
        if task.turns_uri is not None:
            turns = turns_from_document(self._objects.document(task.turns_uri, SpeakersDocument))
        return self._store(task, assign_speakers(transcript, TurnIndex(turns)), PipelineVersion.V4, turns)

    def _store(
        self,
        task: TranscribeTask | MergeTask,
        transcript: Transcript,
        pipeline_version: PipelineVersion,
        turns: tuple[Turn, ...] = (),
    ) -> StoredTranscript:
        document = to_document(transcript, pipeline_version)
        key = f"{result_key(task.media.media_id, Service.TRANSCRIPTION)}.json"
        uri = self._objects.put(key, document.model_dump_json().encode())
        return StoredTranscript(transcript, uri, self._settings, turns)
