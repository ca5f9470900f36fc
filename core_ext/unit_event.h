/* One event of a unit.
 *
 * What it is: storage for one event, the order of events, and what went in and out, added up.
 * Who calls it: event_index.h, unit_events.h and whoever looks at single events.
 * What it must never know: sets of events, declarations' meaning, decisions, JSON, Kafka.
 *
 * One event is one block of the arena:
 *
 *   | header 56 bytes | presented declaration numbers u64 | eventID | seals: length u8, bytes |
 */
#ifndef GATEJOIN_UNIT_EVENT_H
#define GATEJOIN_UNIT_EVENT_H

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
    union {
        struct {
            uint64_t weight_grams : 40;
            uint64_t event_type : 3;
            uint64_t unit_type : 2;
            uint64_t direction : 2;
            uint64_t purpose : 3;
            uint64_t is_retracted : 1;
            uint64_t has_pieces : 1;
            uint64_t has_weight : 1;
            uint64_t has_document : 1;
            uint64_t looked : 1;     /* somebody looked at the seals */
            uint64_t suspended : 1;  /* the operator's status with the record in force */
            uint64_t at_airport : 1; /* the operator's kind with the record in force */
        };
        uint64_t weight_and_bits; /* the bits as unit_state.h writes them, from EVENT_BITS_AT on */
    };
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

#define EVENT_BITS_AT 40

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

static inline int event_is(const event *event_, uint32_t operator_row_, text event_id)
{
    return event_->operator_row == operator_row_ && event_->event_id_length == event_id.length &&
           !memcmp(event_id_bytes(event_), event_id.bytes, event_id.length);
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
    /* One word at a time: field by field, each would have to wait for the one before. */
    const uint64_t bits = record->event_type | (uint64_t)record->unit_type << 3 |
                          (uint64_t)record->direction << 5 | (uint64_t)record->purpose << 7 |
                          (uint64_t)(record->is_retracted != 0) << 10 |
                          (uint64_t)(record->has_pieces != 0) << 11 |
                          (uint64_t)(record->has_weight != 0) << 12 |
                          (uint64_t)(record->document.length > 0) << 13 |
                          (uint64_t)(record->seals.looked != 0) << 14 |
                          (uint64_t)(operator_->status == OPERATOR_SUSPENDED) << 15 |
                          (uint64_t)(operator_->kind == KIND_AIRPORT) << 16;
    const uint64_t weight_grams = record->has_weight ? (uint64_t)record->weight_grams : 0;
    *event_ = (event){.time_us = record->event_time_us,
                      .version_us = record->version_us,
                      .record_time_ms = record_time_ms,
                      .weight_and_bits = weight_grams | bits << EVENT_BITS_AT,
                      .pieces = record->has_pieces ? record->pieces : 0,
                      .operator_row = operator_row_,
                      .location = location,
                      .block_bytes = (uint32_t)bytes,
                      .event_id_length = (uint8_t)record->event_id.length,
                      .seal_count = (uint8_t)record->seals.count,
                      .presented_count = (uint8_t)record->presented_count};
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

#endif
