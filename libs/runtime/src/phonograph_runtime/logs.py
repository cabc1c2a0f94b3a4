"""JSON logs, one object per line, with the service and the record or job in hand in each."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import structlog


class LogSubject(Protocol):
    """A record or a job that log lines are about."""

    def to_logging_context(self) -> dict[str, Any]:
        """Return the fields that every log line about it carries."""


_subject: ContextVar[LogSubject | None] = ContextVar("log_subject", default=None)


@contextmanager
def log_subject(subject: LogSubject) -> Iterator[None]:
    """Add the fields of a record or a job to every log line of the block, libraries' lines included.

    The fields are built only when a line is written: binding them one by one for each event would cost more
    than handling it.
    """
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


def _add_subject(_logger: Any, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    subject = _subject.get()
    return line if subject is None else subject.to_logging_context() | dict(line)


def log_to_standard_error() -> None:
    """Write log lines of a command to standard error; its standard output is for what it was asked for."""
    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def configure_logging(service: str, level: str) -> None:
    """Write the logs of this process and of its libraries to standard error as JSON.

    Args:
        service: Name of the service, a field of each line.
        level: Lowest level that is written, for example `INFO`.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_subject,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for noisy in ("aiokafka", "uvicorn", "faststream", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)
