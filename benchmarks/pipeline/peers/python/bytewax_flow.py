"""Bytewax: a Kafka source and sink of ten thousand messages a batch, one map over a batch."""

import gc

import bytewax.operators as op
import job
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

MESSAGES_AT_ONCE = 10_000


def flow() -> Dataflow:
    declared = job.load_declared()
    gc.freeze()
    loads, dumps, decide = orjson.loads, orjson.dumps, job.decide

    def decide_all(messages: list) -> list:
        return [
            KafkaSinkMessage(message.key, dumps(decide(declared, loads(message.value))))
            for message in messages
        ]

    source = KafkaSource(
        [job.BROKER],
        [job.EVENTS],
        batch_size=MESSAGES_AT_ONCE,
        add_config={
            "fetch.max.bytes": str(4 * job.FETCH_BYTES),
            "max.partition.fetch.bytes": str(job.FETCH_BYTES),
            "queued.min.messages": "200000",
        },
    )
    sink = KafkaSink(
        [job.BROKER],
        job.DECISIONS,
        add_config={
            "acks": "1",
            "linger.ms": "20",
            "batch.size": str(1 << 20),
            "queue.buffering.max.messages": "2000000",
            "queue.buffering.max.kbytes": str(1 << 20),
        },
    )
    job.wait_for_go()
    dataflow = Dataflow("gate")
    messages = op.input("events", dataflow, source)
    decided = op.flat_map_batch("decide", messages, decide_all)
    op.output("decisions", decided, sink)
    return dataflow


if __name__ == "__main__":
    cli_main(flow())
