"""The fence between the owners of a partition: who was replaced can't write any more.

What it is: gives the worker that takes a partition over a producer identity of its own (a
``Writer``) and makes every log that the partition's output goes to refuse all earlier ones.
Who calls it: ``stream.gate``, when a partition is assigned, and now and then while it owns it.
What it must never know: what is written, what for.

A paused or cut-off worker does not know that the group has given its partition away, so it can't be
asked to stop; the logs themselves must turn it down. Kafka does that for transactional producers: a
transactional id (here one for each partition of port-events) has a producer id and an epoch that
InitProducerId raises, and whoever writes with an older epoch gets INVALID_PRODUCER_EPOCH. But data
in transactions would be seen late, or, by readers that do not ask for read_committed, twice. So the
data travel as plain idempotent batches of that producer id and epoch, and only the *markers* of a
transaction are used: the new owner begins one, adds every output partition to it, and ends it
empty. The markers carry the new epoch into each log, no reader ever sees them, and from then on
each log refuses the older epochs. Only now is the end of a log final and may be read.

As seen on Apache Kafka 4.3.1 (tests/stream/test_fence.py), and why in its source: a log's
ProducerStateManager keeps one epoch per producer id, whether it comes from a batch or from a marker
(ProducerAppendInfo.appendEndTxnMarker); a batch of an older one is refused whether it is in a
transaction or not (checkProducerEpoch), also a repeated one; between InitProducerId and the markers
the former owner still gets through, since it is the logs that count. EndTxn answers when the
coordinator has decided, not when the markers are written; asked again it answers
CONCURRENT_TRANSACTIONS until they are. It all takes 10 to 20 ms. The requests are of versions
before Kafka 4's (transaction.version 2 would raise the epoch at each EndTxn), so the epoch stays
what InitProducerId gave, and the first batch of the new owner has sequence 0.

A log forgets a producer that has not written for producer.id.expiration.ms (a day), and the
coordinator an id that was not used for transactional.id.expiration.ms (seven days). So an owner
writes the markers again every RENEW_S, with the same epoch, which keeps the sequence numbers valid
and so needs no pause. Epochs end at 32,766, then Kafka gives another producer id, of which the logs
that keep the old one know nothing: whoever gets an epoch near the end fences with it and asks on
until it has a new id, so that nobody has written with the last epochs of the old one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError
from aiokafka.protocol.transaction import (
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
)

from stream.emission import FENCED_CODES, FencedError, Writer
from stream.fatal import FatalError

log = logging.getLogger(__name__)

#: How often an owner writes its markers again; well within a broker's day.
RENEW_S = 6 * 3600.0
# An empty transaction takes milliseconds; who dies within one blocks its successor for as long, at
# most. Below 10 s a loaded coordinator aborts what is going well.
TRANSACTION_MS_MAX = 20_000
# Between two attempts, at first and at most; markers are usually written within 10 ms.
RETRY_S = 0.002
RETRY_S_MAX = 0.5
# How often a coordinator that keeps one waiting is reported.
TELL_S = 10.0
# Epochs from here on are not written with, only fenced with.
EPOCH_MAX = 32_000

CONCURRENT_TRANSACTIONS = 51
UNKNOWN_TOPIC_OR_PARTITION = 3
OPERATION_NOT_ATTEMPTED = 55

Output = tuple[str, int]  # topic, partition


class FenceError(FatalError):
    """A broker refuses the fence for good; the message says what and the remedy."""


class _Patience:
    """Waits between attempts, longer each time, and says so now and then."""

    def __init__(self, transactional_id: str) -> None:
        self._id = transactional_id
        self._pause_s = RETRY_S
        self._told_at = time.monotonic()

    async def wait(self, why: str) -> None:
        now = time.monotonic()
        if now - self._told_at >= TELL_S:
            self._told_at = now
            log.warning("the fence of %s is not up yet (%s); waiting", self._id, why)
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, RETRY_S_MAX)


class Fence:
    """Fences with the client of an emission; one for each worker."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client = client
        self._coordinators: dict[str, int] = {}

    async def take(self, transactional_id: str, outputs: Iterable[Output]) -> Writer:
        """Returns the identity that writes to ``outputs`` from now on; all earlier ones of this
        ``transactional_id`` are refused there. Waits, with a message, while no broker answers.

        Raises FencedError if another took it meanwhile, FenceError if a broker refuses for good.
        """
        wanted = list(outputs)
        was_worn = False
        while True:
            producer_id, epoch = await self._next_epoch(transactional_id)
            writer = Writer(producer_id, epoch, transactional_id)
            if epoch < EPOCH_MAX:
                await self.renew(writer, wanted)
                return writer
            if not was_worn:
                await self.renew(writer, wanted)
                was_worn = True

    async def renew(self, writer: Writer, outputs: Sequence[Output]) -> None:
        """Writes the markers of ``writer`` into each of ``outputs``.

        Raises FencedError if it is not the latest, FenceError if a broker refuses for good.
        """
        topics: dict[str, list[int]] = {}
        for topic, partition in outputs:
            topics.setdefault(topic, []).append(partition)
        who = (writer.name, writer.producer_id, writer.epoch)
        patience = _Patience(writer.name)
        while True:
            response = await self._ask(
                writer.name, AddPartitionsToTxnRequest(*who, list(topics.items())), patience
            )
            codes = {code for _, answers in response.errors for _, code in answers} - {0}
            codes.discard(OPERATION_NOT_ATTEMPTED)  # of those beside one that was refused
            if not codes:
                break
            await self._consider(writer.name, codes, patience)
        is_decided = False
        while True:
            response = await self._ask(writer.name, EndTxnRequest(*who, True), patience)
            if not response.error_code and is_decided:
                return
            if response.error_code:
                await self._consider(writer.name, {response.error_code}, patience)
            else:
                is_decided = True

    async def _next_epoch(self, transactional_id: str) -> tuple[int, int]:
        patience = _Patience(transactional_id)
        while True:
            request = InitProducerIdRequest(transactional_id, TRANSACTION_MS_MAX)
            response = await self._ask(transactional_id, request, patience)
            if not response.error_code:
                return response.producer_id, response.producer_epoch
            await self._consider(transactional_id, {response.error_code}, patience)

    async def _ask(self, transactional_id: str, request: Any, patience: _Patience) -> Any:
        """Sends a request to the coordinator of an id, once it can be reached."""
        while True:
            try:
                node = self._coordinators.get(transactional_id)
                if node is None:
                    node = await self._client.coordinator_lookup(
                        CoordinationType.TRANSACTION, transactional_id
                    )
                    self._coordinators[transactional_id] = node
                return await self._client.send(node, request, group="fence")
            except errors.TransactionalIdAuthorizationFailed as error:
                raise FenceError(_refusal(transactional_id, error)) from None
            except (KafkaError, OSError, TimeoutError) as error:
                self._coordinators.pop(transactional_id, None)
                self._client.force_metadata_update()
                await patience.wait(repr(error))

    async def _consider(self, transactional_id: str, codes: set[int], patience: _Patience) -> None:
        """Waits for what passes; raises what does not."""
        if codes & FENCED_CODES:
            raise FencedError(f"{transactional_id} has been taken over by another worker")
        for code in codes - {CONCURRENT_TRANSACTIONS}:
            error = errors.for_code(code)
            if not error.retriable:
                raise FenceError(_refusal(transactional_id, error()))
            self._coordinators.pop(transactional_id, None)
            if error.invalid_metadata:
                self._client.force_metadata_update()
        await patience.wait(", ".join(errors.for_code(code).__name__ for code in codes))


def _refusal(transactional_id: str, error: BaseException) -> str:
    return (
        f"the broker refuses transactional id {transactional_id} ({error!r}): allow the worker to "
        "Write and Describe it, and to Write to its topics"
    )
