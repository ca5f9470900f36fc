"""Types of clearance_join.pyx; the module says what each method does."""

from typing import Final, final

import numpy
from numpy.typing import NDArray
from typing_extensions import Buffer

RULE_CODES: Final[tuple[str, ...]]
EVENT_TYPES: Final[tuple[str, ...]]
UNIT_TYPES: Final[tuple[str, ...]]
DIRECTIONS: Final[tuple[str, ...]]
PURPOSES: Final[tuple[str, ...]]
STATUSES: Final[tuple[str, ...]]
HOLD_REASONS: Final[tuple[str, ...]]
ABSENT_TIME: Final[int]
UNKNOWN_UNIT: Final[int]

Codes = NDArray[numpy.uint8]
Whole = NDArray[numpy.int64]
Units = NDArray[numpy.bytes_] | NDArray[numpy.uint8] | Buffer

@final
class ClearanceJoin:
    def __init__(
        self,
        *,
        overstay_days: int = 90,
        return_days: int = 30,
        stale_days: int = 180,
        clock_ahead_minutes: int = 5,
        reservation_hours: int = 24,
        weight_tolerance_thousandths: int = 0,
    ) -> None: ...
    def put_declarations(
        self,
        numbers: NDArray[numpy.uint64],
        versions: Whole,
        directions: Codes,
        statuses: Codes,
        registered_us: Whole,
        locations: NDArray[numpy.int32],
        line_offsets: Whole,
        units: Units,
        offsets: Whole | None = None,
        *,
        unit_types: Codes | None = None,
        status_us: Whole | None = None,
        pieces: Whole | None = None,
        weight_grams: Whole | None = None,
        shared: Codes | None = None,
    ) -> int: ...
    def put_holds(
        self,
        ids: Whole,
        versions: Whole,
        reasons: Codes,
        active: Codes,
        issued_us: Whole,
        units: Units | None = None,
        offsets: Whole | None = None,
        *,
        declaration_numbers: NDArray[numpy.uint64] | None = None,
    ) -> int: ...
    def join_events(
        self,
        event_types: Codes,
        directions: Codes,
        locations: NDArray[numpy.int32],
        times_us: Whole,
        units: Units,
        offsets: Whole | None = None,
        *,
        unit_types: Codes | None = None,
        purposes: Codes | None = None,
        pieces: Whole | None = None,
        weight_grams: Whole | None = None,
        has_document: Codes | None = None,
        keep: bool = False,
        rows: NDArray[numpy.int32] | None = None,
        facts: NDArray[numpy.uint32] | None = None,
    ) -> tuple[NDArray[numpy.int32], NDArray[numpy.uint32]]: ...
    def sizes(self) -> dict[str, int]: ...
