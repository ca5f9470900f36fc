"""The engine and the reference model must say the same of every history, record by record.

GATEJOIN_PROPERTY_RECORDS sets how many generated records are compared (100,000 as shipped) and
GATEJOIN_SEED the seed (else a new one each run, printed, and named by whatever fails).
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import cramjam
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference.compare import (
    FILES,
    FOUND,
    compare_generated,
    engine_replay,
    first_difference,
    report,
    save,
    shrink_difference,
)
from tests.reference.generate import history, spoiled_values
from tests.reference.log import read_line, read_log, write_log
from tests.reference.model import Model, at, open_checks, replay, write_outputs
from tests.reference.policy import CODES

RECORDS = int(os.environ.get("GATEJOIN_PROPERTY_RECORDS", "100000"))
SEED = int(os.environ.get("GATEJOIN_SEED", int.from_bytes(os.urandom(4), "big")))


def found_cases() -> list[Path]:
    return sorted(FOUND.glob("*.ndjson"))


def test_generated_histories() -> None:
    print(f"GATEJOIN_SEED={SEED} GATEJOIN_PROPERTY_RECORDS={RECORDS}")
    found = compare_generated(SEED, RECORDS)
    if found is None:
        return
    lines, rules_text, difference = found
    small = shrink_difference(lines, difference, rules_text)
    kept = save(f"seed-{SEED}", small, rules_text)
    smaller = first_difference(small, rules_text) or difference
    pytest.fail(f"GATEJOIN_SEED={SEED}, kept as {kept.name}:\n{report(small, smaller, rules_text)}")


def test_a_wide_history() -> None:
    """Thousands of units, and declarations that list hundreds: tables grow and are emptied."""
    lines = history(Random(f"{SEED}/wide"), 4000, wide=True)
    difference = first_difference(lines)
    assert difference is None, f"GATEJOIN_SEED={SEED}: {difference}"


@pytest.mark.parametrize("number", range(4))
def test_a_hot_history(number: int) -> None:
    """Hundreds of events for one unit, late ones, corrections and retractions among them: what is
    kept added up says the same as a walk over all of them."""
    lines = history(Random(f"{SEED}/hot/{number}"), 700, hot=True)
    difference = first_difference(lines)
    assert difference is None, f"GATEJOIN_SEED={SEED}: {difference}"


def test_damaged_values() -> None:
    """Values with a few characters changed: rejected by both for the same field, or by none."""
    for number in range(10):
        lines = spoiled_values(Random(f"{SEED}/damaged/{number}"), 1000)
        difference = first_difference(lines)
        assert difference is None, f"GATEJOIN_SEED={SEED}: {difference}"


@given(random=st.randoms(use_true_random=False), size=st.integers(3, 60))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_history(random: Random, size: int) -> None:
    lines = history(random, size)
    difference = first_difference(lines)
    assert difference is None, report(lines, difference, None)


@pytest.mark.parametrize("log", found_cases(), ids=lambda log: log.stem)
def test_found_before(log: Path) -> None:
    """What once went wrong: smallest logs on which the two differed."""
    rules = log.with_suffix(".toml")
    lines = log.read_text("utf-8").split("\n")[:-1]
    difference = first_difference(lines, rules.read_text("utf-8") if rules.exists() else None)
    assert difference is None, str(difference)


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    log = tmp_path / "log.ndjson"
    write_log(log, history(Random(SEED), 500))
    outputs = []
    for name in ("first", "second"):
        engine_replay(log, tmp_path / name, None)
        outputs.append([(tmp_path / name / file).read_bytes() for file in FILES])
    assert outputs[0] == outputs[1]


def test_compressed_logs_say_the_same(tmp_path: Path) -> None:
    plain = tmp_path / "log.ndjson"
    write_log(plain, history(Random(SEED), 300))
    data = plain.read_bytes()
    logs = {
        plain: data,
        tmp_path / "log.ndjson.gz": gzip.compress(data),
        # Several members, as `cat` and log rotation make them, are one log.
        tmp_path / "members.gz": gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
        tmp_path / "log.ndjson.zst": bytes(cramjam.zstd.compress(data)),
        tmp_path / "no-line-feed-at-the-end.ndjson": data[:-1],
        tmp_path / "carriage-returns.ndjson": data.replace(b"\n", b"\r\n"),
    }
    outputs = []
    for log, content in logs.items():
        log.write_bytes(content)
        engine_replay(log, tmp_path / "out", None)
        outputs.append([(tmp_path / "out" / file).read_bytes() for file in FILES])
    assert all(output == outputs[0] for output in outputs)


@pytest.mark.parametrize("code", ["NOT_DECLARED", "STOPPED", "QUANTITY_EXCEEDED", "SEAL_MISMATCH"])
def test_a_rehearsal_changes_exactly_the_decisions_it_should(code: str, tmp_path: Path) -> None:
    """One row switched to FLAG: it is told among the flags, holds nothing, and that is all."""
    rules_path = tmp_path / "rules.toml"
    rules_path.write_text(f'[[rule]]\ncode = "{code}"\neffect = "FLAG"\n', "utf-8")
    log = tmp_path / "log.ndjson"
    changed = 0
    for number in range(20):
        write_log(log, history(Random(f"{SEED}/rehearsal/{number}"), 120))
        told = []
        for name, its_rules in (("law", None), ("rehearsal", rules_path)):
            engine_replay(log, tmp_path / name, its_rules)
            text = (tmp_path / name / "decisions.ndjson").read_text("utf-8")
            told.append([json.loads(line) for line in text.split("\n")[:-1]])
        by_law, by_rehearsal = told
        for decision in by_law:
            if code in decision["reasons"]:
                changed += 1
                decision["reasons"].remove(code)
                decision["flags"] = [c for c in CODES if c in (*decision["flags"], code)]
                if not decision["reasons"]:
                    decision["outcome"] = "RELEASE"
        compared = ("decisionID", "outcome", "reasons", "flags", "declarations", "holds", "trigger")
        assert [[d[name] for name in compared] for d in by_rehearsal] == [
            [d[name] for name in compared] for d in by_law
        ]
    assert changed > 0


def test_an_empty_log_gives_headers_only(tmp_path: Path) -> None:
    assert first_difference([]) is None
    assert first_difference(["", "  "]) is None


# ------------------------------------------------------------------------------ convergence

LastDecisions = dict[tuple[str, bool, str, str], tuple[Any, ...]]


def model_replay(log: Path, directory: Path, rules_path: Path | None) -> None:
    assert rules_path is None
    write_outputs(replay(log), directory)


def in_any_order(lines: list[str], directory: Path) -> tuple[list[str], list[str]]:
    """The lines of a history that must stay in place, and those whose order must not matter.

    Operators decide what is taken at all, and tombstones are about what came before them: only
    the first versions of operators are kept, in place. Of two records of one version the first
    counts, so that only the first is kept.
    """
    log = directory / "all.ndjson"
    write_log(log, lines)
    in_place: dict[str | None, str] = {}
    free: dict[tuple[Any, ...], str] = {}
    for line in read_log(log):
        text = lines[line.number]
        if line.value is None:
            continue
        if line.topic == "operators":
            in_place.setdefault(line.key, text)
            continue
        probe = Model()
        if line.topic == "port-events":
            for number, operator in enumerate(in_place.values()):
                add(probe, number, operator)
        add(probe, len(in_place), text)
        identity: tuple[Any, ...] | None = None
        for unit_key, unit in probe.units.items():
            for event in unit.events.values():
                identity = (*unit_key, *event.identity, event.version)
        for declaration in probe.declarations.values():
            identity = (declaration.number, declaration.version)
        for hold in probe.holds.values():
            identity = (hold.hold_id, hold.version, "hold")
        if identity is not None:
            free.setdefault(identity, text)
    return list(in_place.values()), list(free.values())


def add(model: Model, number: int, text: str) -> None:
    line = read_line(number, text.encode())
    model.apply(number, line.topic, line.timestamp_ms, line.key, line.value)


def last_decisions(directory: Path) -> LastDecisions:
    last: LastDecisions = {}
    for text in (directory / "decisions.ndjson").read_text("utf-8").split("\n")[:-1]:
        decision = json.loads(text)
        key = (
            decision["unit"],
            decision["unitType"] != "CONTAINER",
            decision["operatorID"],
            decision["eventID"],
        )
        last[key] = (
            decision["outcome"],
            decision["reasons"],
            decision["flags"],
            [one["declarationNumber"] for one in decision["declarations"]],
        )
    return last


@pytest.mark.parametrize("apply_log", [model_replay, engine_replay], ids=["model", "engine"])
def test_any_order_of_arrival_ends_in_the_same_state(apply_log, tmp_path: Path) -> None:
    compared = 0
    for number in range(25):
        random = Random(f"{SEED}/order/{number}")
        in_place, free = in_any_order(history(random, 80), tmp_path)
        reference = None
        for _ in range(4):
            random.shuffle(free)
            log = tmp_path / "log.ndjson"
            write_log(log, in_place + free)
            out = tmp_path / "out"
            apply_log(log, out, None)
            model = replay(log)
            open_now = {
                (*unit_key, *check.identity)
                for unit_key, unit in model.units.items()
                for location in {event.location for event in unit.effective()}
                for check in open_checks(at(unit.effective(), location), unit_key[1])
            }
            last = last_decisions(out)
            state = (
                {key: last[key] for key in sorted(open_now)},
                (out / "volumes.csv").read_text("utf-8"),
                (out / "stock.csv").read_text("utf-8"),
            )
            reference = reference or state
            assert state == reference, f"GATEJOIN_SEED={SEED}, history {number}"
            compared += len(open_now)
    assert compared > 100


# ------------------------------------------------------------------- what the histories reach


def test_the_histories_reach_every_row_alert_and_reject() -> None:
    reached: set[str] = set()
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "log.ndjson"
        for number in range(120):
            write_log(log, history(Random(f"reach/{number}"), 120))
            model = replay(log)
            reached |= {c for d in model.decisions for c in d["reasons"] + d["flags"]}
            reached |= {alert["type"] for alert in model.alerts}
            reached |= {reject["reason"] for reject in model.rejects}
    expected = {
        *CODES, "UNAUTHORISED_EXIT", "DOUBLE_ENTRY", "EXIT_WITHOUT_ENTRY", "LATE_REPORT",
        "DISCREPANCY", "STOCK_MISMATCH", "EXIT_RETRACTED", "RECALL", "OVERSTAYED",
        "TRANSIT_OVERDUE", "TOO_LARGE", "MALFORMED", "FUTURE", "UNKNOWN_OPERATOR",
        "OPERATOR_NOT_CONNECTED", "OPERATOR_LOCATION",
    }  # fmt: skip
    assert expected - reached == set()
