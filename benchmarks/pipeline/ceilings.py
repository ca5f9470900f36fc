"""What Kafka itself delivers on this machine: bare consumption and bare production.

What it is: Kafka's own ConsumerPerformance and ProducerPerformance, and three clients that do
nothing with what they fetch or send, each run to its end on the stage's topics.
Who calls it: the harness.
What it must never know: the job.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.pipeline.catalogue import PYTHON_PEERS, ROOT, peers_python
from benchmarks.pipeline.produce import Producer, batches_of, send_all
from benchmarks.pipeline.stage import BATCH_RECORDS, Stage
from stream.local_kafka import java_find, kafka_jars

RUN_S_MAX = 300.0
RECORD_BYTES = 150
FETCH_BYTES = 4 << 20
NAMES = (
    "consumer-perf", "aiokafka-whole", "gatejoin-fetch", "producer-perf", "batches-whole",
)  # fmt: skip
TITLES = {
    "consumer-perf": "consumption: Kafka's ConsumerPerformance, 4 MB fetches",
    "aiokafka-whole": "consumption: aiokafka, record batches whole and unopened",
    "gatejoin-fetch": "consumption: gatejoin's transport, decoded",
    "producer-perf": "production: Kafka's ProducerPerformance, 150-byte records",
    "batches-whole": "production: built batches of decisions over a socket",
}


@dataclass
class Ceiling:
    """Records a second, and the client's processor time for a record (0: not known)."""

    rate: float
    cpu_us: float


class CeilingError(RuntimeError):
    """A tool failed; the message has its last words."""


async def ceiling(stage: Stage, name: str, count: int, partition_count: int) -> Ceiling:
    """Measures one ceiling over ``count`` records."""
    if name == "producer-perf":
        return await _producer_performance(stage, count, partition_count)
    if name == "batches-whole":
        return await _batches_whole(stage, count, partition_count)
    events = await stage.events_topic(count, partition_count)
    if name == "consumer-perf":
        return await _consumer_performance(stage, events, count)
    environment = {
        "PIPELINE_BROKER": stage.broker,
        "PIPELINE_EVENTS": events,
        "PIPELINE_PARTITIONS": ",".join(map(str, range(partition_count))),
        "PIPELINE_COUNT": str(count),
    }
    if name == "aiokafka-whole":
        environment["PYTHONPATH"] = str(PYTHON_PEERS)
        python = await asyncio.to_thread(peers_python, "fetch_whole")
        command = [str(python), str(PYTHON_PEERS / "fetch_whole.py")]
    else:
        environment["PYTHONPATH"] = str(ROOT)
        command = [sys.executable, "-m", "benchmarks.pipeline.peers.gatejoin_fetch"]
    said: dict[str, Any] = json.loads((await _run(command, environment)).splitlines()[-1])
    return Ceiling(said["events"] / said["seconds"], said["cpu_seconds"] / said["events"] * 1e6)


async def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    try:
        said, complained = await asyncio.wait_for(process.communicate(), RUN_S_MAX)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise CeilingError(f"{command[-1]} failed: {complained.decode()[-500:]}")
    return said.decode()


def _java(tool: str) -> list[str]:
    return [
        *(java_find(), "-Xmx1g", "-XX:+UseParallelGC", "-cp", f"{kafka_jars()}/*"),
        f"org.apache.kafka.tools.{tool}",
    ]


async def _consumer_performance(stage: Stage, topic: str, count: int) -> Ceiling:
    said = await _run(
        [
            *_java("ConsumerPerformance"),
            *("--bootstrap-server", stage.broker, "--topic", topic, "--num-records", str(count)),
            *("--fetch-size", str(FETCH_BYTES), "--socket-buffer-size", str(1 << 20)),
            *("--group", stage.name("consumer-perf")),
        ]
    )
    lines = [re.split(r",\s*", line) for line in said.splitlines() if line.count(",") > 5]
    figures = dict(zip(lines[0], lines[-1], strict=True))
    # Without the time that joining the group took.
    return Ceiling(float(figures["fetch.nMsg.sec"]), 0.0)


async def _producer_performance(stage: Stage, count: int, partition_count: int) -> Ceiling:
    topic = await stage.decisions_topic(partition_count)
    try:
        said = await _run(
            [
                *_java("ProducerPerformance"),
                *("--topic", topic, "--num-records", str(count), "--throughput", "-1"),
                *("--record-size", str(RECORD_BYTES), "--bootstrap-server", stage.broker),
                *(
                    "--command-property",
                    "acks=1",
                    "linger.ms=20",
                    "batch.size=524288",
                    "enable.idempotence=false",
                ),
            ]
        )
    finally:
        await stage.drop_topic(topic)
    rates = re.findall(r"([\d.]+) records/sec", said)
    if not rates:
        raise CeilingError(f"ProducerPerformance said no rate: {said[-300:]}")
    return Ceiling(float(rates[-1]), 0.0)


async def _batches_whole(stage: Stage, count: int, partition_count: int) -> Ceiling:
    topic = await stage.decisions_topic(partition_count)

    def send() -> tuple[float, float]:
        batches: dict[int, list[bytes]] = {}
        for number, events in enumerate(stage.workload.blocks(0, count)):
            batches.setdefault(number % partition_count, []).extend(
                batches_of(events.keys, events.decisions, events.timestamps_ms, BATCH_RECORDS)
            )
        with Producer(stage.broker) as producer:
            started, cpu = time.monotonic(), time.process_time()
            send_all(producer, topic, batches)
            producer.flush()
            return time.monotonic() - started, time.process_time() - cpu

    try:
        seconds, cpu_seconds = await asyncio.to_thread(send)
    finally:
        await stage.drop_topic(topic)
    return Ceiling(count / seconds, cpu_seconds / count * 1e6)
