"""compose.yaml: valid by the compose specification, pinned, bounded, and only for this machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from stream.settings import Settings

DIRECTORY = Path(__file__).resolve().parents[2] / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((DIRECTORY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def check(document: dict[str, Any]) -> None:
    """By the compose specification; networks and volumes that are used must be declared."""
    compose_spec.PyCompose.from_json(json.dumps(document)).validate()


def test_it_is_valid_by_the_specification() -> None:
    check(COMPOSE)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"depends_on": {"kafka": {"condition": "service_happy"}}}, "service_happy"),
        ({"stop_grace": "30s"}, "stop_grace"),
        ({"networks": ["nowhere"]}, "nowhere"),
    ],
)
def test_what_is_wrong_would_be_found(change: dict[str, Any], complaint: str) -> None:
    changed = {**COMPOSE, "services": {**SERVICES, "worker-1": {**SERVICES["worker-1"], **change}}}
    with pytest.raises(ValueError, match=complaint):
        check(changed)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_pinned_bounded_and_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", service["image"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit", "restart"} <= set(service)
    assert "privileged" not in service and "network_mode" not in service
    for port in service.get("ports", ()):
        assert port.startswith("127.0.0.1:"), "only this machine"
    if service["image"].startswith("gatejoin"):
        assert service["read_only"] is True
    else:
        assert "healthcheck" in service


def test_nobody_starts_before_what_it_needs() -> None:
    conditions = {
        (name, needed): rule["condition"]
        for name, service in SERVICES.items()
        for needed, rule in service.get("depends_on", {}).items()
    }
    assert conditions == {
        ("topics", "kafka"): "service_healthy",
        ("worker-1", "topics"): "service_completed_successfully",
        ("worker-2", "topics"): "service_completed_successfully",
        ("prometheus", "worker-1"): "service_healthy",
        ("grafana", "prometheus"): "service_healthy",
    }


def test_settings_are_the_workers_and_names_are_their_own() -> None:
    names = set()
    for name in ("topics", "worker-1", "worker-2"):
        settings = Settings.from_environment(SERVICES[name]["environment"])
        assert settings.broker == "kafka:19092"
        if name != "topics":
            names.add(settings.instance_id)
    assert names == {"worker-1", "worker-2"}


def test_what_is_mounted_is_there_and_scraped_is_served() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DIRECTORY / source).exists(), source
            else:
                assert source in COMPOSE["volumes"]
    config = yaml.safe_load((DIRECTORY / "prometheus.yaml").read_text())
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [
        f"{name}:{Settings().web_port}" for name in SERVICES if name.startswith("worker-")
    ]
