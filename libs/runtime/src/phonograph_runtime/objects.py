"""The object store: a local folder or S3."""

import asyncio
import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url
from pydantic import BaseModel, ValidationError

from phonograph_events import Service, file_uri_to_path, uuid7
from phonograph_runtime.errors import PermanentError, StorageError, StorageFullError

M = TypeVar("M", bound=BaseModel)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def result_key(media_id: UUID, service: Service) -> str:
    """Return a new key, without a suffix, for a result of a service."""
    return f"results/{media_id}/{service.value}/{uuid7()}"


def person_prefix(person_id: UUID) -> str:
    """Return the prefix of the keys of everything that is stored about a person."""
    return f"people/{person_id}"


class ObjectStore:
    """Stores objects under keys and returns URIs that any consumer can open.

    Methods without a suffix block, for engines in their child process; those ending in `_async` do not.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        folder = file_uri_to_path(self.url)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._store: obstore.store.ObjectStore = LocalStore(folder, automatic_cleanup=True)
        else:
            self._store = from_url(self.url)

    def uri(self, key: str) -> str:
        """Return the URI of the object with a key."""
        return f"{self.url}/{key}"

    def put(self, key: str, content: bytes | Path) -> str:
        """Store bytes or a file, replacing the whole object; return its URI.

        Raises:
            StorageFullError: If no space is left.
            StorageError: If the store refuses it or cannot be reached.
        """
        with _converted_errors(self.uri(key)):
            obstore.put(self._store, key, content)
        return self.uri(key)

    def get(self, uri: str) -> bytes:
        """Read an object.

        Raises:
            PermanentError: With reason `missing_object`, or `foreign_object` for a URI of another store.
            StorageError: If the store cannot be read.
        """
        key = self._key(uri)
        with _converted_errors(uri):
            return bytes(obstore.get(self._store, key).bytes())

    def document(self, uri: str, model: type[M]) -> M:
        """Read a JSON document. Raises as `get`, and with reason `damaged_object` if it is invalid."""
        try:
            return model.model_validate_json(self.get(uri))
        except ValidationError as error:
            raise PermanentError(
                f"{uri} is damaged: it is not a whole {model.__name__}.", reason="damaged_object"
            ) from error

    @contextmanager
    def as_file(self, uri: str) -> Iterator[Path]:
        """Yield a local file with the content of an object. Raises as `get`, and StorageFullError."""
        local = self.local_path(uri)
        if local is not None:
            with _converted_errors(uri):
                local.stat()
            yield local
            return
        with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
            target = Path(folder) / Path(uri).name
            with _converted_errors(uri), target.open("wb") as file:
                for chunk in obstore.get(self._store, self._key(uri)).stream():
                    file.write(chunk)
            yield target

    def local_path(self, uri: str) -> Path | None:
        """Return the file of an object in a local store, or None for a remote store."""
        self._key(uri)
        return file_uri_to_path(uri)

    def delete_below(self, prefix: str) -> None:
        """Delete every object whose key begins with a prefix and a slash. Raises `StorageError`."""
        with _converted_errors(self.uri(prefix)):
            keys = [each["path"] for batch in obstore.list(self._store, prefix) for each in batch]
            if keys:
                obstore.delete(self._store, keys)

    async def delete_below_async(self, prefix: str) -> None:
        """See `delete_below`."""
        await asyncio.to_thread(self.delete_below, prefix)

    async def put_async(self, key: str, content: bytes | Path) -> str:
        """See `put`."""
        return await asyncio.to_thread(self.put, key, content)

    async def get_async(self, uri: str) -> bytes:
        """See `get`."""
        return await asyncio.to_thread(self.get, uri)

    def _key(self, uri: str) -> str:
        if not uri.startswith(f"{self.url}/"):
            raise PermanentError(f"{uri} is not in the object store {self.url}.", reason="foreign_object")
        return unquote(uri.removeprefix(f"{self.url}/"))


@contextmanager
def _converted_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise PermanentError(f"Nothing is stored at {uri}.", reason="missing_object") from error
    except (OSError, BaseError) as error:
        # obstore reports the number of the system error only in its message.
        message = str(error).partition("\n")[0]
        full = getattr(error, "errno", None) in _NO_SPACE or any(
            f"(os error {n})" in message for n in _NO_SPACE
        )
        if full:
            raise StorageFullError(f"No space is left for {uri}. Free some, then retry.") from error
        raise StorageError(f"The object store failed on {uri}: {message}") from error
