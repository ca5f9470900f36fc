/* Writing JSON at a pointer.
 *
 * What it is: the few pieces that decisions, alerts and rejects are made of. The caller has
 * reserved enough room; JSON_TEXT_BYTES says how much a text can take.
 * Who calls it: decisions.h, alerts.h, engine.h, explanations.h.
 * What it must never know: which record it writes.
 */
#ifndef GATEJOIN_JSON_WRITE_H
#define GATEJOIN_JSON_WRITE_H

#include <stdint.h>
#include <string.h>

#include "date_time.h"

/* A control character becomes \u00XX, six bytes for one; two quotes around. */
#define JSON_TEXT_BYTES(length) (6 * (uint64_t)(length) + 2)
#define JSON_INTEGER_BYTES 20

/* Appends a literal. */
#define JSON_LITERAL(place, literal) \
    ((place) = (uint8_t *)memcpy((place), literal, sizeof(literal) - 1) + sizeof(literal) - 1)

static inline uint8_t *json_bytes(uint8_t *place, const void *bytes, uint64_t length)
{
    memcpy(place, bytes, length);
    return place + length;
}

static inline uint8_t *json_unsigned(uint8_t *place, uint64_t value)
{
    uint8_t digits[JSON_INTEGER_BYTES];
    uint32_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count)
        *place++ = digits[--count];
    return place;
}

static inline uint8_t *json_integer(uint8_t *place, int64_t value)
{
    if (value < 0)
        *place++ = '-';
    return json_unsigned(place, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* The high bit of each byte of `word` that equals `byte` (exact where lower bytes have no match;
 * used only to ask whether there is any). */
static inline uint64_t json_any_byte(uint64_t word, uint8_t byte)
{
    uint64_t difference = word ^ (0x0101010101010101u * byte);
    return (difference - 0x0101010101010101u) & ~difference & 0x8080808080808080u;
}

/* Is there a byte that JSON, or an ID made of parts, must escape? */
static inline uint64_t json_any_special(uint64_t word)
{
    return json_any_byte(word, '"') | json_any_byte(word, '\\') |
           ((word - 0x2020202020202020u) & ~word & 0x8080808080808080u);
}

/* The inside of a JSON string: quotes, backslashes and control characters escaped. Room for eight
 * bytes more than JSON_TEXT_BYTES must be there, since clean text is copied eight at a time. */
static inline uint8_t *json_write_escaped(uint8_t *place, const void *bytes, uint64_t length)
{
    static const char hex[] = "0123456789abcdef";
    const uint8_t *from = (const uint8_t *)bytes;
    for (; length >= 8; from += 8, length -= 8, place += 8) {
        uint64_t word;
        memcpy(&word, from, 8);
        if (json_any_special(word))
            break;
        memcpy(place, &word, 8);
    }
    for (uint64_t i = 0; i < length; i++) {
        uint8_t byte = from[i];
        if (byte == '"' || byte == '\\') {
            *place++ = '\\';
            *place++ = byte;
        } else if (byte < 0x20) {
            JSON_LITERAL(place, "\\u00");
            *place++ = (uint8_t)hex[byte >> 4];
            *place++ = (uint8_t)hex[byte & 15];
        } else {
            *place++ = byte;
        }
    }
    return place;
}

static inline uint8_t *json_text(uint8_t *place, const void *bytes, uint64_t length)
{
    *place++ = '"';
    place = json_write_escaped(place, bytes, length);
    *place++ = '"';
    return place;
}

/* A part of an ID made with `/`: "a % or / inside a part is written %25 or %2F" (section 1). Not
 * yet escaped for JSON. */
static inline uint8_t *id_part(uint8_t *place, const void *bytes, uint64_t length)
{
    const uint8_t *from = (const uint8_t *)bytes;
    for (; length >= 8; from += 8, length -= 8, place += 8) {
        uint64_t word;
        memcpy(&word, from, 8);
        if (json_any_byte(word, '%') | json_any_byte(word, '/'))
            break;
        memcpy(place, &word, 8);
    }
    for (uint64_t i = 0; i < length; i++) {
        if (from[i] == '%')
            JSON_LITERAL(place, "%25");
        else if (from[i] == '/')
            JSON_LITERAL(place, "%2F");
        else
            *place++ = from[i];
    }
    return place;
}

static inline uint8_t *json_date_time(uint8_t *place, int64_t microseconds)
{
    *place++ = '"';
    date_time_format(microseconds, place);
    place += DATE_TIME_WRITTEN;
    *place++ = '"';
    return place;
}

/* A declaration number: always 12 digits. */
static inline uint8_t *json_declaration_number(uint8_t *place, uint64_t number)
{
    *place++ = '"';
    for (int i = 11; i >= 0; i--) {
        place[i] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
    place += 12;
    *place++ = '"';
    return place;
}

/* Base64 of RFC 4648 section 4, with padding; 4 bytes for every 3 begun. */
static inline uint8_t *json_base64(uint8_t *place, const uint8_t *bytes, uint64_t length)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; length >= 3; bytes += 3, length -= 3) {
        uint32_t three = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
        *place++ = (uint8_t)alphabet[three >> 18];
        *place++ = (uint8_t)alphabet[three >> 12 & 63];
        *place++ = (uint8_t)alphabet[three >> 6 & 63];
        *place++ = (uint8_t)alphabet[three & 63];
    }
    if (length) {
        uint32_t rest = (uint32_t)bytes[0] << 16 | (length == 2 ? (uint32_t)bytes[1] << 8 : 0);
        *place++ = (uint8_t)alphabet[rest >> 18];
        *place++ = (uint8_t)alphabet[rest >> 12 & 63];
        *place++ = length == 2 ? (uint8_t)alphabet[rest >> 6 & 63] : '=';
        *place++ = '=';
    }
    return place;
}

#endif
