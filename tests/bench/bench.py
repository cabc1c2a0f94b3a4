"""Runs the sides of each comparison alternately, on the same servers, for this revision and for another."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.stack import ROOT

from phonograph_cli.project import Project

Results = list[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Rounds:
    """Results of the rounds of this revision, of the bare loop and of the other revision."""

    ours: Results
    bare: Results
    base: Results

    def median(self, side: str, figure: str) -> float | None:
        """Return the median of a figure of one side; None if the side was not run."""
        results: Results = getattr(self, side)
        return statistics.median(result[figure] for result in results) if results else None

    def spread(self, figure: str) -> tuple[float, float]:
        """Return the smallest and the largest value of a figure of this revision."""
        values = [result[figure] for result in self.ours]
        return min(values), max(values)


@dataclass(frozen=True)
class Bench:
    """Servers, number of rounds and revision to compare with."""

    project: Project
    rounds: int
    base: Path | None = None
    """A checkout of another revision."""
    options: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def number(self, name: str, default: int) -> int:
        """Return a size, which the environment may change by `PHONOGRAPH_BENCH_<NAME>`."""
        return int(self.options.get(f"PHONOGRAPH_BENCH_{name}", default))

    def side(self, module: str, function: str, *, checkout: Path = ROOT, **task: Any) -> Any:
        """Run one side in a separate process and return its result.

        Another revision is measured by the bench of that revision, since the measured code changes with it.
        The names of sides, tasks and results are therefore an interface between revisions.

        Args:
            module: module of the side.
            function: its function, a coroutine that receives the stack.
            checkout: revision to measure.
            **task: keyword arguments of the function, which must be JSON.

        Raises:
            RuntimeError: the process failed; the message ends with its log.
        """
        log = self.project.home / "logs" / "side.log"
        with log.open("w+", encoding="utf-8") as errors:
            run = subprocess.run(
                [sys.executable, "-m", "tests.bench.side", module, function, json.dumps(task)],
                cwd=checkout,
                env=self._environment(checkout),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                check=False,
            )
        if run.returncode != 0:
            raise RuntimeError(f"{module} {function} ended with {run.returncode}:\n{_tail(log)}")
        return json.loads(run.stdout.splitlines()[-1])

    def system(self, module: str, function: str, *, checkout: Path = ROOT, **task: Any) -> Any:
        """Run one side on new servers with all services of a revision; the arguments are those of `side`."""
        phonograph = [str(Path(sys.executable).parent / "phonograph")]
        environment = self._environment(checkout)
        self.project.stack.down(wipe=True)
        try:
            subprocess.run([*phonograph, "up"], env=environment, stdout=sys.stderr, check=True)
            return self.side(module, function, checkout=checkout, **task)
        finally:
            self.project.stack.down(wipe=True)

    def _environment(self, checkout: Path) -> dict[str, str]:
        """Return variables that make every process import the code of a checkout."""
        sources = sorted([*checkout.glob("libs/*/src"), *checkout.glob("services/*/src")])
        path = os.pathsep.join(map(str, sources))
        return dict(self.project.environment) | {"PYTHONPATH": path, "PHONOGRAPH_ROOT": str(checkout)}

    def compare(self, module: str, ours: str, bare: str | None, **task: Any) -> Rounds:
        """Run this revision, the other revision and the bare loop in each round, after one warm-up round.

        Every second round has the opposite order: a side is faster after one that works as it does.

        Args:
            module: module of the sides.
            ours: function that measures a revision.
            bare: function of the bare loop, if there is one.
            **task: keyword arguments of the functions, which must be JSON.
        """
        rounds = Rounds([], [], [])
        sides: list[tuple[Results, str, Path]] = [(rounds.ours, ours, ROOT)]
        if self.base is not None:
            sides.append((rounds.base, ours, self.base))
        if bare is not None:
            sides.append((rounds.bare, bare, ROOT))
        for number in range(self.rounds + 1):
            for results, function, checkout in sides[:: -1 if number % 2 else 1]:
                result = self.side(module, function, checkout=checkout, **task)
                if number > 0 or self.rounds == 0:
                    results.append(result)
        return rounds


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
