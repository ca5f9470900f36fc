/* Stock kept incrementally: what is in stock at each location, by the day its visit started.
 *
 * What it is: counters that follow every GET_IN and GET_OUT, corrections and retractions included:
 * before a unit's events change its visit at the location is taken away, after it is added again.
 * Who calls it: engine.h in a worker; aggregates.h publishes the cells that changed.
 * What it must never know: ages, which depend on the day that somebody asks.
 */
#ifndef GATEJOIN_STOCK_LEDGER_H
#define GATEJOIN_STOCK_LEDGER_H

#include "lookup_tables.h"
#include "unit_events.h"
#include "volumes.h"

typedef struct {
    uint32_t location;
    int32_t start_day; /* days since 1970-01-01 in Vietnam */
    uint8_t direction, unit_type;
    uint8_t changed; /* since it was last published (aggregates.h) */
    int64_t units, pieces, grams;
} ledger_cell;

typedef struct {
    number_table rows;
    ledger_cell *cells;
    uint64_t count, capacity;
    uint32_t *changed; /* rows of the changed cells */
    uint64_t changed_count, changed_capacity;
} stock_ledger;

static inline void stock_ledger_free(stock_ledger *ledger)
{
    number_table_free(&ledger->rows);
    free(ledger->cells);
    free(ledger->changed);
    memset(ledger, 0, sizeof *ledger);
}

/* Adds a unit's visit at a location that has not ended (`sign` 1), or takes it away (-1); a unit
 * that is not in stock there counts for nothing. Direction and type are those of the GET_IN that
 * started the visit; pieces and weight are a lot's balances. */
static void stock_ledger_count(stock_ledger *ledger, const arena *arena_, const unit *unit_,
                               uint32_t location, int sign)
{
    event_view view = unit_events_view(arena_, unit_, NULL);
    const event *start = visit_start(&view, location);
    if (!start)
        return;
    int32_t start_day = vietnam_day(start->time_us);
    uint64_t key = (uint64_t)location << 36 | (uint64_t)(uint32_t)(start_day + 2) << 4 |
                   (uint64_t)start->direction << 2 | start->unit_type;
    uint32_t row = number_table_find(&ledger->rows, key);
    if (row == NO_ROW) {
        row = (uint32_t)ledger->count++;
        ledger->cells =
            (ledger_cell *)memory_grow(ledger->cells, &ledger->capacity, ledger->count,
                                       sizeof *ledger->cells, "the stock ledger");
        ledger->cells[row] = (ledger_cell){.location = location,
                                           .start_day = start_day,
                                           .direction = start->direction,
                                           .unit_type = start->unit_type};
        number_table_put(&ledger->rows, key, row);
    }
    ledger_cell *cell = &ledger->cells[row];
    cell->units += sign;
    if (unit_->class_ == CLASS_LOT) {
        stock_account account = stock_at(&view, location, FOR_EVER);
        cell->pieces += sign * (account.pieces_in - account.pieces_out);
        cell->grams += sign * (account.grams_in - account.grams_out);
    }
    if (!cell->changed) {
        cell->changed = 1;
        ledger->changed = (uint32_t *)memory_grow(ledger->changed, &ledger->changed_capacity,
                                                  ledger->changed_count + 1, 4, "stock");
        ledger->changed[ledger->changed_count++] = row;
    }
}

#endif
