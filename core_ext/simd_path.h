/*
 * Which instruction set the kernels run on, chosen once when a module is loaded.
 *
 * Included by the headers that have an AVX2 body beside the portable one. It knows nothing of
 * what they compute. Nothing is compiled for the build machine: an AVX2 body carries its own
 * target attribute, and is entered only where the processor reports the instructions.
 */
#ifndef GATEJOIN_SIMD_PATH_H
#define GATEJOIN_SIMD_PATH_H

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define SIMD_HAS_AVX2_BODY 1
#define SIMD_TARGET_AVX2 __attribute__((target("avx2,bmi,bmi2")))
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
} simd_path;

static inline int simd_path_available(simd_path path)
{
    if (path == SIMD_PATH_PORTABLE) {
        return 1;
    }
#if SIMD_HAS_AVX2_BODY
    if (path == SIMD_PATH_AVX2) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
               __builtin_cpu_supports("bmi2");
    }
#endif
    return 0;
}

/* The path named by a word ("" or NULL: the best of this machine). */
static inline simd_path simd_path_named(const char *word)
{
    if (word == NULL || word[0] == '\0') {
        return simd_path_available(SIMD_PATH_AVX2) ? SIMD_PATH_AVX2 : SIMD_PATH_PORTABLE;
    }
    if (strcmp(word, "portable") == 0) {
        return SIMD_PATH_PORTABLE;
    }
    if (strcmp(word, "avx2") == 0) {
        return simd_path_available(SIMD_PATH_AVX2) ? SIMD_PATH_AVX2 : SIMD_PATH_UNSUPPORTED;
    }
    return SIMD_PATH_UNKNOWN;
}

static inline simd_path simd_path_from_environment(void)
{
    return simd_path_named(getenv("GATEJOIN_SIMD"));
}

#endif
