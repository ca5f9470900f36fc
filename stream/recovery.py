"""The state of a partition, back into the engine's memory after it changed hands.

What it is: the reading that ``stream.partition.TakeOver`` plans: the changelog of unit states; of
decisions, alerts and rejects the tail that the states do not tell of; and the last events. Where
there is no usable changelog, what there is of it is cleared away, and everything is read from the
first event on.
Who calls it: ``stream.owned_partition``, once the partition is fenced and before any of its events
is applied.
What it must never know: how the engine keeps its state; how what is said is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import TopicPartition

from core_ext.matcher import StateError
from core_ext.record_batch import RecordRun
from stream import topics
from stream.connection import client_options
from stream.engine_calls import EngineCalls
from stream.logs import at
from stream.moments import parse_date_time
from stream.partition import (
    EFFECTS,
    META_KEY,
    Extent,
    Meta,
    MetaError,
    TakeOver,
    decode_meta,
    nulls_for,
)
from stream.settings import Settings
from stream.topic_reader import (
    POLL_S,
    REQUEST_MS_MAX,
    RETRY_S,
    begins_and_ends,
    start_consumer,
)
from stream.transport import RunConsumer

log = logging.getLogger(__name__)

# How many of the last decisions are looked at first for the event that they answer; nearly always
# the very last one names it.
LOOKED_AT = 1000
# A fetch that finds nothing is one for a partition that has been read: not worth waiting for.
FETCH_WAIT_MS = 10
# A log that has records and gives none for so long is reported.
TELL_S = 10.0

# Raised when they are due, by a partition's clock.
CLOCK_ALERTS = frozenset(("OVERSTAYED", "TRANSIT_OVERDUE"))

#: Makes a call of the engine and sends what it has to say.
Speak = Callable[[Callable[[], None]], Awaitable[None]]
#: Writes null values for keys of the changelog; returns when the broker has them.
WriteNulls = Callable[[Iterable[bytes]], Awaitable[None]]
#: Called with how far the restore is, 0 to 1.
OnProgress = Callable[[float], None]


class Restorer:
    """Brings one partition back.

    Args:
        partition: its number.
        calls: of the engine, whose customs' side is whole and whose partition is empty.
        speak: for the calls that make up what was not said.
        write_nulls: for a changelog that can't be used.
        on_progress: told how far it is.
    """

    def __init__(
        self,
        settings: Settings,
        partition: int,
        calls: EngineCalls,
        speak: Speak,
        write_nulls: WriteNulls,
        on_progress: OnProgress,
    ) -> None:
        self._settings = settings
        self._partition = partition
        self._calls = calls
        self._speak = speak
        self._write_nulls = write_nulls
        self._on_progress = on_progress
        self._done = self._total = 0
        #: Timestamp of the newest event that was read.
        self.newest_ms = -1
        #: How far customs' records have been spoken for, by ``topic/partition``.
        self.spoken: dict[str, int] = {}
        #: When the latest alert by the clock of the tail was due.
        self.latest_due_us = 0
        #: What was read, for people.
        self.told = ""

    async def run(self, on_planned: Callable[[TakeOver], None]) -> TakeOver:
        """Reads all of it; ``on_planned`` is called before anything is said. Waits, with a message,
        while no broker answers.

        Raises TakeOverError if the logs do not hold what is needed.
        """
        number, engine = self._partition, self._calls.engine
        committed = asyncio.create_task(committed_offset(self._settings, number))
        consumer = await start_consumer(
            self._settings, f"gatejoin-restore-{number}", fetch_wait_ms=FETCH_WAIT_MS
        )
        try:
            extents = await self._extents(consumer)
            # All at once, since each assignment asks the broker for metadata. One at a time is
            # fetched, for what was fetched and is not taken holds up all others of its broker.
            parts = [self._topic_partition(name) for name in extents]
            consumer.assign(parts)
            for part in parts:
                consumer.seek(part, 0)
            consumer.pause(*parts)
            meta, why = await self._read_states(consumer, extents[topics.UNIT_STATES])
            if meta is None:
                await self._calls.quiet(partial(engine.forget_partition, number))
            take_over = TakeOver(
                number,
                meta,
                why,
                await committed,
                extents[topics.PORT_EVENTS],
                {name: extents[name] for name in EFFECTS},
                self._calls.partition_counts[topics.PORT_EVENTS],
            )
            if meta is None:
                log.warning(
                    "partition %d: %s; its state is made again from its events, decisions and "
                    "alerts from the first on",
                    number,
                    why,
                    extra=at(partition=number),
                )
                await self._clear(consumer, extents[topics.UNIT_STATES])
            take_over.answered(await self._last_answered(consumer, take_over))
            on_planned(take_over)
            if meta is not None:
                self.spoken.update(meta.spoken)
                if meta.clock_us is not None:
                    await self._calls.quiet(partial(engine.set_clock, number, meta.clock_us))
            await self._read_effects(consumer, take_over, extents)
            self._on_progress(1.0)
            self.told += f", {self._done} events, decisions, alerts and rejects"
            return take_over
        finally:
            committed.cancel()
            await consumer.stop()

    def _topic_partition(self, name: str) -> TopicPartition:
        return TopicPartition(self._settings.topic(name), self._partition)

    async def _extents(self, consumer: RunConsumer) -> dict[str, Extent]:
        names = (topics.PORT_EVENTS, topics.UNIT_STATES, *EFFECTS)
        parts = [self._topic_partition(name) for name in names]
        begins, ends = await begins_and_ends(consumer, parts)
        return {
            name: Extent(begins[part], ends[part]) for name, part in zip(names, parts, strict=True)
        }

    async def _read(
        self, consumer: RunConsumer, name: str, begin: int, end: int
    ) -> AsyncIterator[RecordRun]:
        """The runs of this partition of a topic from ``begin`` to just before ``end``."""
        if begin >= end:
            return
        part = self._topic_partition(name)
        position = begin
        moved_at = time.monotonic()
        consumer.seek(part, position)
        consumer.resume(part)
        while position < end:
            fetched = (await consumer.get_runs(POLL_S, [part])).get(part, ())
            if not fetched and time.monotonic() - moved_at > TELL_S:
                moved_at = time.monotonic()
                log.warning(
                    "partition %d of %s: no record since %.0f s, at offset %d of %d; waiting on",
                    self._partition, part.topic, TELL_S, position, end,
                    extra=at(partition=self._partition, topic=part.topic, offset=position),
                )  # fmt: skip
            for it in fetched:
                if position >= end:
                    break
                moved_at = time.monotonic()
                it.run.cut(end)
                # Before it is handed over: whoever takes it may split it.
                behind = it.run.last_offset + 1
                yield it.run
                self._done += behind - position
                position = behind
                if self._total:
                    self._on_progress(min(1.0, self._done / self._total))
        consumer.pause(part)
        consumer.seek(part, position)  # drops what was fetched meanwhile

    # ---- the changelog ---------------------------------------------------------------------------

    async def _read_states(self, consumer: RunConsumer, extent: Extent) -> tuple[Meta | None, str]:
        """Brings the units back; returns the last meta record, or None and why there is none."""
        if extent.begin > 0:
            return None, f"its changelog begins at offset {extent.begin}, not at 0"
        number, engine, quiet = self._partition, self._calls.engine, self._calls.quiet
        found: tuple[bytes | None, int] | None = None
        units, started, wrong = 0, time.monotonic(), ""
        self._done, self._total = 0, 2 * extent.end  # the other half is for what follows
        async for read in self._read(consumer, topics.UNIT_STATES, 0, extent.end):
            run, begin = read, read.last_null(META_KEY) + 1
            if begin:  # what is before was cleared away
                await quiet(partial(engine.forget_partition, number))
                found, units, wrong = None, 0, ""
                if begin > run.last_offset:
                    continue
                run = run.split(begin)
            if wrong:
                continue
            try:
                units += await quiet(partial(engine.restore_units, number, run))
            except StateError as error:
                wrong = f"its changelog can't be used ({error})"
            found = run.last_value(META_KEY) or found
        if wrong:
            return None, wrong
        if found is None:
            return None, "its changelog has nothing yet"
        value, offset = found
        try:
            meta = decode_meta(value)
        except MetaError as error:
            return None, f"its changelog can't be used (record {META_KEY!r} at {offset}: {error})"
        self.told = f"{units} states of units read in {time.monotonic() - started:.1f} s"
        return meta, ""

    async def _clear(self, consumer: RunConsumer, extent: Extent) -> None:
        """Clears a changelog that can't be used, if it has anything."""
        is_first = True
        self._done, self._total = 0, 2 * extent.end
        async for run in self._read(consumer, topics.UNIT_STATES, extent.begin, extent.end):
            if len(run):
                await self._write_nulls(nulls_for(run, is_first=is_first))
                is_first = False
        if not is_first:
            await self._write_nulls((META_KEY,))

    # ---- the rest --------------------------------------------------------------------------------

    async def _last_answered(self, consumer: RunConsumer, take_over: TakeOver) -> int:
        """Offset of the last event that a decision of the tail names, -1 if none does."""
        port_events = self._settings.topic(topics.PORT_EVENTS)
        begin, end = take_over.tails[topics.DECISIONS], take_over.outputs[topics.DECISIONS].end
        look_back = LOOKED_AT
        while begin < end:
            position = max(begin, end - look_back)
            last = -1
            async for run in self._read(consumer, topics.DECISIONS, position, end):
                for _, value, _, _ in run:
                    trigger = json.loads(value or b"{}").get("trigger") or {}
                    if trigger.get("topic") == port_events:
                        last = max(last, trigger["offset"])
            if last >= 0 or position == begin:
                return last
            end = position  # all of these were about customs' records
            look_back *= 8
        return -1

    async def _read_effects(
        self, consumer: RunConsumer, take_over: TakeOver, extents: dict[str, Extent]
    ) -> None:
        number, engine, quiet = self._partition, self._calls.engine, self._calls.quiet
        tails = {name: (take_over.tails[name], extents[name].end) for name in EFFECTS}
        self._done = (self._done + 1) // 2  # what is left of the first half
        self._total = self._done + take_over.record_count()
        async for run in self._read(consumer, topics.ALERTS, *tails[topics.ALERTS]):
            await quiet(partial(engine.suppress_alerts, number, run))
            self._note_due(run)
        async for run in self._read(consumer, topics.REJECTS, *tails[topics.REJECTS]):
            await quiet(partial(engine.suppress_rejects, number, run))
            self._note_spoken(run)
        begin = max(take_over.events_from, extents[topics.PORT_EVENTS].begin)
        async for run in self._read(consumer, topics.PORT_EVENTS, begin, take_over.events_until):
            self.newest_ms = max(self.newest_ms, run.last_timestamp_ms)
            await self._apply_again(run, take_over.silent_until)
        async for run in self._read(consumer, topics.ALERTS, *tails[topics.ALERTS]):
            await quiet(partial(engine.restore_alerts, run))
        async for run in self._read(consumer, topics.DECISIONS, *tails[topics.DECISIONS]):
            await self._speak(partial(engine.restore_decisions, run))

    async def _apply_again(self, run: RecordRun, silent_until: int) -> None:
        number, engine = self._partition, self._calls.engine
        if run.base_offset < silent_until:
            rest = run.split(silent_until) if run.last_offset >= silent_until else None
            await self._calls.quiet(partial(engine.restore_events, number, run, silent=True))
            if rest is None:
                return
            run = rest
        await self._speak(partial(engine.restore_events, number, run, silent=False))

    def _note_due(self, run: RecordRun) -> None:
        """Notes when alerts by the clock were due; they may be raised again until then."""
        for _, value, _, _ in run:
            alert = json.loads(value or b"{}")
            if alert.get("type") in CLOCK_ALERTS:
                self.latest_due_us = max(
                    self.latest_due_us, parse_date_time(alert["raisedDateTime"])
                )

    def _note_spoken(self, run: RecordRun) -> None:
        """Notes which of customs' records have a reject."""
        customs = {self._settings.topic(name) for name in topics.CUSTOMS}
        for _, value, _, _ in run:
            source = json.loads(value or b"{}").get("source") or {}
            if source.get("topic") in customs:
                name = f"{source['topic']}/{source['partition']}"
                self.spoken[name] = max(source["offset"] + 1, self.spoken.get(name, 0))


async def committed_offset(settings: Settings, partition: int) -> int:
    """The first offset of port-events that is not committed, 0 if none ever was.

    Waits, with a message, while no broker answers.
    """
    topic_partition = TopicPartition(settings.topic(topics.PORT_EVENTS), partition)
    while True:
        admin = AIOKafkaAdminClient(
            client_id="gatejoin-offsets",
            request_timeout_ms=REQUEST_MS_MAX,
            **client_options(settings),
        )
        try:
            await admin.start()
            offsets = await admin.list_consumer_group_offsets(
                settings.group_id, partitions=[topic_partition]
            )
            if topic_partition not in offsets:  # what aiokafka makes of the broker's error
                raise GroupCoordinatorNotAvailableError(settings.group_id)
            return max(0, int(offsets[topic_partition].offset))
        except KafkaError as error:
            log.warning("no word of committed offsets yet (%r); waiting", error)
            await asyncio.sleep(RETRY_S)
        finally:
            await admin.close()
