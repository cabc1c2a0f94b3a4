"""The delay between events and the graph."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

REDELIVERY_S = 60.0
"""A failed batch is redelivered much sooner, unless another process has received its partitions."""


class LagClock:
    """Measures the age of the oldest event that was received and is not in the graph."""

    def __init__(self) -> None:
        self._oldest_s: float | None = None
        self._expires_at = math.inf

    @contextmanager
    def waiting(self, oldest_s: float | None) -> Iterator[None]:
        """Count the events of a batch as waiting until the block ends without an exception.

        After an exception they go on waiting for their redelivery, but not for longer than `REDELIVERY_S`:
        another process may have them by then.

        Args:
            oldest_s: Time of the oldest event, in seconds since 1970; None for an empty batch.
        """
        self._oldest_s = oldest_s
        self._expires_at = math.inf
        try:
            yield
        except BaseException:
            self._expires_at = time.monotonic() + REDELIVERY_S
            raise
        self._oldest_s = None

    def lag_s(self) -> float:
        """Return the age of the oldest waiting event in seconds; 0 if none waits."""
        if self._oldest_s is None or time.monotonic() > self._expires_at:
            return 0.0
        return max(time.time() - self._oldest_s, 0.0)
