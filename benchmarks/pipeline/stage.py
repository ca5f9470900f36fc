"""The stage: one local Kafka with the job's topics and tables on it, loaded when first asked for.

What it is: the broker, its topics, the table as file and as topic, and how full a topic is.
Who calls it: the measurements.
What it must never know: an engine.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from benchmarks.pipeline.processes import cpu_seconds
from benchmarks.pipeline.produce import Producer, batches_of, event_batches, send_all
from benchmarks.pipeline.workload import EVENT_BYTES, Bytes, Workload, offsets_of, operators
from core_ext.json_rows import partitions
from core_ext.record_batch import OutputRun, encode_output
from stream import topics
from stream.local_kafka import LocalKafka

BROKER_HEAP_MB = 1024
# What librdkafka makes of these events when it is busy: batches of just below 1 MB.
BATCH_RECORDS = 3000
CUSTOMS_BLOCK = 100_000
SETTLE_S_MAX = 30.0
FOREVER = {"retention.ms": "-1"}
DECIDED = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}


class Stage:
    """A running local Kafka; an asynchronous context manager.

    Args:
        declared_count: rows of the table.
        seed: of the workload.
        broker: ``host:port`` of a broker that is there already, the only one of its cluster; for
            tests, since its processor time is not known.
    """

    def __init__(self, declared_count: int, seed: int = 2018, *, broker: str | None = None) -> None:
        self.declared_count = declared_count
        self.workload = Workload(declared_count, seed)
        self._given = broker
        self._kafka = LocalKafka(heap_mb=BROKER_HEAP_MB)
        self._directory = tempfile.TemporaryDirectory(prefix="gatejoin-pipeline-")
        self._loaded: dict[object, str] = {}
        self._serial = itertools.count(1)
        self._prefix = "pipeline" if broker is None else f"pipeline-{uuid.uuid4().hex[:8]}"

    async def __aenter__(self) -> Self:
        try:
            if self._given is None:
                await asyncio.to_thread(self._kafka.start)
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self.broker)
            await self._admin.start()
            self._consumer = AIOKafkaConsumer(bootstrap_servers=self.broker)
            await self._consumer.start()
        except BaseException:
            self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._consumer.stop()
            await self._admin.close()
        finally:
            self._stop()

    def _stop(self) -> None:
        self._kafka.stop()
        self._directory.cleanup()

    @property
    def broker(self) -> str:
        """``host:port``."""
        return self._given or self._kafka.bootstrap_servers

    @property
    def directory(self) -> Path:
        """Where files of this run may lie; it goes with the stage."""
        return Path(self._directory.name)

    def broker_cpu_seconds(self) -> float:
        """Processor time of the broker so far."""
        return cpu_seconds(list(self._kafka.pids.values()))

    def check(self) -> None:
        """Raises LocalKafkaError if the broker has ended."""
        self._kafka.check()

    def name(self, what: str) -> str:
        """A name that nothing on this stage has yet."""
        return f"{self._prefix}-{what}-{next(self._serial)}"

    def workload_of(self, event_bytes: int) -> Workload:
        """The job with events of a size; the decisions are the same."""
        return Workload(self.declared_count, self.workload.seed, event_bytes)

    # ---- topics ----

    async def make_topic(self, name: str, partition_count: int, config: Mapping[str, str]) -> None:
        """Makes a topic, and returns when each partition has its leader."""
        made = await self._admin.create_topics(
            [NewTopic(name, partition_count, 1, topic_configs=dict(config))]
        )
        for _, code, *message in made.topic_errors:
            if code:
                raise ValueError(f"the broker refuses to make topic {name}: {code} {message}")
        deadline = asyncio.get_running_loop().time() + SETTLE_S_MAX
        while True:
            (found,) = await self._admin.describe_topics([name])
            partitions = found["partitions"]
            if len(partitions) == partition_count and all(p["leader"] >= 0 for p in partitions):
                # The controller knows; asking for offsets waits until the broker does.
                await self.count(name, partition_count)
                return
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"topic {name} has no leaders after {SETTLE_S_MAX:.0f} s")
            await asyncio.sleep(0.05)

    async def decisions_topic(self, partition_count: int) -> str:
        """A new topic for decisions, stamped by the broker."""
        name = self.name("decisions")
        await self.make_topic(name, partition_count, DECIDED)
        return name

    async def drop_topic(self, name: str) -> None:
        """Deletes a topic, for a disk is not endless."""
        await self._admin.delete_topics([name])

    async def count(self, name: str, partition_count: int) -> int:
        """How many records a topic holds from which none was deleted."""
        partitions = [TopicPartition(name, number) for number in range(partition_count)]
        return sum((await self._consumer.end_offsets(partitions)).values())

    async def events_topic(
        self,
        count: int,
        partition_count: int,
        batch_records: int = BATCH_RECORDS,
        event_bytes: int = EVENT_BYTES,
    ) -> str:
        """A topic that holds the job's first ``count`` events."""
        key = ("events", count, partition_count, batch_records, event_bytes)
        if key not in self._loaded:
            name = self.name("events")
            await self.make_topic(name, partition_count, FOREVER)
            workload = self.workload_of(event_bytes)
            await asyncio.to_thread(
                self.load_events, name, workload, count, partition_count, batch_records
            )
            self._loaded[key] = name
        return self._loaded[key]

    async def forget_events(self) -> None:
        """Deletes the topics of events, so that the next sweep has room."""
        for key in [key for key in self._loaded if isinstance(key, tuple) and key[0] == "events"]:
            await self.drop_topic(self._loaded.pop(key))

    def load_events(
        self, name: str, workload: Workload, count: int, partition_count: int, batch_records: int
    ) -> None:
        """Sends events, batches filled across blocks as a busy producer fills them."""
        block = max(1 << 16, batch_records * partition_count)
        with Producer(self.broker) as producer:
            for events in workload.blocks(0, count, block):
                send_all(producer, name, event_batches(events, partition_count, batch_records))
            producer.flush()

    # ---- the table ----

    def declared_file(self) -> Path:
        """The table as a file, a JSON object a line."""
        path = self.directory / "declared.ndjson"
        if not path.exists():
            with path.open("wb") as file:
                for low in range(0, self.declared_count, CUSTOMS_BLOCK):
                    high = min(low + CUSTOMS_BLOCK, self.declared_count)
                    file.write(self.workload.declared_lines(low, high))
        return path

    async def declared_topic(self) -> str:
        """The table as a topic, keyed by unit."""
        if "declared" not in self._loaded:
            name = self.name("declared")
            await self.make_topic(name, 1, FOREVER)
            await asyncio.to_thread(self._load_declared, name)
            self._loaded["declared"] = name
        return self._loaded["declared"]

    def _load_declared(self, name: str) -> None:
        run = OutputRun()
        with Producer(self.broker) as producer:
            for line in self.declared_file().read_bytes().splitlines():
                run.append(line[9:20], line, 0, 0)
            send_all(producer, name, {0: [batch for batch, _ in encode_output(run, 0)]})
            producer.flush()

    def load_customs(self, prefix: str, partition_count: int) -> None:
        """The same table as declarations of the contract, and the operators, for the worker."""
        with Producer(self.broker) as producer:
            run = OutputRun()
            for key, value in operators():
                run.append(key, value, 0, 0)
            run.partition_by_key(partition_count)
            sent = {
                number: [batch for batch, _ in encode_output(run, number)]
                for number in run.partitions()
            }
            send_all(producer, prefix + topics.OPERATORS, sent)
            for low in range(0, self.declared_count, CUSTOMS_BLOCK):
                high = min(low + CUSTOMS_BLOCK, self.declared_count)
                for keys, values in self.workload.declarations(low, high):
                    self._send_declarations(producer, prefix, partition_count, keys, values)
            producer.flush()

    def _send_declarations(
        self, producer: Producer, prefix: str, partition_count: int, keys: Bytes, values: Bytes
    ) -> None:
        if not len(keys):
            return
        partition = partitions(keys.reshape(-1), offsets_of(keys), partition_count)
        sent = {}
        for number in range(partition_count):
            rows = numpy.flatnonzero(partition == number)
            if len(rows):
                sent[number] = batches_of(
                    keys[rows], values[rows], numpy.zeros(len(rows), numpy.int64), BATCH_RECORDS
                )
        send_all(producer, prefix + topics.DECLARATIONS, sent)
