"""``gatejoin worker``: runs the worker until it is told to stop.

What it is: the command's arguments, and mishaps turned into one line.
Who calls it: ``stream.cli``.
What it must never know: anything beyond how to start the app.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time

from faust.worker import Worker

from stream.app import make_app
from stream.connection import BrokerRefusesError, check_connection
from stream.fatal import FatalError
from stream.policy import PolicyError, load_policy
from stream.settings import Settings, SettingsError
from stream.topics import TopicsError, ensure_topics
from stream.web import Web, WebError

# aiokafka tells of each assignment that a reader gives itself.
QUIET_LOGGERS = ("aiokafka.consumer.subscription_state",)
# Seconds until aiokafka may say the same again.
REPEAT_S = 10.0
LOG_LEVELS = ("debug", "info", "warning", "error")


class Sparse(logging.Filter):
    """Lets each message of a logger through once in a while; problems repeat many times a second
    while no broker answers."""

    def __init__(self) -> None:
        super().__init__()
        self._shown_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this message, whatever its arguments, has not been shown for a while."""
        now = time.monotonic()
        shown_at = self._shown_at.get(record.msg)
        if shown_at is not None and now - shown_at < REPEAT_S:
            return False
        self._shown_at[record.msg] = now
        return True


def quieten() -> None:
    """Thins out what aiokafka logs."""
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == "aiokafka":
            logging.getLogger(name).addFilter(Sparse())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments; everything else is a setting."""
    parser.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
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
    quieten()
    try:
        asyncio.run(check(settings))
    except SettingsError as error:  # of a file that a setting names
        print(f"gatejoin worker: {error}", file=sys.stderr)
        return 2
    except (BrokerRefusesError, TopicsError, WebError) as error:
        print(f"gatejoin worker: {error}", file=sys.stderr)
        return 1
    worker = Worker(make_app(settings), loglevel=arguments.log_level)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        if isinstance(worker.crash_reason, FatalError):
            print(f"gatejoin worker: {worker.crash_reason}", file=sys.stderr)
        return end.code if isinstance(end.code, int) else 1
