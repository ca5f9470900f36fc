"""Fixtures shared by all tests: one real Kafka for the whole session, names of one's own in it."""

from __future__ import annotations

import importlib.util
import itertools
import os
import re

import pytest

from stream.local_kafka import broker_from_environment_or_local

serial = itertools.count(1)


@pytest.fixture(scope="session")
def kafka():
    """Bootstrap servers of one broker for the whole session; GATEJOIN_BROKER names another."""
    with broker_from_environment_or_local(heap_mb=512, is_short_lived=True) as bootstrap_servers:
        yield bootstrap_servers


@pytest.fixture
def topic_prefix(request):
    """Prefix for topics and groups that no other test, and no other run, has."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60]
    return f"{name}-{os.getpid()}-{next(serial)}."


def pytest_collection_modifyitems(items):
    """Puts the faults first: they take a quarter of an hour, most of it waiting for brokers and
    groups, so what runs beside them costs nothing, and what runs before them costs all it takes."""
    items.sort(key=lambda item: item.path.name != "test_faults.py")


def pytest_report_header():
    """Say which of the compiled core's two paths is tested, and refuse to test the wrong one."""
    if importlib.util.find_spec("core_ext.container_number") is None:
        return "core: not built"
    from core_ext import container_number

    path = container_number.simd_path()
    if os.environ.get("GATEJOIN_SIMD") == "portable":
        assert path == "portable", f"GATEJOIN_SIMD=portable is set, but {path} is loaded"
    return f"core: SIMD path {path}"
