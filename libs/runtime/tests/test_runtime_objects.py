"""Objects: stored whole or not at all, read back or missed in a clear word."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from phonograph_runtime.errors import PermanentError, StorageError
from phonograph_runtime.objects import ObjectStore


class Note(BaseModel):
    text: str


@pytest.fixture(params=["file", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path.as_uri() if request.param == "file" else "memory:///")


def reason(caught: pytest.ExceptionInfo[PermanentError]) -> str:
    return caught.value.reason


def test_bytes_and_files_come_back(objects: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source.wav"
    source.write_bytes(b"sound")
    uri = objects.put("a folder/x.wav", source)
    assert objects.get(uri) == b"sound"
    with objects.as_file(uri) as path:
        assert path.read_bytes() == b"sound"
    assert objects.get(objects.put("a folder/x.wav", b"new")) == b"new"


def test_what_is_missing_or_foreign_is_said(objects: ObjectStore) -> None:
    with pytest.raises(PermanentError, match="Nothing is stored") as caught:
        objects.get(objects.uri("gone.json"))
    assert reason(caught) == "missing_object"
    with pytest.raises(PermanentError) as caught, objects.as_file(objects.uri("gone.wav")):
        pass
    assert reason(caught) == "missing_object"
    with pytest.raises(PermanentError) as caught:
        objects.get("s3://elsewhere/x.json")
    assert reason(caught) == "foreign_object"


def test_half_a_document_is_damaged(objects: ObjectStore) -> None:
    uri = objects.put("note.json", Note(text="whole").model_dump_json().encode())
    assert objects.document(uri, Note) == Note(text="whole")
    objects.put("note.json", objects.get(uri)[:9])
    with pytest.raises(PermanentError, match="not a whole Note") as caught:
        objects.document(uri, Note)
    assert reason(caught) == "damaged_object"


def test_store_that_refuses_is_worth_another_try(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path.as_uri())
    objects.put("a", b"a file, no folder")
    with pytest.raises(StorageError, match="/a/b"):
        objects.put("a/b", b"below it")
