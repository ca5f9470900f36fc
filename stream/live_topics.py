"""The live topics for people's commands: each read once, from its beginning to where it ends now.

What it is: a reader without a consumer group that gives up with one clear line where the worker
would wait, tells a terminal how far it is, and turns records into lines of a log.
Who calls it: ``stream.live_report`` and ``stream.live_why``.
What it must never know: what a record means.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import TextIO

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from stream.connection import BrokerRefusesError, check_connection, client_options
from stream.settings import Settings
from stream.topic_reader import runs_to_end, start_consumer
from stream.transport import PartitionRun, RunConsumer

# A broker that is there answers within milliseconds; a person waits no longer than this.
BROKER_S_MAX = 10.0
# How long a broker that has answered may then be silent, for one that is being restarted.
STALLED_S_MAX = 30.0
# How often a terminal is told how far the reading is.
PROGRESS_S = 0.2


class LiveTopicsError(RuntimeError):
    """The topics can't be read. One line: broker or topic, reason, remedy."""


class Progress:
    """One line on a terminal that says how far reading is; nothing where nobody looks.

    Args:
        command: whose line it is.
        file: the terminal; standard error if None.
    """

    def __init__(self, command: str, file: TextIO | None = None) -> None:
        self._command = command
        self._file = sys.stderr if file is None else file
        self._told_at = 0.0
        self._width = 0

    def tell(self, topic: str, share: float) -> None:
        """Says that a share (0 to 1) of a topic has been read."""
        if not self._file.isatty() or time.monotonic() - self._told_at < PROGRESS_S:
            return
        self._told_at = time.monotonic()
        text = f"{self._command}: reading {topic}: {100 * share:.0f} %"
        self._file.write("\r" + text.ljust(self._width))
        self._file.flush()
        self._width = len(text)

    def clear(self) -> None:
        """Takes the line away."""
        if self._width:
            self._file.write("\r" + " " * self._width + "\r")
            self._file.flush()
            self._width = 0


class LiveTopics:
    """The topics of one installation; use it in an ``async with`` statement.

    Args:
        settings: where the broker and the topics are.
        progress: told how far each topic has been read.

    Raises:
        LiveTopicsError: on entering, if no broker answers or it refuses us.
    """

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._progress = progress
        self._counts: dict[str, int] = {}
        self._consumer: RunConsumer | None = None

    async def __aenter__(self) -> LiveTopics:
        # What these have to say of a broker that is away is said here, once.
        for name in ("aiokafka", "stream.topic_reader"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            async with asyncio.timeout(BROKER_S_MAX):
                await check_connection(self._settings)
                self._counts = await self._count_partitions()
                self._consumer = await start_consumer(self._settings, "gatejoin-reader")
        except BrokerRefusesError as error:
            raise LiveTopicsError(str(error)) from None
        except (TimeoutError, KafkaError, OSError):
            raise LiveTopicsError(
                f"no broker answers at {self._settings.broker}: "
                "set GATEJOIN_BROKER to the host:port of one"
            ) from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.clear()
        if self._consumer is not None:
            await self._consumer.stop()

    async def _count_partitions(self) -> dict[str, int]:
        admin = AIOKafkaAdminClient(client_id="gatejoin-reader", **client_options(self._settings))
        try:
            await admin.start()
            # Only of topics that exist: to ask for others can make a broker create them.
            prefix = self._settings.topic_prefix
            names = [name for name in await admin.list_topics() if name.startswith(prefix)]
            described = await admin.describe_topics(names) if names else []
            return {topic["topic"]: len(topic["partitions"]) for topic in described}
        finally:
            await admin.close()

    def partition_count(self, name: str) -> int:
        """Partitions of a topic, by its plain name; LiveTopicsError if there is no such topic."""
        topic = self._settings.topic(name)
        if topic not in self._counts:
            raise LiveTopicsError(
                f"the broker at {self._settings.broker} has no topic {topic}: start a worker "
                "there, or set GATEJOIN_TOPIC_PREFIX to the one that is used there"
            )
        return self._counts[topic]

    async def runs(self, name: str, partition: int | None = None) -> AsyncIterator[PartitionRun]:
        """Yields what a topic (plain name), or one partition of it, holds now, run by run.

        Raises LiveTopicsError if there is no such topic or reading it fails.
        """
        assert self._consumer is not None, "enter first"
        topic = self._settings.topic(name)
        count = self.partition_count(name)
        numbers = range(count) if partition is None else (partition,)
        try:
            async for run in runs_to_end(
                self._consumer,
                [TopicPartition(topic, number) for number in numbers],
                lambda share: self._progress.tell(topic, share),
                stalled_s_max=STALLED_S_MAX,
            ):
                yield run
        except KafkaError as error:
            raise LiveTopicsError(
                f"{topic} can't be read from {self._settings.broker} ({_reason(error)}): "
                "look at the broker, then ask again"
            ) from None

    async def latest(self, name: str) -> dict[bytes, bytes]:
        """The last value of each key of a compacted topic; removed keys are left out."""
        latest: dict[bytes, bytes] = {}
        async for fetched in self.runs(name):
            for key, value, _, _ in fetched.run:
                if key is None:
                    continue
                if value is None:
                    latest.pop(key, None)
                else:
                    latest[key] = value
        return latest


def log_line(topic: str, timestamp_ms: int, key: bytes | None, value: bytes | None) -> bytes:
    """A record as a line of a log (CONTRACT.md, section 6), without its end.

    What is no UTF-8 is refused by the engine whatever it says, and becomes an empty value.
    """
    line: dict[str, str | int | None] = {"topic": topic, "timestamp": max(0, timestamp_ms)}
    line["key"] = None if key is None else key.decode("utf-8", "replace")
    try:
        line["value"] = None if value is None else value.decode()
    except UnicodeDecodeError:
        line["value"] = ""
    return json.dumps(line).encode()


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
