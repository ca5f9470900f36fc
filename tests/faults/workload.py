"""The records that are sent while things break: many small worlds, one after the other, by a seed.

Called by the fault harness, the simulation and their tests. A world is a container or two and a
lot or two with declarations and holds of their own, written by the writer of the engine's property
tests (``tests.reference.generate``), so every rule, alert and reject is reached, and events are
repeated, corrected, retracted and contradicted all the time. Operators stay as they are from the
first record on: whether an event is accepted then depends on its partition alone, which is what
lets a verifier know it from the topics. It must never know what a record leads to.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from aiokafka.partitioner import murmur2

from tests.reference.generate import LOCATIONS, START, Writer
from tests.reference.log import read_line
from tests.reference.records import MILLISECOND, normalised, write_date_time

TC, AIRPORT, SUSPENDED, UNCONNECTED = "TC", "CM/1", 'NB,"2"', "ÔNG%"
"""The writer's operators; of UNCONNECTED every event is refused."""

RECORDS_PER_WORLD = 40
RENAMED_PERCENT = 20
MISPARTITIONED_PERCENT = 1


class Sent(NamedTuple):
    """A record to send: plain name of its topic, partition, and what is in it."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a key."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def operators(customs_partitions: int) -> list[Sent]:
    """The operators: two that may report, of which one has fewer places, one suspended, one that
    is not connected yet, and a record that is no operator."""
    rows = (
        (TC, "SEAPORT", "CONNECTED", LOCATIONS),
        (AIRPORT, "AIRPORT", "CONNECTED", LOCATIONS[:3]),
        (SUSPENDED, "WAREHOUSE", "SUSPENDED", LOCATIONS),
        (UNCONNECTED, "YARD", "TESTING", LOCATIONS),
    )
    values = [
        {
            "operatorID": name,
            "name": "Cảng " + name,
            "kind": kind,
            "departmentCode": "02",
            "departmentName": "Cục Hải quan",
            "locations": list(locations),
            "status": status,
            "connectedDate": "2018-01-31",
            "version": 1,
        }
        for name, kind, status, locations in rows
    ]
    values.append({"operatorID": "NOBODY"})
    return [
        Sent(
            "operators",
            partition_of(str(value["operatorID"]).encode(), customs_partitions),
            str(value["operatorID"]).encode(),
            json.dumps(value, ensure_ascii=False).encode(),
            START // MILLISECOND,
        )
        for value in values
    ]


class World(Writer):
    """The units, declarations and holds of one small world, all with names of its own."""

    def __init__(self, seed: str, number: int) -> None:
        super().__init__(Random(f"{seed}/{number}"))
        containers, lots = len(self.containers), len(self.lots)
        self.containers = [container_number(number * 2 + index) for index in range(containers)]
        if self.chance(RENAMED_PERCENT) and self.containers:
            self.containers[0] = f"AB/C%{number}"  # no check digit, and letters that IDs escape
        self.lots = [f"LOT{number:07}{index}" for index in range(lots)]
        self.locations = self.some(LOCATIONS, 2, 3)
        self.operators = [TC, *self.some((TC, AIRPORT, SUSPENDED), 0, 2)]
        self.declarations = [f"{index + 1}{number:011}" for index in range(2)]
        self.holds = [f"H{number}", f"H/{number}"]

    def records(self, partitions: int, customs_partitions: int) -> Iterator[Sent]:
        for line in self.history(RECORDS_PER_WORLD):
            if not line.strip():
                continue
            read = read_line(0, line.encode())
            if read.topic == "operators" or read.key is read.value is None:
                continue  # operators stay; aiokafka's producer sends no record without anything
            key = None if read.key is None else read.key.encode()
            if read.topic == "port-events":
                number = self.partition(key, read.value, partitions)
            elif key is None:
                continue  # a compacted topic takes no record without a key
            else:
                number = partition_of(key, customs_partitions)
            yield Sent(read.topic, number, key, read.value, read.timestamp_ms)

    def partition(self, key: bytes | None, value: bytes | None, partitions: int) -> int:
        """That of the unit, as its sender would find it; sometimes a wrong one."""
        if self.chance(MISPARTITIONED_PERCENT):
            return self.random.randrange(partitions)
        try:
            name = json.loads(value or b"")["unit"]
            return partition_of(normalised(name).encode(), partitions)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return partition_of(key or b"", partitions)


def container_number(number: int) -> str:
    """The container number of ISO 6346 with this serial number, owner TGJU."""
    text = f"TGJU{number % 1_000_000:06}"
    letters = [value for value in range(10, 39) if value % 11]
    values = [letters[ord(one) - ord("A")] if one.isalpha() else int(one) for one in text]
    return f"{text}{sum(value << place for place, value in enumerate(values)) % 11 % 10}"


class Workload:
    """The records of worlds that live side by side, in an order that a seed decides.

    Args:
        seed: of everything in it.
        partitions: of port-events.
        customs_partitions: of operators, declarations and holds.
        side_by_side: how many worlds are under way at a time.
    """

    def __init__(
        self, seed: str, partitions: int, customs_partitions: int, side_by_side: int = 20
    ) -> None:
        self.seed = seed
        self.partitions = partitions
        self.customs_partitions = customs_partitions
        self.side_by_side = side_by_side
        self.units: dict[str, tuple[str, str]] = {}  # name to unit type and a place
        self.worlds = 0

    def records(self) -> Iterator[Sent]:
        """Without end; take as many as are wanted."""
        random = Random(f"{self.seed}/order")
        under_way: list[Iterator[Sent]] = []
        while True:
            while len(under_way) < self.side_by_side:
                world = World(self.seed, self.worlds)
                self.worlds += 1
                self.units |= dict.fromkeys(world.containers, ("CONTAINER", world.locations[0]))
                self.units |= dict.fromkeys(world.lots, ("PACKAGES", world.locations[0]))
                under_way.append(world.records(self.partitions, self.customs_partitions))
            chosen = random.randrange(len(under_way))
            for _ in range(random.randint(1, 5)):
                record = next(under_way[chosen], None)
                if record is None:
                    under_way.pop(chosen)
                    break
                yield record

    def roll_call(self, now_us: int) -> Iterator[Sent]:
        """Of every unit a count and a check: what is answered shows what the state holds."""
        for name, (unit_type, location) in self.units.items():
            for event_type in ("STOCK_COUNT", "GATE_CHECK"):
                event = {
                    "eventID": f"ROLL-{event_type}",
                    "eventType": event_type,
                    "eventDateTime": write_date_time(now_us),
                    "operatorID": TC,
                    "locationCode": location,
                    "unitType": unit_type,
                    "unit": name,
                    "direction": "IMPORT",
                    "pieces": 1,
                }
                yield Sent(
                    "port-events",
                    partition_of(name.encode(), self.partitions),
                    name.encode(),
                    json.dumps(event).encode(),
                    now_us // MILLISECOND,
                )
