"""Record batches that no ordinary producer writes: sent as bytes, or damaged in the log of the local Kafka.

Kafka checks what it is sent, but not what it reads from its disk: a batch that is changed in the file of its
segment is delivered as it is, also while the broker runs.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from tests.support.stack import Stack

from phonograph_events import Record

HEADER_BYTES = 61
_NOT_LEADER = 6
"""Error code of Kafka."""
CRC, ATTRIBUTES, LAST_DELTA = 17, 21, 23
"""Positions in the header of a batch."""


@dataclass(frozen=True)
class StoredBatch:
    """A batch in the file of a segment."""

    path: Path
    start: int
    size: int
    base_offset: int
    last_offset: int

    def read(self) -> bytes:
        """Return its bytes."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)

    def change(self, change: Callable[[bytearray], None]) -> bytes:
        """Change its bytes in place, the size stays; return the new bytes."""
        data = bytearray(self.read())
        change(data)
        assert len(data) == self.size
        with self.path.open("r+b") as file:
            file.seek(self.start)
            file.write(data)
        return bytes(data)


def stored_batches(stack: Stack, place: TopicPartition) -> list[StoredBatch]:
    """Return the batches of a partition in the order of their offsets."""
    (folder,) = stack.project.home.rglob(f"{place.topic}-{place.partition}")
    return [batch for path in sorted(folder.glob("*.log")) for batch in _batches(path)]


def _batches(path: Path) -> Iterator[StoredBatch]:
    data, start = path.read_bytes(), 0
    while start + HEADER_BYTES <= len(data):
        base, length = struct.unpack_from(">qi", data, start)
        (delta,) = struct.unpack_from(">i", data, start + LAST_DELTA)
        if length <= 0:
            return  # the rest of the file is reserved
        yield StoredBatch(path, start, 12 + length, base, base + delta)
        start += 12 + length


def seal(batch: bytearray) -> None:
    """Make the checksum right."""
    struct.pack_into(">I", batch, CRC, calc_crc32c(bytes(batch[ATTRIBUTES:])))


def wrong_checksum(batch: bytearray) -> None:
    """Flip one bit of the last record."""
    batch[-1] ^= 1


def unknown_codec(batch: bytearray) -> None:
    """State a compression that does not exist; the checksum is right."""
    batch[ATTRIBUTES + 1] |= 7
    seal(batch)


def wrong_codec(batch: bytearray) -> None:
    """State a compression that the bytes do not have; the checksum is right."""
    batch[ATTRIBUTES + 1] |= 4
    seal(batch)


def garbage(batch: bytearray) -> None:
    """Replace the records by bytes that mean nothing; the checksum is right."""
    batch[HEADER_BYTES:] = bytes(index * 37 % 251 for index in range(len(batch) - HEADER_BYTES))
    seal(batch)


def long_record(batch: bytearray) -> None:
    """Let the last record, of less than 64 bytes, state another length; the checksum is right."""
    size = next(size for size in range(1, 64) if batch[-size - 1] == size * 2)
    batch[-size - 1] = 126
    seal(batch)


def lying_header(batch: bytearray) -> None:
    """Damage the header: its last offset is far behind the end of the partition."""
    struct.pack_into(">i", batch, LAST_DELTA, 2**31 - 1)


def other_version(batch: bytearray) -> None:
    """State version 1, gzip: Kafka has to unpack the batch to find an offset, and fails."""
    batch[16:18] = b"\1\1"


DAMAGES: tuple[Callable[[bytearray], None], ...] = (
    wrong_checksum,
    unknown_codec,
    wrong_codec,
    garbage,
    lying_header,
)


def batch_of(*records: Record, attributes: int = 0) -> bytes:
    """Return a batch of records as a producer sends it."""
    builder = DefaultRecordBatchBuilder(2, attributes, 0, -1, -1, -1, 4 * 1024 * 1024)
    for offset, record in enumerate(records):
        assert builder.append(offset, 1, record.key, record.value, list(record.headers)) is not None
    return bytes(builder.build())


async def send_bytes(stack: Stack, place: TopicPartition, batch: bytes) -> int:
    """Send a batch as bytes; return the offset that Kafka gave its first record."""
    client = AIOKafkaClient(bootstrap_servers=stack.addresses.kafka_bootstrap_servers)
    await client.bootstrap()
    try:
        client.add_topic(place.topic)
        # A new topic has no leader for a moment.
        while (node := client.cluster.leader_for_partition(place)) in {None, -1}:
            await client.force_metadata_update()
        request: Any = ProduceRequest(
            transactional_id=None,
            required_acks=-1,
            timeout=10_000,
            topics=[(place.topic, [(place.partition, batch)])],
        )
        error = _NOT_LEADER
        while error == _NOT_LEADER:  # its leader does not know yet that it is
            response: Any = await client.send(node, request)
            ((_, ((_, error, offset, *_),)),) = response.topics
        assert error == 0, f"Kafka refused the batch: error {error}"
        return int(offset)
    finally:
        await client.close()


async def send_batches(producer: AIOKafkaProducer, place: TopicPartition, *batches: list[Record]) -> None:
    """Send each list of records as one batch."""
    for records in batches:
        builder = producer.create_batch()
        for record in records:
            added = builder.append(
                key=record.key, value=record.value, timestamp=None, headers=list(record.headers)
            )
            assert added is not None
        sent = await producer.send_batch(builder, place.topic, partition=place.partition)
        await sent
