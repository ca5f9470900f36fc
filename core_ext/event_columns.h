/* Port events into columns: one array for each field, row i for event i.
 *
 * What it is: the loop over many events that scans each, writes its fields to the columns and, if
 * there is a unit index, looks its unit up.
 * Who calls it: event_scanner.pyx. The matcher does without columns.
 * What it must never know: Python, Kafka's record batches, what a field means for a gate.
 *
 * Events go in groups: a group is scanned, then the index's lines for all its units are brought in,
 * then the units are found, so that the misses of a group overlap.
 */
#ifndef GATEJOIN_EVENT_COLUMNS_H
#define GATEJOIN_EVENT_COLUMNS_H

#include "record_scanner.h"
#include "record_view.h"
#include "unit_index.h"

enum {
    EVENT_GROUP = 64,
    EVENT_CODE_BYTES = 64, /* of eventID, operatorID, locationCode; zeros behind the text */
    EVENT_UNIT_BYTES = 35, /* of the normalised unit; zeros behind it */
};

/* Where the values are: in records, or in one buffer. */
typedef struct event_values {
    const record_view *records; /* or NULL */
    const uint8_t *bytes;
    const int64_t *offsets; /* count + 1, checked */
} event_values;

typedef struct event_columns {
    uint8_t *reason; /* enum reject_reason; the other columns of a refused event are 0 */
    int8_t *field;   /* of port_event_fields, -1: none */
    uint8_t *event_type, *unit_type, *direction, *purpose, *is_retracted, *version_field, *looked;
    uint8_t *seal_count, *declaration_count;
    int64_t *event_time_us, *version_us;
    int64_t *pieces, *weight_grams; /* -1: absent */
    uint8_t *event_id, *operator_id, *location_code, *unit;
    int32_t *row; /* of the unit in the index; unused without one */
} event_columns;

/* Writes a code and zeros behind it. What lies behind it in the text may be read. */
static inline void event_code_write_portable(uint8_t *at, text code)
{
    memset(at, 0, EVENT_CODE_BYTES);
    memcpy(at, code.bytes, code.length);
}

#if SIMD_HAS_AVX2_BODY
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE void event_code_write_avx2(uint8_t *at, text code)
{
    const __m256i places =
        _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
                         21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
    const __m256i length = _mm256_set1_epi8((char)code.length);
    for (int half = 0; half < EVENT_CODE_BYTES; half += 32) {
        const __m256i bytes =
            _mm256_loadu_si256((const __m256i *)(const void *)(code.bytes + half));
        const __m256i kept = _mm256_cmpgt_epi8(
            _mm256_sub_epi8(length, _mm256_set1_epi8((char)half)), places);
        _mm256_storeu_si256((__m256i *)(void *)(at + half), _mm256_and_si256(bytes, kept));
    }
}

SIMD_TARGET_AVX512 static SIMD_ALWAYS_INLINE void event_code_write_avx512(uint8_t *at, text code)
{
    const uint64_t kept = _bzhi_u64(~UINT64_C(0), code.length);
    _mm512_storeu_si512(at, _mm512_maskz_loadu_epi8(kept, code.bytes));
}
#endif

/* Word by word, as the name was written a moment ago: a wider load would have to wait until all of
 * these stores have left the processor. */
static SIMD_ALWAYS_INLINE void event_unit_write(uint8_t *at, const uint8_t *name)
{
    for (int i = 0; i < 4; i++) {
        uint64_t word;
        memcpy(&word, name + 8 * i, 8);
        __asm__("" : "+r"(word)); /* or the compiler would make it one wide load */
        memcpy(at + 8 * i, &word, 8);
    }
    memcpy(at + 32, name + 32, EVENT_UNIT_BYTES - 32);
}

/* The row of an event that was refused. */
static inline void event_columns_refuse(const event_columns *columns, int64_t row,
                                        const scan_verdict *verdict)
{
    columns->reason[row] = verdict->reason;
    columns->field[row] = -1;
    for (int i = 0; verdict->field != NULL && i < PORT_EVENT_FIELD_COUNT; i++) {
        if (strcmp(verdict->field, port_event_fields[i]) == 0) {
            columns->field[row] = (int8_t)i;
        }
    }
    columns->event_type[row] = columns->unit_type[row] = columns->direction[row] = 0;
    columns->purpose[row] = columns->is_retracted[row] = columns->version_field[row] = 0;
    columns->looked[row] = columns->seal_count[row] = columns->declaration_count[row] = 0;
    columns->event_time_us[row] = columns->version_us[row] = 0;
    columns->pieces[row] = columns->weight_grams[row] = 0;
    memset(columns->event_id + row * EVENT_CODE_BYTES, 0, EVENT_CODE_BYTES);
    memset(columns->operator_id + row * EVENT_CODE_BYTES, 0, EVENT_CODE_BYTES);
    memset(columns->location_code + row * EVENT_CODE_BYTES, 0, EVENT_CODE_BYTES);
    memset(columns->unit + row * EVENT_UNIT_BYTES, 0, EVENT_UNIT_BYTES);
}

static SIMD_ALWAYS_INLINE void event_columns_write(const event_columns *columns, int64_t row,
                                                   const port_event *event)
{
    columns->reason[row] = REJECT_NONE;
    columns->field[row] = -1;
    columns->event_type[row] = event->event_type;
    columns->unit_type[row] = event->unit_type;
    columns->direction[row] = event->direction;
    columns->purpose[row] = event->purpose;
    columns->is_retracted[row] = event->is_retracted;
    columns->version_field[row] = event->version_field;
    columns->looked[row] = event->seals.looked;
    columns->seal_count[row] = (uint8_t)event->seals.count;
    columns->declaration_count[row] = (uint8_t)event->presented_count;
    columns->event_time_us[row] = event->event_time_us;
    columns->version_us[row] = event->version_us;
    columns->pieces[row] = event->has_pieces ? (int64_t)event->pieces : -1;
    columns->weight_grams[row] = event->has_weight ? event->weight_grams : -1;
    event_unit_write(columns->unit + row * EVENT_UNIT_BYTES, event->unit.name);
}

/* Written once and compiled for each path, `find_layout` and `write` being the path's; what it does
 * is below. */
static SIMD_ALWAYS_INLINE int
event_columns_scan_body(record_scanner *scanner, json_layout_function find_layout,
                        const event_values *values, int64_t start, int64_t end,
                        const event_columns *columns, const unit_index *index, unit_key *keys,
                        uint8_t *lengths, void (*write)(uint8_t *, text))
{
    for (int64_t i = start; i < end; i++) {
        port_event event;
        scan_verdict verdict;
        const uint8_t *value;
        int32_t length;
        if (values->records != NULL) {
            value = values->records[i].value;
            length = values->records[i].value_length;
        } else {
            value = values->bytes + values->offsets[i];
            length = (int32_t)(values->offsets[i + 1] - values->offsets[i]);
        }
        const int good = scan_port_event_body(scanner, find_layout, value, length, &event,
                                              &verdict);
        if (good < 0) {
            return -1;
        }
        if (good == 0) {
            event_columns_refuse(columns, i, &verdict);
        } else {
            event_columns_write(columns, i, &event);
            write(columns->event_id + i * EVENT_CODE_BYTES, event.event_id);
            write(columns->operator_id + i * EVENT_CODE_BYTES, event.operator_id);
            write(columns->location_code + i * EVENT_CODE_BYTES, event.location_code);
        }
        if (index != NULL) {
            keys[i - start].bits = UNIT_KEY_INVALID;
            lengths[i - start] = 0;
            if (good) {
                lengths[i - start] = event.unit.length;
                keys[i - start] = unit_index_key(index, event.unit.name, event.unit.length,
                                                 event.unit_type != UNIT_CONTAINER);
            }
        }
    }
    return 1;
}

#if SIMD_HAS_AVX2_BODY
SIMD_TARGET_AVX2 static int
event_columns_scan_avx2(record_scanner *scanner, const event_values *values, int64_t start,
                        int64_t end, const event_columns *columns, const unit_index *index,
                        unit_key *keys, uint8_t *lengths)
{
    return event_columns_scan_body(scanner, json_layout_find_avx2, values, start, end, columns,
                                   index, keys, lengths, event_code_write_avx2);
}

SIMD_TARGET_AVX512 static int
event_columns_scan_avx512(record_scanner *scanner, const event_values *values, int64_t start,
                          int64_t end, const event_columns *columns, const unit_index *index,
                          unit_key *keys, uint8_t *lengths)
{
    return event_columns_scan_body(scanner, json_layout_find_avx512, values, start, end, columns,
                                   index, keys, lengths, event_code_write_avx512);
}
#endif

/*
 * Scans events `start` up to `end`, at most EVENT_GROUP of them, into their rows. With an index,
 * `keys` and `lengths` receive what event_columns_find needs. Returns 1, or -1 if memory is
 * exhausted.
 */
static inline int event_columns_scan(record_scanner *scanner, const event_values *values,
                                     int64_t start, int64_t end, const event_columns *columns,
                                     const unit_index *index, unit_key *keys, uint8_t *lengths)
{
#if SIMD_HAS_AVX2_BODY
    if (scanner->document.path >= SIMD_PATH_AVX512) {
        return event_columns_scan_avx512(scanner, values, start, end, columns, index, keys,
                                         lengths);
    }
    if (scanner->document.path >= SIMD_PATH_AVX2) {
        return event_columns_scan_avx2(scanner, values, start, end, columns, index, keys, lengths);
    }
#endif
    return event_columns_scan_body(scanner, NULL, values, start, end, columns, index, keys,
                                   lengths, event_code_write_portable);
}

/* Finds the units of such a group: -1 where the index has none, -2 for a refused event. */
static inline void event_columns_find(const unit_index *index, int64_t start, int64_t end,
                                      const event_columns *columns, const unit_key *keys,
                                      const uint8_t *lengths)
{
    unit_index_touch(index, keys, end - start);
    unit_index_touch_names(index, keys, end - start);
    for (int64_t i = start; i < end; i++) {
        const unit_key key = keys[i - start];
        columns->row[i] =
            key.bits == UNIT_KEY_INVALID
                ? -2
                : (int32_t)unit_index_find(index, key, columns->unit + i * EVENT_UNIT_BYTES,
                                           lengths[i - start]);
    }
}

#endif
