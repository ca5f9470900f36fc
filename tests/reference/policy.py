"""The table of CONTRACT.md section 5 as the reference model reads it: codes, effects, parameters.

Called by `tests.reference.model` and the tests. It must never know units or events.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path

from tests.reference.records import day_in_vietnam

HOLD_CODES = (
    "NOT_DECLARED", "ALREADY_PASSED", "REVOKED", "WRONG_LOCATION", "WRONG_DIRECTION",
    "NOT_CLEARED", "DECLARATIONS_INCOMPLETE", "DECLARATION_MISMATCH", "DUPLICATE_UNIT", "STOPPED",
    "SCAN_PENDING", "CUSTOMS_SEAL_REQUIRED", "SEAL_MISMATCH", "QUANTITY_EXCEEDED",
    "QUANTITY_MISSING", "NO_DOCUMENT", "DECLARED_GOODS", "OPERATOR_SUSPENDED",
)  # fmt: skip
FLAG_CODES = (
    "NOT_IN_STOCK", "CHECK_DIGIT", "OVERSTAYED", "CLOCK_AHEAD", "SEAL_UNSEEN", "STALE_DECLARATION",
)  # fmt: skip
CODES = HOLD_CODES + FLAG_CODES


@dataclass(frozen=True)
class Rule:
    """One row of a rules file: from `first_day` to `last_day`, or without end.

    Reading: `to` is the last of "those days", so it is within.
    """

    code: str
    effect: str
    first_day: date = date.min
    last_day: date = date.max


@dataclass(frozen=True)
class Parameters:
    """Section 6; the tolerance is in thousandths of a percent, so that it is exact."""

    overstay_days: int = 90
    late_import_minutes: int = 15
    late_export_minutes: int = 30
    clock_ahead_minutes: int = 5
    return_days: int = 30
    stale_days: int = 180
    reservation_hours: int = 24
    weight_tolerance_percent_thousandths: int = 0


@dataclass(frozen=True)
class Policy:
    rules: tuple[Rule, ...] = ()
    parameters: Parameters = field(default_factory=Parameters)

    def effect(self, code: str, event_time: int) -> str:
        """HOLD, FLAG or OFF on the day in Vietnam of the event."""
        day = day_in_vietnam(event_time)
        for rule in self.rules:
            if rule.code == code and rule.first_day <= day <= rule.last_day:
                return rule.effect
        return "HOLD" if code in HOLD_CODES else "FLAG"


def read_policy(path: Path) -> Policy:
    """A rules file that is known to be good: the engine's own loader is what checks them."""
    table = tomllib.loads(path.read_text("utf-8"), parse_float=str)
    rules = tuple(
        Rule(row["code"], row["effect"], row.get("from", date.min), row.get("to", date.max))
        for row in table.get("rule", ())
    )
    given = dict(table.get("parameters", {}))
    tolerance = str(given.pop("weight_tolerance_percent", "0"))
    whole, _, decimals = tolerance.partition(".")
    given["weight_tolerance_percent_thousandths"] = int(whole) * 1000 + int(decimals.ljust(3, "0"))
    known = {one.name for one in fields(Parameters)}
    return Policy(rules, Parameters(**{key: given[key] for key in given if key in known}))
