"""Rejects of customs' records: published once, though every worker reads those records.

What it is: holds the rejects that the engine gives for operators, declarations and holds, and
publishes those that nobody has published yet, while this worker is the one to speak for them.
Who calls it: ``stream.gate``; the speaker is whoever owns partition 0 of port-events.
What it must never know: why a record was refused.

How far has been spoken is kept with the broker, as committed offsets of a group of its own: one per
partition of the three topics, behind the last record whose reject is published.
"""

from __future__ import annotations

import collections
import json
import logging
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from core_ext.record_batch import OutputRun, encode_output
from stream import topics
from stream.connection import client_options
from stream.emission import Emission
from stream.settings import Settings

log = logging.getLogger(__name__)

# Bytes of rejects that may wait for a speaker. Customs' own system writes these records, so there
# are few; beyond this the oldest are dropped, with a message.
HELD_BYTES_MAX = 64 << 20


class HeldReject(NamedTuple):
    """A reject and where the refused record is."""

    source: TopicPartition
    offset: int
    key: bytes | None
    value: bytes
    timestamp_ms: int


class CustomsRejects:
    """One worker's share in publishing the rejects of customs' records."""

    def __init__(
        self, settings: Settings, emission: Emission, partition_counts: dict[str, int]
    ) -> None:
        self._settings = settings
        self._emission = emission
        self._partition_count = partition_counts[topics.REJECTS]
        self._sources = [
            TopicPartition(settings.topic(name), number)
            for name in topics.CUSTOMS
            for number in range(partition_counts[name])
        ]
        self._held: collections.deque[HeldReject] = collections.deque()
        self._held_bytes = 0
        self._speaker: AIOKafkaConsumer | None = None
        self._spoken: dict[TopicPartition, int] = {}

    def hold(self, rejects: OutputRun) -> None:
        """Takes rejects as the engine gives them, in the order of the records."""
        for key, value, _, timestamp_ms in rejects:
            assert value is not None, "a reject has a value"
            source = json.loads(value)["source"]
            reject = HeldReject(
                TopicPartition(source["topic"], source["partition"]),
                source["offset"],
                key,
                value,
                timestamp_ms,
            )
            self._held.append(reject)
            self._held_bytes += len(value)
        while self._held_bytes > HELD_BYTES_MAX:
            dropped = self._held.popleft()
            self._held_bytes -= len(dropped.value)
            log.error("too many rejects of customs' records: dropped that of %s", dropped[:2])

    @property
    def held_bytes(self) -> int:
        """Bytes of the rejects that wait for a speaker."""
        return self._held_bytes

    async def start_speaking(self) -> None:
        """Publishes from now on, beginning with what is held and was not published by others.

        Raises aiokafka's KafkaError if the broker refuses.
        """
        await self.stop_speaking()
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            client_id="gatejoin-customs-rejects",
            group_id=f"{self._settings.group_id}-customs-rejects",
            enable_auto_commit=False,
        )
        await consumer.start()
        consumer.assign(self._sources)
        self._spoken = {source: await consumer.committed(source) or 0 for source in self._sources}
        self._speaker = consumer
        await self.speak()

    async def stop_speaking(self) -> None:
        """Leaves publishing to another worker; goes on holding."""
        speaker, self._speaker = self._speaker, None
        if speaker is not None:
            await speaker.stop()

    async def speak(self) -> None:
        """If this worker speaks: publishes what is held, waits until it is with the broker, and
        notes how far that was. Raises aiokafka's KafkaError if that fails for good."""
        speaker = self._speaker
        if speaker is None or not self._held:
            return
        held, self._held, self._held_bytes = self._held, collections.deque(), 0
        run = OutputRun()
        for reject in held:
            if reject.offset >= self._spoken[reject.source]:
                run.append(reject.key, reject.value, -1, reject.timestamp_ms)
                self._spoken[reject.source] = reject.offset + 1
        if not len(run):
            return
        run.partition_by_key(self._partition_count)
        for number in run.partitions():
            batches = encode_output(run, number, compression=self._settings.compression)
            topic = self._settings.topic(topics.REJECTS)
            for acknowledgement in self._emission.submit(topic, number, batches):
                await acknowledgement
        spoken = {source: self._spoken[source] for source in {reject.source for reject in held}}
        await speaker.commit(spoken)
