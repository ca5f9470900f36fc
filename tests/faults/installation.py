"""One installation under test: its topics, a sender that never rests, and workers to be broken.

Called by the fault harness. Several installations share a Kafka, each with a topic prefix of its
own. It must never know when or why something is broken, or what is right.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from stream import topics
from stream.local_kafka import LONG_MAX, ports_choose
from stream.settings import Settings
from stream.topics import declarations, ensure_topics
from tests.faults.cluster import ProxiedKafka
from tests.faults.topic_state import TopicState
from tests.faults.verifier import OUTPUTS, Sighting, Verdict, verify
from tests.faults.workload import Sent, Workload, operators

PARTITIONS, CUSTOMS_PARTITIONS = 4, 2
SESSION_TIMEOUT_S = 6.0
# Whoever does nothing for so long does nothing any more: brokers and connections that are broken
# meanwhile come back within seconds, but on a loaded machine each takes its time.
PROGRESS_S_MAX = 240.0
POLL_S = 0.1
# How long something may still come when all offsets are committed.
LAST_WORDS_S_MAX = 15.0
# Records sent at once, at most; small worlds need not come in small batches.
BURST_RECORDS_MAX = 120


class StuckError(AssertionError):
    """The workers do nothing any more, though nothing is broken."""


async def until(
    what: str, condition: Callable[[], Awaitable[bool]], wait_s_max: float = PROGRESS_S_MAX
) -> None:
    """Waits until ``condition`` holds; an answer that no broker gives is none."""
    deadline = time.monotonic() + wait_s_max
    while True:
        why = ""
        try:
            if await asyncio.wait_for(condition(), 10):
                return
        except (KafkaError, TimeoutError, OSError) as error:
            why = f" ({error!r})"
        if time.monotonic() > deadline:
            raise StuckError(f"not {what} within {wait_s_max:.0f} s{why}")
        await asyncio.sleep(POLL_S)


def inherited() -> dict[str, str]:
    """The environment without settings of the tests' own, which a worker would refuse."""
    return {name: text for name, text in os.environ.items() if not name.startswith("GATEJOIN_")}


class WorkerProcess:
    """A place for a worker: the process that runs there now, and its log."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        #: Whether a worker is meant to run there, and its end is none of our doing.
        self.is_wanted = False

    def start(self, kafka: ProxiedKafka, environment: dict[str, str]) -> None:
        (self.port,) = ports_choose(1)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stream", "worker"],
                env={**inherited(), **environment, "GATEJOIN_WEB_PORT": str(self.port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal is the harness's affair.
                start_new_session=True,
            )
        kafka.adopt(self.process.pid)
        self.is_wanted = True

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is not None and self.is_running:
            self.process.send_signal(number)

    async def ended(self, wait_s_max: float = 30.0) -> int:
        """Waits for the end of the process; its exit status."""
        assert self.process is not None, "start() comes first"
        return await asyncio.to_thread(self.process.wait, wait_s_max)

    async def is_ready(self) -> bool:
        def ask() -> bool:
            address = f"http://127.0.0.1:{self.port}/readyz"
            try:
                with urllib.request.urlopen(address, timeout=2) as response:
                    return bool(response.status == 200)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                return False

        return self.is_running and await asyncio.to_thread(ask)

    def tail(self, lines: int = 30) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Installation:
    """Topics, sender and workers.

    Args:
        kafka: where; workers reach it through its proxies.
        name: tells installations apart.
        seed: of the workload and of the sender's pace.
        directory: for the workers' logs.
        workers: how many places there are.
        is_static: each place keeps one identity in the group, whoever runs there.
        rate: records a second, on average.
    """

    def __init__(
        self,
        kafka: ProxiedKafka,
        name: str,
        seed: str,
        directory: Path,
        *,
        workers: int = 2,
        is_static: bool = False,
        rate: float = 60.0,
    ) -> None:
        self.kafka = kafka
        self.name = name
        self.random = Random(f"{seed}/pace")
        self.is_static = is_static
        self.rate = rate
        self.directory = directory
        self.settings = Settings(
            broker=kafka.bootstrap_servers,
            topic_prefix=f"{name}.",
            partitions=PARTITIONS,
            customs_partitions=CUSTOMS_PARTITIONS,
        )
        self.workload = Workload(seed, PARTITIONS, CUSTOMS_PARTITIONS)
        self.places = [
            WorkerProcess(f"{name}-{number}", directory / f"{name}-{number}.log")
            for number in range(1, workers + 1)
        ]
        self.sent = 0
        self.sightings: list[Sighting] = []
        self.loaded: dict[tuple[str, int], int] = {}
        self.topics: TopicState
        self._producer: AIOKafkaProducer | None = None
        self._sending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # Nothing of customs' topics may be compacted, since the verifier needs it all. Segments end
        # by the records' own dates, which here are years apart.
        await self._make_topics(*topics.CUSTOMS, **{"segment.ms": str(LONG_MAX)})
        counts = await ensure_topics(self.settings)
        self.topics = TopicState(self.settings, counts)
        await self.topics.start()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self.settings.broker,
            client_id="faults-sender",
            enable_idempotence=True,
            linger_ms=2,
        )
        await self._producer.start()
        for sent in operators(CUSTOMS_PARTITIONS):
            await self.send(sent)
        self.loaded = await self.topics.ends(*topics.CUSTOMS)
        for place in self.places:
            self.run(place)
        self._sending = asyncio.create_task(self._send_for_ever())

    async def _make_topics(self, *names: str, **config: str) -> None:
        """Makes topics as they are declared, but for ``config``."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.broker)
        await admin.start()
        try:
            await admin.create_topics(
                [
                    NewTopic(
                        self.settings.topic(declared.name),
                        declared.partitions,
                        len(self.kafka.nodes),
                        topic_configs={**declared.config, **config},
                    )
                    for declared in declarations(self.settings)
                    if declared.name in names
                ]
            )
        finally:
            await admin.close()

    async def stop(self) -> None:
        """Ends everything; nothing is left to be seen."""
        if self._sending is not None:
            self._sending.cancel()
        for place in self.places:
            await self.kill(place)
        if self._producer is not None:
            await self._producer.stop()
            await self.topics.stop()

    # ---- workers ----

    def environment(self, place: WorkerProcess) -> dict[str, str]:
        settings = {
            "GATEJOIN_BROKER": self.kafka.proxied_servers,
            "GATEJOIN_TOPIC_PREFIX": self.settings.topic_prefix,
            "GATEJOIN_PARTITIONS": str(PARTITIONS),
            "GATEJOIN_CUSTOMS_PARTITIONS": str(CUSTOMS_PARTITIONS),
            "GATEJOIN_SESSION_TIMEOUT_S": str(SESSION_TIMEOUT_S),
            "GATEJOIN_COMMIT_INTERVAL_S": "0.5",
        }
        if self.is_static:
            settings["GATEJOIN_INSTANCE_ID"] = place.name
        return settings

    def run(self, place: WorkerProcess) -> None:
        """Starts a worker in a place."""
        place.start(self.kafka, self.environment(place))

    def more(self) -> WorkerProcess:
        """One more place."""
        name = f"{self.name}-{1 + max(int(place.name.rsplit('-', 1)[1]) for place in self.places)}"
        self.places.append(WorkerProcess(name, self.directory / f"{name}.log"))
        return self.places[-1]

    async def kill(self, place: WorkerProcess) -> None:
        """Kills the worker of a place, as kill -9 does."""
        place.is_wanted = False
        if place.is_running:
            place.signal(signal.SIGKILL)
            await place.ended()

    async def restart(self, place: WorkerProcess) -> None:
        """Stops the worker of a place in good order and starts another there at once."""
        place.is_wanted = False
        place.signal(signal.SIGTERM)
        await place.ended(60)
        self.run(place)

    async def twin(self, place: WorkerProcess) -> str:
        """Starts a second worker with the identity of the one in a place, and waits until one of
        the two has ended; the other has the place. Returns the last words of the one that ended."""
        twin = WorkerProcess(place.name, self.directory / f"{place.name}-twin.log")
        self.run(twin)
        place.is_wanted = False
        try:

            async def one_ended() -> bool:
                return not (place.is_running and twin.is_running)

            await until(f"one of two: {place.name}", one_ended)
            ended = twin if place.is_running else place
            words = ended.tail(1)
            if ended is place:
                place.process, twin.process = twin.process, place.process
                place.port = twin.port
        finally:
            await self.kill(twin)
            place.is_wanted = True
        return words

    async def leave(self, place: WorkerProcess) -> None:
        """Stops the worker of a place in good order; the place is gone."""
        place.is_wanted = False
        place.signal(signal.SIGTERM)
        await place.ended(60)
        self.places.remove(place)

    async def until_ready(self, place: WorkerProcess) -> None:
        await until(f"ready: {place.name}", place.is_ready)

    async def until_progress(self, *, everywhere: bool = False) -> None:
        """Waits until more has been committed than now is, in some or in each partition."""
        before: dict[int, int] = {}

        async def has_more() -> bool:
            committed = await self.topics.committed()
            if not before:
                before.update(committed)
            more = [committed[number] > before[number] for number in committed]
            return all(more) if everywhere else any(more)

        await until(f"further: {self.name}", has_more)

    async def sight(self) -> None:
        """Notes what is committed and where the outputs end, if the brokers say so now."""
        with contextlib.suppress(KafkaError, TimeoutError, OSError):
            self.sightings.append(await asyncio.wait_for(self.topics.sighting(), 5))

    async def has_states(self) -> bool:
        """Whether some partition's changelog holds something: made anew it is empty until the first
        commit."""
        return any(record.value for record in await self.topics.read(topics.UNIT_STATES))

    async def damage(self, how: Callable[[bytes], bytes]) -> bool:
        """Puts a damaged copy of some record of some partition behind it in the changelog; whether
        there was one to damage. No worker may run."""
        number = self.random.randrange(PARTITIONS)
        records = [
            record
            for record in await self.topics.read(topics.UNIT_STATES)
            if record.partition == number and record.value
        ]
        if not records:
            return False
        record = self.random.choice(records)
        # A producer of its own, that numbers nothing: the topic may have been made anew meanwhile.
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.broker)
        await producer.start()
        try:
            await producer.send_and_wait(
                self.settings.topic(topics.UNIT_STATES),
                how(record.value or b""),
                record.key,
                number,
            )
        finally:
            await producer.stop()
        return True

    async def empty_changelog(self) -> None:
        """Deletes the changelog's topic and makes it anew. No worker may run."""
        await self.topics.delete(topics.UNIT_STATES)
        await self._make_topics(topics.UNIT_STATES)

    # ---- records ----

    async def send(self, sent: Sent) -> None:
        """Sends one record, however long it takes, and waits until it is there."""
        assert self._producer is not None, "start() comes first"
        while True:
            try:
                await self._producer.send_and_wait(
                    self.settings.topic(sent.topic),
                    sent.value,
                    sent.key,
                    sent.partition,
                    sent.timestamp_ms,
                )
            except KafkaError:  # what is sent twice is in the input twice, which the verifier sees
                await asyncio.sleep(POLL_S)
            else:
                self.sent += 1
                return

    async def _send_for_ever(self) -> None:
        records = self.workload.records()
        while True:
            burst = self.random.randint(1, BURST_RECORDS_MAX)
            pause = asyncio.create_task(asyncio.sleep(burst / self.rate))
            # Together, so that they travel in batches.
            await asyncio.gather(*(self.send(next(records)) for _ in range(burst)))
            await pause

    async def finish(self) -> Verdict:
        """Sends the roll call, waits until all is answered, and returns what the verifier says.

        Call it when nothing is broken any more and workers run.
        """
        assert self._sending is not None, "start() comes first"
        self._sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sending
        assert self._producer is not None
        await self._producer.flush()
        roll_call = list(self.workload.roll_call(time.time_ns() // 1000))
        await asyncio.gather(*map(self.send, roll_call))
        await until("all committed", self._is_all_committed)
        # What customs' side brought about is not behind any offset, so some of it may still come.
        outputs = (*OUTPUTS, topics.VOLUMES, topics.STOCK)
        deadline = time.monotonic() + LAST_WORDS_S_MAX
        while True:
            ends = await self.topics.ends(*outputs)
            evidence = await self.topics.evidence(self.loaded, self.sightings)
            verdict = await asyncio.to_thread(verify, evidence)
            if not verdict.problems:
                return verdict
            while await self.topics.ends(*outputs) == ends:
                if time.monotonic() > deadline:
                    return verdict
                await asyncio.sleep(POLL_S)

    async def _is_all_committed(self) -> bool:
        ends = await self.topics.ends(topics.PORT_EVENTS)
        committed = await self.topics.committed()
        return all(ends[topics.PORT_EVENTS, number] == committed[number] for number in committed)
