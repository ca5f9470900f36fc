"""The records of CONTRACT.md section 3, read and checked field by field.

Called by `tests.reference.model`. Field by field in the order of the contract, so that the
first field that does not fit is the one that is named. It must never know a unit's state.

Inside, times are whole microseconds since 1970 UTC and weights are whole grams.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

from tests.reference.strict_json import Number, read_object

Parsed = TypeVar("Parsed")

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MILLISECOND = 1_000
VIETNAM_OFFSET = 7 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PORT_EVENT_BYTES_LIMIT = 64 * 1024
OTHER_BYTES_LIMIT = 1024 * 1024
VERSION_LIMIT = 2**53
PIECES_LIMIT = 999_999_999
WEIGHT_GRAMS_LIMIT = 999_999_999_999

EVENT_TYPES = (
    "GET_IN", "GATE_CHECK", "GET_OUT", "RESEAL", "STRIP", "STUFF", "DISCREPANCY", "STOCK_COUNT",
)  # fmt: skip
UNIT_TYPES = ("CONTAINER", "PACKAGES", "BULK", "LIQUID")
PURPOSES = ("CLEARANCE", "INSPECTION", "EMPTY", "DOMESTIC", "SEIZED")
OPERATOR_KINDS = ("SEAPORT", "AIRPORT", "WAREHOUSE", "YARD", "OTHER")
OPERATOR_STATUSES = ("SURVEYED", "TESTING", "CONNECTED", "SUSPENDED")
DECLARATION_DIRECTIONS = ("IMPORT", "EXPORT", "TRANSIT")
DECLARATION_STATUSES = (
    "REGISTERED", "CLEARED", "RELEASED", "TO_STORAGE", "TO_INSPECTION", "TRANSPORT_APPROVED",
    "CANCELLED",
)  # fmt: skip
PASS_STATUSES = tuple(s for s in DECLARATION_STATUSES if s not in ("REGISTERED", "CANCELLED"))


class MalformedError(ValueError):
    """The record does not fit section 3; `field` is the first that offends, or None."""

    def __init__(self, field_name: str | None, detail: str) -> None:
        super().__init__(detail)
        self.field = field_name


# ---------------------------------------------------------------------------------- values


def one_of(words: Iterable[str]) -> Callable[[Any], str]:
    allowed = tuple(words)

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"is none of {', '.join(allowed)}")
        return value

    return read


def text_of(bytes_limit: int) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value.encode()) <= bytes_limit:
            raise ValueError(f"is no string of 1 to {bytes_limit} bytes")
        if any(character < " " or character == "\x7f" for character in value):
            raise ValueError("has a control character")
        return value

    return read


code = text_of(64)
name = text_of(1024)


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def integer(limit: int) -> Callable[[Any], int]:
    """Integers are written without sign, fraction or exponent."""

    def read(value: Any) -> int:
        if not isinstance(value, Number) or not re.fullmatch("[0-9]+", value.text):
            raise ValueError("is no integer without sign, fraction and exponent")
        # Longer ones are above every limit; JSON allows no leading zeros.
        if len(value.text) > 20 or int(value.text) > limit:
            raise ValueError(f"is above {limit}")
        return int(value.text)

    return read


version = integer(VERSION_LIMIT)
pieces = integer(PIECES_LIMIT)


def weight(value: Any) -> int:
    """Kilograms as written, in grams."""
    if not isinstance(value, Number):
        raise ValueError("is no number")
    match = re.fullmatch(r"([0-9]+)(?:\.([0-9]{1,3}))?", value.text)
    if not match or len(match[1]) > 9:
        raise ValueError("is no weight: no sign, no exponent, at most 3 decimals")
    return int(match[1]) * 1000 + int((match[2] or "").ljust(3, "0"))


def date_time(value: Any) -> int:
    """RFC 3339 with an offset, cut to microseconds; the year counts as written."""
    match = isinstance(value, str) and re.fullmatch(
        r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
        r"(?:\.([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))",
        value,
    )
    if not match:
        raise ValueError("is no RFC 3339 date-time with an offset")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    written = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    if not 1970 <= written.year <= 2199:
        raise ValueError("is not within the years 1970 to 2199")
    # Reading: -00:00 is an offset of zero, as RFC 3339 allows it and the contract says ±hh:mm.
    sign, hours, minutes = match[8], int(match[9] or 0), int(match[10] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("has an offset beyond 23:59")
    offset = (hours * HOUR + minutes * MINUTE) * (-1 if sign == "-" else 1)
    fraction = int((match[7] or "")[:6].ljust(6, "0"))
    return (written - EPOCH) // timedelta(microseconds=1) + fraction - offset


def calendar_day(value: Any) -> date:
    if not isinstance(value, str) or not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("is no date YYYY-MM-DD")
    day = date.fromisoformat(value)
    if not 1970 <= day.year <= 2199:
        raise ValueError("is not within the years 1970 to 2199")
    return day


def write_date_time(microseconds: int) -> str:
    instant = EPOCH + timedelta(microseconds=microseconds)
    return instant.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def day_in_vietnam(microseconds: int) -> date:
    return (EPOCH + timedelta(microseconds=microseconds + VIETNAM_OFFSET)).date()


def normalised(text: str) -> str:
    """ASCII upper case, spaces and hyphens removed."""
    upper = "".join(c.upper() if "a" <= c <= "z" else c for c in text)
    return upper.replace(" ", "").replace("-", "")


def unit_name(value: Any) -> str:
    # Reading: only what is left after normalising has a limit; as written it may be longer.
    if not isinstance(value, str) or not re.fullmatch("[!-~]{1,35}", normalised(value)):
        raise ValueError("is no unit of 1 to 35 characters of U+0021 to U+007E")
    return normalised(value)


def declaration_number(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9]{12}", value):
        raise ValueError("is no declaration number of 12 digits")
    return value


def seal(value: Any) -> str:
    """Normalised; blanks are all read as the empty string."""
    if not isinstance(value, str) or len(value.encode()) > 64:
        raise ValueError("is no seal of up to 64 bytes")
    seen = normalised(value)
    return "" if seen == "NA" or not seen.strip("#") else seen


def array(
    item: Callable[[Any], Parsed], least: int = 0, most: int | None = None
) -> Callable[[Any], list[Parsed]]:
    def read(value: Any) -> list[Parsed]:
        if not isinstance(value, list):
            raise ValueError("is no array")
        if len(value) < least or (most is not None and len(value) > most):
            raise ValueError(f"has {len(value)} items")
        return [item(one) for one in value]

    return read


seals_as_seen = array(seal, most=20)


def without_blanks(seals: Iterable[str]) -> frozenset[str]:
    return frozenset(one for one in seals if one)


class Fields:
    """The fields of one object, asked for in the order of the contract."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def optional(self, field_name: str, read: Callable[[Any], Parsed]) -> Parsed | None:
        if self.values.get(field_name) is None:
            return None
        try:
            return read(self.values[field_name])
        except ValueError as error:
            raise MalformedError(field_name, f"{field_name} {error}") from None

    def required(self, field_name: str, read: Callable[[Any], Parsed]) -> Parsed:
        if self.values.get(field_name) is None:
            raise MalformedError(field_name, f"{field_name} is missing")
        parsed = self.optional(field_name, read)
        assert parsed is not None
        return parsed

    def key(self, field_name: str, read: Callable[[Any], str], key: str | None) -> str:
        """The ID that must equal the record's key."""
        parsed = self.required(field_name, read)
        if parsed != key:
            raise MalformedError(field_name, f"{field_name} is not the record's key")
        return parsed


def fields_of(value: bytes) -> Fields:
    try:
        return Fields(read_object(value))
    except ValueError as error:
        raise MalformedError(None, str(error)) from None


# --------------------------------------------------------------------------------- records


@dataclass(frozen=True)
class Operator:
    operator_id: str
    kind: str
    locations: frozenset[str]
    status: str
    version: int


def read_operator(key: str | None, value: bytes) -> Operator:
    fields = fields_of(value)
    operator_id = fields.key("operatorID", code, key)
    fields.required("name", name)
    kind = fields.required("kind", one_of(OPERATOR_KINDS))
    fields.required("departmentCode", code)
    fields.required("departmentName", name)
    fields.optional("branchCode", code)
    fields.optional("branchName", name)
    locations = fields.required("locations", array(code, least=1, most=1000))
    fields.optional("cargo", array(one_of(UNIT_TYPES)))
    status = fields.required("status", one_of(OPERATOR_STATUSES))
    fields.optional("connectedDate", calendar_day)
    fields.optional("wave", integer(VERSION_LIMIT))
    return Operator(
        operator_id, kind, frozenset(locations), status, fields.required("version", version)
    )


@dataclass(frozen=True)
class Entry:
    """One of the units of a declaration."""

    unit: str
    is_lot: bool
    location: str
    seals: frozenset[str]
    pieces: int
    weight_grams: int
    shared: bool


@dataclass(frozen=True)
class Declaration:
    number: str
    version: int
    direction: str
    status: str
    registered: int
    status_time: int | None
    destination: str | None
    arrive_by: int | None
    entries: tuple[Entry, ...]


def read_declaration(key: str | None, value: bytes) -> Declaration:
    fields = fields_of(value)
    number = fields.key("declarationNumber", declaration_number, key)
    its_version = fields.required("version", version)
    direction = fields.required("direction", one_of(DECLARATION_DIRECTIONS))
    status = fields.required("status", one_of(DECLARATION_STATUSES))
    registered = fields.required("registeredDateTime", date_time)
    status_time = fields.optional("statusDateTime", date_time)
    fields.optional("branchCode", code)
    location = fields.required("locationCode", code)
    destination = fields.optional("destinationLocationCode", code)
    arrive_by = fields.optional("arriveByDateTime", date_time)

    def entry(one: Any) -> Entry:
        if not isinstance(one, dict):
            raise ValueError("has an item that is no object")
        parts = Fields(one)
        return Entry(
            unit=parts.required("unit", unit_name),
            is_lot=parts.required("unitType", one_of(UNIT_TYPES)) != "CONTAINER",
            seals=without_blanks(parts.optional("seals", seals_as_seen) or ()),
            pieces=parts.optional("pieces", pieces) or 0,
            weight_grams=parts.optional("weightKg", weight) or 0,
            shared=parts.optional("shared", boolean) or False,
            location=parts.optional("locationCode", code) or location,
        )

    entries = fields.required("units", array(entry, most=5000))
    return Declaration(
        number, its_version, direction, status, registered, status_time, destination, arrive_by,
        tuple(entries),
    )  # fmt: skip


@dataclass(frozen=True)
class Hold:
    hold_id: str
    version: int
    scope: str
    reference: str
    reason: str
    seal: str | None
    active: bool
    issued: int


def read_hold(key: str | None, value: bytes) -> Hold:
    fields = fields_of(value)
    hold_id = fields.key("holdID", code, key)
    its_version = fields.required("version", version)
    scope = fields.required("scope", one_of(("UNIT", "DECLARATION")))
    reference = fields.required("reference", unit_name if scope == "UNIT" else declaration_number)
    reason = fields.required("reason", one_of(("STOP", "SCAN", "CUSTOMS_SEAL")))
    its_seal = fields.optional("seal", seal)
    if reason == "CUSTOMS_SEAL" and not its_seal:
        raise MalformedError("seal", "a CUSTOMS_SEAL hold needs a seal that is no blank")
    state = fields.required("state", one_of(("ACTIVE", "LIFTED")))
    issued = fields.required("issuedDateTime", date_time)
    return Hold(hold_id, its_version, scope, reference, reason, its_seal, state == "ACTIVE", issued)


@dataclass(frozen=True)
class PortEvent:
    event_id: str
    event_type: str
    time: int
    version: int
    version_field: str
    retracted: bool
    operator_id: str
    location: str
    unit_type: str
    unit: str
    direction: str
    purpose: str
    pieces: int | None
    weight_grams: int | None
    # None: nobody looked. Empty: somebody looked and saw none.
    seals: frozenset[str] | None
    presented: frozenset[str]
    document: str | None
    # Of the record that brought this version, and of its operator as it then was.
    timestamp: int = field(default=0)
    operator_kind: str = field(default="")
    operator_suspended: bool = field(default=False)

    @property
    def is_lot(self) -> bool:
        return self.unit_type != "CONTAINER"

    @property
    def order(self) -> tuple[int, str, str]:
        """Time order; Python orders strings by code point, which is UTF-8's bytewise order."""
        return self.time, self.operator_id, self.event_id

    @property
    def identity(self) -> tuple[str, str]:
        return self.operator_id, self.event_id

    def quantity(self, unit_of_account: str) -> int | None:
        return self.pieces if unit_of_account == "pieces" else self.weight_grams


def read_port_event(value: bytes) -> PortEvent:
    fields = fields_of(value)
    event_id = fields.required("eventID", code)
    event_type = fields.required("eventType", one_of(EVENT_TYPES))
    time = fields.required("eventDateTime", date_time)
    created = fields.optional("eventCreatedDateTime", date_time)
    updated = fields.optional("eventUpdatedDateTime", date_time)
    # Reading: the field that offends is the one that is missing, and it offends in its place.
    if updated is None and fields.values.get("isRetracted") is True:
        raise MalformedError("eventUpdatedDateTime", "a retraction needs eventUpdatedDateTime")
    retracted = fields.optional("isRetracted", boolean) or False
    operator_id = fields.required("operatorID", code)
    location = fields.required("locationCode", code)
    unit_type = fields.required("unitType", one_of(UNIT_TYPES))
    unit = fields.required("unit", unit_name)
    direction = fields.required("direction", one_of((*DECLARATION_DIRECTIONS, "DOMESTIC")))
    purpose = fields.optional("purpose", one_of(PURPOSES)) or "CLEARANCE"
    its_pieces = fields.optional("pieces", pieces)
    weight_grams = fields.optional("weightKg", weight)
    written_seals = fields.optional("seals", seals_as_seen)
    # Reading: only the rule on quantities says "if nothing else is wrong"; this one offends in
    # its place, before `declarations` and `document`.
    if event_type == "RESEAL" and not without_blanks(written_seals or ()):
        raise MalformedError("seals", "a RESEAL needs at least one seal that is no blank")
    presented = fields.optional("declarations", array(declaration_number, most=100))
    document = fields.optional("document", name)
    # Reading: this binds retractions too, since nothing says that they may be shorter.
    if (
        unit_type != "CONTAINER"
        and event_type in ("GET_IN", "GATE_CHECK", "GET_OUT", "STOCK_COUNT")
        and its_pieces is None
        and weight_grams is None
    ):
        raise MalformedError("pieces", "a lot needs pieces or weightKg")

    if updated is not None:
        its_version, version_field = updated, "eventUpdatedDateTime"
    elif created is not None:
        its_version, version_field = created, "eventCreatedDateTime"
    else:
        its_version, version_field = time, "eventDateTime"
    if written_seals is None or (written_seals and not without_blanks(written_seals)):
        seals = None
    else:
        seals = without_blanks(written_seals)
    return PortEvent(
        event_id, event_type, time, its_version, version_field, retracted, operator_id, location,
        unit_type, unit, direction, purpose, its_pieces, weight_grams, seals,
        frozenset(presented or ()), document,
    )  # fmt: skip
