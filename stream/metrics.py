"""What the worker tells Prometheus.

What it is: the metrics of one worker in a registry of their own; names follow Prometheus's
conventions (prefix ``gatejoin_``, base units, ``_total`` on counters, labels of bounded sets).
Who calls it: ``stream.gate`` (to count), ``stream.web`` (to show).
What it must never know: Kafka's client, the core's structs.

Totals of the engine are read from it when Prometheus asks; only what no one else counts is counted
here, once per run. Series of a partition go when the partition goes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from core_ext.record_batch import OutputRun

#: Stages of a run's way, in order.
STAGES = ("fetch", "decode", "match", "emit")

# Upper bounds of a gate's answer. 50 ms is what was promised at the 99th percentile, so it is a
# bound; beyond 10 s it is history that is being read, not a gate that waits.
ANSWER_BOUNDS_MS = array(
    "q", (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10_000)
)
STAGE_BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
    *(2.5, 10.0),
)

Totals = Mapping[str, Mapping[str, int]]


class AnswerTimes(Collector):
    """A histogram that takes a whole run of answers at a time."""

    def __init__(self, name: str, documentation: str, bounds_ms: Sequence[int]) -> None:
        self._name = name
        self._documentation = documentation
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
            self._name, self._documentation, buckets=buckets, sum_value=self._sum_ms / 1000
        )


class EngineTotals(Collector):
    """The engine's own totals and table sizes, read when Prometheus asks."""

    #: outer key of the engine's totals -> metric without ``_total``, label, documentation
    FAMILIES = (
        ("records", "gatejoin_records", "topic", "Records applied, by input topic."),
        ("duplicates", "gatejoin_duplicates", "topic", "Records of a version already known."),
        ("rejects", "gatejoin_rejects", "reason", "Records refused."),
        ("decisions", "gatejoin_decisions", "outcome", "Decisions made."),
        ("standing", "gatejoin_decision_reasons", "reason", "Rows that stood in decisions."),
        ("alerts", "gatejoin_alerts", "type", "Alerts raised."),
    )

    def __init__(
        self, totals: Callable[[], Totals], table_sizes: Callable[[], Mapping[str, int]]
    ) -> None:
        self._totals = totals
        self._table_sizes = table_sizes

    def collect(self) -> Iterable[Metric]:
        """One counter family per kind of total, and the table sizes."""
        totals = self._totals()
        for key, name, label, documentation in self.FAMILIES:
            family = CounterMetricFamily(name, documentation, labels=[label])
            for value, count in totals.get(key, {}).items():
                family.add_metric([value], count)
            yield family
        rows = GaugeMetricFamily("gatejoin_table_rows", "Rows in memory.", labels=["table"])
        memory = GaugeMetricFamily("gatejoin_table_bytes", "Bytes in memory.", labels=["table"])
        for name, size in self._table_sizes().items():
            if name.endswith("_bytes"):
                memory.add_metric([name.removesuffix("_bytes")], size)
            else:
                rows.add_metric([name], size)
        yield rows
        yield memory


class Metrics:
    """All metrics of a worker."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.answers = AnswerTimes(
            "gatejoin_gate_answer_seconds",
            "From an event's Kafka timestamp to the acknowledged decision.",
            ANSWER_BOUNDS_MS,
        )
        registry.register(self.answers)
        ProcessCollector(registry=registry)
        self.stage = Histogram(
            "gatejoin_stage_seconds",
            "What a run took in each stage; fetch is its wait until it was taken.",
            ["stage"],
            buckets=STAGE_BOUNDS_S,
            registry=registry,
        )
        self.runs = Counter("gatejoin_runs", "Runs of port events worked on.", registry=registry)
        self.batches = Counter(
            "gatejoin_record_batches", "Record batches of port events read.", registry=registry
        )
        self.fetched_bytes = Counter(
            "gatejoin_fetched_bytes", "Bytes of port events as fetched.", registry=registry
        )
        self.emitted_bytes = Counter(
            "gatejoin_emitted_bytes", "Bytes of record batches sent.", ["topic"], registry=registry
        )
        self.unacknowledged_bytes = Gauge(
            "gatejoin_unacknowledged_bytes", "Bytes sent but not acknowledged.", registry=registry
        )
        self.lag = Gauge(
            "gatejoin_lag_records",
            "Port events in the partition that are not answered yet.",
            ["partition"],
            registry=registry,
        )
        self.restored = Gauge(
            "gatejoin_restored_ratio",
            "How far a partition's state is back, 1 when it is whole.",
            ["partition"],
            registry=registry,
        )
        self.customs_loaded = Gauge(
            "gatejoin_customs_loaded_ratio",
            "How far customs' side is loaded, 1 when it is followed live.",
            ["topic"],
            registry=registry,
        )
        self.ready = Gauge("gatejoin_ready", "1 if the worker answers.", registry=registry)
        for stage in STAGES:
            self.stage.labels(stage)

    def attach_engine(
        self, totals: Callable[[], Totals], table_sizes: Callable[[], Mapping[str, int]]
    ) -> None:
        """Shows an engine's totals from now on; once per worker."""
        self.registry.register(EngineTotals(totals, table_sizes))

    def forget_partition(self, partition: int) -> None:
        """Removes the series of a partition that another worker owns now."""
        for gauge in (self.lag, self.restored):
            if (str(partition),) in gauge._metrics:
                gauge.remove(str(partition))

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)
