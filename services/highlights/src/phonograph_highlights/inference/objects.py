"""Where recordings are read and results are put."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import UUID

from phonograph_events import MediaRef, uuid7
from phonograph_highlights.exceptions import HighlightsError


def document_key(media_id: UUID) -> str:
    """A fresh key for a result document."""
    return f"results/{media_id}/highlights/{uuid7()}.json"


def original(media: MediaRef) -> Path:
    """The file itself.

    Raises:
        HighlightsError: `unsupported_address`, it does not lie on this machine.
    """
    parts = urlsplit(media.uri)
    if parts.scheme != "file":
        raise HighlightsError(
            f"{media.file_name} lies at {media.uri}; only local files can be cut.",
            reason="unsupported_address",
        )
    return Path(url2pathname(parts.path))
