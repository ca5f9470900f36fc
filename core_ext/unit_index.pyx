# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The unit index over numpy arrays: millions of unit names to dense row numbers.

What it is: the Python face of unit_index.h and unit_index_batch.h. Called by engineers, tests and
measurements; the matcher calls the headers itself. It must never know: events, Kafka, what hangs
on a row.

Units come in three forms, of which nothing is copied on the way in:

* container numbers: a contiguous array of dtype ``S11``, or bytes with 11 a number. The number is
  parsed, its check digit verified and its key looked up in one pass;
* packed keys: a contiguous array of dtype uint64, as ``core_ext.container_number.pack`` gives;
* names of any units: bytes (or a contiguous uint8 array) and ``offsets``, a contiguous int64 array
  of n + 1 positions; name i is ``names[offsets[i]:offsets[i + 1]]``, 1 to 35 bytes. ``is_lot`` says
  of which class all of them are. A container whose number is canonical is the same unit in every
  form.

Rows are int32: 0 and up, ``MISS`` (-1) for a unit that is not there, ``INVALID`` (-2) for what is
no unit: a number of another form or category or with a wrong check digit, a key that is none, a
name of no or more than 35 bytes.

Threads: the GIL is released. Any number may probe while another one inserts or removes; a call is
worked on in pieces of 16,384 units between which others may enter, so that a probe sees each piece
as of one moment. Growth never stops anybody for long: entries move a few lines at a time.

Source: core_ext/README.md draws the layout and says why; NH hashing is from UMAC (RFC 4418,
section 5.2).
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

import numpy

from core_ext.container_number cimport active_simd_path

from core_ext.container_number import number_bytes, output_array

MISS = -1
INVALID = -2
NAME_BYTES_MAX = 35
UNITS_MAX = 2**27

cdef enum:
    PIECE = 16384

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_rwlockattr_t:
        pass
    int pthread_rwlockattr_init(pthread_rwlockattr_t *attributes)
    int pthread_rwlockattr_setkind_np(pthread_rwlockattr_t *attributes, int kind)
    int pthread_rwlockattr_destroy(pthread_rwlockattr_t *attributes)
    int PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP
    int pthread_rwlock_init(pthread_rwlock_t *lock, const pthread_rwlockattr_t *attributes)
    int pthread_rwlock_destroy(pthread_rwlock_t *lock)
    int pthread_rwlock_wrlock(pthread_rwlock_t *lock)


@cython.final
cdef class Units:
    """One call's units in whichever form, held for as long as they are read."""

    cdef unit_batch batch
    cdef int64_t count
    cdef const uint8_t[::1] raw
    cdef const uint64_t[::1] keys
    cdef const int64_t[::1] offsets

    def __cinit__(self, units, offsets, bint is_lot):
        cdef int64_t unfit
        memset(&self.batch, 0, sizeof(unit_batch))
        if offsets is not None:
            self.raw = units if isinstance(units, numpy.ndarray) else memoryview(units).cast("B")
            self.offsets = offsets
            self.count = self.offsets.shape[0] - 1
            if self.count < 0:
                raise ValueError("units: offsets must hold one position more than there are names")
            unfit = unit_batch_offsets_fit(&self.offsets[0], self.count, self.raw.shape[0])
            if unfit >= 0:
                raise ValueError(
                    f"units: offset {unfit} ({self.offsets[unfit]}) is below the one before it or"
                    f" outside the {self.raw.shape[0]} bytes of names"
                )
            self.batch.offsets = &self.offsets[0]
            # Only empty names lie in an empty buffer; any address will do for them.
            self.batch.names = <const uint8_t *> self.batch.offsets
            if self.raw.shape[0]:
                self.batch.names = &self.raw[0]
            self.batch.is_lot = is_lot
            return
        if is_lot:
            raise ValueError("units: lots are given as names: bytes and offsets")
        if isinstance(units, numpy.ndarray) and units.dtype == numpy.uint64:
            self.keys = units
            self.count = self.keys.shape[0]
            if self.count:
                self.batch.keys = &self.keys[0]
            return
        self.raw = number_bytes(units)
        self.count = self.raw.shape[0] // 11
        if self.count:
            self.batch.numbers = &self.raw[0]


@cython.final
cdef class UnitIndex:
    """Unit names (containers and lots) to rows, which are given out from 0 up.

    A removed unit's row is given to the next new unit, so that rows stay dense and an array of the
    size of ``row_limit`` has room for what belongs to all of them.

    Args:
        container_capacity: containers with canonical numbers to make room for, at half load. No
            limit: the index grows.
        name_capacity: other units to make room for.
        seed: decides where units lie, for measurements that must be repeatable. Leave it out
            otherwise: whoever knows the seed can choose names that collide.

    Raises:
        MemoryError: no memory for tables of these capacities.
        ValueError: a capacity is negative or above ``UNITS_MAX`` (2**27).
    """

    def __cinit__(self, int64_t container_capacity=0, int64_t name_capacity=0, seed=None):
        cdef int failed
        cdef uint64_t given_seed
        cdef pthread_rwlockattr_t attributes
        check_capacity(container_capacity, name_capacity)
        if seed is None:
            failed = unit_index_init(&self.index, container_capacity, name_capacity)
        else:
            given_seed = seed
            failed = unit_index_init_seeded(
                &self.index, container_capacity, name_capacity, given_seed
            )
        if failed:
            raise MemoryError(
                f"UnitIndex: no memory for {container_capacity} containers and {name_capacity}"
                " other units"
            )
        # Probes come one after the other; a writer would never have its turn if they went first.
        pthread_rwlockattr_init(&attributes)
        pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP)
        pthread_rwlock_init(&self.lock, &attributes)
        pthread_rwlockattr_destroy(&attributes)
        self.ready = True

    def __dealloc__(self):
        if self.ready:
            unit_index_free(&self.index)
            pthread_rwlock_destroy(&self.lock)

    def __len__(self):
        """Units that are there."""
        cdef uint64_t count
        with nogil:
            pthread_rwlock_rdlock(&self.lock)
            count = unit_index_count(&self.index)
            pthread_rwlock_unlock(&self.lock)
        return count

    @property
    def row_limit(self) -> int:
        """Rows given out so far are below this, those that are free again included."""
        return unit_index_row_limit(&self.index)

    def probe(self, units, offsets=None, *, is_lot=False, out=None):
        """The rows of units.

        Args:
            units, offsets, is_lot: n units in one of the module's three forms.
            out: int32 array of shape (n,) to write, or None for a new one.

        Returns:
            int32 array of shape (n,): rows, MISS or INVALID.

        Raises:
            TypeError, ValueError: an argument has not the form that the module asks for.
        """
        cdef Units wanted = Units(units, offsets, is_lot)
        cdef int64_t start = 0
        cdef int64_t size
        cdef unit_batch piece
        out = output_array(out, wanted.count, numpy.int32, "probe")
        cdef int32_t[::1] rows = out
        if wanted.count == 0:
            return out
        with nogil:
            while start < wanted.count:
                size = min(PIECE, wanted.count - start)
                piece = unit_batch_from(&wanted.batch, start)
                pthread_rwlock_rdlock(&self.lock)
                unit_batch_probe(&self.index, active_simd_path(), &piece, size, &rows[start])
                pthread_rwlock_unlock(&self.lock)
                start += size
        return out

    def insert(self, units, offsets=None, *, is_lot=False, out=None):
        """Add the units that are not there; those that are keep their rows and are not told.

        Args:
            units, offsets, is_lot: n units in one of the module's three forms.
            out: int32 array of shape (n,) to write, or None for a new one.

        Returns:
            int32 array of shape (n,): the new unit's row; MISS where the unit was there before (or
            earlier in the same call); INVALID.

        Raises:
            MemoryError: no memory, or 2**27 units; the message says how many were dealt with, and
                these are in.
            TypeError, ValueError: an argument has not the form that the module asks for.
        """
        return self._add(units, offsets, is_lot, out, True)

    def upsert(self, units, offsets=None, *, is_lot=False, out=None):
        """The rows of units, added where they are not there.

        Args, raises: as ``insert``.

        Returns:
            int32 array of shape (n,): the unit's row, new or not; INVALID.
        """
        return self._add(units, offsets, is_lot, out, False)

    cdef _add(self, units, offsets, bint is_lot, out, bint only_new):
        cdef Units wanted = Units(units, offsets, is_lot)
        cdef int64_t start = 0
        cdef int64_t size
        cdef int64_t done = 0
        cdef unit_batch piece
        out = output_array(out, wanted.count, numpy.int32, "insert" if only_new else "upsert")
        cdef int32_t[::1] rows = out
        if wanted.count == 0:
            return out
        with nogil:
            while start < wanted.count:
                size = min(PIECE, wanted.count - start)
                piece = unit_batch_from(&wanted.batch, start)
                pthread_rwlock_wrlock(&self.lock)
                done = start + unit_batch_insert(
                    &self.index, active_simd_path(), &piece, size, only_new, &rows[start]
                )
                pthread_rwlock_unlock(&self.lock)
                start += size
                if done < start:
                    break
        if done < wanted.count:
            raise MemoryError(
                f"UnitIndex: no memory to add unit {done} of {wanted.count}; the {len(self)} units"
                f" that are there stay usable (limit {UNITS_MAX})"
            )
        return out

    def remove(self, units, offsets=None, *, is_lot=False, out=None):
        """Remove units; their rows will be given out again, the latest first.

        Args:
            units, offsets, is_lot: n units in one of the module's three forms.
            out: int32 array of shape (n,) to write, or None for a new one.

        Returns:
            int32 array of shape (n,): the row that the unit had, MISS or INVALID.

        Raises:
            TypeError, ValueError: an argument has not the form that the module asks for.
        """
        cdef Units wanted = Units(units, offsets, is_lot)
        cdef int64_t start = 0
        cdef int64_t size
        cdef unit_batch piece
        out = output_array(out, wanted.count, numpy.int32, "remove")
        cdef int32_t[::1] rows = out
        if wanted.count == 0:
            return out
        with nogil:
            while start < wanted.count:
                size = min(PIECE, wanted.count - start)
                piece = unit_batch_from(&wanted.batch, start)
                pthread_rwlock_wrlock(&self.lock)
                unit_batch_remove(&self.index, active_simd_path(), &piece, size, &rows[start])
                pthread_rwlock_unlock(&self.lock)
                start += size
        return out

    def grow(self, int64_t container_capacity=0, int64_t name_capacity=0):
        """Make room, at half load, for so many units in all, before they come.

        Without it the index grows by itself. Entries move during the insertions that follow; only a
        move that is already under way is ended here and now.

        Args:
            container_capacity: containers with canonical numbers.
            name_capacity: other units.

        Raises:
            MemoryError: no memory; the index stays as it was.
            ValueError: a capacity is negative or above ``UNITS_MAX``.
        """
        cdef int failed
        check_capacity(container_capacity, name_capacity)
        with nogil:
            pthread_rwlock_wrlock(&self.lock)
            failed = unit_index_reserve(&self.index, container_capacity, name_capacity)
            pthread_rwlock_unlock(&self.lock)
        if failed:
            raise MemoryError(
                f"UnitIndex.grow: no memory for {container_capacity} containers and"
                f" {name_capacity} other units"
            )

    def name(self, row: int) -> tuple[bytes, bool]:
        """The name and the class of the unit that has a row.

        Returns:
            (name, is_lot).

        Raises:
            KeyError: nobody has the row.
        """
        cdef uint8_t name[36]
        cdef int is_lot
        cdef uint32_t length = 0
        cdef uint32_t wanted
        if 0 <= row < UNITS_MAX:
            wanted = row
            with nogil:
                pthread_rwlock_rdlock(&self.lock)
                length = unit_index_name(&self.index, wanted, name, &is_lot)
                pthread_rwlock_unlock(&self.lock)
        if length == 0:
            raise KeyError(f"UnitIndex: row {row} belongs to no unit")
        return name[:length], bool(is_lot)

    def units(self, int64_t start=0, int64_t stop=UNITS_MAX):
        """The units of a range of rows, in the order of rows.

        Args:
            start, stop: rows from ``start`` to below ``stop``; at most ``row_limit`` of them exist.

        Returns:
            (rows, names, offsets, is_lot): int32 array of shape (m,), the rows in use; uint8 array
            of their names one behind the other; int64 array of shape (m + 1,) of positions in it;
            bool array of shape (m,). All as of one moment.

        Raises:
            ValueError: the range is none.
        """
        cdef int64_t row, limit
        cdef int64_t found = 0
        cdef int is_lot
        cdef uint32_t length
        cdef uint8_t name[36]
        if start < 0 or stop < start:
            raise ValueError(f"UnitIndex.units: rows {start} to {stop} are no range")
        limit = min(stop, <int64_t> unit_index_row_limit(&self.index))
        count = max(limit - start, 0)
        rows_array = numpy.empty(count, numpy.int32)
        names_array = numpy.empty(count * NAME_BYTES_MAX, numpy.uint8)
        offsets_array = numpy.zeros(count + 1, numpy.int64)
        is_lot_array = numpy.zeros(count, numpy.uint8)
        cdef int32_t[::1] rows = rows_array
        cdef uint8_t[::1] names = names_array
        cdef int64_t[::1] offsets = offsets_array
        cdef uint8_t[::1] lots = is_lot_array
        with nogil:
            pthread_rwlock_rdlock(&self.lock)
            for row in range(start, limit):
                length = unit_index_name(&self.index, <uint32_t> row, name, &is_lot)
                if length == 0:
                    continue
                memcpy(&names[offsets[found]], name, length)
                rows[found] = <int32_t> row
                lots[found] = is_lot != 0
                offsets[found + 1] = offsets[found] + length
                found += 1
            pthread_rwlock_unlock(&self.lock)
        return (
            rows_array[:found],
            names_array[: offsets_array[found]],
            offsets_array[: found + 1],
            is_lot_array[:found].view(numpy.bool_),
        )

    def __iter__(self):
        """Each unit as (row, name, is_lot), in the order of rows, 65,536 rows as of one moment."""
        cdef int64_t start = 0
        while start < unit_index_row_limit(&self.index):
            rows, names, offsets, is_lot = self.units(start, start + 65536)
            names = names.tobytes()
            for i in range(len(rows)):
                yield int(rows[i]), names[offsets[i] : offsets[i + 1]], bool(is_lot[i])
            start += 65536

    def memory(self) -> dict[str, int]:
        """Bytes taken from the system, by what they are for.

        Returns:
            ``container_table``, ``name_table`` (old and new one while entries move), ``rows`` (the
            way back from rows to names), ``names`` (the bytes of names; ``name_holes`` of them wait
            to be used again), ``total``.
        """
        cdef unit_index_memory figures
        with nogil:
            pthread_rwlock_rdlock(&self.lock)
            figures = unit_index_memory_figures(&self.index)
            pthread_rwlock_unlock(&self.lock)
        return {
            "container_table": figures.container_table,
            "name_table": figures.name_table,
            "rows": figures.rows,
            "names": figures.names,
            "name_holes": figures.name_holes,
            "total": figures.container_table + figures.name_table + figures.rows + figures.names,
        }

    def statistics(self) -> dict[str, dict[str, float]]:
        """How the two tables are filled. It walks them: for tests and measurements.

        Returns:
            For ``containers`` and ``names``: ``count``, ``lines``, ``load`` (of the current table's
            slots), ``overflowed`` (share of lines that a miss can't be decided on at once),
            ``moving`` (1 while entries move to another table), ``reseeds``.
        """
        cdef dict result = {}
        with nogil:
            pthread_rwlock_rdlock(&self.lock)
        try:
            result["containers"] = map_statistics(&self.index.containers, UNIT_CONTAINER_SHIFT)
            result["names"] = map_statistics(&self.index.names, UNIT_NAME_SHIFT)
        finally:
            pthread_rwlock_unlock(&self.lock)
        return result

    def home_lines(self, units, offsets=None, *, is_lot=False):
        """Addresses of the 64-byte lines that a probe of units begins at.

        For measuring what the machine can do on the very same lines. They are good until the next
        insertion or removal, and only for reading.

        Args:
            units, offsets, is_lot: n units in one of the module's three forms, none INVALID.

        Returns:
            uint64 array of shape (n,).

        Raises:
            TypeError, ValueError: an argument has not the form that the module asks for.
        """
        cdef Units wanted = Units(units, offsets, is_lot)
        cdef int64_t i
        cdef int64_t unfit = -1
        cdef unit_key key
        addresses_array = numpy.empty(wanted.count, numpy.uint64)
        cdef uint64_t[::1] addresses = addresses_array
        with nogil:
            pthread_rwlock_rdlock(&self.lock)
            for i in range(wanted.count):
                unit_batch_keys(&self.index, active_simd_path(), &wanted.batch, i, 1, &key)
                if key.bits == UNIT_KEY_INVALID:
                    unfit = i
                    break
                addresses[i] = <uint64_t> unit_index_home_line(&self.index, key)
            pthread_rwlock_unlock(&self.lock)
        if unfit >= 0:
            raise ValueError(f"UnitIndex.home_lines: unit {unfit} is INVALID")
        return addresses_array


cdef check_capacity(int64_t container_capacity, int64_t name_capacity):
    for what, capacity in (("container", container_capacity), ("name", name_capacity)):
        if not 0 <= capacity <= UNITS_MAX:
            raise ValueError(
                f"UnitIndex: {what}_capacity {capacity} is not between 0 and {UNITS_MAX}"
            )


cdef dict map_statistics(const slot_map *table_map, unsigned int shift):
    cdef const slot_table *table = &table_map.current
    cdef uint64_t overflowed = 0
    cdef uint64_t line
    cdef uint64_t lines = table.line_count
    for line in range(lines + SLOT_SPARE_LINES):
        if slot_table_line(table, line)[SLOTS_PER_LINE - 1] & slot_overflow_bit(shift):
            overflowed += 1
    return {
        "count": table_map.count,
        "lines": lines,
        "load": table_map.count / <double> (lines * SLOTS_PER_LINE),
        "overflowed": overflowed / <double> lines,
        "moving": int(table_map.previous.slots != NULL),
        "reseeds": table_map.reseed_count,
    }
