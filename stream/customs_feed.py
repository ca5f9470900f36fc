"""Customs' side, from the broker into the engine: all of it, in every worker.

What it is: reads operators, declarations and holds, in that order, each from its first offset to
where it ended when all of it began, and then follows all three. No consumer group: every worker
reads every partition, and remembers nothing, since the topics are compacted.
Who calls it: ``stream.gate``, which says what to do with a run; ``stream.owned_partition`` waits
for it to catch up.
What it must never know: the engine, what a record means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiokafka.structs import TopicPartition

from core_ext.record_batch import RecordRun
from stream import topics
from stream.fatal import FatalError
from stream.logs import at
from stream.settings import Settings
from stream.topic_reader import POLL_S, begins_and_ends, runs_until, start_consumer
from stream.transport import RunConsumer

log = logging.getLogger(__name__)

# Going from one topic to the next waits for a fetch that finds nothing; following is not slower, as
# a broker answers at once when something comes.
FETCH_WAIT_MS = 50

#: Called with the engine's number of the topic, the partition and the run.
OnRun = Callable[[int, int, RecordRun], Awaitable[None]]
#: Called with a topic's plain name and how far it is loaded, 0 to 1.
OnProgress = Callable[[str, float], None]


class CustomsLostError(FatalError):
    """A topic of customs is not whole."""


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
        self._consumer: RunConsumer | None = None
        #: Behind the last record of each partition that ``on_run`` is through with.
        self._positions: dict[TopicPartition, int] = {}
        self._moved = asyncio.Condition()

    async def run(self) -> None:
        """Loads, then follows, until cancelled. Raises CustomsLostError."""
        consumer = await start_consumer(
            self._settings, "gatejoin-customs", fetch_wait_ms=FETCH_WAIT_MS
        )
        try:
            partitions = [
                TopicPartition(self._settings.topic(name), partition)
                for name in topics.CUSTOMS
                for partition in range(self._partition_counts[name])
            ]
            begins, ends = await begins_and_ends(consumer, partitions)
            for partition, begin in begins.items():
                if begin > 0:
                    raise CustomsLostError(
                        f"{partition.topic}-{partition.partition} begins at offset {begin}: "
                        "records before it were deleted, which compaction never does, and a hold "
                        "among them would not keep anything at a gate: make the topic anew with "
                        "cleanup.policy=compact and have customs send all again"
                    )
            self._consumer, self._positions = consumer, begins
            # All at once, since each assignment asks the broker for metadata, and one topic after
            # the other is fetched.
            consumer.assign(partitions)
            for partition, begin in begins.items():
                consumer.seek(partition, begin)
            consumer.pause(*partitions)
            numbers = {self._settings.topic(name): i for i, name in enumerate(topics.CUSTOMS)}
            for topic, number in numbers.items():
                positions = {part: begins[part] for part in partitions if part.topic == topic}
                await self._load(consumer, number, positions, ends)
                self._positions.update(positions)
            self.loaded.set()
            while True:
                for part, runs in (await consumer.get_runs(POLL_S)).items():
                    for run in runs:
                        await self._on_run(numbers[part.topic], part.partition, run.run)
                        await self._move(part, run.run.last_offset + 1)
        finally:
            await consumer.stop()

    async def catch_up(self) -> None:
        """Returns when all is applied that the broker had when this was called; ``loaded`` must be
        set. Waits, with a message, while no broker answers.

        A partition's new owner calls it once the old one can write no more: what the old one had
        seen of customs' side when it answered, the new one has then seen as well.
        """
        assert self._consumer is not None, "loaded comes first"
        _, ends = await begins_and_ends(self._consumer, list(self._positions))
        async with self._moved:
            await self._moved.wait_for(
                lambda: all(self._positions[part] >= end for part, end in ends.items())
            )

    async def _move(self, part: TopicPartition, position: int) -> None:
        async with self._moved:
            self._positions[part] = position
            self._moved.notify_all()

    async def _load(
        self,
        consumer: RunConsumer,
        number: int,
        positions: dict[TopicPartition, int],
        ends: Mapping[TopicPartition, int],
    ) -> None:
        """Reads one topic to its end; its partitions go on being fetched."""
        name = topics.CUSTOMS[number]
        consumer.resume(*positions)
        record_count = 0
        async for fetched in runs_until(
            consumer, positions, ends, lambda share: self._on_progress(name, share)
        ):
            await self._on_run(number, fetched.partition, fetched.run)
            record_count += fetched.run.count
        log.info("%d records loaded", record_count, extra=at(topic=self._settings.topic(name)))
