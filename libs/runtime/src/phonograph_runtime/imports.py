"""Imports a library without the companions that it would pick up by itself."""

import sys
from importlib import import_module


def import_alone(library: str, *, without: tuple[str, ...]) -> None:
    """Import a library as if others were not installed; a later import of those works as ever.

    The Neo4j driver takes numpy and pandas in where it finds them, to answer with data frames: 45 MB and two
    seconds for what nobody here asks for. They are there for tests, and on the machine of who adds them.
    """
    absent = [name for name in without if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # documented: None is "not found"
    try:
        import_module(library)
    finally:
        for name in absent:
            del sys.modules[name]
