"""`phonograph graph`: compares the graph with the services, and builds it again."""

import subprocess
from typing import TYPE_CHECKING

import typer

from phonograph_cli import console
from phonograph_cli.console import REJECTED, JsonOption, addresses, out, print_json, project, run, say

if TYPE_CHECKING:
    from phonograph_cli.checking import Comparison

app = typer.Typer(no_args_is_help=True, help="The graph: rebuild it, compare it with the services.")


@app.command()
def rebuild() -> None:
    """Empty the graph and build it again from the first event on."""
    from phonograph_events import Service

    async def reach() -> None:
        async with console.graph() as driver:
            await driver.verify_connectivity()

    run(reach)
    here = project()
    command = [here.service_command(Service.GRAPH_SYNC), "rebuild"]
    environment = here.service_environment(Service.GRAPH_SYNC)
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


@app.command()
def check(*, as_json: JsonOption = False) -> None:
    """Compare the graph with what the services hold. Exit code 1 when they differ.

    The graph is given time to take what was published before; work may go on meanwhile.
    """
    from phonograph_cli import checking, rendering
    from phonograph_cli.recordings import RecordingReader

    servers, objects = addresses().kafka_bootstrap_servers, project().objects

    async def compare() -> "Comparison":
        async with console.graph() as driver:
            return await checking.compare(servers, objects, RecordingReader(driver, objects).versions)

    found = run(compare)
    if as_json:
        print_json(found.to_json())
        raise typer.Exit(0 if found.ok else REJECTED)
    rows = [[kind, str(count)] for kind, count in sorted(found.counts.items())]
    out.print(rendering.listing(["kind", "count"], rows))
    for each in found.differences:
        say(f"{each['kind']} {each['id']}: service {each['service'] or '–'}, graph {each['graph'] or '–'}")
    for name in found.silent:
        say(f"{name} did not answer. Is it running? phonograph status", style="red")
    if found.behind:
        say(f"graph-sync has {found.behind} events before it and stands still.", style="red")
    elif found.differences:
        say("What the graph lacks may be parked: phonograph dlq list --service graph-sync", style="yellow")
        say("Once that is mended: phonograph graph rebuild", style="yellow")
    if found.ok:
        say("The graph holds what the services hold.", style="green")
    raise typer.Exit(0 if found.ok else REJECTED)
