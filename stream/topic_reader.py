"""Reads partitions from their beginning to where they end now, run by run.

What it is: the consumer and the loop of everything that reads a topic without a consumer group.
Who calls it: ``stream.customs_feed``, ``stream.recovery``, ``stream.live_topics`` and
``stream.silence``.
What it must never know: what a record means.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.structs import TopicPartition

from stream.connection import client_options
from stream.settings import Settings
from stream.transport import PartitionRun, RunConsumer
from stream.transport.fetcher import FETCH_BYTES_MAX

log = logging.getLogger(__name__)

# How long one look for new runs waits; only how often stopping and progress are thought of.
POLL_S = 1.0
# For readers that follow: a broker answers at once when something comes.
FOLLOW_WAIT_MS = 500
# Between two attempts while no broker answers; each is logged.
RETRY_S = 2.0
# How long a broker may take for an answer before it counts as gone: a machine that lost its power
# says nothing. aiokafka's own 40 s would be added to every take-over; below 5 s a loaded broker is
# asked twice.
REQUEST_MS_MAX = 10_000

#: Called with how far the reading is, 0 to 1.
OnProgress = Callable[[float], None]


async def start_consumer(
    settings: Settings, client_id: str, *, fetch_wait_ms: int = FOLLOW_WAIT_MS
) -> RunConsumer:
    """A started consumer without a group; waits, with a message, while no broker answers.

    ``fetch_wait_ms`` is how long a broker may hold a fetch that finds nothing; a reader that goes
    from one topic to another waits as long each time.
    """
    while True:
        consumer = RunConsumer(
            **client_options(settings),
            client_id=client_id,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=fetch_wait_ms,
            request_timeout_ms=REQUEST_MS_MAX,
        )
        try:
            await consumer.start()
            # aiokafka's consumer can't be stopped before its tasks have begun.
            await asyncio.sleep(0)
        except KafkaError as error:
            await consumer.stop()
            log.warning("no broker at %s yet (%s); waiting", settings.broker, error)
            await asyncio.sleep(RETRY_S)
        except BaseException:
            await consumer.stop()
            raise
        else:
            return consumer


async def begins_and_ends(
    consumer: RunConsumer, partitions: Sequence[TopicPartition], wait_s_max: float = float("inf")
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """First offsets of ``partitions``, and the offsets behind the last; waits, with a message,
    while no broker tells, up to ``wait_s_max``. Raises KafkaError for what waiting does not cure.
    """
    began_at = time.monotonic()
    while True:
        try:
            begins, ends = await asyncio.gather(
                consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
            )
            return dict(begins), dict(ends)
        except KafkaError as error:
            passes = isinstance(error, KafkaTimeoutError) or error.retriable
            if not passes or time.monotonic() - began_at > wait_s_max:
                raise
            log.warning("no word of where topics begin and end yet (%s); waiting", error)
            await asyncio.sleep(RETRY_S)


async def runs_to_end(
    consumer: RunConsumer,
    partitions: Sequence[TopicPartition],
    on_progress: OnProgress | None = None,
    *,
    begin: int | None = None,
    stalled_s_max: float = float("inf"),
) -> AsyncIterator[PartitionRun]:
    """Yields every run of ``partitions`` from the first up to where they ended when this began.

    A run may reach beyond that end. The partitions stay assigned; where the last run of each ended
    is where a reader who follows goes on.

    Args:
        consumer: started, without a group; what it was assigned is replaced.
        partitions: of topics that exist.
        on_progress: told how far the reading is.
        begin: the offset to begin with, if it is not the first.
        stalled_s_max: how long nothing may come before this gives up.

    Raises:
        KafkaTimeoutError: nothing came for so long.
        KafkaError: what a fetch failed of for good.
    """
    consumer.assign(partitions)
    positions, ends = await begins_and_ends(consumer, partitions, stalled_s_max)
    for partition, position in positions.items():
        positions[partition] = position if begin is None else max(position, begin)
        consumer.seek(partition, positions[partition])
    async for run in runs_until(consumer, positions, ends, on_progress, stalled_s_max):
        yield run


async def runs_until(
    consumer: RunConsumer,
    positions: dict[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    on_progress: OnProgress | None = None,
    stalled_s_max: float = float("inf"),
) -> AsyncIterator[PartitionRun]:
    """Yields the runs of assigned partitions from ``positions``, which are those of the consumer
    and move behind each run that was taken, until all are at ``ends``; else as ``runs_to_end``."""

    def records_left() -> int:
        return sum(max(0, ends[partition] - position) for partition, position in positions.items())

    total = records_left()
    moved_at = time.monotonic()
    while True:
        left = records_left()
        if on_progress is not None:
            on_progress(1 - left / total if total else 1.0)
        if not left:
            return
        fetched = await consumer.get_runs(POLL_S, positions)
        if fetched:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > stalled_s_max:
            raise KafkaTimeoutError(f"no record came for {stalled_s_max:.0f} s")
        for partition, runs in fetched.items():
            for run in runs:
                yield run
                positions[partition] = run.run.last_offset + 1
