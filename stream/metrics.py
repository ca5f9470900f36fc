"""What the worker tells Prometheus.

What it is: the metrics of one worker in a registry of their own, as ``stream.metric_catalogue``
declares them.
Who calls it: ``stream.gate`` (to count), ``stream.web`` (to show).
What it must never know: Kafka's client, the core's structs.

Figures that somebody keeps already are read when Prometheus asks (``stream.metric_collectors``);
only what no one else counts is counted here, once per run.
"""

from __future__ import annotations

import importlib.metadata
import platform
from array import array
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from core_ext.container_number import simd_path
from stream.memory_limit import memory_limit_bytes
from stream.metric_catalogue import METRICS, STAGES
from stream.metric_collectors import (
    AnswerTimes,
    EngineTotals,
    PartitionFigures,
    RuleSet,
    SilentOperators,
    SupervisionFigures,
    Totals,
    WorkerFigures,
)
from stream.policy import Policy

# Upper bounds of an answer. 50 ms is what was promised at the 99th percentile, so it is a bound;
# between 10 s and a day something was down; beyond a day it is history that is being read, not a
# gate that waits, which is why the objectives count up to there.
ANSWER_BOUNDS_MS = array(
    "q",
    (
        *(1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10_000),
        *(60_000, 600_000, 3_600_000, 86_400_000),
    ),
)
STAGE_BOUNDS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
    *(2.5, 10.0),
)
PAUSE_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


# When each series began is of no use here, and doubles what a scrape takes.
disable_created_metrics()  # type: ignore[no-untyped-call]


def _version() -> str:
    try:
        return importlib.metadata.version("gatejoin")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


class Metrics:
    """All metrics of a worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = AnswerTimes("gatejoin_gate_answer_seconds", ANSWER_BOUNDS_MS)
        self.customs_answers = AnswerTimes("gatejoin_customs_answer_seconds", ANSWER_BOUNDS_MS)
        self.supervision = SupervisionFigures()
        self.silent_operators = SilentOperators()
        for collector in (
            self.answers,
            self.customs_answers,
            self.supervision,
            self.silent_operators,
        ):
            self.registry.register(collector)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.stage = self._histogram("gatejoin_stage_seconds", STAGE_BOUNDS_S)
        for stage in STAGES:
            self.stage.labels(stage)
        self.loop_lag = self._histogram("gatejoin_event_loop_lag_seconds", PAUSE_BOUNDS_S)
        self._gc_pause = self._histogram("gatejoin_gc_pause_seconds", PAUSE_BOUNDS_S)
        self.runs = self._counter("gatejoin_runs_total")
        self.batches = self._counter("gatejoin_record_batches_total")
        self.fetched_bytes = self._counter("gatejoin_fetched_bytes_total")
        self.emitted_bytes = self._counter("gatejoin_emitted_bytes_total")
        self.unacknowledged_bytes = self._gauge("gatejoin_unacknowledged_bytes")
        self.partitions = self._gauge("gatejoin_partitions")
        self.customs_loaded = self._gauge("gatejoin_customs_loaded_ratio")
        self._customs_newest = self._gauge("gatejoin_customs_newest_record_timestamp_seconds")
        self._customs_newest_ms: dict[str, int] = {}
        self.ready = self._gauge("gatejoin_ready")
        self._gauge("gatejoin_memory_limit_bytes").set_function(memory_limit_bytes)
        build = self._gauge("gatejoin_build_info")
        build.labels(version=_version(), python=platform.python_version(), core=simd_path()).set(1)

    def attach_engine(
        self,
        totals: Callable[[], Totals],
        table_sizes: Callable[[], Mapping[str, int]],
        policy: Policy,
    ) -> None:
        """Shows an engine's totals and its policy's rule set from now on; once per worker."""
        self.registry.register(EngineTotals(totals, table_sizes))
        self.registry.register(RuleSet(policy))

    def attach_worker(
        self,
        partitions: Callable[[], Iterable[PartitionFigures]],
        queue_fills: Callable[[], Mapping[str, float]],
        busy_seconds: Callable[[], float],
    ) -> None:
        """Shows what a worker owns and how busy it is from now on; once per worker."""
        self.registry.register(WorkerFigures(partitions, queue_fills, busy_seconds))

    def observe_gc(self, generation: int, seconds: float) -> None:
        """Counts a pause of the garbage collector."""
        self._gc_pause.labels(generation).observe(seconds)

    def customs_record_seen(self, topic: str, timestamp_ms: int) -> None:
        """Notes the timestamp of the last record of a run of customs' records."""
        newest_ms = max(timestamp_ms, self._customs_newest_ms.get(topic, 0))
        self._customs_newest_ms[topic] = newest_ms
        self._customs_newest.labels(topic).set(newest_ms / 1000)

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str) -> Counter:
        metric = METRICS[name]
        return Counter(name, metric.meaning, metric.labels, registry=self.registry)

    def _gauge(self, name: str) -> Gauge:
        metric = METRICS[name]
        return Gauge(name, metric.meaning, metric.labels, registry=self.registry)

    def _histogram(self, name: str, bounds: tuple[float, ...]) -> Histogram:
        metric = METRICS[name]
        return Histogram(
            name, metric.meaning, metric.labels, buckets=bounds, registry=self.registry
        )
