"""Types of event_scanner.pyx, for readers and mypy."""

from collections.abc import Sequence
from typing import Any, final

import numpy
import numpy.typing
from typing_extensions import Buffer

from core_ext.record_batch import RecordRun
from core_ext.unit_index import UnitIndex

VALUE_BYTES_MAX: int
TOPICS: tuple[str, ...]
PORT_EVENT_FIELDS: tuple[str, ...]
REASONS: tuple[str | None, ...]
EVENT_COLUMNS: dict[str, str]
SIMD_PATHS: tuple[str, ...]

def simd_path() -> str: ...

@final
class Scanner:
    def __init__(self, path: str | None = None) -> None: ...
    def scan_record(
        self, topic: str, key: bytes | None, value: bytes | None
    ) -> tuple[dict[str, Any] | None, str | None, str | None, str | None]: ...
    def parse_log_line(self, line: bytes) -> tuple[str, int, bytes | None, bytes | None] | None: ...
    def scan_port_events(
        self,
        values: RecordRun | Sequence[bytes] | Buffer,
        offsets: numpy.typing.ArrayLike | None = None,
        *,
        index: UnitIndex | None = None,
        out: dict[str, numpy.typing.NDArray[Any]] | None = None,
    ) -> dict[str, numpy.typing.NDArray[Any]]: ...

def parse_date_time(text: bytes) -> int | None: ...
def format_date_time(microseconds: int) -> str: ...
def parse_date(text: bytes) -> int | None: ...
def format_date(days: int) -> str: ...
