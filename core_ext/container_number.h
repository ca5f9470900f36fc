/*
 * Container numbers of ISO 6346: check digit, validation, and the 36-bit packed key.
 *
 * Called by unit_index.h, the matcher and container_number.pyx. It knows bytes and keys only:
 * no tables, no events, no Python.
 *
 * A number is 11 bytes: owner (3 letters), category (1 letter), serial (6 digits), check digit.
 * A letter counts 10..38 with 11, 22 and 33 skipped; s = sum of value(i) << i over the first ten;
 * the check digit is (s mod 11) mod 10, so a remainder of 10 is written 0.
 *
 * Two questions are kept apart:
 *   check  4 letters A-Z, 6 digits and the right check digit, whatever the fourth letter;
 *   pack   the same with the category J, U or Z, which the standard asks for. Only these have a
 *          packed key; any other name is a general one.
 *
 * Packed key, 36 bits:
 *
 *   35            20 19             0
 *   +---------------+---------------+
 *   |    prefix     |    serial     |   prefix = (l0*26 + l1)*78 + l2*3 + category, J=1 U=2 Z=3
 *   +---------------+---------------+   serial = 0..999999 (the check digit follows from the rest)
 *
 * Categories count from 1, so that no key is 0: a page of zeros is a table of empty slots. The
 * largest prefix is 52,728, so that a key of 36 ones never is a number either.
 */
#ifndef GATEJOIN_CONTAINER_NUMBER_H
#define GATEJOIN_CONTAINER_NUMBER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "simd_path.h"

#define CONTAINER_NUMBER_LENGTH 11
#define CONTAINER_NUMBER_INVALID UINT64_MAX
#define CONTAINER_NUMBER_SERIAL_BITS 20
#define CONTAINER_NUMBER_SERIAL_MAX 999999u
#define CONTAINER_NUMBER_PREFIX_MAX 52728u /* 26 * 26 * 26 * 3 */
#define CONTAINER_NUMBER_KEY_BITS 36

/* Repairs of one number: 10 transpositions, 25 other letters at 3 places, 3 categories and 9 other
 * digits at 7 places can be written; of these only those that fit the check digit are returned. */
#define CONTAINER_NUMBER_REPAIR_MAX 161

static const uint8_t container_number_letter_value[26] = {
    10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24,
    25, 26, 27, 28, 29, 30, 31, 32, 34, 35, 36, 37, 38,
};

/* The check digit of 4 letters and 6 digits, or -1 if they are not that. */
static inline int container_number_check_digit(const uint8_t *ten)
{
    uint32_t sum = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t letter = (uint32_t)ten[i] - 'A';
        if (letter > 25) {
            return -1;
        }
        sum += (uint32_t)container_number_letter_value[letter] << i;
    }
    for (int i = 4; i < 10; i++) {
        uint32_t digit = (uint32_t)ten[i] - '0';
        if (digit > 9) {
            return -1;
        }
        sum += digit << i;
    }
    return (int)(sum % 11 % 10);
}

/* Whether a name is 4 letters, 6 digits and their check digit. */
static inline int container_number_check(const uint8_t *name, size_t length)
{
    if (length != CONTAINER_NUMBER_LENGTH) {
        return 0;
    }
    int check_digit = container_number_check_digit(name);
    return check_digit >= 0 && name[10] == '0' + check_digit;
}

/* The packed key of 11 bytes, or CONTAINER_NUMBER_INVALID. */
static inline uint64_t container_number_pack(const uint8_t *number)
{
    uint32_t category;
    switch (number[3]) {
    case 'J': category = 1; break;
    case 'U': category = 2; break;
    case 'Z': category = 3; break;
    default: return CONTAINER_NUMBER_INVALID;
    }
    if (!container_number_check(number, CONTAINER_NUMBER_LENGTH)) {
        return CONTAINER_NUMBER_INVALID;
    }
    uint32_t prefix = ((uint32_t)(number[0] - 'A') * 26 + (uint32_t)(number[1] - 'A')) * 78 +
                      (uint32_t)(number[2] - 'A') * 3 + category;
    uint32_t serial = 0;
    for (int i = 4; i < 10; i++) {
        serial = serial * 10 + (uint32_t)(number[i] - '0');
    }
    return ((uint64_t)prefix << CONTAINER_NUMBER_SERIAL_BITS) | serial;
}

/* Whether a key is one that container_number_pack gives. */
static inline int container_number_key_valid(uint64_t key)
{
    uint64_t prefix = key >> CONTAINER_NUMBER_SERIAL_BITS;
    uint64_t serial = key & ((1u << CONTAINER_NUMBER_SERIAL_BITS) - 1);
    return prefix - 1 < CONTAINER_NUMBER_PREFIX_MAX && serial <= CONTAINER_NUMBER_SERIAL_MAX;
}

/* Writes the 11 bytes of a valid key. */
static inline void container_number_unpack(uint64_t key, uint8_t out[CONTAINER_NUMBER_LENGTH])
{
    uint32_t prefix = (uint32_t)(key >> CONTAINER_NUMBER_SERIAL_BITS) - 1;
    uint32_t serial = (uint32_t)key & ((1u << CONTAINER_NUMBER_SERIAL_BITS) - 1);
    out[0] = (uint8_t)('A' + prefix / 2028);
    out[1] = (uint8_t)('A' + prefix / 78 % 26);
    out[2] = (uint8_t)('A' + prefix / 3 % 26);
    out[3] = (uint8_t)("JUZ"[prefix % 3]);
    for (int i = 9; i >= 4; i--) {
        out[i] = (uint8_t)('0' + serial % 10);
        serial /= 10;
    }
    out[10] = (uint8_t)('0' + container_number_check_digit(out));
}

/*
 * Numbers one slip of the pen away from `number` that are right: neighbours exchanged first, left
 * to right, then one character replaced, left to right, in ASCII order. Writes up to
 * CONTAINER_NUMBER_REPAIR_MAX times 11 bytes and returns how many; 0 if the number itself has a
 * packed key. Each is written once.
 */
static inline int container_number_repair(const uint8_t number[CONTAINER_NUMBER_LENGTH],
                                          uint8_t *out)
{
    static const char *const digits = "0123456789";
    static const char *const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char *const categories = "JUZ";
    int count = 0;
    uint8_t trial[CONTAINER_NUMBER_LENGTH];
    if (container_number_pack(number) != CONTAINER_NUMBER_INVALID) {
        return 0;
    }
    memcpy(trial, number, CONTAINER_NUMBER_LENGTH);
    for (int i = 0; i + 1 < CONTAINER_NUMBER_LENGTH; i++) {
        if (number[i] == number[i + 1]) {
            continue;
        }
        trial[i] = number[i + 1];
        trial[i + 1] = number[i];
        if (container_number_pack(trial) != CONTAINER_NUMBER_INVALID) {
            memcpy(out + CONTAINER_NUMBER_LENGTH * count++, trial, CONTAINER_NUMBER_LENGTH);
        }
        trial[i] = number[i];
        trial[i + 1] = number[i + 1];
    }
    for (int i = 0; i < CONTAINER_NUMBER_LENGTH; i++) {
        const char *choices = i < 3 ? letters : i == 3 ? categories : digits;
        for (; *choices != '\0'; choices++) {
            trial[i] = (uint8_t)*choices;
            if (container_number_pack(trial) != CONTAINER_NUMBER_INVALID) {
                memcpy(out + CONTAINER_NUMBER_LENGTH * count++, trial, CONTAINER_NUMBER_LENGTH);
            }
        }
        trial[i] = number[i];
    }
    return count;
}

#if SIMD_HAS_AVX2_BODY

/*
 * Four numbers at a time, two in each 256-bit register (16 bytes a number, of which the last five
 * are the next one's and do not count). Signed byte compares tell the skipped letter values and,
 * on the fourth letter, the category at once; two multiply-adds give the check sum and the key.
 */
typedef struct container_number_constants {
    __m256i base;             /* 'A' or '0' by place */
    __m256i range;            /* 25 or 9 by place, 255 where anything goes */
    __m256i skip_11;          /* letter offsets above these have passed a skipped value */
    __m256i skip_22;
    __m256i skip_33;
    __m256i category_letter;  /* letter offset of J, U, Z at 1, 2, 3 */
    __m256i category_place;   /* ones at place 3 */
    __m256i other_places;     /* its complement */
    __m256i weight;           /* 2^place mod 11; 10 = -1 for the check digit */
    __m256i key_weight;
    __m256i key_group_weight;
    __m256i no_zero_digit;    /* 0 at place 10, else 255 */
    __m256i zero_digit_flag;  /* 0x40 at the low byte of the pair holding place 10 */
} container_number_constants;

#define CONTAINER_NUMBER_TWICE(...) _mm256_setr_epi8(__VA_ARGS__, __VA_ARGS__)

SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE container_number_constants
container_number_constants_avx2(void)
{
    const char any = (char)255;
    container_number_constants c;
    c.base = CONTAINER_NUMBER_TWICE('A', 'A', 'A', 'A', '0', '0', '0', '0', '0', '0', '0', '0', 0,
                                    0, 0, 0);
    c.range = CONTAINER_NUMBER_TWICE(25, 25, 25, 25, 9, 9, 9, 9, 9, 9, 9, any, any, any, any, any);
    c.skip_11 = CONTAINER_NUMBER_TWICE(0, 0, 0, 0, 127, 127, 127, 127, 127, 127, 127, 127, 127,
                                       127, 127, 127);
    c.skip_22 = CONTAINER_NUMBER_TWICE(10, 10, 10, 10, 127, 127, 127, 127, 127, 127, 127, 127,
                                       127, 127, 127, 127);
    c.skip_33 = CONTAINER_NUMBER_TWICE(20, 20, 20, 20, 127, 127, 127, 127, 127, 127, 127, 127,
                                       127, 127, 127, 127);
    c.category_letter = CONTAINER_NUMBER_TWICE(any, 'J' - 'A', 'U' - 'A', 'Z' - 'A', 0, 0, 0, 0,
                                               0, 0, 0, 0, 0, 0, 0, 0);
    c.category_place = CONTAINER_NUMBER_TWICE(0, 0, 0, any, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    c.other_places = CONTAINER_NUMBER_TWICE(any, any, any, 0, any, any, any, any, any, any, any,
                                            any, any, any, any, any);
    c.weight = CONTAINER_NUMBER_TWICE(1, 2, 4, 8, 5, 10, 9, 7, 3, 6, 10, 0, 0, 0, 0, 0);
    c.key_weight = CONTAINER_NUMBER_TWICE(26, 1, 3, 1, 10, 1, 10, 1, 10, 1, 0, 0, 0, 0, 0, 0);
    c.key_group_weight = _mm256_setr_epi16(78, 1, 10000, 100, 1, 0, 0, 0, 78, 1, 10000, 100, 1, 0,
                                           0, 0);
    c.no_zero_digit = CONTAINER_NUMBER_TWICE(any, any, any, any, any, any, any, any, any, any, 0,
                                             any, any, any, any, any);
    c.zero_digit_flag = _mm256_setr_epi16(0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0);
    return c;
}

/* Two numbers: whether each byte is fit, the key's two parts, and the check sum's four. */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE void
container_number_pair_avx2(const container_number_constants *c, const uint8_t *numbers,
                           int any_category, __m256i *fit, __m256i *key, __m256i *sum)
{
    __m256i bytes = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)numbers)),
        _mm_loadu_si128((const __m128i *)(numbers + CONTAINER_NUMBER_LENGTH)), 1);
    __m256i offset = _mm256_sub_epi8(bytes, c->base);
    *fit = _mm256_cmpeq_epi8(_mm256_min_epu8(offset, c->range), offset);

    __m256i past_11 = _mm256_cmpgt_epi8(offset, c->skip_11);
    __m256i past_22_33 = _mm256_add_epi8(_mm256_cmpgt_epi8(offset, c->skip_22),
                                         _mm256_cmpgt_epi8(offset, c->skip_33));
    /* J lies below the second skipped value, U between the two, Z above: 1, 2, 3. */
    __m256i category = _mm256_sub_epi8(_mm256_set1_epi8(1), past_22_33);
    if (!any_category) {
        __m256i expected = _mm256_shuffle_epi8(c->category_letter, category);
        *fit = _mm256_and_si256(
            *fit, _mm256_or_si256(_mm256_cmpeq_epi8(expected, offset), c->other_places));
    }
    __m256i value = _mm256_sub_epi8(_mm256_sub_epi8(offset, past_22_33), past_11);
    __m256i products = _mm256_maddubs_epi16(value, c->weight);
    __m256i zero_flag = _mm256_and_si256(_mm256_cmpeq_epi8(offset, c->no_zero_digit),
                                         c->zero_digit_flag);
    products = _mm256_or_si256(products, _mm256_slli_epi16(zero_flag, 8));
    *sum = _mm256_madd_epi16(products, _mm256_set1_epi16(1));

    __m256i key_bytes = _mm256_blendv_epi8(offset, category, c->category_place);
    *key = _mm256_madd_epi16(_mm256_maddubs_epi16(key_bytes, c->key_weight), c->key_group_weight);
}

/*
 * Keys of four numbers in order, CONTAINER_NUMBER_INVALID where one does not fit. Reads 5 bytes
 * past the fourth. With any_category the keys mean nothing beyond being valid or not.
 */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE __m256i
container_number_pack4_avx2(const container_number_constants *c, const uint8_t *numbers,
                            int any_category)
{
    const __m256i ones = _mm256_set1_epi64x(-1);
    __m256i fit_a, fit_b, key_a, key_b, sum_a, sum_b;
    container_number_pair_avx2(c, numbers, any_category, &fit_a, &key_a, &sum_a);
    container_number_pair_avx2(c, numbers + 2 * CONTAINER_NUMBER_LENGTH, any_category, &fit_b,
                               &key_b, &sum_b);

    __m256i low = _mm256_unpacklo_epi64(key_a, key_b);
    __m256i high = _mm256_unpackhi_epi64(key_a, key_b);
    __m256i prefix = _mm256_srli_epi64(_mm256_slli_epi64(low, 32), 12);
    __m256i key = _mm256_add_epi64(_mm256_add_epi64(prefix, _mm256_srli_epi64(low, 32)), high);

    __m256i fit = _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_unpacklo_epi64(fit_a, fit_b),
                                                      _mm256_unpackhi_epi64(fit_a, fit_b)),
                                     ones);
    __m256i sum = _mm256_add_epi32(_mm256_unpacklo_epi64(sum_a, sum_b),
                                   _mm256_unpackhi_epi64(sum_a, sum_b));
    sum = _mm256_and_si256(_mm256_add_epi32(sum, _mm256_srli_epi64(sum, 32)),
                           _mm256_set1_epi64x(0xffff));
    /* 150 = 10 * (1 + 2 + 4 + 8), what the letters count above their offset; 0x4000 = digit is 0.
     * The quotient by 11 is exact below 32,768. */
    __m256i total = _mm256_add_epi64(_mm256_and_si256(sum, _mm256_set1_epi64x(0x3fff)),
                                     _mm256_set1_epi64x(150));
    __m256i quotient = _mm256_mulhi_epu16(total, _mm256_set1_epi64x(5958));
    __m256i remainder =
        _mm256_sub_epi16(total, _mm256_mullo_epi16(quotient, _mm256_set1_epi64x(11)));
    __m256i flagged =
        _mm256_or_si256(remainder, _mm256_and_si256(sum, _mm256_set1_epi64x(0x4000)));
    __m256i right =
        _mm256_or_si256(_mm256_cmpeq_epi64(remainder, _mm256_setzero_si256()),
                        _mm256_cmpeq_epi64(flagged, _mm256_set1_epi64x(0x4000 | 10)));
    fit = _mm256_and_si256(fit, right);
    key = _mm256_or_si256(key, _mm256_xor_si256(fit, ones));
    return _mm256_permute4x64_epi64(key, 0xD8);
}

/* The first numbers of an array that four-at-a-time may take without reading past its end. */
static inline int64_t container_number_whole_fours(int64_t count)
{
    return count > 4 ? (count - 1) / 4 * 4 : 0;
}

SIMD_TARGET_AVX2 static inline int64_t container_number_pack_avx2(const uint8_t *numbers,
                                                                  int64_t count, uint64_t *keys)
{
    const container_number_constants c = container_number_constants_avx2();
    const int64_t whole = container_number_whole_fours(count);
    for (int64_t i = 0; i < whole; i += 4) {
        _mm256_storeu_si256(
            (__m256i *)(keys + i),
            container_number_pack4_avx2(&c, numbers + CONTAINER_NUMBER_LENGTH * i, 0));
    }
    return whole;
}

SIMD_TARGET_AVX2 static inline int64_t container_number_validate_avx2(const uint8_t *numbers,
                                                                      int64_t count, uint8_t *fit)
{
    const container_number_constants c = container_number_constants_avx2();
    const int64_t whole = container_number_whole_fours(count);
    for (int64_t i = 0; i < whole; i += 4) {
        __m256i keys = container_number_pack4_avx2(&c, numbers + CONTAINER_NUMBER_LENGTH * i, 1);
        uint32_t invalid = (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(keys));
        for (int64_t j = 0; j < 4; j++) {
            fit[i + j] = (uint8_t)(~invalid >> j & 1);
        }
    }
    return whole;
}

#endif

/* Packs `count` numbers of 11 bytes each. */
static inline void container_number_pack_batch(simd_path path, const uint8_t *numbers,
                                               int64_t count, uint64_t *keys)
{
    int64_t done = 0;
#if SIMD_HAS_AVX2_BODY
    if (path >= SIMD_PATH_AVX2) {
        done = container_number_pack_avx2(numbers, count, keys);
    }
#endif
    (void)path;
    for (int64_t i = done; i < count; i++) {
        keys[i] = container_number_pack(numbers + CONTAINER_NUMBER_LENGTH * i);
    }
}

/* fit[i] = 1 where number i passes container_number_check, else 0. */
static inline void container_number_validate_batch(simd_path path, const uint8_t *numbers,
                                                   int64_t count, uint8_t *fit)
{
    int64_t done = 0;
#if SIMD_HAS_AVX2_BODY
    if (path >= SIMD_PATH_AVX2) {
        done = container_number_validate_avx2(numbers, count, fit);
    }
#endif
    (void)path;
    for (int64_t i = done; i < count; i++) {
        fit[i] = (uint8_t)container_number_check(numbers + CONTAINER_NUMBER_LENGTH * i,
                                                 CONTAINER_NUMBER_LENGTH);
    }
}

#endif
