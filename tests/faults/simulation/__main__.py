"""``python -m tests.faults.simulation``: runs by the thousand, until one goes wrong.

Called by people. It must never know how a run is made.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import os
import sys
import time
from collections import Counter
from functools import partial

from tests.faults import simulation
from tests.faults.simulation.play import Tally, play_every_step, play_random

HOW = {"every-step": play_every_step, "random": play_random}


def main() -> int:
    parser = argparse.ArgumentParser(description=(simulation.__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="of each kind, or a few more")
    parser.add_argument("--seed", default=str(int.from_bytes(os.urandom(4), "big")))
    parser.add_argument("--how", choices=HOW, help="only crashes at each step, or faults at random")
    parser.add_argument("--history", type=int, help="only this one of the seed's histories")
    arguments = parser.parse_args()
    print(f"--seed {arguments.seed}", flush=True)
    for how in HOW if arguments.how is None else [arguments.how]:
        if not make_runs(how, arguments.seed, arguments.runs, arguments.history):
            return 1
    return 0


def make_runs(how: str, seed: str, wanted: int, history: int | None) -> bool:
    """Makes runs of one kind on all processors; whether none went wrong."""
    started = time.monotonic()
    runs = steps = 0
    faults: Counter[str] = Counter()
    numbers = itertools.count() if history is None else iter([history])
    processors = os.cpu_count() or 1
    with concurrent.futures.ProcessPoolExecutor(processors) as pool:
        play = partial(HOW[how], seed)
        under_way: set[concurrent.futures.Future[Tally]] = set()
        while True:
            if runs < wanted:
                # One history more than there are processors waits, so that none of them does.
                more = itertools.islice(numbers, processors + 1 - len(under_way))
                under_way |= {pool.submit(play, number) for number in more}
            if not under_way:
                break
            ended, under_way = concurrent.futures.wait(
                under_way, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for one in ended:
                tally = one.result()
                runs, steps, faults = runs + tally.runs, steps + tally.steps, faults + tally.faults
                if tally.wrong:
                    print("\n".join(tally.wrong))
                    pool.shutdown(cancel_futures=True)
                    return False
    elapsed_s = time.monotonic() - started
    print(
        f"{how}: {runs:,} runs, {steps:,} steps, {elapsed_s:.1f} s, {runs / elapsed_s:,.0f} runs/s",
        flush=True,
    )
    for fault, count in faults.most_common():
        print(f"  {fault:<20}{count:>10,}")
    return True


if __name__ == "__main__":
    sys.exit(main())
