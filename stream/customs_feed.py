"""Customs' side, from the broker into the engine: all of it, in every worker.

What it is: reads operators, declarations and holds, in that order, each from its first offset to
where it ended when reading began, and then follows all three. No consumer group: every worker
reads every partition, and remembers nothing, since the topics are compacted.
Who calls it: ``stream.gate``, which says what to do with a run.
What it must never know: the engine, what a record means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from core_ext.record_batch import RecordRun
from stream import topics
from stream.settings import Settings
from stream.transport import RunConsumer
from stream.transport.fetcher import FETCH_BYTES_MAX

log = logging.getLogger(__name__)

# How long one look for new runs waits; only how often stopping and progress are thought of.
POLL_S = 1.0
# Between two attempts while no broker answers; each is logged.
RETRY_S = 2.0

#: Called with the engine's number of the topic, the partition and the run.
OnRun = Callable[[int, int, RecordRun], Awaitable[None]]
#: Called with a topic's plain name and how far it is loaded, 0 to 1.
OnProgress = Callable[[str, float], None]


async def start_consumer(settings: Settings, client_id: str) -> RunConsumer:
    """A started consumer without a group; waits, with a message, while no broker answers."""
    while True:
        consumer = RunConsumer(
            bootstrap_servers=settings.broker,
            client_id=client_id,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_bytes=FETCH_BYTES_MAX,
        )
        try:
            await consumer.start()
        except KafkaError as error:
            await consumer.stop()
            log.warning("no broker at %s yet (%s); waiting", settings.broker, error)
            await asyncio.sleep(RETRY_S)
        except BaseException:
            await consumer.stop()
            raise
        else:
            return consumer


class CustomsFeed:
    """Feeds one engine.

    Args:
        settings: where the broker and the topics are.
        partition_counts: partitions of each topic, by plain name.
        on_run: what to do with a run; the next is read when it returns.
        on_progress: told how far each topic is.
    """

    def __init__(
        self,
        settings: Settings,
        partition_counts: Mapping[str, int],
        on_run: OnRun,
        on_progress: OnProgress,
    ) -> None:
        self._settings = settings
        self._partition_counts = partition_counts
        self._on_run = on_run
        self._on_progress = on_progress
        #: Set when all three topics were read to their end.
        self.loaded = asyncio.Event()

    async def run(self) -> None:
        """Loads, then follows, until cancelled."""
        consumer = await start_consumer(self._settings, "gatejoin-customs")
        try:
            positions: dict[TopicPartition, int] = {}
            for number, name in enumerate(topics.CUSTOMS):
                positions |= await self._load(consumer, number, name)
            consumer.assign(list(positions))
            for topic_partition, position in positions.items():
                consumer.seek(topic_partition, position)
            self.loaded.set()
            numbers = {self._settings.topic(name): i for i, name in enumerate(topics.CUSTOMS)}
            while True:
                for topic_partition, runs in (await consumer.get_runs(POLL_S)).items():
                    for run in runs:
                        await self._on_run(
                            numbers[topic_partition.topic], topic_partition.partition, run.run
                        )
        finally:
            await consumer.stop()

    async def _load(
        self, consumer: RunConsumer, number: int, name: str
    ) -> dict[TopicPartition, int]:
        """Reads one topic to its present end; returns where each partition goes on."""
        partitions = [
            TopicPartition(self._settings.topic(name), partition)
            for partition in range(self._partition_counts[name])
        ]
        consumer.assign(partitions)
        positions = dict(await consumer.beginning_offsets(partitions))
        ends = dict(await consumer.end_offsets(partitions))
        total = sum(ends[partition] - positions[partition] for partition in partitions)
        record_count = 0
        for partition, position in positions.items():
            consumer.seek(partition, position)
        while True:
            left = sum(max(0, ends[partition] - positions[partition]) for partition in partitions)
            self._on_progress(name, 1 - left / total if total else 1.0)
            if not left:
                break
            for partition, runs in (await consumer.get_runs(POLL_S)).items():
                for run in runs:
                    await self._on_run(number, partition.partition, run.run)
                    record_count += run.run.count
                    positions[partition] = run.run.last_offset + 1
        log.info("%s: %d records loaded", self._settings.topic(name), record_count)
        return positions
