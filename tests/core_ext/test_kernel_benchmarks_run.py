"""The kernel's benchmarks at a small size, so that none of them rots; they assert their answers."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("pytest_benchmark", "pandas", "polars", "duckdb", "msgspec", "orjson")


def run(*command, **environment):
    """Run Python in the root; fail with what it said."""
    # Among tests that run side by side pytest-benchmark would think that it does, and measure
    # nothing.
    own = {name: value for name, value in os.environ.items() if "XDIST" not in name}
    ran = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=ROOT,
        env={**own, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, NEEDED)), reason=f"needs {', '.join(NEEDED)}"
)
def test_kernel_benchmarks_run_and_are_reported(tmp_path):
    measured, results = tmp_path / "kernel.json", tmp_path / "results"
    said = run(
        *("pytest", "-q", "-p", "no:cacheprovider", f"--benchmark-json={measured}"),
        "benchmarks/kernel",
        GATEJOIN_BENCH_UNITS="20000",
    )
    assert " passed" in said
    assert "| probe of numbers / dict of str | 70 | 100 |" in run(
        "benchmarks.kernel.report", measured, results
    )
    assert {path.suffix for path in results.iterdir()} == {".json", ".md", ".svg"}
    (result,) = map(json.loads, (path.read_text() for path in results.glob("kernel-*.json")))
    from benchmarks.kernel.targets import ROWS

    shown = {row["row"] for row in result["rows"]}
    compiled = {"numbers_by_flat_map", "build_by_flat_map", "scan_by_on_demand"}
    assert set(ROWS) - shown <= compiled | {"scan_by_on_demand_known"} | {
        "two_threads_by_one",
        "two_gathers_by_one",
    }
