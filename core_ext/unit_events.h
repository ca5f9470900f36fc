/* The state of a unit: the set of its events.
 *
 * What it is: storage for events, one per (operatorID, eventID), the highest version of each, kept
 * in the order of time, ties broken by operatorID and eventID (CONTRACT.md section 4); and what
 * section 4 derives from the set: stock, visits, leavings, open checks.
 * Who calls it: engine.h puts events in, rules.h, alerts.h and stock.h ask.
 * What it must never know: declarations' meaning, decisions, JSON, Kafka.
 *
 * One event is one block of the arena:
 *
 *   | header 56 bytes | presented declaration numbers u64 | eventID | seals: length u8, bytes |
 *
 * and a unit has an array of handles to them (units.h), so a unit with three events of 16-byte
 * eventIDs takes 3 x 72 + 16 bytes here.
 */
#ifndef GATEJOIN_UNIT_EVENTS_H
#define GATEJOIN_UNIT_EVENTS_H

#include "customs_tables.h"
#include "date_time.h"
#include "memory.h"
#include "record_types.h"
#include "seal_sets.h"
#include "units.h"

#define MICROSECONDS_PER_MINUTE (60 * MICROSECONDS_PER_SECOND)
#define MICROSECONDS_PER_HOUR (60 * MICROSECONDS_PER_MINUTE)
#define FOR_EVER INT64_MAX
/* "Gate clocks are often cut to the minute" (section 4, open check). */
#define GATE_CLOCK_US MICROSECONDS_PER_MINUTE

typedef struct {
    int64_t time_us;
    int64_t version_us;
    int64_t record_time_ms;
    uint64_t weight_grams : 40;
    uint64_t event_type : 3;
    uint64_t unit_type : 2;
    uint64_t direction : 2;
    uint64_t purpose : 3;
    uint64_t is_retracted : 1;
    uint64_t has_pieces : 1;
    uint64_t has_weight : 1;
    uint64_t has_document : 1;
    uint64_t looked : 1;      /* somebody looked at the seals */
    uint64_t suspended : 1;   /* the operator's status with the record in force */
    uint64_t at_airport : 1;  /* the operator's kind with the record in force */
    uint32_t pieces;
    uint32_t operator_row;
    uint32_t location;
    uint32_t check;           /* decisions so far (arena handle of check_state), 0 none */
    uint32_t block_bytes;
    uint8_t event_id_length;
    uint8_t seal_count;
    uint8_t presented_count;
    uint8_t alerts;           /* alerts raised, one bit each (alerts.h) */
    uint8_t tail[];
} event;

/* The decisions of a GATE_CHECK so far: how many, and what the last one said. */
typedef struct {
    uint32_t sequence;
    uint32_t reasons, flags; /* bit per row of section 5 */
    uint32_t declaration_count;
    uint64_t declarations[]; /* numbers, ascending */
} check_state;

static inline event *event_at(const arena *arena_, uint32_t handle)
{
    return (event *)arena_at(arena_, handle);
}

static inline uint32_t *unit_events_array(const arena *arena_, const unit *unit_)
{
    return (uint32_t *)arena_at(arena_, unit_->events);
}

static inline const uint64_t *event_presented(const event *event_)
{
    return (const uint64_t *)event_->tail;
}

static inline const uint8_t *event_id_bytes(const event *event_)
{
    return event_->tail + 8u * event_->presented_count;
}

static inline void event_seals(const event *event_, seal_list *list)
{
    const uint8_t *place = event_id_bytes(event_) + event_->event_id_length;
    for (uint32_t i = 0; i < event_->seal_count; i++) {
        seal_list_add(list, place + 1, place[0]);
        place += 1 + place[0];
    }
}

static inline int is_movement(uint8_t event_type)
{
    return event_type == EVENT_GET_IN || event_type == EVENT_GET_OUT;
}

static inline uint64_t check_state_bytes(uint32_t declaration_count)
{
    return sizeof(check_state) + 8u * (uint64_t)declaration_count;
}

/* Order of time: (eventDateTime, operatorID, eventID), the last two bytewise. */
static inline int event_order(const customs_tables *tables, const event *a, const event *b)
{
    if (a->time_us != b->time_us)
        return a->time_us < b->time_us ? -1 : 1;
    if (a->operator_row != b->operator_row) {
        const interned_text *left = operator_name(tables, a->operator_row);
        const interned_text *right = operator_name(tables, b->operator_row);
        return bytes_compare((const uint8_t *)left->bytes, left->length,
                            (const uint8_t *)right->bytes, right->length);
    }
    return bytes_compare(event_id_bytes(a), a->event_id_length, event_id_bytes(b),
                        b->event_id_length);
}

/* The place of an event in its unit's array, or -1. */
static inline int64_t unit_events_find(const arena *arena_, const unit *unit_,
                                       uint32_t operator_row_, text event_id)
{
    const uint32_t *handles = unit_->event_count ? unit_events_array(arena_, unit_) : NULL;
    for (uint32_t i = 0; i < unit_->event_count; i++) {
        const event *event_ = event_at(arena_, handles[i]);
        if (event_->operator_row == operator_row_ && event_->event_id_length == event_id.length &&
            !memcmp(event_id_bytes(event_), event_id.bytes, event_id.length))
            return i;
    }
    return -1;
}

static uint32_t event_store(arena *arena_, const port_event *record, uint32_t operator_row_,
                            const operator_row *operator_, uint32_t location,
                            int64_t record_time_ms)
{
    uint64_t bytes =
        sizeof(event) + 8u * (uint64_t)record->presented_count + record->event_id.length;
    for (uint32_t i = 0; i < record->seals.count; i++)
        bytes += 1 + record->seals.seals[i].length;
    uint32_t handle = arena_allocate(arena_, bytes);
    event *event_ = event_at(arena_, handle);
    memset(event_, 0, sizeof *event_);
    event_->time_us = record->event_time_us;
    event_->version_us = record->version_us;
    event_->record_time_ms = record_time_ms;
    event_->weight_grams = record->has_weight ? (uint64_t)record->weight_grams : 0;
    event_->event_type = record->event_type;
    event_->unit_type = record->unit_type;
    event_->direction = record->direction;
    event_->purpose = record->purpose;
    event_->is_retracted = record->is_retracted;
    event_->has_pieces = record->has_pieces;
    event_->has_weight = record->has_weight;
    event_->has_document = record->document.length > 0;
    event_->looked = record->seals.looked;
    event_->suspended = operator_->status == OPERATOR_SUSPENDED;
    event_->at_airport = operator_->kind == KIND_AIRPORT;
    event_->pieces = record->has_pieces ? record->pieces : 0;
    event_->operator_row = operator_row_;
    event_->location = location;
    event_->block_bytes = (uint32_t)bytes;
    event_->event_id_length = (uint8_t)record->event_id.length;
    event_->seal_count = (uint8_t)record->seals.count;
    event_->presented_count = (uint8_t)record->presented_count;
    uint8_t *place = event_->tail;
    memcpy(place, record->presented, 8u * (uint64_t)record->presented_count);
    place += 8u * (uint64_t)record->presented_count;
    memcpy(place, record->event_id.bytes, record->event_id.length);
    place += record->event_id.length;
    for (uint32_t i = 0; i < record->seals.count; i++) {
        *place++ = (uint8_t)record->seals.seals[i].length;
        memcpy(place, record->seals.seals[i].bytes, record->seals.seals[i].length);
        place += record->seals.seals[i].length;
    }
    return handle;
}

static void event_release(arena *arena_, uint32_t handle)
{
    event *event_ = event_at(arena_, handle);
    if (event_->check) {
        const check_state *check = (const check_state *)arena_at(arena_, event_->check);
        arena_release(arena_, event_->check, check_state_bytes(check->declaration_count));
    }
    arena_release(arena_, handle, event_->block_bytes);
}

/* Takes the handle at `place` out of the unit's array; the block stays. */
static void unit_events_take(const arena *arena_, unit *unit_, uint32_t place)
{
    uint32_t *handles = unit_events_array(arena_, unit_);
    memmove(handles + place, handles + place + 1,
            (uint64_t)(unit_->event_count - place - 1) * sizeof *handles);
    unit_->event_count--;
}

/* Puts a handle into the unit's array where the order of time wants it. Events mostly arrive in
 * the order of time, so the search goes from the end. */
static void unit_events_insert(const customs_tables *tables, arena *arena_, unit *unit_,
                               uint32_t handle)
{
    if (!unit_->events) {
        unit_->event_capacity_log2 = 1;
        unit_->events = arena_allocate(arena_, sizeof(uint32_t) << unit_->event_capacity_log2);
    } else if (unit_->event_count == 1u << unit_->event_capacity_log2) {
        uint64_t bytes = sizeof(uint32_t) << unit_->event_capacity_log2;
        uint32_t larger = arena_allocate(arena_, bytes * 2);
        memcpy(arena_at(arena_, larger), arena_at(arena_, unit_->events), bytes);
        arena_release(arena_, unit_->events, bytes);
        unit_->events = larger;
        unit_->event_capacity_log2++;
    }
    uint32_t *handles = unit_events_array(arena_, unit_);
    const event *event_ = event_at(arena_, handle);
    uint32_t place = unit_->event_count;
    while (place && event_order(tables, event_at(arena_, handles[place - 1]), event_) > 0)
        place--;
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
} event_view;

static inline event_view unit_events_view(const arena *arena_, const unit *unit_,
                                          const event *aside)
{
    return (event_view){arena_, unit_->event_count ? unit_events_array(arena_, unit_) : NULL,
                        unit_->event_count, unit_->class_, aside};
}

/* The i-th event if it counts, else NULL. */
static inline const event *view_event(const event_view *view, uint32_t i)
{
    const event *event_ = event_at(view->arena_, view->handles[i]);
    return event_->is_retracted || event_ == view->aside ? NULL : event_;
}

/* What went in and out of one location up to some time. */
typedef struct {
    int64_t latest_in_us, latest_out_us; /* INT64_MIN: none */
    int64_t pieces_in, pieces_out;
    int64_t grams_in, grams_out;
} stock_account;

#define STOCK_ACCOUNT_EMPTY {INT64_MIN, INT64_MIN, 0, 0, 0, 0}

static inline void stock_account_add(stock_account *account, const event *event_)
{
    if (event_->event_type == EVENT_GET_IN) {
        if (event_->time_us > account->latest_in_us)
            account->latest_in_us = event_->time_us;
        account->pieces_in += event_->pieces;
        account->grams_in += (int64_t)event_->weight_grams;
    } else if (event_->event_type == EVENT_GET_OUT) {
        if (event_->time_us > account->latest_out_us)
            account->latest_out_us = event_->time_us;
        account->pieces_out += event_->pieces;
        account->grams_out += (int64_t)event_->weight_grams;
    }
}

/* Container: some GET_IN has no GET_OUT from its time on. Lot: the balance is above zero, "in
 * pieces if the pieces of these GET_IN sum to more than 0, else in weight". */
static inline int stock_account_in_stock(const stock_account *account, uint8_t class_)
{
    if (class_ == CLASS_CONTAINER)
        return account->latest_in_us > account->latest_out_us;
    if (account->pieces_in > 0)
        return account->pieces_in > account->pieces_out;
    return account->grams_in > account->grams_out;
}

static inline stock_account stock_at(const event_view *view, uint32_t location, int64_t as_of_us)
{
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
    for (uint32_t i = view->count; i--;) {
        const event *event_ = view_event(view, i);
        if (event_ && event_->event_type == EVENT_GET_OUT && event_->location == location &&
            event_->direction == direction && event_->purpose == PURPOSE_CLEARANCE &&
            event_->time_us >= registered_us)
            return event_;
    }
    return NULL;
}

/* Handles of the open checks of a unit at a location, in the order of time, appended to `open`.
 * Container: the latest GATE_CHECK, if no GET_OUT is at or after it less a minute. Lot: each
 * GET_OUT in time order closes the earliest GATE_CHECK that is still open and at most a minute
 * after it. */
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

static void open_checks_at(const event_view *view, uint32_t location, handle_list *open)
{
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
