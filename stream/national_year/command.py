"""``gatejoin year``: writes a national year as a log, for replay, why and report.

Called by the command line; it must never know how a year is made.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from stream.national_year.planner import SCALE_MAX, SCALE_MIN
from stream.national_year.year import NationalYear


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to ``parser``."""
    parser.add_argument(
        "--scale",
        type=float,
        default=0.01,
        metavar="X",
        help=f"1 is the nation, about 8 million events; {SCALE_MIN} to {SCALE_MAX:g}"
        " (default %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=2018, metavar="N", help="another year (default %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="LOG.ndjson",
        help="where to write; gzip or zstd if the name ends in .gz or .zst",
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the log. Returns the exit status."""
    start = time.perf_counter()
    try:
        year = NationalYear(seed=arguments.seed, scale=arguments.scale)
    except ValueError as error:
        print(f"gatejoin year: {error}", file=sys.stderr)
        return 2
    lines = year.write_log(arguments.out)
    seconds = time.perf_counter() - start
    print(f"{arguments.out}: {lines:,} lines in {seconds:.1f} s", file=sys.stderr)
    return 0
