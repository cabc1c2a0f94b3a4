"""Imports of a library without the optional dependencies that it would load."""

import sys
from importlib import import_module
from typing import Any


def import_alone(library: str, *, without: tuple[str, ...]) -> None:
    """Import a library as if others were not installed; a later import of those is not affected.

    The Neo4j driver imports numpy and pandas where they are installed, to return data frames: 45 MB and two
    seconds for a feature that is not used here.

    Args:
        library: Name of the library.
        without: Names of the packages that it must not find.
    """
    absent = [name for name in without if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(absent))  # documented: None is "not found"
    try:
        import_module(library)
    finally:
        for name in absent:
            del sys.modules[name]
