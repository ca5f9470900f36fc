"""stream/registry.py: who counts as connected as of a date (CONTRACT.md, section 6)."""

import json

import pytest

from stream.moments import midnight_us, parse_day
from stream.registry import Registry, RegistryError, read_registry

DAY = parse_day("2018-06-30")


def operator(**changes):
    return {
        "operatorID": "OP1",
        "name": "Cảng 1",
        "kind": "SEAPORT",
        "departmentCode": "03",
        "departmentName": "Cục Hải quan TP. Hải Phòng",
        "locations": ["L1", "L2"],
        "status": "CONNECTED",
        "connectedDate": "2018-06-30",
        "version": 1,
    } | changes


def registry_of(*entries):
    registry = Registry()
    for timestamp_ms, changes in entries:
        registry.add(timestamp_ms, "OP1", None if changes is None else operator(**changes))
    return registry


def connected(registry, day):
    return [operator_id for operator_id, it in registry.as_of(day).items() if it.connected(day)]


END_OF_DAY_MS = midnight_us(DAY + 1) // 1000 - 1


def test_a_message_counts_up_to_the_last_millisecond_of_the_day_in_vietnam():
    assert connected(registry_of((END_OF_DAY_MS, {})), DAY) == ["OP1"]
    late = registry_of((END_OF_DAY_MS + 1, {}))
    assert connected(late, DAY) == []
    assert connected(late, DAY + 1) == ["OP1"]


def test_the_connected_date_counts_up_to_that_date():
    registry = registry_of((0, {}))
    assert connected(registry, DAY - 1) == []
    assert connected(registry, DAY) == ["OP1"]
    assert list(registry.as_of(DAY - 1)) == ["OP1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "SUSPENDED"},
        {"status": "TESTING"},
        {"status": "SURVEYED"},
        {"connectedDate": None},
        {"connectedDate": "2018-07-01"},
        None,
    ],
)
def test_the_latest_version_decides(changes):
    registry = registry_of((0, {}), (END_OF_DAY_MS, changes))
    assert connected(registry, DAY) == []
    assert connected(registry_of((0, {}), (END_OF_DAY_MS + 1, changes)), DAY) == ["OP1"]


def test_after_a_removal_it_may_come_back():
    registry = registry_of((0, {}), (1, None), (2, {"departmentCode": "51"}))
    assert registry.as_of(DAY)["OP1"].department_code == "51"


def test_a_file_is_read(tmp_path):
    path = tmp_path / "registry.ndjson"
    lines = [
        {"timestamp": 5, "operatorID": "OP1", "operator": operator(unknown=float("1e5"))},
        {"timestamp": 6, "operatorID": "OP2", "operator": operator(operatorID="OP2")},
        {"timestamp": 7, "operatorID": "OP2", "operator": None},
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path.write_text(text.replace("100000.0", "1" * 5000), encoding="utf-8")
    registry = read_registry(path)
    assert list(registry.as_of(DAY)) == ["OP1"]
    assert registry.as_of(DAY)["OP1"].locations == ("L1", "L2")
    assert registry.timestamp_ms_max == 7


@pytest.mark.parametrize(
    "line",
    [
        "nothing",
        "[]",
        "{}",
        '{"timestamp": 1.5, "operatorID": "A", "operator": null}',
        '{"timestamp": 1, "operatorID": "A", "operator": {}}',
        '{"timestamp": 1, "operatorID": "A", "operator": 5}',
    ],
)
def test_a_wrong_line_is_named(tmp_path, line):
    path = tmp_path / "registry.ndjson"
    path.write_text("\n" + line + "\n")
    with pytest.raises(RegistryError, match=r"registry\.ndjson:2: .*replay the log again"):
        read_registry(path)
