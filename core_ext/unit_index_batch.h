/*
 * The unit index over arrays: probe, upsert, insert and remove of many units in one call.
 *
 * Called by unit_index.pyx. It knows arrays of names and of rows, no Python, and takes no lock.
 *
 * Every loop works in groups: the lines of one group are brought in before the group before it is
 * looked at. The probe of containers is the hottest loop there is and has an AVX2 body that
 * packs, checks, hashes and compares without a branch that depends on the data; README.md says what
 * was tried and rejected.
 */
#ifndef GATEJOIN_UNIT_INDEX_BATCH_H
#define GATEJOIN_UNIT_INDEX_BATCH_H

#include "unit_index.h"

#define UNIT_ROW_MISS (-1)
#define UNIT_ROW_INVALID (-2)

/* Where the units of a batch are. One of three forms; the others are NULL. */
typedef struct unit_batch {
    const uint8_t *numbers; /* container numbers, 11 bytes each */
    const uint64_t *keys;   /* packed keys */
    const uint8_t *names;   /* names of any units, one behind the other */
    const int64_t *offsets; /* of the names: count + 1 of them, checked by unit_batch_offsets_fit */
    int is_lot;             /* class of the names */
} unit_batch;

enum {
    UNIT_GROUP = 64,
    UNIT_INSERT_STRIDE = 1024, /* units between two looks whether a table still moves */
};

static inline unit_batch unit_batch_from(const unit_batch *batch, int64_t start)
{
    unit_batch rest = *batch;
    rest.numbers = batch->numbers ? batch->numbers + CONTAINER_NUMBER_LENGTH * start : NULL;
    rest.keys = batch->keys ? batch->keys + start : NULL;
    rest.offsets = batch->offsets ? batch->offsets + start : NULL;
    return rest;
}

/* The first of count + 1 offsets that falls or leaves the buffer; -1 if all are fit. */
static inline int64_t unit_batch_offsets_fit(const int64_t *offsets, int64_t count,
                                             int64_t byte_count)
{
    int64_t before = 0;
    for (int64_t i = 0; i <= count; i++) {
        if (offsets[i] < before || offsets[i] > byte_count) {
            return i;
        }
        before = offsets[i];
    }
    return -1;
}

static inline const uint8_t *unit_batch_name(const unit_batch *batch, int64_t i)
{
    return batch->names == NULL ? NULL : batch->names + batch->offsets[i];
}

static inline uint32_t unit_batch_name_length(const unit_batch *batch, int64_t i)
{
    return batch->names == NULL ? 0 : (uint32_t)(batch->offsets[i + 1] - batch->offsets[i]);
}

/* Keys of up to UNIT_GROUP units, and their lines brought in. */
static inline void unit_batch_keys(const unit_index *index, simd_path path,
                                   const unit_batch *batch, int64_t start, int64_t count,
                                   unit_key *keys)
{
    if (batch->numbers != NULL) {
        uint64_t packed[UNIT_GROUP];
        container_number_pack_batch(path, batch->numbers + CONTAINER_NUMBER_LENGTH * start, count,
                                    packed);
        for (int64_t i = 0; i < count; i++) {
            keys[i].bits = packed[i];
        }
    } else if (batch->keys != NULL) {
        for (int64_t i = 0; i < count; i++) {
            const uint64_t key = batch->keys[start + i];
            keys[i].bits = container_number_key_valid(key) ? key : UNIT_KEY_INVALID;
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            const int64_t length = batch->offsets[start + i + 1] - batch->offsets[start + i];
            if (length < 1 || length > (int64_t)UNIT_NAME_BYTES_MAX) {
                keys[i].bits = UNIT_KEY_INVALID;
                continue;
            }
            keys[i] = unit_index_key(index, unit_batch_name(batch, start + i), (uint32_t)length,
                                     batch->is_lot);
        }
    }
    unit_index_touch(index, keys, count);
}

static inline int32_t unit_batch_find(const unit_index *index, const unit_batch *batch, int64_t i,
                                      unit_key key)
{
    if (key.bits == UNIT_KEY_INVALID) {
        return UNIT_ROW_INVALID;
    }
    return (int32_t)unit_index_find(index, key, unit_batch_name(batch, i),
                                    unit_batch_name_length(batch, i));
}

/*
 * Any batch, any machine. Names take three steps, a group apart: the line is brought in, then the
 * name that it points to, then the two are compared.
 */
static inline void unit_batch_probe_portable(const unit_index *index, simd_path path,
                                             const unit_batch *batch, int64_t count, int32_t *rows)
{
    unit_key keys[3][UNIT_GROUP];
    for (int64_t start = 0; start < count + 2 * UNIT_GROUP; start += UNIT_GROUP) {
        const int64_t group = start / UNIT_GROUP;
        if (start < count) {
            const int64_t size = count - start < UNIT_GROUP ? count - start : UNIT_GROUP;
            unit_batch_keys(index, path, batch, start, size, keys[group % 3]);
        }
        const int64_t second = start - UNIT_GROUP;
        if (batch->names != NULL && second >= 0 && second < count) {
            unit_index_touch_names(index, keys[(group + 2) % 3],
                                   count - second < UNIT_GROUP ? count - second : UNIT_GROUP);
        }
        const int64_t third = second - UNIT_GROUP;
        for (int64_t i = third < 0 ? 0 : third; i < count && i < second; i++) {
            rows[i] = unit_batch_find(index, batch, i, keys[(group + 1) % 3][i - third]);
        }
    }
}

#if SIMD_HAS_AVX2_BODY

/* What the AVX2 probe holds in registers about the two container tables. */
typedef struct unit_probe_tables {
    __m256i current_base, current_lines, current_seed[3];
    __m256i previous_base, previous_lines, previous_seed[3];
    __m256i moved_lines;
} unit_probe_tables;

/* A group on its way: keys as they stand in a slot, and the addresses of their home lines. */
typedef struct unit_probe_group {
    uint64_t wanted[UNIT_GROUP];
    uint64_t line[UNIT_GROUP];
    __m256i invalid; /* all ones in some lane if a key of the group is */
} unit_probe_group;

SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE void
unit_probe_table_avx2(const slot_table *table, __m256i *base, __m256i *lines, __m256i seed[3])
{
    *base = _mm256_set1_epi64x((int64_t)(uintptr_t)table->slots);
    *lines = _mm256_set1_epi64x((int64_t)table->line_count);
    for (int i = 0; i < 3; i++) {
        seed[i] = _mm256_set1_epi64x((int64_t)table->seed[i]);
    }
}

/* slot_table_home of four keys; both factors have 32 bits. */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE __m256i
unit_probe_home_avx2(__m256i keys, __m256i lines, const __m256i seed[3])
{
    const __m256i serial_mask = _mm256_set1_epi64x((1 << CONTAINER_NUMBER_SERIAL_BITS) - 1);
    __m256i prefix = _mm256_srli_epi64(keys, CONTAINER_NUMBER_SERIAL_BITS);
    __m256i hash = _mm256_add_epi32(
        _mm256_mullo_epi32(prefix, seed[0]),
        _mm256_mullo_epi32(_mm256_and_si256(keys, serial_mask), seed[1]));
    hash = _mm256_xor_si256(hash, _mm256_srli_epi32(hash, 15));
    hash = _mm256_mullo_epi32(hash, seed[2]);
    return _mm256_srli_epi64(_mm256_mul_epu32(hash, lines), 32);
}

/* Four keys into a group: their lines are computed and asked for. */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE void
unit_probe_stage_avx2(const unit_probe_tables *tables, int moving, __m256i keys,
                      unit_probe_group *group, int64_t at)
{
    __m256i home = unit_probe_home_avx2(keys, tables->current_lines, tables->current_seed);
    __m256i line = _mm256_add_epi64(_mm256_slli_epi64(home, 6), tables->current_base);
    if (moving) {
        __m256i left = unit_probe_home_avx2(keys, tables->previous_lines, tables->previous_seed);
        __m256i left_line = _mm256_add_epi64(_mm256_slli_epi64(left, 6), tables->previous_base);
        line = _mm256_blendv_epi8(left_line, line, _mm256_cmpgt_epi64(tables->moved_lines, left));
    }
    _mm256_storeu_si256((__m256i *)(group->wanted + at),
                        _mm256_slli_epi64(keys, UNIT_CONTAINER_SHIFT));
    _mm256_storeu_si256((__m256i *)(group->line + at), line);
    for (int64_t i = at; i < at + 4; i++) {
        _mm_prefetch((const char *)(uintptr_t)group->line[i], _MM_HINT_T0);
    }
}

/* Four packed keys of an array, all ones where container_number_key_valid says no. */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE __m256i unit_probe_load_keys_avx2(const uint64_t *keys)
{
    const __m256i serial_mask = _mm256_set1_epi64x((1 << CONTAINER_NUMBER_SERIAL_BITS) - 1);
    __m256i loaded = _mm256_loadu_si256((const __m256i *)keys);
    __m256i prefix = _mm256_srli_epi64(loaded, CONTAINER_NUMBER_SERIAL_BITS);
    __m256i unfit = _mm256_or_si256(
        _mm256_or_si256(
            _mm256_cmpeq_epi64(prefix, _mm256_setzero_si256()),
            _mm256_cmpgt_epi64(prefix, _mm256_set1_epi64x(CONTAINER_NUMBER_PREFIX_MAX))),
        _mm256_cmpgt_epi64(_mm256_and_si256(loaded, serial_mask),
                           _mm256_set1_epi64x(CONTAINER_NUMBER_SERIAL_MAX)));
    return _mm256_or_si256(loaded, unfit);
}

typedef uint32_t (*unit_probe_look)(const unit_probe_group *, int64_t, int32_t *, uint32_t *,
                                    uint32_t);

/*
 * Looks four staged keys up in their home lines. Those that miss on an overflowed line are listed
 * in `pending`, without a branch: on a table half full one line in forty is.
 */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE uint32_t
unit_probe_look_avx2(const unit_probe_group *group, int64_t at, int32_t *rows, uint32_t *pending,
                     uint32_t pending_count)
{
    const unsigned shift = UNIT_CONTAINER_SHIFT;
    const __m256i key_mask = _mm256_set1_epi64x((int64_t)(UINT64_MAX << shift));
    const uint32_t row_mask = UNIT_ROWS_MAX - 1;
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 4
#endif
    for (int64_t i = at; i < at + 4; i++) {
        const uint64_t *line = (const uint64_t *)(uintptr_t)group->line[i];
        const __m256i wanted = _mm256_set1_epi64x((int64_t)group->wanted[i]);
        __m256i low = _mm256_load_si256((const __m256i *)line);
        __m256i high = _mm256_load_si256((const __m256i *)(line + 4));
        low = _mm256_cmpeq_epi64(_mm256_and_si256(low, key_mask), wanted);
        high = _mm256_cmpeq_epi64(_mm256_and_si256(high, key_mask), wanted);
        const uint32_t matches = (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(low)) |
                                 (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(high)) << 4;
        const uint32_t missed = (uint32_t)((int32_t)(matches - 1) >> 31); /* all ones if none */
        const uint64_t slot = line[__builtin_ctz(matches | 128)];
        rows[i] = (int32_t)(((uint32_t)slot & row_mask) | missed);
        pending[pending_count] = (uint32_t)i;
        pending_count += missed & (uint32_t)(line[7] >> (shift - 1)) & 1;
    }
    return pending_count;
}

/* The same with a line in one register. */
SIMD_TARGET_AVX512 static SIMD_ALWAYS_INLINE uint32_t
unit_probe_look_avx512(const unit_probe_group *group, int64_t at, int32_t *rows, uint32_t *pending,
                       uint32_t pending_count)
{
    const unsigned shift = UNIT_CONTAINER_SHIFT;
    const __m512i key_mask = _mm512_set1_epi64((int64_t)(UINT64_MAX << shift));
    const uint32_t row_mask = UNIT_ROWS_MAX - 1;
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 4
#endif
    for (int64_t i = at; i < at + 4; i++) {
        const uint64_t *line = (const uint64_t *)(uintptr_t)group->line[i];
        const __m512i wanted = _mm512_set1_epi64((int64_t)group->wanted[i]);
        const __m512i differ = _mm512_xor_si512(_mm512_load_si512(line), wanted);
        const uint32_t matches = _mm512_testn_epi64_mask(differ, key_mask);
        const uint32_t missed = (uint32_t)((int32_t)(matches - 1) >> 31); /* all ones if none */
        const uint64_t slot = line[__builtin_ctz(matches | 128)];
        rows[i] = (int32_t)(((uint32_t)slot & row_mask) | missed);
        pending[pending_count] = (uint32_t)i;
        pending_count += missed & (uint32_t)(line[7] >> (shift - 1)) & 1;
    }
    return pending_count;
}

/* After a group: the chains of those that missed on an overflowed line, and the invalid ones. */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE void
unit_probe_finish_avx2(const unit_probe_group *group, int64_t count, int32_t *rows,
                       const uint32_t *pending, uint32_t pending_count)
{
    const unsigned shift = UNIT_CONTAINER_SHIFT;
    for (uint32_t p = 0; p < pending_count; p++) {
        _mm_prefetch((const char *)(uintptr_t)(group->line[pending[p]] + SLOT_LINE_BYTES),
                     _MM_HINT_T0);
    }
    for (uint32_t p = 0; p < pending_count; p++) {
        const uint64_t key = group->wanted[pending[p]] >> shift;
        const uint64_t *line = (const uint64_t *)(uintptr_t)group->line[pending[p]];
        int32_t row = UNIT_ROW_MISS;
        while (row == UNIT_ROW_MISS && line[SLOTS_PER_LINE - 1] & slot_overflow_bit(shift)) {
            line += SLOTS_PER_LINE;
            for (int i = 0; i < SLOTS_PER_LINE; i++) {
                if (line[i] >> shift == key) {
                    row = (int32_t)slot_payload(line[i], shift);
                }
            }
        }
        rows[pending[p]] = row;
    }
    if (_mm256_movemask_pd(_mm256_castsi256_pd(group->invalid)) != 0) {
        for (int64_t i = 0; i < count; i++) {
            if (group->wanted[i] == UINT64_MAX << shift) {
                rows[i] = UNIT_ROW_INVALID;
            }
        }
    }
}

/*
 * Probes container numbers, or packed keys if there are no numbers, and returns how many: all but
 * the last few, which can't be read four at a time. Staging of one group and probing of the group
 * before it alternate four by four: asking for a whole group in one burst was a third slower, since
 * the processor then waits with its queue of misses full and nothing else to do.
 */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE int64_t
unit_probe_body(const slot_map *map, int moving, int of_numbers, const uint8_t *numbers,
                const uint64_t *keys, int64_t count, int32_t *rows, unit_probe_look look)
{
    const container_number_constants constants = container_number_constants_avx2();
    const int64_t whole = of_numbers ? container_number_whole_fours(count) : count / 4 * 4;
    unit_probe_tables tables;
    unit_probe_group groups[2];
    uint32_t pending[UNIT_GROUP + 4];
    unit_probe_table_avx2(&map->current, &tables.current_base, &tables.current_lines,
                          tables.current_seed);
    if (moving) {
        unit_probe_table_avx2(&map->previous, &tables.previous_base, &tables.previous_lines,
                              tables.previous_seed);
        tables.moved_lines = _mm256_set1_epi64x((int64_t)map->moved_lines);
    }
    for (int64_t start = 0; start < whole + UNIT_GROUP; start += UNIT_GROUP) {
        unit_probe_group *next = &groups[start / UNIT_GROUP % 2];
        unit_probe_group *group = &groups[(start / UNIT_GROUP + 1) % 2];
        const int64_t next_count = whole - start < UNIT_GROUP ? whole - start : UNIT_GROUP;
        const int64_t before = start - UNIT_GROUP;
        const int64_t group_count =
            before < 0 ? 0 : whole - before < UNIT_GROUP ? whole - before : UNIT_GROUP;
        uint32_t pending_count = 0;
        __m256i invalid = _mm256_setzero_si256();
        for (int64_t i = 0; i < UNIT_GROUP; i += 4) {
            if (i < next_count) {
                __m256i packed =
                    of_numbers
                        ? container_number_pack4_avx2(
                              &constants, numbers + CONTAINER_NUMBER_LENGTH * (start + i), 0)
                        : unit_probe_load_keys_avx2(keys + start + i);
                invalid = _mm256_or_si256(invalid, packed);
                unit_probe_stage_avx2(&tables, moving, packed, next, i);
            }
            if (i < group_count) {
                pending_count = look(group, i, rows + before, pending, pending_count);
            }
        }
        next->invalid = invalid;
        if (group_count > 0) {
            unit_probe_finish_avx2(group, group_count, rows + before, pending, pending_count);
        }
    }
    return whole;
}

/* The combinations, each compiled for itself. */
#define UNIT_PROBE(name, target, look, moving, of_numbers)                                       \
    target static inline int64_t name(const slot_map *map, const uint8_t *numbers,               \
                                      const uint64_t *keys, int64_t count, int32_t *rows)        \
    {                                                                                            \
        return unit_probe_body(map, moving, of_numbers, numbers, keys, count, rows, look);       \
    }
UNIT_PROBE(unit_probe_keys_avx2, SIMD_TARGET_AVX2, unit_probe_look_avx2, 0, 0)
UNIT_PROBE(unit_probe_numbers_avx2, SIMD_TARGET_AVX2, unit_probe_look_avx2, 0, 1)
UNIT_PROBE(unit_probe_keys_moving_avx2, SIMD_TARGET_AVX2, unit_probe_look_avx2, 1, 0)
UNIT_PROBE(unit_probe_numbers_moving_avx2, SIMD_TARGET_AVX2, unit_probe_look_avx2, 1, 1)
UNIT_PROBE(unit_probe_keys_avx512, SIMD_TARGET_AVX512, unit_probe_look_avx512, 0, 0)
UNIT_PROBE(unit_probe_numbers_avx512, SIMD_TARGET_AVX512, unit_probe_look_avx512, 0, 1)
UNIT_PROBE(unit_probe_keys_moving_avx512, SIMD_TARGET_AVX512, unit_probe_look_avx512, 1, 0)
UNIT_PROBE(unit_probe_numbers_moving_avx512, SIMD_TARGET_AVX512, unit_probe_look_avx512, 1, 1)
#undef UNIT_PROBE

static inline int64_t unit_batch_probe_simd(const unit_index *index, simd_path path,
                                            const unit_batch *batch, int64_t count, int32_t *rows)
{
    typedef int64_t (*probe)(const slot_map *, const uint8_t *, const uint64_t *, int64_t,
                             int32_t *);
    static const probe probes[2][2][2] = {
        {{unit_probe_keys_avx2, unit_probe_numbers_avx2},
         {unit_probe_keys_moving_avx2, unit_probe_numbers_moving_avx2}},
        {{unit_probe_keys_avx512, unit_probe_numbers_avx512},
         {unit_probe_keys_moving_avx512, unit_probe_numbers_moving_avx512}},
    };
    const slot_map *map = &index->containers;
    return probes[path == SIMD_PATH_AVX512][map->previous.slots != NULL][batch->numbers != NULL](
        map, batch->numbers, batch->keys, count, rows);
}

#endif

/* rows[i] = the row of unit i, UNIT_ROW_MISS or UNIT_ROW_INVALID. */
static inline void unit_batch_probe(const unit_index *index, simd_path path,
                                    const unit_batch *batch, int64_t count, int32_t *rows)
{
    int64_t done = 0;
#if SIMD_HAS_AVX2_BODY
    if (path >= SIMD_PATH_AVX2 && batch->names == NULL) {
        done = unit_batch_probe_simd(index, path, batch, count, rows);
    }
#endif
    const unit_batch rest = unit_batch_from(batch, done);
    unit_batch_probe_portable(index, path, &rest, count - done, rows + done);
}

#if SIMD_HAS_AVX2_BODY
/*
 * Inserts a staged container number if its home line decides, which nearly all do: it is there, or
 * a slot is free, and then no key of this home is elsewhere. Else UNIT_ROW_NONE, nothing changed.
 */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE uint32_t
unit_insert_at_home_avx2(unit_index *index, const unit_probe_group *group, int64_t at,
                         int *was_new)
{
    const unsigned shift = UNIT_CONTAINER_SHIFT;
    uint64_t *line = (uint64_t *)(uintptr_t)group->line[at];
    const __m256i key_mask = _mm256_set1_epi64x((int64_t)(UINT64_MAX << shift));
    const __m256i wanted = _mm256_set1_epi64x((int64_t)group->wanted[at]);
    const __m256i none = _mm256_setzero_si256();
    const __m256i low = _mm256_and_si256(_mm256_load_si256((const __m256i *)line), key_mask);
    const __m256i high =
        _mm256_and_si256(_mm256_load_si256((const __m256i *)(line + 4)), key_mask);
    const __m256i same = _mm256_or_si256(_mm256_cmpeq_epi64(low, wanted),
                                         _mm256_cmpeq_epi64(high, wanted));
    *was_new = _mm256_testz_si256(same, same);
    if (!*was_new) {
        uint32_t place = 0;
        while ((line[place] ^ group->wanted[at]) >> shift != 0) {
            place++;
        }
        return (uint32_t)slot_payload(line[place], shift);
    }
    const uint32_t free_slots =
        (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(low, none))) |
        (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(high, none))) << 4;
    if (free_slots == 0) {
        return UNIT_ROW_NONE;
    }
    const uint32_t row = unit_row_allocate(index);
    if (row != UNIT_ROW_NONE) {
        const uint64_t key = group->wanted[at] >> shift;
        line[__builtin_ctz(free_slots)] |= group->wanted[at] | row;
        index->containers.count++;
        unit_row_set(index, row, (uint8_t)(key >> 32), (uint32_t)key);
    }
    return row;
}

/*
 * Inserts container numbers, or packed keys if there are no numbers, as unit_probe_body looks them
 * up: one group is staged while the one before it is inserted. Returns how many were dealt with:
 * fewer than `count` by the last few, or if the table starts to move, or there is no memory.
 */
SIMD_TARGET_AVX2 static int64_t unit_batch_insert_avx2(unit_index *index, const unit_batch *batch,
                                                       int64_t count, int only_new, int32_t *rows)
{
    const container_number_constants constants = container_number_constants_avx2();
    const int64_t whole =
        batch->numbers != NULL ? container_number_whole_fours(count) : count / 4 * 4;
    const uint64_t invalid = UINT64_MAX << UNIT_CONTAINER_SHIFT;
    const uint64_t room = slot_map_room(&index->containers);
    const uint64_t reseed_count = index->containers.reseed_count;
    unit_probe_tables tables;
    unit_probe_group groups[2];
    unit_probe_table_avx2(&index->containers.current, &tables.current_base,
                          &tables.current_lines, tables.current_seed);
    for (int64_t start = 0; start < whole + UNIT_GROUP; start += UNIT_GROUP) {
        unit_probe_group *next = &groups[start / UNIT_GROUP % 2];
        const unit_probe_group *group = &groups[(start / UNIT_GROUP + 1) % 2];
        for (int64_t i = 0; i < UNIT_GROUP; i++) {
            if (i % 4 == 0 && start + i < whole) {
                unit_probe_stage_avx2(
                    &tables, 0,
                    batch->numbers != NULL
                        ? container_number_pack4_avx2(
                              &constants, batch->numbers + CONTAINER_NUMBER_LENGTH * (start + i), 0)
                        : unit_probe_load_keys_avx2(batch->keys + start + i),
                    next, i);
            }
            const int64_t done = start - UNIT_GROUP + i;
            if (done < 0 || done >= whole) {
                continue;
            }
            if (group->wanted[i] == invalid) {
                rows[done] = UNIT_ROW_INVALID;
                continue;
            }
            int was_new;
            uint32_t row = UNIT_ROW_NONE;
            if (index->containers.count < room) {
                row = unit_insert_at_home_avx2(index, group, i, &was_new);
            }
            if (row == UNIT_ROW_NONE) {
                const unit_key key = {group->wanted[i] >> UNIT_CONTAINER_SHIFT};
                row = unit_index_insert(index, key, NULL, 0, &was_new);
                if (row == UNIT_ROW_NONE) {
                    return done;
                }
            }
            rows[done] = only_new && !was_new ? UNIT_ROW_MISS : (int32_t)row;
            if (index->containers.previous.slots != NULL ||
                index->containers.reseed_count != reseed_count) {
                return done + 1; /* what was staged is where lines were */
            }
        }
    }
    return whole;
}
#endif

/* The same for any batch, any machine and any state of the table. */
static inline int64_t unit_batch_insert_portable(unit_index *index, simd_path path,
                                                 const unit_batch *batch, int64_t count,
                                                 int only_new, int32_t *rows)
{
    unit_key keys[2][UNIT_GROUP];
    for (int64_t start = 0; start < count + UNIT_GROUP; start += UNIT_GROUP) {
        const int64_t group = start / UNIT_GROUP;
        if (start < count) {
            const int64_t size = count - start < UNIT_GROUP ? count - start : UNIT_GROUP;
            unit_batch_keys(index, path, batch, start, size, keys[group % 2]);
        }
        const int64_t before = start - UNIT_GROUP;
        for (int64_t i = before < 0 ? 0 : before; i < count && i < start; i++) {
            const unit_key key = keys[(group + 1) % 2][i - before];
            int was_new;
            if (key.bits == UNIT_KEY_INVALID) {
                rows[i] = UNIT_ROW_INVALID;
                continue;
            }
            const uint32_t row = unit_index_insert(index, key, unit_batch_name(batch, i),
                                                   unit_batch_name_length(batch, i), &was_new);
            if (row == UNIT_ROW_NONE) {
                return i;
            }
            rows[i] = only_new && !was_new ? UNIT_ROW_MISS : (int32_t)row;
        }
    }
    return count;
}

/*
 * Adds the units that are not there. rows[i] = the row of unit i, UNIT_ROW_INVALID, or, for a unit
 * that was there, its row, or UNIT_ROW_MISS with `only_new`. Returns how many units were dealt
 * with: fewer than `count` if there was no memory for the next.
 */
static inline int64_t unit_batch_insert(unit_index *index, simd_path path, const unit_batch *batch,
                                        int64_t count, int only_new, int32_t *rows)
{
    int64_t done = 0;
    while (done < count) {
        unit_batch rest = unit_batch_from(batch, done);
        int64_t size = count - done;
#if SIMD_HAS_AVX2_BODY
        if (path >= SIMD_PATH_AVX2 && batch->names == NULL) {
            if (index->containers.previous.slots == NULL) {
                done += unit_batch_insert_avx2(index, &rest, size, only_new, rows + done);
                rest = unit_batch_from(batch, done);
            }
            /* The last few, or some while the table is moving. */
            size = count - done < UNIT_INSERT_STRIDE ? count - done : UNIT_INSERT_STRIDE;
        }
#endif
        const int64_t inserted =
            unit_batch_insert_portable(index, path, &rest, size, only_new, rows + done);
        done += inserted;
        if (inserted < size) {
            return done;
        }
    }
    return count;
}

/* Removes units. rows[i] = the row that unit i had, UNIT_ROW_MISS or UNIT_ROW_INVALID. */
static inline void unit_batch_remove(unit_index *index, simd_path path, const unit_batch *batch,
                                     int64_t count, int32_t *rows)
{
    unit_key keys[2][UNIT_GROUP];
    for (int64_t start = 0; start < count + UNIT_GROUP; start += UNIT_GROUP) {
        const int64_t group = start / UNIT_GROUP;
        if (start < count) {
            const int64_t size = count - start < UNIT_GROUP ? count - start : UNIT_GROUP;
            unit_batch_keys(index, path, batch, start, size, keys[group % 2]);
        }
        const int64_t before = start - UNIT_GROUP;
        for (int64_t i = before < 0 ? 0 : before; i < count && i < start; i++) {
            const unit_key key = keys[(group + 1) % 2][i - before];
            rows[i] = key.bits == UNIT_KEY_INVALID
                          ? UNIT_ROW_INVALID
                          : (int32_t)unit_index_remove(index, key, unit_batch_name(batch, i),
                                                       unit_batch_name_length(batch, i));
        }
    }
}

#endif
