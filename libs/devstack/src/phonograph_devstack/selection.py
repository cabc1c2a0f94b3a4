"""Which kind of stack to use."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, assert_never

from phonograph_devstack.containers import ContainerStack
from phonograph_devstack.external import ExternalStack
from phonograph_devstack.local import LocalStack

StackKind = Literal["local", "external", "testcontainers"]


def stack_from(
    kind: StackKind,
    *,
    home: Path,
    manifests: Path,
    cache: Path,
    environment: Mapping[str, str],
    report: Callable[[str], None] = print,
) -> LocalStack | ExternalStack | ContainerStack:
    """The stack of a kind; for the arguments see the three classes.

    Raises:
        StackError: an address is missing in the environment, or no Docker engine answers.
    """
    match kind:
        case "local":
            return LocalStack(home, manifests=manifests, cache=cache, report=report)
        case "external":
            return ExternalStack(home, environment=environment, report=report)
        case "testcontainers":
            return ContainerStack(home, report=report)
        case _:
            assert_never(kind)
