"""The national table from the live topics: ``gatejoin report`` without ``--from``.

Reads the operators and what the workers publish of volumes and stock (compacted topics, one record
for each cell of each partition of port-events; ``core_ext/aggregates.h``), and hands the rows to
``stream.report``: the sum over all workers needs no scan of events. Called by ``stream.report``.
It must never know events or rules.

The topic of operators is compacted too: of an operator that changed after the date asked for, the
version of that day may be gone, and then it is not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from stream import record_json, topics
from stream.live_registry import LiveRegistry
from stream.live_topics import LiveTopics, LiveTopicsError, Progress
from stream.moments import day_of, parse_day
from stream.registry import Registry
from stream.report import AGES, Report, StockRow, Volume, VolumeRow, build_report
from stream.settings import Settings

# The oldest day, of whole days since the visit began, of each age but the last.
AGE_DAYS_MAX = (30, 60, 90)


def read_live_report(
    settings: Settings, as_of_day: int | None = None, progress: Progress | None = None
) -> Report:
    """Returns the report of the live topics.

    Args:
        settings: where the broker and the topics are.
        as_of_day: the last day that counts (ordinal); None for the last day of anything in them.
        progress: told how far each topic has been read.

    Raises:
        LiveTopicsError: no broker answers, a topic is missing, or there is nothing in them.
    """
    cells, stock_cells, registry = asyncio.run(
        _read(settings, progress or Progress("gatejoin report"))
    )
    volumes = list(_volume_rows(settings.topic(topics.VOLUMES), cells))
    if as_of_day is None:
        days = [row.day for row in volumes]
        if registry.timestamp_ms_max is not None:
            days.append(day_of(registry.timestamp_ms_max * 1000))
        if not days:
            raise LiveTopicsError(
                f"{settings.topic(topics.OPERATORS)} and {settings.topic(topics.VOLUMES)} at "
                f"{settings.broker} are empty: there is nothing to report"
            )
        as_of_day = max(days)
    stock = _stock_rows(settings.topic(topics.STOCK), stock_cells, as_of_day)
    return build_report(volumes, stock, registry, as_of_day)


async def _read(
    settings: Settings, progress: Progress
) -> tuple[list[bytes], list[bytes], Registry]:
    async with LiveTopics(settings, progress) as live:
        operators = LiveRegistry()
        async for fetched in live.runs(topics.OPERATORS):
            operators.take(fetched.run)
        volumes = await live.latest(topics.VOLUMES)
        stock = await live.latest(topics.STOCK)
    return list(volumes.values()), list(stock.values()), operators.registry


def _cells(topic: str, values: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for value in values:
        try:
            yield record_json.loads(value)
        except ValueError as error:
            raise _broken(topic, value, error) from None


def _broken(topic: str, value: bytes, error: Exception) -> LiveTopicsError:
    return LiveTopicsError(
        f"{topic}: {value[:80]!r} was not written by a worker ({error!r}): nobody else may write "
        "to this topic"
    )


def _volume_rows(topic: str, values: Iterable[bytes]) -> Iterator[VolumeRow]:
    days: dict[str, int] = {}
    for cell in _cells(topic, values):
        try:
            text = cell["day"]
            if text not in days:
                days[text] = parse_day(text)
            yield VolumeRow(
                cell["operatorID"],
                days[text],
                cell["direction"],
                cell["unitType"],
                Volume(
                    cell["movementsIn"],
                    cell["piecesIn"],
                    cell["gramsIn"],
                    cell["movementsOut"],
                    cell["piecesOut"],
                    cell["gramsOut"],
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(topic, repr(cell).encode(), error) from None


def _stock_rows(topic: str, values: Iterable[bytes], as_of_day: int) -> Iterator[StockRow]:
    for cell in _cells(topic, values):
        try:
            yield StockRow(
                cell["locationCode"],
                cell["direction"],
                cell["unitType"],
                age(as_of_day - parse_day(cell["startDay"])),
                cell["units"],
                cell["pieces"],
                cell["grams"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(topic, repr(cell).encode(), error) from None


def age(days: int) -> str:
    """The age, one of AGES, of what has stood for so many days; a negative number counts as 0."""
    return AGES[sum(days > days_max for days_max in AGE_DAYS_MAX)]
