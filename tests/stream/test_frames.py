"""Responses received whole: however they are cut on the way, and what is no response at all."""

from __future__ import annotations

import asyncio
import random

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from stream.transport.frames import (
    FRAME_BYTES_MAX,
    SMALL_BYTES_MAX,
    FrameReader,
    Frames,
    create_frame_connection,
    open_frame,
)

WAIT_S_MAX = 180.0


class Sink:
    """Stands where the connection is."""

    def __init__(self) -> None:
        self.frames: list[bytes | memoryview] = []

    def _handle_frame(self, frame: bytes | memoryview) -> None:
        self.frames.append(frame)


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def feed(frames: Frames, data: bytes, source: random.Random) -> None:
    """Gives bytes as a transport does, at most as many at a time as there is room."""
    at = 0
    while at < len(data):
        room = frames.get_buffer(-1)
        count = min(len(room), source.choice((1, 2, 3, 100, 70_000)), len(data) - at)
        room[:count] = data[at : at + count]
        frames.buffer_updated(count)
        at += count


def test_responses_come_whole_however_they_are_cut(loop):
    sizes = [1, 3, 4, 100, SMALL_BYTES_MAX, SMALL_BYTES_MAX + 1, 300_000, 2]
    sent = [random.Random(size).randbytes(size) for size in sizes]
    stream = b"".join(len(part).to_bytes(4, "big") + part for part in sent)
    for seed in range(5):
        sink = Sink()
        frames = Frames(sink, loop.create_future())
        feed(frames, stream, random.Random(seed))
        assert [bytes(frame) for frame in sink.frames] == sent
        assert [type(frame) for frame in sink.frames] == [
            bytes if size <= SMALL_BYTES_MAX else memoryview for size in sizes
        ]


@pytest.mark.parametrize("size", [0, -1, FRAME_BYTES_MAX + 1])
def test_what_is_no_size_is_refused(loop, size):
    frames = Frames(Sink(), loop.create_future())
    frames.get_buffer(-1)[:4] = size.to_bytes(4, "big", signed=True)
    with pytest.raises(ConnectionError, match="is no size of a response"):
        frames.buffer_updated(4)


def test_records_are_views_unless_they_would_keep_what_is_not_theirs():
    data = bytes(range(256)) * 4096
    whole = FrameReader(memoryview(data))
    assert whole.read(4) == data[:4]
    assert type(whole.read(10)) is bytes
    records = whole.read(500_000)
    assert type(records) is memoryview
    assert records == data[14:500_014]
    few = whole.read(SMALL_BYTES_MAX + 1)
    assert type(few) is bytes
    assert few == data[500_014 : 500_015 + SMALL_BYTES_MAX]
    assert whole.read(1 << 30) == data[500_015 + SMALL_BYTES_MAX :]
    assert whole.read(5) == b""
    assert open_frame(b"small").read() == b"small"


def run_against(answer: bytes) -> BaseException | None:
    """Connects to a server that answers with these bytes and ends; what connecting failed of."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def run() -> BaseException | None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                await create_frame_connection(host, port, request_timeout_ms=10_000)
        except Exception as error:
            return error
        finally:
            server.close()
        return None

    return asyncio.run(run())


@pytest.mark.parametrize("answer", [b"", b"\0\0", b"\0\0\1\0partly", b"HTTP/1.1 400 Bad Request"])
def test_a_connection_that_ends_fails_what_waits(answer):
    assert isinstance(run_against(answer), KafkaConnectionError)


def test_a_real_broker_is_greeted_and_told_goodbye(kafka):
    async def run() -> None:
        host, _, port = kafka.rpartition(":")
        connection = await create_frame_connection(host, int(port))
        assert connection.connected()
        response = await connection.send(ApiVersionRequest())
        assert response.api_versions
        waiting = connection.send(ApiVersionRequest())
        closed = connection.close()
        with pytest.raises(KafkaConnectionError):
            await waiting
        await asyncio.wait_for(closed, WAIT_S_MAX)
        assert not connection.connected()

    asyncio.run(run())
