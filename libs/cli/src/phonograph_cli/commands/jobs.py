"""`phonograph jobs`: running, completed and failed jobs."""

from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonograph_cli.console import (
    REJECTED,
    JsonOption,
    NoWaitOption,
    YesOption,
    confirm,
    fail,
    out,
    print_json,
    print_line,
    require_known,
    require_match,
)
from phonograph_cli.session import connect_kafka, open_recordings, project, run

if TYPE_CHECKING:
    from phonograph_cli.jobs import Job
    from phonograph_cli.kafka import ReceivedEvent

COLUMNS = ["id", "service", "status", "reason", "file_name", "seconds"]

app = typer.Typer(no_args_is_help=True, help="Running, completed and failed jobs.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="ID or unique prefix of a job.")]


@app.command("list")
def list_(
    state: Annotated[
        str | None, typer.Option("--status", help="One of processing, retrying, completed, rejected, failed.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="Of this service.")] = None,
    reason: Annotated[str | None, typer.Option(help="With this reason, for example engine_died.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the jobs of all services; jobs that wait for their first attempt are only counted."""
    from phonograph_cli import rendering
    from phonograph_cli.jobs import read_pending_counts
    from phonograph_cli.locations import printable
    from phonograph_cli.recordings import REJECTED as REJECTED_STATUS
    from phonograph_events import JobStatus, Service

    require_known("service", service, Service)
    require_known("status", state, [*JobStatus, REJECTED_STATUS])
    found = [
        job
        for job in run(_read_jobs())
        if state in {None, job["status"]}
        and service in {None, job["service"]}
        and reason in {None, job["reason"]}
    ]
    waiting = read_pending_counts(project().status())
    if as_json:
        print_json({"jobs": found, "waiting": waiting})
        return
    rows = [[printable(_cell(job, name)) for name in COLUMNS] for job in found]
    out.print(rendering.listing(COLUMNS, rows))
    if any(waiting.values()):
        counts = ", ".join(f"{name} {count}" for name, count in waiting.items() if count)
        print_line(f"Waiting for their first attempt: {counts}.", style="dim")


@app.command()
def show(job_id: IdArgument, *, as_json: JsonOption = False) -> None:
    """Show everything known about a job: what was asked, what did the work, and its history."""
    from phonograph_cli.jobs import describe_facts
    from phonograph_cli.locations import printable

    job, events = run(_read_job_and_history(job_id))
    history = [_history_entry(event) for event in events]
    if as_json:
        print_json(job | {"history": history})
        return
    for name, value in job.items():
        if value is not None:
            text = describe_facts(value) if isinstance(value, dict) else str(value)
            print_line(f"{name:12} {printable(text)}")
    for number, entry in enumerate(history):
        label = "history" if number == 0 else ""
        print_line(f"{label:12} {entry['time']}  {entry['what']}")


@app.command()
def retry(job_id: IdArgument, *, no_wait: NoWaitOption = False, as_json: JsonOption = False) -> None:
    """Retry a failed job with a new set of attempts."""
    job, answer = run(_retry(job_id, wait=not no_wait))
    service = job["service"]
    if no_wait:
        sentence = f"Requested. {service} will try it again."
    elif answer is None:
        sentence = f"Requested, but {service} has not started yet: it may be busy. {_see(job)}"
    else:
        sentence = _answer_line(answer, service)
    _finish(job, answer, sentence, succeeded=True, as_json=as_json)


@app.command()
def cancel(
    job_id: IdArgument, *, no_wait: NoWaitOption = False, yes: YesOption = False, as_json: JsonOption = False
) -> None:
    """Cancel an unfinished job. What it has computed so far is lost; `jobs retry` starts it from scratch."""
    from phonograph_cli.jobs import is_cancellation

    job, answer = run(_cancel(job_id, yes=yes, wait=not no_wait))
    service = job["service"]
    if no_wait:
        sentence = f"Requested. {service} will cancel it."
    elif answer is None:
        sentence = f"Requested, but {service} did not answer. {_see(job)}"
    else:
        sentence = _answer_line(answer, service)
    succeeded = no_wait or (answer is not None and is_cancellation(answer))
    _finish(job, answer, sentence, succeeded=succeeded, as_json=as_json)


async def _read_jobs() -> "list[Job]":
    async with open_recordings() as recordings:
        return await recordings.jobs()


async def _read_job(prefix: str) -> "Job":
    by_id = {job["id"]: job for job in await _read_jobs()}
    return require_match("job", prefix.lower(), by_id, listed_by="phonograph jobs list")


async def _read_job_and_history(prefix: str) -> "tuple[Job, list[ReceivedEvent]]":
    from phonograph_cli.jobs import read_history

    job = await _read_job(prefix)
    async with connect_kafka() as client:
        return job, await read_history(client, job)


async def _retry(prefix: str, *, wait: bool) -> "tuple[Job, ReceivedEvent | None]":
    from phonograph_cli.jobs import REFUSED, request_retry

    job = await _read_job(prefix)
    if job["kind"] == REFUSED:
        fail(REJECTED, f"The request {job['id']} was refused. Correct it, then: phonograph rerun")
    if job["status"] != "failed":
        fail(REJECTED, f"Job {job['id']} is {job['status']}, not failed.")
    async with connect_kafka() as client:
        return job, await request_retry(client, job, wait=wait)


async def _cancel(prefix: str, *, yes: bool, wait: bool) -> "tuple[Job, ReceivedEvent | None]":
    from phonograph_cli.jobs import FINAL_STATES, request_cancel
    from phonograph_cli.locations import printable

    job = await _read_job(prefix)
    if job["status"] in FINAL_STATES:
        fail(REJECTED, f"Job {job['id']} is finished: {job['status']}.")
    confirm(f"Cancel the {job['service']} job of {printable(job['file_name'] or job['media_id'])}?", yes=yes)
    async with connect_kafka() as client:
        return job, await request_cancel(client, job, wait=wait)


def _cell(job: "Job", column: str) -> str:
    """Return the text of a column of the list."""
    value = job.get(column)
    if value is None:
        return ""
    if column == "seconds":
        return f"{value:.2f}"
    if column == "file_name" and job["duplicate_of"] is not None:
        return f"{value}, a copy of {job['duplicate_of']}"
    return str(value)


def _history_entry(received: "ReceivedEvent") -> dict[str, Any]:
    from phonograph_cli.jobs import describe

    time = f"{received.envelope.time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"
    return {
        "time": f"{time[:-3]}Z",
        "topic": received.topic,
        "place": received.place,
        "correlation_id": received.envelope.correlationid,
        "what": describe(received),
    }


def _answer_line(answer: "ReceivedEvent", service: str) -> str:
    from phonograph_cli.jobs import describe

    return f"{service}: {describe(answer)}."


def _see(job: "Job") -> str:
    return f"See: phonograph jobs show {job['id']}"


def _finish(
    job: "Job", answer: "ReceivedEvent | None", sentence: str, *, succeeded: bool, as_json: bool
) -> None:
    from phonograph_cli.jobs import describe

    if as_json:
        answered = None if answer is None else {"topic": answer.topic, "what": describe(answer)}
        print_json({"id": job["id"], "service": job["service"], "ok": succeeded, "answer": answered})
    else:
        print_line(sentence)
    raise typer.Exit(0 if succeeded else REJECTED)
