"""A test service in real processes, which can be killed at every step of the delivery.

Each event has one row as its effect and one event as its result, so that tables and topics alone show what
was lost or duplicated. The processes are forked from one that has imported everything: they start fast.
"""

import asyncio
import contextlib
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
from sqlalchemy import event as database_event
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
from phonograph_runtime.stopping import STOP_LIMIT_S, stop_on_signals
from phonograph_runtime.tables import SqlInbox

_forked = multiprocessing.get_context("forkserver")
_forked.set_forkserver_preload(["__main__", __name__])


class SqlEffect(ScratchBase):
    """Table of effects; no constraint prevents a second row for the same event."""

    __tablename__ = "effects"

    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    event_id: Mapped[str]
    uri: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class SqlDelivery(ScratchBase):
    """Table of deliveries: the records of one partition in one batch, also if the batch fails."""

    __tablename__ = "deliveries"

    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    partition: Mapped[int]
    records: Mapped[int]
    repeated: Mapped[int]
    """Records whose event had taken effect already."""


class MemberSettings(ScratchSettings):
    """Settings of one process."""

    group: str
    topic: str
    results: str
    kill_point: str = ""
    """Step at which the process kills itself: before_commit, after_commit, before_offsets, after_offsets or
    before_mark. It is reached by patching the drivers, not by a hook in the runtime."""
    kill_after: int = 3
    """Number of times that the process passes this step first."""
    heartbeats_fail: bool = False
    """Every heartbeat of the first consumer fails, as on an error code that aiokafka does not know."""
    offset_commits_hang: bool = False
    """Kafka never responds when offsets are committed."""
    refused_uri: str = "refused"
    """Events whose URI contains this text fail permanently."""
    hang: str = ""
    """What hangs during a stop; see `_hang`."""
    stop_limit_s: float = STOP_LIMIT_S
    pause_s: float = 0
    """Time that the handler takes for each event."""


class Member(app.ServiceApp):
    """A group member that adds a row and publishes a result for each `IngestRequested`."""

    settings: MemberSettings

    def __init__(self, settings: MemberSettings) -> None:
        super().__init__(StrEnum("Group", {"SCRATCH": settings.group}).SCRATCH, settings)
        self.add_handler(IngestRequested, self._handle)
        consume = self.consumer.consume

        async def count_and_consume(
            records: Sequence["ConsumerRecord[bytes | None, bytes | None]"],
        ) -> None:
            await self._count(records)
            await consume(records)

        self.consumer.consume = count_and_consume

    @property
    def topics(self) -> list[str]:
        return [self.settings.topic]

    async def _handle(self, event: IngestRequested, transaction: Transaction) -> None:
        if self.settings.refused_uri in event.uri:
            raise PermanentError(f"This release does not support {event.uri}.", reason="refused")
        await asyncio.sleep(self.settings.pause_s)
        transaction.session.add(SqlEffect(event_id=transaction.cause.event_id, uri=event.uri))
        await transaction.publish(_result_type(self.settings.results)(media_id=uuid4()))

    async def _count(self, records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
        """Store what Kafka delivered in a separate transaction, so that it counts even if the batch fails."""
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


def _result_type(topic: str) -> type[Event]:
    class Processed(Event):
        TOPIC: ClassVar[str] = topic

    return Processed


@dataclass
class _KillSwitch:
    """Kills this process when it reaches a step, after it has passed the step several times."""

    kill_point: str
    passes_left: int

    def reach(self, step: str) -> None:
        if step == self.kill_point:
            self.passes_left -= 1
            if self.passes_left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _install_kill_switch(database: Database, reach: Callable[[str], None]) -> None:
    """Patch the drivers so that they call `reach` with the name of each step."""
    writing: set[int] = set()
    leave = asyncpg.transaction.Transaction.__aexit__
    commit = AIOKafkaConsumer.commit

    def executing(connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("INSERT INTO effects"):
            writing.add(id(connection.connection.driver_connection))
        if statement.startswith("UPDATE outbox SET published_at"):
            reach("before_mark")

    async def commit_transaction(transaction: Any, kind: Any, *error: Any) -> None:
        counts = id(transaction._connection) in writing and kind is None
        writing.discard(id(transaction._connection))
        if counts:
            reach("before_commit")
        await leave(transaction, kind, *error)
        if counts:
            reach("after_commit")

    async def commit_offsets(consumer: AIOKafkaConsumer, *arguments: Any) -> None:
        reach("before_offsets")
        await commit(consumer, *arguments)
        reach("after_offsets")

    database_event.listen(database.engine.sync_engine, "before_cursor_execute", executing)
    asyncpg.transaction.Transaction.__aexit__ = commit_transaction
    AIOKafkaConsumer.commit = commit_offsets


def _fail_heartbeats() -> None:
    """Make every heartbeat of the first consumer fail; its other requests still succeed."""
    failing: list[GroupCoordinator] = []
    beat = GroupCoordinator._do_heartbeat

    async def fail(coordinator: GroupCoordinator) -> bool:
        failing.extend([] if failing else [coordinator])
        if coordinator in failing:
            raise KafkaError("Unexpected exception in heartbeat task: UnknownError()")
        return await beat(coordinator)

    GroupCoordinator._do_heartbeat = fail


def _hang_offset_commits() -> None:
    """Make every commit of offsets wait indefinitely."""

    async def wait(*_: object) -> None:
        await asyncio.Event().wait()

    AIOKafkaConsumer.commit = wait


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        os._exit(3)

    threading.Thread(target=wait, daemon=True).start()


def _hang(member: app.ServiceApp, where: str) -> None:
    """Let the stop of a member hang without end.

    Args:
        member: Service of this process.
        where: `task` ignores its cancellation, `lost` loses the first one only, `closer` does not close,
            `thread` does not return, `loop` is blocked by a call; empty for none.
    """

    async def ignore_cancellation() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def lose_one_cancellation() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    async def block_thread() -> None:
        await asyncio.to_thread(threading.Event().wait)

    async def block_loop() -> None:
        threading.Event().wait()

    match where:
        case "task":
            member._watch_database = ignore_cancellation
        case "lost":
            member._watch_database = lose_one_cancellation
        case "closer" | "thread":
            member.add_closer(asyncio.Event().wait if where == "closer" else block_thread)
        case "loop":
            member.add_closer(block_loop)


async def _skip_schema_check(*_arguments: Any) -> None:
    """Replace the check of the schema: the scratch database has no migrations."""


def _run(log: Path, settings: MemberSettings) -> None:
    """Run one member until SIGTERM."""
    _end_with_parent()
    with log.open("wb") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    configure_logging(settings.group, settings.log_level)
    asyncio.run(_serve(settings))


async def _serve(settings: MemberSettings) -> None:
    app.check_schema = _skip_schema_check
    member = Member(settings)
    _install_kill_switch(member.database, _KillSwitch(settings.kill_point, settings.kill_after).reach)
    if settings.heartbeats_fail:
        _fail_heartbeats()
    if settings.offset_commits_hang:
        _hang_offset_commits()
    stop = asyncio.Event()
    stop_on_signals(stop, limit_s=settings.stop_limit_s)
    _hang(member, settings.hang)
    await member.run(stop)


@dataclass(frozen=True)
class DeliveryReport:
    """Counts of the published events, their effects and their results, from the tables and topics alone."""

    published: Counter[str]
    """Event ids on the topic."""
    inbox: Counter[str]
    effects: Counter[str]
    results: dict[str, Counter[str]]
    """Ids of the events that each event caused, with the number of records of each."""
    delivered: int
    """Records that the processes received from Kafka."""
    repeated: int
    """Delivered records whose event had taken effect already; the inbox kept them from a second effect."""
    longest_stall_s: float
    """Longest time without an effect while an event waited."""
    duration_s: float

    @property
    def lost(self) -> int:
        """Number of events without effect or result."""
        return len(self.published.keys() - (self.inbox.keys() & self.effects.keys() & self.results.keys()))

    @property
    def duplicated(self) -> int:
        """Number of events with several effects or results; records that repeat one result count once."""
        several = {key for key, count in self.effects.items() if count > 1}
        return len(several | {key for key, ids in self.results.items() if len(ids) > 1})

    @property
    def repeated_ratio(self) -> float:
        """Records delivered after their event had taken effect, as a share of the published records."""
        return self.repeated / self.published.total()

    @property
    def redelivered_ratio(self) -> float:
        """All records delivered more than once, also after a failed batch, as a share of the published."""
        return self.delivered / self.published.total() - 1

    @property
    def repeated_results(self) -> int:
        """Number of result records that repeat an earlier one."""
        return sum(each.total() - len(each) for each in self.results.values())

    def __str__(self) -> str:
        return (
            f"{len(self.published)} events, {self.lost} lost, {self.duplicated} duplicated, "
            f"{self.repeated_ratio:.2%} repeated, {self.redelivered_ratio:.2%} redelivered, "
            f"{self.repeated_results} results repeated, "
            f"longest stall {self.longest_stall_s:.1f} s, {self.duration_s:.0f} s in total"
        )


@dataclass
class ConsumerGroup:
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
        """Start one more process; `settings` replace the usual `MemberSettings`."""
        usual = {
            "database_url": self.settings.database_url,
            "kafka_bootstrap_servers": self.settings.kafka_bootstrap_servers,
            "group": self.name,
            "topic": self.topic,
            "results": self.results,
        }
        log = self.logs / f"member-{len(list(self.logs.iterdir()))}.log"
        log.touch()
        member = _forked.Process(target=_run, args=(log, MemberSettings(**{**usual, **settings})))
        member.start()
        self.members.append(member)
        return member

    async def stop(self, member: Process, number: signal.Signals, *, timeout_s: float = 30) -> int:
        """Send a signal to a process, wait for its exit, and return its exit code."""
        os.kill(member.pid, number)
        return await self.wait_for_exit(member, timeout_s=timeout_s)

    async def wait_for_exit(self, member: Process, *, timeout_s: float = 90) -> int:
        """Wait for the exit of a process and return its exit code.

        Raises:
            TimeoutError: it still runs after `timeout_s`.
        """
        await asyncio.to_thread(member.join, timeout_s)
        if member.exitcode is None:
            raise TimeoutError(f"process {member.pid} still runs after {timeout_s} s")
        self.members.remove(member)
        return member.exitcode

    async def rewind(self) -> None:
        """Reset the group to the first offsets; none of its processes may run."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            group_id=self.name,
            enable_auto_commit=False,
        )
        async with consumer:
            partitions = [TopicPartition(self.topic, number) for number in range(self.partitions)]
            consumer.assign(partitions)
            await consumer.commit(dict.fromkeys(partitions, 0))

    async def send(self, *records: Record) -> list[RecordMetadata]:
        """Send records unchanged to the topic of the group, and return the metadata of each."""
        async with self.producer() as producer:
            sends = [await self._send(producer, record) for record in records]
            return await asyncio.gather(*sends)

    async def _send(self, producer: AIOKafkaProducer, record: Record) -> "asyncio.Future[RecordMetadata]":
        """Send one record; Kafka accepts one without key and value, but aiokafka's `send` does not."""
        if record.key is not None or record.value is not None:
            return await producer.send(self.topic, value=record.value, key=record.key, headers=record.headers)
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=record.headers)
        return await producer.send_batch(batch, self.topic, partition=0)

    async def publish(self, count: int, *, seconds: float = 0) -> None:
        """Publish `count` events, evenly spread over `seconds`."""
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
        """Yield an idempotent producer; at the end wait until Kafka has acknowledged every record."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            enable_idempotence=True,
            linger_ms=20,
            max_request_size=MAX_DEAD_LETTER_BYTES,
        )
        async with producer:
            yield producer
            await producer.flush()

    async def wait_until(self, query: str, is_met: Callable[[Any], bool], *, timeout_s: float) -> Any:
        """Repeat a query until its value meets a condition, and return the value.

        Args:
            query: selects one value.
            is_met: the condition.
            timeout_s: longest wait in seconds.

        Raises:
            TimeoutError: the condition is not met in time; the message contains the last value.
        """
        value: Any = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    ((value,),) = await rows(self.database, query)
                    if is_met(value):
                        return value
                    await asyncio.sleep(0.2)
        except TimeoutError as error:
            raise TimeoutError(f"after {timeout_s} s, {query} returned {value}") from error

    async def wait_until_processed(self, count: int, *, timeout_s: float) -> None:
        """Wait until `count` events have taken effect and every result is published.

        Raises:
            TimeoutError: they have not within `timeout_s`, or the outbox is not empty 60 s later.
        """
        await self.wait_until("SELECT count(*) FROM effects", lambda n: n >= count, timeout_s=timeout_s)
        waiting = "SELECT count(*) FROM outbox WHERE published_at IS NULL"
        await self.wait_until(waiting, lambda n: n == 0, timeout_s=60)

    async def report(self) -> DeliveryReport:
        """Count the events, effects and results."""
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
        times_s = [float(time_s) for _, time_s in effects]
        published_s = {header(record, "ce_id"): record.timestamp / 1000 for record in requests}
        return DeliveryReport(
            published=Counter(header(record, "ce_id") for record in requests),
            inbox=Counter(key for (key,) in await rows(self.database, "SELECT event_id FROM inbox")),
            effects=Counter(key for key, _ in effects),
            results=caused,
            delivered=delivered,
            repeated=repeated,
            longest_stall_s=longest_stall_s(times_s, [published_s.get(key, 0.0) for key, _ in effects]),
            duration_s=times_s[-1] - times_s[0] if times_s else 0,
        )


def longest_stall_s(effects: Sequence[float], published: Sequence[float]) -> float:
    """Return the longest time between two effects in which an event waited.

    Args:
        effects: time of each event's effect in seconds, ascending.
        published: time of the same event's publication in seconds.
    """
    longest, oldest_waiting = 0.0, float("inf")
    for number in range(len(effects) - 1, 0, -1):
        oldest_waiting = min(oldest_waiting, published[number])
        longest = max(longest, effects[number] - max(effects[number - 1], oldest_waiting))
    return longest


def header(record: "ConsumerRecord[bytes | None, bytes | None]", name: str) -> str:
    """Return a header of a record; empty if it has none of this name."""
    return (dict(record.headers).get(name) or b"").decode(errors="replace")


def request(uri: str) -> Record:
    """Return an event that the service handles."""
    return envelope(IngestRequested(uri=uri), source="test").to_record()


@asynccontextmanager
async def consumer_group(
    stack: Stack, logs: Path, *, partitions: int = 8, max_dead_letter_bytes: int = MAX_DEAD_LETTER_BYTES
) -> AsyncIterator[ConsumerGroup]:
    """Create a consumer group without processes; delete its database and topics at the end.

    Args:
        stack: the running servers.
        logs: folder for the logs of the processes.
        partitions: number of partitions of its topic.
        max_dead_letter_bytes: size of the largest record on its dead-letter topic.
    """
    name = f"scratch-{uuid4().hex[:8]}"
    topics = {
        name: (partitions, MAX_MESSAGE_BYTES),
        dead_letter_topic(name): (1, max_dead_letter_bytes),
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
            group = ConsumerGroup(database, settings, name, name, f"{name}-results", partitions, logs)
            try:
                yield group
            finally:
                await _kill(group.members)
        await admin.delete_topics(list(topics))
    finally:
        await admin.close()


async def _kill(members: Iterable[Process]) -> None:
    waits: list[Awaitable[None]] = []
    for member in members:
        member.kill()
        waits.append(asyncio.to_thread(member.join, 30))
    await asyncio.gather(*waits)
