"""The `phonograph` command.

Exit codes: 0 all well; 1 a file was rejected or a service failed; 2 wrong usage; 3 the stack is not up.
"""

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar
from uuid import UUID

import typer
from aiokafka.errors import KafkaError
from neo4j import AsyncDriver, AsyncGraphDatabase
from neo4j.exceptions import DriverError, Neo4jError
from rich.console import Console

from phonograph_cli import checking, dead_letters, ingesting, kafka, rendering
from phonograph_cli.exporting import Format, NothingToExportError, export
from phonograph_cli.following import FileProgress
from phonograph_cli.project import MONITORING, Project
from phonograph_cli.recordings import RecordingReader
from phonograph_cli.rendering import readable
from phonograph_devstack import Addresses, StackError
from phonograph_events import (
    TOPICS,
    IngestRequested,
    JobRetryRequested,
    Options,
    Profile,
    Service,
    dead_letter_topic,
)

MEDIA_SUFFIXES = {".mp3", ".ogg", ".flac", ".m4a", ".wav", ".mp4"}
PIPE_WIDTH = 160
"""Columns for a reader that is no terminal."""
REJECTED, USAGE, NOT_UP, INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Recorded media in, what is in them out.",
)
graph_app = typer.Typer(no_args_is_help=True, help="The graph: rebuild it, compare it with the services.")
dlq_app = typer.Typer(no_args_is_help=True, help="Events that a service could not take.")
jobs_app = typer.Typer(no_args_is_help=True, help="Work in hand, done and failed.")
models_app = typer.Typer(no_args_is_help=True, help="Speech models on this machine.")
app.add_typer(graph_app, name="graph")
app.add_typer(dlq_app, name="dlq")
app.add_typer(jobs_app, name="jobs")
app.add_typer(models_app, name="models")

out = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True)

T = TypeVar("T")
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


class ProfileName(StrEnum):
    """Profiles as choices of an option."""

    AUTO = Profile.AUTO.value
    MUSIC = Profile.MUSIC.value
    SPEECH = Profile.SPEECH.value
    MEETING = Profile.MEETING.value
    LECTURE = Profile.LECTURE.value


class Extra(StrEnum):
    """What `up` starts only when asked."""

    MONITORING = "monitoring"


@app.command()
def up(
    extras: Annotated[
        list[Extra] | None,
        typer.Option("--with", help="Prometheus, and Grafana where it is installed."),
    ] = None,
) -> None:
    """Start PostgreSQL, Kafka, Neo4j and all services; start again what has died."""
    started = time.monotonic()
    with _clear_errors():
        project = Project.here(report=lambda line: err.print(f"  {line}", style="dim", highlight=False))
        project.up(monitoring=Extra.MONITORING in (extras or ()))
    err.print(f"Phonograph is up ({time.monotonic() - started:.0f} s).", highlight=False)
    for process in project.status():
        if process.name in MONITORING:
            err.print(f"{process.name}: http://127.0.0.1:{process.port}", highlight=False)


@app.command()
def down(*, wipe: Annotated[bool, typer.Option("--wipe", help="Remove all data as well.")] = False) -> None:
    """Stop everything that `up` started; data stay unless wiped."""
    with _clear_errors():
        Project.here().stack.down(wipe=wipe)
    err.print("Phonograph is down." if not wipe else "Phonograph is down, its data are removed.")


@app.command()
def demo() -> None:
    """Start everything, take the sample recordings in, show what was found, stop what was started."""
    project = Project.here(report=lambda line: err.print(f"  {line}", style="dim", highlight=False))
    samples = project.root / "tests" / "samples"
    good = [str(path) for path in sorted(samples.iterdir()) if path.suffix in MEDIA_SUFFIXES]
    rotten = [str(path) for path in sorted((samples / "rotten").iterdir())]
    was_up = any(process.state == "running" for process in project.stack.status())
    try:
        with _clear_errors():
            project.up()
        requests = _requests([*good, *rotten], profile=Profile.AUTO)
        files = _watch(requests, project.stack.addresses())
        for path in good:
            out.print(rendering.recording(_shown(path)))
        for file in files:
            out.print(rendering.ending_line(file), highlight=False, markup=False, soft_wrap=True)
    finally:
        if not was_up:
            project.report("stopping")
            project.stack.down()
    out.print(
        "Next: `phonograph up`, `phonograph ingest YOUR_FILE --follow`, `phonograph show YOUR_FILE`.",
        markup=False,
    )
    wrong = [file for file in files if file.ok == (file.path in rotten)]
    raise typer.Exit(REJECTED if wrong else 0)


@app.command()
def migrate() -> None:
    """Bring every service's schema of the running stack to its head."""
    with _clear_errors():
        Project.here().prepare()
    err.print("Every schema is at its head.")


@app.command()
def status(*, as_json: JsonOption = False) -> None:
    """Show what runs, on which port, with how much memory. Exit code 3 when something is missing."""
    with _clear_errors():
        project = Project.here()
        processes = project.status()
    if as_json:
        _print_json(
            {
                "processes": [
                    {
                        "name": p.name,
                        "state": p.state,
                        "pid": p.pid,
                        "port": p.port,
                        "memory_bytes": p.memory_bytes,
                    }
                    for p in processes
                ]
            }
        )
    else:
        rows = [
            [
                p.name,
                p.state,
                str(p.pid or ""),
                str(p.port or ""),
                f"{p.memory_bytes / 2**20:.0f} MiB" if p.memory_bytes else "",
            ]
            for p in processes
        ]
        total = sum(p.memory_bytes or 0 for p in processes)
        out.print(rendering.listing(["name", "state", "pid", "port", "memory"], rows))
        out.print(f"{total / 2**20:.0f} MiB in all", style="dim", highlight=False)
    if not processes or any(p.state != "running" for p in processes):
        raise typer.Exit(NOT_UP)


@app.command()
def logs(
    name: Annotated[
        str | None, typer.Argument(help="A server or a service; all of them when left out.")
    ] = None,
    lines: Annotated[int, typer.Option("-n", help="Last lines to show.")] = 50,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as lines come.")] = False,
) -> None:
    """Show logs."""
    folder = Project.here().home / "logs"
    files = [folder / f"{name}.log"] if name else sorted(folder.glob("*.log"))
    present = [str(file) for file in files if file.exists()]
    if not present:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        _exit(USAGE, f"There is no log of {name or 'anything'}; there are: {known}.")
    arguments = ["tail", f"-n{lines}", *(["-F"] if follow else []), *present]
    raise typer.Exit(subprocess.run(arguments, check=False).returncode)


@app.command()
def ingest(
    paths: Annotated[list[str], typer.Argument(help="Files, or file:// addresses.", metavar="PATH...")],
    *,
    profile: Annotated[
        ProfileName, typer.Option(help="What the files are; auto lets every service look.")
    ] = ProfileName.AUTO,
    owner: Annotated[str | None, typer.Option(help="Whose files they are.")] = None,
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Larger goes first.")] = 0,
    language: Annotated[str | None, typer.Option(help="Language of the speech, for example en.")] = None,
    speakers: Annotated[int | None, typer.Option(min=1, help="Exact number of speakers.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Draw progress until all is done.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all is done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Take files in. With --follow or --wait the exit code is 0 only when every file ended well."""
    requests = _requests(
        paths,
        profile=Profile(profile),
        owner=owner,
        priority=priority,
        options=Options(language=language, speakers=speakers),
    )
    addresses = _addresses()
    servers = addresses.kafka_bootstrap_servers
    if follow or wait:
        _require_services()
    else:
        files = _run(lambda: ingesting.request(servers, requests))
        if as_json:
            _print_json({"files": [{"path": f.path, "correlation_id": f.correlation_id} for f in files]})
        else:
            for path in paths:
                out.print(
                    f"{readable(path)}: requested. Look with: phonograph show {readable(path)}",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )
        return

    files = _watch(requests, addresses, quiet=as_json or not follow)
    if as_json:
        _print_json({"files": [file.to_json() | {"path": readable(file.path)} for file in files]})
    else:
        for file in files:
            out.print(rendering.ending_line(file), highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(0 if all(file.ok for file in files) else REJECTED)


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="ID|PATH", help="A media id, its first digits, or a path.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show everything known of a recording."""
    shown = _shown(what)
    if as_json:
        _print_json(shown)
    else:
        out.print(rendering.recording(shown))


@app.command("export")
def export_command(
    what: Annotated[str, typer.Argument(metavar="ID|PATH")],
    form: Annotated[Format, typer.Option("--format", help="Which format.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A file; standard output when left out.")
    ] = None,
) -> None:
    """Write a recording's transcript, speakers or tracklist for other programs."""
    try:
        content = export(_shown(what), form)
    except NothingToExportError as error:
        _exit(REJECTED, str(error))
    if output is None:
        sys.stdout.write(content)
    else:
        output.write_text(content, encoding="utf-8")


@app.command()
def events(
    topics: Annotated[
        list[str], typer.Argument(metavar="TOPIC...", help="For example media-ready; `all` for every topic.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    *,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="Begin with the oldest.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show events as they come. With --json: those up to now (or to --limit), as one document."""
    wanted = list(TOPICS) if topics == ["all"] else topics
    known = {*TOPICS, *map(dead_letter_topic, TOPICS)}
    unknown = [topic for topic in wanted if topic not in known]
    if unknown:
        _exit(USAGE, f"There is no topic {unknown[0]!r}; there are: {', '.join(TOPICS)}.")
    servers = _addresses().kafka_bootstrap_servers

    async def stream() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        if as_json and from_beginning:
            records = await kafka.read_all(servers, wanted)
            return [_record_json(record) for record in records][:limit]
        async with kafka.tail(servers, wanted, from_beginning=from_beginning) as tail:
            async for seen in tail.events():
                about = seen.envelope
                if as_json:
                    found.append(
                        json.loads(about.model_dump_json())
                        | {"topic": seen.topic, "data": json.loads(about.data.model_dump_json())}
                    )
                else:
                    line = (
                        f"{about.time:%H:%M:%S} {seen.topic} {about.subject} {about.data.model_dump_json()}"
                    )
                    out.print(line, highlight=False, markup=False, soft_wrap=True)
                    found.append({})
                if limit is not None and len(found) >= limit:
                    break
        return found

    try:
        found = _run(stream)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    if as_json:
        _print_json({"events": found})


@graph_app.command("rebuild")
def graph_rebuild() -> None:
    """Empty the graph and build it again from the first event on."""
    _addresses()
    project = Project.here()
    command = [project.service_command(Service.GRAPH_SYNC), "rebuild"]
    environment = project.service_environment(Service.GRAPH_SYNC)
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


@graph_app.command("check")
def graph_check(*, as_json: JsonOption = False) -> None:
    """Compare the graph with what the services hold. Exit code 1 when they differ."""
    addresses, project = _addresses(), Project.here()

    async def check() -> tuple[list[dict[str, Any]], list[str], dict[str, int]]:
        held, silent = await checking.inventories(addresses.kafka_bootstrap_servers, project.objects)
        async with _driver(addresses) as driver:
            graph = await RecordingReader(driver, project.objects).versions()
        return checking.differences(held, graph), silent, {kind: len(ids) for kind, ids in held.items()}

    found, silent, counts = _run(check)
    if as_json:
        _print_json({"counts": counts, "differences": found, "silent": silent})
    else:
        out.print(
            rendering.listing(
                ["kind", "count"], [[kind, str(count)] for kind, count in sorted(counts.items())]
            )
        )
        for each in found:
            out.print(
                f"{each['kind']} {each['id']}: service {each['service']}, graph {each['graph']}",
                highlight=False,
            )
        for name in silent:
            out.print(f"{name} did not answer", style="red")
        if not found and not silent:
            out.print("The graph holds what the services hold.", style="green")
    raise typer.Exit(REJECTED if found or silent else 0)


@dlq_app.command("list")
def dlq_list(*, as_json: JsonOption = False) -> None:
    """List parked events."""
    letters = _letters()
    if as_json:
        _print_json({"dead_letters": [letter.to_json() for letter in letters]})
        return
    rows = [
        [letter.id, letter.service, letter.origin, letter.reason, f"{letter.parked_at:%Y-%m-%d %H:%M:%S}"]
        for letter in letters
    ]
    out.print(rendering.listing(["id", "service", "topic/partition/offset", "reason", "parked"], rows))


@dlq_app.command("show")
def dlq_show(letter_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show one parked event whole."""
    _print_json(_one_letter(letter_id).to_json())


@dlq_app.command("replay")
def dlq_replay(
    letter_id: Annotated[str | None, typer.Argument(metavar="ID")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every parked event.")] = False,
) -> None:
    """Send parked events to the service that could not take them, once more."""
    if (letter_id is None) == (not everything):
        _exit(USAGE, "Give either an ID or --all.")
    letters = _letters() if letter_id is None else [_one_letter(letter_id)]
    servers = _addresses().kafka_bootstrap_servers
    _run(lambda: dead_letters.replay(servers, letters))
    out.print(f"{len(letters)} sent again.", highlight=False)


@jobs_app.command("list")
def jobs_list(
    state: Annotated[
        str | None,
        typer.Option("--status", help="Only these: pending, processing, retrying, completed, failed."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List jobs of all services."""
    jobs = _run(lambda: _read(lambda reader: reader.jobs(status=state)))
    if as_json:
        _print_json({"jobs": jobs})
        return
    columns = ["id", "service", "status", "reason", "file_name", "seconds"]
    rows = [["" if job.get(name) is None else str(job[name]) for name in columns] for job in jobs]
    out.print(rendering.listing(columns, rows))


@jobs_app.command("retry")
def jobs_retry(job_id: Annotated[str, typer.Argument(metavar="ID", help="A failed job's id.")]) -> None:
    """Give a failed job a fresh set of attempts."""
    jobs = [job for job in _run(lambda: _read(lambda reader: reader.jobs())) if job["id"] == job_id]
    if not jobs:
        _exit(USAGE, f"There is no job {job_id}. See: phonograph jobs list")
    job = jobs[0]
    if job["status"] != "failed":
        _exit(REJECTED, f"Job {job_id} is {job['status']}, not failed.")
    event = JobRetryRequested(
        media_id=UUID(job["media_id"]), job_id=UUID(job_id), service=Service(job["service"])
    )
    servers = _addresses().kafka_bootstrap_servers
    _run(lambda: kafka.publish(servers, [event]))
    out.print(f"{job['service']} will try again.", highlight=False)


@models_app.command("list")
def models_list() -> None:
    """List speech models, and which of them lie on this machine."""
    _transcription("models", "list")


@models_app.command("fetch")
def models_fetch(name: Annotated[str, typer.Argument(help="For example small, distil-large-v3.")]) -> None:
    """Download a speech model."""
    _transcription("models", "fetch", name)


def _requests(paths: list[str], **about: Any) -> dict[str, IngestRequested]:
    return {path: IngestRequested(uri=ingesting.address(path), **about) for path in paths}


def _watch(
    requests: dict[str, IngestRequested], addresses: Addresses, *, quiet: bool = False
) -> list[FileProgress]:
    """Ask for files and wait until all is over, drawing on a terminal and printing on a pipe."""

    async def watch() -> list[FileProgress]:
        servers = addresses.kafka_bootstrap_servers
        async with _driver(addresses) as driver:
            if quiet:
                return await ingesting.follow(servers, requests, lambda _files: None, driver=driver)
            if not out.is_terminal:
                return await ingesting.follow(servers, requests, ingesting.PlainPrinter(), driver=driver)
            with ingesting.LivePainter(out) as painter:
                return await ingesting.follow(servers, requests, painter, driver=driver)

    try:
        return _run(watch)
    except KeyboardInterrupt:
        err.print("The work goes on. Look with: phonograph jobs list, phonograph show PATH", highlight=False)
        raise typer.Exit(INTERRUPTED) from None


def _transcription(*arguments: str) -> NoReturn:
    command = [Project.here().service_command(Service.TRANSCRIPTION), *arguments]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _addresses() -> Addresses:
    with _clear_errors():
        return Project.here().stack.addresses()


def _require_services() -> None:
    """Who waits for results must not wait for a service that is dead."""
    needed = [process for process in Project.here().status() if process.name not in MONITORING]
    dead = [process.name for process in needed if process.state != "running"]
    if dead:
        _exit(NOT_UP, f"Not running: {', '.join(dead)}. Start what is missing with: phonograph up")


def _driver(addresses: Addresses) -> AsyncDriver:
    return AsyncGraphDatabase.driver(
        addresses.neo4j_uri, auth=(addresses.neo4j_user, addresses.neo4j_password), connection_timeout=10
    )


async def _read(question: Callable[[RecordingReader], Awaitable[T]]) -> T:
    async with _driver(_addresses()) as driver:
        return await question(RecordingReader(driver, Project.here().objects))


def _shown(what: str) -> dict[str, Any]:
    async def ask(reader: RecordingReader) -> dict[str, Any] | None:
        media_id = await reader.find(what)
        if media_id is None and "://" not in what:
            media_id = await reader.find(ingesting.address(what))
        return await reader.show(media_id) if media_id else None

    shown = _run(lambda: _read(ask))
    if shown is None:
        _exit(
            REJECTED,
            f"Nothing is known of {readable(what)}. Take it in: phonograph ingest PATH --follow",
        )
    return shown


def _letters() -> list[dead_letters.DeadLetter]:
    servers = _addresses().kafka_bootstrap_servers
    return _run(lambda: dead_letters.dead_letters(servers))


def _one_letter(letter_id: str) -> dead_letters.DeadLetter:
    found = [letter for letter in _letters() if letter.id == letter_id]
    if not found:
        _exit(USAGE, f"There is no parked event {letter_id}. See: phonograph dlq list")
    return found[0]


def _record_json(record: Any) -> dict[str, Any]:
    try:
        body = json.loads(record.value)
    except (TypeError, ValueError):
        body = (record.value or b"").decode(errors="replace")
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode(errors="replace"),
        "headers": {name: (value or b"").decode(errors="replace") for name, value in record.headers},
        "data": body,
    }


def _run(action: Callable[[], Awaitable[T]]) -> T:
    """Run something asynchronous; a server that is away is exit code 3."""

    async def main() -> T:
        return await action()

    try:
        return asyncio.run(main())
    except (KafkaError, DriverError, Neo4jError, ConnectionError) as error:
        _exit(NOT_UP, f"A server does not answer: {error}. Start it with: phonograph up")


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except StackError as error:
        _exit(NOT_UP, str(error))


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _exit(code: int, message: str) -> NoReturn:
    err.print(message, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(code)


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it reconnects by itself, and tells of each attempt
