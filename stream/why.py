"""``gatejoin why UNIT``: what happened to a unit, and why each decision on it was as it was.

Finds the lines of a log that touch the unit (``stream.log_index``), lets the engine apply just
those, and gathers what it decided and the facts it decided on. ``stream.why_rows`` says of each
row what made it stand and what would have undone it, ``stream.why_text`` puts it into words. It
must never know a rule: the facts are the core's, their meaning the policy's.

A unit's decisions depend on its own events, the declarations that list it, the holds on either and
the operators of its events, and on nothing else in the log; so the few lines give the same
decisions, byte for byte, as the whole log does.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from stream import record_json
from stream.log_file import LogFileError
from stream.log_index import LogIndex, LogIndexError, open_index
from stream.moments import parse_date_time
from stream.near_misses import NearMiss, find_near_misses
from stream.policy import Policy, PolicyError, load_policy
from stream.why_rows import RowStory, row_stories

LINES_MAX = 1_000_000
"""Lines that may touch one unit. More would not be read by anybody, and take minutes."""

_UNIT = re.compile(r"[!-~]{1,35}")


class WhyError(ValueError):
    """A question that can't be answered. One line: thing, place, remedy."""


@dataclass(slots=True)
class EventStory:
    """A line of the log with an event of the unit.

    ``state`` is IN_FORCE, SUPERSEDED, RETRACTED (a retraction in force), DUPLICATE or REJECTED.
    """

    line: int
    timestamp_ms: int
    value: dict[str, Any]
    state: str
    reject: dict[str, Any] | None = None
    time_us: int | None = None


@dataclass(slots=True)
class RecordStory:
    """A line of the log with a version of a declaration or a hold that touches the unit.

    ``state`` is IN_FORCE, SUPERSEDED, DUPLICATE, REMOVED (a tombstone) or REJECTED. ``entries``
    are a declaration's entries for the unit, as written.
    """

    line: int
    timestamp_ms: int
    key: str
    value: dict[str, Any]
    state: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    reject: dict[str, Any] | None = None


@dataclass(slots=True)
class DecisionStory:
    """A decision as published, the facts it rests on, and the rows that stood."""

    decision: dict[str, Any]
    facts: dict[str, Any]
    rows: list[RowStory]


class Source(NamedTuple):
    """Where a record stands in the live topics."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Explanation:
    """All there is to say about a unit. A container and a lot of one name are told together."""

    unit: str
    log_name: str
    events: list[EventStory]
    declarations: list[RecordStory]
    holds: list[RecordStory]
    decisions: list[DecisionStory]
    alerts: list[dict[str, Any]]
    near_misses: list[NearMiss]
    sources: list[Source] | None = None
    """Where each line stands as a record; None where it is a line of a log."""
    undecided: list[str] = field(default_factory=list)
    """Events that await their first decision, where decisions are told as they were published."""


@dataclass(slots=True)
class Line:
    """A line of a log, taken apart."""

    number: int
    topic: str
    timestamp_ms: int
    key: str | None
    value: dict[str, Any] | None
    """None for a tombstone; empty for what is no JSON object."""


def normalised_unit(text: str) -> str:
    """Returns a unit's name as the engine keys it (CONTRACT.md, section 1); WhyError if none."""
    name = text.replace(" ", "").replace("-", "")
    name = "".join(c.upper() if "a" <= c <= "z" else c for c in name)
    if not _UNIT.fullmatch(name):
        raise WhyError(
            f"{text!r} is no unit: a container or cargo control number has 1 to 35 characters, "
            "without accents"
        )
    return name


def explain(
    log_path: Path,
    unit: str,
    rules_path: Path | None = None,
    note: Callable[[str], None] | None = None,
) -> Explanation:
    """Returns the explanation of a unit from a log.

    Args:
        log_path: the log.
        unit: the unit's name in any spelling.
        rules_path: a rules file to explain by; None for the rows as shipped.
        note: is told, in one line, what takes time.

    Raises:
        WhyError: the unit is none, or nothing in the log touches it.
        LogIndexError, LogFileError, PolicyError: the log or the rules file is wrong.
        OSError: the log can't be read.
    """
    # Here, so that the rest can be used without the compiled engine.
    from stream.replay import explain_lines

    name = normalised_unit(unit)
    policy = load_policy(rules_path)
    with open_index(log_path, note) as index:
        raw_lines = lines_of_unit(index, name)
        outcomes = [
            (kind, record_json.loads(text)) for kind, text in explain_lines(raw_lines, policy)
        ]
        explanation = build_explanation(
            name,
            log_path.name,
            [line for number, text in raw_lines if (line := parsed_line(number, text)) is not None],
            outcomes,
            policy,
        )
        if not (explanation.events or explanation.declarations or explanation.holds):
            raise WhyError(f"nothing in {explanation.log_name} touches the unit {name}")
        explanation.near_misses = find_near_misses(
            index, name, [story.decision for story in explanation.decisions]
        )
    return explanation


def lines_of_unit(index: LogIndex, unit: str) -> list[tuple[int, bytes]]:
    """Returns every line of the log that a decision on the unit may depend on, ascending.

    Raises WhyError if they are more than LINES_MAX.
    """
    lines: dict[int, bytes] = {}
    asked: set[tuple[str, str]] = set()

    def add(numbers: Iterable[int]) -> list[Line]:
        new = sorted(set(numbers) - lines.keys())
        if len(lines) + len(new) > LINES_MAX:
            raise WhyError(f"more than {LINES_MAX:,} lines of the log touch the unit {unit}")
        found = dict(index.read(new))
        lines.update(found)
        return [
            line
            for number, text in found.items()
            if (line := parsed_line(number, text)) is not None
        ]

    pending = add(index.find("u", unit))
    while pending:
        names: set[tuple[str, str]] = set()
        for line in pending:
            value = line.value or {}
            if line.topic == "port-events" and isinstance(value.get("operatorID"), str):
                names.add(("o", value["operatorID"]))
            elif line.topic == "declarations" and line.key is not None:
                names.add(("d", line.key))
            elif line.topic == "holds" and line.key is not None:
                names.add(("h", line.key))
        pending = []
        for kind, name in sorted(names - asked):
            pending += add(index.find(kind, name))  # type: ignore[arg-type]
        asked |= names
    return sorted(lines.items())


def build_explanation(
    unit: str,
    log_name: str,
    lines: list[Line],
    outcomes: Iterable[tuple[str, dict[str, Any]]],
    policy: Policy,
) -> Explanation:
    """Joins the lines that touch a unit with what the engine made of them.

    Args:
        unit: normalised.
        log_name: for people.
        lines: of the log, ascending.
        outcomes: kind (``decision``, ``explanation``, ``alert``, ``reject``) and object, in the
            engine's order; what is of other units is left out.
        policy: the rows by which the engine decided.
    """
    decisions: dict[str, dict[str, Any]] = {}
    facts: dict[str, dict[str, Any]] = {}
    alerts: list[dict[str, Any]] = []
    rejects: dict[int, dict[str, Any]] = {}
    for kind, outcome in outcomes:
        if kind == "decision" and outcome["unit"] == unit:
            decisions[outcome["decisionID"]] = outcome
        elif kind == "explanation":
            facts[outcome["decisionID"]] = outcome
        elif kind == "alert" and outcome["unit"] == unit:
            alerts.append(outcome)
        elif kind == "reject":
            rejects[outcome["source"]["offset"]] = outcome
    stories = []
    for decision_id, decision in decisions.items():
        time_us = parse_date_time(decision["eventDateTime"])
        rows = policy.rows(time_us)
        of_it = facts.get(decision_id, {})
        stories.append(
            DecisionStory(decision, of_it, row_stories(rows, policy.parameters, decision, of_it))
        )
    # The index may bring lines along that only share a hash with what was looked for.
    declarations = _record_stories(unit, lines, rejects, "declarations")
    listing = {story.key for story in declarations if story.entries}
    holds = _record_stories(unit, lines, rejects, "holds")
    holding = {
        story.key
        for story in holds
        if story.value.get("reference") in listing or _unit_of(story.value.get("reference")) == unit
    }
    return Explanation(
        unit,
        log_name,
        _event_stories(unit, lines, rejects),
        [story for story in declarations if story.key in listing],
        [story for story in holds if story.key in holding],
        stories,
        alerts,
        [],
    )


def _event_stories(
    unit: str, lines: list[Line], rejects: dict[int, dict[str, Any]]
) -> list[EventStory]:
    stories: list[EventStory] = []
    in_force: dict[tuple[Any, ...], tuple[int, EventStory]] = {}
    for line in lines:
        if line.topic != "port-events":
            continue
        value = line.value or {}
        if line.number in rejects:
            stories.append(
                EventStory(line.number, line.timestamp_ms, value, "REJECTED", rejects[line.number])
            )
            continue
        if _unit_of(value.get("unit")) != unit:
            continue  # It only shares a hash with the unit.
        retracted = value.get("isRetracted") is True
        story = EventStory(
            line.number,
            line.timestamp_ms,
            value,
            "RETRACTED" if retracted else "IN_FORCE",
            time_us=parse_date_time(value["eventDateTime"]),
        )
        stories.append(story)
        version_us = parse_date_time(
            value.get("eventUpdatedDateTime")
            or value.get("eventCreatedDateTime")
            or value["eventDateTime"]
        )
        key = (value["unitType"] == "CONTAINER", value["operatorID"], value["eventID"])
        before = in_force.get(key)
        if before is None or version_us > before[0]:
            if before is not None:
                before[1].state = "SUPERSEDED"
            in_force[key] = version_us, story
        else:
            story.state = "DUPLICATE"
    return stories


def _record_stories(
    unit: str, lines: list[Line], rejects: dict[int, dict[str, Any]], topic: str
) -> list[RecordStory]:
    stories: list[RecordStory] = []
    in_force: dict[str, RecordStory] = {}
    for line in lines:
        if line.topic != topic or line.key is None:
            continue
        value = line.value or {}
        story = RecordStory(line.number, line.timestamp_ms, line.key, value, "IN_FORCE")
        stories.append(story)
        if line.number in rejects:
            story.state, story.reject = "REJECTED", rejects[line.number]
            continue
        before = in_force.get(line.key)
        if line.value is None:
            story.state = "REMOVED"
            in_force.pop(line.key, None)
        elif before is not None and value["version"] <= before.value["version"]:
            story.state = "DUPLICATE"
            continue
        else:
            in_force[line.key] = story
            if topic == "declarations":
                story.entries = [
                    entry for entry in value.get("units") or () if _unit_of(entry["unit"]) == unit
                ]
        if before is not None:
            before.state = "SUPERSEDED"
    return stories


def _unit_of(text: Any) -> str | None:
    try:
        return normalised_unit(text) if isinstance(text, str) else None
    except WhyError:
        return None


def parsed_line(number: int, text: bytes) -> Line | None:
    """Returns a line of the log taken apart; None for one that is blank or can't be told.

    What the engine will refuse (a value that is no JSON object, text that is no Unicode) has an
    empty value here.
    """
    if not text.strip():
        return None
    try:
        line = record_json.loads(text.decode("utf-8", "replace"))
    except RecursionError:
        return None  # A record nested a thousand levels deep is refused whatever it says.
    value = line.get("value")
    if isinstance(value, str):
        try:
            value = record_json.loads(value)
        except (ValueError, RecursionError):
            value = {}
        if value is None:
            value = {}
    if value is not None and not isinstance(value, dict):
        value = {}
    return Line(number, line["topic"], line["timestamp"], line.get("key"), value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``gatejoin why``."""
    parser.add_argument("unit", metavar="UNIT", help="container or cargo control number")
    parser.add_argument(
        "--log",
        type=Path,
        metavar="LOG.ndjson",
        help="the log; an index is kept beside it (default: the live topics)",
    )
    parser.add_argument("--lang", choices=("vi", "en"), default="en", help="default: en")
    parser.add_argument(
        "--rules", type=Path, metavar="FILE", help="explain by a rules file (TOML) instead"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs ``gatejoin why``; returns the exit status."""
    from stream.why_text import render

    if arguments.log is None:
        return _run_live(arguments)
    try:
        explanation = explain(
            arguments.log,
            arguments.unit,
            arguments.rules,
            note=lambda text: print(f"gatejoin why: {text}", file=sys.stderr),
        )
    except (WhyError, LogIndexError, LogFileError, PolicyError) as error:
        print(f"gatejoin why: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(render(explanation, arguments.lang))
    return 0


def _run_live(arguments: argparse.Namespace) -> int:
    # Here, so that a log can be explained without Kafka's client.
    from stream.live_topics import LiveTopicsError
    from stream.live_why import explain_live
    from stream.settings import Settings, SettingsError
    from stream.why_text import render

    try:
        settings = Settings.from_environment()
        explanation = explain_live(settings, arguments.unit, arguments.rules)
    except (WhyError, LiveTopicsError, PolicyError, SettingsError) as error:
        print(f"gatejoin why: {error}", file=sys.stderr)
        return 1 if isinstance(error, LiveTopicsError) else 2
    sys.stdout.write(render(explanation, arguments.lang))
    return 0
