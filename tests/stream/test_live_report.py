"""``gatejoin report`` from the live topics of a real Kafka.

Method: cells and operators are sent to the topics as workers write them, overwritten and removed
among them; the report must be that of a directory with the same sums.
"""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest

from stream import cli
from stream.live_report import age, read_live_report
from stream.live_topics import LiveTopicsError
from stream.moments import midnight_us, parse_day
from stream.report import Volume, read_report
from stream.settings import Settings
from stream.topics import ensure_topics
from tests.stream.kafka_tools import send

DAY = parse_day("2018-06-30")
DAY_MS = midnight_us(DAY) // 1000

OPERATOR = {
    "operatorID": "OP1",
    "name": "Cảng 1",
    "kind": "SEAPORT",
    "departmentCode": "03",
    "departmentName": "Cục Hải quan TP. Hải Phòng",
    "branchCode": "03A",
    "branchName": "Chi cục 03A",
    "locations": ["L1"],
    "status": "CONNECTED",
    "connectedDate": "2018-06-01",
    "version": 1,
}


Cell = dict[str, object]


def volume(partition: int, movements: int, grams: int, day: str = "2018-06-30") -> Cell:
    return {
        "operatorID": "OP1",
        "day": day,
        "direction": "IMPORT",
        "unitType": "CONTAINER",
        "partition": partition,
        "movementsIn": movements,
        "piecesIn": 2,
        "gramsIn": grams,
        "movementsOut": 1,
        "piecesOut": 0,
        "gramsOut": 1,
    }


def stock(partition: int, units: int, start_day: str) -> Cell:
    return {
        "locationCode": "L1",
        "direction": "IMPORT",
        "unitType": "CONTAINER",
        "startDay": start_day,
        "partition": partition,
        "units": units,
        "pieces": 0,
        "grams": 5,
    }


def cell_key(cell: Cell) -> bytes:
    return "/".join(str(cell[name]) for name in list(cell)[:5]).encode()


@pytest.fixture
def settings(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GATEJOIN_BROKER", kafka)
    monkeypatch.setenv("GATEJOIN_TOPIC_PREFIX", topic_prefix)
    made = Settings.from_environment()
    asyncio.run(ensure_topics(made))
    return made


def publish(settings: Settings, topic: str, records: list[tuple[bytes, Cell | None]]) -> None:
    rows = [
        (key, None if value is None else json.dumps(value).encode(), 0, DAY_MS)
        for key, value in records
    ]
    asyncio.run(send(settings.broker, settings.topic(topic), rows))


def publish_all(settings: Settings) -> None:
    publish(settings, "operators", [(b"OP1", OPERATOR), (b"OP2", OPERATOR)])  # the second: refused
    cells = [
        *(volume(0, 7, 100), volume(0, 9, 9007199254740993), volume(1, 2, 7)),
        volume(0, 1, 1, day="2018-07-01"),
    ]
    gone = volume(2, 50, 50)
    publish(settings, "volumes", [(cell_key(cell), cell) for cell in [gone, *cells]])
    publish(settings, "volumes", [(cell_key(gone), None)])
    ages = [stock(0, 3, "2018-05-31"), stock(1, 4, "2018-05-30"), stock(0, 5, "2018-12-31")]
    publish(settings, "stock", [(cell_key(cell), cell) for cell in ages])


def test_cells_of_all_partitions_add_up_to_the_table_of_a_directory(
    settings: Settings, tmp_path: Path
) -> None:
    publish_all(settings)
    (tmp_path / "volumes.csv").write_text(
        "operatorID,day,direction,unitType,"
        "movementsIn,piecesIn,weightKgIn,movementsOut,piecesOut,weightKgOut\n"
        "OP1,2018-06-30,IMPORT,CONTAINER,11,4,9007199254741.000,2,0,0.002\n"
        "OP1,2018-07-01,IMPORT,CONTAINER,1,2,0.001,1,0,0.001\n"
    )
    (tmp_path / "stock.csv").write_text(
        "locationCode,direction,unitType,age,units,pieces,weightKg\n"
        "L1,IMPORT,CONTAINER,0-30,8,0,0.010\n"
        "L1,IMPORT,CONTAINER,31-60,4,0,0.005\n"
    )
    entry = {"timestamp": DAY_MS, "operatorID": "OP1", "operator": OPERATOR}
    (tmp_path / "registry.ndjson").write_text(json.dumps(entry) + "\n")
    assert read_live_report(settings, DAY) == read_report(tmp_path, DAY)
    latest = read_live_report(settings)
    assert latest.as_of_day == DAY + 1
    (row,) = latest.summed("nation")
    assert row.volume == Volume(12, 6, 9007199254741001, 3, 0, 3)


def test_the_command_prints_every_format(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_all(settings)
    assert cli.main(["report", "--as-of", "2018-06-30", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["connectedOperators"] == 1
    assert document["volumes"]["nation"][0]["movementsIn"] == 11
    assert document["stock"][0]["units"] == {"0-30": 8, "31-60": 4, "61-90": 0, "90+": 0}
    assert cli.main(["report", "--as-of", "2018-06-30", "--format", "csv"]) == 0
    assert "NATION,,,,,IMPORT,CONTAINER,11,4,9007199254741.000,2,0,0.002" in capsys.readouterr().out
    assert cli.main(["report"]) == 0
    captured = capsys.readouterr()
    assert "Stock as last known" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(
    ("days", "wanted"),
    [
        *((-3, "0-30"), (0, "0-30"), (30, "0-30"), (31, "31-60"), (60, "31-60")),
        *((61, "61-90"), (90, "61-90"), (91, "90+"), (5000, "90+")),
    ],
)
def test_ages_are_those_of_the_contract(days: int, wanted: str) -> None:
    assert age(days) == wanted


def test_empty_topics_are_named(settings: Settings) -> None:
    with pytest.raises(LiveTopicsError, match="operators and .*volumes at .* are empty"):
        read_live_report(settings)


def test_missing_topics_are_named_and_not_made(
    kafka: str,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GATEJOIN_BROKER", kafka)
    monkeypatch.setenv("GATEJOIN_TOPIC_PREFIX", topic_prefix)
    for _ in range(2):  # the first time might have made it
        assert cli.main(["report"]) == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert f"has no topic {topic_prefix}operators: start a worker there" in line


def test_a_cell_that_no_worker_wrote_is_named(settings: Settings) -> None:
    publish(settings, "volumes", [(b"x", {"day": "tomorrow"})])
    with pytest.raises(LiveTopicsError, match="volumes: .*tomorrow.* was not written by a worker"):
        read_live_report(settings)


def test_a_broker_that_is_away_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GATEJOIN_BROKER", f"127.0.0.1:{closed.getsockname()[1]}")
        assert cli.main(["report"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("gatejoin report: no broker answers at 127.0.0.1:")
    assert line.endswith("set GATEJOIN_BROKER to the host:port of one")
