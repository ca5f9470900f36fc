"""The join over arrays against the matcher over records: the same facts for the same events.

Goal: an engineer with arrays gets what the engine would say, bit for bit. Method: random
declarations, holds and events, as columns and as a log; every GATE_CHECK's facts against the
decision that the matcher makes of it when it arrives. Then what is refused, and what is left alone.
"""

from __future__ import annotations

import json
from random import Random

import numpy
import pytest

from core_ext.clearance_join import (
    ABSENT_TIME,
    DIRECTIONS,
    EVENT_TYPES,
    PURPOSES,
    RULE_CODES,
    STATUSES,
    UNIT_TYPES,
    UNKNOWN_UNIT,
    ClearanceJoin,
)
from core_ext.event_scanner import format_date_time
from core_ext.matcher import Matcher

NOON_US = 1_533_814_400_000_000  # 2018-08-09T11:33:20Z
HOUR_US = 3_600_000_000
ALL_ROWS = [(-(2**62), 2**62, "all", (1 << 18) - 1, (1 << 24) - (1 << 18))]
PARAMETERS = {
    "overstay_us": 90 * 24 * HOUR_US, "late_import_us": HOUR_US // 4, "late_export_us": HOUR_US,
    "clock_ahead_us": HOUR_US // 12, "return_us": 30 * 24 * HOUR_US,
    "stale_us": 180 * 24 * HOUR_US, "reservation_us": 24 * HOUR_US,
    "weight_tolerance_thousandths": 0,
}  # fmt: skip
UNITS = [
    ("CSQU3054383", "CONTAINER"), ("MSDU5898660", "CONTAINER"), ("CSQU3054384", "CONTAINER"),
    ("BOX1", "CONTAINER"), ("LOT1", "BULK"), ("LOT2", "PACKAGES"), ("CSQU3054383", "LIQUID"),
]  # fmt: skip
LOCATIONS = 3


def names_of(names):
    lengths = [len(name) for name in names]
    return "".join(names).encode(), numpy.cumsum([0, *lengths]).astype(numpy.int64)


def u1(values):
    return numpy.array(values, numpy.uint8)


def i8(values):
    return numpy.array(values, numpy.int64)


def i4(values):
    return numpy.array(values, numpy.int32)


class Both:
    """A join and a matcher that are told the same."""

    def __init__(self, chance: Random):
        self.chance = chance
        self.join = ClearanceJoin()
        self.matcher = Matcher(ALL_ROWS, PARAMETERS)
        self.now_us = NOON_US
        self.serial = 0
        self.write(
            "operators",
            "OP",
            {
                "operatorID": "OP",
                "name": "n",
                "kind": "SEAPORT",
                "departmentCode": "03",
                "departmentName": "d",
                "locations": [f"L{i}" for i in range(LOCATIONS)],
                "status": "CONNECTED",
                "version": 1,
            },
        )

    def write(self, topic, key, value):
        line = {"topic": topic, "timestamp": self.now_us // 1000, "key": key, "value": value}
        self.matcher.apply_log(json.dumps(line).encode() + b"\n", 0, True)

    def declaration(self):
        chance = self.chance
        self.serial += 1
        number = 100_000_000_000 + chance.randrange(8)
        direction, status = chance.choice(DIRECTIONS[:3]), chance.choice(STATUSES)
        registered = self.now_us - chance.choice([1, 24, 24 * 200]) * HOUR_US
        status_us = chance.choice([None, self.now_us, registered])
        location = chance.randrange(LOCATIONS)
        lines = [chance.choice(UNITS) for _ in range(chance.randrange(4))]
        pieces = [chance.choice([-1, 0, 5, 40]) for _ in lines]
        grams = [chance.choice([-1, 1000, 250_000]) for _ in lines]
        shared = [chance.random() < 0.3 for _ in lines]
        units, offsets = names_of([name for name, _ in lines])
        self.join.put_declarations(
            numpy.array([number], numpy.uint64),
            i8([self.serial]),
            u1([DIRECTIONS.index(direction)]),
            u1([STATUSES.index(status)]),
            i8([registered]),
            i4([location]),
            i8([0, len(lines)]),
            units,
            offsets,
            unit_types=u1([UNIT_TYPES.index(unit_type) for _, unit_type in lines]),
            status_us=i8([ABSENT_TIME if status_us is None else status_us]),
            pieces=i8(pieces),
            weight_grams=i8(grams),
            shared=u1(shared),
        )
        value = {
            "declarationNumber": str(number), "version": self.serial, "direction": direction,
            "status": status, "registeredDateTime": format_date_time(registered),
            "statusDateTime": status_us and format_date_time(status_us),
            "locationCode": f"L{location}",
            "units": [
                {"unit": name, "unitType": unit_type, "shared": is_shared,
                 "pieces": None if count < 0 else count,
                 "weightKg": None if weight < 0 else weight // 1000}
                for (name, unit_type), count, weight, is_shared
                in zip(lines, pieces, grams, shared, strict=True)
            ],
        }  # fmt: skip
        self.write("declarations", str(number), value)

    def hold(self):
        chance = self.chance
        self.serial += 1
        hold_id, name = chance.randrange(4), chance.choice(UNITS)[0]
        number = 100_000_000_000 + chance.randrange(8)
        on_unit, reason, active = chance.random() < 0.5, chance.randrange(2), chance.random() < 0.5
        on = (
            dict(zip(("units", "offsets"), names_of([name]), strict=True))
            if on_unit
            else {"declaration_numbers": numpy.array([number], numpy.uint64)}
        )
        self.join.put_holds(
            i8([hold_id]), i8([self.serial]), u1([reason]), u1([active]), i8([self.now_us]), **on
        )
        value = {
            "holdID": str(hold_id), "version": self.serial,
            "scope": "UNIT" if on_unit else "DECLARATION",
            "reference": name if on_unit else str(number),
            "reason": ("STOP", "SCAN")[reason], "state": "ACTIVE" if active else "LIFTED",
            "issuedDateTime": format_date_time(self.now_us),
        }  # fmt: skip
        self.write("holds", str(hold_id), value)

    def event(self) -> tuple[int, int] | None:
        """Facts of the join and of the matcher, if it is a GATE_CHECK."""
        chance = self.chance
        name, unit_type = chance.choice(UNITS)
        event_type = chance.choice(["GET_IN", "GET_IN", "GATE_CHECK", "GATE_CHECK", "GET_OUT"])
        direction = chance.choice(DIRECTIONS)
        purpose = chance.choice(["CLEARANCE"] * 4 + list(PURPOSES))
        location, has_document = chance.randrange(LOCATIONS), chance.random() < 0.5
        time_us = self.now_us - chance.choice([0, 0, 0, 3]) * HOUR_US
        pieces = chance.choice([-1, 1, 5, 20])
        grams = 3000 if pieces < 0 and unit_type != "CONTAINER" else -1
        self.serial += 1
        units, offsets = names_of([name])
        columns = (
            u1([EVENT_TYPES.index(event_type)]), u1([DIRECTIONS.index(direction)]),
            i4([location]), i8([time_us]), units, offsets,
        )  # fmt: skip
        more = {
            "unit_types": u1([UNIT_TYPES.index(unit_type)]),
            "purposes": u1([PURPOSES.index(purpose)]),
            "pieces": i8([pieces]),
            "weight_grams": i8([grams]),
            "has_document": u1([has_document]),
        }
        tried = self.join.join_events(*columns, **more)
        rows, facts = self.join.join_events(*columns, **more, keep=True)
        assert tried[1].tolist() == facts.tolist(), "asking first must change nothing"
        assert rows[0] >= 0 and tried[0][0] in (rows[0], UNKNOWN_UNIT)
        value = {
            "eventID": f"{self.serial:09}", "eventType": event_type, "operatorID": "OP",
            "eventDateTime": format_date_time(time_us), "locationCode": f"L{location}",
            "unitType": unit_type, "unit": name, "direction": direction, "purpose": purpose,
            "pieces": None if pieces < 0 else pieces,
            "weightKg": None if grams < 0 else grams // 1000,
            "document": "d" if has_document else None,
        }  # fmt: skip
        self.matcher.take_lines("decisions")
        self.write("port-events", name, value)
        for line in self.matcher.take_lines("decisions").splitlines():
            decision = json.loads(line)
            if decision["eventID"] == value["eventID"] and decision["unitType"] == unit_type:
                codes = decision["reasons"] + decision["flags"]
                return int(facts[0]), sum(1 << RULE_CODES.index(code) for code in codes)
        assert event_type != "GATE_CHECK"
        return None


@pytest.mark.parametrize("seed", range(6))
def test_the_matcher_says_the_same(seed):
    chance = Random(seed)
    both = Both(chance)
    compared, seen = 0, 0
    for step in range(400):
        both.now_us += chance.choice([1, 60, 3600]) * 1_000_000
        kind = chance.random()
        if kind < 0.25:
            both.declaration()
        elif kind < 0.35:
            both.hold()
        else:
            found = both.event()
            if found is not None:
                differ = [c for i, c in enumerate(RULE_CODES) if (found[0] ^ found[1]) >> i & 1]
                assert not differ, f"seed {seed}, step {step}: {differ}"
                compared += 1
                seen |= found[0]
    assert compared > 80
    assert bin(seen).count("1") > 8, "histories too tame to tell anything"


def checks(numbers, location=0, **more):
    count = len(numbers)
    return {
        "event_types": u1([EVENT_TYPES.index("GATE_CHECK")] * count),
        "directions": u1([0] * count),
        "locations": i4([location] * count),
        "times_us": i8([NOON_US] * count),
        "units": numpy.array(numbers, "S11"),
    } | more


def cleared(join, numbers):
    count = len(numbers)
    return join.put_declarations(
        numpy.arange(count, dtype=numpy.uint64) + numpy.uint64(100_000_000_000),
        i8([1] * count), u1([0] * count), u1([STATUSES.index("CLEARED")] * count),
        i8([NOON_US - HOUR_US] * count), i4([0] * count), numpy.arange(count + 1),
        numpy.array(numbers, "S11"),
    )  # fmt: skip


def test_forms_and_groups_agree():
    """Numbers by the hundred, those that fail ISO 6346 among them, by name and by number."""
    numbers = [b"CSQU3054383", b"CSQU3054384", b"ABCX1234567"] * 50
    join = ClearanceJoin()
    assert cleared(join, sorted(set(numbers))) == 3
    rows, facts = join.join_events(**checks([*numbers, b"MSDU5898660"]))
    by_name = checks(numbers)
    by_name["units"], by_name["offsets"] = names_of([number.decode() for number in numbers])
    rows_by_name, facts_by_name = join.join_events(**by_name)
    assert rows[:-1].tolist() == rows_by_name.tolist()
    assert facts[:-1].tolist() == facts_by_name.tolist()
    assert rows[-1] == UNKNOWN_UNIT
    not_declared, check_digit = (1 << RULE_CODES.index(c) for c in ("NOT_DECLARED", "CHECK_DIGIT"))
    assert facts[-1] & not_declared and not facts[0] & (not_declared | check_digit)
    assert facts[1] & check_digit


def test_asking_leaves_no_trace():
    join = ClearanceJoin()
    numbers = [b"CSQU3054383"] * 100
    cleared(join, numbers[:1])
    join.join_events(**checks(numbers, keep=True))
    before = join.sizes()
    out = join.join_events(**checks(numbers))
    again = join.join_events(**checks(numbers), rows=out[0], facts=out[1])
    assert again[0] is out[0] and again[1] is out[1]
    assert join.sizes() == before
    assert before["units"] == before["lines"] == 1 and before["events"] == 100


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"event_types": u1([9])}, ValueError, r"event_types\[0\] is 9; there are 0 to 7"),
        ({"event_types": i8([1])}, TypeError, "event_types: an array of uint8"),
        ({"locations": i4([1, 2])}, ValueError, "locations: 2 entries instead of 1"),
        ({"times_us": i8([1, 2, 3, 4])[::2]}, ValueError, "times_us: .* contiguous"),
        ({"units": b"CSQU305438"}, ValueError, "10 bytes"),
        ({"units": b"csqu3054383"}, ValueError, "unit of event 0 is no normalised name"),
        ({"units": b"", "offsets": i8([0, 1])}, ValueError, r"offsets\[1\]"),
        ({"pieces": i8([-2])}, ValueError, r"pieces\[0\] is -2"),
        ({"facts": numpy.zeros(2, numpy.uint32)}, ValueError, "shape"),
    ],
)
def test_wrong_input_is_named(change, error, words):
    with pytest.raises(error, match=words):
        ClearanceJoin().join_events(**(checks([b"CSQU3054383"]) | change))


def test_wrong_tables_are_named_and_change_nothing():
    join = ClearanceJoin()
    with pytest.raises(ValueError, match="line 1 is no normalised name"):
        cleared(join, [b"CSQU3054383", b"csqu3054383"])
    with pytest.raises(ValueError, match="reasons"):
        join.put_holds(i8([1]), i8([1]), u1([2]), u1([1]), i8([1]), b"CSQU3054383")
    with pytest.raises(ValueError, match="the one or the other"):
        join.put_holds(i8([1]), i8([1]), u1([0]), u1([1]), i8([1]))
    thirteen = numpy.array([10**12], numpy.uint64)
    with pytest.raises(ValueError, match=r"declaration_numbers\[0\] .* 12 digits"):
        join.put_holds(i8([1]), i8([1]), u1([0]), u1([1]), i8([1]), declaration_numbers=thirteen)
    assert join.sizes()["units"] == join.sizes()["lines"] == 0
