#!/usr/bin/env python3
"""Writes the files of deploy/ that say what the code declares; the tests compare them.

Called by hand, with .venv's Python, after a setting, a topic or the access to one has changed.
``contents`` is the one list of these files; tests/deploy/test_generated.py reads it too.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stream.access import access_list  # noqa: E402
from stream.access_command import as_csv  # noqa: E402
from stream.asyncapi import document  # noqa: E402
from stream.config import reference  # noqa: E402
from stream.settings import Settings  # noqa: E402

CONSTRAINTS = ROOT / "deploy" / "constraints.txt"


def canonical(name: str) -> str:
    """A package's name in the one form in which names are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    """Name and version of every package that a worker runs with."""
    lines = CONSTRAINTS.read_text().splitlines()
    pinned = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pinned}


def bill_of_materials() -> str:
    """The CycloneDX document of what a worker runs with, licences and who needs whom included.

    The tool looks at the environment, which has the tools of development too; those are left out,
    and so are links, which say nothing about what is run.
    """
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "environment", "--short-PURLs",
         "--output-reproducible", "--pyproject", str(ROOT / "pyproject.toml"), sys.executable],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(ran.stdout)
    wanted = constraints()
    found["components"] = [
        {key: value for key, value in component.items() if key != "externalReferences"}
        for component in found["components"]
        if canonical(component["name"]) in wanted
    ]
    root = found["metadata"]["component"]
    root.pop("externalReferences", None)
    kept = {component["bom-ref"] for component in [root, *found["components"]]}
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    direct = {canonical(name.split("==")[0]) for name in pyproject["dependencies"]}
    found["dependencies"] = [
        {**entry, "dependsOn": [ref for ref in entry.get("dependsOn", ()) if ref in kept]}
        for entry in found["dependencies"]
        if entry["ref"] in kept and entry["ref"] != root["bom-ref"]
    ]
    found["dependencies"].append({
        "ref": root["bom-ref"],
        "dependsOn": sorted(
            component["bom-ref"]
            for component in found["components"]
            if canonical(component["name"]) in direct
        ),
    })  # fmt: skip
    found["metadata"]["tools"] = {"components": [
        {"type": "application", "name": "cyclonedx-py"}
    ]}  # fmt: skip
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def contents() -> dict[str, str]:
    """Each file's path below deploy/ and its text."""
    settings = Settings()
    return {
        "settings.md": reference(),
        "asyncapi.json": json.dumps(document(settings), indent=2, ensure_ascii=False) + "\n",
        "sbom.cdx.json": bill_of_materials(),
        "kafka/access.csv": as_csv(access_list(settings)),
    }


if __name__ == "__main__":
    for name, text in contents().items():
        path = ROOT / "deploy" / name
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote deploy/{name}")
