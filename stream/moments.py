"""Moments and days: int64 microseconds UTC, RFC 3339 text, and days in Vietnam.

Called by whatever of the package reads or shows a date outside the compiled core. It must never
know records or rules. A day is an ordinal of ``datetime.date`` (day 1 is 0001-01-01), and runs
from midnight to midnight in Vietnam (+07:00), which has no summer time.
"""

from __future__ import annotations

import datetime
import re

DAY_US = 86_400_000_000
VIETNAM_OFFSET_US = 7 * 3_600_000_000

_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 (only for sums of whole microseconds)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)


def midnight_us(day: int) -> int:
    """Returns the moment at which a day begins in Vietnam."""
    return (day - _EPOCH_ORDINAL) * DAY_US - VIETNAM_OFFSET_US


def day_of(moment_us: int) -> int:
    """Returns the day in Vietnam of a moment."""
    return (moment_us + VIETNAM_OFFSET_US) // DAY_US + _EPOCH_ORDINAL


def days_since_1970(moment_us: int) -> int:
    """Returns the day in Vietnam of a moment as the core counts days."""
    return (moment_us + VIETNAM_OFFSET_US) // DAY_US


def day_text(day: int) -> str:
    """Returns a day as ``YYYY-MM-DD``."""
    return datetime.date.fromordinal(day).isoformat()


def parse_day(text: str) -> int:
    """Returns the day of ``YYYY-MM-DD``; ValueError, with the reason, for anything else."""
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is no date: write YYYY-MM-DD")
    try:
        return datetime.date.fromisoformat(text).toordinal()
    except ValueError:
        raise ValueError(f"there is no day {text}: write YYYY-MM-DD") from None


def parse_date_time(text: str) -> int:
    """Returns the microseconds UTC of an RFC 3339 date-time, cut to microseconds.

    For values that the core has accepted; ValueError for what is no date-time.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no RFC 3339 date-time")
    date, hours, minutes, seconds, fraction, sign, offset_hours, offset_minutes = match.groups()
    day = datetime.date.fromisoformat(date).toordinal() - _EPOCH_ORDINAL
    seconds_of_day = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    if sign:
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        seconds_of_day -= offset if sign == "+" else -offset
    microseconds = int((fraction or "").ljust(6, "0")[:6])
    return day * DAY_US + seconds_of_day * 1_000_000 + microseconds


def utc_text(moment_us: int) -> str:
    """Returns a moment as the contract writes it: ``2018-08-09T03:04:05.000000Z``."""
    moment = _EPOCH + datetime.timedelta(microseconds=moment_us)
    return moment.isoformat(timespec="microseconds") + "Z"


def vietnam_text(moment_us: int) -> str:
    """Returns a moment as a person in Vietnam reads it: ``2018-08-09 10:04:05``, +07:00.

    A fraction of a second is written only where there is one.
    """
    moment = _EPOCH + datetime.timedelta(microseconds=moment_us + VIETNAM_OFFSET_US)
    return moment.isoformat(sep=" ").rstrip("0") if moment.microsecond else moment.isoformat(" ")
