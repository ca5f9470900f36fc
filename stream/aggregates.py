"""Volumes, stock and who has spoken, out of the worker: changed cells, once a second at most.

What it is: a writer that coalesces. A cell that changed a thousand times in a second is published
once, as it then stands, and an offset is committed only when the cells that its events changed are
with the broker. So a worker that dies loses no cell: what had not been published is read again, or,
where decisions were ahead of the offsets, published when the partition is taken over (the core
marks every cell that a restore touches).
Who calls it: ``stream.gate``.
What it must never know: what a cell means; whose thread the engine runs in.

A cell belongs to one partition of port-events, which is part of its key, so that two workers never
write the same one and whoever sums up needs no locks. A worker that was excluded from the group and
does not know yet can overwrite a cell; its new owner puts it right with the cell's next change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

from core_ext.record_batch import OutputRun, encode_output

# Between two publications. Below 0.1 a busy cell is written more often than anybody can look;
# above a few seconds offsets, which wait for it, are committed noticeably later.
INTERVAL_S = 1.0

#: Topic (plain name), partition, built batches with their record counts.
Outgoing = tuple[str, int, list[tuple[bytes, int]]]
#: Takes all cells that changed out of the engine, encoded.
Take = Callable[[], Awaitable[list[Outgoing]]]
#: Hands batches to the producer; the futures are done when the broker has them.
Submit = Callable[[str, int, list[tuple[bytes, int]]], list["asyncio.Future[int]"]]


def encode_cells(
    cells: Iterable[tuple[str, OutputRun]], partition_counts: Mapping[str, int], compression: str
) -> list[Outgoing]:
    """Encodes cells of topics (plain names), each to the partition of its key."""
    outgoing: list[Outgoing] = []
    for topic, output in cells:
        output.partition_by_key(partition_counts[topic])
        outgoing += [
            (topic, number, encode_output(output, number, compression=compression))
            for number in output.partitions()
        ]
    return outgoing


class Aggregates:
    """Publishes one worker's cells.

    Args:
        take: asked for what has changed, at most once in INTERVAL_S.
        submit: sends it.
    """

    def __init__(self, take: Take, submit: Submit) -> None:
        self._take = take
        self._submit = submit
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._next: asyncio.Future[None] | None = None
        self._written_at = -INTERVAL_S

    def cover(self) -> asyncio.Future[None]:
        """Asks for the next publication; the future is done when it is with the broker.

        Call it when the engine has applied what changed the cells. Do not cancel the future: it is
        shared.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            # Whoever awaits it hears of a failure; it must not be reported where nobody does.
            self._next.add_done_callback(
                lambda done: None if done.cancelled() else done.exception()
            )
        self._changed.set()
        return self._next

    async def run(self) -> None:
        """Publishes whenever ``cover`` has asked for it, until cancelled.

        Raises what the producer failed of for good.
        """
        while True:
            await self._changed.wait()
            await asyncio.sleep(max(0.0, self._written_at + INTERVAL_S - time.monotonic()))
            await self.write()

    async def write(self) -> None:
        """Publishes now, if ``cover`` has asked for it; returns when the broker has all of it."""
        async with self._writing:
            covered, self._next = self._next, None
            self._changed.clear()
            if covered is None:
                return
            try:
                acknowledgements: list[asyncio.Future[int]] = []
                for topic, number, batches in await self._take():
                    acknowledgements += self._submit(topic, number, batches)
                self._written_at = time.monotonic()
                for acknowledgement in acknowledgements:
                    await acknowledgement
            except asyncio.CancelledError:
                covered.cancel()
                raise
            except Exception as error:
                covered.set_exception(error)
                raise
            covered.set_result(None)
