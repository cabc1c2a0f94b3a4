"""docs/requirements.md has one row per code, with a known state and tests that exist."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "docs/requirements.md"
FAMILIES = {"T0": 51, "T1": 26, "L": 26, "M": 16, "K": 29, "C": 51}
"""Families of codes, each with its last number; the first is 01."""
CODE = rf"\b({'|'.join(FAMILIES)})-[0-9]{{2}}\b"
STATES = {"done", "partial", "open"}


@dataclass(frozen=True)
class Row:
    """A row of the page; `basis` names tests, or what is missing."""

    code: str
    requirement: str
    state: str
    basis: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """Return the file and the function of each named test."""
        return re.findall(r"`([^`]+?)::([^`]+)`", self.basis)


def rows_of(page: str) -> list[Row]:
    """Return the rows whose first cell is a code."""
    lines = [line for line in page.splitlines() if re.match(rf"\| *{CODE} *\|", line)]
    return [Row(*(cell.strip() for cell in line.strip().strip("|").split("|"))) for line in lines]


def miscounted(rows: Sequence[Row], families: Mapping[str, int]) -> set[str]:
    """Return the codes without exactly one row, and those beyond the end of their family."""
    wanted = {f"{family}-{number:02}" for family, last in families.items() for number in range(1, last + 1)}
    found = Counter(row.code for row in rows)
    return {code for code in wanted | found.keys() if found[code] != 1 or code not in wanted}


def unexplained(used: Iterable[str], rows: Sequence[Row]) -> set[str]:
    """Return the codes in use that have no row."""
    return set(used) - {row.code for row in rows}


def of_unknown_state(rows: Sequence[Row]) -> list[str]:
    """Return the codes of rows whose state is not one of the three."""
    return [row.code for row in rows if row.state not in STATES]


def unfounded(rows: Sequence[Row]) -> list[str]:
    """Return the codes of done rows that name no test, and of other rows that do not say what is missing."""
    return [row.code for row in rows if not (row.tests if row.state == "done" else row.basis)]


def missing_tests(rows: Sequence[Row], root: Path) -> list[str]:
    """Return the named tests that are not defined in their file."""
    return [
        f"{row.code}: {path}::{name}"
        for row in rows
        for path, name in row.tests
        if name not in defined_tests(root / path)
    ]


@cache
def defined_tests(path: Path) -> frozenset[str]:
    """Return the names of the test functions of a file, none if there is no such file."""
    if not path.is_file():
        return frozenset()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return frozenset(
        node.name for node in body if isinstance(node, functions) and node.name.startswith("test_")
    )


def codes_in_use() -> set[str]:
    """Return the codes that tracked text files contain, the page itself left out."""
    command = ["git", "grep", "-IohE", CODE, "--", ".", f":!{PAGE}"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return set(found.stdout.split())


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return rows_of((ROOT / PAGE).read_text(encoding="utf-8"))


def test_every_code_has_one_row(rows: list[Row]) -> None:
    assert miscounted(rows, FAMILIES) == set()


def test_every_code_in_use_has_a_row(rows: list[Row]) -> None:
    used = codes_in_use()
    assert len(used) > 50
    assert unexplained(used, rows) == set()


def test_every_state_is_known(rows: list[Row]) -> None:
    assert of_unknown_state(rows) == []


def test_every_done_row_names_tests_and_every_other_what_is_missing(rows: list[Row]) -> None:
    assert unfounded(rows) == []


def test_every_named_test_exists(rows: list[Row]) -> None:
    assert missing_tests(rows, ROOT) == []


SMALL = """
| code | requirement | state | tests, or what is missing |
|---|---|---|---|
| K-01 | Songs are kept. | done | `tests/test_songs.py::test_kept`, `tests/test_songs.py::test_kept_long` |
| K-02 | Songs are sung. | open | Nothing sings. |
"""


def changed(old: str, new: str) -> list[Row]:
    assert old in SMALL
    return rows_of(SMALL.replace(old, new))


def test_rows_are_read_from_their_table() -> None:
    first, second = rows_of(SMALL)
    assert first.tests == [("tests/test_songs.py", "test_kept"), ("tests/test_songs.py", "test_kept_long")]
    assert second == Row("K-02", "Songs are sung.", "open", "Nothing sings.")


def test_gaps_duplicates_and_codes_beyond_the_family_are_found() -> None:
    assert miscounted(rows_of(SMALL), {"K": 2}) == set()
    assert miscounted(rows_of(SMALL), {"K": 3}) == {"K-03"}
    assert miscounted(rows_of(SMALL), {"K": 1}) == {"K-02"}
    assert miscounted(changed("K-02", "K-01"), {"K": 2}) == {"K-01", "K-02"}


def test_code_without_a_row_is_found() -> None:
    assert unexplained(["K-01", "K-02"], rows_of(SMALL)) == set()
    assert unexplained(["K-01", "K-03"], rows_of(SMALL)) == {"K-03"}


def test_unknown_state_is_found() -> None:
    assert of_unknown_state(rows_of(SMALL)) == []
    assert of_unknown_state(changed("done", "finished")) == ["K-01"]


def test_done_row_without_a_test_and_open_row_without_a_clause_are_found() -> None:
    assert unfounded(rows_of(SMALL)) == []
    assert unfounded(changed("open", "done")) == ["K-02"]
    assert unfounded(changed("Nothing sings.", "")) == ["K-02"]


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("def test_kept(): ...\nasync def test_kept_long(): ...", []),
        ("def test_kept(): ...\n# def test_kept_long(): ...", ["test_kept_long"]),
        ("def test_kept(): ...\ndef outer():\n    def test_kept_long(): ...", ["test_kept_long"]),
        (None, ["test_kept", "test_kept_long"]),
    ],
)
def test_missing_file_or_function_is_found(tmp_path: Path, source: str | None, missing: list[str]) -> None:
    if source is not None:
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests/test_songs.py").write_text(source, encoding="utf-8")
    found = missing_tests(rows_of(SMALL), tmp_path)
    assert found == [f"K-01: tests/test_songs.py::{name}" for name in missing]


def test_cases_of_a_parametrized_test_are_not_named(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_songs.py").write_text("def test_kept(): ...\ndef test_kept_long(): ...")
    named = changed("test_kept_long", "test_kept_long[1]")
    assert missing_tests(named, tmp_path) == ["K-01: tests/test_songs.py::test_kept_long[1]"]
