"""Read a record's bytes as a strict RFC 8259 object, for the reference model.

Called by `tests.reference.records` and by `tests.reference.log`. It must never know what a
record means, and shares nothing with the compiled scanner that it is compared with.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

LEVELS_LIMIT = 64

STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)


@dataclass(frozen=True)
class Number:
    """A JSON number as it was written: exact, since the contract judges the text."""

    text: str


def read_object(value: bytes) -> dict[str, Any]:
    """The object that the bytes hold; of a repeated key the last one counts.

    Raises ValueError where the value is no JSON object, is no UTF-8, holds a lone surrogate
    or is nested deeper than 64 levels, the object itself being level 1.
    """
    text = value.decode("utf-8")
    try:
        read = DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(read, dict):
        raise ValueError("no JSON object")
    if levels(text) > LEVELS_LIMIT:
        raise ValueError("nested deeper than 64 levels")
    return read


def levels(text: str) -> int:
    """How deep valid JSON text is nested: 1 for an object of plain values."""
    level = deepest = 0
    for character in STRING.sub("", text):
        if character in "{[":
            level += 1
            deepest = max(deepest, level)
        elif character in "}]":
            level -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Every pair is looked at, those too that a later one of the same key replaces.
    for key, value in pairs:
        _refuse_lone_surrogates(key)
        _refuse_lone_surrogates(value)
    return dict(pairs)


def _refuse_lone_surrogates(value: Any) -> None:
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, list):
        for item in value:
            _refuse_lone_surrogates(item)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_refuse_constant,
)
