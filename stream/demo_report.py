"""The demo's last page: tables for people, and every number against what the year expects.

Called by stream/demo.py. It must never know Kafka or the worker: it gets counts, and says where
they differ.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stream.live_report import age
from stream.national_year import Expectations
from stream.national_year.expectations import (
    StockKey,
    StockSums,
    VolumeKey,
    VolumeSums,
    add_sums,
)
from stream.national_year.operators import LAST_DAY, LOADED_MS, OPERATORS, REPORT_LAST_DAY
from stream.policy import CODES
from stream.registry import Registry
from stream.report import Report, StockRow, Volume, VolumeRow, build_report, text_table

CONNECTED = {REPORT_LAST_DAY: 74, LAST_DAY: 81}
"""Connected operators that the sources give."""


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The least value that ``share`` of all do not exceed (nearest rank)."""
    rank = max(1, -(-int(len(sorted_values) * share * 1_000_000) // 1_000_000))
    return sorted_values[min(rank, len(sorted_values)) - 1]


def volumes_of(cells: Iterable[bytes]) -> dict[VolumeKey, VolumeSums]:
    """Volumes over all partitions, from the cells that the workers published."""
    found: dict[VolumeKey, VolumeSums] = {}
    for value in cells:
        cell = json.loads(value)
        day = datetime.date.fromisoformat(cell["day"]).toordinal()
        key = (cell["operatorID"], day, cell["direction"], cell["unitType"])
        sums = (
            cell["movementsIn"], cell["piecesIn"], cell["gramsIn"],
            cell["movementsOut"], cell["piecesOut"], cell["gramsOut"],
        )  # fmt: skip
        found[key] = add_sums(found.get(key, (0,) * 6), sums)
    return found


def stock_of(cells: Iterable[bytes]) -> dict[StockKey, StockSums]:
    """Stock by the day of its visit's start over all partitions, from the published cells."""
    found: dict[StockKey, StockSums] = {}
    for value in cells:
        cell = json.loads(value)
        key = (cell["locationCode"], cell["direction"], cell["unitType"], cell["startDay"])
        units, pieces, grams = found.get(key, (0, 0, 0))
        found[key] = (units + cell["units"], pieces + cell["pieces"], grams + cell["grams"])
    return found


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
        expected: dict[VolumeKey, VolumeSums] | dict[StockKey, StockSums],
        found: dict[VolumeKey, VolumeSums] | dict[StockKey, StockSums],
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
    volumes: dict[VolumeKey, VolumeSums], stock: dict[StockKey, StockSums]
) -> Report:
    """The national table as of the year's last day, from what the worker counted."""
    rows = [VolumeRow(*key, Volume(*sums)) for key, sums in volumes.items()]
    last = LAST_DAY.toordinal()
    left = [
        StockRow(*key[:3], age(last - datetime.date.fromisoformat(key[3]).toordinal()), *sums)
        for key, sums in stock.items()
    ]
    return build_report(rows, left, registry(), last)


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
