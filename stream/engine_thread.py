"""The one thread in which the engine is called, and how busy the engine is.

What it is: an executor of one thread that adds up how long its calls took, and that lets the
event loop make a short call itself while it has nothing to do.
Who calls it: ``stream.engine_calls``, in the event loop.
What it must never know: what is called.

A call in another thread costs two switches of threads, which on a busy machine take longer than
the call if that is short: then whoever waits for the answer waits for the switches.
"""

from __future__ import annotations

import threading
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
        self._lock = threading.Lock()
        self._unfinished_count = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Asks for a call; the future has its result."""
        with self._lock:
            self._unfinished_count += 1
        future = super().submit(self.measured, fn, *args, **kwargs)
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _: Future[T]) -> None:
        with self._lock:
            self._unfinished_count -= 1

    @property
    def is_idle(self) -> bool:
        """Whether no call is made or asked for. Since only the event loop asks, it stays so until
        the event loop does something else."""
        return not self._unfinished_count

    def measured(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Makes a call in the calling thread; outside of this one only while ``is_idle``."""
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
