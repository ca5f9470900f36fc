"""What tests with a real Kafka share: sending batches as they are, reading a topic whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from core_ext.record_batch import OutputRun, encode_output
from stream.emission import Emission
from stream.settings import Settings
from stream.topic_reader import runs_to_end, start_consumer

WAIT_S_MAX = 180.0

Record = tuple[bytes | None, bytes | None, int, int]  # key, value, partition, timestamp_ms


async def until(condition: Callable[[], bool], wait_s_max: float = WAIT_S_MAX) -> None:
    """Waits until `condition` holds; fails the test at the deadline."""
    deadline = time.monotonic() + wait_s_max
    while not condition():
        assert time.monotonic() < deadline, f"not within {wait_s_max} s"
        await asyncio.sleep(0.02)


async def make_topic(broker: str, name: str, partitions: int = 1, **config: str) -> None:
    """Makes a topic that keeps what is sent to it: retention goes by the records' timestamps, which
    tests set in the past, and the broker's default of a week would delete them within minutes."""
    config.setdefault("retention.ms", "-1")
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    finally:
        await admin.close()


async def delete_records(broker: str, topic: str, partition: int, before_offset: int) -> None:
    """Deletes the first records of a partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        part = TopicPartition(topic, partition)
        await admin.delete_records({part: RecordsToDelete(before_offset=before_offset)})
    finally:
        await admin.close()


@asynccontextmanager
async def emission(broker: str, **options: Any) -> AsyncIterator[Emission]:
    sender = Emission({"bootstrap_servers": broker}, client_id="test", **options)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


async def send(
    broker: str,
    topic: str,
    records: Iterable[Record],
    *,
    per_batch: int = 5000,
    compression: str = "none",
) -> None:
    """Sends records in batches of `per_batch`, and waits until the broker has them."""
    run = OutputRun()
    for record in records:
        run.append(*record)
    async with emission(broker) as sender:
        waiting: list[Awaitable[None]] = []
        for partition in run.partitions():
            batches = encode_output(
                run, partition, batch_records_max=per_batch, compression=compression
            )
            waiting += sender.submit(topic, partition, batches)
        await asyncio.gather(*waiting)


async def read(
    broker: str, topic: str, partitions: int = 1
) -> list[tuple[int, int, bytes | None, bytes | None, int]]:
    """All records of a topic: (partition, offset, key, value, timestamp_ms), by partition."""
    consumer = await start_consumer(Settings(broker=broker), "test")
    try:
        parts = [TopicPartition(topic, number) for number in range(partitions)]
        found = [
            (fetched.partition, offset, key, value, timestamp_ms)
            async for fetched in runs_to_end(consumer, parts)
            for key, value, offset, timestamp_ms in fetched.run
        ]
        return sorted(found, key=lambda record: record[:2])
    finally:
        await consumer.stop()
