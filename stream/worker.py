"""``gatejoin worker``: runs the worker until it is told to stop.

What it is: the command's arguments, and mishaps turned into one line.
Who calls it: ``stream.cli``.
What it must never know: anything beyond how to start the app.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from faust.worker import Worker

from stream import logs
from stream.app import make_app
from stream.connection import BrokerRefusesError, check_connection
from stream.fatal import FatalError
from stream.policy import PolicyError, load_policy
from stream.settings import Settings, SettingsError
from stream.topics import TopicsError, ensure_topics
from stream.web import Web, WebError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments; everything else is a setting."""
    parser.add_argument(
        "--log-level",
        choices=logs.LEVELS,
        default="info",
        help="how much is told on standard error (default: %(default)s)",
    )
    parser.epilog = (
        "Settings come from the environment (GATEJOIN_BROKER, ...) and from the TOML file that "
        "GATEJOIN_CONFIG names; gatejoin config shows them."
    )


async def check(settings: Settings) -> None:
    """Finds out now, while it can be said in one line, what would keep the worker from starting.

    Waits, with a message, while no broker answers. Raises WebError, SettingsError,
    BrokerRefusesError or TopicsError.
    """
    web = Web(settings.web_host, settings.web_port, exposition=bytes, unready=list)
    await web.start()
    await web.stop()
    await check_connection(settings)
    await ensure_topics(settings)


def run(arguments: argparse.Namespace) -> int:
    """Runs until a signal stops it (status 0) or something fails for good (1; 2: wrong input)."""
    try:
        settings = Settings.from_environment()
        load_policy(settings.rules or None)
    except (SettingsError, PolicyError) as error:
        print(f"gatejoin worker: {error}", file=sys.stderr)
        return 2
    logging_config = logs.configure(arguments.log_level, settings.log_format)
    try:
        asyncio.run(check(settings))
    except SettingsError as error:  # of a file that a setting names
        print(f"gatejoin worker: {error}", file=sys.stderr)
        return 2
    except (BrokerRefusesError, TopicsError, WebError) as error:
        print(f"gatejoin worker: {error}", file=sys.stderr)
        return 1
    worker = Worker(
        make_app(settings),
        loglevel=arguments.log_level,
        logging_config=logging_config,
        quiet=True,  # no banner: whoever reads the log wants lines
    )
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if isinstance(worker.crash_reason, FatalError):
            print(f"gatejoin worker: {worker.crash_reason}", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 1
