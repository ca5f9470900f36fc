"""Hands a run to the agent as it is.

What it is: the Faust schema of a topic that is read through ``gatejoin://``.
Who calls it: Faust's conductor, once per message; ``stream.agents`` names it.
What it must never know: what is in a run.
"""

from __future__ import annotations

from typing import Any, cast

import faust
from faust.types import AppT
from faust.types.tuples import Message

from stream.transport.fetcher import PartitionRun


class RunSchema(faust.Schema[None, PartitionRun]):
    """No key, and the value is the PartitionRun: nothing is left to be decoded."""

    def loads_key(self, app: AppT, message: Message, **_options: Any) -> None:
        """The run's key: none, for its records have their own."""

    def loads_value(self, app: AppT, message: Message, **_options: Any) -> PartitionRun:
        """The run itself."""
        return cast(PartitionRun, message.value)
