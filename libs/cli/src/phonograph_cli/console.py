"""How every command prints, ends and finds its servers.

What costs time to import is imported where it is used: `--help` has to answer at once.
"""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console

if TYPE_CHECKING:
    from neo4j import AsyncDriver

    from phonograph_cli.project import Project
    from phonograph_cli.recordings import RecordingReader
    from phonograph_devstack import Addresses

PIPE_WIDTH = 160
"""Columns for a reader that is no terminal."""
REJECTED, USAGE, NOT_UP, INTERRUPTED = 1, 2, 3, 130

out = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True)

T = TypeVar("T")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait for what comes of it.")]


def project(report: Callable[[str], None] = lambda _line: None) -> "Project":
    """The checkout that this command works on."""
    from phonograph_cli.project import Project

    return Project.here(report=report)


def progress(line: str) -> None:
    """A step of something that takes long."""
    err.print(f"  {line}", style="dim", highlight=False)


def addresses() -> "Addresses":
    """Of the running servers; the command ends when there are none."""
    with clear_errors():
        return project().stack.addresses()


@asynccontextmanager
async def graph() -> "AsyncIterator[AsyncDriver]":
    """Connection to the graph.

    Raises:
        ConnectionError: it does not answer.
    """
    from phonograph_runtime.imports import import_alone

    import_alone("neo4j", without=("numpy", "pandas", "pyarrow"))

    from neo4j import AsyncGraphDatabase
    from neo4j.exceptions import DriverError, Neo4jError

    at = addresses()
    login = (at.neo4j_user, at.neo4j_password)
    try:
        async with AsyncGraphDatabase.driver(at.neo4j_uri, auth=login, connection_timeout=10) as driver:
            yield driver
    except (DriverError, Neo4jError) as error:
        raise ConnectionError(str(error)) from error


async def read(question: "Callable[[RecordingReader], Awaitable[T]]") -> T:
    """Ask the graph."""
    from phonograph_cli.recordings import RecordingReader

    async with graph() as driver:
        return await question(RecordingReader(driver, project().objects))


def run(action: Callable[[], Awaitable[T]]) -> T:
    """Run something asynchronous; a server that is away is exit code 3."""
    from aiokafka.errors import KafkaError

    from phonograph_cli.kafka import MissingTopicError

    async def main() -> T:
        return await action()

    try:
        return asyncio.run(main())
    except MissingTopicError as error:
        fail(NOT_UP, f"{error} Create it with: phonograph migrate")
    except (KafkaError, ConnectionError) as error:
        told = " ".join(str(error).split())  # the graph's driver tells it in several lines
        fail(NOT_UP, f"A server does not answer: {told}. Start it with: phonograph up")


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be taken back; a pipe has to say --yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(USAGE, f"{question} Say so with --yes.")
    typer.confirm(question, abort=True)


@contextmanager
def clear_errors() -> Iterator[None]:
    """What is wrong with the stack is a sentence and exit code 3; with a service, exit code 1."""
    from phonograph_devstack import StackError
    from phonograph_runtime.errors import PermanentError

    try:
        yield
    except StackError as error:
        fail(NOT_UP, str(error))
    except PermanentError as error:
        fail(REJECTED, error.message)
    except OSError as error:
        fail(NOT_UP, f"The stack's files cannot be used: {error}. Another place for them: PHONOGRAPH_HOME.")


def print_json(value: Any) -> None:
    """The one document of `--json`."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def say(line: str, style: str | None = None) -> None:
    """One line as it is, however long."""
    out.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def require_known(kind: str, name: str | None, names: Iterable[str]) -> None:
    """End when a name was mistaken: it would match nothing, which looks like good news."""
    there = list(names)
    if name is not None and name not in there:
        fail(USAGE, f"There is no {kind} {name!r}; there are: {', '.join(there)}.")


def fail(code: int, message: str) -> NoReturn:
    """End with a sentence on standard error."""
    err.print(message, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it reconnects by itself, and tells of each attempt
