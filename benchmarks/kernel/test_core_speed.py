"""The whole core against the same job in Python: Kafka's bytes to the row of each event's unit.

Measured: record batches decoded with their CRC checked, JSON scanned, units looked up, in fetches
of about 2,000 events. The peer is what one would write without the core and is given its best:
aiokafka's codec, msgspec into a Struct that garbage collection need not track, a dict. It looks at
nothing but the unit; the core converts and checks every field on the way, and takes lots as well.
"""

from __future__ import annotations

import numpy
import pytest

from benchmarks.kernel.populations import EVENTS, make_queries, rounds
from benchmarks.kernel.port_events import fetched_batches, make_events, struct_decoder
from benchmarks.kernel.turns import compare, note_answer
from core_ext.event_scanner import Scanner
from core_ext.record_batch import FetchDecoder
from core_ext.unit_index import MISS

ROUNDS = 9
RECORDS_PER_BATCH = 60
RECORDS_PER_FETCH = 34 * RECORDS_PER_BATCH
LZ4 = 3


def make_fetches(events, codec: int) -> list[bytes]:
    """The events as a consumer gets them: some dozens of batches at once."""
    batches = fetched_batches(events, RECORDS_PER_BATCH, codec)
    per_fetch = RECORDS_PER_FETCH // RECORDS_PER_BATCH
    return [
        b"".join(batches[start : start + per_fetch]) for start in range(0, len(batches), per_fetch)
    ]


@pytest.mark.benchmark(group="whole core against aiokafka, msgspec and a dict")
@pytest.mark.parametrize("codec", [0, LZ4], ids=["plain", "lz4"])
def test_core(benchmark, population, rows_of, codec):
    from aiokafka.record import MemoryRecords

    msgspec = pytest.importorskip("msgspec")

    queries = make_queries(population, 95)
    events = make_events(queries.numbers[:EVENTS], known_order=True)
    expected = queries.rows[:EVENTS]
    fetches = make_fetches(events, codec)
    scanner = Scanner()
    columns = scanner.scan_port_events(events.text, events.offsets, index=population.index)
    rows = numpy.empty(EVENTS, numpy.int32)

    def join():
        done = 0
        for fetched in fetches:
            for run in FetchDecoder(fetched):
                found = scanner.scan_port_events(run, index=population.index, out=columns)
                rows[done : done + len(run)] = found["row"]
                done += len(run)

    decode = struct_decoder(msgspec).decode

    def join_in_python():
        get = rows_of.get
        found = []
        for fetched in fetches:
            records = MemoryRecords(fetched)
            while records.has_next():
                batch = records.next_batch()
                assert batch.validate_crc()
                found += [get(decode(record.value).unit, MISS) for record in batch]
        return found

    join()
    assert (rows == expected).all()
    assert join_in_python() == expected.tolist()
    note_answer(benchmark, rows)
    compare(
        benchmark,
        "core_by_python_lz4" if codec else "core_by_python",
        f"{len(population.keys):,} units, 95 % hits",
        join,
        join_in_python,
        count=EVENTS,
        rounds=rounds(ROUNDS),
    )
