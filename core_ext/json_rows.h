/* Rows of integer columns written as JSON (or any other) text, by template.
 *
 * What it is: a template is a list of segments, each a literal or one column's value in one of the
 * forms below; a row names its template. Writing is one pass over the rows, no allocation inside.
 * Who calls it: json_rows.pyx, for the national year.
 * What it must never know: what the text means, who made the columns.
 *
 * Columns are int64, row-major by column: the value of column c in row r is
 * columns[c * row_count + r].
 *
 *   form        argument          written                              of 1533812645678
 *   LITERAL     -                 the bytes as they stand
 *   INTEGER     added to value    decimal, no sign                     1533812645678
 *   PADDED      added to value    decimal, at least `width` digits     (width 15) 001533812645678
 *   TIME_UTC    added to value    milliseconds since 1970 as RFC 3339  2018-08-09T11:04:05.678Z
 *   TIME_LOCAL  added to value    the same, +07:00                   2018-08-09T18:04:05.678+07:00
 *   KILOGRAMS   added to value    grams as kilograms, no idle zeros    1533812645.678
 *   TEXT        dictionary        entry `value` of the dictionary
 *   CONTAINER   added to value    a container number with its check digit
 *   CONTAINER_WRONG               the same with the next digit instead of the check digit
 *   CONTAINER_SLOPPY              the same as hands write it: qabu 123456-7
 *
 * The container number of n: owner Q, two letters from n mod 676, U; the serial is n / 676 carried
 * through a bijection of 0..999999, so that neighbours look like strangers. n is below 676,000,000.
 */
#ifndef GATEJOIN_JSON_ROWS_H
#define GATEJOIN_JSON_ROWS_H

#include <stdint.h>
#include <string.h>

#include "container_number.h"
#include "date_time.h"

enum json_form {
    JSON_LITERAL,
    JSON_INTEGER,
    JSON_PADDED,
    JSON_TIME_UTC,
    JSON_TIME_LOCAL,
    JSON_KILOGRAMS,
    JSON_TEXT,
    JSON_CONTAINER,
    JSON_CONTAINER_WRONG,
    JSON_CONTAINER_SLOPPY,
    JSON_FORM_COUNT
};

#define JSON_DIGITS_MAX 20
#define JSON_CONTAINERS_MAX INT64_C(676000000)
#define JSON_OWNERS 676
#define MILLISECONDS_PER_DAY INT64_C(86400000)
#define VIETNAM_OFFSET_MS INT64_C(25200000)

typedef struct {
    int64_t argument;  /* see the table; of a LITERAL its offset in `literals` */
    uint32_t length;   /* LITERAL: bytes; PADDED: width */
    uint16_t column;
    uint8_t form;
} json_segment;

typedef struct {
    const uint8_t *bytes;
    const int64_t *offsets; /* entry i is bytes[offsets[i] .. offsets[i + 1]) */
    int64_t count;
} json_dictionary;

/* The day last written: rows come in time order, so nearly every one shares its predecessor's. */
typedef struct {
    int64_t day;
    uint8_t text[DATE_TEXT];
} json_day;

static inline uint8_t *json_write_integer(uint8_t *out, uint64_t value, uint32_t width)
{
    uint8_t digits[JSON_DIGITS_MAX];
    uint32_t count = 0;
    do {
        digits[JSON_DIGITS_MAX - ++count] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    for (; width > count; width--)
        *out++ = '0';
    memcpy(out, digits + JSON_DIGITS_MAX - count, count);
    return out + count;
}

static inline uint8_t *json_write_kilograms(uint8_t *out, uint64_t grams)
{
    out = json_write_integer(out, grams / 1000, 1);
    uint32_t rest = (uint32_t)(grams % 1000);
    if (rest) {
        *out++ = '.';
        for (uint32_t scale = 100; rest; scale /= 10) {
            *out++ = (uint8_t)('0' + rest / scale);
            rest %= scale;
        }
    }
    return out;
}

/* `milliseconds` is not negative. */
static inline uint8_t *json_write_time(uint8_t *out, int64_t milliseconds, json_day *day_written)
{
    int64_t day = milliseconds / MILLISECONDS_PER_DAY;
    uint32_t rest = (uint32_t)(milliseconds % MILLISECONDS_PER_DAY);
    if (day != day_written->day) {
        day_written->day = day;
        date_format(day, day_written->text);
    }
    memcpy(out, day_written->text, DATE_TEXT);
    uint32_t seconds = rest / 1000, fraction = rest % 1000;
    uint32_t minutes = seconds / 60;
    out[10] = 'T';
    date_time_write_two(out + 11, minutes / 60);
    out[13] = ':';
    date_time_write_two(out + 14, minutes % 60);
    out[16] = ':';
    date_time_write_two(out + 17, seconds % 60);
    out[19] = '.';
    out[20] = (uint8_t)('0' + fraction / 100);
    date_time_write_two(out + 21, fraction % 100);
    return out + 23;
}

/* Eleven bytes; `number` is in 0 .. JSON_CONTAINERS_MAX - 1. */
static inline void json_container(uint8_t *out, uint64_t number)
{
    uint32_t owner = (uint32_t)(number % JSON_OWNERS);
    /* 387,417 is coprime to 10, so that this permutes the serials. */
    uint64_t serial = (number / JSON_OWNERS * 387417 + owner * 104729) % 1000000;
    out[0] = 'Q';
    out[1] = (uint8_t)('A' + owner / 26);
    out[2] = (uint8_t)('A' + owner % 26);
    out[3] = 'U';
    json_write_integer(out + 4, serial, 6);
    out[10] = (uint8_t)('0' + container_number_check_digit(out));
}

/* The most bytes a segment can write. */
static inline uint64_t json_segment_bytes_max(const json_segment *segment,
                                              const uint32_t *dictionary_bytes_max)
{
    switch (segment->form) {
    case JSON_LITERAL: return segment->length;
    case JSON_PADDED: return segment->length > JSON_DIGITS_MAX ? segment->length : JSON_DIGITS_MAX;
    case JSON_TIME_UTC:
    case JSON_TIME_LOCAL: return 29;
    case JSON_KILOGRAMS: return JSON_DIGITS_MAX + 4;
    case JSON_TEXT: return dictionary_bytes_max[segment->argument];
    case JSON_CONTAINER_SLOPPY: return 13;
    default: return JSON_DIGITS_MAX;
    }
}

/* Writes one row; `out` has room for the template's bytes_max. Returns its end, or NULL if a value
 * does not fit its form (then *bad_column names it). */
static inline uint8_t *json_write_row(uint8_t *out, const json_segment *segments, int64_t count,
                                      const uint8_t *literals, const json_dictionary *dictionaries,
                                      const int64_t *columns, int64_t row_count, int64_t row,
                                      json_day *day_utc, json_day *day_local, int *bad_column)
{
    for (int64_t i = 0; i < count; i++) {
        const json_segment *segment = &segments[i];
        if (segment->form == JSON_LITERAL) {
            memcpy(out, literals + segment->argument, segment->length);
            out += segment->length;
            continue;
        }
        int64_t value = columns[(int64_t)segment->column * row_count + row];
        if (segment->form == JSON_TEXT) {
            const json_dictionary *dictionary = &dictionaries[segment->argument];
            if (value < 0 || value >= dictionary->count) {
                *bad_column = segment->column;
                return NULL;
            }
            int64_t start = dictionary->offsets[value];
            int64_t length = dictionary->offsets[value + 1] - start;
            memcpy(out, dictionary->bytes + start, (size_t)length);
            out += length;
            continue;
        }
        value += segment->argument;
        if (value < 0 || (segment->form >= JSON_CONTAINER && value >= JSON_CONTAINERS_MAX)) {
            *bad_column = segment->column;
            return NULL;
        }
        switch (segment->form) {
        case JSON_INTEGER: out = json_write_integer(out, (uint64_t)value, 1); break;
        case JSON_PADDED: out = json_write_integer(out, (uint64_t)value, segment->length); break;
        case JSON_TIME_UTC:
            out = json_write_time(out, value, day_utc);
            *out++ = 'Z';
            break;
        case JSON_TIME_LOCAL:
            out = json_write_time(out, value + VIETNAM_OFFSET_MS, day_local);
            memcpy(out, "+07:00", 6);
            out += 6;
            break;
        case JSON_KILOGRAMS: out = json_write_kilograms(out, (uint64_t)value); break;
        case JSON_CONTAINER:
            json_container(out, (uint64_t)value);
            out += CONTAINER_NUMBER_LENGTH;
            break;
        case JSON_CONTAINER_WRONG:
            json_container(out, (uint64_t)value);
            out[10] = (uint8_t)(out[10] == '9' ? '0' : out[10] + 1);
            out += CONTAINER_NUMBER_LENGTH;
            break;
        default: { /* JSON_CONTAINER_SLOPPY */
            uint8_t number[CONTAINER_NUMBER_LENGTH];
            json_container(number, (uint64_t)value);
            for (int letter = 0; letter < 4; letter++)
                *out++ = (uint8_t)(number[letter] | 0x20);
            *out++ = ' ';
            memcpy(out, number + 4, 6);
            out[6] = '-';
            out[7] = number[10];
            out += 8;
            break;
        }
        }
    }
    return out;
}

#endif
