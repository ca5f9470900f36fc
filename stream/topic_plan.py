"""What is to be done so that a broker's topics are as declared, and doing it.

What it is: the comparison of ``stream.topics``' declaration with a broker, and its outcome.
Who calls it: ``stream.topics_command``.
What it must never know: what is in a record.

Nothing is done that could lose records or move a unit to another partition: such a difference is
refused, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import UnknownTopicOrPartitionError, for_code

from stream.connection import client_options
from stream.settings import Settings
from stream.topics import (
    AGGREGATES,
    CUSTOMS,
    REPLICATION_MAX,
    TopicDeclaration,
    TopicsError,
    declarations,
    settled,
)

# Kafka's number of a value that was set on the topic itself.
SET_ON_TOPIC = 1
FOREVER_MS = -1


@dataclass(frozen=True)
class Present:
    """A topic as the broker has it; ``own`` is what of its configuration was set on itself."""

    partitions: int
    replication: int
    config: dict[str, str]
    own: dict[str, str]


@dataclass
class Plan:
    """What differs. ``create`` and ``alter`` can be done, ``refused`` can't, ``notes`` are said."""

    create: list[TopicDeclaration] = field(default_factory=list)
    alter: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    present: dict[str, Present] = field(default_factory=dict)
    replication: int = 1

    def lines(self, settings: Settings) -> list[str]:
        """The plan for people, one difference a line."""
        told = []
        for topic in self.create:
            config = ", ".join(f"{name}={value}" for name, value in topic.config.items())
            told.append(
                f"create  {settings.topic(topic.name)}: {topic.partitions} partitions, "
                f"{self.replication} copies, {config}"
            )
        for name, changes in self.alter.items():
            for key, value in changes.items():
                before = self.present[name].config.get(key, "unset")
                told.append(f"alter   {settings.topic(name)}: {key} {before} -> {value}")
        told += [f"refuse  {reason}" for reason in self.refused]
        told += [f"note    {note}" for note in self.notes]
        return told or ["all topics are as declared"]


async def make_plan(settings: Settings) -> Plan:
    """Compares; raises TopicsError if the broker refuses, aiokafka's KafkaError if none answers."""
    admin = AIOKafkaAdminClient(client_id="gatejoin-topics", **client_options(settings))
    try:
        await admin.start()
        wanted = declarations(settings)
        present = await _present(admin, [settings.topic(topic.name) for topic in wanted])
        brokers = (await admin.describe_cluster())["brokers"]
    finally:
        await admin.close()
    plan = Plan(replication=settings.replication or min(REPLICATION_MAX, len(brokers)))
    for topic in wanted:
        found = present.get(settings.topic(topic.name))
        if found is None:
            plan.create.append(topic)
        else:
            plan.present[topic.name] = found
            _compare(plan, settings, topic, found)
    return plan


def _compare(plan: Plan, settings: Settings, topic: TopicDeclaration, found: Present) -> None:
    name = settings.topic(topic.name)
    if found.partitions != topic.partitions:
        is_shared = topic.name in (*CUSTOMS, *AGGREGATES)
        setting = "CUSTOMS_PARTITIONS" if is_shared else "PARTITIONS"
        plan.refused.append(
            f"{name} has {found.partitions} partitions, declared are {topic.partitions}: another "
            f"number would move keys to other partitions; set GATEJOIN_{setting}="
            f"{found.partitions}, or move to a new GATEJOIN_TOPIC_PREFIX"
        )
    if found.replication != plan.replication:
        plan.notes.append(
            f"{name} has {found.replication} copies, declared are {plan.replication}: "
            "kafka-reassign-partitions changes that"
        )
    for key, value in topic.config.items():
        before = found.config.get(key)
        if before == value:
            continue
        if key == "cleanup.policy":
            plan.refused.append(
                f"{name} has cleanup.policy {before}, declared is {value}: the change would delete "
                "records; make the topic anew"
            )
        elif key == "retention.ms" and _shorter(value, before):
            plan.refused.append(
                f"{name} keeps records for {before} ms, declared are {value}: less would delete "
                "some; if that is wanted, say so with kafka-configs"
            )
        else:
            plan.alter.setdefault(topic.name, {})[key] = value


def _shorter(wanted: str, before: str | None) -> bool:
    if before is None or int(wanted) == FOREVER_MS:
        return False
    return int(before) == FOREVER_MS or int(wanted) < int(before)


async def apply_plan(settings: Settings, plan: Plan) -> None:
    """Does what can be done of a plan.

    Raises:
        TopicsError: something of the plan is refused (then nothing is done), or the broker refuses.
    """
    if plan.refused:
        raise TopicsError(f"nothing was done: {plan.refused[0]}")
    admin = AIOKafkaAdminClient(client_id="gatejoin-topics", **client_options(settings))
    try:
        await admin.start()
        if plan.create:
            response = await admin.create_topics(
                [
                    NewTopic(
                        settings.topic(topic.name),
                        topic.partitions,
                        plan.replication,
                        topic_configs=dict(topic.config),
                    )
                    for topic in plan.create
                ]
            )
            for name, code, *message in response.topic_errors:
                _check(name, code, message[0] if message else None)
            await settled(admin, [settings.topic(topic.name) for topic in plan.create])
        if plan.alter:
            # The request replaces all that was set on a topic, so what is there goes with it.
            answers = await admin.alter_configs(
                [
                    ConfigResource(
                        ConfigResourceType.TOPIC,
                        settings.topic(name),
                        configs={**plan.present[name].own, **changes},
                    )
                    for name, changes in plan.alter.items()
                ]
            )
            for answer in answers:
                for code, message, _, name in answer.resources:
                    _check(name, code, message)
    finally:
        await admin.close()


async def _present(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Present]:
    # Only of topics that exist: to ask for others can make a broker create them.
    existing = [name for name in await admin.list_topics() if name in names]
    if not existing:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in existing]
    configs: dict[str, dict[str, tuple[str, int]]] = {}
    for answer in await admin.describe_configs(resources):
        for code, message, _, name, entries in answer.resources:
            _check(name, code, message)
            configs[name] = {entry[0]: (entry[1], entry[3]) for entry in entries}
    found = {}
    for topic in await admin.describe_topics(existing):
        name = topic["topic"]
        if topic["error_code"] == UnknownTopicOrPartitionError.errno:
            continue  # deleted meanwhile
        _check(name, topic["error_code"], None)
        found[name] = Present(
            len(topic["partitions"]),
            min(len(partition["replicas"]) for partition in topic["partitions"]),
            {key: value for key, (value, _) in configs[name].items()},
            {key: value for key, (value, source) in configs[name].items()
             if source == SET_ON_TOPIC},
        )  # fmt: skip
    return found


def _check(name: str, code: int, message: str | None) -> None:
    if code:
        raise TopicsError(f"the broker refuses topic {name}: {message or for_code(code).__name__}")
