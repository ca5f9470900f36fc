/*
 * The physical limit of a probe: one 64-byte line loaded from each of many addresses, and next to
 * nothing done with it. Compiled and called by conftest.py; knows no table.
 */
#include <stdint.h>

enum { PREFETCH_DISTANCE = 32 };

uint64_t gather(const uint64_t *addresses, int64_t count)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i + PREFETCH_DISTANCE < count) {
            __builtin_prefetch((const void *)(uintptr_t)addresses[i + PREFETCH_DISTANCE]);
        }
        const uint64_t *line = (const uint64_t *)(uintptr_t)addresses[i];
        sum += line[0] ^ line[7];
    }
    return sum;
}
