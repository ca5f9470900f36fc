"""stream/cli.py: commands are found, mishaps are one line and the right exit status.

Real processes where the outside matters (pipes, signals, what is imported), ``main`` otherwise.
"""

import errno
import os
import signal
import subprocess
import sys
import types

import pytest

from stream import cli
from stream.report import STOCK_HEADER, VOLUMES_HEADER

VOLUME = ",1,0,1.000,0,0,0.000\n"
GATEJOIN = [sys.executable, "-m", "stream"]


def gatejoin(*arguments, **options):
    return subprocess.run(
        [*GATEJOIN, *arguments], capture_output=True, text=True, timeout=60, **options
    )


@pytest.fixture
def command(monkeypatch):
    """Makes a command of a function: what the command line does with any command's outcome."""

    def install(run):
        module = types.ModuleType("stream.of_the_test")
        module.add_arguments = lambda parser: parser.add_argument("--count", type=int)
        module.run = run
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(cli.COMMANDS, "trial", cli._Command(module.__name__, "try"))

    return install


def test_every_command_has_help_and_its_module_imports():
    for name in cli.COMMANDS:
        result = gatejoin(name, "--help")
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(f"usage: gatejoin {name}")


def test_a_small_command_does_not_pay_for_faust():
    code = (
        "import sys; from stream import cli; cli.main(['report', '--from', 'absent'])\n"
        "print(sorted({'faust', 'aiokafka', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_version_and_help():
    result = gatejoin("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("gatejoin ")
    result = gatejoin("--help")
    assert result.returncode == 0
    for name in cli.COMMANDS:
        assert f"  {name} " in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["--nonsense"], ["report", "--nonsense"], ["report", "--format", "pdf"]],
)
def test_wrong_use_is_one_line_and_status_2(arguments):
    result = gatejoin(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("gatejoin")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_the_status_is_the_commands(command):
    command(lambda arguments: arguments.count)
    assert cli.main(["trial", "--count", "7"]) == 7


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.log"),
            2,
            "a.log: No such",
        ),
        (PermissionError(errno.EACCES, "Permission denied", b"out"), 2, "out: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "trial: No space left on device"),
        (MemoryError(), 1, "trial: out of memory"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_foreseeable_mishaps(command, capsys, error, status, message):
    def run(arguments):
        raise error

    command(run)
    assert cli.main(["trial"]) == status
    stderr = capsys.readouterr().err
    assert message in stderr
    assert stderr.count("\n") == (1 if message else 0)


def test_a_missing_package_or_core_is_named(monkeypatch, capsys):
    monkeypatch.setitem(cli.COMMANDS, "trial", cli._Command("no_such_package.x", "try"))
    assert cli.main(["trial"]) == 1
    assert "the package no_such_package is missing" in capsys.readouterr().err
    monkeypatch.setitem(cli.COMMANDS, "trial", cli._Command("core_ext.not_built", "try"))
    assert cli.main(["trial"]) == 1
    assert "build it with `make setup`" in capsys.readouterr().err


def test_nobody_reads_the_output(tmp_path):
    (tmp_path / "registry.ndjson").touch()
    (tmp_path / "volumes.csv").write_text(VOLUMES_HEADER + "\nA,2018-01-01,IMPORT,BULK" + VOLUME)
    (tmp_path / "stock.csv").write_text(STOCK_HEADER + "\n")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        result = subprocess.run(
            [*GATEJOIN, "report", "--from", str(tmp_path)],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert result.stderr == ""
    assert result.returncode == 128 + signal.SIGPIPE


def test_output_is_utf_8_whatever_the_locale():
    code = (
        "from stream import cli\n"
        "cli._without_command = lambda arguments: print('Hải Phòng') or 0\n"
        "cli.main([])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert result.stdout.decode() == "Hải Phòng\n"
