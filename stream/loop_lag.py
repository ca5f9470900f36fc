"""How late the event loop is: what everything that waits in it waits on top.

What it is: a task that asks to be woken ten times a second and measures by how much it was late.
Who calls it: ``stream.gate``, once per worker.
What it must never know: what the loop was busy with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Below 0.01 the watch itself would load the loop; above a second it misses what is short.
INTERVAL_S = 0.1


async def watch_loop(observe: Callable[[float], object], interval_s: float = INTERVAL_S) -> None:
    """Calls ``observe`` with the seconds by which each wake-up was late, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_s
        await asyncio.sleep(interval_s)
        observe(max(0.0, loop.time() - due))
