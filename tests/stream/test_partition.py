"""The protocol of an owned partition, without Kafka: what may be written when, and what is refused
at take-over."""

from __future__ import annotations

import pytest

from stream.partition import (
    ALERTS,
    DECISIONS,
    EFFECTS,
    META_VERSION,
    REJECTS,
    Extent,
    Meta,
    MetaError,
    Progress,
    TakeOver,
    TakeOverError,
    decode_meta,
    encode_meta,
)

NOTHING = dict.fromkeys(EFFECTS, 0)
META = Meta(100, 7_000_000, 3, {DECISIONS: 50, ALERTS: 20, REJECTS: 10}, {"holds/0": 4})
ENDS = {DECISIONS: Extent(0, 60), ALERTS: Extent(0, 20), REJECTS: Extent(0, 11)}


def take_over(
    meta: Meta | None = META,
    *,
    committed: int = 90,
    port_events: tuple[int, int] = (0, 130),
    outputs: dict[str, Extent] | None = None,
    partition_count: int = 3,
) -> TakeOver:
    return TakeOver(
        1, meta, "no changelog", committed, Extent(*port_events), outputs or ENDS, partition_count
    )


# ---- meta ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock_us", [None, 0, 1_534_000_000_000_000])
def test_a_meta_record_comes_back(clock_us: int | None) -> None:
    meta = Meta(2**40, clock_us, 1000, META.tails, {"x.holds/3": 9})
    assert decode_meta(encode_meta(meta)) == meta


def test_every_damaged_byte_is_noticed() -> None:
    value = encode_meta(META)
    for place in range(len(value)):
        damaged = bytearray(value)
        damaged[place] ^= 1
        with pytest.raises(MetaError):
            decode_meta(bytes(damaged))
        with pytest.raises(MetaError):
            decode_meta(value[:place])
    with pytest.raises(MetaError, match="cut short"):
        decode_meta(None)


def test_another_releases_meta_is_named() -> None:
    value = bytes([META_VERSION + 1]) + encode_meta(META)[1:]
    with pytest.raises(MetaError, match="format version is 2, this release knows 1"):
        decode_meta(value)


# ---- while it is owned ---------------------------------------------------------------------------


def test_a_state_waits_for_all_that_was_said_before_it_was_taken() -> None:
    progress = Progress(0, NOTHING)
    assert progress.may_write(progress.last_ticket)
    first, second = progress.begun(), progress.begun()
    progress.applied(first, 10)
    progress.applied(second, 20)
    taken = progress.last_ticket
    third = progress.begun()
    assert not progress.may_write(taken)
    progress.acknowledged(second, {DECISIONS: 7})
    assert not progress.may_write(taken)
    progress.acknowledged(first, {})
    assert progress.may_write(taken)
    assert not progress.may_write(third)


def test_a_commit_covers_what_was_applied_when_it_began_and_no_more() -> None:
    progress = Progress(0, NOTHING)
    said, under_way = progress.begun(), progress.begun()
    progress.applied(said, 10)
    progress.begin_commit()
    progress.applied(under_way, 20)
    later = progress.begun()
    progress.applied(later, 30)
    progress.acknowledged(said, {DECISIONS: 5, ALERTS: -1})
    # What was under way when the commit began is said of events that it does not cover.
    progress.acknowledged(under_way, {DECISIONS: 8, REJECTS: 3})
    progress.acknowledged(later, {DECISIONS: 9})
    meta = progress.meta(1, 3, {})
    assert (meta.next_offset, meta.tails) == (10, {DECISIONS: 5, ALERTS: 0, REJECTS: 0})
    assert progress.committed_offset == 0
    assert progress.end_commit() == progress.committed_offset == 10
    progress.begin_commit()
    meta = progress.meta(1, 3, {})
    assert (meta.next_offset, meta.tails) == (30, {DECISIONS: 9, ALERTS: 0, REJECTS: 3})


def test_no_meta_before_its_tails_are_known() -> None:
    progress = Progress(0, NOTHING)
    ticket = progress.begun()
    progress.applied(ticket, 10)
    progress.begin_commit()
    with pytest.raises(AssertionError, match="tails"):
        progress.meta(1, 3, {})
    progress.acknowledged(ticket, {})
    progress.meta(1, 3, {})


# ---- taking it over ------------------------------------------------------------------------------


def test_reading_goes_on_behind_the_last_event_that_was_answered() -> None:
    plan = take_over()
    assert (plan.events_from, plan.silent_until, plan.events_until) == (100, 0, 100)
    assert plan.tails == META.tails
    plan.answered(-1)
    plan.answered(110)
    plan.answered(104)
    assert plan.events_until == 111
    assert plan.record_count() == 11 + 10 + 0 + 1
    progress = plan.progress()
    assert progress.next_offset == 111
    ticket = progress.begun()
    progress.applied(ticket, 120)
    progress.acknowledged(ticket, {})
    # In the tail may be alerts and rejects of events to come, so the next owner reads it too.
    progress.begin_commit()
    assert progress.meta(1, 3, {}).tails == META.tails
    progress.end_commit()
    progress.leave_tail()
    progress.begin_commit()
    assert progress.meta(1, 3, {}).tails == {DECISIONS: 60, ALERTS: 20, REJECTS: 11}


def test_offsets_ahead_of_the_changelog_are_read_again() -> None:
    assert take_over(committed=120).events_until == 120
    assert take_over(committed=130).events_until == 130


def test_without_a_changelog_all_is_read_from_the_first_on() -> None:
    plan = take_over(None)
    assert (plan.events_from, plan.silent_until, plan.events_until) == (0, 90, 90)
    assert plan.tails == NOTHING
    assert plan.record_count() == 90 + 60 + 20 + 11


def test_an_output_whose_tail_has_expired_is_read_from_where_it_begins() -> None:
    outputs = {**ENDS, ALERTS: Extent(30, 40)}
    assert take_over(outputs=outputs).tails[ALERTS] == 30


def test_the_tail_is_left_when_neither_event_nor_clock_can_bring_it_up() -> None:
    plan = take_over()
    assert not plan.is_past_tail(129, 10, 5)
    assert not plan.is_past_tail(130, None, 5)
    assert not plan.is_past_tail(130, 4, 5)
    assert plan.is_past_tail(130, 5, 5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"partition_count": 4}, "had 3 partitions; it has 4 now"),
        ({"port_events": (101, 130)}, "begins at offset 101, but its state reaches only to 100"),
        ({"port_events": (0, 99)}, "ends at offset 99, but its state reaches to 100"),
        ({"committed": 131}, "ends at offset 130, but its group has committed offset 131"),
        ({"meta": None, "committed": 131}, "ends at offset 130, but its group has committed"),
        ({"meta": None, "port_events": (1, 130)}, "begins at offset 1, .* .no changelog."),
        (
            {"outputs": {**ENDS, DECISIONS: Extent(0, 49)}},
            "decisions ends at offset 49, but was written up to 50",
        ),
    ],
)
def test_what_the_logs_do_not_hold_is_refused_in_one_line(
    change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(TakeOverError, match=complaint) as refused:
        take_over(**change)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
    assert "partition 1" in str(refused.value)
