"""The Hugging Face hub as a source of models."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

from typing_extensions import override

from phonograph_models.catalog import Model
from phonograph_models.errors import SourceError, SourceUnavailableError
from phonograph_models.source_port import ByteCounter, DeliveredFile, ModelSource
from phonograph_models.transfer import (
    ANSWER_WITHIN_S,
    CONNECT_TIMEOUT_S,
    RemoteFile,
    answer_within,
    count_from,
    download,
    open_session,
)


class HubSource(ModelSource):
    """Fetches the files of a repository; `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` apply."""

    label = "the Hugging Face hub"

    def __init__(self, endpoint: str | None = None, token: str | None = None) -> None:
        """Create the source.

        Args:
            endpoint: Address of the hub; that of the environment if None.
            token: Token of the user; the one that the user has stored if None.
        """
        self._endpoint = endpoint
        self._token = token
        self._unavailable: SourceUnavailableError | None = None

    @override
    def offers(self, model: Model) -> bool:
        return model.repository is not None

    @override
    def deliver(self, model: Model, folder: Path, count: ByteCounter) -> tuple[DeliveredFile, ...]:
        from huggingface_hub import constants, get_token

        if self._endpoint is None and constants.HF_HUB_OFFLINE:
            raise SourceUnavailableError("The Hugging Face hub is not asked: HF_HUB_OFFLINE is set.")
        endpoint = self._endpoint or constants.ENDPOINT
        token = self._token or get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with open_session() as session:
            listing = self._list(session, f"{endpoint}/api/models/{model.repository}", model, headers)
            files = _select(model, listing["siblings"])
            total_bytes = sum(file["size"] for file in files)
            base = f"{endpoint}/{model.repository}/resolve/{listing['sha']}"
            done_bytes = 0
            for file in files:
                start_bytes = done_bytes
                done_bytes += file["size"]
                target = folder / file["rfilename"]
                if target.is_file() and target.stat().st_size == file["size"]:
                    continue
                download(
                    RemoteFile(session, f"{base}/{quote(file['rfilename'])}", file["size"], headers),
                    target,
                    count_from(start_bytes, total_bytes, count),
                )
        return tuple(
            DeliveredFile(file["rfilename"], (file.get("lfs") or {}).get("sha256", "")) for file in files
        )

    def _list(self, session: Any, url: str, model: Model, headers: dict[str, str]) -> dict[str, Any]:
        """Return the revision of a repository and its files, with sizes and, for large ones, sums."""
        if self._unavailable is not None:
            raise self._unavailable

        def ask() -> Any:
            timeouts = (CONNECT_TIMEOUT_S, ANSWER_WITHIN_S)
            return session.get(url, params={"blobs": "true"}, headers=headers, timeout=timeouts)

        try:
            answer = answer_within(ANSWER_WITHIN_S, ask, "The Hugging Face hub")
        except SourceUnavailableError as error:
            self._unavailable = error  # other models need not wait for it, too
            raise
        if answer.status_code in (401, 403, 404):
            advice = (
                "accept its conditions there and set HF_TOKEN"
                if model.is_gated
                else "it does not exist, or wants HF_TOKEN"
            )
            raise SourceError(
                f"The Hugging Face hub refuses {model.repository} (HTTP {answer.status_code}): {advice}."
            )
        try:
            answer.raise_for_status()
            listing: dict[str, Any] = answer.json()
            is_listing = all("size" in file for file in listing["siblings"]) and "sha" in listing
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceError(f"The Hugging Face hub answers wrongly: HTTP {answer.status_code}.") from error
        if not is_listing:
            raise SourceError("The Hugging Face hub answers wrongly: a listing without sizes.")
        return listing


def _select(model: Model, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of a listing that belong to a model."""
    names = {file.name for file in model.files}
    selected = [
        file
        for file in files
        if file["rfilename"] in names
        or (not names and any(fnmatch(file["rfilename"], pattern) for pattern in model.patterns))
    ]
    if any(Path(file["rfilename"]).is_absolute() or ".." in file["rfilename"] for file in selected):
        raise SourceError(
            f"The Hugging Face hub answers wrongly: {model.repository} has paths outside itself."
        )
    return selected
