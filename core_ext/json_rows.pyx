# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Columns of integers to rows of JSON text, by template, and the partition of each key.

What it is: the Python face of json_rows.h. Called by the national year, whose events and
declarations are planned in numpy columns and would take minutes to format in Python. It must never
know what the text means, and no Kafka: owner of record batches is record_batch.pyx.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

import numpy


cdef extern from "kafka_partitioner.h" nogil:
    int32_t kafka_partition(const uint8_t *key, uint32_t length, uint32_t partitions)


cdef extern from "json_rows.h" nogil:
    enum:
        JSON_LITERAL
        JSON_INTEGER
        JSON_PADDED
        JSON_TIME_UTC
        JSON_TIME_LOCAL
        JSON_KILOGRAMS
        JSON_TEXT
        JSON_CONTAINER
        JSON_CONTAINER_WRONG
        JSON_CONTAINER_SLOPPY
        JSON_FORM_COUNT
    ctypedef struct json_segment:
        int64_t argument
        uint32_t length
        uint16_t column
        uint8_t form
    ctypedef struct json_dictionary:
        const uint8_t *bytes
        const int64_t *offsets
        int64_t count
    ctypedef struct json_day:
        int64_t day
    uint64_t json_segment_bytes_max(const json_segment *segment,
                                    const uint32_t *dictionary_bytes_max)
    uint8_t *json_write_row(uint8_t *out, const json_segment *segments, int64_t count,
                            const uint8_t *literals, const json_dictionary *dictionaries,
                            const int64_t *columns, int64_t row_count, int64_t row,
                            json_day *day_utc, json_day *day_local, int *bad_column)


INTEGER = JSON_INTEGER
PADDED = JSON_PADDED
TIME_UTC = JSON_TIME_UTC
TIME_LOCAL = JSON_TIME_LOCAL
KILOGRAMS = JSON_KILOGRAMS
TEXT = JSON_TEXT
CONTAINER = JSON_CONTAINER
CONTAINER_WRONG = JSON_CONTAINER_WRONG
CONTAINER_SLOPPY = JSON_CONTAINER_SLOPPY

COLUMNS_MAX = 64
TEMPLATES_MAX = 65536
TEMPLATE_BYTES_MAX = 1 << 24


cdef class JsonRows:
    """See json_rows.pyi."""

    cdef json_segment *segments
    cdef json_dictionary *dictionaries
    cdef int64_t[::1] starts       # segments of template t: starts[t] .. starts[t + 1]
    cdef int64_t[::1] bytes_max    # of each template
    cdef const uint8_t[::1] literals
    cdef list kept                 # arrays that the dictionaries point into
    cdef readonly int template_count
    cdef readonly int column_count

    def __cinit__(self, templates, dictionaries=()):
        cdef Py_ssize_t count, at
        cdef int64_t[::1] offsets
        cdef const uint8_t[::1] text
        cdef uint32_t[::1] dictionary_bytes_max
        if len(templates) > TEMPLATES_MAX:
            raise ValueError(f"{len(templates)} templates are more than {TEMPLATES_MAX}")
        self.kept = []
        self.column_count = 0
        self.template_count = len(templates)
        dictionary_bytes_max = numpy.zeros(max(len(dictionaries), 1), numpy.uint32)
        self.dictionaries = <json_dictionary *>malloc(
            max(len(dictionaries), 1) * sizeof(json_dictionary))
        count = sum(len(template) for template in templates)
        self.segments = <json_segment *>malloc(max(count, 1) * sizeof(json_segment))
        if self.dictionaries == NULL or self.segments == NULL:
            raise MemoryError
        for at, entries in enumerate(dictionaries):
            lengths = [len(entry) for entry in entries]
            offsets = numpy.concatenate(([0], numpy.cumsum(lengths))).astype(numpy.int64)
            text = numpy.frombuffer(b"".join(entries) + b"\0", numpy.uint8)
            self.kept.append((offsets, text))
            self.dictionaries[at].bytes = &text[0]
            self.dictionaries[at].offsets = &offsets[0]
            self.dictionaries[at].count = len(lengths)
            dictionary_bytes_max[at] = max(lengths, default=0)
        literals = bytearray()
        self.starts = numpy.zeros(len(templates) + 1, numpy.int64)
        self.bytes_max = numpy.zeros(max(len(templates), 1), numpy.int64)
        at = 0
        for number, template in enumerate(templates):
            for segment in template:
                if isinstance(segment, bytes):
                    self.segments[at] = json_segment(
                        argument=len(literals), length=len(segment), column=0, form=JSON_LITERAL)
                    literals += segment
                else:
                    form, column, *rest = segment
                    argument = rest[0] if rest else 0
                    width = rest[1] if len(rest) > 1 else 1
                    if not JSON_LITERAL < form < JSON_FORM_COUNT:
                        raise ValueError(f"template {number}: no such form: {form}")
                    if not 0 <= column < COLUMNS_MAX:
                        raise ValueError(f"template {number}: column {column} is not in 0.."
                                         f"{COLUMNS_MAX - 1}")
                    if form == JSON_TEXT and not 0 <= argument < len(dictionaries):
                        raise ValueError(f"template {number}: no dictionary {argument}")
                    self.segments[at] = json_segment(
                        argument=argument, length=width, column=column, form=form)
                    self.column_count = max(self.column_count, column + 1)
                self.bytes_max[number] += json_segment_bytes_max(
                    &self.segments[at], &dictionary_bytes_max[0])
                at += 1
            if self.bytes_max[number] > TEMPLATE_BYTES_MAX:
                raise ValueError(f"template {number} can write {self.bytes_max[number]} bytes, "
                                 f"more than {TEMPLATE_BYTES_MAX}")
            self.starts[number + 1] = at
        self.literals = numpy.frombuffer(bytes(literals) + b"\0", numpy.uint8)

    def __dealloc__(self):
        free(self.segments)
        free(self.dictionaries)

    def write(self, const int64_t[:, ::1] columns not None, const uint16_t[::1] template not None,
              const int64_t[::1] order not None):
        cdef int64_t row_count = columns.shape[1], count = order.shape[0]
        cdef int64_t index, row, number, bound = 0, bad_row = -1
        cdef int bad_column = -1
        cdef uint8_t *out
        cdef uint8_t *start
        cdef json_day day_utc, day_local
        cdef const int64_t *first_column = NULL
        cdef uint8_t[::1] values
        cdef int64_t[::1] offsets
        if columns.shape[0] < self.column_count:
            raise ValueError(f"the templates name {self.column_count} columns, given were "
                             f"{columns.shape[0]}")
        if template.shape[0] != row_count:
            raise ValueError(f"{template.shape[0]} templates for {row_count} rows")
        with nogil:
            for index in range(count):
                row = order[index]
                if row < 0 or row >= row_count or template[row] >= self.template_count:
                    bad_row = index
                    break
                bound += self.bytes_max[template[row]]
        if bad_row >= 0:
            raise IndexError(f"order[{bad_row}] names no row, or one without a template")
        buffer = numpy.empty(max(bound, 1), numpy.uint8)
        values = buffer
        offsets_array = numpy.empty(count + 1, numpy.int64)
        offsets = offsets_array
        if row_count:
            first_column = &columns[0, 0]
        day_utc.day = -1
        day_local.day = -1
        with nogil:
            start = &values[0]
            out = start
            offsets[0] = 0
            for index in range(count):
                row = order[index]
                number = template[row]
                out = json_write_row(
                    out, self.segments + self.starts[number],
                    self.starts[number + 1] - self.starts[number], &self.literals[0],
                    self.dictionaries, first_column, row_count, row, &day_utc, &day_local,
                    &bad_column)
                if out == NULL:
                    bad_row = row
                    break
                offsets[index + 1] = out - start
        if bad_row >= 0:
            raise ValueError(f"row {bad_row}, column {bad_column}: {columns[bad_column, bad_row]} "
                             "does not fit its form")
        return buffer[:offsets[count]], offsets_array


def partitions(const uint8_t[::1] keys not None, const int64_t[::1] key_offsets not None,
               int partition_count):
    """See json_rows.pyi."""
    cdef int64_t index, count = key_offsets.shape[0] - 1
    cdef int32_t[::1] out
    if partition_count < 1:
        raise ValueError(f"{partition_count} partitions: at least 1 is needed")
    if count < 0 or key_offsets[0] < 0 or key_offsets[count] > keys.shape[0]:
        raise ValueError("the offsets do not lie within the keys")
    result = numpy.empty(count, numpy.int32)
    out = result
    if count:
        with nogil:
            for index in range(count):
                out[index] = kafka_partition(
                    &keys[0] + key_offsets[index],
                    <uint32_t>(key_offsets[index + 1] - key_offsets[index]), partition_count)
    return result
