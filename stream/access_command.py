"""``gatejoin access``: who may do what with the topics, what of it the broker lacks, adding that.

What it is: the command over ``stream.access``.
Who calls it: ``stream.cli``.
What it must never know: passwords and certificates.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from stream.access import Entry, access_list, grant, missing
from stream.settings import Settings, SettingsError
from stream.topics_command import ask_broker


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "action",
        choices=("list", "plan", "apply"),
        help="print the whole list, or what of it the broker lacks, or add that",
    )
    parser.epilog = "Nothing is ever taken away: that is for kafka-acls."


def run(arguments: argparse.Namespace) -> int:
    """Status 0; 1: refused, or no broker; 2: a wrong setting."""
    if arguments.action == "list":
        try:
            print(as_csv(access_list(Settings.from_environment())), end="")
        except SettingsError as error:
            print(f"gatejoin access: {error}", file=sys.stderr)
            return 2
        return 0

    async def plan_or_apply(settings: Settings) -> int:
        act = grant if arguments.action == "apply" else missing
        found = await act(settings, access_list(settings))
        print(as_csv(found) if found else "the broker has all of the list\n", end="")
        return 0

    return ask_broker("access", plan_or_apply)


def as_csv(entries: Sequence[Entry]) -> str:
    """The entries as lines of principal, resource, name, pattern, operation."""
    return "".join(",".join(line) + "\n" for line in (Entry._fields, *entries))
