"""The command line: finds the module of a command, hands over, and turns mishaps into one line.

Entry point of ``gatejoin`` and of ``python -m stream``. A command is a module with
``add_arguments(parser)`` and ``run(arguments) -> exit status``, imported only when it is asked
for, so that ``gatejoin replay`` doesn't pay for Faust. It must never know what a command does.

Exit status: 0 good, 1 failed, 2 wrong use or input, 130 Ctrl-C, 141 nobody reads the output.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.metadata
import os
import signal
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple, NoReturn


class _Command(NamedTuple):
    module: str
    summary: str


COMMANDS: dict[str, _Command] = {
    "worker": _Command("stream.worker", "run the worker: port events in, decisions out"),
    "replay": _Command("stream.replay_command", "apply a log in order, without a broker"),
    "why": _Command("stream.why", "explain every decision on a unit"),
    "report": _Command("stream.report", "print the national table, as of any date"),
    "config": _Command("stream.config", "show the settings in force and where they come from"),
    "metrics": _Command("stream.metrics_command", "print what a worker tells Prometheus"),
    "topics": _Command("stream.topics_command", "show or make what the broker lacks of the topics"),
    "access": _Command("stream.access_command", "show or grant who may do what with the topics"),
    "demo": _Command("stream.demo", "run a national year on this machine"),
    "broker": _Command("stream.broker_command", "run a local Apache Kafka until Ctrl-C"),
    "year": _Command("stream.national_year.command", "write a national year as a log"),
}

_INPUT_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is a ``--help`` away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {_one_line(message)} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: the arguments after the program's name; those of the process if None.

    Returns:
        The exit status. ``--help``, ``--version`` and wrong arguments raise SystemExit with it.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # Names are Vietnamese and files are UTF-8, whatever the locale says.
            reconfigure(encoding="utf-8", errors="backslashreplace")
    name = "gatejoin"
    try:
        if not arguments or arguments[0] not in COMMANDS:
            status = _without_command(arguments)
        else:
            name = f"gatejoin {arguments[0]}"
            status = _run(name, COMMANDS[arguments[0]], arguments[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # Whatever is still buffered has nowhere to go; without this Python would say so at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        place = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        _complain(name, f"{place}{error.strerror or error}")
        return 2 if isinstance(error, _INPUT_ERRORS) else 1
    except MemoryError:
        _complain(name, "out of memory: give it more, or less to do")
        return 1
    return status


def _without_command(arguments: list[str]) -> int:
    parser = _Parser(
        prog="gatejoin",
        description="Automated customs supervision: joins what ports report with what customs "
        "declares and answers what may pass, and why.",
        epilog="commands:\n"
        + "".join(f"  {name:<8} {command.summary}\n" for name, command in COMMANDS.items())
        + "\n`gatejoin COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gatejoin {_version()}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="see below")
    if not arguments:
        parser.error(f"no command given: use one of {', '.join(COMMANDS)}")
    parser.parse_args(arguments[:1])
    # Only an argument that starts with a minus and is a prefix of an option gets here.
    parser.error(f"give a command first: one of {', '.join(COMMANDS)}")


def _run(name: str, command: _Command, arguments: list[str]) -> int:
    try:
        module = _import(command)
    except ModuleNotFoundError as error:
        _complain(name, _missing(error))
        return 1
    parser = _Parser(prog=name, description=_capital(command.summary) + ".")
    module.add_arguments(parser)
    status = module.run(parser.parse_args(arguments))
    assert isinstance(status, int), f"{command.module}.run must return an exit status"
    return status


def _import(command: _Command) -> ModuleType:
    """The command's module. What modules make stays as long as the process, so nobody looks through
    it for garbage: not while it is made, which took a tenth of a worker's start, and not later."""
    gc.disable()
    try:
        return importlib.import_module(command.module)
    finally:
        gc.freeze()
        gc.enable()


def _missing(error: ModuleNotFoundError) -> str:
    name = error.name or ""
    if name.split(".")[0] == "core_ext":
        return f"the compiled module {name} is missing: build it with `make setup`"
    if name.split(".")[0] == "stream":
        return f"this installation has no {name}: install gatejoin again"
    return f"the package {name} is missing: install it with `make setup` or pip"


def _version() -> str:
    try:
        return importlib.metadata.version("gatejoin")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _complain(name: str, message: str) -> None:
    print(f"{name}: {_one_line(message)}", file=sys.stderr)


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
