"""The engines that are compared: what each is, how it is started, how much it is given to do.

What it is: one table. Who calls it: the harness.
What it must never know: how anything is measured.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from stream.local_kafka import cache_directory, java_find, kafka_jars

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON_PEERS = HERE / "peers" / "python"
JVM_OPTIONS = ("-Xms4g", "-Xmx4g", "-Xmn2g", "-XX:+UseParallelGC", "-XX:-UsePerfData")
"""A large young generation, since what a record leaves behind dies at once."""


@dataclass(frozen=True)
class Peer:
    """An engine on the job.

    ``share`` of the events it gets (a slow engine's rate shows on few as well), ``processes`` that
    divide the partitions, ``kind``: python, jvm or ours.
    """

    name: str
    title: str
    kind: str
    program: str
    share: float = 1.0
    processes: int = 1
    threads: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    needs_declared_topic: bool = False

    def command(self) -> list[str]:
        """The program and its arguments.

        Raises MissingError if it can't be had here.
        """
        if self.kind == "ours":
            return [sys.executable, "-m", self.program]
        if self.kind == "python":
            return [str(peers_python(self.program)), str(PYTHON_PEERS / f"{self.program}.py")]
        return [java_find(), *JVM_OPTIONS, *FLINK_OPENS, "-cp", jvm_class_path(), self.program]


class MissingError(RuntimeError):
    """An engine can't be had here; the message says what is missing."""


FLINK_OPENS = ("--add-opens=java.base/java.util=ALL-UNNAMED",)
"""Flink's own start scripts open this package to it."""

PEERS = (
    Peer("gatejoin", "gatejoin: transport, Faust agent, core", "ours",
         "benchmarks.pipeline.peers.gatejoin_job"),
    Peer("flink", "Flink 2.0.0 MiniCluster, shared HashMap, 2 slots", "jvm", "FlinkPeer",
         threads=2),
    Peer("plain-jvm", "plain JVM consumer, HashMap, producer", "jvm", "PlainPeer"),
    Peer("kafka-streams", "Kafka Streams, GlobalKTable on a HashMap store, 2 threads", "jvm",
         "StreamsPeer", threads=2, needs_declared_topic=True),
    Peer("confluent-2", "confluent-kafka, orjson, dict, 2 processes", "python",
         "confluent_orjson", share=0.5, processes=2),
    Peer("confluent", "confluent-kafka, orjson, dict", "python", "confluent_orjson", share=0.5),
    Peer("aiokafka", "aiokafka, msgspec, dict, uvloop", "python", "aiokafka_msgspec", share=0.4),
    Peer("bytewax", "Bytewax", "python", "bytewax_flow", share=0.2),
    Peer("quix", "Quix Streams", "python", "quix_streams", share=0.1),
    Peer("faust", "stock Faust at its best", "python", "faust_stock", share=0.02),
    Peer("faust-plain", "stock Faust, an agent as documented", "python", "faust_stock", share=0.02,
         environment={"PIPELINE_FAUST": "plain"}),
)  # fmt: skip
BY_NAME = {peer.name: peer for peer in PEERS}

_MODULES = {
    "confluent_orjson": "confluent_kafka, orjson",
    "aiokafka_msgspec": "aiokafka, msgspec, orjson, uvloop",
    "bytewax_flow": "bytewax.connectors.kafka, orjson",
    "quix_streams": "quixstreams, orjson",
    "faust_stock": "faust, orjson, uvloop",
    "fetch_whole": "aiokafka, uvloop",
}


def peers_python(program: str) -> Path:
    """An interpreter that has what a program needs: of the peers' own environment, or our own.

    Raises:
        MissingError: neither has.
    """
    words = ["its environment is not there; benchmarks/pipeline/setup.sh makes it"]
    own = cache_directory() / "pipeline-peers-python" / "bin" / "python"
    for python in (own, Path(sys.executable)):
        if not python.exists():
            continue
        ran = subprocess.run(
            [python, "-W", "ignore", "-c", f"import {_MODULES[program]}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if not ran.returncode:
            return python
        words.append(f"{python}: {ran.stderr.strip().splitlines()[-1:]}")
    raise MissingError("; ".join(words))


def jvm_class_path() -> str:
    """The class path of the peers on the Java virtual machine."""
    directory = cache_directory() / "pipeline-peers-jvm"
    if not (directory / "classes" / "Job.class").exists():
        raise MissingError("its jars are not there; benchmarks/pipeline/setup.sh fetches them")
    return f"{directory}/classes:{directory}/*"


def versions() -> dict[str, str]:
    """Versions of what is compared, as pinned."""
    found = {"Apache Kafka": kafka_jars().name.removeprefix("kafka-")}
    for line in (PYTHON_PEERS / "requirements.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        if version:
            found[name] = version
    sums = (HERE / "peers" / "jvm" / "jars.sha256").read_text().split()
    for name in ("flink-core-", "kafka-streams-", "fastjson2-"):
        jar = next(word for word in sums if word.startswith(name) and word[len(name)].isdigit())
        found[name.rstrip("-")] = jar.removeprefix(name).removesuffix(".jar")
    java = subprocess.run([java_find(), "-version"], capture_output=True, text=True, check=False)
    found["Java"] = java.stderr.splitlines()[0] if java.stderr else "unknown"
    found["Python"] = sys.version.split()[0]
    return found


def environment_of(
    peer: Peer,
    *,
    broker: str,
    events: str,
    decisions: str,
    group: str,
    declared: Path,
    declared_topic: str,
    partition_count: int,
) -> list[dict[str, str]]:
    """What each process of a peer finds in its environment."""
    shares = [range(partition_count)[one :: peer.processes] for one in range(peer.processes)]
    return [
        {
            "PIPELINE_BROKER": broker,
            "PIPELINE_EVENTS": events,
            "PIPELINE_DECISIONS": decisions,
            "PIPELINE_GROUP": group,
            "PIPELINE_DECLARED": str(declared),
            "PIPELINE_DECLARED_TOPIC": declared_topic,
            "PIPELINE_PARTITIONS": ",".join(map(str, share)),
            "PIPELINE_THREADS": str(peer.threads),
            "PYTHONPATH": os.pathsep.join((str(PYTHON_PEERS), str(ROOT)))
            if peer.kind != "ours"
            else str(ROOT),
            "PYTHONWARNINGS": "ignore",
            **peer.environment,
        }
        for share in shares
    ]
