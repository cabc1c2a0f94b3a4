"""Runs the sides of each comparison in turn, on the same servers, for this revision and for another."""

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

Answers = list[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Rounds:
    """Answers of both sides, round by round, and of the other revision's."""

    ours: Answers
    bare: Answers
    base: Answers

    def median(self, side: str, what: str) -> float | None:
        """The middle of a side's answers; null when the side was not run."""
        answers: Answers = getattr(self, side)
        return statistics.median(answer[what] for answer in answers) if answers else None

    def spread(self, what: str) -> tuple[float, float]:
        """Smallest and largest of ours."""
        numbers = [answer[what] for answer in self.ours]
        return min(numbers), max(numbers)


@dataclass(frozen=True)
class Bench:
    """Where to measure, how often, and what to compare with."""

    project: Project
    rounds: int
    base: Path | None = None
    """A checkout of another revision."""
    options: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def number(self, name: str, default: int) -> int:
        """A size that the environment may change: `PHONOGRAPH_BENCH_<NAME>`."""
        return int(self.options.get(f"PHONOGRAPH_BENCH_{name}", default))

    def side(self, module: str, function: str, *, checkout: Path = ROOT, **task: Any) -> Any:
        """Run one side in a process of its own and give its answer.

        Another revision is measured by its own bench, since what is measured changes with it.
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
        """Run one side on fresh servers with all services of a revision."""
        phonograph = [str(Path(sys.executable).parent / "phonograph")]
        environment = self._environment(checkout)
        self.project.stack.down(wipe=True)
        try:
            subprocess.run([*phonograph, "up"], env=environment, stdout=sys.stderr, check=True)
            return self.side(module, function, checkout=checkout, **task)
        finally:
            self.project.stack.down(wipe=True)

    def _environment(self, checkout: Path) -> dict[str, str]:
        """Lets every process take its code from a checkout."""
        sources = sorted([*checkout.glob("libs/*/src"), *checkout.glob("services/*/src")])
        path = os.pathsep.join(map(str, sources))
        return dict(self.project.environment) | {"PYTHONPATH": path, "PHONOGRAPH_ROOT": str(checkout)}

    def compare(self, module: str, ours: str, bare: str | None, **task: Any) -> Rounds:
        """Ours, the other revision's and the bare loop in turn; one round before does not count."""
        rounds = Rounds([], [], [])
        for number in range(self.rounds + 1):
            counts = number > 0 or self.rounds == 0
            answer = self.side(module, ours, **task)
            if counts:
                rounds.ours.append(answer)
            if self.base is not None:
                answer = self.side(module, ours, checkout=self.base, **task)
                if counts:
                    rounds.base.append(answer)
            if bare is not None:
                answer = self.side(module, bare, **task)
                if counts:
                    rounds.bare.append(answer)
        return rounds


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
