/* Which lines of a log touch which unit, declaration, hold and operator.
 *
 * What it is: parses and scans log lines as the replay does, and writes for each a few postings
 * (hash of a name, number of the line), sorted in runs of bounded size.
 * Who calls it: log_index.pyx.
 * What it must never know: files, what the lines mean for a decision.
 *
 *   posting:  | hash of kind and name, 64 bits | line from 0, 32 bits | unused, 32 bits |
 *
 * Two names may share a hash: whoever looks one up reads the lines and finds out. A record that the
 * scanner refuses has no effect, but is found by its key, for its reject is part of the story.
 */
#ifndef GATEJOIN_LOG_INDEX_H
#define GATEJOIN_LOG_INDEX_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "log_lines.h"
#include "record_scanner.h"

/* A declaration has the most names: itself and its units. */
#define LOG_POSTINGS_PER_LINE_MAX (DECLARATION_UNITS_MAX + 2)
/* The offset of every so many lines is kept; the lines between are found by reading on. */
#define LOG_LINE_STRIDE 16
#define LOG_LINES_MAX UINT32_MAX

#define LOG_KIND_UNIT 'u'
#define LOG_KIND_DECLARATION 'd'
#define LOG_KIND_HOLD 'h'
#define LOG_KIND_OPERATOR 'o'

enum log_index_result {
    LOG_INDEX_OUT_OF_MEMORY = -1,
    LOG_INDEX_WRONG_LINE = 0,
    LOG_INDEX_ALL = 1,     /* all whole lines are done */
    LOG_INDEX_RUN_FULL = 2 /* take the run and go on where it stopped */
};

typedef struct {
    uint64_t hash;
    uint32_t line;
    uint32_t unused;
} log_posting;

typedef struct {
    log_line_reader reader;
    record_scanner scanner;
    log_posting *postings, *spare;
    uint64_t postings_size, postings_capacity;
    uint64_t *line_starts; /* of lines 0, 16, 32, ... */
    uint64_t line_starts_size, line_starts_capacity;
    uint64_t line_count;
    char error[LOG_LINE_ERROR_BYTES];
} log_indexer;

static inline uint64_t log_name_hash(uint8_t kind, const uint8_t *name, uint64_t length)
{
    /* FNV-1a, then MurmurHash3's finalizer, so that the high bits are as good as the low ones:
     * look-ups guess a place from them. */
    uint64_t hash = (UINT64_C(0xcbf29ce484222325) ^ kind) * UINT64_C(0x100000001b3);
    for (uint64_t i = 0; i < length; i++)
        hash = (hash ^ name[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

static inline int log_indexer_init(log_indexer *indexer, uint64_t run_postings)
{
    memset(indexer, 0, sizeof *indexer);
    log_line_reader_init(&indexer->reader);
    record_scanner_init(&indexer->scanner);
    indexer->postings_capacity = run_postings + LOG_POSTINGS_PER_LINE_MAX;
    indexer->postings =
        (log_posting *)malloc(indexer->postings_capacity * sizeof *indexer->postings);
    indexer->spare = (log_posting *)malloc(indexer->postings_capacity * sizeof *indexer->spare);
    return indexer->postings && indexer->spare ? 0 : -1;
}

static inline void log_indexer_free(log_indexer *indexer)
{
    log_line_reader_free(&indexer->reader);
    record_scanner_free(&indexer->scanner);
    free(indexer->postings);
    free(indexer->spare);
    free(indexer->line_starts);
    memset(indexer, 0, sizeof *indexer);
}

static inline void log_indexer_add(log_indexer *indexer, uint8_t kind, const uint8_t *name,
                                   uint64_t length)
{
    log_posting *posting = indexer->postings + indexer->postings_size++;
    posting->hash = log_name_hash(kind, name, length);
    posting->line = (uint32_t)indexer->line_count;
    posting->unused = 0;
}

static inline void log_indexer_add_declaration(log_indexer *indexer, uint64_t number)
{
    uint8_t digits[DECLARATION_NUMBER_DIGITS];
    for (int i = DECLARATION_NUMBER_DIGITS - 1; i >= 0; i--, number /= 10)
        digits[i] = (uint8_t)('0' + number % 10);
    log_indexer_add(indexer, LOG_KIND_DECLARATION, digits, sizeof digits);
}

/* Returns -1 when memory is exhausted. */
static inline int log_indexer_add_line(log_indexer *indexer, const log_line *line)
{
    static const uint8_t key_kinds[TOPIC_COUNT] = {LOG_KIND_OPERATOR, LOG_KIND_DECLARATION,
                                                   LOG_KIND_HOLD, LOG_KIND_UNIT};
    record_scanner *scanner = &indexer->scanner;
    scan_verdict verdict;
    unit_name key_unit;
    int result = 0;

    key_unit.length = 0;
    if (line->key_length >= 0) {
        if (line->topic != TOPIC_PORT_EVENTS) {
            log_indexer_add(indexer, key_kinds[line->topic], line->key,
                            (uint64_t)line->key_length);
        } else if (unit_name_parse((text){line->key, (uint32_t)line->key_length}, &key_unit)) {
            log_indexer_add(indexer, LOG_KIND_UNIT, key_unit.name, key_unit.length);
        }
    }
    if (line->value_length < 0)
        return 0;
    if (line->topic == TOPIC_PORT_EVENTS) {
        port_event event;
        result = line->value_length > PORT_EVENT_BYTES_MAX
                     ? 0
                     : scan_port_event(scanner, line->value, line->value_length, &event, &verdict);
        if (result == 1 && (event.unit.length != key_unit.length ||
                            memcmp(event.unit.name, key_unit.name, key_unit.length) != 0))
            log_indexer_add(indexer, LOG_KIND_UNIT, event.unit.name, event.unit.length);
    } else if (line->value_length > CUSTOMS_RECORD_BYTES_MAX) {
        return 0;
    } else if (line->topic == TOPIC_DECLARATIONS) {
        declaration_record declaration;
        result = scan_declaration(scanner, line->key, line->key_length, line->value,
                                  line->value_length, &declaration, &verdict);
        for (uint32_t i = 0; result == 1 && i < declaration.unit_count; i++)
            log_indexer_add(indexer, LOG_KIND_UNIT, declaration.units[i].unit.name,
                            declaration.units[i].unit.length);
    } else if (line->topic == TOPIC_HOLDS) {
        hold_record hold;
        result = scan_hold(scanner, line->key, line->key_length, line->value, line->value_length,
                           &hold, &verdict);
        if (result == 1 && hold.scope == SCOPE_UNIT)
            log_indexer_add(indexer, LOG_KIND_UNIT, hold.unit.name, hold.unit.length);
        else if (result == 1)
            log_indexer_add_declaration(indexer, hold.declaration_number);
    }
    return result < 0 ? -1 : 0;
}

/* Indexes the whole lines of `bytes`, whose first byte is at `offset` of the log; with `is_last`
 * also what follows the last line end. `*consumed` is where it stopped. */
static inline int log_indexer_scan(log_indexer *indexer, const uint8_t *bytes, uint64_t length,
                                   uint64_t offset, int is_last, uint64_t *consumed)
{
    uint64_t position = 0;
    int result = LOG_INDEX_ALL;
    while (position < length) {
        const uint8_t *end = (const uint8_t *)memchr(bytes + position, '\n', length - position);
        if (!end && !is_last)
            break;
        if (indexer->postings_size + LOG_POSTINGS_PER_LINE_MAX > indexer->postings_capacity) {
            result = LOG_INDEX_RUN_FULL;
            break;
        }
        uint64_t line_length = (end ? (uint64_t)(end - bytes) : length) - position;
        log_line line;
        int parsed = log_line_parse(&indexer->reader, bytes + position, line_length, &line,
                                    indexer->error);
        if (parsed == LOG_LINE_GOOD && log_indexer_add_line(indexer, &line))
            parsed = LOG_LINE_OUT_OF_MEMORY;
        if (parsed == LOG_LINE_GOOD && indexer->line_count == LOG_LINES_MAX) {
            snprintf(indexer->error, sizeof indexer->error, "more than 4,294,967,295 lines");
            parsed = LOG_LINE_WRONG;
        }
        if (parsed == LOG_LINE_WRONG || parsed == LOG_LINE_OUT_OF_MEMORY) {
            result = parsed == LOG_LINE_WRONG ? LOG_INDEX_WRONG_LINE : LOG_INDEX_OUT_OF_MEMORY;
            break;
        }
        if (indexer->line_count % LOG_LINE_STRIDE == 0) {
            if (indexer->line_starts_size == indexer->line_starts_capacity) {
                uint64_t capacity = indexer->line_starts_capacity * 2 + 1024;
                uint64_t *starts =
                    (uint64_t *)realloc(indexer->line_starts, capacity * sizeof *starts);
                if (!starts) {
                    result = LOG_INDEX_OUT_OF_MEMORY;
                    break;
                }
                indexer->line_starts = starts;
                indexer->line_starts_capacity = capacity;
            }
            indexer->line_starts[indexer->line_starts_size++] = offset + position;
        }
        indexer->line_count++;
        position += line_length + (end != NULL);
    }
    *consumed = position;
    return result;
}

/* Sorts the run by hash; lines of one hash stay ascending. Eight passes of a byte each, least
 * significant first: an even number, so the result is in `postings`. */
static inline void log_indexer_sort(log_indexer *indexer)
{
    log_posting *from = indexer->postings, *to = indexer->spare;
    for (int shift = 0; shift < 64; shift += 8) {
        uint64_t places[256] = {0};
        for (uint64_t i = 0; i < indexer->postings_size; i++)
            places[from[i].hash >> shift & 0xff]++;
        uint64_t place = 0;
        for (int byte = 0; byte < 256; byte++) {
            uint64_t count = places[byte];
            places[byte] = place;
            place += count;
        }
        for (uint64_t i = 0; i < indexer->postings_size; i++)
            to[places[from[i].hash >> shift & 0xff]++] = from[i];
        log_posting *swap = from;
        from = to;
        to = swap;
    }
}

/* Copies the sorted run into two columns and empties it. */
static inline void log_indexer_take(log_indexer *indexer, uint64_t *hashes, uint32_t *lines)
{
    for (uint64_t i = 0; i < indexer->postings_size; i++) {
        hashes[i] = indexer->postings[i].hash;
        lines[i] = indexer->postings[i].line;
    }
    indexer->postings_size = 0;
}

#endif
