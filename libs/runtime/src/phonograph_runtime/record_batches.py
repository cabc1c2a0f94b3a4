"""Record batches as bytes, read record by record where the Kafka client reads a batch whole or not at all.

Format: https://kafka.apache.org/documentation/#recordbatch
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.errors import CorruptRecordException, UnsupportedCodecError
from aiokafka.record.util import calc_crc32c, decode_varint

_PREFIX: Final = struct.Struct(">qiib")
"""Base offset, length after this field, leader epoch, magic: the same in every version of the format."""
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
"""All of a version 2 header, up to the number of records."""
_LENGTH_END: Final = 12
_CRC_START: Final = 21
"""First byte that the checksum covers."""
_MAGIC: Final = 2
_CODEC_MASK: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_DECODERS: Final[dict[int, Callable[[bytes], bytes]]] = {
    0: bytes,
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}

KafkaRecord: TypeAlias = ConsumerRecord[bytes | None, bytes | None]


@dataclass
class UnreadableBatch(KafkaRecord):
    """A batch of which no record can be read, in the place of its records.

    Its offset is that of the last record, so that committing and rewinding work as for any record; its value
    holds the bytes of the batch as far as they could be fetched.
    """

    first_offset: int
    error: str
    """Why it cannot be read."""
    attempts: int

    @classmethod
    def at(
        cls, partition: TopicPartition, offsets: range, value: bytes | None, *, error: str, attempts: int
    ) -> Self:
        """Create the record.

        Args:
            partition: Where the batch is.
            offsets: Its offsets, at least one.
            value: Its bytes.
            error: Why it cannot be read.
            attempts: How often it was fetched.
        """
        return cls(
            topic=partition.topic,
            partition=partition.partition,
            offset=offsets[-1],
            timestamp=-1,
            timestamp_type=0,
            key=None,
            value=value,
            checksum=None,
            serialized_key_size=-1,
            serialized_value_size=-1 if value is None else len(value),
            headers=(),
            first_offset=offsets[0],
            error=error,
            attempts=attempts,
        )


@dataclass(frozen=True, slots=True)
class BatchPrefix:
    """The first bytes of a batch. No checksum covers them."""

    base_offset: int
    size: int
    """Bytes of the whole batch."""
    magic: int

    @classmethod
    def of(cls, data: bytes) -> Self | None:
        """Return the prefix of the batch with which the data begins; None if there are too few bytes."""
        if len(data) < _PREFIX.size:
            return None
        base_offset, length, _epoch, magic = _PREFIX.unpack_from(data)
        return cls(base_offset, max(_LENGTH_END + length, _PREFIX.size), magic)


@dataclass(frozen=True, slots=True)
class BatchContent:
    """A batch that was read."""

    records: list[KafkaRecord]
    """Empty for a control batch."""
    next_offset: int
    base_offset: int
    producer_id: int
    is_transactional: bool


def read_batch(data: bytes, partition: TopicPartition) -> BatchContent:
    """Read the batch with which the data begins, more leniently than aiokafka.

    Bytes of a header's name that are not UTF-8 become backslash escapes: Kafka accepts them, and aiokafka
    fails to read the whole batch.

    Args:
        data: One batch, possibly followed by others.
        partition: Where it was fetched from.

    Raises:
        CorruptRecordException: If the batch is incomplete, has a wrong checksum or is not in the format.
        UnsupportedCodecError: If its compression is unknown.
    """
    prefix = BatchPrefix.of(data)
    if prefix is None or len(data) < max(prefix.size, _HEADER.size):
        raise CorruptRecordException(f"only {len(data)} bytes of the batch were delivered")
    if prefix.magic != _MAGIC:
        raise CorruptRecordException(f"version {prefix.magic} of the record format is unknown")
    if prefix.size < _HEADER.size:
        raise CorruptRecordException(f"the batch states a length of {prefix.size} bytes")
    batch = data[: prefix.size]
    base, _, _, _, crc, attributes, last_delta, first_ms, max_ms, producer_id, _, _, count = (
        _HEADER.unpack_from(batch)
    )
    if calc_crc32c(batch[_CRC_START:]) != crc:
        raise CorruptRecordException("the checksum (CRC) is wrong")
    if last_delta < 0:
        raise CorruptRecordException(f"the batch states {last_delta} as the distance of its last offset")
    decode = _DECODERS.get(attributes & _CODEC_MASK)
    if decode is None:
        raise UnsupportedCodecError(f"compression codec {attributes & _CODEC_MASK} is unknown")
    times = _Times(first_ms, max_ms, uses_append_time=bool(attributes & _LOG_APPEND_TIME))
    records: list[KafkaRecord] = []
    if not attributes & _CONTROL:
        try:
            reader = _Reader(bytearray(decode(batch[_HEADER.size :])))
            records = [_read_record(reader, partition, base, times) for _ in range(count)]
        except CorruptRecordException:
            raise
        except Exception as error:  # codecs raise exceptions of many classes
            raise CorruptRecordException(f"the records cannot be unpacked: {error!r}") from error
    return BatchContent(
        records, base + last_delta + 1, base, producer_id, is_transactional=bool(attributes & _TRANSACTIONAL)
    )


@dataclass(frozen=True, slots=True)
class _Times:
    first_ms: int
    max_ms: int
    uses_append_time: bool

    def at(self, delta_ms: int) -> int:
        return self.max_ms if self.uses_append_time else self.first_ms + delta_ms


def _read_record(reader: "_Reader", partition: TopicPartition, base: int, times: _Times) -> KafkaRecord:
    size = reader.varint()
    record_end = reader.position + size
    reader.varint()  # attributes, unused
    time_ms, offset = times.at(reader.varint()), base + reader.varint()
    key, value = reader.nullable_bytes(), reader.nullable_bytes()
    headers = tuple((reader.name(), reader.nullable_bytes()) for _ in range(reader.varint()))
    if reader.position != record_end:
        raise CorruptRecordException(f"the record at the offset {offset} has another length than it states")
    return ConsumerRecord(
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        timestamp=time_ms,
        timestamp_type=int(times.uses_append_time),
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=-1 if key is None else len(key),
        serialized_value_size=-1 if value is None else len(value),
        headers=headers,
    )


class _Reader:
    """Reads the fields of records one after another.

    Every method raises IndexError or CorruptRecordException where the bytes end too early.
    """

    def __init__(self, data: bytearray) -> None:
        self._data = data
        self.position = 0

    def varint(self) -> int:
        value: int
        value, self.position = decode_varint(self._data, self.position)
        return value

    def nullable_bytes(self) -> bytes | None:
        size = self.varint()
        return None if size < 0 else self._take(size)

    def name(self) -> str:
        return self._take(self.varint()).decode(errors="backslashreplace")

    def _take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self._data):
            raise CorruptRecordException("a field of a record ends behind its batch")
        taken = bytes(self._data[self.position : end])
        self.position = end
        return taken
