"""The demo: that it says the truth, that it cleans up, and that mishaps are one line.

Method: the command itself as a process, on the session's broker where one will do and on its own
where its broker is what is tested; the tables and comparisons apart.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from stream import demo
from stream.demo_report import (
    VOLUME_COLUMNS,
    Check,
    box,
    check_connected,
    national_report,
    outcome_table,
    percentile,
    stock_of,
    volumes_of,
)
from stream.demo_traffic import _essence, _moment_ms
from stream.national_year import Expectations, NationalYear

WAIT_S_MAX = 180.0
RUN_S_MAX = 240.0


def start(arguments, **environment):
    known = {name: value for name, value in os.environ.items() if name != "GATEJOIN_BROKER"}
    return subprocess.Popen(
        [sys.executable, "-m", "stream", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=known | environment,
    )


def finish(process):
    out, errors = process.communicate(timeout=RUN_S_MAX)
    return process.returncode, out, errors


def descendants(pid):
    """Process ids started by ``pid`` and by those that it started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def commands(pids):
    """Command lines of those of ``pids`` that still run."""
    found = {}
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found[pid] = b" ".join(words).decode(errors="replace")
    return found


def wait_until(condition, what):
    deadline = time.monotonic() + WAIT_S_MAX
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.1)  # between two looks, not instead of one
    return value


def read_until(process, words):
    """Reads standard output up to the line with ``words``."""
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            return seen
    raise AssertionError(f"never said {words!r}: {seen} {process.stderr.read()}")


# The whole of it.


@pytest.mark.slow
def test_a_hundredth_of_the_year_comes_out_as_expected(kafka):
    status, out, errors = finish(start(["--scale", "0.01"], GATEJOIN_BROKER=kafka))
    # A starved broker may be late; then it is waited for, and nothing else may be said.
    assert [line for line in errors.splitlines() if not line.endswith("; waiting on")] == []
    assert "DIFFERS" not in out
    assert "all as expected" in out
    assert "74 on 2018-06-30, 81 on 2018-08-09" in out
    for figure in ("customs side", "the year's events", "gate answer", "worker memory"):
        assert f"│ {figure}" in out
    assert status == 0


@pytest.mark.slow
def test_a_difference_is_printed_and_makes_the_status_1(kafka, monkeypatch, capsys):
    honest = NationalYear.expectations

    def one_too_many(self, **more):
        expected = honest(self, **more)
        expected.outcomes["HOLD"] += 1
        return expected

    monkeypatch.setenv("GATEJOIN_BROKER", kafka)
    monkeypatch.setattr(NationalYear, "expectations", one_too_many)
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    hold = honest(NationalYear(scale=0.0005)).outcomes["HOLD"]
    assert demo.run(parser.parse_args(["--scale", "0.0005"])) == 1
    out = capsys.readouterr().out
    assert f"DIFFERS  year, outcomes: HOLD: expected {hold + 1}, found {hold}" in out
    assert "1 differ" in out


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(number):
    process = start(["--scale", "0.01"])
    read_until(process, "Customs' side, loaded")
    children = wait_until(
        lambda: [pid for pid, words in commands(descendants(process.pid)).items()
                 if "worker" in words] and descendants(process.pid),
        "the worker's start",
    )  # fmt: skip
    process.send_signal(number)
    status, _, errors = finish(process)
    assert status == 130
    assert "Traceback" not in errors
    wait_until(lambda: not commands(children), f"the end of {commands(children)}")


@pytest.mark.slow
def test_a_broker_that_dies_is_one_line(tmp_path):
    process = start(["--scale", "0.02"])
    read_until(process, "Customs' side, loaded")
    children = commands(descendants(process.pid))
    java = [pid for pid, words in children.items() if "kafka.Kafka" in words]
    assert len(java) == 1
    os.kill(java[0], signal.SIGKILL)
    status, _, errors = finish(process)
    assert status == 1
    lines = errors.splitlines()
    assert "Traceback" not in errors
    assert lines[-1].startswith("gatejoin demo: ")
    wait_until(lambda: not commands(children), "the end of all that was started")


def test_no_java_is_one_line(tmp_path):
    status, out, errors = finish(start([], PATH=str(tmp_path), JAVA_HOME=""))
    assert (status, out) == (1, "")
    assert errors.count("\n") == 1
    assert "install Java" in errors


def test_a_broker_that_does_not_answer_is_one_line():
    status, out, errors = finish(start([], GATEJOIN_BROKER="127.0.0.1:1"))
    assert (status, out) == (1, "")
    assert errors.count("\n") == 1
    assert "GATEJOIN_BROKER=127.0.0.1:1" in errors


@pytest.mark.parametrize("scale", ["0", "11", "nan"])
def test_a_scale_out_of_range_is_one_line(scale):
    status, out, errors = finish(start(["--scale", scale]))
    assert (status, out) == (2, "")
    assert errors.count("\n") == 1
    assert "scale" in errors


# Its tables.


def test_percentiles_are_of_the_nearest_rank():
    values = [float(value) for value in range(1, 201)]
    assert percentile(values, 0.5) == 100
    assert percentile(values, 0.99) == 198
    assert percentile(values, 1.0) == 200
    assert percentile([7.0], 0.5) == 7


def test_comparing_counts_names_every_difference():
    check = Check([])
    check.counts("alerts", Counter(A=1, B=2), Counter(B=3, C=1))
    assert check.differences == [
        "alerts A: expected 1, found 0",
        "alerts B: expected 2, found 3",
        "alerts C: expected 0, found 1",
    ]
    assert check.compared == 3


def test_comparing_tables_finds_missing_and_foreign_rows():
    day = datetime.date(2018, 1, 1).toordinal()
    one = {("A", day, "IMPORT", "BULK"): (1, 0, 5, 0, 0, 0)}
    other = {("B", day, "IMPORT", "BULK"): (1, 0, 5, 0, 0, 0)}
    check = Check([])
    check.table("volume", VOLUME_COLUMNS, one, other)
    assert len(check.differences) == 4
    check = Check([])
    check.table("volume", VOLUME_COLUMNS, one, dict(one))
    assert (check.differences, check.compared) == ([], 6)


def test_cells_of_all_partitions_add_up():
    cell = {
        "operatorID": "A", "day": "2018-01-01", "direction": "IMPORT", "unitType": "BULK",
        "partition": 0, "movementsIn": 2, "piecesIn": 0, "gramsIn": 2**52 + 1, "movementsOut": 1,
        "piecesOut": 0, "gramsOut": 1,
    }  # fmt: skip
    day = datetime.date(2018, 1, 1).toordinal()
    cells = [json.dumps(cell | {"partition": number}).encode() for number in range(3)]
    assert volumes_of(cells) == {("A", day, "IMPORT", "BULK"): (6, 0, 3 * (2**52 + 1), 3, 0, 3)}
    left = {
        "locationCode": "L", "direction": "IMPORT", "unitType": "BULK", "startDay": "2018-05-01",
        "partition": 1, "units": 1, "pieces": 0, "grams": 2500,
    }  # fmt: skip
    cells = [json.dumps(left | {"partition": number}).encode() for number in range(2)]
    assert stock_of(cells) == {("L", "IMPORT", "BULK", "2018-05-01"): (2, 0, 5000)}
    (row,) = national_report({}, stock_of(cells)).stock
    assert row.units == (0, 0, 0, 2)


def test_the_national_table_is_the_years_own():
    expected = NationalYear(scale=0.0005).expectations()
    report = national_report(dict(expected.volumes.rows()), {})
    assert report.connected == 81
    boxes = sum(
        row.volume.movements_in
        for row in report.summed("nation")
        if (row.direction, row.unit_type) == ("IMPORT", "CONTAINER")
    )
    assert boxes == round(1_473_000 * 0.0005)


def test_connected_operators_are_compared():
    check = Check([])
    assert "74" in check_connected(check)
    assert (check.differences, check.compared) == ([], 2)


def test_outcomes_are_shown_side_by_side():
    expected = Expectations(outcomes=Counter(RELEASE=10, HOLD=1), reasons=Counter(STOPPED=1))
    found = {
        "outcomes": Counter(RELEASE=10, HOLD=2),
        "reasons": Counter(STOPPED=1, REVOKED=1),
        "flags": Counter(),
        "alerts": Counter(),
        "rejects": Counter(),
    }
    lines = {tuple(line.split()) for line in outcome_table(expected, found).splitlines()}
    assert ("decisions", "RELEASE", "10", "10") in lines
    assert ("decisions", "HOLD", "1", "2", "DIFFERS") in lines
    assert ("with", "reason", "REVOKED", "0", "1", "DIFFERS") in lines
    assert ("with", "reason", "STOPPED", "1", "1") in lines


def test_a_box_is_as_wide_as_its_widest_line():
    lines = box("title", [("name", "a value"), ("a longer name", "ü")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].startswith("┌─ title ")


def test_what_is_counted_is_cut_out_of_a_record():
    value = (
        b'{"decisionID":"U/O/E/1","sequence":1,"outcome":"HOLD","reasons":["STOPPED"],"flags":[],'
        b'"declarations":[],"eventDateTime":"2018-08-09T03:04:05.250000Z"}'
    )
    assert _essence("decisions", value) == b'{"outcome":"HOLD","reasons":["STOPPED"],"flags":[]}'
    assert _essence("decisions", b'{"flags":[],"outcome":"HOLD"}') == (
        b'{"flags":[],"outcome":"HOLD"}'
    )
    assert _moment_ms(value) == 1533783845250
