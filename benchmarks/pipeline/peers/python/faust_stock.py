"""Stock Faust at its best: uvloop, take() of many events, no work that can be switched off.

``stream_wait_empty=False`` and a large buffer keep the agent busy; decisions are sent without
waiting for each. PIPELINE_FAUST=plain runs the agent as Faust's documentation writes it.
"""

import os

os.environ.setdefault("FAUST_LOOP", "uvloop")

import faust
import job
import orjson
from faust.worker import Worker

app = faust.App(
    job.GROUP,
    broker=f"kafka://{job.BROKER}",
    store="memory://",
    web_enabled=False,
    topic_allow_declare=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    stream_wait_empty=False,
    stream_buffer_maxsize=65_536,
    consumer_max_fetch_size=job.FETCH_BYTES,
    producer_acks=1,
    producer_linger_ms=20,
    producer_max_batch_size=512 << 10,
    autodiscover=False,
)
events = app.topic(job.EVENTS, value_type=bytes, value_serializer="raw", key_serializer="raw")
decisions = app.topic(job.DECISIONS, value_serializer="raw", key_serializer="raw")
declared: job.Declared = {}


async def decide(value: bytes) -> None:
    decision = job.decide(declared, orjson.loads(value))
    unit = decision["unit"].encode()
    await decisions.send(key=unit, value=orjson.dumps(decision))


async def answer_each(stream: faust.Stream) -> None:
    async for value in stream:
        await decide(value)


async def answer_many(stream: faust.Stream) -> None:
    async for values in stream.take(2000, within=0.05):
        for value in values:
            await decide(value)


app.agent(events)(answer_each if os.environ.get("PIPELINE_FAUST") == "plain" else answer_many)


if __name__ == "__main__":
    declared |= job.load_declared()
    job.wait_for_go()
    Worker(app, loglevel="error", quiet=True, redirect_stdouts=False).execute_from_commandline()
