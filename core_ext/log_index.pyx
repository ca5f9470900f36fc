# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Which lines of a log touch which unit, declaration, hold and operator, at the replay's speed.

What it is: the Python face of log_index.h.
Who calls it: stream.log_index, which knows files and looks things up.
What it must never know: where the bytes come from, what the lines mean for a decision.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc


cdef extern from "log_index.h" nogil:
    enum:
        LOG_INDEX_OUT_OF_MEMORY
        LOG_INDEX_WRONG_LINE
        LOG_LINE_STRIDE

    ctypedef struct log_indexer:
        uint64_t postings_size
        uint64_t *line_starts
        uint64_t line_starts_size
        uint64_t line_count
        char *error

    uint64_t log_name_hash(uint8_t kind, const uint8_t *name, uint64_t length)
    int log_indexer_init(log_indexer *indexer, uint64_t run_postings)
    void log_indexer_free(log_indexer *indexer)
    int log_indexer_scan(log_indexer *indexer, const uint8_t *bytes, uint64_t length,
                         uint64_t offset, int is_last, uint64_t *consumed)
    void log_indexer_sort(log_indexer *indexer)
    void log_indexer_take(log_indexer *indexer, uint64_t *hashes, uint32_t *lines)


LINE_STRIDE = LOG_LINE_STRIDE


class LogLineError(ValueError):
    """A line that is none of a log: ``line`` from 1, ``reason`` in words."""

    def __init__(self, line, reason):
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


def name_hash(kind, bytes name):
    """Returns the hash under which the lines of a name are kept."""
    cdef bytes kind_byte = kind.encode("ascii")
    return log_name_hash(kind_byte[0], <const uint8_t *>PyBytes_AS_STRING(name), len(name))


cdef class LogIndexer:
    cdef log_indexer *indexer

    def __cinit__(self, uint64_t run_postings):
        # The scanners inside are too large for an object's head.
        self.indexer = <log_indexer *>malloc(sizeof(log_indexer))
        if self.indexer == NULL or log_indexer_init(self.indexer, run_postings) < 0:
            raise MemoryError("an index of the log")

    def __dealloc__(self):
        if self.indexer != NULL:
            log_indexer_free(self.indexer)
            free(self.indexer)

    @property
    def line_count(self):
        return self.indexer.line_count

    @property
    def posting_count(self):
        return self.indexer.postings_size

    def scan(self, const uint8_t[::1] data, uint64_t offset, bint is_last):
        cdef uint64_t length = data.shape[0]
        cdef uint64_t consumed = 0
        cdef int result
        if length == 0:
            return 0
        with nogil:
            result = log_indexer_scan(self.indexer, &data[0], length, offset, is_last, &consumed)
        if result == LOG_INDEX_OUT_OF_MEMORY:
            raise MemoryError("an index of the log")
        if result == LOG_INDEX_WRONG_LINE:
            raise LogLineError(
                self.indexer.line_count + 1, self.indexer.error.decode("utf-8", "replace")
            )
        return consumed

    def take_run(self):
        cdef uint64_t count = self.indexer.postings_size
        cdef bytes hashes = PyBytes_FromStringAndSize(NULL, count * sizeof(uint64_t))
        cdef bytes lines = PyBytes_FromStringAndSize(NULL, count * sizeof(uint32_t))
        cdef uint64_t *hash_bytes = <uint64_t *>PyBytes_AS_STRING(hashes)
        cdef uint32_t *line_bytes = <uint32_t *>PyBytes_AS_STRING(lines)
        with nogil:
            log_indexer_sort(self.indexer)
            log_indexer_take(self.indexer, hash_bytes, line_bytes)
        return hashes, lines

    def line_starts(self):
        return PyBytes_FromStringAndSize(
            <char *>self.indexer.line_starts, self.indexer.line_starts_size * sizeof(uint64_t)
        )
