"""A service of the tests' own as real processes, which can be killed at every step of the delivery.

Its effect is a row per event and its result an event per event, so that tables and topics alone tell what was
lost or done twice. Processes are forked from one that has imported everything: a start costs little.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from multiprocessing.process import BaseProcess as Process
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata, TopicPartition
from sqlalchemy import BigInteger, Identity, func, select
from sqlalchemy import event as on_database
from sqlalchemy.orm import Mapped, mapped_column
from tests.support.scratch import ScratchBase, ScratchSettings, rows, scratch_database
from tests.support.stack import Stack

from phonograph_cli import kafka
from phonograph_events import (
    MAX_DEAD_LETTER_BYTES,
    MAX_MESSAGE_BYTES,
    Event,
    IngestRequested,
    Record,
    dead_letter_topic,
    envelope,
)
from phonograph_runtime import app
from phonograph_runtime.database import Database, Transaction
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.logs import configure_logging
from phonograph_runtime.tables import SqlInbox

_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload(["__main__", __name__])

KILLS = ("before_commit", "after_commit", "before_offsets", "after_offsets", "before_mark")
"""Where a process can be told to kill itself; each happens at its own edge, not by a hook in the runtime."""


class SqlEffect(ScratchBase):
    """What an event does: no constraint keeps it from being done twice."""

    __tablename__ = "effects"

    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    event_id: Mapped[str]
    uri: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class SqlDelivery(ScratchBase):
    """Records of one partition in one batch, whatever became of them."""

    __tablename__ = "deliveries"

    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    partition: Mapped[int]
    records: Mapped[int]
    repeated: Mapped[int]
    """Those whose event had taken effect before."""


class MemberSettings(ScratchSettings):
    """What one process is told."""

    group: str
    topic: str
    results: str
    kill: str = ""
    kill_after: int = 3
    """So many batches with effects come first."""
    wedge: bool = False
    """Every heartbeat of the first consumer fails, as it does on an answer that aiokafka does not know."""
    mute: bool = False
    """Kafka never answers when an offset is committed."""
    refuse: str = "refused"
    """Events with this word in their address are not for this release."""
    pause_s: float = 0
    """Time that each event takes."""


class Member(app.ServiceApp):
    """The service: a row and a result for each `IngestRequested`; addresses with a word in them misbehave."""

    settings: MemberSettings

    def __init__(self, settings: MemberSettings) -> None:
        super().__init__(StrEnum("Group", {"SCRATCH": settings.group}).SCRATCH, settings)
        self.add_handler(IngestRequested, self._take)
        consume = self.consumer.consume

        async def counted(records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
            await self._count(records)
            await consume(records)

        self.consumer.consume = counted

    @property
    def topics(self) -> list[str]:
        return [self.settings.topic]

    async def _take(self, event: IngestRequested, transaction: Transaction) -> None:
        if self.settings.refuse in event.uri:
            raise PermanentError("It is not for this release.", reason="refused")
        await asyncio.sleep(self.settings.pause_s)
        transaction.session.add(SqlEffect(event_id=transaction.cause.event_id, uri=event.uri))
        await transaction.publish(_result(self.settings.results)(media_id=uuid4()))

    async def _count(self, records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
        """Write down what Kafka delivered, whatever becomes of it."""
        known = select(SqlInbox.event_id).where(
            SqlInbox.event_id.in_([header(record, "ce_id") for record in records])
        )
        async with self.database.transaction() as transaction:
            repeated = set(await transaction.session.scalars(known))
            for partition in {record.partition for record in records}:
                ids = [header(record, "ce_id") for record in records if record.partition == partition]
                transaction.session.add(
                    SqlDelivery(
                        partition=partition, records=len(ids), repeated=sum(each in repeated for each in ids)
                    )
                )


def _result(topic: str) -> type[Event]:
    class Taken(Event):
        TOPIC: ClassVar[str] = topic

    return Taken


def _die(wanted: str, reached: str, count: list[int]) -> None:
    if wanted == reached:
        count[0] -= 1
        if count[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _arm(database: Database, kill: str, kill_after: int) -> None:
    """Kill this process at the wanted step once it has passed it `kill_after` times."""
    left = [kill_after]
    writing: set[int] = set()
    leave = asyncpg.transaction.Transaction.__aexit__
    commit = AIOKafkaConsumer.commit

    def executing(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO effects"):
            writing.add(id(connection.connection.driver_connection))
        if statement.startswith("UPDATE outbox SET published_at"):
            _die(kill, "before_mark", left)

    async def commit_transaction(transaction: Any, kind: Any, *error: Any) -> None:
        counts = id(transaction._connection) in writing and kind is None
        writing.discard(id(transaction._connection))
        if counts:
            _die(kill, "before_commit", left)
        await leave(transaction, kind, *error)
        if counts:
            _die(kill, "after_commit", left)

    async def commit_offsets(consumer: AIOKafkaConsumer, *arguments: Any) -> None:
        _die(kill, "before_offsets", left)
        await commit(consumer, *arguments)
        _die(kill, "after_offsets", left)

    on_database.listen(database.engine.sync_engine, "before_cursor_execute", executing)
    asyncpg.transaction.Transaction.__aexit__ = commit_transaction
    AIOKafkaConsumer.commit = commit_offsets


def _wedge() -> None:
    """Let the heartbeats of the first consumer fail for ever; everything else of it goes on answering."""
    wedged: list[GroupCoordinator] = []
    beat = GroupCoordinator._do_heartbeat

    async def fail(coordinator: GroupCoordinator) -> bool:
        wedged.extend([] if wedged else [coordinator])
        if coordinator in wedged:
            raise KafkaError("Unexpected exception in heartbeat task: UnknownError()")
        return await beat(coordinator)

    GroupCoordinator._do_heartbeat = fail


def _mute() -> None:
    """Let every commit of offsets wait for ever."""

    async def wait(*_: object) -> None:
        await asyncio.Event().wait()

    AIOKafkaConsumer.commit = wait


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


async def _made_from_tables(*_arguments: Any) -> None:
    """Stands in for the check of the schema: the scratch database has no migrations."""


def _run(log: Path, settings: MemberSettings) -> None:
    """One process, until SIGTERM."""
    _end_with_parent()
    with log.open("wb") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    configure_logging(settings.group, settings.log_level)
    asyncio.run(_serve(settings))


async def _serve(settings: MemberSettings) -> None:
    app.check_schema = _made_from_tables
    member = Member(settings)
    _arm(member.database, settings.kill, settings.kill_after)
    if settings.wedge:
        _wedge()
    if settings.mute:
        _mute()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await member.run(stop)


@dataclass(frozen=True)
class Outcome:
    """What became of the published events, counted from the tables and topics alone."""

    published: Counter[str]
    """Event ids on the topic."""
    inbox: Counter[str]
    effects: Counter[str]
    results: dict[str, Counter[str]]
    """For each event the ids of the events that it caused, and how often each was published."""
    delivered: int
    """Records that the processes got from Kafka."""
    repeated: int
    """Those whose event had taken effect before: duplicates that the inbox kept away."""
    silence_s: float
    """Longest time without an effect while an event waited."""
    duration_s: float

    @property
    def lost(self) -> int:
        """Events without effect or result."""
        return len(self.published.keys() - (self.inbox.keys() & self.effects.keys() & self.results.keys()))

    @property
    def twice(self) -> int:
        """Events with several effects or several results; a repeated record of one result is none."""
        several = {key for key, count in self.effects.items() if count > 1}
        return len(several | {key for key, ids in self.results.items() if len(ids) > 1})

    @property
    def duplicates(self) -> float:
        """Share of the published records that came although they had taken effect before."""
        return self.repeated / self.published.total()

    @property
    def delivered_again(self) -> float:
        """The same with those whose first batch died or was rolled back before it took effect."""
        return self.delivered / self.published.total() - 1

    @property
    def result_duplicates(self) -> int:
        """Result records that repeat an earlier one."""
        return sum(each.total() - len(each) for each in self.results.values())

    def __str__(self) -> str:
        return (
            f"{len(self.published)} events, {self.lost} lost, {self.twice} twice, "
            f"{self.duplicates:.2%} duplicates, {self.delivered_again:.2%} delivered again, "
            f"{self.result_duplicates} results sent again, "
            f"longest silence {self.silence_s:.1f} s, {self.duration_s:.0f} s in all"
        )


@dataclass
class Group:
    """The processes of one consumer group, their tables and their topics."""

    database: Database
    settings: ScratchSettings
    name: str
    topic: str
    results: str
    partitions: int
    logs: Path
    members: list[Process] = field(default_factory=list)

    def start(self, **settings: Any) -> Process:
        """Start one more process, with settings of its own."""
        usual = {
            "database_url": self.settings.database_url,
            "kafka_bootstrap_servers": self.settings.kafka_bootstrap_servers,
            "group": self.name,
            "topic": self.topic,
            "results": self.results,
        }
        told = MemberSettings(**{**usual, **settings})
        log = self.logs / f"member-{len(list(self.logs.iterdir()))}.log"
        log.touch()
        member = _forked.Process(target=_run, args=(log, told))
        member.start()
        self.members.append(member)
        return member

    async def stop(self, member: Process, number: signal.Signals, *, timeout_s: float = 30) -> int:
        """Signal a process and wait for its end; its exit code."""
        os.kill(member.pid, number)
        return await self.ended(member, timeout_s=timeout_s)

    async def ended(self, member: Process, *, timeout_s: float = 90) -> int:
        """Exit code of a process that ends by itself.

        Raises:
            TimeoutError: it does not.
        """
        await asyncio.to_thread(member.join, timeout_s)
        if member.exitcode is None:
            raise TimeoutError(f"process {member.pid} does not end")
        self.members.remove(member)
        return member.exitcode

    async def rewind(self) -> None:
        """Let the group begin at the first offset again; it must have no process."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            group_id=self.name,
            enable_auto_commit=False,
        )
        async with consumer:
            places = [TopicPartition(self.topic, number) for number in range(self.partitions)]
            consumer.assign(places)
            await consumer.commit(dict.fromkeys(places, 0))

    async def send(self, *records: Record) -> list[RecordMetadata]:
        """Send records as they are to the topic of the group; where each lies."""
        async with self.producer() as producer:
            sends = [await self._send(producer, record) for record in records]
            return await asyncio.gather(*sends)

    async def _send(self, producer: AIOKafkaProducer, record: Record) -> "asyncio.Future[RecordMetadata]":
        """Send one record; aiokafka's `send` refuses one without key and value, Kafka does not."""
        if record.key is not None or record.value is not None:
            return await producer.send(self.topic, value=record.value, key=record.key, headers=record.headers)
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=record.headers)
        return await producer.send_batch(batch, self.topic, partition=0)

    async def publish(self, count: int, *, seconds: float = 0) -> None:
        """Publish events, evenly over a time."""
        clock = asyncio.get_running_loop().time
        started, sent = clock(), 0
        async with self.producer() as producer:
            while sent < count:
                due = count if seconds == 0 else min(count, int(count * (clock() - started) / seconds) + 1)
                for number in range(sent, due):
                    await self._send(producer, request(f"/{number}.mp3"))
                sent = due
                await asyncio.sleep(0.1)

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """An idempotent producer; everything sent is acknowledged at its end."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            enable_idempotence=True,
            linger_ms=20,
            max_request_size=MAX_DEAD_LETTER_BYTES,
        )
        async with producer:
            yield producer
            await producer.flush()

    async def until(self, query: str, enough: Callable[[Any], bool], *, timeout_s: float) -> Any:
        """Ask the database again and again; the first answer that is enough.

        Raises:
            TimeoutError: it did not come; the message shows the last one.
        """
        answer: Any = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    ((answer,),) = await rows(self.database, query)
                    if enough(answer):
                        return answer
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            raise TimeoutError(f"after {timeout_s} s: {query} gives {answer}") from error

    async def until_taken(self, count: int, *, timeout_s: float) -> None:
        """Until so many events have taken effect and every result is published."""
        await self.until("SELECT count(*) FROM effects", lambda n: n >= count, timeout_s=timeout_s)
        waiting = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
        await self.until(waiting, lambda n: n == 0, timeout_s=60)

    async def outcome(self) -> Outcome:
        """Count everything."""
        async with kafka.connect(self.settings.kafka_bootstrap_servers) as client:
            requests = await client.read_all([self.topic])
            results = await client.read_all([self.results])
        effects = await rows(
            self.database, "SELECT event_id, extract(epoch FROM at) FROM effects ORDER BY at"
        )
        sums = "SELECT coalesce(sum(records), 0), coalesce(sum(repeated), 0) FROM deliveries"
        ((delivered, repeated),) = await rows(self.database, sums)
        caused: dict[str, Counter[str]] = {}
        for record in results:
            caused.setdefault(header(record, "ce_causationid"), Counter())[header(record, "ce_id")] += 1
        at = [float(moment) for _, moment in effects]
        sent = {header(record, "ce_id"): record.timestamp / 1000 for record in requests}
        return Outcome(
            published=Counter(header(record, "ce_id") for record in requests),
            inbox=Counter(key for (key,) in await rows(self.database, "SELECT event_id FROM inbox")),
            effects=Counter(key for key, _ in effects),
            results=caused,
            delivered=delivered,
            repeated=repeated,
            silence_s=longest_silence(at, [sent.get(key, 0.0) for key, _ in effects]),
            duration_s=at[-1] - at[0] if at else 0,
        )


def longest_silence(effects: Sequence[float], published: Sequence[float]) -> float:
    """Longest time in seconds between effects in which an event waited.

    Args:
        effects: when each event took effect, ascending.
        published: when the same event was published.
    """
    longest, oldest_waiting = 0.0, float("inf")
    for number in range(len(effects) - 1, 0, -1):
        oldest_waiting = min(oldest_waiting, published[number])
        longest = max(longest, effects[number] - max(effects[number - 1], oldest_waiting))
    return longest


def header(record: "ConsumerRecord[bytes | None, bytes | None]", name: str) -> str:
    """A header of a record; empty if it has none."""
    return (dict(record.headers).get(name) or b"").decode(errors="replace")


def request(uri: str) -> Record:
    """An event that the service takes."""
    return envelope(IngestRequested(uri=uri), source="test").to_record()


@asynccontextmanager
async def group(
    stack: Stack, logs: Path, *, partitions: int = 8, letter_bytes: int = MAX_DEAD_LETTER_BYTES
) -> AsyncIterator[Group]:
    """A consumer group with a database and topics of its own and no process yet; all gone at the end."""
    name = f"scratch-{uuid4().hex[:8]}"
    topics = {
        name: (partitions, MAX_MESSAGE_BYTES),
        dead_letter_topic(name): (1, letter_bytes),
        f"{name}-results": (4, MAX_MESSAGE_BYTES),
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.addresses.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(topic, count, 1, topic_configs={"max.message.bytes": str(max_bytes)})
                for topic, (count, max_bytes) in topics.items()
            ]
        )
        async with scratch_database(stack) as (database, settings):
            members = Group(database, settings, name, name, f"{name}-results", partitions, logs)
            try:
                yield members
            finally:
                await _end(members.members)
        await admin.delete_topics(list(topics))
    finally:
        await admin.close()


async def _end(members: Iterable[Process]) -> None:
    waits: list[Awaitable[None]] = []
    for member in members:
        member.kill()
        waits.append(asyncio.to_thread(member.join, 30))
    await asyncio.gather(*waits)
