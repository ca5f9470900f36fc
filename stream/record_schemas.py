"""JSON Schemas of the records that other systems send and read.

What it is: the limits of the contract's records that a schema can say, one schema a record.
Who calls it: ``stream.asyncapi``; the tests, which hold the engine's inputs and outputs to them.
What it must never know: how a record is read; the scanner in ``core_ext`` has the last word.

A record that the engine takes is valid by its schema. Some that are valid are refused all the same:
a schema knows no bytes (limits of texts are in characters here), no digits as written, no calendar,
no record key, and not what goes together in a port event. Dialect: JSON Schema draft 7.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

NO_CONTROLS = r"^[^\u0000-\u001f\u007f]*$"
DATE_TIME = (
    r"^(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
WRITTEN_DATE_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$"
DAY = r"^(19[7-9][0-9]|2[01][0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
# As written: spaces and hyphens anywhere, and 1 to 35 other visible characters of ASCII.
UNIT = r"^[ -]*(?:[!-,.-~][ -]*){1,35}$"
VERSION_MAX = 2**53

DIRECTIONS = ("IMPORT", "EXPORT", "TRANSIT")
UNIT_TYPES = ("CONTAINER", "PACKAGES", "BULK", "LIQUID")
HOLD_CODES = (
    "NOT_DECLARED", "ALREADY_PASSED", "REVOKED", "WRONG_LOCATION", "WRONG_DIRECTION", "NOT_CLEARED",
    "DECLARATIONS_INCOMPLETE", "DECLARATION_MISMATCH", "DUPLICATE_UNIT", "STOPPED", "SCAN_PENDING",
    "CUSTOMS_SEAL_REQUIRED", "SEAL_MISMATCH", "QUANTITY_EXCEEDED", "QUANTITY_MISSING",
    "NO_DOCUMENT", "DECLARED_GOODS", "OPERATOR_SUSPENDED", "NOT_IN_STOCK", "CHECK_DIGIT",
    "OVERSTAYED", "CLOCK_AHEAD", "SEAL_UNSEEN", "STALE_DECLARATION",
)  # fmt: skip
ALERT_TYPES = (
    "UNAUTHORISED_EXIT", "DOUBLE_ENTRY", "EXIT_WITHOUT_ENTRY", "LATE_REPORT", "DISCREPANCY",
    "STOCK_MISMATCH", "EXIT_RETRACTED", "RECALL", "OVERSTAYED", "TRANSIT_OVERDUE",
    "SILENT_OPERATOR",
)  # fmt: skip
REJECT_REASONS = (
    "TOO_LARGE", "MALFORMED", "FUTURE", "MISPARTITIONED", "UNKNOWN_OPERATOR",
    "OPERATOR_NOT_CONNECTED", "OPERATOR_LOCATION",
)  # fmt: skip


def _text(length_max: int, description: str, **more: Any) -> Schema:
    return {
        "type": "string", "minLength": 1, "maxLength": length_max, "pattern": NO_CONTROLS,
        "description": description, **more,
    }  # fmt: skip


def _code(description: str) -> Schema:
    return _text(64, f"{description} At most 64 bytes of UTF-8.")


def _name(description: str) -> Schema:
    return _text(1024, f"{description} At most 1,024 bytes of UTF-8.")


def _one_of(values: tuple[str, ...], description: str) -> Schema:
    return {"type": "string", "enum": list(values), "description": description}


def _date_time(description: str) -> Schema:
    return {"type": "string", "pattern": DATE_TIME, "description": description}


def _written(description: str) -> Schema:
    return {"type": "string", "pattern": WRITTEN_DATE_TIME, "description": description}


def _whole(high: int, description: str) -> Schema:
    return {"type": "integer", "minimum": 0, "maximum": high, "description": description}


def _array(item: Schema, description: str, least: int = 0, most: int | None = None) -> Schema:
    schema: Schema = {"type": "array", "items": item, "description": description}
    if least:
        schema["minItems"] = least
    if most is not None:
        schema["maxItems"] = most
    return schema


def _read(description: str, required: dict[str, Schema], optional: dict[str, Schema]) -> Schema:
    """A record that the engine reads: null is the same as absent, unknown fields are ignored."""
    return {
        "type": "object",
        "description": description,
        "required": list(required),
        "properties": required
        | {name: {"oneOf": [schema, {"type": "null"}]} for name, schema in optional.items()},
    }


def _published(description: str, properties: dict[str, Schema]) -> Schema:
    """A record that the engine writes: all fields are always there."""
    return {
        "type": "object",
        "description": description,
        "required": list(properties),
        "properties": properties,
    }


_VERSION = _whole(
    VERSION_MAX, "Grows with each change; a lower or equal one is a duplicate and changes nothing."
)
_UNIT = {
    "type": "string",
    "pattern": UNIT,
    "description": "Container number or cargo control number; compared in upper case without "
    "spaces and hyphens, then 1 to 35 characters.",
}
_DECLARATION_NUMBER = {"type": "string", "pattern": "^[0-9]{12}$"}
_PIECES = _whole(999_999_999, "Pieces.")
_WEIGHT = {
    "type": "number",
    "minimum": 0,
    "maximum": 999_999_999.999,
    "description": "Kilograms, exact, at most 3 decimals, without sign and exponent.",
}
_SEALS = _array(
    {"type": "string", "maxLength": 64},
    "Seal numbers; an empty array says that none was seen, an absent one that nobody looked.",
    most=20,
)
_TRIGGER = {
    "type": "object",
    "required": ["topic", "partition", "offset"],
    "properties": {
        "topic": {"type": "string"},
        "partition": {"type": "integer", "minimum": 0},
        "offset": {"type": "integer", "minimum": 0},
    },
}


def _or_null(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


OPERATOR = _read(
    "An operator of a port, yard, warehouse or airport.",
    {
        "operatorID": _code("The record's key."),
        "name": _name("Its name."),
        "kind": _one_of(("SEAPORT", "AIRPORT", "WAREHOUSE", "YARD", "OTHER"), "What it runs."),
        "departmentCode": _code("Customs department (Cục)."),
        "departmentName": _name("The department's name."),
        "locations": _array(_code("A supervised location."), "Where it reports.", 1, 1000),
        "status": _one_of(("SURVEYED", "TESTING", "CONNECTED", "SUSPENDED"), "How far it is."),
        "version": _VERSION,
    },
    {
        "branchCode": _code("Customs branch (Chi cục)."),
        "branchName": _name("The branch's name."),
        "cargo": _array(_one_of(UNIT_TYPES, "A unit type."), "What it handles."),
        "connectedDate": {"type": "string", "pattern": DAY, "description": "YYYY-MM-DD."},
        "wave": _whole(VERSION_MAX, "The wave in which it is connected."),
    },
)

DECLARATION = _read(
    "A customs declaration with its full list of units.",
    {
        "declarationNumber": {**_DECLARATION_NUMBER, "description": "The record's key."},
        "version": _VERSION,
        "direction": _one_of(DIRECTIONS, "Which way its goods go."),
        "status": _one_of(
            ("REGISTERED", "CLEARED", "RELEASED", "TO_STORAGE", "TO_INSPECTION",
             "TRANSPORT_APPROVED", "CANCELLED"),
            "All but REGISTERED and CANCELLED let goods pass.",
        ),
        "registeredDateTime": _date_time("When it was registered."),
        "locationCode": _code("Where its goods pass."),
        "units": _array(
            _read(
                "A container or lot.",
                {"unit": _UNIT, "unitType": _one_of(UNIT_TYPES, "CONTAINER, or a kind of lot.")},
                {
                    "seals": _SEALS,
                    "pieces": _PIECES,
                    "weightKg": _WEIGHT,
                    "shared": {
                        "type": "boolean",
                        "description": "The container is known to be on several declarations.",
                    },
                    "locationCode": _code("Where this unit passes, if elsewhere."),
                },
            ),
            "What it covers.",
            most=5000,
        ),
    },
    {
        "statusDateTime": _date_time("When it took its status."),
        "branchCode": _code("Customs branch."),
        "destinationLocationCode": _code("Of a TRANSIT, where it ends."),
        "arriveByDateTime": _date_time("Of a TRANSIT, when it must be there."),
    },
)  # fmt: skip

HOLD = _read(
    "An order of customs that a unit or a declaration's goods stay, or may pass on a condition.",
    {
        "holdID": _code("The record's key."),
        "version": _VERSION,
        "scope": _one_of(("UNIT", "DECLARATION"), "What it is on."),
        "reference": {"type": "string", "minLength": 1,
                      "description": "The unit, or the declaration's number."},
        "reason": _one_of(("STOP", "SCAN", "CUSTOMS_SEAL"), "What it asks for."),
        "state": _one_of(("ACTIVE", "LIFTED"), "Whether it is in force."),
        "issuedDateTime": _date_time("When it was issued."),
    },
    {"seal": {"type": "string", "maxLength": 64, "description": "Required for CUSTOMS_SEAL."}},
)  # fmt: skip

PORT_EVENT = _read(
    "What happened, or is about to happen, to a unit at a location.",
    {
        "eventID": _code("Unique for its operator."),
        "eventType": _one_of(
            ("GET_IN", "GATE_CHECK", "GET_OUT", "RESEAL", "STRIP", "STUFF", "DISCREPANCY",
             "STOCK_COUNT"),
            "GATE_CHECK asks whether the unit may pass; the others report.",
        ),
        "eventDateTime": _date_time("When it happened."),
        "operatorID": _code("Who reports."),
        "locationCode": _code("Where."),
        "unitType": _one_of(UNIT_TYPES, "CONTAINER, or a kind of lot."),
        "unit": _UNIT,
        "direction": _one_of((*DIRECTIONS, "DOMESTIC"), "Which way it goes."),
    },
    {
        "eventCreatedDateTime": _date_time("When the operator's system wrote it."),
        "eventUpdatedDateTime": _date_time("The event's version."),
        "isRetracted": {
            "type": "boolean",
            "description": "Takes the event back; then eventUpdatedDateTime is required.",
        },
        "purpose": _one_of(
            ("CLEARANCE", "INSPECTION", "EMPTY", "DOMESTIC", "SEIZED"), "CLEARANCE if absent."
        ),
        "pieces": _PIECES,
        "weightKg": _WEIGHT,
        "seals": _SEALS,
        "declarations": _array(_DECLARATION_NUMBER, "Presented at the gate.", most=100),
        "document": _name("The paper for a passage without declaration."),
    },
)  # fmt: skip

DECISION = _published(
    "The answer to a GATE_CHECK, or the next one after something changed it.",
    {
        "decisionID": {
            "type": "string",
            "description": "unit/operatorID/eventID/sequence, with % and / written %25 and %2F.",
        },
        "sequence": {"type": "integer", "minimum": 1, "description": "From 1, without gaps."},
        "eventID": {"type": "string"},
        "operatorID": {"type": "string"},
        "locationCode": {"type": "string"},
        "unit": {"type": "string"},
        "unitType": _one_of(UNIT_TYPES, "As in the event."),
        "direction": _one_of((*DIRECTIONS, "DOMESTIC"), "As in the event."),
        "outcome": _one_of(("RELEASE", "HOLD"), "Whether it may pass."),
        "reasons": _array(_one_of(HOLD_CODES, "A row."), "Rows that hold; none of a RELEASE."),
        "flags": _array(_one_of(HOLD_CODES, "A row."), "Rows that only flag."),
        "declarations": _array(
            {
                "type": "object",
                "required": ["declarationNumber", "version", "status"],
                "properties": {
                    "declarationNumber": _DECLARATION_NUMBER,
                    "version": {"type": "integer"},
                    "status": {"type": "string"},
                },
            },
            "What was weighed, ascending.",
        ),
        "holds": _array({"type": "string"}, "Active holds weighed, ascending."),
        "eventDateTime": _written("As in the event."),
        "decidedDateTime": _written("When it was decided."),
        "validUntilDateTime": _or_null(_written("Of a RELEASE.")),
        "ruleSet": {"type": "string", "description": "The rows in force."},
        "trigger": {
            **_or_null(_TRIGGER),
            "description": "The record that brought it about; null if found at take-over.",
        },
    },
)

ALERT = _published(
    "Something that officers should look at; raised once for each alertID.",
    {
        "alertID": {"type": "string"},
        "type": _one_of(ALERT_TYPES, "What it is about."),
        "unit": _or_null({"type": "string"}),
        "operatorID": _or_null({"type": "string"}),
        "locationCode": _or_null({"type": "string"}),
        "eventID": _or_null({"type": "string"}),
        "detail": {"type": "object", "description": "For people; may grow."},
        "raisedDateTime": _written("When it was raised, or due."),
    },
)

REJECT = _published(
    "A record that was refused and changed nothing.",
    {
        "reason": _one_of(REJECT_REASONS, "The first that applies, in this order."),
        "field": _or_null({
            "type": "string",
            "description": "The first offending field; null if the value is no JSON object or "
            "breaks a limit of the whole.",
        }),
        "detail": {"type": "string", "description": "For people."},
        "source": {**_TRIGGER, "description": "Where the refused record is."},
        "value": _or_null({
            "type": "string", "contentEncoding": "base64",
            "description": "The original bytes, the first 64 KiB.",
        }),
    },
)  # fmt: skip
