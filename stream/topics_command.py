"""``gatejoin topics``: what the broker lacks of the topics as declared, and making it so.

What it is: the command over ``stream.topic_plan``.
Who calls it: ``stream.cli``; ``stream.access_command`` shares how a broker is asked once.
What it must never know: what is in a record.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable

from aiokafka.errors import KafkaError

from stream.access import AccessError
from stream.connection import BrokerRefusesError, check_connection
from stream.settings import Settings, SettingsError
from stream.topic_plan import apply_plan, make_plan
from stream.topics import TopicsError

# A broker that answers does so within a second; above a minute a person has given up.
BROKER_S_MAX = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``gatejoin topics``."""
    parser.add_argument(
        "action", choices=("plan", "apply"), help="show what differs, or make it as declared"
    )
    parser.epilog = (
        "What would lose records or move a unit to another partition is refused. The principal "
        "needs what gatejoin access lists for the role topics."
    )


def run(arguments: argparse.Namespace) -> int:
    """Status 0; 1: refused, or no broker; 2: a wrong setting."""

    async def plan_or_apply(settings: Settings) -> int:
        plan = await make_plan(settings)
        print("\n".join(plan.lines(settings)))
        if arguments.action == "apply":
            await apply_plan(settings, plan)
        return 1 if plan.refused else 0

    return ask_broker("topics", plan_or_apply)


def ask_broker(command: str, action: Callable[[Settings], Awaitable[int]]) -> int:
    """Runs ``action`` with the settings in force; mishaps become one line and a status."""
    # What aiokafka has to say of a broker that is away is said here, once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def bounded() -> int:
        settings = Settings.from_environment()
        try:
            async with asyncio.timeout(BROKER_S_MAX):
                await check_connection(settings)
                return await action(settings)
        except (TimeoutError, KafkaError, OSError) as error:
            raise TopicsError(
                f"no broker answers at {settings.broker} ({type(error).__name__}): "
                "set GATEJOIN_BROKER to the host:port of one"
            ) from None

    try:
        return asyncio.run(bounded())
    except SettingsError as error:
        print(f"gatejoin {command}: {error}", file=sys.stderr)
        return 2
    except (AccessError, BrokerRefusesError, TopicsError) as error:
        print(f"gatejoin {command}: {error}", file=sys.stderr)
        return 1
