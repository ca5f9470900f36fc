"""The core as its readers meet it: the examples of its README run, and the stubs tell the truth.

An example's line that ends in ``# -> value`` is evaluated and compared; arrays count as lists.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy

CORE = Path(__file__).resolve().parents[2] / "core_ext"
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def plain(value: Any) -> Any:
    if isinstance(value, numpy.ndarray):
        return value.tolist()
    return value


def test_examples_of_the_readme_run_and_say_what_it_says():
    names: dict[str, Any] = {}
    compared = 0
    for block in EXAMPLE.findall((CORE / "README.md").read_text(encoding="utf-8")):
        lines = block.splitlines()
        for statement in ast.parse(block).body:
            source = ast.get_source_segment(block, statement)
            assert source is not None
            expected = lines[statement.end_lineno - 1].partition("# -> ")[2]
            if not expected or not isinstance(statement, ast.Expr):
                exec(source, names)  # the README's own code
                continue
            found = plain(eval(source, names))
            assert found == ast.literal_eval(expected), source
            compared += 1
    assert compared > 10


def test_every_module_is_named_in_the_readme():
    text = (CORE / "README.md").read_text(encoding="utf-8")
    headers = [path.name for path in CORE.glob("*.h")]
    shown = [name for name in headers if f"`{name}`" in text]
    # Those that lay out memory which others rely on.
    wanted = {
        *("container_number.h", "slot_table.h", "unit_index.h", "unit_index_batch.h", "units.h"),
        *("customs_tables.h", "unit_events.h", "memory.h", "clearance_join.h", "record_batch.h"),
        *("json_scanner.h", "record_scanner.h", "event_columns.h"),
    }
    assert wanted <= set(shown), wanted - set(shown)


def test_stubs_are_what_the_modules_are():
    modules = [f"core_ext.{path.stem}" for path in sorted(CORE.glob("*.pyx"))]
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "mypy.stubtest", "--concise", "--ignore-unused-allowlist"),
            *("--allowlist", str(Path(__file__).with_name("stubs_allowed.txt")), *modules),
        ],
        cwd=CORE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"\n{ran.stdout}{ran.stderr}"
