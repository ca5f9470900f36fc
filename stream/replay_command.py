"""``gatejoin replay LOG.ndjson --out DIR``: the arguments and messages around stream/replay.py.

Called by the command line. It must never know lines, records or rules.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stream.policy import PolicyError
from stream.replay import LogError, replay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``gatejoin replay``."""
    parser.add_argument(
        "log", type=Path, metavar="LOG.ndjson", help="the log; .gz and .zst are decompressed"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the results are written"
    )
    parser.add_argument(
        "--rules", type=Path, metavar="FILE", help="a rules file (TOML) to rehearse"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs ``gatejoin replay``; returns the exit status."""
    try:
        replay(arguments.log, arguments.out, arguments.rules)
    except (LogError, PolicyError) as error:
        print(f"gatejoin replay: {error}", file=sys.stderr)
        return 2
    return 0
