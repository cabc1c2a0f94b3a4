"""Runs an analysis in the child process and keeps its full document in the object store."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from phonograph_analysis.domain.ports import MusicAnalyzer
from phonograph_analysis.domain.request import AnalysisTask
from phonograph_analysis.domain.result import Measured, MusicAnalysis
from phonograph_analysis.exceptions import UnreadableMediaError
from phonograph_events import Service, uuid7
from phonograph_events.documents import MusicDocument
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.ports import Progress


class DocumentedAnalysis:
    """An analyzer whose results can be read by anybody."""

    def __init__(self, analyzer: MusicAnalyzer, objects: ObjectStore) -> None:
        self._analyzer = analyzer
        self._objects = objects

    def run(self, task: AnalysisTask, progress: Progress) -> Measured:
        """Measure the original file and store the document.

        Raises:
            UnreadableMediaError: the file is gone, lies elsewhere or cannot be decoded.
            EngineFailedError: the engine failed on its sound.
        """
        analysis = self._analyzer.predict(_local_path(task.media.uri), progress)
        key = f"results/{task.media.media_id}/{Service.ANALYSIS}/{uuid7()}.json"
        return Measured(analysis, self._objects.put(key, _document(analysis).model_dump_json().encode()))


def _local_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise UnreadableMediaError(
            f"{uri} is not a file:// address; music is analysed from local files.",
            reason="unsupported_scheme",
        )
    return Path(url2pathname(parts.path))


def _document(analysis: MusicAnalysis) -> MusicDocument:
    tempo, key, timbre = analysis.tempo, analysis.key, analysis.timbre
    return MusicDocument(
        engine=analysis.engine,
        algorithm_build=analysis.algorithm_build,
        bpm=tempo.bpm if tempo else None,
        bpm_confidence=tempo.confidence if tempo else None,
        bpm_candidates=list(tempo.candidates) if tempo else [],
        key=key.key if key else None,
        scale=key.scale if key else None,
        key_strength=key.strength if key else None,
        loudness_lufs=analysis.loudness_lufs,
        danceability=analysis.danceability,
        beats=list(tempo.beats) if tempo else [],
        timbre_mean=list(timbre.mean) if timbre else None,
        timbre_variance=list(timbre.variance) if timbre else None,
        reasons=analysis.reasons,
    )
