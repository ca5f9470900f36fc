"""Settings from the environment and a file: defaults, ranges, complaints that name the place, and
what ``gatejoin config`` says of them."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stream.settings import DESCRIPTIONS, OTHER_VARIABLES, Settings, SettingsError, resolve

# Named somewhere as what is refused.
REFUSED = {"GATEJOIN_PORT", "GATEJOIN_SASL_PASSWORD"}
ROOT = Path(__file__).resolve().parents[2]
SECRET = "correct horse battery staple"


def config(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stream", "config", *arguments],
        env={"PATH": "", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_each_setting_has_a_variable() -> None:
    given = {
        "GATEJOIN_BROKER": "a:1,b:2",
        "GATEJOIN_TOPIC_PREFIX": "north.",
        "GATEJOIN_PARTITIONS": " 12 ",
        "GATEJOIN_COMMIT_INTERVAL_S": "0.5",
        "GATEJOIN_BENCH_UNITS": "not a worker's",
        "PATH": "ignored",
    }
    settings = Settings.from_environment(given)
    assert (settings.broker, settings.partitions, settings.commit_interval_s) == (
        "a:1,b:2",
        12,
        0.5,
    )
    assert settings.topic("holds") == "north.holds"
    assert settings.group_id == "north.gatejoin"


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("GATEJOIN_PARTITIONS", "eight", "GATEJOIN_PARTITIONS='eight' is not a whole number"),
        ("GATEJOIN_PARTITIONS", "0", "GATEJOIN_PARTITIONS=0 is outside of 1 to 1000"),
        (
            "GATEJOIN_SESSION_TIMEOUT_S",
            "5",
            "GATEJOIN_SESSION_TIMEOUT_S=5.0 is outside of 6 to 300 seconds",
        ),
        ("GATEJOIN_SESSION_TIMEOUT_S", "nan", "outside of 6 to 300"),
        ("GATEJOIN_COMPRESSION", "brotli", "is none of none, gzip, snappy, lz4, zstd"),
        ("GATEJOIN_BROKER", "", "GATEJOIN_BROKER='' is not host:port"),
        ("GATEJOIN_BROKER", "kafka", "GATEJOIN_BROKER='kafka' is not host:port"),
        ("GATEJOIN_BROKER", "a:1,,b:2", "is not host:port"),
        ("GATEJOIN_TOPIC_PREFIX", "a/b", "is not up to 150 letters"),
        ("GATEJOIN_PARTITION", "3", r"no setting \(did you mean GATEJOIN_PARTITIONS\?\)"),
        ("GATEJOIN_partitions", "3", "GATEJOIN_partitions is no setting"),
        ("GATEJOIN_SECURITY_PROTOCOL", "SASL_SSL", "GATEJOIN_SASL_USERNAME is needed with"),
        ("GATEJOIN_SASL_USERNAME", "worker", "means nothing with .*PLAINTEXT"),
        ("GATEJOIN_TLS_CA_FILE", "ca.pem", "GATEJOIN_TLS_CA_FILE means nothing with"),
        ("GATEJOIN_CONFIG", "absent.toml", "GATEJOIN_CONFIG=absent.toml: No such file"),
    ],
)
def test_wrong_settings_are_named(variable: str, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Settings.from_environment({variable: text})


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(SettingsError, match="go together"):
        Settings(security_protocol="SSL", tls_certificate_file="worker.pem")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "gatejoin.toml"
    file.write_text('# One place.\npartitions = 12\ngroup = "north"\ncommit_interval_s = 2\n')
    settings, sources = resolve({"GATEJOIN_CONFIG": str(file), "GATEJOIN_PARTITIONS": "24"})
    assert (settings.partitions, settings.group, settings.commit_interval_s) == (24, "north", 2.0)
    assert sources == {
        "partitions": "GATEJOIN_PARTITIONS",
        "group": f"{file}:3",
        "commit_interval_s": f"{file}:4",
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\npartition = 3\n", r":2: partition is no setting \(did you mean partitions\?\)"),
        ("partitions = 0\n", ":1: partitions=0 is outside of 1 to 1000"),
        ('partitions = "8"\n', ":1: partitions must be a whole number"),
        ("partitions = true\n", ":1: partitions must be a whole number"),
        ("broker = 9092\n", ":1: broker must be text in quotes"),
        ("partitions = \n", "is no TOML"),
        ("[worker]\npartitions = 8\n", ":1: worker is no setting"),
        ("\udcff", "is no TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_line(
    text: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "gatejoin.toml"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(SettingsError, match=complaint):
        Settings.from_environment({"GATEJOIN_CONFIG": str(file)})


def test_every_setting_says_what_a_person_has_to_know() -> None:
    for field in dataclasses.fields(Settings):
        description = DESCRIPTIONS[field.name]
        assert description.what.endswith("."), field.name
        assert description.allowed, field.name
        if isinstance(field.default, int | float):
            assert description.low is not None and description.high is not None, field.name
            assert description.low <= field.default <= description.high, field.name
            assert description.below or description.above, field.name
        for said in (description.below, description.above):
            assert not said or said.endswith("."), field.name


def test_config_shows_what_is_in_force_and_from_where(tmp_path: Path) -> None:
    file = tmp_path / "gatejoin.toml"
    file.write_text("web_port = 0\n")
    said = config(GATEJOIN_CONFIG=str(file), GATEJOIN_GROUP="north")
    rows = {line.split()[0]: line.split()[1:] for line in said.stdout.splitlines()}
    assert rows["GATEJOIN_WEB_PORT"] == ["0", f"{file}:1"]
    assert rows["GATEJOIN_GROUP"] == ["north", "GATEJOIN_GROUP"]
    assert rows["GATEJOIN_SESSION_TIMEOUT_S"] == ["6.0", "seconds", "default"]
    assert len(rows) == 1 + len(DESCRIPTIONS)
    parsed = json.loads(config("--json", GATEJOIN_GROUP="north").stdout)
    assert parsed["group"] == {"value": "north", "unit": None, "from": "GATEJOIN_GROUP"}


@pytest.mark.parametrize("command", ["config", "worker", "report"])
def test_a_wrong_setting_is_one_line_and_status_2(command: str) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "stream", command],
        env={"PATH": "", "GATEJOIN_PARTITION": "8"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (2, "", 1)
    assert "GATEJOIN_PARTITION is no setting" in said.stderr


def test_secrets_are_never_printed(tmp_path: Path) -> None:
    """A setting only names the file of a secret; one that is put into a variable is refused
    without being repeated."""
    password = tmp_path / "password"
    password.write_text(SECRET)
    secured = {
        "GATEJOIN_SECURITY_PROTOCOL": "SASL_SSL",
        "GATEJOIN_SASL_USERNAME": "worker",
        "GATEJOIN_SASL_PASSWORD_FILE": str(password),
    }
    for variables in (
        secured,
        {"GATEJOIN_SASL_PASSWORD": SECRET},
        {"GATEJOIN_BROKER": f"worker:{SECRET}@kafka:9092"},
    ):
        for arguments in ([], ["--json"]):
            said = config(*arguments, **variables)
            assert said.returncode == (0 if variables is secured else 2)
            assert SECRET not in said.stdout + said.stderr
    assert SECRET not in repr(Settings.from_environment(secured))


def test_every_variable_that_is_named_anywhere_is_known() -> None:
    """A variable that the tests or tools use and the worker would refuse is one to be declared in
    stream/settings.py."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    known = {"GATEJOIN_" + name.upper() for name in DESCRIPTIONS} | REFUSED
    unknown = set()
    for name in filter(None, listed):
        path = ROOT / name
        # The core reads no settings; its headers are guarded by names of this kind.
        if path == Path(__file__).resolve() or path.suffix in (".h", ".c") or not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        for variable in re.findall(r"(?<!\w)GATEJOIN_[A-Z0-9_]*[A-Z0-9](?!\w)(?!\*)", text):
            if variable not in known and not variable.startswith(OTHER_VARIABLES):
                unknown.add(f"{name}: {variable}")
    assert not unknown, "\n".join(sorted(unknown))
