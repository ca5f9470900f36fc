"""Where owned partitions end, asked of a real broker."""

from __future__ import annotations

import asyncio

from stream.lag_watch import watch_ends
from stream.settings import Settings
from tests.stream.kafka_tools import make_topic, send, until


def test_the_ends_of_owned_partitions_are_told_as_they_move(kafka, topic_prefix) -> None:
    settings = Settings(broker=kafka, topic_prefix=topic_prefix)
    topic = settings.topic("port-events")
    owned: list[int] = []
    ends: dict[int, int] = {}

    async def watched() -> None:
        await make_topic(kafka, topic, 3)
        await send(kafka, topic, [(b"k", b"{}", number, 1) for number in (0, 0, 1)])
        task = asyncio.create_task(
            watch_ends(
                settings, lambda: owned, lambda number, end: ends.update({number: end}), 0.05
            )
        )
        try:
            owned.extend((0, 2))
            await until(lambda: ends == {0: 2, 2: 0})
            await send(kafka, topic, [(b"k", b"{}", 2, 1)])
            await until(lambda: ends == {0: 2, 2: 1})
        finally:
            task.cancel()

    asyncio.run(watched())
