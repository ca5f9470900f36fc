/* The 24 rows of CONTRACT.md section 5 as facts.
 *
 * What it is: `weigh` looks at one GATE_CHECK or GET_OUT, the rest of its unit's events, and
 * customs' lines and holds, and says which rows stand, one bit each, with the declarations and
 * holds weighed and the operands that an explanation shows.
 * Who calls it: decisions.h (open checks), alerts.h (UNAUTHORISED_EXIT).
 * What it must never know: what a standing row does. HOLD, FLAG or OFF, from when to when, with
 * which words, is policy and comes as data (stream/policy.py).
 */
#ifndef GATEJOIN_RULES_H
#define GATEJOIN_RULES_H

#include "customs_tables.h"
#include "unit_events.h"
#include "units.h"

/* Bit i is row i + 1 of the table. */
enum rule {
    RULE_NOT_DECLARED, RULE_ALREADY_PASSED, RULE_REVOKED, RULE_WRONG_LOCATION,
    RULE_WRONG_DIRECTION, RULE_NOT_CLEARED, RULE_DECLARATIONS_INCOMPLETE,
    RULE_DECLARATION_MISMATCH, RULE_DUPLICATE_UNIT, RULE_STOPPED, RULE_SCAN_PENDING,
    RULE_CUSTOMS_SEAL_REQUIRED, RULE_SEAL_MISMATCH, RULE_QUANTITY_EXCEEDED, RULE_QUANTITY_MISSING,
    RULE_NO_DOCUMENT, RULE_DECLARED_GOODS, RULE_OPERATOR_SUSPENDED, RULE_NOT_IN_STOCK,
    RULE_CHECK_DIGIT, RULE_OVERSTAYED, RULE_CLOCK_AHEAD, RULE_SEAL_UNSEEN, RULE_STALE_DECLARATION,
    RULE_COUNT
};
#define RULE_BIT(rule) (UINT32_C(1) << (rule))

static const char *const rule_codes[RULE_COUNT] = {
    "NOT_DECLARED", "ALREADY_PASSED", "REVOKED", "WRONG_LOCATION", "WRONG_DIRECTION",
    "NOT_CLEARED", "DECLARATIONS_INCOMPLETE", "DECLARATION_MISMATCH", "DUPLICATE_UNIT", "STOPPED",
    "SCAN_PENDING", "CUSTOMS_SEAL_REQUIRED", "SEAL_MISMATCH", "QUANTITY_EXCEEDED",
    "QUANTITY_MISSING", "NO_DOCUMENT", "DECLARED_GOODS", "OPERATOR_SUSPENDED", "NOT_IN_STOCK",
    "CHECK_DIGIT", "OVERSTAYED", "CLOCK_AHEAD", "SEAL_UNSEEN", "STALE_DECLARATION"};

/* The parameters of a rules file (CONTRACT.md section 6) in the engine's own units. */
typedef struct {
    int64_t overstay_us, late_import_us, late_export_us, clock_ahead_us;
    int64_t return_us, stale_us, reservation_us;
    int64_t weight_tolerance_thousandths; /* of a percent */
} rule_parameters;

/* What is the case with one line of the unit. */
enum {
    LINE_OPEN = 1, LINE_HERE = 2, LINE_SAME_DIRECTION = 4, LINE_COVERING = 8, LINE_PASSING = 16,
    LINE_CANCELLED = 32, LINE_CONSUMED = 64
};
typedef struct {
    const line *line_;
    const declaration *declaration_;
    uint32_t facts;
    int64_t consumed_us; /* the latest GET_OUT that consumed it, where LINE_CONSUMED */
} weighed_line;

typedef struct {
    uint32_t facts; /* bit per row */
    weighed_line *lines; /* all lines of the unit */
    uint64_t line_count, line_capacity;
    const declaration **declarations; /* weighed, ascending by number */
    uint64_t declaration_count, declaration_capacity;
    uint32_t *holds; /* weighed: hold rows, ascending by holdID bytewise */
    uint64_t hold_count, hold_capacity;
    seal_list seals_expected, seals_seen, seals_customs; /* the first two without the third */
    uint8_t needs_declaration, in_stock, has_account, by_pieces, has_asked, resealed;
    uint32_t missing_quantities; /* GET_OUTs that count as passed, without a quantity */
    int64_t latest_in_us;        /* the latest GET_IN at the location, INT64_MIN: none */
    int64_t asked, passed, reserved, allowed; /* pieces if by_pieces, else grams */
    handle_list open_checks;                  /* scratch */
} weighing;

static void weighing_free(weighing *weighing_)
{
    free(weighing_->lines);
    free(weighing_->declarations);
    free(weighing_->holds);
    free(weighing_->seals_expected.seals);
    free(weighing_->seals_seen.seals);
    free(weighing_->seals_customs.seals);
    free(weighing_->open_checks.handles);
    memset(weighing_, 0, sizeof *weighing_);
}

static inline int needs_declaration(const event *event_)
{
    return event_->direction != DIRECTION_DOMESTIC && event_->purpose != PURPOSE_EMPTY &&
           event_->purpose != PURPOSE_DOMESTIC && event_->purpose != PURPOSE_SEIZED;
}

/* "Of a GET_OUT, which may be reported late: a pass status counts only if statusDateTime is absent
 * or at most a minute after the event." */
static inline int passes_for(const declaration *declaration_, const event *event_)
{
    return is_pass_status(declaration_->status) &&
           (event_->event_type != EVENT_GET_OUT || declaration_->status_us == NO_TIME ||
            declaration_->status_us <= event_->time_us + GATE_CLOCK_US);
}

/* Is a quantity above what is allowed, the tolerance added where the account is in weight? */
static inline int exceeds(int64_t quantity, int64_t allowed, int by_pieces,
                          const rule_parameters *parameters)
{
    const int64_t whole = 100000; /* thousandths of a percent */
    int64_t tolerance = by_pieces ? 0 : parameters->weight_tolerance_thousandths;
    return (__int128)quantity * whole > (__int128)allowed * (whole + tolerance);
}

static inline void weighed_declaration_add(weighing *weighing_, const declaration *declaration_)
{
    for (uint64_t i = 0; i < weighing_->declaration_count; i++)
        if (weighing_->declarations[i] == declaration_)
            return;
    weighing_->declarations = (const declaration **)memory_grow(
        (void *)weighing_->declarations, &weighing_->declaration_capacity,
        weighing_->declaration_count + 1, sizeof *weighing_->declarations, "declarations weighed");
    uint64_t place = weighing_->declaration_count++;
    while (place && weighing_->declarations[place - 1]->number > declaration_->number) {
        weighing_->declarations[place] = weighing_->declarations[place - 1];
        place--;
    }
    weighing_->declarations[place] = declaration_;
}

static inline void weighed_hold_add(const customs_tables *tables, weighing *weighing_, uint32_t row)
{
    weighing_->holds =
        (uint32_t *)memory_grow(weighing_->holds, &weighing_->hold_capacity,
                                weighing_->hold_count + 1, sizeof *weighing_->holds, "holds");
    const interned_text *name = &tables->hold_names.texts[row];
    uint64_t place = weighing_->hold_count++;
    while (place) {
        const interned_text *before = &tables->hold_names.texts[weighing_->holds[place - 1]];
        if (bytes_compare((const uint8_t *)before->bytes, before->length,
                         (const uint8_t *)name->bytes, name->length) < 0)
            break;
        weighing_->holds[place] = weighing_->holds[place - 1];
        place--;
    }
    weighing_->holds[place] = row;
}

/* Adds the active holds of a chain; "of a GET_OUT ... a hold [counts] only if issuedDateTime is not
 * after it". */
static void weigh_holds(const customs_tables *tables, uint32_t first, int chain,
                        const event *event_, weighing *weighing_)
{
    for (uint32_t link = first; link; link = tables->holds[link - 1].next[chain]) {
        const hold *hold_ = &tables->holds[link - 1];
        if (hold_->state == HOLD_ACTIVE &&
            (event_->event_type != EVENT_GET_OUT || hold_->issued_us <= event_->time_us))
            weighed_hold_add(tables, weighing_, link - 1);
    }
}

/* Fills `lines`: every line of the unit and what is the case with it. */
static void weigh_lines(const customs_tables *tables, const arena *arena_, const unit *unit_,
                        const event_view *others, const event *event_, weighing *weighing_)
{
    weighing_->line_count = 0;
    for (uint32_t handle = unit_->lines; handle;) {
        const line *line_ = line_at(arena_, handle);
        handle = line_->next_of_unit;
        const declaration *declaration_ = line_declaration(tables, line_);
        weighed_line weighed = {line_, declaration_, 0, NO_TIME};
        if (declaration_->status == STATUS_CANCELLED)
            weighed.facts |= LINE_CANCELLED;
        if (unit_->class_ == CLASS_CONTAINER) {
            const event *leaving = latest_leaving(others, line_->location, declaration_->direction,
                                                  declaration_->registered_us);
            if (leaving) {
                weighed.facts |= LINE_CONSUMED;
                weighed.consumed_us = leaving->time_us;
            }
        }
        if (!(weighed.facts & (LINE_CANCELLED | LINE_CONSUMED)) &&
            (!line_->transit_end || in_stock_at(others, line_->location, FOR_EVER)))
            weighed.facts |= LINE_OPEN;
        if (line_->location == event_->location)
            weighed.facts |= LINE_HERE;
        if (declaration_->direction == event_->direction)
            weighed.facts |= LINE_SAME_DIRECTION;
        if (passes_for(declaration_, event_))
            weighed.facts |= LINE_PASSING;
        const uint32_t covering = LINE_OPEN | LINE_HERE | LINE_SAME_DIRECTION;
        if (weighing_->needs_declaration && (weighed.facts & covering) == covering)
            weighed.facts |= LINE_COVERING;
        weighing_->lines = (weighed_line *)memory_grow(
            weighing_->lines, &weighing_->line_capacity, weighing_->line_count + 1,
            sizeof *weighing_->lines, "lines weighed");
        weighing_->lines[weighing_->line_count++] = weighed;
    }
}

static inline int weighed_declaration_has(const weighing *weighing_, uint64_t number)
{
    for (uint64_t i = 0; i < weighing_->declaration_count; i++)
        if (weighing_->declarations[i]->number == number)
            return 1;
    return 0;
}

static inline int presented_has(const event *event_, uint64_t number)
{
    for (uint32_t i = 0; i < event_->presented_count; i++)
        if (event_presented(event_)[i] == number)
            return 1;
    return 0;
}

/* Weighs every line that has all the facts of `wanted`; 1 if there was one. */
static int weigh_lines_with(weighing *weighing_, uint32_t wanted)
{
    int found = 0;
    for (uint64_t i = 0; i < weighing_->line_count; i++)
        if ((weighing_->lines[i].facts & wanted) == wanted) {
            weighed_declaration_add(weighing_, weighing_->lines[i].declaration_);
            found = 1;
        }
    return found;
}

/* Why nothing covers: exactly the first that fits of rows 2, 3, 4, 5, 1. */
static enum rule weigh_uncovered(weighing *weighing_, const stock_account *stock,
                                 const rule_parameters *parameters)
{
    const uint32_t here = LINE_HERE | LINE_SAME_DIRECTION;
    for (uint64_t i = 0; i < weighing_->line_count; i++) {
        const weighed_line *weighed = &weighing_->lines[i];
        if ((weighed->facts & (here | LINE_CONSUMED)) == (here | LINE_CONSUMED) &&
            (stock->latest_in_us == INT64_MIN ||
             stock->latest_in_us <= weighed->consumed_us + parameters->return_us))
            weighed_declaration_add(weighing_, weighed->declaration_);
    }
    if (weighing_->declaration_count)
        return RULE_ALREADY_PASSED;
    if (weigh_lines_with(weighing_, here | LINE_CANCELLED))
        return RULE_REVOKED;
    if (weigh_lines_with(weighing_, LINE_OPEN | LINE_HERE))
        return RULE_WRONG_DIRECTION;
    if (weigh_lines_with(weighing_, LINE_OPEN))
        return RULE_WRONG_LOCATION;
    return RULE_NOT_DECLARED;
}

/* What other trucks have been promised: "the lot's other open checks at L of the same direction,
 * purpose CLEARANCE, in time order, from 24 hours before this one up to this one; each that still
 * fits reserves it". */
static int64_t weigh_reserved(const customs_tables *tables, const arena *arena_, const unit *unit_,
                              const event *check, weighing *weighing_,
                              const rule_parameters *parameters)
{
    event_view everything = unit_events_view(arena_, unit_, NULL);
    weighing_->open_checks.count = 0;
    open_checks_at(&everything, check->location, &weighing_->open_checks);
    int64_t reserved = 0;
    for (uint64_t i = 0; i < weighing_->open_checks.count; i++) {
        const event *other = event_at(arena_, weighing_->open_checks.handles[i]);
        if (other == check || event_order(tables, other, check) > 0)
            break; /* they are in the order of time */
        if (other->time_us < check->time_us - parameters->reservation_us ||
            other->direction != check->direction || other->purpose != PURPOSE_CLEARANCE ||
            !has_quantity(other, weighing_->by_pieces))
            continue;
        int64_t quantity = quantity_of(other, weighing_->by_pieces);
        if (!exceeds(weighing_->passed + reserved + quantity, weighing_->allowed,
                     weighing_->by_pieces, parameters))
            reserved += quantity;
    }
    return reserved;
}

/* Rows 14 and 15, of a lot that is covered. */
static uint32_t weigh_quantities(const customs_tables *tables, const arena *arena_,
                                 const unit *unit_, const event_view *others, const event *event_,
                                 weighing *weighing_, const rule_parameters *parameters)
{
    int64_t pieces = 0, grams = 0, passing_pieces = 0, passing_grams = 0, passing = 0;
    for (uint64_t i = 0; i < weighing_->line_count; i++) {
        const weighed_line *weighed = &weighing_->lines[i];
        if (!(weighed->facts & LINE_COVERING))
            continue;
        const line_quantities declared = line_declared(weighed->line_);
        pieces += declared.pieces;
        grams += declared.weight_grams;
        if (weighed->facts & LINE_PASSING) {
            passing++;
            passing_pieces += declared.pieces;
            passing_grams += declared.weight_grams;
        }
    }
    int by_pieces = pieces > 1 || grams == 0;
    weighing_->has_account = 1;
    weighing_->by_pieces = (uint8_t)by_pieces;
    weighing_->allowed = by_pieces ? passing_pieces : passing_grams;
    weighing_->has_asked = (uint8_t)has_quantity(event_, by_pieces);
    weighing_->asked = quantity_of(event_, by_pieces);
    passed_quantity passed =
        passed_at(others, event_->location, event_->direction, by_pieces);
    weighing_->passed = passed.quantity;
    weighing_->missing_quantities = passed.missing;
    uint32_t facts = 0;
    if (!weighing_->has_asked || weighing_->missing_quantities)
        facts |= RULE_BIT(RULE_QUANTITY_MISSING);
    if (event_->event_type == EVENT_GATE_CHECK)
        weighing_->reserved =
            weigh_reserved(tables, arena_, unit_, event_, weighing_, parameters);
    if (passing && weighing_->has_asked &&
        exceeds(weighing_->passed + weighing_->reserved + weighing_->asked, weighing_->allowed,
                by_pieces, parameters))
        facts |= RULE_BIT(RULE_QUANTITY_EXCEEDED);
    return facts;
}

/* Rows 12, 13 and 23. The lists stay in the weighing for an explanation. */
static uint32_t weigh_seals(const customs_tables *tables, const arena *arena_,
                            const event_view *others, const event *event_, int64_t latest_out_us,
                            weighing *weighing_)
{
    seal_list *expected = &weighing_->seals_expected, *seen = &weighing_->seals_seen,
              *customs = &weighing_->seals_customs;
    expected->count = seen->count = customs->count = 0;
    event_seals(event_, seen);
    uint32_t facts = 0;
    for (uint64_t i = 0; i < weighing_->hold_count; i++) {
        const hold *hold_ = &tables->holds[weighing_->holds[i]];
        if (hold_->reason != REASON_CUSTOMS_SEAL)
            continue;
        seal_list_add_block(customs, arena_, hold_->seal);
        const text *seal = &customs->seals[customs->count - 1];
        if (!seal_list_has(seen, seal->bytes, seal->length))
            facts |= RULE_BIT(RULE_CUSTOMS_SEAL_REQUIRED);
    }
    const event *reseal = latest_reseal(others, event_->location);
    weighing_->resealed = reseal && latest_out_us <= reseal->time_us;
    if (weighing_->resealed) {
        event_seals(reseal, expected);
    } else {
        for (uint64_t i = 0; i < weighing_->line_count; i++)
            if (weighing_->lines[i].facts & LINE_COVERING)
                seal_list_add_block(expected, arena_, weighing_->lines[i].line_->seals);
        seal_list_sort(expected);
    }
    seal_list_subtract(expected, customs);
    seal_list_subtract(seen, customs);
    if (expected->count) {
        if (!event_->looked)
            facts |= RULE_BIT(RULE_SEAL_UNSEEN);
        else if (!seal_list_equal(expected, seen))
            facts |= RULE_BIT(RULE_SEAL_MISMATCH);
    }
    return facts;
}

/* Rows 6 to 9 and 24, of a passage that is covered. */
static uint32_t weigh_covered(const unit *unit_, const event *event_, int scan_hold,
                              const weighing *weighing_, const rule_parameters *parameters)
{
    uint32_t facts = 0;
    uint64_t passing = 0, covering = 0;
    int all_shared = 1, all_presented = 1;
    for (uint64_t i = 0; i < weighing_->line_count; i++) {
        const weighed_line *weighed = &weighing_->lines[i];
        if (!(weighed->facts & LINE_COVERING))
            continue;
        covering++;
        passing += (weighed->facts & LINE_PASSING) != 0;
        all_shared &= weighed->line_->shared;
        all_presented &= presented_has(event_, weighed->declaration_->number);
        if (event_->time_us - weighed->declaration_->registered_us > parameters->stale_us)
            facts |= RULE_BIT(RULE_STALE_DECLARATION);
    }
    int container = unit_->class_ == CLASS_CONTAINER;
    int to_the_scanner = event_->purpose == PURPOSE_INSPECTION && scan_hold;
    if (!to_the_scanner) {
        if (!passing)
            facts |= RULE_BIT(RULE_NOT_CLEARED);
        if (container && ((passing && passing < covering) ||
                          (event_->presented_count && !all_presented)))
            facts |= RULE_BIT(RULE_DECLARATIONS_INCOMPLETE);
    }
    for (uint32_t i = 0; i < event_->presented_count; i++)
        if (!weighed_declaration_has(weighing_, event_presented(event_)[i]))
            facts |= RULE_BIT(RULE_DECLARATION_MISMATCH);
    if (container && covering > 1 && !all_shared)
        facts |= RULE_BIT(RULE_DUPLICATE_UNIT);
    return facts;
}

/* Which rows stand for a GATE_CHECK or GET_OUT of a unit, "the unit's other events being its
 * state". `check_digit_fits` is whether the name is a container number of ISO 6346. */
static void weigh(const customs_tables *tables, const unit *unit_, const arena *arena_,
                  const event *event_, int check_digit_fits, const rule_parameters *parameters,
                  weighing *weighing_)
{
    event_view others = unit_events_view(arena_, unit_, event_);
    stock_account stock = stock_at(&others, event_->location, FOR_EVER);
    weighing_->in_stock = (uint8_t)stock_account_in_stock(&stock, unit_->class_);
    weighing_->needs_declaration = (uint8_t)needs_declaration(event_);
    weighing_->declaration_count = weighing_->hold_count = 0;
    weighing_->asked = weighing_->passed = weighing_->reserved = weighing_->allowed = 0;
    weighing_->has_account = weighing_->by_pieces = weighing_->has_asked = 0;
    weighing_->missing_quantities = 0;
    weighing_->latest_in_us = stock.latest_in_us;
    uint32_t facts = 0;

    weigh_lines(tables, arena_, unit_, &others, event_, weighing_);
    weigh_holds(tables, unit_->holds, unit_->class_, event_, weighing_);
    for (uint64_t i = 0; i < weighing_->line_count; i++)
        if ((weighing_->lines[i].facts & (LINE_OPEN | LINE_HERE)) == (LINE_OPEN | LINE_HERE))
            weigh_holds(tables, weighing_->lines[i].declaration_->holds, 0, event_, weighing_);
    int scan_hold = 0;
    for (uint64_t i = 0; i < weighing_->hold_count; i++) {
        uint8_t reason = tables->holds[weighing_->holds[i]].reason;
        scan_hold |= reason == REASON_SCAN;
        if (reason == REASON_STOP)
            facts |= RULE_BIT(RULE_STOPPED);
    }
    if (scan_hold && event_->purpose != PURPOSE_INSPECTION)
        facts |= RULE_BIT(RULE_SCAN_PENDING);

    if (!weighing_->needs_declaration) {
        if (!event_->has_document)
            facts |= RULE_BIT(RULE_NO_DOCUMENT);
        if (event_->purpose != PURPOSE_SEIZED &&
            weigh_lines_with(weighing_, LINE_OPEN | LINE_HERE))
            facts |= RULE_BIT(RULE_DECLARED_GOODS);
    } else if (!weigh_lines_with(weighing_, LINE_COVERING)) {
        facts |= RULE_BIT(weigh_uncovered(weighing_, &stock, parameters));
    } else {
        facts |= weigh_covered(unit_, event_, scan_hold, weighing_, parameters);
        if (unit_->class_ == CLASS_LOT)
            facts |= weigh_quantities(tables, arena_, unit_, &others, event_, weighing_,
                                      parameters);
    }
    facts |= weigh_seals(tables, arena_, &others, event_, stock.latest_out_us, weighing_);

    if (event_->suspended)
        facts |= RULE_BIT(RULE_OPERATOR_SUSPENDED);
    if (!weighing_->in_stock &&
        !(event_->event_type == EVENT_GATE_CHECK && event_->direction == DIRECTION_EXPORT &&
          event_->at_airport))
        facts |= RULE_BIT(RULE_NOT_IN_STOCK);
    if (unit_->class_ == CLASS_CONTAINER && !check_digit_fits)
        facts |= RULE_BIT(RULE_CHECK_DIGIT);
    if (weighing_->in_stock && event_->direction == DIRECTION_IMPORT) {
        const event *start = visit_start(&others, event_->location);
        if (event_->time_us - start->time_us > parameters->overstay_us)
            facts |= RULE_BIT(RULE_OVERSTAYED);
    }
    if (event_->time_us > event_->record_time_ms * 1000 + parameters->clock_ahead_us)
        facts |= RULE_BIT(RULE_CLOCK_AHEAD);
    weighing_->facts = facts;
}

#endif
