"""The engine on real folders."""

import os
from pathlib import Path

import pytest

from phonograph_events import MediaRef, uuid7
from phonograph_events.documents import TracklistDocument
from phonograph_runtime.objects import ObjectStore
from phonograph_tracklist.constants import MAX_CUE_BYTES
from phonograph_tracklist.domain.results import CatalogResult
from phonograph_tracklist.domain.tasks import TracklistTask
from phonograph_tracklist.inference.engine import TracklistEngine

CUE = 'FILE "mix.mp3" MP3\nTRACK 01 AUDIO\nTITLE "Нас не догонят"\nINDEX 01 00:00:00\n'


def run_engine(uri: str, file_name: str, folder: Path) -> CatalogResult:
    media = MediaRef.model_validate(
        {
            "media_id": uuid7(),
            "uri": uri,
            "file_name": file_name,
            "file_size": 1,
            "kind": "audio",
            "mime_type": "audio/mpeg",
            "duration_s": 60.0,
            "file_hash": "a",
            "secondary_hash": "b",
            "content_fp": "c",
            "rendition_uri": "d",
        }
    )
    task = TracklistTask(media=media, tags={"artist": ["A"], "title": ["T"]}, chapters=[])
    engine = TracklistEngine(ObjectStore((folder / "objects").as_uri()))
    return engine.find_tracklist(task, lambda *_: None)


@pytest.mark.parametrize(
    ("file_name", "cue_name"),
    [("mix.mp3", "mix.cue"), ("mix.mp3", "MIX.Cue"), ("mix.mp3", "mix.mp3.cue"), ("mix.mp3", "set.cue")],
)
def test_cue_file_in_the_same_folder_is_found(tmp_path: Path, file_name: str, cue_name: str) -> None:
    (tmp_path / file_name).touch()
    (tmp_path / cue_name).write_bytes(CUE.encode("cp1251"))
    result = run_engine((tmp_path / file_name).as_uri(), file_name, tmp_path)
    assert result.document_uri is not None
    document = TracklistDocument.model_validate_json(
        Path(result.document_uri.removeprefix("file://")).read_bytes()
    )
    assert [track.title for track in document.tracks] == ["Нас не догонят"]
    assert result.modified_at is not None


def test_folder_name_need_not_be_utf_8(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "mix.mp3").touch()
    (folder / "mix.cue").write_text(CUE)
    result = run_engine((folder / "mix.mp3").as_uri(), "mix.mp3", tmp_path)
    assert result.search.tracklist is not None


def test_folder_name_limits_the_length_of_the_proposed_name(tmp_path: Path) -> None:
    folder = tmp_path / ("f" * 250)
    folder.mkdir()
    (folder / "x.mp3").touch()
    assert run_engine((folder / "x.mp3").as_uri(), "x.mp3", tmp_path).proposal is None
    assert run_engine((tmp_path / "x.mp3").as_uri(), "x.mp3", tmp_path).proposal is not None


def test_directory_is_skipped_and_oversized_file_is_a_bad_cue_sheet(tmp_path: Path) -> None:
    (tmp_path / "mix.cue").mkdir()
    (tmp_path / "mix.mp3.cue").write_bytes(b" " * (MAX_CUE_BYTES + 5))
    result = run_engine((tmp_path / "mix.mp3").as_uri(), "mix.mp3", tmp_path)
    assert (result.search.reason, result.document_uri) == ("bad_cue", None)
    assert "at most" in result.search.warnings[0]


@pytest.mark.parametrize("uri", ["file:///nowhere/at/all/mix.mp3", "s3://bucket/mix.mp3"])
def test_name_is_proposed_even_if_the_folder_cannot_be_read(tmp_path: Path, uri: str) -> None:
    result = run_engine(uri, "mix.mp3", tmp_path)
    assert (result.search.reason, result.modified_at) == ("no_tracklist", None)
    assert result.proposal is not None


def test_proposed_name_is_not_that_of_an_existing_file(tmp_path: Path) -> None:
    for name in ("x.mp3", "a - t.MP3", "A - T (2).mp3", "unrelated.mp3"):
        (tmp_path / name).touch()
    result = run_engine((tmp_path / "x.mp3").as_uri(), "x.mp3", tmp_path)
    assert result.proposal is not None
    assert result.proposal.proposed_filename == "A - T (3).mp3"
    assert result.taken_names == {"a - t.mp3", "a - t (2).mp3"}
