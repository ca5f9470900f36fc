"""stream/moments.py: microseconds, days in Vietnam and the texts of both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.moments import (
    day_of,
    day_text,
    midnight_us,
    parse_date_time,
    parse_day,
    utc_text,
    vietnam_text,
)


def test_days_begin_at_17_hours_utc():
    day = parse_day("2018-08-09")
    assert utc_text(midnight_us(day)) == "2018-08-08T17:00:00.000000Z"
    assert day_of(midnight_us(day)) == day
    assert day_of(midnight_us(day) - 1) == day - 1
    assert day_text(day) == "2018-08-09"


@pytest.mark.parametrize("text", ["2018-8-9", "2018-02-30", "20180809", "2018-08-09 ", ""])
def test_what_is_no_day(text):
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        parse_day(text)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2018-08-09T10:04:05+07:00", "2018-08-09T03:04:05.000000Z"),
        ("1970-01-01T00:00:00.1234569Z", "1970-01-01T00:00:00.123456Z"),
        ("1970-01-01T00:00:00+23:59", "1969-12-31T00:01:00.000000Z"),
        ("2199-12-31T23:59:59.5-23:59", "2200-01-01T23:58:59.500000Z"),
    ],
)
def test_date_times(text, utc):
    assert utc_text(parse_date_time(text)) == utc


@given(st.integers(0, 230 * 365 * 86_400_000_000))
def test_date_times_come_back(moment_us):
    assert parse_date_time(utc_text(moment_us)) == moment_us


def test_people_in_vietnam_read_their_own_clock():
    assert vietnam_text(parse_date_time("2018-08-09T17:00:00Z")) == "2018-08-10 00:00:00"
    assert vietnam_text(parse_date_time("2018-08-09T17:00:00.25Z")) == "2018-08-10 00:00:00.25"
    assert vietnam_text(parse_date_time("2018-08-09T16:50:50Z")) == "2018-08-09 23:50:50"
