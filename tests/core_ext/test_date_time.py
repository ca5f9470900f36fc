"""Instants and days against Python's datetime.

Goal: what CONTRACT.md section 1 allows is read exactly, nothing else is read, and every instant
is written in the one form. Method: every day of the range, random instants with random offsets
and fractions, and every single-character change of a good text.
"""

import random
import string
from datetime import UTC, date, datetime, timedelta

import pytest

from core_ext.event_scanner import format_date, format_date_time, parse_date, parse_date_time
from tests.reference import records as reference

EPOCH_DAY = date(1970, 1, 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def reference_time(text: bytes) -> int | None:
    try:
        return reference.date_time(text.decode("utf-8"))
    except ValueError:
        return None


def reference_day(text: bytes) -> int | None:
    try:
        return (reference.calendar_day(text.decode("utf-8")) - EPOCH_DAY).days
    except ValueError:
        return None


def test_every_day_there_and_back():
    for number in range((date(2199, 12, 31) - EPOCH_DAY).days + 1):
        text = (EPOCH_DAY + timedelta(days=number)).isoformat()
        assert parse_date(text.encode()) == number
        assert format_date(number) == text


def test_every_day_that_might_be_taken_for_one():
    for year in (1969, 1970, 1999, 2000, 2018, 2020, 2099, 2100, 2101, 2104, 2199, 2200):
        for month in range(14):
            for day in range(33):
                text = f"{year}-{month:02d}-{day:02d}".encode()
                assert parse_date(text) == reference_day(text), text
                time = text + b"T00:00:00Z"
                assert parse_date_time(time) == reference_time(time), time


def test_random_instants_there_and_back():
    chance = random.Random(1)
    for _ in range(50_000):
        microseconds = chance.randrange(-86_400_000_000, 7_258_204_800_000_000)
        text = format_date_time(microseconds)
        instant = EPOCH + timedelta(microseconds=microseconds)
        assert text == instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if 1970 <= instant.year <= 2199:
            assert parse_date_time(text.encode()) == microseconds


def test_random_texts_with_offsets_and_fractions():
    chance = random.Random(2)
    for _ in range(50_000):
        digits = "".join(chance.choice(string.digits) for _ in range(chance.randint(0, 10)))
        offset = f"{chance.choice('+-')}{chance.randint(0, 25):02d}:{chance.randint(0, 61):02d}"
        text = (
            f"{chance.randint(1968, 2201)}-{chance.randint(0, 13):02d}-{chance.randint(0, 32):02d}"
            f"T{chance.randint(0, 24):02d}:{chance.randint(0, 60):02d}:{chance.randint(0, 60):02d}"
            f"{'.' + digits if chance.random() < 0.7 else ''}"
            f"{chance.choice(['Z', '', offset])}"
        ).encode()
        assert parse_date_time(text) == reference_time(text), text


@pytest.mark.parametrize(
    "good",
    [
        b"2018-08-09T03:04:05Z",
        b"2018-08-09T03:04:05.123456789+07:00",
        b"1970-01-01T00:00:00.0+23:59",
        b"2199-12-31T23:59:59-23:59",
    ],
)
def test_every_change_of_one_byte(good):
    """Replaced, inserted and removed: read as the reference reads it, mostly not at all."""
    assert parse_date_time(good) == reference_time(good) is not None
    for place in range(len(good) + 1):
        removed = good[:place] + good[place + 1 :]
        assert parse_date_time(removed) == reference_time(removed), removed
        for byte in range(128):
            for tail in (good[place:], good[place + 1 :]):
                text = good[:place] + bytes([byte]) + tail
                assert parse_date_time(text) == reference_time(text), text
        for byte in range(128, 256):
            assert parse_date_time(good[:place] + bytes([byte]) + good[place + 1 :]) is None


def test_fraction_is_cut_not_rounded():
    assert parse_date_time(b"1970-01-01T00:00:00.000000999Z") == 0
    assert parse_date_time(b"1970-01-01T00:00:00.999999999Z") == 999_999


def test_offset_may_leave_the_years_as_written():
    assert parse_date_time(b"1970-01-01T00:00:00+23:59") == -86_340_000_000
    assert parse_date_time(b"2199-12-31T23:59:59-23:59") == reference_time(
        b"2199-12-31T23:59:59-23:59"
    )


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        (253_402_300_800_000_000, "9999-12-31T23:59:59.999999Z"),
        (2**63 - 1, "9999-12-31T23:59:59.999999Z"),
        (-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z"),
        (-(2**63), "0000-01-01T00:00:00.000000Z"),
    ],
)
def test_instants_at_the_edges_of_what_can_be_written(microseconds, text):
    assert format_date_time(microseconds) == text


@pytest.mark.parametrize("text", [b"", b"2018-08-0", b"2018-08-099", b"2018/08/09", b"2018-08-0a"])
def test_no_day(text):
    assert parse_date(text) is None
