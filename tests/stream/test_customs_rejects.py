"""Rejects of customs' records are handed out once, whoever reads those records and how often."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from core_ext.record_batch import FetchDecoder, OutputRun
from stream import customs_rejects as customs_rejects_module
from stream.customs_rejects import CustomsRejects


def rejects(topic: str, offsets: range) -> OutputRun:
    run = OutputRun()
    for offset in offsets:
        source = {"topic": topic, "partition": 0, "offset": offset}
        run.append(b"key", json.dumps({"source": source}).encode(), -1, 0)
    return run


class Said:
    """Where a worker hands its rejects out: their offsets, in order; the broker has them at once
    unless it is away."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.offsets: list[int] = []
        self.is_away = is_away

    def __call__(self, batches: list[tuple[bytes, int]], acknowledged: Callable[[], None]) -> None:
        if not self.is_away:
            acknowledged()
        for batch, _ in batches:
            for run in FetchDecoder(batch):
                self.offsets += [
                    json.loads(value or b"")["source"]["offset"] for _, value, *_ in run
                ]


def test_each_reject_is_handed_out_once() -> None:
    first, second = CustomsRejects("none"), CustomsRejects("none")
    said = Said()
    for worker in (first, second):  # both read everything
        worker.hold(rejects("holds", range(5)))
        worker.speak()
    assert said.offsets == []  # nobody speaks yet
    first.start_speaking({}, said)
    assert said.offsets == [0, 1, 2, 3, 4]
    first.hold(rejects("holds", range(5, 7)))
    first.speak()
    first.stop_speaking()
    second.hold(rejects("holds", range(5, 9)))
    second.start_speaking(first.spoken(), said)
    assert said.offsets == list(range(9))
    assert second.spoken() == {"holds/0": 9}


def test_what_the_broker_never_got_is_handed_out_again() -> None:
    """A worker loses partition 0 with rejects under way, and takes it again itself."""
    worker, lost, said = CustomsRejects("none"), Said(is_away=True), Said()
    worker.hold(rejects("holds", range(3)))
    worker.start_speaking({}, lost)
    worker.hold(rejects("holds", range(3, 5)))
    worker.speak()
    worker.stop_speaking()
    worker.hold(rejects("holds", range(5, 6)))
    assert lost.offsets == [0, 1, 2, 3, 4]
    worker.start_speaking({"holds/0": 1}, said)  # of them the broker had one
    assert said.offsets == [1, 2, 3, 4, 5]
    assert worker.held_bytes == 0


def test_what_waits_for_a_speaker_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    size = len(rejects("holds", range(1)).__iter__().__next__()[1] or b"")
    monkeypatch.setattr(customs_rejects_module, "HELD_BYTES_MAX", 3 * size)
    worker, said = CustomsRejects("none"), Said()
    worker.hold(rejects("holds", range(5)))
    assert worker.held_bytes == 3 * size
    assert caplog.text.count("dropped") == 2
    worker.start_speaking({}, said)
    assert said.offsets == [2, 3, 4]
