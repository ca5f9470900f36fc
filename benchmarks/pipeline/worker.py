"""gatejoin's own worker on the stage: all rules on the job's events, and the national year.

What it is: the measurements of the real worker (``gatejoin worker``), one or more processes.
Who calls it: the harness.
What it must never know: rules; how a peer is measured.

The job's events and declarations are valid records of the contract, so the worker answers the same
events with its full decisions, state and durability, of which the job's are the smallest part: what
it reaches is reported beside the peers, not as one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from benchmarks.pipeline.judge import WrongError
from benchmarks.pipeline.measure import (
    LOOK_S,
    STALLED_S_MAX,
    CatchUp,
    LoadedEngine,
    Running,
    Sustained,
    sustain_running,
    watch,
)
from benchmarks.pipeline.processes import Measured, children_of
from benchmarks.pipeline.produce import Producer, event_batches, send_all
from benchmarks.pipeline.stage import BATCH_RECORDS, Stage
from stream import topics
from stream.demo_traffic import Answers, Sender
from stream.demo_worker import Progress, Worker
from stream.local_kafka import ports_choose
from stream.national_year import NationalYear
from stream.settings import Settings

READY_S_MAX = 900.0


class Workers(Measured):
    """Worker processes, seen as one engine (see processes.Engine)."""

    def __init__(self, stage: Stage, settings: Settings, count: int) -> None:
        self._workers = [
            Worker(
                dataclasses.replace(settings, web_port=port),
                stage.directory / f"{settings.topic_prefix}worker-{number}.log",
            )
            for number, port in enumerate(ports_choose(count))
        ]
        self.ready_s = 0.0

    @contextlib.contextmanager
    def started(self) -> Iterator[Workers]:
        """Starts the processes for the block."""
        try:
            for worker in self._workers:
                worker.start()
            yield self
        finally:
            for worker in self._workers:
                worker.stop()

    async def wait_ready(self) -> None:
        """Waits until every worker has customs' side and its partitions."""
        started = time.monotonic()
        for worker in self._workers:
            while (answer := await worker.ask("/readyz"))[0] != 200:
                worker.check()
                if time.monotonic() - started > READY_S_MAX:
                    raise WrongError(f"the worker is not ready: {answer[1]}")
                await asyncio.sleep(LOOK_S)
        self.ready_s = time.monotonic() - started

    @property
    def pids(self) -> list[int]:
        """The processes and all that they started."""
        return [pid for worker in self._workers for pid in children_of(worker.pid)]

    def check(self) -> None:
        """Raises WorkerError if one has ended."""
        for worker in self._workers:
            worker.check()

    def last_words(self) -> str:
        """The end of what the first one wrote."""
        return self._workers[0].last_words()


@contextlib.asynccontextmanager
async def _topics(
    stage: Stage, partition_count: int
) -> AsyncIterator[tuple[Settings, dict[str, int]]]:
    """Topics of the contract under a prefix of their own, deleted after the block."""
    settings = Settings(
        broker=stage.broker, topic_prefix=stage.name("worker") + ".", partitions=partition_count
    )
    counts = await topics.ensure_topics(settings)
    for name, partitions in counts.items():
        # The controller knows of their leaders; asking for offsets waits until the broker does.
        await stage.count(settings.topic(name), partitions)
    try:
        yield settings, counts
    finally:
        for name in counts:
            await stage.drop_topic(settings.topic(name))


async def worker_catch_up(
    stage: Stage,
    count: int,
    partition_count: int = 2,
    *,
    workers: int = 1,
    batch_records: int = BATCH_RECORDS,
) -> CatchUp:
    """The worker with all rules on events that lie there."""
    async with _topics(stage, partition_count) as (settings, counts):
        await asyncio.to_thread(stage.load_customs, settings.topic_prefix, counts["declarations"])
        await asyncio.to_thread(
            stage.load_events,
            settings.topic(topics.PORT_EVENTS),
            stage.workload,
            count,
            partition_count,
            batch_records,
        )
        engine = Workers(stage, settings, workers)
        with engine.started():
            running = Running(stage, engine, settings.topic(topics.DECISIONS), partition_count)
            ready = asyncio.create_task(engine.wait_ready())
            watched = await watch(running, count)
            await ready
            async with Progress(settings, partition_count) as progress:
                await _committed(engine, progress, count)
        found = await running.read(stage.workload, 0, count, full=True)
        return watched.figures(found, engine.ready_s)


async def _committed(engine: Workers, progress: Progress, count: int) -> None:
    """Waits until everything is committed, so that nothing is under way when a worker stops."""
    deadline = time.monotonic() + STALLED_S_MAX
    while await progress.done() < count:
        engine.check()
        if time.monotonic() > deadline:
            raise WrongError("the worker does not commit what it has decided")
        await asyncio.sleep(LOOK_S)


async def worker_burst(stage: Stage, count: int, workers: int, partition_count: int = 8) -> CatchUp:
    """Workers that have their partitions, and then events as fast as the broker takes them.

    So that a second worker has its share from the first event on, unlike where events lie there.
    """
    async with _topics(stage, partition_count) as (settings, counts):
        await asyncio.to_thread(stage.load_customs, settings.topic_prefix, counts["declarations"])
        events = await asyncio.to_thread(stage.workload.events, 0, count)
        batches = await asyncio.to_thread(event_batches, events, partition_count, BATCH_RECORDS)
        del events
        engine = Workers(stage, settings, workers)
        with engine.started(), Producer(stage.broker) as producer:
            await engine.wait_ready()
            running = Running(stage, engine, settings.topic(topics.DECISIONS), partition_count)
            sending = asyncio.create_task(
                asyncio.to_thread(send_all, producer, settings.topic(topics.PORT_EVENTS), batches)
            )
            watched = await watch(running, count)
            await sending
            async with Progress(settings, partition_count) as progress:
                await _committed(engine, progress, count)
        found = await running.read(stage.workload, 0, count, full=True)
        return watched.figures(found, engine.ready_s)


async def worker_sustain(
    stage: Stage,
    rate_max: float,
    *,
    partition_count: int = 2,
    workers: int = 1,
    probe_seconds: float,
    latency_seconds: float,
    probes_max: int,
    shares: tuple[float, ...],
    rates: tuple[float, ...],
) -> Sustained:
    """The load the worker keeps up with, and how late its answers are."""
    async with _topics(stage, partition_count) as (settings, counts):
        await asyncio.to_thread(stage.load_customs, settings.topic_prefix, counts["declarations"])
        engine = Workers(stage, settings, workers)
        with engine.started(), Producer(stage.broker) as producer:
            await engine.wait_ready()
            running = Running(stage, engine, settings.topic(topics.DECISIONS), partition_count)
            return await sustain_running(
                LoadedEngine(running, producer, settings.topic(topics.PORT_EVENTS)),
                rate_max,
                probe_seconds=probe_seconds,
                latency_seconds=latency_seconds,
                probes_max=probes_max,
                shares=shares,
                rates=rates,
                full=True,
            )


@dataclass
class Year:
    """The national year through the worker, everything sent before it starts."""

    scale: float
    events: int
    customs_records: int
    decisions: int
    seconds: float
    """From the moment it is ready until every event's effects are with the broker."""
    events_per_second: float
    engine_cpu_us: float
    ready_s: float
    """From the start of the process until customs' side is loaded."""
    peak_rss_mb: float


async def national_year(stage: Stage, scale: float, partition_count: int = 8) -> Year:
    """Measures the year's port events with all rules, durability on."""
    year = NationalYear(seed=2018, scale=scale)
    async with _topics(stage, partition_count) as (settings, counts):
        async with Sender(settings).connected() as sender:
            customs = year.customs_records(counts[topics.DECLARATIONS])
            await sender.send_slices(customs, lambda _: None)
            await sender.send_slices(year.port_events(counts[topics.PORT_EVENTS]), lambda _: None)
        expected = await asyncio.to_thread(year.expectations)
        engine = Workers(stage, settings, 1)
        with engine.started():
            started = time.monotonic()
            async with Progress(settings, counts[topics.PORT_EVENTS]) as progress:
                running = Running(stage, engine, settings.topic(topics.DECISIONS), partition_count)
                first_s, cpu_s = await _first_decision(running, started)
                while await progress.done() < year.event_count:
                    engine.check()
                    stage.check()
                    await asyncio.sleep(LOOK_S)
                seconds = time.monotonic() - started - first_s
                cpu_s = engine.cpu_seconds() - cpu_s
            peak = engine.peak_bytes()
        async with Answers(settings, counts).connected() as answers:
            found = await answers.read()
        for name in ("outcomes", "reasons", "flags", "alerts", "rejects"):
            wanted, got = Counter(getattr(expected, name)), Counter(getattr(found, name))
            if +wanted != +got:
                raise WrongError(f"the year's {name} are {dict(got)} instead of {dict(wanted)}")
        return Year(
            scale=scale,
            events=year.event_count,
            customs_records=year.customs_count,
            decisions=found.decision_count,
            seconds=seconds,
            events_per_second=year.event_count / seconds,
            engine_cpu_us=cpu_s / year.event_count * 1e6,
            ready_s=first_s,
            peak_rss_mb=peak / 2**20,
        )


async def _first_decision(running: Running, started: float) -> tuple[float, float]:
    """Waits for the first decision; seconds since ``started``, and processor time so far."""
    while not await running.done():
        running.engine.check()
        running.stage.check()
        if time.monotonic() - started > READY_S_MAX:
            raise WrongError("the worker makes no decision; " + running.engine.last_words())
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - started, running.engine.cpu_seconds()
