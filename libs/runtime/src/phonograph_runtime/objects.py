"""The object store: a local folder, or S3, by its address."""

import asyncio
import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url
from pydantic import BaseModel, ValidationError

from phonograph_runtime.errors import PermanentError, StorageError, StorageFullError

M = TypeVar("M", bound=BaseModel)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class ObjectStore:
    """Keeps objects under keys and gives addresses that any consumer can open.

    Methods without a suffix are synchronous, for engines in their child process; those ending in
    `_async` keep an event loop free.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if self.url.startswith("file://"):
            folder = Path(url2pathname(urlsplit(self.url).path))
            folder.mkdir(parents=True, exist_ok=True)
            self._store: obstore.store.ObjectStore = LocalStore(folder, automatic_cleanup=True)
        else:
            self._store = from_url(self.url)

    def uri(self, key: str) -> str:
        """Address of the object with a key."""
        return f"{self.url}/{key}"

    def put(self, key: str, content: bytes | Path) -> str:
        """Store bytes or a file; give its address. Replaces what was there, never in part.

        Raises:
            StorageFullError: no room is left.
            StorageError: the store refused it, or cannot be reached.
        """
        with _in_our_words(self.uri(key)):
            obstore.put(self._store, key, content)
        return self.uri(key)

    def get(self, uri: str) -> bytes:
        """Read an object.

        Raises:
            PermanentError: `missing_object` (nothing there) or `foreign_object` (another store's address).
            StorageError: the store cannot be read.
        """
        key = self._key(uri)
        with _in_our_words(uri):
            return bytes(obstore.get(self._store, key).bytes())

    def document(self, uri: str, model: type[M]) -> M:
        """Read a JSON document. Raises as `get`, and `damaged_object` where it is not what it should be."""
        try:
            return model.model_validate_json(self.get(uri))
        except ValidationError as error:
            raise PermanentError(
                f"{uri} is damaged: it is not a whole {model.__name__}.", reason="damaged_object"
            ) from error

    @contextmanager
    def as_file(self, uri: str) -> Iterator[Path]:
        """An object as a local file, to be read in a `with` block. Raises as `get`, and StorageFullError."""
        local = self.local_path(uri)
        if local is not None:
            with _in_our_words(uri):
                local.stat()
            yield local
            return
        with tempfile.TemporaryDirectory(prefix="phonograph-") as folder:
            target = Path(folder) / Path(uri).name
            with _in_our_words(uri), target.open("wb") as file:
                for chunk in obstore.get(self._store, self._key(uri)).stream():
                    file.write(chunk)
            yield target

    def local_path(self, uri: str) -> Path | None:
        """The file behind an address of a local store; null for a remote one."""
        if not self.url.startswith("file://"):
            return None
        self._key(uri)
        return Path(url2pathname(urlsplit(uri).path))

    async def put_async(self, key: str, content: bytes | Path) -> str:
        """See `put`."""
        return await asyncio.to_thread(self.put, key, content)

    async def get_async(self, uri: str) -> bytes:
        """See `get`."""
        return await asyncio.to_thread(self.get, uri)

    def _key(self, uri: str) -> str:
        if not uri.startswith(f"{self.url}/"):
            raise PermanentError(f"{uri} does not lie in {self.url}.", reason="foreign_object")
        return unquote(uri.removeprefix(f"{self.url}/"))


@contextmanager
def _in_our_words(uri: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise PermanentError(f"Nothing is stored at {uri}.", reason="missing_object") from error
    except (OSError, BaseError) as error:
        # obstore tells the system's error number only in its message.
        said = str(error).partition("\n")[0]
        full = getattr(error, "errno", None) in _NO_ROOM or any(f"(os error {n})" in said for n in _NO_ROOM)
        if full:
            raise StorageFullError(f"No room is left for {uri}. Make some, then retry.") from error
        raise StorageError(f"The object store failed on {uri}: {said}") from error
