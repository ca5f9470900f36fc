# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The matcher: port events joined with customs' side, a whole run of records at a time.

What it is: the Python face of engine.h. A Matcher owns the state of one engine; records go in as
runs (from Kafka) or as lines of a log (a replay); decisions, alerts and rejects come out as
records.
Who calls it: stream.engine (worker) and stream.replay.
What it must never know: Kafka, files, asyncio, metrics, what time it is.

A Matcher is for one thread at a time; the GIL is released while records are applied.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset
from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory

from core_ext.engine cimport (
    ALERT_COUNT, DIRECTION_COUNT, DIRECTION_DOMESTIC, MUTE_ALL, MUTE_DECISIONS, MUTE_NOTHING,
    NO_VERSION, PARTITIONS_MAX, REJECT_COUNT, RULE_COUNT, RULE_SET_NAME_MAX, TOPIC_COUNT,
    TOPIC_NAME_MAX, TOPIC_PORT_EVENTS, UNIT_TYPE_COUNT, activity_cells_write, alert_names,
    clock_advance, clock_set, crc32c_initialise, customs_tables, direction_names, engine,
    engine_apply_all, engine_counters, engine_forget_partition, engine_free, engine_init,
    engine_take_over, interned_text, location_name, operator_figures_row, operator_name,
    operator_row, operator_status_words, partition_state, policy_period, published_tail,
    published_tail_free, reject_names, retire, rule_codes, rule_parameters, stock_cells_write,
    stock_ledger, unit, unit_changes_write, unit_index_memory_bytes, unit_log_restore,
    unit_type_names, volume_cell, volume_cells_write, volume_table,
)
from core_ext.record_batch cimport OutputRun, RecordRun, record_output, record_output_clear
from core_ext.record_batch cimport record_view
from core_ext.unit_index cimport unit_index_count


cdef extern from "nation_figures.h" nogil:
    ctypedef struct nation_cell:
        int64_t units[4]
        int64_t movements[2]
        int64_t pieces[2]
        int64_t grams[2]

    ctypedef struct nation_figures_sums "nation_figures":
        nation_cell cells[4][4]

    void nation_figures_add(nation_figures_sums *figures, const stock_ledger *stock,
                            const volume_table *volumes, int32_t day)


cdef extern from "stock.h" nogil:
    ctypedef struct stock_cell:
        uint32_t location
        uint8_t direction
        uint8_t unit_type
        uint8_t age
        int64_t units
        int64_t pieces
        int64_t grams

    ctypedef struct stock_table:
        stock_cell *cells
        uint64_t count

    void stock_count(const engine *engine_, int32_t partition, int64_t clock_us,
                     stock_table *stock)
    void stock_table_free(stock_table *stock)


cdef extern from "restore.h" nogil:
    ctypedef struct published_reader:
        pass
    void published_reader_init(published_reader *reader)
    void published_reader_free(published_reader *reader)
    int restore_decision(engine *engine_, published_reader *reader, const record_view *record)
    int restore_alert(engine *engine_, published_reader *reader, const record_view *record)
    int suppress_alert(published_tail *tail, published_reader *reader, const record_view *record)
    int suppress_reject(engine *engine_, uint32_t partition, published_reader *reader,
                        const record_view *record)


cdef extern from "log_replay.h" nogil:
    enum:
        LOG_LINE_ERROR_BYTES
        LOG_LINE_WRONG
        LOG_LINE_GOOD
    ctypedef struct log_line_reader:
        pass
    ctypedef struct log_progress:
        uint64_t used
        int64_t line
    void log_line_reader_init(log_line_reader *reader)
    void log_line_reader_free(log_line_reader *reader)
    int log_apply(engine *engine_, log_line_reader *reader, const uint8_t *bytes, uint64_t size,
                  int at_end, log_progress *progress, char *error)


cdef extern from "Python.h":
    void PyMem_RawFree(void *block) nogil
    void *PyMem_RawCalloc(size_t count, size_t size) nogil


AGES = ("0-30", "31-60", "61-90", "90+")


crc32c_initialise()


class StateError(ValueError):
    """A record of the changelog of unit states that can't be taken; `key` is its key (bytes or
    None), `reason` says what is wrong with it."""

    def __init__(self, key, reason):
        super().__init__(f"changelog record {key!r}: {reason}")
        self.key = key
        self.reason = reason


class LogLineError(ValueError):
    """A line of a log that is no record; `line` counts from 0."""

    def __init__(self, line, message):
        super().__init__(message)
        self.line = line


cdef str text_of(const interned_text *name):
    return PyBytes_FromStringAndSize(name.bytes, name.length).decode("utf-8")


cdef class Matcher:
    """The state of one engine.

    Parameters
    ----------
    periods : list of (from_us, to_us, name, hold_mask, flag_mask)
        The row sets in force by eventDateTime: sorted, without gaps, the last without end. Bit i of
        a mask is row i + 1 of CONTRACT.md section 5.
    parameters : dict
        The fields of `rule_parameters` (rules.h): microseconds, and thousandths of a percent.
    partition_count : int
        Partitions of port-events; 0 for a replay, where everything is partition 0 and nothing is
        MISPARTITIONED.
    topic_names : tuple of four str
        operators, declarations, holds, port-events, as `trigger` and `source` name them.
    explain : bool
        Write an explanation for every decision (explanations.h).
    """

    cdef engine *engine_
    cdef log_line_reader *reader
    cdef published_reader *published
    cdef bint is_replay

    def __cinit__(self, list periods, dict parameters, int partition_count=0,
                  tuple topic_names=("operators", "declarations", "holds", "port-events"),
                  bint explain=False):
        cdef bytes name
        cdef Py_ssize_t i
        self.is_replay = partition_count == 0
        if partition_count < 0:
            raise ValueError(f"partition_count is {partition_count}; it is 0 (replay) or more")
        if partition_count > PARTITIONS_MAX:
            raise ValueError(f"partition_count is {partition_count}; at most {PARTITIONS_MAX}")
        self.engine_ = <engine *>PyMem_RawCalloc(1, sizeof(engine))
        self.reader = <log_line_reader *>PyMem_RawCalloc(1, sizeof(log_line_reader))
        self.published = <published_reader *>PyMem_RawCalloc(1, sizeof(published_reader))
        if self.engine_ is NULL or self.reader is NULL or self.published is NULL:
            raise MemoryError("no memory for an engine")
        log_line_reader_init(self.reader)
        published_reader_init(self.published)
        engine_init(self.engine_, 1 if self.is_replay else partition_count, not self.is_replay)
        self.engine_.explain = explain
        if len(topic_names) != TOPIC_COUNT:
            raise ValueError(f"topic_names has {len(topic_names)} names; it needs {TOPIC_COUNT}")
        for i in range(TOPIC_COUNT):
            name = topic_names[i].encode()
            if len(name) > TOPIC_NAME_MAX:
                raise ValueError(f"topic name of {len(name)} bytes; Kafka allows {TOPIC_NAME_MAX}")
            memcpy(self.engine_.topic_names[i], PyBytes_AS_STRING(name), len(name) + 1)
        if not periods:
            raise ValueError("a policy needs at least one period")
        self.engine_.periods = <policy_period *>malloc(len(periods) * sizeof(policy_period))
        if self.engine_.periods is NULL:
            raise MemoryError("no memory for a policy")
        self.engine_.period_count = len(periods)
        for i in range(len(periods)):
            from_us, to_us, label, hold_mask, flag_mask = periods[i]
            name = label.encode()
            if len(name) > RULE_SET_NAME_MAX:
                raise ValueError(f"rule set name {label!r}: more than {RULE_SET_NAME_MAX} bytes")
            self.engine_.periods[i].from_us = from_us
            self.engine_.periods[i].to_us = to_us
            self.engine_.periods[i].hold_mask = hold_mask
            self.engine_.periods[i].flag_mask = flag_mask
            memcpy(self.engine_.periods[i].name, PyBytes_AS_STRING(name), len(name) + 1)
        self.engine_.parameters.overstay_us = parameters["overstay_us"]
        self.engine_.parameters.late_import_us = parameters["late_import_us"]
        self.engine_.parameters.late_export_us = parameters["late_export_us"]
        self.engine_.parameters.clock_ahead_us = parameters["clock_ahead_us"]
        self.engine_.parameters.return_us = parameters["return_us"]
        self.engine_.parameters.stale_us = parameters["stale_us"]
        self.engine_.parameters.reservation_us = parameters["reservation_us"]
        self.engine_.parameters.weight_tolerance_thousandths = (
            parameters["weight_tolerance_thousandths"])

    def __dealloc__(self):
        if self.engine_ is not NULL:
            engine_free(self.engine_)
            PyMem_RawFree(self.engine_)
        if self.reader is not NULL:
            log_line_reader_free(self.reader)
            PyMem_RawFree(self.reader)
        if self.published is not NULL:
            published_reader_free(self.published)
            PyMem_RawFree(self.published)

    cdef partition_state *partition(self, int number) except NULL:
        if number < 0 or number >= <int>self.engine_.partition_count:
            raise ValueError(f"partition {number}: port-events has {self.engine_.partition_count}")
        return &self.engine_.partitions[number]

    # ---- records in -----------------------------------------------------------------------------

    def apply(self, int topic, int partition, RecordRun run not None, int64_t now_us):
        """Applies a run of records of one partition of one topic, in order.

        `topic` counts operators, declarations, holds, port-events from 0. `now_us` is the instant
        of decision, microseconds since 1970 UTC. Raises ValueError for a partition or topic that
        there is none of."""
        if topic < 0 or topic >= TOPIC_COUNT:
            raise ValueError(f"topic {topic}: there are {TOPIC_COUNT}, counted from 0")
        if topic == TOPIC_PORT_EVENTS:
            self.partition(partition)
        with nogil:
            engine_apply_all(self.engine_, topic, NULL, partition, run.records, run.count, now_us)

    def apply_log(self, const uint8_t[::1] chunk, int64_t first_line, bint at_end):
        """Applies the whole lines of a piece of a log, in order; a replay's engine only.

        Lines are numbered from `first_line`; `at_end` says that the last line may lack its line
        end. Returns (bytes used, lines used). Raises LogLineError for a line that is no record; the
        lines before it have been applied."""
        if not self.is_replay:
            raise ValueError("apply_log is for a replay: make the Matcher with partition_count 0")
        cdef log_progress progress
        cdef char error[LOG_LINE_ERROR_BYTES]
        cdef int answer = LOG_LINE_GOOD
        memset(&progress, 0, sizeof(progress))
        progress.line = first_line
        if chunk.shape[0]:
            with nogil:
                answer = log_apply(self.engine_, self.reader, &chunk[0], chunk.shape[0], at_end,
                                   &progress, error)
        if answer == LOG_LINE_WRONG:
            raise LogLineError(progress.line, error.decode("utf-8", "replace"))
        if answer < 0:
            raise MemoryError(f"no memory for line {progress.line}")
        return progress.used, progress.line - first_line

    # ---- what it has to say ----------------------------------------------------------------------

    cdef OutputRun take(self, record_output *output):
        cdef OutputRun run = OutputRun()
        run.output = output[0]
        memset(output, 0, sizeof(record_output))
        return run

    def take_decisions(self):
        """The decisions since the last call, as an OutputRun; each record has its partition."""
        return self.take(&self.engine_.decisions)

    def take_alerts(self):
        """The alerts since the last call, as an OutputRun."""
        return self.take(&self.engine_.alerts)

    def take_rejects(self):
        """The rejects since the last call, as an OutputRun; partition -1 means by the key."""
        return self.take(&self.engine_.rejects)

    def take_volume_cells(self, int partition, int64_t timestamp_ms):
        """The cells of a partition's volumes that changed since the last call, as an OutputRun for
        a compacted topic (aggregates.h)."""
        self.partition(partition)
        with nogil:
            volume_cells_write(self.engine_, partition, timestamp_ms)
        return self.take(&self.engine_.volume_cells)

    def take_stock_cells(self, int partition, int64_t timestamp_ms):
        """The same for a partition's stock; a replay keeps none."""
        self.partition(partition)
        with nogil:
            stock_cells_write(self.engine_, partition, timestamp_ms)
        return self.take(&self.engine_.stock_cells)

    def take_activity_cells(self, int partition, int64_t timestamp_ms):
        """Which operators have spoken on a partition since the last call, and when last; a replay
        keeps none."""
        self.partition(partition)
        with nogil:
            activity_cells_write(self.engine_, partition, timestamp_ms)
        return self.take(&self.engine_.activity_cells)

    def take_unit_changes(self, int partition, int64_t timestamp_ms, uint64_t bytes_max=0):
        """The units of a partition whose state changed since they were last taken, each once, as
        an OutputRun for the changelog (unit_log.h draws the records); a replay has none.

        With `bytes_max` it stops once that many bytes are passed (by a few units at most): call
        again while `is_taking`. Such a taking covers what had changed at its first call; what
        changes meanwhile is for the next one. A record that is lost has to be written again, so
        whoever takes a run either gets it acknowledged or gives the partition up."""
        self.partition(partition)
        with nogil:
            unit_changes_write(self.engine_, partition, timestamp_ms, bytes_max)
        return self.take(&self.engine_.unit_changes)

    def is_taking(self, int partition):
        """Whether take_unit_changes has left some of what it covers to the next call."""
        return self.partition(partition).take_end != 0

    def take_lines(self, str kind not None):
        """What a replay has to say since the last call, one record a line, as bytes.

        `kind` is decisions, alerts, rejects, registry or explanations. Raises ValueError in a
        worker's engine, whose records have keys and partitions."""
        cdef record_output *output = self.lines_of(kind)
        cdef bytes lines = PyBytes_FromStringAndSize(<char *>output.bytes, output.bytes_size)
        record_output_clear(output)
        return lines

    def write_lines(self, str kind not None, file):
        """Writes what take_lines would return to a binary file, without a copy of it."""
        cdef record_output *output = self.lines_of(kind)
        if output.bytes_size:
            file.write(PyMemoryView_FromMemory(<char *>output.bytes, output.bytes_size,
                                               PyBUF_READ))
        record_output_clear(output)

    cdef record_output *lines_of(self, str kind) except NULL:
        if not self.is_replay:
            raise ValueError("lines are for a replay: make the Matcher with partition_count 0")
        if kind == "decisions":
            return &self.engine_.decisions
        if kind == "alerts":
            return &self.engine_.alerts
        if kind == "rejects":
            return &self.engine_.rejects
        if kind == "registry":
            return &self.engine_.registry
        if kind == "explanations":
            return &self.engine_.explanations
        raise ValueError(f"no output {kind!r}")

    # ---- partitions ------------------------------------------------------------------------------

    def advance_clock(self, int partition, int64_t clock_us):
        """Moves a partition's clock forward (never back) and raises the alerts that are due."""
        cdef partition_state *state = self.partition(partition)
        with nogil:
            clock_advance(self.engine_, state, clock_us, clock_us // 1000)

    def clock_us(self, int partition):
        """The clock of a partition, microseconds UTC, or None before its first record."""
        cdef int64_t clock = self.partition(partition).clock_us
        return None if clock == -2**63 else clock

    def forget_partition(self, int partition):
        """Drops the events, timers and volumes of a partition that is no longer owned."""
        self.partition(partition)
        with nogil:
            engine_forget_partition(self.engine_, partition)

    def set_clock(self, int partition, int64_t clock_us):
        """Sets the clock of a partition whose units came back (never back), raising nothing:
        take_over raises what is due."""
        clock_set(self.partition(partition), clock_us)

    def retire(self, int partition, int64_t before_us, uint32_t unchanged_takes=0):
        """Forgets units of a partition whose last event and record are before `before_us`, that
        are in stock nowhere, have no open check and nothing of customs' side on them, and whose
        state was taken (take_unit_changes) and has not changed since for `unchanged_takes` takings
        from begin to end. What they moved stays in the volumes. A repeat or a correction
        that comes later is taken as a new event.

        Each call looks at a bounded piece of the table (retention.h) and goes on where the last
        one ended; what it forgot is in the next unit changes, and until 16 calls' worth of that
        has been taken it forgets no more. Returns how many units it forgot. ValueError in a
        replay."""
        if self.is_replay:
            raise ValueError("a replay forgets nothing: make the Matcher with partitions")
        self.partition(partition)
        cdef uint32_t forgotten
        with nogil:
            forgotten = retire(self.engine_, partition, before_us, unchanged_takes)
        return forgotten

    # How a partition is taken over: restore_units and set_clock, suppress_alerts and
    # suppress_rejects, restore_events, restore_alerts, restore_decisions, take_over.

    def restore_units(self, int partition, RecordRun run not None):
        """Applies records of the changelog, in order: a state takes the place of what was known of
        its unit, a null value forgets it; the partition's own records are passed over. Units come
        back silently and are not weighed until take_over. Returns how many states there were.

        Raises StateError for a record of an unknown kind or format version, with a wrong checksum,
        damaged, or of another partition's unit: those before it are applied, of itself nothing;
        ValueError in a replay."""
        if self.is_replay:
            raise ValueError("a replay has no changelog: make the Matcher with partitions")
        self.partition(partition)
        cdef uint64_t units = 0
        cdef const record_view *failed = NULL
        cdef const char *wrong
        with nogil:
            wrong = unit_log_restore(self.engine_, partition, run.records, run.count, &failed,
                                     &units)
        if wrong is not NULL:
            key = None
            if failed.key_length >= 0:
                key = PyBytes_FromStringAndSize(<const char *>failed.key, failed.key_length)
            raise StateError(key, wrong.decode())
        return units

    def suppress_alerts(self, int partition, RecordRun run not None):
        """Notes published alerts of a tail: one with such an ID is not written again by this
        partition. Returns how many there were."""
        cdef partition_state *state = self.partition(partition)
        cdef Py_ssize_t i, noted = 0
        with nogil:
            for i in range(run.count):
                noted += suppress_alert(&state.published, self.published, &run.records[i])
        return noted

    def suppress_rejects(self, int partition, RecordRun run not None):
        """The same for published rejects of port events, by their source."""
        self.partition(partition)
        cdef Py_ssize_t i, noted = 0
        with nogil:
            for i in range(run.count):
                noted += suppress_reject(self.engine_, partition, self.published, &run.records[i])
        return noted

    def suppressed_clear(self, int partition):
        """Forgets what suppress_alerts and suppress_rejects noted and nothing has claimed: for
        when the partition has passed the place where the tail ended."""
        published_tail_free(&self.partition(partition).published)

    def restore_events(self, int partition, RecordRun run not None, bint silent=False):
        """Applies port events that may have been applied before. Nothing of the partition is
        weighed until take_over, whatever customs says meanwhile.

        Alerts and rejects are written unless they are suppressed, each at its record's own
        timestamp, so that what was lost is made up; `silent` is for a whole history, and then
        nothing is written."""
        self.partition(partition).restoring = 1
        with nogil:
            self.engine_.mute = MUTE_ALL if silent else MUTE_DECISIONS
            engine_apply_all(self.engine_, TOPIC_PORT_EVENTS, NULL, partition, run.records,
                             run.count, -1)
            self.engine_.mute = MUTE_NOTHING

    def restore_decisions(self, RecordRun run not None):
        """Takes published decisions back into the checks that they are about; returns how many
        told something new. A HOLD right after a RELEASE raises its RECALL unless that was taken
        back before (restore_alerts) or is suppressed."""
        cdef Py_ssize_t i, taken = 0
        with nogil:
            for i in range(run.count):
                taken += restore_decision(self.engine_, self.published, &run.records[i])
        return taken

    def restore_alerts(self, RecordRun run not None):
        """Takes published alerts back, so that they are not raised again; returns how many were
        about a known event."""
        cdef Py_ssize_t i, taken = 0
        with nogil:
            for i in range(run.count):
                taken += restore_alert(self.engine_, self.published, &run.records[i])
        return taken

    def take_over(self, int partition, int64_t now_us):
        """Weighs every open check of a partition again, and every check that has no decision yet,
        and raises what is due; decisions then have no trigger."""
        self.partition(partition)
        with nogil:
            engine_take_over(self.engine_, partition, now_us // 1000, now_us)

    # ---- tables ----------------------------------------------------------------------------------

    def volumes(self, int partition=0):
        """What moved: a list of (operatorID, day, direction, unitType, movements in, pieces in,
        grams in, movements out, pieces out, grams out), `day` counting from 1970-01-01 in
        Vietnam. Rows whose movements were all taken back are left out."""
        cdef volume_table *volumes = &self.partition(partition).volumes
        cdef volume_cell *cell
        cdef uint64_t i
        rows = []
        for i in range(volumes.count):
            cell = &volumes.cells[i]
            if not cell.movements[0] and not cell.movements[1]:
                continue
            rows.append((
                text_of(operator_name(&self.engine_.customs, cell.operator_row)), cell.day,
                direction_names[cell.direction].decode(), unit_type_names[cell.unit_type].decode(),
                cell.movements[0], cell.pieces[0], cell.grams[0],
                cell.movements[1], cell.pieces[1], cell.grams[1]))
        return rows

    def stock(self, int partition=-1):
        """What is in stock: a list of (locationCode, direction, unitType, age, units, pieces,
        grams), the age by the clock of the partition (all partitions: of partition 0)."""
        cdef stock_table table
        cdef stock_cell *cell
        cdef uint64_t i
        cdef int64_t clock = self.partition(partition if partition >= 0 else 0).clock_us
        memset(&table, 0, sizeof(table))
        with nogil:
            stock_count(self.engine_, partition, clock, &table)
        rows = []
        for i in range(table.count):
            cell = &table.cells[i]
            rows.append((
                text_of(location_name(&self.engine_.customs, cell.location)),
                direction_names[cell.direction].decode(), unit_type_names[cell.unit_type].decode(),
                AGES[cell.age], cell.units, cell.pieces, cell.grams))
        stock_table_free(&table)
        return rows

    # ---- figures ---------------------------------------------------------------------------------

    def counters(self):
        """Totals since the start: a dict of dicts, records and duplicates by topic, rejects by
        reason (customs_rejects: those not of port events), decisions by outcome, standing rows by
        code, alerts by type, exit reports with a time limit and late ones by direction."""
        cdef engine_counters *counters = &self.engine_.counters
        topics = ("operators", "declarations", "holds", "port-events")
        return {
            "records": {topics[i]: counters.records[i] for i in range(TOPIC_COUNT)},
            "duplicates": {topics[i]: counters.duplicates[i] for i in range(TOPIC_COUNT)},
            "rejects": {reject_names[i].decode(): counters.rejects[i]
                        for i in range(1, REJECT_COUNT)},
            "customs_rejects": {reject_names[i].decode(): counters.customs_rejects[i]
                                for i in range(1, REJECT_COUNT)},
            "decisions": {"RELEASE": counters.decisions[0], "HOLD": counters.decisions[1]},
            "standing": {rule_codes[i].decode(): counters.standing[i] for i in range(RULE_COUNT)},
            "alerts": {alert_names[i].decode(): counters.alerts[i] for i in range(ALERT_COUNT)},
            "exit_reports": {direction_names[i].decode(): counters.exit_reports[i]
                             for i in range(DIRECTION_DOMESTIC)},
            "late_reports": {direction_names[i].decode(): counters.late_reports[i]
                             for i in range(DIRECTION_DOMESTIC)},
        }

    def operator_figures(self):
        """What each operator sent since the start: a list of (operatorID, status, events accepted,
        port events refused that name it, late reports), one for each operator that customs has
        registered; what is read again at a take-over does not count."""
        cdef customs_tables *customs = &self.engine_.customs
        cdef operator_figures_row figures
        cdef uint64_t row
        found = []
        for row in range(customs.operator_names.row_count):
            if customs.operators[row].version == NO_VERSION:
                continue
            memset(&figures, 0, sizeof(figures))
            if row < self.engine_.figures.capacity:
                figures = self.engine_.figures.rows[row]
            found.append((text_of(operator_name(customs, <uint32_t>row)),
                          operator_status_words[customs.operators[row].status].decode(),
                          figures.accepted, figures.rejected, figures.late))
        return found

    def nation_figures(self, partitions, int day):
        """What stands and what has moved in some partitions: a list of (direction, unitType, units
        in stock by age, movements, pieces, grams), the units a tuple in the order of AGES as of
        `day` (from 1970-01-01 in Vietnam), the others pairs of in and out. A worker's engine
        only; one walk over the cells of each partition, none over units."""
        cdef nation_figures_sums figures
        cdef nation_cell *cell
        cdef partition_state *state
        memset(&figures, 0, sizeof(figures))
        for number in partitions:
            state = self.partition(number)
            with nogil:
                nation_figures_add(&figures, &state.stock, &state.volumes, day)
        found = []
        for direction in range(DIRECTION_COUNT):
            for unit_type in range(UNIT_TYPE_COUNT):
                cell = &figures.cells[<int>direction][<int>unit_type]
                found.append((direction_names[direction].decode(),
                              unit_type_names[unit_type].decode(), tuple(cell.units),
                              tuple(cell.movements), tuple(cell.pieces), tuple(cell.grams)))
        return found

    def table_sizes(self):
        """Rows in each table, bytes of state, units not yet logged: a dict of int."""
        cdef uint64_t changed = 0
        cdef uint32_t i
        for i in range(self.engine_.partition_count):
            changed += (self.engine_.partitions[i].changed_units.size
                        - self.engine_.partitions[i].taken)
        return {
            "operators": self.engine_.customs.operator_names.size,
            "declarations": self.engine_.customs.declarations.index.count,
            "lines": self.engine_.customs.line_count,
            "holds": self.engine_.customs.hold_names.size,
            "units": unit_index_count(&self.engine_.units.index),
            "state_bytes": self.engine_.arena_.bytes_in_use,
            "unit_index_bytes": unit_index_memory_bytes(&self.engine_.units.index),
            "changed_units": changed,
        }
