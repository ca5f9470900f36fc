/* CRC-32C (Castagnoli), the checksum of Kafka's record batches.
 *
 * What it is: one function, `crc32c`, with three ways to the same answer: the SSE4.2 instruction
 * on x86-64 (found at run time), the CRC extension on arm64 (found at compile time), and tables.
 * Who calls it: record_batch.h. `crc32c_initialise` must have run first, once.
 * What it must never know: record batches.
 *
 * The instruction takes 3 cycles and one can start every cycle, so three lanes side by side run
 * three times as fast as one. The lanes are joined by a linear operator, "append LANE zero bytes",
 * kept as four tables of 256 words: long lanes for long batches, short ones for what remains.
 */
#ifndef GATEJOIN_CRC32C_H
#define GATEJOIN_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC32C_INSTRUCTION 1
#define CRC32C_TARGET __attribute__((target("sse4.2")))
#define CRC32C_U64(crc, word) _mm_crc32_u64((crc), (word))
#define CRC32C_U8(crc, byte) _mm_crc32_u8((uint32_t)(crc), (byte))
typedef uint64_t crc32c_lane;
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define CRC32C_INSTRUCTION 1
#define CRC32C_TARGET
#define CRC32C_U64(crc, word) __crc32cd((crc), (word))
#define CRC32C_U8(crc, byte) __crc32cb((crc), (byte))
typedef uint32_t crc32c_lane;
#else
#define CRC32C_INSTRUCTION 0
#endif

#define CRC32C_POLYNOMIAL 0x82f63b78u /* reflected */
#define CRC32C_LONG_LANE 1024
#define CRC32C_SHORT_LANE 128

static struct {
    uint32_t slice[8][256];      /* slicing by eight, for machines without the instruction */
    uint32_t long_lane[4][256];  /* append CRC32C_LONG_LANE zero bytes */
    uint32_t short_lane[4][256]; /* append CRC32C_SHORT_LANE zero bytes */
    int has_instruction;
    int is_ready;
} crc32c_tables;

static uint32_t crc32c_portable(uint32_t crc, const uint8_t *bytes, size_t length)
{
    const uint32_t(*t)[256] = crc32c_tables.slice;
    while (length >= 8) {
        uint32_t low = crc ^ ((uint32_t)bytes[0] | (uint32_t)bytes[1] << 8
                              | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24);
        crc = t[7][low & 255] ^ t[6][low >> 8 & 255] ^ t[5][low >> 16 & 255] ^ t[4][low >> 24]
            ^ t[3][bytes[4]] ^ t[2][bytes[5]] ^ t[1][bytes[6]] ^ t[0][bytes[7]];
        bytes += 8;
        length -= 8;
    }
    while (length--)
        crc = crc >> 8 ^ t[0][(crc ^ *bytes++) & 255];
    return crc;
}

#if CRC32C_INSTRUCTION
static inline uint64_t crc32c_load(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, 8);
    return word;
}

static inline uint32_t crc32c_append_zeros(const uint32_t (*lane)[256], uint32_t crc)
{
    return lane[0][crc & 255] ^ lane[1][crc >> 8 & 255] ^ lane[2][crc >> 16 & 255]
         ^ lane[3][crc >> 24];
}

CRC32C_TARGET static uint32_t crc32c_instruction(uint32_t crc, const uint8_t *bytes, size_t length)
{
    size_t lane_length = CRC32C_LONG_LANE;
    const uint32_t(*lane)[256] = crc32c_tables.long_lane;
    for (int pass = 0; pass < 2; pass++) {
        while (length >= 3 * lane_length) {
            crc32c_lane a = crc, b = 0, c = 0;
            for (size_t i = 0; i < lane_length; i += 64) {
                const uint8_t *line = bytes + i;
                for (size_t ahead = 3; ahead < 6; ahead++) /* the lanes after these three */
                    __builtin_prefetch((const void *)((uintptr_t)line + ahead * lane_length));
                for (size_t word = 0; word < 64; word += 8) {
                    a = CRC32C_U64(a, crc32c_load(line + word));
                    b = CRC32C_U64(b, crc32c_load(line + lane_length + word));
                    c = CRC32C_U64(c, crc32c_load(line + 2 * lane_length + word));
                }
            }
            crc = crc32c_append_zeros(lane, (uint32_t)a) ^ (uint32_t)b;
            crc = crc32c_append_zeros(lane, crc) ^ (uint32_t)c;
            bytes += 3 * lane_length;
            length -= 3 * lane_length;
        }
        lane_length = CRC32C_SHORT_LANE;
        lane = crc32c_tables.short_lane;
    }
    crc32c_lane rest = crc;
    for (; length >= 8; bytes += 8, length -= 8)
        rest = CRC32C_U64(rest, crc32c_load(bytes));
    while (length--)
        rest = CRC32C_U8(rest, *bytes++);
    return (uint32_t)rest;
}
#endif

/* Fills the tables and picks the way; GATEJOIN_SIMD=portable in the environment forces tables.
 * Not thread-safe: call it while the module is imported. */
static void crc32c_initialise(void)
{
    static const uint8_t zeros[CRC32C_LONG_LANE];
    if (crc32c_tables.is_ready)
        return;
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (CRC32C_POLYNOMIAL & (0u - (crc & 1)));
        crc32c_tables.slice[0][byte] = crc;
    }
    for (int row = 1; row < 8; row++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t above = crc32c_tables.slice[row - 1][byte];
            crc32c_tables.slice[row][byte] = above >> 8 ^ crc32c_tables.slice[0][above & 255];
        }
    }
    for (int row = 0; row < 4; row++) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t crc = byte << (8 * row);
            crc32c_tables.long_lane[row][byte] = crc32c_portable(crc, zeros, CRC32C_LONG_LANE);
            crc32c_tables.short_lane[row][byte] = crc32c_portable(crc, zeros, CRC32C_SHORT_LANE);
        }
    }
#if defined(__x86_64__)
    crc32c_tables.has_instruction = __builtin_cpu_supports("sse4.2") ? 1 : 0;
#else
    crc32c_tables.has_instruction = CRC32C_INSTRUCTION;
#endif
    const char *forced = getenv("GATEJOIN_SIMD");
    if (forced && strcmp(forced, "portable") == 0)
        crc32c_tables.has_instruction = 0;
    crc32c_tables.is_ready = 1;
}

static inline uint32_t crc32c(const uint8_t *bytes, size_t length)
{
#if CRC32C_INSTRUCTION
    if (crc32c_tables.has_instruction)
        return ~crc32c_instruction(0xffffffffu, bytes, length);
#endif
    return ~crc32c_portable(0xffffffffu, bytes, length);
}

#endif
