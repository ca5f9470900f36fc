"""Results as files: JSON for machines, Markdown for people, a chart for the README.

What it is: the shape of a result and its three writings.
Who calls it: the harness, after every measurement, so that an interrupted run is not lost.
What it must never know: how anything was measured.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

BUSY_LOAD = 0.5
"""A load average above this before the start means that the machine was not left alone."""

MODEL_CORES = (2, 4, 8)

BAR_HEIGHT = 22
LABEL_WIDTH = 330
BAR_WIDTH = 400
VALUE_WIDTH = 150
MARGIN = 12
OURS_COLOUR, PEER_COLOUR, CEILING_COLOUR = "#0b7285", "#adb5bd", "#dee2e6"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_kb = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kb / 2**20, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_average_before": os.getloadavg()[0],
    }


def stolen_seconds() -> float:
    """Processor time that the host took from this machine since it was started."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


class Results:
    """What one invocation of the harness found.

    ``measured[kind][name]`` is a list with an entry a run: figures, or ``{"failed": why}``.
    """

    def __init__(self, command: str, versions: Mapping[str, str], parameters: Mapping[str, Any]):
        self.started = datetime.datetime.now(datetime.UTC)
        self.head = {
            "date": self.started.date().isoformat(),
            "command": command,
            "machine": machine(),
            "versions": dict(versions),
            "parameters": dict(parameters),
        }
        self._stolen = stolen_seconds()
        self.titles: dict[str, str] = {}
        self.measured: dict[str, dict[str, list[dict[str, Any]]]] = {}

    @property
    def is_quiet(self) -> bool:
        """Whether the machine did nothing else when this began."""
        return bool(self.head["machine"]["load_average_before"] < BUSY_LOAD)

    def add(self, kind: str, name: str, title: str, figures: dict[str, Any]) -> None:
        """Adds one run's figures."""
        self.titles[name] = title
        self.measured.setdefault(kind, {}).setdefault(name, []).append(figures)

    def write(self, directory: Path) -> list[Path]:
        """Writes all three files; returns them."""
        directory.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC)
        self.head["seconds"] = round((now - self.started).total_seconds())
        self.head["stolen_seconds"] = round(stolen_seconds() - self._stolen, 1)
        stem = f"pipeline-{self.head['date']}"
        written = []
        for suffix, text in (
            ("json", self.as_json()),
            ("md", self.as_markdown()),
            ("svg", self.as_chart()),
        ):
            path = directory / f"{stem}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
        return written

    def as_json(self) -> str:
        """Everything, to the last figure."""
        whole = {**self.head, "titles": self.titles, "measured": self.measured}
        return json.dumps(whole, indent=1, default=str) + "\n"

    # ---- Markdown ----

    def as_markdown(self) -> str:
        """Tables of medians and their spread."""
        where = self.head["machine"]
        lines = [
            f"# The pipeline, {self.head['date']}",
            "",
            f"`{self.head['command']}`, {self.head['seconds']} s, on {where['cores']} cores of"
            f" {where['processor']}, {where['memory_gib']} GiB, {where['system']}; broker, load and"
            " engines on the same cores. Medians; in brackets least and most of the runs.",
            "",
        ]
        if not self.is_quiet:
            lines += [
                f"**The load average was {where['load_average_before']:.1f} before the start**,"
                f" above {BUSY_LOAD}: something else ran, or had just ended; take the figures with"
                " care.",
                "",
            ]
        lines += self._catch_up_table()
        lines += self._model_table()
        lines += self._ceiling_table()
        lines += self._open_loop_table()
        lines += self._year_table()
        lines += self._sweep_tables()
        lines += ["## Versions and parameters", ""]
        lines += [f"* {name} {value}" for name, value in self.head["versions"].items()]
        lines += [f"* {name}: {value}" for name, value in self.head["parameters"].items()]
        return "\n".join(lines) + "\n"

    def _catch_up_table(self) -> list[str]:
        if not self.measured.get("catch-up"):
            return []
        lines = [
            "## Catching up",
            "",
            "Events lie there when the engine is told to go; each is answered with one decision of"
            " 143 bytes (the worker: with its full one, all rules and durability). *Steady* is the"
            " second half by the broker's append times, *ratio* ours to it in the same run.",
            "",
            "| engine | events | steady, events/s | overall | ratio | engine CPU µs/event"
            " | events/s a core | broker CPU µs/event | peak RSS MB | table ready s |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for name, runs in self.measured["catch-up"].items():
            good = [run for run in runs if "failed" not in run]
            if not good:
                lines.append(f"| {self.titles[name]} | left out: {_said(runs)} |" + " |" * 8)
                continue
            lines.append(
                f"| {self.titles[name]} | {good[0]['events']:,}"
                f" | {spread(good, 'steady_rate')} | {spread(good, 'overall_rate')}"
                f" | {self._ratio(name)} | {spread(good, 'engine_cpu_us', 2)}"
                f" | {spread(good, 'events_per_core_second')} | {spread(good, 'broker_cpu_us', 2)}"
                f" | {spread(good, 'peak_rss_mb')} | {spread(good, 'ready_s', 1)} |"
            )
        return [*lines, ""]

    def _ratio(self, name: str) -> str:
        """The median over the runs of ours to a peer's steady rate."""
        ours = self.measured["catch-up"].get("gatejoin", [])
        pairs = zip(ours, self.measured["catch-up"][name], strict=False)
        found = [
            mine["steady_rate"] / other["steady_rate"]
            for mine, other in pairs
            if "failed" not in mine and "failed" not in other
        ]
        return f"{statistics.median(found):.2f}" if found else ""

    def _model_table(self) -> list[str]:
        """What more cores should give: the cores divided by what an event costs on all of them, up
        to what the busiest thread of one process can do."""
        rows = []
        for name, runs in self.measured.get("catch-up", {}).items():
            good = [run for run in runs if "failed" not in run and run.get("busiest_thread_us")]
            if not name.startswith("gatejoin") or not good:
                continue
            engine, thread, broker = (
                statistics.median(run[figure] for run in good)
                for figure in ("engine_cpu_us", "busiest_thread_us", "broker_cpu_us")
            )
            cells = [f"{min(cores / (engine + broker), 1 / thread) * 1e6:,.0f}"
                     for cores in MODEL_CORES]  # fmt: skip
            rows.append(
                f"| {self.titles[name]} | {engine:.2f} | {thread:.2f} | {broker:.2f}"
                f" | {' | '.join(cells)} |"
            )
        if not rows:
            return []
        heads = " | ".join(f"{cores} cores" for cores in MODEL_CORES)
        return [
            "## What limits it, and what more cores should give",
            "",
            "By the model: cores divided by what an event costs engine and broker together, at most"
            " what the busiest thread of the process can do; µs an event, then events/s. More than"
            " that takes another worker; its partitions add up as long as the brokers have cores.",
            "",
            f"| engine | engine µs | its busiest thread | broker µs | {heads} |",
            "|---|---|---|---|" + "---|" * len(MODEL_CORES),
            *rows,
            "",
        ]

    def _ceiling_table(self) -> list[str]:
        if not self.measured.get("ceiling"):
            return []
        lines = ["## Ceilings", "", "| what Kafka delivers | records/s | client CPU µs |",
                 "|---|---|---|"]  # fmt: skip
        for name, runs in self.measured["ceiling"].items():
            good = [run for run in runs if "failed" not in run]
            figures = (
                f"{spread(good, 'rate')} | {spread(good, 'cpu_us', 2) if good[0]['cpu_us'] else ''}"
                if good
                else f"left out: {_said(runs)} | "
            )
            lines.append(f"| {self.titles[name]} | {figures} |")
        return [*lines, ""]

    def _open_loop_table(self) -> list[str]:
        if not self.measured.get("open-loop"):
            return []
        lines = [
            "## Open loop",
            "",
            "Sustained: the highest load tried at which the lag grew by less than 1 % of the load."
            " Latency from an event's moment to its decision's append, milliseconds (the broker's"
            " clock has no finer ones, the load sends every 5 ms).",
            "",
            "| engine | sustained, events/s | load | events/s | p50 | p99 | p99.9 | max"
            " | load late |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for name, runs in self.measured["open-loop"].items():
            good = [run for run in runs if "failed" not in run]
            if not good:
                lines.append(f"| {self.titles[name]} | left out: {_said(runs)} |" + " |" * 7)
                continue
            lines += [
                f"| {self.titles[name]} | {spread(good, 'rate')} | {load}"
                f" | {late_cells(good, load)} |"
                for load in good[0]["latencies"]
            ]
        return [*lines, ""]

    def _year_table(self) -> list[str]:
        if not self.measured.get("year"):
            return []
        lines = [
            "## The national year, all rules, durability on",
            "",
            "| scale | events | seconds | events/s | engine CPU µs/event | customs side s"
            " | peak RSS MB |",
            "|---|---|---|---|---|---|---|",
        ]
        for runs in self.measured["year"].values():
            good = [run for run in runs if "failed" not in run]
            lines.append(
                f"| {good[0]['scale']:g} | {good[0]['events']:,} | {spread(good, 'seconds', 1)}"
                f" | {spread(good, 'events_per_second')} | {spread(good, 'engine_cpu_us', 2)}"
                f" | {spread(good, 'ready_s', 1)} | {spread(good, 'peak_rss_mb')} |"
                if good
                else f"| left out: {_said(runs)} |" + " |" * 6
            )
        return [*lines, ""]

    def _sweep_tables(self) -> list[str]:
        lines = []
        for kind, found in self.measured.items():
            if not kind.startswith("sweep "):
                continue
            lines += [
                f"## Sweep: {kind.removeprefix('sweep ')}",
                "",
                "| | events | steady, events/s | overall | engine CPU µs/event"
                " | broker CPU µs/event | peak RSS MB | table ready s |",
                "|---|---|---|---|---|---|---|---|",
            ]
            for name, runs in found.items():
                good = [run for run in runs if "failed" not in run]
                lines.append(
                    f"| {self.titles[name]} | {good[0]['events']:,}"
                    f" | {spread(good, 'steady_rate')} | {spread(good, 'overall_rate')}"
                    f" | {spread(good, 'engine_cpu_us', 2)} | {spread(good, 'broker_cpu_us', 2)}"
                    f" | {spread(good, 'peak_rss_mb')} | {spread(good, 'ready_s', 1)} |"
                    if good
                    else f"| {self.titles[name]} | left out: {_said(runs)} |" + " |" * 6
                )
            lines.append("")
            lines += self._late_table(kind.removeprefix("sweep ").partition(" (")[0])
        return lines

    def _late_table(self, kind: str) -> list[str]:
        """Latencies of a sweep at one steady load."""
        lines: list[str] = []
        for late_kind, found in self.measured.items():
            if late_kind.removeprefix("late ").partition(" (")[0] != kind:
                continue
            lines += ["| | events/s | p50 | p99 | p99.9 | max | load late |",
                      "|---|---|---|---|---|---|---|"]  # fmt: skip
            for name, runs in found.items():
                good = [run for run in runs if "failed" not in run]
                lines += [
                    f"| {self.titles[name]} | {late_cells(good, load)} |"
                    for load in (good[0]["latencies"] if good else ())
                ]
                if not good:
                    lines.append(f"| {self.titles[name]} | left out: {_said(runs)} |" + " |" * 5)
            lines.append("")
        return lines

    # ---- the chart ----

    def as_chart(self) -> str:
        """Bars of the steady rates, ours first, ceilings last."""
        rows: list[tuple[str, float, str]] = []
        for name, runs in self.measured.get("catch-up", {}).items():
            rates = [run["steady_rate"] for run in runs if "failed" not in run]
            if rates:
                colour = OURS_COLOUR if name.startswith("gatejoin") else PEER_COLOUR
                rows.append((self.titles[name], statistics.median(rates), colour))
        for name, runs in self.measured.get("ceiling", {}).items():
            rates = [run["rate"] for run in runs if "failed" not in run]
            if rates:
                rows.append((self.titles[name], statistics.median(rates), CEILING_COLOUR))
        return bars(
            f"Events a second, Kafka to Kafka, on {self.head['machine']['cores']} cores that the"
            f" broker shares ({self.head['date']})",
            rows,
        )


def late_cells(runs: Sequence[Mapping[str, Any]], load: str) -> str:
    """The latencies of a load as cells of a row: its rate, milliseconds."""
    at = [run["latencies"][load] for run in runs if load in run["latencies"]]
    figures = ("rate", "p50_ms", "p99_ms", "p999_ms", "max_ms")
    return " | ".join(
        [*(spread(at, figure) for figure in figures), spread(at, "sender_late_ms", 1)]
    )


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """A chart of horizontal bars as SVG: label, value, colour a row."""
    most = max((value for _, value, _ in rows), default=1.0)
    width = LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH
    height = MARGIN * 4 + BAR_HEIGHT * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="{MARGIN + 8}" font-weight="bold">{escape(title)}</text>',
    ]
    for at, (label, value, colour) in enumerate(rows):
        top = MARGIN * 3 + at * BAR_HEIGHT
        length = max(1.0, BAR_WIDTH * value / most)
        parts += [
            f'<text x="{LABEL_WIDTH - 6}" y="{top + 13}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABEL_WIDTH}" y="{top}" width="{length:.1f}" height="{BAR_HEIGHT - 6}"'
            f' fill="{colour}"/>',
            f'<text x="{LABEL_WIDTH + length + 6:.1f}" y="{top + 13}">{value:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def spread(runs: Sequence[Mapping[str, Any]], figure: str, digits: int = 0) -> str:
    """The median of a figure, and the least and most where there are several runs."""
    values = [float(run[figure]) for run in runs]
    if not values:
        return ""
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def _said(runs: Sequence[Mapping[str, Any]]) -> str:
    """Why a measurement failed, in one line."""
    return " ".join(str(runs[-1]["failed"]).split()).replace("|", "/")[:200]
