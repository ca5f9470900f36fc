"""A running worker's metrics against the catalogue, and the dashboards against a real Prometheus.

Grafana itself is in none of the registries, so what proves a panel is its query: Prometheus takes
it, it names nothing that is not there, and it gives data for workers that have something to show.
"""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.runbooks.watched import traffic
from stream.metric_catalogue import CATALOGUE, LABELS, METRICS
from tests.deploy.promql import known_series, series_of

BOARDS = Path(__file__).resolve().parents[2] / "deploy/grafana/dashboards"
PANELS = [
    pytest.param(panel, id=f"{path.stem}: {panel['title']}")
    for path in sorted(BOARDS.glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
    if panel["type"] != "row"
]
#: What may be empty where all is well, or nothing is old enough.
MAY_BE_EMPTY = {"Over 90 days"}


HOLD = {
    "holdID": "H", "version": 1, "scope": "UNIT", "reference": "DRIL0000001", "reason": "STOP",
    "state": "ACTIVE", "issuedDateTime": "2026-01-01T00:00:00Z",
}  # fmt: skip


def events(count: int, first: int) -> list[tuple[str, dict]]:
    """Units that came weeks ago, left an hour ago, and are reported only now."""
    found = []
    for number in range(first, first + count):
        unit = f"LOT{number:06}"
        common = {
            "operatorID": "HP-01", "locationCode": "HP-01", "unitType": "PACKAGES", "unit": unit,
            "direction": "IMPORT", "pieces": 5, "weightKg": 2.5,
        }  # fmt: skip
        for event_type, moment in (
            ("GET_IN", "2026-01-01T00:00:00Z"),
            ("GET_OUT", "2026-02-01T00:00:00Z"),
        ):
            event_id = f"{event_type}{number}"
            found.append(
                (
                    unit,
                    common
                    | {"eventID": event_id, "eventType": event_type, "eventDateTime": moment},
                )
            )
    return found


@pytest.fixture(scope="module")
def busy(installation):
    """The installation with something of everything to show: answers to gates and to customs, late
    reports, rejects, an operator of whom nothing comes."""
    installation.register("CM-02")
    installation.send("port-events", events(20, 0))
    installation.send("declarations", [("1", b"{}")])
    with traffic(installation, "HP-01"):
        installation.wait_for("gatejoin:gate_answers:rate5m > 0")
        # Until a worker has the operator's own record, what it refuses is nobody's.
        installation.wait_for('count(gatejoin_operator_events_total{operator="HP-01"} > 0) == 2')
        installation.send("port-events", [("X", b'{"operatorID":"HP-01"}')] * 3)
        installation.send("holds", [("H", HOLD)])
        installation.wait_for("gatejoin:movements:sum > 0")
        installation.send("port-events", events(20, 20))  # a rate needs samples that differ
        for expression in (
            "sum(gatejoin_customs_answer_seconds_count) > 0",
            'gatejoin_operator_silent_seconds{operator="CM-02"} > 0',
            "gatejoin_customs_rejects_total > 0",
            "sum(increase(gatejoin_exit_reports_total[1h])) > 0",
            "sum(delta(gatejoin:movements:sum[1h])) > 0",
            'rate(gatejoin_operator_rejects_total{operator="HP-01"}[5m]) >= 0',
        ):
            installation.wait_for(expression)
        yield installation


def expressions(panel: dict) -> list[str]:
    return [target["expr"].replace("$instance", ".*") for target in panel["targets"]]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_names_only_what_there_is(panel) -> None:
    assert panel["description"].endswith(".")
    for expression in expressions(panel):
        assert series_of(expression) <= known_series() | {"ALERTS"}, expression


def test_boards_can_be_provisioned() -> None:
    boards = [json.loads(path.read_text()) for path in sorted(BOARDS.glob("*.json"))]
    assert [board["uid"] for board in boards] == [
        "gatejoin-gate",
        "gatejoin-nation",
        "gatejoin-worker",
    ]
    for board in boards:
        identifiers = [panel["id"] for panel in board["panels"]]
        assert len(identifiers) == len(set(identifiers))
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24
            for target in panel.get("targets", ()):
                assert target["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("panel", PANELS)
def test_a_panels_queries_give_data(panel, busy) -> None:
    for expression in expressions(panel):
        found = busy.prometheus.query(expression)
        assert found or panel["title"] in MAY_BE_EMPTY, expression
        assert all(row["value"][1] != "NaN" for row in found), expression


def test_a_worker_shows_what_the_catalogue_declares_and_nothing_else(busy) -> None:
    found: dict[str, set[tuple[str, ...]]] = {}
    values: dict[str, set[str]] = {}
    for worker in busy.workers.values():
        with urllib.request.urlopen(worker.url + "/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for family in text_string_to_metric_families(text):
            name = family.name + "_total" * (family.type == "counter")
            metric = METRICS[name]
            assert family.type == metric.kind
            for sample in family.samples:
                labels = set(sample.labels) - {"le"}
                assert labels == set(metric.labels), sample
                found.setdefault(name, set())
                for label in labels:
                    values.setdefault(label, set()).add(sample.labels[label])
    missing = {metric.name for metric in CATALOGUE} - set(found)
    assert not missing
    for label, seen in values.items():
        bound = LABELS[label].bound
        assert bound is None or len(seen) <= bound, (label, seen)
    assert values["operator"] == {"HP-01", "CM-02"}
    assert values["partition"] == {"0", "1", "2"}


def test_what_every_worker_has_is_not_counted_twice(busy) -> None:
    [once] = busy.prometheus.query('max(gatejoin_operators{status="CONNECTED"})')
    assert once["value"][1] == "2"
    each = busy.prometheus.query("gatejoin_customs_rejects_total == 1")
    assert {row["metric"]["instance"] for row in each} == set(busy.workers)
    assert not busy.prometheus.query("gatejoin_rejects_total > 3")
    [owned] = busy.prometheus.query("gatejoin:partitions_owned:count")
    assert owned["value"][1] == "3"


def test_the_log_has_lines_for_events_and_none_for_records(busy) -> None:
    [answered] = busy.prometheus.query('sum(gatejoin_records_total{topic="port-events"})')
    assert float(answered["value"][1]) > 100
    entries = [json.loads(line) for line in busy.workers["worker-1"].log.read_text().splitlines()]
    assert {"time", "level", "module", "message"} <= set.intersection(*map(set, entries))
    assert any("partition" in entry for entry in entries)
    human = busy.workers["worker-2"].log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\S+Z [A-Z]+ \S+: ", line) for line in human)
    assert len(entries) < 60
    assert len(human) < 120  # it may have been started twice
