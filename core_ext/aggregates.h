/* The cells of volumes and stock that changed, and who has spoken, as records of compacted topics.
 *
 * What it is: one record per changed cell, keyed by the cell and its partition, so that a reader
 * who keeps the last value of each key and adds up has the nation, without a scan of events.
 * Who calls it: matcher.pyx, when the worker publishes.
 * What it must never know: how often that is.
 */
#ifndef GATEJOIN_AGGREGATES_H
#define GATEJOIN_AGGREGATES_H

#include "engine_state.h"

#define CELL_BYTES (4 * JSON_TEXT_BYTES(64) + 1024)
#define CELL_KEY_BYTES (3 * 64 + 96)

/* `name/.../partition`: the name escaped as a part of an ID, the rest plain. */
static int32_t cell_key(uint8_t *key, const interned_text *name, int32_t day, uint8_t direction,
                        uint8_t unit_type, int day_first, uint32_t partition)
{
    uint8_t *place = id_part(key, name->bytes, name->length);
    *place++ = '/';
    if (day_first) {
        date_format(day, place);
        place += DATE_TEXT;
        *place++ = '/';
    }
    place = json_bytes(place, direction_names[direction], strlen(direction_names[direction]));
    *place++ = '/';
    place = json_bytes(place, unit_type_names[unit_type], strlen(unit_type_names[unit_type]));
    *place++ = '/';
    if (!day_first) {
        date_format(day, place);
        place += DATE_TEXT;
        *place++ = '/';
    }
    return (int32_t)(json_unsigned(place, partition) - key);
}

static uint8_t *json_member_integer(uint8_t *place, const char *name, int64_t value)
{
    *place++ = ',';
    place = json_name(place, name);
    *place++ = ':';
    return json_integer(place, value);
}

static uint8_t *json_day(uint8_t *place, int32_t day)
{
    *place++ = '"';
    date_format(day, place);
    place += DATE_TEXT;
    *place++ = '"';
    return place;
}

static uint8_t *json_direction_and_type(uint8_t *place, uint8_t direction, uint8_t unit_type)
{
    JSON_LITERAL(place, ",\"direction\":");
    place = json_name(place, direction_names[direction]);
    JSON_LITERAL(place, ",\"unitType\":");
    return json_name(place, unit_type_names[unit_type]);
}

/* A cell that has become empty is a tombstone: its value is null. */
static void output_close_cell(record_output *output, uint8_t *value_end, const uint8_t *key,
                              int32_t key_length, uint32_t partition, int64_t timestamp_ms,
                              int empty)
{
    output_close(output, empty ? output->bytes + output->bytes_size : value_end, key, key_length,
                 (int32_t)partition, timestamp_ms);
    if (empty)
        output->records[output->records_size - 1].value_length = -1;
}

static void volume_cells_write(engine *engine_, uint32_t partition, int64_t timestamp_ms)
{
    volume_table *volumes = &engine_->partitions[partition].volumes;
    record_output *output = &engine_->volume_cells;
    for (uint64_t i = 0; i < volumes->changed_count; i++) {
        volume_cell *cell = &volumes->cells[volumes->changed[i]];
        const interned_text *name = operator_name(&engine_->customs, cell->operator_row);
        uint8_t key[CELL_KEY_BYTES];
        int32_t key_length = cell_key(key, name, cell->day, cell->direction, cell->unit_type, 1,
                                      partition);
        cell->changed = 0;
        uint8_t *place = output_room(output, CELL_BYTES);
        JSON_LITERAL(place, "{\"operatorID\":");
        place = json_interned(place, name);
        JSON_LITERAL(place, ",\"day\":");
        place = json_day(place, cell->day);
        place = json_direction_and_type(place, cell->direction, cell->unit_type);
        place = json_member_integer(place, "partition", partition);
        place = json_member_integer(place, "movementsIn", cell->movements[0]);
        place = json_member_integer(place, "piecesIn", cell->pieces[0]);
        place = json_member_integer(place, "gramsIn", cell->grams[0]);
        place = json_member_integer(place, "movementsOut", cell->movements[1]);
        place = json_member_integer(place, "piecesOut", cell->pieces[1]);
        place = json_member_integer(place, "gramsOut", cell->grams[1]);
        *place++ = '}';
        output_close_cell(output, place, key, key_length, partition, timestamp_ms,
                          !cell->movements[0] && !cell->movements[1]);
    }
    volumes->changed_count = 0;
}

static void stock_cells_write(engine *engine_, uint32_t partition, int64_t timestamp_ms)
{
    stock_ledger *ledger = &engine_->partitions[partition].stock;
    record_output *output = &engine_->stock_cells;
    for (uint64_t i = 0; i < ledger->changed_count; i++) {
        ledger_cell *cell = &ledger->cells[ledger->changed[i]];
        const interned_text *name = location_name(&engine_->customs, cell->location);
        uint8_t key[CELL_KEY_BYTES];
        int32_t key_length = cell_key(key, name, cell->start_day, cell->direction,
                                      cell->unit_type, 0, partition);
        cell->changed = 0;
        uint8_t *place = output_room(output, CELL_BYTES);
        JSON_LITERAL(place, "{\"locationCode\":");
        place = json_interned(place, name);
        place = json_direction_and_type(place, cell->direction, cell->unit_type);
        JSON_LITERAL(place, ",\"startDay\":");
        place = json_day(place, cell->start_day);
        place = json_member_integer(place, "partition", partition);
        place = json_member_integer(place, "units", cell->units);
        place = json_member_integer(place, "pieces", cell->pieces);
        place = json_member_integer(place, "grams", cell->grams);
        *place++ = '}';
        output_close_cell(output, place, key, key_length, partition, timestamp_ms, !cell->units);
    }
    ledger->changed_count = 0;
}

static void activity_cells_write(engine *engine_, uint32_t partition, int64_t timestamp_ms)
{
    activity_table *activity = &engine_->partitions[partition].activity;
    record_output *output = &engine_->activity_cells;
    for (uint64_t i = 0; i < activity->changed_count; i++) {
        operator_activity *row = &activity->rows[activity->changed[i]];
        const interned_text *name = operator_name(&engine_->customs, activity->changed[i]);
        uint8_t key[CELL_KEY_BYTES];
        uint8_t *key_end = id_part(key, name->bytes, name->length);
        *key_end++ = '/';
        key_end = json_unsigned(key_end, partition);
        row->changed = 0;
        uint8_t *place = output_room(output, CELL_BYTES);
        JSON_LITERAL(place, "{\"operatorID\":");
        place = json_interned(place, name);
        place = json_member_integer(place, "partition", partition);
        place = json_member_integer(place, "timestamp", row->latest_ms);
        *place++ = '}';
        output_close_cell(output, place, key, (int32_t)(key_end - key), partition, timestamp_ms, 0);
    }
    activity->changed_count = 0;
}

#endif
