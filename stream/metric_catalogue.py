"""Every metric of a worker, in one table.

What it is: names, types, labels, units and meanings; nothing is counted here.
Who calls it: ``stream.metrics`` and ``stream.metric_collectors``, which show nothing that is not
declared here; ``stream.metrics_command``, which prints it; tests, which hold a running worker, the
rules and the dashboards against it.
What it must never know: where a figure comes from.

Names follow Prometheus's conventions: prefix ``gatejoin_``, base units, ``_total`` on counters
only, ``_ratio`` from 0 to 1, ``_info`` for a constant 1 that carries labels. Each label takes its
values from a bounded set.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

#: What a partition goes through from its assignment on (``gatejoin_partition_state``).
PARTITION_STATES = ("assigned", "loading_customs", "fencing", "restoring", "weighing", "ready")
#: Stages of a run's way, in order.
STAGES = ("fetch", "decode", "match", "emit")
#: What waits inside a worker, each up to a bound of its own.
QUEUES = ("waiting_runs", "unacknowledged", "customs_rejects")


class Scope(Enum):
    """What a metric says of more than one worker; the value is how to add workers up."""

    SHARE = "sum: each worker has its share"
    SAME = "max: every worker has the same figure, so a sum would count it once per worker"
    SPLIT = "sum where it is of port events or units, max by label otherwise"
    OWN = "by instance: it is about this worker alone"
    ONE = "max: only the owner of partition 0 shows it"


class Label(NamedTuple):
    """A label: where its values come from, and how many there can be at most; None if that is as
    many as the thing named has."""

    values: str
    bound: int | None


LABELS: dict[str, Label] = {
    "age": Label("0-30, 31-60, 61-90, 90+ days", 4),
    "core": Label("the SIMD path of the compiled core", 1),
    "direction": Label("IMPORT, EXPORT, TRANSIT, DOMESTIC", 4),
    "generation": Label("0, 1, 2", 3),
    "movement": Label("in, out", 2),
    "operator": Label("operators that customs has registered", None),
    "outcome": Label("RELEASE, HOLD", 2),
    "partition": Label("partitions of port-events that the worker owns", None),
    "python": Label("the version of Python", 1),
    "queue": Label(", ".join(QUEUES), len(QUEUES)),
    "reason": Label("codes of the rules, or reasons of a reject", 31),
    "rule_set": Label("the name of the rows in force today", 1),
    "stage": Label(", ".join(STAGES), len(STAGES)),
    "state": Label(", ".join(PARTITION_STATES), len(PARTITION_STATES)),
    "status": Label("SURVEYED, TESTING, CONNECTED, SUSPENDED", 4),
    "table": Label("tables of the state", 16),
    "topic": Label("topics, without their prefix", 16),
    "type": Label("types of alerts", 16),
    "unit_type": Label("CONTAINER, PACKAGES, BULK, LIQUID", 4),
    "version": Label("the version of gatejoin", 1),
}


class Metric(NamedTuple):
    """One metric. ``unit`` is a word for people; where it is a base unit of Prometheus's the name
    ends in it. ``from_library`` is of prometheus-client's own collectors."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    scope: Scope
    meaning: str
    from_library: bool = False


_SHARE, _SAME, _SPLIT, _OWN, _ONE = Scope

CATALOGUE: tuple[Metric, ...] = (
    # ---- the gate's answer ----
    Metric(
        "gatejoin_gate_answer_seconds", "histogram", (), "seconds", _SHARE,
        "From a port event's Kafka timestamp to the acknowledged decision that it brought about; "
        "what took more than a day is history that was read.",
    ),
    Metric(
        "gatejoin_customs_answer_seconds", "histogram", (), "seconds", _SHARE,
        "From the Kafka timestamp of a record of customs' to the acknowledged decisions that it "
        "changed at the gates.",
    ),
    Metric(
        "gatejoin_decisions_total", "counter", ("outcome",), "decisions", _SHARE,
        "Decisions made.",
    ),
    Metric(
        "gatejoin_decision_reasons_total", "counter", ("reason",), "rows", _SHARE,
        "Rows of the rules that stood in decisions: why something was held or flagged.",
    ),
    Metric(
        "gatejoin_records_total", "counter", ("topic",), "records", _SPLIT,
        "Records applied, by input topic.",
    ),
    Metric(
        "gatejoin_duplicates_total", "counter", ("topic",), "records", _SPLIT,
        "Records of a version already known, which change nothing.",
    ),
    Metric(
        "gatejoin_rejects_total", "counter", ("reason",), "records", _SHARE,
        "Port events refused.",
    ),
    Metric(
        "gatejoin_alerts_total", "counter", ("type",), "alerts", _SHARE,
        "Alerts raised for officers.",
    ),
    Metric(
        "gatejoin_stage_seconds", "histogram", ("stage",), "seconds", _SHARE,
        "What a run of records took in each stage; fetch is its wait until it was taken.",
    ),
    # ---- partitions of port-events ----
    Metric(
        "gatejoin_partitions", "gauge", (), "partitions", _SAME,
        "Partitions of port-events, each of which needs an owner.",
    ),
    Metric(
        "gatejoin_partition_state", "gauge", ("partition", "state"), "0 or 1", _SHARE,
        "1 for the state in which the owner has the partition; only a ready one is answered.",
    ),
    Metric(
        "gatejoin_restored_ratio", "gauge", ("partition",), "0 to 1", _SHARE,
        "How far a partition's state is back, 1 when it is whole.",
    ),
    Metric(
        "gatejoin_lag_records", "gauge", ("partition",), "records", _SHARE,
        "Port events in the partition that are not answered yet.",
    ),
    Metric(
        "gatejoin_oldest_unanswered_seconds", "gauge", ("partition",), "seconds", _SHARE,
        "How long the oldest run of port events that was taken up has waited for the broker's "
        "acknowledgement of its answers, 0 if none waits.",
    ),
    # ---- customs' side, whole in every worker ----
    Metric(
        "gatejoin_customs_loaded_ratio", "gauge", ("topic",), "0 to 1", _OWN,
        "How far the worker has loaded customs' side, 1 when it follows it live.",
    ),
    Metric(
        "gatejoin_customs_newest_record_timestamp_seconds", "gauge", ("topic",), "seconds", _SAME,
        "Kafka timestamp of the newest record of customs' that the worker has seen, since 1970.",
    ),
    Metric(
        "gatejoin_customs_rejects_total", "counter", ("reason",), "records", _SAME,
        "Records of customs' refused.",
    ),
    # ---- operators ----
    Metric(
        "gatejoin_operators", "gauge", ("status",), "operators", _SAME,
        "Operators that customs has registered.",
    ),
    Metric(
        "gatejoin_operator_silent_seconds", "gauge", ("operator",), "seconds", _ONE,
        "How long a connected operator has been silent; only of those for whom SILENT_OPERATOR "
        "was raised and who have sent nothing since.",
    ),
    Metric(
        "gatejoin_operator_events_total", "counter", ("operator",), "records", _SHARE,
        "Port events accepted of an operator.",
    ),
    Metric(
        "gatejoin_operator_rejects_total", "counter", ("operator",), "records", _SHARE,
        "Port events refused that name a registered operator.",
    ),
    Metric(
        "gatejoin_operator_late_reports_total", "counter", ("operator",), "reports", _SHARE,
        "Exits that an operator reported after the time limit.",
    ),
    Metric(
        "gatejoin_exit_reports_total", "counter", ("direction",), "reports", _SHARE,
        "First reports of exits that have a time limit.",
    ),
    Metric(
        "gatejoin_late_reports_total", "counter", ("direction",), "reports", _SHARE,
        "Those of them that came after the limit: 15 minutes, 30 for EXPORT.",
    ),
    # ---- the nation ----
    Metric(
        "gatejoin_stock_units", "gauge", ("direction", "unit_type", "age"), "units", _SHARE,
        "Units in stock, by whole days since they came.",
    ),
    Metric(
        "gatejoin_movements", "gauge", ("direction", "unit_type", "movement"), "movements", _SHARE,
        "Movements in and out, of all days that the state holds; a retraction takes one back.",
    ),
    Metric(
        "gatejoin_moved_pieces", "gauge", ("direction", "unit_type", "movement"), "pieces", _SHARE,
        "Pieces moved in and out, likewise.",
    ),
    Metric(
        "gatejoin_moved_grams", "gauge", ("direction", "unit_type", "movement"), "grams", _SHARE,
        "Weight moved in and out, likewise.",
    ),
    # ---- the worker ----
    Metric(
        "gatejoin_ready", "gauge", (), "0 or 1", _OWN,
        "1 if the worker answers for all that it was assigned.",
    ),
    Metric(
        "gatejoin_build_info", "gauge", ("version", "python", "core"), "1", _OWN,
        "What is running.",
    ),
    Metric(
        "gatejoin_rule_set_info", "gauge", ("rule_set",), "1", _OWN,
        "The rule set in force today, as decisions name it.",
    ),
    Metric(
        "gatejoin_event_loop_lag_seconds", "histogram", (), "seconds", _OWN,
        "How late the event loop came to what was due, looked at ten times a second.",
    ),
    Metric(
        "gatejoin_engine_busy_seconds_total", "counter", (), "seconds", _OWN,
        "Time for which the engine's one thread worked; a rate near 1 is all that it can do.",
    ),
    Metric(
        "gatejoin_gc_pause_seconds", "histogram", ("generation",), "seconds", _OWN,
        "How long Python's garbage collection held everything up.",
    ),
    Metric(
        "gatejoin_queue_fill_ratio", "gauge", ("queue",), "0 to 1", _OWN,
        "How full a queue is against its bound; of waiting runs, the fullest partition's.",
    ),
    Metric(
        "gatejoin_unacknowledged_bytes", "gauge", (), "bytes", _OWN,
        "Bytes sent but not acknowledged by the broker.",
    ),
    Metric(
        "gatejoin_runs_total", "counter", (), "runs", _SHARE,
        "Runs of port events worked on.",
    ),
    Metric(
        "gatejoin_record_batches_total", "counter", (), "batches", _SHARE,
        "Record batches of port events read.",
    ),
    Metric(
        "gatejoin_fetched_bytes_total", "counter", (), "bytes", _SHARE,
        "Bytes of port events as fetched.",
    ),
    Metric(
        "gatejoin_emitted_bytes_total", "counter", ("topic",), "bytes", _SHARE,
        "Bytes of record batches sent.",
    ),
    Metric(
        "gatejoin_table_rows", "gauge", ("table",), "rows", _SPLIT,
        "Rows in memory.",
    ),
    Metric(
        "gatejoin_table_bytes", "gauge", ("table",), "bytes", _OWN,
        "Bytes in memory.",
    ),
    Metric(
        "gatejoin_memory_limit_bytes", "gauge", (), "bytes", _OWN,
        "What the process may use: its control group's limit, or else the machine's memory.",
    ),
    # ---- the process, as prometheus-client tells it ----
    Metric(
        "process_resident_memory_bytes", "gauge", (), "bytes", _OWN,
        "Resident memory.", True,
    ),
    Metric(
        "process_virtual_memory_bytes", "gauge", (), "bytes", _OWN,
        "Virtual memory.", True,
    ),
    Metric(
        "process_cpu_seconds_total", "counter", (), "seconds", _OWN,
        "User and system CPU time.", True,
    ),
    Metric(
        "process_start_time_seconds", "gauge", (), "seconds", _OWN,
        "When the process started, since 1970.", True,
    ),
    Metric(
        "process_open_fds", "gauge", (), "descriptors", _OWN,
        "Open file descriptors.", True,
    ),
    Metric(
        "process_max_fds", "gauge", (), "descriptors", _OWN,
        "Most file descriptors that may be open.", True,
    ),
    Metric(
        "python_gc_objects_collected_total", "counter", ("generation",), "objects", _OWN,
        "Objects that garbage collection freed.", True,
    ),
    Metric(
        "python_gc_objects_uncollectable_total", "counter", ("generation",), "objects", _OWN,
        "Objects that garbage collection could not free.", True,
    ),
    Metric(
        "python_gc_collections_total", "counter", ("generation",), "collections", _OWN,
        "Garbage collections.", True,
    ),
)  # fmt: skip

METRICS: dict[str, Metric] = {metric.name: metric for metric in CATALOGUE}


def series_names(metric: Metric) -> tuple[str, ...]:
    """The names under which a metric's samples are found in Prometheus."""
    if metric.kind == "histogram":
        return tuple(f"{metric.name}_{suffix}" for suffix in ("bucket", "count", "sum"))
    return (metric.name,)
