"""`phonograph up`, `down`, `migrate`, `status` and `logs`: the servers and services of this installation."""

import subprocess
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.choices import Extra
from phonograph_cli.console import (
    NOT_UP,
    USAGE,
    JsonOption,
    err,
    fail,
    out,
    print_json,
    print_step,
    report_errors,
)
from phonograph_cli.session import project

if TYPE_CHECKING:
    from phonograph_devstack import ProcessStatus


def up(
    extras: Annotated[
        list[Extra] | None,
        typer.Option("--with", help="Prometheus, and Grafana where it is installed."),
    ] = None,
) -> None:
    """Start PostgreSQL, Kafka, Neo4j and all services; those that are running are left alone."""
    from phonograph_cli.project import MONITORING

    started = time.monotonic()
    with report_errors():
        here = project(report=print_step)
        here.up(monitoring=Extra.MONITORING in (extras or ()))
    err.print(f"Phonograph is up ({time.monotonic() - started:.0f} s).", highlight=False)
    for process in here.status():
        if process.name in MONITORING:
            err.print(f"{process.name}: http://127.0.0.1:{process.port}", highlight=False)


def down(*, wipe: Annotated[bool, typer.Option("--wipe", help="Remove all data as well.")] = False) -> None:
    """Stop everything that `up` started; data are kept unless wiped."""
    with report_errors():
        project().stack.down(wipe=wipe)
    err.print("Phonograph is down, and its data are removed." if wipe else "Phonograph is down.")


def migrate() -> None:
    """Upgrade the schema of every service on the running stack to its newest revision."""
    with report_errors():
        project().prepare()
    err.print("Every schema is at its newest revision.")


def status(*, as_json: JsonOption = False) -> None:
    """Show processes with their ports and memory. Exit code 3 when one is not running."""
    from phonograph_cli import rendering

    with report_errors():
        processes = project().status()
    if as_json:
        print_json({"processes": [asdict(process) for process in processes]})
    else:
        total = sum(process.memory_bytes or 0 for process in processes)
        rows = [_to_row(process) for process in processes]
        out.print(rendering.listing(["name", "state", "pid", "port", "memory"], rows))
        out.print(f"{_mib(total)} in total", style="dim", highlight=False)
    if not processes or any(process.state != "running" for process in processes):
        raise typer.Exit(NOT_UP)


def logs(
    name: Annotated[str | None, typer.Argument(help="A server or a service; all when left out.")] = None,
    lines: Annotated[int, typer.Option("-n", help="Last N lines of each log.")] = 50,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Continue with new lines.")] = False,
) -> None:
    """Show logs."""
    folder = project().home / "logs"
    files = [folder / f"{name}.log"] if name else sorted(folder.glob("*.log"))
    present = [str(file) for file in files if file.exists()]
    if not present:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        fail(USAGE, f"There is no log of {name or 'anything'}; there are: {known}.")
    arguments = ["tail", f"-n{lines}", *(["-F"] if follow else []), *present]
    raise typer.Exit(subprocess.run(arguments, check=False).returncode)


def _to_row(process: "ProcessStatus") -> list[str]:
    memory = _mib(process.memory_bytes) if process.memory_bytes else ""
    return [process.name, process.state, str(process.pid or ""), str(process.port or ""), memory]


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
