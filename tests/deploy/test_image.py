"""The image: linted by hadolint, built from what it names, without rights; its bill of materials.

No engine runs images here, so what a build would find wrong is looked for in the text.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.test_generated import generator

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))
INSTRUCTIONS = [
    (match[1], re.sub(r"\\\n", " ", match[2]).strip())
    for match in re.finditer(r"^([A-Z]+) ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
]
FINAL = INSTRUCTIONS[max(i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]


@pytest.mark.skipif(HADOLINT is None, reason="no wheel of hadolint for this kind of machine")
def test_hadolint_finds_nothing() -> None:
    ran = subprocess.run(
        [HADOLINT, "--failure-threshold", "style", str(ROOT / "deploy" / "Dockerfile")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_base_is_pinned_to_a_patch_version() -> None:
    (image,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", image)
    froms = [what for name, what in INSTRUCTIONS if name == "FROM"]
    assert len(froms) == 2 and all(what.startswith("${PYTHON_IMAGE}") for what in froms)


def test_it_runs_without_rights_and_says_how_it_is() -> None:
    last = dict(FINAL)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last["USER"])
    assert "/healthz" in last["HEALTHCHECK"] and last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["ENTRYPOINT"]) == ["gatejoin"]
    assert not any(name in ("RUN", "ADD") for name, _ in FINAL), "the last stage installs nothing"


def test_what_it_copies_is_there_and_sent_to_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.strip("!").removesuffix("/**") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = [
        part
        for name, what in INSTRUCTIONS
        if name == "COPY" and "--from" not in what
        for part in what.split()[:-1]
    ]
    assert set(copied) == allowed
    assert all((ROOT / part).exists() for part in copied)


def test_every_package_is_pinned_and_nothing_is_left_out() -> None:
    """constraints.txt has what pyproject.toml pins, and all that this needs in turn."""
    module = generator()
    pinned = module.constraints()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        name = module.canonical(requirement.name)
        assert requirement.specifier.contains(pinned[name]), requirement
    needed, waiting = (
        set(),
        [module.canonical(Requirement(r).name) for r in project["dependencies"]],
    )
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        assert importlib.metadata.version(name) == pinned[name], f"{name}: run make setup"
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(module.canonical(requirement.name))
    assert needed == set(pinned)


def test_the_bill_of_materials_names_each_package_with_version_and_licence() -> None:
    document = json.loads((ROOT / "deploy" / "sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "gatejoin",
    )
    module = generator()
    found = {module.canonical(c["name"]): c["version"] for c in document["components"]}
    assert found == module.constraints()
    # Of these the packages themselves say nothing that the tool understands.
    silent = {c["name"] for c in document["components"] if not c.get("licenses")}
    assert len(silent) <= 3, silent
    refs = {c["bom-ref"] for c in document["components"]} | {
        document["metadata"]["component"]["bom-ref"]
    }
    assert {entry["ref"] for entry in document["dependencies"]} == refs
