"""The demo's last page: tables for people, and every number against what the year expects.

Called by stream/demo.py. It must never know Kafka or the worker: it gets counts, and says where
they differ.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stream.national_year import Expectations
from stream.national_year.expectations import VolumeKey, VolumeSums
from stream.national_year.operators import LAST_DAY, LOADED_MS, OPERATORS, REPORT_LAST_DAY
from stream.policy import CODES
from stream.registry import Registry
from stream.report import Report, StockRow, Volume, VolumeRow, build_report, text_table

CONNECTED = {REPORT_LAST_DAY: 74, LAST_DAY: 81}
"""Connected operators that the sources give."""
StockKey = tuple[str, str, str, str]


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The least value that ``share`` of all do not exceed (nearest rank)."""
    rank = max(1, -(-int(len(sorted_values) * share * 1_000_000) // 1_000_000))
    return sorted_values[min(rank, len(sorted_values)) - 1]


def _grams(kilograms: str) -> int:
    whole, _, fraction = kilograms.partition(".")
    return int(whole) * 1000 + int(fraction.ljust(3, "0"))


def read_volumes(text: str) -> dict[VolumeKey, VolumeSums]:
    """Rows of a volumes.csv (CONTRACT.md section 6)."""
    found: dict[VolumeKey, VolumeSums] = {}
    for row in csv.DictReader(io.StringIO(text, newline="")):
        day = datetime.date.fromisoformat(row["day"]).toordinal()
        found[row["operatorID"], day, row["direction"], row["unitType"]] = (
            int(row["movementsIn"]),
            int(row["piecesIn"]),
            _grams(row["weightKgIn"]),
            int(row["movementsOut"]),
            int(row["piecesOut"]),
            _grams(row["weightKgOut"]),
        )
    return found


def read_stock(text: str) -> dict[StockKey, tuple[int, int, int]]:
    """Rows of a stock.csv (CONTRACT.md section 6)."""
    return {
        (row["locationCode"], row["direction"], row["unitType"], row["age"]): (
            int(row["units"]),
            int(row["pieces"]),
            _grams(row["weightKg"]),
        )
        for row in csv.DictReader(io.StringIO(text, newline=""))
    }


@dataclass
class Check:
    """Compares, and keeps what differs as lines for people."""

    differences: list[str]
    compared: int = 0

    def number(self, what: str, expected: int, found: int) -> None:
        """One number."""
        self.compared += 1
        if expected != found:
            self.differences.append(f"{what}: expected {expected:,}, found {found:,}")

    def counts(self, what: str, expected: Counter[str], found: Counter[str]) -> None:
        """Counts by name."""
        for name in sorted(expected.keys() | found.keys()):
            self.number(f"{what} {name}", expected[name], found[name])

    def table(
        self,
        what: str,
        columns: Sequence[str],
        expected: dict[VolumeKey, VolumeSums] | dict[StockKey, tuple[int, int, int]],
        found: dict[VolumeKey, VolumeSums] | dict[StockKey, tuple[int, int, int]],
    ) -> None:
        """Rows of numbers by key."""
        nothing = (0,) * len(columns)
        wanted: dict[object, tuple[int, ...]] = dict(expected.items())
        there: dict[object, tuple[int, ...]] = dict(found.items())
        for key in sorted(wanted.keys() | there.keys(), key=repr):
            for column, one, other in zip(
                columns, wanted.get(key, nothing), there.get(key, nothing), strict=True
            ):
                self.number(f"{what} {key} {column}", one, other)


VOLUME_COLUMNS = (
    "movements in",
    "pieces in",
    "grams in",
    "movements out",
    "pieces out",
    "grams out",
)
STOCK_COLUMNS = ("units", "pieces", "grams")


def registry() -> Registry:
    """The year's operators, as the worker was told of them."""
    known = Registry()
    for operator in OPERATORS:
        known.add(LOADED_MS, operator.operator_id, json.loads(operator.record()))
    return known


def national_report(
    volumes: dict[VolumeKey, VolumeSums], stock: dict[StockKey, tuple[int, int, int]]
) -> Report:
    """The national table as of the year's last day, from what the worker counted."""
    rows = [VolumeRow(*key, Volume(*sums)) for key, sums in volumes.items()]
    left = [StockRow(*key, *sums) for key, sums in stock.items()]
    return build_report(rows, left, registry(), LAST_DAY.toordinal())


def check_connected(check: Check) -> str:
    """Compares the counts of connected operators; returns a line that says them."""
    said = []
    known = registry()
    for day, expected in CONNECTED.items():
        operators = known.as_of(day.toordinal()).values()
        found = sum(operator.connected(day.toordinal()) for operator in operators)
        check.number(f"operators connected on {day}", expected, found)
        said.append(f"{found} on {day}")
    return "Connected operators: " + ", ".join(said)


def outcome_table(expected: Expectations, found_of: dict[str, Counter[str]]) -> str:
    """Decisions, reasons, flags, alerts and rejects, expected and found, as text."""
    rows: list[list[str | int]] = []
    for title, names, wanted, found in (
        ("decisions", ("RELEASE", "HOLD"), expected.outcomes, found_of["outcomes"]),
        ("with reason", CODES, expected.reasons, found_of["reasons"]),
        ("with flag", CODES, expected.flags, found_of["flags"]),
        ("alerts", None, expected.alerts, found_of["alerts"]),
        ("rejects", None, expected.rejects, found_of["rejects"]),
    ):
        there = wanted.keys() | found.keys()
        ordered: Iterable[str] = sorted(there) if names is None else names
        rows += [
            [
                title,
                name,
                wanted[name],
                found[name],
                "" if wanted[name] == found[name] else "DIFFERS",
            ]
            for name in ordered
            if name in there
        ]
    return text_table(("", "", "expected", "found", ""), rows, left=2)


def box(title: str, lines: Iterable[tuple[str, str]]) -> str:
    """A frame around names and values."""
    pairs = list(lines)
    name_width = max(len(name) for name, _ in pairs)
    body = [f"{name:<{name_width}}  {value}" for name, value in pairs]
    width = max(len(title) + 2, *(len(line) for line in body))
    top = f"┌─ {title} " + "─" * (width - len(title) - 1) + "┐"
    middle = [f"│ {line:<{width}} │" for line in body]
    return "\n".join([top, *middle, "└" + "─" * (width + 2) + "┘"])
