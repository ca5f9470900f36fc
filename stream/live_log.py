"""The records of the live topics that touch one unit, as a log: ``gatejoin why UNIT``.

Reads operators, declarations and holds to their end, and of port-events and decisions the
partition of the unit; writes what touches the unit to a log that ``stream.why`` explains like any
other. It joins no consumer group and commits nothing, so no worker notices. It must never know
rules.

Which record of customs reached a worker before which event is not written down anywhere; the log
is in the order of the records' timestamps. The published decisions are handed back too, so that
``why`` can say where they differ.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from stream import record_json, topics
from stream.settings import Settings

RECORDS_MAX = 1_000_000
"""Records that may touch one unit, all operators included."""
FETCH_BYTES_MAX = 16 << 20
RECORDS_AT_ONCE = 20_000
POLL_MS = 1_000
SILENCE_S_MAX = 30.0
"""How long a broker that answers may bring nothing before its end is reached."""


class LiveLogError(RuntimeError):
    """The topics can't be read. One line: reason, remedy."""


class LiveRecord(NamedTuple):
    """A record that touches the unit; key and value as bytes, or None."""

    timestamp_ms: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


_Wanted = Callable[[LiveRecord], bool]


def write_live_log(settings: Settings, unit: str, path: Path) -> list[dict[str, Any]]:
    """Writes the records that touch a unit to a log, and returns its published decisions.

    Args:
        settings: where the broker is and what the topics are called.
        unit: normalised.
        path: of the log to write.

    Raises:
        LiveLogError: no broker, or a topic is missing.
        OSError: the log can't be written.
    """
    try:
        records, decisions = asyncio.run(_gather(settings, unit))
    except KafkaError as error:
        raise LiveLogError(
            f"{settings.broker}: {error or type(error).__name__}: "
            "set GATEJOIN_BROKER to a broker that runs, or give --log"
        ) from None
    order = {name: place for place, name in enumerate((*topics.CUSTOMS, topics.PORT_EVENTS))}
    records.sort(key=lambda it: (it.timestamp_ms, order[it.topic], it.partition, it.offset))
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            line = {
                "topic": record.topic,
                "timestamp": max(record.timestamp_ms, 0),
                "key": _text(record.key),
                "value": _text(record.value),
            }
            file.write(json.dumps(line, ensure_ascii=True) + "\n")
    return [record_json.loads(record.value) for record in decisions if record.value is not None]


async def _gather(settings: Settings, unit: str) -> tuple[list[LiveRecord], list[LiveRecord]]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.broker,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_bytes=FETCH_BYTES_MAX,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
    )
    try:
        await consumer.start()
        # A consumer that is stopped before its tasks have begun raises.
        await asyncio.sleep(0)
        reader = _Reader(consumer, settings, await _partition_counts(settings))
        return await _records(reader, unit)
    finally:
        await consumer.stop()


async def _partition_counts(settings: Settings) -> dict[str, int]:
    """Returns the partitions of each topic that is read. Asks for all, for asking makes topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.broker)
    try:
        await admin.start()
        described = await admin.describe_topics()
    finally:
        await admin.close()
    known = {it["topic"]: len(it["partitions"]) for it in described}
    names = (*topics.CUSTOMS, topics.PORT_EVENTS, topics.DECISIONS)
    for name in names:
        if not known.get(settings.topic(name)):
            raise LiveLogError(
                f"{settings.broker} has no topic {settings.topic(name)}: "
                "start a worker once, or check GATEJOIN_BROKER and GATEJOIN_TOPIC_PREFIX"
            )
    return {name: known[settings.topic(name)] for name in names}


async def _records(reader: _Reader, unit: str) -> tuple[list[LiveRecord], list[LiveRecord]]:
    name = unit.encode()

    def lists_unit(record: LiveRecord) -> bool:
        return _named_like(record.key) == name or (
            record.value is not None and name in _named_like(record.value)
        )

    own = [(murmur2(name) & 0x7FFFFFFF) % reader.partition_counts[topics.PORT_EVENTS]]
    records = await reader.read(topics.OPERATORS, None, lambda _: True)
    declarations = await reader.read_all_versions(topics.DECLARATIONS, lists_unit)
    numbers = {record.key for record in declarations if record.key is not None}

    def holds_it(record: LiveRecord) -> bool:
        value = record.value or b""
        return lists_unit(record) or any(number in value for number in numbers)

    records += declarations
    records += await reader.read_all_versions(topics.HOLDS, holds_it)
    records += await reader.read(topics.PORT_EVENTS, own, lists_unit)
    decisions = await reader.read(topics.DECISIONS, own, lambda record: record.key == name)
    return records, decisions


class _Reader:
    """Reads partitions from their first offset to their present end, one topic at a time."""

    def __init__(self, consumer: Any, settings: Settings, partition_counts: dict[str, int]) -> None:
        self._consumer = consumer
        self._settings = settings
        self.partition_counts = partition_counts

    async def read_all_versions(self, topic: str, wanted: _Wanted) -> list[LiveRecord]:
        """Reads a compacted topic twice: for the keys, then for all that was said of them."""
        found = await self.read(topic, None, wanted)
        keys = {record.key for record in found if record.key is not None}
        if not keys:
            return []
        # All versions of a key are in one partition, or compaction could not find them.
        partitions = sorted({record.partition for record in found})
        return await self.read(topic, partitions, lambda record: record.key in keys)

    async def read(
        self, topic: str, partitions: Iterable[int] | None, wanted: _Wanted
    ) -> list[LiveRecord]:
        """Returns what is wanted of some partitions of a topic (None: all)."""
        consumer = self._consumer
        if partitions is None:
            partitions = range(self.partition_counts[topic])
        assigned = [TopicPartition(self._settings.topic(topic), number) for number in partitions]
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        for partition, first in (await consumer.beginning_offsets(assigned)).items():
            consumer.seek(partition, first)
        records: list[LiveRecord] = []
        silence_s = 0.0
        while waiting := [it for it in assigned if await consumer.position(it) < ends[it]]:
            fetched = await consumer.getmany(
                *waiting, timeout_ms=POLL_MS, max_records=RECORDS_AT_ONCE
            )
            silence_s = 0.0 if fetched else silence_s + POLL_MS / 1000
            if silence_s >= SILENCE_S_MAX:
                raise LiveLogError(
                    f"{self._settings.broker}: {waiting[0].topic} brings nothing: try again"
                )
            for fetched_from, messages in fetched.items():
                for message in messages:
                    record = LiveRecord(
                        message.timestamp,
                        topic,
                        fetched_from.partition,
                        message.offset,
                        message.key,
                        message.value,
                    )
                    if wanted(record):
                        records.append(record)
            if len(records) > RECORDS_MAX:
                raise LiveLogError(f"more than {RECORDS_MAX:,} records of {topic} touch the unit")
        return records


def _named_like(data: bytes | None) -> bytes:
    """Returns bytes in which a unit's name stands as the engine keys it, however it is spelt."""
    return b"" if data is None else data.upper().replace(b" ", b"").replace(b"-", b"")


def _text(data: bytes | None) -> str | None:
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8"  # MALFORMED, as the record itself is.
