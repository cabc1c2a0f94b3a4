"""`phonograph topics`: whether Kafka's topics are what they should be."""

from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.console import REJECTED, JsonOption, addresses, out, print_json, run, say

if TYPE_CHECKING:
    from phonograph_cli.layouts import Difference

app = typer.Typer(no_args_is_help=True, help="Kafka's topics.")


@app.callback()
def _group() -> None:
    """Keep `check` a command of its own, although it is the only one."""


@app.command()
def check(
    *,
    shared: Annotated[
        bool, typer.Option("--shared", help="Others use this Kafka too: pass over topics that are not ours.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare what exists with schemas/topics. Exit code 1 when they differ."""
    from phonograph_cli import layouts, rendering
    from phonograph_events import TOPICS

    servers = addresses().kafka_bootstrap_servers
    found = run(lambda: layouts.on_kafka(servers))
    wanted = [layout for topic in TOPICS.values() for layout in topic.configs]
    differences = layouts.differences(found, wanted, shared=shared)
    if as_json:
        print_json({"topics": len(wanted), "differences": [each.to_json() for each in differences]})
    elif differences:
        rows = [[each.topic, each.what, each.expected or "–", each.found or "–"] for each in differences]
        out.print(rendering.listing(["topic", "what", "expected", "found"], rows))
        for advice in _advice(differences):
            say(advice, style="yellow")
    else:
        say(f"All {len(wanted)} topics are as they should be.", style="green")
    raise typer.Exit(REJECTED if differences else 0)


def _advice(differences: "list[Difference]") -> list[str]:
    from phonograph_cli.layouts import EXISTENCE, PARTITIONS

    advice = {
        "Missing topics are created by: phonograph migrate": any(
            each.what == EXISTENCE and each.found is None for each in differences
        ),
        "A topic that nobody knows was made by a producer that mistook its name, or is another's "
        "(then: --shared).": any(each.what == EXISTENCE and each.expected is None for each in differences),
        "Partitions can be added, never taken away; keys then have new partitions, so that the order of a "
        "file's events holds only from there on.": any(each.what == PARTITIONS for each in differences),
        "Settings are changed with Kafka's own tool: kafka-configs.sh --alter --topic TOPIC --add-config "
        "NAME=VALUE": any(each.what not in {EXISTENCE, PARTITIONS} for each in differences),
    }
    return [sentence for sentence, applies in advice.items() if applies]
