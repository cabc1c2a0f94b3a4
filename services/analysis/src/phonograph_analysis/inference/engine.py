"""The engine of the service: measures recordings and stores the documents, in the child process."""

from phonograph_analysis.domain.ports import MusicAnalyzer
from phonograph_analysis.domain.results import MusicAnalysis, StoredAnalysis
from phonograph_analysis.domain.tasks import AnalyzeTask
from phonograph_events import Service, require_path
from phonograph_events.documents import MusicDocument
from phonograph_runtime.objects import ObjectStore, result_key
from phonograph_runtime.ports import Progress


class AnalysisEngine:
    """Executes the jobs of the service; keeps the analyzer loaded between them."""

    def __init__(self, objects: ObjectStore, analyzer: MusicAnalyzer) -> None:
        self._objects = objects
        self._analyzer = analyzer

    def analyze(self, task: AnalyzeTask, progress: Progress) -> StoredAnalysis:
        """Measure the original file of a recording, and store the document.

        Args:
            task: The recording.
            progress: Called with the fraction done and the stage.

        Raises:
            PermanentError: With reason `unsupported_scheme` if the file is not on this machine.
            MediaError: If the file does not exist or cannot be decoded.
            EngineUnavailableError: If the analyzer cannot be loaded.
            EngineFailedError: If the analyzer failed on the audio.
            StorageError: If the document cannot be stored.
        """
        analysis = self._analyzer.predict(require_path(task.media.uri), progress, task.media.options.track)
        key = f"{result_key(task.media.media_id, Service.ANALYSIS)}.json"
        uri = self._objects.put(key, _to_document(analysis).model_dump_json().encode())
        return StoredAnalysis(analysis, uri)


def _to_document(analysis: MusicAnalysis) -> MusicDocument:
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
