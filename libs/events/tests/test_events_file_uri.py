"""Conversion between `file://` URIs and local paths."""

import os
from pathlib import Path

import pytest

from phonograph_events import PermanentError, file_uri_to_path, require_path
from phonograph_events.file_uri import UNSUPPORTED_SCHEME


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///music/a.mp3", "/music/a.mp3"),
        ("file:///music/Night%20Drive.mp3", "/music/Night Drive.mp3"),
        ("file:///music/Gr%C3%BC%C3%9Fe.mp3", "/music/Grüße.mp3"),
        ("file:///music/100%25%2Fhalf.mp3", "/music/100%/half.mp3"),
        ("file:///music/take #1.mp3", "/music/take #1.mp3"),
        ("file:///music/why?.mp3", "/music/why?.mp3"),
        ("file:///music/take%20%231%3F.mp3", "/music/take #1?.mp3"),
        ("file://localhost/music/a.mp3", "/music/a.mp3"),
        ("FILE:///music/a.mp3", "/music/a.mp3"),
        ("file:///", "/"),
    ],
)
def test_local_file_uri_becomes_a_path(uri: str, path: str) -> None:
    assert file_uri_to_path(uri) == Path(path)
    assert require_path(uri) == Path(path)


def test_bytes_that_are_not_utf8_become_surrogate_escapes() -> None:
    path = file_uri_to_path("file:///music/caf%E9.mp3")
    assert path == Path("/music/caf\udce9.mp3")
    assert os.fsencode(path) == b"/music/caf\xe9.mp3"


@pytest.mark.parametrize(
    "name", [b"Night Drive.mp3", b"take #1?.mp3", b"100%.mp3", b"caf\xe9.mp3", "学.mp3".encode()]
)
def test_uri_of_a_path_becomes_the_same_path(name: bytes) -> None:
    path = Path("/music") / os.fsdecode(name)
    assert file_uri_to_path(path.as_uri()) == path


@pytest.mark.parametrize(
    "uri",
    [
        "file://other-host/music/a.mp3",
        "file://",
        "file://localhost",
        "file:/music/a.mp3",
        "s3://bucket/a.mp3",
        "http://localhost/a.mp3",
        "/music/a.mp3",
        "a.mp3",
        "",
    ],
)
def test_any_other_uri_is_refused_with_its_text(uri: str) -> None:
    assert file_uri_to_path(uri) is None
    with pytest.raises(PermanentError) as caught:
        require_path(uri)
    assert caught.value.reason == UNSUPPORTED_SCHEME == "unsupported_scheme"
    assert caught.value.message.startswith(f"{uri} is not a file:// URI")
