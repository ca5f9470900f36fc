"""Workers under a real Prometheus, shared by the tests that look at them and break them."""

from __future__ import annotations

import os

import pytest

from deploy.runbooks.watched import Installation


@pytest.fixture(scope="session")
def installation(kafka, tmp_path_factory):
    """Two workers that have answered gates of HP-01; whoever breaks something mends it."""
    directory = tmp_path_factory.mktemp("watched")
    with Installation(kafka, f"watched-{os.getpid()}.", directory) as watched:
        watched.start("worker-1", log_format="json")
        watched.start("worker-2")
        watched.wait_ready()
        watched.register("HP-01")
        watched.declare()
        watched.wait_for("count(gatejoin:customs_age_seconds:min) == 2")
        yield watched
