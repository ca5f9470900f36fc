/* The changelog of unit states: what changed, as records, and records back into state.
 *
 * What it is: for each partition the units whose state changed since they were last taken, each
 * once however often it changed; and the way back: records of the log, in order, put units in
 * place, whole or not at all, and what is derived from units (volumes, stock, timers) with them.
 * Who calls it: matcher.pyx takes and restores, engine.h drops.
 * What it must never know: topics and offsets, when a commit is due, how the records travel.
 *
 * A record's key is a byte for its kind and a name:
 *
 *   C name   a container       value: its state (unit_state.h), or null once it is forgotten
 *   L name   a lot             the same
 *   V, R     what forgotten units moved (retention.h)
 *   P        the partition's own record, the caller's affair: passed over here
 */
#ifndef GATEJOIN_UNIT_LOG_H
#define GATEJOIN_UNIT_LOG_H

#include "clock_alerts.h"
#include "look_ahead.h"
#include "retention.h"
#include "unit_forget.h"
#include "unit_state.h"

/* ---- taking ---------------------------------------------------------------------------------- */

static int32_t unit_log_key(const engine *engine_, uint32_t row, uint8_t key[LOG_KEY_BYTES])
{
    unit_name name;
    unit_table_name(&engine_->units, row, &name);
    key[0] = unit_at(engine_, row)->class_ == CLASS_CONTAINER ? LOG_CONTAINER : LOG_LOT;
    memcpy(key + 1, name.name, name.length);
    return 1 + (int32_t)name.length;
}

/* A row may have gone to another unit since it was listed. */
static inline int unit_log_is_due(const engine *engine_, uint32_t partition, uint32_t row)
{
    const unit *unit_ = unit_at(engine_, row);
    return unit_->changed && unit_->partition == partition && unit_->event_count &&
           unit_index_row_is_used(&engine_->units.index, row);
}

/* Brings the next few units into the cache, step by step (look_ahead.h says why). */
static void unit_log_look_ahead(const engine *engine_, const uint32_t *rows, uint64_t count)
{
    const unit *units[LOOK_AHEAD];
    for (uint64_t i = 0; i < count; i++) {
        units[i] = unit_at(engine_, rows[i]);
        LOOK_AT(units[i]);
    }
    for (uint64_t i = 0; i < count; i++)
        if (units[i]->event_count)
            LOOK_AT(unit_events_array(&engine_->arena_, units[i]));
    for (uint64_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < units[i]->event_count && j < 4; j++)
            LOOK_AT(event_at(&engine_->arena_,
                             unit_events_array(&engine_->arena_, units[i])[j]));
}

/* Writes what the log does not have yet of a partition: what was forgotten, then the units that
 * changed since they were last written, until all are written that had changed when the taking
 * began, or `bytes_max` (0: no limit) are passed; then the next call goes on with it. What changes
 * meanwhile waits for the next taking: with events coming all the time there would be no end. */
static void unit_changes_write(engine *engine_, uint32_t partition, int64_t timestamp_ms,
                               uint64_t bytes_max)
{
    partition_state *state = &engine_->partitions[partition];
    unit_rows *changed = &state->changed_units;
    record_output *output = &engine_->unit_changes;
    if (!state->take_end)
        state->take_end = changed->size;
    retirements_write(engine_, partition, timestamp_ms);
    while (state->taken < state->take_end && (!bytes_max || output->bytes_size < bytes_max)) {
        uint64_t left = state->take_end - state->taken;
        uint64_t count = left < LOOK_AHEAD ? left : LOOK_AHEAD;
        const uint32_t *rows = changed->rows + state->taken;
        unit_log_look_ahead(engine_, rows, count);
        for (uint64_t i = 0; i < count; i++) {
            if (!unit_log_is_due(engine_, partition, rows[i]))
                continue;
            unit *unit_ = &engine_->units.rows[rows[i]];
            uint8_t key[LOG_KEY_BYTES];
            int32_t key_length = unit_log_key(engine_, rows[i], key);
            unit_->changed = 0;
            uint8_t *end = unit_state_write(output, &engine_->customs, &engine_->arena_, unit_,
                                            &engine_->log_operators, &engine_->log_locations);
            output_close(output, end, key, key_length, (int32_t)partition, timestamp_ms);
        }
        state->taken += count;
    }
    if (state->taken < state->take_end)
        return;
    changed->size -= state->taken;
    if (changed->size) /* an empty list may have no rows to point to */
        memmove(changed->rows, changed->rows + state->taken,
                changed->size * sizeof *changed->rows);
    state->taken = state->take_end = 0;
    state->takes++;
}

/* ---- restoring ------------------------------------------------------------------------------- */

static inline uint8_t unit_log_class(const record_view *record)
{
    return record->key[0] == LOG_CONTAINER ? CLASS_CONTAINER : CLASS_LOT;
}

/* The name in a key that is short enough. */
static inline unit_name unit_log_name(const record_view *record)
{
    unit_name name = {.length = (uint8_t)(record->key_length - 1)};
    memcpy(name.name, record->key + 1, name.length);
    return name;
}

/* Walks a whole record without touching the state; NULL, or why it can't be taken. */
static const char *unit_log_check(engine *engine_, uint32_t partition, const record_view *record)
{
    if (record->key_length < 1)
        return "it has no key";
    if (record->key[0] == LOG_PARTITION)
        return NULL;
    if (record->key[0] == LOG_VOLUME)
        return retired_cell_check(record);
    if (record->key[0] == LOG_RETIREMENT)
        return retirement_record_check(engine_, partition, record);
    if (record->key[0] != LOG_CONTAINER && record->key[0] != LOG_LOT)
        return "a kind of record that this release does not know";
    if (!is_unit_name(record->key + 1, record->key_length - 1))
        return "its key is no name of a unit";
    unit_name name = unit_log_name(record);
    if (unit_partition(engine_, &name) != partition)
        return "its unit belongs to another partition";
    if (record->value_length < 0)
        return NULL;
    state_reader reader;
    const char *wrong = state_open(record, &reader);
    return wrong ? wrong
                 : unit_state_check(&reader, unit_log_class(record), &engine_->log_texts);
}

/* The rows of the names of the record being read, into `rows`: operators, then locations. */
static void unit_log_rows(engine *engine_, state_reader *reader)
{
    state_texts *names = &engine_->log_texts;
    state_read_names(reader, names);
    uint64_t count = (uint64_t)names->operator_count + names->location_count;
    engine_->log_rows =
        (uint32_t *)memory_grow(engine_->log_rows, &engine_->log_row_capacity, count,
                                sizeof *engine_->log_rows, "names");
    for (uint64_t i = 0; i < count; i++)
        engine_->log_rows[i] = i < names->operator_count
                                   ? operator_row_for(&engine_->customs, names->texts[i])
                                   : location_row(&engine_->customs, names->texts[i]);
}

static void raised_from_state(engine *engine_, unit *unit_, const state_raised *read)
{
    const uint32_t *locations = engine_->log_rows + engine_->log_texts.operator_count;
    uint32_t bytes = (uint32_t)sizeof(raised_alert) + read->event_id.length;
    uint32_t handle = arena_allocate(&engine_->arena_, bytes);
    raised_alert *raised = (raised_alert *)arena_at(&engine_->arena_, handle);
    *raised = (raised_alert){.next = unit_->raised,
                             .block_bytes = bytes,
                             .number = read->number,
                             .type = read->type,
                             .location = read->location_place
                                             ? locations[read->location_place - 1]
                                             : 0,
                             .operator_row = engine_->log_rows[read->operator_place],
                             .event_id_length = read->event_id.length};
    memcpy(raised->event_id, read->event_id.bytes, read->event_id.length);
    unit_->raised = handle;
}

/* Puts the state of a unit in place of what was known of it. The record was checked. */
static void unit_restore(engine *engine_, uint32_t partition, const record_view *record)
{
    partition_state *state = &engine_->partitions[partition];
    unit_name name = unit_log_name(record);
    uint8_t class_ = unit_log_class(record);
    if (record->value_length < 0) {
        uint32_t row = unit_table_find(&engine_->units, &name, class_);
        if (row != UINT32_MAX) {
            unit_take_back(engine_, row);
            unit_table_release_if_empty(&engine_->units, row);
        }
        return;
    }
    uint32_t row = unit_table_find_or_add(&engine_->units, &name, class_);
    unit *unit_ = &engine_->units.rows[row];
    if (unit_->event_count)
        unit_take_back(engine_, row);
    unit_->partition = (uint16_t)partition;
    unit_->changed_in = state->takes;

    state_reader reader = state_payload(record);
    unit_log_rows(engine_, &reader);
    const state_texts *names = &engine_->log_texts;
    const uint32_t *rows = engine_->log_rows;
    uint32_t count = state_count(&reader, 1);
    unit_events_make_array(&engine_->arena_, unit_, count);
    uint32_t *handles = unit_events_array(&engine_->arena_, unit_);
    state_event read; /* each reading sets what its bits tell of; all of it is near a kilobyte */
    int64_t previous_us = 0;
    for (uint32_t i = 0; i < count; i++) {
        state_read_event(&reader, names, previous_us, &read);
        previous_us = read.time_us;
        handles[i] = event_from_state(&engine_->arena_, &read, rows[read.operator_place],
                                      rows[names->operator_count + read.location_place]);
        const event *event_ = event_at(&engine_->arena_, handles[i]);
        unit_->check_count += !event_->is_retracted && event_->event_type == EVENT_GATE_CHECK;
        volumes_count(&state->volumes, event_, 1);
        activity_note(&state->activity, event_->operator_row, event_->record_time_ms);
        due_watch(engine_, state, row, event_);
    }
    unit_->event_count = count;
    unit_events_make_index(&engine_->customs, &engine_->arena_, unit_);
    for (uint32_t i = 0; i < names->location_count; i++)
        stock_ledger_count(&state->stock, &engine_->arena_, unit_, rows[names->operator_count + i],
                           1);
    uint32_t raised_count = state_count(&reader, 1);
    for (uint32_t i = 0; i < raised_count; i++) {
        state_raised raised;
        state_read_raised(&reader, names, &raised);
        raised_from_state(engine_, unit_, &raised);
    }
    if (unit_->in_transit)
        transit_watch(engine_, state, row);
}

/* Brings the index lines of the next few records' units into the cache. */
static void unit_restore_look_ahead(const engine *engine_, const record_view *records,
                                    uint64_t count)
{
    unit_key keys[LOOK_AHEAD];
    for (uint64_t i = 0; i < count; i++) {
        const record_view *record = &records[i];
        keys[i].bits = UNIT_KEY_INVALID;
        if (record->key[0] == LOG_CONTAINER || record->key[0] == LOG_LOT)
            keys[i] = unit_index_key(&engine_->units.index, record->key + 1,
                                     (uint32_t)record->key_length - 1,
                                     record->key[0] == LOG_LOT);
    }
    unit_index_touch(&engine_->units.index, keys, (int64_t)count);
}

/* Takes a run of records: NULL after all of them have been applied, or what is wrong with
 * `*failed`, and then none has. Units come back silently; nothing of the partition is weighed until
 * it is taken over. `*units` is increased by the states that were put in place. */
static const char *unit_log_restore(engine *engine_, uint32_t partition,
                                    const record_view *records, uint64_t count,
                                    const record_view **failed, uint64_t *units)
{
    for (uint64_t i = 0; i < count; i++) {
        const char *wrong = unit_log_check(engine_, partition, &records[i]);
        if (wrong) {
            *failed = &records[i];
            return wrong;
        }
    }
    engine_->partitions[partition].restoring = 1;
    for (uint64_t begin = 0; begin < count; begin += LOOK_AHEAD) {
        uint64_t size = count - begin < LOOK_AHEAD ? count - begin : LOOK_AHEAD;
        unit_restore_look_ahead(engine_, records + begin, size);
        for (uint64_t i = begin; i < begin + size; i++) {
            switch (records[i].key[0]) {
            case LOG_VOLUME:
                retired_cell_restore(engine_, partition, &records[i]);
                break;
            case LOG_RETIREMENT:
                retirement_restore(engine_, partition, &records[i]);
                break;
            case LOG_PARTITION:
                break;
            default:
                unit_restore(engine_, partition, &records[i]);
                *units += records[i].value_length >= 0;
            }
        }
    }
    return NULL;
}

#endif
