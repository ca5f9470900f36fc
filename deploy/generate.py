#!/usr/bin/env python3
"""Writes the files of deploy/ that say what the code declares; the tests compare them.

Called by hand, with .venv's Python, after a setting, a topic or the access to one has changed.
``contents`` is the one list of these files; tests/deploy/test_generated.py reads it too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stream.access import access_list  # noqa: E402
from stream.access_command import as_csv  # noqa: E402
from stream.asyncapi import document  # noqa: E402
from stream.config import reference  # noqa: E402
from stream.settings import Settings  # noqa: E402


def contents() -> dict[str, str]:
    """Each file's path below deploy/ and its text."""
    settings = Settings()
    return {
        "settings.md": reference(),
        "asyncapi.json": json.dumps(document(settings), indent=2, ensure_ascii=False) + "\n",
        "kafka/access.csv": as_csv(access_list(settings)),
    }


if __name__ == "__main__":
    for name, text in contents().items():
        path = ROOT / "deploy" / name
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote deploy/{name}")
