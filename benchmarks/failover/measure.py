"""Kills a worker with kill -9, again and again, and sees when its partitions are answered again.

Called by ``python -m benchmarks.failover``. A broker and two workers run on this machine; checks
of new containers come at a steady rate to all partitions. A partition is answered again when the
log of decisions takes the first one (by the broker's own clock) on an event that was sent after the
kill. It must never know how a worker does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson
from aiokafka.partitioner import murmur2
from aiokafka.structs import TopicPartition

from core_ext.record_batch import FetchDecoder, OutputRun, RecordRun, encode_output
from stream import topics
from stream.connection import client_options
from stream.emission import Emission
from stream.engine import OPERATORS, Engine
from stream.local_kafka import LocalKafka, ports_choose
from stream.moments import utc_text
from stream.policy import load_policy
from stream.settings import Settings
from stream.topic_reader import start_consumer
from stream.topics import ensure_topics
from stream.transport import RunConsumer

PARTITIONS = 8
SESSION_TIMEOUT_S = 6.0
HEAP_MB = 768
OPERATOR, LOCATION = "BENCH-01", "GATE-1"
POLL_S = 0.02
WAIT_S_MAX = 180.0
SENT_AT_ONCE = 20_000
# Checks that come due within this time are sent together.
TICK_S = 0.02
# A broker that was just started compiles its own code for half a minute, which takes up to a core:
# one that has run for a while does not, so nobody is killed before.
WARM_UP_S = 30.0
# How long answers are timed.
LATENCY_S = 15.0


OPERATOR_RECORD = json.dumps(
    {
        "operatorID": OPERATOR, "name": "Bench", "kind": "SEAPORT", "departmentCode": "02",
        "departmentName": "Bench", "locations": [LOCATION], "status": "CONNECTED",
        "connectedDate": "2018-01-01", "version": 1,
    }
).encode()  # fmt: skip


@dataclass
class FailOver:
    """One kill: seconds until each partition was answered again."""

    seconds: dict[int, float]

    @property
    def worst(self) -> float:
        return max(self.seconds.values())


class WorkerProcess:
    """A worker, to be killed."""

    def __init__(
        self,
        kafka: LocalKafka,
        settings: Settings,
        log: Path,
        *,
        identity: str = "",
        commit_interval_s: float = 1.0,
    ) -> None:
        self.kafka, self.settings, self.log = kafka, settings, log
        self.identity, self.commit_interval_s = identity, commit_interval_s
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        (port,) = ports_choose(1)
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            "GATEJOIN_BROKER": self.settings.broker,
            "GATEJOIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "GATEJOIN_PARTITIONS": str(PARTITIONS),
            "GATEJOIN_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
            "GATEJOIN_COMMIT_INTERVAL_S": str(self.commit_interval_s),
            "GATEJOIN_WEB_PORT": str(port),
        }
        if self.identity:
            environment["GATEJOIN_INSTANCE_ID"] = self.identity
        inherited = {
            name: text for name, text in os.environ.items() if not name.startswith("GATEJOIN_")
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream", "worker"],
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.kafka.adopt(self.process.pid)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def metric(self, name: str) -> float:
        """Sum of a metric's series, 0 before it is served."""
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            with urllib.request.urlopen(self.url + "/metrics", timeout=5) as response:
                lines = response.read().decode().splitlines()
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))
        return 0.0

    async def until_ready(self) -> None:
        """Waits for /readyz; raises RuntimeError with the end of the log if it ends instead."""

        def is_ready() -> bool:
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=2) as response:
                    return bool(response.status == 200)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False

        assert self.process is not None, "start() comes first"
        deadline = time.monotonic() + WAIT_S_MAX
        while not await asyncio.to_thread(is_ready):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the worker is not ready:\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(POLL_S)


def event_of(event_type: str, unit: str, moment: str) -> bytes:
    """An event of a container at the one place there is."""
    return (
        f'{{"eventID":"{event_type}-{unit}","eventType":"{event_type}","eventDateTime":"{moment}",'
        f'"operatorID":"{OPERATOR}","locationCode":"{LOCATION}","unitType":"CONTAINER",'
        f'"unit":"{unit}","direction":"IMPORT"}}'
    ).encode()


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives a key."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def declaration_of(number: int, moment: str) -> tuple[bytes, bytes]:
    """Key and value of a cleared declaration of one container."""
    key = f"1{number:011}"
    return key.encode(), (
        f'{{"declarationNumber":"{key}","version":1,"direction":"IMPORT","status":"CLEARED",'
        f'"registeredDateTime":"{moment}","locationCode":"{LOCATION}",'
        f'"units":[{{"unit":"STOCK{number:09}","unitType":"CONTAINER"}}]}}'
    ).encode()


async def send_all(
    settings: Settings, topic: str, records: Iterable[tuple[bytes, bytes]], partitions: int
) -> None:
    """Sends keys and values in large batches, and waits until the broker has them."""
    emission = Emission(client_options(settings), client_id="failover-sender")
    await emission.start()
    try:
        now_ms = time.time_ns() // 1_000_000
        for chunk in batched(records, SENT_AT_ONCE):
            run = OutputRun()
            for key, value in chunk:
                run.append(key, value, partition_of(key, partitions), now_ms)
            await emission.wait_room()
            sent = [
                emission.submit(settings.topic(topic), number, encode_output(run, number))
                for number in run.partitions()
            ]
            await asyncio.gather(*itertools.chain(*sent))
    finally:
        await emission.stop()


def batched(
    records: Iterable[tuple[bytes, bytes]], size: int
) -> Iterator[list[tuple[bytes, bytes]]]:
    """Lists of up to ``size``."""
    iterator = iter(records)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


async def send_backlog(settings: Settings, units: int, event_types: tuple[str, ...]) -> None:
    """Sends events of these types for each of ``units`` containers."""
    moment = utc_text(time.time_ns() // 1000)
    events = (
        (unit.encode(), event_of(kind, unit, moment))
        for number in range(units)
        for unit in (f"STOCK{number:09}",)
        for kind in event_types
    )
    await send_all(settings, topics.PORT_EVENTS, events, PARTITIONS)


class Checks:
    """Sends checks of new containers at a steady rate and notes when each was sent.

    The machine has two cores for a broker, two workers and this, so this must be light: what came
    due within TICK_S goes in one batch for each partition.
    """

    def __init__(self, settings: Settings, emission: Emission, rate: float) -> None:
        self.settings, self.emission, self.rate = settings, emission, rate
        self.serial = 0
        self.sent_s: dict[tuple[int, int], float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        started = time.monotonic()
        topic = self.settings.topic(topics.PORT_EVENTS)
        while True:
            await asyncio.sleep(TICK_S)
            await self.emission.wait_room()
            now_s, run = time.time(), OutputRun()
            moment = utc_text(int(now_s * 1e6))
            while self.serial < (time.monotonic() - started) * self.rate:
                self.serial += 1
                unit = f"CHECK{self.serial:09}"
                run.append(
                    unit.encode(),
                    event_of("GATE_CHECK", unit, moment),
                    partition_of(unit.encode(), PARTITIONS),
                    int(now_s * 1000),
                )
            for partition in run.partitions():
                for batch in encode_output(run, partition):
                    (sent,) = self.emission.submit(topic, partition, [batch])
                    sent.add_done_callback(partial(self._taken, partition, batch[1], now_s))

    def _taken(self, partition: int, count: int, now_s: float, sent: asyncio.Future[int]) -> None:
        if not sent.cancelled() and sent.exception() is None:
            end = sent.result()
            self.sent_s.update(((partition, end - 1 - i), now_s) for i in range(count))


class Answers:
    """Reads decisions and notes when the broker took each."""

    def __init__(self, settings: Settings, consumer: RunConsumer) -> None:
        self.settings, self.consumer = settings, consumer
        self.taken_s: dict[tuple[int, int], float] = {}  # by the event that brought it about

    async def run(self) -> None:
        """Until cancelled."""
        port_events = self.settings.topic(topics.PORT_EVENTS)
        while True:
            for runs in (await self.consumer.get_runs(1.0)).values():
                for fetched in runs:
                    for _, value, _, timestamp_ms in fetched.run:
                        trigger = orjson.loads(value or b"{}")["trigger"]
                        if trigger is not None and trigger["topic"] == port_events:
                            self.taken_s.setdefault(
                                (trigger["partition"], trigger["offset"]), timestamp_ms / 1000
                            )


@contextlib.asynccontextmanager
async def traffic(
    settings: Settings, units: int, rate: float
) -> AsyncIterator[tuple[Checks, Answers]]:
    """Makes topics and an operator, sends ``units`` entries, then checks until the block ends."""
    counts = await ensure_topics(settings)
    await send_all(
        settings, topics.OPERATORS, [(OPERATOR.encode(), OPERATOR_RECORD)], counts[topics.OPERATORS]
    )
    emission = Emission(client_options(settings), client_id="failover-checks")
    await emission.start()
    consumer = await start_consumer(settings, "failover-answers")
    tasks: list[asyncio.Task[None]] = []
    try:
        consumer.assign(
            [
                TopicPartition(settings.topic(topics.DECISIONS), number)
                for number in range(counts[topics.DECISIONS])
            ]
        )
        await consumer.seek_to_end()
        checks, answers = Checks(settings, emission, rate), Answers(settings, consumer)
        await send_backlog(settings, units, ("GET_IN",))
        tasks = [asyncio.create_task(checks.run()), asyncio.create_task(answers.run())]
        yield checks, answers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await emission.stop()
        await consumer.stop()


async def until_answered_since(
    checks: Checks, answers: Answers, since_s: float
) -> dict[int, float]:
    """Waits until each partition has a decision on an event sent after ``since_s``; returns after
    how many seconds the broker took the first of each."""
    deadline = time.monotonic() + WAIT_S_MAX
    while True:
        first: dict[int, float] = {}
        for place, taken_s in answers.taken_s.items():
            if checks.sent_s.get(place, 0.0) > since_s:
                first[place[0]] = min(first.get(place[0], taken_s), taken_s)
        if len(first) == PARTITIONS:
            return {number: taken_s - since_s for number, taken_s in sorted(first.items())}
        if time.monotonic() > deadline:
            raise RuntimeError(f"only partitions {sorted(first)} were answered again")
        await asyncio.sleep(POLL_S)


async def fail_overs(
    kafka: LocalKafka, *, is_static: bool, rounds: int, units: int, rate: float
) -> list[FailOver]:
    """Kills one of two workers ``rounds`` times.

    Args:
        is_static: the killed worker is started again at once, under its identity in the group;
            else it stays away until the other has taken its partitions.
        units: in stock, so that there is a state to bring back.
        rate: checks a second, over all partitions.
    """
    name = "static" if is_static else "dynamic"
    settings = Settings(
        broker=kafka.bootstrap_servers, topic_prefix=f"{name}.", partitions=PARTITIONS
    )
    found: list[FailOver] = []
    with tempfile.TemporaryDirectory(prefix="gatejoin-failover-") as temporary:
        workers = [
            WorkerProcess(
                kafka,
                settings,
                Path(temporary) / f"{number}.log",
                identity=f"w{number}" if is_static else "",
            )
            for number in (1, 2)
        ]
        try:
            async with traffic(settings, units, rate) as (checks, answers):
                for worker in workers:
                    worker.start()
                for worker in workers:
                    await worker.until_ready()
                await asyncio.sleep(WARM_UP_S)
                for number in range(rounds):
                    await until_answered_since(checks, answers, time.time())
                    victim = workers[number % 2]
                    killed_s = time.time()
                    victim.kill()
                    if is_static:
                        victim.start()
                    found.append(FailOver(await until_answered_since(checks, answers, killed_s)))
                    if not is_static:
                        victim.start()
                    await victim.until_ready()
        finally:
            for worker in workers:
                worker.kill()
    return found


@dataclass
class Restore:
    """Bringing units back from the changelog, on one core, without a broker."""

    units: int
    bytes: int
    seconds: float


def restore_rate(units: int) -> Restore:
    """Times the core: a changelog of ``units`` containers in stock, each with a check that has its
    decision, into an empty engine; asserts that all of it came back."""
    policy = load_policy(None)
    moment = utc_text(1_700_000_000_000_000)
    engine = Engine(policy, 1)
    engine.apply_customs(OPERATORS, 0, decoded([(OPERATOR.encode(), OPERATOR_RECORD)])[0], 0)
    events = (
        (unit.encode(), event_of(kind, unit, moment))
        for number in range(units)
        for unit in (f"STOCK{number:09}",)
        for kind in ("GET_IN", "GATE_CHECK")
    )
    for chunk in batched(events, SENT_AT_ONCE):
        for run in decoded(chunk):
            engine.apply_events(0, run, 1_700_000_000_000_000)
        engine.take_effects()
    changes = engine.matcher.take_unit_changes(0, 0)
    log = [batch for batch, _ in encode_output(changes, 0)]
    del changes
    empty = Engine(policy, 1)
    empty.apply_customs(OPERATORS, 0, decoded([(OPERATOR.encode(), OPERATOR_RECORD)])[0], 0)
    started = time.process_time()
    # Batches as a fetch brings them; a broker would have given them offsets.
    restored = sum(
        empty.matcher.restore_units(0, run) for batch in log for run in FetchDecoder(batch)
    )
    seconds = time.process_time() - started
    assert restored == units, f"{restored} of {units} units came back"
    assert empty.matcher.volumes(0) == engine.matcher.volumes(0), "volumes differ"
    return Restore(units, sum(map(len, log)), seconds)


def decoded(records: list[tuple[bytes, bytes]]) -> list[RecordRun]:
    """Records as runs."""
    rows = [(key, value, offset, 1_700_000_000_000) for offset, (key, value) in enumerate(records)]
    return [RecordRun.from_records(rows)]


@dataclass
class CustomsLoad:
    """A worker that starts and loads customs' side."""

    records: int
    ready_s: float  # from the start of the process
    empty_ready_s: float  # the same with nothing to load


async def customs_load(kafka: LocalKafka, records: int) -> CustomsLoad:
    """Times a worker from its start to ready, with ``records`` declarations and with none."""
    seconds = []
    for name, count in (("empty", 0), ("full", records)):
        settings = Settings(
            broker=kafka.bootstrap_servers, topic_prefix=f"{name}.", partitions=PARTITIONS
        )
        counts = await ensure_topics(settings)
        moment = utc_text(time.time_ns() // 1000)
        await send_all(
            settings,
            topics.DECLARATIONS,
            (declaration_of(number, moment) for number in range(count)),
            counts[topics.DECLARATIONS],
        )
        with tempfile.TemporaryDirectory(prefix="gatejoin-failover-") as temporary:
            worker = WorkerProcess(kafka, settings, Path(temporary) / "worker.log")
            started = time.monotonic()
            worker.start()
            try:
                await worker.until_ready()
                seconds.append(time.monotonic() - started)
            finally:
                worker.kill()
    return CustomsLoad(records, seconds[1], seconds[0])


@dataclass
class Cost:
    """What a worker does with and without its changelog being written."""

    commit_interval_s: float
    events_per_s: float
    answer_p50_ms: float
    answer_p99_ms: float


async def cost(kafka: LocalKafka, commit_interval_s: float, events: int, rate: float) -> Cost:
    """Times a backlog of ``events`` and then answers at ``rate`` checks a second.

    With an interval longer than the measurement nothing is committed and no state is written: the
    same path without its durability.
    """
    settings = Settings(
        broker=kafka.bootstrap_servers,
        topic_prefix=f"cost-{commit_interval_s:g}.",
        partitions=PARTITIONS,
    )
    with tempfile.TemporaryDirectory(prefix="gatejoin-failover-") as temporary:
        worker = WorkerProcess(
            kafka, settings, Path(temporary) / "worker.log", commit_interval_s=commit_interval_s
        )
        async with traffic(settings, 0, rate) as (checks, answers):
            await send_backlog(settings, events // 2, ("GET_IN", "GATE_CHECK"))
            worker.start()
            try:
                per_s = await backlog_rate(worker, events)
                await worker.until_ready()
                since_s = time.time()
                await asyncio.sleep(LATENCY_S)
                await until_answered_since(checks, answers, time.time())
            finally:
                worker.kill()
        latencies = sorted(
            (taken_s - checks.sent_s[place]) * 1000
            for place, taken_s in answers.taken_s.items()
            if since_s < checks.sent_s.get(place, 0.0) < since_s + LATENCY_S
        )
    return Cost(
        commit_interval_s,
        per_s,
        latencies[len(latencies) // 2],
        latencies[len(latencies) * 99 // 100],
    )


async def backlog_rate(worker: WorkerProcess, events: int) -> float:
    """Events a second from the first to the last of a backlog."""
    name = 'gatejoin_records_total{topic="port-events"}'
    began: tuple[float, float] | None = None
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        done, now = await asyncio.to_thread(worker.metric, name), time.monotonic()
        if done and began is None:
            began = done, now
        if began is not None and done >= events:
            return (done - began[0]) / (now - began[1]) if now > began[1] else float("inf")
        await asyncio.sleep(POLL_S)
    raise RuntimeError("the backlog was not worked off in time")
