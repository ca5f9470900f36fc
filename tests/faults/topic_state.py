"""What the topics hold, as the verifier wants it: read uncommitted, with what is committed.

Called by the fault harness and the fail-over measurement. It must never know what is right.
"""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

from stream import topics
from stream.settings import Settings
from stream.topic_reader import runs_to_end
from stream.transport import RunConsumer
from tests.faults.verifier import OUTPUTS, Evidence, Record, Sighting

READ = (*topics.CUSTOMS, topics.PORT_EVENTS, *OUTPUTS, topics.VOLUMES, topics.STOCK)


class TopicState:
    """A reader of one installation's topics. Raises aiokafka's KafkaError while brokers are away.

    Args:
        settings: where the broker and the topics are.
        counts: partitions of each topic, by plain name.
    """

    def __init__(self, settings: Settings, counts: dict[str, int]) -> None:
        self.settings = settings
        self.counts = counts
        self._consumer: RunConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def start(self) -> None:
        # The worker's own reader: it also passes the markers with which a log may end.
        self._consumer = RunConsumer(
            bootstrap_servers=self.settings.broker,
            client_id="faults-reader",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_uncommitted",
        )
        await self._consumer.start()
        self._admin = AIOKafkaAdminClient(
            bootstrap_servers=self.settings.broker, client_id="faults-admin"
        )
        await self._admin.start()

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
        if self._admin is not None:
            await self._admin.close()

    def partitions(self, *names: str) -> list[TopicPartition]:
        return [
            TopicPartition(self.settings.topic(name), number)
            for name in names
            for number in range(self.counts[name])
        ]

    async def ends(self, *names: str) -> dict[tuple[str, int], int]:
        """Where partitions of topics end, by plain name and number."""
        assert self._consumer is not None, "start() comes first"
        ends = await self._consumer.end_offsets(self.partitions(*names))
        prefix = self.settings.topic_prefix
        return {(part.topic.removeprefix(prefix), part.partition): ends[part] for part in ends}

    async def committed(self) -> dict[int, int]:
        """The offset of each partition of port-events that the workers have committed."""
        assert self._admin is not None, "start() comes first"
        offsets = await self._admin.list_consumer_group_offsets(
            self.settings.group_id, partitions=self.partitions(topics.PORT_EVENTS)
        )
        return {part.partition: max(0, offset.offset) for part, offset in offsets.items()}

    async def leader(self, name: str, partition: int) -> int:
        """The node that leads a partition."""
        assert self._admin is not None, "start() comes first"
        (topic,) = await self._admin.describe_topics([self.settings.topic(name)])
        return next(
            int(one["leader"]) for one in topic["partitions"] if one["partition"] == partition
        )

    async def delete(self, name: str) -> None:
        """Deletes a topic; on return no broker knows it."""
        assert self._admin is not None, "start() comes first"
        topic = self.settings.topic(name)
        while topic in await self._admin.list_topics():
            await self._admin.delete_topics([topic])

    async def sighting(self) -> Sighting:
        """What is committed, and where the outputs end after that was seen."""
        committed = await self.committed()
        return Sighting(committed, await self.ends(*OUTPUTS))

    async def read(self, name: str) -> list[Record]:
        """All records of a topic, in order of partition and offset."""
        assert self._consumer is not None, "start() comes first"
        records = [
            Record(fetched.partition, offset, key, value, timestamp_ms)
            async for fetched in runs_to_end(self._consumer, self.partitions(name))
            for key, value, offset, timestamp_ms in fetched.run
        ]
        return sorted(records)

    async def evidence(
        self, loaded: dict[tuple[str, int], int], sightings: list[Sighting]
    ) -> Evidence:
        """Everything that the verifier wants."""
        committed = await self.committed()
        return Evidence(
            self.counts[topics.PORT_EVENTS],
            {name: await self.read(name) for name in READ},
            committed,
            loaded,
            self.settings.topic_prefix,
            sightings,
        )
