"""Write the seed corpus of the fuzz targets: good inputs of every kind, a few kilobytes.

Called by hand when a record or a target changes: ``python -m tests.fuzz.seeds``; what it writes is
committed. Inputs that once broke something lie beside them (``found-*``) and are left alone. It
must never know how the targets are run.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy

from core_ext.record_batch import CODECS, RecordRun, encode_columns
from stream.engine import make_matcher
from stream.policy import load_policy
from tests.reference.generate import LOCATIONS, history
from tests.reference.log import BadLineError, read_line

CORPUS = Path(__file__).parent / "corpus"
RECORDS_EACH = 4
STATE_SEEDS, STATE_SEED_BYTES = 6, 800
NO_KEY = 255
# Bits of fuzz_batches.c.
RENEW, COMMITTED, PLAIN = 1, 2, 4


def record_seeds(lines: list[str]) -> dict[str, bytes]:
    """For fuzz_records.c: some records of each topic."""
    topics = ("operators", "declarations", "holds", "port-events")
    seeds: dict[str, bytes] = {}
    for number, line in enumerate(lines):
        try:
            read = read_line(number, line.encode())
        except BadLineError:  # histories have some of these, too
            continue
        topic = topics.index(read.topic)
        taken = sum(name.startswith(read.topic) for name in seeds)
        if taken == RECORDS_EACH or read.value is None or read.key is None:
            continue
        key = read.key.encode()
        seeds[f"{read.topic}-{taken}"] = bytes([topic, len(key)]) + key + read.value
    # Twice the same, and once more with other digits: read by what was learned of the first.
    event = next(seed for name, seed in seeds.items() if name.startswith("port-events"))
    value = event[2 + event[1] :]
    changed = value.replace(b"1", b"2")
    seeds["alike"] = event + b"\x1e" + value + b"\x1e" + changed + b"\x1e" + value
    deep = b'{"a":' * 64 + b"1" + b"}" * 64
    seeds["nested"] = bytes([3, NO_KEY]) + deep
    seeds["strings"] = (
        bytes([3, NO_KEY]) + r'{"é\ud83d\ude00":["\u0000\"\\","ế"],"b":-1.5e+3}'.encode()
    )
    return seeds


def batch_seeds(lines: list[str]) -> dict[str, bytes]:
    """For fuzz_batches.c: a fetch of each compression, of keys and nulls, of two batches."""
    values = [line.encode() for line in lines[:12]]
    keys = [b"k%d" % number for number in range(len(values))]

    def batches(compression: str, records: int) -> bytes:
        ends = [[0], [0]]
        for columns, end in ((values, ends[0]), (keys, ends[1])):
            for column in columns:
                end.append(end[-1] + len(column))
        built = encode_columns(
            b"".join(values),
            numpy.array(ends[0], numpy.int64),
            b"".join(keys),
            numpy.array(ends[1], numpy.int64),
            numpy.arange(len(values), dtype=numpy.int64) + 1_533_814_400_000,
            max_batch_records=records,
            compression=compression,
        )
        # Offsets go on from batch to batch, as a broker would have them.
        return b"".join(
            (number * records).to_bytes(8, "big") + batch[8:] for number, batch in enumerate(built)
        )

    seeds = {f"{codec}": bytes([COMMITTED]) + batches(codec, len(values)) for codec in CODECS}
    seeds["renewed"] = bytes([RENEW | 2 << 3]) + batches("none", len(values))
    seeds["two-batches"] = bytes([COMMITTED | 3 << 3]) + batches("none", len(values) // 2)
    body = bytearray(batches("none", len(values)))
    body[22] |= CODECS.index("zstd")
    seeds["plain-said-to-be-compressed"] = bytes([PLAIN]) + bytes(body)
    return seeds


def published_seeds() -> dict[str, bytes]:
    """For fuzz_published.c: what an engine says of the units that the target knows."""
    event = {
        "eventType": "GATE_CHECK", "operatorID": "OP", "locationCode": "L1",
        "direction": "IMPORT", "eventDateTime": "2018-08-09T10:00:00Z",
    }  # fmt: skip
    operator = {
        "operatorID": "OP", "name": "n", "kind": "SEAPORT", "departmentCode": "03",
        "departmentName": "d", "locations": ["L1"], "status": "CONNECTED", "version": 1,
    }  # fmt: skip
    declaration = {
        "declarationNumber": "100000000001", "version": 1, "direction": "IMPORT",
        "status": "CLEARED", "registeredDateTime": "2018-08-01T00:00:00Z", "locationCode": "L1",
        "units": [{"unit": "CSQU3054383", "unitType": "CONTAINER"}],
    }  # fmt: skip
    container = event | {"unit": "CSQU3054383", "unitType": "CONTAINER"}
    lot = event | {"unit": "LOT1", "unitType": "BULK", "weightKg": 7}
    matcher = make_matcher(load_policy())
    time_ms = 1_533_814_400_000
    for topic, key, value in (
        ("operators", "OP", operator),
        ("declarations", "100000000001", declaration),
        ("port-events", "CSQU3054383", container | {"eventID": "E"}),
        ("port-events", "LOT1", lot | {"eventID": "F"}),
        ("port-events", "CSQU3054383", container | {"eventID": "I", "eventType": "GET_IN"}),
        ("declarations", "100000000001", declaration | {"version": 2, "status": "CANCELLED"}),
        ("port-events", "CSQU3054383", container | {"eventID": "O", "eventType": "GET_OUT"}),
    ):
        line = {"topic": topic, "timestamp": time_ms, "key": key, "value": value}
        matcher.apply_log(json.dumps(line).encode() + b"\n", 0, True)
    return {kind: matcher.take_lines(kind) for kind in ("decisions", "alerts")}


def unit_state_seeds(lines: list[str]) -> dict[str, bytes]:
    """For fuzz_unit_states.c: what a worker writes of a history, some units a seed."""
    matcher = make_matcher(load_policy(), partition_count=1)
    topics = ("operators", "declarations", "holds", "port-events")
    for number, line in enumerate(lines):
        try:
            read = read_line(number, line.encode())
        except BadLineError:
            continue
        key = None if read.key is None else read.key.encode()
        run = RecordRun.from_records([(key, read.value, number, read.timestamp_ms)])
        matcher.apply(topics.index(read.topic), 0, run, read.timestamp_ms * 1000)
    seeds: dict[str, bytes] = {}
    for number, (key, value, _, _) in enumerate(matcher.take_unit_changes(0, 1)):
        name = f"units-{number % STATE_SEEDS}"
        if len(seeds.get(name, b"")) < STATE_SEED_BYTES:
            seeds[name] = seeds.get(name, b"") + changelog_record(key, value)
    # A unit comes, goes and is forgotten; the log whole, and cut behind the retirement.
    for number, event_type in enumerate(("GET_IN", "GET_OUT")):
        event = {
            "eventID": event_type, "eventType": event_type, "operatorID": "TC",
            "eventDateTime": "2018-08-09T10:00:00Z", "locationCode": LOCATIONS[0],
            "unit": "VISITOR", "unitType": "BULK", "weightKg": 7, "direction": "IMPORT",
        }  # fmt: skip
        row = (b"VISITOR", json.dumps(event).encode(), number, 1_533_814_400_000)
        matcher.apply(topics.index("port-events"), 0, RecordRun.from_records([row]), 0)
    visit = [changelog_record(key, value) for key, value, _, _ in matcher.take_unit_changes(0, 1)]
    assert matcher.retire(0, 1 << 60)
    changes = [one[:2] for one in matcher.take_unit_changes(0, 1)]
    last = next(i for i, (key, _) in enumerate(changes) if key == b"LVISITOR")
    forgotten = [changelog_record(*one) for one in (changes[0], changes[1], changes[last])]
    seeds["retirement"] = b"".join([*visit, *forgotten, changelog_record(changes[-1][0], None)])
    seeds["retirement-cut"] = b"".join([*visit, forgotten[0]])
    return seeds


def changelog_record(key: bytes, value: bytes | None) -> bytes:
    """A record of the changelog as fuzz_unit_states.c reads it."""
    length = 65535 if value is None else len(value)
    return bytes([len(key)]) + length.to_bytes(2, "little") + key + (value or b"")


def main() -> None:
    """Write all seeds."""
    lines = history(Random("seeds"), 400)
    all_seeds = {
        "records": record_seeds(lines),
        "batches": batch_seeds(lines),
        "log_lines": {
            f"history-{number}": bytes([number])
            + "\n".join(history(Random(f"seeds/{number}"), 20)).encode()
            for number in range(4)
        },
        "published": published_seeds(),
        "unit_states": unit_state_seeds(lines),
    }
    for target, seeds in all_seeds.items():
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            if not old.name.startswith("found-"):
                old.unlink()
        for name, seed in seeds.items():
            (directory / name).write_bytes(seed)


if __name__ == "__main__":
    main()
