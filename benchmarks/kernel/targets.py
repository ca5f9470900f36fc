"""What the kernel owes and what it aims at: one row for each comparison that counts.

Called by the benchmarks, which name a row with each figure, and by report.py, which judges. It
knows no measurement. A ratio is millions of units (or events, or records) a second of ours divided
by the other side's, both of one run and taken in turns; for bytes per entry less is better. A row
without a target is there to be shown.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the result table."""

    title: str
    done: float | None = None  # owed
    hard: float | None = None  # the goal
    less_is_better: bool = False

    def grade(self, measured: float) -> str:
        """``hard``, ``done``, ``missed``, or nothing where there is no target."""
        if self.done is None or self.hard is None:
            return ""
        sign = -1 if self.less_is_better else 1
        if sign * measured >= sign * self.hard:
            return "hard"
        return "done" if sign * measured >= sign * self.done else "missed"


ROWS = {
    "numbers_by_gather": Row("probe of numbers / gather of the same lines", 0.50, 0.70),
    "keys_by_gather": Row("probe of packed keys / gather of the same lines", 0.60, 0.80),
    "numbers_by_flat_map": Row("probe of numbers / boost::unordered_flat_map of keys", 3, 4),
    "numbers_by_pandas": Row("probe of numbers / pandas get_indexer of keys", 7, 10),
    "numbers_by_dict": Row("probe of numbers / dict of str", 70, 100),
    "half_hits_by_most": Row("probe at 50 % hits / at 95 % hits", 0.85, 0.95),
    "two_threads_by_one": Row("probe in two threads / in one", 1.7, 1.9),
    "build_by_flat_map": Row("build from numbers / boost insert of keys, reserved", 2, 4),
    "bytes_per_entry": Row("bytes per entry of the table", 16, 9, less_is_better=True),
    "scan_by_msgspec": Row("JSON scan, known key order / msgspec Struct", 6, 9),
    "scan_by_on_demand": Row("JSON scan, any key order / simdjson on-demand", 1.2, 1.5),
    "decode_by_aiokafka": Row("record batch decode and CRC / aiokafka", 8, 12),
    "encode_by_aiokafka": Row("record batch encode / aiokafka BatchBuilder", 12, 20),
    "core_by_python": Row("Kafka bytes to rows / aiokafka + msgspec + dict", 10, 15),
    "customs_bytes": Row("bytes a container on customs' side", 40, 40, less_is_better=True),
    "movement_bytes": Row("bytes a unit with three events", 200, 200, less_is_better=True),
    "numbers_by_duckdb": Row("probe of numbers / duckdb left join of keys (it builds each time)"),
    "numbers_by_polars": Row("probe of numbers / polars left join of keys (it builds each time)"),
    "scan_by_msgspec_any": Row("JSON scan, any key order / msgspec Struct"),
    "scan_by_msgspec_lines": Row("JSON scan / msgspec decode_lines"),
    "scan_by_on_demand_known": Row("JSON scan, known key order / simdjson on-demand"),
    "scan_by_orjson": Row("JSON scan / orjson and ten fields"),
    "decode_by_aiokafka_lz4": Row("record batch decode and CRC, lz4 / aiokafka"),
    "encode_by_aiokafka_lz4": Row("record batch encode, lz4 / aiokafka BatchBuilder"),
    "two_gathers_by_one": Row("gather in two threads / in one, for comparison"),
    "core_by_python_lz4": Row("Kafka bytes to rows, lz4 / aiokafka + msgspec + dict"),
}
