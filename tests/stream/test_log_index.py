"""stream/log_index.py and core_ext/log_index: every line that touches a name is found.

Method: small logs against a plain search through all lines; an index of many small runs; a large
log of made-up names against a dictionary.
"""

import gzip
import json
import os
import random
import shutil
import subprocess

import pytest

from core_ext.log_index import LINE_STRIDE, LogIndexer, LogLineError, name_hash
from stream import log_index
from stream.log_index import INDEX_SUFFIX, LogIndexError, open_index

EVENT = {
    "eventID": "E1",
    "eventType": "GET_IN",
    "eventDateTime": "2018-01-01T00:00:00Z",
    "operatorID": "OP1",
    "locationCode": "L1",
    "unitType": "CONTAINER",
    "unit": "MSKU 907032-3",
    "direction": "IMPORT",
}
DECLARATION = {
    "declarationNumber": "100000000001",
    "version": 1,
    "direction": "IMPORT",
    "status": "CLEARED",
    "registeredDateTime": "2018-01-01T00:00:00Z",
    "locationCode": "L1",
    "units": [
        {"unit": "msku9070323", "unitType": "CONTAINER"},
        {"unit": "LOT/1", "unitType": "BULK"},
    ],
}
HOLD = {
    "holdID": "H1",
    "version": 1,
    "scope": "UNIT",
    "reference": "lot/1",
    "reason": "STOP",
    "state": "ACTIVE",
    "issuedDateTime": "2018-01-01T00:00:00Z",
}


def line(topic, key, value):
    return json.dumps({"topic": topic, "timestamp": 1, "key": key, "value": value})


LINES = [
    line("operators", "OP1", {"operatorID": "OP1"}),
    line("declarations", "100000000001", DECLARATION),
    "",
    line("holds", "H1", HOLD),
    line("holds", "H2", HOLD | {"holdID": "H2", "scope": "DECLARATION", "reference": "1" * 12}),
    line("port-events", "MSKU9070323", EVENT),
    line("port-events", "other", EVENT),
    line("port-events", "msku 9070323", "no json"),
    line("port-events", None, json.dumps(EVENT)),
    line("declarations", "100000000001", None),
    line("holds", "H1", {"holdID": "H1"}),
    line("port-events", "bad key \u0001", None),
]


def write(path, lines, end="\n"):
    path.write_text("\n".join(lines) + end)
    return path


def test_lines_are_found_by_all_their_names(tmp_path):
    log = write(tmp_path / "a.ndjson", LINES)
    with open_index(log) as index:
        assert index.line_count == len(LINES)
        assert index.find("o", "OP1") == {0}
        assert index.find("d", "100000000001") == {1, 9}
        assert index.find("d", "1" * 12) == {4}
        assert index.find("h", "H1") == {3, 10}
        assert index.find("h", "H2") == {4}
        assert index.find("u", "MSKU9070323") == {1, 5, 6, 7, 8}
        assert index.find("u", "LOT/1") == {1, 3}
        assert index.find("u", "OTHER") == {6}
        assert index.find("u", "OP1") == set()
        found = dict(index.read({8, 1, 9}))
    assert found == {number: LINES[number].encode() for number in (1, 8, 9)}


def test_the_last_line_needs_no_end(tmp_path):
    log = write(tmp_path / "a.ndjson", LINES[:6], end="")
    with open_index(log) as index:
        assert 5 in index.find("u", "MSKU9070323")
        assert list(index.read([5])) == [(5, LINES[5].encode())]


def test_an_empty_log(tmp_path):
    with open_index(write(tmp_path / "a.ndjson", [], end="")) as index:
        assert index.line_count == 0
        assert index.find("u", "X") == set()


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_logs(tmp_path, suffix):
    log = tmp_path / f"a.ndjson{suffix}"
    data = "\n".join(LINES).encode()
    if suffix == ".gz":
        log.write_bytes(gzip.compress(data))
    else:
        import cramjam

        log.write_bytes(bytes(cramjam.zstd.compress(data)))
    with open_index(log) as index:
        numbers = index.find("u", "MSKU9070323")
        assert dict(index.read(numbers)) == {n: LINES[n].encode() for n in numbers}
    log.write_bytes(log.read_bytes()[:-20])
    with pytest.raises(LogIndexError, match="can't be decompressed"):
        open_index(log)


def test_many_runs_and_chunks_agree_with_a_plain_search(tmp_path, monkeypatch):
    monkeypatch.setattr(log_index, "RUN_POSTINGS", 50)
    monkeypatch.setattr(log_index, "CHUNK_BYTES", 1000)
    source = random.Random(7)
    expected = {}
    lines = []
    for number in range(1500):
        unit = f"UNIT{source.randrange(200)}"
        units = [f"UNIT{source.randrange(200)}" for _ in range(source.randrange(90))]
        if source.random() < 0.05:
            units_of_it = [{"unit": name, "unitType": "BULK"} for name in units]
            value = DECLARATION | {"units": units_of_it}
            lines.append(line("declarations", "100000000001", value))
        else:
            units = [unit]
            lines.append(line("port-events", unit, EVENT | {"unit": unit}))
        for name in units:
            expected.setdefault(name, set()).add(number)
    log = write(tmp_path / "a.ndjson", lines)
    with open_index(log) as index:
        assert len(index._runs) > 10
        for name, numbers in expected.items():
            assert index.find("u", name) == numbers
        some = set(source.sample(range(1500), 200))
        assert dict(index.read(some)) == {number: lines[number].encode() for number in some}


def test_every_stored_hash_is_found_and_no_other():
    source = random.Random(3)
    for size in (0, 1, 2, 63, 64, 65, 1000, 5000):
        clumped = [source.randrange(1 << 20) for _ in range(size // 2)]
        spread = [source.randrange(1 << 64) for _ in range(size - size // 2)]
        hashes = sorted(clumped + spread)
        for wanted in [*hashes[:50], *hashes[-50:], 0, (1 << 64) - 1, source.randrange(1 << 64)]:
            place = log_index._first_at_least(hashes, wanted)
            assert all(value < wanted for value in hashes[:place])
            assert all(value >= wanted for value in hashes[place:])


def test_an_index_is_kept_and_made_anew_when_the_log_changes(tmp_path):
    log = write(tmp_path / "a.ndjson", LINES)
    notes = []
    open_index(log, notes.append).close()
    open_index(log, notes.append).close()
    assert len(notes) == 1
    write(log, [*LINES, LINES[5]])
    with open_index(log, notes.append) as index:
        assert len(notes) == 2
        assert len(LINES) in index.find("u", "MSKU9070323")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ndjson", "a.ndjson.index"]


@pytest.mark.parametrize("cut", [0, 10, 63, 64, -8, -1])
def test_a_broken_index_is_made_anew(tmp_path, cut):
    log = write(tmp_path / "a.ndjson", LINES)
    open_index(log).close()
    path = tmp_path / ("a.ndjson" + INDEX_SUFFIX)
    path.write_bytes(path.read_bytes()[:cut])
    with open_index(log) as index:
        assert index.find("o", "OP1") == {0}


def test_a_place_that_cannot_be_written_to(tmp_path, monkeypatch):
    log = write(tmp_path / "a.ndjson", LINES)
    # A directory in the way does it for root too, whom no permission stops.
    (tmp_path / f"a.ndjson.index.{os.getpid()}").mkdir()
    notes = []
    with open_index(log, notes.append) as index:
        assert index.find("o", "OP1") == {0}
    assert "the index is not kept" in notes[1]


@pytest.mark.parametrize(
    "wrong", ["nothing", "{}", '{"topic": "cats", "timestamp": 1, "key": null, "value": 1}']
)
def test_a_wrong_line_is_named_and_leaves_nothing(tmp_path, wrong):
    log = write(tmp_path / "a.ndjson", [*LINES, wrong, *LINES])
    with pytest.raises(LogIndexError, match=rf"a\.ndjson: line {len(LINES)} \(from 0; "):
        open_index(log)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ndjson"]


def test_an_endless_line(tmp_path, monkeypatch):
    monkeypatch.setattr(log_index, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(log_index, "LINE_BYTES_MAX", 5000)
    with pytest.raises(LogIndexError, match="line 0 .* is longer than 5,000 bytes"):
        open_index(write(tmp_path / "a.ndjson", [" " * 10000]))


def test_the_core_scans_up_to_the_last_line_end():
    indexer = LogIndexer(100)
    data = (LINES[0] + "\n" + LINES[1]).encode()
    assert indexer.scan(data, 0, False) == len(LINES[0]) + 1
    assert (indexer.line_count, indexer.posting_count) == (1, 1)
    hashes, lines = indexer.take_run()
    assert hashes == name_hash("o", b"OP1").to_bytes(8, "little")
    assert lines == bytes(4)
    assert indexer.posting_count == 0
    with pytest.raises(LogLineError) as caught:
        indexer.scan(b"?\n", 0, True)
    assert caught.value.line == 2
    assert LINE_STRIDE == 16


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the zstd program")
def test_zst_of_several_frames(tmp_path):
    log = tmp_path / "a.ndjson.zst"
    for part in ("\n".join(LINES) + "\n").encode(), LINES[5].encode():
        frame = subprocess.run(["zstd", "-qc"], input=part, capture_output=True, check=True)
        with log.open("ab") as file:
            file.write(frame.stdout)
    with open_index(log) as index:
        assert len(LINES) in index.find("u", "MSKU9070323")
