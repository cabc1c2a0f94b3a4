"""The command `phonograph-transcription models list|fetch NAME`; it needs no server."""

import json
import sys
from collections.abc import Sequence

from phonograph_transcription.exceptions import DownloadError
from phonograph_transcription.inference.models import ModelFolder

USAGE = "usage: phonograph-transcription models list [--json] | fetch NAME"


def run_models(arguments: Sequence[str], models: ModelFolder) -> int:
    """List or fetch Whisper models.

    Args:
        arguments: Command line after `models`.
        models: Folder of the models.

    Returns:
        The exit status: 0 for success, 1 if a model could not be fetched, 2 for wrong usage.
    """
    match list(arguments):
        case ["list"]:
            lines = [f"{model.name:<20} {model.folder or '-'}\n" for model in models.list_models()]
            sys.stdout.write("".join(lines))
        case ["list", "--json"]:
            rows = [
                {
                    "name": model.name,
                    "repository": model.repository,
                    "folder": None if model.folder is None else str(model.folder),
                }
                for model in models.list_models()
            ]
            sys.stdout.write(f"{json.dumps(rows)}\n")
        case ["fetch", name]:
            try:
                sys.stdout.write(f"{models.fetch(name)}\n")
            except DownloadError as error:
                sys.stderr.write(f"{error.message}\n")
                return 1
        case _:
            sys.stderr.write(f"{USAGE}\n")
            return 2
    return 0
