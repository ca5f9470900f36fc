"""The worker's log: one line per event that matters, for people or for machines.

What it is: two formatters, and the configuration that Python's logging, Faust's and aiokafka's
share.
Who calls it: ``stream.worker`` configures; modules that log say where with ``at``.
What it must never know: what the events mean.

A line says when, how grave, from which module, and what; where it is about a partition or a record,
it says which (``partition``, ``offset``), as fields of their own, so that the lines of one
partition can be told from all others'. Nothing is logged per record or per run.
"""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import time
from typing import Any

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("human", "json")

# What Faust and aiokafka tell of each service that starts and each assignment that a reader gives
# itself; only --log-level debug shows it.
CHATTY = ("aiokafka", "faust", "mode")
# Seconds until aiokafka may say the same again; problems repeat many times a second while no broker
# answers.
REPEAT_S = 10.0


def passes_quarter(before: float, now: float) -> bool:
    """Whether a progress, 0 to 1, has passed another quarter, which is worth a line, and is not at
    its end, which is told anyway."""
    return int(4 * before) < int(4 * now) < 4


def at(**fields: Any) -> dict[str, Any]:
    """What a line is about, for ``extra``: ``log.info("...", extra=at(partition=3, offset=17))``.

    Fields are in this order in the line; their values must be JSON's.
    """
    return {"at": fields}


class HumanFormatter(logging.Formatter):
    """``2026-11-27T04:04:30.569Z INFO gate: message (partition=3 offset=17)``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback behind it where there is one."""
        fields = " ".join(f"{key}={value}" for key, value in getattr(record, "at", {}).items())
        line = (
            f"{_moment(record)} {record.levelname} {_module(record)}: "
            f"{_one_line(record.getMessage())}{f' ({fields})' if fields else ''}"
        )
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, module, message, what it is about, and exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; a traceback is a text inside it."""
        entry = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "module": _module(record),
            "message": _one_line(record.getMessage()),
            **getattr(record, "at", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class Sparse(logging.Filter):
    """Lets each message, whatever its arguments, through once in a while."""

    def __init__(self) -> None:
        super().__init__()
        self._shown_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this message has not been shown for a while, or is none of aiokafka's."""
        if not record.name.startswith("aiokafka"):
            return True
        now = time.monotonic()
        shown_at = self._shown_at.get(record.msg)
        if shown_at is not None and now - shown_at < REPEAT_S:
            return False
        self._shown_at[record.msg] = now
        return True


def configuration(level: str, form: str) -> dict[str, Any]:
    """For ``logging.config.dictConfig``: all on standard error, at ``level`` (one of LEVELS)."""
    formatter = JsonFormatter if form == "json" else HumanFormatter
    quiet = level.upper() if level in ("debug", "error") else "WARNING"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "filters": {"sparse": {"()": Sparse}},
        "handlers": {
            "standard error": {
                "class": "logging.StreamHandler",
                "stream": sys.stderr,
                "formatter": "line",
                "filters": ["sparse"],
            }
        },
        "root": {"level": level.upper(), "handlers": ["standard error"]},
        "loggers": {name: {"level": quiet} for name in CHATTY},
    }


def configure(level: str, form: str) -> dict[str, Any]:
    """Configures logging now, and returns what Faust's worker has to be told to keep it so."""
    settings = configuration(level, form)
    logging.config.dictConfig(settings)
    return settings


def _moment(record: logging.LogRecord) -> str:
    seconds, milliseconds = divmod(int(record.created * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03}Z"


def _module(record: logging.LogRecord) -> str:
    return record.name.removeprefix("stream.")


def _one_line(message: str) -> str:
    return " ".join(message.split())
