"""Every fuzz target for a bounded time, in CI on each change; ``make fuzz`` goes on longer.

Goal: whatever bytes come in, the scanner, the batch codec, the log reader with the engine behind
it, and what reads published records back neither touch foreign memory, nor leak, nor do anything
undefined, and agree with their second opinions. Method: run.py.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fuzz.run import COMPILER, HERE, TARGETS, Outcome, run

SECONDS = int(os.environ.get("GATEJOIN_FUZZ_SECONDS", "10"))


@pytest.fixture(scope="module")
def outcomes():
    """All targets at once, as many at a time as there are processors."""
    assert shutil.which(COMPILER), "clang is missing: apt-get install clang libclang-rt-14-dev"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda target: run(target, SECONDS), TARGETS)
        return {outcome.target: outcome for outcome in done}


@pytest.mark.parametrize("target", TARGETS)
def test_target_holds(outcomes: dict[str, Outcome], target: str):
    outcome = outcomes[target]
    assert outcome.good, f"\n{outcome.said[-6000:]}"
    # A target that refuses everything at once would pass, too; this one has gone to work.
    assert outcome.runs > 100, outcome.said[-2000:]


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_there_and_small(target: str):
    seeds = [path.stat().st_size for path in (HERE / "corpus" / target).iterdir()]
    assert seeds
    assert sum(seeds) < 1 << 16
