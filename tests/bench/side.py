"""One side of a comparison, in a separate process: `python -m tests.bench.side MODULE FUNCTION TASK`.

Prints the result as the last line. With `PHONOGRAPH_BENCH_PROFILE=FOLDER` it writes a profile to the folder.
"""

import asyncio
import cProfile
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from tests.support.stack import ROOT, Stack

from phonograph_cli.project import Project
from phonograph_runtime.command import collect_rarely
from phonograph_runtime.logs import configure_logging


def stack() -> Stack:
    """Return the servers that the bench has started."""
    return Stack(Project(ROOT, environment=os.environ))


@dataclass
class Clock:
    """Wall time and processor time of the measured code."""

    started: float = 0.0
    cpu_started: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    _profile: cProfile.Profile | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start measuring, with the garbage collector configured as in services."""
        gc.collect()
        collect_rarely()
        if folder := os.environ.get("PHONOGRAPH_BENCH_PROFILE"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._profile = cProfile.Profile()
            self._profile.enable()
        self.started, self.cpu_started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Stop measuring."""
        self.seconds = time.perf_counter() - self.started
        self.cpu_seconds = time.process_time() - self.cpu_started
        if self._profile is not None:
            self._profile.disable()
            name = "-".join(sys.argv[1:3]).rpartition(".")[2]
            self._profile.dump_stats(Path(os.environ["PHONOGRAPH_BENCH_PROFILE"]) / f"{name}.prof")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure a block."""
        self.start()
        yield
        self.stop()

    def speed(self, count: int) -> dict[str, float]:
        """Return the rate of `count` items per second, and the microseconds of processor time for each."""
        return {"per_s": count / self.seconds, "cpu_us": self.cpu_seconds / count * 1e6}


async def new_topic(stack: Stack, *, partitions: int) -> str:
    """Create an empty topic and return its name."""
    name = f"bench-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.addresses.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()
    return name


def main() -> None:
    """Run one side and print its result as JSON."""
    module, function, task = sys.argv[1:]
    configure_logging("bench", "INFO")
    work = getattr(importlib.import_module(module), function)
    result: Any = asyncio.run(work(stack(), **json.loads(task)))
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
