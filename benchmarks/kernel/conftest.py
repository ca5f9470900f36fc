"""What the kernel's benchmarks share: the cores, the indexes, and the peers that are compiled.

All but the comparisons of two threads run on one core, ours and the peers alike. Compare only
figures of one run.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest

from benchmarks.kernel.compiled_peers import FlatMap, OnDemand, compile_peer, gather_of
from benchmarks.kernel.populations import UNITS, make_population, make_queries

CORES = sorted(os.sched_getaffinity(0))

USED_HEAP_BYTES = 31 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h

# 50 million str objects in a dict take more than 8 GB.
DICT_UNITS_MAX = 10_000_000

# Peers that have threads of their own are given one; read when they are imported.
os.environ["POLARS_MAX_THREADS"] = "1"


@pytest.fixture(autouse=True)
def core() -> Iterator[None]:
    """One core for the whole test."""
    os.sched_setaffinity(0, CORES[-1:])
    yield
    os.sched_setaffinity(0, CORES)


@pytest.fixture(scope="session", autouse=True)
def used_heap() -> None:
    """The heap of a process that has had fetches of some megabytes, as any worker soon has.

    glibc keeps freed memory up to twice the largest mapped block that was ever freed (at most
    32 MiB counts). Of a fresh process it gives every result back to the system at once, and what
    is measured then is page faults: more than half the time of an encoding.
    """
    bytearray(USED_HEAP_BYTES)


@pytest.fixture
def untouched_memory() -> Iterator[None]:
    """Blocks of a megabyte and more come from the system, as those of the unit index do.

    Else the table of a peer that fits into the used heap would lie in pages that are there already.
    """
    libc = ctypes.CDLL(None)
    assert libc.mallopt(M_MMAP_THRESHOLD, 1 << 20)
    yield
    assert libc.mallopt(M_MMAP_THRESHOLD, USED_HEAP_BYTES)
    assert libc.mallopt(M_TRIM_THRESHOLD, 2 * USED_HEAP_BYTES)


@pytest.fixture
def two_cores(core: None) -> None:
    """Two cores, where the machine has them."""
    if len(CORES) < 2:
        pytest.skip("one core only")
    os.sched_setaffinity(0, CORES[-2:])


@pytest.fixture(scope="session", params=UNITS, ids=lambda count: f"{count}-units")
def population(request):
    """An index half full of as many containers as asked for."""
    return make_population(request.param)


@pytest.fixture(scope="session", params=[95, 50], ids=lambda percent: f"{percent}%-hits")
def queries(request, population):
    """A batch for the population."""
    return make_queries(population, request.param)


@pytest.fixture(scope="session")
def rows_of(population):
    """A dict of the population: number as str to row."""
    if len(population.keys) > DICT_UNITS_MAX:
        pytest.skip(f"a dict of more than {DICT_UNITS_MAX:,} str takes too much memory")
    return {number.decode(): row for row, number in enumerate(population.numbers.tolist())}


@pytest.fixture(scope="session")
def gather(tmp_path_factory):
    """gather(lines): loads a 64-byte line from each address."""
    return gather_of(compile_peer(tmp_path_factory.mktemp("gather"), "gather.c", "gcc"))


@pytest.fixture(scope="session")
def flat_map_library(tmp_path_factory):
    """The compiled flat map."""
    folder = tmp_path_factory.mktemp("flat_map")
    return compile_peer(folder, "flat_map.cpp", "g++ and boost 1.81 (libboost1.81-dev)")


@pytest.fixture(scope="session")
def flat_map(flat_map_library, population):
    """A flat map of the population."""
    made = FlatMap(flat_map_library, population.keys)
    yield made
    made.close()


@pytest.fixture(scope="session")
def on_demand(tmp_path_factory):
    """The compiled simdjson reader."""
    folder = tmp_path_factory.mktemp("on_demand")
    needs = "g++ and simdjson (libsimdjson-dev)"
    return OnDemand(compile_peer(folder, "on_demand.cpp", needs, "-lsimdjson"))
