"""Read and write the log lines of CONTRACT.md section 6, for the reference model and its tests.

Called by `tests.reference.model`, `generate` and `compare`. It must never know what a record
means: it hands on the bytes of the value as they stand in the line.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reference.strict_json import DECODER, Number

TOPICS = ("operators", "declarations", "holds", "port-events")
WHITESPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class LogLine:
    number: int
    topic: str
    timestamp_ms: int
    key: str | None
    value: bytes | None


@dataclass(frozen=True)
class Raw:
    """Text that is already JSON, for those who write lines: 1.0 and 1 are not the same here."""

    json: str


class BadLineError(ValueError):
    """A line that ends a replay."""


def read_log(path: Path) -> Iterator[LogLine]:
    """The lines of a plain or .gz log; blank ones are skipped but counted, from 0."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    for number, line in enumerate(data.split(b"\n")):
        if line.strip(b" \t\r"):
            yield read_line(number, line)


def read_line(number: int, line: bytes) -> LogLine:
    try:
        parts = members(line.decode("utf-8"))
        topic, timestamp = parts["topic"][0], parts["timestamp"][0]
        key = parts.get("key", (None, ""))[0]
        value, written = parts["value"]
    except (ValueError, KeyError, StopIteration) as error:
        raise BadLineError(f"line {number}: {error!r}") from None
    if topic not in TOPICS:
        raise BadLineError(f"line {number}: unknown topic {topic!r}")
    if not isinstance(timestamp, Number) or not re.fullmatch("[0-9]+", timestamp.text):
        raise BadLineError(f"line {number}: the timestamp is no integer from 0")
    if key is not None and not isinstance(key, str):
        raise BadLineError(f"line {number}: the key is no string")
    if value is None:
        its_bytes = None
    else:
        its_bytes = (value if isinstance(value, str) else written).encode("utf-8")
    return LogLine(number, topic, int(timestamp.text), key, its_bytes)


def members(text: str) -> dict[str, tuple[Any, str]]:
    """The members of an object, each with its value's own text; the last of a key counts."""
    found: dict[str, tuple[Any, str]] = {}

    def skip(position: int) -> int:
        match = WHITESPACE.match(text, position)
        assert match
        return match.end()

    def expect(characters: str, position: int) -> str:
        if text[position : position + 1] not in set(characters):
            raise ValueError(f"expected one of {characters} at {position}")
        return text[position]

    position = skip(0)
    expect("{", position)
    position = skip(position + 1)
    separator = "}" if text[position : position + 1] == "}" else ","
    while separator == ",":
        expect('"', position)
        key, position = DECODER.raw_decode(text, position)
        position = skip(position)
        expect(":", position)
        position = skip(position + 1)
        value, end = DECODER.raw_decode(text, position)
        found[key] = value, text[position:end]
        position = skip(end)
        separator = expect(",}", position)
        if separator == ",":
            position = skip(position + 1)
    if skip(position + 1) != len(text):
        raise ValueError("something follows the object")
    return found


def write_line(topic: str, timestamp_ms: int, key: str | None, value: bytes | None) -> str:
    """A line that `read_line` reads back; the value as an object where it is one on one line."""
    written = "null"
    if value is not None:
        text = value.decode("utf-8")
        written = json.dumps(text)
        if text.startswith("{") and text.endswith("}") and "\n" not in text:
            try:
                DECODER.decode(text)
                written = text
            except (ValueError, RecursionError):
                pass
    head = f'{{"topic":{json.dumps(topic)},"timestamp":{timestamp_ms},"key":{json.dumps(key)}'
    return f'{head},"value":{written}}}'


def write_log(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), "utf-8")
