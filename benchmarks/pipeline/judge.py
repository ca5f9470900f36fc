"""Reads decisions back from Kafka and judges them: all there, each once, each right; and when.

What it is: the reader, the comparison with what the workload says is right, and the figures that
follow from the broker's append times.
Who calls it: the harness, the tests.
What it must never know: which engine wrote the decisions.

A decision is compared byte by byte with the right one. One that differs is parsed and compared
field by field, since an engine may write its JSON otherwise. The worker's full decisions are
compared by event and outcome (``full``).
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

import numpy
from aiokafka.structs import TopicPartition
from numpy.typing import NDArray

from benchmarks.pipeline.workload import (
    BLOCK,
    DECISION_BYTES,
    EVENT_ID_AT,
    EVENT_ID_BYTES,
    RELEASED,
    Workload,
)
from stream.settings import Settings
from stream.topic_reader import runs_to_end, start_consumer

WRONG_SHOWN_MAX = 3
STALLED_S_MAX = 30.0
MARK = b'"eventID":"E'


class WrongError(RuntimeError):
    """An engine's decisions are not the right ones; the message says how."""


@dataclass(frozen=True)
class Found:
    """The decisions of a topic: that of event ``start + i`` was written at ``append_ms[i]``."""

    start: int
    append_ms: NDArray[numpy.int64]
    released: int
    value_bytes: int

    @property
    def count(self) -> int:
        """How many decisions there are."""
        return len(self.append_ms)

    def overall_rate(self) -> float:
        """Decisions a second from the first append to the last; the first append is left out."""
        times = numpy.sort(self.append_ms)
        return _rate(int((times > times[0]).sum()), int(times[-1] - times[0]))

    def steady_rate(self) -> float:
        """Decisions a second over the second half."""
        times = numpy.sort(self.append_ms)
        half = times[len(times) // 2]
        return _rate(int((times > half).sum()), int(times[-1] - half))


def _rate(count: int, milliseconds: int) -> float:
    return count * 1000 / milliseconds if milliseconds else float("inf")


async def read_values(
    broker: str, topic: str, partition_count: int
) -> tuple[list[bytes], NDArray[numpy.int64]]:
    """All values of a topic and the timestamp of each."""
    consumer = await start_consumer(Settings(broker=broker), "pipeline-judge")
    values: list[bytes] = []
    timestamps: list[int] = []
    try:
        partitions = [TopicPartition(topic, number) for number in range(partition_count)]
        async for fetched in runs_to_end(consumer, partitions, stalled_s_max=STALLED_S_MAX):
            for _, value, _, timestamp_ms in fetched.run:
                values.append(value or b"")
                timestamps.append(timestamp_ms)
    finally:
        await consumer.stop()
    return values, numpy.asarray(timestamps, numpy.int64)


def judge(
    values: list[bytes],
    timestamps_ms: NDArray[numpy.int64],
    workload: Workload,
    start: int,
    count: int,
    *,
    full: bool = False,
) -> Found:
    """Compares decisions with the right ones for events ``start`` to ``start + count``.

    Raises:
        WrongError: one is missing, doubled, or not the right one.
    """
    if len(values) != count:
        raise WrongError(f"{len(values):,} decisions for {count:,} events")
    serials = _serials(values)
    inside = (serials >= start) & (serials < start + count)
    if not inside.all():
        example = values[int(numpy.flatnonzero(~inside)[0])]
        raise WrongError(f"a decision on an event that was never sent: {example[:200]!r}")
    seen = numpy.bincount(serials - start, minlength=count)
    if (seen != 1).any():
        raise WrongError(
            f"{int((seen > 1).sum()):,} events were decided more than once and"
            f" {int((seen == 0).sum()):,} never"
        )
    order = numpy.argsort(serials)
    released = 0
    for events in workload.blocks(start, start + count, BLOCK):
        rows = order[events.start - start :][: len(events.values)]
        block = [values[row] for row in rows.tolist()]
        released += int((events.verdicts == RELEASED).sum())
        wrong = _wrong_outcomes(block, events.verdicts) if full else _wrong(block, events.decisions)
        if wrong:
            raise WrongError("wrong decisions, for example " + "; ".join(wrong))
    return Found(start, timestamps_ms[order], released, sum(map(len, values)))


def _serials(values: list[bytes]) -> NDArray[numpy.int64]:
    """The event's serial number of each decision."""
    at = EVENT_ID_AT + 1
    joined = b"".join(values)
    digits = EVENT_ID_BYTES - 1
    if len(joined) == DECISION_BYTES * len(values) and joined.count(MARK) == len(values):
        rows = numpy.frombuffer(joined, numpy.uint8).reshape(-1, DECISION_BYTES)
        if (rows[:, at - 1] == ord("E")).all():
            columns = rows[:, at : at + digits].astype(numpy.int64) - ord("0")
            return columns @ 10 ** numpy.arange(digits - 1, -1, -1, dtype=numpy.int64)
    return numpy.fromiter(map(_serial, values), numpy.int64, len(values))


def _serial(value: bytes) -> int:
    at = value.find(MARK)
    if at < 0:
        try:
            return int(json.loads(value)["eventID"][1:])
        except (ValueError, KeyError, TypeError):
            return -1
    return int(value[at + len(MARK) :][: EVENT_ID_BYTES - 1])


def _wrong(values: list[bytes], right: NDArray[numpy.uint8]) -> list[str]:
    expected = right.tobytes()
    if b"".join(values) == expected:
        return []
    wrong = []
    for at, value in enumerate(values):
        wanted = expected[at * DECISION_BYTES : (at + 1) * DECISION_BYTES]
        if value != wanted and _parsed(value) != json.loads(wanted):
            wrong.append(f"{value[:200]!r} instead of {wanted!r}")
            if len(wrong) == WRONG_SHOWN_MAX:
                break
    return wrong


def _wrong_outcomes(values: list[bytes], verdicts: NDArray[numpy.uint8]) -> list[str]:
    wrong = []
    for value, verdict in zip(values, verdicts.tolist(), strict=True):
        wanted = b'"outcome":"RELEASE"' if verdict == RELEASED else b'"outcome":"HOLD"'
        if wanted not in value:
            wrong.append(f"{value[:300]!r} instead of {wanted!r}")
            if len(wrong) == WRONG_SHOWN_MAX:
                break
    return wrong


def _parsed(value: bytes) -> object:
    try:
        return json.loads(value)
    except ValueError:
        return None


async def count_of(consumer: object, partitions: list[TopicPartition]) -> int:
    """How many records partitions that were never cut hold."""
    ends = await consumer.end_offsets(partitions)  # type: ignore[attr-defined]
    return sum(ends.values())


async def wait_for_count(
    consumer: object, partitions: list[TopicPartition], count: int, stalled_s_max: float
) -> None:
    """Waits until partitions hold ``count`` records; WrongError when nothing comes for so long."""
    found, moved_at = -1, time.monotonic()
    while True:
        now = await count_of(consumer, partitions)
        if now >= count:
            return
        if now > found:
            found, moved_at = now, time.monotonic()
        elif time.monotonic() - moved_at > stalled_s_max:
            raise WrongError(f"{now:,} of {count:,} decisions, and nothing more came for"
                             f" {stalled_s_max:.0f} s")  # fmt: skip
        await asyncio.sleep(0.05)
