"""Chance from a seed, for the simulation's scheduler, worker and faults. Of ``random.Random`` only
the one call that is written in C: of a run's time the others were a tenth."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws that a seed decides."""

    def __init__(self, seed: str) -> None:
        #: From 0 to below 1.
        self.draw = Random(seed).random

    def below(self, bound: int) -> int:
        """A whole number from 0 to below ``bound``."""
        return int(self.draw() * bound)

    def one_of(self, choices: Sequence[T]) -> T:
        """One of some choices, each as likely as the others."""
        return choices[int(self.draw() * len(choices))]
