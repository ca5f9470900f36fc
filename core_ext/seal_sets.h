/* Sets of seals as they are stored in the state.
 *
 * What it is: a block of the arena with the seals of a line, an event or a hold, each once,
 * ascending bytewise, already normalised and without blanks (CONTRACT.md section 1).
 *
 *   | block bytes u32 | count u32 | length u8, bytes | length u8, bytes | ...
 *
 * Who calls it: customs_tables.h, unit_events.h, rules.h.
 * What it must never know: whose seals they are.
 */
#ifndef GATEJOIN_SEAL_SETS_H
#define GATEJOIN_SEAL_SETS_H

#include "memory.h"
#include "record_types.h"

typedef struct {
    uint32_t block_bytes;
    uint32_t count;
    uint8_t bytes[];
} seal_block;

static inline int bytes_compare(const uint8_t *a, uint32_t a_length, const uint8_t *b,
                               uint32_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* A growable list of seals on their way in or out of blocks. */
typedef struct {
    text *seals;
    uint64_t count, capacity;
} seal_list;

static inline void seal_list_add(seal_list *list, const uint8_t *bytes, uint32_t length)
{
    list->seals = (text *)memory_grow(list->seals, &list->capacity, list->count + 1,
                                      sizeof *list->seals, "a list of seals");
    list->seals[list->count++] = (text){bytes, length};
}

static inline void seal_list_add_block(seal_list *list, const arena *arena_, uint32_t handle)
{
    if (!handle)
        return;
    const seal_block *block = (const seal_block *)arena_at(arena_, handle);
    const uint8_t *place = block->bytes;
    for (uint32_t i = 0; i < block->count; i++) {
        seal_list_add(list, place + 1, place[0]);
        place += 1 + place[0];
    }
}

static inline int seal_order(const void *a, const void *b)
{
    const text *left = (const text *)a, *right = (const text *)b;
    return bytes_compare(left->bytes, left->length, right->bytes, right->length);
}

/* Ascending, each once. */
static inline void seal_list_sort(seal_list *list)
{
    if (list->count < 2)
        return;
    qsort(list->seals, list->count, sizeof *list->seals, seal_order);
    uint64_t kept = 1;
    for (uint64_t i = 1; i < list->count; i++)
        if (seal_order(&list->seals[i], &list->seals[kept - 1]))
            list->seals[kept++] = list->seals[i];
    list->count = kept;
}

static inline int seal_list_has(const seal_list *list, const uint8_t *bytes, uint32_t length)
{
    for (uint64_t i = 0; i < list->count; i++)
        if (!bytes_compare(list->seals[i].bytes, list->seals[i].length, bytes, length))
            return 1;
    return 0;
}

/* Removes from `list` whatever is in `others`. */
static inline void seal_list_subtract(seal_list *list, const seal_list *others)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < list->count; i++)
        if (!seal_list_has(others, list->seals[i].bytes, list->seals[i].length))
            list->seals[kept++] = list->seals[i];
    list->count = kept;
}

static inline int seal_list_equal(const seal_list *a, const seal_list *b)
{
    if (a->count != b->count)
        return 0;
    for (uint64_t i = 0; i < a->count; i++)
        if (seal_order(&a->seals[i], &b->seals[i]))
            return 0;
    return 1;
}

/* Stores a sorted list; 0 if it is empty. */
static inline uint32_t seal_block_store(arena *arena_, const text *seals, uint64_t count)
{
    if (!count)
        return 0;
    uint64_t bytes = sizeof(seal_block);
    for (uint64_t i = 0; i < count; i++)
        bytes += 1 + seals[i].length;
    uint32_t handle = arena_allocate(arena_, bytes);
    seal_block *block = (seal_block *)arena_at(arena_, handle);
    block->block_bytes = (uint32_t)bytes;
    block->count = (uint32_t)count;
    uint8_t *place = block->bytes;
    for (uint64_t i = 0; i < count; i++) {
        *place++ = (uint8_t)seals[i].length;
        memcpy(place, seals[i].bytes, seals[i].length);
        place += seals[i].length;
    }
    return handle;
}

static inline void seal_block_release(arena *arena_, uint32_t handle)
{
    if (handle)
        arena_release(arena_, handle, ((seal_block *)arena_at(arena_, handle))->block_bytes);
}

#endif
