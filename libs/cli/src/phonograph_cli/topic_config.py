"""Partitions and settings of the topics on Kafka, compared with those that they should have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from phonograph_cli.kafka import KafkaClient
from phonograph_events import TopicConfig

PARTITIONS: Final = "partitions"
EXISTENCE: Final = "topic"
INTERNAL_PREFIX: Final = "__"
"""Prefix of the names of Kafka's own topics."""

TopicSettings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Settings of each topic by their Kafka names, and its number of partitions as `partitions`."""


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """One property of a topic that is not as it should be."""

    topic: str
    aspect: str
    """`topic` (it is missing or unknown), `partitions`, or the Kafka name of a setting."""
    expected: str | None
    found: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the difference for `--json`."""
        return {"topic": self.topic, "what": self.aspect, "expected": self.expected, "found": self.found}


async def read_topic_settings(client: KafkaClient) -> TopicSettings:
    """Return the settings of every topic except Kafka's own.

    Raises:
        KafkaError: Kafka refuses to describe a topic.
    """
    admin = await client.admin()
    described = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
    names = sorted(name for name in described if not name.startswith(INTERNAL_PREFIX))
    settings = {name: {PARTITIONS: str(len(described[name]))} for name in names}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    for response in await admin.describe_configs(resources) if resources else []:
        for code, message, _, name, entries in response.resources:
            if code:
                raise for_code(code)(message)
            settings[name] |= {entry[0]: entry[1] for entry in entries if entry[1] is not None}
    return settings


def find_differences(
    found: TopicSettings, expected: Iterable[TopicConfig], *, shared: bool = False
) -> list[TopicDifference]:
    """Return what is missing, set to another value, or unknown.

    Args:
        found: Settings of the topics on Kafka.
        expected: Topics that should exist.
        shared: Whether the Kafka cluster also has topics of other systems, so that unknown ones are skipped.
    """
    configs = {config.name: config for config in expected}
    differences = [each for config in configs.values() for each in _differences_of(config, found)]
    if not shared:
        unknown = sorted(found.keys() - configs.keys())
        differences += [TopicDifference(name, EXISTENCE, None, "present") for name in unknown]
    return differences


def _differences_of(config: TopicConfig, found: TopicSettings) -> list[TopicDifference]:
    present = found.get(config.name)
    if present is None:
        return [TopicDifference(config.name, EXISTENCE, "present", None)]
    expected = {PARTITIONS: str(config.partitions)} | dict(config.config)
    return [
        TopicDifference(config.name, aspect, value, present.get(aspect))
        for aspect, value in expected.items()
        if present.get(aspect) != value
    ]
