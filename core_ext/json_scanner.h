/* A strict walk over one JSON object (RFC 8259), without recursion and without building anything.
 *
 * What it is: `json_document_load` finds every string of a text with SIMD and checks all that can
 * be checked without grammar (UTF-8, control characters, escapes); `json_members` then walks an
 * object, and notes for each known key the kind and place of its last value.
 * Who calls it: the record scanner and the log line reader.
 * What it must never know: which keys there are, what they mean, where the text comes from.
 *
 * How it works. Outside of strings a JSON text has few bytes, and inside of strings nothing
 * matters but where they end. So a first pass lists the offsets of all quotes that are not
 * escaped, 64 bytes at a time; by the grammar they open and close strings in turn. The walk reads
 * only the bytes between strings, and steps over a string by taking two offsets from the list.
 * If a text is no JSON, a backslash outside of strings may have hidden a quote, but the walk meets
 * that backslash first and refuses it.
 *
 * Programs write their records alike: the same keys in the same order, texts of the same lengths.
 * A text that differs from one walked before only inside of strings (those that are no keys of the
 * object) and in the digits of numbers is JSON of the same structure, and its fields have the same
 * places; a layout remembers the earlier one, and comparing takes a fraction of a walk.
 *
 * The walk needs no bounds checks within the text: a text is refused at once unless its last byte
 * (white space aside) is a `}` that is in no string, and no number, literal or white space goes
 * past that. Only after a `}` has been read the end must be looked for.
 *
 * Reading ahead: up to JSON_READ_AHEAD bytes beyond the end are read, and mean nothing. If they
 * might lie on another page than the last byte, the text is copied first.
 */
#ifndef GATEJOIN_JSON_SCANNER_H
#define GATEJOIN_JSON_SCANNER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "simd_path.h"

#define JSON_READ_AHEAD 64
#define JSON_PAGE_BYTES 4096
#define JSON_LENGTH_MAX INT32_MAX
#define JSON_WORD_MAX 24    /* bytes of the longest known word */
#define JSON_FIELDS_MAX 31  /* known keys of one object */
#define JSON_UNKNOWN 31     /* what an unknown word is found as */
#define JSON_LAYOUT_BLOCKS 8 /* of 64 bytes: longer texts, and those of less than one, are walked */
#define JSON_LAYOUT_QUOTES 128
#define JSON_LAYOUTS_LOG2 6
#define JSON_LAYOUT_MISSES 4 /* texts in a row that have a layout's quotes and are not like it */
#define JSON_STRANGE_MAX 32 /* texts like none before, in a row ... */
#define JSON_REST 96        /* ... after which so many are walked without looking */
#define JSON_WORD_SLOTS_LOG2 6
#define JSON_WORD_SLOTS (1 << JSON_WORD_SLOTS_LOG2)

#if defined(__GNUC__)
#define JSON_COLD __attribute__((cold, noinline, unused))
/* For what is rare where much is: so many "cold" refusals would make the compiler take the good way
 * for the rare one. */
#define JSON_APART __attribute__((noinline, unused))
#else
#define JSON_COLD
#define JSON_APART
#endif

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define JSON_ALWAYS_COPY 1 /* so that the sanitizer sees every read beyond the copy */
#else
#define JSON_ALWAYS_COPY 0
#endif

enum json_error {
    JSON_OK,
    JSON_OUT_OF_MEMORY,
    JSON_TOO_LONG,
    JSON_NO_OBJECT,
    JSON_NO_UTF8,
    JSON_OPEN_STRING,
    JSON_CONTROL_CHARACTER,
    JSON_BAD_ESCAPE,
    JSON_LONE_SURROGATE,
    JSON_BAD_NUMBER,
    JSON_BAD_LITERAL,
    JSON_NO_KEY,
    JSON_NO_COLON,
    JSON_NO_VALUE,
    JSON_NO_COMMA,
    JSON_TOO_DEEP,
    JSON_TRAILING_BYTES,
    JSON_ERROR_COUNT
};

static const char *const json_error_texts[JSON_ERROR_COUNT] = {
    "", "out of memory", "text too long", "no JSON object", "no valid UTF-8",
    "string without end", "control character in a string", "bad escape in a string",
    "lone surrogate", "bad number", "bad literal", "key expected", "colon expected",
    "value expected", "comma or closing bracket expected", "nested too deeply",
    "more after the object",
};

enum json_kind {
    JSON_ABSENT, /* or null, which CONTRACT.md section 1 makes the same */
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_ARRAY,
    JSON_OBJECT
};

/* What the first pass saw anywhere in a text. */
enum {
    JSON_HAS_BACKSLASH = 1,
    JSON_HAS_CONTROL = 2, /* U+0000 to U+001F, white space included */
    JSON_HAS_DELETE = 4,  /* U+007F */
    JSON_HAS_NON_ASCII = 8
};

typedef uint32_t (*json_index_function)(const uint8_t *, uint32_t, uint32_t *, uint32_t *);
typedef struct json_layout json_layout;
typedef struct json_layouts json_layouts;
enum json_likeness { JSON_UNLIKE, JSON_WORTH_LEARNING, JSON_ALIKE };
typedef enum json_likeness (*json_layout_function)(json_layouts *, const uint8_t *, uint32_t,
                                                   json_layout **);

/* A text being scanned and all memory that scanning needs; reused from text to text. */
typedef struct {
    const uint8_t *base;
    uint32_t start, end; /* the object within the text, white space cut */
    uint32_t flags;
    uint32_t quote_count;
    uint32_t *quotes;       /* offsets of the quotes that open and close strings, in turn */
    const uint32_t *listed; /* the same: `quotes`, or those of a layout */
    json_layout *layout;    /* of the text, NULL if it has none */
    uint64_t *levels;       /* one bit a level: is it an object */
    uint8_t *scratch;       /* decoded strings; never moves while a text is scanned */
    uint8_t *copy;          /* of a text that ends at the end of a page */
    uint64_t quotes_capacity, levels_capacity, scratch_capacity, copy_capacity;
    uint64_t scratch_size;
    simd_path path;
    json_index_function index;
    uint32_t depth_max;       /* levels of nesting, the object itself being the first */
    uint8_t allow_lone_surrogates;
    uint8_t error;            /* enum json_error */
    uint32_t error_at;        /* offset of the byte at which it was seen */
} json_document;

typedef struct {
    uint32_t start, end; /* of a string without its quotes */
    uint32_t quote;      /* index in `quotes` of the first quote at or after `start` */
} json_span;

/* Where the walk is: the next byte, and the next quote at or after it. */
typedef struct {
    const uint8_t *byte;
    const uint32_t *quote;
} json_cursor;

/* The last value of each known key of one object. */
typedef struct {
    uint8_t kind[JSON_FIELDS_MAX + 1];
    json_span span[JSON_FIELDS_MAX + 1];
} json_fields;

/* A perfect hash table of known words, keys or values of an enumeration. */
typedef struct {
    uint64_t word[3]; /* zero-padded, first byte lowest */
    uint8_t length;
    uint8_t number;
    uint8_t padding[6];
} json_word;

typedef struct {
    json_word slots[JSON_WORD_SLOTS];
    uint64_t multiplier;
} json_words;

/* A text that was walked, as what may stand at each of its bytes. Its blocks of 64 begin at 0, 64
 * ..., but the last one ends with the text, so that nothing beyond it is read. */
struct json_layout {
    uint64_t key;                        /* hash of length and `quotes`; 0: empty */
    uint64_t quotes[JSON_LAYOUT_BLOCKS]; /* where they are, bit 0 of a block being its first byte */
    uint8_t lowest[64 * JSON_LAYOUT_BLOCKS], highest[64 * JSON_LAYOUT_BLOCKS];
    json_fields fields;
    uint32_t length;
    uint8_t misses; /* texts in a row that had its quotes and were not alike */
    uint8_t proven; /* the caller's, who may note that such a text was good; 0 at first */
    uint32_t quote_count;
    uint32_t quote_places[JSON_LAYOUT_QUOTES];
};

/* Layouts by their key; zero-initialised. A layout is made of what is met a second time. */
struct json_layouts {
    json_layout slots[1 << JSON_LAYOUTS_LOG2];
    uint64_t met_once[1 << JSON_LAYOUTS_LOG2];
    uint32_t strange; /* texts in a row that were like none */
    uint32_t rest;    /* texts to be walked without looking */
};

static inline uint64_t json_load8(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline void json_store8(uint8_t *bytes, uint64_t word)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(bytes, &word, 8);
}

/* ---- known words ---------------------------------------------------------------------------- */

/* At index 16 + n the mask of n bytes; no more than 8, no less than 0. */
static const uint64_t json_word_masks[16 + JSON_WORD_MAX + 1] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
    UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
    UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
    UINT64_MAX,
};

static inline uint32_t json_word_slot(const json_words *words, uint64_t first, uint64_t second)
{
    uint64_t mixed = first ^ (second << 23 | second >> 41);
    return (uint32_t)((mixed * words->multiplier) >> (64 - JSON_WORD_SLOTS_LOG2));
}

/* The number of a word of `length` bytes, or JSON_UNKNOWN. No word of the table is longer than
 * `length_max`, a constant, 16 or JSON_WORD_MAX; so many bytes must be readable. */
static SIMD_ALWAYS_INLINE uint32_t json_words_find_within(const json_words *words,
                                                          uint32_t length_max,
                                                          const uint8_t *bytes, uint32_t length)
{
    if (length > length_max)
        return JSON_UNKNOWN;
    const uint64_t *masks = json_word_masks + 16 + length;
    uint64_t first = json_load8(bytes) & masks[0];
    uint64_t second = json_load8(bytes + 8) & masks[-8];
    const json_word *word = &words->slots[json_word_slot(words, first, second)];
    uint64_t difference = (first ^ word->word[0]) | (second ^ word->word[1]) |
                          (uint64_t)(length ^ word->length);
    if (length_max > 16)
        difference |= (json_load8(bytes + 16) & masks[-16]) ^ word->word[2];
    return difference ? JSON_UNKNOWN : word->number;
}

static SIMD_ALWAYS_INLINE uint32_t json_words_find(const json_words *words, const uint8_t *bytes,
                                                   uint32_t length)
{
    return json_words_find_within(words, JSON_WORD_MAX, bytes, length);
}

/* Fills a table; word i gets number i. At most JSON_FIELDS_MAX words of 1 to JSON_WORD_MAX bytes,
 * of which no two agree in their first 16 bytes. */
static inline void json_words_init(json_words *words, const char *const *names, uint32_t count)
{
    json_word wanted[JSON_FIELDS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        uint8_t padded[JSON_WORD_MAX] = {0};
        wanted[i] = (json_word){{0, 0, 0}, (uint8_t)strlen(names[i]), (uint8_t)i, {0}};
        memcpy(padded, names[i], wanted[i].length);
        for (int part = 0; part < 3; part++)
            wanted[i].word[part] = json_load8(padded + 8 * part);
    }
    /* The first of a row of multipliers that gives each word a slot of its own; it may take
     * thousands, so nothing is written before it is found. */
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
    for (uint32_t placed = 0; placed < count;) {
        uint64_t taken = 0; /* a bit for each of the JSON_WORD_SLOTS */
        words->multiplier = seed | 1;
        for (placed = 0; placed < count; placed++) {
            uint64_t bit = UINT64_C(1) << json_word_slot(words, wanted[placed].word[0],
                                                         wanted[placed].word[1]);
            if (taken & bit)
                break;
            taken |= bit;
        }
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    }
    memset(words->slots, 0, sizeof words->slots);
    for (uint32_t i = 0; i < JSON_WORD_SLOTS; i++)
        words->slots[i].length = 255; /* matches no word */
    for (uint32_t i = 0; i < count; i++)
        words->slots[json_word_slot(words, wanted[i].word[0], wanted[i].word[1])] = wanted[i];
}

/* ---- first pass: where the strings are ------------------------------------------------------ */

/* Lists the unescaped quotes of `bytes` and says in `flags` what else is there. Returns their
 * count. `quotes` has room for length + JSON_READ_AHEAD entries, and JSON_READ_AHEAD bytes beyond
 * the end may be read. */
static inline uint32_t json_index_portable(const uint8_t *bytes, uint32_t length, uint32_t *quotes,
                                           uint32_t *flags)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint32_t count = 0, seen = 0, at = 0;
    while (at < length) {
        if (length - at >= 8) {
            uint64_t word = json_load8(bytes + at);
            uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
            uint64_t rubout = word ^ (ones * 0x7f);
            uint64_t special = word | (word - ones * 0x20) | (quote - ones) |
                               (backslash - ones) | (rubout - ones);
            if (!(special & highs)) {
                at += 8;
                continue;
            }
        }
        uint32_t stop = length - at >= 8 ? at + 8 : length;
        for (; at < stop; at++) {
            uint8_t byte = bytes[at];
            if (byte == '"') {
                quotes[count++] = at;
            } else if (byte == '\\') {
                seen |= JSON_HAS_BACKSLASH;
                at++; /* whatever follows is escaped; it may be beyond `stop` or the end */
                if (at < length) {
                    byte = bytes[at];
                    seen |= byte < 0x20 ? JSON_HAS_CONTROL : byte == 0x7f ? JSON_HAS_DELETE
                                                         : byte >= 0x80   ? JSON_HAS_NON_ASCII
                                                                          : 0;
                }
            } else {
                seen |= byte < 0x20 ? JSON_HAS_CONTROL : byte == 0x7f ? JSON_HAS_DELETE
                                                     : byte >= 0x80   ? JSON_HAS_NON_ASCII
                                                                      : 0;
            }
        }
    }
    *flags = seen;
    return count;
}

#if SIMD_HAS_AVX2_BODY
/* The bytes of a block of 64 that a backslash escapes, one bit each. `carry` says whether the
 * block before ended in a backslash that escapes the first byte of this one. After Langdale and
 * Lemire, "Parsing Gigabytes of JSON per Second". */
static inline uint64_t json_escaped(uint64_t backslash, uint64_t *carry)
{
    const uint64_t even = UINT64_C(0x5555555555555555);
    backslash &= ~*carry;
    uint64_t follows = backslash << 1 | *carry;
    uint64_t odd_starts = backslash & ~even & ~follows;
    uint64_t even_sequences = odd_starts + backslash;
    *carry = even_sequences < backslash;
    return (even ^ even_sequences << 1) & follows;
}

/* The bytes of block `at` of a text, spaces beyond its end. */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE void json_block_avx2(const uint8_t *bytes, uint32_t at,
                                                                uint32_t length, __m256i *low,
                                                                __m256i *high)
{
    *low = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + at));
    *high = _mm256_loadu_si256((const __m256i *)(const void *)(bytes + at + 32));
    if (length - at < 64) {
        const __m256i places = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                                                15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
                                                28, 29, 30, 31);
        const __m256i space = _mm256_set1_epi8(' ');
        const __m256i left = _mm256_set1_epi8((char)(length - at));
        const __m256i left_high = _mm256_sub_epi8(left, _mm256_set1_epi8(32));
        *low = _mm256_blendv_epi8(space, *low, _mm256_cmpgt_epi8(left, places));
        *high = _mm256_blendv_epi8(space, *high, _mm256_cmpgt_epi8(left_high, places));
    }
}

SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE uint64_t json_bits_avx2(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

SIMD_TARGET_AVX2 static inline uint32_t json_index_avx2(const uint8_t *bytes, uint32_t length,
                                                        uint32_t *quotes, uint32_t *flags)
{
    const __m256i quote = _mm256_set1_epi8('"'), backslash = _mm256_set1_epi8('\\');
    const __m256i rubout = _mm256_set1_epi8(0x7f), space = _mm256_set1_epi8(' ');
    const __m256i control_max = _mm256_set1_epi8(0x1f);
    __m256i all = _mm256_setzero_si256(), lowest = space, deletes = all;
    uint64_t carry = 0;
    uint32_t *out = quotes;
    uint32_t backslashes_seen = 0;
    for (uint32_t at = 0; at < length; at += 64) {
        __m256i low, high;
        json_block_avx2(bytes, at, length, &low, &high);
        uint64_t quote_bits =
            json_bits_avx2(_mm256_cmpeq_epi8(low, quote), _mm256_cmpeq_epi8(high, quote));
        uint64_t backslash_bits =
            json_bits_avx2(_mm256_cmpeq_epi8(low, backslash), _mm256_cmpeq_epi8(high, backslash));
        all = _mm256_or_si256(all, _mm256_or_si256(low, high));
        lowest = _mm256_min_epu8(lowest, _mm256_min_epu8(low, high));
        deletes = _mm256_or_si256(deletes, _mm256_or_si256(_mm256_cmpeq_epi8(low, rubout),
                                                           _mm256_cmpeq_epi8(high, rubout)));
        if (__builtin_expect((backslash_bits | carry) != 0, 0)) {
            backslashes_seen = JSON_HAS_BACKSLASH;
            quote_bits &= ~json_escaped(backslash_bits, &carry);
        }
        /* Twelve at a time whether they are there or not: the branch is then easy to predict. */
        uint32_t found = (uint32_t)__builtin_popcountll(quote_bits);
        for (uint32_t written = 0; written < found; written += 12) {
            for (uint32_t i = 0; i < 12; i++) {
                out[written + i] = at + (uint32_t)_tzcnt_u64(quote_bits);
                quote_bits = _blsr_u64(quote_bits);
            }
        }
        out += found;
    }
    uint32_t controls = (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpeq_epi8(_mm256_min_epu8(lowest, control_max), lowest));
    *flags = backslashes_seen | (controls ? JSON_HAS_CONTROL : 0) |
             (_mm256_movemask_epi8(deletes) ? JSON_HAS_DELETE : 0) |
             (_mm256_movemask_epi8(all) ? JSON_HAS_NON_ASCII : 0);
    return (uint32_t)(out - quotes);
}
#endif

/* Odd numbers without a pattern. */
#define JSON_LAYOUT_MIX_LENGTH UINT64_C(0xff51afd7ed558ccd)
static const uint64_t json_layout_mix[JSON_LAYOUT_BLOCKS] = {
    UINT64_C(0x9e3779b97f4a7c15), UINT64_C(0xbf58476d1ce4e5b9), UINT64_C(0x94d049bb133111eb),
    UINT64_C(0xd6e8feb86659fd93), UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db),
    UINT64_C(0x8ebc6af09c88c6e3), UINT64_C(0x589965cc75374cc3),
};

/* The slot for a sum over length and quotes: ALIKE if its layout has to be compared. */
static inline enum json_likeness json_layout_choose(json_layouts *layouts, uint64_t key,
                                                    json_layout **found)
{
    key = ((key ^ key >> 32) * json_layout_mix[0]) | 1;
    const uint32_t slot = (uint32_t)(key >> (64 - JSON_LAYOUTS_LOG2));
    *found = &layouts->slots[slot];
    if ((*found)->key == key)
        return JSON_ALIKE;
    const int met = layouts->met_once[slot] == key;
    layouts->met_once[slot] = key;
    return met ? JSON_WORTH_LEARNING : JSON_UNLIKE;
}

/* After comparing. A layout that is met by its quotes alone makes room for another. */
static inline enum json_likeness json_layout_judge(json_layout *layout, int differs)
{
    if (!differs) {
        layout->misses = 0;
        return JSON_ALIKE;
    }
    if (++layout->misses == JSON_LAYOUT_MISSES)
        layout->key = 0;
    return JSON_UNLIKE;
}

#if SIMD_HAS_AVX2_BODY
/* The quotes of a block. */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE uint64_t json_layout_quotes_avx2(const uint8_t *block)
{
    const __m256i *bytes = (const __m256i *)(const void *)block;
    const __m256i quote = _mm256_set1_epi8('"');
    return json_bits_avx2(_mm256_cmpeq_epi8(_mm256_loadu_si256(bytes), quote),
                          _mm256_cmpeq_epi8(_mm256_loadu_si256(bytes + 1), quote));
}

/* Not zero where half a block may not stand; backslashes may stand nowhere. */
SIMD_TARGET_AVX2 static SIMD_ALWAYS_INLINE __m256i
json_layout_wrong_avx2(const json_layout *layout, uint32_t place, const uint8_t *block)
{
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)block);
    const __m256i lowest =
        _mm256_loadu_si256((const __m256i *)(const void *)(layout->lowest + place));
    const __m256i highest =
        _mm256_loadu_si256((const __m256i *)(const void *)(layout->highest + place));
    return _mm256_or_si256(_mm256_or_si256(_mm256_subs_epu8(lowest, bytes),
                                           _mm256_subs_epu8(bytes, highest)),
                           _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\')));
}

/* Looks for a layout that a text of 64 * JSON_LAYOUT_BLOCKS bytes or less, and 64 or more, has; it
 * must begin with its object. Nothing that needs a closer look (escapes, control characters,
 * U+007F, bytes beyond ASCII) is alike. */
SIMD_TARGET_AVX2 static inline enum json_likeness
json_layout_find_avx2(json_layouts *layouts, const uint8_t *bytes, uint32_t length,
                      json_layout **found)
{
    const uint32_t last = length - 64;
    uint64_t quotes[JSON_LAYOUT_BLOCKS], key = length * JSON_LAYOUT_MIX_LENGTH;
    uint32_t count = 0;
    for (uint32_t at = 0; at < last; at += 64, count++) {
        quotes[count] = json_layout_quotes_avx2(bytes + at);
        key += quotes[count] * json_layout_mix[count];
    }
    quotes[count] = json_layout_quotes_avx2(bytes + last);
    key += quotes[count] * json_layout_mix[count];
    enum json_likeness likeness = json_layout_choose(layouts, key, found);
    if (likeness != JSON_ALIKE)
        return likeness;
    const json_layout *layout = *found;
    __m256i wrong = json_layout_wrong_avx2(layout, 64 * count, bytes + last);
    wrong = _mm256_or_si256(wrong,
                            json_layout_wrong_avx2(layout, 64 * count + 32, bytes + last + 32));
    uint64_t differ = (layout->length ^ length) | (quotes[count] ^ layout->quotes[count]);
    for (uint32_t block = 0, at = 0; block < count; block++, at += 64) {
        differ |= quotes[block] ^ layout->quotes[block];
        wrong = _mm256_or_si256(wrong, json_layout_wrong_avx2(layout, at, bytes + at));
        wrong = _mm256_or_si256(wrong, json_layout_wrong_avx2(layout, at + 32, bytes + at + 32));
    }
    return json_layout_judge(*found, differ || !_mm256_testz_si256(wrong, wrong));
}

/* The same with registers that take a block whole and compares that give its bits. */
SIMD_TARGET_AVX512 static inline enum json_likeness
json_layout_find_avx512(json_layouts *layouts, const uint8_t *bytes, uint32_t length,
                        json_layout **found)
{
    const uint32_t last = length - 64;
    uint64_t quotes[JSON_LAYOUT_BLOCKS], key = length * JSON_LAYOUT_MIX_LENGTH;
    __m512i block[JSON_LAYOUT_BLOCKS];
    uint32_t count = 0;
    for (uint32_t at = 0; at < length; at += 64, count++) {
        block[count] = _mm512_loadu_si512(bytes + (at < last ? at : last));
        quotes[count] = _mm512_cmpeq_epi8_mask(block[count], _mm512_set1_epi8('"'));
        key += quotes[count] * json_layout_mix[count];
    }
    enum json_likeness likeness = json_layout_choose(layouts, key, found);
    if (likeness != JSON_ALIKE)
        return likeness;
    const json_layout *layout = *found;
    uint64_t differ = layout->length ^ length;
    for (uint32_t i = 0; i < count; i++) {
        differ |= (quotes[i] ^ layout->quotes[i]) |
                  _mm512_cmplt_epu8_mask(block[i], _mm512_loadu_si512(layout->lowest + 64 * i)) |
                  _mm512_cmpgt_epu8_mask(block[i], _mm512_loadu_si512(layout->highest + 64 * i)) |
                  _mm512_cmpeq_epi8_mask(block[i], _mm512_set1_epi8('\\'));
    }
    return json_layout_judge(*found, differ != 0);
}
#endif

/* Chooses the code path. */
static inline void json_document_use(json_document *document, simd_path path)
{
    document->path = path;
    document->index = json_index_portable;
#if SIMD_HAS_AVX2_BODY
    if (path >= SIMD_PATH_AVX2)
        document->index = json_index_avx2;
#endif
}

/* ---- checks that need no grammar ------------------------------------------------------------ */

/* The first byte that is no valid UTF-8, or NULL. The byte before `end` must be ASCII: then no
 * sequence can reach beyond it. */
static inline const uint8_t *json_utf8_error(const uint8_t *byte, const uint8_t *end)
{
    while (byte < end) {
        if (end - byte >= 8 && !(json_load8(byte) & UINT64_C(0x8080808080808080))) {
            byte += 8;
            continue;
        }
        uint8_t lead = *byte;
        if (lead < 0x80) {
            byte++;
        } else if (lead < 0xe0) {
            if (lead < 0xc2 || (byte[1] & 0xc0) != 0x80)
                return byte;
            byte += 2;
        } else if (lead < 0xf0) {
            uint8_t second_min = lead == 0xe0 ? 0xa0 : 0x80; /* no overlong forms */
            uint8_t second_max = lead == 0xed ? 0x9f : 0xbf; /* no surrogates */
            if (byte[1] < second_min || byte[1] > second_max || (byte[2] & 0xc0) != 0x80)
                return byte;
            byte += 3;
        } else {
            uint8_t second_min = lead == 0xf0 ? 0x90 : 0x80; /* no overlong forms */
            uint8_t second_max = lead == 0xf4 ? 0x8f : 0xbf; /* nothing beyond U+10FFFF */
            if (lead > 0xf4 || byte[1] < second_min || byte[1] > second_max ||
                (byte[2] & 0xc0) != 0x80 || (byte[3] & 0xc0) != 0x80)
                return byte;
            byte += 4;
        }
    }
    return NULL;
}

static inline int json_hex_digit(uint8_t byte)
{
    if ((uint8_t)(byte - '0') <= 9)
        return byte - '0';
    uint8_t letter = (uint8_t)((byte | 0x20) - 'a');
    return letter <= 5 ? letter + 10 : -1;
}

/* The code unit of the four hexadecimal digits at `byte`, or -1. */
static inline int32_t json_code_unit(const uint8_t *byte)
{
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = json_hex_digit(byte[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static inline int json_fail(json_document *document, enum json_error error, const uint8_t *at)
{
    document->error = (uint8_t)error;
    document->error_at = (uint32_t)(at - document->base);
    return 0;
}

/* Checks the control characters and the escapes of one string. The quote after it ends any run of
 * hexadecimal digits. */
static inline int json_check_string(json_document *document, const uint8_t *byte,
                                    const uint8_t *end)
{
    while (byte < end) {
        if (*byte < 0x20)
            return json_fail(document, JSON_CONTROL_CHARACTER, byte);
        if (*byte != '\\') {
            byte++;
            continue;
        }
        const uint8_t *escape = byte;
        switch (byte[1]) {
        case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
            byte += 2;
            continue;
        case 'u':
            break;
        default:
            return json_fail(document, JSON_BAD_ESCAPE, escape);
        }
        int32_t unit = json_code_unit(byte + 2);
        if (unit < 0)
            return json_fail(document, JSON_BAD_ESCAPE, escape);
        byte += 6;
        if ((unit & 0xf800) != 0xd800)
            continue;
        if (unit < 0xdc00 && byte[0] == '\\' && byte[1] == 'u') {
            int32_t low = json_code_unit(byte + 2);
            if (low >= 0xdc00 && low <= 0xdfff) {
                byte += 6;
                continue;
            }
        }
        if (!document->allow_lone_surrogates)
            return json_fail(document, JSON_LONE_SURROGATE, escape);
    }
    return 1;
}

/* ---- loading -------------------------------------------------------------------------------- */

static inline void json_document_init(json_document *document, uint32_t depth_max,
                                      int allow_lone_surrogates)
{
    memset(document, 0, sizeof *document);
    document->depth_max = depth_max;
    document->allow_lone_surrogates = (uint8_t)allow_lone_surrogates;
    json_document_use(document, simd_path_from_environment());
}

static inline void json_document_free(json_document *document)
{
    free(document->quotes);
    free(document->levels);
    free(document->scratch);
    free(document->copy);
    memset(document, 0, sizeof *document);
}

/* Makes `*memory`, whose content is not kept, hold `count` items. Returns 0 if it can't. */
static inline int json_reserve(void **memory, uint64_t *capacity, uint64_t count, size_t item)
{
    if (count <= *capacity)
        return 1;
    uint64_t grown = count + count / 2;
    void *fresh = malloc(grown * item);
    if (!fresh)
        return 0;
    free(*memory);
    *memory = fresh;
    *capacity = grown;
    return 1;
}

static inline int json_is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* The text itself, or a copy where reading ahead could touch another page; NULL without memory. */
static inline const uint8_t *json_readable(json_document *document, const uint8_t *text,
                                           uint32_t end)
{
    uintptr_t last_byte = (uintptr_t)text + (end - 1);
    if (!JSON_ALWAYS_COPY &&
        (last_byte & (JSON_PAGE_BYTES - 1)) + JSON_READ_AHEAD < JSON_PAGE_BYTES)
        return text;
    if (!json_reserve((void **)&document->copy, &document->copy_capacity,
                      (uint64_t)end + JSON_READ_AHEAD, 1))
        return NULL;
    memcpy(document->copy, text, end);
    memset(document->copy + end, ' ', JSON_READ_AHEAD);
    return document->copy;
}

/* Takes up a text and does all but the grammar. Returns 1, or 0 with `error` and `error_at`. Any
 * strings decoded from the text before are void then. */
static inline int json_document_load(json_document *document, const uint8_t *text, uint64_t length)
{
    document->base = text;
    document->scratch_size = 0;
    if (length > JSON_LENGTH_MAX)
        return json_fail(document, JSON_TOO_LONG, text);
    uint32_t start = 0, end = (uint32_t)length;
    while (start < end && json_is_space(text[start]))
        start++;
    while (start < end && json_is_space(text[end - 1]))
        end--;
    if (end - start < 2 || text[start] != '{' || text[end - 1] != '}')
        return json_fail(document, JSON_NO_OBJECT, text + start);

    uint64_t levels = (document->depth_max < length ? document->depth_max : length) / 64 + 2;
    if (!json_reserve((void **)&document->quotes, &document->quotes_capacity,
                      length + JSON_READ_AHEAD, sizeof *document->quotes) ||
        !json_reserve((void **)&document->levels, &document->levels_capacity, levels,
                      sizeof *document->levels) ||
        !json_reserve((void **)&document->scratch, &document->scratch_capacity,
                      length + JSON_READ_AHEAD, 1))
        return json_fail(document, JSON_OUT_OF_MEMORY, text);
    text = json_readable(document, text, end);
    if (!text)
        return json_fail(document, JSON_OUT_OF_MEMORY, document->base);
    document->base = text;
    document->listed = document->quotes;
    document->layout = NULL;
    document->start = start;
    document->end = end;
    document->quote_count = document->index(text, end, document->quotes, &document->flags);

    uint32_t flags = document->flags;
    if (flags & JSON_HAS_NON_ASCII) {
        const uint8_t *wrong = json_utf8_error(text + start, text + end);
        if (wrong)
            return json_fail(document, JSON_NO_UTF8, wrong);
    }
    if (document->quote_count & 1)
        return json_fail(document, JSON_OPEN_STRING,
                         text + document->quotes[document->quote_count - 1]);
    if (flags & (JSON_HAS_BACKSLASH | JSON_HAS_CONTROL)) {
        for (uint32_t i = 0; i < document->quote_count; i += 2) {
            if (!json_check_string(document, text + document->quotes[i] + 1,
                                   text + document->quotes[i + 1]))
                return 0;
        }
    }
    return 1;
}

/* ---- strings -------------------------------------------------------------------------------- */

/* Decodes a checked string into `out`, which has room for as many bytes as it is written with.
 * A lone surrogate, where allowed, becomes the three bytes that UTF-8 would have for it, so that
 * the result is no valid UTF-8. Returns the length. */
static inline uint32_t json_decode(const uint8_t *byte, const uint8_t *end, uint8_t *out)
{
    uint8_t *start = out;
    while (byte < end) {
        if (*byte != '\\') {
            *out++ = *byte++;
            continue;
        }
        uint8_t escape = byte[1];
        if (escape != 'u') {
            *out++ = escape == 'b' ? '\b' : escape == 'f' ? '\f' : escape == 'n' ? '\n'
                   : escape == 'r' ? '\r' : escape == 't' ? '\t' : escape;
            byte += 2;
            continue;
        }
        uint32_t point = (uint32_t)json_code_unit(byte + 2);
        byte += 6;
        if ((point & 0xfc00) == 0xd800 && end - byte >= 6 && byte[0] == '\\' && byte[1] == 'u') {
            uint32_t low = (uint32_t)json_code_unit(byte + 2);
            if ((low & 0xfc00) == 0xdc00) {
                point = 0x10000 + ((point & 0x3ff) << 10 | (low & 0x3ff));
                byte += 6;
            }
        }
        if (point < 0x80) {
            *out++ = (uint8_t)point;
        } else if (point < 0x800) {
            *out++ = (uint8_t)(0xc0 | point >> 6);
            *out++ = (uint8_t)(0x80 | (point & 0x3f));
        } else if (point < 0x10000) {
            *out++ = (uint8_t)(0xe0 | point >> 12);
            *out++ = (uint8_t)(0x80 | (point >> 6 & 0x3f));
            *out++ = (uint8_t)(0x80 | (point & 0x3f));
        } else {
            *out++ = (uint8_t)(0xf0 | point >> 18);
            *out++ = (uint8_t)(0x80 | (point >> 12 & 0x3f));
            *out++ = (uint8_t)(0x80 | (point >> 6 & 0x3f));
            *out++ = (uint8_t)(0x80 | (point & 0x3f));
        }
    }
    return (uint32_t)(out - start);
}

/* The text of a string in a text that has backslashes. */
JSON_APART static const uint8_t *json_string_decoded(json_document *document, json_span span,
                                                     uint32_t *length)
{
    const uint8_t *bytes = document->base + span.start;
    if (!*length || !memchr(bytes, '\\', *length))
        return bytes;
    uint8_t *decoded = document->scratch + document->scratch_size;
    *length = json_decode(bytes, bytes + *length, decoded);
    document->scratch_size += *length;
    return decoded;
}

/* The text of the string at `span`: in place if it is written without escapes, else decoded into
 * the scratch memory, which has room for every string of a text once. */
static SIMD_ALWAYS_INLINE const uint8_t *json_string(json_document *document, json_span span,
                                                    uint32_t *length)
{
    *length = span.end - span.start;
    if (__builtin_expect(document->flags & JSON_HAS_BACKSLASH, 0))
        return json_string_decoded(document, span, length);
    return document->base + span.start;
}

/* ---- the walk ------------------------------------------------------------------------------- */

static inline const uint8_t *json_space(const uint8_t *byte)
{
    while (json_is_space(*byte))
        byte++;
    return byte;
}

/* The first byte after the number at `byte`, or NULL if it is none. */
static inline const uint8_t *json_number_end(const uint8_t *byte)
{
    byte += *byte == '-';
    if (*byte == '0') {
        byte++;
    } else {
        if ((uint8_t)(*byte - '1') > 8)
            return NULL;
        while ((uint8_t)(*byte - '0') <= 9)
            byte++;
    }
    if (*byte == '.') {
        byte++;
        if ((uint8_t)(*byte - '0') > 9)
            return NULL;
        while ((uint8_t)(*byte - '0') <= 9)
            byte++;
    }
    if ((*byte | 0x20) == 'e') {
        byte++;
        byte += *byte == '+' || *byte == '-';
        if ((uint8_t)(*byte - '0') > 9)
            return NULL;
        while ((uint8_t)(*byte - '0') <= 9)
            byte++;
    }
    return byte;
}

/* Three bytes, which may lie beyond the end. */
#define JSON_THREE(first, second, third) \
    ((uint32_t)(first) | (uint32_t)(second) << 8 | (uint32_t)(third) << 16)
static inline uint32_t json_three(const uint8_t *bytes)
{
    return (uint32_t)json_load8(bytes) & 0xffffff;
}

/* Steps over the key of a member and the colon. Returns 0 if there is none. */
static inline int json_step_key(json_document *document, json_cursor *cursor)
{
    if (*cursor->byte != '"')
        return json_fail(document, JSON_NO_KEY, cursor->byte);
    const uint8_t *byte = json_space(document->base + cursor->quote[1] + 1);
    cursor->quote += 2;
    if (*byte != ':')
        return json_fail(document, JSON_NO_COLON, byte);
    cursor->byte = json_space(byte + 1);
    return 1;
}

/* Steps over the value at the cursor, whatever it is, checking all of it. `level` is that of the
 * object or array it is in. Returns its kind in `kind`, or 0 if it is wrong. The cursor is then
 * right behind the value, which may be the end of the text. */
static inline int json_step_value(json_document *document, json_cursor *cursor, uint32_t level,
                                  uint8_t *kind)
{
    const uint32_t floor = level;
    const uint8_t *const end = document->base + document->end;
    uint64_t *const levels = document->levels;
    uint8_t first_kind = 0xff;
    for (;;) {
        uint8_t this_kind;
        const uint8_t *byte = cursor->byte;
        switch (*byte) {
        case '"':
            this_kind = JSON_STRING;
            byte = document->base + cursor->quote[1] + 1;
            cursor->quote += 2;
            break;
        case '{': case '[':
            this_kind = *byte == '{' ? JSON_OBJECT : JSON_ARRAY;
            if (++level > document->depth_max)
                return json_fail(document, JSON_TOO_DEEP, byte);
            if (this_kind == JSON_OBJECT)
                levels[level >> 6] |= UINT64_C(1) << (level & 63);
            else
                levels[level >> 6] &= ~(UINT64_C(1) << (level & 63));
            if (first_kind == 0xff)
                first_kind = this_kind;
            cursor->byte = json_space(byte + 1);
            if (*cursor->byte == (this_kind == JSON_OBJECT ? '}' : ']')) {
                byte = cursor->byte + 1;
                level--;
                break;
            }
            if (this_kind == JSON_OBJECT && !json_step_key(document, cursor))
                return 0;
            continue; /* at its first value */
        case 't':
            this_kind = JSON_TRUE;
            if (memcmp(byte, "true", 4) != 0)
                return json_fail(document, JSON_BAD_LITERAL, byte);
            byte += 4;
            break;
        case 'f':
            this_kind = JSON_FALSE;
            if (memcmp(byte, "false", 5) != 0)
                return json_fail(document, JSON_BAD_LITERAL, byte);
            byte += 5;
            break;
        case 'n':
            this_kind = JSON_ABSENT;
            if (memcmp(byte, "null", 4) != 0)
                return json_fail(document, JSON_BAD_LITERAL, byte);
            byte += 4;
            break;
        case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7':
        case '8': case '9':
            this_kind = JSON_NUMBER;
            byte = json_number_end(byte);
            if (!byte)
                return json_fail(document, JSON_BAD_NUMBER, cursor->byte);
            break;
        default:
            return json_fail(document, JSON_NO_VALUE, byte);
        }
        if (first_kind == 0xff)
            first_kind = this_kind;

        /* Behind a value: close what closes, up to the next value or the end of the first one. */
        for (;;) {
            if (level == floor) {
                cursor->byte = byte;
                *kind = first_kind;
                return 1;
            }
            if (byte >= end)
                return json_fail(document, JSON_NO_COMMA, end);
            byte = json_space(byte);
            int in_object = (int)(levels[level >> 6] >> (level & 63) & 1);
            if (*byte == ',') {
                cursor->byte = json_space(byte + 1);
                if (in_object && !json_step_key(document, cursor))
                    return 0;
                break;
            }
            if (*byte != (in_object ? '}' : ']'))
                return json_fail(document, JSON_NO_COMMA, byte);
            byte++;
            level--;
        }
    }
}

/* The number of a key whose text may be written with escapes. */
JSON_APART static uint32_t json_find_escaped_key(const json_words *keys, const uint8_t *bytes,
                                                 uint32_t length)
{
    uint8_t decoded[6 * JSON_WORD_MAX + JSON_READ_AHEAD];
    if (!length || !memchr(bytes, '\\', length))
        return json_words_find(keys, bytes, length);
    if (length > 6 * JSON_WORD_MAX)
        return JSON_UNKNOWN; /* longer than the longest word with every byte escaped */
    length = json_decode(bytes, bytes + length, decoded);
    memset(decoded + length, 0, JSON_WORD_MAX);
    return json_words_find(keys, decoded, length);
}

/* The number of the key that starts at `quote`. */
static SIMD_ALWAYS_INLINE uint32_t json_find_key(json_document *document, const json_words *keys,
                                                 const uint32_t *quote)
{
    const uint8_t *bytes = document->base + quote[0] + 1;
    uint32_t length = quote[1] - quote[0] - 1;
    if (__builtin_expect(document->flags & JSON_HAS_BACKSLASH, 0))
        return json_find_escaped_key(keys, bytes, length);
    return json_words_find(keys, bytes, length);
}

/* Walks the object at the cursor, at nesting level `level` (1 for the whole text), checks all of
 * it, and notes the last value of each known key. Returns 0 if it is wrong. The cursor is then
 * right behind the object, which may be the end of the text. */
static inline int json_members(json_document *document, json_cursor *cursor, uint32_t level,
                               const json_words *keys, json_fields *fields)
{
    const uint8_t *const base = document->base, *const end = base + document->end;
    const uint32_t *quote = cursor->quote;
    memset(fields->kind, JSON_ABSENT, sizeof fields->kind);
    if (level > document->depth_max)
        return json_fail(document, JSON_TOO_DEEP, cursor->byte);
    const uint8_t *byte = json_space(cursor->byte + 1);
    if (*byte == '}') {
        cursor->byte = byte + 1;
        return 1;
    }
    for (;;) {
        if (*byte != '"')
            return json_fail(document, JSON_NO_KEY, byte);
        uint32_t number = json_find_key(document, keys, quote);
        json_span *span = &fields->span[number];
        /* Mostly a string without white space before or behind it: three bytes at once. A quote
         * right behind a colon or comma is not escaped, so it is the next one listed. */
        while (json_three(base + quote[1]) == JSON_THREE('"', ':', '"')) {
            span->start = quote[2] + 1;
            span->end = quote[3];
            fields->kind[number] = JSON_STRING;
            quote += 4;
            byte = base + quote[-1] + 1;
            if (json_three(byte - 1) != JSON_THREE('"', ',', '"'))
                goto behind_value;
            number = json_find_key(document, keys, quote);
            span = &fields->span[number];
        }
        byte = json_space(base + quote[1] + 1);
        if (*byte != ':')
            return json_fail(document, JSON_NO_COLON, byte);
        byte = json_space(byte + 1);
        if (__builtin_expect(*byte == '"', 1)) {
            span->start = quote[2] + 1;
            span->end = quote[3];
            fields->kind[number] = JSON_STRING;
            byte = base + quote[3] + 1;
            quote += 4;
        } else {
            json_cursor value = {byte, quote + 2};
            span->start = (uint32_t)(byte - base);
            span->quote = (uint32_t)(value.quote - document->quotes);
            if (!json_step_value(document, &value, level, &fields->kind[number]))
                return 0;
            span->end = (uint32_t)(value.byte - base);
            byte = value.byte;
            quote = value.quote;
            if (byte >= end)
                return json_fail(document, JSON_NO_COMMA, end);
        }
behind_value:
        byte = json_space(byte);
        if (*byte == ',') {
            byte = json_space(byte + 1);
        } else if (*byte == '}') {
            cursor->byte = byte + 1;
            cursor->quote = quote;
            return 1;
        } else {
            return json_fail(document, JSON_NO_COMMA, byte);
        }
    }
}

/* Walks a whole text. Returns 1, or 0 with `error` and `error_at`. */
static inline int json_scan(json_document *document, const uint8_t *text, uint64_t length,
                            const json_words *keys, json_fields *fields)
{
    document->error = JSON_OK;
    if (!json_document_load(document, text, length))
        return 0;
    json_cursor cursor = {document->base + document->start, document->quotes};
    if (!json_members(document, &cursor, 1, keys, fields))
        return 0;
    if (cursor.byte != document->base + document->end)
        return json_fail(document, JSON_TRAILING_BYTES, cursor.byte);
    return 1;
}

/* What may stand at byte `place` of a text, in whichever blocks it is. */
static inline void json_layout_allow(json_layout *layout, uint32_t place, uint8_t lowest,
                                     uint8_t highest)
{
    const uint32_t last = layout->length - 64, last_block = (layout->length - 1) / 64 * 64;
    if (place < last_block) {
        layout->lowest[place] = lowest;
        layout->highest[place] = highest;
    }
    if (place >= last) {
        layout->lowest[last_block + place - last] = lowest;
        layout->highest[last_block + place - last] = highest;
    }
}

/* The digits of a number at `start`, as far as it is written without sign and exponent. */
static inline void json_layout_number(json_layout *layout, const uint8_t *base, uint32_t start,
                                      uint32_t end)
{
    uint32_t whole = start;
    while (whole < end && (uint8_t)(base[whole] - '0') <= 9)
        whole++;
    for (uint32_t i = start; i < end; i++) {
        if ((uint8_t)(base[i] - '0') > 9 && base[i] != '.')
            return;
    }
    for (uint32_t i = start; i < end; i++) {
        if (base[i] != '.')
            json_layout_allow(layout, i, i == start && whole - start > 1 ? '1' : '0', '9');
    }
}

/* Makes a layout of a text of 64 bytes or more that was just walked, unless there is something in
 * it that needs a closer look. */
JSON_COLD static void json_layout_learn(json_document *document, json_layout *layout, uint64_t key,
                                        const json_fields *fields)
{
    const uint8_t *const base = document->base;
    if (document->quote_count > JSON_LAYOUT_QUOTES || document->flags)
        return;
    memset(layout, 0, sizeof *layout);
    layout->fields = *fields;
    layout->length = document->end;
    layout->quote_count = document->quote_count;
    for (uint32_t i = 0; i < document->end; i++)
        json_layout_allow(layout, i, base[i], base[i]);
    for (uint32_t i = 0; i < document->quote_count; i++) {
        const uint32_t place = layout->quote_places[i] = document->quotes[i];
        const uint32_t last = document->end - 64, last_block = (document->end - 1) / 64;
        if (place / 64 < last_block)
            layout->quotes[place / 64] |= UINT64_C(1) << place % 64;
        if (place >= last)
            layout->quotes[last_block] |= UINT64_C(1) << (place - last);
        for (uint32_t inside = document->quotes[i - (i & 1)] + 1; i & 1 && inside < place; inside++)
            json_layout_allow(layout, inside, ' ', '~');
    }
    /* Again over the members, which can't fail now: keys are fixed, numbers are digits. */
    json_cursor cursor = {json_space(base + 1), document->quotes};
    while (*cursor.byte == '"') {
        for (uint32_t i = cursor.quote[0]; i < cursor.quote[1]; i++)
            json_layout_allow(layout, i, base[i], base[i]);
        json_step_key(document, &cursor);
        const uint32_t start = (uint32_t)(cursor.byte - base);
        uint8_t kind = JSON_ABSENT;
        json_step_value(document, &cursor, 1, &kind);
        if (kind == JSON_NUMBER)
            json_layout_number(layout, base, start, (uint32_t)(cursor.byte - base));
        cursor.byte = json_space(cursor.byte);
        if (*cursor.byte != ',')
            break;
        cursor.byte = json_space(cursor.byte + 1);
    }
    layout->key = key;
}

/* Walks a text of no known layout, and learns it if it is worth it. */
JSON_APART static const json_fields *json_scan_unlike(json_document *document, const uint8_t *text,
                                                      uint64_t length, const json_words *keys,
                                                      json_layouts *layouts, int was_looked_for,
                                                      json_layout *layout, json_fields *fields)
{
    if (layouts->rest) {
        layouts->rest--;
    } else if (was_looked_for && ++layouts->strange == JSON_STRANGE_MAX) {
        layouts->strange = 0;
        layouts->rest = JSON_REST;
    }
    if (!json_scan(document, text, length, keys, fields))
        return NULL;
    if (layout)
        json_layout_learn(document, layout, layouts->met_once[layout - layouts->slots], fields);
    return fields;
}

/* Walks a whole text like json_scan, unless it is like one before. Returns its fields, which lie in
 * `fields` or in a layout and are good until the next text, or NULL with `error` and `error_at`.
 * `find` is that of the code path, a constant; NULL: every text is walked, which without SIMD takes
 * no longer than comparing. */
static SIMD_ALWAYS_INLINE const json_fields *
json_scan_alike(json_document *document, const uint8_t *text, uint64_t length,
                const json_words *keys, json_layouts *layouts, json_layout_function find,
                json_fields *fields)
{
    json_layout *layout = NULL;
    int was_looked_for = 0;
    if (!find)
        return json_scan(document, text, length, keys, fields) ? fields : NULL;
    if (!layouts->rest && length - 64 <= 64 * JSON_LAYOUT_BLOCKS - 64 && text[0] == '{' &&
        text[length - 1] == '}') {
        const uint8_t *readable = json_readable(document, text, (uint32_t)length);
        const enum json_likeness likeness =
            readable ? find(layouts, readable, (uint32_t)length, &layout) : JSON_UNLIKE;
        if (__builtin_expect(likeness == JSON_ALIKE, 1)) {
            /* The memory for scratch suffices: it did for a text of this length. */
            document->base = readable;
            document->start = 0;
            document->end = (uint32_t)length;
            document->flags = 0;
            document->scratch_size = 0;
            document->error = JSON_OK;
            document->listed = layout->quote_places;
            document->layout = layout;
            document->quote_count = layout->quote_count;
            layouts->strange = 0;
            return &layout->fields;
        }
        was_looked_for = 1;
        if (likeness == JSON_UNLIKE)
            layout = NULL;
    }
    return json_scan_unlike(document, text, length, keys, layouts, was_looked_for, layout, fields);
}

/* Starts on the elements of an array that was walked before. Returns 0 if there is none, else 1
 * with the cursor at the first. */
static inline int json_array_first(const json_document *document, json_span span,
                                   json_cursor *cursor)
{
    cursor->byte = json_space(document->base + span.start + 1);
    cursor->quote = document->listed + span.quote;
    return *cursor->byte != ']';
}

/* Goes on from right behind an element to the next. Returns 0 if there is none. */
static inline int json_array_next(json_cursor *cursor)
{
    cursor->byte = json_space(cursor->byte);
    if (*cursor->byte != ',')
        return 0;
    cursor->byte = json_space(cursor->byte + 1);
    return 1;
}

/* If the element at the cursor is a string, steps over it and returns 1 with its place. */
static inline int json_array_string(const json_document *document, json_cursor *cursor,
                                    json_span *span)
{
    if (*cursor->byte != '"')
        return 0;
    span->start = cursor->quote[0] + 1;
    span->end = cursor->quote[1];
    cursor->byte = document->base + cursor->quote[1] + 1;
    cursor->quote += 2;
    return 1;
}

#endif
