"""The port of the cache: a source of models."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from phonograph_models.catalog import Model


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """A step of a fetch: the bytes that have arrived, or a problem."""

    model: str
    source: str
    """The source in words, for example `the Hugging Face hub`."""
    done_bytes: int = 0
    total_bytes: int = 0
    problem: str = ""
    """A sentence if something went wrong and the fetch goes on in another way; otherwise empty."""


ProgressListener = Callable[[FetchProgress], None]
"""Called in the thread of the fetch, about once per MiB and at each problem; must return quickly."""

ByteCounter = Callable[[int, int], None]
"""Called with the bytes that are done and the bytes in all."""


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file that a source has written."""

    name: str
    """Path in the model's folder."""
    sha256: str = ""
    """Sum that the source states; empty if it states none."""


class ModelSource(Protocol):
    """A place that models come from."""

    label: str
    """The source in words, as messages name it."""

    def offers(self, model: Model) -> bool:
        """Return whether the source may have a model; uses no network. Called before `deliver`."""
        ...

    def deliver(self, model: Model, folder: Path, count: ByteCounter) -> tuple[DeliveredFile, ...]:
        """Write the files of a model into a folder; the cache verifies them.

        Blocks until they are complete. What an interrupted call has left in the folder is used again.

        Args:
            model: The model.
            folder: Existing folder to write to; nothing else reads it.
            count: Called with the bytes that are done and the bytes in all.

        Raises:
            SourceError: The source is unavailable, has other content or breaks off.
            OSError: The folder cannot be written.
        """
        ...
