"""The record batch codec against aiokafka's, and against damaged bytes.

Method: aiokafka's codec is the second opinion, in both directions, for every compression; what a
broker may do to batches on top (offsets, log append time, compaction, transactions, cutting the
last batch of a fetch) is done to the bytes by hand; then every byte is damaged in turn.
"""

import os
import struct
import subprocess
import sys
from array import array

import cramjam
import pytest
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import (
    DefaultRecordBatch,
    DefaultRecordBatchBuilder,
    _DefaultRecordBatchBuilderPy,
)
from aiokafka.record.util import calc_crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from core_ext.record_batch import (
    CODECS,
    FetchDecoder,
    OutputRun,
    RecordBatchError,
    RecordRun,
    crc32c,
    encode_columns,
    encode_output,
    with_producer,
)

Record = tuple[bytes | None, bytes | None, int]  # key, value, timestamp_ms
COMPRESSIONS = pytest.mark.parametrize("compression", CODECS)

keys = st.none() | st.binary(max_size=40)
values = st.none() | st.binary(max_size=300) | st.sampled_from([b"", b"x" * 5000])
records_lists = st.lists(st.tuples(keys, values, st.integers(0, 1 << 42)), min_size=1, max_size=60)


def sample(count: int, start: int = 0) -> list[Record]:
    return [
        (
            b"MSCU%07d" % i,
            b'{"eventID":"%d","pad":"%s"}' % (i, b"abcdef" * 20),
            1_600_000_000_000 + i,
        )
        for i in range(start, start + count)
    ]


def aiokafka_batch(
    records: list[Record], compression: str = "none", build: type = DefaultRecordBatchBuilder
) -> bytes:
    builder = build(2, CODECS.index(compression), 0, -1, -1, -1, 1 << 30)
    for i, (key, value, timestamp_ms) in enumerate(records):
        assert builder.append(i, timestamp_ms, key, value, []) is not None
    return bytes(builder.build())


def our_batches(records: list[Record], partition: int = 0, **options: object) -> list[bytes]:
    run = OutputRun()
    for key, value, timestamp_ms in records:
        run.append(key, value, partition, timestamp_ms)
    return [batch for batch, _ in encode_output(run, partition, **options)]


def rewritten(batch: bytes, **fields: int) -> bytes:
    """The batch with header fields replaced as a broker would, its CRC renewed."""
    layout = {
        "base_offset": (0, ">q"),
        "length": (8, ">i"),
        "magic": (16, ">b"),
        "attributes": (21, ">h"),
        "last_offset_delta": (23, ">i"),
        "first_timestamp": (27, ">q"),
        "max_timestamp": (35, ">q"),
        "producer_id": (43, ">q"),
        "record_count": (57, ">i"),
    }
    changed = bytearray(batch)
    for name, value in fields.items():
        at, code = layout[name]
        struct.pack_into(code, changed, at, value)
    struct.pack_into(">I", changed, 17, crc32c(changed[21:]))
    return bytes(changed)


def at_offsets(batches: list[bytes], first: int = 0) -> bytes:
    """The batches back to back with consecutive offsets, as a broker stores them."""
    log = b""
    for batch in batches:
        log += rewritten(batch, base_offset=first)
        first += struct.unpack_from(">i", batch, 23)[0] + 1
    return log


def decoded(data: bytes, *arguments: object, **options: object) -> list[tuple[object, ...]]:
    return [record for run in FetchDecoder(data, *arguments, **options) for record in run]


def with_offsets(records: list[Record], first: int = 0) -> list[tuple[object, ...]]:
    return [(key, value, first + i, ms) for i, (key, value, ms) in enumerate(records)]


# ---- checksum ----


@given(st.binary(max_size=5000), st.integers(0, 7))
def test_crc32c_agrees_with_aiokafka(data: bytes, skip: int) -> None:
    assert crc32c(memoryview(data)[skip:]) == calc_crc32c(data[skip:])


def test_crc32c_by_tables_agrees_with_the_instruction() -> None:
    program = (
        "from core_ext.record_batch import crc32c;"
        "print([crc32c(bytes(i * 7 % 256 for i in range(n))) for n in (0, 1, 9, 400, 4000)])"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "GATEJOIN_SIMD": path},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for path in ("portable", "")
    }
    assert len(answers) == 1
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the CRC catalogue


# ---- against aiokafka ----


@COMPRESSIONS
@settings(deadline=None, max_examples=60)
@given(records=records_lists)
def test_decodes_what_aiokafka_encodes(compression: str, records: list[Record]) -> None:
    assert decoded(aiokafka_batch(records, compression)) == with_offsets(records)


@COMPRESSIONS
@settings(deadline=None, max_examples=60)
@given(records=records_lists)
def test_aiokafka_decodes_what_we_encode(compression: str, records: list[Record]) -> None:
    (batch,) = our_batches(records, compression=compression)
    theirs = DefaultRecordBatch(batch)
    assert theirs.validate_crc()
    assert [(r.key, r.value, r.offset, r.timestamp) for r in theirs] == with_offsets(records)


@pytest.mark.parametrize("compression", [name for name in CODECS if name != "gzip"])
@settings(deadline=None, max_examples=60)
@given(records=records_lists)
def test_encodes_the_bytes_of_aiokafka(compression: str, records: list[Record]) -> None:
    # gzip is left out: Python's gzip writes the present time into its header. The second opinion
    # is aiokafka's Python twin, for its compiled one also sends what compression made larger.
    (ours,) = our_batches(records, compression=compression)
    theirs = aiokafka_batch(records, compression, _DefaultRecordBatchBuilderPy)
    assert ours[:12] == theirs[:12]
    assert ours[16:] == theirs[16:]


@settings(deadline=None)
@given(records=records_lists, bytes_max=st.integers(70, 4000))
def test_splits_batches_where_aiokafka_does(records: list[Record], bytes_max: int) -> None:
    # Again the Python twin: the compiled one takes some negative deltas for a byte longer.
    expected, builder, count = [], None, 0
    for key, value, timestamp_ms in records:
        if builder is None or builder.append(count, timestamp_ms, key, value, []) is None:
            if builder is not None:
                expected.append(bytes(builder.build()))
            builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, bytes_max)
            assert builder.append(0, timestamp_ms, key, value, []) is not None
            count = 0
        count += 1
    assert builder is not None
    expected.append(bytes(builder.build()))
    ours = our_batches(records, batch_bytes_max=bytes_max)
    assert [batch[16:] for batch in ours] == [batch[16:] for batch in expected]


@COMPRESSIONS
@pytest.mark.parametrize("per_batch", [1, 60, 5000])
def test_many_batches_are_one_run(compression: str, per_batch: int) -> None:
    records = sample(5000)
    batches = our_batches(records, compression=compression, batch_records_max=per_batch)
    log = at_offsets(batches, 1000)
    (run,) = FetchDecoder(log)
    assert list(run) == with_offsets(records, 1000)
    assert (run.count, run.batch_count, run.batch_bytes) == (
        5000,
        5000 // per_batch + (5000 % per_batch > 0),
        len(log),
    )
    assert (run.base_offset, run.last_offset) == (1000, 5999)


@COMPRESSIONS
def test_columns_encode_like_rows(compression: str) -> None:
    records = [record for record in sample(500) if record[0] is not None and record[1] is not None]
    value_bytes = b"".join(value or b"" for _, value, _ in records)
    key_bytes = b"".join(key or b"" for key, _, _ in records)
    value_offsets, key_offsets = array("q", [0]), array("q", [0])
    for key, value, _ in records:
        value_offsets.append(value_offsets[-1] + len(value or b""))
        key_offsets.append(key_offsets[-1] + len(key or b""))
    times = array("q", [timestamp_ms for _, _, timestamp_ms in records])
    options = {"compression": compression, "max_batch_bytes": 20_000}
    ours = encode_columns(value_bytes, value_offsets, key_bytes, key_offsets, times, **options)
    assert ours == our_batches(records, compression=compression, batch_bytes_max=20_000)
    assert len(ours) > 2
    keyless = encode_columns(value_bytes, value_offsets, None, None, times, **options)
    assert decoded(at_offsets(keyless)) == with_offsets([(None, v, t) for _, v, t in records])


@pytest.mark.parametrize(
    ("value_offsets", "complaint"),
    [
        ([0, 3], "has 2 entries"),
        ([0, 3, 2], r"value_offsets\[2\] is 2"),
        ([0, 3, 11], r"value_offsets\[2\] is 11"),
        ([-1, 3, 5], r"value_offsets\[0\] is -1"),
    ],
)
def test_columns_that_disagree_are_refused(value_offsets: list[int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        encode_columns(b"0123456789", array("q", value_offsets), None, None, array("q", [1, 2]))


def test_snappy_is_read_raw_and_framed() -> None:
    plain = aiokafka_batch(sample(300))
    for body in (
        bytes(cramjam.snappy.compress_raw(plain[61:])),
        our_batches(sample(300), compression="snappy")[0][61:],
    ):
        batch = rewritten(plain[:61] + body, length=49 + len(body), attributes=2)
        assert decoded(batch) == with_offsets(sample(300))


def test_headers_are_skipped() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for i in range(3):
        builder.append(i, i, b"k", b"v%d" % i, [("trace", b"x" * 100), ("none", None)])
    assert [value for _, value, _, _ in decoded(bytes(builder.build()))] == [b"v0", b"v1", b"v2"]


# ---- what brokers do ----


def test_records_below_the_fetch_position_are_dropped() -> None:
    log = at_offsets(our_batches(sample(100), batch_records_max=10))
    (run,) = FetchDecoder(log, 37)
    assert list(run) == with_offsets(sample(100))[37:]
    assert (run.base_offset, run.last_offset) == (37, 99)


def test_a_fetch_wholly_below_the_position_stays_there() -> None:
    decoder = FetchDecoder(at_offsets(our_batches(sample(10))), 50)
    (run,) = decoder
    assert (run.count, run.last_offset, decoder.next_offset) == (0, 49, 50)


def test_log_append_time_counts_for_every_record() -> None:
    batch = rewritten(aiokafka_batch(sample(5)), attributes=8, max_timestamp=1_700_000_000_123)
    assert {timestamp_ms for *_, timestamp_ms in decoded(batch)} == {1_700_000_000_123}


@COMPRESSIONS
def test_compaction_leaves_gaps_and_the_last_offset(compression: str) -> None:
    builder = DefaultRecordBatchBuilder(2, CODECS.index(compression), 0, -1, -1, -1, 1 << 20)
    for delta in (2, 3, 7):  # 0, 1, 4 to 6 and 8 to 9 were compacted away
        builder.append(delta, 1000 + delta, b"key", b"value" * 50, [])
    batch = rewritten(bytes(builder.build()), base_offset=40, last_offset_delta=9)
    (run,) = FetchDecoder(batch, 40)
    assert [offset for _, _, offset, _ in run] == [42, 43, 47]
    assert (run.base_offset, run.last_offset) == (40, 49)
    empty = rewritten(batch[:61], length=49, record_count=0)
    decoder = FetchDecoder(empty, 40)
    (run,) = decoder
    assert (run.count, run.last_offset, decoder.next_offset) == (0, 49, 50)


@pytest.mark.parametrize("missing", [1, 30, 61, 100])
def test_a_partial_batch_is_left_for_the_next_fetch(missing: int) -> None:
    batches = our_batches(sample(30), batch_records_max=10)
    log = at_offsets(batches)
    decoder = FetchDecoder(log[:-missing])
    (run,) = decoder
    assert list(run) == with_offsets(sample(30))[:20]
    assert decoder.position == len(log) - len(batches[2])
    assert decoder.next_offset == 20


@pytest.mark.parametrize("length", [0, 5, 17, 60, 61, 100])
def test_without_a_whole_batch_there_is_no_run(length: int) -> None:
    decoder = FetchDecoder(aiokafka_batch(sample(3))[:length], 7)
    assert list(decoder) == []
    assert (decoder.position, decoder.next_offset) == (0, 7)


def test_rolled_back_transactions_are_skipped() -> None:
    def transactional(value: bytes, offset: int, producer_id: int) -> bytes:
        batch = aiokafka_batch([(None, value, 1)])
        return rewritten(batch, base_offset=offset, attributes=16, producer_id=producer_id)

    def marker(kind: int, offset: int, producer_id: int) -> bytes:
        batch = aiokafka_batch([(struct.pack(">hh", 0, kind), b"\0" * 6, 1)])
        return rewritten(batch, base_offset=offset, attributes=48, producer_id=producer_id)

    assert ControlRecord.parse(struct.pack(">hh", 0, 0)) == ABORT_MARKER
    log = b"".join(
        [
            transactional(b"kept 0", 0, 7),
            transactional(b"rolled back 1", 1, 8),
            rewritten(aiokafka_batch([(None, b"plain 2", 1)]), base_offset=2, producer_id=8),
            marker(0, 3, 8),
            transactional(b"kept 4", 4, 8),  # the same producer's next transaction
            marker(1, 5, 7),
            marker(1, 6, 8),
        ]
    )
    (run,) = FetchDecoder(log, 0, [(8, 1)])
    assert [value for _, value, _, _ in run] == [b"kept 0", b"plain 2", b"kept 4"]
    assert run.last_offset == 6
    uncommitted = [value for _, value, _, _ in decoded(log)]
    assert uncommitted == [b"kept 0", b"rolled back 1", b"plain 2", b"kept 4"]


# ---- damage ----


@COMPRESSIONS
def test_every_damaged_byte_is_found(compression: str) -> None:
    good = rewritten(aiokafka_batch(sample(4), compression), base_offset=77)
    for at in range(16, len(good)):
        bad = bytearray(good)
        bad[at] ^= 0x40
        with pytest.raises(RecordBatchError, match="record batch at offset 77: ") as caught:
            decoded(bytes(bad))
        assert caught.value.offset == 77


@COMPRESSIONS
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_hostile_bytes_under_a_good_checksum_never_crash(
    compression: str, data: st.DataObject
) -> None:
    bad = bytearray(aiokafka_batch(sample(4), compression))
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(21, len(bad) - 1))] = data.draw(st.integers(0, 255))
    struct.pack_into(">I", bad, 17, crc32c(bad[21:]))
    try:
        list(FetchDecoder(bytes(bad), decompressed_bytes_max=1 << 20))
    except RecordBatchError as error:
        assert str(error).startswith("record batch at offset 0: ")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_crash(data: bytes) -> None:
    try:
        list(FetchDecoder(data))
    except RecordBatchError as error:
        assert str(error).startswith("record batch at offset ")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"magic": 1}, "not message format 2"),
        ({"length": 48}, "length is less than a header's"),
        ({"base_offset": -1}, "offsets are out of order or out of range"),
        ({"base_offset": (1 << 63) - 1}, "offsets are out of order or out of range"),
        ({"last_offset_delta": -1}, "offsets are out of order or out of range"),
        ({"last_offset_delta": 1}, "record 2 of 4: its offset is out of order"),
        ({"record_count": -1}, "number of records is negative"),
        ({"record_count": 2**31 - 1}, "more records are announced"),
        ({"record_count": 3}, "bytes are left after its last record"),
        ({"record_count": 5}, "record 4 of 5: its length does not fit the batch"),
        ({"first_timestamp": (1 << 63) - 1}, "its timestamp does not fit 64 bits"),
        ({"attributes": 5}, "unknown compression codec 5"),
        ({"attributes": 3}, "lz4 cannot decompress it"),
    ],
)
def test_broken_headers_are_named(fields: dict[str, int], complaint: str) -> None:
    bad = rewritten(aiokafka_batch(sample(4)), **fields)
    with pytest.raises(RecordBatchError, match=complaint):
        decoded(bad)


def test_the_whole_batches_before_a_broken_one_come_first() -> None:
    log = bytearray(at_offsets(our_batches(sample(30), batch_records_max=10), 500))
    log[-1] ^= 1
    decoder = FetchDecoder(bytes(log), 500)
    run = next(decoder)
    assert (run.count, run.last_offset, decoder.next_offset) == (20, 519, 520)
    with pytest.raises(RecordBatchError, match="at offset 520: its CRC is wrong"):
        next(decoder)
    assert list(decoder) == []


def test_batches_that_go_back_are_refused() -> None:
    batch = aiokafka_batch(sample(3))
    decoder = FetchDecoder(rewritten(batch, base_offset=10) + rewritten(batch, base_offset=12))
    assert next(decoder).last_offset == 12
    with pytest.raises(RecordBatchError, match="out of order"):
        next(decoder)


def test_crc_is_checked_unless_told_otherwise() -> None:
    bad = bytearray(aiokafka_batch(sample(3)))
    bad[17] ^= 1
    with pytest.raises(RecordBatchError, match="CRC is wrong"):
        decoded(bytes(bad))
    assert decoded(bytes(bad), check_crc=False) == with_offsets(sample(3))


@pytest.mark.parametrize("compression", CODECS[1:])
def test_what_a_batch_unfolds_into_is_bounded(compression: str) -> None:
    records: list[Record] = [(None, b"0" * 3_000_000, 1)]
    batch = aiokafka_batch(records, compression)
    assert decoded(batch, decompressed_bytes_max=4_000_000) == with_offsets(records)
    with pytest.raises(RecordBatchError, match="unfolds into more than 2000000 bytes"):
        decoded(batch, decompressed_bytes_max=2_000_000)


@pytest.mark.parametrize("compression", CODECS[1:])
def test_a_full_run_is_followed_by_another(compression: str) -> None:
    records: list[Record] = [(None, b"%d" % i * 300_000, i) for i in range(10)]
    batches = our_batches(records, compression=compression, batch_bytes_max=1000)
    runs = list(FetchDecoder(at_offsets(batches), decompressed_bytes_max=1_000_000))
    assert [record for run in runs for record in run] == with_offsets(records)
    assert [run.count for run in runs] == [3, 3, 3, 1]


# ---- encoding the rest ----


def test_only_the_records_of_the_partition_are_encoded() -> None:
    run = OutputRun()
    for i in range(100):
        run.append(b"k", b"%d" % i, i % 3, i)
    assert run.partitions() == [0, 1, 2]
    batches = encode_output(run, 1, batch_records_max=10)
    assert [count for _, count in batches] == [10, 10, 10, 3]
    got = [value for _, value, _, _ in decoded(at_offsets([batch for batch, _ in batches]))]
    assert got == [b"%d" % i for i in range(1, 100, 3)]
    assert encode_output(run, 7) == []
    run.clear()
    assert (len(run), run.partitions(), encode_output(run, 1)) == (0, [], [])


def test_partition_by_key_is_kafkas() -> None:
    run = OutputRun()
    # Answers of the Java client's Utils.murmur2, from its own tests.
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for key in known:
        run.append(key, b"", -1, 0)
    run.append(None, b"", 5, 0)
    run.partition_by_key(12)
    expected = [(answer & 0x7FFFFFFF) % 12 for answer in known.values()] + [5]
    assert [partition for _, _, partition, _ in run] == expected


def test_ages_are_counted() -> None:
    run = OutputRun()
    for timestamp_ms in (1000, 995, 990, 500, 2000):
        run.append(b"k", b"v", 0, timestamp_ms)
    assert run.count_ages(1000, array("q", [0, 5, 100])) == ([2, 1, 1, 1], 515)


def test_a_producers_state_is_covered_by_the_checksum() -> None:
    (batch,) = our_batches(sample(5), compression="lz4")
    sealed = DefaultRecordBatch(with_producer(batch, 4711, 3, 99))
    assert sealed.validate_crc()
    assert (sealed.producer_id, sealed.producer_epoch, sealed.base_sequence) == (4711, 3, 99)
    assert not sealed.is_transactional
    assert len(list(sealed)) == 5
    assert DefaultRecordBatch(with_producer(batch, 1, 0, 0, transactional=True)).is_transactional
    with pytest.raises(ValueError, match="not a record batch"):
        with_producer(b"x" * 100, 1, 0, 0)


def test_unknown_compression_is_refused() -> None:
    with pytest.raises(ValueError, match="'brotli' is none of none, gzip, snappy, lz4, zstd"):
        encode_output(OutputRun(), 0, compression="brotli")


def test_run_from_records() -> None:
    records = [(None, b"a", 5, 1), (b"k", None, 6, 2), (b"", b"", 9, 3)]
    run = RecordRun.from_records(records)
    assert list(run) == records
    assert (len(run), run.base_offset, run.last_offset) == (3, 5, 9)
    assert len(RecordRun.from_records([])) == 0
    with pytest.raises(ValueError, match="offset 5 does not follow 5"):
        RecordRun.from_records([(None, None, 5, 0), (None, None, 5, 0)])
