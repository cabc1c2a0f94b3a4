"""The check that a database is at the newest revision.

It reads the files and the table of Alembic without Alembic, which would stay in the memory of every service.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from phonograph_runtime.errors import StaleSchemaError
from phonograph_runtime.postgres_access import connect_once


@dataclass(frozen=True, slots=True)
class Revision:
    """One migration."""

    name: str
    before: str | None
    text: str
    """The first line of its docstring."""


async def check_schema(url: str, folder: Path) -> None:
    """Check that the database is at the newest revision in the folder.

    Args:
        url: `postgresql://…` of the service.
        folder: Its folder of migrations.

    Raises:
        AccessRefusedError: If PostgreSQL refuses the login or the certificate.
        StaleSchemaError: If it is not; the message names the missing migrations, or the unknown
            revision of the database, and says what to do.
    """
    current = await _current(url)
    refuse_too_new(current, folder)
    found = revisions(folder)
    names = [revision.name for revision in found]
    missing = found[names.index(current) + 1 :] if current else found
    if missing:
        listed = "; ".join(f"{revision.name} {revision.text.rstrip('.')}" for revision in missing)
        at = f"at revision {current}" if current else "empty"
        raise StaleSchemaError(
            f"The database of {folder.name} is {at}, and this code needs {names[-1]}. "
            f"Missing migrations: {listed}. Run `make migrate`."
        )


def refuse_too_new(current: str | None, folder: Path) -> None:
    """Check that the revision of a database is in the folder.

    Raises:
        StaleSchemaError: If it is not: the database belongs to a newer release.
    """
    names = [revision.name for revision in revisions(folder)]
    if current is not None and current not in names:
        raise StaleSchemaError(
            f"The database of {folder.name} is too new: it is at revision {current}, and this code ends at "
            f"{names[-1]}. Start the release that created it, or downgrade the database with that release."
        )


def revisions(folder: Path) -> list[Revision]:
    """Return the migrations of a service, the oldest first."""
    after = {revision.before: revision for revision in map(_read, (folder / "versions").glob("*.py"))}
    found: list[Revision] = []
    while (revision := after.get(found[-1].name if found else None)) is not None:
        found.append(revision)
    return found


def _read(path: Path) -> Revision:
    module = ast.parse(path.read_text(encoding="utf-8"))
    values = {
        target.id: ast.literal_eval(statement.value)
        for statement in module.body
        if isinstance(statement, ast.Assign)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }
    text = (ast.get_docstring(module) or "").partition("\n")[0]
    return Revision(values["revision"], values["down_revision"], text)


async def _current(url: str) -> str | None:
    connection = await connect_once(url)
    try:
        revision: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    finally:
        await connection.close()
    return revision
