/* A unit as read from its changelog record.
 *
 * What it is: the fields of its events and raised alerts as unit_state.h finds them in the bytes,
 * texts and numbers still where they are in the record; kept for its memory from record to record.
 * Who calls it: unit_state.h fills it, unit_log.h puts it in place.
 * What it must never know: how a record is laid out, row numbers.
 */
#ifndef GATEJOIN_STATE_UNIT_H
#define GATEJOIN_STATE_UNIT_H

#include "memory.h"
#include "record_types.h"

typedef struct {
    int64_t time_us, version_us, record_time_ms;
    uint64_t weight_grams;
    uint32_t bits, pieces; /* bits: STATE_... of unit_state.h */
    uint32_t operator_place, location_place;
    text event_id;
    text seals; /* as they are stored: length u8, bytes, each */
    text presented, declarations; /* numbers, as they are written */
    uint32_t seal_count, presented_count, declaration_count;
    uint32_t sequence, reasons, flags; /* of the last decision; sequence 0: none */
    uint8_t alerts;
} state_event;

typedef struct {
    uint8_t type;
    uint64_t number;
    uint32_t operator_place;
    uint32_t location_place; /* plus 1; 0 none */
    text event_id;
} state_raised;

typedef struct {
    text *names; /* operators, then locations: what places count */
    state_event *events;
    state_raised *raised;
    uint32_t operator_count, location_count, event_count, raised_count;
    uint64_t name_capacity, event_capacity, raised_capacity;
} state_unit;

static inline void state_unit_free(state_unit *read)
{
    free(read->names);
    free(read->events);
    free(read->raised);
    memset(read, 0, sizeof *read);
}

#endif
