"""An engine as a process: started, told to go, watched through /proc, stopped.

What it is: the process and what it costs, processor time and memory of it and its children.
Who calls it: the harness.
What it must never know: what the engine does.

The protocol between the harness and a program is two lines: the program prints ``ready`` when its
table is in memory, and starts to read Kafka when a line comes on its standard input. What it is to
do it finds in its environment (see ``peers/README.md``). SIGTERM ends it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

READY = b"ready"
READY_S_MAX = 900.0
STOP_S_MAX = 20.0
LOG_TAIL_BYTES = 2000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LOOK_S = 0.5


class EngineError(RuntimeError):
    """A program did not start, or ended by itself; the message has its last words."""


def children_of(pid: int) -> list[int]:
    """A process and all that it started, directly or not, that still run."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{one}/task").iterdir():
                with contextlib.suppress(OSError):
                    waiting += map(int, (thread / "children").read_text().split())
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """Processor time of processes so far, user and system, their ended children included."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND


def thread_seconds(pids: Sequence[int]) -> dict[int, float]:
    """Processor time of each thread of processes so far, by thread id."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    fields = (thread / "stat").read_text().rpartition(")")[2].split()
                    found[int(thread.name)] = sum(map(int, fields[11:13])) / TICKS_PER_SECOND
    return found


def peak_bytes(pids: Sequence[int]) -> int:
    """The most memory each process ever had resident, added up."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) * 1024
    return total


class Measured:
    """Processes that are one engine, seen through /proc."""

    @property
    def pids(self) -> list[int]:
        """The processes and all that they started."""
        raise NotImplementedError

    def cpu_seconds(self) -> float:
        """Processor time of all of it so far."""
        return cpu_seconds(self.pids)

    def thread_seconds(self) -> dict[int, float]:
        """Processor time of each thread so far."""
        return thread_seconds(self.pids)

    def peak_bytes(self) -> int:
        """The most memory that was resident."""
        return peak_bytes(self.pids)


class Engine(Measured):
    """Processes that do the job together.

    Args:
        commands: a program each, with its arguments.
        environment: what each gets beside this process's own environment.
        log: where they write what is not meant for the harness.
        waits: whether they keep to the protocol; else they go when they are started.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        environments: Sequence[Mapping[str, str]],
        log: Path,
        *,
        waits: bool = True,
        directory: Path | None = None,
    ) -> None:
        self._commands = commands
        self._environments = environments
        self._log = log
        self._waits = waits
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self.ready_s = 0.0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        started = time.monotonic()
        for command, environment in zip(self._commands, self._environments, strict=True):
            with self._log.open("ab") as log:
                self._processes.append(
                    subprocess.Popen(
                        list(command),
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE if self._waits else log,
                        stderr=log,
                        env={**os.environ, **environment},
                        cwd=self._directory,
                        start_new_session=True,
                    )
                )
        if self._waits:
            for process in self._processes:
                self._wait_ready(process, started + READY_S_MAX)
        self.ready_s = time.monotonic() - started

    def _wait_ready(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        assert process.stdout is not None
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while READY not in said.splitlines():
                if selector.select(LOOK_S):
                    said += (part := os.read(process.stdout.fileno(), 4096))
                    if not part:
                        raise EngineError(f"it ended before it was ready; {self.last_words()}")
                elif time.monotonic() > deadline:
                    raise EngineError(f"not ready after {READY_S_MAX:.0f} s; {self.last_words()}")

    def go(self) -> None:
        """Tells the programs to start reading."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()

    @property
    def pids(self) -> list[int]:
        """The processes and all that they started."""
        return [pid for process in self._processes for pid in children_of(process.pid)]

    def check(self) -> None:
        """Raises EngineError if a program has ended."""
        for process in self._processes:
            if process.poll() is not None:
                raise EngineError(f"it ended with status {process.poll()}; {self.last_words()}")

    def last_words(self) -> str:
        """The end of what the programs wrote."""
        with contextlib.suppress(OSError):
            said = self._log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
            return "it said last: " + " | ".join(said.split("\n")[-12:])
        return "it said nothing"

    def stop(self) -> None:
        """Ends the programs by their process ids, and waits until they are gone."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_S_MAX
        for process in self._processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        self._processes = []
