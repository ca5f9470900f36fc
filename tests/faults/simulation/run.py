"""One simulated run: the scheduler, which decides from a seed what happens next, and the faults.

Made by ``play``. It must never know what is right in the end.
"""

from __future__ import annotations

import collections

from stream.engine import INPUT_TOPICS
from stream.partition import EFFECTS
from tests.faults.simulation.broker import (
    LOGS,
    PARTITIONS,
    STATES,
    Broker,
    FencedError,
    Row,
    SimulationError,
)
from tests.faults.simulation.dice import Dice
from tests.faults.simulation.history import History
from tests.faults.simulation.outcome import Outcome
from tests.faults.simulation.worker import Owned, Worker
from tests.faults.verifier import Evidence, Record

# A run that is not through by then never will be.
STEPS_MAX = 20_000


class Simulation:
    """One run over a history.

    Args:
        history: what is sent.
        seed: of the scheduler.
        faults: how many crashes, pauses and hand-overs there are at most.
        broker: as an earlier run has left it; else an empty one.
    """

    def __init__(
        self, history: History, seed: str, *, faults: int = 0, broker: Broker | None = None
    ) -> None:
        self.history = history
        self.seed, self.faults_given = seed, faults
        self.dice = Dice(f"{history.seed}/{seed}")
        self.faults_left = faults
        self.broker = Broker.empty() if broker is None else broker
        self.workers: list[Worker] = []
        #: Workers that were replaced without knowing it.
        self.zombies: list[Worker] = []
        #: Batches under way of workers that are dead: they may still arrive.
        self.stray: list[tuple[str, int, list[Row], int, int]] = []
        self.steps = 0
        self.worker_count = 0
        self.faults: collections.Counter[str] = collections.Counter()
        #: How many of customs' records there are; it grows.
        self.customs_told = history.customs_first

    def __str__(self) -> str:
        return f"run {self.seed}, {self.faults_given} faults"

    def run(self) -> None:
        """Runs to the end; raises SimulationError."""
        self.start()
        self.run_on()

    def run_on(self) -> None:
        """Makes steps until there are no more."""
        while self.step():
            pass

    def start(self) -> None:
        """Brings the first workers up: two if one may take over from the other."""
        for _ in range(2 if self.faults_left else 1):
            self.start_worker()
        for number in range(PARTITIONS):
            self.give(number, self.dice.one_of(self.workers))

    def commit_again(self) -> None:
        """Brings one commit more of each partition, and whatever it leads to."""
        for worker in self.workers:
            for owned in worker.owned.values():
                owned.is_changed = True
                owned.stepped()
        self.run_on()

    def crashed(self, strays: float) -> Simulation:
        """A run, to be started, that goes on from here with the crash of the one worker, while this
        one goes on without: what outlives a worker are the logs, and what was under way."""
        (worker,) = self.workers
        seed = f"{self.seed}, crash at {self.steps} ({strays})"
        other = Simulation(self.history, seed, broker=self.broker.copy())
        other.stray = self.stray.copy()
        other.worker_count, other.customs_told = self.worker_count, self.customs_told
        other.strays_of(worker, strays)
        other.faults["crash"] = self.faults["crash"] + 1
        return other

    @property
    def under_way(self) -> int:
        """How many batches of the workers are under way."""
        return sum(
            len(owned.sendable()) for worker in self.workers for owned in worker.owned.values()
        )

    def start_worker(self) -> Worker:
        self.worker_count += 1
        worker = Worker(self.worker_count, self.history, self.customs_told, self.broker, self.dice)
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
        if not (self.stray or self.zombies) or self.dice.draw() > likely:
            return False
        if self.stray and self.dice.draw() < 0.5:
            self.deliver_stray()
            return True
        for zombie in self.zombies:
            if number in zombie.owned:
                self.let_go_on(zombie, zombie.owned[number])
                return True
        return False

    def deliver_stray(self) -> None:
        name, number, rows, epoch, sequence = self.stray.pop(self.dice.below(len(self.stray)))
        log = self.broker.logs[name, number]
        known = log.producers.get(number, (epoch, -1))
        try:
            if known[0] > epoch or sequence <= known[1] + 1:
                log.append(rows, number, epoch, sequence)
        except FencedError:
            self.faults["stray batch fenced"] += 1

    # ---- steps ----

    def step(self) -> bool:
        """Makes one of the possible steps; whether there was any. Raises SimulationError."""
        self.steps += 1
        if self.steps > STEPS_MAX:
            raise SimulationError("it never ends")
        if self.faults_left > 0 and self.dice.draw() < 0.04:
            self.faults_left -= 1
            self.fault()
            return True
        if self.stray and self.dice.draw() < 0.2:
            self.deliver_stray()
            return True
        if self.zombies and self.dice.draw() < 0.3:
            zombie = self.dice.one_of(self.zombies)
            for owned in list(zombie.owned.values()):
                self.let_go_on(zombie, owned)
            if not zombie.owned:
                self.zombies.remove(zombie)
            return True
        return self.any_step()

    def any_step(self) -> bool:
        """Makes a step that some worker may make next; whether there was any."""
        customs = self.customs_told
        may_step = [
            (worker, owned, steps)
            for worker in self.workers
            for owned in worker.owned.values()
            if (steps := owned.steps())
        ]
        may_read = [worker for worker in self.workers if worker.customs_read < customs]
        is_more = customs < len(self.history.customs)
        choices = sum(len(steps) for _, _, steps in may_step) + len(may_read) + is_more
        if not choices:
            return False
        chosen = self.dice.below(choices)
        for worker, owned, steps in may_step:
            if chosen < len(steps):
                self.make_step(worker, owned, steps[chosen])
                return True
            chosen -= len(steps)
        if chosen < len(may_read):
            may_read[chosen].read_customs()
        else:
            self.customs_told += 1
        return True

    def make_step(self, worker: Worker, owned: Owned, what: str) -> None:
        owned.stepped()
        if what == "read":
            worker.read_events(owned)
        elif what == "commit":
            worker.begin_commit(owned)
        elif what == "take":
            worker.take_states(owned)
        elif what == "retire":
            worker.retire(owned)
        else:
            is_answered = not self.faults_left or self.dice.draw() > 0.1
            worker.deliver(owned, what, is_answered)
            if self.dice.draw() < 0.05:
                self.compact(owned.number)

    def let_go_on(self, zombie: Worker, owned: Owned) -> None:
        """A worker that was replaced makes a step; the logs must refuse what matters."""
        steps = owned.steps()
        if not steps:
            zombie.lose(owned)
            return
        try:
            self.make_step(zombie, owned, self.dice.one_of(steps))
        except FencedError:
            self.faults["zombie fenced"] += 1
            zombie.lose(owned)

    # ---- faults ----

    def fault(self) -> None:
        worker = self.dice.one_of(self.workers)
        how = self.dice.draw()
        if self.dice.draw() < 0.1:
            self.damage(self.dice.below(PARTITIONS))
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
        """The worker is gone; of what it had under way some may still arrive."""
        self.faults["crash"] += 1
        self.strays_of(worker, 0.5)
        self.replace(worker)

    def strays_of(self, worker: Worker, likely: float) -> None:
        """Of each batch that a worker had under way it is as likely that it may still arrive, now
        or later."""
        for owned in worker.owned.values():
            for name in owned.sendable():
                if self.dice.draw() < likely:
                    lane = owned.lanes[name]
                    rows = lane.queue[0].rows
                    self.stray.append((name, owned.number, rows, owned.epoch, lane.sequence))

    def pause(self, worker: Worker) -> None:
        """The group excludes a worker that does not know it yet."""
        self.faults["pause"] += 1
        self.zombies.append(worker)
        self.replace(worker)

    def replace(self, worker: Worker) -> None:
        """Another worker comes, and it and others get the partitions of this one."""
        self.workers.remove(worker)
        self.start_worker()
        for number in list(worker.owned):
            self.give(number, self.dice.one_of(self.workers))

    def hand_over(self, worker: Worker) -> None:
        """A rebalance: a partition goes to another worker, and its former owner knows."""
        others = [other for other in self.workers if other is not worker]
        if not others or not worker.owned:
            return
        self.faults["hand-over"] += 1
        number = self.dice.one_of(sorted(worker.owned))
        worker.lose(worker.owned[number])
        self.give(number, self.dice.one_of(others))

    # ---- what has come of it ----

    def outcome(self) -> Outcome:
        """What the logs hold, and what their last owners know."""
        rows = [
            {
                name: [
                    (key, value, ms) for key, value, _, ms in self.broker.logs[name, number].records
                ]
                for name in EFFECTS
            }
            for number in range(PARTITIONS)
        ]
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
        for offset, sent in enumerate(history.customs):
            records[sent.topic].append(Record(0, offset, sent.key, sent.value, sent.timestamp_ms))
        for number, its_events in history.events.items():
            for key, value, offset, timestamp_ms in its_events:
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
