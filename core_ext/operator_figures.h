/* What an operator sent and how much of it was wrong: totals for whoever watches the installation.
 *
 * What it is: per operator the accepted port events, the rejects and the late reports since the
 * start, and the operator that a refused record names.
 * Who calls it: engine.h and alerts.h count, matcher.pyx reads.
 * What it must never know: metrics, who looks at them.
 */
#ifndef GATEJOIN_OPERATOR_FIGURES_H
#define GATEJOIN_OPERATOR_FIGURES_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lookup_tables.h"
#include "memory.h"

typedef struct {
    uint64_t accepted, rejected, late;
} operator_figures;

/* By operator row; operators are hundreds, and rows are made by customs' records only. */
typedef struct {
    operator_figures *rows;
    uint64_t capacity;
} operator_figures_table;

static inline operator_figures *operator_figures_of(operator_figures_table *table, uint32_t row)
{
    table->rows = (operator_figures *)memory_grow(table->rows, &table->capacity,
                                                  (uint64_t)row + 1, sizeof *table->rows,
                                                  "operator figures");
    return &table->rows[row];
}

static inline void operator_figures_free(operator_figures_table *table)
{
    free(table->rows);
    memset(table, 0, sizeof *table);
}

/* The row of the operator that a refused value names, NO_ROW if it names none that customs has
 * registered. The value may be no JSON at all, so this looks for the first member of that name and
 * takes a text without escapes; a figure may rest on that, a decision never does. */
static uint32_t operator_named_in(const text_table *operator_names, const uint8_t *value,
                                  uint64_t length)
{
    static const char member[] = "\"operatorID\"";
    const uint8_t *end = value + length, *place = value;
    for (;; place++) {
        place = (const uint8_t *)memchr(place, '"', (size_t)(end - place));
        if (!place || (size_t)(end - place) < sizeof member)
            return NO_ROW;
        if (!memcmp(place, member, sizeof member - 1))
            break;
    }
    place += sizeof member - 1;
    while (place < end && strchr(" \t\r\n:", *place) && *place)
        place++;
    if (place == end || *place++ != '"')
        return NO_ROW;
    const uint8_t *close = (const uint8_t *)memchr(place, '"', (size_t)(end - place));
    if (!close)
        return NO_ROW;
    return text_table_find(operator_names, place, (uint32_t)(close - place));
}

#endif
