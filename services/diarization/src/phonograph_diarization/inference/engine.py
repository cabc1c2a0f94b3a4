"""The engine of the service: diarizes renditions in the child process."""

from collections.abc import Callable

from phonograph_diarization.domain.diarization import Diarization, SpeakerBounds
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.domain.results import StoredDiarization, StoredObject
from phonograph_diarization.domain.rttm import to_rttm
from phonograph_diarization.domain.tasks import DiarizeTask
from phonograph_events import Service
from phonograph_events.documents import SpeakersDocument
from phonograph_events.documents import Turn as DocumentTurn
from phonograph_media import read_rendition
from phonograph_runtime.child import LOADING
from phonograph_runtime.objects import ObjectStore, result_key
from phonograph_runtime.ports import Progress


class DiarizationEngine:
    """Executes the jobs of the service; keeps the diarizer loaded between them."""

    def __init__(self, objects: ObjectStore, select: Callable[[], Diarizer]) -> None:
        """Create the engine; the diarizer is loaded by the first task.

        Args:
            objects: Where renditions are read and documents are stored.
            select: Loads the diarizer.
        """
        self._objects = objects
        self._select = select
        self._diarizer: Diarizer | None = None

    def diarize(self, task: DiarizeTask, progress: Progress) -> StoredDiarization:
        """Find who speaks when in a recording.

        Args:
            task: The recording.
            progress: Called with the fraction done and the stage.

        Raises:
            BadOptionsError: If the requested numbers of speakers contradict each other.
            EngineUnavailableError: If the engine that the settings name cannot be used.
            MediaError: If the rendition cannot be read.
            PermanentError: With reason `missing_object` if the object store has no such rendition.
        """
        options = task.media.options
        # The options are checked first: a request that must fail does not wait for a model.
        bounds = SpeakerBounds.from_options(options.speakers, options.min_speakers, options.max_speakers)
        if self._diarizer is None:
            progress(0.0, LOADING)
            self._diarizer = self._select()
        with self._objects.as_file(task.media.rendition_uri) as path:
            samples = read_rendition(path)
        return self._store(task, self._diarizer.predict(samples, bounds=bounds, progress=progress))

    def _store(self, task: DiarizeTask, diarization: Diarization) -> StoredDiarization:
        key = result_key(task.media.media_id, Service.DIARIZATION)
        document = SpeakersDocument(
            engine=diarization.engine,
            count=len(diarization.voices),
            turns=[
                DocumentTurn(start=turn.start_s, end=turn.end_s, speaker=turn.speaker)
                for turn in diarization.turns
            ],
        )
        rttm = to_rttm(diarization.turns, str(task.media.media_id)).encode()
        return StoredDiarization(
            diarization=diarization,
            document=self._put(f"{key}.json", document.model_dump_json().encode()),
            rttm=self._put(f"{key}.rttm", rttm) if diarization.turns else None,
        )

    def _put(self, key: str, content: bytes) -> StoredObject:
        return StoredObject(key, self._objects.put(key, content), len(content))
