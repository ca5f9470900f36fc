/* When each operator last spoke, per partition of port-events.
 *
 * What it is: the greatest record timestamp of an operator's accepted events, and which have grown.
 * Who calls it: engine.h notes, aggregates.h publishes what has grown.
 * What it must never know: who is silent for too long.
 */
#ifndef GATEJOIN_OPERATOR_ACTIVITY_H
#define GATEJOIN_OPERATOR_ACTIVITY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

typedef struct {
    int64_t latest_ms; /* 0 before its first event */
    uint8_t changed;   /* since it was last published (aggregates.h) */
} operator_activity;

typedef struct {
    operator_activity *rows; /* by operator row */
    uint64_t capacity;
    uint32_t *changed; /* operator rows */
    uint64_t changed_count, changed_capacity;
} activity_table;

/* Notes an accepted event; repeats and retractions count, for who repeats is not silent. */
static inline void activity_note(activity_table *table, uint32_t operator_row,
                                 int64_t timestamp_ms)
{
    table->rows = (operator_activity *)memory_grow(table->rows, &table->capacity,
                                                   (uint64_t)operator_row + 1,
                                                   sizeof *table->rows, "operator activity");
    operator_activity *row = &table->rows[operator_row];
    if (timestamp_ms <= row->latest_ms)
        return;
    row->latest_ms = timestamp_ms;
    if (row->changed)
        return;
    row->changed = 1;
    table->changed = (uint32_t *)memory_grow(table->changed, &table->changed_capacity,
                                             table->changed_count + 1, 4, "operator activity");
    table->changed[table->changed_count++] = operator_row;
}

static inline void activity_free(activity_table *table)
{
    free(table->rows);
    free(table->changed);
    memset(table, 0, sizeof *table);
}

#endif
