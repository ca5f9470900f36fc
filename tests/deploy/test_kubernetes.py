"""deploy/kubernetes, rendered as it would be applied: valid, of least rights, and of one piece.

Kubernetes' own resources are held to its schemas, strictly (an unknown field is refused); those of
Strimzi, KEDA and the Prometheus operator to the small schemas of custom_resources.py.
"""

from __future__ import annotations

import copy
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from stream.access import ROLES
from stream.connection import client_options
from stream.settings import Settings, SettingsError
from stream.topics import PORT_EVENTS, declarations
from tests.deploy.custom_resources import SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("development", "production")
KUBERNETES = "1.33"
Resource = dict[str, Any]


@cache
def rendered(overlay: str) -> list[Resource]:
    ran = subprocess.run(
        [str(ROOT / "deploy" / "kubernetes" / "render.sh"), overlay],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "", "deprecated fields are warned of"
    return list(yaml.safe_load_all(ran.stdout))


def of_kind(overlay: str, kind: str) -> dict[str, Resource]:
    return {r["metadata"]["name"]: r for r in rendered(overlay) if r["kind"] == kind}


def only(overlay: str, kind: str) -> Resource:
    (resource,) = of_kind(overlay, kind).values()
    return resource


def pod(overlay: str) -> Resource:
    return only(overlay, "StatefulSet")["spec"]["template"]["spec"]


def settings(overlay: str) -> Settings:
    """What a pod's worker gets, the values that Kubernetes fills in aside."""
    (source,) = pod(overlay)["containers"][0]["envFrom"]
    environment = dict(of_kind(overlay, "ConfigMap")[source["configMapRef"]["name"]]["data"])
    for variable in pod(overlay)["containers"][0]["env"]:
        path = variable["valueFrom"]["fieldRef"]["fieldPath"]
        environment[variable["name"]] = {"metadata.name": "gatejoin-0", "status.podIP": "10.0.0.1"}[
            path
        ]
    return Settings.from_environment(environment)


def check(resource: Resource) -> None:
    kind = resource["apiVersion"], resource["kind"]
    if kind in SCHEMAS:
        jsonschema.Draft7Validator(SCHEMAS[kind]).validate(resource["spec"])
    else:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_is_valid(overlay: str) -> None:
    assert len(rendered(overlay)) >= 7
    for resource in rendered(overlay):
        check(resource)


def test_what_is_wrong_would_be_found() -> None:
    stateful_set = copy.deepcopy(only("production", "StatefulSet"))
    stateful_set["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        check(stateful_set)
    scaled = copy.deepcopy(only("production", "ScaledObject"))
    scaled["spec"]["maxReplicas"] = 3
    with pytest.raises(jsonschema.ValidationError, match="maxReplicas"):
        check(scaled)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_no_more_rights_than_they_need(overlay: str) -> None:
    spec = pod(overlay)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in spec["containers"] + spec.get("initContainers", []):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert re.search(r":\d+\.\d+\.\d+$|@sha256:[0-9a-f]{64}$", container["image"])
        for kind in ("requests", "limits"):
            assert set(container["resources"][kind]) == {"cpu", "memory"}
        # A worker whose memory may be taken away in a pinch would die at the worst moment.
        memory = {kind: container["resources"][kind]["memory"] for kind in ("requests", "limits")}
        assert overlay == "development" or memory["requests"] == memory["limits"]
    (namespace,) = of_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_in_the_namespace_and_nothing_holds_a_secret(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    for resource in rendered(overlay):
        if resource["kind"] != "Namespace":
            assert resource["metadata"]["namespace"] == namespace, resource["metadata"]["name"]
    assert not of_kind(overlay, "Secret")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_worker_takes_the_settings_and_keeps_its_name(overlay: str) -> None:
    found = settings(overlay)
    assert found.instance_id == "gatejoin-0"
    assert found.web_host == "10.0.0.1"
    assert pod(overlay)["enableServiceLinks"] is False
    with pytest.raises(SettingsError, match="GATEJOIN_PORT is no setting"):
        Settings.from_environment({"GATEJOIN_PORT": "tcp://10.0.0.1:9464"})
    # A restarted pod is back before the group gives its partitions away, or it is no static member.
    assert only(overlay, "StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_ask_the_right_question(overlay: str) -> None:
    """Whether it lives for start and life, which restoring must not fail; whether it answers gates
    for readiness, on which roll-outs and drains wait."""
    (container,) = pod(overlay)["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"]
             for name in ("startup", "liveness", "readiness")}  # fmt: skip
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    (port,) = container["ports"]
    assert port["containerPort"] == settings(overlay).web_port
    assert pod(overlay)["terminationGracePeriodSeconds"] >= 30
    budget = only(overlay, "PodDisruptionBudget")["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_the_pods(overlay: str) -> None:
    stateful_set = only(overlay, "StatefulSet")
    labels = stateful_set["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        stateful_set["spec"]["selector"]["matchLabels"],
        only(overlay, "Service")["spec"]["selector"],
        only(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(overlay, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ] + [
        spread["labelSelector"]["matchLabels"]
        for spread in pod(overlay)["topologySpreadConstraints"]
    ]
    if overlay == "production":
        selectors.append(only(overlay, "PodMonitor")["spec"]["selector"]["matchLabels"])
    assert all(selector.items() <= labels for selector in selectors)


def test_the_network_policy_lets_in_only_prometheus_and_out_only_to_names_and_kafka() -> None:
    for overlay in OVERLAYS:
        policy = only(overlay, "NetworkPolicy")["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        (ingress,) = policy["ingress"]
        assert ingress["from"] and ingress["ports"] == [{"port": "web", "protocol": "TCP"}]
        ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
        assert int(settings(overlay).broker.rpartition(":")[2]) in ports
        assert ports == {53, 9092, 9093}


def test_production_has_the_declared_topics_and_no_more_workers_than_partitions() -> None:
    found = settings("production")
    topics = of_kind("production", "KafkaTopic")
    declared = {topic.name: topic for topic in declarations(found)}
    assert set(topics) == set(declared)
    for name, topic in topics.items():
        assert topic["spec"]["partitions"] == declared[name].partitions
        assert topic["spec"]["replicas"] == found.replication
        config = {key: str(value) for key, value in topic["spec"]["config"].items()}
        assert config == declared[name].config
    scaled = only("production", "ScaledObject")["spec"]
    assert scaled["maxReplicaCount"] <= topics[PORT_EVENTS]["spec"]["partitions"]
    assert "replicas" not in only("production", "StatefulSet")["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["topic"] == found.topic(PORT_EVENTS)
    assert trigger["metadata"]["consumerGroup"] == found.group_id
    assert trigger["metadata"]["bootstrapServers"] == found.broker


def test_production_connects_with_its_own_certificate_to_what_strimzi_makes() -> None:
    found = settings("production")
    assert found.security_protocol == "SSL"
    assert found.broker == f"{only('production', 'Kafka')['metadata']['name']}-kafka-bootstrap:9093"
    users = of_kind("production", "KafkaUser")
    assert set(users) == {f"gatejoin-{role}" for role in ROLES if role != "topics"}
    (volume,) = pod("production")["volumes"]
    mounted = {
        f"/etc/gatejoin/tls/{item['path']}": source["secret"]["name"]
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert mounted == {
        found.tls_ca_file: "events-cluster-ca-cert",
        found.tls_certificate_file: "gatejoin-worker",
        found.tls_key_file: "gatejoin-worker",
    }
    with pytest.raises(SettingsError, match="GATEJOIN_TLS_CA_FILE"):
        client_options(found)  # not here: the files are Kubernetes' to bring
    secrets = {
        reference["name"]
        for reference in only("production", "TriggerAuthentication")["spec"]["secretTargetRef"]
    }
    assert secrets == {"events-cluster-ca-cert", "gatejoin-scaler"}
    kafka = only("production", "Kafka")["spec"]["kafka"]
    assert kafka["authorization"] == {"type": "simple"}
    assert [listener["authentication"] for listener in kafka["listeners"]] == [{"type": "tls"}]
    assert kafka["config"]["min.insync.replicas"] == 2


def test_prometheus_gets_the_rules_and_finds_the_job_that_they_ask_for() -> None:
    rules = only("production", "PrometheusRule")["spec"]["groups"]
    names = {path.name for path in (ROOT / "deploy" / "prometheus").glob("*.yaml")}
    assert len(rules) >= len(names) > 0
    (endpoint,) = only("production", "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert {"targetLabel": "job", "replacement": "gatejoin"} in endpoint["relabelings"]


def test_grafana_gets_every_board() -> None:
    (boards,) = (
        resource
        for resource in of_kind("production", "ConfigMap").values()
        if resource["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    )
    files = (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")
    assert boards["data"] == {path.name: path.read_text() for path in files}
