"""One side of a comparison, in a process of its own: `python -m tests.bench.side MODULE FUNCTION TASK`.

Prints the answer as the last line. With `PHONOGRAPH_BENCH_PROFILE=FOLDER` it leaves a profile there.
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
    """The servers that the bench started."""
    return Stack(Project(ROOT, environment=os.environ))


@dataclass
class Clock:
    """Wall and processor time of the part that counts."""

    began: float = 0.0
    cpu_began: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    _profile: cProfile.Profile | None = field(default=None, repr=False)

    def start(self) -> None:
        """From now on, with the garbage collector as services have it."""
        gc.collect()
        collect_rarely()
        if folder := os.environ.get("PHONOGRAPH_BENCH_PROFILE"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._profile = cProfile.Profile()
            self._profile.enable()
        self.began, self.cpu_began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Until now."""
        self.seconds = time.perf_counter() - self.began
        self.cpu_seconds = time.process_time() - self.cpu_began
        if self._profile is not None:
            self._profile.disable()
            name = "-".join(sys.argv[1:3]).rpartition(".")[2]
            self._profile.dump_stats(Path(os.environ["PHONOGRAPH_BENCH_PROFILE"]) / f"{name}.prof")

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the block runs."""
        self.start()
        yield
        self.stop()

    def speed(self, count: int) -> dict[str, float]:
        """Things per second, and microseconds of our processor time for each."""
        return {"per_s": count / self.seconds, "cpu_us": self.cpu_seconds / count * 1e6}


async def new_topic(stack: Stack, *, partitions: int) -> str:
    """An empty topic of a side's own."""
    name = f"bench-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.addresses.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
    finally:
        await admin.close()
    return name


def main() -> None:
    """Run one side."""
    module, function, task = sys.argv[1:]
    configure_logging("bench", "INFO")
    work = getattr(importlib.import_module(module), function)
    answer: Any = asyncio.run(work(stack(), **json.loads(task)))
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
