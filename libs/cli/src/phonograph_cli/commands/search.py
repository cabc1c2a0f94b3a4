"""`phonograph search`: passages of transcripts by their words."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonograph_cli.console import USAGE, JsonOption, err, fail, out, print_json
from phonograph_cli.session import project, run

if TYPE_CHECKING:
    from rich.text import Text

    from phonograph_cli.transcript_search import Filters, Passages


def search(
    words: Annotated[
        str | None, typer.Argument(metavar="WORDS", help='Words, "a phrase", or, -without.')
    ] = None,
    *,
    owner: Annotated[str | None, typer.Option(help="In files of this owner.")] = None,
    language: Annotated[str | None, typer.Option(help="Spoken in this language, for example en.")] = None,
    speaker: Annotated[str | None, typer.Option(help="Said by this speaker, as `show` names it.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Transcribed since, for example 2026-11-20; UTC if not stated."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most passages to show.", metavar="N")] = 20,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Recognized with at least this confidence.")
    ] = None,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Search the older versions of transcripts as well.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Search everything that was said.

    Words are found in their other forms, too, by the rules of the language that is spoken. If no passage has
    them, passages with similar words are shown: names are often misheard or mistyped.
    """
    from phonograph_cli.transcript_search import Filters

    if not (words or "").strip():
        words = None
    if words is None and min_confidence is None:
        fail(USAGE, "Name the words to search for, or --min-confidence.")
    filters = Filters(
        owner=owner,
        language=language,
        speaker=speaker,
        since=None if since is None else _parse_time(since),
        min_confidence=min_confidence,
        every_version=all_versions,
    )
    passages = run(_search(words, filters, limit))
    if as_json:
        print_json({"words": words, "similar": passages.are_similar, "matches": passages.matches})
    else:
        _print_passages(passages, words)


async def _search(words: str | None, filters: "Filters", limit: int) -> "Passages":
    from phonograph_cli import transcript_search
    from phonograph_events import Service

    async with transcript_search.connect(project().database_url(Service.TRANSCRIPTION)) as connection:
        return await transcript_search.search(connection, words, filters, limit)


def _parse_time(value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        fail(USAGE, f"{value!r} is no time; for example 2026-11-20 or 2026-11-20T08:00.")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _print_passages(passages: "Passages", words: str | None) -> None:
    if not passages.matches:
        err.print("No passage is found.", highlight=False)
    if passages.are_similar:
        err.print(f"No passage has {words}; these have similar words.", highlight=False, soft_wrap=True)
    for match in passages.matches:
        out.print(_passage_line(match), soft_wrap=True)


def _passage_line(match: dict[str, Any]) -> "Text":
    """Return a passage with its place; what matches is bold, and between asterisks outside a terminal."""
    from rich.text import Text

    from phonograph_cli.export_formats import clock
    from phonograph_cli.locations import printable

    line = Text(f"{printable(match['file_name'])} {clock(match['start'])} ", style="cyan")
    line.append(f"{printable(match['speaker'])}: " if match["speaker"] else "", style="dim")
    around, position = "" if out.is_terminal else "**", 0
    for start, end in match["marks"]:
        line.append(printable(match["passage"][position:start]), style="default")
        line.append(f"{around}{printable(match['passage'][start:end])}{around}", style="bold default")
        position = end
    line.append(printable(match["passage"][position:]), style="default")
    return line
