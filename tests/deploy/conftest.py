"""Workers under a real Prometheus, shared by the tests that look at them and break them."""

from __future__ import annotations

import os

import pytest

from deploy.runbooks.watched import Installation


@pytest.fixture(scope="module")  # what comes after these tests has the processors to itself
def installation(kafka, request, tmp_path_factory):
    """Two workers that have answered gates of HP-01; whoever breaks something mends it."""
    directory = tmp_path_factory.mktemp("watched")
    prefix = f"{request.module.__name__.rsplit('.', 1)[-1]}-{os.getpid()}."
    with Installation(kafka, prefix, directory) as watched:
        watched.start("worker-1", log_format="json")
        watched.start("worker-2")
        watched.wait_ready()
        watched.register("HP-01")
        watched.declare()
        watched.wait_for("count(gatejoin:customs_age_seconds:min) == 2")
        yield watched
