"""The event scanner and the record batch codec against the libraries one would use instead.

Measured on what one fetch brings, about 1 MiB: port events of ten fields to columns, keys in a
known order and in any; record batches to records with their CRC checked, and back, plain and with
lz4. Peers: msgspec, orjson, simdjson's on-demand parser; aiokafka's codec. The scanner converts and
checks all that the contract asks for (dates to microseconds, words to numbers, weights to grams,
units normalised) and writes columns; the peers leave texts
as texts. What they make is thrown away every thousand events, with garbage collection off, which
is the best that can be done for them.

Targets are for warm caches, which each side has from a call before: a consumer's fetch was written
a moment ago and its columns are those of the last fetch. The cold cases, each side right after the
other, say what is lost if something else had the caches; a peer's own objects are 8 MB.
"""

from __future__ import annotations

import json
from operator import itemgetter

import numpy
import pytest

from benchmarks.kernel.populations import FETCH_EVENTS, rounds, spread_keys
from benchmarks.kernel.port_events import (
    FIELDS,
    Events,
    build_batches,
    fetched_batches,
    make_events,
    struct_decoder,
)
from benchmarks.kernel.turns import compare, note_answer
from core_ext import container_number
from core_ext.event_scanner import Scanner
from core_ext.record_batch import FetchDecoder, encode_columns

ROUNDS = 40
PIECE = 1000
LZ4 = 3


@pytest.fixture(scope="module", params=[True, False], ids=["known-order", "any-order"])
def events(request):
    """The same events; whether all keys stand in one order."""
    numbers = container_number.unpack(spread_keys(0, FETCH_EVENTS))
    made = make_events(numbers, known_order=request.param)
    made.known_order = request.param
    return made


def columns_of(events: Events):
    """A scanner and its columns, compared with what the json module reads."""
    scanner = Scanner()
    columns = scanner.scan_port_events(events.text, events.offsets)
    assert not columns["reason"].any()
    read = [json.loads(value) for value in events.values]
    for name in ("eventID", "operatorID", "locationCode", "unit"):
        assert columns[name].tolist() == [event[name].encode() for event in read]
    assert (columns["weightGrams"] == [event["weightKg"] * 1000 for event in read]).all()
    times = numpy.array([event["eventDateTime"][:-6] for event in read], "M8[us]").astype("i8")
    assert (columns["eventDateTime"] == times - 7 * 3_600_000_000).all()
    return scanner, columns


def compare_scan(benchmark, row, events, theirs, warm=True):
    scanner, columns = columns_of(events)
    note_answer(benchmark, *columns.values())
    compare(
        benchmark,
        row,
        f"{len(events.text) // len(events.values)} bytes an event" + ("" if warm else ", cold"),
        lambda: scanner.scan_port_events(events.text, events.offsets, out=columns),
        theirs,
        count=len(events.values),
        rounds=rounds(ROUNDS),
        counts=warm,
        warm=warm,
    )


CACHES = pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])


@pytest.mark.benchmark(group="JSON scan against msgspec")
@CACHES
def test_msgspec(benchmark, events, warm):
    decode = struct_decoder(pytest.importorskip("msgspec")).decode
    assert [decode(value).unit for value in events.values] == events.units

    def read():
        for start in range(0, len(events.values), PIECE):
            [decode(value) for value in events.values[start : start + PIECE]]

    row = "scan_by_msgspec" if events.known_order else "scan_by_msgspec_any"
    compare_scan(benchmark, row, events, read, warm)


@pytest.mark.benchmark(group="JSON scan against msgspec's lines")
def test_msgspec_lines(benchmark, events):
    decoder = struct_decoder(pytest.importorskip("msgspec"))
    pieces = [
        b"\n".join(events.values[start : start + PIECE])
        for start in range(0, len(events.values), PIECE)
    ]
    assert [event.unit for piece in pieces for event in decoder.decode_lines(piece)] == events.units

    def read():
        for piece in pieces:
            decoder.decode_lines(piece)

    compare_scan(benchmark, "scan_by_msgspec_lines", events, read)


@pytest.mark.benchmark(group="JSON scan against orjson")
def test_orjson(benchmark, events):
    loads, fields = pytest.importorskip("orjson").loads, itemgetter(*FIELDS)
    assert [loads(value)["unit"] for value in events.values] == events.units

    def read():
        for start in range(0, len(events.values), PIECE):
            [fields(loads(value)) for value in events.values[start : start + PIECE]]

    compare_scan(benchmark, "scan_by_orjson", events, read)


@pytest.mark.benchmark(group="JSON scan against simdjson on-demand")
def test_on_demand(benchmark, events, on_demand):
    """Where the order is known it asks for the fields in that order, else it walks all keys."""
    text = events.padded(on_demand.padding)
    expected = sum(
        value if name == "weightKg" else len(value)
        for event in map(json.loads, events.values)
        for name, value in event.items()
    )
    for in_order in {events.known_order, False}:
        assert on_demand.scan(text, events.offsets, in_order) == expected
    row = "scan_by_on_demand_known" if events.known_order else "scan_by_on_demand"
    compare_scan(
        benchmark, row, events, lambda: on_demand.scan(text, events.offsets, events.known_order)
    )


@pytest.fixture(scope="module")
def plain_events():
    """Events for the codec, which does not care what they say."""
    numbers = container_number.unpack(spread_keys(0, FETCH_EVENTS))
    return make_events(numbers, known_order=True)


@pytest.mark.benchmark(group="record batch decode against aiokafka")
@pytest.mark.parametrize("records_per_batch", [60, 1000])
@pytest.mark.parametrize("codec", [0, LZ4], ids=["plain", "lz4"])
@CACHES
def test_decode(benchmark, plain_events, records_per_batch, codec, warm):
    """Both walk every record; aiokafka makes an object of each, which is what it is for."""
    from aiokafka.record import MemoryRecords

    fetched = b"".join(fetched_batches(plain_events, records_per_batch, codec))

    def decode():
        return [len(run) for run in FetchDecoder(fetched)]

    def decode_by_aiokafka():
        records = MemoryRecords(fetched)
        while records.has_next():
            batch = records.next_batch()
            assert batch.validate_crc()
            for record in batch:
                record.value  # noqa: B018, the attribute is the point

    values = [value for run in FetchDecoder(fetched) for _, value, _, _ in run]
    assert values == plain_events.values
    note_answer(benchmark, numpy.frombuffer(b"".join(values), numpy.uint8))
    compare(
        benchmark,
        "decode_by_aiokafka_lz4" if codec else "decode_by_aiokafka",
        f"{records_per_batch} records a batch" + ("" if warm else ", cold"),
        decode,
        decode_by_aiokafka,
        count=len(values),
        rounds=rounds(ROUNDS),
        counts=warm,
        warm=warm,
    )


@pytest.mark.benchmark(group="record batch encode against aiokafka")
@pytest.mark.parametrize("records_per_batch", [60, 1000])
@pytest.mark.parametrize("codec", [0, LZ4], ids=["plain", "lz4"])
@CACHES
def test_encode(benchmark, plain_events, records_per_batch, codec, warm):
    """lz4 at the level that both take by default, through the same library."""
    events = plain_events

    def encode():
        return encode_columns(
            events.text,
            events.offsets,
            None,
            None,
            events.timestamps_ms,
            max_batch_records=records_per_batch,
            compression="lz4" if codec else "none",
        )

    batches = encode()
    assert values_of(batches) == events.values
    note_answer(benchmark, numpy.frombuffer(b"".join(batches), numpy.uint8))
    compare(
        benchmark,
        "encode_by_aiokafka_lz4" if codec else "encode_by_aiokafka",
        f"{records_per_batch} records a batch" + ("" if warm else ", cold"),
        encode,
        lambda: build_batches(events, records_per_batch, codec),
        count=len(events.values),
        rounds=rounds(5 if codec else 9),
        counts=warm,
        warm=warm,
    )


def values_of(batches: list[bytes]) -> list[bytes]:
    """The values of batches that all begin at offset 0."""
    return [value for batch in batches for run in FetchDecoder(batch) for _, value, _, _ in run]
