"""The national year: planned visits as records, slice by slice, and as a log.

Called by the demo, the tests, the benchmarks and ``gatejoin year``. A year is a pure function of
(seed, scale). It must never know a broker: what it gives are buffers that record_batch.pyx makes
record batches of.

Two products::

    customs_records() + port_events()   for Kafka: customs' side first, then the year's events
    write_log(path)                     a log (CONTRACT.md section 6), which also holds the stories
                                        in which customs speaks while a visit goes on
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cramjam
import numpy
from numpy.typing import NDArray

from core_ext.json_rows import JsonRows, partitions
from stream.national_year.expectations import Expectations, movement_columns
from stream.national_year.live import LivePlan
from stream.national_year.operators import END_MS, FIRST_MS, LOADED_MS, OPERATORS
from stream.national_year.planner import (
    SCALE_MAX,
    SCALE_MIN,
    Plan,
    PlannedStory,
    Rows,
    customs_rows_per_visit,
    fill_customs,
    fill_events,
)
from stream.national_year.templates import DICTIONARIES, TIMESTAMP, log_line

SLICE_EVENTS = 49_152
"""Events of a slice, about. Some 16 MB of JSON: large enough that numpy's calls cost nothing,
small enough that the allocator keeps the buffers instead of giving them back each time."""
SLICE_CUSTOMS = 32_768
PARTITIONS_DEFAULT = 12


@dataclass(frozen=True)
class RecordSlice:
    """Some records of one topic, ready to be made record batches of.

    Record i is ``values[value_offsets[i]:value_offsets[i + 1]]``, its key alike; both buffers are
    uint8, offsets and timestamps int64 (timestamps in milliseconds), partitions int32. Records are
    in the order of (partition, time).
    """

    topic: str
    values: NDArray[numpy.uint8]
    value_offsets: NDArray[numpy.int64]
    keys: NDArray[numpy.uint8]
    key_offsets: NDArray[numpy.int64]
    timestamps_ms: NDArray[numpy.int64]
    partitions: NDArray[numpy.int32]
    partition_count: int

    def __len__(self) -> int:
        return len(self.timestamps_ms)

    def by_partition(self) -> Iterator[tuple[int, int, int]]:
        """(partition, first record, record after the last) of each partition that has any."""
        bounds = numpy.searchsorted(self.partitions, numpy.arange(self.partition_count + 1))
        for partition in range(self.partition_count):
            low, high = int(bounds[partition]), int(bounds[partition + 1])
            if low < high:
                yield partition, low, high

    def records(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        """(key, value, timestamp, partition) of each, for tests and people."""
        for index in range(len(self)):
            yield (
                self.keys[self.key_offsets[index] : self.key_offsets[index + 1]].tobytes(),
                self.values[self.value_offsets[index] : self.value_offsets[index + 1]].tobytes(),
                int(self.timestamps_ms[index]),
                int(self.partitions[index]),
            )


class NationalYear:
    """A year of port events and the customs side they meet, 10 August 2017 to 9 August 2018.

    Args:
        seed: 0 to 2^63 - 1; another seed gives other visits with the same totals.
        scale: 1 is the nation (about 8 million events); SCALE_MIN to SCALE_MAX.

    Raises:
        ValueError: seed or scale out of range.
    """

    def __init__(self, seed: int = 2018, scale: float = 1.0) -> None:
        if not 0 <= seed < 1 << 63:
            raise ValueError(f"seed {seed}: give one from 0 to 2^63 - 1")
        if not SCALE_MIN <= scale <= SCALE_MAX:
            raise ValueError(f"scale {scale}: give one from {SCALE_MIN} to {SCALE_MAX:g}")
        self.seed = seed
        self.scale = scale
        self._plan = Plan(seed, scale)
        self._sign, self._kind = movement_columns(self._plan.templates.movements)
        self._misrouted = numpy.array(self._plan.templates.misrouted)
        templates = self._plan.templates
        events, customs = templates.event_templates, templates.customs_templates
        self._event_values = JsonRows([row.value for row in events], DICTIONARIES)
        self._event_keys = JsonRows([row.key for row in events], DICTIONARIES)
        self._customs_values = JsonRows([row.value for row in customs], DICTIONARIES)
        self._customs_keys = JsonRows([row.key for row in customs], DICTIONARIES)

    @property
    def event_count(self) -> int:
        """Records that :meth:`port_events` gives."""
        return sum(
            planned.visits * planned.rows_per_visit
            for planned in self._plan.stories
            if not planned.story.is_played
        )

    @property
    def customs_count(self) -> int:
        """Records that :meth:`customs_records` gives."""
        return len(OPERATORS) + sum(
            planned.visits * customs_rows_per_visit(planned.story, played=False)
            for planned in self._plan.stories
            if not planned.story.is_played
        )

    # What is planned.

    def _planned(self, *, played: bool) -> Iterator[tuple[int, PlannedStory]]:
        for index, planned in enumerate(self._plan.stories):
            if planned.visits and (played or not planned.story.is_played):
                yield index, planned

    def _slice_bounds(self, events: int) -> list[int]:
        slices = max(1, -(-events // SLICE_EVENTS))
        return [FIRST_MS + (END_MS - FIRST_MS) * index // slices for index in range(slices + 1)]

    def _event_slices(
        self, expectations: Expectations | None = None, *, played: bool = False
    ) -> Iterator[tuple[Rows, Rows]]:
        """Rows of events, and of what customs says meanwhile, in slices that follow one another
        in time: every row of a slice is at or after all of the slices before it."""
        templates = self._plan.templates
        stories = list(self._planned(played=played))
        bounds = self._slice_bounds(sum(item.visits * item.rows_per_visit for _, item in stories))
        waiting, waiting_customs = Rows.empty(0), Rows.empty(0)
        for low_ms, high_ms in itertools.pairwise(bounds):
            is_last = high_ms == bounds[-1]
            parts = []
            for index, planned in stories:
                low = planned.range_from(low_ms)
                high = planned.visits if is_last else planned.range_from(high_ms)
                if low < high:
                    parts.append((index, planned, planned.plan(low, high)))
            count = sum(len(visits.start_ms) * item.rows_per_visit for _, item, visits in parts)
            rows = Rows.empty(count)
            customs = Rows.empty(
                sum(
                    len(visits.start_ms) * customs_rows_per_visit(item.story, played=True)
                    for _, item, visits in parts
                )
            )
            at = at_customs = 0
            for index, planned, visits in parts:
                at = fill_events(rows, at, planned, templates.first_event[index], visits)
                at_customs = fill_customs(
                    customs, at_customs, planned, templates.first_customs[index], visits, None
                )
                if expectations is not None:
                    expectations.stock.add(planned, visits)
            if expectations is not None:
                expectations.volumes.add(rows, self._sign, self._kind)
                newest = int(rows.columns[TIMESTAMP].max()) if len(rows) else 0
                expectations.clock_ms = max(expectations.clock_ms, newest)
            rows = Rows.joined([waiting, rows])
            customs = Rows.joined([waiting_customs, customs])
            if is_last:
                yield rows, customs
                return
            due, due_customs = (part.columns[TIMESTAMP] < high_ms for part in (rows, customs))
            waiting, waiting_customs = rows.take(~due), customs.take(~due_customs)
            yield rows.take(due), customs.take(due_customs)

    def _customs_slices(self, *, played: bool) -> Iterator[Rows]:
        """Declarations and holds that are loaded before the year, some stories at a time."""
        waiting: list[tuple[int, PlannedStory, int, int]] = []
        size = 0
        for index, planned in self._planned(played=played):
            each = customs_rows_per_visit(planned.story, played=False)
            low = 0
            while each and low < planned.visits:
                high = min(planned.visits, low + max(1, (SLICE_CUSTOMS - size) // each))
                waiting.append((index, planned, low, high))
                size += (high - low) * each
                low = high
                if size >= SLICE_CUSTOMS:
                    yield self._customs_rows(waiting, size)
                    waiting, size = [], 0
        if size:
            yield self._customs_rows(waiting, size)

    def _customs_rows(self, parts: list[tuple[int, PlannedStory, int, int]], size: int) -> Rows:
        rows = Rows.empty(size)
        at = 0
        for index, planned, low, high in parts:
            visits = planned.plan(low, high)
            first = self._plan.templates.first_customs[index]
            at = fill_customs(rows, at, planned, first, visits, LOADED_MS)
        return rows

    # For Kafka.

    def customs_records(self, partition_count: int = PARTITIONS_DEFAULT) -> Iterator[RecordSlice]:
        """Operators, declarations and holds, in their final state, in slices of one topic each."""
        yield self._operator_slice(partition_count)
        is_hold = numpy.array(
            [row.topic == "holds" for row in self._plan.templates.customs_templates]
        )
        for rows in self._customs_slices(played=False):
            chosen = is_hold[rows.template]
            for topic, part in (("declarations", ~chosen), ("holds", chosen)):
                order = numpy.flatnonzero(part)
                if len(order):
                    yield self._slice(
                        topic, rows, order, self._customs_values, self._customs_keys,
                        partition_count,
                    )  # fmt: skip

    def _operator_slice(self, partition_count: int) -> RecordSlice:
        keys = [operator.operator_id.encode() for operator in OPERATORS]
        values = [operator.record() for operator in OPERATORS]
        key_offsets = numpy.cumsum([0, *map(len, keys)], dtype=numpy.int64)
        where = partitions(numpy.frombuffer(b"".join(keys), numpy.uint8), key_offsets,
                           partition_count)  # fmt: skip
        order = numpy.argsort(where, kind="stable")
        keys = [keys[index] for index in order]
        values = [values[index] for index in order]
        return RecordSlice(
            "operators",
            numpy.frombuffer(b"".join(values), numpy.uint8),
            numpy.cumsum([0, *map(len, values)], dtype=numpy.int64),
            numpy.frombuffer(b"".join(keys), numpy.uint8),
            numpy.cumsum([0, *map(len, keys)], dtype=numpy.int64),
            numpy.full(len(keys), LOADED_MS, numpy.int64),
            where[order],
            partition_count,
        )

    def port_events(self, partition_count: int = PARTITIONS_DEFAULT) -> Iterator[RecordSlice]:
        """The year's events in slices that follow one another in time; inside a slice, in the
        order of (partition, time)."""
        for rows, _ in self._event_slices():
            if len(rows):
                order = numpy.argsort(rows.columns[TIMESTAMP], kind="stable")
                yield self._slice(
                    "port-events", rows, order, self._event_values, self._event_keys,
                    partition_count, self._misrouted,
                )  # fmt: skip

    def _slice(
        self,
        topic: str,
        rows: Rows,
        order: NDArray[numpy.int64],
        value_writer: JsonRows,
        key_writer: JsonRows,
        partition_count: int,
        misrouted: NDArray[numpy.bool_] | None = None,
    ) -> RecordSlice:
        keys, key_offsets = key_writer.write(rows.columns, rows.template, order)
        where = partitions(keys, key_offsets, partition_count)
        if misrouted is not None:
            where[misrouted[rows.template[order]]] += 1
            where %= partition_count
        by_partition = numpy.argsort(where.astype(numpy.uint16), kind="stable")
        order = order[by_partition]
        keys, key_offsets = key_writer.write(rows.columns, rows.template, order)
        values, value_offsets = value_writer.write(rows.columns, rows.template, order)
        return RecordSlice(
            topic, values, value_offsets, keys, key_offsets, rows.columns[TIMESTAMP, order],
            where[by_partition], partition_count,
        )  # fmt: skip

    def live_plan(
        self, seconds: float, events_per_second: int, partition_counts: dict[str, int]
    ) -> LivePlan:
        """A live phase on top of this year; see live.py."""
        return LivePlan(self._plan, self.seed, seconds, events_per_second, partition_counts)

    # As a log.

    def write_log(self, path: str | os.PathLike[str]) -> int:
        """Writes the year as a log, customs' side first; gzip or zstd if the name ends in .gz or
        .zst. Returns the number of lines.

        Raises:
            OSError: the file can't be written.
        """
        customs_lines = [log_line(row) for row in self._plan.templates.customs_templates]
        event_lines = [log_line(row) for row in self._plan.templates.event_templates]
        # One writer for both, so that what customs says meanwhile falls into its place.
        writer = JsonRows(event_lines + customs_lines, DICTIONARIES)
        first_customs = numpy.uint16(len(event_lines))
        lines = 0
        with _LogFile(Path(path)) as file:
            for operator in OPERATORS:
                file.write(
                    b'{"topic":"operators","timestamp":%d,"key":"%s","value":%s}\n'
                    % (LOADED_MS, operator.operator_id.encode(), operator.record())
                )
                lines += 1
            for rows in self._customs_slices(played=True):
                order = numpy.arange(len(rows))
                text, _ = writer.write(rows.columns, rows.template + first_customs, order)
                file.write(text.data)
                lines += len(rows)
            for rows, customs in self._event_slices(played=True):
                customs.template += first_customs
                rows = Rows.joined([rows, customs])
                order = numpy.argsort(rows.columns[TIMESTAMP], kind="stable")
                text, _ = writer.write(rows.columns, rows.template, order)
                file.write(text.data)
                lines += len(rows)
        return lines

    # What must come out.

    def expectations(self, *, log: bool = False) -> Expectations:
        """What must come out of :meth:`customs_records` and then :meth:`port_events`, or, with
        ``log``, of what :meth:`write_log` writes. Plans the year once more, without writing it."""
        found = Expectations()
        found.customs_count = len(OPERATORS)
        for _, planned in self._planned(played=log):
            found.add_story(planned, planned.visits, is_log=log)
        for _ in self._event_slices(found, played=log):
            pass
        found.alerts["OVERSTAYED"] += found.stock.overdue(found.clock_ms)
        found.alerts = +found.alerts
        return found


class _LogFile:
    """A file that compresses by its name, written under a temporary one until it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._file: IO[bytes]
        self._compressor: cramjam.gzip.Compressor | cramjam.zstd.Compressor | None = None
        if path.suffix == ".gz":
            self._compressor = cramjam.gzip.Compressor(level=6)
        elif path.suffix == ".zst":
            self._compressor = cramjam.zstd.Compressor(level=3)

    def __enter__(self) -> _LogFile:
        self._file = self._part.open("wb")
        return self

    def write(self, data: bytes | memoryview) -> None:
        if self._compressor is None:
            self._file.write(data)
        else:
            self._compressor.compress(bytes(data))
            self._file.write(memoryview(self._compressor.flush()))

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None and self._compressor is not None:
            self._file.write(memoryview(self._compressor.finish()))
        self._file.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)
