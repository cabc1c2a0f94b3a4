"""Tests and files that the documentation refers to exist."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.support.stack import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "schemas" / "README.md"]


def test_every_test_named_in_the_delivery_guarantees_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")))
    found = subprocess.run(
        ["git", "grep", "-hoE", r"def test_\w+", "--", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert named
    assert named - {line.removeprefix("def ") for line in found.stdout.splitlines()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_has_an_existing_target(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
