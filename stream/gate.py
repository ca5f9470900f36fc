"""The worker's one engine and what stands around it.

What it is: a service that holds the engine, feeds it (customs' side, restored partitions, port
events), publishes what it has to say and acknowledges a run when that is safe with the broker.
Who calls it: ``stream.app`` starts it, ``stream.agents`` hands it the runs of port events.
What it must never know: what a record means; how records are fetched or sent.

What one partition needs from its take-over to its loss is ``stream.owned_partition``; here is what
all of them share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from aiokafka.errors import KafkaError
from faust.types import EventT
from mode import Service

from core_ext.record_batch import RecordRun
from stream import topics
from stream.connection import client_options
from stream.customs_feed import CustomsFeed
from stream.customs_rejects import HELD_BYTES_MAX, CustomsRejects
from stream.emission import Emission
from stream.engine import Engine
from stream.engine_calls import EngineCalls, Outcome, now_us
from stream.fatal import FatalError
from stream.fence import Fence
from stream.gc_pauses import GcPauses
from stream.lag_watch import watch_ends
from stream.logs import at, passes_quarter
from stream.loop_lag import watch_loop
from stream.metric_collectors import PartitionFigures
from stream.metrics import Metrics
from stream.owned_partition import SPEAKER_PARTITION, WAITING_BYTES_MAX, OwnedPartition, Tools
from stream.policy import load_policy
from stream.settings import Settings
from stream.silence import SilenceWatch
from stream.topic_reader import RETRY_S
from stream.transport import Membership, PartitionRun
from stream.transport.membership import clock_s
from stream.watchdog import BEAT_S, LastResort, Sight, Watchdog
from stream.web import Web

log = logging.getLogger(__name__)

# How often alerts by the clock are looked for where no record moves the clock.
CLOCK_S = 1.0
# How often operators and the nation are summed up for the metrics; takes the engine's thread
# milliseconds.
FIGURES_S = 5.0
# Commits of different partitions under way: while the broker stores the states of one, the engine
# makes those of the next. With one at a time each waited for the other: half a national year took
# a tenth longer. A third gained nothing.
COMMITS_MAX = 2
# How long the last commits may take when the worker stops. What was not committed then is read
# again when the partition is taken over.
LAST_COMMITS_S_MAX = 5.0


class NameTakenError(FatalError):
    """Another worker has this one's place in the group."""


class GroupRefusedError(FatalError):
    """The consumer group does not take this worker."""


class Gate(Service):
    """One worker's engine, from its first record to its last.

    Args:
        settings: the worker's.
        membership: gives its place in the consumer group, None while there is none.
    """

    def __init__(
        self, settings: Settings, membership: Callable[[], Membership | None], **options: Any
    ) -> None:
        super().__init__(**options)
        self.settings = settings
        self._membership = membership
        self.metrics = Metrics()
        self.partitions: dict[int, OwnedPartition] = {}
        self.partition_counts: dict[str, int] = {}
        self.emission = Emission(
            client_options(settings),
            client_id="gatejoin-worker",
            unacknowledged_bytes_max=settings.unacknowledged_mb_max << 20,
            may_send=self._has_lease,
        )
        self.web = Web(
            settings.web_host,
            settings.web_port,
            exposition=self._exposition,
            unready=self.unready,
        )
        self._customs_rejects = CustomsRejects(settings.compression)
        self._calls: EngineCalls | None = None
        self._tools: Tools | None = None
        self._feed: CustomsFeed | None = None
        self._customs_progress = dict.fromkeys(topics.CUSTOMS, 0.0)
        self._has_assignment = False
        self._member_id = ""
        #: Partitions that the group has given this worker and another has taken.
        self._taken: set[int] = set()
        self._watchdog = Watchdog(settings.stuck_s_max)
        self._last_resort = LastResort(settings.stuck_s_max)
        self._gc_pauses = GcPauses(self.metrics.observe_gc)
        self._dropping: set[asyncio.Task[None]] = set()

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
        engine = Engine(policy, self.partition_counts[topics.PORT_EVENTS], names)
        self._calls = calls = EngineCalls(engine, self.partition_counts, self.settings.compression)
        self.metrics.attach_engine(engine.counters, engine.sizes, policy)
        self.metrics.attach_worker(
            self._partition_figures, self._queue_fills, lambda: calls.busy_seconds
        )
        self.metrics.partitions.set(self.partition_counts[topics.PORT_EVENTS])
        self._gc_pauses.start()
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
                break
        self._tools = Tools(
            self.settings,
            calls,
            self.emission,
            Fence(self.emission.client),
            self.metrics,
            self._customs_rejects,
            self._feed.loaded,
            self._feed.catch_up,
            asyncio.Semaphore(COMMITS_MAX),
            self.crash,
            self._fenced,
        )

    async def crash(self, reason: BaseException) -> None:
        """Ends the worker, if need be by force."""
        self._last_resort.ending(str(reason))
        await super().crash(reason)

    async def on_stop(self) -> None:
        """Commits what is done, within bounds; then lets go of everything."""
        self._last_resort.ending("told to stop")
        with contextlib.suppress(TimeoutError, KafkaError, asyncio.CancelledError):
            async with asyncio.timeout(LAST_COMMITS_S_MAX):
                for owned in list(self.partitions.values()):
                    if owned.is_ready:
                        await owned.commit()
        for owned in self.partitions.values():
            owned.lose()
        self._customs_rejects.stop_speaking()
        await self.emission.stop()
        for task in list(self._dropping):
            task.cancel()
        await self.web.stop()
        self._gc_pauses.stop()
        if self._calls is not None:
            self._calls.stop()
        self._last_resort.stop()

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
            for owned in list(self.partitions.values()):
                await owned.tick(now_s)

    @Service.task
    async def _watch_itself(self) -> None:
        self._last_resort.start()
        async for _ in self.itertimer(BEAT_S, name="watchdog"):
            self._last_resort.beat()
            try:
                self._look_at_itself()
            except FatalError as error:
                await self.crash(error)
                return

    def _look_at_itself(self) -> None:
        """Raises FatalError if going on is useless."""
        membership = self._membership()
        if membership is not None and membership.is_name_taken:
            raise NameTakenError(
                f"another worker has joined group {self.settings.group_id} as "
                f"{self.settings.instance_id}: give each worker a GATEJOIN_INSTANCE_ID of its own"
            )
        if membership is not None and membership.refusal is not None:
            raise GroupRefusedError(
                f"group {self.settings.group_id} refuses this worker: {membership.refusal!r}"
            )
        now = time.monotonic()
        # Heartbeats have a thread of their own: they go on when all else stands still.
        silent_s = clock_s() - membership.confirmed_at if membership is not None else float("inf")
        shares = tuple(self._customs_progress.values())
        self._watchdog.look(
            [
                Sight(
                    number,
                    owned.state,
                    max(0, owned.high_water - owned.answered_offset),
                    (owned.marks, None if owned.is_ready else shares),
                )
                for number, owned in self.partitions.items()
            ],
            max(self.emission.answered_at, now - silent_s),
            now,
        )

    @Service.task
    async def _watch_loop(self) -> None:
        await watch_loop(self.metrics.loop_lag.observe)

    @Service.task
    async def _watch_lag(self) -> None:
        try:
            await watch_ends(self.settings, lambda: self.partitions, self._ends_at)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self.crash(error)

    def _ends_at(self, number: int, offset: int) -> None:
        if number in self.partitions:
            self.partitions[number].end_offset = offset

    @Service.task
    async def _sum_up(self) -> None:
        async for _ in self.itertimer(FIGURES_S, name="figures"):
            await self._started_calls().quiet(self._take_figures)

    # ---- the group's assignments ----

    async def assign(self, assigned: Iterable[int]) -> None:
        """Takes the partitions that are this worker's from now on, and drops all others.

        State that is in memory stays, unless the group had excluded this worker meanwhile (its
        member ID is a new one): then others may have answered, and it is read again.
        """
        wanted = set(assigned)
        self._taken.clear()
        membership = self._membership()
        assert membership is not None, "who has no place in the group is assigned nothing"
        was_excluded = membership.member_id != self._member_id
        self._member_id = membership.member_id
        self._has_assignment = True
        for number in list(self.partitions):
            if number not in wanted or was_excluded:
                self._drop(number)
        if self._dropping:
            await asyncio.wait(self._dropping)
        assert self._tools is not None, "prepare() comes first"
        for number in sorted(wanted - self.partitions.keys()):
            owned = self.partitions[number] = OwnedPartition(number, self._tools)
            owned.start()

    def _has_lease(self) -> bool:
        """Whether what is sent can still be this worker's to send."""
        membership = self._membership()
        return membership is not None and membership.has_lease

    def _fenced(self, number: int) -> None:
        """Another worker has taken a partition over: it is let go of until it is assigned anew.

        That may be at once: a former owner's fence, asked for before the partition was ours, can
        come up after our own, and then nobody would answer for it.
        """
        self._taken.add(number)
        self._drop(number)
        membership = self._membership()
        if membership is not None:
            membership.rejoin()

    def _drop(self, number: int) -> None:
        """Lets go of a partition at once; its state is forgotten as soon as the engine is free."""
        self.partitions.pop(number).lose()
        log.info("partition %d is no longer ours", number, extra=at(partition=number))
        if number == SPEAKER_PARTITION:
            self._customs_rejects.stop_speaking()
        calls = self._started_calls()
        task = asyncio.create_task(
            calls.quiet(partial(calls.engine.forget_partition, number)), name=f"drop {number}"
        )
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    # ---- records ----

    async def answer(self, event: EventT[PartitionRun]) -> None:
        """Takes a run of port events; it is acknowledged when a commit covers it.

        Returns when the next run may come, which is before the run is applied.
        """
        owned = self.partitions.get(cast(PartitionRun, event.value).partition)
        if owned is not None:  # else lost while it waited; its new owner answers
            await owned.answer(event)

    async def _apply_customs(self, topic: int, partition: int, run: RecordRun) -> None:
        await self.emission.wait_room()
        calls = self._started_calls()
        self.metrics.customs_record_seen(topics.CUSTOMS[topic], run.last_timestamp_ms)
        told = [
            (owned, owned.progress, owned.progress.begun())
            for owned in self.partitions.values()
            if owned.progress is not None
        ]
        outcome = await calls.speaking(
            partial(calls.engine.apply_customs, topic, partition, run, now_us())
        )
        self._customs_rejects.hold(outcome.effects.rejects)
        observe = self._observe_customs(outcome)
        for owned, progress, ticket in told:
            progress.applied(ticket)
            said = outcome.said.get(owned.number, {})
            owned.say(ticket, said, observe if topics.DECISIONS in said else None)
        self._customs_rejects.speak()

    def _observe_customs(self, outcome: Outcome) -> Callable[[], None]:
        """To be called for each partition that has decisions; measures at the last."""
        decisions = outcome.effects.decisions
        left = sum(topics.DECISIONS in said for said in outcome.said.values())

        def observe() -> None:
            nonlocal left
            left -= 1
            if not left:
                self.metrics.customs_answers.observe_run(decisions, now_us() // 1000)

        return observe

    # ---- aggregates ----

    def _submit_cells(
        self, topic: str, number: int, batches: list[tuple[bytes, int]]
    ) -> list[asyncio.Future[int]]:
        return self.partitions[SPEAKER_PARTITION].submit_cells(topic, number, batches)

    def _is_speaker(self) -> bool:
        owned = self.partitions.get(SPEAKER_PARTITION)
        return owned is not None and owned.is_ready

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
            f"partition {number}: {owned.state.replace('_', ' ')}"
            + (f", {100 * owned.restored:.0f} %" if owned.state == "restoring" else "")
            for number, owned in self.partitions.items()
            if not owned.is_ready
        ]
        reasons += [
            f"partition {number}: taken over by another worker; the group is asked whose it is"
            for number in sorted(self._taken)
        ]
        return reasons

    def _exposition(self) -> bytes:
        self.metrics.ready.set(0 if self.unready() else 1)
        self.metrics.unacknowledged_bytes.set(self.emission.unacknowledged_bytes)
        return self.metrics.exposition()

    def _partition_figures(self) -> list[PartitionFigures]:
        now, found = time.monotonic(), []
        for number, owned in self.partitions.items():
            lag = None
            if owned.answered_offset >= 0:
                lag = max(owned.high_water, owned.end_offset) - owned.answered_offset
            found.append(
                PartitionFigures(
                    number,
                    owned.state,
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
            "customs_rejects": self._customs_rejects.held_bytes / HELD_BYTES_MAX,
        }

    def _take_figures(self) -> None:
        """In the engine's thread: sums up operators, and the nation over whole partitions."""
        engine, figures = self._started_calls().engine, self.metrics.supervision
        whole = [number for number, owned in list(self.partitions.items()) if owned.is_ready]
        figures.operators = engine.operator_figures()
        figures.nation = engine.nation_figures(whole, now_us())

    def _customs_moved(self, topic: str, share: float) -> None:
        if passes_quarter(self._customs_progress[topic], share):
            log.info("%s: %.0f %% loaded", topic, 100 * share, extra=at(topic=topic))
        self._customs_progress[topic] = share
        self.metrics.customs_loaded.labels(topic).set(share)

    def _started_calls(self) -> EngineCalls:
        assert self._calls is not None, "prepare() comes first"
        return self._calls

    def _started_feed(self) -> CustomsFeed:
        assert self._feed is not None, "prepare() comes first"
        return self._feed
