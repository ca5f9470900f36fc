"""From pytest-benchmark's JSON to what people read: a dated result file, a table, a chart.

Called by ``make bench``: ``python -m benchmarks.kernel.report BENCHMARK.json FOLDER`` writes
``kernel-YYYY-MM-DD.json`` and ``.md`` and ``kernel.svg`` into FOLDER. It measures nothing.

The figure of a row is that of its worst case among those that its target is meant for: the median
over all rounds. Spread is the range from the first to the third quartile.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.kernel.populations import SIZES_VARIABLE
from benchmarks.kernel.targets import ROWS

PACKAGES = ("aiokafka", "cramjam", "duckdb", "msgspec", "numpy", "orjson", "pandas", "polars")
SYSTEM_PACKAGES = ("libboost1.81-dev", "libsimdjson-dev")
FLAGS = ("sse4_2", "avx2", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512_vbmi2", "asimd")
CHART_UNITS = 10_000_000


def first_line(*command: str) -> str:
    """What a program says first; empty if it isn't there."""
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return (ran.stdout or ran.stderr).strip().split("\n")[0] if ran.returncode == 0 else ""


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    processor = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        processor.setdefault(name.strip(), value.strip())
    flags = set((processor.get("flags") or processor.get("Features") or "").split())
    huge_pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": processor.get("model name", platform.processor()),
        "family_model_stepping": "/".join(
            processor.get(name, "") for name in ("cpu family", "model", "stepping")
        ),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_gib": round(memory_bytes / 2**30, 1),
        "kernel": platform.release(),
        "huge_pages": huge_pages.read_text().strip() if huge_pages.exists() else "",
        "compiler": first_line(os.environ.get("CC", "gcc").split()[-1], "--version"),
        "python": platform.python_version(),
        "sizes": os.environ.get(SIZES_VARIABLE, ""),
    }


def versions() -> dict[str, str]:
    """The peers' versions; those that are not there are left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name in SYSTEM_PACKAGES:
        version = first_line("dpkg-query", "--show", "--showformat=${Version}", name)
        if version:
            found[name] = version
    return found


def summarise(benchmarks: list[dict[str, Any]]) -> tuple[list[dict], list[dict]]:
    """The rows of targets.py with their cases, and the other measurements."""
    rows = []
    for key, row in ROWS.items():
        cases = [entry["extra_info"] for entry in benchmarks if entry["extra_info"]["row"] == key]
        if not cases:
            continue
        counted = [case["measured"][1] for case in cases if case["counts"]] or [
            case["measured"][1] for case in cases
        ]
        worst = (max if row.less_is_better else min)(counted)
        rows.append(
            {
                "row": key,
                "title": row.title,
                "done": row.done,
                "hard": row.hard,
                "measured": worst,
                "grade": row.grade(worst),
                "cases": cases,
            }
        )
    others = [
        {"group": entry["group"], "name": entry["name"], **entry["extra_info"]}
        for entry in benchmarks
        if entry["extra_info"]["row"] is None
    ]
    return rows, others


def table(header: list[str], lines: list[list[str]]) -> list[str]:
    """A Markdown table."""
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(line) + " |" for line in lines),
    ]


def number(value: float | None) -> str:
    """A figure without digits that mean nothing."""
    return "" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def spread(quartiles: list[float]) -> str:
    """A median with its quartiles."""
    low, middle, high = map(number, quartiles)
    return middle if low == high else f"{middle} ({low} .. {high})"


def markdown(result: dict[str, Any]) -> str:
    """The result for people."""
    on, made = result["machine"], result["versions"]
    graded = [row for row in result["rows"] if row["grade"]]
    sizes = f" {SIZES_VARIABLE}={on['sizes']}" if on["sizes"] else ""
    command = f"make bench{sizes}"
    lines = [
        f"# The kernel, measured {result['date']}",
        "",
        f"`{command}` on {on['cores']} cores of {on['processor']} (family/model/stepping "
        f"{on['family_model_stepping']}; {' '.join(on['flags'])}), {on['memory_gib']} GiB, Linux "
        f"{on['kernel']}, huge pages `{on['huge_pages']}`; {on['compiler']}; Python "
        f"{on['python']}. Peers: {', '.join(f'{k} {v}' for k, v in made.items())}.",
        "",
        "Ours and the other side in turns on one core, medians; in brackets the quartiles. The",
        "figure of a row is its worst case. Rates are millions a second.",
        "",
        *table(
            ["", "done", "hard", "measured", ""],
            [
                [row["title"], *map(number, (row["done"], row["hard"], row["measured"])), grade]
                for row in result["rows"]
                for grade in [row["grade"]]
            ],
        ),
        "",
        f"Hard: {sum(row['grade'] == 'hard' for row in graded)} of {len(graded)}; missed: "
        f"{', '.join(row['title'] for row in graded if row['grade'] == 'missed') or 'none'}.",
        "",
        "## All cases",
        "",
    ]
    for row in result["rows"]:
        lines += [f"### {row['title']}", ""]
        lines += table(
            ["", "ours", "other", "measured", "answers"],
            [
                [
                    case["case"] + ("" if case["counts"] else " (beyond the target)"),
                    spread(case["ours_per_us"]) if "ours_per_us" in case else "",
                    spread(case["peer_per_us"]) if "peer_per_us" in case else "",
                    spread(case["measured"]),
                    case.get("answers_crc32", ""),
                ]
                for case in row["cases"]
            ],
        )
        for case in row["cases"]:
            if "bytes_by_place" in case:
                places = ", ".join(f"{k} {v}" for k, v in case["bytes_by_place"].items())
                lines += ["", f"{case['case']}: {places}"]
        lines.append("")
    lines += ["## Other measurements", ""]
    lines += table(
        ["group", "", "millions a second", "more"],
        [
            [
                entry["group"],
                entry["name"],
                spread(entry["per_us"]) if "per_us" in entry else "",
                ", ".join(
                    f"{k} {v}"
                    for k, v in entry.items()
                    if k not in ("group", "name", "per_us", "row", "answers_crc32")
                ),
            ]
            for entry in result["others"]
        ],
    )
    return "\n".join(lines) + "\n"


def contenders(result: dict[str, Any]) -> list[tuple[str, list[tuple[str, float, bool]]]]:
    """What the chart shows: per panel the contenders with millions a second, and which is ours."""
    rows = {row["row"]: row for row in result["rows"]}

    def case(key: str) -> dict[str, Any] | None:
        cases = rows[key]["cases"] if key in rows else []
        wanted = [case for case in cases if f"{CHART_UNITS:,} units" in case["case"]] or cases
        return wanted[0] if wanted else None

    panels = []
    for title, ours, keys in (
        (
            "container numbers found among 10 million, a second",
            "gatejoin",
            {
                "numbers_by_gather": "limit: memory lines loaded",
                "numbers_by_flat_map": "boost unordered_flat_map *",
                "numbers_by_pandas": "pandas get_indexer *",
                "numbers_by_duckdb": "duckdb join *",
                "numbers_by_dict": "dict of str",
                "numbers_by_polars": "polars join *",
            },
        ),
        (
            "port events read from JSON, a second",
            "gatejoin, fully checked",
            {
                "scan_by_on_demand_known": "simdjson on-demand (C++)",
                "scan_by_msgspec": "msgspec Struct",
                "scan_by_orjson": "orjson",
            },
        ),
        (
            "records of Kafka batches decoded, a second",
            "gatejoin",
            {"decode_by_aiokafka": "aiokafka"},
        ),
        (
            "events from Kafka bytes to rows, a second",
            "gatejoin",
            {"core_by_python": "aiokafka + msgspec + dict"},
        ),
    ):
        found = [(name, case(key)) for key, name in keys.items() if case(key)]
        if not found:
            continue
        bars = [(name, entry["peer_per_us"][1], False) for name, entry in found]
        bars.append((ours, found[0][1]["ours_per_us"][1], True))
        panels.append((title, sorted(bars, key=lambda bar: -bar[1])))
    return panels


def chart(result: dict[str, Any]) -> str:
    """The chart as SVG: bars on a logarithmic scale, with text in colours that fit both themes."""
    label_width, bar_width, height, gap = 220, 440, 20, 34
    low, high = 0.05, 500.0
    ticks = (0.1, 1.0, 10.0, 100.0)
    panels = contenders(result)
    total = 40 + sum(gap + height * len(bars) + 14 for _, bars in panels)

    def place(value: float) -> float:
        share = math.log(max(value, low) / low) / math.log(high / low)
        return label_width + share * bar_width

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {total}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<style>text{fill:#57606a}.ours{fill:#1a7f37}.other{fill:#8c959f}"
        ".line{stroke:#8c959f;stroke-opacity:.3}</style>",
    ]
    y = 8
    for title, bars in panels:
        y += gap
        bottom = y + height * len(bars)
        parts.append(
            f'<text x="0" y="{y - 12}" font-weight="600">Millions of {escape(title)}</text>'
        )
        for tick in ticks:
            x = place(tick)
            parts.append(
                f'<line class="line" x1="{x:.1f}" y1="{y - 4}" x2="{x:.1f}" y2="{bottom}"/>'
            )
        for name, value, is_ours in bars:
            kind = "ours" if is_ours else "other"
            parts.append(
                f'<text x="{label_width - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
                f'<rect class="{kind}" x="{label_width}" y="{y + 3}" '
                f'width="{place(value) - label_width:.1f}" height="{height - 6}" rx="2"/>'
                f'<text x="{place(value) + 6:.1f}" y="{y + 14}">{number(value)}</text>'
            )
            y += height
        y += 14
    words = (
        "Logarithmic. * given packed keys; gatejoin starts from the text and verifies its digits. "
        f"{result['machine']['processor']}, one core, {result['date']}."
    )
    parts.append(f'<text x="0" y="{total - 8}" font-size="11">{escape(words)}</text></svg>')
    return "\n".join(parts) + "\n"


def main(arguments: list[str]) -> None:
    """Writes the three files and prints the table of rows."""
    if len(arguments) != 2:
        raise SystemExit("use: python -m benchmarks.kernel.report BENCHMARK.json FOLDER")
    source, folder = map(Path, arguments)
    benchmarks = json.loads(source.read_text())["benchmarks"]
    for entry in benchmarks:
        entry["extra_info"].setdefault("row", None)
    rows, others = summarise(benchmarks)
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
        "others": others,
    }
    folder.mkdir(parents=True, exist_ok=True)
    name = f"kernel-{result['date']}"
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    text = markdown(result)
    (folder / f"{name}.md").write_text(text)
    (folder / "kernel.svg").write_text(chart(result))
    print(text.split("## All cases")[0])


if __name__ == "__main__":
    main(sys.argv[1:])
