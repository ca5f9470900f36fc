/*
 * Drives unit_index.h against a plain model, for test_unit_index.py, which compiles it with the
 * sanitizers and with small limits, so that what chance never brings about does happen: chains
 * that run off the spare lines, reseeding, rebuilding.
 *
 * Usage: harness SEED STEPS UNITS. Prints what happened; ends with status 1 at a difference.
 */
#include <stdio.h>

#include "unit_index_batch.h"

typedef struct unit {
    uint8_t name[36];
    uint32_t length;
    int is_lot;
    uint32_t row; /* UNIT_ROW_NONE: not there */
} unit;

static uint64_t state;

static uint32_t below(uint32_t bound)
{
    return (uint32_t)(slot_random(&state) >> 32) % bound;
}

static void fail(const char *what, const unit *u)
{
    fprintf(stderr, "%s: %.*s\n", what, (int)u->length, (const char *)u->name);
    exit(1);
}

static void make_unit(unit *u, uint32_t number)
{
    u->row = UNIT_ROW_NONE;
    u->is_lot = 0;
    if (number % 2 == 0) {
        const uint64_t prefix = number / 2 / 1000 % CONTAINER_NUMBER_PREFIX_MAX + 1;
        const uint64_t serial = number / 2 % 1000;
        container_number_unpack(prefix << CONTAINER_NUMBER_SERIAL_BITS | serial, u->name);
        u->length = CONTAINER_NUMBER_LENGTH;
        u->is_lot = number % 8 == 0; /* a lot with the name of a container */
        return;
    }
    u->length = (uint32_t)snprintf((char *)u->name, sizeof u->name, "%.*s%u", (int)(number % 28),
                                   "CARGOCONTROLNUMBERXXXXXXXXXXXXXX", number);
    u->is_lot = number % 3 == 0;
}

/* The overflow bits of a table are exact and every entry can be reached from its home. */
static void check_table(const slot_table *table, uint64_t first_home, unsigned shift)
{
    for (uint64_t line = first_home; line < table->line_count + SLOT_SPARE_LINES; line++) {
        const uint64_t *slots = slot_table_line(table, line);
        const int marked = (slots[7] & slot_overflow_bit(shift)) != 0;
        int full = 1;
        for (int i = 0; i < SLOTS_PER_LINE; i++) {
            const uint64_t key = slots[i] >> shift;
            full &= key != 0;
            uint64_t passed = key ? slot_table_home(table, key) : line;
            for (; passed < line; passed++) {
                if (!(slot_table_line(table, passed)[7] & slot_overflow_bit(shift))) {
                    fprintf(stderr, "an entry lies behind a line that does not say so\n");
                    exit(1);
                }
            }
        }
        if (marked && (!full || slot_table_follower(table, line, shift) == NULL)) {
            fprintf(stderr, "an overflow bit is idle, or its line has a hole\n");
            exit(1);
        }
    }
}

static void check_map(const slot_map *map, unsigned shift)
{
    check_table(&map->current, 0, shift);
    if (map->previous.slots != NULL) {
        check_table(&map->previous, map->moved_lines, shift);
    }
}

static void check_unit(const unit_index *index, const unit *u)
{
    unit_key key = unit_index_key(index, u->name, u->length, u->is_lot);
    if (unit_index_find(index, key, u->name, u->length) != u->row) {
        fail("find differs", u);
    }
    if (u->row != UNIT_ROW_NONE) {
        uint8_t name[36];
        int is_lot;
        uint32_t length = unit_index_name(index, u->row, name, &is_lot);
        if (length != u->length || is_lot != u->is_lot || memcmp(name, u->name, length) != 0) {
            fail("name differs", u);
        }
    }
}

/*
 * All units in one batch of each form, on every path, against the rows of the model. The buffers
 * end where the units end, so that a read past them is seen by the sanitizer.
 */
static void check_batches(const unit_index *index, const unit *units, uint32_t count)
{
    uint8_t *numbers = malloc((size_t)count * CONTAINER_NUMBER_LENGTH);
    uint64_t *keys = malloc(count * sizeof *keys);
    uint8_t *names = malloc((size_t)count * UNIT_NAME_BYTES_MAX);
    int64_t *offsets = malloc((count + 1) * sizeof *offsets);
    int32_t *rows = malloc(count * sizeof *rows);
    for (int is_lot = 0; is_lot < 2; is_lot++) {
        int64_t number_count = 0, name_count = 0;
        const unit **of_number = malloc(count * sizeof *of_number);
        const unit **of_name = malloc(count * sizeof *of_name);
        offsets[0] = 0;
        for (uint32_t i = 0; i < count; i++) {
            const unit *u = &units[i];
            if (u->is_lot != is_lot) {
                continue;
            }
            memcpy(names + offsets[name_count], u->name, u->length);
            offsets[name_count + 1] = offsets[name_count] + u->length;
            of_name[name_count++] = u;
            if (!is_lot && container_number_check(u->name, u->length)) {
                memcpy(numbers + CONTAINER_NUMBER_LENGTH * number_count, u->name,
                       CONTAINER_NUMBER_LENGTH);
                keys[number_count] = container_number_pack(u->name);
                of_number[number_count++] = u;
            }
        }
        uint8_t *numbers_exact = malloc((size_t)(number_count * CONTAINER_NUMBER_LENGTH) + 1);
        uint8_t *names_exact = malloc((size_t)offsets[name_count] + 1);
        memcpy(numbers_exact + 1, numbers, (size_t)(number_count * CONTAINER_NUMBER_LENGTH));
        memcpy(names_exact + 1, names, (size_t)offsets[name_count]);
        const unit_batch batches[3] = {
            {numbers_exact + 1, NULL, NULL, NULL, 0},
            {NULL, keys, NULL, NULL, 0},
            {NULL, NULL, names_exact + 1, offsets, is_lot},
        };
        for (int form = 0; form < 3; form++) {
            const int64_t size = form < 2 ? number_count : name_count;
            const unit **of = form < 2 ? of_number : of_name;
            for (int path = SIMD_PATH_PORTABLE; path <= SIMD_PATH_AVX2; path++) {
                if (!simd_path_available((simd_path)path)) {
                    continue;
                }
                unit_batch_probe(index, (simd_path)path, &batches[form], size, rows);
                for (int64_t i = 0; i < size; i++) {
                    if (rows[i] != (int32_t)of[i]->row) {
                        fail("batch probe differs", of[i]);
                    }
                }
            }
        }
        free(numbers_exact);
        free(names_exact);
        free(of_number);
        free(of_name);
    }
    free(numbers);
    free(keys);
    free(names);
    free(offsets);
    free(rows);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return 2;
    }
    state = strtoull(argv[1], NULL, 10);
    const long steps = strtol(argv[2], NULL, 10);
    const uint32_t unit_count = (uint32_t)strtoul(argv[3], NULL, 10);
    unit *units = malloc(unit_count * sizeof *units);
    unit_index index;
    uint64_t there = 0, moves = 0;
    if (units == NULL || unit_index_init_seeded(&index, 0, 0, state) != 0) {
        return 2;
    }
    for (uint32_t i = 0; i < unit_count; i++) {
        make_unit(&units[i], i);
    }
    check_batches(&index, units, unit_count);
    for (long step = 0; step < steps; step++) {
        /* Waves: the index fills for a while, then empties, so that it grows and shrinks. */
        const int filling = step / (3 * (long)unit_count) % 2 == 0;
        unit *u = &units[below(unit_count)];
        unit_key key = unit_index_key(&index, u->name, u->length, u->is_lot);
        if (below(8) < (filling ? 6u : 1u)) {
            int was_new;
            uint32_t row = unit_index_insert(&index, key, u->name, u->length, &was_new);
            if (row == UNIT_ROW_NONE || was_new != (u->row == UNIT_ROW_NONE) ||
                (!was_new && row != u->row)) {
                fail("insert differs", u);
            }
            there += (uint64_t)was_new;
            u->row = row;
        } else {
            if (unit_index_remove(&index, key, u->name, u->length) != u->row) {
                fail("remove differs", u);
            }
            there -= u->row != UNIT_ROW_NONE;
            u->row = UNIT_ROW_NONE;
        }
        check_unit(&index, u);
        check_unit(&index, &units[below(unit_count)]);
        if (unit_index_count(&index) != there) {
            fail("count differs", u);
        }
        moves += index.containers.previous.slots != NULL || index.names.previous.slots != NULL;
        if (step % 3989 == 0 || step == steps - 1) {
            check_map(&index.containers, UNIT_CONTAINER_SHIFT);
            check_map(&index.names, UNIT_NAME_SHIFT);
            for (uint32_t i = 0; i < unit_count; i++) {
                check_unit(&index, &units[i]);
            }
            check_batches(&index, units, unit_count);
        }
    }
    printf("steps %ld, while moving %llu, reseeded %llu, units %llu, rows %u, bytes %llu\n", steps,
           (unsigned long long)moves,
           (unsigned long long)(index.containers.reseed_count + index.names.reseed_count),
           (unsigned long long)there, unit_index_row_limit(&index),
           (unsigned long long)unit_index_memory_bytes(&index));
    unit_index_free(&index);
    free(units);
    return 0;
}
