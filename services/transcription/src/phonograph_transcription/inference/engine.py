"""The engine of the service: recognizes speech and merges it with speakers, in the child process."""

import gc
from collections.abc import Callable

from phonograph_events import Facts, PipelineVersion, Service
from phonograph_events.documents import SpeakersDocument, TranscriptDocument
from phonograph_media import open_rendition
from phonograph_runtime.child import LOADING
from phonograph_runtime.objects import ObjectStore, result_key
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.documents import from_document, to_document, turns_from_document
from phonograph_transcription.domain.engines import EnginePlan
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.results import StoredTranscript
from phonograph_transcription.domain.speakers import Turn, TurnIndex, assign_speakers
from phonograph_transcription.domain.tasks import MergeTask, TranscribeTask
from phonograph_transcription.domain.transcript import Transcript, TranscriptWarning

RESPONSE_FORMAT = "verbose_json"
"""Segments with their words, times and confidences, under the name that Whisper's interface has for them."""
Selection = tuple[Transcriber, tuple[TranscriptWarning, ...]]
"""A loaded transcriber, and the warnings that its selection adds to each transcript."""


class TranscriptionEngine:
    """Executes the jobs of the service; keeps the transcriber loaded between them."""

    def __init__(
        self,
        objects: ObjectStore,
        *,
        plan: EnginePlan,
        select: Callable[[EnginePlan], Selection],
        is_present: Callable[[str], bool],
    ) -> None:
        """Create the engine; the transcriber is loaded by the first task that needs it.

        Args:
            objects: Where renditions are read and documents are stored.
            plan: Engine and options of the settings.
            select: Loads a transcriber.
            is_present: Returns whether a Whisper model is on this machine.
        """
        self._objects = objects
        self._plan = plan
        self._select = select
        self._is_present = is_present
        self._loaded: tuple[EnginePlan, Selection] | None = None

    def transcribe(self, task: TranscribeTask, progress: Progress) -> StoredTranscript:
        """Recognize the speech of a recording.

        Args:
            task: The recording.
            progress: Called with the fraction done and the stage.

        Raises:
            MediaError: If the rendition cannot be read.
            BadOptionsError: If the requested engine, model or preset does not exist.
            EngineUnavailableError: If the engine that the settings or the request name cannot be used.
            PermanentError: With reason `missing_object` if the object store has no such rendition.
        """
        options = task.options
        # The options are checked first: a request that must fail does not wait for a model.
        transcriber, warnings = self._load(self._plan.adapt(options, self._is_present), progress)
        with self._objects.as_file(task.media.rendition_uri) as path, open_rendition(path) as samples:
            transcript = transcriber.predict(samples, language=options.language, progress=progress)
        used = _used(transcript) | {"response_format": RESPONSE_FORMAT} | transcriber.settings
        return self._store(task, transcript.with_warnings(*warnings), PipelineVersion.V1, used)

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
        used = _used(transcript)
        if task.diarization_engine is not None:
            used["diarization_engine"] = task.diarization_engine
        with_speakers = assign_speakers(transcript, TurnIndex(turns))
        return self._store(task, with_speakers, PipelineVersion.V4, used, turns)

    def _load(self, plan: EnginePlan, progress: Progress) -> Selection:
        """Return the transcriber of a plan; one that was loaded for another plan is freed before."""
        if self._loaded is None or self._loaded[0] != plan:
            progress(0.0, LOADING)
            # Two models at once may not fit into the memory.
            self._loaded = None
            gc.collect()
            self._loaded = plan, self._select(plan)
        return self._loaded[1]

    def _store(
        self,
        task: TranscribeTask | MergeTask,
        transcript: Transcript,
        pipeline_version: PipelineVersion,
        used: Facts,
        turns: tuple[Turn, ...] = (),
    ) -> StoredTranscript:
        document = to_document(transcript, pipeline_version)
        key = f"{result_key(task.media.media_id, Service.TRANSCRIPTION)}.json"
        uri = self._objects.put(key, document.model_dump_json().encode())
        return StoredTranscript(transcript, uri, used, turns)


def _used(transcript: Transcript) -> Facts:
    """Return what recognized a transcript."""
    used: Facts = {"engine": transcript.engine, "model": transcript.model}
    return used if transcript.language is None else used | {"language": transcript.language}
