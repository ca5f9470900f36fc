"""The topics: their names, what they are made with, and making them.

What it is: one table of declarations and one function that sees to it that the broker has them.
Who calls it: ``stream.app`` before it subscribes; the demo and tests before they send.
What it must never know: what is in a record.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from stream.connection import client_options
from stream.settings import Settings

log = logging.getLogger(__name__)

OPERATORS = "operators"
DECLARATIONS = "declarations"
HOLDS = "holds"
PORT_EVENTS = "port-events"
DECISIONS = "decisions"
ALERTS = "alerts"
REJECTS = "rejects"
#: What the workers need to know to take a partition over (``stream.partition``).
UNIT_STATES = "unit-states"
#: What the workers add up (``stream.owned_partition`` publishes it); nobody else's affair.
VOLUMES = "volumes"
STOCK = "stock"
OPERATOR_ACTIVITY = "operator-activity"
#: In the order in which the engine gives them.
AGGREGATES = (VOLUMES, STOCK, OPERATOR_ACTIVITY)

#: Customs' side, in the order in which it is loaded; the index is the engine's number of the topic.
CUSTOMS = (OPERATORS, DECLARATIONS, HOLDS)
#: Topics in which a unit has the same partition number.
COPARTITIONED = (PORT_EVENTS, DECISIONS, ALERTS, REJECTS, UNIT_STATES)

# Between two attempts while no broker answers; each is logged.
RETRY_S = 2.0
# A new topic's leaders are known to all brokers within milliseconds; on a loaded one it may take
# seconds.
SETTLE_S_MAX = 30.0

# Copies of a topic where the settings leave it open.
REPLICATION_MAX = 3

DAY_MS = 86_400_000
FOREVER_MS = -1
# A customs record may have 1 MiB; the rest is room for its key and the batch around it.
CUSTOMS_MESSAGE_BYTES_MAX = 2 << 20
# Cells change each second, and a broker compacts only segments that are closed. Smaller ones make
# more files; larger ones make whoever sums up read more of what is superseded.
AGGREGATE_SEGMENT_BYTES = 32 << 20
# The same for the states of units: what a restore reads is at most a few segments more than the
# states themselves. Half of a segment may be superseded before it is compacted.
STATES_SEGMENT_BYTES = 64 << 20
STATES_DIRTY_RATIO = 0.3
# Of what the worker writes. A state is as large as the unit's history, 32 to 1,985 bytes an event
# (stream.engine_calls says what becomes of one that is larger); a decision names each declaration
# that was weighed, and 16,000 of them pass the broker's 1 MiB. What the broker refuses for its size
# it refuses for ever, and the partition stands still.
WRITTEN_MESSAGE_BYTES_MAX = 64 << 20


class TopicsError(RuntimeError):
    """The broker's topics can't be used as they are; the message says why and what to do."""


@dataclass(frozen=True)
class TopicDeclaration:
    """How a topic is made if it is not there: name without prefix, partitions, configuration."""

    name: str
    partitions: int
    config: Mapping[str, str]


def declarations(settings: Settings) -> list[TopicDeclaration]:
    """All topics of the contract, and the worker's own.

    Retention goes by the records' timestamps. History is sent with its own dates, so on what comes
    in it must be off, or a year of the past would be deleted as soon as it arrived. What the worker
    writes is stamped by the broker (LogAppendTime): there retention counts from the answer, and
    answers to history are kept as long as any others.
    """
    compacted = {
        "cleanup.policy": "compact",
        "max.message.bytes": str(CUSTOMS_MESSAGE_BYTES_MAX),
    }
    aggregate = {"cleanup.policy": "compact", "segment.bytes": str(AGGREGATE_SEGMENT_BYTES)}
    states = {
        "cleanup.policy": "compact",
        "segment.bytes": str(STATES_SEGMENT_BYTES),
        "min.cleanable.dirty.ratio": str(STATES_DIRTY_RATIO),
        "max.message.bytes": str(WRITTEN_MESSAGE_BYTES_MAX),
    }
    history = {"cleanup.policy": "delete", "retention.ms": str(FOREVER_MS)}
    written = {
        **history,
        "max.message.bytes": str(WRITTEN_MESSAGE_BYTES_MAX),
        "message.timestamp.type": "LogAppendTime",
    }
    days = settings.decisions_retention_days
    decided = {**written, "retention.ms": str(days * DAY_MS if days >= 0 else FOREVER_MS)}
    return [
        TopicDeclaration(OPERATORS, settings.customs_partitions, compacted),
        TopicDeclaration(DECLARATIONS, settings.customs_partitions, compacted),
        TopicDeclaration(HOLDS, settings.customs_partitions, compacted),
        TopicDeclaration(PORT_EVENTS, settings.partitions, history),
        TopicDeclaration(DECISIONS, settings.partitions, decided),
        TopicDeclaration(ALERTS, settings.partitions, written),
        TopicDeclaration(REJECTS, settings.partitions, written),
        TopicDeclaration(UNIT_STATES, settings.partitions, states),
        TopicDeclaration(VOLUMES, settings.customs_partitions, aggregate),
        TopicDeclaration(STOCK, settings.customs_partitions, aggregate),
        TopicDeclaration(OPERATOR_ACTIVITY, settings.customs_partitions, aggregate),
    ]


async def ensure_topics(settings: Settings) -> dict[str, int]:
    """Makes the topics that are missing; returns the number of partitions of each, by plain name.

    Waits, with a message, for as long as no broker answers.

    Raises:
        TopicsError: if the broker refuses a topic, or if topics in which a unit has one partition
            have different numbers of partitions.
    """
    while True:
        admin = AIOKafkaAdminClient(client_id="gatejoin-topics", **client_options(settings))
        try:
            await admin.start()
            counts = await _ensure(admin, settings)
        except KafkaError as error:
            if not (error.retriable or type(error).__name__ == "KafkaConnectionError"):
                raise TopicsError(f"the broker at {settings.broker} refuses: {error!r}") from error
            log.warning("no broker at %s yet (%s); waiting", settings.broker, error)
            await asyncio.sleep(RETRY_S)
        else:
            _check_copartitioned(settings, counts)
            return counts
        finally:
            await admin.close()


async def _ensure(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, int]:
    wanted = {settings.topic(topic.name): topic for topic in declarations(settings)}
    existing = set(await admin.list_topics())
    brokers = (await admin.describe_cluster())["brokers"]
    replication = settings.replication or min(REPLICATION_MAX, len(brokers))
    missing = [
        NewTopic(name, topic.partitions, replication, topic_configs=dict(topic.config))
        for name, topic in wanted.items()
        if name not in existing
    ]
    if missing:
        response = await admin.create_topics(missing)
        for name, code, *message in response.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:  # another worker was faster
                raise TopicsError(
                    f"the broker refuses to make topic {name}: {message[0] if message else error}"
                )
        log.info("made topics %s", ", ".join(topic.name for topic in missing))
    counts = await settled(admin, wanted)
    return {topic.name: counts[name] for name, topic in wanted.items()}


async def settled(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, int]:
    """Partitions of each of these topics (full names), once all have leaders; new ones take a
    moment. Raises TopicsError if that lasts."""
    deadline = asyncio.get_running_loop().time() + SETTLE_S_MAX
    while True:
        described = await admin.describe_topics(list(names))
        counts = {
            topic["topic"]: len(topic["partitions"])
            for topic in described
            if not topic["error_code"] and all(p["leader"] >= 0 for p in topic["partitions"])
        }
        if len(counts) == len(names):
            return counts
        if asyncio.get_running_loop().time() > deadline:
            absent = sorted(name for name in names if name not in counts)
            raise TopicsError(
                f"after {SETTLE_S_MAX:.0f} s topics {', '.join(absent)} still have partitions "
                "without a leader; look at the brokers"
            )
        await asyncio.sleep(0.1)


def _check_copartitioned(settings: Settings, counts: Mapping[str, int]) -> None:
    if len({counts[name] for name in COPARTITIONED}) > 1:
        found = ", ".join(f"{settings.topic(name)} has {counts[name]}" for name in COPARTITIONED)
        raise TopicsError(
            f"{found} partitions, but a unit must have the same partition number in all of them: "
            "delete and make again the ones that carry nothing yet"
        )
