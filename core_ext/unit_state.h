/* The state of one unit as the value of a changelog record.
 *
 * What it is: the codec. A unit's events with all their fields, how far each check was decided and
 * which alerts were raised, as bytes, and back. Operators and locations are written by name, each
 * once a record, since their row numbers differ between workers and from run to run.
 * Who calls it: unit_log.h.
 * What it must never know: topics, partitions, when a unit is written.
 *
 * Every value of the changelog is framed alike:
 *
 *   | format version u8 = 1 | CRC-32C of the payload u32, little-endian | payload |
 *
 * The payload of a unit. A number is unsigned LEB128, a signed one zigzag first; a text is its
 * length, u8, and its bytes; (...)* is a number and so many of what is in the brackets:
 *
 *   (operatorID text)* (locationCode text)*
 *   (event)*                       in the order of time
 *     eventDateTime                signed, us, against the event before (the first against 0)
 *     version                      signed, us, against eventDateTime
 *     record timestamp             signed, ms, against eventDateTime
 *     bits u24, little-endian      type 3, unit type 2, direction 2, purpose 3, retracted, has
 *                                  pieces, has weight, has document, looked, suspended, at an
 *                                  airport, presents declarations, has seals, has raised alerts,
 *                                  has a check; 3 unused
 *     operator, location           numbers: place among the names above
 *     eventID                      text
 *     [pieces] [grams]             numbers
 *     [(declaration number)*]      presented, in the order as written
 *     [(seal text)*]               ascending
 *     [alerts u8]                  a bit for each alert raised
 *     [sequence, reasons, flags, (declaration number)*]  the last decision of a check
 *   (raised alert)*                those that have no bit in an event (alerts.h)
 *     type u8, number, operator, location + 1 or 0, eventID length u8, eventID
 *
 * Reading trusts nothing: a payload is walked once, to its end, and checked before any of it is
 * used.
 */
#ifndef GATEJOIN_UNIT_STATE_H
#define GATEJOIN_UNIT_STATE_H

#include "alerts.h"
#include "crc32c.h"
#include "engine_state.h"

/* The first byte of a record's key: what it is about. */
enum {
    LOG_CONTAINER = 'C', LOG_LOT = 'L', LOG_VOLUME = 'V', LOG_RETIREMENT = 'R',
    LOG_PARTITION = 'P'
};
#define LOG_KEY_BYTES (1 + UNIT_NAME_MAX) /* of a unit */

#define STATE_FORMAT 1
#define STATE_FRAME_BYTES 5
#define STATE_TEXT_MAX 64           /* IDs and codes (CONTRACT.md section 1) */
#define STATE_TIME_MAX (INT64_C(1) << 53) /* year 2255 in microseconds */
#define STATE_NUMBER_BYTES 10       /* of the longest number */
#define STATE_DECLARATION_MAX UINT64_C(999999999999)
#define STATE_GRAMS_MAX (UINT64_C(1) << 40)

/* Up to "at an airport" they are bits of an event as it is stored (unit_event.h). */
enum {
    STATE_EVENT_BITS = (1 << 17) - 1, STATE_PIECES = 1 << 11, STATE_WEIGHT = 1 << 12,
    STATE_PRESENTED = 1 << 17, STATE_SEALS = 1 << 18, STATE_ALERTS = 1 << 19,
    STATE_CHECK = 1 << 20, STATE_UNUSED = 7 << 21
};

/* ---- numbers --------------------------------------------------------------------------------- */

static inline uint8_t *state_put_number(uint8_t *place, uint64_t number)
{
    while (number >= 128) {
        *place++ = (uint8_t)(number | 128);
        number >>= 7;
    }
    *place++ = (uint8_t)number;
    return place;
}

static inline uint8_t *state_put_signed(uint8_t *place, int64_t number)
{
    return state_put_number(place, (uint64_t)number << 1 ^ (uint64_t)(number >> 63));
}

static inline uint8_t *state_put_text(uint8_t *place, const void *bytes, uint32_t length)
{
    *place++ = (uint8_t)length;
    memcpy(place, bytes, length);
    return place + length;
}

/* What is left of a payload; `wrong` once it was not what it should be, and then nothing that was
 * read since counts. */
typedef struct {
    const uint8_t *at, *end;
    int wrong;
} state_reader;

/* The first 8 bytes at a place, of which the first `length` are a number: the 7 bits of each,
 * pushed together in three steps. */
static inline uint64_t state_number_of(uint64_t bytes, uint32_t length)
{
    bytes &= UINT64_MAX >> (64 - 8 * length);
    bytes = (bytes & 0x007f007f007f007f) | (bytes & 0x7f007f007f007f00) >> 1;
    bytes = (bytes & 0x00003fff00003fff) | (bytes & 0x3fff00003fff0000) >> 2;
    return (bytes & 0x000000000fffffff) | (bytes & 0x0fffffff00000000) >> 4;
}

static inline uint64_t state_number(state_reader *reader)
{
    uint64_t number = 0;
    if (reader->at < reader->end && *reader->at < 128)
        return *reader->at++;
    if (reader->end - reader->at >= 8) { /* times mostly have 6 to 8 */
        uint64_t bytes = unit_load_64(reader->at);
        uint64_t ends = ~bytes & 0x8080808080808080;
        if (ends) {
            uint32_t length = (uint32_t)__builtin_ctzll(ends) / 8 + 1;
            reader->at += length;
            return state_number_of(bytes, length);
        }
    }
    for (int shift = 0; shift < 64; shift += 7) {
        if (reader->at == reader->end)
            break;
        uint8_t byte = *reader->at++;
        number |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return number;
    }
    reader->wrong = 1;
    return 0;
}

static inline int64_t state_signed(state_reader *reader)
{
    uint64_t number = state_number(reader);
    return (int64_t)(number >> 1) ^ -(int64_t)(number & 1);
}

/* A number up to `most`. */
static inline uint64_t state_number_up_to(state_reader *reader, uint64_t most)
{
    uint64_t number = state_number(reader);
    if (number > most) {
        reader->wrong = 1;
        return 0;
    }
    return number;
}

/* How many things follow, of at least `least_bytes` each. */
static inline uint32_t state_count(state_reader *reader, uint32_t least_bytes)
{
    return (uint32_t)state_number_up_to(reader,
                                        (uint64_t)(reader->end - reader->at) / least_bytes);
}

static inline const uint8_t *state_bytes(state_reader *reader, uint64_t count)
{
    const uint8_t *bytes = reader->at;
    if (count > (uint64_t)(reader->end - reader->at)) {
        reader->wrong = 1;
        reader->at = reader->end;
        return bytes;
    }
    reader->at += count;
    return bytes;
}

static inline uint8_t state_byte(state_reader *reader)
{
    const uint8_t *byte = state_bytes(reader, 1);
    return reader->wrong ? 0 : *byte;
}

/* A text of at least `least` bytes and at most STATE_TEXT_MAX. */
static inline text state_text(state_reader *reader, uint32_t least)
{
    uint32_t length = state_byte(reader);
    if (length < least || length > STATE_TEXT_MAX)
        reader->wrong = 1;
    const uint8_t *bytes = state_bytes(reader, length);
    return reader->wrong ? (text){NULL, 0} : (text){bytes, length};
}

/* ---- frame ----------------------------------------------------------------------------------- */

/* Closes a value whose payload ends at `end` with its version and checksum. */
static inline void state_frame(uint8_t *value, const uint8_t *end)
{
    uint32_t checksum = crc32c(value + STATE_FRAME_BYTES,
                               (size_t)(end - value) - STATE_FRAME_BYTES);
    value[0] = STATE_FORMAT;
    for (int i = 0; i < 4; i++)
        value[1 + i] = (uint8_t)(checksum >> 8 * i);
}

/* The payload of a value that was opened before. */
static inline state_reader state_payload(const record_view *record)
{
    return (state_reader){record->value + STATE_FRAME_BYTES,
                          record->value + record->value_length, 0};
}

/* Opens a value; NULL, or why it can't be read. */
static inline const char *state_open(const record_view *record, state_reader *reader)
{
    if (record->value_length < STATE_FRAME_BYTES)
        return "shorter than its own head";
    const uint8_t *value = record->value;
    if (value[0] != STATE_FORMAT)
        return "a format version that this release does not know";
    uint32_t checksum = 0;
    for (int i = 0; i < 4; i++)
        checksum |= (uint32_t)value[1 + i] << 8 * i;
    *reader = state_payload(record);
    if (checksum != crc32c(reader->at, (size_t)(reader->end - reader->at)))
        return "its checksum does not fit";
    return NULL;
}

/* Is it a unit's name, normalised as all of them are? */
static int is_unit_name(const uint8_t *bytes, int32_t length)
{
    if (length < 1 || length > UNIT_NAME_MAX)
        return 0;
    for (int32_t i = 0; i < length; i++)
        if (bytes[i] < 0x21 || bytes[i] > 0x7e || bytes[i] == '-' ||
            (bytes[i] >= 'a' && bytes[i] <= 'z'))
            return 0;
    return 1;
}

/* ---- writing --------------------------------------------------------------------------------- */

static inline uint32_t event_seal_bytes(const event *event_)
{
    const uint8_t *first = event_id_bytes(event_) + event_->event_id_length, *place = first;
    for (uint32_t i = 0; i < event_->seal_count; i++)
        place += 1 + place[0];
    return (uint32_t)(place - first);
}

static uint8_t *state_put_event(uint8_t *place, const arena *arena_, const event *event_,
                                int64_t previous_us, uint32_t operator_place,
                                uint32_t location_place)
{
    const check_state *check =
        event_->check ? (const check_state *)arena_at(arena_, event_->check) : NULL;
    uint32_t bits = (uint32_t)(event_->weight_and_bits >> EVENT_BITS_AT) |
                    (event_->presented_count ? STATE_PRESENTED : 0) |
                    (event_->seal_count ? STATE_SEALS : 0) | (event_->alerts ? STATE_ALERTS : 0) |
                    (check ? STATE_CHECK : 0);
    place = state_put_signed(place, event_->time_us - previous_us);
    place = state_put_signed(place, event_->version_us - event_->time_us);
    place = state_put_signed(place, event_->record_time_ms - event_->time_us / 1000);
    for (int i = 0; i < 3; i++)
        *place++ = (uint8_t)(bits >> 8 * i);
    place = state_put_number(place, operator_place);
    place = state_put_number(place, location_place);
    place = state_put_text(place, event_id_bytes(event_), event_->event_id_length);
    if (event_->has_pieces)
        place = state_put_number(place, event_->pieces);
    if (event_->has_weight)
        place = state_put_number(place, event_->weight_grams);
    if (event_->presented_count) {
        place = state_put_number(place, event_->presented_count);
        for (uint32_t i = 0; i < event_->presented_count; i++)
            place = state_put_number(place, event_presented(event_)[i]);
    }
    if (event_->seal_count) {
        uint32_t bytes = event_seal_bytes(event_);
        place = state_put_number(place, event_->seal_count);
        memcpy(place, event_id_bytes(event_) + event_->event_id_length, bytes);
        place += bytes;
    }
    if (event_->alerts)
        *place++ = event_->alerts;
    if (check) {
        place = state_put_number(place, check->sequence);
        place = state_put_number(place, check->reasons);
        place = state_put_number(place, check->flags);
        place = state_put_number(place, check->declaration_count);
        for (uint32_t i = 0; i < check->declaration_count; i++)
            place = state_put_number(place, check->declarations[i]);
    }
    return place;
}

/* No more bytes than these does an event take, its names aside. */
static inline uint64_t state_event_bytes_max(const arena *arena_, const event *event_)
{
    uint64_t bytes = 10 * STATE_NUMBER_BYTES + 8 + event_->event_id_length +
                     (uint64_t)STATE_NUMBER_BYTES * event_->presented_count +
                     event_seal_bytes(event_);
    if (event_->check) {
        const check_state *check = (const check_state *)arena_at(arena_, event_->check);
        bytes += STATE_NUMBER_BYTES * (4 + (uint64_t)check->declaration_count);
    }
    return bytes;
}

/* Writes the value of a unit at the end of the output's bytes; returns where it ends. The output's
 * record is the caller's to close. */
static uint8_t *unit_state_write(record_output *output, const customs_tables *customs,
                                 const arena *arena_, const unit *unit_, state_names *operators,
                                 state_names *locations)
{
    const uint32_t *handles = unit_->event_count ? unit_events_array(arena_, unit_) : NULL;
    uint64_t bytes = STATE_FRAME_BYTES + 4 * STATE_NUMBER_BYTES;
    uint32_t raised_count = 0;
    for (uint32_t i = 0; i < unit_->event_count; i++) {
        const event *event_ = event_at(arena_, handles[i]);
        bytes += state_event_bytes_max(arena_, event_);
        state_name_place(operators, event_->operator_row);
        state_name_place(locations, event_->location);
    }
    for (uint32_t handle = unit_->raised; handle; raised_count++) {
        const raised_alert *raised = (const raised_alert *)arena_at(arena_, handle);
        bytes += 3 * STATE_NUMBER_BYTES + 2 + raised->event_id_length;
        state_name_place(operators, raised->operator_row);
        if (raised->location)
            state_name_place(locations, raised->location);
        handle = raised->next;
    }
    bytes += (1 + STATE_TEXT_MAX) * (operators->count + locations->count);

    uint8_t *value = output_room(output, bytes), *place = value + STATE_FRAME_BYTES;
    place = state_put_number(place, operators->count);
    for (uint64_t i = 0; i < operators->count; i++) {
        const interned_text *name = operator_name(customs, operators->rows[i]);
        place = state_put_text(place, name->bytes, name->length);
    }
    place = state_put_number(place, locations->count);
    for (uint64_t i = 0; i < locations->count; i++) {
        const interned_text *name = location_name(customs, locations->rows[i]);
        place = state_put_text(place, name->bytes, name->length);
    }
    place = state_put_number(place, unit_->event_count);
    int64_t previous_us = 0;
    for (uint32_t i = 0; i < unit_->event_count; i++) {
        const event *event_ = event_at(arena_, handles[i]);
        place = state_put_event(place, arena_, event_, previous_us,
                                state_name_place(operators, event_->operator_row),
                                state_name_place(locations, event_->location));
        previous_us = event_->time_us;
    }
    place = state_put_number(place, raised_count);
    for (uint32_t handle = unit_->raised; handle;) {
        const raised_alert *raised = (const raised_alert *)arena_at(arena_, handle);
        *place++ = (uint8_t)raised->type;
        place = state_put_number(place, raised->number);
        place = state_put_number(place, state_name_place(operators, raised->operator_row));
        place = state_put_number(
            place, raised->location ? state_name_place(locations, raised->location) + 1 : 0);
        place = state_put_text(place, raised->event_id, raised->event_id_length);
        handle = raised->next;
    }
    state_names_clear(operators);
    state_names_clear(locations);
    state_frame(value, place);
    return place;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void state_read_names(state_reader *reader, state_unit *read)
{
    uint64_t count = 0;
    for (int kind = 0; kind < 2; kind++) {
        uint32_t more = state_count(reader, 2);
        read->names = (text *)memory_grow(read->names, &read->name_capacity, count + more,
                                          sizeof *read->names, "names");
        for (uint32_t i = 0; i < more && !reader->wrong; i++)
            read->names[count++] = state_text(reader, 1);
        *(kind ? &read->location_count : &read->operator_count) = more;
    }
}

/* `count` numbers up to `most`, as they stand. */
static text state_numbers(state_reader *reader, uint32_t count, uint64_t most)
{
    const uint8_t *first = reader->at;
    for (uint32_t i = 0; i < count && !reader->wrong; i++)
        state_number_up_to(reader, most);
    return (text){first, (uint32_t)(reader->at - first)};
}

/* The same once more, each into its place. */
static void state_store_numbers(uint64_t *numbers, text read, uint32_t count)
{
    if (!count) /* then there may be no place to read from */
        return;
    state_reader reader = {read.bytes, read.bytes + read.length, 0};
    for (uint32_t i = 0; i < count; i++)
        numbers[i] = state_number(&reader);
}

static inline int64_t state_time(state_reader *reader, int64_t base)
{
    int64_t time = (int64_t)((uint64_t)base + (uint64_t)state_signed(reader));
    if (time > STATE_TIME_MAX || time < -STATE_TIME_MAX) {
        reader->wrong = 1;
        return 0;
    }
    return time;
}

static void state_read_seals(state_reader *reader, state_event *event_)
{
    event_->seal_count = (uint32_t)state_number_up_to(reader, SEALS_MAX);
    const uint8_t *first = reader->at;
    text previous = {NULL, 0};
    for (uint32_t i = 0; i < event_->seal_count && !reader->wrong; i++) {
        text seal = state_text(reader, 1);
        if (!reader->wrong && i && seal_order(&previous, &seal) >= 0)
            reader->wrong = 1;
        previous = seal;
    }
    event_->seals = (text){first, (uint32_t)(reader->at - first)};
}

/* Reads the next event; `previous_us` is the time of the one before. */
static void state_read_event(state_reader *reader, const state_unit *of, int64_t previous_us,
                             state_event *event_)
{
    event_->time_us = state_time(reader, previous_us);
    event_->version_us = state_time(reader, event_->time_us);
    event_->record_time_ms = state_time(reader, event_->time_us / 1000);
    uint32_t bits = state_byte(reader);
    bits |= (uint32_t)state_byte(reader) << 8;
    bits |= (uint32_t)state_byte(reader) << 16;
    event_->bits = bits;
    if (bits & STATE_UNUSED || (bits >> 7 & 7) >= PURPOSE_COUNT)
        reader->wrong = 1;
    event_->operator_place = (uint32_t)state_number(reader);
    event_->location_place = (uint32_t)state_number(reader);
    if (event_->operator_place >= of->operator_count ||
        event_->location_place >= of->location_count)
        reader->wrong = 1;
    event_->event_id = state_text(reader, 1);
    event_->pieces = 0;
    if (bits & STATE_PIECES)
        event_->pieces = (uint32_t)state_number_up_to(reader, UINT32_MAX);
    event_->weight_grams = 0;
    if (bits & STATE_WEIGHT)
        event_->weight_grams = state_number_up_to(reader, STATE_GRAMS_MAX - 1);
    event_->presented_count = event_->seal_count = event_->declaration_count = 0;
    event_->seals = event_->presented = (text){NULL, 0};
    if (bits & STATE_PRESENTED) {
        event_->presented_count = (uint32_t)state_number_up_to(reader, PRESENTED_MAX);
        event_->presented =
            state_numbers(reader, event_->presented_count, STATE_DECLARATION_MAX);
    }
    if (bits & STATE_SEALS)
        state_read_seals(reader, event_);
    event_->alerts = bits & STATE_ALERTS ? state_byte(reader) : 0;
    event_->sequence = 0;
    if (bits & STATE_CHECK) {
        event_->sequence = (uint32_t)state_number_up_to(reader, UINT32_MAX);
        event_->reasons = (uint32_t)state_number_up_to(reader, RULE_BIT(RULE_COUNT) - 1);
        event_->flags = (uint32_t)state_number_up_to(reader, RULE_BIT(RULE_COUNT) - 1);
        event_->declaration_count = state_count(reader, 1);
        event_->declarations =
            state_numbers(reader, event_->declaration_count, STATE_DECLARATION_MAX);
        if (!event_->sequence)
            reader->wrong = 1;
    }
}

static void state_read_raised(state_reader *reader, const state_unit *of, state_raised *raised)
{
    raised->type = state_byte(reader);
    raised->number = state_number(reader);
    raised->operator_place = (uint32_t)state_number(reader);
    raised->location_place = (uint32_t)state_number(reader);
    raised->event_id = state_text(reader, 0);
    if (raised->type < ALERT_RECALL || raised->type >= ALERT_COUNT ||
        raised->operator_place >= of->operator_count ||
        raised->location_place > of->location_count ||
        (raised->type == ALERT_OVERSTAYED) != (raised->location_place != 0))
        reader->wrong = 1;
}

/* Whether an event comes after the one before it in the order of time. */
static int state_event_follows(const state_unit *of, const state_event *before,
                               const state_event *event_)
{
    if (event_->time_us != before->time_us)
        return event_->time_us > before->time_us;
    int order =
        seal_order(&of->names[before->operator_place], &of->names[event_->operator_place]);
    return order ? order < 0 : seal_order(&before->event_id, &event_->event_id) < 0;
}

/* Reads a whole payload; NULL, or what is wrong with it. `class_` is that of its key. */
static const char *unit_state_read(state_reader *reader, uint8_t class_, state_unit *read)
{
    state_read_names(reader, read);
    if (reader->wrong)
        return "its names are damaged";
    read->event_count = state_count(reader, 10);
    read->events = (state_event *)memory_extend(read->events, &read->event_capacity,
                                                read->event_count, sizeof *read->events, "events");
    int64_t previous_us = 0;
    for (uint32_t i = 0; i < read->event_count; i++) {
        state_event *event_ = &read->events[i];
        state_read_event(reader, read, previous_us, event_);
        if (reader->wrong)
            return "an event of it is damaged";
        if (unit_class_of(event_->bits >> 3 & 3) != class_)
            return "an event of it is of the other class";
        if (i && !state_event_follows(read, event_ - 1, event_))
            return "its events are out of order";
        previous_us = event_->time_us;
    }
    read->raised_count = state_count(reader, 5);
    read->raised = (state_raised *)memory_extend(read->raised, &read->raised_capacity,
                                                 read->raised_count, sizeof *read->raised,
                                                 "raised alerts");
    for (uint32_t i = 0; i < read->raised_count; i++) {
        state_read_raised(reader, read, &read->raised[i]);
        if (reader->wrong)
            return "an alert of it is damaged";
    }
    if (reader->wrong || reader->at != reader->end)
        return "it does not end where it should";
    if (!read->event_count)
        return "a unit without events";
    return NULL;
}

/* Stores an event that was read and checked. */
static uint32_t event_from_state(arena *arena_, const state_event *read, uint32_t operator_row_,
                                 uint32_t location)
{
    uint64_t bytes = sizeof(event) + 8u * (uint64_t)read->presented_count + read->event_id.length +
                     read->seals.length;
    uint32_t handle = arena_allocate(arena_, bytes);
    event *event_ = event_at(arena_, handle);
    *event_ = (event){.time_us = read->time_us,
                      .version_us = read->version_us,
                      .record_time_ms = read->record_time_ms,
                      .weight_and_bits = read->weight_grams |
                                         (uint64_t)(read->bits & STATE_EVENT_BITS)
                                             << EVENT_BITS_AT,
                      .pieces = read->pieces,
                      .operator_row = operator_row_,
                      .location = location,
                      .block_bytes = (uint32_t)bytes,
                      .event_id_length = (uint8_t)read->event_id.length,
                      .seal_count = (uint8_t)read->seal_count,
                      .presented_count = (uint8_t)read->presented_count,
                      .alerts = read->alerts};
    uint8_t *place = event_->tail;
    state_store_numbers((uint64_t *)(void *)place, read->presented, read->presented_count);
    place += 8u * (uint64_t)read->presented_count;
    memcpy(place, read->event_id.bytes, read->event_id.length);
    if (read->seals.length)
        memcpy(place + read->event_id.length, read->seals.bytes, read->seals.length);
    if (read->sequence) {
        event_->check = arena_allocate(arena_, check_state_bytes(read->declaration_count));
        check_state *check = (check_state *)arena_at(arena_, event_->check);
        *check = (check_state){read->sequence, read->reasons, read->flags,
                               read->declaration_count};
        state_store_numbers(check->declarations, read->declarations, read->declaration_count);
    }
    return handle;
}

#endif
