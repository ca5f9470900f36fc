"""What must be in the output topics, worked out from the input topics alone, and what is not so.

Called by the fault harness, the simulation and their tests. The reference model says what each
event does to its unit; which of customs' records an answer had already seen can't be known from
outside, so a decision must be one that *some* state of customs' side explains, and the last one of
an open check exactly that of the final state. It must never know the engine, workers or faults.

Operators must be in place before the first event (``Evidence.loaded``) and stay as they are, and no
container may share its name with a lot: both would leave open what is right.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from tests.faults.workload import partition_of
from tests.reference.model import (
    Line,
    Model,
    RejectedError,
    Unit,
    UnitKey,
    at,
    balance,
    id_of,
    lines_of,
    open_checks,
    visit_start,
)
from tests.reference.records import (
    DAY,
    HOUR,
    MILLISECOND,
    Declaration,
    Hold,
    PortEvent,
    day_in_vietnam,
    read_port_event,
    write_date_time,
)

CUSTOMS = ("operators", "declarations", "holds")
OUTPUTS = ("decisions", "alerts", "rejects")
# How many states of customs' side are tried for one decision before it counts as unexplained.
STATES_TRIED_MAX = 20_000

INVARIANTS = {
    "decided": "every GATE_CHECK that took effect has decision 1",
    "sequences": "decisions of a check are numbered from 1 without gaps, in the order of the topic",
    "once": "no decisionID is there twice, with equal or with other content",
    "changes": "a decision differs from the one before",
    "explained": "each decision follows from the unit's events so far and some state of customs",
    "final": "the last decision of an open check is that of the final state",
    "alerts": "alerts are there once, all that must be and none that must not",
    "recalls": "a RELEASE that becomes a HOLD is recalled, and nothing else is",
    "rejects": "every refused record is rejected once, for the right reason",
    "volumes": "volumes are exact, in each partition",
    "stock": "stock is exact, in each partition",
    "commits": "committed offsets are never ahead of effects, and reach the end",
}


class Record(NamedTuple):
    """A record as a reader finds it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


Place = tuple[int, int]
"""Partition and offset."""
Thing = tuple[str, str]
"""Topic and key of a declaration or a hold."""
Axis = tuple[str, int]
"""A topic and partition of customs' side; a state is how much of each has been read."""
CheckKey = tuple[str, bool, str, str]
"""Unit, whether it is a lot, operatorID, eventID."""
Volume = tuple[int, int, int, int, int, int]


@dataclass
class Sighting:
    """What was committed at a moment while things broke, and where the outputs ended after it."""

    committed: dict[int, int]
    ends: dict[tuple[str, int], int]


@dataclass
class Evidence:
    """Topics by plain name, each in order of (partition, offset), aborted records included."""

    partitions: int
    records: dict[str, list[Record]]
    committed: dict[int, int]
    #: How many records each partition of customs' topics had before the first worker began.
    loaded: dict[tuple[str, int], int]
    topic_prefix: str = ""
    sightings: list[Sighting] = field(default_factory=list)


@dataclass
class Verdict:
    """Problems by invariant, and how many things were looked at for each."""

    problems: list[tuple[str, str]] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)

    def expect(self, invariant: str, holds: bool, what: object) -> None:
        self.checked[invariant] += 1
        if not holds:
            self.problems.append((invariant, str(what)))

    def text(self) -> str:
        return "\n".join(f"{invariant}: {what}" for invariant, what in self.problems[:30])


class Decision(NamedTuple):
    place: Place
    record: dict[str, Any]

    @property
    def content(self) -> tuple[Any, ...]:
        """What has to change for the next one to be published."""
        record = self.record
        numbers = [one["declarationNumber"] for one in record["declarations"]]
        return record["outcome"], record["reasons"], record["flags"], numbers

    @property
    def weighed(self) -> tuple[Any, ...]:
        """All of it that follows from the state."""
        record = self.record
        return (
            record["outcome"],
            tuple(record["reasons"]),
            tuple(record["flags"]),
            tuple(
                (one["declarationNumber"], one["version"], one["status"])
                for one in record["declarations"]
            ),
            tuple(record["holds"]),
        )


# -------------------------------------------------------------------------- the input topics


class Told(NamedTuple):
    """A state of a declaration or a hold, and which record told it (-1: one of those that were
    there first); None is that it is gone."""

    partition: int
    offset: int
    state: Declaration | Hold | None


class PartitionModel(Model):
    """The events of one partition, and all that follows from them whatever customs says."""

    def __init__(self, number: int, partitions: int, operators: dict[str, Any]) -> None:
        super().__init__()
        self.number, self.partitions = number, partitions
        self.operators = operators
        self.exits: list[PortEvent] = []

    def take_port_event(
        self, _key: str | None, value: bytes | None
    ) -> tuple[set[UnitKey], PortEvent | None]:
        assert value is not None
        event = read_port_event(value)
        is_future = event.version > self.now + DAY
        if not is_future and partition_of(event.unit.encode(), self.partitions) != self.number:
            raise RejectedError("MISPARTITIONED", "unit", "another partition's unit")
        return super().take_port_event(_key, value)

    def alerts_of_event(self, unit: Unit, event: PortEvent, first_seen: bool) -> Iterator[str]:
        for alert_type in super().alerts_of_event(unit, event, first_seen):
            if alert_type != "UNAUTHORISED_EXIT":  # which is customs' word
                yield alert_type


class Inputs:
    """What the input topics say."""

    def __init__(self, evidence: Evidence) -> None:
        self.prefix = evidence.topic_prefix
        self.rejects: dict[tuple[str, int, int], tuple[str, str | None]] = {}
        #: What was told of each declaration and hold.
        self.told: dict[Thing, list[Told]] = {}
        self.of_unit: defaultdict[UnitKey, set[Thing]] = defaultdict(set)
        self.of_declaration: defaultdict[str, set[Thing]] = defaultdict(set)
        #: A unit's events after each record that took effect, by its place.
        self.histories: defaultdict[UnitKey, list[tuple[Place, dict[Any, PortEvent]]]]
        self.histories = defaultdict(list)
        self.checks: dict[CheckKey, Place] = {}
        self.exits: list[tuple[UnitKey, PortEvent, Place]] = []
        self.alerts: dict[str, Place] = {}
        self.overdue: dict[int, int] = {}  # the clock of each partition at its end
        self.final = Model()
        self._read_customs(evidence)
        self.models = {
            number: PartitionModel(number, evidence.partitions, self.final.operators)
            for number in range(evidence.partitions)
        }
        for record in evidence.records["port-events"]:
            self._read_event(record)
        for model in self.models.values():
            self.overdue[model.number] = model.clock

    def _read_customs(self, evidence: Evidence) -> None:
        take = {
            "operators": self.final.take_operator,
            "declarations": self.final.take_declaration,
            "holds": self.final.take_hold,
        }
        tables = {"declarations": self.final.declarations, "holds": self.final.holds}
        for topic in CUSTOMS:
            for record in evidence.records[topic]:
                is_loaded = record.offset < evidence.loaded.get((topic, record.partition), 0)
                assert is_loaded or topic != "operators", "operators must be there first"
                key = None if record.key is None else record.key.decode()
                self.final.now = record.timestamp_ms * MILLISECOND
                try:
                    self.final.checked(take[topic], topic, key, record.value)
                except RejectedError as rejected:
                    source = (self.prefix + topic, record.partition, record.offset)
                    self.rejects[source] = (rejected.reason, rejected.field)
                    continue
                if topic != "operators":
                    self._note(topic, record, tables[topic].get(str(key)), is_loaded)

    def _note(
        self, topic: str, record: Record, state: Declaration | Hold | None, loaded: bool
    ) -> None:
        assert record.key is not None, "a compacted topic takes no record without a key"
        thing = topic, record.key.decode()
        if state is None and thing not in self.told:
            return  # gone before it was there
        told = self.told.setdefault(thing, [])
        if loaded:
            told[:] = [Told(record.partition, -1, state)]
        elif (told[-1].state if told else None) is not state:
            told.append(Told(record.partition, record.offset, state))
        if isinstance(state, Declaration):
            for entry in state.entries:
                self.of_unit[entry.unit, entry.is_lot].add(thing)
        elif isinstance(state, Hold) and state.scope == "UNIT":
            self.of_unit[state.reference, False].add(thing)
            self.of_unit[state.reference, True].add(thing)
        elif isinstance(state, Hold):
            self.of_declaration[state.reference].add(thing)

    def _read_event(self, record: Record) -> None:
        model = self.models[record.partition]
        place = record.partition, record.offset
        alerts_before = len(model.alerts)
        model.now = record.timestamp_ms * MILLISECOND
        model.clock = max(model.clock, model.now)
        model.raise_alerts_due()
        key = None if record.key is None else record.key.decode()
        try:
            touched, arrived = model.checked(
                model.take_port_event, "port-events", key, record.value
            )
        except RejectedError as rejected:
            source = (self.prefix + "port-events", *place)
            self.rejects[source] = (rejected.reason, rejected.field)
            touched, arrived = set(), None
        for unit_key in touched:
            for due, alert_id in model.alerts_by_clock(unit_key):
                heapq.heappush(model.reminders, (due, alert_id, unit_key))
        model.raise_alerts_due()
        for alert in model.alerts[alerts_before:]:
            self.alerts[alert["alertID"]] = place
        if arrived is None:
            return
        unit_key = arrived.unit, arrived.is_lot
        self.histories[unit_key].append((place, dict(model.units[unit_key].events)))
        if arrived.event_type == "GATE_CHECK" and not arrived.retracted:
            self.checks.setdefault((*unit_key, *arrived.identity), place)
        if arrived.event_type == "GET_OUT" and not arrived.retracted:
            self.exits.append((unit_key, arrived, place))

    def things_of(self, unit_key: UnitKey) -> list[Thing]:
        """The declarations and holds that may have had a say about a unit."""
        things = set(self.of_unit[unit_key])
        for topic, name in self.of_unit[unit_key]:
            if topic == "declarations":
                things |= self.of_declaration[name]
        return sorted(things)


# ------------------------------------------------------------------------------- weighing


class UnitWeigher:
    """Weighs the checks and exits of one unit under states of customs' side.

    A state is one offset for each axis: of that topic and partition, the records before it have
    been read. Only the offsets behind records about this unit make a difference.
    """

    def __init__(self, inputs: Inputs, unit_key: UnitKey) -> None:
        self.unit_key = unit_key
        self.model = Model()
        self.told = {thing: inputs.told[thing] for thing in inputs.things_of(unit_key)}
        self.lines: dict[int, list[Line]] = {}
        bounds: defaultdict[Axis, set[int]] = defaultdict(set)
        for thing, told in self.told.items():
            bounds[thing[0], told[0].partition] |= {0, *(one.offset + 1 for one in told)}
        self.axes = sorted(bounds)
        self.bounds = [sorted(bounds[axis]) for axis in self.axes]
        self.latest = tuple(0 for _ in self.axes)

    def weigh(
        self, events: dict[Any, PortEvent], event: PortEvent, state: tuple[int, ...]
    ) -> tuple[Any, ...]:
        """What the model says in a state of customs' side."""
        lines: dict[str, list[Line]] = {}
        self.model.holds = {}
        for thing, record in self.known(state):
            if isinstance(record, Hold):
                self.model.holds[record.hold_id] = record
            elif record is not None:
                its_lines = self.lines.get(id(record))
                if its_lines is None:
                    its_lines = lines_of(record).get(self.unit_key, [])
                    self.lines[id(record)] = its_lines
                if its_lines:
                    lines[thing[1]] = its_lines
        self.model.lines[self.unit_key] = lines
        weighing = self.model.weigh(Unit(events=events), event)
        return (
            weighing.outcome,
            tuple(weighing.reasons),
            tuple(weighing.flags),
            tuple((one.number, one.version, one.status) for one in weighing.declarations),
            tuple(weighing.holds),
        )

    def known(self, state: tuple[int, ...]) -> Iterator[tuple[Thing, Declaration | Hold | None]]:
        """Each declaration and hold as it stands in a state."""
        read = dict(zip(self.axes, state, strict=True))
        for thing, told in self.told.items():
            end = read[thing[0], told[0].partition]
            latest = [one.state for one in told if one.offset < end]
            yield thing, latest[-1] if latest else None

    @property
    def final(self) -> tuple[int, ...]:
        return tuple(bounds[-1] for bounds in self.bounds)

    def states(self, fixed: tuple[Axis, int] | None = None) -> list[tuple[int, ...]]:
        """All states, the likely ones first: those at or little behind the one found last.

        Args:
            fixed: an axis of which it is known how much had been read.
        """
        ways = []
        for axis, bounds in zip(self.axes, self.bounds, strict=True):
            if fixed is not None and axis == fixed[0]:
                bounds = [max(bound for bound in bounds if bound <= fixed[1])]
            ways.append(bounds)
        states = list(itertools.islice(itertools.product(*ways), STATES_TRIED_MAX))
        steps = [{bound: step for step, bound in enumerate(bounds)} for bounds in self.bounds]

        def distance(state: tuple[int, ...]) -> tuple[int, int]:
            moves = [
                step[bound] - step[last]
                for step, bound, last in zip(steps, state, self.latest, strict=True)
            ]
            return -sum(move for move in moves if move < 0), sum(moves)

        return sorted(states, key=distance)

    def explains(
        self,
        events: dict[Any, PortEvent],
        event: PortEvent,
        decision: Decision,
        fixed: tuple[Axis, int] | None,
    ) -> bool:
        """Whether a state of customs' side leads to this decision; it is tried first next time."""
        if self.weigh(events, event, self.latest) == decision.weighed and fixed is None:
            return True
        for state in self.states(fixed):
            if (
                all(named_as(decision, record) for _, record in self.known(state))
                and self.weigh(events, event, state) == decision.weighed
            ):
                self.latest = state
                return True
        return False

    def held(self, events: dict[Any, PortEvent], event: PortEvent) -> set[bool]:
        """Whether a HOLD row stands for a GET_OUT: both, if customs' side decides."""
        found: set[bool] = set()
        for state in self.states():
            found.add(bool(self.weigh(events, event, state)[1]))
            if len(found) == 2:
                break
        return found


def named_as(decision: Decision, record: Declaration | Hold | None) -> bool:
    """Whether a decision may have seen this state of a declaration or a hold, if it names it."""
    if isinstance(record, Hold):
        return record.active or record.hold_id not in decision.record["holds"]
    if isinstance(record, Declaration):
        for one in decision.record["declarations"]:
            if one["declarationNumber"] == record.number:
                return bool(one["version"] == record.version and one["status"] == record.status)
    return True


# ------------------------------------------------------------------------------ the verdict


def verify(evidence: Evidence, *, is_finished: bool = True) -> Verdict:
    """Looks for everything that is not as the input topics say it must be.

    Args:
        evidence: the topics.
        is_finished: the workers had the time to answer everything; else only what must hold at any
            moment is looked at.
    """
    verdict = Verdict()
    inputs = Inputs(evidence)
    weigh_units = cache(lambda unit_key: UnitWeigher(inputs, unit_key))
    decisions = decisions_of(evidence, verdict)
    check_decisions(verdict, evidence, inputs, weigh_units, decisions)
    check_alerts(verdict, evidence, inputs, weigh_units, decisions, is_finished)
    check_rejects(verdict, evidence, inputs, is_finished)
    check_sightings(verdict, evidence, inputs, decisions)
    if is_finished:
        for key in inputs.checks:
            verdict.expect("decided", key in decisions, f"no decision at all on {key}")
        check_final(verdict, inputs, weigh_units, decisions)
        check_sums(verdict, evidence, inputs)
        for number in range(evidence.partitions):
            end = end_of(evidence.records["port-events"], number)
            committed = evidence.committed.get(number, 0)
            verdict.expect(
                "commits", committed == end, f"partition {number}: {committed} of {end} committed"
            )
    return verdict


def end_of(records: list[Record], partition: int) -> int:
    return max(
        (record.offset + 1 for record in records if record.partition == partition), default=0
    )


def decisions_of(evidence: Evidence, verdict: Verdict) -> dict[CheckKey, list[Decision]]:
    """The decisions of each check, in the order of the topic."""
    found: defaultdict[CheckKey, list[Decision]] = defaultdict(list)
    places: dict[str, tuple[Place, dict[str, Any]]] = {}
    for record in evidence.records["decisions"]:
        value = json.loads(record.value or b"null")
        place = record.partition, record.offset
        key = (
            value["unit"],
            value["unitType"] != "CONTAINER",
            value["operatorID"],
            value["eventID"],
        )
        name = id_of(key[0], key[2], key[3], str(value["sequence"]))
        verdict.expect(
            "sequences", value["decisionID"] == name, f"{value['decisionID']} at {place}"
        )
        before = places.get(name)
        if before is None:
            places[name] = place, value
            found[key].append(Decision(place, value))
        verdict.expect(
            "once",
            before is None,
            before
            and f"{name} at {before[0]} and {place}, "
            + ("the same" if timeless(before[1]) == timeless(value) else "with other content"),
        )
        verdict.expect(
            "sequences",
            record.partition == partition_of(key[0].encode(), evidence.partitions),
            f"{name} is in partition {record.partition}",
        )
    return found


def timeless(decision: dict[str, Any]) -> dict[str, Any]:
    return {name: decision[name] for name in decision if name not in ("decidedDateTime", "trigger")}


def check_decisions(
    verdict: Verdict,
    evidence: Evidence,
    inputs: Inputs,
    weigh_units: Callable[[UnitKey], UnitWeigher],
    decisions: dict[CheckKey, list[Decision]],
) -> None:
    ends = {
        (evidence.topic_prefix + topic, record.partition): record.offset + 1
        for topic in (*CUSTOMS, "port-events")
        for record in evidence.records[topic]
    }
    for key, its_decisions in decisions.items():
        if key not in inputs.checks:
            verdict.expect("explained", False, f"{key} was decided, but never took effect")
            continue
        sequences = [decision.record["sequence"] for decision in its_decisions]
        verdict.expect(
            "sequences",
            sequences == list(range(1, len(sequences) + 1)),
            f"{key} has sequences {sequences}",
        )
        for before, after in itertools.pairwise(its_decisions):
            verdict.expect(
                "changes",
                before.content != after.content,
                f"{after.record['decisionID']} says what the one before said",
            )
        for decision in its_decisions:
            verdict.expect(
                "explained",
                is_explained(inputs, weigh_units, key, decision, ends),
                f"{decision.record} at {decision.place}",
            )


def is_explained(
    inputs: Inputs,
    weigh_units: Callable[[UnitKey], UnitWeigher],
    key: CheckKey,
    decision: Decision,
    ends: dict[tuple[str, int], int],
) -> bool:
    unit_key, identity = key[:2], key[2:]
    record, history = decision.record, inputs.histories[unit_key]
    trigger, fixed = record["trigger"], None
    if trigger is not None:
        end = ends.get((trigger["topic"], trigger["partition"]), 0)
        if not 0 <= trigger["offset"] < end:
            return False
        topic = trigger["topic"].removeprefix(inputs.prefix)
        if topic == "port-events":
            place = trigger["partition"], trigger["offset"]
            history = [entry for entry in history if entry[0] == place]
        else:
            fixed = (topic, trigger["partition"]), trigger["offset"] + 1
    for _, events in reversed(history):
        event = events.get(identity)
        if (
            event is not None
            and event.event_type == "GATE_CHECK"
            and not event.retracted
            and record["locationCode"] == event.location
            and record["direction"] == event.direction
            and record["unitType"] == event.unit_type
            and record["eventDateTime"] == write_date_time(event.time)
            and record["validUntilDateTime"]
            == (write_date_time(event.time + 24 * HOUR) if not record["reasons"] else None)
            and weigh_units(unit_key).explains(events, event, decision, fixed)
        ):
            return True
    return False


def check_final(
    verdict: Verdict,
    inputs: Inputs,
    weigh_units: Callable[[UnitKey], UnitWeigher],
    decisions: dict[CheckKey, list[Decision]],
) -> None:
    for unit_key, history in inputs.histories.items():
        events = history[-1][1]
        unit = Unit(events=events)
        effective = unit.effective()
        for location in {event.location for event in effective}:
            for check in open_checks(at(effective, location), unit_key[1]):
                key = (*unit_key, *check.identity)
                weigher = weigh_units(unit_key)
                outcome, reasons, flags, declarations, _ = weigher.weigh(
                    events, check, weigher.final
                )
                wanted = outcome, list(reasons), list(flags), [one[0] for one in declarations]
                its_decisions = decisions.get(key)
                found = its_decisions[-1].content if its_decisions else None
                verdict.expect("final", found == wanted, f"{key}: {found}, not {wanted}")


def check_alerts(
    verdict: Verdict,
    evidence: Evidence,
    inputs: Inputs,
    weigh_units: Callable[[UnitKey], UnitWeigher],
    decisions: dict[CheckKey, list[Decision]],
    is_finished: bool,
) -> None:
    found: Counter[str] = Counter()
    for record in evidence.records["alerts"]:
        found[json.loads(record.value or b"null")["alertID"]] += 1
    must, may = set(inputs.alerts), set(inputs.alerts)
    for unit_key, event, place in inputs.exits:
        name = id_of("UNAUTHORISED_EXIT", event.unit, event.operator_id, event.event_id)
        events = next(events for at_, events in inputs.histories[unit_key] if at_ == place)
        held = weigh_units(unit_key).held(events, event)
        if True in held:
            may.add(name)
        if held == {True}:
            must.add(name)
    for name, is_certain in overdue_transits(inputs):
        may.add(name)
        if is_certain:
            must.add(name)
    recalls = {
        "RECALL/" + after.record["decisionID"]
        for its_decisions in decisions.values()
        for before, after in itertools.pairwise(its_decisions)
        if before.record["outcome"] == "RELEASE" and after.record["outcome"] == "HOLD"
    }
    for name, count in found.items():
        is_recall = name.startswith("RECALL/")
        invariant = "recalls" if is_recall else "alerts"
        verdict.expect(invariant, count == 1, f"{name} is there {count} times")
        verdict.expect(invariant, name in (recalls if is_recall else may), f"{name} for nothing")
    if is_finished:
        for name in must:
            verdict.expect("alerts", name in found, f"{name} is missing")
        for name in recalls:
            verdict.expect("recalls", name in found, f"{name} is missing")


def overdue_transits(inputs: Inputs) -> Iterator[tuple[str, bool]]:
    """The alerts TRANSIT_OVERDUE that may be there, and whether they must."""
    for thing, told in inputs.told.items():
        if thing[0] != "declarations":
            continue
        final = told[-1].state
        for unit_key in {
            (entry.unit, entry.is_lot)
            for one in told
            if isinstance(one.state, Declaration) and one.state.destination
            for entry in one.state.entries
        }:
            name = id_of("TRANSIT_OVERDUE", unit_key[0], thing[1])
            is_certain = False
            if isinstance(final, Declaration) and unit_key in inputs.histories:
                model = inputs.models[inputs.histories[unit_key][0][0][0]]
                model.lines[unit_key] = {thing[1]: lines_of(final).get(unit_key, [])}
                if model.lines[unit_key][thing[1]]:
                    due = {alert[1]: alert[0] for alert in model.alerts_by_clock(unit_key)}
                    is_certain = due.get(name, model.clock + 1) <= model.clock
                model.lines[unit_key] = {}
            yield name, is_certain


def check_rejects(verdict: Verdict, evidence: Evidence, inputs: Inputs, is_finished: bool) -> None:
    found: Counter[tuple[str, int, int]] = Counter()
    for record in evidence.records["rejects"]:
        value = json.loads(record.value or b"null")
        source = value["source"]
        place = source["topic"], source["partition"], source["offset"]
        found[place] += 1
        said, wanted = (value["reason"], value["field"]), inputs.rejects.get(place)
        verdict.expect("rejects", said == wanted, f"{place}: {said}, not {wanted}")
    for place, count in found.items():
        verdict.expect("rejects", count == 1, f"{place} is rejected {count} times")
    if is_finished:
        for place, wanted in inputs.rejects.items():
            verdict.expect("rejects", place in found, f"{place}: {wanted} is missing")


def check_sums(verdict: Verdict, evidence: Evidence, inputs: Inputs) -> None:
    volumes: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 6)
    stock: defaultdict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 3)
    for (name, is_lot), history in inputs.histories.items():
        partition = partition_of(name.encode(), evidence.partitions)
        moved = Unit(events=history[-1][1]).effective("GET_IN", "GET_OUT")
        for event in moved:
            day = day_in_vietnam(event.time).isoformat()
            row = volumes[event.operator_id, day, event.direction, event.unit_type, partition]
            first = 0 if event.event_type == "GET_IN" else 3
            row[first] += 1
            row[first + 1] += event.pieces or 0
            row[first + 2] += event.weight_grams or 0
        for location in {event.location for event in moved}:
            here = at(moved, location)
            start = visit_start(here, is_lot)
            if start is None:
                continue
            day = day_in_vietnam(start.time).isoformat()
            row = stock[location, start.direction, start.unit_type, day, partition]
            row[0] += 1
            if is_lot:
                row[1] += balance(here, "pieces")
                row[2] += balance(here, "weight")
    names = ("operatorID", "day", "direction", "unitType", "partition")
    sums = ("movementsIn", "piecesIn", "gramsIn", "movementsOut", "piecesOut", "gramsOut")
    check_cells(verdict, "volumes", evidence.records["volumes"], names, sums, volumes)
    names = ("locationCode", "direction", "unitType", "startDay", "partition")
    check_cells(
        verdict, "stock", evidence.records["stock"], names, ("units", "pieces", "grams"), stock
    )


def check_cells(
    verdict: Verdict,
    invariant: str,
    records: list[Record],
    names: tuple[str, ...],
    sums: tuple[str, ...],
    wanted: dict[tuple[Any, ...], list[int]],
) -> None:
    latest: dict[bytes | None, bytes | None] = {}
    for record in records:
        latest[record.key] = record.value
    cells = [json.loads(value) for value in latest.values() if value is not None]
    found = {tuple(cell[name] for name in names): [cell[name] for name in sums] for cell in cells}
    for key in found.keys() | wanted.keys():
        said, right = found.get(key), wanted.get(key)
        verdict.expect(invariant, said == right, f"{key}: {said}, not {right}")


def check_sightings(
    verdict: Verdict,
    evidence: Evidence,
    inputs: Inputs,
    decisions: dict[CheckKey, list[Decision]],
) -> None:
    """Whatever was committed at some moment had all its effects at that moment."""
    effects: list[tuple[Place, str, Place | None]] = []  # event, topic, where its effect is
    for key, place in inputs.checks.items():
        its_decisions = decisions.get(key)
        effects.append((place, "decisions", its_decisions[0].place if its_decisions else None))
    alerts: dict[str, Place] = {}
    for record in evidence.records["alerts"]:
        name = json.loads(record.value or b"null")["alertID"]
        alerts.setdefault(name, (record.partition, record.offset))
    effects += [(place, "alerts", alerts.get(name)) for name, place in inputs.alerts.items()]
    rejects: dict[tuple[str, int, int], Place] = {}
    for record in evidence.records["rejects"]:
        source = json.loads(record.value or b"null")["source"]
        name = source["topic"], source["partition"], source["offset"]
        rejects.setdefault(name, (record.partition, record.offset))
    effects += [
        ((source[1], source[2]), "rejects", rejects.get(source))
        for source in inputs.rejects
        if source[0] == inputs.prefix + "port-events"
    ]
    for sighting in evidence.sightings:
        for (partition, offset), topic, place in effects:
            if offset >= sighting.committed.get(partition, 0):
                continue
            end = 0 if place is None else sighting.ends.get((topic, place[0]), 0)
            verdict.expect(
                "commits",
                place is not None and place[1] < end,
                f"event {partition}/{offset} was committed before its effect on {topic}: {place}",
            )
