"""What is sent in simulated runs: events of each partition, and customs' records.

Made by ``play``, read by ``worker``, ``run`` and ``outcome``; many runs share one. It must never
know what a record leads to.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from random import Random

from core_ext.record_batch import RecordRun
from stream.engine import INPUT_TOPICS
from tests.faults.simulation.broker import PARTITIONS, Stored
from tests.faults.workload import TC, Sent, World, operators, partition_of
from tests.reference.generate import LOCATIONS, START
from tests.reference.records import MILLISECOND, write_date_time

# When the units came and went that can be forgotten.
VISIT_US = START - 1_000_000_000_000


class History:
    """What is sent: events of each partition, and customs' records, of which some come later.

    Args:
        seed: of everything in it.
        worlds: how many there are.
        records: at most so many of each world.
        visits: units of each partition that can be forgotten.
        late_customs: some of customs' records come while events are answered.
    """

    def __init__(
        self, seed: str, worlds: int, records: int, visits: int, *, late_customs: bool = False
    ) -> None:
        self.seed = seed
        self.customs: list[Sent] = []
        self.events: dict[int, list[Stored]] = {n: [] for n in range(PARTITIONS)}
        sent = operators(1)
        first = len(sent)
        for number in range(worlds):
            sent += itertools.islice(World(seed, number).records(PARTITIONS, 1), records)
        random, behind = Random(f"{seed}/visits"), len(sent)
        for number in range(PARTITIONS * visits):
            place = random.randint(behind - behind // 2, len(sent))
            sent[place:place] = visit(number)
        for one in sent:
            if one.topic == "port-events":
                its = self.events[one.partition]
                its.append((one.key, one.value, len(its), one.timestamp_ms))
            else:
                self.customs.append(one)
        #: How many of customs' records there are when a worker begins.
        self.customs_first = first if late_customs else len(self.customs)
        #: The latest timestamp among a partition's events below an offset.
        self._latest_ms = {
            number: [0, *itertools.accumulate((row[3] for row in its), max)]
            for number, its in self.events.items()
        }
        self._runs: dict[tuple[int, int, int], tuple[RecordRun, int]] = {}
        self._customs_runs: dict[tuple[int, int], list[tuple[int, RecordRun, int]]] = {}

    def run(self, number: int, begin: int, until: int) -> tuple[RecordRun, int]:
        """Events of a partition, and the time at which they are applied."""
        place = number, begin, until
        found = self._runs.get(place)
        if found is None:
            run = RecordRun.from_records(self.events[number][begin:until])
            found = self._runs[place] = run, self.now_us(number, until)
        return found

    def now_us(self, number: int, until: int) -> int:
        """A clock that no record is ahead of."""
        return self._latest_ms[number][until] * 1000

    def customs_runs(self, begin: int, until: int) -> list[tuple[int, RecordRun, int]]:
        """Customs' records as runs: topic, records, and the time at which they are applied."""
        place = begin, until
        found = self._customs_runs.get(place)
        if found is None:
            records = list(enumerate(self.customs))[begin:until]
            found = self._customs_runs[place] = []
            for topic, group in itertools.groupby(records, lambda record: record[1].topic):
                rows = [(one.key, one.value, at, one.timestamp_ms) for at, one in group]
                now_us = max(row[3] for row in rows) * 1000
                found.append((INPUT_TOPICS.index(topic), RecordRun.from_records(rows), now_us))
        return found


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
