/* The whole state of an engine and what it has to say.
 *
 * What it is: the struct that joins customs' tables, the units, the state of each owned partition,
 * the policy in force and the outputs; and the names that records are written with.
 * Who calls it: decisions.h, alerts.h, clock_alerts.h, engine.h, matcher.pyx.
 * What it must never know: where records come from and where they go.
 */
#ifndef GATEJOIN_ENGINE_STATE_H
#define GATEJOIN_ENGINE_STATE_H

#include "container_number.h"
#include "customs_tables.h"
#include "json_write.h"
#include "kafka_partitioner.h"
#include "memory.h"
#include "operator_activity.h"
#include "operator_figures.h"
#include "published_tail.h"
#include "record_scanner.h"
#include "record_view.h"
#include "rules.h"
#include "state_names.h"
#include "state_unit.h"
#include "stock_ledger.h"
#include "unit_events.h"
#include "units.h"
#include "volumes.h"

static const char *const unit_type_names[UNIT_TYPE_COUNT] = {"CONTAINER", "PACKAGES", "BULK",
                                                             "LIQUID"};
static const char *const direction_names[DIRECTION_COUNT] = {"IMPORT", "EXPORT", "TRANSIT",
                                                             "DOMESTIC"};
static const char *const status_names[STATUS_COUNT] = {
    "REGISTERED", "CLEARED", "RELEASED", "TO_STORAGE", "TO_INSPECTION", "TRANSPORT_APPROVED",
    "CANCELLED"};
static const char *const reject_names[] = {
    "", "TOO_LARGE", "MALFORMED", "FUTURE", "MISPARTITIONED", "UNKNOWN_OPERATOR",
    "OPERATOR_NOT_CONNECTED", "OPERATOR_LOCATION"};
#define REJECT_COUNT 8

/* Alerts on an event come in this order (section 5); its bits are in event.alerts. */
enum alert_type {
    ALERT_UNAUTHORISED_EXIT, ALERT_DOUBLE_ENTRY, ALERT_EXIT_WITHOUT_ENTRY, ALERT_LATE_REPORT,
    ALERT_DISCREPANCY, ALERT_STOCK_MISMATCH, ALERT_EXIT_RETRACTED, ALERT_RECALL,
    ALERT_OVERSTAYED, ALERT_TRANSIT_OVERDUE, ALERT_COUNT
};
static const char *const alert_names[ALERT_COUNT] = {
    "UNAUTHORISED_EXIT", "DOUBLE_ENTRY", "EXIT_WITHOUT_ENTRY", "LATE_REPORT", "DISCREPANCY",
    "STOCK_MISMATCH", "EXIT_RETRACTED", "RECALL", "OVERSTAYED", "TRANSIT_OVERDUE"};

/* One row set: which rows hold and which flag, from when to when by eventDateTime. */
#define RULE_SET_NAME_MAX 64
typedef struct {
    int64_t from_us, to_us; /* to is exclusive */
    uint32_t hold_mask, flag_mask;
    char name[RULE_SET_NAME_MAX + 1];
} policy_period;

typedef struct {
    int64_t due_us;
    uint32_t unit_row;
} timer;

/* Units that were forgotten together, until the changelog has it all (retention.h). */
typedef struct {
    uint64_t number;
    uint8_t *value; /* of its record */
    uint64_t value_length;
    uint8_t is_logged; /* its record is in the log */
} retirement;

#define PARTITIONS_MAX 65536 /* what unit.partition can say */

/* What an engine knows of one partition of port-events. */
typedef struct {
    uint8_t restoring; /* its state is coming back: nothing of it is weighed until it is whole */
    uint8_t has_units; /* had, at least; without, nobody need look for any among millions */
    int64_t clock_us; /* the greatest record timestamp so far: the clock of alerts by the clock */
    timer *timers;    /* binary heap, the next one due first */
    uint64_t timer_count, timer_capacity;
    volume_table volumes;
    stock_ledger stock; /* kept by a worker; a replay counts once, at its end (stock.h) */
    activity_table activity; /* kept by a worker */
    unit_rows changed_units; /* kept by a worker: to be logged, each once (unit_log.h) */
    uint64_t taken, take_end; /* those of them that the taking under way has taken, and that it
                                 covers; both 0: none is */
    uint32_t takes;           /* how many are through */
    volume_table retired;    /* what forgotten units moved; in `volumes` too (retention.h) */
    retirement *retirements;
    uint64_t retirement_count, retirement_capacity;
    uint64_t retirement_number; /* of the latest */
    uint32_t retire_row;        /* where to look for the next units to forget */
    published_tail published; /* what a former owner has said already (restore.h) */
} partition_state;

typedef struct {
    uint64_t records[TOPIC_COUNT];
    uint64_t duplicates[TOPIC_COUNT];
    uint64_t rejects[REJECT_COUNT];
    uint64_t customs_rejects[REJECT_COUNT]; /* those of them that are not of port events */
    uint64_t decisions[2];           /* RELEASE, HOLD */
    uint64_t standing[RULE_COUNT];   /* rows that stood with an effect, in decisions */
    uint64_t alerts[ALERT_COUNT];
    /* first reports of exits that have a time limit, and those that came after it */
    uint64_t exit_reports[DIRECTION_COUNT], late_reports[DIRECTION_COUNT];
} engine_counters;

/* The record under work. */
typedef struct {
    uint8_t topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    int64_t now_us; /* decidedDateTime and raisedDateTime of what it causes */
} cause;

/* What of a record's effects is held back while port events are applied again. */
enum { MUTE_NOTHING, MUTE_DECISIONS, MUTE_ALL };

#define TOPIC_NAME_MAX 249 /* Kafka's own limit */

typedef struct {
    arena arena_;
    customs_tables customs;
    unit_table units;
    record_scanner scanner;
    rule_parameters parameters;
    policy_period *periods;
    uint64_t period_count;
    char topic_names[TOPIC_COUNT][TOPIC_NAME_MAX + 1];
    partition_state *partitions;
    uint32_t partition_count;
    uint8_t check_partition; /* 0 in a replay: never MISPARTITIONED, everything is partition 0 */
    uint8_t mute;            /* while port events are restored: what is not said */
    uint8_t explain;         /* write explanations too */
    record_output decisions, alerts, rejects, registry, explanations;
    record_output volume_cells, stock_cells, activity_cells, unit_changes;
    engine_counters counters;
    operator_figures_table figures; /* by operator */
    /* scratch of one record, kept for its memory */
    weighing weighing_;
    unit_rows touched;
    state_names log_operators, log_locations;
    state_unit log_unit; /* being read (unit_log.h) */
    uint32_t *log_rows;  /* of the names in it */
    uint64_t log_row_capacity;
    handle_list open_checks;
    struct weighing_candidate *candidates, *candidates_spare;
    uint64_t candidate_count, candidate_capacity, candidate_spare_capacity;
    struct recall *recalls;
    uint64_t recall_count, recall_capacity;
    struct due_alert *due_alerts;
    uint64_t due_count, due_capacity;
} engine;

static inline const policy_period *policy_at(const engine *engine_, int64_t event_time_us)
{
    const policy_period *period = engine_->periods;
    while (event_time_us >= period->to_us)
        period++; /* the last one has no end; there are a few at most */
    return period;
}

static inline uint32_t unit_partition(const engine *engine_, const unit_name *name)
{
    if (!engine_->check_partition)
        return 0;
    return (uint32_t)kafka_partition(name->name, name->length, engine_->partition_count);
}

static inline const unit *unit_at(const engine *engine_, uint32_t row)
{
    return &engine_->units.rows[row];
}

/* Notes that the state of a unit has changed and is to be logged; a replay logs nothing. */
static inline void unit_changed(engine *engine_, uint32_t row)
{
    unit *unit_ = &engine_->units.rows[row];
    if (!engine_->check_partition)
        return;
    unit_->changed_in = engine_->partitions[unit_->partition].takes;
    if (unit_->changed)
        return;
    unit_->changed = 1;
    unit_rows_add(&engine_->partitions[unit_->partition].changed_units, row);
}

/* Notes that a unit is one of a partition, and the partition has one. */
static inline void unit_belongs(engine *engine_, unit *unit_, uint32_t partition)
{
    unit_->partition = (uint16_t)partition;
    engine_->partitions[partition].has_units = 1;
}

/* Where a walk over all units of a partition ends. */
static inline uint32_t partition_row_limit(const engine *engine_, uint32_t partition)
{
    return engine_->partitions[partition].has_units ? unit_index_row_limit(&engine_->units.index)
                                                    : 0;
}

/* Room at the end of an output; running out of memory stops the process (memory.h says why). */
static inline uint8_t *output_room(record_output *output, uint64_t bytes)
{
    uint8_t *place = record_output_reserve(output, bytes);
    if (!place) {
        fprintf(stderr, "gatejoin: out of memory for outputs; stopping, since a decision that "
                        "can't be written must not be lost.\n");
        abort();
    }
    return place;
}

/* Closes a record whose value lies at the end of the output's bytes, with the key, or the line end,
 * behind it. */
static inline void output_close(record_output *output, uint8_t *value_end, const void *key,
                                int32_t key_length, int32_t partition, int64_t timestamp_ms)
{
    if (output->as_lines) {
        output->bytes_size = (uint64_t)(value_end - output->bytes);
        *output_room(output, 1) = '\n';
        output->bytes_size++;
        return;
    }
    uint64_t value_offset = output->bytes_size;
    uint64_t value_length = (uint64_t)(value_end - output->bytes) - value_offset;
    output->bytes_size += value_length;
    uint64_t key_offset = output->bytes_size;
    if (key_length > 0) {
        memcpy(output_room(output, (uint64_t)key_length), key, (size_t)key_length);
        output->bytes_size += (uint64_t)key_length;
    }
    output_record *record = record_output_append(output);
    if (!record)
        output_room(output, UINT64_MAX / 4); /* stops with the reason */
    *record = (output_record){.key_offset = key_offset,
                              .value_offset = value_offset,
                              .key_length = key_length,
                              .value_length = (int32_t)value_length,
                              .partition = partition,
                              .timestamp_ms = timestamp_ms};
}

static inline uint8_t *json_interned(uint8_t *place, const interned_text *name)
{
    return json_text(place, name->bytes, name->length);
}

static inline uint8_t *json_name(uint8_t *place, const char *name)
{
    return json_text(place, name, strlen(name));
}

/* `"topic":...,"partition":...,"offset":...` of section 3. */
static inline uint8_t *json_source(uint8_t *place, const engine *engine_, const cause *cause_)
{
    JSON_LITERAL(place, "{\"topic\":");
    place = json_name(place, engine_->topic_names[cause_->topic]);
    JSON_LITERAL(place, ",\"partition\":");
    place = json_integer(place, cause_->partition);
    JSON_LITERAL(place, ",\"offset\":");
    place = json_integer(place, cause_->offset);
    *place++ = '}';
    return place;
}
#define SOURCE_BYTES (JSON_TEXT_BYTES(TOPIC_NAME_MAX) + 100)

/* An array of the codes of the rows in `mask`, in the order of the table. */
static inline uint8_t *json_rule_codes(uint8_t *place, uint32_t mask)
{
    *place++ = '[';
    for (; mask; mask &= mask - 1) {
        place = json_name(place, rule_codes[__builtin_ctz(mask)]);
        *place++ = ',';
    }
    if (place[-1] == ',')
        place--;
    *place++ = ']';
    return place;
}
#define RULE_CODES_BYTES (RULE_COUNT * 30)

/* `unit/operatorID/eventID`, the tail of most IDs, not escaped for JSON. */
#define ID_BYTES (3 * (UNIT_NAME_MAX + 64 + 64 + 64) + 64)
static inline uint8_t *id_of_event(uint8_t *place, const engine *engine_, const unit_name *name,
                                   const event *event_)
{
    const interned_text *operator_ = operator_name(&engine_->customs, event_->operator_row);
    place = id_part(place, name->name, name->length);
    *place++ = '/';
    place = id_part(place, operator_->bytes, operator_->length);
    *place++ = '/';
    return id_part(place, event_id_bytes(event_), event_->event_id_length);
}

#endif
