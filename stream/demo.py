"""``gatejoin demo``: a national year through a real Apache Kafka and a worker, on this machine.

Customs' side is loaded, the year's events are sent, the worker answers; a live phase on top shows
how fast a gate is answered; at the end stands the national table, with every number checked
against what the generator knows. Called by the command line. This module is the order of things
and what people see; traffic, worker and tables are demo_traffic.py, demo_worker.py and
demo_report.py. It must never know rules.

Everything that it starts it stops by process id, whatever happens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from aiokafka.errors import KafkaError

from stream import topics
from stream.demo_report import (
    STOCK_COLUMNS,
    VOLUME_COLUMNS,
    Check,
    box,
    check_connected,
    national_report,
    outcome_table,
    percentile,
    stock_of,
    volumes_of,
)
from stream.demo_traffic import Answers, Counted, Sender
from stream.demo_worker import Progress, Worker, WorkerError
from stream.live_topics import LiveTopics, LiveTopicsError
from stream.live_topics import Progress as LiveProgress
from stream.local_kafka import (
    LocalKafka,
    LocalKafkaError,
    broker_from_environment_or_local,
    ports_choose,
)
from stream.national_year import Expectations, NationalYear
from stream.national_year.expectations import StockKey, StockSums, VolumeKey, VolumeSums
from stream.national_year.planner import SCALE_MAX, SCALE_MIN
from stream.report import Report, render_text
from stream.settings import Settings, SettingsError

LIVE_SECONDS = 10.0
LIVE_EVENTS_PER_SECOND = 5_000
LIVE_LEAD_S = 1.5
"""Between planning the live phase and its first event."""
READY_S_MAX = 300.0
STILL_S_MAX = 120.0
"""A stage in which nothing moves for so long has failed; a restarting broker takes a minute."""
SETTLE_S_MAX = 60.0
"""What customs set off in the live phase has no offset to wait for, so its count is waited for."""
LOOK_S = 0.1
"""How often progress is looked at; it bounds the error of the times that are printed."""
DIFFERENCES_SHOWN_MAX = 20
KAFKA_HEAP_MB = 1024


class DemoError(RuntimeError):
    """The demo can't go on; the message is one line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to ``parser``."""
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="X",
        help=f"1 is the nation, about 8 million events; {SCALE_MIN} to {SCALE_MAX:g}"
        " (default %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=2018, metavar="N", help="another year (default %(default)s)"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="leave broker and worker running, with their addresses, until Ctrl-C",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo. Returns 0 if every number is as expected, 1 otherwise, 2 for bad arguments."""
    # SIGTERM and a closed terminal then take the same way out as Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # What a library has to say of a broker that is away is one line each, not a traceback.
    logging.basicConfig(level=logging.WARNING, format="gatejoin demo: %(message)s")
    for name in ("aiokafka", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        year = NationalYear(seed=arguments.seed, scale=arguments.scale)
    except ValueError as error:
        return _complain(str(error), 2)
    try:
        with _broker() as (address, kafka):
            return asyncio.run(_Demo(year, address, kafka, arguments.keep).run())
    except KeyboardInterrupt:
        _say("Stopped.")
        return 130
    except (
        DemoError, WorkerError, LiveTopicsError, LocalKafkaError, SettingsError, topics.TopicsError,
    ) as error:  # fmt: skip
        return _complain(str(error), 1)
    except KafkaError as error:
        return _complain(f"the broker: {error}; is it still there?", 1)


def _complain(message: str, status: int) -> int:
    print(f"gatejoin demo: {' '.join(message.split())}", file=sys.stderr)
    return status


def _say(text: str = "") -> None:
    print(text, flush=True)


@contextlib.contextmanager
def _broker() -> Iterator[tuple[str, LocalKafka | None]]:
    """The broker of the environment, or one of our own and it alone to be looked after."""
    if os.environ.get("GATEJOIN_BROKER", "").strip():
        with broker_from_environment_or_local() as address:
            _say(f"Apache Kafka: {address} (GATEJOIN_BROKER)")
            yield address, None
        return
    started = time.monotonic()
    with LocalKafka(heap_mb=KAFKA_HEAP_MB) as kafka:
        _say(f"Apache Kafka: {kafka.bootstrap_servers}, up in {time.monotonic() - started:.1f} s")
        yield kafka.bootstrap_servers, kafka


class _Line:
    """One stage's line of progress: rewritten in a terminal, now and then elsewhere."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = max(total, 1)
        self._started = time.monotonic()
        self._shown = 0.0
        self._is_terminal = sys.stdout.isatty()

    def show(self, done: int, more: str = "") -> None:
        now = time.monotonic()
        if now - self._shown < (0.2 if self._is_terminal else 5.0):
            return
        self._shown = now
        seconds = now - self._started
        rate = done / seconds if seconds else 0.0
        left = (self._total - done) / rate if rate else 0.0
        text = (
            f"{self._title}: {done:,} of {self._total:,} ({done / self._total:.0%}), "
            f"{rate:,.0f}/s, {left:.0f} s left{more}"
        )
        print(f"\r{text}\x1b[K" if self._is_terminal else text, end="" if self._is_terminal
              else "\n", flush=True)  # fmt: skip

    def end(self, text: str) -> float:
        """Replaces the line by ``text``; returns the stage's seconds."""
        seconds = time.monotonic() - self._started
        clear = "\r\x1b[K" if self._is_terminal else ""
        _say(f"{clear}{self._title}: {text.format(seconds=seconds)}")
        return seconds


class _Demo:
    """One run of the demo on a broker that is there."""

    def __init__(
        self, year: NationalYear, address: str, kafka: LocalKafka | None, keep: bool
    ) -> None:
        self._year = year
        self._kafka = kafka
        self._keep = keep
        self._check = Check([])
        self._figures: list[tuple[str, str]] = []
        self._note = ""
        # On somebody else's broker our topics must be nobody else's.
        prefix = f"demo-{uuid.uuid4().hex[:8]}." if kafka is None else ""
        self._settings = dataclasses.replace(
            Settings.from_environment(),
            broker=address,
            topic_prefix=prefix,
            web_port=ports_choose(1)[0],
            web_host="127.0.0.1",
        )

    async def run(self) -> int:
        counts = await topics.ensure_topics(self._settings)
        with tempfile.TemporaryDirectory(prefix="gatejoin-demo-") as directory:
            worker = Worker(self._settings, Path(directory) / "worker.log")
            try:
                return await self._run(worker, counts)
            finally:
                # The event loop has nothing else to do by now.
                worker.stop()

    async def _run(self, worker: Worker, counts: dict[str, int]) -> int:
        async with (
            Sender(self._settings).connected() as sender,
            Answers(self._settings, counts).connected() as answers,
            Progress(self._settings, counts[topics.PORT_EVENTS]) as progress,
        ):
            await self._load_customs(sender, worker, counts)
            await self._send_year(sender, worker, progress, counts)
            expected = await asyncio.to_thread(self._year.expectations)
            found = await self._read_answers(answers, expected)
            await self._check_tables("year", expected)
            report = national_report(self._volumes, self._stock)
            after = await self._play_live(sender, worker, progress, answers, counts, expected)
            resident, most = worker.memory_bytes()
            self._figure("worker memory", f"{resident / 2**20:,.0f} MiB at the end, "
                         f"{most / 2**20:,.0f} MiB at most")  # fmt: skip
            status = self._report(report, expected, found, after)
            if self._keep:
                await self._wait_for_the_user(worker)
            return status

    def _figure(self, name: str, value: str) -> None:
        self._figures.append((name, value))

    # Stages.

    async def _load_customs(self, sender: Sender, worker: Worker, counts: dict[str, int]) -> None:
        # Every topic's partitions are the same in number on customs' side.
        partitions = counts[topics.DECLARATIONS]
        expected = self._year.customs_count
        line = _Line("Customs' side, sent", expected)
        sent = await sender.send_slices(
            self._year.customs_records(partitions), lambda done: self._look(line, done)
        )
        seconds_sent = line.end(f"{sent:,} operators, declarations and holds in {{seconds:.1f}} s")
        worker.start()
        line = _Line("Customs' side, loaded by the worker", expected)
        deadline = time.monotonic() + READY_S_MAX
        while (answer := await worker.ask("/readyz"))[0] != 200:
            worker.check()
            loaded = await worker.samples("gatejoin_customs_loaded_ratio")
            # Nearly all records are declarations.
            share = loaded.get(f'topic="{topics.DECLARATIONS}"', 0.0)
            self._look(line, int(share * expected))
            if time.monotonic() > deadline:
                raise DemoError(f"the worker is not ready after {READY_S_MAX:.0f} s: {answer[1]}")
            await asyncio.sleep(LOOK_S)
        seconds = line.end("ready {seconds:.1f} s after its start")
        self._figure(
            "customs side",
            f"{seconds_sent + seconds:.1f} s ({sent:,} records: sent in {seconds_sent:.1f} s, "
            f"worker started and loaded in {seconds:.1f} s)",
        )

    def _look(self, line: _Line, done: int, more: str = "") -> None:
        line.show(done, more)
        if self._kafka is not None:
            self._kafka.check()

    async def _send_year(
        self, sender: Sender, worker: Worker, progress: Progress, counts: dict[str, int]
    ) -> None:
        total = self._year.event_count
        line = _Line("The year's events", total)
        sent = 0

        def note(done: int) -> None:
            nonlocal sent
            sent = done

        sending = asyncio.ensure_future(
            sender.send_slices(self._year.port_events(counts[topics.PORT_EVENTS]), note)
        )
        started = time.monotonic()
        sent_seconds = 0.0
        try:
            done, moved_at = 0, started
            while done < total:
                await asyncio.sleep(LOOK_S)
                worker.check()
                if sending.done():
                    sending.result()
                    sent_seconds = sent_seconds or time.monotonic() - started
                before, done = done, await progress.done()
                now = time.monotonic()
                moved_at = now if done > before or not sending.done() else moved_at
                if now - moved_at > STILL_S_MAX:
                    raise DemoError(
                        f"the worker stands still at {done:,} of {total:,} events; "
                        f"{worker.last_words()}"
                    )
                self._look(line, done, f", sent {sent:,}, lag {sent - done:,}")
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        seconds = line.end(f"{total:,} through Kafka and the worker in {{seconds:.1f}} s")
        self._check.number("events sent", total, sent)
        self._figure("the year's events", f"{seconds:.1f} s ({total:,} events, "
                     f"{total / seconds:,.0f}/s; sent in {sent_seconds:.1f} s)")  # fmt: skip

    async def _read_answers(self, answers: Answers, expected: Expectations) -> Counted:
        line = _Line("Decisions read back", expected.decision_count)
        found = await answers.read()
        line.end(f"{found.decision_count:,} in {{seconds:.1f}} s")
        self._check_counts("year", expected, found)
        return found

    def _check_counts(self, what: str, expected: Expectations, found: Counted) -> None:
        for name in ("outcomes", "reasons", "flags", "alerts", "rejects"):
            self._check.counts(f"{what}, {name}:", getattr(expected, name), getattr(found, name))

    async def _check_tables(self, what: str, *expected: Expectations) -> None:
        """Compares the workers' tables with what all of ``expected`` together ask for."""
        async with LiveTopics(self._settings, LiveProgress("gatejoin demo")) as live:
            self._volumes = volumes_of((await live.latest(topics.VOLUMES)).values())
            self._stock = stock_of((await live.latest(topics.STOCK)).values())
        volumes: dict[VolumeKey, VolumeSums] = {}
        stock: dict[StockKey, StockSums] = {}
        for one in expected:
            # The days of the year and of the live phase are different ones.
            volumes |= dict(one.volumes.rows())
            stock |= one.stock.by_start_day()
        self._check.table(f"{what}, volume", VOLUME_COLUMNS, volumes, self._volumes)
        self._check.table(f"{what}, stock", STOCK_COLUMNS, stock, self._stock)

    async def _play_live(
        self,
        sender: Sender,
        worker: Worker,
        progress: Progress,
        answers: Answers,
        counts: dict[str, int],
        before: Expectations,
    ) -> Counted:
        plan = self._year.live_plan(LIVE_SECONDS, LIVE_EVENTS_PER_SECOND, counts)
        line = _Line("Live phase", plan.event_count)
        declared = plan.declared(time.time_ns() // 1_000_000)
        applied = await self._customs_applied(worker)
        await sender.send_at_once(declared)
        await self._until(
            lambda: self._customs_applied(worker), applied + len(declared), worker,
            "the worker has not read what customs declared for the live phase",
        )  # fmt: skip
        already = await progress.done()
        start_s = time.time() + LIVE_LEAD_S
        live = plan.at(int(start_s * 1000))
        late_s = await sender.play([live.events, live.customs], int(start_s * 1000) / 1000)
        await self._until(
            progress.done, already + len(live.events), worker, "the worker stands still"
        )
        expected = live.expectations
        # Once the clock has come to today, whatever the year left in stock is overdue.
        expected.alerts += before.alerts_at(expected.clock_ms) - before.alerts
        found = await answers.read(latencies=True)
        deadline = time.monotonic() + SETTLE_S_MAX
        while found.decision_count < expected.decision_count and time.monotonic() < deadline:
            found.add(await answers.read(latencies=True))
        line.end(f"{len(live.events):,} events at {LIVE_EVENTS_PER_SECOND:,}/s, "
                 f"{len(live.customs):,} words of customs meanwhile")  # fmt: skip
        latencies = sorted(found.latencies_ms)
        if latencies and latencies[-1] >= plan.gap_ms_min:
            # Customs may have spoken before the check that it was to answer: then other decisions
            # are right. Only a machine that is busy with other things gets here.
            self._note = (
                f"The live phase's counts were not compared: a gate waited {latencies[-1]:,.0f} ms,"
                f" and customs speaks {plan.gap_ms_min:,} ms after a check. Try again when the"
                " machine is less busy."
            )
        else:
            self._check_counts("live", expected, found)
        self._check.number("live: gates answered", plan.check_count, len(latencies))
        if latencies:
            self._figure(
                "gate answer",
                f"p50 {percentile(latencies, 0.5):.1f} ms, "
                f"p99 {percentile(latencies, 0.99):.1f} ms, "
                f"max {latencies[-1]:.1f} ms ({len(latencies):,} checks at "
                f"{LIVE_EVENTS_PER_SECOND:,} events/s, sender late by at most "
                f"{late_s * 1000:.1f} ms)",
            )
        self._live_expected = expected
        await self._check_tables("live", before, expected)
        return found

    async def _customs_applied(self, worker: Worker) -> int:
        records = await worker.samples("gatejoin_records_total")
        return int(sum(count for labels, count in records.items() if topics.PORT_EVENTS
                       not in labels))  # fmt: skip

    async def _until(
        self, look: Callable[[], object], wanted: int, worker: Worker, otherwise: str
    ) -> None:
        deadline = time.monotonic() + SETTLE_S_MAX
        while (reached := await look()) < wanted:  # type: ignore[misc]
            worker.check()
            if time.monotonic() > deadline:
                raise DemoError(f"{otherwise}: {reached:,} of {wanted:,}; {worker.last_words()}")
            await asyncio.sleep(LOOK_S)

    # The last page.

    def _report(
        self, report: Report, expected: Expectations, found: Counted, after: Counted
    ) -> int:
        connected = check_connected(self._check)
        _say()
        _say(render_text(report))
        for title, wanted, counted in (
            ("The year", expected, found),
            ("The live phase", self._live_expected, after),
        ):
            _say(f"{title}: what came out\n")
            by_name: dict[str, Counter[str]] = {
                name: getattr(counted, name)
                for name in ("outcomes", "reasons", "flags", "alerts", "rejects")
            }
            _say(outcome_table(wanted, by_name))
        _say(connected)
        if self._note:
            _say(self._note)
        differences = self._check.differences
        for difference in differences[:DIFFERENCES_SHOWN_MAX]:
            _say(f"DIFFERS  {difference}")
        if len(differences) > DIFFERENCES_SHOWN_MAX:
            _say(f"... and {len(differences) - DIFFERENCES_SHOWN_MAX:,} more")
        verdict = f"{len(differences):,} differ" if differences else "all as expected"
        self._figure("numbers checked", f"{self._check.compared:,}: {verdict}")
        _say()
        _say(box(f"national year, scale {self._year.scale:g}, seed {self._year.seed}",
                 self._figures))  # fmt: skip
        return 1 if differences else 0

    async def _wait_for_the_user(self, worker: Worker) -> None:
        _say()
        _say(f"Still running until Ctrl-C: broker {self._settings.broker}, "
             f"topics {self._settings.topic_prefix or '(no prefix)'}, "
             f"worker {worker.url}/metrics (process {worker.pid})")  # fmt: skip
        while True:
            worker.check()
            await asyncio.sleep(1.0)
