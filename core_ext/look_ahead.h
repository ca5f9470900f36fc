/* Bringing the state of coming records into the cache.
 *
 * What it is: the units that a few dozen port events are about, told from their keys alone, looked
 * up together step by step (index, unit, events and lines), so that the misses of one step overlap
 * instead of stopping every record in turn. Nothing depends on it but speed: a wrong guess, a null
 * key, a unit that is not there yet cost a little time and change nothing. The same for
 * declarations, which a worker reads by millions when it starts; their units are guessed from the
 * text.
 * Who calls it: engine.h before it applies those records.
 * What it must never know: what a record says, beyond such guesses.
 *
 * Plain loads rather than prefetches: in a virtual machine a prefetch that misses the TLB is
 * dropped or waited for (unit_index.h).
 */
#ifndef GATEJOIN_LOOK_AHEAD_H
#define GATEJOIN_LOOK_AHEAD_H

#include "engine_state.h"

/* Long enough for the misses to overlap, short enough that what was fetched is still there. */
#define LOOK_AHEAD UNIT_TOUCH_KEYS

#define LOOK_AT(address) ((void)*(const volatile uint32_t *)(const void *)(address))

/* Whether a key is a declaration number, 12 digits, and which. */
static inline int declaration_number_of_key(const record_view *record, uint64_t *number)
{
    *number = 0;
    if (record->key_length != 12)
        return 0;
    for (int i = 0; i < 12; i++) {
        if (record->key[i] < '0' || record->key[i] > '9')
            return 0;
        *number = *number * 10 + (uint64_t)(record->key[i] - '0');
    }
    return 1;
}

/* Where `what` is in a text; tried first is `*place`, where it was in the text before, as records
 * that follow each other are mostly written alike. NULL if it is nowhere. */
static inline const uint8_t *find_where_it_was(const uint8_t *in, uint64_t size, const char *what,
                                               uint64_t length, uint64_t *place)
{
    if (*place + length <= size && !memcmp(in + *place, what, length))
        return in + *place;
    const uint8_t *found = (const uint8_t *)memmem(in, size, what, length);
    if (found)
        *place = (uint64_t)(found - in);
    return found;
}

/* The first unit in the text of a declaration, as it is most often written. `places` are those of
 * the record before. */
static inline unit_key first_unit_of_text(const unit_index *index, const record_view *record,
                                          uint64_t places[2])
{
    static const char before[] = "\"unit\":\"", container[] = "\"CONTAINER\"";
    unit_key none = {.bits = UNIT_KEY_INVALID};
    if (record->value_length <= 0)
        return none;
    uint64_t size = (uint64_t)record->value_length;
    const uint8_t *name =
        find_where_it_was(record->value, size, before, sizeof before - 1, &places[0]);
    if (!name)
        return none;
    name += sizeof before - 1;
    size -= (uint64_t)(name - record->value);
    const uint8_t *end = (const uint8_t *)memchr(name, '"', size);
    if (!end || end - name > UNIT_NAME_MAX)
        return none;
    size -= (uint64_t)(end - name);
    return unit_index_key(index, name, (uint32_t)(end - name),
                          !find_where_it_was(end, size, container, sizeof container - 1,
                                             &places[1]));
}

/* The same for declarations: their numbers are looked up together, and the units that they name
 * first. At most LOOK_AHEAD records. */
static void look_ahead_of_declarations(const engine *engine_, const record_view *records,
                                       uint32_t count)
{
    const unit_index *index = &engine_->units.index;
    uint64_t numbers[LOOK_AHEAD];
    unit_key keys[LOOK_AHEAD];
    uint64_t places[2] = {0, 0};
    uint32_t number_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        number_count += (uint32_t)declaration_number_of_key(&records[i], &numbers[number_count]);
        keys[i] = first_unit_of_text(index, &records[i], places);
    }
    declaration_touch(&engine_->customs.declarations, numbers, number_count);
    unit_index_touch(index, keys, count);
    unit_index_touch_names(index, keys, count);
}

/* `topics`: of each record, or NULL where all are port events; at most LOOK_AHEAD records. */
static void look_ahead(const engine *engine_, const uint8_t *topics, const record_view *records,
                       uint32_t count)
{
    const unit_index *index = &engine_->units.index;
    const arena *arena_ = &engine_->arena_;
    unit_key keys[LOOK_AHEAD];
    const record_view *wanted[LOOK_AHEAD];
    const unit *units[LOOK_AHEAD];
    uint32_t key_count = 0, found = 0;
    for (uint32_t i = 0; i < count; i++) {
        const record_view *record = &records[i];
        if ((topics && topics[i] != TOPIC_PORT_EVENTS) || record->key_length <= 0 ||
            record->key_length > UNIT_NAME_MAX)
            continue;
        uint32_t length = (uint32_t)record->key_length;
        unit_key key = unit_index_key(index, record->key, length, 0);
        if (!unit_key_is_container_number(key)) /* then most likely a lot */
            key = unit_index_key(index, record->key, length, 1);
        wanted[key_count] = record;
        keys[key_count++] = key;
    }
    unit_index_touch(index, keys, key_count);
    unit_index_touch_names(index, keys, key_count);
    for (uint32_t i = 0; i < key_count; i++) {
        uint32_t row =
            unit_index_find(index, keys[i], wanted[i]->key, (uint32_t)wanted[i]->key_length);
        if (row != UINT32_MAX)
            units[found++] = unit_at(engine_, row);
    }
    for (uint32_t i = 0; i < found; i++)
        LOOK_AT(units[i]);
    for (uint32_t i = 0; i < found; i++) {
        if (units[i]->event_count)
            LOOK_AT(unit_events_array(arena_, units[i]));
        if (units[i]->lines)
            LOOK_AT(line_at(arena_, units[i]->lines));
    }
    for (uint32_t i = 0; i < found; i++) {
        if (units[i]->event_count) {
            const uint32_t *handles = unit_events_array(arena_, units[i]);
            LOOK_AT(event_at(arena_, handles[0]));
            LOOK_AT(event_at(arena_, handles[units[i]->event_count - 1]));
        }
        if (units[i]->lines)
            LOOK_AT(line_declaration(&engine_->customs, line_at(arena_, units[i]->lines)));
    }
}

#endif
