"""What the use cases need from outside."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from phonograph_analysis.domain.result import MusicAnalysis

Progress = Callable[[float, str], None]
"""Reports a fraction from 0 to 1 and a short word for the stage."""


class MusicAnalyzer(Protocol):
    """Measures the music of one file after another."""

    @property
    def engine(self) -> str:
        """Name of the engine."""
        ...

    @property
    def algorithm_build(self) -> str:
        """Version of everything that decides a result; results of different builds do not compare."""
        ...

    def load(self) -> None:
        """Bring the engine into memory. A second call does nothing."""
        ...

    def predict(self, path: Path, progress: Progress) -> MusicAnalysis:
        """Measure a media file.

        Raises:
            MediaError: the file cannot be decoded.
            AnalysisError: the engine failed on its sound.
        """
        ...
