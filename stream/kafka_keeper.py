"""Keeper of a local Kafka: a small process that cleans up when the process that started it is gone.

Started as a script by stream/local_kafka.py, one for each cluster; never imported. It reads lines
from its standard input, a pipe of which the owner holds the other end:

    pid 4711           a broker to kill
    directory /a/path  a directory to remove
    end                the owner is done

At ``end``, when the pipe closes or when the owner dies, whichever comes first and for whatever
reason (``kill -9`` included), it kills the brokers, waits for their end and removes the
directories. That is the only clean-up there is, so every ordinary stop exercises it too.

It must never know more than process ids and directories, and imports little to start fast.
"""

import os
import select
import shutil
import signal
import sys

# A killed JVM hands back its memory before it is gone; a gigabyte takes well under a second.
DEATH_WAIT_MS_MAX = 20_000
LINE_BYTES_MAX = 8_192


def main() -> int:
    """Serve one owner, whose process id is the only argument; 0 when nothing was left behind."""
    # An owner that is gone already closed the pipe as well, which is noticed below.
    try:
        owner = os.pidfd_open(int(sys.argv[1]))
    except ProcessLookupError:
        owner = -1
    brokers: list[int] = []
    directories: list[str] = []
    poll = select.poll()
    poll.register(0, select.POLLIN)
    if owner >= 0:
        poll.register(owner, select.POLLIN)
    pending = b""
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if 0 in ready:
            received = os.read(0, LINE_BYTES_MAX)
            pending += received
            *lines, pending = pending.split(b"\n")
            for line in lines:
                word, _, value = os.fsdecode(line).partition(" ")
                if word == "end":
                    return end(brokers, directories)
                if word == "directory":
                    directories.append(value)
                elif word == "pid":
                    try:
                        brokers.append(os.pidfd_open(int(value)))
                    except ProcessLookupError:
                        continue
            if not received:
                return end(brokers, directories)
        elif owner in ready:
            return end(brokers, directories)


def end(brokers: list[int], directories: list[str]) -> int:
    """Kill, wait and remove; the exit status, 0 when nothing was left behind."""
    return 0 if bury(brokers) and remove(directories) else 1


def bury(brokers: list[int]) -> bool:
    """Kill the processes behind these process descriptors and wait until each has ended."""
    all_ended = True
    for broker in brokers:
        try:
            signal.pidfd_send_signal(broker, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for broker in brokers:
        end = select.poll()
        end.register(broker, select.POLLIN)
        all_ended = bool(end.poll(DEATH_WAIT_MS_MAX)) and all_ended
    return all_ended


def remove(directories: list[str]) -> bool:
    """Remove the directories with all they hold; whether they are gone."""
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
    return not any(os.path.lexists(directory) for directory in directories)


if __name__ == "__main__":
    sys.exit(main())
