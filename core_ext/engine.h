/* The engine: (state, record) to (state, what it has to say).
 *
 * What it is: applies the records of the four input topics in order: tests and refuses, changes the
 * state, weighs, decides, raises alerts. A pure function of the records: no clock but the records'
 * own, no I/O.
 * Who calls it: matcher.pyx, with whole runs of records.
 * What it must never know: Kafka, files, metrics, what time it is.
 */
#ifndef GATEJOIN_ENGINE_H
#define GATEJOIN_ENGINE_H

#include "aggregates.h"
#include "alerts.h"
#include "clock_alerts.h"
#include "decisions.h"
#include "engine_state.h"
#include "look_ahead.h"
#include "unit_log.h"

#define FUTURE_US MICROSECONDS_PER_DAY /* section 3, reject FUTURE */
#define REJECTED_VALUE_BYTES_MAX 65536 /* section 3, reject: the first 64 KiB */
#define NO_CLOCK INT64_MIN

static void engine_init(engine *engine_, uint32_t partition_count, int check_partition)
{
    memset(engine_, 0, sizeof *engine_);
    record_scanner_init(&engine_->scanner);
    if (unit_index_init(&engine_->units.index, 0, 0))
        memory_resize(NULL, UINT64_MAX / 4, "the unit index"); /* stops with the reason */
    declaration_table_init(&engine_->customs.declarations);
    engine_->partition_count = partition_count;
    engine_->check_partition = (uint8_t)check_partition;
    if (!check_partition)
        engine_->decisions.as_lines = engine_->alerts.as_lines = engine_->rejects.as_lines =
            engine_->registry.as_lines = engine_->explanations.as_lines = 1;
    engine_->partitions = (partition_state *)memory_resize(
        NULL, partition_count * sizeof *engine_->partitions, "partitions");
    memset(engine_->partitions, 0, partition_count * sizeof *engine_->partitions);
    for (uint32_t i = 0; i < partition_count; i++)
        engine_->partitions[i].clock_us = NO_CLOCK;
}

static void partition_free(partition_state *state)
{
    free(state->timers);
    volumes_free(&state->volumes);
    volumes_free(&state->retired);
    stock_ledger_free(&state->stock);
    activity_free(&state->activity);
    free(state->changed_units.rows);
    retirements_drop(state);
    free(state->retirements);
    published_tail_free(&state->published);
}

static void engine_free(engine *engine_)
{
    record_scanner_free(&engine_->scanner);
    unit_index_free(&engine_->units.index);
    free(engine_->units.rows);
    customs_tables_free(&engine_->customs);
    arena_free(&engine_->arena_);
    for (uint32_t i = 0; i < engine_->partition_count; i++) {
        partition_free(&engine_->partitions[i]);
    }
    free(engine_->partitions);
    free(engine_->periods);
    record_output_free(&engine_->decisions);
    record_output_free(&engine_->alerts);
    record_output_free(&engine_->rejects);
    record_output_free(&engine_->registry);
    record_output_free(&engine_->explanations);
    record_output_free(&engine_->volume_cells);
    record_output_free(&engine_->stock_cells);
    record_output_free(&engine_->activity_cells);
    record_output_free(&engine_->unit_changes);
    operator_figures_free(&engine_->figures);
    weighing_free(&engine_->weighing_);
    free(engine_->touched.rows);
    state_names_free(&engine_->log_operators);
    state_names_free(&engine_->log_locations);
    state_unit_free(&engine_->log_unit);
    free(engine_->log_rows);
    free(engine_->open_checks.handles);
    free(engine_->candidates);
    free(engine_->candidates_spare);
    free(engine_->recalls);
    free(engine_->due_alerts);
    memset(engine_, 0, sizeof *engine_);
}

/* ---- refusing -------------------------------------------------------------------------------- */

static void reject_write(engine *engine_, const record_view *record, uint8_t reason,
                         const char *field, const char *detail, const cause *cause_)
{
    if (engine_->check_partition && cause_->topic == TOPIC_PORT_EVENTS &&
        published_reject_claim(&engine_->partitions[cause_->partition].published,
                               cause_->offset))
        return;
    engine_->counters.rejects[reason]++;
    engine_->counters.customs_rejects[reason] += cause_->topic != TOPIC_PORT_EVENTS;
    if (engine_->mute == MUTE_ALL)
        return;
    record_output *output = &engine_->rejects;
    uint64_t kept = record->value_length > 0 ? (uint64_t)record->value_length : 0;
    if (kept > REJECTED_VALUE_BYTES_MAX)
        kept = REJECTED_VALUE_BYTES_MAX;
    if (cause_->topic == TOPIC_PORT_EVENTS && kept) {
        uint32_t named = operator_named_in(&engine_->customs.operator_names, record->value, kept);
        if (named != NO_ROW)
            operator_figures_of(&engine_->figures, named)->rejected++;
    }
    uint8_t *place = output_room(output, 512 + JSON_TEXT_BYTES(strlen(detail)) + SOURCE_BYTES +
                                             (kept + 2) / 3 * 4);
    JSON_LITERAL(place, "{\"reason\":");
    place = json_name(place, reject_names[reason]);
    JSON_LITERAL(place, ",\"field\":");
    if (field)
        place = json_name(place, field);
    else
        JSON_LITERAL(place, "null");
    JSON_LITERAL(place, ",\"detail\":");
    place = json_name(place, detail);
    JSON_LITERAL(place, ",\"source\":");
    place = json_source(place, engine_, cause_);
    JSON_LITERAL(place, ",\"value\":");
    if (record->value_length < 0) {
        JSON_LITERAL(place, "null");
    } else {
        *place++ = '"';
        place = json_base64(place, record->value, kept);
        *place++ = '"';
    }
    *place++ = '}';
    int32_t partition = -1;
    if (!engine_->check_partition)
        partition = 0;
    else if (cause_->topic == TOPIC_PORT_EVENTS)
        partition = cause_->partition;
    output_close(output, place, record->key, record->key_length, partition,
                 cause_->timestamp_ms);
}

/* A scanner's answer: 1 to go on, 0 after writing the reject. */
static int scanned(engine *engine_, int answer, const scan_verdict *verdict,
                   const record_view *record, const cause *cause_)
{
    if (answer < 0)
        memory_resize(NULL, UINT64_MAX / 4, "the scanner"); /* stops with the reason */
    if (!answer)
        reject_write(engine_, record, verdict->reason, verdict->field, verdict->detail, cause_);
    return answer;
}

/* ---- what a record leaves to be done --------------------------------------------------------- */

/* Weighs the open checks of the units that customs touched, decides, raises what follows, and
 * forgets units on which nothing hangs any more. */
static void finish_touched(engine *engine_, const cause *cause_)
{
    unit_rows *touched = &engine_->touched;
    for (uint64_t i = 0; i < touched->size; i++) {
        uint32_t row = touched->rows[i];
        engine_->units.rows[row].touched = 0;
        if (!engine_->units.rows[row].event_count)
            continue;
        partition_state *partition = &engine_->partitions[engine_->units.rows[row].partition];
        if (partition->restoring)
            continue; /* engine_take_over weighs all of it */
        unit_candidates(engine_, row, 0);
        due_of_unit(engine_, partition, row);
    }
    decide_candidates(engine_, cause_);
    alerts_recall(engine_, cause_);
    if (engine_->due_count)
        due_raise(engine_, cause_->timestamp_ms);
    for (uint64_t i = 0; i < touched->size; i++)
        unit_table_release_if_empty(&engine_->units, touched->rows[i]);
    touched->size = 0;
}

/* ---- customs' side --------------------------------------------------------------------------- */

/* A version of an operator, or its tombstone, as a line of registry.ndjson. */
static void registry_write(engine *engine_, const record_view *record, const cause *cause_)
{
    record_output *output = &engine_->registry;
    uint64_t value_length = record->value_length > 0 ? (uint64_t)record->value_length : 0;
    uint8_t *place =
        output_room(output, 128 + JSON_TEXT_BYTES(record->key_length) + value_length);
    JSON_LITERAL(place, "{\"timestamp\":");
    place = json_integer(place, cause_->timestamp_ms);
    JSON_LITERAL(place, ",\"operatorID\":");
    place = json_text(place, record->key, (uint64_t)record->key_length);
    JSON_LITERAL(place, ",\"operator\":");
    if (record->value_length < 0) {
        JSON_LITERAL(place, "null");
    } else {
        /* As it was given, on one line: a line break can only stand between tokens. */
        for (uint64_t i = 0; i < value_length; i++)
            *place++ = record->value[i] == '\n' || record->value[i] == '\r' ? ' '
                                                                           : record->value[i];
    }
    *place++ = '}';
    output_close(output, place, record->key, record->key_length, 0, cause_->timestamp_ms);
}

/* A null value on a compacted topic "removes the thing and its version". */
static int apply_tombstone(engine *engine_, const record_view *record, const cause *cause_)
{
    customs_tables *customs = &engine_->customs;
    uint32_t key_length = (uint32_t)record->key_length;
    uint64_t number;
    switch (cause_->topic) {
    case TOPIC_OPERATORS:
        if (!customs_remove_operator(customs, record->key, key_length))
            return 0;
        registry_write(engine_, record, cause_);
        return 1;
    case TOPIC_DECLARATIONS:
        return declaration_number_of_key(record, &number) &&
               customs_remove_declaration(customs, &engine_->units, &engine_->arena_, number,
                                          &engine_->touched);
    default:
        return customs_remove_hold(customs, &engine_->units, &engine_->arena_, record->key,
                                   key_length, &engine_->touched);
    }
}

static void apply_customs(engine *engine_, const record_view *record, const cause *cause_)
{
    scan_verdict verdict;
    customs_tables *customs = &engine_->customs;
    record_scanner *scanner = &engine_->scanner;
    int took_effect;
    if (record->value_length < 0) {
        if (record->key_length < 0) {
            reject_write(engine_, record, REJECT_MALFORMED, NULL,
                         "neither key nor value: a tombstone needs the key of what it removes",
                         cause_);
            return;
        }
        took_effect = apply_tombstone(engine_, record, cause_);
    } else if (cause_->topic == TOPIC_OPERATORS) {
        operator_record scanned_operator;
        if (!scanned(engine_,
                     scan_operator(scanner, record->key, record->key_length, record->value,
                                   record->value_length, &scanned_operator, &verdict),
                     &verdict, record, cause_))
            return;
        took_effect = customs_put_operator(customs, &scanned_operator);
        if (took_effect)
            registry_write(engine_, record, cause_);
    } else if (cause_->topic == TOPIC_DECLARATIONS) {
        declaration_record scanned_declaration;
        if (!scanned(engine_,
                     scan_declaration(scanner, record->key, record->key_length, record->value,
                                      record->value_length, &scanned_declaration, &verdict),
                     &verdict, record, cause_))
            return;
        took_effect = customs_put_declaration(customs, &engine_->units, &engine_->arena_,
                                              &scanned_declaration, &engine_->touched);
    } else {
        hold_record scanned_hold;
        if (!scanned(engine_,
                     scan_hold(scanner, record->key, record->key_length, record->value,
                               record->value_length, &scanned_hold, &verdict),
                     &verdict, record, cause_))
            return;
        took_effect = customs_put_hold(customs, &engine_->units, &engine_->arena_, &scanned_hold,
                                       &engine_->touched);
    }
    if (!took_effect)
        engine_->counters.duplicates[cause_->topic]++;
    finish_touched(engine_, cause_);
}

/* ---- port events ----------------------------------------------------------------------------- */

/* The tests that need more than the record, in the order of section 3; 1 if it may be taken. */
static int accept(engine *engine_, const port_event *event_, const record_view *record,
                  const cause *cause_, uint32_t *operator_row_, uint32_t *location)
{
    const customs_tables *customs = &engine_->customs;
    if (event_->version_us > record->timestamp_ms * 1000 + FUTURE_US) {
        reject_write(engine_, record, REJECT_FUTURE, port_event_fields[event_->version_field],
                     "more than 24 hours after the record's timestamp", cause_);
        return 0;
    }
    if (engine_->check_partition &&
        unit_partition(engine_, &event_->unit) != (uint32_t)cause_->partition) {
        reject_write(engine_, record, REJECT_MISPARTITIONED, "unit",
                     "not the partition that murmur2 gives the normalised unit", cause_);
        return 0;
    }
    uint32_t row = text_table_find(&customs->operator_names, event_->operator_id.bytes,
                                   event_->operator_id.length);
    if (row == NO_ROW || customs->operators[row].version == NO_VERSION) {
        reject_write(engine_, record, REJECT_UNKNOWN_OPERATOR, "operatorID",
                     "no such operator is registered", cause_);
        return 0;
    }
    const operator_row *operator_ = &customs->operators[row];
    if (operator_->status == OPERATOR_SURVEYED || operator_->status == OPERATOR_TESTING) {
        reject_write(engine_, record, REJECT_OPERATOR_NOT_CONNECTED, "operatorID",
                     "the operator is not connected yet", cause_);
        return 0;
    }
    uint32_t found = text_table_find(&customs->location_names, event_->location_code.bytes,
                                     event_->location_code.length) +
                     1; /* NO_ROW + 1 is NO_LOCATION */
    for (uint32_t i = 0; found && i < operator_->location_count; i++)
        if (operator_->locations[i] == found) {
            *operator_row_ = row;
            *location = found;
            return 1;
        }
    reject_write(engine_, record, REJECT_OPERATOR_LOCATION, "locationCode",
                 "not among the operator's locations", cause_);
    return 0;
}

static void apply_port_event(engine *engine_, const record_view *record, const cause *cause_)
{
    port_event scanned_event;
    scan_verdict verdict;
    uint32_t operator_row_, location;
    if (!scanned(engine_,
                 scan_port_event(&engine_->scanner, record->value, record->value_length,
                                 &scanned_event, &verdict),
                 &verdict, record, cause_) ||
        !accept(engine_, &scanned_event, record, cause_, &operator_row_, &location))
        return;
    arena *arena_ = &engine_->arena_;
    partition_state *partition =
        &engine_->partitions[engine_->check_partition ? cause_->partition : 0];
    if (engine_->check_partition)
        activity_note(&partition->activity, operator_row_, record->timestamp_ms);
    if (engine_->mute == MUTE_NOTHING)
        operator_figures_of(&engine_->figures, operator_row_)->accepted++;
    uint8_t class_ = unit_class_of(scanned_event.unit_type);
    uint32_t unit_row = unit_table_find_or_add(&engine_->units, &scanned_event.unit, class_);
    unit *unit_ = &engine_->units.rows[unit_row];
    unit_belongs(engine_, unit_, (uint32_t)(partition - engine_->partitions));
    uint32_t before_handle =
        unit_events_find(arena_, unit_, operator_row_, scanned_event.event_id);
    event *before = NULL;
    if (before_handle) {
        before = event_at(arena_, before_handle);
        if (scanned_event.version_us <= before->version_us) {
            engine_->counters.duplicates[TOPIC_PORT_EVENTS]++;
            return;
        }
    }
    uint32_t moved_at[2];
    uint32_t moved_count = 0;
    if (engine_->check_partition) {
        /* Where stock may change: the movement corrected, and the movement reported. */
        if (before && is_movement(before->event_type))
            moved_at[moved_count++] = before->location;
        if (is_movement(scanned_event.event_type) && (!moved_count || moved_at[0] != location))
            moved_at[moved_count++] = location;
    }
    for (uint32_t i = 0; i < moved_count; i++)
        stock_ledger_count(&partition->stock, arena_, unit_, moved_at[i], -1);
    uint32_t handle =
        event_store(arena_, &scanned_event, operator_row_,
                    &engine_->customs.operators[operator_row_], location, record->timestamp_ms);
    event *event_ = event_at(arena_, handle);
    if (before) {
        event_->check = before->check;
        event_->alerts = before->alerts;
        before->check = 0;
        unit_->check_count -= !before->is_retracted && before->event_type == EVENT_GATE_CHECK;
        volumes_count(&partition->volumes, before, -1);
        unit_events_take(&engine_->customs, arena_, unit_, before_handle);
    }
    unit_events_insert(&engine_->customs, arena_, unit_, handle);
    int is_check = !event_->is_retracted && event_->event_type == EVENT_GATE_CHECK;
    unit_->check_count += is_check;
    volumes_count(&partition->volumes, event_, 1);
    for (uint32_t i = 0; i < moved_count; i++)
        stock_ledger_count(&partition->stock, arena_, unit_, moved_at[i], 1);
    due_watch(engine_, partition, unit_row, event_);
    unit_changed(engine_, unit_row);

    if (engine_->mute == MUTE_ALL) {
        if (before)
            event_release(arena_, before_handle);
        return;
    }
    const event *exit_retracted =
        event_->is_retracted && before && !before->is_retracted &&
                before->event_type == EVENT_GET_OUT
            ? before
            : NULL;
    alerts_claim(engine_, &partition->published, &scanned_event.unit, event_);
    alerts_of_event(engine_, &scanned_event.unit, unit_row, event_, !before, exit_retracted,
                    cause_);
    if (before)
        event_release(arena_, before_handle);
    if (engine_->mute == MUTE_NOTHING) {
        unit_candidates(engine_, unit_row, is_check && !event_->check ? handle : 0);
        decide_candidates(engine_, cause_);
        alerts_recall(engine_, cause_);
    }
    due_of_unit(engine_, partition, unit_row);
    if (engine_->due_count)
        due_raise(engine_, cause_->timestamp_ms);
}

/* ---- one record ------------------------------------------------------------------------------ */

/* Applies one record. `now_us` is when it is decided. In a replay every record moves the clock; in
 * a worker only port events move that of their partition, since customs' topics have partitions of
 * their own. */
static void engine_apply(engine *engine_, uint8_t topic, int32_t partition,
                         const record_view *record, int64_t now_us)
{
    cause cause_ = {topic, partition, record->offset, record->timestamp_ms, now_us};
    engine_->counters.records[topic]++;
    if (!engine_->check_partition)
        clock_advance(engine_, &engine_->partitions[0], record->timestamp_ms * 1000,
                      record->timestamp_ms);
    else if (topic == TOPIC_PORT_EVENTS)
        clock_advance(engine_, &engine_->partitions[partition], record->timestamp_ms * 1000,
                      record->timestamp_ms);
    if (topic == TOPIC_PORT_EVENTS)
        apply_port_event(engine_, record, &cause_);
    else
        apply_customs(engine_, record, &cause_);
}

/* Applies records in order, LOOK_AHEAD of them at a time. `topics` has the topic of each, or is
 * NULL where all are of `topic`; a negative `now_us` decides each at its own timestamp. */
static void engine_apply_all(engine *engine_, uint8_t topic, const uint8_t *topics,
                             int32_t partition, const record_view *records, uint64_t count,
                             int64_t now_us)
{
    for (uint64_t begin = 0; begin < count; begin += LOOK_AHEAD) {
        uint32_t size = count - begin < LOOK_AHEAD ? (uint32_t)(count - begin) : LOOK_AHEAD;
        if (!topics && topic == TOPIC_PORT_EVENTS)
            look_ahead(engine_, NULL, records + begin, size);
        else if (!topics && topic == TOPIC_DECLARATIONS)
            look_ahead_of_declarations(engine_, records + begin, size);
        else if (topics)
            look_ahead(engine_, topics + begin, records + begin, size);
        for (uint64_t i = begin; i < begin + size; i++)
            engine_apply(engine_, topics ? topics[i] : topic, partition, &records[i],
                         now_us < 0 ? records[i].timestamp_ms * 1000 : now_us);
    }
}

/* ---- partitions coming and going ------------------------------------------------------------- */

/* Forgets all events of a partition that another worker owns now. */
static void engine_forget_partition(engine *engine_, uint32_t partition)
{
    partition_state *state = &engine_->partitions[partition];
    uint32_t limit = partition_row_limit(engine_, partition);
    for (uint32_t row = 0; row < limit; row++) {
        unit *unit_ = &engine_->units.rows[row];
        if (!unit_->event_count || unit_->partition != partition)
            continue;
        unit_drop_events(engine_, row);
        unit_->changed = 0;
        unit_table_release_if_empty(&engine_->units, row);
    }
    partition_free(state);
    *state = (partition_state){.clock_us = NO_CLOCK};
}

/* Weighs every open check of a partition again, "since customs may have spoken meanwhile", and
 * every GATE_CHECK that has no decision yet; the decisions' trigger is null. Then raises what had
 * become due meanwhile. */
static void engine_take_over(engine *engine_, uint32_t partition, int64_t timestamp_ms,
                             int64_t now_us)
{
    cause cause_ = {TOPIC_COUNT, (int32_t)partition, -1, timestamp_ms, now_us};
    engine_->partitions[partition].restoring = 0;
    uint32_t limit = partition_row_limit(engine_, partition);
    for (uint32_t row = 0; row < limit; row++) {
        const unit *unit_ = unit_at(engine_, row);
        if (!unit_->event_count || unit_->partition != partition)
            continue;
        due_of_unit(engine_, &engine_->partitions[partition], row);
        if (!unit_->check_count)
            continue;
        unit_candidates(engine_, row, 0);
        /* One that is open too is then weighed twice, the second time without effect. */
        event_view view = unit_events_view(&engine_->arena_, unit_, NULL);
        for (uint32_t i = 0; i < view.count; i++) {
            const event *event_ = view_event(&view, i);
            if (event_ && event_->event_type == EVENT_GATE_CHECK && !event_->check)
                candidate_add(engine_, row, view.handles[i]);
        }
    }
    decide_candidates(engine_, &cause_);
    alerts_recall(engine_, &cause_);
    due_raise(engine_, timestamp_ms);
}

#endif
