"""The fold of a whole history: each key once, from its first fact to its last, into tables that are empty."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from shared import database
from streams import state_store
from streams.application import Application
from streams.facts import Fact
from streams.fold import Fold, State
from streams.replay.feed import Feed, Place
from streams.replay.packing import Packing
from streams.replay.shadow import SHADOW

ROWS = 2000
"""State rows that are written at a time."""

_STORED = f"SELECT kind, body::text AS body FROM {SHADOW}.facts WHERE key = $1 AND position = $2"


class Folder:
    """Folds what the feed gives. `connection` commits each statement, and is used for nothing else meanwhile."""

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        applications: Sequence[Application],
        packing: Packing,
        on_progress: Callable[[int], None],
    ) -> None:
        self.settled = asyncio.Event()
        """To be set once the stored facts are those that have won."""
        self._applications = applications
        self._folds = [{fold.prefix: fold for fold in one.folds} for one in applications]
        self._packing = packing
        self._raw = database.raw(connection)
        self._rows = Rows(self._raw)
        self._on_progress = on_progress
        self._key: str | None = None
        self._fold: Fold | None = None
        self._state: State | None = None

    async def run(self, feed: Feed) -> None:
        """Fold everything, and write the rows."""
        folded = 0
        try:
            async with aclosing(feed.pages()) as pages:
                async for places in pages:
                    folded += await self._take(places)
                    await self._rows.write_full()
                    self._on_progress(folded)
            self._end()
            await self._rows.write_all()
        finally:
            await self._rows.stop()

    async def _take(self, places: Iterable[Place]) -> int:
        taken = 0
        for scope, key, position, packed in places:
            if key != self._key:
                self._begin(scope, key)
            if packed is None:
                fact = await self._stored(scope, key, position)
            else:
                fact = self._packing.unpack(key, position, packed)
            self._state = self._fold.step(self._state, fact)  # type: ignore[union-attr]  # it has begun
            taken += 1
        return taken

    def _begin(self, scope: int, key: str) -> None:
        self._end()
        self._key, self._state = key, None
        self._fold = self._folds[scope][key.partition(":")[0]]

    def _end(self) -> None:
        """No more facts of the key: its state is what the table is to hold."""
        if self._fold is not None and self._state is not None:
            self._rows.add(self._fold, self._state)

    async def _stored(self, scope: int, key: str, position: str) -> Fact:
        """The fact that has won, where the log tells two things at one place."""
        await self.settled.wait()
        await self._rows.written()
        row = await self._raw.fetchrow(_STORED, key, position)
        return self._applications[scope].restore(key=key, position=position, kind=row["kind"], body=row["body"])


class Rows:
    """State rows on their way into their tables, some thousands at a time: PostgreSQL takes them while the next are folded."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._waiting: dict[str, tuple[Fold, list[State]]] = {}
        self._writing: asyncio.Task[None] | None = None

    def add(self, fold: Fold, state: State) -> None:
        self._waiting.setdefault(fold.prefix, (fold, []))[1].append(state)

    async def write_full(self) -> None:
        """Write what has become many."""
        for prefix, (fold, states) in list(self._waiting.items()):
            if len(states) >= ROWS:
                del self._waiting[prefix]
                await self.written()
                self._writing = asyncio.create_task(self._write(fold, states))

    async def write_all(self) -> None:
        await self.written()
        for fold, states in self._waiting.values():
            await self._write(fold, states)
        self._waiting.clear()

    async def written(self) -> None:
        """Wait for what was sent; nothing else may use the connection before."""
        if self._writing is not None:
            await self._writing
            self._writing = None

    async def stop(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait({self._writing})

    async def _write(self, fold: Fold, states: Sequence[State]) -> None:
        staged = f"staged_{fold.table.name}"
        async with self._raw.transaction():
            await self._raw.execute(state_store.staging_statement(fold, staged))
            await self._raw.copy_records_to_table(
                staged, schema_name="pg_temp", columns=fold.columns, records=map(fold.write, states)
            )
            await self._raw.execute(
                state_store.insert_statement(fold, f"{SHADOW}.{fold.table.name}", f"pg_temp.{staged}")
            )
