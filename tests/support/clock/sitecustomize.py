"""Sets the clock of a Python process an hour back as long as the file named by `WRONG_CLOCK` exists.

A folder for `PYTHONPATH`: Python imports this module before any other. Monotonic clocks go on, as they do
when a machine's clock is set.
"""

import datetime as dt
import os
import time

_FLAG = os.environ["WRONG_CLOCK"]
_RIGHT_NS = time.time_ns


def _back_s() -> int:
    return 3600 if os.path.exists(_FLAG) else 0  # noqa: PTH110  # pathlib would import half of Python


class _Datetime(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "_Datetime":
        return super().now(tz) - dt.timedelta(seconds=_back_s())


time.time_ns = lambda: _RIGHT_NS() - _back_s() * 10**9
time.time = lambda: time.time_ns() / 1e9
dt.datetime = _Datetime
