"""Visits as numpy columns: how many of each story, when, where, how much.

Everything about visit k of a story follows from (seed, story, k) by a hash, so any part of the
year can be planned on its own and in any order. Visits of a story are spread evenly over its
window, one in each of as many strata as there are visits, with chance inside the stratum; that
makes the visits of a time slice a range of k. Called by year.py; knows no bytes and no Kafka.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from stream.national_year.catalogue import STORIES, UNITS_OF_ORDINARY
from stream.national_year.operators import END_MS, FIRST_MS, POOLS, midnight_ms
from stream.national_year.stories import WHOLE, Step, Stock, Story, stock_left
from stream.national_year.templates import (
    COLUMN_COUNT,
    GRAMS,
    MOMENT,
    NUMBER,
    NUMBERS_PER_VISIT,
    PIECES,
    PLACE,
    SECOND_PLACE,
    SERIAL,
    STAYED,
    TIMESTAMP,
    UNIT_GRAMS_STEP,
    RowTemplate,
    declaration_template,
    event_template,
    hold_template,
)

Int64s = NDArray[numpy.int64]
UInt64s = NDArray[numpy.uint64]

MINUTE_MS = 60_000
DAY_MS = 86_400_000

# What the sources give of the year (at scale 1).
IMPORT_CONTAINERS, EXPORT_CONTAINERS = 1_473_000, 1_058_000
IMPORT_PACKAGES, EXPORT_PACKAGES = 13_400_000, 28_500_000
REPORT_DECLARATIONS = 1_900
REPORT_EXPORT_KG, REPORT_IMPORT_KG = 2_400_000_000, 1_400_000_000

# How the totals are shared out: visits of 1,900 declarations, and of ordinary package lots.
_REPORT_VISITS = {
    "report import of 2": 250,
    "report export of 2": 450,
    "report import bulk": 300,
    "report export bulk": 450,
    "report import liquid": 250,
    "report export liquid": 200,
}
_PACKAGE_VISITS = {
    "import packages": 22_000,
    "import packages by three trucks": 4_000,
    "import packages by air": 14_000,
    "export packages": 52_000,
    "export packages by air": 28_000,
}

PIECES_OF_RARE_LOTS = 60
"""Lots of the rare stories have as many pieces each: halves, thirds and fifths come out even."""
GRAMS_PER_PIECE = 12_500
SCALE_MIN, SCALE_MAX = 0.000_125, 10.0
"""Below, the rare stories alone, one visit each, would be more than the totals; above, container
numbers would run into one another's lots of the live phase."""

JITTER_MS_MAX = 170_000
"""Below the five minutes between two steps, with room for the time a report takes."""


def mix(values: UInt64s) -> UInt64s:
    """splitmix64's finaliser: a random-looking 64-bit number for each value."""
    values = (values ^ (values >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return values ^ (values >> numpy.uint64(31))


def below(random: UInt64s, shift: int, limit: int) -> Int64s:
    """A number from 0 to limit - 1 from 20 bits of ``random``, starting at bit ``shift``."""
    bits = (random >> numpy.uint64(shift)) & numpy.uint64(0xFFFFF)
    return ((bits * numpy.uint64(limit)) >> numpy.uint64(20)).astype(numpy.int64)


def counts_at(scale: float) -> dict[str, int]:
    """Visits of every story at ``scale``, so that the year's totals come out exactly."""
    counts = {story.name: max(1, round(story.count * scale)) for story in STORIES if story.count}
    report = round(REPORT_DECLARATIONS * scale)
    shares = {name: max(1, int(share * scale)) for name, share in _REPORT_VISITS.items()}
    # What rounding leaves goes to the largest; a scale too small for six has one of each.
    shares["report export bulk"] += max(0, report - sum(shares.values()))
    counts |= shares
    counts |= {name: max(1, round(share * scale)) for name, share in _PACKAGE_VISITS.items()}
    for direction, total in (("IMPORT", IMPORT_CONTAINERS), ("EXPORT", EXPORT_CONTAINERS)):
        entries = sum(
            counts[story.name] * story.units * entries_of(story)
            for story in STORIES
            if story.name in counts
            and not story.is_played
            and (story.unit_type, story.direction) == ("CONTAINER", direction)
        )
        rest = round(total * scale) - entries
        if rest < 0:
            raise ValueError(f"scale {scale} is too small: the rare stories alone have more boxes")
        boxes_of_100 = sum(units * share for units, share in UNITS_OF_ORDINARY)
        placed = 0
        for units, share in UNITS_OF_ORDINARY:
            visits = rest * share // boxes_of_100
            counts[f"{direction.lower()} of {units}"] = visits
            placed += visits * units
        counts[f"{direction.lower()} of 1"] += rest - placed
    return counts


def entries_of(story: Story) -> int:
    """Entries of each unit that count in the end."""
    return sum(counts and step.event_type == "GET_IN" for step, counts in story.in_force())


def _rare_pieces_in(counts: dict[str, int], direction: str) -> int:
    pieces = 0
    for story in STORIES:
        if (
            (story.unit_type, story.direction) == ("PACKAGES", direction)
            and story.name not in _PACKAGE_VISITS
            and not story.is_played
        ):
            for step, in_force in story.in_force():
                if in_force and step.event_type == "GET_IN":
                    start, end, of = step.quantity or WHOLE
                    pieces += counts[story.name] * PIECES_OF_RARE_LOTS * (end - start) // of
    return pieces


@dataclass(frozen=True)
class Totals:
    """An exact total over all visits of a story, spread with chance: visit k has the k-th."""

    total: int
    visits: int
    swing: int
    """Neighbours differ by up to twice as much."""

    def share(self, visit: Int64s, random_of_pair: Int64s) -> Int64s:
        """What each visit has; ``random_of_pair`` is -swing .. swing, equal for 2k and 2k + 1."""
        base = (visit + 1) * self.total // self.visits - visit * self.total // self.visits
        signed = numpy.where(visit % 2 == 0, random_of_pair, -random_of_pair)
        # The last of an odd number has no partner to make up for it.
        return base + numpy.where((visit ^ 1) < self.visits, signed, 0)


def totals_at(scale: float, counts: dict[str, int]) -> dict[str, Totals]:
    """Totals of the stories that have one: pieces of packages, kilograms of the report's lots."""
    found: dict[str, Totals] = {}
    for direction, total in (("IMPORT", IMPORT_PACKAGES), ("EXPORT", EXPORT_PACKAGES)):
        names = [name for name in _PACKAGE_VISITS if name.startswith(direction.lower())]
        rest = round(total * scale) - _rare_pieces_in(counts, direction)
        visits = sum(counts[name] for name in names)
        _share_out(found, names, counts, rest, visits, least=10)
    for direction, total in (("import", REPORT_IMPORT_KG), ("export", REPORT_EXPORT_KG)):
        boxes = next(story for story in STORIES if story.name == f"report {direction} of 2")
        rest = round(total * scale) - counts[boxes.name] * boxes.units * boxes.weight_kg
        names = [f"report {direction} bulk", f"report {direction} liquid"]
        visits = sum(counts[name] for name in names)
        _share_out(found, names, counts, rest, visits, least=1_000)
    return found


def _share_out(
    found: dict[str, Totals],
    names: list[str],
    counts: dict[str, int],
    rest: int,
    visits: int,
    least: int,
) -> None:
    if rest < visits * least:
        raise ValueError(f"the scale is too small: {rest} for {visits} visits of {names}")
    for name in names:
        total = rest * counts[name] // visits if name != names[-1] else rest
        found[name] = Totals(total, counts[name], total // counts[name] // 2)
        rest, visits = rest - total, visits - counts[name]


def window_of(story: Story) -> tuple[int, int]:
    """First and last millisecond at which a visit may begin, so that it ends within the year."""
    duration_ms = _duration_minutes(story) * MINUTE_MS + 15 * MINUTE_MS
    first, end = FIRST_MS, END_MS
    if story.window == "early":
        # Due, and past its due time, well before the year ends.
        end = END_MS - 100 * DAY_MS + duration_ms if duration_ms < 100 * DAY_MS else END_MS
    elif story.window == "last months":
        first = END_MS - 80 * DAY_MS
    elif story.window == "last weeks":
        first = END_MS - 14 * DAY_MS
    elif story.window == "not last weeks":
        end = END_MS - 20 * DAY_MS
    elif story.window == "report":
        first, end = midnight_ms(datetime.date(2018, 1, 16)), midnight_ms(datetime.date(2018, 7, 1))
    elif story.window == "report bulk":
        first, end = midnight_ms(datetime.date(2018, 3, 13)), midnight_ms(datetime.date(2018, 7, 1))
    return first, end - duration_ms


def _duration_minutes(story: Story) -> int:
    longest = 0
    for step in story.steps:
        last = max(step.at, step.sent_at or 0, step.at + abs(step.delay or 0))
        longest = max(longest, last + (story.stay[1] if step.after_stay else 0))
    for item in story.customs:
        if item.at is not None:
            longest = max(longest, item.at + story.stay[1])
    return longest + 7 * story.units


@dataclass(frozen=True)
class Visits:
    """Columns of some visits of one story, one row a visit."""

    start_ms: Int64s
    stay_ms: Int64s
    place: Int64s
    second_place: Int64s
    serial: Int64s
    number: Int64s
    pieces: Int64s
    grams: Int64s
    chance: UInt64s


@dataclass(frozen=True)
class Movement:
    """What a row adds to the volumes: +1 in, -1 out, 0 nothing."""

    sign: int
    direction: str
    unit_type: str


NO_MOVEMENT = Movement(0, "IMPORT", "CONTAINER")


class PlannedStory:
    """One story with its place in the year: counts, first serial, first template."""

    def __init__(
        self,
        story: Story,
        seed: int,
        visits: int,
        first_serial: int,
        first_visit: int,
        totals: Totals | None,
    ) -> None:
        self.story = story
        self.visits = visits
        self.first_serial = first_serial
        self.first_visit = first_visit
        self.totals = totals
        self.window = window_of(story)
        self.step_names = story.step_names()
        self.in_force = [counts for _, counts in story.in_force()]
        self.stock: list[Stock] = stock_left(story)
        name_hash = int.from_bytes(story.name.encode(), "little") % (1 << 61)
        key = mix(mix(numpy.array([seed], numpy.uint64)) ^ numpy.uint64(name_hash))
        self._key = key[0]
        self._slots = {name: slot for slot, name in enumerate(dict.fromkeys(self.step_names))}
        pool = POOLS[story.pool]
        self._pool_places = numpy.array(pool.places, numpy.int64)
        self._pool_from = numpy.array(pool.from_ms, numpy.int64)
        self._pool_shares = numpy.cumsum(numpy.array(pool.shares, numpy.int64))

    @property
    def rows_per_visit(self) -> int:
        """Events of a visit."""
        return len(self.story.steps) * self.story.units

    def range_from(self, start_ms: int) -> int:
        """The first visit whose stratum begins at or after ``start_ms``."""
        first, last = self.window
        if start_ms <= first:
            return 0
        return min(self.visits, -(-(start_ms - first) * self.visits // (last - first)))

    def plan(self, low: int, high: int) -> Visits:
        """Visits ``low`` to ``high`` - 1."""
        story = self.story
        visit = numpy.arange(low, high, dtype=numpy.int64)
        chance = mix(visit.astype(numpy.uint64) + self._key)
        first, last = self.window
        # Milliseconds of a year times visits fit in 63 bits up to 290 million visits.
        stratum = first + visit * (last - first) // self.visits
        start = stratum + below(chance, 0, max(1, (last - first) // self.visits))
        least, most = story.stay
        stay = (least * MINUTE_MS) + below(chance, 20, (most - least + 1) * 6) * (MINUTE_MS // 6)
        # 20 bits for the choice of a place; shares add up to far less.
        known = numpy.maximum(numpy.searchsorted(self._pool_from, start, side="right"), 1)
        chosen = below(chance, 40, 1 << 20) * self._pool_shares[known - 1] >> 20
        at = numpy.searchsorted(self._pool_shares, chosen, side="right")
        place = self._pool_places[at]
        second = self._pool_places[(at + 1) % known]
        pieces = numpy.full(len(visit), PIECES_OF_RARE_LOTS, numpy.int64)
        if story.unit_type == "PACKAGES":
            if self.totals is not None:
                pieces = self._total_shares(visit)
            grams = pieces * GRAMS_PER_PIECE
        elif story.is_lot:
            if self.totals is not None:
                grams = self._total_shares(visit) * 1_000
            else:
                grams = (500 + below(chance, 12, 2_500)) * 1_000_000
        elif story.weight_kg:
            grams = numpy.full(len(visit), story.weight_kg * 1_000, numpy.int64)
        else:
            grams = (4_000 + below(chance, 12, 22_000)) * 1_000
        return Visits(
            start,
            stay,
            place,
            second,
            self.first_serial + visit * story.units,
            (self.first_visit + visit) * NUMBERS_PER_VISIT,
            pieces,
            grams,
            mix(chance),
        )

    def _total_shares(self, visit: Int64s) -> Int64s:
        assert self.totals is not None
        pair = mix((visit >> 1).astype(numpy.uint64) ^ self._key)
        swing = self.totals.swing
        return self.totals.share(visit, below(pair, 0, 2 * swing + 1) - swing)

    def moment(self, visits: Visits, index: int, unit: int) -> Int64s:
        """When step ``index`` happens to unit ``unit``."""
        step = self.story.steps[index]
        slot = self._slots[step.moment_of or self.step_names[index]]
        chance = below(visits.chance, 5 * slot % 44, JITTER_MS_MAX)
        fixed = (step.at + 7 * unit) * MINUTE_MS + step.seconds * 1_000
        moment = visits.start_ms + chance + fixed
        return moment + visits.stay_ms if step.after_stay else moment

    def sent(self, visits: Visits, index: int, unit: int, moment: Int64s) -> Int64s:
        """When its report reaches Kafka."""
        step = self.story.steps[index]
        seconds = 1_500 + below(visits.chance, (7 * index + 3) % 44, 48_000)
        if step.sent_at is None:
            return moment + seconds + (step.delay or 0) * MINUTE_MS
        fixed = (step.sent_at + 7 * unit) * MINUTE_MS
        base = visits.start_ms + seconds + fixed + JITTER_MS_MAX
        return base + visits.stay_ms if step.after_stay else base

    def quantity(self, step: Step, visits: Visits, unit: int) -> tuple[Int64s, Int64s]:
        """Pieces and grams of a step."""
        low, high, of = step.quantity or WHOLE
        grams = visits.grams
        if unit and not self.story.weight_kg:
            grams = grams + unit * UNIT_GRAMS_STEP
        if (low, high, of) == WHOLE:
            return visits.pieces, grams
        return (
            visits.pieces * high // of - visits.pieces * low // of,
            grams * high // of - grams * low // of,
        )


class TemplateIndex:
    """A template for every record that some stories send, in the order of the stories.

    ``first_event[i]`` is the first template of story i: one for each step and unit of a visit,
    ``first_customs[i]`` alike: one for each record on a declaration, then on a hold.
    """

    def __init__(self, stories: list[PlannedStory]) -> None:
        self.event_templates: list[RowTemplate] = []
        self.customs_templates: list[RowTemplate] = []
        self.movements: list[Movement] = []
        self.misrouted: list[bool] = []
        self.first_event: list[int] = []
        self.first_customs: list[int] = []
        for planned in stories:
            story = planned.story
            self.first_event.append(len(self.event_templates))
            self.first_customs.append(len(self.customs_templates))
            for index, step in enumerate(story.steps):
                movement = NO_MOVEMENT
                if planned.in_force[index] and step.event_type in ("GET_IN", "GET_OUT"):
                    sign = 1 if step.event_type == "GET_IN" else -1
                    direction = step.direction or story.direction
                    movement = Movement(sign, direction, story.unit_type)
                for unit in range(story.units):
                    self.event_templates.append(
                        event_template(story, step, planned.step_names[index], unit)
                    )
                    self.movements.append(movement)
                    self.misrouted.append(step.misrouted)
            for declared in story.declared:
                self.customs_templates.append(declaration_template(story, declared))
            for held in story.held:
                self.customs_templates.append(hold_template(story, held))


class Plan:
    """All stories of a year at one scale, with a template for every record they send."""

    def __init__(self, seed: int, scale: float) -> None:
        counts = counts_at(scale)
        totals = totals_at(scale, counts)
        self.stories: list[PlannedStory] = []
        serial = visit = 0
        for story in STORIES:
            planned = PlannedStory(
                story, seed, counts[story.name], serial, visit, totals.get(story.name)
            )
            self.stories.append(planned)
            serial += planned.visits * story.units
            visit += planned.visits
        self.templates = TemplateIndex(self.stories)

    def serial_count(self) -> int:
        """Serials used: units of all visits."""
        return sum(planned.visits * planned.story.units for planned in self.stories)

    def visit_count(self) -> int:
        """Visits of all stories."""
        return sum(planned.visits for planned in self.stories)


@dataclass
class Rows:
    """Planned records: columns (COLUMN_COUNT, n) and the template of each."""

    columns: Int64s
    template: NDArray[numpy.uint16]

    @staticmethod
    def empty(count: int) -> Rows:
        """Room for ``count`` rows, not yet filled."""
        return Rows(
            numpy.empty((COLUMN_COUNT, count), numpy.int64), numpy.empty(count, numpy.uint16)
        )

    def __len__(self) -> int:
        return len(self.template)

    def take(self, chosen: NDArray[numpy.bool_]) -> Rows:
        """The chosen rows, in their order."""
        # Not columns[:, chosen], which is laid out row by row and which the writers refuse.
        at = numpy.flatnonzero(chosen)
        return Rows(self.columns.take(at, axis=1), self.template[at])

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        """The rows of all parts, one behind the other."""
        return Rows(
            numpy.concatenate([part.columns for part in parts], axis=1),
            numpy.concatenate([part.template for part in parts]),
        )


def fill_events(
    rows: Rows, at: int, planned: PlannedStory, first_template: int, visits: Visits
) -> int:
    """Writes all event rows of ``visits`` at ``at``; returns where they end."""
    story = planned.story
    count = len(visits.start_ms)
    columns = rows.columns
    template = first_template
    for index, step in enumerate(story.steps):
        place = visits.second_place if step.place else visits.place
        for unit in range(story.units):
            end = at + count
            moment = planned.moment(visits, index, unit)
            columns[TIMESTAMP, at:end] = planned.sent(visits, index, unit, moment)
            columns[SERIAL, at:end] = visits.serial
            columns[MOMENT, at:end] = moment
            columns[PLACE, at:end] = place
            columns[PIECES, at:end], columns[GRAMS, at:end] = planned.quantity(step, visits, unit)
            columns[NUMBER, at:end] = visits.number
            rows.template[at:end] = template
            template += 1
            at = end
    return at


def fill_customs(
    rows: Rows,
    at: int,
    planned: PlannedStory,
    first_template: int,
    visits: Visits,
    sent_ms: int | None,
) -> int:
    """Writes customs' rows of ``visits``: those loaded before the year with record timestamp
    ``sent_ms``, or, with None, those that come while a visit goes on. Returns where they end."""
    count = len(visits.start_ms)
    columns = rows.columns
    for index, item in enumerate(planned.story.customs):
        if (item.at is None) != (sent_ms is not None):
            continue
        end = at + count
        if item.at is None:
            assert sent_ms is not None
            columns[TIMESTAMP, at:end] = sent_ms
        else:
            stayed = visits.stay_ms if item.after_stay else 0
            columns[TIMESTAMP, at:end] = (
                visits.start_ms + stayed + item.at * MINUTE_MS + JITTER_MS_MAX
            )
        columns[SERIAL, at:end] = visits.serial
        columns[MOMENT, at:end] = visits.start_ms
        columns[PLACE, at:end] = visits.place
        columns[PIECES, at:end] = visits.pieces
        columns[GRAMS, at:end] = visits.grams
        columns[NUMBER, at:end] = visits.number
        columns[SECOND_PLACE, at:end] = visits.second_place
        columns[STAYED, at:end] = visits.start_ms + visits.stay_ms
        rows.template[at:end] = first_template + index
        at = end
    return at


def customs_rows_per_visit(story: Story, *, played: bool) -> int:
    """Records of customs on a visit: those that come while it goes on, or those before."""
    return sum((item.at is not None) == played for item in story.customs)
