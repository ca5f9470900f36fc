"""The one thread in which the engine is called, and how busy it is.

What it is: an executor of one thread that adds up how long its calls took.
Who calls it: ``stream.gate``.
What it must never know: what is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class EngineThread(ThreadPoolExecutor):
    """Calls one after the other, in the order in which they were asked for."""

    def __init__(self) -> None:
        super().__init__(1, thread_name_prefix="engine")
        self._busy_s = 0.0
        self._began_at: float | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Asks for a call; the future has its result."""
        return super().submit(self._measured, fn, *args, **kwargs)

    def _measured(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self._began_at = began_at = time.monotonic()
        try:
            return fn(*args, **kwargs)
        finally:
            self._began_at = None
            self._busy_s += time.monotonic() - began_at

    @property
    def busy_seconds(self) -> float:
        """Seconds worked so far, those of a call under way included. Any thread may ask."""
        began_at, busy_s = self._began_at, self._busy_s
        return busy_s if began_at is None else busy_s + time.monotonic() - began_at
