"""The operators of the national year and the pools that visits draw them from.

What the sources give is kept: the counts by department on 30 June and 9 August 2018, the four
waves of Bà Rịa–Vũng Tàu, CMIT and Hải Linh as the first two. Every other name is plainly made up
(``Cảng Hải Phòng 17``). Called by the planner and the year; knows no visit and no record but the
operator's.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any

VIETNAM = datetime.timezone(datetime.timedelta(hours=7))
FIRST_DAY = datetime.date(2017, 8, 10)
LAST_DAY = datetime.date(2018, 8, 9)
REPORT_LAST_DAY = datetime.date(2018, 6, 30)
"""Last day of the half year that the report on Bà Rịa–Vũng Tàu covers."""


def midnight_ms(day: datetime.date) -> int:
    """Milliseconds since 1970 UTC at which ``day`` begins in Vietnam."""
    return int(datetime.datetime.combine(day, datetime.time(), VIETNAM).timestamp()) * 1000


FIRST_MS = midnight_ms(FIRST_DAY)
END_MS = midnight_ms(LAST_DAY + datetime.timedelta(days=1))
LOADED_MS = FIRST_MS - 86_400_000
"""Record timestamp of all that customs loads before the year: a replay's clock must not run ahead
of the first event, or every alert by the clock would be due at once."""


@dataclass(frozen=True)
class Operator:
    """One operator and its single supervised location."""

    operator_id: str
    name: str
    kind: str
    department_code: str
    department_name: str
    branch_code: str
    branch_name: str
    location_code: str
    cargo: tuple[str, ...]
    status: str
    connected: datetime.date | None
    wave: int | None
    share: int
    """Weight with which visits of its pool fall to it."""

    def record(self) -> bytes:
        """Its value on the topic ``operators``."""
        fields: dict[str, Any] = {
            "operatorID": self.operator_id,
            "name": self.name,
            "kind": self.kind,
            "departmentCode": self.department_code,
            "departmentName": self.department_name,
            "branchCode": self.branch_code,
            "branchName": self.branch_name,
            "locations": [self.location_code],
            "cargo": list(self.cargo),
            "status": self.status,
            "connectedDate": self.connected.isoformat() if self.connected else None,
            "wave": self.wave,
            "version": 1,
        }
        known = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(known, ensure_ascii=False, separators=(",", ":")).encode()


_ALL_CARGO = ("CONTAINER", "PACKAGES", "BULK", "LIQUID")
_BOX_CARGO = ("CONTAINER", "PACKAGES", "BULK")
_AIR_CARGO = ("PACKAGES",)
_KIND_NAMES = {"SEAPORT": "Cảng", "WAREHOUSE": "Kho", "YARD": "Bãi", "AIRPORT": "Kho hàng không"}


_Department = tuple[str, str, str, tuple[str, ...]]
"""Code, name, prefix of its operators' IDs, names of its branches."""

_HAI_PHONG: _Department = (
    "03",
    "Cục Hải quan Hải Phòng",
    "HPH",
    tuple(f"Chi cục Hải Phòng {i}" for i in range(1, 5)),
)
_HA_NOI: _Department = ("01", "Cục Hải quan Hà Nội", "HAN", ("Chi cục Nội Bài",))
_HCM: _Department = (
    "02",
    "Cục Hải quan TP.HCM",
    "SGN",
    tuple(f"Chi cục TP.HCM {i}" for i in range(1, 5)),
)
_BRVT: _Department = (
    "51",
    "Cục Hải quan Bà Rịa - Vũng Tàu",
    "VTU",
    tuple(f"Chi cục Bà Rịa - Vũng Tàu {i}" for i in range(1, 5)),
)
_QUANG_NINH: _Department = ("20", "Cục Hải quan Quảng Ninh", "QNH", ("Chi cục Quảng Ninh 1",))

BRVT_DEPARTMENT = _BRVT[0]


def _operator(
    department: _Department,
    number: int,
    kind: str,
    connected: datetime.date | None,
    *,
    place: str,
    name: str | None = None,
    cargo: tuple[str, ...] = _ALL_CARGO,
    wave: int | None = None,
    share: int = 10,
    status: str = "CONNECTED",
) -> Operator:
    code, department_name, prefix, branches = department
    branch = (number - 1) % len(branches)
    return Operator(
        operator_id=f"{prefix}{number:03d}",
        name=name or f"{_KIND_NAMES[kind]} {place} {number}",
        kind=kind,
        department_code=code,
        department_name=department_name,
        branch_code=f"{code}B{branch + 1}",
        branch_name=branches[branch],
        location_code=f"{code}{prefix[0]}{kind[0]}{number:03d}",
        cargo=cargo,
        status=status,
        connected=connected,
        wave=wave,
        share=share,
    )


def _date(year: int, month: int, day: int) -> datetime.date:
    return datetime.date(year, month, day)


def _operators() -> list[Operator]:
    found: list[Operator] = []
    # Hải Phòng: 53 on 30 June 2018, 55 on 9 August 2018. It began in August 2017.
    for number in range(1, 56):
        kind = "SEAPORT" if number <= 35 else "WAREHOUSE" if number <= 45 else "YARD"
        if number <= 20:
            connected = FIRST_DAY
        elif number <= 53:
            connected = FIRST_DAY + datetime.timedelta(days=9 * (number - 20))
        else:
            connected = _date(2018, 7, 16)
        found.append(
            _operator(
                _HAI_PHONG,
                number,
                kind,
                connected,
                place="Hải Phòng",
                cargo=_ALL_CARGO if kind == "SEAPORT" else _BOX_CARGO,
            )
        )
    found += [
        _operator(
            _HA_NOI, number, "AIRPORT", FIRST_DAY, place="Nội Bài", cargo=_AIR_CARGO, share=40
        )
        for number in range(1, 4)
    ]
    found += [
        _operator(_HCM, number, "SEAPORT", FIRST_DAY, place="TP.HCM", share=60)
        for number in range(1, 5)
    ]
    # Bà Rịa–Vũng Tàu: 14 in four waves by 30 June 2018, CMIT and Hải Linh the first two; four more
    # by 9 August, three of them Tân Cảng's.
    waves = {1: _date(2018, 1, 15), 2: _date(2018, 3, 12), 3: _date(2018, 5, 7)}
    waves[4] = _date(2018, 6, 11)
    for number in range(1, 19):
        wave = 1 if number <= 2 else 2 if number <= 6 else 3 if number <= 10 else 4
        name: str | None = None
        cargo: tuple[str, ...] = _ALL_CARGO
        if number == 1:
            name, cargo = "Cảng quốc tế Cái Mép (CMIT)", ("CONTAINER",)
        elif number == 2:
            name, cargo = "Cảng xăng dầu Hải Linh", ("LIQUID",)
        elif number in (15, 16, 17):
            name = f"Tân Cảng Bà Rịa - Vũng Tàu {number}"
        found.append(
            _operator(
                _BRVT,
                number,
                "SEAPORT",
                waves[wave] if number <= 14 else _date(2018, 7, 23),
                place="Bà Rịa - Vũng Tàu",
                name=name,
                cargo=cargo,
                wave=wave if number <= 14 else None,
            )
        )
    found.append(_operator(_QUANG_NINH, 1, "SEAPORT", _date(2018, 7, 30), place="Quảng Ninh"))
    # None of these three counts as connected on any date.
    found.append(
        _operator(
            _HAI_PHONG,
            56,
            "YARD",
            FIRST_DAY,
            place="Hải Phòng",
            name="Bãi Hải Phòng 56 (tạm đình chỉ)",
            status="SUSPENDED",
        )
    )
    found.append(_operator(_HAI_PHONG, 57, "WAREHOUSE", None, place="Hải Phòng", status="TESTING"))
    found.append(_operator(_QUANG_NINH, 2, "SEAPORT", None, place="Quảng Ninh", status="SURVEYED"))
    return found


OPERATORS: tuple[Operator, ...] = tuple(_operators())
"""All operators; a *place* in the planner's columns is an index into this."""


@dataclass(frozen=True)
class Pool:
    """Places that a story's visits may fall to, by the day from which each may be drawn."""

    places: tuple[int, ...]
    shares: tuple[int, ...]
    from_ms: tuple[int, ...]


def _pool(choose: Any, from_day: Any = lambda operator: operator.connected) -> Pool:
    chosen = [
        (midnight_ms(from_day(operator)), place, operator.share)
        for place, operator in enumerate(OPERATORS)
        if choose(operator)
    ]
    chosen.sort()
    return Pool(
        tuple(place for _, place, _ in chosen),
        tuple(share for _, _, share in chosen),
        tuple(day for day, _, _ in chosen),
    )


def _outside_report(operator: Operator) -> datetime.date:
    """The half year that is reported of Bà Rịa–Vũng Tàu holds the reported visits only."""
    assert operator.connected is not None
    if operator.department_code == BRVT_DEPARTMENT:
        return max(operator.connected, REPORT_LAST_DAY + datetime.timedelta(days=1))
    return operator.connected


def _serves(*cargo: str) -> Any:
    return lambda operator: (
        operator.status == "CONNECTED"
        and operator.kind != "AIRPORT"
        and all(item in operator.cargo for item in cargo)
    )


def _brvt(cargo: str) -> Any:
    return lambda operator: (
        operator.department_code == BRVT_DEPARTMENT
        and operator.connected <= REPORT_LAST_DAY
        and cargo in operator.cargo
    )


POOLS: dict[str, Pool] = {
    "sea": _pool(_serves("CONTAINER"), _outside_report),
    "sea lots": _pool(_serves("PACKAGES", "BULK"), _outside_report),
    "sea liquid": _pool(_serves("LIQUID"), _outside_report),
    "air": _pool(lambda operator: operator.kind == "AIRPORT"),
    "suspended": _pool(lambda operator: operator.status == "SUSPENDED"),
    "report containers": _pool(_brvt("CONTAINER")),
    "report bulk": _pool(_brvt("BULK")),
    "report liquid": _pool(_brvt("LIQUID")),
}

TESTING_PLACE = next(i for i, operator in enumerate(OPERATORS) if operator.status == "TESTING")


def connected_on(day: datetime.date) -> dict[str, int]:
    """Connected operators by department code as of the end of ``day``."""
    counts: dict[str, int] = {}
    for operator in OPERATORS:
        if operator.status == "CONNECTED" and operator.connected and operator.connected <= day:
            counts[operator.department_code] = counts.get(operator.department_code, 0) + 1
    return counts
