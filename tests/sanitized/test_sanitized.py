"""The core's unit tests once more, on a build with AddressSanitizer and UBSan (GATEJOIN_SANITIZE).

Goal: what the tests of the core make it do touches no foreign memory and is defined by C, in the
Cython modules as well as in the headers that the fuzz targets run. Method: a build of its own in
build/sanitized, so that the usual one stays; the same test files in processes with the sanitizer's
library loaded first. Small objects keep Python's own allocator: inputs of other sizes, and all that
the core itself allocates, are watched, and the fuzz targets watch the rest.

Tests that loop long in Python are left to the usual run, as is what limits or measures memory.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "sanitized"
LEFT_OUT = (
    *("against_reference", "repairs", "basic_plane", "every_place", "national_year"),
    *(
        "out_of_memory",
        "under_sanitizers",
        "threads",
        "churn",
        "gil",
        "every_damaged_byte",
        "many_batches",
    ),
    *("any_history", "wide_history", "order_of_arrival", "rehearsal", "histories_reach"),
)
# Two processes at a time; each has its share of the work.
RUNS = {
    "scanner and batches": ["event_scanner", "record_batch", "log_lines", "date_time"],
    "index, join and matcher": [
        *("container_number", "unit_index", "json_rows", "clearance_join", "matcher"),
        *("unit_state", "figures"),
    ],
}
FEWER = {"GATEJOIN_DIFFERENTIAL_RECORDS": "1000", "GATEJOIN_PROPERTY_RECORDS": "500"}


def library(name: str) -> str:
    """Where the compiler keeps one of its run-time libraries."""
    return subprocess.run(
        [*shlex.split(os.environ.get("CC", "gcc")), f"-print-file-name={name}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture(scope="module")
def environment():
    """The environment of a process that loads the sanitized core; the core is built before."""
    built = subprocess.run(
        [
            *(sys.executable, "setup.py", "--quiet", "build_ext", "--parallel", "2"),
            *("--build-lib", str(BUILT), "--build-temp", str(ROOT / "build" / "sanitized-objects")),
        ],
        cwd=ROOT,
        env={**os.environ, "GATEJOIN_SANITIZE": "address,undefined"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    shutil.copy(ROOT / "core_ext" / "__init__.py", BUILT / "core_ext")
    return {
        **os.environ,
        **FEWER,
        "LD_PRELOAD": f"{library('libasan.so')}:{library('libstdc++.so')}",
        # Python keeps much until its end; what leaks in the core, the fuzz targets tell.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": f"{BUILT}:{ROOT}",
        "PYTHONSAFEPATH": "1",  # not the working directory first, where the usual core lies
    }


def run_tests(environment: dict[str, str], files: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-o", f"pythonpath={BUILT} {ROOT}", "-k", f"not ({' or '.join(LEFT_OUT)})"),
            *files,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_core_tests_pass_under_sanitizers(environment):
    where = subprocess.run(
        [sys.executable, "-c", "import core_ext.matcher as m; print(m.__file__)"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(BUILT) in where.stdout
    groups = [[f"tests/core_ext/test_{name}.py" for name in names] for names in RUNS.values()]
    groups[1].append("tests/test_engine_against_model.py")
    with ThreadPoolExecutor(2) as pool:
        for ran in pool.map(lambda files: run_tests(environment, files), groups):
            said = ran.stdout[-6000:] + ran.stderr[-6000:]
            assert ran.returncode == 0, f"\n{said}"
            assert int(ran.stdout.rsplit(" passed", 1)[0].rsplit(maxsplit=1)[-1]) > 50, said


def test_a_read_outside_is_seen(environment):
    """The sanitizer is there and at work: a module of the core that is told of too much memory."""
    code = (
        "import ctypes, core_ext.record_batch as r\n"
        "block = (ctypes.c_ubyte * 4096)()\n"
        "longer = (ctypes.c_ubyte * 8192).from_address(ctypes.addressof(block))\n"
        "r.crc32c(longer)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode != 0
    assert "heap-buffer-overflow" in ran.stderr
