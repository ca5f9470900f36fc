"""``gatejoin why``: the story of a unit, with the real engine, in both languages.

Method: for each row of the rules a small log in which it stands, what is said to have made it
stand, and the change that is said to be the smallest; then that change is made, and must RELEASE.
"""

import json
import re
import string
from pathlib import Path

import pytest

from stream import cli, why
from stream.moments import parse_date_time
from stream.near_misses import slips, with_check_digit
from stream.policy import CODES
from stream.why import WhyError, explain, normalised_unit
from stream.why_rows import Amount, Moment, Term
from stream.why_text import TERMS, WORDS, render

BOX = "MSKU9070323"
NUMBER = "100000000001"
OTHER = "100000000002"


class Log:
    """Writes a log; records come a second apart, events happen two minutes apart.

    (An exit closes a check that is up to a minute after it.)
    """

    def __init__(self, directory: Path):
        self.path = directory / "log.ndjson"
        self.path.touch()
        self.timestamp_ms = parse_date_time("2018-08-09T10:00:00+07:00") // 1000
        self.events = 0
        self.operator()

    def line(self, topic, key, value):
        self.timestamp_ms += 1000
        record = {"topic": topic, "timestamp": self.timestamp_ms, "key": key, "value": value}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def operator(self, **changes):
        value = {
            "operatorID": "OP1",
            "name": "Cảng 1",
            "kind": "SEAPORT",
            "departmentCode": "03",
            "departmentName": "Cục Hải quan TP. Hải Phòng",
            "locations": ["L1", "L2"],
            "status": "CONNECTED",
            "connectedDate": "2017-08-15",
            "version": 1,
        }
        self.line("operators", "OP1", value | changes)

    def declaration(self, number=NUMBER, unit=BOX, unit_type="CONTAINER", **changes):
        entry = {"unit": unit, "unitType": unit_type}
        for name in ("seals", "pieces", "weightKg", "shared"):
            if name in changes:
                entry[name] = changes.pop(name)
        value = {
            "declarationNumber": number,
            "version": 1,
            "direction": "IMPORT",
            "status": "CLEARED",
            "registeredDateTime": "2018-08-01T00:00:00Z",
            "locationCode": "L1",
            "units": [entry],
        }
        self.line("declarations", number, value | changes)

    def hold(self, **changes):
        value = {
            "holdID": "H1",
            "version": 1,
            "scope": "UNIT",
            "reference": BOX,
            "reason": "STOP",
            "state": "ACTIVE",
            "issuedDateTime": "2018-08-02T00:00:00Z",
        }
        self.line("holds", "H1", value | changes)

    def event(self, event_type, unit=BOX, **changes):
        self.events += 1
        value = {
            "eventID": f"E{self.events}",
            "eventType": event_type,
            "eventDateTime": f"2018-08-09T10:{2 * self.events:02d}:00+07:00",
            "operatorID": "OP1",
            "locationCode": "L1",
            "unitType": "CONTAINER",
            "unit": unit,
            "direction": "IMPORT",
        }
        value |= changes
        key = value["unit"] if isinstance(value["unit"], str) else None
        self.line("port-events", key, value)
        return value

    def arrive_and_ask(self, unit=BOX, **changes):
        quantity = {name: changes[name] for name in ("unitType",) if name in changes}
        if changes.get("unitType", "CONTAINER") != "CONTAINER":
            quantity |= {"pieces": 1000, "weightKg": 100000}
        self.event("GET_IN", unit, **quantity)
        return self.event("GATE_CHECK", unit, **changes)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def last_decision(log, unit=BOX):
    return explain(log.path, unit).decisions[-1]


def story_of(log, code, unit=BOX):
    decision = last_decision(log, unit)
    stories = [row for row in decision.rows if row.row.code == code]
    assert stories, [row.row.code for row in decision.rows]
    return stories[0]


def operands_of(story):
    return {name: value for fact in story.facts for name, value in fact.operands.items()}


LOT = {"unit": "LOT/77", "unit_type": "PACKAGES"}
LOT_EVENT = {"unitType": "PACKAGES"}


def not_declared(log):
    log.arrive_and_ask()
    yield "NOT_DECLARED", {"location": "L1", "direction": Term("IMPORT")}, ["declare_here"]
    log.declaration()


def already_passed(log):
    log.declaration()
    log.event("GET_IN")
    log.event("GET_OUT")
    log.event("GET_IN")
    log.event("GATE_CHECK")
    yield (
        "ALREADY_PASSED",
        {
            "declaration": NUMBER,
            "time": Moment(parse_date_time("2018-08-09T10:04:00+07:00")),
            "returned": Moment(parse_date_time("2018-08-09T10:06:00+07:00")),
            "days": 30,
        },
        ["declare_again"],
    )
    log.declaration(OTHER, registeredDateTime="2018-08-09T10:05:00+07:00")


def revoked(log):
    log.declaration(status="CANCELLED")
    log.arrive_and_ask()
    yield "REVOKED", {"declarations": [NUMBER]}, ["declare_anew"]
    log.declaration(OTHER)


def wrong_location(log):
    log.declaration(locationCode="L2")
    log.arrive_and_ask()
    yield "WRONG_LOCATION", {"declaration": NUMBER, "location": "L2"}, ["move_declaration"]
    log.declaration(version=2)


def wrong_direction(log):
    log.declaration(direction="EXPORT")
    log.arrive_and_ask()
    yield (
        "WRONG_DIRECTION",
        {"declaration": NUMBER, "direction": Term("EXPORT")},
        ["turn_direction"],
    )
    log.declaration(version=2)


def not_cleared(log):
    log.declaration(status="REGISTERED")
    log.arrive_and_ask()
    yield "NOT_CLEARED", {"declaration": NUMBER, "status": Term("REGISTERED")}, ["clear_one"]
    log.declaration(version=2, status="RELEASED")


def declarations_incomplete(log):
    log.declaration(shared=True)
    log.declaration(OTHER, shared=True, status="REGISTERED")
    log.arrive_and_ask()
    yield (
        "DECLARATIONS_INCOMPLETE",
        {"declaration": OTHER, "status": Term("REGISTERED")},
        ["clear_one"],
    )
    log.declaration(OTHER, shared=True, version=2)


def declarations_not_presented(log):
    log.declaration(shared=True)
    log.declaration(OTHER, shared=True)
    asked = log.arrive_and_ask(declarations=[NUMBER])
    yield "DECLARATIONS_INCOMPLETE", {"declarations": [OTHER]}, ["present_too"]
    correct(log, asked, declarations=[NUMBER, OTHER])


def declaration_mismatch(log):
    log.declaration()
    asked = log.arrive_and_ask(declarations=[NUMBER, OTHER])
    yield (
        "DECLARATION_MISMATCH",
        {"presented": [OTHER], "covering": [NUMBER]},
        ["present_instead"],
    )
    correct(log, asked, declarations=[NUMBER])


def duplicate_unit(log):
    log.declaration(shared=True)
    log.declaration(OTHER)
    log.arrive_and_ask()
    yield (
        "DUPLICATE_UNIT",
        {"declarations": [NUMBER, OTHER], "alone": [OTHER]},
        ["share_container"],
    )
    log.declaration(OTHER, version=2, shared=True)


def stopped(log):
    log.declaration()
    log.hold(scope="DECLARATION", reference=NUMBER)
    log.arrive_and_ask()
    yield (
        "STOPPED",
        {
            "hold": "H1",
            "reference": NUMBER,
            "reason": Term("STOP"),
            "time": Moment(parse_date_time("2018-08-02T00:00:00Z")),
        },
        ["lift_holds"],
    )
    log.hold(scope="DECLARATION", reference=NUMBER, version=2, state="LIFTED")


def scan_pending(log):
    log.declaration()
    log.hold(reason="SCAN")
    asked = log.arrive_and_ask()
    yield (
        "SCAN_PENDING",
        {
            "hold": "H1",
            "reference": BOX,
            "reason": Term("SCAN"),
            "time": Moment(parse_date_time("2018-08-02T00:00:00Z")),
        },
        ["lift_scans"],
    )
    correct(log, asked, purpose="INSPECTION")


def customs_seal_required(log):
    log.declaration()
    log.hold(reason="CUSTOMS_SEAL", seal="hq-1")
    asked = log.arrive_and_ask(seals=[])
    yield (
        "CUSTOMS_SEAL_REQUIRED",
        {
            "hold": "H1",
            "seal": "HQ1",
            "time": Moment(parse_date_time("2018-08-02T00:00:00Z")),
        },
        ["show_customs_seal"],
    )
    correct(log, asked, seals=["HQ1"])


def seal_mismatch(log):
    log.declaration(seals=["AB-1"])
    log.arrive_and_ask(seals=["XY1"])
    yield "SEAL_MISMATCH", {"expected": ["AB1"], "seals": ["XY1"]}, ["match_seals"]
    log.event("RESEAL", eventDateTime="2018-08-09T10:03:00+07:00", seals=["XY1"])


def seal_gone(log):
    log.declaration(seals=["AB-1"])
    asked = log.arrive_and_ask(seals=[])
    yield "SEAL_MISMATCH", {"expected": ["AB1"]}, ["match_seals_absent"]
    correct(log, asked, seals=["AB1"])


def quantity_exceeded(log):
    log.declaration(**LOT, pieces=100)
    log.event("GET_IN", "LOT/77", **LOT_EVENT, pieces=100)
    log.event("GET_OUT", "LOT/77", **LOT_EVENT, pieces=50)
    asked = log.event("GATE_CHECK", "LOT/77", **LOT_EVENT, pieces=60)
    yield (
        "QUANTITY_EXCEEDED",
        {
            "asked": Amount(60, "PIECES"),
            "passed": Amount(50, "PIECES"),
            "reserved": Amount(0, "PIECES"),
            "allowed": Amount(100, "PIECES"),
        },
        ["at_most"],
    )
    correct(log, asked, pieces=50)


def quantity_reserved(log):
    log.declaration(**LOT, pieces=100)
    log.event("GET_IN", "LOT/77", **LOT_EVENT, pieces=100)
    first = log.event("GATE_CHECK", "LOT/77", **LOT_EVENT, pieces=100)
    log.event("GATE_CHECK", "LOT/77", **LOT_EVENT, pieces=1)
    yield (
        "QUANTITY_EXCEEDED",
        {
            "asked": Amount(1, "PIECES"),
            "passed": Amount(0, "PIECES"),
            "reserved": Amount(100, "PIECES"),
            "allowed": Amount(100, "PIECES"),
        },
        ["reserved_now"],
    )
    correct(log, first, pieces=99)


def quantity_used_up(log):
    log.declaration(**LOT, weightKg=100)
    log.event("GET_IN", "LOT/77", **LOT_EVENT, weightKg=100)
    log.event("GET_OUT", "LOT/77", **LOT_EVENT, weightKg=100)
    log.event("GATE_CHECK", "LOT/77", **LOT_EVENT, weightKg=0.5)
    yield (
        "QUANTITY_EXCEEDED",
        {
            "asked": Amount(500, "WEIGHT"),
            "passed": Amount(100_000, "WEIGHT"),
            "reserved": Amount(0, "WEIGHT"),
            "allowed": Amount(100_000, "WEIGHT"),
        },
        ["nothing_left"],
    )
    log.declaration(**LOT, weightKg=100.5, version=2)


def quantity_missing(log):
    log.declaration(**LOT, pieces=100)
    asked = log.arrive_and_ask("LOT/77", **LOT_EVENT, weightKg=5)
    yield "QUANTITY_MISSING", {}, ["give_quantity_pieces"]
    correct(log, asked, pieces=5)


def exit_without_quantity(log):
    log.declaration(**LOT, pieces=100)
    log.event("GET_IN", "LOT/77", **LOT_EVENT, pieces=100)
    out = log.event("GET_OUT", "LOT/77", **LOT_EVENT, weightKg=5)
    log.event("GATE_CHECK", "LOT/77", **LOT_EVENT, pieces=50)
    yield "QUANTITY_MISSING", {"count": 1}, ["correct_exits_pieces"]
    correct(log, out, pieces=50)


def no_document(log):
    asked = log.arrive_and_ask(purpose="EMPTY")
    yield (
        "NO_DOCUMENT",
        {"purpose": Term("EMPTY"), "direction": Term("IMPORT")},
        ["name_document"],
    )
    correct(log, asked, document="Phiếu 7")


def declared_goods(log):
    log.declaration()
    asked = log.arrive_and_ask(purpose="EMPTY", document="Phiếu 7")
    yield (
        "DECLARED_GOODS",
        {
            "purpose": Term("EMPTY"),
            "direction": Term("IMPORT"),
            "declarations": [NUMBER],
            "location": "L1",
        },
        ["pass_as_declared"],
    )
    correct(log, asked, purpose="CLEARANCE")


def operator_suspended(log):
    log.declaration()
    log.operator(version=2, status="SUSPENDED")
    asked = log.arrive_and_ask()
    yield "OPERATOR_SUSPENDED", {"operator": "OP1"}, ["connect_operator"]
    log.operator(version=3)
    correct(log, asked)


def correct(log, event, **changes):
    """Sends a later version of an event."""
    value = event | changes | {"eventUpdatedDateTime": "2018-08-09T10:59:00+07:00"}
    log.line("port-events", value["unit"], value)


HOLD_SCENES = [
    not_declared,
    already_passed,
    revoked,
    wrong_location,
    wrong_direction,
    not_cleared,
    declarations_incomplete,
    declarations_not_presented,
    declaration_mismatch,
    duplicate_unit,
    stopped,
    scan_pending,
    customs_seal_required,
    seal_mismatch,
    seal_gone,
    quantity_exceeded,
    quantity_reserved,
    quantity_used_up,
    quantity_missing,
    exit_without_quantity,
    no_document,
    declared_goods,
    operator_suspended,
]


@pytest.mark.parametrize("scene", HOLD_SCENES, ids=lambda scene: scene.__name__)
def test_what_held_and_the_smallest_change_that_releases(log, scene):
    steps = scene(log)
    code, operands, changes = next(steps)
    unit = "LOT/77" if "LOT/77" in log.path.read_text() else BOX
    story = story_of(log, code, unit)
    assert operands_of(story).items() >= operands.items()
    assert [change.key for change in story.changes] == changes
    before = last_decision(log, unit)
    assert [row.row.code for row in before.rows if row.changes] == [code]
    assert before.decision["outcome"] == "HOLD"
    explanation = explain(log.path, unit)
    for language in ("vi", "en"):
        text = render(explanation, language)
        assert code in text
        assert not re.search(r"[{}]|None", text)
    with pytest.raises(StopIteration):
        next(steps)
    after = last_decision(log, unit)
    assert after.decision["outcome"] == "RELEASE"
    assert not [row for row in after.rows if row.changes]


def test_every_holding_row_has_a_scene(tmp_path):
    codes = set()
    for number, scene in enumerate(HOLD_SCENES):
        directory = tmp_path / str(number)
        directory.mkdir()
        codes.add(next(scene(Log(directory)))[0])
    assert codes == set(CODES[:18])


def test_flags_have_operands_and_ask_for_no_change(log):
    log.declaration(
        unit="MSKU9070324", seals=["AB1"], registeredDateTime="2018-01-01T00:00:00+07:00"
    )
    log.event("GET_IN", "MSKU9070324", eventDateTime="2018-03-01T10:00:00+07:00")
    log.event("GATE_CHECK", "MSKU9070324", eventDateTime="2018-08-09T10:20:00+07:00")
    decision = last_decision(log, "MSKU9070324")
    assert decision.decision["outcome"] == "RELEASE"
    operands = {row.row.code: operands_of(row) for row in decision.rows}
    assert operands["CHECK_DIGIT"] == {"unit": "MSKU9070324"}
    assert operands["OVERSTAYED"]["days"] == 161
    assert operands["OVERSTAYED"]["limit"] == 90
    assert operands["CLOCK_AHEAD"]["seconds"] == 20 * 60 - 4
    assert operands["SEAL_UNSEEN"] == {"expected": ["AB1"]}
    assert operands["STALE_DECLARATION"]["days"] == 220
    assert not any(row.changes for row in decision.rows)


def test_all_changes_are_named_when_several_rows_hold(log):
    log.declaration(status="REGISTERED")
    log.hold()
    log.arrive_and_ask()
    text = render(explain(log.path, BOX), "en")
    assert "RELEASE needs all of these together:" in text
    assert f"- once declaration {NUMBER} is cleared" in text
    assert "- once hold H1 is lifted" in text
    text = render(explain(log.path, BOX), "vi")
    assert "CHO QUA khi đồng thời đáp ứng:" in text
    assert f"- khi tờ khai {NUMBER} được thông quan" in text
    assert "- khi lệnh H1 được gỡ bỏ" in text


def test_a_rehearsal_explains_by_its_own_rows(log, tmp_path):
    log.hold()
    log.declaration()
    log.arrive_and_ask()
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[rule]]\ncode = "STOPPED"\neffect = "OFF"\nbasis = "Thí điểm 7"\nen = "A trial."\n',
        encoding="utf-8",
    )
    explanation = explain(log.path, BOX, rules)
    assert explanation.decisions[-1].decision["outcome"] == "RELEASE"
    text = render(explanation, "en")
    assert "OFF STOPPED: A trial. (switched off by the rule set)" in text
    assert "Legal basis: Thí điểm 7" in text


def test_the_law_is_that_of_the_day_of_the_event(log):
    log.event("GATE_CHECK", eventDateTime="2018-06-04T23:59:59+07:00")
    log.event("GATE_CHECK", eventDateTime="2018-06-05T00:00:00+07:00")
    before, after = explain(log.path, BOX).decisions
    assert before.rows[0].row.basis == "Circular 38/2015/TT-BTC art. 52 as first issued"
    assert "39/2018" in after.rows[0].row.basis


def test_versions_repeats_retractions_and_refusals_are_told_apart(log):
    first = log.event("GET_IN")
    log.line("port-events", BOX, first)
    correct(log, first, seals=["X1"])
    retracted = log.event("GATE_CHECK")
    correct(log, retracted, isRetracted=True)
    log.event("GET_IN", locationCode="L9")
    log.line("port-events", BOX, "no json")
    log.declaration()
    log.declaration(version=1, status="CANCELLED")
    log.declaration(version=2, units=[])
    log.line("declarations", NUMBER, {"declarationNumber": NUMBER})
    log.line("declarations", NUMBER, None)
    log.hold()
    log.line("holds", "H1", None)
    explanation = explain(log.path, BOX)
    assert [event.state for event in explanation.events] == [
        "SUPERSEDED",
        "DUPLICATE",
        "IN_FORCE",
        "SUPERSEDED",
        "RETRACTED",
        "REJECTED",
        "REJECTED",
    ]
    assert [story.state for story in explanation.declarations] == [
        "SUPERSEDED",
        "DUPLICATE",
        "SUPERSEDED",
        "REJECTED",
        "REMOVED",
    ]
    assert [story.state for story in explanation.holds] == ["SUPERSEDED", "REMOVED"]
    text = " ".join(render(explanation, "en").split())
    assert "refused: OPERATOR_LOCATION, locationCode" in text
    assert "refused: MALFORMED, the whole record" in text
    assert "no longer lists the unit" in text


def test_decisions_are_those_of_the_whole_log(log, tmp_path):
    from stream.replay import replay

    for scene_number, unit in enumerate(("MSKU9070323", "MSKU9070344", "LOT1")):
        number = f"10000000000{scene_number}"
        unit_type = "PACKAGES" if unit == "LOT1" else "CONTAINER"
        log.declaration(number, unit, unit_type, status="REGISTERED", pieces=7)
        log.hold(holdID="H1", version=scene_number + 1, reference=unit)
        log.arrive_and_ask(unit, unitType=unit_type, pieces=7)
        log.declaration(number, unit, unit_type, version=2, pieces=7)
        log.event("GET_OUT", unit, unitType=unit_type, pieces=7)
    out = tmp_path / "out"
    replay(log.path, out)
    decisions = [json.loads(line) for line in (out / "decisions.ndjson").open(encoding="utf-8")]
    alerts = [json.loads(line) for line in (out / "alerts.ndjson").open(encoding="utf-8")]
    assert decisions
    assert alerts
    for unit in ("MSKU9070323", "MSKU9070344", "LOT1"):
        explanation = explain(log.path, unit)
        told = [story.decision for story in explanation.decisions]
        assert told == [it for it in decisions if it["unit"] == unit]
        assert explanation.alerts == [it for it in alerts if it["unit"] == unit]


def test_a_slip_of_the_pen_is_advised_and_never_releases(log):
    log.declaration()
    log.arrive_and_ask("MSKU9073023")
    explanation = explain(log.path, "MSKU9073023")
    assert explanation.decisions[-1].decision["outcome"] == "HOLD"
    check_digit, declared = explanation.near_misses
    assert (check_digit.kind, check_digit.unit) == ("CHECK_DIGIT", with_check_digit("MSKU9073023"))
    assert (declared.kind, declared.unit, declared.declaration_number) == ("DECLARED", BOX, NUMBER)
    assert "it never releases anything" in render(explanation, "en")
    assert "không làm căn cứ cho hàng qua" in render(explanation, "vi")


@pytest.mark.parametrize("change", ["location", "direction", "cancelled", "removed", "far"])
def test_no_advice_where_it_would_mislead(log, change):
    log.declaration(
        unit="MSKU9070311" if change == "far" else BOX,
        locationCode="L2" if change == "location" else "L1",
        direction="EXPORT" if change == "direction" else "IMPORT",
    )
    if change == "cancelled":
        log.declaration(version=2, status="CANCELLED")
    if change == "removed":
        log.line("declarations", NUMBER, None)
    log.arrive_and_ask("MSKU9073023")
    kinds = [miss.kind for miss in explain(log.path, "MSKU9073023").near_misses]
    assert kinds == ["CHECK_DIGIT"]


def test_no_advice_where_a_declaration_covers(log):
    log.declaration(OTHER, "MSKU9073023")
    log.declaration()
    log.arrive_and_ask("MSKU9073023")
    assert [miss.kind for miss in explain(log.path, "MSKU9073023").near_misses] == ["CHECK_DIGIT"]


def test_slips_are_one_away():
    found = set(slips("AB1"))
    assert {"BA1", "A1B", "AB2", "A1", "AAB1", "AB17"} <= found
    assert "AB1" not in found - {"AB1"}
    assert "BA2" not in found
    assert all(len(name) in (2, 3, 4) for name in found)
    assert max(map(len, slips("X" * 35))) == 35


def test_check_digits():
    assert with_check_digit("MSKU9070324") == BOX
    assert with_check_digit("CSQU3054380") == "CSQU3054383"


@pytest.mark.parametrize(
    ("text", "name"), [("msku 907032-3", BOX), ("lot/77", "LOT/77"), ("a" * 35, "A" * 35)]
)
def test_units_are_normalised(text, name):
    assert normalised_unit(text) == name


@pytest.mark.parametrize("text", ["", "- -", "A" * 36, "CẢNG", "A\tB"])
def test_what_is_no_unit(text):
    with pytest.raises(WhyError, match="is no unit"):
        normalised_unit(text)


def placeholders(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_both_languages_say_the_same_sentences_with_the_same_values():
    assert WORDS["vi"].keys() == WORDS["en"].keys()
    for key, text in WORDS["en"].items():
        assert placeholders(WORDS["vi"][key]) == placeholders(text), key
        assert WORDS["vi"][key] != text or text.startswith("{"), key
    source = Path(why.__file__).with_name("why_rows.py").read_text(encoding="utf-8")
    keys = set(re.findall(r'Sentence\(\s*f?"([a-z_]+)', source)) | {"lift_holds", "lift_scans"}
    for key in keys:
        assert any(known.startswith(key) for known in WORDS["en"]), key


def test_vietnamese_knows_every_word_of_the_contract():
    from core_ext import matcher  # noqa: F401 (the engine whose words these are)

    contract = """CONTAINER PACKAGES BULK LIQUID IMPORT EXPORT TRANSIT DOMESTIC CLEARANCE
        INSPECTION EMPTY SEIZED REGISTERED CLEARED RELEASED TO_STORAGE TO_INSPECTION
        TRANSPORT_APPROVED CANCELLED GET_IN GATE_CHECK GET_OUT RESEAL STRIP STUFF DISCREPANCY
        STOCK_COUNT STOP SCAN CUSTOMS_SEAL ACTIVE LIFTED RELEASE HOLD FLAG OFF"""
    assert set(TERMS) == set(contract.split())


def test_command(log, capsys):
    log.declaration()
    log.arrive_and_ask()
    assert cli.main(["why", "msku 907032-3", "--log", str(log.path), "--lang", "vi"]) == 0
    output = capsys.readouterr()
    assert f"{BOX}, theo log.ndjson" in output.out
    assert "CHO QUA" in output.out
    assert "once for this log" in output.err
    assert cli.main(["why", BOX, "--log", str(log.path)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["X", "--log", "log.ndjson"], "nothing in log.ndjson touches the unit X"),
        (["CẢNG", "--log", "log.ndjson"], "is no unit"),
        (["X", "--log", "absent.ndjson"], "absent.ndjson: No such file"),
        (["X", "--log", "log.ndjson", "--rules", "absent.toml"], "absent.toml: the rules file"),
        (["X", "--log", "wrong.ndjson"], "wrong.ndjson: line 0 (from 0; 1 in an editor): "),
    ],
)
def test_errors_are_one_line(log, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(log.path.parent)
    Path("wrong.ndjson").write_text("?\n")
    assert cli.main(["why", *arguments]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("gatejoin why: ")
    assert message in complaint
