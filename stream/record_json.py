"""JSON of records and log lines for people's commands (``report``, ``why``), outside the hot path.

What the core accepted may hold unknown fields of any size, which Python's own reader would refuse:
integers of thousands of digits. They are kept as text here, since nobody asks for them.
"""

from __future__ import annotations

import json
from typing import Any

INTEGER_DIGITS_MAX = 18
"""All integers that the contract knows are shorter, and int64 has room for them."""


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= INTEGER_DIGITS_MAX else digits


def loads(text: bytes | str) -> Any:
    """Returns the value of a JSON text; weights and other fractions are kept as text, exactly.

    Raises ValueError for what is no JSON, RecursionError for what is nested too deeply.
    """
    return json.loads(text, parse_int=_integer, parse_float=str)
