# Types of the unit index module; unit_index.pyx says what each method does.

from collections.abc import Iterator
from typing import Final, final

import numpy
from numpy.typing import NDArray
from typing_extensions import Buffer

MISS: Final[int]
INVALID: Final[int]
NAME_BYTES_MAX: Final[int]
UNITS_MAX: Final[int]

Units = NDArray[numpy.bytes_] | NDArray[numpy.uint64] | NDArray[numpy.uint8] | Buffer
Offsets = NDArray[numpy.int64] | None
Rows = NDArray[numpy.int32]

@final
class UnitIndex:
    def __init__(
        self, container_capacity: int = 0, name_capacity: int = 0, seed: int | None = None
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def row_limit(self) -> int: ...
    def probe(
        self,
        units: Units,
        offsets: Offsets = None,
        *,
        is_lot: bool = False,
        out: Rows | None = None,
    ) -> Rows: ...
    def insert(
        self,
        units: Units,
        offsets: Offsets = None,
        *,
        is_lot: bool = False,
        out: Rows | None = None,
    ) -> Rows: ...
    def upsert(
        self,
        units: Units,
        offsets: Offsets = None,
        *,
        is_lot: bool = False,
        out: Rows | None = None,
    ) -> Rows: ...
    def remove(
        self,
        units: Units,
        offsets: Offsets = None,
        *,
        is_lot: bool = False,
        out: Rows | None = None,
    ) -> Rows: ...
    def grow(self, container_capacity: int = 0, name_capacity: int = 0) -> None: ...
    def name(self, row: int) -> tuple[bytes, bool]: ...
    def units(
        self, start: int = 0, stop: int = ...
    ) -> tuple[Rows, NDArray[numpy.uint8], NDArray[numpy.int64], NDArray[numpy.bool_]]: ...
    def __iter__(self) -> Iterator[tuple[int, bytes, bool]]: ...
    def memory(self) -> dict[str, int]: ...
    def statistics(self) -> dict[str, dict[str, float]]: ...
    def home_lines(
        self, units: Units, offsets: Offsets = None, *, is_lot: bool = False
    ) -> NDArray[numpy.uint64]: ...
