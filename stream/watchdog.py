"""Ends a worker that stands still although it could go on.

What it is: looks at how far each partition has come, no I/O; says when one has events to answer and
nothing of it has moved for too long while a broker answers. Whoever restarts the process then gets
a worker that takes everything over anew, which cures whatever held the old one. And a thread that
ends the process if its event loop does not turn any more, or if it can't end in good order: whoever
stands still keeps its partitions as long as its heartbeats go on, and these have a thread of their
own.
Who calls it: ``stream.gate``, about once a second.
What it must never know: what could be the matter.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from stream.fatal import FatalError

# What one look may count for: longer between two of them, and it was this process that stood still.
STEP_S_MAX = 5.0
# How often the event loop says that it turns, and is looked at.
BEAT_S = 1.0
# How long a worker may take to end: its last commits, and what it has under way.
END_S_MAX = 20.0


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


class LastResort:
    """A thread that ends the process where nothing else can.

    Args:
        stuck_s_max: seconds without a turn of the event loop that end it; 0: never.
    """

    def __init__(self, stuck_s_max: float) -> None:
        self._stuck_s_max = stuck_s_max
        self._beats = 0
        self._reason: str | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begins to watch."""
        threading.Thread(target=self._watch, name="last resort", daemon=True).start()

    def beat(self) -> None:
        """The event loop turns; to be called every ``BEAT_S`` seconds."""
        self._beats += 1

    def ending(self, reason: str) -> None:
        """The worker is about to end; from now on it has ``END_S_MAX`` seconds."""
        self._reason = self._reason or reason

    def stop(self) -> None:
        """Watches no more: the worker has ended."""
        self._stopped.set()

    def _watch(self) -> None:
        looked_at, beats, still_s, ending_s = time.monotonic(), self._beats, 0.0, 0.0
        while not self._stopped.wait(BEAT_S):
            now = time.monotonic()
            step_s, looked_at = min(now - looked_at, STEP_S_MAX), now
            still_s = still_s + step_s if beats == self._beats else 0.0
            beats = self._beats
            if self._reason is not None:
                ending_s += step_s
                if ending_s >= END_S_MAX:
                    self._end(f"{self._reason}; it did not end in good order in {END_S_MAX:.0f} s")
            elif self._stuck_s_max and still_s >= self._stuck_s_max:
                self._end(
                    f"nothing has moved for {still_s:.0f} s, not even this worker's event loop: "
                    "ending, so that a new start takes its partitions over"
                )

    def _end(self, reason: str) -> None:
        """Ends the process here and now; what the broker has not acknowledged is made again."""
        print(f"gatejoin worker: {reason}", file=sys.stderr, flush=True)
        os._exit(1)
