"""Metrics: their names, what they add up to, what is shown against what the catalogue declares, and
that series go with what they are about."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core_ext.record_batch import OutputRun
from stream.engine import Engine
from stream.engine_thread import EngineThread
from stream.gc_pauses import GcPauses
from stream.loop_lag import watch_loop
from stream.memory_limit import memory_limit_bytes
from stream.metric_catalogue import CATALOGUE, LABELS, METRICS, PARTITION_STATES, series_names
from stream.metric_collectors import PartitionFigures
from stream.metrics import ANSWER_BOUNDS_MS, Metrics
from stream.metrics_command import as_markdown, as_text
from stream.policy import load_policy

ROOT = Path(__file__).resolve().parents[2]
NATION = [("IMPORT", "BULK", (1, 2, 3, 4), (5, 6), (7, 8), (9, 10))]
BASE_UNITS = {"seconds", "bytes", "grams", "ratio"}


class Worker:
    """What a worker would tell its metrics."""

    def __init__(self) -> None:
        self.totals = {
            "records": {"holds": 3, "port-events": 9},
            "rejects": {"MALFORMED": 5, "FUTURE": 2},
            "customs_rejects": {"MALFORMED": 1, "FUTURE": 0},
            "decisions": {"RELEASE": 5, "HOLD": 2},
        }
        self.partitions = [PartitionFigures(1, "ready", 1.0, 5, 0.5)]
        self.metrics = Metrics()
        self.metrics.attach_engine(
            lambda: self.totals, lambda: {"units": 7, "state_bytes": 4096}, load_policy()
        )
        self.metrics.attach_worker(
            lambda: self.partitions, lambda: {"waiting_runs": 0.25}, lambda: 1.5
        )

    def families(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Samples by name, and by label values in the order of the labels' names."""
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(self.metrics.exposition().decode()):
            for sample in family.samples:
                key = tuple(value for _, value in sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[key] = sample.value
        return found


@pytest.fixture
def worker() -> Worker:
    return Worker()


# ---- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric) -> None:
    words = metric.name.split("_")
    if not metric.from_library:
        assert words[0] == "gatejoin"
    assert re.fullmatch(r"[a-z][a-z_]*[a-z]", metric.name)
    assert (metric.kind == "counter") == (words[-1] == "total")
    assert not {"ms", "us", "milliseconds", "mb", "kb", "kilograms", "percent", "gauge"} & {*words}
    if metric.unit in BASE_UNITS and metric.unit != "ratio":
        assert words[-1 - (metric.kind == "counter")] == metric.unit
    assert (metric.unit == "0 to 1") == (words[-1] == "ratio")
    assert (metric.unit == "1") == (words[-1] == "info")
    assert metric.meaning.endswith(".")
    for label in metric.labels:
        assert label in LABELS
        assert label not in ("le", "job", "instance")  # Prometheus's own


def test_the_catalogue_has_each_name_and_label_once_and_of_use() -> None:
    assert len(METRICS) == len(CATALOGUE)
    names = [name for metric in CATALOGUE for name in series_names(metric)]
    assert len(names) == len(set(names))
    assert {label for metric in CATALOGUE for label in metric.labels} == set(LABELS)


def test_promtool_finds_nothing_to_say_about_the_names(worker) -> None:
    lines = worker.metrics.exposition().decode().splitlines(keepends=True)
    ours = [line for line in lines if "gatejoin_" in line]  # not the client's own
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input="".join(ours), text=True, capture_output=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_documentations_table_is_the_commands_output() -> None:
    page = (ROOT / "deploy/prometheus/METRICS.md").read_text()
    assert page == as_markdown(), "gatejoin metrics --format markdown has more to say"
    assert all(metric.name in as_text() for metric in CATALOGUE)


# ---- what is shown -----------------------------------------------------------------------------


def test_the_engines_totals_are_shown(worker) -> None:
    found = worker.families()
    assert found["gatejoin_records_total"] == {("holds",): 3, ("port-events",): 9}
    assert found["gatejoin_decisions_total"] == {("RELEASE",): 5, ("HOLD",): 2}
    assert found["gatejoin_table_rows"] == {("units",): 7}
    assert found["gatejoin_table_bytes"] == {("state",): 4096}
    assert list(found["gatejoin_rule_set_info"].values()) == [1]


def test_rejects_of_customs_records_are_not_counted_among_those_of_port_events(worker) -> None:
    found = worker.families()
    assert found["gatejoin_rejects_total"] == {("MALFORMED",): 4, ("FUTURE",): 2}
    assert found["gatejoin_customs_rejects_total"] == {("MALFORMED",): 1, ("FUTURE",): 0}


def test_an_engine_has_every_total_that_is_shown() -> None:
    metrics = Metrics()
    engine = Engine(load_policy(), 1)
    metrics.attach_engine(engine.counters, engine.sizes, engine.policy)
    families = text_string_to_metric_families(metrics.exposition().decode())
    shown = {family.name for family in families if family.samples}
    for key in worker_keys():
        assert key in shown, key


def worker_keys() -> set[str]:
    return {
        f"gatejoin_{name}"
        for name in (
            *("records", "duplicates", "rejects", "customs_rejects", "decisions"),
            *("decision_reasons", "alerts", "exit_reports", "late_reports"),
        )
    }


def test_answers_are_counted_by_age(worker) -> None:
    run = OutputRun()
    for timestamp_ms in (100_000, 99_970, 99_000, 1):
        run.append(b"k", b"v", 0, timestamp_ms)
    worker.metrics.answers.observe_run(run, 100_000)
    worker.metrics.answers.observe_run(run, 100_000)
    found = worker.families()
    buckets = found["gatejoin_gate_answer_seconds_bucket"]
    assert buckets[("0.001",)] == 2
    assert buckets[("0.03",)] == 4
    assert buckets[("1.0",)] == 6
    assert buckets[("+Inf",)] == 8 == found["gatejoin_gate_answer_seconds_count"][()]
    assert found["gatejoin_gate_answer_seconds_sum"][()] == 2 * (0.03 + 1 + 99.999)
    assert {50, 86_400_000} <= set(ANSWER_BOUNDS_MS)  # the objective's bounds


def test_a_partition_is_in_one_state_and_its_series_go_with_it(worker) -> None:
    found = worker.families()
    assert found["gatejoin_lag_records"] == {("1",): 5}
    assert found["gatejoin_oldest_unanswered_seconds"] == {("1",): 0.5}
    assert found["gatejoin_partition_state"] == {
        ("1", state): int(state == "ready") for state in PARTITION_STATES
    }
    worker.partitions = [PartitionFigures(2, "restoring", 0.5, None, 0.0)]
    found = worker.families()
    assert found["gatejoin_restored_ratio"] == {("2",): 0.5}
    assert found["gatejoin_partition_state"][("2", "restoring")] == 1
    assert "gatejoin_lag_records" not in found  # nothing is known of it yet


def test_operators_and_the_nation(worker) -> None:
    worker.metrics.supervision.operators = [
        ("A", "CONNECTED", 10, 2, 1),
        ("B", "CONNECTED", 0, 0, 0),
        ("C", "TESTING", 0, 4, 0),
    ]
    worker.metrics.supervision.nation = NATION
    worker.metrics.silent_operators.since_ms = {"B": 1000}
    found = worker.families()
    assert found["gatejoin_operators"][("CONNECTED",)] == 2
    assert found["gatejoin_operators"][("SURVEYED",)] == 0
    assert found["gatejoin_operator_events_total"] == {("A",): 10, ("B",): 0, ("C",): 0}
    assert found["gatejoin_operator_rejects_total"] == {("A",): 2, ("B",): 0, ("C",): 4}
    assert found["gatejoin_operator_late_reports_total"][("A",)] == 1
    assert found["gatejoin_operator_silent_seconds"][("B",)] > 1e9
    assert found["gatejoin_stock_units"][("61-90", "IMPORT", "BULK")] == 3
    assert found["gatejoin_movements"][("IMPORT", "out", "BULK")] == 6
    assert found["gatejoin_moved_pieces"][("IMPORT", "in", "BULK")] == 7
    assert found["gatejoin_moved_grams"][("IMPORT", "out", "BULK")] == 10
    worker.metrics.supervision.operators = []
    worker.metrics.silent_operators.since_ms = {}
    found = worker.families()
    assert "gatejoin_operator_events_total" not in found
    assert "gatejoin_operator_silent_seconds" not in found


def test_the_newest_record_of_customs_never_gets_older(worker) -> None:
    for timestamp_ms in (5000, 4000):
        worker.metrics.customs_record_seen("declarations", timestamp_ms)
    found = worker.families()["gatejoin_customs_newest_record_timestamp_seconds"]
    assert found == {("declarations",): 5}


# ---- where figures come from -------------------------------------------------------------------


def test_a_loop_that_is_held_up_is_late() -> None:
    async def held_up() -> float:
        seen: list[float] = []
        looked = asyncio.Event()
        task = asyncio.create_task(
            watch_loop(lambda late_s: (seen.append(late_s), looked.set()), 0.01)
        )
        await looked.wait()
        looked.clear()
        threading.Event().wait(0.1)  # nobody sets it: the loop stands still
        await looked.wait()
        task.cancel()
        return seen[-1]

    assert asyncio.run(held_up()) >= 0.08


def test_the_engines_thread_tells_how_busy_it_was() -> None:
    thread = EngineThread()
    began, end = threading.Event(), threading.Event()
    assert thread.busy_seconds == 0
    call = thread.submit(lambda: (began.set(), end.wait(10)))
    began.wait(10)
    under_way = thread.busy_seconds
    assert 0 < under_way < thread.busy_seconds
    end.set()
    call.result()
    thread.submit(int).result()
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda: 1 // 0).result()
    thread.shutdown()
    assert under_way < thread.busy_seconds == thread.busy_seconds


def test_the_engines_thread_is_idle_when_nothing_is_asked_of_it() -> None:
    thread = EngineThread()
    assert thread.is_idle
    end = threading.Event()
    calls = [thread.submit(end.wait, 10), thread.submit(int)]
    assert not thread.is_idle
    assert calls[1].cancel()
    assert not thread.is_idle
    end.set()
    calls[0].result()
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda: 1 // 0).result()
    thread.submit(int).result()
    thread.shutdown()
    assert thread.is_idle


def test_pauses_of_the_garbage_collector_are_seen_until_the_end() -> None:
    seen: list[tuple[int, float]] = []
    pauses = GcPauses(lambda generation, seconds: seen.append((generation, seconds)))
    pauses.start()
    assert gc.get_freeze_count() > len(gc.get_objects()), "what was there before is left out"
    gc.collect(1)
    pauses.stop()
    assert not gc.get_freeze_count()
    gc.collect(1)
    pauses.stop()
    assert [generation for generation, _ in seen].count(1) == 1
    assert all(seconds > 0 for _, seconds in seen)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 0),
        ({"proc/meminfo": "MemFree: 1 kB\nMemTotal:  4 kB\n"}, 4096),
        ({"proc/meminfo": "MemTotal: 4 kB\n", "sys/fs/cgroup/memory.max": "max\n"}, 4096),
        ({"proc/meminfo": "MemTotal: 4 kB\n", "sys/fs/cgroup/memory.max": "1024\n"}, 1024),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "2048\n"}, 2048),
        (
            {
                "proc/self/cgroup": "4:cpu:/b\n3:memory:/a/b\n0::/c\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "2048\n",
                "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "1024\n",
                "sys/fs/cgroup/b/memory.max": "1\n",
            },
            1024,
        ),
        ({"proc/self/cgroup": "0::/c\n", "sys/fs/cgroup/c/memory.max": "512\n"}, 512),
    ],
)
def test_the_memory_limit_is_the_tightest(tmp_path, files, limit) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory_limit_bytes(tmp_path / "sys", tmp_path / "proc") == limit
