"""A Kafka consumer that passes over what it cannot read, so that one bad batch stops nothing else.

aiokafka raises while it unpacks a batch with a wrong checksum, an unknown codec or a malformed record. Three
things follow that its callers cannot repair: it fetches the same batch again forever, records of other
partitions that the same call had already taken are lost, and the exception does not name the partition.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    CorruptRecordException,
    IllegalStateError,
    KafkaError,
    RecordTooLargeError,
    UnsupportedCodecError,
    for_code,
)
from aiokafka.protocol.fetch import FetchRequest
from typing_extensions import override

from phonograph_events import MAX_MESSAGE_BYTES
from phonograph_runtime.record_batches import BatchPrefix, KafkaRecord, UnreadableBatch, read_batch

READ_ATTEMPTS: Final = 3
"""Fetches of a batch before it counts as unreadable: the bytes may have been damaged on their way."""
READ_PAUSE_S: Final = 1.0
SUSPICION_S: Final = 30.0
"""Time for which partitions are read one by one after a failure that names none."""
REFUSAL_PAUSE_S: Final = 10.0
"""Pause after Kafka delivered neither a batch nor a later one."""
FETCH_TIMEOUT_S: Final = 10.0
"""Longest wait for a batch and the search for the next; other partitions wait as long."""
POLL_S: Final = 0.05
MAX_RECORDS: Final = 500
DEFAULT_TIMEOUT_MS: Final = 500

_READ_COMMITTED: Final = 1
_ABORTED_IN_V11: Final = 2
_EMPTY_CONTROL_BATCH: Final = "Control batch did not contain"
_DAMAGED_ON_KAFKA: Final = {-1, 2}
"""Error codes with which Kafka answers a fetch of a batch that it cannot read itself."""

logger = structlog.get_logger()


@dataclass
class _Suspect:
    """A partition that is read one record at a time, to find the exact offset that cannot be read."""

    suspected_at: float = field(default_factory=time.monotonic)
    offset: int | None = None
    """First offset that could not be read; None until it is known."""
    attempts: int = 0
    retry_at: float = 0.0
    is_silent: bool = False
    """Whether nothing arrives although records are waiting: aiokafka only logs what Kafka refuses."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """The answer to a fetch of one partition."""

    error_code: int
    end: int
    """Offset behind the last record that may be read."""
    aborted: Sequence[tuple[int, int]]
    """Producer and first offset of each aborted transaction."""
    data: bytes


class IsolatingConsumer(AIOKafkaConsumer):
    """An `AIOKafkaConsumer` whose reading methods never raise because of the content of a topic.

    In the place of a batch that cannot be read they return an `UnreadableBatch`. Transactions are read
    committed: the records of an aborted one are not returned.
    """

    def __init__(self, *topics: str, **settings: Any) -> None:
        """Create the consumer; see `AIOKafkaConsumer` for the settings."""
        super().__init__(*topics, **settings | {"isolation_level": "read_committed"})
        self._suspects: dict[TopicPartition, _Suspect] = {}
        self._first = 0
        self.ends: dict[TopicPartition, int] = {}
        """Offset behind everything that the last poll read, markers of transactions included."""

    def suspect(self, partition: TopicPartition) -> None:
        """Fetch a partition by its own request, because nothing has arrived from it for too long."""
        self._suspects.setdefault(partition, _Suspect()).is_silent = True

    @override
    async def getone(self, *partitions: TopicPartition) -> KafkaRecord:
        """Return the next record, as `AIOKafkaConsumer.getone` does."""
        while True:
            found = await self.getmany(*partitions, timeout_ms=DEFAULT_TIMEOUT_MS, max_records=1)
            for records in found.values():
                return records[0]

    @override
    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[KafkaRecord]]:
        """Return records by partition, as `AIOKafkaConsumer.getmany` does.

        Args:
            partitions: Partitions to read; all assigned ones if there are none.
            timeout_ms: Longest wait for the first record.
            max_records: Most records to return.

        Raises:
            KafkaError: If the group fails or a topic may not be read.
            ConsumerStoppedError: If the consumer was stopped.
        """
        limit = max_records or MAX_RECORDS
        deadline = time.monotonic() + timeout_ms / 1000
        found: dict[TopicPartition, list[KafkaRecord]] = {}
        try:
            left_s = timeout_ms / 1000
            while True:
                await self._collect(found, partitions, left_s, limit)
                left_s = deadline - time.monotonic()
                if found or left_s <= 0:
                    break
        except (KafkaError, ConsumerStoppedError, IllegalStateError) as error:
            # What was taken before is returned: its positions have moved. The next poll raises again.
            if not found and not isinstance(error, IllegalStateError):
                raise
        self.ends = {partition: await self._end_of(partition, found[partition]) for partition in found}
        return found

    async def _collect(
        self,
        found: dict[TopicPartition, list[KafkaRecord]],
        partitions: Sequence[TopicPartition],
        timeout_s: float,
        limit: int,
    ) -> None:
        selected = self._in_turn(partitions)
        suspects = self._remaining_suspects(selected)
        for partition in suspects:
            # One that was found guilty clears those that were suspected together with it.
            if partition in self._suspects and limit > _count(found):
                _add(found, partition, await self._read_suspect(partition, limit - _count(found)))
        healthy = [partition for partition in selected if partition not in self._suspects]
        if limit <= _count(found):
            return
        if suspects and not healthy:
            if not found:
                await asyncio.sleep(min(timeout_s, POLL_S))
            return
        # The wait is for one record only: where aiokafka raises, it loses what the same call took before.
        wait_for = healthy if suspects or partitions else ()
        wait_ms = int((min(timeout_s, POLL_S) if suspects else timeout_s) * 1000)
        try:
            first = await super().getmany(*wait_for, timeout_ms=0 if found else wait_ms, max_records=1)
        except Exception as error:  # codecs raise exceptions of many classes
            if not _is_content(error):
                raise
            logger.info("records unreadable, reading partitions one by one", error=repr(error))
            self._suspects.update((partition, _Suspect()) for partition in healthy)
            return
        for partition, records in first.items():
            _add(found, partition, records)
        if first:
            await self._drain(found, [*first, *(each for each in healthy if each not in first)], limit)

    async def _drain(
        self, found: dict[TopicPartition, list[KafkaRecord]], partitions: Sequence[TopicPartition], limit: int
    ) -> None:
        """Take what has arrived already, by partition: a failure then belongs to one and costs no other."""
        for partition in partitions:
            left = limit - _count(found)
            if left <= 0:
                return
            try:
                taken = await super().getmany(partition, max_records=left)
            except Exception as error:
                if not _is_content(error):
                    raise
                self._suspects[partition] = _Suspect()
            else:
                _add(found, partition, taken.get(partition, []))

    def _in_turn(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Return the partitions to read; each poll begins with another one, so that all get their turn."""
        selected = sorted(partitions or self.assignment())
        self._first += 1
        start = self._first % len(selected) if selected else 0
        return selected[start:] + selected[:start]

    def _remaining_suspects(self, selected: Sequence[TopicPartition]) -> list[TopicPartition]:
        assigned, now = self.assignment(), time.monotonic()
        self._suspects = {
            partition: suspect
            for partition, suspect in self._suspects.items()
            if partition in assigned
            and (suspect.offset is not None or now - suspect.suspected_at < SUSPICION_S)
        }
        return [partition for partition in selected if partition in self._suspects]

    async def _read_suspect(self, partition: TopicPartition, limit: int) -> list[KafkaRecord]:
        """Read a partition record by record, up to the one that cannot be read."""
        suspect, records = self._suspects[partition], list[KafkaRecord]()
        if time.monotonic() < suspect.retry_at:
            return []
        while len(records) < limit:
            try:
                taken = await super().getmany(partition, max_records=1)
            except Exception as error:
                if not _is_content(error):
                    raise
                # With records in hand nothing is decided: the next poll meets the same failure first.
                return records or await self._handle_failure(partition, suspect, error)
            if not taken:
                break
            records += taken[partition]
        if records and suspect.offset is not None and records[-1].offset >= suspect.offset:
            del self._suspects[partition]
        elif not records and suspect.is_silent:
            return await self._handle_failure(partition, suspect, None)
        return records

    async def _handle_failure(
        self, partition: TopicPartition, suspect: _Suspect, error: Exception | None
    ) -> list[KafkaRecord]:
        """Count a failure to read; return what there is of the batch once there were too many."""
        position: int = await self.position(partition)
        if isinstance(error, RecordTooLargeError):  # aiokafka has stepped over one offset
            position -= 1
            self.seek(partition, position)
        if suspect.offset != position:
            suspect.offset, suspect.attempts = position, 0
            # The culprit is known: whatever was suspected together with it is not.
            self._suspects = {
                each: other
                for each, other in self._suspects.items()
                if other.offset is not None or other.is_silent
            }
        suspect.attempts += 1
        suspect.retry_at = time.monotonic() + READ_PAUSE_S
        log = logger.bind(topic=partition.topic, partition=partition.partition, offset=position)
        if suspect.attempts < READ_ATTEMPTS:
            log.warning("batch unreadable, trying again", error=repr(error))
            return []
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                records, next_offset = await self._fetch_around(partition, position, suspect.attempts)
        except (KafkaError, TimeoutError):
            suspect.retry_at = time.monotonic() + REFUSAL_PAUSE_S
            log.exception("batch unreadable, and nothing behind it")
            return []
        if partition not in self.assignment():  # there was a rebalance in the meantime
            return []
        self.seek(partition, next_offset)
        self._suspects.pop(partition, None)
        return records

    async def _fetch_around(
        self, partition: TopicPartition, position: int, attempts: int
    ) -> tuple[list[KafkaRecord], int]:
        """Fetch one batch by a request of its own; return its records and the offset behind it.

        Args:
            partition: Partition to read.
            position: First offset that aiokafka could not read.
            attempts: How often it tried.

        Raises:
            KafkaError: If Kafka delivers neither this batch nor a later one.
        """
        fetched = await self._fetch(partition, position)
        if position >= fetched.end and not fetched.error_code:
            return [], position
        try:
            return self._read_leniently(partition, position, fetched)
        except KafkaError as error:
            after = await self._next_batch(partition, position, fetched)
            records, next_offset = list[KafkaRecord](), after
            if fetched.error_code:
                after, records, next_offset = await self._read_found(partition, after)
            first, value = _batch_of(fetched.data, position)
            unreadable = UnreadableBatch.at(
                partition,
                range(first, after),
                value,
                error=f"{type(error).__name__}: {error}",
                attempts=attempts,
            )
            return [unreadable, *records], next_offset

    async def _read_found(self, partition: TopicPartition, offset: int) -> tuple[int, list[KafkaRecord], int]:
        """Read the batch in which Kafka found an offset; return its first offset, records and next offset.

        Kafka finds a batch by the index of its last offset, so that a fetch of its first one may still fail.
        """
        fetched = await self._fetch(partition, offset)
        prefix = BatchPrefix.of(fetched.data)
        if prefix is None or prefix.base_offset >= offset:
            return offset, [], offset
        try:
            records, next_offset = self._read_leniently(partition, prefix.base_offset, fetched)
        except KafkaError:
            return offset, [], offset
        return prefix.base_offset, records, next_offset

    def _read_leniently(
        self, partition: TopicPartition, position: int, fetched: _Fetched
    ) -> tuple[list[KafkaRecord], int]:
        if fetched.error_code:
            raise for_code(fetched.error_code)("Kafka does not deliver the batch")
        batch = read_batch(fetched.data, partition)
        # The fetch began with this batch, so that an earlier transaction of its producer is not listed.
        is_aborted = batch.is_transactional and any(
            producer == batch.producer_id and first <= batch.base_offset
            for producer, first in fetched.aborted
        )
        if is_aborted:
            return [], batch.next_offset
        return [record for record in batch.records if record.offset >= position], batch.next_offset

    async def _next_batch(self, partition: TopicPartition, position: int, fetched: _Fetched) -> int:
        """Return the first offset behind an unreadable batch.

        The header of the batch is not trusted. Kafka finds batches by its own index: it is asked for later
        offsets, in growing steps and then by halving, until the answer begins with another batch.

        Args:
            partition: Partition of the batch.
            position: An offset in the batch.
            fetched: The answer of Kafka for this offset.

        Raises:
            KafkaError: If Kafka refuses this and every later offset: nothing may be skipped then.
        """
        unreadable, step = position, 1
        while (readable := position + step) < fetched.end:
            if await self._begins_later(partition, readable, position):
                break
            unreadable, step = readable, step * 2
        else:
            readable = fetched.end
            if fetched.error_code:
                readable -= 1
                if readable <= unreadable or not await self._begins_later(partition, readable, position):
                    raise for_code(fetched.error_code)("Kafka delivers neither this batch nor a later one")
        while readable - unreadable > 1:
            middle = (unreadable + readable) // 2
            if await self._begins_later(partition, middle, position):
                readable = middle
            else:
                unreadable = middle
        return readable

    async def _begins_later(self, partition: TopicPartition, offset: int, position: int) -> bool:
        """Return whether a fetch of an offset begins with a batch behind a position."""
        fetched = await self._fetch(partition, offset, max_bytes=1)
        prefix = BatchPrefix.of(fetched.data)
        return not fetched.error_code and prefix is not None and position < prefix.base_offset <= fetched.end

    async def _fetch(
        self, partition: TopicPartition, offset: int, *, max_bytes: int = MAX_MESSAGE_BYTES
    ) -> _Fetched:
        """Fetch the bytes from an offset on; Kafka returns at least one batch, whatever its size.

        Raises:
            KafkaError: If Kafka does not answer.
        """
        # The client of the consumer is private, but a second one would need all its settings and connections.
        node = self._client.cluster.leader_for_partition(partition)
        if node is None or node < 0:
            raise KafkaError(f"{partition.topic}/{partition.partition} has no leader")
        request = FetchRequest(
            DEFAULT_TIMEOUT_MS,
            1,
            max_bytes,
            _READ_COMMITTED,
            [(partition.topic, [(partition.partition, offset, max_bytes)])],
        )
        response = await self._client.send(node, request)
        ((_, ((_, error_code, end, *rest),)),) = response.topics
        aborted = rest[_ABORTED_IN_V11] if response.API_VERSION >= 11 else rest[-2]
        if error_code and error_code not in _DAMAGED_ON_KAFKA:
            raise for_code(error_code)(f"{partition.topic}/{partition.partition} cannot be read")
        if error_code:  # the answer then states no end
            return _Fetched(error_code, (await self.end_offsets([partition]))[partition], (), b"")
        return _Fetched(0, min(end, rest[0]), aborted or (), rest[-1] or b"")

    async def _end_of(self, partition: TopicPartition, records: Sequence[KafkaRecord]) -> int:
        """Return the offset behind records, and behind markers of transactions that follow them."""
        end: int = records[-1].offset + 1
        if partition not in self.assignment():
            return end
        try:
            async with asyncio.timeout(POLL_S):  # after a rebalance there may be no position yet
                position: int = await self.position(partition)
                return max(end, position)
        except (TimeoutError, IllegalStateError, KafkaError):
            return end


def _is_content(error: Exception) -> bool:
    """Return whether an exception comes from the bytes of a batch: codecs raise exceptions of their own."""
    if isinstance(error, CorruptRecordException | UnsupportedCodecError | RecordTooLargeError):
        return True
    if isinstance(error, KafkaError):  # of this class are a control batch without records, and a broken group
        return _EMPTY_CONTROL_BATCH in str(error)
    return not isinstance(error, ConsumerStoppedError)


def _batch_of(data: bytes, position: int) -> tuple[int, bytes | None]:
    """Return the first offset of the batch with which data begins, and its bytes.

    Args:
        data: Bytes of the partition; a damaged length or base offset is not believed.
        position: Offset that was asked for, which is in the batch.
    """
    prefix = BatchPrefix.of(data)
    if prefix is None:
        return position, data[:MAX_MESSAGE_BYTES] or None
    first = prefix.base_offset if 0 <= prefix.base_offset <= position else position
    return first, data[: min(prefix.size, MAX_MESSAGE_BYTES)]


def _add(
    found: dict[TopicPartition, list[KafkaRecord]], partition: TopicPartition, records: list[KafkaRecord]
) -> None:
    if records:
        found.setdefault(partition, []).extend(records)


def _count(found: dict[TopicPartition, list[KafkaRecord]]) -> int:
    return sum(map(len, found.values()))
