"""Compares the topics that lie on Kafka with those that should."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from phonograph_events.topics import TopicConfig

PARTITIONS: Final = "partitions"
EXISTENCE: Final = "topic"
INTERNAL: Final = "__"
"""How the names of Kafka's own topics begin."""

Found = Mapping[str, Mapping[str, str]]
"""Topics with their settings, the number of partitions among them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be."""

    topic: str
    what: str
    """`topic` (it is missing, or nobody knows it), `partitions`, or a setting of Kafka's."""
    expected: str | None
    found: str | None

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


async def on_kafka(servers: str) -> Found:
    """Every topic but Kafka's own.

    Raises:
        KafkaError: Kafka does not answer, or does not tell.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        topics = {each["topic"]: each for each in await admin.describe_topics()}
        names = sorted(name for name in topics if not name.startswith(INTERNAL))
        found: dict[str, dict[str, str]] = {
            name: {PARTITIONS: str(len(topics[name]["partitions"]))} for name in names
        }
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        for response in await admin.describe_configs(resources) if resources else []:
            for code, message, _, name, entries in response.resources:
                if code:
                    raise for_code(code)(message)
                found[name] |= {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    finally:
        await admin.close()
    return found


def differences(found: Found, wanted: Iterable[TopicConfig], *, shared: bool = False) -> list[Difference]:
    """What is missing, laid out otherwise, or not known; topics of others may lie on a shared cluster."""
    differing: list[Difference] = []
    known = set()
    for layout in wanted:
        known.add(layout.name)
        present = found.get(layout.name)
        if present is None:
            differing.append(Difference(layout.name, EXISTENCE, "present", None))
            continue
        expected = {PARTITIONS: str(layout.partitions)} | dict(layout.config)
        differing += [
            Difference(layout.name, what, value, present.get(what))
            for what, value in expected.items()
            if present.get(what) != value
        ]
    if not shared:
        differing += [
            Difference(name, EXISTENCE, None, "present") for name in sorted(found) if name not in known
        ]
    return differing
