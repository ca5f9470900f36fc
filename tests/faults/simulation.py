"""A deterministic simulation: brokers, workers, crashes and lost messages, without any process.

Run by ``test_simulation`` and by people (``python -m tests.faults.simulation --runs 10000``). The
core that answers (``Matcher``) and the protocol of a partition (``stream.partition``) are the real
ones; the broker's logs with their producer epochs, the network, the group and the clock are
imitated, each in its smallest form that can still do harm: a batch may arrive late, twice, after
its sender's death or after its fence; an acknowledgement may be lost; of what is under way some
logs may get their part and others not. One scheduler, drawing from a seed, decides which of the
possible steps comes next, so a seed is a run. It must never know how a real broker is spoken to.

A run is right if what the logs hold in the end, whatever happened on the way, is what an engine
that nobody interrupted says of the same history: the same decisions of each check, in order, the
same alerts and rejects, each once, and the same volumes, stock and unit states.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
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
from tests.faults.verifier import CUSTOMS, Evidence, Record, Sighting, verify
from tests.faults.workload import TC, Sent, World, operators, partition_of
from tests.reference.generate import LOCATIONS, START
from tests.reference.records import MILLISECOND, write_date_time

POLICY = load_policy(None)
PARTITIONS = 2
STATES = "unit-states"
LOGS = (*EFFECTS, STATES)
# States are taken in pieces of about this many bytes, so that a commit has several.
PIECE_BYTES = 200
# A run that is not through by then never will be.
STEPS_MAX = 20_000
# Of one history: records of each of its worlds, and runs with different faults.
RECORDS, RUNS_PER_HISTORY = 20, 20
# Every such history has customs' records that come while events are answered; these runs are
# compared by the verifier, which takes ten times as long.
LATE_EVERY = 10
HISTORIES_AT_ONCE = 64
# Units of each partition that can be forgotten, and when they came and went.
VISITS = 3
VISIT_US = START - 1_000_000_000_000
# So many commits of one owner bring another if nothing happens: enough for all that to be done.
COMMITS_MAX = 5

Row = tuple[bytes | None, bytes | None, int]  # key, value, timestamp_ms
Stored = tuple[bytes | None, bytes | None, int, int]  # and the offset before the timestamp


class SimulationError(AssertionError):
    """A run went wrong."""


class FencedError(Exception):
    """A log refuses a batch of an older epoch."""


# ------------------------------------------------------------------------------ the broker


class Log:
    """One partition of a topic, with what it knows of producers: per id, epoch and sequence."""

    def __init__(self) -> None:
        self.records: list[Stored] = []
        self.end = 0
        self.producers: dict[int, tuple[int, int]] = {}

    def append(self, batch: Sequence[Row], producer: int, epoch: int, sequence: int) -> int:
        """Stores a batch; returns the offset behind it, or -1 if it was there already."""
        known_epoch, known_sequence = self.producers.get(producer, (epoch, -1))
        if epoch < known_epoch:
            raise FencedError
        if epoch > known_epoch:
            known_sequence = -1
        if sequence <= known_sequence:
            return -1
        if sequence != known_sequence + 1:
            raise SimulationError(f"sequence {sequence} after {known_sequence}")
        self.producers[producer] = epoch, sequence
        for key, value, timestamp_ms in batch:
            self.records.append((key, value, self.end, timestamp_ms))
            self.end += 1
        return self.end

    def mark(self, producer: int, epoch: int) -> None:
        """A transaction marker: takes an offset, and earlier epochs are refused from here on."""
        if epoch > self.producers.get(producer, (-1, -1))[0]:
            self.producers[producer] = epoch, -1
        self.end += 1

    def read(self, begin: int, end: int | None = None) -> RecordRun:
        last = self.end if end is None else end
        return RecordRun.from_records([one for one in self.records if begin <= one[2] < last])

    def compact(self) -> None:
        """Keeps the last record of each key, as a broker does in its own time."""
        last = {key: offset for key, _, offset, _ in self.records}
        self.records = [one for one in self.records if last[one[0]] == one[2]]


class Broker:
    """All logs, the epochs that were given out, and the group's offsets."""

    def __init__(self) -> None:
        self.logs = {(name, part): Log() for name in LOGS for part in range(PARTITIONS)}
        self.epochs = dict.fromkeys(range(PARTITIONS), -1)
        self.owners: dict[int, int] = {}
        self.committed = dict.fromkeys(range(PARTITIONS), 0)
        self.sightings: list[Sighting] = []
        #: Where a partition's changelog has a record that nobody can read, until it is compacted
        #: away.
        self.damaged: dict[int, int] = {}

    def commit(self, partition: int, offset: int, worker: int) -> None:
        """Takes an offset from the partition's owner; that of anybody else is refused."""
        if self.owners.get(partition) == worker:
            self.committed[partition] = offset
            ends = {place: log.end for place, log in self.logs.items()}
            self.sightings.append(Sighting(dict(self.committed), ends))


# ------------------------------------------------------------------------------- a worker


class Batch(NamedTuple):
    """What waits in a lane: the records, and the tickets or the commit that it is about."""

    rows: list[Row]
    ticket: int
    meta_offset: int = -1


@dataclass
class Lane:
    """What one worker sends to one log, in order, one batch at a time."""

    queue: collections.deque[Batch] = field(default_factory=collections.deque)
    sequence: int = 0


@dataclass
class Effect:
    """What a call had to say and is not acknowledged: batches of decisions, and of anything."""

    decisions: int = 0
    waiting: int = 0
    ends: dict[str, int] = field(default_factory=dict)


class Owned:
    """A partition that a worker answers for."""

    def __init__(self, number: int, epoch: int, progress: Progress) -> None:
        self.number, self.epoch, self.progress = number, epoch, progress
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

    def may_send(self, name: str) -> bool:
        """Whether the first batch of a lane may leave: what speaks of decisions waits for them."""
        lane = self.lanes[name]
        if name in (ALERTS, REJECTS) and lane.queue:
            return not self.effects[lane.queue[0].ticket].decisions
        return bool(lane.queue)


class Worker:
    """The core, and what the real worker does with it, one step at a time."""

    def __init__(self, number: int, history: History, broker: Broker, random: Random) -> None:
        self.number, self.history, self.broker, self.random = number, history, broker, random
        self.engine = Engine(POLICY, PARTITIONS)
        self.owned: dict[int, Owned] = {}
        self.customs_read = 0
        for _ in range(history.customs_told):
            self.read_customs()

    # ---- the engine's calls ----

    def read_customs(self) -> None:
        """Applies the next of customs' records."""
        sent, run = self.history.customs[self.customs_read]
        self.customs_read += 1
        tickets = {number: owned.progress.begun() for number, owned in self.owned.items()}
        topic = INPUT_TOPICS.index(sent.topic)
        self.engine.apply_customs(topic, 0, run, sent.timestamp_ms * 1000)
        for number, ticket in tickets.items():
            self.owned[number].progress.applied(ticket)
        self.say(tickets)

    def read_events(self, owned: Owned) -> None:
        """Applies the next events of a partition, a few at a time."""
        begin, end = owned.progress.next_offset, len(self.history.events[owned.number])
        until = min(end, begin + self.random.randint(1, 3))
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
            owned, its_rows = self.owned[number], rows.get(number, {})
            owned.is_changed = True
            effect = owned.effects[ticket] = Effect()
            for name, left in its_rows.items():
                # What one call says may be cut into batches anywhere.
                while left:
                    size = self.random.randint(1, len(left))
                    owned.lanes[name].queue.append(Batch(left[:size], ticket))
                    effect.waiting += 1
                    effect.decisions += name == DECISIONS
                    left = left[size:]
            self.give_back(owned, ticket)

    def give_back(self, owned: Owned, ticket: int) -> None:
        """Gives a ticket back if the broker has all of it."""
        effect = owned.effects[ticket]
        if not effect.waiting:
            del owned.effects[ticket]
            owned.progress.acknowledged(ticket, effect.ends)
            self.write_states(owned)

    # ---- commits ----

    def begin_commit(self, owned: Owned) -> None:
        owned.is_changed = False
        owned.progress.begin_commit()
        owned.is_committing = owned.is_taking = True

    def take_states(self, owned: Owned) -> None:
        """Takes one piece of the states that changed."""
        run = self.engine.matcher.take_unit_changes(owned.number, 0, PIECE_BYTES)
        rows = [(key, value, timestamp_ms) for key, value, _, timestamp_ms in run]
        if rows:
            owned.taken.append((owned.progress.last_ticket, rows))
        if not self.engine.matcher.is_taking(owned.number):
            owned.is_taking = False
            owned.clock_us = self.engine.matcher.clock_us(owned.number)
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
            self.give_back(owned, batch.ticket)
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
        events = Extent(0, len(self.history.events[number]))
        take_over = TakeOver(
            number, meta, "no meta", self.broker.committed[number], events, outputs, PARTITIONS
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
        owned = Owned(number, epoch, take_over.progress())
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
            size = self.random.randint(1, len(keys))
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


def answered_events(decisions: RecordRun) -> Iterator[int]:
    """The events of a partition that decisions of the tail name as their triggers.

    Not those that a reject names: it may be there before the decisions on earlier events are.
    """
    for _, value, _, _ in decisions:
        trigger = json.loads(value or b"{}")["trigger"]
        if trigger is not None and trigger["topic"] == INPUT_TOPICS[PORT_EVENTS]:
            yield trigger["offset"]


def latest_by_clock_us(alerts: RecordRun) -> int:
    """The latest moment at which an alert by the clock in these fell due, 0 if there is none."""
    latest = 0
    for _, value, _, _ in alerts:
        alert = json.loads(value or b"{}")
        if alert["type"] in ("OVERSTAYED", "TRANSIT_OVERDUE"):
            latest = max(latest, parse_date_time(alert["raisedDateTime"]))
    return latest


# ------------------------------------------------------------------------------ a history


class History:
    """What is sent: events of each partition, and customs' records, of which some come later."""

    def __init__(self, seed: str, worlds: int, records: int, late_customs: bool) -> None:
        self.seed = seed
        self.customs: list[tuple[Sent, RecordRun]] = []
        self.events: dict[int, list[tuple[Sent, Stored]]] = {n: [] for n in range(PARTITIONS)}
        sent = operators(1)
        for number in range(worlds):
            sent += list(World(seed, number).records(PARTITIONS, 1))[:records]
        random, first = Random(f"{seed}/visits"), len(sent)
        for number in range(PARTITIONS * VISITS):
            place = random.randint(first - first // 2, len(sent))
            sent[place:place] = visit(number)
        for one in sent:
            if one.topic == "port-events":
                its = self.events[one.partition]
                its.append((one, (one.key, one.value, len(its), one.timestamp_ms)))
            else:
                row = (one.key, one.value, len(self.customs), one.timestamp_ms)
                self.customs.append((one, RecordRun.from_records([row])))
        first = len(operators(1))
        #: How many of customs' records there are when a worker begins; it grows.
        self.customs_first = first if late_customs else len(self.customs)
        self.customs_told = self.customs_first

    def run(self, number: int, begin: int, until: int) -> tuple[RecordRun, int]:
        """Events of a partition, and the time at which they are applied."""
        rows = [row for _, row in self.events[number][begin:until]]
        return RecordRun.from_records(rows), self.now_us(number, until)

    def now_us(self, number: int, until: int) -> int:
        """A clock that no record is ahead of."""
        rows = self.events[number][:until]
        return max((sent.timestamp_ms for sent, _ in rows), default=0) * 1000


def visit(number: int) -> Iterator[Sent]:
    """A lot comes and goes that nobody has declared, long before everything else, so that it can be
    forgotten."""
    partition = number % PARTITIONS
    names = (f"VISITOR{number}X{tried}" for tried in itertools.count())
    key = next(name for name in names if partition_of(name.encode(), PARTITIONS) == partition)
    for event_type in ("GET_IN", "GET_OUT"):
        event = {
            "eventID": event_type,
            "eventType": event_type,
            "eventDateTime": write_date_time(VISIT_US),
            "operatorID": TC,
            "locationCode": LOCATIONS[0],
            "unitType": "PACKAGES",
            "unit": key,
            "direction": "IMPORT",
            "pieces": 1,
        }
        value = json.dumps(event).encode()
        yield Sent("port-events", partition, key.encode(), value, VISIT_US // MILLISECOND)


# --------------------------------------------------------------------------------- a run


class Simulation:
    """One run over a history.

    Args:
        history: what is sent.
        seed: of the scheduler.
        faults: how many crashes, pauses and hand-overs there are at most.
        crash_at: crash the first worker after so many steps, once, and nothing else.
        strays: how much of what is under way at a crash still arrives, some time: 0 to 1.
    """

    def __init__(
        self,
        history: History,
        seed: str,
        *,
        faults: int = 0,
        crash_at: int | None = None,
        strays: float = 0.5,
    ) -> None:
        self.history = history
        self.random = Random(f"{history.seed}/{seed}")
        self.seed, self.faults_given = seed, faults
        self.faults_left = faults
        self.crash_at = crash_at
        self.strays = strays
        self.broker = Broker()
        self.workers: list[Worker] = []
        #: Workers that were replaced without knowing it.
        self.zombies: list[Worker] = []
        #: Batches under way of workers that are dead: they may still arrive.
        self.stray: list[tuple[str, int, list[Row], int, int]] = []
        self.steps = 0
        self.worker_count = 0
        self.faults: collections.Counter[str] = collections.Counter()
        history.customs_told = history.customs_first

    def __str__(self) -> str:
        return f"run {self.seed}, {self.faults_given} faults, crash at {self.crash_at}"

    def run(self) -> None:
        """Runs to the end; raises SimulationError."""
        for _ in range(2 if self.faults_left else 1):
            self.start_worker()
        for number in range(PARTITIONS):
            self.give(number, self.random.choice(self.workers))
        self.run_on()

    def run_on(self) -> None:
        """Makes steps until there are no more."""
        while self.step():
            self.steps += 1
            if self.steps > STEPS_MAX:
                raise SimulationError("it never ends")

    def start_worker(self) -> Worker:
        self.worker_count += 1
        worker = Worker(self.worker_count, self.history, self.broker, self.random)
        self.workers.append(worker)
        return worker

    def give(self, number: int, worker: Worker) -> None:
        """The group gives a partition to a worker, which fences and takes over.

        Between the new epoch and each log's marker whatever is under way may still arrive."""
        self.broker.owners[number] = worker.number
        self.broker.epochs[number] += 1
        epoch = self.broker.epochs[number]
        for name in LOGS:
            while self.stray_step(number, 0.3):
                pass
            self.broker.logs[name, number].mark(number, epoch)
        worker.take_over(number, epoch)

    def stray_step(self, number: int, likely: float) -> bool:
        """Something that the former owner sent arrives, or a zombie goes on; whether one did."""
        if not (self.stray or self.zombies) or self.random.random() > likely:
            return False
        if self.stray and self.random.random() < 0.5:
            self.deliver_stray()
            return True
        for zombie in self.zombies:
            if number in zombie.owned:
                self.let_go_on(zombie, zombie.owned[number])
                return True
        return False

    def deliver_stray(self) -> None:
        name, number, rows, epoch, sequence = self.stray.pop(self.random.randrange(len(self.stray)))
        log = self.broker.logs[name, number]
        known = log.producers.get(number, (epoch, -1))
        try:
            if known[0] > epoch or sequence <= known[1] + 1:
                log.append(rows, number, epoch, sequence)
        except FencedError:
            self.faults["stray batch fenced"] += 1

    # ---- steps ----

    def step(self) -> bool:
        """Makes one of the possible steps; whether there was any."""
        if self.crash_at is not None and self.steps == self.crash_at:
            self.crash(self.workers[0])
            return True
        if self.faults_left > 0 and self.random.random() < 0.04:
            self.faults_left -= 1
            self.fault()
            return True
        if self.stray and self.random.random() < 0.2:
            self.deliver_stray()
            return True
        if self.zombies and self.random.random() < 0.3:
            zombie = self.random.choice(self.zombies)
            for owned in list(zombie.owned.values()):
                self.let_go_on(zombie, owned)
            if not zombie.owned:
                self.zombies.remove(zombie)
            return True
        steps: list[tuple[Worker, Owned | None, str]] = [
            (worker, owned, what)
            for worker in self.workers
            for owned in worker.owned.values()
            for what in possible_steps(worker, owned)
        ]
        steps += [
            (worker, None, "customs")
            for worker in self.workers
            if worker.customs_read < self.history.customs_told
        ]
        if self.history.customs_told < len(self.history.customs):
            steps.append((self.workers[0], None, "told"))
        if not steps:
            return False
        worker, owned, what = self.random.choice(steps)
        if what == "told":
            self.history.customs_told += 1
        elif owned is None:
            worker.read_customs()
        else:
            self.make_step(worker, owned, what)
        return True

    def make_step(self, worker: Worker, owned: Owned, what: str) -> None:
        if what == "read":
            worker.read_events(owned)
        elif what == "commit":
            worker.begin_commit(owned)
        elif what == "take":
            worker.take_states(owned)
        elif what == "retire":
            worker.retire(owned)
        else:
            is_answered = not self.faults_left or self.random.random() > 0.1
            worker.deliver(owned, what, is_answered)
            if self.random.random() < 0.05:
                self.compact(owned.number)

    def let_go_on(self, zombie: Worker, owned: Owned) -> None:
        """A worker that was replaced makes a step; the logs must refuse what matters."""
        steps = possible_steps(zombie, owned)
        if not steps:
            zombie.lose(owned)
            return
        try:
            self.make_step(zombie, owned, self.random.choice(steps))
        except FencedError:
            self.faults["zombie fenced"] += 1
            zombie.lose(owned)

    # ---- faults ----

    def fault(self) -> None:
        worker = self.random.choice(self.workers)
        how = self.random.random()
        if self.random.random() < 0.1:
            self.damage(self.random.randrange(PARTITIONS))
        if how < 0.5:
            self.crash(worker)
        elif how < 0.8:
            self.pause(worker)
        else:
            self.hand_over(worker)

    def compact(self, number: int) -> None:
        """The broker compacts a changelog, of which everything can then be read."""
        self.broker.logs[STATES, number].compact()
        self.broker.damaged.pop(number, None)

    def damage(self, number: int) -> None:
        """The last record of a changelog can't be read any more."""
        self.faults["changelog damaged"] += 1
        self.broker.damaged[number] = self.broker.logs[STATES, number].end - 1

    def crash(self, worker: Worker) -> None:
        """The worker is gone; of what it had under way some may still arrive, now or later."""
        self.faults["crash"] += 1
        self.workers.remove(worker)
        for owned in worker.owned.values():
            for name, lane in owned.lanes.items():
                if owned.may_send(name) and self.random.random() < self.strays:
                    batch = lane.queue[0]
                    self.stray.append((name, owned.number, batch.rows, owned.epoch, lane.sequence))
        self.start_worker()
        for number in list(worker.owned):
            self.give(number, self.random.choice(self.workers))

    def pause(self, worker: Worker) -> None:
        """The group excludes a worker that does not know it yet."""
        self.faults["pause"] += 1
        self.workers.remove(worker)
        self.zombies.append(worker)
        self.start_worker()
        for number in list(worker.owned):
            self.give(number, self.random.choice(self.workers))

    def hand_over(self, worker: Worker) -> None:
        """A rebalance: a partition goes to another worker, and its former owner knows."""
        others = [other for other in self.workers if other is not worker]
        if not others or not worker.owned:
            return
        self.faults["hand-over"] += 1
        number = self.random.choice(sorted(worker.owned))
        worker.lose(worker.owned[number])
        self.give(number, self.random.choice(others))

    # ---- what has come of it ----

    def outcome(self) -> Outcome:
        """What the logs hold, and what their last owners know."""
        rows: dict[int, dict[str, list[Row]]] = {
            number: {
                name: [
                    (key, value, ms) for key, value, _, ms in self.broker.logs[name, number].records
                ]
                for name in EFFECTS
            }
            for number in range(PARTITIONS)
        }
        engines = {number: worker.engine for worker in self.workers for number in worker.owned}
        return Outcome.of(rows, engines)

    def evidence(self) -> Evidence:
        """The topics as the verifier wants them; volumes and stock as they would be published."""
        history, broker = self.history, self.broker
        records: dict[str, list[Record]] = {
            name: sorted(
                Record(part, offset, key, value, timestamp_ms)
                for part in range(PARTITIONS)
                for key, value, offset, timestamp_ms in broker.logs[name, part].records
            )
            for name in EFFECTS
        }
        records |= {name: [] for name in (*INPUT_TOPICS, "volumes", "stock")}
        for offset, (sent, _) in enumerate(history.customs):
            records[sent.topic].append(Record(0, offset, sent.key, sent.value, sent.timestamp_ms))
        for number, its_events in history.events.items():
            for _, (key, value, offset, timestamp_ms) in its_events:
                records["port-events"].append(Record(number, offset, key, value, timestamp_ms))
        for worker in self.workers:
            for number in worker.owned:
                cells = worker.engine.take_aggregates(number, 0)
                for name, output in (("volumes", cells.volumes), ("stock", cells.stock)):
                    records[name] += [
                        Record(0, number, key, value, 0) for key, value, _, _ in output
                    ]
        loaded = dict.fromkeys(((name, 0) for name in INPUT_TOPICS), history.customs_first)
        return Evidence(
            PARTITIONS, records, dict(broker.committed), loaded, sightings=broker.sightings
        )


def possible_steps(worker: Worker, owned: Owned) -> list[str]:
    """What a worker may do next for a partition."""
    steps = [name for name in owned.lanes if owned.may_send(name)]
    if owned.progress.next_offset < len(worker.history.events[owned.number]):
        steps.append("read")
    if owned.progress.may_forget and owned.retired_at < owned.commits:
        steps.append("retire")
    if owned.is_taking:
        steps.append("take")
    if owned.is_changed and not owned.is_committing:
        steps.append("commit")
    return steps


def check_name(decision: dict[str, Any]) -> str:
    return str(decision["decisionID"]).rsplit("/", 1)[0]


@dataclass
class Outcome:
    """What counts in the end."""

    decisions: dict[str, list[Any]]  # of each check, in the order of the log
    alerts: list[str]
    rejects: list[Any]
    volumes: list[Any]
    stock: list[Any]

    @classmethod
    def of(cls, rows: dict[int, dict[str, list[Row]]], engines: dict[int, Engine]) -> Outcome:
        decisions: dict[str, list[Any]] = {}
        alerts, rejects = [], []
        for number in range(PARTITIONS):
            its = rows.get(number, {})
            for _, value, _ in its.get(DECISIONS, ()):
                decision = json.loads(value or b"")
                del decision["decidedDateTime"], decision["trigger"]
                decisions.setdefault(check_name(decision), []).append(decision)
            alerts += [json.loads(value or b"")["alertID"] for _, value, _ in its.get(ALERTS, ())]
            for _, value, _ in its.get(REJECTS, ()):
                reject = json.loads(value or b"")
                rejects.append((str(reject["source"]), reject["reason"], str(reject["field"])))
        volumes = [
            (number, *row)
            for number, engine in engines.items()
            for row in engine.matcher.volumes(number)
        ]
        stock = [
            (number, *row[:3], *row[4:])
            for number, engine in engines.items()
            for row in engine.matcher.stock(number)
        ]
        return cls(decisions, sorted(alerts), sorted(rejects), sorted(volumes), sorted(stock))

    def differences(self, wanted: Outcome) -> Iterator[str]:
        for name in self.decisions.keys() | wanted.decisions.keys():
            found, right = self.decisions.get(name), wanted.decisions.get(name)
            if found != right:
                yield f"decisions of {name}: {found}, not {right}"
        for what in ("alerts", "rejects", "volumes", "stock"):
            found, right = getattr(self, what), getattr(wanted, what)
            if found != right:
                extra = collections.Counter(found) - collections.Counter(right)
                lost = collections.Counter(right) - collections.Counter(found)
                yield f"{what}: too many {list(extra.elements())}, missing {list(lost.elements())}"


def uninterrupted(history: History) -> Outcome:
    """What an engine says that nobody interrupts; all of customs' side is there from the start."""
    engine = Engine(POLICY, PARTITIONS)
    for sent, run in history.customs:
        engine.apply_customs(INPUT_TOPICS.index(sent.topic), 0, run, 0)
    engine.take_effects()
    rows: dict[int, dict[str, list[Row]]] = {}
    for number in range(PARTITIONS):
        run, now_us = history.run(number, 0, len(history.events[number]))
        engine.apply_events(number, run, now_us)
    rows = rows_of(engine.take_effects())
    return Outcome.of(rows, dict.fromkeys(range(PARTITIONS), engine))


def check(simulation: Simulation, wanted: Outcome | None) -> None:
    """Runs a simulation and compares what came of it, with ``wanted`` if all of customs' side was
    there first, else with what the verifier finds right. Raises SimulationError."""
    simulation.run()
    check_end(simulation, wanted)


def check_end(simulation: Simulation, wanted: Outcome | None) -> None:
    """Compares what came of a run that has ended. Raises SimulationError."""
    if wanted is not None:
        problems = list(simulation.outcome().differences(wanted))
    else:
        problems = [
            f"{name}: {what}"
            for name, what in verify(simulation.evidence()).problems
            if not what.startswith(tuple(f"('{topic}'" for topic in CUSTOMS))
        ]
    if problems:
        raise SimulationError("\n".join(problems))


class Tally(NamedTuple):
    """What a number of runs came to: how many, their faults and steps, and what went wrong."""

    runs: int
    faults: collections.Counter[str]
    steps: int
    wrong: list[str]


def play(name: str, simulations: Iterable[Simulation], wanted: Outcome | None) -> Tally:
    """Makes runs over one history."""
    runs = steps = 0
    faults: collections.Counter[str] = collections.Counter()
    wrong = []
    for simulation in simulations:
        try:
            check(simulation, wanted)
        except Exception as error:  # whatever it is, the seed reproduces it
            wrong.append(f"{name} {simulation}: {error!r}")
        runs += 1
        steps += simulation.steps
        faults += simulation.faults
    return Tally(runs, faults, steps, wrong)


def play_random(seed: str, number: int) -> Tally:
    """Runs with faults at random over one history: the ``number``-th of the seed."""
    is_late = number % LATE_EVERY == 0
    history = History(f"{seed}/{number}", 1 + number % 2, RECORDS, is_late)
    return play(
        f"--seed {seed} --history {number}",
        (Simulation(history, str(run), faults=1 + run % 4) for run in range(RUNS_PER_HISTORY)),
        None if is_late else uninterrupted(history),
    )


def play_every_step(seed: str, number: int) -> Tally:
    """A crash at each step of one small history, with all, none or some of what was under way
    arriving afterwards."""
    history = History(f"{seed}/{number}", 1, RECORDS // 2, False)
    whole = Simulation(history, "0")
    whole.run()
    return play(
        f"--seed {seed} --every-step --history {number}",
        (
            Simulation(history, "0", crash_at=step, strays=strays)
            for step in range(whole.steps + 1)
            for strays in (0.0, 0.5, 1.0)
        ),
        uninterrupted(history),
    )


def play_damaged(seed: str, number: int) -> Tally:
    """All is said, and what may be forgotten is; then a changelog can't be read and its owner
    crashes, crashes again after so many steps, and once more in the end."""
    history = History(f"{seed}/{number}", 1, RECORDS // 2, False)
    wanted = uninterrupted(history)
    runs = steps = 0
    faults: collections.Counter[str] = collections.Counter()
    wrong = []
    for after in range(0, 40, 2):
        one = Simulation(history, "0", strays=after / 40)
        one.run()
        for log in (one.broker.logs[STATES, part] for part in range(PARTITIONS)):
            assert any(key[:1] == b"V" for key, _, _, _ in log.records if key), "nothing forgotten"
        one.damage(number % PARTITIONS)
        one.crash(one.workers[0])
        one.crash_at = one.steps + after
        try:
            one.run_on()
            if after % 4:
                one.compact(number % PARTITIONS)
            one.crash(one.workers[0])
            check_end(one, wanted)
        except Exception as error:  # as above
            wrong.append(f"damaged: {seed} {number}, crash after {after}: {error!r}")
        runs, steps, faults = runs + 1, steps + one.steps, faults + one.faults
    return Tally(runs, faults, steps, wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", default=str(int.from_bytes(os.urandom(4), "big")))
    parser.add_argument("--every-step", action="store_true", help="crash once, at each step")
    parser.add_argument("--history", type=int, help="only this one of the seed's histories")
    arguments = parser.parse_args()
    print(f"--seed {arguments.seed}", flush=True)
    how = play_every_step if arguments.every_step else play_random
    numbers = itertools.count() if arguments.history is None else [arguments.history]
    started = time.monotonic()
    runs = steps = 0
    faults: collections.Counter[str] = collections.Counter()
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        while runs < arguments.runs:
            batch = list(itertools.islice(numbers, HISTORIES_AT_ONCE))
            if not batch:
                break
            for tally in pool.map(partial(how, arguments.seed), batch, chunksize=4):
                runs, steps, faults = runs + tally.runs, steps + tally.steps, faults + tally.faults
                if tally.wrong:
                    print("\n".join(tally.wrong))
                    return 1
    elapsed_s = time.monotonic() - started
    print(f"{runs:,} runs, {steps:,} steps, {elapsed_s:.1f} s, {runs / elapsed_s:,.0f} runs/s")
    for fault, count in faults.most_common():
        print(f"{fault:<20}{count:>10,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
