/* Stock with its age: what is in stock at each location, and since when.
 *
 * What it is: a walk over all units that counts every visit that has not ended, from all events
 * known (CONTRACT.md section 6, stock.csv).
 * Who calls it: matcher.pyx.
 * What it must never know: how the table is printed.
 */
#ifndef GATEJOIN_STOCK_H
#define GATEJOIN_STOCK_H

#include "engine_state.h"

/* Ages in whole days since the visit started: 0-30, 31-60, 61-90, over 90. */
enum { STOCK_AGE_COUNT = 4 };

typedef struct {
    uint32_t location;
    uint8_t direction, unit_type, age;
    int64_t units, pieces, grams;
} stock_cell;

typedef struct {
    number_table rows;
    stock_cell *cells;
    uint64_t count, capacity;
} stock_table;

static inline void stock_table_free(stock_table *stock)
{
    number_table_free(&stock->rows);
    free(stock->cells);
    memset(stock, 0, sizeof *stock);
}

static inline uint8_t stock_age(int64_t start_us, int64_t clock_us)
{
    int64_t days = clock_us > start_us ? (clock_us - start_us) / MICROSECONDS_PER_DAY : 0;
    return days <= 30 ? 0 : days <= 60 ? 1 : days <= 90 ? 2 : 3;
}

/* Counts the units of one partition, or of all where `partition` is negative. */
static void stock_count(const engine *engine_, int32_t partition, int64_t clock_us,
                        stock_table *stock)
{
    handle_list starts = {NULL, 0, 0};
    uint32_t limit = unit_index_row_limit(&engine_->units.index);
    for (uint32_t row = 0; row < limit; row++) {
        if (!unit_index_row_is_used(&engine_->units.index, row) ||
            !unit_at(engine_, row)->event_count)
            continue;
        if (partition >= 0) {
            unit_name name;
            unit_table_name(&engine_->units, row, &name);
            if (unit_partition(engine_, &name) != (uint32_t)partition)
                continue;
        }
        const unit *unit_ = unit_at(engine_, row);
        event_view view = unit_events_view(&engine_->arena_, unit_, NULL);
        starts.count = 0;
        visit_starts(&view, FOR_EVER, &starts);
        for (uint64_t i = 0; i < starts.count; i++) {
            const event *event_ = event_at(&engine_->arena_, starts.handles[i]);
            uint8_t age = stock_age(event_->time_us, clock_us);
            uint64_t key = (uint64_t)event_->location << 8 | (uint64_t)event_->direction << 6 |
                           (uint64_t)event_->unit_type << 4 | age;
            uint32_t cell_row = number_table_find(&stock->rows, key);
            if (cell_row == NO_ROW) {
                cell_row = (uint32_t)stock->count++;
                stock->cells =
                    (stock_cell *)memory_grow(stock->cells, &stock->capacity, stock->count,
                                              sizeof *stock->cells, "the stock table");
                stock->cells[cell_row] = (stock_cell){.location = event_->location,
                                                      .direction = event_->direction,
                                                      .unit_type = event_->unit_type,
                                                      .age = age};
                number_table_put(&stock->rows, key, cell_row);
            }
            stock_cell *cell = &stock->cells[cell_row];
            cell->units++;
            if (unit_->class_ == CLASS_LOT) {
                stock_account account = stock_at(&view, event_->location, FOR_EVER);
                cell->pieces += account.pieces_in - account.pieces_out;
                cell->grams += account.grams_in - account.grams_out;
            }
        }
    }
    free(starts.handles);
}

#endif
