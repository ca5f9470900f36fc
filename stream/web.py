"""The worker's window: /metrics, /healthz and /readyz.

What it is: a small aiohttp server.
Who calls it: ``stream.gate`` starts and stops it; Prometheus and the orchestrator ask it.
What it must never know: how anything it shows comes about.

/healthz is shallow: it answers as long as the event loop turns, for a worker that restores for a
minute must not be killed for it. /readyz is deep: 200 only while the worker answers gates, and 503
with the reasons otherwise.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from aiohttp import web

EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class WebError(RuntimeError):
    """The server can't start; the message says why and what to do."""


class Web:
    """Serves one worker.

    Args:
        host, port: where to listen; port 0 takes a free one.
        exposition: gives the metrics in Prometheus's text format.
        unready: gives the reasons why the worker is not ready, none if it is.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        exposition: Callable[[], bytes],
        unready: Callable[[], list[str]],
    ) -> None:
        self._host = host
        self._port = port
        self._exposition = exposition
        self._unready = unready
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listens; returns the URL. Raises WebError if the port is taken."""
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"fails: {error.strerror}"
            raise WebError(
                f"{self._host}:{self._port} {reason}; set GATEJOIN_WEB_PORT to a free port, "
                "or to 0 for any"
            ) from error
        self._runner = runner
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stops listening."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._exposition(), headers={"Content-Type": EXPOSITION_TYPE})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reasons = self._unready()
        return web.Response(
            status=503 if reasons else 200,
            text="".join(f"{reason}\n" for reason in reasons) or "ready\n",
        )
