"""The worker's one engine and what stands around it.

What it is: a service that holds the engine, feeds it (customs' side, restored partitions, port
events), publishes what it has to say and acknowledges a run when that is safe with the broker.
Who calls it: ``stream.app`` starts it, ``stream.agents`` hands it the runs of port events.
What it must never know: what a record means; how records are fetched or sent.

All calls of the engine are made in one thread of their own, in the order in which they were asked
for, so the event loop keeps turning and the engine needs no locks. What a call had to say is
submitted as soon as the call returns, in the same order.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.types import EventT
from mode import Service

from core_ext.record_batch import OutputRun, RecordRun, encode_output
from stream import topics
from stream.aggregates import Aggregates, Outgoing, encode_cells
from stream.connection import client_options
from stream.customs_feed import CustomsFeed
from stream.customs_rejects import HELD_BYTES_MAX, CustomsRejects
from stream.emission import Emission
from stream.engine import Effects, Engine
from stream.engine_thread import EngineThread
from stream.gc_pauses import GcPauses
from stream.loop_lag import watch_loop
from stream.metric_collectors import PartitionFigures
from stream.metrics import Metrics
from stream.policy import load_policy
from stream.recovery import restore
from stream.settings import Settings
from stream.silence import SilenceWatch
from stream.topic_reader import RETRY_S
from stream.transport import PartitionRun
from stream.web import Web

log = logging.getLogger(__name__)

# Of one partition. With one outcome under way and one behind it the broker never waits; with more,
# small outcomes queue up, and an answer waits for all before it. What comes meanwhile is applied
# together and leaves as one batch, so the higher the load the larger the batches.
UNANSWERED_MAX = 2
# Runs of one partition that wait, and that are applied together.
WAITING_BYTES_MAX = 4 << 20
# How often alerts by the clock are looked for where no record moves the clock.
CLOCK_S = 1.0
# Whoever owns this partition of port-events publishes the rejects of customs' records.
SPEAKER_PARTITION = 0
# How often operators and the nation are summed up for the metrics; takes the engine's thread
# milliseconds.
FIGURES_S = 5.0
# A partition whose newest record is older than this carries history, which has its own clock.
LIVE_S = 86_400.0
# How long the last aggregates may take when the worker stops. What was not published then is read
# again, or published when the partition is taken over.
LAST_AGGREGATES_S_MAX = 5.0


class OwnedPartition:
    """A partition of port-events that this worker answers for."""

    def __init__(self) -> None:
        #: Set when events may be applied: the state is back, or the partition is lost.
        self.decided = asyncio.Event()
        self.is_restored = False
        self.is_lost = False
        self.restored = 0.0  # how far its state is back, 0 to 1
        self.restoring: asyncio.Task[None] | None = None
        #: Behind the last event that was applied, and the last whose answer the broker has.
        self.next_offset = -1
        self.answered_offset = -1
        self.high_water = -1
        self.newest_ms = -1
        #: Runs that came while earlier ones were under way; they are applied together.
        self.waiting: collections.deque[EventT[PartitionRun]] = collections.deque()
        self.waiting_bytes = 0
        self.answering: asyncio.Task[None] | None = None
        #: Outcomes that the broker has not acknowledged, and when the runs of each were taken up.
        self.unanswered = 0
        self.taken_at: collections.deque[float] = collections.deque()
        #: Set whenever waiting runs are taken, an outcome is acknowledged, the partition is lost.
        self.moved = asyncio.Event()

    async def wait_moved(self) -> None:
        """Waits for the next time that something of the above gets less."""
        self.moved.clear()
        await self.moved.wait()

    def is_live(self, now_s: float) -> bool:
        """Whether everything has been read and the newest record is of today."""
        return (
            self.is_restored
            and self.next_offset >= self.high_water >= 0
            and now_s - self.newest_ms / 1000 < LIVE_S
        )


class Outcome:
    """What one call of the engine had to say, encoded; and what it took, in seconds."""

    __slots__ = ("effects", "encode_s", "match_s", "outgoing")

    def __init__(
        self,
        effects: Effects,
        outgoing: list[tuple[str, int, list[tuple[bytes, int]]]],
        match_s: float,
        encode_s: float,
    ) -> None:
        self.effects = effects
        self.outgoing = outgoing
        self.match_s = match_s
        self.encode_s = encode_s


def now_us() -> int:
    """The wall clock, microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def _let_go(event: EventT[PartitionRun]) -> None:
    """Drops a run that has been applied: its acknowledgement waits and must not hold its bytes."""
    holder: Any = event
    holder.value = holder.message.value = None


class Gate(Service):
    """One worker's engine, from its first record to its last."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self.settings = settings
        self.metrics = Metrics()
        self.partitions: dict[int, OwnedPartition] = {}
        self.partition_counts: dict[str, int] = {}
        self.emission = Emission(
            client_options(settings),
            client_id="gatejoin-worker",
            unacknowledged_bytes_max=settings.unacknowledged_mb_max << 20,
        )
        self.web = Web(
            settings.web_host,
            settings.web_port,
            exposition=self._exposition,
            unready=self.unready,
        )
        self._engine: Engine | None = None
        self._feed: CustomsFeed | None = None
        self._customs_rejects: CustomsRejects | None = None
        self._aggregates = Aggregates(self._take_cells, self._submit_cells)
        self._customs_progress = dict.fromkeys(topics.CUSTOMS, 0.0)
        self._has_assignment = False
        self._member_id = ""
        self._thread = EngineThread()
        self._gc_pauses = GcPauses(self.metrics.observe_gc)
        self._acknowledging: set[asyncio.Task[None]] = set()

    # ---- start and stop ----

    async def prepare(self) -> None:
        """Loads the rules, sees to the topics, makes the engine; before anything is subscribed.

        Waits, with a message, while no broker answers. Raises PolicyError, TopicsError or WebError
        with one line that says what to do.
        """
        policy = load_policy(self.settings.rules or None)
        url = await self.web.start()
        log.info("metrics on %s/metrics, readiness on %s/readyz", url, url)
        self.partition_counts = await topics.ensure_topics(self.settings)
        names = [self.settings.topic(name) for name in (*topics.CUSTOMS, topics.PORT_EVENTS)]
        self._engine = engine = Engine(policy, self.partition_counts[topics.PORT_EVENTS], names)
        self.metrics.attach_engine(engine.counters, engine.sizes, policy)
        self.metrics.attach_worker(
            self._partition_figures, self._queue_fills, lambda: self._thread.busy_seconds
        )
        self.metrics.partitions.set(self.partition_counts[topics.PORT_EVENTS])
        self._gc_pauses.start()
        self._customs_rejects = CustomsRejects(self.settings, self.emission, self.partition_counts)
        self._feed = CustomsFeed(
            self.settings, self.partition_counts, self._apply_customs, self._customs_moved
        )
        while True:
            try:
                await self.emission.start()
            except KafkaError as error:
                log.warning("no broker at %s yet (%s); waiting", self.settings.broker, error)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def on_stop(self) -> None:
        """Lets what is under way be acknowledged, within bounds; then lets go of everything."""
        with contextlib.suppress(TimeoutError, KafkaError):
            async with asyncio.timeout(LAST_AGGREGATES_S_MAX):
                await self._aggregates.write()
        for owned in self.partitions.values():
            self._lose(owned)
        if self._customs_rejects is not None:
            await self._customs_rejects.stop_speaking()
        await self.emission.stop()
        for task in list(self._acknowledging):
            task.cancel()
        await self.web.stop()
        self._gc_pauses.stop()
        self._thread.shutdown(wait=True)

    @Service.task
    async def _follow_customs(self) -> None:
        feed = self._started_feed()
        try:
            await feed.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self.crash(error)

    @Service.task
    async def _publish_aggregates(self) -> None:
        try:
            await self._aggregates.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self.crash(error)

    @Service.task
    async def _watch_silence(self) -> None:
        if not self.settings.silent_operator_minutes:
            return
        watch = SilenceWatch(
            self.settings,
            self.partition_counts,
            self._submit_cells,
            self._is_speaker,
            self.metrics.silent_operators,
        )
        try:
            await watch.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self.crash(error)

    @Service.task
    async def _turn_clock(self) -> None:
        async for _ in self.itertimer(CLOCK_S, name="clock"):
            now_s = time.time()
            live = [number for number, owned in self.partitions.items() if owned.is_live(now_s)]
            for number in live:
                engine = self._started_engine()
                self._submit(await self._in_engine(partial(engine.advance_clock, number, now_us())))

    @Service.task
    async def _watch_loop(self) -> None:
        await watch_loop(self.metrics.loop_lag.observe)

    @Service.task
    async def _sum_up(self) -> None:
        async for _ in self.itertimer(FIGURES_S, name="figures"):
            await self._in_thread(self._take_figures)

    # ---- the group's assignments ----

    async def assign(self, assigned: Iterable[int], member_id: str) -> None:
        """Takes the partitions that are this worker's from now on, and drops all others.

        State that is in memory stays, unless the group had excluded this worker meanwhile (its
        ``member_id`` is a new one): then others may have answered, and it is read again.
        """
        wanted = set(assigned)
        was_excluded = member_id != self._member_id
        self._member_id = member_id
        self._has_assignment = True
        for number in list(self.partitions):
            if number not in wanted or was_excluded:
                await self._drop(number)
        for number in sorted(wanted - self.partitions.keys()):
            owned = self.partitions[number] = OwnedPartition()
            owned.restoring = asyncio.create_task(self._restore(number, owned))

    async def _drop(self, number: int) -> None:
        self._lose(self.partitions.pop(number))
        if number == SPEAKER_PARTITION:
            await self._started_rejects().stop_speaking()
        await self._in_thread(partial(self._started_engine().forget_partition, number))

    def _lose(self, owned: OwnedPartition) -> None:
        owned.is_lost = True
        if owned.restoring is not None:
            owned.restoring.cancel()
        owned.decided.set()
        owned.moved.set()

    async def _restore(self, number: int, owned: OwnedPartition) -> None:
        engine = self._started_engine()

        async def apply(topic: str, run: RecordRun) -> None:
            if topic == topics.PORT_EVENTS:
                owned.newest_ms = max(owned.newest_ms, run.last_timestamp_ms)
                await self._in_thread(partial(engine.restore_events, number, run))
            elif topic == topics.DECISIONS:
                await self._in_thread(partial(engine.restore_decisions, run))
            else:
                await self._in_thread(partial(engine.restore_alerts, run))

        try:
            # Checks are weighed again at the end, which needs customs' side to be whole.
            await self._started_feed().loaded.wait()
            await restore(self.settings, number, apply, partial(setattr, owned, "restored"))
            self._submit(await self._in_engine(partial(engine.finish_restore, number, now_us())))
            if number == SPEAKER_PARTITION:
                await self._started_rejects().start_speaking()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self.crash(error)
        else:
            owned.is_restored = True
            owned.decided.set()
            self._aggregates.cover()

    # ---- records ----

    async def answer(self, event: EventT[PartitionRun]) -> None:
        """Takes a run of port events; it is acknowledged when all it caused is with the broker.

        Returns when the next run may come, which is before the run is applied.
        """
        fetched = cast(PartitionRun, event.value)
        owned = self.partitions.get(fetched.partition)
        if owned is None:
            return  # lost while it waited; its new owner answers
        owned.high_water = max(owned.high_water, fetched.high_water)
        if owned.answered_offset < 0:
            owned.answered_offset = fetched.run.base_offset
        await owned.decided.wait()
        while owned.waiting_bytes >= WAITING_BYTES_MAX and not owned.is_lost:
            await owned.wait_moved()
        if owned.is_lost:
            return
        owned.waiting.append(event)
        owned.waiting_bytes += fetched.run.batch_bytes
        if owned.answering is None:
            owned.answering = asyncio.create_task(self._answer_waiting(fetched.partition, owned))

    async def _answer_waiting(self, number: int, owned: OwnedPartition) -> None:
        """Applies what waits of a partition until nothing does."""
        try:
            while owned.waiting and not owned.is_lost:
                if owned.unanswered >= UNANSWERED_MAX:
                    await owned.wait_moved()
                    continue
                await self.emission.wait_room()
                if not owned.is_lost:
                    await self._answer_together(number, owned)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self.crash(error)
        finally:
            # In the same step that saw nothing waiting: the next run to come starts anew.
            owned.answering = None

    async def _answer_together(self, number: int, owned: OwnedPartition) -> None:
        metrics, taken_at = self.metrics, time.monotonic()
        events = list(owned.waiting)
        runs = []
        owned.waiting.clear()
        owned.waiting_bytes = 0
        owned.moved.set()
        for event in events:
            fetched = cast(PartitionRun, event.value)
            runs.append(fetched.run)
            metrics.batches.inc(fetched.run.batch_count)
            metrics.fetched_bytes.inc(fetched.run.batch_bytes)
            metrics.stage.labels("fetch").observe(taken_at - fetched.fetched_at)
            metrics.stage.labels("decode").observe(fetched.decode_seconds)
        metrics.runs.inc(len(runs))
        engine = self._started_engine()

        def apply() -> None:
            for run in runs:
                engine.apply_events(number, run, now_us())

        outcome = await self._in_engine(apply)
        owned.next_offset = answered = runs[-1].last_offset + 1
        owned.newest_ms = max(owned.newest_ms, *(run.last_timestamp_ms for run in runs))
        metrics.stage.labels("match").observe(outcome.match_s)
        owned.unanswered += 1
        owned.taken_at.append(taken_at)
        acknowledgements = self._submit(outcome)
        aggregated = self._aggregates.cover()
        runs.clear()
        for event in events:
            _let_go(event)
        task = asyncio.create_task(
            self._acknowledge(events, owned, answered, outcome, acknowledgements, aggregated)
        )
        self._acknowledging.add(task)
        task.add_done_callback(self._acknowledging.discard)

    async def _acknowledge(
        self,
        events: list[EventT[PartitionRun]],
        owned: OwnedPartition,
        answered: int,
        outcome: Outcome,
        acknowledgements: list[asyncio.Future[int]],
        aggregated: asyncio.Future[None],
    ) -> None:
        submitted_at = time.monotonic()
        try:
            for acknowledgement in acknowledgements:
                await acknowledgement
            emit_s = outcome.encode_s + time.monotonic() - submitted_at
            self.metrics.stage.labels("emit").observe(emit_s)
            self.metrics.answers.observe_run(outcome.effects.decisions, time.time_ns() // 1_000_000)
            owned.answered_offset = max(owned.answered_offset, answered)
            owned.unanswered -= 1
            owned.taken_at.popleft()
            owned.moved.set()
            del outcome, acknowledgements  # what is left takes up to a second
            await asyncio.shield(aggregated)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self.crash(error)
            return
        for event in events:
            event.ack()

    async def _apply_customs(self, topic: int, partition: int, run: RecordRun) -> None:
        await self.emission.wait_room()
        engine = self._started_engine()
        self.metrics.customs_record_seen(topics.CUSTOMS[topic], run.last_timestamp_ms)
        outcome = await self._in_engine(
            partial(engine.apply_customs, topic, partition, run, now_us())
        )
        rejects = self._started_rejects()
        rejects.hold(outcome.effects.rejects)
        outcome.outgoing = [part for part in outcome.outgoing if part[0] != topics.REJECTS]
        self._time_customs_answer(outcome, self._submit(outcome))
        await rejects.speak()

    def _time_customs_answer(
        self, outcome: Outcome, acknowledgements: list[asyncio.Future[int]]
    ) -> None:
        decisions = outcome.effects.decisions
        if not len(decisions):
            return

        def observe(done: asyncio.Future[list[int]]) -> None:
            if not done.cancelled() and done.exception() is None:
                self.metrics.customs_answers.observe_run(decisions, now_us() // 1000)

        asyncio.gather(*acknowledgements).add_done_callback(observe)

    # ---- aggregates ----

    async def _take_cells(self) -> list[Outgoing]:
        # Until its state is back a partition's sums are not whole.
        numbers = [number for number, owned in self.partitions.items() if owned.is_restored]
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._changed_cells, numbers
        )

    def _changed_cells(self, numbers: list[int]) -> list[Outgoing]:
        """In the engine's thread: the cells of partitions that changed, encoded."""
        engine = self._started_engine()
        cells = [
            cell
            for number in numbers
            for cell in zip(
                topics.AGGREGATES, engine.take_aggregates(number, now_us()), strict=True
            )
        ]
        return encode_cells(cells, self.partition_counts, self.settings.compression)

    def _submit_cells(
        self, topic: str, number: int, batches: list[tuple[bytes, int]]
    ) -> list[asyncio.Future[int]]:
        return self._submit_batches(topic, number, batches, ())

    def _is_speaker(self) -> bool:
        owned = self.partitions.get(SPEAKER_PARTITION)
        return owned is not None and owned.is_restored and not owned.is_lost

    # ---- the engine's thread ----

    async def _in_thread(self, call: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _in_engine(self, call: Callable[[], None]) -> Outcome:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._speak, call)

    def _speak(self, call: Callable[[], None]) -> Outcome:
        """In the engine's thread: makes a call and encodes what there is to say."""
        started = time.monotonic()
        call()
        effects = self._started_engine().take_effects()
        matched = time.monotonic()
        # Decisions keep the partition of the event; the others are found by their key.
        effects.alerts.partition_by_key(self.partition_counts[topics.ALERTS])
        effects.rejects.partition_by_key(self.partition_counts[topics.REJECTS])
        outgoing = [
            (topic, number, self._encode(output, number))
            for topic, output in (
                (topics.DECISIONS, effects.decisions),
                (topics.ALERTS, effects.alerts),
                (topics.REJECTS, effects.rejects),
            )
            for number in output.partitions()
        ]
        return Outcome(effects, outgoing, matched - started, time.monotonic() - matched)

    def _encode(self, output: OutputRun, number: int) -> list[tuple[bytes, int]]:
        return encode_output(output, number, compression=self.settings.compression)

    def _submit(self, outcome: Outcome) -> list[asyncio.Future[int]]:
        """Queues what an outcome has to say; decisions go last.

        Decisions are also the record of how far a partition has come (``stream.recovery``), so
        none may be there before the alerts and rejects of the same run are.
        """
        others: list[asyncio.Future[int]] = []
        for topic, number, batches in outcome.outgoing:
            if topic != topics.DECISIONS:
                others += self._submit_batches(topic, number, batches, ())
        acknowledgements = list(others)
        for topic, number, batches in outcome.outgoing:
            if topic == topics.DECISIONS:
                acknowledgements += self._submit_batches(topic, number, batches, others)
        return acknowledgements

    def _submit_batches(
        self,
        topic: str,
        number: int,
        batches: list[tuple[bytes, int]],
        after: list[asyncio.Future[int]] | tuple[()],
    ) -> list[asyncio.Future[int]]:
        self.metrics.emitted_bytes.labels(topic).inc(sum(len(batch) for batch, _ in batches))
        acknowledgements = self.emission.submit(self.settings.topic(topic), number, batches, after)
        for acknowledgement in acknowledgements:
            # Whoever awaits it hears of a failure first; it must not be reported a second time.
            acknowledgement.add_done_callback(
                lambda done: None if done.cancelled() else done.exception()
            )
        return acknowledgements

    # ---- what others may know ----

    def unready(self) -> list[str]:
        """Why this worker can't answer yet; nothing if it can."""
        reasons = [
            f"{name}: {100 * share:.0f} % loaded"
            for name, share in self._customs_progress.items()
            if share < 1.0
        ]
        if self._feed is None or not self._feed.loaded.is_set():
            reasons.append("customs' side is not loaded")
        if not self._has_assignment:
            reasons.append("the consumer group has not assigned partitions yet")
        reasons += [
            f"partition {number}: its state is not back"
            for number, owned in self.partitions.items()
            if not owned.is_restored
        ]
        return reasons

    def _exposition(self) -> bytes:
        self.metrics.ready.set(0 if self.unready() else 1)
        self.metrics.unacknowledged_bytes.set(self.emission.unacknowledged_bytes)
        return self.metrics.exposition()

    def _partition_figures(self) -> list[PartitionFigures]:
        now, found = time.monotonic(), []
        loaded = self._feed is not None and self._feed.loaded.is_set()
        for number, owned in self.partitions.items():
            state = "ready" if owned.is_restored else "restoring" if loaded else "loading_customs"
            lag = owned.high_water - owned.answered_offset if owned.answered_offset >= 0 else None
            found.append(
                PartitionFigures(
                    number,
                    state,
                    owned.restored,
                    None if lag is None else max(0, lag),
                    now - owned.taken_at[0] if owned.taken_at else 0.0,
                )
            )
        return found

    def _queue_fills(self) -> dict[str, float]:
        waiting = (owned.waiting_bytes for owned in self.partitions.values())
        unacknowledged_max = self.settings.unacknowledged_mb_max << 20
        return {
            "waiting_runs": max(waiting, default=0) / WAITING_BYTES_MAX,
            "unacknowledged": self.emission.unacknowledged_bytes / unacknowledged_max,
            "customs_rejects": self._started_rejects().held_bytes / HELD_BYTES_MAX,
        }

    def _take_figures(self) -> None:
        """In the engine's thread: sums up operators, and the nation over whole partitions."""
        engine, figures = self._started_engine(), self.metrics.supervision
        whole = [number for number, owned in list(self.partitions.items()) if owned.is_restored]
        figures.operators = engine.operator_figures()
        figures.nation = engine.nation_figures(whole, now_us())

    def _customs_moved(self, topic: str, share: float) -> None:
        self._customs_progress[topic] = share
        self.metrics.customs_loaded.labels(topic).set(share)

    def _started_engine(self) -> Engine:
        assert self._engine is not None, "prepare() comes first"
        return self._engine

    def _started_rejects(self) -> CustomsRejects:
        assert self._customs_rejects is not None, "prepare() comes first"
        return self._customs_rejects

    def _started_feed(self) -> CustomsFeed:
        assert self._feed is not None, "prepare() comes first"
        return self._feed
