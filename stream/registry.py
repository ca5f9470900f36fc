"""The operators as of a date: who was connected, to which department and branch they belonged.

Reads ``registry.ndjson`` of a replay (CONTRACT.md, section 6), which has every operator version
that took effect, so that a count of last year stays what it was: the registry is kept by the time
of its messages and by the dates in them. Called by ``report``. It must never know port events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream import record_json
from stream.moments import midnight_us, parse_day

LINE_BYTES_MAX = 8 << 20
"""A version is at most 1 MiB as sent; escapes can make it six times as long in a line."""


class RegistryError(ValueError):
    """A registry file that can't be read. The message is one line: file, line, thing, remedy."""


@dataclass(frozen=True, slots=True)
class OperatorVersion:
    """One version of an operator, as its message had it."""

    timestamp_ms: int
    operator_id: str
    name: str
    kind: str
    department_code: str
    department_name: str
    branch_code: str | None
    branch_name: str | None
    locations: tuple[str, ...]
    status: str
    connected_day: int | None
    """Ordinal of ``connectedDate``."""

    def connected(self, day: int) -> bool:
        """Says whether an operator whose latest version is this counts as connected that day."""
        return (
            self.status == "CONNECTED"
            and self.connected_day is not None
            and self.connected_day <= day
        )


class Registry:
    """All versions of all operators, in the order in which they took effect."""

    def __init__(self) -> None:
        self._history: dict[str, list[tuple[int, OperatorVersion | None]]] = {}
        self.timestamp_ms_max: int | None = None

    def add(self, timestamp_ms: int, operator_id: str, operator: Mapping[str, Any] | None) -> None:
        """Adds the next version that took effect; ``operator`` None is its removal.

        Raises KeyError, TypeError or ValueError for an operator that lacks what the contract asks.
        """
        version = None
        if operator is not None:
            connected_date = operator.get("connectedDate")
            version = OperatorVersion(
                timestamp_ms,
                operator_id,
                operator["name"],
                operator["kind"],
                operator["departmentCode"],
                operator["departmentName"],
                operator.get("branchCode"),
                operator.get("branchName"),
                tuple(operator["locations"]),
                operator["status"],
                None if connected_date is None else parse_day(connected_date),
            )
        self._history.setdefault(operator_id, []).append((timestamp_ms, version))
        if self.timestamp_ms_max is None or timestamp_ms > self.timestamp_ms_max:
            self.timestamp_ms_max = timestamp_ms

    def as_of(self, day: int) -> dict[str, OperatorVersion]:
        """Returns the operators there were at the end of a day, by ID in ascending order.

        Of each, the latest version with a timestamp up to the end of that day in Vietnam.
        """
        end_ms = midnight_us(day + 1) // 1000
        operators: dict[str, OperatorVersion] = {}
        for operator_id in sorted(self._history):
            for timestamp_ms, version in reversed(self._history[operator_id]):
                if timestamp_ms < end_ms:
                    if version is not None:
                        operators[operator_id] = version
                    break
        return operators


def read_registry(path: Path) -> Registry:
    """Returns the registry of a replay's ``registry.ndjson``.

    Raises:
        RegistryError: a line is not as the contract says.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        return _registry_of_lines(iter(lambda: file.readline(LINE_BYTES_MAX + 1), b""), path)


def _registry_of_lines(lines: Iterable[bytes], path: Path) -> Registry:
    registry = Registry()
    for number, line in enumerate(lines, start=1):
        if len(line) > LINE_BYTES_MAX:
            raise RegistryError(f"{path}:{number}: the line is longer than any operator's can be")
        if not line.strip():
            continue
        try:
            entry = record_json.loads(line)
            timestamp_ms, operator_id = entry["timestamp"], entry["operatorID"]
            if type(timestamp_ms) is not int or type(operator_id) is not str:
                raise TypeError("timestamp must be an integer and operatorID a string")
            registry.add(timestamp_ms, operator_id, entry["operator"])
        except KeyError as error:
            raise RegistryError(
                f"{path}:{number}: an entry of the registry has no {error}: replay the log again"
            ) from None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise RegistryError(
                f"{path}:{number}: this is no entry of the registry ({error}): replay the log again"
            ) from None
    return registry
