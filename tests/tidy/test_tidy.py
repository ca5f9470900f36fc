"""The repository's own rules, as tests: what a reviewer would otherwise have to look for.

Looks at every file that git tracks or would track. The linters and the type checker run here too,
with the settings of pyproject.toml, so that ``make test`` leaves nothing of ``make lint`` out.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINE_LENGTH_MAX = 100
FILE_BYTES_MAX = 1 << 20

TOP_LEVEL = {
    *("stream", "core_ext", "setup.py", "deploy", "benchmarks", "tests", "README.md"),
    *("pyproject.toml", "LICENSE", "CHANGELOG.md", "MANIFEST.in", "Makefile"),
    *(".ci", ".gitignore", ".gitattributes", ".dockerignore", ".editorconfig"),
}
TARGETS = [
    *("setup", "demo", "test", "fuzz", "instructions", "faults", "bench", "bench-e2e"),
    *("lint", "format", "sbom", "clean", "help"),
]
CODE = {".py", ".pyx", ".pxd", ".pxi", ".pyi", ".h", ".c", ".sh", ".toml", ".yaml", ".yml"}
# Each pattern says why nobody else could use what it finds.
BANNED = {
    r"(?<![\w.-])/(work|root|home|tmp)/": "a path of one machine",
    # In pieces, or it would find itself.
    r"\b(py[p]i\.org|python[h]osted|repo1?\.mave[n]"
    r"|crate[s]\.io|registry\.npm[j]s|proxy\.go[l]ang)": (
        "the address of a registry, which is the client's setting"
    ),
    r"\b(TODO|FIXME)\b": "an intention, which belongs into an issue",
    r"^(<<<<<<<|>>>>>>>) ": "a merge conflict",
}


def repository_files() -> list[Path]:
    """What git tracks or would track, as paths that exist, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    return sorted({Path(name) for name in listed if name and (ROOT / name).is_file()})


FILES = repository_files()


def text_of(path: Path) -> str | None:
    """The file as text; None if it is none."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def found(problems: list[str]) -> None:
    """Fail with all problems at once, one a line."""
    assert not problems, "\n" + "\n".join(problems)


def test_the_top_level_is_the_agreed_one():
    found([f"{name}: not at the top level" for name in {p.parts[0] for p in FILES} - TOP_LEVEL])


def test_no_file_is_large():
    sizes = {path: (ROOT / path).stat().st_size for path in FILES}
    found([f"{path}: {size} bytes" for path, size in sizes.items() if size > FILE_BYTES_MAX])


def test_lines_are_short_and_clean():
    problems = []
    for path in FILES:
        text = text_of(path) if path.suffix in CODE or path.name == "Makefile" else None
        for number, line in enumerate((text or "").split("\n"), 1):
            if len(line) > LINE_LENGTH_MAX:
                problems.append(f"{path}:{number}: {len(line)} columns")
            if line != line.rstrip():
                problems.append(f"{path}:{number}: white space at the end")
            if "\t" in line and path.name != "Makefile":
                problems.append(f"{path}:{number}: a tab")
        if text and not text.endswith("\n"):
            problems.append(f"{path}: no newline at the end")
    found(problems)


def opens_well(path: Path, text: str) -> bool:
    """Whether the file begins by saying what it is."""
    if path.suffix == ".py":
        return ast.get_docstring(ast.parse(text)) is not None
    # What tools demand on the first lines says nothing to a reader.
    lines = text.split("\n")
    while lines and re.match(r"#!|# (cython|distutils):|\s*$", lines[0]):
        lines.pop(0)
    opening = lines[0] if lines else ""
    return opening.startswith(("#", '"""', 'r"""', "/*", "//")) and not opening.startswith(
        ("#include", "#ifndef", "#pragma", "#define")
    )


def test_every_module_opens_by_saying_what_it_is():
    problems = []
    for path in FILES:
        text = text_of(path) if path.suffix in CODE else None
        if text and not opens_well(path, text):
            problems.append(f"{path}: no docstring or comment at the top")
    found(problems)


def test_nothing_that_only_one_machine_or_person_understands():
    problems = []
    for path in FILES:
        text = text_of(path) if ROOT / path != Path(__file__).resolve() else None
        for pattern, why in BANNED.items():
            for match in re.finditer(pattern, text or "", re.MULTILINE):
                number = text.count("\n", 0, match.start()) + 1
                problems.append(f"{path}:{number}: {match[0]!r} is {why}")
    found(problems)


def test_every_compiled_module_has_its_stub():
    modules = [path for path in FILES if path.suffix == ".pyx"]
    found(
        [f"{path}: no .pyi beside it" for path in modules if path.with_suffix(".pyi") not in FILES]
    )


def test_links_between_documents_lead_somewhere():
    problems = []
    for path in FILES:
        if path.suffix != ".md":
            continue
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(path))
        problems += [
            f"{path}: {target} does not exist"
            for target in targets
            if "://" not in target and not (ROOT / path.parent / target).exists()
        ]
    found(problems)


def test_tests_that_documents_name_exist():
    """A sentence is worth as much as the test that proves it."""
    problems = []
    for path in FILES:
        text = text_of(path) if path.suffix == ".md" else None
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text or ""):
            source = text_of(Path(file)) if Path(file) in FILES else None
            if source is None or not re.search(rf"^(async )?def {name}\(", source, re.MULTILINE):
                problems.append(f"{path}: {file}::{name} does not exist")
    found(problems)


def test_make_help_names_every_target():
    said = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True)
    lines = said.stdout.splitlines()
    assert [line.split()[0] for line in lines] == TARGETS
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=["style", "format", "types"],
)
def test_linters_find_nothing(command):
    ran = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, "\n" + ran.stdout + ran.stderr
