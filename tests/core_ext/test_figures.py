"""Figures for who watches: operators' totals, reports with a time limit, the nation's sums."""

from __future__ import annotations

import pytest

from core_ext.matcher import Matcher
from stream.engine import OPERATORS, PORT_EVENTS
from tests.core_ext.test_matcher import (
    NOON_MS,
    PARTITION,
    PARTITIONS,
    UNIT,
    event,
    operator,
    run,
    worker_matcher,
)

MINUTE_MS = 60_000
TODAY = 17_752  # 2018-08-09 in Vietnam
HOUR_11_MS = 1_533_812_400_000  # 2018-08-09T11:00:00Z


def apply(matcher: Matcher, *values: object, timestamp_ms: int = NOON_MS) -> None:
    for value in values:
        matcher.apply(PORT_EVENTS, PARTITION, run((UNIT, value, timestamp_ms)), NOON_MS * 1000)


def only(matcher: Matcher) -> tuple[int, int, int]:
    """Accepted, refused and late of the one operator there is."""
    [(operator_id, status, *figures)] = matcher.operator_figures()
    assert (operator_id, status) == ("OP", "CONNECTED")
    return tuple(figures)


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (event("E", "GET_IN", 25), True),  # MALFORMED, but says whose it is
        (event("E", "GET_IN", 1, locationCode="elsewhere"), True),
        (event("E", "GET_IN", 1, operatorID="OQ"), False),  # nobody whom customs knows
        (b'{"operatorID"\t:\n "OP"', True),
        (b'{"operatorID":"OP', False),
        (b'{"operatorID":', False),
        (b'{"operatorID"', False),
        (b'"', False),
        (b"no JSON", False),
        (b'{"operatorID":"' + 70_000 * b"x" + b'"}', False),
        (None, False),
    ],
)
def test_a_refused_event_counts_for_the_operator_that_it_names(value, counts) -> None:
    matcher = worker_matcher()
    apply(matcher, value)
    assert len(matcher.take_rejects()) == 1
    assert only(matcher) == (0, int(counts), 0)


def test_accepted_events_count_and_restored_ones_do_not() -> None:
    matcher = worker_matcher()
    matcher.restore_events(PARTITION, run((UNIT, event("E1", "GET_IN", 1), NOON_MS)))
    apply(matcher, event("E2", "GET_IN", 2), event("E2", "GET_IN", 2))
    assert only(matcher) == (2, 0, 0)


def test_an_operator_that_customs_removed_is_not_shown() -> None:
    matcher = worker_matcher()
    apply(matcher, event("E", "GET_IN", 1))
    matcher.apply(OPERATORS, 0, run(("OP", None, 2)), NOON_MS * 1000)
    assert matcher.operator_figures() == []
    matcher.apply(OPERATORS, 0, run(("OP", operator("SUSPENDED", 3), 3)), NOON_MS * 1000)
    assert matcher.operator_figures() == [("OP", "SUSPENDED", 1, 0, 0)]


def test_reports_with_a_time_limit_are_counted_by_direction() -> None:
    matcher = worker_matcher()
    late_ms = {"IMPORT": 15, "TRANSIT": 15, "EXPORT": 30, "DOMESTIC": 600}
    for number, (direction, minutes) in enumerate(late_ms.items()):
        for more_ms in (0, 1):
            apply(
                matcher,
                event(f"E{number}-{more_ms}", "GET_OUT", 11, direction=direction),
                timestamp_ms=HOUR_11_MS + minutes * MINUTE_MS + more_ms,
            )
    counters = matcher.counters()
    assert counters["exit_reports"] == {"IMPORT": 2, "EXPORT": 2, "TRANSIT": 2}
    assert counters["late_reports"] == {"IMPORT": 1, "EXPORT": 1, "TRANSIT": 1}
    assert counters["alerts"]["LATE_REPORT"] == 3
    assert only(matcher) == (8, 0, 3)


@pytest.mark.parametrize(("days", "age"), [(0, 0), (30, 0), (31, 1), (60, 1), (61, 2), (91, 3)])
def test_the_nations_sums(days, age) -> None:
    matcher = worker_matcher()
    apply(
        matcher,
        event("E1", "GET_IN", 1),
        event("E2", "GET_IN", 1, unitType="BULK", weightKg=2.5, pieces=4),
        event("E3", "GET_OUT", 2, unitType="BULK", weightKg=1, pieces=4),
    )
    rows = matcher.nation_figures(range(PARTITIONS), TODAY + days)
    assert len(rows) == 16
    units = [int(place == age) for place in range(4)]
    assert [row for row in rows if any(row[3])] == [
        ("IMPORT", "CONTAINER", tuple(units), (1, 0), (0, 0), (0, 0)),
        ("IMPORT", "BULK", (0, 0, 0, 0), (1, 1), (4, 4), (2500, 1000)),
    ]
    others = [number for number in range(PARTITIONS) if number != PARTITION]
    assert not any(any(row[3]) for row in matcher.nation_figures(others, TODAY))
    with pytest.raises(ValueError, match="partition 4"):
        matcher.nation_figures([PARTITIONS], TODAY)
