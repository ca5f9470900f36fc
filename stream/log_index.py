"""An index beside a log: finds the lines that touch one unit among ten million, in milliseconds.

``LOG.ndjson.index`` is made on the first use and stands for one log of one size and time of
change; whoever changes the log gets a new index. Called by ``why``. It must never know what a
line means for a decision: it answers with lines, and a name that only shares a hash comes along.

The file, little-endian; a run's lines are padded to 8 bytes:

    run         => hashes (uint64, ascending) lines (uint32, from 0)
    index       => run* line_starts (uint64) run_lengths (uint64) trailer
    trailer     => magic (8 bytes) version (uint32) stride (uint32) log_bytes (uint64)
                   log_changed_ns (uint64) line_count (uint64) run_count (uint64)

The trailer comes last, so that a file that was not finished is none. Offsets are those of the
log's own bytes, after decompression. Building takes memory for one run, not for the log.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, NamedTuple, cast

from core_ext.log_index import LINE_STRIDE, LogIndexer, LogLineError, name_hash
from stream.log_file import BROKEN_LOG_ERRORS, LogFileError, open_log

INDEX_SUFFIX = ".index"
RUN_POSTINGS = 1 << 21
"""Postings in a run: 64 MiB while building, eight runs for ten million lines."""
CHUNK_BYTES = 8 << 20
LINE_BYTES_MAX = 64 << 20
"""A longer line is no record anybody could send: the largest, all escapes, is a tenth of it."""

Kind = Literal["u", "d", "h", "o"]
"""What a name is of: unit (normalised), declaration, hold or operator."""

_MAGIC = b"gatelog\n"
_VERSION = 1
_TRAILER = struct.Struct("<8sIIQQQQ")


class LogIndexError(ValueError):
    """A log that can't be indexed. One line: file, line, thing, remedy."""


class _Stamp(NamedTuple):
    """What an index remembers of its log."""

    log_bytes: int
    log_changed_ns: int


class LogIndex:
    """An open index. Use ``open_index``; close it, or use it in a ``with`` statement.

    Attributes:
        line_count: lines of the log, blank ones included.
    """

    def __init__(self, log_path: Path, file: BinaryIO) -> None:
        self.log_path = log_path
        self._file = file
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = memoryview(self._map)
        trailer = _TRAILER.unpack(self._bytes[-_TRAILER.size :])
        self.line_count: int = trailer[5]
        run_count: int = trailer[6]
        end = len(self._bytes) - _TRAILER.size
        run_lengths = self._column(end - 8 * run_count, run_count, "Q")
        self._runs: list[tuple[memoryview[int], memoryview[int]]] = []
        position = 0
        for length in run_lengths:
            lines_position = position + 8 * length
            self._runs.append(
                (self._column(position, length, "Q"), self._column(lines_position, length, "I"))
            )
            position = lines_position + _padded(4 * length)
        self._line_starts = self._column(position, -(-self.line_count // LINE_STRIDE), "Q")

    def __enter__(self) -> LogIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the file back."""
        for columns in self._runs:
            for column in columns:
                column.release()
        self._line_starts.release()
        self._bytes.release()
        self._map.close()
        self._file.close()

    def find(self, kind: Kind, name: str) -> set[int]:
        """Returns the numbers, from 0, of all lines that touch a name, and perhaps some others."""
        wanted = name_hash(kind, name.encode())
        found: set[int] = set()
        for hashes, lines in self._runs:
            place = _first_at_least(hashes, wanted)
            while place < len(hashes) and hashes[place] == wanted:
                found.add(lines[place])
                place += 1
        return found

    def read(self, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yields lines of the log by number, ascending, without their line ends.

        Raises:
            LogIndexError: the log has changed under the index.
            OSError: the log can't be read.
        """
        with _opened(self.log_path) as log:
            next_number = 0
            for number in sorted(set(numbers)):
                start = number - number % LINE_STRIDE
                if start > next_number or number < next_number:
                    log.seek(self._line_starts[start // LINE_STRIDE])
                    next_number = start
                line = b""
                while next_number <= number:
                    line = log.readline(LINE_BYTES_MAX + 1)
                    next_number += 1
                if not line:
                    raise LogIndexError(f"{self.log_path}: the log has changed: try again")
                yield number, line.rstrip(b"\n")

    def _column(self, position: int, length: int, form: Literal["Q", "I"]) -> memoryview[int]:
        size = 8 if form == "Q" else 4
        return self._bytes[position : position + size * length].cast(form)


def open_index(log_path: Path, note: Callable[[str], None] | None = None) -> LogIndex:
    """Returns the index of a log, made now if there is none that fits.

    Where nothing can be written beside the log, the index is kept in a temporary file for this
    once.

    Args:
        log_path: the log.
        note: is told, in one line, what takes time.

    Raises:
        LogIndexError: a line is none of a log.
        OSError: the log can't be read, or no index can be written anywhere.
    """
    assert sys.byteorder == "little", "the index is written in the machine's byte order"
    stamp = _stamp(log_path)
    index_path = log_path.with_name(log_path.name + INDEX_SUFFIX)
    with contextlib.suppress(OSError):
        file: BinaryIO = index_path.open("rb")
        if _fits(file, stamp):
            return LogIndex(log_path, file)
        file.close()
    if note is not None:
        note(f"indexing {log_path} ({stamp.log_bytes:,} bytes), once for this log")
    temporary_path = index_path.with_name(f"{index_path.name}.{os.getpid()}")
    try:
        output: BinaryIO = temporary_path.open("w+b")
    except OSError:
        if note is not None:
            note(f"{index_path} can't be written: the index is not kept")
        file = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (the index keeps it open)
        _build(log_path, stamp, file)
        return LogIndex(log_path, file)
    try:
        _build(log_path, stamp, output)
        temporary_path.replace(index_path)
    except BaseException:
        output.close()
        temporary_path.unlink(missing_ok=True)
        raise
    return LogIndex(log_path, output)


@contextlib.contextmanager
def _opened(log_path: Path) -> Iterator[BinaryIO]:
    try:
        with open_log(log_path) as log:
            yield log
    except LogFileError as error:
        raise LogIndexError(str(error)) from None
    except BROKEN_LOG_ERRORS as error:
        raise LogIndexError(f"{log_path}: can't be decompressed: {error}") from None


def _stamp(log_path: Path) -> _Stamp:
    status = log_path.stat()
    return _Stamp(status.st_size, status.st_mtime_ns)


def _fits(file: BinaryIO, stamp: _Stamp) -> bool:
    size = file.seek(0, os.SEEK_END)
    if size < _TRAILER.size:
        return False
    file.seek(size - _TRAILER.size)
    magic, version, stride, log_bytes, changed_ns, line_count, run_count = _TRAILER.unpack(
        file.read(_TRAILER.size)
    )
    if (magic, version, stride) != (_MAGIC, _VERSION, LINE_STRIDE):
        return False
    if _Stamp(log_bytes, changed_ns) != stamp:
        return False
    lengths_bytes = 8 * run_count
    starts_bytes = 8 * -(-line_count // LINE_STRIDE)
    if lengths_bytes + starts_bytes + _TRAILER.size > size:
        return False
    file.seek(size - _TRAILER.size - lengths_bytes)
    lengths = struct.unpack(f"<{run_count}Q", file.read(lengths_bytes))
    runs_bytes = sum(8 * length + _padded(4 * length) for length in lengths)
    return bool(runs_bytes + starts_bytes + lengths_bytes + _TRAILER.size == size)


def _build(log_path: Path, stamp: _Stamp, output: BinaryIO) -> None:
    indexer = LogIndexer(RUN_POSTINGS)
    run_lengths: list[int] = []

    def take_run() -> None:
        run_lengths.append(indexer.posting_count)
        hashes, lines = indexer.take_run()
        output.write(hashes)
        output.write(lines)
        output.write(bytes(_padded(len(lines)) - len(lines)))

    with _opened(log_path) as log:
        rest = b""
        offset = 0
        while True:
            chunk = log.read(CHUNK_BYTES)
            data = memoryview(rest + chunk)
            is_last = not chunk
            position = 0
            while True:
                try:
                    consumed = indexer.scan(data[position:], offset + position, is_last)
                except LogLineError as error:
                    raise LogIndexError(
                        f"{log_path}: {_line_name(error.line - 1)}: {error.reason}"
                    ) from None
                position += consumed
                if indexer.posting_count < RUN_POSTINGS:
                    break
                take_run()
            rest = bytes(data[position:])
            offset += position
            if is_last:
                break
            if len(rest) > LINE_BYTES_MAX:
                raise LogIndexError(
                    f"{log_path}: {_line_name(indexer.line_count)} is longer than "
                    f"{LINE_BYTES_MAX:,} bytes: this is no log"
                )
    if indexer.posting_count:
        take_run()
    if _stamp(log_path) != stamp:
        raise LogIndexError(f"{log_path}: the log is being written: wait until it is complete")
    output.write(indexer.line_starts())
    output.write(struct.pack(f"<{len(run_lengths)}Q", *run_lengths))
    output.write(
        _TRAILER.pack(_MAGIC, _VERSION, LINE_STRIDE, *stamp, indexer.line_count, len(run_lengths))
    )
    output.flush()


def _line_name(line: int) -> str:
    """Names a line as the replay does: by its offset, and as an editor counts."""
    return f"line {line} (from 0; {line + 1} in an editor)"


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _first_at_least(hashes: memoryview[int], wanted: int) -> int:
    """Binary search that starts near where an even spread of hashes puts the wanted one.

    It so touches one or two pages of the file instead of one for each halving.
    """
    low, high = 0, len(hashes)
    step = 64
    guess = min(wanted * high >> 64, high - 1) if high else 0
    if high and hashes[guess] < wanted:
        low = guess + 1
        while low + step < high and hashes[low + step] < wanted:
            low += step + 1
            step *= 2
        high = min(high, low + step + 1)
    elif high:
        high = guess
        while high - step > low and hashes[high - step] >= wanted:
            high -= step
            step *= 2
        low = max(low, high - step)
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low
