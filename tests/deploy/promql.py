"""Which series a PromQL expression names, for tests that hold rules and dashboards against the
catalogue. Whether it parses is Prometheus's to say."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from stream.metric_catalogue import CATALOGUE, series_names

PROMETHEUS = Path(__file__).resolve().parents[2] / "deploy/prometheus"
RULE_FILES = sorted(PROMETHEUS.glob("*.yaml"))

WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless"}
WORDS |= {"bool", "offset", "inf", "nan"}
#: What Prometheus itself records of each scrape.
OF_PROMETHEUS = {"up"}

_NOT_NAMES = re.compile(
    r"""
    "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*'                    # strings
    | \{[^}]*\}                                                 # matchers
    | \[[^\]]*\]                                                # ranges
    | \b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)  # labels
    | \b\d[\w.]*                                                # numbers and durations
    | \b[a-z_0-9]+(?=\s*(?:\(|(?:by|without)\b))  # functions
    """,
    re.VERBOSE | re.IGNORECASE,
)


def series_of(expression: str) -> set[str]:
    """The names of all series in an expression."""
    without_strings = re.sub(r"\"[^\"]*\"|'[^']*'", '""', expression)
    left = _NOT_NAMES.sub(" ", without_strings)
    return {name for name in re.findall(r"[a-zA-Z_:][\w:]*", left) if name.lower() not in WORDS}


def rules() -> list[dict]:
    """All rules of deploy/prometheus, in order."""
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alert_rules() -> list[dict]:
    return [rule for rule in rules() if "alert" in rule]


def known_series() -> set[str]:
    """What an expression may name."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return (
        recorded | OF_PROMETHEUS | {name for metric in CATALOGUE for name in series_names(metric)}
    )
