"""`phonograph topics`: check the topics on Kafka."""

from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.console import REJECTED, JsonOption, out, print_json, print_line
from phonograph_cli.session import connect_kafka, run

if TYPE_CHECKING:
    from phonograph_cli.topic_config import TopicDifference, TopicSettings

app = typer.Typer(no_args_is_help=True, help="Kafka's topics.")


@app.callback()
def _group() -> None:
    """Keep `check` a subcommand, although it is the only one."""


@app.command()
def check(
    *,
    shared: Annotated[
        bool, typer.Option("--shared", help="Ignore topics of other systems on the same Kafka cluster.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the topics on Kafka with schemas/topics. Exit code 1 when they differ."""
    from phonograph_cli import rendering
    from phonograph_cli.topic_config import find_differences
    from phonograph_events import TOPICS

    expected = [config for topic in TOPICS.values() for config in topic.configs]
    differences = find_differences(run(_read_topic_settings()), expected, shared=shared)
    if as_json:
        print_json({"topics": len(expected), "differences": [each.to_json() for each in differences]})
    elif differences:
        rows = [[each.topic, each.aspect, each.expected or "–", each.found or "–"] for each in differences]
        out.print(rendering.listing(["topic", "what", "expected", "found"], rows))
        for advice in _advice(differences):
            print_line(advice, style="yellow")
    else:
        print_line(f"All {len(expected)} topics are as they should be.", style="green")
    raise typer.Exit(REJECTED if differences else 0)


async def _read_topic_settings() -> "TopicSettings":
    from phonograph_cli.topic_config import read_topic_settings

    async with connect_kafka() as client:
        return await read_topic_settings(client)


def _advice(differences: "list[TopicDifference]") -> list[str]:
    from phonograph_cli.topic_config import EXISTENCE, PARTITIONS

    existence = [each for each in differences if each.aspect == EXISTENCE]
    applies = {
        "Create missing topics with: phonograph migrate": any(each.found is None for each in existence),
        "An unknown topic was created by a producer that mistyped a name, or belongs to another system "
        "(then use --shared).": any(each.expected is None for each in existence),
        "Partitions can be added but not removed. Adding some moves keys to other partitions, so that the "
        "order of a file's events holds only from then on.": any(
            each.aspect == PARTITIONS for each in differences
        ),
        "Change settings with Kafka's own tool: kafka-configs.sh --alter --topic TOPIC --add-config "
        "NAME=VALUE": any(each.aspect not in {EXISTENCE, PARTITIONS} for each in differences),
    }
    return [sentence for sentence, is_needed in applies.items() if is_needed]
