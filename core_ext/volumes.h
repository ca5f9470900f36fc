/* Volumes: what moved, per operator, day, direction and unit type.
 *
 * What it is: counters kept with every change of an event in effect, so that they are right after
 * corrections, retractions and repeats (CONTRACT.md section 5, Volumes). A day is a day in Vietnam.
 * Who calls it: engine.h adds and takes away, retention.h keeps what forgotten units moved,
 * aggregates.h publishes, matcher.pyx reads the cells.
 * What it must never know: stock, decisions, declarations.
 */
#ifndef GATEJOIN_VOLUMES_H
#define GATEJOIN_VOLUMES_H

#include "lookup_tables.h"
#include "unit_events.h"

#define VIETNAM_OFFSET_US (7 * MICROSECONDS_PER_HOUR)

typedef struct {
    uint32_t operator_row;
    int32_t day; /* days since 1970-01-01 in Vietnam */
    uint8_t direction, unit_type;
    uint8_t changed;                           /* since it was last published (aggregates.h) */
    int64_t movements[2], pieces[2], grams[2]; /* in, out */
} volume_cell;

typedef struct {
    number_table rows;
    volume_cell *cells;
    uint64_t count, capacity;
    uint32_t *changed; /* rows of the changed cells */
    uint64_t changed_count, changed_capacity;
} volume_table;

static inline int32_t vietnam_day(int64_t time_us)
{
    int64_t local = time_us + VIETNAM_OFFSET_US;
    return (int32_t)(local / MICROSECONDS_PER_DAY - (local % MICROSECONDS_PER_DAY < 0));
}

/* The cell of these, new if need be; it is noted as changed. */
static inline volume_cell *volumes_cell(volume_table *volumes, uint32_t operator_row, int32_t day,
                                        uint8_t direction, uint8_t unit_type)
{
    uint64_t key = (uint64_t)operator_row << 32 | (uint64_t)(uint32_t)(day + 2) << 4 |
                   (uint64_t)direction << 2 | unit_type;
    uint32_t row = number_table_find(&volumes->rows, key);
    if (row == NO_ROW) {
        row = (uint32_t)volumes->count++;
        volumes->cells = (volume_cell *)memory_grow(volumes->cells, &volumes->capacity,
                                                    volumes->count, sizeof *volumes->cells,
                                                    "volumes");
        volumes->cells[row] = (volume_cell){.operator_row = operator_row,
                                            .day = day,
                                            .direction = direction,
                                            .unit_type = unit_type};
        number_table_put(&volumes->rows, key, row);
    }
    volume_cell *cell = &volumes->cells[row];
    if (!cell->changed) {
        cell->changed = 1;
        volumes->changed = (uint32_t *)memory_grow(volumes->changed, &volumes->changed_capacity,
                                                   volumes->changed_count + 1, 4, "volumes");
        volumes->changed[volumes->changed_count++] = row;
    }
    return cell;
}

/* Adds an event (`sign` 1) or takes it away again (-1); anything but an effective GET_IN or GET_OUT
 * counts for nothing. */
static inline void volumes_count(volume_table *volumes, const event *event_, int sign)
{
    if (event_->is_retracted || !is_movement(event_->event_type))
        return;
    volume_cell *cell = volumes_cell(volumes, event_->operator_row, vietnam_day(event_->time_us),
                                     event_->direction, event_->unit_type);
    int out = event_->event_type == EVENT_GET_OUT;
    cell->movements[out] += sign;
    cell->pieces[out] += sign * (int64_t)event_->pieces;
    cell->grams[out] += sign * (int64_t)event_->weight_grams;
}

/* Adds what another cell has (`sign` 1) to the cell of the same kind, or takes it away (-1). */
static inline void volumes_add(volume_table *volumes, const volume_cell *more, int sign)
{
    volume_cell *cell = volumes_cell(volumes, more->operator_row, more->day, more->direction,
                                     more->unit_type);
    for (int out = 0; out < 2; out++) {
        cell->movements[out] += sign * more->movements[out];
        cell->pieces[out] += sign * more->pieces[out];
        cell->grams[out] += sign * more->grams[out];
    }
}

static inline void volumes_free(volume_table *volumes)
{
    number_table_free(&volumes->rows);
    free(volumes->cells);
    free(volumes->changed);
    memset(volumes, 0, sizeof *volumes);
}

#endif
