"""Search over everything that was said, in the database of the transcription service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from phonograph_runtime.errors import StaleSchemaError, UnavailableError

if TYPE_CHECKING:
    import asyncpg

START_OF_MATCH: Final = "\x02"
END_OF_MATCH: Final = "\x03"
"""Marks around a match, as `search_transcripts` returns them."""
_SEARCH: Final = "SELECT * FROM search_transcripts($1, $2, $3, $4, $5, $6, $7, $8, $9)"


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions for a passage; None for any."""

    owner: str | None = None
    language: str | None = None
    """ISO 639-1 code."""
    speaker: str | None = None
    since: datetime | None = None
    """Earliest time at which the transcript was stored."""
    min_confidence: float | None = None
    every_version: bool = False
    """Whether older versions of a transcript count as well."""


@dataclass(frozen=True, slots=True)
class Passages:
    """Outcome of a search."""

    matches: list[dict[str, Any]]
    """As `phonograph search --json` prints them, the best first."""
    are_similar: bool
    """Whether no passage has the words themselves, so that they are those with similar words."""


@asynccontextmanager
async def connect(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Connect to the database of the transcription service until the end of the block.

    Args:
        url: Its URL, with the role of the service.

    Raises:
        AccessRefusedError: PostgreSQL refuses the login.
        UnavailableError: PostgreSQL does not answer.
        StaleSchemaError: The database is older than this command.
    """
    import asyncpg

    from phonograph_runtime.postgres_access import connect_once

    try:
        connection = await connect_once(url)
        try:
            yield connection
        finally:
            await connection.close()
    except asyncpg.UndefinedFunctionError as error:
        raise StaleSchemaError(
            f"The database of transcription is older than this command: {error}. Run: phonograph migrate"
        ) from error
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise UnavailableError(str(error), server="PostgreSQL") from error


async def search(
    connection: "asyncpg.Connection[asyncpg.Record]", words: str | None, filters: Filters, limit: int
) -> Passages:
    """Return the passages that match best; passages with similar words if none has the words themselves.

    Args:
        connection: Connection to the database of the transcription service.
        words: Words, `"a phrase"`, `or` and `-without`; None for any passage of the least confidence.
        filters: Conditions for a passage.
        limit: Largest number of passages.
    """
    found = await _fetch(connection, words, filters, limit, is_similar=False)
    are_similar = not found and words is not None
    if are_similar:
        found = await _fetch(connection, words, filters, limit, is_similar=True)
    return Passages([_to_match(row) for row in found], are_similar and bool(found))


async def _fetch(
    connection: "asyncpg.Connection[asyncpg.Record]",
    words: str | None,
    filters: Filters,
    limit: int,
    *,
    is_similar: bool,
) -> "list[asyncpg.Record]":
    rows: list[asyncpg.Record] = await connection.fetch(
        _SEARCH,
        words,
        limit,
        is_similar,
        filters.owner,
        filters.language,
        filters.speaker,
        filters.since,
        filters.min_confidence,
        filters.every_version,
    )
    return rows


def split_at_marks(marked: str) -> list[tuple[str, bool]]:
    """Return the parts of a passage with marks, each with whether it is a match."""
    parts: list[tuple[str, bool]] = []
    for piece in marked.split(START_OF_MATCH):
        match, is_marked, rest = piece.partition(END_OF_MATCH)
        parts += [(match, bool(is_marked)), (rest, False)]
    return [part for part in parts if part[0]]


def _to_match(row: "asyncpg.Record") -> dict[str, Any]:
    passage, marks = "", []
    for part, is_match in split_at_marks(row["passage"]):
        if is_match:
            marks.append([len(passage), len(passage) + len(part)])
        passage += part
    return {
        "media_id": str(row["media_id"]),
        "file_name": row["file_name"],
        "pipeline_version": row["pipeline_version"],
        "version": row["version"],
        "start": row["start_time"],
        "end": row["end_time"],
        "speaker": row["speaker"],
        "language": row["language"] or None,
        "confidence": row["confidence"],
        "passage": passage,
        "marks": marks,
    }
