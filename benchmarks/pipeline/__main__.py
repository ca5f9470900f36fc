"""``make bench-e2e``: the pipeline against its peers, end to end on a real Kafka.

What it is: the command line and the order of the measurements.
Who calls it: people, through the Makefile; ``python -m benchmarks.pipeline --help`` explains it.
What it must never know: how anything is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.pipeline import catalogue, ceilings, measure, worker
from benchmarks.pipeline.catalogue import BY_NAME, ROOT, MissingError, versions
from benchmarks.pipeline.ceilings import CeilingError
from benchmarks.pipeline.judge import WrongError
from benchmarks.pipeline.measure import plain
from benchmarks.pipeline.processes import EngineError
from benchmarks.pipeline.produce import LoadError
from benchmarks.pipeline.results import BUSY_LOAD, Results
from benchmarks.pipeline.stage import Stage
from benchmarks.pipeline.workload import EVENT_BYTES
from stream.demo_worker import WorkerError
from stream.local_kafka import LocalKafkaError

FAILURES = (
    MissingError, WrongError, EngineError, LoadError, CeilingError, WorkerError, OSError,
    TimeoutError, ValueError,
)  # fmt: skip
ALL_PEERS = tuple(peer.name for peer in catalogue.PEERS)
OURS = "gatejoin"
WORKER = "gatejoin-worker"
WORKER_TITLE = "gatejoin worker: all rules, full decisions, durable"
SWEEPS = ("table", "event-size", "batch", "partitions", "workers")
GATE_RATE = 50_000.0
"""The load at which the gate's answer is promised, and at which sweeps take latencies."""


@dataclass(frozen=True)
class Mode:
    """How much is measured; every part of it can be set on the command line."""

    events: int
    declared: int
    runs: int
    peers: tuple[str, ...]
    open_loop: tuple[str, ...]
    ceilings: tuple[str, ...]
    sweeps: tuple[str, ...]
    year: float
    probe_seconds: float
    probes: int
    tables: tuple[int, ...]
    partitions: tuple[int, ...]


MODES = {
    # Whether it all works: a few minutes, figures that mean nothing.
    "quick": Mode(200_000, 100_000, 1, (OURS, WORKER, "plain-jvm", "confluent", "faust-plain"),
                  (OURS, WORKER), ceilings.NAMES, (), 0.01, 2.0, 2, (100_000,), (1, 4)),
    # Ours and every peer, in about twenty minutes on two cores.
    "compare": Mode(2_000_000, 1_000_000, 3, (OURS, WORKER, *ALL_PEERS[1:]),
                    (OURS, WORKER, "plain-jvm", "flink"), ceilings.NAMES, (), 1.0, 4.0, 4, (), ()),
    # How ours grows, in about forty minutes, a quarter of them for the tables.
    "sweeps": Mode(2_000_000, 1_000_000, 3, (), (), (), SWEEPS, 0.0, 4.0, 4,
                   (1_000_000, 10_000_000, 50_000_000), (1, 2, 4, 8, 16, 32)),
}  # fmt: skip
MODES["full"] = Mode(
    **{
        **vars(MODES["compare"]),
        "sweeps": SWEEPS,
        "tables": MODES["sweeps"].tables,
        "partitions": MODES["sweeps"].partitions,
        "open_loop": (OURS, WORKER, "plain-jvm", "flink", "kafka-streams", "confluent-2"),
    }
)


def names_of(allowed: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """An argument's type: names separated by commas; "none" and "all" stand for what they say."""

    def names(text: str) -> tuple[str, ...]:
        if text in ("none", "all"):
            return tuple(allowed) if text == "all" else ()
        found = tuple(text.split(","))
        for name in found:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(allowed)}")
        return found

    return names


def counts(text: str) -> tuple[int, ...]:
    """An argument's type: whole numbers separated by commas."""
    return tuple(int(word.replace("_", "")) for word in text.split(","))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.pipeline",
        description="Measures the pipeline against its peers on a local Kafka.",
        epilog="What is not given is as the mode has it.",
    )
    made.add_argument("--mode", choices=MODES, default="compare")
    made.add_argument("--runs", type=int, help="how often all is measured, in turn")
    made.add_argument("--events", type=int, help="events of the job")
    made.add_argument("--declared", type=int, help="declared containers")
    every = (OURS, WORKER, *ALL_PEERS[1:])
    made.add_argument("--peers", type=names_of(every), help=f"of {', '.join(every)}")
    made.add_argument("--open-loop", type=names_of(every), help="engines put under a steady load")
    made.add_argument("--ceilings", type=names_of(ceilings.NAMES), help=", ".join(ceilings.NAMES))
    made.add_argument("--sweeps", type=names_of(SWEEPS), help=", ".join(SWEEPS))
    made.add_argument("--year", type=float, help="scale of the national year; 0 leaves it out")
    made.add_argument("--tables", type=counts, help="sizes of the sweep over tables")
    made.add_argument("--partitions", type=counts, help="numbers of the sweep over partitions")
    made.add_argument("--probe-seconds", type=float, help="how long a load lasts")
    made.add_argument("--probes", type=int, help="loads tried in search of the sustained one")
    made.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    return made


class Harness:
    """One invocation."""

    def __init__(self, mode: Mode, results: Results, out: Path) -> None:
        self.mode = mode
        self.results = results
        self.out = out

    async def measure(
        self, kind: str, name: str, title: str, work: Awaitable[Any]
    ) -> dict[str, Any]:
        """Awaits a measurement, notes it or why it failed, and says so."""
        started = time.monotonic()
        try:
            figures = plain(await work)
        except FAILURES as error:
            figures = {"failed": str(error) or repr(error)}
        self.results.add(kind, name, title, figures)
        self.results.write(self.out)
        seconds = time.monotonic() - started
        print(f"{kind}, {title}: {summary(figures)} [{seconds:.0f} s]", flush=True)
        return figures

    async def run(self) -> None:
        """Everything that the mode asks for."""
        mode = self.mode
        if mode.peers or mode.ceilings or mode.year or mode.open_loop:
            async with Stage(mode.declared) as stage:
                await self.compare(stage)
        if mode.sweeps:
            await self.sweep()

    async def compare(self, stage: Stage) -> None:
        """Ours and the peers in turn, then what Kafka delivers, loads and the year."""
        mode = self.mode
        rates: dict[str, float] = {}
        for turn in range(mode.runs):
            at = turn % max(1, len(mode.peers))
            for name in mode.peers[at:] + mode.peers[:at]:
                figures = await self.measure(
                    "catch-up", name, title_of(name), self.catch_up(stage, name)
                )
                if "failed" not in figures:
                    rates[name] = max(rates.get(name, 0.0), figures["overall_rate"])
            for name in mode.ceilings:
                await self.measure("ceiling", name, ceilings.TITLES[name],
                                   ceilings.ceiling(stage, name, mode.events, 2))  # fmt: skip
            if mode.year:
                await self.measure("year", f"year-{mode.year:g}", f"the year at {mode.year:g}",
                                   worker.national_year(stage, mode.year))  # fmt: skip
        for name in mode.open_loop:
            rate = rates.get(name) or 0.0
            if not rate:
                figures = await self.measure("catch-up", name, title_of(name),
                                             self.catch_up(stage, name))  # fmt: skip
                rate = figures.get("overall_rate", 0.0)
            if rate:
                await self.measure("open-loop", name, title_of(name),
                                   self.sustain(stage, name, rate))  # fmt: skip

    def catch_up(self, stage: Stage, name: str) -> Awaitable[measure.CatchUp]:
        """Catching up, of the worker or a peer."""
        if name == WORKER:
            return worker.worker_catch_up(stage, self.mode.events)
        return measure.catch_up(stage, BY_NAME[name], int(self.mode.events * BY_NAME[name].share))

    def sustain(self, stage: Stage, name: str, rate_max: float) -> Awaitable[measure.Sustained]:
        """The open loop, of the worker or a peer."""
        asked = {
            "probe_seconds": self.mode.probe_seconds,
            "latency_seconds": self.mode.probe_seconds,
            "probes_max": self.mode.probes,
            "shares": (0.1, 0.5, 0.8),
            "rates": (GATE_RATE,) if rate_max > GATE_RATE else (),
        }
        if name == WORKER:
            return worker.worker_sustain(stage, rate_max, **asked)
        return measure.sustain(stage, BY_NAME[name], rate_max, **asked)

    async def sweep(self) -> None:
        """How ours grows with one thing at a time."""
        mode = self.mode
        if set(mode.sweeps) - {"table"}:
            async with Stage(mode.declared) as stage:
                for _ in range(mode.runs):
                    await self.sweep_traffic(stage)
        if "table" in mode.sweeps:
            for size in mode.tables:
                async with Stage(size) as stage:
                    for _ in range(mode.runs):
                        await self.grow(stage, "table size", f"table-{size}", f"{size:,} declared")

    async def sweep_traffic(self, stage: Stage) -> None:
        """The sweeps over everything but the table, once."""
        mode, ours = self.mode, BY_NAME[OURS]
        if "event-size" in mode.sweeps:
            for size in (EVENT_BYTES, 512, 1024):
                await self.grow(stage, "event size", f"event-{size}", f"{size} bytes an event",
                                share=2, event_bytes=size)  # fmt: skip
        if "batch" in mode.sweeps:
            # In an open loop the batches are what is due together, so there is no latency by them.
            for size, share in ((1, 8), (60, 2), (5000, 1)):
                await self.measure(
                    "sweep producer batch size", f"batch-{size}", f"{size:,} events a batch",
                    measure.catch_up(stage, ours, mode.events // share, batch_records=size),
                )  # fmt: skip
                await stage.forget_events()
        if "partitions" in mode.sweeps:
            for number in mode.partitions:
                await self.grow(stage, "partitions", f"partitions-{number}", f"{number} partitions",
                                partition_count=number)  # fmt: skip
        if "workers" in mode.sweeps:
            for number in (1, 2):
                name, title = f"workers-{number}", f"{number} workers"
                await self.measure("sweep workers (a burst, all rules)", name, title,
                                   worker.worker_burst(stage, mode.events, number))  # fmt: skip
                await self.measure(
                    "late workers (all rules)", name, title,
                    worker.worker_sustain(stage, GATE_RATE, partition_count=8, workers=number,
                                          **self.steady()),
                )  # fmt: skip

    def steady(self) -> dict[str, Any]:
        """One steady load and no search."""
        seconds = self.mode.probe_seconds
        return {"probe_seconds": seconds, "latency_seconds": seconds, "probes_max": 0,
                "shares": (), "rates": (GATE_RATE,)}  # fmt: skip

    async def grow(
        self,
        stage: Stage,
        kind: str,
        name: str,
        title: str,
        *,
        share: int = 1,
        partition_count: int = 2,
        event_bytes: int = EVENT_BYTES,
    ) -> None:
        """One point of a sweep: catching up, and latency at a steady load."""
        ours = BY_NAME[OURS]
        await self.measure(
            f"sweep {kind}", name, title,
            measure.catch_up(stage, ours, self.mode.events // share, partition_count,
                             event_bytes=event_bytes),
        )  # fmt: skip
        await stage.forget_events()
        await self.measure(
            f"late {kind}", name, title,
            measure.sustain(stage, ours, GATE_RATE, partition_count=partition_count,
                            event_bytes=event_bytes, **self.steady()),
        )  # fmt: skip


def title_of(name: str) -> str:
    """What an engine is called in tables."""
    return WORKER_TITLE if name == WORKER else BY_NAME[name].title


def summary(figures: dict[str, Any]) -> str:
    """A measurement in one line."""
    if "failed" in figures:
        return "left out: " + " ".join(figures["failed"].split())[:300]
    if "steady_rate" in figures:
        return (
            f"{figures['steady_rate']:,.0f}/s steady, {figures['overall_rate']:,.0f}/s overall,"
            f" {figures['engine_cpu_us']:.2f} µs, {figures['peak_rss_mb']:,.0f} MB"
        )
    if "latencies" in figures:
        late = "; ".join(
            f"{name}: p50 {one['p50_ms']:.0f}, p99 {one['p99_ms']:.0f}, p99.9 {one['p999_ms']:.0f},"
            f" max {one['max_ms']:.0f} ms"
            for name, one in figures["latencies"].items()
        )
        sought = f"{figures['rate']:,.0f}/s sustained; " if figures["probes"] else ""
        return sought + late
    if "seconds" in figures:
        return f"{figures['seconds']:.1f} s, {figures['events_per_second']:,.0f}/s"
    return f"{figures['rate']:,.0f}/s"


def main() -> int:
    """Runs the harness; 0 if all that was asked for was measured."""
    arguments = parser().parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # SIGTERM and a closed terminal then take the same way out as Ctrl-C: every process is stopped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    given = {name: value for name, value in vars(arguments).items() if name in Mode.__annotations__}
    set_here = {name: value for name, value in given.items() if value is not None}
    mode = Mode(**{**vars(MODES[arguments.mode]), **set_here})
    command = f"make bench-e2e ARGS={shlex.quote(shlex.join(sys.argv[1:]))}"
    results = Results(command, versions(), vars(mode))
    if not results.is_quiet:
        print(
            f"The machine is not quiet: load average {os.getloadavg()[0]:.1f}, above {BUSY_LOAD}."
            " The figures will say so.",
            flush=True,
        )
    try:
        asyncio.run(Harness(mode, results, arguments.out).run())
    except LocalKafkaError as error:
        print(f"bench-e2e: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    for path in results.write(arguments.out):
        print(path)
    failed = [
        name
        for kind in results.measured.values()
        for name, runs in kind.items()
        if all("failed" in run for run in runs)
    ]
    if failed:
        print(f"bench-e2e: left out: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
