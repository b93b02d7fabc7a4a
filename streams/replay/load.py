"""Loading: records of the log into the shadow, decoded anew.

Facts go by COPY into tables without a key, so one may not be there twice. Positions tell that: what stands behind everything
before it, among the events or among the observations of its partition, is new. What does not is set aside, and merged once
the key is there. While PostgreSQL takes one batch, the next one is decoded in a thread.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import database, position
from shared.chain_tables import facts as facts_table
from streams import fact_partitions, proofs, state_store
from streams.application import Application
from streams.apply import Applier, Batch, Record, due_of
from streams.facts import Fact
from streams.replay import shadow
from streams.replay.ahead import ahead
from streams.replay.feed import Feed, FeedRow
from streams.replay.packing import Packing
from streams.replay.shadow import SHADOW
from streams.state_store import FACT_COLUMNS, fact_row

_SET_ASIDE = f"CREATE TEMPORARY TABLE late (LIKE {SHADOW}.facts INCLUDING DEFAULTS)"

# Each place once, by the rule of `streams.facts.merge`: the lower bytes win, and two that differ are a conflict.
_MERGED = """
SELECT DISTINCT ON (key, position) key, position, kind, tx_hash, body, problem,
  bool_or(conflict) OVER same OR min(body::text COLLATE "C") OVER same <> max(body::text COLLATE "C") OVER same
FROM pg_temp.late WINDOW same AS (PARTITION BY key, position)
ORDER BY key, position, body::text COLLATE "C"
"""

_LAST_OF_LEDGER = position.end_of(0)[19:]


@dataclass(slots=True)
class Lanes:
    """The newest event and the newest observation that a partition has told of; each stands in order for itself.

    An observation is of the chain's tip while the pages behind it still catch up, so one order for both would set most aside.
    """

    newest: dict[bool, str] = field(default_factory=lambda: {False: position.START, True: position.START})

    def split(self, facts: Iterable[Fact]) -> tuple[list[Fact], list[Fact]]:
        """Those facts of a batch (each place once) that cannot have been there before, and those that can."""
        before, newest = dict(self.newest), self.newest
        new: list[Fact] = []
        late: list[Fact] = []
        for fact in facts:
            lane = fact.position.endswith(_LAST_OF_LEDGER)
            (new if fact.position > before[lane] else late).append(fact)
            newest[lane] = max(newest[lane], fact.position)
        return new, late


class Loader:
    """Takes records, of one partition after the other, as often as there are more; then `settle`, and no more.

    standing  the offset due next, per partition
    records, events, facts, folded   how many were taken; those of `folded` are in the feed
    """

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        connection: AsyncConnection,
        feed: Feed,
        applications: Sequence[Application],
        applier: Applier,
        packing: Packing,
        on_progress: Callable[[int, int], None],
    ) -> None:
        """`engine` is placed in the shadow; `connection` is a session of it, for the facts, that commits each statement;
        `applier` decodes; `on_progress` hears of all records and events so far."""
        self.standing: dict[int, int] = {}
        self.records = self.events = self.facts = self.folded = 0
        self._lanes: dict[int, Lanes] = {}
        self._engine = engine
        self._connection = connection
        self._raw = database.raw(connection)
        self._feed = feed
        self._numbers = {application.scope: number for number, application in enumerate(applications)}
        self._folded = {one.scope: frozenset(fold.prefix for fold in one.folds) for one in applications}
        self._applier = applier
        self._packing = packing
        self._on_progress = on_progress
        self._partitions = fact_partitions.Known()

    async def take(self, partition: int, batches: AsyncIterator[list[Record]]) -> None:
        """Load the records; raises FrameInvalid or OffsetGap for a log that is none."""
        async with ahead(batches) as read, ahead(self._decoded(partition, read)) as decoded:
            async for batch, rows in decoded:
                await self._write(batch, rows)

    def newest(self, partition: int) -> str:
        """The position that no fact of the partition stands behind."""
        return max(self._lanes.get(partition, Lanes()).newest.values())

    async def _decoded(
        self, partition: int, batches: AsyncIterator[list[Record]]
    ) -> AsyncIterator[tuple[Batch, list[FeedRow]]]:
        expected = self.standing.get(partition, 0)
        async for records in batches:
            due = due_of(records, expected=expected, partition=partition)
            expected += len(due)
            yield await asyncio.to_thread(self._prepare, partition, due)

    async def prepare(self) -> None:
        await self._raw.execute(_SET_ASIDE)

    async def settle(self) -> bool:
        """Merge the facts that were set aside, for which all need their key; says whether they have it now."""
        late: bool = await self._raw.fetchval("SELECT EXISTS (SELECT FROM pg_temp.late)")
        if late:
            await shadow.add_key(self._connection, facts_table)
            await self._raw.execute(state_store.merge_statement(SHADOW, _MERGED))
        await self._raw.execute("DROP TABLE pg_temp.late")
        return late

    def _prepare(self, partition: int, records: Sequence[Record]) -> tuple[Batch, list[FeedRow]]:
        """The batch decoded, and its part of the feed."""
        batch = self._applier.prepare(partition, records)
        scope = batch.application.scope
        folded, number = self._folded[scope], self._numbers[scope]
        pack = self._packing.pack
        return batch, [
            (number, fact.key, fact.position, pack(fact)) for fact in batch.content.facts if fact.prefix in folded
        ]

    async def _write(self, batch: Batch, rows: list[FeedRow]) -> None:
        facts = batch.content.facts
        async with self._engine.begin() as connection:
            await self._partitions.ensure(connection, [fact.position for fact in facts])
            await proofs.record(connection, batch.content, partition=batch.partition)
        self._partitions.committed()
        new, late = self._lanes.setdefault(batch.partition, Lanes()).split(facts)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._store(new, late))
            both.create_task(self._feed.add(rows))
        self.standing[batch.partition] = batch.records[-1].offset + 1
        self.records += len(batch.records)
        self.events += batch.content.events
        self.facts += len(facts)
        self.folded += len(rows)
        self._on_progress(self.records, self.events)

    async def _store(self, new: Sequence[Fact], late: Sequence[Fact]) -> None:
        if new:
            await self._raw.copy_records_to_table(
                "facts", schema_name=SHADOW, columns=FACT_COLUMNS, records=map(fact_row, new)
            )
        if late:
            await self._raw.copy_records_to_table("late", columns=FACT_COLUMNS, records=map(fact_row, late))
