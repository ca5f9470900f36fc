"""A TCP proxy in front of a broker that breaks connections in the ways that networks do.

Called by the fault harness, one for each broker, in the harness's event loop, and by a test of the
transport. It must never know what is in the bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

CHUNK_BYTES = 65_536
LOOPBACK = "127.0.0.1"
POLL_S = 0.1
WAIT_S_MAX = 180.0


class Proxy:
    """Forwards ``port`` (bound at once) to ``target_port``; see the methods for what it can do."""

    def __init__(self) -> None:
        self.target_port = 0
        self.port = 0
        self._delay_s = 0.0
        self._answers_pass = asyncio.Event()
        self._answers_pass.set()
        self._is_tearing = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listens: on a free port of the loopback, or where it listened before."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def start_when_answered(self) -> None:
        """Listens again as soon as the broker behind it does; waits at most ``WAIT_S_MAX``, then
        listens anyway."""
        deadline = time.monotonic() + WAIT_S_MAX
        while time.monotonic() < deadline:
            try:
                _, writer = await asyncio.open_connection(LOOPBACK, self.target_port)
            except OSError:
                await asyncio.sleep(POLL_S)
            else:
                writer.transport.abort()
                break
        await self.start()

    async def stop(self) -> None:
        """Cuts everything and listens no more, as if there were no broker."""
        assert self._server is not None, "start() comes first"
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Ends all connections at once, whatever is under way; new ones are taken."""
        for writer in list(self._writers):
            writer.transport.abort()

    def tear(self) -> None:
        """Of the next piece that each connection carries half arrives; then it is cut."""
        self._is_tearing = True

    def delay(self, delay_s: float) -> None:
        """Each piece arrives that much later."""
        self._delay_s = delay_s

    def lose_answers(self) -> None:
        """What clients send still arrives; nothing comes back, and nobody is told."""
        self._answers_pass.clear()

    def heal(self) -> None:
        """Forwards everything again; connections that missed something are cut."""
        self._delay_s = 0.0
        self._is_tearing = False
        if not self._answers_pass.is_set():
            self._answers_pass.set()
            self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            target_reader, target = await asyncio.open_connection(LOOPBACK, self.target_port)
        except OSError:
            writer.transport.abort()  # as if the broker itself had refused
            return
        self._writers |= {writer, target}
        try:
            there = asyncio.create_task(self._pipe(reader, target, is_answer=False))
            back = asyncio.create_task(self._pipe(target_reader, writer, is_answer=True))
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
        finally:
            self._writers -= {writer, target}
            writer.transport.abort()
            target.transport.abort()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if is_answer and not self._answers_pass.is_set():
                    # What was read here is lost, so the connection is of no use any more.
                    await self._answers_pass.wait()
                    return
                if self._is_tearing:
                    writer.write(chunk[: len(chunk) // 2])
                    await writer.drain()
                    return
                writer.write(chunk)
                await writer.drain()
