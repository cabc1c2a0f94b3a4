"""Files that appear under their name only when they are complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a temporary path with the suffix of `target`, which replaces `target` if the block succeeds."""
    part = target.with_stem(f"{target.stem}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
