"""What can be set from outside, all of it in one place.

What it is: one frozen dataclass, read from environment variables ``GATEJOIN_*`` and from the TOML
file that ``GATEJOIN_CONFIG`` names; the environment wins. With each setting stands what a person
has to know to choose it, as data, so that ``gatejoin config`` can print it.
Who calls it: ``stream.app`` and every command that talks to a broker; ``stream.config``.
What it must never know: how a setting is used.

No setting is a secret: passwords and keys are read from files that a setting names
(``stream.connection``), so nothing here can be printed that should not be.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from stream.toml_lines import key_lines

PREFIX = "GATEJOIN_"
#: Names the settings file.
CONFIG_VARIABLE = "GATEJOIN_CONFIG"
# A larger file is none of settings.
CONFIG_BYTES_MAX = 1 << 20

#: Variables that are no settings of a worker: of the build, the tests and the tools around. One
#: that ends in an underscore stands for all that begin so.
OTHER_VARIABLES = (
    CONFIG_VARIABLE,
    "GATEJOIN_CACHE",
    "GATEJOIN_CLANG",
    "GATEJOIN_DEBUG",
    "GATEJOIN_SANITIZE",
    "GATEJOIN_SEED",
    "GATEJOIN_SIMD",
    "GATEJOIN_BENCH_",
    "GATEJOIN_DIFFERENTIAL_",
    "GATEJOIN_FAULTS_",
    "GATEJOIN_FUZZ_",
    "GATEJOIN_PROPERTY_",
    "GATEJOIN_TEST_",
)


class SettingsError(ValueError):
    """A setting is wrong; the message names the variable, its value and what would be right."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a person has to know of a setting; ``low`` and ``high`` are allowed values too."""

    what: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    pattern: str | None = None
    form: str = ""
    below: str = ""
    above: str = ""

    @property
    def allowed(self) -> str:
        """What values there are, for people; empty: any text."""
        if self.choices is not None:
            return ", ".join(choice or '""' for choice in self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return self.form

    def check(self, label: str, value: Any) -> None:
        """Raises SettingsError, beginning with ``label``, if ``value`` is not allowed."""
        if self.choices is not None and value not in self.choices:
            raise SettingsError(f"{label} is none of {self.allowed}")
        if self.low is not None and self.high is not None and not self.low <= value <= self.high:
            unit = f" {self.unit}" if self.unit else ""
            raise SettingsError(f"{label} is outside of {self.allowed}{unit}")
        if self.pattern is not None and re.fullmatch(self.pattern, value) is None:
            raise SettingsError(f"{label} is not {self.form}")


def _setting(default: Any, what: str, **description: Any) -> Any:
    return field(default=default, metadata={"description": Description(what=what, **description)})


_ADDRESS = r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@,\[\]]+):[0-9]{1,5}"
_FILE = "a path, or empty"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The worker's settings; the variable of ``topic_prefix`` is ``GATEJOIN_TOPIC_PREFIX``, its
    key in the file ``topic_prefix``."""

    broker: str = _setting(
        "127.0.0.1:9092",
        "Addresses of some brokers; the rest of the cluster is found from them.",
        pattern=rf"{_ADDRESS}(\s*,\s*{_ADDRESS})*",
        form="host:port of a broker, or several separated by commas",
        above="If none of them answers, the worker waits, saying so.",
    )
    security_protocol: str = _setting(
        "PLAINTEXT",
        "How brokers are spoken to: PLAINTEXT; SSL (TLS, and mutual TLS with a certificate); "
        "SASL_SSL (TLS, and SCRAM-SHA-512 with a name and a password).",
        choices=("PLAINTEXT", "SSL", "SASL_SSL"),
        below="PLAINTEXT lets whoever is on the network read and forge gate answers.",
    )
    tls_ca_file: str = _setting(
        "",
        "PEM file of the authorities that may vouch for a broker; empty: those of the system.",
        form=_FILE,
    )
    tls_certificate_file: str = _setting(
        "", "PEM file of the client's own certificate, for mutual TLS.", form=_FILE
    )
    tls_key_file: str = _setting(
        "", "PEM file of the certificate's key, not encrypted; its rights protect it.", form=_FILE
    )
    sasl_username: str = _setting("", "Name of the SCRAM user.", form="a name, or empty")
    sasl_password_file: str = _setting(
        "",
        "File that holds the SCRAM user's password, one line; read at start, so that a changed "
        "one takes a restart.",
        form=_FILE,
    )
    topic_prefix: str = _setting(
        "",
        "Put in front of every topic's name and of the group, so that several installations can "
        "share a cluster. Two with the same prefix answer for each other.",
        pattern=r"[A-Za-z0-9._-]{0,150}",
        form="up to 150 letters, digits, dots, hyphens and underscores",
    )
    group: str = _setting(
        "gatejoin",
        "Consumer group of the workers. A new name reads all events again from the first.",
        pattern=r"[A-Za-z0-9._-]{1,90}",
        form="1 to 90 letters, digits, dots, hyphens and underscores",
    )
    instance_id: str = _setting(
        "",
        "This worker's lasting name in the group (static membership): a restart within the session "
        "takes its partitions back without moving any others. No two workers may share one.",
        pattern=r"[A-Za-z0-9._-]{0,200}",
        form="up to 200 letters, digits, dots, hyphens and underscores",
        below="Empty: each restart moves partitions between all workers.",
    )
    partitions: int = _setting(
        8,
        "Partitions of port-events, decisions, alerts and rejects when they are made: the most "
        "workers that can share the work. Can't be changed later, for a unit's would move.",
        low=1,
        high=1000,
        below="Fewer workers can share the work than the peak may need.",
        above="A fetch is spread thin over hundreds of partitions.",
    )
    customs_partitions: int = _setting(
        4,
        "Partitions of operators, declarations, holds and of the aggregates when they are made. "
        "Every worker reads them all.",
        low=1,
        high=64,
        below="One disk carries the load of all workers that start.",
        above="More fetches bring the same records.",
    )
    replication: int = _setting(
        0,
        "Copies of each topic when it is made; 0: one on each broker, up to 3.",
        unit="copies",
        low=0,
        high=9,
        below="With fewer than 3 the loss of brokers' disks can be the loss of decisions.",
        above="Each copy is written before a gate is answered.",
    )
    decisions_retention_days: int = _setting(
        1826,
        "How long decisions are kept, from when they were written; -1: for ever.",
        unit="days",
        low=-1,
        high=36_500,
        below="Below 5 years (1826 days) the rules on keeping records are broken.",
        above="The brokers' disks fill.",
    )
    # As shipped nothing is forgotten: by the events' clock a history with dates of its own is years
    # old as soon as an event of today follows it.
    visit_retention_days: int = _setting(
        0,
        "How long the events of a unit are kept in memory and in unit-states after its visits are "
        "over, by the clock of the events; what it moved stays in the volumes; 0: for ever.",
        unit="days",
        low=0,
        high=36_500,
        below="Below 1826 (5 years) a late correction of what the law lets be corrected is taken "
        "for a new event.",
        above="Memory and the time of a take-over grow with the years that are kept.",
    )
    rules: str = _setting(
        "",
        "TOML file of rules that replace shipped ones; empty: the shipped rules.",
        form=_FILE,
    )
    silent_operator_minutes: int = _setting(
        0,
        "A connected operator of whom nothing has come for so long is reported as silent; "
        "0: never.",
        unit="minutes",
        low=0,
        high=1440,
        below="Below the longest quiet hours of a small place every night raises its alert.",
        above="A line that is down goes unnoticed for longer.",
    )
    compression: str = _setting(
        "none",
        "Codec of what the worker writes.",
        choices=("none", "gzip", "snappy", "lz4", "zstd"),
        above="lz4 and zstd halve the network and cost a few microseconds of CPU a record.",
    )
    log_format: str = _setting(
        "human",
        "Form of the lines on standard error: for people, or one JSON object each.",
        choices=("human", "json"),
    )
    web_host: str = _setting(
        "127.0.0.1",
        "Address where /metrics, /healthz and /readyz are served.",
        pattern=r"[^\s/]+",
        form="an address or a host's name",
        above="An address other than the loopback shows counts of holds to whoever reaches it.",
    )
    web_port: int = _setting(
        9464,
        "Port of the same; 0: a free one, which the log names.",
        low=0,
        high=65_535,
        below="Below 1024 the worker needs rights that it should not have.",
    )
    commit_interval_s: float = _setting(
        1.0,
        "Between commits of offsets: what is read again after a crash.",
        unit="seconds",
        low=0.05,
        high=60.0,
        below="Below 0.1 commits load the broker.",
        above="A restart takes noticeably longer.",
    )
    session_timeout_s: float = _setting(
        6.0,
        "After so long without a sign of a worker the group gives its partitions to others.",
        unit="seconds",
        low=6.0,
        high=300.0,
        below="Brokers refuse it below 6, unless told otherwise.",
        above="A crash leaves its partitions unanswered for longer.",
    )
    stuck_s_max: float = _setting(
        120.0,
        "A partition that has events to answer and stands still for so long although the broker "
        "answers ends the worker, with a reason and status 1; 0: never.",
        unit="seconds",
        low=0.0,
        high=3600.0,
        below="Below 30 a large take-over on a slow disk is taken for standing still.",
        above="Gates wait longer for a worker that hangs.",
    )
    unacknowledged_mb_max: int = _setting(
        32,
        "Decisions and other output that may wait for the broker before the worker stops reading.",
        unit="megabytes",
        low=1,
        high=1024,
        below="The broker is waited for after each run.",
        above="Memory grows while a broker is away.",
    )

    def __post_init__(self) -> None:
        """Raises SettingsError if a value is not allowed, or two do not go together."""
        for name, description in DESCRIPTIONS.items():
            value = getattr(self, name)
            description.check(_label(variable_of(name), value), value)
        self._check_security()

    def _check_security(self) -> None:
        def refuse(name: str, what: str) -> None:
            raise SettingsError(
                f"{variable_of(name)} {what} with GATEJOIN_SECURITY_PROTOCOL="
                f"{self.security_protocol}"
            )

        for name in ("sasl_username", "sasl_password_file"):
            if bool(getattr(self, name)) != (self.security_protocol == "SASL_SSL"):
                refuse(name, "means nothing" if getattr(self, name) else "is needed")
        for name in ("tls_ca_file", "tls_certificate_file", "tls_key_file"):
            if getattr(self, name) and self.security_protocol == "PLAINTEXT":
                refuse(name, "means nothing")
        if bool(self.tls_certificate_file) != bool(self.tls_key_file):
            raise SettingsError(
                "GATEJOIN_TLS_CERTIFICATE_FILE and GATEJOIN_TLS_KEY_FILE go together: "
                "give both or none"
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """The settings in force: of ``environment``, else of the file that it names, else the
        defaults. Raises SettingsError if one is wrong or unknown."""
        return resolve(environment).settings

    def topic(self, name: str) -> str:
        """The full name of a topic of the contract."""
        return self.topic_prefix + name

    @property
    def group_id(self) -> str:
        """The full name of the consumer group."""
        return self.topic_prefix + self.group


#: What is said of each setting, in the order in which they are declared.
DESCRIPTIONS: dict[str, Description] = {
    entry.name: entry.metadata["description"] for entry in dataclasses.fields(Settings)
}
_KINDS: dict[str, type] = {
    entry.name: type(entry.default) for entry in dataclasses.fields(Settings)
}


class Resolved(NamedTuple):
    """The settings in force, and for each that is not a default where it comes from."""

    settings: Settings
    sources: dict[str, str]


def variable_of(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def resolve(environment: Mapping[str, str]) -> Resolved:
    """Reads the environment and the file that it names.

    Raises:
        SettingsError: a variable ``GATEJOIN_*`` or a key of the file is unknown, a value is not
            allowed, or the file can't be read.
    """
    given: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if path := environment.get(CONFIG_VARIABLE, "").strip():
        for name, (value, line) in _read_file(path).items():
            given[name], sources[name] = value, f"{path}:{line}"
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or _is_other(variable):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in DESCRIPTIONS or variable != variable_of(name):
            # Not the value: it may be a secret that somebody thinks is set this way.
            raise SettingsError(
                f"{variable} is no setting{_nearest(variable, map(variable_of, DESCRIPTIONS))}; "
                "gatejoin config lists them all"
            )
        text = environment[variable].strip()
        given[name], sources[name] = _parse(variable, text, _KINDS[name]), variable
    return Resolved(Settings(**given), sources)


def _is_other(variable: str) -> bool:
    return any(
        variable.startswith(other) if other.endswith("_") else variable == other
        for other in OTHER_VARIABLES
    )


def _read_file(path: str) -> dict[str, tuple[Any, int]]:
    """Each key's value and line."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{CONFIG_VARIABLE}={path}: {error.strerror}") from None
    if len(raw) > CONFIG_BYTES_MAX:
        raise SettingsError(f"{path} has more than {CONFIG_BYTES_MAX} bytes: no settings file")
    try:
        text = raw.decode()
        table = tomllib.loads(text)
    except ValueError as error:  # also of bytes that are no UTF-8
        raise SettingsError(f"{path} is no TOML: {error}") from None
    lines = key_lines(text)
    found: dict[str, tuple[Any, int]] = {}
    for name, value in table.items():
        place = f"{path}:{lines[(name,)]}"
        if name not in DESCRIPTIONS:
            raise SettingsError(
                f"{place}: {name} is no setting{_nearest(name, DESCRIPTIONS)}; "
                "gatejoin config lists them all"
            )
        kind = _KINDS[name]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise SettingsError(f"{place}: {name} must be {_WANTED[kind]}")
        DESCRIPTIONS[name].check(f"{place}: {_label(name, value)}", value)
        found[name] = value, lines[(name,)]
    return found


_WANTED: dict[type, str] = {int: "a whole number", float: "a number", str: "text in quotes"}


def _nearest(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _label(name: str, value: Any) -> str:
    if isinstance(value, str):
        # What stands before an @ in an address is often a password.
        return f"{name} (not shown)" if "@" in value else f"{name}={value!r}"
    return f"{name}={value}"


def _parse(variable: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(f"{variable}={text!r} is not {_WANTED[kind]}") from None
