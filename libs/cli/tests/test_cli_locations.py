"""A path as a user types it becomes a URI that a service can open."""

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import pytest

from phonograph_cli.locations import printable, to_uri


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("/music/Night Drive.mp3", "file:///music/Night%20Drive.mp3"),
        ("/music/100% #1?.mp3", "file:///music/100%25%20%231%3F.mp3"),
        ("/music/a%20b.mp3", "file:///music/a%2520b.mp3"),
        ("/music/../talks/./q.wav", "file:///talks/q.wav"),
        ("/music/Ça.mp3", "file:///music/%C3%87a.mp3"),
        ("file:///music/Night%20Drive.mp3", "file:///music/Night%20Drive.mp3"),
        ("s3://bucket/Night%20Drive.mp3", "s3://bucket/Night%20Drive.mp3"),
    ],
)
def test_path_becomes_an_absolute_uri(typed: str, expected: str) -> None:
    assert to_uri(typed) == expected


def test_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert to_uri("~/mix.mp3") == "file:///home/ann/mix.mp3"
    assert to_uri("/music/~/mix.mp3") == "file:///music/~/mix.mp3"


def test_relative_path_starts_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert to_uri("mix.mp3") == (tmp_path / "mix.mp3").as_uri()


def test_symbolic_link_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "there.mp3").touch()
    (tmp_path / "here.mp3").symlink_to(tmp_path / "there.mp3")
    assert to_uri(str(tmp_path / "here.mp3")).endswith("/here.mp3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\nb\t.mp3", r"a\nb\t.mp3"),
        ("\x1b[2Jü\u2028.mp3", r"\x1b[2Jü\u2028.mp3"),
        ("caf\udce9", "caf\ufffd"),
        ("a\u202e3pm.exe", r"a\u202e3pm.exe"),
        ("שלום 👩\u200d👧", "שלום 👩\u200d👧"),
    ],
)
def test_printed_name_is_one_line_without_control_characters(name: str, expected: str) -> None:
    assert printable(name) == expected


def test_name_that_is_not_utf_8_keeps_its_bytes() -> None:
    typed = os.fsdecode(b"/music/caf\xe9.mp3")
    assert to_uri(typed) == "file:///music/caf%E9.mp3"
    assert unquote_to_bytes(urlsplit(to_uri(typed)).path) == b"/music/caf\xe9.mp3"
