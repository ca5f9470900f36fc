/* What stands and what has moved, summed up for whoever watches the installation.
 *
 * What it is: one walk over a partition's stock cells and one over its volume cells, added up by
 * direction and unit type: some tens of sums, however many places and days there are.
 * Who calls it: matcher.pyx.
 * What it must never know: units, events, metrics.
 */
#ifndef GATEJOIN_NATION_FIGURES_H
#define GATEJOIN_NATION_FIGURES_H

#include "record_types.h"
#include "stock.h"
#include "stock_ledger.h"
#include "volumes.h"

typedef struct {
    int64_t units[STOCK_AGE_COUNT]; /* by age in days up to the day that was asked for */
    int64_t movements[2], pieces[2], grams[2]; /* in, out */
} nation_cell;

typedef struct {
    nation_cell cells[DIRECTION_COUNT][UNIT_TYPE_COUNT];
} nation_figures;

/* Adds one partition's sums as of a day in Vietnam. */
static void nation_figures_add(nation_figures *figures, const stock_ledger *stock,
                               const volume_table *volumes, int32_t day)
{
    for (uint64_t i = 0; i < stock->count; i++) {
        const ledger_cell *cell = &stock->cells[i];
        uint8_t age = stock_age((int64_t)cell->start_day * MICROSECONDS_PER_DAY,
                                (int64_t)day * MICROSECONDS_PER_DAY);
        figures->cells[cell->direction][cell->unit_type].units[age] += cell->units;
    }
    for (uint64_t i = 0; i < volumes->count; i++) {
        const volume_cell *cell = &volumes->cells[i];
        nation_cell *sum = &figures->cells[cell->direction][cell->unit_type];
        for (int out = 0; out < 2; out++) {
            sum->movements[out] += cell->movements[out];
            sum->pieces[out] += cell->pieces[out];
            sum->grams[out] += cell->grams[out];
        }
    }
}

#endif
