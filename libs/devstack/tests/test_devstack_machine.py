"""A machine that lacks something is told so in one line; stacks of other kinds are chosen by name."""

from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from phonograph_devstack import ExternalStack, LocalStack, StackError, stack_from
from phonograph_devstack.machine import Machine, check, this_machine

ROOT = Path(__file__).parents[3]
GOOD = Machine(system="Linux", architecture="x86_64", python=(3, 11), free_bytes=10**11)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (replace(GOOD, system="Darwin", architecture="arm64"), "Darwin arm64.*PHONOGRAPH_STACK=external"),
        (replace(GOOD, python=(3, 10)), "Python 3.11 or newer; this is 3.10"),
        (replace(GOOD, free_bytes=1_500_000_000), "1.5 GB free; 2 GB are needed"),
    ],
)
def test_what_is_missing_is_told_in_one_line(machine: Machine, words: str) -> None:
    with pytest.raises(StackError, match=words) as error:
        check(machine, Path("/home/me/.phonograph"))
    assert "\n" not in str(error.value)


def test_this_machine_is_looked_at_before_the_folder_exists(tmp_path: Path) -> None:
    machine = this_machine(tmp_path / "not" / "yet")
    assert machine.free_bytes > 0
    check(GOOD, tmp_path)


def test_the_kind_of_stack_is_chosen_by_name(tmp_path: Path) -> None:
    places = {"home": tmp_path, "manifests": tmp_path, "cache": tmp_path}
    assert isinstance(stack_from("local", environment={}, **places), LocalStack)
    with pytest.raises(StackError, match="PHONOGRAPH_STACK=external needs PHONOGRAPH_POSTGRES_URL"):
        stack_from("external", environment={}, **places)
    addresses = {
        "PHONOGRAPH_POSTGRES_URL": "postgresql://me@db/phonograph",
        "PHONOGRAPH_KAFKA": "kafka:9092",
        "PHONOGRAPH_NEO4J_URI": "bolt://graph:7687",
        "PHONOGRAPH_NEO4J_USER": "me",
        "PHONOGRAPH_NEO4J_PASSWORD": "secret",
    }
    stack = stack_from("external", environment=addresses, **places)
    assert isinstance(stack, ExternalStack)
    assert stack.addresses().neo4j_password == "secret"


async def test_containers_where_there_is_an_engine(tmp_path: Path) -> None:
    try:
        stack = stack_from(
            "testcontainers", environment={}, home=tmp_path, manifests=tmp_path, cache=tmp_path
        )
    except StackError as error:
        assert "Docker engine" in str(error)  # noqa: PT017  # the very reason is asserted before the skip
        pytest.skip(str(error))
    try:
        database = await asyncpg.connect(stack.up().postgres_url)
        assert await database.fetchval("SELECT 1") == 1
        await database.close()
    finally:
        stack.down(wipe=True)
