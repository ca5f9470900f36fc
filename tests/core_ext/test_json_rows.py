"""The compiled row writer: every form against Python's own formatting, and what it refuses.

Goal: text written by the million is right in every digit. Method: Hypothesis gives the columns,
plain Python writes the same rows.
"""

from __future__ import annotations

import datetime
import json

import numpy
import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from core_ext import json_rows

TIME_MS_MAX = 7_258_118_400_000 - 8 * 3_600_000
"""2200-01-01, less the offset that a local time may add."""


def write(template, values, dictionaries=()):
    """One row per entry of ``values``, which is a list of rows."""
    columns = numpy.array(values, numpy.int64).T.copy()
    rows = json_rows.JsonRows([template], dictionaries)
    count = len(values)
    order = numpy.arange(count)
    data, offsets = rows.write(columns, numpy.zeros(count, numpy.uint16), order)
    return [bytes(data[offsets[i] : offsets[i + 1]]) for i in range(count)]


def time_text(milliseconds: int, offset_hours: int) -> bytes:
    zone = datetime.timezone(datetime.timedelta(hours=offset_hours))
    moment = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
        milliseconds=milliseconds
    )
    text = moment.astimezone(zone).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").encode()


@given(st.lists(st.integers(0, TIME_MS_MAX), min_size=1, max_size=20))
def test_times(moments):
    rows = [[moment] for moment in moments]
    assert write([(json_rows.TIME_UTC, 0)], rows) == [time_text(m, 0) for m in moments]
    assert write([(json_rows.TIME_LOCAL, 0)], rows) == [time_text(m, 7) for m in moments]


@given(st.lists(st.integers(0, 2**62), min_size=1), st.integers(0, 1000))
def test_integers(numbers, added):
    rows = [[number] for number in numbers]
    assert write([(json_rows.INTEGER, 0, added)], rows) == [b"%d" % (n + added) for n in numbers]
    assert write([(json_rows.PADDED, 0, added, 9)], rows) == [
        b"%09d" % (n + added) for n in numbers
    ]


@given(st.lists(st.integers(0, 999_999_999_999), min_size=1))
def test_kilograms_are_exact_and_have_no_idle_zeros(grams):
    for text, value in zip(write([(json_rows.KILOGRAMS, 0)], [[g] for g in grams]), grams,
                           strict=True):  # fmt: skip
        whole, _, fraction = text.partition(b".")
        assert int(whole) * 1000 + int(fraction.ljust(3, b"0") or 0) == value
        assert not fraction.endswith(b"0")


def check_digit(ten: str) -> int:
    """ISO 6346, from the standard's table: letters count 10 to 38 without 11, 22 and 33."""
    letters = [value for value in range(10, 39) if value % 11]
    values = [letters[ord(c) - 65] if c.isalpha() else int(c) for c in ten]
    return sum(value << place for place, value in enumerate(values)) % 11 % 10


@given(st.lists(st.integers(0, 675_999_999), min_size=1, unique=True))
def test_containers(numbers):
    rows = [[number] for number in numbers]
    good = write([(json_rows.CONTAINER, 0)], rows)
    assert len(set(good)) == len(good)
    for name in good:
        assert len(name) == 11
        assert name[10] - 48 == check_digit(name[:10].decode())
    for name, wrong in zip(good, write([(json_rows.CONTAINER_WRONG, 0)], rows), strict=True):
        assert (wrong[:10], (wrong[10] - name[10]) % 10) == (name[:10], 1)
    for name, sloppy in zip(good, write([(json_rows.CONTAINER_SLOPPY, 0)], rows), strict=True):
        assert sloppy != name
        assert sloppy.upper().replace(b" ", b"").replace(b"-", b"") == name


def test_neighbouring_containers_are_all_different():
    names = write([(json_rows.CONTAINER, 0)], [[number] for number in range(200_000)])
    assert len(set(names)) == len(names)


def test_rows_are_written_in_the_order_asked_for():
    rows = json_rows.JsonRows(
        [[b'{"a":', (json_rows.INTEGER, 0), b"}"], [b'{"b":"', (json_rows.TEXT, 1), b'"}']],
        [[b"x", "Cảng".encode()]],
    )
    columns = numpy.array([[1, 2, 3], [0, 1, 0]], numpy.int64)
    order = numpy.array([2, 0, 1, 1])
    data, offsets = rows.write(columns, numpy.array([0, 1, 0], numpy.uint16), order)
    texts = [bytes(data[offsets[i] : offsets[i + 1]]) for i in range(4)]
    last = {"b": "Cảng"}
    assert [json.loads(text) for text in texts] == [{"a": 3}, {"a": 1}, last, last]


@pytest.mark.parametrize(
    ("template", "row", "words"),
    [
        ([(json_rows.INTEGER, 0)], [-1], "row 0, column 0: -1"),
        ([(json_rows.CONTAINER, 0)], [676_000_000], "column 0: 676000000"),
        ([(json_rows.TEXT, 0, 0)], [2], "column 0: 2"),
        ([(json_rows.INTEGER, 1)], [5], "name 2 columns"),
    ],
)
def test_values_that_do_not_fit_are_named(template, row, words):
    with pytest.raises(ValueError, match=words):
        write(template, [row], [[b"x", b"y"]])


@pytest.mark.parametrize(
    "template",
    [[(99, 0)], [(json_rows.INTEGER, 64)], [(json_rows.TEXT, 0, 1)], [b"x" * (1 << 25)]],
    ids=["form", "column", "dictionary", "size"],
)
def test_bad_templates_are_refused(template):
    with pytest.raises(ValueError, match="template 0"):
        json_rows.JsonRows([template], [[b"x"]])


def test_rows_that_do_not_exist_are_refused():
    rows = json_rows.JsonRows([[(json_rows.INTEGER, 0)]])
    columns = numpy.zeros((1, 2), numpy.int64)
    with pytest.raises(IndexError, match=r"order\[1\]"):
        rows.write(columns, numpy.zeros(2, numpy.uint16), numpy.array([0, 2]))
    with pytest.raises(IndexError, match=r"order\[0\]"):
        rows.write(columns, numpy.array([0, 1], numpy.uint16), numpy.array([1]))


def test_partitions_are_those_of_kafkas_own_partitioner():
    keys = [b"", b"a", b"ab", b"abc", b"QAAU1234567", b"VNL0000000001", bytes(range(256))]
    offsets = numpy.cumsum([0, *map(len, keys)])
    found = json_rows.partitions(numpy.frombuffer(b"".join(keys), numpy.uint8), offsets, 12)
    assert found.tolist() == [(murmur2(key) & 0x7FFFFFFF) % 12 for key in keys]
