"""The interface of the runtime to use cases and engines, free of Kafka, SQL and settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from phonograph_events import Cause, Event, Facts, JobSummary

T = TypeVar("T", bound=BaseModel)

RERUN_PRIORITY = -1
"""Added to that of the recording: work on a whole library again should not delay new recordings."""

Progress = Callable[[float, str], None]
"""Reports the progress of a task: a fraction in [0, 1] and the name of the stage."""


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job."""

    id: UUID
    media_id: UUID
    kind: str
    task: dict[str, Any]
    """The task as JSON; `JobKind.parse_task` returns it as the model of its kind."""
    attempt: int
    """Number of this attempt, from 1."""
    max_retries: int
    waited_s: float
    """Time from the request to the first start."""
    lease_token: UUID | None
    service: str
    cause: Cause | None
    """The event that asked for the job."""
    lease_expired: bool = False
    """Whether the worker of the previous attempt died or stopped renewing its lease."""
    seconds: float | None = None
    """Time in the engine; None until the engine has finished."""
    requested: Facts = field(default_factory=dict)
    """What was asked."""
    used: Facts = field(default_factory=dict)
    """What did the work; empty until the engine has finished."""

    @property
    def is_exhausted(self) -> bool:
        """Whether every attempt was used up by workers that died."""
        return self.attempt > self.max_retries + 1

    def summary(
        self, *, engine: str | None = None, model: str | None = None, reason: str | None = None
    ) -> JobSummary:
        """Return the job as result events report it.

        Args:
            engine: Name of the engine that did the work.
            model: Name of its model.
            reason: Reason code for an empty result.
        """
        return JobSummary(
            job_id=self.id,
            service=self.service,
            engine=engine,
            model=model,
            seconds=self.seconds,
            waited_s=self.waited_s,
            attempt=self.attempt,
            reason=reason,
            kind=self.kind,
            requested=self.requested,
            used=self.used,
        )

    def to_logging_context(self) -> dict[str, Any]:
        """Return the job as fields of a log line."""
        context: dict[str, Any] = {
            "job_id": str(self.id),
            "kind": self.kind,
            "media_id": str(self.media_id),
            "attempt": self.attempt,
        }
        if self.cause is not None:
            context |= {"event_id": self.cause.event_id, "correlation_id": self.cause.correlation_id}
        return context


@dataclass(frozen=True, slots=True)
class JobFailure:
    """The reason for which a job has no result."""

    reason: str
    """Reason code."""
    message: str


class JobSubject(Protocol):
    """The recording that a job works on; `MediaRef` is one."""

    @property
    def media_id(self) -> UUID:
        """Id of the recording."""

    @property
    def owner(self) -> str | None:
        """Owner of the recording; jobs of different owners are served in turn."""

    @property
    def priority(self) -> int:
        """Jobs of a higher priority are served first."""


class Publisher(Protocol):
    """Publishes events with the transaction: all of it takes effect, or nothing."""

    async def publish(self, event: Event, *, version: int = 1) -> None:
        """Add an event to the transaction. Called by use cases; does not wait for a server.

        Args:
            event: Body of the event.
            version: Version of what the event describes, from 1; consumers ignore older ones.

        Raises:
            PermanentError: With reason `too_large` if the event exceeds the limit of its topic.
        """


class JobRequests(Protocol):
    """Requests long work with the transaction."""

    async def enqueue(
        self,
        kind: str,
        task: BaseModel,
        *,
        media: JobSubject,
        dedupe_key: str | None = None,
        extra_priority: int = 0,
        requested: Facts | None = None,
    ) -> None:
        """Add a job to the transaction. Called by use cases; does not wait for a server.

        Args:
            kind: Kind of the job, as the service registered it.
            task: Input of the job; stored as JSON.
            media: The recording; its owner and priority decide when the job is served.
            dedupe_key: The job is not added if one with an equal key exists; `KIND|MEDIA_ID` if None.
            extra_priority: Added to the priority of the recording.
            requested: Options of the job, as its events and its row state them.
        """

    async def remember(self, task: BaseModel, media_id: UUID) -> None:
        """Store the task of a recording, so that it can be run again. Called for each new recording or input.

        Args:
            task: Input of its jobs, also if the service leaves the recording out; a field that is None keeps
                what is stored.
            media_id: The recording.
        """

    async def recall(self, task: type[T], media_id: UUID) -> T | None:
        """Return the stored task of a recording, or None if the recording is unknown; waits for the database.

        Args:
            task: Model of the task.
            media_id: The recording.
        """


class InferenceEngine(Protocol):
    """An engine with its model, as the child process of a service runs it.

    The Protocol of each service extends it with its own `predict`. Instances live in the child process,
    where blocking is allowed.
    """

    @property
    def name(self) -> str:
        """Name of the engine, as results report it."""

    @property
    def model(self) -> str:
        """Name of the model, as results report it."""

    def load(self) -> None:
        """Load the model into memory; a second call does nothing. May block for minutes.

        Raises:
            EngineUnavailableError: If the engine or its model cannot be used on this machine.
        """

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model on one recording; each service's Protocol gives arguments and result."""
