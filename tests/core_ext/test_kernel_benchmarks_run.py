"""The kernel's benchmarks at a small size, so that none of them rots; they assert their answers."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    importlib.util.find_spec("pytest_benchmark") is None, reason="needs pytest-benchmark"
)
def test_kernel_benchmarks_run():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--benchmark-disable", "benchmarks/kernel"],
        cwd=ROOT,
        env={**os.environ, "GATEJOIN_BENCH_UNITS": "20000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
