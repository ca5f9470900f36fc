"""Quix Streams: apply() over a dict, orjson for the JSON, large batches for its clients."""

import gc

import job
import orjson
from quixstreams import Application


def main() -> None:
    declared = job.load_declared()
    gc.freeze()
    job.wait_for_go()
    app = Application(
        broker_address=job.BROKER,
        consumer_group=job.GROUP,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_interval=5.0,
        loglevel="ERROR",
        consumer_extra_config={
            "fetch.max.bytes": 4 * job.FETCH_BYTES,
            "max.partition.fetch.bytes": job.FETCH_BYTES,
            "queued.min.messages": 200_000,
        },
        producer_extra_config={
            "acks": 1,
            "enable.idempotence": False,
            "linger.ms": 20,
            "batch.size": 1 << 20,
        },
    )
    events = app.topic(job.EVENTS, value_deserializer="bytes")
    decisions = app.topic(job.DECISIONS, value_serializer="bytes")
    loads, dumps, decide = orjson.loads, orjson.dumps, job.decide
    frame = app.dataframe(events)
    frame = frame.apply(lambda value: dumps(decide(declared, loads(value))))
    frame.to_topic(decisions)
    app.run()


if __name__ == "__main__":
    main()
