"""``gatejoin why`` from the live topics of a real Kafka.

Method: the records of a small log are sent to the topics, other units' among them, and what the
replay decides of them is published as a worker would; the explanation must be that of the log. Then
customs' earlier versions are taken away, as compaction does, and the published decisions must stay.
"""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from stream import cli
from stream.live_topics import LiveTopicsError
from stream.live_unit import _search
from stream.live_why import explain_live
from stream.replay import replay
from stream.settings import Settings
from stream.topics import ensure_topics
from stream.why import Explanation, WhyError, explain
from tests.stream.kafka_tools import send

BOX = "MSKU9070323"
LIKE = "MSKU9070339"
NUMBER = "100000000001"
OTHER = "100000000002"
START_MS = 1533783600000
PARTITIONS = 4

Value = dict[str, Any] | bytes | None

OPERATOR = {
    "operatorID": "OP1",
    "name": "Cảng 1",
    "kind": "SEAPORT",
    "departmentCode": "03",
    "departmentName": "Cục Hải quan TP. Hải Phòng",
    "locations": ["L1"],
    "status": "CONNECTED",
    "version": 1,
}


def declaration(version: int, status: str, unit: str | None = BOX, number: str = NUMBER) -> Value:
    return {
        "declarationNumber": number,
        "version": version,
        "direction": "IMPORT",
        "status": status,
        "registeredDateTime": "2018-08-01T00:00:00Z",
        "locationCode": "L1",
        "units": [{"unit": unit, "unitType": "CONTAINER"}] if unit else [],
    }


def hold(reference: str = NUMBER) -> Value:
    return {
        "holdID": f"H-{reference}",
        "version": 1,
        "scope": "DECLARATION",
        "reference": reference,
        "reason": "STOP",
        "state": "ACTIVE",
        "issuedDateTime": "2018-08-02T00:00:00Z",
    }


def event(number: int, event_type: str, unit: str = BOX, operator_id: str = "OP1") -> Value:
    return {
        "eventID": f"E{number}",
        "eventType": event_type,
        "eventDateTime": f"2018-08-09T10:{number:02d}:00+07:00",
        "operatorID": operator_id,
        "locationCode": "L1",
        "unitType": "CONTAINER",
        "unit": unit,
        "direction": "IMPORT",
        "document": f"seen with {BOX}",  # a name in another field is no unit
    }


RECORDS: list[tuple[str, str, Value]] = [
    ("operators", "OP1", OPERATOR),
    ("declarations", NUMBER, declaration(1, "REGISTERED", unit=None)),
    ("declarations", NUMBER, declaration(2, "REGISTERED", unit="msku 907032-3")),
    ("declarations", OTHER, declaration(1, "CLEARED", LIKE, OTHER)),
    ("holds", f"H-{NUMBER}", hold()),
    ("holds", f"H-{OTHER}", hold(OTHER)),
    ("port-events", BOX, event(1, "GET_IN")),
    ("port-events", LIKE, event(1, "GATE_CHECK", LIKE)),
    ("port-events", BOX, event(5, "GATE_CHECK")),
    ("port-events", BOX, b"\xff no json"),
    ("port-events", BOX, event(7, "GATE_CHECK", operator_id="UNKNOWN")),
    ("holds", f"H-{NUMBER}", None),
    ("declarations", NUMBER, declaration(3, "CLEARED")),
]


def bytes_of(value: Value) -> bytes | None:
    return json.dumps(value).encode() if isinstance(value, dict) else value


class Live:
    """Topics with the records, what a worker would have published, and a log of the same."""

    def __init__(self, settings: Settings, directory: Path, gone: int = 0) -> None:
        """``gone``: how many records at the beginning the topics no longer hold."""
        self.settings = settings
        self.log = directory / "log.ndjson"
        asyncio.run(ensure_topics(settings))
        offsets: dict[tuple[str, int], int] = {}
        places: dict[int, tuple[int, int]] = {}
        with self.log.open("w", encoding="utf-8") as file:
            for line, (topic, key, value) in enumerate(RECORDS):
                if line >= gone:
                    place = (topic, self.partition(topic, key))
                    places[line] = (place[1], offsets.setdefault(place, 0))
                    offsets[place] += 1
                    self.send(topic, key, value, START_MS + line * 1000)
                text = "" if isinstance(value, bytes) else value
                entry = {"topic": topic, "timestamp": START_MS + line * 1000, "key": key}
                file.write(json.dumps(entry | {"value": text}) + "\n")
        replay(self.log, directory / "out")
        self.decisions = self.lines(directory / "out" / "decisions.ndjson")
        self.rejects = self.lines(directory / "out" / "rejects.ndjson")
        for reject in self.rejects:
            source = reject["source"]
            partition, offset = places[source["offset"]]
            source["topic"] = settings.topic(source["topic"])
            source["partition"], source["offset"] = partition, offset

    def partition(self, topic: str, key: str) -> int:
        hash_ = murmur2(key.encode()) & 0x7FFFFFFF
        return hash_ % (PARTITIONS if topic not in ("operators", "declarations", "holds") else 1)

    def lines(self, path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def send(self, topic: str, key: str, value: Value, timestamp_ms: int = START_MS) -> None:
        row = (key.encode(), bytes_of(value), self.partition(topic, key), timestamp_ms)
        asyncio.run(send(self.settings.broker, self.settings.topic(topic), [row]))

    def publish(self) -> None:
        for decision in self.decisions:
            self.send("decisions", decision["unit"], decision)
        for reject in self.rejects:
            self.send("rejects", BOX, reject)

    def explained(self) -> Explanation:
        return explain_live(self.settings, BOX)


@pytest.fixture
def settings(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GATEJOIN_BROKER", kafka)
    monkeypatch.setenv("GATEJOIN_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("GATEJOIN_PARTITIONS", str(PARTITIONS))
    monkeypatch.setenv("GATEJOIN_CUSTOMS_PARTITIONS", "1")
    return Settings.from_environment()


@pytest.fixture
def live(settings: Settings, tmp_path: Path) -> Live:
    return Live(settings, tmp_path)


def told(explanation: Explanation) -> list[Any]:
    return [
        [(it.state, it.value) for it in explanation.events],
        [(it.state, it.value) for it in explanation.declarations],
        [(it.state, it.value) for it in explanation.holds],
        [(it.decision, it.rows) for it in explanation.decisions],
    ]


def test_the_live_topics_tell_what_the_log_tells(live: Live) -> None:
    live.publish()
    from_log = explain(live.log, BOX)
    assert len(from_log.decisions) == 3
    assert {story.state for story in from_log.events} == {"IN_FORCE", "REJECTED"}
    explanation = live.explained()
    assert told(explanation) == told(from_log)
    assert explanation.undecided == []


def test_published_decisions_stay_when_customs_earlier_versions_are_gone(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = Live(settings, tmp_path, gone=6)  # all of customs' side but its last words
    live.send("operators", "OP1", OPERATOR | {"version": 2}, START_MS + 60_000)
    live.publish()
    explanation = live.explained()
    wanted = [it for it in live.decisions if it["unit"] == BOX]
    assert [story.decision for story in explanation.decisions] == wanted
    assert [bool(story.facts) for story in explanation.decisions] == [False, False, True]
    assert cli.main(["why", BOX]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"from the live topics at {settings.broker}" in text
    assert "they are the record" in text
    assert text.count("what it rested on is no longer in the topics") == 2
    port_events = settings.topic("port-events")
    assert f"[{port_events} {live.partition('port-events', BOX)}, offset 0," in text
    assert cli.main(["why", BOX, "--lang", "vi"]) == 0
    assert "theo dữ liệu trực tuyến" in capsys.readouterr().out


def test_an_operator_that_is_left_only_in_its_last_version_lets_its_events_in(live: Live) -> None:
    live.publish()
    live.send("operators", "OP1", None)
    live.send("operators", "OP1", OPERATOR | {"version": 2}, START_MS + 60_000)
    states = [story.state for story in live.explained().events]
    assert states == ["IN_FORCE", "IN_FORCE", "REJECTED", "REJECTED"]


def test_what_no_worker_has_answered_is_said(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    explanation = live.explained()
    assert explanation.decisions == []
    assert explanation.undecided == ["E5"]
    assert cli.main(["why", BOX]) == 0
    assert "Not answered by a worker yet: events E5." in capsys.readouterr().out


def test_what_is_not_there_is_named(
    live: Live, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WhyError, match="nothing in the live topics at .* touches the unit NONE1"):
        explain_live(live.settings, "none-1")
    absent = Settings(broker=live.settings.broker, topic_prefix="absent.")
    with pytest.raises(LiveTopicsError, match=r"has no topic absent\.operators"):
        explain_live(absent, BOX)
    monkeypatch.setenv("GATEJOIN_PARTITIONS", "many")
    assert cli.main(["why", BOX]) == 2
    assert "GATEJOIN_PARTITIONS" in capfd.readouterr().err


def test_a_broker_that_is_away_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("GATEJOIN_BROKER", f"127.0.0.1:{closed.getsockname()[1]}")
        assert cli.main(["why", BOX]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("gatejoin why: no broker answers at 127.0.0.1:")


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("MSKU9070323", b'{"unit":"MSKU9070323"}', True),
        ("MSKU9070323", b'{"unit":"msku 907032-3"}', True),
        ("MSKU9070323", b'{"unit":"\\u004dSKU907\\u00200323"}', True),
        ("A/B", b'{"unit":"a\\/b"}', True),
        ("A/B", b'{"unit":"A/B"}', True),
        ('A"\\B', b'{"unit":"A\\"\\\\B"}', True),
        ("MSKU9070323", b'{"unit":"MSKU9070332"}', False),
        ("MSKU9070323", b'{"unit":"\\u004dSKU9070332"}', False),
        ("MSKU9070323", b"\\ no json", False),
    ],
)
def test_a_unit_is_found_in_every_spelling(name: str, value: bytes, found: bool) -> None:
    assert _search(name.encode())(value) is found
