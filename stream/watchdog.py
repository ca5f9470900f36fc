"""Ends a worker that stands still although it could go on.

What it is: looks at how far each partition has come, no I/O; says when one has events to answer and
nothing of it has moved for too long while a broker answers. Whoever restarts the process then gets
a worker that takes everything over anew, which cures whatever held the old one.
Who calls it: ``stream.gate``, about once a second.
What it must never know: what could be the matter.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple

from stream.fatal import FatalError

# What one look may count for: longer between two of them, and it was this process that stood still.
STEP_S_MAX = 5.0


class StuckError(FatalError):
    """A partition stands still."""


class Sight(NamedTuple):
    """What is seen of a partition: its state (or what it is doing), how many events it has not
    answered, and everything that changes while it gets on."""

    number: int
    state: str
    lag: int
    marks: Hashable


class Watchdog:
    """Watches one worker's partitions.

    Args:
        stuck_s_max: seconds of standing still that end the worker; 0: never.
    """

    def __init__(self, stuck_s_max: float) -> None:
        self._stuck_s_max = stuck_s_max
        self._looked_at: float | None = None
        #: Of each partition its marks, and for how long they have been the same.
        self._seen: dict[int, tuple[Hashable, float]] = {}

    def look(self, sights: Iterable[Sight], answered_at: float, now: float) -> None:
        """Takes a look at ``now``; ``answered_at`` is when a broker answered last. Seconds of one
        clock.

        Raises StuckError if a partition has stood still for too long.
        """
        # A worker that was stopped itself does not stand still.
        step_s = min(now - self._looked_at, STEP_S_MAX) if self._looked_at is not None else 0.0
        self._looked_at = now
        seen: dict[int, tuple[Hashable, float]] = {}
        for sight in sights:
            marks = (sight.state, sight.marks)
            marks_before, still_s = self._seen.get(sight.number, (None, 0.0))
            is_waiting = sight.lag > 0 or sight.state != "ready"
            # A broker that is away is waited for; it is not this worker that stands still.
            is_broker_there = now - answered_at < self._stuck_s_max / 2
            still = marks == marks_before and is_waiting and is_broker_there
            still_s = still_s + step_s if still else 0.0
            seen[sight.number] = (marks, still_s)
            if self._stuck_s_max and still_s >= self._stuck_s_max:
                raise StuckError(
                    f"partition {sight.number} has stood still for {still_s:.0f} s "
                    f"({sight.state.replace('_', ' ')}, {sight.lag} events not answered) although "
                    "the broker answers: ending, so that a new start takes it over; if that does "
                    "not help, look at the log above"
                )
        self._seen = seen
