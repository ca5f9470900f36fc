"""A ceiling: gatejoin's transport alone, runs fetched and decoded and nothing done with them.

Prints one line of JSON: events, seconds from the first request to the last run, processor seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import time

from aiokafka.structs import TopicPartition

from stream.transport import RunConsumer
from stream.transport.fetcher import FETCH_BYTES_MAX


async def run() -> None:
    consumer = RunConsumer(
        bootstrap_servers=os.environ["PIPELINE_BROKER"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_bytes=FETCH_BYTES_MAX,
    )
    await consumer.start()
    await asyncio.sleep(0)  # aiokafka's consumer can't be stopped before its tasks have begun
    numbers = os.environ["PIPELINE_PARTITIONS"].split(",")
    consumer.assign(
        [TopicPartition(os.environ["PIPELINE_EVENTS"], int(number)) for number in numbers]
    )
    wanted = int(os.environ["PIPELINE_COUNT"])
    started, cpu = time.monotonic(), time.process_time()
    seen = 0
    while seen < wanted:
        for runs in (await consumer.get_runs(1.0)).values():
            seen += sum(len(fetched.run) for fetched in runs)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
    await consumer.stop()
    print(json.dumps({"events": seen, "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    asyncio.run(run())
