"""Which lines of a log touch which unit, declaration, hold and operator, at the replay's speed."""

from typing import Literal

from typing_extensions import disjoint_base

LINE_STRIDE: int
"""The starts of every so many lines are kept."""

class LogLineError(ValueError):
    """A line that is none of a log."""

    line: int
    """From 1."""
    reason: str

def name_hash(kind: Literal["u", "d", "h", "o"], name: bytes) -> int:
    """Returns the uint64 hash of a unit, declaration number, hold ID or operator ID.

    A unit's name is normalised before.
    """

@disjoint_base
class LogIndexer:
    """Scans a log from its first line on and collects postings, a run at a time.

    Not for several threads at once; the GIL is released while lines are scanned and sorted.
    """

    def __init__(self, run_postings: int) -> None:
        """``run_postings``: about how many postings a run holds; it costs 32 bytes for each."""

    @property
    def line_count(self) -> int:
        """Lines scanned so far, blank ones included."""

    @property
    def posting_count(self) -> int:
        """Postings in the run that is being filled."""

    def scan(self, data: bytes | bytearray | memoryview, offset: int, is_last: bool) -> int:
        """Indexes the whole lines of ``data``, which starts at ``offset`` of the log.

        Returns how many bytes were consumed. Fewer than up to the last line end means that the
        run is full: take it and go on. With ``is_last`` the end of data ends a line.

        Raises:
            LogLineError: a line that is none of a log.
            MemoryError: no memory.
        """

    def take_run(self) -> tuple[bytes, bytes]:
        """Returns the run, sorted by hash, and empties it.

        Two columns in native byte order: uint64 hashes, and uint32 line numbers from 0.
        """

    def line_starts(self) -> bytes:
        """Returns the offsets (uint64) of lines 0, LINE_STRIDE, 2 * LINE_STRIDE, ..."""
