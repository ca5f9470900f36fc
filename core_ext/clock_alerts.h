/* Alerts by the clock: OVERSTAYED and TRANSIT_OVERDUE (CONTRACT.md section 5, Alerts).
 *
 * What it is: what of a unit is due at a given clock, each alertID once, and the timers that bring
 * a unit back when the clock gets there.
 * Who calls it: engine.h before and after each record.
 * What it must never know: what time it is; a partition's clock is the greatest record timestamp
 * that was applied to it.
 *
 * A timer only says "look at this unit": what is due is derived from the unit's events when it
 * fires, so a timer that is late, doubled or out of date does no harm.
 */
#ifndef GATEJOIN_CLOCK_ALERTS_H
#define GATEJOIN_CLOCK_ALERTS_H

#include "alerts.h"
#include "engine_state.h"

/* One alert that is due now. */
typedef struct due_alert {
    int64_t due_us;
    uint32_t unit_row;
    uint32_t event_handle;
    uint64_t declaration_number; /* TRANSIT_OVERDUE, else 0 */
} due_alert;

/* ---- timers ---------------------------------------------------------------------------------- */

static void timer_add(partition_state *partition, int64_t due_us, uint32_t unit_row)
{
    partition->timers =
        (timer *)memory_grow(partition->timers, &partition->timer_capacity,
                             partition->timer_count + 1, sizeof *partition->timers, "timers");
    uint64_t place = partition->timer_count++;
    while (place && partition->timers[(place - 1) / 2].due_us > due_us) {
        partition->timers[place] = partition->timers[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    partition->timers[place] = (timer){due_us, unit_row};
}

static uint32_t timer_take(partition_state *partition)
{
    uint32_t unit_row = partition->timers[0].unit_row;
    timer last = partition->timers[--partition->timer_count];
    uint64_t place = 0;
    for (;;) {
        uint64_t child = 2 * place + 1;
        if (child >= partition->timer_count)
            break;
        if (child + 1 < partition->timer_count &&
            partition->timers[child + 1].due_us < partition->timers[child].due_us)
            child++;
        if (partition->timers[child].due_us >= last.due_us)
            break;
        partition->timers[place] = partition->timers[child];
        place = child;
    }
    partition->timers[place] = last;
    return unit_row;
}

/* ---- what is due ----------------------------------------------------------------------------- */

static void due_add(engine *engine_, int64_t due_us, uint32_t unit_row, uint32_t event_handle,
                    uint64_t declaration_number)
{
    engine_->due_alerts =
        (due_alert *)memory_grow(engine_->due_alerts, &engine_->due_capacity,
                                 engine_->due_count + 1, sizeof *engine_->due_alerts, "alerts");
    engine_->due_alerts[engine_->due_count++] =
        (due_alert){due_us, unit_row, event_handle, declaration_number};
}

/* OVERSTAYED: the visit that an IMPORT GET_IN started has not ended when it is due. */
static void due_visits(engine *engine_, uint32_t unit_row, int64_t clock_us)
{
    unit *unit_ = &engine_->units.rows[unit_row];
    if (unit_->earliest_due_us > clock_us)
        return;
    event_view view = unit_events_view(&engine_->arena_, unit_, NULL);
    handle_list starts = {NULL, 0, 0};
    visit_starts(&view, clock_us - engine_->parameters.overstay_us, &starts);
    for (uint64_t i = 0; i < starts.count; i++) {
        const event *event_ = event_at(&engine_->arena_, starts.handles[i]);
        if (event_->direction == DIRECTION_IMPORT)
            due_add(engine_, event_->time_us + engine_->parameters.overstay_us, unit_row,
                    starts.handles[i], 0);
    }
    free(starts.handles);
}

/* Where and by when the goods of a declaration are due that may be overdue some day, or NULL. */
static inline const transit *timed_transit(const arena *arena_, const declaration *declaration_)
{
    const transit *transit_ = declaration_transit(arena_, declaration_);
    return transit_ && declaration_->status != STATUS_CANCELLED &&
                   transit_->arrive_by_us != NO_TIME
               ? transit_
               : NULL;
}

/* Sets a timer for the next transit of a unit that may become overdue; when it fires, for the one
 * after it. */
static void transit_watch(engine *engine_, partition_state *partition, uint32_t unit_row)
{
    unit *unit_ = &engine_->units.rows[unit_row];
    int64_t next_us = INT64_MAX;
    for (uint32_t handle = unit_->lines; handle;) {
        const line *line_ = line_at(&engine_->arena_, handle);
        handle = line_->next_of_unit;
        const transit *transit_ =
            timed_transit(&engine_->arena_, line_declaration(&engine_->customs, line_));
        if (transit_ && transit_->arrive_by_us > partition->clock_us &&
            transit_->arrive_by_us < next_us)
            next_us = transit_->arrive_by_us;
    }
    if (next_us != INT64_MAX && next_us != unit_->timer_us) {
        unit_->timer_us = next_us;
        timer_add(partition, next_us, unit_row);
    }
}

/* TRANSIT_OVERDUE: goods have left for a destination and have not come in there in time. */
static void due_transits(engine *engine_, uint32_t unit_row, int64_t clock_us)
{
    const unit *unit_ = unit_at(engine_, unit_row);
    const arena *arena_ = &engine_->arena_;
    event_view view = unit_events_view(arena_, unit_, NULL);
    for (uint32_t handle = unit_->lines; handle;) {
        const line *line_ = line_at(arena_, handle);
        handle = line_->next_of_unit;
        const declaration *declaration_ = line_declaration(&engine_->customs, line_);
        const transit *transit_ = timed_transit(arena_, declaration_);
        if (!transit_ || transit_->arrive_by_us > clock_us)
            continue;
        /* The latest leaving of any of its lines of this unit elsewhere than the destination. */
        const event *left = NULL;
        for (uint32_t other = unit_->lines; other;) {
            const line *elsewhere = line_at(arena_, other);
            other = elsewhere->next_of_unit;
            if (elsewhere->declaration != line_->declaration ||
                elsewhere->location == transit_->destination)
                continue;
            const event *leaving = latest_leaving(&view, elsewhere->location,
                                                  declaration_->direction,
                                                  declaration_->registered_us);
            if (leaving && (!left || event_order(&engine_->customs, leaving, left) > 0))
                left = leaving;
        }
        if (!left)
            continue;
        if (stock_at(&view, transit_->destination, FOR_EVER).latest_in_us >= left->time_us)
            continue; /* it has arrived */
        text event_id = {event_id_bytes(left), left->event_id_length};
        due_add(engine_, transit_->arrive_by_us, unit_row,
                unit_events_find(arena_, unit_, left->operator_row, event_id),
                declaration_->number);
    }
}

/* Collects what of a unit is due. */
static void due_of_unit(engine *engine_, partition_state *partition, uint32_t unit_row)
{
    if (!unit_at(engine_, unit_row)->event_count)
        return;
    due_visits(engine_, unit_row, partition->clock_us);
    if (unit_at(engine_, unit_row)->in_transit) {
        due_transits(engine_, unit_row, partition->clock_us);
        transit_watch(engine_, partition, unit_row);
    }
}

/* An IMPORT GET_IN came: the unit is to be looked at when its visit would overstay. */
static void due_watch(engine *engine_, partition_state *partition, uint32_t unit_row,
                      const event *event_)
{
    if (event_->is_retracted || event_->event_type != EVENT_GET_IN ||
        event_->direction != DIRECTION_IMPORT)
        return;
    int64_t due_us = event_->time_us + engine_->parameters.overstay_us;
    unit *unit_ = &engine_->units.rows[unit_row];
    if (due_us < unit_->earliest_due_us)
        unit_->earliest_due_us = due_us;
    if (due_us > partition->clock_us)
        timer_add(partition, due_us, unit_row);
}

/* ---- raising --------------------------------------------------------------------------------- */

static uint8_t *due_id(uint8_t *place, const engine *engine_, const due_alert *due,
                       const unit_name *name)
{
    const event *event_ = event_at(&engine_->arena_, due->event_handle);
    if (due->declaration_number) {
        uint8_t quoted[16];
        JSON_LITERAL(place, "TRANSIT_OVERDUE/");
        place = id_part(place, name->name, name->length);
        *place++ = '/';
        json_declaration_number(quoted, due->declaration_number);
        return json_bytes(place, quoted + 1, 12);
    }
    const interned_text *location = location_name(&engine_->customs, event_->location);
    const interned_text *operator_ = operator_name(&engine_->customs, event_->operator_row);
    JSON_LITERAL(place, "OVERSTAYED/");
    place = id_part(place, name->name, name->length);
    *place++ = '/';
    place = id_part(place, location->bytes, location->length);
    *place++ = '/';
    place = id_part(place, operator_->bytes, operator_->length);
    *place++ = '/';
    return id_part(place, event_id_bytes(event_), event_->event_id_length);
}

static int due_order(const engine *engine_, const due_alert *a, const due_alert *b)
{
    if (a->due_us != b->due_us)
        return a->due_us < b->due_us ? -1 : 1;
    unit_name name;
    uint8_t left[ID_BYTES], right[ID_BYTES];
    unit_table_name(&engine_->units, a->unit_row, &name);
    uint8_t *left_end = due_id(left, engine_, a, &name);
    unit_table_name(&engine_->units, b->unit_row, &name);
    uint8_t *right_end = due_id(right, engine_, b, &name);
    int order =
        bytes_compare(left, (uint32_t)(left_end - left), right, (uint32_t)(right_end - right));
    /* A container and a lot of one name share the ID of a transit: the container's is raised. */
    return order ? order
                 : (int)unit_at(engine_, a->unit_row)->class_ -
                       (int)unit_at(engine_, b->unit_row)->class_;
}

/* Heap sort, in place: a quiet night may make a whole yard due at once. */
static void due_sift(const engine *engine_, due_alert *alerts, uint64_t place, uint64_t count)
{
    due_alert moved = alerts[place];
    for (uint64_t child; (child = 2 * place + 1) < count; place = child) {
        if (child + 1 < count && due_order(engine_, &alerts[child], &alerts[child + 1]) < 0)
            child++;
        if (due_order(engine_, &moved, &alerts[child]) >= 0)
            break;
        alerts[place] = alerts[child];
    }
    alerts[place] = moved;
}

/* Writes what was collected and never raised before, "in order of (due time, alertID)". */
static void due_raise(engine *engine_, int64_t timestamp_ms)
{
    due_alert *alerts = engine_->due_alerts;
    uint64_t count = engine_->due_count;
    for (uint64_t i = count / 2; i--;)
        due_sift(engine_, alerts, i, count);
    for (uint64_t end = count; end > 1;) {
        due_alert last = alerts[--end];
        alerts[end] = alerts[0];
        alerts[0] = last;
        due_sift(engine_, alerts, 0, end);
    }
    for (uint64_t i = 0; i < count; i++) {
        const due_alert *due = &alerts[i];
        const event *event_ = event_at(&engine_->arena_, due->event_handle);
        enum alert_type type =
            due->declaration_number ? ALERT_TRANSIT_OVERDUE : ALERT_OVERSTAYED;
        if (!raise_once(engine_, due->unit_row, type, due->declaration_number, event_,
                        type == ALERT_OVERSTAYED ? event_->location : 0))
            continue;
        unit_name name;
        unit_table_name(&engine_->units, due->unit_row, &name);
        uint8_t id[ID_BYTES];
        uint8_t *end = due_id(id, engine_, due, &name);
        uint8_t detail[128], *detail_end = detail;
        if (due->declaration_number) {
            JSON_LITERAL(detail_end, "{\"declarationNumber\":");
            detail_end = json_declaration_number(detail_end, due->declaration_number);
            JSON_LITERAL(detail_end, ",\"leftDateTime\":");
        } else {
            JSON_LITERAL(detail_end, "{\"visitStartDateTime\":");
        }
        detail_end = json_date_time(detail_end, event_->time_us);
        *detail_end++ = '}';
        alert_head head = {type,
                           &name,
                           event_->operator_row,
                           event_->location,
                           event_id_bytes(event_),
                           event_->event_id_length,
                           due->due_us};
        alert_write(engine_, id, (uint64_t)(end - id), &head, detail,
                    (uint64_t)(detail_end - detail), timestamp_ms);
    }
    engine_->due_count = 0;
}

/* Sets the clock of a partition whose units came back: timers that it has passed say nothing new,
 * since whoever takes the partition over looks at every unit. */
static void clock_set(partition_state *partition, int64_t clock_us)
{
    if (clock_us <= partition->clock_us)
        return;
    partition->clock_us = clock_us;
    uint64_t count = partition->timer_count;
    partition->timer_count = 0;
    for (uint64_t i = 0; i < count; i++)
        if (partition->timers[i].due_us > clock_us)
            timer_add(partition, partition->timers[i].due_us, partition->timers[i].unit_row);
}

/* Moves a partition's clock forward and raises what that makes due. */
static void clock_advance(engine *engine_, partition_state *partition, int64_t clock_us,
                          int64_t timestamp_ms)
{
    if (clock_us <= partition->clock_us)
        return;
    partition->clock_us = clock_us;
    if (engine_->mute == MUTE_ALL)
        return; /* the timers wait until the state is back */
    while (partition->timer_count && partition->timers[0].due_us <= clock_us) {
        uint32_t unit_row = timer_take(partition);
        /* The row may have gone to a unit of another partition since. */
        if (&engine_->partitions[unit_at(engine_, unit_row)->partition] == partition)
            due_of_unit(engine_, partition, unit_row);
    }
    if (engine_->due_count)
        due_raise(engine_, timestamp_ms);
}

#endif
