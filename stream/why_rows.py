"""What made each row of a decision stand, and the smallest change that would have undone it.

Called by ``why`` with a decision and the facts that the core recorded for it; returns sentences
that are not in any language yet: a key and typed values, which ``stream.why_text`` words. It must
never decide whether a row stands: that is the core's finding, and this only says what it saw.

Where a fact is missing (an older log, a partial explanation) the sentence that needs it is left
out; the row's own words always remain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from stream.moments import DAY_US, parse_date_time
from stream.policy import CODES, Effect, Parameters, Row


class Moment(NamedTuple):
    """A moment, microseconds UTC."""

    us: int


class Term(NamedTuple):
    """A word of the contract (CLEARED, IMPORT, ...)."""

    word: str


class Amount(NamedTuple):
    """A quantity in a lot's unit of account: pieces, or grams if ``account`` is WEIGHT."""

    quantity: int
    account: str


Operand = str | int | Moment | Term | Amount | list["Operand"]


class Sentence(NamedTuple):
    """What to say: a key of ``why_text``'s words, and the values in it."""

    key: str
    operands: dict[str, Operand]


@dataclass(frozen=True, slots=True)
class RowStory:
    """A row that stood: in words and law, with its operands and what would have undone it."""

    row: Row
    facts: list[Sentence]
    changes: list[Sentence]
    """All of them together, not one of them; none where no change of the moment would do."""


class _Case(NamedTuple):
    """A decision with its facts, as the functions below need them."""

    decision: dict[str, Any]
    facts: dict[str, Any]
    parameters: Parameters

    @property
    def location(self) -> str:
        return str(self.decision["locationCode"])

    @property
    def direction(self) -> Term:
        return Term(self.decision["direction"])

    @property
    def is_container(self) -> bool:
        return bool(self.decision["unitType"] == "CONTAINER")

    @property
    def time_us(self) -> int:
        return parse_date_time(self.decision["eventDateTime"])

    @property
    def lines(self) -> list[dict[str, Any]]:
        return list(self.facts.get("lines") or ())

    @property
    def covering(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["covering"]]

    @property
    def weighed(self) -> list[str]:
        return [it["declarationNumber"] for it in self.decision["declarations"]]

    def holds(self, reason: str) -> list[dict[str, Any]]:
        return [hold for hold in self.facts.get("holds") or () if hold["reason"] == reason]


def row_stories(
    rows: Sequence[Row],
    parameters: Parameters,
    decision: dict[str, Any],
    facts: dict[str, Any],
) -> list[RowStory]:
    """Returns a story for each row that stood, in the order of the table.

    Args:
        rows: the 24 rows in force for the decision.
        parameters: of the policy.
        decision: as published (CONTRACT.md, section 3).
        facts: the core's explanation of it; empty if there is none. Of a row that is switched OFF
            it alone knows that it stood.
    """
    stood = set(decision["reasons"]) | set(decision["flags"])
    bits = int(facts.get("facts") or 0)
    stood |= {code for number, code in enumerate(CODES) if bits >> number & 1}
    case = _Case(decision, facts, parameters)
    stories = []
    for row in rows:
        if row.code in stood:
            said, changes = _SAYINGS[row.code](case) if facts else ([], [])
            stories.append(RowStory(row, said, changes if row.effect is Effect.HOLD else []))
    return stories


_Said = tuple[list[Sentence], list[Sentence]]


def _numbers(lines: Iterable[dict[str, Any]]) -> list[Operand]:
    return list(dict.fromkeys(line["declarationNumber"] for line in lines))


def _texts(values: Iterable[str]) -> list[Operand]:
    return list(dict.fromkeys(values))


def _weighed_lines(case: _Case) -> list[dict[str, Any]]:
    weighed = set(case.weighed)
    return [line for line in case.lines if line["declarationNumber"] in weighed]


def _not_declared(case: _Case) -> _Said:
    here: dict[str, Operand] = {"location": case.location, "direction": case.direction}
    return [Sentence("nothing_open", here)], [Sentence("declare_here", here)]


def _already_passed(case: _Case) -> _Said:
    facts = [
        Sentence(
            "passed_at",
            {"declaration": line["declarationNumber"], "time": Moment(line["consumedUs"])},
        )
        for line in case.lines
        if line.get("consumedUs") is not None
    ]
    returned = case.facts.get("returnedUs")
    if returned is not None:
        facts.append(
            Sentence(
                "returned_at",
                {"returned": Moment(returned), "days": case.parameters.return_days},
            )
        )
    here: dict[str, Operand] = {"location": case.location, "direction": case.direction}
    return facts, [Sentence("declare_again", here)]


def _revoked(case: _Case) -> _Said:
    cancelled: dict[str, Operand] = {"declarations": list(case.weighed)}
    here: dict[str, Operand] = {"location": case.location, "direction": case.direction}
    return [Sentence("cancelled", cancelled)], [Sentence("declare_anew", here)]


def _wrong_location(case: _Case) -> _Said:
    lines = _weighed_lines(case)
    facts = [
        Sentence(
            "declared_at",
            {"declaration": line["declarationNumber"], "location": line["locationCode"]},
        )
        for line in lines
    ]
    change: dict[str, Operand] = {
        "declarations": list(case.weighed),
        "location": case.location,
        "locations": _texts(line["locationCode"] for line in lines),
    }
    return facts, [Sentence("move_declaration", change)] if lines else []


def _wrong_direction(case: _Case) -> _Said:
    lines = [it for it in _weighed_lines(case) if it["locationCode"] == case.location]
    facts = [
        Sentence(
            "declared_for",
            {"declaration": line["declarationNumber"], "direction": Term(line["direction"])},
        )
        for line in lines
    ]
    directions: list[Operand] = [
        Term(word) for word in dict.fromkeys(line["direction"] for line in lines)
    ]
    change: dict[str, Operand] = {
        "directions": directions,
        "declarations": list(case.weighed),
        "direction": case.direction,
    }
    return facts, [Sentence("turn_direction", change)] if lines else []


def _status_sentence(line: dict[str, Any], case: _Case) -> Sentence:
    status_us = line.get("statusUs")
    if line["status"] not in ("REGISTERED", "CANCELLED") and status_us is not None:
        return Sentence(
            "passing_later",
            {
                "declaration": line["declarationNumber"],
                "status": Term(line["status"]),
                "time": Moment(status_us),
                "event": Moment(case.time_us),
            },
        )
    return Sentence(
        "status_is",
        {"declaration": line["declarationNumber"], "status": Term(line["status"])},
    )


def _not_cleared(case: _Case) -> _Said:
    lines = case.covering
    if not lines:
        return [], []
    facts = [_status_sentence(line, case) for line in lines]
    # A container needs all of its declarations, a lot passes on any that has enough.
    several = "clear_all" if case.is_container else "clear_any"
    key = "clear_one" if len(_numbers(lines)) == 1 else several
    return facts, [Sentence(key, {"declarations": _numbers(lines)})]


def _declarations_incomplete(case: _Case) -> _Said:
    covering = case.covering
    waiting = [line for line in covering if not line["passes"]]
    facts: list[Sentence] = []
    changes: list[Sentence] = []
    if waiting and len(waiting) < len(covering):
        facts += [_status_sentence(line, case) for line in waiting]
        key = "clear_one" if len(_numbers(waiting)) == 1 else "clear_all"
        changes.append(Sentence(key, {"declarations": _numbers(waiting)}))
    presented = set(case.facts.get("presented") or ())
    absent = [line for line in covering if line["declarationNumber"] not in presented]
    if presented and absent:
        facts.append(Sentence("not_presented", {"declarations": _numbers(absent)}))
        changes.append(Sentence("present_too", {"declarations": _numbers(absent)}))
    return facts, changes


def _declaration_mismatch(case: _Case) -> _Said:
    covering = set(_numbers(case.covering))
    strange = [it for it in case.facts.get("presented") or () if it not in covering]
    numbers: dict[str, Operand] = {
        "presented": _texts(strange),
        "covering": _numbers(case.covering),
    }
    return [Sentence("presented_strange", numbers)], [Sentence("present_instead", numbers)]


def _duplicate_unit(case: _Case) -> _Said:
    alone = [line for line in case.covering if not line["shared"]]
    numbers: dict[str, Operand] = {
        "declarations": _numbers(case.covering),
        "alone": _numbers(alone),
    }
    return [Sentence("several_declare", numbers)], [Sentence("share_container", numbers)]


def _hold_story(reason: str, change: str) -> Callable[[_Case], _Said]:
    def story(case: _Case) -> _Said:
        holds = case.holds(reason)
        facts = [
            Sentence(
                "hold_on_unit" if hold["scope"] == "UNIT" else "hold_on_declaration",
                {
                    "hold": hold["holdID"],
                    "reference": hold["reference"],
                    "reason": Term(hold["reason"]),
                    "time": Moment(hold["issuedUs"]),
                },
            )
            for hold in holds
        ]
        lifted: dict[str, Operand] = {"holds": [hold["holdID"] for hold in holds]}
        return facts, [Sentence(change, lifted)] if holds else []

    return story


def _customs_seal_required(case: _Case) -> _Said:
    seen = case.facts.get("seals") or []
    missing = [hold for hold in case.holds("CUSTOMS_SEAL") if hold["seal"] not in seen]
    facts = [
        Sentence(
            "customs_seal_of_hold",
            {"hold": hold["holdID"], "seal": hold["seal"], "time": Moment(hold["issuedUs"])},
        )
        for hold in missing
    ]
    facts.append(_seen(case))
    change: dict[str, Operand] = {
        "seals": _texts(hold["seal"] for hold in missing),
        "holds": [hold["holdID"] for hold in missing],
    }
    return facts, [Sentence("show_customs_seal", change)] if missing else []


def _seen(case: _Case) -> Sentence:
    seals = case.facts.get("seals")
    if seals is None:
        return Sentence("nobody_looked", {})
    return Sentence("seals_seen", {"seals": _texts(seals)}) if seals else Sentence("no_seal", {})


def _expected(case: _Case) -> Sentence:
    key = "expected_resealed" if case.facts.get("sealsFrom") == "RESEAL" else "expected_declared"
    return Sentence(key, {"expected": _texts(case.facts.get("sealsExpected") or ())})


def _seal_mismatch(case: _Case) -> _Said:
    expected = case.facts.get("sealsExpected") or []
    customs = {hold["seal"] for hold in case.holds("CUSTOMS_SEAL")}
    seen = [seal for seal in case.facts.get("seals") or [] if seal not in customs]
    change: dict[str, Operand] = {"expected": _texts(expected), "seals": _texts(seen)}
    key = "match_seals" if seen else "match_seals_absent"
    return [_expected(case), _seen(case)], [Sentence(key, change)]


def _quantity_exceeded(case: _Case) -> _Said:
    facts = case.facts
    account = facts.get("account")
    if account is None or facts.get("asked") is None:
        return [], []
    asked, passed, reserved = facts["asked"], facts["passed"], facts["reserved"]
    allowed, declared = facts["allowed"], facts["declared"]
    said = [
        Sentence(
            "balance",
            {
                "asked": Amount(asked, account),
                "passed": Amount(passed, account),
                "reserved": Amount(reserved, account),
                "allowed": Amount(allowed, account),
            },
        )
    ]
    if allowed != declared:
        said.append(
            Sentence(
                "tolerance",
                {
                    "declared": Amount(declared, account),
                    "percent": _percent(case.parameters.weight_tolerance_thousandths),
                },
            )
        )
    room = allowed - passed - reserved
    excess = Amount(asked - max(room, 0), account)
    if room > 0:
        change = Sentence("at_most", {"room": Amount(room, account), "excess": excess})
    elif allowed > passed:
        change = Sentence(
            "reserved_now",
            {"reserved": Amount(reserved, account), "free": Amount(allowed - passed, account)},
        )
    else:
        change = Sentence(
            "nothing_left", {"missing": Amount(passed + reserved + asked - allowed, account)}
        )
    return said, [change]


def _percent(thousandths: int) -> str:
    whole, rest = divmod(thousandths, 1000)
    return f"{whole}.{rest:03d}".rstrip("0").rstrip(".")


def _quantity_missing(case: _Case) -> _Said:
    account = case.facts.get("account")
    if account is None:
        return [], []
    facts: list[Sentence] = []
    changes: list[Sentence] = []
    if case.facts.get("asked") is None:
        facts.append(Sentence(f"no_quantity_{account.lower()}", {}))
        changes.append(Sentence(f"give_quantity_{account.lower()}", {}))
    missing = case.facts.get("missingEvents") or 0
    if missing:
        facts.append(Sentence(f"exits_without_{account.lower()}", {"count": missing}))
        changes.append(Sentence(f"correct_exits_{account.lower()}", {"count": missing}))
    return facts, changes


def _no_document(case: _Case) -> _Said:
    return [Sentence("purpose_is", _purpose(case))], [Sentence("name_document", {})]


def _purpose(case: _Case) -> dict[str, Operand]:
    return {
        "purpose": Term(case.facts.get("purpose") or "CLEARANCE"),
        "direction": case.direction,
    }


def _declared_goods(case: _Case) -> _Said:
    numbers: dict[str, Operand] = {"declarations": list(case.weighed)}
    facts = [
        Sentence("purpose_is", _purpose(case)),
        Sentence("declared_here", numbers | {"location": case.location}),
    ]
    return facts, [Sentence("pass_as_declared", numbers)]


def _operator_suspended(case: _Case) -> _Said:
    operator: dict[str, Operand] = {"operator": case.decision["operatorID"]}
    return [Sentence("suspended", operator)], [Sentence("connect_operator", operator)]


def _not_in_stock(case: _Case) -> _Said:
    here: dict[str, Operand] = {"location": case.location, "event": Moment(case.time_us)}
    return [Sentence("no_entry", here)], [Sentence("report_entry", here)]


def _check_digit(case: _Case) -> _Said:
    unit: dict[str, Operand] = {"unit": case.decision["unit"]}
    return [Sentence("number_is", unit)], [Sentence("correct_number", {})]


def _overstayed(case: _Case) -> _Said:
    started = case.facts.get("visitStartedUs")
    if started is None:
        return [], []
    stay: dict[str, Operand] = {
        "time": Moment(started),
        "days": (case.time_us - started) // DAY_US,
        "limit": case.parameters.overstay_days,
    }
    return [Sentence("stayed", stay)], [Sentence("cannot_undo_stay", {})]


def _clock_ahead(case: _Case) -> _Said:
    record_us = case.facts.get("recordUs")
    if record_us is None:
        return [], []
    clock: dict[str, Operand] = {
        "event": Moment(case.time_us),
        "time": Moment(record_us),
        "seconds": (case.time_us - record_us) // 1_000_000,
        "minutes": case.parameters.clock_ahead_minutes,
    }
    return [Sentence("ahead", clock)], [Sentence("correct_clock", {})]


def _seal_unseen(case: _Case) -> _Said:
    change: dict[str, Operand] = {"expected": _texts(case.facts.get("sealsExpected") or ())}
    return [_expected(case), Sentence("nobody_looked", {})], [Sentence("look_at_seals", change)]


def _stale_declaration(case: _Case) -> _Said:
    limit = case.parameters.stale_days
    old = [it for it in case.covering if case.time_us - it["registeredUs"] > limit * DAY_US]
    facts = [
        Sentence(
            "registered",
            {
                "declaration": line["declarationNumber"],
                "time": Moment(line["registeredUs"]),
                "days": (case.time_us - line["registeredUs"]) // DAY_US,
                "limit": limit,
            },
        )
        for line in old
    ]
    return facts, [Sentence("declare_recently", {"limit": limit})]


_SAYINGS: dict[str, Callable[[_Case], _Said]] = {
    "NOT_DECLARED": _not_declared,
    "ALREADY_PASSED": _already_passed,
    "REVOKED": _revoked,
    "WRONG_LOCATION": _wrong_location,
    "WRONG_DIRECTION": _wrong_direction,
    "NOT_CLEARED": _not_cleared,
    "DECLARATIONS_INCOMPLETE": _declarations_incomplete,
    "DECLARATION_MISMATCH": _declaration_mismatch,
    "DUPLICATE_UNIT": _duplicate_unit,
    "STOPPED": _hold_story("STOP", "lift_holds"),
    "SCAN_PENDING": _hold_story("SCAN", "lift_scans"),
    "CUSTOMS_SEAL_REQUIRED": _customs_seal_required,
    "SEAL_MISMATCH": _seal_mismatch,
    "QUANTITY_EXCEEDED": _quantity_exceeded,
    "QUANTITY_MISSING": _quantity_missing,
    "NO_DOCUMENT": _no_document,
    "DECLARED_GOODS": _declared_goods,
    "OPERATOR_SUSPENDED": _operator_suspended,
    "NOT_IN_STOCK": _not_in_stock,
    "CHECK_DIGIT": _check_digit,
    "OVERSTAYED": _overstayed,
    "CLOCK_AHEAD": _clock_ahead,
    "SEAL_UNSEEN": _seal_unseen,
    "STALE_DECLARATION": _stale_declaration,
}
assert tuple(_SAYINGS) == CODES
