"""`phonograph history`: the versions of every result of a recording."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonograph_cli.commands.recordings import describe_unknown
from phonograph_cli.console import REJECTED, JsonOption, fail, out, print_json, print_line
from phonograph_cli.session import open_recordings, run

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = ["service", "version", "level", "parent", "current", "engine", "model", "made at", "requested by"]


def history(
    wanted: Annotated[
        str, typer.Argument(metavar="ID|PATH", help="A media ID, its first 8 or more characters, or a path.")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """List the versions of every result of a recording; `show --version` and `export --version` read them."""
    from phonograph_cli import rendering

    media_id, versions = run(_read_history(wanted))
    if as_json:
        print_json({"media_id": media_id, "versions": versions})
        return
    if not versions:
        print_line(f"No service has finished with {media_id} yet. See: phonograph show {media_id}")
        return
    out.print(rendering.listing(COLUMNS, [_row(entry) for entry in versions]))


async def _read_history(wanted: str) -> tuple[str, list[dict[str, Any]]]:
    async with open_recordings() as recordings:
        media_id = await recordings.find(wanted)
        if media_id is None:
            fail(REJECTED, await describe_unknown(wanted))
        return media_id, await recordings.history(media_id)


def _row(entry: "Mapping[str, Any]") -> list[str]:
    from phonograph_cli.locations import printable

    cells = (
        entry["service"],
        entry["version"],
        entry["level"],
        entry["parent"],
        "yes" if entry["current"] else "",
        entry["engine"],
        entry["model"],
        entry["made_at"][:19],
        _request(entry),
    )
    return ["" if cell is None else printable(str(cell)) for cell in cells]


def _request(entry: "Mapping[str, Any]") -> str:
    """Return who asked for a version and why, or the request to ingest that led to it."""
    by = entry["requested_by"] or (entry["correlation_id"] or "")[:8]
    return f"{by}: {entry['request_reason']}" if entry["request_reason"] else by
