#!/usr/bin/env python3
"""How many partitions, workers and how much memory: measured on this machine, then worked out.

Called by hand, with .venv's Python; deploy/sizing.md explains the model. The engine applies a share
of the national year in this process, as a worker does: customs' side first, then the events. What
its state takes and how much CPU an event costs are the figures of the model.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core_ext.record_batch import FetchDecoder, encode_columns
from stream.engine import INPUT_TOPICS, PORT_EVENTS, Engine
from stream.national_year.year import NationalYear, RecordSlice
from stream.policy import load_policy

MIB = 1 << 20
# Python, Faust and its libraries, fetch buffers and what waits for the broker's acknowledgement.
BASE_BYTES = 320 * MIB
# A worker is planned for this share of what it can do: the rest is for catching up after a restart
# of another, and for the peak inside the second.
LOAD_MAX = 0.5
# Tables grow by half when they are full, and old and new are there for a moment.
MEMORY_FACTOR = 1.5
# Of a core's time, what is left for the engine beside fetching, emission and Python.
ENGINE_SHARE = 0.4
# A partition more than workers need today costs next to nothing; one less can't be mended.
PARTITIONS_PER_WORKER = 4


@dataclass(frozen=True)
class Figures:
    """What was measured."""

    bytes_per_declared_unit: float
    bytes_per_event: float
    cpu_us_per_event: float
    cpu_us_per_customs_record: float
    declared_units: int
    customs_records: int
    events: int


def apply(engine: Engine, slices: Iterable[RecordSlice]) -> tuple[int, float]:
    """Applies slices as runs of one partition; returns the records and the seconds of CPU."""
    count, seconds = 0, 0.0
    for part in slices:
        topic = INPUT_TOPICS.index(part.topic)
        batches = encode_columns(
            part.values, part.value_offsets, part.keys, part.key_offsets, part.timestamps_ms
        )
        now_us = int(part.timestamps_ms[-1]) * 1000
        started = time.process_time()
        for batch in batches:
            for records in FetchDecoder(batch):
                if topic == PORT_EVENTS:
                    engine.apply_events(0, records, now_us)
                else:
                    engine.apply_customs(topic, 0, records, now_us)
            engine.take_effects()
        seconds += time.process_time() - started
        count += len(part)
    return count, seconds


def state_bytes(engine: Engine) -> int:
    """What the engine's state takes."""
    sizes = engine.sizes()
    return sizes["state_bytes"] + sizes["unit_index_bytes"]


def measure(scale: float) -> Figures:
    """Applies ``scale`` of a national year."""
    year = NationalYear(scale=scale)
    engine = Engine(load_policy(None), 1)
    empty = state_bytes(engine)
    customs_records, customs_seconds = apply(engine, year.customs_records(1))
    lines, customs = engine.sizes()["lines"], state_bytes(engine)
    events, seconds = apply(engine, year.port_events(1))
    return Figures(
        bytes_per_declared_unit=(customs - empty) / lines,
        bytes_per_event=(state_bytes(engine) - customs) / events,
        cpu_us_per_event=seconds / events * 1e6,
        cpu_us_per_customs_record=customs_seconds / customs_records * 1e6,
        declared_units=lines,
        customs_records=customs_records,
        events=events,
    )


@dataclass(frozen=True)
class Plan:
    """What to install."""

    workers: int
    partitions: int
    memory_bytes: int
    customs_load_seconds: float


def plan(
    figures: Figures,
    *,
    events_per_second: float,
    declared_units: float,
    events_kept: float,
) -> Plan:
    """The model of sizing.md."""
    per_worker = ENGINE_SHARE * 1e6 / figures.cpu_us_per_event * LOAD_MAX
    # Two at least: gates are answered while one restarts.
    workers = max(2, math.ceil(events_per_second / per_worker))
    customs = declared_units * figures.bytes_per_declared_unit
    # When one is lost, the others have its share too.
    events = events_kept / (workers - 1) * figures.bytes_per_event
    return Plan(
        workers=workers,
        partitions=max(12, math.ceil(workers * PARTITIONS_PER_WORKER / 12) * 12),
        memory_bytes=int(BASE_BYTES + MEMORY_FACTOR * (customs + events)),
        customs_load_seconds=declared_units * figures.cpu_us_per_customs_record / 1e6,
    )


def main() -> None:
    """Measures, and plans for what the arguments ask."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--scale", type=float, default=0.05, help="share of the year to measure")
    parser.add_argument("--events-per-second", type=float, default=20_000, help="at the peak")
    parser.add_argument("--declared-units", type=float, default=5e6,
                        help="lines of declarations that customs' topics hold")  # fmt: skip
    parser.add_argument("--events-kept", type=float, default=20e6,
                        help="events of units that are not forgotten yet")  # fmt: skip
    arguments = parser.parse_args()
    figures = measure(arguments.scale)
    print(f"measured on {figures.customs_records:,} customs records, {figures.events:,} events")
    print(f"  memory of a declared unit      {figures.bytes_per_declared_unit:8.0f} bytes")
    print(f"  memory of an event             {figures.bytes_per_event:8.0f} bytes")
    print(f"  engine, an event               {figures.cpu_us_per_event:8.2f} us of CPU")
    print(f"  engine, a customs record       {figures.cpu_us_per_customs_record:8.2f} us of CPU")
    found = plan(
        figures,
        events_per_second=arguments.events_per_second,
        declared_units=arguments.declared_units,
        events_kept=arguments.events_kept,
    )
    print(f"for {arguments.events_per_second:,.0f} events/s, {arguments.declared_units:,.0f} "
          f"declared units, {arguments.events_kept:,.0f} events kept")  # fmt: skip
    print(f"  workers                        {found.workers:8d}")
    print(f"  partitions                     {found.partitions:8d}")
    print(f"  memory of each worker          {found.memory_bytes / MIB:8.0f} MiB")
    print(f"  customs' side, CPU to load     {found.customs_load_seconds:8.1f} s")


if __name__ == "__main__":
    main()
