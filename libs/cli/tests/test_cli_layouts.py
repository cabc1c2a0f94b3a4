"""`topics check`: what lies on Kafka against what should."""

from typing import Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.support.stack import Stack
from tests.support.system import asked

from phonograph_cli.layouts import Difference, differences, on_kafka
from phonograph_events import TOPICS

LAYOUTS = [layout for topic in TOPICS.values() for layout in topic.configs]
WELL = {layout.name: {"partitions": str(layout.partitions), **layout.config} for layout in LAYOUTS}


def test_everything_as_it_should_be_differs_nowhere() -> None:
    assert differences(WELL, LAYOUTS) == []


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("partitions", "1"),
        ("retention.ms", "604800000"),
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "1048588"),
    ],
)
def test_each_setting_of_a_topic_counts(what: str, value: str) -> None:
    found = WELL | {"media-ready": WELL["media-ready"] | {what: value}}
    assert differences(found, LAYOUTS) == [Difference("media-ready", what, WELL["media-ready"][what], value)]


def test_missing_topics_and_those_that_nobody_knows_differ() -> None:
    found: dict[str, Any] = {name: settings for name, settings in WELL.items() if name != "media-ready-dlq"}
    found["media-redy"] = WELL["media-ready"]
    missing = Difference("media-ready-dlq", "topic", "present", None)
    assert differences(found, LAYOUTS) == [missing, Difference("media-redy", "topic", None, "present")]
    assert differences(found, LAYOUTS, shared=True) == [missing]


async def test_command_finds_what_was_changed_on_kafka(stack: Stack) -> None:
    project, strange = stack.project, f"strange-{uuid4()}"
    servers = stack.addresses.kafka_bootstrap_servers
    assert differences(await on_kafka(servers), LAYOUTS, shared=True) == []
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()

    async def keep(milliseconds: str) -> None:
        settings = dict(WELL["inventory-reported"]) | {"retention.ms": milliseconds}
        del settings["partitions"]
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "inventory-reported", settings)])

    try:
        await admin.create_topics([NewTopic(strange, 1, 1)])
        await keep("86400000")
        told = await asked(project, "topics", "check", "--json")
        assert told.code == 1
        found = {(each["topic"], each["what"]): each["found"] for each in told.json["differences"]}
        assert found.pop(("inventory-reported", "retention.ms")) == "86400000"
        assert found.pop((strange, "topic")) == "present"
        assert {what for _, what in found} <= {"topic"}, "other tests may have topics of their own"
        shown = await asked(project, "topics", "check", "--shared")
        assert shown.code == 1
        assert "kafka-configs.sh" in shown.out
        assert strange not in shown.out
        await keep(WELL["inventory-reported"]["retention.ms"])
        assert (await asked(project, "topics", "check", "--shared")).code == 0
    finally:
        await keep(WELL["inventory-reported"]["retention.ms"])
        await admin.delete_topics([strange])
        await admin.close()
