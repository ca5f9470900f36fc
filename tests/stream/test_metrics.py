"""Metrics: their names, what they add up to, and that a lost partition's series go."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from core_ext.record_batch import OutputRun
from stream.metrics import ANSWER_BOUNDS_MS, Metrics

TOTALS = {"records": {"holds": 3}, "decisions": {"RELEASE": 5, "HOLD": 2}}
SIZES = {"units": 7, "state_bytes": 4096}


def families(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name, and by label values."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def attached() -> Metrics:
    metrics = Metrics()
    metrics.attach_engine(lambda: TOTALS, lambda: SIZES)
    return metrics


def test_names_follow_the_conventions() -> None:
    for family in text_string_to_metric_families(attached().exposition().decode()):
        if family.name.startswith("process_"):
            continue  # prometheus-client's own
        assert re.fullmatch(r"gatejoin_[a-z_]+", family.name)
        assert not re.search(r"_(ms|us|mb|kb|percent)$", family.name)
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith("_total")


def test_the_engines_totals_are_shown() -> None:
    found = families(attached())
    assert found["gatejoin_records_total"] == {("holds",): 3}
    assert found["gatejoin_decisions_total"] == {("RELEASE",): 5, ("HOLD",): 2}
    assert found["gatejoin_table_rows"] == {("units",): 7}
    assert found["gatejoin_table_bytes"] == {("state",): 4096}


def test_answers_are_counted_by_age() -> None:
    metrics = attached()
    run = OutputRun()
    for timestamp_ms in (100_000, 99_970, 99_000, 1):
        run.append(b"k", b"v", 0, timestamp_ms)
    metrics.answers.observe_run(run, 100_000)
    metrics.answers.observe_run(run, 100_000)
    found = families(metrics)
    buckets = found["gatejoin_gate_answer_seconds_bucket"]
    assert buckets[("0.001",)] == 2
    assert buckets[("0.03",)] == 4
    assert buckets[("1.0",)] == 6
    assert buckets[("+Inf",)] == 8 == found["gatejoin_gate_answer_seconds_count"][()]
    assert found["gatejoin_gate_answer_seconds_sum"][()] == 2 * (0.03 + 1 + 99.999)
    assert 50 in ANSWER_BOUNDS_MS  # what is promised must be a bound


def test_a_lost_partitions_series_go() -> None:
    metrics = attached()
    for partition in (1, 2):
        metrics.lag.labels(partition).set(5)
        metrics.restored.labels(partition).set(1)
    metrics.forget_partition(1)
    metrics.forget_partition(9)  # never had any
    found = families(metrics)
    assert found["gatejoin_lag_records"] == {("2",): 5}
    assert found["gatejoin_restored_ratio"] == {("2",): 1}
