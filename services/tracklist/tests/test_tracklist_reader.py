"""Cue files found in real folders."""

from pathlib import Path

import pytest

from phonograph_events import MediaRef, uuid7
from phonograph_events.documents import TracklistDocument
from phonograph_runtime.objects import ObjectStore
from phonograph_tracklist.constants import MAX_CUE_BYTES
from phonograph_tracklist.domain.catalogue import Catalogued, CatalogueTask
from phonograph_tracklist.files.reader import LocalCatalogueReader

CUE = 'FILE "mix.mp3" MP3\nTRACK 01 AUDIO\nTITLE "Нас не догонят"\nINDEX 01 00:00:00\n'


def read(uri: str, file_name: str, folder: Path) -> Catalogued:
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
    task = CatalogueTask(media=media, tags={"artist": ["A"], "title": ["T"]}, chapters=[])
    return LocalCatalogueReader(ObjectStore((folder / "objects").as_uri())).read(task, lambda *_: None)


@pytest.mark.parametrize(
    ("file_name", "cue_name"),
    [("mix.mp3", "mix.cue"), ("mix.mp3", "MIX.Cue"), ("mix.mp3", "mix.mp3.cue"), ("mix.mp3", "set.cue")],
)
def test_cue_files_beside(tmp_path: Path, file_name: str, cue_name: str) -> None:
    (tmp_path / file_name).touch()
    (tmp_path / cue_name).write_bytes(CUE.encode("cp1251"))
    found = read((tmp_path / file_name).as_uri(), file_name, tmp_path)
    assert found.document_uri is not None
    document = TracklistDocument.model_validate_json(
        Path(found.document_uri.removeprefix("file://")).read_bytes()
    )
    assert [track.title for track in document.tracks] == ["Нас не догонят"]
    assert found.modified_at is not None


def test_folder_name_counts_for_the_length(tmp_path: Path) -> None:
    folder = tmp_path / ("f" * 250)
    folder.mkdir()
    (folder / "x.mp3").touch()
    assert read((folder / "x.mp3").as_uri(), "x.mp3", tmp_path).proposal is None
    assert read((tmp_path / "x.mp3").as_uri(), "x.mp3", tmp_path).proposal is not None


def test_what_is_no_cue_sheet(tmp_path: Path) -> None:
    (tmp_path / "mix.cue").mkdir()
    (tmp_path / "mix.mp3.cue").write_bytes(b" " * (MAX_CUE_BYTES + 5))
    found = read((tmp_path / "mix.mp3").as_uri(), "mix.mp3", tmp_path)
    assert (found.finding.reason, found.document_uri) == ("bad_cue", None)
    assert "at most" in found.finding.warnings[0]


@pytest.mark.parametrize("uri", ["file:///nowhere/at/all/mix.mp3", "s3://bucket/mix.mp3"])
def test_folder_out_of_reach(tmp_path: Path, uri: str) -> None:
    found = read(uri, "mix.mp3", tmp_path)
    assert (found.finding.reason, found.modified_at) == ("no_tracklist", None)
    assert found.proposal is not None
