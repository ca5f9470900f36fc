"""One partition of port-events that this worker answers for, from its take-over to its loss.

What it is: the I/O around ``stream.partition``: takes the partition over, applies its runs, sends
what they cause, commits. Its states are those of ``/readyz``.
Who calls it: ``stream.gate`` makes one for each partition that the group assigns.
What it must never know: what a record means; how the group assigns.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

from faust.types import EventT

from core_ext.record_batch import OutputRun, RecordRun, encode_output
from stream import topics
from stream.customs_rejects import CustomsRejects
from stream.emission import Emission, FencedError, Writer
from stream.engine_calls import (
    HELD_BYTES_MAX,
    PIECE_BYTES,
    SMALL_BYTES_MAX,
    SMALL_PIECE_BYTES,
    Batches,
    EngineCalls,
    Outcome,
    now_us,
)
from stream.fence import RENEW_S, Fence
from stream.logs import at, passes_quarter
from stream.metrics import Metrics
from stream.partition import (
    META_KEY,
    UNCHANGED_COMMITS,
    Progress,
    TakeOver,
    TakeOverError,
    encode_meta,
)
from stream.recovery import Restorer
from stream.settings import Settings
from stream.transport import PartitionRun

log = logging.getLogger(__name__)

# With one outcome under way and one behind it the broker never waits; with more, small outcomes
# queue up, and an answer waits for all before it. What comes meanwhile is applied together and
# leaves as one batch, so the higher the load the larger the batches.
UNANSWERED_MAX = 2
# Runs that wait, and that are applied together.
WAITING_BYTES_MAX = 4 << 20
# A partition whose newest record is older than this carries history, which has its own clock.
LIVE_S = 86_400.0
# Whoever owns this partition publishes the rejects of customs' records.
SPEAKER_PARTITION = 0
DAY_US = 86_400_000_000

Acknowledgements = list["asyncio.Future[int]"]


class Tools(NamedTuple):
    """What all partitions of a worker share."""

    settings: Settings
    calls: EngineCalls
    emission: Emission
    fence: Fence
    metrics: Metrics
    customs_rejects: CustomsRejects
    #: Set when customs' side is whole.
    customs_loaded: asyncio.Event
    #: Returns when customs' side is as new as it was at the broker at the call.
    customs_caught_up: Callable[[], Awaitable[None]]
    #: Room for a few commits of different partitions at once, which bounds what is held of states.
    committing: asyncio.Semaphore
    #: Called when something fails for good.
    crash: Callable[[BaseException], Awaitable[None]]
    #: Called when another worker has taken a partition over.
    fenced: Callable[[int], None]


def _let_go(event: EventT[PartitionRun]) -> None:
    """Drops a run that has been applied: its acknowledgement waits and must not hold its bytes."""
    holder: Any = event
    holder.value = holder.message.value = None


def _quiet(done: asyncio.Future[Any]) -> None:
    """Whoever awaits it hears of a failure first; it must not be reported a second time."""
    if not done.cancelled():
        done.exception()


class OwnedPartition:
    """A partition, to be started with ``start`` and let go of with ``lose``."""

    def __init__(self, number: int, tools: Tools) -> None:
        self.number = number
        self._tools = tools
        #: One of stream.metric_catalogue.PARTITION_STATES.
        self.state = "assigned"
        #: How far its state is back, 0 to 1.
        self.restored = 0.0
        self.is_lost = False
        self.writer: Writer | None = None
        self.progress: Progress | None = None
        #: Behind the last event whose answer the broker has.
        self.answered_offset = -1
        self.high_water = -1
        #: Where the partition ends, as the broker said when it was last asked.
        self.end_offset = -1
        self.newest_ms = -1
        #: Runs that came while earlier ones were under way; they are applied together.
        self.waiting: collections.deque[EventT[PartitionRun]] = collections.deque()
        self.waiting_bytes = 0
        #: When the runs of each outcome were taken up whose decisions the broker has not
        #: acknowledged.
        self.taken_at: collections.deque[float] = collections.deque()
        self._take_over: TakeOver | None = None
        self._latest_due_us = 0
        #: Set when events may be applied: the state is back, or the partition is lost.
        self._decided = asyncio.Event()
        self._answering = False
        #: Whether the last runs that were applied together were a small call.
        self._is_small = True
        #: Runs that were applied, with the offset behind each, until a meta record covers them.
        self._applied: collections.deque[tuple[int, EventT[PartitionRun]]] = collections.deque()
        #: Set when there is something to commit, and whenever something of the above gets less.
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()
        #: One commit of this partition at a time.
        self._committing = asyncio.Lock()
        self._renewed_at = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- coming and going ------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether its state is back and it answers."""
        return self.state == "ready" and not self.is_lost

    @property
    def marks(self) -> tuple[float, ...]:
        """All that changes while it gets on."""
        committed = self.progress.committed_offset if self.progress is not None else -1
        return self.restored, self.answered_offset, committed

    def is_live(self, now_s: float) -> bool:
        """Whether everything has been read and the newest record is of today."""
        return (
            self.is_ready
            and self.progress is not None
            and self.progress.next_offset >= self.high_water >= 0
            and now_s - self.newest_ms / 1000 < LIVE_S
        )

    def start(self) -> None:
        """Begins to take it over."""
        self._run(self._take())

    def lose(self) -> None:
        """Lets go of it; nothing more is sent."""
        if self.is_lost:
            return
        self.is_lost = True
        for task in self._tasks:
            task.cancel()
        if self.writer is not None:
            self._tools.emission.drop(self.writer)
        self.waiting.clear()
        self._applied.clear()
        self._decided.set()
        self._moved.set()

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            if not self.is_lost:  # else it was what waited for the broker that was cancelled
                raise
        except FencedError:
            self._fenced()
        except Exception as error:
            if not self.is_lost:
                await self._tools.crash(error)

    def _fenced(self) -> None:
        if not self.is_lost:
            log.error(
                "partition %d has been taken over by another worker: nothing more is written for "
                "it here",
                self.number,
                extra=at(partition=self.number),
            )
            self._tools.fenced(self.number)

    def _enter(self, state: str) -> None:
        self.state = state
        told = state.replace("_", " ")
        log.info("partition %d: %s", self.number, told, extra=at(partition=self.number))

    def _outputs(self) -> list[tuple[str, int]]:
        """Every partition of a topic that is written to on behalf of this one."""
        settings, counts = self._tools.settings, self._tools.calls.partition_counts
        own = [topics.DECISIONS, topics.ALERTS, topics.REJECTS, topics.UNIT_STATES]
        outputs = [(settings.topic(topic), self.number) for topic in own]
        shared = list(topics.AGGREGATES)
        if self.number == SPEAKER_PARTITION:
            shared.append(topics.ALERTS)  # of silent operators, which have no unit
        outputs += [
            (settings.topic(topic), number) for topic in shared for number in range(counts[topic])
        ]
        return list(dict.fromkeys(outputs))

    async def _take(self) -> None:
        tools = self._tools
        started = time.monotonic()
        self._enter("assigned")
        if not tools.customs_loaded.is_set():
            self._enter("loading_customs")
        await tools.customs_loaded.wait()
        self._enter("fencing")
        name = f"{tools.settings.group_id}-{self.number}"
        self.writer = await tools.fence.take(name, self._outputs())
        self.writer.on_fenced = self._fenced
        self._enter("restoring")
        await tools.customs_caught_up()
        restorer = Restorer(
            tools.settings,
            self.number,
            tools.calls,
            self._speak,
            self._write_nulls,
            self._set_share,
        )
        self._take_over = await restorer.run(self._begin)
        assert self.progress is not None
        self.newest_ms = restorer.newest_ms
        self._latest_due_us = restorer.latest_due_us
        self._enter("weighing")
        engine = tools.calls.engine
        await self._speak(partial(engine.finish_restore, self.number, now_us()))
        if self.number == SPEAKER_PARTITION:
            tools.customs_rejects.start_speaking(restorer.spoken, self._say_rejects)
        self.answered_offset = self.progress.next_offset
        self._enter("ready")
        log.info(
            "partition %d: answers from offset %d on; %s, %.1f s",
            self.number,
            self.progress.next_offset,
            restorer.told,
            time.monotonic() - started,
            extra=at(partition=self.number, offset=self.progress.next_offset),
        )
        self._decided.set()
        self._changed.set()
        self._run(self._commit_for_ever())

    def _set_share(self, share: float) -> None:
        if passes_quarter(self.restored, share):
            percent = 100 * share
            extra = at(partition=self.number)
            log.info("partition %d: restoring, %.0f %%", self.number, percent, extra=extra)
        self.restored = share

    def _begin(self, take_over: TakeOver) -> None:
        self.progress = take_over.progress()

    async def _write_nulls(self, keys: Iterable[bytes]) -> None:
        records, timestamp_ms = OutputRun(), now_us() // 1000
        for key in keys:
            records.append(key, None, self.number, timestamp_ms)
        for acknowledgement in self._submit(
            topics.UNIT_STATES, encode_output(records, self.number), (), is_bulk=True
        ):
            await acknowledgement

    # ---- what it has to say ----------------------------------------------------------------------

    async def _speak(self, call: Callable[[], None]) -> None:
        """Makes a call of the engine and sends what it had to say."""
        progress = self.progress
        assert progress is not None
        ticket = progress.begun()
        outcome = await self._tools.calls.speaking(call, self.number)
        progress.applied(ticket)
        self.say(ticket, outcome.said.get(self.number, {}))

    def say(
        self, ticket: int, said: Mapping[str, Batches], told: Callable[[], None] | None = None
    ) -> None:
        """Sends what a call had to say: decisions, and behind them alerts and rejects. ``told`` is
        called when the broker has the decisions."""
        if self.is_lost:
            return
        decisions = self._submit(topics.DECISIONS, said.get(topics.DECISIONS, []), ())
        others = {
            topic: self._submit(topic, said[topic], decisions[-1:])
            for topic in (topics.ALERTS, topics.REJECTS)
            if topic in said
        }
        if said:
            self._changed.set()
        if not (decisions or others):
            self._acknowledged(ticket, {})
            if told is not None:
                told()
            return
        self._run(self._await_said(ticket, decisions, others, told))

    async def _await_said(
        self,
        ticket: int,
        decisions: Acknowledgements,
        others: Mapping[str, Acknowledgements],
        told: Callable[[], None] | None,
    ) -> None:
        ends = {}
        if decisions:
            # The last of a lane is acknowledged last.
            ends[topics.DECISIONS] = await decisions[-1]
        if told is not None:
            told()
        for topic, acknowledgements in others.items():
            ends[topic] = await acknowledgements[-1]
        self._acknowledged(ticket, ends)

    def _acknowledged(self, ticket: int, ends: Mapping[str, int]) -> None:
        if self.progress is not None and not self.is_lost:
            self.progress.acknowledged(ticket, ends)
            self._moved.set()

    def _say_rejects(self, batches: Batches, acknowledged: Callable[[], None]) -> None:
        """Sends rejects of customs' records; ``acknowledged`` is called when the broker has them,
        and never if the partition is lost before."""
        if self.progress is None or self.is_lost:
            return
        ticket = self.progress.begun()
        self.progress.applied(ticket)
        self._changed.set()
        submitted = self._submit(topics.REJECTS, batches, ())
        self._run(self._await_rejects(ticket, submitted, acknowledged))

    async def _await_rejects(
        self, ticket: int, submitted: Acknowledgements, acknowledged: Callable[[], None]
    ) -> None:
        end_offset = await submitted[-1]
        acknowledged()
        self._acknowledged(ticket, {topics.REJECTS: end_offset})

    def _submit(
        self,
        topic: str,
        batches: Batches,
        after: Any,
        *,
        number: int | None = None,
        is_bulk: bool = False,
    ) -> Acknowledgements:
        if not batches:
            return []
        tools = self._tools
        tools.metrics.emitted_bytes.labels(topic).inc(sum(len(batch) for batch, _ in batches))
        acknowledgements = tools.emission.submit(
            tools.settings.topic(topic),
            self.number if number is None else number,
            batches,
            after,
            writer=self.writer,
            is_bulk=is_bulk,
        )
        for acknowledgement in acknowledgements:
            acknowledgement.add_done_callback(_quiet)
        return acknowledgements

    def submit_cells(self, topic: str, number: int, batches: Batches) -> Acknowledgements:
        """Sends records that belong to no event, as this partition's writer."""
        return self._submit(topic, batches, (), number=number, is_bulk=True)

    # ---- events ----------------------------------------------------------------------------------

    async def answer(self, event: EventT[PartitionRun]) -> None:
        """Takes a run of port events; it is acknowledged when a commit covers it.

        Returns when the next run may come, which is before the run is applied.
        """
        fetched = cast(PartitionRun, event.value)
        self.high_water = max(self.high_water, fetched.high_water)
        if self.answered_offset < 0:
            self.answered_offset = fetched.run.base_offset
        await self._decided.wait()
        while self.waiting_bytes >= WAITING_BYTES_MAX and not self.is_lost:
            await self._wait_moved()
        if self.is_lost:
            return
        self.waiting.append(event)
        self.waiting_bytes += fetched.run.batch_bytes
        if not self._answering:
            self._answering = True
            self._run(self._answer_waiting())

    async def _wait_moved(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    async def _answer_waiting(self) -> None:
        """Applies what waits until nothing does."""
        try:
            while self.waiting and not self.is_lost:
                if len(self.taken_at) >= UNANSWERED_MAX:
                    await self._wait_moved()
                    continue
                await self._tools.emission.wait_room()
                if not self.is_lost:
                    await self._answer_together()
        finally:
            # In the same step that saw nothing waiting: the next run to come starts anew.
            self._answering = False

    async def _answer_together(self) -> None:
        progress, metrics, taken_at = self.progress, self._tools.metrics, time.monotonic()
        assert progress is not None
        events = list(self.waiting)
        runs: list[RecordRun] = []
        self.waiting.clear()
        self.waiting_bytes = 0
        self._moved.set()
        next_offset = progress.next_offset
        for event in events:
            fetched = cast(PartitionRun, event.value)
            metrics.batches.inc(fetched.run.batch_count)
            metrics.fetched_bytes.inc(fetched.run.batch_bytes)
            metrics.stage.labels("fetch").observe(taken_at - fetched.fetched_at)
            metrics.stage.labels("decode").observe(fetched.decode_seconds)
            run = fetched.run
            if run.base_offset > next_offset:
                raise TakeOverError(
                    f"partition {self.number} of port-events: the broker gave offset "
                    f"{run.base_offset} where {next_offset} was due; events between have been "
                    "deleted: set retention.ms=-1 and bring the topic back from a copy"
                )
            self._applied.append((run.last_offset + 1, event))
            if run.last_offset < next_offset:
                continue  # applied at take-over
            runs.append(run if run.base_offset == next_offset else run.split(next_offset))
            next_offset = runs[-1].last_offset + 1
        metrics.runs.inc(len(runs))
        self._changed.set()
        if not runs:
            return
        engine = self._tools.calls.engine

        def apply() -> None:
            for run in runs:
                engine.apply_events(self.number, run, now_us())

        ticket = progress.begun()
        self.taken_at.append(taken_at)
        self._is_small = sum(run.batch_bytes for run in runs) <= SMALL_BYTES_MAX
        outcome = await self._tools.calls.speaking(apply, self.number, is_small=self._is_small)
        if self.is_lost:
            return
        progress.applied(ticket, next_offset)
        self._changed.set()  # a commit that began meanwhile does not cover it
        self.newest_ms = max(self.newest_ms, *(run.last_timestamp_ms for run in runs))
        metrics.stage.labels("match").observe(outcome.match_s)
        runs.clear()
        for event in events:
            _let_go(event)
        self.say(ticket, outcome.said.get(self.number, {}), self._told(outcome, next_offset))
        if self._take_over is not None:
            await self._leave_tail(self._take_over)

    def _told(self, outcome: Outcome, next_offset: int) -> Callable[[], None]:
        submitted_at = time.monotonic()
        metrics, decisions, encode_s = (
            self._tools.metrics,
            outcome.effects.decisions,
            outcome.encode_s,
        )

        def told() -> None:
            metrics.stage.labels("emit").observe(encode_s + time.monotonic() - submitted_at)
            metrics.answers.observe_run(decisions, time.time_ns() // 1_000_000)
            self.answered_offset = max(self.answered_offset, next_offset)
            self.taken_at.popleft()
            self._moved.set()

        return told

    async def _leave_tail(self, take_over: TakeOver) -> None:
        """Forgets what the former owner had said, once it can't be said again."""
        assert self.progress is not None
        engine = self._tools.calls.engine
        clock_us = await self._tools.calls.quiet(partial(engine.clock_us, self.number))
        if take_over.is_past_tail(self.progress.next_offset, clock_us, self._latest_due_us):
            self._take_over = None
            self.progress.leave_tail()
            await self._tools.calls.quiet(partial(engine.suppressed_clear, self.number))

    async def tick(self, now_s: float) -> None:
        """Does what is due by the clock; about once a second, at ``now_s`` since 1970."""
        await self._guard(self._tick(now_s))

    async def _tick(self, now_s: float) -> None:
        if self.is_live(now_s):
            await self._advance_clock()
        if self.is_ready:
            await self._retire()
        if self.is_ready and time.monotonic() - self._renewed_at > RENEW_S:
            assert self.writer is not None
            self._renewed_at = time.monotonic()
            await self._tools.fence.renew(self.writer, self._outputs())

    async def _retire(self) -> None:
        """Forgets some of the units whose visits have been over for long enough."""
        days = self._tools.settings.visit_retention_days
        engine, number = self._tools.calls.engine, self.number
        if not days or self.progress is None or not self.progress.may_forget:
            return

        def retire() -> int:
            # The events' own clock, or a history that is read late would be forgotten at once; not
            # ahead of the wall's, or one record with a wrong timestamp would empty the memory.
            clock_us = min(engine.clock_us(number) or 0, now_us())
            return engine.retire(number, clock_us - days * DAY_US, UNCHANGED_COMMITS)

        if await self._tools.calls.quiet(retire):
            self._changed.set()

    async def _advance_clock(self) -> None:
        """Moves the clock on where no record does, and raises what is due."""
        engine = self._tools.calls.engine
        await self._speak(partial(engine.advance_clock, self.number, now_us()))
        if self._take_over is not None:
            await self._leave_tail(self._take_over)

    # ---- commits ---------------------------------------------------------------------------------

    async def _commit_for_ever(self) -> None:
        committed_at = time.monotonic()
        while True:
            await self._changed.wait()
            pause_s = committed_at + self._tools.settings.commit_interval_s - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            committed_at = time.monotonic()
            await self.commit()

    async def commit(self) -> None:
        """Writes what changed and how far that reaches, then acknowledges what is covered."""
        async with self._committing, self._tools.committing:
            if not self.is_lost and self._changed.is_set():
                await self._commit()

    async def _commit(self) -> None:
        tools, progress = self._tools, self.progress
        assert progress is not None
        self._changed.clear()
        progress.begin_commit()
        spoken: Mapping[str, int] = {}
        if self.number == SPEAKER_PARTITION:
            spoken = tools.customs_rejects.spoken()
        is_last = False
        while not is_last:
            states: Batches = []
            held_bytes = 0
            while not is_last and held_bytes < HELD_BYTES_MAX:
                bytes_max = SMALL_PIECE_BYTES if self._is_small else PIECE_BYTES
                piece = await tools.calls.states(self.number, bytes_max)
                states += piece.states
                held_bytes += sum(len(batch) for batch, _ in piece.states)
                is_last = piece.is_last
            cells = await tools.calls.cells(self.number)
            await self._wait_may_write(progress.last_ticket)
            # Cells before states: a state that is written tells its cells no more.
            written = [
                acknowledgement for cell in cells for acknowledgement in self.submit_cells(*cell)
            ]
            written += self._submit(topics.UNIT_STATES, states, written, is_bulk=True)
            for acknowledgement in written:
                await acknowledgement
        await self._wait_may_write(progress.last_ticket)
        counts = tools.calls.partition_counts
        meta = progress.meta(piece.clock_us, counts[topics.PORT_EVENTS], spoken)
        record = OutputRun()
        record.append(META_KEY, encode_meta(meta), self.number, now_us() // 1000)
        for acknowledgement in self._submit(
            topics.UNIT_STATES, encode_output(record, self.number), (), is_bulk=True
        ):
            await acknowledgement
        offset = progress.end_commit()
        while self._applied and self._applied[0][0] <= offset:
            self._applied.popleft()[1].ack()

    async def _wait_may_write(self, ticket: int) -> None:
        assert self.progress is not None
        while not self.progress.may_write(ticket):
            await self._wait_moved()
