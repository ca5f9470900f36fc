"""The fence on a real Kafka: a worker that was replaced writes nothing any more, and no reader sees
that there was a fence at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from stream import fence as fence_module
from stream.emission import Emission, FencedError, Writer
from stream.fence import Fence
from tests.stream.kafka_tools import emission, make_topic, read
from tests.stream.test_emission import batches, numbers

Outputs = list[tuple[str, int]]


async def make_outputs(broker: str, prefix: str) -> Outputs:
    await make_topic(broker, prefix + "decisions", 2)
    await make_topic(broker, prefix + "states", 2, **{"cleanup.policy": "compact"})
    return [(prefix + "decisions", 0), (prefix + "states", 0), (prefix + "states", 1)]


@asynccontextmanager
async def owner(broker: str, name: str, outputs: Outputs) -> AsyncIterator[tuple[Emission, Writer]]:
    async with emission(broker) as sender:
        yield sender, await Fence(sender.client).take(name, outputs)


async def write(sender: Emission, writer: Writer, outputs: Outputs, *range_: int) -> None:
    await asyncio.gather(
        *[
            acknowledged
            for output in outputs
            for acknowledged in sender.submit(*output, batches(*range_), writer=writer)
        ]
    )


async def seen(broker: str, isolation: str, output: tuple[str, int]) -> list[int]:
    """What a reader of another make sees of a partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker, isolation_level=isolation)
    await consumer.start()
    try:
        partition = TopicPartition(*output)
        consumer.assign([partition])
        await consumer.seek_to_beginning()
        end = (await consumer.end_offsets([partition]))[partition]
        found = []
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                found += [int(record.value) for record in records]
        return found
    finally:
        await consumer.stop()


def test_a_replaced_worker_is_refused_by_every_output(kafka: str, topic_prefix: str) -> None:
    async def scenario() -> None:
        outputs = await make_outputs(kafka, topic_prefix)
        name = topic_prefix + "0"
        async with (
            owner(kafka, name, outputs) as (first, former),
            owner(kafka, topic_prefix + "1", outputs) as (bystander, other),
        ):
            await write(first, former, outputs, 0, 20)
            async with owner(kafka, name, outputs) as (second, latter):
                assert (latter.producer_id, latter.epoch) == (former.producer_id, former.epoch + 1)
                for output in outputs:  # each log has to refuse by itself
                    woken = Writer(former.producer_id, former.epoch)
                    told: list[str] = []
                    woken.on_fenced = lambda told=told: told.append("fenced")  # type: ignore[misc]
                    with pytest.raises(FencedError):
                        await write(first, woken, [output], 90, 99)
                    assert told == ["fenced"]
                    with pytest.raises(FencedError):
                        await write(first, woken, [output], 90, 99)
                await write(second, latter, outputs, 20, 40)
                await write(bystander, other, outputs, 40, 50)
                with pytest.raises(FencedError):
                    await Fence(first.client).renew(former, outputs)
        for output in outputs:
            for isolation in ("read_uncommitted", "read_committed"):
                assert await seen(kafka, isolation, output) == list(range(50))

    asyncio.run(scenario())


def test_what_is_under_way_when_the_fence_goes_up_arrives_before_it_or_not_at_all(
    kafka: str, topic_prefix: str
) -> None:
    async def scenario() -> None:
        outputs = await make_outputs(kafka, topic_prefix)
        topic = outputs[0][0]
        async with owner(kafka, topic_prefix + "0", outputs) as (first, former):
            waiting = first.submit(topic, 0, batches(0, 10_000), writer=former)
            await waiting[0]
            async with owner(kafka, topic_prefix + "0", outputs) as (second, latter):
                final = numbers(await read(kafka, topic, 2))
                await write(second, latter, outputs[:1], 10_000, 10_010)
                outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        arrived = [future for future in outcomes if not isinstance(future, BaseException)]
        assert all(isinstance(it, FencedError) for it in outcomes[len(arrived) :])
        assert numbers(await read(kafka, topic, 2)) == [*final, *range(10_000, 10_010)]
        assert final == list(range(len(final)))
        assert len(final) >= 10 * len(arrived)

    asyncio.run(scenario())


def test_renewal_needs_no_pause(kafka: str, topic_prefix: str) -> None:
    async def scenario() -> None:
        outputs = await make_outputs(kafka, topic_prefix)
        async with owner(kafka, topic_prefix + "0", outputs) as (sender, writer):
            writing = asyncio.ensure_future(write(sender, writer, outputs, 0, 2000))
            for _ in range(5):
                await Fence(sender.client).renew(writer, outputs)
            await writing
            await write(sender, writer, outputs, 2000, 2100)
        for output in outputs:
            assert await seen(kafka, "read_uncommitted", output) == list(range(2100))

    asyncio.run(scenario())


def test_who_died_while_fencing_keeps_nobody_out(kafka: str, topic_prefix: str) -> None:
    async def scenario() -> None:
        outputs = await make_outputs(kafka, topic_prefix)
        name = topic_prefix + "0"
        async with owner(kafka, name, outputs) as (first, former):
            dying = Fence(first.client)
            await dying._next_epoch(name)  # dies before the markers
            await write(first, former, outputs, 0, 10)
            producer_id, epoch = await dying._next_epoch(name)
            request = fence_module.AddPartitionsToTxnRequest(
                name, producer_id, epoch, [(outputs[0][0], [0])]
            )
            await dying._ask(name, request, fence_module._Patience(name))  # dies in the transaction
            async with owner(kafka, name, outputs) as (second, latter):
                with pytest.raises(FencedError):
                    await write(first, former, outputs, 90, 99)
                await write(second, latter, outputs, 10, 20)
        assert numbers(await read(kafka, outputs[0][0], 2)) == list(range(20))

    asyncio.run(scenario())


def test_the_last_epochs_are_not_written_with(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka's own end of epochs is 32,766 requests away; here they are worn from the third on, and
    another producer id comes when the name changes."""

    async def scenario() -> None:
        outputs = await make_outputs(kafka, topic_prefix)
        monkeypatch.setattr(fence_module, "EPOCH_MAX", 2)
        async with emission(kafka) as sender:
            fence = Fence(sender.client)
            asked: list[int] = []
            next_epoch = fence._next_epoch

            async def counted(name: str) -> tuple[int, int]:
                asked.append(len(asked))
                return await next_epoch(name + ("-next" if len(asked) > 5 else ""))

            monkeypatch.setattr(fence, "_next_epoch", counted)
            writers = [await fence.take(topic_prefix + "0", outputs) for _ in range(2)]
            assert [writer.epoch for writer in writers] == [0, 1]
            await write(sender, writers[1], outputs, 0, 10)
            renewed: list[Writer] = []
            renew = fence.renew

            async def watched(writer: Writer, wanted: Outputs) -> None:
                renewed.append(writer)
                if writer.epoch or writer.producer_id == writers[0].producer_id:
                    await renew(writer, wanted)

            monkeypatch.setattr(fence, "renew", watched)
            last = await fence.take(topic_prefix + "0", outputs)
            assert last.producer_id != writers[0].producer_id
            assert [writer.epoch for writer in renewed] == [2, 0]
            with pytest.raises(FencedError):
                await write(sender, writers[1], outputs, 90, 99)

    asyncio.run(scenario())
