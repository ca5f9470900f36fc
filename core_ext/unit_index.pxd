# The C side of the unit index, for modules of the core that look units up by the batch.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from core_ext.container_number cimport simd_code


cdef extern from "slot_table.h" nogil:
    int SLOTS_PER_LINE
    int SLOT_SPARE_LINES
    ctypedef struct slot_table:
        uint64_t *slots
        uint64_t line_count
        size_t byte_count
    ctypedef struct slot_map:
        slot_table current
        slot_table previous
        uint64_t moved_lines
        uint64_t count
        uint64_t reseed_count
    uint64_t *slot_table_line(const slot_table *table, uint64_t line)
    uint64_t slot_overflow_bit(unsigned int shift)


cdef extern from "unit_index.h" nogil:
    unsigned int UNIT_NAME_BYTES_MAX
    uint32_t UNIT_ROWS_MAX
    unsigned int UNIT_CONTAINER_SHIFT
    unsigned int UNIT_NAME_SHIFT
    const uint64_t UNIT_KEY_INVALID
    ctypedef struct unit_key:
        uint64_t bits
    ctypedef struct unit_index:
        slot_map containers
        slot_map names
    ctypedef struct unit_index_memory:
        uint64_t container_table
        uint64_t name_table
        uint64_t rows
        uint64_t names
        uint64_t name_holes
    int unit_index_init(unit_index *index, uint64_t container_capacity, uint64_t name_capacity)
    int unit_index_init_seeded(unit_index *index, uint64_t container_capacity,
                               uint64_t name_capacity, uint64_t seed)
    void unit_index_free(unit_index *index)
    int unit_index_reserve(unit_index *index, uint64_t container_capacity,
                           uint64_t name_capacity)
    uint64_t unit_index_count(const unit_index *index)
    uint32_t unit_index_row_limit(const unit_index *index)
    int unit_index_row_is_used(const unit_index *index, uint32_t row)
    uint32_t unit_index_name(const unit_index *index, uint32_t row, uint8_t *out, int *is_lot)
    const uint64_t *unit_index_home_line(const unit_index *index, unit_key key)
    unit_index_memory unit_index_memory_figures(const unit_index *index)


cdef extern from "unit_index_batch.h" nogil:
    ctypedef struct unit_batch:
        const uint8_t *numbers
        const uint64_t *keys
        const uint8_t *names
        const int64_t *offsets
        int is_lot
    int UNIT_GROUP
    unit_batch unit_batch_from(const unit_batch *batch, int64_t start)
    int64_t unit_batch_offsets_fit(const int64_t *offsets, int64_t count, int64_t byte_count)
    void unit_batch_keys(const unit_index *index, simd_code path, const unit_batch *batch,
                         int64_t start, int64_t count, unit_key *keys)
    void unit_batch_probe(const unit_index *index, simd_code path, const unit_batch *batch,
                          int64_t count, int32_t *rows)
    int64_t unit_batch_insert(unit_index *index, simd_code path, const unit_batch *batch,
                              int64_t count, int only_new, int32_t *rows)
    void unit_batch_remove(unit_index *index, simd_code path, const unit_batch *batch,
                           int64_t count, int32_t *rows)


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_rwlock_t:
        pass
    int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
    int pthread_rwlock_unlock(pthread_rwlock_t *lock)


cdef class UnitIndex:
    cdef unit_index index
    # Whoever reads the index holds it for reading, and gives it back every few thousand units.
    cdef pthread_rwlock_t lock
    cdef bint ready
    cdef _add(self, units, offsets, bint is_lot, out, bint only_new)
