"""Compare `gatejoin replay` with the reference model, and make what differs small.

Called by the tests, and by people as `python -m tests.reference.compare` (generated histories)
or with `--log LOG`. It must never know which of the two is right: it shows the first difference,
the unit's events and both outputs, removes lines and members while the two still differ, and
keeps what is left as a case in `cases/found`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.reference.generate import history, rules
from tests.reference.log import BadLineError, read_line, read_log, write_log
from tests.reference.model import Model, replay, write_outputs
from tests.reference.policy import read_policy

FOUND = Path(__file__).parent / "cases" / "found"

# What is compared, what most likely comes first: a record that only one of the two rejected
# explains everything after it.
FILES = ("rejects.ndjson", "registry.ndjson", "decisions.ndjson", "alerts.ndjson",
         "volumes.csv", "stock.csv")  # fmt: skip

# For people, and free to grow; the name of the rows in force is the policy's own affair.
NOT_COMPARED = {
    "rejects.ndjson": "detail",
    "alerts.ndjson": "detail",
    "decisions.ndjson": "ruleSet",
}


@dataclass
class Difference:
    file: str
    position: int
    engine: Any
    model: Any

    def kind(self) -> str:
        """What must stay the same while a log is made smaller."""
        return self.file

    def __str__(self) -> str:
        return (
            f"{self.file}, entry {self.position}:\n"
            f"  engine: {shown(self.engine)}\n"
            f"  model:  {shown(self.model)}"
            + "".join(
                f"\n  {name}: engine {self.engine.get(name)!r}, model {self.model.get(name)!r}"
                for name in (self.model if isinstance(self.model, dict) else ())
                if isinstance(self.engine, dict) and self.engine.get(name) != self.model[name]
            )
        )


def shown(entry: Any) -> str:
    return entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)


def read_output(path: Path) -> list[Any]:
    """The entries of an output file; of each record what is not compared is only type-checked."""
    # Not splitlines: strings may hold other line separators of Unicode.
    lines = path.read_text("utf-8").split("\n")
    assert lines.pop() == "", f"{path.name} does not end with a line feed"
    if path.suffix == ".csv":
        return lines
    entries = [json.loads(line, parse_float=str, parse_int=str) for line in lines]
    name = NOT_COMPARED.get(path.name)
    for entry in entries:
        if name is not None:
            assert isinstance(entry[name], dict if path.name == "alerts.ndjson" else str)
            entry[name] = None
        entry["fields in order"] = list(entry)
    return entries


def engine_replay(log: Path, directory: Path, rules_path: Path | None) -> None:
    from stream.replay import replay as replay_by_engine

    replay_by_engine(log, directory, rules_path)


Engine = Callable[[Path, Path, Path | None], None]


def first_difference(
    lines: list[str], rules_text: str | None = None, engine: Engine = engine_replay
) -> Difference | None:
    """Where the engine's and the model's outputs of this log part, or None."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        log = directory / "log.ndjson"
        write_log(log, lines)
        rules_path = None
        if rules_text is not None:
            rules_path = directory / "rules.toml"
            rules_path.write_text(rules_text, "utf-8")
        model = replay(log, read_policy(rules_path) if rules_path else None)
        write_outputs(model, directory / "model")
        try:
            engine(log, directory / "engine", rules_path)
        except Exception as error:  # whatever it is, the model had an answer
            return Difference("engine raised", 0, repr(error), None)
        for name in FILES:
            by_engine = read_output(directory / "engine" / name)
            by_model = read_output(directory / "model" / name)
            if by_engine == by_model:
                continue
            place = next(
                (i for i, (e, m) in enumerate(zip(by_engine, by_model, strict=False)) if e != m),
                min(len(by_engine), len(by_model)),
            )
            return Difference(
                name,
                place,
                by_engine[place] if place < len(by_engine) else None,
                by_model[place] if place < len(by_model) else None,
            )
    return None


# --------------------------------------------------------------------------------- shrinking


def shrink(lines: list[str], differs: Callable[[list[str]], bool]) -> list[str]:
    """Remove lines (delta debugging), then members of values, while the two still differ."""
    chunks = 2
    while len(lines) > 1:
        size = -(-len(lines) // chunks)
        parts = [lines[start : start + size] for start in range(0, len(lines), size)]
        for index in range(len(parts)):
            rest = [line for i, part in enumerate(parts) if i != index for line in part]
            if differs(rest):
                lines, chunks = rest, max(2, chunks - 1)
                break
        else:
            if size == 1:
                break
            chunks = min(len(lines), chunks * 2)
    for position in range(len(lines)):
        for simpler in list(without_members(lines[position])):
            # The members are tried in turn on what is left of the line by then.
            candidate = [*lines]
            reduced = remove_member(lines[position], simpler)
            if reduced is not None:
                candidate[position] = reduced
                if differs(candidate):
                    lines = candidate
    return lines


def without_members(line: str) -> Iterable[str]:
    value = json.loads(line).get("value") if line.strip() else None
    return value if isinstance(value, dict) else ()


def remove_member(line: str, name: str) -> str | None:
    # Numbers keep their text, since 1.0 and 1 are not the same to the contract.
    texts: dict[str, str] = {}

    def keep(text: str) -> str:
        mark = f"\ue000{len(texts)}\ue000"
        texts[mark] = text
        return mark

    try:
        record = json.loads(line, parse_int=keep, parse_float=keep)
    except ValueError:
        return None
    record["value"].pop(name, None)
    reduced = json.dumps(record, ensure_ascii=False)
    for mark, text in texts.items():
        reduced = reduced.replace(f'"{mark}"', text)
    return reduced


def shrink_difference(
    lines: list[str],
    difference: Difference,
    rules_text: str | None = None,
    engine: Engine = engine_replay,
) -> list[str]:
    def differs(candidate: list[str]) -> bool:
        try:
            found = first_difference(candidate, rules_text, engine)
        except BadLineError:
            return False
        return found is not None and found.kind() == difference.kind()

    return shrink(lines, differs)


def save(name: str, lines: list[str], rules_text: str | None) -> Path:
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{name}.ndjson"
    write_log(path, lines)
    if rules_text is not None:
        path.with_suffix(".toml").write_text(rules_text, "utf-8")
    return path


# ------------------------------------------------------------------------------ for people


def report(lines: list[str], difference: Difference, rules_text: str | None) -> str:
    """The difference and, where it is about a unit, what the log says of that unit."""
    parts = [str(difference)]
    entry = difference.model if isinstance(difference.model, dict) else difference.engine
    unit = entry.get("unit") if isinstance(entry, dict) else None
    if unit is not None:
        parts.append(f"events of {unit}, in the order of the log:")
        parts += unit_lines(lines, unit)
    if len(lines) <= 30:
        parts += ["log:", *lines]
    if rules_text is not None:
        parts += ["rules:", rules_text]
    return "\n".join(parts)


def unit_lines(lines: list[str], unit: str) -> Iterable[str]:
    model = Model()
    for number, text in enumerate(lines):
        if not text.strip():
            continue
        line = read_line(number, text.encode())
        before = {u: dict(model.units[u].events) for u in ((unit, False), (unit, True))}
        model.apply(line.number, line.topic, line.timestamp_ms, line.key, line.value)
        for unit_key, events in before.items():
            for identity, event in model.units[unit_key].events.items():
                if events.get(identity) != event:
                    yield f"  line {number}: {event}"


def compare_generated(
    seed: int,
    records: int,
    size: int = 120,
    engine: Engine = engine_replay,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[str], str | None, Difference] | None:
    """Compare histories of `size` lines until `records` lines were seen or two outputs differ."""
    for number in range(-(-records // size)):
        random = Random(f"{seed}/{number}")
        lines = history(random, size)
        rules_text = rules(random) if random.random() < 0.15 else None
        difference = first_difference(lines, rules_text, engine)
        if difference:
            progress(f"seed {seed}, history {number}: {difference}")
            return lines, rules_text, difference
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--log", type=Path, help="compare this log instead of generated ones")
    parser.add_argument("--rules", type=Path, help="a rules file of section 6, with --log")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=120, help="lines of a generated history")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    parser.add_argument("--save", help="name to keep the smallest log under, in cases/found")
    parser.add_argument("--no-shrink", action="store_true")
    arguments = parser.parse_args()
    if arguments.log:
        for _ in read_log(arguments.log):  # so that a bad line is named
            pass
        lines = arguments.log.read_text("utf-8").split("\n")[:-1]
        rules_text = arguments.rules.read_text("utf-8") if arguments.rules else None
        difference = first_difference(lines, rules_text)
        found = (lines, rules_text, difference) if difference else None
    else:
        print(f"seed {arguments.seed}")
        found = compare_generated(arguments.seed, arguments.records, arguments.size, progress=print)
    if not found:
        print("no difference")
        return
    lines, rules_text, difference = found
    if not arguments.no_shrink:
        lines = shrink_difference(lines, difference, rules_text)
        if rules_text is not None and first_difference(lines):
            rules_text = None
        difference = first_difference(lines, rules_text) or difference
    print(report(lines, difference, rules_text))
    if arguments.save:
        print(f"kept as {save(arguments.save, lines, rules_text)}")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
