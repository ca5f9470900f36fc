"""What the kernel's benchmarks share: units, queries, and the physical limit.

GATEJOIN_BENCH_UNITS sets how many containers the index holds, as a list (1000000,10000000); one
batch is 2**20 queries, or as many as there are units if these are fewer. Pin the process to a core
(taskset) and leave the machine alone; compare only figures of one run.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy
import pytest

from core_ext import container_number
from core_ext.unit_index import MISS, UnitIndex

UNITS = [int(word) for word in os.environ.get("GATEJOIN_BENCH_UNITS", "2500000").split(",")]
QUERIES = 2**20
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

    keys: numpy.ndarray  # uint64
    numbers: numpy.ndarray  # S11
    rows: numpy.ndarray  # int32, MISS where the index has no such unit
    lines: numpy.ndarray  # uint64, address of the line where each probe begins


def spread_keys(first: int, count: int) -> numpy.ndarray:
    """Distinct packed keys over the whole key space, in no order."""
    spread = (numpy.arange(first, first + count, dtype=numpy.uint64) * 15_485_863 + 7) % KEYS_IN_ALL
    keys = (spread // 10**6 + 1) << 20 | spread % 10**6
    numpy.random.default_rng(first).shuffle(keys)
    return keys


@pytest.fixture(scope="module", params=UNITS, ids=lambda count: f"{count}-units")
def population(request):
    """An index half full of as many containers as asked for."""
    keys = spread_keys(0, request.param)
    numbers = container_number.unpack(keys)
    index = UnitIndex(len(keys))
    assert (index.insert(numbers) == numpy.arange(len(keys))).all()
    return Population(index, keys, numbers)


@pytest.fixture(scope="module", params=[95, 50], ids=lambda percent: f"{percent}%-hits")
def queries(request, population):
    """A batch of queries of which so many percent hit."""
    source = numpy.random.default_rng(request.param)
    count = min(QUERIES, len(population.keys))
    rows = source.integers(0, len(population.keys), count).astype(numpy.int32)
    keys = population.keys[rows]
    missing = source.random(count) >= request.param / 100
    keys[missing] = spread_keys(len(population.keys), count)[missing]
    rows[missing] = MISS
    return Queries(keys, container_number.unpack(keys), rows, population.index.home_lines(keys))


@pytest.fixture(scope="session")
def gather(tmp_path_factory):
    """gather(lines): loads a 64-byte line from each address."""
    library = tmp_path_factory.mktemp("gather") / "gather.so"
    source = Path(__file__).with_name("gather.c")
    subprocess.run(
        [os.environ.get("CC", "gcc"), "-O3", "-shared", "-fPIC", source, "-o", library], check=True
    )
    function = ctypes.CDLL(str(library)).gather
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    return lambda lines: function(lines.ctypes.data, len(lines))
