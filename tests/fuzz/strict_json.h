/*
 * A strict reader of RFC 8259 that shares nothing with json_scanner.h: a byte at a time, recursive,
 * slow. It only says whether a text is one JSON object.
 *
 * Called by the fuzz targets, as their second opinion. It must never know which keys there are.
 */
#ifndef GATEJOIN_TESTS_STRICT_JSON_H
#define GATEJOIN_TESTS_STRICT_JSON_H

#include <stdint.h>
#include <string.h>

typedef struct strict_text {
    const uint8_t *at, *end;
    int levels_left;
    int lone_surrogates; /* whether their escapes are let through */
} strict_text;

static int strict_value(strict_text *text);

static void strict_space(strict_text *text)
{
    while (text->at < text->end && memchr(" \t\n\r", *text->at, 4) != NULL) {
        text->at++;
    }
}

static int strict_next_is(strict_text *text, uint8_t byte)
{
    if (text->at == text->end || *text->at != byte) {
        return 0;
    }
    text->at++;
    return 1;
}

static int strict_digits(strict_text *text)
{
    const uint8_t *start = text->at;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9') {
        text->at++;
    }
    return text->at > start;
}

static int strict_number(strict_text *text)
{
    (void)strict_next_is(text, '-');
    if (!strict_next_is(text, '0') && !strict_digits(text)) {
        return 0;
    }
    if (strict_next_is(text, '.') && !strict_digits(text)) {
        return 0;
    }
    if (strict_next_is(text, 'e') || strict_next_is(text, 'E')) {
        if (!strict_next_is(text, '-')) {
            (void)strict_next_is(text, '+');
        }
        return strict_digits(text);
    }
    return 1;
}

/* Four hexadecimal digits, or -1. */
static int32_t strict_code_unit(strict_text *text)
{
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        if (text->at == text->end) {
            return -1;
        }
        const uint8_t byte = *text->at++;
        const char *digits = "0123456789abcdef0123456789ABCDEF";
        const char *digit = byte ? strchr(digits, byte) : NULL;
        if (digit == NULL) {
            return -1;
        }
        unit = unit * 16 + (int32_t)(digit - digits) % 16;
    }
    return unit;
}

static int strict_escape(strict_text *text)
{
    if (text->at == text->end) {
        return 0;
    }
    const uint8_t kind = *text->at++;
    if (kind != 'u') {
        return kind != 0 && strchr("\"\\/bfnrt", kind) != NULL;
    }
    const int32_t unit = strict_code_unit(text);
    if (unit < 0) {
        return 0;
    }
    if (unit < 0xD800 || unit > 0xDFFF || text->lone_surrogates) {
        return 1;
    }
    if (unit > 0xDBFF || !strict_next_is(text, '\\') || !strict_next_is(text, 'u')) {
        return 0;
    }
    const int32_t low = strict_code_unit(text);
    return low >= 0xDC00 && low <= 0xDFFF;
}

/* One character of UTF-8 as RFC 3629 has it, the shortest form only. */
static int strict_character(strict_text *text)
{
    const uint8_t first = *text->at++;
    if (first < 0x80) {
        return first >= 0x20;
    }
    const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    if (first < 0xC2 || first > 0xF4 || text->end - text->at < more) {
        return 0;
    }
    uint32_t point = first & (0x3Fu >> more);
    for (int i = 0; i < more; i++) {
        const uint8_t byte = *text->at++;
        if ((byte & 0xC0) != 0x80) {
            return 0;
        }
        point = point << 6 | (byte & 0x3F);
    }
    const uint32_t least[4] = {0, 0x80, 0x800, 0x10000};
    return point >= least[more] && point <= 0x10FFFF && (point < 0xD800 || point > 0xDFFF);
}

static int strict_string(strict_text *text)
{
    if (!strict_next_is(text, '"')) {
        return 0;
    }
    while (text->at < text->end) {
        if (strict_next_is(text, '"')) {
            return 1;
        }
        if (strict_next_is(text, '\\') ? !strict_escape(text) : !strict_character(text)) {
            return 0;
        }
    }
    return 0;
}

static int strict_members(strict_text *text, int is_object)
{
    const uint8_t closing = is_object ? '}' : ']';
    if (text->levels_left-- == 0) {
        return 0;
    }
    text->at++;
    strict_space(text);
    if (!strict_next_is(text, closing)) {
        for (;;) {
            if (is_object) {
                strict_space(text);
                if (!strict_string(text)) {
                    return 0;
                }
                strict_space(text);
                if (!strict_next_is(text, ':')) {
                    return 0;
                }
            }
            strict_space(text);
            if (!strict_value(text)) {
                return 0;
            }
            strict_space(text);
            if (strict_next_is(text, closing)) {
                break;
            }
            if (!strict_next_is(text, ',')) {
                return 0;
            }
        }
    }
    text->levels_left++;
    return 1;
}

static int strict_word(strict_text *text, const char *word)
{
    const size_t length = strlen(word);
    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) {
        return 0;
    }
    text->at += length;
    return 1;
}

static int strict_value(strict_text *text)
{
    if (text->at == text->end) {
        return 0;
    }
    switch (*text->at) {
    case '{':
        return strict_members(text, 1);
    case '[':
        return strict_members(text, 0);
    case '"':
        return strict_string(text);
    case 't':
        return strict_word(text, "true");
    case 'f':
        return strict_word(text, "false");
    case 'n':
        return strict_word(text, "null");
    default:
        return strict_number(text);
    }
}

/* Whether the bytes are one JSON object of at most so many levels and nothing else. */
static int strict_json_object(const uint8_t *bytes, size_t length, int levels, int lone_surrogates)
{
    strict_text text = {bytes, bytes + length, levels, lone_surrogates};
    strict_space(&text);
    if (text.at == text.end || *text.at != '{' || !strict_members(&text, 1)) {
        return 0;
    }
    strict_space(&text);
    return text.at == text.end;
}

#endif
