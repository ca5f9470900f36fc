"""The engine as the worker and the replay see it: policy in, records in, effects out.

What it is: the one place that turns a Policy into the compiled Matcher's masks and microseconds,
and names the topics for it. Everything else is the Matcher's.
Called by ``stream.agents`` and ``stream.customs_feed`` (worker) and ``stream.replay``. It must
never know Kafka, files, metrics or what time it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from core_ext.matcher import Matcher
from core_ext.record_batch import OutputRun, RecordRun
from stream.moments import days_since_1970
from stream.policy import Policy

OPERATORS, DECLARATIONS, HOLDS, PORT_EVENTS = range(4)
"""Input topics, as the core counts them."""

INPUT_TOPICS = ("operators", "declarations", "holds", "port-events")

_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US


#: operatorID, status, port events accepted, refused, reported late.
OperatorRow = tuple[str, str, int, int, int]
#: direction, unitType, units in stock by age, (in, out) of movements, pieces and grams.
NationRow = tuple[str, str, tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int]]


class Aggregates(NamedTuple):
    """What changed of a partition's sums since it was last asked, as cells of compacted topics."""

    volumes: OutputRun
    stock: OutputRun
    activity: OutputRun


class Effects(NamedTuple):
    """What the engine has to say since it was last asked; each record knows its partition."""

    decisions: OutputRun
    alerts: OutputRun
    rejects: OutputRun


def make_matcher(
    policy: Policy,
    *,
    partition_count: int = 0,
    topic_names: Sequence[str] = INPUT_TOPICS,
    explain: bool = False,
) -> Matcher:
    """Returns a Matcher with a policy; ``partition_count`` 0 makes one for a replay."""
    parameters = policy.parameters
    return Matcher(
        [tuple(period) for period in policy.periods],
        {
            "overstay_us": parameters.overstay_days * _DAY_US,
            "late_import_us": parameters.late_import_minutes * _MINUTE_US,
            "late_export_us": parameters.late_export_minutes * _MINUTE_US,
            "clock_ahead_us": parameters.clock_ahead_minutes * _MINUTE_US,
            "return_us": parameters.return_days * _DAY_US,
            "stale_us": parameters.stale_days * _DAY_US,
            "reservation_us": parameters.reservation_hours * _HOUR_US,
            "weight_tolerance_thousandths": parameters.weight_tolerance_thousandths,
        },
        partition_count,
        tuple(topic_names),
        explain,
    )


class Engine:
    """One worker's state: all of customs' side, and the movements of the partitions it owns."""

    def __init__(
        self,
        policy: Policy,
        partition_count: int,
        topic_names: Sequence[str] = INPUT_TOPICS,
    ) -> None:
        """Makes an empty engine for ``partition_count`` (from 1) partitions of port-events."""
        self.policy = policy
        self.matcher = make_matcher(
            policy, partition_count=partition_count, topic_names=topic_names
        )

    def apply_customs(self, topic: int, partition: int, run: RecordRun, now_us: int) -> None:
        """Applies a run of operators, declarations or holds."""
        self.matcher.apply(topic, partition, run, now_us)

    def apply_events(self, partition: int, run: RecordRun, now_us: int) -> None:
        """Applies a run of port events of one partition."""
        self.matcher.apply(PORT_EVENTS, partition, run, now_us)

    def take_unit_changes(self, partition: int, now_us: int, bytes_max: int) -> OutputRun:
        """Returns states of units that changed, ``bytes_max`` or a little more; to be called while
        ``is_taking``, then all are taken that had changed at the first call."""
        return self.matcher.take_unit_changes(partition, now_us // 1000, bytes_max)

    def is_taking(self, partition: int) -> bool:
        """Returns whether the last call of ``take_unit_changes`` has left something."""
        return self.matcher.is_taking(partition)

    def restore_units(self, partition: int, run: RecordRun) -> int:
        """Takes states of units back from the changelog; returns how many.

        Raises StateError at a record that can't be used; those before it are applied.
        """
        return self.matcher.restore_units(partition, run)

    def retire(self, partition: int, before_us: int, unchanged_takes: int) -> int:
        """Forgets units whose visits were over before a moment, a bounded piece of them at a time
        (Matcher.retire); returns how many."""
        return self.matcher.retire(partition, before_us, unchanged_takes)

    def clock_us(self, partition: int) -> int | None:
        """Returns a partition's clock, None before its first record."""
        return self.matcher.clock_us(partition)

    def set_clock(self, partition: int, clock_us: int) -> None:
        """Sets the clock of a partition whose units came back; nothing is raised."""
        self.matcher.set_clock(partition, clock_us)

    def suppress_alerts(self, partition: int, run: RecordRun) -> None:
        """Notes published alerts, which are not to be raised again."""
        self.matcher.suppress_alerts(partition, run)

    def suppress_rejects(self, partition: int, run: RecordRun) -> None:
        """Notes published rejects, which are not to be written again."""
        self.matcher.suppress_rejects(partition, run)

    def suppressed_clear(self, partition: int) -> None:
        """Forgets what the two above noted."""
        self.matcher.suppressed_clear(partition)

    def restore_events(self, partition: int, run: RecordRun, *, silent: bool) -> None:
        """Applies port events that may have been applied before: nothing is decided; alerts and
        rejects that are not noted as published are made up, unless ``silent``."""
        self.matcher.restore_events(partition, run, silent)

    def restore_decisions(self, run: RecordRun) -> None:
        """Takes published decisions back: each check knows how far it had been decided."""
        self.matcher.restore_decisions(run)

    def restore_alerts(self, run: RecordRun) -> None:
        """Takes published alerts back, so that they are not raised again."""
        self.matcher.restore_alerts(run)

    def finish_restore(self, partition: int, now_us: int) -> None:
        """Weighs every open check of a partition again, since customs may have spoken meanwhile.

        Decisions of this have no trigger.
        """
        self.matcher.take_over(partition, now_us)

    def forget_partition(self, partition: int) -> None:
        """Drops the movements of a partition that another worker owns now."""
        self.matcher.forget_partition(partition)

    def advance_clock(self, partition: int, now_us: int) -> None:
        """Moves the clock of a partition on and raises what is due."""
        self.matcher.advance_clock(partition, now_us)

    def take_effects(self) -> Effects:
        """Returns what is to be published, in order, and forgets it."""
        return Effects(
            self.matcher.take_decisions(),
            self.matcher.take_alerts(),
            self.matcher.take_rejects(),
        )

    def take_aggregates(self, partition: int, now_us: int) -> Aggregates:
        """Returns the cells of a partition that changed since the last call."""
        now_ms = now_us // 1000
        return Aggregates(
            self.matcher.take_volume_cells(partition, now_ms),
            self.matcher.take_stock_cells(partition, now_ms),
            self.matcher.take_activity_cells(partition, now_ms),
        )

    def counters(self) -> dict[str, dict[str, int]]:
        """Returns totals since the start (Matcher.counters)."""
        return self.matcher.counters()

    def operator_figures(self) -> list[OperatorRow]:
        """Returns what each operator sent (Matcher.operator_figures)."""
        return self.matcher.operator_figures()

    def nation_figures(self, partitions: Iterable[int], now_us: int) -> list[NationRow]:
        """Returns what stands and has moved in partitions (Matcher.nation_figures) as of today."""
        return self.matcher.nation_figures(partitions, days_since_1970(now_us))

    def sizes(self) -> dict[str, int]:
        """Returns rows in each table and bytes of state (Matcher.table_sizes)."""
        return self.matcher.table_sizes()
