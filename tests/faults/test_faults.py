"""Real workers and brokers are broken in every way there is, and nothing is lost for it.

Method: the harness of ``make faults`` on three real brokers: 20 kill -9 and 5 of each other fault,
of workers, changelogs, brokers and connections. GATEJOIN_SEED names the seed (else a new one each
run, printed).
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
    counts = plan(KILLS_IN_CI, OTHERS_IN_CI)
    harness, why = asyncio.run(play(seed, counts, tmp_path, print))
    print(harness.table())
    assert not why, f"make faults SEED={seed} COUNT={KILLS_IN_CI}\n{harness.table()}\n{why}"
    assert harness.injected >= +counts
    for name, verdict in harness.verdicts.items():
        assert verdict.checked.keys() == INVARIANTS.keys(), name
        assert min(verdict.checked.values()) > 0, name
