"""No release breaks another: every shape that an event ever had, and the code of today, read each other.

What is written is closed (no field that the schema does not name), what is read is open. Within a major
version the code must read whatever any older version wrote, and any older version whatever the code writes.
"""

import copy
import difflib
import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsoncompat import check_compat
from jsonschema import Draft202012Validator
from pydantic import BaseModel, create_model

from phonograph_events import EVENTS, Envelope, Event, parse
from phonograph_events.schemas import CONTRACTS, minor, shape, writer_schema

ROOT = Path(__file__).parents[2]
HISTORY = ROOT / "schemas/history"
SHAPES = sorted(HISTORY.glob("*/*.schema.json"), key=lambda path: (path.parent.name, minor(path)))

Schema = dict[str, Any]


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return f"{path.parent.name}.{minor(path)}"


def objects(node: Any) -> Iterator[Schema]:
    """Every schema of an object with named fields."""
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for child in node.values():
            yield from objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from objects(child)


def spelled_out(node: Any) -> Any:
    """A schema whose formats and patterns are words of an enum: jsoncompat passes over them otherwise."""
    if isinstance(node, list):
        return [spelled_out(each) for each in node]
    if not isinstance(node, dict):
        return node
    rule = [str(node[name]) for name in ("format", "pattern") if isinstance(node.get(name), str)]
    if node.get("type") == "string" and rule:
        return {"type": "string", "enum": [":".join(rule)]}
    return {key: spelled_out(value) for key, value in node.items()}


def closed(schema: Schema, *, to_unknown_fields: bool) -> Schema:
    schema = copy.deepcopy(schema)
    for each in objects(schema):
        each["additionalProperties"] = not to_unknown_fields
    return schema


def reads(reader: Schema, writer: Schema) -> bool:
    """Whether a reader takes everything that a writer may write."""
    written = closed(spelled_out(shape(writer)), to_unknown_fields=True)
    read = closed(spelled_out(shape(reader)), to_unknown_fields=False)
    return check_compat(json.dumps(read), json.dumps(written), "serializer")


def difference(old: Schema, new: Schema) -> str:
    lines = (json.dumps(shape(each), indent=1).splitlines() for each in (old, new))
    return "\n".join(difflib.unified_diff(*lines, "then", "now", lineterm="", n=4))


def test_no_type_was_withdrawn_by_accident() -> None:
    """To withdraw a type for good, delete its folder of the history with it."""
    assert {path.name for path in HISTORY.iterdir()} == set(CONTRACTS)


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_history_ends_with_the_shape_of_today(name: str) -> None:
    newest = [path for path in SHAPES if path.parent.name == name][-1]
    assert shape(load(newest)) == shape(writer_schema(CONTRACTS[name])), "run `make schemas`"


@pytest.mark.parametrize("path", SHAPES, ids=name_of)
def test_code_reads_what_older_versions_wrote_and_they_what_it_writes(path: Path) -> None:
    then, now = load(path), writer_schema(CONTRACTS[path.parent.name])
    changed = f"since {name_of(path)}: publish a new event beside it instead.\n{difference(then, now)}"
    assert reads(reader=now, writer=then), f"what was written is not read any more {changed}"
    assert reads(reader=then, writer=now), f"who reads by the older schema fails {changed}"


def git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"not a git checkout: {run.stderr.strip()}")
    return run.stdout


def test_history_is_only_ever_added_to() -> None:
    """No commit and no edit has changed a shape that was once committed."""
    touched = git("diff", "--name-only", "--no-renames", "--diff-filter=a", "HEAD", "--", str(HISTORY))
    touched += git(
        "log", "--format=", "--name-only", "--no-renames", "--diff-filter=a", "-m", "--", str(HISTORY)
    )
    known = {name for name in touched.split() if Path(name).parent.name in CONTRACTS}
    assert known == set(), "once committed, a shape of the history stays as it is"


def keeps(old: Any, new: Any) -> bool:
    """Whether everything of an old body that is still known is unchanged in the new one."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(keeps(old[name], new[name]) for name in old.keys() & new.keys())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(keeps, old, new))
    return bool(old == new)


def read(body: Any, headers: dict[str, str]) -> Envelope:
    return parse(json.dumps(body).encode(), [(name, value.encode()) for name, value in headers.items()])


def written(envelope: Envelope) -> Any:
    return json.loads(envelope.to_record().value or b"")


@pytest.mark.parametrize("path", sorted(HISTORY.glob("*/*.example.json")), ids=name_of)
def test_example_of_every_version_is_still_read(path: Path) -> None:
    example = load(path)
    received = read(example["body"], example["headers"])
    assert received.type == path.parent.name
    assert keeps(example["body"], written(received))


def bodies(schema: Schema, *, later: bool = False) -> st.SearchStrategy[Any]:
    """Whatever a writer that keeps a schema may write; a later one adds a field to every object."""
    parts = schema.get("$defs", {})
    added = {"added_later": st.integers()} if later else {}

    def value(node: Schema) -> st.SearchStrategy[Any]:
        match node:
            case {"$ref": str(ref)}:
                return value(parts[ref.rpartition("/")[2]])
            case {"anyOf": [*choices]}:
                return st.one_of([value(each) for each in choices])
            case {"enum": [*words]}:
                return st.sampled_from(words)
            case {"properties": dict(fields)}:
                needed = set(node.get("required", []))
                known = {name: value(field) for name, field in fields.items()}
                return st.fixed_dictionaries(
                    {name: each for name, each in known.items() if name in needed} | added,
                    optional={name: each for name, each in known.items() if name not in needed},
                )
            case {"additionalProperties": dict(values)}:
                return st.dictionaries(st.text(max_size=5), value(values), max_size=2)
            case {"items": dict(items)}:
                return st.lists(value(items), max_size=2)
        return PLAIN[node["type"]](node)

    return value(schema)


def texts(node: Schema) -> st.SearchStrategy[str]:
    if "format" in node:
        return FORMATS[node["format"]]
    low = node.get("minLength", 0)
    return st.text(min_size=low, max_size=min(node.get("maxLength", low + 20), low + 20))


FORMATS: dict[str, st.SearchStrategy[str]] = {
    "uuid": st.uuids().map(str),
    "uri": st.sampled_from(["file:///a/b.json", "s3://bucket/a%20b.json"]),
    "date-time": st.datetimes(timezones=st.just(UTC)).map(
        lambda time: time.isoformat().replace("+00:00", "Z")
    ),
}
PLAIN: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "string": texts,
    "integer": lambda node: st.integers(node.get("minimum", -(2**53)), node.get("maximum", 2**53)),
    "number": lambda node: st.floats(
        node.get("minimum"), node.get("maximum"), allow_nan=False, allow_infinity=False
    ),
    "boolean": lambda _: st.booleans(),
    "null": lambda _: st.none(),
}


@pytest.mark.parametrize("path", [path for path in SHAPES if path.parent.name in EVENTS], ids=name_of)
def test_whatever_a_version_may_write_every_version_reads(path: Path) -> None:
    """A body of any version goes through the code of today and comes out as all readers take it."""
    event_type = path.parent.name
    headers = {"ce_id": "1", "ce_source": "/another", "ce_type": event_type}
    readers = [
        Draft202012Validator(closed(load(each), to_unknown_fields=False))
        for each in SHAPES
        if each.parent.name == event_type
    ]
    today = Draft202012Validator(writer_schema(EVENTS[event_type]))

    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.one_of(bodies(load(path)), bodies(load(path), later=True)))
    def check(body: Any) -> None:
        sent_on = written(read(body, headers))
        today.validate(sent_on)
        for reader in readers:
            reader.validate(sent_on)
        assert keeps(body, sent_on)

    check()


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_words_are_open(name: str) -> None:
    """Wherever a schema lists words, any other text may stand too: a word may be added at any time."""
    schema = writer_schema(CONTRACTS[name])
    words = {f"#/$defs/{part}" for part, each in schema.get("$defs", {}).items() if "enum" in each}
    for each in objects(schema):
        for field, value in each["properties"].items():
            inside = [choice.get("$ref") for choice in value.get("anyOf", [value])]
            if words & set(inside):
                assert {"type": "string"} in value.get("anyOf", []), f"{name}: {field} takes only its words"
    assert "enum" not in json.dumps([each["properties"] for each in objects(schema)])


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class More(StrEnum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


def model(**fields: Any) -> Schema:
    made: type[BaseModel] = create_model("Toy", **{"name": (str, ...), **fields})
    schema = made.model_json_schema()
    return json.loads(
        json.dumps(schema).replace("#/$defs/More", "#/$defs/Color").replace('"More"', '"Color"')
    )


Inner = create_model("Inner", size=(int, ...))
InnerWithMore = create_model("Inner", size=(int, ...), weight=(int, ...))
InnerWithOption = create_model("Inner", size=(int, ...), weight=(int | None, None))


@pytest.mark.parametrize(
    ("before", "after", "new_reads_old", "old_reads_new"),
    [
        pytest.param({}, {}, True, True, id="nothing"),
        pytest.param({}, {"note": (str, "")}, True, True, id="add an optional field"),
        pytest.param({"note": (str, "")}, {}, True, True, id="remove an optional field"),
        pytest.param({}, {"size": (int, ...)}, False, True, id="add a required field"),
        pytest.param({"size": (int, ...)}, {}, True, False, id="remove a required field"),
        pytest.param({"size": (int, ...)}, {"size": (int, 0)}, True, False, id="make a field optional"),
        pytest.param({"size": (int, ...)}, {"size": (str, ...)}, False, False, id="change a type"),
        pytest.param({"size": (int, 0)}, {"size": (str, "")}, False, False, id="change an optional type"),
        pytest.param({"size": (int, ...)}, {"size": (float, ...)}, True, False, id="widen a type"),
        pytest.param({"at": (str, ...)}, {"at": (UUID, ...)}, False, True, id="narrow a text"),
        pytest.param({"c": (Color, ...)}, {"c": (More, ...)}, True, False, id="add a word"),
        pytest.param({"c": (More, ...)}, {"c": (Color, ...)}, False, True, id="remove a word"),
        pytest.param({"c": (Color | str, ...)}, {"c": (More | str, ...)}, True, True, id="add an open word"),
        pytest.param(
            {"c": (More | str, ...)}, {"c": (Color | str, ...)}, True, True, id="remove an open word"
        ),
        pytest.param({"i": (Inner, ...)}, {"i": (InnerWithMore, ...)}, False, True, id="require inside"),
        pytest.param({"i": (Inner, ...)}, {"i": (InnerWithOption, ...)}, True, True, id="add inside"),
    ],
)
def test_rules_of_compatibility(
    *, before: dict[str, Any], after: dict[str, Any], new_reads_old: bool, old_reads_new: bool
) -> None:
    """The comparison itself, on a small model: what it must let pass and what it must not."""
    old, new = model(**before), model(**after)
    assert reads(reader=new, writer=old) == new_reads_old
    assert reads(reader=old, writer=new) == old_reads_new


def test_second_major_version_has_a_topic_and_a_type_of_its_own() -> None:
    class Later(Event):
        TOPIC: ClassVar[str] = "media-ready-v2"
        VERSION: ClassVar[int] = 2

    assert Later.event_type() == "phonograph.media.ready.v2"
