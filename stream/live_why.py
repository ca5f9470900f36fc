"""``gatejoin why UNIT`` from the live topics: the decisions as published, explained.

What was published is the record. The facts beside a decision are worked out again: the engine is
given what the topics still hold of the unit, and where it comes to the same decision on the same
event, its facts are that decision's. Earlier versions of declarations, holds and operators may be
gone, since their topics are compacted; a decision that rested on one is told without facts. Called
by ``stream.why``. It must never know rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stream import record_json, topics
from stream.live_topics import LiveTopics, Progress, log_line
from stream.live_unit import LiveUnit, read_unit
from stream.near_misses import find_near_misses
from stream.policy import Policy, load_policy
from stream.replay import explain_lines
from stream.settings import Settings
from stream.why import Explanation, WhyError, build_explanation, normalised_unit, parsed_line

# Only what the topics no longer hold can make these stand now and not then.
_OPERATOR_REASONS = frozenset(("UNKNOWN_OPERATOR", "OPERATOR_NOT_CONNECTED", "OPERATOR_LOCATION"))

_Outcomes = list[tuple[str, dict[str, Any]]]


def explain_live(
    settings: Settings, unit: str, rules_path: Path | None = None, progress: Progress | None = None
) -> Explanation:
    """Returns the explanation of a unit from the live topics.

    Args:
        settings: where the broker and the topics are, and by which rules the worker decides.
        unit: the unit's name in any spelling.
        rules_path: a rules file to explain by; None for the worker's.
        progress: told how far each topic has been read.

    Raises:
        WhyError: the unit is none, or nothing in the topics touches it.
        LiveTopicsError: no broker answers, or a topic is missing.
        PolicyError: the rules file is wrong.
        OSError: the rules file can't be read.
    """
    name = normalised_unit(unit)
    policy = load_policy(rules_path or settings.rules or None)
    found = asyncio.run(_read(settings, name, progress or Progress("gatejoin why")))
    lines = [
        log_line(record.source.topic, record.timestamp_ms, record.key, record.value)
        for record in found.records
    ]
    outcomes, undecided = _outcomes(name, found, lines, policy)
    explanation = build_explanation(
        name,
        settings.broker,
        [line for number, text in enumerate(lines) if (line := parsed_line(number, text))],
        outcomes,
        policy,
    )
    if not (explanation.events or explanation.declarations or explanation.holds):
        raise WhyError(f"nothing in the live topics at {settings.broker} touches the unit {name}")
    explanation.near_misses = find_near_misses(
        None, name, [story.decision for story in explanation.decisions]
    )
    explanation.sources = [
        record.source._replace(topic=settings.topic(record.source.topic))
        for record in found.records
    ]
    explanation.undecided = undecided
    return explanation


async def _read(settings: Settings, name: str, progress: Progress) -> LiveUnit:
    async with LiveTopics(settings, progress) as live:
        return await read_unit(live, name)


def _outcomes(
    unit: str, found: LiveUnit, lines: list[bytes], policy: Policy
) -> tuple[_Outcomes, list[str]]:
    """What was published, with the facts of what the engine makes of the lines now.

    Returns also the events that the engine would answer and no worker has.
    """
    outcomes: _Outcomes = []
    refused: set[int] = set()
    for number, record in enumerate(found.records):
        source = record.source
        reject = found.rejects.get((source.partition, source.offset))
        if source.topic == topics.PORT_EVENTS and reject is not None:
            refused.add(number)
            outcomes.append(("reject", reject | {"source": {"offset": number}}))
    made: list[dict[str, Any]] = []
    facts: dict[str, dict[str, Any]] = {}
    accepted = ((number, line) for number, line in enumerate(lines) if number not in refused)
    for kind, text in explain_lines(accepted, policy):
        outcome = record_json.loads(text)
        if kind == "decision" and outcome["unit"] == unit:
            made.append(outcome)
        elif kind == "explanation":
            facts[outcome["decisionID"]] = outcome
        elif kind == "reject" and outcome["reason"] not in _OPERATOR_REASONS:
            outcomes.append((kind, outcome))
    facts_of = {_answer(decision): facts[decision["decisionID"]] for decision in made}
    for decision in found.decisions:
        outcomes.append(("decision", decision))
        of_it = facts_of.get(_answer(decision))
        if of_it is not None:
            outcomes.append(("explanation", of_it | {"decisionID": decision["decisionID"]}))
    outcomes += [("alert", alert) for alert in found.alerts]
    published = set(map(_event, found.decisions))
    undecided = [event for event in dict.fromkeys(map(_event, made)) if event not in published]
    return outcomes, [event_id for _, _, event_id in undecided]


def _event(decision: dict[str, Any]) -> tuple[bool, str, str]:
    return (
        decision["unitType"] == "CONTAINER",
        decision["operatorID"],
        decision["eventID"],
    )


def _answer(decision: dict[str, Any]) -> tuple[Any, ...]:
    """All that a decision says but when and as which of its event's: the same facts, the same."""
    weighed: Iterable[dict[str, Any]] = decision["declarations"]
    return (
        _event(decision),
        decision["locationCode"],
        decision["direction"],
        decision["eventDateTime"],
        decision["outcome"],
        decision["ruleSet"],
        *(tuple(decision[name]) for name in ("reasons", "flags", "holds")),
        tuple((it["declarationNumber"], it["version"], it["status"]) for it in weighed),
    )
