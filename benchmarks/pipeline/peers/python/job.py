"""The job as every Python peer does it: what to read, the table, one decision.

What it is: what the peers' programs have in common, so that each shows only its engine.
Who calls it: the programs beside it.
What it must never know: an engine.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

BROKER = os.environ.get("PIPELINE_BROKER", "")
EVENTS = os.environ.get("PIPELINE_EVENTS", "")
DECISIONS = os.environ.get("PIPELINE_DECISIONS", "")
GROUP = os.environ.get("PIPELINE_GROUP", "")
PARTITIONS = [int(word) for word in os.environ.get("PIPELINE_PARTITIONS", "0").split(",")]
FETCH_BYTES = 4 << 20

Declared = dict[str, tuple[str, str]]


def load_declared() -> Declared:
    """Unit to (place, status), from the file with a JSON object a line."""
    import orjson

    declared = {}
    with Path(os.environ["PIPELINE_DECLARED"]).open("rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            # One string for each place and status, as a careful program would keep them.
            declared[row["unit"]] = (sys.intern(row["locationCode"]), sys.intern(row["status"]))
    return declared


def verdict(declared: Declared, unit: str, place: str) -> tuple[str, str]:
    """Outcome and reason."""
    found = declared.get(unit)
    if found is None:
        return "HOLD", "UNDECLARED"
    if found[0] != place:
        return "HOLD", "WRONG_PORT"
    if found[1] != "CLEARED":
        return "HOLD", "REGISTERED"
    return "RELEASE", "CLEARED"


def decide(declared: Declared, event: dict[str, str]) -> dict[str, str]:
    """The decision on an event."""
    unit, place = event["unit"], event["locationCode"]
    outcome, reason = verdict(declared, unit, place)
    return {
        "eventID": event["eventID"],
        "operatorID": event["operatorID"],
        "locationCode": place,
        "unit": unit,
        "outcome": outcome,
        "reason": reason,
    }


def wait_for_go() -> None:
    """Tells the harness that the table is there, and waits until it says go."""
    print("ready", flush=True)
    sys.stdin.readline()
