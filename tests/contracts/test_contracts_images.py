"""Each image contains every package of the project that its program imports."""

import re
import tomllib
from pathlib import Path

import pytest
from tests.support.stack import ROOT

MEMBERS = {
    tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"]: folder
    for folder in sorted([*(ROOT / "libs").iterdir(), *(ROOT / "services").iterdir()])
    if (folder / "pyproject.toml").is_file()
}
IMAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*/Dockerfile"))


def dependencies(folder: Path) -> set[Path]:
    """Return the folders of a package and of those that it depends on."""
    listed = tomllib.loads((folder / "pyproject.toml").read_text())["project"].get("dependencies", [])
    names = {re.split(r"[\[<>=! ]", each)[0] for each in listed}
    own = {MEMBERS[name] for name in names if name in MEMBERS}
    return {folder}.union(*(dependencies(each) for each in own))


@pytest.mark.parametrize("image", IMAGES)
def test_image_has_all_packages_of_its_program(image: str) -> None:
    text = (ROOT / image).read_text()
    copied = set(re.findall(r"^COPY (\S+/\S+) \1$", text, re.MULTILINE))
    expected = {folder.relative_to(ROOT).as_posix() for folder in dependencies((ROOT / image).parent)}
    assert {path for path in copied if path.startswith(("libs/", "services/"))} == expected
    (built,) = re.findall(r"--wheel-dir wheels \\\n\s+(.*)", text)
    assert set(built.split()) == expected


def test_every_service_and_the_command_line_have_an_image() -> None:
    services = {path.parent.name for path in (ROOT / "services").glob("*/Dockerfile")}
    assert services == {path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml")}
    assert "libs/cli/Dockerfile" in IMAGES
