"""Sets the clock of a Python process back by an hour while the file named by `WRONG_CLOCK` exists.

With this folder on `PYTHONPATH`, Python imports the module before any other. Monotonic clocks are unaffected,
as they are when the clock of a machine is set.
"""

import datetime as dt
import os
import time

_FLAG = os.environ["WRONG_CLOCK"]
_CORRECT_NS = time.time_ns


def _error_s() -> int:
    # Not pathlib: it would load much of the standard library before the clock is replaced.
    return 3600 if os.access(_FLAG, os.F_OK) else 0


class _Datetime(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "_Datetime":
        return super().now(tz) - dt.timedelta(seconds=_error_s())


time.time_ns = lambda: _CORRECT_NS() - _error_s() * 10**9
time.time = lambda: time.time_ns() / 1e9
dt.datetime = _Datetime
