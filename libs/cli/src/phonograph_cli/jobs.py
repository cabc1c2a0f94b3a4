"""Jobs of all services: their history on Kafka, and requests to retry or cancel them."""

import asyncio
import http.client
import re
import urllib.request
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from phonograph_cli.kafka import KafkaClient, ReceivedEvent
from phonograph_devstack import ProcessStatus
from phonograph_events import (
    TOPICS,
    Event,
    JobCancelRequested,
    JobFailed,
    JobProgressed,
    JobRetryRequested,
    MediaDuplicated,
    MediaReady,
    MediaRejected,
    Result,
)

Job: TypeAlias = dict[str, Any]
"""A job as `RecordingReader.jobs` returns it."""

ANSWER_TIMEOUT_S = 30.0
METRICS_TIMEOUT_S = 5
CLOCK_TOLERANCE = timedelta(minutes=1)
"""Largest difference between the clocks of Kafka and of the service that created the job."""
CANCELLED = "cancelled"
REFUSED = "rerun"
"""Kind of a request to run again that led to no job."""
FINAL_STATES = {"completed", "rejected", "failed"}


async def read_history(client: KafkaClient, job: Job) -> list[ReceivedEvent]:
    """Return the events of a job, oldest first."""
    requests = {JobCancelRequested.TOPIC, JobRetryRequested.TOPIC}
    topics = [
        topic.name for topic in TOPICS.values() if job["service"] in topic.producers or topic.name in requests
    ]
    since = datetime.fromisoformat(job["created_at"]) - CLOCK_TOLERANCE
    events = await client.read_between(topics, since, datetime.now(UTC))
    return [event for event in events if _job_id(event.envelope.data) == job["id"]]


async def request_retry(client: KafkaClient, job: Job, *, wait: bool) -> ReceivedEvent | None:
    """Ask the service to try a failed job again.

    Args:
        client: Connection to Kafka.
        job: Job to retry.
        wait: Whether to wait for the first event of the new attempt.

    Returns:
        That event, or None if it was not waited for or did not arrive in time.
    """

    def is_new_attempt(event: Event) -> bool:
        match event:
            case JobProgressed(attempt=attempt) | JobFailed(attempt=attempt):
                return attempt > int(job["attempt"])
            case _:
                return True

    request = JobRetryRequested(**_reference(job))
    return await _request(client, job, request, is_new_attempt if wait else None)


async def request_cancel(client: KafkaClient, job: Job, *, wait: bool) -> ReceivedEvent | None:
    """Ask the service to cancel an unfinished job.

    Args:
        client: Connection to Kafka.
        job: Job to cancel.
        wait: Whether to wait for the event that ends the job.

    Returns:
        That event, or None if it was not waited for or did not arrive in time.
    """

    def is_end(event: Event) -> bool:
        return not isinstance(event, JobProgressed)

    request = JobCancelRequested(**_reference(job))
    return await _request(client, job, request, is_end if wait else None)


def is_cancellation(received: ReceivedEvent) -> bool:
    """Return whether an event reports that its job was cancelled."""
    match received.envelope.data:
        case JobFailed(reason=reason) | MediaRejected(reason=reason):
            return reason == CANCELLED
        case _:
            return False


def describe_facts(facts: dict[str, Any]) -> str:
    """Return options or properties as a line of `name=value`."""
    return ", ".join(f"{name}={value}" for name, value in facts.items())


def describe(received: ReceivedEvent) -> str:
    """Return what an event reports about its job."""
    match received.envelope.data:
        case JobProgressed() as event:
            return f"attempt {event.attempt}: {event.stage or event.status} {event.progress:.0%}"
        case JobFailed(reason="cancelled") as event:
            return f"cancelled in attempt {event.attempt}"
        case JobFailed() as event:
            consequence = "not retried" if event.final else "will be retried"
            return f"attempt {event.attempt} failed ({event.reason}: {event.message}), {consequence}"
        case JobRetryRequested() | JobCancelRequested() as event:
            return "retry requested" if isinstance(event, JobRetryRequested) else "cancellation requested"
        case MediaDuplicated() as event:
            return f"finished: {event.uri} is a copy ({event.duplicate}) of {event.media.uri}"
        case _:
            return f"finished: {received.topic}"


def read_pending_counts(processes: Iterable[ProcessStatus]) -> dict[str, int]:
    """Return how many jobs wait for their first attempt, by service, from the metrics of what runs here.

    The graph does not know these jobs, because no event reports them.
    """
    counts: dict[str, int] = {}
    for process in processes:
        if process.state != "running" or process.port is None:
            continue
        try:
            url = f"http://127.0.0.1:{process.port}/metrics"
            with urllib.request.urlopen(url, timeout=METRICS_TIMEOUT_S) as response:
                metrics = response.read().decode()
        except (OSError, http.client.HTTPException):
            continue  # a server without metrics, or a service that is starting
        found = re.search(r'^jobs\{status="pending"\} ([\d.e+]+)$', metrics, re.MULTILINE)
        if found:
            counts[process.name] = int(float(found[1]))
    return counts


async def _request(
    client: KafkaClient, job: Job, request: Event, is_answer: Callable[[Event], bool] | None
) -> ReceivedEvent | None:
    if is_answer is None:
        await client.publish([request])
        return None
    # The tail is opened before publishing, so that no answer is missed.
    tail = await client.tail([topic.name for topic in TOPICS.values() if job["service"] in topic.producers])
    await client.publish([request])
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            async for received in tail.events():
                event = received.envelope.data
                if _job_id(event) == job["id"] and is_answer(event):
                    return received
    except TimeoutError:
        pass
    return None


def _reference(job: Job) -> dict[str, Any]:
    return {"media_id": UUID(job["media_id"]), "job_id": UUID(job["id"]), "service": job["service"]}


def _job_id(event: Event) -> str | None:
    match event:
        case JobProgressed() | JobFailed() | JobRetryRequested() | JobCancelRequested():
            return str(event.job_id)
        case Result() | MediaReady() | MediaRejected() | MediaDuplicated():
            return str(event.job.job_id)
        case _:
            return None
