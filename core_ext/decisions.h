/* Weighing open checks and deciding.
 *
 * What it is: when a record has touched units, finds their open checks in the order that section 5
 * gives, weighs each, and publishes the next decision where `(outcome, reasons, flags, declaration
 * numbers)` changed; remembers the RECALLs that follow from it.
 * Who calls it: engine.h after each record.
 * What it must never know: what made a row stand (rules.h), who reads decisions.
 */
#ifndef GATEJOIN_DECISIONS_H
#define GATEJOIN_DECISIONS_H

#include "engine_state.h"
#include "explanations.h"

typedef struct weighing_candidate {
    uint32_t unit_row;
    uint32_t event_handle;
} weighing_candidate;

/* A decision that is HOLD after a RELEASE; its alert comes after the event's own (section 5). */
typedef struct recall {
    uint32_t unit_row;
    uint32_t event_handle;
    uint32_t sequence;
    uint32_t reasons;
} recall;

static void recall_add(engine *engine_, recall recall_)
{
    engine_->recalls =
        (recall *)memory_grow(engine_->recalls, &engine_->recall_capacity,
                              engine_->recall_count + 1, sizeof *engine_->recalls, "recalls");
    engine_->recalls[engine_->recall_count++] = recall_;
}

static void candidate_add(engine *engine_, uint32_t unit_row, uint32_t event_handle)
{
    engine_->candidates = (weighing_candidate *)memory_grow(
        engine_->candidates, &engine_->candidate_capacity, engine_->candidate_count + 1,
        sizeof *engine_->candidates, "open checks");
    engine_->candidates[engine_->candidate_count++] = (weighing_candidate){unit_row, event_handle};
}

/* "ascending order of (unit name, locationCode, eventDateTime, operatorID, eventID), bytewise,
 * CONTAINER before lot". */
static int candidate_order(const engine *engine_, weighing_candidate a, weighing_candidate b)
{
    int order;
    if (a.unit_row != b.unit_row) {
        unit_name left, right;
        unit_table_name(&engine_->units, a.unit_row, &left);
        unit_table_name(&engine_->units, b.unit_row, &right);
        order = bytes_compare(left.name, left.length, right.name, right.length);
        if (order)
            return order;
    }
    const event *a_event = event_at(&engine_->arena_, a.event_handle);
    const event *b_event = event_at(&engine_->arena_, b.event_handle);
    if (a_event->location != b_event->location) {
        const interned_text *left = location_name(&engine_->customs, a_event->location);
        const interned_text *right = location_name(&engine_->customs, b_event->location);
        order = bytes_compare((const uint8_t *)left->bytes, left->length,
                             (const uint8_t *)right->bytes, right->length);
        if (order)
            return order;
    }
    order = event_order(&engine_->customs, a_event, b_event);
    if (order)
        return order;
    return (int)unit_at(engine_, a.unit_row)->class_ - (int)unit_at(engine_, b.unit_row)->class_;
}

/* Merge sort from short runs to long ones: a declaration may have 5,000 units, each with an open
 * check. */
static void candidates_sort(engine *engine_)
{
    uint64_t count = engine_->candidate_count;
    if (count < 2)
        return;
    engine_->candidates_spare = (weighing_candidate *)memory_grow(
        engine_->candidates_spare, &engine_->candidate_spare_capacity, count,
        sizeof *engine_->candidates_spare, "open checks");
    for (uint64_t width = 1; width < count; width *= 2) {
        weighing_candidate *from = engine_->candidates, *to = engine_->candidates_spare;
        for (uint64_t begin = 0; begin < count; begin += 2 * width) {
            uint64_t middle = begin + width < count ? begin + width : count;
            uint64_t end = begin + 2 * width < count ? begin + 2 * width : count;
            uint64_t left = begin, right = middle;
            for (uint64_t i = begin; i < end; i++)
                to[i] = left < middle && (right == end ||
                                          candidate_order(engine_, from[left], from[right]) <= 0)
                            ? from[left++]
                            : from[right++];
        }
        uint64_t capacity = engine_->candidate_capacity;
        engine_->candidates = to;
        engine_->candidates_spare = from;
        engine_->candidate_capacity = engine_->candidate_spare_capacity;
        engine_->candidate_spare_capacity = capacity;
    }
}

/* The open checks of a unit at all locations; the list is good until the next call. */
static const handle_list *unit_open_checks(engine *engine_, const unit *unit_)
{
    event_view view = unit_events_view(&engine_->arena_, unit_, NULL);
    handle_list *open = &engine_->open_checks;
    open->count = 0;
    if (!unit_->check_count)
        return open;
    if (view.index) {
        const index_place *places = event_index_places(view.arena_, view.index);
        for (uint32_t i = 0; i < view.index->place_count; i++)
            indexed_open_checks(&view, &places[i], open);
        return open;
    }
    for (uint32_t i = 0; i < view.count; i++) {
        const event *event_ = view_event(&view, i);
        if (!event_ || event_->event_type != EVENT_GATE_CHECK)
            continue;
        int seen = 0; /* was this location looked at for an earlier check? */
        for (uint32_t j = 0; j < i && !seen; j++) {
            const event *earlier = view_event(&view, j);
            seen = earlier && earlier->event_type == EVENT_GATE_CHECK &&
                   earlier->location == event_->location;
        }
        if (!seen)
            open_checks_at(&view, event_->location, open);
    }
    return open;
}

/* Adds the open checks of a unit, and `arrived`, a GATE_CHECK that has just come (or 0), which is
 * weighed once even if it is not open. */
static void unit_candidates(engine *engine_, uint32_t unit_row, uint32_t arrived)
{
    const handle_list *open = unit_open_checks(engine_, unit_at(engine_, unit_row));
    for (uint64_t i = 0; i < open->count; i++) {
        candidate_add(engine_, unit_row, open->handles[i]);
        if (open->handles[i] == arrived)
            arrived = 0;
    }
    if (arrived)
        candidate_add(engine_, unit_row, arrived);
}

/* Does the weighing say what the last decision said? */
static int check_unchanged(const check_state *check, uint32_t reasons, uint32_t flags,
                           const weighing *weighing_)
{
    if (check->reasons != reasons || check->flags != flags ||
        check->declaration_count != weighing_->declaration_count)
        return 0;
    for (uint64_t i = 0; i < weighing_->declaration_count; i++)
        if (check->declarations[i] != weighing_->declarations[i]->number)
            return 0;
    return 1;
}

/* Stores what a decision said with its check; the caller fills in the declaration numbers. */
static check_state *check_store(arena *arena_, event *event_, uint32_t sequence, uint32_t reasons,
                                uint32_t flags, uint64_t count)
{
    if (event_->check) {
        check_state *old = (check_state *)arena_at(arena_, event_->check);
        if (old->declaration_count != count) {
            arena_release(arena_, event_->check, check_state_bytes(old->declaration_count));
            event_->check = 0;
        }
    }
    if (!event_->check)
        event_->check = arena_allocate(arena_, check_state_bytes((uint32_t)count));
    check_state *check = (check_state *)arena_at(arena_, event_->check);
    check->sequence = sequence;
    check->reasons = reasons;
    check->flags = flags;
    check->declaration_count = (uint32_t)count;
    return check;
}

static void decision_write(engine *engine_, const unit_name *name, const event *event_,
                           uint32_t sequence, uint32_t reasons, uint32_t flags,
                           const policy_period *period, const cause *cause_)
{
    const weighing *weighing_ = &engine_->weighing_;
    const customs_tables *customs = &engine_->customs;
    const interned_text *operator_ = operator_name(customs, event_->operator_row);
    const interned_text *location = location_name(customs, event_->location);
    record_output *output = &engine_->decisions;
    uint8_t *place = output_room(
        output, 1024 + JSON_TEXT_BYTES(ID_BYTES) + 6 * (64 * 3 + 2 * UNIT_NAME_MAX) +
                    2 * RULE_CODES_BYTES + SOURCE_BYTES + RULE_SET_NAME_MAX +
                    110 * weighing_->declaration_count +
                    JSON_TEXT_BYTES(70) * weighing_->hold_count);
    uint8_t id[ID_BYTES];
    uint8_t *id_end = id_of_event(id, engine_, name, event_);
    *id_end++ = '/';
    id_end = json_unsigned(id_end, sequence);
    JSON_LITERAL(place, "{\"decisionID\":");
    place = json_text(place, id, (uint64_t)(id_end - id));
    JSON_LITERAL(place, ",\"sequence\":");
    place = json_unsigned(place, sequence);
    JSON_LITERAL(place, ",\"eventID\":");
    place = json_text(place, event_id_bytes(event_), event_->event_id_length);
    JSON_LITERAL(place, ",\"operatorID\":");
    place = json_interned(place, operator_);
    JSON_LITERAL(place, ",\"locationCode\":");
    place = json_interned(place, location);
    JSON_LITERAL(place, ",\"unit\":");
    place = json_text(place, name->name, name->length);
    JSON_LITERAL(place, ",\"unitType\":");
    place = json_name(place, unit_type_names[event_->unit_type]);
    JSON_LITERAL(place, ",\"direction\":");
    place = json_name(place, direction_names[event_->direction]);
    JSON_LITERAL(place, ",\"outcome\":");
    place = json_name(place, reasons ? "HOLD" : "RELEASE");
    JSON_LITERAL(place, ",\"reasons\":");
    place = json_rule_codes(place, reasons);
    JSON_LITERAL(place, ",\"flags\":");
    place = json_rule_codes(place, flags);
    JSON_LITERAL(place, ",\"declarations\":[");
    for (uint64_t i = 0; i < weighing_->declaration_count; i++) {
        const declaration *declaration_ = weighing_->declarations[i];
        if (i)
            *place++ = ',';
        JSON_LITERAL(place, "{\"declarationNumber\":");
        place = json_declaration_number(place, declaration_->number);
        JSON_LITERAL(place, ",\"version\":");
        place = json_integer(place, declaration_->version);
        JSON_LITERAL(place, ",\"status\":");
        place = json_name(place, status_names[declaration_->status]);
        *place++ = '}';
    }
    JSON_LITERAL(place, "],\"holds\":[");
    for (uint64_t i = 0; i < weighing_->hold_count; i++) {
        if (i)
            *place++ = ',';
        place = json_interned(place, &customs->hold_names.texts[weighing_->holds[i]]);
    }
    JSON_LITERAL(place, "],\"eventDateTime\":");
    place = json_date_time(place, event_->time_us);
    JSON_LITERAL(place, ",\"decidedDateTime\":");
    place = json_date_time(place, cause_->now_us);
    JSON_LITERAL(place, ",\"validUntilDateTime\":");
    if (reasons)
        JSON_LITERAL(place, "null");
    else
        place = json_date_time(place, event_->time_us + engine_->parameters.reservation_us);
    JSON_LITERAL(place, ",\"ruleSet\":");
    place = json_name(place, period->name);
    JSON_LITERAL(place, ",\"trigger\":");
    if (cause_->topic == TOPIC_COUNT)
        JSON_LITERAL(place, "null");
    else
        place = json_source(place, engine_, cause_);
    *place++ = '}';
    output_close(output, place, name->name, name->length, (int32_t)unit_partition(engine_, name),
                 cause_->timestamp_ms);
}

/* Weighs one check and publishes its next decision if it has changed. */
static void decide(engine *engine_, weighing_candidate candidate, const cause *cause_)
{
    event *event_ = event_at(&engine_->arena_, candidate.event_handle);
    const unit *unit_ = unit_at(engine_, candidate.unit_row);
    weighing *weighing_ = &engine_->weighing_;
    unit_name name;
    unit_table_name(&engine_->units, candidate.unit_row, &name);
    weigh(&engine_->customs, unit_, &engine_->arena_, event_,
          container_number_check(name.name, name.length), &engine_->parameters, weighing_);
    const policy_period *period = policy_at(engine_, event_->time_us);
    uint32_t reasons = weighing_->facts & period->hold_mask;
    uint32_t flags = weighing_->facts & period->flag_mask;
    uint32_t sequence = 0, reasons_before = 0;
    if (event_->check) {
        const check_state *check = (const check_state *)arena_at(&engine_->arena_, event_->check);
        if (check_unchanged(check, reasons, flags, weighing_))
            return;
        sequence = check->sequence;
        reasons_before = check->reasons;
    }
    if (sequence && !reasons_before && reasons)
        recall_add(engine_,
                   (recall){candidate.unit_row, candidate.event_handle, sequence + 1, reasons});
    sequence++;
    check_state *check = check_store(&engine_->arena_, event_, sequence, reasons, flags,
                                     weighing_->declaration_count);
    for (uint64_t i = 0; i < weighing_->declaration_count; i++)
        check->declarations[i] = weighing_->declarations[i]->number;
    unit_changed(engine_, candidate.unit_row);
    engine_->counters.decisions[reasons != 0]++;
    for (uint32_t rows = reasons | flags; rows; rows &= rows - 1)
        engine_->counters.standing[__builtin_ctz(rows)]++;
    decision_write(engine_, &name, event_, sequence, reasons, flags, period, cause_);
    if (engine_->explain)
        explanation_write(engine_, candidate.unit_row, &name, event_, sequence, cause_);
}

/* Decides the collected candidates, in their order. */
static void decide_candidates(engine *engine_, const cause *cause_)
{
    candidates_sort(engine_);
    for (uint64_t i = 0; i < engine_->candidate_count; i++)
        decide(engine_, engine_->candidates[i], cause_);
    engine_->candidate_count = 0;
}

#endif
