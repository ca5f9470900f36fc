"""Types of record_batch.pyx, for readers and mypy."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, final

from typing_extensions import Buffer

CODECS: tuple[str, ...]
DECOMPRESSED_BYTES_MAX: int
BATCH_BYTES_MAX: int
BATCH_RECORDS_MAX: int

class RecordBatchError(ValueError):
    offset: int
    def __init__(self, message: str, offset: int) -> None: ...

def crc32c(data: Buffer) -> int: ...

@final
class RecordRun:
    @property
    def count(self) -> int: ...
    @property
    def base_offset(self) -> int: ...
    @property
    def last_offset(self) -> int: ...
    @property
    def batch_bytes(self) -> int: ...
    @property
    def batch_count(self) -> int: ...
    @property
    def last_timestamp_ms(self) -> int: ...
    def cut(self, offset: int) -> None: ...
    def split(self, offset: int) -> RecordRun: ...
    def last_value(self, key: bytes) -> tuple[bytes | None, int] | None: ...
    def last_null(self, key: bytes) -> int: ...
    @staticmethod
    def from_records(
        records: Sequence[tuple[bytes | None, bytes | None, int, int]],
    ) -> RecordRun: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[tuple[bytes | None, bytes | None, int, int]]: ...

@final
class FetchDecoder:
    @property
    def next_offset(self) -> int: ...
    @property
    def position(self) -> int: ...
    def __init__(
        self,
        data: Buffer,
        fetch_offset: int = 0,
        aborted: Iterable[tuple[int, int]] | None = None,
        *,
        check_crc: bool = True,
        decompressed_bytes_max: int = ...,
    ) -> None: ...
    def __iter__(self) -> FetchDecoder: ...
    def __next__(self) -> RecordRun: ...

@final
class OutputRun:
    @property
    def bytes_size(self) -> int: ...
    def __len__(self) -> int: ...
    def append(
        self, key: bytes | None, value: bytes | None, partition: int, timestamp_ms: int
    ) -> None: ...
    def clear(self) -> None: ...
    def __iter__(self) -> Iterator[tuple[bytes | None, bytes | None, int, int]]: ...
    def partitions(self) -> list[int]: ...
    def partition_by_key(self, partition_count: int) -> None: ...
    def count_ages(self, now_ms: int, bounds_ms: Any) -> tuple[list[int], int]: ...

def encode_output(
    run: OutputRun,
    partition: int,
    *,
    batch_bytes_max: int = ...,
    batch_records_max: int = ...,
    compression: str = "none",
    level: int | None = None,
) -> list[tuple[bytes, int]]: ...
def encode_columns(
    values: Buffer,
    value_offsets: Any,
    keys: Buffer | None,
    key_offsets: Any,
    timestamps_ms: Any,
    *,
    max_batch_bytes: int = ...,
    max_batch_records: int = ...,
    compression: str = "none",
    level: int | None = None,
) -> list[bytes]: ...
def with_producer(
    batch: bytes,
    producer_id: int,
    producer_epoch: int,
    base_sequence: int,
    *,
    transactional: bool = False,
) -> bytes: ...
