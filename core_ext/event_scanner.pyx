# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The record scanner and the log line reader for Python.

What it is: the Python face of record_scanner.h, date_time.h and log_lines.h. Called by tests, and
by engineers who want to know what the core makes of a record. The matcher calls the headers
itself. It must never know: Kafka, the clock, units' state.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport INT32_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy

from core_ext.record_batch cimport RecordRun, check_offsets, record_view
from core_ext.unit_index cimport (
    UnitIndex, pthread_rwlock_rdlock, pthread_rwlock_unlock, unit_index, unit_key,
)


cdef extern from "record_types.h" nogil:
    enum:
        TOPIC_OPERATORS
        TOPIC_DECLARATIONS
        TOPIC_HOLDS
        TOPIC_PORT_EVENTS
        TOPIC_COUNT
        REJECT_NONE
        REJECT_TOO_LARGE
        REJECT_MALFORMED
        SCOPE_UNIT
        PORT_EVENT_BYTES_MAX
    const int64_t NO_TIME
    ctypedef struct text:
        const uint8_t *bytes
        uint32_t length
    ctypedef struct seal_set:
        const text *seals
        uint32_t count
        uint8_t looked
    ctypedef struct unit_name:
        uint8_t *name
        uint8_t length
    ctypedef struct port_event:
        text event_id
        text operator_id
        text location_code
        text document
        unit_name unit
        int64_t event_time_us
        int64_t version_us
        int64_t weight_grams
        uint32_t pieces
        uint8_t event_type, unit_type, direction, purpose
        uint8_t is_retracted, has_pieces, has_weight
        uint8_t version_field
        seal_set seals
        const uint64_t *presented
        uint32_t presented_count
    ctypedef struct declaration_unit:
        unit_name unit
        uint8_t unit_type, shared, has_pieces, has_weight
        uint32_t pieces
        int64_t weight_grams
        seal_set seals
        text location_code
    ctypedef struct declaration_record:
        uint64_t number
        int64_t version
        uint8_t direction, status
        int64_t registered_us, status_us, arrive_by_us
        text branch_code, location_code, destination_location_code
        const declaration_unit *units
        uint32_t unit_count
    ctypedef struct hold_record:
        text hold_id
        int64_t version
        uint8_t scope, reason, state
        unit_name unit
        uint64_t declaration_number
        text seal
        int64_t issued_us
    ctypedef struct operator_record:
        text operator_id
        int64_t version
        uint8_t kind, status
        const text *locations
        uint32_t location_count
        text department_code, department_name, branch_code, branch_name
        int32_t connected_day
    ctypedef struct scan_verdict:
        uint8_t reason
        const char *field
        char *detail

cdef extern from "simd_path.h" nogil:
    ctypedef int simd_choice "simd_path"
    bint simd_path_available(simd_choice path)
    simd_choice simd_path_named(const char *word)
    simd_choice simd_path_from_environment()

cdef extern from "json_scanner.h" nogil:
    ctypedef struct json_document:
        pass
    void json_document_use(json_document *document, simd_choice path)

cdef extern from "record_scanner.h" nogil:
    enum:
        PORT_EVENT_FIELD_COUNT
    const char **port_event_fields
    const char **event_type_words
    const char **unit_type_words
    const char **direction_words
    const char **purpose_words
    const char **declaration_status_words
    const char **hold_scope_words
    const char **hold_reason_words
    const char **hold_state_words
    const char **operator_kind_words
    const char **operator_status_words
    ctypedef struct record_scanner:
        json_document document
    void record_scanner_init(record_scanner *scanner)
    void record_scanner_free(record_scanner *scanner)
    int scan_port_event(record_scanner *scanner, const uint8_t *value, int32_t value_length,
                        port_event *out, scan_verdict *verdict)
    int scan_declaration(record_scanner *scanner, const uint8_t *key, int32_t key_length,
                         const uint8_t *value, int32_t value_length, declaration_record *out,
                         scan_verdict *verdict)
    int scan_hold(record_scanner *scanner, const uint8_t *key, int32_t key_length,
                  const uint8_t *value, int32_t value_length, hold_record *out,
                  scan_verdict *verdict)
    int scan_operator(record_scanner *scanner, const uint8_t *key, int32_t key_length,
                      const uint8_t *value, int32_t value_length, operator_record *out,
                      scan_verdict *verdict)

cdef extern from "event_columns.h" nogil:
    enum:
        EVENT_GROUP
        EVENT_CODE_BYTES
        EVENT_UNIT_BYTES
    ctypedef struct event_values:
        const record_view *records
        const uint8_t *bytes
        const int64_t *offsets
    ctypedef struct event_columns:
        uint8_t *reason
        signed char *field
        uint8_t *event_type
        uint8_t *unit_type
        uint8_t *direction
        uint8_t *purpose
        uint8_t *is_retracted
        uint8_t *version_field
        uint8_t *looked
        uint8_t *seal_count
        uint8_t *declaration_count
        int64_t *event_time_us
        int64_t *version_us
        int64_t *pieces
        int64_t *weight_grams
        uint8_t *event_id
        uint8_t *operator_id
        uint8_t *location_code
        uint8_t *unit
        int32_t *row
    int event_columns_scan(record_scanner *scanner, const event_values *values, int64_t start,
                           int64_t end, const event_columns *columns, const unit_index *index,
                           unit_key *keys, uint8_t *lengths)
    void event_columns_find(const unit_index *index, int64_t start, int64_t end,
                            const event_columns *columns, const unit_key *keys,
                            const uint8_t *lengths)

cdef extern from "log_lines.h" nogil:
    enum:
        LOG_LINE_OUT_OF_MEMORY
        LOG_LINE_WRONG
        LOG_LINE_GOOD
        LOG_LINE_BLANK
        LOG_LINE_ERROR_BYTES
    const char **log_line_topics
    ctypedef struct log_line:
        uint8_t topic
        int64_t timestamp_ms
        const uint8_t *key
        const uint8_t *value
        int32_t key_length, value_length
    ctypedef struct log_line_reader:
        json_document document
    void log_line_reader_init(log_line_reader *reader)
    void log_line_reader_free(log_line_reader *reader)
    int log_line_parse(log_line_reader *reader, const uint8_t *line, uint64_t length,
                       log_line *out, char *error)

cdef extern from "date_time.h" nogil:
    enum:
        DATE_TEXT
        DATE_TIME_WRITTEN
    int date_time_parse(const uint8_t *text, uint64_t length, int64_t *microseconds)
    void date_time_format(int64_t microseconds, uint8_t *out)
    int date_parse(const uint8_t *text, uint64_t length, int32_t *days)
    void date_format(int64_t days, uint8_t *out)


VALUE_BYTES_MAX = 2**31 - 1
TOPICS = tuple(log_line_topics[i].decode() for i in range(TOPIC_COUNT))
PORT_EVENT_FIELDS = tuple(port_event_fields[i].decode() for i in range(PORT_EVENT_FIELD_COUNT))
REASONS = (None, "TOO_LARGE", "MALFORMED")
# The paths of this machine, the best last; a path's place is its number in simd_path.h.
SIMD_PATHS = tuple(
    name for path, name in enumerate(("portable", "avx2", "avx512")) if simd_path_available(path)
)

# The columns of scan_port_events, in the order of event_columns in event_columns.h.
EVENT_COLUMNS = {
    "reason": "u1",
    "field": "i1",
    "eventType": "u1",
    "unitType": "u1",
    "direction": "u1",
    "purpose": "u1",
    "isRetracted": "u1",
    "versionField": "u1",
    "looked": "u1",
    "seals": "u1",
    "declarations": "u1",
    "eventDateTime": "i8",
    "version": "i8",
    "pieces": "i8",
    "weightGrams": "i8",
    "eventID": f"S{EVENT_CODE_BYTES}",
    "operatorID": f"S{EVENT_CODE_BYTES}",
    "locationCode": f"S{EVENT_CODE_BYTES}",
    "unit": f"S{EVENT_UNIT_BYTES}",
}
cdef dict EVENT_COLUMNS_AND_ROW = {**EVENT_COLUMNS, "row": "i4"}
# As a buffer names the types of its items: comparing dtypes takes longer than scanning an event.
cdef dict FORMATS = {
    name: memoryview(numpy.empty(0, dtype)).format.encode()
    for name, dtype in EVENT_COLUMNS_AND_ROW.items()
}


cdef simd_choice path_of(object name) except? -9:
    cdef simd_choice path
    if name is None:
        path = simd_path_from_environment()
    else:
        word = name.encode()
        path = simd_path_named(word)
    if path < 0:
        raise ValueError(f"SIMD path {name or 'in GATEJOIN_SIMD'} is unknown or not for this "
                         f"machine; use one of {', '.join(SIMD_PATHS)} or leave it out")
    return path


def simd_path() -> str:
    """The path that a new scanner takes, one of SIMD_PATHS; ValueError if it is none."""
    return SIMD_PATHS[path_of(None)]


@cython.final
cdef class Scanner:
    """One record scanner and one log line reader, for one thread at a time.

    `path` is one of SIMD_PATHS; if left out, what GATEJOIN_SIMD says, else the best one.
    """

    cdef record_scanner *records
    cdef log_line_reader *lines
    cdef bint busy  # a batch is being scanned without the GIL

    def __cinit__(self, path: str | None = None):
        cdef simd_choice chosen = path_of(path)
        self.records = <record_scanner *>malloc(sizeof(record_scanner))
        self.lines = <log_line_reader *>malloc(sizeof(log_line_reader))
        if self.records == NULL or self.lines == NULL:
            free(self.records)
            free(self.lines)
            self.records = NULL
            self.lines = NULL
            raise MemoryError("no memory for a record scanner")
        record_scanner_init(self.records)
        log_line_reader_init(self.lines)
        json_document_use(&self.records.document, chosen)
        json_document_use(&self.lines.document, chosen)

    def __dealloc__(self):
        if self.records != NULL:
            record_scanner_free(self.records)
            log_line_reader_free(self.lines)
        free(self.records)
        free(self.lines)

    cdef int refuse_if_busy(self) except -1:
        if self.busy:
            raise RuntimeError("this scanner is at work in another thread; give each its own")
        return 0

    def scan_record(self, topic: str, key: bytes | None, value: bytes | None):
        """What the core makes of one record of an input topic.

        Returns (record, reason, field, detail): a dict and three None for a good record, else None
        and why, as in a reject. In the dict texts are str, instants int64 microseconds UTC,
        weights grams, days int days since 1970-01-01; what is absent is None. `seals` are
        normalised, without blanks, each once, ascending; `looked` says whether anybody looked.
        ValueError names a topic that is none of TOPICS.
        """
        cdef scan_verdict verdict
        cdef port_event event
        cdef declaration_record declaration
        cdef hold_record hold
        cdef operator_record operator
        cdef const uint8_t *key_bytes = NULL
        cdef const uint8_t *value_bytes = NULL
        cdef int32_t key_length = -1, value_length = -1
        cdef int good
        self.refuse_if_busy()
        if (key is not None and len(key) > VALUE_BYTES_MAX) or (
                value is not None and len(value) > VALUE_BYTES_MAX):
            raise ValueError(f"a key or value longer than {VALUE_BYTES_MAX} bytes is no record's")
        if key is not None:
            key_bytes = key
            key_length = len(key)
        if value is not None:
            value_bytes = value
            value_length = len(value)
        if topic not in TOPICS:
            raise ValueError(f"topic {topic!r} is none of {', '.join(TOPICS)}")
        record = None
        number = TOPICS.index(topic)
        if number == TOPIC_PORT_EVENTS:
            good = scan_port_event(self.records, value_bytes, value_length, &event, &verdict)
            if good == 1:
                record = port_event_dict(&event)
        elif number == TOPIC_DECLARATIONS:
            good = scan_declaration(self.records, key_bytes, key_length, value_bytes, value_length,
                                    &declaration, &verdict)
            if good == 1:
                record = declaration_dict(&declaration)
        elif number == TOPIC_HOLDS:
            good = scan_hold(self.records, key_bytes, key_length, value_bytes, value_length, &hold,
                             &verdict)
            if good == 1:
                record = hold_dict(&hold)
        else:
            good = scan_operator(self.records, key_bytes, key_length, value_bytes, value_length,
                                 &operator, &verdict)
            if good == 1:
                record = operator_dict(&operator)
        if good < 0:
            raise MemoryError("no memory to scan a record")
        if good == 1:
            return record, None, None, None
        return (None, REASONS[verdict.reason],
                None if verdict.field == NULL else (<bytes>verdict.field).decode(),
                (<bytes>verdict.detail).decode())

    def parse_log_line(self, line: bytes):
        """One line of a log: (topic, timestamp in ms, key, value), or None if it is blank.

        Key and value are bytes, or None for null. ValueError says what is wrong with the line.
        """
        cdef log_line out
        cdef char error[LOG_LINE_ERROR_BYTES]
        cdef const uint8_t *data = line
        cdef int result = log_line_parse(self.lines, data, <uint64_t>len(line), &out, error)
        if result == LOG_LINE_OUT_OF_MEMORY:
            raise MemoryError("no memory to parse a log line")
        if result == LOG_LINE_WRONG:
            raise ValueError((<bytes>error).decode())
        if result == LOG_LINE_BLANK:
            return None
        return (TOPICS[out.topic], out.timestamp_ms,
                None if out.key_length < 0 else (<const char *>out.key)[:out.key_length],
                None if out.value_length < 0 else (<const char *>out.value)[:out.value_length])

    def scan_port_events(self, values, offsets=None, *, UnitIndex index=None, out=None):
        """Port events by the million into columns, and their units to rows; the GIL is released.

        Args:
            values: n values: a RecordRun; or a sequence of bytes objects; or, with ``offsets``, a
                buffer in which value i lies from ``offsets[i]`` up to ``offsets[i + 1]``.
            offsets: int64 array of shape (n + 1,), ascending, or None.
            index: where each event's unit is looked up, its unitType deciding whether it is a
                container or a lot.
            out: columns of an earlier call with at least n rows, to be written over, or None for
                new ones. Memory that was written before takes half the time.

        Returns:
            A dict of columns of shape (n,) each, views of ``out`` if it was given: `reason` uint8
            (index into REASONS) and `field` int8 (index into PORT_EVENT_FIELDS, -1: none) of
            refused events, whose other columns are 0; `eventType`, `unitType`, `direction`,
            `purpose`, `isRetracted`, `versionField` uint8; `eventDateTime` and `version` int64
            microseconds UTC; `pieces` and `weightGrams` int64 (-1: absent); `eventID`,
            `operatorID`, `locationCode` S64; `unit` S35 (normalised); `seals` and `declarations`
            uint8 counts; `looked` uint8. With ``index`` also `row` int32: -1 where the index has
            no such unit, -2 for a refused event.

        Raises:
            ValueError: the offsets do not fit the buffer, or ``out`` has no room or other columns.
            RuntimeError: the scanner is at work in another thread.
            MemoryError: there was no memory to scan an event.
        """
        cdef event_values source
        cdef event_columns columns
        cdef RecordRun run
        cdef const uint8_t[::1] buffer
        cdef const int64_t[::1] bounds
        cdef Py_ssize_t count
        memset(&source, 0, sizeof(source))
        memset(&columns, 0, sizeof(columns))
        if isinstance(values, RecordRun):
            run = values
            source.records = run.records
            count = run.count
        else:
            buffer, bounds = buffer_of(values, offsets)
            count = bounds.shape[0] - 1
            # An empty buffer has no address; all its values are empty too.
            source.bytes = &buffer[0] if buffer.shape[0] else <const uint8_t *>b""
            source.offsets = &bounds[0]
        result = event_arrays(count, index is not None, out)
        point_columns(&columns, result, count)
        self.refuse_if_busy()
        self.busy = True
        cdef int good = 1
        cdef Py_ssize_t start = 0, end
        cdef unit_key keys[EVENT_GROUP]
        cdef uint8_t lengths[EVENT_GROUP]
        cdef unit_index *units = &index.index if index is not None else NULL
        with nogil:
            while start < count and good > 0:
                end = min(start + EVENT_GROUP, count)
                good = event_columns_scan(self.records, &source, start, end, &columns, units, keys,
                                          lengths)
                if good > 0 and units != NULL:
                    pthread_rwlock_rdlock(&index.lock)
                    event_columns_find(units, start, end, &columns, keys, lengths)
                    pthread_rwlock_unlock(&index.lock)
                start = end
        self.busy = False
        if good < 0:
            raise MemoryError("no memory to scan port events")
        return result


cdef tuple buffer_of(values, offsets):
    """Values as one buffer and their bounds."""
    if offsets is None:
        lengths = numpy.fromiter(map(len, values), numpy.int64, len(values))
        offsets = numpy.concatenate([numpy.zeros(1, numpy.int64), numpy.cumsum(lengths)])
        values = b"".join(values)
    bounds = numpy.ascontiguousarray(offsets, numpy.int64)
    buffer = numpy.frombuffer(values, numpy.uint8)
    if bounds.ndim != 1 or bounds.size < 1:
        raise ValueError("offsets must be one more than there are values")
    check_offsets("offsets", bounds, bounds.size - 1, buffer.size)
    return buffer, bounds


cdef dict event_arrays(Py_ssize_t count, bint with_rows, out):
    """Columns with `count` rows: new ones, or views of `out`."""
    wanted = EVENT_COLUMNS_AND_ROW if with_rows else EVENT_COLUMNS
    if out is None:
        return {name: numpy.empty(count, dtype) for name, dtype in wanted.items()}
    arrays = {}
    for name in wanted:
        column = out.get(name)
        if not isinstance(column, numpy.ndarray) or column.ndim != 1:
            raise wrong_column(name, count)
        arrays[name] = column[:count]
    return arrays


cdef object wrong_column(str name, Py_ssize_t count):
    return ValueError(
        f"scan_port_events: out[{name!r}] must be a writable, contiguous array of"
        f" {numpy.dtype(EVENT_COLUMNS_AND_ROW[name])} with {count} rows or more"
    )


cdef int point_columns(event_columns *columns, dict arrays, Py_ssize_t count) except -1:
    """Sets the addresses of the columns, after a look at each. The arrays keep the memory."""
    cdef uint8_t **address = &columns.reason
    cdef Py_buffer view
    cdef bint fits
    for name, array in arrays.items():
        try:
            PyObject_GetBuffer(array, &view, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        except (BufferError, ValueError):
            raise wrong_column(name, count) from None
        # One type can have two names, as int64 is C's long and long long.
        fits = view.shape[0] == count and (
            view.format == <bytes>FORMATS[name] or array.dtype == EVENT_COLUMNS_AND_ROW[name])
        address[0] = <uint8_t *>view.buf
        PyBuffer_Release(&view)
        if not fits:
            raise wrong_column(name, count)
        address += 1
    return 0


cdef str text_str(text value):
    return (<const char *>value.bytes)[:value.length].decode()


cdef object optional_str(text value):
    return text_str(value) if value.length else None


cdef object optional_time(int64_t microseconds):
    return None if microseconds == NO_TIME else microseconds


cdef str unit_str(const unit_name *unit):
    return (<const char *>unit.name)[:unit.length].decode()


cdef list seal_list(seal_set seals):
    return [text_str(seals.seals[i]) for i in range(seals.count)]


cdef dict port_event_dict(const port_event *event):
    return {
        "eventID": text_str(event.event_id),
        "eventType": event_type_words[event.event_type].decode(),
        "eventDateTime": event.event_time_us,
        "version": event.version_us,
        "versionField": port_event_fields[event.version_field].decode(),
        "isRetracted": bool(event.is_retracted),
        "operatorID": text_str(event.operator_id),
        "locationCode": text_str(event.location_code),
        "unitType": unit_type_words[event.unit_type].decode(),
        "unit": unit_str(&event.unit),
        "direction": direction_words[event.direction].decode(),
        "purpose": purpose_words[event.purpose].decode(),
        "pieces": event.pieces if event.has_pieces else None,
        "weightGrams": event.weight_grams if event.has_weight else None,
        "seals": seal_list(event.seals),
        "looked": bool(event.seals.looked),
        "declarations": [f"{event.presented[i]:012d}" for i in range(event.presented_count)],
        "document": optional_str(event.document),
    }


cdef dict declaration_unit_dict(const declaration_unit *unit):
    return {
        "unit": unit_str(&unit.unit),
        "unitType": unit_type_words[unit.unit_type].decode(),
        "seals": seal_list(unit.seals),
        "looked": bool(unit.seals.looked),
        "pieces": unit.pieces if unit.has_pieces else None,
        "weightGrams": unit.weight_grams if unit.has_weight else None,
        "shared": bool(unit.shared),
        "locationCode": optional_str(unit.location_code),
    }


cdef dict declaration_dict(const declaration_record *declaration):
    return {
        "declarationNumber": f"{declaration.number:012d}",
        "version": declaration.version,
        "direction": direction_words[declaration.direction].decode(),
        "status": declaration_status_words[declaration.status].decode(),
        "registeredDateTime": declaration.registered_us,
        "statusDateTime": optional_time(declaration.status_us),
        "branchCode": optional_str(declaration.branch_code),
        "locationCode": text_str(declaration.location_code),
        "destinationLocationCode": optional_str(declaration.destination_location_code),
        "arriveByDateTime": optional_time(declaration.arrive_by_us),
        "units": [declaration_unit_dict(&declaration.units[i])
                  for i in range(declaration.unit_count)],
    }


cdef dict hold_dict(const hold_record *hold):
    return {
        "holdID": text_str(hold.hold_id),
        "version": hold.version,
        "scope": hold_scope_words[hold.scope].decode(),
        "reference": unit_str(&hold.unit) if hold.scope == SCOPE_UNIT
        else f"{hold.declaration_number:012d}",
        "reason": hold_reason_words[hold.reason].decode(),
        "seal": optional_str(hold.seal),
        "state": hold_state_words[hold.state].decode(),
        "issuedDateTime": hold.issued_us,
    }


cdef dict operator_dict(const operator_record *operator):
    return {
        "operatorID": text_str(operator.operator_id),
        "kind": operator_kind_words[operator.kind].decode(),
        "departmentCode": text_str(operator.department_code),
        "departmentName": text_str(operator.department_name),
        "branchCode": optional_str(operator.branch_code),
        "branchName": optional_str(operator.branch_name),
        "locations": [text_str(operator.locations[i]) for i in range(operator.location_count)],
        "status": operator_status_words[operator.status].decode(),
        "connectedDay": None if operator.connected_day == INT32_MIN else operator.connected_day,
        "version": operator.version,
    }


def parse_date_time(text: bytes) -> int | None:
    """Microseconds since 1970 UTC of an RFC 3339 text as CONTRACT.md limits it, or None."""
    cdef int64_t microseconds
    cdef const uint8_t *data = text
    return microseconds if date_time_parse(data, <uint64_t>len(text), &microseconds) else None


def format_date_time(microseconds: int) -> str:
    """An instant as `2018-08-09T03:04:05.000000Z`; beyond years 0 to 9999 the nearest within."""
    cdef uint8_t out[DATE_TIME_WRITTEN]
    date_time_format(microseconds, out)
    return (<const char *>out)[:DATE_TIME_WRITTEN].decode()


def parse_date(text: bytes) -> int | None:
    """Days since 1970-01-01 of a day YYYY-MM-DD of the years 1970 to 2199, or None."""
    cdef int32_t days
    cdef const uint8_t *data = text
    return days if date_parse(data, <uint64_t>len(text), &days) else None


def format_date(days: int) -> str:
    """A day as YYYY-MM-DD; beyond years 0 to 9999 the nearest within."""
    cdef uint8_t out[DATE_TEXT]
    date_format(days, out)
    return (<const char *>out)[:DATE_TEXT].decode()
