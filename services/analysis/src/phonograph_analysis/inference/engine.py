"""The engine of the service: measures recordings and stores the documents, in the child process."""

from phonograph_analysis.domain.documents import to_document
from phonograph_analysis.domain.ports import MusicAnalyzer
from phonograph_analysis.domain.results import StoredAnalysis
from phonograph_analysis.domain.tasks import AnalyzeTask
from phonograph_events import Service, require_path
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
        uri = self._objects.put(key, to_document(analysis).model_dump_json().encode())
        return StoredAnalysis(analysis, uri)
