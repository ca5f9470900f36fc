"""``gatejoin broker``: a local Apache Kafka for a person to play with, until Ctrl-C.

Called by stream/cli.py, which hands over its argument parser and gets back an exit status. It must
never know how a broker is started or cleaned away: that is stream/local_kafka.py.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from stream.local_kafka import KAFKA_VERSION, LocalKafka, LocalKafkaError

# Where Kafka's own clients, and the other commands here, look unless they are told otherwise.
PORT_DEFAULT = 9092
# How soon a broker that ended by itself is noticed.
CHECK_INTERVAL_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    parser.add_argument(
        "--nodes",
        type=int,
        choices=(1, 3),
        default=1,
        help="how many nodes; three survive the loss of any one (default: 1)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=PORT_DEFAULT,
        metavar="N",
        help="port of the first node, the others follow it; 0: any free port"
        f" (default: {PORT_DEFAULT})",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="keep the topics in DIR, and go on with what is there (default: a directory that is"
        " thrown away at the end)",
    )
    parser.add_argument(
        "--heap-mb",
        type=int,
        default=1024,
        metavar="MB",
        help="heap of each node, megabytes (default: 1024)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run brokers until Ctrl-C or SIGTERM (status 0), or until one ends by itself (status 1)."""
    # SIGTERM then takes the same way out as Ctrl-C, also in the middle of a start.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        kafka = LocalKafka(
            arguments.nodes,
            heap_mb=arguments.heap_mb,
            data_dir=arguments.data_dir,
            port=arguments.port,
        )
        serve(kafka)
    except LocalKafkaError as error:
        sys.stderr.write(f"gatejoin: {error}\n")
        return 1
    except KeyboardInterrupt:
        say("Stopped.")
    return 0


def serve(kafka: LocalKafka) -> None:
    """Start ``kafka``, say where it is and watch it until KeyboardInterrupt; then stop it."""
    try:
        say(f"Starting Apache Kafka {KAFKA_VERSION}, {kafka.node_count} node(s) ...")
        kafka.start()
        say(f"Apache Kafka is ready at {kafka.bootstrap_servers}")
        say(f"Use it elsewhere with: export GATEJOIN_BROKER={kafka.bootstrap_servers}")
        for number, pid in kafka.pids.items():
            say(f"Node {number} is process {pid}, its data in {kafka.nodes[number].directory}")
        say("Ctrl-C stops it." if kafka.data_dir else "Ctrl-C stops it and removes its data.")
        pause = threading.Event()
        while True:
            kafka.check()
            pause.wait(CHECK_INTERVAL_S)
    finally:
        # Stopping is bounded in time; a second Ctrl-C would only leave it half done.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kafka.stop()


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
