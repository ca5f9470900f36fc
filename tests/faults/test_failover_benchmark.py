"""The measurement of fail-over still runs: its in-process part, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

from benchmarks.failover.__main__ import write
from benchmarks.failover.measure import Cost, CustomsLoad, FailOver, Restore, restore_rate


def test_units_come_back_and_are_timed() -> None:
    restored = restore_rate(2000)
    assert restored.units == 2000
    assert restored.seconds > 0


def test_a_result_is_written_for_machines_people_and_as_a_chart(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"processor": "any", "cores": 2, "load_average_before": 0.0},
        {"rounds": 2, "units": 10, "customs": 10},
        {
            "dynamic": [FailOver({0: 6.5, 1: 7.0}), FailOver({0: 6.4, 1: 0.2})],
            "static": [FailOver({0: 2.0, 1: 0.1})],
        },
        Restore(2000, 250_000, 0.001),
        [Cost(60.0, 1000.0, 1.0, 2.0), Cost(1.0, 900.0, 1.5, 2.5)],
        CustomsLoad(10, 3.0, 2.5),
    )
    (result,), (table,), (chart,) = (tmp_path.glob(f"*.{kind}") for kind in ("json", "md", "svg"))
    assert json.loads(result.read_text())["restore"]["units"] == 2000
    assert "at most 7.00 s of 2 kills" in table.read_text()
    assert len(Xml.parse(chart).getroot().findall("{*}circle")) == 6
