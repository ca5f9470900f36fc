"""The alerts, the volumes and the stock, told in stories; answers written by hand.

Read by `tests/test_rules_table.py`, and meant to be read by a customs officer.
"""

from __future__ import annotations

from typing import Any

from tests.reference.cases.rules_table import (
    lot_declared,
    lot_in,
    lot_out,
)
from tests.reference.log import Raw
from tests.reference.records import DAY, HOUR, MINUTE
from tests.reference.story import (
    CHECKED,
    DECLARATION,
    DEPOT,
    IN,
    LOT,
    MICROSECOND,
    OUT,
    TERMINAL,
    Case,
    at,
    check,
    declared,
    event,
    gate_in,
    gate_out,
    goods,
    held,
    line,
    operator,
    retracted,
)

MILLISECOND = 1000

UNAUTHORISED_EXIT = [
    Case("UNAUTHORISED_EXIT", "raised: it left without a declaration",
         [operator(), gate_in(), gate_out()], alerts=["UNAUTHORISED_EXIT out"], raised=[OUT],
         places=[TERMINAL]),
    Case("UNAUTHORISED_EXIT", "raised: it left on a declaration that was used up before",
         [operator(), declared(), gate_in(), gate_out(), gate_in("in 2", at(3)),
          gate_out("out 2", at(4))],
         alerts=["UNAUTHORISED_EXIT out 2"]),
    Case("UNAUTHORISED_EXIT", "not raised: the exit itself does not use up its own declaration",
         [operator(), declared(), gate_in(), gate_out()], alerts=[]),
    Case("UNAUTHORISED_EXIT", "not raised: only a flag stands",
         [operator(), declared(registeredDateTime=OUT - 181 * DAY), gate_in(), gate_out()],
         alerts=[]),
    Case("UNAUTHORISED_EXIT", "raised once: a correction tells it no second time",
         [operator(), gate_in(), gate_out(), gate_out(eventUpdatedDateTime=OUT + HOUR)],
         alerts=["UNAUTHORISED_EXIT out"]),
    Case("UNAUTHORISED_EXIT", "not raised afterwards: a later hold recalls nothing that has left",
         [operator(), declared(), gate_in(), gate_out(), held(issuedDateTime=IN)], alerts=[]),
    Case("UNAUTHORISED_EXIT", "not raised: a retracted exit is none",
         [operator(), gate_in(), retracted("GET_OUT", "out", OUT, OUT)], alerts=[]),
    Case("UNAUTHORISED_EXIT", "not raised: a duplicate takes no effect",
         [operator(), declared(), gate_in(), gate_out(), declared(version=2, status="CANCELLED"),
          gate_out()],
         alerts=[]),
]  # fmt: skip

DOUBLE_ENTRY = [
    Case("DOUBLE_ENTRY", "raised: it is already in",
         [operator(), gate_in(), gate_in("again", at(2))], alerts=["DOUBLE_ENTRY again"]),
    Case("DOUBLE_ENTRY", "raised: two entries at the same time",
         [operator(), gate_in(), gate_in("again")], alerts=["DOUBLE_ENTRY again"]),
    Case("DOUBLE_ENTRY", "not raised: it left at the moment of the second entry",
         [operator(), declared(), gate_in(), gate_out(), gate_in("again", OUT)], alerts=[]),
    Case("DOUBLE_ENTRY", "not raised: a late report of an earlier visit",
         [operator(), gate_in(), gate_in("earlier", IN - HOUR, sent=IN + HOUR)], alerts=[]),
    Case("DOUBLE_ENTRY", "not raised: in at another place",
         [operator(), gate_in(locationCode=DEPOT), gate_in("again", at(2))], alerts=[]),
    Case("DOUBLE_ENTRY", "not raised: the first entry was retracted",
         [operator(), gate_in(), retracted("GET_IN", "in", IN, at(2)), gate_in("again", at(2))],
         alerts=[]),
    Case("DOUBLE_ENTRY", "not raised: a lot comes in parts",
         [operator(), lot_in(), gate_in("again", at(2), unit=LOT, pieces=1)], alerts=[]),
    Case("DOUBLE_ENTRY", "not raised: a correction of the same entry",
         [operator(), gate_in(), gate_in(eventUpdatedDateTime=at(2))], alerts=[]),
]  # fmt: skip

EXIT_WITHOUT_ENTRY = [
    Case("EXIT_WITHOUT_ENTRY", "raised: no entry was reported",
         [operator(), declared(), gate_out()], alerts=["EXIT_WITHOUT_ENTRY out"]),
    Case("EXIT_WITHOUT_ENTRY", "raised: the entry is later than the exit",
         [operator(), declared(), gate_in(time=OUT + MICROSECOND, sent=OUT), gate_out()],
         alerts=["EXIT_WITHOUT_ENTRY out"]),
    Case("EXIT_WITHOUT_ENTRY", "not raised: in and out at the same time",
         [operator(), declared(), gate_in(time=OUT), gate_out()], alerts=[]),
    Case("EXIT_WITHOUT_ENTRY", "not raised: a lot of which something is left",
         [operator(), lot_declared(), lot_in(pieces=10), lot_out("o1", pieces=9),
          lot_out("o2", OUT + HOUR, pieces=9)],
         alerts=[]),
    Case("EXIT_WITHOUT_ENTRY", "raised: a lot of which nothing is left",
         [operator(), lot_declared(), lot_in(pieces=10), lot_out("o1", pieces=10),
          lot_out("o2", OUT + HOUR, pieces=1)],
         alerts=["EXIT_WITHOUT_ENTRY o2"]),
]  # fmt: skip


def exit_reported(direction: str, minutes: int, microseconds: int, **changes: Any) -> list[str]:
    return [
        operator(),
        declared(direction=direction),
        gate_in(direction=direction),
        gate_out(
            time=OUT - microseconds, sent=OUT + minutes * MINUTE, direction=direction, **changes
        ),
    ]


LATE_REPORT = [
    *(
        Case("LATE_REPORT", f"not raised: {direction} reported after exactly {minutes} minutes",
             exit_reported(direction, minutes, 0), alerts=[])
        for direction, minutes in (("IMPORT", 15), ("TRANSIT", 15), ("EXPORT", 30))
    ),
    *(
        Case("LATE_REPORT", f"raised: {direction} a microsecond more than {minutes} minutes after",
             exit_reported(direction, minutes, 1), alerts=["LATE_REPORT out"])
        for direction, minutes in (("IMPORT", 15), ("TRANSIT", 15), ("EXPORT", 30))
    ),
    Case("LATE_REPORT", "not raised: domestic boxes may be reported any time",
         [operator(), gate_in(direction="DOMESTIC"),
          gate_out(direction="DOMESTIC", document="phiếu", sent=OUT + DAY)],
         alerts=[]),
    Case("LATE_REPORT", "not raised: reported in time, corrected late",
         [*exit_reported("IMPORT", 1, 0), gate_out(eventUpdatedDateTime=OUT + DAY)], alerts=[]),
    Case("LATE_REPORT", "not raised: first seen as a retraction, brought back late",
         [operator(), declared(), gate_in(), retracted("GET_OUT", "out", OUT, OUT + MINUTE),
          gate_out(eventUpdatedDateTime=OUT + DAY)],
         alerts=[]),
    Case("LATE_REPORT", "not raised: first seen as another event, corrected into an exit late",
         [operator(), declared(), gate_in(), event("STRIP", "out", OUT),
          gate_out(eventUpdatedDateTime=OUT + DAY)],
         alerts=[]),
]  # fmt: skip

DISCREPANCY = [
    Case("DISCREPANCY", "raised: reported",
         [operator(), event("DISCREPANCY", "d", IN)], alerts=["DISCREPANCY d"]),
    Case("DISCREPANCY", "not raised: retracted before it was seen",
         [operator(), retracted("DISCREPANCY", "d", IN, IN)], alerts=[]),
    Case("DISCREPANCY", "not raised: goods were stuffed and stripped",
         [operator(), event("STUFF", "s", IN), event("STRIP", "t", IN)], alerts=[]),
]  # fmt: skip


def counted(time: int = CHECKED, **changes: Any) -> str:
    return event("STOCK_COUNT", "count", time, **changes)


STOCK_MISMATCH = [
    Case("STOCK_MISMATCH", "not raised: a box counted is a box in stock",
         [operator(), gate_in(), counted()], alerts=[]),
    Case("STOCK_MISMATCH", "not raised: counted as one piece",
         [operator(), gate_in(), counted(pieces=1)], alerts=[]),
    Case("STOCK_MISMATCH", "raised: in stock, but counted as none",
         [operator(), gate_in(), counted(pieces=0)], alerts=["STOCK_MISMATCH count"]),
    Case("STOCK_MISMATCH", "raised: counted, but not in stock",
         [operator(), counted()], alerts=["STOCK_MISMATCH count"]),
    Case("STOCK_MISMATCH", "not raised: counted as none, and none there",
         [operator(), counted(pieces=0)], alerts=[]),
    Case("STOCK_MISMATCH", "raised: a box is one piece, not two",
         [operator(), gate_in(), counted(pieces=2)], alerts=["STOCK_MISMATCH count"]),
    Case("STOCK_MISMATCH", "raised: the entry was after the count",
         [operator(), gate_in(time=CHECKED + MICROSECOND, sent=CHECKED), counted()],
         alerts=["STOCK_MISMATCH count"]),
    Case("STOCK_MISMATCH", "not raised: the entry was at the moment of the count",
         [operator(), gate_in(time=CHECKED), counted()], alerts=[]),
    Case("STOCK_MISMATCH", "not raised: a lot counted in the pieces that are there",
         [operator(), lot_declared(), lot_in(pieces=10, weightKg=100), lot_out(pieces=4),
          counted(at(3), unit=LOT, pieces=6)],
         alerts=[]),
    Case("STOCK_MISMATCH", "raised: the pieces are right, the kilograms are not",
         [operator(), lot_declared(), lot_in(pieces=10, weightKg=100),
          lot_out(pieces=4, weightKg=40), counted(at(3), unit=LOT, pieces=6,
                                                  weightKg=Raw("60.001"))],
         alerts=["STOCK_MISMATCH count"]),
    Case("STOCK_MISMATCH", "not raised: both are right",
         [operator(), lot_declared(), lot_in(pieces=10, weightKg=100),
          lot_out(pieces=4, weightKg=40), counted(at(3), unit=LOT, pieces=6,
                                                  weightKg=Raw("60.000"))],
         alerts=[]),
]  # fmt: skip

EXIT_RETRACTED = [
    Case("EXIT_RETRACTED", "raised: it did not leave after all",
         [operator(), declared(), gate_in(), gate_out(),
          retracted("GET_OUT", "out", OUT, OUT + HOUR)],
         alerts=["EXIT_RETRACTED out"], raised=[OUT + HOUR]),
    Case("EXIT_RETRACTED", "raised: whatever the retraction calls the event, and its place",
         [operator(), declared(), gate_in(), gate_out(),
          retracted("GET_IN", "out", OUT, OUT + HOUR, locationCode=DEPOT)],
         alerts=["EXIT_RETRACTED out"], places=[TERMINAL]),
    Case("EXIT_RETRACTED", "not raised: an entry was retracted",
         [operator(), gate_in(), retracted("GET_IN", "in", IN, OUT)], alerts=[]),
    Case("EXIT_RETRACTED", "not raised: the retraction came first",
         [operator(), gate_in(), retracted("GET_OUT", "out", OUT, OUT + HOUR), gate_out()],
         alerts=[]),
    Case("EXIT_RETRACTED", "not raised: the exit had been corrected into an entry",
         [operator(), declared(), gate_in(), gate_out(),
          event("STRIP", "out", OUT, eventUpdatedDateTime=OUT + MINUTE),
          retracted("GET_OUT", "out", OUT, OUT + HOUR)],
         alerts=[]),
    Case("EXIT_RETRACTED", "raised once: retracted, brought back, retracted",
         [operator(), declared(), gate_in(), gate_out(),
          retracted("GET_OUT", "out", OUT, OUT + HOUR),
          gate_out(eventUpdatedDateTime=OUT + 2 * HOUR),
          retracted("GET_OUT", "out", OUT, OUT + 3 * HOUR)],
         alerts=["EXIT_RETRACTED out"]),
]  # fmt: skip

RECALL = [
    Case("RECALL", "raised: released, then stopped",
         [operator(), declared(), gate_in(), check(), held(sent=CHECKED + MINUTE)],
         ["check RELEASE", "check HOLD STOPPED"], alerts=["RECALL check"],
         raised=[CHECKED + MINUTE]),
    Case("RECALL", "raised again: released again, stopped again",
         [operator(), declared(), gate_in(), check(), held(),
          held(version=2, state="LIFTED"), held(version=3)],
         ["check RELEASE", "check HOLD STOPPED", "check RELEASE", "check HOLD STOPPED"],
         alerts=["RECALL check", "RECALL check"]),
    Case("RECALL", "not raised: held, then held for another reason",
         [operator(), declared(status="REGISTERED"), gate_in(), check(), held()],
         ["check HOLD NOT_CLEARED", "check HOLD NOT_CLEARED, STOPPED"], alerts=[]),
    Case("RECALL", "not raised: stopped when the box had left",
         [operator(), declared(), gate_in(), check(), gate_out(), held()],
         ["check RELEASE"], alerts=[]),
    Case("RECALL", "raised after the alerts of the event that brought it about",
         [operator(), declared(), gate_in(), check(),
          gate_out(time=CHECKED - HOUR, sent=CHECKED + HOUR)],
         ["check RELEASE", "check HOLD ALREADY_PASSED, NOT_IN_STOCK"],
         alerts=["LATE_REPORT out", "RECALL check"]),
]  # fmt: skip

NINETY_DAYS = IN + 90 * DAY
TICK = line("holds", "none", None, NINETY_DAYS)
OVERSTAYED = [
    Case("OVERSTAYED", "raised: the clock reaches 90 days, whatever record brings it there",
         [operator(), gate_in(), TICK], alerts=["OVERSTAYED in"], raised=[NINETY_DAYS],
         places=[TERMINAL]),
    Case("OVERSTAYED", "not raised: a millisecond before",
         [operator(), gate_in(), line("holds", "none", None, NINETY_DAYS - MILLISECOND)],
         alerts=[]),
    Case("OVERSTAYED", "raised: a rejected record moves the clock as well",
         [operator(), gate_in(), line("holds", "none", "{}", NINETY_DAYS + DAY)],
         alerts=["OVERSTAYED in"], raised=[NINETY_DAYS], rejects=["MALFORMED holdID"]),
    Case("OVERSTAYED", "not raised: it left on the last day",
         [operator(), declared(), gate_in(), gate_out(time=NINETY_DAYS - DAY), TICK], alerts=[]),
    Case("OVERSTAYED", "raised: due before the exit that the same record reports",
         [operator(), declared(), gate_in(), gate_out(time=NINETY_DAYS - MINUTE,
                                                      sent=NINETY_DAYS)],
         alerts=["OVERSTAYED in"], raised=[NINETY_DAYS]),
    Case("OVERSTAYED", "not raised: entered for export",
         [operator(), gate_in(direction="EXPORT"), TICK], alerts=[]),
    Case("OVERSTAYED", "raised at once: the entry is reported when the time has long come",
         [operator(), TICK, gate_in(sent=NINETY_DAYS + DAY)], alerts=["OVERSTAYED in"],
         raised=[NINETY_DAYS]),
    Case("OVERSTAYED", "raised when the exit that ended the visit in time is retracted",
         [operator(), declared(), gate_in(), gate_out(), TICK,
          retracted("GET_OUT", "out", OUT, NINETY_DAYS + DAY)],
         alerts=["EXIT_RETRACTED out", "OVERSTAYED in"],
         raised=[NINETY_DAYS + DAY, NINETY_DAYS]),
    Case("OVERSTAYED", "raised once: also when the entry is corrected",
         [operator(), gate_in(), TICK, gate_in(eventUpdatedDateTime=NINETY_DAYS)],
         alerts=["OVERSTAYED in"]),
    Case("OVERSTAYED", "raised for the entry that started the visit, not for a second one",
         [operator(), gate_in(), gate_in("again", at(2)),
          line("holds", "none", None, NINETY_DAYS + 10 * DAY)],
         alerts=["DOUBLE_ENTRY again", "OVERSTAYED in"]),
    Case("OVERSTAYED", "raised in the order of the times they were due",
         [operator(), gate_in("b", at(2), unit="B1", unitType="CONTAINER"),
          gate_in("z", at(1), unit="Z1", unitType="CONTAINER"),
          gate_in("a", at(2), unit="A1", unitType="CONTAINER"),
          line("holds", "none", None, at(200))],
         alerts=["OVERSTAYED z", "OVERSTAYED a", "OVERSTAYED b"],
         raised=[at(91), at(92), at(92)]),
    Case("OVERSTAYED", "raised for a lot of which something is left",
         [operator(), lot_declared(), lot_in(pieces=10), lot_out(pieces=9), TICK],
         alerts=["OVERSTAYED in"]),
    Case("OVERSTAYED", "not raised for a lot that is gone",
         [operator(), lot_declared(), lot_in(pieces=10), lot_out(pieces=10), TICK], alerts=[]),
]  # fmt: skip

ARRIVE_BY = at(5)
TRANSIT = declared(direction="TRANSIT", destinationLocationCode=DEPOT, arriveByDateTime=ARRIVE_BY)
LEFT = [operator(), TRANSIT, gate_in(direction="TRANSIT"), gate_out(direction="TRANSIT")]
LATER = line("holds", "none", None, ARRIVE_BY)


def arrival(time: int, **changes: Any) -> str:
    return gate_in("arrived", time, direction="TRANSIT", locationCode=DEPOT, **changes)


TRANSIT_OVERDUE = [
    Case("TRANSIT_OVERDUE", "raised: left, and not arrived by the time set",
         [*LEFT, LATER], alerts=["TRANSIT_OVERDUE out"], raised=[ARRIVE_BY], places=[TERMINAL]),
    Case("TRANSIT_OVERDUE", "not raised: a millisecond before",
         [*LEFT, line("holds", "none", None, ARRIVE_BY - MILLISECOND)], alerts=[]),
    Case("TRANSIT_OVERDUE", "not raised: arrived",
         [*LEFT, arrival(at(4)), LATER], alerts=[]),
    Case("TRANSIT_OVERDUE", "not raised: arrived at the moment it left, as clocks go",
         [*LEFT, arrival(OUT), LATER], alerts=[]),
    Case("TRANSIT_OVERDUE", "raised: what arrived before it left was another journey",
         [*LEFT, arrival(OUT - MICROSECOND, sent=OUT), LATER], alerts=["TRANSIT_OVERDUE out"]),
    Case("TRANSIT_OVERDUE", "not raised: never left",
         [operator(), TRANSIT, gate_in(direction="TRANSIT"), LATER], alerts=[]),
    Case("TRANSIT_OVERDUE", "not raised: left before the declaration was registered",
         [operator(), TRANSIT, gate_in(time=at(1, "01:00"), direction="TRANSIT"),
          gate_out(time=at(1, "05:00"), direction="TRANSIT"), LATER],
         alerts=[]),
    Case("TRANSIT_OVERDUE", "not raised: cancelled",
         [*LEFT, declared(version=2, status="CANCELLED", direction="TRANSIT",
                          destinationLocationCode=DEPOT, arriveByDateTime=ARRIVE_BY), LATER],
         alerts=[]),
    Case("TRANSIT_OVERDUE", "not raised: without a destination",
         [operator(), declared(direction="TRANSIT", arriveByDateTime=ARRIVE_BY), *LEFT[2:],
          LATER],
         alerts=[]),
    Case("TRANSIT_OVERDUE", "not raised: an import declaration",
         [operator(), declared(destinationLocationCode=DEPOT, arriveByDateTime=ARRIVE_BY),
          gate_in(), gate_out(), LATER],
         alerts=[]),
    Case("TRANSIT_OVERDUE", "names the latest exit",
         [operator(), declared(DECLARATION, goods(LOT, pieces=100), direction="TRANSIT",
                               destinationLocationCode=DEPOT, arriveByDateTime=ARRIVE_BY),
          lot_in(direction="TRANSIT"), lot_out("o1", pieces=1, direction="TRANSIT"),
          lot_out("o2", OUT + HOUR, pieces=1, direction="TRANSIT"), LATER],
         alerts=["TRANSIT_OVERDUE o2"]),
    Case("TRANSIT_OVERDUE", "raised at once when the time set is moved to the past",
         [*LEFT, declared(version=2, direction="TRANSIT", destinationLocationCode=DEPOT,
                          arriveByDateTime=at(2), sent=at(3))],
         alerts=["TRANSIT_OVERDUE out"], raised=[at(2)]),
]  # fmt: skip

ORDER = [
    Case("ORDER", "those due before the record, its own, recalls, those due by it",
         [operator(), declared(), gate_in("first"), gate_in("second", IN + 3 * DAY),
          check(time=IN + 4 * DAY),
          # The first visit ended, as is now reported, before the second entry: that one has
          # been there for 90 days too. And the check was released after its goods had left.
          gate_out("late", IN + 2 * DAY, sent=NINETY_DAYS + 3 * DAY)],
         ["check RELEASE", "check HOLD ALREADY_PASSED"],
         alerts=["DOUBLE_ENTRY second", "OVERSTAYED first", "LATE_REPORT late", "RECALL check",
                 "OVERSTAYED second"],
         raised=[IN + 3 * DAY, NINETY_DAYS, NINETY_DAYS + 3 * DAY, NINETY_DAYS + 3 * DAY,
                 NINETY_DAYS + 3 * DAY]),
    Case("ORDER", "all that an exit can raise",
         [operator(), gate_out(sent=OUT + HOUR)],
         alerts=["UNAUTHORISED_EXIT out", "EXIT_WITHOUT_ENTRY out", "LATE_REPORT out"]),
    Case("ORDER", "IDs are built of parts in which % and / are written %25 and %2F",
         [operator("A/%"), gate_in("1/2", operatorID="A/%"),
          gate_in("%", at(2), operatorID="A/%")],
         alerts=["DOUBLE_ENTRY %"]),
]  # fmt: skip

VOLUMES = [
    Case("VOLUMES", "movements, pieces and kilograms by operator, day, direction and type",
         [operator(), operator('N,"2"'), lot_declared(), lot_in(pieces=10, weightKg=Raw("100.5")),
          gate_in("in 2", IN + HOUR, unit=LOT, pieces=5), lot_out(pieces=4, weightKg=Raw("0.001")),
          gate_in("box", IN, weightKg=Raw("2000.25"), operatorID='N,"2"')],
         volumes=['"N,""2""",2018-03-01,IMPORT,CONTAINER,1,0,2000.250,0,0,0.000',
                  "TC,2018-03-01,IMPORT,PACKAGES,2,15,100.500,0,0,0.000",
                  "TC,2018-03-02,IMPORT,PACKAGES,0,0,0.000,1,4,0.001"]),
    Case("VOLUMES", "a day is a day in Vietnam",
         [operator(), gate_in(time=at(1, "17:00")), gate_in("b", at(1, "17:00") - MICROSECOND)],
         volumes=["TC,2018-03-01,IMPORT,CONTAINER,1,0,0.000,0,0,0.000",
                  "TC,2018-03-02,IMPORT,CONTAINER,1,0,0.000,0,0,0.000"]),
    Case("VOLUMES", "exactly right after corrections, repeats and retractions",
         [operator(), lot_in(pieces=10, weightKg=1), lot_in(pieces=10, weightKg=1),
          lot_in(pieces=7, weightKg=2, eventUpdatedDateTime=at(2)),
          gate_in("x", unit=LOT, pieces=1, direction="EXPORT"),
          retracted("GET_IN", "x", IN, at(2), unit=LOT, pieces=1, direction="EXPORT")],
         volumes=["TC,2018-03-01,IMPORT,PACKAGES,1,7,2.000,0,0,0.000"],
         stock=["CAT-LAI,IMPORT,PACKAGES,0-30,1,7,2.000"]),
    Case("STOCK", "pieces and kilograms are those of lots; a box is one unit",
         [operator(), gate_in(pieces=9, weightKg=9), lot_declared(),
          lot_in(pieces=10, weightKg=100), lot_out(pieces=4, weightKg=Raw("150.25"))],
         stock=["CAT-LAI,IMPORT,CONTAINER,0-30,1,0,0.000",
                "CAT-LAI,IMPORT,PACKAGES,0-30,1,6,-50.250"]),
    Case("STOCK", "by whole days since the visit started",
         [operator(), gate_in("1", at(2), unit="A1", unitType="CONTAINER", direction="EXPORT"),
          gate_in("2", at(2) + MICROSECOND, unit="A2", unitType="CONTAINER", direction="EXPORT"),
          gate_in("3", at(32), unit="A3", unitType="CONTAINER", direction="EXPORT"),
          gate_in("4", at(32) + MICROSECOND, unit="A4", unitType="CONTAINER", direction="EXPORT"),
          gate_in("5", at(62), unit="A5", unitType="CONTAINER", direction="EXPORT"),
          gate_in("6", at(62) + MICROSECOND, unit="A6", unitType="CONTAINER", direction="EXPORT"),
          line("holds", "none", None, at(93))],
         stock=["CAT-LAI,EXPORT,CONTAINER,0-30,1,0,0.000",
                "CAT-LAI,EXPORT,CONTAINER,31-60,2,0,0.000",
                "CAT-LAI,EXPORT,CONTAINER,61-90,2,0,0.000",
                "CAT-LAI,EXPORT,CONTAINER,90+,1,0,0.000"]),
    Case("STOCK", "what is ahead of the clock has no age yet",
         [operator(), gate_in(time=IN + 2 * DAY, sent=IN, eventUpdatedDateTime=IN)],
         stock=["CAT-LAI,IMPORT,CONTAINER,0-30,1,0,0.000"]),
    Case("STOCK", "what has left is not in stock, and at two places it is in both",
         [operator(), gate_in(), gate_in("there", locationCode=DEPOT),
          gate_in("lot", unit=LOT, pieces=1), lot_out(purpose="EMPTY", pieces=1)],
         stock=["CAT-LAI,IMPORT,CONTAINER,0-30,1,0,0.000",
                "ICD,IMPORT,CONTAINER,0-30,1,0,0.000"]),
    Case("STOCK", "at one time entries come before exits, so that the visit goes on",
         [operator(), gate_in("1", at(2), unit=LOT, pieces=10),
          lot_out("2", at(40), pieces=10, direction="DOMESTIC", document="phiếu"),
          gate_in("3", at(40), unit=LOT, pieces=5)],
         stock=["CAT-LAI,IMPORT,PACKAGES,31-60,1,5,0.000"]),
    Case("STOCK", "a lot that was gone and comes back starts anew",
         [operator(), gate_in("1", at(2), unit=LOT, pieces=10),
          lot_out("2", at(40), pieces=10, direction="DOMESTIC", document="phiếu"),
          gate_in("3", at(40) + MICROSECOND, unit=LOT, pieces=5)],
         stock=["CAT-LAI,IMPORT,PACKAGES,0-30,1,5,0.000"]),
    Case("STOCK", "direction and type are those of the entry that started the visit",
         [operator(), gate_in("1", unit=LOT, unitType="BULK", weightKg=1, direction="TRANSIT"),
          gate_in("2", at(2), unit=LOT, unitType="PACKAGES", pieces=3)],
         stock=["CAT-LAI,TRANSIT,BULK,0-30,1,3,1.000"]),
]  # fmt: skip

ALERTS = (UNAUTHORISED_EXIT, DOUBLE_ENTRY, EXIT_WITHOUT_ENTRY, LATE_REPORT, DISCREPANCY,
          STOCK_MISMATCH, EXIT_RETRACTED, RECALL, OVERSTAYED, TRANSIT_OVERDUE)  # fmt: skip
CASES = [case for table in (*ALERTS, ORDER, VOLUMES) for case in table]
