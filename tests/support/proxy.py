"""A TCP proxy between clients and a server, which breaks connections at chosen moments.

    with run_proxy(port, PostgresCommits) as proxy:   # in front of 127.0.0.1:port
        ...                                           # clients connect to proxy.port
        proxy.drop_responses("INTO inbox")            # the server commits, the client gets no response
        proxy.reset_connections()                     # every connection is reset
        proxy.refuses_connections = True              # new connections are closed at once
        proxy.delay_s = 0.05                          # delay of each chunk in both directions

It runs in a separate thread, so that a test may block.
"""

import asyncio
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
BOLT_COMMIT = b"\x00\x02\xb0\x12\x00\x00"
BOLT_BOOKMARK = b"\x88bookmark"

Response = tuple[bytes, list[bytes] | None]
"""Bytes from the server; if they confirm a COMMIT, also the statements of the committed transaction."""


class CommitDetector(Protocol):
    """Follows both directions of one connection to recognize the responses to COMMIT.

    The proxy creates one per connection and calls it in its event loop; its methods may not block.
    """

    def observe_request(self, chunk: bytes) -> None:
        """Record bytes from the client before they are forwarded."""

    def split_response(self, chunk: bytes) -> Iterator[Response]:
        """Yield the bytes from the server in pieces that are forwarded or dropped one by one."""


class PostgresCommits:
    """Detects commits in PostgreSQL's protocol 3: simple and extended queries, without TLS."""

    def __init__(self) -> None:
        self._requests, self._responses = b"", b""
        self._is_started = False
        self._single_byte_responses = 0
        self._prepared: dict[bytes, bytes] = {}
        self._statements: list[bytes] = []

    def observe_request(self, chunk: bytes) -> None:
        """See `CommitDetector.observe_request`; a prepared statement counts each time it is bound."""
        self._requests += chunk
        while not self._is_started and len(self._requests) >= 8:
            length, code = struct.unpack(">ii", self._requests[:8])
            if len(self._requests) < length:
                return
            self._requests = self._requests[length:]
            if code in {SSL_REQUEST, GSS_REQUEST}:
                self._single_byte_responses += 1
            else:
                self._is_started = True
        if self._is_started:
            messages, self._requests = _split_messages(self._requests)
            for message in messages:
                self._record_statement(message[:1], message[5:])

    def _record_statement(self, kind: bytes, content: bytes) -> None:
        if kind == b"Q":
            self._statements.append(content)
        elif kind in {b"P", b"B"}:
            first, second, _ = content.split(b"\x00", 2)
            if kind == b"P":
                self._prepared[first] = second
            else:
                self._statements.append(self._prepared.get(second, b""))

    def split_response(self, chunk: bytes) -> Iterator[Response]:
        """See `CommitDetector.split_response`; yields whole messages only."""
        while self._single_byte_responses and chunk:
            yield chunk[:1], None
            chunk = chunk[1:]
            self._single_byte_responses -= 1
        messages, self._responses = _split_messages(self._responses + chunk)
        for message in messages:
            if message[:1] == b"C" and message[5:] == b"COMMIT\x00":
                yield message, self._statements
            else:
                yield message, None
            if message[:1] == b"Z" and message[5:] == b"I":
                self._statements = []


class BoltCommits:
    """Detects commits in Neo4j's protocol: explicit transactions only, without TLS."""

    def __init__(self) -> None:
        self._requests = b""
        self._committing: list[bytes] | None = None

    def observe_request(self, chunk: bytes) -> None:
        """See `CommitDetector.observe_request`; all bytes before a COMMIT count as one statement."""
        self._requests += chunk
        before, commit, after = self._requests.rpartition(BOLT_COMMIT)
        if commit:
            self._committing, self._requests = [before], after

    def split_response(self, chunk: bytes) -> Iterator[Response]:
        """See `CommitDetector.split_response`; the response to COMMIT is the first with a bookmark."""
        committed = None
        if BOLT_BOOKMARK in chunk:
            committed, self._committing = self._committing, None
        yield chunk, committed


@dataclass
class Proxy:
    """A running proxy; its switches may be set from any thread."""

    target: int
    """Port of the server."""
    create_detector: Callable[[], CommitDetector]
    port: int = 0
    refuses_connections: bool = False
    delay_s: float = 0.0
    commits: int = 0
    """Commits seen so far."""
    dropped_responses: int = 0
    _drop_patterns: list[re.Pattern[bytes]] = field(default_factory=list)
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def reset_connections(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def drop_responses(self, statements: str = "", *, times: int = 1) -> None:
        """Drop the responses to the next COMMITs and reset the connections of their clients.

        Args:
            statements: regular expression; selects the transactions whose statements match, by default any.
            times: number of responses to drop.
        """
        self._drop_patterns += [re.compile(statements.encode(), re.DOTALL | re.IGNORECASE)] * times

    def wait_until_dropped(self, count: int, *, timeout_s: float = 60) -> None:
        """Block until `count` responses have been dropped since the start.

        Raises:
            TimeoutError: there were too few matching transactions within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while self.dropped_responses < count:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{self.dropped_responses} of {count} responses dropped after {timeout_s} s"
                )
            time.sleep(0.02)

    async def run(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Serve until `stop` is set; call `started` once the port is known."""
        async with await asyncio.start_server(self._serve, HOST, self.port) as server:
            self.port = server.sockets[0].getsockname()[1]
            started()
            await stop.wait()
            self._reset_all()
            while self._clients:
                await asyncio.sleep(0.01)

    def _reset_all(self) -> None:
        for client in list(self._clients):
            client.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        server = None
        self._clients.add(client)
        try:
            if self.refuses_connections:
                return
            responses, server = await asyncio.open_connection(HOST, self.target)
            detector = self.create_detector()
            directions = [
                asyncio.ensure_future(self._forward_requests(reader, server, detector)),
                asyncio.ensure_future(self._forward_responses(responses, client, detector)),
            ]
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
        except OSError:
            return  # the server is unavailable
        finally:
            client.close()
            if server is not None:
                server.close()
            self._clients.discard(client)

    async def _forward_requests(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter, detector: CommitDetector
    ) -> None:
        while chunk := await client.read(CHUNK_BYTES):
            # Observed before it is sent: the response may arrive while this task waits.
            detector.observe_request(chunk)
            await asyncio.sleep(self.delay_s)
            server.write(chunk)
            await server.drain()

    async def _forward_responses(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, detector: CommitDetector
    ) -> None:
        while chunk := await server.read(CHUNK_BYTES):
            await asyncio.sleep(self.delay_s)
            for response, committed in detector.split_response(chunk):
                if committed is not None and self._must_drop(committed):
                    client.transport.abort()
                    return
                client.write(response)
            await client.drain()

    def _must_drop(self, statements: list[bytes]) -> bool:
        self.commits += 1
        for pattern in self._drop_patterns:
            if pattern.search(b"\n".join(statements)):
                self._drop_patterns.remove(pattern)
                self.dropped_responses += 1
                return True
        return False


def port_of(url: str) -> int:
    """Return the port of a URL.

    Raises:
        ValueError: the URL contains none.
    """
    port = urlsplit(url).port
    if port is None:
        raise ValueError(f"{url} names no port.")
    return port


@contextmanager
def run_proxy(target: int, create_detector: Callable[[], CommitDetector]) -> Iterator[Proxy]:
    """Run a proxy in front of a port of this machine until the block ends."""
    proxy, started, stop = Proxy(target, create_detector), threading.Event(), asyncio.Event()
    serving = proxy.run(stop, started.set)
    thread = threading.Thread(target=proxy._loop.run_until_complete, args=(serving,), daemon=True)
    thread.start()
    if not started.wait(10):
        raise TimeoutError("The proxy does not listen.")
    try:
        yield proxy
    finally:
        proxy._loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        proxy._loop.close()


def _split_messages(stream: bytes) -> tuple[list[bytes], bytes]:
    """Return the complete PostgreSQL messages of a stream, and the bytes after the last of them."""
    messages, start = [], 0
    while len(stream) >= start + 5:
        end = start + 1 + int.from_bytes(stream[start + 1 : start + 5], "big")
        if len(stream) < end:
            break
        messages.append(stream[start:end])
        start = end
    return messages, stream[start:]
