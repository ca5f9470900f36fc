"""A worker's place in the consumer group: when it was last confirmed, and whether another has it.

What it is: aiokafka's group coordinator client, which also remembers when the group last said that
this member is one of it (the *lease*), and does not fight for a name that another worker has taken.
Who calls it: ``stream.transport.fetcher`` puts it in aiokafka's place;
``stream.transport.consumer`` and the gate ask.
What it must never know: which partitions there are, what a worker does with them.

A member that the group has not heard of for the session's time-out is replaced, so whoever finds
that the last confirmation is longer ago must take itself for replaced: it may have been paused. The
clock is one that also counts while a machine sleeps, and a confirmation is as old as its request.

With a static name (``group.instance.id``) a second worker of that name takes the place of the
first, which is then unknown to the group. aiokafka would join again and take the place back, and so
on for ever; here the one that was thrown out though its lease had not run out stops joining. If it
asks to join with the old place, as in a rebalance, the group says so itself (FENCED_INSTANCE_ID).

What else the group refuses for good aiokafka keeps for whoever reads records next, and does nothing
until then; a worker that has no partitions yet reads none, so it is remembered here.

The gate learns from the fence that another has taken a partition, mostly before the group says so.
It asks the group anew then (``rejoin``), since the other may have lost the partition itself: what a
worker asked of a broker while the partition was still its own may be done after the next owner's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest

NEVER = float("-inf")
#: Requests whose answer says that the sender is a member.
CONFIRMING = (HeartbeatRequest, SyncGroupRequest)
#: No error, and REBALANCE_IN_PROGRESS, which only members are told.
CONFIRMED_CODES = frozenset((0, 27))
#: Another has this member's static name; aiokafka does not know the code.
FENCED_INSTANCE_ID = 82


def clock_s() -> float:
    """Seconds of a clock that is never set and counts while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Membership(GroupCoordinator):  # type: ignore[misc]
    """aiokafka's coordinator with a lease."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: When the request was sent that the group confirmed last, by ``clock_s``.
        self.confirmed_at = NEVER
        #: Another worker has joined with the same static name.
        self.is_name_taken = False
        #: Why the group refuses this member for good, if it does.
        self.refusal: KafkaError | None = None
        self._own_loop = asyncio.get_running_loop()

    @property
    def has_lease(self) -> bool:
        """Whether the group can't have given this member's partitions away yet."""
        return bool(clock_s() - self.confirmed_at < self._session_timeout_ms / 1000)

    def rejoin(self) -> None:
        """Asks the group anew which partitions are this member's; to be called in any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the worker ends
            self._own_loop.call_soon_threadsafe(self.request_rejoin)

    async def _send_req(self, request: Any) -> Any:
        asked_at = clock_s()
        response = await super()._send_req(request)
        if isinstance(request, CONFIRMING) and response.error_code in CONFIRMED_CODES:
            self.confirmed_at = asked_at
        if getattr(response, "error_code", 0) == FENCED_INSTANCE_ID:
            self.is_name_taken = True
        return response

    def _push_error_to_user(self, error: KafkaError) -> Any:
        self.refusal = error
        return super()._push_error_to_user(error)

    def reset_generation(self) -> None:
        """The group does not know this member (any more), or it leaves."""
        if self._group_instance_id and not self._closing.done() and self.has_lease:
            self.is_name_taken = True
        self.confirmed_at = NEVER
        super().reset_generation()

    async def ensure_active_group(self, subscription: Any, prev_assignment: Any) -> Any:
        """Joins the group, unless another has this member's name; then waits for the end."""
        if self.is_name_taken:
            await self._closing
            return None
        return await super().ensure_active_group(subscription, prev_assignment)
