"""TLS, SCRAM, mutual TLS and access of least privilege, against a real broker that insists on them.

The worker, the topics and every client here have the credentials of their role and nothing else.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import TopicPartition

from stream.access import access_list
from stream.access_command import as_csv
from stream.connection import BrokerRefusesError, check_connection, client_options
from stream.settings import Settings, SettingsError
from stream.topics import declarations
from tests.stream.kafka_tools import WAIT_S_MAX
from tests.stream.secured_kafka import SecuredKafka, secured_kafka, variables
from tests.stream.test_worker import Worker, running

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "secured."
NOW = "2018-08-09T10:00:00+07:00"
OPERATOR = {
    "operatorID": "HP-01",
    "name": "Cảng Hải Phòng",
    "kind": "SEAPORT",
    "departmentCode": "03",
    "departmentName": "Hải Phòng",
    "locations": ["03CCS01"],
    "status": "CONNECTED",
    "connectedDate": "2018-01-15",
    "version": 1,
}
DECLARATION = {
    "declarationNumber": "100000000001",
    "version": 1,
    "direction": "IMPORT",
    "status": "CLEARED",
    "registeredDateTime": "2018-08-01T08:00:00+07:00",
    "locationCode": "03CCS01",
    "units": [
        {"unit": "MSKU9070323", "unitType": "CONTAINER", "seals": ["AB12345"]},
        {"unit": "TGHU1234560", "unitType": "CONTAINER", "seals": ["AB12346"]},
    ],
}


def gate_check(unit: str) -> dict[str, Any]:
    return {
        "eventID": f"check-{unit}",
        "eventType": "GATE_CHECK",
        "eventDateTime": NOW,
        "operatorID": "HP-01",
        "locationCode": "03CCS01",
        "unitType": "CONTAINER",
        "unit": unit,
        "direction": "IMPORT",
        "declarations": ["100000000001"],
    }


def gatejoin(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream", *arguments],
        env={**os.environ, **variables(settings)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """The list is brought by the administrator, the topics by the role that may make them."""
    with secured_kafka(tmp_path_factory.mktemp("secured"), PREFIX) as broker:
        granted = gatejoin(broker.administrator(), "access", "apply")
        assert granted.returncode == 0, granted.stderr
        assert granted.stdout == as_csv(access_list(broker.administrator()))
        made = gatejoin(broker.scram("topics"), "topics", "apply")
        assert made.returncode == 0, made.stderr
        yield broker


async def put(settings: Settings, topic: str, key: str, value: dict[str, Any]) -> None:
    producer = AIOKafkaProducer(**client_options(settings))
    await producer.start()
    try:
        await producer.send_and_wait(
            settings.topic(topic), json.dumps(value).encode(), key.encode()
        )
    finally:
        await producer.stop()


async def first_value(settings: Settings, topic: str, wanted: str) -> dict[str, Any]:
    """The first record of a topic whose key is `wanted`."""
    consumer = AIOKafkaConsumer(**client_options(settings), auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(settings.topic(topic), number) for number in range(2)])
        async with asyncio.timeout(WAIT_S_MAX):
            async for record in consumer:
                if record.key == wanted.encode():
                    return json.loads(record.value)
    finally:
        await consumer.stop()
    raise AssertionError("unreachable")


def run_worker(settings: Settings, log: Path) -> Any:
    """A worker with nothing but these settings."""
    own = variables(settings)
    for name in ("BROKER", "TOPIC_PREFIX", "WEB_PORT", "SESSION_TIMEOUT_S"):
        own.pop(f"GATEJOIN_{name}")
    return running(settings.broker, settings.topic_prefix, log, **own)


def decided(broker: SecuredKafka, worker: Worker, unit: str) -> dict[str, Any]:
    worker.until_ready()
    asyncio.run(put(broker.scram("gateway"), "port-events", unit, gate_check(unit)))
    return asyncio.run(first_value(broker.scram("gateway"), "decisions", unit))


def test_a_worker_of_least_privilege_answers_the_gate(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    asyncio.run(put(secured.mutual("platform"), "operators", "HP-01", OPERATOR))
    asyncio.run(put(secured.scram("customs"), "declarations", "100000000001", DECLARATION))
    log = tmp_path / "worker.log"
    with run_worker(secured.scram("worker"), log) as worker:
        decision = decided(secured, worker, "MSKU9070323")
        assert (decision["outcome"], decision["reasons"]) == ("RELEASE", [])
        worker.stop()
    # A second one, by certificate, takes over what the first one left with the broker.
    with run_worker(secured.mutual("worker"), log) as worker:
        decision = decided(secured, worker, "TGHU1234560")
        assert (decision["outcome"], decision["reasons"]) == ("RELEASE", [])
        worker.stop()
    said = log.read_text()
    assert not re.search("[Aa]uthori[sz]ation|Traceback", said), said
    assert not any(password in said for password in secured.passwords.values())


def test_an_operators_credentials_write_port_events_and_nothing_else(
    secured: SecuredKafka,
) -> None:
    async def refused(attempt: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises((TopicAuthorizationFailedError, ClusterAuthorizationFailedError)):
            await attempt()

    async def scenario(settings: Settings) -> None:
        await put(settings, "port-events", "UNIT", {"eventID": "of no known operator"})
        for topic in declarations(settings):
            if topic.name != "port-events":
                await refused(lambda name=topic.name: put(settings, name, "UNIT", {}))
        admin = AIOKafkaAdminClient(**client_options(settings))
        await admin.start()
        try:
            assert await admin.list_topics() == [settings.topic("port-events")]
            response = await admin.create_topics([NewTopic(settings.topic("mine"), 1, 1)])
            assert response.topic_errors[0][1] == TopicAuthorizationFailedError.errno
            response = await admin.delete_topics([settings.topic("port-events")])
            assert response.topic_error_codes[0][1] == TopicAuthorizationFailedError.errno
        finally:
            await admin.close()
        consumer = AIOKafkaConsumer(**client_options(settings), auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(settings.topic("port-events"), 0)])
            await refused(lambda: consumer.getone())
        finally:
            await consumer.stop()
        joining = AIOKafkaConsumer(
            settings.topic("port-events"), group_id=settings.group_id, **client_options(settings)
        )
        with pytest.raises(GroupAuthorizationFailedError):
            await joining.start()
        await joining.stop()

    asyncio.run(scenario(secured.scram("operator")))


def test_no_other_role_can_write_what_the_worker_writes(secured: SecuredKafka) -> None:
    async def scenario() -> None:
        for role in ("platform", "customs", "gateway", "officers", "reader", "topics"):
            with pytest.raises(TopicAuthorizationFailedError):
                await put(secured.scram(role), "decisions", "UNIT", {})
        # Nor can the worker write what it reads.
        for name in ("operators", "declarations", "holds", "port-events"):
            with pytest.raises(TopicAuthorizationFailedError):
                await put(secured.mutual("worker"), name, "UNIT", {})

    asyncio.run(scenario())


def test_the_role_of_the_topics_plans_them_and_can_read_none(secured: SecuredKafka) -> None:
    settings = secured.mutual("topics")
    assert gatejoin(settings, "topics", "plan").stdout == "all topics are as declared\n"

    async def scenario() -> None:
        consumer = AIOKafkaConsumer(**client_options(settings), auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([TopicPartition(settings.topic("decisions"), 0)])
            with pytest.raises(TopicAuthorizationFailedError):
                await consumer.getone()
        finally:
            await consumer.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "kind", "complaint"),
    [
        (
            {"sasl_password_file": "wrong"},
            BrokerRefusesError,
            "refuses the user gatejoin-worker: name or password",
        ),
        (
            {"sasl_username": "nobody"},
            BrokerRefusesError,
            "refuses the user nobody: name or password is wrong",
        ),
        (
            {"tls_ca_file": "other-ca.pem"},
            BrokerRefusesError,
            "is not vouched for .*GATEJOIN_TLS_CA_FILE",
        ),
        (
            {"sasl_password_file": "absent"},
            SettingsError,
            "GATEJOIN_SASL_PASSWORD_FILE=.*: No such file",
        ),
        ({"tls_ca_file": "worker.password"}, SettingsError, "GATEJOIN_TLS_CA_FILE=.*: no PEM file"),
        ({"sasl_password_file": "ca.pem"}, SettingsError, "must hold one line, the password"),
        (
            "plaintext",
            BrokerRefusesError,
            "closes the connection .*GATEJOIN_SECURITY_PROTOCOL=SASL_SSL",
        ),
        (
            "encrypted",
            BrokerRefusesError,
            "closes the connection .*GATEJOIN_SECURITY_PROTOCOL=PLAINTEXT",
        ),
        ("nobody", BrokerRefusesError, "closes the connection .*GATEJOIN_SECURITY_PROTOCOL=SSL"),
        ("stranger", BrokerRefusesError, "breaks off TLS .*GATEJOIN_TLS_CERTIFICATE_FILE"),
        (
            "key",
            SettingsError,
            "GATEJOIN_TLS_CERTIFICATE_FILE=.*: no PEM file, or of another certificate",
        ),
    ],
)
def test_wrong_credentials_are_one_clear_line(
    secured: SecuredKafka, change: Any, kind: type[Exception], complaint: str
) -> None:
    directory = secured.directory
    (directory / "wrong").write_text("correct horse battery staple\n")
    settings = secured.scram("worker")
    mutual = secured.mutual("worker")
    if change == "plaintext":
        settings = dataclasses.replace(settings, broker=secured.kafka.bootstrap_servers)
    elif change == "encrypted":
        broker = secured.kafka.listener("SCRAM")
        settings = dataclasses.replace(secured.administrator(), broker=broker)
    elif change == "nobody":
        settings = dataclasses.replace(mutual, broker=secured.kafka.listener("SCRAM"))
    elif change == "stranger":
        settings = dataclasses.replace(
            mutual,
            tls_certificate_file=str(directory / "stranger.pem"),
            tls_key_file=str(directory / "stranger.key"),
        )
    elif change == "key":
        settings = dataclasses.replace(mutual, tls_key_file=str(directory / "customs.key"))
    else:
        paths = {name: value if name == "sasl_username" else str(directory / value)
                 for name, value in change.items()}  # fmt: skip
        settings = dataclasses.replace(settings, **paths)
    with pytest.raises(kind, match=complaint) as raised:
        asyncio.run(check_connection(settings))
    said = str(raised.value)
    assert "\n" not in said and "correct horse" not in said
    assert secured.passwords["worker"] not in said


def test_commands_say_so_in_one_line(secured: SecuredKafka) -> None:
    (secured.directory / "wrong").write_text("correct horse battery staple\n")
    wrong = dataclasses.replace(
        secured.scram("worker"), sasl_password_file=str(secured.directory / "wrong"), web_port=0
    )
    for command in (("worker",), ("report",), ("topics", "plan")):
        said = gatejoin(wrong, *command)
        assert (said.returncode, said.stderr.count("\n")) == (1, 1), said.stderr
        assert said.stderr.startswith(f"gatejoin {command[0]}: the broker at ")
        assert "refuses the user gatejoin-worker" in said.stderr
        assert "correct horse" not in said.stdout + said.stderr
    absent = dataclasses.replace(wrong, sasl_password_file=str(secured.directory / "absent"))
    said = gatejoin(absent, "worker")
    assert (said.returncode, said.stderr.count("\n")) == (2, 1), said.stderr


def test_the_list_of_access_is_applied_once(secured: SecuredKafka) -> None:
    again = gatejoin(secured.administrator(), "access", "plan")
    assert again.stdout == "the broker has all of the list\n"


def test_the_web_server_listens_on_the_loopback_unless_told() -> None:
    assert Settings().web_host == "127.0.0.1"
