/* The join with arrays on both sides: events against declarations and holds.
 *
 * What it is: columns to the records that the engine's tables take, and events in columns to the
 * rows of their units and the facts that stand for them. The tables and the rules are the engine's
 * own (customs_tables.h, rules.h): there is no second opinion about what stands.
 * Who calls it: clearance_join.pyx.
 * What it must never know: Python, JSON, Kafka, what a fact leads to.
 *
 * Codes of locations, events and holds are integers here; the tables take them as texts of their
 * bytes, which lie in the columns themselves.
 */
#ifndef GATEJOIN_CLEARANCE_JOIN_H
#define GATEJOIN_CLEARANCE_JOIN_H

#include "engine.h"
#include "unit_index_batch.h"

#define JOIN_GROUP 64

/* Units in one of two forms: `numbers` of 11 bytes, or `names` by `offsets`. */
typedef struct {
    const uint8_t *numbers;
    const uint8_t *names;
    const int64_t *offsets;
    const uint8_t *unit_types; /* NULL: all are containers */
} join_units;

typedef struct {
    const uint64_t *numbers;
    const int64_t *versions, *registered_us, *status_us;
    const uint8_t *directions, *statuses;
    const int32_t *locations;
    const int64_t *line_offsets; /* count + 1; of one declaration at most DECLARATION_UNITS_MAX */
    join_units units;            /* one a line */
    const int64_t *pieces, *weight_grams; /* one a line, -1: absent; or NULL */
    const uint8_t *shared;                /* one a line, or NULL */
} join_declarations;

typedef struct {
    const int64_t *ids, *versions, *issued_us;
    const uint8_t *reasons, *active;
    join_units units;                     /* on units, or */
    const uint64_t *declaration_numbers;  /* on declarations */
} join_holds;

typedef struct {
    const uint8_t *event_types, *directions, *purposes;
    const int32_t *locations;
    const int64_t *times_us;
    join_units units;
    const int64_t *pieces, *weight_grams; /* -1: absent; or NULL */
    const uint8_t *has_document;          /* or NULL */
} join_events;

typedef struct {
    engine engine_; /* for its tables; no record is ever applied to it */
    uint64_t event_count; /* kept so far; numbers the next one */
    declaration_unit *lines;
    uint64_t line_capacity;
} clearance_join;

static text text_of_bytes(const void *bytes, uint32_t length)
{
    return (text){(const uint8_t *)bytes, length};
}

static void clearance_join_init(clearance_join *join, const rule_parameters *parameters)
{
    memset(join, 0, sizeof *join);
    engine_init(&join->engine_, 1, 0);
    join->engine_.parameters = *parameters;
    /* Nothing in the columns is said of the operator; this one lets every event pass. */
    const operator_record operator_ = {
        .operator_id = text_of_bytes("-", 1), .version = 1, .kind = KIND_SEAPORT,
        .status = OPERATOR_CONNECTED};
    customs_put_operator(&join->engine_.customs, &operator_);
}

static void clearance_join_free(clearance_join *join)
{
    engine_free(&join->engine_);
    free(join->lines);
}

/* Unit `i` by name; 0 if it is no normalised name of 1 to 35 bytes. */
static int join_unit_name(const join_units *units, int64_t i, unit_name *out)
{
    const uint8_t *bytes = units->numbers + i * CONTAINER_NUMBER_LENGTH;
    int64_t length = CONTAINER_NUMBER_LENGTH;
    if (!units->numbers) {
        bytes = units->names + units->offsets[i];
        length = units->offsets[i + 1] - units->offsets[i];
    }
    if (length < 1 || length > UNIT_NAME_MAX)
        return 0;
    for (int64_t j = 0; j < length; j++) {
        const uint8_t byte = bytes[j];
        if (byte < 0x21 || byte > 0x7e || byte == '-' || (byte >= 'a' && byte <= 'z'))
            return 0;
        out->name[j] = byte;
    }
    out->name[length] = 0;
    out->length = (uint8_t)length;
    return 1;
}

static uint8_t join_unit_type(const join_units *units, int64_t i)
{
    return units->unit_types ? units->unit_types[i] : (uint8_t)UNIT_CONTAINER;
}

/* What the tables touched is weighed by whoever asks next: nothing is to be done. */
static void join_forget_touched(clearance_join *join)
{
    unit_rows *touched = &join->engine_.touched;
    for (uint64_t i = 0; i < touched->size; i++) {
        join->engine_.units.rows[touched->rows[i]].touched = 0;
        unit_table_release_if_empty(&join->engine_.units, touched->rows[i]);
    }
    touched->size = 0;
}

/* Takes declarations in order; returns how many took effect. `*unfit` is the first line whose unit
 * is none (and then nothing was taken), else -1. */
static int64_t join_put_declarations(clearance_join *join, const join_declarations *columns,
                                     int64_t count, int64_t *unfit)
{
    engine *engine_ = &join->engine_;
    int64_t took_effect = 0, line_count = count ? columns->line_offsets[count] : 0;
    unit_name name;
    *unfit = -1;
    for (int64_t i = 0; i < line_count; i++)
        if (!join_unit_name(&columns->units, i, &name)) {
            *unfit = i;
            return 0;
        }
    for (int64_t i = 0; i < count; i++) {
        const int64_t first = columns->line_offsets[i];
        const int64_t lines = columns->line_offsets[i + 1] - first;
        join->lines = (declaration_unit *)memory_grow(join->lines, &join->line_capacity,
                                                      (uint64_t)lines, sizeof *join->lines,
                                                      "the lines of a declaration");
        for (int64_t j = 0; j < lines; j++) {
            declaration_unit *line_ = &join->lines[j];
            const int64_t pieces = columns->pieces ? columns->pieces[first + j] : -1;
            const int64_t grams = columns->weight_grams ? columns->weight_grams[first + j] : -1;
            memset(line_, 0, sizeof *line_);
            (void)join_unit_name(&columns->units, first + j, &line_->unit);
            line_->unit_type = join_unit_type(&columns->units, first + j);
            line_->shared = columns->shared && columns->shared[first + j];
            line_->has_pieces = pieces >= 0;
            line_->pieces = pieces >= 0 ? (uint32_t)pieces : 0;
            line_->has_weight = grams >= 0;
            line_->weight_grams = grams >= 0 ? grams : 0;
        }
        const declaration_record record = {
            .number = columns->numbers[i],
            .version = columns->versions[i],
            .direction = columns->directions[i],
            .status = columns->statuses[i],
            .registered_us = columns->registered_us[i],
            .status_us = columns->status_us ? columns->status_us[i] : NO_TIME,
            .arrive_by_us = NO_TIME,
            .location_code = text_of_bytes(&columns->locations[i], sizeof *columns->locations),
            .units = join->lines,
            .unit_count = (uint32_t)lines};
        took_effect += customs_put_declaration(&engine_->customs, &engine_->units,
                                               &engine_->arena_, &record, &engine_->touched);
        join_forget_touched(join);
    }
    return took_effect;
}

/* Takes holds in order; as join_put_declarations. */
static int64_t join_put_holds(clearance_join *join, const join_holds *columns, int64_t count,
                              int64_t *unfit)
{
    engine *engine_ = &join->engine_;
    int64_t took_effect = 0;
    hold_record record;
    *unfit = -1;
    for (int64_t i = 0; i < count && !columns->declaration_numbers; i++)
        if (!join_unit_name(&columns->units, i, &record.unit)) {
            *unfit = i;
            return 0;
        }
    for (int64_t i = 0; i < count; i++) {
        memset(&record, 0, sizeof record);
        record.hold_id = text_of_bytes(&columns->ids[i], sizeof *columns->ids);
        record.version = columns->versions[i];
        record.issued_us = columns->issued_us[i];
        record.reason = columns->reasons[i];
        record.state = columns->active[i] ? HOLD_ACTIVE : HOLD_LIFTED;
        record.scope = columns->declaration_numbers ? SCOPE_DECLARATION : SCOPE_UNIT;
        if (columns->declaration_numbers)
            record.declaration_number = columns->declaration_numbers[i];
        else
            (void)join_unit_name(&columns->units, i, &record.unit);
        took_effect += customs_put_hold(&engine_->customs, &engine_->units, &engine_->arena_,
                                        &record, &engine_->touched);
        join_forget_touched(join);
    }
    return took_effect;
}

/* Stores event `i` as the engine would; its number is the ID. */
static uint32_t join_store_event(clearance_join *join, const join_events *columns, int64_t i)
{
    customs_tables *customs = &join->engine_.customs;
    const text code = text_of_bytes(&columns->locations[i], sizeof *columns->locations);
    /* One that no declaration and no event named before is nowhere: nothing is there. */
    const uint32_t location =
        text_table_find(&customs->location_names, code.bytes, code.length) + 1;
    const int64_t pieces = columns->pieces ? columns->pieces[i] : -1;
    const int64_t grams = columns->weight_grams ? columns->weight_grams[i] : -1;
    const port_event record = {
        .event_id = text_of_bytes(&join->event_count, sizeof join->event_count),
        .document = text_of_bytes("", columns->has_document && columns->has_document[i]),
        .event_time_us = columns->times_us[i],
        .version_us = columns->times_us[i],
        .event_type = columns->event_types[i],
        .unit_type = join_unit_type(&columns->units, i),
        .direction = columns->directions[i],
        .purpose = columns->purposes ? columns->purposes[i] : (uint8_t)PURPOSE_CLEARANCE,
        .has_pieces = pieces >= 0,
        .pieces = pieces >= 0 ? (uint32_t)pieces : 0,
        .has_weight = grams >= 0,
        .weight_grams = grams >= 0 ? grams : 0,
        .presented = &join->event_count};
    return event_store(&join->engine_.arena_, &record, 0, &customs->operators[0], location,
                       columns->times_us[i] / 1000);
}

/* One event: its facts, against all that is kept; then it is kept as well, or leaves no trace. */
static uint32_t join_event(clearance_join *join, const join_events *columns, int64_t i, int keep,
                           const unit_name *name, int32_t *row)
{
    engine *engine_ = &join->engine_;
    const uint8_t class_ = unit_class_of(join_unit_type(&columns->units, i));
    const int is_passage = columns->event_types[i] == EVENT_GATE_CHECK ||
                           columns->event_types[i] == EVENT_GET_OUT;
    if (keep) {
        *row = (int32_t)unit_table_find_or_add(&engine_->units, name, class_);
        (void)location_row(&engine_->customs,
                           text_of_bytes(&columns->locations[i], sizeof *columns->locations));
    }
    if (!keep && !is_passage)
        return 0;
    unit nothing;
    memset(&nothing, 0, sizeof nothing);
    nothing.class_ = class_;
    unit *unit_ = *row < 0 ? &nothing : &engine_->units.rows[*row];
    arena *arena_ = &engine_->arena_;
    const uint32_t handle = join_store_event(join, columns, i);
    const event *event_ = event_at(arena_, handle);
    /* Among the others, since which checks are open is judged with this one among them. */
    const int among = keep || unit_->event_count;
    if (among)
        unit_events_insert(&engine_->customs, arena_, unit_, handle);
    uint32_t facts = 0;
    if (is_passage) {
        weigh(&engine_->customs, unit_, arena_, event_,
              container_number_check(name->name, name->length), &engine_->parameters,
              &engine_->weighing_);
        facts = engine_->weighing_.facts;
    }
    if (keep) {
        join->event_count++;
        return facts;
    }
    if (among)
        unit_events_take(&engine_->customs, arena_, unit_, handle);
    event_release(arena_, handle);
    return facts;
}

/* Events in order: the row of each one's unit (-1: nobody knows it) and the rules that stand, bit i
 * for row i + 1 of CONTRACT.md section 5. Returns -1, or the first event whose unit is none, and
 * then nothing was done. */
static int64_t join_all_events(clearance_join *join, simd_path path, const join_events *columns,
                               int64_t count, int keep, int32_t *rows, uint32_t *facts)
{
    engine *engine_ = &join->engine_;
    unit_name names[JOIN_GROUP];
    for (int64_t i = 0; i < count; i++)
        if (!join_unit_name(&columns->units, i, &names[0]))
            return i;
    for (int64_t begin = 0; begin < count; begin += JOIN_GROUP) {
        const int64_t size = count - begin < JOIN_GROUP ? count - begin : JOIN_GROUP;
        for (int64_t i = 0; i < size; i++)
            (void)join_unit_name(&columns->units, begin + i, &names[i]);
        const int by_number = columns->units.numbers && !columns->units.unit_types;
        if (by_number) {
            const unit_batch batch = {
                .numbers = columns->units.numbers + begin * CONTAINER_NUMBER_LENGTH};
            unit_batch_probe(&engine_->units.index, path, &batch, size, rows + begin);
        }
        for (int64_t i = 0; i < size; i++) {
            int32_t *row = &rows[begin + i];
            /* A number that is none of ISO 6346 is a name like any other. */
            if (!by_number || *row == UNIT_ROW_INVALID)
                *row = (int32_t)unit_table_find(
                    &engine_->units, &names[i],
                    unit_class_of(join_unit_type(&columns->units, begin + i)));
            if (*row >= 0)
                __builtin_prefetch(&engine_->units.rows[*row]);
        }
        for (int64_t i = 0; i < size; i++)
            facts[begin + i] =
                join_event(join, columns, begin + i, keep, &names[i], &rows[begin + i]);
    }
    return -1;
}

#endif
