"""What a call of the engine leaves as batches: the bound of a state."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from functools import partial

import pytest

from core_ext.matcher import StateError
from core_ext.record_batch import FetchDecoder, RecordRun
from stream import engine_calls
from stream.engine import OPERATORS, Engine
from stream.engine_calls import Batches, EngineCalls
from stream.policy import load_policy

NOON_MS = 1_533_814_400_000  # 2018-08-09T11:33:20Z
OPERATOR = {
    "operatorID": "OP", "name": "Cảng", "kind": "SEAPORT", "departmentCode": "03",
    "departmentName": "Hải Phòng", "locations": ["L1"], "status": "CONNECTED", "version": 1,
}  # fmt: skip


def events(unit: str, count: int) -> RecordRun:
    """GET_INs of a lot, a minute apart."""
    values = [
        {
            "eventID": f"{unit}-{number}", "eventType": "GET_IN", "operatorID": "OP",
            "eventDateTime": f"2018-08-09T{number // 60:02}:{number % 60:02}:00Z",
            "locationCode": "L1", "unitType": "BULK", "unit": unit, "direction": "IMPORT",
            "weightKg": 5,
        }
        for number in range(count)
    ]  # fmt: skip
    return RecordRun.from_records(
        [
            (unit.encode(), json.dumps(value).encode(), offset, NOON_MS)
            for offset, value in enumerate(values)
        ]
    )


def new_engine() -> Engine:
    engine = Engine(load_policy(), 1)
    operator = [(b"OP", json.dumps(OPERATOR).encode(), 0, 1)]
    engine.apply_customs(OPERATORS, 0, RecordRun.from_records(operator), NOON_MS * 1000)
    return engine


def test_a_small_call_is_made_at_once_while_the_engine_has_nothing_else_to_do() -> None:
    async def threads() -> tuple[int, int, int]:
        calls, seen = EngineCalls(new_engine(), {}, "none"), list[int]()

        def note() -> None:
            seen.append(threading.get_ident())

        await calls.speaking(note, 0, is_small=True)
        await calls.speaking(note, 0)
        end = threading.Event()
        busy = asyncio.create_task(calls.quiet(partial(end.wait, 10)))
        await asyncio.sleep(0)  # the task has asked for its call
        small = asyncio.create_task(calls.speaking(note, 0, is_small=True))
        await asyncio.sleep(0)
        end.set()
        await asyncio.gather(busy, small)
        calls.stop()
        first, second, third = seen
        return first, second, third

    first, second, third = asyncio.run(threads())
    assert first == threading.get_ident() != second == third


def test_no_call_is_heard_before_an_earlier_one() -> None:
    """The earlier one is through, but whoever waits for it has not gone on yet."""

    async def order() -> list[str]:
        calls, heard = EngineCalls(new_engine(), {}, "none"), list[str]()

        async def call(name: str, *, is_small: bool) -> None:
            await calls.speaking(lambda: None, 0, is_small=is_small)
            heard.append(name)

        earlier = asyncio.create_task(call("earlier", is_small=False))
        await asyncio.sleep(0)  # the task has asked for its call
        deadline = time.monotonic() + 60
        while not calls._thread.is_idle:
            assert time.monotonic() < deadline
        await call("later", is_small=True)
        await earlier
        calls.stop()
        return heard

    assert asyncio.run(order()) == ["earlier", "later"]


def states_of(engine: Engine, compression: str) -> Batches:
    """All that changed, as a commit takes it."""

    async def take() -> Batches:
        calls, batches, is_last = EngineCalls(engine, {}, compression), Batches(), False
        while not is_last:
            piece = await calls.states(0)
            batches += piece.states
            is_last = piece.is_last
        calls.stop()
        return batches

    return asyncio.run(take())


def restored(batches: Batches) -> int:
    engine = new_engine()
    return sum(engine.restore_units(0, run) for batch, _ in batches for run in FetchDecoder(batch))


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_state_beyond_the_bound_is_named_and_not_written(
    compression: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No broker refuses it and no reader chokes on it, however well it can be compressed: in its
    place stands what makes the next owner take the partition's state from the events again. The
    units beside it are written as ever."""
    engine = new_engine()
    for unit, count in (("SMALL", 2), ("LARGE", 400), ("OTHER", 1)):
        engine.apply_events(0, events(unit, count), NOON_MS * 1000)
    monkeypatch.setattr(engine_calls, "STATE_BYTES_MAX", 2000)
    with caplog.at_level(logging.ERROR):
        batches = states_of(engine, compression)
    assert sum(count for _, count in batches) == 3
    assert sum(len(batch) for batch, _ in batches) < 2000
    assert [record.message for record in caplog.records if "LARGE" in record.message]
    with pytest.raises(StateError) as caught:
        restored(batches)
    assert caught.value.key == b"LLARGE"


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_state_within_the_bound_comes_back(compression: str) -> None:
    engine = new_engine()
    for unit, count in (("SMALL", 2), ("LARGE", 400), ("OTHER", 1)):
        engine.apply_events(0, events(unit, count), NOON_MS * 1000)
    assert restored(states_of(engine, compression)) == 3
