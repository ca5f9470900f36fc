/* Forgetting units whose visits have ended long ago, without losing what they moved.
 *
 * What it is: the test of what may be forgotten; what forgotten units moved, kept in volume cells
 * of their own (`retired`), so that volumes stay exact; and the records that tell the changelog.
 * Who calls it: matcher.pyx asks for it now and then, unit_log.h writes and reads its records.
 * What it must never know: how long is long.
 *
 * A unit is forgotten by several records: its own null value, and the cells that it is folded into.
 * A crash between them would lose or double what it moved. So one record, a retirement, comes
 * first and says all of it at once: which units went and what they moved. Whoever reads it drops
 * these units and adds what they moved to the cells. Behind it come the cells with their new sums,
 * the units' null values, and last the null value of the retirement itself, which by then says
 * nothing new. Wherever the log ends, what is read is exact:
 *
 *   | retirement | cell, cell, ... | null for each unit | null for the retirement |
 *
 * A worker that finds a retirement without its null value writes what follows it again.
 *
 *   V direction u8, unit type u8, day u32, operatorID   a cell; value: what units forgotten in all
 *       moved: in and out, each movements, pieces, grams, as numbers (unit_state.h)
 *   R number u64, big-endian                            a retirement; value:
 *       (kind of key u8, name text)*                    the units
 *       (operatorID text, day signed, direction u8, unit type u8, six numbers as above)*
 */
#ifndef GATEJOIN_RETENTION_H
#define GATEJOIN_RETENTION_H

#include "decisions.h"
#include "unit_forget.h"
#include "unit_state.h"

/* Bounds of one retirement, each passed by one unit at most: rows looked at, units forgotten,
 * events looked at, cells told of. */
#define RETIRE_ROWS_MAX 16384
#define RETIRE_UNITS_MAX 512
#define RETIRE_EVENTS_MAX 65536
#define RETIRE_CELLS_MAX 2048
/* So many wait for the log at most; until they are taken nothing more is forgotten. */
#define RETIREMENTS_MAX 16

#define VOLUME_KEY_BYTES (7 + STATE_TEXT_MAX)
#define RETIREMENT_KEY_BYTES 9

/* ---- what may go ----------------------------------------------------------------------------- */

/* No visit that has not ended, no open check, nothing of customs' side, nothing that is still to be
 * logged, and no word since `before_us`. */
static int unit_is_over(engine *engine_, const unit *unit_, int64_t before_us,
                        uint32_t unchanged_takes)
{
    uint32_t takes = engine_->partitions[unit_->partition].takes;
    if (unit_->changed || takes - unit_->changed_in < unchanged_takes || unit_->touched ||
        unit_->lines || unit_->holds)
        return 0;
    event_view view = unit_events_view(&engine_->arena_, unit_, NULL);
    for (uint32_t i = 0; i < view.count; i++) {
        const event *event_ = event_at(view.arena_, view.handles[i]);
        if (event_->record_time_ms * 1000 >= before_us || event_->time_us >= before_us)
            return 0;
        if (!event_->is_retracted && event_->event_type == EVENT_GATE_CHECK && !event_->check)
            return 0;
    }
    if (unit_open_checks(engine_, unit_)->count)
        return 0;
    state_names *places = &engine_->log_locations;
    unit_movement_locations(&view, places);
    int is_over = 1;
    for (uint64_t i = 0; i < places->count && is_over; i++)
        is_over = !in_stock_at(&view, places->rows[i], FOR_EVER);
    state_names_clear(places);
    return is_over;
}

/* ---- records --------------------------------------------------------------------------------- */

static uint8_t *put_volumes(uint8_t *place, const volume_cell *cell)
{
    for (int out = 0; out < 2; out++) {
        place = state_put_signed(place, cell->movements[out]);
        place = state_put_signed(place, cell->pieces[out]);
        place = state_put_signed(place, cell->grams[out]);
    }
    return place;
}

static void read_volumes(state_reader *reader, volume_cell *cell)
{
    for (int out = 0; out < 2; out++) {
        cell->movements[out] = state_signed(reader);
        cell->pieces[out] = state_signed(reader);
        cell->grams[out] = state_signed(reader);
        /* No day has moved a thousand million tonnes; sums of such stay far within 64 bits. */
        int64_t most = INT64_C(1) << 50;
        if (cell->movements[out] > most || cell->movements[out] < -most ||
            cell->pieces[out] > most || cell->pieces[out] < -most || cell->grams[out] > most ||
            cell->grams[out] < -most)
            reader->wrong = 1;
    }
}

static int32_t volume_key(uint8_t key[VOLUME_KEY_BYTES], const customs_tables *customs,
                          const volume_cell *cell)
{
    const interned_text *name = operator_name(customs, cell->operator_row);
    key[0] = LOG_VOLUME;
    key[1] = cell->direction;
    key[2] = cell->unit_type;
    for (int i = 0; i < 4; i++)
        key[3 + i] = (uint8_t)((uint32_t)cell->day >> 8 * (3 - i));
    memcpy(key + 7, name->bytes, name->length);
    return 7 + (int32_t)name->length;
}

/* Days from 1970-01-01 that a cell can be of. */
static inline int is_volume_day(int64_t day)
{
    return day >= -2 && day < 1 << 17;
}

/* The cell that a key names, empty, and its operator. The key is long enough. */
static inline volume_cell volume_key_read(const record_view *record, text *operator_id)
{
    uint32_t day = 0;
    for (int i = 0; i < 4; i++)
        day = day << 8 | record->key[3 + i];
    *operator_id = (text){record->key + 7, (uint32_t)record->key_length - 7};
    return (volume_cell){.day = (int32_t)day,
                         .direction = record->key[1],
                         .unit_type = record->key[2]};
}

static int32_t retirement_key(uint8_t key[RETIREMENT_KEY_BYTES], uint64_t number)
{
    key[0] = LOG_RETIREMENT;
    for (int i = 0; i < 8; i++)
        key[1 + i] = (uint8_t)(number >> 8 * (7 - i));
    return RETIREMENT_KEY_BYTES;
}

static uint64_t retirement_key_number(const record_view *record)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | record->key[1 + i];
    return number;
}

/* A unit of a retirement as read. */
typedef struct {
    unit_name name;
    uint8_t class_;
} retired_unit;

static void read_retired_unit(state_reader *reader, retired_unit *read)
{
    uint8_t kind = state_byte(reader);
    text name = state_text(reader, 1);
    if ((kind != LOG_CONTAINER && kind != LOG_LOT) || reader->wrong ||
        !is_unit_name(name.bytes, (int32_t)name.length)) {
        reader->wrong = 1;
        return;
    }
    read->class_ = kind == LOG_CONTAINER ? CLASS_CONTAINER : CLASS_LOT;
    read->name = (unit_name){.length = (uint8_t)name.length};
    memcpy(read->name.name, name.bytes, name.length);
}

static void read_retired_cell(state_reader *reader, volume_cell *cell, text *operator_id)
{
    *operator_id = state_text(reader, 1);
    int64_t day = state_signed(reader);
    uint8_t direction = state_byte(reader), unit_type = state_byte(reader);
    if (!is_volume_day(day) || direction >= DIRECTION_COUNT || unit_type >= UNIT_TYPE_COUNT)
        reader->wrong = 1;
    *cell = (volume_cell){.day = (int32_t)day, .direction = direction, .unit_type = unit_type};
    read_volumes(reader, cell);
}

/* Walks a whole retirement; NULL, or what is wrong with it. */
static const char *retirement_check(const engine *engine_, uint32_t partition,
                                    state_reader *reader)
{
    uint32_t units = state_count(reader, 3);
    for (uint32_t i = 0; i < units && !reader->wrong; i++) {
        retired_unit read;
        read_retired_unit(reader, &read);
        if (!reader->wrong && unit_partition(engine_, &read.name) != partition)
            return "a unit of it belongs to another partition";
    }
    uint32_t cells = state_count(reader, 11);
    for (uint32_t i = 0; i < cells && !reader->wrong; i++) {
        volume_cell cell;
        text operator_id;
        read_retired_cell(reader, &cell, &operator_id);
    }
    return reader->wrong || reader->at != reader->end ? "it is damaged" : NULL;
}

static const char *retirement_record_check(const engine *engine_, uint32_t partition,
                                           const record_view *record)
{
    state_reader reader;
    if (record->key_length != RETIREMENT_KEY_BYTES)
        return "its key is no number of a retirement";
    if (record->value_length < 0)
        return NULL;
    const char *wrong = state_open(record, &reader);
    return wrong ? wrong : retirement_check(engine_, partition, &reader);
}

static const char *retired_cell_check(const record_view *record)
{
    if (record->key_length <= 7 || record->key_length > VOLUME_KEY_BYTES)
        return "its key is no cell of volumes";
    text operator_id;
    volume_cell cell = volume_key_read(record, &operator_id);
    if (!is_volume_day(cell.day) || cell.direction >= DIRECTION_COUNT ||
        cell.unit_type >= UNIT_TYPE_COUNT)
        return "its key is no cell of volumes";
    if (record->value_length < 0)
        return NULL;
    state_reader reader;
    const char *wrong = state_open(record, &reader);
    if (wrong)
        return wrong;
    read_volumes(&reader, &cell);
    return reader.wrong || reader.at != reader.end ? "it is damaged" : NULL;
}

/* ---- forgetting ------------------------------------------------------------------------------ */

static void retirement_add(partition_state *state, retirement added)
{
    state->retirements = (retirement *)memory_grow(
        state->retirements, &state->retirement_capacity, state->retirement_count + 1,
        sizeof *state->retirements, "retirements");
    state->retirements[state->retirement_count++] = added;
    if (added.number > state->retirement_number)
        state->retirement_number = added.number;
}

static void retirements_drop(partition_state *state)
{
    for (uint64_t i = 0; i < state->retirement_count; i++)
        free(state->retirements[i].value);
    state->retirement_count = 0;
}

/* Forgets units of a partition whose last event and last record are before `before_us`, that
 * nothing hangs on, and whose state has not changed for so many takes (engine_state.h). Each call
 * looks at a piece of the table and goes on where the last one ended; returns how many it forgot.
 */
static uint32_t retire(engine *engine_, uint32_t partition, int64_t before_us,
                       uint32_t unchanged_takes)
{
    partition_state *state = &engine_->partitions[partition];
    if (state->restoring || state->retirement_count >= RETIREMENTS_MAX)
        return 0;
    uint8_t names[RETIRE_UNITS_MAX * (2 + UNIT_NAME_MAX)], *names_end = names;
    volume_table folded = {.count = 0};
    uint32_t units = 0, limit = unit_index_row_limit(&engine_->units.index);
    uint64_t events = 0;
    for (uint32_t looked = 0; looked < RETIRE_ROWS_MAX && looked < limit; looked++) {
        if (units == RETIRE_UNITS_MAX || events >= RETIRE_EVENTS_MAX ||
            folded.count >= RETIRE_CELLS_MAX)
            break;
        if (state->retire_row >= limit)
            state->retire_row = 0;
        uint32_t row = state->retire_row++;
        const unit *unit_ = unit_at(engine_, row);
        if (!unit_->event_count || unit_->partition != partition)
            continue;
        events += unit_->event_count;
        if (!unit_is_over(engine_, unit_, before_us, unchanged_takes))
            continue;
        unit_name name;
        unit_table_name(&engine_->units, row, &name);
        *names_end++ = unit_->class_ == CLASS_CONTAINER ? LOG_CONTAINER : LOG_LOT;
        names_end = state_put_text(names_end, name.name, name.length);
        units++;
        event_view view = unit_events_view(&engine_->arena_, unit_, NULL);
        for (uint32_t i = 0; i < view.count; i++)
            volumes_count(&folded, event_at(view.arena_, view.handles[i]), 1);
        unit_drop_events(engine_, row);
        unit_table_release_if_empty(&engine_->units, row);
    }
    if (units) {
        uint8_t *value = (uint8_t *)memory_resize(
            NULL,
            STATE_FRAME_BYTES + 2 * STATE_NUMBER_BYTES + (uint64_t)(names_end - names) +
                folded.count * (STATE_TEXT_MAX + 3 + 7 * STATE_NUMBER_BYTES),
            "a retirement");
        uint8_t *place = state_put_number(value + STATE_FRAME_BYTES, units);
        memcpy(place, names, (size_t)(names_end - names));
        place = state_put_number(place + (names_end - names), folded.count);
        for (uint64_t i = 0; i < folded.count; i++) {
            const volume_cell *cell = &folded.cells[i];
            const interned_text *name = operator_name(&engine_->customs, cell->operator_row);
            place = state_put_text(place, name->bytes, name->length);
            place = state_put_signed(place, cell->day);
            *place++ = cell->direction;
            *place++ = cell->unit_type;
            place = put_volumes(place, cell);
            volumes_add(&state->retired, cell, 1);
        }
        state_frame(value, place);
        retirement_add(state, (retirement){state->retirement_number + 1, value,
                                           (uint64_t)(place - value), 0});
    }
    volumes_free(&folded);
    return units;
}

/* ---- taking ---------------------------------------------------------------------------------- */

/* A record with a value that is ready, or NULL for a null value. */
static void retention_put(record_output *output, const void *value, uint64_t length,
                          const uint8_t *key, int32_t key_length, uint32_t partition,
                          int64_t timestamp_ms)
{
    uint8_t *place = output_room(output, length + 1); /* room for nothing is no room at all */
    if (value)
        memcpy(place, value, length);
    output_close(output, place + length, key, key_length, (int32_t)partition, timestamp_ms);
    if (!value)
        output->records[output->records_size - 1].value_length = -1;
}

/* The null value of a unit; one that has come back meanwhile is written again behind it. */
static void retired_unit_write(engine *engine_, uint32_t partition, const retired_unit *read,
                               int64_t timestamp_ms)
{
    uint8_t key[LOG_KEY_BYTES];
    key[0] = read->class_ == CLASS_CONTAINER ? LOG_CONTAINER : LOG_LOT;
    memcpy(key + 1, read->name.name, read->name.length);
    retention_put(&engine_->unit_changes, NULL, 0, key, 1 + (int32_t)read->name.length, partition,
                  timestamp_ms);
    uint32_t row = unit_table_find(&engine_->units, &read->name, read->class_);
    if (row != UINT32_MAX && unit_at(engine_, row)->event_count)
        unit_changed(engine_, row);
}

/* Writes what the log does not have yet of what was forgotten, in the order drawn above. */
static void retirements_write(engine *engine_, uint32_t partition, int64_t timestamp_ms)
{
    partition_state *state = &engine_->partitions[partition];
    record_output *output = &engine_->unit_changes;
    uint8_t key[VOLUME_KEY_BYTES];
    for (uint64_t i = 0; i < state->retirement_count; i++) {
        const retirement *retirement_ = &state->retirements[i];
        if (!retirement_->is_logged)
            retention_put(output, retirement_->value, retirement_->value_length, key,
                          retirement_key(key, retirement_->number), partition, timestamp_ms);
    }
    for (uint64_t i = 0; i < state->retired.changed_count; i++) {
        volume_cell *cell = &state->retired.cells[state->retired.changed[i]];
        uint8_t value[STATE_FRAME_BYTES + 6 * STATE_NUMBER_BYTES];
        uint8_t *end = put_volumes(value + STATE_FRAME_BYTES, cell);
        cell->changed = 0;
        state_frame(value, end);
        retention_put(output, value, (uint64_t)(end - value), key,
                      volume_key(key, &engine_->customs, cell), partition, timestamp_ms);
    }
    state->retired.changed_count = 0;
    for (uint64_t i = 0; i < state->retirement_count; i++) {
        const retirement *retirement_ = &state->retirements[i];
        state_reader reader = {retirement_->value + STATE_FRAME_BYTES,
                               retirement_->value + retirement_->value_length, 0};
        for (uint32_t units = state_count(&reader, 3); units; units--) {
            retired_unit read;
            read_retired_unit(&reader, &read);
            retired_unit_write(engine_, partition, &read, timestamp_ms);
        }
        retention_put(output, NULL, 0, key, retirement_key(key, retirement_->number), partition,
                      timestamp_ms);
    }
    retirements_drop(state);
}

/* ---- restoring ------------------------------------------------------------------------------- */

/* Takes a cell of the log in place of what was known of it. The record was checked. */
static void retired_cell_restore(engine *engine_, uint32_t partition, const record_view *record)
{
    partition_state *state = &engine_->partitions[partition];
    text operator_id;
    volume_cell read = volume_key_read(record, &operator_id);
    read.operator_row = operator_row_for(&engine_->customs, operator_id);
    if (record->value_length >= 0) {
        state_reader reader = state_payload(record);
        read_volumes(&reader, &read);
    }
    uint64_t changed_count = state->retired.changed_count;
    volume_cell *cell = volumes_cell(&state->retired, read.operator_row, read.day, read.direction,
                                     read.unit_type);
    volumes_add(&state->volumes, cell, -1);
    volumes_add(&state->volumes, &read, 1);
    memcpy(cell->movements, read.movements, sizeof read.movements);
    memcpy(cell->pieces, read.pieces, sizeof read.pieces);
    memcpy(cell->grams, read.grams, sizeof read.grams);
    if (state->retired.changed_count > changed_count) { /* the log has it as it is */
        state->retired.changed_count = changed_count;
        cell->changed = 0;
    }
}

/* Takes a retirement of the log, or its null value. The record was checked. */
static void retirement_restore(engine *engine_, uint32_t partition, const record_view *record)
{
    partition_state *state = &engine_->partitions[partition];
    uint64_t number = retirement_key_number(record);
    if (record->value_length < 0) {
        uint64_t kept = 0;
        for (uint64_t i = 0; i < state->retirement_count; i++)
            if (state->retirements[i].number == number)
                free(state->retirements[i].value);
            else
                state->retirements[kept++] = state->retirements[i];
        state->retirement_count = kept;
        return;
    }
    state_reader reader = state_payload(record);
    for (uint32_t units = state_count(&reader, 3); units; units--) {
        retired_unit read;
        read_retired_unit(&reader, &read);
        uint32_t row = unit_table_find(&engine_->units, &read.name, read.class_);
        if (row == UINT32_MAX)
            continue;
        unit_take_back(engine_, row);
        unit_table_release_if_empty(&engine_->units, row);
    }
    for (uint32_t cells = state_count(&reader, 11); cells; cells--) {
        volume_cell cell;
        text operator_id;
        read_retired_cell(&reader, &cell, &operator_id);
        cell.operator_row = operator_row_for(&engine_->customs, operator_id);
        volumes_add(&state->retired, &cell, 1);
        volumes_add(&state->volumes, &cell, 1);
    }
    uint64_t length = (uint64_t)record->value_length;
    uint8_t *value = (uint8_t *)memory_resize(NULL, length, "a retirement");
    memcpy(value, record->value, length);
    retirement_add(state, (retirement){number, value, length, 1});
}

#endif
