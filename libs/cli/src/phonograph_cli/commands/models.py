"""`phonograph models`: speech models on this machine, which the transcription service manages."""

import subprocess
from typing import Annotated, NoReturn

import typer

from phonograph_cli.session import project

app = typer.Typer(no_args_is_help=True, help="Speech models on this machine.")


@app.command("list")
def list_() -> None:
    """List speech models, and which of them are stored on this machine."""
    _run_transcription("models", "list")


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="For example small, distil-large-v3.")]) -> None:
    """Download a speech model."""
    _run_transcription("models", "fetch", name)


def _run_transcription(*arguments: str) -> NoReturn:
    from phonograph_events import Service

    command = [project().service_command(Service.TRANSCRIPTION), *arguments]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
