"""The unit index: every form and path against a dict, under growth, churn, attack and threads."""

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core_ext import container_number
from core_ext.unit_index import INVALID, MISS, UNITS_MAX, UnitIndex

ROOT = Path(__file__).resolve().parents[2]
KEYS_IN_ALL = 52_728 * 10**6


@pytest.fixture(params=container_number.available_simd_paths())
def path(request):
    """Each code path of this machine in turn."""
    before = container_number.simd_path()
    container_number.use_simd_path(request.param)
    yield request.param
    container_number.use_simd_path(before)


def packed_keys(numbers) -> numpy.ndarray:
    """Distinct packed keys for distinct integers, spread over all prefixes and serials."""
    spread = (numpy.asarray(numbers, numpy.uint64) * 15_485_863 + 7) % KEYS_IN_ALL
    return (spread // 10**6 + 1) << 20 | spread % 10**6


def names_of(names: list[bytes]) -> tuple[bytes, numpy.ndarray]:
    """A list of names as bytes and offsets."""
    lengths = [len(name) for name in names]
    return b"".join(names), numpy.concatenate([[0], numpy.cumsum(lengths)]).astype(numpy.int64)


class Model:
    """What the index should do, said with a dict."""

    def __init__(self) -> None:
        self.rows: dict[tuple[bytes, bool], int] = {}
        self.free: list[int] = []
        self.limit = 0

    def upsert(self, unit: tuple[bytes, bool]) -> tuple[int, bool]:
        if unit in self.rows:
            return self.rows[unit], False
        if self.free:
            row = self.free.pop()
        else:
            row = self.limit
            self.limit += 1
        self.rows[unit] = row
        return row, True

    def remove(self, unit: tuple[bytes, bool]) -> int:
        row = self.rows.pop(unit, MISS)
        if row != MISS:
            self.free.append(row)
        return row


UNIT_NAMES = st.one_of(
    st.integers(0, 400).map(lambda i: bytes(container_number.unpack(packed_keys([i]))[0])),
    st.integers(0, 400).map(lambda i: f"PKG{i:0{i % 33}}".encode()[:35]),
    st.binary(min_size=0, max_size=37),
)
BATCHES = st.tuples(st.lists(UNIT_NAMES, max_size=200), st.booleans())


class AgainstDict(RuleBasedStateMachine):
    """Batches of names of both classes; what was done must be seen in every form."""

    @initialize(
        capacity=st.sampled_from([0, 100]), path=st.sampled_from(["portable", "avx2", "avx512"])
    )
    def start(self, capacity, path):
        self.before = container_number.simd_path()
        if path in container_number.available_simd_paths():
            container_number.use_simd_path(path)
        self.index = UnitIndex(capacity, capacity)
        self.model = Model()

    def teardown(self):
        if hasattr(self, "before"):
            container_number.use_simd_path(self.before)

    @rule(batch=BATCHES)
    def upsert(self, batch):
        names, is_lot = batch
        expected = [
            self.model.upsert((n, is_lot))[0] if 1 <= len(n) <= 35 else INVALID for n in names
        ]
        assert self.index.upsert(*names_of(names), is_lot=is_lot).tolist() == expected

    @rule(batch=BATCHES)
    def insert(self, batch):
        names, is_lot = batch
        expected = []
        for name in names:
            if not 1 <= len(name) <= 35:
                expected.append(INVALID)
                continue
            row, was_new = self.model.upsert((name, is_lot))
            expected.append(row if was_new else MISS)
        assert self.index.insert(*names_of(names), is_lot=is_lot).tolist() == expected

    @rule(batch=BATCHES)
    def remove(self, batch):
        names, is_lot = batch
        expected = [self.model.remove((n, is_lot)) if 1 <= len(n) <= 35 else INVALID for n in names]
        assert self.index.remove(*names_of(names), is_lot=is_lot).tolist() == expected

    @rule(batch=BATCHES)
    def probe(self, batch):
        names, is_lot = batch
        expected = [
            self.model.rows.get((n, is_lot), MISS) if 1 <= len(n) <= 35 else INVALID for n in names
        ]
        assert self.index.probe(*names_of(names), is_lot=is_lot).tolist() == expected

    @rule(batch=st.lists(UNIT_NAMES.filter(lambda n: len(n) == 11), max_size=150))
    def probe_numbers(self, batch):
        raw = b"".join(batch)
        keys = container_number.pack(raw)
        expected = [
            INVALID if key == container_number.INVALID else self.model.rows.get((n, False), MISS)
            for n, key in zip(batch, keys.tolist(), strict=True)
        ]
        assert self.index.probe(raw).tolist() == expected
        assert self.index.probe(keys).tolist() == expected

    @rule(capacity=st.integers(0, 3000))
    def grow(self, capacity):
        self.index.grow(capacity, capacity)

    @invariant()
    def holds_the_same(self):
        if hasattr(self, "model"):
            assert len(self.index) == len(self.model.rows)
            assert {(name, is_lot): row for row, name, is_lot in self.index} == self.model.rows
            assert self.index.row_limit == self.model.limit


TestAgainstDict = AgainstDict.TestCase
TestAgainstDict.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 63, 64, 65, 67, 68, 127, 128, 129, 1000])
def test_batches_of_every_length(path, count):
    """Groups, fours and tails: each length leaves another remainder in the loops."""
    keys = packed_keys(numpy.arange(1000))
    numbers = container_number.unpack(keys)
    index = UnitIndex()
    rows = index.upsert(numbers)
    assert rows.tolist() == list(range(1000))
    assert index.probe(numbers[:count]).tolist() == list(range(count))
    assert index.probe(keys[:count]).tolist() == list(range(count))
    assert index.probe(numbers[1000 - count :]).tolist() == list(range(1000 - count, 1000))
    index.remove(keys[: count // 2])
    expected = [MISS] * (count // 2) + list(range(count // 2, count))
    assert index.probe(numbers[:count]).tolist() == expected


def test_what_is_no_number_is_invalid_and_hides_nothing(path):
    """Invalid ones among hits, misses and overflowed lines, at all places of a group."""
    source = random.Random(5)
    keys = packed_keys(numpy.arange(5000))
    index = UnitIndex(seed=3)
    index.insert(keys)
    numbers = container_number.unpack(packed_keys(numpy.arange(10_000)))
    expected = []
    for i in source.sample(range(10_000), 10_000):
        kind = source.randrange(4)
        if kind == 0:
            digit = numbers[i][10:11]
            numbers[i] = numbers[i][:10] + (b"1" if digit != b"1" else b"2")
    for i in range(10_000):
        valid = container_number.validate(bytes(numbers[i]))[0]
        expected.append(INVALID if not valid else i if i < 5000 else MISS)
    assert INVALID in expected
    assert index.probe(numbers).tolist() == expected


@pytest.mark.parametrize("key", [0, 5, 1 << 36, 52729 << 20, 1 << 20 | 10**6, 2**64 - 1, 2**63])
def test_keys_that_are_none_are_invalid(path, key):
    """Above all 0: it is what an empty slot holds."""
    index = UnitIndex()
    keys = packed_keys(numpy.arange(9))
    keys[4] = key
    assert index.probe(keys).tolist() == [MISS] * 4 + [INVALID] + [MISS] * 4
    assert index.upsert(keys).tolist() == [0, 1, 2, 3, INVALID, 4, 5, 6, 7]
    assert index.probe(keys).tolist() == [0, 1, 2, 3, INVALID, 4, 5, 6, 7]
    assert len(index) == 8


def test_one_name_two_classes():
    """A canonical number is the name of a container and of a lot, which are two units."""
    index = UnitIndex()
    name = names_of([b"CSQU3054383"])
    assert index.upsert(*name, is_lot=True).tolist() == [0]
    assert index.probe(b"CSQU3054383").tolist() == [MISS]
    assert index.upsert(b"CSQU3054383").tolist() == [1]
    assert index.upsert(*name).tolist() == [1]
    assert index.name(0) == (b"CSQU3054383", True)
    assert index.name(1) == (b"CSQU3054383", False)
    assert index.remove(b"CSQU3054383").tolist() == [1]
    assert index.probe(*name, is_lot=True).tolist() == [0]
    with pytest.raises(KeyError, match="row 1"):
        index.name(1)


def test_growth_is_spread_and_probes_go_on(path):
    """From nothing to 300,000 units, 500 at a time; probes of all forms while entries move."""
    index = UnitIndex()
    total = 300_000
    keys = packed_keys(numpy.arange(total))
    numbers = container_number.unpack(keys)
    calls_while_moving = 0
    growths = 0
    lines = 0
    for start in range(0, total, 500):
        stop = start + 500
        assert index.insert(numbers[start:stop]).tolist() == list(range(start, stop))
        table = index.statistics()["containers"]
        growths += table["lines"] != lines
        lines = table["lines"]
        if table["moving"]:
            calls_while_moving += 1
            first = max(0, stop - 20_000)
            wanted = numpy.arange(first, stop + 500)
            expected = numpy.where(wanted < stop, wanted, MISS)
            assert (index.probe(packed_keys(wanted)) == expected).all()
            assert (index.probe(container_number.unpack(packed_keys(wanted))) == expected).all()
    assert growths > 8
    # Were entries moved all at once, no call would end with some of them still to move.
    assert calls_while_moving > 3 * growths
    assert (index.probe(numbers) == numpy.arange(total)).all()


def test_names_of_a_national_year_sample(path):
    """200,000 cargo control numbers of 5 to 35 bytes, some removed, found by their bytes."""
    source = random.Random(35)
    names = [
        f"{i}/{'BL-CARGO-CONTROL-NUMBER-VN-2024-'[: source.randrange(3, 29)]}".encode()
        for i in range(200_000)
    ]
    index = UnitIndex()
    units = names_of(names)
    assert (index.upsert(*units, is_lot=True) == numpy.arange(200_000)).all()
    assert (index.probe(*units, is_lot=True) == numpy.arange(200_000)).all()
    assert (index.probe(*units) == MISS).all()
    gone = names_of(names[::3])
    assert (index.remove(*gone, is_lot=True) == numpy.arange(0, 200_000, 3)).all()
    expected = numpy.where(numpy.arange(200_000) % 3 == 0, MISS, numpy.arange(200_000))
    assert (index.probe(*units, is_lot=True) == expected).all()
    rows, raw, offsets, is_lot = index.units()
    assert (rows == expected[expected != MISS]).all()
    assert is_lot.all()
    raw = raw.tobytes()
    assert [raw[offsets[i] : offsets[i + 1]] for i in range(len(rows))] == [
        names[row] for row in rows
    ]


def test_churn_leaves_no_trace():
    """A million insertions and removals: no figure of memory moves, no idle overflow bit stays.

    A window of units slides, so that from one turn to the next as many are there, and as many of
    each length of name: what one removal freed is what the next insertion needs, and all figures
    are the same to the byte after each turn, not only about the same.
    """
    step = 29 * 69  # each length of name as often in every generation
    window, generations = 10 * step, 125
    index = UnitIndex(window, window, seed=11)
    after_warming = None
    operations = 0

    def change(how, generation):
        numbers = numpy.arange(generation * step, (generation + 1) * step)
        keys = packed_keys(numbers)
        names = names_of([f"{i:06}:{'C' * (i % 29)}".encode() for i in numbers])
        assert (how(keys) >= 0).all() and (how(*names) >= 0).all()
        return len(numbers) * 2

    for generation in range(generations + window // step):
        operations += change(index.insert, generation)
        if generation < window // step:
            continue
        operations += change(index.remove, generation - window // step)
        if generation == window // step + 1:
            after_warming = index.memory()
        elif generation > window // step + 1:
            assert index.memory() == after_warming, generation
    assert operations >= 1_000_000
    assert len(index) == 2 * window
    assert index.row_limit == 2 * (window + step)
    # Exact bits are those of a table that never held anything else.
    alive = numpy.arange(generations * step, generations * step + window)
    new = UnitIndex(window, window, seed=11)
    new.insert(packed_keys(alive))
    new.insert(*names_of([f"{i:06}:{'C' * (i % 29)}".encode() for i in alive]))
    for table in ("containers", "names"):
        for figure in ("lines", "overflowed"):
            assert index.statistics()[table][figure] == new.statistics()[table][figure]
    assert index.statistics()["containers"]["overflowed"] > 0


def test_an_emptied_index_gives_its_memory_back():
    index = UnitIndex()
    keys = packed_keys(numpy.arange(400_000))
    index.insert(keys)
    full = index.memory()["container_table"]
    index.remove(keys)
    index.insert(keys[:1000])
    assert index.memory()["container_table"] < full / 20
    assert (index.probe(keys[:1000]) >= 0).all()
    assert (index.probe(keys[1000:]) == MISS).all()


def test_colliding_keys_bring_about_a_new_seed(path):
    """An attacker who knows the seed sends only containers that belong in the first lines."""
    seed = 1234
    known = UnitIndex(40_000, seed=seed)
    candidates = packed_keys(numpy.arange(2_000_000))
    lines = known.home_lines(candidates)
    colliding = candidates[numpy.argsort(lines)[:8_000]]
    # All of these at half load would take a thousand lines; they have 40 as their homes.
    assert len(numpy.unique(known.home_lines(colliding))) <= 42
    index = UnitIndex(40_000, seed=seed)
    rows = index.insert(colliding)
    assert (rows == numpy.arange(len(colliding))).all()
    assert index.statistics()["containers"]["reseeds"] >= 1
    assert (index.probe(colliding) == rows).all()
    while index.statistics()["containers"]["moving"]:
        first = int(rows.max()) + 1
        rows = index.insert(packed_keys(numpy.arange(3_000_000 + first, 3_000_100 + first)))
    assert index.statistics()["containers"]["overflowed"] < 0.05


def test_seeds_are_secret():
    """Two indexes put the same units in another order, containers and names alike."""
    keys = packed_keys(numpy.arange(1000))
    names = names_of([f"PACKAGE{i}".encode() for i in range(1000)])
    one, two = UnitIndex(10_000, 10_000), UnitIndex(10_000, 10_000)
    for units in ((keys,), names):
        order_one = numpy.argsort(one.home_lines(*units), kind="stable")
        order_two = numpy.argsort(two.home_lines(*units), kind="stable")
        assert (order_one != order_two).sum() > 900


def test_probing_threads_beside_one_that_inserts_and_removes():
    """Whatever was in before a probe and stays is found in it, while tables grow and shrink."""
    index = UnitIndex()
    stay = packed_keys(numpy.arange(50_000))
    numbers = container_number.unpack(stay)
    rows = index.insert(stay)
    stop = threading.Event()
    failures = []

    def probe():
        while not stop.is_set():
            if not (index.probe(numbers) == rows).all():
                failures.append("a unit that stays was not found")
                return

    readers = [threading.Thread(target=probe) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(3):
            for start in range(1_000_000, 1_200_000, 10_000):
                index.insert(packed_keys(numpy.arange(start, start + 10_000)))
            for start in range(1_000_000, 1_200_000, 10_000):
                gone = index.remove(packed_keys(numpy.arange(start, start + 10_000)))
                assert (gone >= 0).all()
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert failures == []
    assert len(index) == 50_000


def test_the_gil_is_released():
    """A thread counts while one long call runs."""
    index = UnitIndex()
    keys = packed_keys(numpy.arange(2_000_000))
    count = 0
    done = threading.Event()
    counted = []

    def insert():
        index.insert(keys)
        done.set()

    thread = threading.Thread(target=insert)
    thread.start()
    deadline = time.monotonic() + 60
    while not done.is_set() and time.monotonic() < deadline:
        count += 1
        counted.append(len(index))
    thread.join()
    assert done.is_set()
    assert any(0 < length < len(keys) for length in counted)


OUT_OF_MEMORY = """
import resource

import numpy
from core_ext.unit_index import UnitIndex
from tests.core_ext.test_unit_index import names_of, packed_keys

index = UnitIndex()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (48 << 20), resource.RLIM_INFINITY))
done = 0
form = {form!r}
def batch(start):
    numbers = numpy.arange(start, start + 10_000)
    if form == "keys":
        return (packed_keys(numbers),)
    return names_of([b"PACKAGE%d" % i for i in numbers])
try:
    while done < 5_000_000:
        assert (index.insert(*batch(done)) >= 0).all()
        done += 10_000
except MemoryError as error:
    print("refused:", error)
# What was in is in, and the index goes on working within its means.
length = len(index)
assert done <= length < done + 10_000, (done, length)
for start in range(0, done, 10_000):
    assert (index.probe(*batch(start)) == numpy.arange(start, start + 10_000)).all()
for start in range(0, done // 2, 10_000):
    assert (index.remove(*batch(start)) >= 0).all()
for start in range(0, done // 4, 10_000):
    assert (index.insert(*batch(start)) >= 0).all()
print("held", done)
"""


@pytest.mark.parametrize("form", ["keys", "names"])
def test_out_of_memory_is_said_and_survived(form):
    run = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY.replace("{form!r}", repr(form))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "refused: UnitIndex: no memory" in run.stdout
    assert "held" in run.stdout


def test_wrong_input_is_named():
    index = UnitIndex()
    with pytest.raises(ValueError, match="lots are given as names"):
        index.probe(b"CSQU3054383", is_lot=True)
    with pytest.raises(ValueError, match="offset 2"):
        index.probe(b"ABC", numpy.array([0, 2, 1], numpy.int64))
    with pytest.raises(ValueError, match="offset 1"):
        index.probe(b"ABC", numpy.array([0, 4], numpy.int64))
    with pytest.raises(ValueError, match="offset 0"):
        index.probe(b"ABC", numpy.array([-1, 2], numpy.int64))
    with pytest.raises(ValueError, match="one position more"):
        index.probe(b"ABC", numpy.array([], numpy.int64))
    with pytest.raises(ValueError, match="shape"):
        index.probe(b"CSQU3054383", out=numpy.zeros(2, numpy.int32))
    with pytest.raises(ValueError, match="container_capacity"):
        UnitIndex(-1)
    with pytest.raises(ValueError, match="name_capacity"):
        index.grow(0, UNITS_MAX + 1)
    with pytest.raises(KeyError, match="row 0"):
        index.name(0)
    with pytest.raises(KeyError, match="row -1"):
        index.name(-1)
    with pytest.raises(ValueError, match="no range"):
        index.units(3, 2)


@pytest.mark.skipif(shutil.which(os.environ.get("CC", "gcc")) is None, reason="needs a C compiler")
@pytest.mark.parametrize(
    "limits",
    [
        pytest.param([], id="as-shipped"),
        pytest.param(["-DSLOT_SPARE_LINES=2", "-DSLOT_DISPLACEMENT_MAX=1"], id="short-chains"),
        pytest.param(["-DSLOT_SPARE_LINES=0", "-DSLOT_DISPLACEMENT_MAX=0"], id="no-spare-lines"),
    ],
)
def test_harness_under_sanitizers(tmp_path, limits):
    """The C headers alone, with limits so low that reseeding, rebuilding and undoing happen."""
    source = Path(__file__).with_name("unit_index_harness.c")
    program = tmp_path / "harness"
    subprocess.run(
        [
            os.environ.get("CC", "gcc"),
            *["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"],
            *["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
            *limits,
            f"-I{ROOT / 'core_ext'}",
            str(source),
            "-o",
            str(program),
        ],
        check=True,
    )
    for seed in ("1", "2"):
        run = subprocess.run(
            [str(program), seed, "60000", "2003"], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        reseeded = int(run.stdout.split("reseeded ")[1].split(",")[0])
        assert (reseeded > 0) == bool(limits)
        assert int(run.stdout.split("while moving ")[1].split(",")[0]) > 0
