"""``gatejoin config``: the settings in force and where each comes from.

What it is: the command that prints what ``stream.settings`` declares and resolves.
Who calls it: ``stream.cli``.
What it must never know: how a setting is used.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys

from stream.settings import DESCRIPTIONS, Settings, SettingsError, resolve, variable_of

REFERENCE_HEAD = """\
# Settings

Written by `gatejoin config --reference`. Each setting is an environment variable, or a key of the
TOML file that `GATEJOIN_CONFIG` names (`topic_prefix` for `GATEJOIN_TOPIC_PREFIX`); the environment
wins. Unknown names and values outside of the range are refused at start. `gatejoin config` shows
what is in force and from where.

"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object, for programs")
    form.add_argument(
        "--reference", action="store_true", help="what can be set, as a page, whatever is in force"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints; 2 if a setting is wrong or unknown."""
    if arguments.reference:
        print(reference(), end="")
        return 0
    try:
        settings, sources = resolve(os.environ)
    except SettingsError as error:
        print(f"gatejoin config: {error}", file=sys.stderr)
        return 2
    values = dataclasses.asdict(settings)
    if arguments.json:
        document = {
            name: {
                "value": value,
                "unit": DESCRIPTIONS[name].unit or None,
                "from": sources.get(name, "default"),
            }
            for name, value in values.items()
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    rows = [
        (
            variable_of(name),
            f"{_text(value)} {DESCRIPTIONS[name].unit}".strip(),
            sources.get(name, "default"),
        )
        for name, value in values.items()
    ]
    rows.insert(0, ("setting", "value", "from"))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, source in rows:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    return 0


def reference() -> str:
    """The page of all settings, in Markdown."""
    lines = [
        "| setting | default | allowed | what it is | breaks below | waits above |",
        "|---|---|---|---|---|---|",
    ]
    defaults = {entry.name: entry.default for entry in dataclasses.fields(Settings)}
    for name, description in DESCRIPTIONS.items():
        cells = (
            f"`{variable_of(name)}`",
            f"{_text(defaults[name])} {description.unit}".strip(),
            description.allowed,
            description.what,
            description.below,
            description.above,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return REFERENCE_HEAD + "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return '""' if value == "" else str(value)
