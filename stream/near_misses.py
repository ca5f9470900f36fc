"""Names like a unit's that are declared where it stood: advice for a person at the gate.

A unit that nothing covers is often a misspelt one: a character misread, two exchanged, a check
digit that does not fit. ``why`` offers what may have been meant. This is advice and nothing else:
it never reaches the engine, and no near miss ever released anything.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Any, NamedTuple

from stream import record_json
from stream.log_index import LogIndex

NEAR_MISSES_MAX = 5
"""More would be no advice."""
LINES_READ_MAX = 1_000
"""Lines of declarations that are looked into for one unit."""
UNIT_CHARACTERS_MAX = 35

_ALPHABET = string.ascii_uppercase + string.digits
_CONTAINER = re.compile(r"[A-Z]{4}[0-9]{7}")
_NOT_COVERED = frozenset(
    ("NOT_DECLARED", "ALREADY_PASSED", "REVOKED", "WRONG_LOCATION", "WRONG_DIRECTION")
)


class NearMiss(NamedTuple):
    """A name that may have been meant.

    ``kind`` is DECLARED (one slip away, and on an open declaration where the unit stood) or
    CHECK_DIGIT (the number as it would be with the check digit that fits).
    """

    kind: str
    unit: str
    location_code: str
    direction: str
    declaration_number: str | None = None
    status: str | None = None


def find_near_misses(
    index: LogIndex | None, unit: str, decisions: list[dict[str, Any]]
) -> list[NearMiss]:
    """Returns advice for the unit's decisions, none twice, the check digit first.

    Args:
        index: of the log; None for advice that needs none.
        unit: normalised.
        decisions: the unit's decisions; only those that nothing covered, or whose number fails
            ISO 6346, ask for advice.

    Raises:
        OSError: the log can't be read.
    """
    misses: list[NearMiss] = []
    wrong_digit = [it for it in decisions if "CHECK_DIGIT" in it["flags"] + it["reasons"]]
    if wrong_digit and _CONTAINER.fullmatch(unit):
        fitting = with_check_digit(unit)
        if fitting != unit:
            first = wrong_digit[0]
            misses.append(
                NearMiss("CHECK_DIGIT", fitting, first["locationCode"], first["direction"])
            )
    places = {
        (it["locationCode"], it["direction"], it["unitType"] == "CONTAINER")
        for it in decisions
        if not _NOT_COVERED.isdisjoint(it["reasons"] + it["flags"])
    }
    if places and index is not None:
        misses += _declared(index, unit, places)
    return misses[: NEAR_MISSES_MAX + 1]


def with_check_digit(unit: str) -> str:
    """Returns a container number (4 letters, 7 digits) with the check digit of ISO 6346."""
    # Here, since it brings numpy, and most questions don't need it.
    from core_ext import container_number

    digit = int(container_number.check_digit(unit.encode())[0])
    return unit if digit < 0 else f"{unit[:10]}{digit}"


def slips(unit: str) -> Iterator[str]:
    """Yields every name one slip away, each at least once: exchanged neighbours first, then one
    character replaced, left out or too many.
    """
    for place in range(len(unit) - 1):
        if unit[place] != unit[place + 1]:
            yield unit[:place] + unit[place + 1] + unit[place] + unit[place + 2 :]
    for place in range(len(unit)):
        for character in _ALPHABET:
            if character != unit[place]:
                yield unit[:place] + character + unit[place + 1 :]
    if len(unit) > 1:
        for place in range(len(unit)):
            yield unit[:place] + unit[place + 1 :]
    if len(unit) < UNIT_CHARACTERS_MAX:
        for place in range(len(unit) + 1):
            for character in _ALPHABET:
                yield unit[:place] + character + unit[place:]


def _declared(index: LogIndex, unit: str, places: set[tuple[str, str, bool]]) -> list[NearMiss]:
    misses: list[NearMiss] = []
    lines_read = 0
    for name in dict.fromkeys(slips(unit)):
        numbers = index.find("u", name)
        if not numbers:
            continue
        keys = {key for key, _ in _declarations(index, sorted(numbers)[:LINES_READ_MAX])}
        for declaration_number in sorted(keys):
            versions = index.find("d", declaration_number)
            lines_read += len(numbers) + len(versions)
            latest: dict[str, Any] | None = None
            for key, declaration in _declarations(index, sorted(versions)[-LINES_READ_MAX:]):
                if key != declaration_number:
                    continue
                if (
                    latest is None
                    or declaration is None
                    or declaration["version"] > latest["version"]
                ):
                    latest = declaration
            if latest is not None:
                misses += _misses_of(latest, name, places)
            if len(misses) >= NEAR_MISSES_MAX or lines_read > LINES_READ_MAX:
                return misses[:NEAR_MISSES_MAX]
    return misses


def _misses_of(
    declaration: dict[str, Any], name: str, places: set[tuple[str, str, bool]]
) -> list[NearMiss]:
    if declaration["status"] == "CANCELLED":
        return []
    misses: list[NearMiss] = []
    for entry in declaration.get("units") or ():
        location_code = entry.get("locationCode") or declaration["locationCode"]
        place = (location_code, declaration["direction"], entry["unitType"] == "CONTAINER")
        if place in places and _normalised(entry["unit"]) == name:
            miss = NearMiss(
                "DECLARED",
                name,
                location_code,
                declaration["direction"],
                declaration["declarationNumber"],
                declaration["status"],
            )
            if miss not in misses:
                misses.append(miss)
    return misses


def _declarations(
    index: LogIndex, numbers: list[int]
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yields number and declaration (None: removed) of lines that are good enough to advise from.

    What is not is passed over: the engine refuses it too.
    """
    for _, text in index.read(numbers):
        try:
            line = record_json.loads(text)
            if line["topic"] != "declarations" or not isinstance(line["key"], str):
                continue
            value = line["value"]
            if isinstance(value, str):
                value = record_json.loads(value)
            if value is None or _is_declaration(value, line["key"]):
                yield line["key"], value
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def _is_declaration(value: dict[str, Any], key: str) -> bool:
    return (
        value["declarationNumber"] == key
        and isinstance(value["version"], int)
        and all(isinstance(value[name], str) for name in ("status", "direction", "locationCode"))
        and all(
            isinstance(entry["unit"], str) and isinstance(entry["unitType"], str)
            for entry in value.get("units") or ()
        )
    )


def _normalised(text: str) -> str:
    return "".join(c.upper() if "a" <= c <= "z" else c for c in text if c not in " -")
