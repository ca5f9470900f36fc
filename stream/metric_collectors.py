"""Figures that others keep, shown when Prometheus asks.

What it is: Prometheus collectors over callables and snapshots; all but a histogram of ages keep
nothing themselves. Names, types, labels and words come from ``stream.metric_catalogue``.
Who calls it: ``stream.metrics``, which registers them.
What it must never know: Kafka's client, the gate, the core's structs.

Since each scrape is made anew from what there is, series of a partition or an operator that is gone
are gone with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from core_ext.matcher import AGES
from core_ext.record_batch import OutputRun
from stream.engine import NationRow, OperatorRow
from stream.metric_catalogue import METRICS, PARTITION_STATES
from stream.policy import Policy

#: Totals by kind, then by label value (``stream.engine.Engine.counters``).
Totals = Mapping[str, Mapping[str, int]]


def gauge(name: str) -> GaugeMetricFamily:
    """An empty family of a gauge of the catalogue."""
    metric = METRICS[name]
    assert metric.kind == "gauge", name
    return GaugeMetricFamily(name, metric.meaning, labels=metric.labels)


def counter(name: str) -> CounterMetricFamily:
    """An empty family of a counter of the catalogue."""
    metric = METRICS[name]
    assert metric.kind == "counter", name
    return CounterMetricFamily(name.removesuffix("_total"), metric.meaning, labels=metric.labels)


class AnswerTimes(Collector):
    """A histogram that takes a whole run of answers at a time; no labels.

    Args:
        name: of the catalogue.
        bounds_ms: upper bounds of the buckets, milliseconds, an array of int64.
    """

    def __init__(self, name: str, bounds_ms: Sequence[int]) -> None:
        self._metric = METRICS[name]
        self._bounds_ms = bounds_ms
        self._counts = [0] * (len(bounds_ms) + 1)
        self._sum_ms = 0

    def observe_run(self, answers: OutputRun, now_ms: int) -> None:
        """Counts each record's age, ``now_ms`` less its timestamp."""
        counts, sum_ms = answers.count_ages(now_ms, self._bounds_ms)
        self._counts = [a + b for a, b in zip(self._counts, counts, strict=True)]
        self._sum_ms += sum_ms

    def collect(self) -> Iterator[Metric]:
        """The histogram as Prometheus wants it, cumulative and in seconds."""
        total = 0
        buckets: list[tuple[str, float]] = []
        labels = [repr(bound / 1000) for bound in self._bounds_ms] + ["+Inf"]
        for label, count in zip(labels, self._counts, strict=True):
            total += count
            buckets.append((label, total))
        yield HistogramMetricFamily(
            self._metric.name,
            self._metric.meaning,
            buckets=buckets,
            sum_value=self._sum_ms / 1000,
        )


class EngineTotals(Collector):
    """The engine's own totals and table sizes, read when Prometheus asks."""

    #: metric -> outer key of the engine's totals
    COUNTERS = (
        ("gatejoin_records_total", "records"),
        ("gatejoin_duplicates_total", "duplicates"),
        ("gatejoin_customs_rejects_total", "customs_rejects"),
        ("gatejoin_decisions_total", "decisions"),
        ("gatejoin_decision_reasons_total", "standing"),
        ("gatejoin_alerts_total", "alerts"),
        ("gatejoin_exit_reports_total", "exit_reports"),
        ("gatejoin_late_reports_total", "late_reports"),
    )

    def __init__(
        self, totals: Callable[[], Totals], table_sizes: Callable[[], Mapping[str, int]]
    ) -> None:
        self._totals = totals
        self._table_sizes = table_sizes

    def collect(self) -> Iterable[Metric]:
        """One counter family per kind of total, and the table sizes."""
        totals = self._totals()
        for name, key in self.COUNTERS:
            family = counter(name)
            for value, count in totals.get(key, {}).items():
                family.add_metric([value], count)
            yield family
        rejects = counter("gatejoin_rejects_total")
        customs_rejects = totals.get("customs_rejects", {})
        for reason, count in totals.get("rejects", {}).items():
            rejects.add_metric([reason], count - customs_rejects.get(reason, 0))
        yield rejects
        rows, memory = gauge("gatejoin_table_rows"), gauge("gatejoin_table_bytes")
        for name, size in self._table_sizes().items():
            if name.endswith("_bytes"):
                memory.add_metric([name.removesuffix("_bytes")], size)
            else:
                rows.add_metric([name], size)
        yield rows
        yield memory


class PartitionFigures(NamedTuple):
    """What is shown of a partition; None where nothing can be said yet."""

    number: int
    state: str
    restored: float
    lag_records: int | None
    oldest_unanswered_s: float


class WorkerFigures(Collector):
    """What a worker owns, how far each partition is, and how full its queues are.

    Args:
        partitions: of what this worker owns, in any order.
        queue_fills: of each queue of the catalogue how full it is, 0 to 1.
        busy_seconds: for how long the engine's thread has worked since the start.
    """

    def __init__(
        self,
        partitions: Callable[[], Iterable[PartitionFigures]],
        queue_fills: Callable[[], Mapping[str, float]],
        busy_seconds: Callable[[], float],
    ) -> None:
        self._partitions = partitions
        self._queue_fills = queue_fills
        self._busy_seconds = busy_seconds

    def collect(self) -> Iterable[Metric]:
        """The families of partitions, of queues and of the engine's thread."""
        states, restored = gauge("gatejoin_partition_state"), gauge("gatejoin_restored_ratio")
        lag = gauge("gatejoin_lag_records")
        oldest = gauge("gatejoin_oldest_unanswered_seconds")
        for partition in self._partitions():
            number = str(partition.number)
            assert partition.state in PARTITION_STATES, partition
            for state in PARTITION_STATES:
                states.add_metric([number, state], int(state == partition.state))
            restored.add_metric([number], partition.restored)
            if partition.lag_records is not None:
                lag.add_metric([number], partition.lag_records)
            oldest.add_metric([number], partition.oldest_unanswered_s)
        queues = gauge("gatejoin_queue_fill_ratio")
        for name, fill in self._queue_fills().items():
            queues.add_metric([name], fill)
        busy = counter("gatejoin_engine_busy_seconds_total")
        busy.add_metric([], self._busy_seconds())
        return states, restored, lag, oldest, queues, busy


class SupervisionFigures(Collector):
    """Operators and the nation, as the engine's thread last summed them up."""

    def __init__(self) -> None:
        self.operators: Sequence[OperatorRow] = ()
        self.nation: Sequence[NationRow] = ()

    def collect(self) -> Iterable[Metric]:
        """The families of operators, stock and movements."""
        yield from self._operators()
        stock = gauge("gatejoin_stock_units")
        moved = [
            gauge("gatejoin_movements"),
            gauge("gatejoin_moved_pieces"),
            gauge("gatejoin_moved_grams"),
        ]
        for direction, unit_type, units, *sums in self.nation:
            for age, count in zip(AGES, units, strict=True):
                stock.add_metric([direction, unit_type, age], count)
            for family, (come, gone) in zip(moved, sums, strict=True):
                family.add_metric([direction, unit_type, "in"], come)
                family.add_metric([direction, unit_type, "out"], gone)
        yield stock
        yield from moved

    def _operators(self) -> Iterator[Metric]:
        statuses = gauge("gatejoin_operators")
        totals = [
            counter("gatejoin_operator_events_total"),
            counter("gatejoin_operator_rejects_total"),
            counter("gatejoin_operator_late_reports_total"),
        ]
        counts = dict.fromkeys(("SURVEYED", "TESTING", "CONNECTED", "SUSPENDED"), 0)
        for operator_id, status, *sums in self.operators:
            counts[status] += 1
            for family, total in zip(totals, sums, strict=True):
                family.add_metric([operator_id], total)
        for status, count in counts.items():
            statuses.add_metric([status], count)
        yield statuses
        yield from totals


class SilentOperators(Collector):
    """Operators whose silence was reported and lasts; filled by whoever is on duty."""

    def __init__(self) -> None:
        #: operatorID -> when the silence began, milliseconds since 1970
        self.since_ms: Mapping[str, int] = {}

    def collect(self) -> Iterable[Metric]:
        """How long each has been silent."""
        now_s = time.time()
        family = gauge("gatejoin_operator_silent_seconds")
        for operator_id, since_ms in self.since_ms.items():
            family.add_metric([operator_id], max(0.0, now_s - since_ms / 1000))
        yield family


class RuleSet(Collector):
    """Which of a policy's rule sets is in force today."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def collect(self) -> Iterable[Metric]:
        """A constant 1 with the rule set's name."""
        now_us = time.time_ns() // 1000
        family = gauge("gatejoin_rule_set_info")
        for period in self._policy.periods:
            if period.from_us <= now_us < period.to_us:
                family.add_metric([period.rule_set_name], 1)
        yield family
