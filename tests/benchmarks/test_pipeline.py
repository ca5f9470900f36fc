"""The end-to-end harness at a small size, so that it does not rot: workload, judge, load,
and an engine or two on a real Kafka, every decision checked.
"""

from __future__ import annotations

import asyncio
import json

import numpy
import pytest

from benchmarks.pipeline import measure
from benchmarks.pipeline.__main__ import MODES, Harness, Mode
from benchmarks.pipeline.catalogue import BY_NAME, PEERS, MissingError
from benchmarks.pipeline.judge import WrongError, judge, read_values
from benchmarks.pipeline.measure import latency_of, probe_of
from benchmarks.pipeline.produce import OpenLoop, Producer, event_batches
from benchmarks.pipeline.results import Results, bars, spread
from benchmarks.pipeline.stage import FOREVER, Stage
from benchmarks.pipeline.worker import national_year
from benchmarks.pipeline.workload import EVENT_BYTES, Workload, operators
from core_ext.event_scanner import Scanner

DECLARED = 2_000
EVENTS = 10_000


@pytest.fixture(scope="module")
def workload():
    return Workload(DECLARED)


def decide(declared: dict[str, dict[str, str]], event: dict[str, str]) -> dict[str, str]:
    """The job, once more and as plainly as it goes."""
    row = declared.get(event["unit"])
    if row is None:
        verdict = "HOLD", "UNDECLARED"
    elif row["locationCode"] != event["locationCode"]:
        verdict = "HOLD", "WRONG_PORT"
    elif row["status"] != "CLEARED":
        verdict = "HOLD", "REGISTERED"
    else:
        verdict = "RELEASE", "CLEARED"
    kept = ("eventID", "operatorID", "locationCode", "unit")
    return {**{name: event[name] for name in kept}, "outcome": verdict[0], "reason": verdict[1]}


def test_the_workload_knows_the_right_decisions(workload):
    lines = workload.declared_lines(0, DECLARED).splitlines()
    declared = {row["unit"]: row for row in map(json.loads, lines)}
    assert len(declared) == DECLARED
    events = workload.events(0, EVENTS)
    verdicts = set()
    for value, decision in zip(events.values, events.decisions, strict=True):
        wanted = decide(declared, json.loads(value.tobytes()))
        verdicts.add(wanted["reason"])
        assert json.loads(decision.tobytes()) == wanted
    assert verdicts == {"CLEARED", "UNDECLARED", "WRONG_PORT", "REGISTERED"}
    assert events.values.shape[1] == EVENT_BYTES
    assert events.decisions.shape[1] == 143
    assert abs((events.verdicts == 0).mean() - 0.684) < 0.02


def test_any_slice_of_the_workload_is_the_same(workload):
    whole = workload.events(0, 70_000)
    part = workload.events(65_000, 66_000)
    assert (part.values == whole.values[65_000:66_000]).all()
    assert (part.decisions == whole.decisions[65_000:66_000]).all()


def test_the_workload_is_of_the_contract(workload):
    scanner = Scanner()
    values = [value.tobytes() for value in workload.events(0, 1000).values]
    assert not scanner.scan_port_events(values)["reason"].any()
    for keys, rows in workload.declarations(0, DECLARED):
        for key, value in zip(keys, rows, strict=True):
            _, *refused = scanner.scan_record("declarations", key.tobytes(), value.tobytes())
            assert refused == [None, None, None]
    for key, value in operators():
        assert scanner.scan_record("operators", key, value)[1] is None


@pytest.mark.parametrize("size", [273, 1024])
def test_events_have_the_size_that_is_asked_for(size):
    assert Workload(DECLARED, event_bytes=size).events(5, 9).values.shape == (4, size)
    with pytest.raises(ValueError, match="an event has"):
        Workload(DECLARED, event_bytes=100)


def test_the_judge_lets_nothing_pass(workload):
    events = workload.events(0, 100)
    right = [decision.tobytes() for decision in events.decisions]
    times = numpy.arange(100, dtype=numpy.int64)
    assert judge(right, times, workload, 0, 100).released == int((events.verdicts == 0).sum())
    mixed = [right[at] for at in range(99, -1, -1)]
    assert judge(mixed, times, workload, 0, 100).append_ms.tolist() == times[::-1].tolist()
    spaced = [json.dumps(json.loads(value)).encode() for value in right]
    assert judge(spaced, times, workload, 0, 100).count == 100

    def wrong(values: list[bytes], message: str) -> None:
        with pytest.raises(WrongError, match=message):
            judge(values, times[: len(values)], workload, 0, 100)

    wrong(right[:-1], "99 decisions for 100 events")
    wrong([*right[:-1], right[0]], "1 events were decided more than once and 1 never")
    held = next(value for value in right if b"UNDECLARED" in value)
    released = held.replace(b'"HOLD","reason":"UNDECLARED"', b'"RELEASE","reason":"CLEARED"')
    wrong([released if value == held else value for value in right], "wrong decisions")
    wrong([*right[:-1], right[-1].replace(b"E000", b"E900")], "never sent")
    wrong([*right[:-1], b"no JSON"], "never sent")


def test_rates_and_latencies_are_what_they_say(workload):
    events = workload.events(0, 1000)
    right = [decision.tobytes() for decision in events.decisions]
    found = judge(right, numpy.arange(1000, dtype=numpy.int64), workload, 0, 1000)
    assert found.overall_rate() == pytest.approx(1000.0)
    assert found.steady_rate() == pytest.approx(1000.0)
    load = OpenLoop(workload, 0, 1000.0, 1.0, 2, tick_s=0.01)
    assert load.count == 1000
    assert load.due_s[[0, 9, 10, 999]].tolist() == pytest.approx([0.0, 0.0, 0.01, 0.99])
    # Everything a second late at the start and in time at the end: half of them are late.
    appended = numpy.where(load.due_s < 0.5, 1_001_500, 1_000_000 + load.due_s * 1000 + 5)
    late = latency_of(load, 1000.0, appended.astype(numpy.int64))
    assert late.max_ms == 1500
    assert late.p50_ms >= 5
    assert late.p99_ms > 1000
    times = [at * 0.1 for at in range(50)]
    assert probe_of(1000.0, 5.0, times, [7] * 50).kept_up
    assert not probe_of(1000.0, 5.0, times, [at * 20 for at in range(50)]).kept_up
    assert not probe_of(1000.0, 5.0, [], []).kept_up


@pytest.mark.parametrize("name", ["gatejoin", "aiokafka", "plain-jvm"])
def test_an_engine_catches_up(kafka, name):
    peer = BY_NAME[name]
    try:
        peer.command()
    except MissingError as missing:
        pytest.skip(str(missing))

    async def run() -> None:
        async with Stage(DECLARED, broker=kafka) as stage:
            figures = await measure.catch_up(stage, peer, EVENTS)
            assert figures.events == EVENTS
            assert figures.steady_rate > 0
            assert figures.peak_rss_mb > 10
            assert 0 <= figures.busiest_thread_us <= figures.engine_cpu_us + 1000

    asyncio.run(run())


def test_a_load_is_kept_up_with(kafka):
    async def run() -> None:
        async with Stage(DECLARED, broker=kafka) as stage:
            found = await measure.sustain(
                stage, BY_NAME["gatejoin"], 1000.0, probe_seconds=0.5, latency_seconds=0.5,
                probes_max=1, shares=(), rates=(500.0,),
            )  # fmt: skip
            (late,) = found.latencies.values()
            assert late.events == 250
            assert late.max_ms >= late.p999_ms >= late.p50_ms >= 1

    asyncio.run(run())


def test_sweeps_and_the_year_are_measured(kafka, tmp_path):
    mode = Mode(**{**vars(MODES["sweeps"]), "events": EVENTS, "runs": 1, "partitions": (3,),
                   "sweeps": ("partitions", "workers"), "probe_seconds": 0.5})  # fmt: skip
    results = Results("make bench-e2e", {}, vars(mode))

    async def run() -> None:
        async with Stage(DECLARED, broker=kafka) as stage:
            harness = Harness(mode, results, tmp_path)
            await harness.sweep_traffic(stage)
            await harness.measure("year", "year", "the year", national_year(stage, 0.001, 2))

    asyncio.run(run())
    for kind, names in {
        "sweep partitions": ["partitions-3"],
        "late partitions": ["partitions-3"],
        "sweep workers (a burst, all rules)": ["workers-1", "workers-2"],
        "late workers (all rules)": ["workers-1", "workers-2"],
        "year": ["year"],
    }.items():
        assert list(results.measured[kind]) == names
        for (figures,) in results.measured[kind].values():
            assert "failed" not in figures
    text = results.as_markdown()
    assert "| 2 workers | 10,000 | " in text
    assert "| 2 workers | 50,000 | " in text
    assert "| 3 partitions | 50,000 | " in text


def test_loading_keeps_the_order_of_a_partition(kafka, workload):
    async def run() -> None:
        async with Stage(DECLARED, broker=kafka) as stage:
            events = workload.events(0, 1000)
            name = stage.name("loaded")
            await stage.make_topic(name, 3, FOREVER)
            with Producer(kafka) as producer:
                for number, batches in event_batches(events, 3, 7).items():
                    for batch in batches:
                        producer.send(name, [(number, batch)], in_flight_max=5)
                producer.flush()
            values, times = await read_values(kafka, name, 3)
            assert sorted(values) == sorted(value.tobytes() for value in events.values)
            partition = events.partitions(3)
            wanted = [events.values[at].tobytes() for at in numpy.flatnonzero(partition == 1)]
            assert [value for value in values if value in set(wanted)] == wanted
            assert set(times.tolist()) == set(events.timestamps_ms.tolist())

    asyncio.run(run())


def test_a_result_is_written_whatever_came_of_it(tmp_path):
    results = Results("make bench-e2e", {"Apache Kafka": "4"}, {"events": 7})
    figures = {"events": 7, "steady_rate": 30.0, "overall_rate": 20.0, "engine_cpu_us": 1.5,
               "busiest_thread_us": 0.5,
               "events_per_core_second": 666.0, "broker_cpu_us": 2.0, "peak_rss_mb": 70.0,
               "ready_s": 1.0}  # fmt: skip
    for rate in (20.0, 30.0, 40.0):
        results.add("catch-up", "gatejoin", "ours", {**figures, "steady_rate": rate})
        results.add("catch-up", "flink", "Flink & co", {**figures, "steady_rate": rate / 2})
    results.add("catch-up", "faust", "Faust", {"failed": "not | here"})
    paths = results.write(tmp_path)
    assert [path.suffix for path in paths] == [".json", ".md", ".svg"]
    assert json.loads(paths[0].read_text())["measured"]["catch-up"]["faust"]
    text = paths[1].read_text()
    assert "| ours | 7 | 30 (20–40) | 20 (20–20) | 1.00 |" in text
    assert "| Flink & co | 7 | 15 (10–20) | 20 (20–20) | 2.00 |" in text
    assert "left out: not / here" in text
    assert "| ours | 1.50 | 0.50 | 2.00 | 571,429 | 1,142,857 | 2,000,000 |" in text
    assert "Flink &amp; co" in paths[2].read_text()
    assert spread([{"rate": 1234.5}], "rate") == "1,234"
    assert bars("nothing", []).startswith("<svg")


def test_every_peer_has_its_program():
    for peer in PEERS:
        assert peer.kind in ("ours", "python", "jvm")
        assert 0 < peer.share <= 1
