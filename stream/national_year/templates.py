"""Stories as JSON templates for the compiled row writer.

One template per (story, step, unit of the visit) and per customs record, in three writings: the
value, its Kafka key, and the line of a log. Called by the planner and the year; knows the fields
of CONTRACT.md section 3 and no numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core_ext.json_rows import (
    CONTAINER,
    CONTAINER_SLOPPY,
    CONTAINER_WRONG,
    INTEGER,
    KILOGRAMS,
    PADDED,
    TEXT,
    TIME_LOCAL,
    TIME_UTC,
)
from stream.national_year.operators import OPERATORS, TESTING_PLACE
from stream.national_year.stories import (
    NOBODYS_DECLARATION,
    Declared,
    Held,
    Step,
    Story,
)

if TYPE_CHECKING:
    from core_ext.json_rows import Segment

# The planner's columns. A customs record has the visit's start where an event has its moment.
TIMESTAMP, SERIAL, MOMENT, PLACE, PIECES, GRAMS, NUMBER, SECOND_PLACE, STAYED = range(9)
COLUMN_COUNT = 9

_OPERATOR_IDS, _LOCATIONS, _BRANCHES = range(3)
DICTIONARIES: tuple[tuple[bytes, ...], ...] = (
    tuple(operator.operator_id.encode() for operator in OPERATORS),
    tuple(operator.location_code.encode() for operator in OPERATORS),
    tuple(operator.branch_code.encode() for operator in OPERATORS),
)

FIRST_NUMBER = {"IMPORT": 100_000_000_000, "EXPORT": 300_000_000_000, "TRANSIT": 500_000_000_000}
NUMBERS_PER_VISIT = 4
UNIT_GRAMS_STEP = 250_000
"""How much heavier each next box of a visit is."""
_MINUTE_MS = 60_000
_WRITTEN_AFTER_MS = 1_000
"""eventCreatedDateTime lies a second after the event, whenever it is sent."""

Template = list["Segment"]


@dataclass(frozen=True)
class RowTemplate:
    """One record's writings; ``topic`` is its name without prefix."""

    topic: str
    value: Template
    key: Template
    is_text: bool = False
    """The value is no JSON: a log holds it as a string."""


def _seal(kind: str, unit: int) -> Template:
    if kind == "blank":
        return [b'"####"']
    prefix = {"own": b"VN", "new": b"VX", "other": b"ZZ", "customs": b"HQ"}[kind]
    return [b'"' + prefix, (PADDED, SERIAL, unit, 8), b'"']


def _listed(items: list[Template]) -> Template:
    out: Template = [b"["]
    for index, item in enumerate(items):
        out += [b","] * (index > 0) + item
    return [*out, b"]"]


def _object(fields: dict[str, Template]) -> Template:
    out: Template = []
    for name, value in fields.items():
        out.append((b"," if out else b"{") + b'"' + name.encode() + b'":')
        out += value
    return [*out, b"}"]


def _quoted(text: str) -> Template:
    return [b'"' + text.encode() + b'"']


def _time(form: int, column: int, added_ms: int = 0) -> Template:
    return [b'"', (form, column, added_ms), b'"']


def _number(direction: str, index: int) -> Template:
    # A passage without declaration may still show a number; any direction's will do for that.
    first = FIRST_NUMBER.get(direction, FIRST_NUMBER["IMPORT"])
    return [(INTEGER, NUMBER, first + index)]


def unit_text(story: Story, unit: int, *, as_key: bool) -> Template:
    """The unit's name without quotes: a container number or a lot's control number."""
    if story.is_lot:
        return [b"VNL", (PADDED, SERIAL, unit, 10)]
    if story.spelling == "wrong digit":
        return [(CONTAINER_WRONG, SERIAL, unit)]
    if story.spelling == "sloppy" and not as_key:
        return [(CONTAINER_SLOPPY, SERIAL, unit)]
    return [(CONTAINER, SERIAL, unit)]


def event_template(story: Story, step: Step, name: str, unit: int) -> RowTemplate:
    """The template of one step of one unit of a visit."""
    direction = step.direction or story.direction
    fields: dict[str, Template] = {
        "eventID": [b'"', (PADDED, SERIAL, unit, 9), b"-" + name.encode() + b'"'],
        "eventType": _quoted(step.event_type),
        "eventDateTime": _time(TIME_LOCAL, MOMENT),
        "eventCreatedDateTime": _time(TIME_LOCAL, MOMENT, _WRITTEN_AFTER_MS),
    }
    if step.updated:
        fields["eventUpdatedDateTime"] = _time(TIME_LOCAL, TIMESTAMP)
    if step.retracted:
        fields["isRetracted"] = [b"true"]
    operator: Template = [b'"', (TEXT, PLACE, _OPERATOR_IDS), b'"']
    location: Template = [b'"', (TEXT, PLACE, _LOCATIONS), b'"']
    if step.operator == "unknown":
        operator = _quoted("NOBODY1")
    elif step.operator == "testing":
        operator = _quoted(OPERATORS[TESTING_PLACE].operator_id)
        location = _quoted(OPERATORS[TESTING_PLACE].location_code)
    elif step.operator == "elsewhere":
        location = _quoted(OPERATORS[TESTING_PLACE].location_code)
    fields |= {
        "operatorID": operator,
        "locationCode": location,
        "unitType": _quoted(story.unit_type),
        "unit": [b'"', *unit_text(story, unit, as_key=False), b'"'],
        "direction": _quoted(direction),
    }
    if step.purpose:
        fields["purpose"] = _quoted(step.purpose)
    if carries_pieces(story, step):
        fields["pieces"] = [(INTEGER, PIECES)]
    if carries_weight(story, step):
        fields["weightKg"] = [(KILOGRAMS, GRAMS)]
    if step.seals is not None:
        fields["seals"] = _listed([_seal(kind, unit) for kind in step.seals])
    if step.presented:
        fields["declarations"] = _listed(
            [[b'"', *_number(direction, index), b'"'] for index in step.presented]
        )
    if step.document:
        fields["document"] = [b'"GT-', (PADDED, SERIAL, unit, 9), b'"']
    for field, raw in step.replaced.items():
        if raw is None:
            fields.pop(field, None)
        else:
            fields[field] = [raw]
    value = _object(fields)
    is_text = step.truncated or any(raw == b"NaN" for raw in step.replaced.values())
    return RowTemplate(
        "port-events",
        value[: len(value) // 2] if step.truncated else value,
        unit_text(story, unit, as_key=True),
        is_text,
    )


def carries_pieces(story: Story, step: Step) -> bool:
    """Whether a step's event gives pieces."""
    return story.unit_type == "PACKAGES" and step.quantity is not None and step.pieces


def carries_weight(story: Story, step: Step) -> bool:
    """Whether a step's event gives a weight."""
    if story.is_lot:
        return step.quantity is not None
    return step.event_type in ("GET_IN", "GET_OUT")


def declaration_template(story: Story, declared: Declared) -> RowTemplate:
    """One version of one declaration of a visit, with all its units."""
    direction = declared.direction or story.direction
    number: Template = [b'"', *_number(story.direction, declared.number), b'"']
    # Under the number that nobody declares, so that compaction takes nothing else away.
    key = _number(
        story.direction, NOBODYS_DECLARATION if declared.key == "wrong" else declared.number
    )
    if declared.removed:
        return RowTemplate("declarations", [b"null"], key)
    here, there = (SECOND_PLACE, PLACE) if declared.place else (PLACE, SECOND_PLACE)
    status_from = STAYED if declared.status_after_stay else MOMENT
    fields: dict[str, Template] = {
        "declarationNumber": number,
        "version": [str(declared.version).encode()],
        "direction": _quoted(direction),
        "status": _quoted(declared.status),
        "registeredDateTime": _time(TIME_UTC, MOMENT, declared.registered * _MINUTE_MS),
        "statusDateTime": _time(TIME_UTC, status_from, declared.status_at * _MINUTE_MS),
        "branchCode": [b'"', (TEXT, here, _BRANCHES), b'"'],
        "locationCode": [b'"', (TEXT, here, _LOCATIONS), b'"'],
    }
    if declared.to_second_place:
        fields["destinationLocationCode"] = [b'"', (TEXT, there, _LOCATIONS), b'"']
        fields["arriveByDateTime"] = _time(TIME_UTC, STAYED, declared.arrive_by * _MINUTE_MS)
    units: list[Template] = []
    for unit in range(story.units if declared.lists_unit else 0):
        line: dict[str, Template] = {
            "unit": [b'"', *unit_text(story, unit, as_key=True), b'"'],
            "unitType": _quoted(story.unit_type),
        }
        if not story.is_lot:
            line["seals"] = _listed([_seal("own", unit)])
        if story.unit_type == "PACKAGES":
            line["pieces"] = [(INTEGER, PIECES)]
        line["weightKg"] = [(KILOGRAMS, GRAMS, 0 if story.weight_kg else unit * UNIT_GRAMS_STEP)]
        if declared.shared:
            line["shared"] = [b"true"]
        units.append(_object(line))
    fields["units"] = _listed(units)
    return RowTemplate("declarations", _object(fields), key)


def hold_template(story: Story, held: Held) -> RowTemplate:
    """One version of one hold on a visit's (only) unit or its first declaration."""
    hold_id: Template = [b"H", (PADDED, SERIAL, 0, 9), b"-" + str(held.number).encode()]
    issued_from = STAYED if held.issued_after_stay else MOMENT
    if held.on_declaration:
        reference = _number(story.direction, 0)
    else:
        reference = unit_text(story, 0, as_key=True)
    fields: dict[str, Template] = {
        "holdID": [b'"', *hold_id, b'"'],
        "version": [str(held.version).encode()],
        "scope": _quoted("DECLARATION" if held.on_declaration else "UNIT"),
        "reference": [b'"', *reference, b'"'],
        "reason": _quoted(held.reason),
    }
    if held.reason == "CUSTOMS_SEAL":
        fields["seal"] = _seal("blank" if held.blank_seal else "customs", 0)
    fields["state"] = _quoted(held.state)
    fields["issuedDateTime"] = _time(TIME_UTC, issued_from, held.issued * _MINUTE_MS)
    return RowTemplate("holds", _object(fields), hold_id)


def _as_string(template: Template) -> Template:
    """The template as the inside of a JSON string; column values need no escaping."""
    return [
        segment.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        if isinstance(segment, bytes)
        else segment
        for segment in template
    ]


def log_line(row: RowTemplate) -> Template:
    """The template of the same record as a line of a log (CONTRACT.md section 6)."""
    value = [b'"', *_as_string(row.value), b'"'] if row.is_text else row.value
    return [
        b'{"topic":"' + row.topic.encode() + b'","timestamp":',
        (INTEGER, TIMESTAMP),
        b',"key":"',
        *row.key,
        b'","value":',
        *value,
        b"}\n",
    ]
