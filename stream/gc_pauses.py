"""How long Python's garbage collection holds everything up.

What it is: a callback of ``gc`` that measures each collection, in whatever thread it happens.
Who calls it: ``stream.gate`` starts and stops it, once per worker.
What it must never know: what was collected.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


class GcPauses:
    """Measures from ``start`` to ``stop``.

    Args:
        observe: called with the generation and the seconds that a collection took.
    """

    def __init__(self, observe: Callable[[int, float], object]) -> None:
        self._observe = observe
        self._started_at = 0.0

    def start(self) -> None:
        """Measures from now on, and leaves out what is there already: modules and what they made
        stay as long as the process, and walking them took 90 to 120 ms each time."""
        gc.collect()
        gc.freeze()
        gc.callbacks.append(self._called)

    def stop(self) -> None:
        """Measures no more; harmless if it never did."""
        if self._called in gc.callbacks:
            gc.callbacks.remove(self._called)
            gc.unfreeze()

    def _called(self, phase: str, info: dict[str, int]) -> None:
        # The interpreter collects in one thread at a time, so one moment is enough.
        if phase == "start":
            self._started_at = time.perf_counter()
        else:
            self._observe(info["generation"], time.perf_counter() - self._started_at)
