"""Requests to process a known recording again."""

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid5

import structlog

from phonograph_events import RERUN_OPTIONS, JobFailed, Options, Preset, RerunRequested, uuid7
from phonograph_runtime.database import Transaction
from phonograph_runtime.errors import RefusedRerunError

RERUN = "rerun"
"""Kind of the job that `job-failed` names for a request that led to no job."""
_REQUESTS = UUID("7b0f7a52-3f0c-5d0e-9a58-6d8b1f7c2e41")
"""Namespace of the ids of requests, which derive from the source and the id of the event."""

RerunHandler = Callable[[RerunRequested, UUID, Transaction], Awaitable[None]]
"""Requests the work, with the id of the request; raises `RefusedRerunError` before it has any effect."""

logger = structlog.get_logger()


class RerunControl:
    """Handles the requests to one service; one that cannot be met is answered by `job-failed`."""

    def __init__(self, service: str, options: frozenset[str], handler: RerunHandler) -> None:
        """Create the control.

        Args:
            service: Name of the service; requests to others are ignored.
            options: Names of the options that the service supports, of `RERUN_OPTIONS`.
            handler: Requests the work.
        """
        self._service = service
        self._options = options
        self._handler = handler

    async def rerun_requested(self, event: RerunRequested, transaction: Transaction) -> None:
        """Request the work, or publish why it is refused."""
        if event.service != self._service:
            return
        cause = transaction.cause
        request_id = uuid7() if cause is None else uuid5(_REQUESTS, f"{cause.source}|{cause.event_id}")
        try:
            self._check_options(event)
            await self._handler(event, request_id, transaction)
        except RefusedRerunError as error:
            await publish_refusal(event, error, transaction)

    def _check_options(self, event: RerunRequested) -> None:
        unsupported = sorted(event.option_names - self._options)
        if unsupported:
            supported = f"it supports {', '.join(sorted(self._options))}" if self._options else "it has none"
            raise RefusedRerunError(
                f"{self._service} does not support the option {', '.join(unsupported)}: {supported}.",
                reason="bad_options",
            )
        if event.preset is not None and event.preset not in set(Preset):
            raise RefusedRerunError(
                f"There is no preset {event.preset!r}; there are: {', '.join(Preset)}.", reason="bad_options"
            )


async def publish_refusal(event: RerunRequested, error: RefusedRerunError, transaction: Transaction) -> None:
    """Publish that a request leads to no job.

    Args:
        event: The request.
        error: Why it is refused.
        transaction: Transaction of the event.
    """
    await transaction.publish(
        JobFailed(
            media_id=event.media_id,
            job_id=uuid7(),
            service=event.service,
            kind=RERUN,
            reason=error.reason,
            message=error.message,
            attempt=1,
            final=True,
            requested=event.apply_to(Options()).to_facts(*RERUN_OPTIONS) | event.to_facts(),
        )
    )
    logger.info("rerun refused", **error.to_logging_context())
