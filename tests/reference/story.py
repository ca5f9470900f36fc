"""The words in which the cases of `cases/` are told: log lines with usual values left out.

Called by the tables in `cases/` and by the tests. It must never know what a record leads to.

A story happens in 2018 at the terminal CAT-LAI of the operator TC, if it does not say otherwise.
Times are whole microseconds; `at(2, "08:00")` is 8 o'clock UTC of the second day. A record is
sent at the time of what it reports, rounded up to a millisecond, if it does not say `sent=`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.reference.log import Raw, write_line
from tests.reference.records import (
    DAY,
    HOUR,
    MILLISECOND,
    MINUTE,
    SECOND,
    write_date_time,
)

START = int(datetime(2018, 3, 1, tzinfo=UTC).timestamp()) * SECOND
MICROSECOND = 1

BOX = "CSQU3054383"
LOT = "112345678901"
TERMINAL = "CAT-LAI"
DEPOT = "ICD"
DECLARATION = "100000000001"
OTHER_DECLARATION = "100000000002"


def at(day: int, clock: str = "00:00") -> int:
    """A time on a day of the story, the first being 1 March 2018."""
    hours, minutes = clock.split(":")
    return START + (day - 1) * DAY + int(hours) * HOUR + int(minutes) * MINUTE


CONNECTED = at(1)
DECLARED = at(1, "06:00")
IN = at(1, "08:00")
CHECKED = at(2, "08:00")
OUT = at(2, "08:05")


def json_text(value: Any) -> str:
    if isinstance(value, Raw):
        return value.json
    if isinstance(value, dict):
        members = (f"{json.dumps(k)}:{json_text(v)}" for k, v in value.items() if v is not None)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(json_text(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def line(topic: str, key: str | None, value: Any, sent: int) -> str:
    """A log line; `value` is None, the text of a value or what becomes one."""
    timestamp_ms = -(-sent // MILLISECOND)
    if value is not None:
        value = (value if isinstance(value, str) else json_text(value)).encode("utf-8")
    return write_line(topic, timestamp_ms, key, value)


def operator(operator_id: str = "TC", *, sent: int = CONNECTED, **changes: Any) -> str:
    """An operator, connected at CAT-LAI and ICD."""
    return line("operators", operator_id, operator_value(operator_id, **changes), sent)


def operator_value(operator_id: str = "TC", **changes: Any) -> dict[str, Any]:
    return {
        "operatorID": operator_id,
        "name": "Tân Cảng",
        "kind": "SEAPORT",
        "departmentCode": "02",
        "departmentName": "Cục Hải quan TP.HCM",
        "locations": [TERMINAL, DEPOT],
        "status": "CONNECTED",
        "version": 1,
        **changes,
    }


def goods(unit: str = BOX, **changes: Any) -> dict[str, Any]:
    """One of the units of a declaration."""
    return {"unit": unit, "unitType": "CONTAINER" if unit == BOX else "PACKAGES", **changes}


def declared(
    number: str = DECLARATION, *units: dict[str, Any], sent: int = DECLARED, **changes: Any
) -> str:
    """A declaration of the box for import at CAT-LAI, cleared."""
    return line("declarations", number, declaration_value(number, *units, **changes), sent)


def declaration_value(
    number: str = DECLARATION, *units: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    value = {
        "declarationNumber": number,
        "version": 1,
        "direction": "IMPORT",
        "status": "CLEARED",
        "registeredDateTime": DECLARED,
        "locationCode": TERMINAL,
        "units": list(units) or [goods()],
        **changes,
    }
    return with_moments(value)


def held(
    hold_id: str = "H1",
    reason: str = "STOP",
    *,
    on: str = BOX,
    sent: int = at(1, "07:00"),
    **changes: Any,
) -> str:
    """A hold on the box, or `on` a declaration."""
    return line("holds", hold_id, hold_value(hold_id, reason, on=on, **changes), sent)


def hold_value(
    hold_id: str = "H1", reason: str = "STOP", *, on: str = BOX, **changes: Any
) -> dict[str, Any]:
    value = {
        "holdID": hold_id,
        "version": 1,
        "scope": "DECLARATION" if on in (DECLARATION, OTHER_DECLARATION) else "UNIT",
        "reference": on,
        "reason": reason,
        "state": "ACTIVE",
        "issuedDateTime": at(1, "07:00"),
        **changes,
    }
    return with_moments(value)


def event(event_type: str, event_id: str, time: int, *, sent: int | None = None,
          **changes: Any) -> str:  # fmt: skip
    """Something that happened to the box, or to `unit=`, at CAT-LAI, for import."""
    value = event_value(event_type, event_id, time, **changes)
    written = [time, *(changes.get(n) for n in ("eventCreatedDateTime", "eventUpdatedDateTime"))]
    if sent is None:
        sent = max(moment for moment in written if isinstance(moment, int))
    return line("port-events", None, value, sent)


def event_value(event_type: str, event_id: str, time: int, **changes: Any) -> dict[str, Any]:
    unit = changes.get("unit", BOX)
    value = {
        "eventID": event_id,
        "eventType": event_type,
        "eventDateTime": time,
        "operatorID": "TC",
        "locationCode": TERMINAL,
        "unitType": "CONTAINER" if unit == BOX else "PACKAGES",
        "unit": unit,
        "direction": "IMPORT",
        **changes,
    }
    return with_moments(value)


def with_moments(value: dict[str, Any]) -> dict[str, Any]:
    return {
        name: write_date_time(member)
        if name.endswith("DateTime") and type(member) is int
        else member
        for name, member in value.items()
    }


def gate_in(event_id: str = "in", time: int = IN, **changes: Any) -> str:
    return event("GET_IN", event_id, time, **changes)


def check(event_id: str = "check", time: int = CHECKED, **changes: Any) -> str:
    return event("GATE_CHECK", event_id, time, **changes)


def gate_out(event_id: str = "out", time: int = OUT, **changes: Any) -> str:
    return event("GET_OUT", event_id, time, **changes)


def retracted(event_type: str, event_id: str, time: int, at_time: int, **changes: Any) -> str:
    return event(
        event_type, event_id, time, isRetracted=True, eventUpdatedDateTime=at_time, **changes
    )


@dataclass
class Case:
    """A story and what must come of it, written by hand.

    Decisions as `check RELEASE` or `check HOLD STOPPED, CHECK_DIGIT`: reasons, then flags. Alerts
    as `TYPE event`. Rejects as `REASON field`. What is None is not looked at.
    """

    code: str
    title: str
    log: list[str]
    decisions: list[str] | None = None
    alerts: list[str] | None = None
    rejects: list[str] = field(default_factory=list)
    # When the alerts were raised, and the places that they name.
    raised: list[int] | None = None
    places: list[str] | None = None
    volumes: list[str] | None = None
    stock: list[str] | None = None
    rules: str | None = None
    # What the last decision weighed.
    weighed: list[str] | None = None
    holds: list[str] | None = None

    @property
    def name(self) -> str:
        return f"{self.code}: {self.title}"
