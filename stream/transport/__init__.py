"""The Faust transport ``gatejoin://``: what one fetch brought of a partition travels whole.

What it is: Faust's aiokafka driver with four parts replaced: the connection (``frames.py``: socket
to bytes), the fetcher (``fetcher.py``: bytes to runs), the consumer thread and the bookkeeping of
acknowledgements (``consumer.py``). Producing and creating topics stay the driver's.
Who calls it: Faust, by the entry point ``faust.transports``, when an app's broker is
``gatejoin://host:port``; ``stream.customs_feed`` and ``stream.recovery`` use the fetcher alone.
What it must never know: what a record means.
"""

from __future__ import annotations

from typing import ClassVar

from faust.transport.drivers import aiokafka as driver

from stream.transport.consumer import Consumer
from stream.transport.fetcher import PartitionRun, RunConsumer
from stream.transport.membership import Membership
from stream.transport.schema import RunSchema

__all__ = ["Consumer", "Membership", "PartitionRun", "RunConsumer", "RunSchema", "Transport"]


class Transport(driver.Transport):
    """Faust's aiokafka transport, delivering one message per fetched run of a partition."""

    Consumer: ClassVar[type[driver.Consumer]] = Consumer
