"""The topics, against a real Kafka: made once, as declared, and refused if they can't work."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.cli import main
from stream.settings import Settings
from stream.topics import (
    ALERTS,
    COPARTITIONED,
    DECISIONS,
    REJECTS,
    UNIT_STATES,
    TopicsError,
    declarations,
    ensure_topics,
)
from tests.stream.kafka_tools import WAIT_S_MAX, make_topic, read, send


async def configuration(broker: str, topic: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}
    finally:
        await admin.close()


def test_missing_topics_are_made_as_declared(kafka: str, topic_prefix: str) -> None:
    settings = Settings(broker=kafka, topic_prefix=topic_prefix, partitions=3, customs_partitions=2)

    async def scenario() -> None:
        first, second = await asyncio.gather(ensure_topics(settings), ensure_topics(settings))
        assert first == second
        assert first == {
            **dict.fromkeys(("operators", "declarations", "holds"), 2),
            **dict.fromkeys(COPARTITIONED, 3),
            **dict.fromkeys(("volumes", "stock", "operator-activity"), 2),
        }
        for topic in declarations(settings):
            found = await configuration(kafka, settings.topic(topic.name))
            assert {name: found[name] for name in topic.config} == topic.config

    asyncio.run(scenario())


def test_history_is_never_deleted_for_its_dates() -> None:
    """Retention by record timestamps may only be on where the broker sets the timestamps."""
    for topic in declarations(Settings()):
        if topic.config["cleanup.policy"] == "delete" and topic.config["retention.ms"] != "-1":
            assert topic.config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize("name", [DECISIONS, ALERTS, REJECTS, UNIT_STATES])
def test_what_a_worker_writes_may_be_larger_than_a_broker_takes_by_default(
    kafka: str, topic_prefix: str, name: str
) -> None:
    value = bytes(20 << 20)  # the broker of the tests takes 16 MiB where a topic says nothing

    async def scenario() -> None:
        settings = Settings(broker=kafka, topic_prefix=topic_prefix)
        await ensure_topics(settings)
        await send(kafka, settings.topic(name), [(b"key", value, 0, 0)])
        ((_, _, _, found, _),) = await read(kafka, settings.topic(name), settings.partitions)
        assert found == value

    asyncio.run(scenario())


def test_copartitioned_topics_that_differ_are_refused(kafka: str, topic_prefix: str) -> None:
    settings = Settings(broker=kafka, topic_prefix=topic_prefix, partitions=3)

    async def scenario() -> None:
        await make_topic(kafka, settings.topic("decisions"), 2)
        with pytest.raises(TopicsError, match="decisions has 2, .* has 3 partitions"):
            await ensure_topics(settings)

    asyncio.run(scenario())


def test_topics_are_planned_and_applied(
    kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def topics(action: str, **settings: object) -> tuple[int, list[str], str]:
        for name, value in settings.items():
            monkeypatch.setenv(f"GATEJOIN_{name.upper()}", str(value))
        status = main(["topics", action])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    settings = {"broker": kafka, "topic_prefix": topic_prefix, "partitions": 2,
                "customs_partitions": 1, "decisions_retention_days": 1826}  # fmt: skip
    count = len(declarations(Settings()))
    status, planned, _ = topics("plan", **settings)
    assert status == 0 and len(planned) == count
    assert planned[0].startswith(
        f"create  {topic_prefix}operators: 1 partitions, 1 copies, cleanup"
    )
    assert topics("apply")[:2] == (0, planned)
    assert topics("plan")[:2] == (0, ["all topics are as declared"])
    # What was set by somebody else stays when the configuration is extended.
    full = f"{topic_prefix}decisions"
    asyncio.run(alter(kafka, full, {**asyncio.run(own(kafka, full)), "segment.ms": "3600000"}))
    longer = [f"alter   {full}: retention.ms 157766400000 -> -1"]
    assert topics("apply", decisions_retention_days=-1)[:2] == (0, longer)
    assert asyncio.run(own(kafka, full)) == {
        "cleanup.policy": "delete",
        "max.message.bytes": str(64 << 20),
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "-1",
        "segment.ms": "3600000",
    }
    # Less retention would delete, other partitions would move units: nothing at all is done.
    status, planned, complaint = topics("apply", decisions_retention_days=7, partitions=3)
    assert status == 1 and complaint.count("\n") == 1 and "nothing was done" in complaint
    refused = [line for line in planned if line.startswith("refuse ")]
    assert any(
        f"{full} keeps records for -1 ms, declared are 604800000" in line for line in refused
    )
    assert any("GATEJOIN_PARTITIONS=2, or move to a new" in line for line in refused)
    assert asyncio.run(own(kafka, full))["retention.ms"] == "-1"


async def own(broker: str, topic: str) -> dict[str, str]:
    """What of a topic's configuration was set on the topic itself."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        return {entry[0]: entry[1] for entry in answer.resources[0][4] if entry[3] == 1}
    finally:
        await admin.close()


async def alter(broker: str, topic: str, config: dict[str, str]) -> None:
    """Returns when the broker tells the new configuration: it hears of it from the controller."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, config)])
    finally:
        await admin.close()
    deadline = time.monotonic() + WAIT_S_MAX
    while await own(broker, topic) != config:
        assert time.monotonic() < deadline


def test_a_broker_without_access_control_says_so(
    kafka: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("GATEJOIN_BROKER", kafka)
    assert main(["access", "plan"]) == 1
    assert "the broker refuses: No Authorizer is configured" in capsys.readouterr().err
