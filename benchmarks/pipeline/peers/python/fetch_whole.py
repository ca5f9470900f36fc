"""A ceiling: aiokafka fetching record batches whole, none of them opened.

Prints one line of JSON: events, seconds from the first response to the last, processor seconds.
"""

import json
import os
import time

import job
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher


class WholeRecords(fetcher.PartitionRecords):
    """Yields batches as they came instead of records."""

    def _unpack_records(self):
        while self._records.has_next():
            batch = self._records.next_batch()
            self.next_fetch_offset = batch.next_offset
            yield batch


fetcher.PartitionRecords = WholeRecords


async def run() -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.BROKER,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=job.FETCH_BYTES,
        fetch_max_bytes=job.FETCH_BYTES,
        check_crcs=False,
    )
    await consumer.start()
    partitions = [TopicPartition(job.EVENTS, number) for number in job.PARTITIONS]
    consumer.assign(partitions)
    wanted = int(os.environ["PIPELINE_COUNT"])
    ends = await consumer.end_offsets(partitions)
    await consumer.seek_to_beginning(*partitions)
    assert sum(ends.values()) >= wanted
    started, cpu = time.monotonic(), time.process_time()
    seen = 0
    while seen < wanted:
        for batches in (await consumer.getmany(timeout_ms=1000)).values():
            for batch in batches:
                seen += batch.next_offset - batch.base_offset
    print(
        json.dumps(
            {
                "events": seen,
                "seconds": time.monotonic() - started,
                "cpu_seconds": time.process_time() - cpu,
            }
        )
    )
    await consumer.stop()


if __name__ == "__main__":
    uvloop.run(run())
