"""From an empty shadow to a whole one: records are loaded, then each key is folded once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from shared import chain_tables
from streams.application import Application
from streams.apply import Applier
from streams.replay import shadow
from streams.replay.feed import Feed
from streams.replay.fold import Folder
from streams.replay.load import Loader
from streams.replay.packing import Packing

Say = Callable[[str], None]
SESSIONS = 3


def folded_tables(applications: Iterable[Application]) -> list[Table]:
    """The tables that are folded of the facts."""
    return list({fold.table.name: fold.table for one in applications for fold in one.folds}.values())


def bulk_tables(applications: Iterable[Application]) -> list[Table]:
    """The tables that are filled before they have a key: the facts, and what is folded of them."""
    return [chain_tables.facts, *folded_tables(applications)]


class Build:
    """Fills the shadow: `loader` takes the log; then `settle` and `fold`; and `complete`, if it is to be used."""

    def __init__(
        self,
        engine: AsyncEngine,
        sessions: Sequence[AsyncConnection],
        *,
        applications: Sequence[Application],
        network: str,
        say: Say,
    ) -> None:
        self._facts, feeding, self._states = sessions
        self._engine = engine
        self._applications = applications
        self._say = say
        self._feed = Feed(feeding)
        self._keyed = False
        packing = Packing()
        self.loader = Loader(
            engine=engine,
            connection=self._facts,
            feed=self._feed,
            applications=applications,
            applier=Applier(engine=engine, applications=applications, network=network),
            packing=packing,
            on_progress=_loading(say),
        )
        self._folder = Folder(
            connection=self._states, applications=applications, packing=packing, on_progress=self._tell_folded
        )

    @classmethod
    @asynccontextmanager
    async def begin(
        cls, engine: AsyncEngine, *, applications: Sequence[Application], network: str, say: Say
    ) -> AsyncIterator[Self]:
        """A build in the empty shadow that `engine` is placed in. Its sessions commit each statement: while the log is loaded
        nothing holds back the vacuum of the live tables."""
        committing = engine.execution_options(isolation_level="AUTOCOMMIT")
        async with AsyncExitStack() as stack:
            sessions = [await stack.enter_async_context(committing.connect()) for _ in range(SESSIONS)]
            build = cls(engine, sessions, applications=applications, network=network, say=say)
            await build.prepare()
            yield build

    async def prepare(self) -> None:
        await self._feed.create()
        await self.loader.prepare()

    async def settle(self) -> None:
        """All is loaded: the facts are brought to what has won."""
        self._say(f"sorting {self.loader.facts:,} facts")
        self._keyed = await self.loader.settle()
        self._folder.settled.set()
        rows = [
            {"partition": partition, "next_offset": offset, "newest_fact": self.loader.newest(partition)}
            for partition, offset in sorted(self.loader.standing.items())
        ]
        if rows:
            async with self._engine.begin() as connection:
                await connection.execute(insert(chain_tables.offsets), rows)

    async def fold(self) -> None:
        """Fold each key. What `settle` does may still go on."""
        await self._folder.run(self._feed)

    async def complete(self) -> None:
        """Keys, indexes and statistics of the tables that have none, two tables at a time."""
        self._say("indexing")
        tables = iter(bulk_tables(self._applications))

        async def some(connection: AsyncConnection) -> None:
            for table in tables:
                if not (table is chain_tables.facts and self._keyed):
                    await shadow.add_key(connection, table)
                await shadow.complete(connection, table)

        async with asyncio.TaskGroup() as both:
            for connection in (self._facts, self._states):
                both.create_task(some(connection))

    def _tell_folded(self, folded: int) -> None:
        self._say(f"folding: {folded:,} of {self.loader.folded:,} facts")


def _loading(say: Say) -> Callable[[int, int], None]:
    start = time.monotonic()

    def tell(records: int, events: int) -> None:
        pace = events / max(time.monotonic() - start, 1e-3)
        say(f"loading: {records:,} records, {events:,} events, {pace:,.0f} events/s")

    return tell
