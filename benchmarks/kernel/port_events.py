"""Port events in JSON and in record batches, as the benchmarks of scanner, codec and core use them.

Called by the benchmarks. It knows the format of a port event and aiokafka's builder; nothing is
measured here. An event has ten fields and about 300 bytes, as those of a national year have.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy
from aiokafka.producer.message_accumulator import BatchBuilder

# In the order in which events are written where the order is known.
FIELDS = (
    "eventID",
    "eventType",
    "eventDateTime",
    "eventCreatedDateTime",
    "operatorID",
    "locationCode",
    "unitType",
    "unit",
    "direction",
    "weightKg",
)
FIRST_TIMESTAMP_MS = 1_533_800_000_000
EVENT_TYPES = ("GET_IN", "GATE_CHECK", "GET_OUT")
DIRECTIONS = ("IMPORT", "EXPORT")


@dataclass
class Events:
    """n events, as values of a topic."""

    units: list[str]
    values: list[bytes]
    text: bytes  # all values, one behind the other
    offsets: numpy.ndarray  # int64, n + 1: where each value begins, and the end
    timestamps_ms: numpy.ndarray  # int64

    def padded(self, padding: int) -> numpy.ndarray:
        """The text as a uint8 array with so many bytes behind it."""
        return numpy.frombuffer(self.text + b" " * padding, numpy.uint8)


def make_events(numbers: numpy.ndarray, *, known_order: bool) -> Events:
    """One event for each container number (S11); with known_order all keys in the same order."""
    source = numpy.random.default_rng(7)
    units = [number.decode() for number in numbers.tolist()]
    seconds = source.integers(0, 86_400, len(units)).tolist()
    weights = source.integers(2_000, 30_000, len(units)).tolist()
    operators = source.integers(1, 120, len(units)).tolist()
    values = []
    for i, unit in enumerate(units):
        time = f"2018-08-09T{seconds[i] // 3600:02}:{seconds[i] // 60 % 60:02}:{seconds[i] % 60:02}"
        event = {
            "eventID": f"{i:09}-0",
            "eventType": EVENT_TYPES[i % len(EVENT_TYPES)],
            "eventDateTime": f"{time}.{i % 1000:03}+07:00",
            "eventCreatedDateTime": f"{time}.{i % 1000:03}+07:00",
            "operatorID": f"HPH{operators[i]:03}",
            "locationCode": f"03HS{operators[i]:03}",
            "unitType": "CONTAINER",
            "unit": unit,
            "direction": DIRECTIONS[i % len(DIRECTIONS)],
            "weightKg": weights[i],
        }
        if not known_order:
            event = {FIELDS[field]: event[FIELDS[field]] for field in source.permutation(10)}
        values.append(json.dumps(event, separators=(",", ":")).encode())
    offsets = numpy.zeros(len(values) + 1, numpy.int64)
    numpy.cumsum([len(value) for value in values], out=offsets[1:])
    timestamps_ms = FIRST_TIMESTAMP_MS + numpy.arange(len(values), dtype=numpy.int64)
    return Events(units, values, b"".join(values), offsets, timestamps_ms)


def build_batches(events: Events, records_per_batch: int, codec: int = 0) -> list[bytearray]:
    """The events as batches of aiokafka's own making, each from offset 0; codec 3 is lz4.

    Nothing but aiokafka's own append is done for a record, since this is measured too.
    """
    timestamps_ms = events.timestamps_ms.tolist()
    batches = []
    for start in range(0, len(timestamps_ms), records_per_batch):
        end = start + records_per_batch
        builder = BatchBuilder(1 << 20, codec)
        append, added = builder.append, None
        for timestamp_ms, value in zip(
            timestamps_ms[start:end], events.values[start:end], strict=True
        ):
            added = append(timestamp=timestamp_ms, key=None, value=value)
        assert added is not None, "a batch holds too few records"
        batches.append(builder._build())
    return batches


def fetched_batches(events: Events, records_per_batch: int, codec: int = 0) -> list[bytes]:
    """The events as batches with offsets from 0 on, one behind the other, as a broker has them."""
    batches = []
    offset = 0
    for batch in build_batches(events, records_per_batch, codec):
        batch[:8] = offset.to_bytes(8, "big")
        offset += int.from_bytes(batch[57:61], "big")
        batches.append(bytes(batch))
    return batches


def struct_decoder(msgspec: Any) -> Any:
    """msgspec's decoder into a Struct of the ten fields that garbage collection need not track."""
    types = [(name, float if name == "weightKg" else str) for name in FIELDS]
    return msgspec.json.Decoder(msgspec.defstruct("PortEvent", types, gc=False))
