"""How much memory this process may use before something kills it.

What it is: the least of the limits of its control group (version 2 or 1) and the machine's memory.
Who calls it: ``stream.metrics``, whenever Prometheus asks, since limits can be changed.
What it must never know: how much is used.
"""

from __future__ import annotations

from pathlib import Path

#: One of these holds the limit of the container; "max", or a number near 2^63, is none.
CONTROL_GROUP_FILES = ("fs/cgroup/memory.max", "fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit_bytes(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> int:
    """The limit in bytes; 0 where the system tells none."""
    limits = [_machine_bytes(proc)]
    for name in CONTROL_GROUP_FILES:
        try:
            text = (sys / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min((limit for limit in limits if limit > 0), default=0)


def _machine_bytes(proc: Path) -> int:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
