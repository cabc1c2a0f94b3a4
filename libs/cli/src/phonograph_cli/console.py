"""Common options of the commands, and how they print and end.

Modules that are slow to import are imported where they are used, because `phonograph --help` must be fast.
"""

import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console

PIPE_WIDTH = 160
"""Columns where standard output is not a terminal."""
REJECTED: Final = 1
USAGE: Final = 2
NOT_UP: Final = 3
INTERRUPTED: Final = 130

# Names of files are printed as they are: brackets are no markup, and words between colons no pictures.
out = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, markup=False, emoji=False)
err = Console(stderr=True, markup=False, emoji=False)

T = TypeVar("T")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
MAX_NAME_CHARS: Final = 200
MAX_REASON_CHARS: Final = 500
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the outcome.")]


def check_length(limit: int) -> Callable[[str | None], str | None]:
    """Return a callback that refuses the text of an option if it is empty or too long for an event."""

    def check(text: str | None) -> str | None:
        if text is not None and not 1 <= len(text) <= limit:
            raise typer.BadParameter(f"Give 1 to {limit} characters.")
        return text

    return check


def print_json(value: Any) -> None:
    """Print the one document of `--json`."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_line(line: str, style: str | None = None) -> None:
    """Print a line without wrapping it or interpreting markup."""
    out.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def print_step(line: str) -> None:
    """Print one step of a long operation on standard error."""
    err.print(f"  {line}", style="dim", highlight=False)


def fail(code: int, message: str) -> NoReturn:
    """End the command with an exit code and a sentence on standard error."""
    err.print(message, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before an operation that cannot be undone; without a terminal `--yes` is required."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(USAGE, f"{question} Confirm with --yes.")
    # A running event loop only notes the first Ctrl-C and would leave the prompt waiting.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        typer.confirm(question, abort=True)
    finally:
        signal.signal(signal.SIGINT, handler)


def require_known(kind: str, name: str | None, known: Iterable[str]) -> None:
    """End the command if a name is unknown, because filtering by it would find nothing.

    Args:
        kind: What the name denotes, for the message.
        name: Name that the user gave; None if the option was left out.
        known: All valid names.
    """
    names = list(known)
    if name is not None and name not in names:
        fail(USAGE, f"There is no {kind} {name!r}; there are: {', '.join(names)}.")


def require_match(kind: str, prefix: str, by_id: Mapping[str, T], *, listed_by: str) -> T:
    """Return the only item whose ID is or begins with `prefix`; end the command if there is none or several.

    Args:
        kind: What the items are, for the message.
        prefix: ID or unique prefix of one.
        by_id: Items by ID.
        listed_by: Command that lists the items.
    """
    if prefix in by_id:
        return by_id[prefix]
    found = [item for item_id, item in by_id.items() if item_id.startswith(prefix)]
    if not found:
        fail(USAGE, f"There is no {kind} {prefix}. See: {listed_by}")
    if len(found) > 1:
        fail(USAGE, f"The IDs of {len(found)} {kind}s begin with {prefix}: type more of the ID.")
    return found[0]


@contextmanager
def report_errors() -> Iterator[None]:
    """End the command with a sentence and an exit code where an operation fails.

    The exit code is `NOT_UP` if a server or the stack is at fault, and `REJECTED` otherwise.
    """
    from phonograph_cli.errors import MissingTopicError
    from phonograph_devstack import StackError
    from phonograph_events.errors import PhonographError
    from phonograph_runtime.errors import AccessRefusedError, UnavailableError

    try:
        yield
    except UnavailableError as error:
        message = " ".join(error.message.split())  # the graph's driver writes several lines
        fail(NOT_UP, f"{error.server} does not answer: {message}. Start it with: phonograph up")
    except (StackError, MissingTopicError, AccessRefusedError) as error:
        fail(NOT_UP, error.message)
    except PhonographError as error:
        fail(REJECTED, error.message)
    except OSError as error:
        fail(
            NOT_UP,
            f"The files of the stack cannot be used: {error}. Set PHONOGRAPH_HOME to use another folder.",
        )
