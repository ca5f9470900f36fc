"""Real workers are broken in every way there is, and nothing is lost for it.

Method: the harness of ``make faults``, with kill -9, pauses, joining and leaving, twins, and
damaged changelogs on three real brokers. Brokers and connections are broken by ``make faults``
alone, which takes longer than a test suite should. GATEJOIN_SEED names the seed (else a new one
each run, printed).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.faults.harness import KILLS_IN_CI, OTHERS_IN_CI, plan, play
from tests.faults.verifier import INVARIANTS


@pytest.mark.slow
def test_nothing_is_lost_nothing_doubled_nothing_changed(tmp_path: Path) -> None:
    seed = os.environ.get("GATEJOIN_SEED", str(int.from_bytes(os.urandom(4), "big")))
    print(f"SEED={seed} COUNT={KILLS_IN_CI}")
    counts = plan(KILLS_IN_CI, OTHERS_IN_CI, of_cluster=0)
    harness, why = asyncio.run(play(seed, counts, tmp_path, print))
    print(harness.table())
    assert not why, f"make faults SEED={seed} COUNT={KILLS_IN_CI}\n{harness.table()}\n{why}"
    assert harness.injected >= +counts
    for name, verdict in harness.verdicts.items():
        assert verdict.checked.keys() == INVARIANTS.keys(), name
        assert min(verdict.checked.values()) > 0, name
