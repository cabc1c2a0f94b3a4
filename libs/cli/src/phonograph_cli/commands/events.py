"""`phonograph events`: events on Kafka."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonograph_cli.console import JsonOption, print_json, print_line, require_known
from phonograph_cli.session import connect_kafka, run

if TYPE_CHECKING:
    from phonograph_cli.kafka import ReceivedEvent, StoredRecord


def events(
    topics: Annotated[
        list[str], typer.Argument(metavar="TOPIC...", help="For example media-ready; `all` for every topic.")
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after N events.", metavar="N")] = None,
    *,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest event.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show events as they arrive.

    With --from-beginning --json: the records up to now (or up to --limit) as one document.
    """
    from phonograph_events import TOPICS, dead_letter_topic

    selected = list(TOPICS) if topics == ["all"] else topics
    for topic in selected:
        require_known("topic", topic, [*TOPICS, *map(dead_letter_topic, TOPICS)])
    try:
        if not as_json:
            run(_print_events(selected, limit, from_beginning=from_beginning))
        elif from_beginning:
            print_json({"events": run(_read_stored(selected, limit))})
        else:
            print_json({"events": run(_collect_new(selected, limit))})
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _print_events(topics: list[str], limit: int | None, *, from_beginning: bool) -> None:
    async with connect_kafka() as client:
        tail = await client.tail(topics, from_beginning=from_beginning)
        count = 0
        async for received in tail.events():
            event = received.envelope
            text = f"{received.topic} {event.subject} {event.data.model_dump_json()}"
            print_line(f"{event.time:%H:%M:%S} {text}")
            count += 1
            if count == limit:
                return


async def _collect_new(topics: list[str], limit: int | None) -> list[dict[str, Any]]:
    collected: list[dict[str, Any]] = []
    async with connect_kafka() as client:
        tail = await client.tail(topics)
        async for received in tail.events():
            collected.append(_event_to_json(received))
            if len(collected) == limit:
                break
    return collected


async def _read_stored(topics: list[str], limit: int | None) -> list[dict[str, Any]]:
    async with connect_kafka() as client:
        return [_record_to_json(record) for record in await client.read_all(topics)][:limit]


def _event_to_json(received: "ReceivedEvent") -> dict[str, Any]:
    event = received.envelope
    attributes: dict[str, Any] = json.loads(event.model_dump_json())
    return attributes | {"topic": received.topic, "data": json.loads(event.data.model_dump_json())}


def _record_to_json(record: "StoredRecord") -> dict[str, Any]:
    try:
        body = json.loads(record.value or b"")
    except ValueError:
        body = (record.value or b"").decode(errors="replace")
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode(errors="replace"),
        "headers": {name: (value or b"").decode(errors="replace") for name, value in record.headers},
        "data": body,
    }
