"""The movement state of a partition, back into the engine's memory after it changed hands.

What it is: reads again what made the state: the partition's events from the first to the last that
was answered (nothing is said of them), then its alerts and decisions (so that nothing is raised
twice, and each check knows how far it had been decided).
Who calls it: ``stream.gate``, when a partition is assigned and before any of its events is applied.
What it must never know: how the engine keeps its state.

The seam is ``restore``: a changelog or a snapshot that makes reading from the first event needless
replaces what is behind it, and nobody else has to know.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from core_ext.record_batch import RecordRun
from stream import topics
from stream.connection import client_options
from stream.settings import Settings
from stream.topic_reader import POLL_S, RETRY_S, start_consumer
from stream.transport import RunConsumer

log = logging.getLogger(__name__)

# What a partition's state is made of, in the order in which it is read.
RESTORED = (topics.PORT_EVENTS, topics.ALERTS, topics.DECISIONS)
# How many of the last decisions are looked at first for the event that they answer; nearly always
# the very last one names it.
DECISIONS_LOOKED_AT = 1000

#: Called with the plain name of the topic and a run of it, in order.
OnRun = Callable[[str, RecordRun], Awaitable[None]]
#: Called with how far the restore is, 0 to 1.
OnProgress = Callable[[float], None]


async def committed_offset(settings: Settings, partition: int) -> int:
    """The first offset of port-events that is not committed, 0 if none ever was.

    Waits, with a message, while no broker answers.
    """
    topic_partition = TopicPartition(settings.topic(topics.PORT_EVENTS), partition)
    while True:
        admin = AIOKafkaAdminClient(client_id="gatejoin-offsets", **client_options(settings))
        try:
            await admin.start()
            offsets = await admin.list_consumer_group_offsets(
                settings.group_id, partitions=[topic_partition]
            )
            return max(0, int(offsets[topic_partition].offset))
        except KafkaError as error:
            log.warning("no word of committed offsets yet (%r); waiting", error)
            await asyncio.sleep(RETRY_S)
        finally:
            await admin.close()


async def answered_offset(
    consumer: RunConsumer, decisions: TopicPartition, port_events: str, begin: int, end: int
) -> int:
    """The offset after the last event that a decision of this partition names as its trigger.

    Offsets are committed after the answers are written, so the answers may be ahead. 0 if no
    decision names one.
    """
    look_back = DECISIONS_LOOKED_AT
    while True:
        position = max(begin, end - look_back)
        answered = 0
        consumer.seek(decisions, position)
        while position < end:
            for fetched in (await consumer.get_runs(POLL_S)).get(decisions, ()):
                for _, value, _, _ in fetched.run:
                    trigger = json.loads(value or b"{}").get("trigger") or {}
                    if trigger.get("topic") == port_events:
                        answered = max(answered, trigger["offset"] + 1)
                position = fetched.run.last_offset + 1
        if answered or end - look_back <= begin:
            return answered
        look_back *= 8  # all of these were about customs' records


async def restore(
    settings: Settings, partition: int, on_run: OnRun, on_progress: OnProgress
) -> None:
    """Reads what made the state of ``partition`` and hands it over run by run.

    Events come first, up to the last one that is committed or that a decision answers; then all
    alerts and decisions that were written before this began. Waits, with a message, while no
    broker answers.
    """
    started = time.monotonic()
    committed = await committed_offset(settings, partition)
    consumer = await start_consumer(settings, f"gatejoin-restore-{partition}")
    try:
        events, decisions, alerts = (
            TopicPartition(settings.topic(name), partition) for name in RESTORED
        )
        begins = await consumer.beginning_offsets([events, decisions, alerts])
        ends = dict(await consumer.end_offsets([events, decisions, alerts]))
        consumer.assign([decisions])
        answered = await answered_offset(
            consumer, decisions, events.topic, begins[decisions], ends[decisions]
        )
        ends[events] = min(max(committed, answered), ends[events])
        total = sum(max(0, ends[part] - begins[part]) for part in ends)
        done = 0
        for name, part in zip(RESTORED, (events, alerts, decisions), strict=True):
            position = begins[part]
            consumer.assign([part])
            consumer.seek(part, position)
            while position < ends[part]:
                for fetched in (await consumer.get_runs(POLL_S)).get(part, ()):
                    if position >= ends[part]:
                        break
                    fetched.run.cut(ends[part])  # what follows has not been answered
                    await on_run(name, fetched.run)
                    done += fetched.run.last_offset + 1 - position
                    position = fetched.run.last_offset + 1
                    on_progress(min(1.0, done / total))
        on_progress(1.0)
        log.info(
            "partition %d: state is back from %d events, decisions and alerts after %.1f s",
            partition,
            done,
            time.monotonic() - started,
        )
    finally:
        await consumer.stop()
