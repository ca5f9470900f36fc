/* The changelog of unit states: what changed, as records, and records back into state.
 *
 * What it is: for each partition the units whose state changed since they were last taken, each
 * once however often it changed; and the way back: records of the log, in order, put units in
 * place, each whole or not at all, and what is derived from units (volumes, stock, timers) with
 * them.
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

/* Looks at a whole record without touching the state, and reads it if it is a unit's; NULL, or why
 * it can't be taken. */
static const char *unit_log_read(engine *engine_, uint32_t partition, const record_view *record)
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
    return wrong ? wrong : unit_state_read(&reader, unit_log_class(record), &engine_->log_unit);
}

/* The rows of the names of the unit that was read, into `log_rows`. */
static void unit_log_rows(engine *engine_)
{
    const state_unit *read = &engine_->log_unit;
    uint64_t count = (uint64_t)read->operator_count + read->location_count;
    engine_->log_rows =
        (uint32_t *)memory_grow(engine_->log_rows, &engine_->log_row_capacity, count,
                                sizeof *engine_->log_rows, "names");
    for (uint64_t i = 0; i < count; i++)
        engine_->log_rows[i] = i < read->operator_count
                                   ? operator_row_for(&engine_->customs, read->names[i])
                                   : location_row(&engine_->customs, read->names[i]);
}

static void raised_from_state(engine *engine_, unit *unit_, const state_raised *read)
{
    const uint32_t *locations = engine_->log_rows + engine_->log_unit.operator_count;
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

/* Forgets a unit whose state is null. */
static void unit_restore_null(engine *engine_, unit_key key, const unit_name *name)
{
    uint32_t row = unit_index_find(&engine_->units.index, key, name->name, name->length);
    if (row == UINT32_MAX)
        return;
    unit_take_back(engine_, row);
    unit_table_release_if_empty(&engine_->units, row);
}

/* Puts the state that was read in place of what was known of a unit. */
static void unit_restore(engine *engine_, uint32_t partition, unit_key key, const unit_name *name,
                         uint8_t class_)
{
    partition_state *state = &engine_->partitions[partition];
    const state_unit *read = &engine_->log_unit;
    uint32_t row = unit_table_put(&engine_->units, key, name, class_);
    unit *unit_ = &engine_->units.rows[row];
    if (unit_->event_count)
        unit_take_back(engine_, row);
    unit_belongs(engine_, unit_, partition);
    unit_->changed_in = state->takes;

    unit_log_rows(engine_);
    const uint32_t *operators = engine_->log_rows;
    const uint32_t *locations = operators + read->operator_count;
    unit_events_make_array(&engine_->arena_, unit_, read->event_count);
    uint32_t *handles = unit_events_array(&engine_->arena_, unit_);
    for (uint32_t i = 0; i < read->event_count; i++) {
        const state_event *read_event = &read->events[i];
        handles[i] = event_from_state(&engine_->arena_, read_event,
                                      operators[read_event->operator_place],
                                      locations[read_event->location_place]);
        const event *event_ = event_at(&engine_->arena_, handles[i]);
        unit_->check_count += !event_->is_retracted && event_->event_type == EVENT_GATE_CHECK;
        volumes_count(&state->volumes, event_, 1);
        activity_note(&state->activity, event_->operator_row, event_->record_time_ms);
        due_watch(engine_, state, row, event_);
    }
    unit_->event_count = read->event_count;
    unit_events_make_index(&engine_->customs, &engine_->arena_, unit_);
    for (uint32_t i = 0; i < read->location_count; i++)
        stock_ledger_count(&state->stock, &engine_->arena_, unit_, locations[i], 1);
    for (uint32_t i = 0; i < read->raised_count; i++)
        raised_from_state(engine_, unit_, &read->raised[i]);
    if (unit_->in_transit)
        transit_watch(engine_, state, row);
}

/* The keys of the next few records' units, UNIT_KEY_INVALID for what can be none, and their index
 * lines and names into the cache. */
static void unit_restore_look_ahead(const engine *engine_, const record_view *records,
                                    uint64_t count, unit_key keys[LOOK_AHEAD])
{
    const unit_index *index = &engine_->units.index;
    for (uint64_t i = 0; i < count; i++) {
        const record_view *record = &records[i];
        keys[i].bits = UNIT_KEY_INVALID;
        if (record->key_length > 1 && record->key_length <= LOG_KEY_BYTES &&
            (record->key[0] == LOG_CONTAINER || record->key[0] == LOG_LOT))
            keys[i] = unit_index_key(index, record->key + 1, (uint32_t)record->key_length - 1,
                                     record->key[0] == LOG_LOT);
    }
    unit_index_touch(index, keys, (int64_t)count);
    unit_index_touch_names(index, keys, (int64_t)count);
}

/* Takes a run of records: NULL, or what is wrong with `*failed`; then those before it have been
 * applied, and of itself nothing. Units come back silently; nothing of the partition is weighed
 * until it is taken over. `*units` is increased by the states that were put in place. */
static const char *unit_log_restore(engine *engine_, uint32_t partition,
                                    const record_view *records, uint64_t count,
                                    const record_view **failed, uint64_t *units)
{
    unit_key keys[LOOK_AHEAD];
    engine_->partitions[partition].restoring = 1;
    for (uint64_t i = 0; i < count; i++) {
        const record_view *record = &records[i];
        const uint64_t ahead = i % LOOK_AHEAD, left = count - i;
        if (!ahead)
            unit_restore_look_ahead(engine_, record, left < LOOK_AHEAD ? left : LOOK_AHEAD, keys);
        const char *wrong = unit_log_read(engine_, partition, record);
        if (wrong) {
            *failed = record;
            return wrong;
        }
        unit_name name;
        switch (record->key[0]) {
        case LOG_VOLUME:
            retired_cell_restore(engine_, partition, record);
            break;
        case LOG_RETIREMENT:
            retirement_restore(engine_, partition, record);
            break;
        case LOG_PARTITION:
            break;
        default:
            name = unit_log_name(record);
            if (record->value_length < 0) {
                unit_restore_null(engine_, keys[ahead], &name);
                break;
            }
            unit_restore(engine_, partition, keys[ahead], &name, unit_log_class(record));
            ++*units;
        }
    }
    return NULL;
}

#endif
