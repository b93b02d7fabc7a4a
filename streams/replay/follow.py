"""The way to the live tables: they move on while records are taken, and are followed until they are near enough to be locked."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import chain_tables
from streams.apply import Applier, Record
from streams.replay.source import Source

NEAR_SECONDS = 1.0
"""The rest that may be taken while the live worker waits."""
NEAR_RECORDS = 16


async def live_offsets(connection: AsyncConnection) -> dict[int, int]:
    """The offset due next of each partition that the tables have begun."""
    offsets = chain_tables.offsets.c
    rows = await connection.execute(select(offsets.partition, offsets.next_offset))
    return {row.partition: row.next_offset for row in rows}


class Takes(Protocol):
    """Brings records into the shadow. `standing` is the offset due next, per partition; `events` is how many were taken."""

    standing: dict[int, int]
    events: int

    async def take(self, partition: int, batches: AsyncIterator[list[Record]]) -> None: ...


class Applying:
    """Takes records as a worker does: onto rows that are folded, in tables that have their keys."""

    def __init__(self, applier: Applier, *, standing: Mapping[int, int]) -> None:
        self.standing = dict(standing)
        self.events = 0
        self._applier = applier

    async def take(self, partition: int, batches: AsyncIterator[list[Record]]) -> None:
        async for records in batches:
            applied = await self._applier.apply(partition, records)
            self.standing[partition] = applied.next_offset
            self.events += applied.events


class Follower:
    """Brings the shadow to the offsets that it is given."""

    def __init__(self, takes: Takes, source: Source) -> None:
        self.records = 0
        self._takes = takes
        self._source = source
        self._pace: float | None = None  # seconds a record, of the last time

    @property
    def standing(self) -> dict[int, int]:
        """Where the shadow stands: the offset due next, per partition."""
        return dict(self._takes.standing)

    @property
    def events(self) -> int:
        return self._takes.events

    def rest(self, offsets: Mapping[int, int]) -> int:
        """The records up to these offsets."""
        standing = self._takes.standing
        return sum(max(0, offset - standing.get(partition, 0)) for partition, offset in offsets.items())

    def is_near(self, offsets: Mapping[int, int]) -> bool:
        """Whether the rest takes a moment only."""
        rest = self.rest(offsets)
        return rest <= NEAR_RECORDS or (self._pace is not None and rest * self._pace <= NEAR_SECONDS)

    async def go(self, offsets: Mapping[int, int]) -> None:
        """Take the rest, of all partitions."""
        start, rest = time.monotonic(), self.rest(offsets)
        for partition, offset in sorted(offsets.items()):
            begin = self._takes.standing.get(partition, 0)
            await self._takes.take(partition, self._source.batches(partition, begin, offset))
        if rest:
            self._pace = (time.monotonic() - start) / rest
        self.records += rest
