"""The one Faust agent: port events go in, and nothing comes out before it is safe.

What it is: the declaration of the agent on port-events.
Who calls it: ``stream.app``, once; Faust runs it.
What it must never know: how a run is answered (``stream.gate``) or fetched (``stream.transport``).

Concurrency is 1: with more, Faust may commit past a message that is not finished. The stream does
not acknowledge by itself, since a run is done only when the broker has all that it caused.
"""

from __future__ import annotations

from typing import cast

import faust
from faust.types import StreamT

from stream import topics
from stream.gate import Gate
from stream.settings import Settings
from stream.transport import PartitionRun, RunSchema


def declare(app: faust.App, gate: Gate, settings: Settings) -> None:
    """Declares the agent that hands each fetched run of port-events to ``gate``."""
    topic = app.topic(settings.topic(topics.PORT_EVENTS), schema=RunSchema())

    @app.agent(topic, name=topics.PORT_EVENTS, concurrency=1)
    async def answer_port_events(stream: StreamT[PartitionRun]) -> None:
        async for event in cast(faust.Stream[PartitionRun], stream).noack().events():
            await gate.answer(event)
