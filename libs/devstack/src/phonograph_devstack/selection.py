"""Which kind of stack to use."""

from collections.abc import Callable, Mapping
from pathlib import Path

from phonograph_devstack.containers import ContainerStack
from phonograph_devstack.errors import StackError
from phonograph_devstack.external import ExternalStack
from phonograph_devstack.local import LocalStack


def stack_from(
    kind: str,
    *,
    home: Path,
    manifests: Path,
    cache: Path,
    environment: Mapping[str, str],
    report: Callable[[str], None] = print,
) -> LocalStack | ExternalStack | ContainerStack:
    """The stack of a kind, `local`, `external` or `testcontainers`; for the arguments see the three classes.

    Raises:
        StackError: no such kind, an address missing in the environment, or no Docker engine.
    """
    match kind:
        case "local":
            return LocalStack(home, manifests=manifests, cache=cache, report=report)
        case "external":
            return ExternalStack(home, environment=environment, report=report)
        case "testcontainers":
            return ContainerStack(home, report=report)
        case _:
            raise StackError(f"PHONOGRAPH_STACK is {kind!r}; it may be local, external or testcontainers.")
