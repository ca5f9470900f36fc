/* Operators and locations of one changelog record, which has them by name.
 *
 * What it is: the small lists that turn rows into places within a record, kept for their memory
 * from record to record.
 * Who calls it: unit_state.h, unit_log.h.
 * What it must never know: how a record is laid out.
 */
#ifndef GATEJOIN_STATE_NAMES_H
#define GATEJOIN_STATE_NAMES_H

#include "memory.h"
#include "record_types.h"

/* The operators or the locations of one record, each once, in the order in which they come up. */
typedef struct {
    uint32_t *places; /* by row: place in `rows`, plus 1; 0 none */
    uint64_t place_capacity;
    uint32_t *rows;
    uint64_t count, capacity;
} state_names;

static inline uint32_t state_name_place(state_names *names, uint32_t row)
{
    names->places = (uint32_t *)memory_grow(names->places, &names->place_capacity,
                                            (uint64_t)row + 1, sizeof *names->places, "names");
    if (!names->places[row]) {
        names->rows = (uint32_t *)memory_grow(names->rows, &names->capacity, names->count + 1,
                                              sizeof *names->rows, "names");
        names->rows[names->count++] = row;
        names->places[row] = (uint32_t)names->count;
    }
    return names->places[row] - 1;
}

static inline void state_names_clear(state_names *names)
{
    for (uint64_t i = 0; i < names->count; i++)
        names->places[names->rows[i]] = 0;
    names->count = 0;
}

static inline void state_names_free(state_names *names)
{
    free(names->places);
    free(names->rows);
    memset(names, 0, sizeof *names);
}

#endif
