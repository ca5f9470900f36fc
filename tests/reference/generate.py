"""Histories for comparing the engine with the reference model: small worlds where all collides.

Called by `tests.reference.compare` and the tests with any `random.Random`: a seeded one for
speed, Hypothesis's own for shrinking. Few units, places, operators, declarations and event IDs,
so that events are repeated, corrected, retracted, retyped and contradicted all the time; times
taken from earlier ones plus or minus a border of some rule, exactly, or a microsecond off.
It must never know what a record leads to.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tests.reference.log import Raw, read_line, write_line, write_log
from tests.reference.records import DAY, HOUR, MILLISECOND, MINUTE, write_date_time

Choice = TypeVar("Choice")

START = 1_519_862_400_000_000  # 2018-03-01T00:00:00Z
BORDERS = (0, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, DAY, 30 * DAY, 90 * DAY, 180 * DAY)
# For an event, or a date-time of a record: of which other events, and how far after them, the
# rules draw a line.
BORDERS_OF = {
    "GET_IN": (("GET_OUT", 0), ("GET_OUT", 30 * DAY), ("GET_IN", 0), ("STOCK_COUNT", 0)),
    "GATE_CHECK": (("GET_OUT", MINUTE), ("GATE_CHECK", DAY), ("GATE_CHECK", 0),
                   ("GET_IN", 90 * DAY), ("registered", 180 * DAY)),
    "GET_OUT": (("GATE_CHECK", -MINUTE), ("GET_IN", 0), ("RESEAL", 0), ("GET_OUT", 0),
                ("GET_IN", 90 * DAY), ("registered", 0), ("issued", 0), ("status", -MINUTE)),
    "RESEAL": (("GET_OUT", 0), ("RESEAL", 0)),
    "STOCK_COUNT": (("GET_IN", 0), ("GET_OUT", 0)),
    "registered": (("GET_OUT", 0), ("GATE_CHECK", -180 * DAY)),
    "status": (("GET_OUT", MINUTE),),
    "issued": (("GET_OUT", 0),),
}  # fmt: skip
OFFSETS = (("Z", 0), ("+07:00", 7 * HOUR), ("-05:30", -330 * MINUTE), ("+23:59", 1439 * MINUTE),
           ("-00:00", 0), ("-23:59", -1439 * MINUTE))  # fmt: skip

# Names: canonical ones, one whose check digit fails, one for container and lot alike, odd ones.
CONTAINERS = ("MSCU6639870", "CSQU3054383", "TCLU1234565", "MSCU6639871", "SAME1", "AB/C%1")
LOTS = ("SAME1", "112345678901234567", "AB/C%1", 'LOT,"1"', "MSCU6639870")
LOCATIONS = ("CAT-LAI", "CAI-MEP", "NOI,BAI", 'ICD"1"')
OPERATORS = ("TC", "CM/1", 'NB,"2"', "ÔNG%")
DECLARATIONS = ("100000000001", "100000000002", "100000000003", "200000000000")
HOLDS = ("H1", "H2", "H/3")
EVENT_IDS = ("1", "2", "3", "4", "5/6", "7%", "é", "\U0001f6a2", "\uffee", "10")
SEALS = ("S1", "S2", "s-1", " S 2", "CUSTOMS9", "customs-9", "NA", "n-a", "", "##", "-")
WEIGHTS = ("0", "0.001", "1", "1.0", "2.5", "5", "5.000", "7.499", "10", "999999999.999")
PIECES = ("0", "1", "1", "2", "3", "5", "5", "10", "999999999")

# What else a value may hold that the contract does not know: ignored, but valid JSON.
UNKNOWN = ('"x":1e999', '"y":[{"unit":null}]', '"z":-0.0E-1', '"\\u0065ventID2":"\\ud83d\\udea2"')

# Members that are no JSON.
NO_JSON = ('"n":NaN', '"n":Infinity', '"n":01', '"n":+1', '"n":.5', '"n":1.', '"n":"\t"',
           '"n":"\\x"', '"n":"\\u12"', '"n":nul', '"n":[1,]', '"n" 1', "'n':1", '"n":-', '"n":1e',
           "")  # fmt: skip

# Values that offend, for any field; some fit some fields, which does no harm.
ODD = (
    '""', '" "', "1", "-1", "-0", "1.0", "1e3", "0.0001", "1000000000", "1000000000.000",
    "9007199254740992", "9007199254740993", "true", "false", '"true"', "[]", "[null]", "[1]",
    '[""]', "{}", '"a\\u0000b"', '"a\\u007fb"', '"\\u0080"', '"CONTAINER"', '"container"',
    '"2018-02-29T00:00:00Z"', '"2018-03-01T00:00:60Z"', '"2018-03-01T00:00:00"',
    '"2018-03-01t00:00:00Z"', '"1969-12-31T23:59:59Z"', '"1970-01-01T00:00:00+23:59"',
    '"2200-01-01T00:00:00Z"', '"2199-12-31T23:59:59.999999999-23:59"',
    '"2018-03-01T00:00:00.Z"', '"2018-03-01T00:00:00.1234567891Z"', '"2018-03-01T24:00:00Z"',
    '"2018-03-01T00:00:00+24:00"', '"2018-03-01T00:00:00+07:60"', '"2018-02-30"', '"2018-02-28"',
    '"10000000000"', '"1000000000001"', '"10000000000a"', '["100000000001","1"]',
    '"' + "x" * 64 + '"', '"' + "x" * 65 + '"', '"' + "é" * 32 + '"', '"' + "é" * 33 + '"',
    '"' + "y" * 1024 + '"', '"' + "y" * 1025 + '"', '"' + "A-" * 35 + '"', '"' + "A" * 36 + '"',
    '["##","na","- -"]', json.dumps(["S"] * 20), json.dumps(["S"] * 21),
    json.dumps(["100000000001"] * 100), json.dumps(["100000000001"] * 101), '"NA"',
    '[{"unit":"A","unitType":"BULK"}]', '[{"unit":"A"}]', '[{"unitType":"BULK","unit":"A b"}]',
    '[{"unit":"A","unitType":"BULK","pieces":1.0}]', "1" * 5000,
    '[{"unit":"A","unitType":"BULK","seals":null,"shared":null}]',
)  # fmt: skip


# What a damaged value may have in any place.
SCRAPS = (
    *'{}[]:,"\\/ \t\n-+.0123456789eEtfnu%#\x00\x1f\x7f\u00e9\u1ea1\U0001f6a2\ufeff\u2028',
    "null", "true", "false", "\\u0041", "\\ud83d\\udea2", "\\ud800", "\\u0000", "\\n", "{}", "[]",
    '""', "NaN", "1e5", "-0", '"x":1,', ',"unit":"A"', '"eventID":null,', "Z", "+07:00", "T",
    "2018-03-01",
)  # fmt: skip


class Writer:
    """One history: draws from `random` and remembers what it said, to say it again otherwise."""

    def __init__(self, random: Random, wide: bool = False, hot: bool = False) -> None:
        self.random = random
        self.wide = wide
        self.now = START
        self.times = [START]
        self.lines: list[str] = []
        self.versions: dict[tuple[str, str], int] = {}
        self.events: list[dict[str, Any]] = []
        self.times_of: dict[str, list[int]] = {}
        lots_only, containers_only = self.chance(25), self.chance(33)
        self.containers = [] if lots_only else self.some(CONTAINERS, 1, 3)
        self.lots = [] if containers_only and self.containers else self.some(LOTS, 1, 2)
        self.locations = self.some(LOCATIONS, 2, 3)
        self.operators = self.some(OPERATORS, 1, 3)
        self.event_ids = self.some(EVENT_IDS, 3, 9)
        self.declarations, self.holds = list(DECLARATIONS), list(HOLDS)
        if wide:
            # Many of everything, so that tables grow, are emptied and are used again.
            self.containers = [f"WIDE{number:07}" for number in range(700)]
            self.lots = [f"WIDE{number:05}LOT{'X' * (number % 24)}" for number in range(500)]
            self.locations = [f"GATE-{number}-{'L' * (number % 50)}" for number in range(120)]
            self.operators = [f"OPERATOR {number} {'O' * (number % 40)}" for number in range(90)]
            self.event_ids = [f"{number}-{'E' * (number % 55)}" for number in range(300)]
            self.declarations = [f"3{number:011}" for number in range(400)]
            self.holds = [f"HOLD {number}" for number in range(200)]
        if hot:
            # All events are of a container and a lot of one name.
            self.containers, self.lots = [LOTS[0]], [LOTS[0]]
            self.event_ids = [f"{number}-{'E' * (number % 55)}" for number in range(400)]
        self.direction = self.pick(("IMPORT", "IMPORT", "EXPORT", "TRANSIT"))

    # ------------------------------------------------------------------------------ draws

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def pick(self, choices: Sequence[Choice]) -> Choice:
        return choices[self.random.randrange(len(choices))]

    def some(self, choices: Sequence[Choice], least: int, most: int) -> list[Choice]:
        return self.random.sample(choices, min(len(choices), self.random.randint(least, most)))

    def mostly(self, usual: Choice, others: Sequence[Choice], percent: int = 80) -> Choice:
        return usual if self.chance(percent) else self.pick(others)

    def location(self) -> str:
        return self.mostly(self.locations[0], self.locations, 60)

    def microsecond_off(self) -> int:
        return self.pick((0, 0, -1, 1))

    def time(self) -> int:
        """Now, or an earlier time, or a border before or after one of them."""
        how = self.random.randrange(10)
        if how < 3:
            return self.now
        if how < 5:
            return self.now - self.pick(BORDERS) + self.microsecond_off()
        if how < 6:
            return self.pick(self.times)
        sign = self.pick((1, -1))
        return self.pick(self.times) + sign * self.pick(BORDERS) + self.microsecond_off()

    def time_of(self, what: str) -> int:
        """A time for a kind of event, or of record, just where some rule looks at it."""
        borders = [border for border in BORDERS_OF.get(what, ()) if border[0] in self.times_of]
        if not borders or self.chance(60):
            return self.time()
        other, distance = self.pick(borders)
        return self.pick(self.times_of[other]) + distance + self.microsecond_off()

    def moment(self, time: int) -> str:
        """The date-time as text: with any offset and any number of digits that lose nothing."""
        suffix, offset = self.mostly(OFFSETS[0], OFFSETS)
        text = write_date_time(time + offset)[:-1]
        seconds, _, fraction = text.partition(".")
        fraction += self.pick(("", "", "9", "999", "000"))
        if self.chance(50):
            fraction = fraction.rstrip("0")
        return seconds + ("." + fraction if fraction else "") + suffix

    def spelled(self, unit: str) -> str:
        how = self.random.randrange(8)
        if how == 0:
            return unit.lower()
        if how == 1:
            return f" {unit[:4]} {unit[4:]}- "
        return unit

    def seals(self, most: int = 2) -> list[str]:
        return [self.mostly("S1", SEALS, 40) for _ in range(self.random.randint(0, most))]

    # ----------------------------------------------------------------------------- writing

    def step_clock(self) -> None:
        how = self.random.randrange(20)
        if how < 10:
            self.now += self.pick((0, 1, 1000, 30_000, 60_000, 600_000)) * MILLISECOND
        elif how < 14:
            self.now += self.pick((HOUR, 6 * HOUR, DAY))
        elif how < 15:
            self.now += self.pick((10 * DAY, 31 * DAY))
        elif how < 18:
            # Exactly when something falls due, or a millisecond beside it.
            due = self.pick(self.times) + self.pick(BORDERS)
            due += self.pick((0, 0, 1, -1)) * MILLISECOND
            if due <= START + 900 * DAY and (due > self.now or self.chance(10)):
                self.now = max(0, due // MILLISECOND * MILLISECOND)
        elif how == 18 and self.chance(30):
            self.now -= self.pick((HOUR, DAY, 90 * DAY))

    def remember(self, time: int, what: str) -> str:
        if len(self.times) < 60:
            self.times.append(time)
        self.times_of.setdefault(what, []).append(time)
        return self.moment(time)

    def write(self, topic: str, key: str | None, value: str | None) -> None:
        data = None if value is None else value.encode("utf-8")
        self.lines.append(write_line(topic, self.now // MILLISECOND, key, data))

    def record(self, topic: str, key: str | None, members: dict[str, Any]) -> None:
        """Weights, pieces and versions are given as text that is already JSON."""
        parts = [
            (name, value.json if isinstance(value, Raw) else json.dumps(value))
            for name, value in members.items()
            if value is not None or self.chance(5)
        ]
        if self.chance(5):
            self.random.shuffle(parts)
        if self.chance(4):
            parts = self.spoiled(parts, list(members))
        text = "{" + ",".join(f'"{name}":{value}' for name, value in parts) + "}"
        if self.chance(4):
            text = self.spoiled_text(text)
        self.write(topic, key, text)

    def spoiled(self, parts: list[tuple[str, str]], names: list[str]) -> list[tuple[str, str]]:
        how = self.random.randrange(4)
        place = self.random.randrange(len(parts))
        if how == 0:
            return parts[:place] + parts[place + 1 :]
        if how == 1:
            # Of a repeated key the last one counts, here before or after the good one.
            extra = (self.pick(names), self.pick(ODD))
            return [extra, *parts] if self.chance(50) else [*parts, extra]
        if how == 2 and len(parts) > 1:
            other = self.random.randrange(len(parts))
            parts = [*parts]
            parts[other] = (parts[other][0], self.pick(ODD))
        return [*parts[:place], (parts[place][0], self.pick(ODD)), *parts[place + 1 :]]

    def spoiled_text(self, text: str) -> str:
        how = self.random.randrange(16)

        def member(written: str) -> str:
            return text[:-1] + "," + written + "}"

        if how < 4:
            return member(self.pick(UNKNOWN))
        if how < 6:
            # The object is level 1, so that 63 arrays are the most; a deep one may be cut short.
            depth = self.pick((1, 62, 63, 64, 65, 200))
            return member('"deep":' + "[" * depth + "]" * (depth - (self.chance(10))))
        if how == 6:
            return member('"lone":"' + self.pick(("\\ud800", "\\udc00x", "\\ud83d\\u0041")) + '"')
        if how == 7:
            return member(self.pick(NO_JSON))
        if how == 8:
            return self.pick(("", "{}", "[]", "null", "1", '"x"', " ", "\ufeff" + text, text + "}"))
        if how == 9:
            return text[: self.random.randrange(len(text))]
        if how == 10:
            return "\t\r\n " + text.replace(",", " ,\n", 3) + " \r\n"
        if how == 11 and self.chance(20):
            # The limit of a port event, just inside and just outside.
            size = 64 * 1024 + self.pick((-1, 0, 1))
            start = text[:-1] + ',"pad":"'
            return start + "p" * (size - len(start.encode()) - 2) + '"}'
        return text.replace("e", "\\u0065", self.pick((1, 2, 30))).replace("tru\\u0065", "true")

    # ----------------------------------------------------------------------------- records

    def version(self, topic: str, key: str) -> Raw:
        latest = self.versions.get((topic, key), 0)
        version = max(0, latest + self.pick((1, 1, 1, 1, 1, 1, 1, 7, 0, -1)))
        self.versions[topic, key] = max(latest, version)
        return Raw(str(version))

    def operator(self, operator_id: str, first: bool = False) -> None:
        if self.chance(5) and not first:
            self.write("operators", operator_id, None)
            return
        usual = first or self.chance(65)
        locations = list(self.locations) if usual or self.chance(70) else self.locations[1:]
        status = "CONNECTED" if usual else self.pick(("SUSPENDED", "SUSPENDED", "TESTING",
                                                      "SURVEYED", "CONNECTED"))  # fmt: skip
        self.record(
            "operators",
            operator_id if self.chance(98) else self.pick((None, "TC", "")),
            {
                "operatorID": operator_id,
                "name": "Cảng " + operator_id,
                "kind": self.pick(("SEAPORT", "SEAPORT", "AIRPORT", "WAREHOUSE")),
                "departmentCode": "02",
                "departmentName": "Cục Hải quan",
                "branchCode": self.pick((None, "02CI")),
                "branchName": None,
                "locations": locations or list(self.locations),
                "cargo": self.pick((None, [], ["CONTAINER", "BULK"])),
                "status": status,
                "connectedDate": self.pick((None, "2018-01-31")),
                "wave": self.pick((None, 2)),
                "version": self.version("operators", operator_id),
            },
        )

    def unit(self) -> tuple[str, str]:
        number = self.random.randrange(len(self.lots) + len(self.containers))
        if number >= len(self.lots):
            return self.containers[number - len(self.lots)], "CONTAINER"
        return self.lots[number], self.mostly("PACKAGES", ("BULK", "LIQUID"))

    def declaration(self) -> None:
        number = self.mostly(self.declarations[0], self.declarations, 0 if self.wide else 40)
        if self.chance(5):
            self.write("declarations", number, None)
            return
        direction = self.direction if self.direction != "DOMESTIC" else "IMPORT"
        units = []
        for _ in range(self.pick((0, 1, 20, 300) if self.wide else (0, 1, 1, 1, 2, 2, 3))):
            name, unit_type = self.unit()
            entry: dict[str, Any] = {"unit": self.spelled(name), "unitType": unit_type}
            if self.chance(40):
                entry["seals"] = self.seals()
            if unit_type != "CONTAINER" or self.chance(10):
                if self.chance(75):
                    entry["pieces"] = Raw(self.mostly("5", PIECES, 30))
                if self.chance(60):
                    entry["weightKg"] = Raw(self.mostly("5", WEIGHTS, 30))
            if self.chance(20):
                entry["shared"] = self.chance(80)
            if self.chance(15):
                entry["locationCode"] = self.location()
            parts = ",".join(
                f'"{name}":{value.json if isinstance(value, Raw) else json.dumps(value)}'
                for name, value in entry.items()
            )
            units.append("{" + parts + "}")
        is_transit = direction == "TRANSIT"
        self.record(
            "declarations",
            number if self.chance(99) else self.pick((None, "200000000000")),
            {
                "declarationNumber": number,
                "version": self.version("declarations", number),
                "direction": self.mostly(direction, ("IMPORT", "EXPORT", "TRANSIT"), 85),
                "status": self.mostly(
                    "CLEARED",
                    ("REGISTERED", "REGISTERED", "CANCELLED", "CANCELLED", "RELEASED",
                     "TO_STORAGE", "TO_INSPECTION", "TRANSPORT_APPROVED"),
                    50,
                ),
                "registeredDateTime": self.remember(
                    min(self.times) if self.chance(40) else self.time_of("registered"),
                    "registered",
                ),
                "statusDateTime": (
                    self.remember(self.time_of("status"), "status") if self.chance(40) else None
                ),
                "branchCode": None,
                "locationCode": self.location(),
                "destinationLocationCode": (
                    self.pick(self.locations) if self.chance(80 if is_transit else 5) else None
                ),
                "arriveByDateTime": (
                    self.remember(self.time(), "arrive by")
                    if self.chance(70 if is_transit else 5)
                    else None
                ),
                "units": Raw("[" + ",".join(units) + "]"),
            },
        )  # fmt: skip

    def hold(self) -> None:
        hold_id = self.pick(self.holds)
        if self.chance(8):
            self.write("holds", hold_id, None)
            return
        on_unit = self.chance(50)
        reason = self.pick(("STOP", "SCAN", "CUSTOMS_SEAL"))
        self.record(
            "holds",
            hold_id if self.chance(99) else None,
            {
                "holdID": hold_id,
                "version": self.version("holds", hold_id),
                "scope": "UNIT" if on_unit else "DECLARATION",
                "reference": self.spelled(self.unit()[0])
                if on_unit
                else self.pick(self.declarations),
                "reason": reason,
                "seal": (
                    self.mostly("CUSTOMS9", SEALS)
                    if reason == "CUSTOMS_SEAL" or self.chance(20)
                    else None
                ),
                "state": self.pick(("ACTIVE", "LIFTED", "LIFTED")),
                "issuedDateTime": self.remember(self.time_of("issued"), "issued"),
            },
        )

    def port_event(self) -> None:
        if self.events and self.chance(30):
            self.amendment(dict(self.pick(self.events)))
            return
        passage = self.passage(*self.unit())
        time = self.time_of(passage["eventType"])
        event = {
            "eventID": self.pick(self.event_ids),
            "operatorID": self.pick(self.operators if self.chance(97) else OPERATORS),
            "time": time,
            "updated": None,
            "created": None,
            "retracted": None,
            **passage,
        }
        if time > self.now + DAY and self.chance(80):
            event["updated"] = self.now + self.pick((0, 0, DAY, DAY + 1))
        elif self.chance(30):
            event["created"] = self.now + self.pick((0, 0, 0, DAY, DAY + 1, -HOUR))
        self.port_event_record(event)
        self.events.append(event)

    def passage(self, name: str, unit_type: str) -> dict[str, Any]:
        """What an event says apart from which one it is and when it was."""
        is_lot = unit_type != "CONTAINER"
        event_type = self.pick(
            ("GET_IN",) * 6 + ("GATE_CHECK",) * 7 + ("GET_OUT",) * 5
            + ("RESEAL", "STRIP", "STUFF", "DISCREPANCY", "STOCK_COUNT", "STOCK_COUNT")
        )  # fmt: skip
        seals = self.seals() if self.chance(40) or event_type == "RESEAL" else None
        if event_type == "RESEAL" and self.chance(90):
            seals = [*(seals or []), self.pick(("S1", "S2", "CUSTOMS9"))]
        return {
            "eventType": event_type,
            "locationCode": self.location(),
            "unitType": unit_type,
            "unit": name,
            "direction": self.mostly(
                self.direction, ("IMPORT", "EXPORT", "TRANSIT", "DOMESTIC"), 85
            ),
            "purpose": self.mostly(
                None,
                ("CLEARANCE", "INSPECTION", "INSPECTION", "EMPTY", "DOMESTIC", "SEIZED"),
                75,
            ),
            "pieces": (
                Raw(self.mostly("5", PIECES, 30)) if self.chance(80 if is_lot else 10) else None
            ),
            "weightKg": (
                Raw(self.mostly("5", WEIGHTS, 30)) if self.chance(75 if is_lot else 10) else None
            ),
            "seals": seals,
            "declarations": self.some(self.declarations, 0, 2) if self.chance(25) else None,
            "document": "giấy" if self.chance(15) else None,
        }

    def amendment(self, event: dict[str, Any]) -> None:
        """An event that was sent before: repeated, corrected, retyped, retracted, brought back."""
        before = event["updated"] or event["created"] or event["time"]
        how = self.random.randrange(10)
        if how < 3:
            event["retracted"] = True
        elif how < 4:
            event["retracted"] = False
        elif how < 6:
            event.update(self.passage(event["unit"], event["unitType"]))
        elif how < 7:
            name, unit_type = self.unit()
            event.update(unit=name, unitType=unit_type)
        elif how < 8:
            event["time"] = self.time_of(event["eventType"])
        elif how < 9:
            event.update(locationCode=self.location(), operatorID=self.pick(self.operators))
        after = self.pick((1, 1, 1, 1, MINUTE, HOUR, 0, -1))
        event["updated"] = before + after if self.chance(70) else max(before + 1, self.now)
        if event["updated"] > self.now + DAY and self.chance(90):
            event["updated"] = self.now + DAY
        self.port_event_record(event)
        if self.chance(70):
            self.events.append(event)

    def port_event_record(self, event: dict[str, Any]) -> None:
        updated, created = event["updated"], event["created"]
        self.record(
            "port-events",
            event["unit"] if self.chance(95) else None,
            {
                "eventID": event["eventID"],
                "eventType": event["eventType"],
                "eventDateTime": self.remember(event["time"], event["eventType"]),
                "eventCreatedDateTime": None if created is None else self.moment(created),
                "eventUpdatedDateTime": None if updated is None else self.moment(updated),
                "isRetracted": event["retracted"],
                "operatorID": event["operatorID"],
                "locationCode": event["locationCode"],
                "unitType": event["unitType"],
                "unit": self.spelled(event["unit"]),
                "direction": event["direction"],
                "purpose": event["purpose"],
                "pieces": event["pieces"],
                "weightKg": event["weightKg"],
                "seals": event["seals"],
                "declarations": event["declarations"],
                "document": event["document"],
            },
        )

    def history(self, size: int) -> list[str]:
        for operator_id in self.operators:
            self.operator(operator_id, first=True)
        while len(self.lines) < size:
            self.step_clock()
            how = self.random.randrange(100)
            if how < 62:
                self.port_event()
            elif how < 78:
                self.declaration()
            elif how < 87:
                self.hold()
            elif how < 91:
                self.operator(self.pick(self.operators if self.chance(80) else OPERATORS))
            elif how < 92:
                self.write(self.pick(("port-events", "holds", "operators", "declarations")), None,
                           self.pick((None, "{}")))  # fmt: skip
            elif how < 93 and self.chance(20):
                self.lines.append(self.pick(("", "  ")))
            else:
                # The same record once more, at its own or at another time.
                self.lines.append(self.pick(self.lines))
        return self.lines[:size]


def history(random: Random, size: int, wide: bool = False, hot: bool = False) -> list[str]:
    """The lines of one history, `size` of them; `wide` with many units, places and so on, `hot`
    with hundreds of events for each of two units."""
    return Writer(random, wide, hot).history(size)


def spoiled_values(random: Random, size: int) -> list[str]:
    """Lines whose values are good ones with a few characters changed, at random places."""
    writer = Writer(random)
    writer.history(60)
    good = [line for line in map(written_value, writer.lines) if line is not None]
    lines = []
    for operator_id in writer.operators:
        writer.operator(operator_id, first=True)
    for number in range(size):
        topic, key, value = random.choice(good)
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            place = random.randrange(len(value) + 1)
            how = random.randrange(4)
            put = random.choice(SCRAPS) if how else ""
            value = value[:place] + put + value[place + (how != 1) * random.choice((1, 1, 1, 4)) :]
        lines.append(write_line(topic, START // MILLISECOND + number, key, value.encode("utf-8")))
    return writer.lines[-len(writer.operators) :] + lines


def written_value(line: str) -> tuple[str, str | None, str] | None:
    if not line.strip():
        return None
    read = read_line(0, line.encode("utf-8"))
    if not read.value:
        return None
    return read.topic, read.key, read.value.decode("utf-8")


def rules(random: Random) -> str:
    """A rules file with some rows switched for some days, and other parameters."""
    from tests.reference.policy import CODES

    parts = []
    for code in random.sample(CODES, random.randint(0, 6)):
        parts.append(
            f'[[rule]]\ncode = "{code}"\neffect = "{random.choice(["HOLD", "FLAG", "OFF"])}"'
        )
        if random.random() < 0.6:
            parts.append(f"from = 2018-0{random.randint(1, 5)}-0{random.randint(1, 9)}")
            if random.random() < 0.6:
                parts.append(f"to = 2018-0{random.randint(6, 9)}-1{random.randint(0, 9)}")
    if random.random() < 0.7:
        parts.append("[parameters]")
        parts += random.sample(
            (
                f"overstay_days = {random.randint(1, 120)}",
                f"late_import_minutes = {random.randint(1, 60)}",
                f"late_export_minutes = {random.randint(1, 60)}",
                f"clock_ahead_minutes = {random.randint(1, 60)}",
                f"return_days = {random.randint(1, 60)}",
                f"stale_days = {random.randint(1, 200)}",
                f"reservation_hours = {random.randint(1, 100)}",
                f"weight_tolerance_percent = {random.choice(['0.001', '50', '20.0', '33.333'])}",
            ),
            random.randint(1, 8),
        )
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--wide", action="store_true", help="many units, places and so on")
    arguments = parser.parse_args()
    write_log(arguments.out, history(Random(arguments.seed), arguments.size, arguments.wide))


if __name__ == "__main__":
    main()
