"""The rules as promtool sees them, and what every alert must have.

promtool's own tests (deploy/prometheus/tests) say when each alert fires and when it does not.
"""

from __future__ import annotations

import subprocess

import pytest
import yaml

from tests.deploy.promql import PROMETHEUS, RULE_FILES, alert_rules, known_series, rules, series_of

CASE_FILES = sorted((PROMETHEUS / "tests").glob("*.yaml"))
CASES = [
    case
    for path in CASE_FILES
    for group in yaml.safe_load(path.read_text())["tests"]
    for case in group["alert_rule_test"]
]


def promtool(*arguments: object) -> None:
    ran = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def name_of(rule: dict) -> str:
    return "-".join([rule["alert"], *rule["labels"].values()])


def test_promtool_accepts_the_rules() -> None:
    promtool("check", "rules", *RULE_FILES)


@pytest.mark.parametrize("path", CASE_FILES, ids=lambda path: path.stem)
def test_promtools_tests_pass(path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize("rule", alert_rules(), ids=name_of)
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(rule) -> None:
    fires = [
        any(rule["labels"].items() <= alert["exp_labels"].items() for alert in case["exp_alerts"])
        for case in CASES
        if case["alertname"] == rule["alert"]
    ]
    assert set(fires) == {True, False}


@pytest.mark.parametrize("rule", alert_rules(), ids=name_of)
def test_each_alert_says_what_it_is_how_urgent_and_what_to_do(rule) -> None:
    assert rule["alert"].startswith("Gatejoin")
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert not rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")
    # What the rule adds itself is no label of the expression, so a template would find nothing.
    assert not any(f"$labels.{name}" in str(rule["annotations"]) for name in rule["labels"])


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("record") or name_of(rule))
def test_rules_name_only_what_there_is(rule) -> None:
    named = series_of(rule["expr"])
    assert named
    assert named <= known_series()


def test_series_are_found_in_an_expression() -> None:
    expression = """sum by (le, job) (rate(a_bucket{le="b",c=~"d.*"}[5m])) / on (x) group_left (y)
        e:f:g5m > 1e3 or vector(0) and histogram_quantile(0.9, h) unless i offset 5m"""
    assert series_of(expression) == {"a_bucket", "e:f:g5m", "h", "i"}
