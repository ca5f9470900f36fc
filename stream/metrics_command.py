"""``gatejoin metrics``: prints the catalogue of metrics.

What it is: the catalogue as a text table for a terminal, or as the page of the documentation,
deploy/prometheus/METRICS.md, which is this command's output.
Who calls it: ``stream.cli``.
What it must never know: a worker.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable

from stream.metric_catalogue import CATALOGUE, LABELS, Scope
from stream.report import text_table

MEANING_COLUMNS = 72


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text for a terminal, markdown for the documentation (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints; status 0."""
    print(FORMATS[arguments.format](), end="")
    return 0


def as_text() -> str:
    """The catalogue, name, type, labels, unit and meaning, and the labels behind it."""
    rows = []
    for metric in CATALOGUE:
        meaning = textwrap.wrap(metric.meaning, MEANING_COLUMNS)
        scope = metric.scope.name.lower()
        rows.append(
            [metric.name, metric.kind, ",".join(metric.labels), metric.unit, scope, meaning[0]]
        )
        rows += [["", "", "", "", "", line] for line in meaning[1:]]
    labels = [[name, label.values] for name, label in LABELS.items()]
    scopes = [[scope.name.lower(), scope.value] for scope in Scope]
    return "\n".join(
        (
            text_table(("metric", "type", "labels", "unit", "workers", "meaning"), rows, left=6),
            text_table(("label", "values"), labels, left=2),
            text_table(("workers", "how to add them up"), scopes, left=2),
        )
    )


def as_markdown() -> str:
    """The documentation's page."""
    lines = [
        "# Metrics",
        "",
        "What a worker shows on `/metrics`, written by `gatejoin metrics --format markdown`.",
        "",
        "Every worker has all of customs' side, so some figures are the same in each and must not",
        "be added up; the column *workers* says which:",
        "",
        "| workers | how to add them up |",
        "|---|---|",
        *(f"| {scope.name.lower()} | {scope.value} |" for scope in Scope),
        "",
        "Series of a partition or an operator are there only while the worker has it.",
        "",
        "| metric | type | labels | unit | workers | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for metric in CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(
            f"| `{metric.name}` | {metric.kind} | {labels} | {metric.unit} "
            f"| {metric.scope.name.lower()} | {metric.meaning} |"
        )
    lines += ["", "| label | values | at most |", "|---|---|---|"]
    for name, label in LABELS.items():
        bound = "as many as there are" if label.bound is None else label.bound
        lines.append(f"| `{name}` | {label.values} | {bound} |")
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[], str]] = {"text": as_text, "markdown": as_markdown}
