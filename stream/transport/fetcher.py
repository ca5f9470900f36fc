"""Fetch responses to runs of records: aiokafka's fetcher with its per-record half replaced.

What it is: a subclass of aiokafka's Fetcher that decodes what one fetch brought of a partition in
one call of the core, and a subclass of its consumer that uses it.
Who calls it: ``stream.transport.consumer`` (inside Faust), ``stream.customs_feed`` and
``stream.recovery`` (without a consumer group).
What it must never know: Faust, agents, what a record means.

aiokafka's ``Fetcher._proc_fetch_request`` does everything about a response that is worth keeping
(errors per partition, positions, high-water marks, aborted transactions) and then builds two
objects, ``MemoryRecords`` over the bytes and ``PartitionRecords`` over that. Both are looked up in
the method's globals, so the method is taken as it is, with only these two names bound to ours.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

import aiokafka
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from core_ext.record_batch import DECOMPRESSED_BYTES_MAX, FetchDecoder, RecordBatchError, RecordRun
from stream.fatal import FatalError
from stream.logs import at
from stream.transport.frames import FrameClient, rebound
from stream.transport.membership import Membership

log = logging.getLogger(__name__)

# Bytes of a whole fetch response, and of one partition in it. Below 1 MiB the cost of a response
# is no longer spread over enough records; above 4 MiB the bytes fall out of the processor's cache
# between the socket and the decoder (16 MiB was measured slower than 4).
FETCH_BYTES_MAX = 4 << 20
# A broken batch may be whole when it is fetched again (damage on the way), so it is, every second;
# shorter floods the log, longer delays a partition after a passing fault.
BROKEN_RETRY_S = 1.0

# Between two fetches from a broker. It answers as soon as one record is there, so under a steady
# load of small batches each would travel alone, and what it costs to fetch and answer one, about
# two milliseconds of a processor, would be paid hundreds of times a second: all of them late
# instead of each by at most this. A record that comes after a pause does not wait.
ASK_S_MIN = 0.005

# Between two requests to end; it ends within a turn of the event loop unless it missed the first.
CANCEL_S = 0.1

# How long a broker may take to say where a log begins or ends.
OFFSETS_MS_MAX = 10_000

BATCH_LENGTH_FIELD_END = 12
BATCH_MAGIC_END = 17


class PartitionRun:
    """What one fetch brought of one partition: the message that Faust carries.

    ``run`` is the RecordRun, ``high_water`` the offset after the partition's last stable record
    when it was fetched, ``fetched_at`` the monotonic time in seconds when the response was there,
    ``decode_seconds`` what decoding took.
    """

    __slots__ = ("decode_seconds", "fetched_at", "high_water", "partition", "run", "topic")

    def __init__(
        self,
        topic: str,
        partition: int,
        run: RecordRun,
        high_water: int,
        fetched_at: float,
        decode_seconds: float,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.run = run
        self.high_water = high_water
        self.fetched_at = fetched_at
        self.decode_seconds = decode_seconds

    def __repr__(self) -> str:
        return f"<PartitionRun {self.topic}-{self.partition} {self.run!r}>"


class FetchedBytes:
    """Stands where aiokafka has MemoryRecords: the bytes, and whether a whole batch is there."""

    def __init__(self, data: bytes | memoryview | None) -> None:
        self.data = data or b""

    def has_next(self) -> bool:
        """Whether a whole batch is there."""
        if len(self.data) < BATCH_MAGIC_END:
            return False
        # A negative length is the decoder's to complain about.
        length = int.from_bytes(self.data[8:12], "big", signed=True)
        return length + BATCH_LENGTH_FIELD_END <= len(self.data)

    def size_in_bytes(self) -> int:
        """Bytes in the response, of a partial batch too."""
        return len(self.data)


class PartitionRuns:
    """Stands where aiokafka has PartitionRecords: iterating decodes and yields RecordRuns.

    A broken batch ends the iteration and is left in ``failure``: raising it would take with it
    what other partitions had ready.
    """

    def __init__(
        self,
        topic_partition: TopicPartition,
        records: FetchedBytes,
        aborted_transactions: Iterable[tuple[int, int]] | None,
        fetch_offset: int,
        key_deserializer: object,
        value_deserializer: object,
        check_crcs: bool,
        isolation_level: int,
    ) -> None:
        committed_only = isolation_level == aiokafka_fetcher.READ_COMMITTED
        self.next_fetch_offset = fetch_offset
        self.fetched_at = time.monotonic()
        self.failure: RecordBatchError | None = None
        self._decoder = FetchDecoder(
            records.data,
            fetch_offset,
            list(aborted_transactions or ()) if committed_only else None,
            check_crc=check_crcs,
            decompressed_bytes_max=DECOMPRESSED_BYTES_MAX,
        )

    def __iter__(self) -> PartitionRuns:
        return self

    def __next__(self) -> RecordRun:
        try:
            run = next(self._decoder)
        except RecordBatchError as error:
            self.failure = error
            raise StopIteration from None
        self.next_fetch_offset = run.last_offset + 1
        return run


class BrokenPartition:
    """Holds a partition's place among the fetched results until it may be tried again."""

    def __init__(self) -> None:
        self.retry_at = time.monotonic() + BROKEN_RETRY_S

    def calculate_backoff(self) -> float:
        """How long the broker's other partitions have to wait: not at all."""
        return 0.0


class LogLostError(FatalError):
    """A log has lost records that were read."""


class _Anything:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class _NoResetStrategy:
    """Stands where aiokafka asks whether to reset a position that is out of range without a word:
    whatever the strategy for a partition without a position is, it is told as an error."""

    NONE = _Anything()


def _is_out_of_range(result: Any) -> bool:
    return type(result) is aiokafka_fetcher.FetchError and isinstance(
        result._error, OffsetOutOfRangeError
    )


class RunFetcher(aiokafka_fetcher.Fetcher):  # type: ignore[misc]
    """aiokafka's fetcher, answering with runs instead of records."""

    _proc_fetch_request = rebound(
        aiokafka_fetcher.Fetcher._proc_fetch_request,
        MemoryRecords=FetchedBytes,
        PartitionRecords=PartitionRuns,
        OffsetResetStrategy=_NoResetStrategy,
    )

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Takes what aiokafka's fetcher takes."""
        #: When each broker was asked last, by the monotonic clock.
        self._asked_at: dict[int, float] = {}
        super().__init__(*arguments, **options)

    def _get_actions_per_node(self, assignment: Any) -> Any:
        """What to ask of which broker now, as aiokafka's; no broker is asked too often."""
        requests, resets, wait_s, is_stale, resumed = super()._get_actions_per_node(assignment)
        now, due = time.monotonic(), []
        for node, request in requests:
            left_s = self._asked_at.get(node, float("-inf")) + ASK_S_MIN - now
            if left_s > 0:
                wait_s = min(wait_s, left_s)
            else:
                self._asked_at[node] = now
                due.append((node, request))
        return due, resets, wait_s, is_stale, resumed

    async def close(self) -> None:
        """Stops fetching; aiokafka's routine swallows a cancellation that meets a new assignment,
        so it is cancelled until it has ended. Requests that wait to be tried again would end
        aiokafka's own close with their cancellation, so they are ended here."""
        self._closed = True
        while not self._fetch_task.done():
            self._fetch_task.cancel()
            await asyncio.wait([self._fetch_task], timeout=CANCEL_S)
        for request in self._pending_tasks:
            request.cancel()
        if self._pending_tasks:
            await asyncio.wait(self._pending_tasks)
            self._pending_tasks.clear()
        await super().close()

    async def fetched_runs(
        self, partitions: Iterable[TopicPartition] | None, timeout: float
    ) -> dict[TopicPartition, list[PartitionRun]]:
        """The runs that are there, of ``partitions`` or of all; waits for some at most ``timeout``
        seconds. Taking them lets the next fetch start.

        Raises aiokafka's KafkaError for what a partition's fetch failed of for good, and
        LogLostError if a log ends before what was read of it.
        """
        deadline = time.monotonic() + timeout
        while True:
            if self._subscriptions.reassignment_in_progress:
                await self._subscriptions.wait_for_assignment()
            runs = self._take_runs(partitions)
            if not runs:
                await self._meet_out_of_range()
            left = deadline - time.monotonic()
            if runs or left <= 0:
                return runs
            waiter = self._create_fetch_waiter()
            await asyncio.wait([waiter], timeout=left)
            if not waiter.done():
                waiter.cancel()
                return self._take_runs(partitions)
            if self._closed:
                return {}
            waiter.result()  # raises when the group coordinator refuses us

    def _take_runs(
        self, partitions: Iterable[TopicPartition] | None
    ) -> dict[TopicPartition, list[PartitionRun]]:
        taken: dict[TopicPartition, list[PartitionRun]] = {}
        for topic_partition, result in list(self._records.items()):
            if partitions and topic_partition not in partitions:
                if not self._subscriptions.is_assigned(topic_partition):
                    del self._records[topic_partition]
                continue
            if type(result) is aiokafka_fetcher.FetchResult:
                runs = self._decode(topic_partition, result)
                if runs:
                    taken[topic_partition] = runs
            elif type(result) is BrokenPartition:
                if result.retry_at <= time.monotonic():
                    self._drop_result(topic_partition)
            elif _is_out_of_range(result):
                pass  # _meet_out_of_range has to ask the broker
            elif not taken:  # else the error waits for the next call
                self._drop_result(topic_partition)
                result.check_raise()
        return taken

    async def _meet_out_of_range(self) -> None:
        """Looks at positions that a broker does not have."""
        for topic_partition in [
            tp for tp, result in self._records.items() if _is_out_of_range(result)
        ]:
            position = self._position(topic_partition)
            if position is not None:
                try:
                    begins = await self.beginning_offsets([topic_partition], OFFSETS_MS_MAX)
                    ends = await self.end_offsets([topic_partition], OFFSETS_MS_MAX)
                except KafkaError as error:
                    log.warning(
                        "%s-%d: where it begins and ends is not known (%r)", *topic_partition, error
                    )
                    return
                # It may have been sought elsewhere, or have gone, meanwhile.
                if position == self._position(topic_partition):
                    self._go_on(topic_partition, position, *begins.values(), *ends.values())
            self._drop_result(topic_partition)

    def _position(self, topic_partition: TopicPartition) -> int | None:
        """Where a partition is read, None if it is not ours or that is not known."""
        if not self._subscriptions.is_assigned(topic_partition):
            return None
        state = self._subscriptions.subscription.assignment.state_value(topic_partition)
        return cast(int, state.position) if state.has_valid_position else None

    def _go_on(self, topic_partition: TopicPartition, position: int, begin: int, end: int) -> None:
        """Where records before the log's beginning were deleted it goes on there, and whoever
        applies the records finds the gap, if there is one; a log that ends before them is another
        than the one that was read."""
        name = f"{topic_partition.topic}-{topic_partition.partition}"
        if position > end:
            raise LogLostError(
                f"{name} ends at offset {end}, but was read up to {position}: the topic was made "
                "anew or has lost records; bring it back from a copy, or begin anew with another "
                "GATEJOIN_TOPIC_PREFIX"
            )
        if position < begin:
            log.warning(
                "%s: records from offset %d on were deleted before they were read; reading goes on "
                "at %d",
                name,
                position,
                begin,
                extra=at(
                    topic=topic_partition.topic, partition=topic_partition.partition, offset=begin
                ),
            )
            self._subscriptions.seek(topic_partition, begin)

    def _drop_result(self, topic_partition: TopicPartition) -> None:
        self._records.pop(topic_partition, None)  # gone, if it was assigned anew meanwhile
        self._notify(self._wait_consume_future)  # wakes the routine that sends fetches

    def _decode(self, topic_partition: TopicPartition, result: Any) -> list[PartitionRun]:
        source: PartitionRuns = result._partition_records
        started = time.monotonic()
        runs = result.getall()  # nothing, if the position has moved since
        seconds = time.monotonic() - started
        self._drop_result(topic_partition)
        if source.failure is not None:
            self._records[topic_partition] = BrokenPartition()
            log.error(
                "%s-%d stands still: %s. Retrying every %g s; if the broker's own copy is damaged, "
                "move the consumer group's offset behind it.",
                *topic_partition,
                source.failure,
                BROKEN_RETRY_S,
                extra=at(
                    topic=topic_partition.topic,
                    partition=topic_partition.partition,
                    offset=source.next_fetch_offset,
                ),
            )
        if not runs:
            return []
        high_water = self._high_water(topic_partition, runs[-1].last_offset + 1)
        return [
            PartitionRun(
                topic_partition.topic,
                topic_partition.partition,
                run,
                high_water,
                source.fetched_at,
                seconds / len(runs),
            )
            for run in runs
        ]

    def _high_water(self, topic_partition: TopicPartition, at_least: int) -> int:
        state = self._subscriptions.subscription.assignment.state_value(topic_partition)
        known = state.lso if self._isolation_level == aiokafka_fetcher.READ_COMMITTED else None
        return max(at_least, known if known is not None else state.highwater or 0)


init_with_frames = rebound(aiokafka.AIOKafkaConsumer.__init__, AIOKafkaClient=FrameClient)


class RunConsumer(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]
    """aiokafka's consumer, read by runs; everything but ``get_runs`` is aiokafka's.

    ``getone``, ``getmany`` and iterating, which give records, are not to be used.
    """

    def __init__(self, *topics: str, **options: Any) -> None:
        """Takes what aiokafka's consumer takes."""
        init_with_frames(self, *topics, **options)

    start = rebound(
        aiokafka.AIOKafkaConsumer.start, Fetcher=RunFetcher, GroupCoordinator=Membership
    )

    async def get_runs(
        self, timeout: float, partitions: Iterable[TopicPartition] | None = None
    ) -> Mapping[TopicPartition, list[PartitionRun]]:
        """The runs that are there; waits for some at most ``timeout`` seconds.

        Raises aiokafka's ConsumerStoppedError after ``stop``, its KafkaError if reading a
        partition failed for good.
        """
        fetcher = self._fetcher
        if self._closed or fetcher is None or fetcher._closed:
            raise aiokafka.errors.ConsumerStoppedError()
        if fetcher.error_future.done():
            raise KafkaError("the background fetch has died; see the log above")
        with fetcher._subscriptions.fetch_context():
            return await cast(RunFetcher, fetcher).fetched_runs(partitions, timeout)

    async def seek_to_committed(self, *partitions: TopicPartition) -> dict[TopicPartition, Any]:
        """As aiokafka's, which leaves a partition without a committed offset where it is: it goes
        back to its beginning. Faust throws away what a fetch brought while a rebalance was under
        way and relies on this call to bring it again; it would be lost.
        """
        committed = await super().seek_to_committed(*partitions)
        uncommitted = [partition for partition, offset in committed.items() if not offset]
        if uncommitted:
            await self.seek_to_beginning(*uncommitted)
        return cast(dict[TopicPartition, Any], committed)
