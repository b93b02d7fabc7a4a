"""From an empty shadow to a whole one: the log is loaded up to given offsets, and each key is folded once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables
from streams import alignment
from streams.application import Application
from streams.apply import Applier, Record
from streams.replay import shadow
from streams.replay.feed import Feed
from streams.replay.fold import Folder
from streams.replay.load import Loaded, Loader
from streams.replay.packing import Packing
from streams.replay.source import Source

Say = Callable[[str], None]


def bulk_tables(applications: Iterable[Application]) -> list[Table]:
    """The tables that are filled before they have a key: the facts, and what is folded of them."""
    folded = {fold.table.name: fold.table for one in applications for fold in one.folds}
    return [chain_tables.facts, *folded.values()]


class Build:
    """Fills the shadow that `engine` is placed in."""

    def __init__(
        self,
        *,
        engine: AsyncEngine,
        source: Source,
        applications: Sequence[Application],
        network: str,
        topic: str,
        indexed: bool,
        say: Say,
    ) -> None:
        """`indexed`: with all indexes and statistics. A comparison needs the keys alone."""
        self._engine = engine
        self._source = source
        self._applications = applications
        self._applier = Applier(engine=engine, applications=applications, network=network)
        self._topic = topic
        self._indexed = indexed
        self._packing = Packing()
        self._say = say

    async def run(self, offsets: Mapping[int, int], *, began_at: Mapping[int, int | None]) -> Loaded:
        """Load each partition up to its offset, and fold. `began_at` is when the live tables' log began, per partition.

        Raises FrameInvalid for a record that is no frame, TopicInvalid for the log of other tables.
        """
        async with AsyncExitStack() as stack:
            facts, feeding, states = [await stack.enter_async_context(self._session()) for _ in range(3)]
            feed = Feed(feeding)
            loader = self._loader(facts, feed, records=sum(offsets.values()))
            await feed.create()
            await loader.prepare()
            for partition, offset in sorted(offsets.items()):
                batches = self._batches(partition, offset, began_at.get(partition))
                await loader.load(partition, batches)
            loaded = loader.loaded
            self._say(f"sorting {loaded.facts:,} facts")
            folder = Folder(
                connection=states,
                applications=self._applications,
                packing=self._packing,
                on_progress=_folding(self._say, loaded.folded),
            )
            async with asyncio.TaskGroup() as both:
                both.create_task(self._complete_facts(loader, facts, folder))
                both.create_task(folder.run(feed))
            self._say("indexing")
            await self._complete_states(states, feeding)
            await self._note_offsets(loaded)
        return loaded

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncConnection]:
        """A connection that commits each statement: nothing holds back the vacuum of the live tables for the whole time."""
        async with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            yield connection

    def _loader(self, facts: AsyncConnection, feed: Feed, *, records: int) -> Loader:
        return Loader(
            engine=self._engine,
            connection=facts,
            feed=feed,
            applications=self._applications,
            applier=self._applier,
            packing=self._packing,
            on_progress=_loading(self._say, records),
        )

    async def _batches(self, partition: int, offset: int, began_at: int | None) -> AsyncIterator[list[Record]]:
        async for records in self._source.batches(partition, 0, offset):
            if records[0].offset == 0 and records[0].at is not None:
                alignment.check_same_log(began_at, records[0].at, topic=self._topic)
            yield records

    async def _complete_facts(self, loader: Loader, connection: AsyncConnection, folder: Folder) -> None:
        await loader.settle()
        folder.settled.set()
        if self._indexed:
            await shadow.complete(connection, chain_tables.facts)

    async def _complete_states(self, *connections: AsyncConnection) -> None:
        """Keys and indexes of the folded tables, as many tables at a time as there are connections."""
        tables = iter(bulk_tables(self._applications)[1:])

        async def complete(connection: AsyncConnection) -> None:
            for table in tables:
                await shadow.add_key(connection, table)
                if self._indexed:
                    await shadow.complete(connection, table)

        async with asyncio.TaskGroup() as all_of_them:
            for connection in connections:
                all_of_them.create_task(complete(connection))

    async def _note_offsets(self, loaded: Loaded) -> None:
        rows = [
            {"partition": partition, "next_offset": offset, "newest_fact": newest}
            for partition, (offset, newest) in sorted(loaded.standing.items())
        ]
        if rows:
            async with self._engine.begin() as connection:
                await connection.execute(insert(chain_tables.offsets), rows)


def _loading(say: Say, records: int) -> Callable[[Loaded], None]:
    start = time.monotonic()

    def tell(loaded: Loaded) -> None:
        pace = loaded.events / max(time.monotonic() - start, 1e-3)
        say(f"loading: {loaded.records:,} of {records:,} records, {pace:,.0f} events/s")

    return tell


def _folding(say: Say, facts: int) -> Callable[[int], None]:
    return lambda folded: say(f"folding: {folded:,} of {facts:,} facts")
