/* Records on their way into and out of the core.
 *
 * What it is: the two structs that every part of the core shares. A `record_view` points at one
 * Kafka record inside a decoded fetch (or at one line of a log); a `record_output` is a growable
 * list of records that the matcher writes and the record batch encoder, or the replay, reads.
 * Who calls it: the record batch codec, the log reader, the matcher.
 * What it must never know: what a record means.
 */
#ifndef GATEJOIN_RECORD_VIEW_H
#define GATEJOIN_RECORD_VIEW_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* One record, not owned: the bytes live in the run that was decoded. A length of -1 is null. */
typedef struct {
    const uint8_t *key;
    const uint8_t *value;
    int32_t key_length;
    int32_t value_length;
    int64_t offset;       /* Kafka offset; in a replay the line number from 0 */
    int64_t timestamp_ms; /* Kafka record timestamp, milliseconds since 1970 UTC */
} record_view;

/* One record to be written; offsets are into `record_output.bytes`, since that buffer moves. */
typedef struct {
    uint64_t key_offset;
    uint64_t value_offset;
    int32_t key_length;   /* -1: null key */
    int32_t value_length;
    int32_t partition;    /* the partition of the input record that caused it, or -1: by key */
    int32_t reserved;
    int64_t timestamp_ms;
} output_record;

typedef struct {
    uint8_t *bytes;
    uint64_t bytes_size, bytes_capacity;
    output_record *records;
    uint64_t records_size, records_capacity;
    uint8_t as_lines; /* values only, each with a line end behind it, and no `records`: a file */
} record_output;

static inline void record_output_clear(record_output *output)
{
    output->bytes_size = 0;
    output->records_size = 0;
}

static inline void record_output_free(record_output *output)
{
    free(output->bytes);
    free(output->records);
    memset(output, 0, sizeof *output);
}

/* Room for `extra` more bytes; returns where to write, or NULL when memory is exhausted. */
static inline uint8_t *record_output_reserve(record_output *output, uint64_t extra)
{
    if (output->bytes_size + extra > output->bytes_capacity) {
        uint64_t capacity = output->bytes_capacity ? output->bytes_capacity * 2 : 1u << 16;
        while (capacity < output->bytes_size + extra)
            capacity *= 2;
        uint8_t *bytes = (uint8_t *)realloc(output->bytes, capacity);
        if (!bytes)
            return NULL;
        output->bytes = bytes;
        output->bytes_capacity = capacity;
    }
    return output->bytes + output->bytes_size;
}

/* A new record at the end of the list, or NULL when memory is exhausted. */
static inline output_record *record_output_append(record_output *output)
{
    if (output->records_size == output->records_capacity) {
        uint64_t capacity = output->records_capacity ? output->records_capacity * 2 : 1u << 10;
        output_record *records =
            (output_record *)realloc(output->records, capacity * sizeof *records);
        if (!records)
            return NULL;
        output->records = records;
        output->records_capacity = capacity;
    }
    return output->records + output->records_size++;
}

#endif
