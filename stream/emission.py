"""What leaves the worker: built record batches, sent in order, kept until the broker has them.

What it is: a sender of whole record batches over aiokafka's client, idempotent and with acks=all,
which writes as several producers at once: one ``Writer`` (producer id, epoch, sequence numbers) for
each partition that the worker owns (``stream.fence`` says why), and one of its own for the rest.
Who calls it: ``stream.gate`` (decisions, alerts, states, ...), the demo and tests (what goes in).
What it must never know: what a record means, offsets of what was read.

A *lane* is what one writer sends to one partition of a topic. Batches of a lane leave in the order
of the calls, one at a time, and are sent again, with the same sequence number, until the broker
has acknowledged them: so nothing is lost, doubled or overtaken, however often a connection breaks
or a leader moves. Everything that is ready for one broker travels in one request, since a broker
answers the requests of a connection one by one; a request is sent as soon as something is ready, no
timer is involved. *Bulk* lanes (states, aggregates) have connections of their own, so that no
answer at a gate waits behind them.

What waiting cures (no leader, too few replicas, no connection, no answer) is tried again without
end, with a message. A writer that was fenced, since another worker has taken its place, fails alone
(FencedError). Whatever else a broker refuses is for good and fails the whole emission.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import errors
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.structs import TopicPartition

from core_ext.record_batch import with_producer

log = logging.getLogger(__name__)

# One request. A broker that is away longer is reported each time this runs out; shorter floods the
# log, and makes a loaded broker do the work of a request twice.
ATTEMPT_S_MAX = 10.0
# How long the broker may wait for its replicas; less than the above, so that it is the broker that
# says what is amiss.
REPLICAS_MS_MAX = 8_000
# Most bytes of one produce request; the broker's limit is on each batch, which is smaller.
REQUEST_BYTES_MAX = 8 << 20
# Of bulk: a broker that stores one is not free for others of the same connection, and its disk is
# shared with answers.
BULK_REQUEST_BYTES_MAX = 2 << 20
# Under way on one connection: one at work, one that lies ready for the broker. What comes meanwhile
# is sent together.
REQUESTS_MAX = 2
# Between two attempts after an error that is said to pass, at first and at most.
RETRY_S = 0.05
RETRY_S_MAX = 1.0
# Younger trouble is not worth a word: a new topic's leader takes a moment to be known everywhere.
TROUBLE_S = 1.0
# Between two looks at whether a worker that may not send may send again.
HOLD_S = 0.1

SEQUENCE_END = 1 << 31

DUPLICATE_SEQUENCE_NUMBER = 46
#: INVALID_PRODUCER_EPOCH, PRODUCER_FENCED.
FENCED_CODES = frozenset((47, 90))

Lane = tuple[str, int]  # topic, partition
Futures = Sequence["asyncio.Future[int]"]


class FencedError(KafkaError):  # type: ignore[misc]
    """Another worker writes in this one's place from now on."""


class Writer:
    """A producer id and epoch, as which batches are written.

    ``is_fenced`` is set when a broker says that another has a later epoch; then everything of it
    has failed and nothing more is taken.
    """

    def __init__(self, producer_id: int, epoch: int, name: str = "") -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.name = name
        self.is_fenced = False
        #: Called once, when it is fenced.
        self.on_fenced: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<Writer {self.name} {self.producer_id}/{self.epoch}>"


class Waiting:
    """A batch in its lane."""

    __slots__ = ("acknowledged", "batch", "earlier_count", "record_count", "size")

    def __init__(self, batch: bytes, record_count: int, acknowledged: asyncio.Future[int]) -> None:
        self.batch = batch
        self.size = len(batch)
        self.record_count = record_count
        self.acknowledged = acknowledged
        #: How many others have to be acknowledged first.
        self.earlier_count = 0


class _Lane:
    """What one writer sends to one partition."""

    __slots__ = (
        "is_bulk", "is_dropped", "is_under_way", "queue", "retry_s", "sequence", "target",
        "waiting_since", "writer",
    )  # fmt: skip

    def __init__(self, writer: Writer, target: TopicPartition, is_bulk: bool) -> None:
        self.writer = writer
        self.target = target
        self.is_bulk = is_bulk
        self.queue: collections.deque[Waiting] = collections.deque()
        #: Of the next batch to be queued.
        self.sequence = 0
        #: Its first batch is in a request, or waits to be tried again.
        self.is_under_way = False
        self.is_dropped = False
        self.retry_s = RETRY_S
        self.waiting_since = 0.0

    def __str__(self) -> str:
        return f"{self.target.topic}-{self.target.partition}"


class BuiltProduceRequest(ProduceRequest_v7):  # type: ignore[misc]
    """A produce request whose bytes are joined once; aiokafka's own copies them at each level."""

    def __init__(self, batches: Sequence[tuple[TopicPartition, bytes]]) -> None:
        super().__init__(None, -1, REPLICAS_MS_MAX, [])
        self._batches = batches

    def encode(self) -> bytes:
        """The request's bytes behind its header."""
        parts = [struct.pack(">hhii", -1, -1, REPLICAS_MS_MAX, 0)]
        topics: dict[str, list[tuple[int, bytes]]] = {}
        for target, batch in self._batches:
            topics.setdefault(target.topic, []).append((target.partition, batch))
        parts[0] = struct.pack(">hhii", -1, -1, REPLICAS_MS_MAX, len(topics))
        for topic, batches in topics.items():
            name = topic.encode()
            parts.append(struct.pack(f">h{len(name)}si", len(name), name, len(batches)))
            for partition, batch in batches:
                parts.append(struct.pack(">ii", partition, len(batch)))
                parts.append(batch)
        return b"".join(parts)


class BuiltProduce(Request[ProduceRequest_v7]):  # type: ignore[misc]
    """What aiokafka's connection asks for the above."""

    API_KEY = ProduceRequest_v7.API_KEY
    required_acks = -1

    def __init__(self, batches: Sequence[tuple[TopicPartition, bytes]]) -> None:
        self._built = BuiltProduceRequest(batches)

    def build(self, request_struct_class: type[ProduceRequest_v7]) -> ProduceRequest_v7:
        """The request; every broker since Kafka 2.1 takes this version."""
        return self._built


class Emission:
    """Sends record batches to named partitions, each partition's in the order of the calls.

    Args:
        connection: how the broker is reached, ``stream.connection.client_options``.
        client_id: how the broker's logs name this producer.
        unacknowledged_bytes_max: what may wait for acknowledgement before ``wait_room`` waits.
        may_send: asked before each request; while it says no, everything waits. For a worker that
            may have been replaced without knowing it yet.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        client_id: str = "gatejoin",
        unacknowledged_bytes_max: int = 32 << 20,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        self._connection = dict(connection)
        self._client_id = client_id
        self._may_send = may_send
        self._client: AIOKafkaClient | None = None
        self._own: Writer | None = None
        self._lanes: dict[tuple[Writer, str, int], _Lane] = {}
        #: Lanes with a batch that can be sent, in the order in which they became so.
        self._ready: dict[_Lane, None] = {}
        #: By broker and whether it is for bulk.
        self._under_way: collections.Counter[tuple[int, bool]] = collections.Counter()
        self._requests: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._is_dispatch_due = False
        #: When a broker answered last, by the monotonic clock.
        self.answered_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        self._topics: set[str] = set()
        self._told_at = -ATTEMPT_S_MAX
        self._failure: BaseException | None = None
        self._bytes_max = unacknowledged_bytes_max
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes of batches that were submitted and are not yet acknowledged."""
        return self._bytes

    @property
    def client(self) -> AIOKafkaClient:
        """The client behind it, once started."""
        assert self._client is not None, "start comes first"
        return self._client

    async def start(self) -> None:
        """Connects; raises aiokafka's KafkaError if no broker answers."""
        client = AIOKafkaClient(
            **self._connection,
            client_id=self._client_id,
            request_timeout_ms=int(ATTEMPT_S_MAX * 1000),
        )
        try:
            await client.bootstrap()
            while True:
                request = InitProducerIdRequest(None, 0)
                response = await client.send(client.get_random_node(), request)
                if not response.error_code:
                    break
                error = errors.for_code(response.error_code)
                if not error.retriable:
                    raise error()
                await asyncio.sleep(RETRY_S)
        except BaseException:
            await client.close()
            raise
        self._client = client
        self._own = Writer(response.producer_id, response.producer_epoch, "own")

    async def stop(self, wait_s_max: float = 5.0) -> None:
        """Waits at most ``wait_s_max`` seconds for what is under way, then disconnects.

        What was not acknowledged by then is made again from the offsets that were not committed.
        """
        if self._client is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s_max):
                await self._empty.wait()
        client, self._client = self._client, None
        for timer in self._timers:
            timer.cancel()
        tasks = [*self._requests, *filter(None, [self._refreshing])]
        for task in tasks:
            task.cancel()
        for lane in self._lanes.values():
            for waiting in lane.queue:
                waiting.acknowledged.cancel()
        await client.close()
        await asyncio.gather(*tasks, return_exceptions=True)

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
        *,
        writer: Writer | None = None,
        is_bulk: bool = False,
    ) -> list[asyncio.Future[int]]:
        """Queues built batches, ``(bytes, record count)``; returns a future for each, done when
        the broker has it, with the offset behind it (-1 where the broker does not say). None of
        them is sent before all of ``after`` are done.

        While no broker takes them they wait, with a message. The futures fail with FencedError if
        ``writer`` (if none is given, the emission's own) has been fenced, and with aiokafka's
        KafkaError for troubles that waiting does not cure; then everything after fails as well, for
        an answer that overtakes a lost one would be wrong.
        """
        if self._failure is not None:
            raise self._failure
        writer = writer or self._own
        assert writer is not None, "submit before start"
        if writer.is_fenced:
            raise FencedError(f"{writer.name} has been taken over by another worker")
        key = (writer, topic, partition)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(writer, TopicPartition(topic, partition), is_bulk)
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[int]] = []
        for batch, record_count in batches:
            waiting = Waiting(
                with_producer(batch, writer.producer_id, writer.epoch, lane.sequence),
                record_count,
                loop.create_future(),
            )
            lane.sequence = (lane.sequence + record_count) % SEQUENCE_END
            lane.queue.append(waiting)
            futures.append(waiting.acknowledged)
            self._bytes += waiting.size
            for earlier in after:
                if not (earlier.done() and not earlier.cancelled() and not earlier.exception()):
                    waiting.earlier_count += 1
                    earlier.add_done_callback(self._earlier_done(lane, waiting))
        if not futures:
            return futures
        if self._bytes >= self._bytes_max:
            self._room.clear()
        self._empty.clear()
        self._look_at(lane)
        return futures

    def drop(self, writer: Writer) -> None:
        """Forgets a writer and whatever waits of it; a request that is under way may still arrive.
        The futures are cancelled."""
        for key in [key for key in self._lanes if key[0] is writer]:
            lane = self._lanes.pop(key)
            self._clear(lane)

    # ---- lanes -----------------------------------------------------------------------------------

    def _earlier_done(self, lane: _Lane, waiting: Waiting) -> Callable[[asyncio.Future[int]], None]:
        def done(earlier: asyncio.Future[int]) -> None:
            if not earlier.cancelled() and earlier.exception() is None:
                waiting.earlier_count -= 1
                self._look_at(lane)

        return done

    def _look_at(self, lane: _Lane) -> None:
        """Notes whether a lane can send something."""
        if lane.queue and not lane.is_under_way and not lane.queue[0].earlier_count:
            self._ready[lane] = None
            if not self._is_dispatch_due:
                # At the end of this turn: what is submitted together travels together.
                self._is_dispatch_due = True
                asyncio.get_running_loop().call_soon(self._dispatch)

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def _dispatch(self) -> None:
        """Sends what is ready, as far as connections are free."""
        self._is_dispatch_due = False
        client = self._client
        if client is None or not self._ready or self._failure is not None:
            return
        if self._may_send is not None and not self._may_send():
            self._is_dispatch_due = True
            self._later(HOLD_S, self._dispatch)
            return
        requests: dict[tuple[int, bool], dict[TopicPartition, _Lane]] = {}
        sizes: collections.Counter[tuple[int, bool]] = collections.Counter()
        leaderless: set[str] = set()
        for lane in self._ready:
            leader = self._leader(client, lane)
            if leader is None:
                leaderless.add(lane.target.topic)
                continue
            channel = (leader, lane.is_bulk)
            if self._under_way[channel] >= REQUESTS_MAX:
                continue
            request = requests.setdefault(channel, {})
            # A request has one batch for a partition; other writers' wait for the next.
            size = lane.queue[0].size
            bytes_max = BULK_REQUEST_BYTES_MAX if lane.is_bulk else REQUEST_BYTES_MAX
            if lane.target in request or (request and sizes[channel] + size > bytes_max):
                continue
            request[lane.target] = lane
            sizes[channel] += size
        for channel, request in requests.items():
            self._under_way[channel] += 1
            for lane in request.values():
                lane.is_under_way = True
                del self._ready[lane]
                lane.waiting_since = lane.waiting_since or time.monotonic()
            task = asyncio.create_task(self._send(channel, list(request.values())))
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        if leaderless and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(leaderless))

    async def _refresh(self, names: set[str]) -> None:
        """Asks who leads the partitions of topics, then goes on."""
        client = self.client
        self._topics |= names
        try:
            client.set_topics(self._topics)
            if await client.force_metadata_update():
                self.answered_at = time.monotonic()
        finally:
            self._refreshing = None
        leaderless = [lane for lane in self._ready if self._leader(client, lane) is None]
        if leaderless:
            self._tell(f"{leaderless[0]} has no leader")
        self._is_dispatch_due = True
        self._later(RETRY_S if leaderless else 0.0, self._dispatch)

    @staticmethod
    def _leader(client: AIOKafkaClient, lane: _Lane) -> int | None:
        leader: int | None = client.cluster.leader_for_partition(lane.target)
        return None if leader == -1 else leader

    async def _send(self, channel: tuple[int, bool], lanes: list[_Lane]) -> None:
        batches = [(lane.target, lane.queue[0].batch) for lane in lanes]
        try:
            response = await self.client.send(
                channel[0], BuiltProduce(batches), group="bulk" if channel[1] else "answers"
            )
        except (KafkaError, OSError, TimeoutError) as error:
            self._tell(repr(error))
            for lane in lanes:
                self._try_again(lane)
        else:
            self._take_response(lanes, response)
        finally:
            self._under_way[channel] -= 1
        self._is_dispatch_due = True
        self._dispatch()

    def _take_response(self, lanes: list[_Lane], response: Any) -> None:
        self.answered_at = time.monotonic()
        answers = {
            TopicPartition(topic, answer[0]): (answer[1], answer[2])
            for topic, partitions in response.topics
            for answer in partitions
        }
        for lane in lanes:
            code, offset = answers.get(lane.target, (errors.RequestTimedOutError.errno, -1))
            if lane.is_dropped:
                continue
            if code in (0, DUPLICATE_SEQUENCE_NUMBER):
                self._acknowledge(lane, offset)
                continue
            if code in FENCED_CODES:
                self._fence(lane.writer)
                continue
            error = errors.for_code(code)
            if error.retriable:
                self._tell(f"{lane}: {error.__name__}")
                if error.invalid_metadata:
                    self.client.force_metadata_update()
                self._try_again(lane)
            else:
                self._fail(error(str(lane)))

    def _acknowledge(self, lane: _Lane, offset: int) -> None:
        waiting = lane.queue.popleft()
        self._release(waiting.size)
        lane.is_under_way = False
        lane.retry_s = RETRY_S
        lane.waiting_since = 0.0
        if not waiting.acknowledged.done():
            waiting.acknowledged.set_result(offset + waiting.record_count if offset >= 0 else -1)
        self._look_at(lane)

    def _try_again(self, lane: _Lane) -> None:
        """Makes a lane ready again after a while; it counts as under way until then."""

        def again() -> None:
            lane.is_under_way = False
            if not lane.is_dropped:
                self._look_at(lane)

        if not lane.is_dropped:
            self._later(lane.retry_s, again)
            lane.retry_s = min(2 * lane.retry_s, RETRY_S_MAX)

    def _release(self, size: int) -> None:
        self._bytes -= size
        if self._bytes < self._bytes_max:
            self._room.set()
        if not self._bytes:
            self._empty.set()

    def _clear(self, lane: _Lane, error: BaseException | None = None) -> None:
        lane.is_dropped = True
        self._ready.pop(lane, None)
        for waiting in lane.queue:
            self._release(waiting.size)
            if waiting.acknowledged.done():
                continue
            if error is None:
                waiting.acknowledged.cancel()
            else:
                waiting.acknowledged.set_exception(error)
                waiting.acknowledged.exception()  # told to whoever awaits it, and to nobody else
        lane.queue.clear()

    # ---- what goes wrong -------------------------------------------------------------------------

    def _tell(self, what: str) -> None:
        now = time.monotonic()
        if now - self._told_at < ATTEMPT_S_MAX:
            return
        since = [lane.waiting_since for lane in self._lanes.values() if lane.waiting_since]
        if now - min(since, default=now) < TROUBLE_S:
            return
        self._told_at = now
        log.warning(
            "the broker takes nothing (%s): %d bytes wait for its acknowledgement since %.0f s; "
            "waiting on",
            what,
            self._bytes,
            now - min(since, default=now),
        )

    def _fence(self, writer: Writer) -> None:
        if writer.is_fenced:
            return
        writer.is_fenced = True
        error = FencedError(f"{writer.name} has been taken over by another worker")
        for lane in [lane for key, lane in self._lanes.items() if key[0] is writer]:
            self._clear(lane, error)
        if writer.on_fenced is not None:
            writer.on_fenced()

    def _fail(self, error: BaseException) -> None:
        if self._failure is not None:
            return
        self._failure = error
        for lane in self._lanes.values():
            self._clear(lane, error)
        self._room.set()  # whoever waits is told
        self._empty.set()
