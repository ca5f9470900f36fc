/* Memory for state that must not fail half way.
 *
 * What it is: malloc and realloc that stop the process, with a reason, when memory is exhausted,
 * and an arena of small blocks addressed by 32-bit handles.
 * Who calls it: every table of the matcher.
 * What it must never know: what the blocks hold.
 *
 * Why fail-stop: a gate engine that could not store an event must not go on answering as if the
 * event had never come. All its state can be had back from Kafka, so the safe thing is to end.
 */
#ifndef GATEJOIN_MEMORY_H
#define GATEJOIN_MEMORY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void *memory_resize(void *old, uint64_t bytes, const char *what)
{
    void *block = realloc(old, bytes ? bytes : 1);
    if (!block) {
        fprintf(stderr,
                "gatejoin: out of memory: %llu bytes for %s; stopping, since state that can't be "
                "stored can't be answered from. Give the process more memory or more partitions "
                "to other workers.\n",
                (unsigned long long)bytes, what);
        abort();
    }
    return block;
}

/* Doubles an array until it holds `needed` elements; new elements are zero. */
static inline void *memory_grow(void *array, uint64_t *capacity, uint64_t needed, size_t element,
                                const char *what)
{
    if (needed <= *capacity)
        return array;
    uint64_t larger = *capacity ? *capacity : 16;
    while (larger < needed)
        larger *= 2;
    array = memory_resize(array, larger * element, what);
    memset((uint8_t *)array + *capacity * element, 0, (larger - *capacity) * element);
    *capacity = larger;
    return array;
}

/* The same without the zeros, for who fills each element when it is first used. The memory of a
 * large array is remapped, not copied, and what is not used yet is not touched: zeros for half a
 * gigabyte would stop everybody for 100 ms. */
static inline void *memory_extend(void *array, uint64_t *capacity, uint64_t needed, size_t element,
                                  const char *what)
{
    if (needed <= *capacity)
        return array;
    uint64_t larger = *capacity ? *capacity : 16;
    while (larger < needed)
        larger *= 2;
    *capacity = larger;
    return memory_resize(array, larger * element, what);
}

/* ---- arena -------------------------------------------------------------------------------------
 * Blocks live in chunks of 4 MiB and never move, so a pointer stays good until its block is freed.
 *
 *   handle (32 bits) = number of the 8-byte granule, counted over all chunks:
 *   | chunk 13 bits | granule in chunk 19 bits |        handle 0 is "none"; 32 GiB can be addressed
 *
 * A handle is half a pointer, which is what makes the state of a unit small. Freed blocks wait in a
 * list for their size: every multiple of 8 up to 512 bytes has its own list, larger sizes are
 * rounded up to powers of two, so churn reuses exactly what it freed and nothing creeps.
 */
#define ARENA_CHUNK_LOG2 22
#define ARENA_CHUNK_BYTES (1u << ARENA_CHUNK_LOG2)
#define ARENA_GRANULES_LOG2 (ARENA_CHUNK_LOG2 - 3)
#define ARENA_SMALL_BYTES 512u
#define ARENA_SMALL_CLASSES (ARENA_SMALL_BYTES / 8)
#define ARENA_CLASSES (ARENA_SMALL_CLASSES + 26)
#define ARENA_CHUNKS_MAX (1u << (32 - ARENA_GRANULES_LOG2))

typedef struct {
    uint8_t **chunks;
    uint8_t *owned; /* 1 where the chunk begins an allocation of its own */
    uint64_t chunk_capacity, owned_capacity;
    uint32_t chunk_count;
    uint32_t open_chunk; /* the chunk that small blocks are cut from */
    uint32_t open_used;  /* bytes of it in use */
    uint32_t free_blocks[ARENA_CLASSES];
    uint64_t bytes_in_use;
} arena;

static inline void *arena_at(const arena *arena_, uint32_t handle)
{
    return arena_->chunks[handle >> ARENA_GRANULES_LOG2] +
           (uint64_t)(handle & ((1u << ARENA_GRANULES_LOG2) - 1)) * 8;
}

static inline uint32_t arena_class(uint64_t bytes)
{
    if (bytes <= ARENA_SMALL_BYTES)
        return (uint32_t)((bytes + 7) / 8) - (bytes ? 1 : 0);
    return ARENA_SMALL_CLASSES + (uint32_t)(63 - __builtin_clzll((bytes - 1) / ARENA_SMALL_BYTES));
}

static inline uint64_t arena_class_bytes(uint32_t class_)
{
    if (class_ < ARENA_SMALL_CLASSES)
        return (uint64_t)(class_ + 1) * 8;
    return (uint64_t)ARENA_SMALL_BYTES << (class_ - ARENA_SMALL_CLASSES + 1);
}

/* A run of chunks that lie one behind the other; returns the number of the first. */
static inline uint32_t arena_add_chunks(arena *arena_, uint32_t count)
{
    if (arena_->chunk_count + count > ARENA_CHUNKS_MAX) {
        fprintf(stderr, "gatejoin: the state of this worker would pass 32 GiB, the most that one "
                        "process addresses; stopping. Spread the partitions over more workers.\n");
        abort();
    }
    uint8_t *base = (uint8_t *)memory_resize(NULL, (uint64_t)count << ARENA_CHUNK_LOG2, "state");
    uint32_t first = arena_->chunk_count;
    arena_->chunks = (uint8_t **)memory_grow(arena_->chunks, &arena_->chunk_capacity, first + count,
                                             sizeof *arena_->chunks, "the list of chunks");
    arena_->owned = (uint8_t *)memory_grow(arena_->owned, &arena_->owned_capacity, first + count, 1,
                                           "the list of chunks");
    for (uint32_t i = 0; i < count; i++) {
        arena_->chunks[first + i] = base + ((uint64_t)i << ARENA_CHUNK_LOG2);
        arena_->owned[first + i] = i == 0;
    }
    arena_->chunk_count += count;
    return first;
}

/* A block that no freed one of its size can be, the open chunk has no room for, or that is a chunk
 * or more itself. */
static __attribute__((noinline)) uint32_t arena_allocate_new(arena *arena_, uint64_t size)
{
    if (!arena_->chunk_count) {
        arena_->open_chunk = arena_add_chunks(arena_, 1);
        arena_->open_used = 8; /* handle 0 stays "none" */
    }
    if (size > ARENA_CHUNK_BYTES / 4) {
        uint32_t chunks = (uint32_t)((size + ARENA_CHUNK_BYTES - 1) >> ARENA_CHUNK_LOG2);
        return arena_add_chunks(arena_, chunks) << ARENA_GRANULES_LOG2;
    }
    if (arena_->open_used + size > ARENA_CHUNK_BYTES) {
        arena_->open_chunk = arena_add_chunks(arena_, 1);
        arena_->open_used = 0;
    }
    uint32_t handle = (arena_->open_chunk << ARENA_GRANULES_LOG2) + arena_->open_used / 8;
    arena_->open_used += (uint32_t)size;
    return handle;
}

static inline uint32_t arena_allocate(arena *arena_, uint64_t bytes)
{
    uint32_t class_ = arena_class(bytes);
    uint64_t size = arena_class_bytes(class_);
    uint32_t handle = arena_->free_blocks[class_];
    arena_->bytes_in_use += size;
    if (handle) {
        memcpy(&arena_->free_blocks[class_], arena_at(arena_, handle), sizeof handle);
        return handle;
    }
    if (!arena_->chunk_count || size > ARENA_SMALL_BYTES ||
        arena_->open_used + size > ARENA_CHUNK_BYTES)
        return arena_allocate_new(arena_, size);
    handle = (arena_->open_chunk << ARENA_GRANULES_LOG2) + arena_->open_used / 8;
    arena_->open_used += (uint32_t)size;
    return handle;
}

static inline void arena_release(arena *arena_, uint32_t handle, uint64_t bytes)
{
    uint32_t class_ = arena_class(bytes);
    memcpy(arena_at(arena_, handle), &arena_->free_blocks[class_], sizeof handle);
    arena_->free_blocks[class_] = handle;
    arena_->bytes_in_use -= arena_class_bytes(class_);
}

static inline void arena_free(arena *arena_)
{
    for (uint32_t i = 0; i < arena_->chunk_count; i++)
        if (arena_->owned[i])
            free(arena_->chunks[i]);
    free(arena_->chunks);
    free(arena_->owned);
    memset(arena_, 0, sizeof *arena_);
}

#endif
