"""`python -m tests.bench`: measure, print a table and store the figures. `make bench` calls it."""

import argparse
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import files, graph, intake, jobs, relay, search, speakers, speech
from tests.bench.bench import Bench
from tests.bench.figures import Figure, table, write
from tests.support.stack import ROOT, servers

from phonograph_cli.project import Project

Measure = Callable[[Bench], list[Figure]]

ON_SERVERS: dict[str, Measure] = {
    "intake": intake.measure,
    "relay": relay.measure,
    "jobs": jobs.measure,
    "graph": graph.measure,
    "search": search.measure,
}
ON_SYSTEM: dict[str, Measure] = {"files": files.measure}


def measure_speech(bench: Bench) -> list[Figure]:
    """Measure the words and the speakers that are recognized."""
    return [*speech.measure(bench), *speakers.measure(bench)]


WITHOUT_SERVERS: dict[str, Measure] = {"speech": measure_speech}


def main() -> None:
    """Run the measurements; the table reports missed goals, and only a failed measurement is an error."""
    arguments = _arguments()
    # By default SIGTERM ends the process at once; as an exception it lets the servers be stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended by SIGTERM."))
    logging.disable(logging.WARNING)
    chosen = arguments.only or [*ON_SERVERS, *ON_SYSTEM, *WITHOUT_SERVERS]
    figures: list[Figure] = []
    failed: list[str] = []
    with _checkout(arguments.base) as base:
        if on_servers := {name: each for name, each in ON_SERVERS.items() if name in chosen}:
            with servers("bench") as project:
                project.prepare()
                figures += _measured(on_servers, Bench(project, arguments.rounds, base), failed)
        if on_system := {name: each for name, each in ON_SYSTEM.items() if name in chosen}:
            home = ROOT / ".phonograph" / "bench-system"
            home.mkdir(parents=True, exist_ok=True)
            project = Project(ROOT, environment=dict(os.environ) | {"PHONOGRAPH_HOME": str(home)})
            figures += _measured(on_system, Bench(project, arguments.rounds, base), failed)
        if without := {name: each for name, each in WITHOUT_SERVERS.items() if name in chosen}:
            home = ROOT / ".phonograph" / "bench-speech"
            (home / "logs").mkdir(parents=True, exist_ok=True)
            project = Project(ROOT, environment=dict(os.environ) | {"PHONOGRAPH_HOME": str(home)})
            figures += _measured(without, Bench(project, arguments.rounds, base), failed)
    time = datetime.now(UTC)
    path = ROOT / "bench" / "results" / f"{time:%Y%m%dT%H%M%SZ}.json"
    conditions: dict[str, object] = {
        "time": time.isoformat(),
        "revision": _git("describe", "--always", "--dirty"),
        "base": arguments.base,
        "rounds": arguments.rounds,
        "cores": os.cpu_count(),
        "machine": platform.platform(),
    }
    write(path, figures, conditions)
    sys.stdout.write(f"\n{table(figures, arguments.base)}\n\n{path.relative_to(ROOT)}\n")
    if failed:
        sys.exit(f"Not measured: {', '.join(failed)}.")


def _measured(measurements: dict[str, Measure], bench: Bench, failed: list[str]) -> list[Figure]:
    figures = []
    for name, measure in measurements.items():
        sys.stderr.write(f"measuring {name}\n")
        try:
            measured = measure(bench)
        except (RuntimeError, subprocess.SubprocessError) as error:
            failed.append(name)
            sys.stderr.write(f"{name} could not be measured: {error}\n")
            continue
        figures += measured
        sys.stderr.write("".join(f"  {figure.line()}\n" for figure in measured))
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        choices=[*ON_SERVERS, *ON_SYSTEM, *WITHOUT_SERVERS],
        help="this measurement only",
    )
    parser.add_argument("--base", help="another revision, measured in turn with this one")
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="measured rounds after one warm-up round; 0: one round, no warm-up",
    )
    return parser.parse_args()


@contextmanager
def _checkout(revision: str | None) -> Iterator[Path | None]:
    """Yield a worktree of another revision, which is removed at the end; None without one."""
    if revision is None:
        yield None
        return
    path = ROOT / ".phonograph" / "bench-base"
    shutil.rmtree(path, ignore_errors=True)
    _git("worktree", "prune")
    _git("worktree", "add", "--detach", str(path), revision)
    try:
        yield path
    finally:
        _git("worktree", "remove", "--force", str(path))


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
    return run.stdout.strip()


if __name__ == "__main__":
    main()
