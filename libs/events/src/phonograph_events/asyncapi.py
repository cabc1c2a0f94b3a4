"""The AsyncAPI 3.0 documents: one per service, one of the whole; bodies and headers by reference."""

from typing import Any

from phonograph_events.enums import Service
from phonograph_events.envelope import CONTENT_TYPE
from phonograph_events.topics import DEAD_LETTER_SUFFIX, TOPICS, Topic, TopicConfig

BINDING = "0.5.0"


def asyncapi(service: Service | None = None) -> dict[str, Any]:
    """What a service sends and receives; without a service, what everybody does."""
    topics = [topic for topic in TOPICS.values() if service in {None, *topic.producers, *topic.consumers}]
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {"dead-letter": _dead_letter()}
    operations: dict[str, Any] = {}
    for topic in topics:
        own, letters = topic.configs
        channels[own.name] = _channel(own, topic.event.event_type(), _sentence(topic))
        messages[topic.event.event_type()] = _message(topic)
        readers = [name for name in topic.consumers if service in {None, name} and name in set(Service)]
        if readers:
            channels[letters.name] = _channel(
                letters, "dead-letter", f"Records of {own.name} that a service could not take, and their end."
            )
        for name in topic.producers:
            if service in {None, name}:
                operations[f"{name}-sends-{own.name}"] = _operation(name, "send", own)
        for name in topic.consumers:
            if service in {None, name}:
                operations[f"{name}-receives-{own.name}"] = _operation(name, "receive", own)
        for name in readers:
            operations[f"{name}-sends-{letters.name}"] = _operation(name, "send", letters)
    who = service.value if service else "whole"
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:phonograph:{who}",
        "info": {
            "title": f"Phonograph {who}" if service else "Phonograph",
            "version": "1.0.0",
            "description": f"What the service {who} sends and receives on Kafka."
            if service
            else "Events of recorded media on Kafka.",
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "kafka": {
                "host": "127.0.0.1:9092",
                "protocol": "kafka",
                "protocolVersion": "4.1",
                "description": "The local stack; `phonograph status` tells its port.",
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "correlationIds": {"request": _correlation()}},
    }


def _sentence(topic: Topic) -> str:
    return (topic.event.__doc__ or "").splitlines()[0]


def _channel(layout: TopicConfig, message: str, description: str) -> dict[str, Any]:
    return {
        "address": layout.name,
        "description": description,
        "messages": {"event": {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topic": layout.name,
                "partitions": layout.partitions,
                "topicConfiguration": {
                    "cleanup.policy": layout.cleanup.split(","),
                    "retention.ms": int(layout.config["retention.ms"]),
                    "max.message.bytes": layout.max_message_bytes,
                },
                "bindingVersion": BINDING,
            }
        },
    }


def _message(topic: Topic) -> dict[str, Any]:
    event_type = topic.event.event_type()
    return {
        "name": event_type,
        "title": topic.event.__name__,
        "summary": _sentence(topic),
        "contentType": CONTENT_TYPE,
        "headers": {
            "type": "object",
            "allOf": [
                {"$ref": "../headers.schema.json"},
                {"type": "object", "properties": {"ce_type": {"const": event_type}}},
            ],
        },
        "payload": {"$ref": f"../events/{event_type}.schema.json"},
        "correlationId": {"$ref": "#/components/correlationIds/request"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"The text of `{topic.event.KEY}` in the body."},
                "bindingVersion": BINDING,
            }
        },
    }


def _dead_letter() -> dict[str, Any]:
    return {
        "name": "dead-letter",
        "title": "DeadLetter",
        "summary": "A record as it was, with the reason in its headers; or word that one is settled.",
        "contentType": "application/octet-stream",
        "headers": {"type": "object", "allOf": [{"$ref": "../dead-letter-headers.schema.json"}]},
        "payload": {"description": "The bytes of the record, whatever they are."},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "The key of the record."},
                "bindingVersion": BINDING,
            }
        },
    }


def _correlation() -> dict[str, Any]:
    return {
        "description": "Joins all events that one request led to.",
        "location": "$message.header#/ce_correlationid",
    }


def _operation(who: str, action: str, layout: TopicConfig) -> dict[str, Any]:
    verb = "receives" if action == "receive" else "sends"
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{layout.name}"},
        "summary": f"{who} {verb} {layout.name.removesuffix(DEAD_LETTER_SUFFIX)}"
        + (" that it could not take." if layout.name.endswith(DEAD_LETTER_SUFFIX) else "."),
        "tags": [{"name": who}],
        "messages": [{"$ref": f"#/channels/{layout.name}/messages/event"}],
    }
    if action == "receive" and who in set(Service):
        group = {"type": "string", "enum": [who]}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": BINDING}}
    return operation
