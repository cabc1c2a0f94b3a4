"""The page of all events: who writes, who reads, the key, how long it is kept, every field."""

from typing import Any

from phonograph_events.envelope import DEAD_LETTER_HEADERS, HEADERS
from phonograph_events.payloads import Result
from phonograph_events.topics import DEAD_LETTER_RETENTION, TOPICS, Topic, dead_letter_topic

_INTRODUCTION = """\
# Events

Written by `make schemas` from the models in `libs/events`; do not edit it.
How to publish a file: [producing-events.md](producing-events.md). How to read without our code: \
[schemas/README.md](../schemas/README.md). What is promised about delivery: \
[decisions/0001-delivery.md](decisions/0001-delivery.md).
"""
_HEADERS = """\
## Headers

CloudEvents 1.0 in Kafka binary mode: each header is UTF-8 text, the body is JSON
([schema](../schemas/headers.schema.json)).
"""
_DEAD_LETTERS = f"""\
## Dead letters

A record that a service cannot take goes to `<topic>-dlq` as it was, with these headers beside its own
([schema](../schemas/dead-letter-headers.schema.json)), and stays {DEAD_LETTER_RETENTION.days} days.
"""
_COMPATIBILITY = """\
## What may change

Within a major version a reader of today reads what was written before, and a reader of before reads what is
written today. A field may be added or taken away only where it may be absent; a type, a limit or a required
field does not change; a word may be added wherever a field takes words. Anything else is a new event with a
topic of its own, `media-ready-v2`, published beside the old one for a while. Every shape that a type ever had
lies in [schemas/history](../schemas/history); `tests/contracts` compares them all with the code.
"""


def render_page() -> str:
    """The page as Markdown."""
    parts: dict[str, Any] = {}
    sections = [section for topic in TOPICS.values() for section in _topic(topic, parts)]
    lines = [
        _INTRODUCTION,
        "| topic | tells | written by | read by |",
        "|---|---|---|---|",
        *[
            f"| [{topic.name}](#{topic.name}) | {_tells(topic)} | {', '.join(topic.producers)} "
            f"| {', '.join(topic.consumers)} |"
            for topic in TOPICS.values()
        ],
        "",
        _HEADERS,
        *_words("header", HEADERS),
        "",
        _DEAD_LETTERS,
        *_words("header", DEAD_LETTER_HEADERS),
        "",
        _COMPATIBILITY,
        *sections,
        "## Parts\n\nWhat several events are made of.\n",
    ]
    for name, schema in sorted(parts.items()):
        lines += [f"### {name}", "", *_part(schema), ""]
    return "\n".join(lines).rstrip() + "\n"


def _tells(topic: Topic) -> str:
    return (topic.event.__doc__ or "").splitlines()[0]


def _topic(topic: Topic, parts: dict[str, Any]) -> list[str]:
    event = topic.event
    schema = event.model_json_schema()
    parts |= schema.get("$defs", {})
    kind = event.event_type()
    folder = f"../schemas/examples/{kind.rpartition('.')[0]}/v{event.VERSION}"
    kept = "for ever" if topic.retention is None else f"{topic.retention.days} days"
    size = f"{topic.max_message_bytes // 1024**2} MiB"
    files = [f"[schema](../schemas/events/{kind}.schema.json)", f"[example]({folder}/example.json)"]
    if issubclass(event, Result):
        document = event.DOCUMENT.document_type()
        files.append(f"[document at `document_uri`](../schemas/documents/{document}.schema.json)")
    return [
        f"## {topic.name}",
        "",
        _tells(topic),
        "",
        f"- Type `{kind}`: {', '.join(files)}.",
        f"- Written by {', '.join(topic.producers)}; read by {', '.join(topic.consumers)}.",
        f"- Key: `{event.KEY}`. Partitions: {topic.partitions}. Kept {kept}. At most {size}.",
        f"- Dead letters: `{dead_letter_topic(topic.name)}`.",
        "",
        *_fields(schema),
        "",
    ]


def _part(schema: dict[str, Any]) -> list[str]:
    described = [schema["description"], ""] if "description" in schema else []
    if "enum" in schema:
        return [*described, "Words: " + ", ".join(f"`{word}`" for word in schema["enum"]) + "."]
    return [*described, *_fields(schema)]


def _fields(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", [])
    return [
        "| field | type | | meaning |",
        "|---|---|---|---|",
        *[
            f"| `{name}` | {_kind(field)} | {'' if name in required else 'may be absent'} "
            f"| {' '.join(field.get('description', '').split())} |"
            for name, field in schema.get("properties", {}).items()
        ],
    ]


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_kind(each) for each in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_kind(field['items'])}"
    if "additionalProperties" in field:
        return f"map to {_kind(field['additionalProperties'])}"
    limits = [
        f"{sign} {field[word]}"
        for word, sign in (
            ("minimum", "≥"),
            ("maximum", "≤"),
            ("minLength", "length ≥"),
            ("maxLength", "length ≤"),
        )
        if word in field
    ]
    kind = str(field.get("format", field.get("type", "anything")))
    return f"{kind} {', '.join(limits)}".strip()


def _words(title: str, words: dict[str, str]) -> list[str]:
    return [f"| {title} | says |", "|---|---|", *[f"| `{name}` | {text} |" for name, text in words.items()]]
