"""Containers, queries and sizes for the kernel's benchmarks.

Called by the benchmarks and their conftest.py. It knows the kernel, no peer.

GATEJOIN_BENCH_UNITS sets how many containers the index holds, as a list (1000000,10000000). Below a
million everything shrinks with it: that is how the tests run all of this in seconds. One batch is
2**20 queries, or as many as there are units if these are fewer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy

from core_ext import container_number
from core_ext.unit_index import MISS, UnitIndex

# What is taken instead of all sizes; a result says so.
SIZES_VARIABLE = "GATEJOIN_BENCH_UNITS"
UNITS = [
    int(word)
    for word in os.environ.get(SIZES_VARIABLE, "1000000,2500000,10000000,50000000").split(",")
]
IS_SMALL = max(UNITS) < 1_000_000
QUERIES = 2**20
EVENTS = 1_000 if IS_SMALL else 50_000
# About 1 MiB of port events: what a fetch brings of a partition, unless it is told otherwise.
FETCH_EVENTS = 1_000 if IS_SMALL else 4_000
KEYS_IN_ALL = 52_728 * 10**6


@dataclass
class Population:
    """An index of containers and what is asked of it."""

    index: UnitIndex
    keys: numpy.ndarray  # uint64, one per unit; unit i has row i
    numbers: numpy.ndarray  # S11


@dataclass
class Queries:
    """One batch, with the right answers."""

    percent: int  # of them hit
    keys: numpy.ndarray  # uint64
    numbers: numpy.ndarray  # S11
    rows: numpy.ndarray  # int32, MISS where the index has no such unit
    lines: numpy.ndarray  # uint64, address of the line where each probe begins

    def case(self, population: Population) -> str:
        """What is measured, in words."""
        return f"{len(population.keys):,} units, {self.percent} % hits"


def spread_keys(first: int, count: int) -> numpy.ndarray:
    """Distinct packed keys over the whole key space, in no order."""
    spread = (numpy.arange(first, first + count, dtype=numpy.uint64) * 15_485_863 + 7) % KEYS_IN_ALL
    keys = (spread // 10**6 + 1) << 20 | spread % 10**6
    numpy.random.default_rng(first).shuffle(keys)
    return keys


def make_population(count: int) -> Population:
    """An index half full of so many containers."""
    keys = spread_keys(0, count)
    numbers = container_number.unpack(keys)
    index = UnitIndex(count)
    assert (index.insert(numbers) == numpy.arange(count)).all()
    return Population(index, keys, numbers)


def make_queries(population: Population, percent: int) -> Queries:
    """A batch of queries of which so many percent hit."""
    source = numpy.random.default_rng(percent)
    count = min(QUERIES, len(population.keys))
    rows = source.integers(0, len(population.keys), count).astype(numpy.int32)
    keys = population.keys[rows]
    missing = source.random(count) >= percent / 100
    keys[missing] = spread_keys(len(population.keys), count)[missing]
    rows[missing] = MISS
    lines = population.index.home_lines(keys)
    return Queries(percent, keys, container_number.unpack(keys), rows, lines)


def rounds(most: int) -> int:
    """How often to measure: ``most``, or once where everything is small."""
    return 1 if IS_SMALL else most
