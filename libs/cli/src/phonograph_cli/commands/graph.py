"""`phonograph graph`: compare the graph with the services, and rebuild it."""

import subprocess
from typing import TYPE_CHECKING

import typer

from phonograph_cli.console import REJECTED, JsonOption, out, print_json, print_line, report_errors
from phonograph_cli.session import connect_graph, connect_kafka, project, run

if TYPE_CHECKING:
    from phonograph_cli.graph_check import GraphComparison

app = typer.Typer(no_args_is_help=True, help="Rebuild the graph, or compare it with the services.")


@app.command()
def rebuild() -> None:
    """Empty the graph and rebuild it from the first event."""
    from phonograph_events import Service

    run(_require_graph())
    here = project()
    with report_errors():
        command = [here.service_command(Service.GRAPH_SYNC), "rebuild"]
        environment = here.service_environment(Service.GRAPH_SYNC)
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


@app.command()
def check(*, as_json: JsonOption = False) -> None:
    """Compare the graph with what the services hold. Exit code 1 when they differ.

    Events that were published before are waited for; services may continue to work during the check.
    """
    comparison = run(_compare())
    if as_json:
        print_json(comparison.to_json())
    else:
        _print_comparison(comparison)
    raise typer.Exit(0 if comparison.is_equal else REJECTED)


async def _require_graph() -> None:
    async with connect_graph() as driver:
        await driver.verify_connectivity()


async def _compare() -> "GraphComparison":
    from phonograph_cli.graph_check import compare
    from phonograph_cli.recordings import RecordingReader

    objects = project().objects
    async with connect_graph() as driver, connect_kafka() as client:
        return await compare(client, objects, RecordingReader(driver, objects).versions)


def _print_comparison(comparison: "GraphComparison") -> None:
    from phonograph_cli import rendering

    rows = [[kind, str(count)] for kind, count in sorted(comparison.counts.items())]
    out.print(rendering.listing(["kind", "count"], rows))
    for each in comparison.differences:
        versions = f"service {each['service'] or '–'}, graph {each['graph'] or '–'}"
        print_line(f"{each['kind']} {each['id']}: {versions}")
    for name in comparison.silent:
        print_line(f"{name} did not answer. Is it running? phonograph status", style="red")
    if comparison.behind:
        print_line(f"graph-sync is stalled {comparison.behind} events behind.", style="red")
    elif comparison.differences:
        print_line("Missing events may be parked: phonograph dlq list --service graph-sync", style="yellow")
        print_line("Once that is fixed: phonograph graph rebuild", style="yellow")
    if comparison.is_equal:
        print_line("The graph holds what the services hold.", style="green")
