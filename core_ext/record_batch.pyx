# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kafka record batches in bulk: what one fetch brought becomes one array of records, and back.

What it is: the owners of the memory that record_batch.h works on, and the calls to the
decompressors (cramjam, which aiokafka brings). One Python object per fetched run, never one per
record or per batch.
Who calls it: stream.transport and stream.customs_feed (decode), stream.emission and
stream.national_year (encode), core_ext.matcher (reads a RecordRun, fills an OutputRun).
What it must never know: topics, a Kafka client, what a record means.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT32_MAX, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

import zlib

import cramjam


cdef extern from "kafka_partitioner.h" nogil:
    int32_t kafka_partition(const uint8_t *key, uint32_t length, uint32_t partitions)


cdef extern from "record_batch.h" nogil:
    enum:
        BATCH_HEADER_LENGTH
        BATCH_CODEC_MASK
        BATCH_MAGIC
        BATCH_END
        BATCH_COMPRESSED
        BATCH_BROKEN
        BATCH_NO_MEMORY
        EVERY_PARTITION

    ctypedef struct aborted_transaction:
        int64_t producer_id
        int64_t first_offset

    ctypedef struct batch_header:
        int64_t base_offset
        int64_t last_offset
        int32_t attributes
        const uint8_t *body
        const uint8_t *body_end

    ctypedef struct batch_decoder:
        const uint8_t *position
        const uint8_t *end
        int64_t fetch_offset
        int check_crc
        int committed_only
        const aborted_transaction *aborted
        size_t aborted_count
        int64_t *aborted_producers
        record_view *records
        size_t records_size
        size_t records_capacity
        int64_t base_offset
        int64_t last_offset
        size_t batch_count
        batch_header current
        char *error

    int batch_decode(batch_decoder *decoder)
    int batch_decode_records(batch_decoder *decoder, const uint8_t *at, const uint8_t *end)
    void batch_finish(batch_decoder *decoder)

    ctypedef struct record_source:
        const record_output *output
        const uint8_t *values
        const uint8_t *keys
        const int64_t *value_offsets
        const int64_t *key_offsets
        const int64_t *timestamps_ms

    ctypedef struct batch_plan:
        uint32_t record_count
        uint64_t body_length

    int batch_plan_next(const record_source *source, size_t count, int32_t partition,
                        uint64_t bytes_max, uint32_t records_max, size_t *index,
                        batch_plan *plan)
    void batch_write_body(const record_source *source, const batch_plan *plan,
                          int32_t partition, uint8_t *at)
    void batch_write_header(uint8_t *batch, size_t length, const batch_plan *plan, int codec)
    void batch_write_producer(uint8_t *batch, size_t length, int64_t producer_id,
                              int16_t producer_epoch, int32_t base_sequence,
                              int is_transactional)
    uint32_t crc32c_ "crc32c"(const uint8_t *bytes, size_t length)
    void crc32c_initialise()


crc32c_initialise()

# Names of the codecs as Kafka's `compression.type` spells them; the index is the wire's number.
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
cdef enum:
    CODEC_NONE = 0
    CODEC_GZIP = 1
    CODEC_SNAPPY = 2
    CODEC_LZ4 = 3
    CODEC_ZSTD = 4

# The levels that Kafka's brokers and aiokafka use by default.
cdef dict DEFAULT_LEVELS = {CODEC_GZIP: 9, CODEC_LZ4: 9, CODEC_ZSTD: 3}

# Most bytes that the compressed batches of one run may unfold into. Below 1 MiB ordinary fetches
# would be cut into many runs; above, memory per run grows with it, at worst twice this value.
DECOMPRESSED_BYTES_MAX = 64 << 20

# A broker refuses batches above max.message.bytes (1 MiB unless set), so that is the default;
# no batch can be longer than its 32-bit length field says.
BATCH_BYTES_MAX = 1_000_000
BATCH_RECORDS_MAX = INT32_MAX

# Memory for decompressed batches comes in blocks of at least this size, many batches to a block.
cdef Py_ssize_t ARENA_BYTES_MIN = 1 << 18

# Framing of the xerial library, which Java clients put around snappy: this magic, version and
# compatible version (8 bytes), then blocks, each after its length (Int32).
cdef bytes XERIAL_MAGIC = b"\x82SNAPPY\x00"
cdef Py_ssize_t XERIAL_HEADER_LENGTH = 16


class RecordBatchError(ValueError):
    """A record batch is broken; the message names its offset and what is wrong.

    `offset` is the base offset of the batch, where the consumer stands until somebody acts.
    """

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def crc32c(data) -> int:
    """CRC-32C (Castagnoli) of a bytes-like object, as an unsigned 32-bit integer."""
    cdef const uint8_t[::1] view = data
    cdef uint32_t answer
    with nogil:
        answer = crc32c_(&view[0] if view.shape[0] else NULL, view.shape[0])
    return answer


cdef class RecordRun:
    """The records of one fetched run of a partition: hundreds of batches, one object.

    `count` records; `base_offset` and `last_offset` span every offset the run answers for, also
    those of records that were compacted away, rolled back or are control records (-1 without any
    batch); `batch_count` batches of `batch_bytes` bytes as fetched. Iterating gives
    `(key, value, offset, timestamp_ms)`, for tests and tools: the worker never does that.
    """

    def __cinit__(self):
        self.records = NULL
        self.count = 0
        self.capacity = 0
        self.base_offset = -1
        self.last_offset = -1
        self.batch_bytes = 0
        self.batch_count = 0
        self.owners = []

    def __dealloc__(self):
        free(self.records)

    @staticmethod
    def from_records(records) -> RecordRun:
        """A run of `(key | None, value | None, offset, timestamp_ms)` tuples, offsets ascending.

        Raises ValueError if the offsets do not ascend, MemoryError if memory is exhausted.
        """
        cdef RecordRun run = RecordRun.__new__(RecordRun)
        cdef Py_ssize_t count = len(records), i
        cdef bytes key_bytes, value_bytes
        cdef int64_t last = -1
        run.records = <record_view *> malloc(max(count, 1) * sizeof(record_view))
        if run.records == NULL:
            raise MemoryError()
        run.capacity = max(count, 1)
        for i, (key, value, offset, timestamp_ms) in enumerate(records):
            key_bytes = b"" if key is None else bytes(key)
            value_bytes = b"" if value is None else bytes(value)
            run.owners.append(key_bytes)
            run.owners.append(value_bytes)
            run.records[i].key = <const uint8_t *> PyBytes_AS_STRING(key_bytes)
            run.records[i].key_length = -1 if key is None else <int32_t> len(key_bytes)
            run.records[i].value = <const uint8_t *> PyBytes_AS_STRING(value_bytes)
            run.records[i].value_length = -1 if value is None else <int32_t> len(value_bytes)
            run.records[i].offset = offset
            run.records[i].timestamp_ms = timestamp_ms
            if run.records[i].offset <= last:
                raise ValueError(f"record {i}: offset {offset} does not follow {last}")
            last = run.records[i].offset
        run.count = count
        if count:
            run.base_offset = run.records[0].offset
            run.last_offset = last
        return run

    @property
    def last_timestamp_ms(self) -> int:
        """Timestamp of the last record, milliseconds since 1970 UTC; -1 without records."""
        return self.records[self.count - 1].timestamp_ms if self.count else -1

    def cut(self, int64_t offset) -> None:
        """Drops the records from `offset` on, so that the run ends just before it."""
        if offset <= self.base_offset:
            raise ValueError(f"cutting at {offset} leaves nothing of {self!r}")
        if offset > self.last_offset:
            return
        while self.count and self.records[self.count - 1].offset >= offset:
            self.count -= 1
        self.last_offset = offset - 1

    def split(self, int64_t offset) -> RecordRun:
        """Takes the records from `offset` on out of this run; returns them as a run of their own.

        Raises ValueError unless both keep something, MemoryError if memory is exhausted."""
        cdef Py_ssize_t kept = self.count
        cdef RecordRun rest = RecordRun.__new__(RecordRun)
        if not self.base_offset < offset <= self.last_offset:
            raise ValueError(f"splitting at {offset} leaves one half of {self!r} empty")
        while kept and self.records[kept - 1].offset >= offset:
            kept -= 1
        rest.count = rest.capacity = self.count - kept
        rest.records = <record_view *> malloc(max(rest.count, 1) * sizeof(record_view))
        if rest.records == NULL:
            raise MemoryError()
        if rest.count:
            memcpy(rest.records, self.records + kept, rest.count * sizeof(record_view))
        rest.base_offset = offset
        rest.last_offset = self.last_offset
        rest.owners = self.owners
        self.count = kept
        self.last_offset = offset - 1
        return rest

    def last_value(self, bytes key not None):
        """The value (bytes, or None) and offset of the last record with `key`, or None."""
        cdef Py_ssize_t i = self.count - 1
        cdef record_view *record
        while i >= 0:
            record = &self.records[i]
            if record.key_length == len(key) and not memcmp(
                    record.key, PyBytes_AS_STRING(key), len(key)):
                return (
                    None if record.value_length < 0
                    else PyBytes_FromStringAndSize(
                        <const char *> record.value, record.value_length),
                    record.offset,
                )
            i -= 1
        return None

    def last_null(self, bytes key not None) -> int:
        """The offset of the last record with `key` and no value, -1 if there is none."""
        cdef Py_ssize_t i = self.count - 1
        cdef record_view *record
        while i >= 0:
            record = &self.records[i]
            if record.value_length < 0 and record.key_length == len(key) and not memcmp(
                    record.key, PyBytes_AS_STRING(key), len(key)):
                return record.offset
            i -= 1
        return -1

    def __len__(self) -> int:
        return self.count

    def __iter__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            yield (
                None if self.records[i].key_length < 0
                else PyBytes_FromStringAndSize(
                    <const char *> self.records[i].key, self.records[i].key_length),
                None if self.records[i].value_length < 0
                else PyBytes_FromStringAndSize(
                    <const char *> self.records[i].value, self.records[i].value_length),
                self.records[i].offset,
                self.records[i].timestamp_ms,
            )

    def __repr__(self) -> str:
        return (f"<RecordRun offsets {self.base_offset}..{self.last_offset}, "
                f"{self.count} records in {self.batch_count} batches>")


cdef class FetchDecoder:
    """Decodes what a fetch brought of one partition; iterating gives RecordRuns.

    Normally that is one run. There are more only where compressed batches unfold into more than
    `decompressed_bytes_max` bytes, and none if not one whole batch is there. A partial batch at
    the end is left alone: the next fetch starts with it.

    `data` is any contiguous bytes-like object and is kept, not copied. Records below
    `fetch_offset` are dropped. `aborted` is the broker's list of `(producer_id, first_offset)` of
    rolled-back transactions (read_committed), or None to read uncommitted; control records are
    dropped either way. `position` tells how many bytes have been decoded, `next_offset` where to
    fetch from next.

    Iterating raises RecordBatchError if a batch is broken, its CRC wrong (unless `check_crc` is
    false), its codec unknown, or if it alone unfolds into more than `decompressed_bytes_max`.
    The whole batches before it are handed out first, as a run of their own; after the error the
    decoder ends.
    """

    cdef object data
    cdef const uint8_t[::1] view
    cdef batch_decoder decoder
    cdef aborted_transaction *aborted
    cdef int64_t *aborted_producers
    cdef Py_ssize_t decompressed_bytes_max
    cdef Py_ssize_t decompressed_bytes
    cdef bytearray arena
    cdef Py_ssize_t arena_used
    cdef Py_ssize_t arena_size
    cdef object failure
    cdef readonly int64_t next_offset

    def __cinit__(self, data, int64_t fetch_offset=0, aborted=None, *, bint check_crc=True,
                  Py_ssize_t decompressed_bytes_max=DECOMPRESSED_BYTES_MAX):
        cdef Py_ssize_t i, count
        memset(&self.decoder, 0, sizeof(batch_decoder))
        self.data = memoryview(data)
        self.view = data
        self.next_offset = fetch_offset
        self.decompressed_bytes_max = decompressed_bytes_max
        self.decoder.position = &self.view[0] if self.view.shape[0] else NULL
        self.decoder.end = self.decoder.position + self.view.shape[0]
        self.decoder.fetch_offset = fetch_offset
        self.decoder.check_crc = check_crc
        self.decoder.last_offset = -1
        if aborted is not None:
            ordered = sorted(aborted, key=lambda transaction: transaction[1])
            count = len(ordered)
            self.aborted = <aborted_transaction *> malloc(
                max(count, 1) * sizeof(aborted_transaction))
            self.aborted_producers = <int64_t *> malloc(max(count, 1) * sizeof(int64_t))
            if self.aborted == NULL or self.aborted_producers == NULL:
                raise MemoryError()
            for i in range(count):
                self.aborted[i].producer_id = ordered[i][0]
                self.aborted[i].first_offset = ordered[i][1]
            self.decoder.committed_only = 1
            self.decoder.aborted = self.aborted
            self.decoder.aborted_count = count
            self.decoder.aborted_producers = self.aborted_producers

    def __dealloc__(self):
        free(self.decoder.records)
        free(self.aborted)
        free(self.aborted_producers)

    @property
    def position(self) -> int:
        """Bytes of `data` decoded so far."""
        return self.decoder.position - (self.decoder.end - self.view.shape[0])

    def __iter__(self):
        return self

    def __next__(self) -> RecordRun:
        cdef const uint8_t *start = self.decoder.position
        cdef list owners = [self.data]
        cdef bytearray plain, owner = None
        cdef Py_ssize_t plain_start, plain_length
        cdef const uint8_t *plain_bytes
        cdef int result
        self.decoder.base_offset = -1
        self.decoder.batch_count = 0
        self.decompressed_bytes = 0
        self.arena = None
        while True:
            with nogil:
                result = batch_decode(&self.decoder)
            if result != BATCH_COMPRESSED:
                break
            plain_length = self._decompress(&plain_start)
            if plain_length < 0:
                break  # the run is full or the batch broken: it opens the next run
            plain = self.arena
            if plain is not owner:
                owner = plain
                owners.append(plain)
            plain_bytes = <const uint8_t *> PyByteArray_AS_STRING(plain) + plain_start
            with nogil:
                result = batch_decode_records(
                    &self.decoder, plain_bytes, plain_bytes + plain_length)
                if result == BATCH_END:
                    batch_finish(&self.decoder)
            if result != BATCH_END:
                break
        self.arena = None
        if result == BATCH_NO_MEMORY:
            self._stop()
            raise MemoryError()
        if result == BATCH_BROKEN:
            self._set_failure((<bytes> self.decoder.error).decode("ascii"))
        if self.decoder.batch_count:
            return self._hand_over(start, owners)
        failure, self.failure = self.failure, None
        if failure is None:
            raise StopIteration
        self._stop()
        raise failure

    cdef RecordRun _hand_over(self, const uint8_t *start, list owners):
        cdef RecordRun run = RecordRun.__new__(RecordRun)
        run.records = self.decoder.records
        run.count = self.decoder.records_size
        run.capacity = self.decoder.records_capacity
        run.base_offset = max(self.decoder.base_offset, self.next_offset)
        run.last_offset = self.decoder.last_offset
        run.batch_bytes = self.decoder.position - start
        run.batch_count = self.decoder.batch_count
        run.owners = owners
        self.decoder.records = NULL
        self.decoder.records_size = self.decoder.records_capacity = 0
        if run.last_offset < self.next_offset:  # every batch lay below the fetch position
            run.last_offset = self.next_offset - 1
            run.base_offset = run.last_offset
        self.next_offset = run.last_offset + 1
        return run

    cdef void _stop(self):
        self.decoder.position = self.decoder.end

    cdef void _set_failure(self, str message):
        # Raised once the whole batches before it have been handed out, so that they get done.
        self.failure = RecordBatchError(message, self.decoder.current.base_offset)

    cdef Py_ssize_t _break_batch(self, str what):
        self._set_failure(f"record batch at offset {self.decoder.current.base_offset}: {what}")
        return -1

    cdef Py_ssize_t _decompress(self, Py_ssize_t *plain_start) except? -2:
        """Decompresses the current batch into the arena.

        Returns its length and sets where it starts, or returns -1 if the run has no room left or
        the batch is broken (then with `failure` set).
        """
        cdef int codec = self.decoder.current.attributes & BATCH_CODEC_MASK
        cdef Py_ssize_t offset = self.decoder.current.body - &self.view[0]
        cdef Py_ssize_t length = self.decoder.current.body_end - self.decoder.current.body
        cdef Py_ssize_t left = self.decompressed_bytes_max - self.decompressed_bytes
        cdef Py_ssize_t size, written
        if codec > CODEC_ZSTD:
            return self._break_batch(f"unknown compression codec {codec}")
        body = self.data[offset:offset + length]
        if self.arena is None or self.arena_size - self.arena_used < length:
            self._new_arena(max(ARENA_BYTES_MIN, 4 * length,
                                min(4 * (self.decoder.end - self.decoder.position), 1 << 24)))
        while True:
            size = min(self.arena_size - self.arena_used, left)
            try:
                written = decompress_into(
                    codec, body, memoryview(self.arena)[self.arena_used:self.arena_used + size])
            except cramjam.DecompressionError as error:
                return self._break_batch(f"{CODECS[codec]} cannot decompress it: {error}")
            if written >= 0:
                break
            if size >= left:
                if self.decompressed_bytes:
                    return -1
                return self._break_batch(
                    f"it unfolds into more than {self.decompressed_bytes_max} bytes; if it is "
                    "genuine, raise the limit, else move the consumer group behind it")
            self._new_arena(self.arena_size * (1 if self.arena_used else 2))
        plain_start[0] = self.arena_used
        self.arena_used += written
        self.decompressed_bytes += written
        return written

    cdef int _new_arena(self, Py_ssize_t size) except -1:
        # Not zeroed, unlike bytearray(size): only what is written is ever read.
        self.arena = PyByteArray_FromStringAndSize(NULL, size)
        self.arena_size = size
        self.arena_used = 0


cdef Py_ssize_t decompress_into(int codec, body, target) except? -2:
    """Decompresses `body` into `target`; the length, or -1 if `target` is too small.

    Raises cramjam.DecompressionError if the bytes are damaged.
    """
    try:
        if codec == CODEC_LZ4:
            return cramjam.lz4.decompress_into(body, target)
        if codec == CODEC_ZSTD:
            return cramjam.zstd.decompress_into(body, target)
        if codec == CODEC_GZIP:
            return cramjam.gzip.decompress_into(body, target)
        return decompress_snappy_into(body, target)
    except cramjam.DecompressionError as error:
        # The message of Rust's io::ErrorKind::WriteZero, pinned by a test.
        if "failed to write whole buffer" in str(error):
            return -1
        raise


cdef Py_ssize_t decompress_snappy_into(body, target) except? -2:
    cdef Py_ssize_t at = XERIAL_HEADER_LENGTH, length = len(body), written = 0, room = len(target)
    cdef Py_ssize_t block_length, plain_length
    if length < XERIAL_HEADER_LENGTH or body[:8] != XERIAL_MAGIC:
        if cramjam.snappy.decompress_raw_len(body) > room:
            return -1
        return cramjam.snappy.decompress_raw_into(body, target)
    while at < length:
        block_length = int.from_bytes(body[at:at + 4], "big")
        at += 4
        if block_length > length - at:
            raise cramjam.DecompressionError("a block is longer than the batch")
        block = body[at:at + block_length]
        plain_length = cramjam.snappy.decompress_raw_len(block)
        if plain_length > room - written:
            return -1
        if plain_length:
            cramjam.snappy.decompress_raw_into(block, target[written:written + plain_length])
        written += plain_length
        at += block_length
    return written


cdef class OutputRun:
    """Records on their way out: what the matcher writes and the encoder reads.

    Iterating gives `(key, value, partition, timestamp_ms)`, for tests and tools.
    """

    def __cinit__(self):
        memset(&self.output, 0, sizeof(record_output))

    def __dealloc__(self):
        record_output_free(&self.output)

    def __len__(self) -> int:
        return self.output.records_size

    @property
    def bytes_size(self) -> int:
        """Bytes of all keys and values."""
        return self.output.bytes_size

    def append(self, key, value, int32_t partition, int64_t timestamp_ms) -> None:
        """Adds one record; `key` and `value` are bytes or None, `partition` -1 means by key."""
        cdef bytes key_bytes = b"" if key is None else bytes(key)
        cdef bytes value_bytes = b"" if value is None else bytes(value)
        # One byte more, since no room at all may be asked for at address NULL.
        cdef uint8_t *at = record_output_reserve(
            &self.output, len(key_bytes) + len(value_bytes) + 1)
        cdef output_record *record = NULL
        if at != NULL:
            record = record_output_append(&self.output)
        if record == NULL:
            raise MemoryError()
        memcpy(at, PyBytes_AS_STRING(key_bytes), len(key_bytes))
        memcpy(at + len(key_bytes), PyBytes_AS_STRING(value_bytes), len(value_bytes))
        record.key_offset = self.output.bytes_size
        record.key_length = -1 if key is None else <int32_t> len(key_bytes)
        record.value_offset = self.output.bytes_size + len(key_bytes)
        record.value_length = -1 if value is None else <int32_t> len(value_bytes)
        record.partition = partition
        record.reserved = 0
        record.timestamp_ms = timestamp_ms
        self.output.bytes_size += len(key_bytes) + len(value_bytes)

    def clear(self) -> None:
        """Forgets all records, keeps the memory."""
        record_output_clear(&self.output)

    def __iter__(self):
        cdef uint64_t i
        cdef output_record *record
        for i in range(self.output.records_size):
            record = self.output.records + i
            yield (
                None if record.key_length < 0
                else PyBytes_FromStringAndSize(
                    <const char *> self.output.bytes + record.key_offset, record.key_length),
                None if record.value_length < 0
                else PyBytes_FromStringAndSize(
                    <const char *> self.output.bytes + record.value_offset, record.value_length),
                record.partition,
                record.timestamp_ms,
            )

    def partitions(self) -> list[int]:
        """The partitions that have records, ascending."""
        cdef set found = set()
        cdef uint64_t i
        cdef int32_t partition, previous = EVERY_PARTITION
        for i in range(self.output.records_size):
            partition = self.output.records[i].partition
            if partition != previous:  # mostly one partition, so this is a loop in C
                found.add(partition)
                previous = partition
        return sorted(found)

    def partition_by_key(self, uint32_t partition_count) -> None:
        """Gives each record the partition that Kafka's default partitioner gives its key.

        A record without a key keeps its number modulo `partition_count`.
        """
        cdef uint64_t i
        cdef output_record *record
        if partition_count == 0:
            raise ValueError("partition_count is 0: a topic has at least one partition")
        with nogil:
            for i in range(self.output.records_size):
                record = self.output.records + i
                if record.key_length >= 0:
                    record.partition = kafka_partition(
                        self.output.bytes + record.key_offset, record.key_length,
                        partition_count)
                else:
                    record.partition = <int32_t> (
                        <uint32_t> max(record.partition, 0) % partition_count)

    def count_ages(self, int64_t now_ms, bounds_ms) -> tuple[list[int], int]:
        """How old the records are: a histogram of `now_ms - timestamp_ms`.

        `bounds_ms` are ascending int64 upper bounds. Returns the counts, one per bound and one for
        what is above the last, and the sum of the ages in milliseconds. An age below 0 counts 0.
        """
        cdef const int64_t[::1] bounds = bounds_ms
        cdef Py_ssize_t bound_count = bounds.shape[0], slot
        cdef int64_t age, total = 0
        cdef uint64_t i
        cdef uint64_t *counts = <uint64_t *> malloc((bound_count + 1) * sizeof(uint64_t))
        if counts == NULL:
            raise MemoryError()
        with nogil:
            memset(counts, 0, (bound_count + 1) * sizeof(uint64_t))
            for i in range(self.output.records_size):
                age = now_ms - self.output.records[i].timestamp_ms
                if age < 0:
                    age = 0
                total += age
                slot = 0
                while slot < bound_count and age > bounds[slot]:
                    slot += 1
                counts[slot] += 1
        try:
            return [counts[slot] for slot in range(bound_count + 1)], total
        finally:
            free(counts)


def encode_output(OutputRun run, int32_t partition, *, uint64_t batch_bytes_max=BATCH_BYTES_MAX,
                  uint32_t batch_records_max=BATCH_RECORDS_MAX, str compression="none",
                  level=None) -> list[tuple[bytes, int]]:
    """The records of `run` for `partition` as built batches, `(bytes, record count)` each.

    A batch holds at most `batch_records_max` records and, before compression, `batch_bytes_max`
    bytes; a record larger than that has a batch of its own. `compression` is one of CODECS, `level`
    the codec's (gzip, lz4 and zstd; None: Kafka's default). A batch that compression does not make
    smaller goes out plain. Offsets start at 0 and the producer fields are empty, as a producer
    leaves them for the broker, or for `with_producer`.
    """
    cdef record_source source
    memset(&source, 0, sizeof(record_source))
    source.output = &run.output
    return encode(&source, run.output.records_size, partition, batch_bytes_max, batch_records_max,
                  codec_number(compression), level)


def encode_columns(values, value_offsets, keys, key_offsets, timestamps_ms, *,
                   uint64_t max_batch_bytes=BATCH_BYTES_MAX,
                   uint32_t max_batch_records=BATCH_RECORDS_MAX, str compression="none",
                   level=None) -> list[bytes]:
    """Columns of records as built batches, in order.

    `values` is one bytes-like buffer; value i is `values[value_offsets[i]:value_offsets[i + 1]]`,
    `value_offsets` being n + 1 ascending int64. `keys` and `key_offsets` likewise, or both None for
    null keys. `timestamps_ms` are n int64, milliseconds since 1970 UTC. Limits, `compression` and
    `level` as for `encode_output`. The number of records of a batch is its bytes 57 to 61,
    big-endian. The GIL is released while rows are laid out and compressed.

    Raises ValueError if the arrays disagree, reach outside their buffer or descend.
    """
    cdef const uint8_t[::1] value_view = values
    cdef const int64_t[::1] value_offsets_view = value_offsets
    cdef const uint8_t[::1] key_view
    cdef const int64_t[::1] key_offsets_view
    cdef const int64_t[::1] timestamps_view = timestamps_ms
    cdef Py_ssize_t count = timestamps_view.shape[0]
    cdef record_source source
    memset(&source, 0, sizeof(record_source))
    check_offsets("value_offsets", value_offsets_view, count, value_view.shape[0])
    if not count:
        return []
    source.values = &value_view[0] if value_view.shape[0] else <const uint8_t *> b""
    source.value_offsets = &value_offsets_view[0]
    source.timestamps_ms = &timestamps_view[0]
    if keys is not None:
        key_view = keys
        key_offsets_view = key_offsets
        check_offsets("key_offsets", key_offsets_view, count, key_view.shape[0])
        source.keys = &key_view[0] if key_view.shape[0] else <const uint8_t *> b""
        source.key_offsets = &key_offsets_view[0]
    return [batch for batch, _ in encode(&source, count, EVERY_PARTITION, max_batch_bytes,
                                         max_batch_records, codec_number(compression), level)]


cdef int check_offsets(str name, const int64_t[::1] offsets, Py_ssize_t count,
                       Py_ssize_t length) except -1:
    cdef Py_ssize_t i, wrong = -1
    if offsets.shape[0] != count + 1:
        raise ValueError(f"{name} has {offsets.shape[0]} entries, not one more than the "
                         f"{count} timestamps")
    with nogil:
        if offsets[0] < 0:
            wrong = 0
        for i in range(count):
            if offsets[i + 1] < offsets[i] or offsets[i + 1] - offsets[i] > INT32_MAX:
                wrong = i + 1
                break
        if wrong < 0 and offsets[count] > length:
            wrong = count
    if wrong >= 0:
        raise ValueError(f"{name}[{wrong}] is {offsets[wrong]}: entries must ascend from 0, by at "
                         f"most 2^31 - 1, up to the length of the buffer, {length}")


cdef int codec_number(str compression) except -1:
    if compression not in CODECS:
        raise ValueError(f"compression {compression!r} is none of {', '.join(CODECS)}")
    return CODECS.index(compression)


cdef list encode(const record_source *source, size_t count, int32_t partition,
                 uint64_t batch_bytes_max, uint32_t batch_records_max, int codec, level):
    cdef list batches = []
    cdef size_t index = 0
    cdef batch_plan plan
    cdef bytes batch, body
    cdef uint8_t *at
    cdef size_t length
    cdef int found, used_codec
    if batch_records_max < 1 or batch_records_max > INT32_MAX:
        raise ValueError(f"the most records of a batch are {batch_records_max}, not 1 to 2^31 - 1")
    while True:
        with nogil:
            found = batch_plan_next(source, count, partition, batch_bytes_max, batch_records_max,
                                    &index, &plan)
        if not found:
            return batches
        if plan.body_length > INT32_MAX - BATCH_HEADER_LENGTH:
            raise ValueError("a batch would be longer than 2^31 - 1 bytes; lower the most bytes of "
                             f"a batch, {batch_bytes_max}")
        used_codec = codec
        if codec != CODEC_NONE:
            body = PyBytes_FromStringAndSize(NULL, plan.body_length)
            at = <uint8_t *> PyBytes_AS_STRING(body)
            with nogil:
                batch_write_body(source, &plan, partition, at)
            compressed = compress(codec, body, level)
            if len(compressed) >= len(body):
                used_codec = CODEC_NONE
                compressed = body
            length = BATCH_HEADER_LENGTH + len(compressed)
            batch = PyBytes_FromStringAndSize(NULL, length)
            at = <uint8_t *> PyBytes_AS_STRING(batch)
            copy_bytes(compressed, at + BATCH_HEADER_LENGTH)
            with nogil:
                batch_write_header(at, length, &plan, used_codec)
        else:
            length = BATCH_HEADER_LENGTH + plan.body_length
            batch = PyBytes_FromStringAndSize(NULL, length)
            at = <uint8_t *> PyBytes_AS_STRING(batch)
            with nogil:
                batch_write_body(source, &plan, partition, at + BATCH_HEADER_LENGTH)
                batch_write_header(at, length, &plan, CODEC_NONE)
        batches.append((batch, plan.record_count))


cdef int copy_bytes(source, uint8_t *target) except -1:
    cdef const uint8_t[::1] view = source
    if view.shape[0]:
        memcpy(target, &view[0], view.shape[0])


cdef object compress(int codec, bytes body, level):
    if level is None:
        level = DEFAULT_LEVELS.get(codec)
    if codec == CODEC_LZ4:
        # Independent blocks: brokers cannot read linked ones (KIP-57).
        compressor = cramjam.lz4.Compressor(
            level=level, content_checksum=False, block_linked=False)
        compressor.compress(body)
        return compressor.finish()
    if codec == CODEC_ZSTD:
        return cramjam.zstd.compress(body, level=level)
    if codec == CODEC_GZIP:
        packer = zlib.compressobj(level, zlib.DEFLATED, 31)
        return packer.compress(body) + packer.flush()
    blocks = [XERIAL_MAGIC, b"\x00\x00\x00\x01\x00\x00\x00\x01"]
    view = memoryview(body)
    for start in range(0, len(body), 1 << 15):  # xerial's own block size
        block = cramjam.snappy.compress_raw(view[start:start + (1 << 15)])
        blocks.append(len(block).to_bytes(4, "big"))
        blocks.append(block)
    return b"".join(blocks)


def with_producer(bytes batch, int64_t producer_id, int16_t producer_epoch, int32_t base_sequence,
                  *, bint transactional=False) -> bytes:
    """A copy of a built batch that carries an idempotent producer's state, its CRC renewed.

    Raises ValueError if `batch` is no batch of message format 2.
    """
    cdef Py_ssize_t length = len(batch)
    cdef const uint8_t *source = <const uint8_t *> PyBytes_AS_STRING(batch)
    cdef bytes copy
    cdef uint8_t *at
    if length < BATCH_HEADER_LENGTH or source[16] != BATCH_MAGIC:
        raise ValueError("not a record batch of message format 2")
    copy = PyBytes_FromStringAndSize(NULL, length)
    at = <uint8_t *> PyBytes_AS_STRING(copy)
    with nogil:
        memcpy(at, source, length)
        batch_write_producer(at, length, producer_id, producer_epoch, base_sequence,
                             transactional)
    return copy
