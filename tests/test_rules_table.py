"""The stories of `reference/cases` told to the reference model and to the engine.

The answers were written by hand; both must give them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reference import story
from tests.reference.cases.alerts_table import CASES as ALERT_CASES
from tests.reference.cases.rejects_table import CASES as REJECT_CASES
from tests.reference.cases.rules_table import CASES as RULE_CASES
from tests.reference.cases.rules_table import ROWS
from tests.reference.compare import engine_replay
from tests.reference.log import write_log
from tests.reference.model import replay, write_outputs
from tests.reference.policy import CODES, read_policy
from tests.reference.records import SECOND, write_date_time
from tests.reference.story import Case, line

CASES = [*RULE_CASES, *ALERT_CASES, *REJECT_CASES]


def model_replay(log: Path, directory: Path, rules_path: Path | None) -> None:
    write_outputs(replay(log, read_policy(rules_path) if rules_path else None), directory)


def records(path: Path) -> Iterator[Any]:
    for text in path.read_text("utf-8").split("\n")[:-1]:
        yield json.loads(text)


@pytest.mark.parametrize("apply_log", [model_replay, engine_replay], ids=["model", "engine"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_story(case: Case, apply_log, tmp_path: Path) -> None:
    log = tmp_path / "log.ndjson"
    write_log(log, case.log)
    rules_path = None
    if case.rules is not None:
        rules_path = tmp_path / "rules.toml"
        rules_path.write_text(case.rules, "utf-8")
    out = tmp_path / "out"
    apply_log(log, out, rules_path)

    decisions = list(records(out / "decisions.ndjson"))
    assert [
        f"{reject['reason']} {reject['field']}" for reject in records(out / "rejects.ndjson")
    ] == case.rejects
    if case.decisions is not None:
        assert [
            f"{d['eventID']} {d['outcome']} {', '.join(d['reasons'] + d['flags'])}".rstrip()
            for d in decisions
        ] == case.decisions
    if case.weighed is not None:
        assert [d["declarationNumber"] for d in decisions[-1]["declarations"]] == case.weighed
    if case.holds is not None:
        assert decisions[-1]["holds"] == case.holds
    alerts = list(records(out / "alerts.ndjson"))
    if case.alerts is not None:
        assert [f"{alert['type']} {alert['eventID']}" for alert in alerts] == case.alerts
    if case.raised is not None:
        assert [alert["raisedDateTime"] for alert in alerts] == [
            write_date_time(moment) for moment in case.raised
        ]
    if case.places is not None:
        assert [alert["locationCode"] for alert in alerts] == case.places
    for name in ("volumes", "stock"):
        expected = getattr(case, name)
        if expected is not None:
            lines = (out / f"{name}.csv").read_text("utf-8").split("\n")
            assert lines[1:] == [*expected, ""]


@pytest.mark.parametrize("apply_log", [model_replay, engine_replay], ids=["model", "engine"])
def test_records_in_full(apply_log, tmp_path: Path) -> None:
    """One record of each kind, member by member and in order, as section 3 and 6 show them."""
    log = tmp_path / "log.ndjson"
    write_log(
        log,
        [
            story.operator("T/%"),
            story.declared(seals=None, version=3),
            "",
            story.gate_in(operatorID="T/%"),
            story.check("c,1", operatorID="T/%", declarations=[story.DECLARATION]),
            story.held("H2", sent=story.CHECKED + SECOND),
            story.held("H1", reason="SCAN", sent=story.CHECKED + 2 * SECOND),
            line("port-events", None, "{", story.CHECKED),
            line("port-events", None, None, story.CHECKED),
            line("port-events", "k", "\u1ea1" * 30000, story.CHECKED),
            line("operators", "T/%", None, story.OUT),
            line("operators", "T/%", None, story.OUT),
        ],
    )
    out = tmp_path / "out"
    apply_log(log, out, None)

    (rule_set,) = {d["ruleSet"] for d in records(out / "decisions.ndjson")}
    assert isinstance(rule_set, str)
    common = {
        "eventID": "c,1",
        "operatorID": "T/%",
        "locationCode": "CAT-LAI",
        "unit": "CSQU3054383",
        "unitType": "CONTAINER",
        "direction": "IMPORT",
    }
    weighed = [{"declarationNumber": "100000000001", "version": 3, "status": "CLEARED"}]
    expected = [
        {
            "decisionID": "CSQU3054383/T%2F%25/c,1/1",
            "sequence": 1,
            **common,
            "outcome": "RELEASE",
            "reasons": [],
            "flags": [],
            "declarations": weighed,
            "holds": [],
            "eventDateTime": "2018-03-02T08:00:00.000000Z",
            "decidedDateTime": "2018-03-02T08:00:00.000000Z",
            "validUntilDateTime": "2018-03-03T08:00:00.000000Z",
            "ruleSet": rule_set,
            "trigger": {"topic": "port-events", "partition": 0, "offset": 4},
        },
        {
            "decisionID": "CSQU3054383/T%2F%25/c,1/2",
            "sequence": 2,
            **common,
            "outcome": "HOLD",
            "reasons": ["STOPPED"],
            "flags": [],
            "declarations": weighed,
            "holds": ["H2"],
            "eventDateTime": "2018-03-02T08:00:00.000000Z",
            "decidedDateTime": "2018-03-02T08:00:01.000000Z",
            "validUntilDateTime": None,
            "ruleSet": rule_set,
            "trigger": {"topic": "holds", "partition": 0, "offset": 5},
        },
        {
            "decisionID": "CSQU3054383/T%2F%25/c,1/3",
            "sequence": 3,
            **common,
            "outcome": "HOLD",
            "reasons": ["STOPPED", "SCAN_PENDING"],
            "flags": [],
            "declarations": weighed,
            "holds": ["H1", "H2"],
            "eventDateTime": "2018-03-02T08:00:00.000000Z",
            "decidedDateTime": "2018-03-02T08:00:02.000000Z",
            "validUntilDateTime": None,
            "ruleSet": rule_set,
            "trigger": {"topic": "holds", "partition": 0, "offset": 6},
        },
    ]
    decisions = list(records(out / "decisions.ndjson"))
    assert decisions == expected
    assert [list(d) for d in decisions] == [list(d) for d in expected]

    (alert,) = records(out / "alerts.ndjson")
    assert isinstance(alert.pop("detail"), dict)
    assert list(alert.items()) == list(
        {
            "alertID": "RECALL/CSQU3054383/T%2F%25/c,1/2",
            "type": "RECALL",
            "unit": "CSQU3054383",
            "operatorID": "T/%",
            "locationCode": "CAT-LAI",
            "eventID": "c,1",
            "raisedDateTime": "2018-03-02T08:00:01.000000Z",
        }.items()
    )

    rejects = list(records(out / "rejects.ndjson"))
    assert all(isinstance(reject.pop("detail"), str) for reject in rejects)
    first_64_kib = ("\u1ea1" * 30000).encode()[:65536]
    assert [list(reject.items()) for reject in rejects] == [
        [
            ("reason", reason),
            ("field", None),
            ("source", {"topic": "port-events", "partition": 0, "offset": offset}),
            ("value", value),
        ]
        for reason, offset, value in (
            ("MALFORMED", 7, "ew=="),
            ("MALFORMED", 8, None),
            ("TOO_LARGE", 9, base64.b64encode(first_64_kib).decode()),
        )
    ]

    registry = list(records(out / "registry.ndjson"))
    assert [list(record.items()) for record in registry] == [
        [
            ("timestamp", 1519862400000),
            ("operatorID", "T/%"),
            ("operator", story.operator_value("T/%")),
        ],
        [("timestamp", 1519977900000), ("operatorID", "T/%"), ("operator", None)],
    ]


@pytest.mark.parametrize("apply_log", [model_replay, engine_replay], ids=["model", "engine"])
@pytest.mark.parametrize(
    "bad",
    [
        "x",
        "[]",
        "null",
        '{"topic":"holds","timestamp":1,"key":"x","value":null',
        '{"topic":"holds","timestamp":1,"key":"x","value":null}}',
        '{"topic":"decisions","timestamp":1,"key":"x","value":null}',
        '{"topic":1,"timestamp":1,"key":"x","value":null}',
        '{"timestamp":1,"key":"x","value":null}',
        '{"topic":"holds","timestamp":-1,"key":"x","value":null}',
        '{"topic":"holds","timestamp":1.0,"key":"x","value":null}',
        '{"topic":"holds","timestamp":1e3,"key":"x","value":null}',
        '{"topic":"holds","timestamp":"1","key":"x","value":null}',
        '{"topic":"holds","timestamp":null,"key":"x","value":null}',
        '{"topic":"holds","key":"x","value":null}',
        '{"topic":"holds","timestamp":1,"key":1,"value":null}',
        '{"topic":"holds","timestamp":1,"key":"x"}',
        '{"topic":"holds","timestamp":1,"key":"x","value":nul}',
        '{"topic":"holds","timestamp":1,"key":"x","value":{"a":01}}',
    ],
)
def test_a_bad_line_ends_the_replay_and_is_named(bad: str, apply_log, tmp_path: Path) -> None:
    log = tmp_path / "log.ndjson"
    write_log(log, [story.operator(), "", bad, story.gate_in()])
    # The third line: number 2 as the contract counts offsets, 3 as editors count lines.
    with pytest.raises(ValueError, match=r"line [23]\b"):
        apply_log(log, tmp_path / "out", None)


@pytest.mark.parametrize("apply_log", [model_replay, engine_replay], ids=["model", "engine"])
def test_lines_as_they_may_be_written(apply_log, tmp_path: Path) -> None:
    """White space, order, unknown and repeated members of a line; a key may be absent."""
    log = tmp_path / "log.ndjson"
    hold = json.loads(story.held())["value"]
    write_log(
        log,
        [
            '{"value":null,"timestamp":5,"topic":"holds"}',
            ' { "x" : [ { "value" : 1 } ] , "topic" : "holds" , "timestamp" : 6 , "key" : "y" ,'
            ' "key" : "H1" , "value" : 7 , "value" : ' + json.dumps(hold) + " } \t",
            '{"topic":"holds","timestamp":0,"key":null,"value":12}',
            '{"topic":"holds","timestamp":7,"key":null,"value":[ 1, 2 ]}',
            '{"topic":"holds","timestamp":8,"key":null,"value":" \\u1ea1\\n"}',
            '{"topic":"holds","timestamp":8,"key":null,"value":{ "holdID" : "\\u0031" }}',
        ],
    )
    apply_log(log, tmp_path / "out", None)
    rejects = list(records(tmp_path / "out" / "rejects.ndjson"))
    assert [
        (r["source"]["offset"], r["field"], base64.b64decode(r["value"] or "")) for r in rejects
    ] == [
        (0, None, b""),
        (2, None, b"12"),
        (3, None, b"[ 1, 2 ]"),
        (4, None, " \u1ea1\n".encode()),
        (5, "holdID", b'{ "holdID" : "\\u0031" }'),
    ]


def test_every_row_has_a_story_where_it_stands_and_one_where_it_does_not() -> None:
    assert len(ROWS) == len(CODES) == 24
    for code, row in zip(CODES, ROWS, strict=True):
        assert {case.code for case in row} == {code}

        def stands(case: Case, code: str = code) -> bool:
            told = [*(case.decisions or ()), *(case.alerts or ())]
            return code in " ".join(told).replace(",", "").split()

        assert any(stands(case) for case in row), code
        assert any(not stands(case) for case in row), code


def test_names_of_the_stories_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
