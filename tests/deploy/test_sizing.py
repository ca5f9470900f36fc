"""The sizing guide's command measures, and its plans grow with what is asked."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@pytest.fixture(scope="module")
def sizing() -> ModuleType:
    specification = importlib.util.spec_from_file_location("sizing", DEPLOY / "sizing.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["sizing"] = module
    specification.loader.exec_module(module)
    return module


def test_it_measures_and_prints_what_the_page_shows() -> None:
    ran = subprocess.run(
        [sys.executable, str(DEPLOY / "sizing.py"), "--scale", "0.005"],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    shown = re.search(
        r"```console\n.*?\n(measured.*?)```", (DEPLOY / "sizing.md").read_text(), re.S
    )
    labels = [re.sub(r"[\d.,]+", "#", line) for line in shown[1].splitlines()]
    assert [re.sub(r"[\d.,]+", "#", line).split() for line in ran.stdout.splitlines()] == [
        label.split() for label in labels
    ]


def test_a_plan_grows_with_what_is_asked(sizing: ModuleType) -> None:
    figures = sizing.Figures(90.0, 100.0, 1.0, 1.25, 1000, 1000, 1000)
    asked = {"events_per_second": 20_000.0, "declared_units": 5e6, "events_kept": 20e6}
    small = sizing.plan(figures, **asked)
    # A worker is planned for 200,000 events/s here, and there are never fewer than two.
    assert (small.workers, small.partitions) == (2, 12)
    assert small.memory_bytes == pytest.approx((320 << 20) + 1.5 * (450e6 + 2000e6), rel=1e-6)
    assert small.customs_load_seconds == pytest.approx(6.25)
    large = sizing.plan(figures, **{**asked, "events_per_second": 1e6})
    assert (large.workers, large.partitions) == (5, 24)
    assert large.memory_bytes < small.memory_bytes, "events are divided among more workers"
    for name in asked:
        more = sizing.plan(figures, **{**asked, name: asked[name] * 100})
        grown = dataclasses.astuple(more)
        assert any(a > b for a, b in zip(grown, dataclasses.astuple(small), strict=True)), name
