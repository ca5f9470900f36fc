"""Opens a log, plain or compressed by the end of its name, as a file of its lines' bytes.

Called by ``replay`` and by the index of ``why``. It must never know what stands in a line.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO, cast

BROKEN_LOG_ERRORS = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading an open log raises where a .gz is cut off or is none."""


class LogFileError(ValueError):
    """A compressed log that can't be decompressed. One line: file, reason."""


def open_log(path: Path) -> BinaryIO:
    """Opens a log for reading; the end of its name, .gz or .zst, says how it is compressed.

    A .zst is first decompressed into an unnamed temporary file, since its decompressor works
    from file to file; memory stays bounded, but the disk must have room for it.

    Raises:
        LogFileError: a .zst is cut off or is none.
        OSError: the file can't be read, or the temporary one not written.
    """
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return _decompressed(path)
    return path.open("rb")


def _decompressed(path: Path) -> BinaryIO:
    # Here, so that plain logs don't pay for it. It comes with aiokafka.
    import cramjam

    with path.open("rb"):
        pass  # For an OSError that has a reason and a name, should there be one.
    descriptor, name = tempfile.mkstemp(prefix="gatejoin-log-")
    output = os.fdopen(descriptor, "rb")
    try:
        cramjam.zstd.decompress_into(cramjam.File(str(path)), cramjam.File(name, write=True))
    except (OSError, cramjam.DecompressionError) as error:
        output.close()
        raise LogFileError(f"{path}: can't be decompressed: {error}") from None
    finally:
        Path(name).unlink()
    return cast(BinaryIO, output)
