"""Downloads over HTTP that resume where they broke off and always end."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from phonograph_models.errors import SourceError, SourceUnavailableError, TransferInterruptedError
from phonograph_models.source_port import ByteCounter

if TYPE_CHECKING:
    import requests

CONNECT_TIMEOUT_S = 5.0
STALL_TIMEOUT_S = 20.0
"""A transfer that delivers nothing for this time has broken off."""
ANSWER_WITHIN_S = 12.0
"""Limit of a first answer in all: an address may name many machines, and each has its own timeout."""
ATTEMPTS = 3
PARTIAL_SUFFIX = ".partial"
"""Ends the name of a file whose download is not complete."""
_CHUNK_BYTES = 1 << 20

T = TypeVar("T")


def open_session() -> "requests.Session":
    """Return a session that asks once more if a server has closed a connection that was kept open."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    adapter = HTTPAdapter(max_retries=Retry(total=None, connect=0, read=1, redirect=0, status=0, other=0))
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def answer_within(limit_s: float, question: Callable[[], T], server: str) -> T:
    """Return the answer to a question about a server, or fail when the time is up.

    Args:
        limit_s: Seconds after which the server counts as unreachable.
        question: Uses the network; runs in a thread of its own, which is left behind if it hangs.
        server: Name of the server for the message.

    Raises:
        SourceUnavailableError: If the server cannot be reached, or does not answer in time.
        SourceError: If the question raises it.
    """
    import requests

    answers: list[T] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            answers.append(question())
        except (SourceError, requests.RequestException) as error:
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(limit_s)
    if answers:
        return answers[0]
    if not errors:
        raise SourceUnavailableError(f"{server} does not answer within {limit_s:g} s.")
    if isinstance(errors[0], SourceError):
        raise errors[0]
    raise SourceUnavailableError(f"{server} cannot be reached ({_describe(errors[0])}).") from errors[0]


def count_from(start_bytes: int, total_bytes: int, count: ByteCounter) -> Callable[[int], None]:
    """Return a function that reports the bytes of one file as bytes of all files.

    Args:
        start_bytes: Size of the files before it.
        total_bytes: Size of all files.
        count: Called with the bytes that are done and the bytes in all.
    """
    return lambda arrived_bytes: count(start_bytes + arrived_bytes, total_bytes)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on a server."""

    session: "requests.Session"
    """Connections and their settings."""
    url: str
    size_bytes: int
    """Size that the file must have."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the request, such as a login."""

    @property
    def host(self) -> str:
        """The server, for messages."""
        return urlsplit(self.url).hostname or self.url


def download(file: RemoteFile, target: Path, arrived: Callable[[int], None]) -> None:
    """Download a file to its target, which gets its name when the last byte has arrived.

    Args:
        file: The file.
        target: Path of the complete file; what an interrupted download has left is continued.
        arrived: Called with the bytes of this file that are there.

    Raises:
        SourceError: If the server refuses the file, or sends more than expected.
        TransferInterruptedError: If the transfer broke off repeatedly.
        OSError: If the file cannot be written.
    """
    import requests

    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}{PARTIAL_SUFFIX}")
    reason = "the connection closes too early"
    for _attempt in range(ATTEMPTS):
        done_bytes = partial.stat().st_size if partial.exists() else 0
        if done_bytes < file.size_bytes:
            try:
                done_bytes = _append(file, partial, done_bytes, arrived)
            except requests.HTTPError as error:
                raise SourceError(f"{file.host} refuses {target.name} ({_describe(error)}).") from error
            except requests.RequestException as error:
                reason = _describe(error)
                continue
        if done_bytes > file.size_bytes:
            raise SourceError(f"{file.host} sends more than the {file.size_bytes} bytes of {target.name}.")
        if done_bytes == file.size_bytes:
            partial.replace(target)
            return
    raise TransferInterruptedError(
        f"The transfer of {target.name} from {file.host} broke off ({reason}); the same command continues it."
    )


def _append(file: RemoteFile, partial: Path, done_bytes: int, arrived: Callable[[int], None]) -> int:
    """Append what is missing to a partial file and return its size."""
    # The size is that of the file, not of a compressed transfer.
    headers = {**file.headers, "Accept-Encoding": "identity"}
    if done_bytes:
        headers["Range"] = f"bytes={done_bytes}-"
    timeouts = (CONNECT_TIMEOUT_S, STALL_TIMEOUT_S)
    with file.session.get(file.url, headers=headers, stream=True, timeout=timeouts) as answer:
        answer.raise_for_status()
        if not answer.headers.get("Content-Range", "").startswith(f"bytes {done_bytes}-"):
            done_bytes = 0  # the server sends the whole file
        with partial.open("ab" if done_bytes else "wb") as output:
            for chunk in answer.iter_content(_CHUNK_BYTES):
                output.write(chunk)
                done_bytes += len(chunk)
                arrived(done_bytes)
    return done_bytes


def _describe(error: BaseException) -> str:
    """Return a few words about a failed request: the messages of its libraries are long and nested."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if "resolve" in str(error):
        return "its name cannot be resolved"
    words = {
        requests.exceptions.ProxyError: "the proxy fails",
        requests.exceptions.SSLError: "its certificate cannot be verified",
        requests.Timeout: "it does not answer in time",
        requests.ConnectionError: "the connection fails",
    }
    return next((text for kind, text in words.items() if isinstance(error, kind)), type(error).__name__)
