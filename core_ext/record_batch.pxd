# cython: language_level=3
"""The record batch codec as other compiled modules see it.

What it is: the structs of record_view.h, the two classes that own them, and the check of offsets.
Who calls it: matcher.pyx (reads a RecordRun, fills an OutputRun), event_scanner.pyx.
What it must never know: what a record means, where its bytes came from.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t


cdef extern from "record_view.h" nogil:
    ctypedef struct record_view:
        const uint8_t *key
        const uint8_t *value
        int32_t key_length
        int32_t value_length
        int64_t offset
        int64_t timestamp_ms

    ctypedef struct output_record:
        uint64_t key_offset
        uint64_t value_offset
        int32_t key_length
        int32_t value_length
        int32_t partition
        int32_t reserved
        int64_t timestamp_ms

    ctypedef struct record_output:
        uint8_t *bytes
        uint64_t bytes_size
        uint64_t bytes_capacity
        output_record *records
        uint64_t records_size
        uint64_t records_capacity

    void record_output_clear(record_output *output)
    void record_output_free(record_output *output)
    uint8_t *record_output_reserve(record_output *output, uint64_t extra)
    output_record *record_output_append(record_output *output)


cdef class RecordRun:
    # `records[0 .. count)` point into the buffers of `owners`; they live as long as this object.
    cdef record_view *records
    cdef readonly Py_ssize_t count
    # First offset the run answers for, and the last one, also where records were compacted away,
    # aborted or control records; -1 and -1 for a run without a single batch.
    cdef readonly int64_t base_offset
    cdef readonly int64_t last_offset
    # Bytes of the batches as fetched, the whole batches only.
    cdef readonly Py_ssize_t batch_bytes
    cdef readonly Py_ssize_t batch_count
    cdef Py_ssize_t capacity
    cdef list owners


cdef class OutputRun:
    cdef record_output output


# Raises ValueError unless `count` values lie between `count + 1` offsets within `length` bytes.
cdef int check_offsets(str name, const int64_t[::1] offsets, Py_ssize_t count,
                       Py_ssize_t length) except -1
