"""`topics check`: the topics on Kafka compared with those that should exist."""

from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.support.stack import Stack
from tests.support.system import run_command

from phonograph_cli import kafka
from phonograph_cli.topic_config import TopicDifference, find_differences, read_topic_settings
from phonograph_events import TOPICS

CONFIGS = [config for topic in TOPICS.values() for config in topic.configs]
EXPECTED = {config.name: {"partitions": str(config.partitions), **config.config} for config in CONFIGS}


def test_expected_topics_have_no_differences() -> None:
    assert find_differences(EXPECTED, CONFIGS) == []


@pytest.mark.parametrize(
    ("aspect", "value"),
    [
        ("partitions", "1"),
        ("retention.ms", "604800000"),
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1048588"),
    ],
)
def test_every_setting_of_a_topic_is_compared(aspect: str, value: str) -> None:
    found = EXPECTED | {"media-ready": EXPECTED["media-ready"] | {aspect: value}}
    assert find_differences(found, CONFIGS) == [
        TopicDifference("media-ready", aspect, EXPECTED["media-ready"][aspect], value)
    ]


def test_missing_and_unknown_topics_differ() -> None:
    found: dict[str, Any] = {
        name: settings for name, settings in EXPECTED.items() if name != "media-ready-dlq"
    }
    found["media-redy"] = EXPECTED["media-ready"]
    missing = TopicDifference("media-ready-dlq", "topic", "present", None)
    assert find_differences(found, CONFIGS) == [
        missing,
        TopicDifference("media-redy", "topic", None, "present"),
    ]
    assert find_differences(found, CONFIGS, shared=True) == [missing]


async def test_command_finds_changes_on_kafka(stack: Stack) -> None:
    project, unknown = stack.project, f"unknown-{uuid4()}"
    servers = stack.addresses.kafka_bootstrap_servers
    async with kafka.connect(servers) as client:
        assert find_differences(await read_topic_settings(client), CONFIGS, shared=True) == []
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()

    async def set_retention(milliseconds: str) -> None:
        settings = dict(EXPECTED["inventory-reported"]) | {"retention.ms": milliseconds}
        del settings["partitions"]
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "inventory-reported", settings)])

    try:
        await admin.create_topics([NewTopic(unknown, 1, 1)])
        await set_retention("86400000")
        checked = await run_command(project, "topics", "check", "--json")
        assert checked.code == 1
        found = {(each["topic"], each["what"]): each["found"] for each in checked.json["differences"]}
        assert found.pop(("inventory-reported", "retention.ms")) == "86400000"
        assert found.pop((unknown, "topic")) == "present"
        assert {aspect for _, aspect in found} <= {"topic"}, "other tests may have topics of their own"
        printed = await run_command(project, "topics", "check", "--shared")
        assert printed.code == 1
        assert "kafka-configs.sh" in printed.out
        assert unknown not in printed.out
        await set_retention(EXPECTED["inventory-reported"]["retention.ms"])
        assert (await run_command(project, "topics", "check", "--shared")).code == 0
    finally:
        await set_retention(EXPECTED["inventory-reported"]["retention.ms"])
        await admin.delete_topics([unknown])
        await admin.close()
