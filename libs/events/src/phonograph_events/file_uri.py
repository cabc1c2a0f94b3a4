"""Conversion between `file://` URIs and local paths."""

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

from phonograph_events.errors import PermanentError

UNSUPPORTED_SCHEME = "unsupported_scheme"
"""Reason code for a URI that is not a local file."""


def file_uri_to_path(uri: str) -> Path | None:
    """Return the path of a `file://` URI on this machine, or None for any other URI.

    Bytes that are not UTF-8 are kept with surrogate escapes, as `os.fsdecode` does.
    """
    scheme, separator, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    if not separator or not slash or scheme.lower() != "file" or host not in {"", "localhost"}:
        return None
    return Path(os.fsdecode(unquote_to_bytes(f"/{path}")))


def require_path(uri: str) -> Path:
    """Return the path of a `file://` URI on this machine.

    Raises:
        PermanentError: With reason `unsupported_scheme` if the URI is not a local file.
    """
    path = file_uri_to_path(uri)
    if path is None:
        raise PermanentError(
            f"{uri} is not a file:// URI on this machine; only local files are supported.",
            reason=UNSUPPORTED_SCHEME,
        )
    return path
