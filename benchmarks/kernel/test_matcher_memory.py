"""What the matcher's state takes: per container on customs' side, and per unit of movement.

Measured on the real Matcher, by the growth of the process's resident memory, which leaves nothing
out, and by the matcher's own figures, which say where it goes. Customs' side: one declaration for
each container, which is the most expensive way to declare them, and forty on each, which is the
cheapest; with line, status and location, for which the target is, and with a seal and a weight as
well. Movement: GET_IN, GATE_CHECK and GET_OUT of each container, decided.
"""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import numpy
import pytest

from benchmarks.kernel.populations import IS_SMALL, spread_keys
from benchmarks.kernel.turns import note_figure, note_rate
from core_ext import container_number
from core_ext.record_batch import FetchDecoder, encode_columns
from stream.engine import DECLARATIONS, OPERATORS, PORT_EVENTS, make_matcher
from stream.policy import load_policy

CONTAINERS = 2_000 if IS_SMALL else 1_000_000
PIECE = 50_000
NOW_US = 1_534_000_000_000_000
FIRST_TIMESTAMP_MS = NOW_US // 1000 - 10_000_000
OPERATOR = (
    '{"operatorID":"HPH001","name":"Port","kind":"SEAPORT","departmentCode":"03",'
    '"departmentName":"Hai Phong","locations":["03HS001"],"status":"CONNECTED","version":1}'
)
DECLARATION = (
    '{{"declarationNumber":"{number:012}","version":1,"direction":"IMPORT","status":"CLEARED",'
    '"registeredDateTime":"2018-08-01T10:00:00Z","locationCode":"03HS001","units":[{units}]}}'
)
UNITS = {
    "line, status, location": '{{"unit":"{unit}","unitType":"CONTAINER"}}',
    "with seal and weight": (
        '{{"unit":"{unit}","unitType":"CONTAINER","seals":["VN{i:08}"],"weightKg":20473}}'
    ),
}
EVENT = (
    '{{"eventID":"{i:09}-{step}","eventType":"{event_type}",'
    '"eventDateTime":"2018-08-09T1{step}:00:00+07:00","operatorID":"HPH001",'
    '"locationCode":"03HS001","unitType":"CONTAINER","unit":"{unit}","direction":"IMPORT",'
    '"seals":["VN{i:08}"],"weightKg":20473}}'
)
EVENT_TYPES = ("GET_IN", "GATE_CHECK", "GET_OUT")


def resident_bytes() -> int:
    """Memory of this process that is really there, without what Python and glibc keep for later."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def apply(matcher, topic: int, keys: list[str], values: list[str]) -> None:
    """Records to the matcher as it gets them from Kafka; what it has to say is dropped."""
    columns = []
    for texts in (values, keys):
        encoded = [text.encode() for text in texts]
        offsets = numpy.zeros(len(encoded) + 1, numpy.int64)
        numpy.cumsum([len(text) for text in encoded], out=offsets[1:])
        columns += [b"".join(encoded), offsets]
    timestamps_ms = FIRST_TIMESTAMP_MS + numpy.arange(len(values), dtype=numpy.int64)
    for batch in encode_columns(*columns, timestamps_ms):
        for run in FetchDecoder(batch):
            matcher.apply(topic, 0, run, NOW_US)
    assert len(matcher.take_rejects()) == 0
    matcher.take_alerts()


def declare(matcher, units: list[str], containers_per_declaration: int, said: str) -> None:
    """Declares all units, ``said`` (of UNITS) of each."""
    keys, values = [], []
    for number, start in enumerate(range(0, len(units), containers_per_declaration)):
        lines = [
            UNITS[said].format(unit=unit, i=start + i)
            for i, unit in enumerate(units[start : start + containers_per_declaration])
        ]
        keys.append(f"{10**11 + number:012}")
        values.append(DECLARATION.format(number=10**11 + number, units=",".join(lines)))
        if len(values) == PIECE:
            apply(matcher, DECLARATIONS, keys, values)
            keys, values = [], []
    if values:
        apply(matcher, DECLARATIONS, keys, values)


def new_matcher():
    """A matcher that knows one operator."""
    matcher = make_matcher(load_policy())
    apply(matcher, OPERATORS, ["HPH001"], [OPERATOR])
    return matcher


def note_growth(
    benchmark, row, case, before, after, sizes_before, sizes_after, *, counts=True
) -> None:
    """Bytes a container in all, and where they are."""
    counts = counts and not IS_SMALL
    note_figure(benchmark, row, case, (after - before) / CONTAINERS, counts=counts)
    growth = {name: sizes_after[name] - sizes_before[name] for name in sizes_after}
    benchmark.extra_info["bytes_by_place"] = {
        "unit index": round(growth["unit_index_bytes"] / CONTAINERS, 1),
        "arena": round(growth["state_bytes"] / CONTAINERS, 1),
        "tables": round(
            (after - before - growth["unit_index_bytes"] - growth["state_bytes"]) / CONTAINERS, 1
        ),
    }


@pytest.fixture(scope="module")
def units():
    """Names of the containers."""
    numbers = container_number.unpack(spread_keys(0, CONTAINERS))
    return [number.decode() for number in numbers.tolist()]


@pytest.mark.benchmark(group="memory of the matcher")
@pytest.mark.parametrize("said", UNITS)
@pytest.mark.parametrize("containers_per_declaration", [1, 40])
def test_customs_side(benchmark, units, containers_per_declaration, said):
    matcher = new_matcher()
    before, sizes_before = resident_bytes(), matcher.table_sizes()
    benchmark.pedantic(declare, (matcher, units, containers_per_declaration, said), rounds=1)
    after, sizes_after = resident_bytes(), matcher.table_sizes()
    assert sizes_after["units"] == sizes_after["lines"] == CONTAINERS
    note_rate(benchmark, CONTAINERS)
    case = f"{CONTAINERS:,} containers, {containers_per_declaration} a declaration, {said}"
    counts = said == "line, status, location"
    note_growth(
        benchmark, "customs_bytes", case, before, after, sizes_before, sizes_after, counts=counts
    )


@pytest.mark.benchmark(group="memory of the matcher")
def test_movement(benchmark, units):
    matcher = new_matcher()
    declare(matcher, units, 1, "with seal and weight")

    def move():
        decided = 0
        for step, event_type in enumerate(EVENT_TYPES):
            for start in range(0, CONTAINERS, PIECE):
                names = units[start : start + PIECE]
                values = [
                    EVENT.format(i=start + i, step=step, event_type=event_type, unit=unit)
                    for i, unit in enumerate(names)
                ]
                apply(matcher, PORT_EVENTS, names, values)
                decided += len(matcher.take_decisions())
        return decided

    before, sizes_before = resident_bytes(), matcher.table_sizes()
    assert benchmark.pedantic(move, rounds=1) >= CONTAINERS
    after, sizes_after = resident_bytes(), matcher.table_sizes()
    note_rate(benchmark, len(EVENT_TYPES) * CONTAINERS)
    case = f"{CONTAINERS:,} containers, three events each, on top of customs' side"
    note_growth(benchmark, "movement_bytes", case, before, after, sizes_before, sizes_after)
