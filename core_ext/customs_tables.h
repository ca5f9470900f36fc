/* Customs' side of the join: operators, declarations with their lines, and holds.
 *
 * What it is: the tables that the compacted topics `operators`, `declarations` and `holds` fill,
 * with the rules of CONTRACT.md sections 1 to 3 for versions, tombstones and lines. Each change
 * leaves in `touched` the units whose open checks have to be weighed again (section 5).
 * Who calls it: engine.h changes it, rules.h and decisions.h read it.
 * What it must never know: Kafka, JSON, which rows of section 5 a line makes stand.
 */
#ifndef GATEJOIN_CUSTOMS_TABLES_H
#define GATEJOIN_CUSTOMS_TABLES_H

#include "declaration_table.h"
#include "lookup_tables.h"
#include "memory.h"
#include "record_types.h"
#include "seal_sets.h"
#include "units.h"

#define NO_LOCATION 0 /* location rows count from 1 in everything that stores one */

typedef struct {
    int64_t version; /* NO_VERSION: not known, or removed by a tombstone */
    uint32_t *locations;
    uint32_t location_count;
    uint8_t kind, status;
} operator_row;

/* All that one declaration says of one unit at one location: "entries of one declaration for the
 * same unit, class and location are one line" (section 3). */
typedef struct {
    uint32_t unit;                /* unit row */
    uint32_t declaration;         /* declaration row */
    uint32_t next_of_unit;        /* arena handle, 0 none */
    uint32_t next_of_declaration; /* arena handle, 0 none */
    uint32_t location : 29;       /* locations are thousands */
    uint32_t shared : 1;
    uint32_t transit_end : 1;     /* the line that section 3 adds at a transit's destination */
    uint32_t has_quantities : 1;  /* line_quantities lie behind it */
    uint32_t seals;               /* seal_block, 0 none */
} line;

/* Lots have them, most containers do not: all lines of a declaration or none. */
typedef struct {
    int64_t pieces, weight_grams;
} line_quantities;

typedef struct {
    int64_t version;
    int64_t issued_us;
    uint32_t next[CLASS_COUNT];   /* scope UNIT: next hold (row + 1) of the container, of the lot;
                                     scope DECLARATION: [0] is the next hold of the declaration */
    uint32_t target[CLASS_COUNT]; /* unit rows, or [0] the declaration row */
    uint32_t seal;                /* seal_block with one seal, 0 none */
    uint8_t scope, reason, state;
} hold;

typedef struct {
    text_table operator_names, location_names, hold_names;
    operator_row *operators;
    uint64_t operator_capacity;
    hold *holds;
    uint64_t hold_capacity;
    declaration_table declarations;
    uint64_t line_count;
    seal_list scratch_seals;
} customs_tables;

static inline line *line_at(const arena *arena_, uint32_t handle)
{
    return (line *)arena_at(arena_, handle);
}

static inline uint64_t line_bytes(int has_quantities)
{
    return sizeof(line) + (has_quantities ? sizeof(line_quantities) : 0);
}

/* What is declared in a line: zeros where nothing is. */
static inline line_quantities line_declared(const line *line_)
{
    line_quantities none = {0, 0};
    return line_->has_quantities ? *(const line_quantities *)(const void *)(line_ + 1) : none;
}

static inline void line_declare_more(line *line_, int64_t pieces, int64_t weight_grams)
{
    if (!line_->has_quantities)
        return;
    line_quantities *declared = (line_quantities *)(void *)(line_ + 1);
    declared->pieces += pieces;
    declared->weight_grams += weight_grams;
}

static inline const declaration *line_declaration(const customs_tables *tables, const line *line_)
{
    return &tables->declarations.rows[line_->declaration];
}

/* The other end of a TRANSIT with a destination, or NULL. */
static inline const transit *declaration_transit(const arena *arena_,
                                                 const declaration *declaration_)
{
    return declaration_->transit ? (const transit *)arena_at(arena_, declaration_->transit) : NULL;
}

static inline int is_pass_status(uint8_t status)
{
    return status != STATUS_REGISTERED && status != STATUS_CANCELLED;
}

static inline uint32_t location_row(customs_tables *tables, text name)
{
    if (!name.length)
        return NO_LOCATION;
    return text_table_put(&tables->location_names, name.bytes, name.length, NULL) + 1;
}

static inline const interned_text *location_name(const customs_tables *tables, uint32_t row)
{
    return &tables->location_names.texts[row - 1];
}

static inline const interned_text *operator_name(const customs_tables *tables, uint32_t row)
{
    return &tables->operator_names.texts[row];
}

/* ---- operators ------------------------------------------------------------------------------- */

/* The row of an operator, registered or not. It stays for ever, since events and volumes refer to
 * it; operators are hundreds. */
static uint32_t operator_row_for(customs_tables *tables, text operator_id)
{
    int was_new;
    uint32_t row = text_table_put(&tables->operator_names, operator_id.bytes, operator_id.length,
                                  &was_new);
    if (was_new) {
        tables->operators =
            (operator_row *)memory_grow(tables->operators, &tables->operator_capacity,
                                        (uint64_t)row + 1, sizeof *tables->operators, "operators");
        tables->operators[row].version = NO_VERSION;
    }
    return row;
}

/* Takes a version of an operator; 1 if it took effect, 0 if it was a duplicate. */
static int customs_put_operator(customs_tables *tables, const operator_record *record)
{
    uint32_t row = operator_row_for(tables, record->operator_id);
    operator_row *operator_ = &tables->operators[row];
    if (record->version <= operator_->version)
        return 0;
    operator_->version = record->version;
    operator_->kind = record->kind;
    operator_->status = record->status;
    operator_->locations = (uint32_t *)memory_resize(
        operator_->locations, (uint64_t)record->location_count * 4, "an operator's locations");
    operator_->location_count = record->location_count;
    for (uint32_t i = 0; i < record->location_count; i++)
        operator_->locations[i] = location_row(tables, record->locations[i]);
    return 1;
}

static int customs_remove_operator(customs_tables *tables, const uint8_t *key, uint32_t length)
{
    uint32_t row = text_table_find(&tables->operator_names, key, length);
    if (row == NO_ROW || tables->operators[row].version == NO_VERSION)
        return 0;
    tables->operators[row].version = NO_VERSION;
    return 1;
}

/* ---- declarations ---------------------------------------------------------------------------- */

static void declaration_release_if_unknown(customs_tables *tables, uint32_t row)
{
    const declaration *declaration_ = &tables->declarations.rows[row];
    if (declaration_->version == NO_VERSION && !declaration_->holds)
        declaration_remove(&tables->declarations, row);
}

/* Takes back all that a version said but the holds: its lines come off their units, which are left
 * in `touched`. */
static void declaration_clear(customs_tables *tables, unit_table *units, arena *arena_,
                              declaration *declaration_, unit_rows *touched)
{
    uint32_t handle = declaration_->lines;
    while (handle) {
        line *line_ = line_at(arena_, handle);
        uint32_t next = line_->next_of_declaration;
        uint32_t *link = &units->rows[line_->unit].lines;
        while (*link != handle)
            link = &line_at(arena_, *link)->next_of_unit;
        *link = line_->next_of_unit;
        touch_unit(touched, units, line_->unit);
        seal_block_release(arena_, line_->seals);
        arena_release(arena_, handle, line_bytes(line_->has_quantities));
        tables->line_count--;
        handle = next;
    }
    declaration_->lines = 0;
    if (declaration_->transit)
        arena_release(arena_, declaration_->transit, sizeof(transit));
    declaration_->transit = 0;
}

/* The line of a declaration for a unit at a location, new if need be. */
static line *declaration_line(customs_tables *tables, unit_table *units, arena *arena_,
                              uint32_t declaration_row_, uint32_t unit_row, uint32_t location,
                              int has_quantities, int *was_new)
{
    for (uint32_t handle = units->rows[unit_row].lines; handle;) {
        line *line_ = line_at(arena_, handle);
        if (line_->declaration == declaration_row_ && line_->location == location) {
            *was_new = 0;
            return line_;
        }
        handle = line_->next_of_unit;
    }
    declaration *declaration_ = &tables->declarations.rows[declaration_row_];
    unit *unit_ = &units->rows[unit_row];
    uint32_t handle = arena_allocate(arena_, line_bytes(has_quantities));
    line *line_ = line_at(arena_, handle);
    *line_ = (line){.unit = unit_row,
                    .declaration = declaration_row_,
                    .next_of_unit = unit_->lines,
                    .next_of_declaration = declaration_->lines,
                    .location = location & ((1u << 29) - 1),
                    .has_quantities = has_quantities != 0};
    if (has_quantities)
        memset(line_ + 1, 0, sizeof(line_quantities));
    unit_->lines = declaration_->lines = handle;
    unit_->in_transit |= declaration_->direction == DIRECTION_TRANSIT;
    tables->line_count++;
    *was_new = 1;
    return line_;
}

static void line_unite_seals(customs_tables *tables, arena *arena_, line *line_, const text *seals,
                             uint32_t count)
{
    if (!count)
        return;
    seal_list *list = &tables->scratch_seals;
    list->count = 0;
    seal_list_add_block(list, arena_, line_->seals);
    for (uint32_t i = 0; i < count; i++)
        seal_list_add(list, seals[i].bytes, seals[i].length);
    seal_list_sort(list);
    uint32_t united = seal_block_store(arena_, list->seals, list->count);
    seal_block_release(arena_, line_->seals);
    line_->seals = united;
}

/* Takes a version of a declaration; 1 if it took effect, 0 if it was a duplicate. */
static int customs_put_declaration(customs_tables *tables, unit_table *units, arena *arena_,
                                   const declaration_record *record, unit_rows *touched)
{
    uint32_t row = declaration_find_or_add(&tables->declarations, record->number);
    declaration *declaration_ = &tables->declarations.rows[row];
    if (record->version <= declaration_->version)
        return 0;
    declaration_clear(tables, units, arena_, declaration_, touched);
    declaration_->version = record->version;
    declaration_->direction = record->direction & 3;
    declaration_->status = record->status & 7;
    declaration_->registered_us = record->registered_us;
    declaration_->status_us = record->status_us;
    const uint32_t location_of_all = location_row(tables, record->location_code);
    uint32_t destination = NO_LOCATION;
    if (record->direction == DIRECTION_TRANSIT)
        destination = location_row(tables, record->destination_location_code);
    if (destination) {
        declaration_->transit = arena_allocate(arena_, sizeof(transit));
        *(transit *)arena_at(arena_, declaration_->transit) =
            (transit){record->arrive_by_us, destination};
    }
    int has_quantities = 0;
    for (uint32_t i = 0; i < record->unit_count; i++)
        has_quantities |= record->units[i].has_pieces || record->units[i].has_weight;
    for (uint32_t i = 0; i < record->unit_count; i++) {
        const declaration_unit *entry = &record->units[i];
        uint32_t unit_row =
            unit_table_find_or_add(units, &entry->unit, unit_class_of(entry->unit_type));
        uint32_t location = entry->location_code.length
                                ? location_row(tables, entry->location_code)
                                : location_of_all;
        int was_new;
        line *line_ = declaration_line(tables, units, arena_, row, unit_row, location,
                                       has_quantities, &was_new);
        line_declare_more(line_, entry->has_pieces ? entry->pieces : 0,
                          entry->has_weight ? entry->weight_grams : 0);
        line_->shared |= entry->shared & 1;
        line_unite_seals(tables, arena_, line_, entry->seals.seals, entry->seals.count);
        touch_unit(touched, units, unit_row);
    }
    if (destination) {
        /* The same goods pass a second gate. New lines go to the front of the list, so the walk
         * meets only the lines that were declared. */
        uint32_t handle = declaration_->lines;
        while (handle) {
            line *line_ = line_at(arena_, handle);
            handle = line_->next_of_declaration;
            if (line_->location == destination)
                continue;
            int was_new;
            line *end = declaration_line(tables, units, arena_, row, line_->unit, destination,
                                         has_quantities, &was_new);
            if (was_new)
                end->transit_end = 1;
            if (!end->transit_end)
                continue; /* customs declared a line of the unit there */
            const line_quantities declared_there = line_declared(line_);
            line_declare_more(end, declared_there.pieces, declared_there.weight_grams);
            end->shared |= line_->shared;
            seal_list declared = {0};
            seal_list_add_block(&declared, arena_, line_->seals);
            line_unite_seals(tables, arena_, end, declared.seals, (uint32_t)declared.count);
            free(declared.seals);
        }
    }
    return 1;
}

static int customs_remove_declaration(customs_tables *tables, unit_table *units, arena *arena_,
                                      uint64_t number, unit_rows *touched)
{
    uint32_t row = declaration_find(&tables->declarations, number);
    if (row == DECLARATION_ROW_NONE)
        return 0;
    declaration *declaration_ = &tables->declarations.rows[row];
    if (declaration_->version == NO_VERSION)
        return 0;
    declaration_clear(tables, units, arena_, declaration_, touched);
    declaration_->version = NO_VERSION;
    declaration_release_if_unknown(tables, row);
    return 1;
}

/* ---- holds ----------------------------------------------------------------------------------- */

/* Leaves in `touched` the units that a hold is about. */
static void hold_touch(const customs_tables *tables, unit_table *units, const arena *arena_,
                       const hold *hold_, unit_rows *touched)
{
    if (hold_->scope == SCOPE_UNIT) {
        for (int class_ = 0; class_ < CLASS_COUNT; class_++)
            touch_unit(touched, units, hold_->target[class_]);
        return;
    }
    for (uint32_t handle = tables->declarations.rows[hold_->target[0]].lines; handle;) {
        const line *line_ = line_at(arena_, handle);
        touch_unit(touched, units, line_->unit);
        handle = line_->next_of_declaration;
    }
}

static void hold_unlink(customs_tables *tables, unit_table *units, uint32_t row)
{
    hold *hold_ = &tables->holds[row];
    int chains = hold_->scope == SCOPE_UNIT ? CLASS_COUNT : 1;
    for (int chain = 0; chain < chains; chain++) {
        uint32_t *link = hold_->scope == SCOPE_UNIT
                             ? &units->rows[hold_->target[chain]].holds
                             : &tables->declarations.rows[hold_->target[chain]].holds;
        while (*link != row + 1)
            link = &tables->holds[*link - 1].next[chain];
        *link = hold_->next[chain];
    }
    if (hold_->scope == SCOPE_DECLARATION)
        declaration_release_if_unknown(tables, hold_->target[0]);
}

/* Takes a version of a hold; 1 if it took effect, 0 if it was a duplicate. */
static int customs_put_hold(customs_tables *tables, unit_table *units, arena *arena_,
                            const hold_record *record, unit_rows *touched)
{
    int was_new;
    uint32_t row = text_table_put(&tables->hold_names, record->hold_id.bytes,
                                  record->hold_id.length, &was_new);
    tables->holds = (hold *)memory_extend(tables->holds, &tables->hold_capacity,
                                          (uint64_t)row + 1, sizeof *tables->holds, "holds");
    if (!was_new) {
        if (record->version <= tables->holds[row].version)
            return 0;
        hold_touch(tables, units, arena_, &tables->holds[row], touched);
        hold_unlink(tables, units, row);
        seal_block_release(arena_, tables->holds[row].seal);
    }
    hold *hold_ = &tables->holds[row];
    *hold_ = (hold){.version = record->version,
                    .issued_us = record->issued_us,
                    .scope = record->scope,
                    .reason = record->reason,
                    .state = record->state};
    if (record->reason == REASON_CUSTOMS_SEAL)
        hold_->seal = seal_block_store(arena_, &record->seal, 1);
    if (record->scope == SCOPE_UNIT) {
        for (int class_ = 0; class_ < CLASS_COUNT; class_++) {
            uint32_t target = unit_table_find_or_add(units, &record->unit, (uint8_t)class_);
            hold_->target[class_] = target;
            hold_->next[class_] = units->rows[target].holds;
            units->rows[target].holds = row + 1;
        }
    } else {
        hold_->target[0] = declaration_find_or_add(
            &tables->declarations, record->declaration_number);
        declaration *declaration_ = &tables->declarations.rows[hold_->target[0]];
        hold_->next[0] = declaration_->holds;
        declaration_->holds = row + 1;
    }
    hold_touch(tables, units, arena_, hold_, touched);
    return 1;
}

static int customs_remove_hold(customs_tables *tables, unit_table *units, arena *arena_,
                               const uint8_t *key, uint32_t length, unit_rows *touched)
{
    uint32_t row = text_table_find(&tables->hold_names, key, length);
    if (row == NO_ROW)
        return 0;
    hold_touch(tables, units, arena_, &tables->holds[row], touched);
    hold_unlink(tables, units, row);
    seal_block_release(arena_, tables->holds[row].seal);
    text_table_remove(&tables->hold_names, row);
    return 1;
}

static void customs_tables_free(customs_tables *tables)
{
    for (uint64_t i = 0; i < tables->operator_capacity; i++)
        free(tables->operators[i].locations);
    free(tables->operators);
    free(tables->holds);
    declaration_table_free(&tables->declarations);
    free(tables->scratch_seals.seals);
    text_table_free(&tables->operator_names);
    text_table_free(&tables->location_names);
    text_table_free(&tables->hold_names);
    memset(tables, 0, sizeof *tables);
}

#endif
