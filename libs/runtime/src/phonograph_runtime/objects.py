"""The object store: a local folder, or S3, by its address."""

import asyncio
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import obstore
from obstore.store import LocalStore, from_url

from phonograph_runtime.errors import PermanentError


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
        """Store bytes or a file; give its address. Replaces what was there, never in part."""
        obstore.put(self._store, key, content)
        return self.uri(key)

    def get(self, uri: str) -> bytes:
        """Read an object.

        Raises:
            PermanentError: `missing_object` (nothing there) or `foreign_object` (another store's address).
        """
        try:
            return bytes(obstore.get(self._store, self._key(uri)).bytes())
        except FileNotFoundError as error:
            raise PermanentError(f"Nothing is stored at {uri}.", reason="missing_object") from error

    def fetch(self, uri: str, target: Path) -> None:
        """Copy an object into a local file without holding it in memory. Raises as `get`."""
        local = self.local_path(uri)
        if local is not None:
            try:
                shutil.copyfile(local, target)
            except FileNotFoundError as error:
                raise PermanentError(f"Nothing is stored at {uri}.", reason="missing_object") from error
            return
        with target.open("wb") as file:
            for chunk in obstore.get(self._store, self._key(uri)).stream():
                file.write(chunk)

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
