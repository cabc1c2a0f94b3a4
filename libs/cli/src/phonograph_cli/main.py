"""The `phonograph` command.

Exit codes: 0 all well; 1 a file was rejected or a service failed; 2 wrong usage; 3 the stack is not up.
"""

import json
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from phonograph_cli import console, dlq, graph, jobs, topics
from phonograph_cli.console import (
    INTERRUPTED,
    NOT_UP,
    REJECTED,
    USAGE,
    JsonOption,
    addresses,
    clear_errors,
    err,
    fail,
    out,
    print_json,
    progress,
    project,
    read,
    require_known,
    run,
    say,
)
from phonograph_cli.exporting import Format, NothingToExportError, export
from phonograph_cli.replay import replay

if TYPE_CHECKING:
    from phonograph_cli.following import FileProgress
    from phonograph_cli.recordings import RecordingReader
    from phonograph_events import IngestRequested

MEDIA_SUFFIXES = {".mp3", ".ogg", ".flac", ".m4a", ".wav", ".mp4"}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Recorded media in, what is in them out.",
)
models_app = typer.Typer(no_args_is_help=True, help="Speech models on this machine.")
app.add_typer(graph.app, name="graph")
app.add_typer(dlq.app, name="dlq")
app.add_typer(jobs.app, name="jobs")
app.add_typer(topics.app, name="topics")
app.add_typer(models_app, name="models")
app.command()(replay)


class ProfileName(StrEnum):
    """Profiles as choices of an option; `phonograph_events` has the words, but takes long to import."""

    AUTO = "auto"
    MUSIC = "music"
    SPEECH = "speech"
    MEETING = "meeting"
    LECTURE = "lecture"


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
    from phonograph_cli.project import MONITORING

    started = time.monotonic()
    with clear_errors():
        here = project(report=progress)
        here.up(monitoring=Extra.MONITORING in (extras or ()))
    err.print(f"Phonograph is up ({time.monotonic() - started:.0f} s).", highlight=False)
    for process in here.status():
        if process.name in MONITORING:
            err.print(f"{process.name}: http://127.0.0.1:{process.port}", highlight=False)


@app.command()
def down(*, wipe: Annotated[bool, typer.Option("--wipe", help="Remove all data as well.")] = False) -> None:
    """Stop everything that `up` started; data stay unless wiped."""
    with clear_errors():
        project().stack.down(wipe=wipe)
    err.print("Phonograph is down." if not wipe else "Phonograph is down, its data are removed.")


@app.command()
def demo() -> None:
    """Start everything, take the sample recordings in, show what was found, stop what was started."""
    from phonograph_cli import rendering

    here = project(report=progress)
    samples = here.root / "tests" / "samples"
    good = [str(path) for path in sorted(samples.iterdir()) if path.suffix in MEDIA_SUFFIXES]
    rotten = [str(path) for path in sorted((samples / "rotten").iterdir())]
    was_up = any(process.state == "running" for process in here.stack.status())
    try:
        with clear_errors():
            here.up()
        files = _watch(_requests([*good, *rotten]))
        for path in good:
            out.print(rendering.recording(_shown(path)))
        for file in files:
            say(rendering.ending_line(file))
    finally:
        if not was_up:
            here.report("stopping")
            here.stack.down()
    out.print(
        "Next: `phonograph up`, `phonograph ingest YOUR_FILE --follow`, `phonograph show YOUR_FILE`.",
        markup=False,
    )
    wrong = [file for file in files if file.ok == (file.path in rotten)]
    raise typer.Exit(REJECTED if wrong else 0)


@app.command()
def migrate() -> None:
    """Bring every service's schema of the running stack to its head."""
    with clear_errors():
        project().prepare()
    err.print("Every schema is at its head.")


@app.command()
def status(*, as_json: JsonOption = False) -> None:
    """Show what runs, on which port, with how much memory. Exit code 3 when something is missing."""
    from phonograph_cli import rendering

    with clear_errors():
        processes = project().status()
    if as_json:
        print_json(
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
    folder = project().home / "logs"
    files = [folder / f"{name}.log"] if name else sorted(folder.glob("*.log"))
    present = [str(file) for file in files if file.exists()]
    if not present:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        fail(USAGE, f"There is no log of {name or 'anything'}; there are: {known}.")
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
    from phonograph_cli import ingesting, rendering
    from phonograph_cli.rendering import readable
    from phonograph_events import Options, Profile

    requests = _requests(
        paths,
        profile=Profile(profile),
        owner=owner,
        priority=priority,
        options=Options(language=language, speakers=speakers),
    )
    servers = addresses().kafka_bootstrap_servers
    if not (follow or wait):
        asked = run(lambda: ingesting.request(servers, requests))
        if as_json:
            print_json({"files": [{"path": f.path, "correlation_id": f.correlation_id} for f in asked]})
        else:
            for path in paths:
                say(f"{readable(path)}: requested. Look with: phonograph show {readable(path)}")
        return

    _require_services()
    files = _watch(requests, quiet=as_json or not follow)
    if as_json:
        print_json({"files": [file.to_json() | {"path": readable(file.path)} for file in files]})
    else:
        for file in files:
            say(rendering.ending_line(file))
    raise typer.Exit(0 if all(file.ok for file in files) else REJECTED)


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="ID|PATH", help="A media id, its first digits, or a path.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show everything known of a recording."""
    from phonograph_cli import rendering

    shown = _shown(what)
    if as_json:
        print_json(shown)
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
        fail(REJECTED, str(error))
    if output is None:
        sys.stdout.write(content)
    else:
        try:
            output.write_text(content, encoding="utf-8")
        except OSError as error:
            fail(USAGE, f"{output} cannot be written: {error.strerror}.")


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
    from phonograph_cli import kafka
    from phonograph_events import TOPICS, dead_letter_topic

    wanted = list(TOPICS) if topics == ["all"] else topics
    for topic in wanted:
        require_known("topic", topic, [*TOPICS, *map(dead_letter_topic, TOPICS)])
    servers = addresses().kafka_bootstrap_servers

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
                    say(line)
                    found.append({})
                if limit is not None and len(found) >= limit:
                    break
        return found

    try:
        found = run(stream)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    if as_json:
        print_json({"events": found})


@models_app.command("list")
def models_list() -> None:
    """List speech models, and which of them lie on this machine."""
    _transcription("models", "list")


@models_app.command("fetch")
def models_fetch(name: Annotated[str, typer.Argument(help="For example small, distil-large-v3.")]) -> None:
    """Download a speech model."""
    _transcription("models", "fetch", name)


def _requests(paths: list[str], **about: Any) -> "dict[str, IngestRequested]":
    from phonograph_cli.ingesting import address
    from phonograph_events import IngestRequested

    return {path: IngestRequested(uri=address(path), **about) for path in paths}


def _watch(requests: "dict[str, IngestRequested]", *, quiet: bool = False) -> "list[FileProgress]":
    """Ask for files and wait until all is over, drawing on a terminal and printing on a pipe."""
    from phonograph_cli import ingesting

    servers = addresses().kafka_bootstrap_servers

    async def watch() -> "list[FileProgress]":
        async with console.graph() as driver:
            if quiet:
                return await ingesting.follow(servers, requests, lambda _files: None, driver=driver)
            if not out.is_terminal:
                return await ingesting.follow(servers, requests, ingesting.PlainPrinter(), driver=driver)
            with ingesting.LivePainter(out) as painter:
                return await ingesting.follow(servers, requests, painter, driver=driver)

    try:
        return run(watch)
    except KeyboardInterrupt:
        err.print("The work goes on. Look with: phonograph jobs list, phonograph show PATH", highlight=False)
        raise typer.Exit(INTERRUPTED) from None


def _transcription(*arguments: str) -> NoReturn:
    from phonograph_events import Service

    command = [project().service_command(Service.TRANSCRIPTION), *arguments]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _require_services() -> None:
    """Who waits for results must not wait for a service that is dead."""
    from phonograph_cli.project import MONITORING

    needed = [process for process in project().status() if process.name not in MONITORING]
    dead = [process.name for process in needed if process.state != "running"]
    if dead:
        fail(NOT_UP, f"Not running: {', '.join(dead)}. Start what is missing with: phonograph up")


def _shown(what: str) -> dict[str, Any]:
    from phonograph_cli.ingesting import address
    from phonograph_cli.rendering import readable

    async def ask(reader: "RecordingReader") -> dict[str, Any] | None:
        media_id = await reader.find(what)
        if media_id is None and "://" not in what:
            media_id = await reader.find(address(what))
        return await reader.show(media_id) if media_id else None

    shown = run(lambda: read(ask))
    if shown is None:
        fail(REJECTED, f"Nothing is known of {readable(what)}. Take it in: phonograph ingest PATH --follow")
    return shown


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
