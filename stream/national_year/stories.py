"""The words that the catalogue of stories is written in.

A *story* says what happens to one unit (or several alike) from entry to exit, what customs holds
on it, and what must come out of it. A *visit* is one instance of a story. Called by the catalogue
(which is nothing but stories) and by the planner; knows no bytes, no columns and no dates.

All times are minutes after the visit's start; with ``after_stay`` the visit's stay is added. Two
steps of a visit lie at least five minutes apart, which is more than the chance that the planner
adds, so that what is written first happens first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HOUR = 60
DAY = 1440

type_names = ("CONTAINER", "PACKAGES", "BULK", "LIQUID")
direction_names = ("IMPORT", "EXPORT", "TRANSIT", "DOMESTIC")

Fraction = tuple[int, int, int]
"""(from, to, of): the part of the visit's quantity from from/of to to/of, in whole units."""

WHOLE: Fraction = (0, 1, 1)
NOBODYS_DECLARATION = 3
"""Index of a declaration number that belongs to the visit but that nobody ever declared."""

RELEASE, HOLD = "RELEASE", "HOLD"


@dataclass(frozen=True)
class Step:
    """One port event of a visit, and how it is reported."""

    event_type: str
    at: int
    after_stay: bool = False
    place: int = 0
    """0 the visit's place, 1 its second place."""
    name: str = ""
    """Steps of one name are one event (one eventID); "" stands for a name of its own."""
    direction: str = ""
    purpose: str = ""
    quantity: Fraction | None = None
    """Part of the visit's pieces and weight; None: no quantity is given."""
    pieces: bool = True
    """False: the weight alone, also of packages."""
    seals: tuple[str, ...] | None = None
    """Of "own", "new", "other", "customs", "blank"; None: nobody looked."""
    presented: tuple[int, ...] = ()
    document: bool = False
    delay: int | None = None
    """Minutes until it is reported, negative for a clock ahead; None: within the minute."""
    sent_at: int | None = None
    """Instead of ``delay``: minutes after start (and stay) when the report comes in."""
    updated: bool = False
    """It carries eventUpdatedDateTime, the moment of this report: a correction."""
    retracted: bool = False
    repeats: bool = False
    """The same bytes once more."""
    seconds: int = 0
    """Moves the moment itself by seconds."""
    moment_of: str = ""
    """Happens at the same chance offset as the step of that name."""
    reject: str = ""
    """The reason it is refused for; it then counts for nothing."""
    replaced: Mapping[str, bytes | None] = field(default_factory=dict)
    """Fields written otherwise than they should be (raw JSON), or left out (None)."""
    truncated: bool = False
    misrouted: bool = False
    """Sent to the wrong partition; a log has none, where it is an ordinary repetition."""
    operator: str = ""
    """Of "unknown", "testing", "elsewhere"; "": the place's own."""


@dataclass(frozen=True)
class Declared:
    """One record of a declaration. Records of one ``number`` are its versions, in order."""

    status: str = "CLEARED"
    number: int = 0
    version: int = 1
    direction: str = ""
    place: int = 0
    to_second_place: bool = False
    """A transit to the visit's second place."""
    registered: int = -2 * DAY
    status_at: int = -8 * HOUR
    status_after_stay: bool = False
    arrive_by: int = 0
    """Minutes after the stay; with ``to_second_place``."""
    shared: bool = False
    lists_unit: bool = True
    at: int | None = None
    """Minutes after the start when customs sends it; None: loaded before the year."""
    after_stay: bool = False
    removed: bool = False
    """A tombstone."""
    key: str = ""
    """"wrong": the record's key is not its number, and it is refused."""


@dataclass(frozen=True)
class Held:
    """One record of a hold. Records of one ``number`` are its versions, in order."""

    reason: str = "STOP"
    on_declaration: bool = False
    state: str = "ACTIVE"
    number: int = 0
    version: int = 1
    issued: int = -6 * HOUR
    issued_after_stay: bool = False
    at: int | None = None
    after_stay: bool = False
    blank_seal: bool = False
    """Its customs seal is a blank, and it is refused."""


@dataclass(frozen=True)
class Decision:
    """One decision that must come out: outcome, HOLD codes, FLAG codes."""

    outcome: str
    reasons: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()


def release(*flags: str) -> Decision:
    """A RELEASE with these flags."""
    return Decision(RELEASE, (), flags)


def hold(*reasons: str, flags: tuple[str, ...] = ()) -> Decision:
    """A HOLD for these reasons."""
    return Decision(HOLD, reasons, flags)


@dataclass(frozen=True)
class Story:
    """See the module. What comes out is per unit."""

    name: str
    count: int
    """Visits a year; the planner fills in the ordinary stories, which have 0 here."""
    steps: tuple[Step, ...]
    declared: tuple[Declared, ...] = (Declared(),)
    held: tuple[Held, ...] = ()
    decisions: tuple[Decision, ...] = ()
    alerts: tuple[str, ...] = ()
    unit_type: str = "CONTAINER"
    direction: str = "IMPORT"
    units: int = 1
    """Units of a visit, all on the same declarations."""
    pool: str = "sea"
    stay: tuple[int, int] = (8 * HOUR, 56 * HOUR)
    """Least and most minutes of the stay."""
    window: str = "whole"
    """When visits begin: see the planner's windows."""
    weight_kg: int = 0
    """Of each unit; 0: by chance, or what a total needs."""
    spelling: str = ""
    """"wrong digit" everywhere, "sloppy" in the events."""

    @property
    def is_lot(self) -> bool:
        """Whether its units are lots."""
        return self.unit_type != "CONTAINER"

    @property
    def is_played(self) -> bool:
        """Customs speaks while it goes on: only for a log and the live phase."""
        return any(item.at is not None for item in self.customs)

    @property
    def customs(self) -> tuple[Declared | Held, ...]:
        """All that customs says, in the order of its templates."""
        return (*self.declared, *self.held)

    @property
    def declaration_count(self) -> int:
        """Declarations of a visit."""
        return max((item.number + 1 for item in self.declared), default=0)

    def step_names(self) -> list[str]:
        """The name of each step; a nameless one is called by its index."""
        return [step.name or f"{index}" for index, step in enumerate(self.steps)]

    def in_force(self) -> list[tuple[Step, bool]]:
        """The steps in order, each with whether its report is the one that counts in the end."""
        names = self.step_names()
        counts: dict[str, int] = {}
        retracted: set[str] = set()
        for index, step in enumerate(self.steps):
            if step.reject or step.misrouted or step.repeats:
                continue
            # An update beats what has none; of two updates the later report is the newer one.
            best = counts.get(names[index])
            if best is not None and self.steps[best].updated and not step.updated:
                continue
            counts[names[index]] = index
            if step.retracted:
                retracted.add(names[index])
        return [
            (step, counts.get(names[index]) == index and names[index] not in retracted)
            for index, step in enumerate(self.steps)
        ]


@dataclass(frozen=True)
class Stock:
    """What a visit leaves in stock at one of its places."""

    place: int
    entry: int
    """Index of the step that started the visit."""
    parts: tuple[tuple[int, Fraction], ...]
    """Of a lot: sign and part of each movement; empty for a container."""


def stock_left(story: Story) -> list[Stock]:
    """What is in stock when all is told (CONTRACT.md section 4), for a story in time order."""
    left: list[Stock] = []
    for place in (0, 1):
        moves = [
            (index, step)
            for index, (step, counts) in enumerate(story.in_force())
            if counts and step.place == place and step.event_type in ("GET_IN", "GET_OUT")
        ]
        moves.sort(
            key=lambda move: (move[1].after_stay, move[1].at, move[1].event_type == "GET_OUT")
        )
        entry: int | None = None
        parts: list[tuple[int, Fraction]] = []
        balance = 0.0
        for index, step in moves:
            quantity = step.quantity or WHOLE
            share = (quantity[1] - quantity[0]) / quantity[2] if story.is_lot else 1.0
            if step.event_type == "GET_IN":
                entry = index if entry is None else entry
                balance = balance + share if story.is_lot else 1.0
                parts.append((1, quantity))
            else:
                balance = balance - share if story.is_lot else 0.0
                parts.append((-1, quantity))
                if balance <= 1e-9:
                    entry = None
        if entry is not None and balance > 1e-9:
            left.append(Stock(place, entry, tuple(parts) if story.is_lot else ()))
    return left
