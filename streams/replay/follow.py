"""What came while the shadow was filled: the live offsets move on, and the shadow follows until it is near enough to be locked.

The records of that time are applied as a worker applies them: on rows that were folded from their first fact.
"""

import time
from collections.abc import Callable, Mapping

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from shared import chain_tables
from streams.apply import Applier
from streams.replay.source import Source

NEAR_SECONDS = 1.0
"""The rest that may be applied while the live worker waits."""
NEAR_RECORDS = 16


async def live_offsets(connection: AsyncConnection) -> dict[int, int]:
    """The offset due next of each partition that the tables have begun."""
    offsets = chain_tables.offsets.c
    rows = await connection.execute(select(offsets.partition, offsets.next_offset))
    return {row.partition: row.next_offset for row in rows}


class Follower:
    """Brings the shadow to the offsets that it is given."""

    def __init__(
        self,
        *,
        applier: Applier,
        source: Source,
        standing: Mapping[int, int],
        pace: float | None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`applier` is one of the shadow, which stands at `standing`; `pace` is a guess at its seconds a record."""
        self.standing = dict(standing)
        self.records = 0
        self.events = 0
        self._applier = applier
        self._source = source
        self._pace = pace
        self._on_progress = on_progress

    def rest(self, offsets: Mapping[int, int]) -> int:
        """The records up to these offsets."""
        return sum(max(0, offset - self.standing.get(partition, 0)) for partition, offset in offsets.items())

    def is_near(self, offsets: Mapping[int, int]) -> bool:
        """Whether the rest takes a moment only."""
        rest = self.rest(offsets)
        return rest <= NEAR_RECORDS or (self._pace is not None and rest * self._pace <= NEAR_SECONDS)

    async def go(self, offsets: Mapping[int, int]) -> None:
        """Apply the rest, of all partitions."""
        start, before = time.monotonic(), self.records
        rest = self.rest(offsets)
        for partition, offset in sorted(offsets.items()):
            await self._go(partition, offset, end=before + rest)
        if self.records > before:
            self._pace = (time.monotonic() - start) / (self.records - before)

    async def _go(self, partition: int, offset: int, *, end: int) -> None:
        async for records in self._source.batches(partition, self.standing.get(partition, 0), offset):
            applied = await self._applier.apply(partition, records)
            self.standing[partition] = applied.next_offset
            self.records += applied.applied_records
            self.events += applied.events
            self._on_progress(end - self.records)
