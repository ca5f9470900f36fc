"""Many simulated runs over histories, each compared with what is right.

Called by ``__main__`` and ``test_simulation``. It must never know how a run is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from stream.partition import UNCHANGED_COMMITS
from tests.faults.simulation.broker import PARTITIONS, STATES, SimulationError
from tests.faults.simulation.history import History
from tests.faults.simulation.outcome import Outcome, uninterrupted
from tests.faults.simulation.run import Simulation
from tests.faults.verifier import CUSTOMS, verify

# Of one history for faults at random: records of each of its worlds, and runs over it.
RECORDS, RUNS_PER_HISTORY = 20, 50
# Units of each partition that can be forgotten.
VISITS = 3
# Every such history has customs' records that come while events are answered; these runs are
# compared by the verifier, which takes ten times as long.
LATE_EVERY = 10
# Records of a history that is crashed at each step.
RECORDS_SMALL = 6
# How much of what is under way at a crash still arrives, by the number of batches under way.
SOME_ARRIVE = ((0.0,), (0.0, 1.0), (0.0, 0.5, 1.0))


def check(simulation: Simulation, wanted: Outcome | None) -> None:
    """Compares what came of a run that has ended, with ``wanted`` if all of customs' side was there
    first, else with what the verifier finds right. Raises SimulationError."""
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


@dataclass
class Tally:
    """What a number of runs came to: how many, their faults and steps, and what went wrong."""

    name: str
    runs: int = 0
    steps: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @contextmanager
    def judged(self, simulation: Simulation) -> Iterator[None]:
        """Within it a run is made and checked; whatever goes wrong is kept, with its name."""
        try:
            yield
        except Exception as error:  # whatever it is, the seed reproduces it
            self.wrong.append(f"{self.name} {simulation}: {error!r}")
        self.runs += 1
        self.steps += simulation.steps
        self.faults.update(simulation.faults)


def right_outcome(history: History, tally: Tally) -> Outcome:
    """What an engine says that nobody interrupts, looked at by the verifier, so that it is what the
    reference model says."""
    wanted = uninterrupted(history)
    whole = Simulation(history, "whole")
    with tally.judged(whole):
        whole.run()
        check(whole, wanted)
        check(whole, None)
    return wanted


def play_random(seed: str, number: int) -> Tally:
    """Runs with faults at random over one history: the ``number``-th of the seed."""
    is_late = number % LATE_EVERY == 0
    history = History(f"{seed}/{number}", 1 + number % 2, RECORDS, VISITS, late_customs=is_late)
    tally = Tally(f"--seed {seed} --how random --history {number}")
    wanted = None if is_late else right_outcome(history, tally)
    for run in range(RUNS_PER_HISTORY):
        simulation = Simulation(history, str(run), faults=1 + run % 4)
        with tally.judged(simulation):
            simulation.run()
            check(simulation, wanted)
    return tally


def play_every_step(seed: str, number: int, crashes: int = 2) -> Tally:
    """A crash at each step of one small history, and so many in a row at each step of what follows,
    with all, none or some of what was under way arriving afterwards.

    Of an engine nothing outlives its crash, so runs share what was before: each is made from its
    last crash on."""
    history = History(f"{seed}/{number}", 1, RECORDS_SMALL, 1)
    tally = Tally(f"--seed {seed} --how every-step --history {number}")
    explore(Simulation(history, "0"), right_outcome(history, tally), crashes, tally)
    return tally


def explore(simulation: Simulation, wanted: Outcome, crashes: int, tally: Tally) -> None:
    """Makes a run, and from each of its steps the runs that go on with a crash there."""
    with tally.judged(simulation):
        simulation.start()
        is_on = True
        while is_on:
            if crashes:
                for strays in SOME_ARRIVE[min(simulation.under_way, 2)]:
                    explore(simulation.crashed(strays), wanted, crashes - 1, tally)
            is_on = simulation.step()
        check(simulation, wanted)


def play_damaged(seed: str, number: int) -> Tally:
    """All is said, and what may be forgotten is; then a changelog can't be read and its owner
    crashes, crashes again after so many steps, and once more in the end."""
    history = History(f"{seed}/{number}", 1, RECORDS // 2, VISITS)
    tally = Tally(f"damaged: {seed} {number}")
    wanted = right_outcome(history, tally)
    for after in range(0, 40, 2):
        one = Simulation(history, f"0, crash after {after}")
        with tally.judged(one):
            one.run()
            for _ in range(UNCHANGED_COMMITS + 1):
                one.commit_again()
            for log in (one.broker.logs[STATES, part] for part in range(PARTITIONS)):
                assert any(key[:1] == b"V" for key, _, _, _ in log.records if key), "none forgotten"
            one.damage(number % PARTITIONS)
            one.crash(one.workers[0])
            for _ in range(after):
                one.step()
            one.crash(one.workers[0])
            one.run_on()
            if after % 4:
                one.compact(number % PARTITIONS)
            one.crash(one.workers[0])
            check(one, wanted)
    return tally
