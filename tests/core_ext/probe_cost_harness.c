/*
 * What a probe and an insertion of unit_index.h cost, counted in lines of the tables instead of
 * time, for test_probe_cost.py, which compiles and judges it.
 *
 * Usage: harness grow UNITS | churn ALIVE GENERATIONS | attack SET UNITS. Prints figures by name;
 * ends with status 1 if an answer is wrong.
 */
#include <stdio.h>

#include "unit_index_batch.h"

typedef struct unit {
    uint8_t name[36];
    uint32_t length;
    int is_lot;
} unit;

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

/* ---- units ---- */

static unit container(uint64_t key)
{
    unit made = {.length = CONTAINER_NUMBER_LENGTH};
    container_number_unpack(key, made.name);
    return made;
}

static uint64_t packed(uint64_t prefix, uint64_t serial)
{
    return (prefix % CONTAINER_NUMBER_PREFIX_MAX + 1) << CONTAINER_NUMBER_SERIAL_BITS |
           serial % 1000000;
}

static unit spread_container(uint64_t number)
{
    const uint64_t spread = (number * 15485863 + 7) % UINT64_C(52728000000);
    return container(packed(spread / 1000000, spread));
}

static unit name(const char *format, unsigned long long number)
{
    unit made = {.is_lot = 1};
    made.length = (uint32_t)snprintf((char *)made.name, sizeof made.name, format, number);
    return made;
}

/* What everybody meets in turn: containers, and names of all lengths. */
static unit mixed(uint64_t number)
{
    if (number % 2 == 0) {
        return spread_container(number / 2);
    }
    unit made = {.is_lot = 1};
    made.length = (uint32_t)snprintf((char *)made.name, sizeof made.name, "%0*llu",
                                     (int)(9 + number / 2 % 27), (unsigned long long)number);
    return made;
}

/* ---- sets that somebody who knows the code, but not the seed, would choose ---- */

static unit_index leaked; /* under a seed that leaked from another process */

static int order_of_lines(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    const uint64_t home_a = slot_table_home(&leaked.containers.current, a);
    const uint64_t home_b = slot_table_home(&leaked.containers.current, b);
    return home_a < home_b ? -1 : home_a > home_b;
}

/* Containers that collide under the known seed. */
static void colliding(unit *units, uint64_t count)
{
    const uint64_t candidates = count * 40;
    uint64_t *keys = malloc(candidates * sizeof *keys);
    for (uint64_t i = 0; i < candidates; i++) {
        keys[i] = packed(i * 2654435761 >> 16, i * 7919);
    }
    qsort(keys, candidates, sizeof *keys, order_of_lines);
    uint64_t taken = 0, last = 0;
    for (uint64_t i = 0; i < candidates && taken < count; i++) {
        if (keys[i] != last) {
            units[taken++] = container(keys[i]);
        }
        last = keys[i];
    }
    if (taken < count) {
        fail("too few colliding keys");
    }
    free(keys);
}

static void make_set(const char *set, unit *units, uint64_t count)
{
    if (strcmp(set, "colliding-elsewhere") == 0 || strcmp(set, "colliding-here") == 0) {
        colliding(units, count);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t low = i % 1000, high = i / 1000;
        if (strcmp(set, "consecutive") == 0) {
            units[i] = container(packed(i / 1000000, i));
        } else if (strcmp(set, "one-serial") == 0) { /* only the prefix differs */
            units[i] = container(packed(i % 52728, i / 52728));
        } else if (strcmp(set, "wide-strides") == 0) { /* 64 apart, as hash and line count are */
            units[i] = container(packed(high * 64, low * 64));
        } else if (strcmp(set, "odd-strides") == 0) {
            units[i] = container(packed(high * 509, low * 997));
        } else if (strcmp(set, "high-bits") == 0) { /* the low bits of both parts stay 0 */
            units[i] = container(packed((i & 127) * 256, (i >> 7) * 1024 % 1000000));
        } else if (strcmp(set, "names-counted") == 0) {
            units[i] = name("181%09llu", i);
        } else if (strcmp(set, "names-long-prefix") == 0) {
            units[i] = name("CARGOCONTROLNUMBERVN2018/%llu", i);
        } else if (strcmp(set, "names-long-suffix") == 0) {
            units[i] = name("%llu/CARGOCONTROLNUMBER2018", i);
        } else if (strcmp(set, "names-two-words-swapped") == 0) { /* NH multiplies words in pairs */
            units[i].is_lot = 1;
            units[i].length = 16;
            snprintf((char *)units[i].name, sizeof units[i].name, "%08llu%08llu",
                     (unsigned long long)(i / 2 * 7 + (i % 2 ? 1 : 0)),
                     (unsigned long long)(i / 2 * 7 + (i % 2 ? 0 : 1)));
        } else if (strcmp(set, "names-of-bits") == 0) { /* neighbours differ by a bit or two */
            units[i] = (unit){.length = 35, .is_lot = 1};
            memset(units[i].name, 'A', 35);
            for (int bit = 0; bit < 20; bit++) {
                units[i].name[bit + 7] ^= (uint8_t)(i >> bit & 1);
            }
        } else {
            fail("no such set");
        }
    }
}

/* ---- counting ---- */

/* Lines that a lookup of a unit reads in its table, and in the name heap one a record compared. */
static uint64_t probe_lines(const unit_index *index, const unit *u)
{
    const unit_key key = unit_index_key(index, u->name, u->length, u->is_lot);
    const int is_number = unit_key_is_container_number(key);
    const slot_map *map = is_number ? &index->containers : &index->names;
    const unsigned shift = is_number ? UNIT_CONTAINER_SHIFT : UNIT_NAME_SHIFT;
    const uint64_t bits = is_number ? key.bits : unit_key_tag(key);
    const uint64_t *line = slot_map_home_line(map, bits);
    uint64_t lines = 0;
    for (;; line += SLOTS_PER_LINE) {
        lines++;
        const uint32_t matches = slot_line_matches(line, bits, shift);
        if (matches != 0 && is_number) {
            return lines;
        }
        lines += (uint64_t)__builtin_popcount(matches);
        if (matches != 0 || !(line[SLOTS_PER_LINE - 1] & slot_overflow_bit(shift))) {
            return lines;
        }
    }
}

typedef struct figures {
    uint64_t probes, lines, longest;
} figures;

static void count_probe(figures *counted, const unit_index *index, const unit *u)
{
    const uint64_t lines = probe_lines(index, u);
    counted->probes++;
    counted->lines += lines;
    counted->longest = lines > counted->longest ? lines : counted->longest;
}

static void print_figures(const char *what, const figures *counted)
{
    printf("%s_mean %.4f\n%s_longest %llu\n", what,
           (double)counted->lines / (double)counted->probes, what,
           (unsigned long long)counted->longest);
}

static uint64_t lines_left(const slot_map *map)
{
    return map->previous.slots == NULL ? 0 : map->previous.line_count - map->moved_lines;
}

static uint64_t reseeds(const unit_index *index)
{
    return index->containers.reseed_count + index->names.reseed_count;
}

/* The most lines that one insertion or removal moved. */
static uint64_t moved_most, growths;

static void note_moved(uint64_t before, const slot_map *map, uint64_t line_count_before)
{
    const uint64_t after = lines_left(map);
    growths += map->current.line_count != line_count_before;
    if (before > after && before - after > moved_most) {
        moved_most = before - after;
    }
}

static void insert(unit_index *index, const unit *u, uint32_t expected)
{
    const unit_key key = unit_index_key(index, u->name, u->length, u->is_lot);
    const slot_map *map =
        unit_key_is_container_number(key) ? &index->containers : &index->names;
    const uint64_t before = lines_left(map), line_count = map->current.line_count;
    int was_new;
    const uint32_t row = unit_index_insert(index, key, u->name, u->length, &was_new);
    if (!was_new || (expected != UNIT_ROW_NONE && row != expected)) {
        fail("an insertion went wrong");
    }
    note_moved(before, map, line_count);
}

static void remove_unit(unit_index *index, const unit *u)
{
    const unit_key key = unit_index_key(index, u->name, u->length, u->is_lot);
    const slot_map *map =
        unit_key_is_container_number(key) ? &index->containers : &index->names;
    const uint64_t before = lines_left(map), line_count = map->current.line_count;
    if (unit_index_remove(index, key, u->name, u->length) == UNIT_ROW_NONE) {
        fail("a removal went wrong");
    }
    note_moved(before, map, line_count);
}

/* ---- the three ways ---- */

static void grow(unit_index *index, uint64_t count)
{
    figures hits = {0}, misses = {0};
    uint64_t state = 1;
    for (uint64_t i = 0; i < count; i++) {
        const unit u = mixed(i);
        insert(index, &u, (uint32_t)i);
        if (i % 64 == 0) { /* whether a move is under way or not */
            const uint64_t wanted = (slot_random(&state) >> 32) % (i + 1);
            const unit old = mixed(wanted), missing = mixed(count + wanted);
            const unit_key key = unit_index_key(index, old.name, old.length, old.is_lot);
            if (unit_index_find(index, key, old.name, old.length) != wanted) {
                fail("a unit was not found while the tables grew");
            }
            count_probe(&hits, index, &old);
            count_probe(&misses, index, &missing);
        }
    }
    print_figures("hit", &hits);
    print_figures("miss", &misses);
}

static void measure_alive(const unit_index *index, const char *when, uint64_t first,
                          uint64_t count)
{
    figures hits = {0}, misses = {0};
    char what[40];
    for (uint64_t i = first; i < first + count; i++) {
        const unit u = mixed(i), missing = mixed(i + UINT64_C(1000000000));
        count_probe(&hits, index, &u);
        count_probe(&misses, index, &missing);
    }
    snprintf(what, sizeof what, "%s_hit", when);
    print_figures(what, &hits);
    snprintf(what, sizeof what, "%s_miss", when);
    print_figures(what, &misses);
    printf("%s_bytes %llu\n", when, (unsigned long long)unit_index_memory_bytes(index));
    printf("%s_rows %u\n", when, unit_index_row_limit(index));
}

/* Units come and go, the oldest first; all of them have been exchanged in each generation. */
static void churn(unit_index *index, uint64_t alive, uint64_t generations)
{
    uint64_t next = 0;
    while (next < alive) {
        const unit u = mixed(next++);
        insert(index, &u, UNIT_ROW_NONE);
    }
    for (uint64_t generation = 0; generation < generations; generation++) {
        if (generation == 1) {
            measure_alive(index, "early", next - alive, alive);
        }
        for (uint64_t i = 0; i < alive; i++) {
            const unit fresh = mixed(next), old = mixed(next - alive);
            insert(index, &fresh, UNIT_ROW_NONE);
            remove_unit(index, &old);
            next++;
        }
    }
    measure_alive(index, "late", next - alive, alive);
    while (alive > 0) {
        const unit old = mixed(next - alive--);
        remove_unit(index, &old);
    }
    printf("end_units %llu\n", (unsigned long long)unit_index_count(index));
}

static void attack(unit_index *index, const char *set, uint64_t count)
{
    figures hits = {0};
    unit *units = calloc(count, sizeof *units);
    if (units == NULL) {
        fail("no memory");
    }
    make_set(set, units, count);
    for (uint64_t i = 0; i < count; i++) {
        insert(index, &units[i], (uint32_t)i);
    }
    /* A new seed takes as many insertions as moving the lines takes. */
    for (uint64_t i = 0; lines_left(&index->containers) > 0; i++) {
        const unit u = spread_container(i + 1);
        const unit_key key = unit_index_key(index, u.name, u.length, 0);
        int was_new;
        (void)unit_index_insert(index, key, u.name, u.length, &was_new);
    }
    for (uint64_t i = 0; i < count; i++) {
        count_probe(&hits, index, &units[i]);
    }
    print_figures("hit", &hits);
    free(units);
}

int main(int argc, char **argv)
{
    unit_index index;
    if (argc < 3 || unit_index_init_seeded(&index, 0, 0, 99) != 0 ||
        unit_index_init_seeded(&leaked, 20000, 20000, 4) != 0) {
        return 2;
    }
    if (strcmp(argv[1], "grow") == 0) {
        grow(&index, strtoull(argv[2], NULL, 10));
    } else if (strcmp(argv[1], "churn") == 0 && argc == 4) {
        churn(&index, strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
    } else if (strcmp(argv[1], "attack") == 0 && argc == 4) {
        const int is_known = strcmp(argv[2], "colliding-here") == 0;
        if (is_known) { /* whoever knows even the seed */
            unit_index_free(&index);
            if (unit_index_init_seeded(&index, 20000, 20000, 4) != 0) {
                return 2;
            }
        }
        attack(&index, argv[2], strtoull(argv[3], NULL, 10));
    } else {
        return 2;
    }
    printf("moved_most %llu\ngrowths %llu\nreseeds %llu\n", (unsigned long long)moved_most,
           (unsigned long long)growths, (unsigned long long)reseeds(&index));
    unit_index_free(&index);
    unit_index_free(&leaked);
    return 0;
}
