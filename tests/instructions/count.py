"""Count the instructions of the core's hot loops, and record them: ``make instructions``.

Called by test_instructions.py, which holds the counts against recorded.toml. It must never know
what a loop does: loops.c does.

Instructions are counted by valgrind's callgrind, so they are the same on any machine that runs the
same code with the same compiler. It knows AVX2 and nothing later, so these are the paths counted.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORDED = HERE / "recorded.toml"
PATHS = ("portable", "avx2")  # numbers of simd_path.h
LOOPS = (
    *("probe-numbers", "probe-keys", "probe-names", "insert-keys", "insert-names"),
    *("scan-port-events", "encode-batch", "decode-batch", "apply-log"),
    *("load-declarations", "restore-units", "hot-lot-1000", "hot-lot-8000"),
)
COMPILER = "gcc"
# What setup.py compiles the core with.
SWITCHES = ["-std=c11", "-D_GNU_SOURCE", "-O3", "-g1", "-fno-strict-aliasing"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]
PATH_MISSING = 3
# The C library chooses by the size of the machine's caches how it copies; here it must not.
TUNABLES = "glibc.cpu.x86_non_temporal_threshold=786432:glibc.cpu.x86_rep_movsb_threshold=2048"

Counts = dict[str, dict[str, float]]


def compiler_version() -> str:
    """The compiler's name and version, as the record names it."""
    said = subprocess.run(
        [COMPILER, "-dumpfullversion"], check=True, capture_output=True, text=True
    ).stdout
    return f"{COMPILER} {said.strip()} {platform.machine()}"


def count(program: Path, loop: str, path: str) -> float | None:
    """Instructions per item of one loop on one path; None if the machine lacks the path."""
    with tempfile.NamedTemporaryFile(prefix="callgrind.") as report:
        ran = subprocess.run(
            [
                *("valgrind", "--quiet", "--tool=callgrind", "--collect-atstart=no"),
                *("--toggle-collect=measured", f"--callgrind-out-file={report.name}"),
                *(str(program), loop, str(PATHS.index(path))),
            ],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], "GLIBC_TUNABLES": TUNABLES},
        )
        if ran.returncode == PATH_MISSING:
            return None
        if ran.returncode:
            raise RuntimeError(f"{loop} on {path}: {ran.stderr}")
        lines = Path(report.name).read_text(encoding="utf-8").splitlines()
    total = next(int(line.split()[1]) for line in lines if line.startswith("totals:"))
    return round(total / int(ran.stdout.split()[0]), 1)


def count_all(directory: Path) -> Counts:
    """Compile loops.c in a directory and count every loop on every path that is there."""
    program = directory / "loops"
    subprocess.run(
        [
            *(COMPILER, *SWITCHES, *WARNINGS, f"-I{ROOT / 'core_ext'}"),
            *(str(HERE / "loops.c"), "-o", str(program)),
        ],
        check=True,
    )
    counts: Counts = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pairs = list(product(LOOPS, PATHS))
        found = pool.map(lambda pair: count(program, *pair), pairs)
        for (loop, path), figure in zip(pairs, found, strict=True):
            if figure is not None:
                counts.setdefault(loop, {})[path] = figure
    return counts


def recorded() -> tuple[str, Counts]:
    """The compiler that was used, and the counts."""
    read = tomllib.loads(RECORDED.read_text(encoding="utf-8"))
    return read.pop("compiler"), read["loops"]


def main() -> None:
    """Count everything and write recorded.toml; says what changed."""
    with tempfile.TemporaryDirectory() as directory:
        counts = count_all(Path(directory))
    before = recorded()[1] if RECORDED.exists() else {}
    lines = [
        "# Instructions per item of the core's hot loops; written by make instructions, held by",
        "# test_instructions.py. Items: units, events, records, log lines.",
        f'compiler = "{compiler_version()}"',
        "",
        "[loops]",
    ]
    for loop, by_path in counts.items():
        figures = ", ".join(f"{path} = {figure}" for path, figure in by_path.items())
        lines.append(f"{loop} = {{ {figures} }}")
        for path, figure in by_path.items():
            was = before.get(loop, {}).get(path)
            change = "new" if was is None else f"{figure / was - 1:+.1%}"
            print(f"{loop:18} {path:9} {figure:10.1f}  {change}")
    RECORDED.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
