"""The national year: true to what is known, the same for the same seed, and what it expects is
what must come out.

Method: totals are added up from the records themselves, not from the planner; what must come out
is compared with the reference model, which was written from the contract alone.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import json
import time
from collections import Counter, defaultdict
from decimal import Decimal

import cramjam
import numpy
import pytest
from aiokafka.partitioner import murmur2

from core_ext.json_rows import JsonRows
from stream.national_year import NationalYear, command
from stream.national_year.catalogue import STORIES
from stream.national_year.expectations import Expectations
from stream.national_year.operators import (
    BRVT_DEPARTMENT,
    END_MS,
    FIRST_MS,
    OPERATORS,
    REPORT_LAST_DAY,
    connected_on,
)
from stream.national_year.planner import SCALE_MAX, SCALE_MIN
from stream.national_year.templates import COLUMN_COUNT, SERIAL, unit_text
from stream.policy import CODES
from stream.replay import replay as engine_replay
from tests.reference.model import replay, write_outputs

SMALL = 0.0005
ALERTS = {
    "UNAUTHORISED_EXIT", "DOUBLE_ENTRY", "EXIT_WITHOUT_ENTRY", "LATE_REPORT", "DISCREPANCY",
    "STOCK_MISMATCH", "EXIT_RETRACTED", "RECALL", "OVERSTAYED", "TRANSIT_OVERDUE",
}  # fmt: skip
REJECTS = {
    "TOO_LARGE", "MALFORMED", "FUTURE", "MISPARTITIONED", "UNKNOWN_OPERATOR",
    "OPERATOR_NOT_CONNECTED", "OPERATOR_LOCATION",
}  # fmt: skip


@pytest.fixture(scope="module")
def year():
    return NationalYear(seed=2018, scale=SMALL)


@pytest.fixture(scope="module")
def events(year):
    return [record for part in year.port_events() for record in part.records()]


@pytest.fixture(scope="module")
def report_declarations():
    """At a hundredth: declarations for Bà Rịa–Vũng Tàu, and the year they are of."""
    hundredth = NationalYear(scale=0.01)
    return hundredth, [
        json.loads(value)
        for part in hundredth.customs_records()
        if part.topic == "declarations"
        for _, value, _, _ in part.records()
    ]


# What is known.


def test_operators_by_department_on_the_two_days_that_are_known():
    june = connected_on(datetime.date(2018, 6, 30))
    august = connected_on(datetime.date(2018, 8, 9))
    assert june == {"03": 53, "01": 3, "02": 4, "51": 14}
    assert sum(june.values()) == 74
    assert august == {"03": 55, "01": 3, "02": 4, "51": 18, "20": 1}
    assert sum(august.values()) == 81


def test_four_waves_begin_with_the_container_port_and_the_petroleum_port():
    brvt = [item for item in OPERATORS if item.department_code == BRVT_DEPARTMENT]
    first = [item for item in brvt if item.wave == 1]
    assert {item.wave for item in brvt if item.connected <= REPORT_LAST_DAY} == {1, 2, 3, 4}
    assert [(item.name, item.cargo) for item in first] == [
        ("Cảng quốc tế Cái Mép (CMIT)", ("CONTAINER",)),
        ("Cảng xăng dầu Hải Linh", ("LIQUID",)),
    ]
    assert min(item.connected for item in brvt) == first[0].connected == first[1].connected


def test_totals_of_the_nation_are_exact():
    expected = NationalYear(scale=1).expectations()
    table = expected.volumes.table()

    def total(direction, unit_type, which):
        return sum(sums[which] for key, sums in table.items() if key[1:] == (direction, unit_type))

    assert total("IMPORT", "CONTAINER", 0) == 1_473_000
    assert total("EXPORT", "CONTAINER", 0) == 1_058_000
    assert total("IMPORT", "PACKAGES", 1) == 13_400_000
    assert total("EXPORT", "PACKAGES", 1) == 28_500_000
    assert total("IMPORT", "BULK", 2) > 0
    assert total("IMPORT", "LIQUID", 2) > 0
    assert 7_500_000 < expected.event_count < 8_500_000
    assert expected.decision_count > 2_400_000
    half_year = expected.volumes.table(datetime.date(2018, 1, 1), REPORT_LAST_DAY)
    brvt = {key: sums for key, sums in half_year.items() if key[0] == BRVT_DEPARTMENT}
    assert sum(sums[5] for key, sums in brvt.items() if key[1] == "EXPORT") == 2_400_000 * 10**6
    assert sum(sums[2] for key, sums in brvt.items() if key[1] == "IMPORT") == 1_400_000 * 10**6
    before = expected.volumes.table(last=datetime.date(2017, 12, 31))
    assert not [key for key in before if key[0] == BRVT_DEPARTMENT]


def test_the_reported_half_year_has_its_declarations(report_declarations):
    year, declarations = report_declarations
    brvt = {item.location_code for item in OPERATORS if item.department_code == BRVT_DEPARTMENT}
    units = set()
    department = {item.operator_id: item.department_code for item in OPERATORS}
    for part in year.port_events():
        for _, value, timestamp_ms, _ in part.records():
            if timestamp_ms < 1_530_378_000_000 and b'"VTU' in value:  # before 1 July 2018
                event = json.loads(value)
                assert department[event["operatorID"]] == BRVT_DEPARTMENT
                units.add(event["unit"])
    found = [
        item
        for item in declarations
        if item["locationCode"] in brvt and any(line["unit"] in units for line in item["units"])
    ]
    assert len(found) == 19


def test_totals_hold_at_smaller_scales_and_for_other_seeds(events):
    entered = Counter()
    for key, value, _, _ in events:
        if b'"eventType":"GET_IN"' in value and b'"direction":"EXPORT"' in value:
            event = json.loads(value)
            if event["unitType"] == "PACKAGES":
                entered[key] += event["pieces"]
    assert sum(entered.values()) == round(28_500_000 * SMALL)
    one = NationalYear(seed=1, scale=SMALL).expectations().volumes.table()
    two = NationalYear(seed=2, scale=SMALL).expectations().volumes.table()
    assert one != two
    for direction, boxes in (("IMPORT", 1_473_000), ("EXPORT", 1_058_000)):
        for table in (one, two):
            assert sum(
                sums[0] for key, sums in table.items() if key[1:] == (direction, "CONTAINER")
            ) == round(boxes * SMALL)


def test_every_row_alert_and_reject_happens(year):
    expected = year.expectations()
    assert set(expected.reasons) | set(expected.flags) == set(CODES)
    assert set(expected.alerts) == ALERTS
    assert set(expected.rejects) == REJECTS


# Records.


def test_the_same_seed_gives_the_same_bytes(events):
    again = [r for part in NationalYear(2018, SMALL).port_events() for r in part.records()]
    assert again == events
    other = [r for part in NationalYear(2019, SMALL).port_events() for r in part.records()]
    assert len(other) == len(events)
    assert other != events


def test_slices_follow_one_another_in_time():
    newest = 0
    count = 0
    year = NationalYear(scale=0.02)
    parts = list(year.port_events())
    assert len(parts) > 2
    for part in parts:
        assert part.timestamps_ms.min() >= newest
        newest = part.timestamps_ms.max()
        count += len(part)
        for _, low, high in part.by_partition():
            assert (numpy.diff(part.timestamps_ms[low:high]) >= 0).all()
    assert count == year.event_count
    assert parts[0].timestamps_ms.min() >= FIRST_MS
    assert newest < END_MS


def test_partitions_are_kafkas(year, events):
    misrouted = 0
    for key, _, _, partition in events:
        misrouted += partition != (murmur2(key) & 0x7FFFFFFF) % 12
    assert misrouted == year.expectations().rejects["MISPARTITIONED"] > 0


def test_by_partition_covers_every_record(year):
    for part in [*year.customs_records(5), *year.port_events(5)]:
        covered = [
            (partition, index)
            for partition, low, high in part.by_partition()
            for index in range(low, high)
        ]
        assert covered == [(int(p), i) for i, p in enumerate(part.partitions)]


def test_customs_comes_in_its_final_state_under_its_own_keys(year):
    last = {}
    for part in year.customs_records():
        for key, value, timestamp_ms, _ in part.records():
            assert timestamp_ms < FIRST_MS
            last[part.topic, key] = json.loads(value)
    names = {"operators": "operatorID", "declarations": "declarationNumber", "holds": "holdID"}
    wrong = [key for (topic, key), value in last.items() if value[names[topic]] != key.decode()]
    # One story is about exactly that, and compaction must not let it take anything away.
    assert len(wrong) == 1
    topics = Counter(topic for topic, _ in last)
    assert topics["operators"] == len(OPERATORS)
    assert topics["holds"] > 10


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match=f"seed {seed}"):
        NationalYear(seed=seed)


@pytest.mark.parametrize("scale", [0, SCALE_MIN / 2, SCALE_MAX * 1.01, float("nan")])
def test_scales_out_of_range_are_refused(scale):
    with pytest.raises(ValueError, match="scale"):
        NationalYear(scale=scale)


@pytest.mark.parametrize("scale", [SCALE_MIN, 0.0002, 0.001])
def test_the_smallest_years_can_be_planned(scale):
    assert NationalYear(scale=scale).expectations().event_count > 1_000


def test_story_names_are_their_own():
    names = [story.name for story in STORIES]
    assert len(set(names)) == len(names)


# What must come out, by the reference model.


def grams(text):
    return int(Decimal(text) * 1000)


def outputs(directory):
    """Everything a replay wrote, in the shape of the expectations."""

    def lines(name):
        return [json.loads(line) for line in (directory / name).open(encoding="utf-8")]

    def rows(name):
        return csv.DictReader((directory / name).open(encoding="utf-8", newline=""))

    decisions, alerts, rejects = map(lines, ("decisions.ndjson", "alerts.ndjson", "rejects.ndjson"))
    volumes = {}
    for row in rows("volumes.csv"):
        day = datetime.date.fromisoformat(row["day"]).toordinal()
        volumes[row["operatorID"], day, row["direction"], row["unitType"]] = (
            int(row["movementsIn"]), int(row["piecesIn"]), grams(row["weightKgIn"]),
            int(row["movementsOut"]), int(row["piecesOut"]), grams(row["weightKgOut"]),
        )  # fmt: skip
    stock = {
        (row["locationCode"], row["direction"], row["unitType"], row["age"]): (
            int(row["units"]), int(row["pieces"]), grams(row["weightKg"]),
        )
        for row in rows("stock.csv")
    }  # fmt: skip
    return decisions, alerts, rejects, volumes, stock


def assert_as_expected(expected: Expectations, decisions, alerts, rejects, volumes, stock):
    assert Counter(item["outcome"] for item in decisions) == expected.outcomes
    assert Counter(code for item in decisions for code in item["reasons"]) == expected.reasons
    assert Counter(code for item in decisions for code in item["flags"]) == expected.flags
    assert Counter(item["type"] for item in alerts) == expected.alerts
    assert Counter(item["reason"] for item in rejects) == expected.rejects
    assert volumes == dict(expected.volumes.rows())
    assert stock == expected.stock.table(expected.clock_ms)


def test_the_model_says_what_the_year_expects(year, tmp_path):
    log = tmp_path / "year.ndjson"
    expected = year.expectations(log=True)
    assert year.write_log(log) == expected.event_count + expected.customs_count
    write_outputs(replay(log), tmp_path)
    found = outputs(tmp_path)
    assert_as_expected(expected, *found)
    # And story by story, unit by unit, in order.
    by_unit = defaultdict(list)
    for item in found[0]:
        by_unit[item["unit"]].append(
            (item["outcome"], tuple(item["reasons"]), tuple(item["flags"]))
        )
    for planned in year._plan.stories:
        wanted = [(d.outcome, d.reasons, d.flags) for d in planned.story.decisions]
        visits = planned.plan(0, planned.visits)
        columns = numpy.zeros((COLUMN_COUNT, planned.visits), numpy.int64)
        columns[SERIAL] = visits.serial
        for unit in range(planned.story.units):
            names, offsets = JsonRows([unit_text(planned.story, unit, as_key=True)]).write(
                columns, numpy.zeros(planned.visits, numpy.uint16), numpy.arange(planned.visits)
            )
            for index in range(planned.visits):
                name = bytes(names[offsets[index] : offsets[index + 1]]).decode()
                assert by_unit[name] == wanted, planned.story.name


def test_the_engine_says_what_the_year_expects_at_a_hundredth(tmp_path):
    hundredth = NationalYear(scale=0.01)
    log = tmp_path / "year.ndjson"
    hundredth.write_log(log)
    engine_replay(log, tmp_path / "out")
    assert_as_expected(hundredth.expectations(log=True), *outputs(tmp_path / "out"))


def log_lines(schedule):
    """(timestamp, line) of each record of a live schedule."""
    for index in range(len(schedule)):
        key = schedule.keys[schedule.key_offsets[index] : schedule.key_offsets[index + 1]]
        value = schedule.values[schedule.value_offsets[index] : schedule.value_offsets[index + 1]]
        timestamp_ms = int(schedule.timestamps_ms[index])
        topic = schedule.topics[int(schedule.topic[index])].encode()
        yield timestamp_ms, b'{"topic":"%s","timestamp":%d,"key":"%s","value":%s}\n' % (
            topic, timestamp_ms, bytes(key), bytes(value),
        )  # fmt: skip


def test_the_model_says_what_the_live_phase_expects(year, tmp_path):
    counts = {"port-events": 12, "declarations": 3, "holds": 3}
    plan = year.live_plan(10, 400, counts)
    start_ms = time.time_ns() // 1_000_000
    live = plan.at(start_ms)
    log = tmp_path / "live.ndjson"
    year.write_log(log)
    with log.open("ab") as file:
        file.writelines(line for _, line in log_lines(live.declared))
        meanwhile = [*log_lines(live.events), *log_lines(live.customs)]
        meanwhile.sort(key=lambda item: item[0])
        file.writelines(line for _, line in meanwhile)
    write_outputs(replay(log), tmp_path)
    decisions, alerts, rejects, volumes, _ = outputs(tmp_path)
    before, after = year.expectations(log=True), live.expectations
    for name, found in (
        ("outcomes", Counter(item["outcome"] for item in decisions)),
        ("reasons", Counter(code for item in decisions for code in item["reasons"])),
        ("flags", Counter(code for item in decisions for code in item["flags"])),
        ("rejects", Counter(item["reason"] for item in rejects)),
    ):
        assert found == getattr(before, name) + getattr(after, name)
    late = before.alerts_at(after.clock_ms)
    assert Counter(item["type"] for item in alerts) == late + after.alerts
    assert late["OVERSTAYED"] > before.alerts["OVERSTAYED"]
    assert volumes == dict(before.volumes.rows()) | dict(after.volumes.rows())
    assert after.alerts["RECALL"] > 0


def test_the_live_schedule_is_open_and_even(year):
    plan = year.live_plan(4, 1_000, {"port-events": 12, "declarations": 3, "holds": 3})
    live = plan.at(1_600_000_000_000)
    due = numpy.sort(live.events.due_ms)
    assert 0.9 * 4_000 < len(due) <= 4_000
    per_second = numpy.bincount(due // 1_000)
    assert per_second.max() - per_second.min() <= 0.02 * per_second.max()
    assert (live.events.timestamps_ms == live.events.due_ms + 1_600_000_000_000).all()
    for schedule in (live.events, live.customs, live.declared):
        lanes = list(schedule.lanes())
        assert len({(topic, partition) for topic, partition, _, _ in lanes}) == len(lanes)
        sent = []
        for topic, partition, low, high in lanes:
            assert (schedule.partitions[low:high] == partition).all()
            assert {schedule.topics[index] for index in schedule.topic[low:high]} == {topic}
            assert (numpy.diff(schedule.due_ms[low:high]) >= 0).all()
            sent += range(low, high)
        assert sent == list(range(len(schedule)))


def test_customs_words_lie_between_the_events_they_are_about(year):
    plan = year.live_plan(10, 5_000, {"port-events": 8, "declarations": 4, "holds": 4})
    assert plan.gap_ms_min > 1_000


# The command.


def test_a_log_may_be_compressed(year, tmp_path):
    plain, zipped, packed = (tmp_path / f"y.ndjson{ending}" for ending in ("", ".gz", ".zst"))
    for path in (plain, zipped, packed):
        year.write_log(path)
    text = plain.read_bytes()
    assert gzip.decompress(zipped.read_bytes()) == text
    assert bytes(cramjam.zstd.decompress(packed.read_bytes())) == text
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "y.ndjson", "y.ndjson.gz", "y.ndjson.zst",
    ]  # fmt: skip


def run_command(arguments, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    status = command.run(parser.parse_args(arguments))
    return status, capsys.readouterr().err


def test_the_command_writes_a_log(tmp_path, capsys):
    out = tmp_path / "log.ndjson"
    status, words = run_command(["--scale", "0.0002", "--out", str(out)], capsys)
    assert status == 0
    assert f"{len(out.read_bytes().splitlines()):,} lines" in words


def test_the_command_refuses_a_scale_in_one_line(tmp_path, capsys):
    status, words = run_command(["--scale", "11", "--out", str(tmp_path / "log")], capsys)
    assert status == 2
    assert words.count("\n") == 1
    assert "scale 11" in words
    assert not list(tmp_path.iterdir())
