"""The AsyncAPI document: valid for AsyncAPI's own parser, and true of what the engine takes and
writes, held against histories of the reference generator and the hand-written cases."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest

from stream import topics
from stream.asyncapi import INTERFACES, document
from stream.local_kafka import cache_directory
from stream.policy import CODES
from stream.record_schemas import HOLD_CODES
from stream.replay import replay
from stream.settings import Settings
from tests.reference.cases.rejects_table import CASES as REJECT_CASES
from tests.reference.generate import history
from tests.reference.log import read_line, write_log

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "deploy" / "asyncapi.json"
PARSER = "@asyncapi/parser@3.6.6"
VALIDATORS = {
    interface.topic: jsonschema.Draft7Validator(interface.schema) for interface in INTERFACES
}


def parser_modules() -> Path:
    """AsyncAPI's parser, installed once beside Kafka's jars; it appears whole or not at all."""
    target = cache_directory() / PARSER.replace("/", "-").strip("@")
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as directory:
            subprocess.run(
                ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent",
                 "--prefix", directory, PARSER],
                check=True, stdin=subprocess.DEVNULL, timeout=300,
            )  # fmt: skip
            shutil.copytree(directory, made := f"{target}.{os.getpid()}")
        try:
            Path(made).rename(target)
        except OSError:  # another run was faster
            shutil.rmtree(made)
    return target / "node_modules"


def test_asyncapis_own_parser_finds_nothing() -> None:
    said = subprocess.run(
        ["node", str(HERE / "asyncapi_parse.cjs"), str(parser_modules()), str(DOCUMENT)],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = json.loads(said.stdout)
    assert found["diagnostics"] == []
    assert sorted(found["channels"]) == sorted(interface.topic for interface in INTERFACES)


def test_the_document_has_every_public_topic_as_it_is_declared() -> None:
    settings = Settings(topic_prefix="north.", partitions=12)
    channels = document(settings)["channels"]
    declared = {topic.name: topic for topic in topics.declarations(settings)}
    internal = {topics.UNIT_STATES, *topics.AGGREGATES}
    assert set(channels) == set(declared) - internal
    for name, channel in channels.items():
        kafka = channel["bindings"]["kafka"]
        assert channel["address"] == kafka["topic"] == f"north.{name}"
        assert kafka["partitions"] == declared[name].partitions


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.topic)
def test_schemas_and_examples_are_valid(interface: Any) -> None:
    jsonschema.Draft7Validator.check_schema(interface.schema)
    VALIDATORS[interface.topic].validate(interface.example)


def test_the_codes_are_the_policys() -> None:
    assert HOLD_CODES == CODES


def replayed(lines: list[str], directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    log = directory / "log.ndjson"
    write_log(log, lines)
    replay(log, directory / "out", None)
    for name in ("decisions", "alerts", "rejects"):
        for text in (directory / "out" / f"{name}.ndjson").read_text("utf-8").splitlines():
            yield name, json.loads(text)


def test_what_the_engine_takes_and_writes_is_valid(tmp_path: Path) -> None:
    """What was not refused as a record is valid, and what was written has exactly the fields that
    the schema has."""
    lines = [line for line in history(Random("schemas"), 6000) if line.strip()]
    counts: Counter[str] = Counter()
    refused = set()
    for name, record in replayed(lines, tmp_path):
        VALIDATORS[name].validate(record)
        assert set(record) == set(VALIDATORS[name].schema["properties"])
        counts[name] += 1
        if name == "rejects" and record["reason"] in ("MALFORMED", "TOO_LARGE"):
            refused.add(record["source"]["offset"])
    for number, line in enumerate(lines):
        read = read_line(number, line.encode())
        if read.value is not None and number not in refused:
            errors = list(VALIDATORS[read.topic].iter_errors(json.loads(read.value)))
            assert not errors, (read.value, errors[0].message)
            counts[read.topic] += 1
    assert all(counts[interface.topic] >= 20 for interface in INTERFACES), counts


def test_what_is_malformed_by_a_missing_field_is_no_valid_record() -> None:
    missing = [case for case in REJECT_CASES if case.name.endswith("is missing")]
    assert len(missing) >= 30
    for case in missing:
        read = read_line(0, case.log[-1].encode())
        assert list(VALIDATORS[read.topic].iter_errors(json.loads(read.value))), case.name
