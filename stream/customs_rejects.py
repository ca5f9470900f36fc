"""Rejects of customs' records: published once, though every worker reads those records.

What it is: holds the rejects that the engine gives for operators, declarations and holds, and hands
out those that nobody has published yet, while this worker is the one to speak for them.
Who calls it: ``stream.gate`` holds and speaks; the speaker is whoever owns partition 0 of
port-events (``stream.owned_partition``), as whose output they are written, fenced and committed.
What it must never know: why a record was refused, how rejects are sent.

How far has been spoken, for each partition of the three topics the offset behind the last record
whose reject was handed out, goes into the meta record of partition 0 (``stream.partition``); what
came after it is in the tail of the rejects, which a new owner reads. What was handed out is held
until the broker has it: a worker that loses partition 0 meanwhile may be its next owner as well.
"""

from __future__ import annotations

import collections
import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from core_ext.record_batch import OutputRun, encode_output

log = logging.getLogger(__name__)

# Bytes of rejects that may wait for a speaker. Customs' own system writes these records, so there
# are few; beyond this the oldest are dropped, with a message.
HELD_BYTES_MAX = 64 << 20

#: Sends built batches of rejects, and calls back when the broker has them.
Say = Callable[[list[tuple[bytes, int]], Callable[[], None]], None]


class HeldReject(NamedTuple):
    """A reject and where the refused record is: ``topic/partition`` and offset."""

    source: str
    offset: int
    key: bytes | None
    value: bytes
    timestamp_ms: int


class CustomsRejects:
    """One worker's share in publishing the rejects of customs' records.

    Args:
        compression: codec of what is handed out.
    """

    def __init__(self, compression: str) -> None:
        self._compression = compression
        self._held: collections.deque[HeldReject] = collections.deque()
        #: Handed out and not acknowledged yet, in order, before those that are held.
        self._said: collections.deque[HeldReject] = collections.deque()
        self._held_bytes = 0
        self._say: Say | None = None
        self._spoken: dict[str, int] = {}

    @property
    def held_bytes(self) -> int:
        """Bytes of rejects that wait for a speaker or the broker; at most HELD_BYTES_MAX wait for a
        speaker."""
        return self._held_bytes

    def hold(self, rejects: OutputRun) -> None:
        """Takes rejects as the engine gives them, in the order of the records."""
        for key, value, _, timestamp_ms in rejects:
            assert value is not None, "a reject has a value"
            source = json.loads(value)["source"]
            reject = HeldReject(
                f"{source['topic']}/{source['partition']}",
                source["offset"],
                key,
                value,
                timestamp_ms,
            )
            self._held.append(reject)
            self._held_bytes += len(value)
        while self._held and self._held_bytes > HELD_BYTES_MAX:
            dropped = self._held.popleft()
            self._held_bytes -= len(dropped.value)
            log.error("too many rejects of customs' records: dropped that of %s", dropped[:2])

    def start_speaking(self, spoken: Mapping[str, int], say: Say) -> None:
        """Hands out to ``say`` from now on, beginning with what is held and was not published by
        others: ``spoken`` is how far they came."""
        self._spoken = dict(spoken)
        self._say = say
        self.speak()

    def stop_speaking(self) -> None:
        """Leaves publishing to another worker; goes on holding, also what the broker has not
        acknowledged."""
        self._say = None
        self._held = self._said + self._held
        self._said = collections.deque()

    def spoken(self) -> dict[str, int]:
        """How far has been spoken, by ``topic/partition``."""
        return dict(self._spoken)

    def speak(self) -> None:
        """If this worker speaks: hands out what is held and nobody has published."""
        if self._say is None or not self._held:
            return
        held, self._held = self._held, collections.deque()
        run = OutputRun()
        for reject in held:
            if reject.offset >= self._spoken.get(reject.source, 0):
                run.append(reject.key, reject.value, 0, reject.timestamp_ms)
                self._spoken[reject.source] = reject.offset + 1
                self._said.append(reject)
            else:
                self._held_bytes -= len(reject.value)
        if len(run):
            self._say(
                encode_output(run, 0, compression=self._compression),
                partial(self._acknowledged, len(run)),
            )

    def _acknowledged(self, count: int) -> None:
        for _ in range(count):
            self._held_bytes -= len(self._said.popleft().value)
