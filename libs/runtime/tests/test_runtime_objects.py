"""The object store: objects are written completely or not at all, and each failure has its reason."""

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


def test_stored_bytes_and_files_can_be_read(objects: ObjectStore, tmp_path: Path) -> None:
    source = tmp_path / "source.wav"
    source.write_bytes(b"sound")
    uri = objects.put("a folder/x.wav", source)
    assert objects.get(uri) == b"sound"
    with objects.as_file(uri) as path:
        assert path.read_bytes() == b"sound"
    assert objects.get(objects.put("a folder/x.wav", b"new")) == b"new"


def test_missing_and_foreign_objects_have_their_reasons(objects: ObjectStore) -> None:
    with pytest.raises(PermanentError, match="Nothing is stored") as caught:
        objects.get(objects.uri("gone.json"))
    assert reason(caught) == "missing_object"
    with pytest.raises(PermanentError) as caught, objects.as_file(objects.uri("gone.wav")):
        pass
    assert reason(caught) == "missing_object"
    with pytest.raises(PermanentError) as caught:
        objects.get("s3://elsewhere/x.json")
    assert reason(caught) == "foreign_object"


def test_truncated_document_is_damaged(objects: ObjectStore) -> None:
    uri = objects.put("note.json", Note(text="whole").model_dump_json().encode())
    assert objects.document(uri, Note) == Note(text="whole")
    objects.put("note.json", objects.get(uri)[:9])
    with pytest.raises(PermanentError, match="not a whole Note") as caught:
        objects.document(uri, Note)
    assert reason(caught) == "damaged_object"


def test_failed_write_is_a_storage_error(tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path.as_uri())
    objects.put("a", b"a file, not a folder")
    with pytest.raises(StorageError, match="/a/b"):
        objects.put("a/b", b"content")


def test_everything_below_a_prefix_is_deleted_and_nothing_else(objects: ObjectStore) -> None:
    kept = objects.put("people/12/a.json", b"kept")
    gone = [objects.put(key, b"gone") for key in ("people/1/a.json", "people/1/b/c.json")]
    objects.delete_below("people/1")
    objects.delete_below("people/none")
    assert objects.get(kept) == b"kept"
    for uri in gone:
        with pytest.raises(PermanentError) as caught:
            objects.get(uri)
        assert reason(caught) == "missing_object"
