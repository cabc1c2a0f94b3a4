"""Golden files: expected values as JSON under the `tests/data` of each member.

Fixture:
    golden: `Golden`; `golden.check(path, value)` compares a value with the file at a path.
    `pytest --update-test-data` writes the files instead; read the difference before committing it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Golden:
    """Compares values with the files that hold what is expected."""

    update: bool
    """True if the files are written from the values."""

    def check(self, path: Path, value: Any) -> None:
        """Assert that a value equals the JSON document at `path`."""
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert json.loads(text) == json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(update=request.config.getoption("--update-test-data"))
