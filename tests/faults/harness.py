"""Breaks real workers and brokers by a seeded schedule, then has everything verified.

Run by people as ``make faults`` (``python -m tests.faults.harness``) and, shorter, by
``test_faults``. Three installations share a cluster of three brokers and are broken side by side,
while brokers and connections are broken under all of them. A seed decides the workload and the
order, targets and moments of the faults; what the machine makes of the moments is its own affair,
so a run is reproduced as far as processes can be. It must never know what is right: that is the
verifier's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

from aiokafka.errors import KafkaError

from stream import topics
from tests.faults.cluster import ProxiedKafka, proxied_kafka
from tests.faults.installation import SESSION_TIMEOUT_S, Installation, StuckError, until
from tests.faults.verifier import INVARIANTS, Verdict

NODES = 3
KILLS_IN_CI, OTHERS_IN_CI = 20, 5

# What a worker says whose identity another has.
NAME_TAKEN = "another worker has joined group"

KILL = "worker: kill -9"
PAUSE = "worker: SIGSTOP through its replacement, SIGCONT"
JOIN = "worker: joins under load and leaves"
ROLLING = "worker: rolling restart, static membership"
TWIN = "worker: a second one with the same identity"
CORRUPT = "changelog: a record with a wrong bit"
CUT_SHORT = "changelog: a record that is cut short"
EMPTY = "changelog: the topic is deleted and made anew"
BROKER = "broker: kill -9 and restart"
OUTAGE = "broker: kill -9 of all three, restart"
LEADER = "broker: kill -9 of the leader of decisions"
CUT = "network: connections cut"
TEAR = "network: connections cut in mid-request"
DELAY = "network: everything delayed"
DEAF = "network: answers of a broker lost"

OF_WORKERS = (KILL, PAUSE, JOIN, ROLLING, TWIN, CORRUPT, CUT_SHORT, EMPTY)
# The rest of them is for places with a lasting identity.
OF_DYNAMIC = (PAUSE, JOIN)
OF_CLUSTER = (BROKER, OUTAGE, LEADER, CUT, TEAR, DELAY, DEAF)


def plan(kills: int, others: int) -> Counter[str]:
    """How often each fault is to be injected."""
    return Counter(
        {KILL: kills} | dict.fromkeys(OF_WORKERS[1:], others) | dict.fromkeys(OF_CLUSTER, others)
    )


class Harness:
    """One run.

    Args:
        seed: of everything.
        counts: how many of each fault.
        say: told what happens.
    """

    def __init__(
        self, seed: str, counts: Counter[str], directory: Path, say: Callable[[str], None]
    ) -> None:
        self.seed = seed
        self.counts = counts
        self.directory = directory
        self.say = say
        self.injected: Counter[str] = Counter()
        self.verdicts: dict[str, Verdict] = {}
        self.ended: list[str] = []
        #: Last words of workers whose identity another had.
        self.twins: list[str] = []
        self.started_at = time.monotonic()
        self.kafka: ProxiedKafka
        self.installations: list[Installation] = []

    async def run(self) -> None:
        """Injects all faults, then verifies."""
        async with proxied_kafka(NODES) as self.kafka:
            self.installations = [
                Installation(
                    self.kafka,
                    f"{name}-{os.getpid()}",
                    f"{self.seed}/{name}",
                    self.directory,
                    is_static=name != "dynamic",
                )
                for name in ("dynamic", "killed", "mixed")
            ]
            try:
                await asyncio.gather(*(one.start() for one in self.installations))
                watching = asyncio.create_task(self._watch())
                await self._break_everything()
                self.say("all faults are injected; finishing")
                verdicts = await asyncio.gather(*(one.finish() for one in self.installations))
                watching.cancel()
                self.verdicts = {
                    one.name: verdict
                    for one, verdict in zip(self.installations, verdicts, strict=True)
                }
            finally:
                await asyncio.gather(*(one.stop() for one in self.installations))

    def schedules(self) -> list[list[str]]:
        """The faults of each installation's workers, in order; of the cluster's last."""
        random = Random(f"{self.seed}/schedule")
        of_dynamic, of_killed, of_mixed = [], [], []
        for fault in OF_WORKERS:
            for number in range(self.counts[fault]):
                if fault == KILL:
                    (of_killed, of_killed, of_mixed, of_dynamic)[number % 4].append(fault)
                elif fault in OF_DYNAMIC:
                    (of_dynamic, of_mixed)[fault == PAUSE and number % 3 == 2].append(fault)
                else:
                    (of_mixed, of_killed)[fault in (ROLLING, TWIN)].append(fault)
        of_cluster = [fault for fault in OF_CLUSTER for _ in range(self.counts[fault])]
        schedules = [of_dynamic, of_killed, of_mixed, of_cluster]
        for schedule in schedules:
            random.shuffle(schedule)
        return schedules

    async def _break_everything(self) -> None:
        *of_workers, of_cluster = self.schedules()
        await asyncio.gather(*(one.until_progress() for one in self.installations))
        tasks = [
            asyncio.create_task(self._break_workers(one, schedule))
            for one, schedule in zip(self.installations, of_workers, strict=True)
        ]
        tasks.append(asyncio.create_task(self._break_cluster(of_cluster)))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, fault: str, where: str) -> None:
        self.injected[fault] += 1
        elapsed = time.monotonic() - self.started_at
        self.say(f"{elapsed:6.1f} s  {fault} ({where}), {self.injected[fault]}")

    async def _watch(self) -> None:
        """Starts again what ended by itself, and keeps its last words."""
        while True:
            for one in self.installations:
                for place in one.places:
                    if place.is_wanted and not place.is_running:
                        words = place.tail(1)
                        self.ended.append(f"{place.name} ended: {words}")
                        self.say(self.ended[-1])
                        one.run(place)
            await asyncio.sleep(0.5)

    # ---- workers ----

    async def _break_workers(self, one: Installation, schedule: list[str]) -> None:
        random = Random(f"{self.seed}/{one.name.rsplit('-', 1)[0]}/moments")
        inject = {
            KILL: self._kill,
            PAUSE: self._pause,
            JOIN: self._join,
            ROLLING: self._roll,
            TWIN: self._twin,
            CORRUPT: partial(self._damage, CORRUPT),
            CUT_SHORT: partial(self._damage, CUT_SHORT),
            EMPTY: partial(self._damage, EMPTY),
        }
        for fault in schedule:
            if self.injected[fault] >= self.counts[fault]:
                continue  # a worker that was killed again while it started has had it already
            await asyncio.sleep(random.uniform(0, 1.5))
            await one.sight()
            await inject[fault](one, random)

    async def _kill(self, one: Installation, random: Random) -> None:
        """Kills a worker, often again while it starts; then something must have been answered.
        One without a name of its own comes back when others have taken over from it."""
        place = random.choice(one.places)
        while True:
            self._note(KILL, place.name)
            await one.kill(place)
            await one.sight()
            if not one.is_static:
                await one.until_progress(everywhere=True)
            one.run(place)
            if random.random() > 0.3:
                break
            await asyncio.sleep(random.uniform(0, 6))
        await one.until_progress()

    async def _pause(self, one: Installation, random: Random) -> None:
        """Pauses a worker until others answer for its partitions, then lets it go on."""
        place = random.choice(one.places)
        self._note(PAUSE, place.name)
        place.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(SESSION_TIMEOUT_S + random.uniform(0, 1))
            await one.until_progress(everywhere=True)
            await one.sight()
        finally:
            place.signal(signal.SIGCONT)
        await one.until_ready(place)
        await one.until_progress(everywhere=True)

    async def _join(self, one: Installation, random: Random) -> None:
        """One more worker joins, and one, of any, leaves."""
        extra = one.more()
        self._note(JOIN, extra.name)
        one.run(extra)
        await one.until_ready(extra)
        await asyncio.sleep(random.uniform(0, 1))
        leaving = random.choice(one.places)
        await one.sight()
        await one.leave(leaving)
        await one.until_progress(everywhere=True)

    async def _roll(self, one: Installation, random: Random) -> None:
        """One worker after the other is stopped in good order and started again."""
        self._note(ROLLING, one.name)
        for place in list(one.places):
            await one.restart(place)
            await one.until_ready(place)
        await one.until_progress(everywhere=True)

    async def _twin(self, one: Installation, random: Random) -> None:
        """A worker is started twice by mistake; one of the two ends and says why."""
        place = random.choice(one.places)
        self._note(TWIN, place.name)
        self.twins.append(await one.twin(place))
        await one.until_progress(everywhere=True)

    async def _damage(self, fault: str, one: Installation, random: Random) -> None:
        """All workers die, and what they left behind is damaged before others start."""

        def flip(value: bytes) -> bytes:
            bit = random.randrange(8 * len(value))
            damaged = bytearray(value)
            damaged[bit // 8] ^= 1 << bit % 8
            return bytes(damaged)

        def cut(value: bytes) -> bytes:
            return value[: random.randrange(len(value))]

        if fault != EMPTY:
            await until(f"states written: {one.name}", one.has_states)
        for place in one.places:
            await one.kill(place)
        try:

            async def is_damaged() -> bool:
                if fault == EMPTY:
                    await one.empty_changelog()
                    return True
                return await one.damage(flip if fault == CORRUPT else cut)

            await until(f"damaged: {one.name}", is_damaged)
            self._note(fault, one.name)
        finally:
            for place in one.places:
                one.run(place)
        await one.until_progress(everywhere=True)

    # ---- brokers and connections ----

    async def _break_cluster(self, schedule: list[str]) -> None:
        random = Random(f"{self.seed}/cluster/moments")
        for fault in schedule:
            await asyncio.sleep(random.uniform(0, 2))
            if fault in (BROKER, OUTAGE, LEADER):
                await self._break_brokers(fault, random)
                # Else a slow machine gets no further between two outages, and nothing is tested.
                await asyncio.gather(*(one.until_progress() for one in self.installations))
            else:
                await self._break_connections(fault, random)

    async def _break_brokers(self, fault: str, random: Random) -> None:
        numbers = sorted(self.kafka.nodes)
        if fault == BROKER:
            numbers = [random.choice(numbers)]
        elif fault == LEADER:
            one = random.choice(self.installations)
            with contextlib.suppress(KafkaError, TimeoutError):
                leader = await one.topics.leader(topics.DECISIONS, random.randrange(4))
                numbers = [leader]
            numbers = numbers[:1]
        self._note(fault, "all" if len(numbers) > 1 else f"node {numbers[0]}")
        proxies = [self.kafka.proxies[number] for number in numbers]
        for proxy in proxies:
            await proxy.stop()
        await asyncio.to_thread(lambda: [self.kafka.kill(number) for number in numbers])
        await asyncio.sleep(random.uniform(0, 3))
        restarting = asyncio.create_task(asyncio.to_thread(self.kafka.restart_together, numbers))
        # Workers find a broker as soon as it listens, not when the whole cluster is well again.
        await asyncio.gather(*(proxy.start_when_answered() for proxy in proxies))
        await restarting
        self.say(f"{time.monotonic() - self.started_at:6.1f} s  nodes {numbers} are back")

    async def _break_connections(self, fault: str, random: Random) -> None:
        chosen = random.sample(sorted(self.kafka.proxies), random.randint(1, NODES))
        self._note(fault, f"nodes {', '.join(map(str, chosen))}")
        proxies = [self.kafka.proxies[number] for number in chosen]
        try:
            for proxy in proxies:
                if fault == CUT:
                    proxy.cut()
                elif fault == TEAR:
                    proxy.tear()
                elif fault == DELAY:
                    proxy.delay(random.uniform(0.02, 0.5))
                else:
                    proxy.lose_answers()
            await asyncio.sleep(random.uniform(0.5, 3) if fault != CUT else 0)
        finally:
            for proxy in proxies:
                proxy.heal()

    # ---- what is said at the end ----

    def table(self) -> str:
        lines = [f"{'fault':<52}{'injected':>10}"]
        lines += [f"{fault:<52}{self.injected[fault]:>10}" for fault in self.counts]
        lines += ["", f"{'invariant':<12}{'checked':>10}{'broken':>8}"]
        for invariant, meaning in INVARIANTS.items():
            checked = sum(verdict.checked[invariant] for verdict in self.verdicts.values())
            broken = sum(
                problem == invariant
                for verdict in self.verdicts.values()
                for problem, _ in verdict.problems
            )
            lines.append(f"{invariant:<12}{checked:>10}{broken:>8}  {meaning}")
        sent = sum(one.sent for one in self.installations)
        lines += [
            "",
            f"records sent {sent:,}; {time.monotonic() - self.started_at:.0f} s; "
            f"workers that ended by themselves: {len(self.ended)}",
            *sorted(self.ended),
            *(f"of two with one identity, one: {words}" for words in sorted(set(self.twins))),
        ]
        return "\n".join(lines)


async def play(
    seed: str, counts: Counter[str], directory: Path, say: Callable[[str], None]
) -> tuple[Harness, str]:
    """One run; what is wrong, or nothing: a broken invariant, a worker that ended by itself, or one
    of two with the same identity that did not say why it ended."""
    # Brokers that are away are no news here.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    harness = Harness(seed, counts, directory, say)
    try:
        await harness.run()
    except StuckError as stuck:
        tails = [
            f"--- {place.name}\n{place.tail()}"
            for one in harness.installations
            for place in one.places
        ]
        return harness, "\n".join([f"stuck: {stuck}", *tails])
    wrong = [
        f"{name}:\n{verdict.text()}"
        for name, verdict in harness.verdicts.items()
        if verdict.problems
    ]
    # A static worker whose answer to a join was lost joins again, and the coordinator then takes
    # its name from the member that it made of the first join: itself, which it can't know.
    wrong += [f"by itself {words}" for words in harness.ended if NAME_TAKEN not in words]
    wrong += [
        f"of two with one identity, one ended without saying so: {words}"
        for words in harness.twins
        if NAME_TAKEN not in words
    ]
    return harness, "\n".join(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="how many kill -9 (200)")
    parser.add_argument(
        "--others", type=int, help="how many of each other fault (a tenth, 5 at least)"
    )
    parser.add_argument("--seed", default=str(int.from_bytes(os.urandom(4), "big")))
    parser.add_argument("--keep", type=Path, help="a directory for the workers' logs")
    arguments = parser.parse_args()
    others = arguments.others if arguments.others is not None else max(5, arguments.count // 10)
    counts = plan(arguments.count, others)
    print(f"SEED={arguments.seed} COUNT={arguments.count}", flush=True)

    def say(what: str) -> None:
        print(what, flush=True)

    with tempfile.TemporaryDirectory(prefix="gatejoin-faults-") as temporary:
        directory = arguments.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        harness, wrong = asyncio.run(play(arguments.seed, counts, directory, say))
    print(harness.table())
    if wrong:
        again = f"make faults SEED={arguments.seed} COUNT={arguments.count}"
        print(f"{wrong}\nFAILED; again with: {again}")
        return 1
    print("nothing lost, nothing doubled, nothing changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
