"""Columns of integers to rows of JSON text, by template."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy
from numpy.typing import NDArray
from typing_extensions import disjoint_base

INTEGER: int
PADDED: int
TIME_UTC: int
TIME_LOCAL: int
KILOGRAMS: int
TEXT: int
CONTAINER: int
CONTAINER_WRONG: int
CONTAINER_SLOPPY: int
COLUMNS_MAX: int
TEMPLATES_MAX: int
TEMPLATE_BYTES_MAX: int

Segment: TypeAlias = bytes | tuple[int, int] | tuple[int, int, int] | tuple[int, int, int, int]

@disjoint_base
class JsonRows:
    """A set of templates and the dictionaries they name.

    A template is a sequence of segments: a literal (bytes) or ``(form, column)``,
    ``(form, column, argument)`` or ``(PADDED, column, argument, width)``; json_rows.h has the
    table of forms. ``dictionaries`` are sequences of bytes, named by TEXT's argument.

    Raises:
        ValueError: an unknown form, column or dictionary, or a template that can write more than
            TEMPLATE_BYTES_MAX bytes.
    """

    template_count: int
    column_count: int

    def __init__(
        self,
        templates: Sequence[Sequence[Segment]],
        dictionaries: Sequence[Sequence[bytes]] = (),
    ) -> None: ...
    def write(
        self,
        columns: NDArray[numpy.int64],
        template: NDArray[numpy.uint16],
        order: NDArray[numpy.int64],
    ) -> tuple[NDArray[numpy.uint8], NDArray[numpy.int64]]:
        """Writes the rows ``order`` names, one behind the other, without the GIL.

        Args:
            columns: int64, (column, row), C-contiguous.
            template: uint16, (row,): which template each row is written by.
            order: int64, (n,): row numbers, any of them any number of times.

        Returns:
            The bytes, and int64 offsets (n + 1,): row i is ``bytes[offsets[i]:offsets[i + 1]]``.

        Raises:
            IndexError: an entry of ``order`` names no row, or a row no template.
            ValueError: a value does not fit its form; the row and the column are named.
        """

def partitions(
    keys: NDArray[numpy.uint8], key_offsets: NDArray[numpy.int64], partition_count: int
) -> NDArray[numpy.int32]:
    """The partition that Kafka's default partitioner (murmur2) gives each key.

    Args:
        keys: the keys' bytes, one behind the other.
        key_offsets: int64, (n + 1,).
        partition_count: at least 1.

    Returns:
        int32, (n,).
    """
