"""aiokafka, msgspec and a dict, on uvloop.

At its best: getmany() takes what was fetched at once, msgspec reads only the fields that the job
needs, send_batch() sends batches built here instead of a future for each record.
"""

import asyncio
import gc

import job
import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

BATCH_BYTES = 512 << 10
BATCHES_UNDER_WAY_MAX = 16


class Event(msgspec.Struct):
    eventID: str  # noqa: N815
    operatorID: str  # noqa: N815
    locationCode: str  # noqa: N815
    unit: str


class Decision(msgspec.Struct):
    eventID: str  # noqa: N815
    operatorID: str  # noqa: N815
    locationCode: str  # noqa: N815
    unit: str
    outcome: str
    reason: str


async def run() -> None:
    declared = job.load_declared()
    gc.freeze()
    job.wait_for_go()
    decode, encode = msgspec.json.Decoder(Event).decode, msgspec.json.Encoder().encode
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.BROKER,
        group_id=job.GROUP,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=job.FETCH_BYTES,
        fetch_max_bytes=4 * job.FETCH_BYTES,
        check_crcs=False,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=job.BROKER, acks=1, max_batch_size=BATCH_BYTES, linger_ms=0
    )
    await producer.start()
    await consumer.start()
    consumer.assign([TopicPartition(job.EVENTS, number) for number in job.PARTITIONS])
    under_way: set[asyncio.Future] = set()

    async def send(batch: object, partition: int) -> None:
        while len(under_way) >= BATCHES_UNDER_WAY_MAX:
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        future = await producer.send_batch(batch, job.DECISIONS, partition=partition)
        under_way.add(future)
        future.add_done_callback(under_way.discard)

    verdict = job.verdict
    while True:
        fetched = await consumer.getmany(timeout_ms=100, max_records=10_000)
        for topic_partition, messages in fetched.items():
            batch = producer.create_batch()
            for message in messages:
                event = decode(message.value)
                outcome, reason = verdict(declared, event.unit, event.locationCode)
                value = encode(Decision(event.eventID, event.operatorID, event.locationCode,
                                        event.unit, outcome, reason))  # fmt: skip
                if batch.append(key=message.key, value=value, timestamp=None) is None:
                    await send(batch, topic_partition.partition)
                    batch = producer.create_batch()
                    batch.append(key=message.key, value=value, timestamp=None)
            await send(batch, topic_partition.partition)


if __name__ == "__main__":
    uvloop.run(run())
