/* Alerts on an event, on a retraction and on a decision (CONTRACT.md section 5, Alerts).
 *
 * What it is: which alerts an event that took effect raises, in their order, each alertID once; and
 * the writing of every alert, those by the clock included.
 * Who calls it: engine.h after an event took effect, clock_alerts.h to write.
 * What it must never know: who is alerted.
 */
#ifndef GATEJOIN_ALERTS_H
#define GATEJOIN_ALERTS_H

#include "decisions.h"
#include "engine_state.h"

/* ---- once ------------------------------------------------------------------------------------ */

/* An alert that was raised and whose ID is not told by its event alone, kept with its unit: by the
 * clock, whose IDs name a location or a declaration, and RECALL, whose ID names a sequence. The
 * others have a bit in their event. */
typedef struct {
    uint32_t next; /* arena handle, 0 none */
    uint32_t block_bytes;
    uint64_t number; /* RECALL: sequence; TRANSIT_OVERDUE: declaration number; OVERSTAYED: 0 */
    uint32_t type;
    uint32_t location; /* OVERSTAYED, else 0 */
    uint32_t operator_row;
    uint32_t event_id_length; /* 0 for TRANSIT_OVERDUE, whose ID names no event */
    uint8_t event_id[];
} raised_alert;

static int raised_before(const engine *engine_, uint32_t unit_row, const raised_alert *wanted,
                         const uint8_t *event_id)
{
    for (uint32_t handle = unit_at(engine_, unit_row)->raised; handle;) {
        const raised_alert *raised = (const raised_alert *)arena_at(&engine_->arena_, handle);
        handle = raised->next;
        if (raised->type == wanted->type && raised->number == wanted->number &&
            raised->location == wanted->location &&
            raised->event_id_length == wanted->event_id_length &&
            (!wanted->event_id_length ||
             (raised->operator_row == wanted->operator_row &&
              !memcmp(raised->event_id, event_id, wanted->event_id_length))))
            return 1;
    }
    return 0;
}

/* Remembers an alert with its unit; 1 if its ID was never raised before. `location` is the one that
 * the ID of OVERSTAYED names, else 0. The container and the lot of one name share their alertIDs,
 * so both are asked. */
static int raise_once(engine *engine_, uint32_t unit_row, enum alert_type type, uint64_t number,
                      const event *event_, uint32_t location)
{
    raised_alert wanted = {
        .number = number,
        .type = type,
        .location = location,
        .operator_row = event_->operator_row,
        .event_id_length = type == ALERT_TRANSIT_OVERDUE ? 0 : event_->event_id_length};
    if (raised_before(engine_, unit_row, &wanted, event_id_bytes(event_)))
        return 0;
    wanted.block_bytes = (uint32_t)sizeof wanted + wanted.event_id_length;
    wanted.next = engine_->units.rows[unit_row].raised;
    uint32_t handle = arena_allocate(&engine_->arena_, wanted.block_bytes);
    raised_alert *raised = (raised_alert *)arena_at(&engine_->arena_, handle);
    *raised = wanted;
    memcpy(raised->event_id, event_id_bytes(event_), wanted.event_id_length);
    engine_->units.rows[unit_row].raised = handle;
    unit_changed(engine_, unit_row);
    unit_name name;
    unit_table_name(&engine_->units, unit_row, &name);
    uint32_t sibling =
        unit_table_find(&engine_->units, &name, unit_at(engine_, unit_row)->class_ ^ 1);
    return sibling == UINT32_MAX ||
           !raised_before(engine_, sibling, &wanted, event_id_bytes(event_));
}

/* ---- writing --------------------------------------------------------------------------------- */

/* What an alert says, apart from its ID. */
typedef struct {
    enum alert_type type;
    const unit_name *name;
    uint32_t operator_row, location;
    const uint8_t *event_id;
    uint32_t event_id_length;
    int64_t raised_us;
} alert_head;

/* Writes an alert, unless a former owner of the partition has; `detail` is a JSON object, for
 * people. */
static void alert_write(engine *engine_, const uint8_t *id, uint64_t id_length,
                        const alert_head *head, const uint8_t *detail, uint64_t detail_length,
                        int64_t timestamp_ms)
{
    record_output *output = &engine_->alerts;
    uint32_t partition = unit_partition(engine_, head->name);
    if (published_alert_claim(&engine_->partitions[partition].published, id, id_length))
        return;
    uint8_t *place = output_room(output, 1024 + JSON_TEXT_BYTES(id_length) + 6 * 64 * 3 +
                                             6 * UNIT_NAME_MAX + detail_length);
    JSON_LITERAL(place, "{\"alertID\":");
    place = json_text(place, id, id_length);
    JSON_LITERAL(place, ",\"type\":");
    place = json_name(place, alert_names[head->type]);
    JSON_LITERAL(place, ",\"unit\":");
    place = json_text(place, head->name->name, head->name->length);
    JSON_LITERAL(place, ",\"operatorID\":");
    place = json_interned(place, operator_name(&engine_->customs, head->operator_row));
    JSON_LITERAL(place, ",\"locationCode\":");
    place = json_interned(place, location_name(&engine_->customs, head->location));
    JSON_LITERAL(place, ",\"eventID\":");
    place = json_text(place, head->event_id, head->event_id_length);
    JSON_LITERAL(place, ",\"detail\":");
    place = json_bytes(place, detail, detail_length);
    JSON_LITERAL(place, ",\"raisedDateTime\":");
    place = json_date_time(place, head->raised_us);
    *place++ = '}';
    engine_->counters.alerts[head->type]++;
    output_close(output, place, head->name->name, head->name->length,
                 (int32_t)partition, timestamp_ms);
}

/* ---- on an event ----------------------------------------------------------------------------- */

/* `TYPE/unit/operatorID/eventID`. */
static uint8_t *alert_id_of_event(uint8_t *place, const engine *engine_, enum alert_type type,
                                  const unit_name *name, const event *event_)
{
    place = json_bytes(place, alert_names[type], strlen(alert_names[type]));
    *place++ = '/';
    return id_of_event(place, engine_, name, event_);
}

/* An event is applied that a former owner may have applied before: what it raised then is raised,
 * even if customs has spoken since and it would not be raised now. */
static void alerts_claim(engine *engine_, published_tail *tail, const unit_name *name,
                         event *event_)
{
    for (int type = 0; type <= ALERT_EXIT_RETRACTED && tail->alert_ids.size; type++) {
        uint8_t id[ID_BYTES];
        uint8_t *end = alert_id_of_event(id, engine_, (enum alert_type)type, name, event_);
        if (published_alert_claim(tail, id, (uint64_t)(end - id)))
            event_->alerts |= (uint8_t)(1u << type);
    }
}

/* An alert about an event: `TYPE/unit/operatorID/eventID`, raised once. The container and the lot
 * of one name share their alertIDs, so the event of that ID of the other class is asked as well. */
static void alert_on_event(engine *engine_, enum alert_type type, const unit_name *name,
                           uint8_t class_, event *event_, const event *described,
                           const uint8_t *detail, uint64_t detail_length, const cause *cause_)
{
    uint8_t bit = (uint8_t)(1u << type);
    if (event_->alerts & bit)
        return;
    event_->alerts |= bit;
    uint32_t sibling = unit_table_find(&engine_->units, name, class_ ^ 1);
    if (sibling != UINT32_MAX) {
        const unit *unit_ = unit_at(engine_, sibling);
        text event_id = {event_id_bytes(event_), event_->event_id_length};
        uint32_t handle =
            unit_events_find(&engine_->arena_, unit_, event_->operator_row, event_id);
        if (handle && event_at(&engine_->arena_, handle)->alerts & bit)
            return;
    }
    uint8_t id[ID_BYTES];
    uint8_t *end = alert_id_of_event(id, engine_, type, name, event_);
    alert_head head = {type,
                       name,
                       described->operator_row,
                       described->location,
                       event_id_bytes(event_),
                       event_->event_id_length,
                       cause_->now_us};
    alert_write(engine_, id, (uint64_t)(end - id), &head, detail, detail_length,
                cause_->timestamp_ms);
}

static void alert_unauthorised_exit(engine *engine_, const unit_name *name, uint32_t unit_row,
                                    event *event_, const cause *cause_)
{
    weighing *weighing_ = &engine_->weighing_;
    weigh(&engine_->customs, unit_at(engine_, unit_row), &engine_->arena_, event_,
          container_number_check(name->name, name->length), &engine_->parameters, weighing_);
    uint32_t reasons = weighing_->facts & policy_at(engine_, event_->time_us)->hold_mask;
    if (!reasons)
        return;
    uint8_t detail[RULE_CODES_BYTES + 32], *end = detail;
    JSON_LITERAL(end, "{\"reasons\":");
    end = json_rule_codes(end, reasons);
    *end++ = '}';
    alert_on_event(engine_, ALERT_UNAUTHORISED_EXIT, name, unit_at(engine_, unit_row)->class_,
                   event_, event_, detail, (uint64_t)(end - detail), cause_);
}

/* A GET_OUT whose ID is first seen, reported later than the law allows: 15 minutes after import and
 * transit goods leave, 30 after export goods do. */
static void alert_late_report(engine *engine_, const unit_name *name, uint8_t class_,
                              event *event_, const cause *cause_)
{
    int64_t allowed_us;
    if (event_->direction == DIRECTION_EXPORT)
        allowed_us = engine_->parameters.late_export_us;
    else if (event_->direction == DIRECTION_DOMESTIC)
        return;
    else
        allowed_us = engine_->parameters.late_import_us;
    engine_->counters.exit_reports[event_->direction]++;
    int64_t late_us = event_->record_time_ms * 1000 - event_->time_us;
    if (late_us <= allowed_us)
        return;
    engine_->counters.late_reports[event_->direction]++;
    operator_figures_of(&engine_->figures, event_->operator_row)->late++;
    uint8_t detail[96], *end = detail;
    JSON_LITERAL(end, "{\"reportedAfterSeconds\":");
    end = json_integer(end, late_us / MICROSECONDS_PER_SECOND);
    JSON_LITERAL(end, ",\"allowedSeconds\":");
    end = json_integer(end, allowed_us / MICROSECONDS_PER_SECOND);
    *end++ = '}';
    alert_on_event(engine_, ALERT_LATE_REPORT, name, class_, event_, event_, detail,
                   (uint64_t)(end - detail), cause_);
}

/* A STOCK_COUNT against the balance at its location as of its time: a lot in the units it gives, a
 * container as 1 or 0 pieces, absent meaning 1. */
static void alert_stock_mismatch(engine *engine_, const unit_name *name, const unit *unit_,
                                 event *event_, const cause *cause_)
{
    event_view others = unit_events_view(&engine_->arena_, unit_, event_);
    stock_account stock = stock_at(&others, event_->location, event_->time_us);
    int64_t pieces = stock.pieces_in - stock.pieces_out, grams = stock.grams_in - stock.grams_out;
    int64_t counted = event_->pieces;
    int by_pieces = event_->has_pieces, by_weight = event_->has_weight;
    if (unit_->class_ == CLASS_CONTAINER) {
        pieces = stock_account_in_stock(&stock, CLASS_CONTAINER);
        if (!by_pieces)
            counted = 1;
        by_pieces = 1;
        by_weight = 0;
    }
    int64_t counted_grams = (int64_t)event_->weight_grams;
    if (!((by_pieces && counted != pieces) || (by_weight && counted_grams != grams)))
        return;
    uint8_t detail[256], *end = detail;
    *end++ = '{';
    if (by_pieces) {
        JSON_LITERAL(end, "\"countedPieces\":");
        end = json_integer(end, counted);
        JSON_LITERAL(end, ",\"balancePieces\":");
        end = json_integer(end, pieces);
    }
    if (by_weight) {
        if (by_pieces)
            *end++ = ',';
        JSON_LITERAL(end, "\"countedGrams\":");
        end = json_integer(end, counted_grams);
        JSON_LITERAL(end, ",\"balanceGrams\":");
        end = json_integer(end, grams);
    }
    *end++ = '}';
    alert_on_event(engine_, ALERT_STOCK_MISMATCH, name, unit_->class_, event_, event_, detail,
                   (uint64_t)(end - detail), cause_);
}

/* All alerts on an event that took effect, in the order of section 5. `first_seen`: its ID was not
 * known before. `exit_retracted`: the GET_OUT that this version retracted, or NULL. */
static void alerts_of_event(engine *engine_, const unit_name *name, uint32_t unit_row,
                            event *event_, int first_seen, const event *exit_retracted,
                            const cause *cause_)
{
    static const uint8_t empty[] = "{}";
    const unit *unit_ = unit_at(engine_, unit_row);
    if (event_->is_retracted) {
        if (exit_retracted)
            alert_on_event(engine_, ALERT_EXIT_RETRACTED, name, unit_->class_, event_,
                           exit_retracted, empty, 2, cause_);
        return;
    }
    event_view others = unit_events_view(&engine_->arena_, unit_, event_);
    switch (event_->event_type) {
    case EVENT_GET_OUT:
        alert_unauthorised_exit(engine_, name, unit_row, event_, cause_);
        if (!in_stock_at(&others, event_->location, event_->time_us))
            alert_on_event(engine_, ALERT_EXIT_WITHOUT_ENTRY, name, unit_->class_, event_, event_,
                           empty, 2, cause_);
        if (first_seen)
            alert_late_report(engine_, name, unit_->class_, event_, cause_);
        break;
    case EVENT_GET_IN:
        if (unit_->class_ == CLASS_CONTAINER &&
            in_stock_at(&others, event_->location, event_->time_us))
            alert_on_event(engine_, ALERT_DOUBLE_ENTRY, name, unit_->class_, event_, event_, empty,
                           2, cause_);
        break;
    case EVENT_DISCREPANCY:
        alert_on_event(engine_, ALERT_DISCREPANCY, name, unit_->class_, event_, event_, empty, 2,
                       cause_);
        break;
    case EVENT_STOCK_COUNT:
        alert_stock_mismatch(engine_, name, unit_, event_, cause_);
        break;
    default:
        break;
    }
}

/* ---- on a decision --------------------------------------------------------------------------- */

/* The RECALLs of the record's decisions, in the order of the decisions. */
static void alerts_recall(engine *engine_, const cause *cause_)
{
    for (uint64_t i = 0; i < engine_->recall_count; i++) {
        const recall *recall_ = &engine_->recalls[i];
        const event *event_ = event_at(&engine_->arena_, recall_->event_handle);
        if (!raise_once(engine_, recall_->unit_row, ALERT_RECALL, recall_->sequence, event_, 0))
            continue;
        unit_name name;
        unit_table_name(&engine_->units, recall_->unit_row, &name);
        uint8_t id[ID_BYTES], *end = id;
        JSON_LITERAL(end, "RECALL/");
        end = id_of_event(end, engine_, &name, event_);
        *end++ = '/';
        end = json_unsigned(end, recall_->sequence);
        uint8_t detail[RULE_CODES_BYTES + 64], *detail_end = detail;
        JSON_LITERAL(detail_end, "{\"sequence\":");
        detail_end = json_unsigned(detail_end, recall_->sequence);
        JSON_LITERAL(detail_end, ",\"reasons\":");
        detail_end = json_rule_codes(detail_end, recall_->reasons);
        *detail_end++ = '}';
        alert_head head = {ALERT_RECALL,
                           &name,
                           event_->operator_row,
                           event_->location,
                           event_id_bytes(event_),
                           event_->event_id_length,
                           cause_->now_us};
        alert_write(engine_, id, (uint64_t)(end - id), &head, detail,
                    (uint64_t)(detail_end - detail), cause_->timestamp_ms);
    }
    engine_->recall_count = 0;
}

#endif
