"""Rejects of customs' records are published once, whoever reads those records and how often."""

from __future__ import annotations

import asyncio
import json

from core_ext.record_batch import OutputRun
from stream.customs_rejects import CustomsRejects
from stream.settings import Settings
from stream.topics import ensure_topics
from tests.stream.kafka_tools import emission, read


def rejects(topic: str, offsets: range) -> OutputRun:
    run = OutputRun()
    for offset in offsets:
        source = {"topic": topic, "partition": 0, "offset": offset}
        run.append(b"key", json.dumps({"source": source}).encode(), -1, 0)
    return run


def test_each_reject_is_published_once(kafka: str, topic_prefix: str) -> None:
    settings = Settings(broker=kafka, topic_prefix=topic_prefix, partitions=2)
    holds = settings.topic("holds")

    async def published() -> list[int]:
        records = await read(kafka, settings.topic("rejects"), 2)
        return [json.loads(value or b"")["source"]["offset"] for _, _, _, value, _ in records]

    async def scenario() -> None:
        counts = await ensure_topics(settings)
        async with emission(kafka) as sender:
            first, second = (CustomsRejects(settings, sender, counts) for _ in range(2))
            for worker in (first, second):  # both read everything
                worker.hold(rejects(holds, range(5)))
                await worker.speak()
            assert await published() == []  # nobody speaks yet
            await first.start_speaking()
            assert await published() == [0, 1, 2, 3, 4]
            first.hold(rejects(holds, range(5, 7)))
            await first.speak()
            await first.stop_speaking()
            second.hold(rejects(holds, range(5, 9)))
            await second.start_speaking()
            assert await published() == list(range(9))
            await second.stop_speaking()

    asyncio.run(scenario())
