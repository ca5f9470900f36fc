"""What the core's facts mean: the 24 rows of the rules, as effective-dated data.

The core finds facts and numbers them by row; this module says, for any moment of an event, which
facts hold, which only flag, on what legal basis and in which words. The shipped rows are
``stream/rules/shipped.toml``; a rules file (CONTRACT.md, section 6) replaces some of them for
some days, to rehearse a new circular over history. Called by the engine, the worker, ``replay``
and ``why``. It must never know how a fact is found, nor where events come from.

Days are days in Vietnam (+07:00) and run from midnight to midnight; moments are microseconds UTC.
"""

from __future__ import annotations

import bisect
import datetime
import difflib
import hashlib
import importlib.resources
import itertools
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from stream.moments import day_text, midnight_us, parse_day
from stream.toml_lines import key_lines

CODES: tuple[str, ...] = (
    "NOT_DECLARED",
    "ALREADY_PASSED",
    "REVOKED",
    "WRONG_LOCATION",
    "WRONG_DIRECTION",
    "NOT_CLEARED",
    "DECLARATIONS_INCOMPLETE",
    "DECLARATION_MISMATCH",
    "DUPLICATE_UNIT",
    "STOPPED",
    "SCAN_PENDING",
    "CUSTOMS_SEAL_REQUIRED",
    "SEAL_MISMATCH",
    "QUANTITY_EXCEEDED",
    "QUANTITY_MISSING",
    "NO_DOCUMENT",
    "DECLARED_GOODS",
    "OPERATOR_SUSPENDED",
    "NOT_IN_STOCK",
    "CHECK_DIGIT",
    "OVERSTAYED",
    "CLOCK_AHEAD",
    "SEAL_UNSEEN",
    "STALE_DECLARATION",
)
"""The rows in the order of CONTRACT.md section 5. Row n is bit n - 1 of the masks."""

TIME_FIRST_US = -(2**63)
TIME_LAST_US = 2**63 - 1

RULES_FILE_BYTES_MAX = 1 << 20
RULES_MAX = 1_000
TEXT_BYTES_MAX = 1_024
DURATION_DAYS_MAX = 100_000
"""Longest duration of a parameter. A due time of an event of 2199 still has a year of 4 digits."""
TOLERANCE_PERCENT_MAX = 1_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class PolicyError(ValueError):
    """A rules file that can't be used. The message is one line: file, line, thing, remedy."""


class Effect(StrEnum):
    """What a row does to a decision."""

    HOLD = "HOLD"
    FLAG = "FLAG"
    OFF = "OFF"


class Row(NamedTuple):
    """One row in force. ``basis`` is ``–`` where no article is cited."""

    code: str
    number: int
    """1 to 24, as in CONTRACT.md section 5."""
    effect: Effect
    basis: str
    basis_vi: str
    """The same in Vietnamese; a rules file has one wording, which then stands for both."""
    vi: str
    en: str


class Period(NamedTuple):
    """The rows in force for events with ``from_us <= eventDateTime < to_us`` (microseconds UTC).

    The last period's ``to_us`` is the greatest int64 and belongs to it.
    """

    from_us: int
    to_us: int
    rule_set_name: str
    hold_mask: int
    """Bit i: row i + 1 holds."""
    flag_mask: int
    """Bit i: row i + 1 flags."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers in the rules and alerts, in the contract's units."""

    overstay_days: int
    late_import_minutes: int
    late_export_minutes: int
    clock_ahead_minutes: int
    return_days: int
    stale_days: int
    reservation_hours: int
    weight_tolerance_thousandths: int
    """``weight_tolerance_percent`` in thousandths of a percent, exact."""


class Policy:
    """Rows for all time and the parameters. Immutable.

    Attributes:
        periods: sorted, without gap or overlap, over the whole of int64.
        parameters: for all periods alike.
    """

    def __init__(
        self, periods: Sequence[Period], rows: Sequence[tuple[Row, ...]], parameters: Parameters
    ) -> None:
        assert len(periods) == len(rows) > 0
        assert periods[0].from_us == TIME_FIRST_US
        assert periods[-1].to_us == TIME_LAST_US
        assert all(a.to_us == b.from_us for a, b in itertools.pairwise(periods))
        self.periods = list(periods)
        self.parameters = parameters
        self._rows = list(rows)
        self._starts = [period.from_us for period in periods]

    def period(self, event_time_us: int) -> Period:
        """Returns the period in force for an event of that moment (microseconds UTC)."""
        return self.periods[self._index(event_time_us)]

    def rows(self, event_time_us: int) -> tuple[Row, ...]:
        """Returns the 24 rows in force for an event of that moment (microseconds UTC)."""
        return self._rows[self._index(event_time_us)]

    def row(self, code: str, event_time_us: int) -> Row:
        """Returns one row in force for an event of that moment; KeyError for an unknown code."""
        try:
            number = _NUMBERS[code]
        except KeyError:
            raise KeyError(f"no rule has the code {code!r}") from None
        return self.rows(event_time_us)[number - 1]

    def _index(self, event_time_us: int) -> int:
        return max(0, bisect.bisect_right(self._starts, event_time_us) - 1)


_NUMBERS = {code: number for number, code in enumerate(CODES, start=1)}
_PARAMETER_DAYS = {"days": 1, "hours": 24, "minutes": 24 * 60}
_TOLERANCE = "weight_tolerance_percent"
_PARAMETER_NAMES = tuple(
    field.name.replace("weight_tolerance_thousandths", _TOLERANCE) for field in fields(Parameters)
)


def load_policy(rules_path: str | Path | None = None) -> Policy:
    """Returns the shipped policy, or with a rules file the policy that it rehearses.

    Args:
        rules_path: a rules file (CONTRACT.md, section 6), or None for the rows as shipped.

    Raises:
        PolicyError: the file can't be read, or something in it is wrong.
    """
    shipped = _shipped_document()
    if rules_path is None:
        return _build(shipped, [], shipped.parameters({}))
    path = Path(rules_path)
    try:
        with path.open("rb") as file:
            data = file.read(RULES_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise PolicyError(f"{path}: the rules file can't be read: {error.strerror}") from None
    return parse_policy(data, str(path))


def parse_policy(data: bytes, name: str) -> Policy:
    """Returns the policy of a rules file's bytes; ``name`` is the file's name for messages.

    Raises:
        PolicyError: something in it is wrong.
    """
    shipped = _shipped_document()
    document = _Document(data, name)
    document.check_keys((), document.root, ("rule", "parameters"))
    rules = document.rules()
    return _build(shipped, rules, document.parameters(shipped.root["parameters"]))


class _Days(NamedTuple):
    """Days by their ordinals, both inclusive; None is open."""

    first: int | None
    last: int | None

    def from_us(self) -> int:
        return TIME_FIRST_US if self.first is None else midnight_us(self.first)

    def to_us(self) -> int:
        return TIME_LAST_US if self.last is None else midnight_us(self.last + 1)


class _Rule(NamedTuple):
    code: str
    effect: Effect
    days: _Days
    basis: str | None
    vi: str | None
    en: str | None
    line: int


class _RowSet(NamedTuple):
    """One ``[[row_set]]`` of the shipped file."""

    name: str
    days: _Days
    basis: dict[str, str]
    basis_vi: dict[str, str]


class _Document:
    """A parsed TOML file that can name the line of whatever is wrong in it."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        if len(data) > RULES_FILE_BYTES_MAX:
            raise PolicyError(
                f"{name}: the file is larger than {RULES_FILE_BYTES_MAX:,} bytes: "
                "split the rehearsal or shorten its texts"
            )
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise PolicyError(
                f"{name}:{line}: not UTF-8 (byte 0x{data[error.start]:02x}): save the file as UTF-8"
            ) from None
        try:
            self.root: dict[str, Any] = tomllib.loads(text, parse_float=Decimal)
            self.lines = key_lines(text)
        except RecursionError:
            raise PolicyError(f"{name}: nested too deeply: a rules file has two levels") from None
        except ValueError as error:
            raise PolicyError(_syntax_message(name, text, str(error))) from None

    def error(self, path: tuple[str | int, ...], message: str) -> PolicyError:
        """Returns an error at the line of ``path``, or of the nearest thing around it."""
        while path not in self.lines:
            path = path[:-1]
        return PolicyError(f"{self.name}:{self.lines[path]}: {message}")

    def check_keys(
        self, path: tuple[str | int, ...], table: dict[str, Any], known: Sequence[str]
    ) -> None:
        for key in table:
            if key not in known:
                raise self.error((*path, key), f"unknown key {_shown(key)}: {_remedy(key, known)}")

    def table(self, path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error(path, f"`{_dotted(path)}` must be a table")
        return value

    def tables(self, key: str) -> list[dict[str, Any]]:
        values = self.root.get(key, [])
        if not isinstance(values, list):
            raise self.error((key,), f"`{key}` must be written [[{key}]], once for each")
        return [self.table((key, index), value) for index, value in enumerate(values)]

    def text(self, path: tuple[str | int, ...], value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.error(path, f"`{path[-1]}` must be a string that is not blank")
        if len(value.encode()) > TEXT_BYTES_MAX:
            raise self.error(path, f"`{path[-1]}` is longer than {TEXT_BYTES_MAX:,} bytes")
        if _CONTROL.search(value):
            raise self.error(
                path, f"`{path[-1]}` has a control character: write it as one line of text"
            )
        return value

    def texts(self, path: tuple[str | int, ...], table: dict[str, Any]) -> dict[str, str]:
        """Returns a table with one text for each of the 24 codes."""
        self.check_keys(path, table, CODES)
        for code in CODES:
            if code not in table:
                raise self.error(path, f"no text for {code}")
        return {code: self.text((*path, code), table[code]) for code in CODES}

    def day(self, path: tuple[str | int, ...], value: Any) -> int:
        """Returns the ordinal of a TOML date or of a string ``YYYY-MM-DD``."""
        if isinstance(value, str):
            try:
                return parse_day(value)
            except ValueError as error:
                raise self.error(path, f"`{path[-1]}`: {error}") from None
        if not isinstance(value, datetime.date) or isinstance(value, datetime.datetime):
            raise self.error(
                path, f"`{path[-1]}` must be a date without a time, written YYYY-MM-DD"
            )
        return value.toordinal()

    def days(self, path: tuple[str | int, ...], table: dict[str, Any]) -> _Days:
        first = self.day((*path, "from"), table["from"]) if "from" in table else None
        last = self.day((*path, "to"), table["to"]) if "to" in table else None
        if first is not None and last is not None and first > last:
            raise self.error(
                (*path, "to"),
                f"`to` {day_text(last)} is before `from` {day_text(first)}: "
                "both days count, so that one day has the same date twice",
            )
        return _Days(first, last)

    def rules(self) -> list[_Rule]:
        tables = self.tables("rule")
        if len(tables) > RULES_MAX:
            raise self.error(("rule", RULES_MAX), f"more than {RULES_MAX:,} [[rule]] tables")
        rules = [self._rule(index, table) for index, table in enumerate(tables)]
        self._check_overlaps(rules)
        return rules

    def _rule(self, index: int, table: dict[str, Any]) -> _Rule:
        path: tuple[str | int, ...] = ("rule", index)
        self.check_keys(path, table, ("code", "effect", "from", "to", "basis", "vi", "en"))
        for key in ("code", "effect"):
            if key not in table:
                raise self.error(path, f"this [[rule]] has no `{key}`: add it")
        code, effect = table["code"], table["effect"]
        if not isinstance(code, str) or code not in _NUMBERS:
            raise self.error(
                (*path, "code"), f"unknown rule code {_shown(code)}: {_remedy(code, CODES)}"
            )
        if not isinstance(effect, str) or effect not in Effect.__members__:
            raise self.error(
                (*path, "effect"), f"unknown effect {_shown(effect)}: use HOLD, FLAG or OFF"
            )
        texts = {
            key: self.text((*path, key), table[key])
            for key in ("basis", "vi", "en")
            if key in table
        }
        return _Rule(
            code,
            Effect(effect),
            self.days(path, table),
            texts.get("basis"),
            texts.get("vi"),
            texts.get("en"),
            self.lines[path],
        )

    def _check_overlaps(self, rules: Iterable[_Rule]) -> None:
        latest: dict[str, _Rule] = {}
        for rule in sorted(rules, key=lambda rule: (rule.days.from_us(), rule.line)):
            before = latest.get(rule.code)
            if before is not None and rule.days.from_us() < before.days.to_us():
                first, second = sorted((before.line, rule.line))
                common = rule.days.first if rule.days.first is not None else before.days.last
                day = "all days before" if common is None else f"day {day_text(common)}"
                raise PolicyError(
                    f"{self.name}:{second}: this rule for {rule.code} overlaps the one of line "
                    f"{first} ({day}): give them `from` and `to` so that no day is in both"
                )
            latest[rule.code] = rule

    def parameters(self, defaults: dict[str, Any]) -> Parameters:
        """Returns ``[parameters]``, with ``defaults`` (as parsed) for those not given."""
        table = self.table(("parameters",), self.root.get("parameters", {}))
        self.check_keys(("parameters",), table, _PARAMETER_NAMES)
        return Parameters(
            *(self._parameter(name, {**defaults, **table}[name]) for name in _PARAMETER_NAMES)
        )

    def _parameter(self, name: str, value: Any) -> int:
        path = ("parameters", name)
        if name == _TOLERANCE:
            return self._tolerance(path, value)
        unit = name.rpartition("_")[2]
        greatest = DURATION_DAYS_MAX * _PARAMETER_DAYS[unit]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.error(path, f"`{name}` must be an integer (whole {unit})")
        if not 0 <= value <= greatest:
            raise self.error(
                path, f"`{name}` is {value}, out of range: give 0 to {greatest:,} {unit}"
            )
        return value

    def _tolerance(self, path: tuple[str, str], value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self.error(path, f"`{_TOLERANCE}` must be a number of percent, such as 0.5")
        percent = Decimal(value)
        if not percent.is_finite() or not 0 <= percent <= TOLERANCE_PERCENT_MAX:
            raise self.error(
                path,
                f"`{_TOLERANCE}` is {value}, out of range: "
                f"give 0 to {TOLERANCE_PERCENT_MAX:,} percent",
            )
        exponent = percent.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -3:
            raise self.error(path, f"`{_TOLERANCE}` has more than 3 decimals: round it to 3")
        return int(percent.scaleb(3))

    def row_sets(self) -> list[_RowSet]:
        """Returns the ``[[row_set]]`` tables of the shipped file, which cover all days in order."""
        row_sets: list[_RowSet] = []
        for index, table in enumerate(self.tables("row_set")):
            path: tuple[str | int, ...] = ("row_set", index)
            self.check_keys(path, table, ("name", "from", "to", "basis", "basis_vi"))
            days = self.days(path, table)
            expected = TIME_FIRST_US if not row_sets else row_sets[-1].days.to_us()
            if days.from_us() != expected:
                raise self.error(path, "the row sets leave a gap or overlap")
            row_sets.append(
                _RowSet(
                    self.text((*path, "name"), table.get("name")),
                    days,
                    self.texts((*path, "basis"), table.get("basis", {})),
                    self.texts((*path, "basis_vi"), table.get("basis_vi", {})),
                )
            )
        if not row_sets or row_sets[-1].days.last is not None:
            raise self.error(("row_set",), "the row sets don't cover all days")
        return row_sets


def _syntax_message(name: str, text: str, message: str) -> str:
    """Moves the line that tomllib writes at the end of its message to where ours stands."""
    match = re.search(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$", message)
    if match is None:
        return f"{name}: {message}: correct the TOML"
    line = match[1] or str(text.count("\n") + 1)
    return f"{name}:{line}: {message[: match.start()]}: correct the TOML"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(part for part in path if isinstance(part, str))


def _remedy(value: Any, known: Sequence[str]) -> str:
    if isinstance(value, str):
        for close in difflib.get_close_matches(value[:64].upper(), [k.upper() for k in known], 1):
            return f"did you mean {next(k for k in known if k.upper() == close)}?"
    return f"known are {', '.join(known)}"


def _shipped_document() -> _Document:
    resource = importlib.resources.files("stream") / "rules" / "shipped.toml"
    document = _Document(resource.read_bytes(), "shipped.toml")
    document.check_keys((), document.root, ("rule", "row_set", "parameters"))
    return document


def _build(shipped: _Document, rules: Sequence[_Rule], parameters: Parameters) -> Policy:
    row_sets = shipped.row_sets()
    shipped_rules = shipped.rules()
    if tuple(rule.code for rule in shipped_rules) != CODES:
        raise PolicyError("shipped.toml: the rules must be the 24 rows in their order")
    shipped_parameters = shipped.parameters({})
    starts = {row_set.days.from_us() for row_set in row_sets}
    for rule in rules:
        starts.add(rule.days.from_us())
        if rule.days.last is not None:
            starts.add(rule.days.to_us())
    rules_by_code: dict[str, list[_Rule]] = {code: [] for code in CODES}
    for rule in sorted(rules, key=lambda rule: rule.days.from_us()):
        rules_by_code[rule.code].append(rule)
    rule_starts = {
        code: [rule.days.from_us() for rule in of_code] for code, of_code in rules_by_code.items()
    }
    periods: list[Period] = []
    rows_by_period: list[tuple[Row, ...]] = []
    for from_us in sorted(starts):
        row_set = next(row_set for row_set in row_sets if from_us < row_set.days.to_us())
        rows: list[Row] = []
        as_shipped: list[Row] = []
        for number, words in enumerate(shipped_rules, start=1):
            assert words.vi is not None and words.en is not None
            code = words.code
            row = Row(
                code,
                number,
                words.effect,
                row_set.basis[code],
                row_set.basis_vi[code],
                words.vi,
                words.en,
            )
            as_shipped.append(row)
            index = bisect.bisect_right(rule_starts[code], from_us) - 1
            if index >= 0 and from_us < rules_by_code[code][index].days.to_us():
                row = _replaced(row, rules_by_code[code][index])
            rows.append(row)
        rule_set_name = row_set.name
        if rows != as_shipped or parameters != shipped_parameters:
            rule_set_name += "~" + _content_hash(rows, parameters)
        if (
            periods
            and periods[-1].rule_set_name == rule_set_name
            and rows_by_period[-1] == tuple(rows)
        ):
            continue  # The days of a rule that changes nothing are no period of their own.
        if periods:
            periods[-1] = periods[-1]._replace(to_us=from_us)
        periods.append(
            Period(
                from_us,
                TIME_LAST_US,
                rule_set_name,
                _mask(rows, Effect.HOLD),
                _mask(rows, Effect.FLAG),
            )
        )
        rows_by_period.append(tuple(rows))
    return Policy(periods, rows_by_period, parameters)


def _replaced(row: Row, rule: _Rule) -> Row:
    row = row._replace(effect=rule.effect, vi=rule.vi or row.vi, en=rule.en or row.en)
    if rule.basis is not None:
        row = row._replace(basis=rule.basis, basis_vi=rule.basis)
    return row


def _mask(rows: Iterable[Row], effect: Effect) -> int:
    return sum(1 << (row.number - 1) for row in rows if row.effect is effect)


def _content_hash(rows: Sequence[Row], parameters: Parameters) -> str:
    """Names what is in force by its content, so that equal policies have equal names."""
    content = [
        [list(row) for row in rows],
        [getattr(parameters, field.name) for field in fields(Parameters)],
    ]
    text = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
