"""The topics, against a real Kafka: made once, as declared, and refused if they can't work."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.settings import Settings
from stream.topics import TopicsError, declarations, ensure_topics
from tests.stream.kafka_tools import make_topic


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
            **dict.fromkeys(("port-events", "decisions", "alerts", "rejects"), 3),
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


def test_copartitioned_topics_that_differ_are_refused(kafka: str, topic_prefix: str) -> None:
    settings = Settings(broker=kafka, topic_prefix=topic_prefix, partitions=3)

    async def scenario() -> None:
        await make_topic(kafka, settings.topic("decisions"), 2)
        with pytest.raises(TopicsError, match="decisions has 2, .*alerts has 3 partitions"):
            await ensure_topics(settings)

    asyncio.run(scenario())
