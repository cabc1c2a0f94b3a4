"""A media file as it was read, and the outcome of its request."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes
from uuid import UUID, uuid5

from phonograph_events import Chapter, DuplicateKind, MediaKind, MediaRef, Stream, file_uri_to_path
from phonograph_ingest.constants import REJECTED_NAMESPACE
from phonograph_ingest.exceptions import RejectedError


@dataclass(frozen=True, slots=True)
class RequestedMedia:
    """A recording that is not read yet: the subject of an ingest job."""

    media_id: UUID
    """Id of the recording if it proves to be new."""
    owner: str | None
    priority: int


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A media file as it was read."""

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
    """Fingerprint of the decoded audio."""
    is_silent: bool
    """Whether the audio is digital silence, whose fingerprint does not identify a recording."""
    container: str
    bit_rate: int | None
    """Bits per second of the whole file."""
    audio: Stream
    video: Stream | None
    chapters: tuple[Chapter, ...]
    tags: dict[str, list[str]]
    """Names in lower case."""
    rendition_uri: str
    warnings: tuple[str, ...]
    preprocessing_s: float
    """Time for probing, hashing and decoding."""


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file that is not accepted, and why."""

    uri: str
    file_name: str
    reason: str
    """Reason code."""
    message: str


@dataclass(frozen=True, slots=True)
class RegisteredMedia:
    """A recording in the registry."""

    media: MediaRef
    """The new file, or the earlier one that it duplicates."""
    duplicate: DuplicateKind | None
    """None if the file is new."""


def require_local_path(uri: str) -> Path:
    """Return the normalized path of a requested URI, which may also be an absolute path.

    Raises:
        RejectedError: With reason `unsupported_scheme`, `relative_path` or `bad_name`.
    """
    name = uri
    if "://" in uri:
        path = file_uri_to_path(uri)
        if path is None:
            raise RejectedError(
                f"{uri} is not a file on this machine; use an absolute path or a file:// URI.",
                reason="unsupported_scheme",
            )
        name = str(path)
    if "\x00" in name or not _is_utf8(name):
        raise RejectedError(
            f"The name of {display_name(name)!r} is not valid UTF-8; rename the file.", reason="bad_name"
        )
    if not name.startswith("/"):
        raise RejectedError(f"{name!r} is not an absolute path; use the whole path.", reason="relative_path")
    return Path(os.path.normpath(name))


def canonical_uri(uri: str) -> str:
    """Return a local path or file URI in its one canonical spelling, and any other URI unchanged."""
    try:
        return require_local_path(uri).as_uri()
    except RejectedError:
        return uri


def display_name(uri: str) -> str:
    """Return the last component of a path or URI as printable text, at most 255 characters long.

    Bytes that are not UTF-8 and NUL characters are shown as in a URI, as in `%FF`.
    """
    path = unquote_to_bytes(uri) if uri.lower().startswith("file://") else os.fsencode(uri)
    name = path.rstrip(b"/").rpartition(b"/")[2].decode(errors="surrogateescape")
    return "".join(f"%{ord(char) & 0xFF:02X}" if _is_raw_byte(char) else char for char in name)[:255] or "/"


def _is_raw_byte(char: str) -> bool:
    return char == "\x00" or "\udc80" <= char <= "\udcff"


def rejected_id(owner: str | None, uri: str) -> UUID:
    """Return the id of the rejection of a file, which is the same for each request of it."""
    return uuid5(REJECTED_NAMESPACE, f"{owner or ''}|{uri}")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
