/* Taking a unit's events away again.
 *
 * What it is: frees what hangs on a unit, with or without what was derived from it.
 * Who calls it: engine.h (a partition has gone), unit_log.h (a newer state takes its place),
 * retention.h (its visits are over).
 * What it must never know: why.
 */
#ifndef GATEJOIN_UNIT_FORGET_H
#define GATEJOIN_UNIT_FORGET_H

#include "alerts.h"
#include "engine_state.h"

/* Frees the events and the raised alerts of a unit; what was derived from them stays. */
static void unit_drop_events(engine *engine_, uint32_t row)
{
    unit *unit_ = &engine_->units.rows[row];
    if (unit_->events) {
        const uint32_t *handles = unit_events_array(&engine_->arena_, unit_);
        for (uint32_t i = 0; i < unit_->event_count; i++)
            event_release(&engine_->arena_, handles[i]);
        unit_events_release_array(&engine_->arena_, unit_);
    }
    while (unit_->raised) {
        const raised_alert *raised =
            (const raised_alert *)arena_at(&engine_->arena_, unit_->raised);
        uint32_t next = raised->next;
        arena_release(&engine_->arena_, unit_->raised, raised->block_bytes);
        unit_->raised = next;
    }
    unit_->events = unit_->event_count = unit_->check_count = 0;
    unit_->event_capacity_log2 = 0;
    unit_->earliest_due_us = INT64_MAX;
    unit_->timer_us = 0;
}

/* The locations where a unit has moved, each once, into an empty list. */
static void unit_movement_locations(const event_view *view, state_names *places)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const event *event_ = view_event(view, i);
        if (event_ && is_movement(event_->event_type))
            state_name_place(places, event_->location);
    }
}

/* Takes a unit out of volumes and stock as if it had never come, and drops its events. */
static void unit_take_back(engine *engine_, uint32_t row)
{
    const unit *unit_ = unit_at(engine_, row);
    partition_state *partition = &engine_->partitions[unit_->partition];
    state_names *places = &engine_->log_locations;
    event_view view = unit_events_view(&engine_->arena_, unit_, NULL);
    for (uint32_t i = 0; i < view.count; i++)
        volumes_count(&partition->volumes, event_at(view.arena_, view.handles[i]), -1);
    unit_movement_locations(&view, places);
    for (uint64_t i = 0; i < places->count; i++)
        stock_ledger_count(&partition->stock, &engine_->arena_, unit_, places->rows[i], -1);
    state_names_clear(places);
    unit_drop_events(engine_, row);
}

#endif
