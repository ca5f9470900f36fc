"""``python -m benchmarks.failover``: how long a partition goes unanswered when its worker dies.

Writes a dated result file (JSON and Markdown) and a chart into ``benchmarks/failover/results``. All
of it takes some minutes; --units, --rounds and --customs make it larger or smaller. What is said
of speed holds for a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import datetime
import json
import logging
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.failover.measure import (
    SESSION_TIMEOUT_S,
    Cost,
    CustomsLoad,
    FailOver,
    Restore,
    cost,
    customs_load,
    fail_overs,
    restore_rate,
)
from benchmarks.pipeline.results import machine
from stream.local_kafka import LocalKafka

HEAP_MB = 1024
# What is asked for: seconds after the kill.
DYNAMIC_S_MAX = SESSION_TIMEOUT_S + 2
STATIC_S_MAX = 3.0
RESTORE_PER_S_MIN = 1_000_000
CUSTOMS_RECORDS, CUSTOMS_S_MAX = 10_000_000, 20.0
# Longer than any measurement: nothing is committed, no state is written.
NEVER_S = 60.0

WIDTH, ROW, LEFT, TOP = 760, 26, 150, 40


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="kills of each kind (5)")
    parser.add_argument("--units", type=int, default=200_000, help="in stock (200,000)")
    parser.add_argument("--rate", type=float, default=400.0, help="checks a second (400)")
    parser.add_argument("--restore", type=int, default=1_000_000, help="units to restore")
    parser.add_argument("--customs", type=int, default=1_000_000, help="declarations to load")
    parser.add_argument("--events", type=int, default=1_000_000, help="backlog for the cost")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    # Topics without a leader yet are no news here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    before = machine()
    restored = restore_rate(arguments.restore)
    print(f"restore: {restored.units / restored.seconds:,.0f} units/s", flush=True)
    found: dict[str, list[FailOver]] = {}
    with LocalKafka(heap_mb=HEAP_MB) as kafka:
        for name, is_static in (("dynamic", False), ("static", True)):
            found[name] = asyncio.run(
                fail_overs(
                    kafka,
                    is_static=is_static,
                    rounds=arguments.rounds,
                    units=arguments.units,
                    rate=arguments.rate,
                )
            )
            worst = ", ".join(f"{one.worst:.2f}" for one in found[name])
            print(f"{name}: answered again after {worst} s", flush=True)
        costs = [
            asyncio.run(cost(kafka, interval_s, arguments.events, arguments.rate))
            for interval_s in (NEVER_S, 1.0)
        ]
        print(*costs, sep="\n", flush=True)
        loaded = asyncio.run(customs_load(kafka, arguments.customs))
        print(loaded, flush=True)
    write(arguments.out, before, vars(arguments), found, restored, costs, loaded)
    return 0


def write(
    directory: Path,
    before: dict[str, Any],
    arguments: dict[str, Any],
    found: dict[str, list[FailOver]],
    restored: Restore,
    costs: Sequence[Cost],
    loaded: CustomsLoad,
) -> None:
    """Writes the result as JSON, as a table and as a chart, named by the day."""
    directory.mkdir(parents=True, exist_ok=True)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    result = {
        "machine": before,
        "arguments": {name: str(value) for name, value in arguments.items() if name != "out"},
        "fail_over_seconds": {
            name: [one.seconds for one in its_rounds] for name, its_rounds in found.items()
        },
        "restore": dataclasses.asdict(restored),
        "cost": [dataclasses.asdict(one) for one in costs],
        "customs": dataclasses.asdict(loaded),
    }
    (directory / f"{day}.json").write_text(json.dumps(result, indent=1) + "\n")
    (directory / f"{day}.md").write_text(
        table(day, before, arguments, found, restored, costs, loaded)
    )
    (directory / f"{day}.svg").write_text(chart(found))
    print(f"written to {directory / day}.json, .md and .svg")


def table(
    day: str,
    before: dict[str, Any],
    arguments: dict[str, Any],
    found: dict[str, list[FailOver]],
    restored: Restore,
    costs: Sequence[Cost],
    loaded: CustomsLoad,
) -> str:
    """The result for people."""
    without, with_it = costs
    lines = [
        f"# Fail-over, {day}",
        "",
        f"{before['processor']}, {before['cores']} cores, which broker, sender and two workers "
        f"share; load before {before['load_average_before']:.2f}.",
        f"`python -m benchmarks.failover --rounds {arguments['rounds']} --units "
        f"{arguments['units']} --customs {arguments['customs']}`",
        "",
        "| what | measured | asked for |",
        "|---|---|---|",
    ]
    for name, limit in (("dynamic", DYNAMIC_S_MAX), ("static", STATIC_S_MAX)):
        worst = [one.worst for one in found[name]]
        how = "another worker takes over" if name == "dynamic" else "restarted, static identity"
        lines.append(
            f"| kill -9 to every partition answered again, {how} | median "
            f"{statistics.median(worst):.2f} s, at most {max(worst):.2f} s of {len(worst)} kills | "
            f"{limit:.0f} s{' plus restore' if name == 'static' else ''} |"
        )
    per_s = restored.units / restored.seconds
    lines += [
        f"| restore, units/s on one core | {per_s:,.0f} ({restored.units:,} units, "
        f"{restored.bytes / restored.units:.0f} bytes each) | {RESTORE_PER_S_MIN:,} |",
        f"| customs' side, {loaded.records:,} records, from start to ready | {loaded.ready_s:.1f} s"
        f" (nothing to load: {loaded.empty_ready_s:.1f} s) | {CUSTOMS_S_MAX:.0f} s for "
        f"{CUSTOMS_RECORDS:,} |",
        f"| events/s with the changelog, and without | {with_it.events_per_s:,.0f}, "
        f"{without.events_per_s:,.0f} | stated |",
        f"| gate answer p50/p99 with the changelog, and without | {with_it.answer_p50_ms:.1f}/"
        f"{with_it.answer_p99_ms:.1f} ms, {without.answer_p50_ms:.1f}/{without.answer_p99_ms:.1f}"
        " ms | stated |",
        "",
        f"![Seconds until each partition was answered again]({day}.svg)",
        "",
    ]
    return "\n".join(lines)


def chart(found: dict[str, list[FailOver]]) -> str:
    """A row for each kill, a mark for each partition, and lines for what is asked for."""
    rows = [(f"{name} {n}", one) for name, its in found.items() for n, one in enumerate(its, 1)]
    longest = max([one.worst for _, one in rows] + [DYNAMIC_S_MAX + 1])
    height = TOP + ROW * len(rows) + 40

    def x(seconds: float) -> float:
        return LEFT + seconds / longest * (WIDTH - LEFT - 20)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="22" font-size="14">Seconds from kill -9 until each of '
        f"{len(rows[0][1].seconds) if rows else 0} partitions was answered again</text>",
    ]
    parts += [
        f'<line x1="{x(seconds):.1f}" x2="{x(seconds):.1f}" y1="{TOP}" '
        f'y2="{height - 40}" stroke="#e9ecef"/><text x="{x(seconds):.1f}" '
        f'y="{height - 24}" text-anchor="middle">{seconds}</text>'
        for seconds in range(int(longest) + 1)
    ]
    for seconds, what in (
        (SESSION_TIMEOUT_S, "session time-out"),
        (DYNAMIC_S_MAX, "asked for, dynamic"),
        (STATIC_S_MAX, "asked for, static"),
    ):
        parts.append(
            f'<line x1="{x(seconds):.1f}" x2="{x(seconds):.1f}" y1="{TOP - 6}" '
            f'y2="{height - 40}" stroke="#c92a2a" stroke-dasharray="4 3"/>'
            f'<text x="{x(seconds):.1f}" y="{height - 8}" text-anchor="middle" fill="#c92a2a">'
            f"{what}</text>"
        )
    for row, (name, one) in enumerate(rows):
        y = TOP + ROW * row + ROW // 2
        parts.append(f'<text x="12" y="{y + 4}">{name}</text>')
        parts += [
            f'<circle cx="{x(seconds):.1f}" cy="{y}" r="4" fill="#0b7285" fill-opacity="0.6"/>'
            for seconds in one.seconds.values()
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
