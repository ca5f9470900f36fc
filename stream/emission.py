"""What leaves the worker: built record batches, sent in order, kept until the broker has them.

What it is: a producer of whole record batches over aiokafka's, idempotent and with acks=all.
Who calls it: ``stream.gate`` (decisions, alerts, rejects).
What it must never know: what a record means, offsets of what was read.

aiokafka's ``send_batch`` takes a BatchBuilder, which builds a batch record by record; the sender
behind it asks of that object only what ``PreparedBatch`` has. With idempotence aiokafka retries a
batch for as long as the broker can't be reached and keeps one request under way per partition, so
nothing is lost, doubled or overtaken; all that is left to do here is to queue, to wait, to say so,
and to tell a passing trouble from one that is for good.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from core_ext.record_batch import with_producer

log = logging.getLogger(__name__)

# One attempt to hand a batch to the sender. A broker that is away longer is reported each time
# this runs out; shorter floods the log.
ATTEMPT_S_MAX = 10.0
# Most bytes of one produce request; the broker's limit is on each batch, which is smaller.
REQUEST_BYTES_MAX = 8 << 20
# Between two attempts after an error that is said to pass.
RETRY_S = 1.0

Lane = tuple[str, int]  # topic, partition
Futures = Sequence["asyncio.Future[None]"]


class PreparedBatch:
    """A built record batch where aiokafka expects a BatchBuilder."""

    __slots__ = ("_batch", "_record_count")

    def __init__(self, batch: bytes, record_count: int) -> None:
        self._batch = batch
        self._record_count = record_count

    def _set_producer_state(
        self, producer_id: int, producer_epoch: int, base_sequence: int
    ) -> None:
        self._batch = with_producer(self._batch, producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        return self._batch

    def close(self) -> None:
        """Nothing: it was never open."""

    def closed(self) -> bool:
        """True: nothing can be appended."""
        return True

    def size(self) -> int:
        """Bytes of the batch."""
        return len(self._batch)

    def record_count(self) -> int:
        """How many records the batch holds, and sequence numbers it takes."""
        return self._record_count


class Waiting(NamedTuple):
    """A batch in its lane."""

    batch: PreparedBatch
    acknowledged: asyncio.Future[None]
    after: Futures


class Emission:
    """Sends record batches to named partitions, each partition's in the order of the calls.

    Args:
        connection: how the broker is reached, ``stream.connection.client_options``.
        client_id: how the broker's logs name this producer.
        unacknowledged_bytes_max: what may wait for acknowledgement before ``wait_room`` waits.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        client_id: str = "gatejoin",
        unacknowledged_bytes_max: int = 32 << 20,
    ) -> None:
        self._connection = dict(connection)
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._lanes: dict[Lane, collections.deque[Waiting]] = {}
        self._pumps: dict[Lane, asyncio.Task[None]] = {}
        self._failure: BaseException | None = None
        self._bytes_max = unacknowledged_bytes_max
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes of batches that were submitted and are not yet acknowledged."""
        return self._bytes

    async def start(self) -> None:
        """Connects; raises aiokafka's KafkaError if no broker answers."""
        producer = AIOKafkaProducer(
            **self._connection,
            client_id=self._client_id,
            acks="all",
            enable_idempotence=True,
            max_request_size=REQUEST_BYTES_MAX,
            request_timeout_ms=int(ATTEMPT_S_MAX * 1000),
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self, wait_s_max: float = 5.0) -> None:
        """Waits at most ``wait_s_max`` seconds for what is under way, then disconnects.

        What was not acknowledged by then is made again from the offsets that were not committed.
        """
        producer = self._producer
        if producer is None:
            return
        deadline = time.monotonic() + wait_s_max
        while self._bytes and self._failure is None and time.monotonic() < deadline:
            await asyncio.wait(self._pumps.values(), timeout=max(0.0, deadline - time.monotonic()))
        for pump in self._pumps.values():
            pump.cancel()
        self._producer = None
        if self._bytes:
            # A clean stop would wait for the broker without end.
            await producer._sender.close()
            await producer.client.close()
            producer._closed = True
        else:
            await producer.stop()

    async def wait_room(self) -> None:
        """Waits while as much as is allowed waits for acknowledgement.

        Raises what the emission failed of, if it did.
        """
        await self._room.wait()
        if self._failure is not None:
            raise self._failure

    def submit(
        self,
        topic: str,
        partition: int,
        batches: Iterable[tuple[bytes, int]],
        after: Futures = (),
    ) -> list[asyncio.Future[None]]:
        """Queues built batches, ``(bytes, record count)``; returns a future for each, done when
        the broker has it. None of them is sent before all of ``after`` are done.

        While no broker takes them they wait, with a message. The futures fail with aiokafka's
        KafkaError for troubles that waiting does not cure; then everything after fails as well,
        for an answer that overtakes a lost one would be wrong.
        """
        if self._failure is not None:
            raise self._failure
        lane = (topic, partition)
        queue = self._lanes.setdefault(lane, collections.deque())
        futures: list[asyncio.Future[None]] = []
        for batch, record_count in batches:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue.append(Waiting(PreparedBatch(batch, record_count), future, after))
            futures.append(future)
            self._bytes += len(batch)
        if self._bytes >= self._bytes_max:
            self._room.clear()
        if queue and lane not in self._pumps:
            self._pumps[lane] = asyncio.ensure_future(self._pump(lane, queue))
        return futures

    async def _pump(self, lane: Lane, queue: collections.deque[Waiting]) -> None:
        """Sends what a lane holds, one batch after the other, until it is empty.

        aiokafka keeps one request under way per partition, so waiting for each acknowledgement
        before handing over the next costs nothing and keeps what may have to be said simple.
        """
        try:
            while queue and self._failure is None:
                batch, future, after = queue.popleft()
                try:
                    for earlier in after:
                        await earlier
                    acknowledgement = await self._hand_over(lane, batch)
                    await self._await_acknowledgement(lane, batch, acknowledgement)
                except asyncio.CancelledError:
                    future.cancel()
                    raise
                except Exception as error:
                    self._fail(error)
                    future.set_exception(error)
                    return
                self._bytes -= batch.size()
                if self._bytes < self._bytes_max:
                    self._room.set()
                if not future.done():
                    future.set_result(None)
        finally:
            # In the same step that saw the lane empty: whoever submits next must start anew.
            del self._pumps[lane]

    async def _hand_over(self, lane: Lane, batch: PreparedBatch) -> asyncio.Future[Any]:
        while True:
            producer = self._producer
            assert producer is not None, "submit after stop, or before start"
            try:
                future: asyncio.Future[Any] = await producer.send_batch(
                    batch, lane[0], partition=lane[1]
                )
            except KafkaError as error:
                if not (error.retriable or isinstance(error, KafkaTimeoutError)):
                    raise
                log.warning("%s-%d: the broker takes nothing (%r); waiting", *lane, error)
                await asyncio.sleep(RETRY_S)
            else:
                return future

    async def _await_acknowledgement(
        self, lane: Lane, batch: PreparedBatch, acknowledgement: asyncio.Future[Any]
    ) -> None:
        waiting_since = time.monotonic()
        while True:
            await asyncio.wait([acknowledgement], timeout=ATTEMPT_S_MAX)
            if acknowledgement.done():
                acknowledgement.result()  # raises what was for good
                return
            log.warning(
                "%s-%d: %d records wait for the broker's acknowledgement since %.0f s; waiting on",
                *lane,
                batch.record_count(),
                time.monotonic() - waiting_since,
            )

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._room.set()  # whoever waits is told
        for queue in self._lanes.values():
            for waiting in queue:
                if not waiting.acknowledged.done():
                    waiting.acknowledged.set_exception(error)
                    waiting.acknowledged.exception()  # everyone hears of it through the first
            queue.clear()
