"""The unit index against the physical limit and against what else there is.

Measured: a probe of container numbers (parsed, check digit verified, looked up), of packed keys,
the building of an index, its bytes per unit, one and two threads, batches from 1 up; beside them a
gather of the very same lines, a dict, and pandas' get_indexer. Every answer is compared before
anything is timed. ``extra_info`` of each result holds millions of units a second (from the median),
or the ratio that the group's name says.
"""

from __future__ import annotations

import statistics
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest

from core_ext import container_number
from core_ext.unit_index import MISS, UnitIndex

ROUNDS = 15


def note_rate(benchmark, count: int) -> None:
    """Millions of units a second, if anything was timed."""
    if benchmark.stats:
        benchmark.extra_info["units_per_us"] = round(count / benchmark.stats.stats.median / 1e6, 2)


def note_answer(benchmark, rows: numpy.ndarray) -> None:
    """A hash of the answers, so that nobody optimises them away."""
    benchmark.extra_info["answers_crc32"] = zlib.crc32(rows.tobytes())


@pytest.mark.benchmark(group="probe")
@pytest.mark.parametrize("path", container_number.available_simd_paths())
def test_probe_numbers(benchmark, population, queries, path):
    before = container_number.simd_path()
    container_number.use_simd_path(path)
    try:
        out = population.index.probe(queries.numbers)
        assert (out == queries.rows).all()
        note_answer(benchmark, out)
        benchmark.pedantic(population.index.probe, (queries.numbers,), {"out": out}, rounds=ROUNDS)
    finally:
        container_number.use_simd_path(before)
    note_rate(benchmark, len(out))


@pytest.mark.benchmark(group="probe")
def test_probe_packed_keys(benchmark, population, queries):
    out = population.index.probe(queries.keys)
    assert (out == queries.rows).all()
    note_answer(benchmark, out)
    benchmark.pedantic(population.index.probe, (queries.keys,), {"out": out}, rounds=ROUNDS)
    note_rate(benchmark, len(out))


@pytest.mark.benchmark(group="probe")
def test_gather_of_the_same_lines(benchmark, queries, gather):
    benchmark.pedantic(gather, (queries.lines,), rounds=ROUNDS)
    note_rate(benchmark, len(queries.lines))


@pytest.mark.benchmark(group="probe")
def test_dict_of_str(benchmark, population, queries):
    """At its best: one list comprehension; the strings are fresh, as they are in a stream."""
    rows_of = {number.decode(): row for row, number in enumerate(population.numbers.tolist())}
    texts = queries.numbers.astype("U11")

    def look_up(wanted):
        get = rows_of.get
        return [get(number, MISS) for number in wanted]

    assert look_up(texts.tolist()) == queries.rows.tolist()
    benchmark.pedantic(look_up, setup=lambda: ((texts.tolist(),), {}), rounds=5)
    note_rate(benchmark, len(texts))


@pytest.mark.benchmark(group="probe")
def test_pandas_get_indexer(benchmark, population, queries):
    """Given the keys already packed; its hash table is built before it is timed."""
    pandas = pytest.importorskip("pandas")
    index = pandas.Index(population.keys.astype(numpy.int64))
    keys = queries.keys.astype(numpy.int64)
    assert (index.get_indexer(keys) == queries.rows).all()
    benchmark.pedantic(index.get_indexer, (keys,), rounds=5)
    note_rate(benchmark, len(keys))


@pytest.mark.benchmark(group="ratios to the gather of the same lines, taken in turns")
@pytest.mark.parametrize("form", ["numbers", "keys"])
def test_probe_by_gather(benchmark, population, queries, gather, form):
    """The two alternate, so that whatever else the machine does meets both."""
    units = getattr(queries, form)
    out = numpy.empty(len(units), numpy.int32)
    ratios = []

    def once():
        started = time.perf_counter()
        gather(queries.lines)
        between = time.perf_counter()
        population.index.probe(units, out=out)
        ended = time.perf_counter()
        ratios.append((between - started) / (ended - between))

    once()
    assert (out == queries.rows).all()
    benchmark.pedantic(once, rounds=ROUNDS)
    benchmark.extra_info["probe_by_gather"] = round(statistics.median(ratios), 3)


@pytest.mark.benchmark(group="threads")
@pytest.mark.parametrize("threads", [1, 2])
def test_probe_numbers_in_threads(benchmark, population, queries, threads):
    parts = numpy.array_split(queries.numbers, threads)
    outs = numpy.array_split(numpy.empty(len(queries.numbers), numpy.int32), threads)
    with ThreadPoolExecutor(threads) as pool:

        def probe():
            jobs = [
                pool.submit(population.index.probe, part, out=out)
                for part, out in zip(parts, outs, strict=True)
            ]
            return [job.result() for job in jobs]

        assert (numpy.concatenate(probe()) == queries.rows).all()
        benchmark.pedantic(probe, rounds=ROUNDS)
    note_rate(benchmark, len(queries.numbers))


@pytest.mark.benchmark(group="batch size")
@pytest.mark.parametrize("size", [1, 10, 100, 1000, 10_000, 100_000])
def test_probe_batches(benchmark, population, queries, size):
    """The whole batch of queries in calls of so many units."""
    numbers = queries.numbers[: 100 * size]
    calls = [
        (numbers[start : start + size], numpy.empty(min(size, len(numbers) - start), numpy.int32))
        for start in range(0, len(numbers), size)
    ]

    def probe():
        for part, out in calls:
            population.index.probe(part, out=out)

    probe()
    assert (numpy.concatenate([out for _, out in calls]) == queries.rows[: len(numbers)]).all()
    benchmark.pedantic(probe, rounds=ROUNDS)
    note_rate(benchmark, len(numbers))


@pytest.mark.benchmark(group="build")
@pytest.mark.parametrize("capacity", ["made for it", "grown"])
@pytest.mark.parametrize("form", ["numbers", "keys"])
def test_build(benchmark, population, form, capacity):
    units = getattr(population, form)
    out = numpy.empty(len(units), numpy.int32)
    made = []

    def build():
        made.clear()
        made.append(UnitIndex(len(units) if capacity == "made for it" else 0))
        made[0].insert(units, out=out)

    build()
    assert (out == numpy.arange(len(units))).all()
    assert (made[0].probe(units) == out).all()
    benchmark.pedantic(build, rounds=5)
    note_rate(benchmark, len(units))
    memory = made[0].memory()
    benchmark.extra_info["table_bytes_per_unit"] = round(memory["container_table"] / len(units), 2)
    benchmark.extra_info["all_bytes_per_unit"] = round(memory["total"] / len(units), 2)
    benchmark.extra_info["load"] = round(made[0].statistics()["containers"]["load"], 3)


@pytest.mark.benchmark(group="build")
def test_build_dict(benchmark, population):
    texts = population.numbers.astype("U11")

    def build(numbers):
        return {number: row for row, number in enumerate(numbers)}

    assert len(build(texts.tolist())) == len(texts)
    benchmark.pedantic(build, setup=lambda: ((texts.tolist(),), {}), rounds=3)
    note_rate(benchmark, len(texts))


@pytest.mark.benchmark(group="longest call while the table grows")
def test_growth_stalls_nobody(benchmark, population):
    """From nothing to all units, 64 a call; the figure is the longest call's own CPU time."""
    size = 64
    longest_ms = []

    def grow():
        index = UnitIndex()
        out = numpy.empty(size, numpy.int32)
        longest_ns = 0
        for start in range(0, len(population.keys) - size + 1, size):
            started = time.thread_time_ns()
            index.insert(population.keys[start : start + size], out=out)
            longest_ns = max(longest_ns, time.thread_time_ns() - started)
        longest_ms.append(longest_ns / 1e6)
        return index

    index = grow()
    whole = len(population.keys) // size * size
    assert (index.probe(population.keys[:whole]) == numpy.arange(whole)).all()
    benchmark.pedantic(grow, rounds=1)
    benchmark.extra_info["longest_call_ms"] = round(min(longest_ms), 3)


@pytest.mark.benchmark(group="names")
@pytest.mark.parametrize("step", ["insert", "probe"])
def test_names(benchmark, population, step):
    """Cargo control numbers of 8 to 30 bytes, asked for in another order than they came."""
    count = len(population.keys)
    names = [b"PKG%0*d" % (5 + i % 22, i) for i in range(count)]
    offsets = numpy.concatenate([[0], numpy.cumsum([len(name) for name in names])])
    order = numpy.random.default_rng(1).permutation(count)
    asked = b"".join([names[i] for i in order])
    asked_offsets = numpy.concatenate([[0], numpy.cumsum([len(names[i]) for i in order])])
    raw = b"".join(names)
    del names
    made = []

    def build():
        made.clear()
        made.append(UnitIndex(0, count))
        return made[0].insert(raw, offsets, is_lot=True)

    assert (build() == numpy.arange(count)).all()
    assert (made[0].probe(asked, asked_offsets, is_lot=True) == order).all()
    if step == "insert":
        benchmark.pedantic(build, rounds=3)
        benchmark.extra_info["all_bytes_per_unit"] = round(made[0].memory()["total"] / count, 2)
    else:
        benchmark.pedantic(made[0].probe, (asked, asked_offsets), {"is_lot": True}, rounds=5)
    note_rate(benchmark, count)
