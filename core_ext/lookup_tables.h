/* Two small exact hash tables: 64-bit numbers to rows, and texts to rows.
 *
 * What it is: open addressing with linear probing, load at most 1/2, removal by shifting back, so
 * that neither misses nor churn leave anything behind.
 * Who calls it: customs_tables.h (hold, operator and location names), volumes.h, stock.h and
 * stock_ledger.h (table cells), published_tail.h (offsets).
 * What it must never know: what a row is. Units and declarations have an index of their own
 * (unit_index.h, declaration_table.h).
 */
#ifndef GATEJOIN_LOOKUP_TABLES_H
#define GATEJOIN_LOOKUP_TABLES_H

#include <stdint.h>
#include <string.h>

#include "memory.h"

#define NO_ROW UINT32_MAX

/* The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
 * OOPSLA 2014): every input bit reaches every output bit. */
static inline uint64_t mix64(uint64_t value)
{
    value ^= value >> 30;
    value *= 0xbf58476d1ce4e5b9u;
    value ^= value >> 27;
    value *= 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

/* ---- numbers --------------------------------------------------------------------------------- */

typedef struct {
    uint64_t *keys; /* key + 1; 0 is an empty place */
    uint32_t *rows;
    uint64_t places, size;
} number_table;

static inline uint64_t number_table_place(const number_table *table, uint64_t key)
{
    uint64_t mask = table->places - 1, place = mix64(key) & mask;
    while (table->keys[place] && table->keys[place] != key + 1)
        place = (place + 1) & mask;
    return place;
}

static inline uint32_t number_table_find(const number_table *table, uint64_t key)
{
    if (!table->size)
        return NO_ROW;
    uint64_t place = number_table_place(table, key);
    return table->keys[place] ? table->rows[place] : NO_ROW;
}

static inline void number_table_put(number_table *table, uint64_t key, uint32_t row)
{
    if ((table->size + 1) * 2 > table->places) {
        number_table larger = {NULL, NULL, table->places ? table->places * 2 : 64, table->size};
        larger.keys = (uint64_t *)memory_resize(NULL, larger.places * 8, "a table of numbers");
        larger.rows = (uint32_t *)memory_resize(NULL, larger.places * 4, "a table of numbers");
        memset(larger.keys, 0, larger.places * 8);
        for (uint64_t i = 0; i < table->places; i++)
            if (table->keys[i]) {
                uint64_t place = number_table_place(&larger, table->keys[i] - 1);
                larger.keys[place] = table->keys[i];
                larger.rows[place] = table->rows[i];
            }
        free(table->keys);
        free(table->rows);
        *table = larger;
    }
    uint64_t place = number_table_place(table, key);
    table->size += !table->keys[place];
    table->keys[place] = key + 1;
    table->rows[place] = row;
}

static inline void number_table_remove(number_table *table, uint64_t key)
{
    if (!table->size)
        return;
    uint64_t mask = table->places - 1, hole = number_table_place(table, key);
    if (!table->keys[hole])
        return;
    table->size--;
    for (uint64_t place = hole;;) {
        place = (place + 1) & mask;
        if (!table->keys[place])
            break;
        uint64_t home = mix64(table->keys[place] - 1) & mask;
        if (((place - home) & mask) >= ((place - hole) & mask)) {
            table->keys[hole] = table->keys[place];
            table->rows[hole] = table->rows[place];
            hole = place;
        }
    }
    table->keys[hole] = 0;
}

static inline void number_table_free(number_table *table)
{
    free(table->keys);
    free(table->rows);
    memset(table, 0, sizeof *table);
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* A text that is in the table has a row; rows of removed texts are used again. The table owns a
 * copy of each text. */
typedef struct {
    char *bytes;
    uint32_t length;
    uint32_t hash;
} interned_text;

typedef struct {
    uint32_t *places; /* row + 1; 0 is empty */
    uint64_t place_count, size;
    interned_text *texts; /* by row */
    uint64_t text_capacity;
    uint32_t row_count;
    uint32_t *free_rows;
    uint64_t free_count, free_capacity;
} text_table;

static inline uint32_t text_hash(const uint8_t *bytes, uint32_t length)
{
    uint64_t hash = length * 0x9e3779b97f4a7c15u, word;
    for (; length > 8; bytes += 8, length -= 8) {
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * 0xbf58476d1ce4e5b9u;
        hash ^= hash >> 31;
    }
    if (length >= 4) { /* two words that overlap, rather than a copy of any length */
        uint32_t first, last;
        memcpy(&first, bytes, 4);
        memcpy(&last, bytes + length - 4, 4);
        word = first | (uint64_t)last << 32;
    } else {
        word = length ? bytes[0] | (uint64_t)bytes[length / 2] << 8 |
                            (uint64_t)bytes[length - 1] << 16
                      : 0;
    }
    return (uint32_t)mix64(hash ^ word);
}

static inline uint64_t text_table_place(const text_table *table, const uint8_t *bytes,
                                        uint32_t length, uint32_t hash)
{
    uint64_t mask = table->place_count - 1, place = hash & mask;
    for (; table->places[place]; place = (place + 1) & mask) {
        const interned_text *entry = &table->texts[table->places[place] - 1];
        if (entry->hash == hash && entry->length == length &&
            !memcmp(entry->bytes, bytes, length))
            break;
    }
    return place;
}

static inline uint32_t text_table_find(const text_table *table, const uint8_t *bytes,
                                       uint32_t length)
{
    if (!table->size)
        return NO_ROW;
    uint64_t place = text_table_place(table, bytes, length, text_hash(bytes, length));
    return table->places[place] ? table->places[place] - 1 : NO_ROW;
}

/* The row of a text, new if need be (`*was_new`, may be NULL). */
static inline uint32_t text_table_put(text_table *table, const uint8_t *bytes, uint32_t length,
                                      int *was_new)
{
    uint32_t hash = text_hash(bytes, length);
    if ((table->size + 1) * 2 > table->place_count) {
        uint64_t count = table->place_count ? table->place_count * 2 : 64;
        free(table->places);
        table->places = (uint32_t *)memory_resize(NULL, count * 4, "a table of names");
        memset(table->places, 0, count * 4);
        table->place_count = count;
        for (uint32_t row = 0; row < table->row_count; row++) {
            if (!table->texts[row].bytes)
                continue;
            uint64_t place = table->texts[row].hash & (count - 1);
            while (table->places[place])
                place = (place + 1) & (count - 1);
            table->places[place] = row + 1;
        }
    }
    uint64_t place = text_table_place(table, bytes, length, hash);
    if (was_new)
        *was_new = !table->places[place];
    if (table->places[place])
        return table->places[place] - 1;
    uint32_t row;
    if (table->free_count) {
        row = table->free_rows[--table->free_count];
    } else {
        row = table->row_count++;
        table->texts = (interned_text *)memory_grow(table->texts, &table->text_capacity,
                                                    table->row_count, sizeof *table->texts,
                                                    "a table of names");
    }
    char *copy = (char *)memory_resize(NULL, (uint64_t)length + 1, "a name");
    memcpy(copy, bytes, length);
    copy[length] = 0;
    table->texts[row] = (interned_text){copy, length, hash};
    table->places[place] = row + 1;
    table->size++;
    return row;
}

static inline void text_table_remove(text_table *table, uint32_t row)
{
    interned_text *text_ = &table->texts[row];
    uint64_t mask = table->place_count - 1;
    uint64_t hole = text_table_place(table, (const uint8_t *)text_->bytes, text_->length,
                                     text_->hash);
    free(text_->bytes);
    text_->bytes = NULL;
    table->size--;
    for (uint64_t place = hole;;) {
        place = (place + 1) & mask;
        if (!table->places[place])
            break;
        uint64_t home = table->texts[table->places[place] - 1].hash & mask;
        if (((place - home) & mask) >= ((place - hole) & mask)) {
            table->places[hole] = table->places[place];
            hole = place;
        }
    }
    table->places[hole] = 0;
    table->free_rows = (uint32_t *)memory_grow(table->free_rows, &table->free_capacity,
                                               table->free_count + 1, 4, "a table of names");
    table->free_rows[table->free_count++] = row;
}

static inline void text_table_free(text_table *table)
{
    for (uint32_t row = 0; row < table->row_count; row++)
        free(table->texts[row].bytes);
    free(table->places);
    free(table->texts);
    free(table->free_rows);
    memset(table, 0, sizeof *table);
}

#endif
