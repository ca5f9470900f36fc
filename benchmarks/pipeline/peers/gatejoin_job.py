"""gatejoin on the job: its transport in a Faust agent, its core in between, as users write it.

What it is: one of the programs that the harness compares; it shows that the parts are of use beyond
gatejoin's own worker. A fetched run of records goes whole through scanner, unit index and record
batch codec; between them stand a few lines of numpy. No Python object is made for an event.
Who calls it: the harness, as a process.
What it must never know: the rules of the gate.
"""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import faust
import msgspec
import numpy
from faust.types import EventT
from faust.worker import Worker
from numpy.typing import NDArray

from core_ext.event_scanner import Scanner
from core_ext.record_batch import RecordRun, encode_columns
from core_ext.unit_index import UnitIndex
from stream.connection import client_options
from stream.emission import Emission
from stream.settings import Settings
from stream.transport import PartitionRun, RunSchema
from stream.transport.fetcher import FETCH_BYTES_MAX

BROKER = os.environ.get("PIPELINE_BROKER", "")
DECISIONS = os.environ.get("PIPELINE_DECISIONS", "")
# Of a partition: what may wait, and decisions on their way, one with the broker and one behind.
WAITING_BYTES_MAX = 4 << 20
UNDER_WAY_MAX = 2
CHUNK_BYTES = 10_000_000
BATCH_BYTES_MAX = 1 << 20

HEAD = (
    b'{"eventID":"E00000000000","operatorID":"VN-OPERATOR-0000","locationCode":"00CCS01",'
    b'"unit":"AAAU0000000",'
)
RELEASED, UNDECLARED, WRONG_PLACE, NOT_CLEARED = range(4)
VERDICTS = (
    b'"outcome":"RELEASE","reason":"CLEARED"}',
    b'"outcome":"HOLD","reason":"UNDECLARED"}',
    b'"outcome":"HOLD","reason":"WRONG_PORT"}',
    b'"outcome":"HOLD","reason":"REGISTERED"}',
)
# Where each field stands in a decision: column of the scanner, place, bytes.
FIELDS = (
    ("eventID", HEAD.index(b"E0000"), 12),
    ("operatorID", HEAD.index(b"VN-"), 16),
    ("locationCode", HEAD.index(b"00CCS"), 7),
    ("unit", HEAD.index(b"AAAU"), 11),
)
DECISION_BYTES = len(HEAD + VERDICTS[0])
TEMPLATES = numpy.frombuffer(b"".join(HEAD + verdict for verdict in VERDICTS), numpy.uint8).reshape(
    len(VERDICTS), -1
)


class Declared(msgspec.Struct, gc=False):
    """A line of the table."""

    unit: str
    status: str
    locationCode: str  # noqa: N815, as the file has it


class Table:
    """The declared containers: a unit's row, and by row its place and whether it is cleared."""

    def __init__(self, path: Path) -> None:
        self.index = UnitIndex(path.stat().st_size // 100)
        places: list[NDArray[numpy.uint64]] = []
        cleared: list[NDArray[numpy.bool_]] = []
        decoder = msgspec.json.Decoder(Declared)
        with path.open("rb") as lines:
            while chunk := lines.read(CHUNK_BYTES) + lines.readline():
                rows = decoder.decode_lines(chunk)
                self.index.insert(numpy.array([row.unit for row in rows], "S"))
                places.append(words(numpy.array([row.locationCode for row in rows], "S")))
                cleared.append(numpy.array([row.status == "CLEARED" for row in rows]))
        self.place = numpy.concatenate(places)
        self.is_cleared = numpy.concatenate(cleared)


def words(codes: NDArray[numpy.bytes_]) -> NDArray[numpy.uint64]:
    """Codes of at most eight bytes as one number each."""
    return codes.astype("S8").view(numpy.uint64)


class Job:
    """Decides whole runs; for one thread at a time. Its arrays grow to the largest run and stay,
    since memory that was written before is twice as fast as new memory."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._scanner = Scanner()
        self._columns: dict[str, NDArray[Any]] | None = None
        self._columns_room = 0
        self._decisions = numpy.empty((0, DECISION_BYTES), numpy.uint8)
        self._units = numpy.empty(0, "S11")

    def decide(self, runs: list[RecordRun]) -> list[tuple[bytes, int]]:
        """The decisions on runs of a partition as built record batches, with their counts."""
        count = sum(map(len, runs))
        if len(self._units) < count:
            self._decisions = numpy.empty((count, DECISION_BYTES), numpy.uint8)
            self._units = numpy.empty(count, "S11")
        decisions, units = self._decisions[:count], self._units[:count]
        at = 0
        for run in runs:
            self._decide_run(run, decisions[at : at + len(run)], units[at : at + len(run)])
            at += len(run)
        batches = encode_columns(
            decisions.reshape(-1),
            numpy.arange(count + 1, dtype=numpy.int64) * DECISION_BYTES,
            units.view(numpy.uint8),
            numpy.arange(count + 1, dtype=numpy.int64) * units.itemsize,
            numpy.zeros(count, numpy.int64),  # the broker writes its own time over it
            max_batch_bytes=BATCH_BYTES_MAX,
        )
        return [(batch, int.from_bytes(batch[57:61], "big")) for batch in batches]

    def _decide_run(
        self, run: RecordRun, decisions: NDArray[numpy.uint8], units: NDArray[numpy.bytes_]
    ) -> None:
        """Writes the decisions on one run, and their keys."""
        has_room = len(run) <= self._columns_room
        events = self._scanner.scan_port_events(
            run, index=self._table.index, out=self._columns if has_room else None
        )
        if not has_room:
            self._columns, self._columns_room = events, len(run)
        assert not events["reason"].any(), "the job's events are all well-formed"
        rows = events["row"]
        verdicts = numpy.full(len(run), RELEASED, numpy.uint8)
        verdicts[~self._table.is_cleared[rows]] = NOT_CLEARED
        verdicts[self._table.place[rows] != words(events["locationCode"])] = WRONG_PLACE
        verdicts[rows < 0] = UNDECLARED
        numpy.take(TEMPLATES, verdicts, axis=0, out=decisions, mode="clip")
        for name, at, width in FIELDS:
            column = events[name]
            decisions[:, at : at + width] = column.view(numpy.uint8).reshape(
                len(run), column.itemsize
            )[:, :width]
        units[:] = events["unit"]


class Lane:
    """One partition: runs that came while earlier ones were at work are decided together."""

    def __init__(self, job: Job, thread: ThreadPoolExecutor, partition: int) -> None:
        self._job = job
        self._thread = thread
        self._partition = partition
        self._waiting: list[EventT[PartitionRun]] = []
        self._waiting_bytes = 0
        self._working: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._taken = asyncio.Event()

    async def take(self, emission: Emission, event: EventT[PartitionRun]) -> None:
        """Takes a run; returns when the next may come."""
        while self._waiting_bytes >= WAITING_BYTES_MAX:
            self._taken.clear()
            await self._taken.wait()
        self._waiting.append(event)
        self._waiting_bytes += run_of(event).batch_bytes
        if self._working is None:
            self._working = asyncio.create_task(self._work(emission))

    async def _work(self, emission: Emission) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            while len(self._under_way) >= UNDER_WAY_MAX:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            events, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._taken.set()
            runs = [run_of(event) for event in events]
            batches = await loop.run_in_executor(self._thread, self._job.decide, runs)
            await emission.wait_room()
            sent = emission.submit(DECISIONS, self._partition, batches)
            task = asyncio.create_task(acknowledge(events, sent))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        self._working = None


def run_of(event: EventT[PartitionRun]) -> RecordRun:
    """The run that a Faust event carries."""
    return cast(PartitionRun, event.value).run


async def acknowledge(events: list[EventT[PartitionRun]], sent: list[asyncio.Future[int]]) -> None:
    """Lets the runs' offsets be committed once the broker has their decisions."""
    await asyncio.gather(*sent)
    for event in events:
        event.ack()


def make_app(job: Job) -> faust.App:
    """The Faust app with its one agent."""
    app = faust.App(
        os.environ["PIPELINE_GROUP"],
        broker=f"gatejoin://{BROKER}",
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES_MAX,
        stream_buffer_maxsize=4,
        stream_wait_empty=False,
        autodiscover=False,
    )
    topic = app.topic(os.environ["PIPELINE_EVENTS"], schema=RunSchema())

    @app.agent(topic, concurrency=1)
    async def answer(stream: faust.StreamT[PartitionRun]) -> None:
        emission = Emission(client_options(Settings(broker=BROKER)))
        await emission.start()
        thread = ThreadPoolExecutor(1, thread_name_prefix="job")
        lanes: dict[int, Lane] = {}
        async for event in cast(faust.Stream[PartitionRun], stream).noack().events():
            number = cast(PartitionRun, event.value).partition
            lane = lanes.get(number) or lanes.setdefault(number, Lane(job, thread, number))
            await lane.take(emission, event)

    return app


if __name__ == "__main__":
    app = make_app(Job(Table(Path(os.environ["PIPELINE_DECLARED"]))))
    print("ready", flush=True)
    sys.stdin.readline()
    Worker(app, loglevel="error", quiet=True, redirect_stdouts=False).execute_from_commandline()
