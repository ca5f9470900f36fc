"""The records of the live topics that touch one unit, for ``gatejoin why`` without ``--log``.

Reads operators, declarations and holds whole; of port-events, decisions and alerts the unit's
partition, of rejects the partitions of its events' keys. A record is looked for by a search of its
bytes and parsed only if it may be one of the unit's. It must never know rules.

Which record of customs reached a worker before which event is not written down anywhere, so records
are put in the order of their timestamps, those of a partition as they stand. Customs' topics are
compacted: of an operator the first version that is left stands before all events, for an older one
let them in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2

from stream import record_json, topics
from stream.live_topics import LiveTopics, LiveTopicsError
from stream.why import Source

RECORDS_MAX = 1_000_000
"""Records that may touch one unit, all operators included. More would be read by nobody."""

_LOWER = b"abcdefghijklmnopqrstuvwxyz"
_UPPER_CASE = bytes.maketrans(_LOWER, _LOWER.upper())


class LiveRecord(NamedTuple):
    """A record that touches the unit; its topic by the plain name."""

    source: Source
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class LiveUnit(NamedTuple):
    """What the topics hold of a unit: what came in, and what was said of it."""

    records: list[LiveRecord]
    decisions: list[dict[str, Any]]
    alerts: list[dict[str, Any]]
    rejects: dict[tuple[int, int], dict[str, Any]]
    """Of port events, by partition and offset."""


_Wanted = Callable[[bytes | None, bytes | None], bool]


async def read_unit(live: LiveTopics, unit: str) -> LiveUnit:
    """Returns what the topics hold of a unit.

    Args:
        live: entered.
        unit: its normalised name.

    Raises LiveTopicsError if a topic is missing or can't be read, or for more than RECORDS_MAX
    records.
    """
    name = unit.encode()
    touches = _search(name)

    def is_of_unit(_: bytes | None, value: bytes | None) -> bool:
        return value is not None and touches(value)

    operators = await _read(live, topics.OPERATORS, None, lambda *_: True)
    declarations = await _read_all_versions(live, topics.DECLARATIONS, is_of_unit)
    numbers = {record.key for record in declarations if record.key is not None}

    def is_hold(_: bytes | None, value: bytes | None) -> bool:
        if value is None:
            return False
        return touches(value) or any(number in _plain(value) for number in numbers)

    holds = await _read_all_versions(live, topics.HOLDS, is_hold)
    own = murmur2(name) & 0x7FFFFFFF
    events = await _read_own(live, topics.PORT_EVENTS, own, _event_of(unit, touches))
    decisions = await _read_own(live, topics.DECISIONS, own, lambda key, _: key == name)
    alerts = await _read_own(live, topics.ALERTS, own, lambda key, _: key == name)
    return LiveUnit(
        _in_order(operators, [*declarations, *holds, *events]),
        _objects(decisions),
        _objects(alerts),
        await _rejects(live, events),
    )


def _search(name: bytes) -> Callable[[bytes], bool]:
    """A test whether a value may name the unit, in any spelling that is normalised to ``name``."""
    written = json.dumps(name.decode())[1:-1].encode()

    def touches(value: bytes) -> bool:
        if name in value.translate(_UPPER_CASE, b" -"):
            return True
        return b"\\" in value and written in _plain(value).translate(_UPPER_CASE, b" -")

    return touches


def _event_of(unit: str, touches: Callable[[bytes], bool]) -> _Wanted:
    """A test whether a port event is the unit's: by its value, or by its key if it has no unit."""
    name = unit.encode()

    def wanted(key: bytes | None, value: bytes | None) -> bool:
        has_key = key is not None and key.translate(_UPPER_CASE, b" -") == name
        if value is None or not (has_key or touches(value)):
            return has_key
        try:
            written = record_json.loads(value)["unit"]
            return str(written).encode().translate(_UPPER_CASE, b" -") == name
        except (ValueError, RecursionError, KeyError, TypeError):
            return has_key

    return wanted


def _plain(value: bytes) -> bytes:
    """A JSON text with no more escapes than it needs; what is none is left as it is."""
    if b"\\" not in value:
        return value
    try:
        text = json.dumps(record_json.loads(value), ensure_ascii=False)
    except (ValueError, RecursionError):
        return value
    return text.encode("utf-8", "surrogatepass")


async def _read(
    live: LiveTopics, topic: str, partition: int | None, wanted: _Wanted
) -> list[LiveRecord]:
    records: list[LiveRecord] = []
    async for fetched in live.runs(topic, partition):
        records += [
            LiveRecord(Source(topic, fetched.partition, offset), timestamp_ms, key, value)
            for key, value, offset, timestamp_ms in fetched.run
            if wanted(key, value)
        ]
        if len(records) > RECORDS_MAX:
            raise LiveTopicsError(f"more than {RECORDS_MAX:,} records of {topic} touch the unit")
    return records


async def _read_own(live: LiveTopics, topic: str, hash_: int, wanted: _Wanted) -> list[LiveRecord]:
    return await _read(live, topic, hash_ % live.partition_count(topic), wanted)


async def _read_all_versions(live: LiveTopics, topic: str, wanted: _Wanted) -> list[LiveRecord]:
    """Reads a compacted topic twice: for the keys, then for all that was said of them."""
    found = await _read(live, topic, None, wanted)
    keys = {record.key for record in found if record.key is not None}
    records: list[LiveRecord] = []
    # All versions of a key are in one partition, or compaction could not find them.
    for partition in sorted({record.source.partition for record in found}):
        records += await _read(live, topic, partition, lambda key, _: key in keys)
    return records


async def _rejects(
    live: LiveTopics, events: Iterable[LiveRecord]
) -> dict[tuple[int, int], dict[str, Any]]:
    """What was refused of some events. Rejects have the key of what they refuse."""
    keys = {event.key for event in events if event.key is not None}
    count = live.partition_count(topics.REJECTS)
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for partition in sorted({(murmur2(key) & 0x7FFFFFFF) % count for key in keys}):
        records = await _read(live, topics.REJECTS, partition, lambda key, _: key in keys)
        for reject in _objects(records):
            source = reject["source"]
            if source["topic"].endswith(topics.PORT_EVENTS):
                found[source["partition"], source["offset"]] = reject
    return found


def _objects(records: Iterable[LiveRecord]) -> list[dict[str, Any]]:
    return [record_json.loads(record.value) for record in records if record.value is not None]


def _in_order(operators: list[LiveRecord], others: list[LiveRecord]) -> list[LiveRecord]:
    order = {name: place for place, name in enumerate((*topics.CUSTOMS, topics.PORT_EVENTS))}
    latest_ms: dict[tuple[str, int], int] = {}
    placed: list[tuple[tuple[int, int, int, int], LiveRecord]] = []
    known: set[bytes | None] = set()
    first_ms = min((record.timestamp_ms for record in others), default=0)
    for record in [*operators, *others]:
        topic, partition, offset = record.source
        # Within a partition records were applied as they stand, whatever their timestamps say.
        time_ms = max(record.timestamp_ms, latest_ms.get((topic, partition), 0))
        latest_ms[topic, partition] = time_ms
        if topic == topics.OPERATORS and record.key not in known:
            known.add(record.key)
            time_ms = min(time_ms, first_ms)
            record = record._replace(timestamp_ms=time_ms)
        placed.append(((time_ms, order[topic], partition, offset), record))
    placed.sort(key=lambda entry: entry[0])
    return [record for _, record in placed]
