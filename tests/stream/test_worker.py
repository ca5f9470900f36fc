"""The worker as a process of its own, against a real Kafka and against the replay.

Method: a small national year is sent in batches of 1, 60 and 5,000 events in every compression; the
worker's decisions must be those of the replay over the same records. Then the same with a worker
that is killed before it has committed anything, and with one whose changelog is damaged.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from core_ext.record_batch import CODECS
from stream import topics
from stream.fence import Fence
from stream.local_kafka import LocalKafka
from stream.national_year.year import NationalYear
from stream.replay import replay
from stream.settings import Settings
from stream.topic_reader import start_consumer
from stream.topics import ensure_topics
from tests.stream.kafka_tools import WAIT_S_MAX, emission, read, send

PARTITIONS = 3
SCALE = 0.002
BATCHES = list(itertools.product(CODECS, (1, 60, 5000)))
# By the clock: a replay has one clock, the worker one per partition; only the tail may differ.
CLOCK_ALERTS = {"OVERSTAYED", "TRANSIT_OVERDUE"}

COMMAND = ("-m", "stream", "worker")
# The same, on a machine so loaded that taking partitions takes a second.
SLOW_TO_TAKE = (
    "-c",
    """
import asyncio, sys
from stream.cli import main
from stream.gate import Gate
assign = Gate.assign

async def assign_slowly(*arguments):
    await asyncio.sleep(1)
    await assign(*arguments)

Gate.assign = assign_slowly
sys.argv[1:] = ["worker"]
sys.exit(main())
""",
)
# The same, on a machine so loaded that it does not come to taking them.
NEVER_TAKES = (
    "-c",
    """
import asyncio, sys
from stream.cli import main
from stream.gate import Gate

async def never_assign(*arguments):
    print("partitions are assigned", flush=True)
    await asyncio.Event().wait()

Gate.assign = never_assign
sys.argv[1:] = ["worker"]
sys.exit(main())
""",
)
# The same, with an engine that does not come back from its first events; and so little time to end.
ENGINE_HANGS = (
    "-c",
    """
import sys, time
from stream import watchdog
from stream.cli import main
from stream.engine import Engine

def hang(*arguments):
    print("the engine hangs", flush=True)
    time.sleep(3600)

Engine.apply_events = hang
watchdog.END_S_MAX = 3
sys.argv[1:] = ["worker"]
sys.exit(main())
""",
)


class Worker:
    """A worker process; `url` is where its metrics are."""

    def __init__(
        self,
        broker: str,
        prefix: str,
        log: Path,
        command: tuple[str, ...] = COMMAND,
        **settings: str,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self._file = log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env={
                **os.environ,
                "GATEJOIN_BROKER": broker,
                "GATEJOIN_TOPIC_PREFIX": prefix,
                "GATEJOIN_PARTITIONS": str(PARTITIONS),
                "GATEJOIN_WEB_PORT": str(port),
                "GATEJOIN_SESSION_TIMEOUT_S": "6",
                **settings,
            },
            stdout=self._file,
            stderr=subprocess.STDOUT,
        )

    def get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return response.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return None

    def metric(self, name: str) -> float:
        """Sum of a metric's series."""
        lines = (self.get("/metrics") or "").splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def until(self, what: str, condition: object, wait_s_max: float = WAIT_S_MAX) -> None:
        deadline = time.monotonic() + wait_s_max
        while not condition():
            assert self.process.poll() is None, f"the worker ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"not {what}:\n{self.figures()}\n{self.tail()}"
            time.sleep(0.05)

    def until_ready(self) -> None:
        self.until("ready", lambda: self.get("/readyz") == "ready\n")

    def until_answered(self, events: int) -> None:
        """For a worker that began with nothing: restored events would count as well."""
        self.until(
            f"{events} events answered",
            lambda: (
                self.metric('gatejoin_records_total{topic="port-events"}') >= events
                and self.metric("gatejoin_lag_records") == 0
                and self.metric("gatejoin_unacknowledged_bytes") == 0
            ),
        )

    def figures(self) -> str:
        """The metrics that say where it stands."""
        lines = (self.get("/metrics") or "").splitlines()
        names = ("gatejoin_lag", "gatejoin_unack", "gatejoin_ready", "gatejoin_records_total")
        return "\n".join(line for line in lines if line.startswith(names))

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-6000:]

    def stop(self, how: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._file.close()


@contextlib.contextmanager
def running(*arguments: Any, **settings: str) -> Iterator[Worker]:
    worker = Worker(*arguments, **settings)
    try:
        yield worker
    finally:
        worker.stop(signal.SIGKILL)


class Year:
    """A small national year: sent in pieces, and replayed."""

    def __init__(self, broker: str, prefix: str) -> None:
        self.settings = Settings(broker=broker, topic_prefix=prefix, partitions=PARTITIONS)
        counts = asyncio.run(ensure_topics(self.settings))
        year = NationalYear(scale=SCALE)
        self.customs = [
            (part.topic, list(part.records()))
            for part in year.customs_records(counts["declarations"])
        ]
        events = [record for part in year.port_events(PARTITIONS) for record in part.records()]
        self.events = sorted(events, key=lambda record: record[2])

    def send_customs(self) -> None:
        for topic, records in self.customs:
            rows = [(key, value, number, ms) for key, value, ms, number in records]
            asyncio.run(send(self.settings.broker, self.settings.topic(topic), rows))

    def send_events(self, first: int, last: int, compression: str, per_batch: int) -> None:
        rows = [(key, value, number, ms) for key, value, ms, number in self.events[first:last]]
        asyncio.run(
            send(
                self.settings.broker,
                self.settings.topic("port-events"),
                rows,
                compression=compression,
                per_batch=per_batch,
            )
        )

    def is_committed(self) -> bool:
        """Whether the workers have committed, and so answered, every event that was sent."""

        async def left() -> int:
            parts = [
                TopicPartition(self.settings.topic("port-events"), n) for n in range(PARTITIONS)
            ]
            admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.broker)
            consumer = await start_consumer(self.settings, "test")
            await admin.start()
            try:
                ends = await consumer.end_offsets(parts)
                found = await admin.list_consumer_group_offsets(
                    self.settings.group_id, partitions=parts
                )
                return sum(ends[part] - max(0, found[part].offset) for part in parts)
            finally:
                await admin.close()
                await consumer.stop()

        return asyncio.run(left()) == 0

    def replayed(self, directory: Path) -> dict[str, Counter[str]]:
        log = directory / "log.ndjson"
        with log.open("wb") as file:
            for topic, records in [*self.customs, ("port-events", self.events)]:
                for key, value, ms, _ in records:
                    file.write(log_line(topic, key, value, ms))
        replay(log, directory / "out", None)
        return {
            topic: Counter(map(comparable, (directory / "out" / f"{topic}.ndjson").open("rb")))
            for topic in ("decisions", "alerts", "rejects")
        }

    def published(self) -> dict[str, Counter[str]]:
        return {
            topic: Counter(
                comparable(value)
                for _, _, _, value, _ in asyncio.run(
                    read(self.settings.broker, self.settings.topic(topic), PARTITIONS)
                )
            )
            for topic in ("decisions", "alerts", "rejects")
        }


def log_line(topic: str, key: bytes, value: bytes, timestamp_ms: int) -> bytes:
    """A log line whose value's bytes are exactly the record's: as a JSON string."""
    entry = {"topic": topic, "timestamp": timestamp_ms, "key": key.decode()}
    return json.dumps({**entry, "value": value.decode()}).encode() + b"\n"


def comparable(value: bytes) -> str:
    """A record without what depends on when and where it was made."""
    record = json.loads(value)
    for name in ("decidedDateTime", "raisedDateTime", "trigger", "source"):
        record.pop(name, None)
    if record.get("type") in CLOCK_ALERTS:
        return "by the clock"
    if record.get("reason") == "MISPARTITIONED":  # never in a replay
        return "mispartitioned"
    return json.dumps(record, sort_keys=True)


def assert_same(published: dict[str, Counter[str]], replayed: dict[str, Counter[str]]) -> None:
    """Decisions, alerts and rejects are the same, each once."""
    for topic, wanted in replayed.items():
        found = published[topic]
        for counts in (wanted, found):
            counts.pop("by the clock", None)
            counts.pop("mispartitioned", None)
        assert not found - wanted, f"{topic} that the replay has not"
        assert not wanted - found, f"{topic} that only the replay has"
    assert sum(published["decisions"].values()) > 1000


def test_the_workers_decisions_are_the_replays(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    year = Year(kafka, topic_prefix)
    year.send_customs()
    with running(kafka, topic_prefix, tmp_path / "worker.log") as worker:
        worker.until_ready()
        told = re.findall(r"partition 0: ([a-z ]+) \(partition=0\)", worker.tail())
        states = ["assigned", "loading customs", "fencing", "restoring", "weighing", "ready"]
        assert told in (states, [state for state in states if state != "loading customs"])
        # A twentieth goes in batches of one event, since each is a request of its own.
        bounds, at = [], 0
        for _, per_batch in BATCHES:
            share = len(year.events) // (300 if per_batch == 1 else 10)
            bounds.append((at, min(at + share, len(year.events))))
            at = bounds[-1][1]
        bounds[-1] = (bounds[-1][0], len(year.events))
        for (first, last), (compression, per_batch) in zip(bounds, BATCHES, strict=True):
            year.send_events(first, last, compression, per_batch)
        worker.until_answered(len(year.events))
        assert worker.get("/healthz") == "alive\n"
        assert worker.metric("gatejoin_decisions_total") > 1000
        assert worker.metric("gatejoin_gate_answer_seconds_count") > 1000
        assert worker.stop() == 0
    assert "Traceback" not in worker.tail()
    assert_same(year.published(), year.replayed(tmp_path))


def test_a_worker_that_is_slow_to_take_its_partitions_misses_nothing(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    year = Year(kafka, topic_prefix)
    year.send_customs()
    year.send_events(0, len(year.events), "lz4", 60)
    with running(kafka, topic_prefix, tmp_path / "worker.log", SLOW_TO_TAKE) as worker:
        worker.until_answered(len(year.events))
        assert worker.stop() == 0
    assert_same(year.published(), year.replayed(tmp_path))


def test_a_worker_whose_name_is_taken_before_it_has_partitions_ends(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    named = {"GATEJOIN_INSTANCE_ID": "berth-1"}
    with running(kafka, topic_prefix, tmp_path / "first.log", NEVER_TAKES, **named) as first:
        first.until("a member", lambda: "partitions are assigned" in first.tail())
        with running(kafka, topic_prefix, tmp_path / "second.log", **named) as second:
            second.until_ready()
            assert first.process.wait(WAIT_S_MAX) == 1
            assert "give each worker a GATEJOIN_INSTANCE_ID of its own" in first.tail()


def test_a_killed_worker_loses_doubles_and_changes_nothing(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    year = Year(kafka, topic_prefix)
    year.send_customs()
    half = len(year.events) // 2
    log = tmp_path / "worker.log"
    # The first commits nothing before it is killed, so everything is read again.
    with running(kafka, topic_prefix, log, GATEJOIN_COMMIT_INTERVAL_S="60") as worker:
        year.send_events(0, half, "lz4", 60)
        worker.until_answered(half)
        worker.stop(signal.SIGKILL)
    decided = year.published()["decisions"]
    with running(kafka, topic_prefix, log) as worker:
        worker.until_ready()
        assert year.published()["decisions"] == decided
        year.send_events(half, len(year.events), "none", 5000)
        worker.until("everything committed", year.is_committed)
        assert worker.stop() == 0
    assert_same(year.published(), year.replayed(tmp_path))


def test_a_fence_that_comes_late_leaves_no_partition_without_an_owner(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """What a former owner asked of the coordinator while the partition was its own is done when
    another owns it: the owner is refused, though the group has given the partition to nobody else.
    """
    year = Year(kafka, topic_prefix)
    year.send_customs()
    half = len(year.events) // 2
    with running(kafka, topic_prefix, tmp_path / "worker.log") as worker:
        year.send_events(0, half, "lz4", 60)
        worker.until_answered(half)

        async def take_all() -> None:
            async with emission(kafka) as sender:
                for number in range(PARTITIONS):
                    outputs = [(year.settings.topic(topics.DECISIONS), number)]
                    await Fence(sender.client).take(f"{year.settings.group_id}-{number}", outputs)

        asyncio.run(take_all())
        year.send_events(half, len(year.events), "none", 5000)
        worker.until("everything committed", year.is_committed)
        worker.until_ready()
        assert worker.stop() == 0
    assert worker.tail().count("has been taken over by another worker") == PARTITIONS
    assert_same(year.published(), year.replayed(tmp_path))


def test_a_changelog_that_was_damaged_is_made_again_once(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    year = Year(kafka, topic_prefix)
    year.send_customs()
    half = len(year.events) // 2
    states = year.settings.topic("unit-states")

    def changelog() -> list[tuple[int, bytes | None, bytes | None]]:
        records = asyncio.run(read(kafka, states, PARTITIONS))
        return [(part, key, value) for part, _, key, value, _ in records]

    def is_written() -> bool:
        """Whether each partition's last own record has a value."""
        last = {part: value for part, key, value in changelog() if key == b"P"}
        return len(last) == PARTITIONS and None not in last.values()

    with running(kafka, topic_prefix, tmp_path / "first.log") as worker:
        worker.until_ready()
        year.send_events(0, half, "lz4", 5000)
        worker.until("everything committed", year.is_committed)
        assert worker.stop() == 0
    # A unit that never was.
    nobody = [(b"CNOBODY", b"damaged", number, 0) for number in range(PARTITIONS)]
    asyncio.run(send(kafka, states, nobody))
    old = {(part, key) for part, key, _ in changelog()}
    with running(kafka, topic_prefix, tmp_path / "second.log") as worker:
        worker.until_ready()
        worker.until("states written", is_written)
        assert worker.stop() == 0
        assert worker.tail().count("made again") == PARTITIONS
    assert {(part, key) for part, key, value in changelog() if value is None} == old
    last = {(part, key): value for part, key, value in changelog()}
    assert [one for one, value in last.items() if value is None] == [
        (number, b"CNOBODY") for number in range(PARTITIONS)
    ]
    with running(kafka, topic_prefix, tmp_path / "third.log") as worker:
        worker.until_ready()
        assert "made again" not in worker.tail()
        year.send_events(half, len(year.events), "none", 5000)
        worker.until("everything committed", year.is_committed)
        assert worker.stop() == 0
    assert_same(year.published(), year.replayed(tmp_path))


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"GATEJOIN_PARTITIONS": "many"}, "GATEJOIN_PARTITIONS='many' is not a whole number"),
        ({"GATEJOIN_COMPRESSION": "rar"}, "GATEJOIN_COMPRESSION='rar' is none of none, gzip"),
        ({"GATEJOIN_RULES": "absent.toml"}, "absent.toml"),
    ],
)
def test_wrong_settings_are_one_line_and_status_2(
    tmp_path: Path, settings: dict[str, str], complaint: str
) -> None:
    with running("127.0.0.1:1", "", tmp_path / "log", **settings) as worker:
        assert worker.process.wait(30) == 2
    (line,) = worker.tail().splitlines()
    assert line.startswith("gatejoin worker: ")
    assert complaint in line


@pytest.mark.slow
def test_a_worker_carries_on_when_the_broker_is_back(tmp_path: Path) -> None:
    with LocalKafka(heap_mb=384, is_short_lived=True) as kafka:
        year = Year(kafka.bootstrap_servers, "")
        year.send_customs()
        half = len(year.events) // 2
        with running(kafka.bootstrap_servers, "", tmp_path / "worker.log") as worker:
            year.send_events(0, half, "none", 5000)
            worker.until_answered(half)
            kafka.kill(1)
            worker.until("told of", lambda: "Unable connect" in worker.tail())
            kafka.restart(1)
            year.send_events(half, len(year.events), "none", 5000)
            worker.until("everything committed", year.is_committed)
            assert worker.stop() == 0
        assert (
            worker.tail().count("Unable connect") < 10
        )  # it is told of, but not thousands of times
        assert_same(year.published(), year.replayed(tmp_path))


def test_a_taken_port_is_one_line_and_status_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with running("127.0.0.1:1", "", tmp_path / "log", GATEJOIN_WEB_PORT=port) as worker:
            assert worker.process.wait(30) == 1
    (line,) = worker.tail().splitlines()
    assert line.startswith(f"gatejoin worker: 127.0.0.1:{port} is taken")


@pytest.mark.parametrize(
    ("count", "reason"),
    [
        (10, "nothing has moved for 6 s, not even this worker's event loop: ending"),
        (2_000, "has stood still for 6 s .*; it did not end in good order in 3 s"),
    ],
    ids=["in the event loop", "in its thread"],
)
def test_a_worker_whose_engine_hangs_ends(
    kafka: str, topic_prefix: str, tmp_path: Path, count: int, reason: str
) -> None:
    """Its heartbeats go on, so the group would leave it its partitions for good."""
    settings = Settings(broker=kafka, topic_prefix=topic_prefix, partitions=PARTITIONS)
    with running(
        kafka, topic_prefix, tmp_path / "worker.log", ENGINE_HANGS, GATEJOIN_STUCK_S_MAX="6"
    ) as worker:
        worker.until_ready()
        events = [(b"X%d" % number, b" " * 100, 0, 1_600_000_000_000) for number in range(count)]
        asyncio.run(send(kafka, settings.topic("port-events"), events))
        assert worker.process.wait(WAIT_S_MAX) == 1
        assert "the engine hangs" in worker.tail()
        assert re.search(reason, worker.tail()), worker.tail()


def test_a_group_that_was_further_than_its_topic_ends_the_worker(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    """The topic was made anew: what is sent to it would lie below what was read, and never be
    answered."""
    settings = Settings(broker=kafka, topic_prefix=topic_prefix, partitions=PARTITIONS)
    topic = settings.topic("port-events")
    events = [(b"X%d" % number, b"{}", 0, 1_600_000_000_000) for number in range(10)]

    async def commit() -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka, group_id=settings.group_id, enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, 0)])
            await consumer.commit({TopicPartition(topic, 0): 100})
        finally:
            await consumer.stop()

    asyncio.run(ensure_topics(settings))
    asyncio.run(send(kafka, topic, events))
    asyncio.run(commit())
    with running(kafka, topic_prefix, tmp_path / "worker.log") as worker:
        assert worker.process.wait(WAIT_S_MAX) == 1
        last = worker.tail().splitlines()[-1]
        assert re.search("gatejoin worker: .*port-events.* ends at offset 10, but ", last), last
        assert "100: the topic was made anew or has lost records" in last
