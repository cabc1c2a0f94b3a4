"""URIs of files: which are accepted, which are rejected, and how names are displayed."""

from pathlib import Path

import pytest

from phonograph_ingest.domain.media import canonical_uri, display_name, rejected_id, require_local_path
from phonograph_ingest.exceptions import RejectedError


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/music/a.mp3", "/music/a.mp3"),
        ("file:///music/Night%20Drive.mp3", "/music/Night Drive.mp3"),
        ("FILE:///music/a.mp3", "/music/a.mp3"),
        ("file://localhost/music/a.mp3", "/music/a.mp3"),
        ("/music/../music//./a.mp3", "/music/a.mp3"),
        ("file:///music/100%25.mp3", "/music/100%.mp3"),
        ("/music/100%25.mp3", "/music/100%25.mp3"),
        ("file:///music/what%3F%23.mp3", "/music/what?#.mp3"),
        ("/music/Björk.mp3", "/music/Björk.mp3"),
    ],
)
def test_paths_are_normalized(uri: str, path: str) -> None:
    """Paths and file URIs become absolute paths without `.`, `..` and percent codes (T0-39)."""
    assert require_local_path(uri) == Path(path)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("https://example.org/a.mp3", "unsupported_scheme"),
        ("s3://bucket/a.mp3", "unsupported_scheme"),
        ("file://nas/music/a.mp3", "unsupported_scheme"),
        ("music/a.mp3", "relative_path"),
        ("~/a.mp3", "relative_path"),
        ("file:///music/%FF.mp3", "bad_name"),
        ("/music/\udcff.mp3", "bad_name"),
        ("/music/a\x00.mp3", "bad_name"),
        ("file:///music/a%00.mp3", "bad_name"),
    ],
)
def test_other_uris_are_rejected_with_a_reason_and_a_sentence(uri: str, reason: str) -> None:
    with pytest.raises(RejectedError) as caught:
        require_local_path(uri)
    assert caught.value.reason == reason
    assert caught.value.message.endswith(".")
    assert display_name(uri).encode()


def test_spellings_of_one_path_have_one_canonical_uri_and_one_rejected_id() -> None:
    spellings = {"/music/Night Drive.mp3", "file:///music/Night%20Drive.mp3", "/music/./Night Drive.mp3"}
    assert {canonical_uri(uri) for uri in spellings} == {"file:///music/Night%20Drive.mp3"}
    assert rejected_id(None, "file:///a") == rejected_id(None, "file:///a") != rejected_id("me", "file:///a")


@pytest.mark.parametrize(
    ("uri", "name"),
    [("/music/a.mp3", "a.mp3"), ("file:///music/%FF.mp3", "%FF.mp3"), ("/music/", "music"), ("/", "/")],
)
def test_names_are_displayed_whatever_bytes_they_contain(uri: str, name: str) -> None:
    assert display_name(uri) == name
