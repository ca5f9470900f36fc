"""The Faust transport against a real Kafka.

Method: a Faust app of one agent in this process reads what was sent in batches of every size and
compression; offsets are asked of the broker, never of the app.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import faust
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.structs import TopicPartition
from mode import Service

from core_ext.record_batch import CODECS, OutputRun, encode_output
from stream.transport import PartitionRun, RunSchema, Transport
from stream.transport import consumer as consumer_module
from stream.transport import fetcher as fetcher_module
from stream.transport.consumer import Consumer
from stream.transport.fetcher import (
    FetchedBytes,
    LogLostError,
    PartitionRuns,
    RunConsumer,
    RunFetcher,
)
from tests.faults.proxy import Proxy
from tests.stream.kafka_tools import WAIT_S_MAX, delete_records, make_topic, send, until

Answer = Callable[[faust.Event], None]


def events(count: int, start: int = 0) -> list[tuple[bytes, bytes, int, int]]:
    return [
        (
            b"MSCU%07d" % i,
            b'{"eventID":"%d","pad":"%s"}' % (i, b"x" * 100),
            0,
            1_600_000_000_000 + i,
        )
        for i in range(start, start + count)
    ]


@asynccontextmanager
async def running(broker: str, group: str, topic: str, answer: Answer) -> AsyncIterator[faust.App]:
    """A started app whose agent calls `answer` with each event; stopped at the end."""
    directory = tempfile.TemporaryDirectory()
    app = faust.App(
        group,
        datadir=directory.name,
        broker=f"gatejoin://{broker}",
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_buffer_maxsize=4,
        broker_commit_interval=0.1,
        consumer_auto_offset_reset="earliest",
    )
    app.boot_strategy.enable_kafka_producer = False
    assert isinstance(app.transport, Transport)

    @app.agent(app.topic(topic, schema=RunSchema()))
    async def agent(stream: faust.Stream) -> None:
        async for event in stream.noack().events():
            answer(event)

    with directory:
        await app.start()
        try:
            yield app
        finally:
            await app.stop()


@asynccontextmanager
async def reading(
    broker: str, partition: TopicPartition, offset: int
) -> AsyncIterator[RunConsumer]:
    """A started consumer without a group that reads a partition from an offset on."""
    consumer = RunConsumer(bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([partition])
        consumer.seek(partition, offset)
        yield consumer
    finally:
        await consumer.stop()


async def committed(broker: str, group: str, topic: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        part = TopicPartition(topic, 0)
        return (await admin.list_consumer_group_offsets(group, partitions=[part]))[part].offset
    finally:
        await admin.close()


async def until_committed(broker: str, group: str, topic: str, offset: int) -> None:
    deadline = time.monotonic() + 30
    while (found := await committed(broker, group, topic)) != offset:
        assert time.monotonic() < deadline, f"committed {found}, not {offset}"


@pytest.mark.parametrize("compression", CODECS)
@pytest.mark.parametrize("per_batch", [1, 60, 5000])
def test_events_arrive_whole_and_once(
    kafka: str, topic_prefix: str, per_batch: int, compression: str
) -> None:
    topic = topic_prefix + "events"
    count = 600 if per_batch == 1 else 12_000

    async def scenario() -> None:
        await make_topic(kafka, topic)
        await send(kafka, topic, events(count), per_batch=per_batch, compression=compression)
        runs: list[PartitionRun] = []

        def answer(event: faust.Event) -> None:
            runs.append(event.value)
            event.ack()

        async with running(kafka, topic, topic, answer):
            await until(lambda: sum(fetched.run.count for fetched in runs) >= count)
            await until_committed(kafka, topic, topic, count)
        got = [record for fetched in runs for record in fetched.run]
        assert got == [(key, value, i, ms) for i, (key, value, _, ms) in enumerate(events(count))]
        batches = sum(fetched.run.batch_count for fetched in runs)
        assert batches == -(-count // per_batch) or per_batch == 5000
        assert len(runs) <= 4  # also where every event came in a batch of its own
        assert runs[-1].high_water == count

    asyncio.run(scenario())


def test_nothing_is_committed_before_it_is_acknowledged_and_a_restart_carries_on(
    kafka: str, topic_prefix: str
) -> None:
    topic = topic_prefix + "events"

    async def scenario() -> None:
        await make_topic(kafka, topic)
        held: list[faust.Event] = []
        async with running(kafka, topic, topic, held.append) as app:
            for i in range(3):
                await send(kafka, topic, events(100, i * 100))
                await until(lambda: len(held) == i + 1)  # noqa: B023
            held[1].ack()  # the first is not: nothing may be committed
            held[2].ack()
            await app.consumer.commit()
            assert await committed(kafka, topic, topic) <= 0
            held[0].ack()
            await until_committed(kafka, topic, topic, 300)
            await send(kafka, topic, events(100, 300))
            await until(lambda: len(held) == 4)
        # Stopped with the last run unacknowledged: it comes again, and only it.
        again: list[faust.Event] = []
        async with running(kafka, topic, topic, again.append):
            await until(lambda: bool(again))
            run = again[0].value.run
            assert (run.base_offset, run.last_offset, run.count) == (300, 399, 100)
            again[0].ack()
            await until_committed(kafka, topic, topic, 400)

    asyncio.run(scenario())


def test_what_could_not_be_committed_is_committed_later(kafka: str, topic_prefix: str) -> None:
    """Nothing more is acknowledged after the commit that fails."""
    topic = topic_prefix + "events"
    failed = 0

    async def scenario() -> None:
        await make_topic(kafka, topic)
        async with running(kafka, topic, topic, lambda event: event.ack()) as app:
            commit = app.consumer._commit

            async def fail_once(offsets: object) -> bool:
                nonlocal failed
                failed += 1
                return False if failed == 1 else await commit(offsets)

            app.consumer._commit = fail_once
            await send(kafka, topic, events(10))
            await until_committed(kafka, topic, topic, 10)

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S_MAX))
    assert failed > 1


def test_what_a_rebalance_threw_away_comes_again(kafka: str, topic_prefix: str) -> None:
    """Faust reads on while partitions are assigned anew, drops what that brought, and seeks to the
    committed offsets; of two partitions here one has none."""
    topic = topic_prefix + "events"
    with_offset, without = TopicPartition(topic, 0), TopicPartition(topic, 1)

    async def scenario() -> None:
        await make_topic(kafka, topic, partitions=2)
        await send(kafka, topic, events(100))
        await send(kafka, topic, [(key, value, 1, ms) for key, value, _, ms in events(100)])
        consumer = RunConsumer(
            topic,
            bootstrap_servers=kafka,
            group_id=topic,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()

        async def read_all() -> dict[TopicPartition, int]:
            """Reads to the end of both; says where each began."""
            begins: dict[TopicPartition, int] = {}
            ends: dict[TopicPartition, int] = {}
            deadline = time.monotonic() + 30
            while set(ends.values()) != {100} or len(ends) < 2:
                assert time.monotonic() < deadline, (begins, ends)
                for partition, runs in (await consumer.get_runs(1.0)).items():
                    begins.setdefault(partition, runs[0].run.base_offset)
                    ends[partition] = runs[-1].run.last_offset + 1
            return begins

        try:
            assert await read_all() == {with_offset: 0, without: 0}
            await consumer.commit({with_offset: 40})
            assert await consumer.seek_to_committed() == {with_offset: 40, without: None}
            assert await read_all() == {with_offset: 40, without: 0}
        finally:
            await consumer.stop()

    asyncio.run(scenario())


def test_what_was_deleted_before_it_was_read_is_passed_over(kafka: str, topic_prefix: str) -> None:
    """Whether that is a gap is for whoever applies the records to say."""
    topic = topic_prefix + "events"
    partition = TopicPartition(topic, 0)

    async def scenario() -> None:
        await make_topic(kafka, topic)
        await send(kafka, topic, events(100))
        await delete_records(kafka, topic, 0, 50)
        async with reading(kafka, partition, 10) as consumer:
            deadline, runs = time.monotonic() + WAIT_S_MAX, []
            while not runs:
                assert time.monotonic() < deadline
                runs = (await consumer.get_runs(1.0)).get(partition, [])
            assert (runs[0].run.base_offset, runs[-1].run.last_offset) == (50, 99)

    asyncio.run(scenario())


def test_a_log_that_ends_before_what_was_read_of_it_is_told(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "events"
    partition = TopicPartition(topic, 0)

    async def scenario() -> None:
        await make_topic(kafka, topic)
        await send(kafka, topic, events(100))
        async with reading(kafka, partition, 101) as consumer:
            deadline = time.monotonic() + WAIT_S_MAX
            with pytest.raises(LogLostError, match="ends at offset 100, but was read up to 101"):
                while time.monotonic() < deadline:
                    assert not await consumer.get_runs(1.0)

    asyncio.run(scenario())


def test_a_consumer_waits_for_its_first_broker(
    kafka: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Connections that are taken and closed at once, as by a balancer without a broker behind."""
    topic = topic_prefix + "events"
    monkeypatch.setattr(consumer_module, "RETRY_S", 0.05)
    balancer = Proxy()

    async def scenario() -> None:
        await make_topic(kafka, topic)
        await send(kafka, topic, events(10))
        await balancer.start()
        got: list[faust.Event] = []

        async def run() -> None:
            async with running(f"127.0.0.1:{balancer.port}", topic, topic, got.append):
                await until(lambda: bool(got))

        async with asyncio.TaskGroup() as group:
            group.create_task(run())
            await until(lambda: caplog.text.count("no broker yet to read events from") > 2)
            balancer.target_port = int(kafka.rpartition(":")[2])
        await balancer.stop()

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S_MAX))


def test_a_partition_whose_position_is_not_known_yet_ends_nobody(
    kafka: str, topic_prefix: str
) -> None:
    """Faust looks every few seconds whether each partition moves; after a rebalance a partition has
    no position until the coordinator has answered."""
    topic = topic_prefix + "events"

    async def scenario() -> None:
        await make_topic(kafka, topic)
        await send(kafka, topic, events(10))
        got: list[faust.Event] = []
        async with running(kafka, topic, topic, got.append) as app:
            await until(lambda: got)
            consumer = app.consumer._thread._consumer
            state = consumer._subscription.subscription.assignment.state_value(
                TopicPartition(topic, 0)
            )
            state.await_reset(-2)
            assert not state.has_valid_position
            await app.consumer.verify_all_partitions_active()

    asyncio.run(asyncio.wait_for(scenario(), WAIT_S_MAX))


def test_rolled_back_transactions_never_happened(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "events"

    async def scenario() -> None:
        await make_topic(kafka, topic)
        producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic)
        await producer.start()
        for name, is_kept in ((b"a", True), (b"b", False), (b"c", True)):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, name, partition=0)
            if is_kept:
                await producer.commit_transaction()
            else:
                await producer.abort_transaction()
        await producer.stop()
        held: list[faust.Event] = []
        async with running(kafka, topic, topic, held.append):
            await until(lambda: bool(held) and held[-1].value.run.last_offset == 5)
            assert [v for event in held for _, v, _, _ in event.value.run] == [b"a", b"c"]
            for event in held:
                event.ack()
            await until_committed(kafka, topic, topic, 6)  # markers are answered for, too

    asyncio.run(scenario())


def test_the_replaced_seams_of_aiokafka_are_still_there() -> None:
    """What `rebound` binds anew must still be what the method looks up."""
    names = aiokafka_fetcher.Fetcher._proc_fetch_request.__code__.co_names
    assert {"MemoryRecords", "PartitionRecords", "FetchResult"} <= set(names)
    assert RunFetcher._proc_fetch_request.__globals__["PartitionRecords"] is PartitionRuns


def test_a_broker_is_not_asked_again_at_once(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        await make_topic(kafka, topic_prefix)
        await send(kafka, topic_prefix, events(1))
        monkeypatch.setattr(fetcher_module, "ASK_S_MIN", 1e9)
        consumer = RunConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic_prefix, 0)])
            assert sum(map(len, (await consumer.get_runs(WAIT_S_MAX)).values())) == 1
            await send(kafka, topic_prefix, events(1, 1))
            assert not await consumer.get_runs(0.5)
            monkeypatch.setattr(fetcher_module, "ASK_S_MIN", 0.0)
            assert sum(map(len, (await consumer.get_runs(WAIT_S_MAX)).values())) == 1
        finally:
            await consumer.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("ending", ["at once", "later", "error", "cancelled"])
def test_a_message_is_handed_over_at_once_or_waited_for(ending: str) -> None:
    async def scenario() -> None:
        consumer = object.__new__(Consumer)
        Service.__init__(consumer)
        let_go, steps = asyncio.Event(), list[str]()

        async def hand_over() -> str:
            steps.append("begun")
            if ending != "at once":
                try:
                    await let_go.wait()
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    steps.append("cancelled")
                    raise
            if ending == "error":
                raise KeyError("no such partition")
            steps.append("done")
            return "handed over"

        suspended = asyncio.Event()
        handing = asyncio.create_task(consumer.wait_first(hand_over(), suspended.wait()))
        await asyncio.sleep(0)
        assert handing.done() == (ending == "at once") and steps[0] == "begun"
        (suspended if ending == "cancelled" else let_go).set()
        if ending == "error":
            with pytest.raises(KeyError):
                await handing
            return
        results = (await handing).results
        if ending == "cancelled":
            await until(lambda: steps == ["begun", "cancelled"])
        else:
            assert results == ["handed over"] and steps == ["begun", "done"]

    asyncio.run(scenario())


def test_a_broken_batch_ends_the_iteration_and_is_remembered() -> None:
    run = OutputRun()
    for key, value, partition, ms in events(10):
        run.append(key, value, partition, ms)
    ((batch, _),) = encode_output(run, 0)
    broken = bytearray(batch)
    broken[-1] ^= 1
    records = FetchedBytes(bytes(broken))
    assert records.has_next()
    source = PartitionRuns(
        TopicPartition("t", 0), records, None, 0, None, None, True, aiokafka_fetcher.READ_COMMITTED
    )
    assert list(source) == []
    assert "record batch at offset 0: its CRC is wrong" in str(source.failure)
    assert source.next_fetch_offset == 0


def test_who_joins_again_with_a_name_that_another_has_taken_is_told(
    kafka: str, topic_prefix: str
) -> None:
    """The group says it in its answer to a join where no heartbeat comes before it."""
    topic = topic_prefix + "in"

    def member() -> RunConsumer:
        return RunConsumer(
            topic,
            bootstrap_servers=kafka,
            group_id=topic_prefix + "group",
            group_instance_id="berth-1",
            session_timeout_ms=60_000,
            heartbeat_interval_ms=50_000,
            enable_auto_commit=False,
        )

    async def scenario() -> None:
        await make_topic(kafka, topic)
        first, second = member(), member()
        try:
            await first.start()
            await until(lambda: bool(first.assignment()))
            await second.start()
            await until(lambda: bool(second.assignment()))
            membership = first._coordinator
            assert not membership.is_name_taken
            assert membership.refusal is None
            membership.request_rejoin()
            await until(lambda: membership.is_name_taken and membership.refusal is not None)
            assert not second._coordinator.is_name_taken
        finally:
            await first.stop()
            await second.stop()

    asyncio.run(scenario())
