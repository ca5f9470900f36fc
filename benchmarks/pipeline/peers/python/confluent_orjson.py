"""confluent-kafka (librdkafka), orjson and a dict.

Tuned as its users do where it has to be fast: consume() of many messages at a time, offsets
committed in the background, produce() into librdkafka's own batches.
"""

import gc

import job
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

MESSAGES_AT_ONCE = 10_000


def main() -> None:
    declared = job.load_declared()
    gc.freeze()  # a million tuples that never change need not be looked at
    job.wait_for_go()
    consumer = Consumer(
        {
            "bootstrap.servers": job.BROKER,
            "group.id": job.GROUP,
            "auto.offset.reset": "earliest",
            "fetch.max.bytes": 4 * job.FETCH_BYTES,
            "max.partition.fetch.bytes": job.FETCH_BYTES,
            "queued.min.messages": 200_000,
            "check.crcs": False,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": job.BROKER,
            "acks": 1,
            "linger.ms": 20,
            "batch.size": 1 << 20,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 1 << 20,
        }
    )
    consumer.assign([TopicPartition(job.EVENTS, number) for number in job.PARTITIONS])
    loads, dumps, decide, produce = orjson.loads, orjson.dumps, job.decide, producer.produce
    topic = job.DECISIONS
    while True:
        for message in consumer.consume(MESSAGES_AT_ONCE, 0.01):
            decision = dumps(decide(declared, loads(message.value())))
            try:
                produce(topic, decision, message.key(), message.partition())
            except BufferError:
                producer.poll(1.0)
                produce(topic, decision, message.key(), message.partition())
        producer.poll(0)


if __name__ == "__main__":
    main()
