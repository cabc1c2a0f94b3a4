"""A file as it was read, and what became of the request for it."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit
from uuid import UUID, uuid5

from phonograph_events import Chapter, DuplicateKind, MediaKind, MediaRef, Stream
from phonograph_ingest.constants import REJECTED_NAMESPACE
from phonograph_ingest.exceptions import RejectedError


@dataclass(frozen=True, slots=True)
class Intake:
    """Everything one look at a file gives."""

    uri: str
    file_name: str
    file_size: int
    """Bytes."""
    file_hash: str
    """SHA-256, hexadecimal."""
    secondary_hash: str
    """XXH3-128, hexadecimal."""
    mime_type: str
    kind: MediaKind
    duration_s: float
    content_fp: str
    silent: bool
    """Nothing but digital silence: such a sound does not tell two files apart."""
    container: str
    bit_rate: int | None
    audio: Stream
    video: Stream | None
    chapters: tuple[Chapter, ...]
    tags: dict[str, list[str]]
    rendition_uri: str
    warnings: tuple[str, ...]
    preprocessing_s: float


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a file cannot be taken in."""

    uri: str
    file_name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Registered:
    """A file in the registry: new, or known by its bytes or by its sound."""

    media: MediaRef
    duplicate: DuplicateKind | None


def local_path(uri: str) -> Path:
    """The file behind a request's address.

    Raises:
        RejectedError: `unsupported_scheme`, `relative_path` or `bad_name`.
    """
    scheme, separator, _ = uri.partition("://")
    if separator and scheme.lower() != "file":
        raise RejectedError(
            f"Addresses with {scheme}:// are not supported; give a local path or a file:// address.",
            reason="unsupported_scheme",
        )
    if separator:
        parts = urlsplit(uri)
        if parts.netloc not in {"", "localhost"}:
            raise RejectedError(
                f"{uri} lies on another machine; give a local file.", reason="unsupported_scheme"
            )
        name = os.fsdecode(unquote_to_bytes(uri.partition("://")[2].removeprefix(parts.netloc)))
    else:
        name = uri
    if "\x00" in name or not _is_utf8(name):
        raise RejectedError(
            f"The name of {display_name(name)!r} is not valid UTF-8; rename the file.", reason="bad_name"
        )
    if not name.startswith("/"):
        raise RejectedError(f"{name!r} is not an absolute path; give the whole path.", reason="relative_path")
    return Path(os.path.normpath(name))


def canonical_uri(uri: str) -> str:
    """One spelling for each address: a local path as `file://`, the rest as it came."""
    try:
        return local_path(uri).as_uri()
    except RejectedError:
        return uri


def display_name(uri: str) -> str:
    """The last part of an address, readable whatever bytes it holds."""
    path = unquote_to_bytes(uri) if uri.lower().startswith("file://") else os.fsencode(uri)
    return (
        path.rstrip(b"/").rpartition(b"/")[2].decode(errors="replace").replace("\x00", "\ufffd")[:255] or "/"
    )


def rejected_id(owner: str | None, uri: str) -> UUID:
    """The same id for every rejection of one address."""
    return uuid5(REJECTED_NAMESPACE, f"{owner or ''}|{uri}")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
