/* Explanations: why a decision is as it is.
 *
 * What it is: one JSON object per decision with the facts and their operands, for `gatejoin why`.
 * Times are microseconds UTC, weights grams, absent is null; stream/why.py puts them into words.
 * Who calls it: decisions.h, only in an engine that was asked to explain; a worker never does.
 * What it must never know: languages, legal texts.
 */
#ifndef GATEJOIN_EXPLANATIONS_H
#define GATEJOIN_EXPLANATIONS_H

#include "engine_state.h"

static const char *const purpose_names[PURPOSE_COUNT] = {"CLEARANCE", "INSPECTION", "EMPTY",
                                                         "DOMESTIC", "SEIZED"};
static const char *const hold_scope_names[SCOPE_COUNT] = {"UNIT", "DECLARATION"};
static const char *const hold_reason_names[REASON_COUNT] = {"STOP", "SCAN", "CUSTOMS_SEAL"};

static uint8_t *json_flag(uint8_t *place, int flag)
{
    return flag ? json_bytes(place, "true", 4) : json_bytes(place, "false", 5);
}

/* A number, or null for `none`. */
static uint8_t *json_time_or_null(uint8_t *place, int64_t microseconds, int64_t none)
{
    return microseconds == none ? json_bytes(place, "null", 4) : json_integer(place, microseconds);
}

static uint8_t *json_seals(uint8_t *place, const seal_list *seals)
{
    *place++ = '[';
    for (uint64_t i = 0; i < seals->count; i++) {
        if (i)
            *place++ = ',';
        place = json_text(place, seals->seals[i].bytes, seals->seals[i].length);
    }
    *place++ = ']';
    return place;
}

static int weighed_line_order(const void *a, const void *b)
{
    const weighed_line *left = *(const weighed_line *const *)a;
    const weighed_line *right = *(const weighed_line *const *)b;
    if (left->declaration_->number != right->declaration_->number)
        return left->declaration_->number < right->declaration_->number ? -1 : 1;
    return left->line_->location < right->line_->location ? -1 : 1;
}

static uint8_t *explanation_line(uint8_t *place, const engine *engine_, const weighed_line *weighed,
                                 const seal_list *seals)
{
    const declaration *declaration_ = weighed->declaration_;
    const line *line_ = weighed->line_;
    const line_quantities declared = line_declared(line_);
    JSON_LITERAL(place, "{\"declarationNumber\":");
    place = json_declaration_number(place, declaration_->number);
    JSON_LITERAL(place, ",\"version\":");
    place = json_integer(place, declaration_->version);
    JSON_LITERAL(place, ",\"status\":");
    place = json_name(place, status_names[declaration_->status]);
    JSON_LITERAL(place, ",\"direction\":");
    place = json_name(place, direction_names[declaration_->direction]);
    JSON_LITERAL(place, ",\"locationCode\":");
    place = json_interned(place, location_name(&engine_->customs, line_->location));
    JSON_LITERAL(place, ",\"registeredUs\":");
    place = json_integer(place, declaration_->registered_us);
    JSON_LITERAL(place, ",\"statusUs\":");
    place = json_time_or_null(place, declaration_->status_us, NO_TIME);
    JSON_LITERAL(place, ",\"shared\":");
    place = json_flag(place, line_->shared);
    JSON_LITERAL(place, ",\"pieces\":");
    place = json_integer(place, declared.pieces);
    JSON_LITERAL(place, ",\"weightGrams\":");
    place = json_integer(place, declared.weight_grams);
    JSON_LITERAL(place, ",\"seals\":");
    place = json_seals(place, seals);
    JSON_LITERAL(place, ",\"covering\":");
    place = json_flag(place, (weighed->facts & LINE_COVERING) != 0);
    JSON_LITERAL(place, ",\"consumedUs\":");
    place = json_time_or_null(place, weighed->consumed_us, NO_TIME);
    JSON_LITERAL(place, ",\"passes\":");
    place = json_flag(place, (weighed->facts & LINE_PASSING) != 0);
    *place++ = '}';
    return place;
}

static uint8_t *explanation_hold(uint8_t *place, const engine *engine_, uint32_t row)
{
    const customs_tables *customs = &engine_->customs;
    const hold *hold_ = &customs->holds[row];
    JSON_LITERAL(place, "{\"holdID\":");
    place = json_interned(place, &customs->hold_names.texts[row]);
    JSON_LITERAL(place, ",\"version\":");
    place = json_integer(place, hold_->version);
    JSON_LITERAL(place, ",\"scope\":");
    place = json_name(place, hold_scope_names[hold_->scope]);
    JSON_LITERAL(place, ",\"reference\":");
    if (hold_->scope == SCOPE_DECLARATION) {
        place = json_declaration_number(place, customs->declarations.rows[hold_->target[0]].number);
    } else {
        unit_name name;
        unit_table_name(&engine_->units, hold_->target[0], &name);
        place = json_text(place, name.name, name.length);
    }
    JSON_LITERAL(place, ",\"reason\":");
    place = json_name(place, hold_reason_names[hold_->reason]);
    JSON_LITERAL(place, ",\"seal\":");
    if (hold_->seal) {
        const seal_block *block = (const seal_block *)arena_at(&engine_->arena_, hold_->seal);
        place = json_text(place, block->bytes + 1, block->bytes[0]);
    } else {
        JSON_LITERAL(place, "null");
    }
    JSON_LITERAL(place, ",\"issuedUs\":");
    place = json_integer(place, hold_->issued_us);
    *place++ = '}';
    return place;
}

/* The lines worth showing: covering, of a weighed declaration, or consumed where it passes. */
static int explains(const weighing *weighing_, const weighed_line *weighed)
{
    const uint32_t consumed_here = LINE_CONSUMED | LINE_HERE | LINE_SAME_DIRECTION;
    return (weighed->facts & LINE_COVERING) ||
           (weighed->facts & consumed_here) == consumed_here ||
           weighed_declaration_has(weighing_, weighed->declaration_->number);
}

/* Writes the explanation of the weighing just made. */
static void explanation_write(engine *engine_, uint32_t unit_row, const unit_name *name,
                              const event *event_, uint32_t sequence, const cause *cause_)
{
    weighing *weighing_ = &engine_->weighing_;
    record_output *output = &engine_->explanations;
    uint64_t bytes = 4096 + JSON_TEXT_BYTES(ID_BYTES);
    const weighed_line **lines = (const weighed_line **)memory_resize(
        NULL, weighing_->line_count * sizeof *lines, "an explanation");
    uint64_t line_count = 0;
    for (uint64_t i = 0; i < weighing_->line_count; i++)
        if (explains(weighing_, &weighing_->lines[i])) {
            lines[line_count++] = &weighing_->lines[i];
            if (weighing_->lines[i].line_->seals)
                bytes += 6 * (uint64_t)((const seal_block *)arena_at(
                                            &engine_->arena_, weighing_->lines[i].line_->seals))
                                 ->block_bytes;
        }
    qsort(lines, line_count, sizeof *lines, weighed_line_order);
    bytes += line_count * 1024 + weighing_->hold_count * 2048 + event_->presented_count * 16u +
             (weighing_->seals_expected.count + weighing_->seals_seen.count) * 400;
    uint8_t *place = output_room(output, bytes);
    uint8_t id[ID_BYTES], *id_end = id_of_event(id, engine_, name, event_);
    *id_end++ = '/';
    id_end = json_unsigned(id_end, sequence);
    JSON_LITERAL(place, "{\"decisionID\":");
    place = json_text(place, id, (uint64_t)(id_end - id));
    JSON_LITERAL(place, ",\"facts\":");
    place = json_unsigned(place, weighing_->facts);
    JSON_LITERAL(place, ",\"needsDeclaration\":");
    place = json_flag(place, weighing_->needs_declaration);
    JSON_LITERAL(place, ",\"purpose\":");
    place = json_name(place, purpose_names[event_->purpose]);
    JSON_LITERAL(place, ",\"lines\":[");
    for (uint64_t i = 0; i < line_count; i++) {
        seal_list seals = {0};
        seal_list_add_block(&seals, &engine_->arena_, lines[i]->line_->seals);
        if (i)
            *place++ = ',';
        place = explanation_line(place, engine_, lines[i], &seals);
        free(seals.seals);
    }
    free(lines);
    JSON_LITERAL(place, "],\"presented\":[");
    for (uint32_t i = 0; i < event_->presented_count; i++) {
        if (i)
            *place++ = ',';
        place = json_declaration_number(place, event_presented(event_)[i]);
    }
    JSON_LITERAL(place, "],\"holds\":[");
    for (uint64_t i = 0; i < weighing_->hold_count; i++) {
        if (i)
            *place++ = ',';
        place = explanation_hold(place, engine_, weighing_->holds[i]);
    }
    JSON_LITERAL(place, "],\"seals\":");
    if (event_->looked)
        place = json_seals(place, &weighing_->seals_seen);
    else
        JSON_LITERAL(place, "null");
    JSON_LITERAL(place, ",\"sealsExpected\":");
    place = json_seals(place, &weighing_->seals_expected);
    JSON_LITERAL(place, ",\"sealsFrom\":");
    if (!weighing_->seals_expected.count)
        JSON_LITERAL(place, "null");
    else if (weighing_->resealed)
        JSON_LITERAL(place, "\"RESEAL\"");
    else
        JSON_LITERAL(place, "\"DECLARATION\"");
    JSON_LITERAL(place, ",\"account\":");
    if (!weighing_->has_account)
        JSON_LITERAL(place, "null");
    else if (weighing_->by_pieces)
        JSON_LITERAL(place, "\"PIECES\"");
    else
        JSON_LITERAL(place, "\"WEIGHT\"");
    JSON_LITERAL(place, ",\"asked\":");
    if (weighing_->has_asked)
        place = json_integer(place, weighing_->asked);
    else
        JSON_LITERAL(place, "null");
    JSON_LITERAL(place, ",\"passed\":");
    place = json_integer(place, weighing_->passed);
    JSON_LITERAL(place, ",\"reserved\":");
    place = json_integer(place, weighing_->reserved);
    JSON_LITERAL(place, ",\"allowed\":");
    int64_t tolerance =
        weighing_->by_pieces ? 0 : engine_->parameters.weight_tolerance_thousandths;
    place = json_integer(
        place, (int64_t)((__int128)weighing_->allowed * (100000 + tolerance) / 100000));
    JSON_LITERAL(place, ",\"declared\":");
    place = json_integer(place, weighing_->allowed);
    JSON_LITERAL(place, ",\"missingEvents\":");
    place = json_unsigned(place, weighing_->missing_quantities);
    JSON_LITERAL(place, ",\"inStock\":");
    place = json_flag(place, weighing_->in_stock);
    JSON_LITERAL(place, ",\"visitStartedUs\":");
    event_view others = unit_events_view(&engine_->arena_, unit_at(engine_, unit_row), event_);
    const event *start = visit_start(&others, event_->location);
    place = json_time_or_null(place, start ? start->time_us : NO_TIME, NO_TIME);
    JSON_LITERAL(place, ",\"document\":");
    place = json_flag(place, event_->has_document);
    JSON_LITERAL(place, ",\"operatorStatus\":");
    place = event_->suspended ? json_name(place, "SUSPENDED") : json_name(place, "CONNECTED");
    JSON_LITERAL(place, ",\"operatorKind\":");
    place = event_->at_airport ? json_name(place, "AIRPORT") : json_bytes(place, "null", 4);
    JSON_LITERAL(place, ",\"recordUs\":");
    place = json_integer(place, event_->record_time_ms * 1000);
    JSON_LITERAL(place, ",\"returnedUs\":");
    place = json_time_or_null(place, weighing_->latest_in_us, INT64_MIN);
    *place++ = '}';
    output_close(output, place, name->name, name->length, 0, cause_->timestamp_ms);
}

#endif
