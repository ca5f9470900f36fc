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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stream.access import ROLES, access_list  # noqa: E402
from stream.access_command import as_csv  # noqa: E402
from stream.asyncapi import document  # noqa: E402
from stream.config import reference  # noqa: E402
from stream.settings import Settings  # noqa: E402
from stream.topics import declarations  # noqa: E402

COMPONENTS = "kubernetes/components"
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


KUBERNETES_HEAD = """\
# Written by deploy/generate.py. {what}
"""
# As many copies as production's brokers keep; base/kustomization.yaml says the partitions.
PRODUCTION = Settings(partitions=12, replication=3)
STRIMZI_PATTERNS = {"LITERAL": "literal", "PREFIXED": "prefix"}
CLUSTER_LABEL = {"strimzi.io/cluster": "events"}


def manifests(what: str, resources: list[dict[str, Any]]) -> str:
    """Kubernetes resources as one file."""
    return KUBERNETES_HEAD.format(what=what) + yaml.safe_dump_all(
        resources, sort_keys=False, allow_unicode=True, width=80
    )


def kafka_topics() -> str:
    """The topics for Strimzi's topic operator."""
    return manifests(
        "The topics as stream/topics.py declares them.",
        [
            {
                "apiVersion": "kafka.strimzi.io/v1",
                "kind": "KafkaTopic",
                "metadata": {"name": topic.name, "labels": CLUSTER_LABEL},
                "spec": {
                    "partitions": topic.partitions,
                    "replicas": PRODUCTION.replication,
                    "config": {
                        key: int(value) if re.fullmatch(r"-?\d+", value) else value
                        for key, value in topic.config.items()
                    },
                },
            }
            for topic in declarations(PRODUCTION)
        ],
    )


def kafka_users() -> str:
    """A user for each role, with its part of the access list, for Strimzi's user operator."""
    users = []
    entries = access_list(PRODUCTION, principal_prefix="gatejoin-")
    for role in ROLES:
        if role == "topics":
            continue  # the topic operator makes them
        grants: dict[tuple[str, str, str], list[str]] = {}
        for entry in entries:
            if entry.principal == f"gatejoin-{role}":
                operation = entry.operation.title().replace("_", "")
                grants.setdefault((entry.resource, entry.name, entry.pattern), []).append(operation)
        acls = []
        for (resource, name, pattern), operations in grants.items():
            first, *others = resource.lower().split("_")
            place = {"type": first + "".join(word.title() for word in others)}
            if resource != "CLUSTER":
                place |= {"name": name, "patternType": STRIMZI_PATTERNS[pattern]}
            acls.append({"resource": place, "operations": operations})
        users.append(
            {
                "apiVersion": "kafka.strimzi.io/v1",
                "kind": "KafkaUser",
                "metadata": {"name": f"gatejoin-{role}", "labels": CLUSTER_LABEL},
                "spec": {
                    "authentication": {"type": "tls"},
                    "authorization": {"type": "simple", "acls": acls},
                },
            }
        )
    return manifests("Who may do what with the topics: the list of stream/access.py.", users)


def prometheus_rules() -> str:
    """The rules of deploy/prometheus for the Prometheus operator."""
    groups = []
    for path in sorted((ROOT / "deploy" / "prometheus").glob("*.yaml")):
        groups += yaml.safe_load(path.read_text())["groups"]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "gatejoin"},
        "spec": {"groups": groups},
    }
    return json.dumps(rule, indent=2, ensure_ascii=False) + "\n"


def asyncapi() -> str:
    """The interfaces as an AsyncAPI document."""
    return json.dumps(document(Settings()), indent=2, ensure_ascii=False) + "\n"


def access() -> str:
    """Who may do what with the topics."""
    return as_csv(access_list(Settings()))


#: Each file's path below deploy/ and what gives its text.
FILES: dict[str, Callable[[], str]] = {
    "settings.md": reference,
    "asyncapi.json": asyncapi,
    "sbom.cdx.json": bill_of_materials,
    f"{COMPONENTS}/strimzi/topics.yaml": kafka_topics,
    f"{COMPONENTS}/strimzi/users.yaml": kafka_users,
    f"{COMPONENTS}/prometheus-rules/prometheus-rules.json": prometheus_rules,
    "kafka/access.csv": access,
}


if __name__ == "__main__":
    for name, write in FILES.items():
        path = ROOT / "deploy" / name
        text = write()
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote deploy/{name}")
