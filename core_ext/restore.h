/* What was published before, taken back into the state.
 *
 * What it is: decisions, alerts and rejects, as they stand in their topics, read back so that a
 * worker that takes a partition over knows how far it had been decided and what had been said.
 * Who calls it: matcher.pyx, while a partition is restored.
 * What it must never know: how the records were fetched, when the worker is ready.
 */
#ifndef GATEJOIN_RESTORE_H
#define GATEJOIN_RESTORE_H

#include "alerts.h"
#include "decisions.h"
#include "engine_state.h"

enum published_field {
    PUBLISHED_ALERT_ID, PUBLISHED_TYPE, PUBLISHED_SEQUENCE, PUBLISHED_EVENT, PUBLISHED_OPERATOR,
    PUBLISHED_LOCATION, PUBLISHED_UNIT, PUBLISHED_UNIT_TYPE, PUBLISHED_REASONS, PUBLISHED_FLAGS,
    PUBLISHED_DECLARATIONS, PUBLISHED_NUMBER, PUBLISHED_SOURCE, PUBLISHED_TOPIC,
    PUBLISHED_PARTITION, PUBLISHED_OFFSET, PUBLISHED_FIELD_COUNT
};
static const char *const published_fields[PUBLISHED_FIELD_COUNT] = {
    "alertID", "type", "sequence", "eventID", "operatorID", "locationCode", "unit", "unitType",
    "reasons", "flags", "declarations", "declarationNumber", "source", "topic", "partition",
    "offset",
};

typedef struct {
    json_document document;
    json_words fields, rules, alerts;
    json_fields found;
    uint64_t *numbers;
    uint64_t number_count, number_capacity;
} published_reader;

static void published_reader_init(published_reader *reader)
{
    memset(reader, 0, sizeof *reader);
    json_document_init(&reader->document, RECORD_DEPTH_MAX, 0);
    json_words_init(&reader->fields, published_fields, PUBLISHED_FIELD_COUNT);
    json_words_init(&reader->rules, rule_codes, RULE_COUNT);
    json_words_init(&reader->alerts, alert_names, ALERT_COUNT);
}

static void published_reader_free(published_reader *reader)
{
    json_document_free(&reader->document);
    free(reader->numbers);
}

/* The text of a field. One that is absent or no string is empty, and as long to be read ahead of as
 * any other (json_words_find). */
static text published_text(published_reader *reader, enum published_field field)
{
    static const uint8_t nothing[JSON_WORD_MAX];
    text string = {nothing, 0};
    if (reader->found.kind[field] == JSON_STRING)
        string.bytes = json_string(&reader->document, reader->found.span[field], &string.length);
    return string;
}

/* The row bits of an array of codes; codes of another release are none of ours. */
static uint32_t published_rules(published_reader *reader, enum published_field field)
{
    uint32_t mask = 0;
    json_cursor cursor;
    if (reader->found.kind[field] != JSON_ARRAY ||
        !json_array_first(&reader->document, reader->found.span[field], &cursor))
        return 0;
    do {
        json_span span;
        text code;
        if (!json_array_string(&reader->document, &cursor, &span))
            return mask;
        code.bytes = json_string(&reader->document, span, &code.length);
        uint32_t rule = json_words_find(&reader->rules, code.bytes, code.length);
        if (rule != JSON_UNKNOWN)
            mask |= RULE_BIT(rule);
    } while (json_array_next(&cursor));
    return mask;
}

/* The declaration numbers of a decision, ascending as they were written, into reader->numbers. */
static int published_numbers(published_reader *reader)
{
    reader->number_count = 0;
    json_cursor cursor;
    if (reader->found.kind[PUBLISHED_DECLARATIONS] != JSON_ARRAY)
        return 0;
    if (!json_array_first(&reader->document, reader->found.span[PUBLISHED_DECLARATIONS], &cursor))
        return 1;
    do {
        json_fields weighed;
        text number;
        if (*cursor.byte != '{' ||
            !json_members(&reader->document, &cursor, 3, &reader->fields, &weighed) ||
            weighed.kind[PUBLISHED_NUMBER] != JSON_STRING)
            return 0;
        number.bytes = json_string(&reader->document, weighed.span[PUBLISHED_NUMBER],
                                   &number.length);
        reader->numbers = (uint64_t *)memory_grow(reader->numbers, &reader->number_capacity,
                                                  reader->number_count + 1,
                                                  sizeof *reader->numbers, "declarations");
        if (!declaration_number_parse(number, &reader->numbers[reader->number_count++]))
            return 0;
    } while (json_array_next(&cursor));
    return 1;
}

/* A number of at most 18 digits without sign, fraction or exponent, as all of ours are; else -1. */
static int64_t published_number(const published_reader *reader, const json_fields *fields,
                                enum published_field field)
{
    json_span span = fields->span[field];
    if (fields->kind[field] != JSON_NUMBER || span.end - span.start > 18)
        return -1;
    int64_t number = 0;
    for (uint32_t i = span.start; i < span.end; i++) {
        uint8_t digit = (uint8_t)(reader->document.base[i] - '0');
        if (digit > 9)
            return -1;
        number = number * 10 + digit;
    }
    return number;
}

/* Walks a published value; 0 if it is none. */
static int published_read(published_reader *reader, const record_view *record)
{
    return record->value_length >= 0 &&
           json_scan(&reader->document, record->value, (uint64_t)record->value_length,
                     &reader->fields, &reader->found);
}

/* The handle of the event that a published record is about, or 0; `unit_row` is set. */
static uint32_t published_event(engine *engine_, published_reader *reader, uint8_t class_,
                                uint32_t *unit_row)
{
    text shown = published_text(reader, PUBLISHED_UNIT);
    text operator_ = published_text(reader, PUBLISHED_OPERATOR);
    text event_id = published_text(reader, PUBLISHED_EVENT);
    unit_name name;
    if (!shown.length || shown.length > UNIT_NAME_MAX)
        return 0;
    memcpy(name.name, shown.bytes, shown.length);
    name.length = (uint8_t)shown.length;
    *unit_row = unit_table_find(&engine_->units, &name, class_);
    uint32_t operator_row_ =
        text_table_find(&engine_->customs.operator_names, operator_.bytes, operator_.length);
    if (*unit_row == UINT32_MAX || operator_row_ == NO_ROW)
        return 0;
    const unit *unit_ = unit_at(engine_, *unit_row);
    return unit_events_find(&engine_->arena_, unit_, operator_row_, event_id);
}

/* Takes a decision back; 1 if its check is known and had not got that far. Its RECALL is raised if
 * it never was: an alert leaves after its decision, and may have been lost. */
static int restore_decision(engine *engine_, published_reader *reader, const record_view *record)
{
    if (!published_read(reader, record))
        return 0;
    text type = published_text(reader, PUBLISHED_UNIT_TYPE);
    uint8_t class_ = type.length == 9 && !memcmp(type.bytes, "CONTAINER", 9) ? CLASS_CONTAINER
                                                                             : CLASS_LOT;
    uint32_t unit_row;
    int64_t sequence = published_number(reader, &reader->found, PUBLISHED_SEQUENCE);
    uint32_t handle = published_event(engine_, reader, class_, &unit_row);
    if (!handle || sequence <= 0 || sequence > UINT32_MAX || !published_numbers(reader))
        return 0;
    arena *arena_ = &engine_->arena_;
    event *event_ = event_at(arena_, handle);
    uint32_t reasons = published_rules(reader, PUBLISHED_REASONS);
    int is_recall = 0;
    if (event_->check) {
        const check_state *check = (const check_state *)arena_at(arena_, event_->check);
        if (check->sequence >= sequence)
            return 0;
        is_recall = check->sequence + 1 == sequence && !check->reasons && reasons;
    }
    check_state *check =
        check_store(arena_, event_, (uint32_t)sequence, reasons,
                    published_rules(reader, PUBLISHED_FLAGS), reader->number_count);
    if (reader->number_count)
        memcpy(check->declarations, reader->numbers,
               reader->number_count * sizeof *reader->numbers);
    unit_changed(engine_, unit_row);
    if (is_recall) {
        cause cause_ = {TOPIC_COUNT, -1, -1, record->timestamp_ms, record->timestamp_ms * 1000};
        recall_add(engine_, (recall){unit_row, handle, (uint32_t)sequence, reasons});
        alerts_recall(engine_, &cause_);
    }
    return 1;
}

/* Takes an alert back, so that it is not raised again; 1 if its event is known. An alert does not
 * say the class of its unit: its ID is shared by the container and the lot of one name, so it is
 * remembered with whichever has the event. Where the goods stood is the alert's word, not the
 * event's: it may have been corrected to another place since, and overstay there as well. */
static int restore_alert(engine *engine_, published_reader *reader, const record_view *record)
{
    if (!published_read(reader, record))
        return 0;
    text type_name = published_text(reader, PUBLISHED_TYPE);
    uint32_t type = json_words_find(&reader->alerts, type_name.bytes, type_name.length);
    if (type == JSON_UNKNOWN)
        return 0;
    int known = 0;
    for (uint8_t class_ = 0; class_ < CLASS_COUNT; class_++) {
        uint32_t unit_row;
        uint32_t handle = published_event(engine_, reader, class_, &unit_row);
        if (!handle)
            continue;
        event *event_ = event_at(&engine_->arena_, handle);
        known = 1;
        text id = published_text(reader, PUBLISHED_ALERT_ID);
        if (type <= ALERT_EXIT_RETRACTED) {
            event_->alerts |= (uint8_t)(1u << type);
            unit_changed(engine_, unit_row);
        } else if (type == ALERT_OVERSTAYED) {
            text location = published_text(reader, PUBLISHED_LOCATION);
            if (location.length)
                raise_once(engine_, unit_row, ALERT_OVERSTAYED, 0, event_,
                           location_row(&engine_->customs, location));
        } else {
            /* The number is what follows the last slash: a sequence or a declaration number. */
            uint64_t number = 0;
            for (uint32_t i = 0; i < id.length; i++)
                number = id.bytes[i] == '/' ? 0 : number * 10 + (uint64_t)(id.bytes[i] - '0');
            raise_once(engine_, unit_row, (enum alert_type)type, number, event_, 0);
        }
    }
    return known;
}

/* Notes an alert of the tail by its ID (published_tail.h); 1 if it has one. */
static int suppress_alert(published_tail *tail, published_reader *reader,
                          const record_view *record)
{
    if (!published_read(reader, record))
        return 0;
    text id = published_text(reader, PUBLISHED_ALERT_ID);
    if (!id.length)
        return 0;
    text_table_put(&tail->alert_ids, id.bytes, id.length, NULL);
    return 1;
}

/* Notes a reject of the tail by its source; 1 if that is a port event of this partition. */
static int suppress_reject(engine *engine_, uint32_t partition, published_reader *reader,
                           const record_view *record)
{
    if (!published_read(reader, record) || reader->found.kind[PUBLISHED_SOURCE] != JSON_OBJECT)
        return 0;
    json_span place = reader->found.span[PUBLISHED_SOURCE];
    json_cursor cursor = {reader->document.base + place.start,
                          reader->document.quotes + place.quote};
    json_fields source;
    if (!json_members(&reader->document, &cursor, 2, &reader->fields, &source) ||
        source.kind[PUBLISHED_TOPIC] != JSON_STRING)
        return 0;
    text topic;
    topic.bytes = json_string(&reader->document, source.span[PUBLISHED_TOPIC], &topic.length);
    const char *port_events = engine_->topic_names[TOPIC_PORT_EVENTS];
    int64_t offset = published_number(reader, &source, PUBLISHED_OFFSET);
    if (topic.length != strlen(port_events) || memcmp(topic.bytes, port_events, topic.length) ||
        published_number(reader, &source, PUBLISHED_PARTITION) != partition || offset < 0)
        return 0;
    number_table_put(&engine_->partitions[partition].published.reject_offsets, (uint64_t)offset,
                     0);
    return 1;
}

#endif
