/*
 * Which instruction set the kernels run on, chosen once when a module is loaded.
 *
 * Included by the headers that have an AVX2 or AVX-512 body beside the portable one. It knows
 * nothing of what they compute. Nothing is compiled for the build machine: such a body carries its
 * own target attribute, and is entered only where the processor reports the instructions.
 */
#ifndef GATEJOIN_SIMD_PATH_H
#define GATEJOIN_SIMD_PATH_H

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SIMD_HAS_AVX2_BODY 1
#define SIMD_TARGET_AVX2 __attribute__((target("avx2,bmi,bmi2")))
#define SIMD_TARGET_AVX512 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi,bmi2")))
#include <immintrin.h>
#else
#define SIMD_HAS_AVX2_BODY 0
#endif

#define SIMD_ALWAYS_INLINE inline __attribute__((always_inline))

typedef enum simd_path {
    SIMD_PATH_UNKNOWN = -2,     /* GATEJOIN_SIMD holds a word that is no path */
    SIMD_PATH_UNSUPPORTED = -1, /* GATEJOIN_SIMD asks for what this machine lacks */
    SIMD_PATH_PORTABLE = 0,
    SIMD_PATH_AVX2 = 1,
    SIMD_PATH_AVX512 = 2, /* with AVX2 and bytes, words, shorter registers: what has no body of its
                             own for it takes AVX2's, so compare with >= */
} simd_path;

static inline int simd_path_available(simd_path path)
{
#if SIMD_HAS_AVX2_BODY
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                     __builtin_cpu_supports("bmi2");
    if (path == SIMD_PATH_AVX2) {
        return avx2;
    }
    if (path == SIMD_PATH_AVX512) {
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
#endif
    return path == SIMD_PATH_PORTABLE;
}

/* The path named by a word ("" or NULL: the best of this machine). */
static inline simd_path simd_path_named(const char *word)
{
    static const char *const words[] = {"portable", "avx2", "avx512"};
    for (int path = SIMD_PATH_AVX512; path >= SIMD_PATH_PORTABLE; path--) {
        const int available = simd_path_available((simd_path)path);
        if (word == NULL || word[0] == '\0') {
            if (available) {
                return (simd_path)path;
            }
        } else if (strcmp(word, words[path]) == 0) {
            return available ? (simd_path)path : SIMD_PATH_UNSUPPORTED;
        }
    }
    return SIMD_PATH_UNKNOWN;
}

static inline simd_path simd_path_from_environment(void)
{
    return simd_path_named(getenv("GATEJOIN_SIMD"));
}

#endif
