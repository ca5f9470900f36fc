/* The state of a unit: the set of its events.
 *
 * What it is: the events of a unit, one per (operatorID, eventID), the highest version of each,
 * kept in the order of time, ties broken by operatorID and eventID (CONTRACT.md section 4); and
 * what section 4 derives from the set: stock, visits, leavings, open checks.
 * Who calls it: engine.h puts events in, rules.h, alerts.h and stock.h ask.
 * What it must never know: declarations' meaning, decisions, JSON, Kafka.
 *
 * A unit has an array of handles to its events (units.h), so a unit with three events of 16-byte
 * eventIDs takes 3 x 72 + 16 bytes here. Few events are walked for each question; an array of
 * 2^INDEXED_LOG2 slots and more has an index (event_index.h), whose handle stands in the last one:
 *
 *   | handle | handle | ... | free | index |
 */
#ifndef GATEJOIN_UNIT_EVENTS_H
#define GATEJOIN_UNIT_EVENTS_H

#include "event_index.h"

#ifndef INDEXED_LOG2 /* the tests can be run with 1, which gives every unit an index */
#define INDEXED_LOG2 7
#endif

static inline uint32_t *unit_events_array(const arena *arena_, const unit *unit_)
{
    return (uint32_t *)arena_at(arena_, unit_->events);
}

/* How many handles an array of so many slots can have. */
static inline uint32_t unit_events_limit(uint8_t capacity_log2)
{
    return (1u << capacity_log2) - (capacity_log2 >= INDEXED_LOG2);
}

/* The slot of the index, of a unit that has one. */
static inline uint32_t *unit_events_index_slot(const arena *arena_, const unit *unit_)
{
    return unit_events_array(arena_, unit_) + (1u << unit_->event_capacity_log2) - 1;
}

/* The index of a unit with many events, or NULL. */
static inline event_index *unit_events_index(const arena *arena_, const unit *unit_)
{
    if (unit_->event_capacity_log2 < INDEXED_LOG2)
        return NULL;
    return (event_index *)arena_at(arena_, *unit_events_index_slot(arena_, unit_));
}

/* The handle of an event of a unit, or 0. */
static inline uint32_t unit_events_find(const arena *arena_, const unit *unit_,
                                        uint32_t operator_row_, text event_id)
{
    if (!unit_->event_count)
        return 0;
    const event_index *index = unit_events_index(arena_, unit_);
    if (index)
        return event_index_find(arena_, index, operator_row_, event_id);
    const uint32_t *handles = unit_events_array(arena_, unit_);
    for (uint32_t i = 0; i < unit_->event_count; i++)
        if (event_is(event_at(arena_, handles[i]), operator_row_, event_id))
            return handles[i];
    return 0;
}

/* Takes a handle out of the unit's array; the block stays. */
static void unit_events_take(const customs_tables *tables, arena *arena_, unit *unit_,
                             uint32_t handle)
{
    uint32_t *handles = unit_events_array(arena_, unit_);
    event_index *index = unit_events_index(arena_, unit_);
    uint32_t place = 0;
    if (index) {
        event_index_remove(tables, arena_, index, handle);
        place = handles_before(tables, arena_, handles, unit_->event_count,
                               event_at(arena_, handle), event_order);
    }
    while (handles[place] != handle)
        place++;
    memmove(handles + place, handles + place + 1,
            (uint64_t)(unit_->event_count - place - 1) * sizeof *handles);
    unit_->event_count--;
}

/* Gives a unit without an array one for so many events, without an index as yet. */
static void unit_events_make_array(arena *arena_, unit *unit_, uint32_t count)
{
    unit_->event_capacity_log2 = 1;
    while (unit_events_limit(unit_->event_capacity_log2) < count)
        unit_->event_capacity_log2++;
    unit_->events = arena_allocate(arena_, sizeof(uint32_t) << unit_->event_capacity_log2);
}

/* Makes the index of a unit whose array is large enough for one. */
static void unit_events_make_index(const customs_tables *tables, arena *arena_, unit *unit_)
{
    if (unit_->event_capacity_log2 >= INDEXED_LOG2)
        *unit_events_index_slot(arena_, unit_) =
            event_index_make(tables, arena_, unit_->class_, unit_events_array(arena_, unit_),
                             unit_->event_count);
}

/* Doubles the array of a unit. */
static void unit_events_grow(const customs_tables *tables, arena *arena_, unit *unit_)
{
    uint32_t before = unit_->events;
    uint64_t bytes = sizeof(uint32_t) << unit_->event_capacity_log2;
    const event_index *index = unit_events_index(arena_, unit_);
    uint32_t index_handle = index ? *unit_events_index_slot(arena_, unit_) : 0;
    unit_->events = arena_allocate(arena_, bytes * 2);
    unit_->event_capacity_log2++;
    memcpy(unit_events_array(arena_, unit_), arena_at(arena_, before), bytes);
    arena_release(arena_, before, bytes);
    if (index)
        *unit_events_index_slot(arena_, unit_) = index_handle;
    else
        unit_events_make_index(tables, arena_, unit_);
}

/* Frees the array of a unit and its index; the events stay. */
static void unit_events_release_array(arena *arena_, const unit *unit_)
{
    if (!unit_->events)
        return;
    if (unit_events_index(arena_, unit_))
        event_index_release(arena_, *unit_events_index_slot(arena_, unit_));
    arena_release(arena_, unit_->events, sizeof(uint32_t) << unit_->event_capacity_log2);
}

/* Puts a handle into the unit's array where the order of time wants it. */
static void unit_events_insert(const customs_tables *tables, arena *arena_, unit *unit_,
                               uint32_t handle)
{
    if (!unit_->events) {
        unit_events_make_array(arena_, unit_, 1);
        unit_events_make_index(tables, arena_, unit_);
    } else if (unit_->event_count == unit_events_limit(unit_->event_capacity_log2)) {
        unit_events_grow(tables, arena_, unit_);
    }
    event_index *index = unit_events_index(arena_, unit_);
    if (index)
        event_index_add(tables, arena_, index, handle);
    uint32_t *handles = unit_events_array(arena_, unit_);
    uint32_t place = handles_before(tables, arena_, handles, unit_->event_count,
                                    event_at(arena_, handle), event_order);
    memmove(handles + place + 1, handles + place,
            (uint64_t)(unit_->event_count - place) * sizeof *handles);
    handles[place] = handle;
    unit_->event_count++;
}

/* ---- what section 4 derives ------------------------------------------------------------------ */

/* Each of these looks at the events in effect (not retracted) but `aside` (may be NULL), "the
 * unit's other events being its state". */
typedef struct {
    const arena *arena_;
    const uint32_t *handles;
    uint32_t count;
    uint8_t class_;
    const event *aside;
    const event_index *index; /* NULL: few events, which are walked */
} event_view;

static inline event_view unit_events_view(const arena *arena_, const unit *unit_,
                                          const event *aside)
{
    return (event_view){arena_, unit_->event_count ? unit_events_array(arena_, unit_) : NULL,
                        unit_->event_count, unit_->class_, aside, unit_events_index(arena_, unit_)};
}

/* The i-th event if it counts, else NULL. */
static inline const event *view_event(const event_view *view, uint32_t i)
{
    const event *event_ = event_at(view->arena_, view->handles[i]);
    return event_->is_retracted || event_ == view->aside ? NULL : event_;
}

/* What the index tells of a location from all its moves up to a time. */
static move_summary view_summary(const event_view *view, uint32_t location, int64_t as_of_us)
{
    const index_place *place = event_index_place(view->arena_, view->index, location);
    if (!place)
        return (move_summary){.account = STOCK_ACCOUNT_EMPTY};
    uint32_t moves = place->moves.count;
    if (as_of_us != FOR_EVER)
        moves = handles_before_time(view->arena_, &place->moves, as_of_us + 1);
    return place_summary(view->arena_, view->index, place, moves, view->aside);
}

/* The event that a handle of a summary names, or NULL. */
static inline const event *summary_event(const event_view *view, uint32_t handle)
{
    return handle ? event_at(view->arena_, handle) : NULL;
}

static inline stock_account stock_at(const event_view *view, uint32_t location, int64_t as_of_us)
{
    if (view->index)
        return view_summary(view, location, as_of_us).account;
    stock_account account = STOCK_ACCOUNT_EMPTY;
    for (uint32_t i = 0; i < view->count; i++) {
        const event *event_ = view_event(view, i);
        if (event_ && event_->location == location && event_->time_us <= as_of_us)
            stock_account_add(&account, event_);
    }
    return account;
}

static inline int in_stock_at(const event_view *view, uint32_t location, int64_t as_of_us)
{
    stock_account account = stock_at(view, location, as_of_us);
    return stock_account_in_stock(&account, view->class_);
}

/* The GET_IN that started the visit at a location that has not ended, or NULL: "the events there in
 * time order, GET_IN before GET_OUT at the same time, judged event by event". */
static const event *visit_start(const event_view *view, uint32_t location)
{
    if (view->index)
        return summary_event(view, view_summary(view, location, FOR_EVER).visit_start);
    stock_account account = STOCK_ACCOUNT_EMPTY;
    const event *start = NULL;
    for (uint32_t begin = 0; begin < view->count;) {
        int64_t time_us = event_at(view->arena_, view->handles[begin])->time_us;
        uint32_t end = begin;
        while (end < view->count && event_at(view->arena_, view->handles[end])->time_us == time_us)
            end++;
        for (int type = EVENT_GET_IN; type <= EVENT_GET_OUT; type += EVENT_GET_OUT - EVENT_GET_IN)
            for (uint32_t i = begin; i < end; i++) {
                const event *event_ = view_event(view, i);
                if (!event_ || event_->location != location || event_->event_type != type)
                    continue;
                stock_account_add(&account, event_);
                int in_stock;
                if (view->class_ == CLASS_CONTAINER)
                    in_stock = type == EVENT_GET_IN;
                else
                    in_stock = stock_account_in_stock(&account, view->class_);
                if (!in_stock)
                    start = NULL;
                else if (!start)
                    start = event_;
            }
        begin = end;
    }
    return start;
}

/* A GET_OUT that takes the goods of a line away: "purpose CLEARANCE, at the line's location, of the
 * declaration's direction, at or after registeredDateTime". The latest one, or NULL; by the order
 * of time where two share an instant. */
static inline const event *latest_leaving(const event_view *view, uint32_t location,
                                          uint8_t direction, int64_t registered_us)
{
    if (view->index) {
        const event *latest = summary_event(
            view, view_summary(view, location, FOR_EVER).passed[direction].latest);
        return latest && latest->time_us >= registered_us ? latest : NULL;
    }
    for (uint32_t i = view->count; i--;) {
        const event *event_ = view_event(view, i);
        if (event_ && event_->event_type == EVENT_GET_OUT && event_->location == location &&
            event_->direction == direction && event_->purpose == PURPOSE_CLEARANCE &&
            event_->time_us >= registered_us)
            return event_;
    }
    return NULL;
}

/* Of the GET_OUTs at a location of a direction with purpose CLEARANCE: what passed with them, and
 * how many lack the quantity. */
typedef struct {
    int64_t quantity; /* pieces or grams */
    uint32_t missing;
} passed_quantity;

static inline int has_quantity(const event *event_, int by_pieces)
{
    return by_pieces ? event_->has_pieces : event_->has_weight;
}

static inline int64_t quantity_of(const event *event_, int by_pieces)
{
    return by_pieces ? (int64_t)event_->pieces : (int64_t)event_->weight_grams;
}

static inline passed_quantity passed_at(const event_view *view, uint32_t location,
                                        uint8_t direction, int by_pieces)
{
    if (view->index) {
        move_summary summary = view_summary(view, location, FOR_EVER);
        if (by_pieces)
            return (passed_quantity){summary.passed[direction].pieces,
                                     summary.passed[direction].without_pieces};
        return (passed_quantity){summary.passed[direction].grams,
                                 summary.passed[direction].without_weight};
    }
    passed_quantity passed = {0, 0};
    for (uint32_t i = 0; i < view->count; i++) {
        const event *event_ = view_event(view, i);
        if (!event_ || event_->event_type != EVENT_GET_OUT || event_->location != location ||
            event_->direction != direction || event_->purpose != PURPOSE_CLEARANCE)
            continue;
        passed.quantity += quantity_of(event_, by_pieces);
        passed.missing += !has_quantity(event_, by_pieces);
    }
    return passed;
}

/* The latest RESEAL at a location, or NULL. */
static inline const event *latest_reseal(const event_view *view, uint32_t location)
{
    if (view->index)
        return summary_event(view, view_summary(view, location, FOR_EVER).reseal);
    for (uint32_t i = view->count; i--;) {
        const event *event_ = view_event(view, i);
        if (event_ && event_->event_type == EVENT_RESEAL && event_->location == location)
            return event_;
    }
    return NULL;
}

typedef struct {
    uint32_t *handles;
    uint64_t count, capacity;
} handle_list;

static inline void handle_list_add(handle_list *list, uint32_t handle)
{
    list->handles = (uint32_t *)memory_grow(list->handles, &list->capacity, list->count + 1,
                                            sizeof *list->handles, "a list of events");
    list->handles[list->count++] = handle;
}

/* Appends the handles of the GET_INs up to a time that started a visit which has not ended; of a
 * view without `aside`. */
static void visit_starts(const event_view *view, int64_t latest_us, handle_list *starts)
{
    if (view->index) {
        const index_place *places = event_index_places(view->arena_, view->index);
        for (uint32_t i = 0; i < view->index->place_count; i++) {
            uint32_t start =
                view_summary(view, places[i].location, FOR_EVER).visit_start;
            if (start && event_at(view->arena_, start)->time_us <= latest_us)
                handle_list_add(starts, start);
        }
        return;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        const event *event_ = view_event(view, i);
        if (event_ && event_->event_type == EVENT_GET_IN && event_->time_us <= latest_us &&
            visit_start(view, event_->location) == event_)
            handle_list_add(starts, view->handles[i]);
    }
}

/* What open_checks_at does, of one place of an index (NULL: none there). */
static void indexed_open_checks(const event_view *view, const index_place *place,
                                handle_list *open)
{
    if (!place || !place->checks.count)
        return;
    move_summary summary =
        place_summary(view->arena_, view->index, place, place->moves.count, NULL);
    const uint32_t *checks = (const uint32_t *)arena_at(view->arena_, place->checks.block);
    uint32_t first = summary.closed_checks;
    if (view->class_ == CLASS_CONTAINER) {
        first = place->checks.count - 1;
        if (summary.account.latest_out_us >=
            event_at(view->arena_, checks[first])->time_us - GATE_CLOCK_US)
            return;
    }
    for (uint32_t i = first; i < place->checks.count; i++)
        handle_list_add(open, checks[i]);
}

/* Handles of the open checks of a unit at a location, in the order of time, appended to `open`.
 * Container: the latest GATE_CHECK, if no GET_OUT is at or after it less a minute. Lot: each
 * GET_OUT in time order closes the earliest GATE_CHECK that is still open and at most a minute
 * after it. A view without `aside`. */
static void open_checks_at(const event_view *view, uint32_t location, handle_list *open)
{
    if (view->index) {
        indexed_open_checks(view, event_index_place(view->arena_, view->index, location), open);
        return;
    }
    if (view->class_ == CLASS_CONTAINER) {
        int64_t latest_out_us = INT64_MIN;
        for (uint32_t i = view->count; i--;) {
            const event *event_ = view_event(view, i);
            if (!event_ || event_->location != location)
                continue;
            if (event_->event_type == EVENT_GET_OUT && event_->time_us > latest_out_us)
                latest_out_us = event_->time_us;
            if (event_->event_type == EVENT_GATE_CHECK) {
                /* A GET_OUT up to a minute earlier closes it too: look on that far. */
                for (uint32_t j = i; j--;) {
                    const event *earlier = view_event(view, j);
                    if (!earlier || earlier->location != location)
                        continue;
                    if (earlier->time_us < event_->time_us - GATE_CLOCK_US)
                        break;
                    if (earlier->event_type == EVENT_GET_OUT && earlier->time_us > latest_out_us)
                        latest_out_us = earlier->time_us;
                }
                if (latest_out_us < event_->time_us - GATE_CLOCK_US)
                    handle_list_add(open, view->handles[i]);
                return;
            }
        }
        return;
    }
    /* GET_OUTs and GATE_CHECKs both in time order: the closed checks are always the first ones, so
     * one pass counts them. */
    uint64_t first = open->count, closed = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        const event *event_ = view_event(view, i);
        if (event_ && event_->location == location && event_->event_type == EVENT_GATE_CHECK)
            handle_list_add(open, view->handles[i]);
    }
    for (uint32_t i = 0; i < view->count && first + closed < open->count; i++) {
        const event *event_ = view_event(view, i);
        if (event_ && event_->location == location && event_->event_type == EVENT_GET_OUT &&
            event_at(view->arena_, open->handles[first + closed])->time_us <=
                event_->time_us + GATE_CLOCK_US)
            closed++;
    }
    memmove(open->handles + first, open->handles + first + closed,
            (open->count - first - closed) * sizeof *open->handles);
    open->count -= closed;
}

#endif
