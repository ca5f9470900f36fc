"""Calls of the engine, and what each had to say as record batches.

What it is: makes every call of the worker's engine in one thread of its own, in the order in which
they were asked for, so that the event loop keeps turning and the engine needs no locks; encodes in
the same thread, in pieces whose size is bounded.
Who calls it: ``stream.gate`` and ``stream.owned_partition``.
What it must never know: when something may be sent; who owns a partition.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar

from core_ext.record_batch import DECOMPRESSED_BYTES_MAX, OutputRun, encode_output
from stream import topics
from stream.engine import Effects, Engine
from stream.engine_thread import EngineThread
from stream.logs import at

T = TypeVar("T")

log = logging.getLogger(__name__)

# A piece of states that is taken and encoded in one call. Answers that come meanwhile wait for it:
# a MiB took 10 to 25 ms of a busy machine, the small one takes one or two, which is for a partition
# that answers small runs. Each is a call and a request; where a backlog is worked off in large
# runs, small pieces would wait behind a run each.
PIECE_BYTES = 1 << 20
SMALL_PIECE_BYTES = 128 << 10
# Port events up to here are a small call: they take about a millisecond. Larger would keep the
# event loop from what else it does; with none, each answer would wait for two switches of threads.
SMALL_BYTES_MAX = 64 << 10
# The largest state that is written: with the batch around it no reader unfolds more, and no broker
# takes more (stream.topics). Two million events of a lot have that much, or 33,000 of the largest.
STATE_BYTES_MAX = DECOMPRESSED_BYTES_MAX - (64 << 10)
# Stands in place of a larger one, and is none that can be read: whoever takes the partition over
# finds its changelog unusable and makes the state again from the events (stream.recovery).
STATE_TOO_LARGE = b"too large"
# Pieces that are held until they may be written, of one partition.
HELD_BYTES_MAX = 16 << 20

#: Built batches with their record counts.
Batches = list[tuple[bytes, int]]
#: Topic (plain name), partition, batches.
Outgoing = tuple[str, int, Batches]


class Outcome(NamedTuple):
    """What one call had to say, encoded, and what it took, in seconds.

    ``said`` has, by partition, the batches of decisions, alerts and rejects.
    """

    effects: Effects
    said: Mapping[int, Mapping[str, Batches]]
    match_s: float
    encode_s: float


class States(NamedTuple):
    """A piece of a partition's changelog: states of units that changed, the partition's clock, and
    whether it is the last of what had changed when the first was taken."""

    states: Batches
    clock_us: int | None
    is_last: bool


def now_us() -> int:
    """The wall clock, microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def bounded(changed: OutputRun) -> OutputRun:
    """The same records, but for states that are too large to be written."""
    if changed.bytes_size <= STATE_BYTES_MAX:
        return changed
    kept = OutputRun()
    for key, value, partition, timestamp_ms in changed:
        if value is not None and len(value) > STATE_BYTES_MAX:
            log.error(
                "partition %d: the state of %r has %d bytes, more than the %d that a changelog "
                "takes: it is not written, and whoever takes the partition over reads its events "
                "from the first on; no event of it is lost",
                partition,
                key,
                len(value),
                STATE_BYTES_MAX,
                extra=at(partition=partition),
            )
            value = STATE_TOO_LARGE
        kept.append(key, value, partition, timestamp_ms)
    return kept


def encode_cells(
    cells: Iterable[tuple[str, OutputRun]], partition_counts: Mapping[str, int], compression: str
) -> list[Outgoing]:
    """Encodes records of topics (plain names), each to the partition of its key."""
    outgoing: list[Outgoing] = []
    for topic, output in cells:
        output.partition_by_key(partition_counts[topic])
        outgoing += [
            (topic, number, encode_output(output, number, compression=compression))
            for number in output.partitions()
        ]
    return outgoing


class EngineCalls:
    """Calls one engine.

    Args:
        engine: nobody else calls it.
        partition_counts: partitions of each topic, by plain name.
        compression: codec of all that is encoded.
    """

    def __init__(
        self, engine: Engine, partition_counts: Mapping[str, int], compression: str
    ) -> None:
        self.engine = engine
        self.partition_counts = partition_counts
        self._compression = compression
        self._thread = EngineThread()
        #: Of calls with something to say, whose callers have not gone on yet.
        self._speaking_count = 0

    @property
    def busy_seconds(self) -> float:
        """What the engine's thread has worked so far."""
        return self._thread.busy_seconds

    def stop(self) -> None:
        """Waits for the call that is being made; makes no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def quiet(self, call: Callable[[], T]) -> T:
        """Makes a call that has nothing to say."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def speaking(
        self, call: Callable[[], None], partition: int | None = None, *, is_small: bool = False
    ) -> Outcome:
        """Makes a call; returns what it had to say. ``partition`` is the one of port-events whose
        records it applies, None for customs' (whose rejects are left in ``effects``). A call that
        ``is_small`` is made at once, in the event loop, if the engine has nothing else to do.

        Calls return in the order in which they were made, and what their callers do before they
        wait for something else is done in that order."""
        # A call that is through may still have to be spoken of by whoever waits for it: a later
        # one must not be heard first.
        if is_small and not self._speaking_count and self._thread.is_idle:
            return self._thread.measured(self._speak, call, partition)
        self._speaking_count += 1
        try:
            return await self.quiet(partial(self._speak, call, partition))
        finally:
            self._speaking_count -= 1

    async def states(self, partition: int, bytes_max: int = PIECE_BYTES) -> States:
        """Takes some of what changed of a partition, ``bytes_max`` or a little more; ``is_last``
        ends the taking."""
        return await self.quiet(partial(self._states, partition, bytes_max))

    async def cells(self, partition: int) -> list[Outgoing]:
        """Takes the aggregates of a partition that changed since the last call."""
        return await self.quiet(partial(self._cells, partition))

    # ---- in the engine's thread ------------------------------------------------------------------

    def _speak(self, call: Callable[[], None], partition: int | None) -> Outcome:
        started = time.monotonic()
        call()
        effects = self.engine.take_effects()
        matched = time.monotonic()
        said: dict[int, dict[str, Batches]] = {}
        for topic, output in (
            (topics.DECISIONS, effects.decisions),
            (topics.ALERTS, effects.alerts),
            (topics.REJECTS, effects.rejects),
        ):
            if topic == topics.REJECTS and partition is None:
                continue
            for number in output.partitions():
                # A reject goes where its event was, whatever its key would say.
                owner = partition if topic == topics.REJECTS else number
                assert owner is not None
                said.setdefault(owner, {})[topic] = encode_output(
                    output, number, compression=self._compression
                )
        return Outcome(effects, said, matched - started, time.monotonic() - matched)

    def _states(self, partition: int, bytes_max: int) -> States:
        now = now_us()
        changed = bounded(self.engine.take_unit_changes(partition, now, bytes_max))
        batches = [
            batch
            for number in changed.partitions()
            for batch in encode_output(changed, number, compression=self._compression)
        ]
        return States(
            batches, self.engine.clock_us(partition), not self.engine.is_taking(partition)
        )

    def _cells(self, partition: int) -> list[Outgoing]:
        cells = self.engine.take_aggregates(partition, now_us())
        return encode_cells(
            zip(topics.AGGREGATES, cells, strict=True), self.partition_counts, self._compression
        )
