/* A piece of a log applied to an engine.
 *
 * What it is: the lines of a buffer, parsed and applied in order, several at a time so that the
 * engine can look ahead.
 * Who calls it: matcher.pyx.
 * What it must never know: files, what a record means.
 */
#ifndef GATEJOIN_LOG_REPLAY_H
#define GATEJOIN_LOG_REPLAY_H

#include "engine.h"
#include "log_lines.h"

typedef struct {
    uint64_t used; /* bytes of the buffer whose lines were applied */
    int64_t line;  /* number of the next line */
} log_progress;

static inline int lies_in(const uint8_t *bytes, const uint8_t *buffer, uint64_t size)
{
    return !bytes || (bytes >= buffer && bytes < buffer + size);
}

/* Applies the whole lines of a buffer, and with `at_end` also a last one without its line end.
 * Returns LOG_LINE_GOOD, or what the reader said of the line that ended it (LOG_LINE_WRONG with
 * `error`, LOG_LINE_OUT_OF_MEMORY); the lines before it are applied in any case. */
static int log_apply(engine *engine_, log_line_reader *reader, const uint8_t *bytes, uint64_t size,
                     int at_end, log_progress *progress, char error[LOG_LINE_ERROR_BYTES])
{
    record_view records[LOOK_AHEAD];
    uint8_t topics[LOOK_AHEAD];
    uint32_t count = 0;
    int answer = LOG_LINE_GOOD;
    while (progress->used < size) {
        const uint8_t *line = bytes + progress->used;
        const uint8_t *line_end = (const uint8_t *)memchr(line, '\n', size - progress->used);
        if (!line_end && !at_end)
            break;
        uint64_t length = line_end ? (uint64_t)(line_end - line) : size - progress->used;
        log_line parsed;
        answer = log_line_parse(reader, line, length, &parsed, error);
        if (answer == LOG_LINE_GOOD) {
            records[count] = (record_view){.key = parsed.key,
                                           .value = parsed.value,
                                           .key_length = parsed.key_length,
                                           .value_length = parsed.value_length,
                                           .offset = progress->line,
                                           .timestamp_ms = parsed.timestamp_ms};
            topics[count++] = parsed.topic;
            /* What had to be decoded lies in the reader, until it reads the next line. */
            if (count == LOOK_AHEAD || !lies_in(parsed.key, bytes, size) ||
                !lies_in(parsed.value, bytes, size)) {
                engine_apply_all(engine_, 0, topics, 0, records, count, -1);
                count = 0;
            }
        } else if (answer != LOG_LINE_BLANK) {
            break;
        }
        answer = LOG_LINE_GOOD;
        progress->used += length + (line_end != NULL);
        progress->line++;
    }
    engine_apply_all(engine_, 0, topics, 0, records, count, -1);
    return answer;
}

#endif
