/* JSON values of the input topics to the structs of record_types.h.
 *
 * What it is: one function for each record type of CONTRACT.md section 3. Each reads the fields in
 * the order of that section and names the first one that breaks a type, limit or condition.
 * Who calls it: the matcher, and event_scanner for tests and engineers.
 * What it must never know: Kafka, the clock, which operators exist, what a unit did before.
 *
 * A scanner is for one thread and holds all memory: what a record's texts point to is valid until
 * the next record is scanned (some of it lies in the value's own bytes).
 */
#ifndef GATEJOIN_RECORD_SCANNER_H
#define GATEJOIN_RECORD_SCANNER_H

#include <stdio.h>

#include "date_time.h"
#include "json_scanner.h"
#include "record_types.h"

#define RECORD_DEPTH_MAX 64
#define CODE_BYTES_MAX 64
#define NAME_BYTES_MAX 1024
#define SEAL_BYTES_MAX 64
#define DECLARATION_NUMBER_DIGITS 12
#define PIECES_MAX UINT64_C(999999999)
#define VERSION_MAX (UINT64_C(1) << 53)
#define WEIGHT_DIGITS_MAX 9 /* of whole kilograms */

/* ---- fields and words, in the order of section 3 -------------------------------------------- */

enum port_event_field {
    PORT_EVENT_ID, PORT_EVENT_TYPE, PORT_EVENT_TIME, PORT_EVENT_CREATED, PORT_EVENT_UPDATED,
    PORT_EVENT_RETRACTED, PORT_EVENT_OPERATOR, PORT_EVENT_LOCATION, PORT_EVENT_UNIT_TYPE,
    PORT_EVENT_UNIT, PORT_EVENT_DIRECTION, PORT_EVENT_PURPOSE, PORT_EVENT_PIECES,
    PORT_EVENT_WEIGHT, PORT_EVENT_SEALS, PORT_EVENT_DECLARATIONS, PORT_EVENT_DOCUMENT,
    PORT_EVENT_FIELD_COUNT
};
static const char *const port_event_fields[PORT_EVENT_FIELD_COUNT] = {
    "eventID", "eventType", "eventDateTime", "eventCreatedDateTime", "eventUpdatedDateTime",
    "isRetracted", "operatorID", "locationCode", "unitType", "unit", "direction", "purpose",
    "pieces", "weightKg", "seals", "declarations", "document",
};

enum declaration_field {
    DECLARATION_NUMBER, DECLARATION_VERSION, DECLARATION_DIRECTION, DECLARATION_STATUS,
    DECLARATION_REGISTERED, DECLARATION_STATUS_TIME, DECLARATION_BRANCH, DECLARATION_LOCATION,
    DECLARATION_DESTINATION, DECLARATION_ARRIVE_BY, DECLARATION_UNITS, DECLARATION_FIELD_COUNT
};
static const char *const declaration_fields[DECLARATION_FIELD_COUNT] = {
    "declarationNumber", "version", "direction", "status", "registeredDateTime", "statusDateTime",
    "branchCode", "locationCode", "destinationLocationCode", "arriveByDateTime", "units",
};

enum declaration_unit_field {
    UNIT_FIELD_NAME, UNIT_FIELD_TYPE, UNIT_FIELD_SEALS, UNIT_FIELD_PIECES, UNIT_FIELD_WEIGHT,
    UNIT_FIELD_SHARED, UNIT_FIELD_LOCATION, UNIT_FIELD_COUNT
};
static const char *const declaration_unit_fields[UNIT_FIELD_COUNT] = {
    "unit", "unitType", "seals", "pieces", "weightKg", "shared", "locationCode",
};

enum hold_field {
    HOLD_ID, HOLD_VERSION, HOLD_SCOPE, HOLD_REFERENCE, HOLD_REASON, HOLD_SEAL, HOLD_STATE,
    HOLD_ISSUED, HOLD_FIELD_COUNT
};
static const char *const hold_fields[HOLD_FIELD_COUNT] = {
    "holdID", "version", "scope", "reference", "reason", "seal", "state", "issuedDateTime",
};

enum operator_field {
    OPERATOR_ID, OPERATOR_NAME, OPERATOR_KIND, OPERATOR_DEPARTMENT_CODE,
    OPERATOR_DEPARTMENT_NAME, OPERATOR_BRANCH_CODE, OPERATOR_BRANCH_NAME, OPERATOR_LOCATIONS,
    OPERATOR_CARGO, OPERATOR_STATUS, OPERATOR_CONNECTED_DATE, OPERATOR_WAVE, OPERATOR_VERSION,
    OPERATOR_FIELD_COUNT
};
static const char *const operator_fields[OPERATOR_FIELD_COUNT] = {
    "operatorID", "name", "kind", "departmentCode", "departmentName", "branchCode", "branchName",
    "locations", "cargo", "status", "connectedDate", "wave", "version",
};

static const char *const event_type_words[EVENT_TYPE_COUNT] = {
    "GET_IN", "GATE_CHECK", "GET_OUT", "RESEAL", "STRIP", "STUFF", "DISCREPANCY", "STOCK_COUNT",
};
static const char *const unit_type_words[UNIT_TYPE_COUNT] = {
    "CONTAINER", "PACKAGES", "BULK", "LIQUID",
};
static const char *const direction_words[DIRECTION_COUNT] = {
    "IMPORT", "EXPORT", "TRANSIT", "DOMESTIC",
};
static const char *const purpose_words[PURPOSE_COUNT] = {
    "CLEARANCE", "INSPECTION", "EMPTY", "DOMESTIC", "SEIZED",
};
static const char *const declaration_status_words[STATUS_COUNT] = {
    "REGISTERED", "CLEARED", "RELEASED", "TO_STORAGE", "TO_INSPECTION", "TRANSPORT_APPROVED",
    "CANCELLED",
};
static const char *const hold_scope_words[SCOPE_COUNT] = {"UNIT", "DECLARATION"};
static const char *const hold_reason_words[REASON_COUNT] = {"STOP", "SCAN", "CUSTOMS_SEAL"};
static const char *const hold_state_words[HOLD_STATE_COUNT] = {"ACTIVE", "LIFTED"};
static const char *const operator_kind_words[KIND_COUNT] = {
    "SEAPORT", "AIRPORT", "WAREHOUSE", "YARD", "OTHER",
};
static const char *const operator_status_words[OPERATOR_STATUS_COUNT] = {
    "SURVEYED", "TESTING", "CONNECTED", "SUSPENDED",
};

typedef struct record_scanner {
    json_document document;
    json_words port_event_keys, declaration_keys, declaration_unit_keys, hold_keys, operator_keys;
    json_words event_types, unit_types, directions, purposes, declaration_statuses, hold_scopes,
        hold_reasons, hold_states, operator_kinds, operator_statuses;
    date_time_memo last_time;
    json_fields fields; /* of the record, unless it is like one before */
    json_layouts port_event_layouts;
    text *texts; /* of seals and locations; never moves while a record is scanned */
    uint64_t texts_capacity, texts_size;
    declaration_unit *units;
    uint64_t units_capacity;
    uint64_t presented[PRESENTED_MAX];
} record_scanner;

static inline void record_scanner_init(record_scanner *scanner)
{
    memset(scanner, 0, sizeof *scanner);
    json_document_init(&scanner->document, RECORD_DEPTH_MAX, 0);
    json_words_init(&scanner->port_event_keys, port_event_fields, PORT_EVENT_FIELD_COUNT);
    json_words_init(&scanner->declaration_keys, declaration_fields, DECLARATION_FIELD_COUNT);
    json_words_init(&scanner->declaration_unit_keys, declaration_unit_fields, UNIT_FIELD_COUNT);
    json_words_init(&scanner->hold_keys, hold_fields, HOLD_FIELD_COUNT);
    json_words_init(&scanner->operator_keys, operator_fields, OPERATOR_FIELD_COUNT);
    json_words_init(&scanner->event_types, event_type_words, EVENT_TYPE_COUNT);
    json_words_init(&scanner->unit_types, unit_type_words, UNIT_TYPE_COUNT);
    json_words_init(&scanner->directions, direction_words, DIRECTION_COUNT);
    json_words_init(&scanner->purposes, purpose_words, PURPOSE_COUNT);
    json_words_init(&scanner->declaration_statuses, declaration_status_words, STATUS_COUNT);
    json_words_init(&scanner->hold_scopes, hold_scope_words, SCOPE_COUNT);
    json_words_init(&scanner->hold_reasons, hold_reason_words, REASON_COUNT);
    json_words_init(&scanner->hold_states, hold_state_words, HOLD_STATE_COUNT);
    json_words_init(&scanner->operator_kinds, operator_kind_words, KIND_COUNT);
    json_words_init(&scanner->operator_statuses, operator_status_words, OPERATOR_STATUS_COUNT);
}

static inline void record_scanner_free(record_scanner *scanner)
{
    json_document_free(&scanner->document);
    free(scanner->texts);
    free(scanner->units);
    memset(scanner, 0, sizeof *scanner);
}

/* ---- reading one field ---------------------------------------------------------------------- */

/* The fields of one object, while they are read. All functions below return 1, or 0 with the
 * verdict filled. */
typedef struct {
    record_scanner *scanner;
    const json_fields *fields;
    const char *const *names;
    scan_verdict *verdict;
    int32_t unit_number; /* of an object inside `units`, else -1 */
    /* A record with the same layout was good. Kinds and lengths, which the layout settles, need no
     * second look, nor do escapes and control characters, which it has none of, nor most digits of
     * date-times. Constant wherever it is set, so that the compiler leaves out what it makes
     * needless. */
    int proven;
} field_reader;

JSON_APART static int refuse_field(field_reader reader, uint32_t field, const char *what)
{
    scan_verdict *verdict = reader.verdict;
    verdict->reason = REJECT_MALFORMED;
    if (reader.unit_number >= 0) {
        verdict->field = declaration_fields[DECLARATION_UNITS];
        snprintf(verdict->detail, sizeof verdict->detail, "units[%d].%s: %s",
                 (int)reader.unit_number, reader.names[field], what);
    } else {
        verdict->field = reader.names[field];
        snprintf(verdict->detail, sizeof verdict->detail, "%s: %s", reader.names[field], what);
    }
    return 0;
}

static inline int field_is(field_reader reader, uint32_t field, enum json_kind kind)
{
    return reader.fields->kind[field] == kind;
}

static SIMD_ALWAYS_INLINE text field_string(field_reader reader, uint32_t field)
{
    text string;
    const json_span span = reader.fields->span[field];
    if (reader.proven) {
        string.bytes = reader.scanner->document.base + span.start;
        string.length = span.end - span.start;
        return string;
    }
    string.bytes = json_string(&reader.scanner->document, span, &string.length);
    return string;
}

/* Whether a required field is a string; refuses it if not. */
static SIMD_ALWAYS_INLINE int field_is_string(field_reader reader, uint32_t field)
{
    if (reader.proven || field_is(reader, field, JSON_STRING))
        return 1;
    return refuse_field(reader, field,
                        field_is(reader, field, JSON_ABSENT) ? "missing" : "no string");
}

static inline int text_equals(text left, const uint8_t *bytes, int64_t length)
{
    return (int64_t)left.length == length && memcmp(left.bytes, bytes, left.length) == 0;
}

static inline int text_compare(text left, text right)
{
    uint32_t shorter = left.length < right.length ? left.length : right.length;
    int order = memcmp(left.bytes, right.bytes, shorter);
    return order ? order : (left.length > right.length) - (left.length < right.length);
}

/* Whether a string may be a code or a name: raw control characters are no JSON, so only escapes
 * can have brought any but U+007F. */
static SIMD_ALWAYS_INLINE int text_is_plain(const record_scanner *scanner, text string)
{
    if (!(scanner->document.flags & (JSON_HAS_BACKSLASH | JSON_HAS_DELETE)))
        return 1;
    for (uint32_t i = 0; i < string.length; i++) {
        if (string.bytes[i] < 0x20 || string.bytes[i] == 0x7f)
            return 0;
    }
    return 1;
}

static SIMD_ALWAYS_INLINE int read_text(field_reader reader, uint32_t field,
                                        uint32_t bytes_max, text *out)
{
    if (!field_is_string(reader, field))
        return 0;
    *out = field_string(reader, field);
    if (reader.proven)
        return 1;
    if (out->length - 1 >= bytes_max)
        return refuse_field(reader, field,
                            bytes_max == CODE_BYTES_MAX ? "not 1 to 64 bytes long"
                                                        : "not 1 to 1024 bytes long");
    if (!text_is_plain(reader.scanner, *out))
        return refuse_field(reader, field, "has a control character");
    return 1;
}

static SIMD_ALWAYS_INLINE int read_optional_text(field_reader reader, uint32_t field,
                                                 uint32_t bytes_max, text *out)
{
    if (field_is(reader, field, JSON_ABSENT)) {
        out->bytes = NULL;
        out->length = 0;
        return 1;
    }
    return read_text(reader, field, bytes_max, out);
}

/* An ID that must be the record's Kafka key. */
static inline int read_key(field_reader reader, uint32_t field, const uint8_t *key,
                           int32_t key_length, text *out)
{
    if (!read_text(reader, field, CODE_BYTES_MAX, out))
        return 0;
    if (!key || !text_equals(*out, key, key_length))
        return refuse_field(reader, field, "differs from the record's key");
    return 1;
}

static SIMD_ALWAYS_INLINE int read_time(field_reader reader, uint32_t field,
                                        int64_t *out)
{
    if (!field_is_string(reader, field))
        return 0;
    text string = field_string(reader, field);
    if (!date_time_parse_again(&reader.scanner->last_time, string.bytes, string.length,
                               reader.proven, out))
        return refuse_field(reader, field,
                            "not RFC 3339 with an offset, years 1970 to 2199, "
                            "at most 9 fraction digits");
    return 1;
}

static SIMD_ALWAYS_INLINE int read_optional_time(field_reader reader, uint32_t field,
                                                 int64_t *out)
{
    *out = NO_TIME;
    return field_is(reader, field, JSON_ABSENT) || read_time(reader, field, out);
}

/* A word of an enumeration, of which the first `count` are allowed here. */
static SIMD_ALWAYS_INLINE int read_word(field_reader reader, uint32_t field,
                                        const json_words *words, uint32_t count, uint8_t *out)
{
    if (!field_is_string(reader, field))
        return 0;
    text string = field_string(reader, field);
    const uint32_t length_max =
        words == &reader.scanner->declaration_statuses ? JSON_WORD_MAX : 16;
    uint32_t number = json_words_find_within(words, length_max, string.bytes, string.length);
    if (number >= count)
        return refuse_field(reader, field, "none of the words allowed");
    *out = (uint8_t)number;
    return 1;
}

static inline int read_optional_flag(field_reader reader, uint32_t field, uint8_t *out)
{
    *out = field_is(reader, field, JSON_TRUE);
    if (*out || field_is(reader, field, JSON_FALSE) || field_is(reader, field, JSON_ABSENT))
        return 1;
    return refuse_field(reader, field, "neither true nor false");
}

static inline int read_integer(field_reader reader, uint32_t field, uint64_t value_max,
                               uint64_t *out)
{
    if (!field_is(reader, field, JSON_NUMBER))
        return refuse_field(reader, field,
                            field_is(reader, field, JSON_ABSENT) ? "missing" : "no number");
    json_span span = reader.fields->span[field];
    const uint8_t *digits = reader.scanner->document.base + span.start;
    uint32_t length = span.end - span.start;
    uint64_t value = 0;
    int wrong = length > 16; /* 2^53 has 16 digits; leading zeros are no JSON */
    for (uint32_t i = 0; i < length && !wrong; i++) {
        wrong = (uint8_t)(digits[i] - '0') > 9;
        value = value * 10 + (uint64_t)(digits[i] - '0');
    }
    if (wrong || value > value_max)
        return refuse_field(reader, field,
                            value_max == PIECES_MAX
                                ? "no integer from 0 to 999999999 without sign, fraction, exponent"
                                : "no integer from 0 to 2^53 without sign, fraction, exponent");
    *out = value;
    return 1;
}

static inline int read_optional_pieces(field_reader reader, uint32_t field, uint32_t *out,
                                       uint8_t *has)
{
    uint64_t value = 0;
    *has = !field_is(reader, field, JSON_ABSENT);
    if (*has && !read_integer(reader, field, PIECES_MAX, &value))
        return 0;
    *out = (uint32_t)value;
    return 1;
}

/* The number that eight digits write, checked before; first digit in the low byte. Neighbours are
 * added up in pairs: digits to two-digit numbers, these to four, these to eight. */
static inline uint64_t eight_digits(uint64_t word)
{
    word = (word & UINT64_C(0x0f0f0f0f0f0f0f0f)) * ((10 << 8) + 1) >> 8;
    word = (word & UINT64_C(0x00ff00ff00ff00ff)) * ((100 << 16) + 1) >> 16;
    return (word & UINT64_C(0x0000ffff0000ffff)) * ((UINT64_C(10000) << 32) + 1) >> 32;
}

/* Kilograms with at most 3 decimals as written, to grams; never through a float. */
JSON_APART static int read_decimal_weight(field_reader reader, uint32_t field, int64_t *out)
{
    json_span span = reader.fields->span[field];
    const uint8_t *byte = reader.scanner->document.base + span.start;
    const uint8_t *end = reader.scanner->document.base + span.end;
    const uint8_t *start = byte;
    int64_t value = 0;
    while (byte < end && (uint8_t)(*byte - '0') <= 9 && byte - start <= WEIGHT_DIGITS_MAX)
        value = value * 10 + (*byte++ - '0');
    int wrong = byte == start || byte - start > WEIGHT_DIGITS_MAX;
    uint32_t decimals = 0;
    if (!wrong && byte < end && *byte == '.') {
        byte++;
        while (byte < end && (uint8_t)(*byte - '0') <= 9 && decimals < 3) {
            value = value * 10 + (*byte++ - '0');
            decimals++;
        }
    }
    if (wrong || byte != end)
        return refuse_field(reader, field,
                            "no weight up to 999999999.999 with at most 3 decimals, "
                            "without sign or exponent");
    for (; decimals < 3; decimals++)
        value *= 10;
    *out = value;
    return 1;
}

static SIMD_ALWAYS_INLINE int read_optional_weight(field_reader reader, uint32_t field,
                                                   int64_t *out, uint8_t *has)
{
    *out = 0;
    *has = !field_is(reader, field, JSON_ABSENT);
    if (!*has)
        return 1;
    if (!field_is(reader, field, JSON_NUMBER))
        return refuse_field(reader, field, "no number");
    const json_span span = reader.fields->span[field];
    if (span.end - span.start <= 8) { /* mostly whole kilograms */
        const uint32_t spare = 64 - 8 * (span.end - span.start);
        const uint64_t digits = json_load8(reader.scanner->document.base + span.start) << spare;
        if (!date_time_not_digits(digits, UINT64_MAX << spare)) {
            *out = (int64_t)eight_digits(digits) * 1000;
            return 1;
        }
    }
    return read_decimal_weight(reader, field, out);
}

/* A declaration number: 12 digits in a string. 16 bytes must be readable. */
static inline int declaration_number_parse(text string, uint64_t *out)
{
    if (string.length != DECLARATION_NUMBER_DIGITS)
        return 0;
    uint64_t first = json_load8(string.bytes), last = json_load8(string.bytes + 4);
    if (date_time_not_digits(first, UINT64_MAX) | date_time_not_digits(last, UINT64_MAX))
        return 0;
    *out = eight_digits(first) * 10000 + eight_digits(last) % 10000;
    return 1;
}

/* Whether normalising leaves eight bytes as they are: none beyond ASCII, no lower case, no space,
 * no hyphen. May say no of bytes that it would leave. */
static inline int eight_are_normal(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t from_a = word + ones * (0x80 - 'a'), beyond_z = word + ones * (0x7f - 'z');
    uint64_t space = word ^ ones * ' ', hyphen = word ^ ones * '-';
    return !((word | (from_a & ~beyond_z) | (space - ones) | (hyphen - ones)) & highs);
}

#if SIMD_HAS_AVX2_BODY
/* At index 16 - n sixteen bytes of which the first n are set. */
static const uint8_t unit_name_masks[32] = {255, 255, 255, 255, 255, 255, 255, 255,
                                            255, 255, 255, 255, 255, 255, 255, 255};
#endif

/* Normalises a unit (CONTRACT.md section 1): ASCII upper case, no spaces and hyphens. Returns 0 if
 * what is left is not 1 to 35 characters of U+0021 to U+007E. 16 bytes must be readable. */
static SIMD_ALWAYS_INLINE int unit_name_parse(text string, unit_name *out)
{
    if (string.length - 1 < 16) { /* mostly a container number, and mostly normal */
#if SIMD_HAS_AVX2_BODY /* of which SSE2 is a part that every x86-64 has */
        const __m128i there = _mm_loadu_si128(
            (const __m128i *)(const void *)(unit_name_masks + 16 - string.length));
        const __m128i name = _mm_and_si128(
            _mm_loadu_si128((const __m128i *)(const void *)string.bytes), there);
        /* Signed: below '!' is every space, control character and byte beyond ASCII. */
        const __m128i strange = _mm_or_si128(
            _mm_or_si128(_mm_cmplt_epi8(name, _mm_set1_epi8('!')),
                         _mm_cmpgt_epi8(name, _mm_set1_epi8('~'))),
            _mm_or_si128(_mm_cmpeq_epi8(name, _mm_set1_epi8('-')),
                         _mm_and_si128(_mm_cmpgt_epi8(name, _mm_set1_epi8('a' - 1)),
                                       _mm_cmplt_epi8(name, _mm_set1_epi8('z' + 1)))));
        if (_mm_movemask_epi8(_mm_and_si128(strange, there)) == 0) {
            _mm_storeu_si128((__m128i *)(void *)out->name, name);
            memset(out->name + 16, 0, sizeof out->name - 16);
            out->length = (uint8_t)string.length;
            return 1;
        }
#else
        const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
        const uint64_t *masks = json_word_masks + 16 + string.length;
        uint64_t first = json_load8(string.bytes) & masks[0];
        uint64_t second = json_load8(string.bytes + 8) & masks[-8];
        uint64_t first_filled = first | (~masks[0] & ones * 'A');
        uint64_t second_filled = second | (~masks[-8] & ones * 'A');
        uint64_t at_least = (first_filled + ones * (0x80 - 0x21)) &
                            (second_filled + ones * (0x80 - 0x21));
        uint64_t beyond = (first_filled + ones) | (second_filled + ones);
        if (eight_are_normal(first_filled) && eight_are_normal(second_filled) &&
            (at_least & ~beyond & highs) == highs) {
            json_store8(out->name, first);
            json_store8(out->name + 8, second);
            memset(out->name + 16, 0, sizeof out->name - 16);
            out->length = (uint8_t)string.length;
            return 1;
        }
#endif
    }
    uint32_t length = 0;
    for (uint32_t i = 0; i < string.length; i++) {
        uint8_t byte = string.bytes[i];
        if (byte == ' ' || byte == '-')
            continue;
        if ((uint8_t)(byte - 0x21) > 0x7e - 0x21 || length == UNIT_NAME_MAX)
            return 0;
        if ((uint8_t)(byte - 'a') <= 'z' - 'a')
            byte -= 'a' - 'A';
        out->name[length++] = byte;
    }
    memset(out->name + length, 0, sizeof out->name - length);
    out->length = (uint8_t)length;
    return length > 0;
}

static SIMD_ALWAYS_INLINE int read_unit(field_reader reader, uint32_t field, unit_name *out)
{
    if (!field_is_string(reader, field))
        return 0;
    if (!unit_name_parse(field_string(reader, field), out))
        return refuse_field(reader, field,
                            "not 1 to 35 characters of U+0021 to U+007E after normalising");
    return 1;
}

/* Normalises a seal: ASCII upper case, no spaces and hyphens, any other characters. In place if
 * nothing changes or if it lies in the scratch memory already, else copied there. */
static inline text seal_normalise(record_scanner *scanner, text seal)
{
    uint32_t same = 0;
    for (; same < seal.length; same += 8) {
        uint32_t left = seal.length - same;
        uint64_t mask = json_word_masks[16 + (left < 8 ? left : 8)];
        uint64_t filler = UINT64_C(0x4141414141414141); /* of A, which is normal */
        if (!eight_are_normal((json_load8(seal.bytes + same) & mask) | (filler & ~mask)))
            break;
    }
    if (same >= seal.length)
        return seal;
    json_document *document = &scanner->document;
    uint8_t *out = document->scratch + document->scratch_size;
    if (document->scratch_size >= seal.length && seal.bytes == out - seal.length)
        out = document->scratch + (document->scratch_size -= seal.length); /* just decoded */
    uint32_t length = 0;
    for (uint32_t i = 0; i < seal.length; i++) {
        uint8_t byte = seal.bytes[i];
        if ((uint8_t)(byte - 'a') <= 'z' - 'a')
            byte -= 'a' - 'A';
        if (byte != ' ' && byte != '-')
            out[length++] = byte;
    }
    document->scratch_size += length;
    text normal = {out, length};
    return normal;
}

/* Whether a normalised seal says that nothing was recorded. */
static inline int seal_is_blank(text seal)
{
    if (seal.length == 2 && memcmp(seal.bytes, "NA", 2) == 0)
        return 1;
    uint32_t hashes = 0;
    while (hashes < seal.length && seal.bytes[hashes] == '#')
        hashes++;
    return hashes == seal.length; /* the empty seal too */
}

JSON_APART static int read_seals(field_reader reader, uint32_t field, seal_set *out)
{
    record_scanner *scanner = reader.scanner;
    if (!field_is(reader, field, JSON_ARRAY))
        return refuse_field(reader, field, "no array");
    text *seals = scanner->texts + scanner->texts_size;
    uint32_t written = 0, count = 0;
    json_cursor cursor;
    if (json_array_first(&scanner->document, reader.fields->span[field], &cursor)) {
        do {
            json_span span;
            if (!json_array_string(&scanner->document, &cursor, &span))
                return refuse_field(reader, field, "has an element that is no string");
            if (++written > SEALS_MAX)
                return refuse_field(reader, field, "has more than 20 elements");
            text seal;
            seal.bytes = json_string(&scanner->document, span, &seal.length);
            if (seal.length > SEAL_BYTES_MAX)
                return refuse_field(reader, field, "has a seal longer than 64 bytes");
            seal = seal_normalise(scanner, seal);
            if (seal_is_blank(seal))
                continue;
            uint32_t place = count;
            int order = 1;
            while (place > 0 && (order = text_compare(seal, seals[place - 1])) < 0)
                place--;
            if (place > 0 && order == 0)
                continue;
            memmove(seals + place + 1, seals + place, (count - place) * sizeof *seals);
            seals[place] = seal;
            count++;
        } while (json_array_next(&cursor));
    }
    scanner->texts_size += count;
    out->seals = seals;
    out->count = count;
    out->looked = written == 0 || count > 0;
    return 1;
}

static SIMD_ALWAYS_INLINE int read_optional_seals(field_reader reader, uint32_t field,
                                                  seal_set *out)
{
    out->seals = NULL;
    out->count = 0;
    out->looked = 0;
    return field_is(reader, field, JSON_ABSENT) || read_seals(reader, field, out);
}

/* ---- whole records -------------------------------------------------------------------------- */

JSON_APART static int refuse_record(const record_scanner *scanner, scan_verdict *verdict,
                                    enum reject_reason reason, const char *what)
{
    verdict->reason = (uint8_t)reason;
    verdict->field = NULL;
    if (what)
        snprintf(verdict->detail, sizeof verdict->detail, "%s", what);
    else
        snprintf(verdict->detail, sizeof verdict->detail, "%s at byte %u",
                 json_error_texts[scanner->document.error], (unsigned)scanner->document.error_at);
    return 0;
}

/* Everything that concerns the value as a whole. Returns 1, 0 with the verdict filled, or -1 if
 * memory is exhausted. */
static SIMD_ALWAYS_INLINE int
scan_value(record_scanner *scanner, const uint8_t *value, int32_t value_length, int32_t bytes_max,
           const json_words *keys, json_layouts *layouts, json_layout_function find_layout,
           const json_fields **fields, scan_verdict *verdict)
{
    verdict->reason = REJECT_NONE;
    verdict->field = NULL;
    verdict->detail[0] = 0;
    if (!value || value_length < 0)
        return refuse_record(scanner, verdict, REJECT_MALFORMED, "no value");
    if (value_length > bytes_max)
        return refuse_record(scanner, verdict, REJECT_TOO_LARGE,
                             bytes_max == PORT_EVENT_BYTES_MAX ? "value longer than 65536 bytes"
                                                               : "value longer than 1048576 bytes");
    *fields = json_scan_alike(&scanner->document, value, (uint64_t)value_length, keys, layouts,
                              find_layout, &scanner->fields);
    if (!*fields) {
        if (scanner->document.error == JSON_OUT_OF_MEMORY)
            return -1;
        return refuse_record(scanner, verdict, REJECT_MALFORMED, NULL);
    }
    /* No array of strings can have more of them than there are strings; one spare to insert. */
    if (!json_reserve((void **)&scanner->texts, &scanner->texts_capacity,
                      scanner->document.quote_count / 2 + 1, sizeof *scanner->texts))
        return -1;
    scanner->texts_size = 0;
    return 1;
}

JSON_APART static int read_presented(field_reader reader, port_event *out)
{
    record_scanner *scanner = reader.scanner;
    if (!field_is(reader, PORT_EVENT_DECLARATIONS, JSON_ARRAY))
        return refuse_field(reader, PORT_EVENT_DECLARATIONS, "no array");
    json_cursor cursor;
    if (!json_array_first(&scanner->document, reader.fields->span[PORT_EVENT_DECLARATIONS],
                          &cursor))
        return 1;
    do {
        json_span span;
        text number;
        if (!json_array_string(&scanner->document, &cursor, &span))
            return refuse_field(reader, PORT_EVENT_DECLARATIONS,
                                "has an element that is no string");
        if (out->presented_count == PRESENTED_MAX)
            return refuse_field(reader, PORT_EVENT_DECLARATIONS, "has more than 100 elements");
        number.bytes = json_string(&scanner->document, span, &number.length);
        if (!declaration_number_parse(number, &scanner->presented[out->presented_count]))
            return refuse_field(reader, PORT_EVENT_DECLARATIONS,
                                "has an element that is not 12 digits");
        out->presented_count++;
    } while (json_array_next(&cursor));
    return 1;
}

static SIMD_ALWAYS_INLINE int read_optional_presented(field_reader reader, port_event *out)
{
    out->presented = reader.scanner->presented;
    out->presented_count = 0;
    return field_is(reader, PORT_EVENT_DECLARATIONS, JSON_ABSENT) || read_presented(reader, out);
}

/* The fields of a port event whose value was walked. */
static SIMD_ALWAYS_INLINE int read_port_event(field_reader reader, port_event *out)
{
    record_scanner *scanner = reader.scanner;
    int64_t created = NO_TIME, updated = NO_TIME;
    if (!read_text(reader, PORT_EVENT_ID, CODE_BYTES_MAX, &out->event_id) ||
        !read_word(reader, PORT_EVENT_TYPE, &scanner->event_types, EVENT_TYPE_COUNT,
                   &out->event_type) ||
        !read_time(reader, PORT_EVENT_TIME, &out->event_time_us) ||
        !read_optional_time(reader, PORT_EVENT_CREATED, &created) ||
        !read_optional_time(reader, PORT_EVENT_UPDATED, &updated))
        return 0;
    if (field_is(reader, PORT_EVENT_RETRACTED, JSON_TRUE) && updated == NO_TIME)
        return refuse_field(reader, PORT_EVENT_UPDATED, "missing, though isRetracted is true");
    if (!read_optional_flag(reader, PORT_EVENT_RETRACTED, &out->is_retracted) ||
        !read_text(reader, PORT_EVENT_OPERATOR, CODE_BYTES_MAX, &out->operator_id) ||
        !read_text(reader, PORT_EVENT_LOCATION, CODE_BYTES_MAX, &out->location_code) ||
        !read_word(reader, PORT_EVENT_UNIT_TYPE, &scanner->unit_types, UNIT_TYPE_COUNT,
                   &out->unit_type) ||
        !read_unit(reader, PORT_EVENT_UNIT, &out->unit) ||
        !read_word(reader, PORT_EVENT_DIRECTION, &scanner->directions, DIRECTION_COUNT,
                   &out->direction))
        return 0;
    out->purpose = PURPOSE_CLEARANCE;
    if (!field_is(reader, PORT_EVENT_PURPOSE, JSON_ABSENT) &&
        !read_word(reader, PORT_EVENT_PURPOSE, &scanner->purposes, PURPOSE_COUNT, &out->purpose))
        return 0;
    if (!read_optional_pieces(reader, PORT_EVENT_PIECES, &out->pieces, &out->has_pieces) ||
        !read_optional_weight(reader, PORT_EVENT_WEIGHT, &out->weight_grams, &out->has_weight) ||
        !read_optional_seals(reader, PORT_EVENT_SEALS, &out->seals))
        return 0;
    if (out->event_type == EVENT_RESEAL && out->seals.count == 0)
        return refuse_field(reader, PORT_EVENT_SEALS,
                            "a RESEAL needs at least one seal that is no blank");
    if (!read_optional_presented(reader, out) ||
        !read_optional_text(reader, PORT_EVENT_DOCUMENT, NAME_BYTES_MAX, &out->document))
        return 0;
    const uint32_t quantified = 1u << EVENT_GET_IN | 1u << EVENT_GATE_CHECK | 1u << EVENT_GET_OUT |
                                1u << EVENT_STOCK_COUNT;
    if (out->unit_type != UNIT_CONTAINER && !out->has_pieces && !out->has_weight &&
        (quantified >> out->event_type & 1))
        return refuse_field(reader, PORT_EVENT_PIECES,
                            "this event of a lot needs pieces or weightKg");
    if (updated != NO_TIME) {
        out->version_us = updated;
        out->version_field = PORT_EVENT_UPDATED;
    } else if (created != NO_TIME) {
        out->version_us = created;
        out->version_field = PORT_EVENT_CREATED;
    } else {
        out->version_us = out->event_time_us;
        out->version_field = PORT_EVENT_TIME;
    }
    return 1;
}

/* Notes that events of a layout were good, and from now on leaves to it what it can see to. */
JSON_APART static void prove_port_event_layout(json_layout *layout)
{
    static const uint8_t times[] = {PORT_EVENT_TIME, PORT_EVENT_CREATED, PORT_EVENT_UPDATED};
    for (size_t i = 0; i < sizeof times; i++) {
        const json_span span = layout->fields.span[times[i]];
        const uint32_t length = span.end - span.start;
        if (layout->fields.kind[times[i]] != JSON_STRING || !date_time_clock_end(length))
            continue;
        for (uint32_t place = 0; place < length; place++) {
            uint8_t lowest, highest;
            if (date_time_bounds(length, place, &lowest, &highest))
                json_layout_allow(layout, span.start + place, lowest, highest);
        }
    }
    layout->proven = 1;
}

static SIMD_ALWAYS_INLINE int
scan_port_event_body(record_scanner *scanner, json_layout_function find_layout,
                     const uint8_t *value, int32_t value_length, port_event *out,
                     scan_verdict *verdict)
{
    const json_fields *fields;
    int good =
        scan_value(scanner, value, value_length, PORT_EVENT_BYTES_MAX, &scanner->port_event_keys,
                   &scanner->port_event_layouts, find_layout, &fields, verdict);
    if (good <= 0)
        return good;
    json_layout *layout = scanner->document.layout;
    if (__builtin_expect(layout && layout->proven, 1)) {
        const field_reader reader = {scanner, fields, port_event_fields, verdict, -1, 1};
        return read_port_event(reader, out);
    }
    const field_reader reader = {scanner, fields, port_event_fields, verdict, -1, 0};
    good = read_port_event(reader, out);
    if (layout && good)
        prove_port_event_layout(layout);
    return good;
}

#if SIMD_HAS_AVX2_BODY
SIMD_TARGET_AVX2 static int scan_port_event_avx2(record_scanner *scanner, const uint8_t *value,
                                                 int32_t value_length, port_event *out,
                                                 scan_verdict *verdict)
{
    return scan_port_event_body(scanner, json_layout_find_avx2, value, value_length, out, verdict);
}

SIMD_TARGET_AVX512 static int scan_port_event_avx512(record_scanner *scanner, const uint8_t *value,
                                                     int32_t value_length, port_event *out,
                                                     scan_verdict *verdict)
{
    return scan_port_event_body(scanner, json_layout_find_avx512, value, value_length, out,
                                verdict);
}
#endif

/* Scans a port event. Returns 1 with `out` filled, 0 with the verdict filled, or -1 if memory is
 * exhausted. */
static inline int scan_port_event(record_scanner *scanner, const uint8_t *value,
                                  int32_t value_length, port_event *out, scan_verdict *verdict)
{
#if SIMD_HAS_AVX2_BODY
    if (scanner->document.path >= SIMD_PATH_AVX512)
        return scan_port_event_avx512(scanner, value, value_length, out, verdict);
    if (scanner->document.path >= SIMD_PATH_AVX2)
        return scan_port_event_avx2(scanner, value, value_length, out, verdict);
#endif
    return scan_port_event_body(scanner, NULL, value, value_length, out, verdict);
}

/* One element of `units`. */
static inline int read_declaration_unit(field_reader reader, declaration_unit *out)
{
    return read_unit(reader, UNIT_FIELD_NAME, &out->unit) &&
           read_word(reader, UNIT_FIELD_TYPE, &reader.scanner->unit_types, UNIT_TYPE_COUNT,
                     &out->unit_type) &&
           read_optional_seals(reader, UNIT_FIELD_SEALS, &out->seals) &&
           read_optional_pieces(reader, UNIT_FIELD_PIECES, &out->pieces, &out->has_pieces) &&
           read_optional_weight(reader, UNIT_FIELD_WEIGHT, &out->weight_grams,
                                &out->has_weight) &&
           read_optional_flag(reader, UNIT_FIELD_SHARED, &out->shared) &&
           read_optional_text(reader, UNIT_FIELD_LOCATION, CODE_BYTES_MAX, &out->location_code);
}

/* The units of a declaration; -1 if memory is exhausted. */
static inline int read_declaration_units(field_reader reader, declaration_record *out)
{
    record_scanner *scanner = reader.scanner;
    out->unit_count = 0;
    if (!field_is(reader, DECLARATION_UNITS, JSON_ARRAY))
        return refuse_field(reader, DECLARATION_UNITS,
                            field_is(reader, DECLARATION_UNITS, JSON_ABSENT) ? "missing"
                                                                             : "no array");
    json_cursor cursor;
    uint32_t count = 0;
    if (json_array_first(&scanner->document, reader.fields->span[DECLARATION_UNITS], &cursor)) {
        do {
            json_fields fields;
            const field_reader unit_reader = {scanner, &fields, declaration_unit_fields,
                                              reader.verdict, (int32_t)count, 0};
            if (count == DECLARATION_UNITS_MAX)
                return refuse_field(reader, DECLARATION_UNITS, "has more than 5000 elements");
            if (*cursor.byte != '{')
                return refuse_field(reader, DECLARATION_UNITS, "has an element that is no object");
            if (count == scanner->units_capacity) {
                uint64_t capacity = count ? (uint64_t)count * 2 : 16;
                declaration_unit *units =
                    (declaration_unit *)realloc(scanner->units, capacity * sizeof *units);
                if (!units)
                    return -1;
                scanner->units = units;
                scanner->units_capacity = capacity;
            }
            /* Walked before as part of the whole: it can't fail now. */
            if (!json_members(&scanner->document, &cursor, 3, &scanner->declaration_unit_keys,
                              &fields) ||
                !read_declaration_unit(unit_reader, &scanner->units[count]))
                return 0;
            count++;
        } while (json_array_next(&cursor));
    }
    out->units = scanner->units;
    out->unit_count = count;
    return 1;
}

/* Scans a declaration. Returns as scan_port_event does. */
static inline int scan_declaration(record_scanner *scanner, const uint8_t *key, int32_t key_length,
                                   const uint8_t *value, int32_t value_length,
                                   declaration_record *out, scan_verdict *verdict)
{
    const json_fields *fields;
    int good = scan_value(scanner, value, value_length, CUSTOMS_RECORD_BYTES_MAX,
                          &scanner->declaration_keys, NULL, NULL, &fields, verdict);
    if (good <= 0)
        return good;
    const field_reader reader = {scanner, fields, declaration_fields, verdict, -1, 0};
    text number = {NULL, 0};
    uint64_t version = 0;
    if (!read_text(reader, DECLARATION_NUMBER, CODE_BYTES_MAX, &number))
        return 0;
    if (!declaration_number_parse(number, &out->number))
        return refuse_field(reader, DECLARATION_NUMBER, "not 12 digits");
    if (!key || !text_equals(number, key, key_length))
        return refuse_field(reader, DECLARATION_NUMBER, "differs from the record's key");
    if (!read_integer(reader, DECLARATION_VERSION, VERSION_MAX, &version) ||
        !read_word(reader, DECLARATION_DIRECTION, &scanner->directions, DIRECTION_DOMESTIC,
                   &out->direction) ||
        !read_word(reader, DECLARATION_STATUS, &scanner->declaration_statuses, STATUS_COUNT,
                   &out->status) ||
        !read_time(reader, DECLARATION_REGISTERED, &out->registered_us) ||
        !read_optional_time(reader, DECLARATION_STATUS_TIME, &out->status_us) ||
        !read_optional_text(reader, DECLARATION_BRANCH, CODE_BYTES_MAX, &out->branch_code) ||
        !read_text(reader, DECLARATION_LOCATION, CODE_BYTES_MAX, &out->location_code) ||
        !read_optional_text(reader, DECLARATION_DESTINATION, CODE_BYTES_MAX,
                            &out->destination_location_code) ||
        !read_optional_time(reader, DECLARATION_ARRIVE_BY, &out->arrive_by_us))
        return 0;
    out->version = (int64_t)version;
    return read_declaration_units(reader, out);
}

/* What a hold is on, by its scope. */
static inline int read_reference(field_reader reader, hold_record *out)
{
    out->unit.length = 0;
    out->unit.name[0] = 0;
    out->declaration_number = 0;
    if (out->scope == SCOPE_UNIT)
        return read_unit(reader, HOLD_REFERENCE, &out->unit);
    if (!field_is(reader, HOLD_REFERENCE, JSON_STRING))
        return refuse_field(reader, HOLD_REFERENCE,
                            field_is(reader, HOLD_REFERENCE, JSON_ABSENT) ? "missing"
                                                                          : "no string");
    if (!declaration_number_parse(field_string(reader, HOLD_REFERENCE), &out->declaration_number))
        return refuse_field(reader, HOLD_REFERENCE, "not 12 digits");
    return 1;
}

/* The customs seal of a hold; of other reasons it is checked and left aside. */
static inline int read_hold_seal(field_reader reader, hold_record *out)
{
    text seal = {NULL, 0};
    if (!field_is(reader, HOLD_SEAL, JSON_ABSENT)) {
        if (!field_is(reader, HOLD_SEAL, JSON_STRING))
            return refuse_field(reader, HOLD_SEAL, "no string");
        seal = field_string(reader, HOLD_SEAL);
        if (seal.length > SEAL_BYTES_MAX)
            return refuse_field(reader, HOLD_SEAL, "longer than 64 bytes");
        seal = seal_normalise(reader.scanner, seal);
    }
    if (out->reason != REASON_CUSTOMS_SEAL)
        seal.length = 0;
    else if (seal_is_blank(seal))
        return refuse_field(reader, HOLD_SEAL, "a CUSTOMS_SEAL needs a seal that is no blank");
    out->seal = seal;
    return 1;
}

/* Scans a hold. Returns as scan_port_event does. */
static inline int scan_hold(record_scanner *scanner, const uint8_t *key, int32_t key_length,
                            const uint8_t *value, int32_t value_length, hold_record *out,
                            scan_verdict *verdict)
{
    const json_fields *fields;
    int good = scan_value(scanner, value, value_length, CUSTOMS_RECORD_BYTES_MAX,
                          &scanner->hold_keys, NULL, NULL, &fields, verdict);
    if (good <= 0)
        return good;
    const field_reader reader = {scanner, fields, hold_fields, verdict, -1, 0};
    uint64_t version = 0;
    if (!read_key(reader, HOLD_ID, key, key_length, &out->hold_id) ||
        !read_integer(reader, HOLD_VERSION, VERSION_MAX, &version) ||
        !read_word(reader, HOLD_SCOPE, &scanner->hold_scopes, SCOPE_COUNT, &out->scope) ||
        !read_reference(reader, out) ||
        !read_word(reader, HOLD_REASON, &scanner->hold_reasons, REASON_COUNT, &out->reason) ||
        !read_hold_seal(reader, out) ||
        !read_word(reader, HOLD_STATE, &scanner->hold_states, HOLD_STATE_COUNT, &out->state) ||
        !read_time(reader, HOLD_ISSUED, &out->issued_us))
        return 0;
    out->version = (int64_t)version;
    return 1;
}

static inline int read_locations(field_reader reader, operator_record *out)
{
    record_scanner *scanner = reader.scanner;
    if (!field_is(reader, OPERATOR_LOCATIONS, JSON_ARRAY))
        return refuse_field(reader, OPERATOR_LOCATIONS,
                            field_is(reader, OPERATOR_LOCATIONS, JSON_ABSENT) ? "missing"
                                                                              : "no array");
    text *locations = scanner->texts + scanner->texts_size;
    uint32_t count = 0;
    json_cursor cursor;
    if (!json_array_first(&scanner->document, reader.fields->span[OPERATOR_LOCATIONS], &cursor))
        return refuse_field(reader, OPERATOR_LOCATIONS, "has no element");
    do {
        json_span span;
        text location;
        if (!json_array_string(&scanner->document, &cursor, &span))
            return refuse_field(reader, OPERATOR_LOCATIONS, "has an element that is no string");
        if (count == OPERATOR_LOCATIONS_MAX)
            return refuse_field(reader, OPERATOR_LOCATIONS, "has more than 1000 elements");
        location.bytes = json_string(&scanner->document, span, &location.length);
        if (location.length - 1 >= CODE_BYTES_MAX || !text_is_plain(scanner, location))
            return refuse_field(reader, OPERATOR_LOCATIONS,
                                "has an element that is not 1 to 64 bytes without control "
                                "characters");
        locations[count++] = location;
    } while (json_array_next(&cursor));
    scanner->texts_size += count;
    out->locations = locations;
    out->location_count = count;
    return 1;
}

/* The cargo an operator handles: checked, not kept. */
static inline int read_optional_cargo(field_reader reader)
{
    record_scanner *scanner = reader.scanner;
    if (field_is(reader, OPERATOR_CARGO, JSON_ABSENT))
        return 1;
    if (!field_is(reader, OPERATOR_CARGO, JSON_ARRAY))
        return refuse_field(reader, OPERATOR_CARGO, "no array");
    json_cursor cursor;
    if (!json_array_first(&scanner->document, reader.fields->span[OPERATOR_CARGO], &cursor))
        return 1;
    do {
        json_span span;
        uint32_t length;
        if (!json_array_string(&scanner->document, &cursor, &span))
            return refuse_field(reader, OPERATOR_CARGO, "has an element that is no string");
        const uint8_t *word = json_string(&scanner->document, span, &length);
        if (json_words_find(&scanner->unit_types, word, length) == JSON_UNKNOWN)
            return refuse_field(reader, OPERATOR_CARGO, "has an element that is no unit type");
    } while (json_array_next(&cursor));
    return 1;
}

static inline int read_optional_day(field_reader reader, uint32_t field, int32_t *out)
{
    *out = INT32_MIN;
    if (field_is(reader, field, JSON_ABSENT))
        return 1;
    if (!field_is(reader, field, JSON_STRING))
        return refuse_field(reader, field, "no string");
    text string = field_string(reader, field);
    if (!date_parse(string.bytes, string.length, out))
        return refuse_field(reader, field, "no day YYYY-MM-DD of the years 1970 to 2199");
    return 1;
}

/* Scans an operator. Returns as scan_port_event does. */
JSON_APART static int scan_operator(record_scanner *scanner, const uint8_t *key,
                                    int32_t key_length, const uint8_t *value,
                                    int32_t value_length, operator_record *out,
                                    scan_verdict *verdict)
{
    const json_fields *fields;
    int good = scan_value(scanner, value, value_length, CUSTOMS_RECORD_BYTES_MAX,
                          &scanner->operator_keys, NULL, NULL, &fields, verdict);
    if (good <= 0)
        return good;
    const field_reader reader = {scanner, fields, operator_fields, verdict, -1, 0};
    text name;
    uint64_t wave, version = 0;
    if (!read_key(reader, OPERATOR_ID, key, key_length, &out->operator_id) ||
        !read_text(reader, OPERATOR_NAME, NAME_BYTES_MAX, &name) ||
        !read_word(reader, OPERATOR_KIND, &scanner->operator_kinds, KIND_COUNT, &out->kind) ||
        !read_text(reader, OPERATOR_DEPARTMENT_CODE, CODE_BYTES_MAX, &out->department_code) ||
        !read_text(reader, OPERATOR_DEPARTMENT_NAME, NAME_BYTES_MAX, &out->department_name) ||
        !read_optional_text(reader, OPERATOR_BRANCH_CODE, CODE_BYTES_MAX, &out->branch_code) ||
        !read_optional_text(reader, OPERATOR_BRANCH_NAME, NAME_BYTES_MAX, &out->branch_name) ||
        !read_locations(reader, out) || !read_optional_cargo(reader) ||
        !read_word(reader, OPERATOR_STATUS, &scanner->operator_statuses, OPERATOR_STATUS_COUNT,
                   &out->status) ||
        !read_optional_day(reader, OPERATOR_CONNECTED_DATE, &out->connected_day))
        return 0;
    if (!field_is(reader, OPERATOR_WAVE, JSON_ABSENT) &&
        !read_integer(reader, OPERATOR_WAVE, VERSION_MAX, &wave))
        return 0;
    if (!read_integer(reader, OPERATOR_VERSION, VERSION_MAX, &version))
        return 0;
    out->version = (int64_t)version;
    return 1;
}

#endif
