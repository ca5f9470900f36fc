"""The reference model: CONTRACT.md sections 3 to 6 in plain Python, written from it alone.

Called by the tests, and by people as `python -m tests.reference.model LOG --out DIR`, which
writes what `gatejoin replay` writes. It must never know the engine: it shares no code with it,
keeps no derived state but the set of events, and works everything out anew each time, so that
each function can be read beside the sentence it stands for. Where the contract leaves a choice,
a comment that starts with `Reading:` says which one was taken and why.
"""

from __future__ import annotations

import argparse
import base64
import heapq
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.reference.log import read_log
from tests.reference.policy import CODES, Policy, read_policy
from tests.reference.records import (
    DAY,
    HOUR,
    MILLISECOND,
    MINUTE,
    OTHER_BYTES_LIMIT,
    PASS_STATUSES,
    PORT_EVENT_BYTES_LIMIT,
    Declaration,
    Hold,
    MalformedError,
    Operator,
    PortEvent,
    day_in_vietnam,
    read_declaration,
    read_hold,
    read_operator,
    read_port_event,
    write_date_time,
)

# A unit is its name and class, True for a lot: a container and a lot of one name are two.
UnitKey = tuple[str, bool]

REJECT_VALUE_BYTES_LIMIT = 64 * 1024
RULE_SET = "rules"


@dataclass
class Line:
    """What one declaration says of one unit at one location."""

    declaration: Declaration
    location: str
    pieces: int = 0
    weight_grams: int = 0
    seals: frozenset[str] = frozenset()
    shared: bool = False
    # The line that a TRANSIT declaration has at its destination without listing it.
    at_destination: bool = False

    def add(self, pieces: int, weight_grams: int, seals: frozenset[str], shared: bool) -> None:
        self.pieces += pieces
        self.weight_grams += weight_grams
        self.seals |= seals
        self.shared |= shared


@dataclass
class Published:
    """The last decision of a check."""

    sequence: int
    outcome: str
    content: tuple[Any, ...]


@dataclass
class Unit:
    events: dict[tuple[str, str], PortEvent] = field(default_factory=dict)
    decisions: dict[tuple[str, str], Published] = field(default_factory=dict)

    def effective(self, *types: str, aside: PortEvent | None = None) -> list[PortEvent]:
        """The events that count, of these types, in time order, one of them set aside."""
        return sorted(
            (
                event
                for event in self.events.values()
                if not event.retracted
                and event is not aside
                and (not types or event.event_type in types)
            ),
            key=lambda event: event.order,
        )


@dataclass
class Weighing:
    """What the rules say of one GATE_CHECK or GET_OUT."""

    rows: set[str]
    declarations: list[Declaration]
    holds: list[str]
    reasons: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        return "HOLD" if self.reasons else "RELEASE"


class RejectedError(Exception):
    def __init__(self, reason: str, field_name: str | None, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.field = field_name


# ------------------------------------------------------------------ section 4: state of a unit


def of_type(events: Iterable[PortEvent], event_type: str) -> list[PortEvent]:
    return [event for event in events if event.event_type == event_type]


def at(events: Iterable[PortEvent], location: str) -> list[PortEvent]:
    return [event for event in events if event.location == location]


def balance(events: Iterable[PortEvent], quantity: str) -> int:
    """GET_IN minus GET_OUT, in pieces or in grams; absent counts 0."""
    sign = {"GET_IN": 1, "GET_OUT": -1}
    return sum(sign.get(e.event_type, 0) * (e.quantity(quantity) or 0) for e in events)


def in_stock(events: list[PortEvent], is_lot: bool) -> bool:
    """Whether these events, all of one location, leave the unit in stock."""
    gate_ins, gate_outs = of_type(events, "GET_IN"), of_type(events, "GET_OUT")
    if is_lot:
        by_pieces = sum(event.pieces or 0 for event in gate_ins) > 0
        return balance(events, "pieces" if by_pieces else "weight") > 0
    return any(all(gate_out.time < gate_in.time for gate_out in gate_outs) for gate_in in gate_ins)


def up_to(events: Iterable[PortEvent], time: int) -> list[PortEvent]:
    return [event for event in events if event.time <= time]


def visit_start(events: list[PortEvent], is_lot: bool) -> PortEvent | None:
    """The GET_IN that started the visit that still lasts, of the events of one location."""
    movements = of_type(events, "GET_IN") + of_type(events, "GET_OUT")
    movements.sort(key=lambda e: (e.time, e.event_type == "GET_OUT", e.operator_id, e.event_id))
    start = None
    for count, movement in enumerate(movements, start=1):
        if not in_stock(movements[:count], is_lot):
            start = None
        elif start is None:
            start = movement
    return start


def leaving(line: Line, events: Iterable[PortEvent]) -> list[PortEvent]:
    """The GET_OUT by which the goods of a line left, in the order of the events."""
    return [
        event
        for event in at(of_type(events, "GET_OUT"), line.location)
        if event.purpose == "CLEARANCE"
        and event.direction == line.declaration.direction
        and event.time >= line.declaration.registered
    ]


def consumed_by(line: Line, events: Iterable[PortEvent], is_lot: bool) -> list[PortEvent]:
    return [] if is_lot else leaving(line, events)


def is_open(line: Line, events: list[PortEvent], is_lot: bool) -> bool:
    if line.declaration.status == "CANCELLED" or consumed_by(line, events, is_lot):
        return False
    return not line.at_destination or in_stock(at(events, line.location), is_lot)


def open_checks(events: list[PortEvent], is_lot: bool) -> list[PortEvent]:
    """The open GATE_CHECKs among these events, all of one location and in time order."""
    checks, gate_outs = of_type(events, "GATE_CHECK"), of_type(events, "GET_OUT")
    if not is_lot:
        return [c for c in checks[-1:] if all(g.time < c.time - MINUTE for g in gate_outs)]
    for gate_out in gate_outs:
        closed = next((check for check in checks if check.time <= gate_out.time + MINUTE), None)
        if closed:
            checks.remove(closed)
    return checks


def passes_iso_6346(unit: str) -> bool:
    """4 letters, 6 digits and the check digit."""
    if len(unit) != 11:
        return False
    letters, digits = unit[:4], unit[4:]
    if not all("A" <= c <= "Z" for c in letters) or not all("0" <= c <= "9" for c in digits):
        return False
    # Letters count 10 to 38, leaving out the multiples of 11.
    letter_values = [number for number in range(10, 39) if number % 11]
    values = [letter_values[ord(c) - ord("A")] for c in letters] + [int(c) for c in digits[:6]]
    return sum(v << place for place, v in enumerate(values)) % 11 % 10 == int(digits[6])


# ------------------------------------------------------------------------------- the model


class Model:
    """Everything a log has said so far, and what had to be answered."""

    def __init__(self, policy: Policy | None = None, rule_set: str = RULE_SET) -> None:
        self.policy = policy or Policy()
        self.rule_set = rule_set
        self.decisions: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.rejects: list[dict[str, Any]] = []
        self.registry: list[dict[str, Any]] = []
        self.clock = 0
        self.operators: dict[str, Operator] = {}
        self.declarations: dict[str, Declaration] = {}
        self.holds: dict[str, Hold] = {}
        self.units: defaultdict[UnitKey, Unit] = defaultdict(Unit)
        self.lines: defaultdict[UnitKey, dict[str, list[Line]]] = defaultdict(dict)
        self.alert_ids: set[str] = set()
        # Reminders of alerts that may be due some day; each is judged when its time has come.
        self.reminders: list[tuple[int, str, UnitKey]] = []

    # ---------------------------------------------------------------- one line of a log

    def apply(
        self,
        line_number: int,
        topic: str,
        timestamp_ms: int,
        key: str | None,
        value: bytes | None,
    ) -> None:
        self.now = timestamp_ms * MILLISECOND
        self.source = {"topic": topic, "partition": 0, "offset": line_number}
        self.clock = max(self.clock, self.now)
        self.raise_alerts_due()
        take = {
            "operators": self.take_operator,
            "declarations": self.take_declaration,
            "holds": self.take_hold,
            "port-events": self.take_port_event,
        }[topic]
        try:
            touched, arrived = self.checked(take, topic, key, value)
        except RejectedError as rejected:
            self.reject(rejected, value)
            return
        self.decide(touched, arrived)
        for unit_key in touched:
            for due, alert_id in self.alerts_by_clock(unit_key):
                heapq.heappush(self.reminders, (due, alert_id, unit_key))
        self.raise_alerts_due()

    def checked(
        self,
        take: Callable[[str | None, bytes | None], tuple[set[UnitKey], PortEvent | None]],
        topic: str,
        key: str | None,
        value: bytes | None,
    ) -> tuple[set[UnitKey], PortEvent | None]:
        limit = PORT_EVENT_BYTES_LIMIT if topic == "port-events" else OTHER_BYTES_LIMIT
        if value is not None and len(value) > limit:
            raise RejectedError("TOO_LARGE", None, f"{len(value)} bytes, above {limit}")
        if value is None and (topic == "port-events" or key is None):
            raise RejectedError("MALFORMED", None, "a null value")
        try:
            return take(key, value)
        except MalformedError as malformed:
            raise RejectedError("MALFORMED", malformed.field, str(malformed)) from None

    def reject(self, rejected: RejectedError, value: bytes | None) -> None:
        # Reading: a null value has no bytes, so its `value` is null.
        first = None if value is None else value[:REJECT_VALUE_BYTES_LIMIT]
        self.rejects.append(
            {
                "reason": rejected.reason,
                "field": rejected.field,
                "detail": str(rejected),
                "source": self.source,
                "value": None if first is None else base64.b64encode(first).decode(),
            }
        )

    # ------------------------------------------------- taking a record: the units it touches

    def take_operator(
        self, key: str | None, value: bytes | None
    ) -> tuple[set[UnitKey], PortEvent | None]:
        if value is None:
            assert key is not None
            took_effect = self.operators.pop(key, None) is not None
            operator_id, written = key, None
        else:
            operator = read_operator(key, value)
            operator_id, written = operator.operator_id, value.decode("utf-8")
            known = self.operators.get(operator_id)
            took_effect = known is None or operator.version > known.version
            if took_effect:
                self.operators[operator_id] = operator
        if took_effect:
            self.registry.append(
                {
                    "timestamp": self.now // MILLISECOND,
                    "operatorID": operator_id,
                    "operator": written,
                }
            )
        # A change of an operator touches no unit.
        return set(), None

    def take_declaration(
        self, key: str | None, value: bytes | None
    ) -> tuple[set[UnitKey], PortEvent | None]:
        new = None if value is None else read_declaration(key, value)
        number = new.number if new else str(key)
        old = self.declarations.get(number)
        if new and old and new.version <= old.version:
            return set(), None
        listed = {(e.unit, e.is_lot) for d in (old, new) if d for e in d.entries}
        for unit_key in listed:
            self.lines[unit_key].pop(number, None)
        self.declarations.pop(number, None)
        if new:
            self.declarations[number] = new
            for unit_key, lines in lines_of(new).items():
                self.lines[unit_key][number] = lines
        return listed, None

    def take_hold(
        self, key: str | None, value: bytes | None
    ) -> tuple[set[UnitKey], PortEvent | None]:
        new = None if value is None else read_hold(key, value)
        hold_id = new.hold_id if new else str(key)
        old = self.holds.get(hold_id)
        if new and old and new.version <= old.version:
            return set(), None
        self.holds.pop(hold_id, None)
        if new:
            self.holds[hold_id] = new
        touched: set[UnitKey] = set()
        for hold in (old, new):
            if hold and hold.scope == "UNIT":
                # A hold on a name is on the container and on the lot of that name.
                touched |= {(hold.reference, False), (hold.reference, True)}
            elif hold and hold.reference in self.declarations:
                entries = self.declarations[hold.reference].entries
                touched |= {(entry.unit, entry.is_lot) for entry in entries}
        return touched, None

    def take_port_event(
        self, _key: str | None, value: bytes | None
    ) -> tuple[set[UnitKey], PortEvent | None]:
        assert value is not None
        event = read_port_event(value)
        if event.version > self.now + DAY:
            raise RejectedError("FUTURE", event.version_field, "more than 24 hours ahead")
        operator = self.operators.get(event.operator_id)
        if operator is None:
            raise RejectedError("UNKNOWN_OPERATOR", "operatorID", "no such operator")
        if operator.status in ("SURVEYED", "TESTING"):
            raise RejectedError("OPERATOR_NOT_CONNECTED", "operatorID", operator.status)
        if event.location not in operator.locations:
            raise RejectedError("OPERATOR_LOCATION", "locationCode", "not among its locations")

        unit_key = event.unit, event.is_lot
        unit = self.units[unit_key]
        known = unit.events.get(event.identity)
        if known and event.version <= known.version:
            return set(), None
        event = replace(
            event,
            timestamp=self.now,
            operator_kind=operator.kind,
            operator_suspended=operator.status == "SUSPENDED",
        )
        unit.events[event.identity] = event
        if event.retracted:
            if known and not known.retracted and known.event_type == "GET_OUT":
                self.raise_event_alert("EXIT_RETRACTED", known)
        else:
            for alert_type in self.alerts_of_event(unit, event, first_seen=known is None):
                self.raise_event_alert(alert_type, event)
        return {unit_key}, event

    # --------------------------------------------------------------------------- section 5

    def weigh(self, unit: Unit, event: PortEvent) -> Weighing:
        """The rows that stand for a GATE_CHECK or GET_OUT, and what was weighed."""
        location, is_lot = event.location, event.is_lot
        parameters = self.policy.parameters
        others = unit.effective(aside=event)
        here = at(others, location)
        is_gate_out = event.event_type == "GET_OUT"

        needs_declaration = event.direction != "DOMESTIC" and event.purpose not in (
            "EMPTY", "DOMESTIC", "SEIZED",
        )  # fmt: skip
        unit_key = event.unit, is_lot
        lines = [line for its_lines in self.lines[unit_key].values() for line in its_lines]
        open_lines = [line for line in lines if is_open(line, others, is_lot)]
        open_here = [line for line in open_lines if line.location == location]
        covering = [
            line
            for line in open_here
            if needs_declaration and line.declaration.direction == event.direction
        ]

        def is_passed(line: Line) -> bool:
            declaration = line.declaration
            if declaration.status not in PASS_STATUSES:
                return False
            in_time = (
                declaration.status_time is None or declaration.status_time <= event.time + MINUTE
            )
            return in_time or not is_gate_out

        passed_lines = [line for line in covering if is_passed(line)]
        on_unit_or_lines = {("UNIT", event.unit)} | {
            ("DECLARATION", line.declaration.number) for line in open_here
        }
        holds = [
            hold
            for hold in self.holds.values()
            if hold.active
            and (hold.scope, hold.reference) in on_unit_or_lines
            and not (is_gate_out and hold.issued > event.time)
        ]

        rows: set[str] = set()
        weighed = list(covering)

        # Rows 1 to 5: why nothing covers. Exactly the first that fits stands.
        if needs_declaration and not covering:
            of_direction = [
                line
                for line in lines
                if line.location == location and line.declaration.direction == event.direction
            ]
            passed_already = [
                line
                for line in of_direction
                if (gate_outs := consumed_by(line, others, is_lot))
                and not any(
                    gate_in.time > gate_outs[-1].time + parameters.return_days * DAY
                    for gate_in in of_type(here, "GET_IN")
                )
            ]
            revoked = [line for line in of_direction if line.declaration.status == "CANCELLED"]
            if passed_already:
                rows, weighed = {"ALREADY_PASSED"}, passed_already
            elif revoked:
                rows, weighed = {"REVOKED"}, revoked
            elif open_lines and not open_here:
                rows, weighed = {"WRONG_LOCATION"}, open_lines
            elif open_here:
                rows, weighed = {"WRONG_DIRECTION"}, open_here
            else:
                rows = {"NOT_DECLARED"}

        # Rows 6 to 9, 14 and 15: what covers.
        if covering:
            covering_numbers = {line.declaration.number for line in covering}
            unpresented = event.presented and not covering_numbers <= event.presented
            if not passed_lines:
                rows.add("NOT_CLEARED")
            if not is_lot and (0 < len(passed_lines) < len(covering) or unpresented):
                rows.add("DECLARATIONS_INCOMPLETE")
            if not event.presented <= covering_numbers:
                rows.add("DECLARATION_MISMATCH")
            if not is_lot and len(covering_numbers) > 1 and not all(c.shared for c in covering):
                rows.add("DUPLICATE_UNIT")
            if is_lot:
                rows |= self.quantity_rows(unit, event, covering, passed_lines, here)

        # Rows 10 to 12: holds.
        reasons_held = {hold.reason for hold in holds}
        if "STOP" in reasons_held:
            rows.add("STOPPED")
        if "SCAN" in reasons_held:
            rows.add("SCAN_PENDING")
        customs_seals = {h.seal for h in holds if h.seal and h.reason == "CUSTOMS_SEAL"}
        if not customs_seals <= (event.seals or frozenset()):
            rows.add("CUSTOMS_SEAL_REQUIRED")
        if event.purpose == "INSPECTION" and "SCAN" in reasons_held:
            # The box is on its way to the scanner.
            rows -= {"NOT_CLEARED", "DECLARATIONS_INCOMPLETE", "SCAN_PENDING"}

        # Rows 13 and 23: seals.
        expected = expected_seals(here, covering) - customs_seals
        if expected and event.seals is None:
            rows.add("SEAL_UNSEEN")
        elif expected and event.seals is not None and event.seals - customs_seals != expected:
            rows.add("SEAL_MISMATCH")

        # Rows 16 and 17: passages without a declaration.
        if not needs_declaration:
            if event.document is None:
                rows.add("NO_DOCUMENT")
            if event.purpose != "SEIZED" and open_here:
                rows.add("DECLARED_GOODS")
                weighed = open_here

        # Rows 18 to 24.
        if event.operator_suspended:
            rows.add("OPERATOR_SUSPENDED")
        stock = in_stock(here, is_lot)
        goes_by_air = event.direction == "EXPORT" and event.operator_kind == "AIRPORT"
        if not stock and not (goes_by_air and not is_gate_out):
            rows.add("NOT_IN_STOCK")
        if not is_lot and not passes_iso_6346(event.unit):
            rows.add("CHECK_DIGIT")
        start = visit_start(here, is_lot)
        if (
            event.direction == "IMPORT"
            and stock
            and start
            and start.time < event.time - parameters.overstay_days * DAY
        ):
            rows.add("OVERSTAYED")
        if event.time > event.timestamp + parameters.clock_ahead_minutes * MINUTE:
            rows.add("CLOCK_AHEAD")
        stale_before = event.time - parameters.stale_days * DAY
        if any(line.declaration.registered < stale_before for line in covering):
            rows.add("STALE_DECLARATION")

        weighing = Weighing(
            rows,
            declarations=list({w.declaration.number: w.declaration for w in weighed}.values()),
            holds=sorted(hold.hold_id for hold in holds),
        )
        weighing.declarations.sort(key=lambda declaration: declaration.number)
        # Reading: a row that is OFF is a fact without effect; it still keeps the rows after it
        # in 2, 3, 4, 5, 1 from standing and still names the declarations weighed.
        for row_code in CODES:
            if row_code in rows:
                effect = self.policy.effect(row_code, event.time)
                if effect == "HOLD":
                    weighing.reasons.append(row_code)
                elif effect == "FLAG":
                    weighing.flags.append(row_code)
        return weighing

    def quantity_rows(
        self,
        unit: Unit,
        event: PortEvent,
        covering: list[Line],
        passed_lines: list[Line],
        here: list[PortEvent],
    ) -> set[str]:
        """Rows 14 and 15, of a lot that is covered."""
        parameters = self.policy.parameters
        rows = set()
        by_pieces = (
            sum(line.pieces for line in covering) > 1
            or sum(line.weight_grams for line in covering) == 0
        )
        account = "pieces" if by_pieces else "weight"
        passages = [
            gate_out
            for gate_out in of_type(here, "GET_OUT")
            if gate_out.purpose == "CLEARANCE" and gate_out.direction == event.direction
        ]
        asked = event.quantity(account)
        if asked is None or any(passage.quantity(account) is None for passage in passages):
            rows.add("QUANTITY_MISSING")

        declared = sum(line.pieces if by_pieces else line.weight_grams for line in passed_lines)
        tolerance = 0 if by_pieces else parameters.weight_tolerance_percent_thousandths

        def is_too_much(total: int) -> bool:
            return total * 100_000 > declared * (100_000 + tolerance)

        taken = sum(passage.quantity(account) or 0 for passage in passages)
        if event.event_type == "GATE_CHECK":
            everything_here = at(unit.effective(), event.location)
            for other in open_checks(everything_here, is_lot=True):
                if (
                    other.order < event.order
                    and other.time >= event.time - parameters.reservation_hours * HOUR
                    and other.direction == event.direction
                    and other.purpose == "CLEARANCE"
                    and not is_too_much(taken + (other.quantity(account) or 0))
                ):
                    taken += other.quantity(account) or 0
        if passed_lines and asked is not None and is_too_much(taken + asked):
            rows.add("QUANTITY_EXCEEDED")
        return rows

    def decide(self, touched: set[UnitKey], arrived: PortEvent | None) -> None:
        """Weigh what has to be weighed, and publish what is new."""
        checks: list[tuple[Unit, PortEvent]] = []
        for unit_key in touched:
            unit = self.units.get(unit_key)
            if unit is None:
                continue
            events = unit.effective()
            to_weigh = [
                check
                for location in {event.location for event in events}
                for check in open_checks(at(events, location), is_lot=unit_key[1])
            ]
            if (
                arrived
                and arrived.event_type == "GATE_CHECK"
                and not arrived.retracted
                and arrived.identity not in unit.decisions
                and arrived not in to_weigh
            ):
                to_weigh.append(arrived)
            checks += [(unit, check) for check in to_weigh]
        checks.sort(key=lambda pair: (pair[1].unit, pair[1].location, *pair[1].order,
                                      pair[1].is_lot))  # fmt: skip
        recalls = []
        for unit, check in checks:
            decision = self.publish(unit, check)
            if decision:
                recalls.append(decision)
        for decision in recalls:
            self.raise_alert(
                "RECALL/" + decision["decisionID"],
                "RECALL",
                decision["unit"],
                decision["operatorID"],
                decision["locationCode"],
                decision["eventID"],
                self.now,
                {"reasons": decision["reasons"]},
            )

    def publish(self, unit: Unit, check: PortEvent) -> dict[str, Any] | None:
        """Weigh one check; the decision, if it recalls a RELEASE."""
        weighing = self.weigh(unit, check)
        before = unit.decisions.get(check.identity)
        content = (
            weighing.outcome,
            tuple(weighing.reasons),
            tuple(weighing.flags),
            tuple(declaration.number for declaration in weighing.declarations),
        )
        if before and before.content == content:
            return None
        sequence = before.sequence + 1 if before else 1
        unit.decisions[check.identity] = Published(sequence, weighing.outcome, content)
        valid_until = check.time + self.policy.parameters.reservation_hours * HOUR
        decision = {
            "decisionID": id_of(check.unit, check.operator_id, check.event_id, str(sequence)),
            "sequence": sequence,
            "eventID": check.event_id,
            "operatorID": check.operator_id,
            "locationCode": check.location,
            "unit": check.unit,
            "unitType": check.unit_type,
            "direction": check.direction,
            "outcome": weighing.outcome,
            "reasons": weighing.reasons,
            "flags": weighing.flags,
            "declarations": [
                {"declarationNumber": d.number, "version": d.version, "status": d.status}
                for d in weighing.declarations
            ],
            "holds": weighing.holds,
            "eventDateTime": write_date_time(check.time),
            "decidedDateTime": write_date_time(self.now),
            "validUntilDateTime": (
                write_date_time(valid_until) if weighing.outcome == "RELEASE" else None
            ),
            "ruleSet": self.rule_set,
            "trigger": self.source,
        }
        self.decisions.append(decision)
        is_recall = before and before.outcome == "RELEASE" and weighing.outcome == "HOLD"
        return decision if is_recall else None

    # ------------------------------------------------------------------------------ alerts

    def alerts_of_event(self, unit: Unit, event: PortEvent, first_seen: bool) -> Iterator[str]:
        """The types of the alerts that an event raises by taking effect, in their order."""
        is_lot = event.is_lot
        others = up_to(at(unit.effective(aside=event), event.location), event.time)
        if event.event_type == "GET_OUT" and self.weigh(unit, event).reasons:
            yield "UNAUTHORISED_EXIT"
        if event.event_type == "GET_IN" and not is_lot and in_stock(others, is_lot):
            yield "DOUBLE_ENTRY"
        if event.event_type == "GET_OUT" and not in_stock(others, is_lot):
            yield "EXIT_WITHOUT_ENTRY"
        if event.event_type == "GET_OUT" and first_seen:
            parameters = self.policy.parameters
            minutes = {
                "IMPORT": parameters.late_import_minutes,
                "TRANSIT": parameters.late_import_minutes,
                "EXPORT": parameters.late_export_minutes,
            }.get(event.direction)
            if minutes is not None and event.timestamp > event.time + minutes * MINUTE:
                yield "LATE_REPORT"
        if event.event_type == "DISCREPANCY":
            yield "DISCREPANCY"
        if event.event_type == "STOCK_COUNT":
            if is_lot:
                differs = any(
                    counted is not None and counted != balance(others, quantity)
                    for quantity in ("pieces", "weight")
                    for counted in (event.quantity(quantity),)
                )
            else:
                counted = 1 if event.pieces is None else event.pieces
                differs = counted != int(in_stock(others, is_lot))
            if differs:
                yield "STOCK_MISMATCH"

    def raise_event_alert(self, alert_type: str, event: PortEvent) -> None:
        self.raise_alert(
            id_of(alert_type, event.unit, event.operator_id, event.event_id),
            alert_type,
            event.unit,
            event.operator_id,
            event.location,
            event.event_id,
            self.now,
            {},
        )

    def raise_alert(
        self,
        alert_id: str,
        alert_type: str,
        unit: str,
        operator_id: str,
        location: str,
        event_id: str | None,
        raised: int,
        detail: dict[str, Any],
    ) -> None:
        # Reading: "each is raised once" goes by the ID alone. An ID does not say whether the
        # unit is a container or a lot, so of two that share one the second is not raised.
        if alert_id in self.alert_ids:
            return
        self.alert_ids.add(alert_id)
        self.alerts.append(
            {
                "alertID": alert_id,
                "type": alert_type,
                "unit": unit,
                "operatorID": operator_id,
                "locationCode": location,
                "eventID": event_id,
                "detail": detail,
                "raisedDateTime": write_date_time(raised),
            }
        )

    def alerts_by_clock(self, unit_key: UnitKey) -> dict[tuple[int, str], tuple[str, PortEvent]]:
        """The alerts that the unit, as it is now known, raises when their time has come."""
        name, is_lot = unit_key
        if unit_key not in self.units:
            return {}
        events = self.units[unit_key].effective()
        alerts = {}
        for location in {event.location for event in events}:
            start = visit_start(at(events, location), is_lot)
            if start and start.direction == "IMPORT":
                due = start.time + self.policy.parameters.overstay_days * DAY
                parts = (name, location, start.operator_id, start.event_id)
                alerts[due, id_of("OVERSTAYED", *parts)] = ("OVERSTAYED", start)
        for number, lines in self.lines[unit_key].items():
            declaration = lines[0].declaration
            destination, due_time = declaration.destination, declaration.arrive_by
            if (
                declaration.direction != "TRANSIT"
                or declaration.status == "CANCELLED"
                or destination is None
                or due_time is None
            ):
                continue
            left = [
                gate_out
                for line in lines
                if line.location != destination
                for gate_out in leaving(line, events)
            ]
            if not left:
                continue
            latest = max(left, key=lambda event: event.order)
            arrivals = at(of_type(events, "GET_IN"), destination)
            if all(arrival.time < latest.time for arrival in arrivals):
                alert_id = id_of("TRANSIT_OVERDUE", name, number)
                alerts[due_time, alert_id] = ("TRANSIT_OVERDUE", latest)
        return alerts

    def raise_alerts_due(self) -> None:
        while self.reminders and self.reminders[0][0] <= self.clock:
            due, alert_id, unit_key = heapq.heappop(self.reminders)
            found = self.alerts_by_clock(unit_key).get((due, alert_id))
            if found:
                alert_type, event = found
                self.raise_alert(
                    alert_id,
                    alert_type,
                    event.unit,
                    event.operator_id,
                    event.location,
                    event.event_id,
                    due,
                    {},
                )

    # ------------------------------------------------------------------- volumes and stock

    def volumes_csv(self) -> str:
        """Per operator, day, direction and unit type what went in and out, all purposes."""
        # Movements, pieces and grams in; movements, pieces and grams out.
        rows: defaultdict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0] * 6)
        for unit in self.units.values():
            for event in unit.effective("GET_IN", "GET_OUT"):
                day = day_in_vietnam(event.time).isoformat()
                row = rows[event.operator_id, day, event.direction, event.unit_type]
                first = 0 if event.event_type == "GET_IN" else 3
                row[first] += 1
                row[first + 1] += event.pieces or 0
                row[first + 2] += event.weight_grams or 0
        header = (
            "operatorID,day,direction,unitType,"
            "movementsIn,piecesIn,weightKgIn,movementsOut,piecesOut,weightKgOut"
        )
        return csv_text(
            header,
            (
                (*key, str(row[0]), str(row[1]), kilograms(row[2]),
                 str(row[3]), str(row[4]), kilograms(row[5]))
                for key, row in rows.items()
            ),
        )  # fmt: skip

    def registry_ndjson(self) -> str:
        """The operator versions that took effect, each as it was given, on one line."""
        lines = []
        for record in self.registry:
            head = json.dumps(
                {"timestamp": record["timestamp"], "operatorID": record["operatorID"]},
                ensure_ascii=False,
                separators=(",", ":"),
            )
            # In JSON a line can only end between the parts of a value, never inside one.
            written = (record["operator"] or "null").replace("\n", " ").replace("\r", " ")
            lines.append(f'{head[:-1]},"operator":{written}}}\n')
        return "".join(lines)

    def stock_csv(self) -> str:
        """What is in stock, by all known events, with its age against the clock."""
        rows: defaultdict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0] * 3)
        for (_, is_lot), unit in self.units.items():
            events = unit.effective("GET_IN", "GET_OUT")
            for location in {event.location for event in events}:
                here = at(events, location)
                start = visit_start(here, is_lot)
                if start is None:
                    continue
                age = age_of(max(0, self.clock - start.time) // DAY)
                row = rows[location, start.direction, start.unit_type, age]
                row[0] += 1
                if is_lot:
                    # Reading: the balance that does not decide may be below zero, as reported.
                    row[1] += balance(here, "pieces")
                    row[2] += balance(here, "weight")
        return csv_text(
            "locationCode,direction,unitType,age,units,pieces,weightKg",
            ((*key, str(row[0]), str(row[1]), kilograms(row[2])) for key, row in rows.items()),
        )


def lines_of(declaration: Declaration) -> dict[UnitKey, list[Line]]:
    """Entries for one unit, class and location are one line; transit has one more."""
    by_place: dict[tuple[UnitKey, str], Line] = {}
    for entry in declaration.entries:
        place = (entry.unit, entry.is_lot), entry.location
        line = by_place.setdefault(place, Line(declaration, entry.location))
        line.add(entry.pieces, entry.weight_grams, entry.seals, entry.shared)
    lines: defaultdict[UnitKey, list[Line]] = defaultdict(list)
    for (unit_key, _), line in by_place.items():
        lines[unit_key].append(line)
    destination = declaration.destination
    if declaration.direction == "TRANSIT" and destination is not None:
        for its_lines in lines.values():
            if all(line.location != destination for line in its_lines):
                one_more = Line(declaration, destination, at_destination=True)
                for line in its_lines:
                    one_more.add(line.pieces, line.weight_grams, line.seals, line.shared)
                its_lines.append(one_more)
    return lines


def expected_seals(here: list[PortEvent], covering: list[Line]) -> frozenset[str]:
    # Reading: no moment is named, so a RESEAL or GET_OUT after the event counts as well.
    reseals = of_type(here, "RESEAL")
    if reseals and all(g.time <= reseals[-1].time for g in of_type(here, "GET_OUT")):
        return reseals[-1].seals or frozenset()
    return frozenset().union(*(line.seals for line in covering))


def id_of(*parts: str) -> str:
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def kilograms(grams: int) -> str:
    sign = "-" if grams < 0 else ""
    return f"{sign}{abs(grams) // 1000}.{abs(grams) % 1000:03}"


def age_of(days: int) -> str:
    if days <= 30:
        return "0-30"
    if days <= 60:
        return "31-60"
    return "61-90" if days <= 90 else "90+"


def csv_text(header: str, rows: Iterable[tuple[str, ...]]) -> str:
    """RFC 4180, quoted where needed, sorted by the first four columns."""

    def quoted(cell: str) -> str:
        needed = any(character in cell for character in ',"\r\n')
        return '"' + cell.replace('"', '""') + '"' if needed else cell

    ordered = sorted(rows, key=lambda row: row[:4])
    lines = [header, *(",".join(quoted(cell) for cell in row) for row in ordered)]
    return "".join(line + "\n" for line in lines)


# ----------------------------------------------------------------------------- command line


def replay(log: Path, policy: Policy | None = None, rule_set: str = RULE_SET) -> Model:
    """A model that has seen the whole log."""
    model = Model(policy, rule_set)
    for line in read_log(log):
        model.apply(line.number, line.topic, line.timestamp_ms, line.key, line.value)
    return model


def write_outputs(model: Model, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("decisions", "alerts", "rejects"):
        text = "".join(
            json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"
            for record in getattr(model, name)
        )
        (directory / f"{name}.ndjson").write_text(text, "utf-8")
    (directory / "registry.ndjson").write_text(model.registry_ndjson(), "utf-8")
    (directory / "volumes.csv").write_text(model.volumes_csv(), "utf-8")
    (directory / "stock.csv").write_text(model.stock_csv(), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rules", type=Path, help="a rules file of section 6")
    parser.add_argument("--rule-set", default=RULE_SET, help="the name to give as ruleSet")
    arguments = parser.parse_args()
    policy = read_policy(arguments.rules) if arguments.rules else None
    write_outputs(replay(arguments.log, policy, arguments.rule_set), arguments.out)


if __name__ == "__main__":
    main()
