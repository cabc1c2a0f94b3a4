"""No release breaks another: the current code and every shape that an event ever had are compatible.

Writers are closed (they write only fields of their schema), readers are open. Within a major version, the
code must read everything that any older version wrote, and every older version must read everything that the
code writes.
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
from phonograph_events.schemas import CONTRACTS, minor_version, without_prose, writer_schema

ROOT = Path(__file__).parents[2]
HISTORY = ROOT / "schemas/history"
SHAPES = sorted(HISTORY.glob("*/*.schema.json"), key=lambda path: (path.parent.name, minor_version(path)))

Schema = dict[str, Any]


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def version_name(path: Path) -> str:
    return f"{path.parent.name}.{minor_version(path)}"


def object_schemas(node: Any) -> Iterator[Schema]:
    """Return every schema of an object with named fields."""
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for child in node.values():
            yield from object_schemas(child)
    elif isinstance(node, list):
        for child in node:
            yield from object_schemas(child)


def formats_as_enums(node: Any) -> Any:
    """Return a schema whose formats and patterns are enumerations, because jsoncompat ignores them."""
    if isinstance(node, list):
        return [formats_as_enums(each) for each in node]
    if not isinstance(node, dict):
        return node
    rule = [str(node[name]) for name in ("format", "pattern") if isinstance(node.get(name), str)]
    if node.get("type") == "string" and rule:
        return {"type": "string", "enum": [":".join(rule)]}
    return {key: formats_as_enums(value) for key, value in node.items()}


def with_unknown_fields(schema: Schema, *, allowed: bool) -> Schema:
    schema = copy.deepcopy(schema)
    for each in object_schemas(schema):
        each["additionalProperties"] = allowed
    return schema


def can_read(reader: Schema, writer: Schema) -> bool:
    """Return whether a reader accepts everything that a writer may write."""
    written = with_unknown_fields(formats_as_enums(without_prose(writer)), allowed=False)
    read = with_unknown_fields(formats_as_enums(without_prose(reader)), allowed=True)
    return check_compat(json.dumps(read), json.dumps(written), "serializer")


def shape_diff(old: Schema, new: Schema) -> str:
    lines = (json.dumps(without_prose(each), indent=1).splitlines() for each in (old, new))
    return "\n".join(difflib.unified_diff(*lines, "old", "new", lineterm="", n=4))


def test_no_type_was_removed_by_accident() -> None:
    """To remove a type permanently, delete its history folder as well."""
    assert {path.name for path in HISTORY.iterdir()} == set(CONTRACTS)


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_history_ends_with_the_current_shape(name: str) -> None:
    newest = [path for path in SHAPES if path.parent.name == name][-1]
    assert without_prose(load(newest)) == without_prose(writer_schema(CONTRACTS[name])), "run `make schemas`"


@pytest.mark.parametrize("path", SHAPES, ids=version_name)
def test_code_and_older_versions_read_each_other(path: Path) -> None:
    old, new = load(path), writer_schema(CONTRACTS[path.parent.name])
    change = f"since {version_name(path)}; publish a new event alongside it instead.\n{shape_diff(old, new)}"
    assert can_read(reader=new, writer=old), f"older events can no longer be read {change}"
    assert can_read(reader=old, writer=new), f"readers of the older schema fail {change}"


def run_git(*arguments: str) -> str:
    run = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"not a git checkout: {run.stderr.strip()}")
    return run.stdout


def test_committed_history_files_never_change() -> None:
    """Neither a commit nor an uncommitted edit has changed a committed shape."""
    touched = run_git("diff", "--name-only", "--no-renames", "--diff-filter=a", "HEAD", "--", str(HISTORY))
    touched += run_git(
        "log", "--format=", "--name-only", "--no-renames", "--diff-filter=a", "-m", "--", str(HISTORY)
    )
    known = {name for name in touched.split() if Path(name).parent.name in CONTRACTS}
    assert known == set(), "a committed history file must not change"


def is_preserved(old: Any, new: Any) -> bool:
    """Return whether every known field of an old body is unchanged in the new one."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(is_preserved(old[name], new[name]) for name in old.keys() & new.keys())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(is_preserved, old, new))
    return bool(old == new)


def parse_example(body: Any, headers: dict[str, str]) -> Envelope:
    return parse(json.dumps(body).encode(), [(name, value.encode()) for name, value in headers.items()])


def serialize(envelope: Envelope) -> Any:
    return json.loads(envelope.to_record().value or b"")


@pytest.mark.parametrize("path", sorted(HISTORY.glob("*/*.example.json")), ids=version_name)
def test_example_of_every_version_can_still_be_read(path: Path) -> None:
    example = load(path)
    received = parse_example(example["body"], example["headers"])
    assert received.type == path.parent.name
    assert is_preserved(example["body"], serialize(received))


def bodies(schema: Schema, *, later: bool = False) -> st.SearchStrategy[Any]:
    """Generate the bodies that a schema allows; a later version adds a field to every object."""
    definitions = schema.get("$defs", {})
    added = {"added_later": st.integers()} if later else {}

    def value(node: Schema) -> st.SearchStrategy[Any]:
        match node:
            case {"$ref": str(ref)}:
                return value(definitions[ref.rpartition("/")[2]])
            case {"anyOf": [*choices]}:
                return st.one_of([value(each) for each in choices])
            case {"enum": [*values]}:
                return st.sampled_from(values)
            case {"properties": dict(fields)}:
                required = set(node.get("required", []))
                known = {name: value(field) for name, field in fields.items()}
                return st.fixed_dictionaries(
                    {name: each for name, each in known.items() if name in required} | added,
                    optional={name: each for name, each in known.items() if name not in required},
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


@pytest.mark.parametrize("path", [path for path in SHAPES if path.parent.name in EVENTS], ids=version_name)
def test_every_version_reads_what_any_version_may_write(path: Path) -> None:
    """A body of any version that passes through the current code is valid for all readers."""
    event_type = path.parent.name
    headers = {"ce_id": "1", "ce_source": "/another", "ce_type": event_type}
    readers = [
        Draft202012Validator(with_unknown_fields(load(each), allowed=True))
        for each in SHAPES
        if each.parent.name == event_type
    ]
    current = Draft202012Validator(writer_schema(EVENTS[event_type]))

    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.one_of(bodies(load(path)), bodies(load(path), later=True)))
    def check(body: Any) -> None:
        republished = serialize(parse_example(body, headers))
        current.validate(republished)
        for reader in readers:
            reader.validate(republished)
        assert is_preserved(body, republished)

    check()


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_enumerations_are_open(name: str) -> None:
    """A field with listed values accepts any other text too, so that values can be added at any time."""
    schema = writer_schema(CONTRACTS[name])
    enumerations = {f"#/$defs/{name}" for name, each in schema.get("$defs", {}).items() if "enum" in each}
    for each in object_schemas(schema):
        for field, value in each["properties"].items():
            references = [choice.get("$ref") for choice in value.get("anyOf", [value])]
            if enumerations & set(references):
                assert {"type": "string"} in value.get("anyOf", []), (
                    f"{name}: {field} accepts only the listed values"
                )
    assert "enum" not in json.dumps([each["properties"] for each in object_schemas(schema)])


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class ExtendedColor(StrEnum):
    RED = "red"
    BLUE = "blue"
    GREEN = "green"


def toy_schema(**fields: Any) -> Schema:
    made: type[BaseModel] = create_model("Toy", **{"name": (str, ...), **fields})
    schema = made.model_json_schema()
    return json.loads(
        json.dumps(schema)
        .replace("#/$defs/ExtendedColor", "#/$defs/Color")
        .replace('"ExtendedColor"', '"Color"')
    )


Inner = create_model("Inner", size=(int, ...))
InnerWithRequired = create_model("Inner", size=(int, ...), weight=(int, ...))
InnerWithOptional = create_model("Inner", size=(int, ...), weight=(int | None, None))


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
        pytest.param({"at": (str, ...)}, {"at": (UUID, ...)}, False, True, id="narrow a string"),
        pytest.param({"c": (Color, ...)}, {"c": (ExtendedColor, ...)}, True, False, id="add a closed value"),
        pytest.param(
            {"c": (ExtendedColor, ...)}, {"c": (Color, ...)}, False, True, id="remove a closed value"
        ),
        pytest.param(
            {"c": (Color | str, ...)}, {"c": (ExtendedColor | str, ...)}, True, True, id="add an open value"
        ),
        pytest.param(
            {"c": (ExtendedColor | str, ...)},
            {"c": (Color | str, ...)},
            True,
            True,
            id="remove an open value",
        ),
        pytest.param(
            {"i": (Inner, ...)},
            {"i": (InnerWithRequired, ...)},
            False,
            True,
            id="add a required nested field",
        ),
        pytest.param(
            {"i": (Inner, ...)},
            {"i": (InnerWithOptional, ...)},
            True,
            True,
            id="add an optional nested field",
        ),
    ],
)
def test_compatibility_rules(
    *, before: dict[str, Any], after: dict[str, Any], new_reads_old: bool, old_reads_new: bool
) -> None:
    """Check the comparison on a small model: changes that it must accept and changes that it must reject."""
    old, new = toy_schema(**before), toy_schema(**after)
    assert can_read(reader=new, writer=old) == new_reads_old
    assert can_read(reader=old, writer=new) == old_reads_new


def test_second_major_version_has_a_separate_topic_and_type() -> None:
    class Later(Event):
        TOPIC: ClassVar[str] = "media-ready-v2"
        VERSION: ClassVar[int] = 2

    assert Later.event_type() == "phonograph.media.ready.v2"
