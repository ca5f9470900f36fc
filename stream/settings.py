"""What can be set from outside, all of it in one place.

What it is: one frozen dataclass, read from environment variables ``GATEJOIN_*``.
Who calls it: ``stream.app`` and ``stream.worker``; the demo and tests build one directly.
What it must never know: how a setting is used.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "GATEJOIN_"


class SettingsError(ValueError):
    """A setting is wrong; the message names the variable, its value and what would be right."""


def _setting(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The worker's settings; the variable of ``topic_prefix`` is ``GATEJOIN_TOPIC_PREFIX``."""

    # Addresses of some brokers, ``host:port``, separated by commas; the rest of the cluster is
    # found from them. Wrong: the worker waits for a broker, saying so.
    broker: str = _setting("127.0.0.1:9092")

    # Put in front of every topic's name and of the group, so that several installations can share
    # a cluster. Two installations with the same prefix answer for each other.
    topic_prefix: str = _setting("")

    # Consumer group of the workers. A new name reads all events again from the first.
    group: str = _setting("gatejoin")

    # Partitions of port-events, decisions and alerts when they are created: the most workers that
    # can share the work. It can't be changed later, since a unit's partition would move. Above a
    # few hundred a fetch is spread thin.
    partitions: int = _setting(8, low=1, high=1000)

    # Partitions of operators, declarations and holds when they are created, and of the aggregates.
    # Every worker reads them all; more let the broker's disks share the load at start.
    customs_partitions: int = _setting(4, low=1, high=64)

    # Copies of each topic when it is created; 0 stands for one on each broker, up to 3. With fewer
    # than 3 the loss of brokers' disks can be the loss of decisions.
    replication: int = _setting(0, low=0, high=9)

    # Days that decisions are kept, from when they were written. The rules ask for 5 years; -1 is
    # for ever. Below 1826 the law is broken.
    decisions_retention_days: int = _setting(1826, low=-1, high=36_500)

    # A TOML file of rules that replace shipped ones; empty for the shipped rules.
    rules: str = _setting("")

    # Minutes after which a connected operator of whom nothing has come is reported as silent; 0
    # never. Below the longest quiet hours of a small place every night raises its alert.
    silent_operator_minutes: int = _setting(0, low=0, high=1440)

    # Codec of what the worker writes. lz4 and zstd halve the network and cost a few microseconds
    # of CPU a record.
    compression: str = _setting("none", choices=("none", "gzip", "snappy", "lz4", "zstd"))

    # Where /metrics, /healthz and /readyz are served. An address other than the loopback shows
    # counts of holds to whoever reaches it. Port 0 takes a free one, which the log names.
    web_host: str = _setting("127.0.0.1")
    web_port: int = _setting(9464, low=0, high=65_535)

    # Seconds between commits of offsets: what is read again after a crash. Below 0.1 commits load
    # the broker; above a minute a restart takes noticeably longer.
    commit_interval_s: float = _setting(1.0, low=0.05, high=60.0)

    # Seconds after which the group gives a silent worker's partitions to others. Below 6 brokers
    # refuse it; above, a crash leaves its partitions unanswered for longer.
    session_timeout_s: float = _setting(10.0, low=6.0, high=300.0)

    # Megabytes of decisions and other output that may wait for the broker's acknowledgement before
    # the worker stops reading. Below 1 the broker is waited for after each run; above, memory grows
    # while a broker is away.
    unacknowledged_mb_max: int = _setting(32, low=1, high=1024)

    def __post_init__(self) -> None:
        """Raises SettingsError if a value is outside of its range."""
        for name, value in dataclasses.asdict(self).items():
            limits = self.__dataclass_fields__[name].metadata
            _check(PREFIX + name.upper(), value, **limits)
        if not self.broker:
            raise SettingsError("GATEJOIN_BROKER is empty; give host:port of a broker")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings that ``environment`` gives, defaults for the rest.

        Raises SettingsError if one is wrong.
        """
        given: dict[str, Any] = {}
        for entry in dataclasses.fields(cls):
            text = environment.get(PREFIX + entry.name.upper())
            if text is not None:
                given[entry.name] = _parse(PREFIX + entry.name.upper(), text, type(entry.default))
        return cls(**given)

    def topic(self, name: str) -> str:
        """The full name of a topic of the contract."""
        return self.topic_prefix + name

    @property
    def group_id(self) -> str:
        """The full name of the consumer group."""
        return self.topic_prefix + self.group


def _parse(variable: str, text: str, kind: type) -> Any:
    try:
        return kind(text.strip())
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{variable}={text!r} is not {wanted}") from None


def _check(
    variable: str,
    value: Any,
    low: float | None,
    high: float | None,
    choices: tuple[str, ...] | None,
) -> None:
    if choices is not None and value not in choices:
        raise SettingsError(f"{variable}={value!r} is none of {', '.join(choices)}")
    if low is not None and high is not None and not low <= value <= high:
        raise SettingsError(f"{variable}={value} is outside of {low:g} to {high:g}")
