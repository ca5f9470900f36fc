"""The protocol of a partition and the core, crashed at every step of simulated runs.

GATEJOIN_SEED names the seed (else a new one each run, printed, and named by whatever fails).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core_ext.record_batch import RecordRun
from stream.partition import Progress, TakeOver
from tests.faults.simulation import worker as simulated_worker
from tests.faults.simulation.broker import Log
from tests.faults.simulation.play import play_damaged, play_every_step, play_random
from tests.faults.simulation.worker import Owned, Worker, answered_events, fields_of

SEED = os.environ.get("GATEJOIN_SEED", str(int.from_bytes(os.urandom(4), "big")))
HISTORIES = 20
# A defect shows at the history that is named with it, or, once histories have changed, near it.
HISTORIES_FOR_DEFECT = 200


def test_nothing_is_lost_doubled_or_changed_by_faults_at_random() -> None:
    print(f"--seed {SEED}")
    faults: set[str] = set()
    for number in range(HISTORIES):
        tally = play_random(SEED, number)
        assert not tally.wrong, "\n".join(tally.wrong)
        faults |= tally.faults.keys()
    assert faults == {
        *("crash", "pause", "hand-over", "changelog damaged"),
        *("zombie fenced", "stray batch fenced"),
    }


@pytest.mark.parametrize("number", range(2))
def test_nothing_is_lost_doubled_or_changed_by_a_crash_at_any_step(number: int) -> None:
    tally = play_every_step(SEED, number)
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.faults["crash"] > tally.runs > 1000


def test_nothing_of_a_changelog_that_was_damaged_counts_twice() -> None:
    for number in range(2):
        tally = play_damaged(SEED, number)
        assert not tally.wrong, "\n".join(tally.wrong)
        assert tally.faults["crash"] > 2 * tally.runs


@pytest.mark.parametrize("left", ["all of it", "what is compacted away later"])
def test_a_damaged_changelog_that_is_not_cleared_is_found(
    left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if left == "all of it":
        monkeypatch.setattr(Worker, "clear", lambda *_: None)
    else:
        monkeypatch.setattr(simulated_worker, "nulls_for", lambda *_, **__: ())
    assert any(play_damaged("defects", number).wrong for number in range(2))


# --------------------------------------------------------------------------------- defects


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """A log takes what an older epoch writes."""
    append = Log.append

    def without_epochs(self: Log, batch: Any, producer: int, epoch: int, sequence: int) -> int:
        return append(self, batch, producer * 1000 + epoch, epoch, sequence)

    patch.setattr(Log, "append", without_epochs)


def no_marker(patch: pytest.MonkeyPatch) -> None:
    """The new owner reads the ends before the logs know its epoch."""
    patch.setattr(Log, "mark", lambda *_: None)


def states_first(patch: pytest.MonkeyPatch) -> None:
    """States are written before the effects that they tell of."""
    patch.setattr(Progress, "may_write", lambda *_: True)


def meta_ahead(patch: pytest.MonkeyPatch) -> None:
    """The meta record tells of events that the states do not."""
    meta = Progress.meta

    def ahead(self: Progress, *arguments: Any) -> Any:
        self._commit.next_offset = self.next_offset  # type: ignore[union-attr]
        return meta(self, *arguments)

    patch.setattr(Progress, "meta", ahead)


def alerts_first(patch: pytest.MonkeyPatch) -> None:
    """Alerts do not wait for the decisions that they speak of."""
    patch.setattr(Owned, "may_send", lambda self, name: bool(self.lanes[name].queue))


def tail_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A commit passes over a tail whose alerts are of events still to come."""
    progress = TakeOver.progress

    def without_tail(self: TakeOver) -> Progress:
        found = progress(self)
        found.leave_tail()
        return found

    patch.setattr(TakeOver, "progress", without_tail)


def rejects_answer(patch: pytest.MonkeyPatch) -> None:
    """A reject counts as the answer to all events before it."""
    take_over = Worker.take_over

    def answered(decisions: RecordRun) -> Iterator[int]:
        yield from answered_events(decisions)
        yield from (offset for offset in rejected if offset >= 0)

    rejected: list[int] = []

    def take(self: Worker, number: int, epoch: int) -> None:
        rejected[:] = [
            fields_of(value or b"")["source"]["offset"]
            for _, value, _, _ in self.broker.logs["rejects", number].records
        ]
        take_over(self, number, epoch)

    patch.setattr(Worker, "take_over", take)
    patch.setattr(simulated_worker, "answered_events", answered)


def forgotten_early(patch: pytest.MonkeyPatch) -> None:
    """A unit is forgotten as soon as its state was taken."""
    end_commit = Progress.end_commit

    def forgetting(self: Progress) -> int:
        offset = end_commit(self)
        self.may_forget = True
        return offset

    patch.setattr(Progress, "end_commit", forgetting)
    patch.setattr(simulated_worker, "UNCHANGED_COMMITS", 0)


DEFECTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], int]] = {
    "no fence": (no_fence, 0),
    "ends read before the fence": (no_marker, 0),
    "states before effects": (states_first, 0),
    "meta record ahead of states": (meta_ahead, 0),
    "alerts before decisions": (alerts_first, 50),
    "tail forgotten": (tail_forgotten, 0),
    "rejects as answers": (rejects_answer, 0),
    "forgotten early": (forgotten_early, 0),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_of_the_protocol_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, first = DEFECTS[name]
    plant(monkeypatch)
    for number in range(first, first + HISTORIES_FOR_DEFECT):
        if play_random("defects", number).wrong:
            return
    pytest.fail(f"not found in {HISTORIES_FOR_DEFECT} histories")
