"""The hot loops take no more instructions than recorded: what a clock can't hold, this can.

Goal: nothing slows the probe, the scanner, the batch codec or the matcher down by more than 3 %
unseen; and an event of a lot with thousands costs what one of a lot with hundreds does. Method:
count.py under valgrind, against recorded.toml.
"""

from __future__ import annotations

import shutil

import pytest

from tests.instructions.count import LOOPS, compiler_version, count_all, recorded

RISE_MAX = 0.03
# How much more the 8,000th event of a lot may take than the 1,000th.
HOT_GROWTH_MAX = 1.5


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    assert shutil.which("valgrind"), "valgrind is missing: apt-get install valgrind"
    return count_all(tmp_path_factory.mktemp("instructions"))


@pytest.mark.parametrize("loop", LOOPS)
def test_no_loop_takes_more_instructions(counts, loop):
    compiler, figures = recorded()
    assert counts[loop], "no path was counted"
    for path, figure in counts[loop].items():
        was = figures[loop][path]
        assert figure <= was * (1 + RISE_MAX), (
            f"{loop} on {path}: {figure} instructions an item, {figure / was - 1:+.1%} against the"
            f" {was} recorded with {compiler} (this is {compiler_version()}). If the rise is worth"
            " it, or the compiler is another: make instructions, and commit recorded.toml"
        )


def test_an_event_of_a_hot_lot_does_not_take_longer_the_more_there_are(counts):
    for path, figure in counts["hot-lot-8000"].items():
        assert figure <= HOT_GROWTH_MAX * counts["hot-lot-1000"][path]
