"""What probes and insertions of the unit index cost, counted in lines: growth, churn, attack.

Goal: no key set makes probes dear, a table that grows stops nobody, and a year of churn leaves
nothing behind. Method: probe_cost_harness.c counts the 64-byte lines that each call reads or moves,
so the figures are the same on every machine; a line moved takes about 0.1 microseconds, and 5
milliseconds would be 50,000 of them.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Four lines, and on to the end of the chain that the last one lies in: slot_table.h.
MOVED_LINES_MAX = 4 + 64
NAME_SETS = [
    *("names-counted", "names-long-prefix", "names-long-suffix"),
    *("names-two-words-swapped", "names-of-bits"),
]
NUMBER_SETS = [
    *("consecutive", "one-serial", "wide-strides", "odd-strides", "high-bits"),
    "colliding-elsewhere",
]


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    """harness(*words): the figures that the program prints, by name."""
    program = tmp_path_factory.mktemp("probe_cost") / "harness"
    subprocess.run(
        [
            *shlex.split(os.environ.get("CC", "gcc")),
            *("-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror"),
            f"-I{ROOT / 'core_ext'}",
            str(Path(__file__).with_name("probe_cost_harness.c")),
            *("-o", str(program)),
        ],
        check=True,
    )

    def run(*words: object) -> dict[str, float]:
        ran = subprocess.run(
            [str(program), *map(str, words)], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        pairs = (line.split() for line in ran.stdout.splitlines())
        return {name: float(figure) for name, figure in pairs}

    return run


def test_growing_tables_stop_nobody(harness):
    """From nothing to two million units, every other one a name, probed all the way."""
    figures = harness("grow", 2_000_000)
    assert figures["growths"] > 20
    assert figures["moved_most"] <= MOVED_LINES_MAX
    # A container is one line, a name two: its slot and its record.
    assert figures["hit_mean"] < 1.6 and figures["hit_longest"] <= 16
    assert figures["miss_mean"] < 1.2 and figures["miss_longest"] <= 16


def test_a_year_of_churn_leaves_nothing(harness):
    """Fifty times over, every unit leaves and another one comes: no byte, no row, no line more."""
    figures = harness("churn", 30_000, 50)
    assert figures["late_bytes"] == figures["early_bytes"]
    assert figures["late_rows"] == figures["early_rows"] == 30_001
    assert abs(figures["late_hit_mean"] - figures["early_hit_mean"]) < 0.01
    assert abs(figures["late_miss_mean"] - figures["early_miss_mean"]) < 0.01
    assert figures["late_hit_longest"] <= 8
    assert figures["end_units"] == 0


@pytest.mark.parametrize("name", NUMBER_SETS + NAME_SETS)
def test_no_key_set_makes_probes_dear(harness, name):
    """Sets chosen with knowledge of hash and layout, not of the seed: as cheap as any other."""
    figures = harness("attack", name, 100_000)
    assert figures["hit_mean"] < 1.01 + (name in NAME_SETS)
    assert figures["hit_longest"] <= 6
    assert figures["reseeds"] == 0


@pytest.mark.parametrize("count", [5_000, 20_000])
def test_a_leaked_seed_is_changed(harness, count):
    """Whoever knows even the seed brings about a move to another one, and no more than that."""
    figures = harness("attack", "colliding-here", count)
    assert 1 <= figures["reseeds"] <= 2
    assert figures["moved_most"] <= MOVED_LINES_MAX
    assert figures["hit_mean"] < 1.05 and figures["hit_longest"] <= 6
