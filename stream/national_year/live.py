"""The live phase: a few seconds of visits with present timestamps on top of a loaded year.

Events come on an open-loop schedule (each has its moment, whether or not the one before was
answered), customs amends and stops meanwhile. The stories are the catalogue's; only the time is
pressed together. Called by the demo and benchmarks; it must never know a broker.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy
from numpy.typing import NDArray

from core_ext.json_rows import JsonRows, partitions
from stream.national_year.catalogue import STORIES
from stream.national_year.expectations import Expectations, Volumes, movement_columns
from stream.national_year.planner import (
    MINUTE_MS,
    Int64s,
    Plan,
    PlannedStory,
    Rows,
    TemplateIndex,
    customs_rows_per_visit,
    fill_customs,
)
from stream.national_year.templates import (
    DICTIONARIES,
    GRAMS,
    MOMENT,
    NUMBER,
    PIECES,
    PLACE,
    SECOND_PLACE,
    SERIAL,
    STAYED,
    TIMESTAMP,
)

SHARES = {
    "import of 1": 440,
    "export of 1": 360,
    "domestic": 40,
    "import packages": 40,
    "on two declarations": 20,
    "wrong check digit": 10,
    "nobody looked": 10,
    "wrong number": 10,
    "not cleared": 10,
    "sealed anew after the check": 10,
    "undeclared, left": 5,
    "empty without document": 5,
    "stopped after its release": 15,
    "cleared while it waited": 15,
    "cancelled after its release": 5,
    "listed by an amendment": 5,
    "declaration stopped after its release": 5,
    "customs seal ordered": 5,
}
"""Visits of each story, of 1,010. Stories whose outcome hangs on minutes that pass are not here."""

STEP_MS = 1_500
"""Between two steps of a visit."""
PLAYED_STEP_MS = 2_000
"""The same where customs speaks. Its word must not overtake the event that it answers, nor be
overtaken by the next one, so this is far more than a worker lags while it keeps up."""
TICK_MS = 5
"""Events are due together every so often: 25 of them at 5,000 a second."""


@dataclass(frozen=True)
class Schedule:
    """Records in the order of (topic, partition, time); see RecordSlice for the buffers.

    ``due_ms`` is milliseconds after the start.
    """

    topics: tuple[str, ...]
    topic: NDArray[numpy.int64]
    """Index into ``topics`` of each record."""
    values: NDArray[numpy.uint8]
    value_offsets: NDArray[numpy.int64]
    keys: NDArray[numpy.uint8]
    key_offsets: NDArray[numpy.int64]
    due_ms: NDArray[numpy.int64]
    timestamps_ms: NDArray[numpy.int64]
    partitions: NDArray[numpy.int32]

    def __len__(self) -> int:
        return len(self.due_ms)

    def lanes(self) -> Iterator[tuple[str, int, int, int]]:
        """(topic, partition, first record, record after the last) of all that has any records;
        the records of a lane follow one another in time."""
        lane = self.topic << 32 | self.partitions
        for first in numpy.flatnonzero(numpy.diff(lane, prepend=-1)).tolist():
            after = int(numpy.searchsorted(lane, lane[first], side="right"))
            yield self.topics[int(self.topic[first])], int(self.partitions[first]), first, after


@dataclass(frozen=True)
class LivePhase:
    """What customs has declared before it starts, what is then sent when, what comes out."""

    declared: Schedule
    """Due at once, before the start."""
    events: Schedule
    customs: Schedule
    """What customs says meanwhile."""
    expectations: Expectations


class LivePlan:
    """A live phase without its date: made in advance, put into the present by :meth:`at`.

    Args:
        plan: the year it comes on top of; no unit or number of it is used again.
        seed: see NationalYear.
        seconds: how long events are sent.
        events_per_second: their rate.
        partition_counts: partitions of ``port-events``, ``declarations`` and ``holds``.
    """

    def __init__(
        self,
        plan: Plan,
        seed: int,
        seconds: float,
        events_per_second: int,
        partition_counts: dict[str, int],
    ) -> None:
        self._partition_counts = partition_counts
        by_name = {story.name: story for story in STORIES}
        wanted = int(seconds * events_per_second)
        events_of_all = sum(len(by_name[name].steps) * share for name, share in SHARES.items())
        self._stories: list[PlannedStory] = []
        serial = plan.serial_count()
        visit = plan.visit_count()
        for name, share in SHARES.items():
            visits = max(1, wanted * share // events_of_all)
            planned = PlannedStory(by_name[name], seed, visits, serial, visit, None)
            self._stories.append(planned)
            serial += visits
            visit += visits
        index = TemplateIndex(self._stories)
        self._sign, self._kind = movement_columns(index.movements)
        self._topics = ("declarations", "holds")
        self._customs_topic = numpy.array(
            [self._topics.index(row.topic) for row in index.customs_templates], numpy.int64
        )
        events, customs = index.event_templates, index.customs_templates
        self._event_values = JsonRows([row.value for row in events], DICTIONARIES)
        self._event_keys = JsonRows([row.key for row in events], DICTIONARIES)
        self._customs_values = JsonRows([row.value for row in customs], DICTIONARIES)
        self._customs_keys = JsonRows([row.key for row in customs], DICTIONARIES)
        self._plan_rows(index.first_event, index.first_customs, seconds * 1000)

    def _plan_rows(
        self, first_event: list[int], first_customs: list[int], length_ms: float
    ) -> None:
        events, loaded, played = [], [], []
        self._rows_of_step: dict[tuple[int, int], tuple[int, int]] = {}
        at = 0
        for number, planned in enumerate(self._stories):
            # The steps and customs' words in the order in which they happen.
            moments = [
                ((step.after_stay, step.sent_at or step.at), index)
                for index, step in enumerate(planned.story.steps)
            ]
            items = planned.story.customs
            moments += [
                ((item.after_stay, item.at), -1 - index)
                for index, item in enumerate(items)
                if item.at is not None
            ]
            moments.sort()
            step_ms = PLAYED_STEP_MS if planned.story.is_played else STEP_MS
            when = {index: order * step_ms for order, (_, index) in enumerate(moments)}
            visits = planned.plan(0, planned.visits)
            spread = max(1.0, length_ms - (len(moments) - 1) * step_ms)
            start = (numpy.arange(planned.visits) * spread / planned.visits).astype(numpy.int64)
            visits = replace(visits, start_ms=start, stay_ms=numpy.zeros_like(start))
            for index, step in enumerate(planned.story.steps):
                rows = Rows.empty(planned.visits)
                rows.columns[TIMESTAMP] = start + when[index]
                rows.columns[SERIAL] = visits.serial
                rows.columns[PLACE] = visits.second_place if step.place else visits.place
                pieces, grams = planned.quantity(step, visits, 0)
                rows.columns[PIECES], rows.columns[GRAMS] = pieces, grams
                rows.columns[NUMBER] = visits.number
                rows.template[:] = first_event[number] + index
                events.append(rows)
                self._rows_of_step[number, index] = (at, at + planned.visits)
                at += planned.visits
            each = customs_rows_per_visit(planned.story, played=False)
            rows = Rows.empty(each * planned.visits)
            fill_customs(rows, 0, planned, first_customs[number], visits, 0)
            rows.columns[MOMENT] = 0
            rows.columns[STAYED] = 0
            loaded.append(rows)
            for index, item in enumerate(items):
                if item.at is None:
                    continue
                rows = Rows.empty(planned.visits)
                rows.columns[TIMESTAMP] = start + when[-1 - index]
                rows.columns[SERIAL] = visits.serial
                rows.columns[MOMENT] = 0
                rows.columns[PLACE], rows.columns[SECOND_PLACE] = visits.place, visits.second_place
                rows.columns[PIECES], rows.columns[GRAMS] = visits.pieces, visits.grams
                rows.columns[NUMBER] = visits.number
                # So that what it dates "after the stay" is in the past when it is sent.
                rows.columns[STAYED] = rows.columns[TIMESTAMP] - item.at * MINUTE_MS
                rows.template[:] = first_customs[number] + index
                played.append(rows)
        self._events = Rows.joined(events)
        self._loaded = Rows.joined(loaded)
        self._played = Rows.joined(played)
        self._make_even(length_ms)

    def _make_even(self, length_ms: float) -> None:
        """Moves the events to an even rate, and customs' words with them."""
        wanted = self._events.columns[TIMESTAMP]
        order = numpy.argsort(wanted, kind="stable")
        even = (numpy.arange(len(order)) * length_ms / len(order)).astype(numpy.int64)
        even -= even % TICK_MS
        moved = numpy.interp(self._played.columns[TIMESTAMP], wanted[order], even)
        shift = moved.astype(numpy.int64) - self._played.columns[TIMESTAMP]
        self._played.columns[TIMESTAMP] += shift
        self._played.columns[STAYED] += shift
        self._events.columns[TIMESTAMP, order] = even
        self.gap_ms_min = self._gap_ms_min()

    def _gap_ms_min(self) -> int:
        """Least time between a word of customs and an event of its unit, before or after it."""
        serials = numpy.unique(self._played.columns[SERIAL])
        ours = numpy.isin(self._events.columns[SERIAL], serials)
        serial = numpy.concatenate(
            [self._events.columns[SERIAL, ours], self._played.columns[SERIAL]]
        )
        moment = numpy.concatenate(
            [self._events.columns[TIMESTAMP, ours], self._played.columns[TIMESTAMP]]
        )
        order = numpy.lexsort((moment, serial))
        same_unit = numpy.diff(serial[order]) == 0
        return int(numpy.diff(moment[order])[same_unit].min(initial=PLAYED_STEP_MS))

    @property
    def event_count(self) -> int:
        """Events that are sent."""
        return len(self._events)

    @property
    def check_count(self) -> int:
        """Gate checks among the events: how many answers are measured."""
        return sum(
            planned.visits * sum(step.event_type == "GATE_CHECK" for step in planned.story.steps)
            for planned in self._stories
        )

    def declared(self, now_ms: int) -> Schedule:
        """What customs has declared when the phase starts, dated from ``now_ms``."""
        return self._customs_schedule(self._loaded, now_ms)

    def at(self, start_ms: int) -> LivePhase:
        """The phase with events from ``start_ms`` (milliseconds since 1970 UTC) on."""
        events = Rows(self._events.columns.copy(), self._events.template)
        due = events.columns[TIMESTAMP].copy()
        events.columns[TIMESTAMP] += start_ms
        events.columns[MOMENT] = events.columns[TIMESTAMP]
        order = numpy.argsort(due, kind="stable")
        where = self._where(
            self._event_keys, events, order, numpy.full(len(order), 0), ("port-events",)
        )
        order = order[numpy.lexsort((due[order], where))]
        schedule = self._schedule(
            events, order, due, self._event_values, self._event_keys, ("port-events",),
            numpy.zeros(len(events), numpy.int64),
        )  # fmt: skip
        first_day = datetime.datetime.fromtimestamp(
            start_ms / 1000, datetime.timezone(datetime.timedelta(hours=7))
        ).date()
        expectations = Expectations(volumes=Volumes(first_day))
        for number, planned in enumerate(self._stories):
            expectations.add_story(planned, planned.visits, is_log=False)
            expectations.stock.add(planned, planned.plan(0, planned.visits))
            # Planned dates are the catalogue year's; the present is in the events.
            for index, stock in enumerate(reversed(planned.stock), start=1):
                low, high = self._rows_of_step[number, stock.entry]
                expectations.stock.started_ms[-index] = events.columns[MOMENT, low:high]
        expectations.volumes.add(events, self._sign, self._kind)
        expectations.clock_ms = int(events.columns[TIMESTAMP].max())
        return LivePhase(
            self.declared(start_ms), schedule, self._customs_schedule(self._played, start_ms),
            expectations,
        )  # fmt: skip

    def _customs_schedule(self, rows: Rows, start_ms: int) -> Schedule:
        moved = Rows(rows.columns.copy(), rows.template)
        due = moved.columns[TIMESTAMP].copy()
        for column in (TIMESTAMP, MOMENT, STAYED):
            moved.columns[column] += start_ms
        topic = self._customs_topic[rows.template]
        order = numpy.argsort(due, kind="stable")
        where = self._where(self._customs_keys, moved, order, topic[order], self._topics)
        order = order[numpy.lexsort((due[order], where, topic[order]))]
        return self._schedule(
            moved, order, due, self._customs_values, self._customs_keys, self._topics, topic
        )

    def _where(
        self, writer: JsonRows, rows: Rows, order: Int64s, topic: Int64s, topics: tuple[str, ...]
    ) -> NDArray[numpy.int32]:
        keys, offsets = writer.write(rows.columns, rows.template, order)
        where = numpy.zeros(len(order), numpy.int32)
        for index, name in enumerate(topics):
            all_of = partitions(keys, offsets, self._partition_counts[name])
            where = numpy.where(topic == index, all_of, where)
        return where

    def _schedule(
        self,
        rows: Rows,
        order: Int64s,
        due: Int64s,
        value_writer: JsonRows,
        key_writer: JsonRows,
        topics: tuple[str, ...],
        topic: Int64s,
    ) -> Schedule:
        values, value_offsets = value_writer.write(rows.columns, rows.template, order)
        keys, key_offsets = key_writer.write(rows.columns, rows.template, order)
        return Schedule(
            topics, topic[order], values, value_offsets, keys, key_offsets, due[order],
            rows.columns[TIMESTAMP, order],
            self._where(key_writer, rows, order, topic[order], topics),
        )  # fmt: skip
