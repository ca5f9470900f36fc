"""The catalogue: every story of the national year, how often it happens, what comes out of it.

Nothing but data. Read a story as a sentence: what happens, what customs holds, which decisions
and alerts it must bring about, in order. ``count`` is visits a year at scale 1; the ordinary
stories at the top have none and fill what the year's totals leave (see planner.py). Called by the
planner; what each word means stands in stories.py, what the law says in CONTRACT.md section 5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stream.national_year.stories import (
    DAY,
    HOUR,
    NOBODYS_DECLARATION,
    WHOLE,
    Declared,
    Fraction,
    Held,
    Step,
    Story,
    hold,
    release,
)


def entry(at: int = 0, **more: Any) -> Step:
    """A container comes in."""
    return Step("GET_IN", at, **more)


def check(at: int = 0, **more: Any) -> Step:
    """A container at the gate: its own seal is seen, its first declaration shown."""
    more.setdefault("seals", ("own",))
    more.setdefault("presented", (0,))
    return Step("GATE_CHECK", at, **{"after_stay": True, **more})


def leave(at: int = 12, **more: Any) -> Step:
    """A container goes out, twelve minutes after its check if nothing else is said."""
    more.setdefault("seals", ("own",))
    return Step("GET_OUT", at, **{"after_stay": True, **more})


def seized(at: int = 3 * DAY) -> Step:
    """Customs takes it: no declaration is needed, the decision to seize is the document."""
    return leave(at, seals=None, purpose="SEIZED", document=True)


def lot_entry(at: int = 0, quantity: Fraction = WHOLE, **more: Any) -> Step:
    """A lot comes in."""
    return Step("GET_IN", at, quantity=quantity, **more)


def lot_check(at: int = 0, quantity: Fraction = WHOLE, **more: Any) -> Step:
    """A lot, or part of it, at the gate."""
    more.setdefault("presented", (0,))
    return Step("GATE_CHECK", at, quantity=quantity, **{"after_stay": True, **more})


def lot_leave(at: int = 12, quantity: Fraction = WHOLE, **more: Any) -> Step:
    """A lot, or part of it, goes out."""
    return Step("GET_OUT", at, quantity=quantity, **{"after_stay": True, **more})


UNCLEARED = Declared("REGISTERED")
TWO_SHARED = (Declared(shared=True), Declared(number=1, shared=True))
ORDINARY = (entry(), check(), leave())
UNITS_OF_ORDINARY = ((1, 55), (2, 25), (3, 12), (5, 6), (12, 2))
"""Boxes of an ordinary declaration, and of 100 declarations how many have so many."""

_ordinary = [
    Story(
        f"{direction.lower()} of {units}",
        0,
        ORDINARY,
        direction=direction,
        units=units,
        decisions=(release(),),
    )
    for direction in ("IMPORT", "EXPORT")
    for units, _ in UNITS_OF_ORDINARY
]

_ordinary_lots = [
    Story(
        "import packages",
        0,
        (lot_entry(), lot_check(), lot_leave()),
        unit_type="PACKAGES",
        pool="sea lots",
        decisions=(release(),),
    ),
    Story(
        "import packages by three trucks",
        0,
        (
            lot_entry(),
            lot_check(0, (0, 1, 3)),
            lot_leave(12, (0, 1, 3)),
            lot_check(60, (1, 2, 3)),
            lot_leave(72, (1, 2, 3)),
            lot_check(120, (2, 3, 3)),
            lot_leave(132, (2, 3, 3)),
        ),
        unit_type="PACKAGES",
        pool="sea lots",
        decisions=(release(),) * 3,
    ),
    Story(
        "import packages by air",
        0,
        (lot_entry(), lot_check(), lot_leave()),
        unit_type="PACKAGES",
        pool="air",
        decisions=(release(),),
    ),
    Story(
        "export packages",
        0,
        (lot_entry(), lot_check(), lot_leave()),
        unit_type="PACKAGES",
        direction="EXPORT",
        pool="sea lots",
        decisions=(release(),),
    ),
    Story(
        # Air: goods may enter the warehouse only when they may pass, so the gate is on the way in.
        "export packages by air",
        0,
        (lot_check(0, after_stay=False), lot_entry(30), lot_leave()),
        unit_type="PACKAGES",
        direction="EXPORT",
        pool="air",
        decisions=(release(),),
    ),
]

_REPORT: dict[str, Any] = {"window": "report", "decisions": (release(),)}
_report = [
    Story("report import of 2", 0, ORDINARY, units=2, pool="report containers",
          weight_kg=20_000, **_REPORT),
    Story("report export of 2", 0, ORDINARY, units=2, pool="report containers",
          weight_kg=20_000, direction="EXPORT", **_REPORT),
    Story("report import bulk", 0, (lot_entry(), lot_check(), lot_leave()), unit_type="BULK",
          pool="report bulk", **{**_REPORT, "window": "report bulk"}),
    Story("report export bulk", 0, (lot_entry(), lot_check(), lot_leave()), unit_type="BULK",
          pool="report bulk", direction="EXPORT", **{**_REPORT, "window": "report bulk"}),
    Story("report import liquid", 0, (lot_entry(), lot_check(), lot_leave()), unit_type="LIQUID",
          pool="report liquid", **_REPORT),
    Story("report export liquid", 0, (lot_entry(), lot_check(), lot_leave()), unit_type="LIQUID",
          pool="report liquid", direction="EXPORT", **_REPORT),
]  # fmt: skip

_containers = [
    Story("released", 20_000, ORDINARY, (Declared("RELEASED"),), decisions=(release(),)),
    Story("to storage", 4_000, ORDINARY, (Declared("TO_STORAGE"),), decisions=(release(),)),
    Story("to inspection", 3_000, ORDINARY, (Declared("TO_INSPECTION"),), decisions=(release(),)),
    Story("no check", 30_000, (entry(), leave())),
    Story("waiting", 9_000, (entry(),), window="last weeks"),
    Story("checked and waiting", 3_000, (entry(), check()), window="last weeks",
          decisions=(release(),)),
    Story("checked twice", 15_000, (entry(), check(), check(20), leave(35)),
          decisions=(release(), release())),
    Story("amended declaration", 12_000, ORDINARY,
          (Declared("REGISTERED", place=1), Declared(version=2)), decisions=(release(),)),
    # What operators report: late, twice, wrong, corrected, withdrawn.
    Story("corrected entry", 8_000,
          (entry(name="in"), entry(0, name="in", updated=True, sent_at=60, quantity=(0, 9, 10)),
           check(), leave()), decisions=(release(),)),
    Story("repeated reports", 6_000,
          (entry(name="in"), entry(name="in", repeats=True, delay=6), check(name="check"),
           check(name="check", repeats=True, delay=6), leave(name="out"),
           leave(name="out", repeats=True, delay=6)), decisions=(release(),)),
    Story("exit reported late", 5_000, (entry(), check(), leave(delay=40)),
          decisions=(release(),), alerts=("LATE_REPORT",)),
    Story("entry reported late", 2_000,
          (entry(sent_at=18), check(), leave(30)), stay=(8, 8),
          decisions=(release("NOT_IN_STOCK"), release())),
    Story("check reported late", 500,
          (entry(), leave(12), check(0, sent_at=25)),
          decisions=(hold("ALREADY_PASSED", flags=("NOT_IN_STOCK",)),)),
    Story("old report after its correction", 300,
          (entry(), check(), leave(name="out", updated=True), leave(name="out", delay=8)),
          decisions=(release(),)),
    Story("entered twice", 500, (entry(), entry(60), check(), leave()),
          decisions=(release(),), alerts=("DOUBLE_ENTRY",)),
    Story("entered twice, one withdrawn", 300,
          (entry(), entry(60, name="twice"),
           entry(60, name="twice", updated=True, retracted=True, sent_at=120), check(), leave()),
          decisions=(release(),), alerts=("DOUBLE_ENTRY",)),
    Story("exit withdrawn", 400,
          (entry(), check(), leave(12, name="out"),
           leave(12, name="out", updated=True, retracted=True, sent_at=40), leave(DAY)),
          decisions=(release(),), alerts=("EXIT_RETRACTED",)),
    Story("seals corrected", 600,
          (entry(), check(name="check", seals=("other",)),
           check(name="check", updated=True, sent_at=15), leave(30)),
          decisions=(hold("SEAL_MISMATCH"), release())),
    Story("seals corrected for the worse", 150,
          (entry(), check(name="check"),
           check(name="check", seals=("other",), updated=True, sent_at=15)), window="last months",
          decisions=(release(), hold("SEAL_MISMATCH")), alerts=("RECALL",)),
    Story("gate clock cut to the minute", 1_000,
          (entry(), check(name="check"), leave(0, seconds=-40, moment_of="check", sent_at=6)),
          decisions=(release(),)),
    Story("clock ahead", 800, (entry(), check(delay=-10), leave(25)),
          decisions=(release("CLOCK_AHEAD"),)),
    Story("written by hand", 5_000, ORDINARY, spelling="sloppy", decisions=(release(),)),
    Story("wrong check digit", 3_000, ORDINARY, spelling="wrong digit",
          decisions=(release("CHECK_DIGIT"),)),
    Story("discrepancy", 2_500, (entry(), Step("DISCREPANCY", 45), check(), leave()),
          decisions=(release(),), alerts=("DISCREPANCY",)),
    Story("counted", 3_000, (entry(), Step("STOCK_COUNT", 2 * HOUR), check(), leave()),
          decisions=(release(),)),
    Story("counted though gone", 300,
          (entry(), check(), leave(), Step("STOCK_COUNT", 2 * HOUR, after_stay=True)),
          decisions=(release(),), alerts=("STOCK_MISMATCH",)),
    Story("stripped", 4_000, (entry(), Step("STRIP", 3 * HOUR), check(), leave()),
          decisions=(release(),)),
    # Rows 1 to 9: what is declared.
    Story("undeclared, seized", 1_200, (entry(), check(presented=()), seized()), (),
          decisions=(hold("NOT_DECLARED"),)),
    Story("undeclared, left", 150, (entry(), check(presented=()), leave()), (),
          decisions=(hold("NOT_DECLARED"),), alerts=("UNAUTHORISED_EXIT",)),
    Story("declaration used twice", 300,
          (entry(), check(), leave(), entry(3 * DAY, after_stay=True), check(4 * DAY),
           seized(6 * DAY)), decisions=(release(), hold("ALREADY_PASSED"))),
    Story("another journey undeclared", 150,
          (entry(), check(), leave(), entry(40 * DAY, after_stay=True), check(41 * DAY),
           seized(43 * DAY)), window="early", decisions=(release(), hold("NOT_DECLARED"))),
    Story("revoked", 500, (entry(), check(), seized()), (Declared("CANCELLED"),),
          decisions=(hold("REVOKED"),)),
    Story("declared for elsewhere", 600, (entry(), check(), seized()), (Declared(place=1),),
          decisions=(hold("WRONG_LOCATION"),)),
    Story("declared the other way", 300, (entry(), check(), seized()),
          (Declared(direction="EXPORT"),), decisions=(hold("WRONG_DIRECTION"),)),
    Story("not cleared", 4_000, (entry(), check()), (UNCLEARED,), window="last months",
          decisions=(hold("NOT_CLEARED"),)),
    Story("not cleared, left", 100, (entry(), check(), leave()), (UNCLEARED,),
          decisions=(hold("NOT_CLEARED"),), alerts=("UNAUTHORISED_EXIT",)),
    Story("left before it was cleared", 200, (entry(), leave()),
          (Declared(status_at=2 * DAY, status_after_stay=True),), alerts=("UNAUTHORISED_EXIT",)),
    Story("on two declarations", 20_000, (entry(), check(presented=(0, 1)), leave()), TWO_SHARED,
          decisions=(release(),)),
    Story("one of two not cleared", 800, (entry(), check(presented=(0, 1))),
          (Declared(shared=True), Declared("REGISTERED", number=1, shared=True)),
          window="last months", decisions=(hold("DECLARATIONS_INCOMPLETE"),)),
    Story("one of two not presented", 900,
          (entry(), check(), check(20, presented=(0, 1)), leave(35)), TWO_SHARED,
          decisions=(hold("DECLARATIONS_INCOMPLETE"), release())),
    Story("one number too many", 700,
          (entry(), check(presented=(0, NOBODYS_DECLARATION)), check(20), leave(35)),
          decisions=(hold("DECLARATION_MISMATCH"), release())),
    Story("wrong number", 300,
          (entry(), check(presented=(NOBODYS_DECLARATION,)), check(20), leave(35)),
          decisions=(hold("DECLARATIONS_INCOMPLETE", "DECLARATION_MISMATCH"), release())),
    Story("declared twice", 250, (entry(), check(presented=(0, 1))),
          (Declared(), Declared(number=1)), window="last months",
          decisions=(hold("DUPLICATE_UNIT"),)),
    Story("declared long ago", 1_000, ORDINARY, (Declared(registered=-200 * DAY),),
          decisions=(release("STALE_DECLARATION"),)),
    # Rows 10 to 13: holds and seals.
    Story("stopped", 800, (entry(), check()), held=(Held(),), window="last months",
          decisions=(hold("STOPPED"),)),
    Story("declaration stopped", 400, (entry(), check()), held=(Held(on_declaration=True),),
          window="last months", decisions=(hold("STOPPED"),)),
    Story("stopped, left", 50, (entry(), check(), leave()), held=(Held(),),
          decisions=(hold("STOPPED"),), alerts=("UNAUTHORISED_EXIT",)),
    Story("stop lifted", 2_000, ORDINARY, held=(Held(), Held(state="LIFTED", version=2)),
          decisions=(release(),)),
    Story("stopped after it had left", 200, (entry(), leave()),
          held=(Held(issued=DAY, issued_after_stay=True),)),
    Story("scan pending", 1_000, (entry(), check()), held=(Held("SCAN"),), window="last months",
          decisions=(hold("SCAN_PENDING"),)),
    Story("to the scanner and back", 2_500,
          (entry(), check(purpose="INSPECTION"), leave(purpose="INSPECTION"),
           entry(3 * HOUR, after_stay=True)), (UNCLEARED,), (Held("SCAN"),), window="last months",
          decisions=(release(),)),
    Story("customs seal missing", 300, (entry(), check()), held=(Held("CUSTOMS_SEAL"),),
          window="last months", decisions=(hold("CUSTOMS_SEAL_REQUIRED"),)),
    Story("customs seal there", 1_500,
          (entry(), check(seals=("own", "customs")), leave(seals=("own", "customs"))),
          held=(Held("CUSTOMS_SEAL"),), decisions=(release(),)),
    Story("another seal", 500, (entry(), check(seals=("other",))), window="last months",
          decisions=(hold("SEAL_MISMATCH"),)),
    Story("no seal there", 200, (entry(), check(seals=())), window="last months",
          decisions=(hold("SEAL_MISMATCH"),)),
    Story("nobody looked", 6_000, (entry(), check(seals=None), leave(seals=None)),
          decisions=(release("SEAL_UNSEEN"),)),
    Story("seal written as a blank", 500, (entry(), check(seals=("blank",)), leave()),
          decisions=(release("SEAL_UNSEEN"),)),
    Story("sealed anew", 3_000,
          (entry(), Step("RESEAL", 2 * HOUR, seals=("new",)), check(seals=("new",)),
           leave(seals=("new",))), decisions=(release(),)),
    Story("sealed anew after the check", 400,
          (entry(), check(), Step("RESEAL", 10, after_stay=True, seals=("new",)),
           check(20, seals=("new",)), leave(35, seals=("new",))),
          decisions=(release(), hold("SEAL_MISMATCH"), release()), alerts=("RECALL",)),
    Story("three reasons", 60, (entry(), check(seals=("other",))), (UNCLEARED,), (Held(),),
          window="last months", decisions=(hold("NOT_CLEARED", "STOPPED", "SEAL_MISMATCH"),)),
    # Rows 18, 19, 21 and the clock.
    Story("at a suspended operator", 300, (entry(), check(), leave()), pool="suspended",
          decisions=(hold("OPERATOR_SUSPENDED"),), alerts=("UNAUTHORISED_EXIT",)),
    Story("never entered", 700, (check(0), leave()), decisions=(release("NOT_IN_STOCK"),),
          alerts=("EXIT_WITHOUT_ENTRY",)),
    Story("overstayed", 900, ORDINARY, stay=(100 * DAY, 110 * DAY), window="early",
          decisions=(release("OVERSTAYED"),), alerts=("OVERSTAYED",)),
    # Whatever is in stock at the end raises OVERSTAYED when it is due: that is counted there.
    Story("abandoned", 300, (entry(),), window="early"),
    # Export.
    Story("export, no check", 20_000, (entry(), leave()), direction="EXPORT"),
    Story("export, waiting", 6_000, (entry(),), direction="EXPORT", window="last weeks"),
    Story("export reported in time", 6_000, (entry(), check(), leave(delay=20)),
          direction="EXPORT", decisions=(release(),)),
    Story("export reported late", 3_000, (entry(), check(), leave(delay=45)), direction="EXPORT",
          decisions=(release(),), alerts=("LATE_REPORT",)),
    Story("export stuffed", 5_000, (entry(), Step("STUFF", 3 * HOUR), check(), leave()),
          direction="EXPORT", decisions=(release(),)),
    Story("export not cleared", 2_000, (entry(), check()), (UNCLEARED,), direction="EXPORT",
          decisions=(hold("NOT_CLEARED"),)),
    Story("export at another port", 300, (entry(), check()), (Declared(place=1),),
          direction="EXPORT", decisions=(hold("WRONG_LOCATION"),)),
    Story("export stopped", 300, (entry(), check()), direction="EXPORT", held=(Held(),),
          decisions=(hold("STOPPED"),)),
    # Without a declaration: empties, domestic.
    Story("empty", 40_000,
          (entry(purpose="EMPTY"), check(purpose="EMPTY", seals=None, presented=(), document=True),
           leave(purpose="EMPTY", seals=None, document=True)), (), direction="EXPORT",
          decisions=(release(),)),
    Story("empty without document", 800,
          (entry(purpose="EMPTY"), check(purpose="EMPTY", seals=None, presented=()),
           check(20, purpose="EMPTY", seals=None, presented=(), document=True),
           leave(35, purpose="EMPTY", seals=None, document=True)), (), direction="EXPORT",
          decisions=(hold("NO_DOCUMENT"), release())),
    Story("empty left without document", 60,
          (entry(purpose="EMPTY"), leave(purpose="EMPTY", seals=None)), (), direction="EXPORT",
          alerts=("UNAUTHORISED_EXIT",)),
    Story("said to be empty", 150,
          (entry(purpose="EMPTY"), check(purpose="EMPTY", seals=None, presented=(),
                                         document=True)),
          direction="EXPORT", decisions=(hold("DECLARED_GOODS"),)),
    Story("domestic", 60_000,
          (entry(), check(seals=None, presented=(), document=True),
           leave(seals=None, document=True)), (), direction="DOMESTIC", decisions=(release(),)),
    Story("domestic without document", 300, (entry(), check(seals=None, presented=())), (),
          direction="DOMESTIC", decisions=(hold("NO_DOCUMENT"),)),
    # Transit: the same goods pass two gates.
    Story("transit", 8_000,
          (entry(), check(), leave(), entry(DAY, after_stay=True, place=1),
           check(2 * DAY, place=1), leave(2 * DAY + 12, place=1)),
          (Declared("TRANSPORT_APPROVED", to_second_place=True, arrive_by=3 * DAY),),
          direction="TRANSIT", decisions=(release(), release())),
    Story("transit, overdue", 150, (entry(), check(), leave()),
          (Declared("TRANSPORT_APPROVED", to_second_place=True, arrive_by=3 * DAY),),
          direction="TRANSIT", window="not last weeks", decisions=(release(),),
          alerts=("TRANSIT_OVERDUE",)),
    Story("transit, late", 200,
          (entry(), check(), leave(), entry(5 * DAY, after_stay=True, place=1),
           check(6 * DAY, place=1), leave(6 * DAY + 12, place=1)),
          (Declared("TRANSPORT_APPROVED", to_second_place=True, arrive_by=3 * DAY),),
          direction="TRANSIT", decisions=(release(), release()), alerts=("TRANSIT_OVERDUE",)),
]  # fmt: skip

_PACKAGES: dict[str, Any] = {"unit_type": "PACKAGES", "pool": "sea lots"}
_lots = [
    Story("packages, more than declared", 300,
          (lot_entry(0, (0, 6, 5)), lot_check(0, (0, 6, 5), name="check"),
           lot_check(0, (0, 6, 5), name="check", updated=True, retracted=True, sent_at=15),
           lot_check(25), lot_leave(40), lot_leave(2 * DAY, (5, 6, 5), purpose="SEIZED",
                                                   document=True)),
          decisions=(hold("QUANTITY_EXCEEDED"), release()), **_PACKAGES),
    Story("packages, two trucks", 400,
          (lot_entry(), lot_check(0, (0, 3, 5)), lot_check(30, (0, 3, 5), name="second"),
           lot_check(30, (0, 3, 5), name="second", updated=True, retracted=True, sent_at=45),
           lot_leave(60, (0, 3, 5)), lot_check(80, (3, 5, 5)), lot_leave(95, (3, 5, 5))),
          decisions=(release(), hold("QUANTITY_EXCEEDED"), release()), **_PACKAGES),
    Story("packages weighed", 200,
          (lot_entry(), lot_check(pieces=False, name="check"),
           lot_check(pieces=False, name="check", updated=True, retracted=True, sent_at=15),
           lot_check(25), lot_leave(40)),
          decisions=(hold("QUANTITY_MISSING"), release()), **_PACKAGES),
    Story("packages, more left than declared", 60,
          (lot_entry(0, (0, 6, 5)), lot_leave(12, (0, 6, 5))), alerts=("UNAUTHORISED_EXIT",),
          **_PACKAGES),
    Story("packages miscounted", 200,
          (lot_entry(), Step("STOCK_COUNT", 2 * HOUR, quantity=(0, 1, 2)), lot_check(),
           lot_leave()), decisions=(release(),), alerts=("STOCK_MISMATCH",), **_PACKAGES),
    Story("packages counted", 800,
          (lot_entry(), Step("STOCK_COUNT", 2 * HOUR, quantity=WHOLE), lot_check(), lot_leave()),
          decisions=(release(),), **_PACKAGES),
    Story("packages, exit corrected", 500,
          (lot_entry(), lot_check(), lot_leave(12, (0, 1, 2), name="out"),
           lot_leave(12, name="out", updated=True, sent_at=30)), decisions=(release(),),
          **_PACKAGES),
    Story("packages, part left behind", 600,
          (lot_entry(), lot_check(0, (0, 2, 3)), lot_leave(12, (0, 2, 3))), window="last months",
          decisions=(release(),), **_PACKAGES),
    Story("packages undeclared", 300, (lot_entry(), lot_check(presented=()),
                                       lot_leave(DAY, purpose="SEIZED", document=True)), (),
          decisions=(hold("NOT_DECLARED"),), **_PACKAGES),
    Story("packages not cleared", 800, (lot_entry(), lot_check()), (UNCLEARED,),
          direction="EXPORT", decisions=(hold("NOT_CLEARED"),), **_PACKAGES),
    Story("packages checked before entry", 500,
          (lot_check(0, after_stay=False), lot_entry(30), lot_leave()), direction="EXPORT",
          decisions=(release("NOT_IN_STOCK"), release()), **_PACKAGES),
    Story("packages checked, never entered", 100, (lot_check(0, after_stay=False), lot_leave()),
          direction="EXPORT", decisions=(release("NOT_IN_STOCK"),),
          alerts=("EXIT_WITHOUT_ENTRY",), **_PACKAGES),
    Story("domestic packages", 2_000,
          (lot_entry(), lot_check(presented=(), document=True), lot_leave(document=True)), (),
          direction="DOMESTIC", decisions=(release(),), **_PACKAGES),
    Story("bulk import", 5_000, (lot_entry(), lot_check(), lot_leave()), unit_type="BULK",
          pool="sea lots", decisions=(release(),)),
    Story("bulk import by two barges", 2_000,
          (lot_entry(), lot_check(0, (0, 1, 2)), lot_leave(12, (0, 1, 2)),
           lot_check(90, (1, 2, 2)), lot_leave(102, (1, 2, 2))), unit_type="BULK",
          pool="sea lots", decisions=(release(), release())),
    Story("bulk import, part left behind", 100,
          (lot_entry(), lot_check(0, (0, 3, 5)), lot_leave(12, (0, 3, 5))), unit_type="BULK",
          pool="sea lots", window="last months", decisions=(release(),)),
    Story("bulk export", 4_000, (lot_entry(), lot_check(), lot_leave()), unit_type="BULK",
          direction="EXPORT", pool="sea lots", decisions=(release(),)),
    Story("liquid import, short", 3_000,
          (lot_entry(0, (0, 199, 200)), lot_check(0, (0, 199, 200)),
           lot_leave(12, (0, 199, 200))), unit_type="LIQUID", pool="sea liquid",
          decisions=(release(),)),
    Story("liquid export", 1_500, (lot_entry(), lot_check(), lot_leave()), unit_type="LIQUID",
          direction="EXPORT", pool="sea liquid", decisions=(release(),)),
]  # fmt: skip


def _refused(name: str, count: int, step: Step) -> Story:
    """An ordinary visit with one record in it that is refused."""
    return Story(
        name,
        count,
        (entry(), replace(step, at=step.at + 2 * HOUR), check(), leave()),
        decisions=(release(),),
    )


def _malformed(name: str, count: int = 200, reject: str = "MALFORMED", **more: Any) -> Story:
    step = Step("GATE_CHECK", 0, reject=reject, **more)
    return _refused(f"malformed: {name}", count, step)


_refusals = [
    _malformed("cut off", truncated=True),
    _malformed("no event type", replaced={"eventType": None}),
    _malformed("unknown event type", replaced={"eventType": b'"GATE_OPEN"'}),
    _malformed("time without offset", replaced={"eventDateTime": b'"2018-01-01T00:00:00"'}),
    _malformed("weight too fine", replaced={"weightKg": b"1.2345"}),
    _malformed("weight with exponent", replaced={"weightKg": b"1e3"}),
    _malformed("negative pieces", replaced={"pieces": b"-1"}),
    _malformed("number of a declaration", replaced={"declarations": b'["12345"]'}),
    _malformed("retracted without update", replaced={"isRetracted": b"true"}),
    _malformed("control character", replaced={"document": b'"line\\nbreak"'}),
    _malformed("not JSON", replaced={"document": b"NaN"}),
    _refused("malformed: sealed with nothing", 200, Step("RESEAL", 0, reject="MALFORMED")),
    _refused(
        "malformed: lot without quantity",
        200,
        Step("GET_IN", 0, reject="MALFORMED", replaced={"unitType": b'"BULK"', "weightKg": None}),
    ),
    _malformed("too large", 5, reject="TOO_LARGE", replaced={"note": b'"' + b"x" * 66_000 + b'"'}),
    _refused("from the future", 100, Step("GATE_CHECK", 2 * DAY, reject="FUTURE", delay=-2 * DAY)),
    _refused(
        "unknown operator",
        100,
        Step("GATE_CHECK", 0, reject="UNKNOWN_OPERATOR", operator="unknown"),
    ),
    _refused(
        "operator in tests",
        100,
        Step("GATE_CHECK", 0, reject="OPERATOR_NOT_CONNECTED", operator="testing"),
    ),
    _refused(
        "somebody else's place",
        100,
        Step("GATE_CHECK", 0, reject="OPERATOR_LOCATION", operator="elsewhere"),
    ),
    Story(
        "wrong partition",
        100,
        (
            entry(name="in"),
            entry(name="in", repeats=True, misrouted=True, reject="MISPARTITIONED", delay=6),
            check(),
            leave(),
        ),
        decisions=(release(),),
    ),
    Story(
        "declaration under another key",
        100,
        ORDINARY,
        (Declared(), Declared(number=1, key="wrong")),
        decisions=(release(),),
    ),
    Story(
        "customs seal that is a blank",
        50,
        ORDINARY,
        held=(Held("CUSTOMS_SEAL", blank_seal=True),),
        decisions=(release(),),
    ),
]
_played = [
    Story("stopped after its release", 300,
          (entry(), check(), leave(60)),
          held=(Held(at=10, after_stay=True, issued=10, issued_after_stay=True),
                Held(at=30, after_stay=True, issued=10, issued_after_stay=True, version=2,
                     state="LIFTED")),
          decisions=(release(), hold("STOPPED"), release()), alerts=("RECALL",)),
    Story("cleared while it waited", 600, (entry(), check(), leave(60)),
          (UNCLEARED, Declared(version=2, at=20, after_stay=True, status_at=19,
                               status_after_stay=True)),
          decisions=(hold("NOT_CLEARED"), release())),
    Story("cancelled after its release", 100, (entry(), check()),
          (Declared(), Declared("CANCELLED", version=2, at=20, after_stay=True)),
          direction="EXPORT", decisions=(release(), hold("REVOKED")), alerts=("RECALL",)),
    Story("listed by an amendment", 200, (entry(), check(), leave(60)),
          (Declared(lists_unit=False), Declared(version=2, at=20, after_stay=True)),
          decisions=(hold("NOT_DECLARED"), release())),
    Story("scanned", 300,
          (entry(), check(), leave(15, purpose="INSPECTION"), entry(90, after_stay=True),
           check(150), leave(165)),
          held=(Held("SCAN"), Held("SCAN", version=2, state="LIFTED", at=120, after_stay=True)),
          decisions=(hold("SCAN_PENDING"), release())),
    Story("declaration withdrawn", 60, (entry(), check()),
          (Declared(), Declared(removed=True, at=20, after_stay=True)), direction="EXPORT",
          decisions=(release(), hold("NOT_DECLARED")), alerts=("RECALL",)),
    Story("declaration stopped after its release", 150, (entry(), check(), leave(60)),
          held=(Held(on_declaration=True, at=10, after_stay=True, issued=10,
                     issued_after_stay=True),
                Held(on_declaration=True, at=30, after_stay=True, issued=10,
                     issued_after_stay=True, version=2, state="LIFTED")),
          decisions=(release(), hold("STOPPED"), release()), alerts=("RECALL",)),
    Story("customs seal ordered", 100,
          (entry(), check(), check(40, seals=("own", "customs")),
           leave(60, seals=("own", "customs"))),
          held=(Held("CUSTOMS_SEAL", at=10, after_stay=True, issued=10, issued_after_stay=True),),
          decisions=(release(), hold("CUSTOMS_SEAL_REQUIRED"), release()), alerts=("RECALL",)),
]  # fmt: skip

STORIES: tuple[Story, ...] = (
    *_ordinary,
    *_ordinary_lots,
    *_report,
    *_containers,
    *_lots,
    *_refusals,
    *_played,
)
