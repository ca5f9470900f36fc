"""SILENT_OPERATOR: a connected operator of whom nothing has come for the configured time.

What it is: a watch over all operators, kept by one worker for the whole installation: the owner of
partition 0 of port-events.
Who calls it: ``stream.gate``, if GATEJOIN_SILENT_OPERATOR_MINUTES is not 0.
What it must never know: what an operator has sent.

Each worker sees only the events of its own partitions. So each publishes, with its other aggregates
(``stream.engine_calls``), when an operator last spoke on a partition: the compacted topic
operator-activity, keyed operatorID/partition. The watch follows that topic and the operators.
Three things make an alert safe to raise:

* An operator is silent only as far as the workers have come: activity is published before offsets
  are committed, so a partition whose committed offset lies before the judged moment keeps the watch
  from judging. A worker that catches up after an outage raises no false alarm.
* Each silence has one ID, SILENT_OPERATOR/operatorID/since. Before an alert is raised, the
  alerts that were written since it fell due are looked through for it, so that a worker that takes
  partition 0 over does not raise it again.
* Where the newest word of any operator is older than a day, history is being read, and nobody is
  silent in history.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from core_ext.record_batch import OutputRun, RecordRun
from stream import record_json, topics
from stream.connection import client_options
from stream.engine_calls import encode_cells
from stream.live_registry import LiveRegistry
from stream.metric_collectors import SilentOperators
from stream.moments import day_of, midnight_us, utc_text
from stream.settings import Settings
from stream.topic_reader import POLL_S, runs_to_end, start_consumer

MINUTE_MS = 60_000
# How often silence is looked for. A silence is minutes long, so seconds do not matter.
CHECK_S = 5.0
# What is judged is this long ago, so that what was sent by then has been answered, also by a
# worker that is a little behind.
SETTLE_MS = 30_000
# A newest word that is older is history's.
LIVE_MS = 86_400_000
# By so much the clocks of brokers and workers may differ.
CLOCKS_MS = 300_000


#: Hands batches to the producer; the futures are done when the broker has them.
Submit = Callable[[str, int, list[tuple[bytes, int]]], list["asyncio.Future[int]"]]


class Silence(NamedTuple):
    """An operator that has been silent for too long; times in milliseconds."""

    operator_id: str
    since_ms: int
    due_ms: int

    @property
    def alert_id(self) -> str:
        """The alert's ID, the same whoever raises it."""
        part = self.operator_id.replace("%", "%25").replace("/", "%2F")
        return f"SILENT_OPERATOR/{part}/{utc_text(self.since_ms * 1000)}"


class Watch:
    """What is known of who has spoken; no I/O.

    Args:
        silent_minutes: how long an operator may be silent, from 1.
    """

    def __init__(self, silent_minutes: int) -> None:
        self._silent_ms = silent_minutes * MINUTE_MS
        self._operators = LiveRegistry()
        self._spoke_ms: dict[str, int] = {}

    def take_operators(self, run: RecordRun) -> None:
        """Takes the next run of operators."""
        self._operators.take(run)

    def take_activity(self, run: RecordRun) -> None:
        """Takes the next run of operator-activity."""
        for _, value, _, _ in run:
            if value is not None:
                activity = record_json.loads(value)
                operator_id, spoke_ms = activity["operatorID"], activity["timestamp"]
                self._spoke_ms[operator_id] = max(spoke_ms, self._spoke_ms.get(operator_id, 0))

    def silences(self, as_of_ms: int) -> list[Silence]:
        """The silences that had fallen due by a moment, by operatorID.

        Silence begins with an operator's last word, or with the day on which it was connected. One
        that has spoken after the moment is not silent, whatever came before.
        """
        if as_of_ms - max(self._spoke_ms.values(), default=0) > LIVE_MS:
            return []
        day = day_of(as_of_ms * 1000)
        found = []
        for operator_id, operator in self._operators.registry.as_of(day).items():
            if operator.connected_day is None or not operator.connected(day):
                continue
            connected_ms = midnight_us(operator.connected_day) // 1000
            since_ms = max(connected_ms, self._spoke_ms.get(operator_id, 0))
            silence = Silence(operator_id, since_ms, since_ms + self._silent_ms)
            if silence.due_ms <= as_of_ms:
                found.append(silence)
        return found


def alert_value(silence: Silence) -> bytes:
    """The alert's record (CONTRACT.md, section 3); raised when it fell due."""
    return json.dumps(
        {
            "alertID": silence.alert_id,
            "type": "SILENT_OPERATOR",
            "unit": None,
            "operatorID": silence.operator_id,
            "locationCode": None,
            "eventID": None,
            "detail": {
                "silentSince": utc_text(silence.since_ms * 1000),
                "silentMinutes": (silence.due_ms - silence.since_ms) // MINUTE_MS,
            },
            "raisedDateTime": utc_text(silence.due_ms * 1000),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()


class SilenceWatch:
    """Follows the topics and raises the alerts while this worker is on duty.

    Args:
        settings: where the broker is, how long an operator may be silent.
        partition_counts: partitions of each topic, by plain name.
        submit: sends to a topic (plain name).
        is_on_duty: whether this worker owns partition 0 of port-events and has its state.
        silent_operators: told who is silent, as far as this worker has to say so.
    """

    def __init__(
        self,
        settings: Settings,
        partition_counts: Mapping[str, int],
        submit: Submit,
        is_on_duty: Callable[[], bool],
        silent_operators: SilentOperators,
    ) -> None:
        self._settings = settings
        self._silent_operators = silent_operators
        self._partition_counts = partition_counts
        self._submit = submit
        self._is_on_duty = is_on_duty
        self._watch = Watch(settings.silent_operator_minutes)
        #: Of each operator the beginning of the silence that was raised last.
        self._raised_ms: dict[str, int] = {}

    async def run(self) -> None:
        """Loads, follows and raises, until cancelled."""
        takers = {
            self._settings.topic(topics.OPERATORS): self._watch.take_operators,
            self._settings.topic(topics.OPERATOR_ACTIVITY): self._watch.take_activity,
        }
        consumer = await start_consumer(self._settings, "gatejoin-silence")
        try:
            partitions = self._partitions(topics.OPERATORS, topics.OPERATOR_ACTIVITY)
            async for fetched in runs_to_end(consumer, partitions):
                takers[fetched.topic](fetched.run)
            looked_at = time.monotonic()
            while True:
                for partition, runs in (await consumer.get_runs(POLL_S)).items():
                    for fetched in runs:
                        takers[partition.topic](fetched.run)
                if time.monotonic() - looked_at >= CHECK_S:
                    looked_at = time.monotonic()
                    await self._look()
        finally:
            await consumer.stop()

    def _partitions(self, *names: str) -> list[TopicPartition]:
        return [
            TopicPartition(self._settings.topic(name), number)
            for name in names
            for number in range(self._partition_counts[name])
        ]

    async def _look(self) -> None:
        if not self._is_on_duty():
            self._silent_operators.since_ms = {}
            return
        as_of_ms = time.time_ns() // 1_000_000 - SETTLE_MS
        lasting: list[Silence] = []
        silences: list[Silence] = []
        for silence in self._watch.silences(as_of_ms):
            raised = self._raised_ms.get(silence.operator_id) == silence.since_ms
            (lasting if raised else silences).append(silence)
        self._silent_operators.since_ms = {
            silence.operator_id: silence.since_ms for silence in lasting
        }
        if not silences or not await self._is_answered(as_of_ms):
            return
        published = await self._published(silences)
        if not self._is_on_duty():
            return
        output = OutputRun()
        for silence in silences:
            if silence.alert_id not in published:
                output.append(silence.operator_id.encode(), alert_value(silence), 0, as_of_ms)
        for batches in encode_cells(
            [(topics.ALERTS, output)], self._partition_counts, self._settings.compression
        ):
            for acknowledgement in self._submit(*batches):
                await acknowledgement
        self._raised_ms.update((silence.operator_id, silence.since_ms) for silence in silences)

    async def _is_answered(self, as_of_ms: int) -> bool:
        """Whether every port event from before a moment has been answered and committed."""
        partitions = self._partitions(topics.PORT_EVENTS)
        consumer = await start_consumer(self._settings, "gatejoin-silence-offsets")
        try:
            consumer.assign(partitions)
            begins = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, as_of_ms))
        finally:
            await consumer.stop()
        admin = AIOKafkaAdminClient(
            client_id="gatejoin-silence-offsets", **client_options(self._settings)
        )
        try:
            await admin.start()
            committed = await admin.list_consumer_group_offsets(
                self._settings.group_id, partitions=partitions
            )
        finally:
            await admin.close()
        for partition in partitions:
            later = found.get(partition)
            needed = ends[partition] if later is None else later.offset
            if needed > begins[partition] and committed[partition].offset < needed:
                return False
        return True

    async def _published(self, silences: list[Silence]) -> set[str]:
        """The IDs of those of some silences whose alert is written already."""
        output = OutputRun()
        for silence in silences:
            output.append(silence.operator_id.encode(), None, 0, silence.due_ms)
        output.partition_by_key(self._partition_counts[topics.ALERTS])
        due_ms: dict[int, int] = {}
        for _, _, number, timestamp_ms in output:
            due_ms[number] = min(timestamp_ms, due_ms.get(number, timestamp_ms))
        wanted = {silence.operator_id.encode() for silence in silences}
        found: set[str] = set()
        consumer = await start_consumer(self._settings, "gatejoin-silence-alerts")
        try:
            for number, first_ms in due_ms.items():
                partition = TopicPartition(self._settings.topic(topics.ALERTS), number)
                consumer.assign([partition])
                begin = await consumer.offsets_for_times({partition: max(0, first_ms - CLOCKS_MS)})
                if begin.get(partition) is None:
                    continue  # nothing was written since
                async for fetched in runs_to_end(
                    consumer, [partition], begin=begin[partition].offset
                ):
                    for key, value, _, _ in fetched.run:
                        if key in wanted and value is not None:
                            alert = record_json.loads(value)
                            if alert.get("type") == "SILENT_OPERATOR":
                                found.add(alert["alertID"])
        finally:
            await consumer.stop()
        return found
