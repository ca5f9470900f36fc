"""Puts built record batches into Kafka: as fast as it takes them, or each at its moment.

What it is: a producer of whole batches over a plain socket, with many requests under way.
Who calls it: the harness, for loading and for the open loop.
What it must never know: what a record means, who reads it.

A client library would cost more than the engine that is measured, on the same cores; it would
also wait for the broker before it sends on, and what a stall does to later events would not be
seen. Here nothing is done per event: batches are built by the core before the clock
starts, and a request is a header in front of them.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy

from benchmarks.pipeline.workload import Bytes, Events, Workload, offsets_of
from core_ext.record_batch import encode_columns

Batch = tuple[int, bytes]
"""Partition, and the record batch."""

PRODUCE, PRODUCE_VERSION = 0, 7
CLIENT_ID = b"pipeline-load"
ACKS = 1
TIMEOUT_MS = 30_000
# Below 2 the broker waits for us, above a few dozen requests only wait in its socket.
IN_FLIGHT_MAX = 32
BATCH_BYTES_MAX = 8 << 20
SOCKET_BYTES = 4 << 20
# Events that become due together: Kafka's own producers send this often since 4.0 (linger.ms,
# KIP-1030). Below 1 ms requests alone would fill a core; above 5 waiting for the tick's end would
# be most of a latency.
TICK_S = 0.005
BLOCK_EVENTS = 1 << 16


class LoadError(RuntimeError):
    """The broker refused or dropped what was sent."""


class Producer:
    """One connection to the one broker; it leads every partition.

    Args:
        broker: ``host:port``.
    """

    def __init__(self, broker: str) -> None:
        host, _, port = broker.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_MS / 1000)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        self._sent = 0
        self._answered = 0
        self._failure: Exception | None = None
        self._moved = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="acknowledgements", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, topic: str, batches: Sequence[Batch], *, in_flight_max: int = 0) -> None:
        """Sends batches of different partitions in one request.

        Waits while ``in_flight_max`` requests are not acknowledged; 0: never.
        """
        parts = [
            struct.pack(">h", -1),  # no transaction
            struct.pack(">hi", ACKS, TIMEOUT_MS),
            struct.pack(">ih", 1, len(topic)),
            topic.encode(),
            struct.pack(">i", len(batches)),
        ]
        for partition, batch in batches:
            parts += [struct.pack(">ii", partition, len(batch)), batch]
        header = struct.pack(">hhih", PRODUCE, PRODUCE_VERSION, self._sent, len(CLIENT_ID))
        size = len(header) + len(CLIENT_ID) + sum(map(len, parts))
        with self._moved:
            while in_flight_max and self._sent - self._answered >= in_flight_max:
                self._raise_failure()
                self._moved.wait(TIMEOUT_MS / 1000)
            self._raise_failure()
            self._sent += 1
        self._socket.sendall(b"".join((struct.pack(">i", size), header, CLIENT_ID, *parts)))

    def flush(self) -> None:
        """Waits until everything is acknowledged."""
        with self._moved:
            while self._answered < self._sent:
                self._raise_failure()
                self._moved.wait(TIMEOUT_MS / 1000)
            self._raise_failure()

    def close(self) -> None:
        """Closes the connection, whatever is under way."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._reader.join()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise LoadError(f"sending to the broker failed: {self._failure}") from self._failure

    def _read(self) -> None:
        try:
            with self._socket.makefile("rb") as answers:
                while head := answers.read(4):
                    self._check(answers.read(int.from_bytes(head, "big")))
                    with self._moved:
                        self._answered += 1
                        self._moved.notify_all()
        except (OSError, ValueError, struct.error) as error:
            with self._moved:
                self._failure = self._failure or error
                self._moved.notify_all()

    def _check(self, answer: bytes) -> None:
        """Raises ValueError if a partition of a produce response (version 7) has an error."""
        at = 8  # correlation id, number of topics (one)
        at += 2 + int.from_bytes(answer[at : at + 2], "big")
        (count,) = struct.unpack_from(">i", answer, at)
        at += 4
        for _ in range(count):
            partition, code = struct.unpack_from(">ih", answer, at)
            if code:
                raise ValueError(f"partition {partition}: Kafka's error {code}")
            at += 4 + 2 + 8 + 8 + 8


def batches_of(
    keys: Bytes, values: Bytes, timestamps_ms: numpy.ndarray, batch_records_max: int
) -> list[bytes]:
    """Rows of keys and values as record batches of at most so many records."""
    return encode_columns(
        values.reshape(-1).data,
        offsets_of(values),
        keys.reshape(-1).data,
        offsets_of(keys),
        timestamps_ms,
        max_batch_bytes=BATCH_BYTES_MAX,
        max_batch_records=batch_records_max,
    )


def event_batches(
    events: Events, partition_count: int, batch_records_max: int
) -> dict[int, list[bytes]]:
    """The batches of each partition, in the order of the events."""
    partition = events.partitions(partition_count)
    found = {}
    for number in range(partition_count):
        rows = numpy.flatnonzero(partition == number)
        if len(rows):
            found[number] = batches_of(
                events.keys[rows],
                events.values[rows],
                events.timestamps_ms[rows],
                batch_records_max,
            )
    return found


def send_all(producer: Producer, topic: str, batches: dict[int, list[bytes]]) -> None:
    """Sends batches of several partitions side by side, each partition's in their order."""
    for at in range(max(map(len, batches.values()), default=0)):
        together = [(number, row[at]) for number, row in batches.items() if at < len(row)]
        producer.send(topic, together, in_flight_max=IN_FLIGHT_MAX)


class OpenLoop:
    """A load of its own accord: events are sent when they are due, answered or not.

    ``rate`` events a second, those of each ``tick_s`` together, a batch a partition, as producers
    with that linger send them. Event i of the load is due at ``due_s[i]`` seconds after its start.

    Everything is built here, before the clock starts.
    """

    def __init__(
        self,
        workload: Workload,
        start: int,
        rate: float,
        seconds: float,
        partition_count: int,
        tick_s: float = TICK_S,
    ) -> None:
        tick_count = max(1, round(seconds / tick_s))
        ends = numpy.rint(numpy.arange(1, tick_count + 1) * tick_s * rate).astype(numpy.int64)
        self.start = start
        self.count = int(ends[-1])
        self.tick_s = tick_s
        self.due_s = numpy.searchsorted(ends, numpy.arange(self.count), side="right") * tick_s
        self.late_s_max = 0.0
        self._ticks: list[list[Batch]] = []
        per_block = max(1, BLOCK_EVENTS // max(1, int(rate * tick_s)))
        for first in range(0, tick_count, per_block):
            bounds = [int(ends[first - 1]) if first else 0, *ends[first : first + per_block]]
            self._build(workload.events(start + bounds[0], start + int(bounds[-1])), bounds,
                        partition_count)  # fmt: skip

    def _build(self, events: Events, bounds: list[int], partition_count: int) -> None:
        partition = events.partitions(partition_count)
        at = numpy.asarray(bounds) - bounds[0]
        tick = numpy.searchsorted(at[1:], numpy.arange(len(partition)), side="right")
        lane = tick * partition_count + partition
        order = numpy.argsort(lane, kind="stable")
        keys, values = events.keys[order], events.values[order]
        timestamps_ms = events.timestamps_ms[order]
        edges = numpy.searchsorted(
            lane[order], numpy.arange((len(bounds) - 1) * partition_count + 1)
        ).tolist()
        for number in range(len(bounds) - 1):
            batches: list[Batch] = []
            for target in range(partition_count):
                low, high = edges[number * partition_count + target :][:2]
                if low < high:
                    (batch,) = batches_of(
                        keys[low:high], values[low:high], timestamps_ms[low:high], high - low
                    )
                    batches.append((target, batch))
            self._ticks.append(batches)

    def play(self, producer: Producer, topic: str, start_s: float) -> None:
        """Sends every tick's batches at its moment after ``start_s`` (time.time())."""
        for tick, batches in enumerate(self._ticks):
            wait_s = start_s + tick * self.tick_s - time.time()
            if wait_s > 0:
                time.sleep(wait_s)
            else:
                self.late_s_max = max(self.late_s_max, -wait_s)
            if batches:
                producer.send(topic, batches)
