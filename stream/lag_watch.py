"""Where the worker's partitions end, asked of the broker: what lag is measured against.

What it is: asks every few seconds for the end of each owned partition of port-events. What a fetch
tells is not enough: a worker that is held back, by a quota or by itself, fetches little and would
seem to have nothing to do.
Who calls it: ``stream.gate``, once per worker.
What it must never know: how far the worker has come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream import topics
from stream.settings import Settings
from stream.topic_reader import start_consumer

log = logging.getLogger(__name__)

# Below a second each worker asks more than anybody looks; above 15, Prometheus sees old ends.
INTERVAL_S = 5.0


async def watch_ends(
    settings: Settings,
    owned: Callable[[], Iterable[int]],
    on_end: Callable[[int, int], None],
    interval_s: float = INTERVAL_S,
) -> None:
    """Calls ``on_end`` with each owned partition and its end (committed records only), until
    cancelled. While no broker answers it says nothing."""
    topic = settings.topic(topics.PORT_EVENTS)
    consumer = await start_consumer(settings, "gatejoin-lag")
    try:
        while True:
            partitions = [TopicPartition(topic, number) for number in owned()]
            try:
                ends = await consumer.end_offsets(partitions) if partitions else {}
            except KafkaError as error:
                log.debug("no ends of partitions (%r)", error)
                ends = {}
            for partition, end in ends.items():
                on_end(partition.partition, end)
            await asyncio.sleep(interval_s)
    finally:
        await consumer.stop()
