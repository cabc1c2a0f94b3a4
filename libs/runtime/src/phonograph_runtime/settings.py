"""Settings that every service has; the class of a service sets the environment prefix."""

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings

from phonograph_runtime.kafka_security import KafkaSecurity


class ServiceSettings(BaseSettings, KafkaSecurity):
    """Addresses, limits and time limits; the subclass of a service sets `env_prefix`."""

    database_url: SecretStr = Field(
        title="PostgreSQL",
        description="`postgresql+asyncpg://role:password@host/database` with the service's own role; for TLS "
        "with `?sslmode=verify-full&sslrootcert=FILE`.",
    )
    kafka_bootstrap_servers: str = Field(
        default="127.0.0.1:9092", title="Kafka", description="Comma-separated `host:port`; the local default."
    )
    object_store_url: str = Field(
        default="file:///var/lib/phonograph/objects",
        title="Object store",
        description="`file://` folder or `s3://bucket`; a folder needs no other server.",
    )
    migrations: Path = Field(
        default=Path("migrations"),
        title="Migrations",
        description="Folder with one Alembic tree per service.",
    )
    http_host: str = Field(default="127.0.0.1", title="Address of the health and metrics server")
    http_port: int = Field(
        default=0,
        title="Port",
        description="Of /health and /metrics; 0, or a port that is taken: a free one.",
    )
    log_level: str = Field(default="INFO", title="Log level")
    otlp_endpoint: str | None = Field(
        default=None,
        title="Traces",
        description="Where OpenTelemetry spans go by OTLP over HTTP, `http://collector:4318`; none are made "
        "without it.",
    )

    instance: str | None = Field(
        default=None,
        title="Name of this copy",
        description="One that a restart keeps, as a StatefulSet's pod has: the copy then takes its "
        "partitions back at once, and the others do not pause. No two copies may share one.",
    )
    batch_size: int = Field(
        default=500, gt=0, title="Batch", description="Events a transaction; past 500 the rate stops growing."
    )
    retry_budget: timedelta = Field(
        default=timedelta(seconds=20),
        title="Retry budget",
        description="How long one event is retried in process before it is parked.",
    )
    fuse_consecutive: int = Field(
        default=100,
        gt=0,
        title="Fuse",
        description="Consumption stops after this many parked events in a row.",
    )
    fuse_ratio: float = Field(
        default=0.1,
        gt=0,
        le=1,
        title="Fuse by share",
        description="Consumption stops when more than this share of the last 1,000 events was parked.",
    )
    stall_after: timedelta = Field(
        default=timedelta(minutes=1),
        title="Stall",
        description="The consumer is restarted if events wait and none is consumed for this long.",
    )

    pool_size: int = Field(default=5, gt=0, title="Connections kept open")
    pool_overflow: int = Field(default=5, ge=0, title="Connections opened under load")
    pool_timeout: timedelta = Field(default=timedelta(seconds=30), title="Wait for a connection")
    pool_recycle: timedelta = Field(default=timedelta(hours=1), title="Age at which a connection is replaced")

    workers: int = Field(
        default=1,
        ge=0,
        title="Jobs at once",
        description="Each job in progress has models of its own in memory; 0 only consumes events.",
    )
    lease: timedelta = Field(
        default=timedelta(seconds=60),
        title="Lease",
        description="A job whose worker does not renew its lease for this long may be claimed again.",
    )
    job_timeout: timedelta = Field(
        default=timedelta(hours=6), title="Job timeout", description="An engine that runs longer is killed."
    )
    engine_silence: timedelta = Field(
        default=timedelta(minutes=5),
        title="Silence of an engine",
        description="An engine that reports nothing and uses no processor for this long is killed.",
    )
    max_retries: int = Field(
        default=2, ge=0, title="Retries of a job", description="Two make three attempts in all."
    )
    retry_delay: timedelta = Field(
        default=timedelta(seconds=5), title="First delay", description="Doubles with each retry, with jitter."
    )
    idle_unload: timedelta = Field(
        default=timedelta(minutes=5),
        title="Idle unload",
        description="An engine without work is ended after this long, which frees its memory.",
    )

    keep_inbox: timedelta = Field(
        default=timedelta(days=90),
        title="Age of the inbox",
        description="An event delivered again after this long takes effect again.",
    )
    keep_outbox: timedelta = Field(
        default=timedelta(days=7),
        title="Age of the outbox",
        description="Published events are kept for diagnosis; Kafka has them in any case.",
    )
    keep_jobs: timedelta = Field(
        default=timedelta(days=90),
        title="Age of finished jobs",
        description="A job to which a result refers stays as long as the result.",
    )
    keep_dead_letters: timedelta = Field(
        default=timedelta(days=30),
        title="Age of dead letters",
        description="Equal to the retention of the dead-letter topics; an unresolved one is then dropped.",
    )

    @model_validator(mode="after")
    def _check_time_limits(self) -> Self:
        if self.retry_budget >= timedelta(seconds=100):
            msg = "retry_budget must be below 100 s: Kafka removes a consumer that does not poll for 300 s."
            raise ValueError(msg)
        if self.job_timeout <= self.lease:
            raise ValueError(
                "job_timeout must exceed lease: otherwise every job is killed before its lease is renewed."
            )
        return self


def describe_wrong_setting(error: ValidationError, prefix: str = "") -> str:
    """Return the first fault of settings as a sentence.

    Args:
        error: What pydantic raised; a contradiction between several settings names them in its message.
        prefix: First part of the names of their environment variables; with it, these are named.
    """
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    name = ".".join(map(str, first["loc"]))
    if not name:
        return f"The settings are wrong: {message}."
    return f"The setting {f'{prefix}{name.upper()}' if prefix else name} is wrong: {message}."
