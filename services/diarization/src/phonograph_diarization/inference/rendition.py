"""Runs an engine on a stored rendition and stores what it finds."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.domain.diarization import Diarization, SpeakerBounds
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.domain.rttm import to_rttm
from phonograph_diarization.domain.task import Diarized, DiarizeTask, StoredObject
from phonograph_diarization.exceptions import BadRenditionError
from phonograph_events import uuid7
from phonograph_events.documents import SpeakersDocument
from phonograph_events.documents import Turn as DocumentTurn
from phonograph_media import MediaError, read_rendition
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress


class RenditionDiarizer:
    """Keeps one engine for all jobs of its process."""

    def __init__(self, objects: ObjectStore, choose: Callable[[], Diarizer]) -> None:
        """Take the object store and what gives a loaded engine."""
        self._objects = objects
        self._choose = choose
        self._diarizer: Diarizer | None = None

    def run(self, task: DiarizeTask, progress: Progress) -> Diarized:
        """Diarize the task's rendition.

        Raises:
            BadOptionsError: the wanted numbers of speakers contradict each other.
            EngineUnavailableError: the engine cannot be loaded.
            BadRenditionError: the rendition is damaged.
            PermanentError: it is gone from the object store.
        """
        options = task.media.options
        bounds = SpeakerBounds.of(options.speakers, options.min_speakers, options.max_speakers)
        if self._diarizer is None:
            progress(0.0, "loading")
            self._diarizer = self._choose()
        return self._stored(task, self._diarizer.predict(self._samples(task), bounds, progress))

    def _samples(self, task: DiarizeTask) -> NDArray[np.float32]:
        uri = task.media.rendition_uri
        try:
            with self._objects.as_file(uri) as path:
                return read_rendition(path)
        except MediaError as error:
            raise BadRenditionError(f"{uri}: {error.message}", reason=error.reason) from error

    def _stored(self, task: DiarizeTask, found: Diarization) -> Diarized:
        folder = f"results/{task.media.media_id}/diarization/{uuid7()}"
        document = SpeakersDocument(
            engine=found.engine,
            count=len(found.voices),
            turns=[
                DocumentTurn(start=turn.start, end=turn.end, speaker=turn.speaker) for turn in found.turns
            ],
        )
        rttm = to_rttm(found.turns, str(task.media.media_id)).encode()
        return Diarized(
            diarization=found,
            document=self._put(f"{folder}.json", document.model_dump_json().encode()),
            rttm=self._put(f"{folder}.rttm", rttm) if found.turns else None,
        )

    def _put(self, key: str, content: bytes) -> StoredObject:
        return StoredObject(key, self._objects.put(key, content), len(content))
