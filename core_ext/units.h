/* The units: who they are and what hangs on them.
 *
 * What it is: one small struct per unit (a name and a class: container or lot), found through the
 * unit index, from which the lines of declarations, the holds and the events of the unit hang.
 * Both sides of the join meet here: customs' side hangs lines and holds, the operators' side hangs
 * events, so that one probe of the index finds everything that a decision needs.
 * Who calls it: customs_tables.h, unit_events.h, rules.h, decisions.h, engine.h.
 * What it must never know: what lines, holds and events mean.
 */
#ifndef GATEJOIN_UNITS_H
#define GATEJOIN_UNITS_H

#include <stdint.h>

#include "memory.h"
#include "record_types.h"
#include "unit_index.h"

enum unit_class { CLASS_CONTAINER, CLASS_LOT, CLASS_COUNT };

typedef struct {
    uint32_t lines;          /* first line of a declaration (arena handle), 0 none */
    uint32_t holds;          /* first hold on the unit (hold row + 1), 0 none */
    uint32_t events;         /* array of event handles in the order of time (arena handle) */
    uint32_t event_count;    /* retracted ones included */
    uint32_t check_count;    /* GATE_CHECKs that are not retracted */
    uint32_t raised;         /* clock alerts already raised (arena handle), 0 none */
    int64_t earliest_due_us; /* no visit of the unit overstays before this (clock_alerts.h) */
    int64_t timer_us;        /* the timer last set for a transit, 0 none (clock_alerts.h) */
    uint32_t changed_in;     /* `takes` of its partition when its state changed last */
    uint16_t partition;      /* of port-events; set with the unit's first event */
    uint8_t event_capacity_log2;
    uint8_t class_ : 1;
    uint8_t touched : 1;     /* already in the list of touched units of this record */
    uint8_t in_transit : 1;  /* has or had a line of a TRANSIT declaration */
    uint8_t changed : 1;     /* already in the list of units to be logged (unit_log.h) */
} unit;

typedef struct {
    unit_index index;
    unit *rows;
    uint64_t capacity;
} unit_table;

static inline uint8_t unit_class_of(uint8_t unit_type)
{
    return unit_type == UNIT_CONTAINER ? CLASS_CONTAINER : CLASS_LOT;
}

/* The row of a unit, or UINT32_MAX. */
static inline uint32_t unit_table_find(const unit_table *table, const unit_name *name,
                                       uint8_t class_)
{
    unit_key key = unit_index_key(&table->index, name->name, name->length, class_);
    return unit_index_find(&table->index, key, name->name, name->length);
}

/* The row of a unit, new if need be; `key` is that of its name and class. */
static inline uint32_t unit_table_put(unit_table *table, unit_key key, const unit_name *name,
                                      uint8_t class_)
{
    int was_new = 0;
    uint32_t row = unit_index_insert(&table->index, key, name->name, name->length, &was_new);
    if (row == UINT32_MAX) {
        fprintf(stderr, "gatejoin: out of memory for the unit index; stopping, since a unit that "
                        "can't be stored can't be answered for.\n");
        abort();
    }
    if (was_new) {
        table->rows = (unit *)memory_extend(table->rows, &table->capacity, (uint64_t)row + 1,
                                            sizeof *table->rows, "units");
        memset(&table->rows[row], 0, sizeof table->rows[row]);
        table->rows[row].class_ = class_;
        table->rows[row].earliest_due_us = INT64_MAX;
    }
    return row;
}

static inline uint32_t unit_table_find_or_add(unit_table *table, const unit_name *name,
                                              uint8_t class_)
{
    unit_key key = unit_index_key(&table->index, name->name, name->length, class_);
    return unit_table_put(table, key, name, class_);
}

static inline void unit_table_name(const unit_table *table, uint32_t row, unit_name *name)
{
    int is_lot;
    name->length = (uint8_t)unit_index_name(&table->index, row, name->name, &is_lot);
    name->name[name->length] = 0;
}

/* Forgets a unit on which nothing hangs any more, so that churn leaves no trace. */
static inline void unit_table_release_if_empty(unit_table *table, uint32_t row)
{
    unit *unit_ = &table->rows[row];
    if (unit_->lines || unit_->holds || unit_->event_count || unit_->raised)
        return;
    unit_name name;
    unit_table_name(table, row, &name);
    unit_key key = unit_index_key(&table->index, name.name, name.length, unit_->class_);
    unit_index_remove(&table->index, key, name.name, name.length);
}

/* A list of units. */
typedef struct {
    uint32_t *rows;
    uint64_t size, capacity;
} unit_rows;

static inline void unit_rows_add(unit_rows *list, uint32_t row)
{
    list->rows = (uint32_t *)memory_grow(list->rows, &list->capacity, list->size + 1,
                                         sizeof *list->rows, "a list of units");
    list->rows[list->size++] = row;
}

/* Adds a unit to those that one record touched, each once. */
static inline void touch_unit(unit_rows *touched, unit_table *table, uint32_t row)
{
    if (table->rows[row].touched)
        return;
    table->rows[row].touched = 1;
    unit_rows_add(touched, row);
}

#endif
