"""Settings from the environment: defaults, ranges, and complaints that name the variable."""

from __future__ import annotations

import dataclasses

import pytest

from stream.settings import Settings, SettingsError


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_each_setting_has_a_variable() -> None:
    given = {
        "GATEJOIN_BROKER": "a:1,b:2",
        "GATEJOIN_TOPIC_PREFIX": "north.",
        "GATEJOIN_PARTITIONS": " 12 ",
        "GATEJOIN_COMMIT_INTERVAL_S": "0.5",
        "GATEJOIN_UNRELATED": "ignored",
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
            "GATEJOIN_SESSION_TIMEOUT_S=5.0 is outside of 6 to 300",
        ),
        ("GATEJOIN_SESSION_TIMEOUT_S", "nan", "outside of 6 to 300"),
        ("GATEJOIN_COMPRESSION", "brotli", "is none of none, gzip, snappy, lz4, zstd"),
        ("GATEJOIN_BROKER", "", "GATEJOIN_BROKER is empty"),
    ],
)
def test_wrong_values_are_named(variable: str, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        Settings.from_environment({variable: text})


def test_every_number_has_a_range() -> None:
    for field in dataclasses.fields(Settings):
        if isinstance(field.default, int | float):
            low, high = field.metadata["low"], field.metadata["high"]
            assert low <= field.default <= high, field.name
