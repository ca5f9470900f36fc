"""Faust's consumer and its thread, for messages that are runs.

What it is: the two classes of Faust's aiokafka driver that know what a message is, subclassed.
Who calls it: Faust, through ``stream.transport.Transport``.
What it must never know: what a record means, the engine, metrics.

A message stands for a run and bears the run's last offset. Faust would take the jump from one such
offset to the next for a gap and book it in an interval tree, record by record; here the runs of a
partition are remembered in the order of delivery, and what may be committed is the end of the last
one before the first that is not acknowledged.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time
import types
from collections.abc import Coroutine, Generator, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaConnectionError
from faust.exceptions import ImproperlyConfigured
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.services import WaitResults

from stream.transport.fetcher import FETCH_BYTES_MAX, PartitionRun, RunConsumer
from stream.transport.membership import Membership

T = TypeVar("T")

log = logging.getLogger(__name__)

# How long a broker may hold a fetch that finds nothing. It answers at once when something comes to
# a partition that was asked for; one that was not, since it had not been taken yet, waits as long.
# Below 20 ms idle workers load the broker.
FETCH_WAIT_MS_MAX = 100

# Between two attempts to reach a first broker.
RETRY_S = 1.0


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that fetches and decodes, beside the one that matches."""

    def _create_worker_consumer(self, transport: driver.Transport) -> RunConsumer:
        settings = self.app.conf
        if settings.broker_session_timeout > settings.broker_request_timeout:
            raise ImproperlyConfigured(
                f"broker_session_timeout {settings.broker_session_timeout} s is above "
                f"broker_request_timeout {settings.broker_request_timeout} s"
            )
        self._assignor = RoundRobinPartitionAssignor
        return RunConsumer(
            client_id=settings.broker_client_id,
            group_id=settings.id,
            group_instance_id=settings.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset=settings.consumer_auto_offset_reset,
            max_poll_interval_ms=int((settings.broker_max_poll_interval or 0) * 1000.0),
            max_partition_fetch_bytes=settings.consumer_max_fetch_size,
            fetch_max_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=FETCH_WAIT_MS_MAX,
            request_timeout_ms=int(settings.broker_request_timeout * 1000.0),
            check_crcs=settings.broker_check_crcs,
            session_timeout_ms=int(settings.broker_session_timeout * 1000.0),
            rebalance_timeout_ms=int(settings.broker_rebalance_timeout * 1000.0),
            heartbeat_interval_ms=int(settings.broker_heartbeat_interval * 1000.0),
            # Producers may use transactions: what they rolled back never happened.
            isolation_level="read_committed",
            metadata_max_age_ms=settings.consumer_metadata_max_age_ms,
            connections_max_idle_ms=settings.consumer_connections_max_idle_ms,
            **driver.credentials_to_aiokafka_auth(
                settings.broker_credentials, settings.ssl_context
            ),
        )

    async def on_start(self) -> None:
        """Starts the consumer. A broker that can't be reached is waited for, with a message:
        Faust's would end the worker, though every other wait for a broker goes on."""
        self._consumer = self._create_consumer(loop=self.thread_loop)
        self.time_started = time.monotonic()
        while not self.should_stop:
            try:
                await self._consumer.start()
            except KafkaConnectionError as error:
                log.warning("no broker yet to read events from (%s); waiting", error)
                await self.sleep(RETRY_S)
            else:
                break

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> RecordMap:
        """Fetches from the main thread, as Faust's does; there the call would go through a queue
        whose worker makes three tasks to wait for it."""
        fetching = self._fetch_records(self._ensure_consumer(), active_partitions, timeout)
        try:
            fetched = asyncio.run_coroutine_threadsafe(fetching, self.thread_loop)
        except RuntimeError:  # the loop is closed: the thread has ended before this one
            fetching.close()
            raise ConsumerStoppedError() from None
        return await asyncio.wrap_future(fetched)

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP] | None,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> RecordMap:
        if not self.consumer.flow_active:
            return {}
        return cast(
            RecordMap,
            await cast(RunConsumer, consumer).get_runs(timeout or 0.0, active_partitions),
        )


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """What is left of a coroutine that was begun and waits for something."""
    while True:
        try:
            value = yield waits_for
        except BaseException as error:
            step = partial(coroutine.throw, error)
        else:
            step = partial(coroutine.send, value)
        try:
            waits_for = step()
        except StopIteration as end:
            return cast(T, end.value)


async def _went_on(coroutine: Coroutine[Any, Any, T], waits_for: Any) -> T:
    return await _rest(coroutine, waits_for)


class Consumer(driver.Consumer):
    """Faust's consumer, counting runs."""

    #: Per partition the last offsets of the runs handed to the streams, in order, from the first
    #: one that is not committed yet.
    _delivered: collections.defaultdict[TP, collections.deque[int]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._delivered = collections.defaultdict(collections.deque)
        #: Per partition the offset that may be committed, whether it has been or not.
        self._committable: dict[TP, int] = {}
        super().__init__(*args, **kwargs)

    @property
    def membership(self) -> Membership | None:
        """This worker's place in the group; None before the consumer is started."""
        consumer = cast(ConsumerThread, self._thread)._consumer
        return None if consumer is None else cast("Membership | None", consumer._coordinator)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: PartitionRun) -> ConsumerMessage:
        last_offset = record.run.last_offset
        delivered = self._delivered[tp]
        while delivered and delivered[-1] >= record.run.base_offset:
            delivered.pop()  # somebody sought back: what came from there comes again
        delivered.append(last_offset)
        return ConsumerMessage(
            record.topic,
            record.partition,
            last_offset,
            time.time(),  # of the run: its records have their own, each
            0,
            None,
            None,
            cast(Any, record),  # Faust expects bytes here, but only hands them on
            None,
            -1,
            record.run.batch_bytes,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: a full buffer makes the fetcher wait for all partitions alike, which bounds
        memory just as well; leaving one out would make it ask for the others alone."""

    async def verify_all_partitions_active(self) -> None:
        """Nothing: whether the worker stands still is its watchdog's to say. Faust's look here
        asserts that each partition has a position, which one that was assigned a moment ago has
        not while the broker was not heard yet: it would end the worker."""

    async def wait_first(self, *coros: Any, timeout: Any = None) -> WaitResults:
        """As Faust's, but what is done at its first step is not waited for: handing a message to
        its stream would take four tasks, most of what a message costs."""
        first, *others = coros
        if not asyncio.iscoroutine(first):
            return await super().wait_first(*coros, timeout=timeout)
        try:
            waits_for = first.send(None)
        except StopIteration as end:
            for other in others:
                if asyncio.iscoroutine(other):
                    other.close()
            return WaitResults([first], [end.value], stopped=False)
        return await super().wait_first(_went_on(first, waits_for), *others, timeout=timeout)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: whatever lies between two runs is answered for by the later one."""

    def _new_offset(self, tp: TP) -> int | None:
        delivered = self._delivered[tp]
        acked_index = self._acked_index[tp]
        last_offset = None
        while delivered and delivered[0] in acked_index:
            last_offset = delivered.popleft()
        if last_offset is not None:
            # What is left of acknowledgements up to here belongs to runs that were read twice.
            self._acked[tp] = [offset for offset in self._acked[tp] if offset > last_offset]
            acked_index.intersection_update(self._acked[tp])
            self._committable[tp] = last_offset + 1
        # Also if it is no news: the commit before may have failed. Faust knows what was committed.
        return self._committable.get(tp)

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        """As Faust's, which takes offsets for committed that were not: a commit that was under way
        while the group rebalanced fails after the partitions were read again, and what is
        acknowledged of them then would never be committed, until something new came."""
        before = {tp: self._committed_offset[tp] for tp in offsets}
        is_committed = bool(await super()._commit_offsets(offsets, start_new_transaction))
        if not is_committed:
            for tp, offset in offsets.items():
                if self._committed_offset[tp] == offset:
                    self._committed_offset[tp] = before[tp]
        return is_committed

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forgets what was delivered of partitions that go, then does what Faust does."""
        for tp in revoked:
            self._delivered.pop(tp, None)
            self._committable.pop(tp, None)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begins anew, since every partition is read again from its committed offset."""
        self._delivered.clear()
        self._committable.clear()
        await super().on_partitions_assigned(assigned, generation_id)
