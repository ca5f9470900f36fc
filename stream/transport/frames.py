"""Responses of a broker received whole, each into a buffer of its size; nothing is copied again.

What it is: aiokafka's connection with its stream of bytes replaced, and a client that makes such
connections.
Who calls it: ``stream.transport.fetcher`` (its consumer's client).
What it must never know: what is fetched, runs, records.

asyncio's streams take at most 256 KiB at a time into a bytes object, append it to a bytearray,
stop the transport whenever 128 KiB lie there, and cut the response out of it; aiokafka then cuts
the records out of that. Of a response of 4 MiB each byte is copied four times between dozens of
turns of the event loop. Here the system writes it where it stays, and records are a view of it.
"""

from __future__ import annotations

import asyncio
import io
import types
import weakref
from collections.abc import Callable
from typing import Any, cast

import aiokafka.client
import aiokafka.conn
import numpy
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn

SIZE_BYTES = 4
# A response is as large as what was asked for (4 MiB), or one batch that is larger than that, or
# metadata. Below the largest batch that a broker takes (it may be told any) a partition would stand
# still; what is above is no response but a stranger's bytes.
FRAME_BYTES_MAX = 1 << 30
# Up to here a response is a bytes object, which the rest of aiokafka reads fastest; and the longest
# text of the protocol, so that whatever is longer can only be records.
SMALL_BYTES_MAX = 32_767
# Records that are a smaller part of a response than this are copied out of it: while they wait, a
# view would keep all of it in memory, which nobody counts.
VIEW_PART_MIN = 1 / 8


def rebound(function: Callable[..., Any], **names: Any) -> Any:
    """The same function with some of its module's names bound to other objects."""
    source = cast(types.FunctionType, function)
    copy = types.FunctionType(
        source.__code__,
        {**source.__globals__, **names},
        source.__name__,
        source.__defaults__,
        source.__closure__,
    )
    copy.__kwdefaults__ = source.__kwdefaults__
    return copy


class FrameReader:
    """Stands where aiokafka has a BytesIO: gives records as views instead of copies."""

    __slots__ = ("_at", "_frame")

    def __init__(self, frame: memoryview) -> None:
        self._frame = frame
        self._at = 0

    def read(self, count: int) -> bytes | memoryview:
        """The next ``count`` bytes, or as many as are left; a view if they can only be records and
        are much of what the view would keep."""
        part = self._frame[self._at : self._at + count]
        self._at += len(part)
        is_view = len(part) > SMALL_BYTES_MAX and len(part) >= VIEW_PART_MIN * len(self._frame)
        return part if is_view else bytes(part)


def open_frame(frame: bytes | memoryview) -> io.BytesIO | FrameReader:
    """What a response is read from."""
    return io.BytesIO(frame) if isinstance(frame, bytes) else FrameReader(frame)


class Frames(asyncio.BufferedProtocol):
    """Receives responses, and is what aiokafka's connection has as its reader and writer."""

    def __init__(self, connection: FrameConnection, closed: asyncio.Future[None]) -> None:
        # The transport holds this protocol: a connection that nobody holds must not live on.
        self._connection = weakref.ref(connection)
        self._closed = closed
        self._transport: asyncio.WriteTransport | None = None
        self._is_lost = False
        self._size = bytearray(SIZE_BYTES)
        self._begin(memoryview(self._size))

    def _begin(self, buffer: memoryview) -> None:
        self._buffer = buffer
        self._filled = 0

    # ---- the transport's side ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Notes the transport."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go: the rest of the size or of the response."""
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Hands a response on when it is whole."""
        self._filled += nbytes
        if self._filled < len(self._buffer):
            return
        if self._buffer.obj is self._size:
            size = int.from_bytes(self._size, "big", signed=True)
            if not 0 < size <= FRAME_BYTES_MAX:
                raise ConnectionError(f"{size} is no size of a response; this is no Kafka broker")
            # Memory that is not cleared first, since all of it will be written.
            self._begin(numpy.empty(size, numpy.uint8).data)
            return
        frame = self._buffer
        self._begin(memoryview(self._size))
        connection = self._connection()
        if connection is not None:
            connection._handle_frame(bytes(frame) if len(frame) <= SMALL_BYTES_MAX else frame)

    def eof_received(self) -> None:
        """Lets the transport close."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails what waits for a response."""
        self._is_lost = True
        if not self._closed.done():
            self._closed.set_result(None)
        connection = self._connection()
        if connection is not None:
            connection.close(reason=CloseReason.CONNECTION_BROKEN, exc=exc)

    # ---- the connection's side ----

    def at_eof(self) -> bool:
        """Whether nothing more can come."""
        return self._is_lost

    def write(self, message: bytes) -> None:
        """Sends a request."""
        assert self._transport is not None
        self._transport.write(message)

    async def drain(self) -> None:
        """Nothing: only requests without a response are waited for, and there are none."""

    def close(self) -> None:
        """Closes the transport when what was written has been sent."""
        if self._transport is not None:
            self._transport.close()


class FrameConnection(AIOKafkaConnection):  # type: ignore[misc]
    """aiokafka's connection, receiving through Frames."""

    _handle_frame = rebound(
        AIOKafkaConnection._handle_frame, io=types.SimpleNamespace(BytesIO=open_frame)
    )

    async def connect(self) -> tuple[Frames, Frames]:
        """Connects and greets the broker, as aiokafka's does."""
        loop = asyncio.get_running_loop()
        self._closed_fut = loop.create_future()
        frames = Frames(self, self._closed_fut)
        is_plain = self._security_protocol in ("PLAINTEXT", "SASL_PLAINTEXT")
        async with asyncio.timeout(self._request_timeout):
            await loop.create_connection(
                lambda: frames, self.host, self.port, ssl=None if is_plain else self._ssl_context
            )
        self._reader = self._writer = self._protocol = frames
        # There is no task that reads; aiokafka's close() would end it.
        self._read_task = loop.create_future()
        self._read_task.set_result(None)
        if self._max_idle_ms is not None:
            self._idle_handle = loop.call_soon(self._idle_check, weakref.ref(self))
        try:
            await self._do_version_lookup()
            if self._security_protocol.startswith("SASL_"):
                await self._do_sasl_handshake()
        except BaseException:
            self.close()
            raise
        return frames, frames


create_frame_connection = rebound(create_conn, AIOKafkaConnection=FrameConnection)


class FrameClient(aiokafka.client.AIOKafkaClient):  # type: ignore[misc]
    """aiokafka's client, making such connections."""

    _get_conn = rebound(
        aiokafka.client.AIOKafkaClient._get_conn, create_conn=create_frame_connection
    )
