/* The index of a unit with many events, so that no question walks over all of them.
 *
 * What it is: its events by (operatorID, eventID); and for each location the movements and checks
 * in effect, with what the first 16, 32, 48 ... movements tell when they are added up. A question
 * starts from the last of these summaries that stands before what it asks for, and adds the few
 * movements behind it. Whatever comes or goes in the middle takes the summaries behind it away,
 * and they are made again.
 * Who calls it: unit_events.h.
 * What it must never know: units with few events, which are walked; declarations, decisions.
 *
 *   index | identities: table of event handles
 *         | places, ascending by location
 *             | moves: handles of GET_IN, GET_OUT, RESEAL in the order of time, at one instant a
 *             |        GET_OUT last
 *             | checks: handles of GATE_CHECKs in the order of time
 *             | summaries: of the first 16, 32, 48 ... moves
 */
#ifndef GATEJOIN_EVENT_INDEX_H
#define GATEJOIN_EVENT_INDEX_H

#include "unit_event.h"

#define SUMMARY_MOVES 16

/* What so many moves at one location tell, from the first on. */
typedef struct {
    stock_account account;
    uint32_t visit_start;   /* handle of the GET_IN that started the visit, 0: not in stock */
    uint32_t reseal;        /* handle of the latest RESEAL, 0 none */
    uint32_t closed_checks; /* of a lot: how many of the first checks its GET_OUTs have closed */
    struct {
        uint32_t latest; /* handle, 0 none */
        uint32_t without_pieces, without_weight;
        int64_t pieces, grams;
    } passed[DIRECTION_COUNT]; /* GET_OUTs with purpose CLEARANCE, by direction */
} move_summary;

typedef struct {
    uint32_t block; /* arena handle, 0 none */
    uint32_t count, capacity;
} handle_array;

typedef struct {
    uint32_t location;
    handle_array moves, checks;
    uint32_t summaries; /* arena handle, 0 none */
    uint32_t summary_count, summary_capacity;
} index_place;

typedef struct {
    uint32_t identities; /* arena handle of a table of event handles, 0 is an empty slot */
    uint32_t identity_count, identity_slots;
    uint32_t places; /* arena handle, 0 none */
    uint32_t place_count, place_capacity;
    uint8_t class_;
} event_index;

/* Makes room for one more element of an array in the arena; returns where it lies then. */
static uint32_t index_room(arena *arena_, uint32_t block, uint32_t count, uint32_t *capacity,
                           uint32_t element_bytes)
{
    if (count < *capacity)
        return block;
    uint32_t larger = *capacity ? *capacity * 2 : 4;
    uint32_t moved = arena_allocate(arena_, (uint64_t)larger * element_bytes);
    if (block) {
        memcpy(arena_at(arena_, moved), arena_at(arena_, block), (uint64_t)count * element_bytes);
        arena_release(arena_, block, (uint64_t)*capacity * element_bytes);
    }
    *capacity = larger;
    return moved;
}

static inline void index_release(arena *arena_, uint32_t block, uint32_t capacity,
                                 uint32_t element_bytes)
{
    if (block)
        arena_release(arena_, block, (uint64_t)capacity * element_bytes);
}

/* ---- by identity ----------------------------------------------------------------------------- */

static inline uint32_t identity_slot(const event_index *index, uint32_t operator_row_,
                                     const uint8_t *event_id, uint32_t length)
{
    return (text_hash(event_id, length) ^ operator_row_ * UINT32_C(0x9e3779b1)) &
           (index->identity_slots - 1);
}

static inline uint32_t identity_slot_of(const event_index *index, const event *event_)
{
    return identity_slot(index, event_->operator_row, event_id_bytes(event_),
                         event_->event_id_length);
}

static void identity_put(const arena *arena_, event_index *index, uint32_t handle)
{
    uint32_t *slots = (uint32_t *)arena_at(arena_, index->identities);
    uint32_t slot = identity_slot_of(index, event_at(arena_, handle));
    while (slots[slot])
        slot = (slot + 1) & (index->identity_slots - 1);
    slots[slot] = handle;
    index->identity_count++;
}

static void identity_add(arena *arena_, event_index *index, uint32_t handle)
{
    if ((index->identity_count + 1) * 2 > index->identity_slots) {
        event_index before = *index;
        index->identity_slots = before.identity_slots ? before.identity_slots * 2 : 8;
        index->identity_count = 0;
        index->identities = arena_allocate(arena_, 4 * (uint64_t)index->identity_slots);
        memset(arena_at(arena_, index->identities), 0, 4 * (uint64_t)index->identity_slots);
        for (uint32_t i = 0; i < before.identity_slots; i++) {
            uint32_t old = ((uint32_t *)arena_at(arena_, before.identities))[i];
            if (old)
                identity_put(arena_, index, old);
        }
        index_release(arena_, before.identities, before.identity_slots, 4);
    }
    identity_put(arena_, index, handle);
}

/* Takes one out; those behind it move up, so that none is looked for in vain. */
static void identity_remove(const arena *arena_, event_index *index, uint32_t handle)
{
    uint32_t *slots = (uint32_t *)arena_at(arena_, index->identities);
    uint32_t mask = index->identity_slots - 1;
    uint32_t hole = identity_slot_of(index, event_at(arena_, handle));
    while (slots[hole] != handle)
        hole = (hole + 1) & mask;
    index->identity_count--;
    for (uint32_t slot = hole;;) {
        slot = (slot + 1) & mask;
        if (!slots[slot])
            break;
        uint32_t home = identity_slot_of(index, event_at(arena_, slots[slot]));
        if (((slot - home) & mask) >= ((slot - hole) & mask)) {
            slots[hole] = slots[slot];
            hole = slot;
        }
    }
    slots[hole] = 0;
}

/* The handle of the event with this identity, or 0. */
static uint32_t event_index_find(const arena *arena_, const event_index *index,
                                 uint32_t operator_row_, text event_id)
{
    const uint32_t *slots = (const uint32_t *)arena_at(arena_, index->identities);
    uint32_t slot = identity_slot(index, operator_row_, event_id.bytes, event_id.length);
    while (slots[slot] && !event_is(event_at(arena_, slots[slot]), operator_row_, event_id))
        slot = (slot + 1) & (index->identity_slots - 1);
    return slots[slot];
}

/* ---- by place and time ----------------------------------------------------------------------- */

/* At one instant a GET_OUT comes after all others, as a visit wants it (section 4). */
static inline int move_order(const customs_tables *tables, const event *a, const event *b)
{
    int a_is_out = a->event_type == EVENT_GET_OUT, b_is_out = b->event_type == EVENT_GET_OUT;
    if (a->time_us == b->time_us && a_is_out != b_is_out)
        return a_is_out - b_is_out;
    return event_order(tables, a, b);
}

typedef int (*event_comparison)(const customs_tables *tables, const event *a, const event *b);

/* How many of the handles come before an event; mostly all of them do. */
static uint32_t handles_before(const customs_tables *tables, const arena *arena_,
                               const uint32_t *handles, uint32_t count, const event *event_,
                               event_comparison order)
{
    uint32_t low = 0, high = count;
    for (uint32_t step = 1; high > 0; step *= 2) {
        uint32_t probe = high > step ? high - step : 0;
        if (order(tables, event_at(arena_, handles[probe]), event_) < 0) {
            low = probe + 1;
            break;
        }
        high = probe;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (order(tables, event_at(arena_, handles[middle]), event_) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline int time_order(const customs_tables *tables, const event *a, const event *b)
{
    (void)tables;
    return a->time_us < b->time_us ? -1 : a->time_us > b->time_us;
}

/* How many of the handles are of events before a time. */
static uint32_t handles_before_time(const arena *arena_, const handle_array *array,
                                    int64_t time_us)
{
    const event then = {.time_us = time_us};
    return handles_before(NULL, arena_, (const uint32_t *)arena_at(arena_, array->block),
                          array->count, &then, time_order);
}

/* Puts a handle in where `order` wants it; returns its place. */
static uint32_t handle_array_add(const customs_tables *tables, arena *arena_, handle_array *array,
                                 uint32_t handle, event_comparison order)
{
    array->block = index_room(arena_, array->block, array->count, &array->capacity, 4);
    uint32_t *handles = (uint32_t *)arena_at(arena_, array->block);
    uint32_t place = handles_before(tables, arena_, handles, array->count,
                                    event_at(arena_, handle), order);
    memmove(handles + place + 1, handles + place, 4 * (uint64_t)(array->count - place));
    handles[place] = handle;
    array->count++;
    return place;
}

/* Takes a handle out; returns where it was. */
static uint32_t handle_array_remove(const customs_tables *tables, const arena *arena_,
                                    handle_array *array, uint32_t handle, event_comparison order)
{
    uint32_t *handles = (uint32_t *)arena_at(arena_, array->block);
    uint32_t place = handles_before(tables, arena_, handles, array->count,
                                    event_at(arena_, handle), order);
    while (handles[place] != handle)
        place++;
    array->count--;
    memmove(handles + place, handles + place + 1, 4 * (uint64_t)(array->count - place));
    return place;
}

/* Where a location stands or would stand among the places. */
static uint32_t place_number(const arena *arena_, const event_index *index, uint32_t location)
{
    const index_place *places = (const index_place *)arena_at(arena_, index->places);
    uint32_t low = 0, high = index->place_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (places[middle].location < location)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline index_place *event_index_places(const arena *arena_, const event_index *index)
{
    return (index_place *)arena_at(arena_, index->places);
}

/* The place of a location, or NULL where nothing in effect has ever been. */
static index_place *event_index_place(const arena *arena_, const event_index *index,
                                      uint32_t location)
{
    uint32_t number = place_number(arena_, index, location);
    index_place *place = event_index_places(arena_, index) + number;
    return number < index->place_count && place->location == location ? place : NULL;
}

static index_place *event_index_place_for(arena *arena_, event_index *index, uint32_t location)
{
    index_place *place = event_index_place(arena_, index, location);
    if (place)
        return place;
    index->places = index_room(arena_, index->places, index->place_count, &index->place_capacity,
                               sizeof *place);
    uint32_t number = place_number(arena_, index, location);
    place = event_index_places(arena_, index) + number;
    memmove(place + 1, place, (index->place_count - number) * sizeof *place);
    index->place_count++;
    *place = (index_place){.location = location};
    return place;
}

/* ---- summaries ------------------------------------------------------------------------------- */

static void move_summary_add(const arena *arena_, const index_place *place, uint8_t class_,
                             uint32_t handle, move_summary *summary)
{
    const event *event_ = event_at(arena_, handle);
    if (event_->event_type == EVENT_RESEAL) {
        summary->reseal = handle;
        return;
    }
    int is_in = event_->event_type == EVENT_GET_IN;
    stock_account_add(&summary->account, event_);
    int in_stock = class_ == CLASS_CONTAINER ? is_in
                                             : stock_account_in_stock(&summary->account, class_);
    if (!in_stock)
        summary->visit_start = 0;
    else if (!summary->visit_start)
        summary->visit_start = handle;
    if (is_in)
        return;
    const uint32_t *checks = (const uint32_t *)arena_at(arena_, place->checks.block);
    if (summary->closed_checks < place->checks.count &&
        event_at(arena_, checks[summary->closed_checks])->time_us <=
            event_->time_us + GATE_CLOCK_US)
        summary->closed_checks++;
    if (event_->purpose == PURPOSE_CLEARANCE) {
        summary->passed[event_->direction].latest = handle;
        summary->passed[event_->direction].pieces += event_->pieces;
        summary->passed[event_->direction].grams += (int64_t)event_->weight_grams;
        summary->passed[event_->direction].without_pieces += !event_->has_pieces;
        summary->passed[event_->direction].without_weight += !event_->has_weight;
    }
}

/* What the first `count` moves at a place tell, without `aside` (may be NULL). */
static move_summary place_summary(const arena *arena_, const event_index *index,
                                  const index_place *place, uint32_t count, const event *aside)
{
    move_summary summary = {.account = STOCK_ACCOUNT_EMPTY};
    if (!count)
        return summary;
    const uint32_t *moves = (const uint32_t *)arena_at(arena_, place->moves.block);
    uint32_t without = count; /* from here on moves may be `aside` */
    if (aside && is_movement(aside->event_type) && aside->location == place->location) {
        without = handles_before_time(arena_, &place->moves, aside->time_us);
        if (without > count)
            without = count;
    }
    uint32_t summaries = without / SUMMARY_MOVES;
    if (summaries > place->summary_count)
        summaries = place->summary_count;
    if (summaries)
        summary = ((const move_summary *)arena_at(arena_, place->summaries))[summaries - 1];
    for (uint32_t i = summaries * SUMMARY_MOVES; i < count; i++)
        if (event_at(arena_, moves[i]) != aside)
            move_summary_add(arena_, place, index->class_, moves[i], &summary);
    return summary;
}

/* The first `moves` moves at a place are as they were: makes the summaries behind them again. */
static void place_summarise(arena *arena_, const event_index *index, index_place *place,
                            uint32_t moves)
{
    if (place->summary_count > moves / SUMMARY_MOVES)
        place->summary_count = moves / SUMMARY_MOVES;
    while ((place->summary_count + 1) * SUMMARY_MOVES <= place->moves.count) {
        move_summary next = place_summary(arena_, index, place,
                                          (place->summary_count + 1) * SUMMARY_MOVES, NULL);
        place->summaries = index_room(arena_, place->summaries, place->summary_count,
                                      &place->summary_capacity, sizeof next);
        ((move_summary *)arena_at(arena_, place->summaries))[place->summary_count++] = next;
    }
}

/* ---- events coming and going ----------------------------------------------------------------- */

static inline int is_move(const event *event_)
{
    return is_movement(event_->event_type) || event_->event_type == EVENT_RESEAL;
}

/* How many moves say the same of the checks they close whether this one is there or not. */
static inline uint32_t moves_before_check(const arena *arena_, const index_place *place,
                                          const event *check)
{
    return handles_before_time(arena_, &place->moves, check->time_us - GATE_CLOCK_US);
}

static void event_index_add(const customs_tables *tables, arena *arena_, event_index *index,
                            uint32_t handle)
{
    const event *event_ = event_at(arena_, handle);
    identity_add(arena_, index, handle);
    if (event_->is_retracted)
        return;
    if (event_->event_type == EVENT_GATE_CHECK) {
        index_place *place = event_index_place_for(arena_, index, event_->location);
        handle_array_add(tables, arena_, &place->checks, handle, event_order);
        place_summarise(arena_, index, place, moves_before_check(arena_, place, event_));
    } else if (is_move(event_)) {
        index_place *place = event_index_place_for(arena_, index, event_->location);
        uint32_t number = handle_array_add(tables, arena_, &place->moves, handle, move_order);
        place_summarise(arena_, index, place, number);
    }
}

static void event_index_remove(const customs_tables *tables, arena *arena_, event_index *index,
                               uint32_t handle)
{
    const event *event_ = event_at(arena_, handle);
    identity_remove(arena_, index, handle);
    if (event_->is_retracted)
        return;
    if (event_->event_type == EVENT_GATE_CHECK) {
        index_place *place = event_index_place(arena_, index, event_->location);
        handle_array_remove(tables, arena_, &place->checks, handle, event_order);
        place_summarise(arena_, index, place, moves_before_check(arena_, place, event_));
    } else if (is_move(event_)) {
        index_place *place = event_index_place(arena_, index, event_->location);
        uint32_t number = handle_array_remove(tables, arena_, &place->moves, handle, move_order);
        place_summarise(arena_, index, place, number);
    }
}

/* An index of these events, which are in the order of time. */
static uint32_t event_index_make(const customs_tables *tables, arena *arena_, uint8_t class_,
                                 const uint32_t *handles, uint32_t count)
{
    uint32_t made = arena_allocate(arena_, sizeof(event_index));
    event_index *index = (event_index *)arena_at(arena_, made);
    *index = (event_index){.class_ = class_};
    for (uint32_t i = 0; i < count; i++)
        event_index_add(tables, arena_, index, handles[i]);
    return made;
}

static void event_index_release(arena *arena_, uint32_t handle)
{
    event_index *index = (event_index *)arena_at(arena_, handle);
    index_place *places = event_index_places(arena_, index);
    for (uint32_t i = 0; i < index->place_count; i++) {
        index_release(arena_, places[i].moves.block, places[i].moves.capacity, 4);
        index_release(arena_, places[i].checks.block, places[i].checks.capacity, 4);
        index_release(arena_, places[i].summaries, places[i].summary_capacity,
                      sizeof(move_summary));
    }
    index_release(arena_, index->places, index->place_capacity, sizeof *places);
    index_release(arena_, index->identities, index->identity_slots, 4);
    arena_release(arena_, handle, sizeof *index);
}

#endif
