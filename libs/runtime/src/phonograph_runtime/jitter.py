"""Random variation of pauses, so that waiting processes do not act in step."""

import random


def jitter(seconds: float, spread: float = 0.2) -> float:
    """Return a pause that varies around `seconds` by at most the share `spread` in either direction."""
    return seconds * random.uniform(1 - spread, 1 + spread)  # noqa: S311  # not a secret
