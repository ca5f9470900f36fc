"""What must come out of a national year: counted while it is planned, never worked out from rules.

The catalogue says what each story brings about; here that is added up over the visits. Called by
year.py, the demo and the tests, which compare it with what the engine made. It must never know
how the engine decides.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray

from stream.national_year.operators import FIRST_DAY, OPERATORS
from stream.national_year.planner import DAY_MS, Movement, PlannedStory, Rows, Visits
from stream.national_year.stories import direction_names, type_names
from stream.national_year.templates import GRAMS, MOMENT, PIECES, PLACE

OVERSTAY_MS = 90 * DAY_MS
AGES = ("0-30", "31-60", "61-90", "90+")
_AGE_LIMITS = (31, 61, 91)
_VIETNAM_MS = 7 * 3_600_000

_DIRECTIONS, _TYPES = len(direction_names), len(type_names)
_DAYS = 367

VolumeKey = tuple[str, int, str, str]
"""operatorID, day as a proleptic ordinal (Vietnam), direction, unit type."""
VolumeSums = tuple[int, int, int, int, int, int]
"""Movements, pieces and grams in, then out."""
StockKey = tuple[str, str, str, str]
"""Location, direction, unit type, and either an age or the day on which the visit started."""
StockSums = tuple[int, int, int]
"""Units, pieces, grams."""


def _base_day_ms(first_day: datetime.date) -> int:
    midnight = datetime.datetime.combine(first_day, datetime.time(), datetime.UTC)
    return int(midnight.timestamp()) * 1000 - _VIETNAM_MS


class Volumes:
    """Movements by operator, day, direction and unit type, as dense arrays of exact integers."""

    def __init__(self, first_day: datetime.date = FIRST_DAY) -> None:
        self._first_day = first_day
        self._base_ms = _base_day_ms(first_day)
        self._size = len(OPERATORS) * _DAYS * _DIRECTIONS * _TYPES
        # Movements, pieces and grams in, then out.
        self._sums = numpy.zeros((6, self._size), numpy.int64)

    def add(self, rows: Rows, sign: NDArray[numpy.int8], kind: NDArray[numpy.int64]) -> None:
        """Adds ``rows``; ``sign`` and ``kind`` (direction and unit type) are by template."""
        signs = sign[rows.template]
        for offset, wanted in ((0, 1), (3, -1)):
            chosen = numpy.flatnonzero(signs == wanted)
            if not len(chosen):
                continue
            kinds = kind[rows.template[chosen]]
            day = (rows.columns[MOMENT, chosen] - self._base_ms) // DAY_MS
            cell = (rows.columns[PLACE, chosen] * _DAYS + day) * (_DIRECTIONS * _TYPES) + kinds
            is_packages = kinds % _TYPES == type_names.index("PACKAGES")
            pieces = numpy.where(is_packages, rows.columns[PIECES, chosen], 0)
            used, inverse = numpy.unique(cell, return_inverse=True)
            for part, amount in enumerate((None, pieces, rows.columns[GRAMS, chosen])):
                # Sums of a slice stay far below 2^53, where float64 is exact.
                sums = numpy.bincount(inverse, weights=amount, minlength=len(used))
                self._sums[offset + part, used] += sums.astype(numpy.int64)

    def rows(self) -> Iterator[tuple[VolumeKey, VolumeSums]]:
        """Every operator, day, direction and unit type with a movement, sorted."""
        found = []
        for cell in numpy.flatnonzero(self._sums[0] + self._sums[3]):
            place_day, kind = divmod(int(cell), _DIRECTIONS * _TYPES)
            place, day = divmod(place_day, _DAYS)
            direction, unit_type = divmod(kind, _TYPES)
            key = (
                OPERATORS[place].operator_id,
                self._first_day.toordinal() + day,
                direction_names[direction],
                type_names[unit_type],
            )
            sums = self._sums[:, cell].tolist()
            found.append((key, (sums[0], sums[1], sums[2], sums[3], sums[4], sums[5])))
        found.sort()
        yield from found

    def table(
        self, first: datetime.date | None = None, last: datetime.date | None = None
    ) -> dict[tuple[str, str, str], VolumeSums]:
        """Sums by department code, direction and unit type over the days from first to last."""
        low = first.toordinal() if first else 0
        high = last.toordinal() if last else datetime.date.max.toordinal()
        department = {item.operator_id: item.department_code for item in OPERATORS}
        found: dict[tuple[str, str, str], VolumeSums] = {}
        for (operator_id, day, direction, unit_type), sums in self.rows():
            if low <= day <= high:
                key = (department[operator_id], direction, unit_type)
                found[key] = add_sums(found.get(key, (0,) * 6), sums)
        return found


def add_sums(left: Iterable[int], right: Iterable[int]) -> VolumeSums:
    """Adds two rows of six sums."""
    a, b, c, d, e, f = (one + other for one, other in zip(left, right, strict=True))
    return a, b, c, d, e, f


@dataclass
class StockLeft:
    """Visits that have not ended: when each started, where, what, and what is left of it."""

    started_ms: list[NDArray[numpy.int64]] = field(default_factory=list)
    place: list[NDArray[numpy.int64]] = field(default_factory=list)
    kind: list[NDArray[numpy.int64]] = field(default_factory=list)
    pieces: list[NDArray[numpy.int64]] = field(default_factory=list)
    grams: list[NDArray[numpy.int64]] = field(default_factory=list)

    def add(self, planned: PlannedStory, visits: Visits) -> None:
        """Adds what ``visits`` leave behind."""
        story = planned.story
        count = len(visits.start_ms)
        for stock in planned.stock:
            kind = direction_names.index(
                story.steps[stock.entry].direction or story.direction
            ) * _TYPES + type_names.index(story.unit_type)
            pieces = numpy.zeros(count, numpy.int64)
            grams = numpy.zeros(count, numpy.int64)
            for sign, (low, high, of) in stock.parts:
                grams += sign * (visits.grams * high // of - visits.grams * low // of)
                if story.unit_type == "PACKAGES":
                    pieces += sign * (visits.pieces * high // of - visits.pieces * low // of)
            for unit in range(story.units):
                self.started_ms.append(planned.moment(visits, stock.entry, unit))
                self.place.append(visits.second_place if stock.place else visits.place)
                self.kind.append(numpy.full(count, kind, numpy.int64))
                self.pieces.append(pieces)
                self.grams.append(grams)

    def overdue(self, clock_ms: int) -> int:
        """Import visits whose 90 days end at or before ``clock_ms``."""
        imports = direction_names.index("IMPORT")
        return sum(
            int(
                numpy.count_nonzero((kind // _TYPES == imports) & (start + OVERSTAY_MS <= clock_ms))
            )
            for start, kind in zip(self.started_ms, self.kind, strict=True)
        )

    def table(self, clock_ms: int) -> dict[StockKey, StockSums]:
        """Units, pieces and grams by location, direction, unit type and age at ``clock_ms``."""
        if not self.started_ms:
            return {}
        days = numpy.maximum(0, (clock_ms - numpy.concatenate(self.started_ms)) // DAY_MS)
        age = numpy.searchsorted(numpy.array(_AGE_LIMITS), days, side="right")
        return self._by([AGES[index] for index in age.tolist()])

    def by_start_day(self) -> dict[StockKey, StockSums]:
        """The same by the day (YYYY-MM-DD, Vietnam) on which the visit started."""
        if not self.started_ms:
            return {}
        days = (numpy.concatenate(self.started_ms) + _VIETNAM_MS) // DAY_MS
        epoch = datetime.date(1970, 1, 1).toordinal()
        return self._by(
            [datetime.date.fromordinal(epoch + day).isoformat() for day in days.tolist()]
        )

    def _by(self, last_key: list[str]) -> dict[StockKey, StockSums]:
        found: dict[StockKey, StockSums] = {}
        columns = (self.place, self.kind, self.pieces, self.grams)
        for last, place, kind, pieces, grams in zip(
            last_key, *(numpy.concatenate(column).tolist() for column in columns), strict=True
        ):
            key = (
                OPERATORS[place].location_code,
                direction_names[kind // _TYPES],
                type_names[kind % _TYPES],
                last,
            )
            before = found.get(key, (0, 0, 0))
            found[key] = (before[0] + 1, before[1] + pieces, before[2] + grams)
        return found


@dataclass
class Expectations:
    """What must come out. Counters hold no zeros."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Decisions by outcome: RELEASE, HOLD."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Decisions by each HOLD code in them."""
    flags: Counter[str] = field(default_factory=Counter)
    """Decisions by each FLAG code in them."""
    alerts: Counter[str] = field(default_factory=Counter)
    """Alerts by type, at ``clock_ms``."""
    rejects: Counter[str] = field(default_factory=Counter)
    """Rejects by reason, customs' included."""
    event_count: int = 0
    """Records on port-events."""
    customs_count: int = 0
    """Records on operators, declarations and holds."""
    clock_ms: int = 0
    """The greatest record timestamp."""
    volumes: Volumes = field(default_factory=Volumes)
    stock: StockLeft = field(default_factory=StockLeft)

    @property
    def decision_count(self) -> int:
        """Decisions in all."""
        return sum(self.outcomes.values())

    def add_story(self, planned: PlannedStory, visits: int, *, is_log: bool) -> None:
        """Adds what ``visits`` visits of a story bring about, volumes and stock apart."""
        story = planned.story
        units = visits * story.units
        if not units:
            return
        for decision in story.decisions:
            self.outcomes[decision.outcome] += units
            for code in decision.reasons:
                self.reasons[code] += units
            for code in decision.flags:
                self.flags[code] += units
        for alert in story.alerts:
            self.alerts[alert] += units
        for step in story.steps:
            if step.reject and not (is_log and step.misrouted):
                self.rejects[step.reject] += units
        for declared in story.declared:
            if declared.key:
                self.rejects["MALFORMED"] += visits
        for held in story.held:
            if held.blank_seal:
                self.rejects["MALFORMED"] += visits
        self.event_count += visits * planned.rows_per_visit
        self.customs_count += visits * (len(story.declared) + len(story.held))

    def alerts_at(self, clock_ms: int) -> Counter[str]:
        """Alerts by type once the clock has come to ``clock_ms``, nothing else having happened."""
        alerts = self.alerts.copy()
        alerts["OVERSTAYED"] += self.stock.overdue(clock_ms) - self.stock.overdue(self.clock_ms)
        return +alerts


def movement_columns(
    movements: list[Movement],
) -> tuple[NDArray[numpy.int8], NDArray[numpy.int64]]:
    """Sign and kind of each template, for :meth:`Volumes.add`."""
    sign = numpy.array([movement.sign for movement in movements], numpy.int8)
    kind = numpy.array(
        [
            direction_names.index(movement.direction) * _TYPES
            + type_names.index(movement.unit_type)
            for movement in movements
        ],
        numpy.int64,
    )
    return sign, kind
