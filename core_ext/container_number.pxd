# The C side of container numbers, for modules of the core that work on their bytes.

from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef extern from "container_number.h" nogil:
    ctypedef int simd_code "simd_path"
    int SIMD_PATH_PORTABLE
    int SIMD_PATH_AVX2
    int SIMD_PATH_AVX512
    int simd_path_available(simd_code path)
    simd_code simd_path_named(const char *word)
    simd_code simd_path_from_environment()

    int CONTAINER_NUMBER_LENGTH
    int CONTAINER_NUMBER_REPAIR_MAX
    const uint64_t CONTAINER_NUMBER_INVALID
    int container_number_check_digit(const uint8_t *ten)
    int container_number_check(const uint8_t *name, size_t length)
    int container_number_key_valid(uint64_t key)
    uint64_t container_number_pack(const uint8_t *number)
    void container_number_unpack(uint64_t key, uint8_t *out)
    int container_number_repair(const uint8_t *number, uint8_t *out)
    void container_number_pack_batch(simd_code path, const uint8_t *numbers, int64_t count,
                                     uint64_t *keys)
    void container_number_validate_batch(simd_code path, const uint8_t *numbers, int64_t count,
                                         uint8_t *fit)


cdef simd_code active_simd_path() noexcept nogil
