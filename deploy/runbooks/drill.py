"""Drills of the runbooks: make the fault, do what the runbook says, wait until it is over.

What it is: for each alert a fault on real processes. The alert must fire in a real Prometheus; then
the commands of its runbook are run as they stand there, what has to be done by hand is done, and
the alert must end. What was typed and answered is kept in drills/<Alert>.txt.
Who calls it: whoever changes a runbook, ``python deploy/runbooks/drill.py [ALERT ...]``, and the
tests, for some of them.
What it must never know: how an alert is worked out.

Durations of the rules are divided (watched.py), so that a drill takes seconds.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from deploy.runbooks.watched import (  # noqa: E402
    Installation,
    broker_pid,
    kafka_tools,
    traffic,
    wait_until,
)
from stream.local_kafka import LocalKafka, kafka_jars  # noqa: E402

RUNBOOKS = Path(__file__).resolve().parent
COMMAND_S_MAX = 60.0
ATTEMPTS_MAX = 10
#: The sections of a runbook, in order; the drill runs the commands of the last three.
SECTIONS = ("What it means", "How to see", "What to do", "How to know it is over")


class Scene:
    """What a drill works on, and what it writes down."""

    def __init__(self, installation: Installation, tools: Path) -> None:
        self.installation = installation
        self.broker = broker_pid(installation.broker)
        self._tools = tools
        self._lines: list[str] = []
        self._began_at = time.monotonic()

    def say(self, what: str) -> None:
        """Notes what was done or seen, with the seconds since the drill began."""
        self._lines.append(f"[{time.monotonic() - self._began_at:5.1f} s] {what}")

    def run(self, section: str, commands: list[str]) -> None:
        """Runs the commands of a section in a shell, as a person would, and notes the answers."""
        if commands:
            self._lines += ["", f"# {section}"]
        for command in commands:
            ran = subprocess.run(
                ["bash", "-c", command],
                env=os.environ | self._environment(),
                capture_output=True,
                text=True,
                timeout=COMMAND_S_MAX,
            )
            answer = (ran.stdout + ran.stderr).rstrip()
            self._lines += [f"$ {command}", *answer.splitlines()]
            assert ran.returncode == 0, f"{command}: status {ran.returncode}\n{answer}"

    def signal_workers(self, number: int) -> None:
        """Sends a signal to every worker."""
        for worker in self.installation.workers.values():
            self.installation.signal(worker, number)

    def waits_for_the_broker(self) -> bool:
        """Whether a worker says that decisions of it are not acknowledged."""
        return any(
            re.search(
                r"^gatejoin_oldest_unanswered_seconds\S* (?!0\.0$)",
                worker._ask("/metrics")[1],
                re.MULTILINE,
            )
            for worker in self.installation.workers.values()
        )

    def run_quietly(self, command: str) -> None:
        """Runs a command of the drill itself; its answer is not noted."""
        subprocess.run(
            ["bash", "-c", command],
            env=os.environ | self._environment(),
            check=True,
            capture_output=True,
            timeout=COMMAND_S_MAX,
        )

    def _environment(self) -> dict[str, str]:
        installation = self.installation
        # The first worker is the one that a person would ask for itself.
        addresses = {name: worker.url for name, worker in installation.workers.items()}
        return {
            "PATH": f"{self._tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PROMETHEUS": installation.prometheus.url,
            "BROKER": installation.broker,
            "PREFIX": installation.prefix,
            "WORKER": next(iter(addresses.values()), "http://127.0.0.1:9"),
        }

    def text(self) -> str:
        """All that was written, without what is only of this machine and this run."""
        installation = self.installation
        text = "\n".join(self._lines) + "\n"
        names = {
            installation.prometheus.url: "http://prometheus:9090",
            installation.broker: "kafka:9092",
            installation.prefix: "",
            str(installation.directory): ".",
        }
        for name, worker in installation.workers.items():
            names[worker.url] = f"http://{name}:9464"
            names[worker.url.removeprefix("http://")] = f"{name}:9464"
        for found, name in names.items():
            text = text.replace(found, name)
        text = re.sub(r"127\.0\.0\.1:\d+", "worker:9464", text)
        text = re.sub(r"faust-[\d.]+-[0-9a-f-]{36}", "faust-member", text)
        return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


Step = Callable[[Scene], None]


class Drill(NamedTuple):
    """A fault and its end.

    ``fault`` makes it; ``remedy`` does what the runbook leaves to hands; ``labels`` are those of
    the alert that must fire and end; ``during`` is entered for the time of the fault.
    """

    fault: Step
    remedy: Step
    labels: dict[str, str] = {}  # noqa: RUF012
    during: Callable[[Scene], contextlib.AbstractContextManager[None]] = lambda _: (
        contextlib.nullcontext()
    )


# ---- faults ------------------------------------------------------------------------------------


def _kill_one(scene: Scene) -> None:
    scene.installation.kill("worker-2")
    scene.say("worker-2 was killed (SIGKILL)")


def _kill_all(scene: Scene) -> None:
    for name in list(scene.installation.workers):
        scene.installation.kill(name)
    scene.say("every worker was killed (SIGKILL)")


def _start_all(scene: Scene) -> None:
    for name in ("worker-1", "worker-2"):
        if name not in scene.installation.workers:
            scene.installation.start(name)
            scene.say(f"{name} was started again")
    scene.installation.wait_ready()
    scene.say("all workers are ready")


def _stop_broker_before_it_answers(scene: Scene) -> None:
    # The workers' fetches wait at the broker, so what is sent lies ready for workers that stand
    # still; when they go on, they decide, and find nobody to take the decisions. A fetch waits for
    # a moment only, so that it may have come back with nothing.
    for attempt in range(1, ATTEMPTS_MAX + 1):
        scene.signal_workers(signal.SIGCONT)
        scene.installation.ask_gates("HP-01", 300, lambda: scene.signal_workers(signal.SIGSTOP))
        os.kill(scene.broker, signal.SIGSTOP)
        scene.signal_workers(signal.SIGCONT)
        try:
            wait_until(scene.waits_for_the_broker, "decisions wait for the broker", 2.0)
        except TimeoutError:
            os.kill(scene.broker, signal.SIGCONT)
            if attempt == ATTEMPTS_MAX:
                raise
        else:
            break
    scene.say("300 gates asked, and the broker stood still (SIGSTOP) before it took the answers")


def _throttle(scene: Scene) -> None:
    scene.run_quietly(
        "kafka-configs.sh --bootstrap-server $BROKER --alter --entity-type clients "
        "--entity-name gatejoin-events --add-config consumer_byte_rate=1000"
    )
    scene.say("somebody set a quota of 1,000 bytes a second for the workers' fetches")


def _pulse(scene: Scene) -> contextlib.AbstractContextManager[None]:
    return traffic(scene.installation, "HP-01")


def _slow_down(scene: Scene) -> None:
    scene.signal_workers(signal.SIGSTOP)
    scene.installation.ask_gates("HP-01", 300)
    time.sleep(1.0)  # the gates wait
    scene.signal_workers(signal.SIGCONT)
    scene.say("the workers stood still for a second while 300 gates asked")


def _pause_broker_in_restore(scene: Scene) -> None:
    installation = scene.installation
    _kill_all(scene)
    worker = installation.start("worker-1")

    def owns_what_is_not_ready() -> bool:
        worker.check()
        status, text = worker._ask("/metrics")
        owned = [
            line
            for line in text.splitlines()
            if line.startswith("gatejoin_partition_state") and line.endswith(" 1.0")
        ]
        return status == 200 and any('state="ready"' not in line for line in owned)

    wait_until(owns_what_is_not_ready, "worker-1 owns a partition that is not ready")
    os.kill(scene.broker, signal.SIGSTOP)
    scene.say("the broker stands still (SIGSTOP) while worker-1 gets its partitions' state back")


def _resume_broker(scene: Scene) -> None:
    os.kill(scene.broker, signal.SIGCONT)
    scene.say("the broker goes on (SIGCONT)")
    _start_all(scene)


def _customs_silent(scene: Scene) -> None:
    scene.installation.declare()
    scene.say("customs' bridge sent a declaration, and nothing since")


def _customs_speaks(scene: Scene) -> None:
    scene.installation.declare()
    scene.say("customs' bridge sends declarations again")


def _follow_other_topics(scene: Scene) -> None:
    installation = scene.installation
    prefix = installation.prefix
    installation.start("worker-3", topic_prefix=f"{prefix}old.")
    wait_until(lambda: installation.is_ready("worker-3"), "worker-3 is ready")
    installation.prefix = f"{prefix}old."
    installation.declare(timestamp_ms=int((time.time() - 3600) * 1000))
    installation.prefix = prefix
    scene.say(
        "worker-3 was started with GATEJOIN_TOPIC_PREFIX=old. and sees customs of an hour ago"
    )


def _take_away_third(scene: Scene) -> None:
    scene.installation.kill("worker-3")
    scene.installation.forget("worker-3")
    scene.say("worker-3 was stopped")
    scene.installation.wait_ready()


def _tighten_memory(scene: Scene) -> None:
    group = Path("/sys/fs/cgroup/memory/gatejoin-drill")
    worker = scene.installation.workers["worker-2"]
    [rss] = scene.installation.wait_for('process_resident_memory_bytes{instance="worker-2"}')
    limit = int(float(rss["value"][1]) * 1.02)
    group.mkdir(exist_ok=True)
    (group / "cgroup.procs").write_text(str(worker.pid))
    (group / "memory.limit_in_bytes").write_text(str(limit))
    scene.say("the memory limit of worker-2's control group is now 2 % above what it uses")


def _loosen_memory(scene: Scene) -> None:
    group = Path("/sys/fs/cgroup/memory/gatejoin-drill")
    (group / "memory.limit_in_bytes").write_text(str(4 << 30))
    scene.say("the limit is 4 GiB")


def _send_nonsense(scene: Scene) -> None:
    scene.installation.send("port-events", [("X", b'{"operatorID":"HP-01","eventID":"E"}')] * 50)
    scene.say("HP-01 sent 50 events that lack most fields")


def _stop_nonsense(scene: Scene) -> None:
    scene.installation.ask_gates("HP-01", 5)
    scene.say("HP-01 sends good events again")


def _fall_silent(scene: Scene) -> None:
    scene.installation.register("CM-02")
    scene.installation.ask_gates("HP-01", 1)
    scene.say("CM-02 is connected, and nothing comes from it")


def _speak_again(scene: Scene) -> None:
    scene.installation.ask_gates("CM-02", 1)
    scene.say("CM-02 sent an event")


def _start_with_other_rules(scene: Scene) -> None:
    rules = scene.installation.directory / "draft.toml"
    rules.write_text('[[rule]]\ncode = "SEAL_UNSEEN"\neffect = "HOLD"\n')
    scene.installation.start("worker-3", rules=str(rules))
    scene.say("worker-3 was started with GATEJOIN_RULES=draft.toml")


DRILLS: dict[str, Drill] = {
    "GatejoinWorkerDown": Drill(_kill_one, _start_all, {"instance": "worker-2"}),
    "GatejoinWorkersAbsent": Drill(_kill_all, _start_all),
    "GatejoinPartitionWithoutOwner": Drill(_kill_one, _start_all),
    "GatejoinAvailabilityBudgetBurn": Drill(_kill_all, _start_all, {"window": "1h"}),
    "GatejoinLatencyBudgetBurn": Drill(_slow_down, lambda _: None, {"window": "1h"}),
    "GatejoinDecisionsNotAcknowledged": Drill(_stop_broker_before_it_answers, _resume_broker),
    "GatejoinLagGrowing": Drill(_throttle, lambda _: None, during=_pulse),
    "GatejoinRestoreTooLong": Drill(
        _pause_broker_in_restore, _resume_broker, {"instance": "worker-1"}
    ),
    "GatejoinCustomsStale": Drill(_customs_silent, _customs_speaks),
    "GatejoinCustomsFeedBehind": Drill(_follow_other_topics, _take_away_third, during=_pulse),
    "GatejoinMemoryNearLimit": Drill(_tighten_memory, _loosen_memory, {"instance": "worker-2"}),
    "GatejoinRejectsSurge": Drill(_send_nonsense, _stop_nonsense, {"operator": "HP-01"}),
    "GatejoinRuleSetsDiffer": Drill(_start_with_other_rules, _take_away_third),
    "GatejoinOperatorSilent": Drill(_fall_silent, _speak_again, {"operator": "CM-02"}),
}


# ---- runbooks ----------------------------------------------------------------------------------


def sections(alert: str) -> dict[str, str]:
    """The sections of an alert's runbook, by title."""
    text = (RUNBOOKS / f"{alert}.md").read_text()
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(section: str) -> list[str]:
    """The commands of a section: the lines of its blocks marked ``sh``; one that ends in a
    backslash goes on in the next. Blocks marked ``sh cluster`` need a cluster and are left out."""
    found = []
    for _, block in re.findall(r"^( *)```sh\n(.*?)^\1```$", section, re.MULTILINE | re.DOTALL):
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        found += [line.strip() for line in lines if line.strip()]
    return found


def drill(alert: str, scene: Scene, *, with_commands: bool = True) -> None:
    """Drills one alert; the installation is whole before and after."""
    plan, prometheus = DRILLS[alert], scene.installation.prometheus
    told = sections(alert) if with_commands else dict.fromkeys(SECTIONS, "")
    with plan.during(scene):
        plan.fault(scene)
        try:
            [found, *_] = wait_until(
                lambda: prometheus.firing(alert, plan.labels), f"{alert} fires"
            )
            scene.say(f"{alert} fires: {found['annotations']['summary']}")
            for title in SECTIONS[1:3]:
                scene.run(title, commands(told[title]))
        finally:
            plan.remedy(scene)
    wait_until(lambda: not prometheus.firing(alert, plan.labels), f"{alert} ends")
    scene.say(f"{alert} has ended")
    scene.run(SECTIONS[3], commands(told[SECTIONS[3]]))


@contextlib.contextmanager
def installed() -> Iterator[tuple[Installation, Path]]:
    """A broker of one's own and two workers on it that have something to answer for."""
    with (
        LocalKafka(heap_mb=512) as kafka,
        tempfile.TemporaryDirectory(prefix="gatejoin-drill-") as name,
        Installation(kafka.bootstrap_servers, "drill.", Path(name)) as installation,
    ):
        for worker in ("worker-1", "worker-2"):
            installation.start(worker)
        installation.wait_ready()
        installation.register("HP-01")
        installation.declare()
        installation.ask_gates("HP-01", 200)
        yield installation, kafka_tools(Path(name), kafka_jars())


def main(alerts: list[str]) -> int:
    """Drills the alerts that are named, or all; returns how many failed."""
    failed = 0
    with installed() as (installation, tools):
        for alert in alerts or DRILLS:
            scene = Scene(installation, tools)
            try:
                drill(alert, scene)
            except Exception as error:
                failed += 1
                print(f"{alert}: failed: {error}\n{scene.text()}", file=sys.stderr)
                _start_all(scene)
            else:
                (RUNBOOKS / "drills").mkdir(exist_ok=True)
                (RUNBOOKS / f"drills/{alert}.txt").write_text(scene.text())
                print(f"{alert}: drilled", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
