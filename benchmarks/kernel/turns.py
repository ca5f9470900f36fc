"""Two ways to do one job, measured in turns, so that whatever else the machine does meets both.

Called by the benchmarks. It knows nothing of what is measured. The other side is what
pytest-benchmark times; ours runs before each of its rounds. ``extra_info`` then holds the row of
targets.py, both rates and the ratio (``measured``), each as quartiles.
"""

from __future__ import annotations

import gc
import statistics
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy


def quartiles(values: list[float]) -> list[float]:
    """First quartile, median, third quartile."""
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def rounded(value: float) -> float:
    """Four significant digits: more would only look exact."""
    return float(f"{value:.4g}")


def note_rate(benchmark: Any, count: int) -> None:
    """Millions a second of what pytest-benchmark timed itself, if anything was timed."""
    if benchmark.stats:
        seconds = quartiles(benchmark.stats.stats.data)
        benchmark.extra_info["per_us"] = [rounded(count / time / 1e6) for time in seconds[::-1]]


def note_answer(benchmark: Any, *answers: numpy.ndarray) -> None:
    """A hash of the answers: the same on every machine and path, and nobody optimises them away."""
    crc = 0
    for answer in answers:
        crc = zlib.crc32(numpy.ascontiguousarray(answer).view(numpy.uint8), crc)
    benchmark.extra_info["answers_crc32"] = f"{crc:08x}"


def note_figure(benchmark: Any, row: str, case: str, value: float, counts: bool) -> None:
    """A figure that is no time, for a row of targets.py."""
    benchmark.extra_info |= {
        "row": row,
        "case": case,
        "counts": counts,
        "measured": [rounded(value)] * 3,
    }


def compare(
    benchmark: Any,
    row: str,
    case: str,
    ours: Callable[[], object],
    theirs: Callable[..., object],
    *,
    count: int,
    rounds: int,
    counts: bool = True,
    warm: bool = False,
    prepare: Callable[[], tuple] = tuple,
) -> None:
    """Times ``theirs`` with ours before each round and notes both rates and the ratio.

    ``count`` units are dealt with by a call of either. ``prepare`` makes the arguments of
    ``theirs``, untimed. ``counts`` says whether the row's target is meant for this case. With
    ``warm`` each side runs once, untimed, before it is timed, and finds the caches as it left them
    itself; without, as the other side left them.
    """
    own_seconds: list[float] = []

    def take_turn() -> tuple[tuple, dict]:
        arguments = prepare()
        if warm:
            ours()
        started = time.perf_counter()
        ours()
        own_seconds.append(time.perf_counter() - started)
        if warm:
            theirs(*prepare())
        return arguments, {}

    ours()
    theirs(*prepare())
    gc.collect()
    gc.disable()
    try:
        benchmark.pedantic(theirs, setup=take_turn, rounds=rounds)
    finally:
        gc.enable()
    if not benchmark.stats:
        return
    peer_seconds = benchmark.stats.stats.data
    ratios = [peer / own for own, peer in zip(own_seconds, peer_seconds, strict=True)]
    benchmark.extra_info |= {
        "row": row,
        "case": case,
        "counts": counts,
        "rounds": rounds,
        "ours_per_us": [rounded(count / seconds / 1e6) for seconds in quartiles(own_seconds)[::-1]],
        "peer_per_us": [
            rounded(count / seconds / 1e6) for seconds in quartiles(peer_seconds)[::-1]
        ],
        "measured": [rounded(ratio) for ratio in quartiles(ratios)],
    }
