"""A proxy between clients and a server, to break their connections at the worst moment.

    with proxy(port, Postgres) as between:   # in front of 127.0.0.1:port
        ...                                  # clients connect to between.port
        between.lose_answers("INTO inbox")   # the server commits, the client never hears of it
        between.cut()                        # every connection is reset
        between.refusing = True              # and new ones are as well
        between.delay_s = 0.05               # each way, for each piece

It runs in a thread of its own, so that a test may block.
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
PIECE_BYTES = 64 * 1024
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
BOLT_COMMIT = b"\x00\x02\xb0\x12\x00\x00"
BOLT_BOOKMARK = b"\x88bookmark"

Part = tuple[bytes, list[bytes] | None]
"""Some of a server's answer; if it answers a COMMIT, also the statements that this committed."""


class Dialogue(Protocol):
    """Follows one connection, both ways, far enough to know when a transaction has committed."""

    def ask(self, piece: bytes) -> None:
        """Note what the client sends."""

    def answer(self, piece: bytes) -> Iterator[Part]:
        """Cut what the server sends into parts, all of which are to be handed on."""


class Postgres:
    """PostgreSQL's protocol 3, simple and extended queries, without TLS."""

    def __init__(self) -> None:
        self._asked, self._answered = b"", b""
        self._greeted = False
        self._refusals_due = 0
        self._prepared: dict[bytes, bytes] = {}
        self._statements: list[bytes] = []

    def ask(self, piece: bytes) -> None:
        """Note statements; prepared ones whenever they are bound."""
        self._asked += piece
        while not self._greeted and len(self._asked) >= 8:
            length, code = struct.unpack(">ii", self._asked[:8])
            if len(self._asked) < length:
                return
            self._asked = self._asked[length:]
            if code in {SSL_REQUEST, GSS_REQUEST}:
                self._refusals_due += 1
            else:
                self._greeted = True
        if self._greeted:
            messages, self._asked = _messages(self._asked)
            for message in messages:
                self._note(message[:1], message[5:])

    def _note(self, kind: bytes, content: bytes) -> None:
        if kind == b"Q":
            self._statements.append(content)
        elif kind in {b"P", b"B"}:
            first, second, _ = content.split(b"\x00", 2)
            if kind == b"P":
                self._prepared[first] = second
            else:
                self._statements.append(self._prepared.get(second, b""))

    def answer(self, piece: bytes) -> Iterator[Part]:
        """Whole messages only."""
        while self._refusals_due and piece:
            yield piece[:1], None
            piece = piece[1:]
            self._refusals_due -= 1
        messages, self._answered = _messages(self._answered + piece)
        for message in messages:
            if message[:1] == b"C" and message[5:] == b"COMMIT\x00":
                yield message, self._statements
            else:
                yield message, None
            if message[:1] == b"Z" and message[5:] == b"I":
                self._statements = []


class Bolt:
    """Neo4j's protocol, explicit transactions only, without TLS."""

    def __init__(self) -> None:
        self._asked = b""
        self._committing: list[bytes] | None = None

    def ask(self, piece: bytes) -> None:
        """Notice COMMIT, a message of two bytes; what came before it is taken as one statement."""
        self._asked += piece
        before, found, after = self._asked.rpartition(BOLT_COMMIT)
        if found:
            self._committing, self._asked = [before], after

    def answer(self, piece: bytes) -> Iterator[Part]:
        """The answer to COMMIT is the first with a bookmark."""
        committed = None
        if BOLT_BOOKMARK in piece:
            committed, self._committing = self._committing, None
        yield piece, committed


@dataclass
class Proxy:
    """A running proxy; its switches may be set from any thread."""

    target: int
    protocol: Callable[[], Dialogue]
    port: int = 0
    refusing: bool = False
    delay_s: float = 0.0
    commits: int = 0
    """Seen so far."""
    answers_lost: int = 0
    _losing: list[re.Pattern[bytes]] = field(default_factory=list)
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def cut(self) -> None:
        """Reset every connection."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def lose_answers(self, statements: str = "", *, times: int = 1) -> None:
        """Keep the answers to the next COMMITs from their clients and reset those connections.

        Args:
            statements: regular expression; only transactions whose statements match count, by default any.
            times: how many answers.
        """
        self._losing += [re.compile(statements.encode(), re.DOTALL | re.IGNORECASE)] * times

    def wait_until_lost(self, count: int, *, timeout_s: float = 60) -> None:
        """Block until so many answers were lost since the start.

        Raises:
            TimeoutError: no such transaction came.
        """
        deadline = time.monotonic() + timeout_s
        while self.answers_lost < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.answers_lost} of {count} answers lost after {timeout_s} s")
            time.sleep(0.02)

    async def run(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Serve until told to stop."""
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
            if self.refusing:
                return
            answers, server = await asyncio.open_connection(HOST, self.target)
            dialogue = self.protocol()
            ways = [
                asyncio.ensure_future(self._ask(reader, server, dialogue)),
                asyncio.ensure_future(self._answer(answers, client, dialogue)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            return  # the server is away
        finally:
            client.close()
            if server is not None:
                server.close()
            self._clients.discard(client)

    async def _ask(
        self, client: asyncio.StreamReader, server: asyncio.StreamWriter, dialogue: Dialogue
    ) -> None:
        while piece := await client.read(PIECE_BYTES):
            dialogue.ask(piece)
            await asyncio.sleep(self.delay_s)
            server.write(piece)
            await server.drain()

    async def _answer(
        self, server: asyncio.StreamReader, client: asyncio.StreamWriter, dialogue: Dialogue
    ) -> None:
        while piece := await server.read(PIECE_BYTES):
            await asyncio.sleep(self.delay_s)
            for part, committed in dialogue.answer(piece):
                if committed is not None and self._loses(committed):
                    client.transport.abort()
                    return
                client.write(part)
            await client.drain()

    def _loses(self, statements: list[bytes]) -> bool:
        self.commits += 1
        for pattern in self._losing:
            if pattern.search(b"\n".join(statements)):
                self._losing.remove(pattern)
                self.answers_lost += 1
                return True
        return False


def port(url: str) -> int:
    """The port of an address."""
    found = urlsplit(url).port
    if found is None:
        raise ValueError(f"{url} names no port.")
    return found


@contextmanager
def proxy(target: int, protocol: Callable[[], Dialogue]) -> Iterator[Proxy]:
    """A proxy in front of a port of this machine, for as long as the block lasts."""
    between, started, stop = Proxy(target, protocol), threading.Event(), asyncio.Event()
    serving = between.run(stop, started.set)
    thread = threading.Thread(target=between._loop.run_until_complete, args=(serving,), daemon=True)
    thread.start()
    if not started.wait(10):
        raise TimeoutError("The proxy does not listen.")
    try:
        yield between
    finally:
        between._loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        between._loop.close()


def _messages(stream: bytes) -> tuple[list[bytes], bytes]:
    """Whole messages of PostgreSQL, and what is left over."""
    messages, start = [], 0
    while len(stream) >= start + 5:
        end = start + 1 + int.from_bytes(stream[start + 1 : start + 5], "big")
        if len(stream) < end:
            break
        messages.append(stream[start:end])
        start = end
    return messages, stream[start:]
