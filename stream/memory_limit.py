"""How much memory this process may use before something kills it.

What it is: the least of the limits of its control group (version 2 or 1) and the machine's memory.
Who calls it: ``stream.metrics``, whenever Prometheus asks, since limits can be changed.
What it must never know: how much is used.
"""

from __future__ import annotations

from pathlib import Path

# A limit is "max", or a number near 2^63, where there is none.


def memory_limit_bytes(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> int:
    """The limit in bytes; 0 where the system tells none."""
    limits = [_machine_bytes(proc)]
    for path in _limit_files(sys / "fs/cgroup", proc):
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min((limit for limit in limits if limit > 0), default=0)


def _limit_files(groups: Path, proc: Path) -> list[Path]:
    """Where limits may be told: of the group that the process is in, if it can be seen from here,
    and of the topmost one, which inside a container is the container's."""
    names = [""]
    try:
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                names.append(name.strip("/"))
    except (OSError, ValueError):
        pass
    return [
        path
        for name in dict.fromkeys(names)
        for path in (
            groups / name / "memory.max",
            groups / "memory" / name / "memory.limit_in_bytes",
        )
    ]


def _machine_bytes(proc: Path) -> int:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
