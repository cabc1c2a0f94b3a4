"""The engine of the service: diarizes renditions in the child process."""

import gc
from collections.abc import Callable
from dataclasses import replace

from phonograph_diarization.domain.diarization import Diarization, DiarizationWarning, SpeakerBounds, Turn
from phonograph_diarization.domain.engines import EngineChoice
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.domain.results import StoredDiarization, StoredObject
from phonograph_diarization.domain.rttm import to_rttm
from phonograph_diarization.domain.tasks import DiarizeTask
from phonograph_diarization.exceptions import BadOptionsError
from phonograph_events import Facts, Service
from phonograph_events.documents import SpeakersDocument, SpeakersWarning
from phonograph_events.documents import Turn as DocumentTurn
from phonograph_media import read_rendition
from phonograph_runtime.child import LOADING
from phonograph_runtime.objects import ObjectStore, result_key
from phonograph_runtime.ports import Progress

SelectedDiarizer = tuple[Diarizer, tuple[DiarizationWarning, ...]]


class DiarizationEngine:
    """Executes the jobs of the service; keeps the diarizer loaded between them."""

    def __init__(
        self,
        objects: ObjectStore,
        select: Callable[[EngineChoice], SelectedDiarizer],
        choice: EngineChoice = EngineChoice.AUTO,
    ) -> None:
        """Create the engine; the diarizer is loaded by the first task.

        Args:
            objects: Where renditions are read and documents are stored.
            select: Loads a diarizer; its warnings become part of every result.
            choice: Engine of the tasks that ask for none.
        """
        self._objects = objects
        self._select = select
        self._choice = choice
        self._loaded: tuple[EngineChoice, SelectedDiarizer] | None = None

    def diarize(self, task: DiarizeTask, progress: Progress) -> StoredDiarization:
        """Find who speaks when in a recording.

        Args:
            task: The recording.
            progress: Called with the fraction done and the stage.

        Raises:
            BadOptionsError: If the requested numbers of speakers contradict each other, or the requested
                engine does not exist.
            EngineUnavailableError: If the engine that the settings or the request name cannot be used.
            MediaError: If the rendition cannot be read.
            PermanentError: With reason `missing_object` if the object store has no such rendition.
        """
        options = task.options
        # The options are checked first: a request that must fail does not wait for a model.
        bounds = SpeakerBounds.from_options(options.speakers, options.min_speakers, options.max_speakers)
        diarizer, warnings = self._load(_to_choice(task.engine, self._choice), progress)
        with self._objects.as_file(task.media.rendition_uri) as path:
            samples = read_rendition(path)
        diarization = diarizer.predict(samples, bounds=bounds, progress=progress)
        return self._store(task, replace(diarization, warnings=warnings), bounds)

    def _load(self, choice: EngineChoice, progress: Progress) -> SelectedDiarizer:
        """Return a diarizer and its warnings; one that was loaded for another choice is freed before."""
        if self._loaded is None or self._loaded[0] is not choice:
            progress(0.0, LOADING)
            # Two models at once may not fit into the memory.
            self._loaded = None
            gc.collect()
            self._loaded = choice, self._select(choice)
        return self._loaded[1]

    def _store(self, task: DiarizeTask, diarization: Diarization, bounds: SpeakerBounds) -> StoredDiarization:
        key = result_key(task.media.media_id, Service.DIARIZATION)
        document = SpeakersDocument(
            engine=diarization.engine,
            count=len(diarization.voices),
            turns=_to_document(diarization.turns),
            exclusive=_to_document(diarization.exclusive),
            warnings=[
                SpeakersWarning(code=warning.code.value, message=warning.message)
                for warning in diarization.warnings
            ],
        )
        rttm = to_rttm(diarization.turns, str(task.media.media_id)).encode()
        return StoredDiarization(
            diarization=diarization,
            document=self._put(f"{key}.json", document.model_dump_json().encode()),
            rttm=self._put(f"{key}.rttm", rttm) if diarization.turns else None,
            used=_used(diarization, bounds),
        )

    def _put(self, key: str, content: bytes) -> StoredObject:
        return StoredObject(key, self._objects.put(key, content), len(content))


def _to_document(turns: tuple[Turn, ...]) -> list[DocumentTurn]:
    return [DocumentTurn(start=turn.start_s, end=turn.end_s, speaker=turn.speaker) for turn in turns]


def _to_choice(engine: str | None, default: EngineChoice) -> EngineChoice:
    if engine is None:
        return default
    if engine not in set(EngineChoice):
        raise BadOptionsError(f"There is no engine {engine!r}; use one of {', '.join(EngineChoice)}.")
    return EngineChoice(engine)


def _used(diarization: Diarization, bounds: SpeakerBounds) -> Facts:
    used: Facts = {
        "engine": diarization.engine,
        "model": diarization.model,
        "min_speakers": bounds.minimum,
    }
    return used if bounds.maximum is None else used | {"max_speakers": bounds.maximum}
