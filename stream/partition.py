"""The protocol of one owned partition: what is written in which order, and what to do at take-over.

What it is: plain classes without I/O, told what has happened and asked what may be done.
Who calls it: ``stream.owned_partition`` and ``stream.recovery`` (with Kafka), the deterministic
simulation of the tests (with everything imitated).
What it must never know: Kafka's client, asyncio, what time it is, what a record says.

Guarantees, each kept by one rule:

1.  *No answer is held up.* Decisions of a run leave first; its alerts and rejects when these are
    acknowledged, so no alert speaks of a decision that nobody can see.
2.  *The changelog is never ahead of the effects.* A state that is taken out of the engine is
    written when every effect that was said up to that moment is acknowledged (``may_write``).
3.  *The meta record is never ahead of the states.* It goes last in the lane of the states, and says
    up to which event they reach: the one that was next when the commit *began*. States are taken in
    pieces while events go on, those of all units that had changed when the first piece was taken,
    so some may be newer; that is harmless, since by rule 2 whatever such an event caused is
    acknowledged, and applied again it is a repeat that says nothing.
4.  *Offsets are never ahead of the meta record.* An event is acknowledged to the group when a meta
    record behind it is. Offsets only serve the group: where a new owner begins is in the meta.
5.  *The tail is known.* The meta has, for each output, the offset behind the last effect that was
    said before the commit began. A new owner fences, and then reads from there to the end, which is
    final: all that was said and is not in the states.

6.  *Nothing is forgotten that may come again.* A unit whose visits are over is forgotten only when
    a meta record covers all of its events; else whoever begins at an earlier event would meet them
    as new and count them twice. A unit that has not changed for ``UNCHANGED_COMMITS`` is covered:
    the first may have been under way when it changed, the second began after that, and the third's
    beginning says that the second's meta record is there. What a former owner's
    states tell of is covered when a commit is through that began behind its tail (``may_forget``).

At take-over (``TakeOver``) events from the meta's offset on are applied with decisions muted, up to
the last one that the tail shows to have been answered; the tail's decisions are taken as they are
(they were published, so they are the truth), alerts and rejects that are not in the tail are made
up, every open check is weighed again, and normal reading goes on. What cannot be put right is
refused with a TakeOverError rather than answered with half a state.

A changelog that can't be used is *cleared* before its partition is made again from its events
(``nulls_for``): its meta record gets a null value, then every key that it has, then the meta record
once more. From the first null on it has no meta record, so whoever finds it half cleared makes the
partition again as well. The last one says that nothing before it counts (``RecordRun.last_null``):
neither the record that could not be read nor what only the old state knew, such as sums of units
that had been forgotten and are back. Once the broker has compacted the log, none of that is left,
and the nulls may go.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from core_ext.record_batch import RecordRun, crc32c
from stream.fatal import FatalError

DECISIONS = "decisions"
ALERTS = "alerts"
REJECTS = "rejects"
#: What has effects outside; each has a tail.
EFFECTS = (DECISIONS, ALERTS, REJECTS)

# ---- the meta record -----------------------------------------------------------------------------

#: Key of the partition's own record in its changelog.
META_KEY = b"P"
META_VERSION = 1
#: For how many commits a unit has not changed that may be forgotten: rule 6.
UNCHANGED_COMMITS = 3
#: Format version, then the CRC-32C of what follows, little-endian; as the states have it.
_FRAME = struct.Struct("<BI")


class MetaError(ValueError):
    """A meta record that can't be used; the message says why."""


@dataclass(frozen=True)
class Meta:
    """Where a partition stood when its states were written.

    ``next_offset`` is the first event that the states need not tell of; ``tails`` the offset in
    each output behind the last effect that they tell of; ``clock_us`` the partition's clock, None
    before its first record; ``spoken`` how far customs' records have been spoken for
    (``stream.customs_rejects``), by ``topic/partition``.
    """

    next_offset: int
    clock_us: int | None
    partition_count: int
    tails: Mapping[str, int]
    spoken: Mapping[str, int] = field(default_factory=dict)


def encode_meta(meta: Meta) -> bytes:
    """The record's value."""
    payload = json.dumps(
        {
            "nextOffset": meta.next_offset,
            "clockMicroseconds": meta.clock_us,
            "partitions": meta.partition_count,
            "tails": dict(meta.tails),
            "spoken": dict(meta.spoken),
        },
        separators=(",", ":"),
    ).encode()
    return _FRAME.pack(META_VERSION, crc32c(payload)) + payload


def decode_meta(value: bytes | None) -> Meta:
    """The meta record of a value; raises MetaError if it is damaged or of another release."""
    if value is None or len(value) < _FRAME.size:
        raise MetaError("it is cut short")
    version, checksum = _FRAME.unpack_from(value)
    if version != META_VERSION:
        raise MetaError(f"its format version is {version}, this release knows {META_VERSION}")
    payload = value[_FRAME.size :]
    if crc32c(payload) != checksum:
        raise MetaError("its checksum does not fit")
    try:
        fields = json.loads(payload)
        return Meta(
            int(fields["nextOffset"]),
            None if fields["clockMicroseconds"] is None else int(fields["clockMicroseconds"]),
            int(fields["partitions"]),
            {name: int(fields["tails"][name]) for name in EFFECTS},
            {str(name): int(offset) for name, offset in fields["spoken"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MetaError(f"it lacks what it should have ({error!r})") from None


def nulls_for(old: RecordRun, *, is_first: bool) -> Iterator[bytes]:
    """The keys that get a null value where a changelog that can't be used is cleared, for a piece
    of its records; ``META_KEY`` goes behind the last piece."""
    if is_first:
        yield META_KEY
    yield from dict.fromkeys(key for key, _, _, _ in old if key is not None)


# ---- while it is owned ---------------------------------------------------------------------------


class Commit:
    """One commit of a partition, from the moment in which it began."""

    def __init__(
        self, next_offset: int, ticket: int, uncovered: frozenset[int], tails: dict[str, int]
    ) -> None:
        self.next_offset = next_offset
        self.ticket = ticket
        #: Calls that were under way: what they say is behind the events that are covered.
        self.uncovered = uncovered
        self.tails = tails
        #: Where the tail of the take-over begins, if it had not been left.
        self.taken_from: Mapping[str, int] | None = None


class Progress:
    """How far an owned partition has come: what was applied, said, and written down.

    Each call of the engine that may have effects on the partition gets a *ticket* before it is
    made, and gives it back when the broker has all of them.

    Args:
        next_offset: the first event that has not been applied.
        tails: in each output, the offset behind what the state tells of.
        taken_from: in each output, where the tail begins that was read at take-over, if there was
            one. In it may be alerts and rejects of events that are still to come, of which no state
            tells; so until ``leave_tail`` whoever comes next has to read it from there too.
    """

    def __init__(
        self,
        next_offset: int,
        tails: Mapping[str, int],
        taken_from: Mapping[str, int] | None = None,
    ) -> None:
        self.next_offset = next_offset
        #: Behind the last event that a meta record on the broker covers.
        self.committed_offset = next_offset
        #: Whether units may be forgotten: rule 6.
        self.may_forget = False
        self._tails = dict(tails)
        self._taken_from = taken_from
        self._last_ticket = 0
        self._unapplied: set[int] = set()
        self._outstanding: dict[int, None] = {}
        self._commit: Commit | None = None

    def begun(self) -> int:
        """A call of the engine is about to be made; returns its ticket."""
        self._last_ticket += 1
        self._outstanding[self._last_ticket] = None
        self._unapplied.add(self._last_ticket)
        return self._last_ticket

    def applied(self, ticket: int, next_offset: int = 0) -> None:
        """The engine's call is made; all events below ``next_offset`` are applied."""
        self._unapplied.discard(ticket)
        self.next_offset = max(self.next_offset, next_offset)

    def acknowledged(self, ticket: int, ends: Mapping[str, int]) -> None:
        """The broker has all that a call had to say; ``ends`` are the offsets behind it in each
        output that it wrote to, -1 where that is not known (the tail is then read from earlier,
        which does no harm)."""
        del self._outstanding[ticket]
        commit = self._commit
        for output, end_offset in ends.items():
            self._tails[output] = max(self._tails[output], end_offset)
            if commit is not None and ticket <= commit.ticket and ticket not in commit.uncovered:
                commit.tails[output] = max(commit.tails[output], end_offset)

    @property
    def last_ticket(self) -> int:
        """Of the latest call: to be asked for when a state has been taken."""
        return self._last_ticket

    def may_write(self, ticket: int) -> bool:
        """Whether a state taken when ``ticket`` was the last may be written: rule 2."""
        return next(iter(self._outstanding), ticket + 1) > ticket

    def begin_commit(self) -> Commit:
        """Begins a commit, which covers the events applied so far; one at a time.

        Then take states to the last piece, write each when ``may_write`` says so, and ``meta``
        behind the last.
        """
        assert self._commit is None, "one commit at a time"
        self._commit = Commit(
            self.next_offset, self._last_ticket, frozenset(self._unapplied), dict(self._tails)
        )
        self._commit.taken_from = self._taken_from
        return self._commit

    def leave_tail(self) -> None:
        """Nothing of the tail that was read at take-over can come again (``is_past_tail``)."""
        self._taken_from = None

    def meta(self, clock_us: int | None, partition_count: int, spoken: Mapping[str, int]) -> Meta:
        """The meta record of the commit; only once all of its states may be written."""
        commit = self._commit
        assert commit is not None, "begin_commit comes first"
        assert self.may_write(commit.ticket), "the tails are not known yet"
        tails = commit.tails if commit.taken_from is None else dict(commit.taken_from)
        return Meta(commit.next_offset, clock_us, partition_count, tails, dict(spoken))

    def end_commit(self) -> int:
        """The broker has the meta record; returns the offset that may be committed: rule 4."""
        commit, self._commit = self._commit, None
        assert commit is not None, "begin_commit comes first"
        self.committed_offset = commit.next_offset
        self.may_forget = commit.taken_from is None
        return commit.next_offset


# ---- taking it over ------------------------------------------------------------------------------


class TakeOverError(FatalError):
    """The partition can't be taken; the message is one line that names topic, reason, remedy."""


class Extent(NamedTuple):
    """Where a partition of a topic begins and ends: first offset, offset behind the last."""

    begin: int
    end: int


class TakeOver:
    """What is to be read to bring a partition's state back, and where normal reading goes on.

    All extents are those after the fence, so they are final.

    Args:
        partition: its number.
        meta: the last meta record of its changelog; None if there is no usable one, then all is
            rebuilt from the events from the first on.
        why_rebuilt: why there is none, for people.
        committed: the group's offset, 0 if there is none.
        extents: of port-events and the three outputs.
        partition_count: of port-events now.

    Raises:
        TakeOverError: the logs do not hold what would be needed.
    """

    def __init__(
        self,
        partition: int,
        meta: Meta | None,
        why_rebuilt: str,
        committed: int,
        port_events: Extent,
        outputs: Mapping[str, Extent],
        partition_count: int,
    ) -> None:
        self.partition = partition
        self.meta = meta
        self._port_events = port_events
        self.outputs = dict(outputs)
        #: Events below are applied without a word: whoever committed them had said it all.
        self.silent_until = 0
        name = f"partition {partition} of port-events"
        if committed > port_events.end:
            raise TakeOverError(
                f"{name} ends at offset {port_events.end}, but its group has committed offset "
                f"{committed}: the topic was made anew or has lost records; bring it back from a "
                "copy, or begin anew with another GATEJOIN_TOPIC_PREFIX"
            )
        if meta is None:
            self.events_from = 0
            self.silent_until = min(committed, port_events.end)
            if port_events.begin > 0:
                raise TakeOverError(
                    f"{name} begins at offset {port_events.begin}, and its state can't be had "
                    f"without the events before ({why_rebuilt}): bring the topic back from a copy, "
                    "or begin anew with another GATEJOIN_TOPIC_PREFIX"
                )
        else:
            self.events_from = meta.next_offset
            if meta.partition_count != partition_count:
                raise TakeOverError(
                    f"the state of {name} was written when the topic had {meta.partition_count} "
                    f"partitions; it has {partition_count} now, and units have moved: begin anew "
                    "with another GATEJOIN_TOPIC_PREFIX and send the history again"
                )
            if port_events.begin > meta.next_offset:
                raise TakeOverError(
                    f"{name} begins at offset {port_events.begin}, but its state reaches only to "
                    f"{meta.next_offset}: the events between were deleted before they were "
                    "answered; set retention.ms=-1 and bring the topic back from a copy"
                )
            if port_events.end < meta.next_offset:
                raise TakeOverError(
                    f"{name} ends at offset {port_events.end}, but its state reaches to "
                    f"{meta.next_offset}: the topic was made anew or has lost records; bring it "
                    "back from a copy, or begin anew with another GATEJOIN_TOPIC_PREFIX"
                )
        #: Where to begin in each output.
        self.tails: dict[str, int] = {}
        for output, extent in self.outputs.items():
            tail = meta.tails[output] if meta is not None else extent.begin
            if tail > extent.end:
                raise TakeOverError(
                    f"partition {partition} of {output} ends at offset {extent.end}, but was "
                    f"written up to {tail}: it has lost records; bring it back from a copy, or "
                    "begin anew with another GATEJOIN_TOPIC_PREFIX"
                )
            self.tails[output] = max(tail, extent.begin)
        #: Events below are applied again with decisions muted; normal reading goes on from here.
        self.events_until = max(self.events_from, min(committed, port_events.end))

    def answered(self, offset: int) -> None:
        """A decision of the tail names the event at ``offset``, so all decisions on those before
        it are there too. A reject says nothing of the kind: it may be there while decisions on
        earlier events were still under way."""
        self.events_until = max(self.events_until, min(offset + 1, self._port_events.end))

    def record_count(self) -> int:
        """How many records there are to be read, at most; for the progress."""
        events = self.events_until - max(self.events_from, self._port_events.begin)
        return events + sum(extent.end - self.tails[name] for name, extent in self.outputs.items())

    def progress(self) -> Progress:
        """The protocol from here on, once all of this was read and weighed."""
        ends = {name: extent.end for name, extent in self.outputs.items()}
        return Progress(self.events_until, ends, self.tails)

    def is_past_tail(self, next_offset: int, clock_us: int | None, latest_due_us: int) -> bool:
        """Whether nothing can come any more that the former owner may have said already: all events
        that it can have seen are applied, and the clock has passed the latest alert by the clock
        that it raised."""
        return (
            next_offset >= self._port_events.end
            and clock_us is not None
            and clock_us >= latest_due_us
        )
