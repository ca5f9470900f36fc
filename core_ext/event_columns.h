/* Port events into columns: one array for each field, row i for event i.
 *
 * What it is: the loop over many events that scans each, writes its fields to the columns and, if
 * there is a unit index, looks its unit up.
 * Who calls it: event_scanner.pyx. The matcher does without columns.
 * What it must never know: Python, Kafka's record batches, what a field means for a gate.
 *
 * Events go in groups: a group is scanned, then the index's lines for all its units are brought in,
 * then the units are found, so that the misses of a group overlap.
 */
#ifndef GATEJOIN_EVENT_COLUMNS_H
#define GATEJOIN_EVENT_COLUMNS_H

#include "record_scanner.h"
#include "record_view.h"
#include "unit_index.h"

enum {
    EVENT_GROUP = 64,
    EVENT_CODE_BYTES = 64, /* of eventID, operatorID, locationCode; zeros behind the text */
    EVENT_UNIT_BYTES = 35, /* of the normalised unit; zeros behind it */
};

/* Where the values are: in records, or in one buffer. */
typedef struct event_values {
    const record_view *records; /* or NULL */
    const uint8_t *bytes;
    const int64_t *offsets; /* count + 1, checked */
} event_values;

typedef struct event_columns {
    uint8_t *reason; /* enum reject_reason; the other columns of a refused event are 0 */
    int8_t *field;   /* of port_event_fields, -1: none */
    uint8_t *event_type, *unit_type, *direction, *purpose, *is_retracted, *version_field, *looked;
    uint8_t *seal_count, *declaration_count;
    int64_t *event_time_us, *version_us;
    int64_t *pieces, *weight_grams; /* -1: absent */
    uint8_t *event_id, *operator_id, *location_code, *unit;
    int32_t *row; /* of the unit in the index; unused without one */
} event_columns;

static inline void event_code_write(uint8_t *column, int64_t row, text code)
{
    uint8_t *at = column + row * EVENT_CODE_BYTES;
    /* What lies behind a text may be read and is replaced by zeros. */
    for (uint32_t i = 0; i < EVENT_CODE_BYTES / 8; i++) {
        const uint32_t place = 8 * i;
        const uint32_t left = code.length > place ? code.length - place : 0;
        json_store8(at + place, json_load8(code.bytes + place) &
                                    json_word_masks[16 + (left < 8 ? left : 8)]);
    }
}

/* The row of an event that was refused. */
static inline void event_columns_refuse(const event_columns *columns, int64_t row,
                                        const scan_verdict *verdict)
{
    columns->reason[row] = verdict->reason;
    columns->field[row] = -1;
    for (int i = 0; verdict->field != NULL && i < PORT_EVENT_FIELD_COUNT; i++) {
        if (strcmp(verdict->field, port_event_fields[i]) == 0) {
            columns->field[row] = (int8_t)i;
        }
    }
    columns->event_type[row] = columns->unit_type[row] = columns->direction[row] = 0;
    columns->purpose[row] = columns->is_retracted[row] = columns->version_field[row] = 0;
    columns->looked[row] = columns->seal_count[row] = columns->declaration_count[row] = 0;
    columns->event_time_us[row] = columns->version_us[row] = 0;
    columns->pieces[row] = columns->weight_grams[row] = 0;
    memset(columns->event_id + row * EVENT_CODE_BYTES, 0, EVENT_CODE_BYTES);
    memset(columns->operator_id + row * EVENT_CODE_BYTES, 0, EVENT_CODE_BYTES);
    memset(columns->location_code + row * EVENT_CODE_BYTES, 0, EVENT_CODE_BYTES);
    memset(columns->unit + row * EVENT_UNIT_BYTES, 0, EVENT_UNIT_BYTES);
}

static inline void event_columns_write(const event_columns *columns, int64_t row,
                                       const port_event *event)
{
    columns->reason[row] = REJECT_NONE;
    columns->field[row] = -1;
    columns->event_type[row] = event->event_type;
    columns->unit_type[row] = event->unit_type;
    columns->direction[row] = event->direction;
    columns->purpose[row] = event->purpose;
    columns->is_retracted[row] = event->is_retracted;
    columns->version_field[row] = event->version_field;
    columns->looked[row] = event->seals.looked;
    columns->seal_count[row] = (uint8_t)event->seals.count;
    columns->declaration_count[row] = (uint8_t)event->presented_count;
    columns->event_time_us[row] = event->event_time_us;
    columns->version_us[row] = event->version_us;
    columns->pieces[row] = event->has_pieces ? (int64_t)event->pieces : -1;
    columns->weight_grams[row] = event->has_weight ? event->weight_grams : -1;
    event_code_write(columns->event_id, row, event->event_id);
    event_code_write(columns->operator_id, row, event->operator_id);
    event_code_write(columns->location_code, row, event->location_code);
    uint8_t *unit = columns->unit + row * EVENT_UNIT_BYTES;
    memset(unit, 0, EVENT_UNIT_BYTES);
    memcpy(unit, event->unit.name, event->unit.length);
}

/*
 * Scans events `start` up to `end`, at most EVENT_GROUP of them, into their rows. With an index,
 * `keys` and `lengths` receive what event_columns_find needs. Returns 1, or -1 if memory is
 * exhausted.
 */
static inline int event_columns_scan(record_scanner *scanner, const event_values *values,
                                     int64_t start, int64_t end, const event_columns *columns,
                                     const unit_index *index, unit_key *keys, uint8_t *lengths)
{
    for (int64_t i = start; i < end; i++) {
        port_event event;
        scan_verdict verdict;
        const int good =
            values->records != NULL
                ? scan_port_event(scanner, values->records[i].value,
                                  values->records[i].value_length, &event, &verdict)
                : scan_port_event(scanner, values->bytes + values->offsets[i],
                                  (int32_t)(values->offsets[i + 1] - values->offsets[i]), &event,
                                  &verdict);
        if (good < 0) {
            return -1;
        }
        if (good == 0) {
            event_columns_refuse(columns, i, &verdict);
        } else {
            event_columns_write(columns, i, &event);
        }
        if (index != NULL) {
            keys[i - start].bits = UNIT_KEY_INVALID;
            lengths[i - start] = 0;
            if (good) {
                lengths[i - start] = event.unit.length;
                keys[i - start] = unit_index_key(index, event.unit.name, event.unit.length,
                                                 event.unit_type != UNIT_CONTAINER);
            }
        }
    }
    return 1;
}

/* Finds the units of such a group: -1 where the index has none, -2 for a refused event. */
static inline void event_columns_find(const unit_index *index, int64_t start, int64_t end,
                                      const event_columns *columns, const unit_key *keys,
                                      const uint8_t *lengths)
{
    unit_index_touch(index, keys, end - start);
    unit_index_touch_names(index, keys, end - start);
    for (int64_t i = start; i < end; i++) {
        const unit_key key = keys[i - start];
        columns->row[i] =
            key.bits == UNIT_KEY_INVALID
                ? -2
                : (int32_t)unit_index_find(index, key, columns->unit + i * EVENT_UNIT_BYTES,
                                           lengths[i - start]);
    }
}

#endif
