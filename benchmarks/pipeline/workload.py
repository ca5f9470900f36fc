"""One job for all engines: port events, declared containers, and the right decision on each.

What it is: a generator of any slice of the job's events, declared containers and decisions as rows
of bytes, the same for the same seed on every machine.
Who calls it: the harness (to load and to judge), the tests.
What it must never know: a broker, a clock, an engine.

The job is one look-up: an event asks for a container at a place; it is released if the container
is declared there and cleared. Every field has a fixed width, so rows are laid out by numpy, column
by column, and a decision can be compared byte by byte. Event and declaration are valid records of
the contract, so that the same events go through the worker with all rules too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from core_ext import container_number
from core_ext.json_rows import partitions

BLOCK = 1 << 16
"""Events whose random choices are drawn together."""
HITS = 0.80
RIGHT_PLACE = 0.90
CLEARED = 0.95
"""Of the declared containers; together 68.4 % are released."""
PLACES = 40
EVENT_BYTES = 273
EVENTS_PER_SECOND_OF_THE_DAY = 100
DAY_S = 86_400
MIDNIGHT_MS = 1_533_747_600_000
"""2018-08-09T00:00:00+07:00."""
KEYS_IN_ALL = 52_728 * 10**6
KEY_STRIDE = 15_485_863

Bytes = NDArray[numpy.uint8]
Ints = NDArray[numpy.int64]

EVENT_HEAD = (
    b'{"eventID":"E00000000000","eventType":"GATE_CHECK",'
    b'"eventDateTime":"2018-08-09T00:00:00+07:00","operatorID":"VN-OPERATOR-0000",'
    b'"locationCode":"00CCS01","unitType":"CONTAINER","unit":"AAAU0000000",'
    b'"direction":"IMPORT","document":"'
)
EVENT_TAIL = b'"}'
EVENT_BYTES_MIN = len(EVENT_HEAD) + len(EVENT_TAIL) + 1
EVENT_BYTES_MAX = EVENT_BYTES_MIN + 1000
DECLARED = (
    b'{"unit":"AAAU0000000","declarationNumber":"100000000000",'
    b'"status":"CLEARED","locationCode":"00CCS01"}'
)
REGISTERED = DECLARED.replace(b"CLEARED", b"REGISTERED")
DECISION = (
    b'{"eventID":"E00000000000","operatorID":"VN-OPERATOR-0000","locationCode":"00CCS01",'
    b'"unit":"AAAU0000000",'
)
VERDICTS = (
    b'"outcome":"RELEASE","reason":"CLEARED"}',
    b'"outcome":"HOLD","reason":"UNDECLARED"}',
    b'"outcome":"HOLD","reason":"WRONG_PORT"}',
    b'"outcome":"HOLD","reason":"REGISTERED"}',
)
RELEASED, UNDECLARED, WRONG_PLACE, NOT_CLEARED = range(4)
DECISION_BYTES = len(DECISION) + len(VERDICTS[0])

EVENT_ID_AT = DECISION.index(b"E000")
EVENT_ID_BYTES = 12


@dataclass(frozen=True)
class Events:
    """Events ``start`` to ``start + len(values)``, row by row."""

    start: int
    values: Bytes  # (n, event bytes)
    keys: Bytes  # (n, 11): the container numbers
    timestamps_ms: Ints
    decisions: Bytes  # (n, 143): what is right
    verdicts: NDArray[numpy.uint8]

    def partitions(self, count: int) -> NDArray[numpy.int32]:
        """The partition of each event, by Kafka's default partitioner."""
        return partitions(self.keys.reshape(-1), offsets_of(self.keys), count)


def offsets_of(rows: Bytes) -> Ints:
    """Where each row begins in the rows laid end to end, and where the last one ends."""
    return numpy.arange(len(rows) + 1, dtype=numpy.int64) * rows.shape[1]


def rows_of(template: bytes, count: int) -> Bytes:
    """``count`` copies of a row."""
    return numpy.tile(numpy.frombuffer(template, numpy.uint8), (count, 1))


def write_digits(rows: Bytes, at: int, width: int, numbers: Ints) -> None:
    """Writes numbers as ``width`` decimal digits into a column of each row."""
    left = numbers.copy()
    for place in range(at + width - 1, at - 1, -1):
        left, digit = numpy.divmod(left, 10)
        rows[:, place] = digit + ord("0")


def containers(numbers: Ints) -> Bytes:
    """Valid container numbers, different for different ``numbers``, as (n, 11) bytes."""
    spread = (numbers.astype(numpy.uint64) * KEY_STRIDE + 7) % KEYS_IN_ALL
    unpacked = container_number.unpack((spread // 10**6 + 1) << 20 | spread % 10**6)
    return unpacked.view(numpy.uint8).reshape(len(numbers), 11)


def place_of(numbers: Ints) -> Ints:
    """Where each container is declared, 0 to PLACES - 1."""
    return (numbers * 2_654_435_761 >> 7) % PLACES


def is_cleared(numbers: Ints) -> NDArray[numpy.bool_]:
    """Whether each container's declaration is cleared."""
    return (numbers * 40_503 >> 3) % 1000 < CLEARED * 1000


@dataclass(frozen=True)
class Workload:
    """The job with ``declared_count`` declared containers and any number of events.

    Raises:
        ValueError: an event can't have so many bytes.
    """

    declared_count: int
    seed: int = 2018
    event_bytes: int = EVENT_BYTES

    def __post_init__(self) -> None:
        """Checks what the templates can't do."""
        if not EVENT_BYTES_MIN <= self.event_bytes <= EVENT_BYTES_MAX:
            raise ValueError(
                f"an event has {EVENT_BYTES_MIN} to {EVENT_BYTES_MAX} bytes, not {self.event_bytes}"
            )

    def events(self, start: int, stop: int) -> Events:
        """Events ``start`` up to ``stop``."""
        units, places = self._choices(start, stop)
        serials = numpy.arange(start, stop, dtype=numpy.int64)
        count = stop - start
        keys = containers(units)
        padding = self.event_bytes - len(EVENT_HEAD) - len(EVENT_TAIL)
        values = rows_of(EVENT_HEAD + b"D" * padding + EVENT_TAIL, count)
        seconds = serials // EVENTS_PER_SECOND_OF_THE_DAY % DAY_S
        clock = EVENT_HEAD.index(b"T00:00:00") + 1
        for at, part in ((0, seconds // 3600), (3, seconds // 60 % 60), (6, seconds % 60)):
            write_digits(values, clock + at, 2, part)
        _write_event_fields(values, EVENT_HEAD, serials, places, keys)

        verdicts = numpy.full(count, RELEASED, numpy.uint8)
        verdicts[~is_cleared(units)] = NOT_CLEARED
        verdicts[place_of(units) != places] = WRONG_PLACE
        verdicts[units >= self.declared_count] = UNDECLARED
        decisions = rows_of(DECISION + VERDICTS[0], count)
        _write_event_fields(decisions, DECISION, serials, places, keys)
        endings = numpy.frombuffer(b"".join(VERDICTS), numpy.uint8).reshape(len(VERDICTS), -1)
        decisions[:, len(DECISION) :] = endings[verdicts]
        return Events(start, values, keys, MIDNIGHT_MS + seconds * 1000, decisions, verdicts)

    def blocks(self, start: int, stop: int, size: int = BLOCK) -> Iterator[Events]:
        """Events ``start`` up to ``stop``, ``size`` at a time."""
        for low in range(start, stop, size):
            yield self.events(low, min(low + size, stop))

    def declared_lines(self, start: int, stop: int) -> bytes:
        """Declared containers ``start`` up to ``stop`` of the table, a JSON object a line."""
        numbers = numpy.arange(start, stop, dtype=numpy.int64)
        cleared = is_cleared(numbers)
        parts: list[bytes] = []
        both = {}
        for template, chosen in ((DECLARED, cleared), (REGISTERED, ~cleared)):
            rows = rows_of(template + b"\n", int(chosen.sum()))
            _write_declared_fields(rows, template, numbers[chosen])
            both[template] = rows
        # Cleared ones first: the order of a table means nothing.
        parts += [both[DECLARED].tobytes(), both[REGISTERED].tobytes()]
        return b"".join(parts)

    def declarations(self, start: int, stop: int) -> Iterator[tuple[Bytes, Bytes]]:
        """The same as declarations of the contract: (keys, values) of equal width each."""
        numbers = numpy.arange(start, stop, dtype=numpy.int64)
        cleared = is_cleared(numbers)
        for status, chosen in ((b"CLEARED", cleared), (b"REGISTERED", ~cleared)):
            template = (
                b'{"declarationNumber":"100000000000","version":1,"direction":"IMPORT",'
                b'"status":"' + status + b'","registeredDateTime":"2018-08-01T08:00:00+07:00",'
                b'"locationCode":"00CCS01",'
                b'"units":[{"unit":"AAAU0000000","unitType":"CONTAINER"}]}'
            )
            rows = rows_of(template, int(chosen.sum()))
            _write_declared_fields(rows, template, numbers[chosen])
            keys = rows_of(b"100000000000", len(rows))
            write_digits(keys, 1, 11, numbers[chosen])
            yield keys, rows

    def _choices(self, start: int, stop: int) -> tuple[Ints, Ints]:
        """The container and the place of each event."""
        units: list[Ints] = []
        places: list[Ints] = []
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            source = numpy.random.default_rng((self.seed, block))
            unit = source.integers(0, self.declared_count, BLOCK)
            missing = source.random(BLOCK) >= HITS
            stranger = source.integers(0, max(1, self.declared_count // 4), BLOCK)
            unit[missing] = self.declared_count + stranger[missing]
            place = place_of(unit)
            elsewhere = source.random(BLOCK) >= RIGHT_PLACE
            place[elsewhere] = (place[elsewhere] + 1) % PLACES
            low, high = max(start - block * BLOCK, 0), min(stop - block * BLOCK, BLOCK)
            units.append(unit[low:high])
            places.append(place[low:high])
        return numpy.concatenate(units), numpy.concatenate(places)


def operators() -> list[tuple[bytes, bytes]]:
    """The operators of the job as records of the contract, (key, value): one at each place."""
    return [
        (
            b"VN-OPERATOR-%04d" % place,
            b'{"operatorID":"VN-OPERATOR-%04d","name":"Operator %d","kind":"SEAPORT",'
            b'"departmentCode":"03","departmentName":"Department","locations":["%02dCCS01"],'
            b'"status":"CONNECTED","connectedDate":"2018-01-01","version":1}'
            % (place, place, place),
        )
        for place in range(PLACES)
    ]


def _write_event_fields(
    rows: Bytes, template: bytes, serials: Ints, places: Ints, keys: Bytes
) -> None:
    write_digits(rows, template.index(b"E00000000000") + 1, EVENT_ID_BYTES - 1, serials)
    write_digits(rows, template.index(b"-0000") + 1, 4, places)
    write_digits(rows, template.index(b"00CCS01"), 2, places)
    unit = template.index(b"AAAU")
    rows[:, unit : unit + 11] = keys


def _write_declared_fields(rows: Bytes, template: bytes, numbers: Ints) -> None:
    unit = template.index(b"AAAU")
    rows[:, unit : unit + 11] = containers(numbers)
    write_digits(rows, template.index(b"100000000000") + 1, 11, numbers)
    write_digits(rows, template.index(b"00CCS01"), 2, place_of(numbers))
