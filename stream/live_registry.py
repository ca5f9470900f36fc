"""The operators as the engine takes them, from records of their topic.

What it is: runs of operators in, a ``Registry`` out, with exactly the versions that take effect:
an engine of its own judges them, so that nobody reads an operator in a second way.
Who calls it: ``stream.live_report`` and ``stream.silence``.
What it must never know: who is asked about, port events.
"""

from __future__ import annotations

from core_ext.record_batch import RecordRun
from stream import record_json, topics
from stream.engine import make_matcher
from stream.live_topics import log_line
from stream.policy import load_policy
from stream.registry import Registry


class LiveRegistry:
    """Grows with each run; ``registry`` has what has taken effect so far."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._matcher = make_matcher(load_policy())
        self._record_count = 0

    def take(self, run: RecordRun) -> None:
        """Takes the next run of a partition of operators."""
        for key, value, _, timestamp_ms in run:
            line = log_line(topics.OPERATORS, timestamp_ms, key, value)
            self._matcher.apply_log(line, self._record_count, True)
            self._record_count += 1
        self._matcher.take_lines("rejects")  # the worker has said so already
        for line in self._matcher.take_lines("registry").split(b"\n")[:-1]:
            entry = record_json.loads(line)
            self.registry.add(entry["timestamp"], entry["operatorID"], entry["operator"])
