"""Volumes, stock and silence as workers publish them, against a real Kafka and the replay.

Method: a small national year (corrections, retractions and repeats among it) goes through a worker;
the report of the live topics must be that of the replay of the same records, also if the worker was
killed half-way and had committed nothing. Then a few events by hand, cell by cell.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka.partitioner import murmur2

from stream.live_report import read_live_report
from stream.live_topics import LiveTopicsError
from stream.moments import DAY_US, day_of, midnight_us, parse_day, utc_text
from stream.report import Report, read_report
from stream.settings import Settings
from stream.topics import ensure_topics
from tests.stream.kafka_tools import WAIT_S_MAX, read, send
from tests.stream.test_worker import PARTITIONS, Worker, Year, running


def replayed_report(year: Year, directory: Path) -> Report:
    """The report of the replay, as of its last day.

    A replay's clock is a moment and tells ages in spans of 24 hours, a live report goes by days;
    at the end of a day both are the same, so the log gets a last line there: a record that is
    refused, but moves the clock.
    """
    day = day_of(max(ms for _, _, ms, _ in year.events) * 1000)
    key, _, _, number = year.events[-1]
    year.events.append((key, b"{}", midnight_us(day + 1) // 1000 - 1, number))
    try:
        year.replayed(directory)
    finally:
        year.events.pop()
    return read_report(directory / "out", day)


def until_equal(ask: Callable[[], Any], wanted: Any) -> None:
    """Waits until an answer is the one wanted; shows the difference at the deadline."""
    deadline = time.monotonic() + WAIT_S_MAX
    found = None
    while time.monotonic() < deadline:
        with contextlib.suppress(LiveTopicsError):
            found = ask()
        if found == wanted:
            return
    assert found == wanted


def test_the_live_report_is_the_replays(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    year = Year(kafka, topic_prefix)
    wanted = replayed_report(year, tmp_path)
    assert wanted.volumes
    assert wanted.stock
    year.send_customs()
    with running(kafka, topic_prefix, tmp_path / "worker.log") as worker:
        worker.until_ready()
        year.send_events(0, len(year.events), "none", 500)
        worker.until_answered(len(year.events))
        # What the last second changed is published when the worker stops, if not before.
        assert worker.stop() == 0
    assert read_live_report(year.settings, wanted.as_of_day) == wanted


def test_a_killed_worker_leaves_no_cell_wrong(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    year = Year(kafka, topic_prefix)
    wanted = replayed_report(year, tmp_path)
    year.send_customs()
    half = len(year.events) // 2
    log = tmp_path / "worker.log"
    with running(kafka, topic_prefix, log, GATEJOIN_COMMIT_INTERVAL_S="60") as worker:
        year.send_events(0, half, "lz4", 60)
        worker.until_answered(half)
        worker.stop(signal.SIGKILL)
    with running(kafka, topic_prefix, log) as worker:
        worker.until_ready()
        year.send_events(half, len(year.events), "none", 5000)
        worker.until_answered(len(year.events))
        until_equal(lambda: read_live_report(year.settings, wanted.as_of_day), wanted)
        assert worker.stop() == 0


# ---- by hand -------------------------------------------------------------------------------------

BOX = "MSKU9070323"


def operator(operator_id: str) -> dict[str, Any]:
    return {
        "operatorID": operator_id,
        "name": operator_id,
        "kind": "SEAPORT",
        "departmentCode": "03",
        "departmentName": "Hải Phòng",
        "locations": ["L/1"],
        "status": "CONNECTED",
        "connectedDate": "2018-08-15",
        "version": 1,
    }


class Port:
    """Sends operators' events to an installation of its own."""

    def __init__(self, kafka: str, topic_prefix: str) -> None:
        self.settings = Settings(broker=kafka, topic_prefix=topic_prefix, partitions=PARTITIONS)
        asyncio.run(ensure_topics(self.settings))
        self.sent = 0

    def send(self, topic: str, records: list[tuple[str, dict[str, Any], int]]) -> None:
        rows = []
        for key, value, timestamp_ms in records:
            number = (murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS
            rows.append(
                (
                    key.encode(),
                    json.dumps(value).encode(),
                    number if topic == "port-events" else 0,
                    timestamp_ms,
                )
            )
        asyncio.run(send(self.settings.broker, self.settings.topic(topic), rows))

    def report_operators(self, *operator_ids: str) -> None:
        day_ms = midnight_us(day_of(time.time_ns() // 1000) - 1) // 1000
        self.send("operators", [(name, operator(name), day_ms) for name in operator_ids])

    def event(self, worker: Worker, ms: int, **changes: Any) -> None:
        """Sends an event and waits until it is answered."""
        value = {
            "eventID": "E1",
            "eventType": "GET_IN",
            "eventDateTime": utc_text(ms * 1000),
            "operatorID": "OP1",
            "locationCode": "L/1",
            "unitType": "CONTAINER",
            "unit": BOX,
            "direction": "IMPORT",
        } | changes
        self.send("port-events", [(value["unit"], value, ms)])
        self.sent += 1
        worker.until_answered(self.sent)

    def cells(self, topic: str) -> dict[str, dict[str, Any]]:
        """The last value of each key."""
        cells: dict[str, dict[str, Any]] = {}
        name = self.settings.topic(topic)
        for _, _, key, value, _ in asyncio.run(read(self.settings.broker, name, 4)):
            assert key is not None
            if value is None:
                cells.pop(key.decode(), None)
            else:
                cells[key.decode()] = json.loads(value)
        return cells


def test_cells_follow_corrections_repeats_and_retractions(
    kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    port = Port(kafka, topic_prefix)
    port.report_operators("OP1")
    partition = (murmur2(BOX.encode()) & 0x7FFFFFFF) % PARTITIONS
    noon = midnight_us(day_of(time.time_ns() // 1000) - 3) // 1000 + 43_200_000
    days = [utc_text(noon * 1000 + number * DAY_US)[:10] for number in range(2)]

    def volume_keys() -> list[str]:
        return list(port.cells("volumes"))

    def key(day: str) -> str:
        return f"OP1/{day}/IMPORT/CONTAINER/{partition}"

    log = tmp_path / "worker.log"
    with running(kafka, topic_prefix, log) as worker:
        worker.until_ready()
        port.event(worker, noon)
        until_equal(volume_keys, [key(days[0])])
        cell = port.cells("volumes")[key(days[0])]
        assert (cell["operatorID"], cell["movementsIn"], cell["movementsOut"]) == ("OP1", 1, 0)
        stock_key = f"L%2F1/IMPORT/CONTAINER/{days[0]}/{partition}"
        until_equal(lambda: list(port.cells("stock")), [stock_key])
        # The same event a day later: one cell empties, another appears.
        later = utc_text((noon + 1) * 1000 + DAY_US)
        correction = {"eventDateTime": later, "eventUpdatedDateTime": later}
        port.event(worker, noon + 86_400_001, **correction)
        until_equal(volume_keys, [key(days[1])])
        port.event(worker, noon + 86_400_002, **correction)  # a repeat
        port.event(worker, noon + 86_400_003, eventID="E2", eventDateTime=later)
        until_equal(lambda: port.cells("volumes")[key(days[1])]["movementsIn"], 2)
        worker.stop(signal.SIGKILL)
    with running(kafka, topic_prefix, log) as worker:
        worker.until_ready()
        port.sent = 0
        retraction = {
            "isRetracted": True,
            "eventUpdatedDateTime": utc_text(noon * 1000 + 2 * DAY_US),
        }
        port.event(worker, noon + 86_400_004, **retraction)
        until_equal(lambda: port.cells("volumes")[key(days[1])]["movementsIn"], 1)
        port.event(worker, noon + 86_400_005, eventID="E2", **retraction)
        until_equal(volume_keys, [])
        until_equal(lambda: list(port.cells("stock")), [])
        assert worker.stop() == 0


def test_a_silent_operator_is_reported_once(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    port = Port(kafka, topic_prefix)
    port.report_operators("OP1", "OP2", "OP/3")
    minutes = {"GATEJOIN_SILENT_OPERATOR_MINUTES": "1"}
    log = tmp_path / "worker.log"

    def raised() -> list[str]:
        alerts = asyncio.run(read(kafka, port.settings.topic("alerts"), PARTITIONS))
        found = [json.loads(value) for _, _, _, value, _ in alerts if value is not None]
        return sorted(it["alertID"] for it in found if it["type"] == "SILENT_OPERATOR")

    now_ms = time.time_ns() // 1_000_000
    first_ms, second_ms = now_ms - 300_000, now_ms - 120_000
    never = f"SILENT_OPERATOR/OP%2F3/{utc_text(midnight_us(parse_day('2018-08-15')))}"
    first = f"SILENT_OPERATOR/OP1/{utc_text(first_ms * 1000)}"
    second = f"SILENT_OPERATOR/OP1/{utc_text(second_ms * 1000)}"
    with running(kafka, topic_prefix, log, **minutes) as worker:
        worker.until_ready()
        port.event(worker, first_ms)
        port.event(worker, now_ms + 3_600_000, eventID="E2", operatorID="OP2")
        until_equal(raised, [never, first])
        worker.stop(signal.SIGKILL)
    with running(kafka, topic_prefix, log, **minutes) as worker:
        worker.until_ready()
        port.sent = 0
        # A second silence: who raises it has looked at the first ones again.
        port.event(worker, second_ms, eventID="E3", eventDateTime=utc_text(first_ms * 1000))
        until_equal(raised, sorted([never, first, second]))
        assert worker.stop() == 0
    alerts = asyncio.run(read(kafka, port.settings.topic("alerts"), PARTITIONS))
    (alert,) = [it for *_, it, _ in alerts if it is not None and first.encode() in it]
    assert json.loads(alert) == {
        "alertID": first,
        "type": "SILENT_OPERATOR",
        "unit": None,
        "operatorID": "OP1",
        "locationCode": None,
        "eventID": None,
        "detail": {"silentSince": utc_text(first_ms * 1000), "silentMinutes": 1},
        "raisedDateTime": utc_text((first_ms + 60_000) * 1000),
    }
