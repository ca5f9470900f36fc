/* One line of a log, as CONTRACT.md section 6 defines it.
 *
 * What it is: `{"topic": ..., "timestamp": milliseconds, "key": ..., "value": ...}` to a topic, a
 * time, and the bytes of key and value as Kafka would have carried them.
 * Who calls it: the replay, `why` and `report`, which number the lines.
 * What it must never know: what a value means, where lines come from.
 *
 * A line must be valid JSON and UTF-8, but what it carries need not be a good record: a value may
 * be nested more deeply than records may, and an escape for a lone surrogate is let through (in a
 * string as the three bytes that UTF-8 would have for it). The record is refused later, and the
 * replay goes on.
 */
#ifndef GATEJOIN_LOG_LINES_H
#define GATEJOIN_LOG_LINES_H

#include <stdio.h>

#include "json_scanner.h"
#include "record_types.h"

#define LOG_LINE_ERROR_BYTES 160
#define LOG_TIMESTAMP_MAX UINT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define LOG_TIMESTAMP_DIGITS 15

enum log_line_field {
    LOG_LINE_TOPIC, LOG_LINE_TIMESTAMP, LOG_LINE_KEY, LOG_LINE_VALUE, LOG_LINE_FIELD_COUNT
};
static const char *const log_line_fields[LOG_LINE_FIELD_COUNT] = {
    "topic", "timestamp", "key", "value",
};
/* In the order of `enum topic`: those that the engine reads. */
static const char *const log_line_topics[TOPIC_COUNT] = {
    "operators", "declarations", "holds", "port-events",
};

enum log_line_result {
    LOG_LINE_OUT_OF_MEMORY = -1,
    LOG_LINE_WRONG = 0,
    LOG_LINE_GOOD = 1,
    LOG_LINE_BLANK = 2
};

/* Key and value lie in the line or in the reader's memory, until the next line is parsed. */
typedef struct {
    uint8_t topic; /* enum topic */
    int64_t timestamp_ms;
    const uint8_t *key;
    const uint8_t *value;
    int32_t key_length;   /* -1: null */
    int32_t value_length; /* -1: null, a tombstone */
} log_line;

typedef struct {
    json_document document;
    json_words fields;
    json_words topics;
} log_line_reader;

static inline void log_line_reader_init(log_line_reader *reader)
{
    json_document_init(&reader->document, UINT32_MAX, 1);
    json_words_init(&reader->fields, log_line_fields, LOG_LINE_FIELD_COUNT);
    json_words_init(&reader->topics, log_line_topics, TOPIC_COUNT);
}

static inline void log_line_reader_free(log_line_reader *reader)
{
    json_document_free(&reader->document);
}

static inline int log_line_wrong(char error[LOG_LINE_ERROR_BYTES], const char *what)
{
    snprintf(error, LOG_LINE_ERROR_BYTES, "%s", what);
    return LOG_LINE_WRONG;
}

/* Names an unknown topic by its first bytes, what is not plain ASCII being shown as `?`. */
static inline int log_line_unknown_topic(char error[LOG_LINE_ERROR_BYTES], const uint8_t *topic,
                                         uint32_t length)
{
    char shown[41];
    uint32_t count = length < sizeof shown - 1 ? length : (uint32_t)sizeof shown - 1;
    for (uint32_t i = 0; i < count; i++)
        shown[i] = topic[i] >= 0x20 && topic[i] < 0x7f ? (char)topic[i] : '?';
    shown[count] = 0;
    snprintf(error, LOG_LINE_ERROR_BYTES,
             "topic \"%s\" is none of operators, declarations, holds, port-events", shown);
    return LOG_LINE_WRONG;
}

/* Parses one line, with or without its line end. Returns an enum log_line_result; a wrong line is
 * explained in `error`. */
static inline int log_line_parse(log_line_reader *reader, const uint8_t *line, uint64_t length,
                                 log_line *out, char error[LOG_LINE_ERROR_BYTES])
{
    json_document *document = &reader->document;
    uint64_t blanks = 0;
    while (blanks < length && json_is_space(line[blanks]))
        blanks++;
    if (blanks == length)
        return LOG_LINE_BLANK;

    json_fields fields;
    fields.span[LOG_LINE_VALUE].start = 0; /* no value starts there: tells null from absent */
    if (!json_scan(document, line, length, &reader->fields, &fields)) {
        if (document->error == JSON_OUT_OF_MEMORY)
            return LOG_LINE_OUT_OF_MEMORY;
        snprintf(error, LOG_LINE_ERROR_BYTES, "%s at byte %u of the line",
                 json_error_texts[document->error], (unsigned)document->error_at);
        return LOG_LINE_WRONG;
    }

    uint32_t text_length;
    if (fields.kind[LOG_LINE_TOPIC] != JSON_STRING)
        return log_line_wrong(error, fields.kind[LOG_LINE_TOPIC] == JSON_ABSENT
                                         ? "topic is missing" : "topic is no string");
    const uint8_t *topic = json_string(document, fields.span[LOG_LINE_TOPIC], &text_length);
    uint32_t number = json_words_find(&reader->topics, topic, text_length);
    if (number == JSON_UNKNOWN)
        return log_line_unknown_topic(error, topic, text_length);
    out->topic = (uint8_t)number;

    if (fields.kind[LOG_LINE_TIMESTAMP] == JSON_ABSENT)
        return log_line_wrong(error, "timestamp is missing");
    json_span span = fields.span[LOG_LINE_TIMESTAMP];
    const uint8_t *digit = document->base + span.start, *end = document->base + span.end;
    int good = fields.kind[LOG_LINE_TIMESTAMP] == JSON_NUMBER &&
               end - digit <= LOG_TIMESTAMP_DIGITS;
    uint64_t timestamp = 0;
    for (; good && digit < end; digit++) {
        good = (uint8_t)(*digit - '0') <= 9;
        timestamp = timestamp * 10 + (uint64_t)(*digit - '0');
    }
    if (!good || timestamp > LOG_TIMESTAMP_MAX)
        return log_line_wrong(error, "timestamp is no integer from 0 to 253402300799999 without "
                                     "sign, fraction or exponent");
    out->timestamp_ms = (int64_t)timestamp;

    out->key = NULL;
    out->key_length = -1;
    if (fields.kind[LOG_LINE_KEY] == JSON_STRING) {
        out->key = json_string(document, fields.span[LOG_LINE_KEY], &text_length);
        out->key_length = (int32_t)text_length;
    } else if (fields.kind[LOG_LINE_KEY] != JSON_ABSENT) {
        return log_line_wrong(error, "key is neither a string nor null");
    }

    span = fields.span[LOG_LINE_VALUE];
    out->value = NULL;
    out->value_length = -1;
    if (fields.kind[LOG_LINE_VALUE] == JSON_STRING) {
        out->value = json_string(document, span, &text_length);
        out->value_length = (int32_t)text_length;
    } else if (fields.kind[LOG_LINE_VALUE] != JSON_ABSENT) {
        out->value = document->base + span.start;
        out->value_length = (int32_t)(span.end - span.start);
    } else if (span.start == 0) {
        return log_line_wrong(error, "value is missing; a tombstone is written as null");
    }
    return LOG_LINE_GOOD;
}

#endif
