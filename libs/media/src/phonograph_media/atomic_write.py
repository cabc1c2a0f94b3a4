"""Files that appear under their name only when they are whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Give a path beside `target`, of the same suffix; it becomes `target` when the block ends well."""
    part = target.with_stem(f"{target.stem}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
