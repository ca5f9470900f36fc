"""The files of deploy/ that are written from the code are up to date."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def generator() -> ModuleType:
    """deploy/generate.py, which is no module of a package."""
    specification = importlib.util.spec_from_file_location("generate", DEPLOY / "generate.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


FILES = generator().FILES


@pytest.mark.parametrize("name", FILES)
def test_a_generated_file_is_up_to_date(name: str) -> None:
    """Mend it with: .venv/bin/python deploy/generate.py"""
    assert (DEPLOY / name).read_text() == FILES[name]()
