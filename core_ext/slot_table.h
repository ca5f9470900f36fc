/*
 * A hash table of 64-byte lines that grows, shrinks and changes its hash while it is in use.
 *
 * Called by unit_index.h and declaration_table.h. It maps keys of up to 36 bits to small payloads
 * and knows nothing of what either means, of names, or of Python. It takes no lock: many may read
 * at once, but whoever adds or removes must be alone.
 *
 * One line is one cache line of 8 slots, so that a lookup that is not unlucky costs one miss:
 *
 *    63                    shift  shift-1  shift-2           0
 *   +--------------------------+----------+-------------------+
 *   |  key, 0 = empty slot     | overflow |     payload       |   overflow: in slot 7 only
 *   +--------------------------+----------+-------------------+
 *
 * `shift` is 28 for container numbers (36-bit key, 27-bit row) and 32 for general names (32-bit
 * tag, 31-bit place in the name heap); it is a constant wherever these functions are called.
 *
 * Home of a key = its hash scaled to the number of lines, so that any number of lines will do and
 * the order of homes is the same in a table of any size under the same seed. An entry lives in the
 * first line from its home that had a free slot. The overflow bit of a line says that an entry
 * whose home is here or before lives behind it: a miss on a line without it is decided at once.
 * The bit is kept exact. Lines that are passed are full; a removal fills its hole from behind and
 * clears the bits that nobody needs any more, so that churn leaves no trace.
 * Past the last home there are spare lines instead of a wrap to the first line.
 *
 * Growing: a second table is mapped (zero pages, no work) and each insertion or removal moves a few
 * lines over. With the order of homes kept, "home before the line reached" alone tells in which of
 * the two tables a key is. The pages that were left behind are given back on the way.
 */
#ifndef GATEJOIN_SLOT_TABLE_H
#define GATEJOIN_SLOT_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include "simd_path.h"

enum {
    SLOTS_PER_LINE = 8,
    SLOT_LINE_BYTES = 64,
    SLOT_LINES_MIN = 8,
    /* Lines moved per insertion or removal. Growing by half then ends within a twentieth of the
     * insertions that would fill the new table, at about 0.1 microseconds a line. */
    SLOT_MOVE_LINES = 4,
};

/* Lines behind the last home. A chain this long does not come about by chance: 64 neighbouring
 * lines would have to get 1.5 times what they expect at the highest load. Tests set both lower. */
#ifndef SLOT_SPARE_LINES
#define SLOT_SPARE_LINES 64
#endif
/* An entry further than this from its home means that keys were made to collide: new seed. */
#ifndef SLOT_DISPLACEMENT_MAX
#define SLOT_DISPLACEMENT_MAX 40
#endif

#define SLOT_LINES_MAX (1u << 31)
#define SLOT_HUGE_PAGE_BYTES ((size_t)2 << 20)

/* In 32nds of all slots. Beyond `grow` a larger table is started; if there is no memory for one
 * the present table is used up to `full`; below `shrink` a smaller one is started. */
enum { SLOT_LOAD_GROW = 21, SLOT_LOAD_FULL = 27, SLOT_LOAD_SHRINK = 4, SLOT_LOAD_RESERVE = 17 };

typedef struct slot_table {
    uint64_t *slots;      /* 64-byte aligned, SLOTS_PER_LINE a line */
    uint64_t line_count;  /* homes; SLOT_SPARE_LINES more are mapped */
    size_t byte_count;    /* mapped */
    uint32_t seed[3];     /* odd */
} slot_table;

typedef struct slot_map {
    slot_table current;
    slot_table previous;     /* slots NULL unless entries are being moved out of it */
    uint64_t moved_lines;    /* homes of `previous` below this are in `current` */
    uint64_t released_lines; /* lines of `previous` given back */
    uint64_t count;          /* entries in both */
    uint64_t lines_min;      /* never shrunk below */
    uint64_t retry_count;    /* after a refused growth, the count at which to ask again */
    uint64_t random_state;
    uint64_t reseed_count;   /* times that colliding keys made a new seed needed */
} slot_map;

/* ---- memory ---------------------------------------------------------------------------------- */

/* Zeroed pages, aligned so that those who fill a huge page can be one; NULL without memory. */
static inline void *slot_memory_map(size_t byte_count, size_t *mapped)
{
    const size_t huge = SLOT_HUGE_PAGE_BYTES;
    const int protection = PROT_READ | PROT_WRITE;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (byte_count < huge) {
        *mapped = (byte_count + 4095) & ~(size_t)4095;
        void *pages = mmap(NULL, *mapped, protection, flags, -1, 0);
        return pages == MAP_FAILED ? NULL : pages;
    }
    *mapped = (byte_count + 4095) & ~(size_t)4095;
    uint8_t *pages = mmap(NULL, *mapped + huge, protection, flags, -1, 0);
    if (pages == MAP_FAILED) {
        return NULL;
    }
    size_t before = (size_t)(-(uintptr_t)pages & (huge - 1));
    if (before != 0) {
        munmap(pages, before);
    }
    munmap(pages + before + *mapped, huge - before);
    return pages + before;
}

/*
 * Asks for huge pages: a random probe of a large table would otherwise miss the TLB as well. Asked
 * before the pages are touched, the system gives them on first touch, which takes 1 to 6 ms each in
 * a virtual machine: for tables made in advance only. Asked afterwards, it exchanges them in the
 * background: for tables and heaps that grow in use, where nobody may wait so long.
 */
static inline void slot_memory_advise_huge(void *pages, size_t mapped)
{
#ifdef MADV_HUGEPAGE
    if (mapped >= SLOT_HUGE_PAGE_BYTES) {
        madvise(pages, mapped, MADV_HUGEPAGE);
    }
#endif
}

static inline void slot_memory_unmap(void *pages, size_t mapped)
{
    if (pages != NULL) {
        munmap(pages, mapped);
    }
}

/* splitmix64: one step of the generator that seeds come from. */
static inline uint64_t slot_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A seed that nobody knows, from the system; without one the time and where the index lies. */
static inline uint64_t slot_secret_seed(const void *index)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        seed = (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 32 ^ (uint64_t)(uintptr_t)index;
    }
    return seed;
}

/* ---- one table ------------------------------------------------------------------------------- */

static inline int slot_table_init(slot_table *table, uint64_t line_count, const uint32_t seed[3])
{
    table->line_count = line_count;
    memcpy(table->seed, seed, sizeof table->seed);
    table->slots = slot_memory_map((size_t)(line_count + SLOT_SPARE_LINES) * SLOT_LINE_BYTES,
                                   &table->byte_count);
    return table->slots == NULL ? -1 : 0;
}

static inline void slot_table_free(slot_table *table)
{
    slot_memory_unmap(table->slots, table->byte_count);
    memset(table, 0, sizeof *table);
}

static inline uint64_t slot_table_home(const slot_table *table, uint64_t key)
{
    uint32_t hash = (uint32_t)(key >> 20) * table->seed[0] +
                    (uint32_t)(key & 0xfffff) * table->seed[1];
    hash ^= hash >> 15;
    hash *= table->seed[2];
    return (uint64_t)hash * table->line_count >> 32;
}

static inline uint64_t *slot_table_line(const slot_table *table, uint64_t line)
{
    return table->slots + line * SLOTS_PER_LINE;
}

static inline uint64_t slot_overflow_bit(unsigned shift)
{
    return (uint64_t)1 << (shift - 1);
}

static inline uint64_t slot_payload(uint64_t slot, unsigned shift)
{
    return slot & (slot_overflow_bit(shift) - 1);
}

/*
 * The slots of a line that hold a key (0: that are free), as a bit mask. All eight are compared
 * always: where in the line a key lies can't be predicted, and a wrong guess costs more.
 */
static SIMD_ALWAYS_INLINE uint32_t slot_line_matches(const uint64_t *line, uint64_t key,
                                                     unsigned shift)
{
#if defined(__x86_64__)
    /* What every x86-64 has (SSE2) compares 32 bits: both halves of a slot must be equal. */
    const __m128i key_mask = _mm_set1_epi64x((int64_t)(UINT64_MAX << shift));
    const __m128i wanted = _mm_set1_epi64x((int64_t)(key << shift));
    uint32_t matches = 0;
    for (int i = 0; i < SLOTS_PER_LINE; i += 4) {
        const __m128i *slots = (const __m128i *)(const void *)(line + i);
        const __m128 first = _mm_castsi128_ps(
            _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(slots), key_mask), wanted));
        const __m128 second = _mm_castsi128_ps(
            _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(slots + 1), key_mask), wanted));
        const __m128 low = _mm_shuffle_ps(first, second, _MM_SHUFFLE(2, 0, 2, 0));
        const __m128 high = _mm_shuffle_ps(first, second, _MM_SHUFFLE(3, 1, 3, 1));
        matches |= (uint32_t)_mm_movemask_ps(_mm_and_ps(low, high)) << i;
    }
    return matches;
#else
    uint32_t matches = 0;
    for (int i = 0; i < SLOTS_PER_LINE; i++) {
        matches |= (uint32_t)(line[i] >> shift == key) << i;
    }
    return matches;
#endif
}

/*
 * Whether a payload is the one looked for, once its key is equal. Container numbers are equal with
 * their keys (NULL); general names have to be compared with the bytes that are stored.
 */
typedef int (*slot_confirm)(const void *context, uint64_t payload);

/* The slot that holds a key, or NULL. */
static SIMD_ALWAYS_INLINE uint64_t *slot_table_find(const slot_table *table, uint64_t key,
                                                    unsigned shift, slot_confirm confirm,
                                                    const void *context)
{
    uint64_t *line = slot_table_line(table, slot_table_home(table, key));
    for (;;) {
        uint32_t matches = slot_line_matches(line, key, shift);
        for (; matches != 0; matches &= matches - 1) {
            uint64_t *slot = line + __builtin_ctz(matches);
            if (confirm == NULL || confirm(context, slot_payload(*slot, shift))) {
                return slot;
            }
        }
        if (!(line[SLOTS_PER_LINE - 1] & slot_overflow_bit(shift))) {
            return NULL;
        }
        line += SLOTS_PER_LINE;
    }
}

/*
 * Stores a key that is not there in the first free slot from its home. Returns the distance in
 * lines, or -1, with nothing changed, if the spare lines end before there is one.
 */
static SIMD_ALWAYS_INLINE int64_t slot_table_place(slot_table *table, uint64_t key,
                                                   uint64_t payload, unsigned shift)
{
    const uint64_t home = slot_table_home(table, key);
    const uint64_t end = table->line_count + SLOT_SPARE_LINES;
    for (uint64_t at = home; at < end; at++) {
        uint64_t *line = slot_table_line(table, at);
        const uint32_t free_slots = slot_line_matches(line, 0, shift);
        if (free_slots != 0) {
            line[__builtin_ctz(free_slots)] |= key << shift | payload;
            for (uint64_t passed = home; passed < at; passed++) {
                slot_table_line(table, passed)[SLOTS_PER_LINE - 1] |= slot_overflow_bit(shift);
            }
            return (int64_t)(at - home);
        }
    }
    return -1;
}

/* An entry behind `line` whose home is `line` or before, or NULL: what the overflow bit says. */
static SIMD_ALWAYS_INLINE uint64_t *slot_table_follower(const slot_table *table, uint64_t line,
                                                        unsigned shift)
{
    const uint64_t end = table->line_count + SLOT_SPARE_LINES;
    for (uint64_t at = line + 1; at < end; at++) {
        uint64_t *slots = slot_table_line(table, at);
        for (int i = 0; i < SLOTS_PER_LINE; i++) {
            uint64_t key = slots[i] >> shift;
            if (key != 0 && slot_table_home(table, key) <= line) {
                return slots + i;
            }
        }
        if (!(slots[SLOTS_PER_LINE - 1] & slot_overflow_bit(shift))) {
            return NULL;
        }
    }
    return NULL;
}

/* Empties a slot, fills the hole from behind, and clears the overflow bits that became idle. */
static SIMD_ALWAYS_INLINE void slot_table_remove(slot_table *table, uint64_t *slot, unsigned shift)
{
    const uint64_t overflow = slot_overflow_bit(shift);
    const uint64_t first = slot_table_home(table, *slot >> shift);
    uint64_t line = (uint64_t)(slot - table->slots) / SLOTS_PER_LINE;
    *slot &= overflow;
    while (slot_table_line(table, line)[SLOTS_PER_LINE - 1] & overflow) {
        uint64_t *follower = slot_table_follower(table, line, shift);
        if (follower == NULL) {
            break;
        }
        *slot |= *follower & ~overflow;
        *follower &= overflow;
        slot = follower;
        line = (uint64_t)(slot - table->slots) / SLOTS_PER_LINE;
    }
    /* From the last hole back to the home: bits behind a line are exact before it is looked at. */
    for (;;) {
        uint64_t *last = slot_table_line(table, line) + SLOTS_PER_LINE - 1;
        if (*last & overflow && slot_table_follower(table, line, shift) == NULL) {
            *last &= ~overflow;
        }
        if (line == first) {
            break;
        }
        line--;
    }
}

/* ---- the table in use and the one it replaces ------------------------------------------------ */

static inline void slot_map_seed(slot_map *map, uint32_t seed[3])
{
    for (int i = 0; i < 3; i++) {
        seed[i] = (uint32_t)(slot_random(&map->random_state) >> 32) | 1;
    }
}

/* Lines that hold `count` entries at about half load: 15 bytes an entry. */
static inline uint64_t slot_map_lines_for(uint64_t count)
{
    if (count >= (uint64_t)SLOT_LINES_MAX * SLOTS_PER_LINE) {
        return (uint64_t)SLOT_LINES_MAX + 1; /* more than any table may have */
    }
    uint64_t lines = (count * 32 + SLOTS_PER_LINE * SLOT_LOAD_RESERVE - 1) /
                     (SLOTS_PER_LINE * SLOT_LOAD_RESERVE);
    return lines < SLOT_LINES_MIN ? SLOT_LINES_MIN : lines;
}

static inline int slot_map_init(slot_map *map, uint64_t capacity, uint64_t random_state)
{
    uint32_t seed[3];
    memset(map, 0, sizeof *map);
    map->random_state = random_state;
    map->lines_min = slot_map_lines_for(capacity);
    slot_map_seed(map, seed);
    if (map->lines_min > SLOT_LINES_MAX) {
        return -1;
    }
    if (slot_table_init(&map->current, map->lines_min, seed) != 0) {
        return -1;
    }
    slot_memory_advise_huge(map->current.slots, map->current.byte_count);
    return 0;
}

static inline void slot_map_free(slot_map *map)
{
    slot_table_free(&map->current);
    slot_table_free(&map->previous);
    memset(map, 0, sizeof *map);
}

/* Whether a key is, or belongs, in the table that is being left. */
static inline int slot_map_in_previous(const slot_map *map, uint64_t key)
{
    return map->previous.slots != NULL &&
           slot_table_home(&map->previous, key) >= map->moved_lines;
}

static inline slot_table *slot_map_table(slot_map *map, uint64_t key)
{
    return slot_map_in_previous(map, key) ? &map->previous : &map->current;
}

static SIMD_ALWAYS_INLINE uint64_t *slot_map_find(const slot_map *map, uint64_t key,
                                                  unsigned shift, slot_confirm confirm,
                                                  const void *context)
{
    const slot_table *table = slot_map_in_previous(map, key) ? &map->previous : &map->current;
    return slot_table_find(table, key, shift, confirm, context);
}

static inline const uint64_t *slot_map_home_line(const slot_map *map, uint64_t key)
{
    const slot_table *table = slot_map_in_previous(map, key) ? &map->previous : &map->current;
    return slot_table_line(table, slot_table_home(table, key));
}

/* Starts to move into a table of another size or seed. -1: no memory, nothing changed. */
static inline int slot_map_begin(slot_map *map, uint64_t line_count, const uint32_t seed[3])
{
    slot_table next;
    if (line_count > SLOT_LINES_MAX || slot_table_init(&next, line_count, seed) != 0) {
        return -1;
    }
    map->previous = map->current;
    map->current = next;
    map->moved_lines = 0;
    map->released_lines = 0;
    return 0;
}

/* Copies the entries of `from`, from `line` on, into `to`. -1 if one finds no place. */
static SIMD_ALWAYS_INLINE int slot_table_copy(const slot_table *from, uint64_t line,
                                              slot_table *to, unsigned shift)
{
    const uint64_t end = from->line_count + SLOT_SPARE_LINES;
    for (const uint64_t *slot = slot_table_line(from, line); slot < slot_table_line(from, end);
         slot++) {
        if (*slot >> shift != 0 &&
            slot_table_place(to, *slot >> shift, slot_payload(*slot, shift), shift) < 0) {
            return -1;
        }
    }
    return 0;
}

/*
 * Moves everything at once into a larger table under a new seed: the way out when an entry finds no
 * place before the spare lines end, which only an attack on a leaked seed brings about. It may
 * stall. -1: no memory, nothing changed.
 */
static SIMD_ALWAYS_INLINE int slot_map_rebuild(slot_map *map, unsigned shift)
{
    for (uint64_t lines = map->current.line_count * 2; lines <= SLOT_LINES_MAX; lines *= 2) {
        slot_table next;
        uint32_t seed[3];
        slot_map_seed(map, seed);
        if (slot_table_init(&next, lines, seed) != 0) {
            return -1;
        }
        if (slot_table_copy(&map->current, 0, &next, shift) == 0 &&
            (map->previous.slots == NULL ||
             slot_table_copy(&map->previous, map->moved_lines, &next, shift) == 0)) {
            slot_table_free(&map->previous);
            slot_table_free(&map->current);
            map->current = next;
            map->reseed_count++;
            return 0;
        }
        slot_table_free(&next);
    }
    return -1;
}

static inline void slot_map_release(slot_map *map)
{
    const uint64_t lines_per_page = SLOT_HUGE_PAGE_BYTES / SLOT_LINE_BYTES;
    uint64_t whole = map->moved_lines / lines_per_page * lines_per_page;
    if (whole > map->released_lines && whole <= map->previous.line_count) {
        madvise(slot_table_line(&map->previous, map->released_lines),
                (size_t)(whole - map->released_lines) * SLOT_LINE_BYTES, MADV_DONTNEED);
        map->released_lines = whole;
    }
}

/*
 * Moves at least `lines` more lines, up to one that nothing overflows from: there every entry whose
 * home was moved has been moved itself. -1 if there is no place and no memory, nothing changed.
 */
static SIMD_ALWAYS_INLINE int slot_map_move(slot_map *map, uint64_t lines, unsigned shift)
{
    slot_table *previous = &map->previous;
    const uint64_t goal = map->moved_lines + lines;
    while (previous->slots != NULL && map->moved_lines < goal) {
        const uint64_t *slot = slot_table_line(previous, map->moved_lines);
        const uint64_t *first = slot;
        for (;; slot++) {
            if (*slot >> shift != 0 &&
                slot_table_place(&map->current, *slot >> shift, slot_payload(*slot, shift),
                                 shift) < 0) {
                break;
            }
            if ((slot - first) % SLOTS_PER_LINE == SLOTS_PER_LINE - 1 &&
                !(*slot & slot_overflow_bit(shift))) {
                slot++;
                map->moved_lines += (uint64_t)(slot - first) / SLOTS_PER_LINE;
                first = NULL;
                break;
            }
        }
        if (first != NULL) {
            /* Undo the part of the chain that was placed, or it would be there twice. */
            for (const uint64_t *placed = first; placed < slot; placed++) {
                const uint64_t payload = slot_payload(*placed, shift);
                uint64_t *copy = slot_table_line(
                    &map->current, slot_table_home(&map->current, *placed >> shift));
                if (*placed >> shift == 0) {
                    continue;
                }
                while (*copy >> shift != *placed >> shift ||
                       slot_payload(*copy, shift) != payload) {
                    copy++;
                }
                slot_table_remove(&map->current, copy, shift);
            }
            return slot_map_rebuild(map, shift);
        }
        if (map->moved_lines >= previous->line_count) {
            slot_table_free(previous);
            slot_memory_advise_huge(map->current.slots, map->current.byte_count);
        }
    }
    if (previous->slots != NULL) {
        slot_map_release(map);
    }
    return 0;
}

/* Before an insertion: moves on, or starts to grow. -1: full, and no memory to grow. */
static SIMD_ALWAYS_INLINE int slot_map_make_room(slot_map *map, unsigned shift)
{
    const uint64_t slots = map->current.line_count * SLOTS_PER_LINE;
    if (map->previous.slots != NULL) {
        return slot_map_move(map, SLOT_MOVE_LINES, shift);
    }
    if (map->count * 32 >= slots * SLOT_LOAD_GROW && map->count >= map->retry_count) {
        /* Small tables double; large ones grow by half, which wastes less. */
        uint64_t lines = map->current.line_count;
        lines += map->current.byte_count < SLOT_HUGE_PAGE_BYTES ? lines : lines / 2;
        if (slot_map_begin(map, lines, map->current.seed) == 0) {
            return 0;
        }
        map->retry_count = map->count + map->count / 32 + 1;
    }
    return map->count * 32 >= slots * SLOT_LOAD_FULL ? -1 : 0;
}

/* How many entries may be in the table before one more makes it grow; 0 while it is moving. */
static inline uint64_t slot_map_room(const slot_map *map)
{
    const uint64_t slots = map->current.line_count * SLOTS_PER_LINE;
    return map->previous.slots != NULL ? 0 : (slots * SLOT_LOAD_GROW + 31) / 32;
}

/* Adds a key (with this payload) that is not there. -1: no memory, nothing changed. */
static SIMD_ALWAYS_INLINE int slot_map_add(slot_map *map, uint64_t key, uint64_t payload,
                                           unsigned shift)
{
    if (slot_map_make_room(map, shift) != 0) {
        return -1;
    }
    int64_t displacement;
    while ((displacement = slot_table_place(slot_map_table(map, key), key, payload, shift)) < 0) {
        if (slot_map_rebuild(map, shift) != 0) {
            return -1;
        }
    }
    map->count++;
    if (displacement > SLOT_DISPLACEMENT_MAX && map->previous.slots == NULL &&
        map->count >= map->retry_count) {
        uint32_t seed[3];
        slot_map_seed(map, seed);
        if (slot_map_begin(map, map->current.line_count, seed) == 0) {
            map->reseed_count++;
        }
        /* If it did not help, the keys themselves are equal: do not try again at once. */
        map->retry_count = map->count + map->count / 32 + 1;
    }
    return 0;
}

/* Removes the entry of a slot that slot_map_find gave; moves on, or starts to shrink. */
static SIMD_ALWAYS_INLINE void slot_map_remove(slot_map *map, uint64_t *slot, unsigned shift)
{
    slot_table_remove(slot_map_table(map, *slot >> shift), slot, shift);
    map->count--;
    if (map->previous.slots != NULL) {
        /* Without memory the move waits; the next insertion meets the same and reports it. */
        (void)slot_map_move(map, SLOT_MOVE_LINES, shift);
        return;
    }
    const uint64_t lines = map->current.line_count;
    if (lines > map->lines_min && map->count * 32 < lines * SLOTS_PER_LINE * SLOT_LOAD_SHRINK) {
        uint64_t smaller = lines / 3 > map->lines_min ? lines / 3 : map->lines_min;
        if (slot_map_begin(map, smaller, map->current.seed) == 0) {
            map->retry_count = 0;
        }
    }
}

/* Makes room for `capacity` entries at half load. A move under way is ended first, which may
 * stall; the growth itself is spread over the insertions that follow. -1: no memory. */
static SIMD_ALWAYS_INLINE int slot_map_reserve(slot_map *map, uint64_t capacity, unsigned shift)
{
    const uint64_t lines = slot_map_lines_for(capacity);
    if (lines > SLOT_LINES_MAX) {
        return -1;
    }
    if (lines > map->current.line_count) {
        if (slot_map_move(map, UINT64_MAX - map->moved_lines, shift) != 0 ||
            slot_map_begin(map, lines, map->current.seed) != 0) {
            return -1;
        }
    }
    map->lines_min = lines > map->lines_min ? lines : map->lines_min;
    return 0;
}

static inline uint64_t slot_map_memory_bytes(const slot_map *map)
{
    return map->current.byte_count + map->previous.byte_count -
           map->released_lines * SLOT_LINE_BYTES * (map->previous.slots != NULL);
}

#endif
