"""The errors of all members, in one tree split by what the caller should do.

```
PhonographError                 phonograph_events.errors
├── PermanentError              phonograph_events.errors: park the event, fail the job
│   ├── EventError              phonograph_events.envelope: a record that is not a valid event
│   ├── MediaError              phonograph_media.errors: a file that cannot be decoded
│   ├── EngineUnavailableError  an engine or its model cannot be used on this machine
│   ├── (errors of fetching a model, in `phonograph_models.errors`)
│   ├── RefusedRerunError       a request to run again that cannot be met
│   ├── StaleSchemaError        the database is not at the revision that the code needs
│   ├── AccessRefusedError      a server refuses the login or the certificate
│   └── (the permanent errors of each service, in its `exceptions.py`)
├── TransientError              phonograph_events.errors: try again later
│   ├── EngineDiedError         the engine's process ended during a task
│   ├── StorageError            the object store does not work
│   └── StorageFullError        no space is left
├── UnavailableError            a server on which the effect depends cannot be reached: wait, park nothing
├── InterruptedWorkError        work was stopped on purpose: drop its effects
│   ├── BatchInterruptedError   the rest of a batch is redelivered
│   ├── CircuitOpenError        consumption is stopped until an operator acts
│   └── LeaseLostError          another worker has the job
├── StackError                  phonograph_devstack.errors: the local stack cannot do what was asked
└── (the errors of the command line, in `phonograph_cli`)
```

Adapters convert the exceptions of drivers into these with `raise … from`.
"""

from typing import Any, Self

from typing_extensions import override

from phonograph_events.errors import PermanentError, PhonographError, TransientError

__all__ = [
    "AccessRefusedError",
    "BatchInterruptedError",
    "CircuitOpenError",
    "EngineDiedError",
    "EngineUnavailableError",
    "InterruptedWorkError",
    "LeaseLostError",
    "PermanentError",
    "PhonographError",
    "RefusedRerunError",
    "StaleSchemaError",
    "StorageError",
    "StorageFullError",
    "TransientError",
    "UnavailableError",
    "reason_of",
]


class StaleSchemaError(PermanentError):
    """The database is not at the revision that this code needs."""

    reason = "stale_schema"


class AccessRefusedError(PermanentError):
    """A server refuses the login or the certificate, or its own certificate cannot be verified."""

    reason = "access_refused"


class EngineUnavailableError(PermanentError):
    """An engine or its model cannot be used on this machine; the message says what is missing."""

    reason = "engine_unavailable"


class RefusedRerunError(PermanentError):
    """A request to process a recording again cannot be met; nothing was changed."""

    reason = "refused"

    @classmethod
    def unknown_recording(cls, service: str) -> Self:
        """Return the error for a recording that a service does not know."""
        return cls(
            f"{service} does not know the recording: ingest its file, or try again once it is ingested.",
            reason="unknown_recording",
        )


class EngineDiedError(TransientError):
    """The engine's process ended during a task."""

    reason = "engine_died"


class StorageError(TransientError):
    """The object store cannot be read or written."""

    reason = "storage_unavailable"


class StorageFullError(TransientError):
    """No space is left where something had to be written."""

    reason = "storage_full"


class UnavailableError(PhonographError):
    """A server on which the effect depends cannot be reached: wait for it and park nothing."""

    reason = "server_unavailable"

    def __init__(self, message: str, *, server: str, reason: str | None = None) -> None:
        """Create the error.

        Args:
            message: What the server's driver reports.
            server: Name of the server, for example `PostgreSQL`.
            reason: Reason code; `server_unavailable` if None.
        """
        super().__init__(message, reason=reason)
        self.server = server

    @override
    def to_logging_context(self) -> dict[str, Any]:
        return super().to_logging_context() | {"server": self.server}


class InterruptedWorkError(PhonographError):
    """Work was stopped on purpose; its effects are dropped, and it is done again elsewhere or later."""

    reason = "interrupted"


class BatchInterruptedError(InterruptedWorkError):
    """A batch was not finished, because the service stops or the batch takes too long; it is redelivered."""

    reason = "batch_interrupted"


class CircuitOpenError(InterruptedWorkError):
    """Too many events were parked: consumption is stopped until an operator acts."""

    reason = "circuit_open"


class LeaseLostError(InterruptedWorkError):
    """Another worker has the job now; the effects of this one are dropped."""

    reason = "lease_lost"


def reason_of(error: BaseException) -> str:
    """Return the reason code of one of our errors, or the name of any other exception's class."""
    return error.reason if isinstance(error, PhonographError) else type(error).__name__
