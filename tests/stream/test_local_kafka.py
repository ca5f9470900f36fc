"""A local Kafka starts, answers, and leaves nothing behind, however it or its owner ends.

Each test starts the real thing from Kafka's own jars. "Nothing" is a fact about the machine: no
process, no listening port, no directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream import local_kafka
from stream.local_kafka import LocalKafka, LocalKafkaError, PortTakenError, wait_for

ROOT = Path(__file__).resolve().parents[2]
WAIT_S_MAX = 180.0

BROKER_COMMAND = """
import argparse, sys
from stream import broker_command
parser = argparse.ArgumentParser()
broker_command.add_arguments(parser)
sys.exit(broker_command.run(parser.parse_args()))
"""


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path, monkeypatch):
    """Throw-away directories are made where each test can see whether they are gone."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return directory


def java_processes(directory: Path) -> list[int]:
    """Process ids of the JVMs whose command line names ``directory``."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"java") and os.fsencode(directory) in b" ".join(words):
                found.append(int(entry.name))
    return found


def listening(port: int) -> bool:
    """Whether somebody accepts connections on the port."""
    with socket.socket() as probe:
        return probe.connect_ex((local_kafka.LOOPBACK, port)) == 0


def assert_nothing_left(directory: Path, ports: list[int]) -> None:
    """Within a deadline: no process, no port, no entry in ``directory``."""

    def nothing() -> bool:
        return not (
            java_processes(directory) or any(map(listening, ports)) or list(directory.iterdir())
        )

    assert wait_for(nothing, WAIT_S_MAX), (java_processes(directory), list(directory.iterdir()))


def ports_of(kafka: LocalKafka) -> list[int]:
    return [port for node in kafka.nodes.values() for port in (node.port, node.controller_port)]


async def create_topic(bootstrap_servers: str, topic: str, copies: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, copies)])
    finally:
        await admin.close()


async def send(bootstrap_servers: str, topic: str, values: list[bytes], timestamp_ms: int) -> None:
    """Send values, each acknowledged by all replicas, with a timestamp of the caller's."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all")
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, timestamp_ms=timestamp_ms)
    finally:
        await producer.stop()


async def read(bootstrap_servers: str, topic: str, count: int) -> list[tuple[bytes, int]]:
    """Read ``count`` records as (value, timestamp) from the topic's start."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(WAIT_S_MAX):
            records = [await anext(consumer) for _ in range(count)]
        return [(record.value, record.timestamp) for record in records]
    finally:
        await consumer.stop()


def test_one_node_serves_history_and_leaves_nothing(own_temporary_directory):
    """Goal: the ordinary life. Method: records dated 1970 and 2100 through a broker, then stop."""
    kafka = LocalKafka(heap_mb=256, is_short_lived=True)
    with kafka:
        ports = ports_of(kafka)
        (pid,) = kafka.pids.values()
        assert java_processes(own_temporary_directory) == [pid]
        assert kafka.directory.parent == own_temporary_directory

        async def talk() -> list[tuple[bytes, int]]:
            servers = kafka.bootstrap_servers
            await create_topic(servers, "dated", 1)
            await send(servers, "dated", [b"past"], 1)
            await send(servers, "dated", [b"future"], 4_102_444_800_000)
            return await read(servers, "dated", 2)

        assert asyncio.run(talk()) == [(b"past", 1), (b"future", 4_102_444_800_000)]
        kafka.check()
    assert kafka.pids == {}
    assert_nothing_left(own_temporary_directory, ports)
    kafka.stop()


def test_three_nodes_survive_the_loss_of_one(own_temporary_directory):
    """Goal: what fault tests lean on. Method: kill -9 one of three, go on, bring it back."""
    # A killed broker is fenced after this time without a heartbeat; the default is nine seconds.
    with LocalKafka(
        3, heap_mb=256, is_short_lived=True, properties={"broker.session.timeout.ms": "3000"}
    ) as kafka:
        ports = ports_of(kafka)
        servers = kafka.bootstrap_servers
        asyncio.run(create_topic(servers, "copied", 3))
        asyncio.run(send(servers, "copied", [b"before"], 1))
        kafka.kill(2)
        assert sorted(kafka.pids) == [1, 3]
        with pytest.raises(LocalKafkaError, match="node 2 .* ended"):
            kafka.check()
        asyncio.run(send(servers, "copied", [b"between"], 2))
        kafka.restart(2)
        kafka.check()
        kafka.pause(1)
        kafka.resume(1)
        expected = [(b"before", 1), (b"between", 2)]
        assert asyncio.run(read(kafka.nodes[2].address, "copied", 2)) == expected
    assert_nothing_left(own_temporary_directory, ports)


def test_data_directory_that_is_given_stays_and_goes_on(tmp_path, own_temporary_directory):
    """Goal: ``--data-dir``. Method: write, stop in good order, start again, read."""
    data_dir = tmp_path / "kept"
    with LocalKafka(heap_mb=256, is_short_lived=True, data_dir=data_dir) as kafka:
        asyncio.run(create_topic(kafka.bootstrap_servers, "kept", 1))
        asyncio.run(send(kafka.bootstrap_servers, "kept", [b"value"], 1))
    with LocalKafka(heap_mb=256, is_short_lived=True, data_dir=data_dir) as kafka:
        assert asyncio.run(read(kafka.bootstrap_servers, "kept", 1)) == [(b"value", 1)]
    assert java_processes(data_dir) == []
    with pytest.raises(LocalKafkaError, match="holds the data of 1 node"):
        LocalKafka(3, data_dir=data_dir).start()
    assert_nothing_left(own_temporary_directory, [])


def test_failed_start_tells_why_and_leaves_nothing(own_temporary_directory):
    """Goal: a broker that refuses its settings. Method: a setting that Kafka itself rejects."""
    kafka = LocalKafka(heap_mb=256, is_short_lived=True, properties={"num.io.threads": "-1"})
    with pytest.raises(LocalKafkaError, match=r"num\.io\.threads"):
        kafka.start()
    assert_nothing_left(own_temporary_directory, [])


def test_port_taken_is_named(own_temporary_directory):
    """Goal: a taken port is an error that names it. Method: listen on it first."""
    with socket.create_server((local_kafka.LOOPBACK, 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} "):
            LocalKafka(port=port).start()
    assert_nothing_left(own_temporary_directory, [])


@pytest.mark.skipif("GATEJOIN_BROKER" in os.environ, reason="needs a local Kafka in the way")
def test_port_lost_to_another_kafka_is_chosen_again(kafka, own_temporary_directory, monkeypatch):
    """Goal: the race for a port, lost to one that answers alike. Method: choose its port first."""
    taken = int(kafka.rpartition(":")[2])
    choose = local_kafka.ports_choose
    choices = iter([[taken, *choose(1)]])
    monkeypatch.setattr(
        local_kafka, "ports_choose", lambda count: next(choices, None) or choose(count)
    )
    with LocalKafka(heap_mb=256, is_short_lived=True) as second:
        ports = ports_of(second)
        assert next(choices, None) is None
        assert taken not in ports
    assert listening(taken)
    assert_nothing_left(own_temporary_directory, ports)


def test_no_java_old_java_and_no_jars_are_named(tmp_path, own_temporary_directory, monkeypatch):
    """Goal: one clear line. Method: a machine without Java, with an old one, without jars."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(LocalKafkaError, match="there is no java in JAVA_HOME.*install Java 17"):
        LocalKafka().start()
    old = tmp_path / "bin" / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    old.chmod(0o755)
    with pytest.raises(LocalKafkaError, match="is Java 8; install Java 17"):
        LocalKafka().start()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("GATEJOIN_CACHE", str(tmp_path / "no-cache"))
    with pytest.raises(LocalKafkaError, match="jars are not in .*make setup"):
        LocalKafka().start()
    assert_nothing_left(own_temporary_directory, [])


def test_full_disk_and_unwritable_place_are_named(tmp_path, own_temporary_directory, monkeypatch):
    """Goal: the disk's refusals. Method: ask for more room than any disk has; a file in the way."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalKafkaError, match="cannot be written"):
        LocalKafka(data_dir=tmp_path / "file" / "data").start()
    monkeypatch.setattr(local_kafka, "FREE_BYTES_MIN", 1 << 62)
    with pytest.raises(LocalKafkaError, match="the disk is full"):
        LocalKafka().start()
    assert_nothing_left(own_temporary_directory, [])


@pytest.mark.parametrize(
    "arguments",
    [{"nodes": 2}, {"heap_mb": 1}, {"port": 70_000}, {"properties": {"a": "b\nc=d"}}],
    ids=lambda arguments: next(iter(arguments)),
)
def test_arguments_out_of_bounds_are_refused(arguments):
    with pytest.raises(LocalKafkaError):
        LocalKafka(**arguments)


@pytest.fixture
def broker_command(own_temporary_directory):
    """``gatejoin broker`` as a process of its own, killed at the end whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-c", BROKER_COMMAND, "--port", "0", "--heap-mb", "256"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until_said(process: subprocess.Popen, words: str) -> str:
    """Read the process's output up to the line with these words; that line."""
    for line in process.stdout:
        if words in line:
            return line
    pytest.fail(f"the process ended without saying {words!r}")


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_command_leaves_nothing_behind(broker_command, own_temporary_directory, sent):
    """Goal: Ctrl-C and ``kill -9`` of the owner. Method: the signal itself."""
    line = wait_until_said(broker_command, "is ready at")
    port = int(line.rpartition(":")[2])
    assert listening(port)
    if sent == signal.SIGINT:
        # A terminal sends it to the whole group at once.
        os.killpg(broker_command.pid, sent)
    else:
        broker_command.send_signal(sent)
    assert broker_command.wait(WAIT_S_MAX) == (-sent if sent == signal.SIGKILL else 0)
    assert_nothing_left(own_temporary_directory, [port])


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_command_interrupted_while_starting(broker_command, own_temporary_directory, sent):
    """Goal: an end in the middle of a start. Method: the signal as soon as a JVM runs."""
    assert wait_for(lambda: bool(java_processes(own_temporary_directory)), WAIT_S_MAX)
    broker_command.send_signal(sent)
    assert broker_command.wait(WAIT_S_MAX) == (-sent if sent == signal.SIGKILL else 0)
    assert_nothing_left(own_temporary_directory, [])


def test_command_notices_a_dead_broker(broker_command, own_temporary_directory):
    """Goal: a broker that dies is reported. Method: kill it under the command."""
    wait_until_said(broker_command, "is ready at")
    (pid,) = java_processes(own_temporary_directory)
    os.kill(pid, signal.SIGKILL)
    assert "node 1" in wait_until_said(broker_command, "gatejoin:")
    assert broker_command.wait(WAIT_S_MAX) == 1
    assert_nothing_left(own_temporary_directory, [])


def test_environment_names_another_broker(kafka, own_temporary_directory, monkeypatch):
    """Goal: GATEJOIN_BROKER. Method: the session's broker, nonsense, and nobody's port."""
    monkeypatch.setenv("GATEJOIN_BROKER", kafka)
    with local_kafka.broker_from_environment_or_local() as servers:
        assert servers == kafka
    monkeypatch.setattr(local_kafka, "NAMED_BROKER_WAIT_S_MAX", 0.1)
    for named, words in {
        "somewhere": "is not host:port",
        f"{local_kafka.LOOPBACK}:{local_kafka.ports_choose(1)[0]}": "does not answer",
    }.items():
        monkeypatch.setenv("GATEJOIN_BROKER", named)
        with (
            pytest.raises(LocalKafkaError, match=words),
            local_kafka.broker_from_environment_or_local(),
        ):
            pytest.fail("no broker should have been had")
    assert_nothing_left(own_temporary_directory, [])
