"""A stop that always ends: every step has a time limit, and the process ends itself if one is not kept.

A task can lose its cancellation: `asyncio.wait_for` of Python 3.11 does if its result arrives at the same
moment, and aiokafka suppresses it while a consumer changes its assignment. A server that accepts requests and
answers none, or a thread that does not return, holds up a stop just as well. Whatever it is, ending the
process is safe, because nothing depends on an orderly end: what was not committed is done again.
"""

import asyncio
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, Final

import structlog

STOP_LIMIT_S: Final = 28.0
"""Time from the signal to the end of the process, whatever hangs; docs/delivery.md promises 30 s."""
LAST_RESORT_S: Final = 1.0
"""Further time after which a timer outside Python ends a process whose interpreter is blocked."""
CLOSE_S: Final = 1.0
"""Longest time for which one connection may be closed."""

logger = structlog.get_logger()


def stop_on_signals(stop: asyncio.Event, *, limit_s: float = STOP_LIMIT_S) -> None:
    """Set an event at SIGTERM or SIGINT, and end the process if it still runs after the limit.

    Must be called in the main thread, inside the event loop.

    Args:
        stop: Event to set.
        limit_s: Time from the first signal to the forced end.
    """
    loop = asyncio.get_running_loop()
    requested = threading.Event()

    def request(_number: int, _frame: FrameType | None) -> None:
        if not requested.is_set():
            faulthandler.dump_traceback_later(limit_s + LAST_RESORT_S, exit=True)
            requested.set()

    # The thread is started now: to start one in a handler could wait for a lock that the handler interrupts.
    # It is a thread because the event loop may be what hangs.
    threading.Thread(
        target=_end_late, args=(requested, limit_s, loop), name="stop limit", daemon=True
    ).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)  # wakes the loop, whichever thread gets the signal
        signal.signal(number, request)  # and this also runs while the loop is blocked


def _end_late(requested: threading.Event, limit_s: float, loop: asyncio.AbstractEventLoop) -> None:
    requested.wait()
    time.sleep(limit_s)
    # Not through the logger, whose lock the hanging thread may hold.
    sys.stderr.write(f"stop not finished after {limit_s:g} s, ending the process\n")
    sys.stderr.flush()
    faulthandler.dump_traceback()
    with contextlib.suppress(Exception):  # the loop runs in another thread
        for task in asyncio.all_tasks(loop):
            task.print_stack(file=sys.stderr)
    os._exit(1)


async def cancel_and_wait(tasks: dict[asyncio.Task[Any], float]) -> None:
    """Cancel tasks and wait for their ends; cancel again those that have not ended in their time.

    Args:
        tasks: Tasks with the seconds that each may take for an orderly end.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    for task in tasks:
        task.cancel()
    for limit_s in sorted(set(tasks.values())):
        waited_for = [task for task, own_s in tasks.items() if own_s <= limit_s and not task.done()]
        if waited_for:
            await asyncio.wait(waited_for, timeout=max(started + limit_s - loop.time(), 0))
        for task in waited_for:
            if not task.done():
                logger.error("task does not stop, cancelling it again", task=task.get_name())
                task.cancel()
    remaining = [task for task in tasks if not task.done()]
    if remaining:
        await asyncio.wait(remaining, timeout=CLOSE_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # otherwise asyncio reports it as never retrieved


async def close_in_time(close: Callable[[], Awaitable[None]]) -> None:
    """Close a connection, within a time limit: its server may not answer any more."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await close()
    except TimeoutError:
        logger.warning("connection not closed in time", action=getattr(close, "__qualname__", repr(close)))
