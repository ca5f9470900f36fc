"""When the watchdog ends a worker, and when it must not."""

from __future__ import annotations

import pytest

from stream.watchdog import Sight, StuckError, Watchdog


def look(watchdog: Watchdog, first: int, last: int, marks: int = 1, **of_sight: object) -> None:
    """Looks each second from `first` to `last`; the marks are those given."""
    sight = {"number": 3, "state": "ready", "lag": 5, **of_sight}
    answered_at = sight.pop("answered_at", None)
    for now in range(first, last + 1):
        watchdog.look(
            [Sight(marks=marks, **sight)],  # type: ignore[arg-type]
            float(now if answered_at is None else answered_at),  # type: ignore[arg-type]
            now,
        )


def test_standing_still_with_events_to_answer_ends_it() -> None:
    watchdog = Watchdog(60)
    look(watchdog, 0, 59)
    with pytest.raises(StuckError, match="partition 3 has stood still for 60 s .ready, 5 events"):
        look(watchdog, 60, 60)


def test_getting_on_does_not() -> None:
    watchdog = Watchdog(60)
    for now in range(0, 600, 50):
        look(watchdog, now, now + 49, now)


def test_having_nothing_to_do_does_not() -> None:
    watchdog = Watchdog(60)
    look(watchdog, 0, 600, lag=0)
    look(watchdog, 601, 659)
    with pytest.raises(StuckError):
        look(watchdog, 660, 661)


def test_a_broker_that_is_away_does_not() -> None:
    watchdog = Watchdog(60)
    look(watchdog, 0, 600, answered_at=0)
    look(watchdog, 601, 659)
    with pytest.raises(StuckError):
        look(watchdog, 660, 661)


def test_a_worker_that_was_paused_itself_does_not() -> None:
    watchdog = Watchdog(60)
    look(watchdog, 0, 1)
    look(watchdog, 5000, 5050)


def test_a_take_over_that_stands_still_ends_it_though_no_event_is_known() -> None:
    watchdog = Watchdog(60)
    look(watchdog, 0, 50, state="loading_customs", lag=0)
    look(watchdog, 51, 110, state="fencing", lag=0)
    with pytest.raises(StuckError, match="fencing"):
        look(watchdog, 111, 112, state="fencing", lag=0)


def test_it_can_be_turned_off() -> None:
    look(Watchdog(0), 0, 600)


def test_a_partition_that_comes_back_starts_anew() -> None:
    watchdog = Watchdog(60)
    look(watchdog, 0, 50)
    watchdog.look([], 51, 51)
    look(watchdog, 52, 110)
