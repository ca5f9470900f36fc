"""``gatejoin worker``: runs the worker until it is told to stop.

What it is: the command's arguments, and mishaps turned into one line.
Who calls it: ``stream.cli``.
What it must never know: anything beyond how to start the app.
"""

from __future__ import annotations

import argparse
import logging
import sys

from faust.worker import Worker

from stream.app import make_app
from stream.policy import PolicyError, load_policy
from stream.settings import Settings, SettingsError
from stream.topics import TopicsError
from stream.web import WebError

# aiokafka tells of each assignment that a reader gives itself.
QUIET_LOGGERS = ("aiokafka.consumer.subscription_state",)
LOG_LEVELS = ("debug", "info", "warning", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments; everything else is set by GATEJOIN_* in the environment."""
    parser.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="how much is told on standard error (default: %(default)s)",
    )
    parser.epilog = (
        "Settings come from the environment: GATEJOIN_BROKER, GATEJOIN_TOPIC_PREFIX, ..."
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs until a signal stops it (status 0) or something fails for good (1; 2: wrong input)."""
    try:
        settings = Settings.from_environment()
        load_policy(settings.rules or None)
    except (SettingsError, PolicyError) as error:
        print(f"gatejoin worker: {error}", file=sys.stderr)
        return 2
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    worker = Worker(make_app(settings), loglevel=arguments.log_level, quiet=False)
    try:
        worker.execute_from_commandline()
    except (TopicsError, WebError) as error:
        print(f"gatejoin worker: {error}", file=sys.__stderr__)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
