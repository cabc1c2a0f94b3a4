"""The real servers start, recover, keep data and leave nothing behind. All tests share one stack."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import neo4j
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from phonograph_devstack import Addresses, LocalStack, StackError
from phonograph_devstack.jars import Jar
from phonograph_devstack.kafka import new_cluster_id

ROOT = Path(__file__).parents[3]
SERVERS = ("postgres", "kafka", "neo4j")


def user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phonograph"


def make_stack(home: Path, **options) -> LocalStack:
    return LocalStack(
        home, manifests=ROOT / "deploy" / "devstack", cache=user_cache(), report=lambda _: None, **options
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stack") / "home"


@pytest.fixture(scope="module")
def stack(home: Path) -> Iterator[LocalStack]:
    stack = make_stack(home)
    try:
        stack.up()
        yield stack
    finally:
        stack.down(wipe=True)


def pids(stack: LocalStack) -> dict[str, int | None]:
    return {status.name: status.pid for status in stack.status() if status.name in SERVERS}


def processes_of(home: Path) -> list[str]:
    """Return the command lines of all processes started for a home folder, by two independent signs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
            environment = (process / "environ").read_bytes()
            folder = str((process / "cwd").readlink())
        except OSError:
            continue
        if int(process.name) != os.getpid() and (
            str(home).encode() in command + environment or folder.startswith(str(home))
        ):
            found.append(command.decode(errors="replace"))
    return found


def kill(stack: LocalStack, name: str) -> None:
    pid = pids(stack)[name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while {status.name: status.state for status in stack.status()}[name] != "dead":
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def write_everywhere(addresses: Addresses) -> None:
    database = await asyncpg.connect(addresses.postgres_url)
    await database.execute("CREATE TABLE kept (word text)")
    await database.execute("INSERT INTO kept VALUES ('kept')")
    await database.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=addresses.kafka_bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=addresses.kafka_bootstrap_servers) as producer:
        await producer.send_and_wait("kept", b"kept")
    with graph(addresses) as driver:
        driver.execute_query("CREATE CONSTRAINT kept FOR (k:Kept) REQUIRE k.word IS UNIQUE")
        driver.execute_query("CREATE (:Kept {word: 'kept'})")


async def read_everywhere(addresses: Addresses) -> list[str]:
    database = await asyncpg.connect(addresses.postgres_url)
    row = await database.fetchval("SELECT word FROM kept")
    await database.close()
    consumer = AIOKafkaConsumer(
        "kept", bootstrap_servers=addresses.kafka_bootstrap_servers, auto_offset_reset="earliest"
    )
    async with consumer:
        record = await asyncio.wait_for(consumer.getone(), timeout=30)
    with graph(addresses) as driver:
        node = driver.execute_query("MATCH (k:Kept) RETURN k.word AS word").records[0]["word"]
    return [row, record.value.decode(), node]


def graph(addresses: Addresses) -> neo4j.Driver:
    return neo4j.GraphDatabase.driver(
        addresses.neo4j_uri, auth=(addresses.neo4j_user, addresses.neo4j_password)
    )


async def test_three_real_servers_keep_what_is_written(stack: LocalStack) -> None:
    addresses = stack.addresses()
    await write_everywhere(addresses)
    assert await read_everywhere(addresses) == ["kept"] * 3
    database = await asyncpg.connect(addresses.postgres_url)
    assert database.get_server_version().major == 18
    await database.close()


async def test_postgres_requires_the_password(stack: LocalStack) -> None:
    url = stack.addresses().postgres_url
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url.replace(password, "wrong"))


def test_only_the_owner_can_read_the_password(stack: LocalStack, home: Path) -> None:
    assert (home / "run" / "postgres.password").stat().st_mode & 0o777 == 0o600


async def test_roles_cannot_access_each_others_schemas(stack: LocalStack) -> None:
    """deploy/postgres/init.sql creates a schema and a login role per service and can be run repeatedly."""
    script = (ROOT / "deploy" / "postgres" / "init.sql").read_text()
    url = stack.addresses().postgres_url
    superuser = await asyncpg.connect(url)
    await superuser.execute("""SET phonograph.passwords = '{"ingest": "secret"}'""")
    await superuser.execute(script)
    await superuser.execute(script)
    address = url.split("@")[1]
    ingest = await asyncpg.connect(f"postgresql://ingest:secret@{address}")
    await ingest.execute("CREATE TABLE media_files (id int)")
    schema_query = "SELECT schemaname FROM pg_tables WHERE tablename = 'media_files'"
    assert await superuser.fetchval(schema_query) == "ingest"
    analysis = await asyncpg.connect(f"postgresql://analysis:analysis@{address}")
    for statement in (
        "SELECT * FROM ingest.media_files",
        "CREATE TABLE ingest.mine (id int)",
        "CREATE TABLE public.mine (id int)",
        "CREATE SCHEMA mine",
        "SET ROLE ingest",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await analysis.execute(statement)
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://ingest:ingest@{address}")
    for connection in (superuser, ingest, analysis):
        await connection.close()


def test_second_up_does_nothing(stack: LocalStack, home: Path) -> None:
    before = pids(stack)
    lines: list[str] = []
    again = LocalStack(home, manifests=Path("/nowhere"), cache=Path("/nowhere"), report=lines.append)
    assert again.up() == stack.addresses()
    assert pids(stack) == before
    assert lines == []


@pytest.mark.parametrize("name", SERVERS)
async def test_up_restarts_a_killed_server(stack: LocalStack, name: str) -> None:
    before = pids(stack)
    if name == "postgres":
        busy = await asyncpg.connect(stack.addresses().postgres_url)
        query = asyncio.create_task(busy.execute("SELECT count(*) FROM generate_series(1, 1000000000)"))
        await asyncio.sleep(0.2)
    addresses = stack.addresses()
    kill(stack, name)
    assert stack.addresses() == addresses  # the other servers still work

    assert stack.up() == addresses

    after = pids(stack)
    assert after[name] not in {None, before[name]}
    assert {other: after[other] for other in SERVERS if other != name} == {
        other: before[other] for other in SERVERS if other != name
    }
    assert await read_everywhere(addresses) == ["kept"] * 3
    if name == "postgres":
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await query


async def test_data_survive_down_and_a_full_cache_needs_no_network(stack: LocalStack, home: Path) -> None:
    def refuse(jar: Jar) -> bytes:
        raise ConnectionError(f"no network for {jar}")

    stack.down()
    assert processes_of(home) == []
    assert {path.name.split("-")[0] for path in (user_cache() / "java").glob("*.aot")} == {"kafka", "neo4j"}
    assert [status.state for status in stack.status()] == ["stopped"] * 3
    with pytest.raises(StackError, match="Run `phonograph up`"):
        stack.addresses()
    stack.down()

    addresses = make_stack(home, fetch=refuse).up()

    assert await read_everywhere(addresses) == ["kept"] * 3


def test_status_shows_memory(stack: LocalStack) -> None:
    memory = {status.name: status.memory_bytes or 0 for status in stack.status()}
    assert all(10e6 < memory[name] < 1e9 for name in SERVERS), memory


def test_wipe_removes_the_data(stack: LocalStack, home: Path) -> None:
    for name in SERVERS:
        kill(stack, name)
    stack.down(wipe=True)
    assert processes_of(home) == []
    assert list(home.iterdir()) == []


def test_cluster_id_never_looks_like_an_option() -> None:
    """One in 64 random ids starts with a dash, which Kafka's tool rejects."""
    assert not any(new_cluster_id().startswith("-") for _ in range(1000))
