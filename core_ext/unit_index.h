/*
 * The unit index: (name of 1 to 35 bytes, container or lot) -> row, a small dense number.
 *
 * Called by the matcher (one unit at a time), unit_index_batch.h and unit_index.pyx (arrays). It
 * knows names and rows; what hangs on a row is the caller's. It takes no lock: many may read at
 * once, but whoever inserts or removes must be alone.
 *
 * Containers whose number is right (ISO 6346, category J, U or Z) are found by their 36-bit packed
 * key alone, which is the name: nothing else is stored. All other names, cargo control numbers
 * first of all, and every lot, are found by a 32-bit tag of a keyed 64-bit hash, and are compared
 * with the bytes that are stored, so that there are no false hits:
 *
 *   container  table of packed keys --> row
 *   other      table of tags --> name heap { row, length and class, bytes } --> row
 *   row        directory of rows --> packed key, or place in the name heap: the way back to a name
 *
 * Rows of removed units are given out again, the latest first; so are the holes in the name heap,
 * by size. Nothing is ever moved or scanned as a whole: see slot_table.h for how tables grow.
 */
#ifndef GATEJOIN_UNIT_INDEX_H
#define GATEJOIN_UNIT_INDEX_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "container_number.h"
#include "slot_table.h"

#define UNIT_NAME_BYTES_MAX 35u
#define UNIT_ROW_NONE UINT32_MAX
#define UNIT_ROWS_MAX (1u << 27) /* what a slot of the container table can say */

#define UNIT_CONTAINER_SHIFT 28u
#define UNIT_NAME_SHIFT 32u

/* Row directory: chunks of 65,536 rows, 5 bytes a row. */
#define UNIT_ROW_CHUNK_BITS 16
#define UNIT_ROW_CHUNK_ROWS (1u << UNIT_ROW_CHUNK_BITS)
#define UNIT_ROW_CHUNKS_MAX (UNIT_ROWS_MAX / UNIT_ROW_CHUNK_ROWS)

/* Name heap: chunks of 2 MiB, counted in units of 4 bytes; a slot's 31 bits can say 8 GiB. */
#define UNIT_HEAP_CHUNK_BITS 19
#define UNIT_HEAP_CHUNK_UNITS (1u << UNIT_HEAP_CHUNK_BITS)
#define UNIT_HEAP_CHUNKS_MAX (1u << (31 - UNIT_HEAP_CHUNK_BITS))
#define UNIT_HEAP_NONE UINT32_MAX
#define UNIT_RECORD_HEAD_BYTES 5u
#define UNIT_RECORD_UNITS_MAX 10u /* (5 + 35) / 4 */

/* One row in the directory. `high` says what `low` is. */
enum {
    UNIT_ROW_KEY_HIGH_MAX = 15, /* up to this: bits 32 to 35 of a packed key; low = the others */
    UNIT_ROW_NAMED = 128,       /* low = place in the name heap */
    UNIT_ROW_FREE = 255,        /* low = the next free row */
};

typedef struct unit_row_chunk {
    uint32_t low[UNIT_ROW_CHUNK_ROWS];
    uint8_t high[UNIT_ROW_CHUNK_ROWS];
} unit_row_chunk;

typedef struct unit_heap {
    uint8_t **chunks;
    size_t *chunk_bytes;
    uint32_t chunk_count;
    uint32_t next;                                /* first place never used */
    uint32_t holes[UNIT_RECORD_UNITS_MAX + 1];    /* by size: the latest hole */
    uint64_t hole_units;
} unit_heap;

typedef struct unit_index {
    slot_map containers;
    slot_map names;
    unit_row_chunk **row_chunks;
    uint32_t row_limit;  /* rows below this have been given out at least once */
    uint32_t row_free;   /* the latest row given back */
    unit_heap heap;
    uint64_t name_seed[8];
} unit_index;

/*
 * A unit's key: computed once, used for prefetch, find, insert and remove of one and the same
 * index. Bit 63: general name; bit 62: lot; below: the packed key, or the tag.
 */
typedef struct unit_key {
    uint64_t bits;
} unit_key;

#define UNIT_KEY_NAMED ((uint64_t)1 << 63)
#define UNIT_KEY_LOT ((uint64_t)1 << 62)
#define UNIT_KEY_INVALID UINT64_MAX /* no key is that: for callers that have none */

enum { UNIT_TOUCH_KEYS = 64 };

/* ---- keys ------------------------------------------------------------------------------------ */

static inline uint64_t unit_load_64(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* 0 to 8 bytes as one little-endian word, without reading past them. */
static inline uint64_t unit_load_tail(const uint8_t *bytes, uint32_t length)
{
    uint32_t first, last;
    if (length >= 4) {
        memcpy(&first, bytes, 4);
        memcpy(&last, bytes + length - 4, 4);
        return first | (uint64_t)last << (8 * (length - 4));
    }
    if (length == 0) {
        return 0;
    }
    return bytes[0] | (uint64_t)bytes[length / 2] << (8 * (length / 2)) |
           (uint64_t)bytes[length - 1] << (8 * (length - 1));
}

/*
 * NH (from UMAC) over the name padded with zeros to five words and a word of length and class: two
 * different units collide with probability 2^-64 over the index's secret seed, whoever chose the
 * names. The 128-bit sum is then folded and mixed, since NH alone is not uniform.
 */
static inline uint64_t unit_name_hash(const uint64_t seed[8], const uint8_t *name, uint32_t length,
                                      int is_lot)
{
    uint64_t word[6] = {0, 0, 0, 0, 0, length | (uint64_t)(is_lot != 0) << 8};
    uint32_t whole = length / 8;
    for (uint32_t i = 0; i < whole; i++) {
        word[i] = unit_load_64(name + 8 * i);
    }
    if (length % 8 != 0) {
        word[whole] = unit_load_tail(name + 8 * whole, length % 8);
    }
    __extension__ typedef unsigned __int128 wide;
    wide sum = (wide)(word[0] + seed[0]) * (word[1] + seed[1]);
    sum += (wide)(word[2] + seed[2]) * (word[3] + seed[3]);
    sum += (wide)(word[4] + seed[4]) * (word[5] + seed[5]);
    uint64_t hash = (uint64_t)sum * seed[6] + (uint64_t)(sum >> 64) * seed[7];
    hash = (hash ^ (hash >> 32)) * 0xD6E8FEB86659FD93u;
    return hash ^ (hash >> 32);
}

/*
 * The key of a name of 1 to UNIT_NAME_BYTES_MAX bytes (the caller's to ensure), any bytes. A
 * canonical container number is the name of a lot like any other.
 */
static inline unit_key unit_index_key(const unit_index *index, const uint8_t *name,
                                      uint32_t length, int is_lot)
{
    unit_key key;
    if (length == CONTAINER_NUMBER_LENGTH && !is_lot) {
        key.bits = container_number_pack(name);
        if (key.bits != CONTAINER_NUMBER_INVALID) {
            return key;
        }
    }
    uint64_t tag = unit_name_hash(index->name_seed, name, length, is_lot) >> 32;
    key.bits = UNIT_KEY_NAMED | (is_lot ? UNIT_KEY_LOT : 0) | (tag + (tag == 0));
    return key;
}

static inline int unit_key_is_container_number(unit_key key)
{
    return !(key.bits & UNIT_KEY_NAMED);
}

static inline uint64_t unit_key_tag(unit_key key)
{
    return (uint32_t)key.bits;
}

static inline uint8_t unit_key_record_head(unit_key key, uint32_t length)
{
    return (uint8_t)(length | (key.bits & UNIT_KEY_LOT ? 64 : 0));
}

/* ---- name heap ------------------------------------------------------------------------------- */

static inline uint8_t *unit_heap_record(const unit_heap *heap, uint64_t place)
{
    return heap->chunks[place >> UNIT_HEAP_CHUNK_BITS] +
           (place & (UNIT_HEAP_CHUNK_UNITS - 1)) * 4;
}

static inline uint32_t unit_record_units(uint32_t length)
{
    return (UNIT_RECORD_HEAD_BYTES + length + 3) / 4;
}

/* A place for a record, or UNIT_HEAP_NONE if there is no memory. */
static inline uint32_t unit_heap_allocate(unit_heap *heap, uint32_t units)
{
    uint32_t place = heap->holes[units];
    if (place != UNIT_HEAP_NONE) {
        memcpy(&heap->holes[units], unit_heap_record(heap, place), sizeof place);
        heap->hole_units -= units;
        return place;
    }
    uint32_t left = heap->chunk_count * UNIT_HEAP_CHUNK_UNITS - heap->next;
    if (left < units) {
        if (heap->chunk_count == UNIT_HEAP_CHUNKS_MAX) {
            return UNIT_HEAP_NONE;
        }
        uint8_t *chunk = slot_memory_map((size_t)UNIT_HEAP_CHUNK_UNITS * 4,
                                         &heap->chunk_bytes[heap->chunk_count]);
        if (chunk == NULL) {
            return UNIT_HEAP_NONE;
        }
        if (heap->chunk_count > 0) {
            slot_memory_advise_huge(heap->chunks[heap->chunk_count - 1],
                                    heap->chunk_bytes[heap->chunk_count - 1]);
        }
        heap->next = heap->chunk_count * UNIT_HEAP_CHUNK_UNITS;
        heap->chunks[heap->chunk_count++] = chunk;
    }
    place = heap->next;
    heap->next += units;
    return place;
}

static inline void unit_heap_release(unit_heap *heap, uint32_t place, uint32_t units)
{
    memcpy(unit_heap_record(heap, place), &heap->holes[units], sizeof place);
    heap->holes[units] = place;
    heap->hole_units += units;
}

typedef struct unit_name_wanted {
    const unit_heap *heap;
    const uint8_t *name;
    uint32_t length;
    uint8_t head;
} unit_name_wanted;

static inline int unit_name_confirm(const void *context, uint64_t place)
{
    const unit_name_wanted *wanted = context;
    const uint8_t *record = unit_heap_record(wanted->heap, place);
    return record[4] == wanted->head &&
           memcmp(record + UNIT_RECORD_HEAD_BYTES, wanted->name, wanted->length) == 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static inline void unit_row_set(unit_index *index, uint32_t row, uint8_t high, uint32_t low)
{
    unit_row_chunk *chunk = index->row_chunks[row >> UNIT_ROW_CHUNK_BITS];
    chunk->low[row & (UNIT_ROW_CHUNK_ROWS - 1)] = low;
    chunk->high[row & (UNIT_ROW_CHUNK_ROWS - 1)] = high;
}

static inline uint32_t unit_row_low(const unit_index *index, uint32_t row)
{
    return index->row_chunks[row >> UNIT_ROW_CHUNK_BITS]->low[row & (UNIT_ROW_CHUNK_ROWS - 1)];
}

static inline uint8_t unit_row_high(const unit_index *index, uint32_t row)
{
    return index->row_chunks[row >> UNIT_ROW_CHUNK_BITS]->high[row & (UNIT_ROW_CHUNK_ROWS - 1)];
}

/* A row that nobody has, marked free; UNIT_ROW_NONE if there is no memory or no number left. */
static inline uint32_t unit_row_allocate(unit_index *index)
{
    uint32_t row = index->row_free;
    if (row != UNIT_ROW_NONE) {
        index->row_free = unit_row_low(index, row);
        return row;
    }
    row = index->row_limit;
    if (row == UNIT_ROWS_MAX) {
        return UNIT_ROW_NONE;
    }
    unit_row_chunk **chunk = &index->row_chunks[row >> UNIT_ROW_CHUNK_BITS];
    if (*chunk == NULL) {
        *chunk = malloc(sizeof **chunk);
        if (*chunk == NULL) {
            return UNIT_ROW_NONE;
        }
    }
    index->row_limit++;
    return row;
}

static inline void unit_row_release(unit_index *index, uint32_t row)
{
    unit_row_set(index, row, UNIT_ROW_FREE, index->row_free);
    index->row_free = row;
}

/* ---- the index ------------------------------------------------------------------------------- */

static inline void unit_index_free(unit_index *index)
{
    slot_map_free(&index->containers);
    slot_map_free(&index->names);
    if (index->row_chunks != NULL) {
        for (uint32_t i = 0; i < UNIT_ROW_CHUNKS_MAX; i++) {
            free(index->row_chunks[i]);
        }
    }
    free(index->row_chunks);
    for (uint32_t i = 0; i < index->heap.chunk_count; i++) {
        slot_memory_unmap(index->heap.chunks[i], index->heap.chunk_bytes[i]);
    }
    free(index->heap.chunks);
    free(index->heap.chunk_bytes);
    memset(index, 0, sizeof *index);
}

/*
 * An empty index with room for so many containers and other units at half load; both may be 0 and
 * are no limits. The seed decides where keys lie: whoever knows it can make them collide, so it is
 * given only where a measurement has to be repeatable. -1: no memory, nothing to free.
 */
static inline int unit_index_init_seeded(unit_index *index, uint64_t container_capacity,
                                         uint64_t name_capacity, uint64_t seed)
{
    memset(index, 0, sizeof *index);
    index->row_free = UNIT_ROW_NONE;
    memset(index->heap.holes, 0xff, sizeof index->heap.holes);
    for (int i = 0; i < 8; i++) {
        index->name_seed[i] = slot_random(&seed) | (i >= 6);
    }
    uint64_t container_state = slot_random(&seed);
    uint64_t name_state = slot_random(&seed);
    index->row_chunks = calloc(UNIT_ROW_CHUNKS_MAX, sizeof *index->row_chunks);
    index->heap.chunks = calloc(UNIT_HEAP_CHUNKS_MAX, sizeof *index->heap.chunks);
    index->heap.chunk_bytes = calloc(UNIT_HEAP_CHUNKS_MAX, sizeof *index->heap.chunk_bytes);
    if (index->row_chunks == NULL || index->heap.chunks == NULL ||
        index->heap.chunk_bytes == NULL ||
        slot_map_init(&index->containers, container_capacity, container_state) != 0 ||
        slot_map_init(&index->names, name_capacity, name_state) != 0) {
        unit_index_free(index);
        return -1;
    }
    return 0;
}

/* The same under a secret seed from the system. */
static inline int unit_index_init(unit_index *index, uint64_t container_capacity,
                                  uint64_t name_capacity)
{
    return unit_index_init_seeded(index, container_capacity, name_capacity,
                                  slot_secret_seed(index));
}

/* Makes room at half load for so many units of each kind in all. -1: no memory. */
static inline int unit_index_reserve(unit_index *index, uint64_t container_capacity,
                                     uint64_t name_capacity)
{
    if (slot_map_reserve(&index->containers, container_capacity, UNIT_CONTAINER_SHIFT) != 0) {
        return -1;
    }
    return slot_map_reserve(&index->names, name_capacity, UNIT_NAME_SHIFT);
}

/* Units that are there. */
static inline uint64_t unit_index_count(const unit_index *index)
{
    return index->containers.count + index->names.count;
}

/* The line where a key would be. */
static inline const uint64_t *unit_index_home_line(const unit_index *index, unit_key key)
{
    return unit_key_is_container_number(key)
               ? slot_map_home_line(&index->containers, key.bits)
               : slot_map_home_line(&index->names, unit_key_tag(key));
}

/* Asks for the line where a key would be; worth while some 30 keys before it is looked for. */
static inline void unit_index_prefetch(const unit_index *index, unit_key key)
{
    __builtin_prefetch(unit_index_home_line(index, key));
}

/*
 * Brings in the lines of a few dozen keys before they are looked for (those that are
 * UNIT_KEY_INVALID are passed over). A prefetch for each would do, were it not dropped, or made to
 * wait, where it misses the TLB, as it does in virtual machines; plain loads with nothing between
 * them overlap as far as the processor can carry them: lookups after it took a third of the time.
 */
static inline void unit_index_touch(const unit_index *index, const unit_key *keys, int64_t count)
{
    const uint64_t *lines[UNIT_TOUCH_KEYS];
    for (int64_t start = 0; start < count; start += UNIT_TOUCH_KEYS) {
        const int64_t size = count - start < UNIT_TOUCH_KEYS ? count - start : UNIT_TOUCH_KEYS;
        for (int64_t i = 0; i < size; i++) {
            const unit_key key = keys[start + i];
            lines[i] = key.bits == UNIT_KEY_INVALID ? index->containers.current.slots
                                                    : unit_index_home_line(index, key);
        }
        for (int64_t i = 0; i < size; i++) {
            (void)*(const volatile uint64_t *)lines[i];
        }
    }
}

/* A second step, for general names only: brings in the stored names that the lines point to. */
static inline void unit_index_touch_names(const unit_index *index, const unit_key *keys,
                                          int64_t count)
{
    const uint8_t *records[UNIT_TOUCH_KEYS];
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++) {
        const unit_key key = keys[i];
        if (!unit_key_is_container_number(key) && key.bits != UNIT_KEY_INVALID) {
            const uint64_t *line = unit_index_home_line(index, key);
            const uint32_t matches = slot_line_matches(line, unit_key_tag(key), UNIT_NAME_SHIFT);
            if (matches != 0) {
                records[found++] = unit_heap_record(
                    &index->heap, slot_payload(line[__builtin_ctz(matches)], UNIT_NAME_SHIFT));
            }
        }
        if (found == UNIT_TOUCH_KEYS || i == count - 1) {
            for (int64_t j = 0; j < found; j++) {
                (void)*(const volatile uint8_t *)records[j];
            }
            found = 0;
        }
    }
}

static inline uint64_t *unit_index_name_slot(const unit_index *index, unit_key key,
                                             const uint8_t *name, uint32_t length)
{
    const unit_name_wanted wanted = {&index->heap, name, length,
                                     unit_key_record_head(key, length)};
    return slot_map_find(&index->names, unit_key_tag(key), UNIT_NAME_SHIFT, unit_name_confirm,
                         &wanted);
}

/* The row of a unit, or UNIT_ROW_NONE. */
static inline uint32_t unit_index_find(const unit_index *index, unit_key key, const uint8_t *name,
                                       uint32_t length)
{
    if (unit_key_is_container_number(key)) {
        const uint64_t *slot = slot_map_find(&index->containers, key.bits, UNIT_CONTAINER_SHIFT,
                                             NULL, NULL);
        return slot == NULL ? UNIT_ROW_NONE : (uint32_t)slot_payload(*slot, UNIT_CONTAINER_SHIFT);
    }
    const uint64_t *slot = unit_index_name_slot(index, key, name, length);
    if (slot == NULL) {
        return UNIT_ROW_NONE;
    }
    uint32_t row;
    memcpy(&row, unit_heap_record(&index->heap, slot_payload(*slot, UNIT_NAME_SHIFT)), sizeof row);
    return row;
}

static inline int unit_index_add_name(unit_index *index, unit_key key, const uint8_t *name,
                                      uint32_t length, uint32_t row)
{
    const uint32_t units = unit_record_units(length);
    uint32_t place = unit_heap_allocate(&index->heap, units);
    if (place == UNIT_HEAP_NONE) {
        return -1;
    }
    uint8_t *record = unit_heap_record(&index->heap, place);
    memcpy(record, &row, sizeof row);
    record[4] = unit_key_record_head(key, length);
    memcpy(record + UNIT_RECORD_HEAD_BYTES, name, length);
    if (slot_map_add(&index->names, unit_key_tag(key), place, UNIT_NAME_SHIFT) != 0) {
        unit_heap_release(&index->heap, place, units);
        return -1;
    }
    unit_row_set(index, row, UNIT_ROW_NAMED, place);
    return 0;
}

/*
 * The row of a unit, which is added if it is not there; *was_new says so. UNIT_ROW_NONE if there is
 * no memory or 2^27 units are there, nothing being changed.
 */
static inline uint32_t unit_index_insert(unit_index *index, unit_key key, const uint8_t *name,
                                         uint32_t length, int *was_new)
{
    uint32_t row = unit_index_find(index, key, name, length);
    *was_new = 0;
    if (row != UNIT_ROW_NONE) {
        return row;
    }
    row = unit_row_allocate(index);
    if (row == UNIT_ROW_NONE) {
        return UNIT_ROW_NONE;
    }
    int failed;
    if (unit_key_is_container_number(key)) {
        failed = slot_map_add(&index->containers, key.bits, row, UNIT_CONTAINER_SHIFT);
        if (!failed) {
            unit_row_set(index, row, (uint8_t)(key.bits >> 32), (uint32_t)key.bits);
        }
    } else {
        failed = unit_index_add_name(index, key, name, length, row);
    }
    if (failed) {
        unit_row_release(index, row);
        return UNIT_ROW_NONE;
    }
    *was_new = 1;
    return row;
}

/* Removes a unit; returns the row it had, which will be given out again, or UNIT_ROW_NONE. */
static inline uint32_t unit_index_remove(unit_index *index, unit_key key, const uint8_t *name,
                                         uint32_t length)
{
    uint32_t row;
    if (unit_key_is_container_number(key)) {
        uint64_t *slot = slot_map_find(&index->containers, key.bits, UNIT_CONTAINER_SHIFT, NULL,
                                       NULL);
        if (slot == NULL) {
            return UNIT_ROW_NONE;
        }
        row = (uint32_t)slot_payload(*slot, UNIT_CONTAINER_SHIFT);
        slot_map_remove(&index->containers, slot, UNIT_CONTAINER_SHIFT);
    } else {
        uint64_t *slot = unit_index_name_slot(index, key, name, length);
        if (slot == NULL) {
            return UNIT_ROW_NONE;
        }
        uint32_t place = (uint32_t)slot_payload(*slot, UNIT_NAME_SHIFT);
        memcpy(&row, unit_heap_record(&index->heap, place), sizeof row);
        slot_map_remove(&index->names, slot, UNIT_NAME_SHIFT);
        unit_heap_release(&index->heap, place, unit_record_units(length));
    }
    unit_row_release(index, row);
    return row;
}

/* ---- iteration and figures ------------------------------------------------------------------- */

/* Rows that were ever given out are below this: the bound of an iteration over all rows. */
static inline uint32_t unit_index_row_limit(const unit_index *index)
{
    return index->row_limit;
}

static inline int unit_index_row_is_used(const unit_index *index, uint32_t row)
{
    return row < index->row_limit && unit_row_high(index, row) != UNIT_ROW_FREE;
}

/* Writes the name of a row (no terminating zero) and its class; returns its length, 0 if nobody has
 * the row. */
static inline uint32_t unit_index_name(const unit_index *index, uint32_t row, uint8_t out[36],
                                       int *is_lot)
{
    *is_lot = 0;
    if (!unit_index_row_is_used(index, row)) {
        return 0;
    }
    const uint8_t high = unit_row_high(index, row);
    const uint32_t low = unit_row_low(index, row);
    if (high <= UNIT_ROW_KEY_HIGH_MAX) {
        container_number_unpack((uint64_t)high << 32 | low, out);
        return CONTAINER_NUMBER_LENGTH;
    }
    const uint8_t *record = unit_heap_record(&index->heap, low);
    const uint32_t length = record[4] & 63;
    *is_lot = record[4] >> 6;
    memcpy(out, record + UNIT_RECORD_HEAD_BYTES, length);
    return length;
}

/* Bytes taken from the system, by what they are for. */
typedef struct unit_index_memory {
    uint64_t container_table;
    uint64_t name_table;
    uint64_t rows;
    uint64_t names;      /* name heap, up to the first place never used; holes included */
    uint64_t name_holes; /* of these, waiting to be used again */
} unit_index_memory;

static inline unit_index_memory unit_index_memory_figures(const unit_index *index)
{
    unit_index_memory figures;
    const uint64_t chunks = ((uint64_t)index->row_limit + UNIT_ROW_CHUNK_ROWS - 1) /
                            UNIT_ROW_CHUNK_ROWS;
    figures.container_table = slot_map_memory_bytes(&index->containers);
    figures.name_table = slot_map_memory_bytes(&index->names);
    figures.rows = chunks * sizeof(unit_row_chunk) +
                   UNIT_ROW_CHUNKS_MAX * sizeof *index->row_chunks;
    figures.names = (uint64_t)index->heap.next * 4 +
                    UNIT_HEAP_CHUNKS_MAX * (sizeof *index->heap.chunks + sizeof(size_t));
    figures.name_holes = index->heap.hole_units * 4;
    return figures;
}

static inline uint64_t unit_index_memory_bytes(const unit_index *index)
{
    const unit_index_memory figures = unit_index_memory_figures(index);
    return figures.container_table + figures.name_table + figures.rows + figures.names;
}

#endif
