"""The emission against a real Kafka that goes away and comes back."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiokafka.errors import KafkaError

from core_ext.record_batch import OutputRun, encode_output
from stream import emission as emission_module
from stream.emission import Writer
from stream.local_kafka import LocalKafka
from tests.stream.kafka_tools import WAIT_S_MAX, emission, make_topic, read, until


def batches(first: int, last: int, per_batch: int = 10) -> list[tuple[bytes, int]]:
    run = OutputRun()
    for i in range(first, last):
        run.append(b"key", b"%d" % i, 0, 1_600_000_000_000)
    return encode_output(run, 0, batch_records_max=per_batch)


def numbers(records: list[tuple[int, int, bytes | None, bytes | None, int]]) -> list[int]:
    return [int(value or b"") for _, _, _, value, _ in records]


def test_batches_arrive_in_order_and_once(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "out"

    async def scenario() -> None:
        await make_topic(kafka, topic)
        async with emission(kafka) as sender:
            waiting = []
            for start in range(0, 1000, 100):
                waiting += sender.submit(topic, 0, batches(start, start + 100))
            assert sender.unacknowledged_bytes > 0
            await asyncio.gather(*waiting)
            assert sender.unacknowledged_bytes == 0
        assert numbers(await read(kafka, topic)) == list(range(1000))

    asyncio.run(scenario())


def test_what_is_submitted_as_a_lane_falls_empty_is_sent(kafka: str, topic_prefix: str) -> None:
    """The next batch comes in the very moment in which the one before is acknowledged."""
    topic = topic_prefix + "out"

    async def scenario() -> None:
        await make_topic(kafka, topic)
        async with emission(kafka) as sender:
            async with asyncio.timeout(WAIT_S_MAX):
                for start in range(0, 50, 10):
                    for acknowledged in sender.submit(topic, 0, batches(start, start + 10)):
                        await acknowledged
        assert numbers(await read(kafka, topic)) == list(range(50))

    asyncio.run(scenario())


def test_a_batch_waits_for_what_must_come_first(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "out"

    async def scenario() -> None:
        await make_topic(kafka, topic)
        async with emission(kafka) as sender:
            first: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            held = sender.submit(topic, 0, batches(0, 10), [first])
            behind = sender.submit(topic, 0, batches(10, 20))
            done, _ = await asyncio.wait([*held, *behind], timeout=0.5)
            assert not done
            first.set_result(None)
            await asyncio.gather(*held, *behind)
        assert numbers(await read(kafka, topic)) == list(range(20))

    asyncio.run(scenario())


def test_room_is_bounded(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "out"

    async def scenario() -> None:
        await make_topic(kafka, topic)
        async with emission(kafka, unacknowledged_bytes_max=1000) as sender:
            waiting = sender.submit(topic, 0, batches(0, 100))
            room = asyncio.ensure_future(sender.wait_room())
            await asyncio.sleep(0)
            assert not room.done()
            await asyncio.gather(*waiting)
            await asyncio.wait_for(room, WAIT_S_MAX)

    asyncio.run(scenario())


def test_a_worker_that_may_have_been_replaced_sends_nothing(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "out"
    has_lease = False

    async def scenario() -> None:
        nonlocal has_lease
        await make_topic(kafka, topic)
        async with emission(kafka, may_send=lambda: has_lease) as sender:
            waiting = sender.submit(topic, 0, batches(0, 10))
            done, _ = await asyncio.wait(waiting, timeout=3 * emission_module.HOLD_S)
            assert not done
            has_lease = True
            await asyncio.gather(*waiting)
        assert numbers(await read(kafka, topic)) == list(range(10))

    asyncio.run(scenario())


def test_what_a_dropped_writer_had_waiting_is_forgotten(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "out"

    async def scenario() -> None:
        await make_topic(kafka, topic)
        async with emission(kafka, unacknowledged_bytes_max=1) as sender:
            never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            writer = Writer(sender._own.producer_id, 0, "dropped")  # type: ignore[union-attr]
            waiting = sender.submit(topic, 0, batches(0, 10), [never], writer=writer)
            sender.drop(writer)
            await asyncio.wait_for(sender.wait_room(), WAIT_S_MAX)
            assert all(future.cancelled() for future in waiting)
            assert sender.unacknowledged_bytes == 0
            await asyncio.gather(*sender.submit(topic, 0, batches(10, 20)))
        assert numbers(await read(kafka, topic)) == list(range(10, 20))

    asyncio.run(scenario())


def test_what_is_for_good_fails_everything_after_it(kafka: str, topic_prefix: str) -> None:
    topic = topic_prefix + "out"

    async def scenario() -> None:
        await make_topic(kafka, topic, **{"max.message.bytes": "1000"})
        async with emission(kafka) as sender:
            too_large = sender.submit(topic, 0, batches(0, 1000, per_batch=1000))
            behind = sender.submit(topic, 0, batches(1000, 1010))
            for future in (*too_large, *behind):
                with pytest.raises(KafkaError):
                    await future
            with pytest.raises(KafkaError):
                await sender.wait_room()
            with pytest.raises(KafkaError):
                sender.submit(topic, 0, batches(0, 1))
        assert await read(kafka, topic) == []

    asyncio.run(scenario())


@pytest.mark.slow
def test_nothing_is_lost_doubled_or_overtaken_while_the_broker_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(emission_module, "ATTEMPT_S_MAX", 1.0)

    async def scenario(kafka: LocalKafka) -> None:
        broker = kafka.bootstrap_servers
        await make_topic(broker, "out")
        async with emission(broker) as sender:
            await asyncio.gather(*sender.submit("out", 0, batches(0, 100)))
            await asyncio.to_thread(kafka.kill, 1)
            waiting = sender.submit("out", 0, batches(100, 500))
            await until(lambda: "waiting" in caplog.text, 30)
            assert not any(future.done() for future in waiting)
            await asyncio.to_thread(kafka.restart, 1)
            await asyncio.wait_for(asyncio.gather(*waiting), WAIT_S_MAX)
        assert numbers(await read(broker, "out")) == list(range(500))

    with caplog.at_level(logging.WARNING), LocalKafka(heap_mb=256, is_short_lived=True) as kafka:
        asyncio.run(scenario(kafka))
