"""Customs' side is read in its order and caught up with, against a real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core_ext.record_batch import RecordRun
from stream import customs_feed, topics
from stream.customs_feed import CustomsFeed, CustomsLostError
from stream.settings import Settings
from stream.topic_reader import begins_and_ends
from tests.stream.kafka_tools import WAIT_S_MAX, delete_records, make_topic, send, until

PARTITIONS = 2


class Applied:
    """Takes what the feed hands over, unless it is held up."""

    def __init__(self) -> None:
        self.topics: list[int] = []
        self.count = 0
        self.is_held = False
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def __call__(self, topic: int, partition: int, run: RecordRun) -> None:
        self.is_held = not self.may_go_on.is_set()
        await self.may_go_on.wait()
        self.topics.append(topic)
        self.count += len(run)


@asynccontextmanager
async def fed(settings: Settings) -> AsyncIterator[tuple[CustomsFeed, Applied]]:
    applied = Applied()
    counts = dict.fromkeys(topics.CUSTOMS, PARTITIONS)
    feed = CustomsFeed(settings, counts, applied, lambda _topic, _share: None)
    running = asyncio.create_task(feed.run())
    try:
        yield feed, applied
    finally:
        running.cancel()
        await asyncio.wait([running])


async def send_customs(settings: Settings, name: str, count: int) -> None:
    records = [(b"%d" % i, b"{}", i % PARTITIONS, i) for i in range(count)]
    await send(settings.broker, settings.topic(name), records)


def test_all_is_loaded_topic_by_topic(kafka: str, topic_prefix: str) -> None:
    async def scenario() -> None:
        settings = Settings(broker=kafka, topic_prefix=topic_prefix)
        for name in topics.CUSTOMS:
            await make_topic(kafka, settings.topic(name), PARTITIONS)
        for name in reversed(topics.CUSTOMS):
            await send_customs(settings, name, 10)
        async with fed(settings) as (feed, applied):
            await until(feed.loaded.is_set)
            assert applied.count == 10 * len(topics.CUSTOMS)
            assert applied.topics == sorted(applied.topics)

    asyncio.run(scenario())


def test_a_topic_whose_first_records_were_deleted_is_refused(kafka: str, topic_prefix: str) -> None:
    async def scenario() -> None:
        settings = Settings(broker=kafka, topic_prefix=topic_prefix)
        for name in topics.CUSTOMS:
            await make_topic(
                kafka, settings.topic(name), PARTITIONS, **{"cleanup.policy": "compact,delete"}
            )
        await send_customs(settings, "holds", 10)
        await delete_records(kafka, settings.topic("holds"), 1, 3)
        counts = dict.fromkeys(topics.CUSTOMS, PARTITIONS)
        feed = CustomsFeed(settings, counts, Applied(), lambda _topic, _share: None)
        with pytest.raises(CustomsLostError, match="holds-1 begins at offset 3: records before it"):
            await feed.run()

    asyncio.run(scenario())


def test_catching_up_waits_for_all_that_the_broker_has(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asyncio.Event()

    async def observed(*args: Any) -> Any:
        answer = await begins_and_ends(*args)
        told.set()
        return answer

    async def scenario() -> None:
        settings = Settings(broker=kafka, topic_prefix=topic_prefix)
        for name in topics.CUSTOMS:
            await make_topic(kafka, settings.topic(name), PARTITIONS)
        async with fed(settings) as (feed, applied):
            await until(feed.loaded.is_set)
            await asyncio.wait_for(feed.catch_up(), WAIT_S_MAX)  # there is nothing: at once
            monkeypatch.setattr(customs_feed, "begins_and_ends", observed)
            applied.may_go_on.clear()
            await send_customs(settings, topics.HOLDS, 10)
            counts: list[int] = []
            catching_up = asyncio.create_task(feed.catch_up())
            catching_up.add_done_callback(lambda _: counts.append(applied.count))
            await told.wait()
            await until(lambda: applied.is_held)
            assert counts == []
            applied.may_go_on.set()
            await asyncio.wait_for(catching_up, WAIT_S_MAX)
            await until(lambda: counts == [10])

    asyncio.run(scenario())
