"""The log's lines, for people and for machines."""

from __future__ import annotations

import io
import itertools
import json
import logging
import logging.config

import pytest

from stream.logs import at, configuration, passes_quarter

MOMENT_S = 1_533_814_400.0125  # 2018-08-09T11:33:20.012Z


@pytest.fixture
def lines():
    """Configures logging as a worker does; gives what was written so far, one line each."""
    root, kept = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)

    def configured(level: str, form: str):
        settings = configuration(level, form)
        settings["handlers"]["standard error"]["stream"] = stream = io.StringIO()
        logging.config.dictConfig(settings)
        return lambda: stream.getvalue().splitlines()

    yield configured
    for name in ("aiokafka", "faust", "mode"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.handlers[:], root.level = kept


def record(name: str, message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger(name).makeRecord(
        name, logging.WARNING, "file", 1, message, arguments, None, extra=extra or None
    )
    made.created = MOMENT_S
    return made


def test_a_line_for_people(lines) -> None:
    written = lines("info", "human")
    logging.getLogger().handle(record("stream.gate", "two\n lines of %d", 5, **at(partition=3)))
    assert written() == [
        "2018-08-09T11:33:20.012Z WARNING gate: two lines of 5 (partition=3)",
    ]


def test_a_line_for_machines(lines) -> None:
    written = lines("info", "json")
    logging.getLogger().handle(record("stream.gate", "Cảng %s", "X", **at(partition=3, offset=17)))
    assert [json.loads(line) for line in written()] == [
        {
            "time": "2018-08-09T11:33:20.012Z",
            "level": "warning",
            "module": "gate",
            "message": "Cảng X",
            "partition": 3,
            "offset": 17,
        }
    ]


@pytest.mark.parametrize("form", ["human", "json"])
def test_an_exception_is_told_whole(lines, form) -> None:
    written = lines("info", form)
    try:
        raise ValueError("what went wrong")
    except ValueError:
        logging.getLogger("stream.gate").exception("failed")
    text = written()
    if form == "json":
        assert "what went wrong" in json.loads(text.pop())["exception"]
        assert not text
    else:
        assert text[-1] == "ValueError: what went wrong"


@pytest.mark.parametrize(("level", "shown"), [("debug", True), ("info", False), ("error", False)])
def test_what_faust_tells_of_itself_is_for_debugging(lines, level, shown) -> None:
    written = lines(level, "human")
    logging.getLogger("mode.worker").info("[^Worker]: Starting...")
    assert bool(written()) == shown


def test_levels(lines) -> None:
    written = lines("warning", "human")
    logging.getLogger("stream.gate").info("no")
    logging.getLogger("stream.gate").warning("yes")
    assert len(written()) == 1


def test_what_aiokafka_repeats_is_thinned_out_and_nothing_else(lines) -> None:
    written = lines("info", "human")
    for number in range(5):
        logging.getLogger("aiokafka.conn").warning("no broker at %d", number)
        logging.getLogger("stream.gate").warning("no broker at %d", number)
    assert sum(" aiokafka.conn: " in line for line in written()) == 1
    assert sum(" gate: " in line for line in written()) == 5


def test_a_progress_is_told_at_each_quarter_and_its_end_is_left_to_others() -> None:
    shares = [0.0, 0.1, 0.25, 0.3, 0.49, 0.8, 0.99, 1.0, 1.0]
    told = [now for before, now in itertools.pairwise(shares) if passes_quarter(before, now)]
    assert told == [0.25, 0.8]
