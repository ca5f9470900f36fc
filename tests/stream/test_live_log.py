"""stream/live_log.py: ``gatejoin why`` from a real Kafka tells what it tells from a log.

Method: the records of a small log are sent to the topics, other units' among them; decisions are
published as the replay makes them, then one otherwise.
"""

import asyncio
import json

import pytest
from aiokafka import AIOKafkaProducer

from stream import cli, topics
from stream.replay import replay
from stream.settings import Settings
from stream.why import WhyError, explain, explain_live

BOX = "MSKU9070323"
NUMBER = "100000000001"
START_MS = 1533783600000

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


def declaration(version, status, unit=BOX, number=NUMBER):
    return {
        "declarationNumber": number,
        "version": version,
        "direction": "IMPORT",
        "status": status,
        "registeredDateTime": "2018-08-01T00:00:00Z",
        "locationCode": "L1",
        "units": [{"unit": unit, "unitType": "CONTAINER"}] if unit else [],
    }


def hold(version, state, reference=NUMBER):
    return {
        "holdID": f"H-{reference}",
        "version": version,
        "scope": "DECLARATION",
        "reference": reference,
        "reason": "STOP",
        "state": state,
        "issuedDateTime": "2018-08-02T00:00:00Z",
    }


def event(number, event_type, unit=BOX):
    return {
        "eventID": f"E{number}",
        "eventType": event_type,
        "eventDateTime": f"2018-08-09T10:{number:02d}:00+07:00",
        "operatorID": "OP1",
        "locationCode": "L1",
        "unitType": "CONTAINER",
        "unit": unit,
        "direction": "IMPORT",
    }


RECORDS = [
    ("operators", "OP1", OPERATOR),
    ("declarations", NUMBER, declaration(1, "REGISTERED", unit=None)),
    ("declarations", NUMBER, declaration(2, "REGISTERED", unit="msku 907032-3")),
    ("declarations", "100000000002", declaration(1, "CLEARED", "MSKU9070339", "100000000002")),
    ("holds", f"H-{NUMBER}", hold(1, "ACTIVE")),
    ("holds", "H-100000000002", hold(1, "ACTIVE", "100000000002")),
    ("port-events", BOX, event(1, "GET_IN")),
    ("port-events", "MSKU9070339", event(1, "GATE_CHECK", "MSKU9070339")),
    ("port-events", BOX, event(5, "GATE_CHECK")),
    ("port-events", BOX, b"\xff no json"),
    ("holds", f"H-{NUMBER}", None),
    ("declarations", NUMBER, declaration(3, "CLEARED")),
]


def as_bytes(value):
    if value is None or isinstance(value, bytes):
        return value
    return json.dumps(value, ensure_ascii=False).encode()


async def send(settings, records):
    producer = AIOKafkaProducer(bootstrap_servers=settings.broker)
    await producer.start()
    try:
        for number, (topic, key, value) in enumerate(records):
            await producer.send_and_wait(
                settings.topic(topic),
                key=key.encode(),
                value=as_bytes(value),
                timestamp_ms=START_MS + number * 1000,
            )
    finally:
        await producer.stop()


@pytest.fixture
def live(kafka, topic_prefix, monkeypatch, tmp_path):
    """The settings of topics with the records, and a log with the same records."""
    monkeypatch.setenv("GATEJOIN_BROKER", kafka)
    monkeypatch.setenv("GATEJOIN_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("GATEJOIN_PARTITIONS", "4")
    settings = Settings.from_environment()
    asyncio.run(topics.ensure_topics(settings))
    asyncio.run(send(settings, RECORDS))
    log = tmp_path / "log.ndjson"
    with log.open("w", encoding="utf-8") as file:
        for number, (topic, key, value) in enumerate(RECORDS):
            text = "not UTF-8" if isinstance(value, bytes) else value
            line = {"topic": topic, "timestamp": START_MS + number * 1000, "key": key}
            file.write(json.dumps(line | {"value": text}) + "\n")
    return settings, log


def told(explanation):
    return (
        [(it.state, it.value) for it in explanation.events],
        [(it.state, it.value) for it in explanation.declarations],
        [(it.state, it.value) for it in explanation.holds],
        [
            {name: it.decision[name] for name in ("decisionID", "outcome", "reasons", "holds")}
            for it in explanation.decisions
        ],
    )


def test_live_topics_tell_what_a_log_tells(live, tmp_path, capsys):
    settings, log = live
    assert told(explain_live(BOX)) == told(explain(log, BOX))
    replay(log, tmp_path / "out")
    lines = (tmp_path / "out" / "decisions.ndjson").read_text(encoding="utf-8").splitlines()
    decisions = [json.loads(line) for line in lines]
    published = [("decisions", it["unit"], it) for it in decisions]
    assert len(decisions) == 4
    asyncio.run(send(settings, published))
    assert explain_live(BOX).differing == []

    other = decisions[-1] | {"decisionID": f"{BOX}/OP1/E5/9"}
    asyncio.run(send(settings, [("decisions", BOX, other)]))
    assert explain_live(BOX).differing == [f"{BOX}/OP1/E5/9"]
    assert cli.main(["why", BOX]) == 0
    text = capsys.readouterr().out
    assert "from the live topics" in text
    assert f"{BOX}/OP1/E5/9" in text


def test_what_is_not_there_is_named(live, monkeypatch, capsys):
    with pytest.raises(WhyError, match="nothing in the live topics touches the unit NONE1"):
        explain_live("NONE1")
    monkeypatch.setenv("GATEJOIN_TOPIC_PREFIX", "absent.")
    with pytest.raises(WhyError, match=r"has no topic absent\.operators"):
        explain_live(BOX)
    monkeypatch.setenv("GATEJOIN_PARTITIONS", "many")
    assert cli.main(["why", BOX]) == 2
    assert "GATEJOIN_PARTITIONS" in capsys.readouterr().err


def test_no_broker_is_one_line(monkeypatch, capfd):
    monkeypatch.setenv("GATEJOIN_BROKER", "127.0.0.1:1")
    assert cli.main(["why", BOX]) == 2
    complaint = capfd.readouterr().err.splitlines()[-1]
    assert complaint.startswith("gatejoin why: 127.0.0.1:1: ")
    assert "GATEJOIN_BROKER" in complaint
