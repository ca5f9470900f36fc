"""A replay: a log applied in order through the engine, its effects written to files.

What it is: CONTRACT.md section 6, ``replay``. The same log always gives the same bytes.
Called by ``stream.replay_command``, ``stream.why``, tests and the demo. It must never know Kafka,
or what a record means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from core_ext.matcher import LogLineError, Matcher
from stream.engine import make_matcher
from stream.log_file import BROKEN_LOG_ERRORS, LogFileError, open_log
from stream.moments import VIETNAM_OFFSET_US, day_of, day_text
from stream.policy import Policy, load_policy

CHUNK_BYTES = 4 << 20
"""Read at a time. Below 1 MiB the calls show; above 8 MiB the lines leave the processor's cache
before they are applied."""

LINE_BYTES_MAX = 256 << 20
"""A longer line ends the replay. A record has at most 1 MiB, but a log may carry larger ones, which
are TOO_LARGE; this bounds the memory that they can take."""

LINE_OUTPUTS = ("decisions", "alerts", "rejects", "registry")
VOLUMES_HEADER = (
    "operatorID,day,direction,unitType,"
    "movementsIn,piecesIn,weightKgIn,movementsOut,piecesOut,weightKgOut"
)
STOCK_HEADER = "locationCode,direction,unitType,age,units,pieces,weightKg"


class LogError(ValueError):
    """A log that can't be replayed. One line: file, line number, reason."""


def replay(log_path: Path | str, out_dir: Path | str, rules_path: Path | str | None = None) -> None:
    """Applies a log and writes decisions, alerts, rejects, registry, volumes and stock to a folder.

    A line that is no record ends the replay: what the lines before it caused has then been written,
    the two tables have not.

    Raises:
        LogError: a line that is no record, or a compressed log that can't be read.
        PolicyError: a rules file that is wrong.
        OSError: a file can't be read or written.
    """
    policy = load_policy(rules_path)
    log_path, out_dir = Path(log_path), Path(out_dir)
    matcher = make_matcher(policy)
    try:
        log = open_log(log_path)
    except LogFileError as error:
        raise LogError(str(error)) from None
    with log:
        out_dir.mkdir(parents=True, exist_ok=True)
        # What an earlier replay left must not pass for this one's, should this one end early.
        for name in ("volumes.csv", "stock.csv"):
            (out_dir / name).unlink(missing_ok=True)
        outputs = {
            name: (out_dir / f"{name}.ndjson").open("wb", buffering=0) for name in LINE_OUTPUTS
        }
        try:
            for _ in _apply(matcher, log, log_path):
                _write(matcher, outputs)
        finally:
            try:
                _write(matcher, outputs)
            finally:
                for output in outputs.values():
                    output.close()
    (out_dir / "volumes.csv").write_text(volumes_csv(matcher), encoding="utf-8", newline="")
    (out_dir / "stock.csv").write_text(stock_csv(matcher), encoding="utf-8", newline="")


def _line_name(line: int) -> str:
    """Names a line by its offset, as triggers and sources do, and as an editor counts."""
    return f"line {line} (from 0; {line + 1} in an editor)"


def _write(matcher: Matcher, outputs: Mapping[str, BinaryIO]) -> None:
    for name, output in outputs.items():
        matcher.write_lines(name, output)


def _apply(matcher: Matcher, log: BinaryIO, log_path: Path) -> Iterator[None]:
    """Applies a log piece by piece; yields after each, so that the effects can be written."""
    buffer = bytearray(CHUNK_BYTES)
    filled = 0
    line = 0
    at_end = False
    while not at_end:
        if filled == len(buffer):
            if len(buffer) >= LINE_BYTES_MAX:
                raise LogError(
                    f"{log_path}: {_line_name(line)} is longer than {LINE_BYTES_MAX >> 20} MiB;"
                    " is this a log of one record per line?"
                )
            buffer.extend(bytes(len(buffer)))
        with memoryview(buffer) as view:
            try:
                got = log.readinto(view[filled:])  # type: ignore[attr-defined]
            except BROKEN_LOG_ERRORS as error:
                raise LogError(f"{log_path}: can't be decompressed: {error}") from None
            filled += got
            at_end = not got
            try:
                used, lines = matcher.apply_log(view[:filled], line, at_end)
            except LogLineError as error:
                raise LogError(f"{log_path}: {_line_name(error.line)}: {error}") from None
        line += lines
        buffer[: filled - used] = buffer[used:filled]
        filled -= used
        yield


def explain_lines(
    lines: Iterable[tuple[int, bytes]], policy: Policy
) -> Iterator[tuple[str, bytes]]:
    """Applies chosen lines of a log; yields what each caused, decisions with their explanations.

    Args:
        lines: (line number from 0, the line's bytes without its end), ascending.
        policy: the rules to weigh by.

    Yields:
        (kind, one JSON object): "decision", each followed by its "explanation", then "alert" and
        "reject", for one line after the other.

    Raises:
        LogError: a line that is no record.
    """
    matcher = make_matcher(policy, explain=True)
    for number, line in lines:
        try:
            matcher.apply_log(line, number, True)
        except LogLineError as error:
            raise LogError(f"{_line_name(error.line)}: {error}") from None
        decisions = matcher.take_lines("decisions").splitlines()
        explanations = matcher.take_lines("explanations").splitlines()
        for decision, explanation in zip(decisions, explanations, strict=True):
            yield "decision", decision
            yield "explanation", explanation
        for kind in ("alert", "reject"):
            for record in matcher.take_lines(f"{kind}s").splitlines():
                yield kind, record


def kilograms(grams: int) -> str:
    """Returns a weight in kilograms with 3 decimals, exactly."""
    sign = "-" if grams < 0 else ""
    return f"{sign}{abs(grams) // 1000}.{abs(grams) % 1000:03d}"


def _csv_field(value: object) -> str:
    """RFC 4180: quoted where needed."""
    text = str(value)
    if any(character in text for character in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def _csv(header: str, rows: Iterable[tuple[object, ...]]) -> str:
    """The rows sorted by their first four fields, under the header."""
    lines = [header]
    ordered = sorted(rows, key=lambda row: row[:4])
    lines.extend(",".join(_csv_field(value) for value in row) for row in ordered)
    return "\n".join(lines) + "\n"


def volumes_csv(matcher: Matcher) -> str:
    """Returns volumes.csv of a replay's engine."""
    epoch = day_of(-VIETNAM_OFFSET_US)
    rows = []
    for operator, day, direction, unit_type, *moved in matcher.volumes():
        movements_in, pieces_in, grams_in, movements_out, pieces_out, grams_out = moved
        rows.append(
            (
                operator,
                day_text(epoch + day),
                direction,
                unit_type,
                movements_in,
                pieces_in,
                kilograms(grams_in),
                movements_out,
                pieces_out,
                kilograms(grams_out),
            )
        )
    return _csv(VOLUMES_HEADER, rows)


def stock_csv(matcher: Matcher) -> str:
    """Returns stock.csv of a replay's engine."""
    rows = [
        (location, direction, unit_type, age, units, pieces, kilograms(grams))
        for location, direction, unit_type, age, units, pieces, grams in matcher.stock()
    ]
    return _csv(STOCK_HEADER, rows)
