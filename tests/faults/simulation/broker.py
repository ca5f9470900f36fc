"""The broker of a simulated run: logs with what they know of producers, and the group's offsets.

Used by ``worker`` and ``run``. It must never know what a record says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from core_ext.record_batch import RecordRun
from stream.partition import EFFECTS
from tests.faults.verifier import Sighting

PARTITIONS = 2
STATES = "unit-states"
LOGS = (*EFFECTS, STATES)

Row = tuple[bytes | None, bytes | None, int]  # key, value, timestamp_ms
Producers = dict[int, tuple[int, int]]
Stored = tuple[bytes | None, bytes | None, int, int]  # and the offset before the timestamp


class SimulationError(AssertionError):
    """A run went wrong."""


class FencedError(Exception):
    """A log refuses a batch of an older epoch."""


class Log:
    """One partition of a topic, with what it knows of producers: per id, epoch and sequence."""

    __slots__ = ("end", "producers", "records")

    def __init__(
        self, records: Iterable[Stored] = (), end: int = 0, producers: Producers | None = None
    ) -> None:
        self.records: list[Stored] = list(records)
        self.end = end
        #: Epoch and last sequence of each.
        self.producers: Producers = {} if producers is None else dict(producers)

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
        self.records += [
            (key, value, offset, timestamp_ms)
            for offset, (key, value, timestamp_ms) in enumerate(batch, self.end)
        ]
        self.end += len(batch)
        return self.end

    def mark(self, producer: int, epoch: int) -> None:
        """A transaction marker: takes an offset, and earlier epochs are refused from here on."""
        if epoch > self.producers.get(producer, (-1, -1))[0]:
            self.producers[producer] = epoch, -1
        self.end += 1

    def read(self, begin: int) -> RecordRun:
        """All records from an offset on."""
        return RecordRun.from_records([one for one in self.records if one[2] >= begin])

    def copy(self) -> Log:
        """The same log, to go on from here in another way."""
        return Log(self.records, self.end, self.producers)

    def compact(self) -> None:
        """Keeps the last record of each key, as a broker does in its own time."""
        last = {key: offset for key, _, offset, _ in self.records}
        self.records = [one for one in self.records if last[one[0]] == one[2]]


class Broker:
    """All logs, the epochs that were given out, and the group's offsets."""

    def __init__(self, logs: Mapping[tuple[str, int], Log]) -> None:
        self.logs = logs
        self.epochs = dict.fromkeys(range(PARTITIONS), -1)
        self.owners: dict[int, int] = {}
        self.committed = dict.fromkeys(range(PARTITIONS), 0)
        self.sightings: list[Sighting] = []
        #: Where a partition's changelog has a record that nobody can read, until it is compacted
        #: away.
        self.damaged: dict[int, int] = {}

    @staticmethod
    def empty() -> Broker:
        return Broker({(name, part): Log() for name in LOGS for part in range(PARTITIONS)})

    def copy(self) -> Broker:
        """The same broker, to go on from here in another way."""
        other = Broker({place: log.copy() for place, log in self.logs.items()})
        other.epochs, other.owners = self.epochs.copy(), self.owners.copy()
        other.committed, other.sightings = self.committed.copy(), self.sightings.copy()
        other.damaged = self.damaged.copy()
        return other

    def commit(self, partition: int, offset: int, worker: int) -> None:
        """Takes an offset from the partition's owner; that of anybody else is refused."""
        if self.owners.get(partition) == worker:
            self.committed[partition] = offset
            ends = {place: log.end for place, log in self.logs.items()}
            self.sightings.append(Sighting(dict(self.committed), ends))
