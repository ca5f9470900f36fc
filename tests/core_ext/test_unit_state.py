"""The changelog of unit states: whatever is restored from it goes on as if nothing had happened.

Generated histories (tests/reference/generate.py) are cut at random places. A fresh Matcher gets
customs' side, the records of the log and the tail of what was published, and from there on must
say the same bytes as the one that was never interrupted.

GATEJOIN_SEED sets the seed (else a new one each run, named by whatever fails).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import numpy
import pytest
from aiokafka.partitioner import murmur2

from core_ext.matcher import Matcher, StateError
from core_ext.record_batch import FetchDecoder, OutputRun, RecordRun, crc32c, encode_columns
from stream.engine import PORT_EVENTS, make_matcher
from stream.policy import load_policy
from tests.reference.generate import history
from tests.reference.log import TOPICS, read_line
from tests.reference.model import Model, at, open_checks
from tests.reference.records import DAY, normalised, write_date_time
from tests.reference.story import declared, goods, held, operator

SEED = int(os.environ.get("GATEJOIN_SEED", int.from_bytes(os.urandom(4), "big")))
PARTITIONS = 3
NOW_US = 1_533_814_400_000_000

Record = tuple[bytes | None, bytes | None, int, int]
Published = tuple[bytes | None, bytes | None, int, int]


class Input:
    """One line of a history: a record of a partition of a topic."""

    def __init__(self, number: int, line: str) -> None:
        read = read_line(number, line.encode())
        self.topic = TOPICS.index(read.topic)
        key = None if read.key is None else read.key.encode()
        self.record: Record = (key, read.value, number, read.timestamp_ms)
        self.partition = 0
        if self.topic == PORT_EVENTS:
            self.partition = partition_of_value(read.value)

    def run(self) -> RecordRun:
        return RecordRun.from_records([self.record])

    def apply(self, matcher: Matcher) -> None:
        matcher.apply(self.topic, self.partition, self.run(), NOW_US + self.record[2])


def partition_of(name: bytes) -> int:
    return int((murmur2(name) & 0x7FFFFFFF) % PARTITIONS)


def partition_of_value(value: bytes | None) -> int:
    try:
        return partition_of(normalised(json.loads(value or b"")["unit"]).encode())
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0


def inputs_of(lines: Sequence[str]) -> list[Input]:
    return [Input(number, line) for number, line in enumerate(lines) if line.strip()]


def new_matcher() -> Matcher:
    return make_matcher(load_policy(), partition_count=PARTITIONS)


def said(matcher: Matcher) -> dict[str, list[Published]]:
    return {
        "decisions": list(matcher.take_decisions()),
        "alerts": list(matcher.take_alerts()),
        "rejects": list(matcher.take_rejects()),
    }


def tables(matcher: Matcher) -> list[Any]:
    return [
        (sorted(matcher.volumes(partition)), sorted(matcher.stock(partition)))
        for partition in range(PARTITIONS)
    ]


def run_of(records: Iterable[Published]) -> RecordRun:
    """What was taken from a Matcher, as it would be read back from its topic."""
    return RecordRun.from_records(
        [(key, value, offset, time) for offset, (key, value, _, time) in enumerate(records)]
    )


def published_of(records: Iterable[Published], partition: int) -> list[Published]:
    return [record for record in records if record[2] == partition]


def compacted(records: Sequence[Published]) -> list[Published]:
    """Only the last record of each key, where it stands."""
    last = {key: number for number, (key, *_) in enumerate(records)}
    return [record for number, record in enumerate(records) if last[record[0]] == number]


class Log:
    """The changelog of every partition, and what a commit says beside it."""

    def __init__(self) -> None:
        self.records: list[list[Published]] = [[] for _ in range(PARTITIONS)]
        self.clocks: list[int | None] = [None] * PARTITIONS

    def commit(self, matcher: Matcher) -> None:
        for partition in range(PARTITIONS):
            self.records[partition] += take(matcher.take_unit_changes(partition, 7))
            self.clocks[partition] = matcher.clock_us(partition)

    def restore(self, matcher: Matcher, random: Random) -> None:
        for partition in range(PARTITIONS):
            records = self.records[partition]
            if random.random() < 0.5:
                records = compacted(records)
            cut = random.randint(0, len(records))
            for part in (records[:cut], records[cut:]):
                matcher.restore_units(partition, run_of(part))
            clock = self.clocks[partition]
            if clock is not None:
                matcher.set_clock(partition, clock)


def forget(matcher: Matcher, days: int) -> int:
    """Forgets units that have been quiet for some days."""
    clocks = [matcher.clock_us(partition) for partition in range(PARTITIONS)]
    return sum(
        matcher.retire(partition, clock + 1 - days * DAY)
        for partition, clock in enumerate(clocks)
        if clock is not None
    )


def take(run: OutputRun) -> list[Published]:
    return list(run)


def with_customs(inputs: Iterable[Input]) -> Matcher:
    """A Matcher that has read customs' side and nothing else; it has said its rejects."""
    matcher = new_matcher()
    for one in inputs:
        if one.topic != PORT_EVENTS:
            one.apply(matcher)
    said(matcher)
    return matcher


def goes_on_alike(first: Matcher, second: Matcher, inputs: Iterable[Input], place: str) -> None:
    for one in inputs:
        one.apply(first)
        one.apply(second)
        assert said(first) == said(second), f"{place}: line {one.record[2]}"
    assert tables(first) == tables(second), place


@pytest.mark.parametrize("number", range(70))
def test_restored_units_go_on_as_if_nothing_had_happened(number: int) -> None:
    random = Random(f"{SEED}/log/{number}")
    inputs = inputs_of(history(random, random.choice((30, 100, 200))))
    cut = random.randint(0, len(inputs))
    first, log = new_matcher(), Log()
    for one in inputs[:cut]:
        one.apply(first)
        if random.random() < 0.1:
            log.commit(first)
            if random.random() < 0.3:
                forget(first, random.choice((0, 1, 5, 30)))
    log.commit(first)
    said(first)

    second = with_customs(inputs[:cut])
    log.restore(second, random)
    assert tables(first) == tables(second)
    for partition in range(PARTITIONS):
        second.take_over(partition, NOW_US)
    place = f"GATEJOIN_SEED={SEED}, history {number}, cut at {cut}"
    assert said(second) == {"decisions": [], "alerts": [], "rejects": []}, place
    # Nothing of it is to be logged again.
    assert second.table_sizes()["changed_units"] == 0
    goes_on_alike(first, second, inputs[cut:], place)


@pytest.mark.parametrize("kind", ["wide", "hot"])
def test_histories_with_many_units_or_many_events_of_one_come_back(kind: str) -> None:
    inputs = inputs_of(history(Random(f"{SEED}/{kind}"), 3000, **{kind: True}))
    first, log = new_matcher(), Log()
    random = Random(SEED)
    for one in inputs[:2000]:
        one.apply(first)
    log.commit(first)
    said(first)
    second = with_customs(inputs[:2000])
    log.restore(second, random)
    for partition in range(PARTITIONS):
        second.take_over(partition, NOW_US)
    assert not any(said(second).values())
    goes_on_alike(first, second, inputs[2000:], f"GATEJOIN_SEED={SEED}")


class Crash:
    """A worker up to its end: what it applied up to its last whole commit and since (`tail`), its
    log, what it said, its state. With `in_commit` it ended within one more commit, of which only
    the beginning was written."""

    def __init__(self, random: Random, inputs: Sequence[Input], in_commit: bool) -> None:
        self.matcher, self.log = new_matcher(), Log()
        begin = random.randint(0, len(inputs))
        self.committed = inputs[:begin]
        for one in self.committed:
            one.apply(self.matcher)
            if random.random() < 0.1:
                self.log.commit(self.matcher)
        self.log.commit(self.matcher)
        self.earlier = said(self.matcher)["decisions"]
        # Customs is silent meanwhile: what was said of its records can't be worked out again.
        events = [one for one in inputs[begin:] if one.topic == PORT_EVENTS]
        self.tail = events[: random.randint(0, 30)]
        self.said: dict[str, list[Published]] = {"decisions": [], "alerts": [], "rejects": []}
        for one in self.tail:
            one.apply(self.matcher)
            for kind, records in said(self.matcher).items():
                self.said[kind] += records
        self.rest = events[len(self.tail) :]
        for partition in range(PARTITIONS if in_commit else 0):
            changes = take(self.matcher.take_unit_changes(partition, 7))
            self.log.records[partition] += changes[: random.randint(0, len(changes))]

    def successor(self, random: Random, heard: dict[str, list[Published]]) -> Matcher:
        """Who takes over from the log and from what was heard of it."""
        matcher = with_customs(self.committed)
        self.log.restore(matcher, random)
        for partition in range(PARTITIONS):
            alerts = run_of(published_of(heard["alerts"], partition))
            rejects = run_of(published_of(heard["rejects"], partition))
            events = [one.record for one in self.tail if one.partition == partition]
            matcher.suppress_alerts(partition, alerts)
            matcher.suppress_rejects(partition, rejects)
            matcher.restore_events(partition, RecordRun.from_records(events))
            matcher.restore_alerts(alerts)
            matcher.restore_decisions(run_of(published_of(heard["decisions"], partition)))
            matcher.take_over(partition, NOW_US)
            matcher.suppressed_clear(partition)
        return matcher


@pytest.mark.parametrize("number", range(70))
def test_partly_written_log_and_the_tail_give_the_same(number: int) -> None:
    """Everything said reached its topic; of the last commit only some records did. Events applied
    again on top of newer states change nothing and say nothing."""
    random = Random(f"{SEED}/crash/{number}")
    crash = Crash(random, inputs_of(history(random, random.choice((60, 150)))), in_commit=True)
    second = crash.successor(random, crash.said)
    place = f"GATEJOIN_SEED={SEED}, history {number}"
    assert said(second) == {"decisions": [], "alerts": [], "rejects": []}, place
    assert tables(crash.matcher) == tables(second), place
    goes_on_alike(crash.matcher, second, crash.rest, place)


def open_at_the_end(inputs: Iterable[Input]) -> set[tuple[bool, str, str, str]]:
    """The open checks as the reference model sees them: (is a lot, unit, operator, event)."""
    model = Model()
    for one in inputs:
        key, value, number, timestamp = one.record
        model.apply(number, TOPICS[one.topic], timestamp, key and key.decode(), value)
    return {
        (is_lot, name, *check.identity)
        for (name, is_lot), unit in model.units.items()
        for location in {event.location for event in unit.effective()}
        for check in open_checks(at(unit.effective(), location), is_lot)
    }


def ids(records: Iterable[Published]) -> list[tuple[str, bool]]:
    """IDs of decisions, those of a container and of the lot of its name apart, or of alerts."""
    values = [json.loads(value or b"{}") for _, value, _, _ in records]
    return [
        (value.get("decisionID") or value["alertID"], value.get("unitType") == "CONTAINER")
        for value in values
    ]


def last_words(decisions: Iterable[Published]) -> dict[tuple[bool, str, str, str], list[Any]]:
    """The last decision of each check; the sequences on the way there have no gap."""
    last = {}
    sequences: dict[Any, int] = {}
    for _, value, _, _ in decisions:
        decision = json.loads(value or b"{}")
        unit, operator, event = (decision[name] for name in ("unit", "operatorID", "eventID"))
        check = (decision["unitType"] != "CONTAINER", unit, operator, event)
        sequences[check] = sequences.get(check, 0) + 1
        assert decision["sequence"] == sequences[check]
        names = ("outcome", "reasons", "flags", "declarations")
        last[check] = [decision[name] for name in names]
    return last


@pytest.mark.parametrize("number", range(70))
def test_what_was_lost_on_the_way_out_is_made_up(number: int) -> None:
    """Of what was said only a beginning reached its topic: the rest is said again, nothing twice.
    Alerts and rejects leave after the decisions before them, and a commit after all three."""
    random = Random(f"{SEED}/lost/{number}")
    crash = Crash(random, inputs_of(history(random, random.choice((60, 150)))), in_commit=False)
    kept: dict[str, list[Published]] = {"decisions": [], "alerts": [], "rejects": []}
    for partition in range(PARTITIONS):
        lost = random.choice((*kept, None))
        for kind, everything in crash.said.items():
            records = published_of(everything, partition)
            if lost in (kind, "decisions"):
                records = records[: random.randint(0, len(records))]
            kept[kind] += records
    made_up = said(crash.successor(random, kept))
    place = f"GATEJOIN_SEED={SEED}, history {number}"
    both = {kind: kept[kind] + made_up[kind] for kind in kept}
    assert len(ids(both["alerts"])) == len(set(ids(both["alerts"]))), place
    # A RECALL may be about a decision that nobody saw, and then there is none.
    assert {one for one in ids(crash.said["alerts"]) if not one[0].startswith("RECALL")} == {
        one for one in ids(both["alerts"]) if not one[0].startswith("RECALL")
    }, place
    assert sorted(value or b"" for _, value, _, _ in both["rejects"]) == sorted(
        value or b"" for _, value, _, _ in crash.said["rejects"]
    ), place
    # A check that is closed meanwhile, or retracted, may go without the words that were lost.
    open_now = open_at_the_end(crash.committed + crash.tail)
    first, second = (
        {check: last for check, last in last_words(crash.earlier + decisions).items()
         if check in open_now}
        for decisions in (crash.said["decisions"], both["decisions"])
    )  # fmt: skip
    assert first == second, place


# ------------------------------------------------------------------------------- forgetting


def test_wherever_the_log_ends_volumes_are_exact() -> None:
    """A commit that forgets units, cut after each of its records: nothing that they moved is lost
    or counted twice; and whoever goes on from there leaves a log that says the same."""
    forgotten = 0
    for number in range(12):
        random = Random(f"{SEED}/forget/{number}")
        inputs = [one for one in inputs_of(history(random, 120)) if one.topic in (0, PORT_EVENTS)]
        first, log = new_matcher(), Log()
        for one in inputs:
            one.apply(first)
            if random.random() < 0.05:
                log.commit(first)
                forgotten += forget(first, random.choice((0, 0, 3)))
        log.commit(first)
        # Two retirements in one commit, and units that changed.
        inputs[-1].apply(first)
        forgotten += forget(first, 2) + forget(first, 0)
        truth = [sorted(first.volumes(partition)) for partition in range(PARTITIONS)]
        last = [take(first.take_unit_changes(partition, 7)) for partition in range(PARTITIONS)]
        for end in range(max(len(records) for records in last) + 1):
            whole = Log()
            whole.records = [a + b[:end] for a, b in zip(log.records, last, strict=True)]
            second = with_customs(inputs)
            whole.restore(second, random)
            assert [sorted(second.volumes(p)) for p in range(PARTITIONS)] == truth, number
            for partition in range(PARTITIONS):
                second.take_over(partition, NOW_US)
            whole.commit(second)
            third = with_customs(inputs)
            whole.restore(third, random)
            assert tables(third) == tables(second), number
            assert [sorted(third.volumes(p)) for p in range(PARTITIONS)] == truth, number
    assert forgotten > 2


def event_record(unit: str, event_id: str, event_type: str, time_ms: int, offset: int) -> Record:
    value = {
        "eventID": event_id, "eventType": event_type, "operatorID": "TC",
        "eventDateTime": write_date_time(time_ms * 1000), "locationCode": "L", "unit": unit,
        "unitType": "CONTAINER", "direction": "IMPORT", "pieces": 3,
    }  # fmt: skip
    return unit.encode(), json.dumps(value).encode(), offset, time_ms


def a_registered_operator() -> Input:
    return Input(0, operator(locations=["L"]))


def test_a_year_of_churn_leaves_memory_flat_and_volumes_exact() -> None:
    """Every day other boxes come in, are checked and go out; after thirty days they are forgotten.
    Names are used again two months later, as names are."""
    matcher = new_matcher()
    a_registered_operator().apply(matcher)
    customs_only = matcher.table_sizes()
    start, day_ms = 1_533_772_800_000, 86_400_000
    sizes, moved, offset = [], 0, 0
    log: list[dict[bytes | None, Published]] = [{} for _ in range(PARTITIONS)]
    for day in range(365):
        records: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        for box in range(20):
            name = f"BOX{day % 60:02}X{box:03}"
            for step, event_type in enumerate(("GET_IN", "GATE_CHECK", "GET_OUT")):
                time = start + day * day_ms + step * 3_600_000
                record = event_record(name, f"{day}-{step}", event_type, time, offset)
                records[partition_of(name.encode())].append(record)
                offset += 1
            moved += 1
        for partition in range(PARTITIONS):
            run = RecordRun.from_records(records[partition])
            matcher.apply(PORT_EVENTS, partition, run, NOW_US)
            matcher.retire(partition, (start + (day - 30) * day_ms) * 1000)
            for record in matcher.take_unit_changes(partition, 7):
                log[partition][record[0]] = record
                if record[1] is None:
                    del log[partition][record[0]]
        said(matcher)
        sizes.append(matcher.table_sizes())
    for name in ("units", "state_bytes", "unit_index_bytes"):
        assert sizes[-1][name] == sizes[100][name], name
    assert sizes[-1]["units"] == 20 * 31
    rows = [row for partition in range(PARTITIONS) for row in matcher.volumes(partition)]
    assert (sum(row[4] for row in rows), sum(row[5] for row in rows)) == (moved, 3 * moved)
    assert (sum(row[7] for row in rows), sum(row[8] for row in rows)) == (moved, 3 * moved)
    # The log, once compacted, holds what is there and the cells, and gives the same back.
    second = new_matcher()
    a_registered_operator().apply(second)
    for partition in range(PARTITIONS):
        second.restore_units(partition, run_of(log[partition].values()))
        assert sorted(second.volumes(partition)) == sorted(matcher.volumes(partition))
    assert second.table_sizes()["units"] == matcher.table_sizes()["units"]
    # In the end everything goes.
    for partition in range(PARTITIONS):
        matcher.retire(partition, (start + 400 * day_ms) * 1000)
        matcher.take_unit_changes(partition, 7)
    assert matcher.table_sizes()["state_bytes"] == customs_only["state_bytes"]
    assert matcher.table_sizes()["units"] == 0


def test_a_million_changes_at_steady_population_leave_memory_flat() -> None:
    """A year in small: 700 boxes a day come in, are checked, go out, and are forgotten after thirty
    days. From one day to the next the same blocks of the same sizes are freed and taken, so that
    every figure is the same to the byte after each day."""
    boxes, names_for_days = 700, 60
    start_ms, day_ms = 1_533_772_800_000, 86_400_000
    written_date = b"2018-08-09"
    texts = []
    for group in range(names_for_days):
        records = [
            event_record(f"B{group:02}X{box:03}", f"{event_type}-2018-08-09", event_type,
                         start_ms + step * 3_600_000, 0)
            for box in range(boxes)
            for step, event_type in enumerate(("GET_IN", "GATE_CHECK", "GET_OUT"))
        ]  # fmt: skip
        keys, values, _, times_ms = zip(*records, strict=True)
        texts.append((values, keys, numpy.array(times_ms)))
    matcher = make_matcher(load_policy(), partition_count=1)
    a_registered_operator().apply(matcher)
    changes, after_warming = 0, None
    for day in range(365):
        values, keys, times_ms = texts[day % names_for_days]
        date = str(numpy.datetime64("2018-08-09") + day).encode()
        for batch in encode_columns(
            b"".join(values).replace(written_date, date), offsets_of(values),
            b"".join(keys), offsets_of(keys), times_ms + day * day_ms,
        ):  # fmt: skip
            for run in FetchDecoder(batch):
                matcher.apply(PORT_EVENTS, 0, run, NOW_US)
                changes += len(run)
        before = matcher.table_sizes()["units"]
        for _ in range(6):  # each looks at a piece of the table, and forgets 512 units at most
            matcher.retire(0, (start_ms + (day - 30) * day_ms) * 1000)
        changes += before - matcher.table_sizes()["units"]
        list(matcher.take_unit_changes(0, 7))
        assert not said(matcher)["rejects"]
        if day == 100:
            after_warming = matcher.table_sizes()
        elif day > 100:
            assert matcher.table_sizes() == after_warming, day
    assert after_warming is not None and after_warming["units"] == 31 * boxes
    assert changes >= 1_000_000


def offsets_of(texts: Sequence[bytes]) -> numpy.ndarray:
    """Where each text begins when they stand one behind the other, and the end; int64."""
    return numpy.cumsum([0, *map(len, texts)])


@pytest.mark.parametrize(
    ("what", "forgotten"),
    [
        ("gone", 1), ("in stock", 0), ("open check", 0), ("declared", 0), ("held", 0),
        ("not yet logged", 0), ("spoken since", 0), ("clock ahead", 0),
    ],
)  # fmt: skip
def test_what_may_be_forgotten(what: str, forgotten: int) -> None:
    box, start = "CSQU3054383", 1_533_772_800_000
    partition, hour = partition_of(box.encode()), 3_600_000
    matcher = new_matcher()
    a_registered_operator().apply(matcher)
    steps = ["GET_IN", "GATE_CHECK", "GET_OUT"]
    if what == "in stock":
        steps = ["GET_IN"]
    if what == "open check":
        steps = ["GET_IN", "GET_OUT", "GATE_CHECK"]
    records = [
        event_record(box, event_type, event_type, start + number * hour, number)
        for number, event_type in enumerate(steps)
    ]
    if what == "spoken since":
        records.append(event_record(box, "D", "DISCREPANCY", start + 9 * 24 * hour, 9))
    if what == "clock ahead":
        late = event_record(box, "D", "DISCREPANCY", start + 9 * 24 * hour, 9)
        value = (late[1] or b"").replace(b'"eventID"', b'"eventCreatedDateTime":' + json.dumps(
            write_date_time(start * 1000)).encode() + b',"eventID"')  # fmt: skip
        records.append((late[0], value, 9, start))
    matcher.apply(PORT_EVENTS, partition, RecordRun.from_records(records), NOW_US)
    if what == "declared":
        Input(0, declared("100000000001", goods(box, unitType="CONTAINER"))).apply(matcher)
    if what == "held":
        Input(0, held(on=box, state="LIFTED")).apply(matcher)
    if what != "not yet logged":
        matcher.take_unit_changes(partition, 7)
    assert matcher.retire(partition, (start + 24 * hour) * 1000) == forgotten
    assert not said(matcher)["rejects"]
    keys = [(key, value is None) for key, value, *_ in matcher.take_unit_changes(partition, 7)]
    assert ((b"C" + box.encode(), True) in keys) == bool(forgotten)
    assert matcher.retire(partition, (start + 24 * hour) * 1000) == 0 or what == "not yet logged"


# ------------------------------------------------------------------------------- the records


def a_log(size: int = 400) -> tuple[list[Input], list[list[Published]]]:
    inputs = inputs_of(history(Random(5), size))
    matcher, log = new_matcher(), Log()
    for one in inputs:
        one.apply(matcher)
    for partition in range(PARTITIONS):
        log.records[partition] = take(matcher.take_unit_changes(partition, 7))
    return inputs, log.records


def framed(payload: bytes, version: int = 1) -> bytes:
    return bytes([version]) + crc32c(payload).to_bytes(4, "little") + payload


def test_a_unit_is_taken_once_however_often_it_changed() -> None:
    inputs, records = a_log()
    keys = [key for of_partition in records for key, *_ in of_partition]
    assert len(keys) == len(set(keys)) > 1
    matcher = new_matcher()
    for one in inputs:
        one.apply(matcher)
    sizes = [0] * PARTITIONS
    for partition in range(PARTITIONS):
        while taken := take(matcher.take_unit_changes(partition, 7, bytes_max=1)):
            sizes[partition] += len(taken)
        assert not take(matcher.take_unit_changes(partition, 7))
    assert sizes == [len(of_partition) for of_partition in records]


def test_a_taking_comes_to_an_end_though_units_change_all_the_time() -> None:
    """It covers what had changed at its beginning; what changes meanwhile is for the next one."""
    matcher, serial = new_matcher(), itertools.count(1)
    a_registered_operator().apply(matcher)
    names = (f"TEMU{number:07d}" for number in itertools.count())
    boxes = list(itertools.islice((name for name in names if not partition_of(name.encode())), 200))
    covered, others = boxes[:100], boxes[100:]

    def move(units: Iterable[str]) -> None:
        records = []
        for number, unit in zip(serial, units, strict=False):
            time_ms = 1_533_800_000_000 + number * 60_000
            records.append(event_record(unit, f"E{number}", "GET_IN", time_ms, number))
        matcher.apply(PORT_EVENTS, 0, RecordRun.from_records(records), NOW_US)

    def piece(bytes_max: int) -> list[str]:
        taken = matcher.take_unit_changes(0, 7, bytes_max)
        return [bytes(key or b"")[1:].decode() for key, *_ in taken]

    move(covered)
    assert not matcher.is_taking(0)
    found = piece(bytes_max=1)
    assert 0 < len(found) < len(covered) and matcher.is_taking(0)
    taken_and_moved, waiting_and_moved = found[0], (set(covered) - set(found)).pop()
    while matcher.is_taking(0):
        move([*others, taken_and_moved, waiting_and_moved])
        found += piece(bytes_max=1)
    assert sorted(found) == sorted(covered)
    count = matcher.table_sizes()["changed_units"]
    left = piece(bytes_max=0)
    assert len(left) == count
    assert {*others, taken_and_moved} <= set(left) <= {*others, taken_and_moved, waiting_and_moved}
    assert len(left) == len(set(left))
    assert not matcher.is_taking(0) and not piece(bytes_max=0)


def test_a_replay_tracks_nothing() -> None:
    matcher = make_matcher(load_policy())
    matcher.apply_log("\n".join(history(Random(5), 400)).encode(), 0, True)
    assert matcher.table_sizes()["changed_units"] == 0
    with pytest.raises(ValueError, match="replay"):
        matcher.restore_units(0, run_of([]))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, b"", "no key"),
        (b"", b"", "no key"),
        (b"?A", b"", "kind"),
        (b"C", b"", "name"),
        (b"Ca", b"", "name"),
        (b"L" + b"A" * 36, b"", "name"),
        (b"L\xff", None, "name"),
        (b"LA", b"\x01\x00\x00", "shorter"),
        (b"LA", framed(b"", 2), "version"),
        (b"LA", b"\x01\x00\x00\x00\x00\x01", "checksum"),
        (b"LA", framed(b""), "names"),
        (b"LA", framed(b"\x00\x00\x00\x00"), "without events"),
        (b"LA", framed(b"\x00\x00\x00\x00\x00"), "end"),
        (b"LA", framed(b"\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"), "end"),
        (b"LA", framed(b"\x00\xff\xff\xff\x7f"), "names"),
    ],
)
def test_record_that_is_none_is_named(key: bytes | None, value: bytes | None, reason: str) -> None:
    matcher = new_matcher()
    partition = partition_of((key or b"")[1:])
    with pytest.raises(StateError, match=reason) as caught:
        matcher.restore_units(partition, RecordRun.from_records([(key, value, 0, 0)]))
    assert caught.value.key == key
    assert matcher.table_sizes()["units"] == 0


def test_unit_of_another_partition_is_refused() -> None:
    _, records = a_log()
    record = next(r for of_partition in records for r in of_partition)
    with pytest.raises(StateError, match="another partition"):
        new_matcher().restore_units((record[2] + 1) % PARTITIONS, run_of([record]))


def test_the_partitions_own_record_is_passed_over() -> None:
    assert new_matcher().restore_units(0, run_of([(b"P", b"anything", 0, 0)])) == 0


def test_a_damaged_record_leaves_the_state_alone() -> None:
    """Every single byte changed, and every shorter length: refused, and nothing of it taken; the
    good record before it is."""
    _, records = a_log()
    partition = max(range(PARTITIONS), key=lambda p: len(records[p]))
    good, other = records[partition][:2]
    value = other[1] or b""
    matcher = new_matcher()
    matcher.restore_units(partition, run_of([*records[partition][2:], good]))
    before = (matcher.table_sizes(), tables(matcher))
    damaged = [value[:place] + bytes([value[place] ^ 16]) + value[place + 1 :]
               for place in range(len(value))]  # fmt: skip
    damaged += [value[:length] for length in range(len(value))]
    for bad in damaged:
        with pytest.raises(StateError) as caught:
            matcher.restore_units(partition, run_of([good, (other[0], bad, 0, 0)]))
        assert caught.value.key == other[0]
    assert (matcher.table_sizes(), tables(matcher)) == before


def test_payloads_that_only_look_right_do_no_harm() -> None:
    """Damage under a checksum that fits: taken or refused, the Matcher goes on either way, and
    what it took it writes and reads again."""
    random = Random(f"{SEED}/payload")
    inputs, records = a_log()
    matcher = with_customs(inputs)
    taken = 0
    for _ in range(3000):
        key, value, partition, _ = random.choice(random.choice([r for r in records if r]))
        payload = bytearray((value or b"")[5:])
        for _ in range(random.choice((1, 1, 2, 5))):
            place = random.randrange(len(payload))
            payload[place] = random.choice((0, 1, 127, 128, 255, payload[place] ^ 1))
        if random.random() < 0.2:
            del payload[random.randrange(len(payload)) :]
        record = [(key, framed(bytes(payload)), 0, 0)]
        try:
            taken += matcher.restore_units(partition, run_of(record))
        except StateError:
            continue
    assert taken > 100
    for partition in range(PARTITIONS):
        matcher.take_over(partition, NOW_US)
    for one in inputs:
        one.apply(matcher)
    log = Log()
    log.commit(matcher)
    log.restore(with_customs(inputs), random)


def test_an_operator_that_is_no_longer_registered_keeps_its_events() -> None:
    """Its name comes from the log; its events are refused as those of a stranger."""
    inputs, records = a_log()
    matcher = new_matcher()
    for partition in range(PARTITIONS):
        matcher.restore_units(partition, run_of(records[partition]))
    full = with_customs(inputs)
    for partition in range(PARTITIONS):
        full.restore_units(partition, run_of(records[partition]))
    assert tables(matcher) == tables(full)
    event = next(one for one in inputs if one.topic == PORT_EVENTS and one.record[1])
    event.apply(matcher)
    (reject,) = said(matcher)["rejects"]
    assert json.loads(reject[1] or b"{}")["reason"] in ("UNKNOWN_OPERATOR", "MALFORMED")
