/*
 * Fuzz target: the scanner of the four input records, on every SIMD path of the machine.
 *
 * Input: a byte whose two low bits choose the topic, a byte that says how long the key is (255: no
 * key), the key, and values between bytes 0x1E, which no JSON text can hold: one scanner reads them
 * all, since it learns how records are laid out. A value is refused as a whole exactly if it is
 * longer than allowed or strict_json.h refuses it; all paths read the same, whatever they read
 * before; what is accepted keeps the limits that the engine relies on.
 */
#include <stdio.h>

#include "record_scanner.h"
#include "strict_json.h"

/* More than there are: what a machine lacks, or nobody has written yet, is not available. */
#define PATHS_ASKED_FOR 8
#define SEPARATOR 0x1E

#define REQUIRE(condition) ((condition) ? (void)0 : broken(#condition))

typedef struct scan {
    int answer;
    scan_verdict verdict;
    union {
        port_event event;
        declaration_record declaration;
        hold_record hold;
        operator_record operator_;
    } record;
} scan;

static void broken(const char *what)
{
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static void check_text(text string, uint32_t least, uint32_t most)
{
    REQUIRE(string.length >= least && string.length <= most);
    for (uint32_t i = 0; i < string.length; i++) {
        REQUIRE(string.bytes[i] >= 0x20 && string.bytes[i] != 0x7F);
    }
}

static void check_unit(const unit_name *unit)
{
    REQUIRE(unit->length >= 1 && unit->length <= UNIT_NAME_MAX && unit->name[unit->length] == 0);
    for (uint32_t i = 0; i < unit->length; i++) {
        const uint8_t byte = unit->name[i];
        REQUIRE(byte > ' ' && byte < 0x7F && byte != '-' && !(byte >= 'a' && byte <= 'z'));
    }
}

static void check_seals(seal_set seals)
{
    REQUIRE(seals.count <= SEALS_MAX && (seals.looked || seals.count == 0));
    for (uint32_t i = 0; i < seals.count; i++) {
        REQUIRE(seals.seals[i].length >= 1 && seals.seals[i].length <= 64);
        REQUIRE(i == 0 || text_compare(seals.seals[i - 1], seals.seals[i]) < 0);
    }
}

static void check_quantity(int has_pieces, uint32_t pieces, int has_weight, int64_t grams)
{
    REQUIRE(!has_pieces || pieces <= 999999999);
    REQUIRE(!has_weight || (grams >= 0 && grams <= INT64_C(999999999999)));
}

static void check_event(const port_event *event)
{
    check_text(event->event_id, 1, 64);
    check_text(event->operator_id, 1, 64);
    check_text(event->location_code, 1, 64);
    check_text(event->document, 0, 1024);
    check_unit(&event->unit);
    check_seals(event->seals);
    check_quantity(event->has_pieces, event->pieces, event->has_weight, event->weight_grams);
    REQUIRE(event->event_type < EVENT_TYPE_COUNT && event->unit_type < UNIT_TYPE_COUNT);
    REQUIRE(event->direction < DIRECTION_COUNT && event->purpose < PURPOSE_COUNT);
    REQUIRE(event->presented_count <= PRESENTED_MAX);
    for (uint32_t i = 0; i < event->presented_count; i++) {
        REQUIRE(event->presented[i] <= UINT64_C(999999999999));
    }
}

static void check_declaration(const declaration_record *declaration)
{
    REQUIRE(declaration->number <= UINT64_C(999999999999) && declaration->version >= 0);
    REQUIRE(declaration->unit_count <= DECLARATION_UNITS_MAX);
    check_text(declaration->location_code, 1, 64);
    for (uint32_t i = 0; i < declaration->unit_count; i++) {
        const declaration_unit *unit = &declaration->units[i];
        check_unit(&unit->unit);
        check_seals(unit->seals);
        check_text(unit->location_code, 0, 64);
        check_quantity(unit->has_pieces, unit->pieces, unit->has_weight, unit->weight_grams);
    }
}

static void check_hold(const hold_record *hold)
{
    check_text(hold->hold_id, 1, 64);
    if (hold->scope == SCOPE_UNIT) {
        check_unit(&hold->unit);
    } else {
        REQUIRE(hold->declaration_number <= UINT64_C(999999999999));
    }
    REQUIRE((hold->reason == REASON_CUSTOMS_SEAL) == (hold->seal.length > 0));
}

static void check_operator(const operator_record *operator_)
{
    check_text(operator_->operator_id, 1, 64);
    REQUIRE(operator_->location_count >= 1 &&
            operator_->location_count <= OPERATOR_LOCATIONS_MAX);
    for (uint32_t i = 0; i < operator_->location_count; i++) {
        check_text(operator_->locations[i], 1, 64);
    }
}

static void scan_one(record_scanner *scanner, int topic, const uint8_t *key, int32_t key_length,
                     const uint8_t *value, int32_t length, scan *out)
{
    memset(out, 0, sizeof *out);
    switch (topic) {
    case TOPIC_PORT_EVENTS:
        out->answer =
            scan_port_event(scanner, value, length, &out->record.event, &out->verdict);
        break;
    case TOPIC_DECLARATIONS:
        out->answer = scan_declaration(scanner, key, key_length, value, length,
                                       &out->record.declaration, &out->verdict);
        break;
    case TOPIC_HOLDS:
        out->answer = scan_hold(scanner, key, key_length, value, length, &out->record.hold,
                                &out->verdict);
        break;
    default:
        out->answer = scan_operator(scanner, key, key_length, value, length,
                                    &out->record.operator_, &out->verdict);
    }
}

static int same_text(text left, text right)
{
    return left.length == right.length &&
           (left.length == 0 || memcmp(left.bytes, right.bytes, left.length) == 0);
}

/* Both paths must read the same, not only accept the same. */
static void check_same_event(const port_event *left, const port_event *right)
{
    REQUIRE(same_text(left->event_id, right->event_id));
    REQUIRE(same_text(left->operator_id, right->operator_id));
    REQUIRE(same_text(left->location_code, right->location_code));
    REQUIRE(same_text(left->document, right->document));
    REQUIRE(strcmp((const char *)left->unit.name, (const char *)right->unit.name) == 0);
    REQUIRE(left->event_time_us == right->event_time_us && left->version_us == right->version_us);
    REQUIRE(left->event_type == right->event_type && left->unit_type == right->unit_type);
    REQUIRE(left->direction == right->direction && left->purpose == right->purpose);
    REQUIRE(left->is_retracted == right->is_retracted);
    REQUIRE(left->has_pieces == right->has_pieces && left->has_weight == right->has_weight);
    REQUIRE(!left->has_pieces || left->pieces == right->pieces);
    REQUIRE(!left->has_weight || left->weight_grams == right->weight_grams);
    REQUIRE(left->seals.count == right->seals.count && left->seals.looked == right->seals.looked);
    for (uint32_t i = 0; i < left->seals.count; i++) {
        REQUIRE(same_text(left->seals.seals[i], right->seals.seals[i]));
    }
    REQUIRE(left->presented_count == right->presented_count);
    for (uint32_t i = 0; i < left->presented_count; i++) {
        REQUIRE(left->presented[i] == right->presented[i]);
    }
}

static void check_limits(int topic, const scan *found)
{
    switch (topic) {
    case TOPIC_PORT_EVENTS:
        check_event(&found->record.event);
        break;
    case TOPIC_DECLARATIONS:
        check_declaration(&found->record.declaration);
        break;
    case TOPIC_HOLDS:
        check_hold(&found->record.hold);
        break;
    default:
        check_operator(&found->record.operator_);
    }
}

/* One value by a scanner that may have seen others, against a portable one that has not. */
static void check_value(record_scanner *scanner, int topic, const uint8_t *key,
                        int32_t key_length, const uint8_t *value, size_t size)
{
    const size_t bytes_max =
        topic == TOPIC_PORT_EVENTS ? PORT_EVENT_BYTES_MAX : CUSTOMS_RECORD_BYTES_MAX;
    const int is_object = size <= bytes_max && strict_json_object(value, size, 64, 0);
    record_scanner fresh;
    scan found, first;
    record_scanner_init(&fresh);
    json_document_use(&fresh.document, SIMD_PATH_PORTABLE);
    scan_one(&fresh, topic, key, key_length, value, (int32_t)size, &first);
    scan_one(scanner, topic, key, key_length, value, (int32_t)size, &found);
    REQUIRE(found.answer == 0 || found.answer == 1);
    REQUIRE(first.answer == found.answer && first.verdict.field == found.verdict.field);
    if (found.answer == 0) {
        REQUIRE(found.verdict.reason ==
                (size > bytes_max ? REJECT_TOO_LARGE : REJECT_MALFORMED));
        REQUIRE((found.verdict.field != NULL) == is_object);
        REQUIRE(memchr(found.verdict.detail, 0, sizeof found.verdict.detail) != NULL);
        REQUIRE(strcmp(first.verdict.detail, found.verdict.detail) == 0);
    } else {
        REQUIRE(is_object);
        check_limits(topic, &found);
        if (topic == TOPIC_PORT_EVENTS) {
            check_same_event(&first.record.event, &found.record.event);
        }
    }
    record_scanner_free(&fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > (1 << 20)) {
        return 0;
    }
    const int topic = data[0] & 3;
    const int32_t key_length = data[1] == 255 ? -1 : data[1];
    data += 2;
    size -= 2;
    if (key_length > (int64_t)size) {
        return 0;
    }
    const uint8_t *key = key_length < 0 ? NULL : data;
    data += key_length < 0 ? 0 : key_length;
    size -= key_length < 0 ? 0 : (size_t)key_length;
    for (int path = SIMD_PATH_PORTABLE; path < PATHS_ASKED_FOR; path++) {
        if (!simd_path_available((simd_path)path)) {
            continue;
        }
        record_scanner scanner;
        record_scanner_init(&scanner);
        json_document_use(&scanner.document, (simd_path)path);
        for (size_t at = 0; at <= size;) {
            const uint8_t *end = at < size ? memchr(data + at, SEPARATOR, size - at) : NULL;
            const size_t length = end ? (size_t)(end - data) - at : size - at;
            uint8_t *value = malloc(length ? length : 1); /* a read past its end is seen */
            REQUIRE(value != NULL);
            memcpy(value, length ? data + at : (const uint8_t *)"", length);
            check_value(&scanner, topic, key, key_length, value, length);
            free(value);
            at += length + 1;
        }
        record_scanner_free(&scanner);
    }
    return 0;
}
