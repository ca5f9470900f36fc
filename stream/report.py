"""The national table, ``gatejoin report``: what moved, what stands, and who is connected.

Reads a replay's directory (``volumes.csv``, ``stock.csv``, ``registry.ndjson``; CONTRACT.md,
section 6) and rolls it up from operators to branches, departments and the nation, as of a date.
``stream.live_report`` hands the rows of the live topics to ``build_report``, ``stream.demo`` its
own. All sums are exact integers, weights in
grams. It must never know events or rules.

An operator belongs, for all its movements, to the department and branch that it had at the end of
the date asked for: a table of departments is a table of today's (or that day's) departments.
Stock is as it is known last, whatever the date: neither stock.csv nor its topic has a history.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TextIO

from stream.moments import day_of, day_text, parse_day
from stream.registry import OperatorVersion, Registry, RegistryError, read_registry

VOLUMES_HEADER = (
    "operatorID,day,direction,unitType,movementsIn,piecesIn,weightKgIn,"
    "movementsOut,piecesOut,weightKgOut"
)
STOCK_HEADER = "locationCode,direction,unitType,age,units,pieces,weightKg"
CSV_HEADER = (
    "level,departmentCode,departmentName,branchCode,branchName,direction,unitType,"
    "movementsIn,piecesIn,weightKgIn,movementsOut,piecesOut,weightKgOut"
)
DIRECTIONS = ("IMPORT", "EXPORT", "TRANSIT", "DOMESTIC")
UNIT_TYPES = ("CONTAINER", "PACKAGES", "BULK", "LIQUID")
AGES = ("0-30", "31-60", "61-90", "90+")
NOWHERE = "-"
"""Department and branch of what no operator of the registry, as of the date, accounts for."""

_WEIGHT = re.compile(r"(-?)([0-9]{1,16})\.([0-9]{3})")
_COUNT = re.compile(r"-?[0-9]{1,18}")


class ReportError(ValueError):
    """A directory that can't be reported on. One line: file, line, thing, remedy."""


class Volume(NamedTuple):
    """Movements of one operator on one day, or their sum over many. Weights in grams."""

    movements_in: int = 0
    pieces_in: int = 0
    grams_in: int = 0
    movements_out: int = 0
    pieces_out: int = 0
    grams_out: int = 0

    def plus(self, other: Volume) -> Volume:
        """Returns the sum of both."""
        return Volume(*map(int.__add__, self, other))


class VolumeRow(NamedTuple):
    """A line of ``volumes.csv``; ``day`` is an ordinal."""

    operator_id: str
    day: int
    direction: str
    unit_type: str
    volume: Volume


class StockRow(NamedTuple):
    """A line of ``stock.csv``; ``age`` is one of AGES, weight in grams."""

    location_code: str
    direction: str
    unit_type: str
    age: str
    units: int
    pieces: int
    grams: int


class Place(NamedTuple):
    """A branch of a department; NOWHERE for an operator that has none or isn't known."""

    department_code: str
    branch_code: str


class TableRow(NamedTuple):
    """A line of the national table, at the level of a branch."""

    place: Place
    direction: str
    unit_type: str
    volume: Volume


class StockTableRow(NamedTuple):
    """Stock of one kind at the level of a department; the counts go with AGES."""

    department_code: str
    direction: str
    unit_type: str
    units: tuple[int, ...]
    pieces: int
    grams: int


class DepartmentRow(NamedTuple):
    """A department and its operators as of the date."""

    code: str
    name: str
    connected: int
    operators: int


@dataclass(frozen=True, slots=True)
class Report:
    """All tables, sorted by code; directions and types in the contract's order."""

    as_of_day: int
    departments: list[DepartmentRow]
    branch_names: dict[Place, str]
    volumes: list[TableRow]
    stock: list[StockTableRow]

    @property
    def connected(self) -> int:
        """Connected operators in the nation."""
        return sum(row.connected for row in self.departments)

    def department_name(self, code: str) -> str:
        """Returns a department's name, empty if it has none."""
        return next((row.name for row in self.departments if row.code == code), "")

    def summed(self, level: str) -> list[TableRow]:
        """Returns the national table at a level: ``branch``, ``department`` or ``nation``."""
        sums: dict[tuple[Place, str, str], Volume] = {}
        for row in self.volumes:
            place = {
                "branch": row.place,
                "department": Place(row.place.department_code, ""),
                "nation": Place("", ""),
            }[level]
            key = (place, row.direction, row.unit_type)
            sums[key] = sums.get(key, Volume()).plus(row.volume)
        return [TableRow(*key, sums[key]) for key in sorted(sums, key=_table_order)]


def _order(values: Sequence[str], value: str) -> int:
    return values.index(value)


def _table_order(key: tuple[Place, str, str]) -> tuple[Place, int, int]:
    place, direction, unit_type = key
    return place, _order(DIRECTIONS, direction), _order(UNIT_TYPES, unit_type)


def build_report(
    volumes: Iterable[VolumeRow],
    stock: Iterable[StockRow],
    registry: Registry,
    as_of_day: int,
) -> Report:
    """Rolls rows up as of a day (an ordinal): movements of days up to it, operators as they were.

    Args:
        volumes: movements by operator and day, in any order.
        stock: stock by location; shown as it is.
        registry: every operator version.
        as_of_day: the last day that counts.
    """
    operators = registry.as_of(as_of_day)
    departments: dict[str, DepartmentRow] = {}
    branch_names: dict[Place, str] = {}
    location_departments: dict[str, str] = {}
    # The latest message has the say about a name that operators spell differently.
    for operator in sorted(operators.values(), key=lambda operator: operator.timestamp_ms):
        code = operator.department_code
        known = departments.get(code, DepartmentRow(code, "", 0, 0))
        departments[code] = DepartmentRow(
            code,
            _clean(operator.department_name),
            known.connected + operator.connected(as_of_day),
            known.operators + 1,
        )
        branch_names[_place(operator)] = _clean(operator.branch_name or "")
    for operator_id, operator in operators.items():
        for location_code in operator.locations:
            # A location that several operators share has one department in all known cases; if
            # not, the first operator's by ID, so that the table is always the same.
            location_departments.setdefault(location_code, operators[operator_id].department_code)

    sums: dict[tuple[Place, str, str], Volume] = {}
    for volume_row in volumes:
        if volume_row.day > as_of_day:
            continue
        mover = operators.get(volume_row.operator_id)
        place = Place(NOWHERE, NOWHERE) if mover is None else _place(mover)
        key = (place, volume_row.direction, volume_row.unit_type)
        sums[key] = sums.get(key, Volume()).plus(volume_row.volume)

    stock_sums: dict[tuple[Place, str, str], list[int]] = {}
    for stock_row in stock:
        department_code = location_departments.get(stock_row.location_code, NOWHERE)
        key = (Place(department_code, ""), stock_row.direction, stock_row.unit_type)
        counts = stock_sums.setdefault(key, [0] * (len(AGES) + 2))
        counts[_order(AGES, stock_row.age)] += stock_row.units
        counts[-2] += stock_row.pieces
        counts[-1] += stock_row.grams

    return Report(
        as_of_day,
        [departments[code] for code in sorted(departments)],
        branch_names,
        [TableRow(*key, sums[key]) for key in sorted(sums, key=_table_order)],
        [
            StockTableRow(
                key[0].department_code,
                key[1],
                key[2],
                tuple(stock_sums[key][: len(AGES)]),
                stock_sums[key][-2],
                stock_sums[key][-1],
            )
            for key in sorted(stock_sums, key=_table_order)
        ],
    )


def _place(operator: OperatorVersion) -> Place:
    return Place(operator.department_code, operator.branch_code or NOWHERE)


def _clean(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def read_report(directory: Path, as_of_day: int | None = None) -> Report:
    """Returns the report of a replay's directory.

    Args:
        directory: what ``gatejoin replay --out`` wrote.
        as_of_day: the last day that counts (ordinal); None for the last day of anything in it.

    Raises:
        ReportError: a file is missing or is not what a replay writes.
    """
    try:
        registry = read_registry(directory / "registry.ndjson")
        volumes = list(_volume_rows(directory / "volumes.csv"))
        stock = list(_stock_rows(directory / "stock.csv"))
    except RegistryError as error:
        raise ReportError(str(error)) from None
    except OSError as error:
        raise ReportError(
            f"{error.filename}: can't be read: {error.strerror}: "
            "give a directory that `gatejoin replay --out` has written"
        ) from None
    if as_of_day is None:
        days = [row.day for row in volumes]
        if registry.timestamp_ms_max is not None:
            days.append(day_of(registry.timestamp_ms_max * 1000))
        if not days:
            raise ReportError(
                f"{directory}: neither a movement nor an operator: there is nothing to report"
            )
        as_of_day = max(days)
    return build_report(volumes, stock, registry, as_of_day)


def _csv_rows(path: Path, header: str) -> Iterator[tuple[int, list[str]]]:
    cell_count = header.count(",") + 1
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for cells in reader:
                if reader.line_num == 1 and ",".join(cells) != header:
                    raise ReportError(f"{path}:1: the header must be {header}")
                if len(cells) != cell_count:
                    raise ReportError(
                        f"{path}:{reader.line_num}: {len(cells)} cells instead of {cell_count}: "
                        "replay the log again"
                    )
                if reader.line_num > 1:
                    yield reader.line_num, cells
        except (csv.Error, UnicodeDecodeError) as error:
            raise ReportError(f"{path}:{reader.line_num}: {error}: replay the log again") from None
    if reader.line_num == 0:
        raise ReportError(f"{path}:1: the file is empty, its header is missing")


def _volume_rows(path: Path) -> Iterator[VolumeRow]:
    days: dict[str, int] = {}
    for line, cells in _csv_rows(path, VOLUMES_HEADER):
        try:
            if cells[1] not in days:
                days[cells[1]] = parse_day(cells[1])
            yield VolumeRow(
                cells[0],
                days[cells[1]],
                _member(cells[2], DIRECTIONS),
                _member(cells[3], UNIT_TYPES),
                Volume(
                    _count(cells[4]),
                    _count(cells[5]),
                    _grams(cells[6]),
                    _count(cells[7]),
                    _count(cells[8]),
                    _grams(cells[9]),
                ),
            )
        except ValueError as error:
            raise ReportError(f"{path}:{line}: {error}: replay the log again") from None


def _stock_rows(path: Path) -> Iterator[StockRow]:
    for line, cells in _csv_rows(path, STOCK_HEADER):
        try:
            yield StockRow(
                cells[0],
                _member(cells[1], DIRECTIONS),
                _member(cells[2], UNIT_TYPES),
                _member(cells[3], AGES),
                _count(cells[4]),
                _count(cells[5]),
                _grams(cells[6]),
            )
        except ValueError as error:
            raise ReportError(f"{path}:{line}: {error}: replay the log again") from None


def _member(text: str, members: Sequence[str]) -> str:
    if text not in members:
        raise ValueError(f"{text!r} is none of {', '.join(members)}")
    return text


def _count(text: str) -> int:
    if not _COUNT.fullmatch(text):
        raise ValueError(f"{text!r} is no count")
    return int(text)


def _grams(text: str) -> int:
    match = _WEIGHT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no weight with 3 decimals")
    grams = int(match[2]) * 1000 + int(match[3])
    return -grams if match[1] else grams


def kilograms_text(grams: int, separator: str = "") -> str:
    """Returns grams as kilograms with 3 decimals, exactly; ``separator`` parts thousands."""
    kilograms, rest = divmod(abs(grams), 1000)
    whole = f"{kilograms:,}".replace(",", separator)
    return f"{'-' if grams < 0 else ''}{whole}.{rest:03d}"


def display_width(text: str) -> int:
    """Returns the columns that a text takes on a terminal: accents none, wide characters two."""
    width = 0
    for character in text:
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            continue
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width


def text_table(header: Sequence[str], rows: Iterable[Sequence[str | int]], left: int) -> str:
    """Returns an aligned table; the first ``left`` columns to the left, numbers to the right."""
    lines = [list(header)]
    lines.extend(
        [f"{cell:,}" if isinstance(cell, int) else _clean(cell) for cell in row] for row in rows
    )
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    text = []
    for cells in lines:
        padded = []
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            padding = " " * (width - display_width(cell))
            padded.append(cell + padding if place < left else padding + cell)
        text.append("  ".join(padded).rstrip())
    return "\n".join(text) + "\n"


_VOLUME_COLUMNS = ("in", "pieces in", "kg in", "out", "pieces out", "kg out")


def _volume_cells(volume: Volume) -> list[str | int]:
    return [
        volume.movements_in,
        volume.pieces_in,
        kilograms_text(volume.grams_in, ","),
        volume.movements_out,
        volume.pieces_out,
        kilograms_text(volume.grams_out, ","),
    ]


def render_text(report: Report) -> str:
    """Returns the tables for people, in plain text."""
    date = day_text(report.as_of_day)
    parts = [f"Connected operators as of {date}\n"]
    rows: list[list[str | int]] = [
        [row.code, row.name, row.connected, row.operators] for row in report.departments
    ]
    rows.append(["nation", "", report.connected, sum(row.operators for row in report.departments)])
    parts.append(text_table(("department", "name", "connected", "registered"), rows, left=2))

    parts.append(f"\nMovements up to {date} by department, direction and unit type\n")
    rows = [
        [
            row.place.department_code,
            report.department_name(row.place.department_code),
            row.direction,
            row.unit_type,
            *_volume_cells(row.volume),
        ]
        for row in report.summed("department")
    ]
    rows += [
        ["nation", "", row.direction, row.unit_type, *_volume_cells(row.volume)]
        for row in report.summed("nation")
    ]
    parts.append(
        text_table(("department", "name", "direction", "type", *_VOLUME_COLUMNS), rows, left=4)
    )

    parts.append(f"\nMovements up to {date} by branch\n")
    rows = [
        [
            row.place.department_code,
            row.place.branch_code,
            report.branch_names.get(row.place, ""),
            row.direction,
            row.unit_type,
            *_volume_cells(row.volume),
        ]
        for row in report.summed("branch")
    ]
    parts.append(
        text_table(
            ("department", "branch", "name", "direction", "type", *_VOLUME_COLUMNS), rows, left=5
        )
    )

    parts.append("\nStock as last known, units by age in days\n")
    rows = [
        [
            row.department_code,
            row.direction,
            row.unit_type,
            *row.units,
            row.pieces,
            kilograms_text(row.grams, ","),
        ]
        for row in report.stock
    ]
    rows.append(
        [
            "nation",
            "",
            "",
            *(sum(row.units[place] for row in report.stock) for place in range(len(AGES))),
            sum(row.pieces for row in report.stock),
            kilograms_text(sum(row.grams for row in report.stock), ","),
        ]
    )
    parts.append(
        text_table(("department", "direction", "type", *AGES, "pieces", "kg"), rows, left=3)
    )
    return "".join(parts)


def write_csv(report: Report, file: TextIO) -> None:
    """Writes the national table as CSV (RFC 4180), every level of it: branches and sums."""
    writer = csv.writer(file, lineterminator="\n")
    file.write(CSV_HEADER + "\n")
    for level in ("nation", "department", "branch"):
        for row in report.summed(level):
            volume = row.volume
            writer.writerow(
                (
                    level.upper(),
                    row.place.department_code,
                    report.department_name(row.place.department_code),
                    row.place.branch_code,
                    report.branch_names.get(row.place, ""),
                    row.direction,
                    row.unit_type,
                    volume.movements_in,
                    volume.pieces_in,
                    kilograms_text(volume.grams_in),
                    volume.movements_out,
                    volume.pieces_out,
                    kilograms_text(volume.grams_out),
                )
            )


def write_json(report: Report, file: TextIO) -> None:
    """Writes all tables as one JSON object; weights are strings, so that no reader rounds them."""
    document = {
        "asOf": day_text(report.as_of_day),
        "connectedOperators": report.connected,
        "departments": [
            {
                "departmentCode": row.code,
                "departmentName": row.name,
                "connectedOperators": row.connected,
                "registeredOperators": row.operators,
            }
            for row in report.departments
        ],
        "volumes": {
            level: [
                {
                    **({} if level == "nation" else {"departmentCode": row.place.department_code}),
                    **({"branchCode": row.place.branch_code} if level == "branch" else {}),
                    "direction": row.direction,
                    "unitType": row.unit_type,
                    "movementsIn": row.volume.movements_in,
                    "piecesIn": row.volume.pieces_in,
                    "weightKgIn": kilograms_text(row.volume.grams_in),
                    "movementsOut": row.volume.movements_out,
                    "piecesOut": row.volume.pieces_out,
                    "weightKgOut": kilograms_text(row.volume.grams_out),
                }
                for row in report.summed(level)
            ]
            for level in ("nation", "department", "branch")
        },
        "stock": [
            {
                "departmentCode": row.department_code,
                "direction": row.direction,
                "unitType": row.unit_type,
                "units": dict(zip(AGES, row.units, strict=True)),
                "pieces": row.pieces,
                "weightKg": kilograms_text(row.grams),
            }
            for row in report.stock
        ],
    }
    json.dump(document, file, ensure_ascii=False, indent=2)
    file.write("\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``gatejoin report``."""
    parser.add_argument(
        "--from",
        dest="directory",
        type=Path,
        metavar="DIR",
        help="what a replay wrote; absent, the live topics of GATEJOIN_BROKER",
    )
    parser.add_argument(
        "--as-of",
        metavar="DATE",
        help="YYYY-MM-DD, the last day that counts (in Vietnam); absent, the last day of the data",
    )
    parser.add_argument("--format", choices=("text", "csv", "json"), default="text")


def run(arguments: argparse.Namespace) -> int:
    """Runs ``gatejoin report``; returns the exit status."""
    try:
        as_of_day = None if arguments.as_of is None else parse_day(arguments.as_of)
    except ValueError as error:
        print(f"gatejoin report: --as-of: {error}", file=sys.stderr)
        return 2
    if arguments.directory is None:
        return _run_live(as_of_day, arguments.format)
    try:
        report = read_report(arguments.directory, as_of_day)
    except ReportError as error:
        print(f"gatejoin report: {error}", file=sys.stderr)
        return 2
    _write(report, arguments.format)
    return 0


def _run_live(as_of_day: int | None, form: str) -> int:
    # Here, so that a replay's report doesn't pay for Kafka's client.
    from stream.live_report import read_live_report
    from stream.live_topics import LiveTopicsError
    from stream.settings import Settings, SettingsError

    try:
        report = read_live_report(Settings.from_environment(), as_of_day)
    except (SettingsError, LiveTopicsError) as error:
        print(f"gatejoin report: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    _write(report, form)
    return 0


def _write(report: Report, form: str) -> None:
    if form == "csv":
        write_csv(report, sys.stdout)
    elif form == "json":
        write_json(report, sys.stdout)
    else:
        sys.stdout.write(render_text(report))
