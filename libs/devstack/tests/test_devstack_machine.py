"""An unsuitable machine is reported in one line; the kind of stack is selected by name."""

from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from phonograph_devstack import ExternalStack, LocalStack, StackError, select_stack
from phonograph_devstack.machine import Machine, check_machine, inspect_machine

ROOT = Path(__file__).parents[3]
GOOD = Machine(system="Linux", architecture="x86_64", python=(3, 11), free_bytes=10**11)


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (replace(GOOD, system="Darwin", architecture="arm64"), "Darwin arm64.*PHONOGRAPH_STACK=external"),
        (replace(GOOD, python=(3, 10)), "Python 3.11 or newer; this is 3.10"),
        (replace(GOOD, free_bytes=1_500_000_000), "1.5 GB free; 2 GB are needed"),
    ],
)
def test_an_unsuitable_machine_is_reported_in_one_line(machine: Machine, message: str) -> None:
    with pytest.raises(StackError, match=message) as error:
        check_machine(machine, Path("/home/me/.phonograph"))
    assert "\n" not in str(error.value)


def test_this_machine_is_inspected_before_the_folder_exists(tmp_path: Path) -> None:
    machine = inspect_machine(tmp_path / "not" / "yet")
    assert machine.free_bytes > 0
    check_machine(GOOD, tmp_path)


def test_the_kind_of_stack_is_selected_by_name(tmp_path: Path) -> None:
    folders = {"home": tmp_path, "manifests": tmp_path, "cache": tmp_path}
    assert isinstance(select_stack("local", environment={}, **folders), LocalStack)
    with pytest.raises(StackError, match="PHONOGRAPH_STACK=external needs PHONOGRAPH_POSTGRES_URL"):
        select_stack("external", environment={}, **folders)
    addresses = {
        "PHONOGRAPH_POSTGRES_URL": "postgresql://me@db/phonograph",
        "PHONOGRAPH_KAFKA": "kafka:9092",
        "PHONOGRAPH_NEO4J_URI": "bolt://graph:7687",
        "PHONOGRAPH_NEO4J_USER": "me",
        "PHONOGRAPH_NEO4J_PASSWORD": "secret",
    }
    stack = select_stack("external", environment=addresses, **folders)
    assert isinstance(stack, ExternalStack)
    assert stack.addresses().neo4j_password == "secret"


async def test_containers_run_where_docker_is_available(tmp_path: Path) -> None:
    failure, stack = None, None
    try:
        stack = select_stack(
            "testcontainers", environment={}, home=tmp_path, manifests=tmp_path, cache=tmp_path
        )
    except StackError as error:
        failure = str(error)
    if stack is None:
        assert failure is not None
        assert "Docker daemon" in failure
        pytest.skip(failure)
    try:
        database = await asyncpg.connect(stack.up().postgres_url)
        assert await database.fetchval("SELECT 1") == 1
        await database.close()
    finally:
        stack.down(wipe=True)
