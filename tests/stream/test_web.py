"""The worker's window, asked over HTTP on the loopback."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from stream.web import EXPOSITION_TYPE, Web, WebError


async def ask(url: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, response.headers["Content-Type"], await response.text()


def test_each_path_answers() -> None:
    async def scenario() -> None:
        reasons = ["holds: 50 % loaded"]
        web = Web("127.0.0.1", 0, exposition=lambda: b"a 1\n", unready=lambda: reasons)
        url = await web.start()
        try:
            assert await ask(url + "/metrics") == (200, EXPOSITION_TYPE, "a 1\n")
            assert (await ask(url + "/healthz"))[::2] == (200, "alive\n")
            assert (await ask(url + "/readyz"))[::2] == (503, "holds: 50 % loaded\n")
            reasons.clear()
            assert (await ask(url + "/readyz"))[::2] == (200, "ready\n")
            assert (await ask(url + "/else"))[0] == 404
        finally:
            await web.stop()

    asyncio.run(scenario())


def test_a_taken_port_is_named() -> None:
    async def scenario() -> None:
        first = Web("127.0.0.1", 0, exposition=bytes, unready=list)
        port = int((await first.start()).rsplit(":", 1)[1])
        try:
            second = Web("127.0.0.1", port, exposition=bytes, unready=list)
            with pytest.raises(WebError, match=f":{port} is taken; set GATEJOIN_WEB_PORT"):
                await second.start()
        finally:
            await first.stop()

    asyncio.run(scenario())
