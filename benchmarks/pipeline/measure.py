"""What is measured of an engine: catching up, the load it sustains, and how late its answers are.

What it is: the measurements, each with its answers judged.
Who calls it: the harness, and the tests at a small size.
What it must never know: how results are shown.

All rates and latencies come from the broker's append times, so no engine is asked for its own
opinion. Loads are open loop: an event is due at its moment whether or not the one before was
answered, and its latency counts from that moment, so a stall is felt by every event that it delays.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from benchmarks.pipeline.catalogue import Peer, environment_of
from benchmarks.pipeline.judge import Found, WrongError, judge, read_values
from benchmarks.pipeline.processes import Engine
from benchmarks.pipeline.produce import OpenLoop, Producer
from benchmarks.pipeline.stage import BATCH_RECORDS, FOREVER, Stage
from benchmarks.pipeline.workload import EVENT_BYTES, Workload

LOOK_S = 0.1
STALLED_S_MAX = 60.0
"""An engine that starts reading takes seconds: a group, a store, a cluster."""
LAG_TREND_MAX = 0.01
"""Of the load: an engine whose lag grows by more does not keep up."""
SETTLE_SHARE = 0.4
"""Of a load's time that is left out before the lag's trend is taken."""
WARM_UP_SHARE = 0.3
START_S = 0.3
LATENCY_MS_MAX = 600_000
PERCENTILES = (50.0, 99.0, 99.9)


@dataclass
class CatchUp:
    """How fast an engine works off what lies there."""

    events: int
    steady_rate: float
    overall_rate: float
    engine_cpu_us: float
    """Processor time of the engine for an event, from its first decision to its last."""
    busiest_thread_us: float
    """Of that, the thread that had most to do: what one process can't go beyond."""
    broker_cpu_us: float
    events_per_core_second: float
    peak_rss_mb: float
    ready_s: float
    """From the start of the process until its table is in memory."""
    first_decision_s: float
    """From the word to go until its first decision."""
    released: int


@dataclass
class Latency:
    """How late decisions are at a steady load; milliseconds from an event's moment."""

    rate: float
    events: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    sender_late_ms: float
    """The most the load itself was behind its schedule; it is part of the latencies."""
    histogram: str
    """HdrHistogram, compressed and encoded; values in milliseconds."""


@dataclass
class Probe:
    """One load: whether the engine kept up with it."""

    rate: float
    lag_trend: float
    """Growth of the lag, as a share of the load."""
    lag_end: int
    kept_up: bool


@dataclass
class Sustained:
    """The highest load that was kept up with, and the latencies at shares of it."""

    rate: float
    probes: list[Probe]
    latencies: dict[str, Latency]


class Process(Protocol):
    """What is measured: one or several processes that do the job together."""

    ready_s: float

    def cpu_seconds(self) -> float:
        """Processor time so far."""

    def thread_seconds(self) -> dict[int, float]:
        """Processor time of each thread so far."""

    def peak_bytes(self) -> int:
        """The most memory that was resident."""

    def check(self) -> None:
        """Raises if it has ended."""

    def last_words(self) -> str:
        """The end of what it wrote."""


class Running:
    """An engine at work on topics of a stage."""

    def __init__(self, stage: Stage, engine: Process, decisions: str, partition_count: int) -> None:
        self.stage = stage
        self.engine = engine
        self.decisions = decisions
        self.partition_count = partition_count

    async def done(self) -> int:
        """Decisions so far."""
        return await self.stage.count(self.decisions, self.partition_count)

    async def wait_done(self, count: int, stalled_s_max: float = STALLED_S_MAX) -> None:
        """Waits until there are ``count`` decisions; WrongError when nothing more comes."""
        found, moved_at = -1, time.monotonic()
        while (now := await self.done()) < count:
            self.engine.check()
            self.stage.check()
            if now > found:
                found, moved_at = now, time.monotonic()
            elif time.monotonic() - moved_at > stalled_s_max:
                raise WrongError(
                    f"{now:,} of {count:,} decisions, and nothing more for {stalled_s_max:.0f} s; "
                    + self.engine.last_words()
                )
            await asyncio.sleep(LOOK_S)

    async def read(
        self, workload: Workload, start: int, count: int, *, full: bool = False
    ) -> Found:
        """Reads and judges all decisions."""
        values, timestamps = await read_values(
            self.stage.broker, self.decisions, self.partition_count
        )
        return await asyncio.to_thread(judge, values, timestamps, workload, start, count, full=full)


async def engine_of(
    stage: Stage, peer: Peer, events: str, decisions: str, partition_count: int
) -> Engine:
    """A peer's processes, not yet started."""
    declared_topic = await stage.declared_topic() if peer.needs_declared_topic else ""
    declared = await asyncio.to_thread(stage.declared_file)
    environments = environment_of(
        peer,
        broker=stage.broker,
        events=events,
        decisions=decisions,
        group=stage.name(peer.name),
        declared=declared,
        declared_topic=declared_topic,
        partition_count=partition_count,
    )
    command = await asyncio.to_thread(peer.command)
    log = stage.directory / f"{stage.name(peer.name)}.log"
    return Engine([command] * len(environments), environments, log)


async def catch_up(
    stage: Stage,
    peer: Peer,
    count: int,
    partition_count: int = 2,
    *,
    batch_records: int = BATCH_RECORDS,
    event_bytes: int = EVENT_BYTES,
) -> CatchUp:
    """Measures a peer on events that lie there."""
    events = await stage.events_topic(count, partition_count, batch_records, event_bytes)
    decisions = await stage.decisions_topic(partition_count)
    engine = await engine_of(stage, peer, events, decisions, partition_count)
    try:
        with engine:
            running = Running(stage, engine, decisions, partition_count)
            engine.go()
            watched = await watch(running, count)
        found = await running.read(stage.workload_of(event_bytes), 0, count)
        return watched.figures(found, engine.ready_s)
    finally:
        await stage.drop_topic(decisions)


@dataclass
class Watched:
    """What an engine cost from its first decision to its last."""

    engine_cpu_s: float
    busiest_thread_s: float
    broker_cpu_s: float
    decided: int
    peak_bytes: int
    first_s: float

    def figures(self, found: Found, ready_s: float) -> CatchUp:
        """Together with what the decisions say."""
        cpu_us = self.engine_cpu_s / self.decided * 1e6
        return CatchUp(
            events=found.count,
            steady_rate=found.steady_rate(),
            overall_rate=found.overall_rate(),
            engine_cpu_us=cpu_us,
            busiest_thread_us=self.busiest_thread_s / self.decided * 1e6,
            broker_cpu_us=self.broker_cpu_s / self.decided * 1e6,
            events_per_core_second=1e6 / cpu_us if cpu_us else float("inf"),
            peak_rss_mb=self.peak_bytes / 2**20,
            ready_s=ready_s,
            first_decision_s=self.first_s,
            released=found.released,
        )


async def watch(running: Running, count: int) -> Watched:
    """Looks at an engine until it has made ``count`` decisions."""
    started = moved_at = time.monotonic()
    engine_cpu_s, broker_cpu_s = running.engine.cpu_seconds(), running.stage.broker_cpu_seconds()
    threads_s = running.engine.thread_seconds()
    first_s = 0.0
    done = first_done = 0
    while done < count:
        await asyncio.sleep(LOOK_S)
        running.engine.check()
        running.stage.check()
        cpu = running.engine.cpu_seconds(), running.stage.broker_cpu_seconds()
        threads = running.engine.thread_seconds()
        before, done = done, await running.done()
        now = time.monotonic()
        if done > before:
            moved_at = now
        elif now - moved_at > STALLED_S_MAX:
            raise WrongError(
                f"{done:,} of {count:,} decisions, and nothing more for {STALLED_S_MAX:.0f} s; "
                + running.engine.last_words()
            )
        # A short run may be over at the first look; then its start counts too.
        if not first_done and 0 < done < count:
            first_done, first_s = done, now - started
            (engine_cpu_s, broker_cpu_s), threads_s = cpu, threads
    # What an engine does for its last decisions it has done; offsets follow.
    return Watched(
        running.engine.cpu_seconds() - engine_cpu_s,
        max(
            seconds - threads_s.get(thread, 0.0)
            for thread, seconds in running.engine.thread_seconds().items()
        ),
        running.stage.broker_cpu_seconds() - broker_cpu_s,
        done - first_done,
        running.engine.peak_bytes(),
        first_s or time.monotonic() - started,
    )


class LoadedEngine:
    """An engine under loads of our own, one after the other, its decisions judged at the end."""

    def __init__(
        self,
        running: Running,
        producer: Producer,
        events: str,
        event_bytes: int = EVENT_BYTES,
    ) -> None:
        self.running = running
        self.producer = producer
        self.events = events
        self.workload = running.stage.workload_of(event_bytes)
        self.sent = 0

    async def play(self, rate: float, seconds: float) -> tuple[OpenLoop, float, Probe]:
        """Puts a load on the engine and waits until everything is decided.

        Returns the load, the moment of its start (time.time()) and how the lag went.
        """
        load = await asyncio.to_thread(
            OpenLoop,
            self.workload,
            self.sent,
            rate,
            seconds,
            self.running.partition_count,
        )
        self.sent += load.count
        start_s = time.time() + START_S
        playing = asyncio.create_task(
            asyncio.to_thread(load.play, self.producer, self.events, start_s)
        )
        times: list[float] = []
        lags: list[int] = []
        while not playing.done():
            done = await self.running.done()
            now = time.time() - start_s
            if 0 <= now < seconds:
                due = load.start + int(numpy.searchsorted(load.due_s, now, side="right"))
                times.append(now)
                lags.append(due - done)
            await asyncio.sleep(LOOK_S / 2)
        await playing
        probe = probe_of(rate, seconds, times, lags)
        await self.running.wait_done(self.sent)
        return load, start_s, probe


def probe_of(rate: float, seconds: float, times: list[float], lags: list[int]) -> Probe:
    """Judges a lag over time."""
    settled = [at for at, moment in enumerate(times) if moment >= SETTLE_SHARE * seconds]
    trend = float("inf")
    if len(settled) >= 3:
        trend = float(numpy.polyfit([times[at] for at in settled], [lags[at] for at in settled],
                                    1)[0]) / rate  # fmt: skip
    lag_end = lags[-1] if lags else 0
    # A flat lag of more than a second's load is no steady state but a load that began with a heap.
    return Probe(rate, trend, lag_end, trend < LAG_TREND_MAX and lag_end < rate)


async def sustain(
    stage: Stage,
    peer: Peer,
    rate_max: float,
    *,
    partition_count: int = 2,
    probe_seconds: float = 5.0,
    latency_seconds: float = 5.0,
    probes_max: int = 5,
    shares: tuple[float, ...] = (0.1, 0.5, 0.8),
    rates: tuple[float, ...] = (),
    event_bytes: int = EVENT_BYTES,
) -> Sustained:
    """Finds the load that a peer keeps up with, below ``rate_max``, and its latencies.

    Args:
        rate_max: what it catches up with; the search goes down from there.
        probes_max: loads tried in that search; with none the sustained load is given as 0.
        rates: loads beside shares of the sustained one at which latencies are taken.
    """
    events, decisions = stage.name("live-events"), await stage.decisions_topic(partition_count)
    await stage.make_topic(events, partition_count, FOREVER)
    engine = await engine_of(stage, peer, events, decisions, partition_count)
    try:
        with engine, Producer(stage.broker) as producer:
            running = Running(stage, engine, decisions, partition_count)
            engine.go()
            return await sustain_running(
                LoadedEngine(running, producer, events, event_bytes),
                rate_max,
                probe_seconds=probe_seconds,
                latency_seconds=latency_seconds,
                probes_max=probes_max,
                shares=shares,
                rates=rates,
            )
    finally:
        await stage.drop_topic(events)
        await stage.drop_topic(decisions)


async def sustain_running(
    loaded: LoadedEngine,
    rate_max: float,
    *,
    probe_seconds: float,
    latency_seconds: float,
    probes_max: int,
    shares: tuple[float, ...],
    rates: tuple[float, ...],
    full: bool = False,
) -> Sustained:
    """The same for an engine that runs."""
    await loaded.play(WARM_UP_SHARE * rate_max, probe_seconds)
    probes = await search(loaded, rate_max, probe_seconds, probes_max)
    rate = max((probe.rate for probe in probes if probe.kept_up), default=0.0)
    played = {}
    named = {f"{share:.0%}": share * rate for share in shares if rate}
    named |= {f"{fixed:,.0f}/s": fixed for fixed in rates}
    for name, wanted in named.items():
        played[name] = await loaded.play(wanted, latency_seconds)
    found = await loaded.running.read(loaded.workload, 0, loaded.sent, full=full)
    latencies = {
        name: latency_of(load, start_s, found.append_ms[load.start : load.start + load.count])
        for name, (load, start_s, _) in played.items()
    }
    return Sustained(rate, probes, latencies)


async def search(
    loaded: LoadedEngine, rate_max: float, seconds: float, probes_max: int
) -> list[Probe]:
    """Halves the interval between a load that was kept up with and one that was not."""
    low, high = 0.0, rate_max
    rate = 0.8 * rate_max
    probes = []
    while len(probes) < probes_max:
        _, _, probe = await loaded.play(rate, seconds)
        probes.append(probe)
        if probe.kept_up:
            low = rate
        else:
            high = rate
        if high - low < 0.05 * rate_max:
            break
        rate = (low + high) / 2
    return probes


def latency_of(load: OpenLoop, start_s: float, append_ms: NDArray[numpy.int64]) -> Latency:
    """Latencies of a load's decisions, from each event's moment to its decision's append."""
    late = append_ms - (start_s + load.due_s) * 1000
    # The broker's clock has whole milliseconds; a decision in the same one as its event is at 0.
    whole = numpy.maximum(0, numpy.ceil(late)).astype(numpy.int64)
    histogram = HdrHistogram(1, LATENCY_MS_MAX, 3)
    values, counts = numpy.unique(whole, return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(min(max(value, 1), LATENCY_MS_MAX), count)
    p50, p99, p999 = (float(histogram.get_value_at_percentile(p)) for p in PERCENTILES)
    return Latency(
        rate=load.count / (len(load.due_s) and float(load.due_s[-1]) + load.tick_s),
        events=load.count,
        p50_ms=p50,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=float(whole.max()),
        sender_late_ms=load.late_s_max * 1000,
        histogram=histogram.encode().decode(),
    )


def plain(figures: Any) -> dict[str, Any]:
    """A measurement as plain dicts, for JSON."""
    return asdict(figures)
