"""The demo's worker: a process of its own, watched from outside.

Called by stream/demo.py. Starts ``gatejoin worker``, asks its web server and the broker how far it
is, and stops it by its process id. It must never know what the worker works on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from stream import topics
from stream.connection import client_options
from stream.settings import PREFIX, Settings

STOP_S_MAX = 20.0
"""A worker that is told to stop finishes what it has in hand; one that does not is killed."""
ASK_S_MAX = 30.0
"""The worker answers between two runs of records; below 5 a busy one would seem dead."""
LOG_TAIL_LINES = 5

_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})? ([-+0-9.eEinfNa]+)$")


class WorkerError(RuntimeError):
    """The worker ended or stands still; the message says what it said last."""


class Worker:
    """One worker process.

    Args:
        settings: its settings, web port included; they are handed over as environment variables.
        log: the file that its output goes to.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self.settings = settings
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its web server is."""
        return f"http://{self.settings.web_host}:{self.settings.web_port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "the worker has not been started"
        return self._process.pid

    def start(self) -> None:
        """Starts the process; it then loads customs' side by itself."""
        environment = dict(os.environ)
        for name, value in dataclasses.asdict(self.settings).items():
            environment[PREFIX + name.upper()] = str(value)
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C is for the demo, which then stops the worker itself.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream", "worker"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stops the process, if there is one, and waits until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def check(self) -> None:
        """Raises WorkerError if the process has ended."""
        assert self._process is not None, "the worker has not been started"
        status = self._process.poll()
        if status is not None:
            raise WorkerError(f"the worker ended with status {status}; {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log, in one line."""
        lines = self.log.read_text(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()][-LOG_TAIL_LINES:]
        return "it said last: " + " | ".join(said) if said else "it said nothing"

    def memory_bytes(self) -> tuple[int, int]:
        """Resident memory now, and the most it ever was."""
        found = {"VmRSS": 0, "VmHWM": 0}
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
        return found["VmRSS"], found["VmHWM"]

    async def ask(self, path: str) -> tuple[int, str]:
        """GETs ``path`` of its web server; (0, "") while it does not listen."""
        return await asyncio.to_thread(self._ask, path)

    def _ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=ASK_S_MAX) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except (OSError, TimeoutError):
            return 0, ""

    async def samples(self, name: str) -> dict[str, float]:
        """The samples of one metric, by their labels as written."""
        status, text = await self.ask("/metrics")
        found: dict[str, float] = {}
        if status == 200:
            for line in text.splitlines():
                if (match := _SAMPLE.match(line)) and match[1] == name:
                    found[match[2] or ""] = float(match[3])
        return found


class Progress:
    """How far the consumer group has come on port-events, asked of the broker."""

    def __init__(self, settings: Settings, partition_count: int) -> None:
        self._group = settings.group_id
        topic = settings.topic(topics.PORT_EVENTS)
        self._partitions = [TopicPartition(topic, number) for number in range(partition_count)]
        self._admin = AIOKafkaAdminClient(client_id="gatejoin-demo", **client_options(settings))

    async def __aenter__(self) -> Progress:
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def done(self) -> int:
        """Events whose effects are acknowledged, over all partitions."""
        return sum(await self.offsets())

    async def offsets(self) -> list[int]:
        """The same by partition: the offset after the last such event."""
        found = await self._admin.list_consumer_group_offsets(
            self._group, partitions=self._partitions
        )
        return [max(0, found[partition].offset) for partition in self._partitions]
