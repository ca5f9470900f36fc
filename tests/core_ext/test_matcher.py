"""The matcher as the worker uses it: partitions, restoring, taking over, clocks, outputs.

What the rules say is tested against the reference model (test_engine_against_model.py) and the
table of cases (test_rules_table.py); here is what a replay has no use for.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from core_ext.matcher import LogLineError, Matcher
from core_ext.record_batch import RecordRun
from stream.engine import DECLARATIONS, HOLDS, OPERATORS, PORT_EVENTS, make_matcher
from stream.policy import load_policy

DAY_MS = 86_400_000
NOON_MS = 1_533_814_400_000  # 2018-08-09T11:33:20Z
UNIT = "CSQU3054383"
PARTITIONS = 4
PARTITION = (murmur2(UNIT.encode()) & 0x7FFFFFFF) % PARTITIONS


def run(*records: tuple[str | None, dict[str, Any] | bytes | None, int]) -> RecordRun:
    """A run of (key, value, timestamp) with offsets from 0."""
    return RecordRun.from_records(
        [
            (
                None if key is None else key.encode(),
                json.dumps(value).encode() if isinstance(value, dict) else value,
                offset,
                timestamp,
            )
            for offset, (key, value, timestamp) in enumerate(records)
        ]
    )


def operator(status: str = "CONNECTED", version: int = 1) -> dict[str, Any]:
    return {
        "operatorID": "OP", "name": "Cảng", "kind": "SEAPORT", "departmentCode": "03",
        "departmentName": "Hải Phòng", "locations": ["L1"], "status": status, "version": version,
    }  # fmt: skip


def declaration(status: str = "CLEARED", version: int = 1) -> dict[str, Any]:
    return {
        "declarationNumber": "100000000001", "version": version, "direction": "IMPORT",
        "status": status, "registeredDateTime": "2018-08-01T00:00:00Z", "locationCode": "L1",
        "units": [{"unit": UNIT, "unitType": "CONTAINER"}],
    }  # fmt: skip


def event(event_id: str, event_type: str, hour: int, **more: Any) -> dict[str, Any]:
    return {
        "eventID": event_id, "eventType": event_type,
        "eventDateTime": f"2018-08-09T{hour:02}:00:00Z", "operatorID": "OP",
        "locationCode": "L1", "unitType": "CONTAINER", "unit": UNIT, "direction": "IMPORT",
    } | more  # fmt: skip


def worker_matcher() -> Matcher:
    matcher = make_matcher(load_policy(), partition_count=PARTITIONS)
    matcher.apply(OPERATORS, 0, run(("OP", operator(), 1)), NOON_MS * 1000)
    return matcher


def published(matcher: Matcher, kind: str) -> list[dict[str, Any]]:
    taken = {
        "decisions": matcher.take_decisions,
        "alerts": matcher.take_alerts,
        "rejects": matcher.take_rejects,
    }[kind]()
    return [json.loads(value) for _, value, _, _ in taken]


def test_decision_goes_to_the_partition_of_its_unit_whatever_caused_it() -> None:
    matcher = worker_matcher()
    matcher.apply(PORT_EVENTS, PARTITION, run((UNIT, event("E", "GATE_CHECK", 11), NOON_MS)), 1)
    matcher.apply(DECLARATIONS, 1, run(("100000000001", declaration(), 7)), 2)
    decisions = list(matcher.take_decisions())
    assert [(key, partition) for key, _, partition, _ in decisions] == [
        (UNIT.encode(), PARTITION)
    ] * 2
    assert [timestamp for *_, timestamp in decisions] == [NOON_MS, 7]
    causes = [json.loads(value)["trigger"]["topic"] for _, value, _, _ in decisions]
    assert causes == ["port-events", "declarations"]


def test_wrong_partition_is_rejected_with_its_source() -> None:
    matcher = worker_matcher()
    wrong = (PARTITION + 1) % PARTITIONS
    matcher.apply(PORT_EVENTS, wrong, run((UNIT, event("E", "GATE_CHECK", 11), NOON_MS)), 1)
    (reject,) = published(matcher, "rejects")
    assert (reject["reason"], reject["field"]) == ("MISPARTITIONED", "unit")
    assert reject["source"] == {"topic": "port-events", "partition": wrong, "offset": 0}
    assert not published(matcher, "decisions")


def test_restored_partition_says_nothing_twice_and_goes_on_counting() -> None:
    """A second worker takes over: events, decisions and alerts come back, then customs speaks."""
    events = run(
        (UNIT, event("I", "GET_IN", 9), NOON_MS),
        (UNIT, event("E", "GATE_CHECK", 10), NOON_MS),
        (UNIT, event("D", "DISCREPANCY", 10), NOON_MS),
    )
    first = worker_matcher()
    first.apply(PORT_EVENTS, PARTITION, events, NOON_MS * 1000)
    first.apply(DECLARATIONS, 0, run(("100000000001", declaration(), 7)), NOON_MS * 1000)
    decisions, alerts = list(first.take_decisions()), list(first.take_alerts())
    assert len(decisions) == 2 and len(alerts) == 1

    second = worker_matcher()
    second.apply(DECLARATIONS, 0, run(("100000000001", declaration(), 7)), NOON_MS * 1000)
    second.restore_events(PARTITION, events, silent=True)
    assert second.restore_alerts(run(*((UNIT, value, 0) for _, value, _, _ in alerts))) == 1
    assert second.restore_decisions(run(*((UNIT, value, 0) for _, value, _, _ in decisions))) == 2
    second.take_over(PARTITION, NOON_MS * 1000)
    assert not published(second, "decisions") and not published(second, "alerts")
    assert second.volumes(PARTITION) == first.volumes(PARTITION)

    # The discrepancy is corrected: the alert of its ID was raised before the hand-over.
    corrected = event("D", "DISCREPANCY", 10, eventUpdatedDateTime="2018-08-09T11:00:00Z")
    second.apply(PORT_EVENTS, PARTITION, run((UNIT, corrected, NOON_MS)), NOON_MS * 1000)
    assert not published(second, "alerts")
    second.apply(DECLARATIONS, 0, run(("100000000001", declaration("CANCELLED", 2), 8)), 1)
    (decision,) = published(second, "decisions")
    assert (decision["sequence"], decision["outcome"]) == (3, "HOLD")
    (alert,) = published(second, "alerts")
    assert alert["alertID"] == f"RECALL/{UNIT}/OP/E/3"


def test_an_alert_that_came_back_does_not_silence_that_of_another_place() -> None:
    """A container had overstayed at L1; its entry was then corrected to L2, where it overstays
    later. Whoever reads the first alert back must still raise the second."""
    places = operator(version=2) | {"locations": ["L1", "L2"]}
    entry = run((UNIT, event("I", "GET_IN", 9), NOON_MS))
    later_ms = NOON_MS + 91 * DAY_MS
    moved = {
        "locationCode": "L2", "eventDateTime": "2018-08-19T09:00:00Z",
        "eventUpdatedDateTime": "2018-11-08T10:00:00Z",
    }  # fmt: skip
    correction = run((UNIT, event("I", "GET_IN", 9, **moved), later_ms))
    first, second = worker_matcher(), worker_matcher()
    for matcher in (first, second):
        matcher.apply(OPERATORS, 0, run(("OP", places, 1)), NOON_MS * 1000)
    first.apply(PORT_EVENTS, PARTITION, entry, NOON_MS * 1000)
    first.advance_clock(PARTITION, later_ms * 1000)
    said = [(UNIT, value, 0) for _, value, _, _ in first.take_alerts()]
    assert [json.loads(value)["alertID"] for _, value, _ in said] == [f"OVERSTAYED/{UNIT}/L1/OP/I"]

    for records in (entry, correction):
        second.restore_events(PARTITION, records, silent=True)
    assert second.restore_alerts(run(*said)) == 1
    second.take_over(PARTITION, later_ms * 1000)
    assert not published(second, "alerts")
    second.advance_clock(PARTITION, (later_ms + 10 * DAY_MS) * 1000)
    (alert,) = published(second, "alerts")
    assert alert["alertID"] == f"OVERSTAYED/{UNIT}/L2/OP/I"


def test_take_over_weighs_again_what_customs_changed_meanwhile() -> None:
    matcher = worker_matcher()
    check = run((UNIT, event("E", "GATE_CHECK", 10), NOON_MS))
    matcher.restore_events(PARTITION, check)
    matcher.take_over(PARTITION, NOON_MS * 1000)
    (decision,) = published(matcher, "decisions")
    assert decision["trigger"] is None and decision["sequence"] == 1
    assert decision["reasons"] == ["NOT_DECLARED"]


def test_customs_word_during_a_restore_waits_for_the_take_over() -> None:
    """The check's first decision was published; what customs says while only the events are back
    must not be answered with a first decision again."""
    events = run((UNIT, event("E", "GATE_CHECK", 10), NOON_MS))
    first = worker_matcher()
    first.apply(PORT_EVENTS, PARTITION, events, NOON_MS * 1000)
    decisions = list(first.take_decisions())

    second = worker_matcher()
    second.restore_events(PARTITION, events)
    second.apply(DECLARATIONS, 0, run(("100000000001", declaration(), 7)), NOON_MS * 1000)
    assert not published(second, "decisions")
    second.restore_decisions(run(*((UNIT, value, 0) for _, value, _, _ in decisions)))
    second.take_over(PARTITION, NOON_MS * 1000)
    (decision,) = published(second, "decisions")
    assert (decision["sequence"], decision["outcome"]) == (2, "RELEASE")


def test_forgotten_partition_leaves_nothing_but_customs() -> None:
    matcher = worker_matcher()
    matcher.apply(DECLARATIONS, 0, run(("100000000001", declaration(), 7)), 1)
    before = matcher.table_sizes()
    events = [
        (f"LOT{i}", event(f"E{i}", "GET_IN", 9, unit=f"LOT{i}", unitType="BULK", weightKg=5), i)
        for i in range(1000)
    ]
    for partition in range(PARTITIONS):  # three quarters are rejected, each time others
        matcher.apply(PORT_EVENTS, partition, run(*((k, e, NOON_MS) for k, e, _ in events)), 1)
    assert matcher.table_sizes()["units"] == before["units"] + 1000
    for partition in range(PARTITIONS):
        assert matcher.volumes(partition)
        matcher.forget_partition(partition)
        assert not matcher.volumes(partition) and matcher.clock_us(partition) is None
    after = matcher.table_sizes()
    assert {k: v for k, v in after.items() if k != "unit_index_bytes"} == {
        k: v for k, v in before.items() if k != "unit_index_bytes"
    }


def test_clock_of_one_partition_does_not_move_another() -> None:
    matcher = worker_matcher()
    matcher.apply(PORT_EVENTS, PARTITION, run((UNIT, event("I", "GET_IN", 9), NOON_MS)), 1)
    other = next(p for p in range(PARTITIONS) if p != PARTITION)
    matcher.advance_clock(other, (NOON_MS + 200 * DAY_MS) * 1000)
    assert not published(matcher, "alerts")
    matcher.advance_clock(PARTITION, (NOON_MS + 89 * DAY_MS) * 1000)
    assert not published(matcher, "alerts")
    matcher.advance_clock(PARTITION, (NOON_MS + 91 * DAY_MS) * 1000)
    (alert,) = published(matcher, "alerts")
    assert alert["type"] == "OVERSTAYED"
    assert alert["raisedDateTime"] == "2018-11-07T09:00:00.000000Z"
    matcher.advance_clock(PARTITION, (NOON_MS + 500 * DAY_MS) * 1000)
    assert not published(matcher, "alerts")


def test_churn_of_customs_leaves_no_trace() -> None:
    matcher = worker_matcher()
    before = matcher.table_sizes()
    hold = {
        "holdID": "H", "version": 1, "scope": "UNIT", "reference": UNIT, "reason": "CUSTOMS_SEAL",
        "seal": "S1", "state": "ACTIVE", "issuedDateTime": "2018-08-01T00:00:00Z",
    }  # fmt: skip
    aimed = hold | {"version": 2, "scope": "DECLARATION", "reference": "100000000001"}
    for _ in range(50):
        matcher.apply(HOLDS, 0, run(("H", hold, 1)), 1)
        matcher.apply(DECLARATIONS, 0, run(("100000000001", declaration(), 1)), 1)
        matcher.apply(HOLDS, 0, run(("H", aimed, 1)), 1)
        assert matcher.table_sizes()["holds"] == 1
        matcher.apply(DECLARATIONS, 0, run(("100000000001", None, 1)), 1)
        matcher.apply(HOLDS, 0, run(("H", None, 1)), 1)
    after = matcher.table_sizes()
    assert after | {"unit_index_bytes": 0} == before | {"unit_index_bytes": 0}


def test_log_line_that_is_no_record_is_named_and_the_lines_before_it_count() -> None:
    matcher = make_matcher(load_policy())
    good = json.dumps({"topic": "operators", "timestamp": 1, "key": "OP", "value": operator()})
    with pytest.raises(LogLineError) as caught:
        matcher.apply_log(f"{good}\n\n[1]\n".encode(), 10, True)
    assert caught.value.line == 12
    assert matcher.counters()["records"]["operators"] == 1


def test_piece_of_a_log_without_a_line_end_is_left_for_the_next() -> None:
    matcher = make_matcher(load_policy())
    line = json.dumps({"topic": "operators", "timestamp": 1, "key": "OP", "value": operator()})
    piece = f"{line}\n{line[:20]}".encode()
    assert matcher.apply_log(piece, 0, False) == (len(line.encode()) + 1, 1)


@pytest.mark.parametrize("partition", [-1, PARTITIONS])
def test_partition_that_is_not_there_is_refused(partition: int) -> None:
    with pytest.raises(ValueError, match=f"partition {partition}"):
        worker_matcher().apply(PORT_EVENTS, partition, run(), 1)


def test_aggregates_follow_corrections_and_empty_cells_are_tombstones() -> None:
    matcher = worker_matcher()
    unit = "LOT1"
    partition = (murmur2(unit.encode()) & 0x7FFFFFFF) % PARTITIONS

    def report(event_id: str, event_type: str, hour: int, weight: int, **more: Any) -> None:
        reported = event(
            event_id, event_type, hour, unit=unit, unitType="BULK", weightKg=weight, **more
        )
        matcher.apply(PORT_EVENTS, partition, run((unit, reported, NOON_MS)), 1)

    def cells() -> list[dict[str, Any] | None]:
        outputs = (
            matcher.take_volume_cells(partition, 5),
            matcher.take_stock_cells(partition, 5),
        )
        return [
            None if value is None else json.loads(value)
            for output in outputs
            for _, value, _, _ in output
        ]

    report("I", "GET_IN", 1, 500)
    volume, stock = cells()
    assert volume is not None and stock is not None
    assert (volume["movementsIn"], volume["gramsIn"]) == (1, 500_000)
    assert (stock["units"], stock["grams"], stock["startDay"]) == (1, 500_000, "2018-08-09")
    assert cells() == []
    report("O", "GET_OUT", 3, 200)
    report("I", "GET_IN", 1, 450, eventUpdatedDateTime="2018-08-09T05:00:00Z")
    volume, stock = cells()
    assert volume is not None and stock is not None
    assert (volume["gramsIn"], volume["gramsOut"], stock["grams"]) == (450_000, 200_000, 250_000)
    later = {"eventUpdatedDateTime": "2018-08-09T06:00:00Z", "isRetracted": True}
    report("O", "GET_OUT", 3, 200, **later)
    report("I", "GET_IN", 1, 450, **later)
    assert cells() == [None, None]
