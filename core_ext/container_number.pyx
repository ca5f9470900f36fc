# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Container numbers of ISO 6346 in arrays: validate, pack, unpack, check digits, repairs.

What it is: the Python face of container_number.h. Called by engineers and by core_ext.unit_index;
the matcher calls the header itself. It must never know: tables, events, Kafka.

A number is 11 bytes: 4 letters, 6 digits, the check digit. All functions take numbers either as
a one-dimensional, contiguous numpy array of dtype ``S11`` or as bytes (or anything with a buffer
of bytes) that hold them one behind the other; nothing is copied on the way in. The GIL is released
while they are worked on.

A packed key is a uint64 of 36 bits: ``((l0*26 + l1)*78 + l2*3 + category) << 20 | serial`` with
category 1, 2, 3 for J, U, Z. It exists only for numbers of these three categories whose check digit
is right; ``INVALID`` (2**64 - 1) stands for all others.

Source: ISO 6346:1995, section 3 (identification system) and annex A (check digit).
"""

from libc.stdint cimport int8_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

import numpy

NUMBER_BYTES = 11
INVALID = 2**64 - 1

cdef simd_code active_path = simd_path_from_environment()
cdef dict PATH_NAMES = {
    SIMD_PATH_PORTABLE: "portable", SIMD_PATH_AVX2: "avx2", SIMD_PATH_AVX512: "avx512"
}


cdef simd_code active_simd_path() noexcept nogil:
    return active_path


def available_simd_paths() -> list[str]:
    """The code paths of this machine, the best last: ``portable``, ``avx2``, ``avx512``."""
    return [name for path, name in PATH_NAMES.items() if simd_path_available(path)]


if active_path < 0:
    raise ImportError(
        "GATEJOIN_SIMD names no instruction set of this machine; unset it for the best one, or"
        f" set it to one of: {', '.join(available_simd_paths())}"
    )


def simd_path() -> str:
    """The code path in use. The environment variable GATEJOIN_SIMD chooses it on import."""
    return PATH_NAMES[active_path]


def use_simd_path(name: str) -> None:
    """Change the code path of the whole process: to compare paths in tests and measurements.

    Args:
        name: one of ``available_simd_paths()``; all give the same results.

    Raises:
        ValueError: the machine has no such path.
    """
    global active_path
    if name not in available_simd_paths():
        raise ValueError(
            f"SIMD path {name!r} is none of this machine's: {', '.join(available_simd_paths())}"
        )
    active_path = simd_path_named(name.encode())


def number_bytes(numbers):
    """See numbers (``S11`` array or bytes) as their bytes, without a copy.

    Args:
        numbers: n container numbers as the module says.

    Returns:
        uint8 array of shape (11 * n,) on the same memory.

    Raises:
        TypeError: another dtype than S11, or no buffer of bytes.
        ValueError: more than one dimension, not contiguous, or a length that 11 does not divide.
    """
    if isinstance(numbers, numpy.ndarray) and numbers.dtype != numpy.uint8:
        if numbers.dtype != numpy.dtype("S11"):
            raise TypeError(
                f"container numbers: dtype {numbers.dtype} instead of S11; convert with"
                " .astype('S11'), which cuts or pads"
            )
        if numbers.ndim != 1 or not numbers.flags.c_contiguous:
            raise ValueError(
                "container numbers: the array must be one-dimensional and contiguous; use"
                " numpy.ascontiguousarray"
            )
        return numbers.view(numpy.uint8) if len(numbers) else numpy.empty(0, numpy.uint8)
    if isinstance(numbers, str):
        raise TypeError("container numbers: str instead of bytes; encode it as ASCII")
    raw = numpy.frombuffer(numbers, numpy.uint8)
    if len(raw) % NUMBER_BYTES:
        raise ValueError(
            f"container numbers: {len(raw)} bytes are no whole count of numbers of"
            f" {NUMBER_BYTES} bytes"
        )
    return raw


def output_array(out, count, dtype, what):
    """A result array of its own, or ``out`` if it is fit for the result.

    Args:
        out: None, or an array to be written.
        count: elements that it must have.
        dtype: the type that they must have.
        what: name of the result for the error.

    Raises:
        ValueError: ``out`` has another dtype or shape, is not contiguous, or is read-only.
    """
    if out is None:
        return numpy.empty(count, dtype)
    if (
        out.dtype != dtype
        or out.shape != (count,)
        or not out.flags.c_contiguous
        or not out.flags.writeable
    ):
        raise ValueError(
            f"{what}: out must be a writable, contiguous array of {numpy.dtype(dtype)} of shape"
            f" ({count},), not {out.dtype} of shape {out.shape}"
        )
    return out


def pack(numbers, out=None):
    """Packed keys of container numbers.

    Args:
        numbers: n numbers, S11 array or bytes.
        out: uint64 array of shape (n,) to write, or None for a new one.

    Returns:
        uint64 array of shape (n,): packed keys, INVALID where a number has a category other than J,
        U, Z, another form, or a wrong check digit.

    Raises:
        TypeError, ValueError: ``numbers`` or ``out`` are not as said.
    """
    cdef const uint8_t[::1] raw = number_bytes(numbers)
    cdef int64_t count = raw.shape[0] // CONTAINER_NUMBER_LENGTH
    out = output_array(out, count, numpy.uint64, "pack")
    cdef uint64_t[::1] keys = out
    if count:
        with nogil:
            container_number_pack_batch(active_path, &raw[0], count, &keys[0])
    return out


def unpack(keys, out=None):
    """The container numbers of packed keys.

    Args:
        keys: contiguous uint64 array of shape (n,).
        out: S11 array of shape (n,) to write, or None for a new one.

    Returns:
        S11 array of shape (n,).

    Raises:
        ValueError: a key is none that ``pack`` gives (INVALID among them): the message names its
            place; or an array is not as said.
    """
    cdef const uint64_t[::1] packed = keys
    cdef int64_t count = packed.shape[0]
    cdef int64_t i
    cdef int64_t unfit = -1
    out = output_array(out, count, "S11", "unpack")
    cdef uint8_t[::1] raw = number_bytes(out)
    with nogil:
        for i in range(count):
            if not container_number_key_valid(packed[i]):
                unfit = i
                break
            container_number_unpack(packed[i], &raw[i * CONTAINER_NUMBER_LENGTH])
    if unfit >= 0:
        raise ValueError(
            f"unpack: key {unfit} ({packed[unfit]:#x}) is no packed container number; leave out"
            " what pack marked as INVALID"
        )
    return out


def validate(numbers, out=None):
    """Which numbers are 4 letters A to Z, 6 digits and their check digit, whatever the category.

    Args:
        numbers: n numbers, S11 array or bytes.
        out: bool array of shape (n,) to write, or None for a new one.

    Returns:
        bool array of shape (n,).

    Raises:
        TypeError, ValueError: ``numbers`` or ``out`` are not as said.
    """
    cdef const uint8_t[::1] raw = number_bytes(numbers)
    cdef int64_t count = raw.shape[0] // CONTAINER_NUMBER_LENGTH
    out = output_array(out, count, numpy.bool_, "validate")
    cdef uint8_t[::1] fit = out.view(numpy.uint8)
    if count:
        with nogil:
            container_number_validate_batch(active_path, &raw[0], count, &fit[0])
    return out


def check_digit(numbers, out=None):
    """The check digits that numbers should have; their own 11th byte does not count.

    Args:
        numbers: n numbers, S11 array or bytes.
        out: int8 array of shape (n,) to write, or None for a new one.

    Returns:
        int8 array of shape (n,): 0 to 9, or -1 where the first ten bytes are not 4 letters and 6
        digits.

    Raises:
        TypeError, ValueError: ``numbers`` or ``out`` are not as said.
    """
    cdef const uint8_t[::1] raw = number_bytes(numbers)
    cdef int64_t count = raw.shape[0] // CONTAINER_NUMBER_LENGTH
    cdef int64_t i
    out = output_array(out, count, numpy.int8, "check_digit")
    cdef int8_t[::1] digits = out
    with nogil:
        for i in range(count):
            digits[i] = <int8_t> container_number_check_digit(
                &raw[i * CONTAINER_NUMBER_LENGTH]
            )
    return out


def repair(numbers):
    """Numbers one slip away from each given one that have a packed key.

    A slip is two neighbours exchanged or one character replaced. A check digit tells that there was
    one, not which: the suggestions are for people, or for a look-up among numbers known to exist.

    Args:
        numbers: n numbers, S11 array or bytes.

    Returns:
        (suggestions, offsets): an S11 array of shape (m,) and an int64 array of shape (n + 1,); the
        suggestions for number i are ``suggestions[offsets[i]:offsets[i + 1]]``: exchanges from left
        to right, then replacements from left to right, in ASCII order. A number that has a packed
        key gets none, nor does one that is more than a slip away.

    Raises:
        TypeError, ValueError: ``numbers`` is not as said.
        MemoryError: there was no room for the suggestions.
    """
    cdef const uint8_t[::1] raw = number_bytes(numbers)
    cdef int64_t count = raw.shape[0] // CONTAINER_NUMBER_LENGTH
    offsets_array = numpy.zeros(count + 1, numpy.int64)
    cdef int64_t[::1] offsets = offsets_array
    cdef uint8_t *found = NULL
    cdef uint8_t *larger
    cdef int64_t found_count = 0
    cdef int64_t capacity = 0
    cdef int64_t i
    cdef bint exhausted = False
    cdef uint8_t[::1] suggestions
    try:
        with nogil:
            for i in range(count):
                if found_count + CONTAINER_NUMBER_REPAIR_MAX > capacity:
                    capacity = 2 * capacity + CONTAINER_NUMBER_REPAIR_MAX
                    larger = <uint8_t *> realloc(found, capacity * CONTAINER_NUMBER_LENGTH)
                    if larger == NULL:
                        exhausted = True
                        break
                    found = larger
                found_count += container_number_repair(
                    &raw[i * CONTAINER_NUMBER_LENGTH],
                    found + found_count * CONTAINER_NUMBER_LENGTH,
                )
                offsets[i + 1] = found_count
        if exhausted:
            raise MemoryError(f"repair: no memory for {capacity} suggestions")
        suggestions_array = numpy.empty(found_count, "S11")
        if found_count:
            suggestions = number_bytes(suggestions_array)
            memcpy(&suggestions[0], found, found_count * CONTAINER_NUMBER_LENGTH)
    finally:
        free(found)
    return suggestions_array, offsets_array
