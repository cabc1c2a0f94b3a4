"""Fetch models where the `phonograph` command is not installed: in the image of a service."""

import argparse
import sys
from pathlib import Path

from phonograph_models.catalog import DEFAULT_MODELS
from phonograph_models.fetching import LineProgress, fetch_models
from phonograph_models.folder import FolderSource


def main() -> int:
    """Fetch models and return the exit status: 1 if one could not be fetched."""
    parser = argparse.ArgumentParser(prog="python -m phonograph_models", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="all that the default engines need, if left out"
    )
    parser.add_argument("--from", dest="folder", type=Path, help="folder with the files; no network is used")
    arguments = parser.parse_args()
    source = None if arguments.folder is None else FolderSource(arguments.folder)
    outcome = fetch_models(arguments.names or DEFAULT_MODELS, LineProgress(), source)
    sys.stdout.write("".join(f"{name}: {folder}\n" for name, folder in outcome.folders.items()))
    sys.stderr.write("".join(f"{sentence}\n" for sentence in outcome.describe_errors()))
    return 1 if outcome.errors else 0


if __name__ == "__main__":
    sys.exit(main())
