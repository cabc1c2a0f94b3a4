"""`phonograph jobs`: work in hand, done and failed."""

import http.client
import re
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from phonograph_cli.console import (
    REJECTED,
    USAGE,
    JsonOption,
    NoWaitOption,
    YesOption,
    addresses,
    confirm,
    fail,
    out,
    print_json,
    project,
    read,
    require_known,
    run,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from phonograph_cli.kafka import Seen
    from phonograph_events import Event

PATIENCE_S = 30.0
OVER = {"completed", "failed"}

app = typer.Typer(no_args_is_help=True, help="Work in hand, done and failed.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A job's id, or how it begins.")]


@app.command("list")
def list_(
    state: Annotated[
        str | None, typer.Option("--status", help="Only these: processing, retrying, completed, failed.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="Of this service.")] = None,
    reason: Annotated[str | None, typer.Option(help="With this reason, for example engine_died.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List jobs of all services; those that wait for their first attempt are only counted."""
    from phonograph_cli import rendering
    from phonograph_events import JobStatus, Service

    require_known("service", service, Service)
    require_known("status", state, JobStatus)
    found = [
        job
        for job in run(lambda: read(lambda reader: reader.jobs(status=state)))
        if service in {None, job["service"]} and reason in {None, job["reason"]}
    ]
    waiting = _waiting()
    if as_json:
        print_json({"jobs": found, "waiting": waiting})
        return
    columns = ["id", "service", "status", "reason", "file_name", "seconds"]
    rows = [["" if job.get(name) is None else str(job[name]) for name in columns] for job in found]
    out.print(rendering.listing(columns, rows))
    if any(waiting.values()):
        told = ", ".join(f"{name} {count}" for name, count in waiting.items() if count)
        say(f"Waiting for their first attempt: {told}.", style="dim")


@app.command()
def show(job_id: IdArgument, *, as_json: JsonOption = False) -> None:
    """Show all that is known of one job, and what happened to it when."""
    job = _one(job_id)
    history = _history(job)
    if as_json:
        print_json(job | {"history": history})
        return
    for name, value in job.items():
        if value is not None:
            say(f"{name:12} {value}")
    for number, event in enumerate(history):
        label = "history" if number == 0 else ""
        say(f"{label:12} {event['time']}  {event['what']}")


@app.command()
def retry(job_id: IdArgument, *, no_wait: NoWaitOption = False, as_json: JsonOption = False) -> None:
    """Give a failed job a fresh set of attempts."""
    from phonograph_events import JobRetryRequested

    job = _one(job_id)
    if job["status"] != "failed":
        fail(REJECTED, f"Job {job['id']} is {job['status']}, not failed.")

    def begun(seen: "Seen") -> bool:
        attempt = getattr(seen.envelope.data, "attempt", None)
        return attempt is None or attempt > int(job["attempt"])

    answer = _ask(job, JobRetryRequested(**_about(job)), until=None if no_wait else begun)
    said = f"{job['service']} {_told(answer)}." if answer else f"{job['service']} will try again."
    if answer is None and not no_wait:
        said = (
            f"Sent. {job['service']} has not begun yet: it may be busy. See: phonograph jobs show {job['id']}"
        )
    _end(job, answer, said, as_json=as_json, ok=True)


@app.command()
def cancel(
    job_id: IdArgument, *, no_wait: NoWaitOption = False, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Give an unfinished job up. What it has found so far is lost; `jobs retry` begins it anew."""
    from phonograph_events import JobCancelRequested, JobProgressed

    job = _one(job_id)
    if job["status"] in OVER:
        fail(REJECTED, f"Job {job['id']} is over: {job['status']}.")
    confirm(f"Cancel the {job['service']} job of {job['file_name'] or job['media_id']}?", yes=yes)

    def over(seen: "Seen") -> bool:
        return not isinstance(seen.envelope.data, JobProgressed)

    answer = _ask(job, JobCancelRequested(**_about(job)), until=None if no_wait else over)
    if no_wait:
        said = f"{job['service']} was told."
    elif answer is None:
        said = f"Sent, but {job['service']} did not answer. See: phonograph jobs show {job['id']}"
    else:
        said = f"{job['service']} {_told(answer)}."
    cancelled = no_wait or (answer is not None and getattr(answer.envelope.data, "reason", "") == "cancelled")
    _end(job, answer, said, as_json=as_json, ok=cancelled)


def _waiting() -> dict[str, int]:
    """How many jobs of each service that runs here were never begun: no event tells of these."""
    counts: dict[str, int] = {}
    for process in project().status():
        if process.state != "running" or process.port is None:
            continue
        try:
            address = f"http://127.0.0.1:{process.port}/metrics"
            with urllib.request.urlopen(address, timeout=5) as answer:
                found = re.search(
                    r'^jobs\{status="pending"\} ([\d.e+]+)$', answer.read().decode(), re.MULTILINE
                )
        except (OSError, http.client.HTTPException):
            continue  # a server, or a service that is just starting
        if found:
            counts[process.name] = int(float(found[1]))
    return counts


def _one(job_id: str) -> dict[str, Any]:
    found = [
        job for job in run(lambda: read(lambda reader: reader.jobs())) if job["id"].startswith(job_id.lower())
    ]
    if not found:
        fail(USAGE, f"There is no job {job_id}. See: phonograph jobs list")
    if len(found) > 1:
        fail(USAGE, f"{len(found)} jobs begin with {job_id}: give more of the id.")
    return found[0]


def _about(job: dict[str, Any]) -> dict[str, Any]:
    return {"media_id": UUID(job["media_id"]), "job_id": UUID(job["id"]), "service": job["service"]}


def _history(job: dict[str, Any]) -> list[dict[str, Any]]:
    from phonograph_cli import kafka
    from phonograph_events import TOPICS, JobCancelRequested, JobRetryRequested

    servers = addresses().kafka_bootstrap_servers
    asked = {JobCancelRequested.TOPIC, JobRetryRequested.TOPIC}
    topics = [
        topic.name for topic in TOPICS.values() if job["service"] in topic.producers or topic.name in asked
    ]
    since = datetime.fromisoformat(job["created_at"]) - timedelta(minutes=1)
    seen = run(lambda: kafka.read_between(servers, topics, since, datetime.now(UTC)))
    return [
        {
            "time": f"{each.envelope.time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "topic": each.topic,
            "place": f"{each.topic}/{each.partition}/{each.offset}",
            "correlation_id": each.envelope.correlationid,
            "what": _told(each),
        }
        for each in seen
        if _job_of(each) == job["id"]
    ]


def _job_of(seen: "Seen") -> str | None:
    data = seen.envelope.data
    job_id = getattr(data, "job_id", None) or getattr(getattr(data, "job", None), "job_id", None)
    return None if job_id is None else str(job_id)


def _told(seen: "Seen") -> str:
    from phonograph_events import JobCancelRequested, JobFailed, JobProgressed, JobRetryRequested

    match seen.envelope.data:
        case JobProgressed() as event:
            return f"attempt {event.attempt}: {event.stage or event.status} {event.progress:.0%}"
        case JobFailed() as event if event.reason == "cancelled":
            return f"cancelled it in attempt {event.attempt}"
        case JobFailed() as event:
            ending = "gave up" if event.final else "will try again"
            return f"attempt {event.attempt} failed ({event.reason}: {event.message}), {ending}"
        case JobRetryRequested():
            return "somebody asked for another try"
        case JobCancelRequested():
            return "somebody asked to cancel it"
        case _:
            return f"finished: {seen.topic}"


def _ask(job: dict[str, Any], event: "Event", *, until: "Callable[[Seen], bool] | None") -> "Seen | None":
    """Publish, and give the event of the job that was waited for; null when it does not come."""
    import asyncio

    from phonograph_cli import kafka
    from phonograph_events import TOPICS

    servers = addresses().kafka_bootstrap_servers
    topics = [topic.name for topic in TOPICS.values() if job["service"] in topic.producers]

    async def ask() -> "Seen | None":
        if until is None:
            await kafka.publish(servers, [event])
            return None
        async with kafka.tail(servers, topics) as tail:
            await kafka.publish(servers, [event])
            try:
                async with asyncio.timeout(PATIENCE_S):
                    async for seen in tail.events():
                        if _job_of(seen) == job["id"] and until(seen):
                            return seen
            except TimeoutError:
                pass
        return None

    return run(ask)


def _end(job: dict[str, Any], answer: "Seen | None", said: str, *, as_json: bool, ok: bool) -> None:
    if as_json:
        told = None if answer is None else {"topic": answer.topic, "what": _told(answer)}
        print_json({"id": job["id"], "service": job["service"], "ok": ok, "answer": told})
    else:
        say(said)
    raise typer.Exit(0 if ok else REJECTED)
