"""The files of deploy/ that are written from the code are up to date."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@cache
def generated_module() -> ModuleType:
    """deploy/generate.py, which is no module of a package."""
    specification = importlib.util.spec_from_file_location("generate", DEPLOY / "generate.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@cache
def generated() -> dict[str, str]:
    """Each generated file's path below deploy/ and what it should hold."""
    return generated_module().contents()


@pytest.mark.parametrize("name", generated())
def test_a_generated_file_is_up_to_date(name: str) -> None:
    """Mend it with: .venv/bin/python deploy/generate.py"""
    assert (DEPLOY / name).read_text() == generated()[name]
