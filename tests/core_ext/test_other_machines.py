"""The core's headers give the same answers on every path, from gcc and clang, on x86-64 and arm64.

Goal: no result depends on the processor or the compiler. Method: portable_harness.c packs, indexes,
encodes, decodes and replays a generated log, and prints a hash of the answers of each part; it is
compiled three ways, and the one for arm64 runs under qemu.
"""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from random import Random

import pytest

from core_ext import container_number
from tests.reference.generate import history

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["numbers", "index", "batches", "replay"]
SWITCHES = [
    *("-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"),
    f"-I{ROOT / 'core_ext'}",
]
ARM64 = "aarch64-linux-gnu-gcc"


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "history.ndjson"
    path.write_text("\n".join(history(Random("other machines"), 600)) + "\n", encoding="utf-8")
    return path


def answers(command: list[str], log: Path, path: str) -> list[str]:
    ran = subprocess.run(
        [*command, str(log)],
        env={**os.environ, "GATEJOIN_SIMD": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def compiled(directory: Path, compiler: str, *more: str) -> str:
    program = directory / "harness"
    source = Path(__file__).with_name("portable_harness.c")
    # gcc takes arrays that are filled to a length kept elsewhere for unfilled ones.
    quiet = [] if compiler == "clang" else ["-Wno-maybe-uninitialized"]
    subprocess.run(
        [compiler, *SWITCHES, *quiet, *more, str(source), "-o", str(program)], check=True
    )
    return str(program)


@pytest.fixture(scope="module")
def expected(log, tmp_path_factory):
    """The answers of the portable path, by gcc, on this machine."""
    said = answers([compiled(tmp_path_factory.mktemp("gcc"), "gcc")], log, "portable")
    assert [line.split()[0] for line in said] == PARTS
    assert len({line.split()[1] for line in said}) == len(PARTS)
    return said


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_every_path_of_this_machine(compiler, expected, log, tmp_path):
    program = compiled(tmp_path, compiler)
    for path in container_number.available_simd_paths():
        assert answers([program], log, path) == expected, path


def test_arm64(expected, log, tmp_path):
    program = compiled(tmp_path, ARM64, "-static")
    command = [program] if platform.machine() == "aarch64" else ["qemu-aarch64", program]
    assert answers(command, log, "") == expected
