"""Ports of the use cases and of the engine, in terms of the domain."""

from pathlib import Path
from typing import Protocol
from uuid import UUID

from typing_extensions import override

from phonograph_analysis.domain.results import MusicAnalysis, StoredAnalysis
from phonograph_runtime.ports import InferenceEngine, Progress


class MusicAnalyzer(InferenceEngine, Protocol):
    """An engine that measures music, one file after the other.

    Its `model` is the version of everything that decides a result, `algorithm_build` in results: results of
    different builds are not comparable.
    """

    @override
    def predict(self, path: Path, progress: Progress, track: int | str | None = None) -> MusicAnalysis:
        """Measure a media file. Called by `AnalysisEngine` in the child process; blocks, for minutes at most.

        Args:
            path: Any file that FFmpeg decodes.
            progress: Called with the fraction done and the stage.
            track: Number of the audio track, `all` to mix all tracks, or None for the one with speech.

        Returns:
            For a file without music: no tempo and no key, and a reason.

        Raises:
            EngineUnavailableError: If the engine is not loaded yet and cannot be.
            MediaError: If the file does not exist or cannot be decoded.
            EngineFailedError: If the engine failed on the audio.
        """


class AnalysisStore(Protocol):
    """The analyses of all recordings, in versions.

    Methods are called by use cases and wait for PostgreSQL, without blocking the event loop. They raise the
    exceptions of the transaction, which the runtime converts.
    """

    async def add(self, result_id: UUID, media_id: UUID, job_id: UUID, stored: StoredAnalysis) -> int:
        """Add an analysis as the newest version of its recording; earlier ones are kept.

        Args:
            result_id: Id of the new row.
            media_id: The recording.
            job_id: The job that made the analysis.
            stored: The analysis, and where its document is stored.

        Returns:
            The version, counted from 1 within a recording.
        """

    async def versions(self) -> dict[str, int]:
        """Return the newest version of each analyzed recording by its id. Called for the inventory."""
