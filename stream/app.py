"""The Faust app, so that ``faust -A stream.app worker`` works as Faust's users expect.

What it is: Faust's settings, derived from ours, and the order in which things start.
Who calls it: the ``faust`` command (the module's ``app``), ``stream.worker``, tests (``make_app``).
What it must never know: how anything is done.
"""

from __future__ import annotations

from typing import Any, cast

import faust
from faust.app.base import BootStrategy
from faust.tables import TableManager
from faust.types import AppT
from faust.types.auth import CredentialsT

from stream import agents, topics
from stream.connection import SASL_MECHANISM, addresses, client_options
from stream.gate import Gate
from stream.settings import Settings
from stream.transport import Consumer
from stream.transport.fetcher import FETCH_BYTES_MAX

# Runs of up to 4 MiB that wait in front of the agent. Below 2 the agent waits for the fetch; above,
# memory grows and nothing is won, since the agent is the slower one then.
RUNS_WAITING_MAX = 4
# Heartbeats per session. It is by its heartbeat that a worker hears of a rebalance, so the last one
# to hear delays it for all; half a second of the smallest session.
HEARTBEATS_PER_SESSION = 12
# Seconds a request to the broker may take; Faust wants it to be at least the session's.
REQUEST_S_MAX = 40.0


class NoTables(TableManager):
    """Faust's manager of tables, which there are none of: it would wait for them for a second."""

    async def on_start(self) -> None:
        """Says at once that all tables are there."""
        await self._update_channels()
        await self.recovery.start()


class ConsumingOnly(BootStrategy):
    """What Faust starts: not its producer, which nobody would use (``stream.emission`` sends), and
    which ends the worker if no broker takes its first connection."""

    enable_kafka_producer = False


class GateApp(faust.App):
    """A Faust app with a Gate, which is ready before anything is subscribed."""

    BootStrategy = ConsumingOnly
    gate: Gate

    async def on_start(self) -> None:
        """Prepares and starts the gate before Faust starts its consumer."""
        await super().on_start()
        await self.gate.prepare()
        await self.add_runtime_dependency(self.gate)

    def _create_directories(self) -> None:
        """Nothing: Faust's directories are for tables on disk, which there are none of."""


def make_app(settings: Settings) -> GateApp:
    """An app with ``settings``; nothing is connected before it is started."""
    app = GateApp(
        settings.group_id,
        broker_client_id="gatejoin-events",
        broker=[f"gatejoin://{address}" for address in addresses(settings)],
        broker_credentials=_credentials(settings),
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,  # stream.topics knows better what they must be like
        topic_disable_leader=True,
        processing_guarantee="at_least_once",
        broker_commit_interval=settings.commit_interval_s,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / HEARTBEATS_PER_SESSION,
        broker_request_timeout=max(REQUEST_S_MAX, settings.session_timeout_s),
        broker_check_crcs=True,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance_id or None,
        consumer_max_fetch_size=FETCH_BYTES_MAX,
        stream_buffer_maxsize=RUNS_WAITING_MAX,
        stream_wait_empty=False,
        autodiscover=False,
        TableManager=NoTables,
    )
    app.gate = Gate(
        settings,
        lambda: cast(Consumer, app.consumer).membership,
        loop=app.loop,
        beacon=app.beacon,
    )
    agents.declare(app, app.gate, settings)
    port_events = settings.topic(topics.PORT_EVENTS)

    # Faust waits for this signal before it lets records flow again. It does not wait for
    # on_partitions_assigned: records would come for partitions that the gate does not know yet.
    @app.on_rebalance_complete.connect(weak=False)
    async def take_partitions(_app: AppT, **_: Any) -> None:
        consumer = cast(Consumer, app.consumer)
        numbers = [tp.partition for tp in consumer.assignment() if tp.topic == port_events]
        await app.gate.assign(numbers)

    return app


def _credentials(settings: Settings) -> CredentialsT | None:
    """Who Faust's own clients say they are: the same as all others of the worker."""
    options = client_options(settings)
    match settings.security_protocol:
        case "SSL":
            return faust.SSLCredentials(options["ssl_context"])
        case "SASL_SSL":
            return faust.SASLCredentials(
                username=options["sasl_plain_username"],
                password=options["sasl_plain_password"],
                ssl_context=options["ssl_context"],
                mechanism=SASL_MECHANISM,
            )
    return None


def __getattr__(name: str) -> GateApp:
    """The module's ``app``, made from the environment when somebody asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = make_app(Settings.from_environment())
    globals()["app"] = app
    return app
