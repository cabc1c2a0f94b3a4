"""AsyncAPI 3.0 documents, one per service and one of the whole system, referring to the JSON Schemas."""

from typing import Any

from phonograph_events.enums import Service
from phonograph_events.envelope import CONTENT_TYPE
from phonograph_events.topics import DEAD_LETTER_SUFFIX, TOPICS, Topic, TopicConfig

BINDING_VERSION = "0.5.0"


def build_asyncapi(service: Service | None = None) -> dict[str, Any]:
    """Return the document of a service; without a service, the document of the whole system."""
    topics = [topic for topic in TOPICS.values() if service in {None, *topic.producers, *topic.consumers}]
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {"dead-letter": _dead_letter_message()}
    operations: dict[str, Any] = {}
    for topic in topics:
        config, dead_letter_config = topic.configs
        channels[config.name] = _channel(config, topic.event.event_type(), _summary(topic))
        messages[topic.event.event_type()] = _message(topic)
        readers = [name for name in topic.consumers if service in {None, name} and name in set(Service)]
        if readers:
            channels[dead_letter_config.name] = _channel(
                dead_letter_config,
                "dead-letter",
                f"Records of {config.name} that a service could not process, and their resolutions.",
            )
        for name in topic.producers:
            if service in {None, name}:
                operations[f"{name}-sends-{config.name}"] = _operation(name, "send", config)
        for name in topic.consumers:
            if service in {None, name}:
                operations[f"{name}-receives-{config.name}"] = _operation(name, "receive", config)
        for name in readers:
            operations[f"{name}-sends-{dead_letter_config.name}"] = _operation(
                name, "send", dead_letter_config
            )
    subject = service.value if service else "whole"
    return {
        "asyncapi": "3.0.0",
        "id": f"urn:phonograph:{subject}",
        "info": {
            "title": f"Phonograph {subject}" if service else "Phonograph",
            "version": "1.0.0",
            "description": f"Messages that the service {subject} sends and receives on Kafka."
            if service
            else "Events of recorded media on Kafka.",
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "kafka": {
                "host": "127.0.0.1:9092",
                "protocol": "kafka",
                "protocolVersion": "4.1",
                "description": "The local stack; `phonograph status` shows its port.",
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "correlationIds": {"request": _correlation_id()}},
    }


def _summary(topic: Topic) -> str:
    return (topic.event.__doc__ or "").splitlines()[0]


def _channel(config: TopicConfig, message: str, description: str) -> dict[str, Any]:
    return {
        "address": config.name,
        "description": description,
        "messages": {"event": {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {
                "topic": config.name,
                "partitions": config.partitions,
                "topicConfiguration": {
                    "cleanup.policy": config.cleanup.split(","),
                    "retention.ms": int(config.config["retention.ms"]),
                    "max.message.bytes": config.max_message_bytes,
                },
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _message(topic: Topic) -> dict[str, Any]:
    event_type = topic.event.event_type()
    return {
        "name": event_type,
        "title": topic.event.__name__,
        "summary": _summary(topic),
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
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _dead_letter_message() -> dict[str, Any]:
    return {
        "name": "dead-letter",
        "title": "DeadLetter",
        "summary": "An unchanged record with the reason in its headers, or the resolution of an earlier one.",
        "contentType": "application/octet-stream",
        "headers": {"type": "object", "allOf": [{"$ref": "../dead-letter-headers.schema.json"}]},
        "payload": {"description": "The unchanged bytes of the record."},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "The key of the record."},
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _correlation_id() -> dict[str, Any]:
    return {
        "description": "Common to all events that one request led to.",
        "location": "$message.header#/ce_correlationid",
    }


def _operation(name: str, action: str, config: TopicConfig) -> dict[str, Any]:
    verb = "receives" if action == "receive" else "sends"
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{config.name}"},
        "summary": f"{name} {verb} {config.name.removesuffix(DEAD_LETTER_SUFFIX)}"
        + (" records that it could not process." if config.name.endswith(DEAD_LETTER_SUFFIX) else "."),
        "tags": [{"name": name}],
        "messages": [{"$ref": f"#/channels/{config.name}/messages/event"}],
    }
    if action == "receive" and name in set(Service):
        group = {"type": "string", "enum": [name]}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": BINDING_VERSION}}
    return operation
