"""Batches that Kafka's own Java client built, in every compression, decoded record by record.

Goal: what a JVM producer sends is read exactly, nulls, headers and times out of order included.
Method: java_batches/JavaBatches.java wrote the files beside it, by a rule that is said here again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core_ext.record_batch import CODECS, FetchDecoder

DIRECTORY = Path(__file__).with_name("java_batches")
BASE_OFFSET = 1000

Record = tuple[bytes | None, bytes | None, int, int]


def expected() -> list[Record]:
    """The rule of JavaBatches.java."""
    return [
        (
            None if i % 5 == 0 else b"K%d" % i,
            None if i % 7 == 0 else (b'{"unit":"MSDU5898660","n":%d}' % i) * (i % 4),
            BASE_OFFSET + i,
            1_533_814_400_000 + i * 7 - i % 2 * 1000,
        )
        for i in range(40)
    ]


def decoded(data: bytes) -> list[Record]:
    return [record for run in FetchDecoder(data) for record in run]


@pytest.mark.parametrize("codec", CODECS)
def test_batch_of_the_java_client_is_read(codec: str) -> None:
    data = (DIRECTORY / f"{codec}.batch").read_bytes()
    assert data[22] & 7 == CODECS.index(codec)
    assert decoded(data) == expected()


@pytest.mark.parametrize("codec", CODECS)
def test_every_damaged_byte_of_it_is_found(codec: str) -> None:
    """From the CRC on; what lies before it is the broker's, or the length."""
    data = (DIRECTORY / f"{codec}.batch").read_bytes()
    for place in range(17, len(data), 5):
        damaged = data[:place] + bytes([data[place] ^ 0x20]) + data[place + 1 :]
        with pytest.raises(ValueError, match=f"batch at offset {BASE_OFFSET}"):
            decoded(damaged)


def test_all_of_them_in_one_fetch() -> None:
    batches = [(DIRECTORY / f"{codec}.batch").read_bytes() for codec in CODECS]
    moved = [
        (BASE_OFFSET + 40 * number).to_bytes(8, "big") + batch[8:]
        for number, batch in enumerate(batches)
    ]
    records = decoded(b"".join(moved))
    assert [record[2] for record in records] == list(range(BASE_OFFSET, BASE_OFFSET + 200))
    assert [record[:2] for record in records] == [record[:2] for record in expected()] * 5
