"""What the use cases and the engine need from outside, in the words of the domain."""

from pathlib import Path
from typing import Protocol
from uuid import UUID

from phonograph_analysis.domain.result import Measured, MusicAnalysis
from phonograph_runtime.ports import Progress


class MusicAnalyzer(Protocol):
    """Measures the music of one file after another."""

    engine: str

    @property
    def algorithm_build(self) -> str:
        """Version of everything that decides a result; results of different builds do not compare."""
        ...

    def load(self) -> None:
        """Bring the engine into memory. A second call does nothing."""

    def predict(self, path: Path, progress: Progress) -> MusicAnalysis:
        """Measure a media file.

        Raises:
            UnreadableMediaError: the file cannot be decoded.
            EngineFailedError: the engine failed on its sound.
        """
        ...


class AnalysisResults(Protocol):
    """The results of all analyses."""

    async def add(self, result_id: UUID, media_id: UUID, job_id: UUID, measured: Measured) -> int:
        """Keep a result beside earlier ones of the same file; gives its version, counted from 1."""
        ...
