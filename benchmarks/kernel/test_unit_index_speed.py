"""The unit index against the physical limit and against what else there is.

Measured: a probe of container numbers (parsed, check digit verified, looked up) and of packed keys;
the building of an index and its bytes per entry; one and two threads; batches from 1 to a million;
hit rates of 95 and 50 percent. Peers: a gather of the very same lines, boost's flat map, pandas'
get_indexer, a dict, joins of duckdb and polars. Peers of integers get the keys already packed;
ours start from the 11 bytes. Every answer is compared before anything is timed.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest

from benchmarks.kernel.compiled_peers import FlatMap
from benchmarks.kernel.populations import UNITS, make_queries, rounds
from benchmarks.kernel.turns import compare, note_answer, note_figure, note_rate
from core_ext import container_number
from core_ext.unit_index import MISS, UnitIndex

ROUNDS = 15
# What the targets beside the gather and the other tables are meant for; the rest is shown as well.
LARGE = (10_000_000, 50_000_000)
TARGET_PERCENT = 95


def prober(population, units, out):
    """A call that probes units into out."""
    return lambda: population.index.probe(units, out=out)


@pytest.mark.benchmark(group="probe, by code path")
@pytest.mark.parametrize("path", container_number.available_simd_paths())
@pytest.mark.parametrize("form", ["numbers", "keys"])
def test_probe(benchmark, population, queries, path, form):
    units = getattr(queries, form)
    before = container_number.simd_path()
    container_number.use_simd_path(path)
    try:
        out = population.index.probe(units)
        assert (out == queries.rows).all()
        note_answer(benchmark, out)
        benchmark.pedantic(prober(population, units, out), rounds=rounds(ROUNDS))
    finally:
        container_number.use_simd_path(before)
    note_rate(benchmark, len(out))


@pytest.mark.benchmark(group="probe against a gather of the same lines")
@pytest.mark.parametrize("form", ["numbers", "keys"])
def test_gather(benchmark, population, queries, gather, form):
    units = getattr(queries, form)
    out = population.index.probe(units)
    assert (out == queries.rows).all()
    note_answer(benchmark, out)
    compare(
        benchmark,
        f"{form}_by_gather",
        queries.case(population),
        prober(population, units, out),
        lambda: gather(queries.lines),
        count=len(out),
        rounds=rounds(2 * ROUNDS),
        counts=len(population.keys) in LARGE and queries.percent == TARGET_PERCENT,
    )


@pytest.mark.benchmark(group="probe against boost::unordered_flat_map")
def test_flat_map(benchmark, population, queries, flat_map):
    out = numpy.empty(len(queries.keys), numpy.int32)
    flat_map.probe(queries.keys, out)
    assert (out == queries.rows).all()
    note_answer(benchmark, out)
    compare(
        benchmark,
        "numbers_by_flat_map",
        queries.case(population),
        prober(population, queries.numbers, numpy.empty_like(out)),
        lambda: flat_map.probe(queries.keys, out),
        count=len(out),
        rounds=rounds(ROUNDS),
        counts=queries.percent == TARGET_PERCENT,
    )


@pytest.fixture(scope="session")
def pandas_index(population):
    """A pandas index of the keys, its hash table built."""
    pandas = pytest.importorskip("pandas")
    index = pandas.Index(population.keys.astype(numpy.int64))
    index.get_indexer(population.keys[:1].astype(numpy.int64))
    return index


@pytest.mark.benchmark(group="probe against pandas get_indexer")
def test_pandas(benchmark, population, queries, pandas_index):
    keys = queries.keys.astype(numpy.int64)
    rows = pandas_index.get_indexer(keys)
    assert (rows == queries.rows).all()
    note_answer(benchmark, rows.astype(numpy.int32))
    compare(
        benchmark,
        "numbers_by_pandas",
        queries.case(population),
        prober(population, queries.numbers, numpy.empty(len(rows), numpy.int32)),
        lambda: pandas_index.get_indexer(keys),
        count=len(rows),
        rounds=rounds(ROUNDS),
        counts=queries.percent == TARGET_PERCENT,
    )


@pytest.mark.benchmark(group="probe against a dict of str")
def test_dict(benchmark, population, queries, rows_of):
    """At its best: one list comprehension. The strings are fresh, as they are in a stream."""
    texts = queries.numbers.astype("U11")

    def look_up(wanted):
        get = rows_of.get
        return [get(number, MISS) for number in wanted]

    rows = look_up(texts.tolist())
    assert rows == queries.rows.tolist()
    note_answer(benchmark, numpy.array(rows, numpy.int32))
    compare(
        benchmark,
        "numbers_by_dict",
        queries.case(population),
        prober(population, queries.numbers, numpy.empty(len(rows), numpy.int32)),
        look_up,
        count=len(rows),
        rounds=rounds(9),
        prepare=lambda: (texts.tolist(),),
        counts=queries.percent == TARGET_PERCENT,
    )


@pytest.mark.benchmark(group="probe against a duckdb join")
def test_duckdb(benchmark, population, queries):
    """It builds a hash table in each join, so the larger the index, the worse: no fair rival."""
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(config={"threads": 1}) as connection:
        unit_keys, unit_rows = population.keys, numpy.arange(len(population.keys), dtype="i4")
        query_keys, places = queries.keys, numpy.arange(len(queries.keys), dtype="i4")
        connection.register("unit_arrays", {"key": unit_keys, "row": unit_rows})
        connection.register("query_arrays", {"key": query_keys, "place": places})
        connection.execute("create table units as from unit_arrays")
        connection.execute("create table queries as from query_arrays")

        def join():
            return connection.execute(
                "select place, coalesce(row, -1) as row from queries left join units using (key)"
            ).fetchnumpy()

        joined = join()
        rows = numpy.empty(len(queries.rows), numpy.int32)
        rows[joined["place"]] = joined["row"]
        assert (rows == queries.rows).all()
        note_answer(benchmark, rows)
        compare(
            benchmark,
            "numbers_by_duckdb",
            queries.case(population),
            prober(population, queries.numbers, rows),
            join,
            count=len(rows),
            rounds=rounds(5),
        )


@pytest.mark.benchmark(group="probe against a polars join")
def test_polars(benchmark, population, queries):
    """It builds a hash table in each join, so the larger the index, the worse: no fair rival."""
    polars = pytest.importorskip("polars")
    units = polars.DataFrame(
        {"key": population.keys, "row": numpy.arange(len(population.keys), dtype="i4")}
    )
    wanted = polars.DataFrame({"key": queries.keys})

    def join():
        return wanted.join(units, on="key", how="left", maintain_order="left")["row"]

    rows = join().fill_null(-1).to_numpy()
    assert (rows == queries.rows).all()
    note_answer(benchmark, rows)
    compare(
        benchmark,
        "numbers_by_polars",
        queries.case(population),
        prober(population, queries.numbers, numpy.empty(len(rows), numpy.int32)),
        join,
        count=len(rows),
        rounds=rounds(5 if len(population.keys) < max(LARGE) else 3),
    )


@pytest.mark.benchmark(group="half of them hit against nearly all")
def test_hit_rates(benchmark, population):
    most, half = make_queries(population, 95), make_queries(population, 50)
    out = population.index.probe(half.numbers)
    assert (out == half.rows).all()
    note_answer(benchmark, out)
    compare(
        benchmark,
        "half_hits_by_most",
        f"{len(population.keys):,} units",
        prober(population, half.numbers, out),
        prober(population, most.numbers, numpy.empty_like(out)),
        count=len(out),
        rounds=rounds(2 * ROUNDS),
    )


@pytest.mark.benchmark(group="two threads against one")
def test_threads(benchmark, two_cores, population):
    queries = make_queries(population, 95)
    out = numpy.empty(len(queries.numbers), numpy.int32)
    halves = list(
        zip(numpy.array_split(queries.numbers, 2), numpy.array_split(out, 2), strict=True)
    )
    with ThreadPoolExecutor(2) as pool:

        def probe_in_two():
            jobs = [pool.submit(population.index.probe, part, out=rows) for part, rows in halves]
            for job in jobs:
                job.result()

        probe_in_two()
        assert (out == queries.rows).all()
        note_answer(benchmark, out)
        compare(
            benchmark,
            "two_threads_by_one",
            f"{len(population.keys):,} units",
            probe_in_two,
            prober(population, queries.numbers, numpy.empty_like(out)),
            count=len(out),
            rounds=rounds(2 * ROUNDS),
        )


@pytest.mark.benchmark(group="gather, two threads against one")
def test_gather_threads(benchmark, two_cores, population, gather):
    """What two cores can do at all on the same lines."""
    lines = make_queries(population, 95).lines
    halves = numpy.array_split(lines, 2)
    with ThreadPoolExecutor(2) as pool:
        compare(
            benchmark,
            "two_gathers_by_one",
            f"{len(population.keys):,} units",
            lambda: list(pool.map(gather, halves)),
            lambda: gather(lines),
            count=len(lines),
            rounds=rounds(2 * ROUNDS),
        )


@pytest.mark.benchmark(group="batch size")
@pytest.mark.parametrize("size", [1, 10, 100, 1000, 10_000, 100_000, 1_000_000])
def test_batches(benchmark, population, size):
    """Calls of so many units each; the small ones pay for the call, not for the units."""
    queries = make_queries(population, 95)
    numbers = queries.numbers[: max(1, min(1000, len(queries.numbers) // size)) * size]
    calls = [
        (numbers[start : start + size], numpy.empty(min(size, len(numbers) - start), numpy.int32))
        for start in range(0, len(numbers), size)
    ]

    def probe():
        for part, out in calls:
            population.index.probe(part, out=out)

    probe()
    out = numpy.concatenate([out for _, out in calls])
    assert (out == queries.rows[: len(numbers)]).all()
    note_answer(benchmark, out)
    benchmark.pedantic(probe, rounds=rounds(ROUNDS))
    note_rate(benchmark, len(numbers))


@pytest.mark.benchmark(group="build against boost::unordered_flat_map")
def test_build_and_flat_map(benchmark, population, flat_map_library, untouched_memory):
    """Both get room for all in advance, and memory that nobody has touched."""
    out = numpy.empty(len(population.numbers), numpy.int32)
    made = []

    def build():
        made.clear()
        made.append(UnitIndex(len(out)))
        made[0].insert(population.numbers, out=out)

    def build_flat_map():
        FlatMap(flat_map_library, population.keys).close()

    build()
    assert (out == numpy.arange(len(out))).all()
    assert (made[0].probe(population.keys) == out).all()
    note_answer(benchmark, out)
    compare(
        benchmark,
        "build_by_flat_map",
        f"{len(population.keys):,} units",
        build,
        build_flat_map,
        count=len(out),
        rounds=rounds(5),
    )


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
    benchmark.pedantic(build, rounds=rounds(3))
    note_rate(benchmark, len(units))
    memory = made[0].memory()
    note_figure(
        benchmark,
        "bytes_per_entry",
        f"{len(units):,} units, {capacity}",
        memory["container_table"] / len(units),
        counts=capacity == "made for it" and form == "numbers",
    )
    benchmark.extra_info["all_bytes_per_unit"] = round(memory["total"] / len(units), 2)
    benchmark.extra_info["load"] = round(made[0].statistics()["containers"]["load"], 3)


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


@pytest.mark.benchmark(group="general names")
@pytest.mark.parametrize("step", ["insert", "probe"])
def test_names(benchmark, step):
    """Cargo control numbers of 8 to 30 bytes, asked for in another order than they came."""
    count = min(min(UNITS), 1_000_000)
    names = [b"PKG%0*d" % (5 + i % 22, i) for i in range(count)]
    offsets = numpy.concatenate([[0], numpy.cumsum([len(name) for name in names])])
    order = numpy.random.default_rng(1).permutation(count)
    asked = b"".join([names[i] for i in order])
    asked_offsets = numpy.concatenate([[0], numpy.cumsum([len(names[i]) for i in order])])
    raw = b"".join(names)
    made = []

    def build():
        made.clear()
        made.append(UnitIndex(0, count))
        return made[0].insert(raw, offsets, is_lot=True)

    assert (build() == numpy.arange(count)).all()
    assert (made[0].probe(asked, asked_offsets, is_lot=True) == order).all()
    if step == "insert":
        benchmark.pedantic(build, rounds=rounds(3))
        benchmark.extra_info["all_bytes_per_unit"] = round(made[0].memory()["total"] / count, 2)
    else:
        benchmark.pedantic(
            made[0].probe, (asked, asked_offsets), {"is_lot": True}, rounds=rounds(5)
        )
    note_rate(benchmark, count)
