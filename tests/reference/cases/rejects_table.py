"""The rejects, and each limit of CONTRACT.md section 1 just inside and just outside.

Read by `tests/test_rules_table.py`. Written by hand: what is refused, and which field is named.
"""

from __future__ import annotations

import json
from typing import Any

from tests.reference.log import Raw
from tests.reference.records import DAY, HOUR
from tests.reference.story import (
    BOX,
    CHECKED,
    DECLARATION,
    DEPOT,
    IN,
    LOT,
    MICROSECOND,
    Case,
    at,
    declaration_value,
    declared,
    event,
    event_value,
    gate_in,
    goods,
    held,
    hold_value,
    json_text,
    line,
    operator,
    operator_value,
    retracted,
)

NOON = at(1, "12:00")


def sent(topic: str, value: Any, sent_at: int = NOON) -> str:
    """A record of any topic under the key that belongs to it, sent at noon of the first day."""
    key = {"operators": "TC", "declarations": DECLARATION, "holds": "H1", "port-events": BOX}
    return line(topic, key[topic], value, sent_at)


VALUES = {
    "port-events": event_value("GET_IN", "in", IN),
    "declarations": declaration_value(),
    "holds": hold_value(),
    "operators": operator_value(version=2),
}


def with_member(topic: str, field: str, written: str | None, **others: Any) -> str:
    """The usual value of a topic with one member as it is written here, or without it."""
    value = {**VALUES[topic], **others, field: None if written is None else Raw(written)}
    return json_text(value)


MALFORMED = [
    *(
        Case("MALFORMED", f"raised: {field} of {topic} is missing",
             [operator(), sent(topic, with_member(topic, field, None))],
             rejects=[f"MALFORMED {field}"])
        for topic, fields in {
            "operators": ("operatorID", "name", "kind", "departmentCode", "departmentName",
                          "locations", "status", "version"),
            "declarations": ("declarationNumber", "version", "direction", "status",
                             "registeredDateTime", "locationCode", "units"),
            "holds": ("holdID", "version", "scope", "reference", "reason", "state",
                      "issuedDateTime"),
            "port-events": ("eventID", "eventType", "eventDateTime", "operatorID", "locationCode",
                            "unitType", "unit", "direction"),
        }.items()
        for field in fields
    ),
    Case("MALFORMED", "raised: of several wrong fields the first in the order of the contract",
         [operator(), sent("port-events", json_text({**VALUES["port-events"], "document": 1,
                                                     "unit": "", "purpose": "?"}))],
         rejects=["MALFORMED unit"]),
    Case("MALFORMED", "raised: whatever is wrong inside units is named units",
         [operator(), *(
             sent("declarations", json_text(declaration_value(DECLARATION, entry)))
             for entry in ({"unit": BOX}, {"unitType": "BULK"}, goods(unitType="BOX"),
                           goods(pieces=-1), goods(weightKg=Raw("0.0001")), goods(seals=[1]),
                           goods(shared="true"), goods(locationCode=""), goods(""), goods("a b\t"))
         )],
         rejects=["MALFORMED units"] * 10),
    Case("MALFORMED", "raised: one of the units is no object",
         [sent("declarations", with_member("declarations", "units", written))
          for written in ("{}", "[1]", "[null]", "[[]]", '"x"')],
         rejects=["MALFORMED units"] * 5),
    Case("MALFORMED", "raised: the key is not the ID",
         [line("operators", "TX", operator_value(), NOON), line("operators", None,
                                                                operator_value(), NOON),
          line("declarations", "100000000009", declaration_value(), NOON),
          line("holds", "h1", hold_value(), NOON)],
         rejects=["MALFORMED operatorID", "MALFORMED operatorID", "MALFORMED declarationNumber",
                  "MALFORMED holdID"]),
    Case("MALFORMED", "not raised: the key of a port event says only where it goes",
         [operator(), line("port-events", "anything", VALUES["port-events"], NOON)]),
    Case("MALFORMED", "raised: a null value of a port event, or with a null key",
         [line("port-events", BOX, None, NOON), line("port-events", None, None, NOON),
          line("holds", None, None, NOON), line("operators", None, None, NOON),
          line("declarations", None, None, NOON)],
         rejects=["MALFORMED None"] * 5),
    Case("MALFORMED", "not raised: a tombstone of what is not there",
         [line("holds", "x", None, NOON), line("declarations", "x", None, NOON),
          line("operators", "x", None, NOON)]),
    Case("MALFORMED", "not raised: null is the same as absent",
         [operator(), sent("port-events", with_member("port-events", "purpose", "null")),
          sent("operators", with_member("operators", "branchCode", "null"))]),
    Case("MALFORMED", "raised: null in an array of a known field",
         [operator(), sent("port-events", with_member("port-events", "seals", '["S1",null]')),
          sent("port-events", with_member("port-events", "declarations", "[null]")),
          sent("operators", with_member("operators", "locations", '["L",null]')),
          sent("operators", with_member("operators", "cargo", "[null]"))],
         rejects=["MALFORMED seals", "MALFORMED declarations", "MALFORMED locations",
                  "MALFORMED cargo"]),
    Case("MALFORMED", "raised: a retraction needs eventUpdatedDateTime, and before isRetracted",
         [operator(), event("GET_IN", "in", IN, isRetracted=True),
          event("GET_IN", "in", IN, isRetracted=True, operatorID=""),
          event("GET_IN", "in", IN, isRetracted="true"),
          event("GET_IN", "in", IN, isRetracted=False)],
         rejects=["MALFORMED eventUpdatedDateTime", "MALFORMED eventUpdatedDateTime",
                  "MALFORMED isRetracted"]),
    Case("MALFORMED", "raised: a lot without any quantity, if nothing else is wrong",
         [operator(), *(event(t, t, IN, unit=LOT) for t in ("GET_IN", "GATE_CHECK", "GET_OUT",
                                                            "STOCK_COUNT")),
          event("GET_IN", "in", IN, unit=LOT, document="")],
         rejects=["MALFORMED pieces"] * 4 + ["MALFORMED document"]),
    Case("MALFORMED", "not raised: a lot with pieces or kilograms, or where none are asked",
         [operator(), event("GET_IN", "1", IN, unit=LOT, pieces=0),
          event("GET_IN", "2", IN, unit=LOT, weightKg=0), event("STRIP", "3", IN, unit=LOT),
          event("DISCREPANCY", "4", IN, unit=LOT), event("RESEAL", "5", IN, unit=LOT,
                                                         seals=["S1"])]),
    Case("MALFORMED", "raised: a RESEAL without a seal that is no blank",
         [operator(), event("RESEAL", "1", IN), event("RESEAL", "2", IN, seals=[]),
          event("RESEAL", "3", IN, seals=["NA", "##", " - "])],
         rejects=["MALFORMED seals"] * 3),
    Case("MALFORMED", "raised: a CUSTOMS_SEAL hold without a seal that is no blank",
         [held(reason="CUSTOMS_SEAL"), held(reason="CUSTOMS_SEAL", seal="n a"),
          held(reason="CUSTOMS_SEAL", seal="###"), held(reason="STOP", seal="NA")],
         rejects=["MALFORMED seal"] * 3),
    Case("MALFORMED", "raised: what a hold refers to must be what its scope says",
         [held(scope="DECLARATION", on=BOX), held(scope="UNIT", on="--"),
          held(scope="UNIT", on=DECLARATION), held(version=2, scope="UNIT", on="a" * 36)],
         rejects=["MALFORMED reference"] * 2 + ["MALFORMED reference"]),
]  # fmt: skip


def padded(topic: str, size: int) -> str:
    """The usual value of a topic, with a member that nobody knows, of exactly this many bytes."""
    value = with_member(topic, "pad", '""')
    return value[:-2] + "p" * (size - len(value.encode())) + '"}'


def nested(levels: int) -> str:
    """The usual port event as an object of so many levels, the object itself being level 1."""
    return with_member("port-events", "deep", "[" * (levels - 1) + "]" * (levels - 1))


TOO_LARGE = [
    Case("TOO_LARGE", "not raised: a port event of 64 KiB",
         [operator(), sent("port-events", padded("port-events", 65536))]),
    Case("TOO_LARGE", "raised: a byte more",
         [operator(), sent("port-events", padded("port-events", 65537))],
         rejects=["TOO_LARGE None"]),
    *(
        Case("TOO_LARGE", f"{topic}: 1 MiB is not too large, a byte more is",
             [sent(topic, padded(topic, 1048576)), sent(topic, padded(topic, 1048577))],
             rejects=["TOO_LARGE None"])
        for topic in ("declarations", "holds", "operators")
    ),
    Case("TOO_LARGE", "raised: also if it is no JSON",
         [sent("port-events", "x" * 65537)], rejects=["TOO_LARGE None"]),
]  # fmt: skip

# Values of a whole port event: what a strict reader of RFC 8259 takes, and what it does not.
GOOD = with_member("port-events", "x", "1")
JSON = [
    Case("JSON", f"taken: {title}", [operator(), sent("port-events", value)])
    for title, value in {
        "64 levels": nested(64),
        "white space of all four kinds around everything": f" \t\r\n{GOOD} \t\r\n",
        "numbers of any size": with_member("port-events", "x", "[1e999,-0,-0.0E+1,0.1,9e-999]"),
        "a number of 5,000 digits": with_member("port-events", "x", "1" * 5000),
        "all escapes": with_member("port-events", "x", r'"\"\\\/\b\f\n\r\té\ud83d\udea2"'),
        "a repeated key, the last one counting": GOOD[:-1] + ',"eventID":"2"}',
        "a wrong one before a good one": '{"eventID":7,' + GOOD[1:],
        "a key that is written with an escape": GOOD.replace('"eventID"', r'"\u0065ventID"'),
        "a known key inside an unknown member": with_member("port-events", "x", '{"eventID":1}'),
        "a noncharacter and the last code point": with_member("port-events", "x",
                                                              '"\uffff\U0010ffff"'),
        "DELETE in an unknown member": with_member("port-events", "x", '"\x7f"'),
    }.items()
] + [
    Case("JSON", f"refused: {title}", [operator(), sent("port-events", value)],
         rejects=["MALFORMED None"])
    for title, value in {
        "65 levels": nested(65),
        "65 levels that are cut short": nested(65)[:-30],
        "5,000 levels": "{" + '"a":[' * 5000,
        "nothing": "",
        "white space only": " ",
        "an array": f"[{GOOD}]",
        "a word": "null",
        "a string": '"x"',
        "a number": "1",
        "something after it": GOOD + "x",
        "another one after it": GOOD + GOOD,
        "cut short": GOOD[:-1],
        "a byte order mark": "\ufeff" + GOOD,
        "a comma too many": GOOD[:-1] + ",}",
        "a comma in an array too many": with_member("port-events", "x", "[1,]"),
        "no comma": GOOD[:-1] + '"y":1}',
        "no colon": GOOD[:-1] + ',"y" 1}',
        "a comment": GOOD[:-1] + "/* */}",
        "single quotes": GOOD[:-1] + ",'y':1}",
        "a key without quotes": GOOD[:-1] + ",y:1}",
        "NaN": with_member("port-events", "x", "NaN"),
        "Infinity": with_member("port-events", "x", "-Infinity"),
        "True": with_member("port-events", "x", "True"),
        "a word too long": with_member("port-events", "x", "nulll"),
        "a leading zero": with_member("port-events", "x", "01"),
        "a leading zero after a sign": with_member("port-events", "x", "-01"),
        "a plus sign": with_member("port-events", "x", "+1"),
        "no digit before the point": with_member("port-events", "x", ".5"),
        "no digit after the point": with_member("port-events", "x", "1."),
        "no digit in the exponent": with_member("port-events", "x", "1e+"),
        "a hexadecimal number": with_member("port-events", "x", "0x1"),
        "a control character in a string": with_member("port-events", "x", '"\x1f"'),
        "a line feed in a string": with_member("port-events", "x", '"\n"'),
        "a control character in a key": GOOD[:-1] + ',"\t":1}',
        "an unknown escape": with_member("port-events", "x", r'"\x41"'),
        "an upper-case escape": with_member("port-events", "x", r'"\U0041"'),
        "an escape cut short": with_member("port-events", "x", r'"\u004"'),
        "an escape with a sign": with_member("port-events", "x", r'"\u+041"'),
        "a string without end": GOOD[:-1] + ',"y":"',
        "a vertical tab as white space": "\x0b" + GOOD,
        "a no-break space as white space": "\u00a0" + GOOD,
        "a lone high surrogate": with_member("port-events", "x", r'"\ud800"'),
        "a lone low surrogate": with_member("port-events", "x", r'"\udc00"'),
        "surrogates the wrong way round": with_member("port-events", "x", r'"\udc00\ud800"'),
        "a high surrogate before another character": with_member("port-events", "x",
                                                                 r'"\ud800\u0041"'),
        "a lone surrogate in a key": GOOD[:-1] + r',"\ud800":1}',
        "a lone surrogate in a known field": with_member("port-events", "document", r'"\ud800"'),
        "a lone surrogate in a value that a later one replaces": r'{"eventID":"\ud800",'
        + GOOD[1:],
    }.items()
]  # fmt: skip

# Field by field: texts that are just inside the limits, and texts that are just outside.
LIMITS: dict[tuple[str, str], tuple[list[str], list[str]]] = {
    ("port-events", "eventID"): (
        ['"x"', '" "', json.dumps("x" * 64), json.dumps("é" * 32, ensure_ascii=False),
         r'"\u0080"', '"a/b%"'],
        ['""', json.dumps("x" * 65), json.dumps("é" * 32 + "x", ensure_ascii=False),
         r'"\u001f"', r'"\u007f"', '"\x7f"', r'"\n"', "1", "true", "[]", "{}"],
    ),
    ("port-events", "eventType"): (
        ['"STRIP"', '"STUFF"', '"DISCREPANCY"'],
        ['"strip"', '"GET IN"', '""', '"GET_IN "', "1"],
    ),
    ("port-events", "eventDateTime"): (
        ['"1970-01-01T00:00:00Z"', '"1970-01-01T00:00:00+23:59"', '"2018-03-01T23:59:59-00:01"',
         '"2018-03-01T08:00:00.123456789+07:00"', '"2016-02-29T00:00:00.0Z"',
         '"2018-03-01T00:00:00-00:00"', '"2000-02-29T00:00:00Z"'],
        ['"1969-12-31T23:59:59Z"', '"1969-12-31T23:59:59-10:00"', '"2200-01-01T00:00:00Z"',
         '"2200-01-01T00:00:00+10:00"', '"2018-03-01T08:00:60Z"', '"2018-03-01T24:00:00Z"',
         '"2018-03-01T08:60:00Z"', '"2018-02-29T08:00:00Z"', '"2100-02-29T00:00:00Z"',
         '"2018-00-01T08:00:00Z"', '"2018-13-01T08:00:00Z"', '"2018-03-00T08:00:00Z"',
         '"2018-04-31T08:00:00Z"', '"2018-03-01T08:00:00"', '"2018-03-01 08:00:00Z"',
         '"2018-03-01t08:00:00Z"', '"2018-03-01T08:00:00z"', '"2018-03-01T08:00:00.Z"',
         '"2018-03-01T08:00:00.1234567890Z"', '"2018-03-01T08:00:00,5Z"',
         '"2018-03-01T08:00:00+24:00"', '"2018-03-01T08:00:00+07:60"',
         '"2018-03-01T08:00:00+0700"', '"2018-03-01T08:00:00+7:00"', '"2018-03-01T08:00Z"',
         '"2018-3-01T08:00:00Z"', '"18-03-01T08:00:00Z"', '" 2018-03-01T08:00:00Z"',
         '"2018-03-01T08:00:00Z "', '"2018-03-01T08:00:00+07:00Z"', '"2018-03-01"', '""',
         "1519862400", '"2018-03-01T08:00:00\u0660Z"', '"２018-03-01T08:00:00Z"'],
    ),
    ("port-events", "isRetracted"): (["false"], ['"true"', "1", "0", '""', "[]"]),
    ("port-events", "unitType"): (['"CONTAINER"'], ['"container"', '""', '"LOT"']),
    ("port-events", "unit"): (
        ['"A"', json.dumps("A" * 35), json.dumps("!~" * 17), json.dumps("- a " * 35),
         json.dumps(" " * 500 + "x")],
        ['""', '" - "', json.dumps("A" * 36), r'"A\u0020\u007f"', '"é"', r'"A\t"', r'"A\u0000"',
         "7", '"\u00a0"'],
    ),
    ("port-events", "direction"): (
        ['"IMPORT"', '"EXPORT"', '"TRANSIT"', '"DOMESTIC"'], ['"import"', '""'],
    ),
    ("port-events", "purpose"): (
        ['"CLEARANCE"', '"INSPECTION"', '"EMPTY"', '"DOMESTIC"', '"SEIZED"'], ['"EXPORT"', '""'],
    ),
    ("port-events", "pieces"): (
        ["0", "1", "999999999"],
        ["1000000000", "-1", "-0", "1.0", "1e0", "1E2", '"1"', "true", "[1]", "1" * 40],
    ),
    ("port-events", "weightKg"): (
        ["0", "0.0", "0.001", "1.500", "999999999.999", "999999999"],
        ["1000000000", "1000000000.000", "999999999.9990", "0.0001", "-1", "-0", "-0.000", "1e3",
         "1E0", "1.5e0", '"1"', "1" * 40],
    ),
    ("port-events", "seals"): (
        ["[]", '[""]', '["NA"]', json.dumps(["S"] * 20), json.dumps(["x" * 64]), r'["\u0000"]',
         json.dumps(["é" * 32], ensure_ascii=False)],
        ['"S"', "[1]", "[[]]", json.dumps(["S"] * 21), json.dumps(["x" * 65]),
         json.dumps(["é" * 32 + "x"], ensure_ascii=False), json.dumps([" " * 65]), "{}"],
    ),
    ("port-events", "declarations"): (
        ["[]", '["000000000000"]', json.dumps([DECLARATION] * 100)],
        ['["00000000000"]', '["0000000000000"]', '["00000000000a"]', "[100000000001]", '[""]',
         json.dumps([DECLARATION] * 101), f'"{DECLARATION}"', '["１00000000001"]'],
    ),
    ("port-events", "document"): (
        ['"x"', json.dumps("x" * 1024), json.dumps("é" * 512, ensure_ascii=False)],
        ['""', json.dumps("x" * 1025), json.dumps("é" * 512 + "x", ensure_ascii=False),
         r'"\u0000"', r'"\u007f"', "1"],
    ),
    ("operators", "name"): (
        ['"x"', json.dumps("x" * 1024)], ['""', json.dumps("x" * 1025), r'"a\nb"', "1"],
    ),
    ("operators", "kind"): (
        ['"SEAPORT"', '"AIRPORT"', '"WAREHOUSE"', '"YARD"', '"OTHER"'], ['"PORT"', "1"],
    ),
    ("operators", "branchCode"): (['"x"'], ['""', "1", json.dumps("x" * 65)]),
    ("operators", "locations"): (
        ['["L"]', json.dumps(["L"] * 1000)],
        ["[]", json.dumps(["L"] * 1001), '"L"', '[""]', json.dumps(["x" * 65])],
    ),
    ("operators", "cargo"): (
        ["[]", '["CONTAINER","PACKAGES","BULK","LIQUID"]'], ['["LOT"]', '"BULK"', "[1]"],
    ),
    ("operators", "status"): (
        ['"SURVEYED"', '"TESTING"', '"CONNECTED"', '"SUSPENDED"'], ['"connected"'],
    ),
    ("operators", "connectedDate"): (
        ['"1970-01-01"', '"2199-12-31"', '"2016-02-29"'],
        ['"1969-12-31"', '"2200-01-01"', '"2018-02-29"', '"2018-2-01"', '"20180201"', '""',
         '"2018-02-01T00:00:00Z"', "2018", '"2018-W01-1"'],
    ),
    ("operators", "wave"): (
        ["0", "9007199254740992"], ["9007199254740993", "-1", "1.0", '"1"', "-0"],
    ),
    ("operators", "version"): (
        ["0", "9007199254740992"],
        ["9007199254740993", "18446744073709551617", "-1", "1.0", "1e2", '"1"'],
    ),
    ("declarations", "declarationNumber"): (
        [f'"{DECLARATION}"'], [f" {DECLARATION}", '"10000000000"', '""'],
    ),
    ("declarations", "direction"): (
        ['"IMPORT"', '"EXPORT"', '"TRANSIT"'], ['"DOMESTIC"', '""'],
    ),
    ("declarations", "status"): (['"REGISTERED"', '"CANCELLED"'], ['"PASSED"', '""']),
    ("declarations", "units"): (
        ["[]", json.dumps([goods()] * 5000)], [json.dumps([goods()] * 5001), "{}", "1"],
    ),
    ("holds", "reason"): (['"STOP"', '"SCAN"'], ['"SEAL"', '""']),
    ("holds", "state"): (['"ACTIVE"', '"LIFTED"'], ['"ON"', '""']),
    ("holds", "seal"): (
        ['""', '"NA"', json.dumps("x" * 64), r'"\u0000"'], ["1", json.dumps("x" * 65), "[]"],
    ),
}  # fmt: skip

LIMIT_CASES = [
    case
    for (topic, field), (inside, outside) in LIMITS.items()
    for case in (
        Case("LIMIT", f"{topic} {field}: inside",
             [operator(), *(sent(topic, with_member(topic, field, text)) for text in inside)]),
        Case("LIMIT", f"{topic} {field}: outside",
             [operator(), *(sent(topic, with_member(topic, field, text)) for text in outside)],
             rejects=[f"MALFORMED {field}"] * len(outside)),
    )
]  # fmt: skip

FUTURE = [
    Case("FUTURE", "not raised: a version exactly 24 hours ahead of the record",
         [operator(), gate_in(time=NOON + DAY, sent=NOON),
          gate_in("2", eventUpdatedDateTime=NOON + DAY, sent=NOON)]),
    Case("FUTURE", "raised: a microsecond more, and the field that gave the version is named",
         [operator(), gate_in(time=NOON + DAY + MICROSECOND, sent=NOON),
          gate_in("2", eventCreatedDateTime=NOON + DAY + MICROSECOND, sent=NOON),
          gate_in("3", eventUpdatedDateTime=NOON + DAY + MICROSECOND, sent=NOON)],
         rejects=["FUTURE eventDateTime", "FUTURE eventCreatedDateTime",
                  "FUTURE eventUpdatedDateTime"]),
    Case("FUTURE", "not raised: the time of the event is ahead, but not its version",
         [operator(), gate_in(time=NOON + 90 * DAY, eventUpdatedDateTime=NOON, sent=NOON)]),
    Case("FUTURE", "raised before the operator is looked up",
         [gate_in(time=NOON + 2 * DAY, sent=NOON)], rejects=["FUTURE eventDateTime"]),
]  # fmt: skip

OPERATORS = [
    Case("UNKNOWN_OPERATOR", "raised: nobody knows this operator",
         [gate_in()], rejects=["UNKNOWN_OPERATOR operatorID"]),
    Case("UNKNOWN_OPERATOR", "raised: it was removed",
         [operator(), line("operators", "TC", None, IN), gate_in()],
         rejects=["UNKNOWN_OPERATOR operatorID"]),
    Case("UNKNOWN_OPERATOR", "not raised: removed and entered again, though with a lower version",
         [operator(version=9), line("operators", "TC", None, IN), operator(version=1), gate_in()]),
    *(
        Case("OPERATOR_NOT_CONNECTED", f"raised: the operator is {status}",
             [operator(status=status), gate_in()],
             rejects=["OPERATOR_NOT_CONNECTED operatorID"])
        for status in ("SURVEYED", "TESTING")
    ),
    Case("OPERATOR_NOT_CONNECTED", "not raised: a SUSPENDED operator's events are kept",
         [operator(status="SUSPENDED"), gate_in()],
         stock=["CAT-LAI,IMPORT,CONTAINER,0-30,1,0,0.000"]),
    Case("OPERATOR_NOT_CONNECTED", "not raised: a lower or equal version of it is a duplicate",
         [operator(version=2), operator(version=2, status="TESTING"),
          operator(version=1, status="TESTING"), gate_in()]),
    Case("OPERATOR_LOCATION", "raised: not among its locations",
         [operator(), gate_in(locationCode="LACH-HUYEN")],
         rejects=["OPERATOR_LOCATION locationCode"]),
    Case("OPERATOR_LOCATION", "raised: not any more",
         [operator(), operator(version=2, locations=[DEPOT]), gate_in()],
         rejects=["OPERATOR_LOCATION locationCode"]),
    Case("OPERATOR_LOCATION", "not raised: among them",
         [operator(), gate_in(locationCode=DEPOT)]),
    Case("OPERATOR_LOCATION", "raised: also for a retraction",
         [operator(), gate_in(), operator(version=2, locations=[DEPOT]),
          retracted("GET_IN", "in", IN, IN + HOUR)],
         rejects=["OPERATOR_LOCATION locationCode"],
         stock=["CAT-LAI,IMPORT,CONTAINER,0-30,1,0,0.000"]),
]  # fmt: skip

VERSIONS = [
    Case("VERSION", "a lower or equal version of an event changes nothing",
         [operator(), gate_in(eventUpdatedDateTime=IN + HOUR),
          gate_in(locationCode=DEPOT, eventUpdatedDateTime=IN + HOUR),
          gate_in(locationCode=DEPOT, eventUpdatedDateTime=IN + HOUR - MICROSECOND),
          gate_in(locationCode=DEPOT)],
         stock=["CAT-LAI,IMPORT,CONTAINER,0-30,1,0,0.000"]),
    Case("VERSION", "a higher one does; eventCreatedDateTime is the version where none was updated",
         [operator(), gate_in(eventCreatedDateTime=IN + HOUR),
          gate_in(locationCode=DEPOT, eventUpdatedDateTime=IN + HOUR + MICROSECOND)],
         stock=["ICD,IMPORT,CONTAINER,0-30,1,0,0.000"]),
    Case("VERSION", "the same event ID of another operator or unit is another event",
         [operator(), operator("CM"), gate_in(), gate_in(operatorID="CM", locationCode=DEPOT),
          gate_in(unit="OTHER1", unitType="CONTAINER")],
         stock=["CAT-LAI,IMPORT,CONTAINER,0-30,2,0,0.000",
                "ICD,IMPORT,CONTAINER,0-30,1,0,0.000"]),
    Case("VERSION", "a retraction keeps out what is older",
         [operator(), retracted("GET_IN", "in", IN, IN + HOUR), gate_in(),
          gate_in(eventUpdatedDateTime=IN + HOUR)],
         stock=[]),
    Case("VERSION", "fractions beyond microseconds are cut, so that both are one version",
         [operator(), gate_in(eventUpdatedDateTime="2018-03-01T09:00:00.1234569Z", sent=CHECKED),
          gate_in(eventUpdatedDateTime="2018-03-01T09:00:00.123456Z", locationCode=DEPOT,
                  sent=CHECKED)],
         stock=["CAT-LAI,IMPORT,CONTAINER,0-30,1,0,0.000"]),
    Case("VERSION", "after a tombstone what comes is new, whatever its version",
         [operator(), declared(version=9), line("declarations", DECLARATION, None, IN),
          declared(version=1), held(version=9), line("holds", "H1", None, IN), held(version=0),
          gate_in(), event("GATE_CHECK", "check", CHECKED)],
         ["check HOLD STOPPED"], weighed=[DECLARATION]),
]  # fmt: skip

CASES = [*MALFORMED, *TOO_LARGE, *JSON, *LIMIT_CASES, *FUTURE, *OPERATORS, *VERSIONS]
