"""A local Apache Kafka: one broker, or three, from Kafka's own jars, on the loopback interface.

Called by ``gatejoin broker``, the demo, the benchmarks and the tests. Kafka is never imitated: this
starts the real thing (KRaft, every node both broker and controller), waits until every node knows
every other, and takes it away again. Whatever happens to the process that started it, no process,
port or throw-away directory stays behind: stream/kafka_keeper.py sees to that.

It must never know topics, records or anything else of what the broker is used for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

KAFKA_VERSION = "4.3.1"
JAVA_VERSION_MIN = 17
LOOPBACK = "127.0.0.1"

# A broker is up in 3 to 5 seconds; 70 were seen on two cores with twenty programs. One that ends
# is told at once; what waits above is a person looking at a broker that will never come.
START_WAIT_S_MAX = 180.0
# A clean stop of a node closes its logs. Below 10 large logs are checked at the next start.
STOP_WAIT_S_MAX = 30.0
# A broker that somebody named either answers or does not; a starting one may take a while.
NAMED_BROKER_WAIT_S_MAX = 15.0
# How often a condition is looked at. A look costs a fraction of a millisecond.
POLL_INTERVAL_S = 0.05
# Another program may take a port between our choosing it and the broker's binding it.
PORT_ATTEMPTS_MAX = 5
# Below 128 MB a broker starts and then fails under the first large fetch.
HEAP_MB_MIN = 128
HEAP_MB_MAX = 65_536
# Kafka fails in obscure ways on a full disk, so it is not even tried.
FREE_BYTES_MIN = 256 << 20
LOG_TAIL_LINES = 15
LOG_TAIL_BYTES_MAX = 65_536
# Blank lines, and those of a Java stack trace that only say where.
LOG_NOISE = re.compile(r"\s*$|\s+(at |\.\.\. \d+ more)")
# One run of decisions is sent as one request; 16 MB holds the largest with room to spare.
MESSAGE_BYTES_MAX = 16 << 20
LONG_MAX = 2**63 - 1

KEEPER = Path(__file__).with_name("kafka_keeper.py")

LOG4J = """\
# Written by stream/local_kafka.py: warnings and errors only, two files of ten megabytes at most.
status = error
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
# Nodes that start together look for each other many times a second.
logger.network.name = org.apache.kafka.clients.NetworkClient
logger.network.level = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {directory}/broker.log
appender.file.filePattern = {directory}/broker.log.1
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 1
"""


class LocalKafkaError(RuntimeError):
    """A local Kafka cannot be had; the message names what is wrong, where, and the remedy."""


class PortTakenError(LocalKafkaError):
    """A port that a broker was to listen on belongs to another program."""


@dataclass
class Node:
    """One Kafka process, broker and controller in one; ``number`` is its node id, from 1."""

    number: int
    directory: Path
    port: int
    controller_port: int
    process: subprocess.Popen[bytes] | None = None
    listener_ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``host:port`` of the broker's listener."""
        return f"{LOOPBACK}:{self.port}"

    def log_tail(self) -> str:
        """Return the last lines of what the node and its JVM wrote, without stack traces."""
        lines: list[str] = []
        for name in ("broker.log", "jvm.log"):
            with contextlib.suppress(OSError), (self.directory / name).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES_MAX))
                written = log.read().decode(errors="replace")
                lines += [line for line in written.splitlines() if not LOG_NOISE.match(line)]
        return "\n".join(lines[-LOG_TAIL_LINES:])


class LocalKafka:
    """A Kafka cluster of one or three nodes, as a context manager or by ``start`` and ``stop``.

    Args:
        nodes: 1, or 3 for fault tests; nodes are numbered from 1.
        heap_mb: heap of each node's JVM, megabytes.
        is_short_lived: the JVMs compile once and simply, which halves the processor time of a
            start (10 s to 5.5 s measured) and makes them slower at full load: for tests.
        data_dir: where the nodes keep their logs. ``None``: a throw-away directory, gone after
            ``stop``. A directory that is given stays, and a later start goes on with what is there.
        port: of the first broker, the others follow it; 0: any free ports.
        properties: server properties, on top of (and stronger than) the ones of this module.
        listeners: further listeners of each node, name to security protocol (``{"SCRAM":
            "SASL_SSL"}``), on free ports; what they need is said in ``properties``.
        format_options: further arguments of Kafka's storage tool, such as ``--add-scram=...``.

    Raises:
        LocalKafkaError: from ``start`` and from anything that waits for a node.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        heap_mb: int = 1024,
        is_short_lived: bool = False,
        data_dir: Path | str | None = None,
        port: int = 0,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        if nodes not in (1, 3):
            raise LocalKafkaError(f"a local Kafka has 1 or 3 nodes, not {nodes}")
        if not HEAP_MB_MIN <= heap_mb <= HEAP_MB_MAX:
            raise LocalKafkaError(
                f"the heap of a broker must be {HEAP_MB_MIN} to {HEAP_MB_MAX} MB, not {heap_mb}"
            )
        if not 0 <= port <= 65_535 - nodes:
            raise LocalKafkaError(f"port must be 0 to {65_535 - nodes}, not {port}")
        for key, value in (properties or {}).items():
            if not re.fullmatch(r"[a-z0-9.-]+", key) or not re.fullmatch(r"[^\r\n\\]*", value):
                raise LocalKafkaError(f"server property {key!r}={value!r} is not one line of text")
        if data_dir is not None and "," in str(Path(data_dir).resolve()):
            raise LocalKafkaError(
                f"Kafka cannot keep data in {data_dir}: it takes a comma for a list of"
                " directories; name another directory"
            )
        self.node_count = nodes
        self.heap_mb = heap_mb
        self.is_short_lived = is_short_lived
        self.data_dir = Path(data_dir).resolve() if data_dir is not None else None
        self.port = port
        self.properties = dict(properties or {})
        self.listeners = dict(listeners or {})
        self.format_options = list(format_options)
        self.directory: Path | None = None
        self.nodes: dict[int, Node] = {}
        self._keeper: subprocess.Popen[bytes] | None = None
        self._java = ""
        self._class_path = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` of every node, separated by commas."""
        return ",".join(node.address for node in self.nodes.values())

    def listener(self, name: str) -> str:
        """``host:port`` of that listener of every node, separated by commas."""
        return ",".join(f"{LOOPBACK}:{node.listener_ports[name]}" for node in self.nodes.values())

    @property
    def pids(self) -> dict[int, int]:
        """Process id by node number, of the nodes that run (paused ones included)."""
        return {
            number: node.process.pid
            for number, node in self.nodes.items()
            if node.process is not None and node.process.poll() is None
        }

    def start(self) -> None:
        """Start all nodes; on return every node knows every other and serves requests."""
        if self._keeper is not None:
            raise LocalKafkaError("this local Kafka runs already")
        self._java = java_find()
        self._class_path = f"{kafka_jars()}/*"
        for attempts_left in reversed(range(PORT_ATTEMPTS_MAX)):
            try:
                self._start_once()
                return
            except PortTakenError:
                self.stop()
                if self.port or not attempts_left:
                    raise
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Stop all nodes and remove a throw-away directory; nothing to do if none runs."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        try:
            if self.data_dir is not None:
                self._terminate(self.nodes.values())
        finally:
            # A throw-away log needs no closing, so the keeper's SIGKILL is all that it gets.
            assert keeper.stdin is not None
            with contextlib.suppress(BrokenPipeError), keeper.stdin:
                keeper.stdin.write(b"end\n")
            status = keeper.wait()
            for node in self.nodes.values():
                if node.process is not None:
                    node.process.wait()
                    node.process = None
            self.nodes = {}
        if status:
            raise LocalKafkaError(
                f"the local Kafka in {self.directory} was not wholly removed; look for its java"
                " processes and remove the directory by hand"
            )

    def kill(self, number: int) -> None:
        """Kill node ``number`` as ``kill -9`` does, and wait until it is gone."""
        self._running(number).kill()
        self._running(number).wait()

    def stop_node(self, number: int) -> None:
        """Stop node ``number`` in good order: it hands its partitions to the others first."""
        self._running(number)
        self._terminate([self.nodes[number]])

    def restart(self, number: int) -> None:
        """Start node ``number`` again where it left off; on return it is part of the cluster."""
        node = self._node(number)
        if number in self.pids:
            self.stop_node(number)
        self._launch(node)
        self._wait_ready([node])

    def pause(self, number: int) -> None:
        """Freeze node ``number``: its connections stay open and nobody answers."""
        self._running(number).send_signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Let node ``number`` go on after ``pause``."""
        self._running(number).send_signal(signal.SIGCONT)

    def adopt(self, pid: int) -> None:
        """Have process ``pid`` killed when this Kafka stops, or when whoever started it dies."""
        self._tell_keeper(f"pid {pid}")

    def check(self) -> None:
        """Raise LocalKafkaError if a node has ended by itself."""
        for node in self.nodes.values():
            self._check_alive(node)

    def _node(self, number: int) -> Node:
        if number not in self.nodes:
            raise LocalKafkaError(f"there is no node {number} in this local Kafka")
        return self.nodes[number]

    def _running(self, number: int) -> subprocess.Popen[bytes]:
        process = self._node(number).process
        if process is None:
            raise LocalKafkaError(f"node {number} of the local Kafka was never started")
        return process

    def _start_once(self) -> None:
        if self.data_dir is None:
            with refusals_named(Path(tempfile.gettempdir())):
                self.directory = Path(tempfile.mkdtemp(prefix="gatejoin-kafka-"))
        else:
            self.directory = self.data_dir
            make_directory(self.directory)
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            # Ctrl-C in a terminal reaches the whole foreground group; the keeper has to outlive it.
            start_new_session=True,
        )
        if self.data_dir is None:
            self._tell_keeper(f"directory {self.directory}")
        free_bytes = shutil.disk_usage(self.directory).free
        if free_bytes < FREE_BYTES_MIN:
            raise LocalKafkaError(
                f"the disk is full: {self.directory} has {free_bytes >> 20} MB left and a broker"
                f" needs {FREE_BYTES_MIN >> 20}; make room, or choose another place (TMPDIR,"
                " --data-dir)"
            )
        numbers = range(1, self.node_count + 1)
        broker_ports = [self.port + number - 1 for number in numbers] if self.port else []
        for port in broker_ports:
            check_port_free(port)
        free_ports = ports_choose((2 + len(self.listeners)) * self.node_count)
        for number in numbers:
            self.nodes[number] = Node(
                number,
                self.directory / f"node-{number}",
                broker_ports[number - 1] if broker_ports else free_ports[number - 1],
                free_ports[self.node_count + number - 1],
                listener_ports={
                    name: free_ports[(2 + index) * self.node_count + number - 1]
                    for index, name in enumerate(self.listeners)
                },
            )
        self._format()
        for node in self.nodes.values():
            self._launch(node)
        self._wait_ready(list(self.nodes.values()))

    def _format(self) -> None:
        """Write each node's settings, and its storage unless it has some."""
        assert self.directory is not None
        present = sorted(self.directory.glob("node-*/data/meta.properties"))
        wanted = [node.directory / "data" / "meta.properties" for node in self.nodes.values()]
        if present and present != wanted:
            raise LocalKafkaError(
                f"{self.directory} holds the data of {len(present)} node(s), not of"
                f" {self.node_count}; start as many, or name another directory"
            )
        for node in self.nodes.values():
            make_directory(node.directory / "tmp")
            settings = {
                "server.properties": self._server_properties(node),
                "log4j2.properties": LOG4J.format(directory=node.directory),
            }
            for name, text in settings.items():
                with refusals_named(node.directory / name):
                    # Java reads these files as Latin-1 with escapes, whatever the path is called.
                    (node.directory / name).write_text(java_escaped(text), encoding="ascii")
        if present:
            return
        cluster_id = cluster_id_make()
        tools = [
            (
                node,
                self._run_java(
                    node,
                    ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m"],
                    [
                        "kafka.tools.StorageTool",
                        "format",
                        f"--cluster-id={cluster_id}",
                        f"--config={node.directory / 'server.properties'}",
                        *self.format_options,
                    ],
                ),
            )
            for node in self.nodes.values()
        ]
        for node, tool in tools:
            try:
                status = tool.wait(START_WAIT_S_MAX)
            except subprocess.TimeoutExpired:
                raise LocalKafkaError(
                    f"formatting the storage of node {node.number} took more than"
                    f" {START_WAIT_S_MAX:.0f} s; its last lines:\n{node.log_tail()}"
                ) from None
            if status:
                raise LocalKafkaError(
                    f"the storage of node {node.number} in {node.directory} could not be"
                    f" formatted; its last lines:\n{node.log_tail()}"
                )
            # What the tool said is of no use to whoever reads the log of the broker.
            (node.directory / "jvm.log").unlink()

    def _server_properties(self, node: Node) -> str:
        voters = ",".join(
            f"{voter.number}@{LOOPBACK}:{voter.controller_port}" for voter in self.nodes.values()
        )
        listeners = ",".join(
            f"{name}://{LOOPBACK}:{port}"
            for name, port in {"PLAINTEXT": node.port, **node.listener_ports}.items()
        )
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **self.listeners}
        copies = str(self.node_count)
        # With three nodes an acknowledged record survives the loss of any one.
        copies_min = "2" if self.node_count == 3 else "1"
        properties = {
            "node.id": str(node.number),
            "process.roles": "broker,controller",
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"{listeners},CONTROLLER://{LOOPBACK}:{node.controller_port}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in protocols.items()
            ),
            "log.dirs": str(node.directory / "data"),
            "default.replication.factor": copies,
            "min.insync.replicas": copies_min,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": copies_min,
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": copies_min,
            "share.coordinator.state.topic.num.partitions": "1",
            # One worker is the whole group here; waiting for others to join only costs time.
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
            "message.max.bytes": str(MESSAGE_BYTES_MAX),
            "replica.fetch.max.bytes": str(MESSAGE_BYTES_MAX),
            # History is sent with its own dates, and a test may send the future.
            "log.message.timestamp.before.max.ms": str(LONG_MAX),
            "log.message.timestamp.after.max.ms": str(LONG_MAX),
            "num.network.threads": "2",
            "num.io.threads": "4",
            "background.threads": "2",
            "socket.send.buffer.bytes": str(1 << 20),
            "socket.receive.buffer.bytes": str(1 << 20),
            # The default is an eighth of our whole heap.
            "log.cleaner.dedupe.buffer.size": str(32 << 20),
        } | self.properties
        return "".join(f"{key}={value}\n" for key, value in properties.items())

    def _launch(self, node: Node) -> None:
        node.process = self._run_java(
            node,
            [
                f"-Xms{min(256, self.heap_mb)}m",
                f"-Xmx{self.heap_mb}m",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
                "-XX:+ExplicitGCInvokesConcurrent",
                "-XX:+ExitOnOutOfMemoryError",
                *(["-XX:TieredStopAtLevel=1"] if self.is_short_lived else []),
            ],
            ["kafka.Kafka", str(node.directory / "server.properties")],
        )

    def _run_java(
        self, node: Node, options: list[str], program: list[str]
    ) -> subprocess.Popen[bytes]:
        """Start a JVM with Kafka's jars in the node's directory, known to the keeper."""
        with open_log(node.directory / "jvm.log") as log:
            process = subprocess.Popen(
                [
                    self._java,
                    *options,
                    "-Djava.awt.headless=true",
                    "-Djava.net.preferIPv4Stack=true",
                    # Compression libraries unpack themselves there; a killed JVM leaves them.
                    f"-Djava.io.tmpdir={node.directory / 'tmp'}",
                    "-XX:-UsePerfData",
                    f"-XX:ErrorFile={node.directory / 'jvm-crash.log'}",
                    f"-Dlog4j2.configurationFile={node.directory / 'log4j2.properties'}",
                    "-cp",
                    self._class_path,
                    *program,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=node.directory,
                # Without it Java cannot open a path with letters beyond ASCII.
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        self._tell_keeper(f"pid {process.pid}")
        return process

    def _tell_keeper(self, line: str) -> None:
        if self._keeper is None:
            raise LocalKafkaError("this local Kafka does not run")
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(os.fsencode(line) + b"\n")
        self._keeper.stdin.flush()

    def _wait_ready(self, nodes: list[Node]) -> None:
        """Wait until each of ``nodes`` answers and knows every node that runs."""

        def ready() -> bool:
            running = set(self.pids)
            for node in nodes:
                # A broker without its port takes five more seconds to give up.
                if "Address already in use" in node.log_tail():
                    raise PortTakenError(
                        f"port {node.port} or {node.controller_port} on {LOOPBACK} is taken by"
                        " another program; choose another port, or 0 for any free one"
                    )
                self._check_alive(node)
                assert node.process is not None
                # Another Kafka on a port that was lost would answer just as well.
                if not listens(node.process.pid, node.port):
                    return False
                if not running <= nodes_known_to(node.address):
                    return False
            return True

        if not wait_for(ready, START_WAIT_S_MAX):
            tails = "\n".join(node.log_tail() for node in nodes)
            raise LocalKafkaError(
                f"the local Kafka was not ready after {START_WAIT_S_MAX:.0f} s; its last lines:\n"
                f"{tails}"
            )

    def _check_alive(self, node: Node) -> None:
        status = node.process.poll() if node.process is not None else None
        if status is None:
            return
        tail = node.log_tail()
        cause = "the disk is full" if "No space left on device" in tail else f"status {status}"
        raise LocalKafkaError(
            f"node {node.number} of the local Kafka in {node.directory} ended ({cause}); its last"
            f" lines:\n{tail}"
        )

    def _terminate(self, nodes: Collection[Node]) -> None:
        """Ask nodes to close their logs and go, all at once; kill those that do not."""
        processes = [node.process for node in nodes if node.process is not None]
        for process in processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        deadline = time.monotonic() + STOP_WAIT_S_MAX
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def broker_from_environment_or_local(**local: Any) -> Iterator[str]:
    """Yield the bootstrap servers of ``GATEJOIN_BROKER``, or of a local Kafka made for the block.

    Args:
        local: arguments of LocalKafka, used only where the environment names no broker.

    Raises:
        LocalKafkaError: the broker named does not answer, or a local one cannot be had.
    """
    named = os.environ.get("GATEJOIN_BROKER", "").strip()
    if not named:
        with LocalKafka(**local) as kafka:
            yield kafka.bootstrap_servers
        return
    addresses = named.split(",")
    if not all(re.fullmatch(r"[^\s:/]+:\d{1,5}", address) for address in addresses):
        raise LocalKafkaError(
            f"GATEJOIN_BROKER={named!r} is not host:port, or several of them separated by commas"
        )
    if not wait_for(lambda: any(map(nodes_known_to, addresses)), NAMED_BROKER_WAIT_S_MAX):
        raise LocalKafkaError(
            f"the broker of GATEJOIN_BROKER={named} does not answer; start it, or unset the"
            " variable to use a local one"
        )
    yield named


def cache_directory() -> Path:
    """Where downloads are kept: ``GATEJOIN_CACHE``, or ``gatejoin`` in the user's cache."""
    if named := os.environ.get("GATEJOIN_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gatejoin"


def kafka_jars() -> Path:
    """Return the directory of Kafka's jars, which deploy/kafka/fetch.sh filled, found complete.

    Raises:
        LocalKafkaError: it is not there, or a jar is missing.
    """
    directory = cache_directory() / f"kafka-{KAFKA_VERSION}"
    try:
        checksums = (directory / "jars.sha256").read_text().splitlines()
    except OSError:
        checksums = []
    names = [line.split()[1] for line in checksums]
    missing = [name for name in names if not (directory / name).is_file()]
    if missing or not names:
        what = f"{missing[0]} is missing" if missing else "there are none"
        raise LocalKafkaError(
            f"Kafka's jars are not in {directory} ({what}); fetch them with make setup, or"
            " name another broker with GATEJOIN_BROKER"
        )
    return directory


def java_find() -> str:
    """Return the path of a Java that Kafka runs on: ``JAVA_HOME``'s, or the one on the PATH.

    Raises:
        LocalKafkaError: there is none, or it is too old.
    """
    remedy = f"install Java {JAVA_VERSION_MIN} or later (apt-get install default-jre-headless)"
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        where = f"in JAVA_HOME={home}" if home else "on the PATH"
        raise LocalKafkaError(f"there is no java {where}; {remedy}")
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalKafkaError(f"{java} does not run ({error}); {remedy}") from error
    version = re.search(r'version "(?:1\.)?(\d+)', said.stderr)
    if version is None or int(version[1]) < JAVA_VERSION_MIN:
        found = version[1] if version else "of no known version"
        raise LocalKafkaError(f"{java} is Java {found}; {remedy}")
    return java


def nodes_known_to(address: str) -> set[int]:
    """Return the ids of the brokers that the broker at ``host:port`` knows; empty: no answer."""
    host, _, port = address.rpartition(":")
    # aiokafka complains in the log about each failed attempt, a socket does not.
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return set()

    async def ask() -> set[int]:
        from aiokafka.client import AIOKafkaClient
        from aiokafka.errors import KafkaError

        client = AIOKafkaClient(bootstrap_servers=[address], request_timeout_ms=5_000)
        try:
            await client.bootstrap()
            return {broker.nodeId for broker in client.cluster.brokers()}
        except (KafkaError, OSError):
            return set()
        finally:
            await client.close()

    # The caller may itself be inside an event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, ask()).result()


def listens(pid: int, port: int) -> bool:
    """Whether process ``pid`` itself listens on TCP ``port`` (IPv4), as the system lists it."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A" and int(local.rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{inode}]")
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            # Descriptors come and go while they are looked at.
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) in inodes:
                    return True
    return False


def wait_for(condition: Callable[[], bool], wait_s_max: float) -> bool:
    """Look at ``condition`` until it holds; whether it did within ``wait_s_max`` seconds."""
    deadline = time.monotonic() + wait_s_max
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_INTERVAL_S)
    return True


def ports_choose(count: int) -> list[int]:
    """Return ``count`` different ports that were free on the loopback interface just now."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind((LOOPBACK, 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def check_port_free(port: int) -> None:
    """Raise PortTakenError if another program listens on ``port``, LocalKafkaError if forbidden."""
    with socket.socket() as listener:
        # As the broker itself does: connections of a past server do not make a port taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(
                    f"port {port} on {LOOPBACK} is taken by another program; choose another"
                    " port, or 0 for any free one"
                ) from error
            raise LocalKafkaError(
                f"port {port} on {LOOPBACK} cannot be used ({error.strerror}); choose another"
            ) from error


def cluster_id_make() -> str:
    """Return a random cluster id as Kafka writes them: 16 bytes, base64 for URLs, no padding."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode()).startswith("-"):
        pass
    return text


def java_escaped(text: str) -> str:
    """Return ``text`` as a Java properties file takes it: ASCII, the rest as UTF-16 escapes."""
    units = memoryview(text.encode("utf-16-be")).cast("B")
    codes = (units[index] << 8 | units[index + 1] for index in range(0, len(units), 2))
    return "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)


def make_directory(directory: Path) -> None:
    """Make a directory and its parents; LocalKafkaError where that is not possible."""
    with refusals_named(directory):
        directory.mkdir(parents=True, exist_ok=True)


def open_log(path: Path) -> BinaryIO:
    """Open a file for appending; LocalKafkaError where that is not possible."""
    with refusals_named(path):
        return path.open("ab")


@contextlib.contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Turn the system's refusal (rights, full disk) into an error that names ``path``."""
    try:
        yield
    except OSError as error:
        raise LocalKafkaError(
            f"{path} cannot be written ({error.strerror}); make room or rights there, or choose"
            " another place (TMPDIR, --data-dir)"
        ) from error
