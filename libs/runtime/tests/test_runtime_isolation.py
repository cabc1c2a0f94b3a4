"""Batches that cannot be read are returned as such, and cost no record before, behind or next to them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError
from tests.support.broken_batches import (
    DAMAGES,
    batch_of,
    long_record,
    other_version,
    seal,
    send_batches,
    send_bytes,
    stored_batches,
    unknown_codec,
    wrong_checksum,
)
from tests.support.stack import Stack

from phonograph_events import Record
from phonograph_runtime import isolation
from phonograph_runtime.isolation import IsolatingConsumer
from phonograph_runtime.record_batches import KafkaRecord, UnreadableBatch, read_batch

NOWHERE = TopicPartition("nowhere", 0)


def plain(text: str) -> Record:
    return Record("", b"key", text.encode(), [("name", b"value")])


@asynccontextmanager
async def topic(stack: Stack, partitions: int) -> AsyncIterator[list[TopicPartition]]:
    name = f"scratch-{uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.addresses.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
        yield [TopicPartition(name, number) for number in range(partitions)]
        await admin.delete_topics([name])
    finally:
        await admin.close()


@asynccontextmanager
async def producer(stack: Stack, **settings: object) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(
        bootstrap_servers=stack.addresses.kafka_bootstrap_servers, **settings
    ) as sending:
        yield sending


async def read(
    stack: Stack, places: Sequence[TopicPartition], count: int, *, max_records: int = 500
) -> list[KafkaRecord]:
    """Read until there are as many records as expected, and a moment longer."""
    consumer = IsolatingConsumer(
        bootstrap_servers=stack.addresses.kafka_bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    consumer.assign(list(places))
    found: list[KafkaRecord] = []
    async with consumer:
        async with asyncio.timeout(60):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=200, max_records=max_records)).values():
                    found += records
        for records in (await consumer.getmany(timeout_ms=300)).values():
            found += records
    return found


def values(records: Sequence[KafkaRecord], partition: int = 0) -> list[str]:
    return [
        "unreadable" if isinstance(record, UnreadableBatch) else (record.value or b"").decode()
        for record in records
        if record.partition == partition
    ]


@pytest.fixture(autouse=True)
def _short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "READ_PAUSE_S", 0.05)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_damaged_batch_is_returned_whole_and_costs_no_other(
    stack: Stack, damage: Callable[[bytearray], None]
) -> None:
    async with topic(stack, 3) as places:
        async with producer(stack) as sending:
            for place in places:
                await send_batches(
                    sending, place, *([plain(f"{batch}.{n}") for n in range(5)] for batch in range(4))
                )
        broken = stored_batches(stack, places[0])[1]
        data = broken.change(damage)
        records = await read(stack, places, 15 + 1 + 40)
    before, after = [f"0.{n}" for n in range(5)], [f"{batch}.{n}" for batch in (2, 3) for n in range(5)]
    assert values(records) == [*before, "unreadable", *after]
    for other in (1, 2):
        assert values(records, other) == [f"{batch}.{n}" for batch in range(4) for n in range(5)]
    (unreadable,) = [record for record in records if isinstance(record, UnreadableBatch)]
    assert (unreadable.first_offset, unreadable.offset, unreadable.attempts) == (5, 9, 3)
    assert unreadable.value == data
    assert unreadable.error


async def test_records_before_a_malformed_one_of_their_batch_are_taken(stack: Stack) -> None:
    async with topic(stack, 1) as places:
        async with producer(stack) as sending:
            for batch in "ab":
                await send_batches(sending, places[0], [plain(f"{batch}{number}") for number in range(4)])
        stored_batches(stack, places[0])[0].change(long_record)
        records = await read(stack, places, 3 + 1 + 4)
    assert values(records) == ["a0", "a1", "a2", "unreadable", "b0", "b1", "b2", "b3"]


@pytest.mark.parametrize("position", [0, 3], ids=["first", "last"])
@pytest.mark.parametrize("max_records", [1, 7, 500])
async def test_damaged_batch_at_either_end_of_a_partition(
    stack: Stack, position: int, max_records: int
) -> None:
    async with topic(stack, 1) as places:
        async with producer(stack) as sending:
            await send_batches(
                sending, places[0], *([plain(f"{batch}.{n}") for n in range(5)] for batch in range(4))
            )
        stored_batches(stack, places[0])[position].change(wrong_checksum)
        records = await read(stack, places, 16, max_records=max_records)
        expected = [f"{batch}.{n}" for batch in range(4) if batch != position for n in range(5)]
        assert [value for value in values(records) if value != "unreadable"] == expected
        assert values(records).index("unreadable") == (0 if position == 0 else 15)
        async with producer(stack) as sending:
            await send_batches(sending, places[0], [plain("later")])
        assert values(await read(stack, places, 17))[-1] == "later"


async def test_several_damaged_batches_in_every_partition(stack: Stack) -> None:
    async with topic(stack, 3) as places:
        async with producer(stack) as sending:
            for place in places:
                await send_batches(sending, place, *([plain(f"{n}"), plain(f"{n}")] for n in range(10)))
        for place in places:
            for number in (2, 3, 7):
                stored_batches(stack, place)[number].change(wrong_checksum)
        records = await read(stack, places, 3 * (14 + 3))
    for place in places:
        expected = [["unreadable"] if number in {2, 3, 7} else [f"{number}"] * 2 for number in range(10)]
        assert values(records, place.partition) == [value for batch in expected for value in batch]


async def test_name_of_a_header_that_is_not_utf8_costs_no_record(stack: Stack) -> None:
    """Producers in C and Go send it, Kafka accepts it, and aiokafka cannot read the batch."""
    batch = bytearray(batch_of(plain("before"), Record("", None, b"odd", [("Gerät", b"1")]), plain("after")))
    batch = batch.replace("Gerät".encode(), b"Ger\xe4t.")
    seal(batch)
    async with topic(stack, 2) as places:
        await send_bytes(stack, places[0], bytes(batch))
        await send_bytes(stack, places[1], batch_of(plain("other")))
        records = await read(stack, places, 4)
    assert values(records) == ["before", "odd", "after"]
    assert values(records, 1) == ["other"]
    (odd,) = [record for record in records if record.value == b"odd"]
    assert odd.headers == ((r"Ger\xe4t.", b"1"),)
    assert [record.offset for record in records if record.partition == 0] == [0, 1, 2]


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("is_idempotent", [False, True], ids=["plain", "idempotent"])
async def test_every_codec_is_read(stack: Stack, codec: str | None, *, is_idempotent: bool) -> None:
    texts = [f"{number} " * 100 for number in range(50)]
    async with topic(stack, 1) as places:
        async with producer(stack, compression_type=codec, enable_idempotence=is_idempotent) as sending:
            await send_batches(sending, places[0], [plain(text) for text in texts])
        attributes = stored_batches(stack, places[0])[0].read()[22]
        assert attributes & 7 == [None, "gzip", "snappy", "lz4", "zstd"].index(codec)
        assert values(await read(stack, places, 50)) == texts


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_only_committed_transactions_are_read(stack: Stack, codec: str | None) -> None:
    async with topic(stack, 1) as places:
        async with producer(stack, compression_type=codec, transactional_id=uuid4().hex) as sending:
            for number in range(4):
                await sending.begin_transaction()
                await send_batches(sending, places[0], [plain(f"{number}.0"), plain(f"{number}.1")])
                await (sending.abort_transaction() if number % 2 else sending.commit_transaction())
        assert values(await read(stack, places, 4)) == ["0.0", "0.1", "2.0", "2.1"]


async def test_end_of_a_poll_includes_the_markers_of_transactions(stack: Stack) -> None:
    async with topic(stack, 1) as places:
        async with producer(stack, transactional_id=uuid4().hex) as sending:
            await sending.begin_transaction()
            await send_batches(sending, places[0], [plain("a")])
            await sending.commit_transaction()
        consumer = IsolatingConsumer(
            bootstrap_servers=stack.addresses.kafka_bootstrap_servers, auto_offset_reset="earliest"
        )
        consumer.assign(places)
        async with consumer, asyncio.timeout(30):
            while not await consumer.getmany(timeout_ms=200):
                pass
            assert consumer.ends == {places[0]: 2} == await consumer.end_offsets(places)


async def test_damaged_header_of_a_record_in_an_aborted_transaction_brings_nothing_back(stack: Stack) -> None:
    async with topic(stack, 1) as places:
        async with producer(stack, transactional_id=uuid4().hex) as sending:
            for value in ("committed", "aborted", "later"):
                await sending.begin_transaction()
                await send_batches(sending, places[0], [Record("", None, value.encode(), [("näme", b"")])])
                await (sending.abort_transaction() if value == "aborted" else sending.commit_transaction())

        def spoil(batch: bytearray) -> None:
            place = batch.index("ä".encode())
            batch[place : place + 2] = b"\xff\xff"
            seal(batch)

        for batch in stored_batches(stack, places[0])[0:5:2]:
            batch.change(spoil)
        assert values(await read(stack, places, 2)) == ["committed", "later"]


async def test_damage_on_the_way_is_fetched_again(stack: Stack) -> None:
    async with topic(stack, 1) as places:
        async with producer(stack) as sending:
            await send_batches(sending, places[0], [plain("a"), plain("b")])
        (batch,) = stored_batches(stack, places[0])
        original = batch.read()
        batch.change(wrong_checksum)
        consumer = IsolatingConsumer(
            bootstrap_servers=stack.addresses.kafka_bootstrap_servers, auto_offset_reset="earliest"
        )
        consumer.assign(places)
        async with consumer, asyncio.timeout(30):
            while not consumer._suspects or consumer._suspects[places[0]].attempts < 1:
                assert await consumer.getmany(timeout_ms=50) == {}

            def repair(data: bytearray) -> None:
                data[:] = original

            batch.change(repair)
            found: dict[TopicPartition, list[KafkaRecord]] = {}
            while not found:
                found = await consumer.getmany(timeout_ms=50)
            assert values(found[places[0]]) == ["a", "b"]
            assert consumer._suspects == {}


@pytest.mark.parametrize("number", [0, 2])
async def test_batch_that_kafka_cannot_read_is_passed_when_it_is_suspected(stack: Stack, number: int) -> None:
    """Kafka answers such a fetch with an error that aiokafka only logs: nothing arrives any more.

    Each batch has more than 4 KiB, and so an entry in the index of Kafka by which it is found.
    """
    async with topic(stack, 2) as places:
        async with producer(stack) as sending:
            for place in places:
                batches = ([plain(f"{n}.{m}".ljust(1000)) for m in range(5)] for n in range(4))
                await send_batches(sending, place, *batches)
        stored_batches(stack, places[0])[number].change(other_version)
        consumer = IsolatingConsumer(
            bootstrap_servers=stack.addresses.kafka_bootstrap_servers, auto_offset_reset="earliest"
        )
        consumer.assign(places)
        found: list[KafkaRecord] = []
        async with consumer, asyncio.timeout(60):
            consumer.seek(places[0], 5 * number)
            consumer.suspect(places[0])
            while len(found) < 20 + 5 * (3 - number) + 1:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
        assert [value.strip() for value in values(found, 1)] == [
            f"{n}.{m}" for n in range(4) for m in range(5)
        ]
        later = [f"{n}.{m}" for n in range(number + 1, 4) for m in range(5)]
        assert [value.strip() for value in values(found)] == ["unreadable", *later]
        (unreadable,) = [record for record in found if isinstance(record, UnreadableBatch)]
        assert (unreadable.first_offset, unreadable.offset) == (5 * number, 5 * number + 4)
        assert unreadable.value is None


async def test_nothing_is_passed_while_kafka_delivers_nothing_behind_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that fails as a whole must not cost a record."""
    monkeypatch.setattr(isolation, "REFUSAL_PAUSE_S", 0.1)
    async with topic(stack, 1) as places:
        async with producer(stack) as sending:
            await send_batches(sending, places[0], [plain("a"), plain("b")])
        (batch,) = stored_batches(stack, places[0])
        batch.change(other_version)
        consumer = IsolatingConsumer(
            bootstrap_servers=stack.addresses.kafka_bootstrap_servers, auto_offset_reset="earliest"
        )
        consumer.assign(places)
        async with consumer:
            consumer.suspect(places[0])
            for _ in range(20):
                assert await consumer.getmany(timeout_ms=100) == {}
            assert await consumer.position(places[0]) == 0


async def test_records_of_one_partition_are_taken_one_by_one(stack: Stack) -> None:
    async with topic(stack, 1) as places:
        async with producer(stack) as sending:
            await send_batches(sending, places[0], *([plain(f"{n}.{m}") for m in "ab"] for n in range(3)))
        stored_batches(stack, places[0])[1].change(unknown_codec)
        consumer = IsolatingConsumer(
            bootstrap_servers=stack.addresses.kafka_bootstrap_servers, auto_offset_reset="earliest"
        )
        consumer.assign(places)
        async with consumer, asyncio.timeout(30):
            taken = [await consumer.getone() for _ in range(5)]
        assert values(taken) == ["0.a", "0.b", "unreadable", "2.a", "2.b"]


def test_reader_of_batches_agrees_with_the_client() -> None:
    records = [
        Record("", None, b"value", []),
        Record("", b"", None, [("a", None), ("b", b"2")]),
        plain("x" * 3000),
    ]
    for attributes in range(5):
        batch = batch_of(*records, attributes=attributes)
        content = read_batch(batch + b"more", NOWHERE)
        assert [(each.key, each.value, list(each.headers)) for each in content.records] == [
            (each.key, each.value, list(each.headers)) for each in records
        ]
        assert [each.offset for each in content.records] == [0, 1, 2]
        assert content.next_offset == 3


def test_every_damage_of_a_batch_is_one_of_two_errors() -> None:
    batch = batch_of(*(plain(f"{number}") for number in range(10)))
    for size in range(len(batch)):
        with pytest.raises(CorruptRecordException):
            read_batch(batch[:size], NOWHERE)
    for place in range(len(batch)):
        for bit in (1, 0x80):
            damaged = bytearray(batch)
            damaged[place] ^= bit
            if place >= 17:
                with pytest.raises(CorruptRecordException):
                    read_batch(bytes(damaged), NOWHERE)
                seal(damaged)
            try:
                read_batch(bytes(damaged), NOWHERE)
            except (CorruptRecordException, UnsupportedCodecError):
                continue
            except KafkaError as error:
                raise AssertionError(f"{error!r} at {place}") from error
