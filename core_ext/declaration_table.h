/* The declarations: what each says as a whole, found by its number.
 *
 * What it is: a row for each declaration and an index from its number to its row. The index is a
 * slot_table.h of a 32-bit tag and the row; where a tag is equal the number in the row decides, so
 * that there are no false hits. It takes 12 to 18 bytes a declaration, and nothing stands still
 * while it grows. Rows of declarations that went are used again.
 * Who calls it: customs_tables.h changes it; rules.h, clock_alerts.h and look_ahead.h read it.
 * What it must never know: units, lines, holds, what a status allows.
 */
#ifndef GATEJOIN_DECLARATION_TABLE_H
#define GATEJOIN_DECLARATION_TABLE_H

#include "memory.h"
#include "record_types.h"
#include "slot_table.h"

#define DECLARATION_SHIFT 32u
#define DECLARATION_ROW_NONE UINT32_MAX

typedef struct {
    uint64_t number : 40; /* 12 digits */
    uint64_t direction : 2;
    uint64_t status : 3;
    int64_t version; /* NO_VERSION: only referred to by a hold */
    int64_t registered_us, status_us;
    uint32_t lines;   /* first line (arena handle) */
    uint32_t holds;   /* first hold on the declaration (hold row + 1) */
    uint32_t transit; /* where it goes and by when (arena handle of transit), 0: nowhere else */
} declaration;

/* The other end of a TRANSIT with a destination. */
typedef struct {
    int64_t arrive_by_us; /* NO_TIME: absent */
    uint32_t destination; /* location */
} transit;

typedef struct {
    slot_map index;
    uint64_t multiplier; /* of tags: odd and secret */
    declaration *rows;
    uint64_t capacity;
    uint32_t row_count; /* in use or free */
    uint32_t *free_rows;
    uint64_t free_count, free_capacity;
} declaration_table;

static inline void declaration_table_init(declaration_table *table)
{
    uint64_t seed = slot_secret_seed(table);
    memset(table, 0, sizeof *table);
    table->multiplier = slot_random(&seed) | 1;
    if (slot_map_init(&table->index, 0, slot_random(&seed)))
        memory_resize(NULL, UINT64_MAX / 4, "declarations"); /* stops with the reason */
}

static inline void declaration_table_free(declaration_table *table)
{
    slot_map_free(&table->index);
    free(table->rows);
    free(table->free_rows);
    memset(table, 0, sizeof *table);
}

/* The high half of a product with a secret odd number: two numbers have one tag with a probability
 * of at most 2^-31, whoever chose them (Dietzfelbinger, Hagerup, Katajainen, Penttonen: A reliable
 * randomized algorithm for the closest-pair problem, Journal of Algorithms 25, 1997). */
static inline uint64_t declaration_tag(const declaration_table *table, uint64_t number)
{
    const uint64_t tag = number * table->multiplier >> 32;
    return tag + (tag == 0);
}

typedef struct {
    const declaration *rows;
    uint64_t number;
} declaration_wanted;

static inline int declaration_confirm(const void *context, uint64_t row)
{
    const declaration_wanted *wanted = (const declaration_wanted *)context;
    return wanted->rows[row].number == wanted->number;
}

static inline uint64_t *declaration_slot(const declaration_table *table, uint64_t number)
{
    const declaration_wanted wanted = {table->rows, number};
    return slot_map_find(&table->index, declaration_tag(table, number), DECLARATION_SHIFT,
                         declaration_confirm, &wanted);
}

/* The row of a number, or DECLARATION_ROW_NONE. */
static inline uint32_t declaration_find(const declaration_table *table, uint64_t number)
{
    const uint64_t *slot = declaration_slot(table, number);
    return slot ? (uint32_t)slot_payload(*slot, DECLARATION_SHIFT) : DECLARATION_ROW_NONE;
}

/* The row of a number, new if need be and then of no version. */
static inline uint32_t declaration_find_or_add(declaration_table *table, uint64_t number)
{
    uint32_t row = declaration_find(table, number);
    if (row != DECLARATION_ROW_NONE)
        return row;
    row = table->free_count ? table->free_rows[--table->free_count] : table->row_count++;
    table->rows = (declaration *)memory_extend(table->rows, &table->capacity, (uint64_t)row + 1,
                                               sizeof *table->rows, "declarations");
    table->rows[row] = (declaration){.number = number & ((UINT64_C(1) << 40) - 1),
                                     .version = NO_VERSION};
    if (slot_map_add(&table->index, declaration_tag(table, number), row, DECLARATION_SHIFT))
        memory_resize(NULL, UINT64_MAX / 4, "declarations"); /* stops with the reason */
    return row;
}

/* Gives a row back on which nothing hangs any more. */
static inline void declaration_remove(declaration_table *table, uint32_t row)
{
    slot_map_remove(&table->index, declaration_slot(table, table->rows[row].number),
                    DECLARATION_SHIFT);
    table->free_rows = (uint32_t *)memory_grow(table->free_rows, &table->free_capacity,
                                               table->free_count + 1, sizeof *table->free_rows,
                                               "declarations");
    table->free_rows[table->free_count++] = row;
}

/* Brings the index lines of a few numbers into the cache, their misses side by side
 * (look_ahead.h). */
static inline void declaration_touch(const declaration_table *table, const uint64_t *numbers,
                                     uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        (void)*(const volatile uint64_t *)slot_map_home_line(&table->index,
                                                            declaration_tag(table, numbers[i]));
}

#endif
