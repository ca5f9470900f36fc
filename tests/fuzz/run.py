"""Build and run the fuzz targets of this directory: clang's libFuzzer, ASan, UBSan, LeakSanitizer.

Called by ``make fuzz`` and by test_fuzz_bounded.py. It must never know what a target tests.

``python -m tests.fuzz.run [--seconds N] [--jobs N] [TARGET ...]`` runs each target N seconds from
the committed seeds and what earlier runs found out (build/fuzz/corpus). An input that breaks a
target is kept in build/fuzz/ and printed by libFuzzer in base64; once it is understood, commit it
as corpus/TARGET/found-WHAT, so that every later run begins with it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "build" / "fuzz"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))
COMPILER = os.environ.get("GATEJOIN_CLANG", "clang")
SWITCHES = [
    *("-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"),
    "-Wno-unused-function",  # a target uses a part of what the headers define
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=all",
]
# A single input may take so long, a hundred times what the slowest does.
INPUT_SECONDS = 10


@dataclass(frozen=True)
class Outcome:
    """What came of one target; ``said`` is all that it wrote."""

    target: str
    good: bool
    runs: int
    said: str


def build(target: str) -> Path:
    """Compile a target if it or any header is newer than what is there."""
    program = BUILT / target
    sources = [HERE / f"fuzz_{target}.c", *HERE.glob("*.h"), *(ROOT / "core_ext").glob("*.h")]
    newest = max(path.stat().st_mtime for path in sources)
    if not program.exists() or program.stat().st_mtime < newest:
        BUILT.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(f".{os.getpid()}")
        ran = subprocess.run(
            [COMPILER, *SWITCHES, f"-I{ROOT / 'core_ext'}", str(sources[0]), "-o", str(unfinished)],
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"fuzz target {target} does not compile:\n{ran.stderr}")
        unfinished.rename(program)
    return program


def run(target: str, seconds: int) -> Outcome:
    """Run a target from the committed and the found corpus."""
    program = build(target)
    found = BUILT / "corpus" / target
    found.mkdir(parents=True, exist_ok=True)
    ran = subprocess.run(
        [
            str(program),
            f"-max_total_time={seconds}",
            f"-timeout={INPUT_SECONDS}",
            "-print_final_stats=1",
            "-verbosity=1",
            f"-dict={HERE / 'words.dict'}",
            f"-artifact_prefix={BUILT / target}-",
            str(found),
            str(HERE / "corpus" / target),
        ],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=ROOT,
    )
    runs = 0
    for line in ran.stderr.splitlines():
        if line.startswith("stat::number_of_executed_units:"):
            runs = int(line.split()[1])
    return Outcome(target, ran.returncode == 0, runs, ran.stdout + ran.stderr)


def main() -> None:
    """Run what the command line names; ends with status 1 if a target broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    for target in arguments.targets:
        if target not in TARGETS:
            parser.error(f"{target} is none of {', '.join(TARGETS)}")
    broke = False
    with ThreadPoolExecutor(arguments.jobs) as pool:
        targets = arguments.targets or TARGETS
        for outcome in pool.map(lambda target: run(target, arguments.seconds), targets):
            print(
                f"{outcome.target}: {outcome.runs:,} inputs, {'good' if outcome.good else 'BROKE'}"
            )
            if not outcome.good:
                print(outcome.said[-6000:])
                broke = True
    sys.exit(broke)


if __name__ == "__main__":
    main()
