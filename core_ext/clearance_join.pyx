# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The join over numpy arrays: port events against declarations and holds, to rows and facts.

What it is: the Python face of clearance_join.h, the engine's tables and rules without JSON, Kafka
or outputs. Called by engineers, tests and measurements; the worker and the replay use
core_ext.matcher, which has the same tables and rules inside. It must never know: policy (what a
fact leads to), topics, what time it is.

All columns are contiguous arrays of the dtype that is named, of one length; nothing is copied.
Codes are small integers, the index of a word in EVENT_TYPES, UNIT_TYPES, DIRECTIONS, PURPOSES,
STATUSES or HOLD_REASONS; locations, holds and declarations are whatever integers the caller has for
them. Instants are int64 microseconds since 1970 UTC, weights int64 grams.

Units come in two forms: container numbers as a contiguous ``S11`` array or bytes with 11 a number;
or names of any units as bytes (or uint8) and ``offsets``, int64 of n + 1 positions, with
``unit_types`` saying what each is (left out: all are containers). Names are normalised: 1 to 35
bytes of U+0021 to U+007E without hyphens and lower case letters.

Seals and the numbers presented at the gate have no columns: the rows about seals never stand, and
holds of the reason CUSTOMS_SEAL are refused. Who needs them gives records to a
``core_ext.matcher.Matcher``.

Source: the rules are those of section 5 of the project's contract; README.md beside this file draws
the tables.
"""

cimport cython
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

import numpy

from core_ext.container_number cimport active_simd_path, simd_code
from core_ext.engine cimport (
    DECLARATION_UNITS_MAX, DIRECTION_COUNT, DIRECTION_DOMESTIC, EVENT_TYPE_COUNT, PURPOSE_COUNT,
    REASON_COUNT, REASON_CUSTOMS_SEAL, RULE_COUNT, STATUS_COUNT, UNIT_TYPE_COUNT,
    declaration_status_words, direction_words, engine, event_type_words, hold_reason_words,
    purpose_words, rule_codes, rule_parameters, unit, unit_index_memory_bytes, unit_type_words,
)
from core_ext.unit_index cimport unit_batch_offsets_fit, unit_index_count

from core_ext.container_number import number_bytes, output_array


cdef extern from "clearance_join.h" nogil:
    ctypedef struct join_units:
        const uint8_t *numbers
        const uint8_t *names
        const int64_t *offsets
        const uint8_t *unit_types

    ctypedef struct join_declarations:
        const uint64_t *numbers
        const int64_t *versions
        const int64_t *registered_us
        const int64_t *status_us
        const uint8_t *directions
        const uint8_t *statuses
        const int32_t *locations
        const int64_t *line_offsets
        join_units units
        const int64_t *pieces
        const int64_t *weight_grams
        const uint8_t *shared

    ctypedef struct join_holds:
        const int64_t *ids
        const int64_t *versions
        const int64_t *issued_us
        const uint8_t *reasons
        const uint8_t *active
        join_units units
        const uint64_t *declaration_numbers

    ctypedef struct join_events:
        const uint8_t *event_types
        const uint8_t *directions
        const uint8_t *purposes
        const int32_t *locations
        const int64_t *times_us
        join_units units
        const int64_t *pieces
        const int64_t *weight_grams
        const uint8_t *has_document

    ctypedef struct clearance_join:
        engine engine_
        uint64_t event_count

    void clearance_join_init(clearance_join *join, const rule_parameters *parameters)
    void clearance_join_free(clearance_join *join)
    int64_t join_put_declarations(clearance_join *join, const join_declarations *columns,
                                  int64_t count, int64_t *unfit)
    int64_t join_put_holds(clearance_join *join, const join_holds *columns, int64_t count,
                           int64_t *unfit)
    int64_t join_all_events(clearance_join *join, simd_code path, const join_events *columns,
                            int64_t count, int keep, int32_t *rows, uint32_t *facts)


RULE_CODES = tuple([rule_codes[i].decode() for i in range(RULE_COUNT)])
EVENT_TYPES = tuple([event_type_words[i].decode() for i in range(EVENT_TYPE_COUNT)])
UNIT_TYPES = tuple([unit_type_words[i].decode() for i in range(UNIT_TYPE_COUNT)])
DIRECTIONS = tuple([direction_words[i].decode() for i in range(DIRECTION_COUNT)])
PURPOSES = tuple([purpose_words[i].decode() for i in range(PURPOSE_COUNT)])
STATUSES = tuple([declaration_status_words[i].decode() for i in range(STATUS_COUNT)])
HOLD_REASONS = tuple([hold_reason_words[i].decode() for i in range(REASON_COUNT)])
ABSENT_TIME = INT64_MIN
UNKNOWN_UNIT = -1

cdef int64_t PIECES_MAX = 999999999
cdef int64_t GRAMS_MAX = 999999999999
cdef uint64_t DECLARATION_NUMBER_MAX = 999999999999
cdef int64_t DAY_US = 86400000000


cdef object column(str what, values, dtype, int64_t count):
    """``values`` as a contiguous array of a dtype and length, or an error that names it."""
    if not isinstance(values, numpy.ndarray) or values.dtype != dtype:
        given = getattr(values, "dtype", type(values).__name__)
        raise TypeError(f"{what}: an array of {numpy.dtype(dtype)} is wanted, not {given}")
    if values.ndim != 1 or not values.flags.c_contiguous:
        raise ValueError(f"{what}: the array must be one-dimensional and contiguous; use"
                         " numpy.ascontiguousarray")
    if count >= 0 and len(values) != count:
        raise ValueError(f"{what}: {len(values)} entries instead of {count}")
    return values


cdef const void *address(values) except? NULL:
    """Where a column's first element is; NULL for an empty one."""
    return <const void *> <size_t> values.ctypes.data


cdef object codes(str what, values, int64_t count, int limit, tuple words):
    """A uint8 column whose entries are below a limit."""
    column(what, values, numpy.uint8, count)
    cdef const uint8_t[::1] view = values
    cdef int64_t i, unfit = -1
    with nogil:
        for i in range(count):
            if view[i] >= limit:
                unfit = i
                break
    if unfit >= 0:
        raise ValueError(f"{what}[{unfit}] is {view[unfit]}; there are 0 to {limit - 1}:"
                         f" {', '.join(words[:limit])}")
    return values


cdef object declaration_numbers_in(str what, values, int64_t count):
    """A uint64 column of declaration numbers, which have 12 digits."""
    column(what, values, numpy.uint64, count)
    cdef const uint64_t[::1] view = values
    cdef int64_t i, unfit = -1
    with nogil:
        for i in range(view.shape[0]):
            if view[i] > DECLARATION_NUMBER_MAX:
                unfit = i
                break
    if unfit >= 0:
        raise ValueError(f"{what}[{unfit}] is {view[unfit]}; a declaration number has 12 digits")
    return values


cdef object quantities(str what, values, int64_t count, int64_t limit):
    """An int64 column of quantities, -1 for an absent one."""
    column(what, values, numpy.int64, count)
    cdef const int64_t[::1] view = values
    cdef int64_t i, unfit = -1
    with nogil:
        for i in range(count):
            if view[i] < -1 or view[i] > limit:
                unfit = i
                break
    if unfit >= 0:
        raise ValueError(f"{what}[{unfit}] is {view[unfit]}; it is -1 (absent) or 0 to {limit}")
    return values


cdef int64_t fill_units(join_units *out, units, offsets, unit_types, list owners) except -1:
    """The units of one call; returns how many."""
    cdef int64_t count, unfit
    cdef const int64_t[::1] positions
    if offsets is None:
        raw = number_bytes(units)
        count = len(raw) // 11
        out.numbers = <const uint8_t *> address(raw)
    else:
        raw = units if isinstance(units, numpy.ndarray) else numpy.frombuffer(units, numpy.uint8)
        column("units", raw, numpy.uint8, -1)
        column("offsets", offsets, numpy.int64, -1)
        count = len(offsets) - 1
        if count < 0:
            raise ValueError("offsets must hold one position more than there are names")
        positions = offsets
        unfit = unit_batch_offsets_fit(&positions[0], count, len(raw))
        if unfit >= 0:
            raise ValueError(f"offsets[{unfit}] is {positions[unfit]}: below the one before it or"
                             f" outside the {len(raw)} bytes of names")
        out.names = <const uint8_t *> address(raw)
        out.offsets = &positions[0]
    owners.append((raw, offsets, unit_types))
    if unit_types is not None:
        codes("unit_types", unit_types, count, UNIT_TYPE_COUNT, UNIT_TYPES)
        out.unit_types = <const uint8_t *> address(unit_types)
    return count


cdef object unfit_unit(str what, int64_t place):
    return ValueError(f"{what} {place} is no normalised name of a unit: 1 to 35 bytes of U+0021 to"
                      " U+007E without hyphens and lower case letters")


@cython.final
cdef class ClearanceJoin:
    """Declarations, holds and kept events; and what stands for further events against them.

    For one thread at a time; the GIL is released while rows are worked on. The process ends, with a
    reason, if its memory does (memory.h says why).

    Args:
        overstay_days, return_days, stale_days, clock_ahead_minutes, reservation_hours,
            weight_tolerance_thousandths: parameters of the rules, as shipped if left out; the last
            is in thousandths of a percent.
    """

    cdef clearance_join *join

    def __cinit__(self, *, int64_t overstay_days=90, int64_t return_days=30,
                  int64_t stale_days=180, int64_t clock_ahead_minutes=5,
                  int64_t reservation_hours=24, int64_t weight_tolerance_thousandths=0):
        cdef rule_parameters parameters
        parameters.overstay_us = overstay_days * DAY_US
        parameters.return_us = return_days * DAY_US
        parameters.stale_us = stale_days * DAY_US
        parameters.clock_ahead_us = clock_ahead_minutes * 60000000
        parameters.reservation_us = reservation_hours * 3600000000
        parameters.weight_tolerance_thousandths = weight_tolerance_thousandths
        self.join = <clearance_join *> calloc(1, sizeof(clearance_join))
        if self.join == NULL:
            raise MemoryError("ClearanceJoin: no memory")
        clearance_join_init(self.join, &parameters)

    def __dealloc__(self):
        if self.join != NULL:
            clearance_join_free(self.join)
            free(self.join)

    def put_declarations(self, numbers, versions, directions, statuses, registered_us, locations,
                         line_offsets, units, offsets=None, *, unit_types=None, status_us=None,
                         pieces=None, weight_grams=None, shared=None) -> int:
        """Take n declarations with m lines in all, each replacing an older version of itself.

        Args:
            numbers: uint64 (n,), the 12 digits as an integer.
            versions: int64 (n,); one that is not above the known one changes nothing.
            directions: uint8 (n,): IMPORT, EXPORT, TRANSIT.
            statuses: uint8 (n,), index into STATUSES.
            registered_us: int64 (n,).
            locations: int32 (n,).
            line_offsets: int64 (n + 1,): the lines of declaration i are from ``line_offsets[i]`` up
                to ``line_offsets[i + 1]``, at most 5,000.
            units, offsets, unit_types: m units in one of the module's two forms.
            status_us: int64 (n,), ABSENT_TIME where there is none; or None.
            pieces, weight_grams: int64 (m,), -1 where absent; or None.
            shared: uint8 (m,), not 0 where the unit is known to be on several; or None.

        Returns:
            How many took effect.

        Raises:
            TypeError, ValueError: a column has another dtype or length, or a number, code, unit or
                offset that does not fit; nothing was taken.
        """
        cdef join_declarations columns
        cdef list owners = []
        cdef int64_t count, lines, took_effect, i, unfit = -1
        cdef const int64_t[::1] bounds
        columns.units.numbers = columns.units.names = columns.units.unit_types = NULL
        columns.units.offsets = columns.status_us = columns.pieces = columns.weight_grams = NULL
        columns.shared = NULL
        declaration_numbers_in("numbers", numbers, -1)
        count = len(numbers)
        columns.numbers = <const uint64_t *> address(numbers)
        columns.versions = <const int64_t *> address(
            column("versions", versions, numpy.int64, count))
        columns.directions = <const uint8_t *> address(
            codes("directions", directions, count, DIRECTION_DOMESTIC, DIRECTIONS))
        columns.statuses = <const uint8_t *> address(
            codes("statuses", statuses, count, STATUS_COUNT, STATUSES))
        columns.registered_us = <const int64_t *> address(
            column("registered_us", registered_us, numpy.int64, count))
        columns.locations = <const int32_t *> address(
            column("locations", locations, numpy.int32, count))
        bounds = column("line_offsets", line_offsets, numpy.int64, count + 1)
        columns.line_offsets = &bounds[0]
        lines = fill_units(&columns.units, units, offsets, unit_types, owners)
        with nogil:
            for i in range(count):
                if bounds[i + 1] < bounds[i] or bounds[i + 1] - bounds[i] > DECLARATION_UNITS_MAX:
                    unfit = i + 1
                    break
        if unfit >= 0 or bounds[0] != 0 or bounds[count] != lines:
            raise ValueError(f"line_offsets: they ascend from 0 to the {lines} lines, at most"
                             f" {DECLARATION_UNITS_MAX} a declaration; see entry {max(unfit, 0)}")
        if status_us is not None:
            columns.status_us = <const int64_t *> address(
                column("status_us", status_us, numpy.int64, count))
        if pieces is not None:
            columns.pieces = <const int64_t *> address(
                quantities("pieces", pieces, lines, PIECES_MAX))
        if weight_grams is not None:
            columns.weight_grams = <const int64_t *> address(
                quantities("weight_grams", weight_grams, lines, GRAMS_MAX))
        if shared is not None:
            columns.shared = <const uint8_t *> address(column("shared", shared, numpy.uint8, lines))
        with nogil:
            took_effect = join_put_declarations(self.join, &columns, count, &unfit)
        if unfit >= 0:
            raise unfit_unit("the unit of line", unfit)
        return took_effect

    def put_holds(self, ids, versions, reasons, active, issued_us, units=None, offsets=None, *,
                  declaration_numbers=None) -> int:
        """Take n holds, on units or on declarations, each replacing an older version of itself.

        Args:
            ids: int64 (n,), the caller's own numbers.
            versions: int64 (n,); one that is not above the known one changes nothing.
            reasons: uint8 (n,): STOP or SCAN.
            active: uint8 (n,): 0 where the hold is lifted.
            issued_us: int64 (n,).
            units, offsets: n names of units, on whose container and lot alike the holds are; or
            declaration_numbers: uint64 (n,).

        Returns, raises: as ``put_declarations``.
        """
        cdef join_holds columns
        cdef list owners = []
        cdef int64_t count, took_effect, unfit = -1
        columns.units.numbers = columns.units.names = columns.units.unit_types = NULL
        columns.units.offsets = NULL
        columns.declaration_numbers = NULL
        column("ids", ids, numpy.int64, -1)
        count = len(ids)
        columns.ids = <const int64_t *> address(ids)
        columns.versions = <const int64_t *> address(
            column("versions", versions, numpy.int64, count))
        columns.reasons = <const uint8_t *> address(
            codes("reasons", reasons, count, REASON_CUSTOMS_SEAL, HOLD_REASONS))
        columns.active = <const uint8_t *> address(column("active", active, numpy.uint8, count))
        columns.issued_us = <const int64_t *> address(
            column("issued_us", issued_us, numpy.int64, count))
        if (units is None) == (declaration_numbers is None):
            raise ValueError("holds are on units or on declarations: give the one or the other")
        if units is not None:
            if fill_units(&columns.units, units, offsets, None, owners) != count:
                raise ValueError(f"units: as many as there are holds, {count}, are wanted")
        else:
            columns.declaration_numbers = <const uint64_t *> address(
                declaration_numbers_in("declaration_numbers", declaration_numbers, count))
            if count == 0:
                return 0
        with nogil:
            took_effect = join_put_holds(self.join, &columns, count, &unfit)
        if unfit >= 0:
            raise unfit_unit("the unit of hold", unfit)
        return took_effect

    def join_events(self, event_types, directions, locations, times_us, units, offsets=None, *,
                    unit_types=None, purposes=None, pieces=None, weight_grams=None,
                    has_document=None, bint keep=False, rows=None, facts=None):
        """What stands for n events, in order, each against all that was taken and kept before.

        Args:
            event_types: uint8 (n,), index into EVENT_TYPES.
            directions: uint8 (n,), index into DIRECTIONS.
            locations: int32 (n,).
            times_us: int64 (n,).
            units, offsets, unit_types: n units in one of the module's two forms.
            purposes: uint8 (n,), index into PURPOSES; None: all CLEARANCE.
            pieces, weight_grams: int64 (n,), -1 where absent; or None.
            has_document: uint8 (n,); or None.
            keep: whether the events happened: each is then part of its unit's state for those after
                it. Otherwise nothing changes.
            rows: int32 (n,) to write, or None for a new one.
            facts: uint32 (n,) to write, or None for a new one.

        Returns:
            (rows, facts): the row of each event's unit, UNKNOWN_UNIT where neither customs nor a
            kept event named it; and of a GATE_CHECK or GET_OUT the rules that stand, bit i for
            ``RULE_CODES[i]``, 0 for other events. What a rule leads to (HOLD, FLAG, nothing) is
            policy.

        Raises:
            TypeError, ValueError: a column has another dtype or length, or a code or unit that does
                not fit; nothing was done.
        """
        cdef join_events columns
        cdef list owners = []
        cdef int64_t count, unfit = -1
        cdef int32_t[::1] rows_view
        cdef uint32_t[::1] facts_view
        columns.units.numbers = columns.units.names = columns.units.unit_types = NULL
        columns.units.offsets = columns.pieces = columns.weight_grams = NULL
        columns.purposes = columns.has_document = NULL
        column("times_us", times_us, numpy.int64, -1)
        count = len(times_us)
        columns.times_us = <const int64_t *> address(times_us)
        columns.event_types = <const uint8_t *> address(
            codes("event_types", event_types, count, EVENT_TYPE_COUNT, EVENT_TYPES))
        columns.directions = <const uint8_t *> address(
            codes("directions", directions, count, DIRECTION_COUNT, DIRECTIONS))
        columns.locations = <const int32_t *> address(
            column("locations", locations, numpy.int32, count))
        if fill_units(&columns.units, units, offsets, unit_types, owners) != count:
            raise ValueError(f"units: as many as there are events, {count}, are wanted")
        if purposes is not None:
            columns.purposes = <const uint8_t *> address(
                codes("purposes", purposes, count, PURPOSE_COUNT, PURPOSES))
        if pieces is not None:
            columns.pieces = <const int64_t *> address(
                quantities("pieces", pieces, count, PIECES_MAX))
        if weight_grams is not None:
            columns.weight_grams = <const int64_t *> address(
                quantities("weight_grams", weight_grams, count, GRAMS_MAX))
        if has_document is not None:
            columns.has_document = <const uint8_t *> address(
                column("has_document", has_document, numpy.uint8, count))
        rows = output_array(rows, count, numpy.int32, "join_events: rows")
        facts = output_array(facts, count, numpy.uint32, "join_events: facts")
        if count == 0:
            return rows, facts
        rows_view = rows
        facts_view = facts
        with nogil:
            unfit = join_all_events(self.join, active_simd_path(), &columns, count, keep,
                                    &rows_view[0], &facts_view[0])
        if unfit >= 0:
            raise unfit_unit("the unit of event", unfit)
        return rows, facts

    def sizes(self) -> dict[str, int]:
        """How much there is: ``units``, ``lines``, ``events`` kept, and ``bytes`` in use."""
        cdef engine *engine_ = &self.join.engine_
        return {
            "units": unit_index_count(&engine_.units.index),
            "lines": engine_.customs.line_count,
            "events": self.join.event_count,
            "bytes": unit_index_memory_bytes(&engine_.units.index)
            + engine_.units.capacity * sizeof(unit) + engine_.arena_.bytes_in_use,
        }
