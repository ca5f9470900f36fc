"""What came of a simulated run, and what is right: that of an engine that nobody interrupts.

Called by ``play``. It must never know what happened on the way.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from stream.engine import Engine
from stream.partition import ALERTS, DECISIONS, REJECTS
from tests.faults.simulation.broker import PARTITIONS, Row
from tests.faults.simulation.history import History
from tests.faults.simulation.worker import POLICY, fields_of, rows_of


@lru_cache(maxsize=10_000)
def decision_of(value: bytes) -> tuple[str, dict[str, Any]]:
    """The check that a decision is on, and what it says but for when and upon what it was made."""
    decision = dict(fields_of(value))
    del decision["decidedDateTime"], decision["trigger"]
    return str(decision["decisionID"]).rsplit("/", 1)[0], decision


@dataclass
class Outcome:
    """What counts in the end."""

    decisions: dict[str, list[Any]]  # of each check, in the order of the log
    alerts: list[str]
    rejects: list[Any]
    volumes: list[Any]
    stock: list[Any]

    @classmethod
    def of(
        cls, rows: Iterable[Mapping[str, Iterable[Row]]], engines: Mapping[int, Engine]
    ) -> Outcome:
        """What the logs of partitions hold, and what their last owners know."""
        decisions: dict[str, list[Any]] = {}
        alerts, rejects = [], []
        for its in rows:
            for _, value, _ in its.get(DECISIONS, ()):
                check, decision = decision_of(value or b"")
                decisions.setdefault(check, []).append(decision)
            alerts += [fields_of(value or b"")["alertID"] for _, value, _ in its.get(ALERTS, ())]
            for _, value, _ in its.get(REJECTS, ()):
                reject = fields_of(value or b"")
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
    for topic, run, now_us in history.customs_runs(0, len(history.customs)):
        engine.apply_customs(topic, 0, run, now_us)
    engine.take_effects()
    for number in range(PARTITIONS):
        run, now_us = history.run(number, 0, len(history.events[number]))
        engine.apply_events(number, run, now_us)
    rows = rows_of(engine.take_effects())
    return Outcome.of(rows.values(), dict.fromkeys(range(PARTITIONS), engine))
