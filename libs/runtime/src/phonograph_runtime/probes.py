"""The HTTP side of a service: /health/live, /health/ready and /metrics."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

PLAIN = "text/plain; charset=utf-8"

logger = structlog.get_logger()


async def serve_probes(
    host: str,
    port: int,
    *,
    liveness_failure: Callable[[], str | None],
    readiness_failure: Callable[[], Awaitable[str | None]],
) -> None:
    """Answer probes until cancelled; the body of a 503 says what is wrong.

    Args:
        host: Address to listen on.
        port: Port to listen on; a free one is taken if it is 0 or in use.
        liveness_failure: Returns why the process should be restarted, or None.
        readiness_failure: Returns why the service consumes no events, or None.
    """

    async def answer(scope: Any, _receive: Any, send: Any) -> None:
        status, body, kind = 200, b"ok\n", PLAIN
        match scope["path"]:
            case "/health/live":
                if trouble := liveness_failure():
                    status, body = 503, f"{trouble}\n".encode()
            case "/health/ready":
                if trouble := await readiness_failure():
                    status, body = 503, f"{trouble}\n".encode()
            case "/metrics":
                body, kind = generate_latest(), CONTENT_TYPE_LATEST
            case _:
                status, body = 404, b"not found\n"
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        answer, interface="asgi3", lifespan="off", log_config=None, access_log=False, ws="none"
    )
    server = uvicorn.Server(config)
    with contextlib.closing(_listen(host, port)) as listening:
        logger.info("probes", host=host, port=listening.getsockname()[1])
        serving = asyncio.create_task(server._serve([listening]))  # noqa: SLF001  # serve() takes the signals
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await serving


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, on a free port if the given one is in use: a second copy can start."""
    for candidate in (port, 0):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, candidate))
        except OSError:
            listening.close()
            continue
        listening.listen()
        return listening
    raise OSError(f"No port can be opened on {host}.")
