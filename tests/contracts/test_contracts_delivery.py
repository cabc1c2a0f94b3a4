"""The tests, settings and commands that docs/delivery.md names exist."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from phonograph_cli.main import app
from phonograph_runtime.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")


def test_every_named_test_exists() -> None:
    sources = [
        path for folder in ("libs", "services", "tests") for path in (ROOT / folder).rglob("test_*.py")
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    defined = set(re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE))
    named = set(re.findall(r"`(test_\w+?[a-z]\w+)`", PAGE))
    assert len(named) > 20
    assert named - defined == set()


def test_every_retention_period_is_named_with_its_setting_and_default() -> None:
    rows = re.findall(r"`SERVICE_(KEEP_\w+)` \| (\d+) days", PAGE)
    ages = {
        name.upper(): str(field.default.days)
        for name, field in ServiceSettings.model_fields.items()
        if name.startswith("keep_")
    }
    assert dict(rows) == ages


@pytest.mark.parametrize("group", ["dlq", "jobs", "topics", "graph"])
def test_every_named_command_exists(group: str) -> None:
    commands = get_command(app).commands[group].commands
    named = set(re.findall(rf"`(?:phonograph )?{group} (\w+)", PAGE))
    assert named
    assert named <= commands.keys()
