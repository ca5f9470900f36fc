"""A worker of a simulated run: the core, and what the real worker does with it, step by step.

Its steps are chosen by ``run``. It must never know which faults there are.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from core_ext.record_batch import OutputRun, RecordRun
from stream.engine import INPUT_TOPICS, PORT_EVENTS, Effects, Engine
from stream.moments import parse_date_time
from stream.partition import (
    ALERTS,
    DECISIONS,
    EFFECTS,
    META_KEY,
    REJECTS,
    UNCHANGED_COMMITS,
    Extent,
    Progress,
    TakeOver,
    decode_meta,
    encode_meta,
    nulls_for,
)
from stream.policy import load_policy
from tests.faults.simulation.broker import LOGS, PARTITIONS, STATES, Broker, Row
from tests.faults.simulation.dice import Dice
from tests.faults.simulation.history import VISIT_US, History

POLICY = load_policy(None)
# States are taken in pieces of about this many bytes, so that a commit has several.
PIECE_BYTES = 200
# So many commits of one owner bring another if nothing happens: enough for all visits to be
# forgotten.
COMMITS_MAX = 5
# Events that are read at a time, at most.
EVENTS_AT_ONCE = 3


class Batch(NamedTuple):
    """What waits in a lane: the records, and the tickets or the commit that it is about."""

    rows: list[Row]
    ticket: int
    meta_offset: int = -1


@dataclass(slots=True)
class Lane:
    """What one worker sends to one log, in order, one batch at a time."""

    queue: collections.deque[Batch] = field(default_factory=collections.deque)
    sequence: int = 0


@dataclass(slots=True)
class Effect:
    """What a call had to say and is not acknowledged: batches of decisions, and of anything."""

    decisions: int = 0
    waiting: int = 0
    ends: dict[str, int] = field(default_factory=dict)


class Owned:
    """A partition that a worker answers for."""

    def __init__(self, number: int, epoch: int, event_count: int, progress: Progress) -> None:
        self.number, self.epoch, self.progress = number, epoch, progress
        self.event_count = event_count
        self.lanes = {name: Lane() for name in LOGS}
        self.effects: dict[int, Effect] = {}
        self.taken: list[tuple[int, list[Row]]] = []  # states, and the ticket they wait for
        self.is_committing = self.is_taking = False
        #: Something happened since a commit began last.
        self.is_changed = True
        self.tail: TakeOver | None = None
        self.taken_at_us = 0
        self.commits = self.retired_at = 0
        self.clock_us: int | None = None  # when the last of the states were taken
        self._steps: list[str] | None = None

    def may_send(self, name: str) -> bool:
        """Whether the first batch of a lane may leave: what speaks of decisions waits for them."""
        ticket = self.lanes[name].queue[0].ticket
        return name not in (ALERTS, REJECTS) or not self.effects[ticket].decisions

    def sendable(self) -> list[str]:
        """The lanes whose first batch is under way."""
        return [name for name, lane in self.lanes.items() if lane.queue and self.may_send(name)]

    def steps(self) -> list[str]:
        """What the worker may do next for it."""
        if self._steps is None:
            steps = self._steps = self.sendable()
            if self.progress.next_offset < self.event_count:
                steps.append("read")
            if self.progress.may_forget and self.retired_at < self.commits:
                steps.append("retire")
            if self.is_taking:
                steps.append("take")
            if self.is_changed and not self.is_committing:
                steps.append("commit")
        return self._steps

    def stepped(self) -> None:
        """Something happened to it: what may be done next is to be found anew."""
        self._steps = None


class Worker:
    """The core, and what the real worker does with it, one step at a time."""

    def __init__(self, number: int, history: History, told: int, broker: Broker, dice: Dice):
        self.number, self.history, self.broker, self.dice = number, history, broker, dice
        self.engine = Engine(POLICY, PARTITIONS)
        self.owned: dict[int, Owned] = {}
        self.customs_read = told
        for topic, run, now_us in history.customs_runs(0, told):
            self.engine.apply_customs(topic, 0, run, now_us)
        self.engine.take_effects()

    # ---- the engine's calls ----

    def read_customs(self) -> None:
        """Applies the next of customs' records."""
        self.customs_read += 1
        tickets = {number: owned.progress.begun() for number, owned in self.owned.items()}
        for topic, run, now_us in self.history.customs_runs(
            self.customs_read - 1, self.customs_read
        ):
            self.engine.apply_customs(topic, 0, run, now_us)
        for number, ticket in tickets.items():
            self.owned[number].progress.applied(ticket)
        self.say(tickets)

    def read_events(self, owned: Owned) -> None:
        """Applies the next events of a partition, a few at a time."""
        begin = owned.progress.next_offset
        until = min(owned.event_count, begin + 1 + self.dice.below(EVENTS_AT_ONCE))
        ticket = owned.progress.begun()
        run, now_us = self.history.run(owned.number, begin, until)
        self.engine.apply_events(owned.number, run, now_us)
        owned.progress.applied(ticket, until)
        self.say({owned.number: ticket})
        if owned.tail is not None and owned.tail.is_past_tail(
            until, self.engine.matcher.clock_us(owned.number), owned.taken_at_us
        ):
            owned.tail = None
            owned.progress.leave_tail()
            self.engine.matcher.suppressed_clear(owned.number)

    def say(self, tickets: dict[int, int]) -> None:
        """Queues what the engine has to say, each lane in the order of the calls."""
        rows = rows_of(self.engine.take_effects())
        for number, ticket in tickets.items():
            owned = self.owned[number]
            owned.is_changed = True
            owned.stepped()
            its_rows = rows.get(number)
            if its_rows is None:
                owned.progress.acknowledged(ticket, {})
                self.write_states(owned)
                continue
            effect = owned.effects[ticket] = Effect()
            for name, left in its_rows.items():
                # What one call says may be cut into batches anywhere.
                while left:
                    size = 1 + self.dice.below(len(left))
                    owned.lanes[name].queue.append(Batch(left[:size], ticket))
                    effect.waiting += 1
                    effect.decisions += name == DECISIONS
                    left = left[size:]

    # ---- commits ----

    def begin_commit(self, owned: Owned) -> None:
        owned.is_changed = False
        owned.progress.begin_commit()
        owned.is_committing = owned.is_taking = True

    def take_states(self, owned: Owned) -> None:
        """Takes one piece of the states that changed."""
        matcher = self.engine.matcher
        run = matcher.take_unit_changes(owned.number, 0, PIECE_BYTES)
        rows = [(key, value, timestamp_ms) for key, value, _, timestamp_ms in run]
        if rows:
            owned.taken.append((owned.progress.last_ticket, rows))
        if not matcher.is_taking(owned.number):
            owned.is_taking = False
            owned.clock_us = matcher.clock_us(owned.number)
        self.write_states(owned)

    def write_states(self, owned: Owned) -> None:
        """Queues the states that may be written, and behind the last of them the meta record."""
        lane = owned.lanes[STATES]
        while owned.taken and owned.progress.may_write(owned.taken[0][0]):
            lane.queue.append(Batch(owned.taken.pop(0)[1], 0))
        if not owned.is_committing or owned.is_taking or owned.taken:
            return
        if any(batch.meta_offset >= 0 for batch in lane.queue) or not owned.progress.may_write(
            owned.progress.last_ticket
        ):
            return
        meta = owned.progress.meta(owned.clock_us, PARTITIONS, {})
        lane.queue.append(Batch([(META_KEY, encode_meta(meta), 0)], 0, meta.next_offset))

    # ---- what the broker answers ----

    def deliver(self, owned: Owned, name: str, is_answered: bool) -> None:
        """The first batch of a lane reaches its log; the answer may be lost, then it is sent again.

        Raises FencedError."""
        lane = owned.lanes[name]
        batch = lane.queue[0]
        log = self.broker.logs[name, owned.number]
        end = log.append(batch.rows, owned.number, owned.epoch, lane.sequence)
        if not is_answered:
            return
        lane.queue.popleft()
        lane.sequence += 1
        if name != STATES:
            effect = owned.effects[batch.ticket]
            effect.waiting -= 1
            effect.decisions -= name == DECISIONS
            effect.ends[name] = max(effect.ends.get(name, -1), end)
            if not effect.waiting:
                del owned.effects[batch.ticket]
                owned.progress.acknowledged(batch.ticket, effect.ends)
                self.write_states(owned)
        elif batch.meta_offset >= 0:
            owned.is_committing = False
            owned.commits += 1
            offset = owned.progress.end_commit()
            self.broker.commit(owned.number, offset, self.number)

    def retire(self, owned: Owned) -> None:
        """Forgets the units whose visits were over long ago."""
        owned.retired_at = owned.commits
        forgotten = self.engine.retire(owned.number, VISIT_US + 1, UNCHANGED_COMMITS)
        if forgotten or owned.commits < COMMITS_MAX:
            owned.is_changed = True

    def lose(self, owned: Owned) -> None:
        """The partition is another's."""
        del self.owned[owned.number]
        self.engine.forget_partition(owned.number)

    # ---- taking over ----

    def take_over(self, number: int, epoch: int) -> None:
        """Brings the state of a fenced partition back and owns it."""
        logs = {name: self.broker.logs[name, number] for name in LOGS}
        matcher, meta = self.engine.matcher, None
        old = logs[STATES].read(0)
        states = logs[STATES].read(old.last_null(META_KEY) + 1)
        found = states.last_value(META_KEY)
        if found is not None and self.broker.damaged.get(number, -1) < states.base_offset:
            meta = decode_meta(found[0])
        outputs = {name: Extent(0, logs[name].end) for name in EFFECTS}
        event_count = len(self.history.events[number])
        take_over = TakeOver(
            number,
            meta,
            "no meta",
            self.broker.committed[number],
            Extent(0, event_count),
            outputs,
            PARTITIONS,
        )
        if meta is not None:
            matcher.restore_units(number, states)
            if meta.clock_us is not None:
                matcher.set_clock(number, meta.clock_us)
        tails = {name: logs[name].read(take_over.tails[name]) for name in EFFECTS}
        for offset in answered_events(tails[DECISIONS]):
            take_over.answered(offset)
        matcher.suppress_alerts(number, tails[ALERTS])
        matcher.suppress_rejects(number, tails[REJECTS])
        owned = Owned(number, epoch, event_count, take_over.progress())
        self.owned[number] = owned
        if meta is None:
            self.clear(owned, old)
        ticket = owned.progress.begun()
        begin = take_over.events_from
        for until, silent in ((take_over.silent_until, True), (take_over.events_until, False)):
            if begin < until:
                run, _ = self.history.run(number, begin, until)
                matcher.restore_events(number, run, silent)
                begin = until
        matcher.restore_alerts(tails[ALERTS])
        matcher.restore_decisions(tails[DECISIONS])
        matcher.take_over(number, self.history.now_us(number, begin))
        owned.progress.applied(ticket, take_over.events_until)
        owned.tail = take_over
        owned.taken_at_us = latest_by_clock_us(tails[ALERTS])
        self.say({number: ticket})

    def clear(self, owned: Owned, old: RecordRun) -> None:
        """Queues the nulls for a changelog that can't be used, before any state."""
        keys = [*nulls_for(old, is_first=True), META_KEY] if len(old) else []
        while keys:
            size = 1 + self.dice.below(len(keys))
            owned.lanes[STATES].queue.append(Batch([(key, None, 0) for key in keys[:size]], 0))
            keys = keys[size:]


def rows_of(effects: Effects) -> dict[int, dict[str, list[Row]]]:
    """What an engine had to say, by partition and log."""
    found: dict[int, dict[str, list[Row]]] = {}
    for name, output in zip(EFFECTS, effects, strict=True):
        run: OutputRun = output
        for key, value, partition, timestamp_ms in run:
            if partition >= 0:  # rejects of customs' records are their own affair
                its_rows = found.setdefault(partition, {}).setdefault(name, [])
                its_rows.append((key, value, timestamp_ms))
    return found


@lru_cache(maxsize=10_000)
def fields_of(value: bytes) -> dict[str, Any]:
    """What a record says; the same records come again in the runs over one history."""
    fields: dict[str, Any] = json.loads(value)
    return fields


def answered_events(decisions: RecordRun) -> Iterator[int]:
    """The events of a partition that decisions of the tail name as their triggers.

    Not those that a reject names: it may be there before the decisions on earlier events are.
    """
    for _, value, _, _ in decisions:
        trigger = fields_of(value or b"{}")["trigger"]
        if trigger is not None and trigger["topic"] == INPUT_TOPICS[PORT_EVENTS]:
            yield trigger["offset"]


def latest_by_clock_us(alerts: RecordRun) -> int:
    """The latest moment at which an alert by the clock in these fell due, 0 if there is none."""
    latest = 0
    for _, value, _, _ in alerts:
        alert = fields_of(value or b"{}")
        if alert["type"] in ("OVERSTAYED", "TRANSIT_OVERDUE"):
            latest = max(latest, parse_date_time(alert["raisedDateTime"]))
    return latest
