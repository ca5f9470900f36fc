"""Kafka for the fault harness: each broker has a second listener, behind a proxy that can fail.

Called by the fault harness. Workers get the proxied addresses, whoever sends and reads for the
harness the direct ones. It must never know topics or workers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from stream.local_kafka import LOOPBACK, LocalKafka, Node, ports_choose
from tests.faults.proxy import Proxy

HEAP_MB = 256


class ProxiedKafka(LocalKafka):
    """A local Kafka whose nodes can also be reached through a proxy each."""

    def __init__(self, nodes: int, proxies: dict[int, Proxy]) -> None:
        # Segments of the changelog are closed and compacted while a run lasts.
        super().__init__(
            nodes,
            heap_mb=HEAP_MB,
            is_short_lived=True,
            properties={"log.cleaner.backoff.ms": "1000"},
        )
        self.proxies = proxies

    @property
    def proxied_servers(self) -> str:
        """``host:port`` of every proxy, separated by commas."""
        return ",".join(f"{LOOPBACK}:{proxy.port}" for proxy in self.proxies.values())

    def restart_together(self, numbers: list[int]) -> None:
        """Starts nodes again that were killed; on return they are part of the cluster."""
        nodes = [self._node(number) for number in numbers]
        for node in nodes:
            self._launch(node)
        self._wait_ready(nodes)

    def _server_properties(self, node: Node) -> str:
        proxy = self.proxies[node.number]
        (proxy.target_port,) = ports_choose(1)
        direct = f"PLAINTEXT://{node.address}"
        controller = f"CONTROLLER://{LOOPBACK}:{node.controller_port}"
        return super()._server_properties(node) + "".join(
            f"{key}={value}\n"
            for key, value in {
                "listeners": f"{direct},{controller},PROXIED://{LOOPBACK}:{proxy.target_port}",
                "advertised.listeners": f"{direct},PROXIED://{LOOPBACK}:{proxy.port}",
                "listener.security.protocol.map": (
                    "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT"
                ),
                "inter.broker.listener.name": "PLAINTEXT",
            }.items()
        )


@contextlib.asynccontextmanager
async def proxied_kafka(nodes: int) -> AsyncIterator[ProxiedKafka]:
    """Starts brokers and their proxies, and takes them away again."""
    proxies = {number: Proxy() for number in range(1, nodes + 1)}
    for proxy in proxies.values():
        await proxy.start()
    kafka = ProxiedKafka(nodes, proxies)
    try:
        await asyncio.to_thread(kafka.start)
        yield kafka
    finally:
        await asyncio.to_thread(kafka.stop)
        for proxy in proxies.values():
            await proxy.stop()
