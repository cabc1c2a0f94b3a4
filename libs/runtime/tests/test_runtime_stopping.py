"""A stop ends the process in its time, whatever hangs; each case is a process of its own."""

import asyncio
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import suppress

import pytest

from phonograph_runtime import stopping
from phonograph_runtime.stopping import cancel_and_wait, close_in_time

PROGRAM = """
    import asyncio, contextlib, ctypes, sys, threading, time
    from phonograph_runtime.stopping import stop_on_signals

    async def main():
        stop = asyncio.Event()
        stop_on_signals(stop, limit_s=1)
        print("ready", flush=True)
        {body}

    asyncio.run(main())
"""
HANGS = {
    "returns": "await stop.wait()",
    "ignores_the_event": "await asyncio.Event().wait()",
    "loop_blocked": "threading.Event().wait()",
    "loop_spins": "while True: pass",
    "thread_remains": "asyncio.create_task(asyncio.to_thread(threading.Event().wait)); await stop.wait()",
    "interpreter_blocked": "ctypes.PyDLL(None).pause(); ctypes.PyDLL(None).sleep(600)",
}


@pytest.mark.parametrize("hang", HANGS)
def test_process_ends_within_its_limit(hang: str) -> None:
    program = textwrap.dedent(PROGRAM).format(body=HANGS[hang])
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        started = time.monotonic()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=10)
        stopped_s = time.monotonic() - started
    finally:
        process.kill()
    if hang == "returns":
        assert (process.returncode, log) == (0, "")
        assert stopped_s < 1
    else:
        assert process.returncode == 1
        assert 1 <= stopped_s < 4
        assert "most recent call first" in log, "the stacks are shown"


async def test_task_that_loses_its_cancellation_is_cancelled_again() -> None:
    lost = []

    async def lose() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        lost.append(True)
        await asyncio.Event().wait()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.2)  # an orderly end

    losing, working = asyncio.create_task(lose()), asyncio.create_task(work())
    await asyncio.sleep(0)
    await cancel_and_wait({losing: 0.05, working: 1.0})
    assert lost == [True]
    assert losing.cancelled()
    assert working.cancelled()


async def test_connection_that_does_not_close_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "CLOSE_S", 0.05)
    started = time.monotonic()
    await close_in_time(asyncio.Event().wait)
    assert time.monotonic() - started < 1
