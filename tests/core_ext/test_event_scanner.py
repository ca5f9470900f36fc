"""The compiled record scanner against the reference model's reader, and against hostile JSON.

Goal: every value is read exactly as a strict RFC 8259 parser and CONTRACT.md sections 1 and 3 say,
or refused with the reason and the field they give, on both SIMD paths. Method: the reader of
tests/reference (Python's json, made strict, and one function a type) is the second opinion, on
generated records of all topics, mutated field by field and byte by byte; then each limit just
inside and just outside, and hostile JSON by name.

GATEJOIN_DIFFERENTIAL_RECORDS sets how many records are compared (100,000 if unset), and
GATEJOIN_DIFFERENTIAL_SEED the first seed (0); a failure prints the record.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import json
import mmap
import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy
import pytest

from core_ext.event_scanner import (
    PORT_EVENT_FIELDS,
    REASONS,
    SIMD_PATHS,
    TOPICS,
    Scanner,
)
from core_ext.record_batch import RecordRun
from core_ext.unit_index import UnitIndex
from tests.reference import records as reference

RECORDS = int(os.environ.get("GATEJOIN_DIFFERENTIAL_RECORDS", "100000"))
SEED = int(os.environ.get("GATEJOIN_DIFFERENTIAL_SEED", "0"))


# GATEJOIN_SIMD is for production: here both paths run, whatever it says.
SCANNERS = [Scanner(path) for path in SIMD_PATHS]


@dataclass
class Raw:
    """JSON text to be written as it stands."""

    text: str


# ----------------------------------------------------------------------------- writing JSON

ENCODERS = (json.JSONEncoder(ensure_ascii=False).encode, json.JSONEncoder().encode)


def write_string(text: str, chance: random.Random, escape_share: float) -> str:
    """A JSON string; of the first characters some as escapes that nobody had to write."""
    if chance.random() >= escape_share:
        return ENCODERS[chance.random() < 0.3](text)
    written = ""
    for character in text[:20]:
        if chance.random() < 0.3:
            units = character.encode("utf-16-be", "surrogatepass")
            digits = [units[i : i + 2].hex() for i in range(0, len(units), 2)]
            written += "".join(f"\\u{d.upper() if chance.random() < 0.5 else d}" for d in digits)
        elif character == "/" and chance.random() < 0.5:
            written += "\\/"
        else:
            written += ENCODERS[0](character)[1:-1]
    return f'"{written}{ENCODERS[0](text[20:])[1:]}'


def write(value: Any, chance: random.Random, escape_share: float, spaces: str) -> str:
    """JSON text of a value; objects are lists of pairs, so that keys can be repeated."""

    def gap() -> str:
        return chance.choice(spaces) * chance.randint(0, 2) if spaces else ""

    if isinstance(value, Raw):
        return value.text
    if isinstance(value, str):
        return write_string(value, chance, escape_share)
    if isinstance(value, dict):
        value = list(value.items())
        pairs = True
    else:
        pairs = isinstance(value, list) and bool(value) and isinstance(value[0], tuple)
    if pairs:
        members = (
            f"{gap()}{write_string(k, chance, escape_share)}{gap()}:{gap()}"
            f"{write(v, chance, escape_share, spaces)}{gap()}"
            for k, v in value
        )
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        items = (f"{gap()}{write(v, chance, escape_share, spaces)}{gap()}" for v in value)
        return "[" + ",".join(items) + "]"
    return json.dumps(value)


# ----------------------------------------------------------------------------- good records


def random_time(chance: random.Random) -> str:
    fraction = chance.choice(["", "", f".{chance.randrange(10**3):03d}", ".123456789", ".0"])
    offset = chance.choice(["Z", "+07:00", "-00:00", "+23:59", "-23:59"])
    return (
        f"{chance.randint(1970, 2199)}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
        f"T{chance.randint(0, 23):02d}:{chance.randint(0, 59):02d}:{chance.randint(0, 59):02d}"
        f"{fraction}{offset}"
    )


def random_weight(chance: random.Random) -> Raw:
    return Raw(f"{chance.choice([0, 7, 25000, 999999999])}{chance.choice(['', '.5', '.250'])}")


def random_seals(chance: random.Random) -> list[str]:
    words = ["", "NA", "##", "n-a", "vn 123", "VN123", "HPH-9", "chì số 1", "a" * 64, "ZZ"]
    return [chance.choice(words) for _ in range(chance.choice([0, 1, 1, 2, 5]))]


def random_unit(chance: random.Random) -> str:
    return chance.choice(["MSKU1234565", "msku 123456-5", "181234567890", "a" * 35, "!~", "LOT/1%"])


def random_code(chance: random.Random) -> str:
    return chance.choice(["HPH", "03CES01", "cảng-1", "x" * 64, "a/b", "HPH-000123456"])


def random_number(chance: random.Random) -> str:
    return f"{chance.randrange(10**12):012d}"


def port_event(chance: random.Random) -> dict[str, Any]:
    lot = chance.random() < 0.4
    event: dict[str, Any] = {
        "eventID": random_code(chance),
        "eventType": chance.choice(reference.EVENT_TYPES),
        "eventDateTime": random_time(chance),
        "operatorID": random_code(chance),
        "locationCode": random_code(chance),
        "unitType": chance.choice(reference.UNIT_TYPES[1:]) if lot else "CONTAINER",
        "unit": random_unit(chance),
        "direction": chance.choice(["IMPORT", "EXPORT", "TRANSIT", "DOMESTIC"]),
    }
    optional: dict[str, Any] = {
        "eventCreatedDateTime": random_time(chance),
        "eventUpdatedDateTime": random_time(chance),
        "isRetracted": chance.random() < 0.2,
        "purpose": chance.choice(reference.PURPOSES),
        "pieces": chance.choice([0, 1, 60, 999_999_999]),
        "weightKg": random_weight(chance),
        "seals": random_seals(chance),
        "declarations": [random_number(chance) for _ in range(chance.randint(0, 3))],
        "document": chance.choice(["Phiếu 12/2018", "x" * 1024, "d"]),
    }
    return event | {name: v for name, v in optional.items() if chance.random() < 0.6}


def declaration(chance: random.Random) -> dict[str, Any]:
    def unit() -> dict[str, Any]:
        optional: dict[str, Any] = {
            "seals": random_seals(chance),
            "pieces": chance.choice([0, 50]),
            "weightKg": random_weight(chance),
            "shared": chance.random() < 0.5,
            "locationCode": random_code(chance),
            "note": [{"deep": [[None]]}],
        }
        return {"unit": random_unit(chance), "unitType": chance.choice(reference.UNIT_TYPES)} | {
            name: v for name, v in optional.items() if chance.random() < 0.5
        }

    optional: dict[str, Any] = {
        "statusDateTime": random_time(chance),
        "branchCode": random_code(chance),
        "destinationLocationCode": random_code(chance),
        "arriveByDateTime": random_time(chance),
    }
    return {
        "declarationNumber": random_number(chance),
        "version": chance.choice([0, 1, 2**53]),
        "direction": chance.choice(["IMPORT", "EXPORT", "TRANSIT"]),
        "status": chance.choice(reference.DECLARATION_STATUSES),
        "registeredDateTime": random_time(chance),
        "locationCode": random_code(chance),
        "units": [unit() for _ in range(chance.choice([0, 1, 2, 4]))],
    } | {name: v for name, v in optional.items() if chance.random() < 0.5}


def hold(chance: random.Random) -> dict[str, Any]:
    scope = chance.choice(["UNIT", "DECLARATION"])
    reason = chance.choice(["STOP", "SCAN", "CUSTOMS_SEAL"])
    seal = {"seal": chance.choice(["HQ 77", "hq-1"])} if reason == "CUSTOMS_SEAL" else {}
    return seal | {
        "holdID": random_code(chance),
        "version": chance.choice([0, 9, 2**53]),
        "scope": scope,
        "reference": random_unit(chance) if scope == "UNIT" else random_number(chance),
        "reason": reason,
        "state": chance.choice(["ACTIVE", "LIFTED"]),
        "issuedDateTime": random_time(chance),
    }


def operator(chance: random.Random) -> dict[str, Any]:
    optional: dict[str, Any] = {
        "branchCode": random_code(chance),
        "branchName": "Chi cục Hải quan cửa khẩu",
        "cargo": [chance.choice(reference.UNIT_TYPES) for _ in range(chance.randint(0, 3))],
        "connectedDate": f"20{chance.randint(10, 99)}-02-{chance.randint(1, 28):02d}",
        "wave": chance.choice([1, 4, 2**53]),
    }
    return {
        "operatorID": random_code(chance),
        "name": "Cảng Hải Phòng",
        "kind": chance.choice(reference.OPERATOR_KINDS),
        "departmentCode": random_code(chance),
        "departmentName": "Cục Hải quan TP. Hải Phòng",
        "locations": [random_code(chance) for _ in range(chance.randint(1, 4))],
        "status": chance.choice(reference.OPERATOR_STATUSES),
        "version": chance.choice([0, 3, 2**53]),
    } | {name: v for name, v in optional.items() if chance.random() < 0.5}


MAKERS = {
    "port-events": port_event,
    "declarations": declaration,
    "holds": hold,
    "operators": operator,
}
IDS = {"declarations": "declarationNumber", "holds": "holdID", "operators": "operatorID"}

# What any field may be replaced by: wrong types, and texts at the edge of some limit.
REPLACEMENTS: list[Any] = [
    None, True, False, "", "A", " ", "-", "x" * 64, "x" * 65, "x" * 1024, "x" * 1025, "\x7f",
    "\x00", "a\x1fb", "é" * 32, "é" * 33, "NA", "####", "181234567890", "18123456789", "GET_IN",
    "GET_IN\x00", "get_in", "RESEAL", "STOCK_COUNT", "CONTAINER", "BULK", "DOMESTIC", "IMPORT",
    "CUSTOMS_SEAL", "CANCELLED", "UNIT", "DECLARATION", "2018-02-29", "2020-02-29", "2018-8-1",
    "2018-08-09T03:04:05Z", "2018-08-09T03:04:60Z", "2018-08-09t03:04:05Z", "2018-08-09T03:04:05",
    "2018-08-09T24:00:00Z", "2018-08-09T03:04:05.Z", "2018-08-09T03:04:05+24:00",
    "2018-08-09T03:04:05.1234567890Z", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z",
    [], ["A"], [None], [1], ["181234567890"], ["1"], ["#"], ["a b", "AB"], [[]], ["x"] * 20,
    ["x"] * 21, ["181234567890"] * 100, ["181234567890"] * 101, {}, [("unit", "A")], Raw("[{}]"),
    0, 1, 999_999_999, 1_000_000_000, 2**53, 2**53 + 1, 10**30, -1, Raw("-0"), Raw("1.0"),
    Raw("1.000"), Raw("1.0000"), Raw("1e3"), Raw("1E0"), Raw("999999999.999"), Raw("1e99999"),
    Raw("01"), Raw("1."), Raw(".5"), Raw("+1"), Raw("NaN"), Raw("Infinity"), Raw("-Infinity"),
    Raw("0x10"), Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), Raw('"\\ud83d\\ude00"'),
    Raw('"\\u12"'), Raw('"\\x41"'), Raw("tru"), Raw("nulls"), Raw("[1,]"), Raw("{,}"),
    Raw("[" * 63 + "]" * 63), Raw("[" * 64 + "]" * 64),
]  # fmt: skip
# What may be put into the bytes anywhere.
INSERTIONS = [
    b'"', b"\\", b"\\\\", b'\\"', b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"\n", b"\r",
    b"\x00", b"\x1f", b"\x7f", b"\x80", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3",
    "é".encode(), "🚢".encode(), b"\xef\xbb\xbf", b"\\u0041", b"\\ud800", b"\\udfff", b"\\u00",
    b"\\n", b"\\x", b"0", b"-", b".", b"e5", b"null", b"true", b"/*x*/", b'"a":1,', b"'",
]  # fmt: skip


def mutated_fields(record: dict[str, Any], chance: random.Random) -> list[tuple[str, Any]]:
    pairs = list(record.items())
    for _ in range(chance.choice([0, 0, 1, 1, 2])):
        place = chance.randrange(len(pairs)) if pairs else 0
        action = chance.random()
        if action < 0.6 and pairs:
            pairs[place] = (pairs[place][0], chance.choice(REPLACEMENTS))
        elif action < 0.75 and pairs:
            del pairs[place]
        elif action < 0.9 and pairs:  # repeated: the last one counts
            pairs.append((pairs[place][0], chance.choice([pairs[place][1], "A", None])))
        else:
            pairs.append((chance.choice(["x", "", "unit\x00", "é"]), chance.choice(REPLACEMENTS)))
    if chance.random() < 0.3:
        chance.shuffle(pairs)
    return pairs


def mutated_bytes(value: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        place = chance.randint(0, len(value))
        action = chance.random()
        if action < 0.35:
            value = value[:place] + chance.choice(INSERTIONS) + value[place:]
        elif action < 0.6:
            value = value[:place] + bytes([chance.randrange(256)]) + value[place + 1 :]
        elif action < 0.8:
            value = value[:place] + value[place + chance.choice([1, 1, 2, 10]) :]
        elif action < 0.85:
            value = value[:place]
        elif action < 0.9:
            value = value + chance.choice([b"}", b" ", b"\n", b"{}", b"\x00", b"x", b","])
        else:
            end = place + chance.randint(1, 30)
            value = value[:end] + value[place:end] + value[end:]
    return value


@functools.lru_cache(maxsize=1)
def generated_record(topic: str, seed: int) -> tuple[bytes, bytes]:
    """Key and value as text of a record that is good, or wrong in a field or two."""
    chance = random.Random(f"{topic}/{seed}")
    record = MAKERS[topic](chance)
    pairs = mutated_fields(record, chance) if chance.random() < 0.6 else list(record.items())
    text = write(
        pairs or {},
        chance,
        escape_share=chance.choice([0, 0, 0.1, 1]),
        spaces=chance.choice(["", "", " ", " \n\t\r"]),
    )
    return record.get(IDS.get(topic, ""), "any").encode(), text.encode("utf-8", "surrogatepass")


def generated(topic: str, seed: int) -> tuple[bytes | None, bytes]:
    """Key and value number `seed`: each record as it is, and three times with damaged bytes."""
    key: bytes | None
    key, value = generated_record(topic, seed // 4)
    if seed % 4 == 0:
        return key, value
    chance = random.Random(seed)
    if chance.random() < 0.02:
        key = chance.choice([b"", b"other", None, b"\xff"])
    return key, mutated_bytes(value, chance)


# ----------------------------------------------------------------------------- comparing


def seals_expected(seals: frozenset[str] | None) -> list[str]:
    return sorted(seals or (), key=str.encode)


def text_key(key: bytes | None) -> str | None:
    # Bytes that are no UTF-8 equal no ID, which the escaped surrogates do not either.
    return None if key is None else key.decode("utf-8", "surrogateescape")


def expected_record(topic: str, key: bytes | None, value: bytes) -> dict[str, Any]:
    """What the scanner has to say of a good record. Raises MalformedError."""
    if topic == "port-events":
        event = reference.read_port_event(value)
        return {
            "eventID": event.event_id, "eventType": event.event_type,
            "eventDateTime": event.time, "version": event.version,
            "versionField": event.version_field, "isRetracted": event.retracted,
            "operatorID": event.operator_id, "locationCode": event.location,
            "unitType": event.unit_type, "unit": event.unit, "direction": event.direction,
            "purpose": event.purpose, "pieces": event.pieces, "weightGrams": event.weight_grams,
            "seals": seals_expected(event.seals), "looked": event.seals is not None,
            "declarations": event.presented, "document": event.document,
        }  # fmt: skip
    if topic == "declarations":
        read = reference.read_declaration(text_key(key), value)
        return {
            "declarationNumber": read.number, "version": read.version,
            "direction": read.direction, "status": read.status,
            "registeredDateTime": read.registered, "statusDateTime": read.status_time,
            "destinationLocationCode": read.destination, "arriveByDateTime": read.arrive_by,
            "units": [
                (e.unit, e.is_lot, e.location, seals_expected(e.seals), e.pieces, e.weight_grams,
                 e.shared)
                for e in read.entries
            ],
        }  # fmt: skip
    if topic == "holds":
        held = reference.read_hold(text_key(key), value)
        return {
            "holdID": held.hold_id, "version": held.version, "scope": held.scope,
            "reference": held.reference, "reason": held.reason,
            "seal": held.seal if held.reason == "CUSTOMS_SEAL" else None,
            "state": "ACTIVE" if held.active else "LIFTED", "issuedDateTime": held.issued,
        }  # fmt: skip
    one = reference.read_operator(text_key(key), value)
    return {
        "operatorID": one.operator_id, "kind": one.kind, "locations": one.locations,
        "status": one.status, "version": one.version,
    }  # fmt: skip


def comparable(topic: str, record: dict[str, Any]) -> dict[str, Any]:
    """The scanner's record in the reference's terms."""
    if topic == "port-events":
        return record | {"declarations": frozenset(record["declarations"])}
    if topic == "declarations":
        units = [
            (
                unit["unit"], unit["unitType"] != "CONTAINER",
                unit["locationCode"] or record["locationCode"], unit["seals"],
                unit["pieces"] or 0, unit["weightGrams"] or 0, unit["shared"],
            )
            for unit in record["units"]
        ]  # fmt: skip
        kept = {k: v for k, v in record.items() if k not in ("branchCode", "locationCode")}
        return kept | {"units": units}
    if topic == "operators":
        kept = {k: record[k] for k in ("operatorID", "kind", "status", "version")}
        return kept | {"locations": frozenset(record["locations"])}
    return record


def check(topic: str, key: bytes | None, value: bytes) -> tuple[str | None, str | None]:
    """Both paths say what the reference says; returns reason and field."""
    limit = reference.PORT_EVENT_BYTES_LIMIT
    if topic != "port-events":
        limit = reference.OTHER_BYTES_LIMIT
    expected: dict[str, Any] | None = None
    reason, field = None, None
    if len(value) > limit:
        reason = "TOO_LARGE"
    else:
        try:
            expected = expected_record(topic, key, value)
        except reference.MalformedError as error:
            reason, field = "MALFORMED", error.field
    for path, scanner in zip(SIMD_PATHS, SCANNERS, strict=True):
        record, its_reason, its_field, detail = scanner.scan_record(topic, key, value)
        found = None if record is None else comparable(topic, record)
        assert (its_reason, its_field, found) == (reason, field, expected), (
            f"{path}, {topic}, key {key!r}, value {value!r}: {detail}"
        )
        if its_reason is not None:
            assert detail
            assert detail.isascii()
    return reason, field


@pytest.mark.parametrize("topic", TOPICS)
def test_generated_records_are_read_as_the_reference_reads_them(topic):
    """And the generator does its work: good ones, and every field refused at least once."""
    seen = Counter()
    count = RECORDS // len(TOPICS)
    for seed in range(SEED, SEED + count):
        seen[check(topic, *generated(topic, seed))] += 1
    if count >= 10_000:
        assert seen[None, None] > count * 0.1
        assert seen["MALFORMED", None] > count * 0.05
        names = set(MAKERS[topic](random.Random(0))) | {field for _, field in seen if field}
        assert {field for _, field in seen if field} >= names - {"x"}


# ----------------------------------------------------------------------------- limits by name

GOOD_EVENT = {
    "eventID": "E1",
    "eventType": "GATE_CHECK",
    "eventDateTime": "2018-08-09T10:04:05+07:00",
    "operatorID": "HPH",
    "locationCode": "03CES01",
    "unitType": "CONTAINER",
    "unit": "MSKU1234565",
    "direction": "IMPORT",
}
GOOD_LOT = GOOD_EVENT | {"unitType": "PACKAGES", "pieces": 1}
GOOD_DECLARATION = {
    "declarationNumber": "101234567890",
    "version": 1,
    "direction": "IMPORT",
    "status": "CLEARED",
    "registeredDateTime": "2018-08-09T10:04:05+07:00",
    "locationCode": "03CES01",
    "units": [{"unit": "MSKU1234565", "unitType": "CONTAINER"}],
}
GOOD_HOLD = {
    "holdID": "H1",
    "version": 1,
    "scope": "UNIT",
    "reference": "MSKU1234565",
    "reason": "STOP",
    "state": "ACTIVE",
    "issuedDateTime": "2018-08-09T10:04:05+07:00",
}
GOOD_OPERATOR = {
    "operatorID": "HPH",
    "name": "Cảng Hải Phòng",
    "kind": "SEAPORT",
    "departmentCode": "03",
    "departmentName": "Hải Phòng",
    "locations": ["03CES01"],
    "status": "CONNECTED",
    "version": 1,
}
GOOD = {
    "port-events": GOOD_EVENT,
    "declarations": GOOD_DECLARATION,
    "holds": GOOD_HOLD,
    "operators": GOOD_OPERATOR,
}
UNIT = {"unit": "A", "unitType": "BULK"}


def bytes_of(record: Any) -> bytes:
    return write(record, random.Random(0), escape_share=0, spaces="").encode()


def key_of(topic: str, record: dict[str, Any]) -> bytes:
    key = record.get(IDS.get(topic, ""), "any")
    return key.encode() if isinstance(key, str) else b"any"


TIMES_GOOD = [
    "1970-01-01T00:00:00Z", "1970-01-01T00:00:00+23:59", "2199-12-31T23:59:59.999999999-23:59",
    "2018-08-09T03:04:05.1Z", "2020-02-29T00:00:00-00:00", "2000-02-29T23:59:59Z",
]  # fmt: skip
TIMES_BAD = [
    "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2018-08-09T03:04:05", "2018-08-09",
    "2018-08-09t03:04:05Z", "2018-08-09T03:04:05z", "2018-08-09T03:04:60Z", "2018-08-09T24:00:00Z",
    "2018-08-09T03:60:05Z", "2018-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2018-00-09T03:04:05Z",
    "2018-13-09T03:04:05Z", "2018-04-31T03:04:05Z", "2018-08-00T03:04:05Z", "2018-08-09T03:04:05.Z",
    "2018-08-09T03:04:05.1234567890Z", "2018-08-09T03:04:05+24:00", "2018-08-09T03:04:05+07:60",
    "2018-08-09T03:04:05+0700", "2018-08-09T03:04:05+07", " 2018-08-09T03:04:05Z",
    "2018-08-09T03:04:05Z ", "2018-08-09 03:04:05Z", "2018-08-09T03:04Z", "+2018-08-09T03:04:05Z",
    "2018-08-09T03:04:05ZZ", "2018-08-09T03:04:05.5", "٢٠18-08-09T03:04:05Z", 1533758645000, "",
]  # fmt: skip
CODES_GOOD = ["A", "x" * 64, "é" * 32, " ", "ab\u0080", "🚢" * 16]
CODES_BAD = ["", "x" * 65, "é" * 32 + "x", "\x00", "a\x1f", "a\x7f", "\t", 1, [], {}, True]
NAMES_GOOD = ["A", "x" * 1024, "é" * 512]
NAMES_BAD = ["", "x" * 1025, "é" * 512 + "x", "a\nb", "\x7f", 1]
PIECES_GOOD = [0, 1, 999_999_999]
PIECES_BAD = [
    1_000_000_000, -1, Raw("-0"), Raw("1.0"), Raw("1e1"), Raw("1E+1"), "1", True, [], 10**17,
    10**100,
]  # fmt: skip
WEIGHTS_GOOD = [Raw(w) for w in ("0", "0.000", "0.001", "999999999.999", "1.5", "25000")]
WEIGHTS_BAD = [
    Raw("1000000000"), Raw("1000000000.0"), Raw("1.0000"), Raw("0.0001"), Raw("-1"), Raw("-0.0"),
    Raw("1e3"), Raw("1.5e0"), "1.5", True, Raw("1" * 400),
]  # fmt: skip
VERSIONS_GOOD = [0, 1, 2**53]
VERSIONS_BAD = [2**53 + 1, 10**16, -1, Raw("1.0"), Raw("1e2"), "1", True, 2**64, 2**64 + 1]
SEALS_GOOD = [
    [], [""], ["x" * 64], ["é" * 32], ["s"] * 20, ["\x00\x7f"], ["-" * 64], ["na", "N-A", "# #"],
]  # fmt: skip
SEALS_BAD = [["x" * 65], ["é" * 32 + "x"], ["s"] * 21, [None], [1], ["s", None], "s", {}, [[]]]
FLAGS_BAD = ["true", 1, 0, [], {}]
UNITS_GOOD = ["!", "~" * 35, "- - " * 50 + "a", "a" * 35 + "-"]
UNITS_BAD = ["", " ", "-", "a" * 36, "é", "a\u007f", "a\tb", "a\u00a0b", 1, None, []]
DATES_GOOD = ["1970-01-01", "2199-12-31", "2020-02-29"]
DATES_BAD = ["1969-12-31", "2200-01-01", "2019-02-29", "2019-2-28", "20190228", "2019-02-28Z", 1]
NUMBERS_GOOD = ["000000000000", "999999999999"]
NUMBERS_BAD = ["12345678901", "1234567890123", "12345678901a", " 12345678901", 123456789012, ""]
QUANTIFIED = ["GET_IN", "GATE_CHECK", "GET_OUT", "STOCK_COUNT"]


def limits() -> list[tuple[str, str, list[Any], list[Any]]]:
    """Topic, field, values inside and outside of its limits."""
    return [
        ("port-events", "eventID", CODES_GOOD, [*CODES_BAD, None]),
        ("port-events", "operatorID", CODES_GOOD, [*CODES_BAD, None]),
        ("port-events", "locationCode", CODES_GOOD, [*CODES_BAD, None]),
        ("port-events", "eventType", list(reference.EVENT_TYPES)[:3], ["GET_INN", "GET_", "", 1]),
        ("port-events", "eventDateTime", TIMES_GOOD, [*TIMES_BAD, None]),
        ("port-events", "eventCreatedDateTime", [*TIMES_GOOD, None], TIMES_BAD),
        ("port-events", "eventUpdatedDateTime", [*TIMES_GOOD, None], TIMES_BAD),
        ("port-events", "isRetracted", [False, None], FLAGS_BAD),
        ("port-events", "unitType", ["CONTAINER"], ["container", "CONTAINERS", None, 1]),
        ("port-events", "unit", UNITS_GOOD, UNITS_BAD),
        ("port-events", "direction", ["IMPORT", "DOMESTIC"], ["import", "", None, []]),
        ("port-events", "purpose", ["SEIZED", None], ["", "CLEAR", 1, True]),
        ("port-events", "pieces", [*PIECES_GOOD, None], PIECES_BAD),
        ("port-events", "weightKg", [*WEIGHTS_GOOD, None], WEIGHTS_BAD),
        ("port-events", "seals", [*SEALS_GOOD, None], SEALS_BAD),
        ("port-events", "declarations", [[], NUMBERS_GOOD, ["181234567890"] * 100, None],
         [["181234567890"] * 101, [None], "181234567890", {}, *([n] for n in NUMBERS_BAD)]),
        ("port-events", "document", [*NAMES_GOOD, None], NAMES_BAD),
        ("declarations", "declarationNumber", NUMBERS_GOOD, NUMBERS_BAD),
        ("declarations", "version", VERSIONS_GOOD, [*VERSIONS_BAD, None]),
        ("declarations", "direction", ["IMPORT", "EXPORT", "TRANSIT"], ["DOMESTIC", "", None]),
        ("declarations", "status", list(reference.DECLARATION_STATUSES), ["TO_STORAG", "", None]),
        ("declarations", "registeredDateTime", TIMES_GOOD, [*TIMES_BAD, None]),
        ("declarations", "statusDateTime", [*TIMES_GOOD, None], TIMES_BAD),
        ("declarations", "branchCode", [*CODES_GOOD, None], CODES_BAD),
        ("declarations", "locationCode", CODES_GOOD, [*CODES_BAD, None]),
        ("declarations", "destinationLocationCode", [*CODES_GOOD, None], CODES_BAD),
        ("declarations", "arriveByDateTime", [*TIMES_GOOD, None], TIMES_BAD),
        ("declarations", "units", [[], [UNIT] * 5000],
         [[UNIT] * 5001, None, {}, "A", [None], [UNIT, "A"], [[]], [{}]]),
        ("holds", "holdID", CODES_GOOD, CODES_BAD),
        ("holds", "version", VERSIONS_GOOD, VERSIONS_BAD),
        ("holds", "scope", ["UNIT"], ["unit", None, 1]),
        ("holds", "reference", UNITS_GOOD, UNITS_BAD),
        ("holds", "reason", ["STOP", "SCAN"], ["CUSTOMS", None, 1]),
        ("holds", "seal", ["", "x" * 64, "é" * 32, None], ["x" * 65, 1, [], True]),
        ("holds", "state", ["ACTIVE", "LIFTED"], ["", None, True]),
        ("holds", "issuedDateTime", TIMES_GOOD, [*TIMES_BAD, None]),
        ("operators", "operatorID", CODES_GOOD, CODES_BAD),
        ("operators", "name", NAMES_GOOD, [*NAMES_BAD, None]),
        ("operators", "kind", list(reference.OPERATOR_KINDS), ["PORT", None]),
        ("operators", "departmentCode", CODES_GOOD, [*CODES_BAD, None]),
        ("operators", "departmentName", NAMES_GOOD, [*NAMES_BAD, None]),
        ("operators", "branchCode", [*CODES_GOOD, None], CODES_BAD),
        ("operators", "branchName", [*NAMES_GOOD, None], NAMES_BAD),
        ("operators", "locations", [CODES_GOOD, ["A"] * 1000],
         [["A"] * 1001, [], None, "A", [None], *([c] for c in CODES_BAD)]),
        ("operators", "cargo", [[], ["BULK", "BULK"], None], ["BULK", ["bulk"], [None], {}]),
        ("operators", "status", list(reference.OPERATOR_STATUSES), ["OPEN", None]),
        ("operators", "connectedDate", [*DATES_GOOD, None], DATES_BAD),
        ("operators", "wave", [*VERSIONS_GOOD, None], VERSIONS_BAD),
        ("operators", "version", VERSIONS_GOOD, [*VERSIONS_BAD, None]),
    ]  # fmt: skip


@pytest.mark.parametrize(("topic", "field", "inside", "outside"), limits())
def test_field_just_inside_and_just_outside(topic, field, inside, outside):
    for value in inside:
        record = GOOD[topic] | {field: value}
        assert check(topic, key_of(topic, record), bytes_of(record)) == (None, None), value
    for value in outside:
        record = GOOD[topic] | {field: value}
        found = check(topic, key_of(topic, record), bytes_of(record))
        assert found == ("MALFORMED", field), value
    record = {name: value for name, value in GOOD[topic].items() if name != field}
    required = field in GOOD[topic]
    found = check(topic, key_of(topic, GOOD[topic]), bytes_of(record))
    assert found == (("MALFORMED", field) if required else (None, None))


@pytest.mark.parametrize(
    ("field", "inside", "outside"),
    [
        ("unit", UNITS_GOOD, UNITS_BAD),
        ("unitType", list(reference.UNIT_TYPES), ["container", None, 1]),
        ("seals", [*SEALS_GOOD, None], SEALS_BAD),
        ("pieces", [*PIECES_GOOD, None], PIECES_BAD),
        ("weightKg", [*WEIGHTS_GOOD, None], WEIGHTS_BAD),
        ("shared", [True, False, None], FLAGS_BAD),
        ("locationCode", [*CODES_GOOD, None], CODES_BAD),
    ],
)
def test_whatever_is_wrong_inside_units_is_named_units(field, inside, outside):
    for expected, values in ((None, inside), ("units", outside)):
        for value in values:
            record = GOOD_DECLARATION | {"units": [UNIT, UNIT | {field: value}]}
            found = check("declarations", b"101234567890", bytes_of(record))
            assert found == (expected and "MALFORMED", expected), value
            if expected:
                detail = SCANNERS[0].scan_record("declarations", b"101234567890", bytes_of(record))
                assert f"units[1].{field}" in detail[3]


CONDITIONS = [
    ("retraction without its time", "port-events", {"isRetracted": True}, "eventUpdatedDateTime"),
    ("that comes before other errors after it", "port-events",
     {"isRetracted": True, "operatorID": 1}, "eventUpdatedDateTime"),
    ("retraction", "port-events",
     {"isRetracted": True, "eventUpdatedDateTime": "2018-08-09T10:04:05Z"}, None),
    *((f"{t} of a lot without quantity", "port-events",
       {"unitType": "BULK", "eventType": t}, "pieces") for t in QUANTIFIED),
    *((f"{t} of a lot without quantity", "port-events",
       {"unitType": "BULK", "eventType": t}, None) for t in ("STRIP", "STUFF", "DISCREPANCY")),
    ("a lot's weight is enough", "port-events",
     {"unitType": "LIQUID", "weightKg": 0}, None),
    ("missing quantity comes last", "port-events",
     {"unitType": "BULK", "document": ""}, "document"),
    ("RESEAL without seals", "port-events", {"eventType": "RESEAL"}, "seals"),
    ("RESEAL with blanks", "port-events",
     {"eventType": "RESEAL", "seals": ["N-A", "", "##"], "document": 1}, "seals"),
    ("RESEAL", "port-events", {"eventType": "RESEAL", "seals": ["", "s"]}, None),
    ("customs seal missing", "holds", {"reason": "CUSTOMS_SEAL"}, "seal"),
    ("customs seal blank", "holds", {"reason": "CUSTOMS_SEAL", "seal": "n a"}, "seal"),
    ("customs seal", "holds", {"reason": "CUSTOMS_SEAL", "seal": "s"}, None),
    ("blank seal of another reason", "holds", {"seal": "#"}, None),
    ("declaration held", "holds", {"scope": "DECLARATION", "reference": "101234567890"}, None),
    ("unit in place of a declaration", "holds", {"scope": "DECLARATION"}, "reference"),
    ("scope comes before reference", "holds", {"scope": "X", "reference": 1}, "scope"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "change", "field"),
    [row[1:] for row in CONDITIONS],
    ids=[row[0] for row in CONDITIONS],
)
def test_condition(topic, change, field):
    record = GOOD[topic] | change
    assert check(topic, key_of(topic, record), bytes_of(record)) == (field and "MALFORMED", field)


@pytest.mark.parametrize("topic", IDS)
@pytest.mark.parametrize("key", [None, b"", b"other", b"\xff\xff", b"HPH\x00"])
def test_key_must_equal_the_id(topic, key):
    assert check(topic, key, bytes_of(GOOD[topic])) == ("MALFORMED", IDS[topic])


@pytest.mark.parametrize("topic", TOPICS)
def test_fields_are_judged_in_the_order_of_the_contract(topic):
    """Of two wrong fields the earlier is named, in whatever order they are written."""
    order = [field for of, field, _, _ in limits() if of == topic]
    if topic == "port-events":
        order = list(PORT_EVENT_FIELDS)
    if topic == "operators":
        order = [
            "operatorID", "name", "kind", "departmentCode", "departmentName", "branchCode",
            "branchName", "locations", "cargo", "status", "connectedDate", "wave", "version",
        ]  # fmt: skip
    for first, second in itertools.pairwise(order):
        wrong = {second: Raw('{"no":1}'), first: Raw('{"no":1}')}
        for record in (GOOD[topic] | wrong, wrong | GOOD[topic] | wrong):
            found = check(topic, key_of(topic, GOOD[topic]), bytes_of(record))
            assert found == ("MALFORMED", first)


@pytest.mark.parametrize("topic", TOPICS)
def test_size_limit(topic):
    """A value of exactly the limit is read; one byte more is TOO_LARGE, even if it is no JSON."""
    limit = 65536 if topic == "port-events" else 1048576
    value = bytes_of(GOOD[topic])
    padded = value[:-1] + b',"x":"' + b"y" * (limit - len(value) - 7) + b'"}'
    assert len(padded) == limit
    assert check(topic, key_of(topic, GOOD[topic]), padded) == (None, None)
    assert check(topic, key_of(topic, GOOD[topic]), padded + b" ") == ("TOO_LARGE", None)
    assert check(topic, None, b"x" * (limit + 1)) == ("TOO_LARGE", None)
    assert check(topic, None, b"x" * limit) == ("MALFORMED", None)


@pytest.mark.parametrize("topic", TOPICS)
def test_no_value_is_malformed(topic):
    for scanner in SCANNERS:
        assert scanner.scan_record(topic, b"k", None)[1:3] == ("MALFORMED", None)


# ----------------------------------------------------------------------------- hostile JSON


def with_extra(text: str | bytes) -> bytes:
    """A good port event with one more member, as written."""
    extra = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return bytes_of(GOOD_EVENT)[:-1] + b"," + extra + b"}"


HOSTILE_GOOD = {
    "64 levels of arrays": with_extra('"x":' + "[" * 63 + "]" * 63),
    "64 levels of objects": with_extra('"x":' + '{"y":' * 62 + "{}" + "}" * 62),
    "64 levels mixed": with_extra('"x":' + '[{"y":' * 31 + "[ ]" + "}]" * 31),
    "huge numbers": with_extra('"x":[1e999999,-1E-999999,' + "9" * 5000 + ",0.0e+0,-0]"),
    "60 KiB string": with_extra('"x":"' + "y" * 60000 + '"'),
    "60 KiB of backslashes": with_extra('"x":"' + "\\\\" * 30000 + '"'),
    "escaped quotes": with_extra('"x":"' + '\\"' * 20000 + '"'),
    "60 KiB of spaces": b" " * 30000 + bytes_of(GOOD_EVENT) + b"\r\n\t " * 7000,
    "NUL in a key": with_extra('"unit\\u0000":1'),
    "empty key": with_extra('"":{}'),
    "surrogate pair": with_extra('"x":"\\ud83d\\udea2"'),
    "noncharacters": with_extra('"x":"\\uffff\\ufffe\uffff\U0010ffff"'),
    "known key with escapes": with_extra('"\\u0075\\u006Eit":"A","pi\\u0065ces":1'),
    "last of a repeated key": with_extra('"unit":1,"unit":[],"unit":"B"'),
    "last, written with escapes": with_extra('"unit":1,"\\u0075nit":"B"'),
    "null after a value": with_extra('"pieces":"x","pieces":null'),
    "all escapes": with_extra('"x":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9"'),
    "long key": with_extra('"' + "k" * 5000 + '":1'),
    "unit deep in an unknown field": with_extra('"x":{"unit":5,"a":[{"unit":[]}]}'),
    "thousands of members": with_extra(",".join(f'"k{i}":{i}' for i in range(5000))),
}
HOSTILE_BAD = {
    "nothing": b"",
    "white space": b" \n",
    "65 levels of arrays": with_extra('"x":' + "[" * 64 + "]" * 64),
    "65 levels of objects": with_extra('"x":' + '{"y":' * 63 + "{}" + "}" * 63),
    "65 levels in a known field": with_extra('"seals":' + "[" * 64 + "]" * 64),
    "65 levels in a repeated key": with_extra('"x":' + "[" * 64 + "]" * 64 + ',"x":1'),
    "30,000 open arrays": with_extra('"x":' + "[" * 30000),
    "array": b"[" + bytes_of(GOOD_EVENT) + b"]",
    "string": b'"x"',
    "null": b"null",
    "BOM": b"\xef\xbb\xbf" + bytes_of(GOOD_EVENT),
    "UTF-16": bytes_of(GOOD_EVENT).decode().encode("utf-16"),
    "trailing byte": bytes_of(GOOD_EVENT) + b"x",
    "trailing NUL": bytes_of(GOOD_EVENT) + b"\x00",
    "two objects": bytes_of(GOOD_EVENT) + b"{}",
    "two objects, comma": bytes_of(GOOD_EVENT) + b",{}",
    "trailing bracket": bytes_of(GOOD_EVENT) + b"}",
    "object left open": with_extra('"x":{'),
    "inner object closed by the outer bracket": bytes_of(GOOD_EVENT)[:-1] + b',"x":{"y":1}',
    "array left open": with_extra('"x":["y"'),
    "mismatched brackets": with_extra('"x":[1}'),
    "form feed between": with_extra('\x0c"x":1'),
    "no-break space between": with_extra('\u00a0"x":1'),
    "trailing comma": with_extra('"x":1,'),
    "two commas": with_extra('"x":1,,"y":2'),
    "missing comma": with_extra('"x":1 "y":2'),
    "missing colon": with_extra('"x" 1'),
    "missing value": with_extra('"x":'),
    "single quotes": with_extra("'x':1"),
    "key without quotes": with_extra("x:1"),
    "number as key": with_extra("1:1"),
    "comment": with_extra('/* */"x":1'),
    "raw line feed in a string": with_extra('"x":"a\nb"'),
    "raw NUL in a string": with_extra('"x":"a\x00b"'),
    "raw tab in a key": with_extra('"a\tb":1'),
    "open string": with_extra('"x":"'),
    "string closed by an escaped quote": with_extra('"x":"\\"'),
    "backslash outside of strings": with_extra('\\"x":1'),
    "backslash before the end": bytes_of(GOOD_EVENT)[:-1] + b"\\}",
    "overlong": with_extra(b'"x":"\xc0\xaf"'),
    "overlong of three bytes": with_extra(b'"x":"\xe0\x80\xaf"'),
    "raw surrogate": with_extra(b'"x":"\xed\xa0\x80"'),
    "beyond U+10FFFF": with_extra(b'"x":"\xf4\x90\x80\x80"'),
    "UTF-8 cut by the end of a string": with_extra(b'"x":"\xe1\xba"'),
    "continuation byte": with_extra(b'"x":"\x80"'),
    "lone high surrogate": with_extra('"x":"\\ud800"'),
    "lone low surrogate": with_extra('"x":"\\udc00"'),
    "swapped surrogates": with_extra('"x":"\\udc00\\ud800"'),
    "two high surrogates": with_extra('"x":"\\ud800\\ud800"'),
    "high surrogate twice": with_extra('"x":"\\ud800\\ud800\\udc00"'),
    "lone surrogate in a key": with_extra('"\\ud800":1'),
    "lone surrogate in a key that is repeated": with_extra('"x":"\\ud800","x":1'),
    "lone surrogate deep inside": with_extra('"x":[{"y":["\\udfff"]}]'),
    "lone surrogate in a known field": with_extra('"unit":"\\ud800"'),
}
for literal in (
    "NaN", "Infinity", "-Infinity", "nan", "True", "None", "undefined", "tru", "truee", "nul",
    "-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1e", "1e+", "1.e5", "0x1", "1_0", "1,0.",
    "--1", "1-1", "\u0661", "5f",
):  # fmt: skip
    HOSTILE_BAD[f"literal {literal}"] = with_extra(f'"x":{literal}')
for escape in ("x41", "u12", "u12g4", "U0041", "'", "0", "a", "u+123", "u 123", "u", "\n", "é"):
    HOSTILE_BAD[f"escape {escape!r}"] = with_extra(f'"x":"\\{escape}"')


@pytest.mark.parametrize("case", HOSTILE_GOOD)
def test_strange_but_valid_json_is_read(case):
    assert check("port-events", b"any", HOSTILE_GOOD[case]) == (None, None)


@pytest.mark.parametrize("case", HOSTILE_BAD)
def test_what_is_no_json_object_is_refused_without_a_field(case):
    assert check("port-events", b"any", HOSTILE_BAD[case]) == ("MALFORMED", None)


def test_characters_of_the_basic_plane_written_either_way():
    """Decoded strings equal those of Python's json: all of one or two bytes, some of three."""
    for start in range(0, 0x10000, 256):
        points = [p for p in range(start, start + 256) if not 0xD800 <= p < 0xE000]
        for point in points[:: 1 if start < 0x800 else 64]:
            escaped = GOOD_EVENT | {"document": Raw(f'"a\\u{point:04x}b\\u{point:04X}"')}
            plain = point < 0x20 or point == 0x7F
            expected = ("MALFORMED", "document") if plain else (None, None)
            assert check("port-events", None, bytes_of(escaped)) == expected
        if points and start >= 0x100:
            raw = GOOD_EVENT | {"document": "".join(map(chr, points))}
            assert check("port-events", None, bytes_of(raw)) == (None, None)


def test_backslashes_and_quotes_at_every_place_of_a_block():
    """Runs of backslashes of every length across the 64-byte blocks of the first pass."""
    for shift in range(70):
        for run in range(1, 9):
            text = "s" * shift + "\\" * run
            for tail in ("", '"', '"z'):
                for ending in (b'"', b'\\""'):
                    value = with_extra(b'"x":"' + (text + tail).encode() + ending)
                    check("port-events", None, value)
            record = GOOD_EVENT | {"document": f'{text}"{text}'}
            assert check("port-events", None, bytes_of(record)) == (None, None)


@pytest.mark.parametrize("seed", range(4))
def test_soup_of_tokens(seed):
    """Mostly nonsense, some of it JSON: the walk and Python's parser agree on which."""
    chance = random.Random(f"soup/{seed}")
    tokens = [
        "{", "}", "[", "]", ",", ":", '"', '"a"', '"b":', "1", "-0.5e3", "true", "null", " ", "\n",
        "\\", '\\"', "[]", "{}", '{"a":1}', "0", "e", ".", "é", '"\\u00e9"', '"\\ud800"',
    ]  # fmt: skip
    seen = Counter()
    for _ in range(4000):
        soup = "".join(chance.choice(tokens) for _ in range(chance.randint(1, 9)))
        seen[check("port-events", None, with_extra('"x":' + soup))] += 1
    assert set(seen) == {(None, None), ("MALFORMED", None)}


# ----------------------------------------------------------------------------- whole results


def test_port_event_whole():
    record = GOOD_EVENT | {
        "eventType": "GET_OUT",
        "eventUpdatedDateTime": "2018-08-09T10:04:05.123456789+07:00",
        "unit": "msku 123456-5",
        "seals": ["vn 2", "NA", "VN-1", "vn2", "é"],
        "declarations": ["000000000001", "101234567890"],
        "weightKg": Raw("1.05"),
        "document": "Phiếu",
    }
    for scanner in SCANNERS:
        assert scanner.scan_record("port-events", None, bytes_of(record)) == (
            {
                "eventID": "E1", "eventType": "GET_OUT", "eventDateTime": 1533783845000000,
                "version": 1533783845123456, "versionField": "eventUpdatedDateTime",
                "isRetracted": False, "operatorID": "HPH", "locationCode": "03CES01",
                "unitType": "CONTAINER", "unit": "MSKU1234565", "direction": "IMPORT",
                "purpose": "CLEARANCE", "pieces": None, "weightGrams": 1050,
                "seals": ["VN1", "VN2", "é"], "looked": True,
                "declarations": ["000000000001", "101234567890"], "document": "Phiếu",
            },
            None, None, None,
        )  # fmt: skip


def test_operator_and_declaration_whole():
    """The fields that the reference does not keep."""
    operator_record = GOOD_OPERATOR | {
        "branchCode": "03CE", "branchName": "Chi cục", "connectedDate": "2018-08-09",
    }  # fmt: skip
    declaration_record = GOOD_DECLARATION | {
        "branchCode": "03CE",
        "units": [{"unit": "a", "unitType": "BULK", "seals": [], "weightKg": 2}],
    }
    for scanner in SCANNERS:
        read = scanner.scan_record("operators", b"HPH", bytes_of(operator_record))[0]
        assert read["departmentCode"] == "03"
        assert read["departmentName"] == "Hải Phòng"
        assert (read["branchCode"], read["branchName"]) == ("03CE", "Chi cục")
        assert read["connectedDay"] == 17752
        read = scanner.scan_record("declarations", b"101234567890", bytes_of(declaration_record))[0]
        assert (read["branchCode"], read["locationCode"]) == ("03CE", "03CES01")
        assert read["units"] == [
            {
                "unit": "A", "unitType": "BULK", "seals": [], "looked": True, "pieces": None,
                "weightGrams": 2000, "shared": False, "locationCode": None,
            }
        ]  # fmt: skip


def test_a_scanner_keeps_nothing_from_the_record_before():
    """A record reads the same after any other one, large, refused or of another topic."""
    large = GOOD_DECLARATION | {"units": [UNIT | {"seals": ["s\u00e91"] * 20}] * 5000}
    for scanner in SCANNERS:
        first = scanner.scan_record("port-events", None, bytes_of(GOOD_EVENT))
        for topic, value in (
            ("declarations", bytes_of(large)),
            ("port-events", with_extra('"x":"\\u00')),
            ("operators", b""),
            ("port-events", with_extra('"seals":["a b"],"document":"\\u00e9"')),
        ):
            scanner.scan_record(topic, b"101234567890", value)
            assert scanner.scan_record("port-events", None, bytes_of(GOOD_EVENT)) == first


def test_topic_must_be_one_that_is_read():
    with pytest.raises(ValueError, match="decisions"):
        SCANNERS[0].scan_record("decisions", None, b"{}")


def test_unknown_simd_path_is_named():
    with pytest.raises(ValueError, match="sse9"):
        Scanner("sse9")


def test_records_like_one_before_are_read_as_the_reference_reads_them():
    """The scanner remembers how texts are laid out: with any byte of them exchanged it must see
    what a walk would see, and read the values that are there now."""
    chance = random.Random(SEED)
    verdicts = Counter()
    for seed in range(300):
        key, value = generated_record("port-events", seed)
        if seed % 3 == 0:
            value = bytes_of(GOOD_LOT | {"weightKg": 20473, "seals": ["A1"], "x": [1, {"y": "z"}]})
        for _ in range(4):
            check("port-events", key, value)
        for _ in range(10):
            changed = bytearray(value)
            for _ in range(chance.choice([1, 1, 2])):
                place = chance.randrange(len(changed))
                if chance.random() < 0.5:  # a value keeps its kind
                    changed[place] = chance.choice(b"0123456789ABCxyz")
                else:
                    changed[place] = chance.choice(b'"\\{}[],: -.eE0\x00\x1f\x7f\xc3\n')
            verdicts[check("port-events", key, bytes(changed))[0]] += 1
            check("port-events", key, value)
    assert min(verdicts[None], verdicts["MALFORMED"]) > 300


@pytest.mark.parametrize(
    "time",
    [
        "2018-08-09T23:59:59Z",
        "2018-08-09T23:59:59.123Z",
        "2018-08-09T10:00:00+07:00",
        "2018-08-09T10:00:00.999+07:00",
        "2018-08-09T10:00:00.12345678Z",
        "2018-08-09T10:00:00.1+07:00",
    ],
)
def test_date_times_of_records_like_one_before(time):
    """Where records of a layout were good, the clock is read without looking at each digit."""
    for field in ("eventDateTime", "eventUpdatedDateTime"):
        event = GOOD_LOT | {field: time}
        value = bytes_of(event)
        start = value.index(f'"{time}"'.encode()) + 1
        for place, byte in itertools.product(range(len(time)), b"0123456789:.-+TZ /"):
            for _ in range(3):
                check("port-events", None, value)
            changed = value[: start + place] + bytes([byte]) + value[start + place + 1 :]
            check("port-events", None, changed)


@pytest.mark.parametrize(
    "good, bad",
    [
        ("2018-08-09T10:00:00.12345678Z", "2018-08-09T10:00:0045678Z"),
        ("2018-08-09T10:00:00.1234Z", "2018-08-09T10:00:00.123.1234Z"),
        ("2018-08-09T10:00:00Z", "2018-08-09T10:00:00Z\0\0\0\0\0"),
        ("2018-08-09T10:00:00.123Z", "2018-08-09T10:00:00Z\0\0\0\0\0"),
        ("2018-08-09T10:00:00Z", "\0" * 11 + "00:00:00\0"),
        ("2018-08-09T10:00:00Z", "\0" * 11 + "00:00:00" + "\0" * 6),
    ],
)
def test_a_date_time_is_none_whatever_was_read_before(good, bad):
    """Day and offset are remembered; the end of a fraction is no offset, and zeros are none."""
    for scanner in map(Scanner, SIMD_PATHS):
        for time in (bad, good, bad, good, good, good, bad):
            value = bytes_of(GOOD_LOT | {"eventDateTime": time})
            reason = scanner.scan_record("port-events", None, value)[1]
            assert reason == ("MALFORMED" if time == bad else None)


# ----------------------------------------------------------------------------- by the million


def test_batch_says_what_single_records_say():
    values = [generated("port-events", seed)[1] for seed in range(5000)] + [b""]
    bounds = numpy.cumsum([0] + [len(value) for value in values])
    for scanner in SCANNERS:
        columns = scanner.scan_port_events(values)
        whole = scanner.scan_port_events(b"".join(values), bounds)
        for name, column in columns.items():
            assert (column == whole[name]).all()
        for row, value in enumerate(values):
            record, reason, field, _ = scanner.scan_record("port-events", None, value)
            assert REASONS[columns["reason"][row]] == reason
            named = columns["field"][row]
            assert (PORT_EVENT_FIELDS[named] if named >= 0 else None) == field
            if record is None:
                continue
            for name in ("eventID", "operatorID", "locationCode", "unit"):
                assert columns[name][row].decode() == record[name]
            for name in ("eventDateTime", "version", "isRetracted", "looked"):
                assert columns[name][row] == record[name]
            for name in ("pieces", "weightGrams"):
                assert columns[name][row] == (-1 if record[name] is None else record[name])
            for name in ("seals", "declarations"):
                assert columns[name][row] == len(record[name])
            assert reference.EVENT_TYPES[columns["eventType"][row]] == record["eventType"]
            assert reference.UNIT_TYPES[columns["unitType"][row]] == record["unitType"]
            assert reference.PURPOSES[columns["purpose"][row]] == record["purpose"]
            assert PORT_EVENT_FIELDS[columns["versionField"][row]] == record["versionField"]


@pytest.mark.parametrize("offsets", [[0, 5], [-1, 1], [2, 1], [[0, 1]], []])
def test_batch_offsets_must_fit_the_buffer(offsets):
    with pytest.raises(ValueError, match="offsets"):
        SCANNERS[0].scan_port_events(b"{}", offsets)


def test_batch_from_a_run_into_columns_that_are_there_already():
    values = [generated("port-events", seed)[1] for seed in range(300)] + [b"", None]
    run = RecordRun.from_records([(None, value, i, 0) for i, value in enumerate(values)])
    scanner = Scanner()
    expected = scanner.scan_port_events([value or b"" for value in values])
    out = scanner.scan_port_events([bytes_of(GOOD_EVENT)] * (len(values) + 5))
    columns = scanner.scan_port_events(run, out=out)
    for name, column in columns.items():
        assert (column == expected[name]).all()
        assert numpy.shares_memory(column, out[name])


def test_batch_looks_units_up():
    values = [generated("port-events", seed)[1] for seed in range(3000)] + [b"{}"]
    scanner, index = Scanner(), UnitIndex()
    columns = scanner.scan_port_events(values)
    wanted = {}
    for row, unit in enumerate(columns["unit"].tolist()):
        if not columns["reason"][row] and row % 3:
            is_lot = bool(columns["unitType"][row])
            wanted[unit, is_lot] = index.insert(unit, numpy.array([0, len(unit)]), is_lot=is_lot)
    rows = {(unit, is_lot): row for row, unit, is_lot in index}
    assert set(rows) == set(wanted)
    found = scanner.scan_port_events(values, index=index)["row"]
    for i, unit in enumerate(columns["unit"].tolist()):
        expected = rows.get((unit, bool(columns["unitType"][i])), -1)
        assert found[i] == (-2 if columns["reason"][i] else expected)
    assert {-2, -1} < set(found.tolist())


@pytest.mark.parametrize(
    "name, column",
    [
        ("reason", numpy.zeros(2, numpy.uint8)),
        ("unit", numpy.zeros(9, "S64")),
        ("pieces", numpy.zeros(18, numpy.int64)[::2]),
        ("pieces", numpy.zeros(9, numpy.uint64)),
        ("pieces", numpy.zeros(9, ">i8")),
        ("pieces", numpy.zeros((9, 1), numpy.int64)),
        ("version", numpy.frombuffer(bytes(72), numpy.int64)),
        ("eventID", [b""] * 9),
        ("looked", None),
    ],
)
def test_batch_needs_columns_with_room(name, column):
    out = SCANNERS[0].scan_port_events([b"{}"] * 9)
    with pytest.raises(ValueError, match=name):
        SCANNERS[0].scan_port_events([b"{}"] * 9, out={**out, name: column})


def test_batch_of_nothing():
    assert all(len(column) == 0 for column in SCANNERS[0].scan_port_events([]).values())


def test_batch_lets_other_threads_run_but_not_with_its_scanner():
    """While a batch is scanned this thread goes on, and finds the scanner taken."""
    scanner = Scanner()
    values = [bytes_of(GOOD_EVENT)] * 200_000
    bounds = numpy.cumsum([0] + [len(value) for value in values])
    whole = b"".join(values)
    refused = 0
    for _ in range(20):
        with ThreadPoolExecutor(1) as pool:
            batch = pool.submit(scanner.scan_port_events, whole, bounds)
            while not batch.done():
                try:
                    scanner.scan_record("port-events", None, values[0])
                except RuntimeError:
                    refused += 1
            assert not batch.result()["reason"].any()
        if refused:
            break
    assert refused


def test_value_ends_where_it_ends_whatever_follows():
    """Every beginning of a record, with the rest of it right behind in the buffer."""
    value = with_extra('"x":[{"y":{}},{}],"document":"\\u00e9","z":{}') + b',"unit":"B"}' * 20
    count = value.index(b"}}") + 60
    starts = numpy.zeros(1, numpy.int64)
    for scanner in SCANNERS:
        for end in range(count):
            columns = scanner.scan_port_events(value, numpy.append(starts, end))
            expected = scanner.scan_record("port-events", None, value[:end])[1:3]
            named = columns["field"][0]
            found = REASONS[columns["reason"][0]], PORT_EVENT_FIELDS[named] if named >= 0 else None
            assert found == expected, value[:end]
            assert check("port-events", None, value[:end]) == expected


def test_nothing_is_read_beyond_the_page_of_the_last_byte():
    """Values that end where readable memory ends: a read too far stops the whole test run."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 3 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert protect(address + 2 * page, page, 0) == 0  # PROT_NONE
    values = [
        bytes_of(GOOD_EVENT),
        with_extra('"document":"\\u00e9' + "x" * 300 + '"'),
        with_extra('"x":12'),
        b"{}",
        b'{"a":tru',
        b'{"unit":"',
        b"",
        b"{",
        b'{"a":{}',
        bytes_of(GOOD_EVENT) + b"\n",
    ]
    for value in values:
        for distance in range(70):
            end = 2 * page - distance
            memory[end - len(value) : end] = value
            for scanner in SCANNERS:
                columns = scanner.scan_port_events(
                    memoryview(memory)[: 2 * page], [end - len(value), end]
                )
                expected = scanner.scan_record("port-events", None, value)[1]
                assert REASONS[columns["reason"][0]] == expected
