"""Peers in C and C++, compiled for this very processor, as functions of arrays.

Called by conftest.py. It knows the sources in peers/ and no measurement. Where one can't be
compiled the benchmark is skipped and says what is missing.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

PEERS = Path(__file__).with_name("peers")


def compile_peer(folder: Path, source: str, needs: str, *switches: str) -> ctypes.CDLL:
    """A library made of one source file."""
    library = folder / f"{source}.so"
    compiler = ["g++", "-std=c++17"] if source.endswith(".cpp") else ["gcc", "-std=c11"]
    built = subprocess.run(
        [
            *(*compiler, "-O3", "-march=native", "-shared", "-fPIC"),
            *(str(PEERS / source), "-o", str(library), *switches),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode != 0:
        pytest.skip(f"{source} could not be compiled; it needs {needs}: {built.stderr[:300]}")
    return ctypes.CDLL(str(library))


def gather_of(library: ctypes.CDLL) -> Callable[[numpy.ndarray], int]:
    """gather(lines): loads a 64-byte line from each address of a uint64 array."""
    function = library.gather
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    return lambda lines: function(lines.ctypes.data, len(lines))


class FlatMap:
    """boost::unordered_flat_map of packed keys, key i having row i."""

    def __init__(self, library: ctypes.CDLL, keys: numpy.ndarray):
        self.library = library
        library.flat_map_build.restype = ctypes.c_void_p
        library.flat_map_build.argtypes = [ctypes.c_void_p, ctypes.c_int64]
        library.flat_map_probe.restype = None
        library.flat_map_probe.argtypes = [
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
        ]
        library.flat_map_free.restype = None
        library.flat_map_free.argtypes = [ctypes.c_void_p]
        self.map = library.flat_map_build(keys.ctypes.data, len(keys))

    def probe(self, keys: numpy.ndarray, out: numpy.ndarray) -> None:
        """Writes the rows of uint64 keys to an int32 array, -1 where there is none."""
        self.library.flat_map_probe(self.map, keys.ctypes.data, len(keys), out.ctypes.data)

    def close(self) -> None:
        """Gives the memory back."""
        self.library.flat_map_free(self.map)
        self.map = None


class OnDemand:
    """simdjson's on-demand parser over port events."""

    def __init__(self, library: ctypes.CDLL):
        self.library = library
        library.on_demand_scan.restype = ctypes.c_int64
        library.on_demand_scan.argtypes = [
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int),
            ctypes.POINTER(ctypes.c_double),
        ]
        library.on_demand_padding.restype = ctypes.c_int64
        self.padding = library.on_demand_padding()

    def scan(self, text: numpy.ndarray, offsets: numpy.ndarray, keys_in_order: bool) -> float:
        """The lengths of all texts and all weights, added up.

        ``text`` is a uint8 array with ``padding`` bytes behind the last value, ``offsets`` int64.
        """
        total = ctypes.c_double()
        read = self.library.on_demand_scan(
            text.ctypes.data,
            offsets.ctypes.data,
            len(offsets) - 1,
            keys_in_order,
            ctypes.byref(total),
        )
        assert read == len(offsets) - 1, f"event {read} could not be read"
        return total.value
