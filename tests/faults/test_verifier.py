"""The verifier finds each kind of defect, and nothing in good output.

Method: an engine in this process answers a workload without anything going wrong; customs' records
and events come in turns, as a worker reads them. What it published is good; then one defect is
planted in a copy of it, and the verifier must name the invariant that it breaks.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from core_ext.record_batch import OutputRun, RecordRun
from stream.engine import INPUT_TOPICS, PORT_EVENTS, Engine
from stream.policy import load_policy
from tests.faults.verifier import INVARIANTS, OUTPUTS, Evidence, Record, Sighting, verify
from tests.faults.workload import Sent, Workload, operators
from tests.reference.policy import CODES

PARTITIONS, CUSTOMS_PARTITIONS = 3, 2
RECORDS = 2000
ROLL_CALL_US = 1_700_000_000_000_000


class Worker:
    """What a worker does with the core, without anything around it."""

    def __init__(self) -> None:
        self.engine = Engine(load_policy(None), PARTITIONS)
        self.records: defaultdict[str, list[Record]] = defaultdict(list)
        self.ends: defaultdict[tuple[str, int], int] = defaultdict(int)

    def write(self, topic: str, partition: int, record: tuple[Any, ...]) -> Record:
        place = topic, partition
        written = Record(partition, self.ends[place], *record)
        self.ends[place] += 1
        self.records[topic].append(written)
        return written

    def apply(self, sent: Sent) -> None:
        record = self.write(sent.topic, sent.partition, (sent.key, sent.value, sent.timestamp_ms))
        run = RecordRun.from_records([(record.key, record.value, record.offset, sent.timestamp_ms)])
        topic, now_us = INPUT_TOPICS.index(sent.topic), sent.timestamp_ms * 1000
        if topic == PORT_EVENTS:
            self.engine.apply_events(sent.partition, run, now_us)
        else:
            self.engine.apply_customs(topic, sent.partition, run, now_us)
        self.publish(dict(zip(OUTPUTS, self.engine.take_effects(), strict=True)))

    def publish(self, outputs: dict[str, OutputRun]) -> None:
        for topic, output in outputs.items():
            for key, value, partition, timestamp_ms in output:
                self.write(topic, max(0, partition), (key, value, timestamp_ms))

    def evidence(self) -> Evidence:
        for partition in range(PARTITIONS):
            volumes, stock, _ = self.engine.take_aggregates(partition, ROLL_CALL_US)
            self.publish({"volumes": volumes, "stock": stock})
        records = {topic: sorted(self.records[topic]) for topic in self.records}
        committed = {number: self.ends["port-events", number] for number in range(PARTITIONS)}
        return Evidence(PARTITIONS, records, committed, {}, sightings=[])


@pytest.fixture(scope="module")
def good() -> Evidence:
    worker = Worker()
    workload = Workload("verifier", PARTITIONS, CUSTOMS_PARTITIONS)
    for sent in operators(CUSTOMS_PARTITIONS):
        worker.apply(sent)
    loaded = dict(worker.ends)
    for number, sent in enumerate(itertools.islice(workload.records(), RECORDS)):
        worker.apply(sent)
        if number == RECORDS // 2:
            committed = {part: worker.ends["port-events", part] for part in range(PARTITIONS)}
            seen = Sighting(committed, {
                (topic, part): worker.ends[topic, part]
                for topic in OUTPUTS
                for part in range(PARTITIONS)
            })  # fmt: skip
    for sent in workload.roll_call(ROLL_CALL_US):
        worker.apply(sent)
    evidence = worker.evidence()
    evidence.loaded = loaded
    evidence.sightings = [seen]
    return evidence


def test_nothing_is_wrong_with_good_output(good: Evidence) -> None:
    verdict = verify(good)
    assert not verdict.problems, verdict.text()
    assert verdict.checked.keys() == INVARIANTS.keys()
    assert min(verdict.checked.values()) > 10, verdict.checked


def test_the_workload_reaches_every_rule_alert_and_reject(good: Evidence) -> None:
    reached: set[str] = set()
    for topic, names in (("decisions", ()), ("alerts", ("type",)), ("rejects", ("reason",))):
        for record in good.records[topic]:
            value = json.loads(record.value)
            reached |= {value[name] for name in names}
            reached |= {*value.get("reasons", ()), *value.get("flags", ())}
    expected = {
        *CODES, "UNAUTHORISED_EXIT", "DOUBLE_ENTRY", "EXIT_WITHOUT_ENTRY", "LATE_REPORT",
        "DISCREPANCY", "STOCK_MISMATCH", "EXIT_RETRACTED", "RECALL", "OVERSTAYED", "MALFORMED",
        "MISPARTITIONED", "OPERATOR_NOT_CONNECTED", "OPERATOR_LOCATION",
    }  # fmt: skip
    assert expected - reached == set()


# ------------------------------------------------------------------------------- defects


def chosen(records: list[Record], wanted: Callable[[dict[str, Any]], bool]) -> int:
    """The place in the list of some record whose value is as wanted."""
    places = [
        place
        for place, record in enumerate(records)
        if record.value is not None and wanted(json.loads(record.value))
    ]
    return Random(7).choice(places)


def any_of(_: dict[str, Any]) -> bool:
    return True


def changed(record: Record, **members: Any) -> Record:
    value = json.loads(record.value or b"{}") | members
    return record._replace(value=json.dumps(value, ensure_ascii=False).encode())


def lose(topic: str, wanted: Callable[[dict[str, Any]], bool] = any_of) -> Callable[..., None]:
    def plant(evidence: Evidence) -> None:
        records = evidence.records[topic]
        records.pop(chosen(records, wanted))

    return plant


def double(topic: str, **members: Any) -> Callable[..., None]:
    def plant(evidence: Evidence) -> None:
        records = evidence.records[topic]
        record = records[chosen(records, any_of)]
        records.append(changed(record, **members)._replace(offset=record.offset + 10**6))

    return plant


def change(
    topic: str, wanted: Callable[[dict[str, Any]], bool] = any_of, **members: Any
) -> Callable[..., None]:
    def plant(evidence: Evidence) -> None:
        records = evidence.records[topic]
        place = chosen(records, wanted)
        records[place] = changed(records[place], **members)

    return plant


def lose_last_decision(evidence: Evidence) -> None:
    """Of a check that the roll call made, so that it is open."""
    lose("decisions", lambda value: value["eventID"] == "ROLL-GATE_CHECK")(evidence)


def lose_final_decision(evidence: Evidence) -> None:
    latest: dict[tuple[Any, ...], int] = {}
    for place, record in enumerate(evidence.records["decisions"]):
        value = json.loads(record.value or b"")
        latest[value["unit"], value["operatorID"], value["eventID"]] = place
    # Whether the check is still open is the verifier's affair, so all that can be are cut short.
    for place in sorted(latest.values(), reverse=True):
        if json.loads(evidence.records["decisions"][place].value or b"")["sequence"] > 1:
            evidence.records["decisions"].pop(place)


def repeat_with_next_sequence(evidence: Evidence) -> None:
    latest: dict[str, Record] = {}
    for record in evidence.records["decisions"]:
        latest[json.loads(record.value or b"")["decisionID"].rsplit("/", 1)[0]] = record
    name, record = Random(7).choice(sorted(latest.items()))
    sequence = json.loads(record.value or b"")["sequence"] + 1
    again = changed(record, sequence=sequence, decisionID=f"{name}/{sequence}")
    evidence.records["decisions"].append(again._replace(offset=record.offset + 10**6))


def lose_event(evidence: Evidence) -> None:
    """An event that the state holds but that the input topic does not: nobody sent it."""
    records = evidence.records["port-events"]
    records.pop(
        next(i for i, one in enumerate(records) if b"ROLL-GATE_CHECK" in (one.value or b""))
    )


def commit_less(evidence: Evidence) -> None:
    evidence.committed[1] -= 1


def commit_early(evidence: Evidence) -> None:
    (sighting,) = evidence.sightings
    for number in sighting.committed:
        sighting.committed[number] += 50


def commit_before_decisions(evidence: Evidence) -> None:
    (sighting,) = evidence.sightings
    for number in range(PARTITIONS):
        sighting.ends["decisions", number] -= 5


def lose_first_decision(evidence: Evidence) -> None:
    """Of a check that has another."""
    later = evidence.records["decisions"][chosen(evidence.records["decisions"], has_next)]
    name = json.loads(later.value or b"")["decisionID"].rsplit("/", 1)[0] + "/1"
    lose("decisions", lambda value: value["decisionID"] == name)(evidence)


def has_next(value: dict[str, Any]) -> bool:
    return bool(value["sequence"] == 2)


def is_alert(alert_type: str) -> Callable[[dict[str, Any]], bool]:
    return lambda value: value["type"] == alert_type


def is_volume(value: dict[str, Any]) -> bool:
    return bool(value["movementsIn"])


DEFECTS = {
    "an event was forged": ("explained", lose_event),
    "a first decision is lost": ("sequences", lose_first_decision),
    "a later decision is lost": ("final", lose_final_decision),
    "the only decision is lost": ("decided", lose_last_decision),
    "a decision is there twice": ("once", double("decisions")),
    "a decision is there with two contents": ("once", double("decisions", outcome="MAYBE")),
    "a decision repeats the one before": ("changes", repeat_with_next_sequence),
    "a decision has another outcome": (
        "explained",
        change("decisions", lambda value: value["outcome"] == "HOLD", outcome="RELEASE"),
    ),
    "a decision has other reasons": ("explained", change("decisions", reasons=["NO_DOCUMENT"])),
    "a decision has other flags": ("explained", change("decisions", flags=["STALE_DECLARATION"])),
    "a decision weighed what is not": (
        "explained",
        change(
            "decisions",
            declarations=[{"declarationNumber": "9" * 12, "version": 1, "status": "CLEARED"}],
        ),
    ),
    "a decision names a hold that is not": ("explained", change("decisions", holds=["H0"])),
    "a decision was brought about by nothing": (
        "explained",
        change("decisions", trigger={"topic": "port-events", "partition": 0, "offset": 10**6}),
    ),
    "a decision was brought about by another event": (
        "explained",
        change("decisions", trigger={"topic": "port-events", "partition": 0, "offset": 0}),
    ),
    "a sequence is left out": ("sequences", change("decisions", has_next, sequence=3)),
    "a decision on nothing": ("explained", double("decisions", unit="NOTHING", sequence=1)),
    "an alert is lost": ("alerts", lose("alerts", is_alert("DOUBLE_ENTRY"))),
    "an alert by the clock is lost": ("alerts", lose("alerts", is_alert("OVERSTAYED"))),
    "an alert is there twice": ("alerts", double("alerts")),
    "an alert for nothing": ("alerts", double("alerts", alertID="LATE_REPORT/NOTHING/TC/1")),
    "a recall is lost": ("recalls", lose("alerts", is_alert("RECALL"))),
    "a recall for nothing": ("recalls", double("alerts", alertID="RECALL/NOTHING/TC/1/2")),
    "a reject is lost": ("rejects", lose("rejects")),
    "a reject is there twice": ("rejects", double("rejects")),
    "a reject has another reason": ("rejects", change("rejects", reason="TOO_LARGE")),
    "a reject of a good record": (
        "rejects",
        change("rejects", source={"topic": "port-events", "partition": 0, "offset": 10**6}),
    ),
    "a volume is too high": ("volumes", change("volumes", is_volume, movementsIn=10**6)),
    "a cell of volumes is lost": ("volumes", lose("volumes")),
    "a cell of stock is lost": ("stock", lose("stock")),
    "stock has another quantity": ("stock", change("stock", units=10**6)),
    "an offset is not committed": ("commits", commit_less),
    "an offset was committed early": ("commits", commit_early),
    "an offset was committed before decisions": ("commits", commit_before_decisions),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(good: Evidence, name: str) -> None:
    invariant, plant = DEFECTS[name]
    evidence = copy.deepcopy(good)
    plant(evidence)
    found = {problem for problem, _ in verify(evidence).problems}
    assert invariant in found, f"found only {found or 'nothing'}"


def test_every_invariant_has_a_defect_that_breaks_it() -> None:
    assert {invariant for invariant, _ in DEFECTS.values()} == INVARIANTS.keys()
