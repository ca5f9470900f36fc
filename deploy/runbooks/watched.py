"""Workers under a real Prometheus, small and quick, on this machine.

What it is: Apache Kafka, worker processes, and a Prometheus that scrapes them each second by the
rules of deploy/prometheus, with every duration in them divided, so that minutes become seconds.
Who calls it: drill.py beside it, and the tests.
What it must never know: which fault is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from stream.demo_worker import Worker
from stream.local_kafka import KEEPER, listens
from stream.settings import Settings

RULES = Path(__file__).resolve().parents[1] / "prometheus"
WAIT_S_MAX = 180.0
# By this a duration in a rule is divided; a minute becomes two seconds.
FASTER = 30
#: Thresholds that are numbers of seconds or records, and what they become.
THRESHOLDS = {
    'topic="declarations"} > 900': 'topic="declarations"} > 8',
    "timestamp_seconds > 60": "timestamp_seconds > 8",
    "oldest_unanswered_seconds) > 10": "oldest_unanswered_seconds) > 3",
    "lag_records:sum > 1000": "lag_records:sum > 100",
}
#: Characters of a worker's log that are shown when it does not do what is waited for.
LOG_END = 6000
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def wait_until(condition: Callable[[], Any], what: str, wait_s_max: float = WAIT_S_MAX) -> Any:
    """Waits for a true answer and returns it; raises TimeoutError at the deadline."""
    deadline = time.monotonic() + wait_s_max
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {wait_s_max:.0f} s: {what}")
        time.sleep(0.05)
    return answer


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def faster(rules: str) -> str:
    """Rules with their durations divided by FASTER, at least a second, and other THRESHOLDS."""

    def divided(match: re.Match[str]) -> str:
        seconds = int(match[2]) * SECONDS[match[3]]
        return f"{match[1]}{max(1, round(seconds / FASTER))}s{match[4]}"

    rules = re.sub(r"(\[)(\d+)([smhd])(\])", divided, rules)
    rules = re.sub(r"(for: )(\d+)([smhd])()", divided, rules)
    for before, after in THRESHOLDS.items():
        rules = rules.replace(before, after)
    return rules


class Prometheus:
    """A Prometheus process that scrapes what ``targets`` names.

    Args:
        directory: for its data, which is gone when the directory is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._targets = directory / "targets.json"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        directory = self._directory
        text = ""
        for path in sorted(RULES.glob("*.yaml")):
            text += path.read_text()
            (directory / path.name).write_text(faster(path.read_text()))
        missing = [threshold for threshold in THRESHOLDS if threshold not in text]
        assert not missing, f"no rule has {missing}"
        self.targets({})
        (directory / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{', '.join(path.name for path in sorted(RULES.glob('*.yaml')))}]\n"
            "scrape_configs:\n"
            "  - job_name: gatejoin\n"
            "    file_sd_configs: [{files: [targets.json], refresh_interval: 1s}]\n"
        )
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        with (directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(lambda: self._ask("/-/ready") is not None, "Prometheus is ready")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "__enter__ comes first"
        return self._process.pid

    def targets(self, addresses: Mapping[str, str]) -> None:
        """Scrapes from now on the workers of these names and addresses."""
        groups = [
            {"targets": [address], "labels": {"instance": name}}
            for name, address in addresses.items()
        ]
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps(groups))
        new.rename(self._targets)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now: a list of {"metric": labels, "value": [time, text]}."""
        answer = self._ask("/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        assert answer is not None, f"Prometheus does not answer {expression}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self, alert: str, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """The alerts of a name that fire now, with at least these labels."""
        answer = self._ask("/api/v1/alerts") or {"data": {"alerts": []}}
        return [
            found
            for found in answer["data"]["alerts"]
            if found["state"] == "firing"
            and found["labels"]["alertname"] == alert
            and (labels or {}).items() <= found["labels"].items()
        ]

    def _ask(self, path: str) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:  # noqa: S310
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
                return None  # it is starting
            raise RuntimeError(f"{path}: {error.read().decode()}") from None
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None
        found: dict[str, Any] = json.loads(text) if text.startswith("{") else {}
        return found


class Installation:
    """Workers on a broker, under a Prometheus.

    Args:
        broker: ``host:port`` of a Kafka that is there.
        prefix: of topics and group, one's own.
        directory: for logs and Prometheus's data.
    """

    PARTITIONS = 3

    def __init__(self, broker: str, prefix: str, directory: Path) -> None:
        self.broker = broker
        self.prefix = prefix
        self.directory = directory
        self.prometheus = Prometheus(directory)
        self.workers: dict[str, Worker] = {}
        self._keeper: subprocess.Popen[bytes] | None = None
        self._names: dict[str, str] = {}
        self._event_count = 0
        self._version = 0

    def __enter__(self) -> Self:
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), str(os.getpid())],
            stdin=subprocess.PIPE,
            start_new_session=True,  # it has to outlive a Ctrl-C
        )
        self.prometheus.__enter__()
        self._adopt(self.prometheus.pid)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.workers):
            self.kill(name)
        self.prometheus.__exit__()
        assert self._keeper is not None, "__enter__ comes first"
        self._keeper.communicate(b"end\n")

    def _adopt(self, pid: int) -> None:
        """Has a process killed when this one dies, for whatever reason."""
        assert self._keeper is not None and self._keeper.stdin is not None, "__enter__ comes first"
        self._keeper.stdin.write(f"pid {pid}\n".encode())
        self._keeper.stdin.flush()

    # ---- workers ----

    def start(self, name: str, **settings: Any) -> Worker:
        """Starts a worker and has it scraped; does not wait for it."""
        worker = Worker(
            Settings(
                **{
                    "broker": self.broker,
                    "topic_prefix": self.prefix,
                    "partitions": self.PARTITIONS,
                    "web_port": free_port(),
                    "session_timeout_s": 6.0,
                    "silent_operator_minutes": 1,
                    **settings,
                }
            ),
            self.directory / f"{name}.log",
        )
        worker.start()
        self._adopt(worker.pid)
        self.workers[name] = worker
        self._names[name] = worker.url.removeprefix("http://")
        self.prometheus.targets(self._names)
        return worker

    def kill(self, name: str) -> None:
        """Kills a worker outright; Prometheus goes on looking for it."""
        worker = self.workers.pop(name)
        self.signal(worker, signal.SIGCONT)
        self.signal(worker, signal.SIGKILL)
        worker.stop()

    def forget(self, name: str) -> None:
        """Has a worker scraped no more."""
        del self._names[name]
        self.prometheus.targets(self._names)

    @staticmethod
    def signal(worker: Worker, number: int) -> None:
        """Sends a signal; harmless if the process has ended."""
        try:
            os.kill(worker.pid, number)
        except ProcessLookupError:
            return

    def is_ready(self, name: str) -> bool:
        """Whether a worker says that it is ready; raises WorkerError if it has ended."""
        self.workers[name].check()
        try:
            url = self.workers[name].url + "/readyz"
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def wait_ready(self) -> None:
        """Waits until every worker is ready and Prometheus has seen that all partitions are.

        Raises TimeoutError with the worker's log if one is not.
        """
        for name, worker in self.workers.items():
            try:
                wait_until(lambda name=name: self.is_ready(name), f"{name} is ready")
            except TimeoutError as late:
                raise TimeoutError(f"{late}\n{worker.log.read_text()[-LOG_END:]}") from None
        self.wait_for("gatejoin:availability:ratio == 1")

    def wait_for(self, expression: str) -> list[dict[str, Any]]:
        """Waits until an expression gives something."""
        found: list[dict[str, Any]] = wait_until(
            lambda: self.prometheus.query(expression), expression
        )
        return found

    # ---- records ----

    def send(
        self,
        topic: str,
        records: Iterable[tuple[str, Any]],
        *,
        at_send: Callable[[], object] = bool,
        **options: Any,
    ) -> None:
        """Sends JSON (or bytes) by key; options are aiokafka's, such as timestamp_ms. ``at_send``
        is called when the producer is ready to send."""

        async def send_all() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.broker)
            await producer.start()
            try:
                await producer.partitions_for(self.prefix + topic)
                at_send()
                for key, value in records:
                    data = value if isinstance(value, bytes) else json.dumps(value).encode()
                    await producer.send(self.prefix + topic, data, key=key.encode(), **options)
                await producer.flush()
            finally:
                await producer.stop()

        asyncio.run(send_all())

    def register(self, operator_id: str) -> None:
        """Registers a connected operator at the place of its own name."""
        self._version += 1
        operator = {
            "operatorID": operator_id, "name": f"Port {operator_id}", "kind": "SEAPORT",
            "departmentCode": "03", "departmentName": "Hải Phòng", "locations": [operator_id],
            "status": "CONNECTED", "connectedDate": "2018-01-01", "version": self._version,
        }  # fmt: skip
        self.send("operators", [(operator_id, operator)])

    def declare(self, **options: Any) -> None:
        """Sends a declaration, as customs does all the time."""
        self._version += 1
        number = f"{self._version:012}"
        declaration = {
            "declarationNumber": number, "version": 1, "direction": "IMPORT", "status": "CLEARED",
            "registeredDateTime": utc(), "locationCode": "HP-01",
            "units": [{"unit": f"DECL{self._version}", "unitType": "CONTAINER"}],
        }  # fmt: skip
        self.send("declarations", [(number, declaration)], **options)

    def ask_gates(self, operator_id: str, count: int, at_send: Callable[[], object] = bool) -> None:
        """Sends gate checks of new units."""
        records = []
        for _ in range(count):
            self._event_count += 1
            unit = f"DRIL{self._event_count:07}"
            event = {
                "eventID": f"E{self._event_count}", "eventType": "GATE_CHECK",
                "eventDateTime": utc(), "operatorID": operator_id, "locationCode": operator_id,
                "unitType": "CONTAINER", "unit": unit, "direction": "IMPORT",
            }  # fmt: skip
            records.append((unit, event))
        self.send("port-events", records, at_send=at_send)


@contextlib.contextmanager
def traffic(installation: Installation, operator_id: str) -> Iterator[None]:
    """Customs and an operator's gates speak each second for the length of a block."""
    ended = threading.Event()

    def speak() -> None:
        while not ended.wait(1.0):
            installation.declare()
            installation.ask_gates(operator_id, 50)

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def utc() -> str:
    """Now, as records write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def broker_pid(address: str) -> int:
    """The process that listens on ``host:port`` of this machine."""
    port = int(address.split(",")[0].rpartition(":")[2])
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and listens(int(process.name), port):
            return int(process.name)
    raise LookupError(f"no process of this machine listens on {address}")


def kafka_tools(directory: Path, jars: Path) -> Path:
    """A directory with Kafka's own commands over its jars, as a broker's image has them."""
    tools = {
        "kafka-configs.sh": "kafka.admin.ConfigCommand",
        "kafka-consumer-groups.sh": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "kafka-get-offsets.sh": "org.apache.kafka.tools.GetOffsetShell",
        "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    }
    java = shutil.which("java") or "java"
    binaries = directory / "bin"
    binaries.mkdir()
    for name, class_ in tools.items():
        path = binaries / name
        path.write_text(
            f"#!/bin/sh\nexec {java} -Xmx128m -XX:TieredStopAtLevel=1 "
            f"-cp '{jars}/*' {class_} \"$@\" 2>&1\n"
        )
        path.chmod(0o755)
    return binaries
