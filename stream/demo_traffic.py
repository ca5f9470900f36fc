"""The demo's traffic: the national year on its way in, the worker's answers on their way back.

Called by stream/demo.py. Sends what national_year/ makes as record batches, and counts decisions,
alerts and rejects from what the worker wrote. It must never know what is expected of them.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import datetime
import gc
import json
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from aiokafka.structs import TopicPartition

from core_ext.record_batch import encode_columns
from stream import topics
from stream.connection import client_options
from stream.emission import Emission
from stream.national_year import RecordSlice
from stream.national_year.live import Schedule
from stream.settings import Settings
from stream.transport import RunConsumer
from stream.transport.fetcher import FETCH_BYTES_MAX

BATCH_BYTES_MAX = 1 << 20
"""Kafka's own limit of a batch is a little above this."""
UNACKNOWLEDGED_BYTES_MAX = 48 << 20
_RECORD_COUNT_AT = 57
"""Where a record batch says how many records it has."""
READ_WAIT_S = 0.5

Lane = tuple[str, int, list[tuple[bytes, int]]]
"""Topic (full name), partition, batches with their record counts."""


def _batches(part: RecordSlice | Schedule, low: int, high: int) -> list[tuple[bytes, int]]:
    batches = encode_columns(
        part.values.data,
        part.value_offsets[low : high + 1],
        part.keys.data,
        part.key_offsets[low : high + 1],
        part.timestamps_ms[low:high],
        max_batch_bytes=BATCH_BYTES_MAX,
    )
    return [(batch, struct.unpack_from(">i", batch, _RECORD_COUNT_AT)[0]) for batch in batches]


class Sender:
    """Sends slices as fast as it can, and schedules when they are due."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._emission = Emission(
            client_options(settings),
            client_id="gatejoin-demo",
            unacknowledged_bytes_max=UNACKNOWLEDGED_BYTES_MAX,
        )

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Sender]:
        """Connects for the block."""
        await self._emission.start()
        try:
            yield self
        finally:
            await self._emission.stop()

    async def send_slices(
        self, slices: Iterator[RecordSlice], progress: Callable[[int], None]
    ) -> int:
        """Sends all slices as fast as the broker takes them; returns the number of records.

        The next slice is made in a thread while this one is on its way: formatting and encoding
        leave the interpreter to others.
        """
        total = 0
        futures: list[asyncio.Future[int]] = []
        making = asyncio.ensure_future(asyncio.to_thread(self._next_lanes, slices))
        try:
            while (made := await making) is not None:
                making = asyncio.ensure_future(asyncio.to_thread(self._next_lanes, slices))
                count, lanes = made
                for name, partition, batches in lanes:
                    await self._emission.wait_room()
                    futures += self._emission.submit(name, partition, batches)
                total += count
                progress(total)
                futures = [future for future in futures if not future.done()]
        finally:
            # A thread can't be cancelled, and must not outlive the year it reads from.
            await asyncio.wait([making])
        await asyncio.gather(*futures)
        return total

    def _next_lanes(self, slices: Iterator[RecordSlice]) -> tuple[int, list[Lane]] | None:
        part = next(slices, None)
        if part is None:
            return None
        name = self._settings.topic(part.topic)
        lanes: list[Lane] = []
        for partition, low, high in part.by_partition():
            lanes.append((name, partition, _batches(part, low, high)))
        return len(part), lanes

    async def send_at_once(self, schedule: Schedule) -> None:
        """Sends a schedule without waiting for its moments."""
        futures: list[asyncio.Future[int]] = []
        for topic, partition, low, high in schedule.lanes():
            await self._emission.wait_room()
            name = self._settings.topic(topic)
            futures += self._emission.submit(name, partition, _batches(schedule, low, high))
        await asyncio.gather(*futures)

    async def play(self, schedules: list[Schedule], start_s: float) -> float:
        """Sends every record when it is due after ``start_s`` (time.time()), answered or not.

        Returns:
            The most seconds that a record waited for its turn here: the sender's share of the
            latencies, which are counted from when records were due.
        """
        # A collection in the middle would be a pause that nobody at a gate would have had.
        gc.collect()
        gc.disable()
        try:
            late = await asyncio.gather(
                *(
                    self._play_lane(schedule, start_s, *lane)
                    for schedule in schedules
                    for lane in schedule.lanes()
                )
            )
        finally:
            gc.enable()
        return max(late)

    async def _play_lane(
        self, schedule: Schedule, start_s: float, topic: str, partition: int, low: int, high: int
    ) -> float:
        """Sends what is due of one partition, and while that is on its way collects what comes
        next, as producers do: a record never waits for more than one that was sent before it."""
        due_s = (schedule.due_ms[low:high] / 1000 + start_s).tolist()
        late_s_max = 0.0
        at = 0
        while at < len(due_s):
            wait_s = due_s[at] - time.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            now = time.time()
            end = max(at + 1, bisect.bisect_right(due_s, now, at))
            late_s_max = max(late_s_max, now - due_s[at])
            name = self._settings.topic(topic)
            batches = _batches(schedule, low + at, low + end)
            await asyncio.gather(*self._emission.submit(name, partition, batches))
            at = end
        return late_s_max


@dataclass
class Counted:
    """What the worker wrote since the last look."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    """Of first answers, from the event's moment to the answer's arrival at the broker."""

    @property
    def decision_count(self) -> int:
        """Decisions in all."""
        return sum(self.outcomes.values())

    def add(self, other: Counted) -> None:
        """Adds what was counted later."""
        for name in ("outcomes", "reasons", "flags", "alerts", "rejects"):
            getattr(self, name).update(getattr(other, name))
        self.latencies_ms += other.latencies_ms


class Answers:
    """Reads decisions, alerts and rejects, from where it last was to where they end."""

    def __init__(self, settings: Settings, counts: dict[str, int]) -> None:
        self._names = {settings.topic(name): name for name in (
            topics.DECISIONS, topics.ALERTS, topics.REJECTS)}  # fmt: skip
        self._partitions = [
            TopicPartition(full, partition)
            for full, name in self._names.items()
            for partition in range(counts[name])
        ]
        self._consumer = RunConsumer(
            **client_options(settings),
            client_id="gatejoin-demo",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # What was rolled back was never said.
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_bytes=FETCH_BYTES_MAX,
        )

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Answers]:
        """Connects for the block."""
        await self._consumer.start()
        try:
            self._consumer.assign(self._partitions)
            yield self
        finally:
            await self._consumer.stop()

    async def read(self, *, latencies: bool = False, wait_s: float = READ_WAIT_S) -> Counted:
        """Counts what is there, until nothing more has come for ``wait_s`` seconds."""
        counted = Counted()
        spellings: dict[str, Counter[bytes]] = {name: Counter() for name in self._names.values()}
        while runs := await self._consumer.get_runs(wait_s):
            for topic_partition, of_partition in runs.items():
                name = self._names[topic_partition.topic]
                spelling = spellings[name]
                for fetched in of_partition:
                    for _, value, _, timestamp_ms in fetched.run:
                        assert value is not None, f"{name} holds a tombstone"
                        spelling[_essence(name, value)] += 1
                        if latencies and name == topics.DECISIONS and b'"sequence":1,' in value:
                            counted.latencies_ms.append(timestamp_ms - _moment_ms(value))
        for essence, count in spellings[topics.DECISIONS].items():
            decision = json.loads(essence)
            counted.outcomes[decision["outcome"]] += count
            for code in decision["reasons"]:
                counted.reasons[code] += count
            for code in decision["flags"]:
                counted.flags[code] += count
        for essence, count in spellings[topics.ALERTS].items():
            counted.alerts[json.loads(essence)["type"]] += count
        for essence, count in spellings[topics.REJECTS].items():
            counted.rejects[json.loads(essence)["reason"]] += count
        return counted


# Where the part of a record that is counted begins, and what follows it. There are millions of
# decisions but few different ones, so each is cut to what makes it different before it is parsed.
_ESSENCES = {
    topics.DECISIONS: (b'"outcome":', b',"declarations":'),
    topics.ALERTS: (b'"type":', b',"unit":'),
    topics.REJECTS: (b'"reason":', b',"field":'),
}


def _essence(name: str, value: bytes) -> bytes:
    begins, follows = _ESSENCES[name]
    start = value.find(begins)
    end = value.find(follows, start)
    if start < 0 or end < 0:
        return value
    return b"{" + value[start:end] + b"}"


_MOMENT = b'"eventDateTime":"'


def _moment_ms(value: bytes) -> float:
    start = value.index(_MOMENT) + len(_MOMENT)
    text = value[start : value.index(b'"', start)].decode()
    return datetime.datetime.fromisoformat(text).timestamp() * 1000
