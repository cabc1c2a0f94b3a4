"""`phonograph models`: the weights of all engines, and those on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from phonograph_cli.console import (
    REJECTED,
    USAGE,
    JsonOption,
    err,
    fail,
    out,
    print_json,
    print_line,
    report_errors,
)

app = typer.Typer(no_args_is_help=True, help="Models of the engines, and those on this machine.")

NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
FromOption = Annotated[
    Path | None,
    typer.Option("--from", metavar="FOLDER", help="Folder with the files; no network is used."),
]


@app.command("list")
def list_(*, as_json: JsonOption = False) -> None:
    """List the models of every service, their licenses, sources and sums, and which are on this machine."""
    from phonograph_cli import rendering
    from phonograph_cli.models import COLUMNS, list_models, to_json, to_row

    with report_errors():
        states = list_models()
    if as_json:
        print_json({"models": [to_json(state) for state in states]})
    else:
        out.print(rendering.listing(COLUMNS, [to_row(state) for state in states]))


@app.command()
def fetch(names: NamesArgument = None, source: FromOption = None, *, as_json: JsonOption = False) -> None:
    """Fetch models that are not on this machine: those named, or all that the default engines need."""
    from phonograph_cli.models import display_fetches
    from phonograph_models import DEFAULT_MODELS, FolderSource, UnknownModelError, fetch_models

    with report_errors(), display_fetches(err) as progress:
        outcome = fetch_models(
            names or DEFAULT_MODELS, progress, None if source is None else FolderSource(source)
        )
    if as_json:
        errors = {name: error.message for name, error in outcome.errors.items()}
        print_json({"models": {name: str(path) for name, path in outcome.folders.items()}, "errors": errors})
    else:
        for name, folder in outcome.folders.items():
            print_line(f"{name}: {folder}")
    for sentence in outcome.describe_errors():
        err.print(sentence, highlight=False, markup=False, soft_wrap=True)
    if any(isinstance(error, UnknownModelError) for error in outcome.errors.values()):
        raise typer.Exit(USAGE)
    raise typer.Exit(REJECTED if outcome.errors else 0)


@app.command()
def verify(names: NamesArgument = None, *, as_json: JsonOption = False) -> None:
    """Compare models, by default all on this machine, with their sums. Exit code 1 if one differs."""
    from phonograph_cli import rendering
    from phonograph_cli.models import check_row, checks_to_json, verify_models
    from phonograph_models import UnknownModelError

    with report_errors():
        try:
            checks = verify_models(names)
        except UnknownModelError as error:
            fail(USAGE, error.message)
    if as_json:
        print_json({"models": checks_to_json(checks)})
    else:
        rows = [check_row(name, check) for name, found in checks.items() for check in found]
        out.print(rendering.listing(["model", "file", "state"], rows))
    wrong = [name for name, found in checks.items() if any(check.is_wrong for check in found)]
    for name in wrong:
        fetch_it = f"phonograph models remove {name} && phonograph models fetch {name}"
        err.print(f"The model {name!r} is damaged. Replace it: {fetch_it}", highlight=False, soft_wrap=True)
    raise typer.Exit(REJECTED if wrong else 0)


@app.command()
def remove(name: NameArgument, *, as_json: JsonOption = False) -> None:
    """Delete a model from this machine, including what an interrupted download of it has left."""
    from phonograph_cli.models import format_size
    from phonograph_models import UnknownModelError, cache_for

    with report_errors():
        try:
            freed_bytes = cache_for(name).remove(name)
        except UnknownModelError as error:
            fail(USAGE, error.message)
    if as_json:
        print_json({"name": name, "freed_bytes": freed_bytes})
    else:
        print_line(f"{name}: removed, {format_size(freed_bytes)} freed.")
