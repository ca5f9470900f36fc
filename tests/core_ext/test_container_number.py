"""Container numbers: every code path of this machine against a plain reading of ISO 6346."""

import os
import random
import string
import subprocess
import sys

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core_ext import container_number

# Numbers of public samples; the second has remainder 10, whose check digit is written 0.
RIGHT = [b"CSQU3054383", b"MSDU5898660"]
LETTER_VALUES = dict(
    zip(string.ascii_uppercase, [v for v in range(10, 39) if v % 11 != 0], strict=True)
)


def reference_check_digit(number: bytes) -> int:
    """The check digit by the standard's own words, or -1."""
    text = number.decode("latin-1")
    letters, digits = text[:4], text[4:10]
    if not all(c in string.ascii_uppercase for c in letters):
        return -1
    if not all(c in string.digits for c in digits):
        return -1
    values = [LETTER_VALUES[c] for c in letters] + [int(c) for c in digits]
    return sum(value * 2**place for place, value in enumerate(values)) % 11 % 10


def reference_is_right(number: bytes) -> bool:
    digit = reference_check_digit(number)
    return digit >= 0 and number[10:] == str(digit).encode()


def reference_key(number: bytes) -> int:
    if not reference_is_right(number) or number[3:4] not in (b"J", b"U", b"Z"):
        return container_number.INVALID
    first, second, third = (byte - ord("A") for byte in number[:3])
    category = b"JUZ".index(number[3:4]) + 1
    return ((first * 26 + second) * 78 + third * 3 + category) << 20 | int(number[4:10])


def random_number(source: random.Random) -> bytes:
    owner = "".join(source.choices(string.ascii_uppercase, k=3))
    number = f"{owner}{source.choice('JUZ')}{source.randrange(10**6):06}".encode()
    return number + str(reference_check_digit(number)).encode()


def mutated(source: random.Random, number: bytes) -> bytes:
    """The number as it is, or with up to three of its bytes replaced by likely or by any bytes."""
    raw = bytearray(number)
    for _ in range(source.choice([0, 0, 1, 1, 2, 3])):
        alphabet = source.choice([b"0123456789", b"ABCJUZXYZ", bytes(range(256))])
        raw[source.randrange(11)] = source.choice(alphabet)
    return bytes(raw)


@pytest.fixture(params=container_number.available_simd_paths())
def path(request):
    """Each code path of this machine in turn."""
    before = container_number.simd_path()
    container_number.use_simd_path(request.param)
    assert container_number.simd_path() == request.param
    yield request.param
    container_number.use_simd_path(before)


def test_numbers_of_the_standard(path):
    numbers = numpy.array([*RIGHT, b"CSQU3054384", b"MSDU589866A"], "S11")
    assert container_number.validate(numbers).tolist() == [True, True, False, False]
    assert container_number.check_digit(numbers).tolist() == [3, 0, 3, 0]
    keys = container_number.pack(numbers)
    assert keys[2:].tolist() == [container_number.INVALID] * 2
    assert container_number.unpack(keys[:2]).tolist() == RIGHT


def test_fourth_letter_counts_for_the_key_only(path):
    number = b"CSQA305438"
    number += str(reference_check_digit(number)).encode()
    assert container_number.validate(number).tolist() == [True]
    assert container_number.pack(number).tolist() == [container_number.INVALID]


def test_against_reference(path):
    """200,000 numbers, most of them spoiled, in batches of every length that has a tail."""
    source = random.Random(6346)
    numbers = [mutated(source, random_number(source)) for _ in range(200_000)]
    raw = b"".join(numbers)
    assert container_number.validate(raw).tolist() == [reference_is_right(n) for n in numbers]
    assert container_number.pack(raw).tolist() == [reference_key(n) for n in numbers]
    assert container_number.check_digit(raw).tolist() == [reference_check_digit(n) for n in numbers]
    for count in range(80):
        assert container_number.pack(raw[: 11 * count]).tolist() == [
            reference_key(n) for n in numbers[:count]
        ]
        assert container_number.validate(raw[: 11 * count]).tolist() == [
            reference_is_right(n) for n in numbers[:count]
        ]


@given(st.lists(st.binary(min_size=11, max_size=11), max_size=30))
def test_any_bytes_give_the_same_on_every_path(numbers):
    raw = b"".join(numbers)
    before = container_number.simd_path()
    try:
        for name in container_number.available_simd_paths():
            container_number.use_simd_path(name)
            assert container_number.pack(raw).tolist() == [reference_key(n) for n in numbers]
    finally:
        container_number.use_simd_path(before)


def test_every_byte_at_every_place(path):
    for number in RIGHT:
        numbers = [
            number[:place] + bytes([byte]) + number[place + 1 :]
            for place in range(11)
            for byte in range(256)
        ]
        assert container_number.pack(b"".join(numbers)).tolist() == [
            reference_key(n) for n in numbers
        ]
        assert container_number.validate(b"".join(numbers)).tolist() == [
            reference_is_right(n) for n in numbers
        ]


def test_keys_are_the_numbers():
    """Packing and unpacking are inverse, at the corners of the key space and inside it."""
    source = random.Random(1)
    corners = [b"AAAJ000000", b"AAAJ999999", b"ZZZZ000000", b"ZZZZ999999"]
    numbers = [n + str(reference_check_digit(n)).encode() for n in corners]
    numbers += [random_number(source) for _ in range(10_000)]
    keys = container_number.pack(b"".join(numbers))
    assert container_number.unpack(keys).tolist() == numbers
    assert len(set(keys.tolist())) == len(set(numbers))
    assert keys[:4].tolist() == [1 << 20, 1 << 20 | 999999, 52728 << 20, 52728 << 20 | 999999]


def test_repairs_are_all_numbers_one_slip_away():
    source = random.Random(2)
    numbers = [mutated(source, random_number(source)) for _ in range(2_000)]
    suggestions, offsets = container_number.repair(b"".join(numbers))
    for i, number in enumerate(numbers):
        found = suggestions[offsets[i] : offsets[i + 1]].tolist()
        if reference_key(number) != container_number.INVALID:
            assert found == []
            continue
        expected = []
        for place in range(10):
            swapped = bytearray(number)
            swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
            expected.append(bytes(swapped))
        for place in range(11):
            expected += [
                number[:place] + bytes([byte]) + number[place + 1 :]
                for byte in (string.digits + string.ascii_uppercase).encode()
            ]
        right = [n for n in expected if reference_key(n) != container_number.INVALID]
        assert found == list(dict.fromkeys(right))


def test_a_slip_is_repaired_to_what_it_was():
    assert b"CSQU3054383" in container_number.repair(b"CSQU3045383")[0].tolist()
    assert b"CSQU3054383" in container_number.repair(b"CSQU305438O")[0].tolist()
    assert container_number.repair(b"")[1].tolist() == [0]


@pytest.mark.parametrize(
    ("numbers", "error", "words"),
    [
        (numpy.array([b"CSQU3054383"], "S12"), TypeError, "S12 instead of S11"),
        (numpy.array(["CSQU3054383"]), TypeError, "instead of S11"),
        (numpy.array([b"CSQU3054383"] * 4, "S11")[::2], ValueError, "contiguous"),
        (b"CSQU305438", ValueError, "10 bytes"),
        ("CSQU3054383", TypeError, "str instead of bytes"),
    ],
)
def test_wrong_input_is_named(numbers, error, words):
    with pytest.raises(error, match=words):
        container_number.pack(numbers)


def test_wrong_keys_are_named():
    with pytest.raises(ValueError, match="key 1 "):
        container_number.unpack(numpy.array([1 << 20, 0], numpy.uint64))
    with pytest.raises(ValueError, match="key 0 "):
        container_number.unpack(numpy.array([1 << 20 | 1_000_000], numpy.uint64))
    with pytest.raises(ValueError, match="key 0 "):
        container_number.unpack(numpy.array([52729 << 20], numpy.uint64))


def test_results_go_where_the_caller_says():
    out = numpy.zeros(2, numpy.uint64)
    assert container_number.pack(b"".join(RIGHT), out=out) is out
    assert out.tolist() == [reference_key(n) for n in RIGHT]
    with pytest.raises(ValueError, match="shape"):
        container_number.pack(b"".join(RIGHT), out=numpy.zeros(3, numpy.uint64))


@pytest.mark.parametrize(
    ("word", "printed"),
    [("portable", "portable"), ("", container_number.available_simd_paths()[-1])],
)
def test_environment_chooses_the_path(word, printed):
    code = "from core_ext import container_number as c; print(c.simd_path())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GATEJOIN_SIMD": word},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [printed]


def test_unknown_path_is_refused():
    run = subprocess.run(
        [sys.executable, "-c", "import core_ext.container_number"],
        env={**os.environ, "GATEJOIN_SIMD": "mmx"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "GATEJOIN_SIMD" in run.stderr
    with pytest.raises(ValueError, match="mmx"):
        container_number.use_simd_path("mmx")
